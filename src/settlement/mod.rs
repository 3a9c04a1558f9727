//! End of day: the business day and its cut-over, clearing files, statements, and what they post.
//! Holds the store and the HSM as arguments; knows no socket, no dialect and no clock.
//!
//! ```text
//! cut_over   the day closes, the next opens, as one commit
//! run        select what clears → files and postings → temporary files → commit → files in place
//! verify     a file, against its own control totals (ipm)
//! ```
//!
//! The commit decides. What it recorded, files included by their digests, is what the day's settlement
//! is; a run that finds a day settled only puts in place what is missing.

mod artefact;
mod country;
mod csv;
mod cutover;
mod eod;
#[cfg(test)]
mod fake;
mod folder;
pub mod ipm;
#[cfg(test)]
pub(crate) mod sample;
mod select;
mod statement;

pub use cutover::cut_over;
pub use eod::{Mode, Report, Settler, Verdict, run};

use crate::hsm::HsmError;
use crate::ledger::LedgerError;
use crate::store::StoreError;
use crate::transaction::{Currency, Day, IssuerId, Mid, TxnId};
use std::path::PathBuf;

/// What an operator sets.
#[derive(Debug, Clone, Default)]
pub struct SettlementOptions {
    /// The settlement folder. It is made with mode 0700, the files in it with 0600.
    pub dir: PathBuf,
    /// How clearing files are written.
    pub format: ipm::Format,
    /// What clearing files say they are for.
    pub mark: ipm::TestMark,
}

/// Why a day cannot be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The day is open, or to come.
    #[error("business day {0} is not closed; cut over first")]
    DayOpen(Day),
    /// Transactions of the day are without outcome.
    #[error("business day {day} has {count} transactions without an outcome")]
    Unfinished {
        /// The day.
        day: Day,
        /// How many.
        count: usize,
    },
    /// The day is not the one that is open: another cut-over came first.
    #[error("business day {0} could not be closed")]
    NotCutOver(Day),
    /// A transaction of a merchant that is not on file.
    #[error("transaction {id}: merchant {mid} is not on file")]
    UnknownMerchant {
        /// The transaction.
        id: TxnId,
        /// The merchant.
        mid: Mid,
    },
    /// A merchant's record cannot go into a clearing file.
    #[error("merchant {mid}: {what}")]
    Merchant {
        /// The merchant.
        mid: Mid,
        /// What is wrong.
        what: &'static str,
    },
    /// An issuer's record cannot go into a clearing file.
    #[error("issuer {issuer}: {what}")]
    Issuer {
        /// The issuer.
        issuer: IssuerId,
        /// What is wrong.
        what: &'static str,
    },
    /// A transaction that clears lacks what a clearing record needs.
    #[error("transaction {id}: {what}")]
    Transaction {
        /// The transaction.
        id: TxnId,
        /// What is wrong.
        what: &'static str,
    },
    /// A rate or an amount that the books cannot take.
    #[error("transaction {id}: {source}")]
    Ledger {
        /// The transaction.
        id: TxnId,
        /// Why.
        source: LedgerError,
    },
    /// The journal is not one that settlement made.
    #[error("journal of {day}: {source}")]
    Journal {
        /// The day.
        day: Day,
        /// Why.
        source: LedgerError,
    },
    /// Journal and files differ.
    #[error("the journal of {day} and its files differ in account {account}, {currency}")]
    Books {
        /// The day.
        day: Day,
        /// The account.
        account: String,
        /// The currency.
        currency: Currency,
    },
    /// A file cannot hold what it should.
    #[error("{name}: {source}")]
    Format {
        /// The file.
        name: String,
        /// Why.
        source: ipm::Violation,
    },
    /// A CSV file could not be formed.
    #[error("{0}: rows could not be written")]
    Csv(String),
    /// A sum does not fit.
    #[error("{0}: a sum is out of range")]
    Range(String),
    /// A recorded file is missing and cannot be made again.
    #[error(
        "{0} is not in place and its recorded digest cannot be reached again: reference data changed since"
    )]
    Changed(String),
    /// The store did not take the settlement.
    #[error("the store did not take the settlement of {0}")]
    Refused(Day),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The HSM.
    #[error("transaction {id}: {source}")]
    Hsm {
        /// The transaction.
        id: TxnId,
        /// Why.
        source: HsmError,
    },
    /// The settlement folder.
    #[error("{path}: {source}")]
    Folder {
        /// What was touched.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
