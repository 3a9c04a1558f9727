//! A terminal's batch as arithmetic: host totals, their comparison, what follows. Pure: knows neither
//! store nor wire, and no clock.
//!
//! Two conventions count the same batch differently. UnionPay is gross: a voided sale stays in debit
//! and its void stands in credit. EDC is net: a voided sale is in no total, and neither is its void.

use crate::lifecycle::State;
use crate::transaction::{Balance, Kind, Side, SideTotals, Totals};

/// A line of a batch: all transactions of one kind and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The kind.
    pub kind: Kind,
    /// The state.
    pub state: State,
    /// For a void: the kind it voided.
    pub original_kind: Option<Kind>,
    /// How many.
    pub count: u32,
    /// Sum, minor units.
    pub minor: i64,
}

/// How a terminal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// UnionPay: voids on the side opposite to what they void, the voided stays counted.
    Gross,
    /// EDC: a void takes its original out of the totals and is itself in none.
    Net(EdcVoids),
}

/// Where an EDC terminal counts voids: lines of terminals differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EdcVoids {
    /// The sale pair is sales less voids (the usual).
    #[default]
    Net,
    /// The sale pair stays gross and voids of sales are in the refund pair. A void of a refund takes
    /// the refund out of it.
    InRefund,
}

impl EdcVoids {
    /// The value of that name in a terminal profile: `net` or `in_refund`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "net" => Some(Self::Net),
            "in_refund" => Some(Self::InRefund),
            _ => None,
        }
    }
}

/// What the host does when totals differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfBalance {
    /// The terminal uploads its items; the batch closes at the end of the upload, whatever it shows.
    #[default]
    RequestUpload,
}

/// What follows a settlement request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Totals agree: the batch may close.
    Close,
    /// The terminal is to upload its items.
    Upload,
    /// Items are still open: the terminal asks again.
    Wait,
}

/// Totals that cannot be formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("batch totals out of range")]
pub struct TotalsRange;

/// Whether a line's outcome is unknown. Such a batch must neither agree nor close.
#[must_use]
pub fn has_open_items(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.count > 0 && line.state.is_open())
}

/// The host's totals. Declined, timed-out, reversed and open items are in none.
///
/// # Errors
/// [`TotalsRange`] when a count or a sum does not fit.
pub fn host_totals(lines: &[Line], convention: Convention) -> Result<Totals, TotalsRange> {
    let mut totals = Totals::default();
    for line in lines {
        match side_of(line, convention) {
            Side::Debit => add(&mut totals.debit, line)?,
            Side::Credit => add(&mut totals.credit, line)?,
            Side::None => {}
        }
    }
    Ok(totals)
}

/// Whether a terminal's totals agree with the host's: counts and sums of both sides.
#[must_use]
pub fn compare(terminal: &Totals, host: &Totals) -> Balance {
    if terminal == host { Balance::Balanced } else { Balance::Different }
}

/// Judges a settlement request: the host's totals with the result to answer, and what follows.
///
/// # Errors
/// [`TotalsRange`].
pub fn settle(
    lines: &[Line],
    convention: Convention,
    terminal: &Totals,
    policy: OutOfBalance,
) -> Result<(Totals, Balance, Step), TotalsRange> {
    let host = host_totals(lines, convention)?;
    if has_open_items(lines) {
        return Ok((host, Balance::Error, Step::Wait));
    }
    let balance = compare(terminal, &host);
    let step = match (balance, policy) {
        (Balance::Balanced, _) => Step::Close,
        (Balance::Different, OutOfBalance::RequestUpload) => Step::Upload,
        (Balance::Error, _) => Step::Wait,
    };
    Ok((host, balance, step))
}

fn add(side: &mut SideTotals, line: &Line) -> Result<(), TotalsRange> {
    side.count = side.count.checked_add(line.count).ok_or(TotalsRange)?;
    side.minor = side.minor.checked_add(line.minor).ok_or(TotalsRange)?;
    Ok(())
}

