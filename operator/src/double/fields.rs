//! Fields of an object: which there are, and how those of one object come into another.
//!
//! Lists of objects with a key are merged by it, as structural schemas say with `x-kubernetes-list-type: map`; other lists are one value.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// One step into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// The element of a list that has these values, as JSON.
    Element(String),
}

/// A field that holds a plain value, a list that is one, or nothing.
pub(super) type Field = Vec<Step>;

/// Lists that are merged, and what tells their elements apart.
const KEYS: [(&str, &str); 11] = [
    ("bundles", "name"),
    ("conditions", "type"),
    ("containers", "name"),
    ("entrypoints", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("ownerReferences", "uid"),
    ("ports", "containerPort"),
    ("ports", "port"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// What tells an element of the list `name` from the others.
fn key(name: &str, element: &Value) -> Option<String> {
    let mut keys = KEYS.iter().filter(|(list, _)| *list == name);
    keys.find_map(|(_, key)| {
        let value = element.get(key)?;
        Some(json!({ *key: value }).to_string())
    })
}

/// The elements of a list that is merged, each with its key.
fn elements<'a>(name: &str, value: &'a Value) -> Option<Vec<(String, &'a Value)>> {
    let items = value.as_array()?;
    if !KEYS.iter().any(|(list, _)| *list == name) {
        return None;
    }
    let keyed = items
        .iter()
        .map(|item| key(name, item).map(|key| (key, item)));
    keyed.collect()
}

/// The fields of `value`, which lies at `at`.
pub(super) fn fields(at: &Field, value: &Value, into: &mut BTreeSet<Field>) {
    let below = |step: Step| at.iter().cloned().chain([step]).collect::<Field>();
    match value {
        Value::Null => {}
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                match elements(name, value) {
                    Some(elements) => {
                        for (key, element) in elements {
                            let mut field = below(Step::Field(name.clone()));
                            field.push(Step::Element(key));
                            fields(&field, element, into);
                        }
                    }
                    None => fields(&below(Step::Field(name.clone())), value, into),
                }
            }
        }
        _ => {
            into.insert(at.clone());
        }
    }
}

/// Puts everything that `from` says into `into`.
pub(super) fn merge(into: &mut Value, from: &Value) {
    let Value::Object(from) = from else {
        into.clone_from(from);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in from.iter().filter(|(_, value)| !value.is_null()) {
        let slot = &mut into[name.as_str()];
        match elements(name, value) {
            Some(elements) => merge_elements(name, slot, &elements),
            None if value.is_object() => merge(slot, value),
            None => slot.clone_from(value),
        }
    }
}

fn merge_elements(name: &str, into: &mut Value, elements: &[(String, &Value)]) {
    // That there are none says nothing about those of others.
    if !into.is_array() && !elements.is_empty() {
        *into = json!([]);
    }
    let Some(items) = into.as_array_mut() else {
        return;
    };
    for (wanted, element) in elements {
        match items
            .iter_mut()
            .find(|item| key(name, item).as_ref() == Some(wanted))
        {
            Some(item) => merge(item, element),
            None => items.push((*element).clone()),
        }
    }
}

/// Takes fields away, and what is empty because of that.
pub(super) fn remove_all(from: &mut Value, gone: &[Field]) {
    // The key of an element goes with the last of its other fields: in a second round.
    for field in gone.iter().rev().chain(gone.iter().rev()) {
        remove(from, field);
    }
}

fn remove(from: &mut Value, field: &[Step]) {
    let [step, rest @ ..] = field else { return };
    match (step, from) {
        (Step::Field(name), Value::Object(map)) => {
            let Some(value) = map.get_mut(name) else {
                return;
            };
            match rest {
                [] => drop(map.remove(name)),
                [Step::Element(wanted), rest @ ..] => {
                    remove_element(name, value, wanted, rest);
                    if value.as_array().is_some_and(Vec::is_empty) {
                        map.remove(name);
                    }
                }
                _ => {
                    remove(value, rest);
                    if value.as_object().is_some_and(Map::is_empty) {
                        map.remove(name);
                    }
                }
            }
        }
        _ => {}
    }
}

fn remove_element(name: &str, list: &mut Value, wanted: &str, rest: &[Step]) {
    let Some(items) = list.as_array_mut() else {
        return;
    };
    let is_it = |item: &Value| key(name, item).as_deref() == Some(wanted);
    if let Some(item) = items.iter_mut().find(|item| is_it(item)) {
        // Its key goes last: until then the element is found by it.
        let keys: Value = serde_json::from_str(wanted).expect("a key is JSON");
        let is_key = matches!(rest, [Step::Field(field)] if keys.get(field).is_some());
        if !is_key {
            remove(item, rest);
        }
        let is_bare = *item == keys;
        if is_key && is_bare {
            items.retain(|item| !is_it(item));
        }
    }
}

/// The value of a field.
pub(super) fn value<'a>(of: &'a Value, field: &[Step]) -> Option<&'a Value> {
    match field {
        [] => Some(of),
        [Step::Field(name), Step::Element(wanted), rest @ ..] => {
            let mut items = of.get(name)?.as_array()?.iter();
            let item = items.find(|item| key(name, item).as_ref() == Some(wanted))?;
            value(item, rest)
        }
        [Step::Field(name), rest @ ..] => value(of.get(name)?, rest),
        [Step::Element(_), ..] => None,
    }
}

/// As `managedFields` has them.
pub(super) fn fields_v1(fields: &BTreeSet<Field>) -> Value {
    let mut all = json!({});
    for field in fields {
        let mut at = &mut all;
        for step in field {
            let name = match step {
                Step::Field(name) => format!("f:{name}"),
                Step::Element(key) => format!("k:{key}"),
            };
            at = &mut at[name];
            if at.is_null() {
                *at = json!({});
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &Value) -> BTreeSet<Field> {
        let mut all = BTreeSet::new();
        fields(&Vec::new(), value, &mut all);
        all
    }

    #[test]
    fn what_is_merged_and_taken_away_again_leaves_nothing_behind() {
        let theirs = json!({"a": {"env": [{"name": "x", "value": "1"}]}});
        let ours = json!({"a": {"b": 1, "env": [{"name": "y", "value": "2"}, {"name": "x", "more": 3}]}, "c": ["d"]});
        let mut both = theirs.clone();
        merge(&mut both, &ours);
        assert_eq!(
            both["a"]["env"][0],
            json!({"name": "x", "value": "1", "more": 3})
        );
        let theirs_alone = all(&theirs);
        let given_up: Vec<Field> = all(&ours).difference(&theirs_alone).cloned().collect();
        assert!(
            given_up.iter().all(|field| value(&both, field).is_some()),
            "{given_up:?}"
        );
        remove_all(&mut both, &given_up);
        assert_eq!(both, theirs);
        merge(&mut both, &json!({"a": {"env": []}}));
        assert_eq!(both, theirs, "no element is no word about those of others");
    }
}
