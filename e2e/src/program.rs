//! Running `kubectl`, `helm` and others from PATH, as a person would.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

/// Top folder of the repository.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("the crate is in a folder").to_owned()
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Whether it ended with code 0.
    pub succeeded: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a program in the top folder of the repository, with `input` on its standard input, and says how it went.
///
/// # Errors
/// When it cannot be run at all.
pub async fn attempt(program: &str, arguments: &[&str], input: &str) -> Result<Said> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}: is it on PATH?"))?;
    let mut stdin = child.stdin.take().expect("it was asked for above");
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    Ok(Said {
        succeeded: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program that has to succeed, and gives its standard output.
///
/// # Errors
/// With all it said, when it does not end with code 0.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let said = attempt(program, arguments, "").await?;
    ensure!(
        said.succeeded,
        "{program} {}: {}{}",
        arguments.join(" "),
        said.out,
        said.err
    );
    Ok(said.out)
}
