//! Store and forward: what must reach an issuer sooner or later, in the order of each card.

use super::reference;
use crate::store::rows;
use crate::store::sql::Sql;
use crate::store::{Outcome, SafEntry, SafKind, SafVerdict, StoreError};
use crate::transaction::{IssuerId, LinkTime, NodeId, Rrn, SealedPan, Stan, TxnId};

impl SafKind {
    /// A stable name, as the store keeps it.
    const fn name(self) -> &'static str {
        match self {
            Self::Reversal => "reversal",
            Self::Advice => "advice",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Reversal, Self::Advice].into_iter().find(|k| k.name() == name)
    }
}

/// An entry to queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// The issuer it goes to.
    pub(super) issuer: IssuerId,
    /// What it is.
    pub(super) what: SafKind,
    /// The transaction it is of.
    pub(super) txn: TxnId,
    /// Due from now on, milliseconds since the epoch.
    pub(super) at_ms: i64,
}

/// Queues an entry behind all others; a transaction has one of each kind at most.
pub(super) fn queue(sql: &mut dyn Sql, entry: &Entry, pan: Option<&SealedPan>) -> Result<(), StoreError> {
    let id = reference::count_up(sql, "saf")?;
    let new = "INSERT INTO saf (id, issuer, what, txn, card, state, attempts, next_ms, queued_ms) \
               VALUES ($1, $2, $3, $4, $5, 'waiting', 0, $6, $7) ON CONFLICT (txn, what) DO NOTHING";
    let args = [
        id.into(),
        entry.issuer.trimmed().into(),
        entry.what.name().into(),
        entry.txn.0.into(),
        rows::card(pan),
        entry.at_ms.into(),
        entry.at_ms.into(),
    ];
    sql.execute(new, &args)?;
    Ok(())
}

/// Whether the transaction has such an entry, delivered or not.
pub(super) fn holds(sql: &mut dyn Sql, txn: TxnId, what: SafKind) -> Result<bool, StoreError> {
    let find = "SELECT id FROM saf WHERE txn = $1 AND what = $2";
    Ok(sql.first(find, &[txn.0.into(), what.name().into()])?.is_some())
}

/// Who asks for what is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Of this issuer.
    pub(super) issuer: IssuerId,
    /// Who asks.
    pub(super) node: NodeId,
    /// Milliseconds since the epoch.
    pub(super) now_ms: i64,
    /// How long the lease holds.
    pub(super) lease_ms: i64,
    /// How many at most.
    pub(super) limit: usize,
}

/// No older undelivered entry of its card. A parked entry holds its card and nobody else; an entry
/// without a card stands for itself.
macro_rules! head_of_its_card {
    () => {
        "NOT EXISTS (SELECT 1 FROM saf o WHERE o.issuer = s.issuer AND o.state IN ('waiting', 'parked') \
         AND o.card = s.card AND o.id < s.id)"
    };
}

const WAITS: &str = "SELECT s.id FROM saf s WHERE s.issuer = $1 AND s.state = 'waiting' LIMIT 1";

const DUE: &str = concat!(
    "SELECT s.id, s.next_ms FROM saf s WHERE s.issuer = $1 AND s.state IN ('waiting', 'parked') \
     AND s.state = 'waiting' AND s.next_ms <= $2 AND ",
    head_of_its_card!(),
    " ORDER BY s.id LIMIT $3"
);

const LATER: &str = concat!(
    "SELECT s.next_ms FROM saf s WHERE s.issuer = $1 AND s.state = 'waiting' AND s.next_ms > $2 AND ",
    head_of_its_card!(),
    " ORDER BY s.next_ms LIMIT 1"
);

