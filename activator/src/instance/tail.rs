//! The last lines that an instance wrote.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// Lines that are kept: enough for the end of a stack trace, and few enough for an answer.
const LINES: usize = 10;
/// Characters of a line that are kept.
const WIDTH: usize = 400;
/// How long the last words of an instance that broke off may take to arrive here.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The last lines, written by whoever reads the output and read by whoever has to explain a failure.
#[derive(Debug)]
pub struct Tail {
    lines: Mutex<VecDeque<String>>,
    /// How many lines there were; `None` when the output has ended.
    count: watch::Sender<Option<u64>>,
}

impl Default for Tail {
    fn default() -> Self {
        let (count, _) = watch::channel(Some(0));
        Self {
            lines: Mutex::default(),
            count,
        }
    }
}

impl Tail {
    /// Keeps a line, without what colours it.
    pub fn keep(&self, line: &str) {
        let plain: String = console::strip_ansi_codes(line)
            .chars()
            .take(WIDTH)
            .collect();
        if plain.trim().is_empty() {
            return;
        }
        {
            let mut lines = self.lock();
            lines.push_back(plain);
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
        self.count.send_modify(|count| {
            *count = count.map(|count| count + 1);
        });
    }

    /// The output has ended.
    pub fn end(&self) {
        self.count.send_replace(None);
    }

    /// Tells of each new line, and of the end by closing or by `None`.
    pub fn changes(&self) -> watch::Receiver<Option<u64>> {
        self.count.subscribe()
    }

    /// The lines as they are, if there are any.
    pub fn text(&self) -> Option<String> {
        let lines = self.lock();
        let text = lines.iter().map(String::as_str).collect::<Vec<_>>();
        (!text.is_empty()).then(|| text.join("\n"))
    }

    /// The lines when the output has ended, or soon.
    pub async fn last_words(&self) -> Option<String> {
        let mut count = self.changes();
        // An instance that goes on has last words too: those until now.
        timeout(LAST_WORDS, count.wait_for(Option::is_none))
            .await
            .ok();
        self.text()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_as_they_read() {
        let tail = Tail::default();
        assert_eq!(tail.text(), None);
        for line in ["one", "", "\u{1b}[31mred\u{1b}[0m"] {
            tail.keep(line);
        }
        assert_eq!(tail.text().as_deref(), Some("one\nred"));
        (0..LINES).for_each(|n| tail.keep(&n.to_string()));
        assert_eq!(tail.text().unwrap().lines().next(), Some("0"));
    }

    #[tokio::test(start_paused = true)]
    async fn last_words_are_waited_for_but_not_for_ever() {
        let tail = Arc::new(Tail::default());
        tail.keep("still here");
        assert_eq!(tail.last_words().await.as_deref(), Some("still here"));
        let waiting = tokio::spawn({
            let tail = tail.clone();
            async move { tail.last_words().await }
        });
        tokio::task::yield_now().await;
        tail.keep("good bye");
        tail.end();
        assert_eq!(
            waiting.await.unwrap().as_deref(),
            Some("still here\ngood bye")
        );
    }
}
