//! Between the wire and the model. What cannot be parsed is refused here, naming the field.

pub(crate) mod authority;
pub(crate) mod bundle;
pub(crate) mod cluster;
pub(crate) mod entry;
pub(crate) mod filter;
pub(crate) mod mask;
pub(crate) mod members;
pub(crate) mod ops;
pub(crate) mod page;
pub(crate) mod recipients;
pub(crate) mod svid;

use signet_model::refusal::Refusal;
use signet_model::spiffe_id::{SpiffeId, TrustDomain};

use crate::proto::types;

/// A SPIFFE ID from its two parts; the error does not name the field, the caller does.
pub(crate) fn spiffe_id(id: Option<&types::Spiffeid>) -> Result<SpiffeId, String> {
    let id = id.ok_or("request must specify SPIFFE ID")?;
    trust_domain(&id.trust_domain)?.join(&id.path).map_err(|e| e.to_string())
}

/// A trust domain, with or without scheme: SPIRE's clients send both.
pub(crate) fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    text.strip_prefix("spiffe://")
        .unwrap_or(text)
        .parse()
        .map_err(|e: signet_model::spiffe_id::SpiffeIdError| e.to_string())
}

/// A SPIFFE ID for the wire.
pub(crate) fn from_spiffe_id(id: &SpiffeId) -> types::Spiffeid {
    types::Spiffeid { trust_domain: id.trust_domain().as_str().to_owned(), path: id.path().to_owned() }
}

/// A number of seconds that the wire has signed.
pub(crate) fn ttl_secs(field: &str, value: i32) -> Result<u32, Refusal> {
    u32::try_from(value).map_err(|_| Refusal::invalid(format!("{field} must not be negative; 0 is the default")))
}

/// A count or time for the wire, which has it signed.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or time from the wire, where a negative one cannot be meant.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
