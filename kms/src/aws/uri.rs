//! `awskms:KEY?region=R[,R2…][&…]`: which keys of AWS KMS, in which regions, with whose credentials.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::KmsError;

/// The URI of the AWS KMS backend. It holds no secret, so it is shown in status, logs and errors.
///
/// `awskms:KEY?region=R[,R2…][&endpoint=URL[,URL2…]][&deployment=NAME][&credentials_file=PATH][&profile=NAME]`
///
/// `KEY` is the symmetric wrapping key: `alias/NAME`, a key id, or the ARN of either. Values are taken as they are, without
/// percent-decoding, and cannot hold `&`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsUri {
    /// The wrapping key.
    pub(super) key: WrappingKeyName,
    /// In the order in which they are tried. At least one, none twice.
    pub(super) regions: Vec<RegionAt>,
    /// Keys and aliases of one deployment are told from those of another by this name.
    pub(super) deployment: String,
    /// Where the credentials come from.
    pub(super) credentials: CredentialsFrom,
}

/// A region, and where its KMS answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegionAt {
    pub(super) name: String,
    /// Instead of the region's public endpoint.
    pub(super) endpoint: Option<String>,
}

/// How the operator names the wrapping key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappingKeyName {
    /// `arn:PARTITION:kms:` and the account, if it was named by ARN.
    pub(super) owner: Option<Owner>,
    /// `alias/…` or a key id.
    pub(super) name: String,
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) partition: String,
    pub(super) account: String,
}

/// Where the credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CredentialsFrom {
    /// What AWS programs look through: environment, shared files, web identity, container, instance metadata.
    Surroundings {
        /// The profile in the shared files.
        profile: Option<String>,
    },
    /// A file of our own, in the form of AWS' shared credentials file.
    File {
        /// Mode 0600.
        path: PathBuf,
        /// Its section.
        profile: String,
    },
}

impl WrappingKeyName {
    /// Whether a key id has to be asked for.
    pub(super) fn is_alias(&self) -> bool {
        self.name.starts_with("alias/")
    }

    /// The name to use in `region`: of a key of ours the bare name, of another account's the ARN.
    pub(super) fn in_region(&self, region: &str) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| owner.arn(region, &self.name))
    }
}

impl Owner {
    pub(super) fn arn(&self, region: &str, name: &str) -> String {
        let name = if name.starts_with("alias/") { name.to_owned() } else { format!("key/{name}") };
        format!("arn:{}:kms:{region}:{}:{name}", self.partition, self.account)
    }

    /// Owner, region and name in an ARN of a key or an alias.
    pub(super) fn of_arn(arn: &str) -> Option<(Self, &str, &str)> {
        let mut parts = arn.splitn(6, ':');
        let (Some("arn"), Some(partition), Some("kms")) = (parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = if resource.starts_with("alias/") { resource } else { resource.strip_prefix("key/")? };
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let sound = digits && partition.starts_with("aws") && partition.bytes().all(lower_or_hyphen);
        sound.then(|| (Self { partition: partition.to_owned(), account: account.to_owned() }, region, name))
    }
}

impl FromStr for AwsUri {
    type Err = KmsError;

    fn from_str(uri: &str) -> Result<Self, KmsError> {
        let refuse = |problem: String| KmsError::Configuration { uri: shown(uri), problem };
        let rest = uri.strip_prefix("awskms:").ok_or_else(|| refuse(EXPECTED.to_owned()))?;
        parse(rest).map_err(refuse)
    }
}

impl fmt::Display for AwsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions: Vec<&str> = self.regions.iter().map(|region| region.name.as_str()).collect();
        let regions = regions.join(",");
        let key = self.regions.first().map_or_else(String::new, |first| self.key.in_region(&first.name));
        write!(f, "awskms:{key}?region={regions}")?;
        let endpoints: Vec<&str> = self.regions.iter().filter_map(|region| region.endpoint.as_deref()).collect();
        if let Some(first) = endpoints.first() {
            let one_for_all = endpoints.iter().all(|endpoint| endpoint == first);
            write!(f, "&endpoint={}", if one_for_all { (*first).to_owned() } else { endpoints.join(",") })?;
        }
        if self.deployment != DEFAULT_DEPLOYMENT {
            write!(f, "&deployment={}", self.deployment)?;
        }
        match &self.credentials {
            CredentialsFrom::Surroundings { profile: None } => Ok(()),
            CredentialsFrom::Surroundings { profile: Some(profile) } => write!(f, "&profile={profile}"),
            CredentialsFrom::File { path, profile } => {
                write!(f, "&credentials_file={}", path.display())?;
                if profile == DEFAULT_PROFILE { Ok(()) } else { write!(f, "&profile={profile}") }
            }
        }
    }
}

