//! What the process is told at start.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{
    ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, ValueEnum, value_parser,
};

use crate::{
    budget::Caps,
    held,
    proxy::{Rate, TrustedProxies},
};

/// The subcommand of local mode.
const LOCAL: &str = "local";

/// What the process is to be.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The data plane of a Kubernetes cluster.
    Cluster(Box<Settings>),
    /// All there is, on this machine.
    Local(LocalSettings),
}

impl Mode {
    /// Reads command line and environment; ends the process if they cannot be understood.
    pub fn parse() -> Self {
        let matches = Self::command().get_matches();
        Self::read(&matches).unwrap_or_else(|error| error.format(&mut Self::command()).exit())
    }

    /// The settings of the cluster mode, and local mode as a subcommand that needs none of them.
    fn command() -> Command {
        let local = LocalSettings::augment_args(Command::new(LOCAL));
        Settings::command()
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true)
            .subcommand(
                local.about("Runs the functions of manifest files as processes, without a cluster"),
            )
    }

    fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_matches(LOCAL) {
            Some(matches) => LocalSettings::from_arg_matches(matches).map(Self::Local),
            None => Settings::from_arg_matches(matches).map(|all| Self::Cluster(Box::new(all))),
        }
    }
}

/// What local mode is told at start.
#[derive(Args, Clone, Debug)]
pub struct LocalSettings {
    /// File with Functions; may be given several times.
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Port on 127.0.0.1 where functions answer; 0 is one that is free.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Restart an entrypoint when its files change, and read a manifest again when it changes.
    #[arg(long)]
    pub watch: bool,
}

/// Holds a request while an instance boots, and gives every invocation a slot.
#[derive(Clone, Debug, Parser)]
#[command(name = "thaw-activator", version)]
pub struct Settings {
    /// Functions answer under {function}--{namespace}.{domain}.
    #[arg(long, env = "THAW_DOMAIN")]
    pub domain: String,
    /// The cluster's own domain: callers inside also use {function}.{namespace}.svc and that.
    #[arg(long, env = "THAW_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Where requests come in: HTTP/1.1, and HTTP/2 without TLS.
    #[arg(long, env = "THAW_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where requests of callers inside the cluster come in; only here Functions with visibility Cluster answer.
    #[arg(long, env = "THAW_INTERNAL_LISTEN", default_value = "0.0.0.0:8081")]
    pub internal_listen: SocketAddr,
    /// Where /livez, /readyz and /metrics answer.
    #[arg(long, env = "THAW_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Form of the log on standard error.
    #[arg(long, env = "THAW_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Log each request, in the same form.
    #[arg(long, env = "THAW_ACCESS_LOG")]
    pub access_log: bool,
    /// After SIGTERM, go on as before this long, until no load balancer sends anything new.
    #[arg(long, env = "THAW_LAMEDUCK", default_value = "5s", value_parser = humantime::parse_duration)]
    pub lameduck: Duration,
    /// Then finish accepted requests, at most this long.
    #[arg(long, env = "THAW_DRAIN", default_value = "300s", value_parser = humantime::parse_duration)]
    pub drain: Duration,
    /// Bytes a second that a client has to send of a body that an instance waits for; 0: no bound.
    #[arg(long, env = "THAW_BODY_RATE", default_value_t = 240)]
    pub body_rate: u32,
    /// Such a client may pause this long.
    #[arg(long, env = "THAW_BODY_GRACE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub body_grace: Duration,
    /// The most instances of all Functions; 0: no bound.
    #[arg(long, env = "THAW_MAX_INSTANCES", default_value_t = 0)]
    pub max_instances: u32,
    /// The most instances of the Functions of one namespace; 0: no bound.
    #[arg(long, env = "THAW_MAX_INSTANCES_PER_NAMESPACE", default_value_t = 0)]
    pub max_instances_per_namespace: u32,
    /// The most boots in flight on nodes with the same pod.nodeSelector; 0: no bound.
    #[arg(long, env = "THAW_MAX_BOOTS", default_value_t = 0)]
    pub max_boots: u32,
    /// The most requests that wait for a slot, of all Functions. A namespace may hold no more of them than it leaves free.
    #[arg(long, env = "THAW_MAX_HELD_REQUESTS", default_value_t = held::Limits::default().requests, value_parser = value_parser!(u64).range(2..))]
    pub max_held_requests: u64,
    /// The most bytes of their bodies that are read before there is a slot, such as 256Mi; shared in the same way.
    #[arg(long, env = "THAW_MAX_HELD_BYTES", default_value_t = ByteSize(held::Limits::default().bytes))]
    pub max_held_bytes: ByteSize,
    /// What clients may do.
    #[command(flatten)]
    pub edge: Edge,
    /// Networks of the proxies before the activator, with commas between them. What they say about the client (Forwarded, X-Forwarded-*,
    /// X-Real-IP) is kept; what anybody else says is not.
    #[arg(long, env = "THAW_TRUSTED_PROXIES", default_value = TrustedProxies::PRIVATE)]
    pub trusted_proxies: TrustedProxies,
    /// Namespaces whose Functions are served, with commas between them; not set: all.
    #[arg(long, env = "THAW_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// The activator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "thaw-system")]
    pub namespace: String,
    /// Name of this replica; a pod's name.
    #[arg(long, env = "POD_NAME")]
    pub identity: String,
}

