//! Writes without pause while somebody kills nodes, and says how long no write got through.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use signet_api::client::{AdminClient, ClientError, Entry, EntryResult};
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec};
use tokio::task::JoinSet;

use crate::args::Drill;
use crate::clock::Stopwatch;
use crate::dev::Cluster;
use crate::identities::Entries;
use crate::schedule::Timeline as _;

/// What the drill showed, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct DrillReport {
    duration_ms: u128,
    writers: usize,
    /// Writes that were acknowledged.
    acknowledged: u64,
    /// Acknowledged writes that were not there at the end. Must be 0.
    lost: u64,
    /// Attempts that failed and were made again, by code.
    retried: BTreeMap<String, u64>,
    /// Pauses of at least 50 ms without an acknowledged write anywhere, in order of time.
    pauses: Vec<Pause>,
    pause_p50_ms: u64,
    pause_p90_ms: u64,
    pause_longest_ms: u64,
}

/// A time in which no write was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Pause {
    /// From the start of the drill.
    at_ms: u64,
    length_ms: u64,
}

/// Runs the drill.
pub(crate) async fn run(drill: &Drill) -> anyhow::Result<DrillReport> {
    let cluster = Cluster::read(&drill.dev)?;
    let sockets: Vec<_> = cluster.nodes.iter().map(|node| node.admin_socket.clone()).collect();
    let admin = reach(&sockets).await?;
    let entries = Entries::create(&admin, &cluster.trust_domain).await?;
    eprintln!("loadtest: writing for {:?}; kill what you like", drill.duration);
    let watch = Stopwatch::starting_in(Duration::ZERO);
    let mut writers = JoinSet::new();
    for (number, entry) in entries.all().iter().take(WRITERS).cloned().enumerate() {
        let writer = Writer { entry, sockets: sockets.clone(), next: number, written: Written::default() };
        writers.spawn(writer.run(watch, drill.duration));
    }
    let mut acknowledgements = Vec::new();
    let mut retried = BTreeMap::new();
    let mut promised = Vec::new();
    while let Some(writer) = writers.join_next().await {
        let writer = writer.context("a writer died")?;
        let revision = writer.entry.revision.saturating_add(writer.written.acknowledged.len() as u64);
        promised.push((writer.entry.id, revision));
        acknowledgements.extend(writer.written.acknowledged);
        for (code, count) in writer.written.retried {
            *retried.entry(code).or_insert(0) += count;
        }
    }
    // The node that was asked first may be among the dead.
    let admin = reach(&sockets).await?;
    let lost = lost(&admin, &promised).await?;
    entries.delete(&admin).await?;
    ensure!(!acknowledgements.is_empty(), "no write was acknowledged in {:?}", drill.duration);
    Ok(DrillReport::new(drill, acknowledgements, retried, lost))
}

/// A connection to any node that answers.
async fn reach(sockets: &[PathBuf]) -> anyhow::Result<AdminClient> {
    let mut last = None;
    for socket in sockets {
        match AdminClient::connect(socket).await {
            Ok(admin) => return Ok(admin),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("dev.json: nodes is empty"), anyhow::Error::from))
        .context("no node answers")
}

/// How many acknowledged updates the entries do not show. Each update raises an entry's revision by one; one that was
/// made again though the first attempt had got through raises it by two, and could hide a lost one.
async fn lost(admin: &AdminClient, promised: &[(EntryId, u64)]) -> Result<u64, ClientError> {
    let mut lost = 0_u64;
    for (id, revision) in promised {
        lost = lost.saturating_add(revision.saturating_sub(admin.entry(id).await?.revision));
    }
    Ok(lost)
}

/// Updates one entry again and again, at whichever node answers.
struct Writer {
    /// As it was before the first write.
    entry: Entry,
    sockets: Vec<PathBuf>,
    next: usize,
    written: Written,
}

#[derive(Default)]
struct Written {
    acknowledged: Vec<Duration>,
    retried: BTreeMap<String, u64>,
}

