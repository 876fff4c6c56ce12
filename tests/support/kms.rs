//! A KMS that a test can take away and give back.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::cli::{arg, run};
use super::localstack::{ACCOUNT, LocalStack, localstack};

/// A KMS with a key-encryption key of its own.
pub(crate) trait Kms {
    /// How a configuration names it.
    fn uri(&self) -> String;
    /// What a program needs in its environment to reach it.
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// Nobody reaches it from now on.
    fn stop(&mut self);
    /// It is there again, with the keys that it had.
    fn start(&mut self);
}

/// A key file that is moved out of the way.
pub(crate) struct KeyFiles {
    folder: TempDir,
    name: String,
}

impl KeyFiles {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("signet-kms-").tempdir().unwrap();
        let files = Self { folder, name: name.to_owned() };
        run(None, &["key", "generate", arg(&files.path())]).done();
        files
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join(format!("{}.away", self.name))
    }
}

impl Kms for KeyFiles {
    fn uri(&self) -> String {
        format!("file:{}", self.path().display())
    }

    fn stop(&mut self) {
        std::fs::rename(self.path(), self.away()).unwrap();
    }

    fn start(&mut self) {
        std::fs::rename(self.away(), self.path()).unwrap();
    }
}

/// Keys in AWS KMS, as LocalStack plays it, behind a gate of its own.
pub(crate) struct AwsKms {
    server: &'static LocalStack,
    gate: Gate,
    alias: String,
}

impl AwsKms {
    /// With a new key. Nothing where LocalStack is not installed.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let server = localstack()?;
        let made = server.post("CreateKey", "{}").unwrap();
        let (_, id) = made.split_once(r#""KeyId": ""#).unwrap();
        let (id, alias) = (id.split('"').next().unwrap(), format!("alias/signet/{name}-{}", std::process::id()));
        let body = format!(r#"{{"AliasName":"{alias}","TargetKeyId":"{id}"}}"#);
        assert!(server.post("CreateAlias", &body).unwrap().starts_with("HTTP/1.1 200"));
        Some(Self { server, gate: Gate::before(server.address()), alias })
    }
}

impl Kms for AwsKms {
    fn uri(&self) -> String {
        format!("awskms:{}?region=us-east-1&endpoint=http://{}", self.alias, self.gate.address)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let environment = [("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "of no use anywhere")];
        environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    fn stop(&mut self) {
        self.gate.shut();
    }

    fn start(&mut self) {
        self.gate.open();
        assert!(self.server.post("ListKeys", "{}").is_some());
    }
}

/// A door in front of a server: while it is shut, whoever comes is turned away, and whoever is in is thrown out.
struct Gate {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    inside: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::new(AtomicBool::new(true)),
            inside: Arc::default(),
        };
        let (open, inside) = (gate.open.clone(), gate.inside.clone());
        // It ends with the test program.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                let halves = [&client, &server].map(|stream| stream.try_clone().unwrap());
                inside.lock().unwrap().extend(halves.iter().map(|stream| stream.try_clone().unwrap()));
                let [from_client, from_server] = halves;
                std::thread::spawn(move || pass(from_client, server));
                std::thread::spawn(move || pass(from_server, client));
            }
        });
        gate
    }

    fn shut(&self) {
        self.open.store(false, Ordering::SeqCst);
        for stream in self.inside.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// Until either end has had enough; then both have.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
