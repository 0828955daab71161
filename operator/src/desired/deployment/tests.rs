mod standards;

use crds::entrypoint::resolve;

use super::*;
use crate::double::fixtures;

const FULL: &str = r#"
image: registry.example.com/shop:1
entrypoints:
  - name: orders
    path: /api/orders
    command: [node, orders.js]
    args: [--verbose]
    workingDir: /app
    env:
      - {name: GREETING, value: hello}
      - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: orders}}}
    envFrom: [{configMapRef: {name: settings}}]
    port: 3000
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
    scale: {min: 1, max: 5}
    timeouts: {boot: 5s}
    pod:
      serviceAccountName: orders
      automountServiceAccountToken: true
      imagePullSecrets: [{name: registry}]
      imagePullPolicy: IfNotPresent
      nodeSelector: {disk: ssd}
      tolerations: [{key: spot, operator: Exists}]
      affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
      runtimeClassName: gvisor
      priorityClassName: high
      securityContext: {runAsUser: 1000, seccompProfile: {type: Localhost, localhostProfile: p.json}}
      containerSecurityContext: {readOnlyRootFilesystem: true, capabilities: {add: [NET_BIND_SERVICE]}}
      volumes: [{name: tmp, emptyDir: {}}]
      volumeMounts: [{name: tmp, mountPath: /tmp}]
      annotations: {team: shop}
      labels: {tier: backend, thaw.dev/function: not-yours}
      terminationGracePeriod: 1500ms
"#;

fn rendered(spec: &str) -> Deployment {
    let function = fixtures::function("shop", spec);
    let entrypoint = resolve(&function.spec).unwrap().remove(0);
    let identity = Identity {
        function: &function,
        entrypoint: &entrypoint.name,
        revision: "0123456789",
    };
    render(identity, &entrypoint.template)
}

#[test]
fn the_smallest_manifest_makes_a_lean_and_restricted_pod() {
    let spec = "{image: hello, entrypoints: [{name: web, path: /}]}";
    insta::assert_yaml_snapshot!(rendered(spec));
}

#[test]
fn every_field_of_a_manifest_reaches_the_pod() {
    insta::assert_yaml_snapshot!(rendered(FULL));
}

#[test]
fn scale_and_clocks_do_not_reach_the_deployment() {
    let with = |fields: &str| {
        rendered(&format!(
            "{{image: hello, entrypoints: [{{name: web, path: /{fields}}}]}}"
        ))
    };
    let plain = with("");
    for fields in [
        ", scale: {min: 2, max: 3, concurrency: 9, idleAfter: 1s}",
        ", timeouts: {boot: 1s, duration: 2s}",
        ", limits: {queue: 1, requestBytes: 1Ki}",
        ", match: Exact",
    ] {
        assert_eq!(with(fields), plain, "{fields}");
    }
    assert_eq!(plain.spec.unwrap().replicas, None);
}
