//! One Function: observe → decide → apply → report.
//!
//! # Expected flow
//! Level-triggered: it runs whenever the Function or one of its children changed, looks at everything anew, and does what is left
//! to do. Running it again does nothing.

use std::{sync::Arc, time::Duration};

use crds::conditions::Reason;
use kube::{
    Client,
    runtime::{controller::Action, events::Recorder},
};

use crate::{
    apply::{self, apply},
    configs::Configs,
    desired::decide,
    hosts::Claims,
    images::Images,
    inquire::inquire,
    memory::Memory,
    observe::{Caches, Guarded, Observed, observe},
    platform::Platform,
    report::{report, report_unchanged},
    status::Trouble,
};

/// A revision that lost its traffic stays this long: until activators have seen that, requests still go there.
const LINGER: Duration = Duration::from_secs(10);

/// What every reconcile shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches keep.
    pub caches: Caches,
    /// What the watches may not show yet.
    pub memory: Memory,
    /// Who has which host.
    pub claims: Claims,
    /// What Secrets and ConfigMaps say.
    pub configs: Configs,
    /// How large images are.
    pub images: Images,
    /// Where Events go.
    pub recorder: Recorder,
    /// What holds for all Functions.
    pub platform: Platform,
}

/// Why a reconcile is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A child.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// The status.
    #[error("{operation} status of the Function")]
    Status {
        /// `read` or `apply`.
        operation: &'static str,
        /// What happened.
        source: kube::Error,
    },
    /// An answer of the API server is overdue.
    #[error("no answer within {0:?}")]
    Overdue(Duration),
    /// A bug; the next try may meet other circumstances.
    #[error("the reconcile panicked")]
    Panicked,
}

/// Makes the cluster what one Function says, and reports on it.
///
/// # Errors
/// What another try may mend. What only a person can mend is reported on the Function and is no error.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let function = match &object.0 {
        Ok(function) => function,
        Err(unreadable) => {
            let trouble = Trouble::Stalled(Reason::InvalidSpec, format!("spec: {unreadable}"));
            return unchanged(&object, trouble, &context).await;
        }
    };
    if function.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let mut observed = Observed {
        hosts: context.claims.hosts(function, &context.platform),
        ..observe(function, &context.caches, &context.memory)
    };
    observed.findings = match inquire(function, &observed, &context).await {
        Ok(findings) => findings,
        Err(problem) => {
            let message = format!("{problem}; until it can be read nothing is changed");
            let trouble = Trouble::Retrying(Reason::ConfigUnreadable, message);
            return unchanged(&object, trouble, &context).await;
        }
    };
    let mut plan = decide(function, &observed, &context.platform);
    let linger = context
        .memory
        .let_linger(function, &mut plan.orphans, LINGER);
    let applied = apply(&context.client, function, &observed, &plan).await;
    let again = report(function, &observed, &plan, applied, &context).await?;
    let next = again.into_iter().chain(linger).min();
    Ok(action(next))
}

/// Says why nothing is done.
async fn unchanged(object: &Guarded, trouble: Trouble, context: &Context) -> Result<Action, Error> {
    Ok(action(report_unchanged(object, trouble, context).await?))
}

fn action(next: Option<Duration>) -> Action {
    next.map_or_else(Action::await_change, Action::requeue)
}

#[cfg(test)]
mod tests;
