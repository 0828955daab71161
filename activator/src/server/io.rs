//! The socket of a connection with its clocks: it is what hyper reads and writes.
//!
//! - A head takes at most as long as a head may take.
//! - A connection without requests is closed after a while.
//! - A client that takes nothing of what is written for long, or next to nothing, is cut.
//! - A client that floods is not read for a while, and then told to leave.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::{
    Server,
    backlog::Backlog,
    connections::Place,
    farewell, http1,
    http2::{self, Flood},
    version::{Beginning, Prefix, Version},
};
use crate::{alarm::Alarm, proxy::answer::Failure};

/// A client that floods is not read for so long before it is told to leave. It would be back at once, and a new connection costs more than
/// what it may send on one. A proxy that has the requests of others on the connection gets the answers that are there by then.
const TARPIT: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Io {
    /// Taken away when Thaw ends the connection with words of its own. Then it reads as closed, and what is written is lost.
    open: Option<(TcpStream, Place)>,
    prefix: Prefix,
    watch: Watch,
    server: Arc<Server>,
    /// The head that is being read, and since when.
    head: Option<(u32, Instant)>,
    /// Since when it floods.
    flood: Option<Instant>,
    reading: Alarm,
    backlog: Backlog,
    writing: Alarm,
    /// What an instance said before its answer, as far as it is not written. Nothing else is written before it is.
    saying: Bytes,
}

#[derive(Debug)]
enum Watch {
    Http1(http1::Watch),
    Http2(http2::Watch),
}

impl Watch {
    fn open_head(&self) -> Option<u32> {
        match self {
            Self::Http1(watch) => watch.open_head(),
            Self::Http2(watch) => watch.open_head(),
        }
    }
}

impl Io {
    pub(super) fn new(
        stream: TcpStream,
        place: Place,
        beginning: Beginning,
        server: Arc<Server>,
    ) -> Self {
        let watch = match beginning.version {
            Version::Http1 => Watch::Http1(http1::Watch::new(place.phase.clone())),
            Version::Http2 => Watch::Http2(http2::Watch::new(server.settings.max_control_frames)),
        };
        Self {
            open: Some((stream, place)),
            prefix: beginning.read,
            watch,
            server,
            head: Some((0, beginning.at)),
            flood: None,
            reading: Alarm::default(),
            backlog: Backlog::default(),
            writing: Alarm::default(),
            saying: Bytes::new(),
        }
    }

    /// Ends the connection with these words.
    fn leave(&mut self, words: Bytes) {
        if let Some((stream, place)) = self.open.take() {
            self.server.farewells.spawn(async move {
                farewell::say(stream, words).await;
                drop(place);
            });
        }
    }

    fn refuse(&mut self, failure: &Failure) {
        self.server.proxy.metrics.rejected(None, failure.code());
        self.leave(farewell::http1(failure));
    }

