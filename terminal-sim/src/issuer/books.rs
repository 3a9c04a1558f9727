//! The issuer's books: accounts, holds and a journal from which every balance can be summed up again.
//!
//! They know what a message means, not how it is coded, sent or MACed. A message is posted once however often
//! it comes, and a reversal undoes its original once. An answer is decided first and posted after, so that a
//! rule may have the one without the other.

use super::config::{Account, IssuerConfig};
use super::journal::{AccountBalance, Entry, Export};
use super::request::{CardRequest, Kind, MessageKey, PinEntry};
use super::rule::Rule;
use std::collections::{BTreeMap, HashMap, HashSet};
use tollgate::transaction::Currency;

/// What an account may hold or owe, in minor units: far from where 64 bits end.
pub(super) const BALANCE_LIMIT_MINOR: i64 = 1_000_000_000_000_000;

/// What the books say to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// DE 39.
    pub code: String,
    /// DE 38, when something was approved that has one.
    pub auth_code: Option<String>,
    /// DE 4 of the answer when it is not the one asked for: a partial approval.
    pub approved_minor: Option<i64>,
    /// What the account has available, in reply to a balance inquiry.
    pub available: Option<(i64, Currency)>,
}

impl Verdict {
    pub(super) fn of(code: &str) -> Self {
        Self { code: code.to_owned(), auth_code: None, approved_minor: None, available: None }
    }

    /// Whether DE 39 approves.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        approves(&self.code)
    }
}

fn approves(code: &str) -> bool {
    matches!(code, "00" | "08" | "10" | "11" | "16")
}

/// What a message did to an account: signed changes of its balance and of what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Effect {
    pub(super) balance_minor: i64,
    pub(super) held_minor: i64,
}

impl Effect {
    const fn back(self) -> Self {
        Self { balance_minor: -self.balance_minor, held_minor: -self.held_minor }
    }
}

/// Where a recorded message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was answered with a decline, or posts nothing.
    Idle,
    /// It counts.
    Posted,
    /// A void, a cancel or a completion has taken its place.
    Taken,
    /// A reversal has undone it.
    Reversed,
}

#[derive(Debug)]
struct Record {
    kind: Kind,
    account: Option<usize>,
    asked_minor: i64,
    posted_minor: i64,
    effect: Effect,
    refunded_minor: i64,
    original: Option<usize>,
    standing: Standing,
    verdict: Verdict,
    entry: usize,
}

/// What would be posted.
struct Plan {
    verdict: Verdict,
    account: Option<usize>,
    original: Option<usize>,
    posted_minor: i64,
    effect: Effect,
}

impl Plan {
    fn idle(verdict: Verdict, account: Option<usize>) -> Self {
        Self { verdict, account, original: None, posted_minor: 0, effect: Effect::default() }
    }
}

#[derive(Debug)]
struct Ledger {
    account: Account,
    balance_minor: i64,
    held_minor: i64,
    wrong_pins: u32,
}

impl Ledger {
    const fn available_minor(&self) -> i64 {
        self.balance_minor - self.held_minor
    }

    fn apply(&mut self, effect: Effect) {
        self.balance_minor += effect.balance_minor;
        self.held_minor += effect.held_minor;
    }

    const fn bears(&self, effect: Effect) -> bool {
        (self.balance_minor + effect.balance_minor).abs() <= BALANCE_LIMIT_MINOR
            && (self.held_minor + effect.held_minor).abs() <= BALANCE_LIMIT_MINOR
    }
}

/// An issuer's books.
#[derive(Debug)]
pub struct Books {
    issuer: String,
    completion_percent: u32,
    pin_tries: u32,
    month: Option<String>,
    ledgers: Vec<Ledger>,
    by_pan: HashMap<String, usize>,
    records: Vec<Record>,
    by_key: HashMap<MessageKey, usize>,
    reversed_unseen: HashSet<MessageKey>,
    journal: Vec<Entry>,
    next_auth_code: u32,
}

impl Books {
    /// Opens the books of an issuer.
    #[must_use]
    pub fn new(config: &IssuerConfig) -> Self {
        let ledger = |account: &Account| Ledger {
            account: account.clone(),
            balance_minor: account.balance_minor,
            held_minor: 0,
            wrong_pins: 0,
        };
        let pans = config.accounts.iter().enumerate();
        Self {
            issuer: config.name.clone(),
            completion_percent: config.completion_percent,
            pin_tries: config.pin_tries,
            month: config.month.clone(),
            ledgers: config.accounts.iter().map(ledger).collect(),
            by_pan: pans.map(|(index, account)| (account.pan.digits().to_owned(), index)).collect(),
            records: Vec::new(),
            by_key: HashMap::new(),
            reversed_unseen: HashSet::new(),
            journal: Vec::new(),
            next_auth_code: 100_001,
        }
    }

    /// Decides a message under `rule` and, unless the rule says otherwise, posts and remembers it.
    pub fn receive(&mut self, request: &CardRequest, rule: &Rule) -> Verdict {
        if let Some(first) = self.by_key.get(&request.key).and_then(|index| self.records.get(*index)) {
            let same = first.kind == request.kind
                && first.asked_minor == request.amount_minor
                && (request.pan.is_none() || first.account == self.account_of(request));
            return if same { first.verdict.clone() } else { Verdict::of("94") };
        }
        let plan = if self.reversed_unseen.contains(&request.key) {
            Plan::idle(Verdict::of("94"), self.account_of(request))
        } else {
            self.plan(request, rule)
        };
        let verdict = plan.verdict.clone();
        if rule.posts {
            self.post(request, plan);
        }
        verdict
    }

