//! Thaw beside other proxies: same machine, same backend, same load, in turns.
//!
//! Each round runs every proxy once for each load, so that a busy moment of the machine meets all of them; what is printed are medians,
//! and ratios are taken within a round.

use std::{collections::BTreeMap, thread::available_parallelism, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;

use super::{
    process::{Program, backend, stay_on},
    rivals::{Programs, Rival},
    statistics::{median, quantile},
    thaw::HOST,
    wrk::{Load, Report, Wrk},
};

/// What is asked for: the name of the load, connections, path.
const LOADS: [(&str, u32, &str); 4] = [
    ("1 connection, no body", 1, "/"),
    ("1 connection, 16 KiB", 1, "/bytes/16384"),
    ("50 connections, no body", 50, "/"),
    ("50 connections, 16 KiB", 50, "/bytes/16384"),
];

/// How to compare proxies.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Rounds, after one that is not counted.
    #[arg(short, default_value_t = 5)]
    n: usize,
    /// Length of one run of one proxy.
    #[arg(long, default_value = "3s")]
    time: humantime::Duration,
    /// Threads of each proxy for requests.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// The proxies, beside none; ratios are to the first.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "bare,thaw,thaw-alone,envoy,nginx,traefik"
    )]
    proxies: Vec<Rival>,
    #[command(flatten)]
    programs: Programs,
    /// Let the system choose a processor for each program, instead of all sharing one.
    #[arg(long)]
    spread: bool,
}

/// One run of one proxy.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rate: f64,
    /// Requests per CPU-second; of nobody if there is no proxy.
    per_cpu: f64,
    p50: f64,
    p99: f64,
}

/// Samples by load and proxy, a round each.
type Samples = BTreeMap<(usize, usize), Vec<Sample>>;

/// Measures and prints.
///
/// # Errors
/// A program is missing or a request failed.
pub async fn run(settings: &Settings) -> Result<()> {
    let Settings {
        n,
        time,
        workers,
        proxies,
        programs,
        spread,
    } = settings;
    ensure!(*n > 0 && !proxies.is_empty(), "nothing to measure");
    programs.check(proxies).await?;
    if !spread {
        // It is busy as long as one of them is. A virtual processor that halts between two requests runs the same code at half the speed
        // when it is back: with one for each program, that would be measured.
        let last = available_parallelism()?.get() - 1;
        stay_on(last..last + 1)?;
    }
    let (wrk, directory, backend) = (Wrk::new("")?, tempfile::tempdir()?, backend().await?);
    let mut running = vec![];
    for rival in proxies {
        running.push(
            rival
                .start(programs, backend.port, *workers, directory.path())
                .await?,
        );
    }
    let mut samples = Samples::new();
    for round in 0..=*n {
        for (load, (_, connections, path)) in LOADS.iter().enumerate() {
            // Nobody is always the one after somebody: the first of a round moves on.
            for turn in 0..=running.len() {
                let turn = (turn + round) % (running.len() + 1);
                let proxy = turn.checked_sub(1).map(|at| &running[at]);
                let load_of = Load {
                    port: proxy.map_or(backend.port, |proxy| proxy.port),
                    path,
                    host: HOST,
                    connections: *connections,
                    time: **time,
                };
                let sample = sample(&wrk, &load_of, proxy).await?;
                if round > 0 {
                    samples.entry((load, turn)).or_default().push(sample);
                }
            }
        }
        eprint!("\r{round}/{n} ");
    }
    eprintln!();
    for program in running {
        program.end().await?;
    }
    println!(
        "{n} rounds of {time}, {workers} thread(s) a proxy, {}. CPU is the proxy's alone. Latencies in µs, added to those without a proxy.",
        if *spread {
            "on all processors"
        } else {
            "all on one processor"
        }
    );
    for (load, (name, ..)) in LOADS.iter().enumerate() {
        print(name, load, proxies, &samples);
    }
    Ok(())
}

async fn sample(wrk: &Wrk, load: &Load<'_>, proxy: Option<&Program>) -> Result<Sample> {
    let cpu = || proxy.map_or(Ok(Duration::ZERO), Program::cpu);
    let before = cpu()?;
    let report = wrk.run(load).await?;
    let used = cpu()? - before;
    let Report {
        requests, p50, p99, ..
    } = report;
    Ok(Sample {
        rate: report.rate(),
        per_cpu: requests as f64 / used.as_secs_f64(),
        p50,
        p99,
    })
}

/// A line for each proxy.
fn print(name: &str, load: usize, proxies: &[Rival], samples: &Samples) {
    println!(
        "\n{name:26}{:>10}{:>14}{:>9}  {:13}{:>9}{:>9}",
        "req/s", "req/CPU-s", "x first", "(all rounds)", "p50 +µs", "p99 +µs"
    );
    let direct = &samples[&(load, 0)];
    let of = |all: &[Sample], what: fn(&Sample) -> f64| {
        median(&all.iter().map(what).collect::<Vec<_>>())
    };
    println!(
        "{:26}{:>10.0}{:>46}{:>9.0}{:>9.0}",
        "no proxy",
        of(direct, |s| s.rate),
        "in all:",
        of(direct, |s| s.p50),
        of(direct, |s| s.p99)
    );
    let first = &samples[&(load, 1)];
    for (at, rival) in proxies.iter().enumerate() {
        let all = &samples[&(load, at + 1)];
        let ratios = each(all, first, |one, first| one.per_cpu / first.per_cpu);
        println!(
            "{:26}{:>10.0}{:>14.0}{:>9.2}  {:13}{:>9.0}{:>9.0}",
            rival.name(),
            of(all, |s| s.rate),
            of(all, |s| s.per_cpu),
            median(&ratios),
            format!(
                "{:.2} to {:.2}",
                quantile(&ratios, 0.0),
                quantile(&ratios, 1.0)
            ),
            median(&each(all, direct, |one, none| one.p50 - none.p50)),
            median(&each(all, direct, |one, none| one.p99 - none.p99)),
        );
    }
}

/// Of each round, one beside the other.
fn each(all: &[Sample], others: &[Sample], what: fn(&Sample, &Sample) -> f64) -> Vec<f64> {
    let pairs = all.iter().zip(others);
    pairs.map(|(one, other)| what(one, other)).collect()
}
