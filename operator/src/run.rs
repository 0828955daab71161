//! The life of a replica: it stands by, leads, and stops.

use std::{io, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::leader::Leader;

/// Does `work` while this replica leads. `work` ends by itself soon after its token is cancelled.
///
/// # Guarantees
/// On SIGTERM or SIGINT the running work is finished under a Lease that is still renewed, and then the Lease is given back.
///
/// # Errors
/// The process cannot listen for signals.
pub async fn run<F>(
    mut leader: Leader,
    work: impl FnOnce(CancellationToken) -> F,
) -> io::Result<ExitCode>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = CancellationToken::new();
    let signals = told.clone();
    let listener = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        signals.cancel();
    });
    let end = until(&told, &mut leader, work).await;
    listener.abort();
    if end == ExitCode::SUCCESS {
        leader.release().await;
    }
    Ok(end)
}

async fn until<F>(
    told: &CancellationToken,
    leader: &mut Leader,
    work: impl FnOnce(CancellationToken) -> F,
) -> ExitCode
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::select! {
        () = leader.acquire() => {}
        () = told.cancelled() => return ExitCode::SUCCESS,
    }
    let working = tokio::spawn(work(told.clone()));
    tokio::select! {
        // The process ends at once, with whatever is half done: another may lead from now on.
        () = leader.lead() => {
            error!("the lease is lost");
            ExitCode::FAILURE
        }
        end = working => match end {
            Ok(()) if told.is_cancelled() => ExitCode::SUCCESS,
            Ok(()) | Err(_) => {
                error!("the watches ended");
                ExitCode::FAILURE
            }
        }
    }
}
