//! Judgements, each from what was measured alone.

use std::collections::BTreeMap;
use std::time::Duration;

use signet_api::ops::{Check, Verdict};
use signet_model::time::UnixTime;
use signet_raft::{ClusterStatus, DiskState, FeatureStatus, PeerProbe, Role, Timings};

use super::{fine, found, skipped};
use crate::size;

/// Whether a flush of the disk is quick enough for the election timeout: a vote waits for one.
pub(super) fn fsync(flushes: &[Duration], timings: &Timings) -> Check {
    let Some((p50, p99)) = percentiles(flushes) else { return skipped("fsync", "nothing was written") };
    let bound = timings.election_min / 3;
    let measured = format!("p50 {}, p99 {} over {} writes", show(p50), show(p99), flushes.len());
    if p99 <= bound {
        return fine("fsync", measured);
    }
    let problem = format!(
        "a vote waits for a flush, and one in a hundred takes longer than a third of the election timeout ({})",
        show(bound)
    );
    let fix = "put the data directory on a faster disk that nothing else keeps busy, or use the timings `wan`, which wait longer";
    found("fsync", Verdict::Fail, measured, problem, fix)
}

/// Whether the other members answer, and quickly enough.
pub(crate) fn peers(probes: &[PeerProbe], timings: &Timings) -> Check {
    if probes.is_empty() {
        return fine("peers", "this node is alone");
    }
    let silent: Vec<String> = probes
        .iter()
        .filter(|probe| probe.round_trips.is_empty())
        .map(|probe| format!("node {} ({})", probe.id, probe.address))
        .collect();
    let slowest = probes
        .iter()
        .filter_map(|probe| Some((percentiles(&probe.round_trips)?, probe)))
        .max_by_key(|((_, p99), _)| *p99);
    let measured = slowest.map_or_else(
        || "nobody answered".to_owned(),
        |((p50, p99), probe)| format!("slowest is node {}: p50 {}, p99 {}", probe.id, show(p50), show(p99)),
    );
    if !silent.is_empty() {
        let fix = "see whether it runs and whether its address can be reached from here; a node that is gone for good is removed with `signet cluster remove`";
        return found("peers", Verdict::Fail, measured, format!("no answer from {}", silent.join(", ")), fix);
    }
    let bound = timings.election_min / 10;
    match slowest {
        Some(((_, p99), _)) if p99 > bound => {
            let problem = format!("a round trip takes longer than a tenth of the election timeout ({})", show(bound));
            let fix = "use the timings `wan` on every node if they are far apart; if they are near, see what loads them or the network";
            found("peers", Verdict::Fail, measured, problem, fix)
        }
        Some(_) | None => fine("peers", measured),
    }
}

/// Whether the members' clocks agree with this node's.
pub(crate) fn clocks(probes: &[PeerProbe]) -> Check {
    let furthest = probes
        .iter()
        .filter_map(|probe| Some((probe.clock_ahead_millis?, probe.id)))
        .max_by_key(|(ahead, _)| ahead.unsigned_abs());
    let Some((ahead, node)) = furthest else { return skipped("clocks", "no other member answered") };
    let way = if ahead < 0 { "behind" } else { "ahead" };
    let measured = format!("node {node} is furthest from this one: {} ms {way}", ahead.unsigned_abs());
    let fix = "see that every node runs an NTP client (chrony, systemd-timesyncd) and that it is in step";
    match ahead.unsigned_abs() {
        0..CLOCK_WARN_MILLIS => fine("clocks", measured),
        CLOCK_WARN_MILLIS..CLOCK_FAIL_MILLIS => {
            found("clocks", Verdict::Warn, measured, "two members' clocks have drifted apart", fix)
        }
        _ => {
            let problem = "a node whose clock is two seconds away from the cluster's does not sign and should not lead";
            found("clocks", Verdict::Fail, measured, problem, fix)
        }
    }
}

/// Whether the kernel believes that somebody keeps its clock right. `None`: it cannot be asked.
pub(super) fn ntp(synchronised: Option<bool>) -> Check {
    match synchronised {
        None => skipped("ntp", "the kernel does not say whether its clock is kept in step"),
        Some(true) => fine("ntp", "the clock is kept in step"),
        Some(false) => {
            let problem = "nobody keeps this machine's clock in step, so it will drift";
            let fix = "run an NTP client, such as chrony or systemd-timesyncd";
            found("ntp", Verdict::Warn, "not in step", problem, fix)
        }
    }
}

