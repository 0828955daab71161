//! What a pod says about its instance.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crds::{function::Protocol, names};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::ListParams};

use super::{apis, overdue};
use crate::{engine::BootFailure, entrypoint::Key, entrypoints::Entrypoints, instance::Address};

/// Between two attempts to list.
const AGAIN: Duration = Duration::from_millis(250);

/// What a pod says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// On its way, and what it waits for.
    Booting(BootFailure),
    /// It cannot boot, or its container ended.
    Broken(BootFailure),
    /// It is being deleted, or is over.
    Gone,
}

/// Waiting reasons of a container after which trying again does not help until something changes.
const HOPELESS: [&str; 11] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "RunContainerError",
    "SignatureValidationFailed",
];

/// Which entrypoint revision the labels name.
pub fn key(meta: &ObjectMeta) -> Option<Key> {
    let label = |name: &str| meta.labels.as_ref()?.get(name).cloned();
    Some(Key {
        namespace: meta.namespace.clone()?,
        function: label(names::FUNCTION)?,
        entrypoint: label(names::ENTRYPOINT)?,
        revision: label(names::REVISION)?,
    })
}

/// Where the container will listen, once the pod has an address.
pub fn address(pod: &Pod) -> Option<Address> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let container = pod
        .spec
        .as_ref()?
        .containers
        .iter()
        .find(|c| c.name == names::CONTAINER)?;
    let port = container.ports.as_ref()?.first()?;
    let speaks_http2 = port.name.as_deref() == Some(names::port(Protocol::H2c));
    Some(Address {
        socket: SocketAddr::new(ip, u16::try_from(port.container_port).ok()?),
        protocol: if speaks_http2 {
            Protocol::H2c
        } else {
            Protocol::Http1
        },
    })
}

/// Whether the pod has a node.
pub fn is_scheduled(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_some())
}

/// The image that the container runs, by its digest: `registry/repository@sha256:…`, or the digest alone of an image that never was in a
/// registry. Nothing before the container has started.
pub fn image(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let container = containers.iter().find(|c| c.name == names::CONTAINER)?;
    let (_, image) = container
        .image_id
        .split_once("://")
        .unwrap_or(("", &container.image_id));
    (!image.is_empty()).then_some(image)
}

/// Whether another replica is still using the instance although it stopped being the owner.
pub fn is_held(pod: &Pod, identity: &str) -> bool {
    let holder = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(names::HELD_BY));
    holder.is_some_and(|holder| holder != identity)
}

/// The deletion cost that some activator wrote.
pub fn deletion_cost(pod: &Pod) -> Option<i32> {
    pod.metadata
        .annotations
        .as_ref()?
        .get(names::DELETION_COST)?
        .parse()
        .ok()
}

/// Tells a newer word about an object from an older one (KEP-5504).
pub fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_ref()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// Shows the entrypoints every pod as the API server, and not a watch, has it: a new owner must know which instances there are, and
/// which of them others are still using. Tries until it succeeds.
pub async fn catch_up(
    client: &Client,
    namespaces: &[String],
    identity: &str,
    entrypoints: &Entrypoints,
) {
    for api in apis(client, namespaces) {
        catch_up_with(&api, identity, entrypoints).await;
    }
}

