//! What concerns Functions and is no object of Thaw: answers about images, and changes of Secrets and ConfigMaps.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Resource,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        controller::{ReconcileReason, ReconcileRequest},
        reflector::ObjectRef,
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{Request, WATCH, patience::Patience};
use crate::{
    configs::{Kind, Object},
    images::Woken,
    observe::Guarded,
    reconcile::Context,
};

/// Functions whose question about an image has been answered.
pub(super) fn woken(mut woken: Woken) -> BoxStream<'static, Request> {
    let functions = stream::poll_fn(move |context| woken.poll_recv(context));
    functions.map(request).boxed()
}

/// Functions that use a Secret or ConfigMap that has changed; none where these may not be read.
pub(super) fn changed(context: &Arc<Context>) -> BoxStream<'static, Request> {
    if !context.configs.is_on() {
        return stream::empty().boxed();
    }
    let namespaces = &context.platform.namespaces;
    let places: Vec<_> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(Some).collect()
    };
    let watches = places.into_iter().map(|namespace| {
        let secrets = changes(api::<Secret>(context, namespace), Kind::Secret, context);
        let maps = changes(
            api::<ConfigMap>(context, namespace),
            Kind::ConfigMap,
            context,
        );
        stream::select(secrets, maps).boxed()
    });
    stream::select_all(watches).boxed()
}

/// The objects of a namespace, or of all.
fn api<K>(context: &Context, namespace: Option<&String>) -> Api<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let client = context.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// Nothing of the objects is kept: what they say is read by whoever uses them.
fn changes<K>(
    objects: Api<PartialObjectMeta<K>>,
    kind: Kind,
    context: &Arc<Context>,
) -> impl Stream<Item = Request> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let context = context.clone();
    watcher(objects, Config::default().timeout(WATCH))
        .backoff(Patience::default())
        .flat_map(move |event| {
            let requests = match event {
                Ok(event) => users(&event, kind, &context),
                Err(error) => vec![Err(error)],
            };
            stream::iter(requests)
        })
}

fn users<K>(event: &Event<PartialObjectMeta<K>>, kind: Kind, context: &Context) -> Vec<Request> {
    let functions = match event {
        Event::Apply(object) | Event::Delete(object) => context.configs.changed(&Object {
            kind,
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }),
        Event::Init | Event::InitApply(_) => vec![],
        // Whatever happened while nobody watched.
        Event::InitDone => context.configs.all_changed(kind),
    };
    functions.into_iter().map(request).collect()
}

fn request(obj_ref: ObjectRef<Guarded>) -> Request {
    Ok(ReconcileRequest {
        obj_ref,
        reason: ReconcileReason::Unknown,
    })
}
