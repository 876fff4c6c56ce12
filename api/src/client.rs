//! The typed client: what the command line and the load generator speak through.

mod admin;
mod agent;
mod ask;
mod authority;
mod connector;
mod error;
mod members;
mod ops;
mod patient;
mod recipients;
mod snapshot;
mod token;

pub use admin::{AdminClient, Entry, EntryResult};
pub use agent::AgentClient;
pub use connector::{AgentIdentity, Trust};
pub use error::ClientError;
pub use patient::PatientChannel;
pub use snapshot::IncomingSnapshot;
pub use token::{HttpAnswer, TokenClient};
