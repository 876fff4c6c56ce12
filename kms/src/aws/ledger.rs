//! The ledger: every key that this deployment has in AWS KMS, so that none is forgotten there.
//!
//! A key is tagged with its deployment in the very request that makes it, and gets an alias when it is whole. So a key
//! whose making broke off can be told from one that was handed over, without knowing what the cluster's state refers to:
//! it has the tag and no alias. Nobody can have a reference to such a key. It is never used, because two nodes might find
//! it at the same time, but scheduled for deletion, which AWS KMS carries out a week later at the earliest.

use std::time::Duration;

use aws_sdk_kms::types::{KeyState, KeyUsageType};

use super::AwsKms;
use super::failure::Failure;
use super::keys::{DEPLOYMENT_TAG, LABEL_TAG};
use super::regions::{At, Repeat};
use crate::{Algorithm, KmsError};

/// A key of this deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerKey {
    /// Its id, the same in every region.
    pub id: String,
    /// What it was made for; nothing for a key that an operator made.
    pub label: Option<String>,
    /// How far its making has come.
    pub stage: Stage,
    /// As AWS KMS calls its state: `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// Since the epoch.
    pub created_at_secs: Option<i64>,
    /// The public half, if AWS KMS gives it out now.
    pub public_key: Option<Vec<u8>>,
}

/// How far the making of a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was handed over: a cluster's state may refer to it.
    Whole,
    /// Its making broke off: nothing can refer to it.
    Unfinished,
}

impl LedgerKey {
    /// Whether its making broke off at least `age` before `now_secs`, and nobody has discarded it.
    #[must_use]
    pub fn is_left_over(&self, age: Duration, now_secs: i64) -> bool {
        let latest = now_secs.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let old = self.created_at_secs.is_some_and(|created| created <= latest);
        self.stage == Stage::Unfinished && old && self.state != KeyState::PendingDeletion.as_str()
    }
}

impl AwsKms {
    /// Every signing key of this deployment in the first region that answers. Takes two calls for each key of the account, so it
    /// is for operators, not for schedules.
    ///
    /// # Errors
    /// AWS KMS failed, or denies `kms:ListKeys`, `kms:ListAliases`, `kms:ListResourceTags` or `kms:DescribeKey`.
    pub async fn ledger(&self) -> Result<Vec<LedgerKey>, KmsError> {
        let aliases = self.aliases().await.map_err(|failure| self.failed(failure, "every key", "ListAliases"))?;
        let named = |id: &str| aliases.iter().any(|(alias, _)| *alias == self.alias_of(id));
        let ids = self.ids().await.map_err(|failure| self.failed(failure, "every key", "ListKeys"))?;
        let mut keys = Vec::new();
        for id in ids {
            let (deployment, label) = self.tags(&id).await?;
            // An operator may tag keys of his own with the deployment, such as the wrapping key: those have no label.
            let made_here = deployment.as_ref() == Some(&self.uri.deployment) && label.is_some();
            if named(&id) || made_here {
                let stage = if named(&id) { Stage::Whole } else { Stage::Unfinished };
                keys.extend(self.describe(id, label, stage).await?);
            }
        }
        Ok(keys)
    }

    /// Schedules the deletion of every key whose making broke off at least `age` before `now_secs`. Younger ones may be
    /// in the making. Returns the ids.
    ///
    /// # Errors
    /// As [`ledger`](Self::ledger), or AWS KMS denies `kms:ScheduleKeyDeletion`.
    pub async fn discard_unfinished(&self, age: Duration, now_secs: i64) -> Result<Vec<String>, KmsError> {
        let mut discarded = Vec::new();
        for key in self.ledger().await? {
            if key.is_left_over(age, now_secs) {
                self.schedule_deletion(&key.id).await?;
                discarded.push(key.id);
            }
        }
        Ok(discarded)
    }

    /// Schedules the deletion of a key of this deployment, in every region, a week from now: until then
    /// `aws kms cancel-key-deletion` brings it back. One that may be in use must have been disabled before: that can be
    /// undone at once, and shows who misses it.
    ///
    /// # Errors
    /// [`KmsError::Key`]: the key is not of this deployment, or is whole and enabled. Else as
    /// [`ledger`](Self::ledger), or AWS KMS denies `kms:ScheduleKeyDeletion`.
    pub async fn discard(&self, id: &str) -> Result<(), KmsError> {
        self.discardable(id).await?;
        self.schedule_deletion(id).await
    }

