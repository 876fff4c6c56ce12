//! What this node answers to peers.

use std::pin::Pin as Boxed;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{Stream, StreamExt};
use openraft::Snapshot;
use openraft::raft::{StreamAppendError, TransferLeaderRequest};
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::link::MAX_MESSAGE;
use super::listener::Caller;
use super::proto::door_server::{self, DoorServer};
use super::proto::peer_server::{self, PeerServer};
use super::proto::{self, snapshot_part::Part};
use super::receive::receive;
use super::tls::Channel;
use super::wire;
use crate::blocking::blocking;
use crate::encoding::unversioned;
use crate::feature;
use crate::member::{Member, NotHere, Promotion, Turn, outcome_to_wire};
use crate::state::{Manifest, Partial};
use crate::token::{Binding, is_newcomers, prove_membership};
use crate::types::{Order, OrderOutcome, PeerNode, Pin};

/// The member behind the services, once there is one.
pub(crate) type Current = watch::Receiver<Option<Arc<Member>>>;

/// Answers members.
pub(crate) struct Peers {
    member: Current,
}

/// Answers newcomers.
pub(crate) struct Newcomers {
    member: Current,
}

/// The service for members.
pub(crate) fn for_members(member: Current) -> PeerServer<Peers> {
    PeerServer::new(Peers { member }).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}

/// The service for newcomers.
pub(crate) fn for_newcomers(member: Current) -> DoorServer<Newcomers> {
    DoorServer::new(Newcomers { member }).max_decoding_message_size(DOOR_MESSAGE)
}

fn current(member: &Current) -> Result<Arc<Member>, Status> {
    member.borrow().clone().ok_or_else(|| Status::failed_precondition("this node belongs to no cluster yet"))
}

fn pin<T>(request: &Request<T>) -> Result<Pin, Status> {
    Ok(caller(request)?.pin)
}

fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(|| Status::internal("the connection proved no key"))
}

fn stopped(cause: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped: {cause}"))
}

impl Peers {
    /// The member, if the message is for it and from another member.
    fn admit<T>(&self, request: &Request<T>, envelope: Option<proto::Envelope>) -> Result<Arc<Member>, Status> {
        let member = current(&self.member)?;
        member.directory.admit(envelope, pin(request)?)?;
        Ok(member)
    }
}

