//! What Prometheus scrapes. Names and labels are part of the contract.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    engine::Census,
    entrypoint::{Entrypoint, Key},
};

/// Bounds in seconds, from a hot answer to a slow cold boot.
const SECONDS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Names {
    namespace: String,
    function: String,
    entrypoint: String,
}

/// The labels of an entrypoint; every series of it shares them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfEntrypoint(Arc<Names>);

impl EncodeLabelSet for OfEntrypoint {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

/// The labels of an entrypoint and one more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct With<L>(OfEntrypoint, L);

impl<L: EncodeLabelSet> EncodeLabelSet for With<L> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)?;
        self.1.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    boot: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BootEnd {
    outcome: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    scrape: Mutex<()>,
    invocations: Family<With<Answered>, Counter>,
    invocation_seconds: Histograms<OfEntrypoint>,
    queue_seconds: Histograms<OfEntrypoint>,
    boot_seconds: Histograms<With<Stage>>,
    thaw_seconds: Histograms<OfEntrypoint>,
    boots: Family<With<BootEnd>, Counter>,
    queue_length: Family<OfEntrypoint, Gauge>,
    running: Family<OfEntrypoint, Gauge>,
    instances: Family<With<State>, Gauge>,
    rejected: Family<With<Code>, Counter>,
    slot_seconds: Family<OfEntrypoint, Seconds>,
    instance_seconds: Family<With<State>, Seconds>,
    over_admissions: Family<OfEntrypoint, Counter>,
    request_bytes: Family<OfEntrypoint, Counter>,
    response_bytes: Family<OfEntrypoint, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("thaw"),
            scrape: Mutex::default(),
            invocations: Family::default(),
            invocation_seconds: Family::new_with_constructor(histogram),
            queue_seconds: Family::new_with_constructor(histogram),
            boot_seconds: Family::new_with_constructor(histogram),
            thaw_seconds: Family::new_with_constructor(histogram),
            boots: Family::default(),
            queue_length: Family::default(),
            running: Family::default(),
            instances: Family::default(),
            rejected: Family::default(),
            slot_seconds: Family::default(),
            instance_seconds: Family::default(),
            over_admissions: Family::default(),
            request_bytes: Family::default(),
            response_bytes: Family::default(),
        };
        let r = &mut metrics.registry;
        r.register(
            "invocations",
            "Invocations answered by a function",
            metrics.invocations.clone(),
        );
        r.register(
            "invocation_seconds",
            "From slot to the end of the answer",
            metrics.invocation_seconds.clone(),
        );
        r.register(
            "queue_seconds",
            "Wait for a slot, boots included",
            metrics.queue_seconds.clone(),
        );
        r.register(
            "boot_seconds",
            "Cold boots by stage",
            metrics.boot_seconds.clone(),
        );
        r.register(
            "thaw_seconds",
            "From asking for a thaw to running again",
            metrics.thaw_seconds.clone(),
        );
        r.register("boots", "Cold boots by outcome", metrics.boots.clone());
        r.register(
            "queue_length",
            "Invocations waiting for a slot",
            metrics.queue_length.clone(),
        );
        r.register("running", "Invocations running", metrics.running.clone());
        r.register("instances", "Instances by state", metrics.instances.clone());
        r.register(
            "rejected",
            "Requests that Thaw answered with an error",
            metrics.rejected.clone(),
        );
        r.register(
            "slot_seconds",
            "Slot time used by invocations",
            metrics.slot_seconds.clone(),
        );
        r.register(
            "instance_seconds",
            "Instance time paid for",
            metrics.instance_seconds.clone(),
        );
        r.register(
            "over_admissions",
            "Invocations above concurrency; always 0",
            metrics.over_admissions.clone(),
        );
        r.register(
            "request_bytes",
            "Bytes of request bodies",
            metrics.request_bytes.clone(),
        );
        r.register(
            "response_bytes",
            "Bytes of answer bodies",
            metrics.response_bytes.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// The exposition text, with the gauges as they are now.
    pub fn text<'a>(&self, entrypoints: impl Iterator<Item = &'a Arc<Entrypoint>>) -> String {
        // Two scrapes at once would add up.
        let _one = self.scrape.lock().expect("nothing panics under this lock");
        self.queue_length.clear();
        self.running.clear();
        self.instances.clear();
        for entrypoint in entrypoints {
            let labels = of(&entrypoint.key);
            let (waiting, running, census) = entrypoint.census();
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            self.queue_length.get_or_create(&labels).inc_by(waiting);
            self.running
                .get_or_create(&labels)
                .inc_by(i64::from(running));
            for (state, count) in states(census) {
                self.instances
                    .get_or_create(&With(labels.clone(), State { state }))
                    .inc_by(i64::from(count));
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    /// A request that Thaw answered itself; without an entrypoint if none was found.
    pub fn rejected(&self, key: Option<&Key>, code: &'static str) {
        let labels = key.map_or_else(|| labels("", "", ""), of);
        self.rejected
            .get_or_create(&With(labels, Code { code }))
            .inc();
    }
}

/// Counts of one entrypoint. Their series begin with the first instance: an entrypoint that nobody calls has none.
#[derive(Debug)]
pub struct Meter {
    labels: OfEntrypoint,
    concurrency: AtomicU32,
    all: Arc<Metrics>,
    series: OnceLock<Series>,
}

/// The series of an entrypoint, looked up once.
#[derive(Debug)]
struct Series {
    invocation_seconds: Histogram,
    queue_seconds: Histogram,
    slot_seconds: Seconds,
    instance_seconds: [Seconds; 5],
    over_admissions: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    /// Those of `invocations` that were counted before. A function answers with few codes.
    answered: Mutex<Vec<(Answered, Counter)>>,
}

impl Meter {
    /// The counts of an entrypoint.
    pub fn new(all: &Arc<Metrics>, key: &Key, concurrency: u32) -> Self {
        Self {
            labels: of(key),
            concurrency: AtomicU32::new(concurrency),
            all: all.clone(),
            series: OnceLock::new(),
        }
    }

    fn series(&self) -> &Series {
        let (all, labels) = (&self.all, &self.labels);
        let paid = |state| {
            all.instance_seconds
                .get_or_create_owned(&With(labels.clone(), State { state }))
        };
        self.series.get_or_init(|| Series {
            invocation_seconds: all.invocation_seconds.get_or_create_owned(labels),
            queue_seconds: all.queue_seconds.get_or_create_owned(labels),
            slot_seconds: all.slot_seconds.get_or_create_owned(labels),
            instance_seconds: states(Census::default()).map(|(state, _)| paid(state)),
            over_admissions: all.over_admissions.get_or_create_owned(labels),
            request_bytes: all.request_bytes.get_or_create_owned(labels),
            response_bytes: all.response_bytes.get_or_create_owned(labels),
            answered: Mutex::default(),
        })
    }

    /// Bytes of request bodies.
    pub(crate) fn request_bytes(&self) -> Counter {
        self.series().request_bytes.clone()
    }

    /// Bytes of answer bodies.
    pub(crate) fn response_bytes(&self) -> Counter {
        self.series().response_bytes.clone()
    }

    /// The manifest changed.
    pub(crate) fn set_concurrency(&self, concurrency: u32) {
        self.concurrency.store(concurrency, Ordering::Relaxed);
    }

    /// Instances of this census were there for so long.
    pub(crate) fn paid(&self, time: Duration, census: Census) {
        if census == Census::default() {
            return;
        }
        let paid = self.series().instance_seconds.iter();
        for (paid, (_, count)) in paid.zip(states(census)) {
            if count > 0 {
                paid.inc_by(time.as_secs_f64() * f64::from(count));
            }
        }
    }

    /// An invocation got a slot on an instance that now runs this many.
    pub(crate) fn admitted(&self, running: u32) {
        if running > self.concurrency.load(Ordering::Relaxed) {
            self.series().over_admissions.inc();
        }
    }

    /// A slot was used this long.
    pub(crate) fn used(&self, time: Duration) {
        self.series().slot_seconds.inc_by(time.as_secs_f64());
        self.series().invocation_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.series().queue_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn answered(&self, boot: &'static str, code: u16) {
        let answered = Answered { boot, code };
        let mut known = self
            .series()
            .answered
            .lock()
            .expect("nothing panics under this lock");
        if let Some((_, count)) = known.iter().find(|(known, _)| *known == answered) {
            count.inc();
            return;
        }
        // By its labels it is found slowly: once.
        let labels = With(self.labels.clone(), answered.clone());
        let count = self.all.invocations.get_or_create_owned(&labels);
        count.inc();
        known.push((answered, count));
    }

    pub(crate) fn booted(&self, stages: &[(&'static str, Duration)]) {
        for (stage, time) in stages {
            let labels = With(self.labels.clone(), Stage { stage });
            self.all
                .boot_seconds
                .get_or_create(&labels)
                .observe(time.as_secs_f64());
        }
    }

    pub(crate) fn thawed(&self, took: Duration) {
        let thaws = self.all.thaw_seconds.get_or_create(&self.labels);
        thaws.observe(took.as_secs_f64());
    }

    pub(crate) fn boot_ended(&self, outcome: &'static str, reason: &str) {
        let end = BootEnd {
            outcome,
            reason: reason.to_owned(),
        };
        self.all
            .boots
            .get_or_create(&With(self.labels.clone(), end))
            .inc();
    }
}

fn labels(namespace: &str, function: &str, entrypoint: &str) -> OfEntrypoint {
    OfEntrypoint(Arc::new(Names {
        namespace: namespace.to_owned(),
        function: function.to_owned(),
        entrypoint: entrypoint.to_owned(),
    }))
}

fn of(key: &Key) -> OfEntrypoint {
    labels(&key.namespace, &key.function, &key.entrypoint)
}

fn states(census: Census) -> [(&'static str, u32); 5] {
    let Census {
        booting,
        idle,
        busy,
        frozen,
        draining,
    } = census;
    [
        ("booting", booting),
        ("idle", idle),
        ("busy", busy),
        ("frozen", frozen),
        ("draining", draining),
    ]
}
