//! Signatures of each backend, through the trait by which everybody signs. Each answer is verified by the backend before
//! it is given out, as in a server, and that is part of the figure.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use signet_kms::{Algorithm, Backend, Digest, KeyReference, software, uri};
use tokio::task::JoinSet;

use super::bare::BareKey;
use super::localstack::{ACCOUNT, localstack};
use super::meter::{Cost, Meter, Plan, cpu_micros, median};
use super::softhsm;

pub(crate) async fn print(plan: Plan) {
    let folder = tempfile::tempdir().unwrap();
    let backends = backends(folder.path()).await;
    println!("\nSignatures by backend, each verified before it is given out; medians of {}\n", plan.repeats);
    println!("| algorithm | backend | one caller, /s | {CALLERS} callers, /s | CPU µs each | /s and core | × bare |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for algorithm in Algorithm::ALL {
        let message = [0x5a; 300];
        let digest = algorithm.digest(&message);
        let bare_key = BareKey::generate(algorithm);
        let mut keys = Vec::new();
        for (_, backend) in &backends {
            keys.push(backend.create("bench", algorithm).await.unwrap());
        }
        // In turns, so that whatever else the machine does falls on all of them alike.
        let mut bare = Vec::new();
        let mut costs = vec![(Vec::new(), Vec::new()); backends.len()];
        for _ in 0..plan.repeats {
            bare.push(cpu_micros(plan, || bare_key.sign(&message)));
            for (at, (_, backend)) in backends.iter().enumerate() {
                costs[at].0.extend(sign(plan, backend, &keys[at], digest, 1).await);
                costs[at].1.extend(sign(plan, backend, &keys[at], digest, CALLERS).await);
            }
        }
        let bare = median(bare);
        println!("| `{algorithm}` | bare, not verified | | | {bare:.1} | {:.0} | 1 |", 1e6 / bare);
        for ((name, _), (one, many)) in backends.iter().zip(costs) {
            row(name, &one, &many, bare);
        }
    }
}

fn row(name: &str, one: &[Cost], many: &[Cost], bare: f64) {
    if one.is_empty() || many.is_empty() {
        println!("| | {name} | did not answer in time | | | | |");
        return;
    }
    let rate = |costs: &[Cost]| 1e6 / median(costs.iter().map(|cost| cost.wall).collect());
    let cpu = median(many.iter().map(|cost| cost.cpu).collect());
    let (one, many, each, times) = (rate(one), rate(many), 1e6 / cpu, cpu / bare);
    println!("| | {name} | {one:.0} | {many:.0} | {cpu:.1} | {each:.0} | {times:.1} |");
}

/// Those that this machine has.
async fn backends(folder: &Path) -> Vec<(&'static str, Arc<dyn Backend>)> {
    let file = folder.join("kek");
    software::generate_key_file(&file).unwrap();
    let mut uris = vec![("memory", "memory:".to_owned()), ("file", format!("file:{}", file.display()))];
    match softhsm::uri() {
        Some(uri) => uris.push(("PKCS#11 (SoftHSM2)", uri)),
        None => println!("PKCS#11 is left out: softhsm2 is not installed; ./test installs it"),
    }
    if let Some(server) = tokio::task::spawn_blocking(localstack).await.unwrap() {
        let made = server.post("CreateKey", "{}").unwrap();
        let (_, id) = made.split_once(r#""KeyId": ""#).unwrap();
        let id = id.split('"').next().unwrap();
        let credentials = folder.join("credentials");
        let text = format!("[default]\naws_access_key_id={ACCOUNT}\naws_secret_access_key=of-no-use-anywhere\n");
        std::fs::write(&credentials, text).unwrap();
        std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (url, credentials) = (server.url(), credentials.display());
        let uri = format!("awskms:{id}?region=us-east-1&endpoint={url}&credentials_file={credentials}");
        uris.push(("AWS KMS (LocalStack)", uri));
    }
    uris.into_iter().map(|(name, uri)| (name, uri::open(&uri).unwrap())).collect()
}

/// One window of `callers` who ask again as soon as they are answered. Nothing, if one of them was not: an emulator on a
/// busy machine may take longer for a large key than anybody waits.
async fn sign(
    plan: Plan,
    backend: &Arc<dyn Backend>,
    key: &KeyReference,
    digest: Digest,
    callers: usize,
) -> Option<Cost> {
    // Connections and sessions are there, and the key has been looked up.
    backend.sign_digest(key, &digest).await.ok()?;
    let meter = Arc::new(Meter::of_process());
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (meter, backend, key) = (Arc::clone(&meter), Arc::clone(backend), key.clone());
        running.spawn(async move {
            let mut times = 0;
            while times == 0 || meter.goes_on(plan) {
                backend.sign_digest(&key, &digest).await.map_err(|cause| eprintln!("{cause}")).ok()?;
                times += 1;
            }
            Some(times)
        });
    }
    let times: Option<Vec<u32>> = running.join_all().await.into_iter().collect();
    Some(meter.per(times?.into_iter().sum()))
}

const CALLERS: usize = 4;
