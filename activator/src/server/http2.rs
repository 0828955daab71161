//! What a client may do to an HTTP/2 connection besides sending requests.
//!
//! h2 bounds CONTINUATION, empty DATA, and streams that are reset before they were accepted; the latter are counted here too, since it would
//! show such a client out at once. It answers every PING and SETTINGS, and takes every PRIORITY, WINDOW_UPDATE and later RST_STREAM, however
//! many there are: these are counted here.

use hyper::body::Bytes;
use tokio::time::Instant;

use super::frames::{CONTINUATION, DATA, Frames, HEADERS, RST_STREAM};

/// After each piece of an answer a client may open two windows and measure the way once.
const EARNED: f64 = 3.0;
/// That many pieces may be on the way when the client begins to answer them, as a multiple of what is allowed in a second.
const MOST_EARNED: f64 = 10.0;
/// Streams that a client resets before they are accepted; at more the connection is closed.
pub(super) const RESET_UNACCEPTED: usize = 20;
const PREFACE: usize = 24;
const ENHANCE_YOUR_CALM: u32 = 11;

/// One connection.
#[derive(Debug)]
pub(super) struct Watch {
    incoming: Frames,
    outgoing: Frames,
    /// What the last head announced.
    last: u8,
    /// A head continues in another frame.
    is_head_open: bool,
    /// Frames, but for those that continue a head.
    begun: u32,
    last_stream: u32,
    /// The last stream that can have been accepted, and how many later ones were reset since.
    accepted: u32,
    reset: usize,
    /// Control frames above what is allowed; runs empty within a second.
    level: f64,
    level_at: Instant,
    allowed: f64,
    /// Bytes were written that need not end with a frame.
    is_inside_write: bool,
}

