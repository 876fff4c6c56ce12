//! Recipients at the doors.

use signet_api::service::{RecipientChange, RecipientShown, RecipientsShown};
use signet_model::recipient::{BackendState, NodeBackends};
use signet_model::time::UnixTime;

use crate::node::Node;

/// One recipient, and a node that has it and one more that is away.
pub(crate) fn sample() -> RecipientsShown {
    let at = UnixTime::from_millis(5);
    let backend = |name: &str, recipient: Option<&str>, problem: &str| BackendState {
        name: name.to_owned(),
        recipient: recipient.map(str::to_owned),
        problem: problem.to_owned(),
    };
    RecipientsShown {
        version: 4,
        keys: 3,
        recipients: vec![RecipientShown {
            id: "file:1".to_owned(),
            added_at: at,
            added_by: Some("node 1".to_owned()),
            roots: true,
            keys: 2,
        }],
        nodes: vec![NodeBackends {
            node: 1,
            at,
            backends: vec![backend("file:/a", Some("file:1"), ""), backend("file:/b", None, "gone")],
        }],
        changed: None,
    }
}

#[tokio::test]
async fn an_administrator_sees_and_changes_the_recipients() {
    let node = Node::start().await;
    let admin = node.admin().await;
    assert_eq!(admin.recipients().await.unwrap(), sample());
    let which = || "file:/b".to_owned();
    for change in [
        RecipientChange::Add { which: which(), roots: true },
        RecipientChange::Remove { which: which(), force: true },
        RecipientChange::PlaceRoots { which: which() },
    ] {
        for dry_run in [true, false] {
            let told = admin.change_recipients(change.clone(), dry_run).await.unwrap();
            assert_eq!(told, RecipientsShown { changed: Some(format!("{change:?}")), ..sample() });
            let asked = node.fake.seen.lock().unwrap().last().unwrap().0;
            assert_eq!(asked, if dry_run { "try_recipients" } else { "change_recipients" });
        }
    }
    let nameless = RecipientChange::PlaceRoots { which: String::new() };
    let refused = admin.change_recipients(nameless, false).await.unwrap_err();
    assert!(refused.to_string().contains("recipient: is missing"), "{refused}");
}
