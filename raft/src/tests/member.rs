//! Changes of the membership and of leadership, as an operator asks for them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cluster::{Place, WAIT, cluster, config, get, leader, put, token, until, words};
use crate::peer::connect;
use crate::{Change, ChangeError, Changed, Node, OpenError, Role, Timings};

const PLAIN: Change = Change { expected_membership: None, force: false, dry_run: false };
const SHORT: Duration = Duration::from_millis(500);

fn id(place: &Place) -> u64 {
    place.node().identity().unwrap().node_id
}

fn ids(places: &[Place]) -> Vec<u64> {
    let mut ids: Vec<_> = places.iter().filter(|place| place.node.is_some()).map(id).collect();
    ids.sort_unstable();
    ids
}

/// Asks until the answer is something else than a passing trouble.
async fn settled<T>(mut ask: impl AsyncFnMut() -> Result<T, ChangeError>) -> Result<T, ChangeError> {
    for _ in 0..20 {
        match ask().await {
            Err(ChangeError::NoQuorum | ChangeError::InProgress | ChangeError::Unknown) => {}
            answer => return answer,
        }
    }
    panic!("no answer");
}

/// Asks until it is done: on a busy machine even a healthy node is silent for a while.
async fn done<T>(mut ask: impl AsyncFnMut() -> Result<T, ChangeError>) -> T {
    let patient = async || match ask().await {
        Err(ChangeError::NotHealthy { .. } | ChangeError::WouldLoseQuorum { .. }) => Err(ChangeError::InProgress),
        answer => answer,
    };
    settled(patient).await.unwrap()
}

