//! What to tell a person: one Event for each thing that changed, none when nothing did. Pure; [`crate::report`] publishes them.

use crds::{
    FunctionStatus,
    conditions::{ROUTES_READY, Reason, STALLED},
    status::{EntrypointStatus, Measured, Measurer},
};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ObjectReference},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use crate::{apply::Applied, desired::Child, observe};

/// Longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The Events of one reconcile.
pub fn events(
    children: &[Child],
    applied: &Applied,
    previous: &FunctionStatus,
    reported: &FunctionStatus,
) -> Vec<Event> {
    let created = children
        .iter()
        .zip(&applied.outcomes)
        .filter(|(_, outcome)| outcome.is_new)
        .map(|(child, _)| created(child));
    let removed = applied.removed.iter().map(|gone| removed(gone));
    let moved = reported
        .entrypoints
        .iter()
        .filter_map(|entrypoint| moved(previous, entrypoint));
    let unmeasured = reported
        .entrypoints
        .iter()
        .filter_map(|entrypoint| unmeasured(previous, entrypoint));
    created
        .chain(unmeasured)
        .chain(moved)
        .chain(removed)
        .chain(stalled(previous, reported))
        .chain(unrouted(previous, reported))
        .collect()
}

fn created(child: &Child) -> Event {
    let (revision, entrypoint, image) = (&child.revision, &child.entrypoint, &child.image);
    event(
        EventType::Normal,
        "RevisionCreated",
        "CreateRevision",
        format!("revision {revision} of {entrypoint}, from image {image}"),
        // Kubernetes counts Events that are alike but for their note as one: the Deployment tells the revisions apart.
        Some(child.deployment.object_ref(&())),
    )
}

fn removed(gone: &Deployment) -> Event {
    let (revision, entrypoint) = (observe::revision(gone), observe::entrypoint(gone));
    event(
        EventType::Normal,
        "RevisionRemoved",
        "RemoveRevision",
        format!(
            "revision {revision} of {entrypoint}: no entrypoint wants it and it has no instance left"
        ),
        Some(gone.object_ref(&())),
    )
}

/// The traffic of an entrypoint went from one revision to another.
fn moved(previous: &FunctionStatus, now: &EntrypointStatus) -> Option<Event> {
    let before = previous.entrypoints.iter().find(|e| e.name == now.name)?;
    let (name, to) = (&now.name, now.ready_revision.as_ref()?);
    let own = before.ready_revision.iter().filter(|from| *from != to);
    let others = before.predecessors.iter();
    let others = others.filter(|from| !now.predecessors.contains(from));
    let others = others.map(|from| format!("{}@{}", from.entrypoint, from.revision));
    let mut from: Vec<_> = own.cloned().chain(others).collect();
    from.dedup();
    let from = match from.as_slice() {
        [] => return None,
        [one] => format!("{one} ends what it runs"),
        several => format!("{} end what they run", several.join(", ")),
    };
    Some(event(
        EventType::Normal,
        "TrafficMoved",
        &format!("MoveTraffic-{name}-{to}"),
        format!("invocations of {name} go to revision {to}; {from}"),
        None,
    ))
}

/// A revision may boot although nobody says how large its image is.
fn unmeasured(previous: &FunctionStatus, now: &EntrypointStatus) -> Option<Event> {
    let measured = now.measured.as_ref().filter(|m| m.by == Measurer::Nobody)?;
    let mut before = previous.entrypoints.iter();
    let before = before.find(|before| before.name == now.name);
    let is_told = before.is_some_and(|before| before.measured.as_ref() == Some(measured));
    let Measured {
        revision, message, ..
    } = measured;
    let name = &now.name;
    (!is_told).then(|| {
        event(
            EventType::Warning,
            Reason::ImageUnmeasured.as_str(),
            &format!("MeasureImage-{name}-{revision}"),
            format!("revision {revision} of {name} boots although nobody says how large its image is: {message}; it is refused later if a node says that it is too large"),
            None,
        )
    })
}

fn stalled(previous: &FunctionStatus, now: &FunctionStatus) -> Option<Event> {
    let stalled = condition(now, STALLED, "True")?;
    // A revision that fails is booted again and again, and may fail in other words each time; an image that is too large is told in fewer
    // words before its registry has been asked again.
    let is_same = |before: &Condition| {
        let retried = [Reason::RevisionFailed, Reason::ImageTooLarge];
        let is_revision = retried
            .iter()
            .any(|retried| stalled.reason == retried.as_str());
        let is_retry = is_revision && before.observed_generation == stalled.observed_generation;
        before.reason == stalled.reason && (is_retry || before.message == stalled.message)
    };
    let is_told = condition(previous, STALLED, "True").is_some_and(is_same);
    let generation = now.observed_generation.unwrap_or(0);
    (!is_told).then(|| {
        event(
            EventType::Warning,
            &stalled.reason,
            &format!("ReadManifest-{generation}"),
            stalled.message.clone(),
            None,
        )
    })
}

/// A host leads elsewhere, or nowhere, and not because of something that [`stalled`] tells.
fn unrouted(previous: &FunctionStatus, now: &FunctionStatus) -> Option<Event> {
    let unrouted = condition(now, ROUTES_READY, "False")?;
    let is_same = |other: &Condition| {
        (&other.reason, &other.message) == (&unrouted.reason, &unrouted.message)
    };
    let is_told = condition(previous, ROUTES_READY, "False").is_some_and(is_same)
        || condition(now, STALLED, "True").is_some_and(is_same);
    let is_passing = unrouted.reason == Reason::Progressing.as_str();
    (!is_told && !is_passing).then(|| {
        event(
            EventType::Warning,
            &unrouted.reason,
            &format!("RouteHosts-{}", now.observed_generation.unwrap_or(0)),
            unrouted.message.clone(),
            None,
        )
    })
}

fn condition<'a>(status: &'a FunctionStatus, type_: &str, is: &str) -> Option<&'a Condition> {
    let mut conditions = status.conditions.iter();
    conditions.find(|condition| condition.type_ == type_ && condition.status == is)
}

fn event(
    type_: EventType,
    reason: &str,
    action: &str,
    mut note: String,
    secondary: Option<ObjectReference>,
) -> Event {
    if note.len() > LONGEST_NOTE {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE - '…'.len_utf8()));
        note.push('…');
    }
    Event {
        type_,
        reason: reason.to_owned(),
        action: action.to_owned(),
        note: Some(note),
        secondary,
    }
}
