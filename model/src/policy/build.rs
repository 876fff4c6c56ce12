//! From the document's tree to a checked policy: each part says what is wrong with it, then all of it is refused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::document::{self, Fields, Node, Reader, Text};
use super::index::{Index, IndexError};
use super::{Issuer, KeySource, Pattern, Policy, PolicyMistakes, Rule, Subjects, value};
use crate::exchange::Scope;
use crate::jwks::Algorithm;

pub(super) fn policy(document: &str) -> Result<Policy, PolicyMistakes> {
    let root = document::parse(document)?;
    let mut reader = Reader::default();
    let policy = read(&root, &mut reader);
    if reader.mistakes.is_empty() { Ok(policy) } else { Err(PolicyMistakes(reader.mistakes)) }
}

fn read(root: &Node, reader: &mut Reader) -> Policy {
    let Some(fields) = reader.fields(root, String::new(), &["issuers", "rules"]) else { return Policy::default() };
    if fields.get("rules").is_none() {
        reader.mistake(
            "rules",
            fields.line,
            "is missing: without rules everything is denied; write rules: [] if that is meant",
        );
    }
    let issuers = issuers(&fields, reader);
    let mut index = Index::of_issuers(&issuers);
    let rules = rules(&fields, &issuers, &mut index, reader);
    Policy { issuers, rules, index }
}

fn issuers(root: &Fields<'_>, reader: &mut Reader) -> Vec<Arc<Issuer>> {
    let (mut identifiers, mut prefixes) = (HashSet::new(), HashSet::new());
    let mut issuers = Vec::new();
    for (node, path) in reader.list(root, "issuers", MAX_ISSUERS) {
        let Some(fields) = reader.fields(node, path, ISSUER_KEYS) else { continue };
        let Some(issuer) = issuer(&fields, reader) else { continue };
        if !identifiers.insert(issuer.issuer.clone()) {
            reader.mistake(fields.path_of("issuer"), fields.line_of("issuer"), "is the same as an issuer above");
        } else if !prefixes.insert(issuer.subject_prefix.clone()) {
            let problem = "is the same as that of an issuer above: their subjects could not be told apart";
            reader.mistake(fields.path_of("subject_prefix"), fields.line_of("subject_prefix"), problem);
        }
        issuers.push(Arc::new(issuer));
    }
    issuers
}

fn issuer(fields: &Fields<'_>, reader: &mut Reader) -> Option<Issuer> {
    let identifier = reader.required(fields, "issuer");
    let audiences = reader.texts(fields, "audiences", MAX_NAMES, true);
    let issuer = Issuer {
        issuer: identifier.as_ref().map(|text| web_url(text, reader)).unwrap_or_default(),
        keys: key_source(fields, reader),
        algorithms: algorithms(fields, reader),
        audiences: audiences.iter().filter_map(|text| audience(text, reader)).collect(),
        types: types(fields, reader),
        max_lifetime: duration(fields, "max_lifetime", Duration::from_secs(86_400), 1..=30 * 86_400, reader),
        leeway: duration(fields, "leeway", Duration::from_secs(60), 0..=300, reader),
        subject_prefix: subject_prefix(fields, reader)
            .or_else(|| identifier.as_ref().map(|text| format!("{}#", text.text)))
            .unwrap_or_default(),
        demo: reader.flag(fields, "demo"),
    };
    identifier.map(|_| issuer)
}

fn key_source(fields: &Fields<'_>, reader: &mut Reader) -> KeySource {
    let discovery = reader.flag(fields, "discovery");
    let Some(uri) = reader.text(fields, "jwks_uri") else {
        if fields.get("discovery").is_some() && !discovery {
            let problem = "is false, so jwks_uri is needed to say where the keys are";
            reader.mistake(fields.path_of("discovery"), fields.line_of("discovery"), problem);
        }
        return KeySource::Discovery;
    };
    if discovery {
        reader.mistake(&uri.path, uri.line, "and discovery: true exclude each other");
    }
    KeySource::JwksUri(web_url(&uri, reader))
}

fn web_url(text: &Text<'_>, reader: &mut Reader) -> String {
    if let Err(problem) = value::web_url(text.text) {
        reader.mistake(&text.path, text.line, problem);
    }
    text.text.to_owned()
}

