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
    /// Messages under them, on this node since it was started. NIST SP 800-67 (revision 2, 3.5.1) bounds a triple DES
    /// key to 2^20 blocks; a message's MAC takes some 25 of them.
    pub uses: u32,
}

/// A generation of working keys, as far as its life goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeysInUse {
    /// The identity that was drawn when they were issued, so its time; 0 for keys given by hand, which have none.
    pub(super) generation: i64,
    /// Messages under them.
    pub(super) uses: u32,
}

impl KeyLimits {
    /// Whether keys are spent. Those given by hand are replaced by hand.
    pub(super) fn are_spent(self, keys: KeysInUse, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(TxnIds::made_at_ms(keys.generation));
        let too_old = self.hours > 0 && age_ms >= i64::from(self.hours) * 3_600_000;
        let too_often = self.uses > 0 && keys.uses > self.uses;
        keys.generation > 0 && (too_old || too_often)
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
            ("no limits", 0, 0, generation, issued + 10_000 * HOUR, u32::MAX, false),
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
}
