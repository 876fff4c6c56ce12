//! Against SoftHSM2, a token in software that is not ours.
//!
//! A token's library is initialised once in a process, and reads its folder from the environment then. So each test runs
//! in a process of its own: [`softhsm`] starts this test program again for that one test.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::*;
use crate::conformance::{self, Stand};
use crate::uri::KeyUri;

/// A folder of tokens, within the process that has it.
struct SoftHsm {
    folder: PathBuf,
    module: PathBuf,
    library: Library,
}

/// Runs `test` with tokens of its own, in a process of its own. Skips it, with a line that says so, where SoftHSM2 is not
/// installed; with `CI=true` that is a failure.
fn softhsm<F: Future<Output = ()>>(test: impl FnOnce(SoftHsm) -> F) {
    let Some(module) = MODULES.iter().map(Path::new).find(|path| path.exists()) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "softhsm2 is not installed; ./test installs it");
        writeln!(std::io::stderr().lock(), "skipped: a test of PKCS#11: softhsm2 is not installed; ./test installs it")
            .unwrap();
        return;
    };
    if let Some(folder) = std::env::var_os(FOLDER) {
        let library = Library::new(module).unwrap();
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let hsm = SoftHsm { folder: folder.into(), module: module.to_owned(), library };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(test(hsm));
    }
    let folder = tempfile::tempdir().unwrap();
    let (tokens, config) = (folder.path().join("tokens"), folder.path().join("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(&config, text).unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .env(FOLDER, folder.path())
        .env("CREDENTIALS_DIRECTORY", folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name} in a process of its own:\n{said}");
    assert!(!said.contains(PIN) && !said.contains(WRONG_PIN), "a PIN was said:\n{said}");
    for line in said.lines().filter(|line| line.starts_with("kms conformance")) {
        writeln!(std::io::stdout().lock(), "{line}").unwrap();
    }
}

impl SoftHsm {
    /// A new token with a user PIN.
    fn token(&self, label: &str) -> Slot {
        let so_pin = AuthPin::from("security officer");
        let free = self.library.get_all_slots().unwrap().into_iter();
        let slot = free.rev().find(|slot| !self.library.get_token_info(*slot).unwrap().token_initialized()).unwrap();
        self.library.init_token(slot, &so_pin, label).unwrap();
        let session = self.library.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&so_pin)).unwrap();
        session.init_pin(&AuthPin::from(PIN)).unwrap();
        session.logout().unwrap();
        slot
    }

    fn pin_file(&self, pin: &str) -> PathBuf {
        let path = self.folder.join("pin");
        std::fs::write(&path, format!("{pin}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn uri(&self, token: &str, object: &str) -> String {
        let pin = self.folder.join("pin");
        if !pin.exists() {
            self.pin_file(PIN);
        }
        let module = self.module.display();
        format!("pkcs11:token={token};object={object}?module-path={module}&pin-source=file:{}", pin.display())
    }

    fn open(&self, token: &str, object: &str) -> Pkcs11 {
        let KeyUri::Pkcs11(uri) = self.uri(token, object).parse().unwrap() else { panic!("not pkcs11") };
        Pkcs11::new(uri)
    }

    /// A token with a key-encryption key, and a backend on it.
    async fn ready(&self, token: &str, object: &str) -> Pkcs11 {
        self.token(token);
        let backend = self.open(token, object);
        backend.create_wrapping_key().await.unwrap();
        backend
    }

    /// A session of ours, logged in like everybody in this process.
    fn session(&self, slot: Slot) -> Session {
        let session = self.library.open_rw_session(slot).unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::from(PIN)));
        session
    }

    fn slot(&self, label: &str) -> Slot {
        let mut slots = self.library.get_slots_with_token().unwrap().into_iter();
        slots.find(|slot| self.library.get_token_info(*slot).unwrap().label() == label).unwrap()
    }
}

#[test]
fn the_pkcs11_backend_conforms() {
    softhsm(|hsm| async move {
        let backend = Arc::new(hsm.ready("one", "kek").await);
        let again = hsm.open("one", "kek");
        let other = hsm.ready("two", "kek").await;
        conformance::check(Stand { name: "pkcs11", backend, again: &again, other: &other, elsewhere: &other }).await;
    });
}