/// Whether there is room. `note` is what the disk's own watch says, if it says anything.
pub(super) fn disk(state: DiskState, free: u64, total: u64, note: Option<String>) -> Check {
    let measured = format!("{} free of {}", size::show(free), size::show(total));
    let verdict = match state {
        DiskState::Ample => return fine("disk", measured),
        DiskState::Low => Verdict::Warn,
        DiskState::HandOver | DiskState::Refuse | DiskState::Stop => Verdict::Fail,
    };
    let note = note.unwrap_or_default();
    let (problem, fix) = note.split_once(": ").unwrap_or((&note, "free space there"));
    found("disk", verdict, measured, problem, fix)
}

/// Whether the ballast is there that the configuration wants.
pub(super) fn ballast(there: u64, wanted: u64) -> Check {
    let measured = size::show(there);
    if there >= wanted {
        return fine("ballast", measured);
    }
    let problem = format!("the ballast file should take {}", size::show(wanted));
    let fix = "a running node puts it back when there is room: free space; if it is new, look again in a moment";
    found("ballast", Verdict::Warn, measured, problem, fix)
}

/// Whether enough files and sockets may be open.
pub(super) fn files(limit: Option<u64>) -> Check {
    let Some(limit) = limit else { return fine("files", "no limit") };
    let measured = format!("{limit} open files at most");
    let fix = "raise the limit to 65536: `LimitNOFILE=65536` in the systemd unit, or `ulimit -n 65536`";
    match limit {
        0..FILES_FAIL => {
            let problem = format!("stores and connections need at least {FILES_FAIL}");
            found("files", Verdict::Fail, measured, problem, fix)
        }
        FILES_FAIL..FILES_WARN => {
            let problem =
                format!("a busy node holds up to 8192 connections on each of two doors, so {FILES_WARN} are wanted");
            found("files", Verdict::Warn, measured, problem, fix)
        }
        _ => fine("files", measured),
    }
}

/// Whether memory, and keys in it, can be written to a disk. `None`: it cannot be told.
pub(super) fn swap(areas: Option<&[String]>) -> Check {
    match areas {
        None => skipped("swap", "/proc/swaps cannot be read"),
        Some([]) => fine("swap", "none"),
        Some(areas) => {
            let problem = "memory with private keys in it could be written to disk";
            let fix = "switch swap off (`swapoff -a`, and its line in /etc/fstab), or encrypt it with a key that ends with the machine's uptime";
            found("swap", Verdict::Warn, areas.join(", "), problem, fix)
        }
    }
}

/// Whether a crash writes memory, and keys in it, to a disk. `None`: without a limit.
pub(super) fn core_dumps(limit: Option<u64>) -> Check {
    if limit == Some(0) {
        return fine("core-dumps", "off");
    }
    let measured =
        limit.map_or_else(|| "on, of any size".to_owned(), |limit| format!("on, up to {}", size::show(limit)));
    let problem = "a crash would write memory with private keys in it to disk";
    found(
        "core-dumps",
        Verdict::Warn,
        measured,
        problem,
        "the kernel refused to switch them off for this process, as a seccomp filter might have it: allow prctl and setrlimit, or set `LimitCORE=0` in the systemd unit",
    )
}

/// Whether the data directory is its owner's alone.
pub(super) fn permissions(mode: u32, owner: u32, own: u32) -> Check {
    let measured = format!("mode {:04o}, owner {owner}", mode & 0o7777);
    if owner != own {
        let problem = format!("it belongs to another user than the one that looks ({own})");
        let fix = format!("run the node, and this command, as user {owner}; or chown the directory");
        return found("permissions", Verdict::Fail, measured, problem, fix);
    }
    if mode & 0o077 != 0 {
        let problem = "others may look into the data directory, where this node's private key lies";
        return found("permissions", Verdict::Fail, measured, problem, "chmod 0700 the data directory");
    }
    fine("permissions", measured)
}

/// Whether there is a leader with a quorum.
pub(crate) fn quorum(status: &ClusterStatus) -> Check {
    let answering = status.nodes.iter().filter(|node| node.role != Role::Unreachable).count();
    let leader = status.leader.map_or_else(|| "no leader".to_owned(), |leader| format!("node {leader} leads"));
    let measured = format!("{leader}, {answering} of {} members answer", status.nodes.len());
    if status.confirmed {
        return fine("quorum", measured);
    }
    let problem = "no leader with a quorum: nothing can be changed, and nodes stop signing when their leases end";
    let fix = "start the members that do not answer; if a majority is lost for good, see `signet recover`";
    found("quorum", Verdict::Fail, measured, problem, fix)
}

