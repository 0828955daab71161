//! What each step of a plan does to a world.

use super::*;

impl World {
    pub(super) fn step(&mut self, step: &Step) -> Held {
        match *step {
            Step::Arrive => self.arrive(),
            Step::Cancel(which) => self.cancel(which),
            Step::End(which, ending) => self.end(which, ending),
            Step::Again(which) => self.arrive_again(which),
            Step::Took(time) => self.other(|engine, now| {
                engine.took(time);
                engine.tick(now)
            }),
            Step::Reconcile => self.reconcile(),
            Step::RefuseCreation => self.refuse_creation(),
            Step::ConfirmScale => self.confirm_scale(),
            Step::ConfirmMark => self.confirm_mark(),
            Step::Obey => self.obey(),
            Step::Permit(boots) => self.permit(boots),
            Step::Accept(which) => self.accept(which),
            Step::WaitsFor(which) => self.waits_for(which),
            Step::Break(which) => self.break_down(which),
            Step::Evict(which) => match self.cluster.nth(which) {
                Some(id) => self.delete(id),
                None => Ok(()),
            },
            Step::Hold(which) => self.hold(which),
            Step::Own(takeover) => self.own(takeover),
            Step::Leave => self.leave(),
            Step::Sleep(time) => self.sleep(time, |_| Ok(())),
            Step::Configure(min, max, concurrency) => self.configure(min, max, concurrency),
            Step::Quiet => self.quiet(),
        }
    }

    fn arrive(&mut self) -> Held {
        // The routes of a replica that leaves lead elsewhere.
        if self.role == Role::Leaving {
            return Ok(());
        }
        let invocation = self.clients.arrive(self.now);
        let (admission, effects) = self.core.arrive(self.now);
        match admission {
            Admission::Run(instance) => {
                let first = self.clients.waiting.first();
                Property::Fifo.requires(first.is_none(), || format!("{first:?} was overtaken"))?;
                self.run(invocation, instance)?;
            }
            Admission::Wait(waiter) => self.clients.wait(invocation, waiter),
            Admission::Refuse(_) => {}
        }
        self.carry_out(effects)
    }

    pub(super) fn cancel(&mut self, which: usize) -> Held {
        let Some(which) = which.checked_rem(self.clients.waiting.len()) else {
            return Ok(());
        };
        let waiter = self.clients.cancel(which);
        let before = self.core.waiting();
        let effects = self.core.cancel(waiter, self.now);
        let after = self.core.waiting();
        Property::CancelledStays.requires(after < before, || format!("{waiter:?} is queued"))?;
        self.carry_out(effects)
    }

    pub(super) fn end(&mut self, which: usize, ending: Ending) -> Held {
        let Some(which) = which.checked_rem(self.clients.slots.len()) else {
            return Ok(());
        };
        let (_, instance) = self.clients.slots.swap_remove(which);
        self.is_losing = ending == Ending::Broken;
        let effects = self.core.end(instance, ending, self.now);
        self.carry_out(effects)
    }

    fn arrive_again(&mut self, which: usize) -> Held {
        let Some(which) = which.checked_rem(self.clients.slots.len()) else {
            return Ok(());
        };
        let (invocation, instance) = self.clients.give_back(which);
        self.is_losing = true;
        let again = self.core.arrive_again(instance, invocation.since, self.now);
        let (waiter, effects) = again;
        self.clients.wait(invocation, waiter);
        self.carry_out(effects)
    }

    pub(super) fn reconcile(&mut self) -> Held {
        while self.cluster.pods.len() < self.cluster.replicas as usize {
            let id = self.cluster.make();
            let effects = self.core.seen(id, false, self.now);
            self.carry_out(effects)?;
        }
        while let Some(victim) = self.cluster.victim() {
            let pod = &self.cluster.pods[&victim];
            let is_busy = self.clients.load(victim) > 0 || pod.is_foreign(self.now);
            Property::BusyIsKept
                .requires(!is_busy, || format!("{victim:?} is deleted: {pod:?}"))?;
            self.delete(victim)?;
        }
        Ok(())
    }

    fn delete(&mut self, id: InstanceId) -> Held {
        self.cluster.pods.remove(&id);
        self.is_losing = true;
        let cut = self.clients.cut(id);
        let effects = self.core.gone(id, self.now);
        self.carry_out(effects)?;
        self.cut_ends(id, cut)
    }

    /// The shell ends what was cut; the engine counts some of it no more.
    fn cut_ends(&mut self, id: InstanceId, cut: usize) -> Held {
        for _ in 0..cut {
            let effects = self.core.end(id, Ending::Broken, self.now);
            self.carry_out(effects)?;
        }
        Ok(())
    }

