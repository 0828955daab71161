//! The parent of one instance's processes: it outlives an activator that is killed just long enough to end them.
//!
//! The activator starts itself with the word [`WORD`], one end of a socket as standard input, and a command line. The keeper runs that
//! command in a process group of its own and speaks lines over the socket: what the activator may say is [`Told`], what it hears is
//! [`Said`]. It has plain threads and no runtime, since there is one of it for each instance.
//!
//! # Guarantees
//! - When the socket closes, in whatever way the activator ended, every process of the instance is killed at once.
//! - When the command ends, its process group is killed, and on Linux also what left the group: the keeper inherits it.
//! - A signal goes only to processes that have not been waited for, so that no reused process id is ever hit.

mod descendants;

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group};
use tokio::time::Instant;

/// The subcommand under which the activator becomes a keeper.
pub const WORD: &str = "keep";
/// Between two looks whether the command has stopped.
const LOOK: Duration = Duration::from_millis(1);

/// What a keeper is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Stop the process group.
    Freeze,
    /// Let it run again.
    Thaw,
    /// SIGTERM, and SIGKILL after this long.
    End(Duration),
}

/// What a keeper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The command runs.
    Started,
    /// The command cannot be run, and why.
    Failed(io::ErrorKind, String),
    /// The command does not run any more, and has not since some time before this.
    Frozen,
    /// It may run again.
    Thawed,
    /// The command ended, and nothing of it is left.
    Exited(String),
}

impl Told {
    /// The line.
    pub fn line(self) -> String {
        match self {
            Self::Freeze => "freeze\n".to_owned(),
            Self::Thaw => "thaw\n".to_owned(),
            Self::End(grace) => format!("end {}\n", grace.as_millis()),
        }
    }

    fn read(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None if line == "freeze" => Some(Self::Freeze),
            None if line == "thaw" => Some(Self::Thaw),
            Some(("end", grace)) => Some(Self::End(Duration::from_millis(grace.parse().ok()?))),
            _ => None,
        }
    }
}

impl Said {
    fn line(&self) -> String {
        match self {
            Self::Started => "started\n".to_owned(),
            Self::Failed(io::ErrorKind::NotFound, why) => format!("missing {why}\n"),
            Self::Failed(_, why) => format!("failed {why}\n"),
            Self::Frozen => "frozen\n".to_owned(),
            Self::Thawed => "thawed\n".to_owned(),
            Self::Exited(status) => format!("exited {status}\n"),
        }
    }

    /// Reads a line.
    pub fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "started" => Self::Started,
            "missing" => Self::Failed(io::ErrorKind::NotFound, rest.to_owned()),
            "failed" => Self::Failed(io::ErrorKind::Other, rest.to_owned()),
            "frozen" => Self::Frozen,
            "thawed" => Self::Thawed,
            "exited" => Self::Exited(rest.to_owned()),
            _ => return None,
        })
    }
}

/// Runs the command to its end. The words after [`WORD`] are the command line.
pub fn keep(command: Vec<OsString>) -> ExitCode {
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is there to be told.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(command: &[OsString]) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    descendants::inherit()?;
    let [program, args @ ..] = command else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let started = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let command = match started {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            let why = error.to_string().replace('\n', " ");
            return say(&socket, &Said::Failed(error.kind(), why));
        }
    };
    say(&socket, &Said::Started).ok();
    let (events, heard) = channel();
    listen(socket.try_clone()?, events.clone());
    watch(command, events);
    let status = Keeper::new(command, &socket).run(&heard);
    descendants::end(command);
    say(&socket, &Said::Exited(in_words(&status)))
}

fn say(mut socket: &UnixStream, said: &Said) -> io::Result<()> {
    socket.write_all(said.line().as_bytes())
}

enum Event {
    Told(Told),
    /// The activator is gone.
    Closed,
    /// The command ended; it has not been waited for.
    Ended(WaitIdStatus),
}

/// Passes on what the activator says.
fn listen(socket: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        let lines = BufReader::new(socket).lines();
        for line in lines.map_while(Result::ok) {
            if let Some(told) = Told::read(&line) {
                events.send(Event::Told(told)).ok();
            }
        }
        events.send(Event::Closed).ok();
    });
}

/// Waits for the command without taking its process id away, and buries what the command abandoned.
fn watch(command: Pid, events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            // Of all children: those that the command abandoned are ours too.
            let of_any = rustix::process::waitid(WaitId::All, ended);
            let of_command =
                rustix::process::waitid(WaitId::Pid(command), ended | WaitIdOptions::NOHANG);
            match (of_any, of_command) {
                (_, Ok(Some(status))) => {
                    events.send(Event::Ended(status)).ok();
                    return;
                }
                (Err(rustix::io::Errno::CHILD), _) => return,
                _ => descendants::bury(command),
            }
        }
    });
}

/// What is going on with the command.
struct Keeper<'a> {
    command: Pid,
    socket: &'a UnixStream,
    /// A freeze is under way.
    freezes: bool,
    /// When what still runs is killed.
    kill_at: Option<Instant>,
}

impl<'a> Keeper<'a> {
    fn new(command: Pid, socket: &'a UnixStream) -> Self {
        Self {
            command,
            socket,
            freezes: false,
            kill_at: None,
        }
    }

    /// Until the command has ended. Nothing waits for it before that, so that every signal finds it.
    fn run(mut self, events: &Receiver<Event>) -> WaitIdStatus {
        loop {
            match self.next(events) {
                Ok(Event::Ended(status)) => return status,
                Ok(Event::Told(told)) => self.obey(told),
                Ok(Event::Closed) => self.signal(Signal::KILL),
                Err(RecvTimeoutError::Timeout) if !self.freezes => {
                    self.kill_at = None;
                    self.signal(Signal::KILL);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the thread that waits for the command sends its end first")
                }
            }
            if self.freezes && self.has_stopped() {
                self.freezes = false;
                say(self.socket, &Said::Frozen).ok();
            }
        }
    }

    fn next(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        if self.freezes {
            return events.recv_timeout(LOOK);
        }
        match self.kill_at {
            Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn obey(&mut self, told: Told) {
        match told {
            // It would never see its end.
            Told::Freeze if self.kill_at.is_some() => {}
            Told::Freeze => {
                self.signal(Signal::STOP);
                self.freezes = true;
            }
            Told::Thaw => {
                self.freezes = false;
                self.signal(Signal::CONT);
                say(self.socket, &Said::Thawed).ok();
            }
            Told::End(grace) => {
                self.freezes = false;
                self.signal(Signal::TERM);
                // A stopped process sees no other signal.
                self.signal(Signal::CONT);
                self.kill_at = Some(Instant::now() + grace);
            }
        }
    }

    fn has_stopped(&self) -> bool {
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        rustix::process::waitid(WaitId::Pid(self.command), stopped)
            .is_ok_and(|status| status.is_some_and(|status| status.stopped()))
    }

    fn signal(&self, signal: Signal) {
        // It fails only when the group is empty.
        kill_process_group(self.command, signal).ok();
    }
}

fn in_words(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::from_named_raw(signal) {
            Some(name) => {
                let name = format!("{name:?}").replace("Signal::", "SIG");
                format!("killed by signal {signal} ({})", name.trim_matches('"'))
            }
            None => format!("killed by signal {signal}"),
        },
        (None, None) => "ended".to_owned(),
    }
}
