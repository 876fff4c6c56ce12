//! On PKCS#11: SoftHSM2, one folder of tokens for all nodes.

use super::{serves_and_rotates, signs_in_its_backend};
use crate::support::softhsm::SoftHsm;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_pkcs11_serves_and_rotates() {
    let Some(token) = SoftHsm::new("a cluster on PKCS#11") else { return };
    serves_and_rotates("PKCS#11", Some(token.keys())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_signs_tokens_in_pkcs11() {
    let Some(token) = SoftHsm::new("tokens signed in PKCS#11") else { return };
    signs_in_its_backend(token.keys(), "jwt_svid = \"RS256\"", &["jwt_svid", "transaction_token"]).await;
}
