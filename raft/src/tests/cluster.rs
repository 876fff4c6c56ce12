//! Whole clusters in one process, over real TLS on loopback and real stores.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use signet_model::caller::Caller;
use signet_model::rows::{Rows, Space};
use signet_model::time::UnixTime;

use super::machine::Words;
use crate::{AskError, Node, NodeConfig, OpenError, ProposeError, Role, Timings};

pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// A directory and whoever runs on it.
pub(crate) struct Place {
    // Before its directory.
    pub(crate) node: Option<Node>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) timings: Timings,
    /// How many feature levels above the first its program knows.
    pub(crate) newer: u32,
    pub(crate) contacts: Vec<String>,
    pub(crate) clock: Clock,
}

pub(crate) type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

impl Place {
    pub(crate) async fn open() -> Self {
        Self::with(Timings::lan()).await
    }

    /// A directory on which nobody runs yet.
    pub(crate) fn unopened() -> Self {
        let (dir, timings, clock) = (tempfile::tempdir().unwrap(), Timings::lan(), Arc::new(wall_clock));
        Self { node: None, dir, timings, newer: 0, contacts: Vec::new(), clock }
    }

    pub(crate) async fn with(timings: Timings) -> Self {
        Self::with_clock(timings, Arc::new(wall_clock)).await
    }

    /// One whose program knows so many feature levels above the first.
    pub(crate) async fn of_program(newer: u32, timings: Timings) -> Self {
        let mut place = Self::unopened();
        (place.timings, place.newer) = (timings, newer);
        place.start().await;
        place
    }

    pub(crate) async fn with_clock(timings: Timings, clock: Clock) -> Self {
        let mut place = Self::unopened();
        (place.timings, place.clock) = (timings, clock);
        place.start().await;
        place
    }

    pub(crate) async fn start(&mut self) {
        self.node = Some(self.try_start().await.unwrap());
    }

    pub(crate) async fn try_start(&self) -> Result<Node, OpenError> {
        let machine = Arc::new(Words { newer: self.newer, ..Words::default() });
        let (contacts, clock) = (self.contacts.clone(), Arc::clone(&self.clock));
        let config = NodeConfig { contacts, clock, ..config(self.dir.path(), self.timings.clone()) };
        Node::open(config, machine).await
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// As near to `kill -9` as one process allows: nothing is handed over or said goodbye.
    pub(crate) async fn kill(&mut self) {
        let node = self.node.take().unwrap();
        let threads = node.inner.threads.lock().unwrap().take().unwrap();
        threads.stop(WAIT).await;
    }
}

impl Drop for Place {
    /// The node ends before its directory goes: what it still wrote would fail, and it would end the whole test program.
    fn drop(&mut self) {
        let Some(node) = self.node.take() else { return };
        let Some(threads) = node.inner.threads.lock().unwrap().take() else { return };
        // Not here: this thread belongs to a runtime itself.
        let stopping = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(threads.stop(WAIT));
        });
        stopping.join().unwrap();
    }
}

pub(crate) fn words() -> Arc<Words> {
    Arc::new(Words::default())
}

pub(crate) fn config(dir: &Path, timings: Timings) -> NodeConfig {
    NodeConfig {
        data_dir: dir.join("data"),
        peer_listen: "127.0.0.1:0".parse().unwrap(),
        peer_advertise: None,
        contacts: Vec::new(),
        version: "test".into(),
        timings,
        storage: crate::Storage::default(),
        clock: Arc::new(wall_clock),
        answers: Arc::new(Echo),
    }
}

#[expect(clippy::disallowed_methods, reason = "the test is the program here")]
pub(crate) fn wall_clock() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn token(node: &Node) -> String {
    let caller = Caller::Local { node: 1, uid: 0, pid: 1 };
    let token = node.create_join_token(&caller, Duration::from_secs(60), WAIT).await.unwrap();
    token.text.to_string()
}

/// A cluster of `count` voters; the first was the founder.
pub(crate) async fn cluster(count: usize, timings: Timings) -> Vec<Place> {
    let mut places = vec![Place::with(timings.clone()).await];
    places[0].node().init().await.unwrap();
    while places.len() < count {
        let place = Place::with(timings.clone()).await;
        place.node().join(&token(places.last().unwrap().node()).await).await.unwrap();
        places.push(place);
    }
    places
}

