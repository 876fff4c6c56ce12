//! How the nodes of a cluster speak with each other: mutually authenticated TLS between keys that the replicated roster
//! pins, and gRPC on it.

mod beats;
mod clocks;
mod cluster;
mod connect;
mod directory;
mod key;
mod link;
mod listener;
mod network;
mod receive;
mod server;
mod stranger;
mod tls;
mod wire;

pub(crate) use crate::types::Pin;
pub(crate) use clocks::Clocks;
pub(crate) use cluster::cluster_in;
pub(crate) use connect::{ConnectError, connect, connect_any};
#[cfg(test)]
pub(crate) use connect::{Connection, Driver};
pub(crate) use directory::{Directory, Vouched};
pub(crate) use key::PeerKey;
pub(crate) use link::{Client, Lane, Links, client_of};
#[cfg(test)]
pub(crate) use listener::Caller;
pub(crate) use listener::Listener;
pub(crate) use network::Network;
#[cfg(test)]
pub(crate) use receive::{pieces, receive};
pub(crate) use server::{for_members, for_newcomers};
pub(crate) use stranger::Stranger;
pub(crate) use tls::{Channel, Tls};
pub(crate) use wire::{append_result_from_wire, members_from_wire, members_to_wire};

/// The generated messages, clients and servers.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
pub(crate) mod proto {
    tonic::include_proto!("signet.peer.v1");
}
