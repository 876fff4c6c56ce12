//! Below how much free space a node does less.

use signet_raft::DiskState;

use crate::server::config::DiskConfig;

/// The watermarks of one disk, in bytes of free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) warn: u64,
    pub(crate) hand_over: u64,
    pub(crate) refuse: u64,
    /// A quarter of `refuse`: what is left is for the vote, and for what is on its way.
    pub(crate) stop: u64,
    /// With less than this the stores could not even be opened.
    pub(crate) start: u64,
}

impl Marks {
    /// The marks of a disk with `total` bytes.
    pub(crate) fn new(config: &DiskConfig, total: u64) -> Self {
        let refuse = config.refuse.of(total);
        let stop = refuse / 4;
        Self {
            warn: config.warn.of(total),
            hand_over: config.hand_over.of(total),
            refuse,
            stop,
            start: (stop / 2).min(START),
        }
    }

    /// The state that follows from `free` bytes after `before`. It gets worse at a mark and better a fifth above it, so
    /// that a disk that hovers about a mark does not have leadership go to and fro.
    pub(crate) fn judge(&self, before: DiskState, free: u64) -> DiskState {
        let worst = |holds: &dyn Fn(DiskState) -> bool| DiskState::ALL.into_iter().filter(|it| holds(*it)).max();
        let entered = worst(&|state| free < self.of(state)).unwrap_or_default();
        let held = worst(&|state| state <= before && free < above(self.of(state))).unwrap_or_default();
        entered.max(held)
    }

    /// With so much free space nothing is held back, whatever was before.
    pub(crate) const fn ample(&self) -> u64 {
        above(self.warn)
    }

    const fn of(&self, state: DiskState) -> u64 {
        match state {
            DiskState::Ample => 0,
            DiskState::Low => self.warn,
            DiskState::HandOver => self.hand_over,
            DiskState::Refuse => self.refuse,
            DiskState::Stop => self.stop,
        }
    }
}

const fn above(mark: u64) -> u64 {
    mark.saturating_add(mark / 5)
}

const START: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { warn: 1000, hand_over: 500, refuse: 200, stop: 50, start: 25 };

    #[test]
    fn each_state_begins_below_its_mark() {
        let cases = [
            (1000, DiskState::Ample),
            (999, DiskState::Low),
            (500, DiskState::Low),
            (499, DiskState::HandOver),
            (200, DiskState::HandOver),
            (199, DiskState::Refuse),
            (49, DiskState::Stop),
            (0, DiskState::Stop),
        ];
        for (free, state) in cases {
            assert_eq!(MARKS.judge(DiskState::Ample, free), state, "{free}");
        }
    }

    #[test]
    fn a_state_ends_only_a_fifth_above_its_mark() {
        let cases = [
            (DiskState::Low, 1100, DiskState::Low),
            (DiskState::Low, 1200, DiskState::Ample),
            (DiskState::Refuse, 230, DiskState::Refuse),
            (DiskState::Refuse, 240, DiskState::HandOver),
            (DiskState::Refuse, 5000, DiskState::Ample),
            (DiskState::Stop, 55, DiskState::Stop),
            (DiskState::Stop, 70, DiskState::Refuse),
            (DiskState::Stop, 1100, DiskState::Low),
            (DiskState::HandOver, 40, DiskState::Stop),
        ];
        for (before, free, state) in cases {
            assert_eq!(MARKS.judge(before, free), state, "{free} after {before:?}");
        }
    }

    #[test]
    fn a_large_disk_with_a_small_share_free_is_fine_and_a_small_one_is_judged_by_its_size() {
        let of = |total: u64| Marks::new(&DiskConfig::default(), total);
        assert_eq!(of(250 << 30).judge(DiskState::Ample, 20 << 30), DiskState::Ample);
        let small = of(256 << 20);
        assert_eq!(small.judge(DiskState::Ample, 128 << 20), DiskState::Ample);
        assert_eq!(small.judge(DiskState::Ample, 10 << 20), DiskState::Refuse);
        for total in [64 << 20, 1 << 30, 20 << 30, 250 << 30, 8 << 40] {
            let Marks { warn, hand_over, refuse, stop, start } = of(total);
            assert!(warn > hand_over && hand_over > refuse && refuse > stop && stop > start, "{total}");
        }
    }
}
