//! What an answer's headers say about its way.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::head;
use crate::entrypoint::Slot;

/// What most values begin with: those of invocations that wait for nothing.
const AT_ONCE: &str = "queue;dur=0.0, boot;dur=0.0, thaw;dur=0.0";
/// Bytes of the usual value; if there is room for no more, it is not allocated twice.
const USUAL: usize = AT_ONCE.len() + ", exec;dur=0.0".len();
/// A wait that is not nothing, as it is written: in tenths of a millisecond, rounded.
const SHORTEST: Duration = Duration::from_micros(50);

/// What the time of an invocation went into.
pub(super) struct Timing<'a> {
    pub(super) waited: Duration,
    pub(super) slot: &'a Slot,
    pub(super) exec: Duration,
}

impl Timing<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match (self.slot.boot, self.slot.thaw) {
            (Some(_), _) => "cold",
            (None, Some(_)) => "thawed",
            (None, None) => "hot",
        }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let mut value = String::with_capacity(USUAL);
        if self.waited < SHORTEST {
            value.push_str(AT_ONCE);
        } else {
            self.write_wait(&mut value);
        }
        add(&mut value, [", ", "exec"], self.exec);
        let stages = self.slot.boot.and(self.slot.instance.boot.get());
        for (stage, time) in stages.iter().flat_map(|boot| &boot.stages[..4]) {
            add(&mut value, [", boot-", stage], *time);
        }
        headers.insert(head::BOOT, HeaderValue::from_static(self.kind()));
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(head::SERVER_TIMING, value);
        }
    }

    fn write_wait(&self, value: &mut String) {
        // An invocation may have come while the instance was booting already.
        let boot = self.slot.boot.unwrap_or_default().min(self.waited);
        let thaw = self.slot.thaw.unwrap_or_default().min(self.waited - boot);
        let queue = self.waited - boot - thaw;
        add(value, ["", "queue"], queue);
        add(value, [", ", "boot"], boot);
        add(value, [", ", "thaw"], thaw);
    }
}

/// Adds a metric, in milliseconds with one digit after the point. By hand: every answer has four, and `fmt` takes longer than the route.
fn add(value: &mut String, name: [&str; 2], time: Duration) {
    let tenths = time.as_secs() * 10_000 + u64::from((time.subsec_micros() + 50) / 100);
    let (whole, tenth) = (tenths / 10, b'0' + (tenths % 10) as u8);
    let mut digits = itoa::Buffer::new();
    for part in [name[0], name[1], ";dur=", digits.format(whole), "."] {
        value.push_str(part);
    }
    value.push(char::from(tenth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_nothing_reads_the_same_as_everybody() {
        let mut value = String::new();
        for name in [["", "queue"], [", ", "boot"], [", ", "thaw"]] {
            add(&mut value, name, SHORTEST - Duration::from_micros(1));
        }
        assert_eq!(value, AT_ONCE);
    }

    #[test]
    fn times_are_milliseconds_with_one_digit() {
        let mut value = String::new();
        for micros in [0, 49, 50, 950, 1_250_000, 61_000_049] {
            add(&mut value, [", ", "a"], Duration::from_micros(micros));
        }
        assert_eq!(
            value,
            ", a;dur=0.0, a;dur=0.0, a;dur=0.1, a;dur=1.0, a;dur=1250.0, a;dur=61000.0"
        );
    }
}
