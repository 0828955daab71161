//! Names, labels and annotations of everything Thaw makes. Nothing else in the code base spells one.

use sha2::{Digest, Sha256};

use crate::function::{Function, Protocol};

/// Field manager of what the operator applies.
pub const OPERATOR: &str = "thaw-operator";
/// Field manager of the one write that creates a Deployment with `replicas: 0`. It is not [`OPERATOR`], because a later apply
/// that no longer names `replicas` would reset it to 1.
pub const CREATOR: &str = "thaw-operator-create";
/// Field manager of what the activator writes.
pub const ACTIVATOR: &str = "thaw-activator";

/// Label: name of the Function.
pub const FUNCTION: &str = "thaw.dev/function";
/// Label: name of the entrypoint.
pub const ENTRYPOINT: &str = "thaw.dev/entrypoint";
/// Label: revision of the entrypoint.
pub const REVISION: &str = "thaw.dev/revision";
/// Label: namespace of the Function, on children that stand in another one.
pub const NAMESPACE: &str = "thaw.dev/namespace";
/// Label that every child carries, with the value [`THAW`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const THAW: &str = "thaw";
/// Selects every child.
pub const CHILDREN: &str = "app.kubernetes.io/managed-by=thaw";

/// Function annotation: revisions to go back to, as `entrypoint@revision`, separated by commas.
///
/// An annotation and not a field of the spec: `kubectl apply` and GitOps tools leave an annotation alone that is not in their manifest, but
/// put a field back at their next pass. And a rollback is not part of what the function is: the next manifest ends it, where a field
/// would go on pinning the old revision unnoticed.
pub const ROLLBACK: &str = "thaw.dev/rollback";
/// Function annotation: with `true`, a change of what a Secret or ConfigMap says that an entrypoint uses makes a new revision of it.
pub const ROLL_ON_CONFIG_CHANGE: &str = "thaw.dev/roll-on-config-change";
/// Annotation of a child: hash of what was applied last, which tells that something is wanted no longer.
pub const APPLIED: &str = "thaw.dev/applied";
/// Pod annotation: the activator replica that is finishing invocations on this instance after it stopped being the owner.
pub const HELD_BY: &str = "thaw.dev/held-by";
/// Pod annotation, Kubernetes' own: the ReplicaSet deletes the lowest first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Deployment of the activator. What the operator makes beside it is owned by it.
pub const ACTIVATOR_DEPLOYMENT: &str = "thaw-activator";
/// Service of the activator for what the ingress controller lets in.
pub const PUBLIC_SERVICE: &str = "thaw-activator";
/// Service of the activator for callers inside the cluster.
pub const INTERNAL_SERVICE: &str = "thaw-activator-internal";
/// Name of the port of both.
pub const SERVICE_PORT: &str = "http";

/// Name of the one container of an instance.
pub const CONTAINER: &str = "function";

/// Environment variables that the platform sets and a user may not.
pub const RESERVED_ENV: [&str; 7] = [
    "PORT",
    "K_SERVICE",
    "K_REVISION",
    "K_CONFIGURATION",
    "THAW_FUNCTION",
    "THAW_ENTRYPOINT",
    "THAW_NAMESPACE",
];

/// Longest DNS label (RFC 1035 §2.3.4) and label value of Kubernetes.
const LABEL: usize = 63;
/// Digits of the hash at the end of a name that was cut.
const HASH: usize = 8;

/// What an entrypoint calls itself towards its own code (`K_SERVICE`), whatever its revision.
pub fn service(function: &str, entrypoint: &str) -> String {
    format!("{function}-{entrypoint}")
}

/// Name of the Deployment of one entrypoint revision.
pub fn deployment(function: &str, entrypoint: &str, revision: &str) -> String {
    shorten(&format!("{function}-{entrypoint}-{revision}"), 253)
}

/// Name of a Function's NetworkPolicy. Not the Function's own: that is what people call theirs.
pub fn network_policy(function: &str) -> String {
    shorten(&format!("thaw-{function}"), 253)
}

/// Name of the container's port, which says what is spoken there, as service meshes and Knative read it.
pub fn port(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => PORTS[0],
        Protocol::H2c => PORTS[1],
    }
}

/// Every name that [`port`] gives.
pub const PORTS: [&str; 2] = ["http", "h2c"];

/// The host under which a function is always reached. The label before the domain is unambiguous because a Function's name may
/// not hold `--`, and one over 63 characters is cut and ends in a hash of the whole.
pub fn default_host(function: &str, namespace: &str, domain: &str) -> String {
    let label = shorten(&format!("{function}--{namespace}"), LABEL);
    format!("{label}.{domain}").to_ascii_lowercase()
}