type Replies = Boxed<Box<dyn Stream<Item = Result<proto::AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl peer_server::Peer for Peers {
    type AppendStream = Replies;
    type HeartbeatsStream = Replies;

    async fn vote(&self, mut request: Request<proto::VoteRequest>) -> Result<Response<proto::VoteReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let request = request.into_inner();
        let pre_vote = request.pre_vote;
        let asked = wire::vote_request_from_wire(request)?;
        let reply = if pre_vote { member.raft.pre_vote(asked).await } else { member.raft.vote(asked).await };
        Ok(Response::new(wire::vote_reply_to_wire(&reply.map_err(stopped)?)))
    }

    async fn heartbeat(
        &self,
        mut request: Request<proto::AppendRequest>,
    ) -> Result<Response<proto::AppendReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let request = request.into_inner();
        Ok(Response::new(heartbeat(&member, request).await?))
    }

    async fn heartbeats(&self, request: Request<Streaming<proto::AppendRequest>>) -> Result<Response<Replies>, Status> {
        let member = current(&self.member)?;
        let pin = pin(&request)?;
        let replies = request.into_inner().then(move |message| {
            let member = Arc::clone(&member);
            async move {
                let mut message = message?;
                // Each is held against the roster: a stream does not outlive its sender's membership.
                member.directory.admit(message.envelope.take(), pin)?;
                heartbeat(&member, message).await
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn append(&self, request: Request<Streaming<proto::AppendRequest>>) -> Result<Response<Replies>, Status> {
        let member = current(&self.member)?;
        let pin = pin(&request)?;
        let (directory, disk) = (Arc::clone(&member.directory), Arc::clone(&member.disk));
        let unreadable = member.unreadable.clone();
        // Each message is held against the roster: a stream does not outlive its sender's membership.
        let admitted = request.into_inner().map(move |message| {
            let mut message = message?;
            directory.admit(message.envelope.take(), pin)?;
            // Better behind than dead: a log that cannot be written ends the process.
            if let (Some(detail), false) = (disk.stop(), message.entries.is_empty()) {
                return Err(Status::resource_exhausted(detail));
            }
            wire::append_from_wire(message).inspect_err(|status| {
                // It will be sent again and again, and must not be skipped.
                if !status.message().starts_with(wire::UNREADABLE) {
                    return;
                }
                unreadable.send_replace(Some(format!(
                    "the leader's log holds what this program cannot read ({}): if the other nodes run a newer version, \
                     install it here; otherwise the leader is damaged",
                    status.message()
                )));
            })
        });
        let (failed, refusal) = watch::channel(None);
        let requests = admitted.scan((), move |(), message: Result<_, Status>| {
            futures::future::ready(message.map_err(|status| failed.send_replace(Some(status))).ok())
        });
        let results = member.raft.stream_append(requests);
        let replies = results.map(|result| match result {
            Ok(result) => Ok(wire::append_result_to_wire(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        // What ended the requests, if it was not the sender, ends the replies.
        let end = futures::stream::once(async move { refusal.borrow().clone() });
        let end = end.filter_map(|status| futures::future::ready(status.map(Err)));
        Ok(Response::new(Box::pin(replies.chain(end))))
    }

    async fn snapshot(
        &self,
        mut request: Request<Streaming<proto::SnapshotPart>>,
    ) -> Result<Response<proto::SnapshotReply>, Status> {
        let Some(Ok(proto::SnapshotPart { part: Some(Part::Header(header)) })) = request.get_mut().next().await else {
            return Err(Status::invalid_argument("expected a header"));
        };
        let member = self.admit(&request, header.envelope)?;
        let vote = wire::ballot(header.vote)?;
        let manifest = offered(&header.manifest, &member)?;
        let meta = manifest.meta.clone().try_into();
        let meta = meta.map_err(|cause: crate::encoding::EncodingError| Status::invalid_argument(cause.to_string()))?;
        let shelf = &member.state.shelf;
        let turn = shelf.incoming.turn().await;
        let (partial, have) = there(&member, manifest, header.have.is_empty()).await?;
        if !header.have.is_empty() && header.have != have {
            return Err(Status::aborted("what is here of the snapshot has changed since it was offered"));
        }
        receive(&partial, &have, &mut request.into_inner(), &turn.over).await?;
        let scratch = shelf.scratch().map_err(|cause| not_stored(&cause))?;
        let dir = partial.finish(scratch).map_err(|cause| not_stored(&cause))?;
        let snapshot = Snapshot { meta, snapshot: Arc::new(dir) };
        let reply = member.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(proto::SnapshotReply { vote: Some((&reply.vote).into()) }))
    }

    async fn offer(&self, mut request: Request<proto::SnapshotHeader>) -> Result<Response<proto::OfferReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let manifest = offered(&request.into_inner().manifest, &member)?;
        let _turn = member.state.shelf.incoming.turn().await;
        let (_, have) = there(&member, manifest, false).await?;
        Ok(Response::new(proto::OfferReply { have }))
    }

    async fn transfer_leader(
        &self,
        mut request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let request = request.into_inner();
        let from = wire::ballot(request.from_leader)?;
        if let (true, Some(why)) = (request.to_node == member.id, member.unfit()) {
            return Ok(Response::new(proto::TransferLeaderReply { refusal: why.to_string() }));
        }
        let asked = TransferLeaderRequest::new(from, request.to_node, request.last_log_id.map(Into::into));
        let answer = member.raft.handle_transfer_leader(asked).await.map_err(stopped)?;
        let refusal = answer.err().map(|refusal| refusal.to_string()).unwrap_or_default();
        Ok(Response::new(proto::TransferLeaderReply { refusal }))
    }

    async fn propose(
        &self,
        mut request: Request<proto::ProposeRequest>,
    ) -> Result<Response<proto::ProposeReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let request = request.into_inner();
        let wait = Duration::from_millis(request.timeout_millis.into());
        let orders: Result<Vec<Order>, _> = request.orders.iter().map(|order| from_bytes(order)).collect();
        let orders =
            orders.map_err(|_| Status::failed_precondition("this node does not know an order; it is older"))?;
        let placed = join_all(orders.into_iter().map(|order| {
            let member = &member;
            async move {
                let placed = tokio::time::timeout(wait, member.propose_here(order)).await;
                outcome_to_wire(placed.unwrap_or(Err(NotHere::Unknown)))
            }
        }));
        Ok(Response::new(proto::ProposeReply { outcomes: placed.await }))
    }

    async fn read_index(
        &self,
        mut request: Request<proto::ReadIndexRequest>,
    ) -> Result<Response<proto::ReadIndexReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let reply = match member.read_point_here().await {
            Some(point) => {
                proto::ReadIndexReply { confirmed: true, index: point.index, cluster_time_millis: point.time.millis() }
            }
            None => proto::ReadIndexReply::default(),
        };
        Ok(Response::new(reply))
    }

    async fn status(&self, mut request: Request<proto::StatusRequest>) -> Result<Response<proto::StatusReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let from = envelope.as_ref().map_or(0, |envelope| envelope.from);
        let member = self.admit(&request, envelope)?;
        let address = request.into_inner().address;
        if crate::config::check_address(&address).is_ok() {
            member.directory.met(from, &address);
        }
        Ok(Response::new(member.status_reply()))
    }

    async fn hash(&self, mut request: Request<proto::HashRequest>) -> Result<Response<proto::HashReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        Ok(Response::new(member.hash_here(request.into_inner().index).await))
    }

    async fn ask(&self, mut request: Request<proto::AskRequest>) -> Result<Response<proto::AskReply>, Status> {
        use proto::ask_reply::Outcome;

        let envelope = request.get_mut().envelope.take();
        let from = envelope.as_ref().map_or(0, |envelope| envelope.from);
        let member = self.admit(&request, envelope)?;
        let outcome = match member.answers.answer(from, request.into_inner().question).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(refusal) => Outcome::Refusal(refusal),
        };
        Ok(Response::new(proto::AskReply { outcome: Some(outcome) }))
    }

    async fn promote(
        &self,
        mut request: Request<proto::PromoteRequest>,
    ) -> Result<Response<proto::PromoteReply>, Status> {
        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let reply = match member.promote_here(request.into_inner().node).await {
            Promotion::Voter => proto::PromoteReply { voter: true, detail: String::new() },
            Promotion::NotYet(detail) => proto::PromoteReply { voter: false, detail },
        };
        Ok(Response::new(reply))
    }

    async fn change(&self, mut request: Request<proto::ChangeRequest>) -> Result<Response<proto::ChangeReply>, Status> {
        use proto::change_reply::Outcome;

        let envelope = request.get_mut().envelope.take();
        let member = self.admit(&request, envelope)?;
        let request = request.into_inner();
        let deadline = Instant::now() + Duration::from_millis(request.timeout_millis.into());
        let wanted = from_bytes(&request.wanted)
            .map_err(|_| Status::failed_precondition("this node does not know what is wanted; it is older"))?;
        let outcome = match member.do_here(wanted, deadline).await {
            Ok(done) => Outcome::Done(to_bytes(&done).into()),
            Err(Turn::Refused(why)) => Outcome::Refused(to_bytes(&why).into()),
            Err(Turn::NotLeader(leader)) => Outcome::NotLeader(leader.unwrap_or(0)),
        };
        Ok(Response::new(proto::ChangeReply { outcome: Some(outcome) }))
    }
}

