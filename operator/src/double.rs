//! An API server in memory, as far as the operator's tests need one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::Stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// Objects by path, and every request that was made.
#[derive(Clone, Default)]
pub(crate) struct Double {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    requests: Vec<Call>,
    refusals: Vec<(Method, &'static str, u16, &'static str)>,
    is_silent: bool,
    slow: Option<&'static str>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) manager: Option<String>,
    pub(crate) body: Value,
}

impl Double {
    /// A client of this API server.
    pub(crate) fn client(&self) -> Client {
        let double = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let double = double.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let manager = head.uri.query().and_then(|query| {
                    let mut pairs = query.split('&');
                    pairs.find_map(|pair| Some(pair.strip_prefix("fieldManager=")?.to_owned()))
                });
                let call = Call {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    manager,
                    body,
                };
                let slow = double.state().slow;
                if slow.is_some_and(|end| call.path.ends_with(end)) {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                if double.state().is_silent {
                    std::future::pending::<()>().await;
                }
                let is_watch = head.uri.query().is_some_and(|q| q.contains("watch=true"));
                let (code, body) = if is_watch {
                    // What it would bring is not needed by any test.
                    (200, StreamBody::new(pending_frames()).boxed_unsync())
                } else {
                    let (code, body) = double.answer(call);
                    let body = Full::new(Bytes::from(body.to_string()));
                    (code, body.map_err(|never| match never {}).boxed_unsync())
                };
                let response = Response::builder().status(code).body(body);
                Ok::<_, tower::BoxError>(response.expect("a plain response"))
            }
        });
        Client::new(service, "default")
    }

    /// Refuses requests whose path contains `part`, until [`Self::allow_all`].
    pub(crate) fn refuse(&self, method: Method, part: &'static str, code: u16, why: &'static str) {
        self.state().refusals.push((method, part, code, why));
    }

    /// Answers nothing any more, as behind a connection that died.
    pub(crate) fn fall_silent(&self) {
        self.state().is_silent = true;
    }

    /// Takes its time over paths that end so.
    pub(crate) fn slow_down(&self, end: &'static str) {
        self.state().slow = Some(end);
    }

    /// Ends all refusals.
    pub(crate) fn allow_all(&self) {
        self.state().refusals.clear();
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().requests)
    }

    /// The object at this path.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// The objects below this path.
    pub(crate) fn list(&self, below: &str) -> Vec<Value> {
        self.list_where(|path| path.starts_with(below))
    }

    /// The objects whose path `is_wanted`.
    pub(crate) fn list_where(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let state = self.state();
        let found = state.objects.iter().filter(|(path, _)| is_wanted(path));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// Removes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(path.to_owned(), object);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics inside")
    }

    fn answer(&self, call: Call) -> (u16, Value) {
        let mut state = self.state();
        state.requests.push(call.clone());
        let refusal = state
            .refusals
            .iter()
            .find(|(method, part, ..)| *method == call.method && call.path.contains(part));
        if let Some((_, _, code, why)) = refusal {
            return failure(*code, why);
        }
        match call.method {
            Method::POST => state.create(call),
            Method::PUT => state.replace(call),
            Method::PATCH => state.patch(call),
            Method::DELETE => state.delete(&call),
            _ => match call.path.rsplit('/').next() {
                Some(
                    kind @ ("functions" | "deployments" | "networkpolicies" | "widgets"
                    | "services" | "ingresses" | "httproutes"),
                ) => state.list_all(kind),
                _ => state.objects.get(&call.path).map_or_else(not_found, ok),
            },
        }
    }
}

fn pending_frames() -> impl Stream<Item = Result<Frame<Bytes>, tower::BoxError>> {
    futures::stream::pending()
}

