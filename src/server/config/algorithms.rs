//! `[trust_domain.algorithms]` and `[trust_domain.signing]`: what keys are, and where they sign. Replicated with the rest
//! of the trust domain's settings.

use serde::Deserialize;
use signet_model::algorithm::{KeyAlgorithm, KeySettings};
use signet_model::authority::AuthorityKind;

use super::Mistakes;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Algorithms {
    x509_root: Option<String>,
    x509_issuing: Option<String>,
    jwt_svid: Option<String>,
    transaction_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Signing {
    x509_issuing: Option<String>,
    jwt_svid: Option<String>,
    transaction_token: Option<String>,
}

impl Algorithms {
    /// What keys are to be, and where they sign.
    pub(super) fn check(self, signing: Signing, mistakes: &mut Mistakes) -> KeySettings {
        let mut keys = KeySettings::default();
        for (name, kind, text) in [
            ("x509_root", AuthorityKind::X509Root, self.x509_root),
            ("x509_issuing", AuthorityKind::X509Issuing, self.x509_issuing),
            ("jwt_svid", AuthorityKind::JwtSvid, self.jwt_svid),
            ("transaction_token", AuthorityKind::TransactionToken, self.transaction_token),
        ] {
            let Some(text) = text else { continue };
            match KeyAlgorithm::parse_for(kind, &text) {
                Ok(algorithm) => keys.of_mut(kind).algorithm = algorithm,
                Err(cause) => {
                    mistakes.add(&format!("trust_domain.algorithms.{name}"), format_args!("{text:?} is {cause}"));
                }
            }
        }
        signing.check(&mut keys, mistakes);
        keys
    }
}

impl Signing {
    fn check(self, keys: &mut KeySettings, mistakes: &mut Mistakes) {
        for (name, kind, text) in [
            ("x509_issuing", AuthorityKind::X509Issuing, self.x509_issuing),
            ("jwt_svid", AuthorityKind::JwtSvid, self.jwt_svid),
            ("transaction_token", AuthorityKind::TransactionToken, self.transaction_token),
        ] {
            let key = format!("trust_domain.signing.{name}");
            match text.as_deref() {
                None | Some("memory") => {}
                Some("kms") => keys.of_mut(kind).in_backend = true,
                Some(text) => mistakes.add(&key, format_args!("{text:?} is neither \"memory\" nor \"kms\"")),
            }
            if let Err(cause) = keys.of(kind).check(kind) {
                mistakes.add(&key, cause);
            }
        }
    }
}
