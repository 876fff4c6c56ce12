//! Throw-away certificates for the floor: an authority, a server and a client, shaped like the cluster's.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::tls::Identity;

/// What the floor's server needs: passed to it on its standard input, which nobody else reads.
#[derive(Serialize, Deserialize)]
pub(super) struct ServerSide {
    /// PEM, leaf first.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: String,
    /// PEM; whom to trust as a client.
    pub(super) roots: String,
}

/// What the load needs to be heard.
pub(crate) struct ClientSide {
    pub(crate) identity: Identity,
    pub(crate) anchors: Vec<CertificateDer<'static>>,
}

/// The floor's own; nobody else believes it.
pub(crate) const TRUST_DOMAIN: &str = "floor.example";

/// Makes both sides, good for as long as a load test may take.
pub(super) fn create() -> anyhow::Result<(ServerSide, ClientSide)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "signet loadtest floor");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let uri = |text: &str| text.try_into().map(SanType::URI).context("a SPIFFE ID is no IA5String");
    let leaf = |names| -> anyhow::Result<_> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &authority)?, key))
    };
    let loopback = SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let (server, server_key) = leaf(vec![loopback, uri(&format!("spiffe://{TRUST_DOMAIN}/spire/server"))?])?;
    let (client, client_key) = leaf(vec![uri(&format!("spiffe://{TRUST_DOMAIN}/load"))?])?;

    let key = PrivateKeyDer::try_from(client_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let server = ServerSide { chain: server.pem(), key: server_key.serialize_pem(), roots: authority.pem() };
    let identity = Identity { chain: vec![client.der().clone()], key };
    Ok((server, ClientSide { identity, anchors: vec![authority.der().clone()] }))
}
