//! Latencies at a rate that does not wait for answers.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{
    clients::{self, Arrivals, Outcome, Target},
    process::{Program, backend},
    thaw::{self, HOST, SHARED, Scale},
};

/// How to send.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Requests per second, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1000,3000")]
    rates: Vec<u32>,
    /// Length of each run.
    #[arg(long, default_value = "60s")]
    time: humantime::Duration,
    /// Before it, the rate grows from nothing this long, and instances boot.
    #[arg(long, default_value = "15s")]
    ramp: humantime::Duration,
    /// Milliseconds that the function works.
    #[arg(long, default_value_t = 100)]
    work: u32,
    /// Threads of the activator.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// Measures and prints.
///
/// # Errors
/// A program is missing or ended.
pub async fn run(settings: &Settings) -> Result<()> {
    println!(
        "a function of {} ms, {} at each rate; latencies from the intended start\n",
        settings.work, settings.time
    );
    println!("{}", Outcome::heading());
    for rate in &settings.rates {
        let ways = [
            ("no proxy, one process", None),
            ("Thaw, one process, concurrency 1000", Some(SHARED)),
            ("Thaw, an instance each", Some(alone(settings, *rate))),
        ];
        for (way, scale) in ways {
            let outcome = one(settings, *rate, scale).await?;
            println!("{}", outcome.line(&format!("{rate}/s {way}")));
            for (what, count) in outcome.failures {
                println!("    {count} x {what}");
            }
        }
    }
    Ok(())
}

/// Instances for twice the demand.
fn alone(settings: &Settings, rate: u32) -> Scale {
    Scale {
        concurrency: 1,
        max: (rate * settings.work / 500).max(1),
    }
}

async fn one(settings: &Settings, rate: u32, scale: Option<Scale>) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let program: Program = match scale {
        Some(scale) => {
            thaw::start(&[thaw::NAME], scale, settings.workers, directory.path()).await?
        }
        None => backend().await?,
    };
    let arrivals = Arrivals {
        rate,
        ramp: *settings.ramp,
        time: *settings.time,
    };
    let target = Target {
        port: program.port,
        path: format!("/sleep/{}", settings.work),
        hosts: vec![HOST.to_owned()],
    };
    let outcome = clients::send(arrivals, target).await?;
    program.end().await?;
    // What ended still closes its connections.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(outcome)
}
