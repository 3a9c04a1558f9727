//! Tells the story on standard output so that a person follows it, or keeps it for JSON.

use crate::stage::Stage;
use crate::terminal::{Outcome, Terminal};
use anyhow::Result;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// One step of the day.
#[derive(Debug, Serialize)]
struct Step {
    chapter: String,
    terminal: String,
    what: String,
    amount_minor: i64,
    code: String,
    expected: String,
    rrn: Option<String>,
    as_expected: bool,
}

/// The teller.
pub(super) struct Narrator {
    json: bool,
    colour: bool,
    steps: Vec<Step>,
    chapter: String,
    books: Vec<serde_json::Value>,
}

impl Narrator {
    pub(super) fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour, steps: Vec::new(), chapter: String::new(), books: Vec::new() }
    }

    /// Prints a line of the story; nothing in JSON mode.
    pub(super) fn say(&self, line: &str) -> Result<()> {
        if !self.json {
            writeln!(std::io::stdout(), "{line}")?;
        }
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn opening(&self, stage: &Stage) -> Result<()> {
        self.say(&self.paint("1", "A day at the Harbour Tea House"))?;
        self.say("")?;
        self.say(&format!("  switch   process {} in {}", stage.pid().unwrap_or(0), stage.dir.display()))?;
        for name in ["unionpay-pos", "edc", "iso87-ascii"] {
            self.say(&format!("           {name:<12} on {}", stage.address(name)?))?;
        }
        self.say(&format!("           console      on http://{}", stage.address("console")?))?;
        self.say("  issuers  BANKA (cards 622588…), BANKB (cards 400000…, MAC on the link)")
    }

    /// Opens a chapter.
    pub(super) fn chapter(&mut self, title: &str) -> Result<()> {
        title.clone_into(&mut self.chapter);
        self.say("")?;
        self.say(&self.paint("1", title))
    }

    /// Tells a step and holds its response code against what the story expects.
    pub(super) fn step(
        &mut self,
        terminal: &Terminal,
        what: &str,
        outcome: &Outcome,
        expected: &str,
    ) -> Result<()> {
        let code = shown(outcome);
        let as_expected = code == expected;
        let mark = if as_expected { self.paint("32", "✓") } else { self.paint("31", "✗") };
        let amount = if outcome.amount > 0 { money(outcome.amount) } else { String::new() };
        let rrn = outcome.rrn.clone().unwrap_or_default();
        let wanted = if as_expected { String::new() } else { format!("  expected {expected}") };
        self.say(&format!(
            "  {mark} {}  {what:<44} {amount:>10}  {code:<4} {rrn}{wanted}",
            terminal.profile().tid
        ))?;
        self.steps.push(Step {
            chapter: self.chapter.clone(),
            terminal: terminal.profile().tid.clone(),
            what: what.to_owned(),
            amount_minor: outcome.amount,
            code,
            expected: expected.to_owned(),
            rrn: outcome.rrn.clone(),
            as_expected,
        });
        Ok(())
    }

    /// Tells a fact that must hold.
    pub(super) fn fact(&mut self, what: &str, holds: bool) -> Result<()> {
        let mark = if holds { self.paint("32", "✓") } else { self.paint("31", "✗") };
        self.say(&format!("  {mark} {what}"))?;
        self.steps.push(Step {
            chapter: self.chapter.clone(),
            terminal: String::new(),
            what: what.to_owned(),
            amount_minor: 0,
            code: String::new(),
            expected: String::new(),
            rrn: None,
            as_expected: holds,
        });
        Ok(())
    }

    /// Keeps a row of the books for JSON.
    pub(super) fn book_row(&mut self, row: serde_json::Value) {
        self.books.push(row);
    }

    /// Whether every step went as the story expects.
    pub(super) fn all_as_expected(&self) -> bool {
        self.steps.iter().all(|s| s.as_expected)
    }

    pub(super) fn ending(&self, stage: &Stage, agreed: bool, json: bool) -> Result<()> {
        let good = agreed && self.all_as_expected();
        if json {
            let report = serde_json::json!({
                "agreed": good,
                "dir": stage.dir,
                "steps": self.steps,
                "books": self.books,
            });
            writeln!(std::io::stdout(), "{report}")?;
            return Ok(());
        }
        let missed = self.steps.iter().filter(|s| !s.as_expected).count();
        self.say("")?;
        let verdict = match (agreed, missed) {
            (true, 0) => self.paint("1;32", "Everything agrees."),
            (true, n) => {
                self.paint("1;31", &format!("The books agree, but {n} steps did not go as they should."))
            }
            (false, _) => self.paint("1;31", "The books do NOT agree."),
        };
        self.say(&format!("{verdict}  {} steps. Everything is in {}", self.steps.len(), stage.dir.display()))
    }

    pub(super) fn stay(&self, stage: &Stage) -> Result<()> {
        self.say(&format!(
            "The switch goes on, configured by {}/tollgate.toml. Press Enter to end it.",
            stage.dir.display()
        ))
    }
}

/// DE 39, or what the terminal made of its absence.
fn shown(outcome: &Outcome) -> String {
    use crate::terminal::Verdict;
    match outcome.verdict {
        Verdict::NoReply => "none".to_owned(),
        Verdict::WrongEcho(_) => "echo".to_owned(),
        Verdict::WrongMac => "mac".to_owned(),
        Verdict::NotTaken => "chip".to_owned(),
        Verdict::Approved | Verdict::Declined if outcome.code.is_empty() => "ok".to_owned(),
        Verdict::Approved | Verdict::Declined => outcome.code.clone(),
    }
}

/// Yuan and fen.
pub(super) fn money(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}
