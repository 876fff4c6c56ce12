//! Reading what lies on the log's disk, before anything is started.

use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::recover::{Recovered, recover};
use super::rows::VOTE_FILE;
use crate::config::Storage;
use crate::encoding::{StoredVote, unversioned};
use crate::error::OpenError;
use crate::types::Vote;

/// What was found there, whole in itself. Whether it is all that was there is told by the watermark.
pub(crate) struct Opened {
    pub(crate) disk: Arc<Disk>,
    pub(crate) recovered: Recovered,
    pub(crate) vote: Option<Vote>,
}

impl Opened {
    /// Opens the log's disk in `data_dir` and reads log and vote.
    pub(crate) fn read(data_dir: &Path, storage: &Storage) -> Result<Self, OpenError> {
        let vote_path = data_dir.join(VOTE_FILE);
        let damaged = |path: &Path, detail: String| OpenError::Damaged { path: path.to_owned(), detail };
        let disk = Arc::new(Disk::open(data_dir, storage)?);
        let recovered = recover(&disk).map_err(|detail| damaged(&data_dir.join("log"), detail))?;
        let vote = disk
            .read_file(VOTE_FILE)
            .map_err(|cause| damaged(&vote_path, cause.to_string()))?
            .map(|bytes| unversioned::<StoredVote>(&bytes).map(Vote::from))
            .transpose()
            .map_err(|cause| damaged(&vote_path, cause.to_string()))?;
        if vote.is_none() && recovered.tail.last.is_some() {
            let detail = "it is missing although the log is not empty; without it this node could vote twice. Remove the \
                          node from the cluster and let it join again with an empty data directory";
            return Err(damaged(&vote_path, detail.to_owned()));
        }
        Ok(Self { disk, recovered, vote })
    }
}
