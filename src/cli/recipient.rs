//! `signet recipient`

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signet_api::service::{RecipientChange, RecipientsShown};

use super::failure::Failure;
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_json, print_table, print_text};

/// Who can open the keys: every key that nodes hold in memory is wrapped for each recipient, and each opens it alone.
#[derive(Debug, Subcommand)]
pub(crate) enum Recipient {
    /// Show the recipients, and which node can use which.
    List {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Wrap every key for one more. The node that is asked does it, and must have its key backend in its configuration.
    Add {
        #[command(flatten)]
        which: Which,
        /// Also make new X.509 roots there from now on: what `place-roots` does.
        #[arg(long)]
        roots: bool,
        #[command(flatten)]
        more: Common,
    },
    /// Forget what is wrapped for one. Refused where a key would be left that no living voter can open.
    Remove {
        #[command(flatten)]
        which: Which,
        /// Do without the nodes that could not open the keys again at their next start, as long as one can.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        more: Common,
    },
    /// Have new X.509 roots made in the backend of this recipient from now on. The leader makes a standby root there at
    /// once; `signet authority rotate --kind x509-root` then has it take over.
    PlaceRoots {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        more: Common,
    },
}

/// One recipient.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Its id as `signet recipient list` shows it, or its key backend as the node's configuration has it, such as
    /// file:/etc/signet/kek2.
    #[arg(value_name = "RECIPIENT")]
    recipient: String,
}

/// What every change takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Change nothing, and show how it would be.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn run(args: Recipient) -> Result<(), Failure> {
    let (change, more) = match args {
        Recipient::List { node } => {
            let shown = node.call(|client| async move { client.recipients().await }).await?;
            return print(&shown, &node, false);
        }
        Recipient::Add { which, roots, more } => (RecipientChange::Add { which: which.recipient, roots }, more),
        Recipient::Remove { which, force, more } => (RecipientChange::Remove { which: which.recipient, force }, more),
        Recipient::PlaceRoots { which, more } => (RecipientChange::PlaceRoots { which: which.recipient }, more),
    };
    let Common { dry_run, node } = more;
    let shown = node.call(|client| async move { client.change_recipients(change, dry_run).await }).await?;
    print(&shown, &node, dry_run)
}

fn print(shown: &RecipientsShown, node: &NodeArgs, dry_run: bool) -> Result<(), Failure> {
    match node.output {
        Output::Json => print_json(&document(shown, dry_run)),
        Output::Table => print_tables(shown, dry_run),
    }
}

fn print_tables(shown: &RecipientsShown, dry_run: bool) -> Result<(), Failure> {
    if dry_run {
        eprintln!("nothing was changed; this is how it would be");
    }
    print_table(
        ["RECIPIENT", "BACKEND", "KEYS", "ROOTS", "USABLE BY NODES", "NOT BY"],
        lines(shown).into_iter().map(|line| {
            let keys = line.keys.map(|keys| format!("{keys} of {}", shown.keys));
            let roots = if line.roots { "here" } else { "-" };
            [line.id, or_dash(line.name), or_dash(keys), roots.to_owned(), nodes(&line.usable), nodes(&line.unusable)]
        }),
    )?;
    for report in &shown.nodes {
        for backend in report.backends.iter().filter(|backend| !backend.is_usable()) {
            print_text(&format!("node {}: {} is failing: {}", report.node, backend.name, backend.problem))?;
        }
    }
    if lines(shown).iter().any(|line| line.keys.is_none()) {
        print_text("A backend without KEYS is no recipient: `signet recipient add BACKEND` wraps every key for it.")?;
    }
    Ok(())
}

/// A recipient, or a key backend of a node that is none.
struct Line {
    id: String,
    name: Option<String>,
    /// `None`: it is no recipient.
    keys: Option<u32>,
    roots: bool,
    usable: Vec<u64>,
    unusable: Vec<u64>,
}

fn lines(shown: &RecipientsShown) -> Vec<Line> {
    let mut lines: Vec<Line> =
        shown.recipients.iter().map(|one| line(shown, &one.id, Some(one.keys), one.roots)).collect();
    let known: BTreeSet<&str> = shown.recipients.iter().map(|one| one.id.as_str()).collect();
    let others: BTreeSet<&str> =
        shown.nodes.iter().flat_map(|report| &report.backends).filter_map(|one| one.recipient.as_deref()).collect();
    lines.extend(others.difference(&known).map(|id| line(shown, id, None, false)));
    lines
}

