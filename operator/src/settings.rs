//! What can be set from outside: each a flag and an environment variable.

use std::{
    io::{IsTerminal, stdout},
    net::SocketAddr,
};

use clap::{Parser, ValueEnum};
use crds::values::Bytes;
use tracing_subscriber::EnvFilter;

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

    /// Namespace of the operator and its Lease
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,

    /// Name of this replica, unique among the replicas
    #[arg(long, env = "POD_NAME")]
    pub identity: String,
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
    fn the_flags_are_well_formed() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
    }
}
