//! Many routes, and routes that change: an activator without a cluster, in this process.

mod activator;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    clients::{self, Arrivals, Outcome, Target},
    process::{backend, own_cpu},
    statistics::{median, quantile},
    wrk::{Load, Wrk},
};
use activator::{Activator, host};

/// How to measure.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Numbers of routes to compare.
    #[arg(long, value_delimiter = ',', default_value = "200,2000,20000")]
    routes: Vec<usize>,
    /// Rounds of throughput, after one that is not counted.
    #[arg(short, default_value_t = 7)]
    n: usize,
    /// Length of one run of throughput.
    #[arg(long, default_value = "3s")]
    time: humantime::Duration,
    /// Changes of routes per second.
    #[arg(long, default_value_t = 100)]
    changes: u32,
    /// Requests per second while routes change.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// How long routes change.
    #[arg(long, default_value = "30s")]
    change_for: humantime::Duration,
}

/// Measures and prints.
///
/// # Errors
/// A request was not answered with 200.
pub async fn run(settings: &Settings) -> Result<()> {
    let backend = backend().await?;
    let mut all = vec![];
    for count in &settings.routes {
        all.push((*count, Activator::start(*count, backend.port).await?));
    }
    throughput(settings, &all).await?;
    for (count, activator) in &all {
        change(settings, *count, activator).await?;
    }
    Ok(())
}

/// Requests to a random one of the hosts each, with 50 connections, in turns.
async fn throughput(settings: &Settings, all: &[(usize, Activator)]) -> Result<()> {
    let mut samples = vec![vec![]; all.len()];
    for round in 0..=settings.n {
        for turn in 0..all.len() {
            let at = (turn + round) % all.len();
            let (count, activator) = &all[at];
            let load = Load {
                port: activator.port,
                path: "/",
                host: "",
                connections: 50,
                time: *settings.time,
            };
            let wrk = Wrk::new(&random_host(*count))?;
            let before = own_cpu()?;
            let report = wrk.run(&load).await?;
            let per_cpu = report.requests as f64 / (own_cpu()? - before).as_secs_f64();
            if round > 0 {
                samples[at].push((per_cpu, report.rate()));
            }
        }
    }
    println!(
        "{:>8}{:>14}{:>9}  {:14}{:>9}",
        "routes", "req/CPU-s", "x first", "(all rounds)", "req/s"
    );
    for ((count, _), of) in all.iter().zip(&samples) {
        let ratios: Vec<_> = of
            .iter()
            .zip(&samples[0])
            .map(|(one, first)| one.0 / first.0)
            .collect();
        println!(
            "{count:>8}{:>14.0}{:>9.3}  {:14}{:>9.0}",
            median(&of.iter().map(|one| one.0).collect::<Vec<_>>()),
            median(&ratios),
            format!(
                "{:.2} to {:.2}",
                quantile(&ratios, 0.0),
                quantile(&ratios, 1.0)
            ),
            median(&of.iter().map(|one| one.1).collect::<Vec<_>>()),
        );
    }
    Ok(())
}

/// Lua that sends each request to another host. The requests are made before the run.
fn random_host(count: usize) -> String {
    let rest = host("");
    format!(
        r#"
local all, at = {{}}, 1
init = function()
  for n = 0, {count} - 1 do
    all[n + 1] = wrk.format("GET", "/", {{Host = n .. "{rest}"}})
  end
end
request = function()
  at = (at * 1103515245 + 12345) % 2147483648
  return all[at % {count} + 1]
end
"#
    )
}

/// Routes come, go and change while requests run to those that stay.
async fn change(settings: &Settings, count: usize, activator: &Activator) -> Result<()> {
    let target = Target {
        port: activator.port,
        path: "/".to_owned(),
        hosts: (0..count).map(host).collect(),
    };
    let arrivals = Arrivals {
        rate: settings.rate,
        ramp: Duration::from_secs(1),
        time: *settings.change_for,
    };
    let mut requests = tokio::spawn(clients::send(arrivals, target));
    let mut changes = Histogram::<u64>::new(3)?;
    let mut tick = interval(Duration::from_secs(1) / settings.changes);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let outcome: Outcome = loop {
        tokio::select! {
            outcome = &mut requests => break outcome??,
            _ = tick.tick() => {
                let begun = Instant::now();
                activator.change(changes.len());
                changes += u64::try_from(begun.elapsed().as_micros())?;
            }
        }
    };
    println!("\n{}", Outcome::heading());
    println!(
        "{}",
        outcome.line(&format!("{count} routes, {} changes", changes.len()))
    );
    println!(
        "a change took {} µs, at p99 {} µs",
        changes.value_at_quantile(0.5),
        changes.value_at_quantile(0.99)
    );
    ensure!(
        outcome.failures.is_empty(),
        "not all were served: {:?}",
        outcome.failures
    );
    Ok(())
}
