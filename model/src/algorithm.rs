//! What an authority's key may be, and what is chosen for each kind.
//!
//! Change log of the stored form:
//! - 2026-11-22: [`KeyAlgorithm`], [`KeyChoice`], [`KeySettings`]. A trust domain without them has ECDSA P-256 everywhere.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::authority::{Authority, AuthorityKind};
use crate::command::Settings;
use crate::jwks;
use crate::x509::{PublicKeyKind, SubjectPublicKey};

/// The kind of an authority's key, and with it the only signature that it makes. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 over SHA-256: `ES256`.
    #[n(0)]
    EcdsaP256,
    /// ECDSA on P-384 over SHA-384: `ES384`.
    #[n(1)]
    EcdsaP384,
    /// RSA of 2048 bits and exponent 65537, PKCS#1 v1.5 over SHA-256: `RS256`.
    #[n(2)]
    Rsa2048,
    /// RSA of 4096 bits, otherwise as [`Rsa2048`](Self::Rsa2048).
    #[n(3)]
    Rsa4096,
    /// Ed25519: `EdDSA`.
    #[n(4)]
    Ed25519,
}

/// What the keys of one kind are to be. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct KeyChoice {
    /// The algorithm of new keys.
    #[n(0)]
    pub algorithm: KeyAlgorithm,
    /// New keys are made in a key backend, which makes every signature; else in nodes' memory. A root's key is in a
    /// backend whatever this says.
    #[n(1)]
    pub in_backend: bool,
}

/// What the keys of every kind are to be. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct KeySettings {
    /// X.509 roots.
    #[n(0)]
    pub x509_root: KeyChoice,
    /// X.509 issuing CAs.
    #[n(1)]
    pub x509_issuing: KeyChoice,
    /// Keys of JWT-SVIDs.
    #[n(2)]
    pub jwt_svid: KeyChoice,
    /// Keys of transaction tokens.
    #[n(3)]
    pub transaction_token: KeyChoice,
}

