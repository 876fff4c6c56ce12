//! What the doors tell about the node's health, to orchestrators, load balancers and scrapers.

use signet_model::refusal::Refusal;

/// A node's health as its composition knows it. Every answer is immediate: nothing here asks another node.
pub trait Health: Send + Sync + 'static {
    /// Whether the process still makes progress. Never depends on other nodes, else a partition would have the
    /// orchestrator restart the whole cluster.
    ///
    /// # Errors
    /// What is stuck.
    fn live(&self) -> Result<(), Refusal>;

    /// Whether this node can serve its callers now.
    ///
    /// # Errors
    /// Why it cannot, with the code that callers would get.
    fn ready(&self) -> Result<(), Refusal>;

    /// Whether start-up is done: stores open, listeners bound.
    ///
    /// # Errors
    /// What it still waits for.
    fn started(&self) -> Result<(), Refusal>;

    /// What an operator should look after although the node serves, each a sentence.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// All metrics in OpenMetrics text format, with its `# EOF`.
    fn metrics(&self) -> String;
}
