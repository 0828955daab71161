//! Hosts: what stands in the cluster for them, and what is told.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;
use crate::platform::{GatewaySettings, Platform};

const INGRESS: &str = "/apis/networking.k8s.io/v1/namespaces/thaw-system/ingresses/shop--prod";
const ROUTE: &str =
    "/apis/gateway.networking.k8s.io/v1/namespaces/thaw-system/httproutes/shop--prod";
const SERVICE: &str = "/api/v1/namespaces/prod/services/shop";
const ACTIVATOR: &str = "/apis/apps/v1/namespaces/thaw-system/deployments/thaw-activator";
const HOSTS: &str =
    "{image: a, hosts: [Shop.example.org., b.example.org], entrypoints: [{name: web, path: /api}]}";

impl Operator {
    fn on(spec: &str, platform: Platform) -> Self {
        let mut operator = Self::of(spec);
        let (caches, writers) = Caches::of(&platform.kinds());
        let context = Arc::get_mut(&mut operator.context).expect("nobody else has it");
        (context.caches, context.platform) = (caches, platform);
        operator.writers = writers;
        operator
    }
}

/// Somebody older who wants the same host.
fn older() -> Guarded {
    let mut older = fixtures::function("secret", "{image: a, entrypoints: [{name: web, path: /}]}");
    older.metadata.namespace = Some("elsewhere".to_owned());
    older.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    older.spec.hosts = vec!["shop.example.org".to_owned()];
    Guarded(Ok(older))
}

fn condition(operator: &Operator, type_: &str) -> (String, String) {
    let found = operator.condition(type_);
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status") + " " + &text("reason"), text("message"))
}

#[tokio::test]
async fn custom_hosts_get_an_ingress_beside_the_activator_which_goes_with_the_last_one() {
    let mut operator = Operator::on(HOSTS, fixtures::with_ingress());
    operator.settle().await;
    let ingress = operator.double.get(INGRESS).expect("there is an Ingress");
    let hosts: Vec<_> = [0, 1]
        .map(|nth| ingress["spec"]["rules"][nth]["host"].clone())
        .into();
    assert_eq!(hosts, ["shop.example.org", "b.example.org"]);
    let status = operator.status();
    assert_eq!(status["hosts"], json!(hosts));
    assert_eq!(status["url"], "http://shop--prod.example.com");
    assert_eq!(
        status["urls"],
        json!([
            "http://shop--prod.example.com",
            "http://shop.example.org",
            "http://b.example.org"
        ])
    );
    assert_eq!(
        status["entrypoints"][0]["url"],
        "http://shop--prod.example.com/api"
    );
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");

    operator.edit(|function| function["spec"]["hosts"] = json!(["b.example.org"]));
    operator.settle().await;
    let ingress = operator.double.get(INGRESS).expect("there is an Ingress");
    assert_eq!(ingress["spec"]["rules"].as_array().map(Vec::len), Some(1));
    operator.edit(|function| function["spec"]["visibility"] = json!("Cluster"));
    operator.settle().await;
    assert_eq!(operator.double.get(INGRESS), None);
    assert_eq!(operator.status()["hosts"], json!(["b.example.org"]));
    operator.edit(|function| function["spec"]["visibility"] = json!("Public"));
    operator.settle().await;
    assert!(operator.double.get(INGRESS).is_some());
    operator.edit(|function| drop(function["spec"].as_object_mut().unwrap().remove("hosts")));
    operator.reconcile().await.unwrap();
    assert_eq!(operator.double.get(INGRESS), None);
}

#[tokio::test]
async fn a_host_of_an_older_function_is_told_once_and_the_rest_serves() {
    let mut operator = Operator::on(HOSTS, fixtures::with_ingress());
    let Context {
        claims, platform, ..
    } = &*operator.context;
    claims.seen(&older(), platform);
    operator.settle().await;
    let (refused, why) = condition(&operator, "RoutesReady");
    assert_eq!(refused, "False HostConflict");
    assert!(why.contains("shop.example.org"), "{why}");
    assert!(
        !why.contains("elsewhere") && !why.contains("secret"),
        "{why}"
    );
    assert_eq!(condition(&operator, "Stalled").0, "True HostConflict");
    assert_eq!(condition(&operator, "Ready").0, "True Available");
    assert_eq!(operator.status()["hosts"], json!(["b.example.org"]));
    let told = operator.events();
    assert_eq!(
        told.iter()
            .filter(|reason| *reason == "HostConflict")
            .count(),
        1,
        "{told:?}"
    );
    let ingress = operator.double.get(INGRESS).expect("there is an Ingress");
    assert_eq!(ingress["spec"]["rules"][0]["host"], "b.example.org");

    operator.context.claims.gone(&older());
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");
    assert_eq!(condition(&operator, "Stalled").0, "False Available");
}

