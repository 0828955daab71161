//! Which HTTP a connection speaks. Without TLS nothing has been agreed on: an HTTP/2 client begins with words that no HTTP/1 client
//! would send (RFC 9113 §3.4).

use std::{io, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout},
};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a connection began with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) version: Version,
    /// What was read to know it. It has to be read again.
    pub(super) read: Prefix,
    /// When the first byte came.
    pub(super) at: Instant,
}

/// Why a connection got no further.
#[derive(Debug)]
pub(super) enum NoBeginning {
    /// It was silent, or closed, or broke.
    Silent,
    /// A head has begun and did not go on.
    Slow,
}

/// Bytes to be read once more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    bytes: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

impl Prefix {
    /// The next bytes, at most so many.
    pub(super) fn take(&mut self, most: usize) -> &[u8] {
        let from = self.from;
        self.from = self.to.min(from + most);
        &self.bytes[from..self.from]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Reads more. What the version is, once that is certain.
    async fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<Version>> {
        let read = stream.read(&mut self.bytes[self.to..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.to += read;
        let (read, expected) = (&self.bytes[..self.to], &PREFACE[..self.to]);
        if read != expected {
            return Ok(Some(Version::Http1));
        }
        Ok((self.to == PREFACE.len()).then_some(Version::Http2))
    }
}

/// Waits for the first bytes: this long for the first one, and as long again for the others.
pub(super) async fn detect(
    stream: &mut TcpStream,
    patience: Duration,
) -> Result<Beginning, NoBeginning> {
    let mut read = Prefix::default();
    let first = timeout(patience, read.read(stream)).await;
    let mut version = first.map_or(Err(NoBeginning::Silent), |read| Ok(read?))?;
    let at = Instant::now();
    let more = async {
        loop {
            if let Some(version) = version {
                return Ok::<_, io::Error>(version);
            }
            version = read.read(stream).await?;
        }
    };
    match timeout(patience, more).await {
        Ok(version) => Ok(Beginning {
            version: version?,
            read,
            at,
        }),
        Err(_) => Err(NoBeginning::Slow),
    }
}

impl From<io::Error> for NoBeginning {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn begins(pieces: &[&[u8]]) -> (TcpStream, Result<Beginning, NoBeginning>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let mut client = client.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (beginning, ()) =
            tokio::join!(detect(&mut stream, Duration::from_millis(200)), sending);
        (client, beginning)
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_version_and_are_read_again() {
        for (pieces, version) in [
            (vec![&PREFACE[..]], Version::Http2),
            (vec![&PREFACE[..3], &PREFACE[3..]], Version::Http2),
            (vec![b"GET / HTTP/1.1\r\n"], Version::Http1),
            (vec![b"PRI", b" / HTTP/1.1\r\n"], Version::Http1),
            (vec![b"\r\n"], Version::Http1),
        ] {
            let mut beginning = begins(&pieces).await.1.unwrap();
            assert_eq!(beginning.version, version, "{pieces:?}");
            let read = beginning.read.take(100);
            assert!(!read.is_empty() && pieces.concat().starts_with(read));
            assert!(beginning.read.is_empty());
        }
    }

    #[tokio::test]
    async fn a_silent_client_and_a_slow_one_are_told_apart() {
        let (_client, silent) = begins(&[]).await;
        assert!(matches!(silent, Err(NoBeginning::Silent)));
        let (_client, slow) = begins(&[b"PRI *"]).await;
        assert!(matches!(slow, Err(NoBeginning::Slow)));
    }
}
