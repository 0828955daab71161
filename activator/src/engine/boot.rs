//! From asking for an instance to its first accepted connection, or to a failure.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    BootFailure, BootReport, Engine, Instance, InstanceId, Refusal, Role, Shelf, State, Takeover,
    instance::NEVER_AGAIN,
};

/// Wait after the first failed boot; doubled after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait between two boots.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A boot without a limit that nobody waits for is given up after this.
const UNWANTED: Duration = Duration::from_secs(300);

/// Failed boots in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
    last: BootFailure,
}

impl Backoff {
    /// When the next boot may start, if that is not now.
    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    fn failed(&mut self, failure: BootFailure, now: Instant) {
        // Instances that fail together are one failure.
        if self.retry_at(now).is_none() {
            let wait = FIRST_RETRY
                .saturating_mul(1 << self.failures.min(5))
                .min(LAST_RETRY);
            self.failures += 1;
            self.until = Some(now + wait);
        }
        self.last = failure;
    }
}

impl Engine {
    /// A pod was seen. `held` says that another replica is using it.
    pub fn seen(&mut self, id: InstanceId, held: bool, now: Instant) -> super::Effects {
        if self.role != Role::Leaving && !self.knows(id) {
            let since = self.asked.pop_front();
            // Made while `replicas` is being lowered below it: on its way out already.
            let surplus = since.is_none()
                && self
                    .writing
                    .is_some_and(|replicas| replicas <= self.written());
            let state = if surplus {
                State::Retiring
            } else {
                State::Unowned
            };
            self.fleet.insert(id, Instance::new(state, held, now));
            match (self.role, since) {
                (Role::Owner, Some(since)) => self.boot(id, since, false),
                // Nobody here asked for it: the ReplicaSet replaced a pod, or a person scaled.
                (Role::Owner, None) if !surplus => self.adopt(id, Takeover::Released, now),
                _ => {}
            }
        }
        self.settle(now)
    }

    /// Another replica began or ended its use of the instance.
    pub fn hold(&mut self, id: InstanceId, held: bool, now: Instant) -> super::Effects {
        let before = self
            .fleet
            .change(id, |instance| std::mem::replace(&mut instance.held, held));
        if self.role == Role::Owner
            && before == Some(!held)
            && let Some(instance) = self.fleet.get(id)
        {
            match (held, &instance.state) {
                (false, State::Suspect { .. }) => self.boot(id, now, true),
                // Taken over before this was known: it is the other's as long as it says so.
                (true, State::Booting { .. } | State::Serving) if instance.running == 0 => {
                    self.suspect(id, now)
                }
                _ => {}
            }
        }
        self.settle(now)
    }

    /// The instance accepted a connection.
    pub fn accepted(&mut self, id: InstanceId, now: Instant) -> super::Effects {
        if let Some(State::Booting {
            since, is_adopted, ..
        }) = self.fleet.get(id).map(|instance| &instance.state)
        {
            if !is_adopted {
                let took = now - *since;
                self.boot.note(took);
                self.effects.boots.push(BootReport {
                    instance: Some(id),
                    took,
                    failure: None,
                    timed_out: false,
                });
            }
            self.failures = Backoff::default();
            self.uses += 1;
            let uses = self.uses;
            self.fleet.change(id, |instance| {
                instance.state = State::Serving;
                (instance.last_use, instance.used_at) = (uses, now);
            });
        }
        self.settle(now)
    }

    /// Kubernetes says what the instance waits for; not a failure yet.
    pub fn waits_for(&mut self, id: InstanceId, what: BootFailure, now: Instant) -> super::Effects {
        self.fleet.change(id, |instance| {
            if let State::Booting { waits_for, .. } = &mut instance.state {
                *waits_for = Some(what);
            }
        });
        self.settle(now)
    }

    /// The boot of the instance cannot succeed, or the container ended after it had served.
    pub fn broke(&mut self, id: InstanceId, failure: BootFailure, now: Instant) -> super::Effects {
        match self.fleet.get(id).map(|instance| &instance.state) {
            Some(State::Booting { since, .. }) => {
                let took = now - *since;
                self.spend(id);
                self.boot_failed(Some(id), took, failure, false, now);
            }
            Some(State::Serving | State::Suspect { .. } | State::Unowned) => self.spend(id),
            // Nor is it taken back into use.
            Some(State::Marking | State::Retiring) => {
                self.fleet
                    .change(id, |instance| instance.last_use = NEVER_AGAIN);
            }
            _ => {}
        }
        self.settle(now)
    }

    /// The cluster refuses to make the pods that were asked for: quota, admission.
    pub fn creation_refused(&mut self, failure: BootFailure, now: Instant) -> super::Effects {
        if let Some(asked) = self.asked.front().copied() {
            self.asked.clear();
            self.boot_failed(None, now - asked, failure, false, now);
        }
        self.settle(now)
    }

