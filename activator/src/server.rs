//! Sockets: requests come in at the doors, probes and scrapes at a listener of their own.
//!
//! A door accepts connections, as many as there may be. What happens on one is in `connection`; the rest is what clients could do
//! to a server that trusts them:
//! - `version`: they begin and say nothing
//! - `io`, with `backlog`, `http1`, `http2`, `interims` and `phase`: they send slowly, read slowly, or send what is no request
//! - `streams`: they read all but one of many answers
//! - `connections`, `descriptors`: there are too many of them
//! - `farewell`: how they hear about it

mod accept;
mod admin;
mod backlog;
mod connection;
mod connections;
pub mod descriptors;
mod farewell;
mod frames;
mod http1;
mod http2;
mod interims;
mod io;
mod phase;
mod streams;
mod version;

use std::sync::{Arc, atomic::AtomicBool};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    proxy::{Peer, Proxy, answer::Failure},
    settings::Edge,
};
use connection::{ClientConnection, Protocols};
use connections::Connections;

pub use accept::listen;
pub use admin::admin;
pub(crate) use phase::Line;

/// So many clients may be told at once that there is no room for them; more are not told.
const TOLD: usize = 64;

/// A client that takes less than this of an answer that is there, in the time that it has for that, is cut: with the default of a minute
/// it may be about as slow to read as it may be to send. Somebody who takes a byte a minute would hold an instance for days.
const LEAST: usize = 16 << 10;

/// What the probes ask for.
#[derive(Debug, Default)]
pub struct Health {
    /// Every watch has listed once.
    pub is_synced: AtomicBool,
    /// SIGTERM came.
    pub is_draining: AtomicBool,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For everybody: behind the ingress controller.
    Public,
    /// For callers inside the cluster, who may also call Functions with `visibility: Cluster`.
    Internal,
}

/// What all doors share.
#[derive(Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    health: Arc<Health>,
    settings: Edge,
    protocols: Protocols,
    connections: Arc<Connections>,
    /// Connections that Thaw ends with words of its own.
    farewells: TaskTracker,
}

impl Server {
    /// A server without doors.
    pub fn new(proxy: Arc<Proxy>, health: Arc<Health>, settings: Edge) -> Arc<Self> {
        let most = descriptors::connections(settings.max_connections);
        Arc::new(Self {
            proxy,
            health,
            protocols: Protocols::new(&settings),
            settings,
            connections: Arc::new(Connections::new(most)),
            farewells: TaskTracker::new(),
        })
    }

    /// Accepts requests at this door until `stop`, and then waits for those that were accepted.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        door: Door,
        stop: CancellationToken,
    ) {
        let open = TaskTracker::new();
        while let Some((stream, peer)) = accept::next(&listener, &stop).await {
            let Some(place) = self.connections.admit(stop.child_token()) else {
                self.turn_away(stream);
                continue;
            };
            let connection = ClientConnection {
                peer: Peer::new(peer, self.proxy.trusted.trust(peer)),
                server: self.clone(),
                door,
                phase: place.phase.clone(),
                stop: stop.clone(),
            };
            open.spawn(connection.serve(stream, place));
        }
        drop(listener);
        open.close();
        open.wait().await;
        self.farewells.close();
        self.farewells.wait().await;
    }

    fn turn_away(&self, stream: TcpStream) {
        let failure = Failure::TooManyConnections;
        self.proxy.metrics.rejected(None, failure.code());
        if self.farewells.len() < TOLD {
            let words = farewell::http1(&failure);
            self.farewells.spawn(farewell::say(stream, words));
        }
    }
}
