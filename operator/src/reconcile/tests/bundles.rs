//! Entrypoints that come into a bundle and leave it.

use crds::names;

use super::*;

const ALONE: &str = "{image: a, entrypoints: [{name: home, path: /}, {name: about, path: /about}]}";
const BUNDLED: &str = "{image: a, bundles: [{name: web, entrypoints: [home, about]}],
    entrypoints: [{name: home, path: /}, {name: about, path: /about}]}";
const HOME_ALONE: &str = "{image: a, bundles: [{name: web, entrypoints: [about]}],
    entrypoints: [{name: home, path: /}, {name: about, path: /about}]}";

impl Operator {
    fn use_spec(&self, spec: &str) {
        let spec = fixtures::stored(&fixtures::function("shop", spec))["spec"].clone();
        self.edit(|function| function["spec"] = spec);
    }

    fn entry(&self, name: &str) -> Value {
        let status = self.status();
        let mut all = status["entrypoints"].as_array().into_iter().flatten();
        let found = all.find(|entry| entry["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// What answers a path, as the activator reads it.
    fn answering(&self, entrypoint: &str, path: &str) -> String {
        let status: crds::FunctionStatus = serde_json::from_value(self.status()).unwrap();
        let found = status.answering(entrypoint, path);
        found.map_or_else(String::new, |(name, revision)| format!("{name}@{revision}"))
    }

    /// Leaves every Deployment without instances, for so long that it goes if nothing wants it.
    async fn drain(&mut self) {
        for deployment in self.double.list(DEPLOYMENTS) {
            self.scale(&deployment, 0);
        }
        self.settle().await;
        tokio::time::advance(LINGER).await;
        self.settle().await;
    }

    fn deployed(&self) -> Vec<String> {
        let all = self.double.list(DEPLOYMENTS).into_iter().map(|d| {
            let labels = &d["metadata"]["labels"];
            let label = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
            format!("{}@{}", label(names::ENTRYPOINT), label(names::REVISION))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    }
}

#[tokio::test]
async fn a_bundle_is_one_deployment_and_its_status_names_its_entrypoints() {
    let mut operator = Operator::of(BUNDLED);
    operator.settle().await;
    let web = operator.entry("web");
    let revision = web["revision"].as_str().unwrap();
    assert_eq!(operator.deployed(), [format!("web@{revision}")]);
    assert_eq!(
        web["entrypoints"],
        json!([
            {"name": "home", "url": "http://shop--prod.example.com/"},
            {"name": "about", "url": "http://shop--prod.example.com/about"},
        ])
    );
    assert_eq!(
        (&web["url"], &web["readyRevision"]),
        (&Value::Null, &web["revision"])
    );
    assert_eq!(
        operator.status()["entrypoints"].as_array().map(Vec::len),
        Some(1)
    );
    let container =
        &operator.double.list(DEPLOYMENTS)[0]["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().unwrap();
    let is = |name: &str, value: &str| env.contains(&json!({"name": name, "value": value}));
    assert!(is("THAW_ENTRYPOINT", "web") && is("K_SERVICE", "shop-web"));
    assert_eq!(operator.condition("Ready")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn paths_that_come_into_a_bundle_are_answered_by_what_had_them_until_the_bundle_has_answered()
{
    let mut operator = Operator::of(ALONE);
    operator.settle().await;
    let before = operator.deployed();
    let (home, about) = (
        operator.answering("home", "/"),
        operator.answering("about", "/about"),
    );

    operator.use_spec(BUNDLED);
    operator.drain().await;
    assert_eq!(operator.answering("web", "/"), home);
    assert_eq!(operator.answering("web", "/about"), about);
    assert_eq!(operator.deployed().len(), 3, "both are still there");
    assert!(before.iter().all(|old| operator.deployed().contains(old)));
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Reconciling")["reason"], "Verifying");
    let message = operator.condition("Reconciling")["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains(&format!("{home} keeps that of /")),
        "{message}"
    );

    operator.answer(0, "ErrImagePull");
    operator.drain().await;
    assert_eq!(operator.answering("web", "/"), home);
    assert_eq!(operator.condition("Ready")["status"], "True");
    assert_eq!(operator.condition("Stalled")["reason"], "RevisionFailed");
    assert_eq!(operator.deployed().len(), 3);

    operator.answer(0, "");
    operator.settle().await;
    let web = format!(
        "web@{}",
        operator.entry("web")["revision"].as_str().unwrap()
    );
    assert_eq!(operator.answering("web", "/"), web);
    assert_eq!(operator.answering("web", "/about"), web);
    assert_eq!(operator.entry("web")["predecessors"], Value::Null);
    assert!(operator.events().contains(&"TrafficMoved".to_owned()));
    operator.drain().await;
    assert_eq!(operator.deployed(), [web]);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_goes_back_before_the_bundle_has_answered_boots_nothing() {
    let mut operator = Operator::of(ALONE);
    operator.settle().await;
    let before = operator.deployed();
    let home = operator.answering("home", "/");
    operator.use_spec(BUNDLED);
    operator.drain().await;
    operator.use_spec(ALONE);
    operator.settle().await;
    assert_eq!(operator.answering("home", "/"), home);
    assert_eq!(operator.entry("home")["verifying"], Value::Null);
    assert_eq!(operator.condition("Reconciling")["status"], "False");
    operator.drain().await;
    assert_eq!(operator.deployed(), before);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_leaves_a_bundle_is_answered_by_the_bundle_until_its_own_revision_has_answered()
{
    let mut operator = Operator::of(BUNDLED);
    operator.edit(|function| function["spec"]["revisionHistoryLimit"] = json!(0));
    operator.settle().await;
    let web = operator.answering("web", "/");
    operator.use_spec(HOME_ALONE);
    operator.settle().await;
    assert_eq!(operator.answering("home", "/"), web);
    assert_eq!(operator.answering("web", "/about"), web);

    // The bundle goes on to another revision meanwhile; the one that answers for the other path stays, though no revision is kept.
    operator.edit(|function| {
        function["spec"]["revisionHistoryLimit"] = json!(0);
        function["spec"]["bundles"][0]["command"] = json!(["x"]);
    });
    operator.settle().await;
    operator.answer(0, "");
    operator.drain().await;
    let newer = operator.answering("web", "/about");
    assert!(newer != web && operator.deployed().contains(&web));
    assert_eq!(operator.answering("home", "/"), web);

    operator.answer(1, "");
    operator.drain().await;
    let home = operator.answering("home", "/");
    assert_eq!(operator.deployed(), [home, newer]);
}

#[tokio::test]
async fn a_path_that_comes_into_a_bundle_with_a_new_revision_never_meets_the_old_one() {
    let mut operator = Operator::of(HOME_ALONE);
    operator.settle().await;
    let (home, old) = (
        operator.answering("home", "/"),
        operator.answering("web", "/about"),
    );
    operator.use_spec(&BUNDLED.replace("{name: web,", "{name: web, command: [x],"));
    operator.settle().await;
    assert_eq!(operator.answering("web", "/"), home);
    assert_eq!(operator.answering("web", "/about"), old);
    operator.answer(0, "");
    operator.settle().await;
    let new = operator.answering("web", "/about");
    assert!(new != old && operator.answering("web", "/") == new);
}

#[tokio::test]
async fn a_path_that_comes_into_a_bundle_as_it_is_moves_at_once() {
    let mut operator = Operator::of(HOME_ALONE);
    operator.settle().await;
    let web = operator.answering("web", "/about");
    operator.use_spec(BUNDLED);
    operator.reconcile().await.unwrap();
    assert_eq!(
        operator.answering("web", "/"),
        web,
        "it has answered before"
    );
}

#[tokio::test]
async fn an_entrypoint_that_gets_another_name_takes_its_path_over_when_it_has_answered() {
    let mut operator = Operator::of("{image: a, entrypoints: [{name: web, path: /}]}");
    operator.settle().await;
    let old = operator.answering("web", "/");
    operator.use_spec(
        "{image: broken, entrypoints: [{name: start, path: /}, {name: more, path: /more}]}",
    );
    operator.settle().await;
    assert_eq!(operator.answering("start", "/"), old);
    assert_eq!(
        operator.entry("more")["readyRevision"],
        operator.entry("more")["revision"],
        "nobody had it"
    );
    operator.answer(0, "");
    operator.settle().await;
    assert!(operator.answering("start", "/").starts_with("start@"));
}

#[tokio::test]
async fn a_restart_at_any_point_takes_a_path_over_once() {
    for restart_at in 0..6 {
        let mut operator = Operator::of(ALONE);
        operator.settle().await;
        let home = operator.answering("home", "/");
        operator.use_spec(BUNDLED);
        for step in 0..6 {
            if step == restart_at {
                operator.restart();
            }
            if step == 3 {
                operator.answer(0, "");
            }
            operator.reconcile().await.unwrap();
            let is_before = operator.answering("web", "/") == home;
            assert_eq!(is_before, step < 3, "step {step}, restart {restart_at}");
        }
    }
}

#[tokio::test]
async fn a_rollback_names_the_bundle() {
    let mut operator = Operator::of(BUNDLED);
    operator.settle().await;
    let old = operator.entry("web")["revision"]
        .as_str()
        .unwrap()
        .to_owned();
    operator.edit(|function| function["spec"]["image"] = json!("b"));
    operator.settle().await;
    operator.answer(0, "");
    operator.settle().await;
    let annotate = |operator: &Operator, to: &str| {
        let mut function = operator.double.get(FUNCTION).unwrap();
        function["metadata"]["annotations"] = json!({"thaw.dev/rollback": to});
        operator.double.put(FUNCTION, function);
    };
    annotate(&operator, &format!("home@{old}"));
    operator.settle().await;
    let message = operator.condition("Stalled")["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("home is in bundle web; write web@revision"),
        "{message}"
    );
    annotate(&operator, &format!("web@{old}"));
    operator.settle().await;
    assert_eq!(operator.answering("web", "/about"), format!("web@{old}"));
    assert_eq!(operator.condition("Stalled")["status"], "False");
}
