//! Host names: one spelling for each, and who has one that several Functions want.
//!
//! A host is claimed whole, never a path of it: what answers a host can be told from one manifest, and a Function cannot take
//! a path of another's site.

use std::borrow::Cow;

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use crate::{
    entrypoint::InvalidSpec,
    function::{Function, FunctionSpec},
};

/// The longest DNS name (RFC 1035 §2.3.4).
const NAME: usize = 253;
/// The longest DNS label.
const LABEL: usize = 63;

/// A name as every comparison has it: in lower case, without one dot at its end. `None` if it is none that a client may send: letters,
/// digits, `-`, `_` and dots, since what else RFC 3986 §3.2.2 would allow, percent signs above all, is no name in DNS.
pub fn normal(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let (mut before, mut is_lower) = (b'.', true);
    // One pass over the bytes, since this is on the way of every request.
    for byte in name.bytes() {
        match byte {
            b'.' if before == b'.' => return None,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {}
            b'A'..=b'Z' => is_lower = false,
            _ => return None,
        }
        before = byte;
    }
    if before == b'.' || name.len() > NAME {
        return None;
    }
    Some(if is_lower {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_ascii_lowercase())
    })
}

/// The hosts that a manifest asks for, each once, in its order and as [`normal`] spells them; without those that are no host.
pub fn custom(spec: &FunctionSpec) -> Vec<String> {
    let mut hosts = Vec::new();
    for host in spec.hosts.iter().filter_map(|host| read(host)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// The rule that the CustomResourceDefinition states too.
pub(crate) fn check(spec: &FunctionSpec) -> Result<(), InvalidSpec> {
    match spec.hosts.iter().position(|host| read(host).is_none()) {
        None => Ok(()),
        Some(at) => Err(InvalidSpec {
            field: format!("hosts[{at}]"),
            problem: format!("{:?}: {HOW_TO_WRITE}", spec.hosts[at]),
        }),
    }
}

/// What a host has to look like, for people.
const HOW_TO_WRITE: &str = "write a DNS name of two labels or more, such as shop.example.com, without scheme, wildcard, port and path";

/// A host that can stand in an Ingress and an HTTPRoute: of two labels or more, and not an address, whose last label is a number.
fn read(host: &str) -> Option<String> {
    let host = normal(host)?;
    let (_, last) = host.rsplit_once('.')?;
    let is_name =
        host.split('.').all(is_label) && last.starts_with(|c: char| c.is_ascii_lowercase());
    is_name.then(|| host.into_owned())
}

fn is_label(label: &str) -> bool {
    label.len() <= LABEL && !label.starts_with('-') && !label.ends_with('-') && !label.contains('_')
}

/// Which hosts a Function has a claim to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Its default host, which is never lost to somebody's custom one.
    Default,
    /// One of `spec.hosts`.
    Custom,
}

/// A Function's claim to a host. Of several the least one has it: the oldest Function's, whatever the order in which they were seen.
///
/// The age is that of the Function and not of the claim, because it is the one that the API server keeps, that nobody can write, and
/// that is still there after every restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What kind of host it is to this Function.
    pub kind: Kind,
    /// When the Function was created.
    pub created: Timestamp,
    /// Namespace of the Function.
    pub namespace: String,
    /// Name of the Function.
    pub name: String,
}

impl Claim {
    /// The claim of the Function with this metadata.
    pub fn new(kind: Kind, of: &ObjectMeta) -> Self {
        let created = of.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            kind,
            // One that the API server has not stored is the youngest.
            created: created.unwrap_or(Timestamp::MAX),
            namespace: of.namespace.clone().unwrap_or_default(),
            name: of.name.clone().unwrap_or_default(),
        }
    }
}

/// The custom hosts that the operator gave to a Function, as far as its manifest still asks for them.
pub fn granted(function: &Function) -> Vec<String> {
    let granted = function.status.as_ref().map(|status| &status.hosts);
    let mut hosts = custom(&function.spec);
    hosts.retain(|host| granted.is_some_and(|granted| granted.contains(host)));
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(hosts: &[&str]) -> FunctionSpec {
        FunctionSpec {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..FunctionSpec::default()
        }
    }

    #[test]
    fn a_host_is_the_same_in_capitals_and_with_a_dot() {
        let hosts = ["Shop.Example.COM", "shop.example.com.", "a.example.com"];
        assert_eq!(custom(&spec(&hosts)), ["shop.example.com", "a.example.com"]);
        assert_eq!(check(&spec(&hosts)), Ok(()));
        assert_eq!(normal("A_b.TEST."), Some("a_b.test".into()));
        assert_eq!(normal("a.."), None);
    }

    #[test]
    fn what_is_no_host_is_named_and_claims_nothing() {
        let label = "a".repeat(64);
        for wrong in [
            "",
            "shop",
            "*.example.com",
            "shop.example.com:80",
            "http://shop.example.com",
            "shop.example.com/api",
            "10.0.0.1",
            "[::1]",
            "a..b",
            ".a.b",
            "a.b..",
            "-a.example.com",
            "a-.example.com",
            "a_b.example.com",
            "bücher.example.com",
            "shop.example.com ",
            &format!("{label}.example.com"),
            &format!("{}com", "abc.".repeat(63)),
        ] {
            let spec = spec(&["good.example.com", wrong]);
            assert_eq!(custom(&spec), ["good.example.com"], "{wrong:?}");
            let invalid = check(&spec).unwrap_err();
            assert_eq!(invalid.field, "hosts[1]", "{wrong:?}");
        }
    }

    #[test]
    fn the_oldest_has_a_host_unless_it_is_somebodys_default_one() {
        let claim = |kind, second, namespace: &str, name: &str| Claim {
            kind,
            created: Timestamp::from_second(second).unwrap(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let in_order = [
            claim(Kind::Default, 9, "z", "z"),
            claim(Kind::Custom, 1, "z", "z"),
            claim(Kind::Custom, 2, "a", "b"),
            claim(Kind::Custom, 2, "a", "c"),
            claim(Kind::Custom, 2, "b", "a"),
            Claim::new(Kind::Custom, &ObjectMeta::default()),
        ];
        assert!(in_order.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_host_that_the_manifest_no_longer_names_is_not_served_until_the_operator_says_so() {
        let mut function = Function::new("shop", spec(&["a.example.com", "B.example.com"]));
        assert_eq!(granted(&function), Vec::<String>::new());
        let hosts = vec!["b.example.com".to_owned(), "c.example.com".to_owned()];
        function.status.get_or_insert_default().hosts = hosts;
        assert_eq!(granted(&function), ["b.example.com"]);
    }
}
