//! A day's settlement from selection to files in place. Every decision is in another file; this one
//! holds their order, which is what a crash can fall into.
//!
//! ```text
//! 1 write every file under a temporary name, flushed      crash: nothing happened; the next run starts anew
//! 2 commit: what cleared, the files' digests, the journal crash: the next run finds the day settled
//! 3 rename every file, flush the folder                   crash: the next run renames what is left
//! ```
//!
//! So a file in place is always one that the store recorded, and a recorded file can always be put in
//! place: from its temporary name, or made again to the same digest.

use super::artefact::{self, Artefact};
use super::folder::Folder;
use super::select::{Action, Item, recorded, select};
use super::{SettlementError, SettlementOptions};
use crate::crash;
use crate::hsm::Hsm;
use crate::store::{Backend, Cleared, ClearedItem, Op, Outcome, Reader, SettlementFile};
use crate::transaction::{Day, TxnId};

/// What settlement works with.
pub struct Settler<'a> {
    /// A read-only connection to the store.
    pub reader: &'a mut dyn Reader,
    /// Where the decision is committed.
    pub backend: &'a mut dyn Backend,
    /// Opens the card numbers for the clearing files.
    pub hsm: &'a dyn Hsm,
    /// What the operator set.
    pub options: &'a SettlementOptions,
}

/// Whether a run settles or only shows what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Settles.
    Settle,
    /// Makes the files in memory and writes nothing, neither file nor row.
    Preview,
}

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The day was not settled and is only shown.
    Preview,
    /// The day is settled by this run.
    Settled,
    /// The day was settled before; every file is in place.
    SettledBefore,
}

impl Verdict {
    /// A stable name, for people and scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Settled => "settled",
            Self::SettledBefore => "settled-before",
        }
    }
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The business day.
    pub day: Day,
    /// What became of it.
    pub verdict: Verdict,
    /// Transactions that its files present.
    pub presented: usize,
    /// Transactions that its files take back.
    pub taken_back: usize,
    /// Presented, taken back, and standing again: a person must present them.
    pub exceptions: Vec<TxnId>,
    /// Its files, by name.
    pub files: Vec<SettlementFile>,
    /// Files that this run put in place again although the day was settled before.
    pub restored: Vec<String>,
}

/// How often a run starts anew because a transaction changed between its selection and its commit.
const ATTEMPTS: u32 = 5;

/// Settles a closed business day. Settling it again gives the same files and no new rows.
///
/// # Errors
/// [`SettlementError`]. A run that failed may be started again.
pub fn run(settler: &mut Settler<'_>, day: Day, mode: Mode) -> Result<Report, SettlementError> {
    run_observed(settler, day, mode, &mut |done| {
        crash::point(done.point());
        Ok(())
    })
}

/// A place that a crash can fall on: after this, before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    Written(String),
    Committed,
    Placed(String),
    Synced,
}

impl Done {
    /// Its name among the crash points of the process.
    const fn point(&self) -> &'static str {
        match self {
            Self::Written(_) => "settlement-written",
            Self::Committed => "settlement-committed",
            Self::Placed(_) => "settlement-placed",
            Self::Synced => "settlement-synced",
        }
    }
}

type Observer<'a> = dyn FnMut(Done) -> Result<(), SettlementError> + 'a;

fn run_observed(
    settler: &mut Settler<'_>,
    day: Day,
    mode: Mode,
    observe: &mut Observer<'_>,
) -> Result<Report, SettlementError> {
    let (open, _) = settler.reader.day()?;
    if day >= open {
        return Err(SettlementError::DayOpen(day));
    }
    if mode == Mode::Preview {
        return preview(settler, day);
    }
    let folder = Folder::open(&settler.options.dir)?;
    for _ in 0..ATTEMPTS {
        if is_settled(settler, day)? {
            return again(settler, day, &folder, observe);
        }
        folder.sweep(&day.0.to_string())?;
        if let Some(report) = settle(settler, day, &folder, observe)? {
            return Ok(report);
        }
    }
    Err(SettlementError::Refused(day))
}

