//! What holds for all Functions: the chart's settings, as far as decisions need them.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use kube::{Resource, ResourceExt};
use serde::Deserialize;

use crate::settings::Scheme;

/// What all Functions share.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Part of every default host.
    pub domain: String,
    /// Part of every address.
    pub scheme: Scheme,
    /// Where operator and activator run.
    pub namespace: String,
    /// Whose Functions are served; empty: those of all.
    pub namespaces: Vec<String>,
    /// Labels of the activator's pods.
    pub activator: BTreeMap<String, String>,
    /// What the network lets through to and from instances; `None`: no NetworkPolicy is written.
    pub network_policy: Option<NetworkPolicySettings>,
}

/// The part of the NetworkPolicies that is the platform's to choose.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPolicySettings {
    /// What instances may connect to.
    pub egress: Vec<NetworkPolicyEgressRule>,
}

impl Platform {
    /// Where a Function is reached, without a path.
    pub fn url<K: Resource>(&self, function: &K) -> String {
        let namespace = function.namespace().unwrap_or_default();
        let host = crds::names::default_host(&function.name_any(), &namespace, &self.domain);
        format!("{}://{host}", self.scheme.as_str())
    }
}
