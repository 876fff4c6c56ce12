//! The configuration of one node: a TOML file, read whole before anything is opened, every mistake reported at once.

mod admin;
mod algorithms;
mod backups;
mod disk;
mod grpc;
mod https;
mod keys;
mod limits;
mod log;
mod peer;
mod raft;
mod rotation;
mod trust_domain;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::admin::AdminConfig;
pub(crate) use self::backups::{BackupsConfig, PlaceConfig, S3Config};
pub(crate) use self::disk::DiskConfig;
pub(crate) use self::grpc::GrpcConfig;
pub(crate) use self::https::HttpsConfig;
pub(crate) use self::keys::{KeyBackend, KeysConfig};
pub(crate) use self::limits::LimitsConfig;
pub(crate) use self::log::{LogConfig, LogFormat};
pub(crate) use self::peer::PeerConfig;
pub(crate) use self::raft::RaftConfig;
pub(crate) use self::trust_domain::TrustDomainConfig;

/// What one node is told by its operator.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where everything this node keeps lies.
    pub(crate) data_dir: PathBuf,
    pub(crate) peer: PeerConfig,
    pub(crate) grpc: GrpcConfig,
    pub(crate) https: HttpsConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) keys: KeysConfig,
    /// Needed by `cluster init` only.
    pub(crate) trust_domain: Option<TrustDomainConfig>,
    pub(crate) log: LogConfig,
    /// No backups where it is missing.
    pub(crate) backups: Option<BackupsConfig>,
    pub(crate) disk: DiskConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) raft: RaftConfig,
}

/// Everything that is wrong with a configuration, each with its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    path: PathBuf,
    mistakes: Vec<String>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration {} cannot be used:", self.path.display())?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    data_dir: Option<PathBuf>,
    peer: peer::Raw,
    grpc: grpc::Raw,
    https: https::Raw,
    admin: admin::Raw,
    keys: keys::Raw,
    trust_domain: Option<trust_domain::Raw>,
    log: log::Raw,
    backups: Option<backups::Raw>,
    disk: disk::Raw,
    limits: limits::Raw,
    raft: raft::Raw,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it; the operator corrects the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |mistake: String| ConfigError { path: path.to_owned(), mistakes: vec![mistake] };
        let text = std::fs::read_to_string(path).map_err(|cause| fail(format!("cannot be read: {cause}")))?;
        Self::parse(&text).map_err(|mistakes| ConfigError { path: path.to_owned(), mistakes })
    }

    fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let document = toml::Deserializer::parse(text).map_err(|cause| vec![cause.to_string()])?;
        let raw: Raw = serde_ignored::deserialize(document, |key| {
            mistakes.add(&key.to_string(), "is not a known key; see docs/configuration.md for those there are");
        })
        .map_err(|cause| vec![cause.to_string()])?;
        let data_dir = mistakes.required("data_dir", raw.data_dir);
        let peer = raw.peer.check(&mut mistakes);
        let grpc = raw.grpc.check(&mut mistakes);
        let https = raw.https.check(&mut mistakes);
        let admin = raw.admin.check(&mut mistakes);
        let keys = raw.keys.check(&mut mistakes);
        let trust_domain = raw.trust_domain.map(|raw| raw.check(&mut mistakes));
        let log = raw.log.check(&mut mistakes);
        let backups = raw.backups.map(|raw| raw.check(&mut mistakes)).transpose_some();
        let disk = raw.disk.check(&mut mistakes);
        let limits = raw.limits.check(&mut mistakes);
        let raft = raw.raft.check(&mut mistakes);
        match (
            data_dir,
            peer,
            grpc,
            https,
            admin,
            keys,
            trust_domain.transpose_some(),
            log,
            backups,
            disk,
            limits,
            raft,
        ) {
            (
                Some(data_dir),
                Some(peer),
                Some(grpc),
                Some(https),
                Some(admin),
                Some(keys),
                Some(trust_domain),
                Some(log),
                Some(backups),
                Some(disk),
                Some(limits),
                Some(raft),
            ) if mistakes.0.is_empty() => {
                Ok(Self { data_dir, peer, grpc, https, admin, keys, trust_domain, log, backups, disk, limits, raft })
            }
            _ => Err(mistakes.0),
        }
    }
}

/// A section that may be absent is fine when it is absent, and must be whole when it is there.
trait TransposeSome<T> {
    fn transpose_some(self) -> Option<Option<T>>;
}

