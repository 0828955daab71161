//! HTTP/2 from outside: the 9-byte heads of frames (RFC 9113 §4.1), as they pass by on the socket.

/// Kinds of frames that have a meaning here.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const CONTINUATION: u8 = 9;

const HEAD: usize = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
}

impl Frame {
    fn parse(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = head;
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
            length: u32::from_be_bytes([0, a, b, c]) as usize,
        }
    }

    /// Neither a request nor a piece of a body: what a client may not send without bound.
    pub(super) fn is_control(self) -> bool {
        match self.kind {
            HEADERS => false,
            DATA => self.length == 0 && self.flags & END_STREAM == 0,
            _ => true,
        }
    }

    pub(super) fn ends_head(self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

/// Finds frames in a stream of bytes.
#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    read: usize,
    /// What is still to come of the frame that the last head announced.
    rest: usize,
}

impl Frames {
    /// After so many bytes that are no frames.
    pub(super) fn after(rest: usize) -> Self {
        Self {
            head: [0; HEAD],
            read: 0,
            rest,
        }
    }

    /// The heads in these bytes.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.rest.min(bytes.len());
        *bytes = &bytes[skipped..];
        self.rest -= skipped;
        let read = (HEAD - self.read).min(bytes.len());
        self.head[self.read..self.read + read].copy_from_slice(&bytes[..read]);
        *bytes = &bytes[read..];
        self.read += read;
        if self.read < HEAD {
            return None;
        }
        let frame = Frame::parse(self.head);
        (self.read, self.rest) = (0, frame.length);
        Some(frame)
    }

    /// The head of a frame has begun and not ended.
    pub(super) fn is_inside_head(&self) -> bool {
        self.read > 0
    }

    /// The head of a frame has come and not all of the rest.
    pub(super) fn is_inside_payload(&self) -> bool {
        self.rest > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let stream = [
            b"ab".as_slice(),
            &[0, 0, 3, 1, 4, 0, 0, 0, 1],
            b"xyz",
            &[0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 8, 6, 0, 0, 0, 0, 0],
            &[0; 8],
        ]
        .concat();
        for size in 1..stream.len() {
            let (mut frames, mut found) = (Frames::after(2), Vec::new());
            for mut bytes in stream.chunks(size) {
                while let Some(frame) = frames.next(&mut bytes) {
                    found.push((frame.kind, frame.stream, frame.length, frame.is_control()));
                }
            }
            let expected = [(1, 1, 3, false), (0, 1, 0, true), (6, 0, 8, true)];
            assert_eq!(found, expected, "in pieces of {size}");
            assert!(!frames.is_inside_head() && !frames.is_inside_payload());
        }
    }
}
