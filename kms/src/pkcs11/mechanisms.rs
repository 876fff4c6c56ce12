//! Whether a token can do what is asked of it, before it is asked.

use cryptoki::mechanism::MechanismType;

use super::failure::Failure;
use super::module::configuration;
use super::token::{Attached, Token};
use crate::Algorithm;

/// Refuses an algorithm that the token has no mechanism for.
pub(super) fn offers(token: &Token, attached: &Attached, algorithm: Algorithm) -> Result<(), Failure> {
    let wanted: [(&str, MechanismType); 2] = match algorithm {
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
            [("CKM_EC_KEY_PAIR_GEN", MechanismType::ECC_KEY_PAIR_GEN), ("CKM_ECDSA", MechanismType::ECDSA)]
        }
        Algorithm::Rsa2048 | Algorithm::Rsa4096 => [
            ("CKM_RSA_PKCS_KEY_PAIR_GEN", MechanismType::RSA_PKCS_KEY_PAIR_GEN),
            ("CKM_RSA_PKCS", MechanismType::RSA_PKCS),
        ],
    };
    let bits = match algorithm {
        Algorithm::EcdsaP256 => 256,
        Algorithm::EcdsaP384 => 384,
        Algorithm::Rsa2048 => 2048,
        Algorithm::Rsa4096 => 4096,
    };
    for (name, mechanism) in wanted {
        let instead = "choose another algorithm, or a token that has it";
        has(token, attached, name, mechanism, &algorithm.to_string(), instead)?;
        let info = attached.connected.library().get_mechanism_info(attached.connected.slot(), mechanism)?;
        // A few modules leave the sizes out.
        if info.max_key_size() != 0 && !(info.min_key_size()..=info.max_key_size()).contains(&bits) {
            let problem = format!(
                "the token's {name} takes keys of {} to {} bits, and {algorithm} has {bits}: {instead}",
                info.min_key_size(),
                info.max_key_size()
            );
            return Err(configuration(&token.uri, problem).into());
        }
    }
    Ok(())
}

/// Refuses a token that cannot wrap.
pub(super) fn wraps(token: &Token, attached: &Attached) -> Result<(), Failure> {
    let instead = "a key-encryption key needs a token that has it";
    has(token, attached, "CKM_AES_GCM", MechanismType::AES_GCM, "wrapping", instead)
}

/// Refuses a token that cannot make a key-encryption key.
pub(super) fn makes_aes(token: &Token, attached: &Attached) -> Result<(), Failure> {
    let instead = "make the key with the token's own tools, and name its label in keys.backend";
    has(token, attached, "CKM_AES_KEY_GEN", MechanismType::AES_KEY_GEN, "a key-encryption key", instead)
}

fn has(
    token: &Token,
    attached: &Attached,
    name: &str,
    mechanism: MechanismType,
    purpose: &str,
    instead: &str,
) -> Result<(), Failure> {
    let offered = attached.connected.library().get_mechanism_list(attached.connected.slot())?;
    if offered.contains(&mechanism) {
        return Ok(());
    }
    let problem = format!("the token does not have {name}, which {purpose} needs: {instead}");
    Err(configuration(&token.uri, problem).into())
}
