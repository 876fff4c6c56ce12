//! What goes wrong, drawn from the seed.

use super::random::Random;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    PowerCut,
    PowerCutOfAll,
    Pause,
    OneWayCut,
    Isolation,
    Loss,
    Delay,
    StalledStream,
    ClockSkew,
    DiskFull,
    FsyncError,
    SlowDisk,
    Restart,
    Transfer,
    Join,
    Remove,
    Demote,
    Promote,
    Snapshot,
}

impl Fault {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Kill,
        Self::PowerCut,
        Self::PowerCutOfAll,
        Self::Pause,
        Self::OneWayCut,
        Self::Isolation,
        Self::Loss,
        Self::Delay,
        Self::StalledStream,
        Self::ClockSkew,
        Self::DiskFull,
        Self::FsyncError,
        Self::SlowDisk,
        Self::Restart,
        Self::Transfer,
        Self::Join,
        Self::Remove,
        Self::Demote,
        Self::Promote,
        Self::Snapshot,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power cut",
            Self::PowerCutOfAll => "power cut of all",
            Self::Pause => "pause",
            Self::OneWayCut => "one-way cut",
            Self::Isolation => "isolation",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::StalledStream => "stalled stream",
            Self::ClockSkew => "clock skew",
            Self::DiskFull => "disk full",
            Self::FsyncError => "fsync error",
            Self::SlowDisk => "slow disk",
            Self::Restart => "restart",
            Self::Transfer => "transfer",
            Self::Join => "join",
            Self::Remove => "remove",
            Self::Demote => "demote",
            Self::Promote => "promote",
            Self::Snapshot => "snapshot",
        }
    }

    /// The `nth` fault of a seed: the first ones go round all kinds, so that a few seeds have them all.
    pub(crate) fn draw(random: &mut Random, seed: u64, nth: u64) -> Self {
        let all = Self::ALL.len() as u64;
        let at = if nth < 4 { (seed.wrapping_mul(4) + nth) % all } else { random.below(all) };
        usize::try_from(at).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Kill)
    }
}
