//! Duplicate keys of payments: which transaction spent a terminal's trace number. The only place that names
//! their table, since a writer that is alone holds the newest of them in memory ([`Recent`]).

use super::batch::Terminal;
use crate::store::StoreError;
use crate::store::recent::{Recent, Trace};
use crate::store::rows::{batch_no, trace_no};
use crate::store::sql::{Arg, Row, Sql};
use crate::transaction::{BatchNo, Mid, Stan, Tid, TxnId};

/// The message class of payments in the duplicate key: authorizations, requests and advices of
/// one terminal share their trace numbers.
const PAYMENT: &str = "f";

/// Where a key leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Never used.
    Free,
    /// Used by this transaction.
    Used(TxnId),
    /// Spent by a reversal that came before its transaction.
    Tombstone,
}

/// The keys of a terminal's batch with their transactions, in a statement that begins so.
macro_rules! of_batch {
    () => {
        "FROM txn_key k JOIN txn t ON t.id = k.txn "
    };
}
pub(super) use of_batch;

/// Looks a duplicate key up.
pub(super) fn look(sql: &mut dyn Sql, terminal: Terminal, trace: Trace) -> Result<Key, StoreError> {
    if let Some(recent) = sql.recent()?
        && let Some(txn) = recent.find(terminal.id(), trace)
    {
        return Ok(Key::Used(txn));
    }
    let find =
        "SELECT txn FROM txn_key WHERE mid = $1 AND tid = $2 AND batch = $3 AND stan = $4 AND class = $5";
    let [mid, tid, batch] = terminal.batch_args(trace.0);
    Ok(match sql.first(find, &[mid, tid, batch, trace.1.number().into(), PAYMENT.into()])? {
        None => Key::Free,
        Some(mut row) => row.opt_int()?.map_or(Key::Tombstone, |id| Key::Used(TxnId(id))),
    })
}

/// Spends a key on a transaction, or on nothing (a tombstone).
pub(super) fn spend(
    sql: &mut dyn Sql,
    terminal: Terminal,
    trace: Trace,
    txn: Option<TxnId>,
) -> Result<(), StoreError> {
    if !spend_if_free(sql, terminal, trace, txn)? && txn.is_some() {
        // Another node took the key since it was looked up: the slice is asked again.
        return Err(StoreError::Unavailable("a key was taken meanwhile".into()));
    }
    Ok(())
}

/// As [`spend`], when it was not spent before; whether it was spent now.
pub(super) fn spend_if_free(
    sql: &mut dyn Sql,
    terminal: Terminal,
    trace: Trace,
    txn: Option<TxnId>,
) -> Result<bool, StoreError> {
    let kept = match (sql.recent()?, txn) {
        (Some(recent), Some(txn)) if !recent.is_marked(txn) => {
            Some((txn, recent.is_above(terminal.id(), trace)))
        }
        (_, _) => None,
    };
    let Some((txn, is_above)) = kept else { return write(sql, terminal, trace, txn) };
    if !is_above && look(sql, terminal, trace)? != Key::Free {
        return Ok(false);
    }
    learn(sql, terminal, trace.0)?;
    if let Some(recent) = sql.recent()? {
        recent.spend(terminal.id(), trace, txn);
    }
    Ok(true)
}

