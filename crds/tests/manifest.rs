//! The committed CustomResourceDefinition and its rules.

use crds::Function;

#[test]
fn the_committed_files_are_what_the_types_print() {
    for copy in ["function.yaml", "../charts/thaw/files/function.yaml"] {
        let path = format!("{}/{copy}", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == crds::manifest(),
            "{copy} is stale: run `cargo run -p crds -- --write`"
        );
    }
}

/// Violations that the API server would report for a spec in YAML.
fn violations(name: &str, spec: &str) -> String {
    let mut function = Function::new(
        name,
        serde_yaml::from_str(spec).expect("the spec of a test is readable"),
    );
    function.metadata.namespace = Some("default".to_owned());
    kube::core::cel::validate_cel(&function)
        .err()
        .map(|errors| errors.to_string())
        .unwrap_or_default()
}

#[test]
fn a_good_manifest_breaks_no_rule() {
    let spec = "{image: a, entrypoints: [{name: home, path: /}, {name: orders, path: /api/orders-v1.2~x, match: Exact,
                 scale: {min: 1, max: 1}, timeouts: {queue: 1m30s, boot: 100ms}, verify: {path: '/healthz?deep=1'}, limits: {requestBytes: 1Gi},
                 pod: {labels: {team: x}, containerSecurityContext: {capabilities: {add: [NET_BIND_SERVICE]}}}}]}";
    assert_eq!(violations("shop", spec), "");
    let bundles = "{image: a, bundles: [{name: web, command: [x], scale: {max: 3}, entrypoints: [home, about]}, {name: api, image: b, entrypoints: [orders]}],
                    entrypoints: [{name: home, path: /}, {name: about, path: /about, match: Exact}, {name: orders, path: /orders}, {name: big, path: /big, command: [y]}]}";
    assert_eq!(violations("shop", bundles), "");
    let no_image_of_all = "{bundles: [{name: web, image: b, entrypoints: [home]}], entrypoints: [{name: home, path: /}, {name: big, path: /big, image: c}]}";
    assert_eq!(violations("shop", no_image_of_all), "");
}

#[test]
fn the_rules_of_bundles_refuse_what_they_are_for() {
    let of = |bundles: &str, home: &str| {
        format!(
            "{{image: a, bundles: [{bundles}], entrypoints: [{{name: home, path: /{home}}}, {{name: about, path: /about}}]}}"
        )
    };
    let field = |field: &str| of("{name: web, entrypoints: [home]}", &format!(", {field}"));
    let mut cases = vec![
        (of("{name: about, entrypoints: [home]}", ""), "name of an entrypoint"),
        (of("{name: Web, entrypoints: [home]}", ""), "lower-case"),
        (of("{name: web, entrypoints: [home, x]}", ""), "not in spec.entrypoints"),
        (
            of("{name: a, entrypoints: [home]}, {name: b, entrypoints: [about, home]}", ""),
            "in two bundles",
        ),
        (
            "{bundles: [{name: web, entrypoints: [home]}], entrypoints: [{name: home, path: /}]}".to_owned(),
            "set spec.image",
        ),
        (
            "{bundles: [{name: web, image: b, entrypoints: [home]}], entrypoints: [{name: home, path: /}, {name: x, path: /x}]}".to_owned(),
            "set spec.image",
        ),
        (of("{name: web, entrypoints: [home], scale: {min: 3, max: 2}}", ""), "min is larger than max"),
    ];
    for of_home in [
        "image: b",
        "command: [x]",
        "scale: {}",
        "env: [{name: A}]",
        "pod: {}",
    ] {
        cases.push((field(of_home), "only name, path and match"));
    }
    for (spec, expected) in cases {
        let found = violations("shop", &spec);
        assert!(
            found.contains(expected),
            "{spec}: expected {expected:?} in {found:?}"
        );
    }
}

