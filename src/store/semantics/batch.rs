//! A terminal's batches and its working keys.

use super::keys;
use crate::lifecycle::State;
use crate::store::recent::{Bounds, STEP};
use crate::store::rows::batch_no;
use crate::store::sql::{Arg, Row, Sql};
use crate::store::{BatchLine, CloseReason, NewTransaction, Outcome, Settle, StoreError, WorkingKeys};
use crate::transaction::{BatchNo, Kind, Mid, Refusal, Side, SideTotals, Tid, Totals, UploadItem};

/// What a terminal's totals can count on one side (three digits).
const FULL: i64 = 999;

/// How long a used key outlives its batch, milliseconds.
const WINDOW_MS: i64 = 24 * 60 * 60 * 1000;

/// A terminal of a merchant.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Terminal {
    /// DE 42.
    pub(in crate::store) mid: Mid,
    /// DE 41.
    pub(in crate::store) tid: Tid,
}

impl Terminal {
    /// The pair.
    pub(super) fn id(self) -> (Mid, Tid) {
        (self.mid, self.tid)
    }

    pub(super) fn args(&self) -> [Arg<'_>; 2] {
        [self.mid.trimmed().into(), self.tid.trimmed().into()]
    }

    pub(super) fn batch_args(&self, batch: BatchNo) -> [Arg<'_>; 3] {
        [self.mid.trimmed().into(), self.tid.trimmed().into(), batch.number().into()]
    }
}

/// The batch that a transaction asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Its number.
    pub(super) number: BatchNo,
    /// At most so many count on the transaction's side, itself included; unknown for a batch
    /// that is not the terminal's open one.
    bound: Option<i64>,
}

impl Spot {
    /// Whether the batch takes the transaction for certain.
    pub(super) fn has_room(&self) -> bool {
        self.bound.is_some_and(|bound| bound <= FULL)
    }
}

/// Finds the batch of a transaction, and holds the terminal's row until the commit.
pub(super) fn enter(sql: &mut dyn Sql, new: &NewTransaction) -> Result<Spot, StoreError> {
    let (terminal, side) = (Terminal { mid: new.mid, tid: new.tid }, new.counted_side());
    let counted = sql.recent()?.and_then(|recent| recent.enter(terminal.id(), new.batch, side));
    if let Some((number, bound)) = counted {
        return Ok(Spot { number, bound: Some(bound) });
    }
    let mut row = match held(sql, terminal)? {
        Some(row) => row,
        None => {
            start(sql, terminal, new.batch.unwrap_or(BatchNo::FIRST))?;
            held(sql, terminal)?.ok_or_else(|| StoreError::Corrupt("no open batch".into()))?
        }
    };
    let (number, debit, credit) = (batch_no(row.number()?)?, row.int()?, row.int()?);
    if let Some(named) = new.batch.filter(|named| *named != number) {
        return Ok(Spot { number: named, bound: None });
    }
    let (more_debit, more_credit) = match side {
        Side::Debit => (1, 0),
        Side::Credit => (0, 1),
        Side::None => (0, 0),
    };
    // A writer that counts in memory writes ahead.
    let step = if sql.recent()?.is_some() { STEP } else { 1 };
    let (used, written) = (
        (debit + more_debit, credit + more_credit),
        (debit + more_debit * step, credit + more_credit * step),
    );
    if side != Side::None {
        set_bounds(sql, terminal, written)?;
    }
    if let Some(recent) = sql.recent()? {
        recent.opened(terminal.id(), Bounds { number, used, written });
    }
    Ok(Spot { number, bound: Some(used.0 * more_debit + used.1 * more_credit) })
}

fn set_bounds(sql: &mut dyn Sql, terminal: Terminal, (debit, credit): (i64, i64)) -> Result<(), StoreError> {
    let [mid, tid] = terminal.args();
    let set = "UPDATE open_batch SET debit = $1, credit = $2 WHERE mid = $3 AND tid = $4";
    sql.execute(set, &[debit.into(), credit.into(), mid, tid])?;
    Ok(())
}

