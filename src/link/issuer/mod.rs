//! The link to one issuer: a cheap client handle beside one connection task.
//!
//! The task connects, signs on, keeps the line alive and matches answers; the handle gives out
//! trace numbers and takes requests. Many requests are in flight on one connection. What this
//! knows of messages is what its [`LinkDialect`] tells it.

mod key;
mod numbers;
mod table;
mod task;

use super::ClientTls;
use crate::metrics::{IssuerMeter, IssuerOutcome};
use bytes::Bytes;
use iso8583_spec::Framing;
use numbers::Numbers;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use table::{Phase, Slot, Table};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

pub use key::Key;
pub use numbers::NeedNumbers;

/// How many late answers may wait to be taken; more are counted and dropped.
const LATE_MAX: usize = 1024;

/// How many requests of the peer that need time may wait for their answer; more are refused at once.
const PEER_MAX: usize = 4;

/// How one link is run.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// The issuer's name, for logs and metrics.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// How messages are framed.
    pub framing: Framing,
    /// Longest body that is accepted, octets.
    pub max_frame: usize,
    /// How many requests may wait for their answer.
    pub max_in_flight: usize,
    /// Whether the issuer expects an 0800 sign-on; without it the link is up once connected.
    pub sign_on: bool,
    /// Time limit of connecting (and of the TLS handshake), and of the answer to a sign-on or echo.
    pub connect: Duration,
    /// After this much silence of the issuer an echo is due; zero: no echo is ever sent.
    pub echo_after: Duration,
    /// So many echoes without an answer break the connection.
    pub echo_misses: u32,
    /// The first pause before connecting again.
    pub backoff_min: Duration,
    /// The longest pause before connecting again.
    pub backoff_max: Duration,
    /// Spreads the pauses of links and nodes that lost their issuer together.
    pub jitter_seed: u64,
    /// TLS, when the issuer asks for it.
    pub tls: Option<ClientTls>,
}

/// What a message from the peer that is a request (0800) wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerVerb {
    /// The peer signs on: requests may flow.
    SignOn,
    /// The peer signs off: nothing may be sent until it, or we, sign on again.
    SignOff,
    /// Anything else: an echo, a cut-over notice.
    Other,
    /// Something that needs time: the body is handed on ([`LinkClient::take_asked`]), and the answer here is the
    /// refusal that is written when too many wait.
    HandOn,
}

/// A request of the peer that is answered later, with [`LinkClient::answer_asked`]. At most 4 wait on a link.
#[derive(Debug)]
pub struct PeerAsked {
    /// The request.
    pub body: Bytes,
    /// The connection that it came by: it is answered there or not at all.
    connection: u64,
    /// Its place among those that wait, free again when this is dropped.
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// A request of the peer and our answer to it.
#[derive(Debug, Clone)]
pub struct PeerRequest {
    /// What it wants.
    pub verb: PeerVerb,
    /// The body of our 0810.
    pub answer: Vec<u8>,
}

/// What a link must know of the messages on it. `body` is always without its length prefix.
pub trait LinkDialect {
    /// An 0800 sign-on bearing `stan`.
    fn sign_on(&self, stan: u32) -> Vec<u8>;
    /// An 0800 sign-off bearing `stan`.
    fn sign_off(&self, stan: u32) -> Vec<u8>;
    /// An 0800 echo bearing `stan`.
    fn echo(&self, stan: u32) -> Vec<u8>;
    /// The key of the answer to the last sign-on, sign-off or echo made with `stan`, or `None`
    /// when such an answer cannot be told: then none is ever waited for.
    fn network_key(&self, stan: u32) -> Option<Key>;
    /// The key of an answer; `None` when the body is no answer, or cannot be read.
    fn key_of(&self, body: &[u8]) -> Option<Key>;
    /// Whether the answer to a sign-on accepts it (0810 with DE 39 = 00).
    fn is_accepted(&self, body: &[u8]) -> bool;
    /// What a request of the peer wants, with our answer; `None` when it is no such request.
    fn answer_peer(&self, body: &[u8]) -> Option<PeerRequest>;
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; the next attempt is waited for or under way.
    Down,
    /// Connected, the sign-on is not answered yet.
    SigningOn,
    /// Requests may flow.
    Up,
    /// Connected, and the issuer has signed off.
    SignedOff,
    /// No new requests; those in flight are waited for.
    Closing,
    /// The end.
    Closed,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link is not signed on; nothing was sent.
    #[error("issuer link is down")]
    Down,
    /// As many requests as allowed wait already; nothing was sent.
    #[error("issuer link has too many requests in flight")]
    Full,
    /// A request with this key waits already; nothing was sent.
    #[error("a request with this key waits already")]
    KeyInUse,
    /// The connection broke, or the time ran out, before one byte was handed to the socket.
    #[error("request was not sent")]
    NotSent,
    /// Bytes may have been written and no answer came in time: the outcome is unknown.
    #[error("issuer did not answer in time")]
    TimedOut,
    /// The connection broke after bytes may have been written: the outcome is unknown.
    #[error("issuer link broke with the request in flight")]
    Lost,
}

impl LinkError {
    /// Whether the issuer may have seen the request, so that it must be reversed.
    #[must_use]
    pub const fn outcome_is_unknown(self) -> bool {
        match self {
            Self::TimedOut | Self::Lost => true,
            Self::Down | Self::Full | Self::KeyInUse | Self::NotSent => false,
        }
    }

