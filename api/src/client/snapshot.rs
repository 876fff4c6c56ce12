//! Backups, over the admin socket.

use tonic::Streaming;

use super::{AdminClient, ClientError};
use crate::proto::snapshot::snapshot_client::SnapshotClient;
use crate::proto::snapshot::{SaveRequest, SaveResponse, StatusRequest};
use crate::service::{BackupDone, BackupStatus};

/// A snapshot that is coming in.
#[derive(Debug)]
pub struct IncomingSnapshot {
    /// How many bytes it has.
    pub total: u64,
    stream: Streaming<SaveResponse>,
    come: u64,
}

impl IncomingSnapshot {
    /// The next bytes; `None` when the whole has come.
    ///
    /// # Errors
    /// The server could not go on, or the connection broke: what has come is no snapshot.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        match self.stream.message().await? {
            Some(part) => {
                self.come += part.data.len() as u64;
                Ok(Some(part.data))
            }
            None if self.come == self.total => Ok(None),
            None => Err(ClientError::protocol(format_args!("it ended after {} of {} bytes", self.come, self.total))),
        }
    }
}

impl AdminClient {
    /// Asks the node for a snapshot of the whole state.
    ///
    /// # Errors
    /// What the server answered; `no_quorum` when it cannot be sure to have the newest state.
    pub async fn save_snapshot(&self) -> Result<IncomingSnapshot, ClientError> {
        let mut client = SnapshotClient::new(self.connection());
        let mut stream = client.save(self.ask(SaveRequest {})).await?.into_inner();
        let head = stream.message().await?.ok_or_else(|| ClientError::protocol("an empty stream"))?;
        Ok(IncomingSnapshot { total: head.total, stream, come: head.data.len() as u64 })
    }

    /// How the scheduled backups of the node go.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn backup_status(&self) -> Result<BackupStatus, ClientError> {
        let mut client = SnapshotClient::new(self.connection());
        let status = client.status(self.ask(StatusRequest {})).await?.into_inner();
        Ok(BackupStatus {
            destination: status.destination,
            interval_secs: status.interval,
            active: status.active,
            last_success: status.last_success.map(|last| BackupDone {
                at_secs: last.at,
                name: last.name,
                size: last.size,
                index: last.index,
            }),
            last_failure: status.last_failure.map(|last| (last.at, last.detail)),
            next_secs: status.next,
        })
    }
}