    /// Nothing has come, or nothing is read any more. Ready when the connection is over.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, Place { phase, .. })) = &self.open else {
            return Poll::Ready(());
        };
        if let Some(since) = self.flood {
            ready!(self.reading.poll(since + TARPIT, cx));
            self.give_up();
            return Poll::Ready(());
        }
        if phase.is_tunnel() {
            return Poll::Pending;
        }
        let settings = &self.server.settings;
        let head = self.watch.open_head();
        self.head = head.map(|head| match self.head {
            Some((known, since)) if known == head => (head, since),
            _ => (head, Instant::now()),
        });
        if let Some((_, since)) = self.head {
            let deadline = since + *settings.header_timeout;
            ready!(self.reading.poll(deadline, cx));
            self.give_up();
            return Poll::Ready(());
        }
        let keep_alive: Duration = *settings.keep_alive;
        if phase.is_between_requests() {
            ready!(self.reading.poll(phase.since() + keep_alive, cx));
            phase.close.cancel();
        } else {
            // The last request may end without anybody reading again. To look now and then is enough.
            self.reading.wake_within(keep_alive, cx);
        }
        Poll::Pending
    }

    /// The client does not get to its next request.
    fn give_up(&mut self) {
        match &self.watch {
            Watch::Http1(_) => self.refuse(&farewell::LATE_HEAD),
            Watch::Http2(watch) => {
                let words = watch.last_words();
                self.leave(words);
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        match &mut self.watch {
            Watch::Http1(watch) => watch.read(bytes),
            Watch::Http2(watch) => {
                if watch.read(bytes) == Err(Flood) {
                    tracing::debug!("a client floods its connection with control frames");
                    self.flood = Some(Instant::now());
                }
            }
        }
    }

    /// Nothing could be written. Fails when that has been so for too long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let deadline = self.backlog.since() + *self.server.settings.write_timeout;
        self.writing.poll(deadline, cx).map(|()| {
            tracing::debug!("a client takes nothing of its answer, or next to nothing");
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    /// The client has taken so much.
    fn took(&mut self, bytes: usize) {
        self.backlog.took(bytes);
        // What a tunnel carries has no end that would say that all of it was taken.
        if let Some((_, place)) = &self.open
            && place.phase.is_tunnel()
        {
            self.backlog.clear();
        }
    }

    fn wrote(&mut self, bufs: &[IoSlice<'_>], mut written: usize) {
        self.took(written);
        match &mut self.watch {
            Watch::Http1(watch) => watch.wrote(),
            Watch::Http2(watch) => {
                for buf in bufs {
                    let part = written.min(buf.len());
                    watch.wrote(&buf[..part]);
                    written -= part;
                }
            }
        }
    }

    /// Writes what is to be said before an answer.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.saying.is_empty()
            && let Some((stream, _)) = &mut self.open
        {
            match Pin::new(stream).poll_write(cx, &self.saying) {
                Poll::Ready(written) => {
                    let written = written?;
                    self.saying.advance(written);
                    self.took(written);
                }
                Poll::Pending => return self.poll_stuck(cx).map_ok(|_| ()),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.open.is_none() || self.flood.is_some() {
            return self.poll_clock(cx).map(Ok);
        }
        let before = buf.filled().len();
        if !self.prefix.is_empty() {
            let most = buf.remaining();
            buf.put_slice(self.prefix.take(most));
        }
        // What follows the prefix comes with it: for a head that needs a second read hyper takes a buffer of twice the size.
        let has_prefix = buf.filled().len() > before;
        if let Some((stream, _)) = &mut self.open {
            match Pin::new(stream).poll_read(cx, buf) {
                // It is there at the next read as well.
                Poll::Ready(Err(_)) | Poll::Pending if has_prefix => {}
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if let Watch::Http2(watch) = &mut self.watch {
                        watch.read_all();
                    }
                    return self.poll_clock(cx).map(Ok);
                }
            }
        }
        self.heard(&buf.filled()[before..]);
        if self.flood.is_some() {
            buf.set_filled(before);
            return self.poll_clock(cx).map(Ok);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Watch::Http1(watch) = &self.watch
            && let Some(failure) = bufs.first().and_then(|buf| watch.hypers_own(buf))
        {
            self.refuse(&failure);
        }
        if self.saying.is_empty()
            && let Watch::Http1(watch) = &self.watch
        {
            self.saying = watch.goes_before().unwrap_or_default().into();
        }
        ready!(self.poll_say(cx))?;
        // h2 does not read while it cannot write.
        let is_over = self.flood.is_some() && self.poll_clock(cx).is_ready();
        let Some((stream, _)) = self.open.as_mut().filter(|_| !is_over) else {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        };
        match Pin::new(stream).poll_write_vectored(cx, bufs) {
            Poll::Ready(Ok(written)) => {
                self.wrote(bufs, written);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stuck(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper and h2 flush when they have written all they had, and a socket keeps nothing back.
        ready!(self.poll_say(cx))?;
        self.backlog.clear();
        match &mut self.watch {
            Watch::Http1(watch) => {
                self.saying = watch.flushed(cx.waker()).unwrap_or_default().into();
                return self.poll_say(cx);
            }
            Watch::Http2(watch) => watch.flushed(),
        }
        if let Some((_, place)) = &self.open {
            place.phase.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.open {
            Some((stream, place)) if place.phase.is_tunnel() => Pin::new(stream).poll_shutdown(cx),
            _ => {
                // What a client still sends must not cost it the end of its answer.
                self.leave(Bytes::new());
                Poll::Ready(Ok(()))
            }
        }
    }
}
