//! The URI of a token and of the key-encryption key in it (RFC 7512).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Which token, which key-encryption key in it, which module reaches it, and where the PIN is.
///
/// `pkcs11:token=LABEL;object=KEY?module-path=PATH&pin-source=file:PATH`. A PIN is never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// What the token must say of itself. At least one of them is there.
    pub(super) token: TokenMatch,
    /// `CKA_LABEL` of the key-encryption key.
    pub(super) object: String,
    /// Its `CKA_ID`, where the label alone names more than one.
    pub(super) id: Option<Vec<u8>>,
    pub(super) module_path: PathBuf,
    pub(super) pin: PinSource,
}

/// What tells a token from the others of the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TokenMatch {
    pub(super) label: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) slot_id: Option<u64>,
}

/// Where the PIN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PinSource {
    File(PathBuf),
    /// A file of this name in the folder that the environment variable `CREDENTIALS_DIRECTORY` names.
    Credential(String),
}

impl Pkcs11Uri {
    /// Parses what stands behind `pkcs11:`.
    ///
    /// # Errors
    /// What is wrong and what to write instead. Says nothing of values, one of which may be a PIN at a wrong place.
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        if rest.contains("pin-value") {
            return Err(NO_PIN.to_owned());
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Draft::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            uri.path_attribute(part)?;
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            uri.query_attribute(part)?;
        }
        uri.finish()
    }

    /// The URI without its query: what it names, not how that is reached.
    pub(crate) fn name(&self) -> String {
        let TokenMatch { label, serial, manufacturer, model, slot_id } = &self.token;
        let mut text = String::from("pkcs11:");
        for (name, value) in [("token", label), ("serial", serial), ("manufacturer", manufacturer), ("model", model)] {
            if let Some(value) = value {
                let _ = write!(text, "{name}={};", encode(value.as_bytes()));
            }
        }
        if let Some(slot) = slot_id {
            let _ = write!(text, "slot-id={slot};");
        }
        let _ = write!(text, "object={}", encode(self.object.as_bytes()));
        if let Some(id) = &self.id {
            let _ = write!(text, ";id={}", encode(id));
        }
        text
    }
}

impl std::fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = |path: &Path| encode(path.as_os_str().as_encoded_bytes());
        let pin = match &self.pin {
            PinSource::File(file) => format!("file:{}", path(file)),
            PinSource::Credential(name) => format!("credential:{}", encode(name.as_bytes())),
        };
        write!(f, "{}?module-path={}&pin-source={pin}", self.name(), path(&self.module_path))
    }
}

/// A URI of which not all parts are read yet.
#[derive(Default)]
struct Draft {
    token: TokenMatch,
    object: Option<String>,
    id: Option<Vec<u8>>,
    module_path: Option<PathBuf>,
    pin: Option<PinSource>,
}

impl Draft {
    fn path_attribute(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part.split_once('=').ok_or("each part between semicolons must be NAME=VALUE")?;
        let token = &mut self.token;
        match name {
            "token" => set(&mut token.label, name, text(name, value)?),
            "serial" => set(&mut token.serial, name, text(name, value)?),
            "manufacturer" => set(&mut token.manufacturer, name, text(name, value)?),
            "model" => set(&mut token.model, name, text(name, value)?),
            "slot-id" => {
                let slot = value.parse().map_err(|_| "slot-id must be a number")?;
                set(&mut token.slot_id, name, slot)
            }
            "object" => set(&mut self.object, name, text(name, value)?),
            "id" => set(&mut self.id, name, decode(value).filter(|id| !id.is_empty()).ok_or_else(|| encoding(name))?),
            "type" if value == "secret-key" => Ok(()),
            "type" => Err("the object is the key-encryption key: leave type out, or write type=secret-key".to_owned()),
            "module-path" | "module-name" | "pin-source" => Err(format!("{name} belongs behind the question mark")),
            _ => Err(format!("the attribute {:?} is not known here: {EXPECTED}", shown(name))),
        }
    }

