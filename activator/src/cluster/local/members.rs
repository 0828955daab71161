//! Which instances there are, and which of them go first.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc::UnboundedSender;

use super::{keeper::Told, program::Program};
use crate::{
    engine::InstanceId,
    entrypoint::{Entrypoint, Key},
};

/// Namespace, function and entrypoint, whatever the revision.
type Name = (String, String, String);

/// Everything that changes.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What the instances of each revision run.
    pub(super) programs: HashMap<Key, Program>,
    /// Instances that were not told to end, oldest first. Their processes may have ended.
    members: HashMap<Key, Vec<Member>>,
    /// Instances of which something runs, by name, also those that were told to end.
    pub(super) processes: HashMap<Arc<str>, UnboundedSender<Told>>,
    /// Instances so far, by what their names begin with: no name is used twice.
    numbers: HashMap<Arc<str>, u64>,
    /// How the last boot ended.
    boots: HashMap<Name, String>,
    marks: u64,
    /// What takes traffic, in the order of the manifest.
    pub(super) shown: Vec<Arc<Entrypoint>>,
    pub(super) names_functions: bool,
    /// Nothing is started any more.
    pub(super) is_stopping: bool,
}

/// An instance.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Unique in the process, so it is the instance's UID too.
    pub(super) name: Arc<str>,
    pub(super) id: InstanceId,
    /// A later mark is higher; 0 without one.
    pub(super) mark: u64,
    /// It has accepted a connection.
    pub(super) is_up: Arc<AtomicBool>,
}

impl State {
    /// The name of the next instance.
    pub(super) fn next_name(&mut self, key: &Key) -> Arc<str> {
        let nameless = self.nameless(key);
        let number = self.numbers.entry(nameless.clone()).or_default();
        *number += 1;
        format!("{nameless}-{number}").into()
    }

    /// What the names of an entrypoint's instances begin with.
    pub(super) fn nameless(&self, key: &Key) -> Arc<str> {
        if self.names_functions {
            format!("{}/{}", key.function, key.entrypoint).into()
        } else {
            key.entrypoint.as_str().into()
        }
    }

    pub(super) fn note_boot(&mut self, key: &Key, outcome: String) {
        self.boots.insert(name(key), outcome);
    }

    pub(super) fn last_boot(&self, key: &Key) -> Option<String> {
        self.boots.get(&name(key)).cloned()
    }

    pub(super) fn add(&mut self, key: &Key, member: Member) {
        self.members.entry(key.clone()).or_default().push(member);
    }

    pub(super) fn member(&self, key: &Key, id: InstanceId) -> Option<&Member> {
        let members = self.members.get(key)?;
        members.iter().find(|member| member.id == id)
    }

    pub(super) fn count(&self, key: &Key) -> usize {
        self.members.get(key).map_or(0, Vec::len)
    }

    /// The last of the list goes before the others, and all of them before those that were marked earlier.
    pub(super) fn mark(&mut self, key: &Key, names: &[String]) {
        let members = self.members.entry(key.clone()).or_default();
        for name in names {
            self.marks += 1;
            if let Some(member) = members.iter_mut().find(|member| *member.name == **name) {
                member.mark = self.marks;
            }
        }
    }

    /// Takes out what is above `replicas`: the marked first and of these the last marked, then those that are not up, then the youngest.
    pub(super) fn take_surplus(&mut self, key: &Key, replicas: usize) -> Vec<Member> {
        let Some(members) = self.members.get_mut(key) else {
            return vec![];
        };
        let surplus = members.len().saturating_sub(replicas);
        let mut order: Vec<_> = members.iter().cloned().enumerate().collect();
        order.sort_by_key(|(age, member)| {
            let is_up = member.is_up.load(Ordering::Relaxed);
            (Reverse(member.mark), is_up, Reverse(*age))
        });
        order.truncate(surplus);
        members.retain(|member| order.iter().all(|(_, going)| going.id != member.id));
        if members.is_empty() {
            self.members.remove(key);
        }
        order.into_iter().map(|(_, member)| member).collect()
    }
}

fn name(key: &Key) -> Name {
    (
        key.namespace.clone(),
        key.function.clone(),
        key.entrypoint.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_marked_go_first_then_what_is_not_up_then_the_youngest() {
        let key = Key {
            namespace: "prod".to_owned(),
            function: "shop".to_owned(),
            entrypoint: "web".to_owned(),
            revision: "r1".to_owned(),
        };
        let mut state = State::default();
        for (id, is_up) in [(1, true), (2, true), (3, false), (4, true), (5, true)] {
            let member = Member {
                name: state.next_name(&key),
                id: InstanceId(id),
                mark: 0,
                is_up: Arc::new(AtomicBool::new(is_up)),
            };
            state.add(&key, member);
        }
        state.mark(&key, &["web-4".to_owned(), "web-1".to_owned()]);
        let mut gone = |replicas| {
            let surplus = state.take_surplus(&key, replicas);
            surplus.iter().map(|member| member.id.0).collect::<Vec<_>>()
        };
        assert_eq!(gone(4), [1]);
        assert_eq!(gone(4), [0; 0]);
        assert_eq!(gone(1), [4, 3, 5]);
        assert_eq!(gone(0), [2]);
        assert_eq!(state.count(&key), 0);
    }
}