#[test]
fn a_private_key_cannot_be_read_or_taken_out() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Rsa2048] {
            backend.create("root", algorithm).await.unwrap();
        }
        let session = hsm.session(hsm.slot("one"));
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::SECRET_KEY] {
            let keys = session.find_objects(&[Attribute::Class(class)]).unwrap();
            assert!(!keys.is_empty());
            for key in keys {
                let kinds = [
                    AttributeType::Sensitive,
                    AttributeType::AlwaysSensitive,
                    AttributeType::Extractable,
                    AttributeType::NeverExtractable,
                    AttributeType::Value,
                    AttributeType::PrivateExponent,
                ];
                let is = session.get_attributes(key, &kinds).unwrap();
                for must in [
                    Attribute::Sensitive(true),
                    Attribute::AlwaysSensitive(true),
                    Attribute::Extractable(false),
                    Attribute::NeverExtractable(true),
                ] {
                    assert!(is.contains(&must), "{is:?}");
                }
                let seen = is.iter().any(|attribute| {
                    matches!(attribute, Attribute::Value(bytes) | Attribute::PrivateExponent(bytes) if !bytes.is_empty())
                });
                assert!(!seen, "a secret was read");
            }
        }
    });
}

#[test]
fn however_many_make_the_key_encryption_key_at_the_same_moment_they_come_away_with_one() {
    softhsm(|hsm| async move {
        hsm.token("one");
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let backend = hsm.open("one", "kek");
            running.spawn(async move { backend.create_wrapping_key().await });
        }
        let (made, late): (Vec<_>, Vec<_>) = running.join_all().await.into_iter().partition(Result::is_ok);
        let made: Vec<(bool, String)> = made.into_iter().map(Result::unwrap).collect();
        assert!(made.iter().all(|(_, recipient)| *recipient == made[0].1), "{made:?}");
        let session = hsm.session(hsm.slot("one"));
        let keys = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap().len();
        // On a machine that stands still for seconds somebody may be too late, and is told.
        assert!(late.iter().all(|error| error.as_ref().unwrap_err().to_string().contains("add id=")), "{late:?}");
        if late.is_empty() {
            assert_eq!((made.iter().filter(|(created, _)| *created).count(), keys), (1, 1), "{made:?}");
        }
        let again = hsm.open("one", "kek").create_wrapping_key().await;
        assert!(again.map_or(keys > 1, |again| again == (false, made[0].1.clone())));
    });
}

#[test]
fn a_lost_session_a_logout_and_a_deleted_key_are_survived_or_named() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let slot = hsm.slot("one");
        let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
        let blob = backend.wrap(b"secret", b"c").await.unwrap();
        let digest = Digest::sha256(b"message");

        // Somebody else in this process logs out: every handle of a private object is invalid, for everybody.
        hsm.session(slot).logout().unwrap();
        backend.sign_digest(&key, &digest).await.unwrap();
        hsm.session(slot).logout().unwrap();
        assert_eq!(backend.unwrap(&blob, b"c").await.unwrap().as_slice(), b"secret");
        hsm.session(slot).logout().unwrap();
        backend.public_key(&key).await.unwrap();
        backend.probe().await.unwrap();

        let session = hsm.session(slot);
        for object in session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        let gone = backend.sign_digest(&key, &digest).await.unwrap_err();
        assert!(matches!(&gone, KmsError::Key { problem, .. } if problem.contains("no CKO_PRIVATE_KEY")), "{gone}");
        backend.probe().await.unwrap();
    });
}

#[test]
fn a_wrong_pin_is_tried_once_and_a_corrected_one_is_taken_up() {
    softhsm(|hsm| async move {
        hsm.token("two");
        let pin = hsm.pin_file(WRONG_PIN);
        let backend = Arc::new(hsm.open("two", "kek"));
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let backend = Arc::clone(&backend);
            running.spawn(async move { backend.recipient().await.unwrap_err() });
        }
        let errors = running.join_all().await;
        let tried = errors.iter().filter(|error| error.to_string().contains("CKR_PIN_INCORRECT")).count();
        assert_eq!(tried, 1, "the token was asked {tried} times: {errors:?}");
        for error in &errors {
            let text = error.to_string();
            assert!(matches!(error, KmsError::Configuration { .. }), "{text}");
            assert!(
                text.contains("token=two") && text.contains(pin.to_str().unwrap()) && text.contains("correct"),
                "{text}"
            );
            assert!(!text.contains(WRONG_PIN), "{text}");
        }
        hsm.pin_file(PIN);
        backend.create_wrapping_key().await.unwrap();
        backend.probe().await.unwrap();
    });
}