    const fn outcome(self) -> IssuerOutcome {
        match self {
            Self::Down | Self::KeyInUse => IssuerOutcome::LinkDown,
            Self::Full => IssuerOutcome::Shed,
            Self::NotSent => IssuerOutcome::NotSent,
            Self::TimedOut => IssuerOutcome::Timeout,
            Self::Lost => IssuerOutcome::Lost,
        }
    }
}

/// An answer that came after its request had timed out or was lost.
#[derive(Debug, Clone)]
pub struct Late {
    /// What it was matched on.
    pub key: Key,
    /// The answer.
    pub body: Bytes,
}

/// What handle and task share.
struct Shared {
    options: LinkOptions,
    table: RefCell<Table>,
    numbers: RefCell<Numbers>,
    state: watch::Sender<LinkState>,
    meter: IssuerMeter,
    /// The task, when it waits for something to write.
    waker: RefCell<Option<Waker>>,
    /// Which connection stands, counted from the first.
    connection: Cell<u64>,
    /// Answers to requests of the peer that were handed on.
    answers: RefCell<Vec<Vec<u8>>>,
    asked: mpsc::Sender<PeerAsked>,
    asked_by_peer: RefCell<Option<mpsc::Receiver<PeerAsked>>>,
    places: Arc<Semaphore>,
}

impl Shared {
    fn state(&self) -> LinkState {
        *self.state.borrow()
    }

    /// Hands a request of the peer on; whether there was room.
    fn hand_on(&self, body: Bytes) -> bool {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return false };
        let asked = PeerAsked { body, connection: self.connection.get(), _place: place };
        self.asked.try_send(asked).is_ok()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The handle of a link. Cheap to clone; lives on the link's thread.
#[derive(Clone)]
pub struct LinkClient(Rc<Shared>);

impl std::fmt::Debug for LinkClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkClient({}, {:?})", self.0.options.name, self.state())
    }
}

/// Starts a link: its task runs on the current `LocalSet` or local runtime until
/// [`LinkClient::close`]. `numbers` is a first block of trace numbers, first and count. Late
/// answers come out of the receiver; 1024 may wait.
#[must_use]
pub fn start(
    options: LinkOptions,
    dialect: Rc<dyn LinkDialect>,
    numbers: (u32, u32),
) -> (LinkClient, mpsc::Receiver<Late>) {
    let (late, receiver) = mpsc::channel(LATE_MAX);
    let client = LinkClient::new(options, numbers);
    tokio::task::spawn_local(task::run(Rc::clone(&client.0), dialect, late));
    (client, receiver)
}

impl LinkClient {
    fn new(options: LinkOptions, (first, count): (u32, u32)) -> Self {
        let meter = IssuerMeter::new(&options.name);
        let (asked, asked_by_peer) = mpsc::channel(PEER_MAX);
        let client = Self(Rc::new(Shared {
            options,
            table: RefCell::default(),
            numbers: RefCell::default(),
            state: watch::Sender::new(LinkState::Down),
            meter,
            waker: RefCell::new(None),
            connection: Cell::new(0),
            answers: RefCell::default(),
            asked,
            asked_by_peer: RefCell::new(Some(asked_by_peer)),
            places: Arc::new(Semaphore::new(PEER_MAX)),
        }));
        client.add_numbers(first, count);
        client
    }

