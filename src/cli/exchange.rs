//! `signet exchange`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use signet_api::client::{AgentIdentity, HttpAnswer, TokenClient, Trust};
use signet_model::spiffe_id::TrustDomain;

use super::bundle;
use super::duration::show_secs;
use super::failure::Failure;
use super::files::read_secret;
use super::node::connect;
use super::output::{or_dash, print_fields, print_text};
use crate::clock;
use crate::dev::{self, Report};

/// Exchange a user's token for a transaction token (RFC 8693).
///
/// The caller proves who it is by an X.509-SVID (--svid and --key) or by a JWT-SVID (--client-assertion-file) whose
/// audience is the token issuer.
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// A node's HTTPS address, such as https://tts.example.org:8443. [default: the running `signet dev`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The trust anchors that the server's certificate must lead to (PEM). [default: asked of --socket]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The admin socket of a node, to ask for the trust anchors.
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
    socket: Option<PathBuf>,
    /// The folder of a running `signet dev`, where --url, --bundle and --audience come from if they are not given.
    #[arg(long, value_name = "DIR", env = "SIGNET_DEV_DIR")]
    dev: Option<PathBuf>,
    /// The user's token; standard input if there is none, or for `-`.
    #[arg(long, value_name = "FILE")]
    subject_token_file: Option<PathBuf>,
    /// What the subject token is.
    #[arg(long, value_enum, default_value_t)]
    subject_token_type: SubjectTokenType,
    /// The trust domain that the transaction token is for. [default: that of the running `signet dev`]
    #[arg(long, value_name = "TRUST-DOMAIN")]
    audience: Option<String>,
    /// The trust domain of the server. [default: that of the running `signet dev`, else --audience]
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// The scopes asked for, separated by spaces.
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// The caller's X.509-SVID with its chain (PEM).
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "client_assertion_file")]
    svid: Option<PathBuf>,
    /// The key of --svid (PEM).
    #[arg(long, value_name = "FILE", requires = "svid")]
    key: Option<PathBuf>,
    /// The caller's JWT-SVID.
    #[arg(long, value_name = "FILE")]
    client_assertion_file: Option<PathBuf>,
    /// What the transaction is about, a JSON object; it may end up in `tctx`.
    #[arg(long, value_name = "JSON")]
    request_details: Option<String>,
    /// The request's surroundings, a JSON object; it may end up in `rctx`.
    #[arg(long, value_name = "JSON")]
    request_context: Option<String>,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: ExchangeOutput,
}

/// Token types of RFC 8693 §3 that are taken as subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SubjectTokenType {
    /// An access token of a configured issuer (RFC 9068).
    #[default]
    AccessToken,
    /// A JWT, such as a JWT-SVID.
    Jwt,
}

/// What to print of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ExchangeOutput {
    /// The answer in a few lines, with the token last.
    #[default]
    Table,
    /// The answer as it came.
    Json,
    /// Only the token.
    Token,
}

pub(super) async fn run(args: Exchange) -> Result<(), Failure> {
    let target = Target::find(&args).await?;
    let subject = read_secret(args.subject_token_file.as_deref(), "the subject token")?;
    let assertion = args.client_assertion_file.as_deref().map(|file| read_secret(Some(file), "the client assertion"));
    let assertion = assertion.transpose()?;
    let parameters = parameters(&args, &target.audience, &subject, assertion.as_deref().map(String::as_str));
    let answer = target.ask(&args, &parameters).await?;
    print(&args, &answer)
}

/// Which door to knock at, and how to know it is the right one.
struct Target {
    urls: Vec<String>,
    audience: String,
    trust: Trust,
}

impl Target {
    async fn find(args: &Exchange) -> Result<Self, Failure> {
        let dev = dev::running(args.dev.as_deref());
        let missing = |flag: &str, why: &Failure| Failure::usage(format!("{flag} is not given, and {}", why.message()));
        let (urls, dev_bundle) = match (&args.url, &dev) {
            (Some(url), _) => (vec![url.clone()], None),
            (None, Ok(report)) => {
                (report.nodes.iter().map(|node| node.https.clone()).collect(), Some(report.bundle.as_path()))
            }
            (None, Err(why)) => return Err(missing("--url", why)),
        };
        let of_dev = dev.as_ref().ok().filter(|_| args.url.is_none()).map(Report::trust_domain).transpose()?;
        let audience = match (&args.audience, &of_dev, &dev) {
            (Some(audience), _, _) => audience.clone(),
            (None, Some(trust_domain), _) => trust_domain.to_string(),
            (None, None, Ok(_)) => return Err(Failure::usage("--audience is not given: it goes with --url")),
            (None, None, Err(why)) => return Err(missing("--audience", why)),
        };
        let trust_domain = match args.trust_domain.clone().or(of_dev) {
            Some(trust_domain) => trust_domain,
            None => audience.parse().map_err(|cause| Failure::usage(format!("--audience {audience}: {cause}")))?,
        };
        let pem = anchors(args.bundle.as_deref().or(dev_bundle), args.socket.as_deref()).await?;
        let trust = Trust::from_pem(trust_domain, &pem, Arc::new(clock::now))?;
        Ok(Self { urls, audience, trust })
    }

