//! What each certificate of a chain must be like, so that the verifiers that we know (Go, OpenSSL, webpki, and our own)
//! accept what is issued under it.

use std::time::Duration;

use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;

use super::link::Link;
use super::{ChainError, Rules, shown};
use crate::spiffe_id::TrustDomain;

/// `chain` begins with our certificate and ends with the trust anchor.
pub(super) fn check(chain: &[Link], rules: Rules<'_>) -> Result<(), ChainError> {
    for (depth, link) in chain.iter().enumerate() {
        let is_anchor = depth + 1 == chain.len();
        let issuer = chain.get(depth + 1).unwrap_or(link);
        is_ca(link, depth, is_anchor)
            .and_then(|()| is_valid(link, rules))
            .and_then(|()| names(link, rules.trust_domain))
            .and_then(|()| constraints(link, rules.trust_domain))
            .and_then(|()| usage(link, is_anchor))
            .and_then(|()| identifiers(link, issuer, depth))
            .map_err(|problem| ChainError::Rule { subject: link.name.clone(), problem })?;
    }
    Ok(())
}

/// What is allowed and worth saying.
pub(super) fn notes(chain: &[Link]) -> Vec<String> {
    let limit = chain.iter().enumerate().filter_map(|(depth, link)| {
        let spare = usize::from(link.path_length?).checked_sub(depth + 1)?;
        (spare == 0).then(|| format!("\"{}\" has a path length that leaves no room for downstream CAs", link.name))
    });
    limit.collect()
}

fn is_ca(link: &Link, depth: usize, is_anchor: bool) -> Result<(), String> {
    if !link.is_ca {
        return Err(
            "it is not a CA: basicConstraints cA=TRUE is missing. Have it issued by a profile for subordinate CAs"
                .to_owned(),
        );
    }
    match link.signs_certificates {
        Some(true) => {}
        None if is_anchor && depth > 0 => {}
        Some(false) | None => {
            return Err("it may not sign certificates: keyUsage keyCertSign is missing. Have it issued by a profile for subordinate CAs".to_owned());
        }
    }
    // Below it are our issuing CA and `depth` certificates of the chain.
    match link.path_length {
        Some(length) if usize::from(length) < depth + 1 => Err(format!(
            "its path length is {length}, and {} CA certificates are below it with our issuing CA: have it issued with pathlen {} or more, or without",
            depth + 1,
            depth + 1
        )),
        Some(_) | None => Ok(()),
    }
}

fn is_valid(link: &Link, rules: Rules<'_>) -> Result<(), String> {
    let (not_before, not_after) = shown(link.validity);
    if rules.now < link.validity.not_before {
        return Err(format!("it is not valid before {not_before}: wait, or correct the clock"));
    }
    if rules.now >= link.validity.not_after {
        return Err(format!("it expired at {not_after}: have it issued anew"));
    }
    if link.validity.not_after.since(rules.now) < rules.at_least {
        return Err(format!(
            "it ends at {not_after}, and an issuing CA under it lives {}: have it issued for longer",
            hours(rules.at_least)
        ));
    }
    Ok(())
}

/// X509-SVID §3: a CA that names a SPIFFE ID names its own trust domain.
fn names(link: &Link, trust_domain: &TrustDomain) -> Result<(), String> {
    let own = trust_domain.id().to_string();
    match link.uris.iter().find(|uri| **uri != own && uri.starts_with("spiffe:")) {
        Some(other) => Err(format!(
            "its subjectAltName has {other}, and this trust domain is {own}: have that URI alone in it, or none"
        )),
        None if link.uris.len() > 1 => {
            Err(format!("its subjectAltName has {} URIs: have {own} alone in it, or none", link.uris.len()))
        }
        None => Ok(()),
    }
}

/// Whoever verifies an SVID holds it against these, and rustls-webpki refuses every URI below any constraint on URIs.
fn constraints(link: &Link, trust_domain: &TrustDomain) -> Result<(), String> {
    let without = "have it issued without nameConstraints";
    let host = trust_domain.to_string();
    let covers = |name: &GeneralName| {
        let GeneralName::UniformResourceIdentifier(uri) = name else { return false };
        uri.as_str() == host || (uri.as_str().starts_with('.') && host.ends_with(uri.as_str()))
    };
    let is_uri = |name: &&GeneralName| matches!(name, GeneralName::UniformResourceIdentifier(_));
    let excluded = link.excluded.iter().any(covers);
    let permitted = link.permitted.iter().filter(is_uri).count() == 0 || link.permitted.iter().any(covers);
    if excluded || !permitted {
        return Err(format!("its nameConstraints do not permit the URIs of trust domain {trust_domain}: {without}"));
    }
    for name in link.permitted.iter().chain(&link.excluded) {
        let kind = match name {
            GeneralName::UniformResourceIdentifier(_) => {
                "URIs, under which verifiers made with rustls refuse every SPIFFE ID"
            }
            GeneralName::DnsName(_) => "DNS names, which SVIDs have as their entries say",
            GeneralName::IpAddress(_) => "IP addresses, which servers' certificates have",
            GeneralName::DirectoryName(_) => "subjects, and those of SVIDs are SPIRE's",
            GeneralName::OtherName(_)
            | GeneralName::Rfc822Name(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::RegisteredId(_) => continue,
        };
        return Err(format!("it has nameConstraints on {kind}: {without}"));
    }
    Ok(())
}

/// An anchor is taken for what it is; the others are judged at every verification.
fn usage(link: &Link, is_anchor: bool) -> Result<(), String> {
    if is_anchor {
        return Ok(());
    }
    if let Some(usages) = &link.extended_key_usage {
        let lacking = [(SERVER_AUTH, "serverAuth"), (CLIENT_AUTH, "clientAuth")];
        if let Some((_, name)) = lacking.iter().find(|(oid, _)| !usages.contains(oid)) {
            return Err(format!(
                "its extKeyUsage lacks {name}, and limits what is below it: have it issued with serverAuth and clientAuth, or without extKeyUsage"
            ));
        }
    }
    match link.critical.iter().find(|oid| !KNOWN.contains(oid)) {
        Some(oid) => Err(format!(
            "it has the critical extension {oid}, which verifiers of SVIDs do not know: have it issued without"
        )),
        None => Ok(()),
    }
}

fn identifiers(link: &Link, issuer: &Link, depth: usize) -> Result<(), String> {
    if depth == 0 && link.subject_key_id.as_ref().is_none_or(|id| id.is_empty() || id.len() > MAX_KEY_ID_BYTES) {
        return Err(
            "it has no usable subjectKeyIdentifier, by which verifiers find it: have it issued with one".to_owned()
        );
    }
    match (&link.authority_key_id, &issuer.subject_key_id) {
        (Some(says), Some(is)) if says != is => Err(format!(
            "its authorityKeyIdentifier is not the subjectKeyIdentifier of \"{}\": take the issuer's certificate that it was issued under",
            issuer.name
        )),
        _ => Ok(()),
    }
}

fn hours(duration: Duration) -> String {
    let secs = duration.as_secs();
    if secs >= 3600 { format!("{} h", secs / 3600) } else { format!("{secs} s") }
}

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// Critical extensions that all verifiers know: keyUsage, subjectAltName, basicConstraints, nameConstraints, extKeyUsage.
const KNOWN: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.30"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];
/// RFC 5280 speaks of 20 bytes; SHA-256 is the longest in use.
const MAX_KEY_ID_BYTES: usize = 32;
