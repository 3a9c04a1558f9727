//! Verbs around the business day: `settle`, `ledger`, `day`, `batch`, `txn`. Results go to `out`, as a
//! table or as stable JSON. Decides nothing: what a verb does is in `settlement`, `ledger` and the store.

use super::listing::{Form, batch_list, batch_show, table, time, txn_list, txn_show};
use crate::hsm::Hsm;
use crate::ledger;
use crate::settlement::{
    Mode, Report, SettlementOptions, Settler, Verdict, cut_over, ipm, run as settle_day,
};
use crate::store::{Backend, Filter, Reader, SettlementFile, Stored};
use crate::transaction::{BatchNo, Currency, Day, IssuerId, Mid, Tid, TxnId};
use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Done.
const DONE: u8 = 0;
/// A check found faults.
const FAULTS: u8 = 3;

/// What these verbs work with.
pub(super) struct Context<'a> {
    /// A read-only connection to the store.
    pub(super) reader: &'a mut dyn Reader,
    /// The store.
    pub(super) backend: &'a mut dyn Backend,
    /// Opens card numbers for clearing files.
    pub(super) hsm: &'a dyn Hsm,
    /// Where and how files are written.
    pub(super) options: &'a SettlementOptions,
    /// Milliseconds since the epoch.
    pub(super) now_ms: i64,
}

/// The verbs, to be flattened into the command line.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Close the business day, settle it, look at its files
    #[command(subcommand)]
    Settle(SettleVerb),
    /// Trial balance and export of the journal
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// The business day
    #[command(subcommand)]
    Day(DayVerb),
    /// Terminal batches
    #[command(subcommand)]
    Batch(BatchVerb),
    /// Transactions; card numbers are masked
    #[command(subcommand)]
    Txn(TxnVerb),
}

