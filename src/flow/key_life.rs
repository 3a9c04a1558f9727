//! How long a terminal's working keys serve: by age and by use. Pure.
//!
//! Keys that are spent open no new authorization: the terminal is asked to sign on, which gives it new ones. What
//! tells of money that has moved (advices, reversals, settlements) is taken under them all the same.

use crate::clock::TxnIds;

/// When a terminal's working keys are spent; zero: never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Hours since they were issued.
    pub hours: u32,
    /// Messages under them, on all nodes. NIST SP 800-67 (revision 2, 3.5.1) bounds a triple DES key to 2^20
    /// blocks; a message's MAC takes some 25 of them.
    pub uses: u32,
}

/// Messages under a generation of working keys. The store counts them for all nodes; each node claims some ahead,
/// so that not every message is written twice, and what it has claimed when it dies counts as used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// What the store counts, as far as this node knows: those claimed are among them.
    counted: u64,
    /// Claimed by this node, and not come yet.
    claimed: u64,
    /// Came to this node while the store did not count them.
    alone: u64,
}

impl Uses {
    /// What a reader read.
    pub(super) const fn read(counted: u64) -> Self {
        Self { counted, claimed: 0, alone: 0 }
    }

    /// Messages that came, and those that other nodes claimed.
    pub(super) const fn so_far(self) -> u64 {
        self.counted.saturating_sub(self.claimed).saturating_add(self.alone)
    }

    /// A message came; whether it was claimed before, and so is counted.
    #[must_use]
    pub(super) const fn take(&mut self) -> bool {
        let had = self.claimed > 0;
        self.claimed = self.claimed.saturating_sub(1);
        had
    }

    /// `count` more are claimed for a message that came, which makes `counted` in the store; `None`: it counted
    /// nothing.
    pub(super) fn claimed(&mut self, count: u32, counted: Option<u64>) {
        let Some(counted) = counted else {
            self.alone = self.alone.saturating_add(1);
            return;
        };
        self.counted = self.counted.max(counted);
        self.claimed = self.claimed.saturating_add(u64::from(count).saturating_sub(1));
    }
}

/// A generation of working keys, as far as its life goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeysInUse {
    /// The identity that was drawn when they were issued, so its time; 0 for keys given by hand, which have none.
    pub(super) generation: i64,
    /// Messages under them.
    pub(super) uses: u64,
}

impl KeyLimits {
    /// Whether keys are spent. Those given by hand are replaced by hand.
    pub(super) fn are_spent(self, keys: KeysInUse, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(TxnIds::made_at_ms(keys.generation));
        let too_old = self.hours > 0 && age_ms >= i64::from(self.hours) * 3_600_000;
        let too_often = self.uses > 0 && keys.uses > u64::from(self.uses);
        keys.generation > 0 && (too_old || too_often)
    }

    /// How many messages a node claims at once: one of a hundred, and at most a thousand, that a node's death loses.
    /// `None`: they are not counted.
    pub(super) fn claim(self) -> Option<u32> {
        (self.uses > 0).then(|| self.uses.div_ceil(100).min(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spent_by_age_or_use() {
        const HOUR: i64 = 3_600_000;
        let issued = 1_772_321_405_000;
        let generation = TxnIds::new(7).next(issued);
        let rows = [
            ("no limits", 0, 0, generation, issued + 10_000 * HOUR, u64::MAX, false),
            ("young", 24, 0, generation, issued + 24 * HOUR - 1, 0, false),
            ("a day old", 24, 0, generation, issued + 24 * HOUR, 0, true),
            ("the clock went back", 24, 0, generation, issued - HOUR, 0, false),
            ("the last use", 0, 100, generation, issued, 100, false),
            ("one more", 0, 100, generation, issued, 101, true),
            ("both limits, one reached", 24, 100, generation, issued, 101, true),
            ("given by hand", 1, 1, 0, issued, 1000, false),
        ];
        for (name, hours, uses, generation, now_ms, used, expected) in rows {
            let keys = KeysInUse { generation, uses: used };
            assert_eq!(KeyLimits { hours, uses }.are_spent(keys, now_ms), expected, "{name}");
        }
    }

    #[test]
    fn messages_are_claimed_ahead() {
        let mut uses = Uses::read(40);
        let comes = |uses: &mut Uses, counted| {
            let had = uses.take();
            if !had {
                uses.claimed(3, counted);
            }
            (had, uses.so_far())
        };
        // The store's count when the message comes, whether it was claimed, and the count that this makes.
        let rows = [
            (Some(43), false, 41),
            (None, true, 42),
            (None, true, 43),
            // Another node claimed twenty meanwhile.
            (Some(66), false, 64),
            (None, true, 65),
            (None, true, 66),
            // The store does not answer, then it does.
            (None, false, 67),
            (None, false, 68),
            (Some(69), false, 69),
            (None, true, 70),
        ];
        for (at, (counted, had, so_far)) in rows.into_iter().enumerate() {
            assert_eq!(comes(&mut uses, counted), (had, so_far), "message {at}");
        }
        // Two messages that come at once claim both.
        let mut uses = Uses::default();
        assert!(!uses.take() && !uses.take());
        uses.claimed(10, Some(20));
        uses.claimed(10, Some(10));
        assert_eq!(uses.so_far(), 2);
    }

    #[test]
    fn a_claim_is_a_hundredth_of_the_limit() {
        for (uses, claim) in
            [(0, None), (1, Some(1)), (100, Some(1)), (101, Some(2)), (u32::MAX, Some(1_000))]
        {
            assert_eq!(KeyLimits { hours: 0, uses }.claim(), claim, "{uses}");
        }
    }
}
