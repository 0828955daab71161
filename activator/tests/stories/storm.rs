//! Everything at once: clients that leave at any moment, instances that crash, come and go.

use std::{collections::HashSet, sync::Arc};

use futures::SinkExt;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::time::sleep;

use crate::support::{Answer, Client, Manifest, Thaw, client, ms};

const ROUNDS: u64 = 4;
const CLIENTS: u64 = 50;
const REQUESTS: u64 = 25;

/// What one request came to.
#[derive(Default)]
struct Outcome {
    id: String,
    /// The instance that answered.
    instance: Option<String>,
    /// Thaw's error code, or `cut`.
    failure: Option<String>,
    has_left: bool,
    /// The function was told to crash.
    kills: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_no_request_is_lost_or_run_twice_and_nothing_overlaps() {
    let thaw = Arc::new(
        Thaw::start(Manifest {
            max: 20,
            idle_after: ms(15),
            ..Manifest::default()
        })
        .await,
    );
    let mut outcomes = Vec::new();
    for round in 0..ROUNDS {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| tokio::spawn(behave(thaw.clone(), Dice(round * CLIENTS + number))))
            .collect();
        for client in clients {
            outcomes.extend(client.await.unwrap());
        }
        thaw.at_zero().await;
    }
    check(&thaw, &outcomes);
}

fn check(thaw: &Thaw, outcomes: &[Outcome]) {
    let journal = &thaw.cluster.journal;
    assert_eq!(outcomes.len() as u64, ROUNDS * CLIENTS * REQUESTS);
    let mut ids = HashSet::new();
    let mut failures = 0;
    for outcome in outcomes {
        let Outcome {
            id,
            instance,
            failure,
            has_left,
            kills,
        } = outcome;
        assert!(ids.insert(id), "{id} was used twice");
        let runs = journal.runs(id);
        assert!(runs.len() <= 1, "{id} ran on {runs:?}");
        if let Some(instance) = instance {
            assert_eq!(runs, std::slice::from_ref(instance), "{id}");
        }
        if let Some(failure) = failure {
            assert!(
                ["InstanceFailed", "cut"].contains(&failure.as_str()),
                "{id}: {failure}"
            );
            failures += 1;
        }
        assert!(
            *has_left || instance.is_some() != failure.is_some(),
            "{id} was lost"
        );
        assert!(
            !kills || *has_left || failure.is_some(),
            "{id} was answered by a dead instance"
        );
    }
    // An instance runs one request at a time, so it takes at most one with it.
    assert!(
        failures <= journal.crashes(),
        "{failures} failures, {} crashes",
        journal.crashes()
    );
    assert!(
        journal.crashes() > 50 && failures > 50,
        "the storm was a breeze"
    );
    assert_eq!(thaw.cluster.deleted_busy(), Vec::<String>::new());
    assert_eq!(thaw.waiting(), 0);
    thaw.keeps_its_promises();
}

/// One client: a connection that is kept as long as it lasts.
async fn behave(thaw: Arc<Thaw>, mut dice: Dice) -> Vec<Outcome> {
    let mut connection = None;
    let mut outcomes = Vec::new();
    for _ in 0..REQUESTS {
        let mut client = match connection.take() {
            Some(client) => client,
            None => thaw.client().await,
        };
        let (outcome, is_usable) = one_request(&thaw, &mut client, &mut dice).await;
        outcomes.push(outcome);
        connection = is_usable.then_some(client);
        if dice.roll(10) == 0 {
            sleep(ms(dice.roll(30))).await;
        }
    }
    outcomes
}

/// Sends one request and says whether the connection may be used again.
async fn one_request(thaw: &Thaw, client: &mut Client, dice: &mut Dice) -> (Outcome, bool) {
    let pause = dice.roll(4);
    let size = dice.roll(50_000);
    let kind = dice.roll(20);
    let path = match kind {
        0..=5 => format!("/?sleep={pause}"),
        6..=8 => format!("/?body={size}&sleep={pause}"),
        9..=10 => format!("/?pieces=4&size={size}&pause={pause}"),
        11 => "/?close".to_owned(),
        12 => format!("/?die=head&sleep={pause}"),
        13 => format!("/?die=body&pieces=3&size={size}"),
        14 => format!("/?sleep={}", pause * 4),
        15..=16 => format!("/?pieces=4&size={size}&pause={pause}"),
        _ => "/".to_owned(),
    };
    let mut request = match kind {
        18 => client::request("POST", &path, client::whole(vec![b'x'; size as usize])),
        _ => client::get(&path),
    };
    let mut outcome = Outcome {
        id: request.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned(),
        kills: (12..=13).contains(&kind),
        has_left: (14..=17).contains(&kind),
        ..Outcome::default()
    };
    match kind {
        // Leaves before the head, perhaps while it waits.
        14 => {
            tokio::select! {
                _ = client.send(request) => {}
                () = sleep(ms(dice.roll(12))) => {}
            }
            return (outcome, false);
        }
        // Leaves in the middle of the answer.
        15..=16 => {
            if let Ok(mut response) = client.send(request).await {
                response.body_mut().frame().await;
            }
            return (outcome, false);
        }
        // Leaves in the middle of the upload.
        17 => {
            let (mut upload, body) = client::pieces();
            *request.body_mut() = body;
            *request.method_mut() = http::Method::POST;
            let feeding = async {
                upload.send(Ok(Frame::data("half".into()))).await.ok();
                sleep(ms(dice.roll(12))).await;
            };
            tokio::select! {
                _ = client.send(request) => {}
                () = feeding => {}
            }
            return (outcome, false);
        }
        // Uploads, to the end, in pieces.
        19 => {
            let (mut upload, body) = client::pieces();
            *request.body_mut() = body;
            *request.method_mut() = http::Method::POST;
            let feeding = async move {
                for _ in 0..3 {
                    upload
                        .send(Ok(Frame::data(vec![b'x'; size as usize].into())))
                        .await
                        .ok();
                }
            };
            let (answer, ()) = tokio::join!(client.ask(request), feeding);
            note(&mut outcome, &answer);
            if outcome.instance.is_some() {
                assert_eq!(answer.header("received"), (3 * size).to_string());
            }
            return (outcome, answer.is_whole && answer.status == 200);
        }
        _ => {}
    }
    let answer = client.ask(request).await;
    note(&mut outcome, &answer);
    // Now and then an idle instance is killed without a word.
    if dice.roll(60) == 0
        && let Some(instance) = &outcome.instance
    {
        let process = thaw.cluster.process(instance);
        if process.inside() == 0 {
            process.crash();
        }
    }
    (outcome, answer.is_whole && answer.status == 200)
}

fn note(outcome: &mut Outcome, answer: &Answer) {
    if !answer.is_whole {
        outcome.failure = Some("cut".to_owned());
    } else if answer.status != 200 {
        outcome.failure = Some(answer.header("thaw-error").to_owned());
    } else {
        outcome.instance = Some(answer.header("instance").to_owned());
    }
}

/// Numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    /// 0 up to `sides`, without it.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}
