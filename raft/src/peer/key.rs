//! This node's own key, by which peers know it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::durable;
use crate::error::OpenError;
use crate::types::Pin;

/// A P-256 key that never leaves its node, and a certificate it issued to itself. Only the key counts.
pub(crate) struct PeerKey {
    pkcs8: Zeroizing<Vec<u8>>,
    certificate: CertificateDer<'static>,
    pin: Pin,
}

impl PeerKey {
    /// Loads the key in `data_dir`, or makes one the first time.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("peer.key");
        let file = |cause| OpenError::File { action: "use", path: path.clone(), cause };
        let damaged = |detail: String| OpenError::Damaged { path: path.clone(), detail };
        let pkcs8 = match fs::metadata(&path) {
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                return Err(damaged("others may read it; run `chmod 600` on it if they did not".into()));
            }
            Ok(_) => Zeroizing::new(fs::read(&path).map_err(file)?),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let made = make().map_err(|cause| damaged(cause.to_string()))?;
                store(&path, &made).map_err(file)?;
                made
            }
            Err(cause) => return Err(file(cause)),
        };
        Self::from_pkcs8(pkcs8).map_err(|cause| damaged(format!("it does not hold a P-256 key ({cause})")))
    }

    /// Whether `data_dir` holds a key.
    pub(crate) fn exists(data_dir: &Path) -> bool {
        data_dir.join("peer.key").exists()
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, rcgen::Error> {
        let form = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&form, &PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.self_signed(&key)?.der().clone();
        let pin = pin_of(&key.subject_public_key_info());
        Ok(Self { pkcs8, certificate, pin })
    }

    /// What peers recognise it by.
    pub(crate) fn pin(&self) -> Pin {
        self.pin
    }

    /// The certificate to show.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The key to prove it with.
    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()).into()
    }
}

/// The pin of a public key (SubjectPublicKeyInfo, DER).
pub(crate) fn pin_of(spki: &[u8]) -> Pin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, spki).as_ref());
    Pin(pin)
}

fn make() -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
    Ok(Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_der()))
}

fn store(path: &Path, pkcs8: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(pkcs8)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    durable::sync_parent(path)
}

/// The name in every peer's certificate. Nobody looks at it; the pin decides.
pub(crate) const NAME: &str = "peer.signet.internal";
