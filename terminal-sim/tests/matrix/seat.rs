//! One cell's own terminal: its wire, its card, its amount, and the rule that its issuer follows.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use iso8583_spec::{Spec, View};
use terminal_sim::issuer::{Rule, When};
use terminal_sim::stage::{EXPIRY, HOLDERS, Holder, ISSUERS, Stage, tid};
use terminal_sim::terminal::{
    Card, Dialect, KeyForm, Outcome, ReversalForm, Terminal, TerminalProfile, Totals, Verdict,
};

use crate::books::Moved;
use crate::table::{Scenario, Transaction};
use crate::tap::Tap;

/// How long an issuer may take, milliseconds.
pub(crate) const ANSWER_MS: u64 = 1_000;
/// A late answer is late by so much.
const LATE_BY: Duration = Duration::from_millis(400);

/// A cell's place at the stage.
pub(crate) struct Seat {
    pub(crate) dialect: Dialect,
    pub(crate) transaction: Transaction,
    pub(crate) scenario: Scenario,
    pub(crate) tid: String,
    /// The cell's own amount, minor units; the nine above it are its own too.
    pub(crate) minor: i64,
    pub(crate) terminal: Terminal,
    pub(crate) tap: Tap,
    stage: Rc<Stage>,
    holder: &'static Holder,
    form: KeyForm,
}

/// DE 39 that a dialect gives for the same thing.
pub(crate) struct Codes {
    pub(crate) silent: &'static str,
    pub(crate) bad_mac: &'static str,
}

impl Seat {
    /// Takes the `ordinal`th seat, from 0: its terminal is switched on, behind a tap.
    pub(crate) async fn take(
        stage: &Rc<Stage>,
        ordinal: u32,
        (dialect, transaction, scenario): (Dialect, Transaction, Scenario),
    ) -> Result<Self> {
        let number = ordinal + 1;
        let spec = Spec::builtin(dialect.name()).context("the codec lacks the dialect")?;
        let tap = Tap::before(stage.address(dialect.name())?, spec).await?;
        let turn = |of: usize| usize::try_from(ordinal).map(|ordinal| ordinal % of);
        let undoes = transaction == Transaction::Reversal;
        let profile = TerminalProfile {
            address: tap.address,
            // Both forms of an ASCII reversal.
            reversal_form: if undoes { ReversalForm::Request } else { ReversalForm::Advice },
            // A reversal under a wrong MAC is not sent again, so that its answer is the last.
            reversal_sends: if undoes && scenario == Scenario::BadMac { 1 } else { 4 },
            ..stage.profile(dialect, number)?
        };
        let terminal = Terminal::connect(profile, Some(stage.recorder.clone())).await?;
        Ok(Self {
            dialect,
            transaction,
            scenario,
            tid: tid(dialect, number),
            minor: 10_000 + 10 * i64::from(ordinal),
            terminal,
            tap,
            stage: Rc::clone(stage),
            holder: HOLDERS.get(turn(HOLDERS.len())?).context("no cardholder")?,
            form: *KeyForm::ALL.get(turn(KeyForm::ALL.len())?).context("no key form")?,
        })
    }

    pub(crate) const fn codes(&self) -> Codes {
        match self.dialect {
            Dialect::UnionPay => Codes { silent: "98", bad_mac: "A0" },
            Dialect::Edc | Dialect::Ascii => Codes { silent: "68", bad_mac: "63" },
        }
    }

    pub(crate) fn card(&self) -> Card {
        Card::swiped(self.holder.pan, EXPIRY).with_pin(self.holder.pin)
    }

    /// The card with the PIN that the keys of this seat's form can take: form 001's take none.
    pub(crate) fn card_for_form(&self) -> Card {
        if self.dialect == Dialect::UnionPay && self.form == KeyForm::Single {
            Card::swiped(self.holder.pan, EXPIRY)
        } else {
            self.card()
        }
    }

    /// Gets working keys where the dialect sends them. Form 001's PIN key is single-length and serves no PIN, so that a
    /// terminal that is to pay asks for another.
    pub(crate) async fn signed_on(&mut self) -> Result<()> {
        if self.dialect == Dialect::UnionPay {
            let form = if self.form == KeyForm::Single { KeyForm::Double } else { self.form };
            let signed = self.terminal.sign_on(form).await?;
            approved(&signed)?;
        }
        Ok(())
    }

    pub(crate) async fn sign_on(&mut self) -> Result<Outcome> {
        Ok(self.terminal.sign_on(self.form).await?)
    }

    /// The issuer follows this rule for the cell's transaction, once.
    pub(crate) fn rule(&self, rule: impl FnOnce(When) -> Rule) -> Result<()> {
        let (_, mti, code) = self.transaction.at_issuer().context("no issuer sees it")?;
        self.rule_for(mti, Some(code), rule)
    }

