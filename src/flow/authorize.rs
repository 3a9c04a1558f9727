//! A payment: from a request that was understood to the issuer and back, or an advice taken.

use super::issuer::{Exchange, Link, Partial, encode_first, finish, link_time};
use super::{Arrival, Place, Switch, Unlocked, Zone};
use crate::crash;
use crate::dialect::OnDuplicate;
use crate::dialect::issuer::{IssuerMessage, Original};
use crate::hsm::Key;
use crate::lifecycle::{ClaimKind, Event, State};
use crate::link::Connection;
use crate::metrics;
use crate::route::Choice;
use crate::store::{Claim, Committed, Finish, NewTransaction, Op, Outcome, Stored};
use crate::transaction::{
    Day, Decision, IssuerId, Pan, PaymentRequest, Refusal, Reply, ResponseCode, Track2, TxnId,
};
use iso8583_spec::View;
use std::rc::Rc;
use std::sync::Arc;

/// A payment on its way through.
struct Payment<'a> {
    switch: &'a Rc<Switch>,
    arrival: &'a Arrival,
    place: &'a Place,
    request: PaymentRequest,
    unlocked: Unlocked,
    pan: Pan,
}

/// Answers a payment request.
pub(super) async fn payment(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: PaymentRequest,
) {
    let unlocked = match switch.open(arrival, view, place, Some(&request.card)).await {
        Ok(unlocked) => unlocked,
        Err(refusal) => return switch.refuse(arrival, view, refusal, None).await,
    };
    let pan = match unlocked.opened.pan.clone() {
        Some(pan) if pan.luhn_valid() => pan,
        Some(_) => return refuse(switch, arrival, view, Refusal::InvalidCard, &unlocked).await,
        None => return refuse(switch, arrival, view, Refusal::Format, &unlocked).await,
    };
    let payment = Payment { switch, arrival, place, request, unlocked, pan };
    let outcome =
        if payment.request.kind.is_advice() { payment.advise().await } else { payment.authorize().await };
    match outcome {
        Ok(Some((connection, reply))) => {
            let tak = Some(&payment.unlocked.keys.tak);
            switch.answer_on(&connection, arrival, view, &reply, tak).await;
        }
        Ok(None) => {}
        Err(refusal) => refuse(switch, arrival, view, refusal, &payment.unlocked).await,
    }
}

async fn refuse(switch: &Switch, arrival: &Arrival, view: &View<'_>, refusal: Refusal, unlocked: &Unlocked) {
    switch.refuse(arrival, view, refusal, Some(&unlocked.keys.tak)).await;
}

/// The way to an issuer, and what goes along it beside the request.
struct Leg<'a> {
    link: &'a Link,
    zone: &'a Zone,
    pin_block: Option<[u8; 8]>,
    /// The transaction that this one refers to.
    original: Option<&'a Stored>,
}

/// An answer and the connection it leaves by; `None` when there is nothing to answer, now or ever.
type Answer = Option<(Connection, Reply)>;

