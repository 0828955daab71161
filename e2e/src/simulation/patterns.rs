//! What is played: the shapes in which requests come.

use std::{f64::consts::PI, ops::Range, time::Duration};

use super::{
    arrivals::{Function, Work, on_off, poisson, random, steady},
    trace::Row,
};

/// How long a boot takes, on average.
const BOOT: Duration = Duration::from_millis(300);
/// When a burst from zero comes: the one invocation before it is long over, and its instance gone whatever the algorithm.
const BURST_AT: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One shape of arrivals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Name in the table and in the plot.
    pub name: String,
    /// Each has its own instances.
    pub functions: Vec<Function>,
    /// What is before is played and not counted.
    pub measured_from: Duration,
    /// The part that the plot shows.
    pub shown: Range<Duration>,
}

impl Pattern {
    /// Requests played, the uncounted ones too.
    pub fn requests(&self) -> usize {
        self.functions.iter().map(|f| f.requests.len()).sum()
    }
}

/// Every pattern. `portion` shortens those that last, for tests: 1 is what is published.
pub fn all(seed: u64, trace: &[Row], portion: f64) -> Vec<Pattern> {
    let long = |length: Duration| length.mul_f64(portion);
    vec![
        burst(10, Duration::from_millis(200), seed),
        burst(1000, Duration::from_millis(5), seed),
        steady_rate(long(20 * MINUTE), seed),
        poisson_rate(long(20 * MINUTE), seed),
        bursts(long(60 * MINUTE), seed),
        diurnal(long(DAY), seed),
        traced(trace, seed),
    ]
}

/// So many at once, from zero. One invocation long before them lets `Drain` know how long a boot and an invocation take.
pub fn burst(size: usize, work: Duration, seed: u64) -> Pattern {
    let times = std::iter::once(Duration::ZERO).chain(std::iter::repeat_n(BURST_AT, size));
    let requests = Work::Fixed(work).at(times, &mut random(seed, 0));
    let function = Function {
        requests,
        boot: BOOT,
        seed,
    };
    Pattern {
        name: format!("{size} at once, {} ms", work.as_millis()),
        functions: vec![function],
        measured_from: BURST_AT,
        shown: BURST_AT - MINUTE / 6..BURST_AT + 2 * MINUTE,
    }
}

fn steady_rate(length: Duration, seed: u64) -> Pattern {
    let work = Work::LogNormal(Duration::from_millis(50), 0.5);
    let requests = work.at(steady(20.0, length), &mut random(seed, 1));
    one("steady, 20/s, 50 ms", requests, 0..10, seed)
}

fn poisson_rate(length: Duration, seed: u64) -> Pattern {
    let mut random = random(seed, 2);
    let times = poisson(50.0, |_| 1.0, length, &mut random);
    let requests = Work::Exponential(Duration::from_millis(50)).at(times, &mut random);
    one("Poisson, 50/s, 50 ms", requests, 0..10, seed)
}

fn bursts(length: Duration, seed: u64) -> Pattern {
    let mut random = random(seed, 3);
    let means = (Duration::from_secs(20), Duration::from_secs(60));
    let times = on_off(50.0, means, length, &mut random);
    let requests = Work::LogNormal(Duration::from_millis(200), 0.5).at(times, &mut random);
    one("on/off, 50/s, 200 ms", requests, 0..15, seed)
}

/// From almost nothing at midnight to one a second at noon.
fn diurnal(length: Duration, seed: u64) -> Pattern {
    let mut random = random(seed, 4);
    let part = |at: Duration| {
        let noon = (PI * at.as_secs_f64() / DAY.as_secs_f64()).sin();
        0.002 + 0.998 * noon.powi(2)
    };
    let times = poisson(1.0, part, length, &mut random);
    let requests = Work::Exponential(Duration::from_millis(200)).at(times, &mut random);
    one("diurnal, up to 1/s, 200 ms", requests, 0..24 * 60, seed)
}

fn one(
    name: &str,
    requests: Vec<super::arrivals::Request>,
    shown: Range<u32>,
    seed: u64,
) -> Pattern {
    Pattern {
        name: name.to_owned(),
        functions: vec![Function {
            requests,
            boot: BOOT,
            seed,
        }],
        measured_from: Duration::ZERO,
        shown: shown.start * MINUTE..shown.end * MINUTE,
    }
}

/// Every row of the trace is a function.
fn traced(trace: &[Row], seed: u64) -> Pattern {
    let function = |(n, row): (usize, &Row)| {
        let seed = seed.wrapping_add(n as u64);
        Function {
            requests: row.requests(seed),
            boot: BOOT,
            seed,
        }
    };
    Pattern {
        name: format!("trace, {} functions", trace.len()),
        functions: trace.iter().enumerate().map(function).collect(),
        measured_from: Duration::ZERO,
        shown: Duration::ZERO..DAY,
    }
}
