//! Answers that are cut at their deadlines, whether anybody polls them or not.
//!
//! One task sees to all answers of an instance. It sleeps until the first deadline there was and looks then: deadlines are far, and answers
//! nearly always end before. So an answer costs an entry in a list, and neither a task nor a timer of its own.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll, Waker},
};

use slab::Slab;
use tokio::time::{Instant, sleep_until};

/// What is watched. A clone watches with it.
#[derive(Debug)]
pub(crate) struct Deadlines<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    watched: Slab<(Instant, Shared<T>)>,
    /// When somebody will look, and who: the last that was told to.
    looks: Option<Instant>,
    looker: u64,
}

type Shared<T> = Arc<Mutex<Kept<T>>>;

/// What is watched, until it is taken or dropped.
#[derive(Debug)]
struct Kept<T> {
    what: Option<T>,
    /// Who waits for something of it, and has to hear that it is gone. A timer of its own would not do: it is among what is dropped.
    reader: Option<Waker>,
}

impl<T> Kept<T> {
    fn take(&mut self) -> (Option<T>, Option<Waker>) {
        (self.what.take(), self.reader.take())
    }
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            watched: Slab::new(),
            looks: None,
            looker: 0,
        })))
    }
}

/// Something that is dropped at its deadline, unless it is taken before.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    what: Shared<T>,
    entry: Option<(Arc<Mutex<State<T>>>, usize)>,
}

impl<T: Send + 'static> Deadlines<T> {
    /// From now on this is dropped at its deadline.
    pub(crate) fn watch(&self, what: T, deadline: Option<Instant>) -> Watched<T> {
        let what = Arc::new(Mutex::new(Kept {
            what: Some(what),
            reader: None,
        }));
        let entry = deadline.map(|deadline| {
            let mut state = lock(&self.0);
            let entry = state.watched.insert((deadline, what.clone()));
            if state.looks.is_none_or(|at| deadline < at) {
                state.looks = Some(deadline);
                state.looker += 1;
                let look = look(Arc::downgrade(&self.0), state.looker, deadline);
                // Ends when there is nothing to watch at its time, or with the runtime.
                tokio::spawn(look);
            }
            (self.0.clone(), entry)
        });
        Watched { what, entry }
    }
}

impl<T> Watched<T> {
    /// Looks at it; `None` if it was dropped.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        lock(&self.what).what.as_ref().map(look)
    }

    /// Polls it. The task is woken when it is dropped, too; `None` if it was.
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut T, &mut Context<'_>) -> Poll<R>,
    ) -> Option<Poll<R>> {
        let mut kept = lock(&self.what);
        let polled = poll(kept.what.as_mut()?, cx);
        if polled.is_pending() {
            match &mut kept.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        Some(polled)
    }

    /// Takes it, if it is still there. It is not watched any more.
    pub(crate) fn take(self) -> Option<T> {
        lock(&self.what).what.take()
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        if let Some((state, entry)) = self.entry.take() {
            lock(&state).watched.remove(entry);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

/// Drops what is late at each deadline that is then the first.
async fn look<T>(state: Weak<Mutex<State<T>>>, looker: u64, mut at: Instant) {
    loop {
        sleep_until(at).await;
        let Some(state) = state.upgrade() else {
            return;
        };
        let (late, next) = lock(&state).look(looker);
        for late in late {
            // Not under a lock of ours: it may end in anything.
            let (late, reader) = lock(&late).take();
            drop(late);
            reader.into_iter().for_each(Waker::wake);
        }
        match next {
            Some(next) => at = next,
            None => return,
        }
    }
}

impl<T> State<T> {
    /// What is late, and when to look next.
    fn look(&mut self, looker: u64) -> (Vec<Shared<T>>, Option<Instant>) {
        if looker != self.looker {
            // Another looks earlier, and sees to the rest too.
            return (Vec::new(), None);
        }
        let now = Instant::now();
        let watched = self.watched.iter().map(|(_, watched)| watched);
        let (late, coming): (Vec<_>, Vec<_>) = watched.partition(|(deadline, _)| *deadline <= now);
        let late = late.into_iter().map(|(_, what)| what.clone()).collect();
        self.looks = coming.into_iter().map(|(deadline, _)| *deadline).min();
        (late, self.looks)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn in_seconds(seconds: u32) -> Option<Instant> {
        Some(Instant::now() + SECOND * seconds)
    }

    fn is_there<T>(watched: &Watched<T>) -> bool {
        watched.look(|_| ()).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_dropped_at_its_deadline() {
        let deadlines = Deadlines::default();
        let far = deadlines.watch((), in_seconds(10));
        let near = deadlines.watch((), in_seconds(4));
        let later = deadlines.watch((), in_seconds(12));
        let never = deadlines.watch((), None);
        sleep(SECOND * 3).await;
        assert!(is_there(&near));
        sleep(SECOND * 2).await;
        assert!(!is_there(&near) && is_there(&far));
        sleep(SECOND * 6).await;
        assert!(!is_there(&far) && is_there(&later));
        sleep(SECOND * 2).await;
        assert!(!is_there(&later) && is_there(&never));
        // All was quiet: somebody has to look again.
        let next = deadlines.watch((), in_seconds(1));
        sleep(SECOND * 2).await;
        assert!(!is_there(&next));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_is_forgotten() {
        let deadlines = Deadlines::default();
        let watched = deadlines.watch(7, in_seconds(1));
        assert_eq!(watched.take(), Some(7));
        assert!(lock(&deadlines.0).watched.is_empty());
        sleep(SECOND * 2).await;
        assert_eq!(lock(&deadlines.0).looks, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_what_is_dropped_hears_of_it_without_a_timer_of_its_own() {
        const MANY: usize = 100;
        let deadlines = Deadlines::default();
        // More than a timer wakes at a time, and all at the same moment.
        let waiting = (0..MANY).map(|_| {
            let watched = deadlines.watch((), in_seconds(1));
            tokio::spawn(poll_fn(move |cx| {
                match watched.poll(cx, |(), _| Poll::<()>::Pending) {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(()),
                }
            }))
        });
        let waiting: Vec<_> = waiting.collect();
        sleep(SECOND * 2).await;
        let woken = waiting.iter().filter(|waiting| waiting.is_finished());
        assert_eq!(woken.count(), MANY);
    }
}
