//! Where everything is.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::program::repository;
use tokio::process::Command;

/// What a client or a function is written in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    Node,
    Python,
}

/// `clients` or `functions`.
pub(crate) fn command(folder: &str, name: &str, language: Language) -> Result<Vec<String>> {
    let (program, ending) = match language {
        Language::Node => (PathBuf::from("node"), "js"),
        Language::Python => (packages()?.join("python/bin/python"), "py"),
    };
    let script = repository().join(format!("e2e/interop/{folder}/{name}.{ending}"));
    ensure!(script.is_file(), "{} is not there", script.display());
    Ok([program, script]
        .map(|path| path.display().to_string())
        .into())
}

/// A command that is killed when nobody waits for it, in whose environment the packages are found.
pub(crate) fn run(words: &[String]) -> Result<Command> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("NODE_PATH", packages()?.join("node_modules"))
        .env("NODE_NO_WARNINGS", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    Ok(command)
}

fn packages() -> Result<PathBuf> {
    let said = env::var_os("THAW_INTEROP");
    let packages = said.context(
        "THAW_INTEROP is not set: run e2e/test --gate once, then set it to ~/.cache/thaw/interop",
    )?;
    Ok(packages.into())
}

/// The activator's program, which Cargo puts beside the folder of this one.
pub(crate) fn activator() -> Result<String> {
    let this = env::current_exe()?;
    let program = this
        .ancestors()
        .nth(2)
        .context("the folder of programs")?
        .join("thaw-activator");
    ensure!(
        program.is_file(),
        "{} is missing: run `cargo build -p activator`",
        program.display()
    );
    Ok(program.display().to_string())
}
