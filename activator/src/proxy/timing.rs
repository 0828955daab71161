//! What an answer's headers say about its way.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::head;
use crate::entrypoint::Slot;

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
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        // An invocation may have come while the instance was booting already.
        let boot = self.slot.boot.unwrap_or_default().min(self.waited);
        let thaw = self.slot.thaw.unwrap_or_default().min(self.waited - boot);
        let queue = self.waited - boot - thaw;
        let mut value = format!(
            "queue;dur={:.1}, boot;dur={:.1}, thaw;dur={:.1}, exec;dur={:.1}",
            ms(queue),
            ms(boot),
            ms(thaw),
            ms(self.exec)
        );
        let stages = self.slot.boot.and(self.slot.instance.boot.get());
        for (stage, time) in stages.iter().flat_map(|boot| &boot.stages[..4]) {
            value.push_str(&format!(", boot-{stage};dur={:.1}", ms(*time)));
        }
        headers.insert(head::BOOT, HeaderValue::from_static(self.kind()));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(head::SERVER_TIMING, value);
        }
    }
}
