//! The only place in the server that rolls dice: the CSPRNG of aws-lc-rs.

use signet_model::refusal::{Reason, Refusal};

/// Random bytes.
///
/// # Errors
/// The system gives no randomness; nothing can be issued.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Refusal::new(Reason::Internal, "the system gave no randomness, so nothing can be issued")),
    }
}
