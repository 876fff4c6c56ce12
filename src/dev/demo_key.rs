//! The demo issuer's key, marked so that no other cluster accepts it.

use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use signet_model::jwk::{PublicJwk, key_id};
use zeroize::Zeroizing;

use crate::cli::{Failure, write_secret};

/// A P-256 key that signs demo users' tokens.
pub(super) struct DemoKey {
    pair: EcdsaKeyPair,
    jwk: PublicJwk,
    kid: String,
}

impl DemoKey {
    /// The key in `folder`, made if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds no key.
    pub(super) fn open_or_make(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        if !path.exists() {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| Failure::new("io", "cannot make the demo issuer's key"))?;
            write_secret(&path, pkcs8.as_ref())?;
        }
        Self::open(folder)
    }

    /// The key in `folder`.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let bytes = Zeroizing::new(fs::read(&path).map_err(|cause| Failure::file("read", &path, cause))?);
        Self::from_pkcs8(&bytes).ok_or_else(|| Failure::file("use", &path, "this is no P-256 key in PKCS#8"))
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        let spki = pair.public_key().as_der().ok()?;
        let jwk = PublicJwk::from_spki(spki.as_ref()).ok()?;
        let kid = format!("{KID_PREFIX}{}", key_id(spki.as_ref()));
        Some(Self { pair, jwk, kid })
    }

    /// The public half as a JWK Set, marked as the demo key of this cluster.
    pub(super) fn jwks(&self, cluster_id: &str) -> Value {
        json!({ "keys": [{
            "kty": self.jwk.kty,
            "crv": self.jwk.crv,
            "x": self.jwk.x,
            "y": self.jwk.y,
            "kid": self.kid,
            "alg": "ES256",
            "use": "sig",
            "signet_demo": cluster_id,
        }]})
    }

    /// Signs claims into a compact JWS (RFC 7515 §7.1) with `typ` `at+jwt` (RFC 9068 §2.1).
    ///
    /// # Errors
    /// The library refused to sign.
    pub(super) fn sign_access_token(&self, claims: &impl Serialize) -> Result<Zeroizing<String>, Failure> {
        let failed =
            |cause: &dyn std::fmt::Display| Failure::new("internal", format!("cannot sign an access token: {cause}"));
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.kid });
        let claims = serde_json::to_vec(claims).map_err(|cause| failed(&cause))?;
        let mut token = Zeroizing::new(String::with_capacity(1024));
        URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|cause| failed(&cause))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

const FILE: &str = "demo-issuer.key";
/// Clusters know demo keys by it.
const KID_PREFIX: &str = "signet-demo-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_verifies_with_the_published_key_in_another_library() {
        let dir = tempfile::tempdir().unwrap();
        let key = DemoKey::open_or_make(dir.path()).unwrap();
        let token = key.sign_access_token(&json!({"sub": "alice", "exp": 4_102_444_800_u64, "aud": "x"})).unwrap();
        let jwks = key.jwks("00112233445566778899aabbccddeeff");
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.clone()).unwrap();
        let header = jsonwebtoken::decode_header(token.as_bytes()).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let kid = header.kid.unwrap();
        assert!(kid.starts_with("signet-demo-"), "{kid}");
        let decoding = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&["x"]);
        let decoded = jsonwebtoken::decode::<Value>(token.as_bytes(), &decoding, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "alice");
        assert_eq!(jwks["keys"][0]["signet_demo"], "00112233445566778899aabbccddeeff");
        assert_eq!(jwks["keys"][0].get("d"), None);
    }

    #[test]
    fn the_key_stays_the_same_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DemoKey::open_or_make(dir.path()).unwrap().kid;
        assert_eq!(DemoKey::open_or_make(dir.path()).unwrap().kid, first);
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
