//! The files of a day, as bytes: the same items and journal give the same bytes. Touches no disk.

use super::select::{Action, Item, recorded};
use super::{SettlementError, Settler, country, csv, folder, ipm, statement};
use crate::hsm::{Hsm, HsmError};
use crate::ledger::{self, Posting, Presented};
use crate::store::{Directory, Issuer, Merchant, SettlementFile, Stored};
use crate::transaction::{Currency, Day, IssuerId, Mid, Pan, Side, TxnId};
use std::collections::BTreeMap;

/// A file and its record in the store.
pub(super) struct Artefact {
    pub(super) file: SettlementFile,
    pub(super) bytes: Vec<u8>,
}

/// ISO 4217 "no currency involved".
const NO_CURRENCY: u16 = 999;

/// The items of each clearing file, in the order of file numbers; message numbers follow the items.
type Layout<'a> = BTreeMap<(IssuerId, Currency), Vec<&'a Item>>;

fn layout(items: &[Item]) -> Layout<'_> {
    let mut layout: Layout<'_> = BTreeMap::new();
    for item in items {
        layout.entry((item.txn.issuer, item.amount.currency())).or_default().push(item);
    }
    layout
}

/// The sequence of an acquirer reference: number of the file on its day 3, number of the message 8.
fn sequences(items: &[Item]) -> BTreeMap<TxnId, u64> {
    let files = layout(items).into_values().zip(1_u64..);
    files
        .flat_map(|(items, file)| {
            items
                .into_iter()
                .zip(2_u64..)
                .map(move |(item, message)| (item.txn.id, file * 100_000_000 + message))
        })
        .collect()
}

/// The journal of items that are not posted yet.
///
/// # Errors
/// [`SettlementError`] when a merchant is not on file, its rate is none, or the store cannot be read.
pub(super) fn journal(
    settler: &mut Settler<'_>,
    day: Day,
    items: &[Item],
) -> Result<Vec<Posting>, SettlementError> {
    let merchants = merchants(settler.reader.directory()?);
    let mut earlier: BTreeMap<Day, BTreeMap<String, Vec<Posting>>> = BTreeMap::new();
    let mut journal = Vec::new();
    for item in items {
        match item.action {
            Action::Present => journal.extend(ledger::present(&presented(item, day, &merchants)?)),
            Action::TakeBack => {
                let cleared = item.txn.cleared_day.unwrap_or(day);
                if let std::collections::btree_map::Entry::Vacant(place) = earlier.entry(cleared) {
                    let mut by_reference: BTreeMap<String, Vec<Posting>> = BTreeMap::new();
                    for posting in settler.reader.postings(Some(cleared))? {
                        by_reference.entry(posting.reference.clone()).or_default().push(posting);
                    }
                    place.insert(by_reference);
                }
                let posted = earlier.get(&cleared).and_then(|by| by.get(&item.txn.id.to_string()));
                let posted = posted.map(Vec::as_slice).unwrap_or_default();
                journal.extend(ledger::take_back(posted, item.txn.id, day));
            }
        }
    }
    Ok(journal)
}

fn presented(
    item: &Item,
    day: Day,
    merchants: &BTreeMap<Mid, Merchant>,
) -> Result<Presented, SettlementError> {
    let (id, mid) = (item.txn.id, item.txn.mid);
    let merchant = merchants.get(&mid).ok_or(SettlementError::UnknownMerchant { id, mid })?;
    let fee_minor = match item.side {
        Side::Debit => ledger::discount(item.amount, &merchant.fee_basis_points)
            .map_err(|source| SettlementError::Ledger { id, source })?,
        Side::Credit | Side::None => 0,
    };
    Ok(Presented { id, day, issuer: item.txn.issuer, mid, amount: item.amount, side: item.side, fee_minor })
}

/// Compares the journal with the items: what each issuer owes, what each merchant is owed.
///
/// # Errors
/// [`SettlementError::Journal`] and [`SettlementError::Books`].
pub(super) fn agree(day: Day, items: &[Item], journal: &[Posting]) -> Result<(), SettlementError> {
    ledger::check(journal).map_err(|source| SettlementError::Journal { day, source })?;
    let fees = statement::fees(journal);
    let mut differences: BTreeMap<(Currency, String), i128> = BTreeMap::new();
    let mut add = |currency, account, minor| *differences.entry((currency, account)).or_default() += minor;
    for item in items {
        let (currency, gain) = (item.amount.currency(), i128::from(item.signed_minor()));
        let fee = fees.get(item.txn.id.to_string().as_str()).copied().unwrap_or(0);
        add(currency, ledger::receivable(item.txn.issuer), gain);
        add(currency, ledger::payable(item.txn.mid), i128::from(fee) - gain);
        add(currency, ledger::INCOME_MDR.to_owned(), -i128::from(fee));
    }
    for ((currency, account), net) in ledger::trial_balance(journal) {
        add(currency, account, -net.balance());
    }
    match differences.into_iter().find(|(_, difference)| *difference != 0) {
        None => Ok(()),
        Some(((currency, account), _)) => Err(SettlementError::Books { day, account, currency }),
    }
}

