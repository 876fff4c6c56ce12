//! `signet recover`

mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use signet_model::authority::{Authority, AuthorityKind};
use signet_model::refusal::Reason;
use signet_model::state;
use signet_raft::{Plan, PlanError, RecoverError, Survey, Survivor, View};

use super::failure::Failure;
use super::files::write_secret;
use super::output::{Output, or_dash, print_fields, print_json, print_table, print_text};
use super::timestamp::show_timestamp;
use crate::server;

/// When a majority of the nodes is gone for good: make a survivor a new cluster.
///
/// Try everything else first: as long as a majority can be started again, nothing is lost. These commands work on the data
/// directories of stopped nodes, as the user that the server runs as.
#[derive(Debug, Subcommand)]
pub(crate) enum Recover {
    /// Look at the survivors, choose one, and say what may be missing. Changes nothing.
    ///
    /// Where the survivors are on several machines, run this on each with `-o json`, carry the output to one place, and give
    /// it there with --survey.
    Plan {
        /// The data directory of a survivor on this machine. Can be repeated.
        #[arg(long, value_name = "DIR", required_unless_present = "survey")]
        data_dir: Vec<PathBuf>,
        /// What this command printed on another machine with `-o json`. Can be repeated.
        #[arg(long, value_name = "FILE")]
        survey: Vec<PathBuf>,
        /// Write the plan here, for `recover apply`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Make the chosen survivor the first node of a new cluster.
    ///
    /// Without --confirm it only says what it would do. The cluster gets a new id and the node a new one too, so nodes of
    /// the old cluster that come back are not heard; no join token of the old cluster works any more. What was in the data
    /// directory is moved to a directory in it, not deleted.
    Apply {
        /// The plan that `recover plan --out` wrote.
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        /// The data directory of the node that the plan has chosen.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// The id of the cluster that is given up, as the plan shows it. Without it nothing is changed.
        #[arg(long, value_name = "CLUSTER-ID")]
        confirm: Option<String>,
        /// Only say what would be done, even with --confirm.
        #[arg(long)]
        dry_run: bool,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Check a recovered data directory before its node is started, and clients' receipts against it.
    Verify {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// What clients were told, a JSON object on each line: {"index": 123}, with "chain_hash" (as `signet cluster hash` shows it) where they
        /// have it.
        #[arg(long, value_name = "FILE")]
        receipts: Option<PathBuf>,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

pub(super) async fn run(args: Recover) -> Result<(), Failure> {
    match args {
        Recover::Plan { data_dir, survey, out, output } => plan(&data_dir, &survey, out.as_deref(), output).await,
        Recover::Apply { plan, data_dir, confirm, dry_run, output } => {
            apply(plan.as_deref(), &data_dir, confirm.filter(|_| !dry_run).as_deref(), output).await
        }
        Recover::Verify { data_dir, receipts, output } => verify::verify(&data_dir, receipts.as_deref(), output).await,
    }
}

/// What `recover plan -o json` prints, and what it takes of it.
#[derive(Debug, Deserialize)]
struct Surveyed {
    survivors: Vec<Survey>,
}

async fn plan(dirs: &[PathBuf], files: &[PathBuf], out: Option<&Path>, output: Output) -> Result<(), Failure> {
    let mut survivors = Vec::new();
    for file in files {
        survivors.extend(read_json::<Surveyed>(file)?.survivors);
    }
    let mut here = Vec::new();
    for dir in dirs {
        let survivor = open(dir).await?;
        survivors.push(survivor.survey().clone());
        here.push(Here::look(&survivor)?);
    }
    let plan = match Plan::of(survivors.clone()) {
        Ok(plan) => plan,
        Err(error) => {
            // Whoever collects from several machines needs these in any case.
            if output == Output::Json {
                print_json(&json!({ "survivors": survivors }))?;
            }
            return Err(refused(&error));
        }
    };
    if let Some(out) = out {
        let text = serde_json::to_vec_pretty(&plan)
            .map_err(|cause| Failure::new("io", format!("the plan is no JSON: {cause}")))?;
        write_secret(out, &text)?;
    }
    let chosen = here.iter().find(|here| here.node_id == plan.chosen);
    match output {
        Output::Table => show_plan(&plan, chosen, out),
        Output::Json => print_json(&plan_document(&plan, chosen)),
    }
}

/// What is known of a survivor that is on this machine, beyond its survey.
struct Here {
    node_id: u64,
    authorities: Vec<Authority>,
    /// Issuance records in its journal that were not replicated.
    records: u64,
}

impl Here {
    fn look(survivor: &Survivor) -> Result<Self, Failure> {
        let (survey, view) = (survivor.survey(), survivor.view());
        let records = server::unreplicated(&survey.data_dir, &view, survey.node_id)
            .map_err(|cause| Failure::new("damaged", cause))?;
        Ok(Self { node_id: survey.node_id, authorities: authorities(&view)?, records })
    }
}

fn authorities(view: &View) -> Result<Vec<Authority>, Failure> {
    let mut all = Vec::new();
    for kind in AuthorityKind::ALL {
        all.extend(state::authorities(view, *kind).map_err(|cause| Failure::new("damaged", cause.to_string()))?);
    }
    Ok(all)
}

fn show_plan(plan: &Plan, chosen: Option<&Here>, out: Option<&Path>) -> Result<(), Failure> {
    let header = ["NODE", "LAST ENTRY", "TERM", "APPLIED", "VOTE", "LAST CONTACT", "DATA DIRECTORY"];
    print_table(header, plan.survivors.iter().map(row))?;
    let ids = |nodes: &[u64]| nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    print_fields(&[
        ("cluster", plan.cluster_id.clone()),
        ("voters", ids(&plan.voters)),
        ("lost", ids(&plan.lost)),
        ("chosen", format!("node {}, whose log goes furthest", plan.chosen)),
    ])?;
    print_text(&bound_in_words(plan))?;
    for survey in &plan.survivors {
        if let Some(lost) = &survey.disk_lost {
            print_text(&format!("The disk of node {} has lost what it had confirmed: {lost}.", survey.node_id))?;
        }
    }
    if let Some(here) = chosen {
        print_text(&format!(
            "{} join tokens will be void. {} issuance records of this node were not replicated and are carried over.",
            plan.chosen().map_or(0, |survey| survey.usable_join_tokens),
            here.records
        ))?;
        print_text("Authorities to review; a revocation or rotation that is missing here has to be done again:")?;
        print_table(
            ["KIND", "ID", "SLOT", "NOT AFTER"],
            here.authorities.iter().map(|authority| {
                let slot = format!("{:?}", authority.slot).to_lowercase();
                [authority.kind.to_string(), authority.id.clone(), slot, show_timestamp(authority.not_after.secs())]
            }),
        )?;
    }
    match (out, plan.chosen()) {
        (Some(out), Some(survey)) => print_text(&format!(
            "To go on, on the machine of node {}:\n  signet recover apply --plan {} --data-dir {} --confirm {}",
            plan.chosen,
            out.display(),
            survey.data_dir.display(),
            plan.cluster_id
        )),
        (None, _) | (_, None) => {
            print_text("To go on, run this again with --out FILE, and give that file to `signet recover apply`.")
        }
    }
}

fn row(survey: &Survey) -> [String; 7] {
    [
        survey.node_id.to_string(),
        survey.last_log.index.to_string(),
        survey.last_log.term.to_string(),
        or_dash(survey.applied.map(|place| place.index)),
        or_dash(survey.vote.map(|vote| format!("node {}, term {}", vote.node, vote.term))),
        or_dash(survey.last_contact.map(|seen| show_timestamp(seen.at_millis / 1000))),
        survey.data_dir.display().to_string(),
    ]
}

/// What may be missing. It is never said that nothing is: who is gone may have known more.
fn bound_in_words(plan: &Plan) -> String {
    let bound = plan.bound();
    let complete = match bound.complete_until {
        Some(seen) => format!(
            "Every write acknowledged until {} (log entry {}) is there: a quorum confirmed it then.\n\
             Writes acknowledged after that may be missing. Nobody can count them from here: only the lost nodes knew.",
            show_timestamp(seen.at_millis / 1000),
            seen.index
        ),
        None => "No survivor has written down a contact with a quorum. Any write may be missing that was acknowledged after\n\
                 the last entry that is there."
            .to_owned(),
    };
    format!(
        "{complete}\n{} log entries at the end are not known to have been committed. They are kept, since some may have been\n\
         acknowledged; so a change whose caller was told of a failure may be in force.",
        bound.undecided
    )
}

/// Scripts rely on these fields: none is renamed or removed.
fn plan_document(plan: &Plan, chosen: Option<&Here>) -> Value {
    let bound = plan.bound();
    let authority = |it: &Authority| json!({ "kind": it.kind.name(), "id": it.id, "slot": format!("{:?}", it.slot).to_lowercase(), "not_after": it.not_after.secs() });
    json!({
        "version": plan.version,
        "cluster_id": plan.cluster_id,
        "voters": plan.voters,
        "lost": plan.lost,
        "survivors": plan.survivors,
        "chosen": plan.chosen,
        "complete_until": bound.complete_until,
        "undecided_entries": bound.undecided,
        "voided_join_tokens": plan.chosen().map(|survey| survey.usable_join_tokens),
        "unreplicated_issuance_records": chosen.map(|here| here.records),
        "authorities": chosen.map(|here| here.authorities.iter().map(authority).collect::<Vec<_>>()),
    })
}

async fn apply(plan: Option<&Path>, data_dir: &Path, confirm: Option<&str>, output: Output) -> Result<(), Failure> {
    if signet_raft::resume_recovery(data_dir)? {
        return print_text(&format!("finished the recovery of {} that was interrupted", data_dir.display()));
    }
    let plan_file =
        plan.ok_or_else(|| Failure::usage("--plan is missing: `signet recover plan --out FILE` writes it"))?;
    let plan: Plan = read_json(plan_file)?;
    let survivor = open(data_dir).await?;
    agree(&plan, survivor.survey())?;
    let Some(confirmed) = confirm else {
        let here = Here::look(&survivor)?;
        print_text(&bound_in_words(&plan))?;
        return print_text(&format!(
            "would make node {} a new cluster of one in {}, void {} join tokens, and carry over {} issuance records.\n\
             Nothing was changed; to do it, add --confirm {} (and leave out --dry-run)",
            plan.chosen,
            data_dir.display(),
            survivor.survey().usable_join_tokens,
            here.records,
            plan.cluster_id
        ));
    };
    if confirmed != plan.cluster_id {
        let message =
            format!("--confirm names the cluster {confirmed}, the plan {}; nothing was changed", plan.cluster_id);
        return Err(Failure::new(Reason::FailedPrecondition.code(), message));
    }
    let node = survivor.survey().node_id;
    let mut records = 0;
    let recovered = survivor.recover(|view, old, new| {
        records = server::carry_over(old, new, view, node)?;
        Ok(())
    });
    let recovered = recovered.await?;
    match output {
        Output::Table => {
            print_fields(&[
                ("old cluster", plan.cluster_id.clone()),
                ("new cluster", recovered.cluster_id.clone()),
                ("node", format!("{} (was {node})", recovered.node_id)),
                ("log", format!("goes on at entry {}", recovered.index)),
                ("voided", format!("{} join tokens", recovered.voided_join_tokens)),
                ("carried over", format!("{records} issuance records")),
                ("set aside", recovered.set_aside.display().to_string()),
            ])?;
            print_text(&format!(
                "Check it with `signet recover verify --data-dir {}`, start the node, and let new ones join with empty data\n\
                 directories and new tokens (`signet cluster join-token FILE`). To undo it before that: stop, and move what was\n\
                 set aside back.",
                data_dir.display()
            ))
        }
        Output::Json => print_json(&json!({
            "data_dir": data_dir,
            "old_cluster_id": plan.cluster_id,
            "old_node_id": node,
            "cluster_id": recovered.cluster_id,
            "node_id": recovered.node_id,
            "index": recovered.index,
            "voided_join_tokens": recovered.voided_join_tokens,
            "carried_issuance_records": records,
            "set_aside": recovered.set_aside,
        })),
    }
}

/// The directory is the one that the plan has chosen, and it has not changed since.
fn agree(plan: &Plan, found: &Survey) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(Reason::FailedPrecondition.code(), message));
    let Some(planned) = plan.chosen() else {
        return refuse("the plan names no survivor: make it again with `signet recover plan --out FILE`".to_owned());
    };
    if (&found.cluster_id, found.node_id) != (&planned.cluster_id, planned.node_id) {
        return refuse(format!(
            "{} is node {} of cluster {}; the plan has chosen node {} of cluster {}: give that one's directory",
            found.data_dir.display(),
            found.node_id,
            found.cluster_id,
            planned.node_id,
            planned.cluster_id
        ));
    }
    if (found.last_log, found.vote) != (planned.last_log, planned.vote) {
        return refuse(format!(
            "{} has changed since the plan was made (its log ended at entry {}, now at {}): make the plan again",
            found.data_dir.display(),
            planned.last_log.index,
            found.last_log.index
        ));
    }
    Ok(())
}

async fn open(data_dir: &Path) -> Result<Survivor, Failure> {
    // What is printed and kept in a plan is used from other directories too.
    let data_dir = fs::canonicalize(data_dir).map_err(|cause| Failure::file("use", data_dir, cause))?;
    Ok(Survivor::open(&data_dir, server::machine()).await?)
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let text = fs::read(file).map_err(|cause| Failure::file("read", file, cause))?;
    serde_json::from_slice(&text).map_err(|cause| {
        let message = format!("{} is not what `signet recover plan` writes: {cause}", file.display());
        Failure::new(Reason::InvalidArgument.code(), message)
    })
}

fn refused(error: &PlanError) -> Failure {
    Failure::new(Reason::FailedPrecondition.code(), error.to_string())
}

impl From<RecoverError> for Failure {
    fn from(error: RecoverError) -> Self {
        let code = match error {
            RecoverError::File { .. } | RecoverError::NotWritten { .. } | RecoverError::Unfinished { .. } => "io",
            RecoverError::Damaged { .. } => "damaged",
            RecoverError::NotMember { .. }
            | RecoverError::Interrupted { .. }
            | RecoverError::Directory(_)
            | RecoverError::Open(_) => Reason::FailedPrecondition.code(),
        };
        Self::chain(code, &anyhow::Error::new(error))
    }
}
