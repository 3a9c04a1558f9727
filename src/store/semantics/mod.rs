//! What each op means, written once over [`Sql`] and run by both stores inside their transaction.
//!
//! An op that answers [`Outcome::Refused`] has stored nothing that counts: what is checked is
//! checked before the first write. Knows no driver and no dialect of SQL.

mod batch;
mod claim;
mod clearing;
mod finish;
mod keys;
mod reference;
mod reverse;
mod rewrap;
mod saf;
mod send;
mod zone;

pub(super) use batch::{Terminal, read_settle, settle_columns};
pub(super) use keys::{is_own, merge, take_over};
pub(super) use zone::{ALL as ZONE_KEYS, read as read_zone_key};

use super::sql::Sql;
use super::{Committed, Op, Outcome, StoreError};
use crate::transaction::Day;

/// The row that every commit reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The open business day.
    pub(super) day: Day,
    /// Moves when reference data changes.
    pub(super) revision: i64,
}

const CLOCK: &str = "SELECT day, revision FROM clock WHERE one = 1";

/// Reads the clock row, which then stands still until the commit: a cut-over waits for this
/// commit, or this commit for it. Ops that move the row keep everybody else from it.
pub(super) fn clock_held(sql: &mut dyn Sql, ops: &[Op]) -> Result<Clock, StoreError> {
    let moves =
        ops.iter().any(|op| matches!(op, Op::CutOver { .. } | Op::Put(_) | Op::Rewrap(_) | Op::ZoneKey(_)));
    let rows = if moves { sql.query_locked(CLOCK, &[])? } else { sql.query_shared(CLOCK, &[])? };
    read_clock(rows.into_iter().next())
}

/// Reads the clock row as it is now, for people.
pub(super) fn clock(sql: &mut dyn Sql) -> Result<Clock, StoreError> {
    read_clock(sql.first(CLOCK, &[])?)
}

fn read_clock(row: Option<super::sql::Row>) -> Result<Clock, StoreError> {
    let mut row = row.ok_or_else(|| StoreError::Corrupt("the clock row is missing".into()))?;
    Ok(Clock { day: Day(row.number()?), revision: row.int()? })
}

/// Creates the clock row of a new store; an old one keeps its own.
pub(super) fn found(sql: &mut dyn Sql, first_day: Day) -> Result<(), StoreError> {
    let day = i64::from(first_day.0);
    let new = "INSERT INTO clock (one, day, revision) VALUES (1, $1, 1) ON CONFLICT (one) DO NOTHING";
    if sql.execute(new, &[day.into()])? == 1 {
        clearing::open_day(sql, first_day, 0)?;
    }
    Ok(())
}

/// Applies one op.
pub(super) fn apply(sql: &mut dyn Sql, clock: &mut Clock, op: &Op) -> Result<Committed, StoreError> {
    let outcome = match op {
        Op::Send(new) => send::send(sql, clock.day, new)?,
        Op::Finish(finish) => finish::finish(sql, finish)?,
        Op::Reverse(reverse) => reverse::reverse(sql, clock.day, reverse)?,
        Op::SignOn { tid, mid, keys, at_ms } => {
            batch::sign_on(sql, batch::Terminal { mid: *mid, tid: *tid }, keys.as_ref(), *at_ms)?
        }
        Op::KeysProven { tid, mid, generation } => {
            batch::keys_proven(sql, batch::Terminal { mid: *mid, tid: *tid }, *generation)?
        }
        Op::ClaimKeyUses { tid, mid, generation, count } => {
            batch::claim_key_uses(sql, batch::Terminal { mid: *mid, tid: *tid }, *generation, *count)?
        }
        Op::BatchLines { tid, mid, batch } => {
            batch::lines(sql, batch::Terminal { mid: *mid, tid: *tid }, *batch)?
        }
        Op::Settle(settle) => batch::settle(sql, settle)?,
        Op::Upload { tid, mid, batch, items, at_ms: _ } => {
            batch::upload(sql, batch::Terminal { mid: *mid, tid: *tid }, *batch, items)?
        }
        Op::CloseBatch { tid, mid, batch, uploaded, reason, at_ms } => {
            let how = batch::Closing { reason: *reason, uploaded: *uploaded, at_ms: *at_ms };
            batch::close(sql, batch::Terminal { mid: *mid, tid: *tid }, *batch, &how)?
        }
        Op::SafDue { issuer, node, now_ms, lease_ms, limit } => {
            let ask = saf::Ask {
                issuer: *issuer,
                node: *node,
                now_ms: *now_ms,
                lease_ms: *lease_ms,
                limit: *limit,
            };
            saf::due(sql, &ask)?
        }
        Op::SafSending { id, stan, rrn, link_time } => saf::sending(sql, *id, (*stan, *rrn, *link_time))?,
        Op::SafDone { id, verdict } => saf::done(sql, *id, *verdict)?,
        Op::Reserve { counter, count, max } => reference::reserve(sql, counter, *count, *max)?,
        Op::Recover { node, now_ms } => finish::recover(sql, *node, *now_ms)?,
        Op::CutOver { from, to, at_ms } => clearing::cut_over(sql, clock, (*from, *to), *at_ms)?,
        Op::Put(reference) => reference::put(sql, clock, reference)?,
        Op::Rewrap(blocks) => rewrap::rewrap(sql, clock, blocks)?,
        Op::ZoneKey(change) => zone::change(sql, clock, change)?,
        Op::Cleared(cleared) => clearing::cleared(sql, cleared)?,
        Op::Ping => Outcome::Done,
    };
    Ok(Committed { outcome, day: clock.day, revision: clock.revision })
}
