use super::*;

fn manifests(text: &str) -> Result<Manifests, Vec<String>> {
    let (mut manifests, mut problems) = (Manifests::default(), Vec::new());
    read_file(
        Path::new("/src/f.yaml"),
        text,
        &mut manifests,
        &mut problems,
    );
    if problems.is_empty() {
        Ok(manifests)
    } else {
        Err(problems)
    }
}

fn function(spec: &str) -> Result<Manifests, Vec<String>> {
    manifests(&format!(
        "{{apiVersion: thaw.dev/v1alpha1, kind: Function, metadata: {{name: shop}}, spec: {spec}}}"
    ))
}

/// A Function with one entrypoint that has these fields.
fn entrypoint(fields: &str) -> Result<Manifests, Vec<String>> {
    function(&format!(
        "{{image: a, entrypoints: [{{name: web, path: /, command: [x], {fields}}}]}}"
    ))
}

/// A Function with the bundle `web` that has these fields.
fn bundle(fields: &str) -> Result<Manifests, Vec<String>> {
    function(&format!(
        "{{image: a, bundles: [{{name: web, entrypoints: [home], command: [x], {fields}}}], entrypoints: [{{name: home, path: /}}]}}"
    ))
}

#[track_caller]
fn one_problem(read: Result<Manifests, Vec<String>>, parts: &[&str]) {
    let problems = read.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    for part in parts {
        assert!(problems[0].contains(part), "{part} is not in {problems:#?}");
    }
}

#[test]
fn documents_are_functions_in_their_order_and_empty_ones_are_none() {
    let one = |name: &str| {
        format!(
            "---\napiVersion: thaw.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}, namespace: prod}}\nspec: {{image: a, entrypoints: [{{name: web, path: /, command: [./run]}}]}}\n"
        )
    };
    let read = manifests(&format!("{}{}---\n", one("a"), one("b"))).unwrap();
    let names: Vec<_> = read
        .functions
        .iter()
        .map(|f| (f.namespace.as_str(), f.name.as_str()))
        .collect();
    assert_eq!(names, [("prod", "a"), ("prod", "b")]);
    assert_eq!(read.functions[0].entrypoints[0].1.dir, Path::new("/src"));
}

