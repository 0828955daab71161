//! Knative Serving's autoscaler (KPA) for a revision with `containerConcurrency: 1`, written from its documentation.
//!
//! Names of settings are those of its ConfigMap `config-autoscaler`; what is not said there is in its page on the scaling system.
//! Where the documentation leaves room, what is better for Knative is taken:
//! - Its activator stays in the path (at concurrency 1 and a `target-burst-capacity` of 200 it does), holds what waits, and gives it
//!   to instances first in, first out, without the cost of a second proxy or of a sidecar.
//! - A request at zero starts one instance at once (the activator's poke). Run literally, the arithmetic would start two for it:
//!   1 / 0.7, rounded up.
//! - Every instance is scraped, at once and without loss.
//! - Of surplus instances those go that run nothing.

mod arithmetic;
mod metric;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::cluster::{Autoscaler, Event, Orders};
use arithmetic::Arithmetic;
use metric::Metric;

/// `tick-interval`: between two calculations.
pub const TICK: Duration = Duration::from_secs(2);

/// What differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `scale-to-zero-grace-period`, default 30 s: from the calculation that says zero to the end of the last instance. The
    /// documentation calls it an upper bound: where the network has long been told to go through the activator, it may be nothing.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
        }
    }
}

/// One function on Knative.
pub struct Knative {
    settings: Settings,
    metric: Metric,
    arithmetic: Arithmetic,
    next_tick: Duration,
    /// Requests that wait, in the activator.
    queue: VecDeque<usize>,
    demand: u32,
    ready: BTreeSet<u64>,
    idle: VecDeque<u64>,
    replicas: u32,
    /// Since when the arithmetic says zero.
    inactive_since: Option<Duration>,
}

impl Knative {
    /// A revision at zero, whose ticks fall on `phase` within their interval.
    pub fn new(settings: Settings, phase: Duration) -> Self {
        Self {
            settings,
            metric: Metric::default(),
            arithmetic: Arithmetic::default(),
            next_tick: phase,
            queue: VecDeque::new(),
            demand: 0,
            ready: BTreeSet::new(),
            idle: VecDeque::new(),
            replicas: 0,
            inactive_since: None,
        }
    }

    /// Whether somebody reports concurrency: the activator while it holds a request, an instance always.
    fn is_awake(&self) -> bool {
        self.replicas > 0 || self.demand > 0 || !self.ready.is_empty()
    }

    fn take_note(&mut self, event: Event) {
        match event {
            Event::Arrived(request) => {
                self.demand += 1;
                self.queue.push_back(request);
            }
            Event::Ended(id, _) => {
                self.demand -= 1;
                if self.ready.contains(&id) {
                    self.idle.push_back(id);
                }
            }
            Event::Accepts(id) => {
                self.ready.insert(id);
                self.idle.push_back(id);
            }
            Event::Gone(id) => {
                self.ready.remove(&id);
                self.idle.retain(|idle| *idle != id);
            }
            Event::Scaled(_) | Event::Marked | Event::Created(_) | Event::Tick => {}
        }
    }

    /// What the arithmetic says at a tick, if it says anything.
    fn calculate(&mut self, now: Duration) -> Option<u32> {
        let (stable, panic) = self.metric.averages()?;
        let ready = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        let desired = self.arithmetic.desired(ready, stable, panic, now);
        // The poke is a report too, before the second in which it came has ended.
        let desired = desired.max(self.demand.min(1));
        if desired > 0 {
            self.inactive_since = None;
            return Some(desired);
        }
        let since = *self.inactive_since.get_or_insert(now);
        (now - since >= self.settings.grace).then_some(0)
    }

    fn wake(&mut self, now: Duration) -> Option<Duration> {
        if !self.is_awake() {
            return None;
        }
        if let Some(missed) = now.checked_sub(self.next_tick)
            && !missed.is_zero()
        {
            let ticks = missed.as_nanos().div_ceil(TICK.as_nanos());
            self.next_tick += TICK * u32::try_from(ticks).expect("a trace is shorter than that");
        }
        Some(self.next_tick)
    }
}

impl Autoscaler for Knative {
    fn on(&mut self, event: Event, now: Duration) -> Orders {
        self.metric.pass(now, self.demand, self.is_awake());
        self.take_note(event);
        let desired = match event {
            Event::Arrived(_) if self.replicas == 0 => Some(1),
            Event::Tick => {
                self.next_tick = now + TICK;
                self.calculate(now)
            }
            _ => None,
        };
        let replicas = desired.filter(|desired| *desired != self.replicas);
        self.replicas = replicas.unwrap_or(self.replicas);
        let mut orders = Orders {
            replicas,
            ..Orders::default()
        };
        while let (Some(request), Some(id)) = (self.queue.front(), self.idle.front()) {
            orders.begin.push((*request, *id));
            self.queue.pop_front();
            self.idle.pop_front();
        }
        orders.wake = self.wake(now);
        orders
    }
}
