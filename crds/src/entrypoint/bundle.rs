//! Which entrypoints are in a bundle.

use std::collections::HashSet;

use super::InvalidSpec;
use crate::function::{BundleSpec, EntrypointSpec, FunctionSpec};

/// Entrypoints of a bundle, in the order of `spec.entrypoints`.
pub(super) fn members<'a>(
    spec: &'a FunctionSpec,
    bundle: &'a BundleSpec,
) -> impl Iterator<Item = &'a EntrypointSpec> {
    let entrypoints = spec.entrypoints.iter();
    entrypoints.filter(|entrypoint| {
        of(spec, &entrypoint.name).is_some_and(|other| other.name == bundle.name)
    })
}

/// Entrypoints that are in no bundle.
pub(super) fn alone(spec: &FunctionSpec) -> impl Iterator<Item = &EntrypointSpec> {
    let entrypoints = spec.entrypoints.iter();
    entrypoints.filter(|entrypoint| of(spec, &entrypoint.name).is_none())
}

/// The bundle of an entrypoint: the first that names it.
pub(super) fn of<'a>(spec: &'a FunctionSpec, entrypoint: &str) -> Option<&'a BundleSpec> {
    let mut bundles = spec.bundles.iter();
    bundles.find(|bundle| bundle.entrypoints.iter().any(|name| name == entrypoint))
}

/// The rules of bundles. The CustomResourceDefinition states them too, where they are told earlier.
pub(super) fn check(spec: &FunctionSpec) -> Result<(), InvalidSpec> {
    let mut names: HashSet<&str> = spec.entrypoints.iter().map(|e| e.name.as_str()).collect();
    let mut bundled = HashSet::new();
    for bundle in &spec.bundles {
        let invalid = |field: &str, problem: String| InvalidSpec {
            field: format!("bundles[{}].{field}", bundle.name),
            problem,
        };
        if !names.insert(&bundle.name) {
            let problem = "another bundle or an entrypoint has this name; give it one of its own";
            return Err(invalid("name", problem.to_owned()));
        }
        if bundle.entrypoints.is_empty() {
            return Err(invalid("entrypoints", "name at least one".to_owned()));
        }
        for member in &bundle.entrypoints {
            if !bundled.insert(member) {
                let problem = "is in a bundle already; leave it in one";
                return Err(invalid("entrypoints", format!("{member} {problem}")));
            }
            let Some(entrypoint) = spec.entrypoints.iter().find(|e| e.name == *member) else {
                let instead = "add it there with its path, or remove it here";
                let problem = format!("{member} is not in spec.entrypoints; {instead}");
                return Err(invalid("entrypoints", problem));
            };
            check_member(entrypoint, bundle)?;
        }
    }
    Ok(())
}

fn check_member(entrypoint: &EntrypointSpec, bundle: &BundleSpec) -> Result<(), InvalidSpec> {
    let EntrypointSpec {
        name,
        path: _,
        path_match: _,
        image,
        fields,
    } = entrypoint;
    if image.is_none() && fields.is_empty() {
        return Ok(());
    }
    let bundle = &bundle.name;
    Err(InvalidSpec {
        field: format!("entrypoints[{name}]"),
        problem: format!(
            "it is in bundle {bundle} and sets only name, path and match; move its other fields to the bundle"
        ),
    })
}
