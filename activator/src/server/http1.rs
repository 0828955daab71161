//! What the socket of an HTTP/1 connection shows that hyper keeps to itself: that a head has begun, and that hyper answers a malformed
//! one by itself.

use std::sync::Arc;

use super::phase::Phase;
use crate::proxy::answer::Failure;

/// One connection.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Arc<Phase>,
    /// Requests that had begun when the first byte of another head came.
    head_after: Option<u32>,
}

impl Watch {
    pub(super) fn new(phase: Arc<Phase>) -> Self {
        Self {
            phase,
            head_after: None,
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
}