/// A field that is new must be in the rule too.
#[test]
fn a_member_of_a_bundle_may_set_none_of_the_fields_that_the_bundle_has() {
    use kube::CustomResourceExt;
    let crd = serde_json::to_value(Function::crd()).expect("a CRD is JSON");
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let rules = spec["x-kubernetes-validations"].to_string();
    let fields = spec["properties"]["defaults"]["properties"].as_object();
    for field in fields.expect("defaults have fields").keys() {
        assert!(rules.contains(&format!("has(e.{field})")), "{field}");
    }
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    let entrypoint =
        |fields: &str| format!("{{image: a, entrypoints: [{{name: web, path: /, {fields}}}]}}");
    let path = |path: &str| format!("{{image: a, entrypoints: [{{name: web, path: '{path}'}}]}}");
    let cases = [
        ("a--b", entrypoint(""), "metadata.name"),
        ("a.b", entrypoint(""), "metadata.name"),
        (
            "shop",
            "{entrypoints: [{name: web, path: /}]}".to_owned(),
            "set spec.image",
        ),
        (
            "shop",
            "{image: a, entrypoints: [{name: a, path: /x}, {name: b, path: /x}]}".to_owned(),
            "same path",
        ),
        ("shop", path("api"), "start with a slash"),
        ("shop", path("/api/"), "slash at the end"),
        ("shop", path("/a//b"), "empty segment"),
        ("shop", path("/a/../b"), "segments . and .."),
        ("shop", path("/a%2fb"), "percent-encoding"),
        ("shop", path("/a?b"), "percent-encoding"),
        (
            "shop",
            entrypoint("scale: {min: 3, max: 2}"),
            "min is larger than max",
        ),
        (
            "shop",
            entrypoint("timeouts: {boot: -5s}"),
            "write a duration",
        ),
        (
            "shop",
            entrypoint("verify: {path: healthz}"),
            "start with a slash",
        ),
        ("shop", entrypoint("verify: {path: '/a b'}"), "use letters"),
        (
            "shop",
            entrypoint("pod: {volumes: [{name: v, hostPath: {path: /}}]}"),
            "hostPath",
        ),
        (
            "shop",
            entrypoint("pod: {containerSecurityContext: {privileged: true}}"),
            "privileged",
        ),
        (
            "shop",
            entrypoint("pod: {containerSecurityContext: {allowPrivilegeEscalation: true}}"),
            "PrivilegeEscalation",
        ),
        (
            "shop",
            entrypoint("pod: {containerSecurityContext: {capabilities: {add: [SYS_ADMIN]}}}"),
            "NET_BIND_SERVICE",
        ),
        (
            "shop",
            entrypoint("pod: {securityContext: {seccompProfile: {type: Unconfined}}}"),
            "pod.securityContext: seccomp",
        ),
        (
            "shop",
            entrypoint("pod: {containerSecurityContext: {appArmorProfile: {type: Unconfined}}}"),
            "pod.containerSecurityContext: seccomp and AppArmor",
        ),
        (
            "shop",
            entrypoint("pod: {securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}"),
            "sysctls",
        ),
        (
            "shop",
            entrypoint("pod: {containerSecurityContext: {windowsOptions: {hostProcess: true}}}"),
            "windowsOptions",
        ),
        (
            "shop",
            entrypoint("pod: {securityContext: {seLinuxOptions: {type: spc_t}}}"),
            "seLinuxOptions",
        ),
        (
            "shop",
            entrypoint(
                "pod: {annotations: {container.apparmor.security.beta.kubernetes.io/function: unconfined}}",
            ),
            "AppArmor",
        ),
        (
            "shop",
            entrypoint("pod: {labels: {thaw.dev/function: x}}"),
            "pod.labels",
        ),
        (
            "shop",
            entrypoint("pod: {annotations: {thaw.dev/held-by: x}}"),
            "pod.annotations",
        ),
    ];
    for (name, spec, expected) in cases {
        let found = violations(name, &spec);
        assert!(
            found.contains(expected),
            "{name} {spec}: expected {expected:?} in {found:?}"
        );
    }
}