/// Whether all members run one version.
pub(crate) fn versions(status: &ClusterStatus) -> Check {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in &status.nodes {
        if let Some(version) = &node.version {
            versions.entry(version).or_default().push(node.id.to_string());
        }
    }
    let each = versions.iter().map(|(version, nodes)| format!("{version} on {}", nodes.join(", ")));
    let measured = each.collect::<Vec<_>>().join("; ");
    if versions.len() <= 1 {
        return fine("versions", measured);
    }
    let fix = "finish the rolling upgrade: restart the older nodes with the newer program, one at a time";
    found("versions", Verdict::Warn, measured, "the members run different versions", fix)
}

/// Whether a newer feature level waits to be put in force.
pub(crate) fn upgrade(status: &FeatureStatus) -> Check {
    let measured = format!("feature level {} in force, {} known here", status.in_force, status.known);
    if status.in_force >= status.known {
        return fine("upgrade", measured);
    }
    let obstacles = status.obstacles();
    let fix = if obstacles.is_empty() {
        "`signet cluster upgrade finalize`, once you are sure that you will not go back to the older program".to_owned()
    } else {
        obstacles.join("; ")
    };
    found("upgrade", Verdict::Warn, measured, "what the newer program brings is not in force yet", fix)
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) what: String,
    pub(crate) not_after: UnixTime,
    /// So long before its end something should have been done about it.
    pub(crate) notice: Duration,
}

/// Whether certificates and signing keys have long enough to live.
pub(crate) fn authorities(all: &[Expiry], now: UnixTime) -> Check {
    let Some(first) = all.iter().min_by_key(|it| it.not_after.millis().saturating_sub(millis(it.notice))) else {
        return skipped("authorities", "this node belongs to no trust domain yet");
    };
    let left = first.not_after.since(now);
    let measured = format!("{} ends first, in {}", first.what, days(left));
    if now >= first.not_after {
        let problem = format!("{} has ended", first.what);
        let fix = "see the node's log for why it was not renewed; authorities are rotated with `signet authority`";
        return found("authorities", Verdict::Fail, format!("{} has ended", first.what), problem, fix);
    }
    if left < first.notice {
        let problem = format!("{} should have been renewed {} before its end", first.what, days(first.notice));
        let fix = "see the node's log for why it was not renewed; authorities are rotated with `signet authority`";
        return found("authorities", Verdict::Warn, measured, problem, fix);
    }
    fine("authorities", measured)
}

/// Whether issuance records reach the replicated log. `None`: the journal is not open.
pub(crate) fn journal(backlog: Option<usize>) -> Check {
    let Some(backlog) = backlog else {
        let fix = "look again in a moment; if it stays so, the log says why";
        return found("journal", Verdict::Warn, "not open", "this node does not issue yet", fix);
    };
    let measured = format!("{backlog} records wait to be replicated");
    if backlog < BACKLOG_WARN {
        return fine("journal", measured);
    }
    let problem = "records of what was issued pile up on this node's disk alone";
    found("journal", Verdict::Warn, measured, problem, "see whether there is a quorum, and room on the leader's disk")
}

/// Whether this node holds its keys, and could open them again. `wrong`: how many of its key backends do not work;
/// `problems`: what is wrong, each a sentence.
pub(crate) fn keys(measured: &str, wrong: usize, sealed: bool, problems: &[String]) -> Check {
    let fix = "see that the key backend can be reached from this machine and is the one of this cluster; a second recipient lets nodes start without the first (`signet recipient list`)";
    match (sealed, wrong, problems) {
        (true, _, problems) => found("keys", Verdict::Fail, measured, problems.join("; "), fix),
        (false, 0, []) => fine("keys", measured),
        (false, _, problems) => {
            let problem =
                if problems.is_empty() { "a key backend was not reached yet".to_owned() } else { problems.join("; ") };
            found("keys", Verdict::Warn, measured, problem, fix)
        }
    }
}

/// The middle, and what one in a hundred exceeds.
fn percentiles(samples: &[Duration]) -> Option<(Duration, Duration)> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
    at(50).zip(at(99))
}

fn show(duration: Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn days(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} d", secs / 86_400),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const CLOCK_WARN_MILLIS: u64 = 250;
/// From here on a node loses its issuance lease.
const CLOCK_FAIL_MILLIS: u64 = 2000;
const FILES_FAIL: u64 = 1024;
const FILES_WARN: u64 = 20_000;
/// A second's worth of a busy node, and more than a batch.
const BACKLOG_WARN: usize = 10_000;

#[cfg(test)]
#[path = "judge/tests.rs"]
mod tests;
