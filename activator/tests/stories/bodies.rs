//! Every way in which an answer can end frees the slot.

use http::Version;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Answer, HOST, Manifest, Program, Raw, Thaw, client, soon};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_an_answer_the_instance_takes_the_next_request() {
    // With one instance at most, a slot that stays taken would make the next request wait for ever.
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let mut client = thaw.client().await;
    let five = 5 << 20;
    for round in 1..=3 {
        let head = client
            .ask(client::request("HEAD", "/?body=100", client::whole("")))
            .await;
        assert_eq!(
            (
                head.instance(),
                head.header("content-length"),
                head.body.len()
            ),
            ("i1", "100", 0)
        );
        for status in [204, 304] {
            let answer = client.get(&format!("/?status={status}")).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
        }
        let empty = client.get("/?body=0").await;
        assert_eq!(
            (
                empty.instance(),
                empty.header("content-length"),
                empty.body.len()
            ),
            ("i1", "0", 0)
        );
        let known = client.get("/?body=1000").await;
        assert_eq!((known.instance(), known.body.len()), ("i1", 1000));
        let chunked = client.get("/?pieces=7&size=11").await;
        assert_eq!(
            (
                chunked.instance(),
                chunked.header("transfer-encoding"),
                chunked.body.len()
            ),
            ("i1", "chunked", 77)
        );
        let down = client.get(&format!("/?body={five}")).await;
        assert_eq!((down.instance(), down.body.len()), ("i1", five));
        let down = client.get("/?pieces=80&size=65536").await;
        assert_eq!((down.instance(), down.body.len()), ("i1", five));
        let up = client::request("POST", "/", client::whole(vec![b'x'; five]));
        let up = client.ask(up).await;
        assert_eq!(
            (up.instance(), up.header("received")),
            ("i1", five.to_string().as_str())
        );
        assert_eq!(up.header("invocation"), (round * 9).to_string());
    }
    assert_eq!(thaw.cluster.made().len(), 1);
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_and_free_the_slot() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    thaw.cluster.run_next([Program::Raw {
        answer,
        closes: false,
    }]);
    let mut client = thaw.client().await;
    for _ in 0..3 {
        let mut request = client::get("/");
        request
            .headers_mut()
            .insert("te", "trailers".parse().unwrap());
        let answer = client.ask(request).await;
        assert_eq!((answer.text(), answer.is_whole), ("ok", true));
        assert_eq!(answer.trailers.unwrap()["x-sum"], "7");
    }
    // A client that does not take them does not get them.
    let answer = client.get("/").await;
    assert_eq!((answer.text(), &answer.trailers), ("ok", &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_speaks_http_1_0_is_heard_and_the_client_does_not_notice() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    let answer = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end";
    thaw.cluster.run_next([Program::Raw {
        answer,
        closes: true,
    }]);
    let mut client = thaw.client().await;
    for _ in 0..3 {
        let response = client.send(client::get("/")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(Answer::read(response).await.text(), "until the end");
    }
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_http_1_0_gets_its_answer() {
    let thaw = Thaw::start(Manifest {
        max: 1,
        ..Manifest::default()
    })
    .await;
    for path in ["/", "/?pieces=2&size=1"] {
        let mut raw = Raw::connect(thaw.address).await;
        raw.write(&format!("GET {path} HTTP/1.0\r\nhost: {HOST}\r\n\r\n"))
            .await;
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\ni1") || answer.ends_with("\r\n\r\nxx"),
            "{answer}"
        );
    }
    assert_eq!(thaw.cluster.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_without_tls_carries_many_requests_on_one_connection() {
    let thaw = Thaw::start(Manifest {
        max: 5,
        ..Manifest::default()
    })
    .await;
    let stream = TcpStream::connect(thaw.address).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let requests = (0..40).map(|number| {
        let mut sender = sender.clone();
        let uri = format!("http://{HOST}/?pieces=3&size=1000&n={number}");
        let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        tokio::spawn(async move {
            let response = soon("a head", sender.send_request(request)).await.unwrap();
            assert_eq!(
                (response.version(), response.status().as_u16()),
                (Version::HTTP_2, 200)
            );
            soon("a body", response.into_body().collect())
                .await
                .unwrap()
                .to_bytes()
                .len()
        })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), 3000);
    }
    connection.abort();
    assert_eq!(thaw.cluster.made().len(), 5);
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_send_all_before_it_reads_while_the_instance_does_both() {
    const MUCH: usize = 32 << 20;
    let thaw = Thaw::start(Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "POST /?read=all&body={MUCH} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {MUCH}\r\nconnection: close\r\n\r\n"
    ))
    .await;
    let upload = "x".repeat(MUCH);
    soon("the instance takes the upload", raw.write(&upload)).await;
    soon("it has all", thaw.cluster.journal.pass("all")).await;
    assert!(raw.rest().await.len() > MUCH);
}
