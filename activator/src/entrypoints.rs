//! All entrypoint revisions that this replica knows, and whether it owns them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crds::{
    entrypoint::{Limits, Scale, Timeouts},
    function::Burst,
};

use crate::{
    budget::Caps,
    engine::{Settings, Takeover},
    entrypoint::{Entrypoint, Key, Orders, SharedBudget},
    held::{self, Held},
    metrics::{Meter, Metrics},
    sync::{Mutex, MutexGuard},
};

/// How long an instance of unknown state is left alone if its invocations have no `timeouts.duration`.
const SUSPECT_FOR: Duration = Duration::from_secs(3600);

/// How long an instance of unknown state is left alone if no route leads to it any more: the default of `timeouts.duration`.
const ADOPTED_AFTER: Duration = Duration::from_secs(300);
/// An instance that was found running must accept a connection within this time.
const ADOPTED_WITHIN: Duration = Duration::from_secs(60);

/// The set.
#[derive(Debug)]
pub struct Entrypoints {
    metrics: Arc<Metrics>,
    orders: Orders,
    budget: SharedBudget,
    held: Held,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: HashMap<Key, Arc<Entrypoint>>,
    /// Set while this replica is the owner.
    takeover: Option<Takeover>,
    leaving: bool,
}

impl Entrypoints {
    /// None yet, and not the owner.
    pub fn new(metrics: Arc<Metrics>, orders: Orders, caps: Caps, limits: held::Limits) -> Self {
        Self {
            metrics,
            orders,
            budget: SharedBudget::new(caps),
            held: Held::new(limits),
            state: Mutex::new(State::default()),
        }
    }

    /// The entrypoint, made if it is new. Until a route leads to it, what it has goes.
    pub fn get_or_add(&self, key: &Key) -> Arc<Entrypoint> {
        let mut state = self.lock();
        if let Some(known) = state.all.get(key) {
            return known.clone();
        }
        let meter = Meter::new(&self.metrics, key, 1);
        let new = Entrypoint::new(
            key.clone(),
            unrouted(),
            self.orders.clone(),
            self.budget.clone(),
            self.held.clone(),
            meter,
        );
        state.all.insert(key.clone(), new.clone());
        let takeover = state.takeover;
        drop(state);
        if let Some(takeover) = takeover {
            new.own(takeover);
        }
        new
    }

    /// The entrypoint, if it is known.
    pub fn get(&self, key: &Key) -> Option<Arc<Entrypoint>> {
        self.lock().all.get(key).cloned()
    }

    /// Forgets an entrypoint whose Deployment is gone.
    pub fn remove(&self, key: &Key) {
        self.lock().all.remove(key);
    }

    /// Every entrypoint.
    pub fn all(&self) -> Vec<Arc<Entrypoint>> {
        self.lock().all.values().cloned().collect()
    }

    /// This replica owns every entrypoint, those that come later included.
    pub fn own(&self, takeover: Takeover) {
        let all = {
            let mut state = self.lock();
            if state.leaving {
                return;
            }
            // What comes later was never another owner's.
            state.takeover = Some(Takeover::Released);
            state.all.values().cloned().collect::<Vec<_>>()
        };
        all.iter().for_each(|entrypoint| entrypoint.own(takeover));
    }

    /// This replica owns nothing any more. The pods that it goes on using, with their namespaces.
    pub fn leave(&self) -> Vec<(String, String)> {
        let all = {
            let mut state = self.lock();
            (state.takeover, state.leaving) = (None, true);
            state.all.values().cloned().collect::<Vec<_>>()
        };
        let kept = all.iter().flat_map(|entrypoint| {
            let namespace = entrypoint.key.namespace.clone();
            entrypoint
                .leave()
                .into_iter()
                .map(move |pod| (namespace.clone(), pod))
        });
        kept.collect()
    }

    /// No invocation waits or runs anywhere.
    pub fn is_quiet(&self) -> bool {
        self.all().iter().all(|entrypoint| entrypoint.is_quiet())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

/// What the engine needs of a manifest.
pub fn settings(scale: &Scale, limits: &Limits, timeouts: &Timeouts) -> Settings {
    let Scale {
        burst,
        min,
        max,
        concurrency,
        idle_after,
    } = *scale;
    Settings {
        burst,
        min,
        max,
        concurrency,
        idle_after,
        freeze_after: None,
        queue: limits.queue,
        queue_timeout: timeouts.queue,
        boot_timeout: timeouts.boot,
        suspect_for: timeouts.duration.unwrap_or(SUSPECT_FOR),
        pool: 0,
    }
}

/// Settings of a revision that has to answer before a route leads to it: one instance, which is there when the traffic comes.
pub fn verifying(settings: Settings) -> Settings {
    Settings {
        min: 1,
        max: 1,
        // The one invocation that asks.
        queue: 1,
        freeze_after: None,
        ..settings
    }
}

/// Settings of a revision before a route leads to it: nothing boots, and what is there goes.
fn unrouted() -> Settings {
    Settings {
        burst: Burst::PerRequest,
        min: 0,
        max: 1,
        concurrency: 1,
        idle_after: Duration::ZERO,
        freeze_after: None,
        queue: 0,
        queue_timeout: None,
        boot_timeout: Some(ADOPTED_WITHIN),
        suspect_for: ADOPTED_AFTER,
        pool: 0,
    }
}
