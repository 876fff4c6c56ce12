//! Joining, and what is refused.

use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::stored::from_bytes;

use super::cluster::{Place, WAIT, cluster, config, put, token, until, words};
use crate::peer::proto::door_client::DoorClient;
use crate::peer::proto::join_reply::Outcome;
use crate::peer::proto::{JoinRequest, Refusal};
use crate::token::{Binding, JoinToken};
use crate::types::{Order, OrderOutcome, PeerNode, Pin};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_for_another_connection_lets_nobody_in() {
    let places = cluster(1, Timings::lan()).await;
    let newcomer = Place::open().await;
    let text = token(places[0].node()).await;
    let token = JoinToken::from_text(&text).unwrap();
    let tls = &newcomer.node().inner.tls;
    // What somebody in between sees on one connection is of no use to them on another.
    let (seen, seen_driver) = crate::peer::connect(tls, &token.members[0]).await.unwrap();
    let (used, used_driver) = crate::peer::connect(tls, &token.members[0]).await.unwrap();
    let drivers = (tokio::spawn(seen_driver), tokio::spawn(used_driver));
    let address = newcomer.node().peer_address();
    let request = |channel| {
        let newcomer = tls.pin();
        let binding = Binding { channel, cluster: &token.cluster, newcomer, address: &address };
        JoinRequest {
            cluster: token.cluster.to_vec().into(),
            token: token.secret.id().to_vec().into(),
            proof: token.secret.prove(&binding).unwrap().into(),
            address: address.clone(),
            feature_level: 0,
        }
    };
    let (replayed, fresh) = (request(seen.channel()), request(used.channel()));
    let mut client = DoorClient::with_origin(used, http::Uri::from_static("https://peer.signet.internal"));
    let refused = client.join(replayed).await.unwrap().into_inner().outcome;
    assert_eq!(refused, Some(Outcome::Refused(Refusal::BadProof.into())));
    assert_eq!(places[0].node().local_status().peers.len(), 1);
    let admitted = client.join(fresh).await.unwrap().into_inner().outcome;
    assert!(matches!(admitted, Some(Outcome::Admitted(_))), "{admitted:?}");
    drivers.0.abort();
    drivers.1.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_have_all_moved_at_once_find_each_other_by_one_contact() {
    let mut places = cluster(3, Timings::lan()).await;
    put(places[0].node(), "a", "1").await;
    let before: Vec<_> = places.iter().map(|place| place.node().peer_address()).collect();
    // The ports stay taken, so that nobody gets its old one back.
    let mut taken = Vec::new();
    for (place, address) in places.iter_mut().zip(&before) {
        place.kill().await;
        std::fs::remove_file(place.dir.path().join("data/peer.port")).unwrap();
        until("the port is free", || async { std::net::TcpListener::bind(address.as_str()).is_ok() }).await;
        taken.push(std::net::TcpListener::bind(address.as_str()).unwrap());
    }
    places[0].start().await;
    let contact = places[0].node().peer_address();
    for place in &mut places[1..] {
        place.contacts = vec![contact.clone()];
        place.start().await;
    }
    for place in &places {
        let node = place.node();
        assert!(!before.contains(&node.peer_address()));
        until("a quorum again", || async { node.barrier(WAIT).await.is_ok() }).await;
    }
    let after: Vec<_> = places.iter().map(|place| place.node().peer_address()).collect();
    for place in &places {
        until("the new addresses are registered", || async {
            let status = place.node().local_status();
            status.peers.iter().all(|peer| after.contains(&peer.address))
        })
        .await;
    }
    put(places[1].node(), "a", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_two_members_believe_to_be_free_lets_one_newcomer_in() {
    let places = cluster(1, Timings::lan()).await;
    let token = JoinToken::from_text(&token(places[0].node()).await).unwrap();
    let member = places[0].node().member().unwrap();
    let mut outcomes = Vec::new();
    for key in [1, 2] {
        let newcomer = PeerNode { address: "127.0.0.1:1".into(), pin: Pin([key; 32]) };
        let order = Order::ConsumeJoinToken { hash: token.secret.id(), node: newcomer };
        let placed = member.propose(order, WAIT).await.unwrap();
        outcomes.push(from_bytes::<OrderOutcome>(&placed.outcome.body).unwrap());
    }
    assert!(matches!(outcomes[..], [OrderOutcome::Registered { node: 2 }, OrderOutcome::UsedToken]), "{outcomes:?}");
}
