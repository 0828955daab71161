//! The same as [`super::ingress`] at a Gateway. The Gateway API comes with no Kubernetes, so its one type that is written is JSON here.

use std::collections::BTreeMap;

use crds::{function::Function, names};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    attachment::{Attachment, Content, HTTP_ROUTE},
    platform::{GatewaySettings, Platform},
};

/// Port of the activator's Service. An HTTPRoute takes no name of a port.
const PORT: i32 = 80;

/// The HTTPRoute that leads these hosts of `function` to the activator.
pub(super) fn render(
    function: &Function,
    hosts: &[String],
    gateway: &GatewaySettings,
    platform: &Platform,
) -> Attachment {
    let namespace = function.namespace().unwrap_or_default();
    let spec = json!({
        "parentRefs": [gateway],
        "hostnames": hosts,
        "rules": [{"backendRefs": [{"name": names::PUBLIC_SERVICE, "port": PORT}]}],
    });
    let content = Content {
        name: names::route(&function.name_any(), &namespace),
        annotations: BTreeMap::new(),
        spec,
    };
    Attachment::new(HTTP_ROUTE, function, &platform.namespace, content)
}
