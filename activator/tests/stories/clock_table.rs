//! Every clock, for a plain answer, a streamed one and a switched connection: just under it all is well, over it there is its error.

use std::time::Duration;

use activator::proxy::Rate;
use futures::{FutureExt, SinkExt, future::join_all};
use hyper::body::Frame;
use tokio::time::sleep;

use crate::support::{
    Answer, HOST, Manifest, Program, Raw, Thaw,
    client::{get, pieces, request},
    ms,
};

/// What every clock is set to.
const CLOCK: Duration = Duration::from_secs(3);
/// Under it, and far enough for a busy machine.
const UNDER: u64 = 100;
/// Over it.
const OVER: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Streamed,
    Switched,
}
use Kind::{Plain, Streamed, Switched};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Queue,
    Boot,
    FirstByte,
    Idle,
    Duration,
    Body,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole,
    Error(String),
    Cut,
}

fn error(code: &str) -> Outcome {
    Outcome::Error(code.to_owned())
}

/// What comes of it over the clock; `None` where the clock has nothing to do with it.
fn over(clock: Clock, kind: Kind) -> Option<Outcome> {
    Some(match (clock, kind) {
        (Clock::Queue, _) => error("QueueTimeout"),
        (Clock::Boot, _) => error("BootTimeout"),
        (Clock::FirstByte, _) => error("FirstByteTimeout"),
        (Clock::Idle, Plain) => error("IdleTimeout"),
        (Clock::Duration, Plain) => error("DurationExceeded"),
        (Clock::Idle | Clock::Duration, _) => Outcome::Cut,
        (Clock::Body, Switched) => return None,
        (Clock::Body, _) => error("RequestTimeout"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_clock_all_is_well_and_over_it_there_is_its_error() {
    use Clock::{Body, Boot, Duration, FirstByte, Idle, Queue};
    let mut cases = Vec::new();
    for clock in [Queue, Boot, FirstByte, Idle, Duration, Body] {
        for kind in [Plain, Streamed, Switched] {
            let Some(over) = over(clock, kind) else {
                continue;
            };
            for (time, expected) in [(UNDER, Outcome::Whole), (OVER, over)] {
                let outcome = outcome(clock, kind, time).boxed();
                cases.push(outcome.map(move |outcome| ((clock, kind, time), expected, outcome)));
            }
        }
    }
    for (case, expected, outcome) in join_all(cases).await {
        assert_eq!(outcome, expected, "{case:?}");
    }
}

async fn outcome(clock: Clock, kind: Kind, time: u64) -> Outcome {
    let thaw = Thaw::start(manifest(clock)).await;
    let program = match (clock, kind) {
        (Clock::Boot, _) if time == OVER => Program::Deaf,
        (Clock::Boot, Plain | Streamed) => Program::Late(ms(time)),
        (_, Switched) => Program::Switching,
        _ => Program::Scripted,
    };
    let after_boot = if kind == Switched {
        Program::Switching
    } else {
        Program::Scripted
    };
    thaw.cluster.run_next([program, after_boot]);
    if clock == Clock::Queue {
        occupy(&thaw, kind, time).await;
    }
    match kind {
        Switched => switched(&thaw, clock, time).await,
        _ => answered(&thaw, clock, kind, time).await,
    }
}

/// One clock is set, the others are not short.
fn manifest(clock: Clock) -> Manifest {
    let long = Manifest::default();
    match clock {
        Clock::Queue => Manifest {
            queue_timeout: CLOCK,
            max: 1,
            ..long
        },
        Clock::Boot => Manifest {
            boot: CLOCK,
            ..long
        },
        Clock::FirstByte => Manifest {
            first_byte: Some(CLOCK),
            ..long
        },
        Clock::Idle => Manifest {
            idle: Some(CLOCK),
            buffer_bytes: 0,
            ..long
        },
        Clock::Duration => Manifest {
            duration: Some(CLOCK),
            ..long
        },
        Clock::Body => Manifest {
            body_rate: Some(Rate {
                bytes_per_second: 1,
                grace: CLOCK,
            }),
            ..long
        },
    }
}

/// Keeps the only instance busy, for so long from now on.
async fn occupy(thaw: &Thaw, kind: Kind, time: u64) {
    if kind == Switched {
        let mut raw = ask_to_switch(thaw, "/").await;
        raw.head().await;
        thaw.inside(1).await;
        tokio::spawn(async move {
            sleep(ms(time)).await;
            raw.end().await;
            raw.rest().await;
        });
    } else {
        drop(thaw.getting("/?gate=free"));
        thaw.inside(1).await;
        let cluster = thaw.cluster.clone();
        tokio::spawn(async move {
            sleep(ms(time)).await;
            cluster.journal.open("free");
        });
    }
}

async fn answered(thaw: &Thaw, clock: Clock, kind: Kind, time: u64) -> Outcome {
    let (head, piece) = match (clock, kind) {
        (Clock::FirstByte, _) | (Clock::Duration, Plain) => (time, 0),
        (Clock::Idle | Clock::Duration, Streamed) => (0, time),
        _ => (0, 0),
    };
    let mut path = format!("/?sleep={head}");
    if kind == Streamed {
        path.push_str(&format!("&pieces=2&pause={piece}"));
    }
    let mut client = thaw.client().await;
    let sent = match clock {
        Clock::Body => {
            let (mut upload, body) = pieces();
            tokio::spawn(async move {
                upload.send(Ok(Frame::data("x".into()))).await.ok();
                sleep(ms(time)).await;
            });
            request("POST", &path, body)
        }
        // The instance does not read what it is sent before it has slept.
        Clock::Idle if kind == Plain => {
            let large = crate::support::client::whole(vec![b'x'; 40 << 20]);
            request("POST", &format!("/?early&sleep={time}&close"), large)
        }
        _ => get(&path),
    };
    let response = match client.send(sent).await {
        Ok(response) => response,
        Err(error) => panic!("{clock:?} {kind:?} {time}: {error}"),
    };
    let answer = Answer::read(response).await;
    match answer.header("thaw-error") {
        "" if answer.is_whole => Outcome::Whole,
        "" => Outcome::Cut,
        code => error(code),
    }
}

async fn ask_to_switch(thaw: &Thaw, path: &str) -> Raw {
    let mut raw = Raw::connect(thaw.address).await;
    raw.write(&format!(
        "GET {path} HTTP/1.1\r\nhost: {HOST}\r\nx-request-id: {path}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
    ))
    .await;
    raw
}

async fn switched(thaw: &Thaw, clock: Clock, time: u64) -> Outcome {
    let pause = if clock == Clock::FirstByte { time } else { 0 };
    let mut raw = ask_to_switch(thaw, &format!("/?sleep={pause}")).await;
    let head = raw.head().await;
    if let Some(code) = head
        .lines()
        .find_map(|line| line.strip_prefix("thaw-error: "))
    {
        return error(code);
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    if matches!(clock, Clock::Idle | Clock::Duration) {
        // Closed by the other side before that, over the clock.
        tokio::select! {
            () = sleep(ms(time)) => {}
            () = raw.closed() => return Outcome::Cut,
        }
    }
    raw.end().await;
    match raw.rest().await.as_str() {
        "bye" => Outcome::Whole,
        _ => Outcome::Cut,
    }
}
