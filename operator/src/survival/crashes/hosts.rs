//! Hosts come, go, and change hands.

use serde_json::{Value, json};

use super::*;
use crate::platform::GatewaySettings;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/thaw-system/ingresses";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/thaw-system/httproutes";

fn write(stage: &Stage, name: &str, hosts: &str) {
    let spec = TWO.replace("image: a", &format!("image: a, hosts: [{hosts}]"));
    stage.write(name, &spec);
}

fn with_two_hosts(stage: &Stage) {
    write(stage, "shop", "a.example.org, b.example.org");
}

fn one_goes_another_comes(stage: &Stage) {
    write(stage, "shop", "b.example.org, c.example.org");
}

fn with_gateway() -> Platform {
    let gateway = GatewaySettings {
        name: "public".to_owned(),
        ..GatewaySettings::default()
    };
    Platform {
        gateway: Some(gateway),
        ..fixtures::with_ingress()
    }
}

impl Survival {
    fn object(&self, below: &str, name: &str) -> &Value {
        let found = self.end.get(&format!("{below}/{name}"));
        found.expect("it is there")
    }

    /// These are the hosts that a Function has, and that its Ingress leads to it.
    fn is_at(&self, function: &str, hosts: &[&str]) {
        let status = &self.object(FUNCTIONS, function)["status"];
        assert_eq!(status["hosts"], json!(hosts));
        let ingress = self.object(INGRESSES, &format!("{function}--prod"));
        let rules = ingress["spec"]["rules"].as_array().into_iter().flatten();
        let led: Vec<_> = rules.map(|rule| &rule["host"]).collect();
        assert_eq!(led, hosts);
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_function_gets_hosts() {
    let survival = survives(two, with_two_hosts).await;
    // The Ingress is created and applied, and the status written.
    survival.is_of(3);
    survival.is_at("shop", &["a.example.org", "b.example.org"]);
    let owner = &survival.object(INGRESSES, "shop--prod")["metadata"]["ownerReferences"][0];
    assert_eq!(owner["name"], "thaw-activator");
}

#[tokio::test(start_paused = true)]
async fn while_one_host_goes_and_another_comes() {
    let survival = survives(with_two_hosts, one_goes_another_comes).await;
    survival.is_of(2);
    survival.is_at("shop", &["b.example.org", "c.example.org"]);
}

#[tokio::test(start_paused = true)]
async fn while_hosts_come_and_change_at_a_gateway() {
    let survival = survives_on(&with_gateway(), two, with_two_hosts).await;
    survival.is_of(3);
    let survival = survives_on(&with_gateway(), with_two_hosts, one_goes_another_comes).await;
    survival.is_of(2);
    let route = survival.object(ROUTES, "shop--prod");
    let hosts = json!(["b.example.org", "c.example.org"]);
    assert_eq!(route["spec"]["hostnames"], hosts);
    let status = &survival.object(FUNCTIONS, "shop")["status"];
    assert_eq!(status["hosts"], hosts);
}

/// Two that want a host: the one that was there first has it.
fn wanted_twice(stage: &Stage) {
    write(stage, "shop", "a.example.org");
    write(stage, "stall", "a.example.org, b.example.org");
}

#[tokio::test(start_paused = true)]
async fn while_a_host_that_another_function_waits_for_is_let_go() {
    let survival = survives(wanted_twice, two).await;
    // The one loses its Ingress, the other's is changed, and both are told.
    survival.is_of(4);
    survival.is_at("stall", &["a.example.org", "b.example.org"]);
    assert!(
        !survival
            .end
            .contains_key(&format!("{INGRESSES}/shop--prod"))
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_function_goes_that_has_a_host_which_another_waits_for() {
    let delete = |stage: &Stage| stage.double.remove(&format!("{FUNCTIONS}/shop"));
    let survival = survives(wanted_twice, delete).await;
    survival.is_of(3);
    survival.is_at("stall", &["a.example.org", "b.example.org"]);
    let mut left = survival.end.keys();
    assert!(left.all(|path| !path.contains("/shop")));
}