/// Puts, again when an election on a busy machine has left it open: twice is the same as once.
pub(crate) async fn put(node: &Node, key: &str, value: &str) -> u64 {
    // A change of leader on a busy machine leaves some outcomes unknown; to put the same again does no harm.
    for _ in 0..10 {
        match node.propose(format!("put {key} {value}").into_bytes(), WAIT).await {
            Ok(applied) => return applied.index,
            Err(ProposeError::Unknown | ProposeError::NoQuorum) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("{key} could not be put");
}

pub(crate) fn get(node: &Node, key: &str) -> Option<String> {
    node.view().row(Space::Meta, key.as_bytes()).map(|value| String::from_utf8(value).unwrap())
}

pub(crate) async fn leader(places: &[Place]) -> usize {
    let mut found = None;
    until("one leader that all running nodes know", || {
        let running: Vec<_> =
            places.iter().enumerate().filter_map(|(at, place)| Some((at, place.node.as_ref()?))).collect();
        let known: BTreeSet<_> = running.iter().map(|(_, node)| node.local_status().leader).collect();
        found = running.iter().find(|(_, node)| node.local_status().role == Role::Leader).map(|(at, _)| *at);
        let agreed = known.len() == 1 && found.is_some();
        async move { agreed }
    })
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_keeps_what_it_acknowledged_over_a_restart() {
    let mut place = Place::open().await;
    assert_eq!(place.node().identity(), None);
    assert_eq!(place.node().local_status().role, Role::Waiting);
    assert_eq!(place.node().propose(b"put a 1".to_vec(), WAIT).await, Err(ProposeError::NotMember));
    let identity = place.node().init().await.unwrap();
    assert_eq!((identity.cluster_id.len(), identity.node_id), (32, 1));
    let index = put(place.node(), "a", "1").await;
    assert_eq!(get(place.node(), "a").unwrap(), "1");
    let address = place.node().peer_address();
    place.kill().await;
    place.start().await;
    assert_eq!(place.node().identity().unwrap(), identity);
    assert_eq!(place.node().peer_address(), address, "a port, once taken, is kept");
    assert!(place.node().barrier(WAIT).await.unwrap() >= index);
    assert_eq!(get(place.node(), "a").unwrap(), "1");
    let told = place.node().init().await.unwrap_err().to_string();
    assert!(told.contains("already"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_proposals_and_reads_its_own_and_others_writes() {
    let places = cluster(3, Timings::lan()).await;
    for (at, place) in places.iter().enumerate() {
        put(place.node(), "key", &at.to_string()).await;
        assert_eq!(get(place.node(), "key").unwrap(), at.to_string(), "its own write");
        for other in &places {
            other.node().barrier(WAIT).await.unwrap();
            assert_eq!(get(other.node(), "key").unwrap(), at.to_string(), "another's acknowledged write");
        }
    }
    for place in &places {
        let grant = place.node().lease(WAIT).await.unwrap();
        assert!(place.node().view().index() >= grant.index);
        assert!(grant.cluster_time >= place.node().view().cluster_time());
        // An election on a busy machine, or a connection that is being made anew, passes.
        until("one leader and two followers are seen", || async {
            let status = place.node().cluster_status(WAIT).await;
            assert_eq!(status.nodes.len(), 3);
            let count = |role| status.nodes.iter().filter(|node| node.role == role).count();
            status.confirmed && count(Role::Leader) == 1 && count(Role::Follower) == 2
        })
        .await;
    }
}

/// Says who asked what, and nothing to the impolite.
struct Echo;

#[async_trait::async_trait]
impl crate::Answers for Echo {
    async fn answer(&self, from: u64, question: Bytes) -> Result<Bytes, String> {
        if question.is_empty() {
            Err("nothing was asked".into())
        } else {
            Ok([&[u8::try_from(from).unwrap()][..], &question].concat().into())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_ask_each_other_what_only_the_rooms_above_understand() {
    let places = cluster(3, Timings::lan()).await;
    let asked = places[0].node();
    let me = asked.identity().unwrap().node_id;
    until("both others to be connected", async || asked.others().len() == 2).await;
    for other in asked.others() {
        let answer = asked.ask(other, Bytes::from_static(b"what?"), WAIT).await.unwrap();
        assert_eq!(answer, [&[u8::try_from(me).unwrap()][..], b"what?"].concat());
        let refused = asked.ask(other, Bytes::new(), WAIT).await.unwrap_err();
        assert_eq!(refused, AskError::Refused { node: other, detail: "nothing was asked".into() });
    }
    assert_eq!(asked.ask(99, Bytes::new(), WAIT).await, Err(AskError::Unreachable { node: 99 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut places = cluster(3, Timings::lan()).await;
    for round in 0..3 {
        let killed = leader(&places).await;
        put(places[(killed + 1) % 3].node(), &format!("before{round}"), "1").await;
        places[killed].kill().await;
        let survivor = places[(killed + 1) % 3].node();
        let began = Instant::now();
        loop {
            match survivor.propose(format!("put after{round} 1").into_bytes(), WAIT).await {
                Ok(_) => break,
                Err(ProposeError::Unknown) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        println!("round {round}: writes paused for {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5));
        places[killed].start().await;
        let returned = places[killed].node();
        until("the killed node catches up", || async { returned.barrier(WAIT).await.is_ok() }).await;
        for key in [format!("before{round}"), format!("after{round}")] {
            for place in &places {
                place.node().barrier(WAIT).await.unwrap();
                assert_eq!(get(place.node(), &key).unwrap(), "1");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_hands_its_leadership_over() {
    let mut places = cluster(3, Timings::lan()).await;
    let first = leader(&places).await;
    let survivor = places[(first + 1) % 3].node().clone();
    let leaving = places[first].node.take().unwrap();
    leaving.shutdown(WAIT).await;
    drop(leaving);
    let began = Instant::now();
    put(&survivor, "a", "1").await;
    println!("writes paused for {:?} after the hand-over", began.elapsed());
    places[first].start().await;
    let back = places[first].node();
    until("it is back", || async { back.barrier(WAIT).await.is_ok() && get(back, "a").is_some() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_promised() {
    let mut places = cluster(3, Timings::lan()).await;
    places[0].kill().await;
    places[1].kill().await;
    let left = places[2].node();
    let short = Duration::from_secs(1);
    until("the lone node knows that it is alone", || async { left.barrier(short).await.is_err() }).await;
    let refused = left.propose(b"put a 1".to_vec(), short).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NoQuorum | ProposeError::Unknown), "{refused:?}");
    let status = left.cluster_status(short).await;
    assert!(!status.confirmed);
    assert_eq!(status.nodes.iter().filter(|node| node.role == Role::Unreachable).count(), 2, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once_come_back_with_everything() {
    let mut places = cluster(3, Timings::lan()).await;
    put(places[1].node(), "a", "1").await;
    for place in &mut places {
        place.kill().await;
    }
    for place in &mut places {
        place.start().await;
    }
    for place in &places {
        let node = place.node();
        until("a quorum again", || async { node.barrier(WAIT).await.is_ok() }).await;
        assert_eq!(get(node, "a").unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_behind_node_is_brought_up_by_a_snapshot() {
    let timings = Timings { snapshot_every: 50, log_kept: 10, ..Timings::lan() };
    let mut places = cluster(3, timings).await;
    let behind = (leader(&places).await + 1) % 3;
    places[behind].kill().await;
    let writer = (behind + 1) % 3;
    for at in 0..300 {
        put(places[writer].node(), &format!("key{at:03}"), "1").await;
    }
    let purged = |node: &Node| node.member().unwrap().state.shelf.newest().is_some();
    let writer_node = places[writer].node().clone();
    until("a snapshot was made", || async { purged(&writer_node) }).await;
    places[behind].start().await;
    let node = places[behind].node();
    until("it has everything", || async { node.barrier(WAIT).await.is_ok() && get(node, "key299").is_some() }).await;
    assert_eq!(node.view().scan(Space::Meta, b"key", None, 1000).len(), 300);
    let first = places[behind].dir.path().join("data/state/1");
    until("a new generation has taken the first one's place", || async { !first.exists() }).await;
    // And a newcomer too.
    let newcomer = Place::with(places[behind].timings.clone()).await;
    newcomer.node().join(&token(places[behind].node()).await).await.unwrap();
    newcomer.node().barrier(WAIT).await.unwrap();
    assert_eq!(newcomer.node().view().scan(Space::Meta, b"key", None, 1000).len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_knows_stops_the_node() {
    let place = Place::open().await;
    place.node().init().await.unwrap();
    let failed = place.node().failed();
    let _ = place.node().propose(b"unknown".to_vec(), Duration::from_secs(1)).await;
    let cause = tokio::time::timeout(WAIT, failed).await.unwrap();
    assert!(cause.contains("raft has stopped"), "{cause}");
    assert!(
        cause.contains("not a word we know") && cause.contains("install the version the other nodes run"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_command_that_is_too_large() {
    let place = Place::open().await;
    place.node().init().await.unwrap();
    let refused = place.node().propose(vec![b'x'; (1 << 20) + 1], WAIT).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_takes_the_log_from_a_leader_it_never_heard_of() {
    // Patient timings: on a busy machine another election would hide what is asked here.
    let mut places = cluster(3, Timings::wan()).await;
    places[2].kill().await;
    let newcomer = Place::with(Timings::wan()).await;
    let newcomer_id = newcomer.node().join(&token(places[0].node()).await).await.unwrap().node_id;
    places.push(newcomer);
    let first = leader(&places).await;
    places[first].node().member().unwrap().raft.trigger().transfer_leader(newcomer_id).await.unwrap();
    until("the newcomer leads", || async { places[3].node().local_status().role == Role::Leader }).await;
    put(places[3].node(), "a", "1").await;
    places[2].start().await;
    let back = places[2].node();
    until("it has caught up", || async { get(back, "a").is_some() && back.barrier(WAIT).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_once_from_all_nodes_are_all_applied_once_and_in_one_order() {
    let places = cluster(3, Timings::lan()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..96 {
        let node = places[client % 3].node().clone();
        tasks.spawn(async move {
            for at in 0..20 {
                put(&node, &format!("{client}-{at}"), "1").await;
            }
        });
    }
    tasks.join_all().await;
    for place in &places {
        place.node().barrier(WAIT).await.unwrap();
        assert_eq!(place.node().view().scan(Space::Meta, b"", None, 10_000).len(), 96 * 20);
    }
}
