//! Function manifests from files: read as strictly as the API server would, so that what works here works there.

mod strict;
mod unsupported;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use crds::{
    Function,
    entrypoint::{Entrypoint, resolve},
    function::EntrypointFields,
    hosts::custom,
};
use kube::ResourceExt;
use serde::Deserialize;
use serde_yaml::Value;

use super::program::Program;

/// The namespace of a Function that names none, as kubectl has it.
const NAMESPACE: &str = "default";

const LABEL: &str = "use at most 63 lower-case letters, digits and dashes, starting with a letter";

/// A Function of which every entrypoint can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalFunction {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its hosts, besides the default one.
    pub hosts: Vec<String>,
    /// Bundles and entrypoints in the order of the manifest, and what each runs.
    pub entrypoints: Vec<(Entrypoint, Program)>,
}

/// What the files hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// Functions in the order of the files.
    pub functions: Vec<LocalFunction>,
    /// What they ask for that processes cannot have, a line a field.
    pub notes: Vec<String>,
}

/// Everything that is wrong with the files, a line each: file, field, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Reads files, each with one or more documents.
///
/// # Errors
/// All problems of all files.
pub fn read(files: &[PathBuf]) -> Result<Manifests, Problems> {
    let (mut manifests, mut problems) = (Manifests::default(), Vec::new());
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => read_file(file, &text, &mut manifests, &mut problems),
            Err(error) => problems.push(format!("{}: {error}", file.display())),
        }
    }
    let (mut seen, mut hosts) = (HashSet::new(), HashSet::new());
    for function in &manifests.functions {
        for host in function.hosts.iter().filter(|host| !hosts.insert(*host)) {
            let problem =
                format!("spec.hosts: two Functions want {host}: take it out of one of them");
            problems.push(problem);
        }
        if !seen.insert((&function.namespace, &function.name)) {
            let (namespace, name) = (&function.namespace, &function.name);
            let problem =
                format!("two Functions are called {name} in namespace {namespace}: rename one");
            problems.push(problem);
        }
    }
    if manifests.functions.is_empty() && problems.is_empty() {
        problems.push("the files hold no Function".to_owned());
    }
    if problems.is_empty() {
        Ok(manifests)
    } else {
        Err(Problems(problems))
    }
}

fn read_file(file: &Path, text: &str, manifests: &mut Manifests, problems: &mut Vec<String>) {
    for document in serde_yaml::Deserializer::from_str(text) {
        let document = match Value::deserialize(document) {
            Ok(document) => document,
            Err(error) => {
                problems.push(format!("{}: {error}", file.display()));
                // Where the text is no YAML, the reader of documents stays for ever.
                return;
            }
        };
        let read = strict::function(document).and_then(|function| {
            function.map_or(Ok(None), |function| understand(file, &function).map(Some))
        });
        match read {
            // An empty document, as `---` at the end of a file makes.
            Ok(None) => {}
            Ok(Some((function, notes))) => {
                let place = format!("{} ({})", file.display(), function.name);
                let notes = notes.iter().map(|note| format!("{place}: {note}"));
                manifests.notes.extend(notes);
                manifests.functions.push(function);
            }
            Err(found) => {
                let found = found
                    .iter()
                    .map(|problem| format!("{}: {problem}", file.display()));
                problems.extend(found);
            }
        }
    }
}

