//! Elections under faults of network, clock and disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use signet_model::time::UnixTime;

use super::cluster::{Place, WAIT, cluster, get, leader, put, until, wall_clock};
use super::proxy::Net;
use crate::{ChangeError, Role, Timings};

const SHORT: Duration = Duration::from_millis(500);

/// Writes through `place` until one write is acknowledged; how long that took.
async fn write_again(place: &Place) -> Duration {
    let began = Instant::now();
    for at in 0.. {
        let command = format!("put again{at} 1").into_bytes();
        if place.node().propose(command, SHORT).await.is_ok() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no write for so long");
    }
    began.elapsed()
}

fn id(place: &Place) -> u64 {
    place.node().identity().unwrap().node_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nothing_is_replaced_although_its_heartbeats_arrive() {
    let places = cluster(3, Timings::lan()).await;
    let net = Net::between(&places).await;
    let mut pauses = Vec::new();
    for _ in 0..3 {
        until("all are in touch over the proxies", || async { write_again(&places[0]).await < SHORT }).await;
        let deaf = leader(&places).await;
        let (deaf_id, other) = (id(&places[deaf]), &places[(deaf + 1) % 3]);
        put(other.node(), "before", "1").await;
        net.deafen(deaf);
        pauses.push(write_again(other).await);
        assert_ne!(other.node().local_status().leader, Some(deaf_id));
        assert_eq!(get(other.node(), "before").unwrap(), "1");
        net.heal();
        until("it follows", || async { places[deaf].node().barrier(WAIT).await.is_ok() }).await;
    }
    println!("writes paused for {pauses:?}");
    // Within a second on an idle machine; shared ones have been seen to sleep longer than that by themselves.
    pauses.sort_unstable();
    assert!(pauses[0] < Duration::from_secs(1), "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_leader_steps_down_and_confirms_no_reads() {
    let places = cluster(3, Timings::lan()).await;
    let net = Net::between(&places).await;
    put(places[0].node(), "a", "1").await;
    let lone = leader(&places).await;
    let node = places[lone].node();
    net.isolate(lone);
    let other = &places[(lone + 1) % 3];
    write_again(other).await;
    put(other.node(), "a", "2").await;
    // Whatever it believes itself to be: no read is confirmed any more, so nobody takes the old value for the newest.
    assert!(node.barrier(SHORT).await.is_err());
    assert_eq!(get(node, "a").unwrap(), "1");
    until("it has stepped down", || async { node.local_status().role != Role::Leader }).await;
    net.heal();
    until("it is back", || async { node.barrier(SHORT).await.is_ok() }).await;
    assert_eq!(get(node, "a").unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_asks_before_it_raises_the_term() {
    let places = cluster(3, Timings::lan()).await;
    let net = Net::between(&places).await;
    write_again(&places[0]).await;
    let away = (leader(&places).await + 1) % 3;
    net.isolate(away);
    let gone = places[away].node();
    until("it has lost its leader", || async { gone.barrier(SHORT).await.is_err() }).await;
    // Nothing reaches it, so only it can raise its term; without a pre-vote it would, many times in this while.
    let term = gone.local_status().term;
    tokio::time::sleep(Timings::lan().election_max * 8).await;
    assert_eq!(gone.local_status().term, term);
    net.heal();
    until("it is back", || async { gone.barrier(SHORT).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_elects_one_leader_and_goes_on() {
    let places = cluster(3, Timings::wan()).await;
    let net = Net::between(&places).await;
    net.delay(Duration::from_millis(20));
    until("writes go through", || async { write_again(&places[1]).await < Duration::from_secs(2) }).await;
    let first = leader(&places).await;
    for at in 0..10 {
        put(places[(first + 1) % 3].node(), &format!("key{at}"), "1").await;
    }
}

/// A cluster whose clocks can be set.
async fn with_clocks(count: usize) -> (Vec<Place>, Vec<Arc<AtomicI64>>) {
    let mut places: Vec<Place> = Vec::new();
    let mut offsets = Vec::new();
    for _ in 0..count {
        let offset = Arc::new(AtomicI64::new(0));
        let own = Arc::clone(&offset);
        let clock =
            move || UnixTime::from_millis(wall_clock().millis().saturating_add_signed(own.load(Ordering::Relaxed)));
        let place = Place::with_clock(Timings::lan(), Arc::new(clock)).await;
        match places.last() {
            None => drop(place.node().init().await.unwrap()),
            Some(member) => drop(place.node().join(&super::cluster::token(member.node()).await).await.unwrap()),
        }
        places.push(place);
        offsets.push(offset);
    }
    (places, offsets)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_jumps_ahead_stamps_near_the_median_and_gives_up_leadership() {
    let (places, offsets) = with_clocks(3).await;
    let wrong = leader(&places).await;
    let (node, right) = (places[wrong].node(), places[(wrong + 1) % 3].node());
    until("the leader has heard the others' clocks", || async { node.local_status().clock_ahead_millis.is_some() })
        .await;
    offsets[wrong].store(3_600_000, Ordering::Relaxed);
    // What it had heard is measured against the clock it had; a few heartbeats later it knows better.
    until("it knows that its clock is off", || async { node.local_status().clock_is_off }).await;
    assert!(node.local_status().clock_ahead_millis.unwrap() > 3_000_000);
    until("another leads", || async {
        let leads = right.local_status().leader;
        leads.is_some() && leads != Some(id(&places[wrong]))
    })
    .await;
    put(right, "a", "1").await;
    until("its status says so", || async {
        let status = right.cluster_status(WAIT).await;
        let seen = status.nodes.iter().find(|node| node.id == id(&places[wrong]));
        seen.and_then(|node| node.clock_ahead_millis).is_some_and(|ahead| ahead > 3_000_000)
    })
    .await;
    offsets[wrong].store(0, Ordering::Relaxed);
    until("all is well again", || async { !node.local_status().clock_is_off }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_time_that_was_driven_ahead_is_set_right_by_order_only() {
    let (places, offsets) = with_clocks(3).await;
    let node = places[0].node();
    put(node, "a", "1").await;
    let refused = node.reset_cluster_time(WAIT).await;
    assert!(matches!(refused, Err(ChangeError::NotHealthy { .. })), "{refused:?}");
    // All clocks were wrong for a while, as after a bad time server.
    for offset in &offsets {
        offset.store(86_400_000, Ordering::Relaxed);
    }
    until("cluster time has jumped", || async {
        put(node, "a", "2").await;
        node.view().cluster_time() > wall_clock().after(Duration::from_secs(3600))
    })
    .await;
    for offset in &offsets {
        offset.store(0, Ordering::Relaxed);
    }
    until("it is reset", || async {
        match node.reset_cluster_time(WAIT).await {
            Ok((before, now)) => before > now.after(Duration::from_secs(3600)),
            Err(_) => false,
        }
    })
    .await;
    put(node, "a", "3").await;
    for place in &places {
        place.node().barrier(WAIT).await.unwrap();
        assert!(place.node().view().cluster_time() < wall_clock().after(Duration::from_secs(60)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_hangs_lets_another_lead() {
    let places = cluster(3, Timings::lan()).await;
    let hangs = leader(&places).await;
    let member = places[hangs].node().member().unwrap();
    // One flush that never ends, beside those that do: what a hanging disk looks like from outside the log's thread.
    member.flushes.begin();
    until("another leads", || async {
        let leads = places[(hangs + 1) % 3].node().local_status().leader;
        leads.is_some() && leads != Some(id(&places[hangs]))
    })
    .await;
    member.flushes.end();
    until("it may lead again", || async { member.unfit().is_none() }).await;
}
