//! What a Deployment says about the instances that it should have.

use k8s_openapi::api::apps::v1::Deployment;

use crate::engine::BootFailure;

/// Why the ReplicaSet cannot make the pods it was told to: quota, admission. Only if the word is about the present `replicas`.
pub(super) fn creation_failure(deployment: &Deployment, replicas: i32) -> Option<BootFailure> {
    let status = deployment.status.as_ref()?;
    if status.observed_generation < deployment.metadata.generation
        || status.replicas.unwrap_or(0) >= replicas
    {
        return None;
    }
    let condition = status
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    Some(BootFailure {
        reason: condition
            .reason
            .clone()
            .unwrap_or_else(|| "FailedCreate".to_owned()),
        message: condition
            .message
            .clone()
            .unwrap_or_else(|| "the pod was refused".to_owned()),
    })
}