/// Removes `target` and says who is left, also when the first answer was lost.
async fn remove(node: &Node, target: u64) -> Changed {
    let mut lost = false;
    done(async || match node.remove(target, PLAIN, WAIT).await {
        Err(ChangeError::UnknownNode { .. }) if lost => {
            let own = node.identity().unwrap().node_id;
            node.promote(own, Change { dry_run: true, ..PLAIN }, WAIT).await
        }
        answer => {
            lost |= answer.is_err();
            answer
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_cut_off_learns_it_and_says_so_after_a_restart() {
    let mut places = cluster(3, Timings::lan()).await;
    let gone = (leader(&places).await + 1) % 3;
    let (gone_id, asked) = (id(&places[gone]), (gone + 1) % 3);
    let removed = places[gone].node().removed();
    // Idle connections, on which nothing would be refused because nothing is asked.
    let mut open = Vec::new();
    for place in places.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, place)| place) {
        let (connection, driver) = connect(&places[gone].node().inner.tls, &place.node().as_peer()).await.unwrap();
        open.push((connection, tokio::spawn(driver)));
    }
    let changed = remove(places[asked].node(), gone_id).await;
    assert_eq!((changed.voters.len(), changed.learners.len()), (2, 0));
    assert!(!changed.voters.contains(&gone_id));
    assert_eq!(changed.warnings.len(), 1, "two voters are no good number");
    for (_connection, driver) in open {
        tokio::time::timeout(WAIT, driver).await.expect("its open connections are cut").unwrap();
    }
    tokio::time::timeout(WAIT, removed).await.expect("it learns that it was removed");
    assert!(places[gone].node().removal().to_string().contains("was removed from cluster"));
    let node = places[gone].node();
    until("it hears nothing any more", || async { node.barrier(SHORT).await.is_err() }).await;
    for place in places.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, place)| place) {
        let member = place.node().member().unwrap();
        until("nobody knows its key", || async { member.directory.peer(gone_id).is_none() }).await;
    }
    put(places[asked].node(), "b", "2").await;
    assert_eq!(get(places[gone].node(), "b"), None);
    let unknown = places[asked].node().remove(gone_id, PLAIN, WAIT).await;
    assert_eq!(unknown, Err(ChangeError::UnknownNode { node: gone_id }));
    places[gone].kill().await;
    let again = Node::open(config(places[gone].dir.path(), Timings::lan()), words()).await;
    assert!(matches!(again, Err(OpenError::Removed { node_id, .. }) if node_id == gone_id), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_when_it_was_removed_learns_it_when_it_comes_back() {
    let mut places = cluster(3, Timings::lan()).await;
    let gone = (leader(&places).await + 1) % 3;
    let gone_id = id(&places[gone]);
    places[gone].kill().await;
    let asked = places[(gone + 1) % 3].node();
    remove(asked, gone_id).await;
    places[gone].start().await;
    tokio::time::timeout(WAIT, places[gone].node().removed()).await.expect("it learns that it was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_removed_or_demoted_hands_over_first() {
    let places = cluster(3, Timings::lan()).await;
    let first = leader(&places).await;
    let first_id = id(&places[first]);
    // Asked of the leader itself: it must not have to lead a cluster that it is no part of.
    let changed = done(async || places[first].node().demote(first_id, PLAIN, WAIT).await).await;
    assert_eq!(changed.learners, [first_id]);
    let node = places[first].node();
    until("it is a learner", || async { node.local_status().role == Role::Learner }).await;
    let changed = done(async || node.promote(first_id, PLAIN, WAIT).await).await;
    assert_eq!(changed.voters, ids(&places));
    let second = leader(&places).await;
    let second_id = id(&places[second]);
    remove(places[first].node(), second_id).await;
    tokio::time::timeout(WAIT, places[second].node().removed()).await.unwrap();
    put(places[first].node(), "a", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_the_membership_it_was_decided_on() {
    let places = cluster(3, Timings::lan()).await;
    let follower = (leader(&places).await + 1) % 3;
    let (node, target) = (places[follower].node(), id(&places[(follower + 1) % 3]));
    let mut seen = 0;
    until("the membership is known", || {
        let status = node.cluster_status(WAIT);
        async {
            let status = status.await;
            status.confirmed && status.membership > 0 && status.nodes.iter().filter(|node| node.voter).count() == 3
        }
    })
    .await;
    until("all are in touch", || {
        let status = node.cluster_status(WAIT);
        async {
            let status = status.await;
            status.nodes.iter().all(|node| node.last_contact.is_some_and(|ago| ago < Duration::from_secs(5)))
        }
    })
    .await;
    seen += node.cluster_status(WAIT).await.membership;
    let dry = Change { expected_membership: Some(seen), dry_run: true, ..PLAIN };
    let told = done(async || node.demote(target, dry, WAIT).await).await;
    assert_eq!((told.membership, told.learners.as_slice()), (seen, [target].as_slice()), "what would be");
    assert_eq!(node.cluster_status(WAIT).await.membership, seen, "and is not");
    let change = Change { expected_membership: Some(seen), ..PLAIN };
    let changed = settled(async || match node.demote(target, change, WAIT).await {
        // An election in between: the change was made all the same.
        Err(ChangeError::Stale { .. }) => node.demote(target, PLAIN, WAIT).await,
        other => other,
    });
    let changed = changed.await.unwrap();
    assert!(changed.membership > seen);
    let stale = settled(async || node.promote(target, change, WAIT).await).await;
    assert_eq!(stale, Err(ChangeError::Stale { expected: seen, found: changed.membership }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_not_given_away() {
    let mut places = cluster(3, Timings::lan()).await;
    let dead = (leader(&places).await + 1) % 3;
    let dead_id = id(&places[dead]);
    places[dead].kill().await;
    let alive: Vec<_> = (0..3).filter(|at| *at != dead).collect();
    let node = places[alive[0]].node();
    for at in &alive {
        let target = id(&places[*at]);
        let forced = Change { force: true, ..PLAIN };
        let refused = settled(async || node.remove(target, forced, WAIT).await).await;
        assert!(matches!(refused, Err(ChangeError::WouldLoseQuorum { .. })), "{refused:?}");
    }
    remove(node, dead_id).await;
    let other = id(&places[alive[1]]);
    let changed = remove(node, other).await;
    assert_eq!(changed.voters, [id(&places[alive[0]])]);
    let last = settled(async || node.remove(id(&places[alive[0]]), PLAIN, WAIT).await).await;
    assert_eq!(last, Err(ChangeError::LastVoter));
    put(node, "a", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_that_never_came_further_than_the_roster_can_be_removed() {
    let mut places = cluster(1, Timings::lan()).await;
    let text = token(places[0].node()).await;
    let newcomer = Place::open().await;
    let record = crate::join::tests_register(newcomer.node(), &text).await;
    places.push(newcomer);
    places[1].kill().await;
    let node = places[0].node();
    until("it is registered", || async { node.local_status().peers.iter().any(|peer| peer.id == record) }).await;
    let changed = node.remove(record, PLAIN, WAIT).await.unwrap();
    assert_eq!(changed.voters, [id(&places[0])]);
    until("it is gone", || async { node.local_status().peers.len() == 1 }).await;
    places[1].start().await;
    let refused = places[1].node().join(&token(places[0].node()).await).await.unwrap_err().to_string();
    assert!(refused.contains("removed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_sent_and_to_nobody_who_refuses_it() {
    let places = cluster(3, Timings::lan()).await;
    let from = leader(&places).await;
    let (target, asked) = ((from + 1) % 3, (from + 2) % 3);
    let target_id = id(&places[target]);
    settled(async || match places[asked].node().transfer_leadership(Some(target_id), WAIT).await {
        Ok(leads) if leads == target_id => Ok(()),
        // Somebody else was faster, or it took too long on a busy machine.
        Ok(_) | Err(ChangeError::NotHealthy { .. }) => Err(ChangeError::InProgress),
        Err(other) => Err(other),
    })
    .await
    .unwrap();
    places[target].node().drain();
    until("it has given up leadership", || async {
        let role = places[target].node().local_status().role;
        role == Role::Follower && places[asked].node().local_status().leader.is_some_and(|it| it != target_id)
    })
    .await;
    until("it refuses, and says why", || async {
        match places[asked].node().transfer_leadership(Some(target_id), WAIT).await {
            Err(ChangeError::NotHealthy { detail }) => detail.contains("drained"),
            Ok(leads) => panic!("it was made to lead: {leads}"),
            Err(_) => false,
        }
    })
    .await;
    let unknown = settled(async || places[asked].node().transfer_leadership(Some(999), WAIT).await).await;
    assert_eq!(unknown, Err(ChangeError::UnknownNode { node: 999 }));
    places[target].node().undrain();
    settled(async || match places[asked].node().transfer_leadership(Some(target_id), WAIT).await {
        Ok(leads) if leads == target_id => Ok(()),
        Ok(_) | Err(ChangeError::NotHealthy { .. }) => Err(ChangeError::InProgress),
        Err(other) => Err(other),
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_when_nobody_else_can() {
    let mut places = cluster(3, Timings::lan()).await;
    let known: BTreeSet<_> = ids(&places).into_iter().collect();
    assert_eq!(known.len(), 3);
    for place in &places {
        place.node().drain();
    }
    let first = leader(&places).await;
    places[first].kill().await;
    let survivor = places[(first + 1) % 3].node();
    until("somebody leads", || async { survivor.barrier(SHORT).await.is_ok() }).await;
}
