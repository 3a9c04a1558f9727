//! Four books of one day: the terminals', the switch's, the issuers', the clearing files. Each is read in
//! its own form and reduced to what stands; every payment must stand in all of them with one amount.

use super::narrator::{Narrator, money};
use super::standing::{Standing, differences};
use super::story::{Day, TerminalBatch};
use super::tamper::{self, Book};
use crate::issuer::{Entry, Export, Kind};
use crate::stage::{ISSUERS, Stage};
use crate::terminal::{EdcVoids, Item, Totals};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;
use tollgate::settlement::ipm;

/// Closes the day: waits until the issuers have their reversals, cuts over, settles, compares.
pub(super) async fn close(
    stage: &mut Stage,
    n: &mut Narrator,
    day: Day,
    tampered: Option<Book>,
) -> Result<bool> {
    n.chapter("Night: the business day closes")?;
    let drained = drained(stage).await?;
    n.fact("every reversal and advice has reached its issuer", drained)?;
    let cut = stage.verb(&["settle", "cutover"])?;
    n.fact(cut.trim(), true)?;
    let closed = stage.verb(&["day", "status", "--json"])?;
    let status: Value = serde_json::from_str(closed.trim())?;
    let open = status["open"].as_str().context("the open business day")?.to_owned();
    let first = stage.verb(&["settle", "run"])?;
    for line in first.lines() {
        n.say(&format!("    {line}"))?;
    }
    let before = contents(&stage.dir.join("settlement"))?;
    stage.verb(&["settle", "run"])?;
    n.fact("settled again: the same bytes", before == contents(&stage.dir.join("settlement"))?)?;
    n.say(&format!("    business day {open} is open"))?;
    // The verb fails when the journal is not sound.
    let trial = stage.verb(&["ledger", "trial-balance"])?;
    n.fact("the trial balance of the journal is zero", !trial.trim().is_empty())?;
    for line in trial.lines() {
        n.say(&format!("    {line}"))?;
    }
    compare(stage, n, day, tampered)
}

/// Waits until no store-and-forward entry is left.
async fn drained(stage: &Stage) -> Result<bool> {
    for _ in 0..200 {
        if saf_depth(stage)? == 0 {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

fn saf_depth(stage: &Stage) -> Result<i64> {
    let status: Value = serde_json::from_str(stage.verb(&["day", "status", "--json"])?.trim())?;
    let waiting = status["saf"].as_array().context("saf of the day's status")?;
    Ok(waiting.iter().filter_map(|queue| queue["count"].as_i64()).sum())
}

fn compare(stage: &Stage, n: &mut Narrator, mut day: Day, tampered: Option<Book>) -> Result<bool> {
    n.chapter("Four books")?;
    let folder = stage.dir.join("books");
    fs::create_dir_all(&folder)?;
    if tampered == Some(Book::Terminals) {
        tamper::item(&mut day)?;
    }
    let (terminals, added_up) = terminals(&day, &folder)?;
    n.fact("each terminal's totals are those of its items", added_up)?;
    let switch = switch(stage, &folder, tampered)?;
    let (issuers, balanced) = issuers(stage, &folder, tampered)?;
    n.fact("each account has moved by what its issuer's journal says", balanced)?;
    let (files, sound) = files(&stage.dir.join("settlement"), tampered)?;
    n.fact("each clearing file adds up to its trailer", sound)?;
    let books =
        [("terminals", terminals), ("switch", switch), ("issuers", issuers), ("clearing files", files)];
    n.say(&format!("    {:<16}{:>14}{:>14}", "", ISSUERS[0].0, ISSUERS[1].0))?;
    for (name, standing) in &books {
        let net = standing.net();
        let of = |issuer: &str| money(net.get(issuer).copied().unwrap_or(0));
        n.say(&format!("    {name:<16}{:>14}{:>14}", of(ISSUERS[0].0), of(ISSUERS[1].0)))?;
        n.book_row(json!({"book": name, "net_minor": net}));
    }
    let nets = books.iter().map(|(_, standing)| standing.net()).collect::<Vec<_>>();
    let same = nets.windows(2).all(|pair| pair[0] == pair[1]) && !nets.iter().any(BTreeMap::is_empty);
    n.fact("all four come to the same", same)?;
    let different = differences(&books);
    n.fact("every payment stands in all four with the same amount", different.is_empty())?;
    for line in &different {
        n.say(&format!("    {line}"))?;
    }
    Ok(added_up && balanced && sound && same && different.is_empty())
}

fn issuer_of(pan: &str) -> Result<&'static str> {
    let found = ISSUERS.iter().find(|(_, prefix, ..)| pan.starts_with(prefix));
    found.map(|(name, ..)| *name).context("a card of no issuer in a terminal's batch")
}

/// The terminals' batches; and whether the totals that each settled are those of its items.
fn terminals(day: &Day, folder: &Path) -> Result<(Standing, bool)> {
    let mut standing = Standing::default();
    let mut added_up = true;
    for batch in &day.batches {
        added_up &= Totals::of(&batch.items, batch.dialect, EdcVoids::Net) == batch.totals;
        for item in &batch.items {
            let about = voided(item, &batch.items).unwrap_or(item);
            let rrn = about.rrn.as_deref().unwrap_or("without RRN");
            standing.book(issuer_of(&item.pan)?, rrn, signed(item, &batch.items));
        }
    }
    let batches: Vec<Value> = day.batches.iter().map(batch_json).collect();
    fs::write(folder.join("terminals.json"), serde_json::to_vec_pretty(&batches)?)?;
    Ok((standing, added_up))
}

/// What an item voids.
fn voided<'a>(item: &Item, items: &'a [Item]) -> Option<&'a Item> {
    item.voids.and_then(|stan| items.iter().find(|other| other.stan == stan))
}

