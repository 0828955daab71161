//! What holds for all Functions: the chart's settings, as far as decisions need them.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    attachment::{self, HTTP_ROUTE, INGRESS, Kind},
    hosts::Allowed,
    settings::Scheme,
};

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
    /// The cluster's own domain.
    pub cluster_domain: String,
    /// The custom hosts that each namespace may have; `None`: every one.
    pub allowed_hosts: Option<Allowed>,
    /// How Ingresses for custom hosts are written; `None`: none is.
    pub ingress: Option<IngressSettings>,
    /// Where HTTPRoutes attach, which are written in place of Ingresses; `None`: none is.
    pub gateway: Option<GatewaySettings>,
    /// What the network lets through to and from instances; `None`: no NetworkPolicy is written.
    pub network_policy: Option<NetworkPolicySettings>,
}

/// The part of the NetworkPolicies that is the platform's to choose.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPolicySettings {
    /// What instances may connect to.
    #[serde(deserialize_with = "rules")]
    pub egress: Vec<NetworkPolicyEgressRule>,
}

/// Rules as the API server stores them: a port without the protocol that it fills in would never be found as it is wanted, and be written at
/// each look.
fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NetworkPolicyEgressRule>, D::Error> {
    let mut rules = Vec::<NetworkPolicyEgressRule>::deserialize(from)?;
    let ports = rules.iter_mut().filter_map(|rule| rule.ports.as_mut());
    for port in ports.flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
    }
    Ok(rules)
}

/// How the ingress controller is told of custom hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressSettings {
    /// The IngressClass; empty: the cluster's default one.
    #[serde(default)]
    pub class_name: String,
    /// Annotations of every Ingress.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Where certificates are; `None`: no TLS.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
}

/// Where the certificates of custom hosts are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSettings {
    /// A Secret for all Functions; empty: each has one of its own, which somebody else makes, such as cert-manager.
    #[serde(default)]
    pub secret_name: String,
}

/// A Gateway, as a parent of HTTPRoutes is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySettings {
    /// Its name.
    pub name: String,
    /// Its namespace; `None`: the activator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// One of its listeners; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl Platform {
    /// The address of a host, without a path.
    pub fn url(&self, host: &str) -> String {
        format!("{}://{host}", self.scheme.as_str())
    }

    /// The kinds of attachments that are written here, and removed where they are not wanted.
    pub fn kinds(&self) -> Vec<Kind> {
        let ingress = self.ingress.as_ref().map(|_| INGRESS);
        let gateway = self.gateway.as_ref().map(|_| HTTP_ROUTE);
        let always = attachment::ALL.iter().copied();
        always.chain(ingress).chain(gateway).collect()
    }
}
