//! Requests of one function. How long a request works belongs to the request and how long a boot takes to its number, so that every
//! algorithm is given the same.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use rand_pcg::Pcg64;

use super::knative::TICK;

/// The longest that a boot differs from the mean, as a part of it.
const JITTER: f64 = 0.1;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it arrives, from the start.
    pub at: Duration,
    /// How long an instance works on it.
    pub work: Duration,
}

/// One function: what is asked of it, and how it boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// By time of arrival.
    pub requests: Vec<Request>,
    /// Mean time of a boot.
    pub boot: Duration,
    /// Where the times of its boots come from.
    pub seed: u64,
}

impl Function {
    /// From the order in which instances were asked for to the time that this one takes: uniformly within a tenth of the mean.
    pub fn nth_boot(&self, n: u64) -> Duration {
        let mut random = random(self.seed, n);
        self.boot
            .mul_f64(random.random_range(1.0 - JITTER..=1.0 + JITTER))
    }

    /// When within its interval Knative's tick falls.
    pub(super) fn knative_phase(&self) -> Duration {
        TICK.mul_f64(random(self.seed, u64::MAX).random())
    }
}

/// How long requests work.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// All the same.
    Fixed(Duration),
    /// Exponential, by its mean.
    Exponential(Duration),
    /// Lognormal, by its median, with this standard deviation of the logarithm.
    LogNormal(Duration, f64),
}

impl Work {
    fn sample(self, random: &mut Pcg64) -> Duration {
        match self {
            Self::Fixed(work) => work,
            Self::Exponential(mean) => {
                mean.mul_f64(Exp::new(1.0).expect("one is a valid rate").sample(random))
            }
            Self::LogNormal(median, sigma) => median.mul_f64(
                LogNormal::new(0.0, sigma)
                    .expect("sigma is finite")
                    .sample(random),
            ),
        }
    }

    /// Requests at these times.
    pub(super) fn at(
        self,
        times: impl IntoIterator<Item = Duration>,
        random: &mut Pcg64,
    ) -> Vec<Request> {
        let request = |at| Request {
            at,
            work: self.sample(random),
        };
        times.into_iter().map(request).collect()
    }
}

/// A stream of random numbers of its own for each `part` of what a seed decides.
pub(super) fn random(seed: u64, part: u64) -> Pcg64 {
    let mut parent = Pcg64::seed_from_u64(seed);
    Pcg64::seed_from_u64(parent.next_u64() ^ part)
}

/// Always the same time between two.
pub(super) fn steady(per_second: f64, length: Duration) -> impl Iterator<Item = Duration> {
    let count = (per_second * length.as_secs_f64()).round() as u32;
    (0..count).map(move |n| Duration::from_secs_f64(f64::from(n) / per_second))
}

/// Poisson arrivals whose rate at `t` is `most` times `part(t)`, a number from 0 to 1.
pub(super) fn poisson(
    most: f64,
    part: impl Fn(Duration) -> f64,
    length: Duration,
    random: &mut Pcg64,
) -> Vec<Duration> {
    let gap = Exp::new(most).expect("a rate is above zero");
    let (mut times, mut now) = (vec![], 0.0);
    loop {
        now += gap.sample(random);
        if now >= length.as_secs_f64() {
            return times;
        }
        let at = Duration::from_secs_f64(now);
        // Thinning: of arrivals at the highest rate, each stays with the probability that its time has.
        if random.random::<f64>() < part(at) {
            times.push(at);
        }
    }
}

/// Poisson arrivals at one rate that switches on and off after exponential times with these means.
pub(super) fn on_off(
    per_second: f64,
    (on, off): (Duration, Duration),
    length: Duration,
    random: &mut Pcg64,
) -> Vec<Duration> {
    let unit = Exp::new(1.0).expect("one is a valid rate");
    let (mut times, mut now) = (vec![], Duration::ZERO);
    while now < length {
        let until = (now + on.mul_f64(unit.sample(random))).min(length);
        let burst = poisson(per_second, |_| 1.0, until - now, random);
        times.extend(burst.into_iter().map(|at| now + at));
        now = until + off.mul_f64(unit.sample(random));
    }
    times
}
