//! The trace numbers a link may use: blocks that the caller reserved on disk. Pure.

use std::collections::VecDeque;

/// The largest value of DE 11; 0 is never given out.
const STAN_MAX: u32 = 999_999;

/// No number is left: reserve a block and add it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link has no trace number left")]
pub struct NeedNumbers;

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// First number and how many are left, in the order they were added.
    blocks: VecDeque<(u32, u32)>,
}

impl Numbers {
    /// Adds `count` numbers from `first` on; 999999 is followed by 1.
    pub(super) fn add(&mut self, first: u32, count: u32) {
        self.blocks.push_back((wrapped(first), count));
    }

    pub(super) fn left(&self) -> u32 {
        self.blocks.iter().fold(0, |sum, (_, left)| sum.saturating_add(*left))
    }

    /// The next number for which `in_use` is false; those skipped are gone.
    pub(super) fn next(&mut self, mut in_use: impl FnMut(u32) -> bool) -> Result<u32, NeedNumbers> {
        loop {
            let (next, left) = self.blocks.front_mut().ok_or(NeedNumbers)?;
            if *left == 0 {
                self.blocks.pop_front();
                continue;
            }
            let number = *next;
            *next = wrapped(number + 1);
            *left -= 1;
            if !in_use(number) {
                return Ok(number);
            }
        }
    }
}

/// Any number brought into 1 to 999999.
const fn wrapped(number: u32) -> u32 {
    if number == 0 { STAN_MAX } else { (number - 1) % STAN_MAX + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_order_wrap_and_skip_what_is_in_use() {
        type Row = (&'static [(u32, u32)], &'static [u32], &'static [u32]);
        let rows: [Row; 6] = [
            (&[], &[], &[]),
            (&[(1, 3)], &[], &[1, 2, 3]),
            (&[(999_998, 4)], &[], &[999_998, 999_999, 1, 2]),
            (&[(5, 1), (9, 2)], &[], &[5, 9, 10]),
            (&[(5, 4)], &[6, 8], &[5, 7]),
            (&[(5, 2), (0, 0), (1_000_000, 1)], &[5, 6], &[1]),
        ];
        for (blocks, in_use, want) in rows {
            let mut numbers = Numbers::default();
            for (first, count) in blocks {
                numbers.add(*first, *count);
            }
            assert_eq!(numbers.left(), blocks.iter().map(|b| b.1).sum::<u32>());
            let mut got = Vec::new();
            while let Ok(number) = numbers.next(|n| in_use.contains(&n)) {
                got.push(number);
            }
            assert_eq!(got, want, "{blocks:?}");
            assert_eq!(numbers.left(), 0);
        }
    }
}
