//! `terminal-sim terminal`: one terminal at a counter, told on the command line what to do.
//!
//! Steps run in order on one connection: `sign-on`, `echo`, `balance`, `sale=100.00`, `void`,
//! `refund=40.00`, `pre-auth=100.00`, `cancel`, `complete=90.00`, `offline=12.00`, `settle`, `sign-off`.
//! A step that refers to an earlier one takes the last that fits.

use crate::record::Recorder;
use crate::terminal::{Card, Dialect, InjectedKeys, KeyForm, Outcome, Terminal, TerminalProfile};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `terminal-sim terminal`
#[derive(Debug, Args)]
pub struct TerminalArgs {
    /// Who the terminal is, where it calls and which card it reads: a TOML file
    #[arg(long)]
    profile: PathBuf,
    /// Write every frame of both sides to this file, one JSON object a line
    #[arg(long)]
    record: Option<PathBuf>,
    /// What it does, in order: sign-on, echo, balance, sale=100.00, void, refund=40.00,
    /// pre-auth=100.00, cancel, complete=90.00, offline=12.00, settle, sign-off
    #[arg(required = true)]
    steps: Vec<Step>,
}

/// One thing to do; amounts in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    SignOn,
    SignOff,
    Echo,
    Balance,
    Sale(i64),
    Void,
    Refund(i64),
    PreAuth(i64),
    Cancel,
    Complete(i64),
    Offline(i64),
    Settle,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, amount) = text.split_once('=').map_or((text, None), |(w, a)| (w, Some(a)));
        let minor =
            || amount.map_or_else(|| Err(format!("{word} needs an amount: {word}=100.00")), minor_units);
        match (word, amount) {
            ("sale", _) => minor().map(Self::Sale),
            ("refund", _) => minor().map(Self::Refund),
            ("pre-auth", _) => minor().map(Self::PreAuth),
            ("complete", _) => minor().map(Self::Complete),
            ("offline", _) => minor().map(Self::Offline),
            ("sign-on", None) => Ok(Self::SignOn),
            ("sign-off", None) => Ok(Self::SignOff),
            ("echo", None) => Ok(Self::Echo),
            ("balance", None) => Ok(Self::Balance),
            ("void", None) => Ok(Self::Void),
            ("cancel", None) => Ok(Self::Cancel),
            ("settle", None) => Ok(Self::Settle),
            (_, Some(_)) | (_, None) => Err(format!("no step {text:?}")),
        }
    }
}