/// Makes the files of a day.
///
/// # Errors
/// [`SettlementError`] when reference data or a transaction does not fit a file.
pub(super) fn files(
    settler: &mut Settler<'_>,
    day: Day,
    items: &[Item],
    journal: &[Posting],
) -> Result<Vec<Artefact>, SettlementError> {
    agree(day, items, journal)?;
    let directory = settler.reader.directory()?;
    let issuers: BTreeMap<IssuerId, Issuer> = directory.issuers.iter().map(|i| (i.id, i.clone())).collect();
    let merchants = merchants(directory);
    let references = references(settler, day, items)?;
    let mut made = Vec::new();
    for (((issuer, currency), items), sequence) in layout(items).into_iter().zip(1_u32..) {
        let institution = institution(issuer, &issuers)?;
        let clearing =
            Clearing { day, sequence, institution, merchants: &merchants, references: &references };
        made.push(clearing.file(settler, &items, (issuer, currency))?);
        made.push(clearing_list(day, &items, (issuer, currency))?);
    }
    made.extend(statements(day, items, journal)?);
    made.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    made.push(day_close(day, &made, journal)?);
    Ok(made)
}

/// Where an acquirer reference comes from: the day and the sequence of the first presentment, also
/// for a record that takes it back.
fn references(
    settler: &mut Settler<'_>,
    day: Day,
    items: &[Item],
) -> Result<BTreeMap<TxnId, (Day, u64)>, SettlementError> {
    let mut days = BTreeMap::from([(day, sequences(items))]);
    let mut found = BTreeMap::new();
    for item in items {
        let of = match item.action {
            Action::Present => day,
            Action::TakeBack => item.txn.cleared_day.unwrap_or(day),
        };
        if let std::collections::btree_map::Entry::Vacant(place) = days.entry(of) {
            place.insert(sequences(&recorded(settler.reader, of)?));
        }
        let sequence = days.get(&of).and_then(|sequences| sequences.get(&item.txn.id)).copied();
        found.insert(item.txn.id, (of, sequence.unwrap_or(0)));
    }
    Ok(found)
}

/// What the records of one clearing file have in common.
struct Clearing<'a> {
    day: Day,
    sequence: u32,
    institution: (u64, String),
    merchants: &'a BTreeMap<Mid, Merchant>,
    references: &'a BTreeMap<TxnId, (Day, u64)>,
}

impl Clearing<'_> {
    fn file(
        &self,
        settler: &Settler<'_>,
        items: &[&Item],
        (issuer, currency): (IssuerId, Currency),
    ) -> Result<Artefact, SettlementError> {
        let name = file_name(&["ipm", issuer.trimmed(), currency.code()], self.day, "ipm");
        let pans = unseal(settler.hsm, items)?;
        let records: Vec<ipm::Presentment> = items
            .iter()
            .zip(pans)
            .map(|(item, pan)| self.presentment(item, pan))
            .collect::<Result<_, _>>()?;
        let id = ipm::FileId { day: self.day, processor: self.institution.0, sequence: self.sequence };
        let options = settler.options;
        let written = ipm::write(id, options.mark, &records, options.format)
            .map_err(|source| SettlementError::Format { name: name.clone(), source })?;
        let range = || SettlementError::Range(name.clone());
        let totals = Figures {
            records: i64::try_from(written.messages).map_err(|_| range())?,
            sum_minor: i64::try_from(written.sum_minor).map_err(|_| range())?,
            currency: currency.numeric(),
        };
        Ok(artefact(("ipm", issuer.trimmed()), &name, self.day, written.bytes, totals))
    }

    fn presentment(&self, item: &Item, pan: Pan) -> Result<ipm::Presentment, SettlementError> {
        let (txn, mid) = (&item.txn, item.txn.mid);
        let merchant =
            self.merchants.get(&mid).ok_or(SettlementError::UnknownMerchant { id: txn.id, mid })?;
        let wrong = |what| SettlementError::Merchant { mid, what };
        if merchant.mcc.len() != 4 || !merchant.mcc.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong("its category code is not four digits"));
        }
        let country = country::alpha_3(&merchant.country)
            .ok_or_else(|| wrong("its country is not an ISO 3166-1 alpha-2 code"))?;
        let (day, sequence) = self.references.get(&txn.id).copied().unwrap_or((self.day, 0));
        Ok(ipm::Presentment {
            pan,
            side: item.side,
            account_types: txn.processing_code.as_str().get(2..).unwrap_or("0000").to_owned(),
            amount: item.amount,
            local_time: local_time(txn),
            expiry: txn.expiry.clone(),
            entry_mode: txn.entry_mode.clone(),
            mcc: merchant.mcc.clone(),
            reference: ipm::acquirer_reference(self.institution.0, day, sequence),
            institution: self.institution.1.clone(),
            rrn: txn.rrn,
            auth_code: txn.auth_code,
            tid: txn.tid,
            mid,
            name: merchant.name.clone(),
            city: merchant.city.clone(),
            country,
            takes_back: (item.action == Action::TakeBack).then_some(day),
        })
    }
}

