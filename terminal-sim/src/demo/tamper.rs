//! Alters one amount in a book, by one minor unit, so that the comparison of the books is seen to notice.

use super::story::Day;
use crate::issuer::Export;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tollgate::settlement::ipm::{self, Encoding};

/// A book of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Book {
    /// The terminals' own batches.
    Terminals,
    /// The switch's transactions.
    Switch,
    /// The issuers' journals.
    Issuers,
    /// The clearing files.
    Files,
}

/// The amount of a terminal's first item.
pub(super) fn item(day: &mut Day) -> Result<()> {
    let mut items = day.batches.iter_mut().flat_map(|batch| &mut batch.items);
    items.next().context("no item in any batch")?.minor += 1;
    Ok(())
}

/// The amount of an approved sale in the switch's list.
pub(super) fn row(transactions: &mut [Value]) -> Result<()> {
    let mut sales = transactions.iter_mut().filter(|row| row["kind"] == "sale" && row["state"] == "approved");
    let sale = sales.next().context("no approved sale")?;
    let minor = sale["amount_minor"].as_i64().context("its amount")?;
    sale["amount_minor"] = json!(minor + 1);
    Ok(())
}

/// What an issuer's first entry that moved money moved.
pub(super) fn entry(books: &mut Export) -> Result<()> {
    let mut entries = books.journal.iter_mut().filter(|entry| entry.balance_minor != 0);
    entries.next().context("no entry moved money")?.balance_minor += 1;
    Ok(())
}

/// The last digit of DE 4 of a clearing file's first presentment.
pub(super) fn presentment(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let file = ipm::verify(&bytes)?;
    let zone = match file.encoding {
        Encoding::Cp500 => 0xF0,
        Encoding::Latin1 => 0x30,
    };
    let first = file.records.iter().find(|record| record.mti() == "1240").context("no presentment")?;
    let amount = first.text(4).context("a presentment without DE 4")?;
    let digits: Vec<u8> = amount.bytes().map(|digit| zone | (digit & 0x0F)).collect();
    let place = bytes
        .windows(digits.len())
        .position(|window| window == digits)
        .context("DE 4 is not in one piece")?;
    let last = &mut bytes[place + digits.len() - 1];
    *last = if *last == zone | 9 { zone } else { *last + 1 };
    fs::write(path, bytes)?;
    Ok(())
}
