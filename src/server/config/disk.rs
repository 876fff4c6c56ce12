//! `[disk]`: how little room may be left on the disk of the data directory before this node does less.

use serde::Deserialize;

use super::Mistakes;
use crate::size::Share;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskConfig {
    /// Below this much free space the node says so.
    pub(crate) warn: Share,
    /// Below this it gives leadership away and makes no snapshots.
    pub(crate) hand_over: Share,
    /// Below this it refuses changes.
    pub(crate) refuse: Share,
    /// A file that is there to be deleted.
    pub(crate) ballast: Share,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            warn: Share::up_to(15, 4 << 30),
            hand_over: Share::up_to(10, 1 << 30),
            refuse: Share::up_to(5, 512 << 20),
            ballast: Share::up_to(1, 256 << 20),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    warn: Option<String>,
    hand_over: Option<String>,
    refuse: Option<String>,
    ballast: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<DiskConfig> {
        let default = DiskConfig::default();
        let mut share = |key: &str, text: Option<String>, default: Share| match text {
            None => Some(default),
            Some(text) => mistakes.parsed(key, &text),
        };
        let config = DiskConfig {
            warn: share("disk.warn", self.warn, default.warn)?,
            hand_over: share("disk.hand_over", self.hand_over, default.hand_over)?,
            refuse: share("disk.refuse", self.refuse, default.refuse)?,
            ballast: share("disk.ballast", self.ballast, default.ballast)?,
        };
        // Whatever the disk's size: a small one and a large one stand for all.
        for total in [1 << 30, 1 << 40] {
            let [warn, hand_over, refuse] = [config.warn, config.hand_over, config.refuse].map(|it| it.of(total));
            if warn < hand_over || hand_over < refuse || refuse == 0 {
                mistakes.add(
                    "disk",
                    format_args!(
                        "warn ({}), hand_over ({}) and refuse ({}) must each be at least the next, and refuse more than nothing",
                        config.warn, config.hand_over, config.refuse
                    ),
                );
                return None;
            }
        }
        Some(config)
    }
}
