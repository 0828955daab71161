//! The NetworkPolicy of a Function: only the activator reaches its instances, and they reach what the platform lets them.
//!
//! It holds nothing of the manifest: it selects by the Function's label and names the container's port instead of its number, so that
//! it is there before the first revision and need not change with any.

use std::collections::BTreeMap;

use crds::{function::Function, names};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;

use crate::{
    attachment::{Attachment, Content, NETWORK_POLICY},
    platform::Platform,
};

/// Label that Kubernetes gives every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The NetworkPolicy, if the platform wants any.
pub(super) fn render(function: &Function, platform: &Platform) -> Option<Attachment> {
    let settings = platform.network_policy.as_ref()?;
    let name = function.name_any();
    let spec = NetworkPolicySpec {
        pod_selector: Some(select([(names::FUNCTION.to_owned(), name.clone())])),
        // Every field is named, so that an apply takes back what somebody added.
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(vec![from_activator(platform)]),
        egress: Some(settings.egress.clone()),
    };
    let content = Content {
        name: names::network_policy(&name),
        annotations: BTreeMap::new(),
        spec,
    };
    let home = &platform.namespace;
    Some(Attachment::new(NETWORK_POLICY, function, home, content))
}

fn from_activator(platform: &Platform) -> NetworkPolicyIngressRule {
    let namespace = (NAMESPACE_NAME.to_owned(), platform.namespace.clone());
    let port = |name: &str| NetworkPolicyPort {
        protocol: Some("TCP".to_owned()),
        port: Some(IntOrString::String(name.to_owned())),
        end_port: None,
    };
    NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(select([namespace])),
            pod_selector: Some(select(platform.activator.clone())),
            ip_block: None,
        }]),
        ports: Some(names::PORTS.iter().map(|name| port(name)).collect()),
    }
}

fn select(labels: impl IntoIterator<Item = (String, String)>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels.into_iter().collect()),
        match_expressions: None,
    }
}
