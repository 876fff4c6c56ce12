//! DNS names that may stand in a certificate.

/// A name that may not stand in a certificate, or not beside another one. The caller corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?}: {problem}")]
pub struct DnsNameError {
    /// The name.
    pub name: String,
    /// What is wrong with it and what to do.
    pub problem: &'static str,
}

/// Checks one name, which may begin with `*.`.
///
/// # Errors
/// [`DnsNameError`].
pub fn check(name: &str) -> Result<(), DnsNameError> {
    todo!("{name}")
}

/// Checks that no wildcard among `names` covers another one of them.
///
/// # Errors
/// [`DnsNameError`] with the name that is covered.
pub fn check_overlap(names: &[String]) -> Result<(), DnsNameError> {
    todo!("{names:?}")
}
