//! A merchant's statement of one day and currency: every record, the fee of each, and what is paid.
//!
//! ```text
//! net = sales − refunds − sales taken back + refunds taken back − fees + fees given back
//! ```
//!
//! Fees come from the journal, so a statement says what was posted. A refund costs no fee and gives
//! none back; a sale taken back gives its fee back.

use super::SettlementError;
use super::csv::Table;
use super::select::{Action, Item};
use crate::ledger::{INCOME_MDR, Posting};
use crate::transaction::Side;
use std::collections::BTreeMap;

/// A statement's totals, minor units. All but `net` are positive; `fees` may be negative on a day that
/// gives back more than it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) sales: i64,
    pub(super) refunds: i64,
    pub(super) sales_taken_back: i64,
    pub(super) refunds_taken_back: i64,
    pub(super) fees: i64,
    pub(super) net: i64,
}

/// What a day's journal charges (positive) or gives back per transaction.
pub(super) fn fees(journal: &[Posting]) -> BTreeMap<&str, i64> {
    let mut fees = BTreeMap::new();
    for posting in journal {
        if posting.credit == INCOME_MDR {
            *fees.entry(posting.reference.as_str()).or_default() += posting.minor;
        } else if posting.debit == INCOME_MDR {
            *fees.entry(posting.reference.as_str()).or_default() -= posting.minor;
        }
    }
    fees
}

const COLUMNS: [&str; 11] = [
    "id",
    "kind",
    "action",
    "tid",
    "rrn",
    "card",
    "gross_minor",
    "fee_minor",
    "net_minor",
    "currency",
    "exponent",
];

/// Writes a merchant's statement. Answers its bytes, its rows and its totals.
pub(super) fn write(
    name: &str,
    items: &[&Item],
    fees: &BTreeMap<&str, i64>,
) -> Result<(Vec<u8>, i64, Totals), SettlementError> {
    let range = || SettlementError::Range(name.to_owned());
    let mut table = Table::new(name, &COLUMNS)?;
    let mut totals = Totals::default();
    for item in items {
        let (txn, id) = (&item.txn, item.txn.id.to_string());
        let fee = fees.get(id.as_str()).copied().unwrap_or(0);
        totals.add(item, fee).ok_or_else(range)?;
        let gross = item.signed_minor();
        table.row(&[
            &id,
            txn.kind.name(),
            item.action.name(),
            txn.tid.trimmed(),
            txn.rrn.trimmed(),
            txn.pan.as_ref().map_or("", |pan| pan.masked.as_str()),
            &gross.to_string(),
            &fee.to_string(),
            &(gross - fee).to_string(),
            item.amount.currency().code(),
            &item.amount.currency().exponent().to_string(),
        ])?;
    }
    for (label, minor) in totals.lines() {
        table.row(&["total", label, "", "", "", "", &minor.to_string()])?;
    }
    let (bytes, rows) = table.finish(totals.net)?;
    Ok((bytes, rows, totals))
}

impl Totals {
    fn add(&mut self, item: &Item, fee: i64) -> Option<()> {
        let minor = item.amount.minor();
        let sum = match (item.action, item.side) {
            (Action::Present, Side::Debit) => &mut self.sales,
            (Action::Present, Side::Credit | Side::None) => &mut self.refunds,
            (Action::TakeBack, Side::Debit) => &mut self.sales_taken_back,
            (Action::TakeBack, Side::Credit | Side::None) => &mut self.refunds_taken_back,
        };
        *sum = sum.checked_add(minor)?;
        self.fees = self.fees.checked_add(fee)?;
        self.net = self.net.checked_add(item.signed_minor())?.checked_sub(fee)?;
        Some(())
    }

    fn lines(&self) -> [(&'static str, i64); 6] {
        [
            ("sales", self.sales),
            ("refunds", self.refunds),
            ("sales-taken-back", self.sales_taken_back),
            ("refunds-taken-back", self.refunds_taken_back),
            ("fees", self.fees),
            ("net", self.net),
        ]
    }
}
