//! DNS names that may stand in a certificate: the rules that SPIRE has, for entries and for requests.

/// A name that may not stand in a certificate, or not beside another one. The caller corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?}: {problem}")]
pub struct DnsNameError {
    /// The name.
    pub name: String,
    /// What is wrong with it and what to do.
    pub problem: &'static str,
}

/// Checks one name, which may begin with `*.`: labels of 1 to 63 letters, digits and inner hyphens, at most
/// 253 bytes. Internationalized labels (`xn--…`) are refused, as SPIRE does.
///
/// # Errors
/// [`DnsNameError`].
pub fn check(name: &str) -> Result<(), DnsNameError> {
    problem(name).map_or(Ok(()), |problem| Err(DnsNameError { name: name.to_owned(), problem }))
}

/// Checks that no wildcard among `names` covers another one of them.
///
/// # Errors
/// [`DnsNameError`] with the name that is covered.
pub fn check_overlap(names: &[String]) -> Result<(), DnsNameError> {
    let covered = |name: &&String| {
        let parent = name.split_once('.').filter(|(label, _)| *label != "*").map(|(_, parent)| parent);
        let mut wildcards = names.iter().filter_map(|other| other.strip_prefix("*."));
        parent.is_some_and(|parent| wildcards.any(|wildcard| wildcard.eq_ignore_ascii_case(parent)))
    };
    match names.iter().find(covered) {
        Some(name) => Err(DnsNameError {
            name: name.clone(),
            problem: "a wildcard beside it covers it already; drop one of the two",
        }),
        None => Ok(()),
    }
}

fn problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a DNS name cannot be empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Some("a DNS name is at most 253 bytes long");
    }
    if name.ends_with('.') {
        return Some("write the DNS name without the dot at its end");
    }
    name.strip_prefix("*.").unwrap_or(name).split('.').find_map(label_problem)
}

fn label_problem(label: &str) -> Option<&'static str> {
    let bytes = label.as_bytes();
    match bytes {
        [] => Some("a DNS name has no empty labels"),
        _ if bytes.contains(&b'*') => {
            Some("a wildcard is the whole first label, and there is a name behind it: *.example.org")
        }
        _ if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') => {
            Some("a DNS name holds only letters, digits, '-' and '.'")
        }
        [b'-', ..] | [.., b'-'] => Some("a label neither begins nor ends with '-'"),
        [_, _, b'-', b'-', ..] => {
            Some("a label has no \"--\" in third place; internationalized names are not supported")
        }
        _ if bytes.len() > MAX_LABEL_BYTES => Some("a label of a DNS name is at most 63 bytes long"),
        _ => None,
    }
}

const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_names_and_a_wildcard_in_front() {
        for name in
            ["a", "example.org", "*.example.org", "db-1.Example.org", "1.2.3.4", &format!("{}.org", "a".repeat(63))]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_names_that_no_verifier_agrees_on() {
        let long = format!("{}.org", "a".repeat(64));
        let longer = "a.".repeat(126) + "ab";
        for name in [
            "",
            ".",
            "*",
            "*.",
            ".org",
            "example.org.",
            "a..b",
            "*.*.org",
            "a.*.org",
            "a*.org",
            "a_b.org",
            "-a.org",
            "a-.org",
            "xn--bcher-kva.org",
            "bücher.org",
            " a.org",
            "a.org\n",
            "a/b",
            "a:1",
            &long,
            &longer,
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn finds_a_name_that_a_wildcard_beside_it_covers() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(check_overlap(&names(&["a.org", "*.a.org", "b.c.a.org", "*.org.net"])), Ok(()));
        let error = check_overlap(&names(&["*.A.org", "b.a.org"])).unwrap_err();
        assert_eq!(error.name, "b.a.org");
    }
}
