//! The token's library. It is one thing for the whole process, and so is the login.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::failure::{Failure, code, describe};
use super::pin;
use super::uri::{Pkcs11Uri, TokenMatch};
use crate::KmsError;

/// A library that is loaded and initialised. It stays so until the process ends, unless it does not see a token and
/// nobody has a session by it: finalising it would end the sessions of everybody who uses it.
pub(super) struct Module {
    pub(super) library: Pkcs11,
    /// Initialised by us, and not by somebody else in this process, who would not know of its end.
    ours: bool,
    /// By slot number. The login belongs to the process, not to a session, and ends with the last session or with any
    /// logout: so one session of each token does nothing but keep it.
    logins: Mutex<HashMap<u64, Login>>,
}

#[derive(Default)]
struct Login {
    session: Option<Session>,
    /// A PIN that the token refused. It is not tried again, because a few wrong ones lock the token.
    refused: Option<Zeroizing<Vec<u8>>>,
}

impl Module {
    /// The module that `uri` names, loaded if it was not yet, and loaded anew if it does not see the token and nobody uses
    /// it: a module that looks for tokens only when it is initialised, as SoftHSM2 does, sees no token that came later, and
    /// passes one over whose objects another process is writing just then.
    pub(super) fn load(uri: &Pkcs11Uri) -> Result<Arc<Self>, KmsError> {
        static MODULES: Mutex<Option<HashMap<PathBuf, Arc<Module>>>> = Mutex::new(None);
        // One file under two names is one library, which must be initialised once.
        let path = std::fs::canonicalize(&uri.module_path).map_err(|cause| no_module(uri, &cause))?;
        let known = lock(&MODULES).get_or_insert_default().get(&path).cloned();
        if let Some(known) = known
            && known.sees(uri)
        {
            return Ok(known);
        }
        // Held while the library is initialised: some crash when two threads do that.
        let mut modules = lock(&MODULES);
        let modules = modules.get_or_insert_default();
        let mut looks = LOOKS;
        if let Some(known) = modules.get(&path) {
            // Whoever else has it got it from here, and has closed its sessions when it lets go of it.
            if Arc::strong_count(known) > 1 || !known.finalised() {
                return Ok(Arc::clone(known));
            }
            tracing::info!("{}: loading the module anew, which does not see the token", uri.name());
            modules.remove(&path);
            looks = 1;
        }
        let mut module = initialised(&path, uri)?;
        for _ in 1..looks {
            if module.sees(uri) {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
            if !module.finalised() {
                break;
            }
            module = initialised(&path, uri)?;
        }
        let module = Arc::new(module);
        modules.insert(path, Arc::clone(&module));
        Ok(module)
    }

    /// Whether a token is there that may be the one which `uri` names.
    fn sees(&self, uri: &Pkcs11Uri) -> bool {
        !matches!(self.slot(uri), Err(Failure::Token(_)))
    }

    /// Ends what was begun by initialising it, if that can be done. Nobody may have a session by it.
    fn finalised(&self) -> bool {
        if !self.ours {
            return false;
        }
        lock(&self.logins).clear();
        self.library.clone().finalize().is_ok()
    }

    /// The slot of the one token that `uri` names.
    pub(super) fn slot(&self, uri: &Pkcs11Uri) -> Result<Slot, Failure> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for slot in self.library.get_slots_with_token()? {
            // Another one was taken out since the list was made.
            let Ok(info) = self.library.get_token_info(slot) else { continue };
            if is_meant(&uri.token, slot, &info) {
                found.push((slot, info));
            } else if info.token_initialized() {
                others.push(info.label().to_owned());
            }
        }
        match found.as_slice() {
            [(slot, _)] => Ok(*slot),
            [] => Err(Failure::Token(format!(
                "no token of that name is there, only {others:?}: insert or start it, or correct keys.backend; it is looked \
                 for again, and where another token of this module is in use the module may have to be loaded anew for that, \
                 by a restart of this node"
            ))),
            several => {
                let serials: Vec<&str> = several.iter().map(|(_, info)| info.serial_number()).collect();
                let problem = format!("{} tokens are meant: add serial=, which is one of {serials:?}", several.len());
                Err(configuration(uri, problem).into())
            }
        }
    }

