//! `signet token`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use signet_api::client::{TokenClient, Trust};
use signet_model::inspect::{Check, Known, Report, Verdict, inspect};
use signet_model::jwks::{Algorithm, DemoRule, KeySet};
use signet_model::refusal::Reason;
use signet_model::spiffe_id::TrustDomain;
use signet_model::svid::{TrustBundle, X509Authority};
use signet_model::x509::bundle_document;

use super::bundle;
use super::failure::Failure;
use super::files::read_secret_bytes;
use super::node::connect;
use super::output::{Output, print_json, print_text};
use crate::{clock, dev};

/// Look into tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Decode and verify a transaction token, JWT-SVID, X.509-SVID or access token, and say what is wrong with it.
    ///
    /// Ends with 1 when something is wrong or could not be checked. The token is read from a file or standard input,
    /// because other users of this machine can read the arguments of a process.
    Inspect(Box<Inspect>),
}

/// `signet token inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Where the token is; standard input if there is none, or for `-`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The admin socket of a node, to ask for the bundle.
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
    socket: Option<PathBuf>,
    /// A node's HTTPS address, to ask for the keys of transaction tokens.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The trust anchors (PEM) or the SPIFFE bundle document, instead of asking a node.
    #[arg(long, value_name = "FILE", requires = "trust_domain")]
    bundle: Option<PathBuf>,
    /// Whose bundle --bundle is.
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// The keys of transaction tokens (JWK Set), such as a node's /keys, instead of asking a node.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    jwks: Option<PathBuf>,
    /// The folder of a running `signet dev`, which is asked for what is not given.
    #[arg(long, value_name = "DIR", env = "SIGNET_DEV_DIR")]
    dev: Option<PathBuf>,
    /// Who the token should be for.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(args: Token) -> Result<ExitCode, Failure> {
    let Token::Inspect(args) = args;
    let token = read_secret_bytes(args.file.as_deref(), "the token")?;
    let bundle = find_bundle(&args).await?;
    let keys = find_keys(&args, bundle.as_ref()).await?;
    let known = Known { bundle: bundle.as_ref(), transaction_token_keys: keys.as_ref() };
    let mut report = inspect(token.trim_ascii(), &known, clock::now());
    if let Some(audience) = &args.audience {
        report.checks.push(check_audience(&report, audience));
    }
    print(&report, args.output)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What verifies SVIDs: from a file, else from a node. `None` when nobody was named who could say.
async fn find_bundle(args: &Inspect) -> Result<Option<TrustBundle>, Failure> {
    if let (Some(file), Some(trust_domain)) = (&args.bundle, &args.trust_domain) {
        return read_bundle(file, trust_domain).map(Some);
    }
    if let Some(socket) = &args.socket {
        return Ok(Some(connect(socket).await?.bundle().await?));
    }
    let Ok(report) = dev::running(args.dev.as_deref()) else { return Ok(None) };
    for node in &report.nodes {
        if let Ok(client) = connect(&node.admin_socket).await
            && let Ok(bundle) = client.bundle().await
        {
            return Ok(Some(bundle));
        }
    }
    Ok(None)
}

fn read_bundle(file: &Path, trust_domain: &TrustDomain) -> Result<TrustBundle, Failure> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    let bytes = std::fs::read(file).map_err(|cause| Failure::file("read", file, cause))?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        return bundle_document::from_json(&bytes, trust_domain).map_err(|cause| Failure::file("use", file, cause));
    }
    let anchors = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|cause| Failure::file("read the certificates in", file, cause))?;
    if anchors.is_empty() {
        return Err(Failure::file("use", file, "it holds no certificate in PEM, and is no SPIFFE bundle document"));
    }
    let authority = |anchor: CertificateDer<'_>| X509Authority { certificate: anchor.to_vec(), tainted: false };
    Ok(TrustBundle {
        trust_domain: trust_domain.clone(),
        x509_authorities: anchors.into_iter().map(authority).collect(),
        jwt_authorities: Vec::new(),
        refresh_hint_secs: 0,
        sequence_number: 0,
    })
}

/// What verifies transaction tokens: from a file, else from a node. `None` when nobody was named who could say.
async fn find_keys(args: &Inspect, bundle: Option<&TrustBundle>) -> Result<Option<KeySet>, Failure> {
    if let Some(file) = &args.jwks {
        let document = std::fs::read(file).map_err(|cause| Failure::file("read", file, cause))?;
        return parse_keys(&document).map(Some).map_err(|cause| Failure::file("use", file, cause));
    }
    let Some(bundle) = bundle else {
        return match &args.url {
            Some(_) => Err(Failure::usage("--url needs --socket or --bundle, to recognise the server by")),
            None => Ok(None),
        };
    };
    if let Some(url) = &args.url {
        return fetch_keys(url, bundle).await.map(Some);
    }
    let Ok(report) = dev::running(args.dev.as_deref()) else { return Ok(None) };
    for node in report.nodes.iter().filter(|_| report.trust_domain == bundle.trust_domain.as_str()) {
        if let Ok(keys) = fetch_keys(&node.https, bundle).await {
            return Ok(Some(keys));
        }
    }
    Ok(None)
}

async fn fetch_keys(url: &str, bundle: &TrustBundle) -> Result<KeySet, Failure> {
    let pem = bundle::pem(bundle);
    let trust = Trust::from_pem(bundle.trust_domain.clone(), pem.as_bytes(), Arc::new(clock::now))?;
    let answer = TokenClient::new(url, None, &trust)?.get("/keys").await?;
    let unusable = |why: &dyn std::fmt::Display| Failure::new("protocol", format!("{url}/keys cannot be used: {why}"));
    if answer.status != 200 {
        return Err(unusable(&format!("status {}", answer.status)));
    }
    parse_keys(&answer.body).map_err(|cause| unusable(&cause))
}

fn parse_keys(document: &[u8]) -> Result<KeySet, signet_model::jwks::JwksError> {
    KeySet::parse(document, &[Algorithm::Es256], &DemoRule { demo: false, cluster_id: String::new() })
}

fn check_audience(report: &Report, audience: &str) -> Check {
    use serde_json::Value;

    let found = report.claims.as_ref().and_then(|claims| claims.get("aud"));
    let named = match found {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    };
    if named {
        Check { what: "audience", verdict: Verdict::Ok, words: format!("it is for {audience}") }
    } else {
        Check { what: "audience", verdict: Verdict::Problem, words: format!("it is not for {audience}: see aud") }
    }
}

fn print(report: &Report, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return print_json(report);
    }
    let mut lines = vec![report.kind.clone()];
    for (title, object) in [("header", &report.header), ("claims", &report.claims)] {
        if let Some(object) = object {
            let text = serde_json::to_string_pretty(object)
                .map_err(|cause| Failure::new(Reason::Internal.code(), format!("cannot print the {title}: {cause}")))?;
            lines.push(format!("{title} {text}"));
        }
    }
    for check in &report.checks {
        let mark = match check.verdict {
            Verdict::Ok => "ok       ",
            Verdict::Problem => "PROBLEM  ",
            Verdict::Unknown => "unknown  ",
        };
        lines.push(format!("{mark}{}: {}", check.what, check.words));
    }
    print_text(&lines.join("\n"))
}
