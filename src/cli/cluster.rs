//! `signet cluster`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use signet_api::service::{ClusterStatus, MemberAction, NodeStatus};

use super::duration::parse_ttl;
use super::failure::Failure;
use super::files::write_secret;
use super::members::{self, Drain, How, TransferLeader};
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_fields, print_json, print_table, print_text};
use super::timestamp::show_timestamp;
use super::upgrade::{self, Upgrade};

/// Start, join and look at a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Make the node a cluster of one, with a new trust domain from the node's configuration.
    Init {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Show the members.
    ///
    /// Ends with 0 when a quorum confirmed what is shown. Without a quorum it ends with 3 and shows what this node knows,
    /// marked stale.
    Status {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Write a single-use token with which one new node joins.
    JoinToken {
        /// Where to write it (mode 0600). Give the file to the new node only: `signet server --join-token-file FILE`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How long it can be used.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
        ttl: u32,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Put what a newer program brings in force, once all nodes run it.
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// Show the members with all that matters for changing them: who votes, how far each lags, when it was last heard.
    Members {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Make a member vote.
    Promote {
        /// Which; `signet cluster members` lists them.
        #[arg(value_name = "NODE")]
        id: u64,
        #[command(flatten)]
        how: How,
    },
    /// Make a member a learner: it keeps its copy of everything and votes no more.
    Demote {
        /// Which; `signet cluster members` lists them.
        #[arg(value_name = "NODE")]
        id: u64,
        #[command(flatten)]
        how: How,
    },
    /// Remove a member for good. It is cut off at once, and its process ends saying so.
    Remove {
        /// Which; `signet cluster members` lists them.
        #[arg(value_name = "NODE")]
        id: u64,
        /// Do not replace the issuing keys that the node knows.
        #[arg(long)]
        keep_keys: bool,
        #[command(flatten)]
        how: How,
    },
    /// Let another voter lead.
    TransferLeader(TransferLeader),
    /// Make the node whose socket this is give up and refuse leadership and no longer be ready, until it is restarted.
    Drain(Drain),
    /// Compare the members' logs. Ends with 1 when they are not the same.
    Hash {
        /// At this log index; else at the last that all who answer have applied.
        #[arg(long, value_name = "INDEX")]
        at: Option<u64>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Set cluster time, which a wrong clock has driven ahead, back to the median of the members' clocks.
    ResetTime {
        /// Only show cluster time and this node's clock.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Cluster) -> Result<ExitCode, Failure> {
    match args {
        Cluster::Init { node } => init(&node).await,
        Cluster::Status { node } => status(&node).await,
        Cluster::JoinToken { file, ttl, node } => join_token(&file, ttl, &node).await,
        Cluster::Upgrade(args) => upgrade::run(args).await,
        Cluster::Members { node } => members::members(&node).await,
        Cluster::Promote { id, how } => members::change(id, MemberAction::Promote, &how).await,
        Cluster::Demote { id, how } => members::change(id, MemberAction::Demote, &how).await,
        Cluster::Remove { id, keep_keys, how } => members::change(id, MemberAction::Remove { keep_keys }, &how).await,
        Cluster::TransferLeader(args) => members::transfer_leader(&args).await,
        Cluster::Drain(args) => members::drain(&args).await,
        Cluster::Hash { at, node } => members::hash(at, &node).await,
        Cluster::ResetTime { dry_run, node } => members::reset_time(dry_run, &node).await,
    }
}

async fn init(node: &NodeArgs) -> Result<ExitCode, Failure> {
    let status = node.call(|client| async move { client.init_cluster().await }).await?;
    match node.output {
        Output::Table => print_fields(&[
            ("cluster", status.cluster_id),
            ("trust domain", status.trust_domain),
            ("node", status.answered_by.to_string()),
        ]),
        Output::Json => print_json(&json!({
            "cluster_id": status.cluster_id,
            "trust_domain": status.trust_domain,
            "node_id": status.answered_by,
        })),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn status(node: &NodeArgs) -> Result<ExitCode, Failure> {
    let status = node.call(|client| async move { client.cluster_status().await }).await?;
    match node.output {
        Output::Table => {
            print_table(["NODE", "ROLE", "APPLIED", "LAG", "VERSION", "PEER ADDRESS"], status.nodes.iter().map(row))?;
            let leader = or_dash(status.leader);
            print_text(&format!("trust domain {}, leader {leader}, term {}", status.trust_domain, status.term))?;
            for note in &status.notes {
                print_text(&format!("note: {note}"))?;
            }
        }
        Output::Json => print_json(&StatusDocument::from(&status))?,
    }
    Ok(members::confirmed(&status))
}

fn row(node: &NodeStatus) -> [String; 6] {
    [
        node.id.to_string(),
        node.role.to_owned(),
        or_dash(node.applied),
        or_dash(node.lag),
        or_dash(node.version.as_ref()),
        node.peer_address.clone(),
    ]
}

async fn join_token(file: &Path, ttl: u32, node: &NodeArgs) -> Result<ExitCode, Failure> {
    let token = node.call(|client| async move { client.create_join_token(ttl).await }).await?;
    write_secret(file, token.text.as_bytes())?;
    let expires_at = show_timestamp(token.expires_at_secs);
    match node.output {
        Output::Table => print_text(&format!(
            "wrote {}: it lets one node join until {expires_at}. Give it to that node alone:\n  signet server --config FILE --join-token-file {}",
            file.display(),
            file.display()
        )),
        Output::Json => print_json(&json!({ "file": file, "expires_at": token.expires_at_secs })),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What `cluster status -o json` prints. Scripts rely on these fields: none is renamed or removed.
#[derive(Debug, Serialize)]
struct StatusDocument<'a> {
    cluster_id: &'a str,
    leader: Option<u64>,
    term: u64,
    /// No quorum confirmed the rest.
    stale: bool,
    nodes: Vec<NodeDocument<'a>>,
    /// What wants looking after although the cluster serves.
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct NodeDocument<'a> {
    id: u64,
    role: &'a str,
    applied: Option<u64>,
    lag: Option<u64>,
    version: Option<&'a str>,
}

impl<'a> From<&'a ClusterStatus> for StatusDocument<'a> {
    fn from(status: &'a ClusterStatus) -> Self {
        let nodes = status.nodes.iter().map(|node| NodeDocument {
            id: node.id,
            role: node.role,
            applied: node.applied,
            lag: node.lag,
            version: node.version.as_deref(),
        });
        Self {
            cluster_id: &status.cluster_id,
            leader: status.leader,
            term: status.term,
            stale: status.stale,
            nodes: nodes.collect(),
            notes: &status.notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(stale: bool) -> ClusterStatus {
        ClusterStatus {
            cluster_id: "00112233445566778899aabbccddeeff".to_owned(),
            trust_domain: "example.org".to_owned(),
            answered_by: 1,
            leader: if stale { None } else { Some(1) },
            term: 3,
            stale,
            membership: 5,
            notes: vec![],
            nodes: vec![
                NodeStatus {
                    id: 1,
                    role: "leader",
                    applied: Some(12),
                    lag: Some(0),
                    version: Some("0.1.0".to_owned()),
                    peer_address: "127.0.0.1:8082".to_owned(),
                    voter: true,
                    last_contact_millis: Some(0),
                    draining: false,
                    clock_ahead_millis: None,
                    disk: None,
                },
                NodeStatus {
                    id: 2,
                    role: "unreachable",
                    applied: None,
                    lag: None,
                    version: None,
                    peer_address: "127.0.0.1:8182".to_owned(),
                    voter: true,
                    last_contact_millis: None,
                    draining: false,
                    clock_ahead_millis: None,
                    disk: None,
                },
            ],
        }
    }

    #[test]
    fn scripts_find_exactly_these_fields_in_the_status() {
        let nodes = json!([
            {"id": 1, "role": "leader", "applied": 12, "lag": 0, "version": "0.1.0"},
            {"id": 2, "role": "unreachable", "applied": null, "lag": null, "version": null},
        ]);
        let id = "00112233445566778899aabbccddeeff";
        let confirmed = serde_json::to_value(StatusDocument::from(&cluster(false))).unwrap();
        assert_eq!(
            confirmed,
            json!({"cluster_id": id, "leader": 1, "term": 3, "stale": false, "nodes": nodes, "notes": []})
        );
        let stale = serde_json::to_value(StatusDocument::from(&cluster(true))).unwrap();
        assert_eq!(
            stale,
            json!({"cluster_id": id, "leader": null, "term": 3, "stale": true, "nodes": nodes, "notes": []})
        );
    }
}
