//! What an entry must be, whoever writes it: SPIRE's rules with SPIRE's texts, so that its tools read our answers.

use std::collections::BTreeSet;

use super::{EntrySpec, Selector};
use crate::refusal::Refusal;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::x509::dns;

impl EntrySpec {
    /// The same entry with its sets sorted and without duplicates, if it is one that `trust_domain` may hold.
    ///
    /// Pure, so it can be asked at the edge for a good message and again in the state machine for certainty. DNS names
    /// keep their order, because the first is also the common name.
    ///
    /// # Errors
    /// `invalid_argument`, naming the field; the caller corrects it.
    pub fn checked(mut self, trust_domain: &TrustDomain) -> Result<Self, Refusal> {
        check_parent(&self.parent_id, trust_domain).map_err(|e| Refusal::invalid(format!("invalid parent ID: {e}")))?;
        check_workload(&self.spiffe_id, trust_domain)
            .map_err(|e| Refusal::invalid(format!("invalid spiffe ID: {e}")))?;
        if self.selectors.is_empty() {
            return Err(Refusal::invalid("selector list is empty"));
        }
        for selector in &self.selectors {
            selector.check()?;
        }
        let mut seen = BTreeSet::new();
        for name in &self.dns_names {
            check_dns_name(name).map_err(|e| Refusal::invalid(format!("invalid DNS name {name:?}: {e}")))?;
        }
        self.dns_names.retain(|name| seen.insert(name.clone()));
        if self.federates_with.contains(trust_domain) {
            return Err(Refusal::invalid(format!("federates_with names the server's own trust domain {trust_domain}")));
        }
        if self.hint.len() > MAX_HINT_BYTES {
            return Err(Refusal::invalid(format!("hint is too long, max length is {MAX_HINT_BYTES} bytes")));
        }
        self.check_store()?;
        self.selectors.sort();
        self.selectors.dedup();
        self.federates_with.sort();
        self.federates_with.dedup();
        Ok(self)
    }

    fn check_store(&self) -> Result<(), Refusal> {
        if !self.store_svid {
            return Ok(());
        }
        if self.disable_x509_svid_prefetch {
            return Err(Refusal::invalid("disable_x509_svid_prefetch cannot be set together with store_svid"));
        }
        let mut kinds = self.selectors.iter().map(|selector| &selector.kind);
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Err(Refusal::invalid("selector types must be the same when store_svid is set"));
        }
        Ok(())
    }
}

impl Selector {
    /// Whether this can be a selector: a type without `:`, and a value.
    ///
    /// # Errors
    /// `invalid_argument`, naming the part; the caller corrects it.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.kind.is_empty() {
            return Err(Refusal::invalid("missing selector type"));
        }
        if self.kind.contains(':') {
            return Err(Refusal::invalid(format!("selector type {:?} contains ':'", self.kind)));
        }
        if self.value.is_empty() {
            return Err(Refusal::invalid(format!("missing selector value after type {:?}", self.kind)));
        }
        Ok(())
    }
}

fn check_parent(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), String> {
    check_member(id, trust_domain)?;
    if id.path().is_empty() {
        return Err(format!("\"{id}\" is not a member of trust domain \"{trust_domain}\"; path is empty"));
    }
    Ok(())
}

/// Whether `id` may be granted to a workload of `trust_domain`: it has a path, outside those of servers and agents.
///
/// # Errors
/// What is wrong, in SPIRE's words; the caller chooses another identity.
pub fn check_workload(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), String> {
    check_member(id, trust_domain)?;
    let problem = match id.path() {
        "" => "path is empty",
        path if is_reserved(path) => "path is in the reserved namespace /spire",
        _ => return Ok(()),
    };
    Err(format!("\"{id}\" is not a workload in trust domain \"{trust_domain}\"; {problem}"))
}

fn check_member(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), String> {
    if id.is_member_of(trust_domain) {
        return Ok(());
    }
    Err(format!("\"{id}\" is not a member of trust domain \"{trust_domain}\""))
}

/// Whether no workload may have this path: it belongs to servers and agents.
fn is_reserved(path: &str) -> bool {
    path == "/spire" || path.starts_with("/spire/")
}

/// Whether a certificate may carry this DNS name: the same rules as for names in requests.
///
/// # Errors
/// What is wrong with the name, without the name.
pub fn check_dns_name(name: &str) -> Result<(), &'static str> {
    dns::check(name).map_err(|error| error.problem)
}

