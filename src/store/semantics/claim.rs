//! A transaction that refers to an earlier one: finding it, judging it, claiming it.

use super::batch::Terminal;
use super::keys::{self, Key};
use crate::lifecycle::{ClaimKind, State, apply};
use crate::store::rows;
use crate::store::sql::Sql;
use crate::store::{Claim, NewTransaction, Outcome, StoreError, Stored};
use crate::transaction::{Amount, BatchNo, Kind, Refusal, TxnId};

/// What looking for an original came to.
pub(super) enum Found {
    /// It is there and may be claimed.
    Original(Box<Stored>),
    /// There is none, and none is needed.
    Nothing,
    /// The request ends here.
    No(Outcome),
}

/// Finds the original and judges it. Writes nothing.
pub(super) fn find(
    sql: &mut dyn Sql,
    new: &NewTransaction,
    claim: &Claim,
    batch: BatchNo,
) -> Result<Found, StoreError> {
    let verdict = match search(sql, new, claim, batch)? {
        None => Err(Refusal::OriginalNotFound),
        Some(original) => judge(new, claim, batch, &original).map(|()| original),
    };
    Ok(match verdict {
        Ok(original) if original.issuer != new.issuer => Found::No(Outcome::OtherRoute(original.issuer)),
        Ok(original) => Found::Original(original),
        Err(_) if claim.lenient => Found::Nothing,
        Err(refusal) => Found::No(Outcome::Refused(refusal)),
    })
}

/// By trace number in its batch, then by RRN, then by invoice or authorisation id at the terminal.
fn search(
    sql: &mut dyn Sql,
    new: &NewTransaction,
    claim: &Claim,
    batch: BatchNo,
) -> Result<Option<Box<Stored>>, StoreError> {
    let (terminal, key) = (Terminal { mid: new.mid, tid: new.tid }, &claim.key);
    if let Some(stan) = key.stan
        && let Key::Used(id) = keys::look(sql, terminal, (key.batch.unwrap_or(batch), stan))?
        && let Some(found) = rows::find_locked(sql, id)?
        && agrees(claim, &found)
    {
        return Ok(Some(Box::new(found)));
    }
    let mut candidates = Vec::new();
    if let Some(rrn) = key.rrn {
        candidates = by_rrn(sql, rrn.trimmed())?;
    } else if key.invoice.is_some() || key.auth_code.is_some() {
        candidates = at_terminal(sql, new, claim)?;
    }
    for id in candidates {
        if let Some(found) = rows::find_locked(sql, id)?
            && found.mid == new.mid
            && agrees(claim, &found)
        {
            return Ok(Some(Box::new(found)));
        }
    }
    Ok(None)
}

/// Everything else that the terminal named fits.
fn agrees(claim: &Claim, found: &Stored) -> bool {
    fn same<T: PartialEq>(named: Option<&T>, stored: Option<&T>) -> bool {
        named.is_none() || stored.is_none() || named == stored
    }
    found.kind != Kind::Reversal
        && same(claim.key.rrn.as_ref(), Some(&found.rrn))
        && same(claim.key.auth_code.as_ref(), found.auth_code.as_ref())
        && same(claim.key.invoice.as_ref(), found.invoice.as_ref())
}

/// Newest first; an RRN is unique in its business day only.
fn by_rrn(sql: &mut dyn Sql, rrn: &str) -> Result<Vec<TxnId>, StoreError> {
    let find = "SELECT id FROM txn WHERE day IN (SELECT day FROM business_day) AND rrn = $1 ORDER BY id DESC";
    sql.query(find, &[rrn.into()])?.into_iter().map(|mut row| Ok(TxnId(row.int()?))).collect()
}

/// The terminal's own transactions with that invoice or authorisation id, newest first.
fn at_terminal(sql: &mut dyn Sql, new: &NewTransaction, claim: &Claim) -> Result<Vec<TxnId>, StoreError> {
    let terminal = Terminal { mid: new.mid, tid: new.tid };
    let mut found = Vec::new();
    let all = concat!(
        "SELECT t.id, t.invoice, t.auth_code ",
        keys::of_batch!(),
        "WHERE k.mid = $1 AND k.tid = $2 ORDER BY t.id DESC"
    );
    for mut row in keys::query(sql, terminal, all, &terminal.args())? {
        let (id, invoice, auth_code) = (TxnId(row.int()?), row.opt_text()?, row.opt_text()?);
        let by_invoice = claim.key.invoice.is_some() && claim.key.invoice == invoice;
        let by_code = claim.key.invoice.is_none()
            && claim.key.auth_code.is_some_and(|code| auth_code.as_deref() == Some(code.trimmed()));
        if by_invoice || by_code {
            found.push(id);
        }
    }
    Ok(found)
}

/// Whether the original may be claimed so, in the order in which a person would look at it.
fn judge(new: &NewTransaction, claim: &Claim, batch: BatchNo, original: &Stored) -> Result<(), Refusal> {
    let here = original.mid == new.mid
        && (claim.how != ClaimKind::Void || (original.tid == new.tid && original.batch == batch))
        && claim.how.accepts(new.kind, original.kind);
    if !here {
        return Err(Refusal::OriginalNotFound);
    }
    if let (Some(named), Some(stored)) = (&new.pan, &original.pan)
        && named.lookup != stored.lookup
    {
        return Err(Refusal::OriginalCard);
    }
    standing(claim.how, original)?;
    if fits(new.amount, claim, original) { Ok(()) } else { Err(Refusal::OriginalAmount) }
}