    /// The same for any of the terminal's messages of this MTI and DE 3.
    pub(crate) fn rule_for(
        &self,
        mti: &str,
        code: Option<&str>,
        rule: impl FnOnce(When) -> Rule,
    ) -> Result<()> {
        let mut when = When { mti: Some(mti.to_owned()), ..When::default() };
        when.processing_code = code.map(str::to_owned);
        when.amount_minor = Some(self.minor).filter(|_| self.transaction != Transaction::Balance);
        when.fields.insert("41".to_owned(), self.tid.clone());
        let bank = ISSUERS.iter().position(|(_, prefix, ..)| self.holder.pan.starts_with(prefix));
        let issuer = bank.and_then(|bank| self.stage.issuers.get(bank)).context("no issuer for the card")?;
        issuer.put_rule_first(rule(when).times(1));
        Ok(())
    }

    /// An answer that comes after the switch has given up.
    pub(crate) fn late(when: When) -> Rule {
        Rule::late(when, Duration::from_millis(ANSWER_MS) + LATE_BY)
    }

    /// DE 39 of the last frame that the switch wrote to the terminal, and whether it bore a MAC.
    pub(crate) fn last_answer(&self) -> Result<(String, Vec<u8>, bool)> {
        let body = self.tap.answers().pop().context("the switch answered nothing")?;
        let spec = Spec::builtin(self.dialect.name()).context("dialect")?;
        let view = View::decode(spec, &body)?;
        let code = view.text(39).map(|code| code.to_string()).unwrap_or_default();
        let maced = view.mac_data().is_some();
        drop(view);
        Ok((code, body, maced))
    }
}

/// A cell whose terminal has done its part.
pub(crate) struct Played {
    pub(crate) seat: Seat,
    pub(crate) expected: Expected,
}

/// What everybody must hold once all is delivered.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// What is left at the issuers of each of the terminal's transactions.
    pub(crate) moved: Vec<Moved>,
    /// How often the transaction went to its issuer under its own MTI.
    pub(crate) sent: usize,
    /// How often it came there as a repeat (0221), at least.
    pub(crate) repeated: usize,
    /// Reversals that went to the issuer under 0420.
    pub(crate) reversals: usize,
    /// The same as repeats (0421), at least.
    pub(crate) reversals_repeated: usize,
    /// States of the transaction at the switch.
    pub(crate) states: Vec<&'static str>,
    /// The transaction referred to, at the switch: its kind and its state.
    pub(crate) original: Option<(&'static str, &'static str)>,
    /// The transaction referred to stands as before, so that the same must now be approved.
    pub(crate) again: Option<Outcome>,
    /// A batch that was uploaded: its number, and its items.
    pub(crate) uploaded: Option<(u32, u64)>,
    /// What settlement at the end must say.
    pub(crate) ends: Ends,
}

/// How the terminal's batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ends {
    /// The switch's totals are the terminal's.
    #[default]
    Balanced,
    /// They are not: the terminal gave a reversal up, and the sale stands at the switch.
    Different,
}

/// The terminal counts this as approved, and DE 39 is 00.
pub(crate) fn approved(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.approved && outcome.code == "00", "{} is not approved: {}", outcome.mti, said(outcome));
    Ok(())
}

/// The switch gave a final answer with this DE 39.
pub(crate) fn refused(outcome: &Outcome, code: &str) -> Result<()> {
    let refused = outcome.verdict == Verdict::Declined && outcome.code == code;
    ensure!(refused, "{} is not answered {code}: {}", outcome.mti, said(outcome));
    Ok(())
}

/// The terminal is without an answer that it can use.
pub(crate) fn unknown(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.is_unknown(), "{} is not unknown: {}", outcome.mti, said(outcome));
    Ok(())
}

fn said(outcome: &Outcome) -> String {
    format!("DE 39 {:?}, {:?}", outcome.code, outcome.verdict)
}

/// The terminal's totals have moved by so many minor units in so many items, debit and credit.
pub(crate) fn totals_moved(
    before: Totals,
    after: Totals,
    debit: (i64, i64),
    credit: (i64, i64),
) -> Result<()> {
    let moved = |before: terminal_sim::terminal::Sum, after: terminal_sim::terminal::Sum| {
        (i64::from(after.count) - i64::from(before.count), after.minor - before.minor)
    };
    let seen = (moved(before.debit, after.debit), moved(before.credit, after.credit));
    ensure!(seen == (debit, credit), "the terminal's totals moved by {seen:?}, not {:?}", (debit, credit));
    Ok(())
}
