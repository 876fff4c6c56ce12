//! A node as agents and workloads reach it: over the TLS port, with or without an X.509-SVID.

use http::Uri;
use signet_model::entry::EntryId;
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};
use tonic::transport::{Channel, Endpoint};

use super::connector::{AgentIdentity, Connector, Trust};
use super::{ClientError, PatientChannel, admin};
use crate::proto::bundle::GetBundleRequest;
use crate::proto::bundle::bundle_client::BundleClient;
use crate::proto::svid::svid_client::SvidClient;
use crate::proto::svid::{BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use crate::service::NewX509Svid;
use crate::tls::H2;
use crate::wire;

/// A connection to a node's TLS port, made again when it ends. Clones share it.
#[derive(Debug, Clone)]
pub struct AgentClient {
    channel: Channel,
}

impl AgentClient {
    /// Connects to `address` (host:port). Without an identity only the bundle can be had.
    ///
    /// # Errors
    /// `unreachable`: no connection, or the server is not the trust domain's. `invalid_argument`: the address, identity
    /// or trust cannot be used.
    pub async fn connect(address: &str, identity: Option<AgentIdentity>, trust: &Trust) -> Result<Self, ClientError> {
        let uri: Uri = format!("https://{address}")
            .parse()
            .map_err(|e| ClientError::invalid(format!("{address:?} is not host:port: {e}")))?;
        let connector = Connector::new(identity, trust, &[H2])?;
        let channel = admin::tuned(Endpoint::from(uri))
            .connect_with_connector(connector)
            .await
            .map_err(|e| ClientError::unreachable(&format!("cannot connect to {address}"), &e))?;
        Ok(Self { channel })
    }

    /// The bare connection, for the generated clients of [`crate::proto`]. A call that meets the end of the connection
    /// fails; see [`AgentClient::connection`].
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The connection for the generated clients, with calls asked again that were never sent.
    #[must_use]
    pub fn connection(&self) -> PatientChannel {
        PatientChannel(self.channel())
    }

    /// X.509-SVIDs of entries whose parent this client is. One result per request, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn new_x509_svids(
        &self,
        requests: Vec<NewX509Svid>,
    ) -> Result<Vec<Result<X509Svid, ClientError>>, ClientError> {
        let count = requests.len();
        let params = requests.into_iter().map(|r| NewX509svidParams { entry_id: r.entry.to_string(), csr: r.csr });
        let request = BatchNewX509svidRequest { params: params.collect() };
        let results = SvidClient::new(self.connection()).batch_new_x509svid(request).await?.into_inner().results;
        if results.len() != count {
            return Err(ClientError::protocol(format!("{} results for {count} requests", results.len())));
        }
        let read =
            |result: crate::proto::svid::batch_new_x509svid_response::Result| match ClientError::of_item(result.status)
            {
                Some(refused) => Err(refused),
                None => wire::svid::x509(result.svid).map_err(ClientError::protocol),
            };
        Ok(results.into_iter().map(read).collect())
    }

    /// A JWT-SVID of an entry whose parent this client is.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn new_jwt_svid(&self, entry: &EntryId, audience: &[String]) -> Result<JwtSvid, ClientError> {
        let request = NewJwtsvidRequest { entry_id: entry.to_string(), audience: audience.to_vec() };
        let answer = SvidClient::new(self.connection()).new_jwtsvid(request).await?.into_inner();
        wire::svid::jwt(answer.svid).map_err(ClientError::protocol)
    }

    /// The trust domain's bundle.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn bundle(&self) -> Result<TrustBundle, ClientError> {
        let answer = BundleClient::new(self.connection()).get_bundle(GetBundleRequest { output_mask: None }).await?;
        wire::bundle::bundle(answer.into_inner()).map_err(ClientError::protocol)
    }
}
