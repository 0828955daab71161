//! An instance of the entrypoint and how far its boot has come.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Order;
use crate::{
    alarm::Alarm,
    engine::InstanceId,
    instance::{Address, Instance},
};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) stages: Stages,
    /// Of invocations that have ended, for the next ones: to set a timer anew costs more than to let an old one be.
    pub(super) alarms: Vec<Alarm>,
    dial: Dial,
    /// When its thaw began.
    thawing_since: Option<Instant>,
    /// How long its last thaw took and when it was over, until an invocation has used it.
    pub(super) thaw: Option<(Duration, Instant)>,
}

/// How far the first connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dial {
    Unwanted,
    /// The engine asked for it; the address is not known yet.
    Wanted,
    UnderWay,
}

impl Member {
    pub(super) fn new(name: &str) -> Self {
        let stages = Stages {
            seen: Instant::now(),
            scheduled: None,
            located: None,
        };
        Self {
            instance: Arc::new(Instance::new(name.to_owned())),
            stages,
            alarms: Vec::new(),
            dial: Dial::Unwanted,
            thawing_since: None,
            thaw: None,
        }
    }

    /// Where it will listen.
    pub(super) fn locate(&mut self, id: InstanceId, address: Address) -> Option<Order> {
        if !self.instance.locate(address) {
            return None;
        }
        self.stages.located = Some(Instant::now());
        self.begin_dial(id)
    }

    /// The engine wants it connected.
    pub(super) fn dial(&mut self, id: InstanceId) -> Option<Order> {
        if self.dial == Dial::Unwanted {
            self.dial = Dial::Wanted;
        }
        self.begin_dial(id)
    }

    fn begin_dial(&mut self, id: InstanceId) -> Option<Order> {
        if self.dial != Dial::Wanted || !self.instance.is_located() {
            return None;
        }
        self.dial = Dial::UnderWay;
        Some(Order::Dial(id, Arc::downgrade(&self.instance)))
    }

    /// It is connected.
    pub(super) fn dialed(&mut self) {
        self.dial = Dial::Unwanted;
    }

    /// Its name. Connections do not survive: the timers of the instance fire first when it runs again, and close them.
    pub(super) fn freeze(&self) -> String {
        self.instance.drop_connections();
        self.instance.name.clone()
    }

    /// Its name.
    pub(super) fn thaw(&mut self, now: Instant) -> String {
        self.thawing_since = Some(now);
        self.instance.name.clone()
    }

    /// It runs again; how long that took.
    pub(super) fn thawed(&mut self, now: Instant) -> Option<Duration> {
        let took = now - self.thawing_since.take()?;
        self.thaw = Some((took, now));
        Some(took)
    }
}

/// When each stage of the boot was seen to end.
#[derive(Debug)]
pub(super) struct Stages {
    seen: Instant,
    pub(super) scheduled: Option<Instant>,
    pub(super) located: Option<Instant>,
}

impl Stages {
    /// Lengths of the stages of a boot that took this long until now.
    pub(super) fn lengths(&self, took: Duration) -> [(&'static str, Duration); 5] {
        let now = Instant::now();
        let asked = now.checked_sub(took).unwrap_or(now);
        let scheduled = self.scheduled.unwrap_or(self.seen);
        let located = self.located.unwrap_or(scheduled);
        [
            ("create", self.seen.saturating_duration_since(asked)),
            ("schedule", scheduled.saturating_duration_since(self.seen)),
            ("start", located.saturating_duration_since(scheduled)),
            ("connect", now.saturating_duration_since(located)),
            ("total", took),
        ]
    }
}
