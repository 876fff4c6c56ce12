//! What must never be found where it does not belong: keys and tokens in every form in which they could be written down.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use signet_kms::Wrapper as _;
use signet_kms::software::Software;
use signet_model::authority::{AuthorityKind, wrapping_context};
use signet_model::command::Proposal;
use signet_model::recipient::wrappings;
use signet_model::rows::{Rows, RowsMut, Space};
use signet_model::state::{self, Position};
use signet_model::stored::{from_bytes, to_bytes};
use signet_raft::{ApplyContext, StateMachine, Survivor, UnknownCommand};

use super::agent::{Agent, exchange_form, txn_token};
use super::cluster::{Cluster, KEY_FILE};
use super::users::{AUDIENCE, Users, policy};

/// Secrets, in every form.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// By their first four bytes.
    forms: HashMap<[u8; 4], Vec<(String, Vec<u8>)>>,
    keys: usize,
    /// Whether any form begins with these two bytes: most places are passed over by this alone.
    begins: Vec<bool>,
}

impl Secrets {
    /// Has the cluster issue and exchange, and takes note of everything secret that comes of it, and of what it rests on.
    pub(crate) async fn of_busy(cluster: &Cluster) -> Self {
        let users = Users::start().await;
        let node = &cluster.nodes[1];
        let admin = node.admin().await;
        admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), CALLER), None).await.unwrap();
        let gateway = Agent::minted(node, CALLER).await;
        let access_token = users.token("alice", AUDIENCE, "orders.read");
        let form = exchange_form(&access_token, "example.org", "orders.read");
        let transaction_token = txn_token(&gateway.https(node).exchange(&form).await.unwrap()).unwrap();
        let jwt_svid = admin.mint_jwt_svid(&CALLER.parse().unwrap(), &["someone".to_owned()], 0).await.unwrap().token;
        let join_token = std::fs::read_to_string(cluster.join_token("1h")).unwrap();

        let mut secrets = Self::default();
        let signature = |token: &str| token.rsplit('.').next().unwrap().as_bytes().to_vec();
        secrets.add("the user's access token", &signature(&access_token));
        secrets.add("a transaction token", &signature(&transaction_token));
        secrets.add("a JWT-SVID", &signature(&jwt_svid));
        secrets.add("a join token", &join_token.trim().as_bytes()[join_token.trim().len() - 24..]);
        secrets.add("a private key in the clear", P256_PKCS8);
        secrets.add("a private key as PEM", b"PRIVATE KEY");
        secrets.add_key("the key-encryption key", &key_file(&cluster.folder().join(KEY_FILE)));
        for node in &cluster.nodes {
            let key = std::fs::read(node.data().join(PEER_KEY)).unwrap();
            secrets.add_key(&format!("the peer key of node {}", node.id), scalar(&key));
        }
        secrets
    }

    /// Takes note of every issuing key that the data of a node which does not run holds wrapped, as the holder of the
    /// key-encryption key can open it. Answers how many there are.
    pub(crate) async fn add_issuing_keys(&mut self, data_dir: &Path, key_file: &Path) -> usize {
        let survivor = Survivor::open(data_dir, Arc::new(Machine)).await.unwrap();
        let view = survivor.view();
        let settings = state::settings(&view).unwrap().unwrap();
        let kek = Software::from_file(key_file).unwrap();
        let recipient = kek.recipient().await.unwrap();
        let before = self.keys;
        for kind in AuthorityKind::IN_MEMORY {
            for authority in state::authorities(&view, *kind).unwrap() {
                let wrapped = wrappings(&authority).iter().find(|wrapped| wrapped.recipient == recipient).unwrap();
                let (domain, id) = (settings.trust_domain.as_str(), &authority.id);
                let context = wrapping_context(domain, &settings.cluster_id, *kind, id, &authority.public_key);
                let pkcs8 = kek.unwrap(&wrapped.blob, &context).await.unwrap();
                self.add_key(&format!("the key of {kind} {id}"), scalar(&pkcs8));
            }
        }
        self.keys - before
    }

    /// Something as it is.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.begins.resize(1 << 16, false);
        self.begins[usize::from(bytes[0]) << 8 | usize::from(bytes[1])] = true;
        let first = bytes[..4].try_into().unwrap();
        self.forms.entry(first).or_default().push((name.to_owned(), bytes.to_vec()));
    }

    /// A key as it is (and so within any DER), as hexadecimal, as a list of numbers, and as base64 of whatever it stands
    /// in, at each of the three places where it can begin there (and so within any PEM or token).
    pub(crate) fn add_key(&mut self, name: &str, key: &[u8]) {
        self.keys += 1;
        self.add(name, key);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(&format!("{name}, as hexadecimal"), hex.as_bytes());
        self.add(&format!("{name}, as hexadecimal"), hex.to_uppercase().as_bytes());
        let list: Vec<String> = key[..12].iter().map(ToString::to_string).collect();
        self.add(&format!("{name}, as a list"), list.join(", ").as_bytes());
        for before in 0..3 {
            let bytes = [&[0; 2][..before], key].concat();
            // Without the characters that depend on what stands before and after it.
            let (from, until) = ((before * 4).div_ceil(3), bytes.len() / 3 * 4);
            for text in [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
                self.add(&format!("{name}, as base64 at {before}"), &text.as_bytes()[from..until]);
            }
        }
    }

    /// How many keys, in how many forms.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.keys, self.forms.values().map(Vec::len).sum())
    }

    /// What of it lies in `bytes`, also if lines are broken within it as in PEM.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        let mut found = self.search(bytes);
        found.extend(self.search(&joined));
        found
    }

    fn search(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for (at, window) in bytes.windows(4).enumerate() {
            if !self.begins[usize::from(window[0]) << 8 | usize::from(window[1])] {
                continue;
            }
            let first: [u8; 4] = window.try_into().unwrap();
            let forms = self.forms.get(&first).into_iter().flatten();
            found.extend(forms.filter(|(_, form)| bytes[at..].starts_with(form)).map(|(name, _)| name.as_str()));
        }
        found
    }

    /// Nothing of it lies in any file below `folder`, but for the files that are there to hold it. Answers how many bytes
    /// were searched.
    #[track_caller]
    pub(crate) fn are_not_below(&self, folder: &Path) -> usize {
        let mut files = Vec::new();
        collect(folder, &mut files);
        let mut searched = 0;
        for file in files {
            let name = file.file_name().unwrap();
            if name == PEER_KEY || name == KEY_FILE || name == "token" {
                continue;
            }
            let bytes = std::fs::read(&file).unwrap();
            searched += bytes.len();
            let found = self.found_in(&bytes);
            assert!(found.is_empty(), "{found:?} in {}", file.display());
        }
        searched
    }
}