impl<T> TransposeSome<T> for Option<Option<T>> {
    fn transpose_some(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(value)) => Some(Some(value)),
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, key: &str, problem: impl fmt::Display) {
        self.0.push(format!("{key}: {problem}"));
    }

    fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(key, "is missing");
        }
        value
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, text: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        text.parse().map_err(|cause| self.add(key, format_args!("{text:?}: {cause}"))).ok()
    }

    fn listen(&mut self, key: &str, text: Option<String>, default: &str) -> Option<SocketAddr> {
        let text = text.unwrap_or_else(|| default.to_owned());
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.add(key, format_args!("{text:?} is not an IP address with a port, such as \"0.0.0.0:8081\""));
                None
            }
        }
    }

    fn duration(&mut self, key: &str, text: Option<String>, default: Duration) -> Option<Duration> {
        match text {
            None => Some(default),
            Some(text) => {
                crate::duration::parse(&text).map_err(|cause| self.add(key, format_args!("{text:?}: {cause}"))).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_model::algorithm::KeySettings;
    use signet_model::authority::AuthorityKind;

    use super::*;

    const WHOLE: &str = r#"
        data_dir = "/var/lib/signet"
        [peer]
        listen = "127.0.0.1:0"
        [keys]
        backend = "file:/etc/signet/kek"
        [trust_domain]
        name = "example.org"
        token_issuer = "https://tts.example.org"
    "#;

    #[test]
    fn a_whole_configuration_is_taken_with_its_defaults() {
        let config = Config::parse(WHOLE).unwrap();
        assert_eq!(config.grpc.listen.port(), 8081);
        assert_eq!(config.trust_domain.unwrap().issuance_lease, Duration::from_secs(30));
    }

    #[test]
    fn how_many_signatures_are_verified_is_a_choice_but_none_is_not() {
        let with = |every: &str| {
            let keys = format!("backend = \"file:/etc/signet/kek\"\nverify_every = {every}");
            Config::parse(&WHOLE.replace("backend = \"file:/etc/signet/kek\"", &keys))
        };
        assert_eq!(Config::parse(WHOLE).unwrap().keys.verify_every, 64);
        assert_eq!(with("1").unwrap().keys.verify_every, 1);
        for bad in ["0", "1025"] {
            let told = with(bad).unwrap_err().concat();
            assert!(told.contains("keys.verify_every: is not between 1"), "{told}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_key() {
        let text = WHOLE
            .replace("data_dir = \"/var/lib/signet\"", "datadir = \"x\"")
            .replace("127.0.0.1:0", "localhost")
            .replace("example.org\"\n        token", "Example.org\"\n        token")
            .replace("https://tts", "ftp://tts");
        let mistakes = Config::parse(&text).unwrap_err();
        for key in ["datadir:", "data_dir:", "peer.listen:", "trust_domain.name:", "trust_domain.token_issuer:"] {
            assert!(mistakes.iter().any(|m| m.starts_with(key)), "{key} not in {mistakes:?}");
        }
    }

    #[test]
    fn algorithms_are_chosen_for_each_kind_and_unfit_ones_refused() {
        let with = |section: &str| Config::parse(&format!("{WHOLE}\n[trust_domain.algorithms]\n{section}"));
        let keys = |section: &str| with(section).unwrap().trust_domain.unwrap().keys;
        assert_eq!(keys(""), KeySettings::default());
        let chosen = keys(
            "x509_root = \"rsa-4096\"\nx509_issuing = \"ecdsa-p384\"\njwt_svid = \"RS256\"\ntransaction_token = \"EdDSA\"",
        );
        let algorithms = AuthorityKind::ALL.iter().map(|kind| chosen.of(*kind).algorithm.name());
        assert_eq!(algorithms.collect::<Vec<_>>(), ["rsa-4096", "ecdsa-p384", "rsa-2048", "ed25519"]);
        for (section, mistake) in [
            (
                "jwt_svid = \"EdDSA\"",
                "trust_domain.algorithms.jwt_svid: \"EdDSA\" is not an algorithm of jwt-svid keys",
            ),
            ("x509_root = \"rsa-1024\"", "trust_domain.algorithms.x509_root: \"rsa-1024\" is not an algorithm"),
            ("transaction_token = \"none\"", "trust_domain.algorithms.transaction_token: \"none\" is not an algorithm"),
        ] {
            let mistakes = with(section).unwrap_err();
            assert!(mistakes.iter().any(|it| it.starts_with(mistake)), "{mistake} not in {mistakes:?}");
        }
    }

    #[test]
    fn where_a_kind_signs_is_memory_unless_it_is_said_otherwise() {
        let with = |section: &str| Config::parse(&format!("{WHOLE}\n{section}"));
        let keys = |section: &str| with(section).unwrap().trust_domain.unwrap().keys;
        let chosen = keys("[trust_domain.signing]\njwt_svid = \"kms\"\nx509_issuing = \"memory\"");
        let there: Vec<_> = AuthorityKind::ALL.iter().filter(|kind| chosen.of(**kind).in_backend).collect();
        assert_eq!(there, [&AuthorityKind::JwtSvid]);
        for (section, mistake) in [
            ("[trust_domain.signing]\njwt_svid = \"hsm\"", "trust_domain.signing.jwt_svid: \"hsm\" is neither"),
            (
                "[trust_domain.algorithms]\ntransaction_token = \"EdDSA\"\n[trust_domain.signing]\ntransaction_token = \"kms\"",
                "trust_domain.signing.transaction_token: key backends make no Ed25519 keys",
            ),
        ] {
            let mistakes = with(section).unwrap_err();
            assert!(mistakes.iter().any(|it| it.starts_with(mistake)), "{mistake} not in {mistakes:?}");
        }
    }

    #[test]
    fn backups_go_to_exactly_one_place_and_never_in_the_clear() {
        let with = |section: &str| Config::parse(&format!("{WHOLE}\n[backups]\n{section}"));
        assert!(Config::parse(WHOLE).unwrap().backups.is_none());
        let backups = with("schedule = \"6h\"\nfolder = \"/var/backups\"").unwrap().backups.unwrap();
        assert_eq!((backups.schedule, backups.keep), (Duration::from_hours(6), Some(28)));
        let backups = with("schedule = \"6h\"\nfolder = \"/b\"\nkeep_for = \"30d\"").unwrap().backups.unwrap();
        assert_eq!((backups.keep, backups.keep_for), (None, Some(Duration::from_hours(24 * 30))));
        let s3 = |endpoint: &str| {
            with(&format!(
                "schedule = \"6h\"\ns3 = {{ endpoint = \"{endpoint}\", bucket = \"b\", credentials_file = \"/c\" }}"
            ))
        };
        assert!(s3("https://s3.example.org").is_ok() && s3("http://127.0.0.1:9000").is_ok());
        for (section, mistake) in [
            ("schedule = \"6h\"", "backups: says not where to"),
            ("folder = \"/b\"", "backups.schedule: is missing"),
            ("schedule = \"1s\"\nfolder = \"/b\"", "backups.schedule: is shorter"),
            ("schedule = \"6h\"\nfolder = \"b\"", "backups.folder: is not an absolute path"),
            ("schedule = \"6h\"\nfolder = \"/b\"\nkeep = 0", "backups.keep: is 0"),
        ] {
            let mistakes = with(section).unwrap_err();
            assert!(mistakes.iter().any(|it| it.starts_with(mistake)), "{mistake} not in {mistakes:?}");
        }
        for endpoint in ["http://s3.example.org", "https://user:word@s3.example.org"] {
            assert!(s3(endpoint).unwrap_err()[0].starts_with("backups.s3.endpoint:"), "{endpoint}");
        }
    }

    #[test]
    fn unknown_keys_in_sections_are_named_with_their_path() {
        let mistakes = Config::parse(&format!("{WHOLE}\n[admin]\nallowed_uid = [0]")).unwrap_err();
        assert!(mistakes[0].starts_with("admin.allowed_uid: is not a known key"), "{mistakes:?}");
    }

    #[test]
    fn raft_keeps_the_time_of_one_of_two_profiles() {
        let parse = |text: &str| Config::parse(&format!("{WHOLE}\n{text}"));
        assert_eq!(parse("").unwrap().raft.timings, signet_raft::Timings::lan());
        assert_eq!(parse("[raft]\nprofile = \"wan\"").unwrap().raft.timings, signet_raft::Timings::wan());
        let mistakes = parse("[raft]\nprofile = \"fast\"").unwrap_err();
        assert!(mistakes[0].starts_with("raft.profile: \"fast\": is neither"), "{mistakes:?}");
    }

    #[test]
    fn contacts_of_peers_are_hosts_with_ports() {
        let parse = |contacts: &str| Config::parse(&WHOLE.replace("[peer]", &format!("[peer]\ncontacts = {contacts}")));
        assert_eq!(parse("[\"node2:8082\"]").unwrap().peer.contacts, ["node2:8082"]);
        let mistakes = parse("[\"node2\"]").unwrap_err();
        assert!(mistakes[0].starts_with("peer.contacts: \"node2\" is not host:port"), "{mistakes:?}");
    }

    #[test]
    fn watermarks_of_the_disk_are_checked_against_each_other() {
        let parse = |disk: &str| Config::parse(&format!("{WHOLE}\n[disk]\n{disk}"));
        assert_eq!(parse("").unwrap().disk, DiskConfig::default());
        parse("warn = \"20%\"\nhand_over = \"64MiB\"\nrefuse = \"32MiB\"\nballast = \"0B\"").unwrap();
        for (wrong, key) in
            [("warn = \"1%\"", "disk:"), ("refuse = \"0B\"", "disk:"), ("ballast = \"1 GB\"", "disk.ballast:")]
        {
            let mistakes = parse(wrong).unwrap_err();
            assert!(mistakes[0].starts_with(key), "{mistakes:?}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_line() {
        let mistakes = Config::parse("data_dir = 7").unwrap_err();
        assert!(mistakes[0].contains("line 1"), "{mistakes:?}");
    }
}
