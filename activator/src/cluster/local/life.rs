//! One instance from its start to the end of its last process.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Local,
    keeper::{Said, Told},
    output,
    ports::Port,
    process::Process,
    program::Launch,
};
use crate::{
    engine::{BootFailure, InstanceId},
    entrypoint::Entrypoint,
    instance::{Address, Tail},
};

/// Between two words of what a boot waits for.
const WORDS: Duration = Duration::from_millis(50);
/// How long lines may take to be shown once their processes have ended.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the life of an instance needs.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) local: Local,
    pub(super) entrypoint: Arc<Entrypoint>,
    pub(super) id: InstanceId,
    pub(super) name: Arc<str>,
    pub(super) port: Port,
    pub(super) tail: Arc<Tail>,
    pub(super) told: UnboundedReceiver<Told>,
    /// It has accepted a connection.
    pub(super) is_up: Arc<AtomicBool>,
}

impl Life {
    /// Lives it. What happens is told to the entrypoint.
    pub(super) async fn live(mut self, launch: Launch) {
        let (mut reading, failure) = match self.start(&launch) {
            Ok((process, reading)) => (Some(reading), self.follow(process, &launch).await),
            Err(error) => (None, cannot_start(&error)),
        };
        self.local
            .ended(&self.entrypoint, self.id, &self.name, failure);
        if let Some(reading) = &mut reading
            && timeout(LAST_LINES, &mut *reading).await.is_err()
        {
            // A process that escaped its keeper has the other end.
            reading.abort();
        }
        self.tail.end();
    }

    fn start(&self, launch: &Launch) -> io::Result<(Process, JoinHandle<()>)> {
        let (process, output) = Process::start(&self.local.keeper, launch)?;
        let (source, tail, view) = (
            self.name.clone(),
            self.tail.clone(),
            self.local.view.clone(),
        );
        let reading = tokio::spawn(output::pass_on(output, source, tail, view));
        Ok((process, reading))
    }

    /// Until its keeper is gone; why it ended.
    async fn follow(&mut self, mut process: Process, launch: &Launch) -> BootFailure {
        let mut ending = None;
        let mut lines = self.tail.changes();
        let (mut has_news, mut news_at) = (false, Instant::now());
        loop {
            let waits = !self.is_up.load(Ordering::Relaxed) && ending.is_none();
            tokio::select! {
                said = process.said() => match said {
                    Some(said) => ending = self.heard(said, launch).or(ending),
                    None => break,
                },
                Some(told) = self.told.recv() => process.tell(told).await,
                Ok(()) = lines.changed(), if waits && !has_news => has_news = true,
                () = sleep_until(news_at), if waits && has_news => {
                    self.entrypoint.waits_for(self.id, self.not_listening());
                    (has_news, news_at) = (false, Instant::now() + WORDS);
                }
            }
        }
        process.gone().await;
        let mut failure = ending.unwrap_or_else(keeper_died);
        if let Some(words) = self.tail.last_words().await {
            failure
                .message
                .push_str(&format!("; its last lines:\n{words}"));
        }
        failure
    }

    /// How it ended, if this says that it did.
    fn heard(&self, said: Said, launch: &Launch) -> Option<BootFailure> {
        match said {
            Said::Started => {
                let address = Address {
                    socket: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number)),
                    protocol: launch.protocol,
                };
                self.entrypoint.waits_for(self.id, self.not_listening());
                self.entrypoint.located(self.id, address);
            }
            Said::Frozen => self.entrypoint.frozen(self.id),
            Said::Thawed => self.entrypoint.thawed(self.id),
            Said::Failed(kind, why) => return Some(cannot_run(kind, &why, launch)),
            Said::Exited(status) => return Some(failure("Exited", status)),
        }
        None
    }

    fn not_listening(&self) -> BootFailure {
        let port = self.port.number;
        let last = self.tail.text();
        let last = last.map(|lines| format!("; its last lines:\n{lines}"));
        let problem = format!(
            "the process runs but accepts no connection at 127.0.0.1:{port}: listen at the port in $PORT{}",
            last.unwrap_or_default()
        );
        failure("NotListening", problem)
    }
}

fn failure(reason: &str, message: String) -> BootFailure {
    BootFailure {
        reason: reason.to_owned(),
        message,
    }
}

fn cannot_start(error: &io::Error) -> BootFailure {
    let message = format!("no process could be started: {error}");
    failure("CannotStart", message)
}

fn cannot_run(kind: io::ErrorKind, why: &str, launch: &Launch) -> BootFailure {
    let (command, dir) = (&launch.words[0], launch.dir.display());
    if kind == io::ErrorKind::NotFound {
        let is_file = launch.dir.join(command).is_file();
        let message = if !is_file {
            format!(
                "there is no program {command:?}, neither in PATH nor in {dir}: install it, or correct command in the manifest"
            )
        } else if command.contains('/') {
            format!(
                "{command:?} in {dir} names an interpreter that is not there: correct its first line"
            )
        } else {
            format!(
                "there is no program {command:?} in PATH; for the one in {dir} write ./{command}"
            )
        };
        return failure("CommandNotFound", message);
    }
    let message = format!("{command:?} in {dir}: {why}");
    failure("CannotRun", message)
}

fn keeper_died() -> BootFailure {
    let message =
        "somebody killed the process that watched over the instance, whose own processes may go on";
    failure("KeeperDied", message.to_owned())
}