/// A settled day has at least the file of its close.
fn is_settled(settler: &mut Settler<'_>, day: Day) -> Result<bool, SettlementError> {
    Ok(!settler.reader.files(Some(day))?.is_empty())
}

fn preview(settler: &mut Settler<'_>, day: Day) -> Result<Report, SettlementError> {
    if is_settled(settler, day)? {
        let items = recorded(settler.reader, day)?;
        let files = settler.reader.files(Some(day))?;
        return Ok(report(day, Verdict::SettledBefore, &items, files));
    }
    let selection = select(settler.reader, day)?;
    let journal = artefact::journal(settler, day, &selection.items)?;
    let made = artefact::files(settler, day, &selection.items, &journal)?;
    let preview = report(day, Verdict::Preview, &selection.items, files_of(&made));
    Ok(Report { exceptions: selection.exceptions, ..preview })
}

/// Settles a day that is not; none when the store found that something changed since the selection.
fn settle(
    settler: &mut Settler<'_>,
    day: Day,
    folder: &Folder,
    observe: &mut Observer<'_>,
) -> Result<Option<Report>, SettlementError> {
    let selection = select(settler.reader, day)?;
    let postings = artefact::journal(settler, day, &selection.items)?;
    let made = artefact::files(settler, day, &selection.items, &postings)?;
    for artefact in &made {
        folder.write(&artefact.file.name, &artefact.bytes)?;
        observe(Done::Written(artefact.file.name.clone()))?;
    }
    let files = files_of(&made);
    let cleared = Cleared { day, items: marks(&selection.items), files: files.clone(), postings };
    if !commit(settler.backend, cleared)? || !are_recorded(settler, day, &files)? {
        return Ok(None);
    }
    observe(Done::Committed)?;
    for file in &files {
        folder.place(&file.name)?;
        observe(Done::Placed(file.name.clone()))?;
    }
    folder.sync()?;
    observe(Done::Synced)?;
    let settled = report(day, Verdict::Settled, &selection.items, files);
    Ok(Some(Report { exceptions: selection.exceptions, ..settled }))
}

/// Whether these files are the day's, and not those of a run elsewhere that came first.
fn are_recorded(
    settler: &mut Settler<'_>,
    day: Day,
    files: &[SettlementFile],
) -> Result<bool, SettlementError> {
    let recorded = settler.reader.files(Some(day))?;
    Ok(recorded.len() == files.len() && files.iter().all(|file| recorded.contains(file)))
}

/// Whether the store took it; not when a transaction is no longer as it was selected.
fn commit(backend: &mut dyn Backend, cleared: Cleared) -> Result<bool, SettlementError> {
    let day = cleared.day;
    let answers = backend.commit(&[Op::Cleared(Box::new(cleared))])?;
    match answers.first().map(|answer| &answer.outcome) {
        Some(Outcome::Done) => Ok(true),
        Some(Outcome::Refused(_) | Outcome::Lost { .. }) => Ok(false),
        Some(_) | None => Err(SettlementError::Refused(day)),
    }
}

/// Puts in place what a settled day lacks.
fn again(
    settler: &mut Settler<'_>,
    day: Day,
    folder: &Folder,
    observe: &mut Observer<'_>,
) -> Result<Report, SettlementError> {
    let files = settler.reader.files(Some(day))?;
    let items = recorded(settler.reader, day)?;
    let mut missing = Vec::new();
    for file in &files {
        if folder.digest(&file.name)?.as_ref() != Some(&file.sha256) {
            missing.push(file.clone());
        }
    }
    for file in remake(settler, day, folder, &missing)? {
        folder.write(&file.file.name, &file.bytes)?;
        observe(Done::Written(file.file.name))?;
    }
    for file in &missing {
        folder.place(&file.name)?;
        observe(Done::Placed(file.name.clone()))?;
    }
    folder.sync()?;
    folder.sweep(&day.0.to_string())?;
    observe(Done::Synced)?;
    let restored = missing.into_iter().map(|file| file.name).collect();
    Ok(Report { restored, ..report(day, Verdict::SettledBefore, &items, files) })
}