/// Whether a host could be the default host of some Function: one label below `domain` that holds `--` or was cut.
pub fn may_be_default_host(host: &str, domain: &str) -> bool {
    let label = host
        .strip_suffix(domain)
        .and_then(|rest| rest.strip_suffix('.'));
    label.is_some_and(|label| !label.contains('.') && (label.contains("--") || may_be_cut(label)))
}

/// Whether [`shorten`] may have made this label. Where it cuts, up to two dashes go.
fn may_be_cut(label: &str) -> bool {
    let is_hash = |end: &str| end.len() == HASH && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    label.len() >= LABEL - 2 && label.rsplit_once('-').is_some_and(|(_, end)| is_hash(end))
}

/// The hosts under which callers inside the cluster reach a function, as its Service has them: `{function}.{namespace}` and longer ones.
pub fn inside_hosts(function: &str, namespace: &str, cluster_domain: &str) -> [String; 3] {
    let short = format!("{function}.{namespace}");
    let service = format!("{short}.svc");
    let full = format!("{service}.{cluster_domain}");
    [short, service, full]
}

/// Name of a Function's Ingress or HTTPRoute, which stands beside the activator. It is unambiguous for the reason that
/// [`default_host`] is, and none of the chart's objects holds `--`.
pub fn route(function: &str, namespace: &str) -> String {
    format!("{function}--{namespace}")
}

/// Name of the Secret with the certificate of a Function's custom hosts.
pub fn certificate(function: &str, namespace: &str) -> String {
    format!("{}-tls", route(function, namespace))
}

/// Labels of every child of a Function, without those of an entrypoint.
pub fn function_labels(function: &Function) -> [(&'static str, String); 4] {
    let name = function.metadata.name.clone().unwrap_or_default();
    [
        ("app.kubernetes.io/name", name.clone()),
        ("app.kubernetes.io/instance", name.clone()),
        (MANAGED_BY, THAW.to_owned()),
        (FUNCTION, name),
    ]
}

/// Labels that a child of an entrypoint has besides [`function_labels`].
pub fn entrypoint_labels(entrypoint: &str, revision: &str) -> [(&'static str, String); 3] {
    [
        ("app.kubernetes.io/component", entrypoint.to_owned()),
        (ENTRYPOINT, entrypoint.to_owned()),
        (REVISION, revision.to_owned()),
    ]
}

/// Whether an object may have this name: a DNS subdomain (RFC 1123), as the API server wants it of most kinds. Anything else would mean
/// something in an address.
pub fn is_object_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The first `length` hexadecimal digits of the SHA-256 of `bytes`.
pub fn hash(bytes: &[u8], length: usize) -> String {
    let digest = Sha256::digest(bytes);
    let mut hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(length);
    hex
}

fn shorten(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let kept = name[..longest - HASH - 1].trim_end_matches('-');
    format!("{kept}-{}", hash(name.as_bytes(), HASH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_host_label_is_cut_and_stays_unique() {
        let host = |namespace: &str| default_host(&"f".repeat(40), namespace, "example.com");
        let (a, b) = (host(&"n".repeat(40)), host(&"n".repeat(41)));
        assert_ne!(a, b);
        for host in [a, b] {
            assert_eq!(host.split('.').next().map(str::len), Some(63));
        }
        assert_eq!(
            default_host("shop", "prod", "example.com"),
            "shop--prod.example.com"
        );
    }

    #[test]
    fn every_default_host_is_told_from_hosts_that_are_free() {
        for function in 1..=63 {
            for namespace in ["n".to_owned(), "a--b".repeat(3), "n".repeat(63)] {
                let host = default_host(&"f".repeat(function), &namespace, "example.com");
                assert!(may_be_default_host(&host, "example.com"), "{host}");
            }
        }
        for free in [
            "shop.example.com",
            "example.com",
            "a--b.shop.example.com",
            "a--b.example.org",
            "a--bexample.com",
            "shop-12345678.example.com",
            &format!("{}.example.com", "a".repeat(63)),
        ] {
            assert!(!may_be_default_host(free, "example.com"), "{free}");
        }
    }

    #[test]
    fn a_name_that_would_bend_an_address_is_no_objects() {
        for name in ["a", "shop-1", "a.b-c.d", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "?x",
            "a?x",
            "a%2fb",
            "A",
            "-a",
            "a-",
            "a..b",
            "a b",
            &"a".repeat(254),
        ] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    #[test]
    fn no_name_of_a_route_is_too_long_for_kubernetes() {
        let longest = "n".repeat(63);
        assert!(certificate(&longest, &longest).len() <= 253);
    }
}
