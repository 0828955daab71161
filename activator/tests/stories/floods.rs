//! HTTP/2 connections that are busy with everything but requests.

use activator::settings::Edge;
use tokio::time::Instant;

use crate::support::{HOST, Manifest, Raw, Thaw, ms};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u8 = 11;
const LARGE: &str = "/?pieces=300&size=100000";
/// Far more than any client has a reason to send.
const MANY: u32 = 5000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A request for the function, as HPACK without compression has it.
fn head_of(path: &str) -> Vec<u8> {
    // From the static table: method GET, scheme http; then path and authority with their values.
    let mut head = vec![0x82, 0x86];
    for (name, value) in [(0x04, path), (0x01, HOST)] {
        head.extend([name, u8::try_from(value.len()).unwrap()]);
        head.extend(value.as_bytes());
    }
    head
}

fn open(stream: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, stream, &head_of("/"))
}

/// The frames of a connection: kind and payload of each.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let end = bytes.len().min(9 + length);
        frames.push((bytes[3], bytes[9..end].to_vec()));
        bytes = &bytes[end..];
    }
    frames
}

/// Sends `first`, and then the flood, until it is told to stop.
async fn is_stopped(what: &str, first: &[u8], flood: impl Fn(u32) -> Vec<u8>) {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut good = thaw.client().await;
    good.get("/").await.instance();
    let mut raw = Raw::connect(thaw.address).await;
    raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), first].concat())
        .await;
    for number in 0..MANY {
        if !raw.send(&flood(number)).await {
            break;
        }
    }
    // Somebody else is answered meanwhile.
    good.get("/").await.instance();
    let said = frames(&raw.rest_of_bytes().await);
    let reason = said.iter().rev().find(|(kind, _)| *kind == GOAWAY);
    let reason = reason.unwrap_or_else(|| panic!("{what}: no GOAWAY among {}", said.len()));
    assert_eq!(reason.1[7], ENHANCE_YOUR_CALM, "{what}");
    assert!(thaw.cluster.made().len() <= 300, "{what}");
    thaw.keeps_its_promises();
}

#[tokio::test(flavor = "multi_thread")]
async fn pings() {
    is_stopped("PING", &[], |_| frame(PING, 0, 0, &[0; 8])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_gets_its_answers_and_waits_before_it_may_come_back() {
    let thaw = Thaw::start(Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    let request = frame(
        HEADERS,
        END_STREAM | END_HEADERS,
        1,
        &head_of("/?sleep=300"),
    );
    raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat())
        .await;
    thaw.inside(1).await;
    let begin = Instant::now();
    raw.send(&frame(PING, 0, 0, &[0; 8]).repeat(2000)).await;
    let said = frames(&raw.rest_of_bytes().await);
    assert!(said.iter().any(|(kind, _)| *kind == DATA), "{said:?}");
    let last = said.last().unwrap();
    assert_eq!((last.0, last.1[7]), (GOAWAY, ENHANCE_YOUR_CALM));
    assert!(begin.elapsed() >= ms(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    is_stopped("SETTINGS", &[], |_| frame(SETTINGS, 0, 0, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities() {
    is_stopped("PRIORITY", &[], |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows() {
    is_stopped("WINDOW_UPDATE", &[], |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pieces_of_a_body() {
    let first = open(1, END_HEADERS);
    is_stopped("DATA", &first, |_| frame(DATA, 0, 1, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_an_end() {
    let first = open(1, END_STREAM);
    is_stopped("CONTINUATION", &first, |_| frame(CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back() {
    let cancel = 8_u32.to_be_bytes();
    is_stopped("RST_STREAM", &[], |number| {
        let stream = 2 * number + 1;
        let reset = frame(RST_STREAM, 0, stream, &cancel);
        [open(stream, END_HEADERS | END_STREAM), reset].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_owes_the_rest_of_a_head_is_closed() {
    let edge = Edge {
        header_timeout: ms(300).into(),
        ..Edge::default()
    };
    let thaw = Thaw::start_behind(edge, Manifest::default()).await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    for owing in [
        vec![],
        [&settings, &open(1, END_STREAM)[..]].concat(),
        [&settings, &open(1, END_STREAM | END_HEADERS)[..20]].concat(),
    ] {
        let mut raw = Raw::connect(thaw.address).await;
        raw.send(&[PREFACE, &owing].concat()).await;
        let said = frames(&raw.rest_of_bytes().await);
        let last = said.last().unwrap();
        assert_eq!((last.0, last.1[7]), (GOAWAY, ENHANCE_YOUR_CALM));
    }
    assert!(thaw.cluster.made().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_nothing_is_cut() {
    let edge = Edge {
        write_timeout: ms(500).into(),
        ..Edge::default()
    };
    let thaw = Thaw::start_behind(edge, Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    let windows = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head_of(LARGE));
    raw.send(&[PREFACE, &windows, &window, &request].concat())
        .await;
    thaw.inside(1).await;
    // The function comes to its end only when nobody waits for the client any more.
    thaw.inside(0).await;
    assert!(raw.rest_of_bytes().await.len() < 15_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_client_is_no_flood() {
    let edge = Edge {
        max_control_frames: 20,
        ..Edge::default()
    };
    let thaw = Thaw::start_behind(edge, Manifest::default()).await;
    let mut raw = Raw::connect(thaw.address).await;
    raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
        .await;
    // Each answer comes in pieces, and each piece opens the windows again: far more frames than 20 in a second.
    let head = head_of("/?pieces=40&size=10");
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
        .await;
    let mut pieces = 0;
    while pieces < 40 {
        let (kind, payload) = raw.frame().await;
        assert_ne!(kind, GOAWAY, "after {pieces} pieces: {payload:?}");
        if kind == DATA && !payload.is_empty() {
            pieces += 1;
            let open = [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 10])].concat();
            assert!(raw.send(&open.repeat(2)).await);
        }
    }
}
