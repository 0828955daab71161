//! Pod Security Standards: what Thaw makes of every sample, and of manifests that ask for more than they should have.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use crds::Function;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// How far a pod may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standard {
    Restricted,
    Baseline,
    /// What no namespace should have to judge.
    Neither,
}

/// The strictest standard that a pod meets.
fn standard(pod: &Value) -> Standard {
    if !is_baseline(pod) {
        Standard::Neither
    } else if is_restricted(pod) {
        Standard::Restricted
    } else {
        Standard::Baseline
    }
}

/// The security contexts of the pod and of its container.
fn contexts(pod: &Value) -> [&Value; 2] {
    let spec = &pod["spec"];
    let containers = spec["containers"].as_array().expect("it has containers");
    assert_eq!(
        containers.len(),
        1,
        "one container, and none of other kinds"
    );
    assert!(spec.get("initContainers").is_none() && spec.get("ephemeralContainers").is_none());
    [&spec["securityContext"], &containers[0]["securityContext"]]
}

fn volumes(pod: &Value) -> impl Iterator<Item = &serde_json::Map<String, Value>> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(Value::as_object)
}

fn is_baseline(pod: &Value) -> bool {
    const TYPES: [&str; 4] = [
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    let spec = &pod["spec"];
    let is_of_host = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .any(|field| spec[field] == true);
    let ports = spec["containers"][0]["ports"].as_array();
    let has_host_port = ports
        .into_iter()
        .flatten()
        .any(|port| port.get("hostPort").is_some());
    let has_host_path = volumes(pod).any(|volume| volume.contains_key("hostPath"));
    let annotations = pod["metadata"]["annotations"].as_object();
    let mut annotations = annotations.into_iter().flatten();
    let is_unconfined_by_annotation = annotations.any(|(key, _)| key.contains("apparmor"));
    let is_confined = |context: &&Value| {
        let options = &context["seLinuxOptions"];
        let type_ = options["type"].as_str().unwrap_or(TYPES[0]);
        context["privileged"] != true
            && context["windowsOptions"]["hostProcess"] != true
            && context["procMount"].is_null()
            && context["seccompProfile"]["type"] != "Unconfined"
            && context["appArmorProfile"]["type"] != "Unconfined"
            && context["sysctls"].is_null()
            && options["user"].is_null()
            && options["role"].is_null()
            && TYPES.contains(&type_)
            && only_binds_ports(&context["capabilities"]["add"])
    };
    !is_of_host
        && !has_host_port
        && !has_host_path
        && !is_unconfined_by_annotation
        && contexts(pod).iter().all(is_confined)
}

fn only_binds_ports(capabilities: &Value) -> bool {
    let mut all = capabilities.as_array().into_iter().flatten();
    all.all(|capability| capability == "NET_BIND_SERVICE")
}

fn is_restricted(pod: &Value) -> bool {
    const SOURCES: [&str; 9] = [
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let is_allowed = |volume: &serde_json::Map<String, Value>| {
        volume
            .keys()
            .all(|source| SOURCES.contains(&source.as_str()))
    };
    let [of_pod, of_container] = contexts(pod);
    let seccomp = |context: &Value| context["seccompProfile"]["type"].clone();
    let effective = match seccomp(of_container) {
        Value::Null => seccomp(of_pod),
        own => own,
    };
    let dropped = of_container["capabilities"]["drop"].as_array();
    volumes(pod).all(is_allowed)
        && of_container["allowPrivilegeEscalation"] == false
        && of_pod["runAsNonRoot"] == true
        && of_container["runAsNonRoot"] != false
        && [of_pod, of_container]
            .iter()
            .all(|context| context["runAsUser"] != 0)
        && [json!("RuntimeDefault"), json!("Localhost")].contains(&effective)
        && dropped.is_some_and(|dropped| dropped.contains(&json!("ALL")))
}

/// The pods of a Function, one for each entrypoint.
fn pods(function: &Function) -> Vec<Value> {
    let resolved = resolve(&function.spec).expect("it breaks no rule");
    let pod = |entrypoint: crds::Entrypoint| {
        let identity = Identity {
            function,
            entrypoint: &entrypoint.name,
            revision: "0123456789",
        };
        let deployment = render(identity, &entrypoint.template);
        json!(deployment.spec.expect("it has one").template)
    };
    resolved.into_iter().map(pod).collect()
}

#[test]
fn every_pod_of_every_sample_meets_the_restricted_standard_and_has_no_token() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples");
    let mut seen = 0;
    for sample in std::fs::read_dir(samples).unwrap() {
        let manifest = sample.unwrap().path().join("function.yaml");
        let Ok(text) = std::fs::read_to_string(&manifest) else {
            continue;
        };
        for document in serde_yaml::Deserializer::from_str(&text) {
            let function = Function::deserialize(document).unwrap();
            for pod in pods(&function) {
                assert_eq!(
                    standard(&pod),
                    Standard::Restricted,
                    "{manifest:?}: {pod:#}"
                );
                assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen} entrypoints of samples");
}

/// `pod:` of an entrypoint, and the furthest that it gets: a manifest that would get further is refused by the API server, on create and
/// on update alike.
const ASKED: [(&str, Standard); 30] = [
    ("{}", Standard::Restricted),
    ("{serviceAccountName: admin}", Standard::Restricted),
    (
        "{securityContext: {runAsUser: 1000, fsGroup: 1000}}",
        Standard::Restricted,
    ),
    (
        "{securityContext: {seccompProfile: {type: Localhost, localhostProfile: a}}}",
        Standard::Restricted,
    ),
    (
        "{securityContext: {seLinuxOptions: {level: s0}}}",
        Standard::Restricted,
    ),
    (
        "{securityContext: {appArmorProfile: {type: RuntimeDefault}}}",
        Standard::Restricted,
    ),
    (
        "{containerSecurityContext: {readOnlyRootFilesystem: true}}",
        Standard::Restricted,
    ),
    (
        "{containerSecurityContext: {capabilities: {add: [NET_BIND_SERVICE]}}}",
        Standard::Restricted,
    ),
    (
        "{volumes: [{name: v, emptyDir: {}}, {name: s, secret: {secretName: s}}]}",
        Standard::Restricted,
    ),
    ("{securityContext: {runAsUser: 0}}", Standard::Baseline),
    (
        "{securityContext: {runAsNonRoot: false}}",
        Standard::Baseline,
    ),
    (
        "{containerSecurityContext: {runAsUser: 0}}",
        Standard::Baseline,
    ),
    (
        "{containerSecurityContext: {runAsNonRoot: false}}",
        Standard::Baseline,
    ),
    (
        "{containerSecurityContext: {capabilities: {drop: []}}}",
        Standard::Baseline,
    ),
    (
        "{volumes: [{name: v, nfs: {server: a, path: /}}]}",
        Standard::Baseline,
    ),
    (
        "{volumes: [{name: v, hostPath: {path: /}}]}",
        Standard::Neither,
    ),
    (
        "{volumes: [{name: a, emptyDir: {}}, {name: v, hostPath: {path: /run/containerd}}]}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {privileged: true}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {procMount: Unmasked}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {capabilities: {add: [SYS_ADMIN]}}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {capabilities: {add: [NET_BIND_SERVICE, NET_RAW]}}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {seccompProfile: {type: Unconfined}}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {appArmorProfile: {type: Unconfined}}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {seLinuxOptions: {role: system_r}}}",
        Standard::Neither,
    ),
    (
        "{containerSecurityContext: {windowsOptions: {hostProcess: true}}}",
        Standard::Neither,
    ),
    (
        "{securityContext: {seccompProfile: {type: Unconfined}}}",
        Standard::Neither,
    ),
    (
        "{securityContext: {appArmorProfile: {type: Unconfined}}}",
        Standard::Neither,
    ),
    (
        "{securityContext: {seLinuxOptions: {type: spc_t}}}",
        Standard::Neither,
    ),
    (
        "{securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}",
        Standard::Neither,
    ),
    (
        "{annotations: {container.apparmor.security.beta.kubernetes.io/function: unconfined}}",
        Standard::Neither,
    ),
];

#[test]
fn what_goes_beyond_the_baseline_standard_is_refused_and_the_rest_is_the_namespaces_to_judge() {
    for (asked, expected) in ASKED {
        for spec in [
            format!("{{image: a, entrypoints: [{{name: web, path: /, pod: {asked}}}]}}"),
            format!(
                "{{image: a, defaults: {{pod: {asked}}}, entrypoints: [{{name: web, path: /}}]}}"
            ),
        ] {
            let function = fixtures::function("shop", &spec);
            let found = pods(&function).iter().map(standard).max();
            assert_eq!(found, Some(expected), "{spec}");
            let is_refused = kube::core::cel::validate_cel(&function).is_err();
            assert_eq!(is_refused, expected == Standard::Neither, "{spec}");
        }
    }
}

#[test]
fn labels_of_thaw_cannot_be_taken() {
    for label in [
        "thaw.dev/function",
        "thaw.dev/entrypoint",
        "thaw.dev/revision",
        "thaw.dev/anything",
        "app.kubernetes.io/name",
        "app.kubernetes.io/component",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/part-of",
    ] {
        let spec = format!(
            "{{image: a, entrypoints: [{{name: web, path: /, pod: {{labels: {{{label}: taken}}}}}}]}}"
        );
        let function = fixtures::function("shop", &spec);
        assert!(kube::core::cel::validate_cel(&function).is_err(), "{label}");
        // And where no rule asked, what Thaw says stands.
        let plain = pods(&fixtures::function(
            "shop",
            "{image: a, entrypoints: [{name: web, path: /}]}",
        ));
        let (plain, found) = (
            &plain[0]["metadata"]["labels"],
            &pods(&function)[0]["metadata"]["labels"],
        );
        for (key, value) in plain.as_object().unwrap() {
            assert_eq!(&found[key], value, "{label}");
        }
    }
}
