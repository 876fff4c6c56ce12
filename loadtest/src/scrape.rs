//! What the nodes' metrics say of their logs.

use anyhow::{Context, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::dev::{Cluster, Node};

/// Counters of one node's log.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LogFigures {
    /// Entries that were made durable.
    pub(crate) entries: f64,
    /// In so many fsyncs.
    pub(crate) fsyncs: f64,
}

impl LogFigures {
    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { entries: self.entries - before.entries, fsyncs: self.fsyncs - before.fsyncs }
    }
}

/// The log of the node that leads.
pub(crate) async fn leader_log(cluster: &Cluster) -> anyhow::Result<LogFigures> {
    for node in &cluster.nodes {
        let text = metrics(node).await?;
        if is_leaders(&text) {
            let read = |name| sample(&text, name).with_context(|| format!("the metrics have no {name}"));
            return Ok(LogFigures {
                entries: read("signet_raft_log_durable_entries_total")?,
                fsyncs: read("signet_raft_log_fsyncs_total")?,
            });
        }
    }
    anyhow::bail!("no node leads")
}

/// Whether that node leads.
pub(crate) async fn leads(node: &Node) -> anyhow::Result<bool> {
    Ok(is_leaders(&metrics(node).await?))
}

fn is_leaders(text: &str) -> bool {
    sample(text, "signet_raft_is_leader") == Some(1.0)
}

async fn metrics(node: &Node) -> anyhow::Result<String> {
    let uri: http::Uri = format!("http://{}/metrics", node.admin_http).parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client.get(uri).await.with_context(|| format!("http://{}/metrics", node.admin_http))?;
    ensure!(answer.status().is_success(), "http://{}/metrics: {}", node.admin_http, answer.status());
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The value of a metric without labels.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_sample_by_its_whole_name() {
        let text = "# HELP a b\n# TYPE a gauge\na_total 3\na 7\nb{x=\"1\"} 2\n";
        assert_eq!(sample(text, "a"), Some(7.0));
        assert_eq!(sample(text, "a_total"), Some(3.0));
        assert_eq!(sample(text, "b"), None);
    }
}
