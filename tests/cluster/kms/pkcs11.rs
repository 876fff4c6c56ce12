//! On PKCS#11: SoftHSM2, one folder of tokens for all nodes.

use super::serves_and_rotates;
use crate::support::softhsm::SoftHsm;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_pkcs11_serves_and_rotates() {
    let Some(token) = SoftHsm::new("a cluster on PKCS#11") else { return };
    serves_and_rotates("PKCS#11", Some(token.keys())).await;
}
