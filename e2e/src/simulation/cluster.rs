//! A cluster for one function: instances come and go as it is told to, and every request takes its time.
//!
//! What is the same for all algorithms is here: a write takes [`WRITE`], a boot begins with the write's end and takes what its number
//! says, an instance runs one request, and `replicas` is kept as a ReplicaSet does it. Of instances to delete, those that do not
//! serve yet go first, then those of the lowest deletion cost, then idle ones, then the youngest; a busy one ends its request.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{
    arrivals::Function,
    outcome::{Ledger, Outcome},
};

/// From an order to its effect in the API server: of `replicas` and of deletion costs.
pub const WRITE: Duration = Duration::from_millis(10);

/// What happens to an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This request arrives.
    Arrived(usize),
    /// An instance ended a request that it worked on for so long.
    Ended(u64, Duration),
    /// `replicas` is written.
    Scaled(u32),
    /// The deletion costs that were ordered first are written.
    Marked,
    /// An instance was made; it boots.
    Created(u64),
    /// An instance serves.
    Accepts(u64),
    /// An instance takes no more requests.
    Gone(u64),
    /// The time that was asked for.
    Tick,
}

/// What an algorithm wants done.
#[derive(Debug, Default)]
pub struct Orders {
    /// Requests to begin, on these instances.
    pub begin: Vec<(usize, u64)>,
    /// `replicas` to write.
    pub replicas: Option<u32>,
    /// Instances to give a deletion cost, each lower than the one before and than all earlier ones.
    pub mark: Vec<u64>,
    /// When to tick, in place of what was said before.
    pub wake: Option<Duration>,
}

/// What decides about one function.
pub trait Autoscaler {
    /// Takes note of what happened, and says what is to be done.
    fn on(&mut self, event: Event, now: Duration) -> Orders;
}

#[derive(Debug, Default)]
struct Instance {
    serves: bool,
    cost: i64,
    is_busy: bool,
    /// Out of rotation, until its request ends.
    is_leaving: bool,
}

/// See the module documentation.
pub struct Cluster<'a> {
    function: &'a Function,
    /// What is to come, by time, and at one time in the order of asking.
    agenda: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    instances: BTreeMap<u64, Instance>,
    /// As ordered last.
    replicas: u32,
    created: u64,
    /// Deletion costs under way.
    marks: std::collections::VecDeque<Vec<u64>>,
    lowest_cost: i64,
    ledger: Ledger,
}

impl<'a> Cluster<'a> {
    /// A cluster without instances. What happens before `measured_from` is not counted.
    pub fn new(function: &'a Function, measured_from: Duration) -> Self {
        let mut cluster = Self {
            function,
            agenda: BTreeMap::new(),
            planned: 0,
            instances: BTreeMap::new(),
            replicas: 0,
            created: 0,
            marks: Default::default(),
            lowest_cost: 0,
            ledger: Ledger::new(measured_from),
        };
        for (n, request) in function.requests.iter().enumerate() {
            cluster.plan(request.at, Event::Arrived(n));
        }
        cluster
    }

    /// Plays until nothing is to come.
    pub fn play(mut self, mut autoscaler: impl Autoscaler) -> Outcome {
        let mut wake: Option<Duration> = None;
        let mut now = Duration::ZERO;
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            // At one time a tick comes last: what happens may make it needless.
            let event = match (next, wake) {
                (None, None) => break,
                (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                    now = at;
                    self.agenda.pop_first().expect("it has a first").1
                }
                (_, wake) => {
                    now = wake.map_or(now, |wake| wake.max(now));
                    Event::Tick
                }
            };
            self.ledger.pass(now);
            if !self.happen(event, now) {
                continue;
            }
            let orders = autoscaler.on(event, now);
            wake = orders.wake;
            self.carry_out(orders, now);
            self.ledger.compare();
        }
        self.ledger.close()
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), event);
    }

    /// What an event does to the cluster. Whether the algorithm hears of it.
    fn happen(&mut self, event: Event, now: Duration) -> bool {
        match event {
            Event::Arrived(_) => self.ledger.arrived(),
            Event::Ended(id, _) => self.end(id),
            Event::Scaled(_) => self.keep_replicas(now),
            Event::Marked => self.set_costs(),
            Event::Accepts(id) => {
                let Some(instance) = self.instances.get_mut(&id) else {
                    return false;
                };
                instance.serves = true;
                self.ledger.serves();
            }
            Event::Created(_) | Event::Gone(_) | Event::Tick => {}
        }
        true
    }

    fn end(&mut self, id: u64) {
        self.ledger.ended();
        let instance = self.instances.get_mut(&id).expect("a busy one is kept");
        instance.is_busy = false;
        if instance.is_leaving {
            self.remove(id);
        }
    }

    fn set_costs(&mut self) {
        for id in self.marks.pop_front().unwrap_or_default() {
            self.lowest_cost -= 1;
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.cost = self.lowest_cost;
            }
        }
    }

    fn keep_replicas(&mut self, now: Duration) {
        let present = self.instances.values().filter(|i| !i.is_leaving).count();
        let replicas = self.replicas as usize;
        for _ in present..replicas {
            self.create(now);
        }
        for _ in replicas..present {
            self.delete_one(now);
        }
    }

    fn create(&mut self, now: Duration) {
        let (id, boot) = (self.created, self.function.nth_boot(self.created));
        self.created += 1;
        self.instances.insert(id, Instance::default());
        self.ledger.created();
        self.plan(now, Event::Created(id));
        self.plan(now + boot, Event::Accepts(id));
    }

    fn delete_one(&mut self, now: Duration) {
        let present = self.instances.iter_mut().filter(|(_, i)| !i.is_leaving);
        let first = present.min_by_key(|(id, i)| (i.serves, i.cost, i.is_busy, Reverse(**id)));
        let Some((id, instance)) = first else { return };
        let id = *id;
        if instance.is_busy {
            instance.is_leaving = true;
        } else {
            self.remove(id);
        }
        self.plan(now, Event::Gone(id));
    }

    fn remove(&mut self, id: u64) {
        if let Some(instance) = self.instances.remove(&id) {
            self.ledger.gone(instance.serves);
        }
    }

    fn carry_out(&mut self, orders: Orders, now: Duration) {
        let Orders {
            begin,
            replicas,
            mark,
            wake: _,
        } = orders;
        for (request, id) in begin {
            self.begin(request, id, now);
        }
        if !mark.is_empty() {
            self.marks.push_back(mark);
            self.plan(now + WRITE, Event::Marked);
        }
        if let Some(replicas) = replicas {
            self.replicas = replicas;
            self.plan(now + WRITE, Event::Scaled(replicas));
        }
    }

    fn begin(&mut self, request: usize, id: u64, now: Duration) {
        let instance = self.instances.get_mut(&id).expect("it has not gone");
        assert!(
            instance.serves && !instance.is_busy && !instance.is_leaving,
            "instance {id} is given a request while it is {instance:?}"
        );
        instance.is_busy = true;
        let request = self.function.requests[request];
        self.ledger.began(request.at, request.work);
        self.plan(now + request.work, Event::Ended(id, request.work));
    }
}
