//! How many connections there may be, and how long they are kept.

use activator::{server::Door, settings::Edge};

use crate::support::{Client, HOST, Manifest, Raw, Thaw, client, ms};

fn few(connections: usize) -> Edge {
    Edge {
        max_connections: connections,
        ..Edge::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_and_then_closed() {
    let edge = Edge {
        keep_alive: ms(500).into(),
        ..Edge::default()
    };
    let thaw = Thaw::start_behind(edge, Manifest::default()).await;
    let mut client = thaw.client().await;
    client.get("/").await.instance();
    client.get("/").await.instance();
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_that_is_idle_longest_makes_room() {
    let thaw = Thaw::start_behind(few(3), Manifest::default()).await;
    let mut running = thaw.client().await;
    let running = tokio::spawn(async move { running.get("/?gate=end").await });
    thaw.inside(1).await;
    let mut longest = thaw.client().await;
    longest.get("/").await.instance();
    tokio::time::sleep(ms(5)).await;
    let mut idle = thaw.client().await;
    idle.get("/").await.instance();

    let mut new = thaw.client().await;
    new.get("/").await.instance();
    longest.closed().await;
    idle.get("/").await.instance();
    thaw.cluster.journal.open("end");
    running.await.unwrap().instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_began_a_head_makes_room_too() {
    let thaw = Thaw::start_behind(few(1), Manifest::default()).await;
    let mut slow = Raw::connect(thaw.address).await;
    slow.write("GET / HT").await;
    tokio::time::sleep(ms(5)).await;
    thaw.get("/").await.instance();
    assert_eq!(slow.rest().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_busy_a_new_client_is_told_to_come_back() {
    let thaw = Thaw::start_behind(few(2), Manifest::default()).await;
    let both = [thaw.getting("/?gate=end"), thaw.getting("/?gate=end")];
    thaw.inside(2).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("thaw-error: Unavailable\r\n"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert_eq!(thaw.rejected("Unavailable"), 1);
    thaw.cluster.journal.open("end");
    for one in both {
        one.await.unwrap().instance();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_cluster_answers_at_the_internal_door_only() {
    let thaw = Thaw::start(Manifest::default()).await;
    thaw.get("/").await.instance();
    thaw.limit_to_the_cluster("shop");
    thaw.get("/").await.is_error(404, "NoRoute");
    let internal = thaw.open(Door::Internal);
    Client::connect(internal).await.get("/").await.instance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_inside_the_cluster_leads_nowhere_from_outside() {
    let thaw = Thaw::start(Manifest::default()).await;
    let named = || {
        let mut request = client::get("/");
        let name = "Shop.Prod.:80".parse().unwrap();
        request.headers_mut().insert("host", name);
        request
    };
    let mut internal = Client::connect(thaw.open(Door::Internal)).await;
    internal.ask(named()).await.instance();
    let mut public = thaw.client().await;
    public.ask(named()).await.is_error(404, "NoRoute");
}