#[test]
fn what_is_wrong_with_token_module_pin_file_or_key_is_named_with_its_fix() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let of =
            |uri: String| async move { crate::uri::open(&uri).unwrap().recipient().await.unwrap_err().to_string() };

        let text = of(hsm.uri("three", "kek")).await;
        assert!(text.contains("pkcs11:token=three") && text.contains("only [\"one\"]"), "{text}");
        let text = of(hsm.uri("one", "absent")).await;
        assert!(text.contains("no usable key absent") && text.contains("signet key create"), "{text}");
        let elsewhere = hsm.uri("one", "kek").replace(hsm.module.to_str().unwrap(), "/nowhere/module.so");
        let text = of(elsewhere).await;
        assert!(text.contains("/nowhere/module.so") && text.contains("install the token's library"), "{text}");
        let text = of(hsm.uri("one", "kek").replace(hsm.module.to_str().unwrap(), "/etc/passwd")).await;
        assert!(text.contains("/etc/passwd is not a PKCS#11 module"), "{text}");

        // Under the configured name there is a key of another kind, of another length, or one that can be taken out.
        backend.create("root", Algorithm::EcdsaP256).await.unwrap();
        let text = of(hsm.uri("one", "root")).await;
        assert!(text.contains("not a secret key") && text.contains("root"), "{text}");
        let session = hsm.session(hsm.slot("one"));
        let aes = |label: &str, bytes: u64, more: &[Attribute]| {
            let mut template = vec![
                Attribute::Token(true),
                Attribute::Label(label.into()),
                Attribute::ValueLen(bytes.into()),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
            ];
            template.extend_from_slice(more);
            session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template).unwrap();
        };
        aes("short", 16, &[]);
        aes("loose", 32, &[Attribute::Sensitive(true), Attribute::Extractable(true)]);
        aes("open", 32, &[Attribute::Sensitive(false), Attribute::Extractable(false)]);
        for (label, fix) in [("short", "256 bits"), ("loose", "can be taken out"), ("open", "can be read")] {
            let text = of(hsm.uri("one", label)).await;
            assert!(text.contains(fix) && text.contains(label) && text.contains("token=one"), "{text}");
        }
        aes("twice", 32, &[Attribute::Id(vec![1]), Attribute::Sensitive(true), Attribute::Extractable(false)]);
        aes("twice", 32, &[Attribute::Id(vec![2]), Attribute::Sensitive(true), Attribute::Extractable(false)]);
        let text = of(hsm.uri("one", "twice")).await;
        assert!(text.contains("add id=") && text.contains("%01") && text.contains("%02"), "{text}");
        let one = crate::uri::open(&hsm.uri("one", "twice;id=%01")).unwrap();
        let two = crate::uri::open(&hsm.uri("one", "twice;id=%02")).unwrap();
        assert_ne!(one.recipient().await.unwrap(), two.recipient().await.unwrap());

        std::fs::set_permissions(hsm.folder.join("pin"), std::fs::Permissions::from_mode(0o644)).unwrap();
        hsm.token("two");
        let text = of(hsm.uri("two", "kek")).await;
        assert!(text.contains("chmod 600"), "{text}");
    });
}

