//! What can go wrong with a backup.

use std::io;
use std::path::PathBuf;

use crate::error::BarrierError;

/// A snapshot was not saved; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The state could not be made sure to be the newest. Retry, here or at another node.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The state could not be copied.
    #[error("cannot take a checkpoint of the state: check the space and the permissions of the data directory")]
    Checkpoint(#[source] io::Error),
}

/// A snapshot file could not be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: check that the path exists and that this user may use it", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// It is damaged, cut off, or no snapshot at all.
    #[error("{} at byte {offset}: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong and what to do.
        detail: String,
    },
    /// Its rows contradict each other or the manifest.
    #[error("{} does not hold what it should: {detail}", path.display())]
    Contents {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A newer program wrote it.
    #[error("{} was written by a newer program: {detail}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// What is needed.
        detail: String,
    },
    /// A cluster can only be restored into an empty directory.
    #[error(
        "{} is not empty, and a cluster is restored into an empty directory only: choose another, or move what is there aside",
        path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another user than the one who runs this.
    #[error(
        "{} belongs to user {owner}, and this runs as user {here}: run it as the user that the server runs as",
        path.display()
    )]
    OtherUser {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs this.
        here: u32,
    },
    /// The new cluster could not be written.
    #[error("cannot write the new cluster to {}: {detail}", path.display())]
    NotWritten {
        /// The directory.
        path: PathBuf,
        /// What failed.
        detail: String,
    },
}