    /// Sees to it that this process is logged in to the token.
    pub(super) fn log_in(&self, slot: Slot, uri: &Pkcs11Uri) -> Result<(), Failure> {
        // Held while logging in, so that a wrong PIN is tried once, not by every thread.
        let mut logins = lock(&self.logins);
        let login = logins.entry(slot.id()).or_default();
        if login.session.as_ref().is_some_and(is_logged_in) {
            return Ok(());
        }
        login.session = None;
        let pin = pin::read(&uri.pin).map_err(|problem| configuration(uri, problem))?;
        if login.refused.as_ref().is_some_and(|refused| verify_slices_are_equal(refused, &pin).is_ok()) {
            return Err(wrong_pin(
                uri,
                "it was refused before, and is not tried again, so that it does not lock the token",
            )
            .into());
        }
        self.may_be_tried(slot, uri)?;
        let session = self.library.open_ro_session(slot)?;
        let refused = session.login(UserType::User, Some(&auth_pin(&pin, uri)?)).err();
        let Some(error) = refused.filter(|error| code(error) != Some(RvError::UserAlreadyLoggedIn)) else {
            *login = Login { session: Some(session), refused: None };
            return Ok(());
        };
        if matches!(code(&error), Some(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange)) {
            login.refused = Some(pin);
            return Err(wrong_pin(uri, &describe(&error)).into());
        }
        if matches!(code(&error), Some(RvError::PinLocked | RvError::PinExpired | RvError::UserPinNotInitialized)) {
            let problem = format!(
                "nobody can log in to the token: {}; its security officer sets a new user PIN, to be written into {}",
                describe(&error),
                pin::place(&uri.pin)
            );
            return Err(configuration(uri, problem).into());
        }
        Err(error.into())
    }

    /// Refuses to try a PIN when one more wrong one would lock the token for everybody.
    fn may_be_tried(&self, slot: Slot, uri: &Pkcs11Uri) -> Result<(), Failure> {
        let info = self.library.get_token_info(slot)?;
        let problem = if info.user_pin_locked() {
            "its user PIN is locked after too many wrong ones: the security officer sets a new one"
        } else if info.user_pin_final_try() {
            "one more wrong PIN would lock it, so none is tried: log in once by another program, such as pkcs11-tool --login, \
             with the right PIN, which resets the count, and correct the file of the PIN"
        } else if !info.user_pin_initialized() {
            "it has no user PIN yet: the security officer sets one"
        } else {
            return Ok(());
        };
        Err(configuration(uri, format!("the token takes no PIN: {problem}")).into())
    }
}

/// The count of threads that hang in calls of the module which `uri` names.
pub(super) fn adrift(uri: &Pkcs11Uri) -> Arc<AtomicUsize> {
    static ADRIFT: Mutex<Option<HashMap<PathBuf, Arc<AtomicUsize>>>> = Mutex::new(None);
    let mut modules = lock(&ADRIFT);
    Arc::clone(modules.get_or_insert_default().entry(uri.module_path.clone()).or_default())
}

/// How often a module is loaded at first until it sees the token.
const LOOKS: usize = 4;
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(200);

fn initialised(path: &Path, uri: &Pkcs11Uri) -> Result<Module, KmsError> {
    let library = Pkcs11::new(path).map_err(|error| {
        configuration(
            uri,
            format!("{} is not a PKCS#11 module: {}; correct module-path", path.display(), describe(&error)),
        )
    })?;
    let module = |ours| Module { library: library.clone(), ours, logins: Mutex::default() };
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(module(true)),
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module(false)),
        // A module may look for its device or its own configuration here, which may come back.
        Err(error) => Err(KmsError::Unavailable {
            backend: uri.name(),
            problem: format!("the module {} cannot be initialised: {}", path.display(), describe(&error)),
        }),
    }
}

fn is_meant(wanted: &TokenMatch, slot: Slot, info: &TokenInfo) -> bool {
    let TokenMatch { label, serial, manufacturer, model, slot_id } = wanted;
    let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    fits(label, info.label())
        && fits(serial, info.serial_number())
        && fits(manufacturer, info.manufacturer_id())
        && fits(model, info.model())
        && slot_id.is_none_or(|id| id == slot.id())
}

/// Whether the login that this session keeps still holds.
pub(super) fn is_logged_in(session: &Session) -> bool {
    session
        .get_session_info()
        .is_ok_and(|info| matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser))
}

/// The PIN as the library takes it, which wipes its copy.
fn auth_pin(pin: &[u8], uri: &Pkcs11Uri) -> Result<AuthPin, KmsError> {
    let text = std::str::from_utf8(pin).map_err(|_| {
        configuration(uri, format!("the PIN in {} is not UTF-8 text: write it again", pin::place(&uri.pin)))
    })?;
    Ok(AuthPin::from(text))
}

fn no_module(uri: &Pkcs11Uri, cause: &std::io::Error) -> KmsError {
    let problem = format!(
        "the PKCS#11 module {} cannot be read: {cause}; install the token's library, or correct module-path",
        uri.module_path.display()
    );
    configuration(uri, problem)
}

fn wrong_pin(uri: &Pkcs11Uri, cause: &str) -> KmsError {
    let problem = format!("the token does not take the PIN in {}: {cause}; correct that file", pin::place(&uri.pin));
    configuration(uri, problem)
}

pub(super) fn configuration(uri: &Pkcs11Uri, problem: impl Into<String>) -> KmsError {
    KmsError::Configuration { uri: uri.name(), problem: problem.into() }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Module")
    }
}