impl Payment<'_> {
    /// Asks the issuer.
    async fn authorize(&self) -> Result<Answer, Refusal> {
        let switch = self.switch;
        switch.keys_serve(self.arrival, self.place, &self.unlocked.keys)?;
        let mut issuer = self.route()?;
        loop {
            let link = switch.links.get(&issuer).ok_or(Refusal::IssuerUnavailable)?;
            if !link.client.is_up() {
                return Err(Refusal::IssuerUnavailable);
            }
            let zone = switch.shared.zone(issuer).ok_or(Refusal::UnknownIssuer)?;
            let pin_block = self.pin_block(&zone).await?;
            let stan = switch.link_stan(link).await.ok_or(Refusal::System)?;
            let new = self.transaction(issuer, Some(stan)).await?;
            let committed = self.store(&new).await;
            match taken(committed.outcome) {
                Taken::Stored(original) => {
                    let leg = Leg { link, zone: &zone, pin_block, original: original.as_deref() };
                    return self.ask(&new, &leg, committed.day).await;
                }
                Taken::Duplicate(earlier) => return self.duplicate(&new, &earlier),
                Taken::Elsewhere(other) if other != issuer => issuer = other,
                Taken::Elsewhere(_) => return Err(Refusal::System),
                Taken::Refused(refusal) => return Err(refusal),
            }
        }
    }

    /// The PIN block under the issuer's key.
    async fn pin_block(&self, zone: &Zone) -> Result<Option<[u8; 8]>, Refusal> {
        let Some(pin) = &self.request.pin else { return Ok(None) };
        let tpk = self.unlocked.keys.tpk.as_ref();
        self.switch.translate_pin(pin, tpk, zone, &self.pan).await.map(Some)
    }

    /// The PIN block under the key that is in force when the request leaves: the issuer's key may have changed while
    /// the transaction was stored. `None`: that key does not serve, and nothing is sent.
    async fn pin_block_now(&self, leg: &Leg<'_>) -> Option<Option<[u8; 8]>> {
        match self.switch.shared.zone(leg.link.issuer) {
            Some(now) if now.zpk.as_ref().map(Key::block) != leg.zone.zpk.as_ref().map(Key::block) => {
                self.pin_block(&now).await.ok()
            }
            Some(_) | None => Some(leg.pin_block),
        }
    }

    /// Stores the transaction as sent; the issuer sees nothing before this is durable.
    async fn store(&self, new: &Arc<NewTransaction>) -> Committed {
        let op = Op::Send(Arc::clone(new));
        if crash::fault("no-sent-wait") && new.claim.is_none() {
            let store = self.switch.store.clone();
            tokio::task::spawn_local(async move { store.submit(op).await });
            let day = self.switch.clock.today();
            let batch = new.batch.unwrap_or(crate::transaction::BatchNo::FIRST);
            return Committed {
                outcome: Outcome::Stored { batch, original: None },
                day: crate::transaction::Day(day),
                revision: 0,
            };
        }
        self.switch.store.submit(op).await
    }

    /// The issuer for this card, if one can be reached.
    fn route(&self) -> Result<IssuerId, Refusal> {
        let directory = self.switch.shared.directory();
        let healthy = |issuer| self.switch.links.get(&issuer).is_some_and(|l| l.client.is_up());
        match directory.routes.choose(&self.pan, healthy) {
            Choice::To(issuer) | Choice::Unavailable(issuer) => Ok(issuer),
            Choice::Unknown => Err(Refusal::UnknownIssuer),
        }
    }

    async fn transaction(
        &self,
        issuer: IssuerId,
        stan: Option<crate::transaction::Stan>,
    ) -> Result<Arc<NewTransaction>, Refusal> {
        let (switch, request) = (self.switch, &self.request);
        let rrn = switch.numbers.rrn(&switch.store, &switch.clock).await.ok_or(Refusal::System)?;
        let expiry = request.card.expiry.or_else(|| self.track().and_then(|t| t.expiry().ok()));
        let local = || switch.clock.local_of(self.arrival.received_ms);
        Ok(Arc::new(NewTransaction {
            id: switch.numbers.txn_id(self.arrival.received_ms),
            node: switch.options.node,
            dialect: self.arrival.dialect.id,
            kind: request.kind,
            processing_code: request.processing_code,
            tid: request.tid,
            mid: self.place.terminal.mid,
            batch: request.batch,
            stan: request.stan,
            amount: request.amount,
            pan: self.unlocked.opened.sealed.clone(),
            expiry: expiry.map(|e| e.to_string()),
            card_sequence: request.card.sequence.clone(),
            entry_mode: request.entry_mode.clone(),
            condition: request.condition.clone(),
            terminal_time: request.terminal_time.clone().unwrap_or_else(local),
            invoice: request.invoice.clone(),
            auth_code: request.auth_code,
            rrn,
            issuer,
            link_stan: stan,
            link_time: link_time(&switch.clock),
            key_generation: self.unlocked.keys.generation,
            received_ms: self.arrival.received_ms,
            claim: self.claim(),
        }))
    }

    fn claim(&self) -> Option<Claim> {
        let key = self.request.original.clone()?;
        let how = ClaimKind::of(self.request.kind)?;
        let ceiling_percent = self.switch.options.completion_ceiling_percent;
        Some(Claim { how, key, ceiling_percent, lenient: self.request.kind.is_advice() })
    }

    fn track(&self) -> Option<&Track2> {
        self.unlocked.opened.track2.as_ref()
    }

    /// Sends the request, stores its outcome, and says what to answer.
    async fn ask(&self, new: &NewTransaction, leg: &Leg<'_>, day: Day) -> Result<Answer, Refusal> {
        let switch = self.switch;
        switch.in_flight.borrow_mut().insert(new.id, self.arrival.connection.clone());
        crash::point("sent-durable");
        let location = location(&self.place.merchant);
        let leg = &Leg { pin_block: self.pin_block_now(leg).await.unwrap_or_default(), ..*leg };
        let whole = self.request.pin.is_some() == leg.pin_block.is_some();
        let message = self.message(new, leg, &location).filter(|_| whole);
        let exchange = match message.as_ref().and_then(|m| Some((m, encode_first(m)?))) {
            Some((message, encoded)) => switch.exchange(leg.link, leg.zone, message, encoded).await,
            None => Exchange::NotSent,
        };
        let partial = if self.request.partial_accepted { Partial::Accepted } else { Partial::Refused };
        let outcome = finish(new.id, exchange, self.request.amount, partial, switch.clock.now_ms());
        crash::point("answer-received");
        let finished = switch.store.submit(Op::Finish(Box::new(outcome.clone()))).await;
        crash::point("outcome-durable");
        let latest = switch.in_flight.borrow_mut().remove(&new.id);
        let connection = latest.unwrap_or_else(|| self.arrival.connection.clone());
        let Outcome::Finished { state, reversal_queued } = finished.outcome else {
            // Without a durable outcome there is no answer; the terminal will reverse.
            tracing::error!(transaction = %new.id, "the outcome could not be stored");
            metrics::refusal(self.arrival.dialect.id.name(), "outcome-not-stored");
            switch.settle_unknown(new.id);
            return Ok(None);
        };
        if reversal_queued {
            leg.link.saf.notify_one();
        }
        Ok((!is_undelivered(state)).then(|| (connection, self.decided(new, &outcome, day))))
    }

    fn message<'m>(
        &'m self,
        new: &'m NewTransaction,
        leg: &Leg<'m>,
        location: &'m str,
    ) -> Option<IssuerMessage<'m>> {
        let acquirer = leg.zone.acquirer_code.as_str();
        Some(IssuerMessage {
            kind: new.kind,
            pan: &self.pan,
            expiry: new.expiry.as_deref(),
            track2: self.track().map(Track2::text),
            card_sequence: new.card_sequence.as_deref(),
            amount: new.amount,
            time: new.link_time,
            stan: new.link_stan?,
            rrn: new.rrn,
            terminal_time: &new.terminal_time,
            mcc: &self.place.merchant.mcc,
            entry_mode: &new.entry_mode,
            acquirer,
            auth_code: new.auth_code.or_else(|| leg.original.and_then(|o| o.auth_code)),
            tid: new.tid,
            mid: new.mid,
            location,
            pin_block: leg.pin_block,
            icc: self.request.icc.as_deref(),
            original: leg.original.and_then(|o| original_of(o, acquirer)),
        })
    }

    /// The answer to a request whose outcome is durable.
    fn decided(&self, new: &NewTransaction, outcome: &Finish, day: Day) -> Reply {
        let decision = match (outcome.event, outcome.code, outcome.refusal) {
            (Event::Approved, Some(code), _) => Decision::Approved(code),
            (_, Some(code), None) => Decision::Declined(code),
            (_, _, Some(refusal)) => Decision::Refused(refusal),
            (_, None, None) => Decision::Refused(Refusal::System),
        };
        let approved = decision.is_approved();
        Reply {
            rrn: Some(new.rrn),
            auth_code: outcome.auth_code.filter(|_| approved),
            day: Some(day),
            approved_amount: outcome.approved,
            pan: Some(self.pan.clone()),
            additional_amounts: outcome.additional_amounts.clone(),
            icc: outcome.icc.clone(),
            ..self.switch.reply(self.arrival, decision)
        }
    }

    /// Takes an advice: durable, queued for the issuer, and then accepted. It may not be declined.
    async fn advise(&self) -> Result<Answer, Refusal> {
        let mut issuer = self.route()?;
        loop {
            let new = self.transaction(issuer, None).await?;
            let stored = self.switch.store.submit(Op::Send(Arc::clone(&new))).await;
            match taken(stored.outcome) {
                Taken::Stored(_) => {
                    crash::point("advice-durable");
                    if let Some(link) = self.switch.links.get(&issuer) {
                        link.saf.notify_one();
                    }
                    let accepted = self.switch.accepted(self.arrival);
                    let auth_code = new.auth_code;
                    let reply = Reply {
                        rrn: Some(new.rrn),
                        auth_code,
                        day: Some(stored.day),
                        pan: Some(self.pan.clone()),
                        ..accepted
                    };
                    return Ok(self.here(reply));
                }
                Taken::Duplicate(earlier) if new.same_request(&earlier) => {
                    return Ok(self.here(self.replay(&earlier)));
                }
                Taken::Duplicate(_) => return Err(Refusal::Duplicate),
                Taken::Elsewhere(other) if other != issuer => issuer = other,
                Taken::Elsewhere(_) => return Err(Refusal::System),
                Taken::Refused(refusal) => return Err(refusal),
            }
        }
    }

    /// The same key again. In flight: the answer goes to the latest connection. Finished: replayed
    /// or refused, as the dialect and the MTI say.
    fn duplicate(&self, new: &NewTransaction, earlier: &Stored) -> Result<Answer, Refusal> {
        if !new.same_request(earlier) {
            tracing::warn!(terminal = %new.tid, stan = %new.stan, "trace number reused for another request");
            return Err(Refusal::Duplicate);
        }
        if earlier.state.is_open() {
            if let Some(connection) = self.switch.in_flight.borrow_mut().get_mut(&earlier.id) {
                *connection = self.arrival.connection.clone();
            }
            return Ok(None);
        }
        let replays = self.request.repeat || self.arrival.dialect.policy.on_duplicate == OnDuplicate::Replay;
        if replays { Ok(self.here(self.replay(earlier))) } else { Err(Refusal::Duplicate) }
    }

    /// An answer on the connection that the message came by.
    fn here(&self, reply: Reply) -> Answer {
        Some((self.arrival.connection.clone(), reply))
    }

    /// The first answer again, from stored fields.
    fn replay(&self, earlier: &Stored) -> Reply {
        let code = |text| ResponseCode::new(text).unwrap_or_else(|_| ResponseCode::from_number(0));
        let decision = match (earlier.state, earlier.refusal, earlier.code) {
            (_, Some(refusal), _) => Decision::Refused(refusal),
            (State::Declined | State::TimedOut, None, Some(code)) => Decision::Declined(code),
            (_, None, Some(code)) => Decision::Approved(code),
            (_, None, None) => Decision::Approved(code("00")),
        };
        let partial = earlier.amount.filter(|a| Some(*a) != earlier.requested);
        Reply {
            local_time: self.switch.clock.local_of(earlier.received_ms),
            rrn: Some(earlier.rrn),
            auth_code: earlier.auth_code.filter(|_| decision.is_approved()),
            day: Some(earlier.day),
            approved_amount: partial,
            pan: Some(self.pan.clone()),
            additional_amounts: earlier.additional_amounts.clone(),
            icc: earlier.icc.clone(),
            ..self.switch.reply(self.arrival, decision)
        }
    }
}

