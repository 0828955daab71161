//! Which objects a list or watch is about.

use std::collections::HashMap;

use serde_json::Value;

/// Label and field selectors of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    pointer: String,
    /// `None`: it has to be there.
    value: Option<String>,
    is_negated: bool,
}

impl Selector {
    pub(super) fn of(query: &HashMap<String, String>) -> Self {
        let labels = query.get("labelSelector").map(String::as_str);
        let fields = query.get("fieldSelector").map(String::as_str);
        let labels = terms(labels.unwrap_or_default(), |label| {
            format!("/metadata/labels/{}", label.replace('/', "~1"))
        });
        let fields = terms(fields.unwrap_or_default(), |field| {
            format!("/{}", field.replace('.', "/"))
        });
        Self {
            terms: labels.into_iter().chain(fields).collect(),
        }
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let found = object.pointer(&term.pointer).and_then(Value::as_str);
            let is_so = match &term.value {
                Some(value) => found == Some(value),
                None => found.is_some(),
            };
            is_so != term.is_negated
        })
    }
}

fn terms(text: &str, pointer: impl Fn(&str) -> String) -> Vec<Term> {
    assert!(!text.contains('('), "sets are not understood: {text}");
    let parts = text.split(',').filter(|part| !part.is_empty());
    let term = |part: &str| {
        let (is_negated, key, value) = match part.split_once('=') {
            Some((key, value)) if key.ends_with('!') => (true, key, Some(value)),
            Some((key, value)) => (false, key, Some(value)),
            None => (part.starts_with('!'), part, None),
        };
        Term {
            pointer: pointer(key.trim_matches('!')),
            value: value.map(|value| value.trim_start_matches('=').to_owned()),
            is_negated,
        }
    };
    parts.map(term).collect()
}
