//! Chains held against webpki, and our DER against `x509-cert`.

use super::support::*;
use crate::x509::peer::inspect;

#[test]
fn an_svid_we_issue_is_accepted_by_our_own_door() {
    let domain = Domain::new("example.org");
    assert_eq!(domain.anchors().authenticate(&domain.chain(), NOW), Ok(domain.id("/workload")));
    assert_eq!(inspect(&domain.chain(), Some(&domain.anchors()), NOW).problems, Vec::<String>::new());
}
