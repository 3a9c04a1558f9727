//! Storing a transaction as sent: its batch, its key, its claim, its row.

use super::keys::{self, Key};
use super::{batch, claim, saf};
use crate::lifecycle::State;
use crate::store::rows::{self, Placed};
use crate::store::sql::Sql;
use crate::store::{NewTransaction, Outcome, SafKind, StoreError, Stored};
use crate::transaction::{Day, ResponseCode, TxnId};

/// Applies [`crate::store::Op::Send`].
pub(super) fn send(sql: &mut dyn Sql, day: Day, new: &NewTransaction) -> Result<Outcome, StoreError> {
    let spot = batch::enter(sql, new)?;
    let (terminal, trace) = (batch::Terminal { mid: new.mid, tid: new.tid }, (spot.number, new.stan));
    // What claims nothing and has room is refused for its key only, so that the key need not be looked at
    // before it is spent.
    if new.claim.is_none() && spot.has_room() && keys::spend_if_free(sql, terminal, trace, Some(new.id))? {
        return write(sql, new, &placed(day, &spot, new, None), None);
    }
    match keys::look(sql, terminal, trace)? {
        Key::Free => {}
        Key::Tombstone => return Ok(Outcome::ReversedBefore),
        Key::Used(id) if id == new.id => return again(sql, id),
        Key::Used(id) => return Ok(Outcome::Duplicate(Box::new(rows::load(sql, id)?))),
    }
    if let Some(refusal) = batch::admit(sql, new, &spot)? {
        return Ok(Outcome::Refused(refusal));
    }
    let original = match new.claim.as_ref() {
        None => None,
        Some(claim) => match claim::find(sql, new, claim, spot.number)? {
            claim::Found::Original(original) => Some(original),
            claim::Found::Nothing => None,
            claim::Found::No(outcome) => return Ok(outcome),
        },
    };
    keys::spend(sql, terminal, trace, Some(new.id))?;
    write(sql, new, &placed(day, &spot, new, original.as_deref()), original)
}

fn placed(day: Day, spot: &batch::Spot, new: &NewTransaction, original: Option<&Stored>) -> Placed {
    let advice = new.kind.is_advice();
    Placed {
        day,
        batch: spot.number,
        state: if advice { State::Approved } else { State::Sent },
        code: if advice { ResponseCode::new("00").ok() } else { None },
        original: original.map(|o| o.id),
    }
}

/// Writes a transaction whose key is spent, and what goes with it.
fn write(
    sql: &mut dyn Sql,
    new: &NewTransaction,
    placed: &Placed,
    original: Option<Box<Stored>>,
) -> Result<Outcome, StoreError> {
    if !rows::insert(sql, new, placed)? {
        return again(sql, new.id);
    }
    if let (Some(claim), Some(original)) = (new.claim.as_ref(), original.as_ref()) {
        claim::take(sql, claim.how, new, original)?;
    }
    if new.kind.is_advice() {
        if let Some(original) = placed.original {
            claim::settle(sql, new.kind, new.id, original)?;
        }
        let entry =
            saf::Entry { issuer: new.issuer, what: SafKind::Advice, txn: new.id, at_ms: new.received_ms };
        saf::queue(sql, &entry, new.pan.as_ref())?;
    }
    Ok(Outcome::Stored { batch: placed.batch, original })
}

/// The op found its own earlier effect.
fn again(sql: &mut dyn Sql, id: TxnId) -> Result<Outcome, StoreError> {
    let stored = rows::load(sql, id)?;
    let original = match stored.original {
        Some(original) => Some(Box::new(rows::load(sql, original)?)),
        None => None,
    };
    Ok(Outcome::Stored { batch: stored.batch, original })
}
