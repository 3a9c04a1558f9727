//! CSV files (RFC 4180, UTF-8, LF): the clearing list and the close of the day. A last row holds the
//! number of rows before it, their sum, and the SHA-256 of every byte before it. Card numbers are masked.

use super::SettlementError;
use super::folder::sha256;
use super::select::Item;
use crate::ledger::Posting;
use crate::store::SettlementFile;
use crate::transaction::Side;

/// A CSV file with its control row.
pub(super) struct Table {
    name: String,
    writer: csv::Writer<Vec<u8>>,
    rows: i64,
}

impl Table {
    /// Starts a file with its header row.
    pub(super) fn new(name: &str, header: &[&str]) -> Result<Self, SettlementError> {
        let mut builder = csv::WriterBuilder::new();
        builder.flexible(true).terminator(csv::Terminator::Any(b'\n'));
        let mut table = Self { name: name.to_owned(), writer: builder.from_writer(Vec::new()), rows: 0 };
        table.write(header)?;
        Ok(table)
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: &[&str]) -> Result<(), SettlementError> {
        self.rows += 1;
        self.write(cells)
    }

    /// Ends the file; answers its bytes and the number of its rows.
    pub(super) fn finish(mut self, sum_minor: i64) -> Result<(Vec<u8>, i64), SettlementError> {
        let wrong = |_| SettlementError::Csv(self.name.clone());
        self.writer.flush().map_err(|_| SettlementError::Csv(self.name.clone()))?;
        let digest = sha256(self.writer.get_ref());
        let trailer = ["trailer", &self.rows.to_string(), &sum_minor.to_string(), &digest];
        self.writer.write_record(trailer).map_err(wrong)?;
        let name = self.name.clone();
        let bytes = self.writer.into_inner().map_err(|_| SettlementError::Csv(name))?;
        Ok((bytes, self.rows))
    }

    fn write(&mut self, cells: &[&str]) -> Result<(), SettlementError> {
        self.writer.write_record(cells).map_err(|_| SettlementError::Csv(self.name.clone()))
    }
}

/// The columns of a clearing list. Amounts are positive minor units; `side` is how the transaction
/// moved money and `action` whether the record presents it or takes it back.
const CLEARING: [&str; 16] = [
    "message",
    "id",
    "kind",
    "action",
    "side",
    "mid",
    "tid",
    "batch",
    "stan",
    "rrn",
    "auth_code",
    "card",
    "amount_minor",
    "currency",
    "exponent",
    "business_day",
];

/// The clearing list of the records of one file, in its order. The sum is net: what the issuer owes.
pub(super) fn clearing(name: &str, items: &[&Item]) -> Result<(Vec<u8>, i64, i64), SettlementError> {
    let mut table = Table::new(name, &CLEARING)?;
    let mut net = 0_i64;
    for (index, item) in items.iter().enumerate() {
        let txn = &item.txn;
        net = net.checked_add(item.signed_minor()).ok_or_else(|| SettlementError::Range(name.to_owned()))?;
        table.row(&[
            &(index + 2).to_string(),
            &txn.id.to_string(),
            txn.kind.name(),
            item.action.name(),
            if item.side == Side::Debit { "debit" } else { "credit" },
            txn.mid.trimmed(),
            txn.tid.trimmed(),
            &txn.batch.to_string(),
            &txn.stan.to_string(),
            txn.rrn.trimmed(),
            txn.auth_code.as_ref().map_or("", |code| code.trimmed()),
            txn.pan.as_ref().map_or("", |pan| pan.masked.as_str()),
            &item.amount.minor().to_string(),
            &item.amount.currency().to_string(),
            &item.amount.currency().exponent().to_string(),
            &txn.day.to_string(),
        ])?;
    }
    let (bytes, rows) = table.finish(net)?;
    Ok((bytes, rows, net))
}

/// The close of a day: its files with their digests, its accounts with both sides.
pub(super) fn day_close(
    name: &str,
    files: &[SettlementFile],
    journal: &[Posting],
) -> Result<(Vec<u8>, i64), SettlementError> {
    let header = ["what", "name", "kind", "party", "currency", "records", "debit_or_sum", "credit", "sha256"];
    let mut table = Table::new(name, &header)?;
    for file in files {
        table.row(&[
            "file",
            &file.name,
            &file.kind,
            &file.party,
            &format!("{:03}", file.currency),
            &file.records.to_string(),
            &file.sum_minor.to_string(),
            "",
            &file.sha256,
        ])?;
    }
    for ((currency, account), net) in crate::ledger::trial_balance(journal) {
        let (debit, credit) = (net.debit.to_string(), net.credit.to_string());
        table.row(&["account", &account, "", "", &currency.to_string(), "", &debit, &credit, ""])?;
    }
    table.finish(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_row_covers_every_byte_before_it() {
        let mut table = Table::new("t", &["a", "b"]).unwrap();
        table.row(&["1", "x,\"y\""]).unwrap();
        table.row(&["2", ""]).unwrap();
        let (bytes, rows) = table.finish(-7).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let body = "a,b\n1,\"x,\"\"y\"\"\"\n2,\n";
        assert_eq!(text, format!("{body}trailer,2,-7,{}\n", sha256(body.as_bytes())));
        assert_eq!(rows, 2);
    }
}