fn algorithms(fields: &Fields<'_>, reader: &mut Reader) -> Vec<Algorithm> {
    if fields.get("algorithms").is_none() {
        return vec![Algorithm::Es256];
    }
    let names = || Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
    let mut algorithms = Vec::new();
    for text in reader.texts(fields, "algorithms", MAX_NAMES, true) {
        match Algorithm::named(text.text) {
            Some(algorithm) => algorithms.push(algorithm),
            None => reader.mistake(text.path, text.line, format!("is not one of {}", names())),
        }
    }
    algorithms
}

fn types(fields: &Fields<'_>, reader: &mut Reader) -> Vec<String> {
    match reader.text(fields, "typ") {
        None => vec!["at+jwt".to_owned()],
        Some(text) if text.text.eq_ignore_ascii_case("at+jwt") => vec!["at+jwt".to_owned()],
        Some(text) if text.text.eq_ignore_ascii_case("jwt") => vec!["at+jwt".to_owned(), "jwt".to_owned()],
        Some(text) => {
            reader.mistake(text.path, text.line, "must be at+jwt (RFC 9068), or JWT to take also tokens typed so");
            Vec::new()
        }
    }
}

fn audience(text: &Text<'_>, reader: &mut Reader) -> Option<String> {
    if text.text.is_empty() || text.text.len() > MAX_NAME_BYTES {
        reader.mistake(&text.path, text.line, "must have 1 to 1024 bytes");
        return None;
    }
    Some(text.text.to_owned())
}

fn subject_prefix(fields: &Fields<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(fields, "subject_prefix")?;
    value::subject_prefix(text.text).map_err(|problem| reader.mistake(&text.path, text.line, problem)).ok()
}

fn duration(
    fields: &Fields<'_>,
    name: &str,
    default: Duration,
    seconds: std::ops::RangeInclusive<u64>,
    reader: &mut Reader,
) -> Duration {
    let Some(text) = reader.text(fields, name) else { return default };
    match value::duration(text.text) {
        Some(duration) if seconds.contains(&duration.as_secs()) => duration,
        Some(_) | None => {
            let problem =
                format!("must be a duration such as 60s, 5m or 24h, from {}s to {}s", seconds.start(), seconds.end());
            reader.mistake(text.path, text.line, problem);
            default
        }
    }
}

fn rules(root: &Fields<'_>, issuers: &[Arc<Issuer>], index: &mut Index, reader: &mut Reader) -> Vec<Arc<Rule>> {
    let known: HashMap<&str, &Issuer> =
        issuers.iter().map(|issuer| (issuer.issuer.as_str(), issuer.as_ref())).collect();
    let mut ids = HashSet::new();
    let mut rules = Vec::new();
    for (node, path) in reader.list(root, "rules", MAX_RULES) {
        let Some(fields) = reader.fields(node, path, RULE_KEYS) else { continue };
        let before = reader.mistakes.len();
        let Some(rule) = rule(&fields, &known, reader) else { continue };
        if !ids.insert(rule.id.clone()) {
            reader.mistake(fields.path_of("id"), fields.line_of("id"), "is the same as that of a rule above");
        }
        if reader.mistakes.len() == before {
            index_rule(&fields, &rule, rules.len(), index, reader);
        }
        rules.push(Arc::new(rule));
    }
    rules
}

fn index_rule(fields: &Fields<'_>, rule: &Rule, position: usize, index: &mut Index, reader: &mut Reader) {
    let problem = match index.add(position, rule) {
        Ok(()) => return,
        Err(IndexError::Crowded) => "is the 17th rule for the same caller and subject: put some of them together",
        Err(IndexError::Full) => {
            "makes more than 500,000 combinations of caller, issuer and audience: use patterns (/*)"
        }
    };
    reader.mistake(&fields.path, fields.line, problem);
}

