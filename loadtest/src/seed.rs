//! Repeatable choice: which identity, which token a request takes.

/// The seed of a load test. Equal seeds choose equally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    /// From a number that the report prints.
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The choice for request `number` among `count` things; 0 when there are none. Does not depend on the order in
    /// which requests happen to run.
    pub(crate) fn pick(self, number: u64, count: usize) -> usize {
        // SplitMix64, at the place `number` of its sequence.
        let mut z = self.0.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let count = count.max(1) as u64;
        usize::try_from(z % count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_choose_equally_and_others_differ() {
        let choices = |seed| (0..100).map(|n| Seed::new(seed).pick(n, 1000)).collect::<Vec<_>>();
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn every_choice_comes_up_about_equally_often() {
        let mut counts = [0_u32; 16];
        for n in 0..16_000 {
            counts[Seed::new(42).pick(n, 16)] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn choosing_among_nothing_is_harmless() {
        assert_eq!(Seed::new(1).pick(5, 0), 0);
    }
}
