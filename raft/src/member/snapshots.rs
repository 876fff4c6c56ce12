//! When this node makes a snapshot of its state.

use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::{Member, chore};
use crate::blocking::blocking;
use crate::config::NodeConfig;
use crate::disk::DiskState;

/// How much must have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// So many log entries are enough.
    every: u64,
    /// And so old a snapshot, if there are `min` entries.
    after: Duration,
    min: u64,
}

impl Policy {
    /// What `config` says, for the node with this id. Nodes wait a little longer the one than the other, so that not all
    /// of them are busy with a snapshot at once.
    pub(crate) fn new(config: &NodeConfig, node: u64) -> Self {
        let late = u32::try_from(node % SPREAD).unwrap_or_default();
        let (every, after) = (config.timings.snapshot_every, config.storage.snapshot_after);
        Self {
            every: every.saturating_add(every / SHARE * u64::from(late)),
            after: after.saturating_add(after / u32::try_from(SHARE).unwrap_or(1) * late),
            min: config.storage.snapshot_min,
        }
    }

    /// Whether it is time, with so many entries since the last snapshot, which is so old.
    fn is_due(&self, entries: u64, age: Duration) -> bool {
        entries >= self.every || (entries >= self.min.max(1) && age >= self.after)
    }
}

impl Member {
    /// Whether a snapshot may be made now: it keeps old files alive, and a disk that fills up has no room for them.
    fn snapshots_allowed(&self) -> bool {
        self.disk.state() < DiskState::HandOver
    }
}

/// Has snapshots made until the member is gone.
pub(crate) async fn make(member: Weak<Member>, policy: Policy) {
    let Some(mut ticks) = chore(&member, TICK) else { return };
    let (mut asked_at, mut covered_before, mut since) = (0, 0, Instant::now());
    loop {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        let (applied, covered) = {
            let metrics = member.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied.map_or(0, |id| id.index + 1), metrics.snapshot.map_or(0, |id| id.index + 1))
        };
        if covered != covered_before {
            (covered_before, since) = (covered, Instant::now());
        }
        let entries = applied.saturating_sub(covered.max(asked_at));
        if !policy.is_due(entries, since.elapsed()) || !member.snapshots_allowed() {
            continue;
        }
        (asked_at, since) = (applied, Instant::now());
        let state = Arc::clone(&member.state);
        let settle = move || {
            state.settle();
            Ok(())
        };
        let _ = blocking(settle).await;
        let _ = member.raft.trigger().snapshot().await;
    }
}

const TICK: Duration = Duration::from_millis(200);
/// So many nodes wait differently long, each this share of the whole longer than the one before.
const SPREAD: u64 = 8;
const SHARE: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { every: 100, after: Duration::from_secs(60), min: 10 };

    #[test]
    fn a_snapshot_is_due_after_many_entries_or_after_a_while_with_some() {
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(60));
        for (entries, age, due) in [(99, soon, false), (100, soon, true), (9, late, false), (10, late, true)] {
            assert_eq!(POLICY.is_due(entries, age), due, "{entries} {age:?}");
        }
        assert!(!Policy { min: 0, ..POLICY }.is_due(0, late), "nothing is not worth one");
    }

    #[test]
    fn neighbours_do_not_make_theirs_at_the_same_entry() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::tests::cluster::config(dir.path(), crate::Timings::lan());
        let every: std::collections::BTreeSet<_> = (1..=8).map(|node| Policy::new(&config, node).every).collect();
        assert_eq!(every.len(), 8);
        assert!(every.iter().all(|every| (100_000..125_000).contains(every)), "{every:?}");
    }
}
