//! What is promised to other nodes is held against the disk at the moment it is said.

use std::pin::Pin as Boxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;
use prost::Message as _;
use tonic::body::Body;

use super::checks::entry_key;
use super::world::world;
use crate::encoding::{StoredVote, unversioned};
use crate::peer::proto;
use crate::types::Vote;

/// The body of a reply, looked at as it goes by.
pub(super) fn replies(path: &str, body: Body) -> Body {
    let kind = match path.rsplit('/').next() {
        Some("Vote") => Kind::Vote,
        Some("Append" | "Heartbeat" | "Heartbeats") => Kind::Append,
        _ => return body,
    };
    Body::new(Tapped { kind, body })
}

#[derive(Clone, Copy)]
enum Kind {
    Vote,
    Append,
}

struct Tapped {
    kind: Kind,
    body: Body,
}

impl hyper::body::Body for Tapped {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Boxed<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Boxed::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let mut rest = data.as_ref();
            while let Some((head, after)) = rest.split_at_checked(5) {
                let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                let (message, after) = after.split_at(len);
                look(self.kind, message);
                rest = after;
            }
        }
        Poll::Ready(frame)
    }
}

fn look(kind: Kind, message: &[u8]) {
    let world = world();
    let node = world.turn();
    let disk = world.disks.lock().unwrap().values().nth(node).cloned();
    let Some(disk) = disk else { return };
    match kind {
        Kind::Vote => {
            let reply = proto::VoteReply::decode(message).unwrap();
            let Some(ballot) = reply.vote.filter(|_| reply.granted) else { return };
            let (told, stored) = (Vote::from(ballot), disk.read_file("vote"));
            let stored = stored.map(|bytes| Vote::from(unversioned::<StoredVote>(&bytes).unwrap()));
            world.trace(format_args!("n{node} grants {told}"));
            if stored.is_none_or(|stored| stored < told) {
                world.violated(format_args!("n{node} grants its vote {told} while {stored:?} is durable"));
            }
        }
        Kind::Append => {
            use proto::append_reply::Outcome;

            let reply = proto::AppendReply::decode(message).unwrap();
            let Some(Outcome::Accepted(proto::Accepted { upto: Some(upto) })) = reply.outcome else { return };
            let key = entry_key(upto.index);
            if disk.holds(&key) && !disk.is_durable(&key) {
                world.violated(format_args!("n{node} accepts entry {} before it is durable", upto.index));
            }
        }
    }
}
