//! Filters on entries.

use signet_model::refusal::Refusal;

use super::entry::{from_selectors, selectors};
use super::{from_spiffe_id, spiffe_id, trust_domain};
use crate::proto::entry::{count_entries_request, list_entries_request};
use crate::proto::types::{self, federates_with_match, selector_match};
use crate::service::{EntryFilter, Match};

type Filter = list_entries_request::Filter;

/// What a list is restricted to.
pub(crate) fn filter(filter: Option<Filter>) -> Result<EntryFilter, Refusal> {
    let Some(filter) = filter else { return Ok(EntryFilter::default()) };
    let id = |name: &str, id: Option<types::Spiffeid>| match id {
        None => Ok(None),
        Some(id) => {
            spiffe_id(Some(&id)).map(Some).map_err(|e| Refusal::invalid(format!("malformed {name} filter: {e}")))
        }
    };
    Ok(EntryFilter {
        spiffe_id: id("SPIFFE ID", filter.by_spiffe_id)?,
        parent_id: id("parent ID", filter.by_parent_id)?,
        selectors: filter.by_selectors.map(by_selectors).transpose()?,
        federates_with: filter.by_federates_with.map(by_federates_with).transpose()?,
        hint: filter.by_hint,
        downstream: filter.by_downstream,
    })
}

/// A filter of `CountEntries` is one of `ListEntries`.
pub(crate) fn of_count(filter: count_entries_request::Filter) -> Filter {
    Filter {
        by_spiffe_id: filter.by_spiffe_id,
        by_parent_id: filter.by_parent_id,
        by_selectors: filter.by_selectors,
        by_federates_with: filter.by_federates_with,
        by_hint: filter.by_hint,
        by_downstream: filter.by_downstream,
    }
}

/// The other way round.
pub(crate) fn to_count(filter: Filter) -> count_entries_request::Filter {
    count_entries_request::Filter {
        by_spiffe_id: filter.by_spiffe_id,
        by_parent_id: filter.by_parent_id,
        by_selectors: filter.by_selectors,
        by_federates_with: filter.by_federates_with,
        by_hint: filter.by_hint,
        by_downstream: filter.by_downstream,
    }
}

fn by_selectors(wanted: types::SelectorMatch) -> Result<(Vec<signet_model::entry::Selector>, Match), Refusal> {
    use selector_match::MatchBehavior as M;
    let malformed = |what: &str| Refusal::invalid(format!("malformed selectors filter: {what}"));
    let how = match M::try_from(wanted.r#match) {
        Ok(M::MatchExact) => Match::Exact,
        Ok(M::MatchSubset) => Match::Subset,
        Ok(M::MatchSuperset) => Match::Superset,
        Ok(M::MatchAny) => Match::Any,
        Err(_) => return Err(malformed("unknown match behavior")),
    };
    let list = selectors(wanted.selectors).map_err(|e| malformed(&e.detail))?;
    if list.is_empty() { Err(malformed("empty selector set")) } else { Ok((list, how)) }
}

fn by_federates_with(
    wanted: types::FederatesWithMatch,
) -> Result<(Vec<signet_model::spiffe_id::TrustDomain>, Match), Refusal> {
    use federates_with_match::MatchBehavior as M;
    let malformed = |what: &str| Refusal::invalid(format!("malformed federates with filter: {what}"));
    let how = match M::try_from(wanted.r#match) {
        Ok(M::MatchExact) => Match::Exact,
        Ok(M::MatchSubset) => Match::Subset,
        Ok(M::MatchSuperset) => Match::Superset,
        Ok(M::MatchAny) => Match::Any,
        Err(_) => return Err(malformed("unknown match behavior")),
    };
    let list: Result<Vec<_>, _> = wanted.trust_domains.iter().map(|name| trust_domain(name)).collect();
    let list = list.map_err(|e| malformed(&e))?;
    if list.is_empty() { Err(malformed("empty trust domain set")) } else { Ok((list, how)) }
}

/// A filter for the wire; `None` when it restricts nothing.
pub(crate) fn from_filter(filter: &EntryFilter) -> Filter {
    let selectors = filter
        .selectors
        .clone()
        .map(|(list, how)| types::SelectorMatch { selectors: from_selectors(list), r#match: match_number(how) });
    let federates_with = filter.federates_with.as_ref().map(|(list, how)| types::FederatesWithMatch {
        trust_domains: list.iter().map(|domain| domain.as_str().to_owned()).collect(),
        r#match: match_number(*how),
    });
    Filter {
        by_spiffe_id: filter.spiffe_id.as_ref().map(from_spiffe_id),
        by_parent_id: filter.parent_id.as_ref().map(from_spiffe_id),
        by_selectors: selectors,
        by_federates_with: federates_with,
        by_hint: filter.hint.clone(),
        by_downstream: filter.downstream,
    }
}

/// Both match enums have the same numbers.
fn match_number(how: Match) -> i32 {
    use selector_match::MatchBehavior as M;
    match how {
        Match::Exact => M::MatchExact as i32,
        Match::Subset => M::MatchSubset as i32,
        Match::Superset => M::MatchSuperset as i32,
        Match::Any => M::MatchAny as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_as_it_went() {
        for how in [Match::Exact, Match::Subset, Match::Superset, Match::Any] {
            let selector = signet_model::entry::Selector { kind: "unix".into(), value: "uid:1".into() };
            let original = EntryFilter {
                spiffe_id: Some("spiffe://example.org/a".parse().unwrap()),
                parent_id: Some("spiffe://example.org/b".parse().unwrap()),
                selectors: Some((vec![selector], how)),
                federates_with: Some((vec!["other.org".parse().unwrap()], how)),
                hint: Some("h".into()),
                downstream: Some(false),
            };
            let back = filter(Some(of_count(to_count(from_filter(&original))))).unwrap();
            assert_eq!(format!("{back:?}"), format!("{original:?}"));
        }
    }

    #[test]
    fn refuses_malformed_filters_with_spires_texts() {
        let cases = [
            (
                Filter { by_spiffe_id: Some(types::Spiffeid::default()), ..Filter::default() },
                "malformed SPIFFE ID filter: ",
            ),
            (
                Filter { by_parent_id: Some(types::Spiffeid::default()), ..Filter::default() },
                "malformed parent ID filter: ",
            ),
            (
                Filter { by_selectors: Some(types::SelectorMatch::default()), ..Filter::default() },
                "malformed selectors filter: empty selector set",
            ),
            (
                Filter { by_federates_with: Some(types::FederatesWithMatch::default()), ..Filter::default() },
                "malformed federates with filter: empty trust domain set",
            ),
            (
                Filter {
                    by_selectors: Some(types::SelectorMatch { selectors: Vec::new(), r#match: 9 }),
                    ..Filter::default()
                },
                "malformed selectors filter: unknown match behavior",
            ),
        ];
        for (wire, expected) in cases {
            let refusal = filter(Some(wire)).unwrap_err();
            assert!(refusal.detail.starts_with(expected), "{}", refusal.detail);
        }
    }
}