/// Finds the highest key of a batch, once.
fn learn(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<(), StoreError> {
    if sql.recent()?.is_none_or(|recent| recent.knows(terminal.id(), batch)) {
        return Ok(());
    }
    let highest =
        "SELECT stan FROM txn_key WHERE mid = $1 AND tid = $2 AND batch = $3 ORDER BY stan DESC LIMIT 1";
    let stan = match sql.first(highest, &terminal.batch_args(batch))? {
        Some(mut row) => trace_no(row.number()?)?,
        None => trace_no(0)?,
    };
    if let Some(recent) = sql.recent()? {
        recent.learn(terminal.id(), (batch, stan));
    }
    Ok(())
}

/// Writes a key to the table; `false`: it is there.
fn write(
    sql: &mut dyn Sql,
    terminal: Terminal,
    (batch, stan): Trace,
    txn: Option<TxnId>,
) -> Result<bool, StoreError> {
    let new = "INSERT INTO txn_key (mid, tid, batch, stan, class, txn) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (mid, tid, batch, stan, class) DO NOTHING";
    let [mid, tid, batch_arg] = terminal.batch_args(batch);
    let args = [mid, tid, batch_arg, stan.number().into(), PAYMENT.into(), txn.map(|t| t.0).into()];
    let written = sql.execute(new, &args)? == 1;
    if let (true, Some(recent)) = (written, sql.recent()?)
        && recent.knows(terminal.id(), batch)
    {
        recent.learn(terminal.id(), (batch, stan));
    }
    Ok(written)
}

/// Runs a query over a terminal's keys.
pub(super) fn query(
    sql: &mut dyn Sql,
    terminal: Terminal,
    text: &str,
    args: &[Arg<'_>],
) -> Result<Vec<Row>, StoreError> {
    settle(sql, terminal)?;
    sql.query(text, args)
}

/// Whether a batch has any key.
pub(super) fn is_used(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<bool, StoreError> {
    let used = "SELECT stan FROM txn_key WHERE mid = $1 AND tid = $2 AND batch = $3 LIMIT 1";
    Ok(!query(sql, terminal, used, &terminal.batch_args(batch))?.is_empty())
}

/// Forgets the keys of a batch. A pre-authorization that still holds money keeps its key: its completion names it
/// by that.
pub(super) fn forget(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<(), StoreError> {
    settle(sql, terminal)?;
    let keys = "DELETE FROM txn_key WHERE mid = $1 AND tid = $2 AND batch = $3 AND NOT EXISTS \
                (SELECT 1 FROM txn t WHERE t.id = txn_key.txn AND t.kind = 'pre-auth' AND t.state = 'approved')";
    sql.execute(keys, &terminal.batch_args(batch))?;
    Ok(())
}

/// Writes the terminal's keys that are in memory to the table.
fn settle(sql: &mut dyn Sql, terminal: Terminal) -> Result<(), StoreError> {
    let keys = sql.recent()?.map(|recent| recent.take(terminal.id())).unwrap_or_default();
    for (trace, txn) in keys {
        write(sql, terminal, trace, Some(txn))?;
    }
    Ok(())
}

/// The counter of writers, each of which took the memory of keys over from the one before.
const TURN: &str = "key-turn";
/// The counter of the mark.
const MARK: &str = "key-mark";

/// Takes the memory of keys over: reads those that may not be in the table.
pub(in crate::store) fn take_over(sql: &mut dyn Sql) -> Result<Recent, StoreError> {
    let turn = super::reference::count_up(sql, TURN)?;
    let mark = TxnId(counter(sql, MARK)?);
    let mut recent = Recent::new(turn, mark);
    let after = "SELECT t.mid, t.tid, t.batch, t.stan, t.id FROM txn t WHERE t.id > $1 AND t.kind <> 'reversal' \
                 AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.mid = t.mid AND b.tid = t.tid \
                 AND b.number = t.batch AND b.pruned = 1)";
    for mut row in sql.query(after, &[mark.0.into()])? {
        let terminal: (Mid, Tid) = (row.parse()?, row.parse()?);
        let trace: (BatchNo, Stan) = (batch_no(row.number()?)?, trace_no(row.number()?)?);
        recent.spend(terminal, trace, TxnId(row.int()?));
    }
    Ok(recent)
}

/// Whether no other writer took the memory over since.
pub(in crate::store) fn is_own(sql: &mut dyn Sql, recent: &Recent) -> Result<bool, StoreError> {
    Ok(counter(sql, TURN)? == recent.turn)
}

/// Writes what is due to the table, and the mark when it moves.
pub(in crate::store) fn merge(sql: &mut dyn Sql) -> Result<(), StoreError> {
    let Some((due, mark)) = sql.recent()?.map(Recent::due) else { return Ok(()) };
    for ((mid, tid), keys) in due {
        for (trace, txn) in keys {
            write(sql, Terminal { mid, tid }, trace, Some(txn))?;
        }
    }
    if let Some(mark) = mark {
        let set = "INSERT INTO counter (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sql.execute(set, &[MARK.into(), mark.0.into()])?;
    }
    Ok(())
}

fn counter(sql: &mut dyn Sql, name: &str) -> Result<i64, StoreError> {
    let row = sql.first("SELECT value FROM counter WHERE name = $1", &[name.into()])?;
    row.map_or(Ok(0), |mut row| row.int())
}