fn institution(
    issuer: IssuerId,
    issuers: &BTreeMap<IssuerId, Issuer>,
) -> Result<(u64, String), SettlementError> {
    let wrong = |what| SettlementError::Issuer { issuer, what };
    let code = &issuers.get(&issuer).ok_or_else(|| wrong("it is not on file"))?.acquirer_code;
    let sound = (1..=11).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
    let number = code.parse().ok().filter(|_| sound);
    Ok((number.ok_or_else(|| wrong("our institution code with it is not 1 to 11 digits"))?, code.clone()))
}

fn clearing_list(
    day: Day,
    items: &[&Item],
    (issuer, currency): (IssuerId, Currency),
) -> Result<Artefact, SettlementError> {
    let name = file_name(&["clearing", issuer.trimmed(), currency.code()], day, "csv");
    let (bytes, records, sum_minor) = csv::clearing(&name, items)?;
    let figures = Figures { records, sum_minor, currency: currency.numeric() };
    Ok(artefact(("clearing-csv", issuer.trimmed()), &name, day, bytes, figures))
}

fn statements(day: Day, items: &[Item], journal: &[Posting]) -> Result<Vec<Artefact>, SettlementError> {
    let fees = statement::fees(journal);
    let mut merchants: BTreeMap<(Mid, Currency), Vec<&Item>> = BTreeMap::new();
    for item in items {
        merchants.entry((item.txn.mid, item.amount.currency())).or_default().push(item);
    }
    let mut made = Vec::new();
    for ((mid, currency), items) in merchants {
        let name = file_name(&["statement", mid.trimmed(), currency.code()], day, "csv");
        let (bytes, records, totals) = statement::write(&name, &items, &fees)?;
        let figures = Figures { records, sum_minor: totals.net, currency: currency.numeric() };
        made.push(artefact(("statement", mid.trimmed()), &name, day, bytes, figures));
    }
    Ok(made)
}

fn day_close(day: Day, made: &[Artefact], journal: &[Posting]) -> Result<Artefact, SettlementError> {
    let name = file_name(&["day"], day, "csv");
    let files: Vec<SettlementFile> = made.iter().map(|artefact| artefact.file.clone()).collect();
    let (bytes, records) = csv::day_close(&name, &files, journal)?;
    let figures = Figures { records, sum_minor: 0, currency: NO_CURRENCY };
    Ok(artefact(("day-close", ""), &name, day, bytes, figures))
}

struct Figures {
    records: i64,
    sum_minor: i64,
    currency: u16,
}

fn artefact((kind, party): (&str, &str), name: &str, day: Day, bytes: Vec<u8>, of: Figures) -> Artefact {
    let file = SettlementFile {
        day,
        name: name.to_owned(),
        kind: kind.to_owned(),
        party: party.to_owned(),
        sha256: folder::sha256(&bytes),
        records: of.records,
        sum_minor: of.sum_minor,
        currency: of.currency,
    };
    Artefact { file, bytes }
}