/// What a node does with commands, for looking at its data.
struct Machine;

impl StateMachine for Machine {
    fn apply(&self, rows: &mut dyn RowsMut, context: ApplyContext, command: &[u8]) -> Result<Vec<u8>, UnknownCommand> {
        let proposal: Proposal = from_bytes(command).unwrap();
        let position = Position { index: context.index, at: context.at };
        Ok(to_bytes(&state::apply(rows, position, &proposal).unwrap()))
    }

    fn applied(&self, _: &dyn Rows, _: u64, _: &BTreeSet<Space>) {}
}

/// Every file below `folder`.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// The key in a key file.
pub(crate) fn key_file(path: &Path) -> Vec<u8> {
    base64::prelude::BASE64_STANDARD.decode(std::fs::read_to_string(path).unwrap().trim()).unwrap()
}

/// The secret number of a P-256 key in PKCS#8.
pub(crate) fn scalar(pkcs8: &[u8]) -> &[u8] {
    let at = pkcs8.windows(P256_PKCS8.len()).position(|window| window == P256_PKCS8).unwrap() + P256_PKCS8.len();
    &pkcs8[at..at + 32]
}

const CALLER: &str = "spiffe://example.org/gateway";
/// The file that is there to hold a node's own peer key.
pub(crate) const PEER_KEY: &str = "peer.key";
/// How the private key of P-256 begins in PKCS#8: the algorithm, and `ECPrivateKey` version 1 with 32 bytes to follow.
const P256_PKCS8: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
];
