//! What a change of the voters would do to the quorum: pure, so that every case can be a line in a table.

use std::collections::BTreeSet;

use crate::membership::ChangeError;

/// The members before a change, and which of them the leader hears.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roll {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) healthy: BTreeSet<u64>,
}

/// Whether the voters may become `after`; if so, what the operator should know.
pub(crate) fn judge(roll: &Roll, after: &BTreeSet<u64>, force: bool) -> Result<Vec<String>, ChangeError> {
    if after.is_empty() {
        return Err(ChangeError::LastVoter);
    }
    // Both must agree to the change: the old voters while it is made, the new ones from then on.
    for (voters, when) in [(&roll.voters, "of the voters now"), (after, "of the voters after it")] {
        let (healthy, needed) = (voters.intersection(&roll.healthy).count(), quorum(voters.len()));
        if healthy < needed {
            let silent = list(voters.difference(&roll.healthy));
            let detail = format!(
                "{needed} {when} must answer, and {healthy} do; {silent} does not. Bring it back or remove it first"
            );
            return Err(ChangeError::WouldLoseQuorum { detail });
        }
    }
    let silent: Vec<_> = after.difference(&roll.healthy).copied().collect();
    let leaves_healthy = roll.voters.difference(after).any(|node| roll.healthy.contains(node));
    let added_silent = silent.iter().find(|node| !roll.voters.contains(node));
    if let (Some(node), false) = (added_silent, force) {
        let detail = format!("node {node} does not answer, so it would be a voter in name only; start it first");
        return Err(ChangeError::NotHealthy { detail });
    }
    if let (true, Some(node), false) = (leaves_healthy, silent.first(), force) {
        let detail = format!(
            "node {node} does not answer, and taking a healthy voter away now leaves less room for the next failure; \
             bring node {node} back or remove it first"
        );
        return Err(ChangeError::NotHealthy { detail });
    }
    Ok(warnings(after, &silent))
}

/// So many of `voters` decide.
pub(crate) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn warnings(after: &BTreeSet<u64>, silent: &[u64]) -> Vec<String> {
    let mut warnings = Vec::new();
    let count = after.len();
    match count {
        1 => warnings.push("one voter: the cluster stops when that node does".to_owned()),
        2 => warnings.push("two voters: the cluster stops when either of them does".to_owned()),
        _ if count.is_multiple_of(2) => warnings
            .push(format!("{count} voters survive no more failures than {} would; an odd number is better", count - 1)),
        _ => {}
    }
    if !silent.is_empty() {
        warnings.push(format!("{} does not answer", list(silent.iter())));
    }
    warnings
}

fn list<'a>(nodes: impl Iterator<Item = &'a u64>) -> String {
    let nodes: Vec<_> = nodes.map(u64::to_string).collect();
    format!("node {}", nodes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn told(voters: &[u64], healthy: &[u64], after: &[u64], force: bool) -> Result<Vec<String>, ChangeError> {
        judge(&Roll { voters: set(voters), healthy: set(healthy) }, &set(after), force)
    }

    #[test]
    fn a_dead_voter_may_be_removed_and_a_healthy_one_may_not_while_it_is_dead() {
        assert!(told(&[1, 2, 3], &[1, 2], &[1, 2], false).is_ok());
        assert!(matches!(told(&[1, 2, 3], &[1, 2], &[1, 3], true), Err(ChangeError::WouldLoseQuorum { .. })));
        assert!(matches!(
            told(&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[1, 2, 3, 5], false),
            Err(ChangeError::NotHealthy { .. })
        ));
        assert!(told(&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[1, 2, 3, 5], true).is_ok(), "by force: three of four are left");
    }

    #[test]
    fn the_last_voter_stays_and_so_does_the_quorum_whatever_the_force() {
        for force in [false, true] {
            assert_eq!(told(&[1], &[1], &[], force), Err(ChangeError::LastVoter));
            assert!(matches!(told(&[1, 2], &[1], &[1], force), Err(ChangeError::WouldLoseQuorum { .. })));
        }
    }

    #[test]
    fn a_silent_newcomer_becomes_a_voter_by_force_only_and_only_if_the_others_are_enough() {
        assert!(matches!(told(&[1, 2, 3], &[1, 2, 3], &[1, 2, 3, 4], false), Err(ChangeError::NotHealthy { .. })));
        assert!(told(&[1, 2, 3], &[1, 2, 3], &[1, 2, 3, 4], true).is_ok());
        assert!(matches!(told(&[1], &[1], &[1, 2], true), Err(ChangeError::WouldLoseQuorum { .. })));
    }

    #[test]
    fn says_when_a_number_of_voters_is_no_good() {
        assert_eq!(told(&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4], false).unwrap().len(), 1);
        assert_eq!(told(&[1, 2], &[1, 2, 3], &[1, 2, 3], false).unwrap(), Vec::<String>::new());
        assert_eq!(told(&[1, 2, 3], &[1, 2, 3], &[1, 2], false).unwrap().len(), 1);
    }
}
