//! From the card number to the issuer. Pure: health is an argument.

use crate::transaction::{IssuerId, Pan};
use std::collections::HashMap;

/// A range of card numbers and the issuer that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Leading digits, 1 to 11 (ISO/IEC 7812-1: an IIN of six or eight, and what a scheme adds).
    pub prefix: String,
    /// Shortest PAN.
    pub pan_min: usize,
    /// Longest PAN.
    pub pan_max: usize,
    /// The issuer.
    pub issuer: IssuerId,
}

/// Longest prefix that a range may have.
const LONGEST: usize = 11;

/// The routing table: the longest prefix that fits the PAN and its length wins; among equals, the
/// order in which they were given is the order of preference.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    ranges: HashMap<String, Vec<Range>>,
}

/// Where a card goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// To this issuer.
    To(IssuerId),
    /// Issuers are known, and none can be reached.
    Unavailable(IssuerId),
    /// No issuer is known.
    Unknown,
}

impl RouteTable {
    /// A table of these ranges.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut table = Self::default();
        for range in ranges {
            table.ranges.entry(range.prefix.clone()).or_default().push(range);
        }
        table
    }

    /// The issuers of a card, best first.
    #[must_use]
    pub fn candidates(&self, pan: &Pan) -> Vec<IssuerId> {
        let digits = pan.digits();
        (1..=LONGEST.min(digits.len()))
            .rev()
            .filter_map(|n| self.ranges.get(digits.get(..n)?))
            .map(|ranges| {
                let fits = |r: &&Range| (r.pan_min..=r.pan_max).contains(&digits.len());
                ranges.iter().filter(fits).map(|r| r.issuer).collect::<Vec<_>>()
            })
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }

    /// The first candidate that `healthy` says can be reached.
    #[must_use]
    pub fn choose(&self, pan: &Pan, healthy: impl Fn(IssuerId) -> bool) -> Choice {
        let candidates = self.candidates(pan);
        match (candidates.iter().find(|issuer| healthy(**issuer)), candidates.first()) {
            (Some(issuer), _) => Choice::To(*issuer),
            (None, Some(issuer)) => Choice::Unavailable(*issuer),
            (None, None) => Choice::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, lengths: (usize, usize), issuer: &str) -> Range {
        let issuer = IssuerId::new(issuer).unwrap();
        Range { prefix: prefix.to_owned(), pan_min: lengths.0, pan_max: lengths.1, issuer }
    }

    #[test]
    fn the_longest_prefix_that_fits_the_length_wins() {
        let table = RouteTable::new([
            range("4", (13, 19), "VISA"),
            range("400000", (16, 16), "BANKA"),
            range("40000000", (19, 19), "LONG"),
            range("622588", (16, 19), "UNION"),
            range("622588", (16, 19), "SPARE"),
        ]);
        let rows: &[(&str, &[&str], Choice)] = &[
            ("4111111111111111", &[], Choice::To(IssuerId::new("VISA").unwrap())),
            ("4000000000000002", &[], Choice::To(IssuerId::new("BANKA").unwrap())),
            ("4000000000000000000", &[], Choice::To(IssuerId::new("LONG").unwrap())),
            ("400000000000000", &[], Choice::To(IssuerId::new("VISA").unwrap())),
            ("6225880012345675", &[], Choice::To(IssuerId::new("UNION").unwrap())),
            ("6225880012345675", &["UNION"], Choice::To(IssuerId::new("SPARE").unwrap())),
            ("6225880012345675", &["UNION", "SPARE"], Choice::Unavailable(IssuerId::new("UNION").unwrap())),
            ("5555555555554444", &[], Choice::Unknown),
        ];
        for (pan, down, want) in rows {
            let pan = Pan::parse(pan).unwrap();
            let healthy = |issuer: IssuerId| !down.contains(&issuer.trimmed());
            assert_eq!(table.choose(&pan, healthy), *want, "{pan} without {down:?}");
        }
    }
}
