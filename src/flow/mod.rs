//! The story of a message, told straight down the page: one file for each class of message.
//!
//! This room holds the HSM, the store and the links, and brings them together; none of them
//! knows another. A message from a terminal becomes a task of its own, so that a terminal that
//! hangs up cancels nothing.

mod answer;
mod authorize;
mod directory;
mod issuer;
mod key_change;
mod key_life;
mod network;
mod numbers;
mod reconcile;
mod reverse;
mod saf;
mod zone;

pub use answer::Arrival;
pub use directory::{Directory, Place, Shared};
pub use issuer::{IssuerLinkDialect, Link};
pub use key_change::{answer_issuer, run as run_key_change};
pub use key_life::KeyLimits;
pub use numbers::{Numbers, STAN_BLOCK, stan_block};
pub use saf::run as run_saf;
pub use zone::Zone;

use crate::clock::Clock;
use crate::dialect::Dialect;
use crate::hsm::{Hsm, HsmError, Key, MacCheck, Open, Opened, Tak, TerminalKeys};
use crate::link::{Connection, Handler};
use crate::metrics;
use crate::store::{Op, Outcome, Store};
use crate::transaction::{
    Decision, IssuerId, NodeId, ProcessingRequest, Refusal, Reply, ReplyBody, Request, ResponseCode, Stan,
    TxnId,
};
use iso8583_spec::View;
use key_life::KeysInUse;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the story.
#[derive(Debug, Clone)]
pub struct FlowOptions {
    /// This node among those that share the store.
    pub node: NodeId,
    /// Our institution code in answers to terminals (DE 32), n..11.
    pub acquirer: String,
    /// A completion may exceed its pre-authorization up to this many percent of it.
    pub completion_ceiling_percent: u32,
    /// After so many MAC failures in a row a terminal is asked to sign on again.
    pub mac_failures_force_sign_on: u32,
    /// When a terminal's working keys are spent.
    pub key_limits: KeyLimits,
    /// How long a settlement request waits for transactions that are on their way.
    pub settle_wait: Duration,
}

/// One worker's part of the switch: everything that a message needs.
pub struct Switch {
    /// Settings.
    pub options: FlowOptions,
    /// The wall clock.
    pub clock: Clock,
    /// The HSM.
    pub hsm: Arc<dyn Hsm>,
    /// The store.
    pub store: Store,
    /// Merchants, terminals, routes, sessions: shared by all workers.
    pub shared: Arc<Shared>,
    /// Transaction ids, RRNs and link STANs.
    pub numbers: Numbers,
    /// One link for each issuer.
    pub links: HashMap<IssuerId, Link>,
    /// Requests on their way, and the connection that carried the latest copy of each.
    pub in_flight: RefCell<HashMap<TxnId, Connection>>,
    /// Counts answers.
    pub answers: metrics::AnswerMeter,
}

/// Frames that cannot be answered before the connection is closed.
const UNREADABLE_LIMIT: u32 = 3;

/// A listener's frames of one dialect.
pub struct TerminalFrames {
    /// The worker.
    pub switch: Rc<Switch>,
    /// What the terminals speak.
    pub dialect: &'static Dialect,
}

impl Handler for TerminalFrames {
    fn frame(&self, connection: &Connection, body: bytes::Bytes) {
        let arrival = Arrival {
            connection: connection.clone(),
            body,
            dialect: self.dialect,
            received_ms: self.switch.clock.now_ms(),
        };
        tokio::task::spawn_local(message(Rc::clone(&self.switch), arrival));
    }
}

