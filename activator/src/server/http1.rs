//! What the socket of an HTTP/1 connection shows that hyper keeps to itself: that a head has begun, and that hyper answers a malformed
//! one by itself.

use std::{sync::Arc, task::Waker};

use http::{HeaderMap, StatusCode};

use super::phase::Phase;
use crate::proxy::answer::Failure;

/// One connection.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Arc<Phase>,
    /// Requests that had begun when the first byte of another head came.
    head_after: Option<u32>,
    /// What hyper writes next begins a message.
    is_between_messages: bool,
}

impl Watch {
    pub(super) fn new(phase: Arc<Phase>) -> Self {
        Self {
            phase,
            head_after: None,
            is_between_messages: true,
        }
    }

    /// These bytes came.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        // Empty lines before a head are ignored (RFC 9112 §2.2).
        let is_head = |bytes: &[u8]| bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if self.phase.expects_head() && is_head(bytes) {
            self.head_after = Some(self.phase.begun());
        }
    }

    /// A number of its own for each head that has begun and not ended.
    pub(super) fn open_head(&self) -> Option<u32> {
        self.head_after.filter(|after| *after == self.phase.begun())
    }

    /// What hyper says about a head that it cannot read. It is about to be written: outside of requests nothing else ever is.
    pub(super) fn hypers_own(&self, bytes: &[u8]) -> Option<Failure> {
        if !self.phase.is_idle() {
            return None;
        }
        let status = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        Some(match status {
            b"431" | b"414" => Failure::HeadersTooLarge,
            _ => Failure::BadRequest("the head is not one of HTTP/1.1; see RFC 9112"),
        })
    }

    /// hyper is about to write: what goes before that.
    pub(super) fn goes_before(&self) -> Option<Vec<u8>> {
        let is_begin = self.is_between_messages && !self.phase.is_behind();
        is_begin.then(|| self.phase.interims.take()).flatten()
    }

    /// hyper has written something.
    pub(super) fn wrote(&mut self) {
        self.is_between_messages = false;
    }

    /// hyper has written all it had: what may follow. The task is woken when there is more.
    pub(super) fn flushed(&mut self, writer: &Waker) -> Option<Vec<u8>> {
        self.is_between_messages = true;
        self.phase.flushed();
        if self.phase.is_between_requests() {
            return None;
        }
        self.phase.interims.wakes(writer);
        self.phase.interims.take_early()
    }
}

/// A head of an answer as it is written.
pub(super) fn head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