    fn boot(&mut self, id: InstanceId, since: Instant, is_adopted: bool) {
        self.fleet.change(id, |instance| {
            instance.state = State::Booting {
                since,
                waits_for: None,
                is_adopted,
            }
        });
        self.effects.dial.push(id);
    }

    pub(super) fn adopt(&mut self, id: InstanceId, takeover: Takeover, now: Instant) {
        let is_held = self.fleet.get(id).is_some_and(|instance| instance.held);
        if is_held || takeover == Takeover::Lapsed {
            self.suspect(id, now);
        } else {
            self.boot(id, now, true);
        }
    }

    fn suspect(&mut self, id: InstanceId, now: Instant) {
        let until = now + self.settings.suspect_for;
        self.fleet
            .change(id, |instance| instance.state = State::Suspect { until });
    }

    /// When the oldest boot in flight began, seen or not.
    pub(super) fn first_boot(&self) -> Option<Instant> {
        let seen = self.fleet.first(Shelf::Booting).map(|(since, _)| since);
        seen.into_iter().chain(self.asked.front().copied()).min()
    }

    /// When a boot that began then is given up. One without a limit and without a waiter is not kept for ever: nothing is scaled down
    /// while it is in flight.
    pub(super) fn boot_deadline(&self, since: Instant) -> Option<Instant> {
        let unwanted = self.queue.is_empty().then_some(UNWANTED);
        self.settings
            .boot_timeout
            .or(unwanted)
            .map(|timeout| since + timeout)
    }

    /// Gives up boots that take longer than `timeouts.boot`, and trusts suspects whose time is over.
    pub(super) fn expire_boots(&mut self, now: Instant) {
        while let Some((until, id)) = self.fleet.first(Shelf::Suspect)
            && until <= now
        {
            self.boot(id, now, true);
        }
        while let Some((since, id)) = self.fleet.first(Shelf::Booting)
            && self.is_overdue(since, now)
        {
            let failure = self.what_booting_waits_for();
            let took = self.settings.boot_timeout.unwrap_or(UNWANTED);
            self.spend(id);
            self.boot_failed(Some(id), took, failure, true, now);
        }
        if let Some(asked) = self.asked.front().copied()
            && self.is_overdue(asked, now)
        {
            let failure = self.what_booting_waits_for();
            while let Some(asked) = self.asked.front()
                && self.is_overdue(*asked, now)
            {
                self.asked.pop_front();
            }
            self.boot_failed(None, now - asked, failure, true, now);
        }
    }

    fn is_overdue(&self, since: Instant, now: Instant) -> bool {
        self.boot_deadline(since)
            .is_some_and(|deadline| deadline <= now)
    }

    /// What the oldest boot waits for, in Kubernetes' words where it has said something.
    pub(super) fn what_booting_waits_for(&self) -> BootFailure {
        let booting = self.fleet.on(Shelf::Booting);
        let mut booting = booting.filter_map(|(_, id)| self.fleet.get(id));
        let said = booting.find_map(|instance| match &instance.state {
            State::Booting { waits_for, .. } => waits_for.clone(),
            _ => None,
        });
        if self.boots() == 0 && self.lacking == 0 && self.failures.failures > 0 {
            return self.failures.last.clone();
        }
        said.unwrap_or_else(|| {
            let (reason, message) = if self.boots() == 0 && self.lacking > 0 {
                ("NoRoom", "the bound of instances in the cluster, of instances in the namespace, or of boots in flight is reached")
            } else if self.asked.is_empty() {
                ("NotListening", "the instance runs but accepts no connection: listen on 0.0.0.0 at the port in $PORT")
            } else {
                ("NoPod", "the cluster has not made the instance yet")
            };
            BootFailure { reason: reason.to_owned(), message: message.to_owned() }
        })
    }

    /// Why an arrival need not wait: the last boot failed a moment ago and nothing else can serve it.
    pub(super) fn boot_refused(&self, now: Instant) -> Option<BootFailure> {
        let refused =
            self.role == Role::Owner && self.usable() == 0 && self.failures.retry_at(now).is_some();
        refused.then(|| self.failures.last.clone())
    }

    fn boot_failed(
        &mut self,
        instance: Option<InstanceId>,
        took: Duration,
        failure: BootFailure,
        timed_out: bool,
        now: Instant,
    ) {
        self.failures.failed(failure.clone(), now);
        self.effects.boots.push(BootReport {
            instance,
            took,
            failure: Some(failure.clone()),
            timed_out,
        });
        if self.usable() == 0 {
            let refusal = if timed_out {
                Refusal::BootTimeout(failure)
            } else {
                Refusal::BootFailed(failure)
            };
            let refused = self.queue.drain().map(|waiter| (waiter, refusal.clone()));
            self.effects.refused.extend(refused);
        }
    }
}
