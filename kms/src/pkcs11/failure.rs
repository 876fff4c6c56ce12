//! What a failed PKCS#11 call means for whoever asked.

use cryptoki::error::{Error, RvError};

use crate::KmsError;

/// Why a call of the token failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The session, the login, an object's handle or the whole token is not what it was: connect anew and ask once more.
    Lost(String),
    /// It will fail again, or its cause is known.
    Final(KmsError),
    /// The token could not, and did not say why in a way that tells what to do.
    Token(String),
}

impl From<KmsError> for Failure {
    fn from(error: KmsError) -> Self {
        Self::Final(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        if code(&error).is_some_and(is_lost) { Self::Lost(text) } else { Self::Token(text) }
    }
}

/// The function and the return code by their names in the standard. A code's own description fills half a page.
pub(super) fn describe(error: &Error) -> String {
    if let Error::Pkcs11(code, function) = error {
        return format!("C_{function:?} answered {}", name(*code));
    }
    error.to_string()
}

/// What the token answered, if it did.
pub(super) fn code(error: &Error) -> Option<RvError> {
    if let Error::Pkcs11(code, _) = error { Some(*code) } else { None }
}

/// `PinIncorrect` is `CKR_PIN_INCORRECT`.
fn name(code: RvError) -> String {
    let mut name = String::from("CKR");
    for character in format!("{code:?}").chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

fn is_lost(code: RvError) -> bool {
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::CryptokiNotInitialized
            | RvError::OperationActive
    )
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn says_function_and_code_as_the_standard_has_them() {
        let error = Error::Pkcs11(RvError::PinIncorrect, Function::Login);
        assert_eq!(describe(&error), "C_Login answered CKR_PIN_INCORRECT");
    }

    #[test]
    fn tells_what_was_lost_from_what_the_token_refuses() {
        let of = |code| Failure::from(Error::Pkcs11(code, Function::Sign));
        assert!(matches!(of(RvError::SessionHandleInvalid), Failure::Lost(_)));
        assert!(matches!(of(RvError::KeyTypeInconsistent), Failure::Token(_)));
    }
}