async fn catch_up_with(api: &Api<Pod>, identity: &str, entrypoints: &Entrypoints) {
    let children = ListParams::default().labels(names::CHILDREN);
    let pods = loop {
        match overdue(api.list(&children)).await {
            Ok(pods) => break pods,
            Err(error) => tracing::warn!(%error, "cannot list Pods, trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    for pod in pods {
        if life(&pod) != Life::Gone
            && let (Some(key), Some(uid)) = (key(&pod.metadata), &pod.metadata.uid)
        {
            let held = is_held(&pod, identity);
            let name = pod.metadata.name.clone().unwrap_or_default();
            entrypoints
                .get_or_add(&key)
                .seen(uid, &name, held, version(&pod.metadata));
        }
    }
}

/// Where the pod is in its life.
pub fn life(pod: &Pod) -> Life {
    let status = pod.status.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some()
        || matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"))
    {
        return Life::Gone;
    }
    let containers = status.container_statuses.unwrap_or_default();
    if let Some(container) = containers.iter().find(|c| c.name == names::CONTAINER) {
        return of_container(container);
    }
    let conditions = status.conditions.unwrap_or_default();
    let unscheduled = conditions
        .iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    Life::Booting(match unscheduled {
        Some(condition) => BootFailure {
            reason: condition
                .reason
                .clone()
                .unwrap_or_else(|| "Unschedulable".to_owned()),
            message: condition
                .message
                .clone()
                .unwrap_or_else(|| "no node takes the pod".to_owned()),
        },
        None => waiting("Pending", "the pod has not started"),
    })
}

fn of_container(container: &ContainerStatus) -> Life {
    let state = container.state.clone().unwrap_or_default();
    let last = container.last_state.clone().unwrap_or_default();
    // A container that ended once has lost what it kept in memory; its restart is not the same instance.
    if let Some(ended) = state.terminated.or(last.terminated) {
        let reason = ended.reason.unwrap_or_else(|| "Error".to_owned());
        let said = ended
            .message
            .filter(|message| !message.is_empty())
            .map(|message| format!(": {}", message.trim()));
        let message = format!(
            "the container ended with exit code {}{}",
            ended.exit_code,
            said.unwrap_or_default()
        );
        return Life::Broken(BootFailure { reason, message });
    }
    if let Some(waits) = state.waiting {
        let reason = waits.reason.unwrap_or_else(|| "Waiting".to_owned());
        let message = waits
            .message
            .unwrap_or_else(|| "the container has not started".to_owned());
        let failure = BootFailure { reason, message };
        let hopeless = HOPELESS.contains(&failure.reason.as_str());
        return if hopeless {
            Life::Broken(failure)
        } else {
            Life::Booting(failure)
        };
    }
    Life::Booting(waiting(
        "NotListening",
        "the container runs but accepts no connection: listen on all addresses at the port in $PORT",
    ))
}

fn waiting(reason: &str, message: &str) -> BootFailure {
    BootFailure {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> Pod {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn with_container(state: &str) -> Life {
        life(&pod(&format!(
            "{{status: {{phase: Pending, containerStatuses: [{{name: function, image: a, imageID: '', ready: false,
               restartCount: 0, {state}}}]}}}}"
        )))
    }

    #[test]
    fn a_boot_that_cannot_succeed_is_told_from_one_that_takes_its_time() {
        let is_broken = |state: &str| matches!(with_container(state), Life::Broken(_));
        assert!(is_broken(
            "state: {waiting: {reason: ErrImagePull, message: no such image}}"
        ));
        assert!(is_broken(
            "state: {waiting: {reason: CreateContainerConfigError}}"
        ));
        assert!(is_broken(
            "state: {terminated: {exitCode: 3, reason: Error}}"
        ));
        assert!(is_broken(
            "state: {running: {}}, lastState: {terminated: {exitCode: 0}}"
        ));
        assert!(!is_broken("state: {waiting: {reason: ContainerCreating}}"));
        assert!(!is_broken("state: {running: {}}"));
    }

    #[test]
    fn a_container_that_ended_says_with_what() {
        let Life::Broken(failure) =
            with_container("state: {terminated: {exitCode: 3, reason: Error, message: boom}}")
        else {
            panic!("a container that ended is broken");
        };
        assert_eq!(
            failure.message,
            "the container ended with exit code 3: boom"
        );
    }

    #[test]
    fn an_unschedulable_pod_waits_with_the_schedulers_words() {
        let pod = pod(
            "{status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False',
            reason: Unschedulable, message: 0/1 nodes are available}]}}",
        );
        let failure = BootFailure {
            reason: "Unschedulable".into(),
            message: "0/1 nodes are available".into(),
        };
        assert_eq!(life(&pod), Life::Booting(failure));
    }

    #[test]
    fn the_address_is_known_with_ip_and_port() {
        let pod = pod(
            "{spec: {containers: [{name: function, ports: [{containerPort: 8081}]}]}, status: {podIP: 10.0.0.7}}",
        );
        let socket: SocketAddr = "10.0.0.7:8081".parse().unwrap();
        assert_eq!(address(&pod), Some(socket.into()));
    }

    #[test]
    fn the_image_is_told_by_its_digest_once_the_container_has_started() {
        let of = |id: &str| {
            let state = format!(
                "{{status: {{containerStatuses: [{{name: function, image: a, imageID: '{id}', ready: false, restartCount: 0}}]}}}}"
            );
            image(&pod(&state)).map(str::to_owned)
        };
        assert_eq!(
            of("ghcr.io/a@sha256:1").as_deref(),
            Some("ghcr.io/a@sha256:1")
        );
        assert_eq!(
            of("docker-pullable://a@sha256:1").as_deref(),
            Some("a@sha256:1")
        );
        assert_eq!(of("sha256:1").as_deref(), Some("sha256:1"));
        assert_eq!(of(""), None);
        assert_eq!(image(&Pod::default()), None);
    }

    #[test]
    fn the_name_of_the_port_says_what_is_spoken_there() {
        let pod = pod(
            "{spec: {containers: [{name: function, ports: [{name: h2c, containerPort: 1}]}]}, status: {podIP: 10.0.0.7}}",
        );
        assert_eq!(address(&pod).unwrap().protocol, Protocol::H2c);
    }
}
