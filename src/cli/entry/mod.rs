//! `signet entry`

mod change;
mod show;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::json;
use signet_api::client::{AdminClient, ClientError, EntryResult};
use signet_model::entry::{EntryId, Selector};
use signet_model::refusal::Reason;
use signet_model::spiffe_id::{SpiffeId, TrustDomain};

use super::duration::parse_ttl;
use super::failure::Failure;
use super::node::{NodeArgs, ReadArgs};
use super::output::{Output, print_json, print_text};
use super::timestamp::parse_timestamp;

/// Registration entries: who may get which identity.
#[derive(Debug, Subcommand)]
pub(crate) enum Entry {
    /// Create an entry.
    Create(Box<Create>),
    /// List entries, all of them or those that match.
    List(Box<List>),
    /// Show one entry.
    Show {
        /// Its id.
        #[arg(value_name = "ENTRY-ID")]
        id: EntryId,
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Change an entry. What is not named stays as it is; a list that is named is replaced whole.
    Update(Box<Update>),
    /// Delete entries.
    Delete {
        /// Their ids.
        #[arg(value_name = "ENTRY-ID", required = true)]
        ids: Vec<EntryId>,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// `signet entry create`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The entry's id; one is made up if there is none.
    #[arg(long, value_name = "ID")]
    entry_id: Option<EntryId>,
    /// The identity that the entry grants.
    #[arg(long, value_name = "ID")]
    spiffe_id: SpiffeId,
    /// Who may ask for it: an agent, or another entry's identity.
    #[arg(long, value_name = "ID")]
    parent_id: SpiffeId,
    /// What the workload must have, such as `unix:uid:1000`. Repeat for more; all of them must match.
    #[arg(long = "selector", value_name = "TYPE:VALUE", required = true, value_parser = parse_selector)]
    selectors: Vec<Selector>,
    #[command(flatten)]
    properties: Properties,
    #[command(flatten)]
    node: NodeArgs,
}

/// `signet entry update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Which entry.
    #[arg(value_name = "ENTRY-ID")]
    id: EntryId,
    /// The identity that the entry grants.
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<SpiffeId>,
    /// Who may ask for it.
    #[arg(long, value_name = "ID")]
    parent_id: Option<SpiffeId>,
    /// What the workload must have. Repeat for more; replaces all of them.
    #[arg(long = "selector", value_name = "TYPE:VALUE", value_parser = parse_selector)]
    selectors: Vec<Selector>,
    #[command(flatten)]
    properties: Properties,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `create` and `update` have in common.
#[derive(Debug, Args)]
pub(crate) struct Properties {
    /// Lifetime of X.509-SVIDs; the cluster's default if it is not set.
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    x509_svid_ttl: Option<u32>,
    /// Lifetime of JWT-SVIDs; the cluster's default if it is not set.
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    jwt_svid_ttl: Option<u32>,
    /// A DNS name for the X.509-SVID. Repeat for more; the first is also the common name.
    #[arg(long = "dns-name", value_name = "NAME")]
    dns_names: Vec<String>,
    /// A foreign trust domain whose bundle the workload gets. Repeat for more.
    #[arg(long, value_name = "TRUST-DOMAIN")]
    federates_with: Vec<TrustDomain>,
    /// May call the administrative API.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    admin: Option<bool>,
    /// May run a downstream authority.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    downstream: Option<bool>,
    /// The agent puts the SVID into an external store.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    store_svid: Option<bool>,
    /// A word by which the workload tells its identities apart.
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
    /// When the entry ends: 2026-12-31T23:59:59Z or seconds since 1970; 0 for never.
    #[arg(long, value_name = "TIME", value_parser = parse_timestamp)]
    expires_at: Option<u64>,
}

/// `signet entry list`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("by").multiple(true))]
pub(crate) struct List {
    /// Only this identity.
    #[arg(long, value_name = "ID", group = "by")]
    spiffe_id: Option<SpiffeId>,
    /// Only this parent.
    #[arg(long, value_name = "ID", group = "by")]
    parent_id: Option<SpiffeId>,
    /// Only entries whose selectors match. Repeat for more.
    #[arg(long = "selector", value_name = "TYPE:VALUE", value_parser = parse_selector, group = "by")]
    selectors: Vec<Selector>,
    /// How selectors are compared.
    #[arg(long, value_enum, default_value_t, requires = "selectors")]
    match_on: MatchOn,
    /// Only this hint.
    #[arg(long, value_name = "TEXT", group = "by")]
    hint: Option<String>,
    /// Only downstream entries, or only others.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", group = "by")]
    downstream: Option<bool>,
    #[command(flatten)]
    read: ReadArgs,
}

/// How an entry's selectors compare with those asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum MatchOn {
    /// The entry has exactly these.
    Exact,
    /// The entry has no others.
    Subset,
    /// The entry has all of these.
    #[default]
    Superset,
    /// The entry has one of these.
    Any,
}

/// Reads `TYPE:VALUE`; the value may hold more colons.
fn parse_selector(text: &str) -> Result<Selector, String> {
    match text.split_once(':') {
        Some((kind, value)) if !kind.is_empty() && !value.is_empty() => {
            Ok(Selector { kind: kind.to_owned(), value: value.to_owned() })
        }
        Some(_) | None => Err("a selector is TYPE:VALUE, as in unix:uid:1000".to_owned()),
    }
}

pub(super) async fn run(args: Entry) -> Result<(), Failure> {
    match args {
        Entry::Create(args) => create(&args).await,
        Entry::List(args) => list(&args).await,
        Entry::Show { id, read } => {
            let entry = read.call(|client| async move { client.entry(&id).await }).await?;
            show::one(&entry, read.node.output)
        }
        Entry::Update(args) => update(&args).await,
        Entry::Delete { ids, node } => delete(ids, &node).await,
    }
}

async fn create(args: &Create) -> Result<(), Failure> {
    let entries = vec![args.spec()];
    let made = args.node.call(|client| async move { client.create_entries(entries).await }).await?;
    changed(made, args.node.output)
}

async fn list(args: &List) -> Result<(), Failure> {
    let filter = args.filter();
    let entries = args.read.call(|client| async move { client.entries(&filter).await }).await?;
    show::many(&entries, args.read.node.output)
}

async fn update(args: &Update) -> Result<(), Failure> {
    let work = async {
        let client = args.node.connect().await?;
        let change = args.change(client.entry(&args.id).await?.spec)?;
        Ok(client.update_entries(vec![change]).await?)
    };
    changed(args.node.within(work).await?, args.node.output)
}

/// Prints what came of one entry.
fn changed(results: Vec<EntryResult>, output: Output) -> Result<(), Failure> {
    match results.into_iter().next() {
        Some(EntryResult::Done(entry)) => show::one(&entry, output),
        Some(EntryResult::Similar(entry)) => Err(Failure::new(
            Reason::AlreadyExists.code(),
            format!(
                "entry {} already grants this identity to the same parent and selectors; nothing changed",
                entry.id
            ),
        )),
        Some(EntryResult::Refused(error)) => Err(error.into()),
        Some(EntryResult::Deleted(_)) | None => Err(no_answer()),
    }
}

async fn delete(ids: Vec<EntryId>, node: &NodeArgs) -> Result<(), Failure> {
    let asked = ids.clone();
    let results = node.call(|client: AdminClient| async move { client.delete_entries(ids).await }).await?;
    let mut deleted = Vec::new();
    let mut refused: Vec<(&EntryId, ClientError)> = Vec::new();
    for (id, result) in asked.iter().zip(results) {
        match result {
            EntryResult::Deleted(_) => deleted.push(id),
            EntryResult::Refused(error) => refused.push((id, error)),
            EntryResult::Done(_) | EntryResult::Similar(_) => return Err(no_answer()),
        }
    }
    match node.output {
        Output::Table if deleted.is_empty() => Ok(()),
        Output::Table => print_text(&deleted.iter().map(|id| format!("deleted {id}")).collect::<Vec<_>>().join("\n")),
        Output::Json => print_json(&deleted.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>()),
    }?;
    let mut failures =
        refused.into_iter().map(|(id, error)| Failure::new(error.code, format!("entry {id}: {}", error.message)));
    let Some(first) = failures.next() else { return Ok(()) };
    for failure in failures {
        failure.print();
    }
    Err(first)
}

fn no_answer() -> Failure {
    Failure::new("protocol", "the node did not say what came of the entry; look with signet entry list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_split_at_its_first_colon() {
        assert_eq!(
            parse_selector("unix:uid:1000"),
            Ok(Selector { kind: "unix".to_owned(), value: "uid:1000".to_owned() })
        );
        for text in ["", "unix", ":uid", "unix:"] {
            assert!(parse_selector(text).is_err(), "{text}");
        }
    }
}
