//! Where instances live, and the carrying out of what entrypoints order there.
//!
//! There are two clusters: [`kubernetes`], and processes on this machine ([`local`]). An entrypoint cannot tell them apart.

pub mod kubernetes;
pub mod local;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::StreamExt;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep},
};
use tokio_util::{
    task::TaskTracker,
    time::{DelayQueue, delay_queue},
};

use crate::{
    engine::{BootReport, InstanceId},
    entrypoint::{Entrypoint, Mark, Order},
    instance::Instance,
};

/// What a cluster does for its entrypoints. What it sees there comes back by the methods of [`Entrypoint`].
pub trait Cluster: Clone + Send + Sync + 'static {
    /// Makes the cluster keep [`Entrypoint::replicas`] instances; ends with [`Entrypoint::scaled`].
    fn scale(&self, entrypoint: &Arc<Entrypoint>) -> impl Future<Output = ()> + Send;

    /// Makes these instances the first to go when there are fewer, the last of the list before the others; ends with
    /// [`Entrypoint::marked`].
    fn mark(
        &self,
        entrypoint: &Arc<Entrypoint>,
        instances: Vec<(Mark, String)>,
    ) -> impl Future<Output = ()> + Send;

    /// Begins to stop an instance from running; ends with [`Entrypoint::frozen`], or with [`Entrypoint::broke`] if that cannot be done.
    /// Freezes and thaws of an instance take effect in the order of the calls.
    fn freeze(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, instance: &str);

    /// Begins to let an instance run again; ends with [`Entrypoint::thawed`] or [`Entrypoint::broke`].
    fn thaw(&self, entrypoint: &Arc<Entrypoint>, id: InstanceId, instance: &str);

    /// This activator no longer uses an instance of another owner.
    fn release(
        &self,
        entrypoint: &Arc<Entrypoint>,
        instance: String,
    ) -> impl Future<Output = ()> + Send;

    /// Tells people how a boot ended.
    fn report(&self, entrypoint: &Arc<Entrypoint>, report: &BootReport);
}

/// Carries out orders until the last entrypoint is gone. Writes have a task each, since the engines see to their order.
pub async fn carry_out(
    cluster: impl Cluster,
    mut orders: UnboundedReceiver<(Arc<Entrypoint>, Order)>,
    tasks: TaskTracker,
) {
    let mut timers = Timers::default();
    loop {
        let (entrypoint, order) = tokio::select! {
            ordered = orders.recv() => match ordered {
                Some(ordered) => ordered,
                None => return,
            },
            Some(due) = timers.next() => {
                due.tick();
                continue;
            }
        };
        let cluster = cluster.clone();
        match order {
            Order::Wake(at) => timers.set(&entrypoint, at),
            Order::Permit(boots) => entrypoint.permit(boots),
            Order::Freeze(id, instance) => cluster.freeze(&entrypoint, id, &instance),
            Order::Thaw(id, instance) => cluster.thaw(&entrypoint, id, &instance),
            Order::Report(report) => cluster.report(&entrypoint, &report),
            Order::Dial(id, instance) => {
                let entrypoint = Arc::downgrade(&entrypoint);
                tokio::spawn(async move {
                    if accepts(instance).await
                        && let Some(entrypoint) = entrypoint.upgrade()
                    {
                        entrypoint.accepted(id);
                    }
                });
            }
            Order::Scale => {
                tasks.spawn(async move { cluster.scale(&entrypoint).await });
            }
            Order::Mark(instances) => {
                tasks.spawn(async move { cluster.mark(&entrypoint, instances).await });
            }
            Order::Release(instance) => {
                tasks.spawn(async move { cluster.release(&entrypoint, instance).await });
            }
        }
    }
}

/// The next timer of each entrypoint.
#[derive(Default)]
struct Timers {
    queue: DelayQueue<Weak<Entrypoint>>,
    /// By the address of the entrypoint, which its entry in the queue keeps from being used again.
    keys: HashMap<usize, delay_queue::Key>,
}

impl Timers {
    fn set(&mut self, entrypoint: &Arc<Entrypoint>, at: Instant) {
        let address = Arc::as_ptr(entrypoint).addr();
        match self.keys.get(&address) {
            Some(key) => self.queue.reset_at(key, at),
            None => {
                let key = self.queue.insert_at(Arc::downgrade(entrypoint), at);
                self.keys.insert(address, key);
            }
        }
    }

    /// The next entrypoint that is due; `None` if there is no timer.
    async fn next(&mut self) -> Option<Arc<Entrypoint>> {
        loop {
            let due = self.queue.next().await?.into_inner();
            self.keys.remove(&due.as_ptr().addr());
            if let Some(entrypoint) = due.upgrade() {
                return Some(entrypoint);
            }
        }
    }
}

/// Waits between refused attempts to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));

/// Connects as soon as the instance accepts, for as long as it takes. False if it went away before.
async fn accepts(instance: Weak<Instance>) -> bool {
    let mut wait = RETRY.0;
    while let Some(instance) = instance.upgrade() {
        if instance.try_boot().await {
            return true;
        }
        drop(instance);
        sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
    false
}