/// `100.00` or `100` as minor units of a currency with two decimals.
fn minor_units(text: &str) -> Result<i64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let sound = part.len() == 2 && !whole.is_empty() && (whole.len() + part.len()) <= 12;
    let digits: String = whole.chars().chain(part.chars()).collect();
    match (sound, digits.bytes().all(|b| b.is_ascii_digit()), digits.parse()) {
        (true, true, Ok(minor)) => Ok(minor),
        _ => Err(format!("{text:?} is not an amount such as 100.00")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    dialect: String,
    tid: String,
    mid: String,
    address: SocketAddr,
    currency: String,
    tmk: Option<String>,
    tpk: Option<String>,
    tak: Option<String>,
    card: CardFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardFile {
    pan: String,
    expiry: String,
    pin: Option<String>,
    entry: EntryWord,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EntryWord {
    Swiped,
    Keyed,
}

/// Reads a profile and the card it holds.
///
/// # Errors
/// The file and what in it is wrong.
fn read(path: &Path) -> Result<(TerminalProfile, Card)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file: ProfileFile = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let dialect =
        Dialect::from_name(&file.dialect).with_context(|| format!("no dialect {:?}", file.dialect))?;
    let keys = match (&file.tmk, &file.tpk, &file.tak) {
        (Some(tmk), None, None) => InjectedKeys::Master(key("tmk", tmk)?),
        (None, Some(tpk), Some(tak)) => InjectedKeys::Static { tpk: key("tpk", tpk)?, tak: key("tak", tak)? },
        (_, _, _) => bail!("{}: a terminal has either tmk, or tpk and tak", path.display()),
    };
    let profile = TerminalProfile {
        currency: file.currency,
        ..TerminalProfile::new(dialect, &file.tid, &file.mid, file.address, keys)
    };
    let card = match file.card.entry {
        EntryWord::Swiped => Card::swiped(&file.card.pan, &file.card.expiry),
        EntryWord::Keyed => Card::keyed(&file.card.pan, &file.card.expiry),
    };
    Ok((profile, file.card.pin.iter().fold(card, |card, pin| card.with_pin(pin))))
}

fn key(name: &str, text: &str) -> Result<[u8; 16]> {
    let octets = hex::decode(text).ok().and_then(|octets| octets.try_into().ok());
    octets.with_context(|| format!("{name} is not 32 hexadecimal digits"))
}

/// Runs the steps and prints what came of each. The exit code: 1 when one was not approved.
///
/// # Errors
/// A profile that cannot be read, or no connection.
pub async fn run(args: &TerminalArgs, out: &mut dyn Write) -> Result<u8> {
    let (profile, card) = read(&args.profile)?;
    let recorder = args.record.as_deref().map(Recorder::create).transpose()?;
    let mut counter = Counter { terminal: Terminal::connect(profile, recorder).await?, card, last: None };
    let mut code = 0;
    for step in &args.steps {
        let (line, done) = counter.step(*step).await?;
        writeln!(out, "{line}")?;
        if !done {
            code = 1;
        }
    }
    Ok(code)
}

struct Counter {
    terminal: Terminal,
    card: Card,
    last: Option<Outcome>,
}

impl Counter {
    async fn step(&mut self, step: Step) -> Result<(String, bool)> {
        if step == Step::Settle {
            let done = self.terminal.settle().await?;
            let line = format!(
                "settle      batch {:06}: {:?}, debit {} of {}, credit {} of {}",
                done.batch,
                done.agreement,
                done.totals.debit.count,
                done.totals.debit.minor,
                done.totals.credit.count,
                done.totals.credit.minor
            );
            return Ok((line, done.closed));
        }
        let outcome = self.transact(step).await?;
        let balance = outcome.balance().map(|b| format!("  balance {b}")).unwrap_or_default();
        let line = format!(
            "{:<11} {:?} {} stan {:06} rrn {} auth {}{balance}",
            outcome.kind.name(),
            outcome.verdict,
            outcome.code,
            outcome.stan,
            outcome.rrn.as_deref().unwrap_or("-"),
            outcome.auth_code.as_deref().unwrap_or("-"),
        );
        let approved = outcome.approved;
        if approved && matches!(step, Step::Sale(_) | Step::PreAuth(_)) {
            self.last = Some(outcome);
        }
        Ok((line, approved))
    }

    async fn transact(&mut self, step: Step) -> Result<Outcome> {
        let (terminal, card) = (&mut self.terminal, &self.card);
        let earlier = || self.last.as_ref().context("nothing was approved before that this could refer to");
        Ok(match step {
            Step::SignOn => terminal.sign_on(KeyForm::DoubleWithTrack).await?,
            Step::SignOff => terminal.sign_off().await?,
            Step::Echo => terminal.echo().await?,
            Step::Balance => terminal.balance(card).await?,
            Step::Sale(minor) => terminal.sale(card, minor).await?,
            Step::Void => terminal.void(card, earlier()?).await?,
            Step::Refund(minor) => terminal.refund(card, earlier()?, minor).await?,
            Step::PreAuth(minor) => terminal.pre_auth(card, minor).await?,
            Step::Cancel => terminal.pre_auth_cancel(card, earlier()?).await?,
            Step::Complete(minor) => terminal.completion(card, earlier()?, minor).await?,
            Step::Offline(minor) => terminal.offline_sale(card, minor, "000000").await?,
            Step::Settle => bail!("settlement is not a transaction"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_or_refused() {
        let rows: &[(&str, Option<Step>)] = &[
            ("sale=100.00", Some(Step::Sale(10_000))),
            ("sale=100", Some(Step::Sale(10_000))),
            ("refund=0.05", Some(Step::Refund(5))),
            ("settle", Some(Step::Settle)),
            ("sale", None),
            ("sale=1.5", None),
            ("sale=-1.00", None),
            ("sale=", None),
            ("void=1.00", None),
            ("dance", None),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse::<Step>().ok(), *want, "{text}");
        }
    }

    #[test]
    fn every_sample_profile_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let mut read_ok = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("terminal-") {
                read(&path).unwrap();
                read_ok += 1;
            }
        }
        assert_eq!(read_ok, Dialect::ALL.len());
    }
}
