//! What can come of a call, and what the caller hears of it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use crate::KmsError;

/// Why a call of KMS brought nothing. Never holds anything secret: of what KMS says only that is kept which AWS documents
/// to name keys and callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came back, or KMS cannot now. What was asked for may have been done.
    Away(String),
    /// KMS had too many requests, and has done nothing.
    Throttled,
    /// AWS does not take our credentials, or there are none.
    Credentials(String),
    /// The credentials were good once.
    Expired,
    /// The credentials do not allow it.
    Denied(String),
    /// There is no such key or alias.
    Missing,
    /// Somebody has switched the key off.
    Disabled,
    /// Somebody has scheduled the key's deletion.
    PendingDeletion,
    /// The key is in a state that allows nothing now: being replicated, or without material.
    State(String),
    /// The key is of another kind.
    Unfit,
    /// The ciphertext does not open.
    Closed,
    /// The alias is there already.
    Exists,
    /// The answer is none.
    Wrong(String),
    /// KMS refused the request for another reason, by its code.
    Refused(String),
}

impl Failure {
    /// Sorts what the SDK says. Neither the request nor the answer is repeated: both may hold what must not be seen.
    pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        if let Some(cause) = credentials_error(error) {
            return Self::of_credentials(cause);
        }
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        match error {
            SdkError::TimeoutError(_) => Self::Away("the request timed out".to_owned()),
            SdkError::DispatchFailure(failure) => Self::Away(match failure.as_connector_error() {
                Some(cause) if cause.is_timeout() => "the connection timed out".to_owned(),
                _ => "no connection, or it broke before an answer was there".to_owned(),
            }),
            SdkError::ResponseError(_) => Self::Away("the answer broke off".to_owned()),
            SdkError::ServiceError(_) => match error.code() {
                Some(code) => Self::of_code(code, error.message().unwrap_or_default(), status.unwrap_or_default()),
                None => Self::without_code(status.unwrap_or_default()),
            },
            SdkError::ConstructionFailure(_) | _ => Self::Wrong("the SDK could not make the request".to_owned()),
        }
    }

    fn of_code(code: &str, message: &str, status: u16) -> Self {
        // JSON may name the type with its namespace before, and a URL behind.
        let code = code.rsplit('#').next().unwrap_or(code).split(':').next().unwrap_or(code);
        match code {
            "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" | "LimitExceededException"
                if status == 429 || code != "LimitExceededException" =>
            {
                Self::Throttled
            }
            "AccessDeniedException" | "AccessDenied" => Self::Denied(plain(message)),
            "NotFoundException" => Self::Missing,
            "DisabledException" => Self::Disabled,
            "KMSInvalidStateException" if message.to_ascii_lowercase().contains("pending deletion") => Self::PendingDeletion,
            "KMSInvalidStateException" => Self::State(plain(message)),
            "InvalidKeyUsageException" | "UnsupportedOperationException" => Self::Unfit,
            "InvalidCiphertextException" | "IncorrectKeyException" => Self::Closed,
            "AlreadyExistsException" => Self::Exists,
            "ExpiredTokenException" | "ExpiredToken" => Self::Expired,
            "UnrecognizedClientException" | "InvalidClientTokenId" | "MissingAuthenticationToken" | "NotAuthorized"
            | "MissingAuthenticationTokenException" | "OptInRequired" => {
                Self::Credentials("AWS does not know these credentials".to_owned())
            }
            // The message holds the request, and that a session token.
            "InvalidSignatureException" | "SignatureDoesNotMatch" | "IncompleteSignature" | "RequestExpired" => Self::Credentials(
                "AWS does not take the request's signature: the secret key is a wrong one, or this machine's clock is off".to_owned(),
            ),
            "KMSInternalException" | "DependencyTimeoutException" | "KeyUnavailableException" | "ServiceUnavailable"
            | "ServiceUnavailableException" | "InternalFailure" | "InternalError" => {
                Self::Away(format!("AWS KMS has an error of its own ({code})"))
            }
            _ if status == 429 => Self::Throttled,
            _ if status >= 500 => Self::Away(format!("status {status}")),
            _ => Self::Refused(plain(code)),
        }
    }

    fn without_code(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            500.. => Self::Away(format!("status {status}")),
            200..300 => Self::Wrong(
                "an answer that is not one of AWS KMS; is there a proxy or another server at its endpoint?".to_owned(),
            ),
            _ => Self::Wrong(format!(
                "status {status} without a reason of AWS KMS; is there a proxy or another server at its endpoint?"
            )),
        }
    }

    fn of_credentials(cause: &CredentialsError) -> Self {
        match cause {
            CredentialsError::CredentialsNotLoaded(_) => Self::Credentials(
                "this process has no AWS credentials: name a credentials_file, or give it a role, a web identity or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned(),
            ),
            CredentialsError::InvalidConfiguration(_) => Self::Credentials(format!(
                "the AWS credentials cannot be read: {}",
                cause.source().map_or_else(String::new, |source| plain(&source.to_string()))
            )),
            // The instance's metadata, the container's agent or STS do not answer now.
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) | CredentialsError::Unhandled(_) | _ => Self::Away("AWS credentials could not be had in time".to_owned()),
        }
    }

    /// Another attempt, here or elsewhere, may succeed.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Throttled)
    }

    /// It says nothing about the key where only a replica of it was asked for: that may be missing or not ready.
    pub(super) fn may_be_the_replica(&self) -> bool {
        matches!(self, Self::Missing | Self::State(_) | Self::Denied(_))
    }

    /// The error for whoever asked. `doing` is the operation of KMS (`Sign`), `key` what it was asked of.
    pub(super) fn into_error(self, backend: &str, key: &str, doing: &str) -> KmsError {
        let backend = backend.to_owned();
        let unusable = |problem: String| KmsError::Key { backend: backend.clone(), key: key.to_owned(), problem };
        match self {
            Self::Away(problem) => KmsError::Unavailable { backend, problem: format!("{doing} of {key}: {problem}") },
            Self::Throttled => {
                let problem = format!(
                    "{doing} of {key}: AWS KMS throttles; if that goes on, have the account's request quota raised"
                );
                KmsError::Unavailable { backend, problem }
            }
            Self::Expired => {
                let problem = format!(
                    "{doing} of {key}: the AWS credentials have expired; whoever renews them for this node has not"
                );
                KmsError::Unavailable { backend, problem }
            }
            Self::Credentials(problem) => KmsError::Configuration { uri: backend, problem },
            Self::Denied(message) => unusable(format!(
                "AWS denies it: allow kms:{doing} on this key to this node's role, in the key's policy or the role's ({message})"
            )),
            Self::Missing => unusable(
                "there is none in this account and region; is it the right account, region and name?".to_owned(),
            ),
            Self::Disabled => unusable(format!("it is disabled: aws kms enable-key --key-id {key}")),
            Self::PendingDeletion => unusable(format!(
                "its deletion is scheduled: aws kms cancel-key-deletion --key-id {key}, then aws kms enable-key"
            )),
            Self::State(message) => unusable(format!("its state does not allow {doing} now ({message})")),
            Self::Unfit => unusable(format!("it is not of a kind or usage that allows {doing}")),
            Self::Exists => unusable("an alias of that name is there already".to_owned()),
            Self::Refused(code) => unusable(format!("AWS KMS refused {doing}: {code}")),
            Self::Closed => KmsError::Open { backend, key: key.to_owned() },
            Self::Wrong(problem) => KmsError::Wrong { backend, problem: format!("{doing} of {key}: {problem}") },
        }
    }
}

fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<CredentialsError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// One short line: it came over the network.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_TEXT).collect()
}

const MAX_TEXT: usize = 300;