    fn query_attribute(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part.split_once('=').ok_or("each part between ampersands must be NAME=VALUE")?;
        match name {
            "module-path" => {
                let path = PathBuf::from(text(name, value)?);
                if !path.is_absolute() {
                    return Err("module-path must be an absolute path, so that it cannot mean another file".to_owned());
                }
                set(&mut self.module_path, name, path)
            }
            "pin-source" => set(&mut self.pin, name, pin_source(&text(name, value)?)?),
            "module-name" => {
                Err("module-name says too little of where the module is: write module-path=PATH".to_owned())
            }
            "token" | "serial" | "object" | "id" => Err(format!("{name} belongs before the question mark")),
            _ => Err(format!("the attribute {:?} is not known here: {EXPECTED}", shown(name))),
        }
    }

    fn finish(self) -> Result<Pkcs11Uri, String> {
        let missing = |what: &str| format!("{what} is missing: {EXPECTED}");
        if self.token == TokenMatch::default() {
            return Err(missing("token=LABEL or serial=NUMBER"));
        }
        Ok(Pkcs11Uri {
            token: self.token,
            object: self.object.ok_or_else(|| missing("object=LABEL of the key-encryption key"))?,
            id: self.id,
            module_path: self.module_path.ok_or_else(|| missing("module-path=PATH"))?,
            pin: self.pin.ok_or_else(|| missing("pin-source=file:PATH"))?,
        })
    }
}

fn set<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() { Err(format!("{name} stands there twice")) } else { Ok(()) }
}

fn pin_source(source: &str) -> Result<PinSource, String> {
    if let Some(name) = source.strip_prefix("credential:") {
        let one_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        return if one_name {
            Ok(PinSource::Credential(name.to_owned()))
        } else {
            Err("behind pin-source=credential: the name of a credential is expected".to_owned())
        };
    }
    let path = source.strip_prefix("file:").unwrap_or(source);
    if path.starts_with("//") || !path.starts_with('/') {
        // Neither shown nor guessed at: it could be the PIN itself.
        return Err("pin-source must be file:/PATH or credential:NAME, never the PIN itself".to_owned());
    }
    Ok(PinSource::File(PathBuf::from(path)))
}

/// A value as text: not empty, without control characters.
fn text(name: &str, value: &str) -> Result<String, String> {
    let decoded = decode(value).and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .filter(|text| !text.is_empty() && text.len() <= MAX_VALUE_BYTES && !text.chars().any(char::is_control))
        .ok_or_else(|| encoding(name))
}

fn encoding(name: &str) -> String {
    format!("the value of {name} must be text of 1 to {MAX_VALUE_BYTES} bytes, with %XX for what RFC 7512 reserves")
}

/// A name that may have come from anywhere, as short text. Without digits, which could be a PIN at a wrong place.
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphabetic() || *c == '-').take(24).collect()
}

/// Takes `%XX` for a byte, and every other character for itself.
fn decode(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digit = |at: usize| digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = behind;
    }
    Some(bytes)
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

const NO_PIN: &str = "a PIN has no place in a URI, which is shown in logs and status: write it into a file of mode 0600 \
                      and name that file as pin-source=file:/PATH; then have the PIN changed";
