//! Parses, builds, runs.

use std::{ffi::OsStr, io::IsTerminal, process::ExitCode};

use activator::{
    cluster::local::{View, keeper},
    settings::{LocalSettings, LogFormat, Mode, Settings},
};
use tracing_subscriber::EnvFilter;

/// Unless RUST_LOG says otherwise. The client logs each refused connection as an error; whoever made the call says what it means.
const LOG: &str = "info,kube_client::client::builder=off";
/// In local mode people read what happens in other words.
const LOCAL_LOG: &str = "warn";

fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    // Before anything else: there is one keeper for each instance, and it starts with every boot.
    if words.next().as_deref() == Some(OsStr::new(keeper::WORD)) {
        return Ok(keeper::keep(words.collect()));
    }
    let mode = Mode::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match mode {
        Mode::Cluster(settings) => runtime.block_on(run(*settings))?,
        Mode::Local(settings) => runtime.block_on(run_locally(settings))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let filter = if settings.access_log {
        filter(LOG)
    } else {
        let off = "access=off".parse()?;
        filter(LOG).add_directive(off)
    };
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

async fn run_locally(settings: LocalSettings) -> anyhow::Result<()> {
    let (view, writing) = View::start();
    let log = view.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter(LOCAL_LOG))
        .with_ansi(false)
        .without_time()
        .with_writer(move || log.clone())
        .init();
    let outcome = activator::local::run(settings, view.clone()).await;
    view.end();
    // It panics only with the terminal gone, and then there is nobody to tell.
    writing.join().ok();
    outcome
}
