//! What an algorithm cost and how long it made people wait.

use std::time::Duration;

/// The outcome of one algorithm on one pattern.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// From arrival until an instance began, by length.
    waits: Vec<Duration>,
    /// Time that instances worked on requests: what no algorithm can do without.
    pub work: Duration,
    /// Instances booted.
    pub boots: u64,
    /// Time of all instances, from their creation (the boot is paid) until they are gone.
    pub paid: Duration,
    /// The most by which demand of a function ever exceeded what its serving instances can run at once.
    pub shortfall: u32,
    /// What changed when, by time.
    pub changes: Vec<Change>,
}

/// A change of demand or of the number of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, from the start.
    pub at: Duration,
    /// Requests that came, or went.
    pub demand: i32,
    /// Instances that were asked for, or went.
    pub instances: i32,
}

impl Outcome {
    /// Requests served.
    pub fn served(&self) -> usize {
        self.waits.len()
    }

    /// The wait that this part of the requests did not exceed.
    pub fn wait(&self, part: f64) -> Duration {
        let rank = (self.waits.len() as f64 * part).ceil() as usize;
        self.waits
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// Takes in the outcome of another function.
    pub fn add(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.waits.sort_unstable();
        self.work += other.work;
        self.boots += other.boots;
        self.paid += other.paid;
        self.shortfall = self.shortfall.max(other.shortfall);
        self.changes.extend(other.changes);
        self.changes.sort_by_key(|change| change.at);
    }
}

/// Keeps count while one function is played.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What is before does not count.
    from: Duration,
    now: Duration,
    demand: u32,
    instances: u32,
    serving: u32,
    outcome: Outcome,
}

impl Ledger {
    pub(super) fn new(from: Duration) -> Self {
        Self {
            from,
            ..Self::default()
        }
    }

    /// Time passes. Every change is at the time of the last call.
    pub(super) fn pass(&mut self, now: Duration) {
        let counted = now.saturating_sub(self.now.max(self.from));
        self.outcome.paid += counted * self.instances;
        self.now = now;
    }

    pub(super) fn arrived(&mut self) {
        self.demand += 1;
        self.note(1, 0);
    }

    pub(super) fn began(&mut self, arrival: Duration, work: Duration) {
        if arrival >= self.from {
            self.outcome.waits.push(self.now - arrival);
            self.outcome.work += work;
        }
    }

    pub(super) fn ended(&mut self) {
        self.demand -= 1;
        self.note(-1, 0);
    }

    pub(super) fn created(&mut self) {
        self.instances += 1;
        self.outcome.boots += u64::from(self.now >= self.from);
        self.note(0, 1);
    }

    pub(super) fn serves(&mut self) {
        self.serving += 1;
    }

    pub(super) fn gone(&mut self, has_served: bool) {
        self.instances -= 1;
        self.serving -= u32::from(has_served);
        self.note(0, -1);
    }

    /// What is short when everything that happens at once has happened.
    pub(super) fn compare(&mut self) {
        if self.now >= self.from {
            let short = self.demand.saturating_sub(self.serving);
            self.outcome.shortfall = self.outcome.shortfall.max(short);
        }
    }

    pub(super) fn close(mut self) -> Outcome {
        self.outcome.waits.sort_unstable();
        self.outcome
    }

    fn note(&mut self, demand: i32, instances: i32) {
        self.outcome.changes.push(Change {
            at: self.now,
            demand,
            instances,
        });
    }
}
