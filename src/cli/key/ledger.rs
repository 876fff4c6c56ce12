//! `signet key ledger`

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use signet_kms::KmsError;
use signet_kms::aws::{AwsKms, AwsUri, LedgerKey, Stage};
use signet_model::refusal::Reason;
use signet_model::x509::SubjectPublicKey;

use crate::cli::failure::Failure;
use crate::cli::output::{Output, or_dash, print_json, print_table, print_text};
use crate::cli::timestamp::show_timestamp;
use crate::{clock, duration};

/// What to list, and what to discard of it.
#[derive(Debug, Args)]
pub(crate) struct Ledger {
    /// The key backend: awskms:KEY?region=REGION&deployment=NAME.
    #[arg(value_name = "URI")]
    backend: String,
    /// Discard every key whose making broke off.
    #[arg(long, conflicts_with = "discard")]
    discard_unfinished: bool,
    /// How long ago at least. Younger ones may be in the making.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse, requires = "discard_unfinished")]
    older_than: Duration,
    /// Discard this key. One that may be in use must have been disabled before.
    #[arg(long, value_name = "KEY_ID")]
    discard: Option<String>,
    /// Only say what would be discarded.
    #[arg(long)]
    dry_run: bool,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(args: &Ledger) -> Result<(), Failure> {
    let uri: AwsUri = args.backend.parse().map_err(failed)?;
    let backend = AwsKms::open(uri).map_err(failed)?;
    let now = i64::try_from(clock::now().secs()).unwrap_or(i64::MAX);
    if let Some(id) = &args.discard {
        if args.dry_run {
            backend.discardable(id).await.map_err(failed)?;
        } else {
            backend.discard(id).await.map_err(failed)?;
        }
        return discarded(args.output, args.dry_run, std::slice::from_ref(id));
    }
    if args.discard_unfinished {
        let ids = if args.dry_run {
            let ledger = backend.ledger().await.map_err(failed)?;
            ledger.into_iter().filter(|key| key.is_left_over(args.older_than, now)).map(|key| key.id).collect()
        } else {
            backend.discard_unfinished(args.older_than, now).await.map_err(failed)?
        };
        return discarded(args.output, args.dry_run, &ids);
    }
    let ledger = backend.ledger().await.map_err(failed)?;
    match args.output {
        Output::Json => print_json(&ledger.iter().map(document).collect::<Vec<_>>()),
        Output::Table => print_table(
            ["KEY", "MADE FOR", "STAGE", "STATE", "MADE AT", "AUTHORITY"],
            ledger.iter().map(|key| {
                let label = or_dash(key.label.as_ref());
                [key.id.clone(), label, stage(key).to_owned(), key.state.clone(), made_at(key), or_dash(authority(key))]
            }),
        ),
    }
}

fn discarded(output: Output, dry_run: bool, ids: &[String]) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(&json!({ "discarded": ids, "dry_run": dry_run })),
        Output::Table if ids.is_empty() => print_text("nothing to discard"),
        Output::Table if dry_run => print_text(&format!("without --dry-run this is discarded: {}", ids.join(", "))),
        Output::Table => print_text(&format!(
            "deleted in a week: {}; until then aws kms cancel-key-deletion takes it back",
            ids.join(", ")
        )),
    }
}

fn document(key: &LedgerKey) -> Value {
    json!({
        "key": key.id,
        "made_for": key.label,
        "stage": stage(key),
        "state": key.state,
        "made_at": made_at(key),
        "authority": authority(key),
    })
}

const fn stage(key: &LedgerKey) -> &'static str {
    match key.stage {
        Stage::Whole => "whole",
        Stage::Unfinished => "unfinished",
    }
}

fn made_at(key: &LedgerKey) -> String {
    show_timestamp(key.created_at_secs.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0))
}

/// The id that an X.509 authority with this key has.
fn authority(key: &LedgerKey) -> Option<String> {
    let public_key = SubjectPublicKey::from_spki(key.public_key.as_deref()?).ok()?;
    Some(public_key.authority_id().to_string())
}

fn failed(error: KmsError) -> Failure {
    match &error {
        KmsError::Configuration { .. } => Failure::usage(error.to_string()),
        KmsError::Unavailable { .. } | KmsError::Key { .. } | KmsError::Open { .. } | KmsError::Wrong { .. } => {
            Failure::new(Reason::FailedPrecondition.code(), error.to_string())
        }
    }
}
