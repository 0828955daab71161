use super::*;

mod bundles;

fn spec(yaml: &str) -> FunctionSpec {
    serde_yaml::from_str(yaml).unwrap()
}

fn only(yaml: &str) -> Entrypoint {
    resolve(&spec(yaml)).unwrap().remove(0)
}

#[test]
fn the_smallest_manifest_gets_the_documented_defaults() {
    let entrypoint = only("{image: a, entrypoints: [{name: web, path: /}]}");
    assert_eq!(entrypoint.template.port, 8080);
    assert_eq!(
        entrypoint.scale,
        Scale {
            min: 0,
            max: 100,
            concurrency: 1,
            burst: Burst::PerRequest,
            idle_after: Duration::from_secs(60)
        }
    );
    assert_eq!(
        entrypoint.limits,
        Limits {
            queue: 1000,
            request_bytes: 100 << 20,
            buffer_bytes: 64 << 10
        }
    );
    assert_eq!(entrypoint.freeze_after, Some(Duration::from_millis(100)));
    assert_eq!(entrypoint.timeouts.queue, Some(Duration::from_secs(30)));
    assert_eq!(entrypoint.timeouts.boot, Some(Duration::from_secs(60)));
}

#[test]
fn an_entrypoint_that_must_go_on_running_is_never_frozen() {
    let entrypoint = only(
        "{image: a, defaults: {freeze: {mode: Never}}, entrypoints: [{name: web, path: /, freeze: {after: 1s}}]}",
    );
    assert_eq!(entrypoint.freeze_after, None);
    let entrypoint = only(
        "{image: a, defaults: {freeze: {mode: Never}}, entrypoints: [{name: web, path: /, freeze: {mode: Auto}}]}",
    );
    assert_eq!(entrypoint.freeze_after, Some(Duration::from_millis(100)));
}

#[test]
fn an_entrypoints_own_value_wins_over_the_defaults_and_maps_merge() {
    let entrypoint = only(
        "{image: a,
          defaults: {port: 1, scale: {max: 3, idleAfter: 5s}, env: [{name: A, value: base}, {name: B, value: base}],
                     resources: {requests: {cpu: 1m, memory: 2Mi}}, pod: {labels: {x: base, y: base}}},
          entrypoints: [{name: web, path: /, image: b, scale: {max: 7}, env: [{name: A, value: own}],
                         resources: {requests: {cpu: 9m}}, pod: {labels: {x: own}}}]}",
    );
    assert_eq!(entrypoint.template.image, "b");
    assert_eq!(entrypoint.template.port, 1);
    assert_eq!(
        (entrypoint.scale.max, entrypoint.scale.idle_after),
        (7, Duration::from_secs(5))
    );
    let env: Vec<_> = entrypoint
        .template
        .env
        .iter()
        .map(|e| (e.name.as_str(), e.value.as_deref()))
        .collect();
    assert_eq!(env, [("B", Some("base")), ("A", Some("own"))]);
    let requests = entrypoint
        .template
        .resources
        .and_then(|r| r.requests)
        .unwrap();
    assert_eq!(
        (requests["cpu"].0.as_str(), requests["memory"].0.as_str()),
        ("9m", "2Mi")
    );
    let labels: Vec<_> = entrypoint.template.pod.labels.into_iter().collect();
    assert_eq!(
        labels,
        [("x".into(), "own".into()), ("y".into(), "base".into())]
    );
}

#[test]
fn zero_means_no_limit() {
    let entrypoint =
        only("{image: a, entrypoints: [{name: web, path: /, timeouts: {duration: 0s}}]}");
    assert_eq!(entrypoint.timeouts.duration, None);
}

