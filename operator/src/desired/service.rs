//! A Function's name inside the cluster: a Service that says where the activator is.
//!
//! It bears the Function's own name, because that is the address that callers write. A Service of that name that is somebody else's stays
//! as it is: the Function is reached at its other hosts.

use std::collections::BTreeMap;

use crds::{function::Function, names};
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use kube::ResourceExt;

use crate::{
    attachment::{Attachment, Content, SERVICE},
    platform::Platform,
};

/// Where every Function answers inside the cluster.
const PORT: i32 = 80;

/// The Service of `function`.
pub(super) fn render(function: &Function, platform: &Platform) -> Attachment {
    let (activator, domain) = (&platform.namespace, &platform.cluster_domain);
    let port = ServicePort {
        name: Some(names::SERVICE_PORT.to_owned()),
        port: PORT,
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        type_: Some("ExternalName".to_owned()),
        external_name: Some(format!(
            "{}.{activator}.svc.{domain}",
            names::INTERNAL_SERVICE
        )),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    };
    let content = Content {
        name: function.name_any(),
        annotations: BTreeMap::new(),
        spec,
    };
    Attachment::new(SERVICE, function, &platform.namespace, content)
}