impl Writer {
    async fn run(mut self, watch: Stopwatch, duration: Duration) -> Self {
        let mut connection = None;
        while watch.elapsed() < duration {
            let done = tokio::time::timeout(ATTEMPT, self.write(&mut connection)).await;
            let code = match done {
                Ok(Ok(())) => {
                    self.written.acknowledged.push(watch.elapsed());
                    None
                }
                Ok(Err(error)) => Some(error.code),
                Err(_) => Some("timeout".to_owned()),
            };
            if let Some(code) = code {
                *self.written.retried.entry(code).or_insert(0) += 1;
                self.next = self.next.wrapping_add(1);
                connection = None;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self
    }

    async fn write(&self, connection: &mut Option<AdminClient>) -> Result<(), ClientError> {
        let admin = match connection {
            Some(admin) => admin.clone(),
            None => {
                let socket = self.sockets.get(self.next % self.sockets.len().max(1));
                let socket = socket.ok_or_else(|| protocol("there is no node"))?;
                connection.insert(AdminClient::connect(socket).await?).clone()
            }
        };
        let spec = EntrySpec { hint: format!("write-{}", self.written.acknowledged.len()), ..self.entry.spec.clone() };
        let change = EntryChange { id: self.entry.id.clone(), spec, fields: EntryFields::ALL };
        match admin.update_entries(vec![change]).await?.pop() {
            Some(EntryResult::Done(_)) => Ok(()),
            Some(EntryResult::Refused(error)) => Err(error),
            Some(EntryResult::Similar(_) | EntryResult::Deleted(_)) | None => {
                Err(protocol("the node gave no result for an update"))
            }
        }
    }
}

fn protocol(message: &str) -> ClientError {
    ClientError { code: "protocol".to_owned(), message: message.to_owned() }
}

impl DrillReport {
    fn new(drill: &Drill, mut acknowledged: Vec<Duration>, retried: BTreeMap<String, u64>, lost: u64) -> Self {
        acknowledged.sort_unstable();
        let pauses = pauses(&acknowledged);
        let mut lengths: Vec<_> = pauses.iter().map(|pause| pause.length_ms).collect();
        lengths.sort_unstable();
        Self {
            duration_ms: drill.duration.as_millis(),
            writers: WRITERS,
            acknowledged: acknowledged.len() as u64,
            lost,
            retried,
            pause_p50_ms: rank(&lengths, 50),
            pause_p90_ms: rank(&lengths, 90),
            pause_longest_ms: rank(&lengths, 100),
            pauses,
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("      at  pause without an acknowledged write\n");
        for Pause { at_ms, length_ms } in &self.pauses {
            text.push_str(&format!("{:>6}.{} s  {length_ms} ms\n", at_ms / 1000, at_ms % 1000 / 100));
        }
        let retried: Vec<_> = self.retried.iter().map(|(code, count)| format!("{count} × {code}")).collect();
        text.push_str(&format!(
            "\n{} writes acknowledged by {} writers in {} s, {} of them lost\n",
            self.acknowledged,
            self.writers,
            self.duration_ms / 1000,
            self.lost
        ));
        text.push_str(&format!(
            "pauses of {} ms and more: {}; p50 {} ms, p90 {} ms, longest {} ms\n",
            SHORTEST_PAUSE.as_millis(),
            self.pauses.len(),
            self.pause_p50_ms,
            self.pause_p90_ms,
            self.pause_longest_ms
        ));
        text.push_str(&format!(
            "tried again: {}\n",
            if retried.is_empty() { "nothing".to_owned() } else { retried.join(", ") }
        ));
        text
    }
}

/// Times between one acknowledgement and the next that are long enough to count.
fn pauses(sorted: &[Duration]) -> Vec<Pause> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let neighbours = sorted.iter().zip(sorted.iter().skip(1));
    neighbours
        .map(|(&before, &after)| (before, after.saturating_sub(before)))
        .filter(|&(_, length)| length >= SHORTEST_PAUSE)
        .map(|(at, length)| Pause { at_ms: millis(at), length_ms: millis(length) })
        .collect()
}

/// The value that `percent` of them do not exceed; 0 for none.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(0)
}

/// A few more than nodes, so that a dead one stops only some.
const WRITERS: usize = 8;
/// Between one writer's writes: the drill looks for gaps, it is no load.
const PAUSE: Duration = Duration::from_millis(5);
/// An attempt that takes longer is made again at another node.
const ATTEMPT: Duration = Duration::from_millis(1000);
/// Far above the ordinary time between two writes of all writers, far below what a failover is expected to cost.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_gap_between_acknowledgements_of_any_writer() {
        let acknowledged = [0, 10, 59, 60, 400, 405, 455].map(Duration::from_millis);
        let expected = [(60, 340), (405, 50)].map(|(at_ms, length_ms)| Pause { at_ms, length_ms });
        assert_eq!(pauses(&acknowledged), expected);
        assert_eq!(pauses(&[]), []);
    }

    #[test]
    fn the_longest_pause_is_the_hundredth_rank() {
        let lengths: Vec<u64> = (1..=20).collect();
        assert_eq!((rank(&lengths, 50), rank(&lengths, 90), rank(&lengths, 100)), (10, 18, 20));
        assert_eq!(rank(&[7], 50), 7);
        assert_eq!(rank(&[], 100), 0);
    }
}