const MAX_HINT_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        "example.org".parse().unwrap()
    }

    fn spec() -> EntrySpec {
        EntrySpec {
            spiffe_id: "spiffe://example.org/billing".parse().unwrap(),
            parent_id: "spiffe://example.org/spire/server".parse().unwrap(),
            selectors: vec![selector("unix", "uid:1000"), selector("unix", "gid:5"), selector("unix", "uid:1000")],
            x509_svid_ttl_secs: 0,
            jwt_svid_ttl_secs: 0,
            federates_with: Vec::new(),
            dns_names: vec!["z.example.org".into(), "a.example.org".into(), "z.example.org".into()],
            admin: false,
            downstream: false,
            store_svid: false,
            hint: String::new(),
            expires_at_secs: 0,
            disable_x509_svid_prefetch: false,
            jwt_svid_include_jti: false,
        }
    }

    fn selector(kind: &str, value: &str) -> Selector {
        Selector { kind: kind.into(), value: value.into() }
    }

    fn refused(change: impl FnOnce(&mut EntrySpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        spec.checked(&domain()).unwrap_err().detail
    }

    #[test]
    fn sorts_sets_but_keeps_the_first_dns_name_first() {
        let checked = spec().checked(&domain()).unwrap();
        assert_eq!(checked.selectors, [selector("unix", "gid:5"), selector("unix", "uid:1000")]);
        assert_eq!(checked.dns_names, ["z.example.org", "a.example.org"]);
        assert_eq!(checked.clone().checked(&domain()).unwrap(), checked, "checking twice changes nothing more");
    }

    #[test]
    fn refuses_identities_that_no_workload_may_have() {
        let cases = [
            ("spiffe://other.org/x", "is not a member of trust domain \"example.org\""),
            ("spiffe://example.org", "path is empty"),
            ("spiffe://example.org/spire", "path is in the reserved namespace /spire"),
            ("spiffe://example.org/spire/agent/x", "path is in the reserved namespace /spire"),
        ];
        for (id, expected) in cases {
            let text = refused(|spec| spec.spiffe_id = id.parse().unwrap());
            assert!(text.starts_with("invalid spiffe ID: ") && text.ends_with(expected), "{text}");
        }
        let mut near = spec();
        near.spiffe_id = "spiffe://example.org/spired".parse().unwrap();
        assert!(near.checked(&domain()).is_ok());
    }

    #[test]
    fn refuses_a_parent_without_path_or_from_elsewhere() {
        for id in ["spiffe://example.org", "spiffe://other.org/agent"] {
            let text = refused(|spec| spec.parent_id = id.parse().unwrap());
            assert!(text.starts_with("invalid parent ID: ") && text.contains("is not a member"), "{text}");
        }
    }

    #[test]
    fn refuses_selectors_that_cannot_be() {
        assert_eq!(refused(|spec| spec.selectors.clear()), "selector list is empty");
        assert_eq!(refused(|spec| spec.selectors = vec![selector("", "x")]), "missing selector type");
        assert_eq!(refused(|spec| spec.selectors = vec![selector("a:b", "x")]), "selector type \"a:b\" contains ':'");
        assert_eq!(refused(|spec| spec.selectors = vec![selector("a", "")]), "missing selector value after type \"a\"");
    }

    #[test]
    fn refuses_dns_names_that_cannot_be() {
        for name in ["", "a..b", "-a.b", "a_b", "a.*.b", "*", "b.c.", "ex ample", &"x".repeat(64)] {
            assert!(check_dns_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "A-1.example.org", "*.example.org"] {
            assert_eq!(check_dns_name(name), Ok(()), "{name:?}");
        }
        assert!(refused(|spec| spec.dns_names.push("a_b".into())).starts_with("invalid DNS name \"a_b\": "));
    }

    #[test]
    fn a_stored_svid_needs_selectors_of_one_type() {
        let mixed = refused(|spec| {
            spec.store_svid = true;
            spec.selectors.push(selector("k8s", "ns:x"));
        });
        assert_eq!(mixed, "selector types must be the same when store_svid is set");
        let lazy = refused(|spec| {
            spec.store_svid = true;
            spec.disable_x509_svid_prefetch = true;
        });
        assert_eq!(lazy, "disable_x509_svid_prefetch cannot be set together with store_svid");
    }
}
