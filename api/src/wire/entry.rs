//! Registration entries.

use std::sync::LazyLock;

use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec, RegistrationEntry, Selector};
use signet_model::refusal::Refusal;
use signet_model::spiffe_id::SpiffeId;
use signet_model::time::UnixTime;

use super::{from_spiffe_id, signed, spiffe_id, trust_domain, ttl_secs, unsigned};
use crate::proto::types;

/// An entry's id in a request; `missing` is SPIRE's text for an empty one.
pub(crate) fn entry_id(text: &str, missing: &str) -> Result<EntryId, Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid(missing));
    }
    text.parse().map_err(|e| Refusal::invalid(format!("invalid entry ID: {e}")))
}

/// An entry to create: its id, if the operator chose one, and what it is to be.
pub(crate) fn new_entry(entry: types::Entry) -> Result<(Option<EntryId>, EntrySpec), Refusal> {
    let id = if entry.id.is_empty() { None } else { Some(entry_id(&entry.id, "")?) };
    Ok((id, spec(entry, EntryFields::ALL)?))
}

/// A change to an entry. Fields outside `fields` may be missing or senseless, and are not looked at.
pub(crate) fn change(entry: types::Entry, fields: EntryFields) -> Result<EntryChange, Refusal> {
    let id = entry_id(&entry.id, "missing entry ID")?;
    Ok(EntryChange { id, spec: spec(entry, fields)?, fields })
}

fn spec(entry: types::Entry, fields: EntryFields) -> Result<EntrySpec, Refusal> {
    let attributes = entry.additional_attributes.unwrap_or_default();
    Ok(EntrySpec {
        spiffe_id: id_if(fields.spiffe_id, "spiffe ID", entry.spiffe_id.as_ref())?,
        parent_id: id_if(fields.parent_id, "parent ID", entry.parent_id.as_ref())?,
        selectors: if fields.selectors { selectors(entry.selectors)? } else { Vec::new() },
        x509_svid_ttl_secs: if fields.x509_svid_ttl { ttl_secs("x509_svid_ttl", entry.x509_svid_ttl)? } else { 0 },
        jwt_svid_ttl_secs: if fields.jwt_svid_ttl { ttl_secs("jwt_svid_ttl", entry.jwt_svid_ttl)? } else { 0 },
        federates_with: if fields.federates_with { federates_with(&entry.federates_with)? } else { Vec::new() },
        dns_names: if fields.dns_names { entry.dns_names } else { Vec::new() },
        admin: fields.admin && entry.admin,
        downstream: fields.downstream && entry.downstream,
        store_svid: fields.store_svid && entry.store_svid,
        hint: if fields.hint { entry.hint } else { String::new() },
        expires_at_secs: if fields.expires_at { expires_at(entry.expires_at)? } else { 0 },
        disable_x509_svid_prefetch: fields.additional_attributes && attributes.disable_x509_svid_prefetch,
        jwt_svid_include_jti: fields.additional_attributes && attributes.jwt_svid_include_jti,
    })
}

fn id_if(wanted: bool, field: &str, id: Option<&types::Spiffeid>) -> Result<SpiffeId, Refusal> {
    if !wanted {
        return Ok(NOT_LOOKED_AT.clone());
    }
    spiffe_id(id).map_err(|e| Refusal::invalid(format!("invalid {field}: {e}")))
}

/// Stands where an update takes no SPIFFE ID.
#[expect(clippy::expect_used, reason = "a constant that a test parses")]
static NOT_LOOKED_AT: LazyLock<SpiffeId> = LazyLock::new(|| "spiffe://unchanged".parse().expect("a SPIFFE ID"));

