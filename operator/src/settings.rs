//! What can be set from outside: each a flag and an environment variable.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    net::SocketAddr,
};

use clap::{Parser, ValueEnum};
use crds::values::Bytes;
use serde::de::DeserializeOwned;
use tracing_subscriber::EnvFilter;

use crate::{
    configs::Configs,
    hosts::Allowed,
    images,
    platform::{GatewaySettings, IngressSettings, NetworkPolicySettings, Platform},
};

/// What is logged unless RUST_LOG says otherwise. The client logs each refused connection as an error; whoever made the call says what
/// it means.
const LOG: &str = "info,kube_client::client::builder=off";

/// Turns Functions into Deployments and reports on them.
#[derive(Clone, Debug, Parser)]
#[command(name = "thaw-operator", version)]
pub struct Settings {
    /// Functions are reached at {function}--{namespace}.{domain}
    #[arg(long, env = "THAW_DOMAIN", value_parser = domain)]
    pub domain: String,

    /// Scheme of the addresses in a Function's status
    #[arg(long, env = "THAW_URL_SCHEME", default_value = "http")]
    pub url_scheme: Scheme,

    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "THAW_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,

    /// How log lines are written; RUST_LOG says which (default info)
    #[arg(long, env = "THAW_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// The cluster's own domain: Functions are reached at {function}.{namespace}.svc and that
    #[arg(long, env = "THAW_CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,

    /// The custom hosts that each namespace may have: JSON, {"prod": ["*.example.com", "shop.example.org"], "ops": ["*"]}. Not set: every one
    #[arg(long, env = "THAW_ALLOWED_HOSTS", value_parser = Allowed::read)]
    pub allowed_hosts: Option<Allowed>,

    /// Writes an Ingress for the custom hosts of each Function: JSON, {"className": "nginx", "annotations": {}, "tls": {"secretName": ""}}
    #[arg(long, env = "THAW_INGRESS", value_parser = json::<IngressSettings>)]
    pub ingress: Option<IngressSettings>,

    /// Writes an HTTPRoute in place of the Ingress: JSON, {"name": "public", "namespace": "infra", "sectionName": "web"}
    #[arg(long, env = "THAW_GATEWAY", value_parser = json::<GatewaySettings>)]
    pub gateway: Option<GatewaySettings>,

    /// Revisions with a larger image are refused, where a Function's own maxSize says nothing: a size such as 500Mi
    #[arg(long, env = "THAW_MAX_SIZE")]
    pub max_size: Option<Bytes>,

    /// To measure images, the Secrets of imagePullSecrets and what nodes report may be read
    #[arg(long, env = "THAW_MEASURE_IMAGES")]
    pub measure_images: bool,

    /// Registries that are asked without TLS, as host:port, with commas between them
    #[arg(long, env = "THAW_INSECURE_REGISTRIES", value_delimiter = ',')]
    pub insecure_registries: Vec<String>,

    /// Secrets and ConfigMaps may be read, so that a change of them makes new revisions of Functions that ask for it
    #[arg(long, env = "THAW_CONFIG_ROLLS")]
    pub config_rolls: bool,

    /// Namespaces whose Functions are served, with commas between them; not set: all
    #[arg(long, env = "THAW_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Writes a NetworkPolicy for each Function: JSON, {"egress": [...]} with rules of a NetworkPolicy. Not set: none, and those that were
    /// written are removed
    #[arg(long, env = "THAW_NETWORK_POLICY", value_parser = json::<NetworkPolicySettings>)]
    pub network_policy: Option<NetworkPolicySettings>,

    /// Labels of the activator's pods, which alone reach instances then, as key=value with commas between them
    #[arg(
        long,
        env = "THAW_ACTIVATOR_LABELS",
        default_value = "app.kubernetes.io/part-of=thaw,app.kubernetes.io/component=activator",
        value_delimiter = ',',
        value_parser = label
    )]
    pub activator_labels: Vec<(String, String)>,

    /// Namespace of operator and activator, and of the operator's Lease
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Name of this replica, unique among the replicas
    #[arg(long, env = "POD_NAME")]
    pub identity: String,
}

impl Settings {
    /// What may be found out about images.
    pub fn images(&self) -> images::Settings {
        images::Settings {
            max_size: self.max_size.map(|size| size.0),
            insecure: self.insecure_registries.clone(),
            may_read_secrets: self.measure_images,
            // Nodes belong to the whole cluster.
            may_read_nodes: self.measure_images && self.namespaces().is_empty(),
        }
    }

    /// What may be found out about configuration.
    pub fn configs(&self) -> Configs {
        if self.config_rolls {
            Configs::readable()
        } else {
            Configs::default()
        }
    }

