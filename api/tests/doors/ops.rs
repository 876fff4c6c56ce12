//! What operators ask of one node, through door and client.

use signet_api::ops::Verdict;

use crate::fake::upgrade;
use crate::node::Node;

#[tokio::test]
async fn checks_and_levels_arrive_as_they_were_sent_and_a_report_may_be_large() {
    let node = Node::start().await;
    let client = node.admin().await;
    let checks = client.diagnose().await.unwrap();
    assert_eq!(checks.iter().map(|check| check.verdict).collect::<Vec<_>>(), Verdict::ALL);
    assert!(checks.iter().all(|check| check.name == check.verdict.as_str() && check.fix == "a faster disk"));
    assert_eq!(client.collect_debug().await.unwrap()[0].content.len(), 5 << 20);
    assert_eq!(client.upgrade_status().await.unwrap(), upgrade(1));
    assert_eq!(client.finalize_upgrade(true).await.unwrap(), upgrade(1));
    assert_eq!(client.finalize_upgrade(false).await.unwrap(), upgrade(2));
}
