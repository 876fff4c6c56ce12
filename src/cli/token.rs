//! `signet token`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use signet_api::client::AdminClient;
use signet_model::inspect::{Check, Known, Report, Verdict, inspect};
use signet_model::jwks::{Algorithm, DemoRule, KeySet};
use signet_model::refusal::Reason;
use signet_model::spiffe_id::TrustDomain;
use signet_model::svid::{TrustBundle, X509Authority};
use signet_model::x509::bundle_document;

use super::failure::Failure;
use super::files::read_secret_bytes;
use super::node::{connect, connect_any};
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
    /// The admin socket of a node, to ask for bundle and keys.
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
    socket: Option<PathBuf>,
    /// The trust anchors (PEM) or the SPIFFE bundle document, instead of asking a node.
    #[arg(long, value_name = "FILE", requires = "trust_domain")]
    bundle: Option<PathBuf>,
    /// Whose bundle --bundle is.
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// The keys that a transaction token or access token may be signed with (JWK Set), instead of asking a node or the
    /// demo issuer.
    #[arg(long, value_name = "FILE")]
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
    let keys = find_keys(&args).await?;
    let issuer_keys = find_issuer_keys(&args).await?;
    let known =
        Known { bundle: bundle.as_ref(), transaction_token_keys: keys.as_ref(), issuer_keys: issuer_keys.as_ref() };
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
    match find_node(args).await? {
        Some(client) => Ok(Some(client.bundle().await?)),
        None => Ok(None),
    }
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
async fn find_keys(args: &Inspect) -> Result<Option<KeySet>, Failure> {
    if let Some(file) = &args.jwks {
        return read_keys(file, OURS).map(Some);
    }
    let Some(client) = find_node(args).await? else { return Ok(None) };
    let keys = KeySet::parse(&client.token_keys().await?, OURS, &NOT_DEMO);
    keys.map(Some).map_err(|cause| Failure::new("protocol", format!("the node's keys cannot be used: {cause}")))
}

/// What verifies access tokens: from a file, else the demo issuer's keys, which count only in their own cluster.
async fn find_issuer_keys(args: &Inspect) -> Result<Option<KeySet>, Failure> {
    if let Some(file) = &args.jwks {
        return read_keys(file, Algorithm::ALL).map(Some);
    }
    let Ok(report) = dev::running(args.dev.as_deref()) else { return Ok(None) };
    let Ok(client) = connect_any(&report).await else { return Ok(None) };
    let cluster_id = client.cluster_status().await?.cluster_id;
    let uri = &report.demo_issuer.jwks_uri;
    let failed = |cause: &dyn std::fmt::Display| Failure::new("unreachable", format!("{uri}: {cause}"));
    let client = reqwest::Client::builder().no_proxy().timeout(FETCH_WITHIN).build().map_err(|cause| failed(&cause))?;
    let document = async { client.get(uri).send().await?.bytes().await }.await.map_err(|cause| failed(&cause))?;
    let keys = KeySet::parse(&document, &[Algorithm::Es256], &DemoRule { demo: true, cluster_id });
    keys.map(Some).map_err(|cause| failed(&cause))
}

fn read_keys(file: &Path, algorithms: &[Algorithm]) -> Result<KeySet, Failure> {
    let document = std::fs::read(file).map_err(|cause| Failure::file("read", file, cause))?;
    KeySet::parse(&document, algorithms, &NOT_DEMO).map_err(|cause| Failure::file("use", file, cause))
}

/// The node that was named, else one of the running `signet dev`.
async fn find_node(args: &Inspect) -> Result<Option<AdminClient>, Failure> {
    if let Some(socket) = &args.socket {
        return connect(socket).await.map(Some);
    }
    let Ok(report) = dev::running(args.dev.as_deref()) else { return Ok(None) };
    match connect_any(&report).await {
        Ok(client) => Ok(Some(client)),
        Err(failure) => {
            eprintln!("note: the demo cluster is not asked: {}", failure.message());
            Ok(None)
        }
    }
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

/// What transaction tokens may be signed with.
const OURS: &[Algorithm] = &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa];
const NOT_DEMO: DemoRule = DemoRule { demo: false, cluster_id: String::new() };
const FETCH_WITHIN: Duration = Duration::from_secs(5);