    /// Whose Functions are served; empty: those of all. A variable that is set to nothing has one empty name.
    fn namespaces(&self) -> Vec<String> {
        let named = self.watch_namespaces.iter();
        named.filter(|name| !name.is_empty()).cloned().collect()
    }

    /// What holds for all Functions.
    pub fn platform(self) -> Platform {
        let namespaces = self.namespaces();
        Platform {
            domain: self.domain,
            cluster_domain: self.cluster_domain,
            allowed_hosts: self.allowed_hosts,
            ingress: self.ingress,
            gateway: self.gateway,
            scheme: self.url_scheme,
            namespace: self.namespace,
            namespaces,
            activator: BTreeMap::from_iter(self.activator_labels),
            network_policy: self.network_policy,
        }
    }
}

/// Scheme of a Function's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// TLS ends at the ingress.
    Https,
}

impl Scheme {
    /// As it stands in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl LogFormat {
    /// Starts logging to standard output.
    pub fn start(self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(stdout().is_terminal());
        match self {
            Self::Text => lines.init(),
            Self::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .init(),
        }
    }
}

/// A DNS name in lower case, without the dot at the end.
fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // One label and a dot of at most 64 bytes come before it; a name has at most 253.
    if name.len() <= 253 - 64 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err("write a DNS name such as example.com".to_owned())
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write key=value")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_dns_name() {
        assert_eq!(domain("Thaw.Test.").as_deref(), Ok("thaw.test"));
        for wrong in ["", "a..b", "http://a", "a/b", "*.a", "-a.b", "a b"] {
            assert!(domain(wrong).is_err(), "{wrong} must be refused");
        }
    }

    #[test]
    fn what_instances_may_connect_to_is_told_as_in_a_network_policy() {
        let told = |words: &[&str]| {
            let always = ["x", "--domain=a.b", "--namespace=n", "--identity=i"];
            Settings::try_parse_from(always.iter().chain(words)).map(Settings::platform)
        };
        assert_eq!(told(&[]).unwrap().network_policy, None);
        let open = told(&[
            r#"--network-policy={"egress": [{}, {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}]}"#,
            "--activator-labels=a=b,c=d",
        ])
        .unwrap();
        let egress = open.network_policy.unwrap().egress;
        // As the API server stores them, or they would be written at each look.
        let stored = serde_json::json!([{}, {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}]);
        assert_eq!(serde_json::to_value(egress).unwrap(), stored);
        assert_eq!(open.activator.len(), 2);
        for wrong in [
            "{}",
            "open",
            r#"{"egress": 1}"#,
            r#"{"egress": [], "ingress": []}"#,
        ] {
            assert!(
                told(&["--network-policy", wrong]).is_err(),
                "{wrong} must be refused"
            );
        }
    }

    #[test]
    fn an_empty_list_of_namespaces_is_none() {
        let told = |namespaces: &str| {
            let namespaces = format!("--watch-namespaces={namespaces}");
            let always = ["x", "--domain=a.b", "--namespace=n", "--identity=i"];
            let words = always.into_iter().chain(["--measure-images", &namespaces]);
            Settings::try_parse_from(words).unwrap()
        };
        assert!(told("").images().may_read_nodes);
        assert!(told("").platform().namespaces.is_empty());
        assert!(!told("prod").images().may_read_nodes);
        assert_eq!(told("prod,").platform().namespaces, ["prod"]);
    }

    #[test]
    fn routes_are_told_as_the_chart_writes_them() {
        let told = |words: &[&str]| {
            let always = ["x", "--domain=a.b", "--namespace=n", "--identity=i"];
            Settings::try_parse_from(always.iter().chain(words)).map(Settings::platform)
        };
        let platform = told(&[
            r#"--ingress={"annotations":{"a":"b"},"className":"","tls":{"secretName":""}}"#,
            r#"--gateway={"name":"public"}"#,
            r#"--allowed-hosts={"prod":["*.example.com"]}"#,
        ])
        .unwrap();
        assert_eq!(platform.cluster_domain, "cluster.local");
        assert!(
            platform
                .ingress
                .is_some_and(|ingress| ingress.tls.is_some())
        );
        assert_eq!(
            platform.gateway.map(|gateway| gateway.name).as_deref(),
            Some("public")
        );
        assert!(platform.allowed_hosts.is_some());
        for wrong in [
            r#"--ingress={"class":"a"}"#,
            "--gateway={}",
            "--allowed-hosts=a.b",
        ] {
            assert!(told(&[wrong]).is_err(), "{wrong} must be refused");
        }
    }

    #[test]
    fn the_flags_are_well_formed() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }
}
