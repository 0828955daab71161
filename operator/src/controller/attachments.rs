//! The watch of one kind of attachment.

use std::{mem, slice, sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use kube::{
    Api,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event},
    },
};
use tokio::time::sleep;
use tracing::info;

use super::{
    Request, children, concerned,
    merged::{Seen, watched},
    owners, trim,
};
use crate::{
    attachment::{HTTP_ROUTE, Home, Kind},
    observe::Guarded,
    reconcile::Context,
};

/// How often it is asked whether an API that was not there has come. The client itself would ask every second.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What concerns Functions among the events of one kind. They fill the cache behind `writer`.
pub(super) fn requests(
    context: &Arc<Context>,
    kind: Kind,
    writer: Writer<DynamicObject>,
) -> BoxStream<'static, Request> {
    let namespaces: &[String] = match kind.home {
        Home::Function => &context.platform.namespaces,
        Home::Activator => slice::from_ref(&context.platform.namespace),
    };
    let events = watched(
        namespaces,
        &writer,
        &children(),
        |namespace| match namespace {
            Some(namespace) => kind.api(&context.client, namespace),
            None => Api::all_with(context.client.clone(), &kind.resource()),
        },
    );
    let context = context.clone();
    let mut is_absent = false;
    events
        .map(move |event| none_if_absent(kind, event, &mut is_absent))
        .then(|events| async move {
            if events.is_empty() {
                sleep(ASK_AGAIN).await;
            }
            stream::iter(events)
        })
        .flatten()
        .modify(move |object| {
            trim(object);
            keep(kind, object);
        })
        .reflect(writer)
        .flat_map(move |event| match event {
            Ok(event) => concerned(&event, |object| whose(kind, object), &context),
            Err(error) => stream::iter(vec![Err(error)]),
        })
        .boxed()
}

/// Leaves only what is looked at: what is wanted, and what a Gateway says about it.
fn keep(kind: Kind, object: &mut DynamicObject) {
    if let Some(data) = object.data.as_object_mut() {
        data.retain(|field, _| field == "spec" || (field == "status" && kind == HTTP_ROUTE));
    }
}

/// The Functions that an object names, by owner reference and by label: when somebody changes one of the two, the other still tells.
fn whose(kind: Kind, object: &DynamicObject) -> Vec<ObjectRef<Guarded>> {
    let mut functions = owners(object);
    functions.extend(kind.function(object));
    functions
}

/// A kind whose API is not there has no objects; that is said once. The watch goes on asking, so that the API may come later.
fn none_if_absent(
    kind: Kind,
    event: Seen<DynamicObject>,
    is_absent: &mut bool,
) -> Vec<Seen<DynamicObject>> {
    // Not `is_not_found`: a group that is not there is answered in plain text, which the client reads as another reason.
    let is_not_found = matches!(
        &event,
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404
    );
    if !(kind.is_optional && is_not_found) {
        // Each list begins with this one, before it is known how it ends.
        *is_absent &= matches!(event, Ok(Event::Init));
        return vec![event];
    }
    if mem::replace(is_absent, true) {
        return Vec::new();
    }
    let (group, version) = (kind.group, kind.version);
    info!(
        kind = kind.name,
        group, version, "the API server does not have this API"
    );
    vec![Ok(Event::Init), Ok(Event::InitDone)]
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::attachment::INGRESS;

    #[test]
    fn what_a_gateway_says_about_a_route_is_kept_and_no_other_status() {
        for (kind, kept) in [(HTTP_ROUTE, &["spec", "status"][..]), (INGRESS, &["spec"])] {
            let mut object = DynamicObject::new("a", &kind.resource());
            object.data = serde_json::json!({"spec": 1, "status": 2, "other": 3});
            keep(kind, &mut object);
            let data = object.data.as_object().unwrap();
            assert!(data.keys().eq(kept), "{data:?}");
        }
    }

    /// The API server answers so where it knows no such group, and not with a Status.
    #[test]
    fn an_api_that_is_not_there_answers_in_plain_text() {
        let status =
            Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        let error = || watcher::Error::InitialListFailed(kube::Error::Api(status.clone().boxed()));
        let mut is_absent = false;
        let events = none_if_absent(HTTP_ROUTE, Err(error()), &mut is_absent);
        assert!(matches!(events[..], [Ok(Event::Init), Ok(Event::InitDone)]));
        assert!(none_if_absent(HTTP_ROUTE, Ok(Event::Init), &mut is_absent).len() == 1);
        assert!(none_if_absent(HTTP_ROUTE, Err(error()), &mut is_absent).is_empty());
    }
}
