//! The nouns of Signet, and every decision as a pure function.
//!
//! Nothing here reads a clock, rolls dice, opens a file or a socket: what varies is an argument. So a decision can be
//! tested by its inputs alone, and every replica that applies the same commands comes to the same state.

pub mod algorithm;
pub mod authority;
pub mod caller;
pub mod command;
pub mod entry;
pub mod exchange;
pub mod inspect;
pub mod json;
pub mod jwk;
pub mod jwks;
pub mod jws;
pub mod jwt_svid;
pub mod policy;
pub mod recipient;
pub mod record;
pub mod refusal;
pub mod request_key;
pub mod rotation;
pub mod rows;
pub mod spiffe_id;
pub mod state;
pub mod stored;
pub mod svid;
#[cfg(test)]
mod test_keys;
pub mod time;
pub mod verify;
pub mod x509;
