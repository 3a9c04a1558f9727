//! What an operator does with a card at a terminal, and what the terminal makes of the answer.
//!
//! The reversal is saved before the request leaves; a final answer deletes it; else it goes out before the
//! next transaction, and so do advices that nobody has taken yet.

use super::batch::{Item, Kind};
use super::draft::Draft;
use super::envelope;
use super::exchange::Sent;
use super::outcome::{Outcome, Verdict};
use super::profile::{Card, Dialect};
use super::request::{self, Ask};
use super::state::{PendingAdvice, PendingReversal, State};
use super::{Terminal, TerminalError};

impl Terminal {
    /// Balance inquiry; see [`Outcome::balance`].
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn balance(&mut self, card: &Card) -> Result<Outcome, TerminalError> {
        self.transact(Ask { kind: Kind::Balance, card, minor: 0, original: None, voice: None }).await
    }

    /// Sale of so many minor units.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn sale(&mut self, card: &Card, minor: i64) -> Result<Outcome, TerminalError> {
        self.transact(Ask { kind: Kind::Sale, card, minor, original: None, voice: None }).await
    }

    /// Voids a sale of the open batch (or, in EDC, a refund) in full.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn void(&mut self, card: &Card, original: &Outcome) -> Result<Outcome, TerminalError> {
        self.refer(Kind::Void, card, original, original.amount).await
    }

    /// Refunds a part or all of a sale.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn refund(
        &mut self,
        card: &Card,
        original: &Outcome,
        minor: i64,
    ) -> Result<Outcome, TerminalError> {
        self.refer(Kind::Refund, card, original, minor).await
    }

    /// Refunds without naming a sale. UnionPay refuses that; EDC knows nothing else.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn refund_unlinked(&mut self, card: &Card, minor: i64) -> Result<Outcome, TerminalError> {
        self.transact(Ask { kind: Kind::Refund, card, minor, original: None, voice: None }).await
    }

    /// Pre-authorization (UnionPay 0100).
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] in EDC.
    pub async fn pre_auth(&mut self, card: &Card, minor: i64) -> Result<Outcome, TerminalError> {
        self.transact(Ask { kind: Kind::PreAuth, card, minor, original: None, voice: None }).await
    }

    /// ASCII authorization, 0100: a pre-authorization under its ISO name.
    ///
    /// # Errors
    /// As [`Terminal::pre_auth`].
    pub async fn authorize(&mut self, card: &Card, minor: i64) -> Result<Outcome, TerminalError> {
        self.pre_auth(card, minor).await
    }

    /// Cancels a pre-authorization in full.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] elsewhere than in UnionPay.
    pub async fn pre_auth_cancel(
        &mut self,
        card: &Card,
        original: &Outcome,
    ) -> Result<Outcome, TerminalError> {
        self.refer(Kind::PreAuthCancel, card, original, original.amount).await
    }

    /// Completes a pre-authorization online.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] elsewhere than in UnionPay.
    pub async fn completion(
        &mut self,
        card: &Card,
        original: &Outcome,
        minor: i64,
    ) -> Result<Outcome, TerminalError> {
        self.refer(Kind::Completion, card, original, minor).await
    }

    /// Completes a pre-authorization and tells the host of it. It counts whether or not an answer comes,
    /// and is repeated until one does.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] elsewhere than in UnionPay.
    pub async fn completion_advice(
        &mut self,
        card: &Card,
        original: &Outcome,
        minor: i64,
    ) -> Result<Outcome, TerminalError> {
        self.refer(Kind::CompletionAdvice, card, original, minor).await
    }

    /// Voids an online completion in full.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] elsewhere than in UnionPay.
    pub async fn completion_void(
        &mut self,
        card: &Card,
        completion: &Outcome,
    ) -> Result<Outcome, TerminalError> {
        self.refer(Kind::CompletionVoid, card, completion, completion.amount).await
    }

    /// A sale authorized by voice: this authorisation id, 6 characters. Repeated until it is taken.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] in ASCII.
    pub async fn offline_sale(
        &mut self,
        card: &Card,
        minor: i64,
        auth_code: &str,
    ) -> Result<Outcome, TerminalError> {
        let voice = Some(auth_code);
        self.transact(Ask { kind: Kind::OfflineSale, card, minor, original: None, voice }).await
    }

    async fn refer(
        &mut self,
        kind: Kind,
        card: &Card,
        original: &Outcome,
        minor: i64,
    ) -> Result<Outcome, TerminalError> {
        self.transact(Ask { kind, card, minor, original: Some(original), voice: None }).await
    }

    /// Sends the saved reversal, if there is one, until it is answered or given up. The last answer;
    /// `None` when nothing is pending.
    ///
    /// # Errors
    /// [`TerminalError`]; without a connection the reversal stays.
    pub async fn reversal(&mut self) -> Result<Option<Outcome>, TerminalError> {
        let mut last = None;
        while self.file.state.reversal.is_some() {
            last = Some(self.send_reversal().await?);
        }
        Ok(last)
    }

    /// Sends what is saved: the reversal, then advices. Every transaction and settlement begins with it.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn drain(&mut self) -> Result<(), TerminalError> {
        // A fault is meant for what comes after.
        let fault = self.fault.take();
        let drained = self.drain_all().await;
        self.fault = fault;
        drained
    }

    async fn drain_all(&mut self) -> Result<(), TerminalError> {
        self.reversal().await?;
        for _ in 0..self.file.state.advices.len() {
            self.send_advice().await?;
        }
        Ok(())
    }

    /// One transaction: saved reversal first, then this one's reversal saved, then the request.
    async fn transact(&mut self, ask: Ask<'_>) -> Result<Outcome, TerminalError> {
        self.drain().await?;
        let (stan, invoice) = (self.file.state.next_stan(), self.file.state.next_invoice());
        let setting = self.setting(stan, invoice)?;
        let Some(draft) = request::payment(&setting, &ask)? else {
            return Err(TerminalError::NotInDialect(self.profile.dialect, ask.kind));
        };
        self.connected().await?;
        if ask.kind.is_advice() {
            return self.advise(&ask, draft).await;
        }
        if ask.kind.is_reversible() {
            let saved = request::reversal(&self.profile, &draft);
            self.file.state.reversal =
                Some(PendingReversal { kind: ask.kind, draft: saved, stan, minor: ask.minor, sends: 0 });
        }
        self.file.save()?;
        let outcome = self.exchange(ask.kind, draft.clone(), ask.minor).await?;
        self.conclude(&ask, &draft, &outcome);
        self.file.save()?;
        Ok(outcome)
    }

    /// What an answer, or none, means for the saved reversal and the batch.
    fn conclude(&mut self, ask: &Ask<'_>, draft: &Draft, outcome: &Outcome) {
        let state = &mut self.file.state;
        let reason = match outcome.verdict {
            Verdict::Approved | Verdict::Declined => {
                state.reversal = None;
                if outcome.approved {
                    take(state, request::item(ask, draft, outcome));
                }
                return;
            }
            Verdict::NoReply | Verdict::WrongEcho(_) => "98",
            Verdict::WrongMac => "A0",
            Verdict::NotTaken => "06",
        };
        if let (Some(pending), Dialect::UnionPay) = (&mut state.reversal, self.profile.dialect) {
            pending.draft.text(39, reason);
        }
    }

    /// An advice counts at once and waits in the state until the host has taken it.
    async fn advise(&mut self, ask: &Ask<'_>, draft: Draft) -> Result<Outcome, TerminalError> {
        let unanswered = Sent { kind: ask.kind, draft: draft.clone(), minor: ask.minor, body: Vec::new() };
        let outcome = self.outcome(&unanswered, envelope::no_reply());
        take(&mut self.file.state, request::item(ask, &draft, &outcome));
        self.file.state.advices.push(PendingAdvice { kind: ask.kind, draft, sends: 0 });
        self.file.save()?;
        // Drained just before, so the queue holds this one last; older ones that were not answered stay first.
        self.file.state.advices.rotate_right(1);
        self.send_advice().await
    }

    /// Sends the first advice of the queue; it leaves the queue when it is taken or was sent often enough,
    /// else goes to the end.
    async fn send_advice(&mut self) -> Result<Outcome, TerminalError> {
        self.connected().await?;
        let dialect = self.profile.dialect;
        let first =
            self.file.state.advices.first_mut().ok_or(TerminalError::Draft("no advice is waiting"))?;
        first.sends += 1;
        let advice = first.clone();
        let draft =
            if advice.sends > 1 { request::repeated(dialect, &advice.draft) } else { advice.draft.clone() };
        self.file.save()?;
        let minor = advice.draft.get(4).and_then(|text| text.parse().ok()).unwrap_or(0);
        let outcome = self.exchange(advice.kind, draft, minor).await?;
        let state = &mut self.file.state;
        state.advices.remove(0);
        if outcome.approved {
            if let Some(item) = state.items.iter_mut().find(|item| item.stan == outcome.stan) {
                item.rrn.clone_from(&outcome.rrn);
                item.code.clone_from(&outcome.code);
            }
        } else if advice.sends < self.profile.reversal_sends {
            state.advices.push(advice);
        } else {
            state.given_up.push(outcome.stan);
        }
        self.file.save()?;
        Ok(outcome)
    }

    /// Sends the saved reversal once.
    async fn send_reversal(&mut self) -> Result<Outcome, TerminalError> {
        self.connected().await?;
        let dialect = self.profile.dialect;
        let limit = self.profile.reversal_sends;
        let pending = self.file.state.reversal.as_mut().ok_or(TerminalError::Draft("no reversal"))?;
        pending.sends += 1;
        let saved = pending.clone();
        let draft =
            if saved.sends > 1 { request::repeated(dialect, &saved.draft) } else { saved.draft.clone() };
        self.file.save()?;
        let outcome = self.exchange(Kind::Reversal, draft, saved.minor).await?;
        if outcome.approved {
            self.file.state.reversal = None;
        } else if saved.sends >= limit {
            self.file.state.reversal = None;
            self.file.state.given_up.push(saved.stan);
            self.tape.note("reversal given up");
        }
        self.file.save()?;
        Ok(outcome)
    }
}

/// Adds an item to the batch when its kind counts; marks what it voids.
fn take(state: &mut State, item: Item) {
    if !item.counts() {
        return;
    }
    if let Some(original) = item.voids
        && let Some(voided) = state.items.iter_mut().find(|other| other.stan == original)
    {
        voided.voided = true;
    }
    state.items.push(item);
}
