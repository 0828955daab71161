//! A connection on which client and instance have switched to another protocol, such as WebSocket. It is one invocation until it ends.

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, empty, sink, split},
    time::{Instant, sleep_until, timeout},
};

use super::body::{Clocks, Ongoing};
use crate::alarm::Alarm;

/// Read at once.
const PIECE: usize = 16 << 10;
/// Once the instance has ended, a client may take this long to end what it was saying; with `onDisconnect: Cancel`, the other way round too.
const LINGER: Duration = Duration::from_secs(10);

/// Both ends, and what the invocation holds.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) instance: OnUpgrade,
    pub(super) held: Ongoing,
    pub(super) clocks: Clocks,
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
}

impl Tunnel {
    /// Carries bytes both ways until the instance has ended or a clock has run out. The slot is free then, and a stop waits for it.
    pub(super) fn open(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        let Self {
            client,
            instance,
            held,
            clocks,
            request_bytes,
            response_bytes,
        } = self;
        let mut slot = held.slot;
        let (activity, mut deadline) = (Activity::new(), Alarm::default());
        let carried = async {
            let Ok(instance) = instance.await else {
                return false;
            };
            let (from_instance, to_instance) = split(TokioIo::new(instance));
            let (up, down) = (activity.way(&request_bytes), activity.way(&response_bytes));
            let cut = held.is_cut_with_client;
            match client.await {
                Ok(client) => {
                    let (from_client, to_client) = split(TokioIo::new(client));
                    let up = up.carry(from_client, to_instance);
                    both(up, down.carry(from_instance, to_client), cut).await
                }
                // It left before it heard of the switch.
                Err(_) => {
                    let up = up.carry(empty(), to_instance);
                    both(up, down.carry(from_instance, sink()), cut).await
                }
            }
        };
        let has_ended = tokio::select! {
            has_ended = carried => has_ended,
            () = activity.ceases_for(clocks.idle) => false,
            () = deadline.until(clocks.deadline) => false,
        };
        if has_ended {
            slot.finish();
        }
    }
}

/// Whether the instance has ended, and was not cut off.
async fn both(
    up: impl Future<Output = ()>,
    down: impl Future<Output = ()>,
    is_cut_with_client: bool,
) -> bool {
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        () = &mut up => {
            if is_cut_with_client {
                return timeout(LINGER, down).await.is_ok();
            }
            down.await;
        }
        () = &mut down => {
            timeout(LINGER, up).await.ok();
        }
    }
    true
}

/// When a byte was last carried, in either direction.
struct Activity {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn note(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    fn way<'a>(&'a self, bytes: &'a Counter) -> Way<'a> {
        let activity = self;
        Way { activity, bytes }
    }

    /// Waits until nothing was carried for so long.
    async fn ceases_for(&self, idle: Option<Duration>) {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        loop {
            let last = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
            if last.elapsed() >= idle {
                return;
            }
            sleep_until(last + idle).await;
        }
    }
}

/// One direction.
struct Way<'a> {
    activity: &'a Activity,
    bytes: &'a Counter,
}

impl Way<'_> {
    /// Reads to the end and passes the end on. What `to` does not take any more is thrown away: who has left does not end an invocation.
    async fn carry(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut piece = vec![0; PIECE];
        let mut is_taken = true;
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            self.bytes.inc_by(length as u64);
            self.activity.note();
            if is_taken {
                is_taken = to.write_all(&piece[..length]).await.is_ok();
                self.activity.note();
            }
        }
        // Refused only by who has left.
        to.shutdown().await.ok();
    }
}
