//! How the ingress controller learns of a Function's custom hosts. The default host needs nothing: the chart's wildcard has it.

use crds::{function::Function, names};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use kube::ResourceExt;

use crate::{
    attachment::{Attachment, Content, INGRESS},
    platform::{IngressSettings, Platform},
};

/// The Ingress that leads these hosts of `function` to the activator.
pub(super) fn render(
    function: &Function,
    hosts: &[String],
    settings: &IngressSettings,
    platform: &Platform,
) -> Attachment {
    let namespace = function.namespace().unwrap_or_default();
    let name = function.name_any();
    let class = Some(settings.class_name.clone());
    let tls = settings.tls.as_ref().map(|tls| {
        let own = || names::certificate(&name, &namespace);
        let secret = Some(tls.secret_name.clone()).filter(|name| !name.is_empty());
        vec![IngressTLS {
            hosts: Some(hosts.to_vec()),
            secret_name: Some(secret.unwrap_or_else(own)),
        }]
    });
    let spec = IngressSpec {
        ingress_class_name: class.filter(|class| !class.is_empty()),
        rules: Some(hosts.iter().map(|host| rule(host)).collect()),
        tls,
        ..IngressSpec::default()
    };
    let content = Content {
        name: names::route(&name, &namespace),
        annotations: settings.annotations.clone(),
        spec,
    };
    Attachment::new(INGRESS, function, &platform.namespace, content)
}

fn rule(host: &str) -> IngressRule {
    let service = IngressServiceBackend {
        name: names::PUBLIC_SERVICE.to_owned(),
        port: Some(ServiceBackendPort {
            name: Some(names::SERVICE_PORT.to_owned()),
            number: None,
        }),
    };
    let everything = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(service),
            resource: None,
        },
    };
    IngressRule {
        host: Some(host.to_owned()),
        http: Some(HTTPIngressRuleValue {
            paths: vec![everything],
        }),
    }
}
