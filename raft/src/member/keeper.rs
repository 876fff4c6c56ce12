//! What a member does unasked: finish its own joining, keep its address right, hear of members it does not know, make
//! snapshots, and notice when raft has died.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::promote::Promotion;
use super::shed::shed;
use super::snapshots::{Policy, make};
use super::{Member, chore, outcast};
use crate::blocking::blocking;
use crate::identity::{Phase, Record};
use crate::peer::{Lane, Vouched, members_from_wire, proto};
use crate::types::Order;

/// What the chores need besides the member.
pub(crate) struct Chores {
    pub(crate) data_dir: PathBuf,
    pub(crate) record: Record,
    pub(crate) address: String,
    /// Addresses to try when members are not where they are registered.
    pub(crate) contacts: Vec<String>,
    pub(crate) snapshots: Policy,
    /// Told the cause when raft has died.
    pub(crate) failed: watch::Sender<Option<String>>,
    /// Told when this node has learnt that it was removed.
    pub(crate) removed: watch::Sender<bool>,
}

/// Starts the chores; they end with the member.
pub(crate) fn keep(member: &Arc<Member>, chores: Chores) {
    let Chores { data_dir, record, address, contacts, snapshots, failed, removed } = chores;
    tokio::spawn(learn_of_removal(Arc::downgrade(member), data_dir.clone(), record.clone(), removed));
    tokio::spawn(watch_core(Arc::downgrade(member), failed));
    tokio::spawn(super::find::serve(Arc::downgrade(member), address.clone(), contacts));
    tokio::spawn(settle_in(Arc::downgrade(member), data_dir, record, address));
    tokio::spawn(hear_of_strangers(Arc::downgrade(member)));
    tokio::spawn(outcast::watch(Arc::downgrade(member)));
    tokio::spawn(shed(Arc::downgrade(member)));
    tokio::spawn(watch_databases(Arc::downgrade(member)));
    tokio::spawn(make(Arc::downgrade(member), snapshots));
}

/// Notices the end of raft, and keeps connections to all members.
async fn watch_core(member: Weak<Member>, failed: watch::Sender<Option<String>>) {
    let Some((mut metrics, mut changes, mut unreadable)) = member
        .upgrade()
        .map(|member| (member.raft.server_metrics(), member.directory.changes(), member.unreadable.subscribe()))
    else {
        return;
    };
    let Some(mut ticks) = chore(&member, TICK) else { return };
    let mut ended = false;
    loop {
        let Some(member) = member.upgrade() else { return };
        member.links.warm();
        let cause = unreadable.borrow_and_update().clone();
        let running = member.raft.metrics().borrow_watched().running_state.clone();
        if let Some(cause) = running.err().map(|fatal| format!("raft has stopped: {fatal}")).or(cause) {
            failed.send_replace(Some(cause));
            return;
        }
        drop(member);
        // Raft's end closes its metrics. A roster that others vouch for tells nobody.
        tokio::select! {
            () = changes.changed() => {}
            Ok(()) = unreadable.changed() => {}
            news = metrics.changed(), if !ended => ended = news.is_err(),
            _ = ticks.tick() => continue,
        }
        // Whoever is new here is new to the others too: a connection that comes before they know would be taken for a
        // stranger's.
        tokio::time::sleep(SETTLE).await;
    }
}

/// Has the log's watermark written and its memory given back, and ends the process when RocksDB could not write a file in
/// the background: it tells nobody before the next write, and what it does then is not to be relied on.
async fn watch_databases(member: Weak<Member>) {
    let Some(mut ticks) = chore(&member, MARK) else { return };
    let (mut entries, mut calm) = (0, 0);
    for round in 0_u64.. {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        member.log_peek.write_mark();
        if !round.is_multiple_of(DATABASES) {
            continue;
        }
        let now = member.log.entries.load(Ordering::Relaxed);
        calm = if now == entries { calm + 1 } else { 0 };
        entries = now;
        if calm == CALM {
            member.log_peek.rest();
            let state = Arc::clone(&member.state);
            let rest = move || {
                state.rest();
                Ok(())
            };
            let _ = blocking(rest).await;
        }
        if let Some(errors) = member.log_peek.background_errors() {
            crate::fatal::abort("cannot write the raft log's files", &errors);
        }
        if let Some(errors) = member.state.background_errors() {
            crate::fatal::abort("cannot write the replicated state's files", &errors);
        }
    }
}

