//! What is known about the sizes of images, who is asked, and how long an answer counts.
//!
//! A reconcile never waits for a registry: it takes what is known, and the Function is reconciled again when the answer has come.
//!
//! # Guarantees
//! - A registry is asked only about images of Functions that have a limit, with the Secrets of the Function's own namespace, and what it
//!   answers is told only to Functions of that namespace that name the same Secrets.
//! - One question is asked once at a time, a bounded number of questions in all, each for a bounded time. Neither a registry that hangs nor
//!   a namespace with many images holds up the others.

mod credentials;
mod manifest;
mod nodes;
mod places;
mod reference;
mod registry;

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crds::names;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, runtime::reflector::ObjectRef};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use crate::{
    observe::Guarded,
    size::{Evidence, Size},
};
use credentials::Credentials;
use nodes::Sizes;
use places::Places;
use reference::Reference;
use registry::{Registry, Silence};

/// Attempts at one question, for what may pass.
const ATTEMPTS: u32 = 3;
/// Between two of them.
const AGAIN: Duration = Duration::from_secs(1);
/// An answer of the API server takes no longer.
const OVERDUE: Duration = Duration::from_secs(10);
/// So long an answer counts. Each question may count as a pull of the image.
const FRESH: Duration = Duration::from_secs(600);
/// After a first silence the question is asked again in this time, which doubles up to [`LONGEST_SILENCE`].
const SILENCE: Duration = Duration::from_secs(10);
/// The longest time between two questions.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);
/// So long the word of the nodes counts; the kubelet reports every 10 s.
pub const NODES_FRESH: Duration = Duration::from_secs(5);
/// What nobody has looked at for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What the operator may do about images.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Largest image of Functions that set no limit, in bytes.
    pub max_size: Option<u64>,
    /// Registries that are asked without TLS, as host and port.
    pub insecure: Vec<String>,
    /// Whether the Secrets of `imagePullSecrets` may be read.
    pub may_read_secrets: bool,
    /// Whether what nodes report may be read.
    pub may_read_nodes: bool,
}

/// An image as one revision pulls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Namespace of the Function.
    pub namespace: String,
    /// The image as the manifest names it.
    pub image: String,
    /// Secrets of `pod.imagePullSecrets`.
    pub secrets: Vec<String>,
    /// The architecture that the pod asks of its node.
    pub architecture: Option<String>,
}

/// What is known about images.
pub struct Images {
    settings: Settings,
    asked: UnboundedSender<Asked>,
    wake: UnboundedSender<ObjectRef<Guarded>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    registries: HashMap<Question, Answer<Result<Size, Silence>>>,
    nodes: Answer<Result<Sizes, String>>,
}

/// An answer, and who waits for the next one.
struct Answer<T> {
    last: Option<T>,
    fresh_until: Instant,
    silences: u32,
    is_asked: bool,
    waiting: HashSet<ObjectRef<Guarded>>,
}

/// Something to find out.
enum Asked {
    Registry(Question),
    Nodes,
}

/// What comes out of [`Images`].
pub struct Inquiries {
    /// What has to be asked.
    pub asks: Asks,
    /// Functions whose question has been answered.
    pub woken: Woken,
}

/// For [`ask`].
pub struct Asks(UnboundedReceiver<Asked>);

/// See [`Inquiries`].
pub type Woken = UnboundedReceiver<ObjectRef<Guarded>>;

impl Images {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> (Self, Inquiries) {
        let (asked, asks) = unbounded_channel();
        let (wake, woken) = unbounded_channel();
        let images = Self {
            settings,
            asked,
            wake,
            known: Mutex::default(),
        };
        let asks = Asks(asks);
        (images, Inquiries { asks, woken })
    }

    /// Largest image in bytes of a Function that says this; 0 is no limit.
    pub fn limit(&self, own: Option<u64>) -> Option<u64> {
        own.or(self.settings.max_size).filter(|bytes| *bytes > 0)
    }

    /// What is known about an image. Where more can be known soon, `function` is woken then.
    pub fn evidence(&self, question: &Question, function: &ObjectRef<Guarded>) -> Evidence {
        let mut known = self.known();
        known.forget();
        let asked = || Asked::Registry(question.clone());
        let answer = known.registries.entry(question.clone()).or_default();
        let silence = match self.look(answer, function, asked) {
            None => return Evidence::Awaited,
            Some(Ok(size)) => return Evidence::Registry(size),
            Some(Err(silence)) => silence.to_string(),
        };
        if !self.settings.may_read_nodes {
            return Evidence::Unknowable(silence);
        }
        match self.look(&mut known.nodes, function, || Asked::Nodes) {
            None => Evidence::Awaited,
            Some(Err(problem)) => Evidence::Nowhere(format!("{silence}, and {problem}")),
            Some(Ok(sizes)) => match sizes.of(&question.image) {
                Some(bytes) => Evidence::Node(bytes),
                None => Evidence::Nowhere(silence),
            },
        }
    }

    /// How long the registry's answer counts still; `None` while it is being asked.
    pub fn until_stale(&self, question: &Question) -> Option<Duration> {
        let known = self.known();
        let answer = known.registries.get(question)?;
        let left = answer.fresh_until.saturating_duration_since(Instant::now());
        (!answer.is_asked).then_some(left)
    }

    /// The last answer, even an old one while a new one is on its way: otherwise a Function would be told that it waits again.
    fn look<T: Clone>(
        &self,
        answer: &mut Answer<T>,
        function: &ObjectRef<Guarded>,
        asked: impl FnOnce() -> Asked,
    ) -> Option<T> {
        if Instant::now() >= answer.fresh_until {
            answer.waiting.insert(function.clone());
            if !answer.is_asked {
                // Nobody listens in a process that is ending.
                answer.is_asked = self.asked.send(asked()).is_ok();
            }
        }
        answer.last.clone()
    }

