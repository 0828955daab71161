//! Load from a second process: wrk, which sends the next request of a connection when the last is answered.

use std::{io::ErrorKind, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

/// How wrk says what it measured. Its own words are for people.
const REPORT: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "micros": %d, "p50": %d, "p99": %d, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// What wrk is to do.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// On the loopback interface.
    pub port: u16,
    /// Path, beginning with `/`.
    pub path: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// Connections at once.
    pub connections: u32,
    /// How long.
    pub time: Duration,
}

/// What wrk measured.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Report {
    /// Answers.
    pub requests: u64,
    /// Length of the run in microseconds.
    pub micros: u64,
    /// Median latency in microseconds.
    pub p50: f64,
    /// 99th percentile in microseconds.
    pub p99: f64,
    /// Errors of sockets, statuses from 400 on, and timeouts.
    pub failed: u64,
}

impl Report {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / self.micros as f64
    }
}

/// wrk, with our script.
#[derive(Debug)]
pub struct Wrk {
    script: PathBuf,
    _directory: TempDir,
}

impl Wrk {
    /// With more Lua for the script, such as a `request` of its own.
    ///
    /// # Errors
    /// The script cannot be written.
    pub fn new(more: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("report.lua");
        std::fs::write(&script, format!("{REPORT}\n{more}"))?;
        Ok(Self {
            script,
            _directory: directory,
        })
    }

    /// One run, in which every request must be answered with success.
    ///
    /// # Errors
    /// A request failed, or wrk is not there.
    pub async fn run(&self, load: &Load<'_>) -> Result<Report> {
        let Load {
            port,
            path,
            host,
            connections,
            time,
        } = load;
        let seconds = time.as_secs().max(1);
        let output = Command::new("wrk")
            .args(["--threads", "1", "--timeout", "10s"])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .args(["--header", &format!("Host: {host}")])
            .arg("--script")
            .arg(&self.script)
            .arg(format!("http://127.0.0.1:{port}{path}"))
            .stderr(Stdio::inherit())
            .output()
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    anyhow::anyhow!("wrk is not here: install the Debian package wrk")
                }
                _ => error.into(),
            })?;
        ensure!(output.status.success(), "wrk ended with {}", output.status);
        let report = read(&String::from_utf8_lossy(&output.stdout))?;
        ensure!(
            report.failed == 0 && report.requests > 0,
            "not every request to port {port} was answered: {report:?}"
        );
        Ok(report)
    }
}

fn read(output: &str) -> Result<Report> {
    let line = output.lines().rfind(|line| line.starts_with('{'));
    let line = line.context("wrk reported nothing")?;
    serde_json::from_str(line).with_context(|| format!("read what wrk reported: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_other_words() {
        let output = "Running 2s test\n  1 threads\n\n{\"requests\": 500, \"micros\": 2000000, \"p50\": 81, \"p99\": 190, \"failed\": 0}\n";
        let report = read(output).unwrap();
        assert_eq!((report.requests, report.p99), (500, 190.0));
        assert_eq!(report.rate(), 250.0);
        assert!(read("unable to connect").is_err());
    }
}
