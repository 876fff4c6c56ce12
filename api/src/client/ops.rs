//! What operators ask of one node.

use super::{AdminClient, ClientError};
use crate::ops::{Check, DebugFile, UpgradeStatus};
use crate::proto::ops::ops_client::OpsClient;
use crate::proto::ops::{CollectDebugRequest, DiagnoseRequest, FinalizeUpgradeRequest, UpgradeStatusRequest};
use crate::wire;

impl AdminClient {
    /// What the node finds when it measures itself and what it sees of the others.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn diagnose(&self) -> Result<Vec<Check>, ClientError> {
        let answer = OpsClient::new(self.connection()).diagnose(self.ask(DiagnoseRequest {})).await?.into_inner();
        Ok(answer.checks.into_iter().map(wire::ops::check).collect())
    }

    /// What a bug report needs.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn collect_debug(&self) -> Result<Vec<DebugFile>, ClientError> {
        let mut client = OpsClient::new(self.connection()).max_decoding_message_size(LARGEST_REPORT);
        let answer = client.collect_debug(self.ask(CollectDebugRequest {})).await?.into_inner();
        Ok(answer.files.into_iter().map(wire::ops::file).collect())
    }

    /// The feature level in force and what each member's program knows.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn upgrade_status(&self) -> Result<UpgradeStatus, ClientError> {
        let request = self.ask(UpgradeStatusRequest {});
        let answer = OpsClient::new(self.connection()).upgrade_status(request).await?.into_inner();
        answer.status.map(wire::ops::upgrade).ok_or_else(|| ClientError::protocol("it holds no status"))
    }

    /// Raises the feature level by one, or with `dry_run` only says whether it would.
    ///
    /// # Errors
    /// What the server answered; `failed_precondition` names the members that are in the way.
    pub async fn finalize_upgrade(&self, dry_run: bool) -> Result<UpgradeStatus, ClientError> {
        let request = self.ask(FinalizeUpgradeRequest { dry_run });
        let answer = OpsClient::new(self.connection()).finalize_upgrade(request).await?.into_inner();
        answer.status.map(wire::ops::upgrade).ok_or_else(|| ClientError::protocol("it holds no status"))
    }
}

const LARGEST_REPORT: usize = 64 << 20;
