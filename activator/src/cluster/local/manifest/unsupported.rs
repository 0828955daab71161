//! What a manifest asks for that processes on one machine cannot have.

use crds::{
    function::{BundleSpec, EntrypointFields, EntrypointSpec, FunctionSpec, Visibility},
    pod::PodFields,
};

const NO_POD: &str = "has no effect here: there is no pod";
const NO_REVISIONS: &str =
    "has no effect here: a changed manifest takes the place of the old one at once";

/// A line for each field that has no effect, by its path. Types are taken apart, so that a new field is not forgotten.
pub(super) fn notes(spec: &FunctionSpec) -> Vec<String> {
    let FunctionSpec {
        image: _,
        hosts,
        visibility,
        max_size,
        defaults,
        bundles,
        entrypoints,
        revision_history_limit,
    } = spec;
    // Every manifest has images: one line is enough.
    let mut notes = vec![
        "image: no image is pulled or run; commands run as processes of this machine".to_owned(),
    ];
    if revision_history_limit.is_some() {
        notes.push(format!("spec.revisionHistoryLimit: {NO_REVISIONS}"));
    }
    if !hosts.is_empty() {
        notes.push(
            "spec.hosts: there is no DNS for them here; requests with such a Host are answered"
                .into(),
        );
    }
    if max_size.is_some() {
        notes.push("spec.maxSize: has no effect here: there is no image".into());
    }
    if *visibility == Some(Visibility::Cluster) {
        notes.push("spec.visibility: there is one address here, and every function answers".into());
    }
    fields("spec.defaults", defaults, &mut notes);
    for bundle in bundles {
        let BundleSpec {
            name,
            entrypoints: _,
            image: _,
            fields: own,
        } = bundle;
        fields(&format!("spec.bundles[{name}]"), own, &mut notes);
    }
    for entrypoint in entrypoints {
        let EntrypointSpec {
            name,
            path: _,
            path_match: _,
            image: _,
            fields: own,
        } = entrypoint;
        fields(&format!("spec.entrypoints[{name}]"), own, &mut notes);
    }
    notes
}

fn fields(path: &str, fields: &EntrypointFields, notes: &mut Vec<String>) {
    let EntrypointFields {
        command: _,
        args: _,
        // Checked where it is known which directory there is.
        working_dir: _,
        env,
        env_from,
        port,
        protocol: _,
        resources,
        scale: _,
        freeze: _,
        limits: _,
        timeouts: _,
        verify,
        on_disconnect: _,
        pod: of_pod,
    } = fields;
    let mut note = |field: &str, why: &str| notes.push(format!("{path}.{field}: {why}"));
    let elsewhere = "there are no ConfigMaps, Secrets and pods here; set it in the shell that starts this, whose environment a function has too";
    for variable in env.iter().filter(|variable| variable.value_from.is_some()) {
        note(&format!("env[{}].valueFrom", variable.name), elsewhere);
    }
    if !env_from.is_empty() {
        note("envFrom", elsewhere);
    }
    if port.is_some() {
        note("port", "each process gets a port of its own as $PORT");
    }
    if resources.is_some() {
        note("resources", "a process gets what this machine has");
    }
    if verify.is_some() {
        note("verify", NO_REVISIONS);
    }
    for field in of_pod.iter().flat_map(pod) {
        note(&format!("pod.{field}"), NO_POD);
    }
}

/// Names of the fields that are set and have no effect.
fn pod(fields: &PodFields) -> Vec<&'static str> {
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
        // Honoured.
        termination_grace_period: _,
    } = fields;
    let all = [
        ("serviceAccountName", service_account_name.is_some()),
        (
            "automountServiceAccountToken",
            automount_service_account_token.is_some(),
        ),
        ("imagePullSecrets", image_pull_secrets.is_some()),
        ("imagePullPolicy", image_pull_policy.is_some()),
        ("nodeSelector", !node_selector.is_empty()),
        ("tolerations", tolerations.is_some()),
        ("affinity", affinity.is_some()),
        (
            "topologySpreadConstraints",
            topology_spread_constraints.is_some(),
        ),
        ("runtimeClassName", runtime_class_name.is_some()),
        ("priorityClassName", priority_class_name.is_some()),
        ("securityContext", security_context.is_some()),
        (
            "containerSecurityContext",
            container_security_context.is_some(),
        ),
        ("volumes", volumes.is_some()),
        ("volumeMounts", volume_mounts.is_some()),
        ("annotations", !annotations.is_empty()),
        ("labels", !labels.is_empty()),
    ];
    all.into_iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| name)
        .collect()
}
