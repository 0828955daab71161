//! What an instance of an entrypoint runs.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crds::{entrypoint::Template, function::Protocol, names};

use super::expansion::expand;
use crate::entrypoint::Key;

/// Time between SIGTERM and SIGKILL unless the manifest says otherwise: Kubernetes' own.
const GRACE: Duration = Duration::from_secs(30);

/// The program of an entrypoint, before it is known which instance runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Command and arguments; the first is there.
    words: Vec<String>,
    /// The user's variables in the order of the manifest.
    env: Vec<(String, String)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// What it speaks.
    protocol: Protocol,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// The program of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    /// Command and arguments.
    pub(super) words: Vec<String>,
    /// What is set on top of the activator's own environment.
    pub(super) env: BTreeMap<String, String>,
    /// Where it runs.
    pub(super) dir: PathBuf,
    /// What it speaks.
    pub(super) protocol: Protocol,
}

impl Program {
    /// The program of a template that runs in `dir`; `None` if the template leaves the command to its image.
    pub fn new(template: &Template, dir: PathBuf) -> Option<Self> {
        let command = template
            .command
            .clone()
            .filter(|command| !command.is_empty())?;
        let args = template.args.clone().unwrap_or_default();
        let env = template.env.iter().filter_map(|variable| {
            let is_literal = variable.value_from.is_none();
            let value = variable.value.clone().unwrap_or_default();
            is_literal.then(|| (variable.name.clone(), value))
        });
        Some(Self {
            words: command.into_iter().chain(args).collect(),
            env: env.collect(),
            dir,
            protocol: template.protocol,
            grace: template
                .pod
                .termination_grace_period
                .map_or(GRACE, crds::values::Duration::get),
        })
    }

    /// Files that the command line names, whether they are there or not.
    pub fn named_files(&self) -> impl Iterator<Item = PathBuf> {
        self.words.iter().map(|word| self.dir.join(word))
    }

    /// What an instance with this port runs. A variable may name those before it, the command line all of them.
    pub(super) fn launch(&self, key: &Key, port: u16) -> Launch {
        let mut env = BTreeMap::new();
        for (name, value) in &self.env {
            let value = expand(value, &env);
            env.insert(name.clone(), value);
        }
        env.extend(platform_env(key, port));
        let words = self.words.iter().map(|word| expand(word, &env));
        Launch {
            words: words.collect(),
            env,
            dir: self.dir.clone(),
            protocol: self.protocol,
        }
    }
}

/// What the platform tells an instance, with the values that the operator gives a container.
fn platform_env(key: &Key, port: u16) -> [(String, String); 7] {
    let service = names::service(&key.function, &key.entrypoint);
    [
        ("PORT", port.to_string()),
        ("K_SERVICE", service.clone()),
        ("K_REVISION", key.deployment()),
        ("K_CONFIGURATION", service),
        ("THAW_FUNCTION", key.function.clone()),
        ("THAW_ENTRYPOINT", key.entrypoint.clone()),
        ("THAW_NAMESPACE", key.namespace.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(fields: &str) -> Program {
        let spec = format!(
            "{{image: a, entrypoints: [{{name: orders, path: /, command: [node], {fields}}}]}}"
        );
        let spec = serde_yaml::from_str(&spec).unwrap();
        let entrypoint = crds::entrypoint::resolve(&spec).unwrap().remove(0);
        Program::new(&entrypoint.template, "/src".into()).unwrap()
    }

    fn launch(fields: &str) -> Launch {
        let key = Key {
            namespace: "prod".to_owned(),
            function: "shop".to_owned(),
            entrypoint: "orders".to_owned(),
            revision: "r1".to_owned(),
        };
        program(fields).launch(&key, 20_001)
    }

    #[test]
    fn every_variable_that_the_platform_reserves_is_set() {
        let env = launch("").env;
        let set: Vec<_> = env.keys().map(String::as_str).collect();
        let mut reserved = names::RESERVED_ENV.to_vec();
        reserved.sort_unstable();
        assert_eq!(set, reserved);
        assert_eq!(
            (&*env["PORT"], &*env["K_REVISION"]),
            ("20001", "shop-orders-r1")
        );
    }

    #[test]
    fn the_command_line_sees_all_variables_and_a_variable_those_before_it() {
        let launch = launch(
            "args: [$(B), --port=$(PORT)], env: [{name: A, value: $(B)}, {name: B, value: b}, {name: C, value: $(B)$(PORT)}]",
        );
        assert_eq!(launch.words, ["node", "b", "--port=20001"]);
        assert_eq!(launch.env["A"], "$(B)");
        assert_eq!(
            launch.env["C"], "b$(PORT)",
            "as in a pod, where PORT comes last"
        );
    }

    #[test]
    fn a_value_from_somewhere_else_is_left_to_the_environment() {
        let launch = launch("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]");
        assert_eq!(launch.env.get("A"), None);
    }

    #[test]
    fn the_command_line_names_files_where_it_runs() {
        let files: Vec<_> = program("args: [a.js, /b.js]").named_files().collect();
        assert_eq!(
            files,
            ["/src/node", "/src/a.js", "/b.js"].map(PathBuf::from)
        );
    }
}
