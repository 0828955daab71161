//! gRPC: HTTP/2 from end to end.

use futures::SinkExt;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Bytes, Frame, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{
    HOST, Manifest, Program, Thaw,
    client::{Body, get, pieces, whole},
    eventually, soon,
};

async fn start(manifest: Manifest) -> Thaw {
    let thaw = Thaw::start(manifest).await;
    thaw.cluster.run_next([Program::Http2; 4]);
    thaw
}

async fn connect(thaw: &Thaw) -> SendRequest<Body> {
    let stream = TcpStream::connect(thaw.address).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(path: &str, id: &str, body: Body) -> Request<Body> {
    let request = Request::post(format!("http://{HOST}{path}"));
    let request = request.header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("x-request-id", id);
    request.body(body).unwrap()
}

async fn next(response: &mut Response<Incoming>) -> Frame<Bytes> {
    soon("the next frame", response.body_mut().frame())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways_while_the_call_is_open() {
    let thaw = start(Manifest::default()).await;
    let mut client = connect(&thaw).await;
    for round in 0..2 {
        let (mut messages, body) = pieces();
        let request = call("/call", &format!("call-{round}"), body);
        let mut response = soon("a head", client.send_request(request)).await.unwrap();
        assert_eq!(response.headers()["te-seen"], "trailers");
        assert_eq!(response.headers()["instance"], "i1");
        for number in 0..3 {
            messages
                .send(Ok(Frame::data(format!("{number}").into())))
                .await
                .unwrap();
            assert_eq!(
                next(&mut response).await.into_data().unwrap(),
                format!("{number}")
            );
        }
        thaw.inside(1).await;
        drop(messages);
        let trailers = next(&mut response).await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        eventually("the slot is free", || thaw.web.census().1 == 0).await;
    }
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_fail_in_its_head_alone() {
    let thaw = start(Manifest::default()).await;
    let request = call("/call?fails", "one", whole("x"));
    let response = soon("a head", connect(&thaw).await.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(hyper::body::Body::is_end_stream(response.body()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_reaches_a_function_that_speaks_http_2() {
    let thaw = start(Manifest::default()).await;
    let mut client = thaw.client().await;
    for _ in 0..3 {
        let answer = client.get("/?echo").await;
        assert_eq!(answer.instance(), "i1");
    }
    let request = crate::support::client::request("POST", "/", whole("hello"));
    assert_eq!(client.ask(request).await.header("received"), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_2_reaches_a_function_that_speaks_http_1() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut client = connect(&thaw).await;
    let mut request = get("/?echo");
    *request.uri_mut() = format!("http://{HOST}/?echo").parse().unwrap();
    request.headers_mut().remove("host");
    let response = soon("a head", client.send_request(request)).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains(&format!("host: {HOST}\n")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thaws_own_answer_to_a_call_is_a_status() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut request = call("/call", "one", whole("x"));
    *request.uri_mut() = "http://nobody.test/call".parse().unwrap();
    let response = soon("a head", connect(&thaw).await.send_request(request))
        .await
        .unwrap();
    let headers = response.headers();
    assert_eq!(response.status(), 200);
    assert_eq!(
        (&headers["grpc-status"], &headers["thaw-error"]),
        (&"12".parse().unwrap(), &"NoRoute".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_an_open_call_costs_the_instance_and_the_next_call_has_another() {
    let thaw = start(Manifest::default()).await;
    let mut client = connect(&thaw).await;
    let (mut messages, body) = pieces();
    let mut response = soon("a head", client.send_request(call("/call", "one", body)))
        .await
        .unwrap();
    messages.send(Ok(Frame::data("x".into()))).await.unwrap();
    next(&mut response).await;
    // Both halves of the stream are reset.
    drop((messages, response));
    eventually("nothing runs", || thaw.web.census().1 == 0).await;
    let response = soon(
        "a head",
        client.send_request(call("/call?fails", "two", whole("x"))),
    )
    .await
    .unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_call_do_not_stand_for_what_thaw_says() {
    let thaw = start(Manifest::default()).await;
    let (mut messages, body) = pieces();
    let sending = call("/call", "one", body);
    let mut response = soon("a head", connect(&thaw).await.send_request(sending))
        .await
        .unwrap();
    let pair = |name: &str| (name.parse().unwrap(), "1".parse().unwrap());
    let trailers = HeaderMap::from_iter([pair("x-sum"), pair("x-forwarded-for")]);
    messages.send(Ok(Frame::trailers(trailers))).await.unwrap();
    // The function returns what it was sent.
    let trailers = next(&mut response).await.into_trailers().unwrap();
    assert!(trailers.contains_key("x-sum"), "{trailers:?}");
    assert!(!trailers.contains_key("x-forwarded-for"), "{trailers:?}");
}
