//! The SPIFFE bundle document and PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::*;
use crate::jwk::key_id;
use crate::svid::{JwtAuthority, TrustBundle, X509Authority};
use crate::x509::bundle_document::{BundleDocumentError, from_json, to_json, to_pem};

fn bundle(domain: &Domain) -> TrustBundle {
    let public_key = Key::generate().public.as_der().to_vec();
    TrustBundle {
        trust_domain: domain.trust_domain.clone(),
        x509_authorities: vec![X509Authority { certificate: domain.root.certificate().to_vec(), tainted: false }],
        jwt_authorities: vec![JwtAuthority {
            key_id: key_id(&public_key),
            public_key,
            expires_at_secs: 0,
            tainted: false,
        }],
        refresh_hint_secs: 300,
        sequence_number: 42,
    }
}

#[test]
fn line_27_trust_anchors_have_a_use_one_self_signed_certificate_and_no_kid() {
    let domain = Domain::new("example.org");
    let document: Value = serde_json::from_slice(&to_json(&bundle(&domain)).unwrap()).unwrap();
    let key = &document["keys"][0];
    assert_eq!(key["use"], "x509-svid");
    assert!(key.get("kid").is_none());
    assert_eq!(key["x5c"], json!([STANDARD.encode(domain.root.certificate())]));
    let root = parse(domain.root.certificate());
    assert_eq!(root.tbs_certificate().issuer(), root.tbs_certificate().subject());
    assert_eq!((&key["kty"], &key["crv"]), (&json!("EC"), &json!("P-256")));
}

#[test]
fn jwt_keys_have_a_use_and_a_kid_and_no_certificate() {
    let domain = Domain::new("example.org");
    let bundle = bundle(&domain);
    let document: Value = serde_json::from_slice(&to_json(&bundle).unwrap()).unwrap();
    let key = &document["keys"][1];
    assert_eq!((&key["use"], &key["kid"]), (&json!("jwt-svid"), &json!(bundle.jwt_authorities[0].key_id)));
    assert!(key.get("x5c").is_none());
    assert_eq!((&document["spiffe_sequence"], &document["spiffe_refresh_hint"]), (&json!(42), &json!(300)));
}

#[test]
fn line_28_a_consumer_ignores_anchors_without_certificate_and_certificates_after_the_first() {
    let domain = Domain::new("example.org");
    let mut document: Value = serde_json::from_slice(&to_json(&bundle(&domain)).unwrap()).unwrap();
    let keys = document["keys"].as_array_mut().unwrap();
    keys[0]["x5c"].as_array_mut().unwrap().push(json!("not even base64!"));
    keys.push(json!({"use": "x509-svid", "kty": "EC"}));
    keys.push(json!({"use": "x509-svid", "kty": "EC", "x5c": []}));
    keys.push(json!({"use": "jwt-svid", "kty": "EC", "crv": "P-256", "x": "", "y": ""}));
    keys.push(json!({"use": "something-new", "kty": "XX"}));
    keys.push(json!({"kty": "RSA"}));
    let read = from_json(document.to_string().as_bytes(), &domain.trust_domain).unwrap();
    assert_eq!((read.x509_authorities.len(), read.jwt_authorities.len()), (1, 1));
}

#[test]
fn a_bundle_survives_its_document() {
    let domain = Domain::new("example.org");
    let bundle = bundle(&domain);
    assert_eq!(from_json(&to_json(&bundle).unwrap(), &domain.trust_domain).unwrap(), bundle);
}

#[test]
fn refuses_what_is_not_a_bundle_and_names_the_bad_key() {
    let domain = Domain::new("example.org").trust_domain;
    let refused = |text: &str| from_json(text.as_bytes(), &domain).unwrap_err();
    assert!(matches!(refused("[]"), BundleDocumentError::NotABundle(_)));
    assert!(matches!(refused("{}"), BundleDocumentError::NotABundle(_)));
    let bad = r#"{"keys": [{"use": "ignored"}, {"use": "x509-svid", "x5c": ["AAAA"]}]}"#;
    assert!(matches!(refused(bad), BundleDocumentError::Certificate { index: 1 }));
    let bad = r#"{"keys": [{"use": "jwt-svid", "kid": "a", "kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#;
    assert!(matches!(refused(bad), BundleDocumentError::JwtKey { index: 0, .. }));
}

#[test]
fn pem_is_read_by_another_reader() {
    use der::DecodePem as _;
    let domain = Domain::new("example.org");
    let pem = to_pem(&[domain.root.certificate(), domain.issuing.certificate()]);
    let read = x509_cert::Certificate::load_pem_chain(pem.as_bytes()).unwrap();
    assert_eq!(read, [parse(domain.root.certificate()), parse(domain.issuing.certificate())]);
    assert!(x509_cert::Certificate::from_pem(to_pem(&[domain.root.certificate()])).is_ok());
    assert!(pem.lines().all(|line| line.len() <= 64) && pem.ends_with("-----END CERTIFICATE-----\n"));
}