/// One message from a terminal, from its bytes to its answer.
async fn message(switch: Rc<Switch>, arrival: Arrival) {
    let dialect = arrival.dialect;
    let Ok(spec) = dialect.spec() else { return };
    let view = match View::decode(spec, &arrival.body) {
        Ok(view) => view,
        Err(error) => return unreadable(&arrival, &error.to_string()),
    };
    let sender = dialect.sender(&view);
    let place = switch.shared.directory().place(dialect.id, sender.tid, sender.mid);
    if sender.tid.is_none() || lacks_stan(&view, sender.stan) || view.mti().response() == view.mti() {
        return unreadable(&arrival, "terminal id, trace number or message type cannot be read");
    }
    let place = match place {
        Ok(place) => place,
        Err(refusal) => return switch.refuse(&arrival, &view, refusal, None).await,
    };
    let request = match dialect.read(&view, (place.terminal.mid, place.terminal.currency)) {
        Ok(request) => request,
        Err(unread) => {
            tracing::info!(terminal = %place.terminal.tid, field = unread.field, reason = unread.refusal.name(), "message not understood");
            return switch.refuse(&arrival, &view, unread.refusal, None).await;
        }
    };
    match request {
        Request::Payment(payment) => authorize::payment(&switch, &arrival, &view, &place, *payment).await,
        Request::Reversal(reversal) => reverse::reversal(&switch, &arrival, &view, &place, *reversal).await,
        Request::Network(verb) => network::network(&switch, &arrival, &view, &place, verb).await,
        Request::Settlement(totals) => reconcile::settlement(&switch, &arrival, &view, &place, totals).await,
        Request::Upload(upload) => reconcile::upload(&switch, &arrival, &view, &place, upload).await,
        Request::UploadEnd(end) => reconcile::upload_end(&switch, &arrival, &view, &place, end).await,
    }
}

/// Nobody could tell which message an answer without DE 11 belongs to. Network management may do
/// without it.
fn lacks_stan(view: &View<'_>, stan: Option<Stan>) -> bool {
    let spoilt = view.faults().iter().any(|fault| fault.field == 11);
    stan.is_none() && (spoilt || view.mti().class() != '8')
}

/// No answer is possible: counted, and after a few the connection is closed.
fn unreadable(arrival: &Arrival, reason: &str) {
    metrics::frame_refused(arrival.dialect.id.name(), "unreadable");
    tracing::warn!(peer = %arrival.connection.peer(), reason, "message cannot be answered");
    if arrival.connection.count_bad_frame() >= UNREADABLE_LIMIT {
        arrival.connection.close();
    }
}

/// What [`Switch::open`] found: the keys that matched, and the card.
#[derive(Debug)]
pub(crate) struct Unlocked {
    /// The terminal's keys of the generation that matched.
    pub(crate) keys: TerminalKeys,
    /// The card.
    pub(crate) opened: Opened,
}

impl Switch {
    /// An answer with nothing in it but a decision.
    pub(crate) fn reply(&self, arrival: &Arrival, decision: Decision) -> Reply {
        Reply {
            decision,
            local_time: self.clock.local_of(arrival.received_ms),
            rrn: None,
            auth_code: None,
            day: None,
            approved_amount: None,
            pan: None,
            additional_amounts: None,
            icc: None,
            request: ProcessingRequest::None,
            body: ReplyBody::Plain,
        }
    }

    /// Approves with `00`.
    pub(crate) fn accepted(&self, arrival: &Arrival) -> Reply {
        self.reply(arrival, Decision::Approved(ResponseCode::from_number(0)))
    }

    /// Answers a refusal, under the MAC key when it is known.
    pub(crate) async fn refuse(
        &self,
        arrival: &Arrival,
        view: &View<'_>,
        refusal: Refusal,
        tak: Option<&Key<Tak>>,
    ) {
        metrics::refusal(arrival.dialect.id.name(), refusal.name());
        let request = self.processing_request(arrival, view, refusal);
        let reply = Reply { request, ..self.reply(arrival, Decision::Refused(refusal)) };
        self.answer(arrival, view, &reply, tak).await;
    }

    /// A terminal without keys, or whose MACs keep failing, is asked to sign on again.
    fn processing_request(&self, arrival: &Arrival, view: &View<'_>, refusal: Refusal) -> ProcessingRequest {
        let sender = arrival.dialect.sender(view);
        let failed = refusal == Refusal::BadMac;
        let failures = if failed { self.shared.mac_failed(sender.mid, sender.tid) } else { 0 };
        if refusal == Refusal::NotSignedOn || failures >= self.options.mac_failures_force_sign_on {
            ProcessingRequest::SignOn
        } else {
            ProcessingRequest::None
        }
    }

