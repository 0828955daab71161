//! A registry of sockets, which does to its clients what registries do, and worse.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures::stream;
use http_body_util::{Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::images::credentials::credentials;

type Body = BoxBody<Bytes, std::convert::Infallible>;
/// What the registry says to `path?query` with this `Authorization`.
type Say = dyn Fn(&str, &str) -> Response<Body> + Send + Sync;

/// A registry on a port of its own, and the requests that it got.
struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Fake {
    async fn start(
        say: impl Fn(SocketAddr, &str, &str) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let say: Arc<Say> = Arc::new(move |path, authorization| say(address, path, authorization));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (say, seen) = (say.clone(), seen.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().to_string();
                    let authorization = request.headers().get(AUTHORIZATION);
                    let authorization = authorization.map_or("", |value| value.to_str().unwrap());
                    seen.lock()
                        .unwrap()
                        .push((path.clone(), authorization.to_owned()));
                    let response = say(&path, authorization);
                    async move { Ok::<_, std::convert::Infallible>(response) }
                });
                let socket = TokioIo::new(socket);
                tokio::spawn(http1::Builder::new().serve_connection(socket, answer));
            }
        });
        Self { address, requests }
    }

    /// Asks for `shop:2` in it, as a client that knows it to be without TLS.
    async fn ask(&self, logins: &[Credentials]) -> Result<Vec<u64>, Silence> {
        let image = format!("{}/shop:2", self.address);
        let of = Reference::parse(&image).unwrap();
        let registry = Registry::new(vec![self.address.to_string()]);
        let size = registry.size(&of, logins, None).await?;
        Ok(size.layers)
    }

    fn name(&self) -> String {
        self.address.to_string()
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

fn text(status: u16, body: impl Into<String>) -> Response<Body> {
    let body = BoxBody::new(Full::from(body.into()));
    Response::builder().status(status).body(body).unwrap()
}

fn with(mut response: Response<Body>, name: http::HeaderName, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn manifest(layers: &[u64]) -> Response<Body> {
    let layers: Vec<_> = layers.iter().map(|size| json!({"size": size})).collect();
    text(
        200,
        json!({"schemaVersion": 2, "config": {"size": 9}, "layers": layers}).to_string(),
    )
}

/// As the Secret of a Function's namespace would hold it.
fn login(fake: &Fake, user: &str) -> Vec<Credentials> {
    let auths = json!({"auths": {fake.name(): {"username": user, "password": "secret"}}});
    let data = BTreeMap::from([(
        ".dockerconfigjson".to_owned(),
        ByteString(auths.to_string().into_bytes()),
    )]);
    let secret = Secret {
        data: Some(data),
        ..Secret::default()
    };
    let of = Reference::parse(&format!("{}/shop:2", fake.address)).unwrap();
    credentials(&[secret], &of)
}

const ANNA: &str = "Basic YW5uYTpzZWNyZXQ=";

#[tokio::test]
async fn the_layers_of_an_image_are_told() {
    let fake = Fake::start(|_, _, _| manifest(&[7, 5])).await;
    assert_eq!(fake.ask(&[]).await, Ok(vec![7, 5]));
    assert_eq!(
        fake.requests(),
        [("/v2/shop/manifests/2".to_owned(), String::new())]
    );
}

#[tokio::test]
async fn basic_authentication_takes_the_login_of_the_secret_and_tells_it_only_when_asked() {
    let fake = Fake::start(|_, _, authorization| match authorization {
        ANNA => manifest(&[3]),
        _ => with(
            text(401, ""),
            http::header::WWW_AUTHENTICATE,
            "Basic realm=\"x\"",
        ),
    })
    .await;
    assert_eq!(fake.ask(&login(&fake, "anna")).await, Ok(vec![3]));
    assert_eq!(fake.requests()[0].1, "", "nobody had asked");
    let refused = Err(Silence::Unauthorised(fake.name()));
    assert_eq!(fake.ask(&login(&fake, "eve")).await, refused);
    assert_eq!(fake.ask(&[]).await, refused);
}

#[tokio::test]
async fn a_token_is_fetched_with_the_login_and_serves_for_the_whole_index() {
    let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
    let fake = Fake::start(move |address, path, authorization| {
        if path == "/token?a=b&scope=repository%3Ashop%3Apull&service=s" {
            return match authorization {
                ANNA => text(200, json!({"token": "t0ken"}).to_string()),
                _ => text(401, ""),
            };
        }
        if authorization != "Bearer t0ken" {
            let challenge = format!("Bearer realm=\"http://{address}/token?a=b\",service=\"s\"");
            return with(text(401, ""), http::header::WWW_AUTHENTICATE, &challenge);
        }
        let part = |digit, architecture| json!({"digest": digest(digit), "platform": {"os": "linux", "architecture": architecture}});
        match path.rsplit('/').next() {
            Some("2") => {
                let parts = [part('a', "amd64"), part('b', "arm64"), part('c', "s390x")];
                text(200, json!({"schemaVersion": 2, "manifests": parts}).to_string())
            }
            Some(version) if version == digest('a') => manifest(&[10]),
            Some(version) if version == digest('b') => manifest(&[11, 1]),
            _ => text(404, ""),
        }
    })
    .await;
    assert_eq!(
        fake.ask(&login(&fake, "anna")).await,
        Ok(vec![11, 1]),
        "the largest counts"
    );
    let tokens = fake
        .requests()
        .iter()
        .filter(|(path, _)| path.starts_with("/token"))
        .count();
    assert_eq!(tokens, 1);
    assert_eq!(fake.ask(&[]).await, Err(Silence::Unauthorised(fake.name())));
}

#[tokio::test]
async fn a_redirect_is_followed_and_takes_no_login_along() {
    let elsewhere = Fake::start(|_, _, _| manifest(&[4])).await;
    let to = format!("http://{}/there", elsewhere.address);
    let fake = Fake::start(move |_, _, authorization| match authorization {
        ANNA => with(text(307, ""), LOCATION, &to),
        _ => with(text(401, ""), http::header::WWW_AUTHENTICATE, "Basic"),
    })
    .await;
    assert_eq!(fake.ask(&login(&fake, "anna")).await, Ok(vec![4]));
    assert_eq!(elsewhere.requests(), [("/there".to_owned(), String::new())]);

    let circle = Fake::start(|_, path, _| with(text(302, ""), LOCATION, path)).await;
    assert_eq!(
        circle.ask(&[]).await,
        Err(Silence::Unreadable(circle.name()))
    );
    assert_eq!(circle.requests().len(), REDIRECTS + 1);
}

#[test]
fn a_redirect_never_leaves_tls() {
    let lead = |from: &str, to: &str| {
        let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
        redirected(&from.parse().unwrap(), &headers).map(|to| to.to_string())
    };
    assert_eq!(
        lead("https://a/x", "/y?z").as_deref(),
        Some("https://a/y?z")
    );
    assert_eq!(
        lead("https://a/x", "https://b/y").as_deref(),
        Some("https://b/y")
    );
    assert_eq!(lead("https://a/x", "http://a/y"), None);
    assert_eq!(lead("https://a/x", "file:///etc/passwd"), None);
}

#[tokio::test]
async fn a_password_is_not_sent_in_the_clear_unless_the_registry_is_said_to_be_without_tls() {
    let tokens = Fake::start(|_, _, _| text(200, json!({"token": "t"}).to_string())).await;
    let realm = format!("http://{}/token", tokens.address);
    let session = Session {
        registry: &Registry::new(vec![]),
        of: Reference::parse("registry.example.com/shop:2").unwrap(),
        authorization: None,
    };
    let challenge = with(
        text(401, ""),
        http::header::WWW_AUTHENTICATE,
        &format!("Bearer realm=\"{realm}\""),
    );
    let [challenge] = &Challenge::all(challenge.headers())[..] else {
        panic!("one challenge");
    };
    let logins = login(&tokens, "anna");
    assert_eq!(
        session.answer(challenge, logins.first(), "https").await,
        Ok(None)
    );
    assert!(tokens.requests().is_empty());
}

#[tokio::test]
async fn each_refusal_has_its_own_words() {
    for (status, expected) in [
        (403, Silence::Unauthorised as fn(String) -> Silence),
        (404, Silence::Unknown),
        (429, Silence::TooOften),
    ] {
        let fake = Fake::start(move |_, _, _| text(status, "secret words of the registry")).await;
        assert_eq!(fake.ask(&[]).await, Err(expected(fake.name())));
    }
    let fake = Fake::start(|_, _, _| text(503, "")).await;
    let broken = fake.ask(&[]).await.unwrap_err();
    assert_eq!(broken, Silence::Status(fake.name(), 503));
    assert!(broken.may_pass() && Silence::TooOften(String::new()).may_pass());
    assert!(!Silence::Unknown(String::new()).may_pass());
}

#[tokio::test]
async fn a_manifest_without_end_is_not_read_to_its_end() {
    let fake = Fake::start(|_, _, _| {
        let chunk = || Ok(Frame::data(Bytes::from(vec![b' '; 1 << 16])));
        let endless = stream::repeat_with(chunk);
        Response::new(BoxBody::new(StreamBody::new(endless)))
    })
    .await;
    assert_eq!(fake.ask(&[]).await, Err(Silence::Unreadable(fake.name())));
}

#[tokio::test]
async fn a_manifest_in_tiny_pieces_is_read_up_to_its_bound() {
    for (length, expected) in [(LONGEST, true), (LONGEST + 1, false)] {
        let fake = Fake::start(move |_, _, _| {
            let text = r#"{"schemaVersion": 2, "layers": [{"size": 7}]}"#;
            let filled = format!("{text}{}", " ".repeat(length - text.len()));
            let (tiny, rest) = filled.split_at(1000);
            let tiny = tiny.bytes().map(|byte| vec![byte]);
            let pieces: Vec<_> = tiny.chain([rest.as_bytes().to_vec()]).collect();
            let pieces = pieces
                .into_iter()
                .map(|piece| Ok(Frame::data(piece.into())));
            Response::new(BoxBody::new(StreamBody::new(stream::iter(pieces))))
        })
        .await;
        let unreadable = || Silence::Unreadable(fake.name());
        let expected = expected.then(|| vec![7]).ok_or_else(unreadable);
        assert_eq!(fake.ask(&[]).await, expected);
    }
}

#[tokio::test]
async fn a_token_that_one_login_does_not_get_is_asked_for_with_the_next() {
    let fake = Fake::start(|address, path, authorization| {
        if path.starts_with("/token") {
            return match authorization {
                ANNA => text(200, json!({"token": "t0ken"}).to_string()),
                _ => text(503, ""),
            };
        }
        if authorization != "Bearer t0ken" {
            let challenge = format!("Bearer realm=\"http://{address}/token\"");
            return with(text(401, ""), http::header::WWW_AUTHENTICATE, &challenge);
        }
        manifest(&[3])
    })
    .await;
    let (eve, anna) = (login(&fake, "eve"), login(&fake, "anna"));
    let both: Vec<_> = eve.iter().chain(&anna).cloned().collect();
    assert_eq!(fake.ask(&both).await, Ok(vec![3]));
    assert_eq!(
        fake.ask(&eve).await,
        Err(Silence::Status(fake.name(), 503)),
        "it may pass"
    );
}

#[tokio::test]
async fn only_so_many_challenges_are_answered() {
    let fake = Fake::start(|address, path, _| {
        let realm = |number| format!("Bearer realm=\"http://{address}/token{number}\"");
        let challenges: Vec<_> = (0..100).map(realm).collect();
        match path.starts_with("/token") {
            true => text(401, ""),
            false => with(
                text(401, ""),
                http::header::WWW_AUTHENTICATE,
                &challenges.join(", "),
            ),
        }
    })
    .await;
    assert_eq!(fake.ask(&[]).await, Err(Silence::Unauthorised(fake.name())));
    assert_eq!(fake.requests().len(), 1 + challenge::MOST);
}

#[tokio::test]
async fn what_is_no_manifest_is_said_to_be_none() {
    for body in ["", "<html>", r#"{"schemaVersion": 1}"#] {
        let fake = Fake::start(move |_, _, _| text(200, body)).await;
        assert_eq!(
            fake.ask(&[]).await,
            Err(Silence::Unreadable(fake.name())),
            "{body}"
        );
    }
}

/// Time that stands still unless everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hung = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            open.push(socket);
        }
    });
    let of = Reference::parse(&format!("{address}/shop:2")).unwrap();
    let registry = Registry::new(vec![address.to_string()]);
    let said = registry.size(&of, &[], None).await;
    assert_eq!(said, Err(Silence::Overdue(address.to_string())));
    hung.abort();
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unreachable_and_tls_is_not_left_out_unasked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let of = Reference::parse(&format!("{address}/shop:2")).unwrap();
    let insecure = Registry::new(vec![address.clone()]);
    assert_eq!(
        insecure.size(&of, &[], None).await,
        Err(Silence::Unreachable(address))
    );

    let fake = Fake::start(|_, _, _| manifest(&[1])).await;
    let of = Reference::parse(&format!("{}/shop:2", fake.address)).unwrap();
    let secure = Registry::new(vec![]).size(&of, &[], None).await;
    assert_eq!(secure, Err(Silence::Unreachable(fake.name())));
    assert!(fake.requests().is_empty(), "it got no request without TLS");
}
