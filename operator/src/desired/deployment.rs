//! The Deployment of one entrypoint revision.
//!
//! It is a function of the Function's identity and one [`Template`] alone: scale, limits, timeouts and paths must not reach it, or
//! changing them would roll instances.

use std::collections::BTreeMap;

use crds::{
    entrypoint::Template,
    function::Function,
    names,
    pod::{ImagePullPolicy, PodFields},
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, Container, ContainerPort, EnvVar, PodSecurityContext, PodSpec,
            PodTemplateSpec, SeccompProfile, SecurityContext,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{Resource, ResourceExt};

/// Time between SIGTERM and SIGKILL unless the manifest says otherwise, in seconds.
const TERMINATION_GRACE_PERIOD: i64 = 30;

/// What a revision is called and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    /// The Function.
    pub(super) function: &'a Function,
    /// Name of the entrypoint.
    pub(super) entrypoint: &'a str,
    /// Revision of the template.
    pub(super) revision: &'a str,
}

impl Identity<'_> {
    /// Name of the Deployment.
    pub(super) fn name(&self) -> String {
        names::deployment(&self.function.name_any(), self.entrypoint, self.revision)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let function = names::function_labels(self.function);
        let entrypoint = names::entrypoint_labels(self.entrypoint, self.revision);
        function
            .into_iter()
            .chain(entrypoint)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// A selector cannot be changed later, so it holds no more than what tells this revision's pods from all others.
    fn selector(&self) -> BTreeMap<String, String> {
        const SELECTING: [&str; 3] = [names::FUNCTION, names::ENTRYPOINT, names::REVISION];
        let mut labels = self.labels();
        labels.retain(|key, _| SELECTING.contains(&key.as_str()));
        labels
    }
}

/// The Deployment, without `replicas`: that field is the activator's.
pub(super) fn render(of: Identity<'_>, template: &Template) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            name: Some(of.name()),
            namespace: of.function.namespace(),
            labels: Some(of.labels()),
            // No blockOwnerDeletion: with it, clusters that enforce owner references would want the right to finalize Functions.
            owner_references: of
                .function
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            selector: LabelSelector {
                match_labels: Some(of.selector()),
                ..LabelSelector::default()
            },
            // Another template is another Deployment, so there is nothing to roll back to.
            revision_history_limit: Some(0),
            template: pod(of, template),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(of: Identity<'_>, template: &Template) -> PodTemplateSpec {
    let PodFields {
        service_account_name,
        automount_service_account_token,
        image_pull_secrets,
        image_pull_policy,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        runtime_class_name,
        priority_class_name,
        security_context,
        container_security_context,
        volumes,
        volume_mounts,
        annotations,
        labels,
        termination_grace_period,
    } = template.pod.clone();

    let mut pod_labels = labels;
    pod_labels.extend(of.labels());
    let grace = termination_grace_period.map(|grace| whole_seconds(grace.get()));
    let mut container = container(of, template);
    container.image_pull_policy = image_pull_policy.map(|policy| pull_policy(policy).to_owned());
    container.security_context = Some(container_security(container_security_context));
    container.volume_mounts = volume_mounts;

    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations).filter(|map| !map.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            // The token is a volume, and any volume costs the kubelet's attach poll of 0.3 s.
            automount_service_account_token: Some(automount_service_account_token.unwrap_or(false)),
            // One variable for each Service of the namespace: thousands of them make seconds.
            enable_service_links: Some(false),
            containers: vec![container],
            security_context: Some(pod_security(security_context)),
            termination_grace_period_seconds: Some(grace.unwrap_or(TERMINATION_GRACE_PERIOD)),
            restart_policy: Some("Always".to_owned()),
            service_account_name,
            image_pull_secrets,
            node_selector: Some(node_selector).filter(|map| !map.is_empty()),
            tolerations,
            affinity,
            topology_spread_constraints,
            runtime_class_name,
            priority_class_name,
            volumes,
            ..PodSpec::default()
        }),
    }
}

/// The one container. No probes: a booting or frozen server fails them, and the activator finds out by connecting.
fn container(of: Identity<'_>, template: &Template) -> Container {
    let Template {
        image,
        command,
        args,
        working_dir,
        env,
        env_from,
        port,
        protocol,
        resources,
        pod: _,
        config: _,
    } = template.clone();
    let mut all_env = env;
    all_env.extend(platform_env(of, port));
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(image),
        command,
        args,
        working_dir,
        env: Some(all_env),
        env_from: Some(env_from).filter(|list| !list.is_empty()),
        ports: Some(vec![ContainerPort {
            name: Some(names::port(protocol).to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources,
        ..Container::default()
    }
}

/// What the platform tells the container; the `K_` names are Knative's, so that its images run unchanged.
fn platform_env(of: Identity<'_>, port: i32) -> [EnvVar; 7] {
    let function = of.function.name_any();
    let service = names::service(&function, of.entrypoint);
    [
        ("PORT", port.to_string()),
        ("K_SERVICE", service.clone()),
        ("K_REVISION", of.name()),
        ("K_CONFIGURATION", service),
        ("THAW_FUNCTION", function),
        ("THAW_ENTRYPOINT", of.entrypoint.to_owned()),
        (
            "THAW_NAMESPACE",
            of.function.namespace().unwrap_or_default(),
        ),
    ]
    .map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    })
}

/// The restricted Pod Security Standard; what the user set stands in its place, field by field.
fn pod_security(own: Option<PodSecurityContext>) -> PodSecurityContext {
    let own = own.unwrap_or_default();
    PodSecurityContext {
        run_as_non_root: own.run_as_non_root.or(Some(true)),
        seccomp_profile: own.seccomp_profile.or_else(|| {
            Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            })
        }),
        ..own
    }
}

fn container_security(own: Option<SecurityContext>) -> SecurityContext {
    let own = own.unwrap_or_default();
    let capabilities = own.capabilities.unwrap_or_default();
    SecurityContext {
        allow_privilege_escalation: own.allow_privilege_escalation.or(Some(false)),
        capabilities: Some(Capabilities {
            add: capabilities.add,
            drop: capabilities.drop.or_else(|| Some(vec!["ALL".to_owned()])),
        }),
        ..own
    }
}

fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}

/// Kubernetes counts whole seconds; a part of one counts as one.
fn whole_seconds(duration: std::time::Duration) -> i64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