const EXPECTED: &str = "pkcs11:token=LABEL;object=KEY?module-path=/PATH/MODULE.so&pin-source=file:/PATH is expected";
/// More than any path or label has.
const MAX_VALUE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str =
        "token=Signet%20HSM;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin";

    #[test]
    fn reads_a_token_its_key_its_module_and_where_the_pin_is() {
        let uri = Pkcs11Uri::parse(GOOD).unwrap();
        assert_eq!(uri.token.label.as_deref(), Some("Signet HSM"));
        assert_eq!(uri.object, "kek");
        assert_eq!(uri.module_path, Path::new("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(uri.pin, PinSource::File("/etc/pin".into()));
        assert_eq!(uri.name(), "pkcs11:token=Signet%20HSM;object=kek");
        assert_eq!(uri.to_string(), format!("pkcs11:{GOOD}"));

        let all = "serial=12;manufacturer=M;model=X;slot-id=7;object=k;id=%00%ff;type=secret-key\
                   ?pin-source=credential:pin&module-path=/m.so";
        let uri = Pkcs11Uri::parse(all).unwrap();
        assert_eq!((uri.id.as_deref(), uri.token.slot_id), (Some(&[0, 0xff][..]), Some(7)));
        assert_eq!(uri.pin, PinSource::Credential("pin".to_owned()));
        assert_eq!(Pkcs11Uri::parse(uri.to_string().strip_prefix("pkcs11:").unwrap()).unwrap(), uri);
    }

    #[test]
    fn refuses_what_it_does_not_know_and_says_what_to_write() {
        for (text, fix) in [
            ("", "token=LABEL or serial=NUMBER is missing"),
            ("object=k?module-path=/m&pin-source=/p", "token=LABEL or serial=NUMBER is missing"),
            ("token=t?module-path=/m&pin-source=/p", "object=LABEL of the key-encryption key is missing"),
            ("token=t;object=k?pin-source=/p", "module-path=PATH is missing"),
            ("token=t;object=k?module-path=/m", "pin-source=file:PATH is missing"),
            ("token=t;object=k?module-path=m.so&pin-source=/p", "absolute path"),
            ("token=t;token=u;object=k?module-path=/m&pin-source=/p", "token stands there twice"),
            ("token=t;object=k;type=private?module-path=/m&pin-source=/p", "type=secret-key"),
            ("token=t;object=k;pin-source=/p?module-path=/m", "behind the question mark"),
            ("token=t?object=k&module-path=/m&pin-source=/p", "before the question mark"),
            ("token=t;object=k?module-name=m&pin-source=/p", "module-path=PATH"),
            ("token=%zz;object=k?module-path=/m&pin-source=/p", "%XX"),
            ("token=%ff;object=k?module-path=/m&pin-source=/p", "%XX"),
            ("token;object=k?module-path=/m&pin-source=/p", "NAME=VALUE"),
            ("slot-id=x;object=k?module-path=/m&pin-source=/p", "must be a number"),
            ("colour=red;token=t;object=k?module-path=/m&pin-source=/p", "\"colour\" is not known"),
            ("token=t;object=k?module-path=/m&pin-source=credential:../pin", "name of a credential"),
        ] {
            let problem = Pkcs11Uri::parse(text).unwrap_err();
            assert!(problem.contains(fix), "{text}: {problem}");
        }
    }

    #[test]
    fn never_shows_a_pin_that_was_written_into_it() {
        for text in [
            "token=t;object=k?module-path=/m&pin-value=48151623",
            "token=t;object=k;pin-value=48151623?module-path=/m",
            "token=t;object=k?module-path=/m&pin-source=48151623",
            "token=t;object=k?module-path=/m&pin=48151623",
        ] {
            let problem = Pkcs11Uri::parse(text).unwrap_err();
            assert!(!problem.contains("48151623"), "{problem}");
            assert!(problem.contains("pin-source") || problem.contains("\"pin\""), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_text_without_falling_over(text in any::<String>()) {
            if let Ok(uri) = Pkcs11Uri::parse(&text) {
                let shown = uri.to_string();
                prop_assert_eq!(Pkcs11Uri::parse(shown.strip_prefix("pkcs11:").unwrap()), Ok(uri));
            }
        }

        #[test]
        fn a_uri_that_was_put_together_of_parts_is_taken_or_refused_and_never_shows_a_pin(
            parts in prop::collection::vec(
                prop::sample::select(&["token=", "object=", "serial=", "id=", "slot-id=", "module-path=", "pin-value=",
                    "pin-source=", "=", ";", "&", "?", "%", "%41", "/m", "file:/p", "7", "48151623", "\u{0}", "ä"][..]),
                0..16,
            )
        ) {
            let text = parts.concat();
            match Pkcs11Uri::parse(&text) {
                Ok(uri) => {
                    let shown = uri.to_string();
                    prop_assert_eq!(Pkcs11Uri::parse(shown.strip_prefix("pkcs11:").unwrap()), Ok(uri));
                    prop_assert!(!text.contains("pin-value="), "a PIN was taken: {}", text);
                }
                Err(problem) => prop_assert!(!problem.contains("48151623"), "{}", problem),
            }
        }

        #[test]
        fn every_label_survives_its_encoding(token in "[^\u{0}-\u{1f}\u{7f}-\u{9f}]{1,40}", id in prop::collection::vec(any::<u8>(), 1..20)) {
            let uri = Pkcs11Uri {
                token: TokenMatch { label: Some(token.clone()), ..TokenMatch::default() },
                object: token,
                id: Some(id),
                module_path: "/m.so".into(),
                pin: PinSource::File("/pin file".into()),
            };
            let shown = uri.to_string();
            prop_assert_eq!(Pkcs11Uri::parse(shown.strip_prefix("pkcs11:").unwrap()), Ok(uri));
        }
    }
}
