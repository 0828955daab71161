//! Programs that run for the length of a benchmark.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use procfs::process::{Process, all_processes};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_setaffinity},
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Time to listen, and after SIGTERM to end.
const SOON: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Whose CPU time counts.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    /// The process alone: its children are functions.
    Alone,
    /// The process and its children, which are workers.
    WithChildren,
}

/// A program that runs and listens, until it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pid: i32,
    counted: Counted,
    /// Where it listens, on the loopback interface.
    pub port: u16,
}

impl Program {
    /// Starts a program that will listen on `port`, told it as `$PORT`, and waits until it does.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not listen soon.
    pub async fn start(command: &mut Command, port: u16, counted: Counted) -> Result<Self> {
        let name = format!("{:?}", command.as_std().get_program());
        let child = command
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id().context("it has a process id")?.try_into()?;
        let mut program = Self {
            child,
            pid,
            counted,
            port,
        };
        program.listens().await.with_context(|| name)?;
        Ok(program)
    }

    async fn listens(&mut self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .is_err()
        {
            ensure!(begun.elapsed() < SOON, "does not listen on {}", self.port);
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}; its words are above");
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// CPU time used so far.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let mut used = used(&Process::new(self.pid)?)?;
        if let Counted::WithChildren = self.counted {
            for process in all_processes()? {
                // One that has just gone is none of ours.
                if let Ok(process) = process
                    && process.stat().is_ok_and(|stat| stat.ppid == self.pid)
                {
                    used += self::used(&process)?;
                }
            }
        }
        Ok(used)
    }

    /// Ends it the way it wants to be ended, so that it can end its own.
    ///
    /// # Errors
    /// It does not end.
    pub async fn end(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.pid).context("a process id is positive")?;
        kill_process(pid, Signal::TERM)?;
        timeout(SOON, self.child.wait())
            .await
            .context("wait for the end of a program")??;
        Ok(())
    }
}

/// User and system time of a process and of the children that it waited for.
fn used(process: &Process) -> Result<Duration> {
    let stat = process.stat()?;
    let waited = u64::try_from(stat.cutime + stat.cstime)?;
    let ticks = stat.utime + stat.stime + waited;
    let seconds = ticks as f64 / procfs::ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

/// CPU time of this process so far.
///
/// # Errors
/// There is no `/proc`.
pub fn own_cpu() -> Result<Duration> {
    used(&Process::myself()?)
}

/// Keeps this process, and those that it starts from now on, on these processors.
///
/// # Errors
/// There are no such processors.
pub fn stay_on(processors: Range<usize>) -> Result<()> {
    let mut set = CpuSet::new();
    processors.for_each(|processor| set.set(processor));
    for thread in std::fs::read_dir("/proc/self/task")? {
        let id = thread?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(id), &set)?;
    }
    Ok(())
}

/// A port that nobody listens on.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A program of this repository, which is built beside this one.
///
/// # Errors
/// It is not there; what to do.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is not built: cargo build --release -p activator -p e2e",
        path.display()
    );
    Ok(path)
}

/// Starts the backend.
///
/// # Errors
/// It does not start.
pub async fn backend() -> Result<Program> {
    let mut command = Command::new(beside_us("backend")?);
    Program::start(&mut command, free_port()?, Counted::Alone).await
}
