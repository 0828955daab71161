//! What Prometheus sees of the operator.

use std::time::Duration;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::observe::{Caches, Guarded};
use crds::conditions::READY;

/// What a reconcile did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum End {
    /// Nothing is left to do.
    Succeeded,
    /// It is tried again.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: End,
}

/// The operator's counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    seconds: Histogram,
    ends: Family<Outcome, Counter>,
}

impl Metrics {
    /// Counters that `registry` shows, and the number of Functions in `caches`.
    pub fn new(registry: &mut Registry, caches: Caches) -> Self {
        // 1 ms to 16 s: a reconcile that writes nothing, to one that meets an API server in distress.
        let seconds = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let metrics = Self {
            seconds,
            ends: Family::default(),
        };
        registry.register_with_unit(
            "thaw_reconcile",
            "Duration of one reconcile",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "thaw_reconciles",
            "Reconciles by how they ended",
            metrics.ends.clone(),
        );
        registry.register_collector(Box::new(Functions { caches }));
        metrics
    }

    /// Counts one reconcile.
    pub fn reconciled(&self, end: End, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        self.ends.get_or_create(&Outcome { outcome: end }).inc();
    }
}

/// Counts the cached Functions when somebody asks.
struct Functions {
    caches: Caches,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Functions")
    }
}

impl Collector for Functions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let functions = self.caches.functions.state();
        let mut family = encoder.encode_descriptor(
            "thaw_functions",
            "Functions by whether they are ready.",
            None,
            MetricType::Gauge,
        )?;
        for ready in ["True", "False", "Unknown"] {
            let count = functions.iter().filter(|f| readiness(f) == ready).count();
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("ready", ready)])?)?;
        }
        Ok(())
    }
}

fn readiness(function: &Guarded) -> &str {
    let Ok(function) = &function.0 else {
        return "False";
    };
    let status = function.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|condition| condition.type_ == READY);
    ready.map_or("Unknown", |condition| condition.status.as_str())
}
