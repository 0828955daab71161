//! What all entrypoints together may have: instances in the cluster and in each namespace, and boots in flight on each pool of nodes.
//!
//! Pure: members say what they have and lack, and are told what they may add. Whoever lacks something stands in line and gets one
//! instance at a time, so that the burst of one does not keep the others out.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use crate::engine::Claim;

/// The most there may be; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Instances in all.
    pub cluster: Option<u32>,
    /// Instances of the Functions of one namespace.
    pub namespace: Option<u32>,
    /// Boots in flight on one pool of nodes: boots share the processors, so that many at once make every one of them slow.
    pub boots: Option<u32>,
}

/// Names a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seat(u64);

/// Who may add how many instances; `M` is how a member is reached.
pub(crate) type Grants<M> = Vec<(M, u32)>;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Budget<M> {
    caps: Caps,
    members: HashMap<Seat, Member<M>>,
    /// Those that lack something, each once.
    line: VecDeque<Seat>,
    instances: u32,
    in_namespace: HashMap<String, u32>,
    boots_on: HashMap<u64, u32>,
    last: u64,
}

#[derive(Debug)]
struct Member<M> {
    this: M,
    namespace: String,
    claim: Claim,
    /// Granted, and not redeemed yet.
    reserved: u32,
    is_in_line: bool,
}

impl<M: Clone> Budget<M> {
    pub(crate) fn new(caps: Caps) -> Self {
        Self {
            caps,
            members: HashMap::new(),
            line: VecDeque::new(),
            instances: 0,
            in_namespace: HashMap::new(),
            boots_on: HashMap::new(),
            last: 0,
        }
    }

    /// One more member, which has nothing.
    pub(crate) fn join(&mut self, this: M, namespace: &str) -> Seat {
        self.last += 1;
        let seat = Seat(self.last);
        let member = Member {
            this,
            namespace: namespace.to_owned(),
            claim: Claim::default(),
            reserved: 0,
            is_in_line: false,
        };
        self.members.insert(seat, member);
        seat
    }

    /// A member is no more.
    pub(crate) fn leave(&mut self, seat: Seat) -> Grants<M> {
        self.change(seat, |member| {
            (member.claim, member.reserved) = (Claim::default(), 0);
        });
        self.members.remove(&seat);
        self.grant()
    }

    /// What a member has and lacks now that so many of its grants are redeemed or given up.
    pub(crate) fn claim(&mut self, seat: Seat, claim: Claim, redeemed: u32) -> Grants<M> {
        self.change(seat, |member| {
            member.claim = claim;
            member.reserved = member.reserved.saturating_sub(redeemed);
        });
        if let Some(member) = self.members.get_mut(&seat)
            && member.lacks() > 0
            && !std::mem::replace(&mut member.is_in_line, true)
        {
            self.line.push_back(seat);
        }
        self.grant()
    }

    /// Hands out the room there is, one instance to each in line by turns.
    fn grant(&mut self) -> Grants<M> {
        let mut granted = HashMap::<Seat, u32>::new();
        let mut passed_over = 0;
        while passed_over < self.line.len() {
            let seat = self.line.pop_front().expect("the line is not empty");
            let Some(member) = self.members.get_mut(&seat) else {
                continue;
            };
            if member.lacks() == 0 {
                member.is_in_line = false;
            } else if self.has_room(seat) {
                self.change(seat, |member| member.reserved += 1);
                *granted.entry(seat).or_default() += 1;
                self.line.push_back(seat);
                passed_over = 0;
            } else {
                self.line.push_back(seat);
                passed_over += 1;
            }
        }
        let reach = |(seat, n): (Seat, u32)| (self.members[&seat].this.clone(), n);
        granted.into_iter().map(reach).collect()
    }

    fn has_room(&self, seat: Seat) -> bool {
        let member = &self.members[&seat];
        let in_namespace = self.in_namespace.get(&member.namespace).copied();
        let boots = self.boots_on.get(&member.claim.pool).copied();
        [
            (self.caps.cluster, self.instances),
            (self.caps.namespace, in_namespace.unwrap_or_default()),
            (self.caps.boots, boots.unwrap_or_default()),
        ]
        .into_iter()
        .all(|(cap, used)| cap.is_none_or(|cap| used < cap))
    }

