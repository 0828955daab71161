//! What is watched, which Function each change concerns, and when one that failed is tried again.
//!
//! One watch of Functions and one of each kind of child fill the caches that [`crate::observe`] reads, and the same events start the
//! reconciles, so none runs before its cause is in the cache.

mod attachments;
mod inquiries;
mod merged;
mod patience;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crds::names;
use futures::{
    FutureExt, Stream, StreamExt,
    future::{self, BoxFuture},
    stream,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        controller::{self, Action, Config, ReconcileReason, ReconcileRequest},
        reflector::ObjectRef,
        watcher::{self, Event},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, debug, warn};

use merged::watched;

use crate::{
    admin::Health,
    attachment::Home,
    images::{self, Inquiries},
    metrics::{End, Metrics},
    observe::{Caches, Guarded, Writers, reference},
    reconcile::{Context, Error, reconcile},
    sweep::Sweeps,
};

/// Functions reconciled at once: enough to hide the API server's latency, few enough to leave it to others.
const CONCURRENCY: u16 = 8;
/// Of those, Functions whose last reconcile was slow, or one in their namespace: a namespace whose webhooks hang leaves the rest to others,
/// once one reconcile there has shown it.
const SLOW_ONES: usize = 4;
/// When one that found no room is tried again.
const ROOM: Duration = Duration::from_secs(2);
/// A watch ends after this many seconds and is resumed; one whose connection died silently is noticed 5 s later.
const WATCH: u32 = 60;
/// Longest reconcile. A Function of 100 entrypoints takes 200 writes; a connection that died silently is not waited for longer.
const OVERDUE: Duration = Duration::from_secs(60);

/// A Function at rest is looked at again after this long, or up to half as much later so that not all are at once. The look is at the
/// caches and asks nobody; it is there for a wait whose end nobody tells, should one have been overlooked.
const RESYNC: Duration = Duration::from_secs(600);

type Request = Result<ReconcileRequest<Guarded>, watcher::Error>;

/// Reconciles until `stop`, then finishes what is running.
pub async fn run(
    context: Arc<Context>,
    writers: Writers,
    inquiries: Inquiries,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) {
    let caches = context.caches.clone();
    let mut watches = vec![
        function_requests(&context, writers.functions).boxed(),
        deployment_requests(&context, writers.deployments).boxed(),
    ];
    for (kind, writer) in writers.attachments {
        watches.push(attachments::requests(&context, kind, writer));
    }
    watches.push(inquiries::woken(inquiries.woken));
    watches.push(inquiries::changed(&context));
    let requests = stream::select_all(watches);
    // A task of its own: registries are waited for even while every reconcile waits for the API server.
    let asker = context.clone();
    let asking = async move { images::ask(&asker.images, &asker.client, inquiries.asks).await };
    let _asking = AbortOnDropHandle::new(tokio::spawn(asking));
    // The caches wake only the one task that asked last whether they are filled: this one asks, the reconciles ask the token.
    let filled = CancellationToken::new();
    let is_filled = filled.clone();
    let room = Arc::new(Semaphore::new(SLOW_ONES));
    let ends = controller::applier(
        move |function, context: Arc<Context>| {
            let Some(place) = place(&function, &context, &room) else {
                return future::ok(Action::requeue(ROOM)).boxed();
            };
            let work = measured(function, context, metrics.clone(), is_filled.clone());
            work.inspect(move |_| drop(place)).boxed()
        },
        |function, error, context: Arc<Context>| retry(&function, error, &context),
        context.clone(),
        caches.functions.clone(),
        requests.take_until(stop.clone().cancelled_owned()).boxed(),
        Config::default().concurrency(CONCURRENCY),
    );
    let fill = async {
        tokio::select! {
            () = all_filled(&caches) => {
                filled.cancel();
                health.set_synced();
            }
            () = stop.cancelled() => {}
        }
    };
    let sweeps = Arc::new(Sweeps::default());
    // No limit: a sweep that waits for its next try must not hold up the ends of others.
    let reconciles = ends.for_each_concurrent(None, |end| {
        let gone = settle(end, &context);
        clear(gone, sweeps.clone(), context.clone(), stop.clone())
    });
    tokio::join!(reconciles, fill);
}