/// What an item moved from the cardholder: a void moves back what it voids.
fn signed(item: &Item, items: &[Item]) -> i64 {
    match voided(item, items) {
        Some(original) if signed(original, &[]) < 0 => item.minor,
        Some(_) => -item.minor,
        None => Totals::gross(std::slice::from_ref(item)).net_minor(),
    }
}

fn batch_json(batch: &TerminalBatch) -> Value {
    let side = |s: crate::terminal::Sum| json!({"count": s.count, "minor": s.minor});
    let item = |i: &Item| json!({"stan": i.stan, "kind": i.kind.name(), "minor": i.minor, "rrn": i.rrn, "approved": i.counts()});
    json!({
        "tid": batch.tid,
        "dialect": batch.dialect.name(),
        "totals": {"debit": side(batch.totals.debit), "credit": side(batch.totals.credit)},
        "items": batch.items.iter().map(item).collect::<Vec<_>>(),
    })
}

/// The switch's transactions, as its command line lists them.
fn switch(stage: &Stage, folder: &Path, tampered: Option<Book>) -> Result<Standing> {
    let listed = stage.verb(&["txn", "list", "--latest", "1000000", "--json"])?;
    let mut transactions: Vec<Value> = serde_json::from_str(&listed)?;
    if tampered == Some(Book::Switch) {
        tamper::row(&mut transactions)?;
    }
    let lines: Vec<String> = transactions.iter().map(ToString::to_string).collect();
    fs::write(folder.join("switch.jsonl"), lines.join("\n") + "\n")?;
    let by_id: BTreeMap<i64, &Value> =
        transactions.iter().filter_map(|row| Some((row["id"].as_i64()?, row))).collect();
    let mut standing = Standing::default();
    for row in &transactions {
        let original = row["original"].as_i64().and_then(|id| by_id.get(&id).copied());
        let Some((about, sign)) = moves(row, original) else { continue };
        let minor = row["amount_minor"].as_i64().context("amount of a transaction")?;
        let issuer = row["issuer"].as_str().context("issuer of a transaction")?;
        standing.book(issuer, about["rrn"].as_str().context("RRN of a transaction")?, sign * minor);
    }
    Ok(standing)
}

