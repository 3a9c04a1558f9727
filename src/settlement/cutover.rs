//! The cut-over: an event in the order of commits, never a test of a clock.

use super::SettlementError;
use crate::store::{Backend, Committed, Op, Outcome, Reader};
use crate::transaction::Day;

/// Closes the open business day and opens the next calendar day. Answers which closed and which opened.
///
/// # Errors
/// [`SettlementError::NotCutOver`] when another day is open afterwards; [`SettlementError::Store`].
pub fn cut_over(
    reader: &mut dyn Reader,
    backend: &mut dyn Backend,
    now_ms: i64,
) -> Result<(Day, Day), SettlementError> {
    let (from, _) = reader.day()?;
    let to = from.next();
    let answers = backend.commit(&[Op::CutOver { from, to, at_ms: now_ms }])?;
    let done = |answer: &Committed| answer.day == to && matches!(answer.outcome, Outcome::Done);
    if to != from && answers.first().is_some_and(done) {
        Ok((from, to))
    } else {
        Err(SettlementError::NotCutOver(from))
    }
}