impl Settings {
    /// How slowly a client may send.
    pub fn body_rate(&self) -> Option<Rate> {
        (self.body_rate > 0).then_some(Rate {
            bytes_per_second: self.body_rate,
            grace: self.body_grace,
        })
    }

    /// What all entrypoints together may have.
    pub fn caps(&self) -> Caps {
        let cap = |most: u32| (most > 0).then_some(most);
        Caps {
            cluster: cap(self.max_instances),
            namespace: cap(self.max_instances_per_namespace),
            boots: cap(self.max_boots),
        }
    }

    /// Whose Functions are served; empty: those of all.
    pub fn namespaces(&self) -> Vec<String> {
        let names = self.watch_namespaces.iter();
        names.filter(|name| !name.is_empty()).cloned().collect()
    }

    /// What requests that wait may hold.
    pub fn held(&self) -> held::Limits {
        held::Limits {
            requests: self.max_held_requests,
            bytes: self.max_held_bytes.as_u64(),
        }
    }
}

/// What clients may do to the doors.
#[derive(Args, Clone, Copy, Debug)]
pub struct Edge {
    /// The head of a request may take this long, and so may the first byte on a new connection.
    #[arg(long, env = "THAW_HEADER_TIMEOUT", default_value_t = Self::default().header_timeout)]
    pub header_timeout: humantime::Duration,
    /// A connection without requests is kept this long: longer than ingress controllers keep theirs (nginx 60 s, Traefik 90 s), since
    /// a request that crosses our close on the wire is lost.
    #[arg(long, env = "THAW_KEEP_ALIVE", default_value_t = Self::default().keep_alive)]
    pub keep_alive: humantime::Duration,
    /// A client that takes nothing of its answer for this long, or less than 16 KiB of it, is cut; with HTTP/2 each stream for itself, but
    /// for calls of gRPC.
    #[arg(long, env = "THAW_WRITE_TIMEOUT", default_value_t = Self::default().write_timeout)]
    pub write_timeout: humantime::Duration,
    /// The most bytes of a request's head.
    #[arg(long, env = "THAW_MAX_HEADER_BYTES", default_value_t = Self::default().max_header_bytes)]
    pub max_header_bytes: usize,
    /// The most connections of clients; where open files are limited, less than half of that limit.
    #[arg(long, env = "THAW_MAX_CONNECTIONS", default_value_t = Self::default().max_connections)]
    pub max_connections: usize,
    /// The most requests at once on an HTTP/2 connection.
    #[arg(long, env = "THAW_MAX_STREAMS", default_value_t = Self::default().max_streams)]
    pub max_streams: u32,
    /// The most HTTP/2 frames a second on a connection that are neither requests nor bodies, besides those that answers lead to.
    #[arg(long, env = "THAW_MAX_CONTROL_FRAMES", default_value_t = Self::default().max_control_frames)]
    pub max_control_frames: u32,
}

impl Default for Edge {
    fn default() -> Self {
        let seconds = |seconds| Duration::from_secs(seconds).into();
        Self {
            header_timeout: seconds(10),
            keep_alive: seconds(180),
            write_timeout: seconds(60),
            max_header_bytes: 64 * 1024,
            max_connections: 10_000,
            max_streams: 250,
            max_control_frames: 1000,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(line: &str) -> Result<Mode, clap::Error> {
        let words = line.split_whitespace();
        Mode::read(&Mode::command().try_get_matches_from(words)?)
    }

    #[test]
    fn local_mode_needs_nothing_of_the_cluster_mode() {
        let Ok(Mode::Local(local)) = mode("thaw-activator local -f a.yaml -f b.yaml --port 0")
        else {
            panic!("it is local mode");
        };
        assert_eq!((local.files.len(), local.port, local.watch), (2, 0, false));
        assert!(mode("thaw-activator local").is_err());
        assert!(mode("thaw-activator --domain x local -f a.yaml").is_err());
    }

    #[test]
    fn the_cluster_mode_is_told_as_ever() {
        let cluster = mode("thaw-activator --domain example.com --identity a");
        assert!(matches!(cluster, Ok(Mode::Cluster(settings)) if settings.domain == "example.com"));
        let nobody = mode("thaw-activator --domain example.com --identity a --trusted-proxies=");
        assert!(
            matches!(nobody, Ok(Mode::Cluster(settings)) if settings.trusted_proxies == TrustedProxies::default())
        );
        assert!(mode("thaw-activator --domain example.com --port 1 --identity a").is_err());
    }

    #[test]
    fn what_may_be_held_is_told_in_requests_and_as_a_quantity_of_bytes() {
        let told = |words: &str| match mode(&format!(
            "thaw-activator --domain a.b --identity a {words}"
        )) {
            Ok(Mode::Cluster(settings)) => Some(settings.held()),
            _ => None,
        };
        assert_eq!(told(""), Some(held::Limits::default()));
        let held = held::Limits {
            requests: 2,
            bytes: 1 << 30,
        };
        assert_eq!(
            told("--max-held-requests 2 --max-held-bytes 1Gi"),
            Some(held)
        );
        // One would be none: a namespace leaves as much free as it holds.
        assert_eq!(told("--max-held-requests 1"), None);
    }
}