    fn answered(&self, question: &Question, answer: Result<Size, Silence>) {
        debug!(
            namespace = question.namespace,
            image = question.image,
            ?answer,
            "image measured"
        );
        let mut known = self.known();
        let entry = known.registries.entry(question.clone()).or_default();
        let fresh = match answer {
            Ok(_) => {
                entry.silences = 0;
                FRESH
            }
            Err(_) => {
                let wait = SILENCE.saturating_mul(1 << entry.silences.min(5));
                entry.silences += 1;
                wait.min(LONGEST_SILENCE)
            }
        };
        let woken = entry.told(answer, fresh);
        self.wake(woken);
    }

    /// What a test needs: layers, or that the registry is silent.
    #[cfg(test)]
    pub(crate) fn told(&self, question: &Question, layers: Option<&[u64]>) {
        let size = layers.map(|layers| Size {
            layers: layers.to_vec(),
            platform: None,
        });
        let silent = || Silence::Unreachable(question.image.clone());
        self.answered(question, size.ok_or_else(silent));
    }

    /// What a test needs: all that nodes have.
    #[cfg(test)]
    pub(crate) fn told_by_nodes(&self, image: &str, bytes: u64) {
        self.nodes_answered(Ok(Sizes::of_one(image, bytes)));
    }

    fn nodes_answered(&self, answer: Result<Sizes, String>) {
        let woken = self.known().nodes.told(answer, NODES_FRESH);
        self.wake(woken);
    }

    fn wake(&self, functions: HashSet<ObjectRef<Guarded>>) {
        for function in functions {
            if self.wake.send(function).is_err() {
                return;
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic inside one of the short sections leaves plain values behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No limit, so that nobody is ever asked.
impl Default for Images {
    fn default() -> Self {
        Self::new(Settings::default()).0
    }
}

impl Known {
    fn forget(&mut self) {
        let now = Instant::now();
        self.registries
            .retain(|_, answer| answer.is_asked || now < answer.fresh_until + FORGOTTEN);
    }
}

impl<T> Answer<T> {
    /// Takes an answer, and gives back who waited for it.
    fn told(&mut self, answer: T, fresh: Duration) -> HashSet<ObjectRef<Guarded>> {
        self.last = Some(answer);
        self.fresh_until = Instant::now() + fresh;
        self.is_asked = false;
        std::mem::take(&mut self.waiting)
    }
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self {
            last: None,
            fresh_until: Instant::now(),
            silences: 0,
            is_asked: false,
            waiting: HashSet::new(),
        }
    }
}

/// Asks what has to be asked, for as long as it is polled.
pub async fn ask(images: &Images, client: &Client, mut asked: Asks) {
    let registry = Registry::new(images.settings.insecure.clone());
    let places = Places::default();
    let asked = stream::poll_fn(|context| asked.0.poll_recv(context));
    // No limit here: what waits for its place must not hold up what has one.
    asked
        .for_each_concurrent(None, |asked| async {
            match asked {
                Asked::Nodes => {
                    let sizes = unless_it_panics(nodes::sizes(client)).await;
                    let bug =
                        || Err("asking nodes met a bug, which the operator's log tells".to_owned());
                    images.nodes_answered(sizes.unwrap_or_else(bug));
                }
                Asked::Registry(question) => {
                    let size =
                        unless_it_panics(size(images, client, &registry, &places, &question));
                    let bug = || Err(Silence::Bug(question.image.clone()));
                    let size = size.await.unwrap_or_else(bug);
                    images.answered(&question, size);
                }
            }
        })
        .await;
}

/// What work comes to, or `None` if it meets a bug: who asked would wait without end for an answer that does not come.
async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}

async fn size(
    images: &Images,
    client: &Client,
    registry: &Registry,
    places: &Places,
    question: &Question,
) -> Result<Size, Silence> {
    let reference = Reference::parse(&question.image).map_err(Silence::Nameless)?;
    let _place = places.take(&question.namespace, &reference.registry).await;
    let secrets = secrets(images, client, question).await;
    let logins = credentials::credentials(&secrets, &reference);
    let architecture = question.architecture.as_deref();
    // In a box, so that a question that waits for its place takes little memory.
    Box::pin(measure(registry, &reference, &logins, architecture)).await
}

async fn measure(
    registry: &Registry,
    reference: &Reference,
    logins: &[Credentials],
    architecture: Option<&str>,
) -> Result<Size, Silence> {
    let mut attempt = 1;
    loop {
        match registry.size(reference, logins, architecture).await {
            Err(silence) if silence.may_pass() && attempt < ATTEMPTS => {
                attempt += 1;
                sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// The Secrets that a pod names. As for the kubelet, one that is not there says nothing.
async fn secrets(images: &Images, client: &Client, question: &Question) -> Vec<Secret> {
    if !images.settings.may_read_secrets {
        return vec![];
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), &question.namespace);
    let mut found = Vec::new();
    let names = question.secrets.iter();
    for name in names.filter(|name| names::is_object_name(name)) {
        match timeout(OVERDUE, api.get(name)).await {
            Ok(Ok(secret)) => found.push(secret),
            Ok(Err(error)) => {
                debug!(namespace = question.namespace, secret = name, %error, "cannot read a Secret");
            }
            Err(_) => debug!(
                namespace = question.namespace,
                secret = name,
                "no answer about a Secret"
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests;
