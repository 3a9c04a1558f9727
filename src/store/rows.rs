//! A transaction as a row: the one list of its columns, read and written here only.

use super::sql::{Arg, Row, Sql};
use super::{NewTransaction, StoreError, Stored};
use crate::lifecycle::State;
use crate::transaction::{
    Amount, BatchNo, Currency, Day, Kind, NodeId, Refusal, ResponseCode, SealedPan, Stan, TerminalDialect,
    TxnId,
};

/// The columns that [`read`] expects, in its order, of a table or alias `t`.
macro_rules! txn_columns {
    () => {
        "t.id, t.state, t.day, t.node, t.dialect, t.kind, t.processing_code, t.tid, t.mid, t.batch, t.stan, \
         t.currency, t.requested, t.amount, t.refunded, t.card_cipher, t.card_lookup, t.card_masked, \
         t.expiry, t.card_sequence, t.entry_mode, t.condition, t.terminal_time, t.invoice, t.rrn, \
         t.auth_code, t.code, t.refusal, t.issuer, t.link_stan, t.link_time, t.issuer_rrn, \
         t.additional_amounts, t.icc, t.original, t.claimed_by, t.received_ms, t.finished_ms, \
         t.cleared_day, t.taken_back_day"
    };
}
pub(super) use txn_columns;

const INSERT: &str = "INSERT INTO txn (id, state, day, node, dialect, kind, processing_code, tid, mid, batch, \
     stan, currency, requested, amount, refunded, card_cipher, card_lookup, card_masked, expiry, \
     card_sequence, entry_mode, condition, terminal_time, invoice, rrn, auth_code, code, issuer, link_stan, \
     link_time, original, received_ms, finished_ms, key_generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
     $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, \
     $29, $30, $31, $32, $33) ON CONFLICT (id) DO NOTHING";

/// What the store adds to a [`NewTransaction`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// The open business day.
    pub(super) day: Day,
    /// The batch it goes into.
    pub(super) batch: BatchNo,
    /// Where it stands at once.
    pub(super) state: State,
    /// What the terminal is told at once (an advice).
    pub(super) code: Option<ResponseCode>,
    /// The transaction it claims.
    pub(super) original: Option<TxnId>,
}

/// Inserts a transaction; `false` when its identity is there already.
pub(super) fn insert(sql: &mut dyn Sql, new: &NewTransaction, at: &Placed) -> Result<bool, StoreError> {
    let pan = new.pan.as_ref();
    let minor = new.amount.map(Amount::minor);
    let finished = (!at.state.is_open()).then_some(new.received_ms);
    let args = [
        new.id.0.into(),
        at.state.name().into(),
        i64::from(at.day.0).into(),
        i64::from(new.node.0).into(),
        new.dialect.name().into(),
        new.kind.name().into(),
        new.processing_code.trimmed().into(),
        new.tid.trimmed().into(),
        new.mid.trimmed().into(),
        at.batch.number().into(),
        new.stan.number().into(),
        new.amount.map(|a| i64::from(a.currency().numeric())).into(),
        minor.into(),
        minor.into(),
        pan.map(|p| p.cipher.as_slice()).into(),
        pan.map(|p| p.lookup.as_slice()).into(),
        pan.map(|p| p.masked.as_str()).into(),
        new.expiry.as_ref().into(),
        new.card_sequence.as_ref().into(),
        (&new.entry_mode).into(),
        (&new.condition).into(),
        (&new.terminal_time).into(),
        new.invoice.as_ref().into(),
        new.rrn.trimmed().into(),
        new.auth_code.as_ref().map(|a| a.trimmed()).into(),
        at.code.as_ref().map(|c| c.trimmed()).into(),
        new.issuer.trimmed().into(),
        new.link_stan.map(Stan::number).into(),
        new.link_time.trimmed().into(),
        at.original.map(|o| o.0).into(),
        new.received_ms.into(),
        finished.into(),
        new.key_generation.into(),
    ];
    Ok(sql.execute(INSERT, &args)? == 1)
}

/// The transaction of that identity.
pub(super) fn find(sql: &mut dyn Sql, id: TxnId) -> Result<Option<Stored>, StoreError> {
    sql.first(concat!("SELECT ", txn_columns!(), " FROM txn t WHERE t.id = $1"), &[id.0.into()])?
        .map(read)
        .transpose()
}

/// The transaction of that identity, which nobody else may change before the commit.
pub(super) fn find_locked(sql: &mut dyn Sql, id: TxnId) -> Result<Option<Stored>, StoreError> {
    sql.query_locked(concat!("SELECT ", txn_columns!(), " FROM txn t WHERE t.id = $1"), &[id.0.into()])?
        .into_iter()
        .next()
        .map(read)
        .transpose()
}

