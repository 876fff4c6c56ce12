//! What a doctor measures and what a bug report needs.

use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, timeout_at};

use crate::member::Member;
use crate::node::Node;

/// How another member answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerProbe {
    /// The member.
    pub id: u64,
    /// Its advertised peer address.
    pub address: String,
    /// How long each answer took; fewer than asked for if it stopped answering.
    pub round_trips: Vec<Duration>,
    /// How far its clock was ahead of this node's in the quickest round, in milliseconds.
    pub clock_ahead_millis: Option<i64>,
}

impl Node {
    /// Asks every other member `rounds` times, one after the other; `timeout` bounds the whole.
    pub async fn probe_peers(&self, rounds: usize, timeout: Duration) -> Vec<PeerProbe> {
        let Some(member) = self.member() else { return Vec::new() };
        let deadline = Instant::now() + timeout;
        let roster = member.directory.roster();
        let others = roster.iter().filter(|(id, _)| **id != member.id);
        join_all(others.map(|(id, node)| probe(&member, *id, node.address.clone(), rounds, deadline))).await
    }

    /// What raft and its stores say of themselves, each text with a name. No commands and no keys are in it.
    #[must_use]
    pub fn debug_texts(&self) -> Vec<(&'static str, String)> {
        let mut texts = vec![("rocksdb-state", properties(&|name| self.inner.state.property(name)))];
        if let Some(member) = self.member() {
            texts.push(("rocksdb-log", properties(&|name| member.log_property(name))));
            texts.push(("raft", format!("{:#?}\n", member.raft.metrics().borrow_watched().clone())));
        }
        texts
    }
}

async fn probe(member: &Member, id: u64, address: String, rounds: usize, deadline: Instant) -> PeerProbe {
    let mut answers = Vec::with_capacity(rounds);
    // The first makes the connection, if there is none; it is not counted.
    for round in 0..=rounds {
        let before = member.clock();
        let asked = Instant::now();
        let Ok(reply) = timeout_at(deadline, member.status_of(id)).await else { break };
        let took = asked.elapsed();
        if round > 0 {
            let middle = before.after(took / 2).millis();
            let ahead = i64::try_from(reply.clock_millis).unwrap_or(i64::MAX) - i64::try_from(middle).unwrap_or(0);
            answers.push((took, ahead));
        }
    }
    let clock_ahead_millis = answers.iter().min().map(|(_, ahead)| *ahead);
    PeerProbe { id, address, round_trips: answers.into_iter().map(|(took, _)| took).collect(), clock_ahead_millis }
}

fn properties(read: &dyn Fn(&str) -> Option<String>) -> String {
    let lines = PROPERTIES.iter().filter_map(|name| Some(format!("{name}: {}\n", read(name)?)));
    lines.collect()
}

const PROPERTIES: [&str; 10] = [
    "rocksdb.background-errors",
    "rocksdb.is-write-stopped",
    "rocksdb.actual-delayed-write-rate",
    "rocksdb.num-running-compactions",
    "rocksdb.num-running-flushes",
    "rocksdb.estimate-num-keys",
    "rocksdb.live-sst-files-size",
    "rocksdb.total-sst-files-size",
    "rocksdb.size-all-mem-tables",
    "rocksdb.stats",
];
