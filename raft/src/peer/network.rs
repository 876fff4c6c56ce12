//! openraft's calls to peers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};
use signet_model::time::UnixTime;
use tonic::{Code, Status};

use super::beats::Beats;
use super::link::{Client, Lane, Links};
use super::proto::{self, SnapshotHeader, SnapshotPart, snapshot_part::Part};
use super::receive::{manifest_bytes, pieces};
use super::wire;
use crate::state::SnapshotDir;
use crate::types::{LeaderId, PeerNode, TypeConfig, Vote};

/// Makes clients of peers.
pub(crate) struct Network {
    links: Arc<Links>,
}

impl Network {
    /// Clients over `links`.
    pub(crate) fn new(links: Arc<Links>) -> Self {
        Self { links }
    }

    fn to(&self, target: u64, lane: Lane) -> Peer {
        // Begins to connect before the first call.
        self.links.client(target, lane);
        self.links.client(target, Lane::Control);
        Peer { links: Arc::clone(&self.links), target, lane, beats: Beats::default() }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &PeerNode) -> Peer {
        self.to(target, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &PeerNode) -> Peer {
        self.to(target, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, _: &PeerNode) -> Peer {
        self.to(target, Lane::Bulk)
    }
}

/// Calls to one peer over one kind of link.
pub(crate) struct Peer {
    links: Arc<Links>,
    target: u64,
    lane: Lane,
    beats: Beats,
}

impl Peer {
    fn client(&self, lane: Lane) -> Result<Client, RPCError<TypeConfig>> {
        let client = self.links.client(self.target, lane);
        client.ok_or_else(|| Unreachable::from_string(format!("not connected to node {}", self.target)).into())
    }

    fn envelope(&self) -> proto::Envelope {
        self.links.directory().envelope(self.target)
    }

    async fn timed<T>(
        &self,
        action: RPCTypes,
        timeout: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, RPCError<TypeConfig>> {
        timed(self.links.directory().me(), self.target, action, timeout, call).await
    }

    async fn ask_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
        pre_vote: bool,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(Lane::Control)?;
        let request = wire::vote_request_to_wire(&rpc, self.envelope(), pre_vote);
        let reply = self.timed(RPCTypes::Vote, option.hard_ttl(), client.vote(request)).await?;
        wire::vote_reply_from_wire(reply).map_err(|status| rpc_error(&status))
    }

    /// A stream of appends for as long as `requests` goes on and all goes well.
    async fn open_append(
        &self,
        requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>
    {
        let mut client = self.client(self.lane)?;
        let envelope = self.envelope();
        let requests = requests.map(move |request| wire::append_to_wire(&request, envelope.clone()));
        let opened = tokio::time::timeout(STREAM_TIMEOUT, client.append(requests)).await;
        let replies = match opened {
            Ok(Ok(replies)) => replies.into_inner(),
            Ok(Err(status)) => return Err(rpc_error(&status)),
            Err(_) => return Err(Unreachable::from_string("the append stream did not open in time").into()),
        };
        let results = replies.map(|reply| reply.and_then(wire::append_result_from_wire).map_err(|s| rpc_error(&s)));
        Ok(Box::pin(results))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Arc<SnapshotDir>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let client = self.client(self.lane)?;
        let (low, high, _) = self.links.clocks().median();
        let request = proto::AppendRequest {
            median_low_millis: low.millis(),
            median_high_millis: high.millis(),
            quiet: self.links.is_quiet(),
            ..wire::append_to_wire(&rpc, self.envelope())
        };
        let (me, target, beats) = (self.links.directory().me(), self.target, &mut self.beats);
        let sent = beats.send(client, request);
        let reply = timed(me, target, RPCTypes::AppendEntries, option.hard_ttl(), sent).await?;
        self.links.clocks().heard(self.target, UnixTime::from_millis(reply.clock_millis));
        wire::append_result_from_wire(reply).map(Into::into).map_err(|status| rpc_error(&status))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.lane == Lane::Control {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            // openraft's pause after an error lies in the first request: without waiting for that, a peer that is down
            // would be tried again at once and for ever.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(futures::stream::empty().boxed()) };
            self.open_append(futures::stream::iter([first]).chain(input)).await
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, option, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, option, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, PeerNode, Arc<SnapshotDir>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.links.connected(self.target, Lane::Bulk, STREAM_TIMEOUT).await;
        let mut client = client.ok_or_else(|| Unreachable::from_string(format!("node {}", self.target)))?;
        let offer = SnapshotHeader {
            envelope: Some(self.envelope()),
            vote: Some((&vote).into()),
            manifest: manifest_bytes(&snapshot.snapshot),
            have: Vec::new(),
        };
        let have = match tokio::time::timeout(OFFER_TIMEOUT, client.offer(offer.clone())).await {
            Ok(Ok(reply)) => reply.into_inner().have,
            // An older program: it takes a whole snapshot or nothing.
            Ok(Err(status)) if status.code() == Code::Unimplemented => Vec::new(),
            Ok(Err(status)) => return Err(rpc_error(&status).into()),
            Err(_) => return Err(Unreachable::from_string("the snapshot's offer was not answered in time").into()),
        };
        let left_out: u64 = have.iter().sum();
        tracing::info!(to = self.target, left_out, "sending a snapshot");
        let header = SnapshotHeader { have: have.clone(), ..offer };
        let first = SnapshotPart { part: Some(Part::Header(header)) };
        // A file that cannot be read ends the stream early, and the receiver notices that it is not complete.
        let data = pieces(snapshot.snapshot, have).take_while(|piece| futures::future::ready(piece.is_ok()));
        let data = data.filter_map(|piece| futures::future::ready(piece.ok()));
        let parts = data.map(|piece| SnapshotPart { part: Some(Part::Data(piece)) });
        let sending = client.snapshot(futures::stream::iter([first]).chain(parts));
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.timed(RPCTypes::InstallSnapshot, option.hard_ttl(), sending) => {
                let vote = wire::ballot(sent?.vote).map_err(|status| StreamingError::from(rpc_error(&status)))?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut client = self.client(Lane::Control)?;
        let wanted = proto::TransferLeaderRequest {
            envelope: Some(self.envelope()),
            from_leader: Some(request.from_leader().into()),
            to_node: *request.to_node_id(),
            last_log_id: request.last_log_id().map(Into::into),
        };
        let sent = client.transfer_leader(wanted);
        let reply = self.timed(RPCTypes::TransferLeader, option.hard_ttl(), sent).await?;
        if reply.refusal.is_empty() {
            return Ok(Ok(()));
        }
        // openraft has no public name for its own form of this error.
        Err(NetworkError::from_string(format!("leadership was not taken: {}", reply.refusal)).into())
    }
}

/// What a call from `id` to `target` answers within `timeout`.
async fn timed<T>(
    id: u64,
    target: u64,
    action: RPCTypes,
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, RPCError<TypeConfig>> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(rpc_error(&status)),
        Err(_) => Err(Timeout { action, id, target, timeout }.into()),
    }
}

fn rpc_error(status: &Status) -> RPCError<TypeConfig> {
    // The peer is gone, refuses this node, or cannot take part: no use in trying again at once.
    let pointless = [Code::Unavailable, Code::PermissionDenied, Code::FailedPrecondition, Code::Unimplemented];
    if pointless.contains(&status.code()) { Unreachable::new(status).into() } else { NetworkError::new(status).into() }
}

/// The receiver may have files to move, and another transfer to end.
const OFFER_TIMEOUT: Duration = Duration::from_secs(15);
const STREAM_TIMEOUT: Duration = Duration::from_secs(1);
