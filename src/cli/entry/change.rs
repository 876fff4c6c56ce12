//! From flags to what is sent.

use signet_api::service::{EntryFilter, Match};
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec};

use super::{Create, List, MatchOn, Properties, Update};
use crate::cli::failure::Failure;

impl Create {
    /// What is to be made.
    pub(super) fn spec(&self) -> (Option<EntryId>, EntrySpec) {
        let mut spec = EntrySpec::new(self.spiffe_id.clone(), self.parent_id.clone(), self.selectors.clone());
        self.properties.put_into(&mut spec, &mut NO_FIELDS.clone());
        (self.entry_id.clone(), spec)
    }
}

impl Update {
    /// What is to be changed of the entry that now says `spec`: only the fields that are named, so that somebody else's
    /// change to another field stays.
    pub(super) fn change(&self, mut spec: EntrySpec) -> Result<EntryChange, Failure> {
        let mut fields = NO_FIELDS;
        take(self.spiffe_id.as_ref(), &mut spec.spiffe_id, &mut fields.spiffe_id);
        take(self.parent_id.as_ref(), &mut spec.parent_id, &mut fields.parent_id);
        take_list(&self.selectors, &mut spec.selectors, &mut fields.selectors);
        self.properties.put_into(&mut spec, &mut fields);
        if fields == NO_FIELDS {
            return Err(Failure::usage("nothing to change: name at least one field, as in --hint web"));
        }
        Ok(EntryChange { id: self.id.clone(), spec, fields })
    }
}

impl Properties {
    fn put_into(&self, spec: &mut EntrySpec, fields: &mut EntryFields) {
        take(self.x509_svid_ttl.as_ref(), &mut spec.x509_svid_ttl_secs, &mut fields.x509_svid_ttl);
        take(self.jwt_svid_ttl.as_ref(), &mut spec.jwt_svid_ttl_secs, &mut fields.jwt_svid_ttl);
        take_list(&self.dns_names, &mut spec.dns_names, &mut fields.dns_names);
        take_list(&self.federates_with, &mut spec.federates_with, &mut fields.federates_with);
        take(self.admin.as_ref(), &mut spec.admin, &mut fields.admin);
        take(self.downstream.as_ref(), &mut spec.downstream, &mut fields.downstream);
        take(self.store_svid.as_ref(), &mut spec.store_svid, &mut fields.store_svid);
        take(self.hint.as_ref(), &mut spec.hint, &mut fields.hint);
        take(self.expires_at.as_ref(), &mut spec.expires_at_secs, &mut fields.expires_at);
    }
}

impl List {
    /// Which entries.
    pub(super) fn filter(&self) -> EntryFilter {
        let compare = match self.match_on {
            MatchOn::Exact => Match::Exact,
            MatchOn::Subset => Match::Subset,
            MatchOn::Superset => Match::Superset,
            MatchOn::Any => Match::Any,
        };
        EntryFilter {
            spiffe_id: self.spiffe_id.clone(),
            parent_id: self.parent_id.clone(),
            selectors: if self.selectors.is_empty() { None } else { Some((self.selectors.clone(), compare)) },
            federates_with: None,
            hint: self.hint.clone(),
            downstream: self.downstream,
        }
    }
}

fn take<T: Clone>(named: Option<&T>, place: &mut T, field: &mut bool) {
    if let Some(value) = named {
        place.clone_from(value);
        *field = true;
    }
}

/// A list cannot be named without a value; one empty value empties it.
fn take_list<T: Clone>(named: &[T], place: &mut Vec<T>, field: &mut bool) {
    if !named.is_empty() {
        *place = named.to_vec();
        *field = true;
    }
}

const NO_FIELDS: EntryFields = EntryFields {
    spiffe_id: false,
    parent_id: false,
    selectors: false,
    x509_svid_ttl: false,
    jwt_svid_ttl: false,
    federates_with: false,
    dns_names: false,
    admin: false,
    downstream: false,
    store_svid: false,
    hint: false,
    expires_at: false,
    additional_attributes: false,
};

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Entry;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        entry: Entry,
    }

    fn create(more: &[&str]) -> EntrySpec {
        let line =
            ["x", "create", "--spiffe-id", "spiffe://d/a", "--parent-id", "spiffe://d/p", "--selector", "unix:uid:1"];
        let Entry::Create(create) = Line::parse_from([&line[..], more].concat()).entry else { panic!("not create") };
        create.spec().1
    }

    fn update(flags: &[&str]) -> Result<EntryChange, Failure> {
        let line = [&["x", "update", "e1"], flags].concat();
        let Entry::Update(update) = Line::parse_from(line).entry else { panic!("not update") };
        update.change(create(&["--hint", "before", "--admin"]))
    }

    #[test]
    fn every_flag_of_create_arrives() {
        let spec = create(&[
            "--selector",
            "unix:gid:2",
            "--x509-svid-ttl",
            "1h",
            "--jwt-svid-ttl",
            "5m",
            "--dns-name",
            "a.d",
            "--dns-name",
            "b.d",
            "--federates-with",
            "other.org",
            "--admin",
            "--downstream",
            "--store-svid",
            "--hint",
            "web",
            "--expires-at",
            "2026-12-31T23:59:59Z",
        ]);
        assert_eq!(spec.selectors.len(), 2);
        assert_eq!((spec.x509_svid_ttl_secs, spec.jwt_svid_ttl_secs), (3600, 300));
        assert_eq!(spec.dns_names, ["a.d", "b.d"]);
        assert_eq!(spec.federates_with, ["other.org".parse().unwrap()]);
        assert!(spec.admin && spec.downstream && spec.store_svid);
        assert_eq!((spec.hint.as_str(), spec.expires_at_secs), ("web", 1_798_761_599));
    }

    #[test]
    fn an_update_takes_only_what_is_named() {
        let change = update(&["--jwt-svid-ttl", "1m", "--admin", "false"]).unwrap();
        assert_eq!(change.fields, EntryFields { jwt_svid_ttl: true, admin: true, ..NO_FIELDS });
        assert_eq!((change.spec.jwt_svid_ttl_secs, change.spec.admin), (60, false));
        assert_eq!(change.spec.hint, "before");
    }

    #[test]
    fn an_update_of_nothing_is_refused() {
        assert_eq!(update(&[]).unwrap_err().code(), "usage");
    }
}
