//! One shop's counter and the terminal on it: one request after another, a saved reversal before all else,
//! a power cut now and then, and another terminal when one is lost for good.

use crate::chance::Chance;
use crate::field::{Doors, Ground};
use crate::log::{End, Line};
use crate::{BROKEN_MINOR, DECLINED_MINOR, LATE_MINOR, SILENT_MINOR};
use std::collections::BTreeMap;
use std::time::Duration;
use terminal_sim::stage::{EXPIRY, HOLDERS, Holder};
use terminal_sim::terminal::{
    Agreement, Card, Dialect, Fault, KeyForm, Kind, Outcome, Terminal, TerminalError, Verdict,
};

/// How long a terminal that finds no daemon waits for news of it before it tries again.
const AGAIN: Duration = Duration::from_millis(500);

/// An approved transaction that a later one may refer to.
#[derive(Debug, Clone)]
struct Receipt {
    holder: &'static Holder,
    outcome: Outcome,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Sale,
    Void,
    Refund,
    PreAuth,
    PreAuthCancel,
    Completion,
    CompletionAdvice,
    CompletionVoid,
    OfflineSale,
    Balance,
    Settle,
    SignOn,
}

/// Deeds with how often they are done, of a hundred.
const WEIGHTS: [(Deed, u64); 12] = [
    (Deed::Sale, 39),
    (Deed::Void, 8),
    (Deed::Refund, 6),
    (Deed::PreAuth, 10),
    (Deed::PreAuthCancel, 3),
    (Deed::Completion, 4),
    (Deed::CompletionAdvice, 4),
    (Deed::CompletionVoid, 2),
    (Deed::OfflineSale, 14),
    (Deed::Balance, 2),
    (Deed::Settle, 4),
    (Deed::SignOn, 4),
];

/// A counter.
pub(crate) struct Post {
    dialect: Dialect,
    ground: Ground,
    chance: Chance,
    terminal: Terminal,
    signed_on: bool,
    settling: bool,
    /// The request whose reversal is saved.
    reversing: Option<Line>,
    /// Advices that nobody has taken yet, by STAN.
    advising: BTreeMap<u32, Line>,
    /// The request that was diced for last.
    diced: Option<u32>,
    /// The last frame is to be sent once more.
    resends: bool,
    sold: Vec<Receipt>,
    held: Vec<Receipt>,
    completed: Vec<Receipt>,
}

impl Post {
    pub(crate) fn new(dialect: Dialect, ground: Ground, chance: Chance) -> Self {
        let profile = ground.spares.take(dialect).unwrap();
        let terminal = Terminal::switched_on(profile, Some(ground.recorder.clone())).unwrap();
        Self {
            dialect,
            ground,
            chance,
            terminal,
            signed_on: false,
            settling: false,
            reversing: None,
            advising: BTreeMap::new(),
            diced: None,
            resends: false,
            sold: Vec::new(),
            held: Vec::new(),
            completed: Vec::new(),
        }
    }

    /// Works until the day is over and nothing is pending.
    pub(crate) async fn work(mut self) {
        loop {
            let doors = *self.ground.doors.borrow_and_update();
            if doors == Doors::Shut {
                self.ground.doors.changed().await.unwrap();
                continue;
            }
            let turned = if doors == Doors::Open { self.turn().await } else { self.last_turn().await };
            self.account();
            match turned {
                Ok(true) => return,
                Ok(false) => {}
                Err(TerminalError::Connect(_)) => {
                    let _ = tokio::time::timeout(AGAIN, self.ground.doors.changed()).await;
                }
                Err(error) => return self.fault(&error.to_string()),
            }
            self.dice();
        }
    }

    /// Signs on where that is needed, and sends what is saved. Whether all of that is done.
    async fn ready(&mut self) -> Result<bool, TerminalError> {
        if !self.signed_on {
            self.signed_on = self.terminal.sign_on(KeyForm::DoubleWithTrack).await?.approved;
        }
        if !self.signed_on {
            return Ok(false);
        }
        self.terminal.drain().await?;
        self.account();
        Ok(self.reversing.is_none() && self.advising.is_empty())
    }

