//! Programs of two feature levels in one cluster.

use std::time::Duration;

use signet_model::stored::{from_bytes, to_bytes};

use super::cluster::{Place, WAIT, get, leader, put, token, until};
use crate::encoding::versioned;
use crate::feature;
use crate::types::Order;
use crate::{FEATURE_LEVEL, JoinError, OpenError, RaiseError, Timings};

const NEXT: u32 = FEATURE_LEVEL + 1;

/// Three voters, founded by an old program; the programs of `newer` are new.
async fn mixed(newer: [bool; 3]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for at in 0..3 {
        let place = Place::open().await;
        match places.first() {
            None => drop(place.node().init().await.unwrap()),
            Some(first) => drop(place.node().join(&token(first.node()).await).await.unwrap()),
        }
        places.push(place);
        assert_eq!(places[at].node().feature_level(), FEATURE_LEVEL);
    }
    for (place, newer) in places.iter_mut().zip(newer) {
        if newer {
            upgrade(place).await;
        }
    }
    leader(&places).await;
    places
}

async fn upgrade(place: &mut Place) {
    place.kill().await;
    place.newer = 1;
    place.start().await;
    let node = place.node();
    until("it is back", || async { node.barrier(WAIT).await.is_ok() }).await;
}

async fn raise(place: &Place, dry_run: bool) -> Result<u32, RaiseError> {
    place.node().raise_feature_level(dry_run, WAIT).await.map(|status| status.in_force)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_is_raised_only_when_every_member_knows_it_and_then_on_all() {
    let mut places = mixed([true, true, false]).await;
    let RaiseError::Obstacles { obstacles, .. } = raise(&places[0], false).await.unwrap_err() else { panic!() };
    assert!(obstacles.iter().any(|it| it.contains("node 3") && it.contains("upgrade its program")), "{obstacles:?}");
    places[2].kill().await;
    let RaiseError::Obstacles { obstacles, .. } = raise(&places[0], true).await.unwrap_err() else { panic!() };
    assert!(obstacles.iter().any(|it| it.contains("node 3") && it.contains("does not answer")), "{obstacles:?}");
    places[2].newer = 1;
    places[2].start().await;
    until("nothing stands in the way", || async { raise(&places[1], true).await.is_ok() }).await;
    assert_eq!(places[1].node().feature_level(), FEATURE_LEVEL, "a dry run changed something");
    until("it is raised", || async { raise(&places[1], false).await.is_ok() }).await;
    for place in &places {
        until("all know", || async { place.node().feature_level() == NEXT }).await;
    }
    let RaiseError::Obstacles { in_force, .. } = raise(&places[1], false).await.unwrap_err() else { panic!() };
    assert_eq!(in_force, NEXT, "raised beyond what is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_neither_starts_nor_joins_once_the_level_is_raised() {
    let mut places = mixed([true, true, true]).await;
    until("it is raised", || async { raise(&places[0], false).await.is_ok() }).await;
    let behind = &places[2];
    until("all know", || async { behind.node().feature_level() == NEXT }).await;
    places[2].kill().await;
    places[2].newer = 0;
    let refused = places[2].try_start().await.unwrap_err();
    assert!(matches!(refused, OpenError::TooOld(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("level 2 is in force") && said.contains("install the version"), "{said}");

    let stranger = Place::open().await;
    let refused = stranger.node().join(&token(places[0].node()).await).await.unwrap_err();
    assert!(matches!(refused, JoinError::TooOld), "{refused:?}");
    let newcomer = Place::of_program(1, Timings::lan()).await;
    newcomer.node().join(&token(places[0].node()).await).await.unwrap();
    assert_eq!(newcomer.node().feature_level(), NEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_stops_at_a_command_it_does_not_know_before_it_skips_or_acknowledges_it() {
    // Nobody may propose this before the level is raised; what if one does?
    let places = mixed([true, true, false]).await;
    let old = places[2].node();
    let failed = old.failed();
    let _ = places[0].node().propose(b"shout key".to_vec(), Duration::from_secs(5)).await;
    let cause = tokio::time::timeout(WAIT, failed).await.unwrap();
    assert!(cause.contains("install the version the other nodes run"), "{cause}");
    assert_eq!(get(old, "key"), None);
    assert!(old.barrier(Duration::from_secs(1)).await.is_err(), "it promised what it had not applied");
    // The others have what it lacks, and go on.
    until("the others go on", || async { places[0].node().barrier(WAIT).await.is_ok() }).await;
    put(places[1].node(), "other", "1").await;
    places[0].node().barrier(WAIT).await.unwrap();
    assert_eq!(get(places[0].node(), "key").unwrap(), "LOUD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_begins_with_all_that_its_founder_knows() {
    let place = Place::of_program(1, Timings::lan()).await;
    place.node().init().await.unwrap();
    assert_eq!(place.node().feature_level(), NEXT);
}

#[test]
fn the_stored_forms_of_order_and_row_never_change() {
    let order = Order::RaiseFeatureLevel { from: 1, to: 2, membership: 7 };
    let bytes = [0x82, 8, 0x83, 1, 2, 7];
    assert_eq!(to_bytes(&order), bytes);
    assert!(from_bytes::<Order>(&bytes).unwrap() == order);
    assert_eq!(versioned(&2u32), [1, 2]);
    assert_eq!(feature::read(Some(&[1, 2])).unwrap(), 2);
    assert_eq!(feature::read(None).unwrap(), 1);
}
