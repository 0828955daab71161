//! The shell under many schedules: `cargo test -p activator --features shuttle --lib interleavings`.
//!
//! Shuttle runs each story on threads of its own making and decides at every lock who goes on. A lost wake-up is a deadlock, which it
//! reports; a slot that two have, or that nobody gives back, is found by the checks here. A failure prints the schedule that
//! `shuttle::replay` plays again.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crds::function::Burst;
use futures::FutureExt;
use shuttle::{future::block_on, thread};
use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::*;
use crate::{
    budget::Caps,
    held::Limits,
    metrics::{Meter, Metrics},
};

/// Schedules for each story; `THAW_SCHEDULES` asks for more.
const SCHEDULES: usize = 1_000;

/// The cluster may go on this often before everything must be at rest.
const LOOKS: usize = 100;

/// What a client does with its slot.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// The answer ends.
    Finish,
    /// The exchange is aborted: the slot is dropped unfinished.
    Abort,
    /// The connection is upgraded: another task holds the slot and ends it.
    Upgrade,
    /// It leaves after its first look, whether it waits or has a slot.
    Leave,
}

/// Something that happens to an instance.
#[derive(Clone, Copy, Debug)]
enum Death {
    Crash,
    Eviction,
}

/// Tells a story under many schedules.
fn under_many_schedules(caps: Caps, max: u32, uses: &'static [Use], deaths: &'static [Death]) {
    let more = std::env::var("THAW_SCHEDULES").ok();
    let schedules = more.map_or(SCHEDULES, |n| n.parse().expect("a number of schedules"));
    // For its clock alone, which goes on when a timer is waited for.
    let clock = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let clock = clock.expect("a runtime");
    let _entered = clock.enter();
    shuttle::check_random(move || tell(caps, max, uses, deaths), schedules);
    shuttle::check_pct(move || tell(caps, max, uses, deaths), schedules, 3);
}

fn tell(caps: Caps, max: u32, uses: &[Use], deaths: &[Death]) {
    let (sender, orders) = unbounded_channel();
    let budget = SharedBudget::new(caps);
    let entrypoint = entrypoint(max, sender, &budget);
    entrypoint.own(Takeover::Released);
    entrypoint.observed(Some(0));
    let inside = Arc::new(Inside::default());
    let pods = Arc::new(Mutex::new(Pods::default()));
    let cluster = {
        let (pods, inside) = (pods.clone(), inside.clone());
        thread::spawn(move || block_on(follow(orders, &pods, &inside)))
    };
    let clients: Vec<_> = uses
        .iter()
        .map(|use_| {
            let (entrypoint, inside, use_) = (entrypoint.clone(), inside.clone(), *use_);
            thread::spawn(move || client(&entrypoint, use_, &inside))
        })
        .collect();
    let deaths: Vec<_> = deaths
        .iter()
        .map(|death| {
            let (entrypoint, pods, death) = (entrypoint.clone(), pods.clone(), *death);
            thread::spawn(move || strike(&entrypoint, &pods, death))
        })
        .collect();
    for thread in clients.into_iter().chain(deaths) {
        thread.join().expect("a client keeps its promises");
    }
    // A slot for somebody who has left may still be on its way back.
    for _ in 0..LOOKS {
        thread::yield_now();
    }
    let (waiting, running, _) = entrypoint.census();
    assert_eq!(
        (waiting, running),
        (0, 0),
        "every slot came back and nobody waits"
    );
    drop(entrypoint);
    cluster.join().expect("the cluster keeps its promises");
}

fn entrypoint(max: u32, orders: Orders, budget: &SharedBudget) -> Arc<Entrypoint> {
    let key = Key {
        namespace: "prod".to_owned(),
        function: "shop".to_owned(),
        entrypoint: "web".to_owned(),
        revision: "r1".to_owned(),
    };
    let settings = Settings {
        min: 0,
        max,
        concurrency: 1,
        burst: Burst::PerRequest,
        idle_after: Duration::from_secs(1),
        freeze_after: Some(Duration::ZERO),
        queue: 10,
        queue_timeout: None,
        boot_timeout: None,
        suspect_for: Duration::ZERO,
        pool: 0,
    };
    let meter = Meter::new(&Arc::new(Metrics::default()), &key, 1);
    let held = Held::new(Limits::default());
    Entrypoint::new(key, settings, orders, budget.clone(), held, meter)
}

/// Requests inside each instance, and which are frozen.
#[derive(Debug, Default)]
struct Inside {
    requests: std::sync::Mutex<HashMap<InstanceId, AtomicU32>>,
    frozen: std::sync::Mutex<HashSet<InstanceId>>,
}

impl Inside {
    fn change(&self, id: InstanceId, change: impl FnOnce(&AtomicU32) -> u32) -> u32 {
        let mut requests = self
            .requests
            .lock()
            .expect("nothing panics under this lock");
        change(requests.entry(id).or_default())
    }

    fn freeze(&self, id: InstanceId) {
        let requests = self.change(id, |inside| inside.load(Ordering::Relaxed));
        assert_eq!(requests, 0, "{id:?} is frozen while it runs something");
        self.frozen().insert(id);
    }

    fn frozen(&self) -> std::sync::MutexGuard<'_, HashSet<InstanceId>> {
        self.frozen.lock().expect("nothing panics under this lock")
    }

    /// One request, and nobody else's, for as long as the slot is held.
    fn visit(&self, id: InstanceId) {
        let others = self.change(id, |inside| inside.fetch_add(1, Ordering::Relaxed));
        assert_eq!(others, 0, "{id:?} runs two invocations");
        assert!(!self.frozen().contains(&id), "{id:?} does not run");
        thread::yield_now();
        self.change(id, |inside| inside.fetch_sub(1, Ordering::Relaxed));
    }
}