    fn account_of(&self, request: &CardRequest) -> Option<usize> {
        self.by_pan.get(request.pan.as_ref()?.digits()).copied()
    }

    fn plan(&mut self, request: &CardRequest, rule: &Rule) -> Plan {
        let account = self.account_of(request);
        if let Some(code) = rule.code.as_deref().filter(|code| !approves(code)) {
            return Plan::idle(Verdict::of(code), account);
        }
        let planned = self.check_card(request, account, rule).and_then(|account| match request.kind {
            Kind::Reversal => self.plan_reversal(request),
            Kind::Void | Kind::Cancel | Kind::CompletionVoid => self.plan_void(request, account),
            Kind::Refund => self.plan_refund(request, account, rule),
            Kind::Completion | Kind::CompletionAdvice => self.plan_completion(request, account, rule),
            Kind::Sale | Kind::Preauthorization | Kind::OfflineSale => {
                self.plan_debit(request, account, rule)
            }
            Kind::Balance => Ok(self.plan_balance(account)),
        });
        match planned {
            Ok(mut plan) => {
                if let Some(code) = &rule.code {
                    plan.verdict.code.clone_from(code);
                }
                let reversal = request.kind == Kind::Reversal || request.kind == Kind::Balance;
                plan.verdict.auth_code = match &request.auth_code {
                    _ if reversal => None,
                    Some(given) if request.kind.is_advice() => Some(given.clone()),
                    _ => Some(self.auth_code()),
                };
                plan
            }
            Err(code) => Plan::idle(Verdict::of(code), account),
        }
    }

    fn auth_code(&mut self) -> String {
        let code = format!("{:06}", self.next_auth_code);
        self.next_auth_code = if self.next_auth_code == 999_999 { 1 } else { self.next_auth_code + 1 };
        code
    }

