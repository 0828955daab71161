//! The activator's side of a keeper.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as Socket},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UnixStream,
    net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe::Receiver},
    process::{Child, Command},
};

use super::{
    keeper::{self, Said, Told},
    program::Launch,
};

/// A keeper that runs.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    says: Lines<BufReader<OwnedReadHalf>>,
    told: OwnedWriteHalf,
}

/// The program that this process runs, also after a rebuild has put another in its place.
pub(super) fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        // As long as this process lives, the link leads to its own file.
        let link = format!("/proc/{}/exe", std::process::id());
        Ok(PathBuf::from(link))
    } else {
        std::env::current_exe()
    }
}

impl Process {
    /// Starts a keeper for the launch. What the command writes, to standard output and standard error alike, comes through the pipe.
    pub(super) fn start(program: &Path, launch: &Launch) -> io::Result<(Self, Receiver)> {
        let (ours, theirs) = Socket::pair()?;
        let (output, writer) = io::pipe()?;
        let child = Command::new(program)
            .arg(keeper::WORD)
            .args(&launch.words)
            .envs(&launch.env)
            .current_dir(&launch.dir)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // The terminal's signals are for the activator, who knows what to end and how.
            .process_group(0)
            .spawn()?;
        ours.set_nonblocking(true)?;
        let (says, told) = UnixStream::from_std(ours)?.into_split();
        let process = Self {
            child,
            says: BufReader::new(says).lines(),
            told,
        };
        Ok((process, Receiver::from_owned_fd(output.into())?))
    }

    /// What the keeper says next; `None` when it is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn said(&mut self) -> Option<Said> {
        loop {
            let line = self.says.next_line().await.ok().flatten()?;
            if let Some(said) = Said::read(&line) {
                return Some(said);
            }
        }
    }

    /// Tells the keeper something. One that is gone does not hear it, and says so by [`Self::said`].
    pub(super) async fn tell(&mut self, told: Told) {
        self.told.write_all(told.line().as_bytes()).await.ok();
    }

    /// Waits for the keeper to be gone.
    pub(super) async fn gone(mut self) {
        self.child.wait().await.ok();
    }
}
