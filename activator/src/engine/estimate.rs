//! How long things take here, and how many instances a queue is worth (`scale.burst: Drain`).

use std::time::Duration;

/// Weight of the newest sample in a running mean: the last dozen or so decide.
const WEIGHT: f64 = 0.125;
/// A waiter is planned to wait this part of a boot longer than with a boot of its own; in return an instance serves several. The
/// promise is a fifth: the rest is for boots that are not as long as the estimate.
const PATIENCE: f64 = 0.15;

/// A running mean in seconds; `None` before the first sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate(Option<f64>);

impl Estimate {
    pub(super) fn note(&mut self, sample: Duration) {
        let sample = sample.as_secs_f64();
        self.0 = Some(
            self.0
                .map_or(sample, |mean| mean + WEIGHT * (sample - mean)),
        );
    }

    /// What is left of something that began so long ago.
    pub(super) fn rest(self, since: Duration) -> Option<UpIn> {
        self.0.map(|mean| (mean - since.as_secs_f64()).max(0.0))
    }
}

/// One instance that is there or coming: how long until it is up, in seconds.
pub(super) type UpIn = f64;

/// Instances to start for the part of the queue that those that serve or boot cannot finish before a new one would be up, give or
/// take [`PATIENCE`]. `None` while there is nothing to estimate from.
pub(super) fn missing(
    waiting: usize,
    concurrency: u32,
    boot: Estimate,
    service: Estimate,
    instances: impl Iterator<Item = Option<UpIn>>,
) -> Option<u32> {
    let (boot, service) = (boot.0?, service.0?.max(1e-6));
    let horizon = boot * (1.0 + PATIENCE);
    // What an instance finishes between being up and the horizon; one that boots late is used all the same.
    let finishes = |up_in: f64| {
        let rounds = ((horizon - up_in).max(0.0) / service).floor().max(1.0);
        rounds * f64::from(concurrency)
    };
    let served: f64 = instances.map(|up_in| finishes(up_in.unwrap_or(boot))).sum();
    let rest = (waiting as f64 - served).max(0.0);
    Some((rest / finishes(boot)).ceil() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seconds: f64) -> Estimate {
        Estimate(Some(seconds))
    }

    #[test]
    fn a_queue_that_is_finished_before_a_boot_is_worth_none() {
        // One instance finishes 69 of 5 ms within 345 ms.
        let serving = || std::iter::once(Some(0.0));
        assert_eq!(missing(69, 1, of(0.3), of(0.005), serving()), Some(0));
        assert_eq!(missing(70, 1, of(0.3), of(0.005), serving()), Some(1));
    }

    #[test]
    fn long_work_is_worth_an_instance_each() {
        let none = || std::iter::empty();
        assert_eq!(missing(10, 1, of(0.3), of(1.0), none()), Some(10));
        assert_eq!(missing(10, 4, of(0.3), of(1.0), none()), Some(3));
    }

    #[test]
    fn a_new_instance_counts_for_what_it_does_within_the_patience() {
        assert_eq!(
            missing(1000, 1, of(0.3), of(0.005), std::iter::empty()),
            Some(125)
        );
    }

    #[test]
    fn nothing_is_guessed_before_the_first_samples() {
        assert_eq!(
            missing(5, 1, Estimate::default(), of(1.0), std::iter::empty()),
            None
        );
    }
}
