//! `signet cluster members|promote|demote|remove|transfer-leader|drain|hash|reset-time`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use signet_api::service::{ChangeHow, ClusterStatus, MemberAction, MemberChange, MembersChanged, NodeStatus};

use super::failure::{EXIT_NO_QUORUM, Failure};
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_json, print_table, print_text, yes_no};
use super::timestamp::show_timestamp;

/// How a change of the members is made.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// Refuse if the membership is not the one with this number any more; `signet cluster members` shows it.
    #[arg(long, value_name = "N")]
    if_membership: Option<u64>,
    /// Skip the checks of the nodes' health. What would lose the quorum is refused all the same.
    #[arg(long)]
    force: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// `signet cluster transfer-leader`
#[derive(Debug, Clone, Args)]
pub(crate) struct TransferLeader {
    /// Who is to lead; the fittest if nobody is named.
    #[arg(value_name = "NODE")]
    to: Option<u64>,
    /// Refuse if the membership is not the one with this number any more; `signet cluster members` shows it.
    #[arg(long, value_name = "N")]
    if_membership: Option<u64>,
    /// Only say whether it can be done now.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// `signet cluster drain`
#[derive(Debug, Clone, Args)]
pub(crate) struct Drain {
    /// Take part again.
    #[arg(long)]
    undo: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

impl How {
    fn how(&self) -> ChangeHow {
        ChangeHow { if_membership: self.if_membership, force: self.force, dry_run: self.dry_run }
    }
}

pub(super) async fn members(node: &NodeArgs) -> Result<ExitCode, Failure> {
    let status = node.call(|client| async move { client.cluster_status().await }).await?;
    match node.output {
        Output::Table => {
            let header = ["NODE", "ROLE", "VOTER", "LAG", "LAST CONTACT", "CLOCK", "DISK", "VERSION", "PEER ADDRESS"];
            print_table(header, status.nodes.iter().map(row))?;
            print_text(&format!("membership {}, leader {}", status.membership, or_dash(status.leader)))?;
        }
        Output::Json => print_json(&MembersDocument::from(&status))?,
    }
    Ok(confirmed(&status))
}

/// Says so when nobody confirmed it.
pub(super) fn confirmed(status: &ClusterStatus) -> ExitCode {
    if !status.stale {
        return ExitCode::SUCCESS;
    }
    eprintln!("stale: no quorum confirmed this; it is what node {} knows by itself", status.answered_by);
    ExitCode::from(EXIT_NO_QUORUM)
}

fn row(node: &NodeStatus) -> [String; 9] {
    let role = if node.draining { format!("{} (drained)", node.role) } else { node.role.to_owned() };
    [
        node.id.to_string(),
        role,
        yes_no(node.voter),
        or_dash(node.lag),
        or_dash(node.last_contact_millis.map(|millis| format!("{millis} ms"))),
        or_dash(node.clock_ahead_millis.map(|millis| format!("{millis:+} ms"))),
        or_dash(node.disk.as_ref()),
        or_dash(node.version.as_ref()),
        node.peer_address.clone(),
    ]
}

pub(super) async fn change(node: u64, action: MemberAction, args: &How) -> Result<ExitCode, Failure> {
    let change = MemberChange { node, action, how: args.how() };
    let changed = args.node.call(|client| async move { client.change_member(change).await }).await?;
    for warning in &changed.warnings {
        eprintln!("warning: {warning}");
    }
    match args.node.output {
        Output::Table => print_text(&told(&change, &changed)),
        Output::Json => print_json(&document(&change, &changed)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What was done, in words.
fn told(change: &MemberChange, changed: &MembersChanged) -> String {
    let node = change.node;
    let what = match (change.action, change.how.dry_run) {
        (MemberAction::Promote, false) => format!("node {node} votes"),
        (MemberAction::Promote, true) => format!("node {node} would vote"),
        (MemberAction::Demote, false) => format!("node {node} votes no more"),
        (MemberAction::Demote, true) => format!("node {node} would vote no more"),
        (MemberAction::Remove { .. }, false) => format!("node {node} is removed and cut off"),
        (MemberAction::Remove { .. }, true) => format!("node {node} would be removed and cut off"),
    };
    let when = if change.how.dry_run { "nothing was changed; membership is still" } else { "membership is now" };
    let mut text = format!(
        "{what}: voters {}, learners {}\n{when} {}",
        listed(&changed.voters),
        listed(&changed.learners),
        changed.membership
    );
    if let MemberAction::Remove { .. } = change.action {
        text.push_str(&keys(change, changed));
    }
    text
}

/// What a removed node knew, and what becomes of it.
fn keys(change: &MemberChange, changed: &MembersChanged) -> String {
    let mut lines = vec![format!("\nlike every node, node {} knows these keys:", change.node)];
    lines.extend(changed.known_keys.iter().map(|key| {
        let known = format!("  {} {} ({})", key.kind, key.id, key.slot);
        match key.replaced_secs {
            None => known,
            Some((signs, accepted)) => {
                format!("{known}: signs until {}, accepted until {}", show_timestamp(signs), show_timestamp(accepted))
            }
        }
    }));
    lines.push("and has a copy of the replicated state; it does not know the roots' keys.".to_owned());
    let replaced = changed.known_keys.iter().any(|key| key.replaced_secs.is_some());
    let end = match (replaced, change.action, change.how.dry_run) {
        (true, _, _) => "They are being replaced: by these times, at the latest, they are of no use to anybody.",
        (false, MemberAction::Remove { keep_keys: false }, true) => "They would be replaced.",
        (false, _, _) => {
            "They were NOT replaced: whoever has its memory, or its data and the key-encryption key, can sign with them until they are."
        }
    };
    lines.push(end.to_owned());
    lines.join("\n")
}

fn listed(nodes: &[u64]) -> String {
    if nodes.is_empty() {
        return "none".to_owned();
    }
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What `-o json` prints of a change. Scripts rely on these fields: none is renamed or removed.
fn document(change: &MemberChange, changed: &MembersChanged) -> serde_json::Value {
    let mut document = json!({
        "node": change.node,
        "dry_run": change.how.dry_run,
        "membership": changed.membership,
        "voters": changed.voters,
        "learners": changed.learners,
        "warnings": changed.warnings,
    });
    if let (MemberAction::Remove { .. }, Some(fields)) = (change.action, document.as_object_mut()) {
        let key = |key: &signet_api::service::KnownKey| {
            let (signs, accepted) = key.replaced_secs.unzip();
            json!({ "kind": key.kind, "id": key.id, "slot": key.slot, "signs_until": signs, "accepted_until": accepted })
        };
        fields.insert("known_keys".to_owned(), changed.known_keys.iter().map(key).collect());
    }
    document
}

pub(super) async fn transfer_leader(args: &TransferLeader) -> Result<ExitCode, Failure> {
    let how = ChangeHow { if_membership: args.if_membership, force: false, dry_run: args.dry_run };
    let to = args.to;
    let leader = args.node.call(|client| async move { client.transfer_leader(to, how).await }).await?;
    match args.node.output {
        Output::Table if args.dry_run => print_text(&format!(
            "{} could lead; nothing was changed, node {leader} leads",
            to.map_or_else(|| "another voter".to_owned(), |to| format!("node {to}"))
        )),
        Output::Table => print_text(&format!("node {leader} leads")),
        Output::Json => print_json(&json!({ "leader": leader, "dry_run": args.dry_run })),
    }?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn drain(args: &Drain) -> Result<ExitCode, Failure> {
    let (undo, dry_run) = (args.undo, args.dry_run);
    let drained = args.node.call(|client| async move { client.drain(undo, dry_run).await }).await?;
    let node = drained.node;
    match args.node.output {
        Output::Json => print_json(&json!({
            "node": node,
            "drained": drained.drained,
            "leader": drained.leader,
            "dry_run": dry_run,
        })),
        Output::Table => print_text(&match (dry_run, undo) {
            (true, _) => format!(
                "node {node}, whose socket this is, would {}; nothing was changed, it is {}",
                if undo { "take part again" } else { "give up and refuse leadership and no longer be ready" },
                if drained.drained { "drained" } else { "not drained" }
            ),
            (false, true) => format!("node {node}, whose socket this is, takes part again"),
            (false, false) => format!(
                "node {node}, whose socket this is, is drained: it does not lead and is not ready, and still answers those who ask it. Until it is restarted, or: signet cluster drain --undo"
            ),
        }),
    }?;
    if !undo && !dry_run && drained.leader == Some(node) {
        eprintln!("warning: nobody else can lead now, so node {node} still does; look at signet cluster members");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn hash(at: Option<u64>, node: &NodeArgs) -> Result<ExitCode, Failure> {
    let hash = node.call(|client| async move { client.cluster_hash(at).await }).await?;
    let hex = |hash: &Vec<u8>| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match node.output {
        Output::Table => {
            let rows = hash.nodes.iter().map(|(node, hash)| [node.to_string(), or_dash(hash.as_ref().map(hex))]);
            print_table(["NODE", "HASH OF THE LOG"], rows)?;
            print_text(&format!("at index {}", hash.index))
        }
        Output::Json => {
            let nodes = hash.nodes.iter().map(|(node, hash)| json!({ "id": node, "hash": hash.as_ref().map(hex) }));
            let nodes: Vec<_> = nodes.collect();
            print_json(&json!({ "index": hash.index, "agree": hash.agree, "nodes": nodes }))
        }
    }?;
    if hash.agree {
        return Ok(ExitCode::SUCCESS);
    }
    let message = "the members' logs are not the same: at least one of them is damaged. Keep all data directories, take the node that differs from the others out of service (signet cluster remove), and join a new one in its place";
    Err(Failure::new("logs_differ", message))
}

pub(super) async fn reset_time(dry_run: bool, node: &NodeArgs) -> Result<ExitCode, Failure> {
    let reset = node.call(|client| async move { client.reset_time(dry_run).await }).await?;
    let (before, after) = (reset.before_millis / 1000, reset.after_millis / 1000);
    match node.output {
        Output::Table if dry_run => print_text(&format!(
            "cluster time is {}, the clock of this node says {}; nothing was changed",
            show_timestamp(before),
            show_timestamp(after)
        )),
        Output::Table => print_text(&format!(
            "cluster time was {} and is {} now; what expired in between and is still stored lives again until its end",
            show_timestamp(before),
            show_timestamp(after)
        )),
        Output::Json => print_json(&json!({
            "before_millis": reset.before_millis,
            "after_millis": reset.after_millis,
            "dry_run": dry_run,
        })),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What `cluster members -o json` prints. Scripts rely on these fields: none is renamed or removed.
#[derive(Debug, Serialize)]
struct MembersDocument<'a> {
    membership: u64,
    leader: Option<u64>,
    /// No quorum confirmed the rest.
    stale: bool,
    members: Vec<MemberDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct MemberDocument<'a> {
    id: u64,
    role: &'a str,
    voter: bool,
    draining: bool,
    applied: Option<u64>,
    lag: Option<u64>,
    last_contact_millis: Option<u64>,
    clock_ahead_millis: Option<i64>,
    disk: Option<&'a str>,
    version: Option<&'a str>,
    peer_address: &'a str,
}

impl<'a> From<&'a ClusterStatus> for MembersDocument<'a> {
    fn from(status: &'a ClusterStatus) -> Self {
        let members = status.nodes.iter().map(|node| MemberDocument {
            id: node.id,
            role: node.role,
            voter: node.voter,
            draining: node.draining,
            applied: node.applied,
            lag: node.lag,
            last_contact_millis: node.last_contact_millis,
            clock_ahead_millis: node.clock_ahead_millis,
            disk: node.disk.as_deref(),
            version: node.version.as_deref(),
            peer_address: &node.peer_address,
        });
        Self { membership: status.membership, leader: status.leader, stale: status.stale, members: members.collect() }
    }
}

#[cfg(test)]
mod tests {
    use signet_api::service::KnownKey;

    use super::*;

    fn removal(dry_run: bool) -> (MemberChange, MembersChanged) {
        let action = MemberAction::Remove { keep_keys: true };
        let how = ChangeHow { dry_run, ..ChangeHow::default() };
        let key = KnownKey { kind: "jwt-svid".into(), id: "k1".into(), slot: "active".into(), replaced_secs: None };
        let changed =
            MembersChanged { membership: 40, voters: vec![1, 2], known_keys: vec![key], ..MembersChanged::default() };
        (MemberChange { node: 3, action, how }, changed)
    }

    #[test]
    fn a_removal_says_plainly_what_the_node_knows_and_that_nothing_was_replaced() {
        let (change, changed) = removal(false);
        let text = told(&change, &changed);
        assert!(text.starts_with("node 3 is removed and cut off: voters 1, 2, learners none\n"), "{text}");
        assert!(text.contains("  jwt-svid k1 (active)\n"), "{text}");
        assert!(text.contains("They were NOT replaced"), "{text}");
    }

    #[test]
    fn scripts_find_exactly_these_fields_in_a_change() {
        let (change, changed) = removal(true);
        let expected = json!({
            "node": 3, "dry_run": true, "membership": 40, "voters": [1, 2], "learners": [], "warnings": [],
            "known_keys": [{
                "kind": "jwt-svid", "id": "k1", "slot": "active", "signs_until": null, "accepted_until": null,
            }],
        });
        assert_eq!(document(&change, &changed), expected);
        let change = MemberChange { action: MemberAction::Promote, ..change };
        assert_eq!(document(&change, &changed).as_object().map(serde_json::Map::len), Some(6));
    }

    #[test]
    fn scripts_find_exactly_these_fields_of_a_member() {
        let node = NodeStatus {
            id: 1,
            role: "leader",
            applied: Some(9),
            lag: Some(0),
            version: None,
            peer_address: "a:1".into(),
            voter: true,
            last_contact_millis: Some(0),
            draining: true,
            clock_ahead_millis: Some(-2),
            disk: Some("ok".into()),
        };
        let status = ClusterStatus {
            cluster_id: String::new(),
            trust_domain: String::new(),
            answered_by: 1,
            leader: Some(1),
            term: 1,
            stale: false,
            membership: 7,
            notes: vec![],
            nodes: vec![node],
        };
        let member = json!({
            "id": 1, "role": "leader", "voter": true, "draining": true, "applied": 9, "lag": 0,
            "last_contact_millis": 0, "clock_ahead_millis": -2, "disk": "ok", "version": null, "peer_address": "a:1",
        });
        let expected = json!({ "membership": 7, "leader": 1, "stale": false, "members": [member] });
        assert_eq!(serde_json::to_value(MembersDocument::from(&status)).unwrap(), expected);
        assert_eq!(row(&status.nodes[0])[1], "leader (drained)");
    }
}
