//! A good client beside bad ones: what its answers take when nobody else is there, and while the activator is attacked.
//!
//! The attacker has a processor of its own, and the activator, its instance and the good client share the others: what is measured is what
//! the attack makes the activator do, and not who gets a processor first.

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{
    process::stay_on,
    statistics::{median, quantile},
    thaw::{self, HOST, SHARED},
    wrk::{Load, Report, Wrk},
};

/// The slow clients of slowhttptest, 500 at once with its own ideas of how slow: what is slow, how it is told, and the path.
const SLOW: [(&str, &str, &str); 3] = [
    ("slow heads", "-H", "/"),
    ("slow bodies", "-B -s 1000000", "/read"),
    ("slow readers", "-X", "/bytes/1000000"),
];
/// The kinds of `flood.py`.
const FLOODS: [&str; 4] = ["ping", "settings", "priority", "reset"];
const CONNECTIONS: &str = "-c 500 -r 500 -l 600 -p 5";
/// Whom the attackers call: a function of its own, for a good client that waits for what somebody else holds is another story.
const ATTACKED: &str = "attacked";
/// Until an attacker has reached what it is for, and until what it left behind is cleared away.
const RAMP: Duration = Duration::from_secs(2);

/// How to measure.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Rounds, each alone and beside every attacker.
    #[arg(short, default_value_t = 5)]
    n: usize,
    /// Length of one run of the good client.
    #[arg(long, default_value = "4s")]
    time: humantime::Duration,
    /// Python with the packages hyperframe and hpack.
    #[arg(long, default_value = "python3")]
    python: OsString,
    /// slowhttptest, as in the Debian package of that name.
    #[arg(long, default_value = "slowhttptest")]
    slowhttptest: OsString,
}

/// Measures and prints.
///
/// # Errors
/// A request of the good client failed, or a program is missing.
pub async fn run(settings: &Settings) -> Result<()> {
    let processors = std::thread::available_parallelism()?.get();
    ensure!(
        processors >= 2,
        "an attacker needs a processor of its own, and there is one in all"
    );
    let directory = tempfile::tempdir()?;
    let floods = directory.path().join("flood.py");
    std::fs::write(&floods, include_str!("flood.py"))?;
    // What is started from here on inherits it.
    stay_on(0..processors - 1)?;
    let thaw = thaw::start(&[thaw::NAME, ATTACKED], SHARED, 1, directory.path()).await?;
    let wrk = Wrk::new("")?;
    let good = Load {
        port: thaw.port,
        path: "/",
        host: HOST,
        connections: 1,
        time: settings.time.into(),
    };
    let attacks = attacks(settings, thaw.port, &floods);
    let mut alone = vec![];
    let mut beside = vec![vec![]; attacks.len()];
    let mut said = vec![String::new(); attacks.len()];
    for round in 0..=settings.n {
        for (at, attack) in attacks.iter().enumerate() {
            let idle = wrk.run(&good).await?;
            let attacker = attack.start(processors - 1)?;
            sleep(RAMP).await;
            let report = wrk.run(&good).await;
            said[at] = end(attacker).await?;
            sleep(RAMP).await;
            let report = report.with_context(|| format!("a good client beside {}", attack.name))?;
            if round > 0 {
                alone.push(idle.clone());
                beside[at].push((idle, report));
            }
        }
        eprint!("\r{round}/{} ", settings.n);
    }
    eprintln!();
    print(&alone, &attacks, &beside, &said);
    thaw.end().await
}

struct Attack {
    name: String,
    program: OsString,
    arguments: Vec<OsString>,
}

fn attacks(settings: &Settings, port: u16, floods: &PathBuf) -> Vec<Attack> {
    let host = format!("{ATTACKED}--default.localhost");
    let slow = SLOW.iter().map(|(name, how, path)| Attack {
        name: (*name).to_owned(),
        program: settings.slowhttptest.clone(),
        arguments: format!("{CONNECTIONS} {how} -d 127.0.0.1:{port} -u http://{host}{path}")
            .split(' ')
            .map(OsString::from)
            .collect(),
    });
    let floods = FLOODS.iter().map(|kind| Attack {
        name: format!("flood: {kind}"),
        program: settings.python.clone(),
        arguments: vec![
            floods.into(),
            (*kind).into(),
            port.to_string().into(),
            host.clone().into(),
        ],
    });
    slow.chain(floods).collect()
}

impl Attack {
    fn start(&self, processor: usize) -> Result<Child> {
        // Whoever is shown out comes back.
        Command::new("taskset")
            .args(["-c", &processor.to_string()])
            .args(["sh", "-c", r#"while "$@"; do :; done"#, "sh"])
            .arg(&self.program)
            .args(&self.arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {:?} by taskset", self.program))
    }
}

/// Ends an attacker, and tells its last words.
async fn end(mut attacker: Child) -> Result<String> {
    if let Some(status) = attacker.try_wait()? {
        bail!("the attacker ended by itself with {status}; is it installed? See e2e/README.md");
    }
    let id = attacker.id().context("it runs")?;
    let group = Pid::from_raw(id.try_into()?).context("a process id is positive")?;
    kill_process_group(group, Signal::TERM)?;
    let output = attacker.wait_with_output().await?;
    let words = String::from_utf8_lossy(&output.stdout);
    let last = words.lines().rfind(|line| line.starts_with('{'));
    Ok(last.unwrap_or_default().to_owned())
}

fn print(alone: &[Report], attacks: &[Attack], beside: &[Vec<(Report, Report)>], said: &[String]) {
    let of = |reports: &[&Report], what: fn(&Report) -> f64| {
        median(
            &reports
                .iter()
                .map(|report| what(report))
                .collect::<Vec<_>>(),
        )
    };
    let all: Vec<_> = alone.iter().collect();
    println!(
        "{:18}{:>9}{:>9}{:>9}  (all rounds)",
        "µs", "p50", "p99", "x alone"
    );
    println!(
        "{:18}{:>9.0}{:>9.0}",
        "alone",
        of(&all, |r| r.p50),
        of(&all, |r| r.p99)
    );
    for ((attack, pairs), said) in attacks.iter().zip(beside).zip(said) {
        let reports: Vec<_> = pairs.iter().map(|(_, report)| report).collect();
        let ratios: Vec<_> = pairs.iter().map(|(idle, r)| r.p99 / idle.p99).collect();
        println!(
            "{:18}{:>9.0}{:>9.0}{:>9.2}  ({:.2} to {:.2}) {said}",
            attack.name,
            of(&reports, |r| r.p50),
            of(&reports, |r| r.p99),
            median(&ratios),
            quantile(&ratios, 0.0),
            quantile(&ratios, 1.0)
        );
    }
}
