//! Access tokens of demo users, and the forms that exchange them, made beforehand.

use std::fs;
use std::path::Path;

use anyhow::Context;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::json;
use signet_model::jwk::key_id;
use zeroize::Zeroizing;

use crate::clock;
use crate::dev::Cluster;

/// Signs access tokens (RFC 9068) as the demo cluster's issuer, and wraps them into requests.
pub(crate) struct UserTokens {
    key: EcdsaKeyPair,
    /// Encoded.
    header: String,
    issuer: String,
    audience: String,
    scope: String,
    /// All of the form but the token, which comes last.
    form: String,
}

impl UserTokens {
    /// With the key that `signet dev` keeps in `dir`.
    pub(crate) fn open(dir: &Path, cluster: &Cluster) -> anyhow::Result<Self> {
        let path = dir.join(KEY_FILE);
        let pkcs8 = Zeroizing::new(
            fs::read(&path).with_context(|| format!("cannot read the demo issuer's key {}", path.display()))?,
        );
        Self::new(&pkcs8, cluster).with_context(|| format!("{} is no P-256 key in PKCS#8", path.display()))
    }

    fn new(pkcs8: &[u8], cluster: &Cluster) -> Option<Self> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        let spki = key.public_key().as_der().ok()?;
        let kid = format!("signet-demo-{}", key_id(spki.as_ref()));
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid }).to_string();
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
            ("audience", &cluster.audience),
            ("scope", cluster.scopes.first()?),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ]
        .map(|(name, value)| format!("{name}={}&", percent_encoded(value)));
        Some(Self {
            key,
            header: URL_SAFE_NO_PAD.encode(header),
            issuer: cluster.user_issuer.clone(),
            audience: format!("https://shop.{}", cluster.trust_domain),
            scope: cluster.scopes.join(" "),
            form: format!("{}subject_token=", form.concat()),
        })
    }

    /// Requests with `count` access tokens, each another one, good for `ttl_secs` from now.
    pub(crate) fn forms(&self, count: u64, ttl_secs: u64) -> anyhow::Result<Vec<Bytes>> {
        let now = clock::now().secs();
        (0..count)
            .map(|number| Ok(Bytes::from(format!("{}{}", self.form, self.sign(number, now, ttl_secs)?))))
            .collect()
    }

    /// The access token of user `number`. No two calls give the same token.
    fn sign(&self, number: u64, now: u64, ttl_secs: u64) -> anyhow::Result<String> {
        let mut id = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut id).ok().context("the system gave no random bytes")?;
        let claims = json!({
            "iss": self.issuer,
            "sub": format!("load-{number}"),
            "aud": self.audience,
            "client_id": "shop-web",
            "scope": self.scope,
            "iat": now,
            "exp": now.saturating_add(ttl_secs),
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature =
            self.key.sign(&SystemRandom::new(), token.as_bytes()).ok().context("signing an access token failed")?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

/// As in a form (WHATWG URL, application/x-www-form-urlencoded); encoding more than needed is harmless.
fn percent_encoded(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len() * 3), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// Where `signet dev` keeps the demo issuer's key, PKCS#8 DER.
const KEY_FILE: &str = "demo-issuer.key";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            trust_domain: "dev.local".parse().unwrap(),
            bundle: "/d/bundle.pem".into(),
            user_issuer: "http://127.0.0.1:4000".to_owned(),
            audience: "dev.local".to_owned(),
            scopes: vec!["orders.read".to_owned(), "orders write".to_owned()],
            nodes: Vec::new(),
        }
    }

    #[test]
    fn a_form_holds_a_token_that_verifies_and_says_what_the_demo_issuer_says() {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let tokens = UserTokens::new(pkcs8.as_ref(), &cluster()).unwrap();
        let form = String::from_utf8(tokens.forms(1, 60).unwrap()[0].to_vec()).unwrap();
        let (rest, token) = form.rsplit_once("&subject_token=").unwrap();
        assert!(rest.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&"), "{rest}");
        assert!(rest.contains("&audience=dev.local&scope=orders.read&"), "{rest}");

        let parts: Vec<_> = token.split('.').collect();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, tokens.key.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .unwrap();
        let json =
            |part: &str| serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(json(parts[0])["typ"], "at+jwt");
        assert!(json(parts[0])["kid"].as_str().unwrap().starts_with("signet-demo-"));
        let claims = json(parts[1]);
        assert_eq!(claims["iss"], "http://127.0.0.1:4000");
        assert_eq!(claims["aud"], "https://shop.dev.local");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let tokens = UserTokens::new(pkcs8.as_ref(), &cluster()).unwrap();
        let mut forms = tokens.forms(50, 60).unwrap();
        forms.extend(tokens.forms(50, 60).unwrap());
        assert_eq!(forms.iter().collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn refuses_a_file_that_is_no_key() {
        assert!(UserTokens::new(b"nonsense", &cluster()).is_none());
    }
}
