//! How slowly a client may send while an instance waits for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The slowest that a client may send its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second; not 0.
    pub bytes_per_second: u32,
    /// It may pause this long, and once more when it has caught up.
    pub grace: Duration,
}

/// Time that a client has left: waiting uses it up, bytes give it back.
#[derive(Debug)]
pub(super) struct Patience {
    rate: Rate,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            left: rate.grace,
            waiting: None,
        }
    }

    /// Waits for the client; ready when it has no time left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, end) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + left)))
        });
        end.as_mut().poll(cx)
    }

    /// The client has sent so many bytes.
    pub(super) fn heard(&mut self, bytes: u64) {
        if let Some((since, _)) = self.waiting.take() {
            let earned = bytes as f64 / f64::from(self.rate.bytes_per_second);
            let earned = Duration::from_secs_f64(earned.min(self.rate.grace.as_secs_f64()));
            let left = self.left.saturating_sub(since.elapsed());
            self.left = (left + earned).min(self.rate.grace);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const RATE: Rate = Rate {
        bytes_per_second: 100,
        grace: Duration::from_secs(10),
    };

    /// Whether a client that sends so many bytes a second for a minute is borne.
    async fn bears(bytes: u64) -> bool {
        let mut patience = Patience::new(RATE);
        for _ in 0..60 {
            let waiting = poll_fn(|cx| patience.poll(cx));
            if timeout(Duration::from_secs(1), waiting).await.is_ok() {
                return false;
            }
            patience.heard(bytes);
        }
        true
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_at_the_rate_may_go_on_and_a_slower_one_may_not() {
        assert!(bears(101).await);
        assert!(!bears(80).await);
        assert!(!bears(0).await);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_an_instance_takes_is_not_the_clients() {
        let mut patience = Patience::new(RATE);
        sleep(Duration::from_secs(60)).await;
        let waiting = poll_fn(|cx| patience.poll(cx));
        assert!(timeout(Duration::from_secs(9), waiting).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_earns_no_more_than_one_pause() {
        let mut patience = Patience::new(RATE);
        for _ in 0..2 {
            let waiting = poll_fn(|cx| patience.poll(cx));
            assert!(timeout(Duration::from_secs(9), waiting).await.is_err());
            patience.heard(1 << 20);
        }
        let waiting = poll_fn(|cx| patience.poll(cx));
        assert!(timeout(Duration::from_secs(11), waiting).await.is_ok());
    }
}
