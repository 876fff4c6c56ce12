//! What makes a retry recognisable: the key that a caller gives one request, with a digest of what it asked for.
//!
//! Change log of the stored form:
//! - 2026-11-22: version 1, fields 0 to 2.

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};

use crate::caller::Caller;
use crate::refusal::{Reason, Refusal};

/// One request of a caller that may be sent more than once and must act once. Stored form: it travels in a
/// [`Proposal`](crate::command::Proposal).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestKey {
    /// SHA-256 of the key's text.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// SHA-256 of what was asked for: another request under the same key is a mistake of the caller.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub request: [u8; 32],
    /// The items of a batch that were refused before it was proposed, with their places: part of what a retry is told.
    #[n(2)]
    pub refused: Vec<(u32, Refusal)>,
}

impl RequestKey {
    /// The key `text` for the request with this method and body, as they came over the wire.
    ///
    /// # Errors
    /// The text is empty, longer than [`LONGEST_KEY`], or holds something else than visible ASCII.
    pub fn new(text: &str, method: &str, body: &[u8]) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > LONGEST_KEY || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::invalid(format!(
                "signet-idempotency-key: must be 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID made for this request"
            )));
        }
        let length = u64::try_from(method.len()).unwrap_or(u64::MAX).to_be_bytes();
        Ok(Self {
            key: sha_256(&[text.as_bytes()]),
            request: sha_256(&[&length, method.as_bytes(), body]),
            refused: Vec::new(),
        })
    }
}

/// Whose keys are told apart. A local user is the same at every node's socket and in every process, since a retry comes
/// from another process or goes to another node as often as not.
pub(crate) fn owner(caller: &Caller) -> [u8; 32] {
    match caller {
        Caller::Local { node: _, uid, pid: _ } => sha_256(&[b"uid", &uid.to_be_bytes()]),
        Caller::Spiffe { id } => sha_256(&[b"spiffe", id.to_string().as_bytes()]),
        Caller::Node { node } => sha_256(&[b"node", &node.to_be_bytes()]),
        Caller::Anonymous => sha_256(&[b"anonymous"]),
    }
}

/// The refusal of another request under a key that was used.
pub(crate) fn reused() -> Refusal {
    Refusal::new(
        Reason::IdempotencyKeyReused,
        "this idempotency key was used for another request; nothing was changed. A key belongs to one request: make a new one for this",
    )
}

fn sha_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SHA-256 is 32 bytes long.
    for (to, from) in bytes.iter_mut().zip(digest(&SHA256, &parts.concat()).as_ref()) {
        *to = *from;
    }
    bytes
}

/// The longest key, in bytes.
pub const LONGEST_KEY: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_key_that_is_no_key() {
        let long = "x".repeat(LONGEST_KEY + 1);
        for text in ["", "two words", "tab\t", "käse", long.as_str()] {
            assert_eq!(RequestKey::new(text, "/m", b"").unwrap_err().reason, Reason::InvalidArgument, "{text:?}");
        }
        assert!(RequestKey::new(&"x".repeat(LONGEST_KEY), "/m", b"").is_ok());
    }

    #[test]
    fn method_and_body_both_count_and_do_not_run_together() {
        let request = |method: &str, body: &[u8]| RequestKey::new("k", method, body).unwrap().request;
        assert_ne!(request("/a", b"b"), request("/ab", b""));
        assert_ne!(request("/a", b"b"), request("/a", b"c"));
        assert_eq!(request("/a", b"b"), request("/a", b"b"));
    }

    #[test]
    fn a_local_user_is_the_same_in_every_process_and_at_every_node() {
        let local = |node, uid, pid| owner(&Caller::Local { node, uid, pid });
        assert_eq!(local(1, 1000, 5), local(2, 1000, 6));
        assert_ne!(local(1, 1000, 5), local(1, 1001, 5));
        assert_ne!(owner(&Caller::Node { node: 1 }), owner(&Caller::Anonymous));
    }
}
