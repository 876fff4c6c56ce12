//! Join tokens: what a newcomer needs to find the cluster, to be sure of it, and to be let in once.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::types::PeerNode;

/// A join token's contents. Its text is their stored form behind a prefix that names the version.
#[derive(Encode, Decode)]
pub(crate) struct JoinToken {
    /// The cluster.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// Members to ask, with their keys.
    #[n(1)]
    pub members: Vec<PeerNode>,
    /// What lets the newcomer in.
    #[n(2)]
    pub secret: Secret,
    /// When it ends, in cluster time.
    #[n(3)]
    pub expires_at: UnixTime,
}

/// 256 random bits.
#[derive(Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Secret(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes to show to a member.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl JoinToken {
    /// The text to give to the newcomer. Secret.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let form = Zeroizing::new(to_bytes(self));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + form.len() * 4 / 3 + 4));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(form.as_slice(), &mut text);
        text
    }

    /// Reads what [`to_text`](Self::to_text) made.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let Some(form) = text.trim().strip_prefix(PREFIX) else {
            return Err(format!("it does not begin with `{PREFIX}`; give the whole text that `join-token` wrote"));
        };
        let form = URL_SAFE_NO_PAD.decode(form).map(Zeroizing::new);
        let form = form.map_err(|_| "it is cut off or changed; give the whole text".to_owned())?;
        let token: Self = from_bytes(&form).map_err(|_| "it is cut off or changed; give the whole text".to_owned())?;
        if token.members.is_empty() { Err("it names no member".into()) } else { Ok(token) }
    }
}

/// What is stored of a secret. 256 random bits need no salt.
pub(crate) fn secret_hash(secret: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret).as_ref());
    hash
}

const PREFIX: &str = "signet-join-1.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Pin;

    #[test]
    fn a_token_survives_as_text_and_refuses_to_be_cut() {
        let member = PeerNode { address: "node1:8082".into(), pin: Pin([7; 32]) };
        let expires_at = UnixTime::from_secs(9);
        let secret = Secret::random().unwrap();
        let hash = secret_hash(secret.bytes());
        let token = JoinToken { cluster: [1; 16], members: vec![member], secret, expires_at };
        let text = token.to_text();
        let read = JoinToken::from_text(&format!("{}\n", text.as_str())).unwrap();
        assert_eq!((read.cluster, read.members), (token.cluster, token.members.clone()));
        assert_eq!(secret_hash(read.secret.bytes()), hash);
        for cut in 0..text.len() {
            assert!(JoinToken::from_text(&text[..cut]).is_err());
        }
    }
}
