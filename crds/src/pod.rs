//! The part of a pod that a user may set. Everything else is Thaw's, so that boots stay short and pods keep to the restricted Pod
//! Security Standard.
//!
//! The rules keep every pod within the baseline standard, whatever its namespace allows: those who may write Functions have the
//! operator make pods for them, and must not get by it what they could not get by themselves. Between baseline and restricted (running as root,
//! say) a manifest may loosen what Thaw sets, and the namespace's own Pod Security decides.
//!
//! A volume, a token or a slow image costs boot time; the README says how much.

// The schema derive repeats each type inside a private scope, where `pub` reaches nothing.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, PodSecurityContext, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{function::merged, values::Duration};

/// Fields of the pod, under the names that Kubernetes gives them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.volumes) || self.volumes.all(v, !has(v.hostPath))")
        .message("pod.volumes: hostPath is not allowed; use a configMap, secret, emptyDir, projected, ephemeral or persistentVolumeClaim volume"),
    validation = Rule::new("!has(self.containerSecurityContext) || !has(self.containerSecurityContext.privileged) || !self.containerSecurityContext.privileged")
        .message("pod.containerSecurityContext.privileged: privileged instances are not allowed; remove it"),
    validation = Rule::new("!has(self.containerSecurityContext) || !has(self.containerSecurityContext.allowPrivilegeEscalation) || !self.containerSecurityContext.allowPrivilegeEscalation")
        .message("pod.containerSecurityContext.allowPrivilegeEscalation: it is always false; remove it"),
    validation = Rule::new("!has(self.containerSecurityContext) || !has(self.containerSecurityContext.capabilities) || !has(self.containerSecurityContext.capabilities.add) || self.containerSecurityContext.capabilities.add == ['NET_BIND_SERVICE']")
        .message("pod.containerSecurityContext.capabilities.add: only NET_BIND_SERVICE may be added"),
    validation = Rule::new("!has(self.containerSecurityContext) || !has(self.containerSecurityContext.procMount)")
        .message("pod.containerSecurityContext.procMount: not allowed; remove it"),
    validation = Rule::new("!has(self.securityContext) || (!has(self.securityContext.windowsOptions) && (!has(self.securityContext.seccompProfile) || self.securityContext.seccompProfile.type != 'Unconfined') && (!has(self.securityContext.appArmorProfile) || self.securityContext.appArmorProfile.type != 'Unconfined') && !has(self.securityContext.sysctls))")
        .message("pod.securityContext: seccomp and AppArmor cannot be Unconfined, and windowsOptions and sysctls are not allowed; remove them"),
    validation = Rule::new("!has(self.securityContext) || !has(self.securityContext.seLinuxOptions) || (!has(self.securityContext.seLinuxOptions.user) && !has(self.securityContext.seLinuxOptions.role) && (!has(self.securityContext.seLinuxOptions.type) || self.securityContext.seLinuxOptions.type in ['container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t']))")
        .message("pod.securityContext.seLinuxOptions: only level, and a type among container_t, container_init_t, container_kvm_t and container_engine_t, may be set"),
    validation = Rule::new("!has(self.containerSecurityContext) || (!has(self.containerSecurityContext.windowsOptions) && (!has(self.containerSecurityContext.seccompProfile) || self.containerSecurityContext.seccompProfile.type != 'Unconfined') && (!has(self.containerSecurityContext.appArmorProfile) || self.containerSecurityContext.appArmorProfile.type != 'Unconfined'))")
        .message("pod.containerSecurityContext: seccomp and AppArmor cannot be Unconfined, and windowsOptions are not allowed; remove them"),
    validation = Rule::new("!has(self.containerSecurityContext) || !has(self.containerSecurityContext.seLinuxOptions) || (!has(self.containerSecurityContext.seLinuxOptions.user) && !has(self.containerSecurityContext.seLinuxOptions.role) && (!has(self.containerSecurityContext.seLinuxOptions.type) || self.containerSecurityContext.seLinuxOptions.type in ['container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t']))")
        .message("pod.containerSecurityContext.seLinuxOptions: only level, and a type among container_t, container_init_t, container_kvm_t and container_engine_t, may be set"),
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('thaw.dev/') && !k.startsWith('app.kubernetes.io/'))")
        .message("pod.labels: labels under thaw.dev/ and app.kubernetes.io/ are set by Thaw; use another prefix"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.startsWith('thaw.dev/') && k != 'controller.kubernetes.io/pod-deletion-cost' && !k.startsWith('container.apparmor.security.beta.kubernetes.io/'))")
        .message("pod.annotations: annotations under thaw.dev/ and the pod deletion cost are set by Thaw, and AppArmor is set in the security context; remove them")
)]
pub struct PodFields {
    /// ServiceAccount of the pod. Default: the namespace's `default`, without its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,
    /// Mounts the ServiceAccount's token, which costs about 0.3 s of every cold boot. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Secrets for the image's registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
    /// When the node asks the registry. Default: Kubernetes' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub tolerations: Option<Vec<Toleration>>,
    /// Where the pod may or should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How instances spread over zones and nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// RuntimeClass of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub runtime_class_name: Option<String>,
    /// PriorityClass of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Security context of the pod; replaces Thaw's restricted one field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Security context of the container; replaces Thaw's restricted one field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_security_context: Option<SecurityContext>,
    /// Volumes. Any volume costs about 0.3 s of every cold boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50))]
    pub volumes: Option<Vec<Volume>>,
    /// Where the volumes are mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub volume_mounts: Option<Vec<VolumeMount>>,
    /// Annotations of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub labels: BTreeMap<String, String>,
    /// Time between SIGTERM and SIGKILL. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period: Option<Duration>,
}

/// When the node asks the registry for the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Before every boot.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PodFields {
    /// `self` over `base`: a field set here wins, maps are merged by key.
    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            service_account_name: self.service_account_name.or(base.service_account_name),
            automount_service_account_token: self
                .automount_service_account_token
                .or(base.automount_service_account_token),
            image_pull_secrets: self.image_pull_secrets.or(base.image_pull_secrets),
            image_pull_policy: self.image_pull_policy.or(base.image_pull_policy),
            node_selector: merged(&base.node_selector, &self.node_selector),
            tolerations: self.tolerations.or(base.tolerations),
            affinity: self.affinity.or(base.affinity),
            topology_spread_constraints: self
                .topology_spread_constraints
                .or(base.topology_spread_constraints),
            runtime_class_name: self.runtime_class_name.or(base.runtime_class_name),
            priority_class_name: self.priority_class_name.or(base.priority_class_name),
            security_context: self.security_context.or(base.security_context),
            container_security_context: self
                .container_security_context
                .or(base.container_security_context),
            volumes: self.volumes.or(base.volumes),
            volume_mounts: self.volume_mounts.or(base.volume_mounts),
            annotations: merged(&base.annotations, &self.annotations),
            labels: merged(&base.labels, &self.labels),
            termination_grace_period: self
                .termination_grace_period
                .or(base.termination_grace_period),
        }
    }
}