fn standing(how: ClaimKind, original: &Stored) -> Result<(), Refusal> {
    match original.state {
        State::Approved => {}
        State::Cancelled if matches!(how, ClaimKind::Cancel | ClaimKind::Complete) => {
            return Err(Refusal::OriginalNotFound);
        }
        State::Voided | State::Cancelled | State::Completed => return Err(Refusal::InvalidTransaction),
        State::Sent | State::Abandoned | State::Declined | State::TimedOut | State::Reversed => {
            return Err(Refusal::OriginalNotFound);
        }
    }
    let refunded = how == ClaimKind::Void && original.refunded_minor > 0;
    if original.claimed_by.is_some() || refunded { Err(Refusal::InvalidTransaction) } else { Ok(()) }
}

fn fits(amount: Option<Amount>, claim: &Claim, original: &Stored) -> bool {
    let (Some(amount), Some(held)) = (amount, original.amount) else { return true };
    if amount.currency() != held.currency() {
        return false;
    }
    let limit = match claim.how {
        ClaimKind::Void | ClaimKind::Cancel => return amount == held,
        // Twelve digits times a percentage stay within 64 bits; the division rounds down.
        ClaimKind::Complete => held.minor().saturating_mul(i64::from(claim.ceiling_percent)) / 100,
        ClaimKind::Refund => held.minor() - original.refunded_minor,
    };
    amount.minor() <= limit
}

/// Marks the original as claimed.
pub(super) fn take(
    sql: &mut dyn Sql,
    how: ClaimKind,
    new: &NewTransaction,
    original: &Stored,
) -> Result<(), StoreError> {
    if how == ClaimKind::Refund {
        return add_refunded(sql, original.id, new.amount.map_or(0, Amount::minor));
    }
    let claim = "UPDATE txn SET claimed_by = $1 WHERE id = $2 AND state = $3 AND claimed_by IS NULL";
    let args = [new.id.0.into(), original.id.0.into(), State::Approved.name().into()];
    if sql.execute(claim, &args)? == 1 {
        Ok(())
    } else {
        Err(StoreError::Unavailable("an original was claimed meanwhile".into()))
    }
}

/// Adds to (or, when negative, takes from) what was refunded of a transaction.
pub(super) fn add_refunded(sql: &mut dyn Sql, id: TxnId, minor: i64) -> Result<(), StoreError> {
    let add = "UPDATE txn SET refunded = refunded + $1 WHERE id = $2";
    sql.execute(add, &[minor.into(), id.0.into()])?;
    Ok(())
}

/// The claim becomes final.
pub(super) fn settle(
    sql: &mut dyn Sql,
    kind: Kind,
    claimant: TxnId,
    original: TxnId,
) -> Result<(), StoreError> {
    let Some(event) = ClaimKind::of(kind).and_then(ClaimKind::settles_as) else { return Ok(()) };
    let Some(transition) = apply(State::Approved, event) else { return Ok(()) };
    let args =
        [transition.next.name().into(), original.0.into(), State::Approved.name().into(), claimant.0.into()];
    let settled =
        sql.execute("UPDATE txn SET state = $1 WHERE id = $2 AND state = $3 AND claimed_by = $4", &args)?;
    if settled == 1 && kind == Kind::Void {
        restore_refund(sql, original, -1)?;
    }
    Ok(())
}

/// The claim is given back: the original stands as before, even where it was settled already
/// (a reversed void reinstates the sale).
pub(super) fn release(sql: &mut dyn Sql, claimant: &Stored) -> Result<(), StoreError> {
    let (Some(original), Some(how)) = (claimant.original, ClaimKind::of(claimant.kind)) else {
        return Ok(());
    };
    let Some(event) = how.settles_as() else {
        return add_refunded(sql, original, -claimant.amount.map_or(0, Amount::minor));
    };
    let settled = apply(State::Approved, event).map_or(State::Approved, |t| t.next);
    let free = [original.0.into(), claimant.id.0.into()];
    let back =
        [State::Approved.name().into(), original.0.into(), settled.name().into(), claimant.id.0.into()];
    let reinstated =
        sql.execute("UPDATE txn SET state = $1 WHERE id = $2 AND state = $3 AND claimed_by = $4", &back)?;
    sql.execute("UPDATE txn SET claimed_by = NULL WHERE id = $1 AND claimed_by = $2", &free)?;
    if reinstated == 1 && claimant.kind == Kind::Void {
        restore_refund(sql, original, 1)?;
    }
    Ok(())
}

/// A refund that is voided gives the refunded part back to its sale, and takes it again when the
/// void is reversed.
fn restore_refund(sql: &mut dyn Sql, voided: TxnId, sign: i64) -> Result<(), StoreError> {
    let refund = rows::load(sql, voided)?;
    match (refund.kind, refund.original) {
        (Kind::Refund, Some(sale)) => add_refunded(sql, sale, sign * refund.amount.map_or(0, Amount::minor)),
        (
            Kind::Balance
            | Kind::Sale
            | Kind::Void
            | Kind::Refund
            | Kind::PreAuth
            | Kind::PreAuthCancel
            | Kind::Completion
            | Kind::CompletionAdvice
            | Kind::CompletionVoid
            | Kind::OfflineSale
            | Kind::Reversal,
            _,
        ) => Ok(()),
    }
}