#[tokio::test]
async fn a_service_of_somebody_else_is_left_alone_and_keeps_nothing_from_being_ready() {
    let mut operator = Operator::on(TWO, fixtures::with_ingress());
    let theirs = json!({"metadata": {"name": "shop", "uid": "theirs"}, "spec": {"selector": {"app": "theirs"}}});
    operator.double.put(SERVICE, theirs);
    let before = operator.double.get(SERVICE);
    operator.reconcile().await.unwrap();
    operator.reconcile().await.unwrap();
    assert_eq!(operator.double.get(SERVICE), before);
    let (conflict, why) = condition(&operator, "RoutesReady");
    assert_eq!(conflict, "False NameConflict");
    assert!(why.contains("http://shop.prod"), "{why}");
    assert_eq!(condition(&operator, "Ready").0, "True Available");
    assert_eq!(condition(&operator, "Stalled").0, "False Available");
    let told = operator.events();
    assert_eq!(
        told.iter()
            .filter(|reason| *reason == "NameConflict")
            .count(),
        1,
        "{told:?}"
    );

    operator.double.remove(SERVICE);
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");
    let service = operator.double.get(SERVICE).expect("there is a Service");
    let activator = "thaw-activator-internal.thaw-system.svc.cluster.local";
    assert_eq!(service["spec"]["externalName"], activator);
}

#[tokio::test]
async fn a_function_for_the_cluster_alone_shows_its_address_inside() {
    let inside = "http://shop.prod";
    let mut operator = Operator::on(HOSTS, fixtures::with_ingress());
    operator.edit(|function| function["spec"]["visibility"] = json!("Cluster"));
    let is_inside_alone = |operator: &Operator| {
        let status = operator.status();
        assert_eq!(status["url"], inside);
        assert_eq!(status["urls"], json!([inside]));
        let web = &status["entrypoints"][0];
        assert_eq!(web["url"], format!("{inside}/api"));
    };
    operator.settle().await;
    is_inside_alone(&operator);
    operator.edit(|function| function["spec"]["maxSize"] = json!("no size"));
    operator.settle().await;
    assert_eq!(condition(&operator, "Stalled").0, "True InvalidSpec");
    is_inside_alone(&operator);
}

/// What stands in the release's namespace is none of the reader's business, nor what else the API server's answer names.
#[tokio::test]
async fn what_comes_in_the_way_beside_the_activator_is_told_without_names_of_others() {
    let mut operator = Operator::on(HOSTS, fixtures::with_ingress());
    let why = "host is already defined in ingress elsewhere/secret";
    operator.double.refuse(Method::POST, "/ingresses", 403, why);
    operator.reconcile().await.unwrap();
    let (refused, told) = condition(&operator, "RoutesReady");
    assert_eq!(refused, "False ChildRefused");
    assert!(told.contains("whoever runs Thaw"), "{told}");
    let notes = operator.double.list("/apis/events.k8s.io/");
    for text in [told, json!(notes).to_string()] {
        assert!(!text.contains("elsewhere"), "{text}");
    }

    operator.double.allow_all();
    let theirs = json!({"metadata": {"name": "shop--prod", "uid": "theirs"}, "spec": {}});
    operator.double.put(INGRESS, theirs);
    operator.reconcile().await.unwrap();
    let (foreign, told) = condition(&operator, "RoutesReady");
    assert_eq!(foreign, "False NameConflict");
    assert!(
        told.contains("in namespace thaw-system") && told.contains("whoever runs Thaw"),
        "{told}"
    );
}

/// A platform with HTTPRoutes.
fn with_gateway() -> Platform {
    let gateway = GatewaySettings {
        name: "public".to_owned(),
        namespace: Some("infra".to_owned()),
        section_name: None,
    };
    Platform {
        gateway: Some(gateway),
        ..fixtures::with_ingress()
    }
}

