//! Masks: which fields are meant. None at all means all of them.

use signet_model::command::EntryFields;

use crate::proto::types;

/// Leaves of `entry` what `mask` names; the id always stays.
pub(crate) fn entry(entry: types::Entry, mask: Option<&types::EntryMask>) -> types::Entry {
    let Some(mask) = mask else { return entry };
    types::Entry {
        id: entry.id,
        spiffe_id: entry.spiffe_id.filter(|_| mask.spiffe_id),
        parent_id: entry.parent_id.filter(|_| mask.parent_id),
        selectors: keep(mask.selectors, entry.selectors),
        x509_svid_ttl: keep(mask.x509_svid_ttl, entry.x509_svid_ttl),
        federates_with: keep(mask.federates_with, entry.federates_with),
        admin: keep(mask.admin, entry.admin),
        downstream: keep(mask.downstream, entry.downstream),
        expires_at: keep(mask.expires_at, entry.expires_at),
        dns_names: keep(mask.dns_names, entry.dns_names),
        revision_number: keep(mask.revision_number, entry.revision_number),
        store_svid: keep(mask.store_svid, entry.store_svid),
        jwt_svid_ttl: keep(mask.jwt_svid_ttl, entry.jwt_svid_ttl),
        hint: keep(mask.hint, entry.hint),
        created_at: keep(mask.created_at, entry.created_at),
        additional_attributes: entry.additional_attributes.filter(|_| mask.additional_attributes),
        signet_changed_by: String::new(),
    }
}

/// Leaves of `bundle` what `mask` names; the trust domain always stays.
pub(crate) fn bundle(bundle: types::Bundle, mask: Option<&types::BundleMask>) -> types::Bundle {
    let Some(mask) = mask else { return bundle };
    types::Bundle {
        trust_domain: bundle.trust_domain,
        x509_authorities: keep(mask.x509_authorities, bundle.x509_authorities),
        jwt_authorities: keep(mask.jwt_authorities, bundle.jwt_authorities),
        refresh_hint: keep(mask.refresh_hint, bundle.refresh_hint),
        sequence_number: keep(mask.sequence_number, bundle.sequence_number),
        wit_authorities: keep(mask.wit_authorities, bundle.wit_authorities),
    }
}

fn keep<T: Default>(wanted: bool, value: T) -> T {
    if wanted { value } else { T::default() }
}

/// Which fields an update takes. What an operator cannot set (revision, creation) is not looked at, as in SPIRE.
pub(crate) fn fields(mask: Option<&types::EntryMask>) -> EntryFields {
    let Some(mask) = mask else { return EntryFields::ALL };
    EntryFields {
        spiffe_id: mask.spiffe_id,
        parent_id: mask.parent_id,
        selectors: mask.selectors,
        x509_svid_ttl: mask.x509_svid_ttl,
        jwt_svid_ttl: mask.jwt_svid_ttl,
        federates_with: mask.federates_with,
        dns_names: mask.dns_names,
        admin: mask.admin,
        downstream: mask.downstream,
        store_svid: mask.store_svid,
        hint: mask.hint,
        expires_at: mask.expires_at,
        additional_attributes: mask.additional_attributes,
    }
}

/// The mask that says the same as `fields`.
pub(crate) fn from_fields(fields: EntryFields) -> types::EntryMask {
    types::EntryMask {
        spiffe_id: fields.spiffe_id,
        parent_id: fields.parent_id,
        selectors: fields.selectors,
        x509_svid_ttl: fields.x509_svid_ttl,
        federates_with: fields.federates_with,
        admin: fields.admin,
        downstream: fields.downstream,
        expires_at: fields.expires_at,
        dns_names: fields.dns_names,
        revision_number: false,
        store_svid: fields.store_svid,
        jwt_svid_ttl: fields.jwt_svid_ttl,
        hint: fields.hint,
        created_at: false,
        additional_attributes: fields.additional_attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_went() {
        assert_eq!(fields(Some(&from_fields(EntryFields::ALL))), EntryFields::ALL);
        assert_eq!(fields(None), EntryFields::ALL);
        let hint = fields(Some(&types::EntryMask { hint: true, ..Default::default() }));
        assert_eq!(from_fields(hint), types::EntryMask { hint: true, ..Default::default() });
    }

    #[test]
    fn a_mask_leaves_what_it_names_and_the_id() {
        let full =
            types::Entry { id: "e".into(), hint: "h".into(), admin: true, x509_svid_ttl: 7, ..Default::default() };
        assert_eq!(entry(full.clone(), None), full);
        let masked = entry(full, Some(&types::EntryMask { admin: true, ..Default::default() }));
        assert_eq!(masked, types::Entry { id: "e".into(), admin: true, ..Default::default() });
    }
}
