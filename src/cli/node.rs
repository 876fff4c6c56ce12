//! How a command reaches a node.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use signet_api::client::{AdminClient, ClientError};
use signet_model::refusal::Reason;

use super::failure::Failure;
use super::output::Output;
use crate::dev::{self, Report};
use crate::duration;

/// Which node to talk to, and how to answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    /// The admin socket of a node. [default: a node of the `signet dev` in SIGNET_DEV_DIR if that is set, else
    /// /run/signet/admin.sock]
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// The folder of a running `signet dev`, of which any node that answers is taken if no socket is named.
    #[arg(long, value_name = "DIR", env = "SIGNET_DEV_DIR", hide = true)]
    pub(crate) dev: Option<PathBuf>,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// For a command that changes something: do it once under this key, however often the command is run. Up to 128
    /// visible characters, remembered for a day.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Which node to read from, and how fresh the answer must be.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadArgs {
    /// Answer from what the node has, without asking the others: works without a quorum, and may be old. The log index
    /// that the answer covers is printed to standard error.
    #[arg(long)]
    pub(crate) stale: bool,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

impl ReadArgs {
    /// Connects to the node and reads, all within the timeout.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(AdminClient) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let work = async {
            let client = self.node.connect().await?;
            let client = if self.stale { client.stale() } else { client };
            let answer = call(client.clone()).await?;
            if let Some(index) = client.stale_index() {
                eprintln!("stale as of index {index}");
            }
            Ok(answer)
        };
        self.node.within(work).await
    }
}

impl NodeArgs {
    /// Connects to the node and does `call`, all within the timeout.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(AdminClient) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.within(async { Ok(call(self.connect().await?).await?) }).await
    }

    /// Connects to the node, which then knows how long it may take to answer.
    pub(super) async fn connect(&self) -> Result<AdminClient, Failure> {
        let client = match (&self.socket, &self.dev) {
            (Some(socket), _) => connect(socket).await,
            (None, Some(folder)) => connect_any(&dev::running(Some(folder))?).await,
            (None, None) => connect(Path::new(DEFAULT_SOCKET)).await,
        };
        let client = client?.with_timeout(self.timeout);
        match &self.idempotency_key {
            None => Ok(client),
            Some(key) => Ok(client.with_idempotency_key(key)?),
        }
    }

    /// Does `work` within the timeout.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let waited = self.timeout.as_secs();
            let message = format!("no answer within {waited} s; if this was a change, it may still take effect");
            Err(Failure::new(Reason::DeadlineExceeded.code(), message))
        })
    }
}

/// Connects to a node's admin socket.
///
/// # Errors
/// Nobody listens there, or this user may not.
pub(crate) async fn connect(socket: &Path) -> Result<AdminClient, Failure> {
    AdminClient::connect(socket).await.map_err(|error| {
        let hint = "is the node running, and is this the right --socket (or SIGNET_SOCKET)?";
        Failure::new(error.code, format!("{}; {hint}", error.message))
    })
}

/// Connects to the first node of a demo cluster that answers.
///
/// # Errors
/// None does; the failure is that of the last.
pub(super) async fn connect_any(report: &Report) -> Result<AdminClient, Failure> {
    let mut last = Failure::new("unreachable", "the demo cluster has no nodes");
    for node in &report.nodes {
        match connect(&node.admin_socket).await {
            Ok(client) => return Ok(client),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(error.code, error.message)
    }
}

const DEFAULT_SOCKET: &str = "/run/signet/admin.sock";
