//! How an ordinary client asks: at another node when one does not serve it, until its patience ends.

use std::future::Future;
use std::time::Duration;

use signet_api::client::ClientError;
use tokio::time::{Instant, sleep, timeout};

/// One request, which may be asked at any node.
pub(crate) trait Request {
    /// Asks it at this node.
    fn ask(&mut self, node: usize) -> impl Future<Output = Result<(), ClientError>> + Send;
    /// The node has failed: its connection is not to be used again.
    fn forget(&mut self, node: usize);
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The node that served it; `None` when patience ended first.
    pub(crate) served_by: Option<usize>,
    /// Every attempt that failed.
    pub(crate) failures: Vec<ClientError>,
}

/// Asks one node of `nodes` after the other, beginning with `first`.
pub(crate) async fn ask_around(nodes: usize, first: usize, patience: Duration, request: &mut impl Request) -> Ended {
    let start = Instant::now();
    let mut failures = Vec::new();
    for node in first.. {
        let node = node % nodes;
        match timeout(ATTEMPT, request.ask(node)).await {
            Ok(Ok(())) => return Ended { served_by: Some(node), failures },
            Ok(Err(failure)) => failures.push(failure),
            Err(_) => {
                let message = format!("no answer within {ATTEMPT:?}");
                failures.push(ClientError { code: TIMEOUT.to_owned(), message });
            }
        }
        request.forget(node);
        if start.elapsed() > patience {
            break;
        }
        sleep(PAUSE).await;
    }
    Ended { served_by: None, failures }
}

/// Whether the documentation tells clients to expect this while nodes fail, and to try again.
pub(crate) fn is_passing(code: &str) -> bool {
    was_not_done(code) || matches!(code, "deadline_exceeded" | "unreachable" | "unknown" | TIMEOUT)
}

/// Whether this says that the request has changed nothing and never will.
pub(crate) fn was_not_done(code: &str) -> bool {
    matches!(
        code,
        "no_quorum" | "resource_exhausted" | "shutting_down" | "not_initialized" | "lease_expired" | "sealed"
    )
}

/// No answer in time.
pub(crate) const TIMEOUT: &str = "timeout";
const ATTEMPT: Duration = Duration::from_millis(1000);
const PAUSE: Duration = Duration::from_millis(20);
