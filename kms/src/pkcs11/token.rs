//! One token, as the threads of one backend share it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::failure::Failure;
use super::module::{Module, is_logged_in, lock};
use super::signing::SigningKey;
use super::uri::Pkcs11Uri;
use super::wrapping::WrappingKey;
use crate::KmsError;

/// A token that is reached when it is first needed, and again when it was lost.
pub(super) struct Token {
    pub(super) uri: Pkcs11Uri,
    /// The name of its key-encryption key, from the first time that it was seen.
    pub(super) recipient: OnceLock<String>,
    connected: Mutex<Option<Arc<Connected>>>,
}

/// What is known of a token until it is lost. Handles are those of the process, whatever the session.
pub(super) struct Connected {
    module: Arc<Module>,
    slot: Slot,
    /// By `CKA_ID`.
    pub(super) signing: Mutex<HashMap<Vec<u8>, SigningKey>>,
    pub(super) wrapping: Mutex<Option<WrappingKey>>,
}

/// What a thread keeps from call to call.
#[derive(Default)]
pub(super) struct OwnSession(Option<Attached>);

/// A session of a token that this process is logged in to.
pub(super) struct Attached {
    /// Closed before the module is let go of, which may be finalised then.
    pub(super) session: Session,
    pub(super) connected: Arc<Connected>,
}

impl Token {
    pub(super) fn new(uri: Pkcs11Uri) -> Self {
        Self { uri, recipient: OnceLock::new(), connected: Mutex::default() }
    }

    /// Asks the token for something, and once more when it turns out that the session or the token was lost.
    pub(super) fn ask<T>(
        &self,
        own: &mut OwnSession,
        question: impl Fn(&Attached) -> Result<T, Failure>,
    ) -> Result<T, KmsError> {
        let mut again = true;
        loop {
            let failure = match self.attach(own).and_then(|attached| {
                let answer = question(&attached);
                // After a failure it may be in the midst of an operation.
                if answer.is_ok() {
                    own.0 = Some(attached);
                }
                answer
            }) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Lost(cause) if again => {
                    tracing::info!("{}: connecting anew: {cause}", self.uri.name());
                    *lock(&self.connected) = None;
                    again = false;
                }
                Failure::Lost(cause) | Failure::Token(cause) => return Err(self.unavailable(cause)),
                Failure::Final(error) => return Err(error),
            }
        }
    }

    fn attach(&self, own: &mut OwnSession) -> Result<Attached, Failure> {
        let known = lock(&self.connected).clone();
        if let (Some(own), Some(known)) = (own.0.take(), &known)
            && Arc::ptr_eq(&own.connected, known)
        {
            return Ok(own);
        }
        let connected = match known {
            Some(connected) => connected,
            None => {
                let module = Module::load(&self.uri)?;
                let slot = module.slot(&self.uri)?;
                let new = Connected { module, slot, signing: Mutex::default(), wrapping: Mutex::default() };
                Arc::clone(lock(&self.connected).get_or_insert_with(|| Arc::new(new)))
            }
        };
        connected.module.log_in(connected.slot, &self.uri)?;
        let session = connected.library().open_ro_session(connected.slot)?;
        Ok(Attached { session, connected })
    }

    pub(super) fn unavailable(&self, problem: impl Into<String>) -> KmsError {
        KmsError::Unavailable { backend: self.uri.name(), problem: problem.into() }
    }

    pub(super) fn no_key(&self, key: &str, problem: impl Into<String>) -> KmsError {
        KmsError::Key { backend: self.uri.name(), key: key.to_owned(), problem: problem.into() }
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> KmsError {
        KmsError::Wrong { backend: self.uri.name(), problem: problem.into() }
    }
}

impl Connected {
    pub(super) fn library(&self) -> &Pkcs11 {
        &self.module.library
    }

    pub(super) const fn slot(&self) -> Slot {
        self.slot
    }
}

impl Attached {
    /// The objects that have all these attributes. None are found without a login, which is something else than that
    /// there are none.
    pub(super) fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Failure> {
        let found = self.session.find_objects(template)?;
        if found.is_empty() && !is_logged_in(&self.session) {
            return Err(Failure::Lost("this process is not logged in to the token any more".to_owned()));
        }
        Ok(found)
    }

    /// Those of these attributes that the object has.
    pub(super) fn attributes(&self, object: ObjectHandle, kinds: &[AttributeType]) -> Result<Vec<Attribute>, Failure> {
        Ok(self.session.get_attributes(object, kinds)?)
    }

    /// Another session, for what must not disturb this one.
    pub(super) fn another_session(&self) -> Result<Session, Failure> {
        Ok(self.connected.library().open_ro_session(self.connected.slot)?)
    }

    /// A session in which objects can be made.
    pub(super) fn writing_session(&self) -> Result<Session, Failure> {
        Ok(self.connected.library().open_rw_session(self.connected.slot)?)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.uri.name())
    }
}
