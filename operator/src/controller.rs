//! What is watched, which Function each change concerns, and when one that failed is tried again.
//!
//! One watch of Functions and one of Deployments fill the caches that [`crate::observe`] reads, and the same events start the
//! reconciles, so none runs before its cause is in the cache.

mod inquiries;

use std::{sync::Arc, time::Duration};

use crds::names;
use futures::{
    FutureExt, Stream, StreamExt,
    future::{self, BoxFuture},
    stream,
};
use k8s_openapi::{
    api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        controller::{self, Action, Config, ReconcileReason, ReconcileRequest},
        reflector::ObjectRef,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, debug, warn};

use crate::{
    admin::Health,
    images::{self, Inquiries},
    metrics::{End, Metrics},
    observe::{Caches, Guarded, Writers},
    reconcile::{Context, Error, reconcile},
};

/// Functions reconciled at once: enough to hide the API server's latency, few enough to leave it to others.
const CONCURRENCY: u16 = 8;
/// A watch ends after this many seconds and is resumed; one whose connection died silently is noticed 5 s later.
const WATCH: u32 = 60;
/// Longest reconcile. A Function of 100 entrypoints takes 200 writes; a connection that died silently is not waited for longer.
const OVERDUE: Duration = Duration::from_secs(60);

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
    let requests = stream::select_all([
        function_requests(&context, writers.functions).boxed(),
        deployment_requests(&context, writers.deployments).boxed(),
        inquiries::woken(inquiries.woken),
        inquiries::changed(&context),
    ]);
    // A task of its own: registries are waited for even while every reconcile waits for the API server.
    let asker = context.clone();
    let asking = async move { images::ask(&asker.images, &asker.client, inquiries.asks).await };
    let _asking = AbortOnDropHandle::new(tokio::spawn(asking));
    // The caches wake only the one task that asked last whether they are filled: this one asks, the reconciles ask the token.
    let filled = CancellationToken::new();
    let is_filled = filled.clone();
    let ends = controller::applier(
        move |function, context| measured(function, context, metrics.clone(), is_filled.clone()),
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
    let reconciles = ends.for_each(|end| {
        settle(end, &context);
        future::ready(())
    });
    tokio::join!(reconciles, fill);
}

/// Waits until both watches have brought everything once.
async fn all_filled(caches: &Caches) {
    let (functions, deployments) = tokio::join!(
        caches.functions.wait_until_ready(),
        caches.deployments.wait_until_ready()
    );
    if functions.and(deployments).is_err() {
        // The watches have ended, which they do only when told to stop.
        future::pending::<()>().await;
    }
}

fn function_requests(
    context: &Arc<Context>,
    writer: kube::runtime::reflector::store::Writer<Guarded>,
) -> impl Stream<Item = Request> + Send + use<> {
    let functions = Api::<Guarded>::all(context.client.clone());
    let context = context.clone();
    watcher(functions, watcher::Config::default().timeout(WATCH))
        .default_backoff()
        .modify(|function| function.managed_fields_mut().clear())
        .reflect(writer)
        .flat_map(move |event| match event {
            Ok(event) => {
                let changed = |f: &Guarded| Some(ObjectRef::from_obj(f));
                concerned(&event, changed, &context)
            }
            Err(error) => stream::iter(vec![Err(error)]),
        })
}

fn deployment_requests(
    context: &Arc<Context>,
    writer: kube::runtime::reflector::store::Writer<Deployment>,
) -> impl Stream<Item = Request> + Send + use<> {
    let deployments = Api::<Deployment>::all(context.client.clone());
    let children = watcher::Config::default()
        .timeout(WATCH)
        .labels(names::CHILDREN);
    let context = context.clone();
    watcher(deployments, children)
        .default_backoff()
        .modify(|deployment| trim(deployment.managed_fields_mut()))
        .reflect(writer)
        .flat_map(move |event| match event {
            Ok(event) => concerned(&event, owner, &context),
            Err(error) => stream::iter(vec![Err(error)]),
        })
}

/// Who writes is of interest, which fields is not: they are half of an object's size.
fn trim(managed: &mut [ManagedFieldsEntry]) {
    for entry in managed {
        entry.fields_v1 = None;
    }
}

fn owner(deployment: &Deployment) -> Option<ObjectRef<Guarded>> {
    let namespace = deployment.metadata.namespace.as_deref();
    let mut owners = deployment.owner_references().iter();
    owners.find_map(|owner| ObjectRef::from_owner_ref(namespace, owner, ()))
}

