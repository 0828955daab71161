//! What requests that wait may hold: how many there may be, and how many bytes of theirs; shared by all namespaces.
//!
//! The rule is that of switches whose ports share one memory (dynamic thresholds: Choudhury and Hahne, 1998): a namespace may hold no more
//! than it leaves free.
//!
//! # Guarantees
//! - The sum of what is held never exceeds the limit.
//! - If a namespace is refused, one that holds as much or more would be refused at that moment as well.
//! - Of N namespaces that hold anything, one that would hold at most limit / (N + 1) is refused only while another holds more than that,
//!   and that one gets nothing more then. So one namespace alone ends at half of the limit, and N that always want more settle at
//!   limit / (N + 1) each, whoever came first.
//! - A namespace that holds nothing is refused one unit only if less than two are free. k namespaces that came one after the other and
//!   took all they could leave limit / 2^k: of 20,000 the fifteenth gets one still, and the next none until somebody lets go.

use std::{collections::HashMap, sync::Arc};

use crate::sync::Mutex;

/// The most there may be in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that wait for a slot.
    pub requests: u64,
    /// Bytes of their bodies that were read already.
    pub bytes: u64,
}

impl Default for Limits {
    /// What the memory of the chart's activator has room for.
    fn default() -> Self {
        Self {
            requests: 20_000,
            bytes: 256 << 20,
        }
    }
}

/// What is held, by everybody. Its locks are taken under those of entrypoints, and nothing is locked under them.
#[derive(Clone, Debug)]
pub struct Held(Arc<Bounds>);

#[derive(Debug)]
struct Bounds {
    requests: Mutex<Bound>,
    bytes: Mutex<Bound>,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Request,
    Byte,
}

impl Held {
    /// Nothing is held yet.
    pub fn new(limits: Limits) -> Self {
        let Limits { requests, bytes } = limits;
        Self(Arc::new(Bounds {
            requests: Mutex::new(Bound::new(requests)),
            bytes: Mutex::new(Bound::new(bytes)),
        }))
    }

    /// The right of one more request of the namespace to wait; `None`: it must not.
    pub fn take_request(&self, namespace: &str) -> Option<Permit> {
        self.take(Unit::Request, namespace, 1)
    }

    /// The right to keep so many more bytes for a request of the namespace that waits; `None`: they must stay where they are.
    pub fn take_bytes(&self, namespace: &str, bytes: u64) -> Option<Permit> {
        self.take(Unit::Byte, namespace, bytes)
    }

    fn take(&self, unit: Unit, namespace: &str, amount: u64) -> Option<Permit> {
        let namespace = self.with(unit, |bound| bound.take(namespace, amount))?;
        Some(Permit {
            held: self.clone(),
            unit,
            namespace,
            amount,
        })
    }

    fn with<T>(&self, unit: Unit, change: impl FnOnce(&mut Bound) -> T) -> T {
        let bound = match unit {
            Unit::Request => &self.0.requests,
            Unit::Byte => &self.0.bytes,
        };
        change(&mut bound.lock().expect("nothing panics under this lock"))
    }
}

/// The right to hold something, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    held: Held,
    unit: Unit,
    namespace: Arc<str>,
    amount: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.with(self.unit, |bound| {
            bound.give_back(&self.namespace, self.amount);
        });
    }
}

/// One limit, and what each namespace holds of it.
#[derive(Debug)]
struct Bound {
    limit: u64,
    sum: u64,
    /// Only those that hold something.
    by: HashMap<Arc<str>, u64>,
}

impl Bound {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            sum: 0,
            by: HashMap::new(),
        }
    }

    /// The namespace, if it may hold so much more.
    fn take(&mut self, namespace: &str, amount: u64) -> Option<Arc<str>> {
        let (name, holds) = match self.by.get_key_value(namespace) {
            Some((name, holds)) => (name.clone(), *holds),
            None => (namespace.into(), 0),
        };
        let (holds, sum) = (holds.checked_add(amount)?, self.sum.checked_add(amount)?);
        if holds > self.limit.checked_sub(sum)? {
            return None;
        }
        self.sum = sum;
        self.by.insert(name.clone(), holds);
        Some(name)
    }

    fn give_back(&mut self, namespace: &str, amount: u64) {
        self.sum -= amount;
        if let Some(holds) = self.by.get_mut(namespace) {
            *holds -= amount;
            if *holds == 0 {
                self.by.remove(namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests;
