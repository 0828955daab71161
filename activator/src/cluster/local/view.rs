//! What a person sees: the lines of the instances, what happens to them, and on a terminal how things stand.
//!
//! One thread writes. A terminal that is slow or stopped holds up only an instance that goes on writing, as any pipe does.

mod status;

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use console::{Style, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub(super) use status::follow;

/// Lines of instances that wait to be written. More make their instances wait.
const LINES: usize = 256;
/// Lines that are written at once.
const AT_ONCE: usize = 64;
/// Who speaks when it is no instance.
const OURSELVES: &str = "thaw";

/// Where everything is said. A clone speaks to the same people.
#[derive(Clone, Debug)]
pub struct View {
    said: Sender<Said>,
    room: Arc<Semaphore>,
    changed: Arc<Notify>,
    is_live: bool,
}

#[derive(Debug)]
enum Said {
    Line(String, Option<OwnedSemaphorePermit>),
    /// How things stand, a line each.
    Status(Vec<String>),
    End,
}

impl View {
    /// Begins to write: live if both standard output and standard error are a terminal, else in plain lines to standard output. The thread
    /// ends after [`Self::end`].
    pub fn start() -> (Self, JoinHandle<()>) {
        let is_live = io::stdout().is_terminal() && io::stderr().is_terminal();
        let (said, heard) = channel();
        let writing = std::thread::spawn(move || {
            if is_live {
                write_live(&heard);
            } else {
                write_plain(&heard);
            }
        });
        let view = Self {
            said,
            room: Arc::new(Semaphore::new(LINES)),
            changed: Arc::default(),
            is_live,
        };
        (view, writing)
    }

    /// A line of an instance, when there is room for it.
    pub(super) async fn line(&self, source: &str, line: String) {
        let room = self.room.clone().acquire_owned().await;
        let line = format!("{} {line}", prefix(source));
        self.say(Said::Line(line, room.ok()));
    }

    /// Something that happened.
    pub fn news(&self, news: &str) {
        for line in news.lines() {
            self.say(Said::Line(format!("{} {line}", prefix(OURSELVES)), None));
        }
        self.changed();
    }

    /// Things may stand otherwise now.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Nothing more is said. What was said is still written.
    pub fn end(&self) {
        self.say(Said::End);
    }

    fn say(&self, said: Said) {
        // Refused only after the end.
        self.said.send(said).ok();
    }
}

/// Log lines go the same way.
impl Write for View {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.news(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `orders-1 |`, in a colour of its entrypoint's on a terminal that has colours.
fn prefix(source: &str) -> String {
    let text = format!("{source} |");
    if source == OURSELVES {
        return style(text).dim().to_string();
    }
    let entrypoint = source.rsplit_once('-').map_or(source, |(name, _)| name);
    let sum = entrypoint
        .bytes()
        .fold(0_usize, |sum, byte| sum * 31 % 997 + usize::from(byte));
    let colours = [
        Style::new().cyan(),
        Style::new().green(),
        Style::new().magenta(),
        Style::new().yellow(),
        Style::new().blue(),
    ];
    colours[sum % colours.len()].apply_to(text).to_string()
}

fn write_plain(heard: &Receiver<Said>) {
    let mut out = io::stdout().lock();
    for said in heard {
        match said {
            // Whoever read it may be gone; the functions go on.
            Said::Line(line, _) => writeln!(out, "{line}").and_then(|()| out.flush()).ok(),
            Said::Status(_) => None,
            Said::End => return,
        };
    }
}

/// Lines above, and below them how things stand.
fn write_live(heard: &Receiver<Said>) {
    let screen = MultiProgress::new();
    let mut bars: Vec<ProgressBar> = Vec::new();
    while let Ok(first) = heard.recv() {
        let mut lines = Vec::new();
        let mut status = None;
        let mut is_over = false;
        let mut permits = Vec::new();
        let more = std::iter::from_fn(|| heard.try_recv().ok());
        for said in std::iter::once(first).chain(more).take(AT_ONCE) {
            match said {
                Said::Line(line, permit) => {
                    lines.push(line);
                    permits.push(permit);
                }
                Said::Status(now) => status = Some(now),
                Said::End => is_over = true,
            }
        }
        if !lines.is_empty() {
            screen.println(lines.join("\n")).ok();
        }
        if let Some(status) = status {
            show(&screen, &mut bars, status);
        }
        if is_over {
            bars.iter().for_each(ProgressBar::finish_and_clear);
            return;
        }
    }
}

fn show(screen: &MultiProgress, bars: &mut Vec<ProgressBar>, status: Vec<String>) {
    for surplus in bars.drain(status.len().min(bars.len())..) {
        surplus.finish_and_clear();
        screen.remove(&surplus);
    }
    for (at, line) in status.into_iter().enumerate() {
        if at == bars.len() {
            let style = ProgressStyle::with_template("{wide_msg}").expect("the template is right");
            bars.push(screen.add(ProgressBar::new_spinner().with_style(style)));
        }
        // Each message is drawn, whether it is new or not.
        if bars[at].message() != line {
            bars[at].set_message(line);
        }
    }
}