/// A transaction that the terminal has reversed is never answered.
const fn is_undelivered(state: State) -> bool {
    matches!(state, State::Abandoned | State::Reversed)
}

/// DE 90 of an original that was sent to this issuer.
pub(super) fn original_of<'a>(original: &Stored, acquirer: &'a str) -> Option<Original<'a>> {
    Some(Original { kind: original.kind, stan: original.link_stan?, time: original.link_time, acquirer })
}

/// DE 43: name 25, city 13, country 2.
pub(super) fn location(merchant: &crate::store::Merchant) -> String {
    format!("{:<25.25}{:<13.13}{:<2.2}", merchant.name, merchant.city, merchant.country)
}

/// What the store made of a new transaction.
enum Taken {
    /// Stored, with the original that it claimed.
    Stored(Option<Box<Stored>>),
    /// The key was used before.
    Duplicate(Box<Stored>),
    /// Its original went to this issuer.
    Elsewhere(IssuerId),
    /// Not stored.
    Refused(Refusal),
}

fn taken(outcome: Outcome) -> Taken {
    match outcome {
        Outcome::Stored { original, .. } => Taken::Stored(original),
        Outcome::Duplicate(earlier) => Taken::Duplicate(earlier),
        Outcome::OtherRoute(issuer) => Taken::Elsewhere(issuer),
        Outcome::Refused(refusal) => Taken::Refused(refusal),
        Outcome::ReversedBefore => Taken::Refused(Refusal::Duplicate),
        Outcome::Finished { .. }
        | Outcome::Lost { .. }
        | Outcome::Reversal(_)
        | Outcome::OpenBatch(_)
        | Outcome::Lines { .. }
        | Outcome::Saf { .. }
        | Outcome::Reserved(_)
        | Outcome::KeyUses(_)
        | Outcome::OtherKeys
        | Outcome::ZoneKey(_)
        | Outcome::NoIssuer
        | Outcome::Recovered(_)
        | Outcome::Rewrapped(_)
        | Outcome::Done
        | Outcome::Failed => {
            tracing::error!("the store did not take a transaction");
            Taken::Refused(Refusal::System)
        }
    }
}

impl Switch {
    /// An outcome that could not be stored is unknown, and is stored as such as soon as the store
    /// is there again; whoever restarts before then does the same for every open transaction.
    pub(super) fn settle_unknown(self: &Rc<Self>, id: TxnId) {
        let switch = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let unknown = Exchange::Unknown(Refusal::System);
            let finish = finish(id, unknown, None, Partial::Refused, switch.clock.now_ms());
            while matches!(
                switch.store.submit(Op::Finish(Box::new(finish.clone()))).await.outcome,
                Outcome::Failed
            ) {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Merchant;
    use crate::transaction::Mid;

    #[test]
    fn a_location_is_forty_characters() {
        let merchant = Merchant {
            mid: Mid::new("898310058120001").unwrap(),
            name: "A shop whose name is too long for the field".into(),
            city: "SHANGHAI".into(),
            country: "CN".into(),
            mcc: "5411".into(),
            fee_basis_points: "60".into(),
            active: true,
        };
        assert_eq!(location(&merchant), "A shop whose name is too SHANGHAI     CN");
    }
}
