//! A terminal's reversal: what it finds, and what it undoes.

use super::keys::{self, Key};
use super::{batch, finish};
use crate::lifecycle::{Event, State, apply};
use crate::store::rows;
use crate::store::sql::Sql;
use crate::store::{Outcome, ReversalOutcome, Reverse, StoreError, Stored};
use crate::transaction::{Amount, BatchNo, Day, Kind, Stan, TxnId};

/// Applies [`crate::store::Op::Reverse`].
pub(super) fn reverse(sql: &mut dyn Sql, day: Day, op: &Reverse) -> Result<Outcome, StoreError> {
    judged(sql, day, op).map(Outcome::Reversal)
}

fn judged(sql: &mut dyn Sql, day: Day, op: &Reverse) -> Result<ReversalOutcome, StoreError> {
    let terminal = batch::Terminal { mid: op.mid, tid: op.tid };
    let number = match op.batch {
        Some(number) => number,
        None => batch::open(sql, terminal)?,
    };
    if batch::is_closed(sql, terminal, number)? {
        return Ok(ReversalOutcome::Unknown);
    }
    let id = match keys::look(sql, terminal, (number, op.stan))? {
        Key::Used(id) => id,
        Key::Tombstone => return Ok(ReversalOutcome::Unknown),
        Key::Free => return bury(sql, terminal, (number, op.stan)),
    };
    let original = rows::find_locked(sql, id)?
        .ok_or_else(|| StoreError::Corrupt("a key leads to a transaction that is missing".into()))?;
    if original.processing_code != op.processing_code {
        return Ok(ReversalOutcome::Unknown);
    }
    undo(sql, day, op, original)
}

/// The reversal came before its transaction: the key is spent.
fn bury(
    sql: &mut dyn Sql,
    terminal: batch::Terminal,
    trace: (BatchNo, Stan),
) -> Result<ReversalOutcome, StoreError> {
    keys::spend(sql, terminal, trace, None)?;
    Ok(ReversalOutcome::Unknown)
}

fn undo(
    sql: &mut dyn Sql,
    day: Day,
    op: &Reverse,
    mut original: Stored,
) -> Result<ReversalOutcome, StoreError> {
    if claimant_in_flight(sql, original.id)? {
        return Ok(ReversalOutcome::Busy);
    }
    // What was refunded is not given back a second time.
    let refunded = original.state == State::Approved && original.refunded_minor > 0;
    let Some(transition) = apply(original.state, Event::TerminalReversal).filter(|_| !refunded) else {
        return Ok(ReversalOutcome::NothingToDo(Box::new(original)));
    };
    if transition.next == original.state {
        return repeated(sql, op, original);
    }
    let change = "UPDATE txn SET state = $1 WHERE id = $2 AND state = $3";
    let args = [transition.next.name().into(), original.id.0.into(), original.state.name().into()];
    if sql.execute(change, &args)? != 1 {
        return Err(StoreError::Unavailable("a transaction changed while it was reversed".into()));
    }
    finish::effects(sql, &original, transition.effects, op.received_ms)?;
    record(sql, day, op, &original)?;
    original.state = transition.next;
    Ok(if original.state == State::Abandoned {
        ReversalOutcome::InFlight(Box::new(original))
    } else {
        ReversalOutcome::Reversed(Box::new(original))
    })
}

/// Undone before: by this very op (its answer was lost), or by an earlier one.
fn repeated(sql: &mut dyn Sql, op: &Reverse, original: Stored) -> Result<ReversalOutcome, StoreError> {
    let own = rows::find(sql, op.id)?.is_some_and(|row| row.original == Some(original.id));
    Ok(match original.state {
        State::Abandoned => ReversalOutcome::InFlight(Box::new(original)),
        State::Reversed if own => ReversalOutcome::Reversed(Box::new(original)),
        State::Sent
        | State::Approved
        | State::Declined
        | State::TimedOut
        | State::Reversed
        | State::Voided
        | State::Cancelled
        | State::Completed => ReversalOutcome::NothingToDo(Box::new(original)),
    })
}

fn claimant_in_flight(sql: &mut dyn Sql, original: TxnId) -> Result<bool, StoreError> {
    let find = "SELECT id FROM txn WHERE original = $1 AND state IN ('sent', 'abandoned') LIMIT 1";
    Ok(sql.first(find, &[original.0.into()])?.is_some())
}

/// The reversal itself, as a row beside its original.
fn record(sql: &mut dyn Sql, day: Day, op: &Reverse, original: &Stored) -> Result<(), StoreError> {
    let insert = "INSERT INTO txn (id, state, day, node, dialect, kind, processing_code, tid, mid, batch, stan, \
                  currency, requested, amount, refunded, card_cipher, card_lookup, card_masked, entry_mode, \
                  condition, terminal_time, rrn, code, issuer, link_stan, link_time, original, received_ms, \
                  finished_ms, key_generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
                  $14, 0, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, 0) \
                  ON CONFLICT (id) DO NOTHING";
    let pan = original.pan.as_ref();
    let minor = original.amount.map(Amount::minor);
    sql.execute(
        insert,
        &[
            op.id.0.into(),
            State::Approved.name().into(),
            i64::from(day.0).into(),
            i64::from(op.node.0).into(),
            op.dialect.name().into(),
            Kind::Reversal.name().into(),
            op.processing_code.trimmed().into(),
            op.tid.trimmed().into(),
            op.mid.trimmed().into(),
            original.batch.number().into(),
            op.stan.number().into(),
            original.amount.map(|a| i64::from(a.currency().numeric())).into(),
            minor.into(),
            minor.into(),
            pan.map(|p| p.cipher.as_slice()).into(),
            rows::card(pan),
            pan.map(|p| p.masked.as_str()).into(),
            (&original.entry_mode).into(),
            (&original.condition).into(),
            (&original.terminal_time).into(),
            op.rrn.trimmed().into(),
            op.reason.as_ref().map(|r| r.trimmed()).into(),
            original.issuer.trimmed().into(),
            original.link_stan.map(Stan::number).into(),
            original.link_time.trimmed().into(),
            original.id.0.into(),
            op.received_ms.into(),
            op.received_ms.into(),
        ],
    )?;
    Ok(())
}