fn line(shown: &RecipientsShown, id: &str, keys: Option<u32>, roots: bool) -> Line {
    let of = |usable: bool| {
        let has = |report: &&signet_model::recipient::NodeBackends| report.opens(id) == usable;
        shown.nodes.iter().filter(has).map(|report| report.node).collect()
    };
    let backends = shown.nodes.iter().flat_map(|report| &report.backends);
    let name = backends.clone().find(|one| one.recipient.as_deref() == Some(id)).map(|one| one.name.clone());
    Line { id: id.to_owned(), name, keys, roots, usable: of(true), unusable: of(false) }
}

fn nodes(ids: &[u64]) -> String {
    if ids.is_empty() { "-".to_owned() } else { ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",") }
}

/// What `-o json` prints. Scripts rely on these fields: none is renamed or removed. Times are milliseconds since the
/// epoch, cluster time.
fn document(shown: &RecipientsShown, dry_run: bool) -> Value {
    let recipients = shown.recipients.iter().map(|one| {
        let line = line(shown, &one.id, Some(one.keys), one.roots);
        json!({
            "id": one.id, "backend": line.name, "keys": one.keys, "roots": one.roots, "added_at": one.added_at.millis(),
            "added_by": one.added_by, "usable_by": line.usable, "not_usable_by": line.unusable,
        })
    });
    let nodes = shown.nodes.iter().map(|report| {
        let backends = report.backends.iter().map(|backend| {
            json!({
                "backend": backend.name, "recipient": backend.recipient, "usable": backend.is_usable(),
                "problem": backend.problem,
            })
        });
        json!({"node": report.node, "at": report.at.millis(), "backends": backends.collect::<Vec<_>>()})
    });
    json!({
        "dry_run": dry_run, "changed": shown.changed, "version": shown.version, "keys": shown.keys,
        "recipients": recipients.collect::<Vec<_>>(), "nodes": nodes.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use signet_api::service::RecipientShown;
    use signet_model::recipient::{BackendState, NodeBackends};
    use signet_model::time::UnixTime;

    use super::*;

    fn sample() -> RecipientsShown {
        let at = UnixTime::from_millis(5);
        let backend = |name: &str, recipient: &str, problem: &str| BackendState {
            name: name.to_owned(),
            recipient: Some(recipient.to_owned()),
            problem: problem.to_owned(),
        };
        let node = |node, problem: &str| NodeBackends {
            node,
            at,
            backends: vec![backend("file:/a", "file:1", problem), backend("file:/b", "file:2", "")],
        };
        let recipient = RecipientShown { id: "file:1".to_owned(), added_at: at, added_by: None, roots: true, keys: 3 };
        RecipientsShown {
            version: 2,
            keys: 4,
            recipients: vec![recipient],
            nodes: vec![node(1, ""), node(2, "gone")],
            changed: Some("file:1".to_owned()),
        }
    }

    #[test]
    fn scripts_find_exactly_these_fields() {
        let backend = |name: &str, recipient: &str, problem: &str| json!({"backend": name, "recipient": recipient, "usable": problem.is_empty(), "problem": problem});
        let expected = json!({
            "dry_run": true, "changed": "file:1", "version": 2, "keys": 4,
            "recipients": [{
                "id": "file:1", "backend": "file:/a", "keys": 3, "roots": true, "added_at": 5, "added_by": null,
                "usable_by": [1], "not_usable_by": [2],
            }],
            "nodes": [
                {"node": 1, "at": 5, "backends": [backend("file:/a", "file:1", ""), backend("file:/b", "file:2", "")]},
                {"node": 2, "at": 5, "backends": [backend("file:/a", "file:1", "gone"), backend("file:/b", "file:2", "")]},
            ],
        });
        assert_eq!(document(&sample(), true), expected);
    }

    #[test]
    fn a_backend_that_is_no_recipient_is_listed_without_keys() {
        let lines = lines(&sample());
        let told: Vec<_> = lines.iter().map(|line| (line.id.as_str(), line.keys)).collect();
        assert_eq!(told, [("file:1", Some(3)), ("file:2", None)]);
    }
}
