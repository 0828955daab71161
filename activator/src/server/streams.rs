//! Streams of HTTP/2, each with a clock for its client.
//!
//! A client that opens no window for a stream takes nothing of its answer, while its connection may be as lively as ever: the clock of
//! the socket does not see it. hyper asks for the next piece of an answer when there is room for the last one, and is not to be asked where
//! it waits: so the task of a stream watches how long that is.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use hyper::{
    body::{Bytes, Frame},
    rt::Executor,
};
use tokio::{task_local, time::Instant};

use super::LEAST;
use crate::alarm::Alarm;

task_local! {
    static TAKING: Arc<Taking>;
}

/// Runs the streams of connections.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// A client may take this long for a piece.
    pub(super) patience: Duration,
}

impl<S> Executor<S> for Streams
where
    S: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: S) {
        // Ends with its connection.
        tokio::spawn(watched(stream, self.patience));
    }
}

/// Runs a stream for as long as its client takes what it is given. Dropped, it is reset.
async fn watched(stream: impl Future, patience: Duration) {
    let taking = Arc::new(Taking::default());
    tokio::select! {
        // First, so that the clock sees what became of it.
        biased;
        _ = TAKING.scope(taking.clone(), stream) => {}
        () = taking.lasts_longer_than(patience) => tracing::debug!("a client takes nothing of a stream"),
    }
}

/// Since when a piece waits for its client.
#[derive(Debug, Default)]
struct Taking(Mutex<Option<Instant>>);

impl Taking {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    async fn lasts_longer_than(&self, patience: Duration) {
        let mut alarm = Alarm::default();
        poll_fn(|cx| {
            let since = *self.since();
            match since {
                Some(since) => alarm.poll(since + patience, cx),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

/// The pieces of an answer on a stream: small ones, so that a client which is slow has taken one in time.
#[derive(Debug)]
pub(super) struct Pieces {
    taking: Arc<Taking>,
    rest: Bytes,
}

impl Pieces {
    /// Of the stream whose task this is; `None` if it is none of HTTP/2.
    pub(super) fn here() -> Option<Self> {
        let taking = TAKING.try_with(Arc::clone).ok()?;
        let rest = Bytes::new();
        Some(Self { taking, rest })
    }

    /// hyper asks for the next: there is room for the last. What is left of the frame before, if there is something.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        *self.taking.since() = None;
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| self.cut(Frame::data(rest)))
    }

    /// The first piece of a frame.
    pub(super) fn cut(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let mut piece = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return trailers,
        };
        *self.taking.since() = Some(Instant::now());
        self.rest = piece.split_off(piece.len().min(LEAST));
        Frame::data(piece)
    }

    /// Bytes that are still to come of the last frame.
    pub(super) fn left(&self) -> u64 {
        self.rest.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_frame_comes_in_pieces_and_nothing_is_lost() {
        let taking = Arc::new(Taking::default());
        let (whole, rest) = (Bytes::from(vec![7; 3 * LEAST + 1]), Bytes::new());
        let mut pieces = Pieces { taking, rest };
        let mut frame = Some(pieces.cut(Frame::data(whole.clone())));
        let mut read = Vec::new();
        while let Some(piece) = frame {
            let piece = piece.into_data().unwrap();
            assert!(piece.len() <= LEAST);
            read.extend(piece);
            assert_eq!(read.len() + pieces.left() as usize, whole.len());
            frame = pieces.next();
        }
        assert_eq!(read, whole);
        let trailers = pieces.cut(Frame::trailers(http::HeaderMap::new()));
        assert!(trailers.is_trailers() && pieces.taking.since().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_a_piece_waits_too_long_and_not_while_the_function_is_silent() {
        let stream = watched(
            async {
                let mut pieces = Pieces::here().unwrap();
                sleep(PATIENCE * 2).await;
                for _ in 0..3 {
                    pieces.cut(Frame::data(Bytes::from_static(b"x")));
                    sleep(PATIENCE - Duration::from_secs(1)).await;
                    assert!(pieces.next().is_none());
                    sleep(PATIENCE).await;
                }
                pieces.cut(Frame::data(Bytes::from_static(b"x")));
                std::future::pending::<()>().await;
            },
            PATIENCE,
        );
        let stream = tokio::spawn(stream);
        sleep(PATIENCE * 8 - Duration::from_secs(4)).await;
        assert!(!stream.is_finished());
        advance(Duration::from_secs(3)).await;
        stream.await.unwrap();
        assert!(Pieces::here().is_none());
    }
}
