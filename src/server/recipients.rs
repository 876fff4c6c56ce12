//! Recipients, as operators see and change them.

use signet_api::service::{Call, RecipientChange, RecipientShown, RecipientsShown};
use signet_model::command::Command;
use signet_model::recipient::{NodeBackends, is_opened_by_nodes, wrappings};
use signet_model::refusal::{Reason, Refusal};
use signet_model::rotation::Hierarchy;
use signet_model::state;

use super::backends::Shown;
use super::ledger;
use super::rotation::Rotation;

impl Rotation {
    /// For whom keys are wrapped, and which node can use which.
    ///
    /// # Errors
    /// No quorum, or no trust domain yet.
    pub(crate) async fn recipients(&self, call: &Call) -> Result<RecipientsShown, Refusal> {
        let (hierarchy, _) = self.look(ledger::timeout(call)).await?;
        self.shown(&hierarchy, None)
    }

    /// Changes the recipients on behalf of `call`'s caller, or shows what that would bring.
    ///
    /// # Errors
    /// Why it was not done. Nothing was changed then, but for [`Reason::DeadlineExceeded`].
    pub(crate) async fn change_recipients(
        &self,
        call: &Call,
        change: RecipientChange,
        dry_run: bool,
    ) -> Result<RecipientsShown, Refusal> {
        let (hierarchy, now) = self.look(ledger::timeout(call)).await?;
        if !dry_run && ledger::done_before(&self.node.view(), call)?.is_some() {
            return self.shown(&hierarchy, None);
        }
        let (command, changed) = self.recipient_command(&hierarchy, &change).await?;
        if dry_run {
            let planned = self.tried(call.caller.clone(), now, command)?;
            return self.shown(&planned, Some(changed));
        }
        ledger::propose(&self.node, call, command).await?;
        tracing::info!(caller = %call.caller, recipient = %changed, change = change.word(), "the recipients were changed");
        let (hierarchy, _) = self.look(ledger::timeout(call)).await?;
        self.shown(&hierarchy, Some(changed))
    }

    async fn recipient_command(
        &self,
        hierarchy: &Hierarchy,
        change: &RecipientChange,
    ) -> Result<(Command, String), Refusal> {
        let expected_version = hierarchy.recipients.version;
        Ok(match change {
            RecipientChange::Add { which, roots } => {
                let recipient = self.named(hierarchy, which)?;
                if hierarchy.recipients.has(&recipient) {
                    let detail = format!("{recipient} is a recipient already");
                    return Err(Refusal::new(Reason::AlreadyExists, detail));
                }
                let wrapped = self.wrapped_for(hierarchy, &recipient).await?;
                let changed = recipient.clone();
                (Command::AddRecipient { recipient, wrapped, roots: *roots, expected_version }, changed)
            }
            RecipientChange::Remove { which, force } => {
                let recipient = self.named(hierarchy, which)?;
                let voters = self.living_voters().await;
                let changed = recipient.clone();
                (Command::RemoveRecipient { recipient, expected_version, voters, force: *force }, changed)
            }
            RecipientChange::PlaceRoots { which } => {
                let recipient = self.named(hierarchy, which)?;
                let changed = recipient.clone();
                (Command::PlaceRoots { recipient, expected_version }, changed)
            }
        })
    }

    /// The recipient that an operator means: by its id, or by the backend as the configuration of this node has it.
    fn named(&self, hierarchy: &Hierarchy, which: &str) -> Result<String, Refusal> {
        if hierarchy.recipients.has(which) {
            return Ok(which.to_owned());
        }
        let backends = self.backends.shown();
        let means = |shown: &&Shown| shown.recipient.as_deref() == Some(which) || shown.name == which;
        match backends.iter().find(means) {
            Some(Shown { recipient: Some(recipient), .. }) => Ok(recipient.clone()),
            Some(Shown { recipient: None, .. }) => Err(Refusal::new(
                Reason::FailedPrecondition,
                format!("{which} was not reached since this node started: it has {}", self.backends.described()),
            )),
            None => Err(Refusal::new(
                Reason::NotFound,
                format!(
                    "{which} is neither a recipient nor a key backend of this node: add it to keys.recipients of every node's configuration and restart them one at a time; this node has {}",
                    self.backends.described()
                ),
            )),
        }
    }

    fn shown(&self, hierarchy: &Hierarchy, changed: Option<String>) -> Result<RecipientsShown, Refusal> {
        let members: Vec<u64> = self.node.local_status().peers.iter().map(|peer| peer.id).collect();
        let mut nodes = state::backends(&self.node.view()).map_err(ledger::damaged)?;
        nodes.retain(|report| members.contains(&report.node));
        let keys: Vec<_> = hierarchy.authorities.iter().filter(|key| is_opened_by_nodes(key)).collect();
        let wrapped = |id: &str| {
            let count = keys.iter().filter(|key| wrappings(key).iter().any(|one| one.recipient == id)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let recipients = hierarchy.recipients.list.iter().map(|recipient| RecipientShown {
            id: recipient.id.clone(),
            added_at: recipient.added_at,
            added_by: recipient.added_by.as_ref().map(ToString::to_string),
            roots: hierarchy.recipients.roots == recipient.id,
            keys: wrapped(&recipient.id),
        });
        Ok(RecipientsShown {
            version: hierarchy.recipients.version,
            keys: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            recipients: recipients.collect(),
            nodes,
            changed,
        })
    }
}

/// What operators should know of the key backends of all members, each a sentence.
pub(super) fn notes(reports: &[NodeBackends], members: &[u64]) -> Vec<String> {
    let mut notes = Vec::new();
    for report in reports.iter().filter(|report| members.contains(&report.node)) {
        let failing = report.backends.iter().filter(|one| !one.is_usable()).count();
        for backend in report.backends.iter().filter(|one| !one.is_usable()) {
            let all =
                if failing == report.backends.len() { " It has no other: sealed after its next start." } else { "" };
            notes.push(format!(
                "node {}: key backend {} is failing: {}.{all}",
                report.node, backend.name, backend.problem
            ));
        }
    }
    notes
}
