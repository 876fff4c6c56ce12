//! A quorum that is lost for good, and what becomes of a survivor.

use std::fs;
use std::path::PathBuf;

use signet_model::rows::{Rows, Space};

use crate::tests::cluster::{Place, WAIT, cluster, get, put, token, until, words};
use crate::{BarrierError, Node, Plan, PlanError, RecoverError, Survivor, Timings, resume_recovery};

fn data(place: &Place) -> PathBuf {
    place.dir.path().join("data")
}

async fn survivor(place: &Place) -> Survivor {
    Survivor::open(&data(place), words()).await.unwrap()
}

/// Three nodes of which two are gone for good, with what was acknowledged before.
async fn lost_quorum() -> (Vec<Place>, Place) {
    let mut places = cluster(3, Timings::lan()).await;
    let index = put(places[0].node(), "a", "1").await;
    places[1].node().barrier(WAIT).await.unwrap();
    assert!(places[1].node().view().index() >= index);
    for place in &mut places {
        place.kill().await;
    }
    let survivor = places.remove(1);
    (places, survivor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_becomes_a_new_cluster_with_every_acknowledged_write_it_had() {
    let (mut lost, mut place) = lost_quorum().await;
    let before = names(&data(&place));
    let opened = survivor(&place).await;
    let plan = Plan::of(vec![opened.survey().clone()]).unwrap();
    assert_eq!((plan.chosen, plan.lost.as_slice()), (2, [1, 3].as_slice()));
    let bound = plan.bound();
    assert!(bound.complete_until.unwrap().index >= 3, "{bound:?}");
    assert_eq!(opened.view().row(Space::Meta, b"a").unwrap(), b"1");
    drop(opened);
    assert_eq!(names(&data(&place)), before, "looking changes nothing");

    let opened = survivor(&place).await;
    let (old, at) = (opened.survey().cluster_id.clone(), opened.survey().last_log.index);
    let recovered =
        opened.recover(|_, _, new| fs::write(new.join("mine"), "x").map_err(|e| e.to_string())).await.unwrap();
    assert_eq!((recovered.node_id, recovered.index), (4, at + 1));
    assert_ne!(recovered.cluster_id, old);
    assert!(recovered.set_aside.join("identity").exists() && recovered.set_aside.join("log").exists());
    assert!(data(&place).join("mine").exists());

    place.start().await;
    let node = place.node();
    node.barrier(WAIT).await.unwrap();
    assert_eq!(node.identity().unwrap().cluster_id, recovered.cluster_id);
    assert_eq!(get(node, "a").unwrap(), "1");
    put(node, "b", "2").await;
    let newcomer = Place::open().await;
    assert_eq!(newcomer.node().join(&token(node).await).await.unwrap().node_id, 5);
    assert_eq!((get(newcomer.node(), "a").unwrap(), get(newcomer.node(), "b").unwrap()), ("1".into(), "2".into()));

    // The lost ones come back: together they are a quorum of the old cluster, but nobody of the new one hears them.
    for old in &mut lost {
        old.start().await;
    }
    fenced(&lost, node).await;
}

/// The nodes of the old cluster and the new one keep apart.
async fn fenced(old: &[Place], new: &Node) {
    until("the old nodes to find each other", || async { old[0].node().barrier(WAIT).await.is_ok() }).await;
    put(old[0].node(), "a", "old").await;
    put(new, "a", "new").await;
    assert_eq!(get(new, "a").unwrap(), "new");
    old[1].node().barrier(WAIT).await.unwrap();
    assert_eq!(get(old[1].node(), "a").unwrap(), "old");
    let heard = old[0].node().cluster_status(WAIT).await;
    let two = heard.nodes.iter().find(|node| node.id == 2).unwrap();
    assert_eq!(two.role, crate::Role::Unreachable, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_cut_off_at_any_step_is_refused_at_start_and_finished_by_the_same_command() {
    let (_lost, place) = lost_quorum().await;
    let opened = survivor(&place).await;
    opened.recover(|_, _, _| Ok(())).await.unwrap();
    let aside = names(&data(&place)).into_iter().find(|name| name.starts_with("before-recovery-")).unwrap();
    // As if the process had died in the middle: some names have changed places, some have not.
    let dir = data(&place);
    let work = dir.join("recovering").join("new");
    fs::create_dir_all(&work).unwrap();
    for name in ["identity", "log"] {
        fs::rename(dir.join(name), work.join(name)).unwrap();
    }
    fs::rename(dir.join(&aside).join("log"), dir.join("log")).unwrap();
    let marker = crate::recover::marker_of(
        &aside,
        &["contact", "identity", "log", "state", "vote"],
        &["identity", "log", "state"],
    );
    crate::durable::replace(&dir.join("recovery"), &marker).unwrap();

    let mut place = place;
    let refused = Node::open(crate::tests::cluster::config(place.dir.path(), Timings::lan()), words()).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("recover apply"), "{told}");
    assert!(matches!(Survivor::open(&dir, words()).await, Err(RecoverError::Interrupted { .. })));
    assert!(resume_recovery(&dir).unwrap());
    assert!(!resume_recovery(&dir).unwrap(), "nothing is left to do");
    place.start().await;
    place.node().barrier(WAIT).await.unwrap();
    assert_eq!(get(place.node(), "a").unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_were_not_known_to_be_committed_are_kept() {
    let mut places = cluster(3, Timings::lan()).await;
    put(places[0].node(), "a", "1").await;
    let leader = places.iter().position(|place| place.node().local_status().role == crate::Role::Leader).unwrap();
    for at in (0..3).filter(|at| *at != leader) {
        places[at].kill().await;
    }
    // Alone it appends, and nobody can commit.
    let lone = places[leader].node().clone();
    let unknown = lone.propose(b"put b undecided".to_vec(), std::time::Duration::from_millis(200)).await;
    assert!(unknown.is_err(), "{unknown:?}");
    assert!(matches!(lone.barrier(std::time::Duration::from_millis(200)).await, Err(BarrierError::NoQuorum)));
    drop(lone);
    places[leader].kill().await;
    let opened = survivor(&places[leader]).await;
    let survey = opened.survey().clone();
    if survey.last_log.index > survey.applied.unwrap().index {
        assert!(Plan::of(vec![survey]).unwrap().bound().undecided > 0);
        assert_eq!(opened.view().row(Space::Meta, b"b").unwrap(), b"undecided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_running_node_a_directory_without_one_and_a_quorum() {
    let mut places = cluster(3, Timings::lan()).await;
    let refused = Survivor::open(&data(&places[0]), words()).await.unwrap_err().to_string();
    assert!(refused.contains("in use"), "{refused}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Survivor::open(empty.path(), words()).await, Err(RecoverError::NotMember { .. })));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    let mut surveys = Vec::new();
    for place in &mut places {
        place.kill().await;
        surveys.push(survivor(place).await.survey().clone());
    }
    assert!(matches!(Plan::of(surveys), Err(PlanError::Quorum { present: 3, voters: 3 })));
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
