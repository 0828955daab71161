//! Objects that tests start from.

use std::collections::BTreeMap;

use crds::function::Function;
use serde_json::json;

use crate::{
    attachment::{Extra, Home, Kind},
    platform::{IngressSettings, NetworkPolicySettings, Platform},
    settings::Scheme,
};

/// A kind beside the activator.
pub(crate) const WIDGET: Kind = Kind {
    group: "example.com",
    version: "v1",
    name: "Widget",
    plural: "widgets",
    home: Home::Activator,
    required: &["size"],
    extra: Extra::Fields,
    is_guard: false,
    is_optional: true,
};

/// What all Functions of the tests share.
pub(crate) fn platform() -> Platform {
    Platform {
        domain: "example.com".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        allowed_hosts: None,
        ingress: None,
        gateway: None,
        scheme: Scheme::Http,
        namespace: "thaw-system".to_owned(),
        namespaces: Vec::new(),
        activator: BTreeMap::from([("app".to_owned(), "activator".to_owned())]),
        network_policy: Some(NetworkPolicySettings {
            egress: vec![Default::default()],
        }),
    }
}

/// The same with Ingresses for custom hosts.
pub(crate) fn with_ingress() -> Platform {
    Platform {
        ingress: Some(IngressSettings::default()),
        ..platform()
    }
}

/// The Function `name` in namespace `prod`, with this spec in YAML.
pub(crate) fn function(name: &str, spec: &str) -> Function {
    let mut function = Function::new(name, serde_yaml::from_str(spec).unwrap_or_default());
    function.metadata.namespace = Some("prod".to_owned());
    function.metadata.uid = Some(format!("uid-of-{name}"));
    function.metadata.generation = Some(1);
    function.metadata.resource_version = Some("1".to_owned());
    function
}

/// As the API server holds it.
pub(crate) fn stored(function: &Function) -> serde_json::Value {
    json!(function)
}
