//! A ReplicaSet and its pods.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use super::*;

#[derive(Debug, Default)]
pub(super) struct Pod {
    /// Lower goes first.
    pub(super) cost: i64,
    /// As the kubelet sees it.
    pub(super) is_ready: bool,
    /// The engine asked for a connection and waits for it.
    pub(super) is_dialed: bool,
    /// The engine gave its boot up, or the container ended during it.
    pub(super) has_failed: bool,
    /// It accepted one.
    pub(super) is_up: bool,
    /// Its processes do not run.
    pub(super) is_frozen: bool,
    /// Another replica says that it uses the instance.
    pub(super) is_held: bool,
    /// Another replica may use it until then.
    pub(super) foreign_until: Option<Instant>,
}

impl Pod {
    pub(super) fn is_foreign(&self, now: Instant) -> bool {
        self.foreign_until.is_some_and(|until| now < until)
    }
}

/// What is to become of an instance's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Freeze,
    Thaw,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) pods: BTreeMap<InstanceId, Pod>,
    pub(super) replicas: u32,
    /// The write of `replicas` that is under way.
    pub(super) write: Option<u32>,
    /// Deletion costs to write.
    pub(super) marks: Vec<(InstanceId, Marking)>,
    /// Freezes and thaws to carry out, in their order.
    orders: VecDeque<(InstanceId, Order)>,
    made: u64,
    cost: i64,
}

impl Cluster {
    pub(super) fn make(&mut self) -> InstanceId {
        self.made += 1;
        self.pods.insert(id(self.made), Pod::default());
        id(self.made)
    }

    /// One of the pods, or of those that the engine dials.
    pub(super) fn nth(&self, which: usize) -> Option<InstanceId> {
        let at = which.checked_rem(self.pods.len())?;
        self.pods.keys().nth(at).copied()
    }

    pub(super) fn nth_dialed(&self, which: usize) -> Option<InstanceId> {
        let dialed = || self.pods.iter().filter(|(_, pod)| pod.is_dialed);
        let at = which.checked_rem(dialed().count())?;
        dialed().nth(at).map(|(id, _)| *id)
    }

    /// The pod that the ReplicaSet deletes next: not ready before ready, then by cost, then the youngest.
    ///
    /// Assumed: a pod made during a lowering is deleted before it is ready, some 200 ms later; so only a dialed pod gets ready.
    pub(super) fn victim(&self) -> Option<InstanceId> {
        if self.pods.len() <= self.replicas as usize {
            return None;
        }
        let rank = |(id, pod): &(&InstanceId, &Pod)| (pod.is_ready, pod.cost, Reverse(**id));
        self.pods.iter().min_by_key(rank).map(|(id, _)| *id)
    }

    pub(super) fn order(&mut self, freeze: &[InstanceId], thaw: &[InstanceId]) {
        let thaws = thaw.iter().map(|id| (*id, Order::Thaw));
        let freezes = freeze.iter().map(|id| (*id, Order::Freeze));
        self.orders.extend(thaws.chain(freezes));
    }

    pub(super) fn has_orders(&self, id: InstanceId) -> bool {
        self.orders.iter().any(|(of, _)| *of == id)
    }

    /// Carries the oldest order out.
    pub(super) fn obey(&mut self) -> Option<(InstanceId, Order)> {
        let (id, order) = self.orders.pop_front()?;
        let pod = self.pods.get_mut(&id);
        pod.into_iter()
            .for_each(|pod| pod.is_frozen = order == Order::Freeze);
        Some((id, order))
    }

    /// Writes the deletion costs.
    pub(super) fn mark(&mut self) -> Vec<(InstanceId, Marking)> {
        let marks = std::mem::take(&mut self.marks);
        for (id, _) in &marks {
            self.cost -= 1;
            self.pods.entry(*id).and_modify(|pod| pod.cost = self.cost);
        }
        marks
    }
}