/// Waits until every watch has brought everything once.
async fn all_filled(caches: &Caches) {
    let attachments = caches.attachments.iter();
    let attachments = attachments.map(|(_, store)| store.wait_until_ready());
    let (functions, deployments, attachments) = tokio::join!(
        caches.functions.wait_until_ready(),
        caches.deployments.wait_until_ready(),
        future::try_join_all(attachments)
    );
    if functions
        .and(deployments)
        .and(attachments.map(drop))
        .is_err()
    {
        // The watches have ended, which they do only when told to stop.
        future::pending::<()>().await;
    }
}

fn function_requests(
    context: &Arc<Context>,
    writer: kube::runtime::reflector::store::Writer<Guarded>,
) -> impl Stream<Item = Request> + Send + use<> {
    let all = watcher::Config::default().timeout(WATCH);
    let namespaces = &context.platform.namespaces;
    let events = watched(namespaces, &writer, &all, |namespace| match namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    });
    let context = context.clone();
    events
        .modify(|function| function.managed_fields_mut().clear())
        .reflect(writer)
        .flat_map(move |event| match event {
            Ok(event) => {
                let others = claim(&event, &context);
                let changed = |f: &Guarded| {
                    let own = std::iter::once(ObjectRef::from_obj(f));
                    own.chain(others.clone()).collect()
                };
                concerned(&event, changed, &context)
            }
            Err(error) => stream::iter(vec![Err(error)]),
        })
}

/// Takes note of who claims which host, before anything is done about it. Returns the other Functions that lost or got one.
fn claim(event: &Event<Guarded>, context: &Context) -> Vec<ObjectRef<Guarded>> {
    let (claims, platform) = (&context.claims, &context.platform);
    match event {
        Event::Apply(function) => claims.seen(function, platform),
        Event::Delete(function) => claims.gone(function),
        Event::Init | Event::InitApply(_) => vec![],
        Event::InitDone => {
            claims.listed(&context.caches.functions.state(), platform);
            vec![]
        }
    }
}

fn deployment_requests(
    context: &Arc<Context>,
    writer: kube::runtime::reflector::store::Writer<Deployment>,
) -> impl Stream<Item = Request> + Send + use<> {
    let namespaces = &context.platform.namespaces;
    let events = watched(
        namespaces,
        &writer,
        &children(),
        |namespace| match namespace {
            Some(namespace) => Api::namespaced(context.client.clone(), namespace),
            None => Api::all(context.client.clone()),
        },
    );
    let context = context.clone();
    events
        .modify(trim)
        .reflect(writer)
        .flat_map(move |event| match event {
            Ok(event) => concerned(&event, owners, &context),
            Err(error) => stream::iter(vec![Err(error)]),
        })
}

/// The children of all Functions.
fn children() -> watcher::Config {
    watcher::Config::default()
        .timeout(WATCH)
        .labels(names::CHILDREN)
}

/// Who writes is of interest, which fields is not: they are half of an object's size.
fn trim(object: &mut impl ResourceExt) {
    for entry in object.managed_fields_mut() {
        entry.fields_v1 = None;
    }
}

fn owners(object: &impl ResourceExt) -> Vec<ObjectRef<Guarded>> {
    let namespace = object.meta().namespace.as_deref();
    let owners = object.owner_references().iter();
    owners
        .filter_map(|owner| ObjectRef::from_owner_ref(namespace, owner, ()))
        .collect()
}

/// The Functions that an event concerns.
///
/// A new list stands in the cache only once it is complete, and does not name what was deleted while nobody watched, so at its end
/// every Function is looked at. That is also the start of the operator.
fn concerned<K>(
    event: &Event<K>,
    of: impl Fn(&K) -> Vec<ObjectRef<Guarded>>,
    context: &Context,
) -> stream::Iter<std::vec::IntoIter<Request>> {
    let functions = match event {
        Event::Apply(object) | Event::Delete(object) => of(object),
        Event::Init | Event::InitApply(_) => Vec::new(),
        Event::InitDone => {
            context.memory.forget_missing(&context.caches);
            everything(&context.caches)
        }
    };
    let request = |obj_ref| {
        Ok(ReconcileRequest {
            obj_ref,
            reason: ReconcileReason::Unknown,
        })
    };
    stream::iter(functions.into_iter().map(request).collect::<Vec<_>>())
}

