//! `signet cluster upgrade`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use signet_api::ops::UpgradeStatus;

use super::failure::{EXIT_NO_QUORUM, Failure};
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_json, print_table, print_text};

/// Put what a newer program brings in force, once all nodes run it.
#[derive(Debug, Subcommand)]
pub(crate) enum Upgrade {
    /// Show the feature level in force, what each member's program knows, and what is next.
    Status {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Raise the feature level by one, if every member knows the next. Afterwards no older program can be a member.
    Finalize {
        /// Only say whether it would be raised.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Upgrade) -> Result<ExitCode, Failure> {
    match args {
        Upgrade::Status { node } => {
            let status = node.call(|client| async move { client.upgrade_status().await }).await?;
            match node.output {
                Output::Json => print_json(&document(&status))?,
                Output::Table => table(&status)?,
            }
            Ok(if status.stale { ExitCode::from(EXIT_NO_QUORUM) } else { ExitCode::SUCCESS })
        }
        Upgrade::Finalize { dry_run, node } => {
            let status = node.call(|client| async move { client.finalize_upgrade(dry_run).await }).await?;
            match node.output {
                Output::Json => print_json(&document(&status))?,
                Output::Table if dry_run => print_text(&format!(
                    "nothing stands in the way: without --dry-run the feature level becomes {}, from {}, and no older program can be a member",
                    status.level + 1,
                    status.level
                ))?,
                Output::Table => print_text(&format!("feature level {} is in force", status.level))?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn table(status: &UpgradeStatus) -> Result<(), Failure> {
    let rows =
        status.nodes.iter().map(|node| [node.id.to_string(), or_dash(node.version.as_ref()), or_dash(node.knows)]);
    print_table(["NODE", "VERSION", "KNOWS LEVEL"], rows)?;
    print_text(&format!("feature level {} is in force", status.level))?;
    for next in &status.next {
        print_text(&format!("level {} brings: {}", next.level, next.brings))?;
    }
    if status.level >= status.known {
        return print_text("there is nothing to finalize");
    }
    if status.obstacles.is_empty() {
        return print_text(&format!("`signet cluster upgrade finalize` raises it to {}", status.level + 1));
    }
    status.obstacles.iter().try_for_each(|obstacle| print_text(&format!("not yet: {obstacle}")))
}

/// What `-o json` prints. Scripts rely on these fields: none is renamed or removed.
fn document(status: &UpgradeStatus) -> Value {
    let nodes: Vec<_> = status
        .nodes
        .iter()
        .map(|node| json!({ "id": node.id, "version": node.version, "knows": node.knows }))
        .collect();
    let next: Vec<_> = status.next.iter().map(|it| json!({ "level": it.level, "brings": it.brings })).collect();
    json!({
        "level": status.level,
        "known": status.known,
        "stale": status.stale,
        "nodes": nodes,
        "next": next,
        "obstacles": status.obstacles,
    })
}

#[cfg(test)]
mod tests {
    use signet_api::ops::{UpgradeLevel, UpgradeNode};

    use super::*;

    #[test]
    fn scripts_find_exactly_these_fields() {
        let status = UpgradeStatus {
            level: 1,
            known: 2,
            stale: false,
            nodes: vec![UpgradeNode { id: 1, knows: Some(2), version: None }],
            next: vec![UpgradeLevel { level: 2, brings: "more".into() }],
            obstacles: vec!["x".into()],
        };
        let expected = json!({
            "level": 1, "known": 2, "stale": false, "nodes": [{"id": 1, "version": null, "knows": 2}],
            "next": [{"level": 2, "brings": "more"}], "obstacles": ["x"],
        });
        assert_eq!(document(&status), expected);
    }
}