    /// The issuer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.options.name
    }

    /// Whether requests may flow.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state() == LinkState::Up
    }

    /// Where the link stands.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.0.state()
    }

    /// Follows the state.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.0.state.subscribe()
    }

    /// How many requests wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.table.borrow().in_flight()
    }

    /// The next trace number (DE 11), 1 to 999999, that no request in flight or expired bears.
    ///
    /// # Errors
    /// [`NeedNumbers`] when every block is used up.
    pub fn next_stan(&self) -> Result<u32, NeedNumbers> {
        let mut table = self.0.table.borrow_mut();
        self.0.numbers.borrow_mut().next(|stan| table.is_in_use(stan))
    }

    /// Adds a block of trace numbers that was reserved on disk; 999999 is followed by 1.
    pub fn add_numbers(&self, first: u32, count: u32) {
        self.0.numbers.borrow_mut().add(first, count);
    }

    /// How many trace numbers are left.
    #[must_use]
    pub fn numbers_left(&self) -> u32 {
        self.0.numbers.borrow().left()
    }

    /// Sends a request; it is queued at the call, not when the future is first polled. What is
    /// queued in one turn of the runtime leaves in one write. A future that is dropped leaves its
    /// key behind as expired, as if it had timed out.
    ///
    /// # Errors (of the future)
    /// [`LinkError`]: [`LinkError::outcome_is_unknown`] tells whether a reversal is due.
    pub fn request(
        &self,
        key: Key,
        body: Vec<u8>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Bytes, LinkError>> + use<> {
        let admitted = self.admit(key, body);
        let meter = self.0.meter.clone();
        async move {
            let began = Instant::now();
            let result = match admitted {
                Ok(pending) => pending.answer(deadline).await,
                Err(error) => Err(error),
            };
            match &result {
                Ok(_) => {
                    meter.outcome(IssuerOutcome::Reply);
                    meter.answered(began.elapsed());
                }
                Err(error) => meter.outcome(error.outcome()),
            }
            result
        }
    }

    /// Where requests of the peer come out that need time ([`PeerVerb::HandOn`]). `None` when taken before.
    #[must_use]
    pub fn take_asked(&self) -> Option<mpsc::Receiver<PeerAsked>> {
        self.0.asked_by_peer.borrow_mut().take()
    }

    /// Writes the answer to a request of the peer, in front of every request that is sent after this. `false`: the
    /// connection that it came by is gone, and nothing is written.
    #[must_use]
    pub fn answer_asked(&self, asked: &PeerAsked, body: Vec<u8>) -> bool {
        let connected = match self.state() {
            LinkState::Down | LinkState::Closed => false,
            LinkState::SigningOn | LinkState::Up | LinkState::SignedOff | LinkState::Closing => true,
        };
        let stands = connected && asked.connection == self.0.connection.get();
        if stands {
            self.0.answers.borrow_mut().push(body);
            self.0.wake();
        }
        stands
    }

    /// Takes no more requests, waits for those in flight, signs off and ends the task.
    pub async fn close(&self) {
        let mut states = self.watch();
        if self.state() != LinkState::Closed {
            self.0.state.send_replace(LinkState::Closing);
            self.0.wake();
        }
        // An error would say that the sender is gone; `self` holds it.
        let _ = states.wait_for(|state| *state == LinkState::Closed).await;
    }

    fn admit(&self, key: Key, body: Vec<u8>) -> Result<Pending, LinkError> {
        if !self.is_up() {
            return Err(LinkError::Down);
        }
        let mut table = self.0.table.borrow_mut();
        let slot = table.admit(key, body, self.0.options.max_in_flight)?;
        self.0.meter.in_flight(table.in_flight());
        self.0.wake();
        Ok(Pending { shared: Rc::clone(&self.0), key, slot })
    }
}

/// A request that waits; gives itself up when dropped.
struct Pending {
    shared: Rc<Shared>,
    key: Key,
    slot: Rc<Slot>,
}

impl Pending {
    async fn answer(self, deadline: Instant) -> Result<Bytes, LinkError> {
        let answer = poll_fn(|cx| self.slot.poll(cx));
        if let Ok(answer) = tokio::time::timeout_at(deadline, answer).await {
            return answer;
        }
        match self.give_up() {
            Phase::Queued => Err(LinkError::NotSent),
            Phase::Written | Phase::Done => Err(LinkError::TimedOut),
        }
    }

    fn give_up(&self) -> Phase {
        let mut table = self.shared.table.borrow_mut();
        let phase = table.give_up(self.key, &self.slot);
        if phase != Phase::Done {
            self.shared.meter.in_flight(table.in_flight());
            // A link that closes waits for the last one.
            self.shared.wake();
        }
        phase
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.give_up();
    }
}
