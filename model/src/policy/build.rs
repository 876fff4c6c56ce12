use super::{Policy, PolicyMistakes};
pub(super) fn policy(_document: &str) -> Result<Policy, PolicyMistakes> {
    todo!()
}
