//! From average concurrency to a number of instances.

use std::time::Duration;

use super::metric::STABLE_WINDOW;

/// `container-concurrency-target-percentage`, default 70: of `containerConcurrency`, which is 1.
const TARGET: f64 = 0.7;
/// `panic-threshold-percentage`, default 200: instances wanted by the panic window to ready ones.
const PANIC_THRESHOLD: f64 = 2.0;
/// `max-scale-up-rate`, default 1000: the most instances wanted for each ready one.
const MAX_SCALE_UP_RATE: f64 = 1000.0;
/// `max-scale-down-rate`, default 2: the most ready instances for each wanted one.
const MAX_SCALE_DOWN_RATE: f64 = 2.0;

/// Remembers whether it panics.
#[derive(Debug, Default)]
pub(super) struct Arithmetic {
    panic: Option<Panic>,
}

#[derive(Debug)]
struct Panic {
    /// When the threshold was reached last.
    last: Duration,
    /// The most instances wanted meanwhile: nothing goes during a panic.
    most: u32,
}

impl Arithmetic {
    /// How many instances there should be.
    pub(super) fn desired(&mut self, ready: u32, stable: f64, panic: f64, now: Duration) -> u32 {
        // None counts as one: from zero there is something to multiply.
        let ready = f64::from(ready.max(1));
        let (up, down) = (
            (MAX_SCALE_UP_RATE * ready).ceil(),
            (ready / MAX_SCALE_DOWN_RATE).floor(),
        );
        let for_panic = (panic / TARGET).ceil();
        let limited = |wanted: f64| wanted.clamp(down, up) as u32;
        let stable = limited((stable / TARGET).ceil());
        self.note_threshold(for_panic / ready >= PANIC_THRESHOLD, now);
        let Some(panic) = &mut self.panic else {
            return stable;
        };
        panic.most = panic.most.max(stable).max(limited(for_panic));
        panic.most
    }

    /// A panic ends when its threshold was not reached for more than a stable window.
    fn note_threshold(&mut self, is_reached: bool, now: Duration) {
        let window = Duration::from_secs(STABLE_WINDOW as u64);
        match &mut self.panic {
            Some(panic) if is_reached => panic.last = now,
            Some(panic) if panic.last + window < now => self.panic = None,
            None if is_reached => self.panic = Some(Panic { last: now, most: 0 }),
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn desired(ready: u32, stable: f64, panic: f64) -> u32 {
        Arithmetic::default().desired(ready, stable, panic, Duration::ZERO)
    }

    #[test]
    fn a_steady_average_is_divided_by_the_target_and_rounded_up() {
        // 6.9 / 0.7 = 9.86 and 3.5 / 0.7 = 5.
        assert_eq!(desired(10, 6.9, 6.9), 10);
        assert_eq!(desired(5, 3.5, 3.5), 5);
    }

    #[test]
    fn one_tick_halves_at_the_most() {
        assert_eq!(desired(9, 0.1, 0.1), 4);
        assert_eq!(desired(1, 0.0, 0.0), 0);
    }

    #[test]
    fn one_tick_multiplies_by_a_thousand_at_the_most() {
        assert_eq!(desired(1, 1400.0, 1400.0), 1000);
        assert_eq!(desired(0, 1400.0, 1400.0), 1000);
    }

    #[test]
    fn twice_the_instances_wanted_by_the_panic_window_is_a_panic() {
        // 6 / 0.7 rounds up to 9, of 5 ready 1.8: the stable window decides, 2 / 0.7 = 2.86.
        assert_eq!(desired(5, 2.0, 6.0), 3);
        // 6.9 / 0.7 rounds up to 10, of 5 ready 2.0: the panic window decides.
        assert_eq!(desired(5, 2.0, 6.9), 10);
    }

    #[test]
    fn a_panic_takes_nothing_away_until_a_stable_window_after_its_last_reason() {
        let mut arithmetic = Arithmetic::default();
        assert_eq!(arithmetic.desired(1, 0.7, 7.0, seconds(0)), 10);
        assert_eq!(arithmetic.desired(10, 0.7, 0.0, seconds(2)), 10);
        assert_eq!(arithmetic.desired(10, 0.7, 0.0, seconds(60)), 10);
        assert_eq!(arithmetic.desired(10, 0.7, 0.0, seconds(62)), 5);
    }

    #[test]
    fn a_reason_during_a_panic_prolongs_it() {
        let mut arithmetic = Arithmetic::default();
        assert_eq!(arithmetic.desired(1, 0.7, 7.0, seconds(0)), 10);
        assert_eq!(arithmetic.desired(10, 0.7, 14.0, seconds(50)), 20);
        assert_eq!(arithmetic.desired(20, 0.7, 0.0, seconds(100)), 20);
        assert_eq!(arithmetic.desired(20, 0.7, 0.0, seconds(112)), 10);
    }
}
