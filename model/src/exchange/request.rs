//! The request, parsed once: parameters present, single, and of the right form. Nothing in it is believed yet.

use std::fmt;

use super::{OAuthCode, OAuthError, Scope};
use crate::json::{self, Limits, Object};

/// A well-formed token exchange request for a transaction token.
#[derive(Clone)]
pub struct Request {
    /// `audience`, not yet compared with our trust domain.
    pub audience: String,
    /// `scope`, at least one word.
    pub scope: Scope,
    /// `scope` as it was written.
    pub scope_text: String,
    /// `subject_token`: a bearer credential.
    pub subject_token: String,
    /// `subject_token_type`
    pub subject_token_type: SubjectTokenType,
    /// `request_context`, which becomes `rctx`.
    pub request_context: Option<Object>,
    /// `request_details`, which becomes `tctx`.
    pub request_details: Option<Object>,
    /// `client_id`
    pub client_id: Option<String>,
    /// `client_assertion`, a JWT-SVID: a bearer credential.
    pub client_assertion: Option<String>,
}

/// The subject token types that are taken. Both are JWTs of a configured issuer and are checked alike; `jwt` may also be
/// a JWT-SVID of our trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectTokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`
    Jwt,
}

impl Request {
    /// Reads the decoded form, in order and with duplicates.
    ///
    /// Unknown parameters are ignored and parameters without a value are as if absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// A parameter is missing, repeated or malformed, or asks for what is not offered.
    pub fn parse(parameters: &[(String, String)]) -> Result<Self, OAuthError> {
        let form = Form::read(parameters)?;
        check_grant(&form)?;
        check_not_offered(&form)?;
        let client_assertion = client_assertion(&form)?;
        let audience = audience(parameters)?;
        let scope_text = form.required("scope")?.to_owned();
        let scope: Scope = scope_text.parse().map_err(|error| OAuthError::scope("scope_syntax", format!("{error}")))?;
        let subject_token_type = subject_token_type(form.required("subject_token_type")?)?;
        let subject_token = form.required("subject_token")?.to_owned();
        let request = Self {
            audience,
            scope,
            scope_text,
            subject_token,
            subject_token_type,
            request_context: form.object("request_context")?,
            request_details: form.object("request_details")?,
            client_id: form.get("client_id").map(str::to_owned),
            client_assertion,
        };
        request.check_leaks()?;
        Ok(request)
    }

    /// No credential may end up inside the transaction token, which travels further than they may.
    fn check_leaks(&self) -> Result<(), OAuthError> {
        let credentials = [Some(self.subject_token.as_str()), self.client_assertion.as_deref()];
        let secrets: Vec<&str> = credentials
            .into_iter()
            .flatten()
            .flat_map(|token| {
                std::iter::once(token).chain(token.split('.').skip(1).filter(|segment| segment.len() >= 32))
            })
            .collect();
        for (name, object) in [("request_context", &self.request_context), ("request_details", &self.request_details)] {
            if object.as_ref().is_some_and(|object| object.iter().any(|(key, value)| holds(key, value, &secrets))) {
                let description = format!("{name} holds a part of the subject_token or client_assertion: leave it out");
                return Err(OAuthError::request("token_in_context", description));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("audience", &self.audience)
            .field("scope", &self.scope_text)
            .field("subject_token_type", &self.subject_token_type)
            .finish_non_exhaustive()
    }
}

/// The parameters we know, each at most once.
struct Form<'p> {
    known: [Option<&'p str>; KNOWN.len()],
}

impl<'p> Form<'p> {
    fn read(parameters: &'p [(String, String)]) -> Result<Self, OAuthError> {
        if parameters.len() > MAX_PARAMETERS {
            return Err(OAuthError::request("too_many_parameters", "the request has more than 100 parameters"));
        }
        let mut known = [None; KNOWN.len()];
        for (name, value) in parameters {
            let Some(slot) = KNOWN.iter().position(|known| known == name).and_then(|at| known.get_mut(at)) else {
                continue;
            };
            if slot.is_some() {
                return Err(OAuthError::request("duplicate_parameter", format!("{name} is given more than once")));
            }
            *slot = Some(value.as_str());
        }
        Ok(Self { known })
    }

    fn get(&self, name: &str) -> Option<&'p str> {
        let at = KNOWN.iter().position(|known| *known == name)?;
        self.known.get(at).copied().flatten().filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&'p str, OAuthError> {
        self.get(name).ok_or_else(|| OAuthError::request("missing_parameter", format!("{name} is missing")))
    }

    fn object(&self, name: &str) -> Result<Option<Object>, OAuthError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let object = json::parse_object(text.as_bytes(), CONTEXT_LIMITS)
            .map_err(|error| OAuthError::request("context_malformed", format!("{name} {error}")))?;
        Ok(Some(object))
    }
}

