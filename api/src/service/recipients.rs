//! Recipients, as operators see and change them.

use signet_model::recipient::NodeBackends;
use signet_model::time::UnixTime;

/// A change that an operator makes to the recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientChange {
    /// Wrap every key for one more.
    Add {
        /// Its id, or the backend as the configuration of the node that is asked has it.
        which: String,
        /// Make new roots in its backend from now on.
        roots: bool,
    },
    /// Wrap no key for it any more, and forget its wrappings.
    Remove {
        /// As for [`Add`](Self::Add).
        which: String,
        /// Be content when one living voter can open every key without it.
        force: bool,
    },
    /// Make new roots in its backend from now on.
    PlaceRoots {
        /// As for [`Add`](Self::Add).
        which: String,
    },
}

impl RecipientChange {
    /// The word for it, for logs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::PlaceRoots { .. } => "place-roots",
        }
    }
}

/// The recipients, and who can use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientsShown {
    /// Counts their changes.
    pub version: u64,
    /// How many keys there are that nodes open.
    pub keys: u32,
    /// All of them, in the order in which they were added.
    pub recipients: Vec<RecipientShown>,
    /// What every member last said of its key backends.
    pub nodes: Vec<NodeBackends>,
    /// The recipient that was changed, or would be.
    pub changed: Option<String>,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientShown {
    /// Its name.
    pub id: String,
    /// Since when it is one.
    pub added_at: UnixTime,
    /// Who added it; `None`: it was there from the start.
    pub added_by: Option<String>,
    /// New roots are made in its backend.
    pub roots: bool,
    /// How many keys are wrapped for it.
    pub keys: u32,
}
