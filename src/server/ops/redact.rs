//! A configuration without what nobody else should read.
//!
//! Secrets are in files that a configuration names, so there is nothing to leave out of a proper one. This is for what an
//! operator wrote where it does not belong, and for keys to come.

use toml::{Table, Value};

/// The configuration with every value left out that may be a secret. A text that is no TOML is left out whole.
pub(super) fn config(text: &str) -> String {
    match text.parse::<Table>() {
        Ok(mut table) => {
            clean(&mut table);
            toml::to_string(&table).unwrap_or_else(|cause| format!("# cannot be shown: {cause}\n"))
        }
        // Neither the text nor what the parser quotes of it.
        Err(_) => "# left out: it cannot be parsed; see `signet config check`\n".to_owned(),
    }
}

fn clean(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        clean_value(key, value);
    }
}

fn clean_value(key: &str, value: &mut Value) {
    match value {
        Value::Table(inner) => clean(inner),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_value(key, item)),
        Value::String(text) if is_secret(key, text) => LEFT_OUT.clone_into(text),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// By its name, unless it says where a secret is instead of what it is; or because it is a URL with a password in it.
fn is_secret(key: &str, text: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let named = SECRETS.iter().any(|word| key.contains(word)) && !NO_SECRETS.contains(&key.as_str());
    let place = key.ends_with("_file") || key.ends_with("_path") || text.starts_with('/');
    let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest));
    (named && !place) || authority.is_some_and(|authority| authority.contains('@')) || text.contains("PRIVATE KEY")
}

const LEFT_OUT: &str = "(left out)";
const SECRETS: [&str; 7] = ["secret", "password", "passphrase", "token", "credential", "pin", "key"];
/// Names that only sound like it.
const NO_SECRETS: [&str; 1] = ["token_issuer"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_and_secrets_go() {
        let text = r#"
            data_dir = "/var/lib/signet"
            [keys]
            backend = "file:/etc/signet/kek?passphrase_file=/etc/signet/pass"
            [trust_domain]
            name = "example.org"
            token_issuer = "https://tts.example.org"
            [snapshots]
            access_key = "AKIA"
            secret_key_file = "/etc/signet/s3"
            secret_key = "wJalr"
            url = "https://user:hunter2@s3.example.org/bucket"
            tokens = ["one", "two"]
            pem = "-----BEGIN PRIVATE KEY-----"
        "#;
        let shown = config(text);
        for kept in ["/var/lib/signet", "file:/etc/signet/kek", "tts.example.org", "/etc/signet/s3"] {
            assert!(shown.contains(kept), "{kept} is not in {shown}");
        }
        for gone in ["AKIA", "wJalr", "hunter2", "one", "BEGIN"] {
            assert!(!shown.contains(gone), "{gone} is in {shown}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_left_out_whole() {
        assert!(!config("password = hunter2").contains("hunter2"));
    }
}