fn side_of(line: &Line, convention: Convention) -> Side {
    let voided = match line.state {
        State::Approved => false,
        State::Voided => true,
        State::Sent
        | State::Declined
        | State::TimedOut
        | State::Abandoned
        | State::Reversed
        | State::Cancelled
        | State::Completed => return Side::None,
    };
    let is_void = matches!(line.kind, Kind::Void | Kind::CompletionVoid);
    let voids_credit = line.original_kind.is_some_and(|kind| kind.side() == Side::Credit);
    match convention {
        Convention::Gross if is_void && voids_credit => Side::Debit,
        Convention::Gross => line.kind.side(),
        Convention::Net(_) if is_void && voids_credit => Side::None,
        Convention::Net(EdcVoids::Net) if is_void || voided => Side::None,
        Convention::Net(EdcVoids::InRefund) if voided && line.kind.side() == Side::Credit => Side::None,
        Convention::Net(_) => line.kind.side(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROSS: Convention = Convention::Gross;
    const NET: Convention = Convention::Net(EdcVoids::Net);
    const IN_REFUND: Convention = Convention::Net(EdcVoids::InRefund);

    fn line(kind: Kind, state: State, count: u32, minor: i64) -> Line {
        Line { kind, state, original_kind: None, count, minor }
    }

    fn void_of(kind: Kind, state: State, count: u32, minor: i64) -> Line {
        Line { kind: Kind::Void, state, original_kind: Some(kind), count, minor }
    }

    fn totals(debit: (u32, i64), credit: (u32, i64)) -> Totals {
        let side = |(count, minor)| SideTotals { count, minor };
        Totals { debit: side(debit), credit: side(credit) }
    }

    #[test]
    fn host_totals_follow_the_convention() {
        use Kind::*;
        use State::*;
        type Row = (&'static str, Vec<Line>, [Totals; 3]);
        let rows: Vec<Row> = vec![
            ("empty", vec![], [Totals::default(); 3]),
            (
                "a sale of 100 and its void",
                vec![line(Sale, Voided, 1, 10_000), void_of(Sale, Approved, 1, 10_000)],
                [totals((1, 10_000), (1, 10_000)), totals((0, 0), (0, 0)), totals((1, 10_000), (1, 10_000))],
            ),
            (
                "a void that was reversed: the sale stays, the void leaves",
                vec![line(Sale, Approved, 1, 10_000), void_of(Sale, Reversed, 1, 10_000)],
                [totals((1, 10_000), (0, 0)); 3],
            ),
            (
                "everything that counts on the debit side",
                vec![
                    line(Sale, Approved, 2, 300),
                    line(Completion, Approved, 1, 20),
                    line(CompletionAdvice, Approved, 1, 4),
                    line(OfflineSale, Approved, 1, 5),
                ],
                [totals((5, 329), (0, 0)); 3],
            ),
            (
                "a refund",
                vec![line(Sale, Approved, 1, 100), line(Refund, Approved, 1, 40)],
                [totals((1, 100), (1, 40)); 3],
            ),
            (
                "a refund and its void",
                vec![line(Refund, Voided, 1, 40), void_of(Refund, Approved, 1, 40)],
                [totals((1, 40), (1, 40)), totals((0, 0), (0, 0)), totals((0, 0), (0, 0))],
            ),
            (
                "a completion and its void",
                vec![
                    line(Completion, Voided, 1, 70),
                    Line {
                        kind: CompletionVoid,
                        original_kind: Some(Completion),
                        ..line(Void, Approved, 1, 70)
                    },
                ],
                [totals((1, 70), (1, 70)), totals((0, 0), (0, 0)), totals((1, 70), (1, 70))],
            ),
            (
                "what moved no money",
                vec![
                    line(Sale, Declined, 1, 1),
                    line(Sale, TimedOut, 1, 2),
                    line(Sale, Reversed, 1, 4),
                    line(Sale, Sent, 1, 8),
                    line(Sale, Abandoned, 1, 16),
                    line(PreAuth, Approved, 1, 32),
                    line(PreAuth, Completed, 1, 64),
                    line(PreAuthCancel, Approved, 1, 128),
                    line(Balance, Approved, 1, 0),
                    line(Reversal, Approved, 1, 256),
                ],
                [Totals::default(); 3],
            ),
        ];
        for (name, lines, want) in rows {
            for (convention, want) in [GROSS, NET, IN_REFUND].into_iter().zip(want) {
                assert_eq!(host_totals(&lines, convention), Ok(want), "{name}: {convention:?}");
            }
        }
    }

    #[test]
    fn a_settlement_request_is_judged() {
        let sale = vec![line(Kind::Sale, State::Approved, 1, 10_000)];
        let open = vec![line(Kind::Sale, State::Sent, 1, 10_000)];
        let voided =
            vec![line(Kind::Sale, State::Voided, 1, 10_000), void_of(Kind::Sale, State::Approved, 1, 10_000)];
        let rows = [
            (
                "gross agrees",
                &voided,
                GROSS,
                totals((1, 10_000), (1, 10_000)),
                Balance::Balanced,
                Step::Close,
            ),
            ("net agrees", &voided, NET, totals((0, 0), (0, 0)), Balance::Balanced, Step::Close),
            ("one cent off", &sale, GROSS, totals((1, 10_001), (0, 0)), Balance::Different, Step::Upload),
            ("one count off", &sale, NET, totals((2, 10_000), (0, 0)), Balance::Different, Step::Upload),
            ("sides swapped", &sale, NET, totals((0, 0), (1, 10_000)), Balance::Different, Step::Upload),
            ("still open", &open, GROSS, totals((0, 0), (0, 0)), Balance::Error, Step::Wait),
        ];
        for (name, lines, convention, terminal, balance, step) in rows {
            let got = settle(lines, convention, &terminal, OutOfBalance::RequestUpload).unwrap();
            assert_eq!((got.1, got.2), (balance, step), "{name}");
        }
    }

    #[test]
    fn totals_that_do_not_fit_are_refused() {
        let huge = vec![line(Kind::Sale, State::Approved, 1, i64::MAX); 2];
        assert_eq!(host_totals(&huge, GROSS), Err(TotalsRange));
        let many = vec![line(Kind::Sale, State::Approved, u32::MAX, 0); 2];
        assert_eq!(host_totals(&many, GROSS), Err(TotalsRange));
    }

    #[test]
    fn profile_values_are_read_by_name() {
        let rows = [("net", Some(EdcVoids::Net)), ("in_refund", Some(EdcVoids::InRefund)), ("gross", None)];
        for (name, want) in rows {
            assert_eq!(EdcVoids::from_name(name), want, "{name}");
        }
    }
}
