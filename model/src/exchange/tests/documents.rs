//! The public documents.

use super::*;
use crate::authority::{Authority, AuthorityKind, Life, Slot, StoredKey};

#[test]
fn published_keys_verify_and_are_those_of_transaction_tokens_alone() {
    let (txn, svid) = (TestKey::new("txn"), TestKey::new("svid"));
    let authority = |key: &TestKey, kind, slot| Authority {
        kind,
        id: key.kid.clone(),
        slot,
        public_key: key.spki(),
        certificate: Vec::new(),
        key: StoredKey::Wrapped { for_recipients: Vec::new() },
        created_at: NOW,
        not_after: NOW,
        life: Life::default(),
        outside: None,
    };
    let authorities = [
        authority(&txn, AuthorityKind::TransactionToken, Slot::Prepared),
        authority(&svid, AuthorityKind::JwtSvid, Slot::Active),
    ];
    let document = jwks_document(&authorities);
    let keys = KeySet::parse(&document, &[Algorithm::Es256], &crate::test_keys::no_demo()).unwrap();
    assert_eq!(keys.keys().len(), 1);
    let key = keys.find(Some("txn"), Algorithm::Es256).unwrap();
    assert!(key.verifies(b"message", &txn.raw_signature(b"message")));
}

#[test]
fn metadata_names_the_endpoints_below_the_issuer() {
    let metadata: Value = serde_json::from_slice(&metadata_document(&World::new().endpoint)).unwrap();
    assert_eq!(metadata["issuer"], "https://tts.td.example");
    assert_eq!(metadata["token_endpoint"], "https://tts.td.example/token");
    assert_eq!(metadata["jwks_uri"], "https://tts.td.example/keys");
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["spiffe_jwt", "spiffe_x509"]));
}