/// Applies [`crate::store::Op::SafDue`].
pub(super) fn due(sql: &mut dyn Sql, ask: &Ask) -> Result<Outcome, StoreError> {
    let issuer = ask.issuer.trimmed();
    if sql.first(WAITS, &[issuer.into()])?.is_none() {
        return Ok(Outcome::Saf { entries: Vec::new(), next_ms: None });
    }
    if let Some(until_ms) = held_by_another(sql, ask)? {
        return Ok(Outcome::Saf { entries: Vec::new(), next_ms: Some(until_ms) });
    }
    // One more than asked for tells whether something due is left.
    let limit = i64::try_from(ask.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut entries = Vec::new();
    let mut next_ms = None;
    for mut row in sql.query(DUE, &[issuer.into(), ask.now_ms.into(), limit.into()])? {
        let (id, due_ms) = (row.int()?, row.int()?);
        if entries.len() < ask.limit {
            entries.push(entry(sql, id)?);
        } else {
            next_ms = Some(due_ms);
        }
    }
    if next_ms.is_none() {
        let later = sql.first(LATER, &[issuer.into(), ask.now_ms.into()])?;
        next_ms = later.map(|mut row| row.int()).transpose()?;
    }
    Ok(Outcome::Saf { entries, next_ms })
}

/// Takes or renews the issuer's lease; until when somebody else has it, if so.
fn held_by_another(sql: &mut dyn Sql, ask: &Ask) -> Result<Option<i64>, StoreError> {
    let name = format!("saf:{}", ask.issuer);
    let take = "INSERT INTO lease (name, holder, until_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
                SET holder = excluded.holder, until_ms = excluded.until_ms \
                WHERE lease.holder = excluded.holder OR lease.until_ms <= $4 RETURNING holder";
    let node = i64::from(ask.node.0);
    let args = [(&name).into(), node.into(), (ask.now_ms + ask.lease_ms).into(), ask.now_ms.into()];
    if sql.first(take, &args)?.is_some() {
        return Ok(None);
    }
    let until = sql.first("SELECT until_ms FROM lease WHERE name = $1", &[(&name).into()])?;
    until.map(|mut row| row.int()).transpose()
}

fn entry(sql: &mut dyn Sql, id: i64) -> Result<SafEntry, StoreError> {
    let find = "SELECT what, txn, attempts, stan, rrn, link_time FROM saf WHERE id = $1";
    let mut row = sql
        .first(find, &[id.into()])?
        .ok_or_else(|| StoreError::Corrupt("a store-and-forward entry vanished".into()))?;
    let (what, txn) = (row.name(SafKind::from_name)?, rows::load(sql, TxnId(row.int()?))?);
    let original = match txn.original {
        Some(original) => Some(Box::new(rows::load(sql, original)?)),
        None => None,
    };
    Ok(SafEntry {
        id,
        what,
        txn,
        original,
        attempts: row.number()?,
        stan: row.opt_int()?.map(|n| rows::trace_no(u32::try_from(n).unwrap_or(u32::MAX))).transpose()?,
        rrn: row.opt_parse()?,
        link_time: row.opt_parse()?,
    })
}

/// Applies [`crate::store::Op::SafSending`].
pub(super) fn sending(
    sql: &mut dyn Sql,
    id: i64,
    (stan, rrn, link_time): (Stan, Rrn, LinkTime),
) -> Result<Outcome, StoreError> {
    let sent = "UPDATE saf SET attempts = attempts + 1, stan = $1, rrn = $2, link_time = $3 WHERE id = $4";
    let args = [stan.number().into(), rrn.trimmed().into(), link_time.trimmed().into(), id.into()];
    sql.execute(sent, &args)?;
    // An advice has no trace number on the link before it is first sent; a reversal of it names that.
    let advice = "UPDATE txn SET link_stan = $1, link_time = $2 \
                  WHERE id = (SELECT txn FROM saf WHERE saf.id = $3 AND saf.what = 'advice')";
    sql.execute(advice, &[stan.number().into(), link_time.trimmed().into(), id.into()])?;
    Ok(Outcome::Done)
}

/// Applies [`crate::store::Op::SafDone`].
pub(super) fn done(sql: &mut dyn Sql, id: i64, verdict: SafVerdict) -> Result<Outcome, StoreError> {
    let end = "UPDATE saf SET state = $1, code = $2 WHERE id = $3 AND state = 'waiting'";
    match verdict {
        SafVerdict::Delivered(code) => {
            sql.execute(end, &["delivered".into(), code.trimmed().into(), id.into()])?
        }
        SafVerdict::Parked(code) => sql.execute(end, &["parked".into(), code.trimmed().into(), id.into()])?,
        SafVerdict::Retry { at_ms } => {
            let again = "UPDATE saf SET next_ms = $1 WHERE id = $2 AND state = 'waiting'";
            sql.execute(again, &[at_ms.into(), id.into()])?
        }
    };
    Ok(Outcome::Done)
}
