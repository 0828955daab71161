//! The engine, or one that breaks one thing on the way in or out.

use super::*;

/// What a broken core does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    DropsEnds,
    AdmitsOneMore,
    HandsSlotsTwice,
    TrustsHeld,
    AnswersTwice,
    KeepsRefused,
    LosesAnswers,
    ForgetsWaiters,
    SwapsWaiters,
    AsksForTooMany,
    AsksForTooFew,
    IdlesTooLong,
    NeverLowers,
    DropsTicks,
    SetsNoTimerForWaiters,
    RingsLate,
    DropsCancels,
    HidesCancelled,
    WritesTwice,
    MarksTheWrong,
    IgnoresRetirement,
    RingsAtOnce,
}

impl Fault {
    /// Each, with the properties that may be the first to be violated.
    pub(super) const ALL: [(Self, &[Property]); 22] = [
        (Self::DropsEnds, &[Property::RunningWithinSlots]),
        (Self::AdmitsOneMore, &[Property::OneOwner]),
        (Self::HandsSlotsTwice, &[Property::OneOwner]),
        // What another replica uses is given an invocation, or scaled away.
        (
            Self::TrustsHeld,
            &[Property::OneOwner, Property::BusyIsKept],
        ),
        (Self::AnswersTwice, &[Property::OneAnswer]),
        (Self::KeepsRefused, &[Property::OneAnswer]),
        (Self::LosesAnswers, &[Property::NoneLost]),
        (Self::ForgetsWaiters, &[Property::NoneLost]),
        (Self::SwapsWaiters, &[Property::Fifo]),
        (Self::AsksForTooMany, &[Property::WantedWithinBounds]),
        (Self::AsksForTooFew, &[Property::WantedWithinBounds]),
        (Self::IdlesTooLong, &[Property::IdleToMinimum]),
        // With no more than `min` there is nothing to lower before the end.
        (
            Self::NeverLowers,
            &[Property::IdleToMinimum, Property::NothingLeft],
        ),
        // Ticks end waits and scale down; which is missed first depends on the run.
        (
            Self::DropsTicks,
            &[Property::Deadline, Property::IdleToMinimum],
        ),
        (Self::SetsNoTimerForWaiters, &[Property::Deadline]),
        (
            Self::RingsLate,
            &[Property::Deadline, Property::IdleToMinimum],
        ),
        (Self::DropsCancels, &[Property::CancelledStays]),
        (Self::HidesCancelled, &[Property::CancelledStays]),
        (Self::WritesTwice, &[Property::OneWrite]),
        (Self::MarksTheWrong, &[Property::BusyIsKept]),
        (Self::IgnoresRetirement, &[Property::NothingLeft]),
        (Self::RingsAtOnce, &[Property::TimersMoveOn]),
    ];
}

/// What a world plays against.
pub(super) struct Core {
    engine: Engine,
    fault: Option<Fault>,
    settings: Settings,
    start: Instant,
    /// The instance that got a slot last, unless an invocation ended or an instance went since.
    last: Option<InstanceId>,
    /// Cancelled waiters that the engine still has.
    hidden: Vec<WaiterId>,
    /// `replicas` that the engine asked for last.
    written: Option<u32>,
    is_writing: bool,
    /// A boot failed once.
    has_failed: bool,
    /// Ends so far.
    ends: usize,
    /// What was to be marked.
    marks: Vec<(InstanceId, Marking)>,
}

