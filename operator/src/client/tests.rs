use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, WatchParams},
};
use tokio::time::Instant;

use super::*;
use crate::double::{Double, Trouble, Verb};

fn api(double: &Double) -> Api<ConfigMap> {
    Api::namespaced(polite(double.client()), "prod")
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_time_that_the_api_server_named() {
    let double = Double::default();
    let api = api(&double);
    let trouble = Trouble::Refusal(429, "TooManyRequests", Some(7));
    double.break_down(&[Verb::Get], "", trouble);
    api.get("a").await.unwrap_err();
    double.allow_all();
    let started = Instant::now();
    api.list(&ListParams::default()).await.unwrap();
    assert!(
        started.elapsed() >= Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    api.list(&ListParams::default()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO, "it was told once");
}

#[tokio::test(start_paused = true)]
async fn an_absurd_wait_is_not_taken_at_its_word() {
    let double = Double::default();
    let api = api(&double);
    let trouble = Trouble::Refusal(503, "ServiceUnavailable", Some(u64::MAX));
    double.break_down(&[Verb::Get], "", trouble);
    api.get("a").await.unwrap_err();
    double.allow_all();
    let started = Instant::now();
    api.list(&ListParams::default()).await.unwrap();
    assert!(started.elapsed() <= hold::LONGEST + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up() {
    let double = Double::default();
    let api = api(&double);
    double.fall_silent();
    let started = Instant::now();
    api.get("a").await.unwrap_err();
    assert!(started.elapsed() <= ANSWER + Duration::from_secs(1));
    let started = Instant::now();
    assert!(api.watch(&WatchParams::default(), "0").await.is_err());
    assert!(started.elapsed() <= ANSWER + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_begin_ever_more_slowly() {
    let double = Double::default();
    let api = api(&double);
    let started = Instant::now();
    for _ in 0..2 * pace::AT_ONCE {
        drop(api.watch(&WatchParams::default(), "0").await.unwrap());
    }
    assert_eq!(started.elapsed(), pace::AT_ONCE * pace::EVERY);
}
