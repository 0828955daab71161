//! All connections of clients, and the bound on how many there are.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::phase::Phase;

/// So many idle connections are looked up at once.
const LOOKED_UP: usize = 256;
/// Where no connection was idle, nobody looks again before this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// This part of the bound may be on its way out besides.
const LEAVING: usize = 8;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    epoch: Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    open: HashMap<u64, Arc<Phase>>,
    /// Told to close, to make room.
    leaving: HashSet<u64>,
    /// Those that were idle at the last look, the longest at the end.
    idle: Vec<(Instant, u64)>,
    found_none: Option<Instant>,
}

/// A connection's right to be there; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) phase: Arc<Phase>,
    id: u64,
    all: Arc<Connections>,
}

impl Connections {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            epoch: Instant::now(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics under this lock")
    }

    /// A place for one more, if need be that of the connection which has been idle longest; `None` if all are busy.
    /// `close` tells the new one to go.
    pub(super) fn admit(self: &Arc<Self>, close: CancellationToken) -> Option<Place> {
        let is_full = self.known().open.len() >= self.most;
        if is_full && !self.make_room() {
            return None;
        }
        let phase = Arc::new(Phase::new(self.epoch, close));
        let mut known = self.known();
        known.last += 1;
        let id = known.last;
        known.open.insert(id, phase.clone());
        let all = self.clone();
        Some(Place { phase, id, all })
    }

    /// Closes the connection that has been idle longest, if one is idle.
    fn make_room(&self) -> bool {
        let leaves = self.known().longest_idle(self.most / LEAVING + 1);
        match leaves {
            Some(phase) => {
                phase.close.cancel();
                true
            }
            None => false,
        }
    }
}

impl Known {
    fn longest_idle(&mut self, most_leaving: usize) -> Option<Arc<Phase>> {
        if self.leaving.len() >= most_leaving {
            return None;
        }
        if let Some(phase) = self.next_idle() {
            return Some(phase);
        }
        let is_recent = |at: Instant| at.elapsed() < LOOK_AGAIN;
        if self.found_none.is_some_and(is_recent) {
            return None;
        }
        self.look();
        let found = self.next_idle();
        self.found_none = found.is_none().then(Instant::now);
        found
    }

    fn next_idle(&mut self) -> Option<Arc<Phase>> {
        while let Some((since, id)) = self.idle.pop() {
            let is_still = |phase: &Arc<Phase>| phase.is_idle() && phase.since() == since;
            if self.open.get(&id).is_some_and(is_still) {
                self.leaving.insert(id);
                return self.open.remove(&id);
            }
        }
        None
    }

    fn look(&mut self) {
        let idle = self.open.iter().filter(|(_, phase)| phase.is_idle());
        self.idle = idle.map(|(id, phase)| (phase.since(), *id)).collect();
        self.idle.sort_unstable();
        self.idle.truncate(LOOKED_UP);
        self.idle.reverse();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.all.known();
        known.open.remove(&self.id);
        known.leaving.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(all: &Arc<Connections>) -> Option<Place> {
        all.admit(CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_longest_makes_room() {
        let all = Arc::new(Connections::new(3));
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(admit(&all).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has had a request since, the second has one.
        drop(places[0].phase.begin(false));
        places[0].phase.flushed();
        let _running = places[1].phase.begin(false);
        let new = admit(&all).unwrap();
        let closing = |place: &Place| place.phase.close.is_cancelled();
        let told: Vec<_> = places.iter().map(closing).collect();
        assert_eq!(told, [false, false, true]);
        // Not more than a few may be on their way out.
        assert!(admit(&all).is_none());
        drop(places.pop());
        assert!(admit(&all).is_some());
        assert!(closing(&places[0]));
        drop(new);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_idle_connection_there_is_no_room() {
        let all = Arc::new(Connections::new(1));
        let place = admit(&all).unwrap();
        let running = place.phase.begin(false);
        assert!(admit(&all).is_none());
        drop(running);
        place.phase.flushed();
        // It has just been looked.
        assert!(admit(&all).is_none());
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(admit(&all).is_some());
    }
}
