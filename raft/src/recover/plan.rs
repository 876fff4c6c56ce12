//! Choosing among the survivors, and what can honestly be said of what may be missing.

use serde::{Deserialize, Serialize};

use super::survivor::{Seen, Survey};

/// Which survivor becomes the new cluster, and what that rests on. The fields' names are stable: it is kept as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The cluster that lost its quorum.
    pub cluster_id: String,
    /// Its voters.
    pub voters: Vec<u64>,
    /// Voters of which nothing is known.
    pub lost: Vec<u64>,
    /// The survivors that were looked at.
    pub survivors: Vec<Survey>,
    /// The node that is to become the new cluster: the one with the highest last log entry.
    pub chosen: u64,
}

/// What can be said of what may be missing. Never that nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Every write acknowledged until then is there: the last time that a quorum confirmed it to a survivor.
    pub complete_until: Option<Seen>,
    /// Entries at the end of the chosen log of which it is not known whether they were committed. They are kept.
    pub undecided: u64,
}

/// There is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody survived.
    #[error("no survivor was given: restore the newest snapshot with `signet snapshot restore`")]
    NoSurvivor,
    /// They are not of one cluster.
    #[error("the survivors are of two clusters, {0} and {1}: give those of one")]
    TwoClusters(String, String),
    /// One was given twice.
    #[error("node {0} was given twice: a copy of a data directory is no second survivor")]
    Twice(u64),
    /// There is a quorum.
    #[error(
        "{present} of {voters} voters are here, and that is a quorum: start them, and the cluster goes on without any loss"
    )]
    Quorum {
        /// How many voters were given.
        present: usize,
        /// How many there are.
        voters: usize,
    },
}

impl Plan {
    /// Chooses among the survivors.
    ///
    /// # Errors
    /// See [`PlanError`]; each says what to do.
    pub fn of(mut survivors: Vec<Survey>) -> Result<Self, PlanError> {
        survivors.sort_by_key(|survey| survey.node_id);
        for (one, other) in survivors.iter().zip(survivors.iter().skip(1)) {
            if one.cluster_id != other.cluster_id {
                return Err(PlanError::TwoClusters(one.cluster_id.clone(), other.cluster_id.clone()));
            }
            if one.node_id == other.node_id {
                return Err(PlanError::Twice(one.node_id));
            }
        }
        let best = survivors.iter().max_by_key(|survey| survey.last_log).ok_or(PlanError::NoSurvivor)?;
        let here = |node: &u64| survivors.iter().any(|survey| survey.node_id == *node);
        let (present, lost): (Vec<u64>, Vec<u64>) = best.voters.iter().partition(|node| here(node));
        if present.len() * 2 > best.voters.len() {
            return Err(PlanError::Quorum { present: present.len(), voters: best.voters.len() });
        }
        let (cluster_id, voters, chosen) = (best.cluster_id.clone(), best.voters.clone(), best.node_id);
        Ok(Self { version: VERSION, cluster_id, voters, lost, survivors, chosen })
    }

    /// The survivor that was chosen.
    #[must_use]
    pub fn chosen(&self) -> Option<&Survey> {
        self.survivors.iter().find(|survey| survey.node_id == self.chosen)
    }

    /// What may be missing.
    ///
    /// A contact of any survivor counts: what was committed by then is in every log that ends later than that survivor's.
    #[must_use]
    pub fn bound(&self) -> Bound {
        let contacts = self.survivors.iter().filter_map(|survey| survey.last_contact);
        let undecided = self.chosen().map_or(0, |survey| {
            let known = contacts.clone().map(|seen| seen.index).chain(survey.applied.map(|place| place.index)).max();
            survey.last_log.index.saturating_sub(known.unwrap_or(0))
        });
        Bound { complete_until: contacts.max_by_key(|seen| seen.at_millis), undecided }
    }
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::LogPlace;

    fn survey(node_id: u64, term: u64, index: u64, contact: Option<(u64, u64)>) -> Survey {
        let place = |index| LogPlace { term, node: 1, index };
        Survey {
            data_dir: "/d".into(),
            cluster_id: "c".repeat(32),
            node_id,
            vote: None,
            last_log: place(index),
            applied: Some(place(index - 2)),
            snapshot: None,
            chain_hash: None,
            last_contact: contact.map(|(at_millis, index)| Seen { at_millis, index }),
            cluster_time_millis: 5,
            voters: vec![1, 2, 3, 4, 5],
            usable_join_tokens: 1,
            disk_lost: None,
        }
    }

    #[test]
    fn chooses_the_highest_last_entry_by_term_first() {
        let plan = Plan::of(vec![survey(4, 7, 20, None), survey(2, 6, 90, None)]).unwrap();
        assert_eq!((plan.chosen, plan.lost), (4, vec![1, 3, 5]));
    }

    #[test]
    fn refuses_to_recover_what_still_has_a_quorum() {
        let three = vec![survey(1, 7, 20, None), survey(2, 7, 20, None), survey(3, 7, 20, None)];
        let told = Plan::of(three).unwrap_err();
        assert_eq!(told, PlanError::Quorum { present: 3, voters: 5 });
        assert!(told.to_string().contains("start them"));
    }

    #[test]
    fn refuses_no_survivor_one_twice_and_two_clusters() {
        assert_eq!(Plan::of(vec![]), Err(PlanError::NoSurvivor));
        assert_eq!(Plan::of(vec![survey(1, 7, 20, None), survey(1, 7, 21, None)]), Err(PlanError::Twice(1)));
        let other = Survey { cluster_id: "d".repeat(32), ..survey(2, 7, 20, None) };
        assert!(matches!(Plan::of(vec![survey(1, 7, 20, None), other]), Err(PlanError::TwoClusters(..))));
    }

    #[test]
    fn the_bound_is_the_latest_contact_of_any_survivor_and_never_that_nothing_is_missing() {
        let plan = Plan::of(vec![survey(1, 7, 20, Some((500, 12))), survey(2, 7, 15, Some((900, 14)))]).unwrap();
        assert_eq!(plan.bound().complete_until, Some(Seen { at_millis: 900, index: 14 }));
        assert_eq!(plan.bound().undecided, 2);
        let blind = Plan::of(vec![survey(1, 7, 20, None)]).unwrap();
        assert_eq!(blind.bound(), Bound { complete_until: None, undecided: 2 });
    }

    #[test]
    fn a_plan_survives_being_a_file() {
        let plan = Plan::of(vec![survey(1, 7, 20, Some((500, 12)))]).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