    async fn turn(&mut self) -> Result<bool, TerminalError> {
        if std::mem::take(&mut self.resends) {
            // Whatever is said to it, the reversal follows.
            self.terminal.resend_last().await?;
        }
        if !self.ready().await? {
            return Ok(false);
        }
        let deed = if self.settling { Deed::Settle } else { self.next_deed() };
        if deed == Deed::Settle {
            self.settle().await?;
        } else if deed == Deed::SignOn {
            self.signed_on = false;
        } else if let Some((holder, original, outcome)) = self.pay(deed).await? {
            self.note(holder, original, outcome);
        }
        Ok(false)
    }

    /// What is pending, then the batch. Whether nothing is left.
    async fn last_turn(&mut self) -> Result<bool, TerminalError> {
        if !self.ready().await? {
            return Ok(false);
        }
        if self.dialect != Dialect::Ascii && (self.settling || !self.terminal.state().items.is_empty()) {
            self.settle().await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// The next deed: one that the dialect has and for which there is an original.
    fn next_deed(&mut self) -> Deed {
        let mut left = self.chance.within(0..WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let drawn = WEIGHTS.iter().find(|(_, weight)| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        let deed = drawn.map_or(Deed::Sale, |(deed, _)| *deed);
        let possible = match deed {
            Deed::Sale | Deed::Balance | Deed::SignOn => true,
            Deed::Void => !self.sold.is_empty(),
            Deed::Refund => self.dialect == Dialect::Edc || !self.sold.is_empty(),
            Deed::PreAuth => self.dialect != Dialect::Edc,
            Deed::PreAuthCancel | Deed::Completion | Deed::CompletionAdvice => {
                self.dialect == Dialect::UnionPay && !self.held.is_empty()
            }
            Deed::CompletionVoid => !self.completed.is_empty(),
            Deed::OfflineSale | Deed::Settle => self.dialect != Dialect::Ascii,
        };
        if possible { deed } else { Deed::Sale }
    }

    /// A payment; with the card's holder and, where it has one, the original.
    async fn pay(
        &mut self,
        deed: Deed,
    ) -> Result<Option<(&'static Holder, Option<Receipt>, Outcome)>, TerminalError> {
        let original = self.original(deed);
        let holder = original.as_ref().map_or_else(|| self.chance.pick(&HOLDERS), |receipt| receipt.holder);
        let card = self.card(holder);
        let minor = self.amount(deed, original.as_ref());
        if deed == Deed::Sale && self.chance.once_in(25) {
            let faults = [Fault::DropReply, Fault::HangUp, Fault::NotTaken, Fault::Duplicate];
            let fault = *self.chance.pick(&faults);
            self.terminal.inject(fault);
        }
        let terminal = &mut self.terminal;
        let of = original.as_ref().map(|receipt| &receipt.outcome);
        let outcome = match (deed, of) {
            (Deed::Void, Some(of)) => terminal.void(&card, of).await?,
            (Deed::Refund, Some(of)) => terminal.refund(&card, of, minor).await?,
            (Deed::Refund, None) => terminal.refund_unlinked(&card, minor).await?,
            (Deed::PreAuth, None) => terminal.pre_auth(&card, minor).await?,
            (Deed::PreAuthCancel, Some(of)) => terminal.pre_auth_cancel(&card, of).await?,
            (Deed::Completion, Some(of)) => terminal.completion(&card, of, minor).await?,
            (Deed::CompletionAdvice, Some(of)) => terminal.completion_advice(&card, of, minor).await?,
            (Deed::CompletionVoid, Some(of)) => terminal.completion_void(&card, of).await?,
            (Deed::OfflineSale, None) => terminal.offline_sale(&card, minor, "AB1234").await?,
            (Deed::Balance, None) => terminal.balance(&card).await?,
            (Deed::Sale, None) => terminal.sale(&card, minor).await?,
            _ => return Ok(None),
        };
        Ok(Some((holder, original, outcome)))
    }

    fn original(&mut self, deed: Deed) -> Option<Receipt> {
        let from = if deed == Deed::Void || deed == Deed::Refund && self.dialect != Dialect::Edc {
            &self.sold
        } else if matches!(deed, Deed::PreAuthCancel | Deed::Completion | Deed::CompletionAdvice) {
            &self.held
        } else if deed == Deed::CompletionVoid {
            &self.completed
        } else {
            return None;
        };
        Some(self.chance.pick(from).clone())
    }

    fn card(&mut self, holder: &Holder) -> Card {
        if self.dialect == Dialect::Ascii {
            return Card::keyed(holder.pan, EXPIRY);
        }
        Card::swiped(holder.pan, EXPIRY).with_pin(holder.pin)
    }

    /// Mostly anything; now and then one at which the issuer does something of its own.
    fn amount(&mut self, deed: Deed, original: Option<&Receipt>) -> i64 {
        let most = original.map_or(5_000, |receipt| receipt.outcome.amount);
        let any = i64::try_from(self.chance.within(1..u64::try_from(most).unwrap() + 1)).unwrap();
        if deed != Deed::Sale {
            return any;
        }
        match self.chance.within(0..400) {
            0..4 => SILENT_MINOR,
            4..8 => LATE_MINOR,
            8..16 => DECLINED_MINOR,
            16 => BROKEN_MINOR,
            _ => any,
        }
    }

    /// A final answer goes into the log at once; anything else waits for its end in the terminal's state.
    fn note(&mut self, holder: &'static Holder, original: Option<Receipt>, outcome: Outcome) {
        match outcome.verdict {
            Verdict::Approved if outcome.kind.is_advice() && self.waits(outcome.stan) => return,
            Verdict::Approved => {}
            Verdict::Declined if outcome.kind.is_advice() => return,
            Verdict::Declined => {
                if outcome.code == "A0" {
                    self.signed_on = false;
                }
                return self.ground.log.add(self.line(&outcome, End::Declined));
            }
            Verdict::NoReply | Verdict::NotTaken => return,
            Verdict::WrongEcho(_) | Verdict::WrongMac => {
                return self.fault(&format!(
                    "{:?} to {} {}",
                    outcome.verdict,
                    outcome.kind.name(),
                    outcome.stan
                ));
            }
        }
        self.ground.log.add(self.line(&outcome, End::Approved));
        if let Some(original) = original {
            // What was voided, refunded, completed or cancelled is not referred to again.
            for receipts in [&mut self.sold, &mut self.held, &mut self.completed] {
                receipts.retain(|receipt| receipt.outcome.stan != original.outcome.stan);
            }
        }
        let kind = outcome.kind;
        // An EDC terminal may void a refund, and an advice, too.
        let edc = self.dialect == Dialect::Edc && matches!(kind, Kind::Refund | Kind::OfflineSale);
        let receipt = Receipt { holder, outcome };
        if kind == Kind::Sale || edc {
            self.sold.push(receipt);
        } else if kind == Kind::PreAuth {
            self.held.push(receipt);
        } else if kind == Kind::Completion {
            self.completed.push(receipt);
        }
    }

    fn waits(&self, stan: u32) -> bool {
        self.terminal.state().advices.iter().any(|advice| stan_of(advice.draft.get(11)) == stan)
    }

    async fn settle(&mut self) -> Result<(), TerminalError> {
        self.settling = true;
        let done = self.terminal.settle().await?;
        if matches!(done.agreement, Agreement::Different | Agreement::Error) {
            self.fault(&format!(
                "batch {} is {:?}: {:?} here, {:?} there",
                done.batch, done.agreement, done.totals, done.host
            ));
        }
        if done.closed {
            self.settling = false;
            self.signed_on = self.dialect != Dialect::UnionPay;
            self.ground.log.batch_settled();
            self.sold.clear();
            self.completed.clear();
        }
        Ok(())
    }

    /// Compares what was pending with what the terminal's state still holds: what is gone has ended.
    fn account(&mut self) {
        let saved = self.terminal.state().reversal.clone();
        if let Some(line) = self.reversing.take() {
            if saved.as_ref().is_some_and(|saved| saved.stan == line.stan) {
                self.reversing = Some(line);
            } else {
                self.ended(line, End::Reversed);
            }
        }
        if let (None, Some(saved)) = (&self.reversing, saved) {
            self.reversing = Some(self.pending(saved.kind, saved.stan, saved.minor));
        }
        let advices = self.terminal.state().advices.clone();
        let pending: Vec<_> = advices.iter().map(|advice| (stan_of(advice.draft.get(11)), advice)).collect();
        for stan in self.advising.keys().copied().collect::<Vec<_>>() {
            if pending.iter().all(|(of, _)| *of != stan)
                && let Some(line) = self.advising.remove(&stan)
            {
                let items = &self.terminal.state().items;
                let rrn = items.iter().find(|item| item.stan == stan).and_then(|item| item.rrn.clone());
                self.ended(Line { rrn, ..line }, End::Approved);
            }
        }
        for (stan, advice) in pending {
            let minor = advice.draft.get(4).and_then(|text| text.parse().ok()).unwrap_or(0);
            let line = self.pending(advice.kind, stan, minor);
            self.advising.entry(stan).or_insert(line);
        }
    }

    fn ended(&self, line: Line, outcome: End) {
        let given_up = self.terminal.state().given_up.contains(&line.stan);
        if given_up {
            self.fault(&format!("the switch does not take what {} {} says", line.kind, line.stan));
        }
        self.ground.log.add(Line { outcome: if given_up { End::GivenUp } else { outcome }, ..line });
    }

    fn pending(&self, kind: Kind, stan: u32, amount_minor: i64) -> Line {
        Line {
            tid: self.terminal.profile().tid.clone(),
            mid: self.terminal.profile().mid.clone(),
            batch: self.terminal.state().batch,
            stan,
            kind: kind.name(),
            amount_minor,
            outcome: End::GivenUp,
            rrn: None,
            auth_code: None,
            code: String::new(),
        }
    }

    fn line(&self, outcome: &Outcome, end: End) -> Line {
        Line {
            batch: outcome.batch,
            outcome: end,
            rrn: outcome.rrn.clone(),
            auth_code: outcome.auth_code.clone(),
            code: outcome.code.clone(),
            ..self.pending(outcome.kind, outcome.stan, outcome.amount)
        }
    }

    /// What becomes of a terminal that does not know how its request ended, once for each.
    fn dice(&mut self) {
        let unknown = self.reversing.iter().chain(self.advising.values()).map(|line| line.stan).max();
        if self.settling || unknown.is_none() || unknown == self.diced {
            return;
        }
        self.diced = unknown;
        if self.chance.once_in(self.ground.manners.lost) {
            self.lose();
        } else if self.chance.once_in(self.ground.manners.power_cut) {
            self.switch_on(self.terminal.profile().clone());
        } else {
            self.resends = self.reversing.is_some() && self.chance.once_in(self.ground.manners.resend);
        }
    }

    /// Never comes back: another one takes its place, if there is one.
    fn lose(&mut self) {
        let Some(profile) = self.ground.spares.take(self.dialect) else { return };
        for line in self.reversing.take().into_iter().chain(std::mem::take(&mut self.advising).into_values())
        {
            self.ground.log.add(line);
        }
        self.sold.clear();
        self.held.clear();
        self.completed.clear();
        self.diced = None;
        self.switch_on(profile);
    }

    fn switch_on(&mut self, profile: terminal_sim::terminal::TerminalProfile) {
        self.signed_on = false;
        self.terminal = Terminal::switched_on(profile, Some(self.ground.recorder.clone())).unwrap();
    }

    fn fault(&self, text: &str) {
        self.ground.log.fault(format!("{}: {text}", self.terminal.profile().tid));
    }
}

fn stan_of(de11: Option<&str>) -> u32 {
    de11.and_then(|text| text.parse().ok()).unwrap_or(0)
}
