//! SVIDs.

use signet_model::svid::{JwtSvid, X509Svid};

use super::{from_spiffe_id, signed, spiffe_id, unsigned};
use crate::proto::types;

/// An X.509-SVID for the wire.
pub(crate) fn from_x509(svid: X509Svid) -> types::X509svid {
    types::X509svid {
        id: Some(from_spiffe_id(&svid.spiffe_id)),
        cert_chain: svid.cert_chain,
        expires_at: signed(svid.expires_at_secs),
        hint: svid.hint,
    }
}

/// A JWT-SVID for the wire.
pub(crate) fn from_jwt(svid: JwtSvid) -> types::Jwtsvid {
    types::Jwtsvid {
        id: Some(from_spiffe_id(&svid.spiffe_id)),
        token: svid.token,
        expires_at: signed(svid.expires_at_secs),
        issued_at: signed(svid.issued_at_secs),
        hint: svid.hint,
    }
}

/// An X.509-SVID from the wire. The error says what makes no sense.
pub(crate) fn x509(svid: Option<types::X509svid>) -> Result<X509Svid, String> {
    let svid = svid.ok_or("the answer holds no SVID")?;
    Ok(X509Svid {
        spiffe_id: spiffe_id(svid.id.as_ref())?,
        cert_chain: svid.cert_chain,
        expires_at_secs: unsigned(svid.expires_at),
        hint: svid.hint,
    })
}

/// A JWT-SVID from the wire. The error says what makes no sense.
pub(crate) fn jwt(svid: Option<types::Jwtsvid>) -> Result<JwtSvid, String> {
    let svid = svid.ok_or("the answer holds no SVID")?;
    Ok(JwtSvid {
        spiffe_id: spiffe_id(svid.id.as_ref())?,
        token: svid.token,
        issued_at_secs: unsigned(svid.issued_at),
        expires_at_secs: unsigned(svid.expires_at),
        hint: svid.hint,
    })
}
