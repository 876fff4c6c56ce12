//! `signet recover verify`: what came out of a recovery, and whether what clients were told is in it.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use signet_model::refusal::Reason;
use signet_model::state;
use signet_raft::Survivor;

use super::open;
use crate::cli::failure::Failure;
use crate::cli::output::{Output, or_dash, print_fields, print_json, print_text};
use crate::cli::snapshot::add_findings;

/// What a client was told.
#[derive(Debug, Deserialize)]
struct Receipt {
    index: u64,
    chain_hash: Option<String>,
}

pub(super) async fn verify(data_dir: &Path, receipts: Option<&Path>, output: Output) -> Result<(), Failure> {
    let receipts = receipts.map(read_receipts).transpose()?.unwrap_or_default();
    let survivor = open(data_dir).await?;
    let (survey, view) = (survivor.survey(), survivor.view());
    let findings = tokio::task::block_in_place(|| state::verify(&view));
    // Entries of the old cluster are covered up to where it ended; later ones were given by the new one.
    let covered = survivor.ancestors().last().map_or(survey.last_log.index, |ancestor| ancestor.last_log.index);
    let missing: Vec<u64> = receipts.iter().map(|receipt| receipt.index).filter(|index| *index > covered).collect();
    let held = hold(&survivor, covered, &receipts).await?;
    let ancestors: Vec<Value> = survivor
        .ancestors()
        .iter()
        .map(|it| json!({ "kind": it.kind.as_str(), "cluster_id": it.cluster_id, "last_log": it.last_log, "became": it.became }))
        .collect();
    match output {
        Output::Table => {
            let from = survivor
                .ancestors()
                .last()
                .map(|it| format!("{} from {} up to its entry {}", it.kind.as_str(), it.cluster_id, it.last_log.index));
            print_fields(&[
                ("cluster", survey.cluster_id.clone()),
                ("node", survey.node_id.to_string()),
                ("origin", or_dash(from)),
                ("voters", survey.voters.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
                ("last entry", survey.last_log.index.to_string()),
                ("join tokens", format!("{} usable", survey.usable_join_tokens)),
                (
                    "receipts",
                    format!(
                        "{} of {} covered; {} hashes agree, {} differ, {} are older than the log that is kept",
                        receipts.len() - missing.len(),
                        receipts.len(),
                        held.agree,
                        held.differ.len(),
                        held.unknown
                    ),
                ),
            ])?;
        }
        Output::Json => print_json(&{
            let mut document = json!({
                "data_dir": data_dir,
                "cluster_id": survey.cluster_id,
                "node_id": survey.node_id,
                "ancestors": ancestors,
                "voters": survey.voters,
                "last_log": survey.last_log,
                "usable_join_tokens": survey.usable_join_tokens,
                "receipts": receipts.len(),
                "missing_receipts": missing,
                "agreeing_hashes": held.agree,
                "differing_hashes": held.differ,
                "unknown_hashes": held.unknown,
            });
            add_findings(&mut document, &findings);
            document
        })?,
    }
    if !findings.problems.is_empty() {
        let message = format!("its rows contradict each other:\n  {}", findings.problems.join("\n  "));
        return Err(Failure::new("damaged", message));
    }
    if !held.differ.is_empty() {
        let message = format!(
            "the log here is not the one that the receipts are of: the hashes differ at entries {}; look for another survivor",
            shown(&held.differ)
        );
        return Err(Failure::new(Reason::FailedPrecondition.code(), message));
    }
    if !missing.is_empty() {
        let message = format!(
            "{} of the receipts are for log entries after {covered}, where the old cluster's log ends here: those writes are \
             lost, do them again (entries {})",
            missing.len(),
            shown(&missing)
        );
        return Err(Failure::new(Reason::FailedPrecondition.code(), message));
    }
    if output == Output::Table {
        print_text("in order: every row can be read and agrees with the others")
    } else {
        Ok(())
    }
}

/// How the hashes in the receipts compare with those of the old log.
#[derive(Debug, Default)]
struct Held {
    agree: u64,
    differ: Vec<u64>,
    unknown: u64,
}

/// Holds the hashes in the receipts against the old cluster's log, which lies where the recovery has set it aside.
async fn hold(survivor: &Survivor, covered: u64, receipts: &[Receipt]) -> Result<Held, Failure> {
    let with_hash = receipts.iter().filter(|receipt| receipt.index <= covered);
    let with_hash: Vec<_> = with_hash.filter_map(|it| Some((it.index, it.chain_hash.as_ref()?))).collect();
    let mut held = Held::default();
    let old = match survivor.set_aside() {
        Some(path) if !with_hash.is_empty() => Some(open(&path).await?),
        Some(_) | None => None,
    };
    for (index, hash) in with_hash {
        match old.as_ref().unwrap_or(survivor).chain_hash(index)? {
            Some(here) if here.eq_ignore_ascii_case(hash) => held.agree += 1,
            Some(_) => held.differ.push(index),
            None => held.unknown += 1,
        }
    }
    Ok(held)
}

fn shown(indexes: &[u64]) -> String {
    indexes.iter().take(SHOWN).map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn read_receipts(file: &Path) -> Result<Vec<Receipt>, Failure> {
    let text = fs::read_to_string(file).map_err(|cause| Failure::file("read", file, cause))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(nth, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|cause| {
            let message = format!("{} line {}: {cause}; a receipt is {{\"index\": 123}}", file.display(), nth + 1);
            Failure::new(Reason::InvalidArgument.code(), message)
        })
    };
    lines.map(read).collect()
}

const SHOWN: usize = 20;
