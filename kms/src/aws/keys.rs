//! Signing keys: taken over from the operator, or made.

use std::time::Duration;

use aws_sdk_kms::primitives::Blob as Bytes;
use aws_sdk_kms::types::{KeySpec, KeyState, KeyUsageType, Tag};
use tokio::time::Instant;

use super::failure::Failure;
use super::reference::SigningKey;
use super::regions::{At, Repeat};
use super::uri::is_key_id;
use super::{AwsKms, MULTI_REGION};
use crate::{Algorithm, KmsError};

/// The aliases of a deployment. They are what says which keys are in its hands: a key is in the ledger from the moment it
/// has its alias, and an alias can be made once only, so that no two nodes take over one key.
impl AwsKms {
    fn prefix(&self) -> String {
        format!("alias/signet/{}/", encoded(&self.uri.deployment))
    }

    pub(super) fn alias_of(&self, id: &str) -> String {
        format!("{}{id}", self.prefix())
    }

    /// Where an operator puts keys that he has made for us.
    fn offers(&self) -> String {
        format!("{}offer/", self.prefix())
    }

    /// Takes over a key that an operator has made for this deployment, if there is one of this kind which nobody has
    /// taken over yet.
    pub(super) async fn adopt(&self, algorithm: Algorithm) -> Result<Option<SigningKey>, KmsError> {
        let aliases = match self.aliases().await {
            Ok(aliases) => aliases,
            // Who makes keys but cannot list aliases has no offers.
            Err(Failure::Denied(_)) => return Ok(None),
            Err(failure) => return Err(self.failed(failure, &self.offers(), "ListAliases")),
        };
        let taken = |id: &str| aliases.iter().any(|(alias, _)| *alias == self.alias_of(id));
        let offers = self.offers();
        for (alias, id) in aliases.iter().filter(|(alias, id)| alias.starts_with(&offers) && !taken(id)) {
            if !self.is_usable(alias, id, algorithm).await? {
                continue;
            }
            let key = self.read_key(id, algorithm).await?;
            if self.name_key(id, Repeat::MakesTwo).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Whether the offered key is of this kind; one that is, but cannot be used, is an error: the operator wants to know.
    async fn is_usable(&self, alias: &str, id: &str, algorithm: Algorithm) -> Result<bool, KmsError> {
        let describe =
            async |at: At| at.client.describe_key().key_id(id).send().await.map_err(|error| Failure::of(&error));
        let answer = self.regions.call(Repeat::Harmless, describe).await;
        let answer = answer.map_err(|failure| self.failed(failure, id, "DescribeKey"))?;
        let Some(found) = answer.key_metadata else { return Err(self.wrong("DescribeKey", id, "no key")) };
        if found.key_usage != Some(KeyUsageType::SignVerify) || found.key_spec != Some(key_spec(algorithm)) {
            return Ok(false);
        }
        if found.key_state.as_ref().is_some_and(|state| *state != KeyState::Enabled) {
            let problem = format!("{alias} offers it, and it is not enabled: enable it, or take the offer away");
            return Err(self.unusable(id, problem));
        }
        if self.uri.regions.len() > 1 && !id.starts_with(MULTI_REGION) {
            let problem =
                format!("{alias} offers it for several regions, and it is a key of one: offer a multi-Region key");
            return Err(self.unusable(id, problem));
        }
        Ok(true)
    }

    /// Makes a key, in the first region that answers, and replicates it to the others. If that fails on the way, the key's
    /// deletion is scheduled; if even that fails, the ledger knows it as unfinished.
    pub(super) async fn make(&self, label: &str, algorithm: Algorithm) -> Result<SigningKey, KmsError> {
        let tags = [(DEPLOYMENT_TAG, self.uri.deployment.clone()), (LABEL_TAG, tag_value(label))];
        let tags = tags.into_iter().map(|(key, value)| Tag::builder().tag_key(key).tag_value(value).build());
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>().map_err(|_| self.wrong("CreateKey", label, "no tags"))?;
        let create = async |at: At| {
            let request = at.client.create_key().key_usage(KeyUsageType::SignVerify).key_spec(key_spec(algorithm));
            let request = request.multi_region(self.uri.regions.len() > 1).set_tags(Some(tags.clone()));
            let answer = request.description(format!("Signet: {label}")).send().await;
            answer.map(|answer| (answer, at.region)).map_err(|error| Failure::of(&error))
        };
        let created = self.regions.call(Repeat::MakesTwo, create).await;
        let (answer, region) = created.map_err(|failure| self.not_made(failure, label, algorithm))?;
        let Some(id) = answer.key_metadata.map(|made| made.key_id).filter(|id| is_key_id(id)) else {
            return Err(self.wrong("CreateKey", label, "no key id"));
        };
        match self.finish(&id, &region, &tags, algorithm).await {
            Ok(key) => Ok(key),
            Err(error) => {
                match self.schedule_deletion(&id).await {
                    Ok(()) => tracing::warn!(
                        "kms: key {id}, made for {label:?}, could not be used and is scheduled for deletion: {error}"
                    ),
                    Err(cause) => tracing::error!(
                        "kms: key {id}, made for {label:?}, could not be used, and its deletion could not be scheduled ({cause}): `signet key ledger` shows it as unfinished"
                    ),
                }
                Err(error)
            }
        }
    }

    fn not_made(&self, failure: Failure, label: &str, algorithm: Algorithm) -> KmsError {
        if let Failure::Denied(message) = failure {
            let offers = self.offers();
            let problem = format!(
                "AWS denies making it: allow kms:CreateKey and kms:TagResource to this node's role, or make {algorithm} keys yourself and give them aliases {offers}1, {offers}2, … ({message})"
            );
            return self.unusable(label, problem);
        }
        let unseen = "a key may have been made: `signet key ledger` shows it as unfinished";
        let failure = if let Failure::Away(problem) = failure {
            Failure::Away(format!("{problem}; {unseen}"))
        } else if let Failure::Wrong(problem) = failure {
            Failure::Wrong(format!("{problem}; {unseen}"))
        } else {
            failure
        };
        self.failed(failure, label, "CreateKey")
    }

    async fn finish(
        &self,
        id: &str,
        made_in: &str,
        tags: &[Tag],
        algorithm: Algorithm,
    ) -> Result<SigningKey, KmsError> {
        let key = self.read_key(id, algorithm).await?;
        for region in self.regions.all().filter(|at| &*at.region != made_in) {
            let to = &region.region;
            let replicate = async |at: At| {
                let request = at.client.replicate_key().key_id(id).replica_region(&**to).set_tags(Some(tags.to_vec()));
                request.send().await.map_err(|error| Failure::of(&error))
            };
            match self.regions.call_in(made_in, replicate).await {
                Ok(_) | Err(Failure::Exists) => {}
                // The key works; what is missing is its second home, and that region may be the one that is away.
                Err(failure) => tracing::warn!(
                    "kms: key {id} is not replicated to {to} ({failure:?}), so {to} cannot stand in for {made_in}: aws kms replicate-key --key-id {id} --replica-region {to}"
                ),
            }
        }
        // Nobody else can have given it this name: it holds the id.
        self.name_key(id, Repeat::Harmless).await?;
        Ok(key)
    }

    /// Makes the key's alias in the ledger. False: it is there already.
    async fn name_key(&self, id: &str, repeat: Repeat) -> Result<bool, KmsError> {
        let alias = self.alias_of(id);
        let name = async |at: At| {
            let request = at.client.create_alias().alias_name(&alias).target_key_id(id);
            request.send().await.map_err(|error| Failure::of(&error))
        };
        match self.regions.call(repeat, name).await {
            Ok(_) => Ok(true),
            Err(Failure::Exists) => Ok(false),
            Err(failure) => Err(self.failed(failure, id, "CreateAlias")),
        }
    }

    /// The public half of a key that was made or offered just now. AWS KMS is eventually consistent: it may not know the
    /// key yet.
    async fn read_key(&self, id: &str, algorithm: Algorithm) -> Result<SigningKey, KmsError> {
        let end = Instant::now() + SETTLES_WITHIN;
        let public_key = loop {
            match self.ask_public_key(id).await {
                Err(KmsError::Key { .. }) if Instant::now() < end => tokio::time::sleep(SETTLING).await,
                other => break other?,
            }
        };
        let key = SigningKey::new(id.to_owned(), public_key).filter(|key| key.algorithm == algorithm);
        key.ok_or_else(|| self.wrong("GetPublicKey", id, &format!("a public key that is no {algorithm} key")))
    }

    pub(super) async fn ask_public_key(&self, id: &str) -> Result<Vec<u8>, KmsError> {
        let ask =
            async |at: At| at.client.get_public_key().key_id(id).send().await.map_err(|error| Failure::of(&error));
        let answer = self.regions.call(Repeat::Harmless, ask).await;
        let answer = answer.map_err(|failure| self.failed(failure, id, "GetPublicKey"))?;
        self.check_key("GetPublicKey", id, answer.key_id.as_deref())?;
        let public_key = answer.public_key.map(Bytes::into_inner);
        public_key.ok_or_else(|| self.wrong("GetPublicKey", id, "no public key"))
    }

    /// Every alias of this deployment, with the id of its key, from the first region that answers.
    pub(super) async fn aliases(&self) -> Result<Vec<(String, String)>, Failure> {
        let prefix = self.prefix();
        let mut found = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let list = async |at: At| {
                at.client.list_aliases().set_marker(marker.clone()).send().await.map_err(|error| Failure::of(&error))
            };
            let page = self.regions.call(Repeat::Harmless, list).await?;
            found.extend(page.aliases.unwrap_or_default().into_iter().filter_map(|entry| {
                Some((entry.alias_name.filter(|alias| alias.starts_with(&prefix))?, entry.target_key_id?))
            }));
            marker = page.next_marker.filter(|_| page.truncated);
            if marker.is_none() {
                return Ok(found);
            }
        }
        Err(Failure::Wrong(format!("more than {MAX_PAGES} pages of aliases")))
    }
}

fn key_spec(algorithm: Algorithm) -> KeySpec {
    match algorithm {
        Algorithm::EcdsaP256 => KeySpec::EccNistP256,
        Algorithm::EcdsaP384 => KeySpec::EccNistP384,
        Algorithm::Rsa2048 => KeySpec::Rsa2048,
        Algorithm::Rsa4096 => KeySpec::Rsa4096,
    }
}

/// In an alias only letters, digits, `/`, `_` and `-` may stand: others become `_` and two hexadecimal digits, as does `_`
/// itself, so that no two names become one.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("_{byte:02x}") }).collect()
}

/// What a tag can hold of `text`.
fn tag_value(text: &str) -> String {
    let fits = |char: char| char.is_alphanumeric() || " _.:/=+-@".contains(char);
    text.chars().map(|char| if fits(char) { char } else { '_' }).take(MAX_TAG_CHARS).collect()
}

/// On every key that is made here.
pub(super) const DEPLOYMENT_TAG: &str = "signet:deployment";
pub(super) const LABEL_TAG: &str = "signet:label";
const MAX_TAG_CHARS: usize = 256;
/// An account has 10,000 aliases by default, 50 to 100 on a page.
const MAX_PAGES: usize = 400;
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_aliases_and_stay_apart() {
        assert_eq!(encoded("prod.example"), "prod_2eexample");
        assert_eq!(encoded("prod_2eexample"), "prod_5f2eexample");
        assert_eq!(encoded("A-1"), "A-1");
    }

    #[test]
    fn a_label_becomes_a_tag() {
        assert_eq!(tag_value("example.org x509-root <1>"), "example.org x509-root _1_");
        assert_eq!(tag_value(&"é".repeat(300)).chars().count(), MAX_TAG_CHARS);
    }
}
