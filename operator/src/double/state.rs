//! The objects and what happened to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    call::{Asked, Call, Target, Verb},
    faults::Fault,
    fields::{self, Field},
};

/// An answer: its code and body.
pub(super) type Answer = (u16, Value);

#[derive(Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) changes: Vec<Change>,
    /// What changed until this version is forgotten.
    pub(super) compacted: u64,
    /// How often all watches were broken off.
    pub(super) cuts: u64,
    pub(super) requests: Vec<Call>,
    pub(super) faults: Vec<Fault>,
    pub(super) slow: Option<&'static str>,
    uids: u64,
}

/// An object and who has a say in which of its fields.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) object: Value,
    pub(super) owners: Vec<Owner>,
}

/// An entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: &'static str,
    pub(super) subresource: Option<String>,
    pub(super) fields: BTreeSet<Field>,
}

/// One change of one object.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) path: String,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
    pub(crate) at: Instant,
}

/// Who asks, and through which door.
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) subresource: Option<&'a str>,
}

impl State {
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path).map(|stored| &stored.object)
    }

    /// Does what was asked.
    pub(super) fn answer(&mut self, asked: &Asked, process: &str) -> Answer {
        let path = asked.target.object();
        let manager = asked.manager().map_or(process, String::as_str);
        let writer = Writer {
            manager,
            subresource: asked.target.subresource.as_deref(),
        };
        match asked.verb {
            Verb::Get => self
                .get(&path)
                .map_or_else(not_found, |object| (200, object.clone())),
            Verb::Create => self.create(&asked.target, asked.body.clone(), &writer),
            Verb::Update => self.update(&path, asked.body.clone(), &writer),
            Verb::Patch if asked.content_type.contains("apply-patch") => {
                let is_forced = asked
                    .query
                    .get("force")
                    .is_some_and(|force| force == "true");
                self.apply(&path, &asked.body, &writer, is_forced)
            }
            Verb::Patch => self.merge(&path, &asked.body, &writer),
            Verb::Delete => self.delete(&path, &asked.body),
            Verb::List | Verb::Watch => unreachable!("answered elsewhere"),
        }
    }

    pub(super) fn create(&mut self, target: &Target, mut object: Value, by: &Writer) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{}/{name}", target.collection());
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists");
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(format!("uid-{}", self.uids));
        metadata["creationTimestamp"] = json!(Timestamp::now().to_string());
        metadata["generation"] = json!(0);
        if let Some(namespace) = &target.namespace {
            metadata["namespace"] = json!(namespace);
        }
        // What has a status has it apart from the rest.
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
        let mut stored = Stored {
            object,
            owners: Vec::new(),
        };
        stored.updated(&json!({}), by);
        (201, self.commit(&path, stored))
    }

    /// Creates an object, or replaces it whatever its version.
    pub(super) fn write(&mut self, path: &str, mut object: Value, name: &str) {
        let by = Writer {
            manager: name,
            subresource: None,
        };
        if let Some(there) = self.get(path) {
            let metadata = &mut object["metadata"];
            for (key, value) in there["metadata"].as_object().into_iter().flatten() {
                if metadata[key].is_null() {
                    metadata[key] = value.clone();
                }
            }
            self.update(path, object, &by);
        } else {
            self.create(&Target::of(path), object, &by);
        }
    }

    pub(super) fn update(&mut self, path: &str, object: Value, by: &Writer) -> Answer {
        let Some(there) = self.objects.get(path) else {
            return not_found();
        };
        let before = there.object.clone();
        if let Some(conflict) = conflict(&before, &object["metadata"]) {
            return conflict;
        }
        let mut stored = Stored {
            object: through_door(&before, object, by),
            owners: there.owners.clone(),
        };
        stored.updated(&before, by);
        (200, self.commit(path, stored))
    }

    fn merge(&mut self, path: &str, patch: &Value, by: &Writer) -> Answer {
        let Some(there) = self.get(path) else {
            return not_found();
        };
        let mut object = there.clone();
        merge_patch(&mut object, patch);
        self.update(path, object, by)
    }

    fn delete(&mut self, path: &str, options: &Value) -> Answer {
        let Some(there) = self.get(path) else {
            return not_found();
        };
        if let Some(conflict) = conflict(there, &options["preconditions"]) {
            return conflict;
        }
        self.remove(path);
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200, "message": "", "reason": ""});
        (200, status)
    }

    /// Removes an object at once.
    pub(super) fn remove(&mut self, path: &str) {
        if let Some(gone) = self.objects.remove(path) {
            self.version += 1;
            let mut before = gone.object;
            before["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.note(path, Some(before), None);
        }
    }

    /// Puts an object there as it is.
    pub(super) fn put(&mut self, path: &str, mut object: Value) {
        let before = self.objects.remove(path).unwrap_or_default();
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let was_there = (!before.object.is_null()).then_some(before.object);
        self.note(path, was_there, Some(object.clone()));
        let owners = before.owners;
        self.objects
            .insert(path.to_owned(), Stored { object, owners });
    }

    /// Stores what was written, unless it changes nothing. The answer is what is there then.
    pub(super) fn commit(&mut self, path: &str, mut stored: Stored) -> Value {
        fill_defaults(&mut stored.object);
        let before = self.get(path).cloned().unwrap_or_default();
        let metadata = &before["metadata"];
        let managed = stored.managed_fields();
        let object = &mut stored.object;
        object["metadata"]["managedFields"] = json!(managed);
        object["metadata"]["generation"] = metadata["generation"].clone();
        object["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
        if *object == before {
            return before;
        }
        self.version += 1;
        if content(object) != content(&before) {
            let generation = metadata["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let now = object.clone();
        let before = (!before.is_null()).then_some(before);
        self.note(path, before, Some(now.clone()));
        self.objects.insert(path.to_owned(), stored);
        now
    }

    fn note(&mut self, path: &str, before: Option<Value>, after: Option<Value>) {
        self.changes.push(Change {
            version: self.version,
            path: path.to_owned(),
            before: before.map(Arc::new),
            after: after.map(Arc::new),
            at: Instant::now(),
        });
    }
}

impl Stored {
    /// The writer owns what it changed, and nobody what it removed.
    fn updated(&mut self, before: &Value, by: &Writer) {
        let (now, then) = (owned(&self.object), owned(before));
        let is_changed =
            |field: &&Field| fields::value(&self.object, field) != fields::value(before, field);
        let changed: BTreeSet<Field> = now.iter().filter(is_changed).cloned().collect();
        for owner in &mut self.owners {
            owner.fields.retain(|field| {
                !changed.contains(field) && (now.contains(field) || !then.contains(field))
            });
        }
        let owner = self.owner(by, "Update");
        owner.fields.extend(changed);
        self.owners.retain(|owner| !owner.fields.is_empty());
    }

    /// The entry of this writer.
    pub(super) fn owner(&mut self, by: &Writer, operation: &'static str) -> &mut Owner {
        let is_it = |owner: &Owner| {
            owner.manager == by.manager
                && owner.operation == operation
                && owner.subresource.as_deref() == by.subresource
        };
        let index = self.owners.iter().position(is_it).unwrap_or_else(|| {
            self.owners.push(Owner {
                manager: by.manager.to_owned(),
                operation,
                subresource: by.subresource.map(str::to_owned),
                fields: BTreeSet::new(),
            });
            self.owners.len() - 1
        });
        &mut self.owners[index]
    }

    fn managed_fields(&self) -> Vec<Value> {
        let entry = |owner: &Owner| {
            let mut entry = json!({"manager": owner.manager, "operation": owner.operation, "fieldsType": "FieldsV1", "fieldsV1": fields::fields_v1(&owner.fields)});
            if let Some(subresource) = &owner.subresource {
                entry["subresource"] = json!(subresource);
            }
            entry
        };
        self.owners.iter().map(entry).collect()
    }
}

/// What of an object somebody may own.
pub(super) fn owned(object: &Value) -> BTreeSet<Field> {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| {
                matches!(
                    name.as_str(),
                    "labels" | "annotations" | "ownerReferences" | "finalizers"
                )
            });
        }
    }
    let mut all = BTreeSet::new();
    fields::fields(&Vec::new(), &object, &mut all);
    all
}