fn rule(fields: &Fields<'_>, issuers: &HashMap<&str, &Issuer>, reader: &mut Reader) -> Option<Rule> {
    let id = reader.required(fields, "id");
    if let Some(id) = &id {
        let plain = id.text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if !plain || !(1..=128).contains(&id.text.len()) {
            reader.mistake(&id.path, id.line, "must be 1 to 128 letters, digits, '.', '-' or '_'");
        }
    }
    let callers = patterns(fields, "callers", reader);
    let subjects = subjects(fields, issuers, reader);
    let scopes = scope(fields, "scopes", true, reader);
    let mut default_scopes = fields.get("default_scopes").map(|_| scope(fields, "default_scopes", true, reader));
    match (&subjects, &default_scopes) {
        (Some(Subjects::JwtSvids(_)), None) => default_scopes = Some(scopes.clone()),
        (Some(Subjects::JwtSvids(_)), Some(_)) => {
            let problem =
                "is for access tokens without a scope; a JWT-SVID never has one, so scopes alone is its ceiling";
            reader.mistake(fields.path_of("default_scopes"), fields.line_of("default_scopes"), problem);
        }
        (_, Some(default)) if !default.is_within(&scopes) => {
            let problem = "holds a scope that scopes does not";
            reader.mistake(fields.path_of("default_scopes"), fields.line_of("default_scopes"), problem);
        }
        (_, _) => {}
    }
    let lifetime = duration(fields, "lifetime", DEFAULT_LIFETIME, 1..=MAX_LIFETIME_SECS, reader);
    Some(Rule { id: id?.text.to_owned(), callers, subjects: subjects?, scopes, default_scopes, lifetime })
}

fn patterns(fields: &Fields<'_>, name: &str, reader: &mut Reader) -> Vec<Pattern> {
    let texts = reader.texts(fields, name, MAX_NAMES, true);
    let mut patterns = Vec::new();
    for text in texts {
        match text.text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let problem =
                    format!("{error}; expected a SPIFFE ID, or one with /* at its end for all below that path");
                reader.mistake(text.path, text.line, problem);
            }
        }
    }
    patterns
}

fn subjects(rule: &Fields<'_>, issuers: &HashMap<&str, &Issuer>, reader: &mut Reader) -> Option<Subjects> {
    let Some(node) = rule.get("subjects") else {
        reader.mistake(rule.path_of("subjects"), rule.line, "is missing: give issuers and audiences, or jwt_svids");
        return None;
    };
    let fields = reader.fields(node, rule.path_of("subjects"), &["issuers", "audiences", "jwt_svids"])?;
    if fields.get("jwt_svids").is_some() {
        if fields.get("issuers").is_some() || fields.get("audiences").is_some() {
            reader.mistake(
                &fields.path,
                fields.line,
                "has jwt_svids beside issuers or audiences: make two rules of it",
            );
        }
        return Some(Subjects::JwtSvids(patterns(&fields, "jwt_svids", reader)));
    }
    let names = reader.texts(&fields, "issuers", MAX_NAMES, true);
    let audiences = reader.texts(&fields, "audiences", MAX_NAMES, true);
    for name in &names {
        if !issuers.contains_key(name.text) {
            reader.mistake(&name.path, name.line, "is not among the issuers above, spelled exactly so");
        }
    }
    for audience in &audiences {
        let taken = |name: &Text<'_>| {
            issuers.get(name.text).is_none_or(|issuer| issuer.audiences.iter().any(|known| known == audience.text))
        };
        if !names.is_empty() && !names.iter().any(taken) {
            reader.mistake(&audience.path, audience.line, "is not among the audiences of any of the rule's issuers");
        }
    }
    let owned = |texts: Vec<Text<'_>>| texts.into_iter().map(|text| text.text.to_owned()).collect();
    Some(Subjects::AccessTokens { issuers: owned(names), audiences: owned(audiences) })
}

fn scope(fields: &Fields<'_>, name: &str, required: bool, reader: &mut Reader) -> Scope {
    let texts = reader.texts(fields, name, MAX_NAMES, required);
    for text in &texts {
        if !Scope::is_word(text.text) {
            let problem =
                "must be one scope word: 1 to 256 printable ASCII characters without space, quote and backslash";
            reader.mistake(&text.path, text.line, problem);
        }
    }
    texts.into_iter().map(|text| text.text.to_owned()).collect()
}

const ISSUER_KEYS: &[&str] = &[
    "issuer",
    "jwks_uri",
    "discovery",
    "algorithms",
    "audiences",
    "typ",
    "max_lifetime",
    "leeway",
    "subject_prefix",
    "demo",
];
const RULE_KEYS: &[&str] = &["id", "callers", "subjects", "scopes", "default_scopes", "lifetime"];
const MAX_ISSUERS: usize = 1000;
const MAX_RULES: usize = 10_000;
const MAX_NAMES: usize = 256;
const MAX_NAME_BYTES: usize = 1024;
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME_SECS: u64 = 300;
