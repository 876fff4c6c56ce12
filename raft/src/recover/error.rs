//! What can go wrong with a recovery.

use std::io;
use std::path::PathBuf;

use crate::backup::SnapshotError;
use crate::error::OpenError;

/// A data directory could not be surveyed or recovered. Unless the variant says otherwise nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
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
    /// Whose directory it is.
    #[error(transparent)]
    Directory(#[from] SnapshotError),
    /// What lies there cannot be opened; as a node would say it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no node in it.
    #[error("{} is no data directory of a cluster's member: it has no identity", path.display())]
    NotMember {
        /// The directory.
        path: PathBuf,
    },
    /// Log and state do not make a whole.
    #[error("{} cannot be recovered: {detail}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A recovery was begun and not finished.
    #[error("a recovery of {} was interrupted: run `signet recover apply --data-dir {}` to finish it", path.display(), path.display())]
    Interrupted {
        /// The directory.
        path: PathBuf,
    },
    /// The new cluster could not be written; the old directory is as it was.
    #[error("cannot write the new cluster in {}: {detail}", path.display())]
    NotWritten {
        /// The directory.
        path: PathBuf,
        /// What failed.
        detail: String,
    },
    /// The new cluster is written, but not everything has its place yet; run it again.
    #[error(
        "the recovery of {} is not finished: run `signet recover apply --data-dir {}` again",
        path.display(), path.display()
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What failed.
        #[source]
        cause: io::Error,
    },
}