impl State {
    fn list_all(&self, kind: &str) -> (u16, Value) {
        let kind = format!("/{kind}/");
        let found = self.objects.iter().filter(|(path, _)| path.contains(&kind));
        let items: Vec<_> = found.map(|(_, object)| object.clone()).collect();
        let version = self.version.to_string();
        (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn store(&mut self, path: String, mut object: Value) -> (u16, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        (200, object)
    }

    fn create(&mut self, call: Call) -> (u16, Value) {
        let mut object = call.body;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{}/{name}", call.path);
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists");
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["managedFields"] =
            json!([{"manager": call.manager, "operation": "Update"}]);
        self.store(path, object)
    }

    fn replace(&mut self, call: Call) -> (u16, Value) {
        let Some(there) = self.objects.get(&call.path) else {
            return not_found();
        };
        if there["metadata"]["resourceVersion"] != call.body["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        self.store(call.path, call.body)
    }

    /// A server-side apply, without ownership of fields.
    fn patch(&mut self, call: Call) -> (u16, Value) {
        let path = call.path.trim_end_matches("/status").to_owned();
        let Some(there) = self.objects.get(&path) else {
            return not_found();
        };
        let mut object = there.clone();
        if call.body["metadata"]["uid"] != object["metadata"]["uid"] {
            return failure(409, "Conflict");
        }
        let before = object["status"]["entrypoints"].clone();
        merge(&mut object, call.body);
        if let Some(now) = object.pointer_mut("/status/entrypoints") {
            keep_of_others(&before, now);
        }
        let managers = &mut object["metadata"]["managedFields"];
        if managers.is_null() {
            *managers = json!([]);
        }
        let apply = json!({"manager": call.manager, "operation": "Apply"});
        if let Some(managers) = managers.as_array_mut()
            && !managers.contains(&apply)
        {
            managers.push(apply);
        }
        self.store(path, object)
    }

    fn delete(&mut self, call: &Call) -> (u16, Value) {
        let Some(there) = self.objects.get(&call.path) else {
            return not_found();
        };
        let wanted = &call.body["preconditions"];
        let (uid, version) = (&wanted["uid"], &wanted["resourceVersion"]);
        let meta = &there["metadata"];
        if *uid != meta["uid"] || *version != meta["resourceVersion"] {
            return failure(409, "Conflict");
        }
        self.objects
            .remove(&call.path)
            .map_or_else(not_found, |gone| (200, gone))
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What the activator wrote about an entrypoint stays when the operator applies what it has to say.
fn keep_of_others(before: &Value, now: &mut Value) {
    for entrypoint in now.as_array_mut().into_iter().flatten() {
        let mut all = before.as_array().into_iter().flatten();
        let Some(before) = all.find(|before| before["name"] == entrypoint["name"]) else {
            continue;
        };
        for field in ["lastBoot", "verified"] {
            if let Some(value) = before.get(field) {
                entrypoint[field] = value.clone();
            }
        }
    }
}

fn ok(object: &Value) -> (u16, Value) {
    (200, object.clone())
}

fn not_found() -> (u16, Value) {
    failure(404, "NotFound")
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    (code, body)
}

pub(crate) mod fixtures {
    //! Objects that tests start from.

    use std::collections::BTreeMap;

    use crds::function::Function;
    use serde_json::json;

    use crate::{
        attachment::{Extra, Home, Kind},
        platform::{NetworkPolicySettings, Platform},
        settings::Scheme,
    };

    /// A kind beside the activator.
    pub(crate) const WIDGET: Kind = Kind {
        group: "example.com",
        version: "v1",
        name: "Widget",
        plural: "widgets",
        home: Home::Activator,
        required: &["size"],
        extra: Extra::Fields,
        is_guard: false,
        is_optional: true,
    };

    /// What all Functions of the tests share.
    pub(crate) fn platform() -> Platform {
        Platform {
            domain: "example.com".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            allowed_hosts: None,
            ingress: None,
            gateway: None,
            scheme: Scheme::Http,
            namespace: "thaw-system".to_owned(),
            namespaces: Vec::new(),
            activator: BTreeMap::from([("app".to_owned(), "activator".to_owned())]),
            network_policy: Some(NetworkPolicySettings {
                egress: vec![Default::default()],
            }),
        }
    }

    /// The Function `name` in namespace `prod`, with this spec in YAML.
    pub(crate) fn function(name: &str, spec: &str) -> Function {
        let mut function = Function::new(name, serde_yaml::from_str(spec).unwrap_or_default());
        function.metadata.namespace = Some("prod".to_owned());
        function.metadata.uid = Some(format!("uid-of-{name}"));
        function.metadata.generation = Some(1);
        function.metadata.resource_version = Some("1".to_owned());
        function
    }

    /// As the API server holds it.
    pub(crate) fn stored(function: &Function) -> serde_json::Value {
        json!(function)
    }
}
