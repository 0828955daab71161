//! How often something may begin.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// So many in a row.
pub(super) const AT_ONCE: u32 = 4;
/// And then one in so long.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// When the next turn of each name is, were there one every [`EVERY`].
#[derive(Default)]
pub(super) struct Pace {
    next: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    /// Waits until it may begin.
    pub(super) async fn turn(&self, name: &str) {
        let turn = {
            let now = Instant::now();
            let mut all = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let next = all.entry(name.to_owned()).or_insert(now);
            let turn = (*next).max(now);
            *next = turn + EVERY;
            turn - (AT_ONCE - 1) * EVERY
        };
        sleep_until(turn).await;
    }
}