    /// The card's own checks. An advice tells what has happened: only an unknown card refuses it.
    fn check_card(
        &mut self,
        request: &CardRequest,
        account: Option<usize>,
        rule: &Rule,
    ) -> Result<Option<usize>, &'static str> {
        if request.kind == Kind::Reversal {
            return Ok(account);
        }
        let index = account.ok_or("14")?;
        let month = self.month.as_deref();
        let ledger = self.ledgers.get_mut(index).ok_or("14")?;
        if request.currency.is_some_and(|currency| currency != ledger.account.currency) {
            return Err("57");
        }
        if request.kind.is_advice() || rule.code.is_some() {
            return Ok(account);
        }
        let expired = month.is_some_and(|month| ledger.account.expiry.as_str() < month);
        if expired || request.expiry.as_ref().is_some_and(|expiry| *expiry != ledger.account.expiry) {
            return Err("54");
        }
        let wrong_pins = ledger.wrong_pins;
        let checked = check_pin(ledger, &request.pin, self.pin_tries);
        if !rule.posts {
            ledger.wrong_pins = wrong_pins;
        }
        checked.map(|()| account)
    }

    fn ledger(&self, account: Option<usize>) -> Result<&Ledger, &'static str> {
        account.and_then(|index| self.ledgers.get(index)).ok_or("14")
    }

    fn plan_balance(&self, account: Option<usize>) -> Plan {
        let available = self.ledger(account).ok().map(|l| (l.available_minor(), l.account.currency));
        Plan::idle(Verdict { available, ..Verdict::of("00") }, account)
    }

    fn plan_debit(
        &self,
        request: &CardRequest,
        account: Option<usize>,
        rule: &Rule,
    ) -> Result<Plan, &'static str> {
        let ledger = self.ledger(account)?;
        let asked = request.amount_minor;
        let (posted, code) = match rule.partial_minor {
            Some(partial) if partial < asked => (partial, "10"),
            _ => (asked, "00"),
        };
        if posted == 0 {
            return Err("13");
        }
        let forced = rule.code.is_some() || request.kind.is_advice();
        if !forced && ledger.available_minor() < posted {
            return Err("51");
        }
        let effect = if request.kind == Kind::Preauthorization {
            Effect { held_minor: posted, ..Effect::default() }
        } else {
            Effect { balance_minor: -posted, ..Effect::default() }
        };
        let approved_minor = (posted != asked).then_some(posted);
        let verdict = Verdict { approved_minor, ..Verdict::of(code) };
        bearable(ledger, Plan { verdict, account, original: None, posted_minor: posted, effect })
    }

    fn plan_refund(
        &self,
        request: &CardRequest,
        account: Option<usize>,
        rule: &Rule,
    ) -> Result<Plan, &'static str> {
        let ledger = self.ledger(account)?;
        let amount = request.amount_minor;
        if amount == 0 {
            return Err("13");
        }
        let original = match &request.original {
            None => None,
            Some(key) => {
                let (index, sale) = self.original(key, account)?;
                if !sale.kind.takes_money() {
                    return Err("25");
                }
                if sale.standing != Standing::Posted {
                    return Err("12");
                }
                if rule.code.is_none() && amount > sale.posted_minor - sale.refunded_minor {
                    return Err("64");
                }
                Some(index)
            }
        };
        let effect = Effect { balance_minor: amount, ..Effect::default() };
        let verdict = Verdict::of("00");
        bearable(ledger, Plan { verdict, account, original, posted_minor: amount, effect })
    }

    fn plan_void(&self, request: &CardRequest, account: Option<usize>) -> Result<Plan, &'static str> {
        let ledger = self.ledger(account)?;
        let (index, original) = self.original(request.original.as_ref().ok_or("30")?, account)?;
        let fits = if request.kind == Kind::Cancel {
            original.kind == Kind::Preauthorization
        } else if request.kind == Kind::CompletionVoid {
            matches!(original.kind, Kind::Completion | Kind::CompletionAdvice)
        } else {
            matches!(original.kind, Kind::Sale | Kind::OfflineSale | Kind::Refund)
        };
        if !fits {
            return Err("25");
        }
        if original.standing != Standing::Posted || original.refunded_minor != 0 {
            return Err("12");
        }
        if request.amount_minor != 0 && request.amount_minor != original.posted_minor {
            return Err("64");
        }
        let plan = Plan {
            verdict: Verdict::of("00"),
            account,
            original: Some(index),
            posted_minor: original.posted_minor,
            effect: original.effect.back(),
        };
        bearable(ledger, plan)
    }

    /// A completion gives its hold free and takes the money. As an advice it takes the money in any case.
    fn plan_completion(
        &self,
        request: &CardRequest,
        account: Option<usize>,
        rule: &Rule,
    ) -> Result<Plan, &'static str> {
        let ledger = self.ledger(account)?;
        let amount = request.amount_minor;
        if amount == 0 {
            return Err("13");
        }
        let forced = request.kind.is_advice() || rule.code.is_some();
        let hold = match self.hold(request, account) {
            Ok(found) => Some(found),
            Err(_) if forced => None,
            Err(code) => return Err(code),
        };
        if let Some((_, hold)) = hold.filter(|_| !forced) {
            let most = hold.posted_minor.saturating_mul(i64::from(self.completion_percent)) / 100;
            if amount > most {
                return Err("64");
            }
            if ledger.available_minor() + hold.posted_minor < amount {
                return Err("51");
            }
        }
        let held_minor = hold.map_or(0, |(_, hold)| -hold.posted_minor);
        let effect = Effect { balance_minor: -amount, held_minor };
        let original = hold.map(|(index, _)| index);
        bearable(ledger, Plan { verdict: Verdict::of("00"), account, original, posted_minor: amount, effect })
    }

    /// The open hold that a completion names by DE 90, or else by DE 38.
    fn hold(&self, request: &CardRequest, account: Option<usize>) -> Result<(usize, &Record), &'static str> {
        let (index, hold) = match (&request.original, &request.auth_code) {
            (Some(key), _) => self.original(key, account)?,
            (None, Some(code)) => self
                .records
                .iter()
                .enumerate()
                .rev()
                .find(|(_, r)| {
                    r.kind == Kind::Preauthorization
                        && r.account == account
                        && r.verdict.auth_code.as_ref() == Some(code)
                })
                .ok_or("25")?,
            (None, None) => return Err("25"),
        };
        match (hold.kind, hold.standing) {
            (Kind::Preauthorization, Standing::Posted) => Ok((index, hold)),
            (Kind::Preauthorization, Standing::Taken) => Err("12"),
            _ => Err("25"),
        }
    }

    fn original(&self, key: &MessageKey, account: Option<usize>) -> Result<(usize, &Record), &'static str> {
        let index = *self.by_key.get(key).ok_or("25")?;
        let record = self.records.get(index).ok_or("25")?;
        let posted = record.verdict.is_approved() && record.standing != Standing::Reversed;
        let same_card = account.is_none() || record.account == account;
        if posted && same_card { Ok((index, record)) } else { Err("25") }
    }

    /// A reversal undoes its original when that still counts; otherwise there is nothing to do, and that is
    /// well. Only an original that never came is 25.
    fn plan_reversal(&self, request: &CardRequest) -> Result<Plan, &'static str> {
        let key = request.original.as_ref().ok_or("30")?;
        let index = *self.by_key.get(key).ok_or("25")?;
        let record = self.records.get(index).ok_or("25")?;
        if request.pan.is_some() && record.account != self.account_of(request) {
            return Err("25");
        }
        if record.standing != Standing::Posted {
            let idle = Plan::idle(Verdict::of("00"), record.account);
            return Ok(Plan { original: Some(index), ..idle });
        }
        if record.refunded_minor != 0 {
            return Err("12");
        }
        Ok(Plan {
            verdict: Verdict::of("00"),
            account: record.account,
            original: Some(index),
            posted_minor: record.posted_minor,
            effect: record.effect.back(),
        })
    }

    fn post(&mut self, request: &CardRequest, plan: Plan) {
        let approved = plan.verdict.is_approved();
        let retried = request.kind.is_advice() || request.kind == Kind::Reversal;
        if !approved && retried {
            // What was not accepted comes again; it must find no answer here.
            self.mark_unseen(request, &plan);
            return;
        }
        if let Some(ledger) = plan.account.and_then(|index| self.ledgers.get_mut(index)) {
            ledger.apply(plan.effect);
        }
        let moved = plan.effect != Effect::default();
        let standing = if approved && moved { Standing::Posted } else { Standing::Idle };
        let entry = self.journal.len();
        self.journal.push(self.entry(request, &plan));
        let index = self.records.len();
        self.records.push(Record {
            kind: request.kind,
            account: plan.account,
            asked_minor: request.amount_minor,
            posted_minor: plan.posted_minor,
            effect: plan.effect,
            refunded_minor: 0,
            original: plan.original,
            standing,
            verdict: plan.verdict,
            entry,
        });
        self.by_key.insert(request.key.clone(), index);
        if standing == Standing::Posted {
            self.take(index);
        }
    }

    /// Keeps an original that is still on its way from being posted after its reversal.
    fn mark_unseen(&mut self, request: &CardRequest, plan: &Plan) {
        let Some(original) = request.original.as_ref().filter(|_| request.kind == Kind::Reversal) else {
            return;
        };
        if plan.verdict.code == "25" && !self.by_key.contains_key(original) {
            self.reversed_unseen.insert(original.clone());
        }
    }

    /// What a posted message does to the one it names.
    fn take(&mut self, index: usize) {
        let Some((kind, amount, Some(original))) = self.link(index) else { return };
        match kind {
            Kind::Void | Kind::Cancel | Kind::CompletionVoid => {
                self.stand(original, Standing::Taken);
                self.release(original);
            }
            Kind::Completion | Kind::CompletionAdvice => self.stand(original, Standing::Taken),
            Kind::Refund => self.refunded(original, amount),
            Kind::Reversal => {
                self.stand(original, Standing::Reversed);
                self.release(original);
            }
            Kind::Sale | Kind::OfflineSale | Kind::Preauthorization | Kind::Balance => {}
        }
    }

    /// Takes back what [`Books::take`] did.
    fn release(&mut self, index: usize) {
        let Some((kind, amount, Some(original))) = self.link(index) else { return };
        match kind {
            Kind::Void | Kind::Cancel | Kind::CompletionVoid => {
                self.stand(original, Standing::Posted);
                self.take(original);
            }
            Kind::Completion | Kind::CompletionAdvice => self.stand(original, Standing::Posted),
            Kind::Refund => self.refunded(original, -amount),
            Kind::Reversal | Kind::Sale | Kind::OfflineSale | Kind::Preauthorization | Kind::Balance => {}
        }
    }

    fn link(&self, index: usize) -> Option<(Kind, i64, Option<usize>)> {
        self.records.get(index).map(|record| (record.kind, record.posted_minor, record.original))
    }

    fn stand(&mut self, index: usize, standing: Standing) {
        let Some(record) = self.records.get_mut(index) else { return };
        record.standing = standing;
        if let Some(entry) = self.journal.get_mut(record.entry) {
            entry.reversed = standing == Standing::Reversed;
        }
    }

    fn refunded(&mut self, index: usize, amount_minor: i64) {
        if let Some(record) = self.records.get_mut(index) {
            record.refunded_minor += amount_minor;
        }
    }

    fn entry(&self, request: &CardRequest, plan: &Plan) -> Entry {
        let ledger = self.ledger(plan.account).ok();
        let original = plan.original.and_then(|index| self.records.get(index)).map(|record| record.entry);
        Entry {
            order: self.journal.len(),
            mti: request.mti.clone(),
            stan: request.stan.clone(),
            de7: request.de7.clone(),
            acquirer: request.acquirer.clone(),
            rrn: request.rrn.clone(),
            kind: request.kind,
            account: ledger.map(|l| l.account.label.clone()),
            pan: ledger.map(|l| l.account.pan.to_string()),
            currency: ledger.map(|l| l.account.currency.to_string()),
            amount_minor: request.amount_minor,
            posted_minor: plan.posted_minor,
            balance_minor: plan.effect.balance_minor,
            held_minor: plan.effect.held_minor,
            code: plan.verdict.code.clone(),
            auth_code: plan.verdict.auth_code.clone(),
            original,
            reversed: false,
        }
    }

    /// Everything that was answered and remembered, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.journal.clone()
    }

    /// What each RRN has taken from its cardholder, in minor units: a sale is positive, a void or a refund
    /// negative under its own RRN; a reversal counts under its original's, which it brings to zero. RRNs whose
    /// messages were all declined are left out; one whose approval was undone stands with 0.
    #[must_use]
    pub fn net_by_rrn(&self) -> BTreeMap<String, i64> {
        super::journal::net_by_rrn(&self.journal)
    }

    /// Where each account stands, in the order of the settings.
    #[must_use]
    pub fn balances(&self) -> Vec<AccountBalance> {
        let balance = |ledger: &Ledger| AccountBalance {
            account: ledger.account.label.clone(),
            pan: ledger.account.pan.to_string(),
            currency: ledger.account.currency.to_string(),
            opening_minor: ledger.account.balance_minor,
            balance_minor: ledger.balance_minor,
            held_minor: ledger.held_minor,
            available_minor: ledger.available_minor(),
        };
        self.ledgers.iter().map(balance).collect()
    }

    /// All of it, for a file.
    #[must_use]
    pub fn export(&self) -> Export {
        Export {
            issuer: self.issuer.clone(),
            accounts: self.balances(),
            net_by_rrn: self.net_by_rrn(),
            journal: self.journal(),
        }
    }
}

