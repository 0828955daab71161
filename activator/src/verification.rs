//! Whether a new revision answers, before it takes the traffic.
//!
//! To verify is to invoke: it waits for a slot as a request does, so the instance boots by the same rules, a failure comes with the same
//! reason, and what the instance is asked never runs beside a request. The instance then stays: it is there when the traffic comes.

mod ask;

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{
    engine::{BootFailure, Refusal},
    entrypoint::{Entrypoint, Slot},
};
use ask::{Problem, ask};

/// Between two looks at a boot that failed or has not begun. Boots themselves back off in the engine.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The outcome is told this often for as long as it is asked for: a word that was lost must not hold up a rollout for ever.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// Between two requests to an instance that does not answer well yet.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Between two instances that accepted and did not answer well.
const BOOT_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Between a panic and the next beginning.
const BEGIN_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What an instance has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it has to answer; `None`: to accept a connection is enough.
    pub path: Option<String>,
    /// The host that it is asked for.
    pub host: String,
    /// Longest wait for a good answer of an instance that accepts.
    pub within: Duration,
}

/// Why an attempt came to nothing.
enum Setback {
    /// It did not boot.
    Boot(BootFailure),
    /// It accepted and did not answer well.
    Answer(BootFailure),
    /// This replica cannot say: it is not the owner.
    Unknown,
}

/// Asks until the revision answers, and says each outcome, again and again. Runs until it is dropped.
///
/// # Guarantees
/// A panic on the way is a log line and a new beginning: nobody else would notice, and the rollout would wait for ever.
///
/// # Assumptions
/// The entrypoint is configured to have one instance ([`crate::entrypoints::verifying`]).
pub async fn verify(entrypoint: Arc<Entrypoint>, check: Check, tell: impl Fn(Option<BootFailure>)) {
    let mut waits = waits(BEGIN_AGAIN);
    loop {
        // What a panic leaves behind is dropped, its slot too; whatever is asked next starts from nothing.
        let verifying = AssertUnwindSafe(ask_and_tell(&entrypoint, &check, &tell));
        let Err(_) = verifying.catch_unwind().await;
        tracing::error!(entrypoint = %entrypoint.key, "the verification panicked, it begins again");
        sleep(waits.next().unwrap_or(BEGIN_AGAIN.1)).await;
    }
}

async fn ask_and_tell(
    entrypoint: &Entrypoint,
    check: &Check,
    tell: &impl Fn(Option<BootFailure>),
) -> Infallible {
    let mut waits = waits(BOOT_AGAIN);
    loop {
        let wait = match attempt(entrypoint, check).await {
            Ok(()) => break,
            Err(Setback::Unknown) => LOOK_AGAIN,
            Err(Setback::Boot(failure)) => {
                tell(Some(failure));
                LOOK_AGAIN
            }
            Err(Setback::Answer(failure)) => {
                tell(Some(failure));
                waits.next().unwrap_or(BOOT_AGAIN.1)
            }
        };
        sleep(wait).await;
    }
    loop {
        tell(None);
        sleep(TELL_AGAIN).await;
    }
}

async fn attempt(entrypoint: &Entrypoint, check: &Check) -> Result<(), Setback> {
    let slot = match entrypoint.admit().await {
        Ok(slot) => slot,
        Err(Refusal::BootFailed(failure) | Refusal::BootTimeout(failure)) => {
            return Err(Setback::Boot(failure));
        }
        Err(_) => return Err(Setback::Unknown),
    };
    let Some(path) = &check.path else {
        slot.give_back();
        return Ok(());
    };
    answers_well(slot, path, check).await
}

/// Asks until the answer is good. Otherwise the instance goes with its slot: it may still be at work on what it was asked.
async fn answers_well(mut slot: Slot, path: &str, check: &Check) -> Result<(), Setback> {
    let deadline = Instant::now() + check.within;
    let failure = |message: String| {
        Setback::Answer(BootFailure {
            reason: "VerificationFailed".to_owned(),
            message: format!("GET {path}: {message}"),
        })
    };
    let address = slot.instance.address();
    let address = address.ok_or_else(|| failure("the instance has no address".to_owned()))?;
    let mut waits = waits(ASK_AGAIN);
    let mut last = format!("no answer within {:?}", check.within);
    loop {
        let asked = ask(address, &check.host, path);
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(())) => {
                slot.finish();
                return Ok(());
            }
            Ok(Err(Problem::Gone(error))) => return Err(failure(error.to_string())),
            Ok(Err(problem)) => last = problem.to_string(),
            Err(_) => return Err(failure(last)),
        }
        let wait = waits.next().unwrap_or(ASK_AGAIN.1);
        if Instant::now() + wait >= deadline {
            return Err(failure(last));
        }
        sleep(wait).await;
    }
}

fn waits((first, longest): (Duration, Duration)) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
        .build()
}
