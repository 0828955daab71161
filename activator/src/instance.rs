//! Connections to one instance.
//!
//! Connections are kept here and not in a pooled client: hyper's pooled client loses a request whose connection failed, while
//! `try_send_request` gives it back unread.

mod connection;
mod deadlines;
mod kept;
mod tail;

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::proxy::{body::Ongoing, upload::InstanceRequest};
pub use connection::{Address, Connection};
pub(crate) use deadlines::{Deadlines, Watched};
pub(crate) use kept::Taken;
pub use tail::Tail;

/// A kept connection older than this is not used: common servers close idle ones after 2 s (gunicorn) or 5 s (Node.js), and a request
/// that crosses such a close on the wire is lost.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// How an instance came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booted {
    pub(crate) took: Duration,
    pub(crate) at: Instant,
    /// What the time went into; the last is all of it.
    pub(crate) stages: [(&'static str, Duration); 5],
}

/// One instance of an entrypoint revision.
#[derive(Debug)]
pub struct Instance {
    /// Name of the pod.
    pub name: String,
    address: OnceLock<Address>,
    kept: Mutex<Vec<Connection>>,
    /// Of answers that are under way.
    pub(crate) deadlines: Deadlines<Ongoing>,
    /// For the answer to its first invocation. Unset if it was there before this process.
    pub(crate) boot: OnceLock<Booted>,
    invocations: AtomicU64,
    running: AtomicU32,
    /// What it wrote last, where that can be known.
    tail: OnceLock<Arc<Tail>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No byte of it was sent, or the instance says that it has not begun with it; it may be sent to another instance.
    #[error("connect to instance {instance}: {source}")]
    Unreached {
        /// Name of the pod.
        instance: String,
        /// What the network said.
        source: io::Error,
        /// The request, unread.
        request: Box<InstanceRequest>,
    },
    /// The instance may have seen it.
    #[error("instance broke off: {0}")]
    Broken(#[from] hyper::Error),
}

impl Instance {
    /// An instance that has no address yet.
    pub fn new(name: String) -> Self {
        Self {
            name,
            address: OnceLock::new(),
            kept: Mutex::default(),
            deadlines: Deadlines::default(),
            boot: OnceLock::new(),
            invocations: AtomicU64::new(0),
            running: AtomicU32::new(0),
            tail: OnceLock::new(),
        }
    }

    /// Where it listens; the first word counts, since a pod keeps its address. True if this is news.
    pub(crate) fn locate(&self, address: Address) -> bool {
        self.address.set(address).is_ok()
    }

    /// Where what it writes is kept.
    pub(crate) fn writes_to(&self, tail: Arc<Tail>) {
        // Once: it has one output.
        self.tail.set(tail).ok();
    }

    /// What it wrote before it broke off; nothing where that cannot be known.
    pub(crate) async fn last_words(&self) -> Option<String> {
        self.tail.get()?.last_words().await
    }

    pub(crate) fn is_located(&self) -> bool {
        self.address.get().is_some()
    }

    /// Where it listens, once that is known.
    pub(crate) fn address(&self) -> Option<Address> {
        self.address.get().copied()
    }

    /// Counts an invocation in; true for the first one. The count of those running at once comes back with it.
    pub(crate) fn enter(&self) -> (bool, u32) {
        let first = self.invocations.fetch_add(1, Ordering::Relaxed) == 0;
        (first, self.running.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The one that was counted in last has not begun: the next one is the first in its place.
    pub(crate) fn forget_entry(&self) {
        self.invocations.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an invocation out.
    pub(crate) fn leave(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tries to connect; true if the instance accepts. The connection is kept for the first request.
    pub(crate) async fn try_boot(&self) -> bool {
        let connected = self.connect(connection::BOOTING).await;
        connected.map(|connection| self.keep(connection)).is_ok()
    }

    /// Closes the kept connections.
    pub(crate) fn drop_connections(&self) {
        let mut kept = self.kept.lock().expect("nothing panics under this lock");
        kept.clear();
    }

    /// Sends one request, over a kept connection if there is a fresh one. The connection comes back with the answer, to be
    /// [kept](Self::keep) when the answer's body has ended.
    ///
    /// # Errors
    /// [`SendError::Unreached`] promises that the instance has not begun with it.
    pub(crate) async fn send(
        self: Arc<Self>,
        mut request: Box<InstanceRequest>,
    ) -> Result<(Response<Incoming>, Connection), SendError> {
        while let Some(mut connection) = self.take_kept() {
            if !connection.is_ready().await {
                continue;
            }
            match connection.send(*request).await {
                Ok(response) => return Ok((response, connection)),
                Err(failed) => match failed.request {
                    Some(unread) => *request = unread,
                    None => return Err(failed.error.into()),
                },
            }
        }
        // In a box, since it is rare and would make every request's future larger.
        let mut connection = match Box::pin(self.connect(connection::SERVING)).await {
            Ok(connection) => connection,
            Err(source) => return Err(self.unreached(source, request)),
        };
        match connection.send(*request).await {
            Ok(response) => Ok((response, connection)),
            Err(failed) => Err(match failed.request {
                Some(unread) => self.unreached(io::Error::other(failed.error), Box::new(unread)),
                None => failed.error.into(),
            }),
        }
    }

    fn unreached(&self, source: io::Error, request: Box<InstanceRequest>) -> SendError {
        SendError::Unreached {
            instance: self.name.clone(),
            source,
            request,
        }
    }

    /// Keeps a connection whose answer has ended.
    pub(crate) fn keep(&self, mut connection: Connection) {
        if !connection.is_closed() {
            connection.rest();
            self.kept
                .lock()
                .expect("nothing panics under this lock")
                .push(connection);
        }
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().expect("nothing panics under this lock");
        let newest = kept.pop()?;
        if newest.rests_for() < KEPT_FOR {
            return Some(newest);
        }
        kept.clear();
        None
    }

    async fn connect(&self, longest: Duration) -> io::Result<Connection> {
        let address = *self.address.get().ok_or(io::ErrorKind::NotConnected)?;
        Connection::open(address, longest).await
    }
}
