//! `[raft]`: how fast the cluster notices things.

use serde::Deserialize;
use signet_raft::Timings;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct RaftConfig {
    pub(crate) timings: Timings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    profile: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<RaftConfig> {
        let timings = mistakes.parsed("raft.profile", self.profile.as_deref().unwrap_or("lan"))?;
        Some(RaftConfig { timings })
    }
}
