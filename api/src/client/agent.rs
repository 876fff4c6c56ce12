//! A node as agents and workloads reach it: over the TLS port, with or without an X.509-SVID.

use std::fmt;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_model::entry::EntryId;
use signet_model::spiffe_id::TrustDomain;
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};
use tonic::transport::Channel;

use super::ClientError;
use crate::Clock;
use crate::service::NewX509Svid;

/// Whom the client believes: servers with the ID `spiffe://TRUST_DOMAIN/spire/server` under these anchors.
#[derive(Clone)]
pub struct Trust {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Its X.509 authorities.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The time, for validity.
    pub clock: Clock,
}

/// Who the client is.
pub struct AgentIdentity {
    /// Its X.509-SVID, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

/// A connection to a node's TLS port. Clones share it.
#[derive(Debug, Clone)]
pub struct AgentClient {
    channel: Channel,
}

impl Trust {
    /// Trust in what a PEM file of CA certificates holds.
    ///
    /// # Errors
    /// `invalid_argument`: there is no certificate in it, or one that cannot be read.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8], clock: Clock) -> Result<Self, ClientError> {
        let _ = (pem, clock);
        todo!("{trust_domain}")
    }
}

impl AgentClient {
    /// Connects to `address` (host:port). Without an identity only the bundle can be had.
    ///
    /// # Errors
    /// `unreachable`: no connection, or the server is not the trust domain's.
    pub async fn connect(address: &str, identity: Option<AgentIdentity>, trust: &Trust) -> Result<Self, ClientError> {
        let _ = (identity, trust);
        todo!("{address}")
    }

    /// The connection, for cheap repeated calls with the generated clients of [`crate::proto`].
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// X.509-SVIDs of entries whose parent this client is. One result per request, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn new_x509_svids(
        &self,
        requests: Vec<NewX509Svid>,
    ) -> Result<Vec<Result<X509Svid, ClientError>>, ClientError> {
        todo!("{requests:?}")
    }

    /// A JWT-SVID of an entry whose parent this client is.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn new_jwt_svid(&self, entry: &EntryId, audience: &[String]) -> Result<JwtSvid, ClientError> {
        todo!("{entry} {audience:?}")
    }

    /// The trust domain's bundle.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn bundle(&self) -> Result<TrustBundle, ClientError> {
        todo!()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}