/// The Functions that an event concerns.
///
/// A new list stands in the cache only once it is complete, and does not name what was deleted while nobody watched, so at its end
/// every Function is looked at. That is also the start of the operator.
fn concerned<K>(
    event: &Event<K>,
    of: impl Fn(&K) -> Option<ObjectRef<Guarded>>,
    context: &Context,
) -> stream::Iter<std::vec::IntoIter<Request>> {
    let functions = match event {
        Event::Apply(object) | Event::Delete(object) => of(object).into_iter().collect(),
        Event::Init | Event::InitApply(_) => Vec::new(),
        Event::InitDone => {
            context.memory.forget_missing(&context.caches);
            let all = context.caches.functions.state();
            all.iter().map(|f| ObjectRef::from_obj(&**f)).collect()
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

/// One reconcile, in a task of its own: a panic ends that one only.
fn measured(
    object: Arc<Guarded>,
    context: Arc<Context>,
    metrics: Metrics,
    filled: CancellationToken,
) -> BoxFuture<'static, Result<Action, Error>> {
    let work = async move {
        let started = Instant::now();
        // Deployments that the cache does not hold yet would be created again.
        let end = match timeout(OVERDUE, async {
            filled.cancelled().await;
            reconcile(object, context).await
        })
        .await
        {
            Ok(end) => end,
            Err(_) => Err(Error::Overdue(OVERDUE)),
        };
        let outcome = if end.is_ok() {
            End::Succeeded
        } else {
            End::Failed
        };
        metrics.reconciled(outcome, started.elapsed());
        end
    };
    let task = tokio::spawn(work.in_current_span());
    task.map(|end| end.unwrap_or(Err(Error::Panicked))).boxed()
}

fn retry(function: &Guarded, error: &Error, context: &Context) -> Action {
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

fn settle(
    end: Result<(ObjectRef<Guarded>, Action), controller::Error<Error, watcher::Error>>,
    context: &Context,
) {
    match end {
        Ok((function, _)) => debug!(%function, "reconciled"),
        Err(controller::Error::ObjectNotFound(gone)) => {
            let mut function = ObjectRef::new(&gone.name);
            function.namespace = gone.namespace.clone();
            context.memory.forget(&function);
            context.configs.forget(&function);
        }
        // `retry` has said it.
        Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) => {
            warn!(error = chain(&error), "watch failed; it is resumed");
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::Recorder;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{
        configs::Configs,
        double::{Double, fixtures},
        images::Images,
        memory::Memory,
        settings::Scheme,
    };

    const FUNCTIONS: &str = "/apis/thaw.dev/v1alpha1/namespaces/prod/functions/";

    /// More Functions than are reconciled at once, all there before the operator, and read before the Deployments are.
    #[tokio::test(start_paused = true)]
    async fn everything_that_stood_before_the_start_is_reconciled_and_a_stop_ends_it() {
        let double = Double::default();
        for number in 0..3 * CONCURRENCY {
            let name = format!("f{number}");
            let spec = "{image: a, entrypoints: [{name: web, path: /}]}";
            let function = fixtures::function(&name, spec);
            double.put(&format!("{FUNCTIONS}{name}"), fixtures::stored(&function));
        }
        double.slow_down("/apps/v1/deployments");
        let (caches, writers) = Caches::new();
        let metrics = Metrics::new(&mut Registry::default(), caches.clone());
        let client = double.client();
        let (images, inquiries) = Images::new(images::Settings::default());
        let context = Context {
            configs: Configs::default(),
            images,
            recorder: Recorder::new(client.clone(), "thaw-operator".into()),
            client,
            caches,
            memory: Memory::default(),
            domain: "example.com".to_owned(),
            scheme: Scheme::Http,
        };
        let health = Health::new(tokio::sync::watch::Sender::new(None).subscribe(), WAIT);
        let stop = CancellationToken::new();
        let context = Arc::new(context);
        let run = run(context, writers, inquiries, metrics, health, stop.clone());
        let running = tokio::spawn(run);

        let is_ready = |f: &serde_json::Value| f["status"]["conditions"][0]["status"] == "True";
        let all = async {
            while !double.list(FUNCTIONS).iter().all(is_ready) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(WAIT, all).await.expect("all are ready");
        stop.cancel();
        let end = timeout(WAIT, running).await.expect("it ends");
        end.expect("it did not panic");
    }

    const WAIT: Duration = Duration::from_secs(5);
}
