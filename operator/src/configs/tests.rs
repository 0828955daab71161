use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::double::{Double, fixtures};

const SPEC: &str = "{image: a, entrypoints: [
    {name: web, path: /, env: [{name: A, valueFrom: {secretKeyRef: {name: login, key: password}}}]},
    {name: all, path: /all, envFrom: [{secretRef: {name: login}}, {configMapRef: {name: settings, optional: true}}]},
    {name: none, path: /none}]}";

/// A Function that asks for new revisions, and the API server that holds what it uses.
struct Story {
    double: Double,
    configs: Configs,
    function: Function,
}

impl Story {
    fn new() -> Self {
        let mut function = fixtures::function("shop", SPEC);
        function.metadata.annotations =
            Some([(names::ROLL_ON_CONFIG_CHANGE.to_owned(), "true".to_owned())].into());
        let story = Self {
            double: Double::default(),
            configs: Configs::readable(),
            function,
        };
        story.put("secrets/login", json!({"password": "aGk=", "user": "bWU="}));
        story
    }

    fn put(&self, path: &str, data: Value) {
        let (_, name) = path.split_once('/').unwrap();
        let object = json!({"metadata": {"name": name, "namespace": "prod"}, "data": data});
        self.double
            .put(&format!("/api/v1/namespaces/prod/{path}"), object);
    }

    async fn hashes(&self) -> HashMap<String, String> {
        let hashes = self.tried().await.unwrap();
        assert!(hashes.unread.is_none(), "{hashes:?}");
        hashes.by_entrypoint
    }

    async fn tried(&self) -> Result<Hashes, Problem> {
        let entrypoints = crds::entrypoint::read(&self.function.spec);
        let client = self.double.client();
        self.configs
            .hashes(&client, &self.function, &entrypoints)
            .await
    }

    fn changed(&self, kind: Kind, name: &str) -> Vec<String> {
        let object = Object {
            kind,
            namespace: "prod".to_owned(),
            name: name.to_owned(),
        };
        let users = self.configs.changed(&object).into_iter();
        users.map(|function| function.name).collect()
    }
}

#[tokio::test]
async fn only_what_an_entrypoint_uses_is_in_its_hash() {
    let story = Story::new();
    let before = story.hashes().await;
    let mut hashed: Vec<_> = before.keys().map(String::as_str).collect();
    hashed.sort_unstable();
    assert_eq!(hashed, ["all", "web"]);

    story.put("secrets/login", json!({"password": "aGk=", "user": "eW91"}));
    assert_eq!(story.changed(Kind::Secret, "login"), ["shop"]);
    let after = story.hashes().await;
    assert_eq!(after["web"], before["web"], "another key");
    assert_ne!(after["all"], before["all"]);

    story.put("configmaps/settings", json!({"a": "b"}));
    assert_eq!(story.changed(Kind::ConfigMap, "settings"), ["shop"]);
    let with_settings = story.hashes().await;
    assert_ne!(with_settings["all"], after["all"], "it is there now");
    assert_eq!(with_settings["web"], after["web"]);
}

#[tokio::test]
async fn contents_are_read_once_and_what_is_written_anew_without_a_change_changes_nothing() {
    let story = Story::new();
    let before = story.hashes().await;
    story.double.take_requests();
    assert_eq!(story.hashes().await, before);
    assert!(story.double.take_requests().is_empty(), "all is known");
    assert!(story.changed(Kind::Secret, "another").is_empty());
    assert!(story.changed(Kind::ConfigMap, "login").is_empty());

    assert_eq!(story.changed(Kind::Secret, "login"), ["shop"]);
    assert_eq!(story.hashes().await, before);
    assert_eq!(story.double.take_requests().len(), 1);
    assert_eq!(story.configs.all_changed(Kind::Secret).len(), 1);
    assert_eq!(story.hashes().await, before);
    assert_eq!(
        story.double.take_requests().len(),
        1,
        "the ConfigMap is not read again"
    );
}

#[tokio::test]
async fn a_change_while_an_object_is_read_is_not_missed() {
    let story = Story::new();
    let before = story.hashes().await;
    let login = Object {
        kind: Kind::Secret,
        namespace: "prod".to_owned(),
        name: "login".to_owned(),
    };
    let (changes, old) = {
        let mut known = story.configs.known();
        let entry = known.get_mut(&login).unwrap();
        (entry.changes, entry.contents.take().unwrap())
    };
    story.put("secrets/login", json!({"password": "bm93"}));
    story.changed(Kind::Secret, "login");
    story.configs.keep(&login, Some(changes), &old);
    assert_ne!(story.hashes().await["web"], before["web"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_no_change() {
    let story = Story::new();
    story
        .double
        .refuse(http::Method::GET, "/secrets/", 403, "Forbidden");
    let told = story.tried().await.unwrap_err().to_string();
    let expected = "annotation thaw.dev/roll-on-config-change: read Secret login: ";
    assert!(told.starts_with(expected), "{told}");

    story.double.allow_all();
    let before = story.hashes().await;
    story
        .double
        .refuse(http::Method::GET, "/secrets/", 403, "Forbidden");
    story.put("secrets/login", json!({"password": "bm93"}));
    story.changed(Kind::Secret, "login");
    let Hashes {
        by_entrypoint,
        unread,
    } = story.tried().await.unwrap();
    assert_eq!(by_entrypoint, before, "it counts as it was");
    assert_eq!(unread.map(|problem| problem.to_string()), Some(told));

    story.double.allow_all();
    assert_ne!(story.hashes().await["web"], before["web"]);
}

#[tokio::test]
async fn after_one_that_cannot_be_read_the_others_count_as_they_were() {
    let story = Story::new();
    let before = story.hashes().await;
    story
        .double
        .refuse(http::Method::GET, "/configmaps/", 403, "Forbidden");
    story.changed(Kind::ConfigMap, "settings");
    story.changed(Kind::Secret, "login");
    story.double.take_requests();
    let hashes = story.tried().await.unwrap();
    assert_eq!(hashes.by_entrypoint, before);
    assert!(hashes.unread.is_some());
    assert_eq!(story.double.take_requests().len(), 1);
}

#[tokio::test]
async fn a_function_that_does_not_ask_is_not_looked_at() {
    let mut story = Story::new();
    story.hashes().await;
    story.double.take_requests();
    for value in [None, Some("false")] {
        let value = value.map(|value| (names::ROLL_ON_CONFIG_CHANGE.to_owned(), value.to_owned()));
        story.function.metadata.annotations = Some(value.into_iter().collect());
        assert!(story.hashes().await.is_empty());
    }
    assert!(story.double.take_requests().is_empty());
    assert!(
        story.changed(Kind::Secret, "login").is_empty(),
        "it is forgotten"
    );
}

#[tokio::test]
async fn where_nothing_may_be_read_or_too_much_is_used_it_is_said() {
    let mut story = Story::new();
    story.configs = Configs::default();
    assert!(matches!(story.tried().await, Err(Problem::Off)));
    assert!(story.double.take_requests().is_empty());

    story.configs = Configs::readable();
    let from = |number| json!({"secretRef": {"name": format!("s{number}")}});
    let env_from: Vec<_> = (0..=MOST).map(from).collect();
    let spec =
        json!({"image": "a", "entrypoints": [{"name": "web", "path": "/", "envFrom": env_from}]});
    story.function = Function {
        spec: serde_json::from_value(spec).unwrap(),
        metadata: ObjectMeta::clone(&story.function.metadata),
        status: None,
    };
    assert!(matches!(story.tried().await, Err(Problem::TooMany(101))));
    assert!(story.double.take_requests().is_empty());
}
