//! An answer that a client lets us wait with.

use tokio::time::Instant;

use super::LEAST;

/// Since when the client takes nothing, or next to nothing, of what is there for it.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<(Instant, usize)>);

impl Backlog {
    /// The client takes no more now. Since when it has taken too little.
    pub(super) fn since(&mut self) -> Instant {
        self.0.get_or_insert_with(|| (Instant::now(), 0)).0
    }

    /// It has taken so many bytes.
    pub(super) fn took(&mut self, bytes: usize) {
        let more = self.0.map(|(since, taken)| (since, taken + bytes));
        self.0 = more.filter(|(_, taken)| *taken < LEAST);
    }

    /// It has taken all there was.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_next_to_nothing_has_taken_nothing() {
        let (mut backlog, begin) = (Backlog::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(backlog.since(), begin);
            advance(Duration::from_secs(1)).await;
            backlog.took(LEAST / 10);
        }
        backlog.took(LEAST / 10);
        assert_eq!(backlog.since(), Instant::now(), "that is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_taken_all_lets_nobody_wait() {
        let mut backlog = Backlog::default();
        backlog.since();
        advance(Duration::from_secs(1)).await;
        backlog.took(1);
        backlog.clear();
        advance(Duration::from_secs(1)).await;
        assert_eq!(backlog.since(), Instant::now());
    }
}
