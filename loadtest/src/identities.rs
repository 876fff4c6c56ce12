//! What a load needs from the cluster beforehand: entries, and X.509-SVIDs for those who ask.

use anyhow::{Context, bail};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use signet_api::client::{AdminClient, Entry, EntryResult};
use signet_api::proto::svid::NewX509svidParams;
use signet_model::entry::{EntrySpec, Selector};
use signet_model::spiffe_id::{SpiffeId, TrustDomain};

use crate::tls::Identity;

/// The entries of a load, all with one parent, and the identity of that parent.
pub(crate) struct Entries {
    pub(crate) agent: SpiffeId,
    entries: Vec<Entry>,
}

impl Entries {
    /// Creates them, or finds those of a load that was broken off.
    pub(crate) async fn create(admin: &AdminClient, trust_domain: &TrustDomain) -> anyhow::Result<Self> {
        let agent = trust_domain.join("/loadtest/agent")?;
        let specs: Vec<_> = (0..COUNT)
            .map(|number| Ok((None, spec(trust_domain.join(&format!("/loadtest/workload-{number}"))?, agent.clone()))))
            .collect::<anyhow::Result<_>>()?;
        let results = admin.create_entries(specs).await.context("creating the load's entries")?;
        let mut entries = Vec::with_capacity(results.len());
        for result in results {
            match result {
                EntryResult::Done(entry) | EntryResult::Similar(entry) => entries.push(entry),
                EntryResult::Refused(error) => return Err(error).context("creating one of the load's entries"),
                EntryResult::Deleted(id) => bail!("the server deleted entry {id} instead of creating it"),
            }
        }
        anyhow::ensure!(entries.len() == COUNT, "the server created {} of {COUNT} entries", entries.len());
        Ok(Self { agent, entries })
    }

    /// Deletes them.
    pub(crate) async fn delete(self, admin: &AdminClient) -> anyhow::Result<()> {
        let ids = self.entries.into_iter().map(|entry| entry.id).collect();
        admin.delete_entries(ids).await.context("deleting the load's entries")?;
        Ok(())
    }

    /// What they are.
    pub(crate) fn all(&self) -> &[Entry] {
        &self.entries
    }

    /// Their ids.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.id.to_string()).collect()
    }

    /// Requests for X.509-SVIDs, entry after entry, so that as many in a row as there are entries name each once. Each
    /// has a key and a CSR of its own.
    pub(crate) fn x509_params(&self) -> anyhow::Result<Vec<NewX509svidParams>> {
        let rounds = std::iter::repeat_n(&self.entries, CSRS / COUNT).flatten();
        rounds
            .map(|entry| {
                let (csr, _) = request(&entry.spec.spiffe_id)?;
                Ok(NewX509svidParams { entry_id: entry.id.to_string(), csr })
            })
            .collect()
    }
}

/// An X.509-SVID for `spiffe_id` with a new key, minted over the admin socket.
pub(crate) async fn mint(admin: &AdminClient, spiffe_id: &SpiffeId, ttl_secs: u32) -> anyhow::Result<Identity> {
    let (csr, key) = request(spiffe_id)?;
    let svid = admin.mint_x509_svid(csr, ttl_secs).await.with_context(|| format!("minting an SVID for {spiffe_id}"))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok(Identity { chain: svid.cert_chain.into_iter().map(CertificateDer::from).collect(), key })
}

/// A certification request (PKCS#10, DER) for `spiffe_id`, and its key.
fn request(spiffe_id: &SpiffeId) -> anyhow::Result<(Vec<u8>, KeyPair)> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(spiffe_id.to_string().try_into()?)];
    let key = KeyPair::generate()?;
    let csr = params.serialize_request(&key)?;
    Ok((csr.der().to_vec(), key))
}

fn spec(spiffe_id: SpiffeId, parent_id: SpiffeId) -> EntrySpec {
    let name = spiffe_id.path().rsplit('/').next().unwrap_or_default().to_owned();
    EntrySpec::new(spiffe_id, parent_id, vec![Selector { kind: "loadtest".to_owned(), value: name }])
}

/// As many as the usual batch asks for.
const COUNT: usize = 50;
/// A multiple of it.
const CSRS: usize = 1000;
