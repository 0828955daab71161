//! A request, and what it is about.

use std::collections::HashMap;

use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::time::Instant;

/// One request as tests see it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) manager: Option<String>,
    pub(crate) body: Value,
    /// Which process made it.
    pub(crate) by: String,
    pub(crate) at: Instant,
}

impl Call {
    /// Whether it may change something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// What a request does, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) const ALL: [Self; 7] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
    ];

    /// The verbs that use a method; watches are left alone.
    pub(super) fn of(method: &Method) -> &'static [Self] {
        match *method {
            Method::POST => &[Self::Create],
            Method::PUT => &[Self::Update],
            Method::PATCH => &[Self::Patch],
            Method::DELETE => &[Self::Delete],
            _ => &[Self::Get, Self::List],
        }
    }
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) target: Target,
    pub(super) query: HashMap<String, String>,
    pub(super) content_type: String,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn new(head: &Parts, body: Value) -> Self {
        let query = head.uri.query().unwrap_or_default().split('&');
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let query: HashMap<String, String> = query
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (decode(key), decode(value)))
            .collect();
        let path = head.uri.path().to_owned();
        let target = Target::of(&path);
        let verb = match head.method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if query.get("watch").is_some_and(|watch| watch == "true") => Verb::Watch,
            _ if target.name.is_none() => Verb::List,
            _ => Verb::Get,
        };
        let content_type = head.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Self {
            verb,
            method: head.method.clone(),
            content_type: content_type.unwrap_or_default().to_owned(),
            path,
            target,
            query,
            body,
        }
    }

    /// The field manager: the one that is named, or else the process.
    pub(super) fn manager(&self) -> Option<&String> {
        self.query.get("fieldManager")
    }
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `/api/v1` or `/apis/{group}/{version}`.
    pub(super) group: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    pub(super) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let split = parts.len().min(if parts[0] == "api" { 2 } else { 3 });
        let (group, mut rest) = parts.split_at(split);
        let mut namespace = None;
        if let ["namespaces", name, below @ ..] = rest
            && !below.is_empty()
        {
            namespace = Some((*name).to_owned());
            rest = below;
        }
        let part = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        Self {
            group: format!("/{}", group.join("/")),
            namespace,
            plural: part(0).unwrap_or_default(),
            name: part(1),
            subresource: part(2),
        }
    }

    /// Where the object lies.
    pub(super) fn object(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        format!("{}/{name}", self.collection())
    }

    /// Where new objects are posted to.
    pub(super) fn collection(&self) -> String {
        let Self { group, plural, .. } = self;
        match &self.namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        }
    }

    /// Whether the object at `path` belongs to this collection, which may be that of all namespaces.
    pub(super) fn holds(&self, path: &str) -> bool {
        let other = Self::of(path);
        let is_in = self.namespace.is_none() || self.namespace == other.namespace;
        is_in && self.group == other.group && self.plural == other.plural
    }
}
