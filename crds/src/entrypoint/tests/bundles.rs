use super::*;

const SHOP: &str = "{image: a, defaults: {port: 1, scale: {max: 3, idleAfter: 5s}},
    bundles: [{name: web, command: [node, web.js], scale: {max: 7}, entrypoints: [about, home]}, {name: api, image: b, entrypoints: [orders]}],
    entrypoints: [{name: home, path: /, match: Exact}, {name: big, path: /big}, {name: about, path: /about}, {name: orders, path: /orders}]}";

fn routes(entrypoint: &Entrypoint) -> Vec<(&str, &str, PathMatch)> {
    let routes = entrypoint.routes.iter();
    routes
        .map(|route| {
            (
                route.entrypoint.as_str(),
                route.path.as_str(),
                route.path_match,
            )
        })
        .collect()
}

#[test]
fn a_bundle_is_one_entrypoint_with_the_paths_of_its_members() {
    let all = resolve(&spec(SHOP)).unwrap();
    let found: Vec<_> = all.iter().map(Entrypoint::field).collect();
    assert_eq!(found, ["bundles[web]", "bundles[api]", "entrypoints[big]"]);
    assert_eq!(
        routes(&all[0]),
        [
            ("home", "/", PathMatch::Exact),
            ("about", "/about", PathMatch::Prefix)
        ]
    );
    assert_eq!(routes(&all[1]), [("orders", "/orders", PathMatch::Prefix)]);
    assert_eq!(routes(&all[2]), [("big", "/big", PathMatch::Prefix)]);
    let spec = spec(SHOP);
    let listed: Vec<_> = names(&spec).collect();
    assert_eq!(listed, ["web", "api", "big"]);
}

#[test]
fn a_bundles_own_value_wins_over_the_defaults() {
    let all = resolve(&spec(SHOP)).unwrap();
    let (web, api) = (&all[0], &all[1]);
    assert_eq!(
        (web.scale.max, web.scale.idle_after),
        (7, Duration::from_secs(5))
    );
    assert_eq!((web.template.port, web.template.image.as_str()), (1, "a"));
    assert_eq!((api.scale.max, api.template.image.as_str()), (3, "b"));
}

#[test]
fn which_paths_a_bundle_has_is_not_part_of_its_revision() {
    let revision = |spec: FunctionSpec| {
        let web = resolve(&spec).unwrap().remove(0);
        web.template.revision("shop", &web.name)
    };
    let mut fewer = spec(SHOP);
    fewer.bundles[0].entrypoints.pop();
    assert_eq!(revision(fewer), revision(spec(SHOP)));
    // One that was an entrypoint of this name runs on as a bundle of it.
    let alone = only(
        "{image: a, defaults: {port: 1}, entrypoints: [{name: web, path: /, command: [node, web.js]}]}",
    );
    assert_eq!(alone.template.revision("shop", "web"), revision(spec(SHOP)));
}

/// What a released Thaw has made must have the same name for ever, or upgrading would roll every function.
#[test]
fn the_revision_of_an_entrypoint_is_what_it_always_was() {
    let plain = only("{image: a, entrypoints: [{name: web, path: /}]}");
    assert_eq!(plain.template.revision("shop", "web"), "a5b7c44440");
    let full = only(
        "{image: a, defaults: {env: [{name: A, value: x}]}, entrypoints: [{name: web, path: /, command: [node, web.js], args: [--fast], workingDir: /app,
          envFrom: [{configMapRef: {name: c}}], port: 9000, protocol: H2C, resources: {requests: {cpu: 10m}},
          pod: {serviceAccountName: s, nodeSelector: {a: b}, labels: {x: y}, terminationGracePeriod: 5s}}]}",
    );
    assert_eq!(full.template.revision("shop", "web"), "a8897a6ab2");
}

#[test]
fn a_bundle_that_breaks_a_rule_is_refused_with_what_to_do() {
    let problem = |bundles: &str, home: &str| {
        let yaml = format!(
            "{{image: a, bundles: [{bundles}], entrypoints: [{{name: home, path: /{home}}}, {{name: about, path: /about}}]}}"
        );
        resolve(&spec(&yaml)).unwrap_err().to_string()
    };
    let name = "another bundle or an entrypoint has this name; give it one of its own";
    assert_eq!(
        problem("{name: about, entrypoints: [home]}", ""),
        format!("spec.bundles[about].name: {name}")
    );
    assert_eq!(
        problem(
            "{name: web, entrypoints: [home]}, {name: web, entrypoints: [about]}",
            ""
        ),
        format!("spec.bundles[web].name: {name}")
    );
    assert_eq!(
        problem("{name: web, entrypoints: []}", ""),
        "spec.bundles[web].entrypoints: name at least one"
    );
    assert_eq!(
        problem("{name: web, entrypoints: [x]}", ""),
        "spec.bundles[web].entrypoints: x is not in spec.entrypoints; add it there with its path, or remove it here"
    );
    assert_eq!(
        problem(
            "{name: a, entrypoints: [home]}, {name: b, entrypoints: [home]}",
            ""
        ),
        "spec.bundles[b].entrypoints: home is in a bundle already; leave it in one"
    );
    for field in [
        ", image: b",
        ", scale: {max: 2}",
        ", command: [x]",
        ", pod: {labels: {a: b}}",
    ] {
        assert_eq!(
            problem("{name: web, entrypoints: [home]}", field),
            "spec.entrypoints[home]: it is in bundle web and sets only name, path and match; move its other fields to the bundle"
        );
    }
    assert_eq!(
        problem("{name: web, entrypoints: [home], env: [{name: PORT}]}", ""),
        "spec.bundles[web].env: PORT is set by Thaw; remove it and set port"
    );
}

/// The activator reads it before anybody has refused it.
#[test]
fn a_manifest_that_breaks_a_rule_keeps_each_path_once() {
    let spec = spec(
        "{image: a, bundles: [{name: a, entrypoints: [home, x]}, {name: b, entrypoints: [home]}],
          entrypoints: [{name: home, path: /, command: [x]}, {name: about, path: /about}]}",
    );
    let all = read(&spec);
    let found: Vec<_> = all
        .iter()
        .map(|e| (e.name.as_str(), routes(e).len()))
        .collect();
    assert_eq!(found, [("a", 1), ("about", 1)]);
}