    /// Changes a member and the sums that it is a part of.
    fn change(&mut self, seat: Seat, change: impl FnOnce(&mut Member<M>)) {
        let Some(member) = self.members.get_mut(&seat) else {
            return;
        };
        let (instances, boots, pool) = (member.instances(), member.boots(), member.claim.pool);
        change(member);
        self.instances = self.instances - instances + member.instances();
        add(
            &mut self.in_namespace,
            &member.namespace,
            member.instances(),
            instances,
        );
        add(&mut self.boots_on, &pool, 0, boots);
        add(&mut self.boots_on, &member.claim.pool, member.boots(), 0);
    }
}

/// Changes one sum; one of nothing leaves no trace.
fn add<K: Clone + Eq + Hash>(sums: &mut HashMap<K, u32>, of: &K, more: u32, less: u32) {
    let sum = sums.get(of).copied().unwrap_or_default() + more - less;
    if sum == 0 {
        sums.remove(of);
    } else if let Some(known) = sums.get_mut(of) {
        *known = sum;
    } else {
        sums.insert(of.clone(), sum);
    }
}

impl<M> Member<M> {
    fn instances(&self) -> u32 {
        self.claim.instances + self.reserved
    }

    fn boots(&self) -> u32 {
        self.claim.boots + self.reserved
    }

    fn lacks(&self) -> u32 {
        self.claim.lacking.saturating_sub(self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(instances: u32, boots: u32, lacking: u32) -> Claim {
        Claim {
            instances,
            boots,
            lacking,
            pool: 0,
        }
    }

    fn sorted(mut grants: Grants<&'static str>) -> Grants<&'static str> {
        grants.sort_unstable();
        grants
    }

    #[test]
    fn without_caps_everything_is_granted_at_once() {
        let mut budget = Budget::new(Caps::default());
        let seat = budget.join("a", "prod");
        assert_eq!(budget.claim(seat, claim(0, 0, 1000), 0), [("a", 1000)]);
        assert_eq!(budget.claim(seat, claim(1000, 1000, 0), 1000), []);
    }

    #[test]
    fn boots_in_flight_are_bounded_on_each_pool_and_taken_by_turns() {
        let caps = Caps {
            boots: Some(3),
            ..Caps::default()
        };
        let mut budget = Budget::new(caps);
        let seats = ["a", "b", "c"].map(|name| budget.join(name, "prod"));
        assert_eq!(budget.claim(seats[0], claim(0, 0, 10), 0), [("a", 3)]);
        assert_eq!(budget.claim(seats[0], claim(3, 3, 7), 3), []);
        assert_eq!(budget.claim(seats[1], claim(0, 0, 5), 0), []);
        // Other nodes have room of their own.
        let elsewhere = Claim {
            pool: 7,
            ..claim(0, 0, 1)
        };
        assert_eq!(budget.claim(seats[2], elsewhere, 0), [("c", 1)]);
        // Two boots end: a was first in line, b is next.
        let grants = budget.claim(seats[0], claim(3, 1, 7), 0);
        assert_eq!(sorted(grants), [("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_full_namespace_does_not_hold_up_another() {
        let caps = Caps {
            namespace: Some(2),
            cluster: Some(3),
            ..Caps::default()
        };
        let mut budget = Budget::new(caps);
        let (a, b) = (budget.join("a", "one"), budget.join("b", "two"));
        assert_eq!(budget.claim(a, claim(0, 0, 5), 0), [("a", 2)]);
        assert_eq!(budget.claim(a, claim(2, 0, 3), 2), []);
        assert_eq!(budget.claim(b, claim(0, 0, 5), 0), [("b", 1)]);
        assert_eq!(budget.claim(b, claim(1, 0, 4), 1), []);
        // One of a's instances goes: a stood in line first.
        assert_eq!(budget.claim(a, claim(1, 0, 4), 0), [("a", 1)]);
        // a is deleted with everything it has.
        assert_eq!(budget.leave(a), [("b", 1)]);
    }

    #[test]
    fn a_grant_that_is_given_up_goes_to_the_next() {
        let caps = Caps {
            cluster: Some(1),
            ..Caps::default()
        };
        let mut budget = Budget::new(caps);
        let (a, b) = (budget.join("a", "prod"), budget.join("b", "prod"));
        assert_eq!(budget.claim(a, claim(0, 0, 1), 0), [("a", 1)]);
        assert_eq!(budget.claim(b, claim(0, 0, 1), 0), []);
        assert_eq!(budget.claim(a, claim(0, 0, 0), 1), [("b", 1)]);
    }
}
