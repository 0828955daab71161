//! Waiting for something with a deadline. Nothing here or in a story sleeps for a time and hopes.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks. Short beside everything that is waited for, long beside what a look costs the API server.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Looks until `look` succeeds.
///
/// # Errors
/// When `deadline` has passed: what was waited for, and why the last look did not succeed.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = anyhow!("the first look did not come back");
    loop {
        match timeout_at(end, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => last = why,
            Err(_) => break,
        }
        if Instant::now() >= end {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Err(last.context(format!("{what}: not within {deadline:?}")))
}