#[test]
fn a_module_that_comes_later_and_a_pin_that_is_a_credential_are_taken_up() {
    softhsm(|hsm| async move {
        hsm.ready("one", "kek").await;
        let later = hsm.folder.join("module.so");
        let uri = hsm.uri("one", "kek").replace(hsm.module.to_str().unwrap(), later.to_str().unwrap());
        let uri = uri.split("&pin-source").next().unwrap().to_owned() + "&pin-source=credential:pin";
        let backend = crate::uri::open(&uri).unwrap();
        let text = backend.probe().await.unwrap_err().to_string();
        assert!(text.contains("module.so cannot be read"), "{text}");
        std::os::unix::fs::symlink(&hsm.module, &later).unwrap();
        backend.probe().await.unwrap();
        // The same library under another name is the same library, and the same key.
        assert_eq!(backend.recipient().await.unwrap(), hsm.open("one", "kek").recipient().await.unwrap());

        hsm.token("two");
        let missing = uri.replace("token=one", "token=two").replace("credential:pin", "credential:none");
        let text = crate::uri::open(&missing).unwrap().probe().await.unwrap_err().to_string();
        assert!(text.contains("the PIN file") && text.contains("/none cannot be opened"), "{text}");
    });
}

#[test]
fn a_signing_key_that_was_replaced_under_its_id_is_refused() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
        let session = hsm.session(hsm.slot("one"));
        let id = session.get_attributes(one(&session, ObjectClass::PUBLIC_KEY), &[AttributeType::Id]).unwrap();
        let digest = Digest::sha256(b"message");
        for (algorithm, fix) in [
            (Algorithm::EcdsaP256, "another key under this CKA_ID"),
            (Algorithm::EcdsaP384, "not a key of ecdsa-p256"),
            (Algorithm::Rsa2048, "not a key of ecdsa-p256"),
        ] {
            for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
                session.destroy_object(one(&session, class)).unwrap();
            }
            backend.create("another", algorithm).await.unwrap();
            for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
                session.update_attributes(one(&session, class), &id).unwrap();
            }
            let again = hsm.open("one", "kek");
            let refusals =
                [again.sign_digest(&key, &digest).await.unwrap_err(), again.public_key(&key).await.unwrap_err()];
            for text in refusals.map(|refused| refused.to_string()) {
                assert!(
                    text.contains(fix) && text.contains("token=one") && text.contains("configure the token"),
                    "{text}"
                );
            }
        }
    });
}

#[test]
fn a_private_key_that_is_not_the_public_ones_is_found_out_by_its_signature() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let session = hsm.session(hsm.slot("one"));
        let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
        let own = one(&session, ObjectClass::PRIVATE_KEY);
        let id = session.get_attributes(own, &[AttributeType::Id]).unwrap();
        session.destroy_object(own).unwrap();
        backend.create("another", Algorithm::EcdsaP256).await.unwrap();
        session.update_attributes(one(&session, ObjectClass::PRIVATE_KEY), &id).unwrap();
        let refused = hsm.open("one", "kek").sign_digest(&key, &Digest::sha256(b"message")).await.unwrap_err();
        assert!(
            matches!(&refused, KmsError::Wrong { problem, .. } if problem.contains("do not use this backend")),
            "{refused}"
        );
    });
}

/// The only object of a class.
fn one(session: &Session, class: ObjectClass) -> cryptoki::object::ObjectHandle {
    let found = session.find_objects(&[Attribute::Class(class)]).unwrap();
    assert_eq!(found.len(), 1, "{class}");
    found[0]
}

#[test]
fn a_token_that_went_away_is_not_available_and_everything_else_goes_on() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
        let blob = backend.wrap(b"secret", b"c").await.unwrap();
        let file = hsm.folder.join("kek");
        crate::software::generate_key_file(&file).unwrap();
        std::fs::rename(hsm.folder.join("tokens"), hsm.folder.join("away")).unwrap();
        let digest = Digest::sha256(b"message");
        for gone in [
            backend.probe().await.unwrap_err(),
            backend.sign_digest(&key, &digest).await.unwrap_err(),
            backend.unwrap(&blob, b"c").await.unwrap_err(),
        ] {
            assert!(matches!(gone, KmsError::Unavailable { .. }), "{gone}");
            assert!(gone.to_string().contains("token=one") && gone.to_string().contains("looked for again"), "{gone}");
        }
        crate::uri::open(&format!("file:{}", file.display())).unwrap().probe().await.unwrap();
    });
}