fn bearable(ledger: &Ledger, plan: Plan) -> Result<Plan, &'static str> {
    if ledger.bears(plan.effect) { Ok(plan) } else { Err("61") }
}

fn check_pin(ledger: &mut Ledger, entry: &PinEntry, tries: u32) -> Result<(), &'static str> {
    let Some(reference) = &ledger.account.pin else { return Ok(()) };
    match entry {
        PinEntry::Absent => Ok(()),
        PinEntry::Unreadable => Err("63"),
        PinEntry::Clear(_) if ledger.wrong_pins >= tries => Err("75"),
        PinEntry::Clear(pin) if pin.is(reference) => {
            ledger.wrong_pins = 0;
            Ok(())
        }
        PinEntry::Clear(_) => {
            ledger.wrong_pins += 1;
            Err(if ledger.wrong_pins >= tries { "75" } else { "55" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::When;
    use super::*;
    use tollgate::hsm::pin::block::Pin;
    use tollgate::transaction::Pan;

    const RICH: &str = "6225880012345675";
    const POOR: &str = "4000000000000002";

    fn config() -> IssuerConfig {
        let account = |label: &str, pan, balance_minor| Account {
            label: label.to_owned(),
            pan: Pan::parse(pan).unwrap(),
            expiry: "3012".to_owned(),
            pin: Some("123456".to_owned()),
            balance_minor,
            currency: Currency::CNY,
        };
        let accounts = vec![account("rich", RICH, 100_000), account("poor", POOR, 500)];
        IssuerConfig { accounts, ..IssuerConfig::new("BANKA") }
    }

    /// `"MTI DE3 DE25 STAN amount"`, with `" < MTI STAN"` behind it for DE 90; the card ends in its own field.
    fn ask(line: &str, pan: &str) -> CardRequest {
        let (own, named) = line.split_once(" < ").map_or((line, None), |(own, named)| (own, Some(named)));
        let words: Vec<&str> = own.split(' ').collect();
        let [mti, processing, condition, stan, amount] = words[..] else { panic!("{line}") };
        let key = |mti: &str, stan: &str| MessageKey::new(mti, stan, "1123070500", "48020000");
        CardRequest {
            mti: mti.to_owned(),
            kind: Kind::of(mti, processing, Some(condition)).unwrap(),
            key: key(mti, stan),
            original: named.and_then(|named| named.split_once(' ')).map(|(mti, stan)| key(mti, stan)),
            stan: stan.to_owned(),
            de7: "1123070500".to_owned(),
            acquirer: "48020000".to_owned(),
            rrn: format!("R{stan}"),
            pan: Some(Pan::parse(pan).unwrap()),
            expiry: Some("3012".to_owned()),
            amount_minor: amount.parse().unwrap(),
            currency: Some(Currency::CNY),
            auth_code: None,
            pin: PinEntry::Absent,
        }
    }

    /// Every balance can be summed up from the journal, and every RRN's net from the same.
    fn audit(books: &Books) {
        for account in books.balances() {
            let of_account = |e: &&Entry| e.account.as_ref() == Some(&account.account);
            let balance: i64 = books.journal.iter().filter(of_account).map(|e| e.balance_minor).sum();
            let held: i64 = books.journal.iter().filter(of_account).map(|e| e.held_minor).sum();
            assert_eq!(account.opening_minor + balance, account.balance_minor);
            assert_eq!(held, account.held_minor);
            assert!(account.held_minor >= 0);
        }
        let total: i64 = books.balances().iter().map(|a| a.opening_minor - a.balance_minor).sum();
        assert_eq!(books.net_by_rrn().values().sum::<i64>(), total);
    }

    /// A story: messages with the code each is answered, then what the rich account has and holds.
    type Story = (&'static str, &'static [(&'static str, &'static str)], (i64, i64));

    const STORIES: &[Story] = &[
        ("sale", &[("0200 000000 00 1 1000", "00")], (99_000, 0)),
        ("sale of nothing", &[("0200 000000 00 1 0", "13")], (100_000, 0)),
        ("all there is", &[("0200 000000 00 1 100000", "00"), ("0200 000000 00 2 1", "51")], (0, 0)),
        ("one too much", &[("0200 000000 00 1 100001", "51")], (100_000, 0)),
        ("void", &[("0200 000000 00 1 1000", "00"), ("0200 020000 00 2 1000 < 0200 1", "00")], (100_000, 0)),
        (
            "void twice",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0200 020000 00 2 1000 < 0200 1", "00"),
                ("0200 020000 00 3 1000 < 0200 1", "12"),
            ],
            (100_000, 0),
        ),
        ("void of nothing", &[("0200 020000 00 2 1000 < 0200 1", "25")], (100_000, 0)),
        (
            "void of another amount",
            &[("0200 000000 00 1 1000", "00"), ("0200 020000 00 2 999 < 0200 1", "64")],
            (99_000, 0),
        ),
        (
            "void of a declined sale",
            &[("0200 000000 00 1 100001", "51"), ("0200 020000 00 2 100001 < 0200 1", "25")],
            (100_000, 0),
        ),
        (
            "void reversed: the sale stands, and can be voided again",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0200 020000 00 2 1000 < 0200 1", "00"),
                ("0420 020000 00 3 1000 < 0200 2", "00"),
                ("0200 020000 00 4 1000 < 0200 1", "00"),
                ("0420 020000 00 5 1000 < 0200 4", "00"),
            ],
            (99_000, 0),
        ),
        (
            "reversal and its repeats undo once",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0420 000000 00 2 1000 < 0200 1", "00"),
                ("0421 000000 00 2 1000 < 0200 1", "00"),
                ("0420 000000 00 9 1000 < 0200 1", "00"),
                ("0421 000000 00 9 1000 < 0200 1", "00"),
            ],
            (100_000, 0),
        ),
        (
            "reversal before its original",
            &[
                ("0420 000000 00 2 1000 < 0200 1", "25"),
                ("0421 000000 00 2 1000 < 0200 1", "25"),
                ("0200 000000 00 1 1000", "94"),
                ("0421 000000 00 2 1000 < 0200 1", "00"),
                ("0200 000000 00 1 1000", "94"),
            ],
            (100_000, 0),
        ),
        (
            "reversal of a decline",
            &[("0200 000000 00 1 100001", "51"), ("0420 000000 00 2 100001 < 0200 1", "00")],
            (100_000, 0),
        ),
        (
            "reversal of a voided sale gives nothing back twice",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0200 020000 00 2 1000 < 0200 1", "00"),
                ("0420 000000 00 3 1000 < 0200 1", "00"),
            ],
            (100_000, 0),
        ),
        (
            "void of a reversed sale",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0420 000000 00 3 1000 < 0200 1", "00"),
                ("0200 020000 00 2 1000 < 0200 1", "25"),
            ],
            (100_000, 0),
        ),
        ("hold", &[("0100 000000 06 1 60000", "00"), ("0200 000000 00 2 40001", "51")], (100_000, 60_000)),
        (
            "hold, completion of more than held",
            &[("0100 000000 06 1 10000", "00"), ("0200 000000 06 2 11500 < 0100 1", "00")],
            (88_500, 0),
        ),
        (
            "hold, completion beyond its percentage",
            &[("0100 000000 06 1 10000", "00"), ("0200 000000 06 2 11501 < 0100 1", "64")],
            (100_000, 10_000),
        ),
        (
            "hold, completion beyond the account",
            &[("0100 000000 06 1 99000", "00"), ("0200 000000 06 2 100001 < 0100 1", "51")],
            (100_000, 99_000),
        ),
        (
            "completion twice",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0200 000000 06 2 9000 < 0100 1", "00"),
                ("0200 000000 06 3 1000 < 0100 1", "12"),
            ],
            (91_000, 0),
        ),
        (
            "hold, cancel, completion",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0100 020000 06 2 10000 < 0100 1", "00"),
                ("0200 000000 06 3 9000 < 0100 1", "12"),
                ("0100 020000 06 4 10000 < 0100 1", "12"),
            ],
            (100_000, 0),
        ),
        (
            "cancel after completion",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0200 000000 06 2 9000 < 0100 1", "00"),
                ("0100 020000 06 3 10000 < 0100 1", "12"),
            ],
            (91_000, 0),
        ),
        (
            "cancel reversed",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0100 020000 06 2 10000 < 0100 1", "00"),
                ("0420 020000 06 3 10000 < 0100 2", "00"),
            ],
            (100_000, 10_000),
        ),
        (
            "completion void holds again",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0200 000000 06 2 9000 < 0100 1", "00"),
                ("0200 020000 06 3 9000 < 0200 2", "00"),
            ],
            (100_000, 10_000),
        ),
        (
            "completion void reversed",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0200 000000 06 2 9000 < 0100 1", "00"),
                ("0200 020000 06 3 9000 < 0200 2", "00"),
                ("0420 020000 06 4 9000 < 0200 3", "00"),
                ("0100 020000 06 5 10000 < 0100 1", "12"),
            ],
            (91_000, 0),
        ),
        (
            "completion reversed, then completed for another amount",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0200 000000 06 2 9000 < 0100 1", "00"),
                ("0420 000000 06 3 9000 < 0200 2", "00"),
                ("0200 000000 06 4 5000 < 0100 1", "00"),
            ],
            (95_000, 0),
        ),
        (
            "hold reversed",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0420 000000 06 2 10000 < 0100 1", "00"),
                ("0200 000000 06 3 9000 < 0100 1", "25"),
            ],
            (100_000, 0),
        ),
        (
            "completion advice is not declined",
            &[
                ("0100 000000 06 1 10000", "00"),
                ("0220 000000 06 2 11501 < 0100 1", "00"),
                ("0221 000000 06 2 11501 < 0100 1", "00"),
                ("0220 000000 06 3 100 < 0100 7", "00"),
            ],
            (88_399, 0),
        ),
        ("offline sale is not declined", &[("0220 000000 00 1 100001", "00")], (-1, 0)),
        (
            "refunds up to the sale",
            &[
                ("0200 000000 00 1 10000", "00"),
                ("0200 200000 00 2 6000 < 0200 1", "00"),
                ("0200 200000 00 3 4001 < 0200 1", "64"),
                ("0200 200000 00 4 4000 < 0200 1", "00"),
                ("0200 200000 00 5 1 < 0200 1", "64"),
                ("0200 020000 00 6 10000 < 0200 1", "12"),
                ("0420 000000 00 7 10000 < 0200 1", "12"),
            ],
            (100_000, 0),
        ),
        (
            "refund reversed, then refunded again",
            &[
                ("0200 000000 00 1 10000", "00"),
                ("0200 200000 00 2 10000 < 0200 1", "00"),
                ("0420 200000 00 3 10000 < 0200 2", "00"),
                ("0200 200000 00 4 9999 < 0200 1", "00"),
            ],
            (99_999, 0),
        ),
        (
            "refund voided",
            &[
                ("0200 000000 00 1 10000", "00"),
                ("0200 200000 00 2 10000 < 0200 1", "00"),
                ("0200 220000 00 3 10000 < 0200 2", "00"),
                ("0200 020000 00 4 10000 < 0200 1", "00"),
            ],
            (100_000, 0),
        ),
        ("refund without its sale", &[("0200 200000 00 1 700", "00")], (100_700, 0)),
        ("refund of an unknown sale", &[("0200 200000 00 1 700 < 0200 5", "25")], (100_000, 0)),
        (
            "the same message again posts once",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0201 000000 00 1 1000", "00"),
                ("0200 000000 00 1 1000", "00"),
            ],
            (99_000, 0),
        ),
        (
            "another message under the same key",
            &[
                ("0200 000000 00 1 1000", "00"),
                ("0200 000000 00 1 1001", "94"),
                ("0200 200000 00 1 1000", "94"),
            ],
            (99_000, 0),
        ),
        (
            "the same STAN in another class",
            &[("0200 000000 00 1 1000", "00"), ("0100 000000 06 1 1000", "00")],
            (99_000, 1_000),
        ),
        ("balance", &[("0100 310000 00 1 0", "00"), ("0200 310000 00 2 0", "00")], (100_000, 0)),
    ];

    #[test]
    fn stories_end_where_they_should() {
        for (name, steps, (balance, held)) in STORIES {
            let mut books = Books::new(&config());
            for (step, code) in *steps {
                let verdict = books.receive(&ask(step, RICH), &Rule::default());
                assert_eq!(verdict.code, *code, "{name}: {step}");
            }
            let rich = &books.balances()[0];
            assert_eq!((rich.balance_minor, rich.held_minor), (*balance, *held), "{name}");
            audit(&books);
        }
    }

    #[test]
    fn a_replay_is_the_first_answer() {
        let mut books = Books::new(&config());
        let first = books.receive(&ask("0200 000000 00 1 1000", RICH), &Rule::default());
        let other = books.receive(&ask("0200 000000 00 2 1000", RICH), &Rule::default());
        let again = books.receive(&ask("0201 000000 00 1 1000", RICH), &Rule::default());
        assert_eq!(first, again);
        assert_ne!(first.auth_code, other.auth_code);
        assert_eq!(books.journal().len(), 2);
        let another_card = books.receive(&ask("0200 000000 00 1 1000", POOR), &Rule::default());
        assert_eq!(another_card.code, "94");
    }

    #[test]
    fn nobody_touches_anothers_transaction() {
        let rows = [
            ("0200 020000 00 9 1000 < 0200 1", "25"),
            ("0200 200000 00 9 1000 < 0200 1", "25"),
            ("0420 000000 00 9 1000 < 0200 1", "25"),
            ("0200 000000 06 9 400 < 0100 2", "25"),
            ("0100 020000 06 9 1000 < 0100 2", "25"),
        ];
        for (step, code) in rows {
            let mut books = Books::new(&config());
            books.receive(&ask("0200 000000 00 1 1000", RICH), &Rule::default());
            books.receive(&ask("0100 000000 06 2 1000", RICH), &Rule::default());
            assert_eq!(books.receive(&ask(step, POOR), &Rule::default()).code, code, "{step}");
            let left: Vec<_> = books.balances().iter().map(|a| (a.balance_minor, a.held_minor)).collect();
            assert_eq!(left, [(99_000, 1_000), (500, 0)], "{step}");
        }
    }

    #[test]
    fn rules_bend_the_decision() {
        let rule = |text: &str| toml::from_str::<Rule>(text).unwrap();
        let sale = "0200 000000 00 1 1000";
        let large = "0200 000000 00 1 200000";
        // Rule, message, code, DE 4 of the answer, balance after it, balance after the same message without a rule.
        let rows = [
            ("code = '05'", sale, "05", None, 100_000, 100_000),
            ("code = '00'", large, "00", None, -100_000, -100_000),
            ("partial_minor = 400", sale, "10", Some(400), 99_600, 99_600),
            ("partial_minor = 1000", sale, "00", None, 99_000, 99_000),
            ("partial_minor = 100000", large, "10", Some(100_000), 0, 0),
            ("posts = false", sale, "00", None, 100_000, 99_000),
            ("posts = false\ncode = '05'", sale, "05", None, 100_000, 99_000),
            ("delivery = 'silent'", sale, "00", None, 99_000, 99_000),
        ];
        for (text, step, code, approved, after, again) in rows {
            let mut books = Books::new(&config());
            let verdict = books.receive(&ask(step, RICH), &rule(text));
            assert_eq!((verdict.code.as_str(), verdict.approved_minor), (code, approved), "{text}");
            assert_eq!(verdict.auth_code.is_some(), verdict.is_approved(), "{text}");
            assert_eq!(books.balances()[0].balance_minor, after, "{text}");
            books.receive(&ask(step, RICH), &Rule::default());
            assert_eq!(books.balances()[0].balance_minor, again, "{text}");
            audit(&books);
        }
    }

    #[test]
    fn an_advice_that_was_refused_comes_again() {
        let refuse = Rule::code(When::default(), "91");
        let mut books = Books::new(&config());
        books.receive(&ask("0200 000000 00 1 1000", RICH), &Rule::default());
        let reversal = "0420 000000 00 2 1000 < 0200 1";
        assert_eq!(books.receive(&ask(reversal, RICH), &refuse).code, "91");
        assert_eq!(books.balances()[0].balance_minor, 99_000);
        assert_eq!(books.receive(&ask(reversal, RICH), &Rule::default()).code, "00");
        assert_eq!(books.balances()[0].balance_minor, 100_000);
        let offline = "0220 000000 00 3 50";
        assert_eq!(books.receive(&ask(offline, RICH), &refuse).code, "91");
        assert_eq!(books.receive(&ask(offline, RICH), &Rule::default()).code, "00");
        assert_eq!(books.balances()[0].balance_minor, 99_950);
    }

    #[test]
    fn a_message_that_never_came_leaves_a_mark_when_reversed() {
        let lost = Rule { posts: false, ..Rule::silent(When::default()) };
        let mut books = Books::new(&config());
        books.receive(&ask("0200 000000 00 1 1000", RICH), &lost);
        assert_eq!(books.receive(&ask("0420 000000 00 2 1000 < 0200 1", RICH), &Rule::default()).code, "25");
        assert_eq!(books.receive(&ask("0201 000000 00 1 1000", RICH), &Rule::default()).code, "94");
        assert_eq!(books.balances()[0].balance_minor, 100_000);
    }

    #[test]
    fn cards_are_checked() {
        let sale = || ask("0200 000000 00 1 1000", RICH);
        let mut unknown = sale();
        unknown.pan = Some(Pan::parse("5555555555554444").unwrap());
        let mut wrong_expiry = sale();
        wrong_expiry.expiry = Some("3011".to_owned());
        let mut foreign = sale();
        foreign.currency = Some(Currency::USD);
        let mut unreadable = sale();
        unreadable.pin = PinEntry::Unreadable;
        let rows = [
            ("unknown", unknown, "14"),
            ("expiry", wrong_expiry, "54"),
            ("currency", foreign, "57"),
            ("PIN", unreadable, "63"),
        ];
        for (name, request, code) in rows {
            let mut books = Books::new(&config());
            assert_eq!(books.receive(&request, &Rule::default()).code, code, "{name}");
            assert_eq!(books.balances()[0].balance_minor, 100_000, "{name}");
        }
        for (month, code) in [("3012", "00"), ("3101", "54")] {
            let mut books = Books::new(&IssuerConfig { month: Some(month.to_owned()), ..config() });
            assert_eq!(books.receive(&sale(), &Rule::default()).code, code, "{month}");
        }
    }

    #[test]
    fn wrong_pins_are_counted_until_a_right_one() {
        let mut books = Books::new(&config());
        let mut stan = 0;
        let mut try_pin = |pin: &str, rule: &Rule| {
            stan += 1;
            let mut request = ask(&format!("0200 000000 00 {stan} 1"), RICH);
            request.pin = PinEntry::Clear(Pin::parse(pin).unwrap());
            books.receive(&request, rule).code
        };
        let plain = Rule::default();
        let lost = Rule { posts: false, ..Rule::default() };
        for (pin, rule, code) in [
            ("1234", &plain, "55"),
            ("123457", &plain, "55"),
            ("1234", &lost, "75"),
            ("123456", &plain, "00"),
            ("1234", &plain, "55"),
            ("1234", &plain, "55"),
            ("1234", &plain, "75"),
            ("123456", &plain, "75"),
        ] {
            assert_eq!(try_pin(pin, rule), code, "{pin}");
        }
    }

    #[test]
    fn a_completion_may_name_its_hold_by_the_authorization_code() {
        let mut books = Books::new(&config());
        let hold = books.receive(&ask("0100 000000 06 1 10000", RICH), &Rule::default());
        let mut completion = ask("0220 000000 06 2 9000", RICH);
        completion.auth_code = hold.auth_code.clone();
        let verdict = books.receive(&completion, &Rule::default());
        assert_eq!((verdict.code.as_str(), &verdict.auth_code), ("00", &hold.auth_code));
        let rich = &books.balances()[0];
        assert_eq!((rich.balance_minor, rich.held_minor), (91_000, 0));
    }

    #[test]
    fn the_export_names_nets_and_no_card() {
        let mut books = Books::new(&config());
        for step in [
            "0200 000000 00 1 1000",
            "0200 000000 00 2 300",
            "0420 000000 00 7 300 < 0200 2",
            "0200 020000 00 3 1000 < 0200 1",
            "0200 000000 00 4 100001",
            "0100 000000 06 5 200",
            "0200 000000 06 6 150 < 0100 5",
        ] {
            books.receive(&ask(step, RICH), &Rule::default());
        }
        let expected = [("R1", 1_000), ("R2", 0), ("R3", -1_000), ("R6", 150)];
        assert_eq!(books.net_by_rrn(), expected.map(|(rrn, net)| (rrn.to_owned(), net)).into());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.json");
        books.export().write(&path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains(RICH) && !text.contains("123456\""));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["issuer"], "BANKA");
        assert_eq!(json["accounts"][0]["pan"], "622588******5675");
        assert_eq!(json["accounts"][0]["available_minor"], 99_850);
        assert_eq!(json["journal"][2]["kind"], "reversal");
        assert_eq!(json["journal"][2]["original"], 1);
        assert_eq!(json["journal"][1]["reversed"], true);
        assert_eq!(json["journal"][4]["code"], "51");
    }
}
