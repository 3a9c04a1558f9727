//! Where the daemon dies: every point, several times, in an order and after counts left to chance.

use crate::chance::Chance;
use std::ops::Range;

/// A point, and after how many passages the daemon dies there: few where few pass.
pub(crate) struct Point {
    pub(crate) name: &'static str,
    passages: Range<u64>,
}

const fn point(name: &'static str, passages: Range<u64>) -> Point {
    Point { name, passages }
}

/// Every point of the daemon's hidden option.
pub(crate) const POINTS: [Point; 16] = [
    point("commit-before", 20..300),
    point("commit-after", 20..300),
    point("issuer-write-before", 20..200),
    point("issuer-write-after", 20..200),
    point("terminal-write-before", 20..200),
    point("terminal-write-after", 20..200),
    point("sent-durable", 20..200),
    point("answer-received", 20..200),
    point("outcome-durable", 20..200),
    point("advice-durable", 1..8),
    point("reversal-durable", 1..8),
    point("saf-sending-durable", 1..12),
    point("saf-done-durable", 1..12),
    point("keys-durable", 1..4),
    point("batch-settled", 1..4),
    point("batch-closed", 1..3),
];

/// So many deaths at each point. Every start takes ten thousand of a link's trace numbers, and the auditor wants to see
/// none of the million twice.
const ROUNDS: usize = 5;

/// One death.
pub(crate) struct Plan {
    pub(crate) point: &'static str,
    pub(crate) count: u64,
    pub(crate) fault: Option<&'static str>,
}

impl Plan {
    /// As the daemon's hidden option takes it.
    pub(crate) fn text(&self) -> String {
        let fault = self.fault.map_or_else(String::new, |fault| format!("fault={fault},"));
        format!("{fault}{}:{}", self.point, self.count)
    }
}

/// Every point in every round; and a commit or two while the daemon starts, which has something to recover
/// by then.
pub(crate) fn plans(chance: &mut Chance) -> Vec<Plan> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let mut round: Vec<Plan> = POINTS
            .iter()
            .map(|point| Plan {
                point: point.name,
                count: chance.within(point.passages.clone()),
                fault: None,
            })
            .collect();
        chance.shuffle(&mut round);
        let early = chance.pick(&["commit-before", "commit-after"]);
        round.insert(4, Plan { point: early, count: chance.within(1..5), fault: None });
        all.append(&mut round);
    }
    all
}
