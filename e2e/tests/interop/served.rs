//! A function that runs by itself, or functions behind Thaw.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::until;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::programs;

/// The longest wait for a line, on a machine that does other things too.
const LONG: Duration = Duration::from_secs(30);
/// Lines of the end that are shown when something went wrong.
const SHOWN: usize = 40;

/// Something that listens. Dropped, it is killed with all that it started.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) port: u16,
    said: Arc<Mutex<Vec<String>>>,
    _child: Child,
    /// Where the manifest is.
    _folder: Option<TempDir>,
}

impl Served {
    /// A function, with nothing before it.
    pub(crate) async fn alone(command: &[String]) -> Result<Self> {
        Self::start(command, None).await
    }

    /// The functions of a manifest, behind Thaw.
    pub(crate) async fn behind_thaw(manifest: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("functions.yaml");
        std::fs::write(&file, manifest)?;
        let words = [
            &programs::activator()?,
            "local",
            "-f",
            &file.display().to_string(),
            "--port",
            "0",
        ];
        Self::start(&words.map(str::to_owned), Some(folder)).await
    }

    async fn start(command: &[String], folder: Option<TempDir>) -> Result<Self> {
        let mut child = programs::run(command)?
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", command[0]))?;
        let out = child.stdout.take().context("it was asked for above")?;
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = said.clone();
        // Ends with the child.
        tokio::spawn(async move {
            let mut lines = BufReader::new(out).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().expect("nobody panics in here").push(line);
            }
        });
        let mut served = Self {
            port: 0,
            said,
            _child: child,
            _folder: folder,
        };
        served.port = until("it listens", LONG, async || served.listens()).await?;
        Ok(served)
    }

    fn listens(&self) -> Result<u16> {
        let lines = self.after("listening on ");
        let address = lines.first().context("it does not say where it listens")?;
        let port = address.trim_end_matches('/').rsplit(':').next();
        port.context("no port")?.parse().context("read the port")
    }

    /// What functions say that they saw, in the order of the alphabet, once they have said so much.
    pub(crate) async fn seen(&self, count: usize) -> Result<Vec<String>> {
        until("what functions saw", LONG, async || {
            let mut seen = self.after("seen: ");
            ensure!(seen.len() >= count, "{count} lines, but there are {seen:?}");
            seen.sort();
            Ok(seen)
        })
        .await
    }

    /// Boots until now.
    pub(crate) fn boots(&self) -> usize {
        self.after(" booted in ").len()
    }

    /// The last lines.
    pub(crate) fn last_words(&self) -> String {
        let said = self.said.lock().expect("nobody panics in there");
        said[said.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// The rest of each line that has these words.
    fn after(&self, words: &str) -> Vec<String> {
        let said = self.said.lock().expect("nobody panics in there");
        said.iter()
            .filter_map(|line| Some(line.split_once(words)?.1.to_owned()))
            .collect()
    }
}
