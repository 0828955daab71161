//! Server-side apply.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    call::Target,
    fields::{self, Field},
    state::{Answer, State, Stored, Writer, conflict, failure, owned},
};

impl State {
    /// Merges what a manager wants into the object, and takes away what it wanted before, wants no longer, and nobody else wants.
    pub(super) fn apply(
        &mut self,
        path: &str,
        wanted: &Value,
        by: &Writer,
        is_forced: bool,
    ) -> Answer {
        let Some(there) = self.objects.get(path) else {
            // A precondition that names an object that is not there cannot hold.
            return match (&wanted["metadata"]["uid"], by.subresource) {
                (Value::String(_), _) => failure(409, "Conflict"),
                (_, Some(_)) => failure(404, "NotFound"),
                _ => self.create_by_apply(path, wanted, by),
            };
        };
        if let Some(conflict) = conflict(&there.object, &wanted["metadata"]) {
            return conflict;
        }
        let mut stored = there.clone();
        let wanted = part(by, wanted);
        let named = owned(&wanted);
        let is_contested = |field: &Field| {
            let (now, then) = (
                fields::value(&wanted, field),
                fields::value(&stored.object, field),
            );
            now != then
        };
        let contested: BTreeSet<Field> =
            named.iter().filter(|f| is_contested(f)).cloned().collect();
        let mine = stored.owner(by, "Apply");
        let mut gone: Vec<Field> = mine.fields.difference(&named).cloned().collect();
        mine.fields.clone_from(&named);
        // Who wants nothing any more is no owner.
        stored.owners.retain(|owner| !owner.fields.is_empty());
        if !stored.wrest(&contested, by, is_forced) {
            return failure(409, "Conflict");
        }
        fields::merge(&mut stored.object, &wanted);
        gone.retain(|field| {
            !stored
                .owners
                .iter()
                .any(|owner| owner.fields.contains(field))
        });
        fields::remove_all(&mut stored.object, &gone);
        (200, self.commit(path, stored))
    }

    fn create_by_apply(&mut self, path: &str, wanted: &Value, by: &Writer) -> Answer {
        let answer = self.create(&Target::of(path), wanted.clone(), by);
        if let Some(stored) = self.objects.get_mut(path) {
            for owner in &mut stored.owners {
                owner.operation = "Apply";
            }
        }
        answer
    }
}

impl Stored {
    /// Takes fields from all other owners; false if there are any and force is not allowed.
    fn wrest(&mut self, contested: &BTreeSet<Field>, by: &Writer, is_forced: bool) -> bool {
        for owner in &mut self.owners {
            let is_mine = owner.manager == by.manager
                && owner.operation == "Apply"
                && owner.subresource.as_deref() == by.subresource;
            if is_mine {
                continue;
            }
            let held = owner.fields.len();
            owner.fields.retain(|field| !contested.contains(field));
            if held != owner.fields.len() && !is_forced {
                return false;
            }
        }
        self.owners.retain(|owner| !owner.fields.is_empty());
        true
    }
}

/// What of an apply counts at this door.
fn part(by: &Writer, wanted: &Value) -> Value {
    if by.subresource == Some("status") {
        return json!({"status": wanted["status"]});
    }
    let mut part = wanted.clone();
    if let Some(map) = part.as_object_mut() {
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| {
                matches!(
                    name.as_str(),
                    "labels" | "annotations" | "ownerReferences" | "finalizers"
                )
            });
        }
    }
    part
}
