//! What clears on a business day: read from the store, decided here. Writes nothing.
//!
//! ```text
//! present      of the day, money, approved, in no file yet
//! take back    presented by an earlier day's file, and undone by a reversal or void of this day
//! present late of an earlier day, voided, and standing again because this day reversed its void
//! ```
//!
//! A transaction voided or reversed before its day is settled is in no file: neither it nor its void.

use super::SettlementError;
use crate::lifecycle::State;
use crate::store::{Filter, Reader, Stored};
use crate::transaction::{Amount, Day, Kind, Side, TxnId};
use std::collections::BTreeMap;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Presents a transaction.
    Present,
    /// Takes back what an earlier file presented.
    TakeBack,
}

impl Action {
    /// A stable name, for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::TakeBack => "take-back",
        }
    }
}

/// A record of a day's files.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The transaction.
    pub(super) txn: Stored,
    /// What the record does.
    pub(super) action: Action,
    /// Which way the transaction moved money: never [`Side::None`].
    pub(super) side: Side,
    /// How much.
    pub(super) amount: Amount,
}

impl Item {
    fn new(txn: Stored, action: Action) -> Result<Self, SettlementError> {
        let lacks = |what| SettlementError::Transaction { id: txn.id, what };
        let side = side(txn.kind);
        let amount = txn.amount.or(txn.requested).ok_or_else(|| lacks("no amount"))?;
        if side == Side::None {
            return Err(lacks("its kind moves no money"));
        }
        Ok(Self { txn, action, side, amount })
    }

    /// What the merchant gains, minor units.
    pub(super) fn signed_minor(&self) -> i64 {
        let gain = match self.side {
            Side::Debit => self.amount.minor(),
            Side::Credit | Side::None => -self.amount.minor(),
        };
        match self.action {
            Action::Present => gain,
            Action::TakeBack => -gain,
        }
    }
}

/// Which way a kind clears. Voids clear by leaving their original out, so they have no side here.
const fn side(kind: Kind) -> Side {
    match kind {
        Kind::Sale | Kind::Completion | Kind::CompletionAdvice | Kind::OfflineSale => Side::Debit,
        Kind::Refund => Side::Credit,
        Kind::Balance
        | Kind::Void
        | Kind::PreAuth
        | Kind::PreAuthCancel
        | Kind::CompletionVoid
        | Kind::Reversal => Side::None,
    }
}

/// What a run presents and takes back.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// In the order of transaction ids.
    pub(super) items: Vec<Item>,
    /// Presented, taken back, and standing again: a person must present them.
    pub(super) exceptions: Vec<TxnId>,
}

/// Selects what clears on a closed day that is not settled.
///
/// # Errors
/// [`SettlementError::Unfinished`] while outcomes are missing; [`SettlementError::Store`].
pub(super) fn select(reader: &mut dyn Reader, day: Day) -> Result<Selection, SettlementError> {
    let rows = reader.transactions(&Filter { day: Some(day), ..Filter::default() })?;
    let count = rows.iter().filter(|row| row.state.is_open()).count();
    if count > 0 {
        return Err(SettlementError::Unfinished { day, count });
    }
    let mut items = BTreeMap::new();
    let mut exceptions = Vec::new();
    for row in &rows {
        for (txn, action) in undone_by(reader, row, day, &mut exceptions)? {
            items.insert(txn.id, Item::new(txn, action)?);
        }
    }
    for row in rows {
        if clears(&row) {
            items.insert(row.id, Item::new(row, Action::Present)?);
        }
    }
    exceptions.sort();
    exceptions.dedup();
    Ok(Selection { items: items.into_values().collect(), exceptions })
}

/// The items of a day that was settled, as its files hold them.
///
/// # Errors
/// [`SettlementError::Store`].
pub(super) fn recorded(reader: &mut dyn Reader, day: Day) -> Result<Vec<Item>, SettlementError> {
    let rows = reader.transactions(&Filter { in_file_of: Some(day), ..Filter::default() })?;
    let mut items = BTreeMap::new();
    for row in rows {
        let action = if row.taken_back_day == Some(day) { Action::TakeBack } else { Action::Present };
        items.insert(row.id, Item::new(row, action)?);
    }
    Ok(items.into_values().collect())
}

/// Whether a transaction may be presented now.
fn clears(row: &Stored) -> bool {
    row.state == State::Approved && row.cleared_day.is_none() && side(row.kind) != Side::None
}

/// Whether a transaction was presented before `day` and undone since, and no file says so.
fn to_take_back(row: &Stored, day: Day) -> bool {
    matches!(row.state, State::Reversed | State::Voided)
        && row.cleared_day.is_some_and(|cleared| cleared < day)
        && row.taken_back_day.is_none()
        && side(row.kind) != Side::None
}

/// What a reversal or void of this day did to transactions of earlier days.
fn undone_by(
    reader: &mut dyn Reader,
    row: &Stored,
    day: Day,
    exceptions: &mut Vec<TxnId>,
) -> Result<Vec<(Stored, Action)>, SettlementError> {
    let undoes = matches!(row.kind, Kind::Reversal | Kind::Void | Kind::CompletionVoid);
    let Some(original) = row.original.filter(|_| undoes) else { return Ok(Vec::new()) };
    let Some(undone) = one(reader, original)? else { return Ok(Vec::new()) };
    if to_take_back(&undone, day) {
        return Ok(vec![(undone, Action::TakeBack)]);
    }
    let was_void =
        matches!(undone.kind, Kind::Void | Kind::CompletionVoid) && undone.state == State::Reversed;
    let Some(original) = undone.original.filter(|_| was_void) else { return Ok(Vec::new()) };
    let Some(standing) = one(reader, original)? else { return Ok(Vec::new()) };
    if standing.state == State::Approved && standing.taken_back_day.is_some() {
        exceptions.push(standing.id);
    }
    let late = clears(&standing) && standing.day < day;
    Ok(if late { vec![(standing, Action::Present)] } else { Vec::new() })
}

fn one(reader: &mut dyn Reader, id: TxnId) -> Result<Option<Stored>, SettlementError> {
    let filter = Filter { id: Some(id), ..Filter::default() };
    Ok(reader.transactions(&filter)?.into_iter().next())
}
