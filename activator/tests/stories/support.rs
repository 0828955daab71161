//! What the stories share.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod function;
pub(crate) mod thaw;

use std::time::Duration;

use tokio::time::{sleep, timeout};

pub(crate) use client::{Answer, Client, Raw};
pub(crate) use function::Program;
pub(crate) use thaw::{HOST, Manifest, Thaw};

/// Whatever takes this long does not happen. Far more than any step needs, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a story looks.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let looking = async {
        while !is() {
            sleep(LOOK).await;
        }
    };
    let seen = timeout(DEADLINE, looking).await;
    assert!(seen.is_ok(), "never: {what}");
}

/// The outcome of something that must not take for ever.
pub(crate) async fn soon<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    let outcome = timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Milliseconds, short enough for a story.
pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
