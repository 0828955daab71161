//! How long to wait before something that failed is tried again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first wait, up to as much again added by chance.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait, up to as much again added by chance: whatever is mended is noticed within 10 s, and an answer that does not come is
/// given up after 15 s, so everything is as it should be half a minute after the API server is.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Waits that grow with each failure, without end.
#[derive(Debug)]
pub struct Waits(ExponentialBackoff);

impl Default for Waits {
    fn default() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(SHORTEST)
            .with_max_delay(LONGEST)
            .without_max_times()
            .with_jitter();
        Self(waits.build())
    }
}

impl Waits {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}
