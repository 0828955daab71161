//! Thaw's engine beside Knative's published autoscaler on the same arrivals: a table on standard output, and a plot.

// Its output is what it is for.
#![allow(clippy::print_stdout)]

use std::{fs::File, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::{
    program::repository,
    simulation::{Algorithm, knative, patterns, plot::plot, table::table, trace},
};

/// Plays every pattern through every algorithm.
#[derive(Parser)]
struct Arguments {
    /// Decides every random number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Counts per minute in the shape of the Azure Functions 2019 trace [default: the generated one in e2e/simulation].
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Where simulation.svg is written.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Knative's scale-to-zero-grace-period.
    #[arg(long, default_value = "30s")]
    knative_grace: humantime::Duration,
    /// Generates a trace into this file from the seed, and plays nothing.
    #[arg(long)]
    write_trace: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(file) = arguments.write_trace {
        let sink = File::create(&file).with_context(|| format!("create {}", file.display()))?;
        return trace::write(&trace::generate(arguments.seed), sink);
    }
    let committed = || repository().join("e2e/simulation/trace.csv");
    let file = arguments.trace.unwrap_or_else(committed);
    let source = File::open(&file).with_context(|| format!("open {}", file.display()))?;
    let trace = trace::read(source).with_context(|| format!("read {}", file.display()))?;

    let grace = Duration::from(arguments.knative_grace);
    let algorithms = Algorithm::compared(knative::Settings { grace });
    let plays: Vec<_> = patterns::all(arguments.seed, &trace, 1.0)
        .into_iter()
        .map(|pattern| {
            let outcomes = algorithms.map(|algorithm| (algorithm, algorithm.play(&pattern)));
            (pattern, Vec::from(outcomes))
        })
        .collect();
    print!("{}", table(&plays));
    plot(&plays, &arguments.out.join("simulation.svg"))
}