/// `settle …`
#[derive(Debug, Subcommand)]
pub(super) enum SettleVerb {
    /// Close the business day and open the next
    Cutover {
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// Settle a closed day; settling it again changes nothing
    Run {
        /// Business day, yyyy-mm-dd; the last closed one when absent
        #[arg(long)]
        day: Option<Day>,
        /// Show what would be settled; write no file and no row
        #[arg(long)]
        dry_run: bool,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// List settlement files
    Files {
        /// Business day, yyyy-mm-dd; every day when absent
        #[arg(long)]
        day: Option<Day>,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// Verify a clearing file; exit 3 and the first violation when it breaks a rule
    Verify {
        /// The file
        file: PathBuf,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
}

/// `ledger …`
#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// Debits and credits of every account; exit 3 when the journal is not sound
    TrialBalance {
        /// Business day, yyyy-mm-dd; the whole journal when absent
        #[arg(long)]
        day: Option<Day>,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// Print the journal for another program
    Export {
        /// In the text format of beancount
        #[arg(long, required = true)]
        beancount: bool,
    },
}

/// `day …`
#[derive(Debug, Subcommand)]
pub(super) enum DayVerb {
    /// The open day, what is unfinished in it, and whether the day before is settled
    Status {
        /// How to print
        #[command(flatten)]
        form: Form,
    },
}

/// `batch …`
#[derive(Debug, Subcommand)]
pub(super) enum BatchVerb {
    /// List batches, newest first
    List {
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// One terminal's batch with its transactions
    Show {
        /// Terminal id
        tid: Tid,
        /// Merchant id, when several merchants have such a terminal
        #[arg(long)]
        mid: Option<Mid>,
        /// Batch number; the newest when absent
        #[arg(long, value_parser = batch_number)]
        batch: Option<BatchNo>,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
}

/// `txn …`
#[derive(Debug, Subcommand)]
pub(super) enum TxnVerb {
    /// List transactions, newest first
    List {
        /// Business day, yyyy-mm-dd
        #[arg(long)]
        day: Option<Day>,
        /// Terminal id
        #[arg(long)]
        tid: Option<Tid>,
        /// Merchant id
        #[arg(long)]
        mid: Option<Mid>,
        /// Issuer
        #[arg(long)]
        issuer: Option<IssuerId>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        latest: usize,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
    /// Everything that is kept of one transaction but its card number
    Show {
        /// Its id
        id: i64,
        /// How to print
        #[command(flatten)]
        form: Form,
    },
}

fn batch_number(text: &str) -> Result<BatchNo, String> {
    BatchNo::parse(text).map_err(|error| error.to_string())
}

impl Verb {
    /// Runs a verb that needs neither configuration nor store; none when this one does.
    ///
    /// # Errors
    /// As [`Verb::run`].
    pub(super) fn run_alone(&self, out: &mut dyn Write) -> Result<Option<u8>> {
        match self {
            Self::Settle(SettleVerb::Verify { file, form }) => verify(file, *form, out).map(Some),
            Self::Settle(SettleVerb::Cutover { .. } | SettleVerb::Run { .. } | SettleVerb::Files { .. })
            | Self::Ledger(_)
            | Self::Day(_)
            | Self::Batch(_)
            | Self::Txn(_) => Ok(None),
        }
    }

    /// Runs a verb. Answers the exit code: 0 done, 3 a check found faults.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal: exit code 1.
    pub(super) fn run(&self, context: &mut Context<'_>, out: &mut dyn Write) -> Result<u8> {
        match self {
            Self::Settle(verb) => verb.run(context, out),
            Self::Ledger(LedgerVerb::TrialBalance { day, form }) => trial_balance(context, *day, *form, out),
            Self::Ledger(LedgerVerb::Export { .. }) => {
                let journal = context.reader.postings(None)?;
                out.write_all(ledger::beancount(&journal).as_bytes())?;
                Ok(DONE)
            }
            Self::Day(DayVerb::Status { form }) => day_status(context, *form, out),
            Self::Batch(BatchVerb::List { form }) => batch_list(context.reader, *form, out).map(|()| DONE),
            Self::Batch(BatchVerb::Show { tid, mid, batch, form }) => {
                batch_show(context.reader, (*tid, *mid, *batch), *form, out).map(|()| DONE)
            }
            Self::Txn(TxnVerb::List { day, tid, mid, issuer, latest, form }) => {
                let filter = Filter {
                    day: *day,
                    tid: *tid,
                    mid: *mid,
                    issuer: *issuer,
                    latest: Some(*latest),
                    ..Filter::default()
                };
                txn_list(context.reader, &filter, *form, out).map(|()| DONE)
            }
            Self::Txn(TxnVerb::Show { id, form }) => {
                txn_show(context.reader, TxnId(*id), *form, out).map(|()| DONE)
            }
        }
    }
}

impl SettleVerb {
    fn run(&self, context: &mut Context<'_>, out: &mut dyn Write) -> Result<u8> {
        match self {
            Self::Cutover { form } => cutover(context, *form, out),
            Self::Run { day, dry_run, form } => {
                let mode = if *dry_run { Mode::Preview } else { Mode::Settle };
                run_day(context, (*day, mode), *form, out)
            }
            Self::Files { day, form } => {
                let mut files = context.reader.files(*day)?;
                files.sort_by(|a, b| (a.day, &a.name).cmp(&(b.day, &b.name)));
                let all = files.iter().map(file_json).collect();
                form.print(out, &Value::Array(all), || files_table(&files)).map(|()| DONE)
            }
            Self::Verify { file, form } => verify(file, *form, out),
        }
    }
}

fn cutover(context: &mut Context<'_>, form: Form, out: &mut dyn Write) -> Result<u8> {
    let (closed, opened) = cut_over(context.reader, context.backend, context.now_ms)?;
    let value = json!({ "closed": closed.to_string(), "opened": opened.to_string() });
    form.print(out, &value, || format!("business day {closed} closed, {opened} open\n"))?;
    Ok(DONE)
}

fn run_day(
    context: &mut Context<'_>,
    (day, mode): (Option<Day>, Mode),
    form: Form,
    out: &mut dyn Write,
) -> Result<u8> {
    let day = match day {
        Some(day) => day,
        None => context.reader.day()?.0.previous(),
    };
    let mut settler = Settler {
        reader: &mut *context.reader,
        backend: &mut *context.backend,
        hsm: context.hsm,
        options: context.options,
    };
    let report = settle_day(&mut settler, day, mode)?;
    form.print(out, &report_json(&report), || report_text(&report))?;
    Ok(DONE)
}

fn report_json(report: &Report) -> Value {
    json!({
        "day": report.day.to_string(),
        "verdict": report.verdict.name(),
        "presented": report.presented,
        "taken_back": report.taken_back,
        "exceptions": report.exceptions.iter().map(|id| id.0).collect::<Vec<_>>(),
        "restored": report.restored,
        "files": report.files.iter().map(file_json).collect::<Vec<_>>(),
    })
}

fn report_text(report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Preview => "would be settled",
        Verdict::Settled => "settled",
        Verdict::SettledBefore => "was settled before",
    };
    let (day, presented, taken_back) = (report.day, report.presented, report.taken_back);
    let mut text = format!("business day {day} {verdict}: {presented} presented, {taken_back} taken back\n");
    for name in &report.restored {
        text.push_str(&format!("put in place again: {name}\n"));
    }
    for id in &report.exceptions {
        text.push_str(&format!("presented, taken back and standing again, present by hand: {id}\n"));
    }
    text + &files_table(&report.files)
}

fn file_json(file: &SettlementFile) -> Value {
    json!({
        "day": file.day.to_string(),
        "name": file.name,
        "kind": file.kind,
        "party": file.party,
        "currency": file.currency,
        "records": file.records,
        "sum_minor": file.sum_minor,
        "sha256": file.sha256,
    })
}

fn files_table(files: &[SettlementFile]) -> String {
    let row = |file: &SettlementFile| {
        let currency = Currency::from_numeric(file.currency).map_or("-", Currency::code);
        let digest = file.sha256.get(..12).unwrap_or_default();
        vec![
            file.name.clone(),
            file.records.to_string(),
            file.sum_minor.to_string(),
            currency.into(),
            digest.into(),
        ]
    };
    table(&["file", "records", "sum (minor units)", "currency", "sha256"], files.iter().map(row).collect())
}

fn verify(file: &Path, form: Form, out: &mut dyn Write) -> Result<u8> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).with_context(|| name.clone())?;
    match ipm::verify(&bytes) {
        Ok(sound) => {
            let (encoding, blocking) = (sound.encoding.name(), sound.blocking.name());
            let (messages, sum, file_id) = (sound.records.len(), sound.sum_minor, &sound.file_id);
            let value = json!({
                "file": name, "sound": true, "encoding": encoding, "blocking": blocking,
                "messages": messages, "sum_minor": sum, "file_id": file_id,
            });
            let text = || {
                format!("{name}: sound, {encoding}, {blocking}, {messages} messages, sum {sum}, {file_id}\n")
            };
            form.print(out, &value, text)?;
            Ok(DONE)
        }
        Err(violation) => {
            let value = json!({
                "file": name, "sound": false, "record": violation.record, "offset": violation.offset,
                "reason": violation.reason.to_string(),
            });
            form.print(out, &value, || format!("{name}: {violation}\n"))?;
            Ok(FAULTS)
        }
    }
}

fn trial_balance(context: &mut Context<'_>, day: Option<Day>, form: Form, out: &mut dyn Write) -> Result<u8> {
    let journal = context.reader.postings(day)?;
    let fault = ledger::check(&journal).err().map(|error| error.to_string());
    let accounts = ledger::trial_balance(&journal);
    let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
    for ((currency, _), net) in &accounts {
        *sums.entry(*currency).or_default() += net.balance();
    }
    let sound = fault.is_none() && sums.values().all(|sum| *sum == 0);
    let cells = |((currency, account), net): (&(Currency, String), &ledger::Net)| {
        let figures = [net.debit, net.credit, net.balance()].map(|figure| figure.to_string());
        [vec![account.clone(), currency.code().to_owned()], figures.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = accounts.iter().map(cells).collect();
    let objects = accounts.iter().map(|((currency, account), net)| {
        json!({
            "account": account, "currency": currency.code(), "debit_minor": whole(net.debit),
            "credit_minor": whole(net.credit), "balance_minor": whole(net.balance()),
        })
    });
    let value = json!({ "sound": sound, "fault": fault, "accounts": objects.collect::<Vec<_>>() });
    form.print(out, &value, || {
        let mut text = table(&["account", "currency", "debit", "credit", "balance"], rows);
        for (currency, sum) in &sums {
            text.push_str(&format!("sum of balances in {}: {sum}\n", currency.code()));
        }
        text + &fault.as_ref().map(|fault| format!("not sound: {fault}\n")).unwrap_or_default()
    })?;
    Ok(if sound { DONE } else { FAULTS })
}

/// A figure as a JSON number, as text when no number holds it.
fn whole(figure: i128) -> Value {
    i64::try_from(figure).map_or_else(|_| Value::from(figure.to_string()), Value::from)
}

fn day_status(context: &mut Context<'_>, form: Form, out: &mut dyn Write) -> Result<u8> {
    let (open, revision) = context.reader.day()?;
    let before = open.previous();
    let of = |reader: &mut dyn Reader, day| -> Result<Vec<Stored>> {
        Ok(reader.transactions(&Filter { day: Some(day), ..Filter::default() })?)
    };
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for row in of(context.reader, open)? {
        *states.entry(row.state.name()).or_default() += 1;
    }
    let unfinished = of(context.reader, before)?.iter().filter(|row| row.state.is_open()).count();
    let settled = !context.reader.files(Some(before))?.is_empty();
    let waiting = context.reader.saf_depth()?;
    let saf: Vec<Value> = waiting
        .iter()
        .map(|(issuer, count, since_ms)| {
            json!({ "issuer": issuer.trimmed(), "count": count, "since_ms": since_ms })
        })
        .collect();
    let value = json!({
        "open": open.to_string(), "revision": revision, "transactions": states,
        "before": { "day": before.to_string(), "unfinished": unfinished, "settled": settled },
        "saf": saf,
    });
    form.print(out, &value, || {
        let mut text = format!("business day {open} open\n");
        for (state, count) in &states {
            text.push_str(&format!("  {state}: {count}\n"));
        }
        let settled = if settled { "settled" } else { "not settled" };
        text.push_str(&format!("business day {before} {settled}, {unfinished} unfinished\n"));
        for (issuer, count, since_ms) in &waiting {
            text.push_str(&format!(
                "for issuer {issuer} wait: {count}, the oldest since {}\n",
                time(*since_ms)
            ));
        }
        text
    })?;
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::sample::{PAN, Trade};
    use crate::transaction::Kind;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        verb: Verb,
    }

    /// Runs a command line; answers its exit code and what it printed, 1 and the error when it failed.
    fn tollgate(trade: &mut Trade, line: &str) -> (u8, String) {
        let verb = Cli::try_parse_from(std::iter::once("tollgate").chain(line.split(' '))).unwrap().verb;
        let mut context = Context {
            reader: &mut *trade.reader,
            backend: &mut *trade.backend,
            hsm: &trade.hsm,
            options: &trade.options,
            now_ms: 1,
        };
        let mut out = Vec::new();
        match verb.run(&mut context, &mut out) {
            Ok(code) => (code, String::from_utf8(out).unwrap()),
            Err(error) => (1, error.to_string()),
        }
    }

    fn json_of(trade: &mut Trade, line: &str) -> Value {
        let (code, text) = tollgate(trade, &format!("{line} --json"));
        assert_eq!(code, 0, "{line}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn trade() -> Trade {
        let mut trade = Trade::begin();
        let sale = trade.approved(Kind::Sale, 10_000, None);
        trade.approved(Kind::Refund, 2_000, Some(sale));
        trade
    }

    #[test]
    fn a_day_is_closed_settled_and_looked_at() {
        let mut trade = trade();
        let (code, error) = tollgate(&mut trade, "settle run --day 2026-11-23");
        assert_eq!((code, error.as_str()), (1, "business day 2026-11-23 is not closed; cut over first"));
        let want = json!({ "closed": "2026-11-23", "opened": "2026-11-24" });
        assert_eq!(json_of(&mut trade, "settle cutover"), want);
        assert_eq!(json_of(&mut trade, "settle run --dry-run")["verdict"], "preview");
        assert_eq!(json_of(&mut trade, "settle files"), json!([]));
        assert_eq!(json_of(&mut trade, "day status")["before"]["settled"], false);
        let settled = json_of(&mut trade, "settle run");
        assert_eq!((&settled["verdict"], &settled["presented"]), (&json!("settled"), &json!(2)));
        assert_eq!(json_of(&mut trade, "settle run")["verdict"], "settled-before");
        assert_eq!(json_of(&mut trade, "settle files --day 2026-11-23"), settled["files"]);
        let status = json_of(&mut trade, "day status");
        assert_eq!((&status["open"], &status["before"]["settled"]), (&json!("2026-11-24"), &json!(true)));
        let balance = json_of(&mut trade, "ledger trial-balance");
        let sum: i64 = balance["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["balance_minor"].as_i64().unwrap())
            .sum();
        assert_eq!((sum, &balance["sound"]), (0, &json!(true)));
        let (code, journal) = tollgate(&mut trade, "ledger export --beancount");
        assert!(code == 0 && journal.contains("  Assets:Recv-Issuer:Id-BANK1  100.00 CNY"), "{journal}");
    }

    #[test]
    fn a_clearing_file_is_verified_and_the_first_fault_named() {
        let mut trade = trade();
        trade.cut_over();
        json_of(&mut trade, "settle run");
        let path = trade.options.dir.join("ipm-BANK1-CNY-20261123.ipm");
        let line = format!("settle verify {}", path.display());
        let verb =
            Cli::try_parse_from(["tollgate", "settle", "verify", &path.display().to_string()]).unwrap().verb;
        assert_eq!(verb.run_alone(&mut Vec::new()).unwrap(), Some(0), "it needs no store");
        let sound = json_of(&mut trade, &line);
        assert_eq!((&sound["sound"], &sound["messages"]), (&json!(true), &json!(4)));
        assert_eq!((&sound["encoding"], &sound["blocking"]), (&json!("cp500"), &json!("blocked")));
        let mut bytes = std::fs::read(&path).unwrap();
        let digit = bytes.iter().rposition(|octet| *octet == 0xF4).unwrap();
        bytes[digit] = 0xF5;
        std::fs::write(&path, &bytes).unwrap();
        let (code, text) = tollgate(&mut trade, &line);
        assert_eq!(code, 3);
        assert!(text.contains("record 4, offset "), "{text}");
        let (code, error) = tollgate(&mut trade, "settle verify /nonexistent.ipm");
        assert_eq!((code, error.as_str()), (1, "/nonexistent.ipm"));
    }

    #[test]
    fn transactions_and_batches_are_listed_without_card_numbers() {
        let mut trade = trade();
        let list = json_of(&mut trade, "txn list --tid T0000001");
        assert_eq!(list.as_array().unwrap().len(), 2);
        let show = json_of(&mut trade, "txn show 1");
        let want = json!(["sale", "approved", 10_000, "CNY", "622588******5675"]);
        let got: Value = ["kind", "state", "amount_minor", "currency", "card"]
            .iter()
            .map(|name| show[name].clone())
            .collect();
        assert_eq!(got, want);
        let batch = json_of(&mut trade, "batch show T0000001");
        assert_eq!((&batch["state"], batch["transactions"].as_array().unwrap().len()), (&json!("open"), 2));
        assert_eq!(json_of(&mut trade, "batch list").as_array().unwrap().len(), 1);
        assert_eq!(tollgate(&mut trade, "txn show 99"), (1, "there is no transaction 99".into()));
        assert_eq!(tollgate(&mut trade, "batch show T9").0, 1);
        let lines = [
            "txn list",
            "txn show 1",
            "txn list --json",
            "txn show 1 --json",
            "batch list",
            "batch show T0000001",
            "batch show T0000001 --json",
            "day status",
            "settle files",
            "ledger trial-balance",
        ];
        for line in lines {
            let (code, text) = tollgate(&mut trade, line);
            assert_eq!(code, 0, "{line}");
            assert!(!text.is_empty() && !text.contains(PAN), "{line}: {text}");
        }
    }

    #[test]
    fn command_lines_that_make_no_sense_are_refused() {
        for line in ["ledger export", "settle run --day 2026-13-01", "txn show x", "batch show TOOLONGID"] {
            let parsed = Cli::try_parse_from(std::iter::once("tollgate").chain(line.split(' ')));
            assert!(parsed.is_err(), "{line}");
        }
    }
}