    /// Whether [`discard`](Self::discard) would be refused.
    ///
    /// # Errors
    /// As there.
    pub async fn discardable(&self, id: &str) -> Result<(), KmsError> {
        let ledger = self.ledger().await?;
        let Some(key) = ledger.into_iter().find(|key| key.id == id) else {
            return Err(self.unusable(id, "it is no key of this deployment".to_owned()));
        };
        if key.stage == Stage::Whole && key.state == KeyState::Enabled.as_str() {
            let problem = format!(
                "it may be in use: run aws kms disable-key --key-id {id} in every region, see that nothing misses it, then discard it"
            );
            return Err(self.unusable(id, problem));
        }
        Ok(())
    }

    pub(super) async fn schedule_deletion(&self, id: &str) -> Result<(), KmsError> {
        // Replicas first: a primary with replicas waits for them.
        let mut regions: Vec<_> = self.regions.all().map(|at| at.region.clone()).collect();
        regions.reverse();
        let mut outcome = Err(Failure::Missing);
        for region in regions {
            let schedule = async |at: At| {
                let request = at.client.schedule_key_deletion().key_id(id).pending_window_in_days(WAITING_DAYS);
                request.send().await.map_err(|error| Failure::of(&error))
            };
            match self.regions.call_in(&region, schedule).await {
                Ok(_) | Err(Failure::PendingDeletion) => outcome = Ok(()),
                Err(Failure::Missing) => {}
                Err(failure) => return Err(self.failed(failure, id, "ScheduleKeyDeletion")),
            }
        }
        outcome.map_err(|failure| self.failed(failure, id, "ScheduleKeyDeletion"))
    }

    async fn ids(&self) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let list = async |at: At| {
                let request = at.client.list_keys().limit(PAGE).set_marker(marker.clone());
                request.send().await.map_err(|error| Failure::of(&error))
            };
            let page = self.regions.call(Repeat::Harmless, list).await?;
            ids.extend(page.keys.unwrap_or_default().into_iter().filter_map(|key| key.key_id));
            marker = page.next_marker.filter(|_| page.truncated);
            if marker.is_none() {
                return Ok(ids);
            }
        }
        Err(Failure::Wrong(format!("more than {MAX_PAGES} pages of keys")))
    }

    /// The deployment and the label of a key that was made by Signet.
    async fn tags(&self, id: &str) -> Result<(Option<String>, Option<String>), KmsError> {
        let list =
            async |at: At| at.client.list_resource_tags().key_id(id).send().await.map_err(|error| Failure::of(&error));
        let tags = match self.regions.call(Repeat::Harmless, list).await {
            Ok(page) => page.tags.unwrap_or_default(),
            // Keys of other people, and those that have gone since they were listed.
            Err(Failure::Denied(_) | Failure::Missing | Failure::Unfit) => Vec::new(),
            Err(failure) => return Err(self.failed(failure, id, "ListResourceTags")),
        };
        let value = |name| tags.iter().find(|tag| tag.tag_key == name).map(|tag| tag.tag_value.clone());
        Ok((value(DEPLOYMENT_TAG), value(LABEL_TAG)))
    }

    async fn describe(&self, id: String, label: Option<String>, stage: Stage) -> Result<Option<LedgerKey>, KmsError> {
        let describe =
            async |at: At| at.client.describe_key().key_id(&id).send().await.map_err(|error| Failure::of(&error));
        let answer = self.regions.call(Repeat::Harmless, describe).await;
        let answer = answer.map_err(|failure| self.failed(failure, &id, "DescribeKey"))?;
        let Some(found) = answer.key_metadata else { return Err(self.wrong("DescribeKey", &id, "no key")) };
        if found.key_usage != Some(KeyUsageType::SignVerify) {
            return Ok(None);
        }
        let state = found.key_state.as_ref().map_or("unknown", KeyState::as_str).to_owned();
        let public_key = self.ask_public_key(&id).await.ok();
        let public_key = public_key.filter(|spki| Algorithm::of_public_key(spki).is_some());
        let created_at_secs = found.creation_date.map(|date| date.secs());
        Ok(Some(LedgerKey { id, label, stage, state, created_at_secs, public_key }))
    }
}

/// The least that AWS KMS takes.
const WAITING_DAYS: i32 = 7;
const PAGE: i32 = 1000;
const MAX_PAGES: usize = 100;
