//! `signet x509`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use serde_json::json;
use signet_api::client::AdminClient;
use signet_model::refusal::Reason;
use signet_model::spiffe_id::SpiffeId;
use signet_model::svid::X509Svid;
use signet_model::x509::bundle_document;
use zeroize::Zeroizing;

use super::bundle;
use super::duration::parse_ttl;
use super::failure::Failure;
use super::files::{write_public, write_secret};
use super::node::NodeArgs;
use super::output::{Output, print_json, print_text};
use super::timestamp::show_timestamp;

/// X.509-SVIDs.
#[derive(Debug, Subcommand)]
pub(crate) enum X509 {
    /// Make a key here and have an X.509-SVID issued for it, without an entry. For administrators.
    ///
    /// Only the public key leaves this process. Prints certificates and key as PEM, or writes svid.pem, key.pem (mode
    /// 0600) and bundle.pem into a folder.
    Mint {
        /// The identity.
        #[arg(long, value_name = "ID")]
        spiffe_id: SpiffeId,
        /// Lifetime; the cluster's default if it is not set.
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        ttl: Option<u32>,
        /// A DNS name for the certificate. Repeat for more; the first is also the common name.
        #[arg(long = "dns-name", value_name = "NAME")]
        dns_names: Vec<String>,
        /// Write files into this folder instead of printing; it is made if it is missing.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: X509) -> Result<(), Failure> {
    let X509::Mint { spiffe_id, ttl, dns_names, out_dir, node } = args;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|cause| cannot("make a key", &cause))?;
    let csr = request(&key, &spiffe_id, &dns_names)?;
    let mint = |client: AdminClient| async move {
        let svid = client.mint_x509_svid(csr, ttl.unwrap_or(0)).await?;
        Ok((svid, client.bundle().await?))
    };
    let (svid, bundle) = node.call(mint).await?;
    let minted = Minted {
        svid: bundle_document::to_pem(&svid.cert_chain),
        key: Zeroizing::new(key.serialize_pem()),
        bundle: bundle::pem(&bundle),
    };
    match &out_dir {
        Some(dir) => {
            minted.write(dir)?;
            report(&svid, dir, node.output)
        }
        None => minted.print(&svid, node.output),
    }
}

/// A request for exactly this identity (PKCS#10, DER). Everything else in the certificate is the server's business.
fn request(key: &KeyPair, id: &SpiffeId, dns_names: &[String]) -> Result<Vec<u8>, Failure> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let ia5 = |text: &str| text.try_into().map_err(|cause| cannot("write a name into the request", &cause));
    params.subject_alt_names.push(SanType::URI(ia5(&id.to_string())?));
    for name in dns_names {
        params.subject_alt_names.push(SanType::DnsName(ia5(name)?));
    }
    let request = params.serialize_request(key).map_err(|cause| cannot("make the request", &cause))?;
    Ok(request.der().to_vec())
}

fn cannot(what: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::InvalidArgument.code(), format!("cannot {what}: {cause}"))
}

/// PEM texts.
struct Minted {
    svid: String,
    key: Zeroizing<String>,
    bundle: String,
}

impl Minted {
    /// The key goes first: if it cannot be kept, neither is the certificate.
    fn write(&self, dir: &Path) -> Result<(), Failure> {
        fs::create_dir_all(dir).map_err(|cause| Failure::file("make", dir, cause))?;
        write_secret(&dir.join("key.pem"), self.key.as_bytes())?;
        write_public(&dir.join("svid.pem"), self.svid.as_bytes())?;
        write_public(&dir.join("bundle.pem"), self.bundle.as_bytes())
    }

    fn print(&self, svid: &X509Svid, output: Output) -> Result<(), Failure> {
        match output {
            Output::Table => print_text(&Zeroizing::new([&self.svid, self.key.as_str()].concat())),
            Output::Json => print_json(&json!({
                "spiffe_id": svid.spiffe_id,
                "expires_at": svid.expires_at_secs,
                "svid": self.svid,
                "key": self.key.as_str(),
                "bundle": self.bundle,
            })),
        }
    }
}

fn report(svid: &X509Svid, dir: &Path, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print_text(&format!(
            "{} until {}: svid.pem, key.pem and bundle.pem are in {}",
            svid.spiffe_id,
            show_timestamp(svid.expires_at_secs),
            dir.display()
        )),
        Output::Json => print_json(&json!({
            "spiffe_id": svid.spiffe_id,
            "expires_at": svid.expires_at_secs,
            "svid": dir.join("svid.pem"),
            "key": dir.join("key.pem"),
            "bundle": dir.join("bundle.pem"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use x509_cert::der::{Decode, Encode};
    use x509_cert::request::CertReq;

    use super::*;

    #[test]
    fn a_request_asks_for_one_identity_and_the_names_in_order() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let id = "spiffe://dev.local/gateway".parse().unwrap();
        let der = request(&key, &id, &["b.example.org".to_owned(), "a.example.org".to_owned()]).unwrap();
        let request = CertReq::from_der(&der).unwrap();
        assert!(request.info.subject.is_empty());
        assert_eq!(request.info.public_key.to_der().unwrap(), rcgen::PublicKeyData::subject_public_key_info(&key));
        let text = String::from_utf8_lossy(&der).into_owned();
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is missing"));
        assert!(place("spiffe://dev.local/gateway") < place("b.example.org"));
        assert!(place("b.example.org") < place("a.example.org"));
    }

    #[test]
    fn a_name_that_is_no_ascii_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let id = "spiffe://dev.local/gateway".parse().unwrap();
        assert_eq!(request(&key, &id, &["bücher.example".to_owned()]).unwrap_err().code(), "invalid_argument");
    }
}