/// Becomes a voter, and registers an address that has changed.
async fn settle_in(member: Weak<Member>, data_dir: PathBuf, mut record: Record, address: String) {
    let mut ticks = interval(CHORE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        if member.directory.is_removed(record.pin) {
            return;
        }
        if !member.settled_voter() {
            if record.phase == Phase::Joining
                && let Promotion::NotYet(detail) = member.ask_for_promotion().await
            {
                tracing::info!(node = member.id, %detail, "waiting to become a voter");
            }
            continue;
        }
        if record.phase != Phase::Member {
            record.phase = Phase::Member;
            if let Err(cause) = record.save(&data_dir) {
                crate::fatal::abort("cannot store this node's identity", &cause);
            }
        }
        let registered = member.directory.peer(member.id).is_some_and(|node| node.address == address);
        if registered {
            return;
        }
        let order = Order::SetAddress { node: member.id, address: address.clone() };
        if let Err(error) = member.propose(order, CHORE * 20).await {
            tracing::info!(node = member.id, %error, "this node's new address is not registered yet");
        }
    }
}

/// Notices that this node was removed, by its own state or by another member's word, and makes that last.
async fn learn_of_removal(member: Weak<Member>, data_dir: PathBuf, mut record: Record, removed: watch::Sender<bool>) {
    let Some(directory) = member.upgrade().map(|member| Arc::clone(&member.directory)) else { return };
    let mut changes = directory.changes();
    while !directory.is_removed(record.pin) {
        tokio::select! {
            () = directory.told_removed() => {}
            () = changes.changed() => {}
            () = tokio::time::sleep(REFRESH_PAUSE * 10) => if member.strong_count() == 0 { return },
        }
    }
    record.phase = Phase::Removed;
    if let Err(cause) = record.save(&data_dir) {
        // The others say it again at the next start.
        tracing::warn!(%cause, "cannot store that this node was removed");
    }
    tracing::error!("{}", record.removed(&data_dir));
    removed.send_replace(true);
}

/// Asks the members who the members are, when somebody called whom this node does not know, or when it hears of no leader:
/// it may have been removed.
async fn hear_of_strangers(member: Weak<Member>) {
    let Some(directory) = member.upgrade().map(|member| Arc::clone(&member.directory)) else { return };
    loop {
        // Wakes now and then to see whether the member is gone.
        let called = timeout(REFRESH_PAUSE * 2, directory.stranger.notified()).await.is_ok();
        let Some(member) = member.upgrade() else { return };
        if !called && member.leaderless() < REFRESH_PAUSE * 2 {
            continue;
        }
        let began = Instant::now();
        for peer in directory.roster().keys().copied().filter(|peer| *peer != member.id) {
            let Some(mut client) = member.links.client(peer, Lane::Calls) else { continue };
            let request = proto::StatusRequest { envelope: Some(directory.envelope(peer)), address: String::new() };
            let Ok(Ok(reply)) = timeout(REFRESH_PAUSE, client.status(request)).await else { continue };
            let reply = reply.into_inner();
            if let Ok(roster) = members_from_wire(&reply.members) {
                directory.vouch(Vouched { roster: Arc::new(roster), end: reply.applied_end });
            }
        }
        drop(member);
        tokio::time::sleep_until(began + REFRESH_PAUSE).await;
    }
}

const MARK: Duration = Duration::from_millis(100);
/// In so many rounds: once a second.
const DATABASES: u64 = 10;
/// After so many seconds without a new entry memory is given back.
const CALM: u64 = 10;
const TICK: Duration = Duration::from_millis(200);
const SETTLE: Duration = Duration::from_millis(50);
const CHORE: Duration = Duration::from_millis(250);
/// Strangers cannot make this node ask more often than this.
const REFRESH_PAUSE: Duration = Duration::from_millis(500);
