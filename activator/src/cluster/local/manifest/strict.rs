//! One document, with every field that nobody reads and every value that cannot be read named by its path.

use crds::{
    Function,
    function::{BundleSpec, EntrypointFields, EntrypointSpec, FunctionSpec},
};
use kube::{CustomResourceExt, core::ObjectMeta};
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// The Function of a document; `None` if the document is empty.
pub(super) fn function(document: Value) -> Result<Option<Function>, Vec<String>> {
    let mut object = match document {
        Value::Null => return Ok(None),
        Value::Mapping(object) => object,
        _ => {
            return Err(vec![
                "a manifest is a mapping: apiVersion, kind, metadata, spec".to_owned(),
            ]);
        }
    };
    is_function(&object).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let metadata: Option<ObjectMeta> =
        part(take(&mut object, "metadata"), "metadata", &mut problems);
    let spec = spec(take(&mut object, "spec"), &mut problems);
    // What the cluster says about a Function is nothing to go by here.
    for ours in ["apiVersion", "kind", "status"] {
        object.remove(ours);
    }
    problems.extend(object.keys().map(|key| unknown(&plain(key))));
    match (metadata, spec) {
        (Some(metadata), Some(spec)) if problems.is_empty() => {
            let mut function = Function::new("", spec);
            function.metadata = metadata;
            Ok(Some(function))
        }
        _ => Err(problems),
    }
}

fn is_function(object: &Mapping) -> Result<(), String> {
    let of = Function::api_resource();
    for (field, wanted) in [("apiVersion", &of.api_version), ("kind", &of.kind)] {
        match object.get(field).and_then(Value::as_str) {
            Some(is) if is == wanted => {}
            Some(is) => {
                return Err(format!(
                    "{field}: {is:?}: local mode reads only {wanted}; leave the document out"
                ));
            }
            None => return Err(format!("{field}: write {wanted}")),
        }
    }
    Ok(())
}

/// Reads the shared fields of bundles and entrypoints apart from their own: a flattened struct hides from serde which fields nobody reads.
fn spec(value: Value, problems: &mut Vec<String>) -> Option<FunctionSpec> {
    let Value::Mapping(mut spec) = value else {
        problems.push("spec: write what the function is: entrypoints and more".to_owned());
        return None;
    };
    let listed = spec.insert("entrypoints".into(), Value::Sequence(vec![]));
    let bundled = spec.remove("bundles");
    let spec: Option<FunctionSpec> = part(Value::Mapping(spec), "spec", problems);
    let entrypoints = entrypoints(listed, problems);
    let bundles = bundled.map_or(Some(vec![]), |bundled| bundles(bundled, problems));
    Some(FunctionSpec {
        bundles: bundles?,
        entrypoints: entrypoints?,
        ..spec?
    })
}

fn entrypoints(value: Option<Value>, problems: &mut Vec<String>) -> Option<Vec<EntrypointSpec>> {
    let Some(Value::Sequence(listed)) = value else {
        problems.push("spec.entrypoints: write a list of entrypoints".to_owned());
        return None;
    };
    let own_fields = ["name", "path", "match", "image"];
    let read = items("spec.entrypoints", listed, &own_fields, problems)?;
    // All of its fields, or a new one would be unknown.
    let whole = |(own, fields)| {
        let EntrypointSpec {
            name,
            path,
            path_match,
            image,
            fields: _,
        } = own;
        EntrypointSpec {
            name,
            path,
            path_match,
            image,
            fields,
        }
    };
    Some(read.into_iter().map(whole).collect())
}

fn bundles(value: Value, problems: &mut Vec<String>) -> Option<Vec<BundleSpec>> {
    let Value::Sequence(listed) = value else {
        problems.push("spec.bundles: write a list of bundles".to_owned());
        return None;
    };
    let own_fields = ["name", "entrypoints", "image"];
    let read = items("spec.bundles", listed, &own_fields, problems)?;
    let whole = |(own, fields)| {
        let BundleSpec {
            name,
            entrypoints,
            image,
            fields: _,
        } = own;
        BundleSpec {
            name,
            entrypoints,
            image,
            fields,
        }
    };
    Some(read.into_iter().map(whole).collect())
}

/// Everything of a list, each with its own fields and with those that all share.
fn items<T: DeserializeOwned>(
    list: &str,
    listed: Vec<Value>,
    own_fields: &[&str],
    problems: &mut Vec<String>,
) -> Option<Vec<(T, EntrypointFields)>> {
    let listed = listed.into_iter().enumerate();
    let read: Vec<_> = listed
        .map(|(at, value)| item(list, at, value, own_fields, problems))
        .collect();
    read.into_iter().collect()
}

fn item<T: DeserializeOwned>(
    list: &str,
    at: usize,
    value: Value,
    own_fields: &[&str],
    problems: &mut Vec<String>,
) -> Option<(T, EntrypointFields)> {
    let path = format!("{list}[{at}]");
    let Value::Mapping(mut shared) = value else {
        problems.push(format!("{path}: write a mapping: name and more"));
        return None;
    };
    let mut own = Mapping::new();
    for field in own_fields {
        own.extend(shared.remove_entry(*field));
    }
    let name = own.get("name").and_then(Value::as_str);
    let path = name.map_or(path, |name| format!("{list}[{name}]"));
    let own = part(Value::Mapping(own), &path, problems);
    let fields = part(Value::Mapping(shared), &path, problems);
    Some((own?, fields?))
}

/// Reads a part of the document.
fn part<T: DeserializeOwned>(value: Value, path: &str, problems: &mut Vec<String>) -> Option<T> {
    let mut ignored =
        |field: serde_ignored::Path<'_>| problems.push(unknown(&join(path, &field.to_string())));
    let strict = serde_ignored::Deserializer::new(value, &mut ignored);
    match serde_path_to_error::deserialize(strict) {
        Ok(read) => Some(read),
        Err(error) => {
            let at = join(path, &error.path().to_string());
            problems.push(format!("{at}: {}", error.into_inner()));
            None
        }
    }
}

fn unknown(path: &str) -> String {
    format!("{path}: there is no such field; correct its name or remove it")
}

/// A path with indexes in brackets, and without the marks that serde leaves for optional values.
fn join(path: &str, below: &str) -> String {
    let parts = below.split(['.', '[', ']']);
    let mut path = path.to_owned();
    for part in parts.filter(|part| !matches!(*part, "" | "?")) {
        let is_index = part.bytes().all(|byte| byte.is_ascii_digit());
        let part = if is_index {
            format!("[{part}]")
        } else {
            format!(".{part}")
        };
        path.push_str(&part);
    }
    path
}

fn take(object: &mut Mapping, field: &str) -> Value {
    object.remove(field).unwrap_or(Value::Null)
}

fn plain(key: &Value) -> String {
    key.as_str()
        .map_or_else(|| format!("{key:?}"), str::to_owned)
}