/// `ipm-BANK1-CNY-20261123.ipm`. What a file name should not hold is written as `%` and two hexadecimal
/// digits, so two parties never share a name (currency and day have fixed widths).
fn file_name(parts: &[&str], day: Day, extension: &str) -> String {
    let safe = |part: &&str| -> String {
        part.bytes()
            .map(|b| match b {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-' => char::from(b).to_string(),
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    let parts: Vec<String> = parts.iter().map(safe).collect();
    format!("{}-{}.{extension}", parts.join("-"), day.0)
}

/// DE 12 of a clearing record, `YYMMDDhhmmss`: the terminal's clock in the year that brings it closest to
/// the receipt; the receipt's own time (UTC) when the terminal's clock shows no date of the calendar.
fn local_time(txn: &Stored) -> String {
    let received = jiff::Timestamp::from_millisecond(txn.received_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let received = received.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let years = [-1, 0, 1].map(|distance| received.year().saturating_add(distance));
    let candidates = years.into_iter().filter_map(|year| {
        jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", format!("{year:04}{}", txn.terminal_time)).ok()
    });
    let distance = |time: &jiff::civil::DateTime| time.duration_since(received).as_secs().unsigned_abs();
    candidates.min_by_key(distance).unwrap_or(received).strftime("%y%m%d%H%M%S").to_string()
}

/// The card numbers of items, in their order. The verbs of an HSM are futures that may need a runtime;
/// they get one of their own, on a thread of its own, so that any caller may settle.
fn unseal(hsm: &dyn Hsm, items: &[&Item]) -> Result<Vec<Pan>, SettlementError> {
    let id = items.first().map_or(TxnId(0), |item| item.txn.id);
    let failed = |what| SettlementError::Hsm { id, source: HsmError::Failure(what) };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|_| failed("no runtime"))?.block_on(unseal_all(hsm, items))
        });
        thread.join().unwrap_or_else(|_| Err(failed("it panicked")))
    })
}

async fn unseal_all(hsm: &dyn Hsm, items: &[&Item]) -> Result<Vec<Pan>, SettlementError> {
    let mut pans = Vec::with_capacity(items.len());
    for item in items {
        let id = item.txn.id;
        let sealed = item.txn.pan.as_ref();
        let sealed = sealed.ok_or(SettlementError::Transaction { id, what: "no card number" })?;
        let pan = hsm.unseal(sealed).await;
        pans.push(pan.map_err(|source| SettlementError::Hsm { id, source })?);
    }
    Ok(pans)
}

fn merchants(directory: Directory) -> BTreeMap<Mid, Merchant> {
    directory.merchants.into_iter().map(|merchant| (merchant.mid, merchant)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{DAY, txn};
    use super::*;
    use crate::transaction::Kind;

    #[test]
    fn names_are_safe_and_distinct() {
        let rows = [
            ("BANK1", "ipm-BANK1-CNY-20261123.ipm"),
            ("../x", "ipm-%2E%2E%2Fx-CNY-20261123.ipm"),
            ("A B", "ipm-A%20B-CNY-20261123.ipm"),
            ("A%20B", "ipm-A%2520B-CNY-20261123.ipm"),
        ];
        for (party, want) in rows {
            assert_eq!(file_name(&["ipm", party, "CNY"], DAY, "ipm"), want);
        }
    }

    #[test]
    fn the_terminals_clock_gets_the_year_that_fits() {
        // 2026-11-23T12:00:00Z and 2027-01-01T00:00:10Z.
        let (noon, new_year) = (1_795_435_200_000, 1_798_761_610_000);
        let rows = [
            (noon, "1123120001", "261123120001"),
            (noon, "1122235959", "261122235959"),
            (new_year, "1231235959", "261231235959"),
            (new_year, "0101000001", "270101000001"),
            (noon, "0101000000", "270101000000"),
            (noon, "0230120000", "261123120000"), // no such day: the time of receipt
            (noon, "", "261123120000"),
            (noon, "11231", "261123120000"),
        ];
        for (received_ms, terminal_time, want) in rows {
            let row = Stored { received_ms, terminal_time: terminal_time.into(), ..txn(1, Kind::Sale, 100) };
            assert_eq!(local_time(&row), want, "{terminal_time}");
        }
    }

    #[test]
    fn a_journal_that_differs_from_its_items_is_refused() {
        let item = |id| Item {
            txn: txn(id, Kind::Sale, 10_000),
            action: Action::Present,
            side: Side::Debit,
            amount: crate::transaction::Amount::new(10_000, Currency::CNY).unwrap(),
        };
        let items = [item(1), item(2)];
        let merchants = merchants(super::super::fake::directory());
        let journal: Vec<Posting> =
            items.iter().flat_map(|i| ledger::present(&presented(i, DAY, &merchants).unwrap())).collect();
        assert!(agree(DAY, &items, &journal).is_ok());
        type Row = (&'static str, fn(&mut Vec<Posting>));
        let rows: [Row; 5] = [
            ("one minor unit", |j| j[0].minor += 1),
            ("a leg lost", |j| drop(j.remove(0))),
            ("another account", |j| j[0].credit = "Pay.Merchant:OTHER".into()),
            ("another currency", |j| j[0].currency = Currency::GBP),
            ("a leg twice", |j| j.push(j[0].clone())),
        ];
        for (name, alter) in rows {
            let mut altered = journal.clone();
            alter(&mut altered);
            assert!(agree(DAY, &items, &altered).is_err(), "{name}");
        }
    }
}