#[test]
fn only_the_template_is_part_of_the_revision() {
    let revision = |fields: &str| {
        only(&format!(
            "{{image: a, entrypoints: [{{name: web, path: /{fields}}}]}}"
        ))
        .template
        .revision("f", "web")
    };
    let base = revision("");
    assert_eq!(base.len(), 10);
    for same in [
        ", scale: {max: 2}",
        ", timeouts: {boot: 1s}",
        ", limits: {queue: 1}",
        ", match: Exact",
    ] {
        assert_eq!(revision(same), base, "{same} must roll nothing");
    }
    for other in [
        ", command: [x]",
        ", image: b",
        ", port: 1",
        ", pod: {labels: {a: b}}",
        ", env: [{name: A}]",
    ] {
        assert_ne!(revision(other), base, "{other} must make a new revision");
    }
}

/// A revision that exists must not change because Thaw has learnt a field.
#[test]
fn a_protocol_is_part_of_the_revision_unless_it_is_the_default() {
    let revision = |fields: &str| {
        let yaml = format!("{{image: a, entrypoints: [{{name: web, path: /, {fields}}}]}}");
        only(&yaml).template.revision("shop", "web")
    };
    assert_eq!(revision("protocol: HTTP1"), revision(""));
    assert_ne!(revision("protocol: H2C"), revision(""));
    assert_eq!(revision("onDisconnect: Cancel"), revision(""));
}

/// Nor because it can read Secrets and ConfigMaps.
#[test]
fn what_configuration_says_is_part_of_the_revision_only_where_it_is_asked_for() {
    let mut template = only("{image: a, entrypoints: [{name: web, path: /}]}").template;
    let fixed = template.revision("shop", "web");
    assert_eq!(
        fixed, "a5b7c44440",
        "a change of it rolls every function that there is"
    );
    template.config = Some("one".to_owned());
    let one = template.revision("shop", "web");
    template.config = Some("two".to_owned());
    assert_ne!(one, fixed);
    assert_ne!(one, template.revision("shop", "web"));
}

#[test]
fn functions_whose_names_join_alike_have_different_revisions() {
    let template = only("{image: a, entrypoints: [{name: web, path: /}]}").template;
    assert_ne!(template.revision("a-b", "c"), template.revision("a", "b-c"));
}

#[test]
fn what_the_schema_cannot_say_is_refused_with_the_field_and_what_to_do() {
    let problem = |yaml: &str| resolve(&spec(yaml)).unwrap_err().to_string();
    assert_eq!(
        problem("{image: a, entrypoints: [{name: web, path: /, env: [{name: PORT, value: '1'}]}]}"),
        "spec.entrypoints[web].env: PORT is set by Thaw; remove it and set port"
    );
    assert!(
        problem("{image: a, defaults: {scale: {min: 5}}, entrypoints: [{name: web, path: /, scale: {max: 2}}]}")
            .contains("min 5 is larger than max 2")
    );
    assert_eq!(
        problem(
            "{image: a, entrypoints: [{name: web, path: /, resources: {limits: {cpu: lots}}}]}"
        ),
        "spec.entrypoints[web].resources.limits.cpu: \"lots\" is not a quantity; write a number with a unit, such as 250m or 64Mi"
    );
    assert!(
        problem("{image: a, entrypoints: [{name: web, path: /, pod: {volumeMounts: [{name: v, mountPath: /v}]}}]}")
            .contains("no volume is named \"v\"")
    );
}

#[test]
fn how_a_revision_is_verified_is_not_part_of_it() {
    let revision = |entrypoint: &Entrypoint| entrypoint.template.revision("shop", "web");
    let plain = only("{image: a, entrypoints: [{name: web, path: /}]}");
    assert_eq!(plain.verify, Verify::default());
    let verified = only(
        "{image: a, defaults: {verify: {when: Always, path: /base}},
          entrypoints: [{name: web, path: /, verify: {path: /healthz}}], revisionHistoryLimit: 2}",
    );
    let expected = Verify {
        when: VerifyWhen::Always,
        path: Some("/healthz".to_owned()),
    };
    assert_eq!(verified.verify, expected);
    assert_eq!(revision(&verified), revision(&plain));
}
