//! The forms of single values in a policy document.

use std::time::Duration;

/// Checks a URL we may be sent to: `https`, or `http` to a loopback host; no user, query or fragment.
pub(super) fn web_url(url: &str) -> Result<(), &'static str> {
    let (rest, plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return Err("must be a URL that begins with https://"),
    };
    if url.len() > MAX_URL_BYTES {
        return Err("is longer than 1024 bytes");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic()) || url.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err("holds a character that no URL may hold");
    }
    if url.contains(['?', '#']) {
        return Err("must have no query and no fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must name no user");
    }
    let host = host(authority).ok_or("must name a host, and a port only as a number from 1 to 65535")?;
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("must name its host in lower case");
    }
    let loopback = host == "localhost"
        || host == "[::1]"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    if plain && !loopback {
        Err("must begin with https:// (http:// only to localhost, 127.0.0.0/8 or [::1])")
    } else {
        Ok(())
    }
}

/// The host of an authority whose port, if it has one, is a number.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(_) => {
            let (host, rest) = authority.split_at(authority.find(']')? + 1);
            host.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if host.is_empty() || (!host.starts_with('[') && !plain(host)) {
        return None;
    }
    match port {
        None => Some(host),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse::<u16>().ok().filter(|port| *port > 0).map(|_| host)
        }
        Some(_) => None,
    }
}

const MAX_URL_BYTES: usize = 1024;

/// A duration such as `90s`, `5m`, `24h` or `1d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.parse::<u32>().ok().map(|number| Duration::from_secs(u64::from(number) * seconds))
}

/// What may stand before an issuer's `sub` values: no separator of its own, and nothing that the default form or a
/// SPIFFE ID begins with, so that no two issuers' prefixed subjects are ever alike.
pub(super) fn subject_prefix(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !plain || !(1..=64).contains(&text.len()) {
        return Err("must be 1 to 64 letters, digits, '.', '-' or '_'; a ':' is put after it");
    }
    if matches!(text.to_ascii_lowercase().as_str(), "http" | "https" | "spiffe" | "urn") {
        return Err("must not be http, https, spiffe or urn, with which other subjects begin");
    }
    Ok(format!("{text}:"))
}
