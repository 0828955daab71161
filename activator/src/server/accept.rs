//! New connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept: out of file descriptors it would fail again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// So many connections may wait to be accepted; the system may hold fewer (`net.core.somaxconn`). A burst beyond that loses its first
/// packets and comes a second later.
const WAITING: u32 = 4096;

/// Listens, with room for a burst: what the standard library asks for is 128.
///
/// # Errors
/// What the system says about the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// The next connection; `None` after `stop`.
pub(super) async fn next(
    listener: &TcpListener,
    stop: &CancellationToken,
) -> Option<(TcpStream, IpAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                if stream.set_nodelay(true).is_ok() {
                    return Some((stream, peer.ip().to_canonical()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}
