//! Parses, builds, runs.

use std::io::IsTerminal;

use activator::settings::{LogFormat, Settings};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Unless RUST_LOG says otherwise. The client logs each refused connection as an error; whoever made the call says what it means.
const LOG: &str = "info,kube_client::client::builder=off";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    activator::run::run(settings).await
}