fn parse(rest: &str) -> Result<AwsUri, String> {
    let (key, query) = rest.split_once('?').unwrap_or((rest, ""));
    let given = Given::read(query)?;
    let (key, arn_region) = parse_key(key)?;
    let names: Vec<&str> = match (given.region, arn_region) {
        (Some(regions), _) => regions.split(',').collect(),
        (None, Some(region)) => vec![region],
        (None, None) => return Err("the region is missing: awskms:KEY?region=eu-west-1".to_owned()),
    };
    check_regions(&names, arn_region, &key)?;
    let endpoints = given.endpoint.map(parse_endpoints).transpose()?.unwrap_or_default();
    if endpoints.len() > 1 && endpoints.len() != names.len() {
        let (of, to) = (endpoints.len(), names.len());
        return Err(format!("{of} endpoints do not fit {to} regions: name one for all, or one for each"));
    }
    let endpoint = |at: usize| endpoints.get(at).or(endpoints.first()).cloned();
    let regions = names.iter().enumerate();
    let regions = regions.map(|(at, name)| RegionAt { name: (*name).to_owned(), endpoint: endpoint(at) }).collect();
    let deployment = given.deployment.unwrap_or(DEFAULT_DEPLOYMENT).to_owned();
    if deployment.is_empty() || deployment.len() > MAX_DEPLOYMENT || !deployment.bytes().all(name_byte) {
        return Err(format!("a deployment is 1 to {MAX_DEPLOYMENT} letters, digits, '.', '-' and '_'"));
    }
    if given.profile.is_some_and(|profile| profile.is_empty() || profile.contains([']', '\n'])) {
        return Err("a profile has a name".to_owned());
    }
    let profile = given.profile.map(str::to_owned);
    let credentials = match given.credentials_file {
        None => CredentialsFrom::Surroundings { profile },
        Some("") => return Err("the path of the credentials file is missing: credentials_file=PATH".to_owned()),
        Some(path) => CredentialsFrom::File {
            path: PathBuf::from(path),
            profile: profile.unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
        },
    };
    Ok(AwsUri { key, regions, deployment, credentials })
}

/// What stands behind the question mark.
#[derive(Default)]
struct Given<'a> {
    region: Option<&'a str>,
    endpoint: Option<&'a str>,
    deployment: Option<&'a str>,
    credentials_file: Option<&'a str>,
    profile: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn read(query: &'a str) -> Result<Self, String> {
        let mut given = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "region" => &mut given.region,
                "endpoint" => &mut given.endpoint,
                "deployment" => &mut given.deployment,
                "credentials_file" => &mut given.credentials_file,
                "profile" => &mut given.profile,
                _ => {
                    let known = "region, endpoint, deployment, credentials_file and profile";
                    return Err(format!(
                        "behind '?' stands something else than {known}; credentials are named by file or profile, never written here"
                    ));
                }
            };
            if place.replace(value).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(given)
    }
}

