//! A CSV of counts per minute, in the published shape of the Azure Functions 2019 trace: one row a function, one column a minute of a
//! day.
//!
//! The original is not ours to redistribute. [`generate`] makes a file of the same shape from a seed, with the mixture that its
//! authors describe: most functions are rare, many are timers, a few make up most invocations, some follow the day.

use std::{f64::consts::TAU, io, time::Duration};

use anyhow::{Context, Result, ensure};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, LogNormal, Poisson};
use rand_pcg::Pcg64;

use super::arrivals::{Request, Work, random};

const MINUTES: usize = 1440;
/// Columns before the first minute.
const NAMES: [&str; 4] = ["HashOwner", "HashApp", "HashFunction", "Trigger"];

/// The invocations of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Owner, app and function, as hashes.
    pub names: [String; 3],
    /// What invokes it.
    pub trigger: String,
    /// Invocations in each minute of the day.
    pub counts: Vec<u32>,
}

impl Row {
    /// Its requests: uniformly within their minute. The trace has no durations here: the median of each function is drawn from a
    /// lognormal around 200 ms, and its requests from a lognormal around that.
    pub fn requests(&self, seed: u64) -> Vec<Request> {
        let mut random = random(seed, 5);
        let mut times = vec![];
        for (minute, count) in self.counts.iter().enumerate() {
            let within = (0..*count).map(|_| 60.0 * (minute as f64 + random.random::<f64>()));
            times.extend(within.map(Duration::from_secs_f64));
        }
        times.sort_unstable();
        let medians = LogNormal::new(0.0, 1.0).expect("one is finite");
        let median = Duration::from_millis(200).mul_f64(medians.sample(&mut random));
        Work::LogNormal(median, 0.5).at(times, &mut random)
    }
}

/// Reads a trace.
///
/// # Errors
/// When the header or a row has another shape.
pub fn read(source: impl io::Read) -> Result<Vec<Row>> {
    let mut reader = csv::Reader::from_reader(source);
    let header = reader.headers().context("read the header")?;
    ensure!(
        header.len() == NAMES.len() + MINUTES && header.iter().zip(NAMES).all(|(a, b)| a == b),
        "the header is not {},1,2,…,{MINUTES}",
        NAMES.join(",")
    );
    reader.records().map(|record| row(&record?)).collect()
}

fn row(record: &csv::StringRecord) -> Result<Row> {
    let text = |column: usize| record[column].to_owned();
    let counts = record.iter().skip(NAMES.len()).map(str::parse);
    Ok(Row {
        names: [text(0), text(1), text(2)],
        trigger: text(3),
        counts: counts
            .collect::<Result<_, _>>()
            .with_context(|| format!("read the counts of {}", text(2)))?,
    })
}

/// Writes a trace.
///
/// # Errors
/// When the sink does.
pub fn write(rows: &[Row], sink: impl io::Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(sink);
    let minutes = (1..=MINUTES).map(|minute| minute.to_string());
    writer.write_record(NAMES.map(str::to_owned).into_iter().chain(minutes))?;
    for Row {
        names,
        trigger,
        counts,
    } in rows
    {
        let counts = counts.iter().map(u32::to_string);
        writer.write_record(names.iter().chain([trigger]).cloned().chain(counts))?;
    }
    Ok(writer.flush()?)
}

/// How a generated function is invoked.
enum Shape {
    /// So many times a day, whenever.
    Rare(f64),
    /// Once every so many minutes.
    Timer(usize),
    /// So many a minute at noon, a tenth of it at midnight.
    Diurnal(f64),
    /// Nothing, and now and then a few minutes with so many each.
    Bursts(f64),
}

/// Twenty functions of a day.
pub fn generate(seed: u64) -> Vec<Row> {
    use Shape::{Bursts, Diurnal, Rare, Timer};
    let functions = [
        ("http", Rare(1.0)),
        ("http", Rare(2.0)),
        ("http", Rare(5.0)),
        ("queue", Rare(8.0)),
        ("event", Rare(12.0)),
        ("http", Rare(20.0)),
        ("storage", Rare(40.0)),
        ("http", Rare(80.0)),
        ("timer", Timer(1)),
        ("timer", Timer(5)),
        ("timer", Timer(15)),
        ("timer", Timer(60)),
        ("timer", Timer(1440)),
        ("http", Diurnal(1.0)),
        ("http", Diurnal(5.0)),
        ("event", Diurnal(20.0)),
        ("http", Diurnal(120.0)),
        ("queue", Bursts(20.0)),
        ("queue", Bursts(300.0)),
        ("orchestration", Bursts(60.0)),
    ];
    let function = |(n, (trigger, shape)): (usize, (&str, Shape))| {
        let mut random = random(seed, n as u64);
        Row {
            names: [(); 3].map(|()| hash(&mut random)),
            trigger: trigger.to_owned(),
            counts: shape.counts(&mut random),
        }
    };
    functions.into_iter().enumerate().map(function).collect()
}

impl Shape {
    fn counts(&self, random: &mut Pcg64) -> Vec<u32> {
        let first = random.random_range(0..MINUTES);
        let mut left = 0;
        let count = |minute: usize| match *self {
            Self::Rare(per_day) => around(per_day / MINUTES as f64, random),
            Self::Timer(every) => u32::from(minute % every == first % every),
            Self::Diurnal(noon) => {
                let day = 0.55 - 0.45 * (TAU * minute as f64 / MINUTES as f64).cos();
                around(noon * day, random)
            }
            Self::Bursts(size) => {
                if left == 0 && random.random_bool(0.01) {
                    left = random.random_range(1..6);
                }
                let is_on = left > 0;
                left -= u32::from(is_on);
                if is_on { around(size, random) } else { 0 }
            }
        };
        (0..MINUTES).map(count).collect()
    }
}

fn around(mean: f64, random: &mut Pcg64) -> u32 {
    let counts = Poisson::new(mean).expect("a mean is above zero");
    counts.sample(random) as u32
}

fn hash(random: &mut Pcg64) -> String {
    (0..4)
        .map(|_| format!("{:016x}", random.next_u64()))
        .collect()
}