    /// The first answer of those who can be asked. Whoever does not answer is passed over for the next.
    async fn ask(&self, args: &Exchange, parameters: &[(&str, &str)]) -> Result<HttpAnswer, Failure> {
        let mut last = Failure::usage("--url is not given");
        for url in &self.urls {
            let identity = identity(args.svid.as_deref(), args.key.as_deref())?;
            let client = TokenClient::new(url, identity, &self.trust)?;
            match tokio::time::timeout(ANSWER_WITHIN, client.exchange(parameters)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = Failure::new(error.code, format!("{url}: {}", error.message)),
                Err(_) => last = Failure::new("deadline_exceeded", format!("{url} did not answer in time")),
            }
        }
        Err(last)
    }
}

/// Trust anchors, PEM.
async fn anchors(file: Option<&Path>, socket: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match (file, socket) {
        (Some(file), _) => std::fs::read(file).map_err(|cause| Failure::file("read", file, cause)),
        (None, Some(socket)) => Ok(bundle::pem(&connect(socket).await?.bundle().await?).into_bytes()),
        (None, None) => {
            Err(Failure::usage("the server cannot be recognised: give --bundle FILE, or --socket PATH to ask a node"))
        }
    }
}

/// The caller's X.509-SVID, if there is one.
pub(super) fn identity(svid: Option<&Path>, key: Option<&Path>) -> Result<Option<AgentIdentity>, Failure> {
    let (Some(svid), Some(key)) = (svid, key) else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(svid)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| Failure::file("read the certificates in", svid, cause))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|cause| Failure::file("read the key in", key, cause))?;
    Ok(Some(AgentIdentity { chain, key }))
}

/// RFC 8693 §2.1, with the parameters of the transaction-token profile.
fn parameters<'a>(
    args: &'a Exchange,
    audience: &'a str,
    subject: &'a str,
    assertion: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let subject_token_type = match args.subject_token_type {
        SubjectTokenType::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
        SubjectTokenType::Jwt => "urn:ietf:params:oauth:token-type:jwt",
    };
    let mut parameters = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
        ("audience", audience),
        ("scope", args.scope.as_str()),
        ("subject_token", subject),
        ("subject_token_type", subject_token_type),
    ];
    parameters.extend(args.request_details.as_deref().map(|details| ("request_details", details)));
    parameters.extend(args.request_context.as_deref().map(|context| ("request_context", context)));
    if let Some(assertion) = assertion {
        parameters.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"));
        parameters.push(("client_assertion", assertion));
    }
    parameters
}

/// What the token endpoint answers (RFC 8693 §2.2.1, RFC 6749 §5.2).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<u64>,
    scope: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

fn print(args: &Exchange, answer: &HttpAnswer) -> Result<(), Failure> {
    let unexpected =
        || Failure::new("protocol", format!("the server answered with status {} and no token", answer.status));
    let parsed: Answer = serde_json::from_slice(&answer.body).map_err(|_| unexpected())?;
    if let Some(error) = parsed.error {
        let why = parsed.error_description.unwrap_or_else(|| format!("status {}", answer.status));
        return Err(Failure::new(error, why));
    }
    let token = parsed.access_token.filter(|_| answer.status == 200).ok_or_else(unexpected)?;
    match args.output {
        ExchangeOutput::Token => print_text(&token),
        ExchangeOutput::Json => print_text(std::str::from_utf8(&answer.body).map_err(|_| unexpected())?),
        ExchangeOutput::Table => print_fields(&[
            ("scope", parsed.scope.unwrap_or_else(|| args.scope.clone())),
            ("expires in", or_dash(parsed.expires_in.map(show_secs))),
            ("token", token),
        ]),
    }
}

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        exchange: Exchange,
    }

    fn args(more: &[&str]) -> Exchange {
        Line::parse_from([&["x", "--scope", "orders.read"], more].concat()).exchange
    }

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer { status, headers: http::HeaderMap::new(), body: body.to_owned().into() }
    }

    #[test]
    fn a_request_has_every_parameter_once_and_the_assertion_only_if_there_is_one() {
        let args = args(&["--request-details", r#"{"op":"x"}"#]);
        let names: Vec<&str> = parameters(&args, "d", "s", None).iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "grant_type",
                "requested_token_type",
                "audience",
                "scope",
                "subject_token",
                "subject_token_type",
                "request_details"
            ]
        );
        let with = parameters(&args, "d", "s", Some("a"));
        assert_eq!(with.last(), Some(&("client_assertion", "a")));
    }

    #[test]
    fn a_refusal_keeps_its_oauth_code() {
        let refused =
            answer(400, r#"{"error":"invalid_scope","error_description":"exceeds the subject token's scope"}"#);
        let failure = print(&args(&[]), &refused).unwrap_err();
        assert_eq!((failure.code(), failure.message()), ("invalid_scope", "exceeds the subject token's scope"));
    }

    #[test]
    fn an_answer_without_a_token_is_no_success() {
        for (status, body) in [(200, "{}"), (200, "<html>"), (404, "{}"), (500, r#"{"access_token":"x"}"#)] {
            assert_eq!(print(&args(&[]), &answer(status, body)).unwrap_err().code(), "protocol", "{status} {body}");
        }
    }
}
