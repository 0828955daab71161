//! From what an instance writes to lines that people read.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::view::View;
use crate::instance::Tail;

/// A longer line is cut in pieces of this many bytes.
const LONGEST: usize = 8 << 10;

/// Passes lines on until the output ends. Whoever writes faster than the view shows has to wait.
pub(super) async fn pass_on(
    mut output: impl AsyncRead + Unpin,
    source: Arc<str>,
    tail: Arc<Tail>,
    view: View,
) {
    let mut lines = Lines::default();
    let mut piece = vec![0; LONGEST];
    // A pipe that breaks has ended.
    while let Ok(length @ 1..) = output.read(&mut piece).await {
        for line in lines.push(&piece[..length]) {
            tail.keep(&line);
            view.line(&source, line).await;
        }
    }
    if let Some(line) = lines.rest() {
        tail.keep(&line);
        view.line(&source, line).await;
    }
    tail.end();
}

/// Bytes that are no whole line yet.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// The lines that end in these bytes.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST - self.begun.len();
            let (fits, over) = piece.split_at(piece.len().min(room));
            self.begun.extend_from_slice(fits);
            if self.begun.ends_with(b"\n") || self.begun.len() == LONGEST {
                lines.extend(self.rest());
            }
            self.begun.extend_from_slice(over);
            if self.begun.ends_with(b"\n") {
                lines.extend(self.rest());
            }
        }
        lines
    }

    /// What was begun, as far as it came.
    fn rest(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.begun);
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\nb"), ["a"]);
        assert_eq!(lines.push(b"c\r\n\nd\xff"), ["bc", ""]);
        assert_eq!(lines.rest().as_deref(), Some("d\u{fffd}"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; LONGEST - 1];
        assert_eq!(lines.push(&piece).len(), 0);
        let cut = lines.push(&piece);
        assert_eq!(cut.iter().map(String::len).collect::<Vec<_>>(), [LONGEST]);
        assert_eq!(lines.begun.len(), LONGEST - 2);
        assert_eq!(lines.push(b"\nend\n").len(), 2);
    }
}
