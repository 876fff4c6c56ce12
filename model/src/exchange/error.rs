//! Refusals of the token endpoint, as OAuth wants them (RFC 6749 §5.2, RFC 8693 §2.2.2).

/// The registered codes that we use, and two of the authorization endpoint for what this one has no code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthCode {
    /// A parameter or token is missing, malformed, repeated, or not acceptable.
    InvalidRequest,
    /// The caller did not prove who it is.
    InvalidClient,
    /// The caller may not use this grant at all.
    UnauthorizedClient,
    /// Not the token exchange grant.
    UnsupportedGrantType,
    /// Not our trust domain.
    InvalidTarget,
    /// More scope than the subject token or the rules allow, or none that is known.
    InvalidScope,
    /// Nobody can sign just now. Retry, here or at another node.
    TemporarilyUnavailable,
    /// A fault of ours.
    ServerError,
}

impl OAuthCode {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidTarget
            | Self::InvalidScope => 400,
            Self::InvalidClient => 401,
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
        }
    }
}

/// A refusal, ready to be sent. Holds no byte of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// HTTP status.
    pub status: u16,
    /// `error`
    pub code: OAuthCode,
    /// `error_description`: what was wrong and what to do about it.
    pub description: String,
    /// A stable word for logs and metrics, finer than `code`.
    pub reason: &'static str,
}

impl OAuthError {
    /// A refusal with `code`, its `reason` for machines and a description for people.
    ///
    /// Characters that may not be in `error_description` become `'` or `?`, and it is cut at 400 characters.
    #[must_use]
    pub fn new(code: OAuthCode, reason: &'static str, description: impl AsRef<str>) -> Self {
        let description = description.as_ref().chars().take(MAX_DESCRIPTION).map(printable).collect();
        Self { status: code.status(), code, description, reason }
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = serde_json::json!({ "error": self.code.as_str() });
        if let (Some(object), false) = (body.as_object_mut(), self.description.is_empty()) {
            object.insert("error_description".to_owned(), self.description.clone().into());
        }
        body.to_string().into_bytes()
    }

    pub(super) fn request(reason: &'static str, description: impl AsRef<str>) -> Self {
        Self::new(OAuthCode::InvalidRequest, reason, description)
    }

    pub(super) fn client(reason: &'static str, description: impl AsRef<str>) -> Self {
        Self::new(OAuthCode::InvalidClient, reason, description)
    }

    pub(super) fn scope(reason: &'static str, description: impl AsRef<str>) -> Self {
        Self::new(OAuthCode::InvalidScope, reason, description)
    }
}

/// RFC 6749 §5.2: `%x20-21 / %x23-5B / %x5D-7E`.
fn printable(c: char) -> char {
    match c {
        ' ' | '!' | '#'..='[' | ']'..='~' => c,
        '"' => '\'',
        _ => '?',
    }
}

const MAX_DESCRIPTION: usize = 400;