/// A choice that cannot be. The text says what can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitChoice {
    /// No algorithm of that name, or not one for this kind.
    #[error("{}", unfit_algorithm(*.0))]
    Algorithm(AuthorityKind),
    /// An Ed25519 key in a backend.
    #[error(
        "key backends make no Ed25519 keys: with signing = \"kms\", transaction tokens are signed with ES256, ES384 or RS256"
    )]
    InBackend,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa4096, Self::Ed25519];

    /// `ecdsa-p256`, `ecdsa-p384`, `rsa-2048`, `rsa-4096`, `ed25519`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        }
    }

    /// What a key of this kind signs tokens with.
    #[must_use]
    pub const fn jws(self) -> jwks::Algorithm {
        match self {
            Self::EcdsaP256 => jwks::Algorithm::Es256,
            Self::EcdsaP384 => jwks::Algorithm::Es384,
            Self::Rsa2048 | Self::Rsa4096 => jwks::Algorithm::Rs256,
            Self::Ed25519 => jwks::Algorithm::EdDsa,
        }
    }

    /// The algorithms that the keys of `kind` may have, the default first.
    ///
    /// JWT-SVIDs are never signed with EdDSA: JWT-SVID §2.1 does not list it.
    #[must_use]
    pub const fn of_kind(kind: AuthorityKind) -> &'static [Self] {
        match kind {
            AuthorityKind::X509Root | AuthorityKind::X509Issuing => {
                &[Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa4096]
            }
            AuthorityKind::JwtSvid => &[Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048],
            AuthorityKind::TransactionToken => &[Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Ed25519],
        }
    }

    /// As people write it for keys of `kind`: as tokens name it (`ES256`) or as certificates' keys are called
    /// (`ecdsa-p256`).
    #[must_use]
    pub const fn name_for(self, kind: AuthorityKind) -> &'static str {
        match kind {
            AuthorityKind::X509Root | AuthorityKind::X509Issuing => self.name(),
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => self.jws().name(),
        }
    }

    /// The algorithm that `text` names, for keys of `kind`.
    ///
    /// # Errors
    /// [`UnfitChoice::Algorithm`]: it names none, or one that keys of this kind do not have.
    pub fn parse_for(kind: AuthorityKind, text: &str) -> Result<Self, UnfitChoice> {
        let found = Self::of_kind(kind).iter().copied().find(|algorithm| algorithm.name_for(kind) == text);
        found.ok_or(UnfitChoice::Algorithm(kind))
    }

    /// The kind of the key with this `SubjectPublicKeyInfo` (DER), if it is one of ours.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Option<Self> {
        let key = SubjectPublicKey::from_spki(spki).ok()?;
        match key.kind() {
            PublicKeyKind::P256 => Some(Self::EcdsaP256),
            PublicKeyKind::P384 => Some(Self::EcdsaP384),
            PublicKeyKind::Ed25519 => Some(Self::Ed25519),
            PublicKeyKind::Rsa => match key.rsa_bits()? {
                2048 => Some(Self::Rsa2048),
                4096 => Some(Self::Rsa4096),
                _ => None,
            },
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for KeyChoice {
    fn default() -> Self {
        Self { algorithm: KeyAlgorithm::EcdsaP256, in_backend: false }
    }
}

impl KeyChoice {
    /// Whether keys of `kind` can be like this.
    ///
    /// # Errors
    /// [`UnfitChoice`].
    pub fn check(self, kind: AuthorityKind) -> Result<(), UnfitChoice> {
        if !KeyAlgorithm::of_kind(kind).contains(&self.algorithm) {
            return Err(UnfitChoice::Algorithm(kind));
        }
        if self.in_backend && self.algorithm == KeyAlgorithm::Ed25519 { Err(UnfitChoice::InBackend) } else { Ok(()) }
    }
}

impl KeySettings {
    /// What keys of `kind` are to be.
    #[must_use]
    pub const fn of(&self, kind: AuthorityKind) -> KeyChoice {
        match kind {
            AuthorityKind::X509Root => self.x509_root,
            AuthorityKind::X509Issuing => self.x509_issuing,
            AuthorityKind::JwtSvid => self.jwt_svid,
            AuthorityKind::TransactionToken => self.transaction_token,
        }
    }

    /// The same, to be changed.
    pub const fn of_mut(&mut self, kind: AuthorityKind) -> &mut KeyChoice {
        match kind {
            AuthorityKind::X509Root => &mut self.x509_root,
            AuthorityKind::X509Issuing => &mut self.x509_issuing,
            AuthorityKind::JwtSvid => &mut self.jwt_svid,
            AuthorityKind::TransactionToken => &mut self.transaction_token,
        }
    }
}

impl Settings {
    /// What a new key of `kind` is to be: as chosen, or the default.
    #[must_use]
    pub fn key_choice(&self, kind: AuthorityKind) -> KeyChoice {
        self.keys.unwrap_or_default().of(kind)
    }
}

impl Authority {
    /// What its key is. `None`: a kind that this program does not know.
    #[must_use]
    pub fn algorithm(&self) -> Option<KeyAlgorithm> {
        KeyAlgorithm::of_public_key(&self.public_key)
    }
}

fn unfit_algorithm(kind: AuthorityKind) -> String {
    let names: Vec<&str> = KeyAlgorithm::of_kind(kind).iter().map(|algorithm| algorithm.name_for(kind)).collect();
    let names = match names.as_slice() {
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
        [] => String::new(),
    };
    let why = match kind {
        AuthorityKind::JwtSvid => " (SPIFFE has no EdDSA for JWT-SVIDs: JWT-SVID §2.1)",
        AuthorityKind::X509Root | AuthorityKind::X509Issuing | AuthorityKind::TransactionToken => "",
    };
    format!("not an algorithm of {kind} keys: {names} is expected{why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::{from_bytes, to_bytes};

    #[test]
    fn every_choice_reads_back_from_its_name_and_nothing_else_does() {
        for &kind in AuthorityKind::ALL {
            for &algorithm in KeyAlgorithm::ALL {
                let allowed = KeyAlgorithm::of_kind(kind).contains(&algorithm);
                let choice = KeyChoice { algorithm, in_backend: false };
                assert_eq!(choice.check(kind).is_ok(), allowed, "{kind} {algorithm}");
                if allowed {
                    assert_eq!(KeyAlgorithm::parse_for(kind, algorithm.name_for(kind)), Ok(algorithm));
                }
            }
            assert_eq!(KeyAlgorithm::of_kind(kind)[0], KeyChoice::default().algorithm);
            assert!(KeyAlgorithm::parse_for(kind, "none").is_err());
        }
    }

    #[test]
    fn refuses_eddsa_for_jwt_svids_and_says_what_is_left() {
        let refused = KeyAlgorithm::parse_for(AuthorityKind::JwtSvid, "EdDSA").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "not an algorithm of jwt-svid keys: ES256, ES384 or RS256 is expected (SPIFFE has no EdDSA for JWT-SVIDs: JWT-SVID §2.1)"
        );
        let in_backend = KeyChoice { algorithm: KeyAlgorithm::Ed25519, in_backend: true };
        assert_eq!(in_backend.check(AuthorityKind::TransactionToken), Err(UnfitChoice::InBackend));
    }

    #[test]
    fn choices_load_for_ever() {
        let settings = KeySettings {
            x509_root: KeyChoice { algorithm: KeyAlgorithm::EcdsaP384, in_backend: false },
            x509_issuing: KeyChoice { algorithm: KeyAlgorithm::Rsa4096, in_backend: true },
            jwt_svid: KeyChoice { algorithm: KeyAlgorithm::Rsa2048, in_backend: false },
            transaction_token: KeyChoice { algorithm: KeyAlgorithm::Ed25519, in_backend: false },
        };
        let frozen = [0x84, 0x82, 1, 0xf4, 0x82, 3, 0xf5, 0x82, 2, 0xf4, 0x82, 4, 0xf4];
        assert_eq!(to_bytes(&settings), frozen);
        assert_eq!(from_bytes::<KeySettings>(&frozen).unwrap(), settings);
        assert_eq!(KeySettings::default().of(AuthorityKind::JwtSvid), KeyChoice::default());
    }
}