/// By another process, as SoftHSM2 looks for tokens only when it is initialised.
fn make_token(label: &str) {
    let pins = ["--pin", PIN, "--so-pin", "security officer"];
    let mut command = Command::new("softhsm2-util");
    let made = command.args(["--init-token", "--free", "--label", label]).args(pins).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_token_that_comes_after_the_module_was_loaded_is_seen_by_the_next_call() {
    softhsm(|hsm| async move {
        // Only who has initialised a module may finalise it.
        hsm.library.clone().finalize().unwrap();
        let backend = hsm.open("one", "kek");
        let absent = backend.probe().await.unwrap_err();
        assert!(matches!(&absent, KmsError::Unavailable { problem, .. } if problem.contains("no token")), "{absent}");
        make_token("one");
        backend.create_wrapping_key().await.unwrap();
        let blob = backend.wrap(b"secret", b"c").await.unwrap();

        // While the module is in use for one token it is not loaded anew for another, and nobody's session ends.
        make_token("two");
        let second = hsm.open("two", "kek");
        let absent = second.create_wrapping_key().await.unwrap_err();
        assert!(absent.to_string().contains("only [\"one\"]"), "{absent}");
        assert_eq!(backend.unwrap(&blob, b"c").await.unwrap().as_slice(), b"secret");
        drop(backend);
        second.create_wrapping_key().await.unwrap();
        assert_eq!(hsm.open("one", "kek").unwrap(&blob, b"c").await.unwrap().as_slice(), b"secret");
    });
}

#[test]
fn a_token_that_comes_back_is_taken_up_again() {
    softhsm(|hsm| async move {
        make_token("one");
        hsm.library.clone().finalize().unwrap();
        let backend = hsm.open("one", "kek");
        backend.create_wrapping_key().await.unwrap();
        let blob = backend.wrap(b"secret", b"c").await.unwrap();
        let (tokens, away) = (hsm.folder.join("tokens"), hsm.folder.join("away"));
        std::fs::rename(&tokens, &away).unwrap();
        for _ in 0..3 {
            let gone = backend.probe().await.unwrap_err();
            assert!(matches!(gone, KmsError::Unavailable { .. }), "{gone}");
        }
        std::fs::rename(&away, &tokens).unwrap();
        assert_eq!(backend.unwrap(&blob, b"c").await.unwrap().as_slice(), b"secret");
    });
}

#[test]
fn a_blob_that_was_moved_says_backend_key_and_fix_and_nothing_else() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        let blob = backend.wrap(b"48151623421", b"trust domain a").await.unwrap();
        let text = backend.unwrap(&blob, b"trust domain b").await.unwrap_err().to_string();
        assert!(text.contains("pkcs11:token=one;object=kek"), "{text}");
        assert!(text.contains(&backend.recipient().await.unwrap()) && text.contains("give this node"), "{text}");
        assert!(!text.contains("48151623421"), "{text}");
    });
}

const MODULES: [&str; 3] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"];
const FOLDER: &str = "SIGNET_TEST_SOFTHSM_FOLDER";
const PIN: &str = "right-48151623";
const WRONG_PIN: &str = "wrong-48151623";

#[test]
fn a_key_that_somebody_else_made_is_taken_up_by_its_label() {
    softhsm(|hsm| async move {
        let backend = hsm.ready("one", "kek").await;
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Rsa2048] {
            let label = format!("corporate {algorithm}");
            let made = backend.create(&label, algorithm).await.unwrap();
            let other = hsm.open("one", "kek");
            let adopted = other.adopt(ForeignKey::Named(&label)).await.unwrap();
            assert_eq!(other.public_key(&adopted).await.unwrap(), backend.public_key(&made).await.unwrap());
            other.sign_digest(&adopted, &algorithm.digest(b"message")).await.unwrap();
        }
        backend.create("twice", Algorithm::EcdsaP256).await.unwrap();
        backend.create("twice", Algorithm::EcdsaP384).await.unwrap();
        for (key, words) in [
            (ForeignKey::Named("nobody's"), "no private key with this CKA_LABEL"),
            (ForeignKey::Named("twice"), "several private keys with this CKA_LABEL"),
            (ForeignKey::Pkcs8(b"0"), "--key-label"),
        ] {
            let error = backend.adopt(key).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    });
}
