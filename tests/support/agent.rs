//! Workloads and agents: keys, CSRs, SVIDs, and connections to the nodes' public doors.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use signet_api::client::{AdminClient, AgentClient, AgentIdentity, ClientError, HttpAnswer, TokenClient, Trust};
use signet_model::entry::{EntrySpec, Selector};
use signet_model::svid::{TrustBundle, X509Svid};

use super::clock::clock;
use super::node::Node;

/// Somebody with an X.509-SVID.
pub(crate) struct Agent {
    pub(crate) spiffe_id: String,
    pub(crate) svid: X509Svid,
    key: KeyPair,
    trust: Trust,
}

impl Agent {
    /// Has an administrator mint the SVID at `node`.
    pub(crate) async fn minted(node: &Node, spiffe_id: &str) -> Self {
        Self::try_minted(node, spiffe_id, 0).await.unwrap()
    }

    /// As [`minted`](Self::minted), for so many seconds, at a node that may be down.
    pub(crate) async fn try_minted(node: &Node, spiffe_id: &str, ttl_secs: u32) -> Result<Self, String> {
        Self::minted_at(&node.socket(), spiffe_id, ttl_secs).await
    }

    /// As [`try_minted`](Self::try_minted), at the node with this admin socket.
    pub(crate) async fn minted_at(socket: &Path, spiffe_id: &str, ttl_secs: u32) -> Result<Self, String> {
        let admin = AdminClient::connect(socket).await.map_err(|e| e.to_string())?;
        let (key, csr) = request(&[spiffe_id]);
        let svid = admin.mint_x509_svid(csr, ttl_secs).await.map_err(|e| e.to_string())?;
        let bundle = admin.bundle().await.map_err(|e| e.to_string())?;
        Ok(Self { spiffe_id: spiffe_id.to_owned(), svid, key, trust: trusting(bundle) })
    }

    fn identity(&self) -> AgentIdentity {
        AgentIdentity {
            chain: self.svid.cert_chain.iter().map(|der| CertificateDer::from(der.clone())).collect(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der())),
        }
    }

    /// A connection to the node's gRPC door, proven by the SVID.
    pub(crate) async fn grpc(&self, node: &Node) -> Result<AgentClient, ClientError> {
        self.grpc_at(&node.grpc).await
    }

    /// A connection to the gRPC door at `address` (host:port).
    pub(crate) async fn grpc_at(&self, address: &str) -> Result<AgentClient, ClientError> {
        AgentClient::connect(address, Some(self.identity()), &self.trust).await
    }

    /// A client of the node's HTTPS door, proven by the SVID.
    pub(crate) fn https(&self, node: &Node) -> TokenClient {
        self.https_at(&node.https)
    }

    /// A client of the HTTPS door at `base`, proven by the SVID.
    pub(crate) fn https_at(&self, base: &str) -> TokenClient {
        TokenClient::new(base, Some(self.identity()), &self.trust).unwrap()
    }

    /// A client of the node's HTTPS door that shows no certificate.
    pub(crate) fn anonymous_https(&self, node: &Node) -> TokenClient {
        TokenClient::new(&node.https, None, &self.trust).unwrap()
    }
}

/// Trust in what the node's bundle holds now.
pub(crate) async fn trust(admin: &AdminClient) -> Trust {
    trusting(admin.bundle().await.unwrap())
}

fn trusting(bundle: TrustBundle) -> Trust {
    let anchors = bundle.x509_authorities.iter().map(|a| CertificateDer::from(a.certificate.clone())).collect();
    Trust { trust_domain: bundle.trust_domain, anchors, clock: clock() }
}

/// A new key and a CSR (PKCS#10, DER) with these URI SANs.
pub(crate) fn request(uris: &[&str]) -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// What an operator says of an entry, with everything else at its default.
pub(crate) fn entry(spiffe_id: &str, parent_id: &str) -> EntrySpec {
    EntrySpec::new(
        spiffe_id.parse().unwrap(),
        parent_id.parse().unwrap(),
        vec![Selector { kind: "unix".to_owned(), value: "uid:1000".to_owned() }],
    )
}

/// The parameters of an exchange of a user's access token, without client authentication.
pub(crate) fn exchange_form<'a>(subject_token: &'a str, audience: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
        ("audience", audience),
        ("scope", scope),
        ("subject_token", subject_token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ]
}

/// The transaction token in a good answer.
pub(crate) fn txn_token(answer: &HttpAnswer) -> Result<String, String> {
    let body: Value = serde_json::from_slice(&answer.body).map_err(|e| format!("{} {e}", answer.status))?;
    match (answer.status, body["access_token"].as_str()) {
        (200, Some(token)) => Ok(token.to_owned()),
        (status, _) => Err(format!("{status} {} {}", body["error"], body["error_description"])),
    }
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of a JWT.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, position: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(position).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