/// The terminal's row of the open batch changes, or has changed.
fn reopened(sql: &mut dyn Sql, terminal: Terminal) -> Result<(), StoreError> {
    if let Some(recent) = sql.recent()? {
        recent.forget_open(terminal.id());
    }
    Ok(())
}

/// The terminal's open batch and its bounds. Read before it is counted, since SQLite gathers what an
/// `UPDATE … RETURNING` returns in a temporary table, which costs more than both statements.
fn held(sql: &mut dyn Sql, terminal: Terminal) -> Result<Option<Row>, StoreError> {
    let find = "SELECT number, debit, credit FROM open_batch WHERE mid = $1 AND tid = $2";
    Ok(sql.query_locked(find, &terminal.args())?.into_iter().next())
}

/// Whether the batch takes the transaction. A batch that is not known becomes the open one.
pub(super) fn admit(
    sql: &mut dyn Sql,
    new: &NewTransaction,
    spot: &Spot,
) -> Result<Option<Refusal>, StoreError> {
    let terminal = Terminal { mid: new.mid, tid: new.tid };
    if spot.has_room() {
        return Ok(None);
    }
    if spot.bound.is_none() {
        match state(sql, terminal, spot.number)?.as_deref() {
            Some("closed") => return Ok(Some(Refusal::BatchNotFound)),
            Some(_) => {}
            None => {
                adopt(sql, terminal, spot.number)?;
                return Ok(None);
            }
        }
    }
    full(sql, terminal, spot, new.counted_side())
}

/// Counts a side exactly, since its bound was passed.
fn full(
    sql: &mut dyn Sql,
    terminal: Terminal,
    spot: &Spot,
    side: Side,
) -> Result<Option<Refusal>, StoreError> {
    let counted = group(sql, terminal, spot.number)?
        .into_iter()
        .filter(|line| line.kind.side() == side && side != Side::None && counts(line.state))
        .map(|line| i64::from(line.count))
        .sum::<i64>();
    if counted >= FULL {
        return Ok(Some(Refusal::BatchFull));
    }
    if spot.bound.is_some() {
        let column = match side {
            Side::Debit => "UPDATE open_batch SET debit = $1 WHERE mid = $2 AND tid = $3",
            Side::Credit | Side::None => "UPDATE open_batch SET credit = $1 WHERE mid = $2 AND tid = $3",
        };
        let [mid, tid] = terminal.args();
        sql.execute(column, &[Arg::Int(counted + 1), mid, tid])?;
        reopened(sql, terminal)?;
    }
    Ok(None)
}

const fn counts(state: State) -> bool {
    !matches!(state, State::Declined | State::TimedOut | State::Reversed)
}

