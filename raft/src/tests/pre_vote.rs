//! Before it stands for election a node asks whether it could win, and is told the truth.

use openraft::raft::VoteRequest;

use super::cluster::{Place, WAIT, cluster, put, until};
use crate::peer::{Lane, proto};
use crate::types::{TypeConfig, Vote};
use crate::{Node, Role, Timings};

/// What `voter` answers when `candidate` asks whether it would vote for it in `term`.
async fn ask(candidate: &Place, voter: &Place, term: u64, last: Option<crate::types::LogId>) -> bool {
    let id = |place: &Place| place.node().identity().unwrap().node_id;
    let member = candidate.node().member().unwrap();
    let mut client = member.links.connected(id(voter), Lane::Calls, WAIT).await.unwrap();
    let asked: VoteRequest<TypeConfig> = VoteRequest::new(Vote::new(term, id(candidate)), last);
    let request = proto::VoteRequest {
        envelope: Some(member.directory.envelope(id(voter))),
        vote: Some((&asked.vote).into()),
        last_log_id: asked.last_log_id.as_ref().map(Into::into),
        leadership_transfer: false,
        pre_vote: true,
    };
    client.vote(request).await.unwrap().into_inner().granted
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