fn check_grant(form: &Form<'_>) -> Result<(), OAuthError> {
    if form.required("grant_type")? != TOKEN_EXCHANGE {
        let description = format!("grant_type must be {TOKEN_EXCHANGE}");
        return Err(OAuthError::new(OAuthCode::UnsupportedGrantType, "grant_type", description));
    }
    if form.required("requested_token_type")? != TXN_TOKEN {
        return Err(OAuthError::request("requested_token_type", format!("requested_token_type must be {TXN_TOKEN}")));
    }
    Ok(())
}

/// What OAuth knows and this endpoint does not do: better refused than silently left out.
fn check_not_offered(form: &Form<'_>) -> Result<(), OAuthError> {
    match (form.get("actor_token"), form.get("actor_token_type")) {
        (Some(_), Some(_)) => Err(OAuthError::request(
            "actor_token",
            "actor_token is not supported yet: leave it out; req_wl names the authenticated caller",
        )),
        (Some(_), None) => Err(OAuthError::request("actor_token_type", "actor_token needs actor_token_type")),
        (None, Some(_)) => Err(OAuthError::request("actor_token_type", "actor_token_type without actor_token")),
        (None, None) => Ok(()),
    }?;
    if form.get("resource").is_some() {
        let description = "resource is not supported: name the trust domain in audience";
        return Err(OAuthError::new(OAuthCode::InvalidTarget, "resource", description));
    }
    if form.get("client_secret").is_none() {
        return Ok(());
    }
    if form.get("client_assertion").is_some() {
        return Err(OAuthError::request("two_authentications", "client_secret and client_assertion at once: use one"));
    }
    Err(OAuthError::client(
        "client_secret",
        "client_secret is not accepted: authenticate with an X.509-SVID or a JWT-SVID",
    ))
}

fn client_assertion(form: &Form<'_>) -> Result<Option<String>, OAuthError> {
    match (form.get("client_assertion"), form.get("client_assertion_type")) {
        (None, None) => Ok(None),
        (Some(assertion), Some(JWT_SPIFFE)) => Ok(Some(assertion.to_owned())),
        (Some(_), Some(_)) => {
            Err(OAuthError::client("client_assertion_type", format!("client_assertion_type must be {JWT_SPIFFE}")))
        }
        (Some(_), None) | (None, Some(_)) => Err(OAuthError::request(
            "client_assertion_type",
            "client_assertion and client_assertion_type must be given together",
        )),
    }
}

fn audience(parameters: &[(String, String)]) -> Result<String, OAuthError> {
    let mut audiences = parameters.iter().filter(|(name, value)| name == "audience" && !value.is_empty());
    match (audiences.next(), audiences.next()) {
        (Some((_, audience)), None) => Ok(audience.clone()),
        (Some(_), Some(_)) => {
            Err(OAuthError::new(OAuthCode::InvalidTarget, "several_audiences", "a transaction token has one audience"))
        }
        (None, _) => Err(OAuthError::request("missing_parameter", "audience is missing")),
    }
}

fn subject_token_type(text: &str) -> Result<SubjectTokenType, OAuthError> {
    let refused = |description: &str| Err(OAuthError::request("subject_token_type", description));
    match text.strip_prefix(TOKEN_TYPE) {
        Some("access_token") => Ok(SubjectTokenType::AccessToken),
        Some("jwt") => Ok(SubjectTokenType::Jwt),
        Some("refresh_token") => {
            refused("a refresh token is never taken as subject_token: send the user's access token")
        }
        Some("txn_token") => refused("replacing a transaction token is not supported yet"),
        Some("txn-token") => {
            refused("the token type is spelled txn_token; replacing a transaction token is not supported yet")
        }
        Some("id_token" | "saml1" | "saml2" | "self_signed" | "unsigned_json") => {
            refused("this subject_token_type is not supported: use access_token or jwt")
        }
        Some(_) | None => {
            refused("subject_token_type is not known: use urn:ietf:params:oauth:token-type:access_token or :jwt")
        }
    }
}

fn holds(key: &str, value: &serde_json::Value, secrets: &[&str]) -> bool {
    use serde_json::Value;
    let in_text = |text: &str| secrets.iter().any(|secret| text.contains(secret));
    in_text(key)
        || match value {
            Value::String(text) => in_text(text),
            Value::Array(items) => items.iter().any(|item| holds("", item, secrets)),
            Value::Object(members) => members.iter().any(|(key, value)| holds(key, value, secrets)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
}

/// The grant type of RFC 8693.
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The token type of transaction tokens.
pub(super) const TXN_TOKEN: &str = "urn:ietf:params:oauth:token-type:txn_token";
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// `audience` is not among them: it may be repeated by RFC 8693, and is refused then with a code of its own.
const KNOWN: [&str; 14] = [
    "grant_type",
    "requested_token_type",
    "resource",
    "scope",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "request_context",
    "request_details",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];
const MAX_PARAMETERS: usize = 100;
const CONTEXT_LIMITS: Limits = Limits { bytes: 4096, depth: 8, members: 64, exact_integers: true };
