//! From a request to its answer.

use std::{future::pending, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    call::{Asked, Call, Verb},
    faults::Trouble,
    process::{Death, Process},
    selector::Selector,
    state::{Answer, State, failure},
    watches,
};

/// What a service answers with.
pub(super) type Answered = Result<Response<UnsyncBoxBody<Bytes, tower::BoxError>>, tower::BoxError>;

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(100);
/// More requests than this at one moment of paused time are a loop without a wait.
const AT_ONCE: usize = 5_000;

pub(super) async fn serve(process: Process, request: Request<Body>) -> Answered {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = Asked::new(&head, serde_json::from_slice(&body).unwrap_or_default());
    if process.is_dead() {
        return pending().await;
    }
    let trouble = note(&process, &asked);
    let slow = process.double.state().slow;
    if slow.is_some_and(|end| asked.path.ends_with(end)) {
        tokio::time::sleep(SLOW).await;
    }
    match trouble {
        Some(Trouble::Refusal(code, reason, after)) => {
            return respond(failure(code, reason), after);
        }
        Some(Trouble::Ending) => return respond(ending(), None),
        Some(Trouble::Lost) => return pending().await,
        Some(Trouble::Cut) if asked.verb != Verb::Watch => {
            return Err("the connection was reset".into());
        }
        Some(Trouble::Unanswered) if asked.verb == Verb::Watch => return pending().await,
        Some(Trouble::Cut | Trouble::Gone | Trouble::Unanswered) | None => {}
    }
    if asked.verb == Verb::Watch {
        return watches::begin(&process, &asked, trouble);
    }
    let death = is_write(&asked).then(|| process.begins_write()).flatten();
    if let Some(Death::Before(_)) = death {
        process.die();
        return pending().await;
    }
    let answer = process.double.state().answer_all(&asked, &process.name);
    process.double.wake();
    if let Some(Death::After(_)) = death {
        process.die();
    }
    if process.is_dead() || trouble == Some(Trouble::Unanswered) {
        return pending().await;
    }
    respond(answer, None)
}

fn is_write(asked: &Asked) -> bool {
    !matches!(asked.verb, Verb::Get | Verb::List)
}

/// Writes a request down, and says what goes wrong with it.
fn note(process: &Process, asked: &Asked) -> Option<Trouble> {
    let mut state = process.double.state();
    let now = Instant::now();
    let at_once = state
        .requests
        .iter()
        .rev()
        .take_while(|call| call.at == now);
    let at_once = at_once.count();
    state.requests.push(Call {
        method: asked.method.clone(),
        verb: asked.verb,
        path: asked.path.clone(),
        manager: asked.manager().cloned(),
        body: asked.body.clone(),
        by: process.name.clone(),
        at: now,
    });
    let trouble = state.faults.iter().find(|fault| fault.concerns(asked));
    let trouble = trouble.map(|fault| fault.trouble);
    drop(state);
    assert!(at_once < AT_ONCE, "a loop without a wait: {asked:?}");
    trouble
}

/// What the admission plugin NamespaceLifecycle says.
fn ending() -> Answer {
    let (code, mut body) = failure(403, "Forbidden");
    body["message"] =
        json!("unable to create new content in the namespace because it is being terminated");
    body["details"] =
        json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]});
    (code, body)
}

fn respond((code, body): Answer, retry_after: Option<u64>) -> Answered {
    let body = Full::new(Bytes::from(body.to_string()));
    let mut response = Response::builder().status(code);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Ok(response.body(body)?)
}

impl State {
    fn answer_all(&mut self, asked: &Asked, process: &str) -> Answer {
        match asked.verb {
            Verb::List => self.list(asked),
            _ => self.answer(asked, process),
        }
    }

    /// One page. All pages of a list speak of the version of the first: what changed in between comes by the watch that follows.
    fn list(&self, asked: &Asked) -> Answer {
        let selector = Selector::of(&asked.query);
        let limit = asked
            .query
            .get("limit")
            .and_then(|limit| limit.parse().ok());
        let from = asked
            .query
            .get("continue")
            .and_then(|from| from.split_once(':'));
        let version = from.map_or(self.version, |(version, _)| version.parse().unwrap_or(0));
        if from.is_some() && version < self.compacted {
            return failure(410, "Expired");
        }
        let after = from.map(|(_, path)| path);
        let mut found = self
            .objects
            .iter()
            .filter(|(path, _)| after.is_none_or(|after| path.as_str() > after))
            .filter(|(path, _)| asked.target.holds(path))
            .filter(|(_, stored)| selector.selects(&stored.object));
        let limit: usize = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if found.next().is_some()
            && let Some((last, _)) = page.last()
        {
            metadata["continue"] = json!(format!("{version}:{last}"));
        }
        let items: Vec<&Value> = page.iter().map(|(_, stored)| &stored.object).collect();
        let list =
            json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
        (200, list)
    }
}
