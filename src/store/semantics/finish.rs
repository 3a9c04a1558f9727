//! The outcome of a transaction: the table of states applied as a conditional update, with its effects.

use super::{claim, saf};
use crate::lifecycle::{Effect, Event, State, Transition, apply, needs_issuer_reversal};
use crate::store::rows;
use crate::store::sql::Sql;
use crate::store::{Finish, Outcome, SafKind, StoreError, Stored};
use crate::transaction::{Amount, Kind, NodeId, Refusal, TxnId};

macro_rules! update {
    () => {
        "UPDATE txn SET state = $1, code = $2, refusal = $3, auth_code = coalesce($4, auth_code), \
         issuer_rrn = $5, amount = coalesce($6, amount), additional_amounts = $7, icc = $8, finished_ms = $9 \
         WHERE id = $10 AND state = $11"
    };
}
const UPDATE: &str = update!();
/// For what claims nothing.
const UPDATE_ALONE: &str = concat!(update!(), " AND original IS NULL");

/// Applies [`crate::store::Op::Finish`].
pub(super) fn finish(sql: &mut dyn Sql, finish: &Finish) -> Result<Outcome, StoreError> {
    let mut from = State::Sent;
    loop {
        let Some(transition) = apply(from, finish.event) else { return Ok(Outcome::Lost { state: from }) };
        if let Some(outcome) = step(sql, finish, from, transition)? {
            return Ok(outcome);
        }
        // Not in that state: see where it is. A state never comes back, so this ends.
        let Some(stored) = rows::find_locked(sql, finish.id)? else {
            return Err(StoreError::Corrupt("an outcome of a transaction that is not stored".into()));
        };
        if is_own(finish, &stored) {
            return again(sql, &stored);
        }
        from = stored.state;
    }
}

/// One conditional update; `None` when the transaction is not in that state.
fn step(
    sql: &mut dyn Sql,
    finish: &Finish,
    from: State,
    transition: Transition,
) -> Result<Option<Outcome>, StoreError> {
    let args = [
        transition.next.name().into(),
        finish.code.as_ref().map(|c| c.trimmed()).into(),
        finish.refusal.map(Refusal::name).into(),
        finish.auth_code.as_ref().map(|c| c.trimmed()).into(),
        finish.issuer_rrn.as_ref().map(|r| r.trimmed()).into(),
        finish.approved.map(Amount::minor).into(),
        finish.additional_amounts.as_ref().into(),
        finish.icc.as_deref().into(),
        finish.finished_ms.into(),
        finish.id.0.into(),
        from.name().into(),
    ];
    let queues = transition.effects.contains(&Effect::QueueReversal);
    // Most transactions claim nothing, and so have no effect on another.
    if !queues && sql.execute(UPDATE_ALONE, &args)? == 1 {
        return Ok(Some(Outcome::Finished { state: transition.next, reversal_queued: false }));
    }
    if sql.execute(UPDATE, &args)? == 0 {
        return Ok(None);
    }
    // A statement of its own: SQLite gathers what an UPDATE returns in a temporary table, which costs more.
    let mut row = sql
        .first("SELECT original, kind FROM txn WHERE id = $1", &[finish.id.0.into()])?
        .ok_or_else(|| StoreError::Corrupt("a transaction is gone".into()))?;
    let (original, kind) = (row.opt_int()?, row.name(Kind::from_name)?);
    let mut reversal_queued = false;
    if original.is_some() || queues {
        let stored = rows::load(sql, finish.id)?;
        reversal_queued = effects(sql, &stored, transition.effects, finish.finished_ms)?;
        if kind == Kind::Refund && finish.event == Event::Approved {
            refund_in_part(sql, &stored)?;
        }
    }
    Ok(Some(Outcome::Finished { state: transition.next, reversal_queued }))
}

/// A refund that was approved in part counts with its part.
fn refund_in_part(sql: &mut dyn Sql, refund: &Stored) -> Result<(), StoreError> {
    let (Some(sale), Some(asked), Some(given)) = (refund.original, refund.requested, refund.amount) else {
        return Ok(());
    };
    if asked == given { Ok(()) } else { claim::add_refunded(sql, sale, given.minor() - asked.minor()) }
}

/// Does what goes with a transition; whether a reversal was queued.
pub(super) fn effects(
    sql: &mut dyn Sql,
    stored: &Stored,
    effects: &[Effect],
    at_ms: i64,
) -> Result<bool, StoreError> {
    let mut queued = false;
    for effect in effects {
        match effect {
            Effect::QueueReversal if needs_issuer_reversal(stored.kind) => {
                let entry =
                    saf::Entry { issuer: stored.issuer, what: SafKind::Reversal, txn: stored.id, at_ms };
                saf::queue(sql, &entry, stored.pan.as_ref())?;
                queued = true;
            }
            Effect::QueueReversal => {}
            Effect::SettleClaim => {
                if let Some(original) = stored.original {
                    claim::settle(sql, stored.kind, stored.id, original)?;
                }
            }
            Effect::ReleaseClaim => claim::release(sql, stored)?,
        }
    }
    Ok(queued)
}

/// The stored outcome is this very one, so the op ran before.
fn is_own(finish: &Finish, stored: &Stored) -> bool {
    let approved = finish.event == Event::Approved;
    let stored_approved = !matches!(stored.state, State::Declined | State::TimedOut | State::Sent);
    stored.finished_ms == Some(finish.finished_ms)
        && stored.code == finish.code
        && stored.refusal == finish.refusal
        && (stored.auth_code == finish.auth_code || finish.auth_code.is_none())
        && (approved == stored_approved || stored.state == State::Reversed)
}

fn again(sql: &mut dyn Sql, stored: &Stored) -> Result<Outcome, StoreError> {
    let reversal_queued = saf::holds(sql, stored.id, SafKind::Reversal)?;
    Ok(Outcome::Finished { state: stored.state, reversal_queued })
}

/// Applies [`crate::store::Op::Recover`].
pub(super) fn recover(sql: &mut dyn Sql, node: NodeId, now_ms: i64) -> Result<Outcome, StoreError> {
    let open = "SELECT id FROM txn WHERE node = $1 AND state IN ('sent', 'abandoned') ORDER BY id";
    let mut recovered = 0;
    for mut row in sql.query_locked(open, &[i64::from(node.0).into()])? {
        let stored = rows::load(sql, TxnId(row.int()?))?;
        let Some(transition) = apply(stored.state, Event::Recovered) else { continue };
        let args = [
            transition.next.name().into(),
            Refusal::IssuerTimeout.name().into(),
            now_ms.into(),
            stored.id.0.into(),
            stored.state.name().into(),
        ];
        let done = "UPDATE txn SET state = $1, refusal = $2, finished_ms = $3 WHERE id = $4 AND state = $5";
        if sql.execute(done, &args)? == 1 {
            effects(sql, &stored, transition.effects, now_ms)?;
            recovered += 1;
        }
    }
    Ok(Outcome::Recovered(recovered))
}
