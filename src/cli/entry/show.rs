//! How entries are printed.

use serde::Serialize;
use signet_api::client::Entry;
use signet_model::entry::{EntryId, Selector};
use signet_model::spiffe_id::{SpiffeId, TrustDomain};

use crate::cli::duration::show_secs;
use crate::cli::failure::Failure;
use crate::cli::output::{Output, print_fields, print_json, print_table, yes_no};
use crate::cli::timestamp::show_timestamp;

/// What `-o json` prints of an entry. Scripts rely on these fields: none is renamed or removed.
#[derive(Debug, Serialize)]
struct EntryDocument<'a> {
    id: &'a EntryId,
    spiffe_id: &'a SpiffeId,
    parent_id: &'a SpiffeId,
    selectors: Vec<String>,
    x509_svid_ttl: u32,
    jwt_svid_ttl: u32,
    federates_with: &'a [TrustDomain],
    dns_names: &'a [String],
    admin: bool,
    downstream: bool,
    store_svid: bool,
    hint: &'a str,
    expires_at: u64,
    revision: u64,
    created_at: u64,
    changed_by: &'a str,
}

impl<'a> From<&'a Entry> for EntryDocument<'a> {
    fn from(entry: &'a Entry) -> Self {
        let spec = &entry.spec;
        Self {
            id: &entry.id,
            spiffe_id: &spec.spiffe_id,
            parent_id: &spec.parent_id,
            selectors: spec.selectors.iter().map(selector).collect(),
            x509_svid_ttl: spec.x509_svid_ttl_secs,
            jwt_svid_ttl: spec.jwt_svid_ttl_secs,
            federates_with: &spec.federates_with,
            dns_names: &spec.dns_names,
            admin: spec.admin,
            downstream: spec.downstream,
            store_svid: spec.store_svid,
            hint: &spec.hint,
            expires_at: spec.expires_at_secs,
            revision: entry.revision,
            created_at: entry.created_at.secs(),
            changed_by: &entry.changed_by,
        }
    }
}

/// Prints one entry.
pub(super) fn one(entry: &Entry, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return print_json(&EntryDocument::from(entry));
    }
    let spec = &entry.spec;
    let texts = |texts: Vec<String>| if texts.is_empty() { "-".to_owned() } else { texts.join(", ") };
    print_fields(&[
        ("id", entry.id.to_string()),
        ("spiffe id", spec.spiffe_id.to_string()),
        ("parent id", spec.parent_id.to_string()),
        ("selectors", texts(spec.selectors.iter().map(selector).collect())),
        ("x509-svid ttl", ttl(spec.x509_svid_ttl_secs)),
        ("jwt-svid ttl", ttl(spec.jwt_svid_ttl_secs)),
        ("dns names", texts(spec.dns_names.clone())),
        ("federates with", texts(spec.federates_with.iter().map(TrustDomain::to_string).collect())),
        ("admin", yes_no(spec.admin)),
        ("downstream", yes_no(spec.downstream)),
        ("store svid", yes_no(spec.store_svid)),
        ("hint", if spec.hint.is_empty() { "-".to_owned() } else { spec.hint.clone() }),
        ("expires at", show_timestamp(spec.expires_at_secs)),
        ("revision", entry.revision.to_string()),
        ("created at", show_timestamp(entry.created_at.secs())),
        ("changed by", entry.changed_by.clone()),
    ])
}

/// Prints a list of entries.
pub(super) fn many(entries: &[Entry], output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(&entries.iter().map(EntryDocument::from).collect::<Vec<_>>()),
        Output::Table => print_table(["ENTRY", "SPIFFE ID", "PARENT ID", "SELECTORS"], entries.iter().map(row)),
    }
}

fn row(entry: &Entry) -> [String; 4] {
    let selectors: Vec<String> = entry.spec.selectors.iter().map(selector).collect();
    [entry.id.to_string(), entry.spec.spiffe_id.to_string(), entry.spec.parent_id.to_string(), selectors.join(", ")]
}

fn selector(selector: &Selector) -> String {
    format!("{}:{}", selector.kind, selector.value)
}

fn ttl(secs: u32) -> String {
    if secs == 0 { "default".to_owned() } else { show_secs(secs.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signet_model::entry::EntrySpec;
    use signet_model::time::UnixTime;

    use super::*;

    #[test]
    fn scripts_find_exactly_these_fields_in_an_entry() {
        let spec = EntrySpec {
            spiffe_id: "spiffe://example.org/web".parse().unwrap(),
            parent_id: "spiffe://example.org/host/a".parse().unwrap(),
            selectors: vec![Selector { kind: "unix".to_owned(), value: "uid:1000".to_owned() }],
            x509_svid_ttl_secs: 3600,
            jwt_svid_ttl_secs: 0,
            federates_with: vec!["other.org".parse().unwrap()],
            dns_names: vec!["web.example.org".to_owned()],
            admin: false,
            downstream: true,
            store_svid: false,
            hint: "web".to_owned(),
            expires_at_secs: 0,
            disable_x509_svid_prefetch: false,
            jwt_svid_include_jti: false,
        };
        let entry = Entry {
            id: "web-1".parse().unwrap(),
            spec,
            revision: 2,
            created_at: UnixTime::from_secs(1_795_298_400),
            changed_by: "uid 0 (pid 7) on node 1".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(EntryDocument::from(&entry)).unwrap(),
            json!({
                "id": "web-1",
                "spiffe_id": "spiffe://example.org/web",
                "parent_id": "spiffe://example.org/host/a",
                "selectors": ["unix:uid:1000"],
                "x509_svid_ttl": 3600,
                "jwt_svid_ttl": 0,
                "federates_with": ["other.org"],
                "dns_names": ["web.example.org"],
                "admin": false,
                "downstream": true,
                "store_svid": false,
                "hint": "web",
                "expires_at": 0,
                "revision": 2,
                "created_at": 1_795_298_400,
                "changed_by": "uid 0 (pid 7) on node 1",
            })
        );
    }
}
