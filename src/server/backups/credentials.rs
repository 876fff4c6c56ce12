//! Credentials of an S3-compatible store, in a file for the server's user alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusty_s3::Credentials;
use zeroize::Zeroizing;

/// Reads `aws_access_key_id`, `aws_secret_access_key` and perhaps `aws_session_token` from the file at `path`, the form of
/// AWS's own credentials file with one section.
///
/// # Errors
/// It cannot be read, others may read it, or a key is missing. Never shows what is in it.
pub(super) fn read(path: &Path) -> Result<Credentials, String> {
    let failed = |cause: &dyn std::fmt::Display| format!("backups.s3.credentials_file {}: {cause}", path.display());
    let mode = fs::metadata(path).map_err(|cause| failed(&cause))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failed(&"others may read it; run `chmod 600` on it, and get new credentials if they did"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|cause| failed(&cause))?);
    let value = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let needed = |key: &str| value(key).ok_or_else(|| failed(&format_args!("it has no line `{key} = …`")));
    let (id, secret) = (needed("aws_access_key_id")?, needed("aws_secret_access_key")?);
    Ok(match value("aws_session_token") {
        Some(token) => Credentials::new_with_token(id, secret, token),
        None => Credentials::new(id, secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_aws_writes_and_refuses_what_others_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs::write(&path, "[default]\naws_access_key_id = AKID\naws_secret_access_key=se=cret/+\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let credentials = read(&path).unwrap();
        assert_eq!((credentials.key(), credentials.secret(), credentials.token()), ("AKID", "se=cret/+", None));
        fs::write(&path, "aws_access_key_id = AKID\n# the secret is elsewhere: se/cret\n").unwrap();
        let told = read(&path).unwrap_err();
        assert!(
            told.contains("aws_secret_access_key") && !told.contains("AKID") && !told.contains("se/cret"),
            "{told}"
        );
    }
}