/// The first batch of a terminal.
fn start(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<(), StoreError> {
    open_row(sql, terminal, number)?;
    let new = "INSERT INTO open_batch (mid, tid, number, debit, credit) VALUES ($1, $2, $3, 0, 0) \
               ON CONFLICT (mid, tid) DO NOTHING";
    sql.execute(new, &terminal.batch_args(number))?;
    Ok(())
}

/// The row of a batch that opens; one that was closed before its number came round again is reused.
fn open_row(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<(), StoreError> {
    let args = terminal.batch_args(number);
    sql.execute("DELETE FROM batch WHERE mid = $1 AND tid = $2 AND number = $3 AND state = 'closed'", &args)?;
    let new = "INSERT INTO batch (mid, tid, number, state) VALUES ($1, $2, $3, 'open') \
               ON CONFLICT (mid, tid, number) DO NOTHING";
    sql.execute(new, &args)?;
    Ok(())
}

fn point_to(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<(), StoreError> {
    open_row(sql, terminal, number)?;
    let [mid, tid] = terminal.args();
    let point = "UPDATE open_batch SET number = $1, debit = 0, credit = 0 WHERE mid = $2 AND tid = $3";
    sql.execute(point, &[number.number().into(), mid, tid])?;
    reopened(sql, terminal)
}

/// The terminal counts from a number of its own: it becomes the open batch, and the one before it,
/// if nothing ever was in it, never was.
fn adopt(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<(), StoreError> {
    let before = open(sql, terminal)?;
    point_to(sql, terminal, number)?;
    if !keys::is_used(sql, terminal, before)? {
        let unused = "DELETE FROM batch WHERE mid = $1 AND tid = $2 AND number = $3 AND state <> 'closed'";
        sql.execute(unused, &terminal.batch_args(before))?;
    }
    Ok(())
}

/// The terminal's open batch; its first one is made when it has none.
pub(super) fn open(sql: &mut dyn Sql, terminal: Terminal) -> Result<BatchNo, StoreError> {
    let find = "SELECT number FROM open_batch WHERE mid = $1 AND tid = $2";
    if let Some(mut row) = sql.query_locked(find, &terminal.args())?.into_iter().next() {
        return batch_no(row.number()?);
    }
    start(sql, terminal, BatchNo::FIRST)?;
    let mut row =
        sql.first(find, &terminal.args())?.ok_or_else(|| StoreError::Corrupt("no open batch".into()))?;
    batch_no(row.number()?)
}

fn state(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<Option<String>, StoreError> {
    let find = "SELECT state FROM batch WHERE mid = $1 AND tid = $2 AND number = $3";
    let row = sql.query_locked(find, &terminal.batch_args(number))?.into_iter().next();
    row.map(|mut row| row.text()).transpose()
}

/// Whether the batch is known to be closed.
pub(super) fn is_closed(sql: &mut dyn Sql, terminal: Terminal, number: BatchNo) -> Result<bool, StoreError> {
    Ok(state(sql, terminal, number)?.as_deref() == Some("closed"))
}

fn named(sql: &mut dyn Sql, terminal: Terminal, batch: Option<BatchNo>) -> Result<BatchNo, StoreError> {
    let current = open(sql, terminal)?;
    Ok(batch.unwrap_or(current))
}

fn group(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<Vec<BatchLine>, StoreError> {
    let grouped = concat!(
        "SELECT t.kind, t.state, o.kind, count(*), CAST(sum(coalesce(t.amount, 0)) AS BIGINT) ",
        keys::of_batch!(),
        "LEFT JOIN txn o ON o.id = t.original AND t.kind IN ('void', 'completion-void') \
         WHERE k.mid = $1 AND k.tid = $2 AND k.batch = $3 GROUP BY t.kind, t.state, o.kind"
    );
    let line = |mut row: Row| {
        Ok(BatchLine {
            kind: row.name(Kind::from_name)?,
            state: row.name(State::from_name)?,
            original_kind: row.opt_name(Kind::from_name)?,
            count: row.number()?,
            minor: row.int()?,
        })
    };
    let mut lines: Vec<BatchLine> = keys::query(sql, terminal, grouped, &terminal.batch_args(batch))?
        .into_iter()
        .map(line)
        .collect::<Result<_, StoreError>>()?;
    // Sorted here: two databases need not agree on the order of texts.
    lines.sort_by_key(|line| (line.kind, line.state, line.original_kind));
    Ok(lines)
}

/// Applies [`crate::store::Op::BatchLines`].
pub(super) fn lines(
    sql: &mut dyn Sql,
    terminal: Terminal,
    batch: Option<BatchNo>,
) -> Result<Outcome, StoreError> {
    let number = named(sql, terminal, batch)?;
    let find = concat!(
        "SELECT state, ",
        settle_columns!(),
        " FROM batch b WHERE mid = $1 AND tid = $2 AND number = $3"
    );
    let mut settled = None;
    let mut closed = false;
    if let Some(mut row) = sql.first(find, &terminal.batch_args(number))? {
        closed = row.text()? == "closed";
        settled = read_settle(&mut row, terminal, number)?.map(Box::new);
    }
    Ok(Outcome::Lines {
        batch: number,
        lines: group(sql, terminal, number)?,
        settled,
        uploaded: uploads(sql, terminal, number)?,
        closed,
    })
}

fn uploads(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<u32, StoreError> {
    let count = "SELECT count(*) FROM upload WHERE mid = $1 AND tid = $2 AND batch = $3";
    sql.first(count, &terminal.batch_args(batch))?.map_or(Ok(0), |mut row| row.number())
}

/// What a settlement request claimed and was answered, of a table or alias `b`.
macro_rules! settle_columns {
    () => {
        "b.terminal_debit_count, b.terminal_debit, b.terminal_credit_count, b.terminal_credit, \
         b.host_debit_count, b.host_debit, b.host_credit_count, b.host_credit, b.balanced, b.settled_ms"
    };
}
pub(in crate::store) use settle_columns;

/// Reads the columns of [`settle_columns`].
pub(in crate::store) fn read_settle(
    row: &mut Row,
    terminal: Terminal,
    batch: BatchNo,
) -> Result<Option<Settle>, StoreError> {
    let mut totals = || {
        let mut side = || {
            let count = row.opt_int()?.unwrap_or(0);
            let count =
                u32::try_from(count).map_err(|_| StoreError::Corrupt("a count is negative".into()))?;
            Ok::<_, StoreError>(SideTotals { count, minor: row.opt_int()?.unwrap_or(0) })
        };
        Ok::<_, StoreError>(Totals { debit: side()?, credit: side()? })
    };
    let (claimed, host) = (totals()?, totals()?);
    let (balanced, at_ms) = (row.opt_int()?, row.opt_int()?);
    let (Some(balanced), Some(at_ms)) = (balanced, at_ms) else { return Ok(None) };
    Ok(Some(Settle {
        tid: terminal.tid,
        mid: terminal.mid,
        batch: Some(batch),
        terminal: claimed,
        host,
        balanced: balanced != 0,
        at_ms,
    }))
}

/// Applies [`crate::store::Op::Settle`].
pub(super) fn settle(sql: &mut dyn Sql, settle: &Settle) -> Result<Outcome, StoreError> {
    let terminal = Terminal { mid: settle.mid, tid: settle.tid };
    let number = named(sql, terminal, settle.batch)?;
    match state(sql, terminal, number)?.as_deref() {
        Some("closed") => return Ok(Outcome::Done),
        Some(_) => {}
        None => adopt(sql, terminal, number)?,
    }
    let remember = "UPDATE batch SET state = 'settling', terminal_debit_count = $1, terminal_debit = $2, \
                    terminal_credit_count = $3, terminal_credit = $4, host_debit_count = $5, host_debit = $6, \
                    host_credit_count = $7, host_credit = $8, balanced = $9, settled_ms = $10 \
                    WHERE mid = $11 AND tid = $12 AND number = $13";
    let mut args: Vec<Arg<'_>> = Vec::with_capacity(13);
    for side in [settle.terminal.debit, settle.terminal.credit, settle.host.debit, settle.host.credit] {
        args.extend([Arg::from(side.count), Arg::Int(side.minor)]);
    }
    args.extend([Arg::Int(i64::from(settle.balanced)), Arg::Int(settle.at_ms)]);
    args.extend(terminal.batch_args(number));
    sql.execute(remember, &args)?;
    Ok(Outcome::Done)
}

/// Applies [`crate::store::Op::Upload`].
pub(super) fn upload(
    sql: &mut dyn Sql,
    terminal: Terminal,
    batch: Option<BatchNo>,
    items: &[UploadItem],
) -> Result<Outcome, StoreError> {
    let number = named(sql, terminal, batch)?;
    let [mid, tid, batch] = terminal.batch_args(number);
    let rows: Vec<Vec<Arg<'_>>> = items
        .iter()
        .map(|item| vec![mid, tid, batch, item.stan.number().into(), item.minor.into()])
        .collect();
    let keep = "INSERT INTO upload (mid, tid, batch, stan, minor) VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT (mid, tid, batch, stan) DO NOTHING";
    sql.execute_many(keep, &rows)?;
    Ok(Outcome::Done)
}

/// How a batch closes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    /// Why.
    pub(super) reason: CloseReason,
    /// Items the terminal says it uploaded.
    pub(super) uploaded: Option<u32>,
    /// Milliseconds since the epoch.
    pub(super) at_ms: i64,
}

/// Applies [`crate::store::Op::CloseBatch`].
pub(super) fn close(
    sql: &mut dyn Sql,
    terminal: Terminal,
    batch: Option<BatchNo>,
    how: &Closing,
) -> Result<Outcome, StoreError> {
    let current = open(sql, terminal)?;
    let [mid, tid] = terminal.args();
    let before =
        "SELECT number FROM batch WHERE mid = $1 AND tid = $2 AND closed_ms = $3 AND reason = $4 LIMIT 1";
    let own = [mid, tid, how.at_ms.into(), how.reason.name().into()];
    if batch.is_none() && sql.first(before, &own)?.is_some() {
        return Ok(Outcome::OpenBatch(current));
    }
    let number = batch.unwrap_or(current);
    match state(sql, terminal, number)?.as_deref() {
        None | Some("closed") => return Ok(Outcome::OpenBatch(current)),
        Some(_) => {}
    }
    if unsettled(sql, terminal, number)? {
        return Ok(Outcome::Refused(Refusal::System));
    }
    let differs = match how.uploaded {
        Some(count) => count != uploads(sql, terminal, number)?,
        None => false,
    };
    let done = "UPDATE batch SET state = 'closed', reason = $1, count_differs = $2, closed_ms = $3 \
                WHERE mid = $4 AND tid = $5 AND number = $6";
    let [mid, tid, closed] = terminal.batch_args(number);
    sql.execute(
        done,
        &[how.reason.name().into(), i64::from(differs).into(), how.at_ms.into(), mid, tid, closed],
    )?;
    prune(sql, terminal, how.at_ms)?;
    if number != current {
        return Ok(Outcome::OpenBatch(current));
    }
    point_to(sql, terminal, number.next())?;
    Ok(Outcome::OpenBatch(number.next()))
}

/// Whether something in the batch has no outcome yet.
fn unsettled(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<bool, StoreError> {
    let find = concat!(
        "SELECT t.id ",
        keys::of_batch!(),
        "WHERE k.mid = $1 AND k.tid = $2 AND k.batch = $3 AND t.state IN ('sent', 'abandoned') LIMIT 1"
    );
    Ok(!keys::query(sql, terminal, find, &terminal.batch_args(batch))?.is_empty())
}

/// Forgets the keys and uploads of batches that closed longer ago than the duplicate window.
fn prune(sql: &mut dyn Sql, terminal: Terminal, now_ms: i64) -> Result<(), StoreError> {
    let [mid, tid] = terminal.args();
    let due = "SELECT number FROM batch WHERE mid = $1 AND tid = $2 AND state = 'closed' AND pruned = 0 \
               AND closed_ms < $3";
    for mut row in sql.query(due, &[mid, tid, Arg::Int(now_ms - WINDOW_MS)])? {
        let number = batch_no(row.number()?)?;
        keys::forget(sql, terminal, number)?;
        let args = terminal.batch_args(number);
        sql.execute("DELETE FROM upload WHERE mid = $1 AND tid = $2 AND batch = $3", &args)?;
        sql.execute("UPDATE batch SET pruned = 1 WHERE mid = $1 AND tid = $2 AND number = $3", &args)?;
    }
    Ok(())
}

/// Applies [`crate::store::Op::SignOn`].
pub(super) fn sign_on(
    sql: &mut dyn Sql,
    terminal: Terminal,
    keys: Option<&WorkingKeys>,
    at_ms: i64,
) -> Result<Outcome, StoreError> {
    if let Some(keys) = keys {
        store_keys(sql, terminal, keys)?;
    }
    let current = open(sql, terminal)?;
    if agreed(sql, terminal, current)? && !unsettled(sql, terminal, current)? {
        let how = Closing { reason: CloseReason::SignedOff, uploaded: None, at_ms };
        return close(sql, terminal, Some(current), &how);
    }
    Ok(Outcome::OpenBatch(current))
}

/// Whether the last totals of the batch agreed and nothing was taken since.
fn agreed(sql: &mut dyn Sql, terminal: Terminal, batch: BatchNo) -> Result<bool, StoreError> {
    let find = concat!(
        "SELECT b.settled_ms FROM batch b WHERE b.mid = $1 AND b.tid = $2 AND b.number = $3 \
         AND b.balanced = 1 AND NOT EXISTS (SELECT 1 ",
        keys::of_batch!(),
        "WHERE k.mid = b.mid AND k.tid = b.tid AND k.batch = b.number AND t.received_ms > b.settled_ms)"
    );
    Ok(!keys::query(sql, terminal, find, &terminal.batch_args(batch))?.is_empty())
}

fn store_keys(sql: &mut dyn Sql, terminal: Terminal, keys: &WorkingKeys) -> Result<(), StoreError> {
    let find = "SELECT generation, tpk, tak FROM session WHERE mid = $1 AND tid = $2";
    let [mid, tid] = terminal.args();
    let Some(mut row) = sql.query_locked(find, &[mid, tid])?.into_iter().next() else {
        let first =
            "INSERT INTO session (mid, tid, generation, tpk, tak, tdk) VALUES ($1, $2, $3, $4, $5, $6)";
        let (tpk, tak) = ((&keys.tpk).into(), (&keys.tak).into());
        sql.execute(first, &[mid, tid, keys.generation.into(), tpk, tak, keys.tdk.as_ref().into()])?;
        return Ok(());
    };
    let (held, tpk, tak) = (row.int()?, row.text()?, row.text()?);
    if tpk == keys.tpk && tak == keys.tak {
        return Ok(());
    }
    let generation = keys.generation.max(held + 1);
    let next = "UPDATE session SET previous_generation = generation, previous_tpk = tpk, previous_tak = tak, \
                previous_tdk = tdk, generation = $1, tpk = $2, tak = $3, tdk = $4, uses = 0 WHERE mid = $5 AND tid = $6";
    let (tpk, tak) = ((&keys.tpk).into(), (&keys.tak).into());
    sql.execute(next, &[generation.into(), tpk, tak, keys.tdk.as_ref().into(), mid, tid])?;
    Ok(())
}

/// Applies [`crate::store::Op::KeysProven`].
pub(super) fn keys_proven(
    sql: &mut dyn Sql,
    terminal: Terminal,
    generation: i64,
) -> Result<Outcome, StoreError> {
    let [mid, tid] = terminal.args();
    let drop = "UPDATE session SET previous_generation = NULL, previous_tpk = NULL, previous_tak = NULL, \
                previous_tdk = NULL WHERE mid = $1 AND tid = $2 AND generation = $3";
    sql.execute(drop, &[mid, tid, generation.into()])?;
    Ok(Outcome::Done)
}
/// Applies [`crate::store::Op::ClaimKeyUses`].
pub(super) fn claim_key_uses(
    sql: &mut dyn Sql,
    terminal: Terminal,
    generation: i64,
    count: u32,
) -> Result<Outcome, StoreError> {
    let [mid, tid] = terminal.args();
    let find = "SELECT uses FROM session WHERE mid = $1 AND tid = $2 AND generation = $3";
    let held = sql.query_locked(find, &[mid, tid, generation.into()])?;
    let Some(mut row) = held.into_iter().next() else { return Ok(Outcome::OtherKeys) };
    let uses: u64 = row.number()?;
    let uses = uses.saturating_add(count.into());
    let claim = "UPDATE session SET uses = $1 WHERE mid = $2 AND tid = $3";
    sql.execute(claim, &[i64::try_from(uses).unwrap_or(i64::MAX).into(), mid, tid])?;
    Ok(Outcome::KeyUses(uses))
}
