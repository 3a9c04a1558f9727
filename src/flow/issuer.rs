//! The way to an issuer and back: the link's own network messages, and one request with its answer.

use super::numbers::{Refill, STAN_BLOCK, is_low, stan_block};
use super::zone::IssuerMac;
use super::{Switch, Zone, refusal_of};
use crate::clock::Clock;
use crate::dialect::issuer::{self, IssuerAnswer, IssuerMessage, Sending};
use crate::dialect::zone_key;
use crate::hsm::{self, Tpk};
use crate::lifecycle::Event;
use crate::link::{Key, LinkClient, LinkDialect, LinkError, NeedNumbers, PeerRequest, PeerVerb};
use crate::metrics::{self, IssuerOutcome};
use crate::store::Finish;
use crate::transaction::{Amount, IssuerId, LinkTime, Refusal, ResponseCode, Stan, TxnId};
use iso8583_spec::{Encoder, Mti, Spec, View};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A link as the story uses it.
pub struct Link {
    /// The issuer it leads to.
    pub issuer: IssuerId,
    /// Its handle.
    pub client: LinkClient,
    /// How long the issuer may take to answer.
    pub answer: Duration,
    /// Wakes the store-and-forward task of this issuer.
    pub saf: Rc<Notify>,
    /// Wakes the task that changes this issuer's keys.
    pub key_change: Rc<Notify>,
    refill: Rc<Refill>,
}

impl Link {
    /// A link with its handle.
    #[must_use]
    pub fn new(issuer: IssuerId, client: LinkClient, answer: Duration) -> Self {
        Self { issuer, client, answer, saf: Rc::default(), key_change: Rc::default(), refill: Rc::default() }
    }
}

impl Switch {
    /// The next STAN of a link, out of blocks reserved on disk. `None`: the store cannot reserve more.
    pub(crate) async fn link_stan(&self, link: &Link) -> Option<Stan> {
        loop {
            let next = link.client.next_stan();
            if is_low(link.client.numbers_left(), STAN_BLOCK) {
                let (store, issuer, client) = (self.store.clone(), link.issuer, link.client.clone());
                link.refill.begin(async move {
                    let first = stan_block(&store, issuer).await;
                    first.inspect(|first| client.add_numbers(*first, STAN_BLOCK)).is_some()
                });
            }
            match next {
                Ok(number) => return Stan::new(number),
                Err(NeedNumbers) if link.refill.ended().await => {}
                Err(NeedNumbers) => return None,
            }
        }
    }
}

/// The network messages of an issuer link, in the issuer's dialect.
pub struct IssuerLinkDialect {
    spec: &'static Spec,
    clock: Clock,
    /// DE 7 of the last message, which its answer returns.
    sent: Cell<LinkTime>,
}

impl IssuerLinkDialect {
    /// In this specification, by this clock.
    #[must_use]
    pub fn new(spec: &'static Spec, clock: Clock) -> Self {
        let sent = Cell::new(link_time(&clock));
        Self { spec, clock, sent }
    }

    fn message(&self, management: &str, stan: u32) -> Vec<u8> {
        let time = link_time(&self.clock);
        self.sent.set(time);
        let message = Stan::new(stan).and_then(|s| issuer::network(self.spec, management, s, time).ok());
        message.unwrap_or_default()
    }
}

impl LinkDialect for IssuerLinkDialect {
    fn sign_on(&self, stan: u32) -> Vec<u8> {
        self.message("001", stan)
    }
    fn sign_off(&self, stan: u32) -> Vec<u8> {
        self.message("002", stan)
    }
    fn echo(&self, stan: u32) -> Vec<u8> {
        self.message("301", stan)
    }
    fn network_key(&self, stan: u32) -> Option<Key> {
        Key::new(stan, &["8", self.sent.get().as_str(), ""])
    }
    fn key_of(&self, body: &[u8]) -> Option<Key> {
        let view = View::decode(self.spec, body).ok()?;
        if matches!(view.mti().function(), '1' | '3') { answer_key(&view) } else { None }
    }
    fn is_accepted(&self, body: &[u8]) -> bool {
        View::decode(self.spec, body).is_ok_and(|view| view.text(39).is_some_and(|code| &*code == "00"))
    }
    fn answer_peer(&self, body: &[u8]) -> Option<PeerRequest> {
        let view = View::decode(self.spec, body).ok()?;
        if view.mti().as_str() != "0800" {
            return None;
        }
        if zone_key::is_key_message(&view) {
            let shed = zone_key::answer(&view, Err(Refusal::System)).ok()?.finish().ok()?;
            return Some(PeerRequest { verb: PeerVerb::HandOn, answer: shed });
        }
        let verb = match view.text(70).as_deref() {
            Some("001") => PeerVerb::SignOn,
            Some("002") => PeerVerb::SignOff,
            Some(_) | None => PeerVerb::Other,
        };
        Some(PeerRequest { verb, answer: issuer::network_answer(&view).ok()? })
    }
}

/// What pairs an answer with its request: DE 11, the class of the MTI, DE 7, DE 32. An issuer may
/// normalise DE 41; these it must echo.
fn answer_key(view: &View<'_>) -> Option<Key> {
    let (stan, time, acquirer) = (view.text(11)?, view.text(7)?, view.text(32));
    key(stan.parse().ok()?, view.mti(), &time, acquirer.as_deref().unwrap_or_default())
}

pub(super) fn key(stan: u32, mti: Mti, time: &str, acquirer: &str) -> Option<Key> {
    let mut buffer = [0; 4];
    Key::new(stan, &[mti.class().encode_utf8(&mut buffer), time, acquirer])
}