/// Makes again, from the items and the journal as recorded, the files that are not even under their
/// temporary names.
fn remake(
    settler: &mut Settler<'_>,
    day: Day,
    folder: &Folder,
    missing: &[SettlementFile],
) -> Result<Vec<Artefact>, SettlementError> {
    let mut lost = Vec::new();
    for file in missing {
        if folder.temporary_digest(&file.name)?.as_ref() != Some(&file.sha256) {
            lost.push(file);
        }
    }
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let items = recorded(settler.reader, day)?;
    let journal = settler.reader.postings(Some(day))?;
    let mut made = artefact::files(settler, day, &items, &journal)?;
    made.retain(|artefact| lost.iter().any(|file| **file == artefact.file));
    match lost.iter().find(|file| !made.iter().any(|artefact| artefact.file == ***file)) {
        Some(file) => Err(SettlementError::Changed(file.name.clone())),
        None => Ok(made),
    }
}

fn files_of(made: &[Artefact]) -> Vec<SettlementFile> {
    made.iter().map(|artefact| artefact.file.clone()).collect()
}

fn marks(items: &[Item]) -> Vec<ClearedItem> {
    let mark = |item: &Item| ClearedItem { id: item.txn.id, takes_back: item.action == Action::TakeBack };
    items.iter().map(mark).collect()
}

