//! The instances of an entrypoint, sorted by what can be done with them. Every operation is O(log n) in their number.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::instance::{Activity, Instance, InstanceId, State};

/// What can be done with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    Unowned,
    Booting,
    /// Runs nothing and has not run anything yet.
    Fresh,
    /// Runs nothing.
    Idle,
    /// Runs something and has a free slot.
    Roomy,
    /// Has no free slot.
    Full,
    /// Must be thawed before it is used.
    Frozen,
    Thawing,
    Suspect,
    /// Out of rotation and runs something.
    Ending,
    /// Out of rotation, and to be scaled away.
    Spent,
    /// About to be scaled away; may be taken back.
    Marking,
    /// About to be scaled away for good.
    SpentMarking,
    Retiring,
}

impl Shelf {
    const COUNT: usize = Self::Retiring as usize + 1;
    /// In rotation.
    pub(super) const SERVING: [Self; 6] = [
        Self::Fresh,
        Self::Idle,
        Self::Roomy,
        Self::Full,
        Self::Frozen,
        Self::Thawing,
    ];
    /// With a slot that can be used at once.
    pub(super) const FREE: [Self; 3] = [Self::Fresh, Self::Idle, Self::Roomy];
    /// In rotation and running nothing.
    pub(super) const UNUSED: [Self; 3] = [Self::Fresh, Self::Idle, Self::Frozen];
    /// On their way out.
    pub(super) const GOING: [Self; 3] = [Self::Marking, Self::SpentMarking, Self::Retiring];
}

/// Place on a shelf: by time, and by use where times are the same.
type Place = (Instant, u64, InstanceId);

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    all: BTreeMap<InstanceId, Instance>,
    shelves: [BTreeSet<Place>; Shelf::COUNT],
    /// Invocations that run.
    running: u32,
    concurrency: u32,
}

impl Fleet {
    pub(super) fn new(concurrency: u32) -> Self {
        Self {
            concurrency,
            ..Self::default()
        }
    }

    pub(super) fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.all.get(&id)
    }

    pub(super) fn len(&self) -> u32 {
        count(self.all.len())
    }

    /// Invocations that run.
    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// Instances on these shelves.
    pub(super) fn count(&self, shelves: &[Shelf]) -> u32 {
        let on = |shelf: &Shelf| self.shelves[*shelf as usize].len();
        count(shelves.iter().map(on).sum())
    }

    /// Those on a shelf, the oldest first: by last use if they serve, by the beginning of the boot, by the end of suspicion.
    pub(super) fn on(
        &self,
        shelf: Shelf,
    ) -> impl DoubleEndedIterator<Item = (Instant, InstanceId)> {
        let places = self.shelves[shelf as usize].iter();
        places.map(|(at, _, id)| (*at, *id))
    }

    /// The oldest on a shelf.
    pub(super) fn first(&self, shelf: Shelf) -> Option<(Instant, InstanceId)> {
        self.on(shelf).next()
    }

    /// The youngest on a shelf.
    pub(super) fn last(&self, shelf: Shelf) -> Option<InstanceId> {
        self.on(shelf).next_back().map(|(_, id)| id)
    }

    /// The one with a free slot that was used last.
    pub(super) fn free(&self) -> Option<InstanceId> {
        let last = |shelf: &Shelf| self.shelves[*shelf as usize].last();
        let free = Shelf::FREE.iter().filter_map(last).max();
        free.map(|(_, _, id)| *id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.all.iter().map(|(id, instance)| (*id, instance))
    }

    pub(super) fn insert(&mut self, id: InstanceId, instance: Instance) {
        self.put(id, &instance);
        self.all.insert(id, instance);
    }

    pub(super) fn remove(&mut self, id: InstanceId) -> Option<Instance> {
        let instance = self.all.remove(&id)?;
        self.take(id, &instance);
        if self.all.is_empty() {
            // Nothing is kept for an entrypoint at zero.
            *self = Self::new(self.concurrency);
        }
        Some(instance)
    }

    /// Changes an instance and puts it where it belongs then. `None` if there is no such instance.
    pub(super) fn change<T>(
        &mut self,
        id: InstanceId,
        change: impl FnOnce(&mut Instance) -> T,
    ) -> Option<T> {
        let instance = self.all.get_mut(&id)?;
        let before = (place(id, instance), shelf(instance, self.concurrency));
        let running = instance.running;
        let changed = change(instance);
        let after = (place(id, instance), shelf(instance, self.concurrency));
        self.running = self.running - running + instance.running;
        if before != after {
            self.shelves[before.1 as usize].remove(&before.0);
            self.shelves[after.1 as usize].insert(after.0);
        }
        Some(changed)
    }

    /// Another number of invocations fits into an instance.
    pub(super) fn set_concurrency(&mut self, concurrency: u32) {
        let all = std::mem::take(&mut self.all);
        *self = Self::new(concurrency);
        all.into_iter()
            .for_each(|(id, instance)| self.insert(id, instance));
    }

    fn put(&mut self, id: InstanceId, instance: &Instance) {
        let shelf = shelf(instance, self.concurrency);
        self.shelves[shelf as usize].insert(place(id, instance));
        self.running += instance.running;
    }

    fn take(&mut self, id: InstanceId, instance: &Instance) {
        let shelf = shelf(instance, self.concurrency);
        self.shelves[shelf as usize].remove(&place(id, instance));
        self.running -= instance.running;
    }
}

fn place(id: InstanceId, instance: &Instance) -> Place {
    match instance.state {
        State::Booting { since, .. } => (since, 0, id),
        State::Suspect { until } => (until, 0, id),
        _ => (instance.used_at, instance.last_use, id),
    }
}

fn shelf(instance: &Instance, concurrency: u32) -> Shelf {
    let serving = match (instance.activity, instance.running) {
        (Activity::Freezing | Activity::Frozen, _) => Shelf::Frozen,
        (Activity::Thawing, _) => Shelf::Thawing,
        (Activity::Fresh, 0) => Shelf::Fresh,
        (Activity::Awake, 0) => Shelf::Idle,
        (_, running) if running < concurrency => Shelf::Roomy,
        _ => Shelf::Full,
    };
    match instance.state {
        State::Serving => serving,
        State::Unowned => Shelf::Unowned,
        State::Booting { .. } => Shelf::Booting,
        State::Suspect { .. } => Shelf::Suspect,
        State::Spent if instance.running > 0 => Shelf::Ending,
        State::Spent => Shelf::Spent,
        State::Marking if instance.is_spent() => Shelf::SpentMarking,
        State::Marking => Shelf::Marking,
        State::Retiring => Shelf::Retiring,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
