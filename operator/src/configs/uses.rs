//! Which Secrets and ConfigMaps a pod uses. Pure.

use std::collections::BTreeSet;

use crds::{entrypoint::Template, names};
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Volume, VolumeProjection};
use serde::Serialize;

use super::Object;

/// What holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// An object that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Use {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The one key that matters; all if `None`.
    pub(super) key: Option<String>,
}

impl Use {
    fn whole(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            key: None,
        }
    }

    pub(super) fn object(&self, namespace: &str) -> Object {
        Object {
            kind: self.kind,
            namespace: namespace.to_owned(),
            name: self.name.clone(),
        }
    }
}

/// What the environment and the volumes of a pod come from. Secrets for registries do not reach the container. A name that no object can
/// have says nothing: in an address it would mean something else, and the kubelet tells that there is no such object.
pub(super) fn uses(template: &Template) -> BTreeSet<Use> {
    let env = template.env.iter().filter_map(of_variable);
    let env_from = template.env_from.iter().flat_map(of_source);
    let volumes = template.pod.volumes.iter().flatten().flat_map(of_volume);
    let all = env.chain(env_from).chain(volumes);
    all.filter(|used| names::is_object_name(&used.name))
        .collect()
}

fn of_variable(variable: &EnvVar) -> Option<Use> {
    let from = variable.value_from.as_ref()?;
    let (kind, name, key) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (Kind::ConfigMap, &map.name, &map.key),
        (None, Some(secret)) => (Kind::Secret, &secret.name, &secret.key),
        (None, None) => return None,
    };
    Some(Use {
        kind,
        name: name.clone(),
        key: Some(key.clone()),
    })
}

fn of_source(source: &EnvFromSource) -> Vec<Use> {
    let map = source.config_map_ref.iter();
    let map = map.map(|map| Use::whole(Kind::ConfigMap, &map.name));
    let secret = source.secret_ref.iter();
    let secret = secret.map(|secret| Use::whole(Kind::Secret, &secret.name));
    map.chain(secret).collect()
}

fn of_volume(volume: &Volume) -> Vec<Use> {
    let map = volume.config_map.iter();
    let map = map.map(|map| Use::whole(Kind::ConfigMap, &map.name));
    let secret = volume
        .secret
        .iter()
        .filter_map(|secret| secret.secret_name.as_ref());
    let secret = secret.map(|name| Use::whole(Kind::Secret, name));
    let sources = volume
        .projected
        .iter()
        .flat_map(|p| p.sources.iter().flatten());
    let projected = sources.flat_map(of_projection);
    map.chain(secret).chain(projected).collect()
}

fn of_projection(source: &VolumeProjection) -> Vec<Use> {
    let map = source.config_map.iter();
    let map = map.map(|map| Use::whole(Kind::ConfigMap, &map.name));
    let secret = source.secret.iter();
    let secret = secret.map(|secret| Use::whole(Kind::Secret, &secret.name));
    map.chain(secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_use_an_object_is_seen() {
        let spec = "{image: a, entrypoints: [{name: web, path: /,
            env: [{name: A, valueFrom: {secretKeyRef: {name: one, key: a}}}, {name: B, valueFrom: {configMapKeyRef: {name: two, key: b}}},
                  {name: C, value: plain}, {name: D, valueFrom: {fieldRef: {fieldPath: metadata.name}}}],
            envFrom: [{secretRef: {name: three}}, {configMapRef: {name: four}}, {secretRef: {name: '?watch=true'}}, {configMapRef: {name: a/b}}],
            pod: {imagePullSecrets: [{name: registry}], volumes: [{name: a, secret: {secretName: five}}, {name: b, configMap: {name: six}}, {name: c, emptyDir: {}},
                   {name: d, projected: {sources: [{secret: {name: seven}}, {configMap: {name: eight}}, {serviceAccountToken: {path: t}}]}}]}}]}";
        let spec = serde_yaml::from_str(spec).unwrap();
        let template = crds::entrypoint::read(&spec).remove(0).template;
        let found: Vec<_> = uses(&template)
            .into_iter()
            .map(|u| {
                format!(
                    "{:?} {}{}",
                    u.kind,
                    u.name,
                    u.key.map(|key| format!("/{key}")).unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "ConfigMap eight",
                "ConfigMap four",
                "ConfigMap six",
                "ConfigMap two/b",
                "Secret five",
                "Secret one/a",
                "Secret seven",
                "Secret three"
            ]
        );
    }
}
