//! Interim answers (1xx, RFC 9110 §15.2) of the request that a connection of HTTP/1.1 is serving, on their way to its socket.
//!
//! hyper serves one request of a connection after the other and writes no interim answer but its own `100 Continue`. So the socket
//! writes the others itself, where hyper has written all it had and waits for the answer.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use futures::task::AtomicWaker;
use http::{HeaderMap, StatusCode};

use super::http1;

/// So many are passed on before one answer: enough for a word every second or so from a function that is slow to answer.
const MOST: u32 = 100;
/// Bytes of them that may wait for a client to take them. One that does not fit is not passed on.
const MOST_BYTES: usize = 16 << 10;

/// What was said before the answer and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Interims {
    said: Mutex<Said>,
    /// Something is there. Spares the lock, which is for the rare case.
    is_some: AtomicBool,
    /// The task that writes.
    writer: AtomicWaker,
}

#[derive(Debug, Default)]
struct Said {
    /// Number of the request whose answer is awaited; 0: none is.
    awaited: u32,
    /// How many more may be said.
    left: u32,
    bytes: Vec<u8>,
}

impl Interims {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("nothing panics under this lock")
    }

    /// From now on this request may say something.
    pub(super) fn open(&self, request: u32) {
        let mut said = self.said();
        said.awaited = request;
        said.left = MOST;
        said.bytes.clear();
        self.is_some.store(false, Ordering::Release);
    }

    /// The answer is there. What was said before it is written before it, and nothing more is said.
    pub(super) fn close(&self) {
        self.said().awaited = 0;
    }

    /// An instance says this before the answer to this request.
    pub(super) fn say(&self, request: u32, status: StatusCode, headers: &HeaderMap) {
        let head = http1::head(status, headers);
        let mut said = self.said();
        let fits = said.bytes.len() + head.len() <= MOST_BYTES;
        if said.awaited != request || said.left == 0 || !fits {
            return;
        }
        said.left -= 1;
        said.bytes.extend_from_slice(&head);
        self.is_some.store(true, Ordering::Release);
        drop(said);
        self.writer.wake();
    }

    /// What was said, for the socket of a connection where nothing of the answer is written yet.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.said_some()
            .map(|mut said| std::mem::take(&mut said.bytes))
    }

    /// The same where some of the answer may be written if it is there already: then it is too late, and what was said is forgotten.
    pub(super) fn take_early(&self) -> Option<Vec<u8>> {
        let mut said = self.said_some()?;
        let bytes = std::mem::take(&mut said.bytes);
        (said.awaited != 0).then_some(bytes)
    }

    /// If there is something, which is taken now.
    fn said_some(&self) -> Option<MutexGuard<'_, Said>> {
        if !self.is_some.load(Ordering::Acquire) {
            return None;
        }
        let said = self.said();
        self.is_some.store(false, Ordering::Release);
        Some(said)
    }

    /// This task is woken when something is said.
    pub(super) fn wakes(&self, writer: &Waker) {
        self.writer.register(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(interims: &Interims, request: u32) {
        interims.say(request, StatusCode::EARLY_HINTS, &HeaderMap::new());
    }

    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

    #[test]
    fn what_is_said_before_the_answer_comes_before_it() {
        let interims = Interims::default();
        interims.open(1);
        assert_eq!(interims.take_early(), None);
        say(&interims, 1);
        say(&interims, 1);
        assert_eq!(interims.take_early(), Some(HINT.repeat(2)));
        say(&interims, 1);
        interims.close();
        assert_eq!(interims.take().as_deref(), Some(HINT));
        assert_eq!(interims.take(), None);
    }

    #[test]
    fn what_is_said_too_late_or_about_another_request_is_never_written() {
        let interims = Interims::default();
        say(&interims, 0);
        interims.open(1);
        say(&interims, 2);
        assert_eq!(interims.take(), None);
        say(&interims, 1);
        interims.close();
        say(&interims, 1);
        assert_eq!(interims.take_early(), None, "the answer may be written");
        interims.open(2);
        say(&interims, 1);
        assert_eq!(interims.take(), None);
    }

    #[test]
    fn what_one_request_says_is_bounded_in_number_and_in_bytes() {
        let interims = Interims::default();
        interims.open(1);
        for _ in 0..10 * MOST {
            say(&interims, 1);
            interims.take();
        }
        say(&interims, 1);
        assert_eq!(interims.take(), None);
        interims.open(2);
        let long = HeaderMap::from_iter(
            [(http::header::LINK, vec![b'x'; MOST_BYTES / 3])]
                .map(|(name, value)| (name, http::HeaderValue::try_from(value).unwrap())),
        );
        for _ in 0..10 {
            interims.say(2, StatusCode::EARLY_HINTS, &long);
        }
        assert!(interims.take().unwrap().len() <= MOST_BYTES);
    }
}