/// The status changes through its own door only, and everything else through the other.
fn through_door(before: &Value, written: Value, by: &Writer) -> Value {
    let (mut object, status) = if by.subresource == Some("status") {
        (before.clone(), written["status"].clone())
    } else {
        (written, before["status"].clone())
    };
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
        if !status.is_null() {
            map.insert("status".to_owned(), status);
        }
        for name in ["uid", "creationTimestamp", "name", "namespace"] {
            map["metadata"][name] = before["metadata"][name].clone();
        }
    }
    object
}

/// Whether the object is not the one that is meant.
pub(super) fn conflict(there: &Value, meant: &Value) -> Option<Answer> {
    let differs = |name: &str| meant[name].is_string() && meant[name] != there["metadata"][name];
    (differs("uid") || differs("resourceVersion")).then(|| failure(409, "Conflict"))
}

/// What a generation counts.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    if let Some(map) = content.as_object_mut() {
        map.remove("metadata");
        map.remove("status");
    }
    content
}

/// Of the defaults that a real API server fills in, those that a Deployment without them would be dangerous with.
fn fill_defaults(object: &mut Value) {
    if object["kind"] == "Deployment" {
        let spec = &mut object["spec"];
        if spec["replicas"].is_null() {
            spec["replicas"] = json!(1);
        }
        if spec["progressDeadlineSeconds"].is_null() {
            spec["progressDeadlineSeconds"] = json!(600);
        }
    }
}

/// RFC 7396.
fn merge_patch(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().map(|map| map.remove(key));
        } else {
            merge_patch(&mut into[key.as_str()], value);
        }
    }
}

pub(super) fn not_found() -> Answer {
    failure(404, "NotFound")
}

pub(super) fn failure(code: u16, reason: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason});
    (code, body)
}