fn client(entrypoint: &Arc<Entrypoint>, use_: Use, inside: &Arc<Inside>) {
    if let Use::Leave = use_ {
        let mut admission = Box::pin(entrypoint.admit());
        if let Some(Ok(mut slot)) = (&mut admission).now_or_never() {
            inside.visit(slot.id);
            slot.finish();
        }
        // Meanwhile a slot may come.
        thread::yield_now();
        return;
    }
    let mut slot = match block_on(entrypoint.admit()) {
        Ok(slot) => slot,
        // Its instance died while it booted.
        Err(Refusal::BootFailed(_)) => return,
        Err(refusal) => panic!("{refusal:?}"),
    };
    match use_ {
        Use::Finish => {
            inside.visit(slot.id);
            slot.finish();
        }
        Use::Upgrade => {
            let inside = inside.clone();
            let tunnel = thread::spawn(move || {
                inside.visit(slot.id);
                slot.finish();
            });
            tunnel.join().expect("a tunnel ends");
        }
        Use::Abort => {
            inside.visit(slot.id);
            drop(slot);
        }
        Use::Leave => unreachable!("it has left"),
    }
}

/// The first instance dies, at whatever moment this thread is run.
fn strike(entrypoint: &Entrypoint, pods: &Mutex<Pods>, death: Death) {
    match death {
        Death::Crash => {
            let failure = BootFailure {
                reason: "Exited".to_owned(),
                message: "exit status 1".to_owned(),
            };
            entrypoint.broke(InstanceId(1), failure);
        }
        Death::Eviction => {
            let mut pods = pods.lock().expect("nothing panics under this lock");
            pods.alive.retain(|uid| *uid != 1);
            entrypoint.gone("1");
            pods.reconcile(entrypoint);
        }
    }
}

/// A cluster does what is ordered, in its own time.
async fn follow(
    mut orders: UnboundedReceiver<(Arc<Entrypoint>, Order)>,
    pods: &Mutex<Pods>,
    inside: &Inside,
) {
    while let Some((entrypoint, order)) = orders.recv().await {
        match order {
            Order::Scale | Order::Mark(_) => {
                let mut pods = pods.lock().expect("nothing panics under this lock");
                pods.write(&entrypoint, order);
            }
            Order::Freeze(id, _) => {
                inside.freeze(id);
                entrypoint.frozen(id);
            }
            Order::Thaw(id, _) => {
                inside.frozen().remove(&id);
                entrypoint.thawed(id);
            }
            Order::Permit(boots) => entrypoint.permit(boots),
            Order::Wake(at) => {
                let rest = at.saturating_duration_since(Instant::now());
                tokio::time::advance(rest).now_or_never();
                entrypoint.tick();
            }
            Order::Dial(id, _) => entrypoint.accepted(id),
            Order::Release(_) | Order::Report(_) => {}
        }
    }
}

/// What a ReplicaSet keeps.
#[derive(Default)]
struct Pods {
    replicas: u32,
    /// By UID, the next to go last.
    alive: Vec<u64>,
    made: u64,
}

impl Pods {
    fn write(&mut self, entrypoint: &Entrypoint, order: Order) {
        if let Order::Mark(marks) = order {
            let marks: Vec<_> = marks.into_iter().map(|(mark, _)| mark).collect();
            for (id, _) in &marks {
                self.alive.sort_by_key(|uid| *uid == id.0);
            }
            return entrypoint.marked(&marks);
        }
        self.replicas = entrypoint.replicas();
        entrypoint.scaled(Some(self.replicas));
        self.reconcile(entrypoint);
    }

    fn reconcile(&mut self, entrypoint: &Entrypoint) {
        while self.alive.len() > self.replicas as usize {
            let uid = self.alive.pop().expect("more than none");
            entrypoint.gone(&uid.to_string());
        }
        while self.alive.len() < self.replicas as usize {
            self.made += 1;
            self.alive.push(self.made);
            let id = entrypoint.seen(&self.made.to_string(), "pod", false, 0);
            entrypoint.located(id, SocketAddr::from(([127, 0, 0, 1], 1)).into());
        }
    }
}

#[test]
fn a_slot_is_given_back_once_however_an_invocation_ends() {
    under_many_schedules(
        Caps::default(),
        2,
        &[Use::Finish, Use::Abort, Use::Upgrade],
        &[],
    );
}

#[test]
fn who_leaves_takes_no_slot_along() {
    under_many_schedules(
        Caps::default(),
        1,
        &[Use::Finish, Use::Leave, Use::Leave, Use::Finish],
        &[],
    );
}

#[test]
fn the_death_of_an_instance_loses_nobody() {
    under_many_schedules(
        Caps::default(),
        2,
        &[Use::Finish, Use::Upgrade, Use::Leave],
        &[Death::Crash],
    );
    under_many_schedules(
        Caps::default(),
        2,
        &[Use::Finish, Use::Abort, Use::Finish],
        &[Death::Eviction],
    );
}

#[test]
fn entrypoints_that_share_a_bound_all_get_their_turn() {
    let caps = Caps {
        boots: Some(1),
        ..Caps::default()
    };
    under_many_schedules(
        caps,
        3,
        &[Use::Finish, Use::Abort, Use::Leave, Use::Finish],
        &[],
    );
}