/// Selectors, each with type and value.
pub(crate) fn selectors(list: Vec<types::Selector>) -> Result<Vec<Selector>, Refusal> {
    list.into_iter().map(|s| Selector { kind: s.r#type, value: s.value }).map(|s| s.check().map(|()| s)).collect()
}

fn federates_with(list: &[String]) -> Result<Vec<signet_model::spiffe_id::TrustDomain>, Refusal> {
    let parse = |name: &String| {
        trust_domain(name).map_err(|e| Refusal::invalid(format!("invalid federated trust domain {name:?}: {e}")))
    };
    list.iter().map(parse).collect()
}

fn expires_at(value: i64) -> Result<u64, Refusal> {
    u64::try_from(value).map_err(|_| Refusal::invalid("expires_at must not be negative; 0 is never"))
}

/// An entry for the wire, with all its fields.
pub(crate) fn from_entry(entry: RegistrationEntry) -> types::Entry {
    types::Entry {
        revision_number: signed(entry.revision),
        created_at: signed(entry.created_at.secs()),
        signet_changed_by: entry.changed_by.to_string(),
        ..from_spec(Some(&entry.id), entry.spec)
    }
}

/// An entry for a request.
pub(crate) fn from_spec(id: Option<&EntryId>, spec: EntrySpec) -> types::Entry {
    types::Entry {
        id: id.map_or_else(String::new, |id| id.as_str().to_owned()),
        spiffe_id: Some(from_spiffe_id(&spec.spiffe_id)),
        parent_id: Some(from_spiffe_id(&spec.parent_id)),
        selectors: from_selectors(spec.selectors),
        x509_svid_ttl: spec.x509_svid_ttl_secs.try_into().unwrap_or(i32::MAX),
        federates_with: spec.federates_with.iter().map(|domain| domain.as_str().to_owned()).collect(),
        admin: spec.admin,
        downstream: spec.downstream,
        expires_at: signed(spec.expires_at_secs),
        dns_names: spec.dns_names,
        revision_number: 0,
        store_svid: spec.store_svid,
        jwt_svid_ttl: spec.jwt_svid_ttl_secs.try_into().unwrap_or(i32::MAX),
        hint: spec.hint,
        created_at: 0,
        signet_changed_by: String::new(),
        additional_attributes: Some(types::entry::AdditionalAttributes {
            disable_x509_svid_prefetch: spec.disable_x509_svid_prefetch,
            jwt_svid_include_jti: spec.jwt_svid_include_jti,
        }),
    }
}

/// Selectors for the wire.
pub(crate) fn from_selectors(list: Vec<Selector>) -> Vec<types::Selector> {
    list.into_iter().map(|s| types::Selector { r#type: s.kind, value: s.value }).collect()
}

/// An entry as a client reads it: id, spec, revision, creation.
pub(crate) fn read(entry: types::Entry) -> Result<(EntryId, EntrySpec, u64, UnixTime), Refusal> {
    let id = entry_id(&entry.id, "the entry has no ID")?;
    let (revision, created_at) = (unsigned(entry.revision_number), UnixTime::from_secs(unsigned(entry.created_at)));
    Ok((id, spec(entry, EntryFields::ALL)?, revision, created_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> types::Entry {
        let id = |path: &str| Some(types::Spiffeid { trust_domain: "example.org".into(), path: path.into() });
        types::Entry {
            id: "e-1".into(),
            spiffe_id: id("/billing"),
            parent_id: id("/host"),
            selectors: vec![types::Selector { r#type: "unix".into(), value: "uid:1".into() }],
            x509_svid_ttl: 60,
            federates_with: vec!["spiffe://other.org".into()],
            admin: true,
            downstream: true,
            expires_at: 5,
            dns_names: vec!["a.example.org".into()],
            revision_number: 0,
            store_svid: true,
            jwt_svid_ttl: 30,
            hint: "h".into(),
            created_at: 0,
            signet_changed_by: String::new(),
            additional_attributes: Some(types::entry::AdditionalAttributes {
                disable_x509_svid_prefetch: true,
                jwt_svid_include_jti: true,
            }),
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_went() {
        let (id, spec) = new_entry(wire()).unwrap();
        let mut expected = wire();
        expected.federates_with = vec!["other.org".into()];
        assert_eq!(from_spec(id.as_ref(), spec), expected);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        type Break = fn(&mut types::Entry);
        let cases: [(Break, &str); 8] = [
            (|e| e.id = "a b".into(), "invalid entry ID"),
            (|e| e.spiffe_id = None, "invalid spiffe ID: request must specify SPIFFE ID"),
            (
                |e| e.parent_id.as_mut().unwrap().path = "/a//b".into(),
                "invalid parent ID: a path has no empty segments",
            ),
            (|e| e.selectors[0].r#type.clear(), "missing selector type"),
            (|e| e.x509_svid_ttl = -1, "x509_svid_ttl must not be negative"),
            (|e| e.jwt_svid_ttl = -1, "jwt_svid_ttl must not be negative"),
            (|e| e.federates_with[0] = "Other".into(), "invalid federated trust domain \"Other\""),
            (|e| e.expires_at = -1, "expires_at must not be negative"),
        ];
        for (spoil, expected) in cases {
            let mut entry = wire();
            spoil(&mut entry);
            let refusal = new_entry(entry).unwrap_err();
            assert!(refusal.detail.starts_with(expected), "{} is not {expected}", refusal.detail);
        }
    }

    #[test]
    fn a_change_looks_only_at_its_fields() {
        let mut fields = EntryFields::ALL;
        for field in [&mut fields.spiffe_id, &mut fields.parent_id, &mut fields.selectors, &mut fields.x509_svid_ttl] {
            *field = false;
        }
        let mut entry = wire();
        (entry.spiffe_id, entry.parent_id, entry.x509_svid_ttl) = (None, None, -5);
        let change = change(entry, fields).unwrap();
        assert_eq!((change.spec.hint.as_str(), change.spec.x509_svid_ttl_secs), ("h", 0));
    }
}
