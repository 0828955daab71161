//! File descriptors: every connection takes one, and a request that runs takes another for its instance.

use rustix::process::{Resource, getrlimit, setrlimit};

/// For listeners, the API server, files.
const OTHERS: u64 = 64;

/// Takes all that the system lets this process have.
pub fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// As many connections as there may be, but no more than leaves as many descriptors for those of instances.
pub(super) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let most = bound(wanted, limit);
    if most < wanted {
        tracing::warn!(
            wanted,
            most,
            "fewer connections than --max-connections: the limit of open files (ulimit -n) allows no more"
        );
    }
    most
}

fn bound(wanted: usize, limit: Option<u64>) -> usize {
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS) / 2);
    wanted
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_left_for_instances() {
        assert_eq!(bound(10_000, None), 10_000);
        assert_eq!(bound(10_000, Some(1 << 20)), 10_000);
        assert_eq!(bound(10_000, Some(1024)), 480);
        assert_eq!(bound(10_000, Some(10)), 1);
    }
}
