//! What a client saw, and how two differ.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::programs;

/// A run of a client. Each of its scenarios has a shorter limit of its own.
const LONGEST: Duration = Duration::from_secs(90);
/// Lines and characters of a line that are shown of a difference.
const SHOWN: (usize, usize) = (5, 300);

/// Lines of JSON, each with the name of its scenario.
#[derive(Debug)]
pub(crate) struct Transcript(Vec<(String, String)>);

impl Transcript {
    /// Of a client that calls this port.
    pub(crate) async fn of(client: &[String], port: u16) -> Result<Self> {
        let run = programs::run(client)?
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .output();
        let output = timeout(LONGEST, run)
            .await
            .with_context(|| format!("{client:?} runs for more than {LONGEST:?}"))??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{client:?} failed: {errors}");
        Self::read(&String::from_utf8_lossy(&output.stdout))
    }

    pub(crate) fn read(text: &str) -> Result<Self> {
        let lines = text.lines().map(|line| {
            let json: Value =
                serde_json::from_str(line).with_context(|| format!("{line} is not JSON"))?;
            let scenario = json["scenario"].as_str().context("it has no scenario")?;
            Ok((scenario.to_owned(), line.to_owned()))
        });
        Ok(Self(lines.collect::<Result<_>>()?))
    }

    /// Checks that every scenario was played to its end.
    pub(crate) fn is_whole(&self, scenarios: impl Iterator<Item = &'static str>) -> Result<()> {
        for name in scenarios {
            let lines = self.scenario(name);
            ensure!(!lines.is_empty(), "{name} was not played");
            ensure!(
                !lines.iter().any(|line| line.contains("\"broke\"")),
                "{name} broke: {lines:#?}"
            );
        }
        Ok(())
    }

    /// How another differs from this, a text for each scenario.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.0.iter().chain(&other.0) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let difference = |name: &&str| difference(&self.scenario(name), &other.scenario(name));
        names
            .iter()
            .filter_map(|name| Some(format!("{name}:\n{}", difference(name)?)))
            .collect()
    }

    fn scenario(&self, wanted: &str) -> Vec<&str> {
        let lines = self.0.iter().filter(|(name, _)| name == wanted);
        lines.map(|(_, line)| line.as_str()).collect()
    }
}

/// The lines from the first that differs: `-` those that were expected, `+` those that came.
fn difference(expected: &[&str], came: &[&str]) -> Option<String> {
    let same = expected
        .iter()
        .zip(came)
        .take_while(|(left, right)| left == right)
        .count();
    let (lines, characters) = SHOWN;
    let show = |sign: char, of: &[&str]| {
        let shown = of[same..].iter().take(lines);
        let shown = shown.map(|line| line.chars().take(characters).collect::<String>());
        shown
            .map(|line| format!("  {sign} {line}\n"))
            .collect::<String>()
    };
    let is_different = expected.len() > same || came.len() > same;
    is_different.then(|| show('-', expected) + &show('+', came))
}

#[test]
fn a_difference_names_its_scenario_and_shows_the_lines_from_there() -> Result<()> {
    let read = |lines: &[(&str, u32)]| {
        let line = |(name, seen): &(&str, u32)| {
            format!("{{\"scenario\": \"{name}\", \"seen\": {seen}}}\n")
        };
        Transcript::read(&lines.iter().map(line).collect::<String>())
    };
    let direct = read(&[("a", 1), ("b", 1), ("b", 2), ("c", 3)])?;
    assert_eq!(direct.differences(&direct), [""; 0]);
    // Scenarios are compared each for itself.
    let other = read(&[("a", 1), ("c", 3), ("b", 1), ("b", 5), ("d", 4)])?;
    let line = |name: &str, seen: u32| format!("{{\"scenario\": \"{name}\", \"seen\": {seen}}}");
    assert_eq!(
        direct.differences(&other),
        [
            format!("b:\n  - {}\n  + {}\n", line("b", 2), line("b", 5)),
            format!("d:\n  + {}\n", line("d", 4)),
        ]
    );
    Ok(())
}