/// The function, and what it asks for in vain.
fn understand(
    file: &Path,
    function: &Function,
) -> Result<(LocalFunction, Vec<String>), Vec<String>> {
    let mut problems = rules(function);
    let entrypoints = resolve(&function.spec).unwrap_or_else(|error| {
        problems.push(error.to_string());
        vec![]
    });
    let mut notes = unsupported::notes(&function.spec);
    let beside = beside(file);
    let mut runnable = Vec::new();
    for entrypoint in entrypoints {
        let field = format!("spec.{}", entrypoint.field());
        let (dir, note) = dir(&beside, entrypoint.template.working_dir.as_deref());
        notes.extend(note.map(|note| format!("{field}.workingDir: {note}")));
        match Program::new(&entrypoint.template, dir) {
            Some(program) => runnable.push((entrypoint, program)),
            None => problems.push(format!(
                "{field}.command: set it: local mode runs no image, and so must know what the image would run, such as [node, server.js]"
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let function = LocalFunction {
        namespace: function.namespace().unwrap_or_else(|| NAMESPACE.to_owned()),
        name: function.name_any(),
        hosts: custom(&function.spec),
        entrypoints: runnable,
    };
    Ok((function, notes))
}

/// The directory of the file.
fn beside(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    absolute.parent().map(Path::to_owned).unwrap_or_default()
}

/// Where the command runs, and why that is not what the manifest says.
fn dir(beside: &Path, working_dir: Option<&str>) -> (PathBuf, Option<String>) {
    let Some(working_dir) = working_dir else {
        return (beside.to_owned(), None);
    };
    let wanted = Path::new(working_dir);
    if wanted.is_absolute() && wanted.is_dir() {
        return (wanted.to_owned(), None);
    }
    let instead = beside.display();
    let problem = if wanted.is_absolute() {
        "is no directory of this machine"
    } else {
        "must be absolute, as in a Pod"
    };
    let note = format!("{working_dir} {problem}; the command runs in {instead}");
    (beside.to_owned(), Some(note))
}

/// Rules of the CustomResourceDefinition without which something would silently win or never answer.
fn rules(function: &Function) -> Vec<String> {
    let mut problems = Vec::new();
    let name = function.name_any();
    if !is_label(&name) || name.contains("--") {
        problems.push(format!("metadata.name: {name:?}: use at most 63 lower-case letters, digits and single dashes, starting with a letter"));
    }
    ranges("spec.defaults", &function.spec.defaults, &mut problems);
    for bundle in &function.spec.bundles {
        let field = format!("spec.bundles[{}]", bundle.name);
        if !is_label(&bundle.name) {
            problems.push(format!("{field}.name: {LABEL}"));
        }
        ranges(&field, &bundle.fields, &mut problems);
    }
    let (mut names, mut paths) = (HashSet::new(), HashMap::new());
    if function.spec.entrypoints.is_empty() {
        problems.push("spec.entrypoints: list at least one".to_owned());
    }
    for entrypoint in &function.spec.entrypoints {
        let (name, path) = (&entrypoint.name, &entrypoint.path);
        let field = format!("spec.entrypoints[{name}]");
        if !is_label(name) {
            problems.push(format!("{field}.name: {LABEL}"));
        }
        if !names.insert(name) {
            problems.push(format!(
                "{field}.name: two entrypoints have this name; give each its own"
            ));
        }
        if !path.starts_with('/') {
            problems.push(format!(
                "{field}.path: {path:?}: start with a slash, as in /api/orders"
            ));
        } else if path != "/" && path.ends_with('/') {
            problems.push(format!("{field}.path: {path:?}: leave out the slash at the end; everything below the path belongs to it"));
        }
        if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            problems.push(format!(
                "{field}.path: {path:?}: leave out empty segments, . and .."
            ));
        }
        if !path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/-._~!$&()*+,;=:@".contains(c))
        {
            problems.push(format!("{field}.path: {path:?}: use letters, digits and -._~!$&()*+,;=:@ only, without percent-encoding, query or fragment"));
        }
        ranges(&field, &entrypoint.fields, &mut problems);
        if let Some(other) = paths.insert(path, name).filter(|other| *other != name) {
            problems.push(format!(
                "{field}.path: {path:?} is that of {other} too; give each its own"
            ));
        }
    }
    problems
}

/// Numbers that the API server would refuse.
fn ranges(field: &str, fields: &EntrypointFields, problems: &mut Vec<String>) {
    let scale = fields.scale.clone().unwrap_or_default();
    let queue = fields.limits.as_ref().and_then(|limits| limits.queue);
    for (name, value, least, most) in [
        ("scale.min", scale.min, 0, 10_000),
        ("scale.max", scale.max, 1, 10_000),
        ("scale.concurrency", scale.concurrency, 1, 1_000),
        ("limits.queue", queue, 1, 100_000),
    ] {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            problems.push(format!(
                "{field}.{name}: {value} is not within {least} and {most}"
            ));
        }
    }
}

/// A DNS label that starts with a letter.
fn is_label(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(is_part)
}

#[cfg(test)]
mod tests;
