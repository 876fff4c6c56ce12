//! Signet's replicated state: openraft on RocksDB, the peers' transport, membership.
//!
//! Everything of openraft and RocksDB lives in this room and no type of theirs leaves it. Other rooms hold a [`Node`]: they
//! propose commands (opaque bytes here), read a consistent [`View`], and ask for barriers, leases and status. What the
//! commands mean is told by a [`StateMachine`].

mod backup;
mod blocking;
mod config;
mod disk;
mod durable;
mod encoding;
mod error;
mod fatal;
mod feature;
mod identity;
mod join;
mod log;
mod machine;
mod member;
mod membership;
mod node;
mod open;
mod peer;
mod probe;
mod recover;
mod state;
mod status;
mod threads;
mod token;
mod types;
mod view;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use backup::{
    Ancestor, AncestorKind, LogPlace, OpenedSnapshot, Restored, SaveError, SavedSnapshot, SnapshotError, SnapshotInfo,
    check_snapshot, inspect_snapshot, open_snapshot, restore_snapshot,
};
pub use config::{NodeConfig, Storage, Timings, UnknownProfile};
pub use disk::DiskState;
pub use error::{BarrierError, InitError, JoinError, OpenError, ProposeError};
pub use feature::{FEATURE_LEVEL, FEATURES, Feature, FeatureStatus, RaiseError};
pub use machine::{ApplyContext, StateMachine, UnknownCommand};
pub use member::{Answers, AskError, NoAnswers};
pub use membership::{Change, ChangeError, Changed};
pub use node::{Applied, Identity, LeaseGrant, NewJoinToken, Node};
pub use probe::PeerProbe;
pub use recover::{Bound, Plan, PlanError, RecoverError, Recovered, Seen, Survey, Survivor, Voted, resume_recovery};
pub use status::{ClusterHash, ClusterStatus, LocalStatus, NodeStatus, Peer, Role};
pub use view::View;
