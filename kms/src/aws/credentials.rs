//! Who we are to AWS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_kms::config::{IdentityCache, SharedIdentityCache};
use tokio::sync::OnceCell;

use super::uri::CredentialsFrom;
use crate::private_file;

/// The provider that `from` names. `region` is where a web identity is exchanged.
pub(super) fn provider(from: &CredentialsFrom, region: &str) -> SharedCredentialsProvider {
    match from {
        CredentialsFrom::Surroundings { profile } => SharedCredentialsProvider::new(Surroundings {
            profile: profile.clone(),
            region: region.to_owned(),
            chain: OnceCell::new(),
        }),
        CredentialsFrom::File { path, profile } => {
            SharedCredentialsProvider::new(FromFile { path: path.clone(), profile: profile.clone() })
        }
    }
}

/// Holds credentials until shortly before they expire; those without an end for 15 minutes, so that a file that was
/// replaced is noticed.
pub(super) fn cache() -> SharedIdentityCache {
    IdentityCache::lazy().load_timeout(LOAD_TIMEOUT).buffer_time(RENEW_AHEAD).build()
}

/// Looks where AWS programs look. The chain is built when it is first asked, because that may read files and wait.
struct Surroundings {
    profile: Option<String>,
    region: String,
    chain: OnceCell<DefaultCredentialsChain>,
}

impl Surroundings {
    async fn credentials(&self) -> provider::Result {
        let chain = self.chain.get_or_init(async || {
            let builder = DefaultCredentialsChain::builder().region(Region::new(self.region.clone()));
            match &self.profile {
                Some(profile) => builder.profile_name(profile).build().await,
                None => builder.build().await,
            }
        });
        chain.await.provide_credentials().await
    }
}

impl ProvideCredentials for Surroundings {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// Reads a file each time it is asked.
#[derive(Debug)]
struct FromFile {
    path: PathBuf,
    profile: String,
}

impl ProvideCredentials for FromFile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        // A small local file, four times an hour: not worth a thread.
        let read = read(&self.path, &self.profile).map_err(CredentialsError::invalid_configuration);
        future::ProvideCredentials::ready(read)
    }
}

/// The credentials in the file at `path`, or what is wrong with it. Used to check it at start, too.
pub(super) fn read(path: &Path, profile: &str) -> Result<Credentials, String> {
    let shown = path.display();
    let bytes = private_file::read(path).map_err(|problem| format!("{shown} {problem}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} cannot be read as text"))?;
    parse(text, profile).ok_or_else(|| {
        format!(
            "{shown} holds no credentials of profile {profile:?}: below a line [{profile}] aws_access_key_id = … and aws_secret_access_key = … are expected, and aws_session_token = … for temporary ones"
        )
    })
}

fn parse(text: &str, profile: &str) -> Option<Credentials> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut here = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = section.trim() == profile;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| here) {
            let value = Some(value.trim()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Credentials::new(id?, secret?, token.map(str::to_owned), None, "credentials_file"))
}

/// Less than an attempt may take, so that it is said that it was the credentials that were waited for.
const LOAD_TIMEOUT: Duration = Duration::from_millis(1500);
/// More than the pause between two probes of a backend that works would be best; this is what temporary credentials
/// of the shortest kind allow.
const RENEW_AHEAD: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "# ours\n[other]\naws_access_key_id=A\naws_secret_access_key=B\n\n[default]\n aws_access_key_id = ID\naws_secret_access_key = SE=CRET\nregion = x\n[temporary]\naws_access_key_id = T\naws_secret_access_key = U\naws_session_token = V\n[half]\naws_access_key_id = T\naws_secret_access_key =\n";

    #[test]
    fn reads_the_named_profile() {
        let found = parse(TEXT, "default").unwrap();
        assert_eq!((found.access_key_id(), found.secret_access_key(), found.session_token()), ("ID", "SE=CRET", None));
        assert_eq!(parse(TEXT, "temporary").unwrap().session_token(), Some("V"));
        assert!(parse(TEXT, "half").is_none() && parse(TEXT, "none").is_none() && parse("", "default").is_none());
    }

    #[test]
    fn refuses_a_file_that_others_can_read_and_repeats_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        std::fs::write(&path, TEXT).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        let open = read(&path, "default").unwrap_err();
        assert!(open.contains("chmod 600"), "{open}");
        mode(0o600);
        assert!(read(&path, "default").is_ok());
        let half = read(&path, "half").unwrap_err();
        assert!(half.contains("[half]") && !half.contains("SE=CRET"), "{half}");
        assert!(read(&dir.path().join("none"), "default").unwrap_err().contains("cannot be opened"));
        assert!(read(dir.path(), "default").unwrap_err().contains("is not a file"));
    }
}