    fn refuse_creation(&mut self) -> Held {
        if self.cluster.pods.len() >= self.cluster.replicas as usize {
            return Ok(());
        }
        self.other(|engine, now| engine.creation_refused(failure(), now))
    }

    pub(super) fn confirm_scale(&mut self) -> Held {
        let Some(replicas) = self.cluster.write.take() else {
            return Ok(());
        };
        self.cluster.replicas = replicas;
        let effects = self.core.scaled(replicas, self.now);
        self.carry_out(effects)
    }

    pub(super) fn confirm_mark(&mut self) -> Held {
        let marks = self.cluster.mark();
        let effects = self.core.marked(&marks, self.now);
        self.carry_out(effects)
    }

    pub(super) fn accept(&mut self, which: usize) -> Held {
        let Some(id) = self.cluster.nth_dialed(which) else {
            return Ok(());
        };
        let pod = self.cluster.pods.get_mut(&id).expect("picked from them");
        (pod.is_ready, pod.is_up, pod.is_dialed) = (true, true, false);
        self.other(|engine, now| engine.accepted(id, now))
    }

    /// The cluster freezes or thaws an instance.
    pub(super) fn obey(&mut self) -> Held {
        match self.cluster.obey() {
            Some((id, Order::Freeze)) => self.other(|engine, now| engine.frozen(id, now)),
            Some((id, Order::Thaw)) => self.other(|engine, now| engine.thawed(id, now)),
            None => Ok(()),
        }
    }

    /// Permits boots to an engine that lacks some, which no other does.
    pub(super) fn permit(&mut self, boots: u32) -> Held {
        let permitted = self.core.engine().claim().lacking.min(boots);
        if permitted == 0 {
            return Ok(());
        }
        self.other(|engine, now| engine.permit(permitted, now))
    }

    fn waits_for(&mut self, which: usize) -> Held {
        let Some(id) = self.cluster.nth_dialed(which) else {
            return Ok(());
        };
        self.other(|engine, now| engine.waits_for(id, failure(), now))
    }

    /// The container ends.
    fn break_down(&mut self, which: usize) -> Held {
        let Some(id) = self.cluster.nth(which) else {
            return Ok(());
        };
        let pod = self.cluster.pods.get_mut(&id).expect("picked from them");
        (pod.is_ready, pod.is_up, pod.is_dialed) = (false, false, false);
        pod.foreign_until = None;
        self.is_losing = true;
        self.other(|engine, now| engine.broke(id, failure(), now))?;
        while self.clients.load(id) > 0 {
            let of_instance = |(_, instance): &(_, _)| *instance == id;
            let at = self.clients.slots.iter().position(of_instance);
            self.end(at.expect("it has a load"), Ending::Broken)?;
        }
        Ok(())
    }

    /// Only an instance that was there before can turn out to be another's, and only before it is used here.
    fn hold(&mut self, which: usize) -> Held {
        let Some(id) = self.cluster.nth(which) else {
            return Ok(());
        };
        let until = self.now + self.settings.suspect_for;
        let role = self.role;
        let pod = self.cluster.pods.get_mut(&id).expect("picked from them");
        if role == Role::Leaving || pod.is_up || pod.has_failed || !pod.is_ready {
            return Ok(());
        }
        pod.is_held = !pod.is_held;
        pod.foreign_until = match (role, pod.is_held) {
            (Role::Owner, true) => pod.foreign_until.or(Some(until)),
            _ => None,
        };
        let is_held = pod.is_held;
        self.other(|engine, now| engine.hold(id, is_held, now))
    }

    pub(super) fn own(&mut self, takeover: Takeover) -> Held {
        if self.role != Role::Standby {
            return Ok(());
        }
        self.role = Role::Owner;
        let until = self.now + self.settings.suspect_for;
        for pod in self.cluster.pods.values_mut() {
            let is_foreign = pod.is_held || takeover == Takeover::Lapsed;
            pod.foreign_until = (pod.is_ready && is_foreign).then_some(until);
        }
        self.other(|engine, now| engine.own(takeover, now))
    }

    fn leave(&mut self) -> Held {
        if self.role != Role::Owner {
            return Ok(());
        }
        self.role = Role::Leaving;
        let (kept, effects) = self.core.leave(self.now);
        self.kept = kept;
        for (_, instance) in &self.clients.slots {
            Property::OneOwner.requires(self.kept.contains(instance), || {
                format!("{instance:?} is used and not kept: {:?}", self.kept)
            })?;
        }
        self.carry_out(effects)
    }

    fn configure(&mut self, min: u32, max: u32, concurrency: u32) -> Held {
        self.settings = Settings {
            min,
            max,
            concurrency,
            ..self.settings
        };
        let effects = self.core.configure(self.settings, self.now);
        self.carry_out(effects)
    }
}
