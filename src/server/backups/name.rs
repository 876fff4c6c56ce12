//! The names of scheduled backups: by them a cluster recognises its own, and knows when the last was taken.

use std::time::Duration;

use der::DateTime;
use signet_model::time::UnixTime;

/// Makes and recognises the names of one cluster's backups: `signet-DOMAIN-CLUSTER-20261122T065900Z-INDEX.snapshot`. Sorted
/// by name they are sorted by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    prefix: String,
}

/// One that was recognised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) at: u64,
    pub(super) name: String,
}

impl Names {
    pub(super) fn of(trust_domain: &str, cluster_id: &str) -> Self {
        Self { prefix: format!("signet-{trust_domain}-{cluster_id}-") }
    }

    /// What every name begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn name(&self, at: UnixTime, index: u64) -> String {
        let moment = DateTime::from_unix_duration(Duration::from_secs(at.secs())).map_or_else(
            |_| "19700101T000000Z".to_owned(),
            |it| {
                let (day, time) = ((it.year(), it.month(), it.day()), (it.hour(), it.minutes(), it.seconds()));
                format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", day.0, day.1, day.2, time.0, time.1, time.2)
            },
        );
        format!("{}{moment}-{index}{SUFFIX}", self.prefix)
    }

    /// Recognises a name; `None` for one that is not exactly of this form and cluster.
    pub(super) fn recognise(&self, name: &str) -> Option<Named> {
        let rest = name.strip_prefix(&self.prefix)?.strip_suffix(SUFFIX)?;
        let (moment, index) = rest.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (day, time) = moment.strip_suffix('Z')?.split_once('T')?;
        if day.len() != 8 || time.len() != 6 || ![day, time, index].into_iter().all(digits) {
            return None;
        }
        let part = |text: &str, range: std::ops::Range<usize>| text.get(range)?.parse::<u8>().ok();
        let year = day.get(..4)?.parse().ok()?;
        let (month, day) = (part(day, 4..6)?, part(day, 6..8)?);
        let moment = DateTime::new(year, month, day, part(time, 0..2)?, part(time, 2..4)?, part(time, 4..6)?).ok()?;
        Some(Named { at: moment.unix_duration().as_secs(), name: name.to_owned() })
    }
}

/// Which of `named` go: those that neither `keep` (the newest so many) nor `keep_for` (the younger ones) wants. The newest
/// always stays.
pub(super) fn outdated(
    mut named: Vec<Named>,
    keep: Option<usize>,
    keep_for: Option<Duration>,
    now: UnixTime,
) -> Vec<Named> {
    named.sort();
    named.reverse();
    let wanted = |place: usize, it: &Named| {
        let young = keep_for.is_some_and(|keep_for| it.at.saturating_add(keep_for.as_secs()) >= now.secs());
        place == 0 || keep.is_some_and(|keep| place < keep) || young
    };
    named.into_iter().enumerate().filter(|(place, it)| !wanted(*place, it)).map(|(_, it)| it).collect()
}

const SUFFIX: &str = ".snapshot";

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "00112233445566778899aabbccddeeff";

    fn names() -> Names {
        Names::of("example.org", CLUSTER)
    }

    #[test]
    fn recognises_its_own_names_and_nobody_elses() {
        let at = UnixTime::from_secs(1_795_298_400);
        let name = names().name(at, 17);
        assert_eq!(name, format!("signet-example.org-{CLUSTER}-20261121T220000Z-17.snapshot"));
        assert_eq!(names().recognise(&name).unwrap().at, at.secs());
        let other = Names::of("example.org", &"d".repeat(32));
        assert_eq!(other.recognise(&name), None, "of another cluster");
        for bad in [
            "mine.snapshot".to_owned(),
            format!("{name}.part"),
            format!(".{name}"),
            name.replace("T22", "T25"),
            name.replace("-17", ""),
            name.replace("-17", "-1x"),
            name.replace("Z-", "-"),
            name.replace("20261121", "2026112١"),
        ] {
            assert_eq!(names().recognise(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_backup_goes_only_when_neither_count_nor_age_wants_it() {
        let named: Vec<Named> = (1..=5).map(|at| Named { at: at * 100, name: format!("n{at}") }).collect();
        let gone = |keep, keep_for: Option<u64>| {
            let keep_for = keep_for.map(Duration::from_secs);
            let gone = outdated(named.clone(), keep, keep_for, UnixTime::from_secs(520));
            gone.into_iter().map(|it| it.at).collect::<Vec<_>>()
        };
        assert_eq!(gone(Some(2), None), [300, 200, 100]);
        assert_eq!(gone(None, Some(150)), [300, 200, 100]);
        assert_eq!(gone(Some(1), Some(250)), [200, 100]);
        assert_eq!(gone(Some(4), Some(10)), [100]);
        assert_eq!(gone(None, Some(1)), [400, 300, 200, 100], "the newest always stays");
    }
}
