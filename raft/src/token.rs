//! Join tokens: what a newcomer needs to find the cluster, to be sure of it, and to be let in once.
//!
//! The secret never travels, and the cluster does not keep it: it keeps a key that verifies the newcomer's signature, and one
//! with which a member proves in return that the cluster made the token. Both proofs hold for one TLS connection only. So
//! neither a relay nor a thief of the state or of a backup can join with what they see.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::peer::Channel;
use crate::types::{PeerNode, Pin};

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
    pub(crate) fn random() -> Result<Self, Unspecified> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What names the token. Public.
    pub(crate) fn id(&self) -> [u8; 32] {
        *self.derived(b"signet join id")
    }

    /// Verifies a newcomer's proof. Public: it lets nobody in.
    pub(crate) fn verifier(&self) -> Result<[u8; 32], Unspecified> {
        let mut verifier = [0; 32];
        verifier.copy_from_slice(self.newcomer()?.public_key().as_ref());
        Ok(verifier)
    }

    /// With it a member proves that its cluster knows the token. It lets nobody in.
    pub(crate) fn member_key(&self) -> [u8; 32] {
        *self.derived(b"signet join member")
    }

    /// The newcomer's proof that it has the secret, good for one connection, one node and one address.
    pub(crate) fn prove(&self, binding: &Binding<'_>) -> Result<Vec<u8>, Unspecified> {
        Ok(self.newcomer()?.sign(&binding.message(NEWCOMER)).as_ref().to_vec())
    }

    /// Whether `proof` was made, for this connection, by a member whose cluster knows the token.
    pub(crate) fn is_members(&self, proof: &[u8], binding: &Binding<'_>) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.derived(b"signet join member").as_slice());
        hmac::verify(&key, &binding.message(MEMBER), proof).is_ok()
    }

    fn newcomer(&self) -> Result<Ed25519KeyPair, Unspecified> {
        let seed = self.derived(b"signet join newcomer");
        Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| Unspecified)
    }

    fn derived(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), label);
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(tag.as_ref());
        derived
    }
}

/// What a proof holds for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    /// The TLS connection: whoever sits in between has another one on each side.
    pub channel: Channel,
    /// The cluster.
    pub cluster: &'a [u8],
    /// The newcomer's key.
    pub newcomer: Pin,
    /// Where it is reached.
    pub address: &'a str,
}

impl Binding<'_> {
    /// Every part but the last has one length only, so no two bindings make the same message.
    fn message(&self, label: &[u8]) -> Vec<u8> {
        let cluster = digest(&SHA256, self.cluster);
        [label, &self.channel.0, cluster.as_ref(), &self.newcomer.0, self.address.as_bytes()].concat()
    }
}

/// Whether `proof` was made, for this connection, by a newcomer who has the secret.
pub(crate) fn is_newcomers(verifier: &[u8; 32], proof: &[u8], binding: &Binding<'_>) -> bool {
    UnparsedPublicKey::new(&ED25519, verifier).verify(&binding.message(NEWCOMER), proof).is_ok()
}

/// A member's proof that its cluster knows the token, good for one connection.
pub(crate) fn prove_membership(member_key: &[u8; 32], binding: &Binding<'_>) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, member_key);
    hmac::sign(&key, &binding.message(MEMBER)).as_ref().to_vec()
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

// Of one length, so that neither begins like the other.
const NEWCOMER: &[u8; 26] = b"signet join 1 the newcomer";
const MEMBER: &[u8; 26] = b"signet join 1 the member  ";
const PREFIX: &str = "signet-join-1.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_secret_connection_newcomer_and_address_only() {
        let (secret, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let right = Binding { channel: Channel([1; 32]), cluster: &[2; 16], newcomer: Pin([3; 32]), address: "a:1" };
        let wrong = [
            Binding { channel: Channel([9; 32]), ..right },
            Binding { cluster: &[9; 16], ..right },
            Binding { newcomer: Pin([9; 32]), ..right },
            Binding { address: "a:2", ..right },
        ];
        let (verifier, member_key) = (secret.verifier().unwrap(), secret.member_key());
        let (newcomers, members) = (secret.prove(&right).unwrap(), prove_membership(&member_key, &right));
        assert!(is_newcomers(&verifier, &newcomers, &right) && secret.is_members(&members, &right));
        for wrong in wrong {
            assert!(!is_newcomers(&verifier, &newcomers, &wrong) && !secret.is_members(&members, &wrong), "{wrong:?}");
        }
        assert!(!is_newcomers(&other.verifier().unwrap(), &newcomers, &right) && !other.is_members(&members, &right));
        assert!(!is_newcomers(&verifier, &members, &right), "one side's proof is not the other's");
        assert!(!secret.is_members(&newcomers, &right));
        for cut in 0..newcomers.len() {
            assert!(!is_newcomers(&verifier, &newcomers[..cut], &right));
        }
        assert_ne!(secret.id(), member_key, "what is public does not tell what is not");
    }

    #[test]
    fn a_token_survives_as_text_and_refuses_to_be_cut() {
        let member = PeerNode { address: "node1:8082".into(), pin: Pin([7; 32]) };
        let expires_at = UnixTime::from_secs(9);
        let secret = Secret::random().unwrap();
        let hash = secret.id();
        let token = JoinToken { cluster: [1; 16], members: vec![member], secret, expires_at };
        let text = token.to_text();
        let read = JoinToken::from_text(&format!("{}\n", text.as_str())).unwrap();
        assert_eq!((read.cluster, read.members), (token.cluster, token.members.clone()));
        assert_eq!(read.secret.id(), hash);
        for cut in 0..text.len() {
            assert!(JoinToken::from_text(&text[..cut]).is_err());
        }
    }
}
