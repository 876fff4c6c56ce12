//! X.509-SVIDs of workloads, agents and servers: exactly the profile that SPIRE issues.

use std::net::IpAddr;
use std::time::Duration;

use super::{IssuerView, SerialNumber, TbsCertificate, Validity};
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;

/// Everything that an X.509-SVID says.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// Whom it names. Must have a path; what has none is a trust domain, not a workload.
    pub spiffe_id: &'a SpiffeId,
    /// DNS names, checked by [`dns::check`](super::dns::check); the first is also the common name.
    pub dns_names: &'a [String],
    /// IP addresses: for our own server certificate only.
    pub ip_addresses: &'a [IpAddr],
    /// `SubjectPublicKeyInfo`, DER, from a checked request.
    pub public_key: &'a [u8],
    /// Its serial number.
    pub serial: SerialNumber,
    /// From [`validity`].
    pub validity: Validity,
    /// Who signs.
    pub issuer: &'a IssuerView,
}

impl Template<'_> {
    /// The bytes to be signed by the issuer's key. `notAfter` is cut to the issuer's.
    #[must_use]
    pub fn to_be_signed(&self) -> TbsCertificate {
        todo!()
    }
}

/// How long a leaf lives: `requested` or, if that is zero, `default`, from `now`, cut to the issuer's end, and dated
/// back by ten seconds for clocks that are behind.
#[must_use]
pub fn validity(now: UnixTime, requested: Duration, default: Duration, issuer: &IssuerView) -> Validity {
    todo!("{now:?} {requested:?} {default:?} {issuer:?}")
}