    /// Checks the MAC, reads the card and seals its number, under the terminal's working keys.
    pub(crate) async fn open(
        &self,
        arrival: &Arrival,
        view: &View<'_>,
        place: &Place,
        card: Option<&crate::transaction::CardData>,
    ) -> Result<Unlocked, Refusal> {
        use crate::dialect::MacRule;
        let keys = self.shared.keys(place);
        let rule = arrival.dialect.mac_rule(view);
        if keys.is_empty() {
            return Err(Refusal::NotSignedOn);
        }
        let mac_bytes = view.bytes(128).or_else(|| view.bytes(64));
        let mac = match (rule, view.mac_data(), &mac_bytes) {
            (MacRule::None, _, _) | (MacRule::IfPresent, _, None) | (MacRule::IfPresent, None, _) => None,
            (MacRule::Required | MacRule::IfPresent, Some(data), Some(mac)) => {
                Some(MacCheck { algorithm: arrival.dialect.policy.mac, data, mac })
            }
            (MacRule::Required, _, _) => return Err(Refusal::BadMac),
        };
        let open = Open {
            keys: &keys,
            mac,
            pan: card.and_then(|c| c.pan.as_ref()),
            track2: card.and_then(|c| c.track2.as_ref()).map(|t| t.as_str()),
            track_encrypted: card.is_some_and(|c| c.track_encrypted),
        };
        let opened = self.hsm.open(open).await.map_err(|e| refusal_of(&e))?;
        let matched = keys.get(opened.matched).cloned().ok_or(Refusal::Security)?;
        self.count_use(place, matched.generation).await;
        if mac.is_some() {
            self.shared.mac_matched(place.terminal.mid, place.terminal.tid);
        }
        if mac.is_some() && opened.matched == 0 && keys.len() > 1 {
            self.keys_proven(place, matched.generation).await;
        }
        Ok(Unlocked { keys: matched, opened })
    }

    /// A MAC that is there must be right; the key that it fits makes the answer's.
    pub(crate) async fn optional_mac(
        &self,
        arrival: &Arrival,
        view: &View<'_>,
        place: &Place,
    ) -> Result<Option<Key<Tak>>, Refusal> {
        if arrival.dialect.mac_rule(view) == crate::dialect::MacRule::None || view.mac_data().is_none() {
            return Ok(None);
        }
        self.open(arrival, view, place, None).await.map(|unlocked| Some(unlocked.keys.tak))
    }

    /// That the terminal's keys may open a new authorization.
    pub(crate) fn keys_serve(
        &self,
        arrival: &Arrival,
        place: &Place,
        keys: &TerminalKeys,
    ) -> Result<(), Refusal> {
        let uses = self.shared.uses(place, keys.generation);
        let keys = KeysInUse { generation: keys.generation, uses };
        let spent = self.options.key_limits.are_spent(keys, arrival.received_ms);
        if spent { Err(Refusal::NotSignedOn) } else { Ok(()) }
    }

    /// Counts a message under a terminal's keys with which nothing was wrong: what is forged does not spend them.
    async fn count_use(&self, place: &Place, generation: i64) {
        let Some(count) = self.options.key_limits.claim() else { return };
        if self.shared.used(place, generation) {
            return;
        }
        let (mid, tid) = (place.terminal.mid, place.terminal.tid);
        let done = self.store.submit(Op::ClaimKeyUses { tid, mid, generation, count }).await;
        let counted = if let Outcome::KeyUses(counted) = done.outcome { Some(counted) } else { None };
        self.shared.uses_claimed(place, generation, count, counted);
    }

    /// The first valid MAC under new keys: the generation before them is dropped.
    async fn keys_proven(&self, place: &Place, generation: i64) {
        let (mid, tid) = (place.terminal.mid, place.terminal.tid);
        let done = self.store.submit(Op::KeysProven { tid, mid, generation }).await;
        if matches!(done.outcome, Outcome::Done) {
            self.shared.keys_proven(mid, tid, generation);
        }
    }
}

/// What a terminal is told of a failure in the HSM.
pub(crate) const fn refusal_of(error: &HsmError) -> Refusal {
    match error {
        HsmError::MacMismatch => Refusal::BadMac,
        HsmError::PinBlock | HsmError::PinLength => Refusal::BadPinBlock,
        HsmError::Track | HsmError::Account | HsmError::Input(_) => Refusal::Format,
        HsmError::KeyBlock
        | HsmError::KeyBlockForm
        | HsmError::KeyUsage
        | HsmError::KeyMode
        | HsmError::Export
        | HsmError::Key(_)
        | HsmError::Mismatch
        | HsmError::PinTranslation
        | HsmError::DecimalizationTable
        | HsmError::KeySerialNumber
        | HsmError::Sealed
        | HsmError::Failure(_) => Refusal::Security,
    }
}
