//! New connections.

use std::{io, net::IpAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept: out of file descriptors it would fail again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// The next connection; `None` after `stop`. `make_room` is called when there are no file descriptors left.
pub(super) async fn next(
    listener: &TcpListener,
    stop: &CancellationToken,
    make_room: impl Fn(),
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
                if is_out_of_descriptors(&error) {
                    make_room();
                }
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let out = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let code = error.raw_os_error();
    out.iter().any(|errno| code == Some(errno.raw_os_error()))
}
