//! Before it stands for election a node asks whether it could win, and is told the truth.

use std::time::Duration;

use openraft::raft::VoteRequest;
use tokio::time::{Instant, sleep};

use super::cluster::{Place, WAIT, cluster, put, until};
use crate::peer::{Lane, proto};
use crate::types::{TypeConfig, Vote};
use crate::{Node, Role, Timings};

/// What `voter` answers when `candidate` asks whether it would vote for it in `term`. It is asked until it answers: one that
/// has not heard yet of a member that is new drops the connection.
async fn ask(candidate: &Place, voter: &Place, term: u64, last: Option<crate::types::LogId>) -> bool {
    let id = |place: &Place| place.node().identity().unwrap().node_id;
    let member = candidate.node().member().unwrap();
    let asked: VoteRequest<TypeConfig> = VoteRequest::new(Vote::new(term, id(candidate)), last);
    let request = proto::VoteRequest {
        envelope: Some(member.directory.envelope(id(voter))),
        vote: Some((&asked.vote).into()),
        last_log_id: asked.last_log_id.as_ref().map(Into::into),
        leadership_transfer: false,
        pre_vote: true,
    };
    let deadline = Instant::now() + WAIT;
    loop {
        let mut client = member.links.connected(id(voter), Lane::Calls, WAIT).await.unwrap();
        match client.vote(request.clone()).await {
            Ok(answer) => return answer.into_inner().granted,
            Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pre_vote_is_refused_to_a_candidate_whose_log_is_behind() {
    let mut places = cluster(3, Timings::lan()).await;
    put(places[0].node(), "a", "1").await;
    let leads = |node: &Node| node.local_status().role == Role::Leader;
    until("somebody leads", || async { places.iter().any(|place| leads(place.node())) }).await;
    let leader = places.iter().position(|place| leads(place.node())).unwrap();
    // Without a leader nobody refuses because there is one.
    places[leader].kill().await;
    let [candidate, voter] = [(leader + 1) % 3, (leader + 2) % 3];
    let term = places[voter].node().local_status().term + 10;
    assert!(!ask(&places[candidate], &places[voter], term, None).await, "granted to a candidate without a log");
}
