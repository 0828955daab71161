//! How things stand, a line for each entrypoint.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{super::Local, Said};
use crate::engine::Census;

/// The shortest time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The longest while instances wait for invocations, of whose arrival nobody tells.
const IDLE: Duration = Duration::from_millis(500);

/// Shows it for as long as something changes. Without a terminal there is nothing to do.
pub(crate) async fn follow(local: Local) {
    let view = &local.view;
    if !view.is_live {
        return;
    }
    let mut shown = Vec::new();
    loop {
        let (lines, pulse) = look(&local);
        if lines != shown {
            view.say(Said::Status(lines.clone()));
            shown = lines;
        }
        sleep(LOOK).await;
        match pulse {
            Pulse::Busy => {}
            Pulse::Idle => drop(timeout(IDLE, view.changed.notified()).await),
            // Everything begins with an instance, and that is told.
            Pulse::None => view.changed.notified().await,
        }
    }
}

/// How soon things may stand otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pulse {
    None,
    Idle,
    Busy,
}

fn look(local: &Local) -> (Vec<String>, Pulse) {
    let shown = local.shown();
    let width = shown
        .iter()
        .map(|(_, name, _)| name.len())
        .max()
        .unwrap_or(0);
    let mut pulse = Pulse::None;
    let lines = shown.into_iter().map(|(entrypoint, name, last)| {
        let (waiting, _, census) = entrypoint.census();
        pulse = pulse.max(pulse_of(census, waiting));
        line(&format!("{name:width$}"), waiting, census, last.as_deref())
    });
    (lines.collect(), pulse)
}

fn pulse_of(census: Census, waiting: usize) -> Pulse {
    let Census {
        booting,
        idle,
        busy,
        frozen,
        draining,
    } = census;
    if waiting > 0 || booting + busy + draining > 0 {
        Pulse::Busy
    } else if idle + frozen > 0 {
        Pulse::Idle
    } else {
        Pulse::None
    }
}

fn line(name: &str, waiting: usize, census: Census, last: Option<&str>) -> String {
    let Census {
        booting,
        idle,
        busy,
        frozen,
        draining,
    } = census;
    let counts = [
        (booting, "booting"),
        (idle, "idle"),
        (busy, "busy"),
        (frozen, "frozen"),
        (draining, "draining"),
    ];
    let counts = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"));
    let mut parts: Vec<_> = counts.collect();
    if parts.is_empty() {
        parts.push("no instance".to_owned());
    }
    if waiting > 0 {
        parts.push(format!("{waiting} waiting"));
    }
    let last = last.map(|last| format!("last boot: {last}"));
    parts.extend(last);
    format!("{name}  {}", parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_counted() {
        let none = Census::default();
        assert_eq!(line("web", 0, none, None), "web  no instance");
        let some = Census {
            busy: 2,
            booting: 1,
            ..none
        };
        let line = line("web", 3, some, Some("43 ms"));
        assert_eq!(
            line,
            "web  1 booting · 2 busy · 3 waiting · last boot: 43 ms"
        );
    }
}
