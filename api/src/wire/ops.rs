//! Checks, bug reports and feature levels.

use crate::ops::{Check, DebugFile, UpgradeLevel, UpgradeNode, UpgradeStatus, Verdict};
use crate::proto::ops as wire;
use crate::proto::ops::check::Verdict as WireVerdict;

/// A check for the wire.
pub(crate) fn from_check(check: Check) -> wire::Check {
    let Check { name, verdict, measured, problem, fix } = check;
    let verdict = match verdict {
        Verdict::Ok => WireVerdict::Ok,
        Verdict::Warn => WireVerdict::Warn,
        Verdict::Fail => WireVerdict::Fail,
        Verdict::Skipped => WireVerdict::Skipped,
    };
    wire::Check { name, verdict: verdict as i32, measured, problem, fix }
}

/// A check from the wire. A verdict that this program does not know is none.
pub(crate) fn check(check: wire::Check) -> Check {
    let verdict = match check.verdict() {
        WireVerdict::Ok => Verdict::Ok,
        WireVerdict::Warn => Verdict::Warn,
        WireVerdict::Fail => Verdict::Fail,
        WireVerdict::Skipped | WireVerdict::Unspecified => Verdict::Skipped,
    };
    let wire::Check { name, measured, problem, fix, .. } = check;
    Check { name, verdict, measured, problem, fix }
}

/// A file for the wire.
pub(crate) fn from_file(file: DebugFile) -> wire::DebugFile {
    wire::DebugFile { name: file.name, content: file.content }
}

/// A file from the wire.
pub(crate) fn file(file: wire::DebugFile) -> DebugFile {
    DebugFile { name: file.name, content: file.content }
}

/// A status for the wire.
pub(crate) fn from_upgrade(status: UpgradeStatus) -> wire::UpgradeStatus {
    let UpgradeStatus { level, known, stale, nodes, next, obstacles } = status;
    let node = |UpgradeNode { id, knows, version }| wire::UpgradeNode { id, knows, version };
    let step = |UpgradeLevel { level, brings }| wire::UpgradeLevel { level, brings };
    wire::UpgradeStatus {
        level,
        known,
        stale,
        nodes: nodes.into_iter().map(node).collect(),
        next: next.into_iter().map(step).collect(),
        obstacles,
    }
}

/// A status from the wire.
pub(crate) fn upgrade(status: wire::UpgradeStatus) -> UpgradeStatus {
    let wire::UpgradeStatus { level, known, stale, nodes, next, obstacles } = status;
    let node = |wire::UpgradeNode { id, knows, version }| UpgradeNode { id, knows, version };
    let step = |wire::UpgradeLevel { level, brings }| UpgradeLevel { level, brings };
    UpgradeStatus {
        level,
        known,
        stale,
        nodes: nodes.into_iter().map(node).collect(),
        next: next.into_iter().map(step).collect(),
        obstacles,
    }
}