#[test]
fn hosts_are_read_as_the_cluster_would_and_claimed_once() {
    let spec = |hosts: &str| {
        format!(
            "{{image: a, hosts: [{hosts}], entrypoints: [{{name: web, path: /, command: [x]}}]}}"
        )
    };
    let read = function(&spec("Shop.Example.com., shop.example.com")).unwrap();
    assert_eq!(read.functions[0].hosts, ["shop.example.com"]);
    one_problem(
        function(&spec("'*.example.com'")),
        &["spec.hosts[0]", "DNS name"],
    );

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, host: &str| {
        let path = folder.path().join(name);
        let text = format!(
            "{{apiVersion: thaw.dev/v1alpha1, kind: Function, metadata: {{name: {name}}}, spec: {}}}",
            spec(host)
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = [file("a", "shop.example.com"), file("b", "SHOP.example.com")];
    let Problems(problems) = super::read(&files).unwrap_err();
    assert_eq!(
        problems,
        ["spec.hosts: two Functions want shop.example.com: take it out of one of them"]
    );
}

#[test]
fn a_field_that_nobody_reads_is_named_by_its_path() {
    for (read, path) in [
        (entrypoint("comand: [y]"), "spec.entrypoints[web].comand"),
        (
            entrypoint("scale: {minimum: 1}"),
            "spec.entrypoints[web].scale.minimum",
        ),
        (
            entrypoint("env: [{name: A, vlaue: b}]"),
            "spec.entrypoints[web].env[0].vlaue",
        ),
        (
            entrypoint("pod: {volume: []}"),
            "spec.entrypoints[web].pod.volume",
        ),
        (
            function(
                "{image: a, defaults: {limits: {que: 1}}, entrypoints: [{name: web, path: /, command: [x]}]}",
            ),
            "spec.defaults.limits.que",
        ),
        (
            function(
                "{image: a, entrypoint: [], entrypoints: [{name: web, path: /, command: [x]}]}",
            ),
            "spec.entrypoint:",
        ),
        (bundle("entrypoint: [home]"), "spec.bundles[web].entrypoint"),
        (bundle("limits: {que: 1}"), "spec.bundles[web].limits.que"),
    ] {
        one_problem(read, &["/src/f.yaml: ", path, "no such field"]);
    }
}

#[test]
fn a_value_that_cannot_be_read_is_named_by_its_path() {
    for (fields, path) in [
        ("scale: {min: many}", "spec.entrypoints[web].scale.min"),
        (
            "timeouts: {boot: soon}",
            "spec.entrypoints[web].timeouts.boot",
        ),
        ("command: x.js", "command"),
        ("match: Sometimes", "spec.entrypoints[web].match"),
    ] {
        one_problem(
            entrypoint(fields).map_err(|p| p.into_iter().take(1).collect()),
            &[path],
        );
    }
}

#[test]
fn other_objects_are_refused() {
    one_problem(
        manifests("{apiVersion: v1, kind: Service}"),
        &["apiVersion", "thaw.dev/v1alpha1"],
    );
    one_problem(
        manifests("{kind: Function}"),
        &["apiVersion: write thaw.dev/v1alpha1"],
    );
    one_problem(manifests("- a"), &["a mapping"]);
    one_problem(manifests("a: ["), &["/src/f.yaml"]);
}

#[test]
fn nothing_wins_silently() {
    let two = |a: &str, b: &str| {
        function(&format!(
            "{{image: a, entrypoints: [{{{a}, command: [x]}}, {{{b}, command: [x]}}]}}"
        ))
    };
    one_problem(
        two("name: a, path: /", "name: b, path: /"),
        &["entrypoints[b].path", "that of a"],
    );
    one_problem(
        two("name: a, path: /a", "name: a, path: /b"),
        &["entrypoints[a].name"],
    );
    one_problem(
        two("name: a, path: a", "name: b, path: /b"),
        &["start with a slash"],
    );
    one_problem(
        two("name: a, path: /a/", "name: b, path: /b"),
        &["slash at the end"],
    );
    one_problem(
        two("name: A, path: /a", "name: b, path: /b"),
        &["lower-case"],
    );
    for path in ["/a?b", "/a%20b"] {
        let first = format!("name: a, path: {path:?}");
        one_problem(two(&first, "name: b, path: /b"), &["percent-encoding"]);
    }
    one_problem(
        two("name: a, path: /a/../c", "name: b, path: /b"),
        &["empty segments"],
    );
    one_problem(
        two("name: a, path: /a, scale: {max: 0}", "name: b, path: /b"),
        &["spec.entrypoints[a].scale.max: 0"],
    );
    one_problem(
        two("name: a, path: /a, limits: {queue: 0}", "name: b, path: /b"),
        &["spec.entrypoints[a].limits.queue: 0"],
    );
}

#[test]
fn a_command_is_needed_and_the_rules_of_the_cluster_hold() {
    one_problem(
        function("{image: a, entrypoints: [{name: web, path: /}]}"),
        &["spec.entrypoints[web].command", "no image"],
    );
    one_problem(
        function("{entrypoints: [{name: web, path: /, command: [x]}]}"),
        &["image"],
    );
    one_problem(
        entrypoint("env: [{name: PORT, value: '1'}]"),
        &["PORT is set by Thaw"],
    );
}

#[test]
fn a_bundle_runs_its_command_and_its_members_have_none() {
    let read = bundle("port: 1").unwrap();
    let entrypoints = &read.functions[0].entrypoints;
    assert_eq!(entrypoints.len(), 1);
    assert_eq!(entrypoints[0].0.field(), "bundles[web]");
    let note = "spec.bundles[web].port: ";
    assert!(read.notes.iter().any(|said| said.contains(note)));
    one_problem(
        function("{image: a, bundles: web, entrypoints: [{name: web, path: /, command: [x]}]}"),
        &["spec.bundles: write a list"],
    );
}

#[test]
fn what_has_no_effect_is_said_field_by_field() {
    let read = entrypoint(
        "port: 1, resources: {limits: {memory: 1Mi}}, workingDir: /not/here, envFrom: [{configMapRef: {name: c}}],
         env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: b}],
         pod: {labels: {a: b}, terminationGracePeriod: 1s, runtimeClassName: r}, scale: {max: 2}, verify: {path: /healthz}",
    );
    let notes = read.unwrap().notes;
    let fields: Vec<_> = notes
        .iter()
        .map(|note| note.split(": ").nth(1).unwrap())
        .collect();
    let of_web = |field: &str| format!("spec.entrypoints[web].{field}");
    let expected = [
        "env[A].valueFrom",
        "envFrom",
        "port",
        "resources",
        "verify",
        "pod.runtimeClassName",
        "pod.labels",
        "workingDir",
    ];
    assert_eq!(fields[0], "image");
    assert_eq!(fields[1..], expected.map(of_web));
}

#[test]
fn the_samples_can_be_run() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples");
    let dirs = std::fs::read_dir(samples)
        .unwrap()
        .map(|dir| dir.unwrap().path());
    let files = dirs
        .filter(|dir| dir.is_dir())
        .flat_map(|dir| std::fs::read_dir(dir).unwrap());
    let files = files.map(|file| file.unwrap().path());
    let manifests = files.filter(|file| file.extension().is_some_and(|of| of == "yaml"));
    let manifests: Vec<_> = manifests.collect();
    assert!(manifests.len() >= 3, "{manifests:?}");
    super::read(&manifests).unwrap();
}
