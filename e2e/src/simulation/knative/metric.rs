//! Average concurrency over the stable and the panic window.

use std::{collections::VecDeque, time::Duration};

/// `stable-window`, default 60 s.
pub(super) const STABLE_WINDOW: usize = 60;
/// `panic-window-percentage`, default 10: of the stable window.
const PANIC_WINDOW: usize = 6;

/// Concurrency (queued and running) in buckets of one second, each the average by time of what was reported within it.
///
/// Averages are over the buckets since the first report, at most the window; nothing reported for a whole window starts anew. A
/// second that has not ended does not count yet: reports come once a second.
#[derive(Debug, Default)]
pub(super) struct Metric {
    now: Duration,
    /// Request-seconds in the second that has not ended, and how much of it was reported.
    area: f64,
    reported: f64,
    /// Seconds that ended, newest last.
    buckets: VecDeque<f64>,
}

impl Metric {
    /// Until `now` demand was this. `is_reported`: somebody was there to say so.
    pub(super) fn pass(&mut self, now: Duration, demand: u32, is_reported: bool) {
        let silence = now.as_secs() - self.now.as_secs();
        let forgets = self.buckets.is_empty() || silence >= STABLE_WINDOW as u64;
        if !is_reported && forgets {
            *self = Self {
                now,
                ..Self::default()
            };
        }
        while self.now.as_secs() < now.as_secs() {
            self.pass_within_second(Duration::from_secs(self.now.as_secs() + 1), demand);
            self.buckets.push_back(self.area / self.reported);
            if self.buckets.len() > STABLE_WINDOW {
                self.buckets.pop_front();
            }
            (self.area, self.reported) = (0.0, 0.0);
        }
        self.pass_within_second(now, demand);
    }

    fn pass_within_second(&mut self, now: Duration, demand: u32) {
        let passed = (now - self.now).as_secs_f64();
        self.area += passed * f64::from(demand);
        self.reported += passed;
        self.now = now;
    }

    /// Over the stable and over the panic window; `None` before the first second has ended.
    pub(super) fn averages(&self) -> Option<(f64, f64)> {
        let over = |window: usize| {
            let newest = self.buckets.iter().rev().take(window);
            let count = window.min(self.buckets.len());
            newest.sum::<f64>() / count as f64
        };
        (!self.buckets.is_empty()).then(|| (over(STABLE_WINDOW), over(PANIC_WINDOW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_bucket_is_an_average_by_time() {
        let mut metric = Metric::default();
        metric.pass(seconds(0.25), 8, true);
        assert_eq!(metric.averages(), None);
        metric.pass(seconds(1.0), 0, true);
        assert_eq!(metric.averages(), Some((2.0, 2.0)));
    }

    #[test]
    fn windows_are_of_six_and_of_sixty_seconds() {
        let mut metric = Metric::default();
        metric.pass(seconds(60.0), 1, true);
        metric.pass(seconds(63.0), 7, true);
        assert_eq!(metric.averages(), Some(((57.0 + 21.0) / 60.0, 4.0)));
    }

    #[test]
    fn before_a_window_is_full_the_average_is_over_what_there_is() {
        let mut metric = Metric::default();
        metric.pass(seconds(2.0), 10, true);
        assert_eq!(metric.averages(), Some((10.0, 10.0)));
    }

    #[test]
    fn a_window_without_reports_starts_anew() {
        let mut metric = Metric::default();
        metric.pass(seconds(2.0), 10, true);
        metric.pass(seconds(100.5), 0, false);
        assert_eq!(metric.averages(), None);
        // Half a second of it was reported, with 4 throughout.
        metric.pass(seconds(101.0), 4, true);
        assert_eq!(metric.averages(), Some((4.0, 4.0)));
    }
}
