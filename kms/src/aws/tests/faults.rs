//! What comes of faults: which error, after how many attempts, and that the next good answer is taken again.

use aws_lc_rs::digest::{Digest as Imported, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::proxy::{Fault, Proxy};
use super::*;
use crate::aws::regions::{ATTEMPTS, Budget};

/// A backend behind the proxy, with a key of each kind.
struct Bench {
    proxy: Proxy,
    backend: AwsKms,
    key: KeyReference,
    blob: Vec<u8>,
}

impl Bench {
    async fn new() -> Option<Self> {
        Self::with(Account::backend_at).await
    }

    async fn with(open: fn(&Account, &str, &str) -> AwsKms) -> Option<Self> {
        let account = Account::open()?;
        let proxy = Proxy::start(account.server.address()).await;
        let kek = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
        let backend = open(&account, &kek, &format!("region={HERE}&endpoint={}", proxy.url()));
        let key = backend.create("faults", Algorithm::EcdsaP256).await.unwrap();
        let blob = backend.wrap(b"secret", b"context").await.unwrap();
        proxy.calls();
        Some(Self { proxy, backend, key, blob })
    }

    async fn sign(&self) -> Result<(), KmsError> {
        self.backend.sign_digest(&self.key, &Digest::sha256(b"message")).await.map(drop)
    }

    async fn unwrap(&self) -> Result<(), KmsError> {
        let opened = self.backend.unwrap(&self.blob, b"context").await;
        opened.map(|opened| assert_eq!(**opened, b"secret"[..]))
    }

    async fn act(&self, operation: &str) -> Result<(), KmsError> {
        match operation {
            "Sign" => self.sign().await,
            "Decrypt" => self.unwrap().await,
            "Encrypt" => self.backend.wrap(b"secret", b"context").await.map(drop),
            other => panic!("no such case: {other}"),
        }
    }

    /// Holds that `operation`, with every attempt meeting `fault`, ends in the expected error after so many attempts, and
    /// that it works again when the fault is gone.
    async fn meets(
        &self,
        operation: &'static str,
        fault: &Fault,
        attempts: usize,
        like: fn(&KmsError) -> bool,
        says: &str,
    ) {
        self.proxy.plan(10, operation, fault);
        let error = self.act(operation).await.unwrap_err();
        assert!(like(&error), "{operation}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&self.backend.name()), "{operation}: {text:?} without {says:?}");
        self.proxy.heal();
        assert_eq!(self.proxy.calls(), vec![operation; attempts], "{operation}: {text}");
        self.act(operation).await.unwrap();
        assert_eq!(self.proxy.calls(), [operation]);
    }
}

fn away(error: &KmsError) -> bool {
    matches!(error, KmsError::Unavailable { .. })
}

fn wrong(error: &KmsError) -> bool {
    matches!(error, KmsError::Wrong { .. })
}

fn unusable(error: &KmsError) -> bool {
    matches!(error, KmsError::Key { .. })
}

fn configuration(error: &KmsError) -> bool {
    matches!(error, KmsError::Configuration { .. })
}

fn does_not_open(error: &KmsError) -> bool {
    matches!(error, KmsError::Open { .. })
}

const ALL: usize = ATTEMPTS as usize;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again_within_the_budget() {
    // Beside each other, because most of the time they wait.
    let mut running = tokio::task::JoinSet::new();
    for operation in ["Sign", "Decrypt", "Encrypt"] {
        let Some(bench) = Bench::new().await else { return };
        running.spawn(async move {
            let faults = [
                (Fault::error(400, "ThrottlingException", "Rate exceeded"), "throttles"),
                (Fault::error(429, "TooManyRequestsException", "slow down"), "throttles"),
                (Fault::html(429), "throttles"),
                (Fault::html(500), "status 500"),
                (Fault::html(503), "status 503"),
                (Fault::error(500, "KMSInternalException", "x"), "an error of its own"),
                (Fault::error(500, "com.amazonaws.kms#DependencyTimeoutException", "x"), "an error of its own"),
                (Fault::error(500, "KeyUnavailableException", "x"), "an error of its own"),
                (Fault::Reset, "no connection"),
                (Fault::LoseAnswer, "no connection"),
                (Fault::BreakOff, "broke"),
            ];
            for (fault, says) in &faults {
                bench.meets(operation, fault, ALL, away, says).await;
            }
            faults.len()
        });
    }
    let mut cases = 0;
    while let Some(held) = running.join_next().await {
        cases += held.unwrap();
    }
    writeln!(std::io::stdout().lock(), "kms faults of AWS KMS that pass: {cases} cases").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kms_that_never_answers_is_given_up_in_time() {
    let Some(bench) = Bench::with(Account::hasty_backend_at).await else { return };
    bench.proxy.plan(10, "Sign", &Fault::Silence);
    let start = Instant::now();
    let error = bench.sign().await.unwrap_err();
    let took = start.elapsed();
    assert!(away(&error) && error.to_string().contains("no answer within"), "{error}");
    assert!(took >= Budget::NORMAL.attempt && took < Budget::NORMAL.total + Duration::from_secs(10), "{took:?}");
    // The last has what the others have left of the time.
    let calls = bench.proxy.calls();
    assert!((2..=ALL).contains(&calls.len()), "{calls:?}");
    bench.proxy.heal();
    bench.sign().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_and_the_caller_notices_nothing() {
    let Some(bench) = Bench::new().await else { return };
    for fault in [Fault::error(400, "ThrottlingException", "x"), Fault::html(502), Fault::Reset, Fault::LoseAnswer] {
        for times in 1..ALL {
            bench.proxy.plan(times, "Decrypt", &fault);
            bench.unwrap().await.unwrap();
            assert_eq!(bench.proxy.calls().len(), times + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_are_not_taken_and_not_asked_for_again() {
    let Some(bench) = Bench::new().await else { return };
    let mut cases = 0;
    for (operation, fault, says) in [
        ("Sign", Fault::change(signed_by_another), "a signature that is not one of key"),
        ("Sign", signature(b"\x30\x06\x02\x01\x01\x02\x01\x01"), "a signature that is not one of key"),
        ("Sign", signature(&thirty_three_bytes()), "not one in DER"),
        ("Sign", signature(b"\x30\x80\x02\x01\x01\x02\x01\x01\0\0"), "not one in DER"),
        ("Sign", signature(&[7; 64]), "not one in DER"),
        ("Sign", signature(b""), "not one in DER"),
        ("Sign", without("Signature"), "not one in DER"),
        ("Sign", of_another_key(), "an answer of another key"),
        ("Sign", without("KeyId"), "an answer of another key"),
        ("Sign", Fault::change(|_, answer| answer["Signature"] = json!("***")), "not one of AWS KMS"),
        ("Decrypt", of_another_key(), "an answer of another key"),
        ("Decrypt", without("KeyId"), "an answer of another key"),
        ("Decrypt", without("Plaintext"), "no plaintext"),
        ("Encrypt", of_another_key(), "an answer of another key"),
        ("Encrypt", without("CiphertextBlob"), "no ciphertext"),
        ("Encrypt", Fault::change(|_, answer| answer["CiphertextBlob"] = json!("")), "no ciphertext"),
    ] {
        bench.meets(operation, &fault, 1, wrong, says).await;
        cases += 1;
    }
    for operation in ["Sign", "Decrypt", "Encrypt"] {
        for fault in [
            Fault::Truncate,
            Fault::html(200),
            Fault::html(403),
            Fault::html(302),
            Fault::change(|_, answer| *answer = json!([1])),
        ] {
            bench.meets(operation, &fault, 1, wrong, "proxy or another server").await;
            cases += 1;
        }
    }
    writeln!(std::io::stdout().lock(), "kms faults of AWS KMS with wrong answers: {cases} cases").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_to_do() {
    let Some(bench) = Bench::new().await else { return };
    let denied = "User: arn:aws:sts::111122223333:assumed-role/signet/i-1 is not authorized to perform: kms:Sign";
    let mut cases = 0;
    for (operation, code, message, like, says) in [
        ("Sign", "AccessDeniedException", denied, unusable as fn(&KmsError) -> bool, "allow kms:Sign"),
        ("Decrypt", "AccessDeniedException", denied, unusable, "allow kms:Decrypt"),
        ("Encrypt", "AccessDeniedException", denied, unusable, "allow kms:Encrypt"),
        ("Sign", "NotFoundException", "", unusable, "right account, region and name"),
        ("Sign", "DisabledException", "", unusable, "aws kms enable-key"),
        ("Sign", "KMSInvalidStateException", "arn is pending deletion.", unusable, "aws kms cancel-key-deletion"),
        ("Sign", "KMSInvalidStateException", "arn is creating.", unusable, "its state does not allow Sign now"),
        ("Sign", "InvalidKeyUsageException", "", unusable, "not of a kind or usage"),
        ("Sign", "ValidationException", "", unusable, "refused Sign: ValidationException"),
        ("Decrypt", "InvalidCiphertextException", "", does_not_open, "for another place"),
        ("Decrypt", "IncorrectKeyException", "", does_not_open, "for another place"),
        ("Decrypt", "ExpiredTokenException", "", away, "have expired"),
        ("Decrypt", "UnrecognizedClientException", "", configuration, "does not know these credentials"),
        ("Decrypt", "InvalidSignatureException", "x-amz-security-token:hunter2", configuration, "clock is off"),
    ] {
        bench.meets(operation, &Fault::error(400, code, message), 1, like, says).await;
        cases += 1;
    }
    bench.proxy.plan(1, "Decrypt", &Fault::error(400, "InvalidSignatureException", "x-amz-security-token:hunter2"));
    assert!(!format!("{:?}", bench.unwrap().await).contains("hunter2"));
    writeln!(std::io::stdout().lock(), "kms refusals of AWS KMS: {cases} cases").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kms_that_keeps_failing_is_left_alone_and_tried_again() {
    let Some(bench) = Bench::new().await else { return };
    bench.proxy.plan(100, "Decrypt", &Fault::html(503));
    let mut failures = 0;
    loop {
        bench.unwrap().await.unwrap_err();
        match bench.proxy.calls().len() {
            0 => break,
            calls => failures += calls,
        }
    }
    assert_eq!(failures, 2 * ALL, "two calls that used up their attempts are enough");
    // From here on nobody waits, and nobody calls, but for one now and then who tries.
    let start = Instant::now();
    let mut left_alone = 0;
    for _ in 0..100 {
        let error = bench.unwrap().await.unwrap_err();
        assert!(away(&error), "{error}");
        left_alone += usize::from(error.to_string().contains("the next attempt is in"));
    }
    let tried = bench.proxy.calls().len();
    let took = start.elapsed();
    assert!(tried <= 1 + usize::try_from(took.as_secs() / 2).unwrap(), "{tried} calls in {took:?}");
    assert_eq!(tried + left_alone, 100);
    bench.proxy.heal();
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = bench.unwrap().await {
        assert!(Instant::now() < until, "not tried again: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The signature of a key that is not the one that was asked, over the right digest.
fn signed_by_another(asked: &Value, answer: &mut Value) {
    let digest = STANDARD.decode(asked["Message"].as_str().unwrap()).unwrap();
    let digest = Imported::import_less_safe(&digest, &SHA256).unwrap();
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    answer["Signature"] = json!(STANDARD.encode(other.sign_digest(&digest).unwrap()));
}

fn signature(der: &[u8]) -> Fault {
    let text = STANDARD.encode(der);
    Fault::change(move |_, answer| answer["Signature"] = json!(text))
}

/// Two numbers of 33 bytes, neither of which begins with a zero.
fn thirty_three_bytes() -> Vec<u8> {
    let number = [&[0x02, 33][..], &[0x41; 33]].concat();
    [&[0x30, 70][..], &number, &number].concat()
}

fn without(field: &'static str) -> Fault {
    Fault::change(move |_, answer| drop(answer.as_object_mut().unwrap().remove(field)))
}

fn of_another_key() -> Fault {
    Fault::change(|_, answer| {
        answer["KeyId"] = json!("arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-000000000000");
    })
}
