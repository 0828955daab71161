//! New connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
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

/// So much of an answer is given to the system before its client has room for it. Without a bound the system takes megabytes, which
/// count as the activator's memory: some hundred clients that read nothing would have it killed. And who takes a large answer would keep a
/// thread for all of it at once.
const UNSENT: u32 = 64 << 10;

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
                if prepare(&stream).is_ok() {
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

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_nothing_makes_the_system_hold_little_for_it() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let stop = CancellationToken::new();
        let (stream, _) = next(&listener, &stop).await.unwrap();
        let piece = [0; 16 << 10];
        let mut taken = 0;
        stream.writable().await.unwrap();
        while let Ok(length) = stream.try_write(&piece) {
            taken += length;
        }
        // What the client's own system has room for comes on top of it.
        assert!(taken < 1 << 20, "{taken} bytes");
    }
}
