//! What is asked for, of whom, through which connections.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use signet_api::client::{AgentClient, AgentIdentity, Trust};
use signet_api::proto::svid::NewX509svidParams;
use signet_model::spiffe_id::TrustDomain;

use crate::clock;
use crate::doors::grpc::{JwtDoor, X509Door};
use crate::doors::https::{ExchangeDoor, Forms};
use crate::load::Door;
use crate::seed::Seed;
use crate::tls::{Identity, TlsClient};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// X.509-SVIDs, so many a call.
    X509 { batch: u16 },
    /// One JWT-SVID a call.
    Jwt,
    /// One transaction token a call.
    Exchange { fresh_tokens: bool },
}

impl Workload {
    /// What `all` runs.
    pub(crate) const ALL: [Self; 5] = [
        Self::X509 { batch: 1 },
        Self::X509 { batch: 50 },
        Self::Jwt,
        Self::Exchange { fresh_tokens: false },
        Self::Exchange { fresh_tokens: true },
    ];

    /// How the report calls it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::X509 { batch: 1 } => "x509".to_owned(),
            Self::X509 { batch } => format!("x509 --batch {batch}"),
            Self::Jwt => "jwt".to_owned(),
            Self::Exchange { fresh_tokens: false } => "exchange".to_owned(),
            Self::Exchange { fresh_tokens: true } => "exchange --fresh-tokens".to_owned(),
        }
    }

    /// Credentials in each request.
    pub(crate) const fn operations(self) -> u16 {
        match self {
            Self::X509 { batch } => batch,
            Self::Jwt | Self::Exchange { .. } => 1,
        }
    }

    /// Requests a second when nobody said how many: far from what two cores can do, client and servers together.
    pub(crate) const fn default_rate(self) -> u32 {
        match self {
            Self::X509 { batch } if batch > 10 => 20,
            Self::X509 { .. } | Self::Jwt | Self::Exchange { .. } => 1000,
        }
    }
}

/// Where a load goes, and who it is there: the cluster, or the floor.
pub(crate) struct Target<'a> {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) anchors: Vec<CertificateDer<'static>>,
    pub(crate) grpc: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    pub(crate) identity: &'a Identity,
}

/// What the requests hold.
#[derive(Clone)]
pub(crate) enum Payload {
    /// For `BatchNewX509SVID`.
    X509 { params: Arc<Vec<NewX509svidParams>>, batch: u16, seed: Seed },
    /// For `NewJWTSVID`: entries.
    Jwt { entries: Arc<Vec<String>>, seed: Seed },
    /// For `POST /token`.
    Exchange(Arc<Forms>),
}

/// A connection for any of these.
pub(crate) enum AnyDoor {
    X509(X509Door),
    Jwt(JwtDoor),
    Exchange(ExchangeDoor),
}

impl Door for AnyDoor {
    fn in_flight(&self) -> usize {
        match self {
            Self::X509(door) => door.in_flight(),
            Self::Jwt(door) => door.in_flight(),
            Self::Exchange(door) => door.in_flight(),
        }
    }

    async fn ask(&self, number: u64) -> Result<(), String> {
        match self {
            Self::X509(door) => door.ask(number).await,
            Self::Jwt(door) => door.ask(number).await,
            Self::Exchange(door) => door.ask(number).await,
        }
    }
}

impl Target<'_> {
    /// Opens `connections` that carry `payload`, spread evenly over the target's addresses.
    pub(crate) async fn open(&self, connections: u16, payload: &Payload) -> anyhow::Result<Vec<Arc<AnyDoor>>> {
        let mut doors = Vec::with_capacity(usize::from(connections));
        match payload {
            Payload::X509 { .. } | Payload::Jwt { .. } => {
                let trust = self.trust();
                for &address in self.grpc.iter().cycle().take(usize::from(connections)) {
                    doors.push(Arc::new(self.grpc_door(address, &trust, payload).await?));
                }
            }
            Payload::Exchange(forms) => {
                let tls = self.tls()?;
                for &address in self.https.iter().cycle().take(usize::from(connections)) {
                    let door = ExchangeDoor::open(address, tls.clone(), Arc::clone(forms)).await;
                    doors.push(Arc::new(AnyDoor::Exchange(door.with_context(|| format!("https://{address}"))?)));
                }
            }
        }
        Ok(doors)
    }

    async fn grpc_door(&self, address: SocketAddr, trust: &Trust, payload: &Payload) -> anyhow::Result<AnyDoor> {
        let identity = AgentIdentity { chain: self.identity.chain.clone(), key: self.identity.key.clone_key() };
        let client = AgentClient::connect(&address.to_string(), Some(identity), trust).await;
        let channel = client.with_context(|| format!("gRPC at {address}"))?.channel();
        Ok(match payload {
            Payload::X509 { params, batch, seed } => {
                AnyDoor::X509(X509Door::new(channel, Arc::clone(params), usize::from(*batch), *seed))
            }
            Payload::Jwt { entries, seed } => {
                AnyDoor::Jwt(JwtDoor::new(channel, Arc::clone(entries), AUDIENCE.to_owned(), *seed))
            }
            Payload::Exchange(_) => bail!("exchanges do not go over gRPC"),
        })
    }

    /// Sends each of `forms` to each address once, so that afterwards none of their tokens is new anywhere.
    pub(crate) async fn show(&self, forms: &Forms) -> anyhow::Result<()> {
        let tls = self.tls()?;
        for &address in &self.https {
            let nothing = Arc::new(Forms { bodies: Vec::new(), drawn: None });
            let door = ExchangeDoor::open(address, tls.clone(), nothing).await?;
            for form in &forms.bodies {
                let answer = door.exchange(Bytes::clone(form)).await;
                answer
                    .map_err(|code| anyhow::anyhow!("https://{address} refused an exchange before the run: {code}"))?;
            }
        }
        Ok(())
    }

    fn trust(&self) -> Trust {
        Trust { trust_domain: self.trust_domain.clone(), anchors: self.anchors.clone(), clock: clock::api_clock() }
    }

    fn tls(&self) -> anyhow::Result<TlsClient> {
        let mut roots = RootCertStore::empty();
        for anchor in &self.anchors {
            roots.add(anchor.clone()).context("a trust anchor is unusable")?;
        }
        Ok(TlsClient::new(roots, self.identity, b"http/1.1")?)
    }
}

const AUDIENCE: &str = "loadtest";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = Workload::ALL.into_iter().map(Workload::name).collect();
        assert_eq!(names.len(), Workload::ALL.len());
    }
}
