//! How long to wait before a watch that failed is tried again.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

use crate::waits::Waits;

/// Without a failure for so long, the next one is the first.
const CALM: Duration = Duration::from_secs(60);

/// Waits that grow with each failure, whatever worked in between.
///
/// The watcher says that it begins a new list before it asks for one, and lists anew after each "too old": were every success in between
/// the end of the trouble, as the watcher's own backoff takes it, a list that is refused and a version that is always too old would
/// be tried again every second.
#[derive(Default)]
pub(super) struct Patience {
    waits: Waits,
    last: Option<Instant>,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > CALM) {
            self.waits = Waits::default();
        }
        self.last = Some(now);
        Some(self.waits.next_wait())
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waits::{LONGEST, SHORTEST};

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_there_was_calm() {
        let mut patience = Patience::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(patience.next().expect("it never gives up"));
            patience.reset();
        }
        assert!(
            waits[0] < 2 * SHORTEST + Duration::from_millis(1),
            "{waits:?}"
        );
        assert!(
            waits[4..]
                .iter()
                .all(|wait| (LONGEST..=2 * LONGEST).contains(wait)),
            "{waits:?}"
        );
        tokio::time::advance(CALM + SHORTEST).await;
        assert!(patience.next().is_some_and(|wait| wait < 3 * SHORTEST));
    }
}
