//! Joining, and what is refused.

use std::time::Duration;

use signet_model::caller::Caller;

use super::cluster::{Place, WAIT, cluster, config, put, token, until, words};
use crate::token::JoinToken;
use crate::types::Pin;
use crate::{InitError, JoinError, Node, OpenError, Timings};

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_works_once() {
    let places = cluster(1, Timings::lan()).await;
    let text = token(places[0].node()).await;
    let (second, third) = (Place::open().await, Place::open().await);
    let identity = second.node().join(&text).await.unwrap();
    assert!(identity.node_id > 1);
    assert!(matches!(third.node().join(&text).await, Err(JoinError::UsedToken)));
    assert_eq!(third.node().identity(), None);
    assert!(matches!(second.node().join(&text).await, Err(JoinError::AlreadyMember { .. })));
    assert!(matches!(second.node().init().await, Err(InitError::AlreadyMember { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_unknown_join_token_is_refused() {
    let places = cluster(1, Timings::lan()).await;
    let caller = Caller::Anonymous;
    let short = places[0].node().create_join_token(&caller, Duration::from_millis(1), WAIT).await.unwrap();
    until("cluster time has passed the token's end", || async {
        put(places[0].node(), "a", "1").await;
        places[0].node().view().cluster_time() >= short.expires_at
    })
    .await;
    let newcomer = Place::open().await;
    assert!(matches!(newcomer.node().join(&short.text).await, Err(JoinError::ExpiredToken)));
    let mut forged = JoinToken::from_text(&token(places[0].node()).await).unwrap();
    forged.secret = crate::token::Secret::random().unwrap();
    assert!(matches!(newcomer.node().join(&forged.to_text()).await, Err(JoinError::UnknownToken)));
    assert!(matches!(newcomer.node().join("hello").await, Err(JoinError::Malformed(_))));
    assert_eq!(newcomer.node().identity(), None);
    newcomer.node().join(&token(places[0].node()).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_shows_its_secret_to_nobody_with_a_wrong_key() {
    let places = cluster(1, Timings::lan()).await;
    let mut token = JoinToken::from_text(&token(places[0].node()).await).unwrap();
    token.members[0].pin = Pin([7; 32]);
    let newcomer = Place::open().await;
    let refused = newcomer.node().join(&token.to_text()).await;
    assert!(matches!(refused, Err(JoinError::WrongFingerprint { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_cluster_is_refused_and_changes_nothing() {
    let (one, two) = (cluster(1, Timings::lan()).await, cluster(1, Timings::lan()).await);
    let refused = one[0].node().join(&token(two[0].node()).await).await;
    assert!(matches!(refused, Err(JoinError::OtherCluster { .. })), "{refused:?}");
    put(one[0].node(), "a", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stopped_half_way_goes_on_by_itself() {
    let places = cluster(1, Timings::lan()).await;
    let text = token(places[0].node()).await;
    let mut newcomer = Place::open().await;
    let node = newcomer.node().clone();
    let joining = tokio::spawn(async move { node.join(&text).await });
    let node = newcomer.node().clone();
    until("it is registered", || async { node.identity().is_some() }).await;
    let registered = node.identity();
    joining.abort();
    let _ = joining.await;
    drop(node);
    newcomer.kill().await;
    newcomer.start().await;
    assert_eq!(newcomer.node().identity(), registered);
    let node = newcomer.node();
    until("it votes", || async { node.local_status().peers.iter().filter(|peer| peer.voter).count() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_has_one_user() {
    let place = Place::open().await;
    let second = Node::open(config(place.dir.path(), Timings::lan()), words()).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
}

async fn open_error(place: &Place) -> OpenError {
    Node::open(config(place.dir.path(), Timings::lan()), words()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_two_clusters_are_not_mixed() {
    let (mut one, mut two) = (Place::open().await, Place::open().await);
    one.node().init().await.unwrap();
    two.node().init().await.unwrap();
    one.kill().await;
    two.kill().await;
    let (here, there) = (one.dir.path().join("data"), two.dir.path().join("data"));
    std::fs::remove_dir_all(here.join("state")).unwrap();
    std::fs::rename(there.join("state"), here.join("state")).unwrap();
    let error = open_error(&one).await;
    assert!(matches!(error, OpenError::OtherCluster { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_or_missing_parts_are_named() {
    for part in ["identity", "vote", "peer.key", "log", "state"] {
        let mut place = Place::open().await;
        place.node().init().await.unwrap();
        let node = place.node().clone();
        let dir = place.dir.path().join("data");
        until("it is settled", || async {
            matches!(crate::identity::Record::load(&dir), Ok(Some(record)) if record.phase == crate::identity::Phase::Member)
        })
        .await;
        drop(node);
        place.kill().await;
        let path = dir.join(part);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        let error = open_error(&place).await.to_string();
        assert!(error.contains(part), "without {part}: {error}");
    }
}
