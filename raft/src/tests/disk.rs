//! What a node stops doing while its disk fills up.

use super::cluster::{WAIT, cluster, get, leader, put, until};
use crate::{DiskState, Node, ProposeError, Timings};

async fn refused(node: &Node) -> String {
    match node.propose(b"put refused 1".to_vec(), WAIT).await {
        Err(ProposeError::NoSpace(detail)) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fills_up_lets_another_voter_lead() {
    let places = cluster(3, Timings::lan()).await;
    let full = leader(&places).await;
    places[full].node().set_disk(DiskState::HandOver, "the disk is nearly full");
    until("another node leads", || async { leader(&places).await != full }).await;
    // It still takes proposals, and passes them on.
    put(places[full].node(), "key", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_room_refuses_with_the_sentence_it_was_given_and_others_go_on() {
    let places = cluster(3, Timings::lan()).await;
    let leading = leader(&places).await;
    let full = (leading + 1) % 3;
    places[full].node().set_disk(DiskState::Refuse, "the disk of /x has 3 MiB free");
    assert_eq!(refused(places[full].node()).await, "the disk of /x has 3 MiB free");
    put(places[leading].node(), "key", "1").await;
    places[full].node().barrier(WAIT).await.unwrap();
    assert_eq!(get(places[full].node(), "key").unwrap(), "1", "it still takes the leader's entries");
    assert_eq!(get(places[full].node(), "refused"), None);
    places[full].node().set_disk(DiskState::Ample, "");
    put(places[full].node(), "key", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_disk_is_full_somebody_leads_all_the_same_and_answers_reads() {
    let places = cluster(3, Timings::lan()).await;
    for place in &places {
        place.node().set_disk(DiskState::HandOver, "low");
    }
    put(places[0].node(), "key", "1").await;
    for place in &places {
        place.node().set_disk(DiskState::Refuse, "full");
    }
    for place in &places {
        assert_eq!(refused(place.node()).await, "full");
        place.node().barrier(WAIT).await.unwrap();
        assert_eq!(get(place.node(), "key").unwrap(), "1");
        assert_eq!(get(place.node(), "refused"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_at_its_end_takes_no_entries_and_catches_up_when_there_is_room_again() {
    let places = cluster(3, Timings::lan()).await;
    let leading = leader(&places).await;
    let full = places[(leading + 1) % 3].node();
    full.barrier(WAIT).await.unwrap();
    full.set_disk(DiskState::Stop, "full");
    let before = full.local_status().last_log;
    for nth in 0..10 {
        put(places[leading].node(), "key", &nth.to_string()).await;
    }
    assert_eq!(full.local_status().last_log, before, "it wrote to a full disk");
    full.set_disk(DiskState::Ample, "");
    until("it catches up", || async { full.barrier(WAIT).await.is_ok() }).await;
    assert_eq!(get(full, "key").unwrap(), "9");
}
