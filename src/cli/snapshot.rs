//! `signet snapshot`

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use signet_model::refusal::Reason;
use signet_model::state::{self, Findings};
use signet_raft::{Ancestor, SnapshotError, SnapshotInfo};

use super::failure::Failure;
use super::node::NodeArgs;
use super::output::{Output, or_dash, print_fields, print_json, print_text};
use super::timestamp::show_timestamp;
use crate::clock;

/// Backups of a cluster: save, look into, restore.
///
/// A snapshot holds the whole replicated state. Private keys are in it wrapped for the key-encryption key, and join tokens
/// as hashes; keep a copy of the key-encryption key elsewhere, for without it a snapshot cannot sign. It names every entry
/// and who was issued what, so its file is for its owner alone.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Save the state of a running cluster into a file (mode 0600). Any node will do.
    ///
    /// It covers every write that was acknowledged before. The file appears when it is whole and has been checked.
    Save {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace the file if it is there.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Show what a snapshot says of itself. Reads its head only.
    Inspect {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Check every byte and every row of a snapshot.
    ///
    /// Checks all hashes, unpacks it into a scratch directory, decodes each row and holds the state against its own rules.
    Verify {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where to unpack it for the while; as large as the snapshot.
        #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
        scratch: PathBuf,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Make a new cluster of one node from a snapshot, which is verified first.
    ///
    /// Stop every node of the old cluster before the new one serves: both hold the same signing keys. The new cluster has
    /// another id, so nodes of the old one are not let in; they join anew, with empty data directories. No join token of
    /// the old cluster works any more.
    Restore {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The data directory of the new cluster's first node: empty, or not there yet.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Verify the snapshot and say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Show how the scheduled backups of a node go.
    Status {
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Snapshot) -> Result<(), Failure> {
    match args {
        Snapshot::Save { file, force, node } => save(&file, force, &node).await,
        Snapshot::Inspect { file, output } => inspect(&file, output),
        Snapshot::Verify { file, scratch, output } => verify(&file, &scratch, output),
        Snapshot::Restore { file, data_dir, dry_run: true, output } => dry_restore(&file, &data_dir, output),
        Snapshot::Restore { file, data_dir, dry_run: false, output } => restore(&file, &data_dir, output).await,
        Snapshot::Status { node } => status(&node).await,
    }
}

async fn save(file: &Path, force: bool, node: &NodeArgs) -> Result<(), Failure> {
    if !force && file.exists() {
        let message = format!("{} is there already; choose another name, or say --force to replace it", file.display());
        return Err(Failure::new(Reason::AlreadyExists.code(), message));
    }
    let part = Part::create(file)?;
    receive(&part, node).await?;
    let info = tokio::task::block_in_place(|| signet_raft::check_snapshot(&part.path))?;
    part.become_whole(file)?;
    match node.output {
        Output::Table => print_text(&format!(
            "saved {}: {}, cluster {}, up to log entry {} of {}",
            file.display(),
            bytes(info.size),
            info.cluster_id,
            info.last_log.index,
            show_timestamp(info.cluster_time.secs()),
        )),
        Output::Json => print_json(&document(file, &info)),
    }
}

async fn receive(part: &Part, node: &NodeArgs) -> Result<(), Failure> {
    let failed = |cause| Failure::file("write", &part.path, cause);
    let mut incoming = node.within(async { Ok(node.connect().await?.save_snapshot().await?) }).await?;
    let mut out = File::options().write(true).open(&part.path).map_err(failed)?;
    let (mut written, mut told) = (0, clock::boottime());
    loop {
        let next = tokio::time::timeout(STALL, incoming.next()).await.map_err(|_| {
            Failure::new(Reason::DeadlineExceeded.code(), format!("nothing came for {} s; try again", STALL.as_secs()))
        })??;
        let Some(chunk) = next else { break };
        out.write_all(&chunk).map_err(failed)?;
        written += chunk.len() as u64;
        if clock::boottime().saturating_sub(told) >= TELL {
            told = clock::boottime();
            eprintln!("saving: {} of {}", bytes(written), bytes(incoming.total));
        }
    }
    out.sync_all().map_err(failed)
}

/// A file that has not its name yet.
struct Part {
    path: PathBuf,
}

impl Part {
    fn create(file: &Path) -> Result<Self, Failure> {
        let name = file.file_name().ok_or_else(|| Failure::usage(format!("{} is no file name", file.display())))?;
        let path = file.with_file_name(format!(".{}.{}.part", name.display(), std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map(|_| Self { path: path.clone() }).map_err(|cause| Failure::file("write", &path, cause))
    }

    /// Gives it its name, for good.
    fn become_whole(self, file: &Path) -> Result<(), Failure> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::rename(&self.path, file)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|cause| Failure::file("write", file, cause))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone when it has got its name.
        let _ = fs::remove_file(&self.path);
    }
}

fn inspect(file: &Path, output: Output) -> Result<(), Failure> {
    let info = signet_raft::inspect_snapshot(file)?;
    match output {
        Output::Table => print_fields(&fields(&info)),
        Output::Json => print_json(&document(file, &info)),
    }
}

fn verify(file: &Path, scratch: &Path, output: Output) -> Result<(), Failure> {
    let (info, tokens, findings) = tokio::task::block_in_place(|| examine(file, scratch))?;
    match output {
        Output::Table => {
            let mut shown = fields(&info);
            shown.extend(rows(&findings));
            shown.push(("join tokens", format!("{} usable, {} used", tokens.0, tokens.1)));
            print_fields(&shown)?;
        }
        Output::Json => print_json(&{
            let mut document = document(file, &info);
            add_findings(&mut document, &findings);
            add(&mut document, "join_tokens", json!({ "usable": tokens.0, "used": tokens.1 }));
            document
        })?,
    }
    in_order(file, &findings)?;
    if output == Output::Table {
        print_text("in order: every hash matches, every row can be read and agrees with the others")
    } else {
        Ok(())
    }
}

fn examine(file: &Path, scratch: &Path) -> Result<(SnapshotInfo, (u64, u64), Findings), Failure> {
    let opened = signet_raft::open_snapshot(file, scratch)?;
    Ok((opened.info.clone(), opened.join_tokens, state::verify(opened.view())))
}

fn in_order(file: &Path, findings: &Findings) -> Result<(), Failure> {
    if findings.problems.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{}: its rows contradict each other; do not restore it, use another snapshot:\n  {}",
        file.display(),
        findings.problems.join("\n  ")
    );
    Err(Failure::new("damaged", message))
}

fn dry_restore(file: &Path, data_dir: &Path, output: Output) -> Result<(), Failure> {
    let scratch = std::env::temp_dir();
    let (info, tokens, findings) = tokio::task::block_in_place(|| examine(file, &scratch))?;
    in_order(file, &findings)?;
    if fs::read_dir(data_dir).is_ok_and(|mut items| items.next().is_some()) {
        return Err(SnapshotError::NotEmpty { path: data_dir.to_owned() }.into());
    }
    match output {
        Output::Table => {
            let mut shown = fields(&info);
            shown.push(("would void", format!("{} join tokens", tokens.0)));
            print_fields(&shown)?;
            print_text(&format!(
                "nothing was changed; without --dry-run it becomes a new cluster of one in {}",
                data_dir.display()
            ))
        }
        Output::Json => print_json(&{
            let mut document = document(file, &info);
            add(&mut document, "dry_run", json!(true));
            add(&mut document, "would_void_join_tokens", json!(tokens.0));
            document
        }),
    }
}

async fn restore(file: &Path, data_dir: &Path, output: Output) -> Result<(), Failure> {
    let restored = signet_raft::restore_snapshot(file, data_dir, |view| {
        let problems = state::verify(view).problems;
        if problems.is_empty() {
            Ok(())
        } else {
            Err(format!("its rows contradict each other:\n  {}", problems.join("\n  ")))
        }
    });
    let restored = restored.await?;
    let (from, until) = (&restored.from, show_timestamp(restored.from.cluster_time.secs()));
    match output {
        Output::Table => {
            print_fields(&[
                ("old cluster", format!("{} ({})", from.cluster_id, from.label)),
                ("new cluster", restored.cluster_id.clone()),
                ("node", restored.node_id.to_string()),
                ("log", format!("goes on at entry {}", restored.index)),
                ("voided", format!("{} join tokens", restored.voided_join_tokens)),
                ("data directory", data_dir.display().to_string()),
            ])?;
            print_text(&format!(
                "What happened after {until} is not in it: review deleted entries, changed policies and revoked or rotated keys.\n\
                 Stop every node of the old cluster, start this one with its data_dir, and let the others join with empty\n\
                 data directories and new tokens (`signet cluster join-token FILE`)."
            ))
        }
        Output::Json => print_json(&json!({
            "data_dir": data_dir,
            "old_cluster_id": from.cluster_id,
            "trust_domain": from.label,
            "cluster_id": restored.cluster_id,
            "node_id": restored.node_id,
            "index": restored.index,
            "voided_join_tokens": restored.voided_join_tokens,
            "cluster_time": restored.cluster_time.secs(),
        })),
    }
}

async fn status(node: &NodeArgs) -> Result<(), Failure> {
    let status = node.call(|client| async move { client.backup_status().await }).await?;
    let success = status.last_success.as_ref();
    match node.output {
        Output::Table if status.destination.is_empty() => {
            print_text("no backups are scheduled: this node's configuration has no [backups] section")
        }
        Output::Table => print_fields(&[
            ("destination", status.destination.clone()),
            ("every", format!("{} s", status.interval_secs)),
            (
                "taken here",
                if status.active { "yes".to_owned() } else { "no: another node leads or is named".to_owned() },
            ),
            ("next", show_timestamp(status.next_secs)),
            (
                "last success",
                or_dash(success.map(|last| {
                    format!(
                        "{}: {}, {}, up to log entry {}",
                        show_timestamp(last.at_secs),
                        last.name,
                        bytes(last.size),
                        last.index
                    )
                })),
            ),
            (
                "last failure",
                or_dash(status.last_failure.as_ref().map(|(at, detail)| format!("{}: {detail}", show_timestamp(*at)))),
            ),
        ]),
        Output::Json => print_json(&json!({
            "destination": status.destination,
            "interval": status.interval_secs,
            "active": status.active,
            "next": status.next_secs,
            "last_success": success.map(|last| json!({ "at": last.at_secs, "name": last.name, "size": last.size, "index": last.index })),
            "last_failure": status.last_failure.map(|(at, detail)| json!({ "at": at, "detail": detail })),
        })),
    }
}

/// What a snapshot says of itself, for people.
fn fields(info: &SnapshotInfo) -> Vec<(&'static str, String)> {
    let members = info.members.iter().map(|(id, address)| {
        let part = if info.voters.contains(id) { "" } else { ", learner" };
        format!("{id} ({address}{part})")
    });
    let mut fields = vec![
        ("trust domain", info.label.clone()),
        ("cluster", info.cluster_id.clone()),
        ("made", format!("{} by node {}, Signet {}", show_timestamp(info.made_at.secs()), info.node_id, info.program)),
        (
            "last entry",
            format!(
                "{} of term {}, at cluster time {}",
                info.last_log.index,
                info.last_log.term,
                show_timestamp(info.cluster_time.secs())
            ),
        ),
        ("members", members.collect::<Vec<_>>().join(", ")),
        ("chain hash", or_dash(info.chain_hash.as_ref())),
        ("state version", info.min_reader.to_string()),
        ("size", format!("{} in {} files", bytes(info.size), info.files)),
    ];
    for ancestor in &info.ancestors {
        fields.push((
            ancestor.kind.as_str(),
            format!("from cluster {} up to its entry {}", ancestor.cluster_id, ancestor.last_log.index),
        ));
    }
    fields
}

fn rows(findings: &Findings) -> Vec<(&'static str, String)> {
    let mut rows: Vec<_> = findings
        .spaces
        .iter()
        .map(|space| ("rows", format!("{} {:?}, SHA-256 {}", space.rows, space.space, hex(&space.hash))))
        .collect();
    if findings.unjudged > 0 {
        rows.push(("not judged", format!("{} rows of kinds without a rule of their own", findings.unjudged)));
    }
    rows
}

/// What a snapshot says of itself, for programs. Scripts rely on these fields: none is renamed or removed.
fn document(file: &Path, info: &SnapshotInfo) -> Value {
    let ancestor = |it: &Ancestor| json!({ "kind": it.kind.as_str(), "cluster_id": it.cluster_id, "last_log": it.last_log, "cluster_time": it.cluster_time.secs(), "became": it.became });
    json!({
        "file": file,
        "size": info.size,
        "cluster_id": info.cluster_id,
        "trust_domain": info.label,
        "made_at": info.made_at.secs(),
        "made_by": info.node_id,
        "program": info.program,
        "last_log": info.last_log,
        "cluster_time": info.cluster_time.secs(),
        "voters": info.voters,
        "members": info.members.iter().map(|(id, address)| json!({ "id": id, "peer_address": address })).collect::<Vec<_>>(),
        "chain_hash": info.chain_hash,
        "state_version": info.min_reader,
        "ancestors": info.ancestors.iter().map(ancestor).collect::<Vec<_>>(),
    })
}

/// Adds to a document what was found in its rows.
pub(super) fn add_findings(document: &mut Value, findings: &Findings) {
    let spaces: serde_json::Map<String, Value> = findings
        .spaces
        .iter()
        .map(|space| (format!("{:?}", space.space), json!({ "rows": space.rows, "sha256": hex(&space.hash) })))
        .collect();
    add(document, "spaces", Value::Object(spaces));
    add(document, "unjudged_rows", json!(findings.unjudged));
    add(document, "problems", json!(findings.problems));
}

fn add(document: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = document {
        fields.insert(key.to_owned(), value);
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let code = match error {
            SnapshotError::File { .. } | SnapshotError::NotWritten { .. } => "io",
            SnapshotError::Damaged { .. } | SnapshotError::Contents { .. } => "damaged",
            SnapshotError::TooNew { .. } | SnapshotError::NotEmpty { .. } | SnapshotError::OtherUser { .. } => {
                Reason::FailedPrecondition.code()
            }
        };
        Self::chain(code, &anyhow::Error::new(error))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of bytes as people say it.
fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

/// A server that sends nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);
/// How often to say how far it is.
const TELL: Duration = Duration::from_secs(2);