fn report(day: Day, verdict: Verdict, items: &[Item], mut files: Vec<SettlementFile>) -> Report {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let taken_back = items.iter().filter(|item| item.action == Action::TakeBack).count();
    Report {
        day,
        verdict,
        presented: items.len() - taken_back,
        taken_back,
        exceptions: Vec::new(),
        files,
        restored: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{DAY, Fake, FakeHsm, PAN, txn};
    use super::super::{cut_over, ipm};
    use super::*;
    use crate::ledger;
    use crate::lifecycle::State;
    use crate::store::Stored;
    use crate::transaction::{Amount, Currency, IssuerId, Kind};
    use std::collections::BTreeMap;
    use std::path::Path;

    const NEXT: Day = Day(20_261_124);

    /// A run on a store and a folder, stopped before the `crash`th step when there is one.
    fn run_once(store: &Fake, dir: &Path, day: Day, crash: Option<usize>) -> Result<Report, SettlementError> {
        let options = SettlementOptions { dir: dir.to_owned(), ..SettlementOptions::default() };
        let (mut reader, mut backend) = (store.clone(), store.clone());
        let mut settler =
            Settler { reader: &mut reader, backend: &mut backend, hsm: &FakeHsm, options: &options };
        let mut steps = 0;
        run_observed(&mut settler, day, Mode::Settle, &mut |done| {
            steps += 1;
            if Some(steps) == crash {
                return Err(SettlementError::Csv(format!("crash after {done:?}")));
            }
            Ok(())
        })
    }

    fn settle_day(store: &Fake, dir: &Path, day: Day) -> Report {
        run_once(store, dir, day, None).unwrap()
    }

    fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
            .filter(|(name, _)| name != ".lock")
            .collect()
    }

    fn day_of_trade() -> Vec<Stored> {
        let in_gbp = Some(Amount::new(700, Currency::GBP).unwrap());
        vec![
            txn(1, Kind::Sale, 10_000),
            txn(2, Kind::Refund, 2_000),
            txn(3, Kind::OfflineSale, 333),
            Stored { state: State::Voided, ..txn(4, Kind::Sale, 50) },
            Stored { original: Some(TxnId(4)), ..txn(5, Kind::Void, 50) },
            Stored { issuer: IssuerId::new("BANK2").unwrap(), ..txn(6, Kind::Completion, 900) },
            Stored { amount: in_gbp, ..txn(7, Kind::Sale, 700) },
            Stored { state: State::TimedOut, ..txn(8, Kind::Sale, 1) },
            Stored { state: State::Reversed, ..txn(9, Kind::Sale, 1) },
            Stored { original: Some(TxnId(9)), ..txn(10, Kind::Reversal, 1) },
            Stored { state: State::Completed, ..txn(11, Kind::PreAuth, 900) },
            txn(12, Kind::Balance, 0),
        ]
    }

    #[test]
    fn a_day_becomes_files_rows_and_postings() {
        let store = Fake::new(day_of_trade());
        let dir = tempfile::tempdir().unwrap();
        let report = settle_day(&store, dir.path(), DAY);
        assert_eq!((report.presented, report.taken_back, report.verdict), (5, 0, Verdict::Settled));
        let names: Vec<String> = contents(dir.path()).into_keys().collect();
        let want = [
            "clearing-BANK1-CNY-20261123.csv",
            "clearing-BANK1-GBP-20261123.csv",
            "clearing-BANK2-CNY-20261123.csv",
            "day-20261123.csv",
            "ipm-BANK1-CNY-20261123.ipm",
            "ipm-BANK1-GBP-20261123.ipm",
            "ipm-BANK2-CNY-20261123.ipm",
            "statement-M00000000000001-CNY-20261123.csv",
            "statement-M00000000000001-GBP-20261123.csv",
        ];
        assert_eq!(names, want);
        let sums = |kind: &str| -> Vec<(String, i64, i64)> {
            let of_kind = report.files.iter().filter(|file| file.kind == kind);
            of_kind.map(|f| (f.party.clone(), f.records, f.sum_minor)).collect()
        };
        let bank = |name: &str, records, sum| (name.to_owned(), records, sum);
        let want = [bank("BANK1", 5, 12_333), bank("BANK1", 3, 700), bank("BANK2", 3, 900)];
        assert_eq!(sums("ipm"), want);
        let want = [bank("BANK1", 3, 8_333), bank("BANK1", 1, 700), bank("BANK2", 1, 900)];
        assert_eq!(sums("clearing-csv"), want);
        // Fees at 1.5 %: 150 + 5 (4.995) + 14 (13.5, half to even) and 10 (10.5, half to even).
        let statements: Vec<i64> = sums("statement").into_iter().map(|(_, _, net)| net).collect();
        assert_eq!(statements, [10_000 - 2_000 + 333 + 900 - 150 - 5 - 14, 700 - 10]);
        store.with(|m| {
            assert_eq!(ledger::check(&m.postings), Ok(()));
            let cleared: Vec<i64> =
                m.rows.iter().filter(|r| r.cleared_day == Some(DAY)).map(|r| r.id.0).collect();
            assert_eq!(cleared, [1, 2, 3, 6, 7]);
            let bank = ledger::receivable(IssuerId::new("BANK1").unwrap());
            assert_eq!(ledger::trial_balance(&m.postings)[&(Currency::CNY, bank)].balance(), 8_333);
        });
        for (name, bytes) in contents(dir.path()) {
            let holds_pan = bytes.windows(PAN.len()).any(|w| w == PAN.as_bytes());
            assert!(!holds_pan, "{name} holds a card number in ASCII");
        }
    }

    #[test]
    fn clearing_files_verify() {
        let store = Fake::new(day_of_trade());
        let dir = tempfile::tempdir().unwrap();
        settle_day(&store, dir.path(), DAY);
        let bytes = std::fs::read(dir.path().join("ipm-BANK1-CNY-20261123.ipm")).unwrap();
        let verified = ipm::verify(&bytes).unwrap();
        let codes: Vec<String> = verified.records.iter().filter_map(|record| record.text(3)).collect();
        assert_eq!(codes, ["000000", "200000", "000000"]);
        assert_eq!(verified.records[1].text(2).as_deref(), Some(PAN));
        assert_eq!(verified.records[1].text(12).as_deref(), Some("261123120000"));
        assert_eq!(verified.records[1].text(43).unwrap(), format!(r"TEA HOUSE\-\SHANGHAI\{:13}CHN", ""));
        assert_eq!(verified.file_id, "0022611230000305600000001");
    }

    #[test]
    fn a_day_that_cannot_be_settled_says_why_and_leaves_nothing() {
        type Row = (&'static str, Day, fn(&Fake), &'static str);
        let rows: [Row; 8] = [
            ("open", NEXT, |_| (), "business day 2026-11-24 is not closed; cut over first"),
            (
                "unfinished",
                DAY,
                |s| {
                    s.alter(1, |r| r.state = State::Sent);
                    s.alter(2, |r| r.state = State::Abandoned);
                },
                "business day 2026-11-23 has 2 transactions without an outcome",
            ),
            (
                "no merchant",
                DAY,
                |s| s.with(|m| m.directory.merchants.clear()),
                "transaction 1: merchant M00000000000001 is not on file",
            ),
            (
                "no issuer",
                DAY,
                |s| s.with(|m| m.directory.issuers.clear()),
                "issuer BANK1: it is not on file",
            ),
            (
                "a rate that is none",
                DAY,
                |s| s.with(|m| m.directory.merchants[0].fee_basis_points = "x".into()),
                "transaction 1: merchant discount \"x\" is not a number of basis points from 0 to 10000",
            ),
            (
                "a country that is none",
                DAY,
                |s| s.with(|m| m.directory.merchants[0].country = "XX".into()),
                "merchant M00000000000001: its country is not an ISO 3166-1 alpha-2 code",
            ),
            ("no card", DAY, |s| s.alter(1, |r| r.pan = None), "transaction 1: no card number"),
            (
                "a sealed card altered",
                DAY,
                |s| s.alter(1, |r| r.pan.as_mut().unwrap().cipher.clear()),
                "transaction 1: sealed card number is not authentic",
            ),
        ];
        for (name, day, prepare, want) in rows {
            let store = Fake::new(day_of_trade());
            prepare(&store);
            let dir = tempfile::tempdir().unwrap();
            let error = run_once(&store, dir.path(), day, None).unwrap_err();
            assert_eq!(error.to_string(), want, "{name}");
            assert!(contents(dir.path()).is_empty(), "{name}");
            store.with(|m| assert!(m.files.is_empty() && m.postings.is_empty(), "{name}"));
        }
    }

    #[test]
    fn files_are_reproducible() {
        let store = Fake::new(day_of_trade());
        let dir = tempfile::tempdir().unwrap();
        settle_day(&store, dir.path(), DAY);
        let (first, rows) = (contents(dir.path()), store.with(|m| (m.files.clone(), m.postings.clone())));
        let again = settle_day(&store, dir.path(), DAY);
        assert_eq!((again.verdict, again.presented, again.restored.len()), (Verdict::SettledBefore, 5, 0));
        assert_eq!(contents(dir.path()), first);
        // Lost or altered files are made again, also when the merchant's rate changed since.
        store.with(|m| m.directory.merchants[0].fee_basis_points = "9".into());
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(settle_day(&store, elsewhere.path(), DAY).restored.len(), first.len());
        assert_eq!(contents(elsewhere.path()), first);
        std::fs::write(dir.path().join("day-20261123.csv"), "altered").unwrap();
        assert_eq!(settle_day(&store, dir.path(), DAY).restored, ["day-20261123.csv"]);
        assert_eq!(contents(dir.path()), first);
        assert_eq!(store.with(|m| (m.files.clone(), m.postings.clone())), rows);
        // A clearing file names the merchant: with another name it cannot be reached again.
        store.with(|m| m.directory.merchants[0].name = "COFFEE HOUSE".into());
        std::fs::remove_file(dir.path().join("ipm-BANK2-CNY-20261123.ipm")).unwrap();
        let error = run_once(&store, dir.path(), DAY, None).unwrap_err();
        assert!(error.to_string().starts_with("ipm-BANK2-CNY-20261123.ipm is not in place"), "{error}");
    }

    #[test]
    fn a_crash_at_any_step_and_a_second_run_give_the_files_of_an_uncrashed_run() {
        let whole = tempfile::tempdir().unwrap();
        let store = Fake::new(day_of_trade());
        settle_day(&store, whole.path(), DAY);
        let (want, postings) = (contents(whole.path()), store.with(|m| m.postings.clone()));
        let steps = 9 + 1 + 9 + 1;
        for crash in 1..=steps {
            let (store, dir) = (Fake::new(day_of_trade()), tempfile::tempdir().unwrap());
            run_once(&store, dir.path(), DAY, Some(crash)).unwrap_err();
            for (name, bytes) in contents(dir.path()).into_iter().filter(|(name, _)| !name.starts_with('.')) {
                assert_eq!(Some(&bytes), want.get(&name), "{name} after step {crash} is whole and final");
                assert!(store.with(|m| m.files.iter().any(|f| f.name == name)), "and recorded");
            }
            settle_day(&store, dir.path(), DAY);
            assert_eq!(contents(dir.path()), want, "after step {crash}");
            assert_eq!(store.with(|m| m.postings.clone()), postings, "after step {crash}");
        }
        let (store, dir) = (Fake::new(day_of_trade()), tempfile::tempdir().unwrap());
        assert!(run_once(&store, dir.path(), DAY, Some(steps + 1)).is_ok(), "every step was crashed at");
    }

    #[test]
    fn a_transaction_undone_between_selection_and_commit_is_in_no_file() {
        let (store, dir) = (Fake::new(day_of_trade()), tempfile::tempdir().unwrap());
        let options = SettlementOptions { dir: dir.path().to_owned(), ..SettlementOptions::default() };
        let (mut reader, mut backend) = (store.clone(), store.clone());
        let mut settler =
            Settler { reader: &mut reader, backend: &mut backend, hsm: &FakeHsm, options: &options };
        let undone = store.clone();
        let report = run_observed(&mut settler, DAY, Mode::Settle, &mut |done| {
            if done == Done::Written("ipm-BANK2-CNY-20261123.ipm".into()) {
                undone.alter(6, |row| row.state = State::Reversed);
            }
            Ok(())
        });
        assert_eq!(report.unwrap().presented, 4);
        assert!(!contents(dir.path()).keys().any(|name| name.contains("BANK2")), "not even a temporary one");
    }

    #[test]
    fn a_late_reversal_or_void_is_taken_back_once_and_leaves_no_money() {
        for (kind, state) in [(Kind::Reversal, State::Reversed), (Kind::Void, State::Voided)] {
            for minor in [10_000, 333] {
                let (store, dir) = (Fake::new(vec![txn(1, Kind::Sale, minor)]), tempfile::tempdir().unwrap());
                settle_day(&store, dir.path(), DAY);
                store.with(|m| {
                    m.rows.push(Stored { day: NEXT, original: Some(TxnId(1)), ..txn(2, kind, minor) });
                    m.open = NEXT.next().0;
                });
                store.alter(1, |row| row.state = state);
                store.with(|m| m.directory.merchants[0].fee_basis_points = "9".into());
                let report = settle_day(&store, dir.path(), NEXT);
                assert_eq!((report.presented, report.taken_back), (0, 1));
                let bytes = |day: Day| {
                    std::fs::read(dir.path().join(format!("ipm-BANK1-CNY-{}.ipm", day.0))).unwrap()
                };
                let (first, second) = (ipm::verify(&bytes(DAY)).unwrap(), ipm::verify(&bytes(NEXT)).unwrap());
                for de in [2, 3, 4, 12, 31, 37] {
                    assert_eq!(first.records[1].text(de), second.records[1].text(de), "DE {de}");
                }
                assert_eq!(second.records[1].private().unwrap()[&25], "R261123");
                let postings = store.with(|m| m.postings.clone());
                assert!(ledger::trial_balance(&postings).values().all(|net| net.balance() == 0));
                store.with(|m| {
                    let third = Day(20_261_125);
                    m.rows.push(Stored { day: third, original: Some(TxnId(1)), ..txn(3, kind, minor) });
                    m.open = third.next().0;
                });
                let later = settle_day(&store, dir.path(), Day(20_261_125));
                assert_eq!((later.presented, later.taken_back), (0, 0));
            }
        }
    }

    #[test]
    fn a_reversal_before_the_file_keeps_the_sale_out_of_it() {
        let late = Stored { day: NEXT, original: Some(TxnId(1)), ..txn(2, Kind::Reversal, 10_000) };
        let store = Fake::new(vec![Stored { state: State::Reversed, ..txn(1, Kind::Sale, 10_000) }, late]);
        store.with(|m| m.open = NEXT.next().0);
        let dir = tempfile::tempdir().unwrap();
        for day in [DAY, NEXT] {
            let report = settle_day(&store, dir.path(), day);
            assert_eq!((report.presented, report.taken_back), (0, 0), "{day}");
        }
        assert!(store.with(|m| m.postings.is_empty()));
    }

    /// A sale voided on its day stays out of that day's files. When the void is reversed a day later the
    /// sale stands again: it is presented then, once.
    #[test]
    fn a_sale_whose_void_was_reversed_late_is_presented_late() {
        let store = Fake::new(vec![
            Stored { state: State::Voided, ..txn(1, Kind::Sale, 10_000) },
            Stored { original: Some(TxnId(1)), ..txn(2, Kind::Void, 10_000) },
        ]);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(settle_day(&store, dir.path(), DAY).presented, 0);
        store.alter(1, |row| row.state = State::Approved);
        store.alter(2, |row| row.state = State::Reversed);
        store.with(|m| {
            m.rows.push(Stored { day: NEXT, original: Some(TxnId(2)), ..txn(3, Kind::Reversal, 10_000) });
            m.open = NEXT.next().0;
        });
        let report = settle_day(&store, dir.path(), NEXT);
        assert_eq!((report.presented, report.taken_back, report.exceptions.len()), (1, 0, 0));
        assert_eq!(settle_day(&store, dir.path(), DAY).presented, 0, "and not by its own day");
    }

    #[test]
    fn a_preview_is_what_the_run_then_does() {
        let (store, dir) = (Fake::new(day_of_trade()), tempfile::tempdir().unwrap());
        let options = SettlementOptions { dir: dir.path().join("none"), ..SettlementOptions::default() };
        let (mut reader, mut backend) = (store.clone(), store.clone());
        let mut settler =
            Settler { reader: &mut reader, backend: &mut backend, hsm: &FakeHsm, options: &options };
        let preview = run(&mut settler, DAY, Mode::Preview).unwrap();
        assert_eq!(preview.verdict, Verdict::Preview);
        assert!(!options.dir.exists());
        store.with(|m| assert!(m.files.is_empty()));
        let real = run(&mut settler, DAY, Mode::Settle).unwrap();
        assert_eq!(preview.files, real.files);
    }

    #[test]
    fn a_cut_over_opens_the_next_calendar_day() {
        let mut store = Fake::new(vec![]);
        let mut backend = store.clone();
        store.with(|m| m.open = 20_261_231);
        assert_eq!(cut_over(&mut store, &mut backend, 0).unwrap(), (Day(20_261_231), Day(20_270_101)));
        assert_eq!(store.with(|m| m.open), 20_270_101);
    }
}