/// What a Gateway controller says about the HTTPRoute as it is now.
fn gateway_says(operator: &Operator, conditions: &[(&str, &str, &str)]) {
    let mut route = operator.double.get(ROUTE).expect("there is an HTTPRoute");
    let generation = route["metadata"]["generation"].clone();
    let condition = |(type_, status, reason): &(&str, &str, &str)| json!({"type": type_, "status": status, "reason": reason, "message": "elsewhere/secret has it", "observedGeneration": generation});
    let conditions: Vec<_> = conditions.iter().map(condition).collect();
    let parent = route["spec"]["parentRefs"][0].clone();
    route["status"] = json!({"parents": [{"parentRef": parent, "controllerName": "x", "conditions": conditions}]});
    operator.double.put(ROUTE, route);
}

#[tokio::test]
async fn hosts_lead_to_a_function_once_the_gateway_takes_its_route_as_it_is() {
    let accepted = [
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "True", "ResolvedRefs"),
    ];
    let mut operator = Operator::on(HOSTS, with_gateway());
    operator.settle().await;
    let (waits, why) = condition(&operator, "RoutesReady");
    assert_eq!(waits, "False Progressing", "{why}");
    assert_eq!(condition(&operator, "Ready").0, "True Available");
    gateway_says(&operator, &accepted);
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");

    for (refused, reason) in [
        (
            ("Accepted", "False", "NotAllowedByListeners"),
            "NotAllowedByListeners",
        ),
        (
            ("ResolvedRefs", "False", "BackendNotFound"),
            "BackendNotFound",
        ),
    ] {
        gateway_says(&operator, &[accepted[0], accepted[1], refused]);
        operator.settle().await;
        let (told, why) = condition(&operator, "RoutesReady");
        assert_eq!(told, "False RouteNotAccepted");
        assert!(why.contains(reason) && !why.contains("secret"), "{why}");
        assert_eq!(condition(&operator, "Ready").0, "True Available");
    }
    let told = operator.events();
    let told = told.iter().filter(|reason| *reason == "RouteNotAccepted");
    assert_eq!(told.count(), 1, "Kubernetes counts them as one");

    // What was said about another spec, in the cache or on the API server, is not said about this one.
    gateway_says(&operator, &accepted);
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");
    operator.edit(|function| function["spec"]["hosts"] = json!(["c.example.org"]));
    operator.reconcile().await.unwrap();
    assert_eq!(condition(&operator, "RoutesReady").0, "False Progressing");
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "False Progressing");
    gateway_says(&operator, &accepted);
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");
}

#[tokio::test]
async fn a_missing_gateway_api_is_told_once_and_holds_nothing_else_up() {
    let mut operator = Operator::on(HOSTS, with_gateway());
    operator
        .double
        .refuse(Method::POST, "/httproutes", 404, "NotFound");
    for _ in 0..3 {
        assert_eq!(operator.reconcile().await.unwrap(), Action::await_change());
    }
    let (missing, why) = condition(&operator, "RoutesReady");
    assert_eq!(missing, "False GatewayMissing");
    assert!(why.contains("gateway.networking.k8s.io/v1"), "{why}");
    assert_eq!(condition(&operator, "Ready").0, "True Available");
    let told = operator.events();
    assert_eq!(
        told.iter()
            .filter(|reason| *reason == "GatewayMissing")
            .count(),
        1,
        "{told:?}"
    );

    operator.double.allow_all();
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "False Progressing");
    gateway_says(&operator, &[("Accepted", "True", "Accepted")]);
    operator.settle().await;
    assert_eq!(condition(&operator, "RoutesReady").0, "True Available");
    let route = operator.double.get(ROUTE).expect("there is an HTTPRoute");
    assert_eq!(
        route["spec"]["parentRefs"],
        json!([{"name": "public", "namespace": "infra"}])
    );
    assert_eq!(
        route["spec"]["hostnames"],
        json!(["shop.example.org", "b.example.org"])
    );
    assert_eq!(operator.double.get(INGRESS), None);
}

#[tokio::test]
async fn what_stands_beside_the_activator_is_owned_by_an_object_of_the_chart() {
    let mut operator = Operator::on(HOSTS, fixtures::with_ingress());
    operator.double.put(
        ACTIVATOR,
        json!({"metadata": {"name": "thaw-activator", "uid": "of-the-chart"}}),
    );
    operator.settle().await;
    let ingress = operator.double.get(INGRESS).expect("there is an Ingress");
    let owner = &ingress["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], "of-the-chart");
    assert_eq!(owner["name"], "thaw-activator");
    let labels = &ingress["metadata"]["labels"];
    assert_eq!(labels["thaw.dev/namespace"], "prod");
    assert_eq!(labels["thaw.dev/function"], "shop");
}