/// Every Function, and those that are gone but left something behind.
fn everything(caches: &Caches) -> Vec<ObjectRef<Guarded>> {
    let functions = caches.functions.state();
    let left = caches.attachments(|kind, _| kind.home == Home::Activator);
    functions
        .iter()
        .map(|function| ObjectRef::from_obj(&**function))
        .chain(left.iter().filter_map(|(kind, left)| kind.function(left)))
        .collect()
}

/// Where a Function may be reconciled now, if there is room for it.
fn place(
    function: &Guarded,
    context: &Context,
    room: &Arc<Semaphore>,
) -> Option<Option<OwnedSemaphorePermit>> {
    if context.memory.is_slow(function) {
        room.clone().try_acquire_owned().ok().map(Some)
    } else {
        Some(None)
    }
}

/// One reconcile, in a task of its own: a panic ends that one only.
fn measured(
    object: Arc<Guarded>,
    context: Arc<Context>,
    metrics: Metrics,
    filled: CancellationToken,
) -> BoxFuture<'static, Result<Action, Error>> {
    let again = Action::requeue(resync(&object));
    let work = async move {
        let mut started = Instant::now();
        let end = timeout(OVERDUE, async {
            // Deployments that the cache does not hold yet would be created again.
            filled.cancelled().await;
            started = Instant::now();
            reconcile(object.clone(), context.clone()).await
        });
        let end = end.await.unwrap_or(Err(Error::Overdue(OVERDUE)));
        let outcome = match end {
            Ok(_) => End::Succeeded,
            Err(_) => End::Failed,
        };
        let took = started.elapsed();
        context.memory.took(&*object, took);
        metrics.reconciled(outcome, took);
        end.map(|action| {
            let is_at_rest = action == Action::await_change();
            if is_at_rest { again } else { action }
        })
    };
    let task = tokio::spawn(work.in_current_span());
    task.map(|end| end.unwrap_or(Err(Error::Panicked))).boxed()
}

/// The same for an object each time, and evenly spread over all.
fn resync(object: &Guarded) -> Duration {
    let mut hasher = DefaultHasher::new();
    object.uid().hash(&mut hasher);
    let share = hasher.finish() % 1000;
    RESYNC + RESYNC / 2 * u32::try_from(share).unwrap_or(0) / 1000
}

fn retry(function: &Guarded, error: &Error, context: &Context) -> Action {
    context.memory.doubt(function);
    let wait = context.memory.next_retry(function);
    let (namespace, function) = (function.namespace(), function.name_any());
    warn!(
        namespace,
        function,
        error = chain(error),
        ?wait,
        "reconcile failed"
    );
    Action::requeue(wait)
}

/// Takes note of how a reconcile ended; an answer is a Function that is gone.
fn settle(
    end: Result<(ObjectRef<Guarded>, Action), controller::Error<Error, watcher::Error>>,
    context: &Context,
) -> Option<ObjectRef<Guarded>> {
    match end {
        Ok((function, _)) => debug!(%function, "reconciled"),
        Err(controller::Error::ObjectNotFound(gone)) => {
            let function = reference(&gone.name, gone.namespace.as_deref());
            context.memory.forget(&function);
            context.configs.forget(&function);
            return Some(function);
        }
        // `retry` has said it.
        Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) => {
            warn!(error = chain(&error), "watch failed; it is resumed");
        }
    }
    None
}

/// Removes what a Function that is gone left behind, until told to stop.
async fn clear(
    gone: Option<ObjectRef<Guarded>>,
    sweeps: Arc<Sweeps>,
    context: Arc<Context>,
    stop: CancellationToken,
) {
    if let Some(gone) = gone {
        stop.run_until_cancelled(sweeps.sweep(&gone, &context))
            .await;
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests;
