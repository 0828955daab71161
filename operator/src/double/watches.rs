//! Watches: what changed since a version, and then what changes.

use std::time::Duration;

use futures::{Stream, stream};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    call::Asked,
    faults::Trouble,
    process::Process,
    selector::Selector,
    server::Answered,
    state::{Change, State, failure},
};

/// How long a watch lasts that names no end.
const LONGEST: Duration = Duration::from_secs(1800);

type Piece = Result<Frame<Bytes>, tower::BoxError>;

struct Watch {
    process: Process,
    asked: Asked,
    selector: Selector,
    /// Everything up to this version was told.
    told: u64,
    versions: watch::Receiver<u64>,
    /// How often all watches had been broken off when it began.
    cuts: u64,
    end: Instant,
    has_ended: bool,
    is_dead: bool,
}

/// What comes next.
enum Next {
    Event(Value),
    /// The last event.
    Last(Value),
    Broken,
    Nothing,
    Silence,
}

pub(super) fn begin(process: &Process, asked: &Asked, trouble: Option<Trouble>) -> Answered {
    let number = |name: &str| asked.query.get(name).and_then(|text| text.parse().ok());
    let lasts = number("timeoutSeconds").map_or(LONGEST, Duration::from_secs);
    let (version, cuts) = {
        let state = process.double.state();
        (state.version, state.cuts)
    };
    let watch = Watch {
        selector: Selector::of(&asked.query),
        told: number("resourceVersion").unwrap_or(version),
        versions: process.double.versions.subscribe(),
        cuts,
        end: Instant::now() + lasts,
        has_ended: trouble == Some(Trouble::Cut),
        is_dead: false,
        process: process.clone(),
        asked: asked.clone(),
    };
    let body = StreamBody::new(pieces(watch)).boxed_unsync();
    Ok(Response::builder().status(200).body(body)?)
}

fn pieces(watch: Watch) -> impl Stream<Item = Piece> + Send {
    stream::unfold(watch, |mut watch| async move {
        let piece = watch.next_piece().await?;
        Some((piece, watch))
    })
}

impl Watch {
    async fn next_piece(&mut self) -> Option<Piece> {
        loop {
            if self.has_ended {
                return None;
            }
            self.versions.borrow_and_update();
            match self.look() {
                Next::Event(event) => return Some(line(&event)),
                Next::Last(event) => {
                    self.has_ended = true;
                    return Some(line(&event));
                }
                Next::Broken => {
                    self.has_ended = true;
                    // Half a line is what a cut connection leaves.
                    return Some(Ok(Frame::data(Bytes::from_static(b"{\"type\":\"MODI"))));
                }
                Next::Silence => self.is_dead = true,
                Next::Nothing => {}
            }
            if self.is_dead {
                return std::future::pending().await;
            }
            tokio::select! {
                changed = self.versions.changed() => changed.expect("the API server is held here"),
                () = sleep_until(self.end) => return self.ends(),
            }
        }
    }

    /// A watch whose time is over says how far it came, if that is wanted.
    fn ends(&mut self) -> Option<Piece> {
        self.has_ended = true;
        let wanted = self.asked.query.get("allowWatchBookmarks");
        wanted.filter(|wanted| *wanted == "true")?;
        // The kind of what is watched is not known, and nobody asks for it.
        let metadata = json!({"resourceVersion": self.told.to_string()});
        Some(line(
            &json!({"type": "BOOKMARK", "object": {"kind": "Bookmark", "apiVersion": "v1", "metadata": metadata}}),
        ))
    }

    fn look(&mut self) -> Next {
        let process = self.process.clone();
        let state = process.double.state();
        if process.is_dead() {
            return Next::Silence;
        }
        match state
            .faults
            .iter()
            .find(|fault| fault.concerns(&self.asked))
        {
            Some(fault) if fault.trouble == Trouble::Lost => return Next::Silence,
            Some(fault) if fault.trouble == Trouble::Gone => return Next::Last(too_old()),
            _ => {}
        }
        if self.cuts != state.cuts {
            return Next::Broken;
        }
        if self.told < state.compacted {
            return Next::Last(too_old());
        }
        self.event(&state).map_or(Next::Nothing, Next::Event)
    }

    /// The first event that was not told.
    fn event(&mut self, state: &State) -> Option<Value> {
        let first = state
            .changes
            .partition_point(|change| change.version <= self.told);
        for change in &state.changes[first..] {
            self.told = change.version;
            if self.asked.target.holds(&change.path)
                && let Some(event) = self.told_by(change)
            {
                return Some(event);
            }
        }
        None
    }

    /// An object that no longer matches is gone for this watch.
    fn told_by(&self, change: &Change) -> Option<Value> {
        let selects = |object: &&Value| self.selector.selects(object);
        let before = change.before.as_deref().filter(selects);
        let after = change.after.as_deref().filter(selects);
        let (type_, object) = match (before, after) {
            (None, Some(after)) => ("ADDED", after.clone()),
            (Some(_), Some(after)) => ("MODIFIED", after.clone()),
            (Some(before), None) => ("DELETED", before.clone()),
            (None, None) => return None,
        };
        let mut event = json!({"type": type_, "object": object});
        event["object"]["metadata"]["resourceVersion"] = json!(change.version.to_string());
        Some(event)
    }
}

fn too_old() -> Value {
    let (_, status) = failure(410, "Expired");
    json!({"type": "ERROR", "object": status})
}

fn line(event: &Value) -> Piece {
    Ok(Frame::data(Bytes::from(format!("{event}\n"))))
}
