//! The real activator process in local mode, before instances of the benchmarks' backend.

use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::process::{Counted, Program, beside_us, free_port};

/// The one function of a manifest answers for every host; benchmarks ask for its own, as clients do.
pub const HOST: &str = "bench--default.localhost";

/// The name of that function.
pub const NAME: &str = "bench";

/// How many instances there may be, and how many invocations at once in each.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// `scale.concurrency`.
    pub concurrency: u32,
    /// `scale.max`.
    pub max: u32,
}

/// One process for everybody: the proxy is measured, and not the scaling.
pub const SHARED: Scale = Scale {
    concurrency: 1000,
    max: 1,
};

/// Starts it before these functions, with so many threads. Its output is not a terminal: no status is drawn there.
///
/// # Errors
/// It does not start.
pub async fn start(
    functions: &[&str],
    scale: Scale,
    workers: u32,
    directory: &Path,
) -> Result<Program> {
    let Scale { concurrency, max } = scale;
    let file = directory.join(format!("thaw-{concurrency}-{max}.yaml"));
    let backend = beside_us("backend")?;
    let manifests = functions.iter().map(|name| manifest(name, scale, &backend));
    std::fs::write(&file, manifests.collect::<Vec<_>>().join("---"))?;
    let port = free_port()?;
    let mut command = Command::new(beside_us("thaw-activator")?);
    command
        .args(["local", "--port", &port.to_string(), "-f"])
        .arg(file)
        .env("TOKIO_WORKER_THREADS", workers.to_string());
    Program::start(&mut command, port, Counted::Alone).await
}

fn manifest(name: &str, scale: Scale, backend: &Path) -> String {
    let Scale { concurrency, max } = scale;
    let backend = backend.display();
    format!(
        "
apiVersion: thaw.dev/v1alpha1
kind: Function
metadata: {{name: {name}}}
spec:
  image: none
  entrypoints:
  - name: web
    path: /
    command: ['{backend}']
    scale: {{concurrency: {concurrency}, max: {max}, idleAfter: 1h}}
    freeze: {{mode: Never}}
    limits: {{queue: 100000}}
"
    )
}