/// DE 7 now.
pub(crate) fn link_time(clock: &Clock) -> LinkTime {
    LinkTime::new(&clock.utc()).unwrap_or_else(|_| LinkTime::from_number(0))
}

/// What came of one message to an issuer.
pub(crate) enum Exchange {
    /// An answer that fits the question.
    Answered(IssuerAnswer),
    /// Not one byte left.
    NotSent,
    /// Whether it was received, and what was decided, is unknown.
    Unknown(Refusal),
}

impl Switch {
    /// Sends a message (with its MAC, where the link has one) and waits for its answer.
    pub(crate) async fn exchange(
        &self,
        link: &Link,
        zone: &Zone,
        asked: &IssuerMessage<'_>,
        (encoder, mti): (Encoder<'_>, Mti),
    ) -> Exchange {
        let Ok(spec) = issuer::spec() else { return Exchange::NotSent };
        // Under the key in force when it leaves: the issuer may drop the one before at the first MAC under it.
        let now = self.shared.zone(link.issuer);
        let zak = now.as_deref().unwrap_or(zone).zak.as_ref();
        let Some(body) = self.seal(encoder, zak).await else { return Exchange::NotSent };
        let Some(key) = key(asked.stan.number(), mti, asked.time.as_str(), asked.acquirer) else {
            return Exchange::NotSent;
        };
        let deadline = Instant::now() + link.answer;
        let name = link.issuer.trimmed();
        let answer = match link.client.request(key, body, deadline).await {
            Ok(answer) => answer,
            Err(LinkError::Down | LinkError::Full | LinkError::KeyInUse | LinkError::NotSent) => {
                return Exchange::NotSent;
            }
            Err(LinkError::TimedOut | LinkError::Lost) => return Exchange::Unknown(Refusal::IssuerTimeout),
        };
        let view = View::decode(spec, &answer).ok();
        let read =
            view.as_ref().and_then(|view| IssuerAnswer::read(view, asked, mti).map(|read| (view, read)));
        let Some((view, read)) = read else {
            metrics::issuer_outcome(name, IssuerOutcome::Malformed);
            tracing::warn!(issuer = name, stan = %asked.stan, "the issuer's answer contradicts the request");
            return Exchange::Unknown(Refusal::IssuerMalformed);
        };
        if let IssuerMac::Wrong = self.issuer_mac(link.issuer, view, now.as_deref().unwrap_or(zone)).await {
            metrics::issuer_outcome(name, IssuerOutcome::Malformed);
            tracing::warn!(issuer = name, stan = %asked.stan, "the issuer's answer bears a wrong MAC");
            return Exchange::Unknown(Refusal::IssuerMalformed);
        }
        Exchange::Answered(read)
    }
}

/// What is stored of an exchange, and whether a partial approval suits the terminal.
pub(crate) fn finish(
    id: TxnId,
    exchange: Exchange,
    amount: Option<Amount>,
    partial_accepted: Partial,
    now_ms: i64,
) -> Finish {
    let mut finish = Finish {
        id,
        event: Event::NotSent,
        code: None,
        refusal: None,
        auth_code: None,
        issuer_rrn: None,
        approved: None,
        additional_amounts: None,
        icc: None,
        finished_ms: now_ms,
    };
    let answer = match exchange {
        Exchange::NotSent => return Finish { refusal: Some(Refusal::IssuerUnavailable), ..finish },
        Exchange::Unknown(refusal) => {
            return Finish { event: Event::TimedOut, refusal: Some(refusal), ..finish };
        }
        Exchange::Answered(answer) => answer,
    };
    finish.event = if answer.approves() { Event::Approved } else { Event::Declined };
    finish.code = Some(answer.code);
    finish.auth_code = answer.auth_code;
    finish.issuer_rrn = answer.rrn;
    finish.additional_amounts = answer.additional_amounts;
    finish.icc = answer.icc;
    if answer.code.as_str() == "10" {
        match partial_accepted {
            Partial::Accepted => {
                finish.approved =
                    answer.amount.zip(amount).and_then(|(minor, a)| Amount::new(minor, a.currency()).ok());
            }
            // The terminal cannot take a part: the issuer's approval is undone (ISO 8583:1987 table D.8, 51).
            Partial::Refused => {
                finish.event = Event::TimedOut;
                finish.code = ResponseCode::new("51").ok();
            }
        }
    }
    finish
}

/// Whether the terminal takes an approval of a part of the amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partial {
    Accepted,
    Refused,
}

/// Encodes a request for the first time.
pub(crate) fn encode_first(message: &IssuerMessage<'_>) -> Option<(Encoder<'static>, Mti)> {
    Some((message.encode(issuer::spec().ok()?, Sending::First).ok()?, issuer::form(message.kind).0))
}

impl Switch {
    /// Translates a PIN block for the issuer.
    pub(crate) async fn translate_pin(
        &self,
        pin: &crate::transaction::PinEntry,
        tpk: Option<&hsm::Key<Tpk>>,
        zone: &Zone,
        pan: &crate::transaction::Pan,
    ) -> Result<[u8; 8], Refusal> {
        let zpk = zone.zpk.as_ref().ok_or(Refusal::Security)?;
        let tpk = tpk.ok_or(Refusal::NotSignedOn)?;
        let forward = crate::hsm::Forward { block: pin.block, with_pan: pin.with_pan, tpk, zpk, pan };
        self.hsm.forward(forward).await.map_err(|e| refusal_of(&e))
    }
}
