//! What the process is told at start.

use std::{net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};

use crate::budget::Caps;

/// Holds a request while an instance boots, and gives every invocation a slot.
#[derive(Clone, Debug, Parser)]
#[command(name = "thaw-activator", version)]
pub struct Settings {
    /// Functions answer under {function}--{namespace}.{domain}.
    #[arg(long, env = "THAW_DOMAIN")]
    pub domain: String,
    /// Where requests come in: HTTP/1.1, and HTTP/2 without TLS.
    #[arg(long, env = "THAW_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics answer.
    #[arg(long, env = "THAW_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Form of the log on standard error.
    #[arg(long, env = "THAW_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// After SIGTERM, go on as before this long, until no load balancer sends anything new.
    #[arg(long, env = "THAW_LAMEDUCK", default_value = "5s", value_parser = humantime::parse_duration)]
    pub lameduck: Duration,
    /// Then finish accepted requests, at most this long.
    #[arg(long, env = "THAW_DRAIN", default_value = "300s", value_parser = humantime::parse_duration)]
    pub drain: Duration,
    /// The most instances of all Functions; 0: no bound.
    #[arg(long, env = "THAW_MAX_INSTANCES", default_value_t = 0)]
    pub max_instances: u32,
    /// The most instances of the Functions of one namespace; 0: no bound.
    #[arg(long, env = "THAW_MAX_INSTANCES_PER_NAMESPACE", default_value_t = 0)]
    pub max_instances_per_namespace: u32,
    /// The most boots in flight on nodes with the same pod.nodeSelector; 0: no bound.
    #[arg(long, env = "THAW_MAX_BOOTS", default_value_t = 0)]
    pub max_boots: u32,
    /// The activator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "thaw-system")]
    pub namespace: String,
    /// Name of this replica; a pod's name.
    #[arg(long, env = "POD_NAME")]
    pub identity: String,
}

impl Settings {
    /// What all entrypoints together may have.
    pub fn caps(&self) -> Caps {
        let cap = |most: u32| (most > 0).then_some(most);
        Caps {
            cluster: cap(self.max_instances),
            namespace: cap(self.max_instances_per_namespace),
            boots: cap(self.max_boots),
        }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
