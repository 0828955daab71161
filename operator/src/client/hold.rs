//! What the API server asks for when it has too much to do: that nobody comes again before a time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{Response, header::RETRY_AFTER};
use tokio::time::{Instant, sleep_until};

/// The longest wait that is taken at its word, so that a wrong one does not stop the operator for a day.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Until when nothing is sent. The API server counts what one account does together, so it holds for all requests.
#[derive(Default)]
pub(super) struct Hold {
    until: Mutex<Option<Instant>>,
}

impl Hold {
    /// Waits until something may be sent.
    pub(super) async fn is_over(&self) {
        while let Some(until) = self.until().filter(|until| *until > Instant::now()) {
            sleep_until(until).await;
        }
    }

    /// Reads what an answer asks for.
    pub(super) fn heed<B>(&self, answer: &Response<B>) {
        let asked = answer.headers().get(RETRY_AFTER);
        let seconds = asked.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(seconds) = seconds {
            let until = Instant::now() + Duration::from_secs(seconds).min(LONGEST);
            let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            *known = (*known).max(Some(until));
        }
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
