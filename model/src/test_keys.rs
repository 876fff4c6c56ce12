//! Keys and tokens for tests: signed as whoever attacks us would sign them.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::jwks::{Algorithm, DemoRule, KeySet};
use crate::svid::JwtAuthority;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims as JSON text of any kind, and a signature of any kind.
pub(crate) fn compact(header: &str, claims: &str, signature: &[u8]) -> String {
    format!("{}.{}.{}", b64(header), b64(claims), b64(signature))
}

pub(crate) struct TestKey {
    pub(crate) kid: String,
    pair: EcdsaKeyPair,
}

impl TestKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) })
    }

    pub(crate) fn authority(&self) -> JwtAuthority {
        JwtAuthority { public_key: self.spki(), key_id: self.kid.clone(), expires_at_secs: 0, tainted: false }
    }

    pub(crate) fn raw_signature(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// Signs whatever texts these are.
    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(claims));
        let signature = self.raw_signature(input.as_bytes());
        format!("{input}.{}", b64(signature))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn header(&self, typ: &str) -> Value {
        json!({ "alg": "ES256", "kid": self.kid, "typ": typ })
    }
}

pub(crate) fn no_demo() -> DemoRule {
    DemoRule { demo: false, cluster_id: "c".repeat(32) }
}

pub(crate) fn key_set(jwks: &[Value], algorithms: &[Algorithm]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes(), algorithms, &no_demo()).unwrap()
}

/// An Ed25519 key: its JWK, and a token signed by it.
pub(crate) fn ed25519(kid: &str, header: &Value, claims: &Value) -> (Value, String) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let token = format!("{input}.{}", b64(pair.sign(input.as_bytes())));
    (json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key()) }), token)
}

/// An RSA key of 2048 bits: modulus and exponent, and what signs with it.
pub(crate) struct RsaTestKey {
    pair: aws_lc_rs::rsa::KeyPair,
}

impl RsaTestKey {
    pub(crate) fn new() -> Self {
        Self { pair: aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap() }
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        use der::{Decode as _, Reader as _};
        let public = self.pair.public_key().as_ref();
        let mut reader = der::SliceReader::new(public).unwrap();
        reader
            .sequence(|inner| {
                let modulus = der::asn1::UintRef::decode(inner)?;
                der::asn1::UintRef::decode(inner)?;
                Ok::<_, der::Error>(modulus.as_bytes().to_vec())
            })
            .unwrap()
    }

    pub(crate) fn jwk(&self, kid: &str, alg: Option<&str>) -> Value {
        let mut jwk = json!({ "kty": "RSA", "kid": kid, "n": b64(self.modulus()), "e": "AQAB" });
        if let Some(alg) = alg {
            jwk["alg"] = alg.into();
        }
        jwk
    }

    pub(crate) fn sign(&self, encoding: &'static dyn signature::RsaEncoding, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", b64(signature))
    }
}

/// An RSA key of 2048 or 4096 bits in PKCS#8, always the same one: making one takes seconds.
pub(crate) fn rsa_pkcs8(bits: usize) -> &'static [u8] {
    use std::sync::LazyLock;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    fn make(size: KeySize) -> Vec<u8> {
        let pair = KeyPair::generate(size).unwrap();
        AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
    }
    static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| make(KeySize::Rsa2048));
    static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| make(KeySize::Rsa4096));
    if bits == 2048 { &SMALL } else { &LARGE }
}