/// Under which transaction a row of the switch moved money, and which way; none when it did not.
fn moves<'a>(row: &'a Value, original: Option<&'a Value>) -> Option<(&'a Value, i64)> {
    let debit = |row: &Value| {
        matches!(row["kind"].as_str(), Some("sale" | "completion" | "completion-advice" | "offline-sale"))
    };
    let stands = row["state"] == "approved";
    match row["kind"].as_str()? {
        "void" | "completion-void" if stands => Some((original?, if debit(original?) { -1 } else { 1 })),
        "refund" if stands || row["state"] == "voided" => Some((row, -1)),
        _ if debit(row) && (stands || row["state"] == "voided") => Some((row, 1)),
        _ => None,
    }
}

/// The issuers' journals; and whether their accounts have moved by what the journals say.
fn issuers(stage: &Stage, folder: &Path, tampered: Option<Book>) -> Result<(Standing, bool)> {
    let mut standing = Standing::default();
    let mut balanced = true;
    for (place, ((name, ..), handle)) in ISSUERS.iter().zip(&stage.issuers).enumerate() {
        let mut books = handle.books.lock().unwrap_or_else(PoisonError::into_inner).export();
        if tampered == Some(Book::Issuers) && place == 0 {
            tamper::entry(&mut books)?;
        }
        books.write(&folder.join(format!("issuer-{name}.json")))?;
        for entry in &books.journal {
            standing.book(name, &about(entry, &books.journal).rrn, -entry.balance_minor);
        }
        balanced &= balances(&books);
    }
    Ok((standing, balanced))
}

/// Whether each account went from its opening balance to where it stands by its entries.
fn balances(books: &Export) -> bool {
    books.accounts.iter().all(|account| {
        let entries = books.journal.iter().filter(|e| e.account.as_ref() == Some(&account.account));
        let (moved, held) = entries.fold((0, 0), |(m, h), e| (m + e.balance_minor, h + e.held_minor));
        account.opening_minor + moved == account.balance_minor && held == account.held_minor
    })
}

/// The payment that an entry is about: what a void or a reversal undoes, or the entry itself.
fn about<'a>(entry: &'a Entry, journal: &'a [Entry]) -> &'a Entry {
    let undoes = matches!(entry.kind, Kind::Void | Kind::CompletionVoid | Kind::Cancel | Kind::Reversal);
    let original = entry.original.filter(|order| undoes && *order < entry.order);
    original.and_then(|order| journal.get(order)).map_or(entry, |original| about(original, journal))
}

fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { found.extend(walk(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    walk(folder)?.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

/// The presentments of the clearing files, and whether every file keeps the rules of its form. What a
/// broken file holds does not stand.
fn files(folder: &Path, tampered: Option<Book>) -> Result<(Standing, bool)> {
    let paths: Vec<PathBuf> =
        walk(folder)?.into_iter().filter(|p| p.extension().is_some_and(|e| e == "ipm")).collect();
    if tampered == Some(Book::Files) {
        tamper::presentment(paths.first().context("no clearing file")?)?;
    }
    let mut standing = Standing::default();
    let mut sound = true;
    for path in &paths {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let issuer =
            ISSUERS.iter().find(|(issuer, ..)| name.contains(issuer)).context("a file of no issuer")?;
        let Ok(file) = ipm::verify(&fs::read(path)?) else {
            sound = false;
            continue;
        };
        for record in file.records.iter().filter(|r| r.mti() == "1240") {
            let minor = i64::try_from(record.number(4).context("a presentment without DE 4")?)?;
            let rrn = record.text(37).context("a presentment without DE 37")?;
            standing.book(issuer.0, rrn.trim(), if refunds(record)? { -minor } else { minor });
        }
    }
    Ok((standing, sound))
}

/// Whether a record gives money back: a refund (DE 3 = 20…), or a sale taken back (PDS 0025).
fn refunds(record: &ipm::Record) -> Result<bool> {
    let refund = record.text(3).is_some_and(|code| code.starts_with("20"));
    Ok(refund != record.private()?.contains_key(&25))
}
