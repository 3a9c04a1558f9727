//! What the books show to others: entries, balances and their sums, without a whole card number.

use super::request::Kind;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

/// One message that was answered and remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Place in the journal, from 0.
    pub order: usize,
    /// As it came.
    pub mti: String,
    /// DE 11.
    pub stan: String,
    /// DE 7.
    pub de7: String,
    /// DE 32.
    pub acquirer: String,
    /// DE 37.
    pub rrn: String,
    /// What it was taken for.
    pub kind: Kind,
    /// The account's label, when the card was known.
    pub account: Option<String>,
    /// Its card, masked.
    pub pan: Option<String>,
    /// Its currency, ISO 4217 numeric.
    pub currency: Option<String>,
    /// DE 4.
    pub amount_minor: i64,
    /// What was posted, held or undone of it: less than DE 4 in a partial approval, 0 when declined.
    pub posted_minor: i64,
    /// Change of the account's balance.
    pub balance_minor: i64,
    /// Change of what is held on the account.
    pub held_minor: i64,
    /// DE 39 of the answer.
    pub code: String,
    /// DE 38 of the answer.
    pub auth_code: Option<String>,
    /// The entry that it voids, refunds, completes or reverses.
    pub original: Option<usize>,
    /// A reversal has undone it since.
    pub reversed: bool,
}

/// Where an account stands, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountBalance {
    /// The account's label.
    pub account: String,
    /// Its card, masked.
    pub pan: String,
    /// ISO 4217 numeric.
    pub currency: String,
    /// At first.
    pub opening_minor: i64,
    /// Now.
    pub balance_minor: i64,
    /// Held for pre-authorizations.
    pub held_minor: i64,
    /// Balance without what is held.
    pub available_minor: i64,
}

/// An issuer's books as they are written to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// The issuer's name.
    pub issuer: String,
    /// Balances.
    pub accounts: Vec<AccountBalance>,
    /// See [`super::Books::net_by_rrn`].
    pub net_by_rrn: BTreeMap<String, i64>,
    /// Entries in order.
    pub journal: Vec<Entry>,
}

impl Export {
    /// Writes the export as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut out = io::BufWriter::new(std::fs::File::create(path)?);
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

pub(super) fn net_by_rrn(journal: &[Entry]) -> BTreeMap<String, i64> {
    let mut net: BTreeMap<String, i64> = BTreeMap::new();
    let mut moved: HashSet<&str> = HashSet::new();
    for entry in journal {
        let undone = if entry.kind == Kind::Reversal { entry.original } else { None };
        let rrn = undone.and_then(|order| journal.get(order)).map_or(&entry.rrn, |original| &original.rrn);
        if entry.balance_minor != 0 {
            moved.insert(rrn);
        }
        *net.entry(rrn.clone()).or_default() -= entry.balance_minor;
    }
    net.retain(|rrn, _| moved.contains(rrn.as_str()));
    net
}