/// As [`find`], for an identity that a row of the store names.
pub(super) fn load(sql: &mut dyn Sql, id: TxnId) -> Result<Stored, StoreError> {
    find(sql, id)?.ok_or_else(|| StoreError::Corrupt("a transaction that is referred to is missing".into()))
}

/// Reads the columns of [`txn_columns`].
pub(super) fn read(mut row: Row) -> Result<Stored, StoreError> {
    let row = &mut row;
    let (id, state, day) = (TxnId(row.int()?), row.name(State::from_name)?, Day(row.number()?));
    let (node, dialect) = (NodeId(row.number()?), row.name(TerminalDialect::from_name)?);
    let kind = row.name(Kind::from_name)?;
    let (processing_code, tid, mid) = (row.parse()?, row.parse()?, row.parse()?);
    let (batch, stan) = (batch_no(row.number()?)?, trace_no(row.number()?)?);
    let currency = row.opt_int()?;
    let (requested, amount) = (amount_of(row.opt_int()?, currency)?, amount_of(row.opt_int()?, currency)?);
    Ok(Stored {
        id,
        state,
        day,
        node,
        dialect,
        kind,
        processing_code,
        tid,
        mid,
        batch,
        stan,
        requested,
        amount,
        refunded_minor: row.int()?,
        pan: sealed(row)?,
        expiry: row.opt_text()?,
        card_sequence: row.opt_text()?,
        entry_mode: row.text()?,
        condition: row.text()?,
        terminal_time: row.text()?,
        invoice: row.opt_text()?,
        rrn: row.parse()?,
        auth_code: row.opt_parse()?,
        code: row.opt_parse()?,
        refusal: row.opt_name(Refusal::from_name)?,
        issuer: row.parse()?,
        link_stan: row.opt_int()?.map(|n| trace_no(u32::try_from(n).unwrap_or(u32::MAX))).transpose()?,
        link_time: row.parse()?,
        issuer_rrn: row.opt_parse()?,
        additional_amounts: row.opt_text()?,
        icc: row.opt_blob()?,
        original: row.opt_int()?.map(TxnId),
        claimed_by: row.opt_int()?.map(TxnId),
        received_ms: row.int()?,
        finished_ms: row.opt_int()?,
        cleared_day: opt_day(row)?,
        taken_back_day: opt_day(row)?,
    })
}

fn sealed(row: &mut Row) -> Result<Option<SealedPan>, StoreError> {
    let (cipher, lookup, masked) = (row.opt_blob()?, row.opt_blob()?, row.opt_text()?);
    let (Some(cipher), Some(lookup), Some(masked)) = (cipher, lookup, masked) else { return Ok(None) };
    let lookup =
        lookup.try_into().map_err(|_| StoreError::Corrupt("a card's hash is not 16 bytes".into()))?;
    Ok(Some(SealedPan { cipher, lookup, masked }))
}

fn opt_day(row: &mut Row) -> Result<Option<Day>, StoreError> {
    Ok(row.opt_int()?.and_then(|n| i32::try_from(n).ok()).map(Day))
}

/// A batch number of the store.
pub(super) fn batch_no(number: u32) -> Result<BatchNo, StoreError> {
    BatchNo::new(number).ok_or_else(|| StoreError::Corrupt("a batch number is longer than six digits".into()))
}

/// A trace number of the store.
pub(super) fn trace_no(number: u32) -> Result<Stan, StoreError> {
    Stan::new(number).ok_or_else(|| StoreError::Corrupt("a trace number is longer than six digits".into()))
}

/// A currency of the store.
pub(super) fn currency(code: i64) -> Result<Currency, StoreError> {
    u16::try_from(code)
        .ok()
        .and_then(Currency::from_numeric)
        .ok_or_else(|| StoreError::Corrupt("a currency that ISO 4217 does not list".into()))
}

fn amount_of(minor: Option<i64>, code: Option<i64>) -> Result<Option<Amount>, StoreError> {
    let (Some(minor), Some(code)) = (minor, code) else { return Ok(None) };
    let amount = Amount::new(minor, currency(code)?)
        .map_err(|_| StoreError::Corrupt("an amount is longer than twelve digits".into()))?;
    Ok(Some(amount))
}

/// The hash by which a card is found, as a parameter.
pub(super) fn card(pan: Option<&SealedPan>) -> Arg<'_> {
    pan.map(|p| p.lookup.as_slice()).into()
}