/// Has openraft answer a heartbeat.
async fn heartbeat(member: &Member, request: proto::AppendRequest) -> Result<proto::AppendReply, Status> {
    if request.median_high_millis > 0 {
        let time = UnixTime::from_millis;
        member.clocks.told(time(request.median_low_millis), time(request.median_high_millis));
    }
    let quiet = request.quiet;
    let append = wire::append_from_wire(request)?;
    let (prev, last) = (append.prev_log_id, append.entries.last().map(|entry| entry.log_id));
    let reply = member.raft.append_entries(append).await.map_err(stopped)?;
    if reply.is_conflict() && prev.is_none() {
        return Err(Status::internal("a conflict before the first entry"));
    }
    let result = reply.into_stream_result(prev, last.or(prev));
    if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
        member.hear_leader(quiet);
    }
    let clock_millis = member.clocks.own().millis();
    Ok(proto::AppendReply { clock_millis, ..wire::append_result_to_wire(&result) })
}

/// The manifest in an offer, if this node may install what it tells of.
fn offered(bytes: &[u8], member: &Member) -> Result<Manifest, Status> {
    let manifest: Manifest = unversioned(bytes)
        .map_err(|cause| Status::failed_precondition(format!("cannot read the manifest: {cause}")))?;
    match manifest.objection(&member.cluster()) {
        Some(objection) => Err(Status::failed_precondition(format!("cannot install the snapshot: {objection}"))),
        None => Ok(manifest),
    }
}