/// The client is to leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl Watch {
    /// So many control frames are allowed in a second.
    pub(super) fn new(allowed: u32) -> Self {
        Self {
            incoming: Frames::after(PREFACE),
            outgoing: Frames::after(0),
            last: HEADERS,
            is_head_open: false,
            begun: 0,
            last_stream: 0,
            accepted: 0,
            reset: 0,
            level: 0.0,
            level_at: Instant::now(),
            allowed: f64::from(allowed),
            is_inside_write: false,
        }
    }

    /// These bytes came.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        let (mut control, before) = (0_u32, self.last_stream);
        while let Some(frame) = self.incoming.next(&mut bytes) {
            self.last = frame.kind;
            if !(self.is_head_open && frame.kind == CONTINUATION) {
                self.begun = self.begun.wrapping_add(1);
            }
            control += u32::from(frame.is_control());
            self.reset += usize::from(frame.kind == RST_STREAM && frame.stream > self.accepted);
            if frame.kind == HEADERS || frame.kind == CONTINUATION {
                self.is_head_open = !frame.ends_head();
                self.last_stream = self.last_stream.max(frame.stream);
            }
        }
        if control == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let elapsed = (now - self.level_at).as_secs_f64();
        self.level_at = now;
        if self.level > 0.0 {
            self.level = (self.level - elapsed * self.allowed).max(0.0);
        }
        self.level += f64::from(control);
        if self.level > self.allowed || self.reset > RESET_UNACCEPTED {
            // h2 sees nothing of this.
            self.last_stream = before;
            return Err(Flood);
        }
        Ok(())
    }

    /// There is no more to read: now h2 accepts what has come.
    pub(super) fn read_all(&mut self) {
        self.accepted = self.last_stream;
        self.reset = 0;
    }

    /// These bytes were written.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        self.is_inside_write = true;
        while let Some(frame) = self.outgoing.next(&mut bytes) {
            if frame.kind == DATA {
                self.level = (self.level - EARNED).max(-MOST_EARNED * self.allowed);
            }
        }
    }

    /// h2 flushes only when it has written all it had.
    pub(super) fn flushed(&mut self) {
        self.is_inside_write = false;
    }

    /// A number for each head that has begun and not ended. All frames but DATA count as heads: no client needs long for one.
    pub(super) fn open_head(&self) -> Option<u32> {
        if self.incoming.is_inside_head() {
            return Some(self.begun.wrapping_mul(2).wrapping_add(1));
        }
        let is_inside = self.incoming.is_inside_payload() && self.last != DATA;
        // The first frame is owed from the start.
        let is_open = is_inside || self.is_head_open || self.begun == 0;
        is_open.then_some(self.begun.wrapping_mul(2))
    }

    /// GOAWAY, where a frame may begin.
    pub(super) fn last_words(&self) -> Bytes {
        if self.is_inside_write {
            return Bytes::new();
        }
        let mut words = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
        words.extend(self.last_stream.to_be_bytes());
        words.extend(ENHANCE_YOUR_CALM.to_be_bytes());
        words.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    fn watch() -> Watch {
        let mut watch = Watch::new(10);
        watch.read(&[0; PREFACE]).unwrap();
        watch
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_are_bounded_by_the_second() {
        let mut watch = watch();
        for _ in 0..3 {
            assert_eq!(watch.read(&PING.repeat(10)), Ok(()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(watch.read(&PING.repeat(10)), Ok(()));
        assert_eq!(watch.read(&PING), Err(Flood));
    }

    #[tokio::test]
    async fn requests_may_be_taken_back_unless_nobody_has_seen_them() {
        let mut watch = Watch::new(1000);
        watch.read(&[0; PREFACE]).unwrap();
        let (head, reset) = (frame(HEADERS, 4, b"x"), frame(RST_STREAM, 0, &[0; 4]));
        watch.read(&head).unwrap();
        watch.read_all();
        assert_eq!(watch.read(&reset.repeat(100)), Ok(()));
        let mut both = [head, reset].concat();
        for stream in [3, 5] {
            both[8] = stream;
            both[18] = stream;
            assert_eq!(watch.read(&both.repeat(RESET_UNACCEPTED)), Ok(()));
            watch.read_all();
        }
        both[8] = 7;
        both[18] = 7;
        assert_eq!(watch.read(&both.repeat(RESET_UNACCEPTED)), Ok(()));
        let words = watch.last_words();
        assert_eq!(watch.read(&both), Err(Flood));
        assert_eq!(watch.last_words(), words);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_bodies_are_no_control_frames() {
        let mut watch = watch();
        for _ in 0..20 {
            assert_eq!(watch.read(&frame(HEADERS, 4, b"x")), Ok(()));
            assert_eq!(watch.read(&frame(DATA, 0, b"x")), Ok(()));
        }
        assert_eq!(watch.read(&frame(DATA, 0, b"").repeat(11)), Err(Flood));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_earns_the_frames_that_take_it() {
        let mut watch = watch();
        watch.wrote(&frame(DATA, 0, b"x").repeat(5));
        assert_eq!(watch.read(&PING.repeat(25)), Ok(()));
        assert_eq!(watch.read(&PING), Err(Flood));
    }

    #[tokio::test]
    async fn a_head_is_open_from_its_first_byte_to_its_last_frame() {
        let mut watch = watch();
        assert!(watch.open_head().is_some(), "SETTINGS are owed");
        watch.read(&frame(4, 0, b"")).unwrap();
        assert_eq!(watch.open_head(), None);
        watch.read(&[0, 0]).unwrap();
        let first = watch.open_head();
        assert!(first.is_some());
        watch.read(&frame(HEADERS, 0, b"x")[2..]).unwrap();
        let head = watch.open_head();
        assert!(head.is_some());
        watch.read(&frame(CONTINUATION, 0, b"y")).unwrap();
        assert_eq!(watch.open_head(), head, "it is still the same");
        watch.read(&frame(CONTINUATION, 4, b"z")).unwrap();
        assert_eq!(watch.open_head(), None);
        watch.read(&frame(DATA, 0, b"body")[..11]).unwrap();
        assert_eq!(watch.open_head(), None);
    }

    #[tokio::test]
    async fn the_last_words_stand_where_a_frame_may_begin() {
        let mut watch = watch();
        watch.read(&frame(HEADERS, 4, b"x")).unwrap();
        let words = watch.last_words();
        assert_eq!(words[..9], [0, 0, 8, 7, 0, 0, 0, 0, 0]);
        assert_eq!(words[9..], [0, 0, 0, 1, 0, 0, 0, 11]);
        watch.wrote(b"half a fr");
        assert!(watch.last_words().is_empty());
        watch.flushed();
        assert!(!watch.last_words().is_empty());
    }
}
