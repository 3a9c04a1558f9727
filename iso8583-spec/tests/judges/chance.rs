//! Repeatable chance: Steele, Lea and Flood's SplitMix64. A run is told by its seed, which the environment may set.

use std::ops::RangeInclusive;

/// The seed of a run when `JUDGE_SEED` does not say another.
const SEED: u64 = 8583;

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    match std::env::var("JUDGE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("JUDGE_SEED is no number: {text:?}")),
        Err(_) => SEED,
    }
}

/// A source of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range.
    pub(crate) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let many = u64::try_from(range.end() - range.start()).unwrap() + 1;
        range.start() + usize::try_from(self.next() % many).unwrap()
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.within(1..=times) == 1
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.within(0..=of.len() - 1)]
    }

    /// So many characters out of these.
    pub(crate) fn text(&mut self, length: usize, of: &str) -> String {
        (0..length).map(|_| char::from(self.pick(of.as_bytes()))).collect()
    }
}