fn parse_key(text: &str) -> Result<(WrappingKeyName, Option<&str>), String> {
    let (owner, region, name) = if text.starts_with("arn:") {
        let (owner, region, name) = Owner::of_arn(text)
            .ok_or("an ARN of a key is arn:aws:kms:REGION:ACCOUNT:key/ID, and of an alias arn:aws:kms:REGION:ACCOUNT:alias/NAME")?;
        (Some(owner), Some(region), name)
    } else {
        (None, None, text)
    };
    let sound = match name.strip_prefix("alias/") {
        Some(alias) => !alias.is_empty() && alias.len() <= MAX_ALIAS && alias.bytes().all(alias_byte),
        None => is_key_id(name),
    };
    if !sound {
        return Err(format!("{EXPECTED}; KEY is alias/NAME (letters, digits, '/', '_' and '-'), a key id, or an ARN"));
    }
    Ok((WrappingKeyName { owner, name: name.to_owned() }, region))
}

fn check_regions(names: &[&str], arn_region: Option<&str>, key: &WrappingKeyName) -> Result<(), String> {
    for (at, name) in names.iter().enumerate() {
        if name.len() < 5 || name.len() > 32 || !name.bytes().all(lower_or_hyphen) {
            return Err(
                "a region is written eu-west-1, and several with commas: region=eu-west-1,eu-central-1".to_owned()
            );
        }
        if names.iter().take(at).any(|other| other == name) {
            return Err(format!("the region {name} is named twice"));
        }
    }
    if names.len() > MAX_REGIONS {
        return Err(format!("at most {MAX_REGIONS} regions can be named"));
    }
    if arn_region.is_some_and(|region| !names.contains(&region)) {
        return Err("the key's ARN is of a region that is not among those named".to_owned());
    }
    if names.len() > 1 && !key.is_alias() && !key.name.starts_with(MULTI_REGION) {
        let problem =
            "a key of one region cannot be used in another: take a multi-Region key (mrk-…), or name one region";
        return Err(problem.to_owned());
    }
    Ok(())
}

fn parse_endpoints(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|url| check_endpoint(url).map(|()| url.to_owned())).collect()
}

/// An endpoint gets signed requests and plaintexts of keys, so it is https, or this host.
fn check_endpoint(url: &str) -> Result<(), String> {
    let (plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err("an endpoint is a URL: https://HOST[:PORT]".to_owned()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("an endpoint is written without user and password: https://HOST[:PORT]".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or("an endpoint is https://HOST[:PORT]")?)),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let ip = host.parse::<IpAddr>().ok();
    let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !port || !(named || ip.is_some()) {
        return Err("an endpoint is https://HOST[:PORT], without path and query".to_owned());
    }
    let loopback = ip.map_or(host == "localhost", |ip| ip.is_loopback());
    if plain && !loopback {
        return Err("keys would travel in the clear: an endpoint is https://…; plain http is taken for this host only"
            .to_owned());
    }
    Ok(())
}

/// The URI as far as it can be repeated: what somebody wrote behind '?' by mistake may be a secret.
fn shown(uri: &str) -> String {
    let Some((key, query)) = uri.split_once('?') else {
        return uri.to_owned();
    };
    let harmless = |pair: &str| {
        let name = pair.split_once('=').map(|(name, _)| name);
        let known = name.is_some_and(|name| ["region", "deployment", "credentials_file", "profile"].contains(&name));
        known || name == Some("endpoint") && !pair.contains('@')
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        _ if harmless(pair) => pair.to_owned(),
        Some(("endpoint", _)) => "endpoint=…".to_owned(),
        _ => "…".to_owned(),
    });
    format!("{key}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// A UUID, or `mrk-` and 32 hexadecimal digits.
pub(super) fn is_key_id(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if let Some(digits) = text.strip_prefix(MULTI_REGION) {
        return digits.len() == 32 && hex(digits);
    }
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|part| hex(part))
}

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn alias_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_-".contains(&byte)
}

fn lower_or_hyphen(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// How the id of a multi-Region key begins.
pub(super) const MULTI_REGION: &str = "mrk-";
const EXPECTED: &str = "AWS KMS is awskms:KEY?region=REGION, with KEY as alias/NAME or a key id";
const DEFAULT_DEPLOYMENT: &str = "signet";
const DEFAULT_PROFILE: &str = "default";
const MAX_DEPLOYMENT: usize = 48;
const MAX_ALIAS: usize = 250;
const MAX_REGIONS: usize = 4;

#[cfg(test)]
mod tests;
