//! A cluster begun anew on the state of another: after a restore, or on a survivor when the quorum is lost for good.

mod apply;
mod contact;
mod error;
mod found;
mod plan;
mod survivor;

pub use apply::{Recovered, resume_recovery};
pub use error::RecoverError;
pub use plan::{Bound, Plan, PlanError};
pub use survivor::{Seen, Survey, Survivor, Voted};

#[cfg(test)]
pub(crate) use apply::marker_of;
pub(crate) use apply::{MARKER, is_interrupted};
pub(crate) use contact::Contact;
pub(crate) use found::{NewCluster, found_anew};