/// What is there of a snapshot, or the place for all of it.
async fn there(member: &Arc<Member>, manifest: Manifest, anew: bool) -> Result<(Partial, Vec<u64>), Status> {
    let member = Arc::clone(member);
    let look = blocking(move || {
        let partial = member.state.shelf.partial(manifest)?;
        if anew {
            partial.restart()?;
        }
        let have = partial.have()?;
        Ok((partial, have))
    });
    look.await.map_err(|cause| not_stored(&cause))
}

fn not_stored(cause: &std::io::Error) -> Status {
    Status::internal(format!("cannot store the snapshot: {cause}"))
}

#[tonic::async_trait]
impl door_server::Door for Newcomers {
    async fn join(&self, request: Request<proto::JoinRequest>) -> Result<Response<proto::JoinReply>, Status> {
        use proto::join_reply::Outcome;

        let member = current(&self.member)?;
        let (pin, channel) = caller(&request).map(|caller| (caller.pin, caller.channel))?;
        let request = request.into_inner();
        let outcome = match admit_newcomer(&member, pin, channel, &request).await {
            Ok(admitted) => Outcome::Admitted(admitted),
            Err(refusal) => {
                tracing::warn!(%pin, refusal = refusal.as_str_name(), "a newcomer was refused");
                Outcome::Refused(refusal.into())
            }
        };
        Ok(Response::new(proto::JoinReply { outcome: Some(outcome) }))
    }
}

async fn admit_newcomer(
    member: &Member,
    pin: Pin,
    channel: Channel,
    request: &proto::JoinRequest,
) -> Result<proto::Admitted, proto::Refusal> {
    if request.cluster != member.cluster() {
        return Err(proto::Refusal::OtherCluster);
    }
    if crate::config::check_address(&request.address).is_err() {
        return Err(proto::Refusal::BadAddress);
    }
    let id: [u8; 32] = request.token.as_ref().try_into().map_err(|_| proto::Refusal::UnknownToken)?;
    // A stranger must not be able to fill the log: what is hopeless is refused before it is proposed. A token may be newer
    // than this node's state.
    if member.state.token(&id).is_none() {
        member.barrier(JOIN_TIMEOUT).await.map_err(|_| proto::Refusal::NoQuorum)?;
    }
    let binding = Binding { channel, cluster: &request.cluster, newcomer: pin, address: &request.address };
    let row = member.state.token(&id);
    let member_key = row.as_ref().map(|row| row.member_key);
    match row {
        None => return Err(proto::Refusal::UnknownToken),
        Some(token) if !is_newcomers(&token.verifier, &request.proof, &binding) => {
            return Err(proto::Refusal::BadProof);
        }
        Some(token) if token.used_by.is_some_and(|user| member.directory.peer(user).is_none_or(|it| it.pin != pin)) => {
            return Err(proto::Refusal::UsedToken);
        }
        Some(token) if token.used_by.is_none() && member.cluster_time_now() >= token.expires_at => {
            return Err(proto::Refusal::ExpiredToken);
        }
        Some(_) => {}
    }
    if request.feature_level.max(feature::FIRST) < member.state.feature_level() {
        return Err(proto::Refusal::TooOld);
    }
    let node = PeerNode { address: request.address.clone(), pin };
    let order = Order::ConsumeJoinToken { hash: id, node };
    let placed = member.propose(order, JOIN_TIMEOUT).await.map_err(|_| proto::Refusal::NoQuorum)?;
    match from_bytes(&placed.outcome.body) {
        Ok(OrderOutcome::Registered { node }) => {
            let applied_end = member.state.view().end();
            let roster = member.directory.roster();
            tracing::info!(node, %pin, "a newcomer was registered");
            let proof = member_key.map(|key| prove_membership(&key, &binding)).unwrap_or_default().into();
            Ok(proto::Admitted { node, members: wire::members_to_wire(&roster), applied_end, proof })
        }
        Ok(OrderOutcome::UsedToken) => Err(proto::Refusal::UsedToken),
        Ok(OrderOutcome::ExpiredToken) => Err(proto::Refusal::ExpiredToken),
        Ok(OrderOutcome::UnknownToken) => Err(proto::Refusal::UnknownToken),
        Ok(OrderOutcome::RemovedKey) => Err(proto::Refusal::RemovedKey),
        _ => Err(proto::Refusal::Unspecified),
    }
}

const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A newcomer has no business sending more.
const DOOR_MESSAGE: usize = 16 << 10;