impl Core {
    pub(super) fn new(plan: &Plan, fault: Option<Fault>, start: Instant) -> Self {
        let settings = plan.settings;
        let mut core = Self {
            engine: if plan.is_paced {
                Engine::paced(settings)
            } else {
                Engine::new(settings)
            },
            fault,
            settings,
            start,
            last: None,
            hidden: vec![],
            written: None,
            is_writing: false,
            has_failed: false,
            ends: 0,
            marks: vec![],
        };
        core.configure(settings, start);
        core
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn arrive(&mut self, now: Instant) -> (Admission, Effects) {
        let (admission, effects) = self.engine.arrive(now);
        let admission = match (admission, self.last) {
            (Admission::Wait(waiter), Some(last))
                if self.has(Fault::HandsSlotsTwice) && self.engine.waiting() == 1 =>
            {
                self.engine.cancel(waiter, now);
                Admission::Run(last)
            }
            (Admission::Wait(_), _) if self.has(Fault::KeepsRefused) => {
                Admission::Refuse(Refusal::QueueFull)
            }
            (Admission::Wait(waiter), _) if self.has(Fault::ForgetsWaiters) => {
                self.engine.cancel(waiter, now);
                Admission::Wait(waiter)
            }
            (admission, _) => admission,
        };
        if let Admission::Run(instance) = admission {
            self.last = Some(instance);
        }
        (admission, self.bent(effects))
    }

    pub(super) fn arrive_again(
        &mut self,
        instance: InstanceId,
        since: Instant,
        now: Instant,
    ) -> (WaiterId, Effects) {
        self.last = None;
        let (waiter, effects) = self.engine.arrive_again(instance, since, now);
        (waiter, self.bent(effects))
    }

    pub(super) fn cancel(&mut self, waiter: WaiterId, now: Instant) -> Effects {
        let effects = match self.fault {
            Some(Fault::DropsCancels) => self.engine.tick(now),
            Some(Fault::HidesCancelled) => {
                self.hidden.push(waiter);
                self.engine.tick(now)
            }
            _ => self.engine.cancel(waiter, now),
        };
        self.bent(effects)
    }

    pub(super) fn end(&mut self, instance: InstanceId, ending: Ending, now: Instant) -> Effects {
        self.last = None;
        self.ends += 1;
        let effects = if self.has(Fault::DropsEnds) && self.ends.is_multiple_of(3) {
            self.engine.tick(now)
        } else {
            self.engine.end(instance, ending, now)
        };
        self.bent(effects)
    }

    pub(super) fn tick(&mut self, now: Instant) -> Effects {
        if self.has(Fault::DropsTicks) {
            return Effects::default();
        }
        let effects = self.engine.tick(now);
        self.bent(effects)
    }

    pub(super) fn configure(&mut self, settings: Settings, now: Instant) -> Effects {
        self.settings = settings;
        let mut told = settings;
        told.concurrency += u32::from(self.has(Fault::AdmitsOneMore));
        told.idle_after *= 1 + u32::from(self.has(Fault::IdlesTooLong));
        let effects = self.engine.configure(told, now);
        self.bent(effects)
    }

    pub(super) fn gone(&mut self, id: InstanceId, now: Instant) -> Effects {
        self.last = None;
        let effects = self.engine.gone(id, now);
        self.bent(effects)
    }

    pub(super) fn seen(&mut self, id: InstanceId, held: bool, now: Instant) -> Effects {
        let held = held && !self.has(Fault::TrustsHeld);
        let effects = self.engine.seen(id, held, now);
        self.bent(effects)
    }

    pub(super) fn scaled(&mut self, replicas: u32, now: Instant) -> Effects {
        self.is_writing = false;
        let effects = self.engine.scaled(Some(replicas), now);
        self.bent(effects)
    }

    pub(super) fn marked(&mut self, marked: &[(InstanceId, Marking)], now: Instant) -> Effects {
        let effects = if self.has(Fault::MarksTheWrong) {
            let marks = std::mem::take(&mut self.marks);
            self.engine.marked(&marks, now)
        } else {
            self.engine.marked(marked, now)
        };
        self.bent(effects)
    }

    pub(super) fn retire(&mut self, now: Instant) -> Effects {
        let effects = if self.has(Fault::IgnoresRetirement) {
            self.engine.tick(now)
        } else {
            self.engine.retire(now)
        };
        self.bent(effects)
    }

    pub(super) fn leave(&mut self, now: Instant) -> (Vec<InstanceId>, Effects) {
        let (kept, effects) = self.engine.leave(now);
        (kept, self.bent(effects))
    }

    /// Any other input: no fault is in there.
    pub(super) fn other(&mut self, input: impl FnOnce(&mut Engine) -> Effects) -> Effects {
        let effects = input(&mut self.engine);
        self.bent(effects)
    }

    pub(super) fn waiting(&self) -> usize {
        self.engine.waiting() - self.hidden.len()
    }

    /// What the engine says about itself, for everything else.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn bent(&mut self, mut effects: Effects) -> Effects {
        if let Some((_, instance)) = effects.dispatched.last() {
            self.last = Some(*instance);
        }
        let is_over = |waiter: &WaiterId| {
            effects.dispatched.iter().any(|(id, _)| id == waiter)
                || effects.refused.iter().any(|(id, _)| id == waiter)
        };
        self.hidden.retain(|waiter| !is_over(waiter));
        self.has_failed |= effects.boots.iter().any(|boot| boot.failure.is_some());
        match self.fault {
            Some(Fault::AnswersTwice) => {
                let refused = effects.refused.last().cloned();
                let dispatched = effects.dispatched.last().copied();
                effects.refused.extend(refused);
                let again = dispatched.map(|(waiter, _)| (waiter, Refusal::QueueFull));
                effects.refused.extend(again);
            }
            Some(Fault::LosesAnswers) => {
                effects.dispatched.pop();
                effects.refused.pop();
            }
            Some(Fault::SwapsWaiters) => {
                if let [(first, _), (second, _), ..] = &mut effects.dispatched[..] {
                    std::mem::swap(first, second);
                }
            }
            Some(Fault::SetsNoTimerForWaiters) if self.engine.waiting() > 0 => effects.wake = None,
            Some(Fault::RingsLate) => effects.wake = effects.wake.map(|wake| wake + seconds(1)),
            Some(Fault::RingsAtOnce) => effects.wake = Some(self.start),
            Some(Fault::MarksTheWrong) => {
                self.marks.extend_from_slice(&effects.mark);
                effects.mark.iter_mut().for_each(|(id, _)| id.0 += 1);
            }
            _ => effects.scale = self.bent_scale(effects.scale),
        }
        effects
    }

    fn bent_scale(&mut self, asked: Option<u32>) -> Option<u32> {
        let Settings { min, max, .. } = self.settings;
        let draining = self.engine.census().draining;
        let before = self.written;
        self.written = asked.or(before);
        self.is_writing |= asked.is_some();
        match (self.fault, asked) {
            (Some(Fault::AsksForTooMany), Some(replicas)) if replicas >= max => {
                Some(replicas + max + 8)
            }
            // Less is legitimate while instances go and after a failed boot.
            (Some(Fault::AsksForTooFew), Some(replicas))
                if min > 0 && replicas == min && !self.has_failed && draining == 0 =>
            {
                Some(min - 1)
            }
            (Some(Fault::NeverLowers), Some(_)) => asked.filter(|asked| Some(*asked) > before),
            (Some(Fault::WritesTwice), None) if self.is_writing => self.written,
            _ => asked,
        }
    }
}
