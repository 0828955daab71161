//! Benchmarks: see e2e/README.md. `cold`, `burst` and `scale` need the cluster of KUBECONFIG, the others only this machine.

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::bench::{abuse, cold, open_loop, proxy, routes, scale};

/// Compares Thaw with what there is without it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// One request from zero, until the first byte of its answer. Needs a cluster.
    Cold {
        /// Samples of each way.
        #[arg(short, default_value_t = 30)]
        n: usize,
    },
    /// Requests at once from zero, until the last answer. Needs a cluster.
    Burst {
        /// Requests at once.
        size: usize,
        /// Samples of each way.
        #[arg(short, default_value_t = 5)]
        n: usize,
    },
    /// Warm requests through Thaw and through other proxies: requests per CPU-second, added latency.
    Proxy(proxy::Settings),
    /// Latencies of a function at a rate that does not wait for answers.
    OpenLoop(open_loop::Settings),
    /// Many routes, and routes that change under load.
    Routes(routes::Settings),
    /// A good client while others attack the activator.
    Abuse(abuse::Settings),
    /// Thousands of Functions: time until ready, memory, writes at rest, edits. Needs a cluster on this machine.
    Scale(scale::Settings),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().bench {
        Bench::Cold { n } => cold::one(n).await,
        Bench::Burst { size, n } => cold::burst(size, n).await,
        Bench::Proxy(settings) => proxy::run(&settings).await,
        Bench::OpenLoop(settings) => open_loop::run(&settings).await,
        Bench::Routes(settings) => routes::run(&settings).await,
        Bench::Abuse(settings) => abuse::run(&settings).await,
        Bench::Scale(settings) => scale::run(&settings).await,
    }
}
