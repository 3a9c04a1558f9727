//! The connection task of one issuer link: connects, signs on, writes what is due, matches
//! answers, keeps the line alive, and begins again when it breaks.

use super::super::frame::{FrameCodec, wipe};
use super::super::listener::tune;
use super::table::Found;
use super::{Key, Late, LinkDialect, LinkState, PeerVerb, Shared};
use crate::metrics::IssuerOutcome;
use bytes::{Buf, Bytes, BytesMut};
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// First size of the read buffer; answers of many requests come together.
const READ_BUFFER: usize = 64 * 1024;
/// Requests are gathered into one write up to this size, octets.
const WRITE_GATHER: usize = 64 * 1024;
/// A peer's keep-alives are echoed no closer than this, so that two ends that echo each other
/// come to rest.
const KEEP_ALIVE_APART: Duration = Duration::from_secs(1);
/// Stands for a silence that never ends.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("cannot connect")]
    Connect,
    #[error("TLS handshake fails")]
    Tls,
    #[error("sign-on refused")]
    Refused,
    #[error("sign-on not answered")]
    SignOn,
    #[error("echoes not answered")]
    Silent,
    #[error("unreadable frame")]
    Unreadable,
    #[error("closed by the issuer")]
    Peer,
    #[error("socket failed")]
    Socket,
    #[error("closed by us")]
    Closed,
}

/// Runs a link until it is closed.
pub(super) async fn run(shared: Rc<Shared>, dialect: Rc<dyn LinkDialect>, late: mpsc::Sender<Late>) {
    let mut backoff = Backoff::new(&shared);
    while shared.state() != LinkState::Closing {
        let broken = attempt(&shared, &*dialect, &late, &mut backoff).await;
        let (not_sent, lost) = goes_down(&shared);
        if shared.state() == LinkState::Closing {
            break;
        }
        let pause = backoff.next();
        tracing::warn!(link = shared.options.name, %broken, not_sent, lost, ?pause, "issuer link is down");
        tokio::select! {
            biased;
            () = closing(&shared) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    tracing::info!(link = shared.options.name, "issuer link is closed");
    shared.state.send_replace(LinkState::Closed);
}

async fn attempt(
    shared: &Shared,
    dialect: &dyn LinkDialect,
    late: &mpsc::Sender<Late>,
    backoff: &mut Backoff,
) -> Broken {
    shared.meter.connecting();
    let options = &shared.options;
    let connected = tokio::select! {
        biased;
        () = closing(shared) => return Broken::Closed,
        connected = tokio::time::timeout(options.connect, TcpStream::connect(&options.address)) => connected,
    };
    let Ok(Ok(stream)) = connected else { return Broken::Connect };
    if tune(&stream).is_err() {
        return Broken::Connect;
    }
    let session = Session::new(shared, dialect, late, backoff);
    let Some(tls) = &options.tls else { return session.run(stream).await };
    match tokio::time::timeout(options.connect, tls.connect(stream)).await {
        Ok(Ok(stream)) => session.run(stream).await,
        Ok(Err(error)) => {
            tracing::warn!(link = options.name, %error, "TLS handshake fails");
            Broken::Tls
        }
        Err(_) => Broken::Tls,
    }
}

/// Settles what was in flight when a connection ended. Returns how many were not sent, and lost.
fn goes_down(shared: &Shared) -> (usize, usize) {
    let counts = shared.table.borrow_mut().break_off();
    shared.connection.set(shared.connection.get().wrapping_add(1));
    shared.answers.borrow_mut().clear();
    shared.meter.in_flight(0);
    shared.meter.down();
    set_state(shared, LinkState::Down);
    counts
}

/// Waits until the link is to be closed.
async fn closing(shared: &Shared) {
    poll_fn(|cx| {
        if shared.state() == LinkState::Closing {
            return Poll::Ready(());
        }
        *shared.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// A link that closes stays so.
fn set_state(shared: &Shared, to: LinkState) {
    shared.state.send_if_modified(|state| {
        let moves = *state != to && *state != LinkState::Closing;
        if moves {
            *state = to;
        }
        moves
    });
}

/// Pauses between attempts: doubled each time, half of each left to chance, so that the links of
/// many nodes do not come back in step.
#[derive(Debug)]
struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    chance: u64,
}

impl Backoff {
    fn new(shared: &Shared) -> Self {
        let options = &shared.options;
        Self { min: options.backoff_min, max: options.backoff_max, failures: 0, chance: options.jitter_seed }
    }

    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let whole = u64::try_from(doubled.min(self.max).as_micros()).unwrap_or(u64::MAX).max(2);
        self.failures = self.failures.saturating_add(1);
        // Steele, Lea and Flood's SplitMix64.
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Duration::from_micros(whole / 2 + (mixed >> 16) % (whole / 2))
    }
}

/// What we asked the issuer for ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    SignOn,
    SignOff,
    Echo,
}

/// One network request (0800) that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Asked {
    verb: Verb,
    key: Option<Key>,
    until: Instant,
}

/// One connection, from its sign-on to its end.
struct Session<'a> {
    shared: &'a Shared,
    dialect: &'a dyn LinkDialect,
    late: &'a mpsc::Sender<Late>,
    backoff: &'a mut Backoff,
    codec: FrameCodec,
    inbox: BytesMut,
    out: Cursor<Vec<u8>>,
    /// What is being written has requests in it, not only network messages.
    out_has_requests: bool,
    /// Network messages to write, framed.
    network: Vec<u8>,
    asked: Option<Asked>,
    signed_on: bool,
    last_network_stan: u32,
    heard: Instant,
    misses: u32,
    kept_alive: Option<Instant>,
}

enum Step {
    Wrote(io::Result<usize>),
    Due,
    Read(io::Result<usize>),
    Tick,
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Shared,
        dialect: &'a dyn LinkDialect,
        late: &'a mpsc::Sender<Late>,
        backoff: &'a mut Backoff,
    ) -> Self {
        Self {
            shared,
            dialect,
            late,
            backoff,
            codec: FrameCodec::new(shared.options.framing, shared.options.max_frame),
            inbox: BytesMut::with_capacity(READ_BUFFER),
            out: Cursor::default(),
            out_has_requests: false,
            network: Vec::new(),
            asked: None,
            signed_on: false,
            last_network_stan: 1,
            heard: Instant::now(),
            misses: 0,
            kept_alive: None,
        }
    }

    async fn run<S: AsyncRead + AsyncWrite>(mut self, stream: S) -> Broken {
        let (mut reader, mut writer) = tokio::io::split(stream);
        self.heard = Instant::now();
        if self.shared.options.sign_on {
            set_state(self.shared, LinkState::SigningOn);
            self.ask(Verb::SignOn);
        } else {
            self.comes_up();
        }
        let mut timer = pin!(tokio::time::sleep_until(self.deadline()));
        loop {
            let deadline = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let writes = self.out.has_remaining();
            let (shared, own) = (self.shared, self.own_due());
            let step = tokio::select! {
                biased;
                wrote = writer.write_buf(&mut self.out), if writes => Step::Wrote(wrote),
                () = poll_fn(|cx| poll_due(shared, cx, own)), if !writes => Step::Due,
                read = reader.read_buf(&mut self.inbox) => Step::Read(read),
                () = &mut timer => Step::Tick,
            };
            let done = match step {
                Step::Wrote(wrote) => self.wrote(wrote),
                Step::Due => self.due(),
                Step::Read(read) => self.read(read),
                Step::Tick => {
                    let done = self.tick();
                    timer.as_mut().reset(self.deadline());
                    done
                }
            };
            if let Err(broken) = done {
                return broken;
            }
        }
    }

    fn state(&self) -> LinkState {
        self.shared.state()
    }

    fn comes_up(&mut self) {
        self.signed_on = true;
        self.backoff.reset();
        self.shared.meter.up();
        set_state(self.shared, LinkState::Up);
        tracing::info!(link = self.shared.options.name, "issuer link is up");
    }

    fn own_due(&self) -> OwnDue {
        if !self.network.is_empty() {
            OwnDue::Network
        } else if self.asked.is_some_and(|asked| asked.verb == Verb::SignOff) {
            OwnDue::SigningOff
        } else {
            OwnDue::Nothing
        }
    }

    /// Gathers what is due into one write.
    fn due(&mut self) -> Result<(), Broken> {
        for answer in std::mem::take(&mut *self.shared.answers.borrow_mut()) {
            self.frame_network(&answer);
        }
        let out = self.out.get_mut();
        out.append(&mut self.network);
        self.out_has_requests = false;
        let mut table = self.shared.table.borrow_mut();
        while out.len() < WRITE_GATHER
            && let Some((key, body)) = table.next_due()
        {
            self.out_has_requests = true;
            if let Err(error) = self.codec.append(&body, out) {
                tracing::error!(link = self.shared.options.name, ?key, %error, "a request cannot be framed");
                table.unframeable(key);
            }
        }
        drop(table);
        if !out.is_empty() {
            if self.out_has_requests {
                crate::crash::point("issuer-write-before");
            }
            return Ok(());
        }
        if self.state() != LinkState::Closing {
            return Ok(());
        }
        if !(self.signed_on && self.shared.options.sign_on) {
            return Err(Broken::Closed);
        }
        self.ask(Verb::SignOff);
        Ok(())
    }

    fn wrote(&mut self, wrote: io::Result<usize>) -> Result<(), Broken> {
        if !wrote.is_ok_and(|octets| octets > 0) {
            return Err(Broken::Socket);
        }
        if !self.out.has_remaining() {
            if self.out_has_requests {
                crate::crash::point("issuer-write-after");
            }
            wipe(self.out.get_mut());
            self.out.set_position(0);
        }
        Ok(())
    }

    fn read(&mut self, read: io::Result<usize>) -> Result<(), Broken> {
        match read {
            Err(_) => return Err(Broken::Socket),
            Ok(0) => return Err(Broken::Peer),
            Ok(_) => {}
        }
        loop {
            match self.codec.next(&mut self.inbox) {
                Ok(Some(body)) => {
                    self.heard = Instant::now();
                    self.misses = 0;
                    self.frame(body)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.shared.meter.outcome(IssuerOutcome::Malformed);
                    tracing::warn!(link = self.shared.options.name, %error, "unreadable frame");
                    return Err(Broken::Unreadable);
                }
            }
        }
    }

    fn frame(&mut self, body: Bytes) -> Result<(), Broken> {
        if body.is_empty() {
            self.keep_alive();
            return Ok(());
        }
        if let Some(key) = self.dialect.key_of(&body) {
            let asked = self.asked.take_if(|asked| asked.key == Some(key));
            return match asked {
                Some(asked) => self.network_answer(asked.verb, &body),
                None => {
                    self.answer(key, body);
                    Ok(())
                }
            };
        }
        let Some(request) = self.dialect.answer_peer(&body) else {
            self.shared.meter.outcome(IssuerOutcome::Malformed);
            let octets = body.len();
            tracing::warn!(
                link = self.shared.options.name,
                octets,
                "a message is neither answer nor request"
            );
            return Ok(());
        };
        if request.verb == PeerVerb::HandOn && self.shared.hand_on(body) {
            return Ok(());
        }
        self.frame_network(&request.answer);
        self.peer_asks(request.verb);
        Ok(())
    }

    fn answer(&self, key: Key, body: Bytes) {
        let mut table = self.shared.table.borrow_mut();
        let found = table.answer(key, &body);
        let waiting = table.in_flight();
        drop(table);
        let link = &self.shared.options.name;
        match found {
            Found::Waiting => self.shared.meter.in_flight(waiting),
            Found::Expired => {
                self.shared.meter.outcome(IssuerOutcome::Late);
                if self.late.try_send(Late { key, body }).is_err() {
                    tracing::error!(link, ?key, "a late answer is dropped: too many wait");
                }
            }
            Found::Nothing => {
                self.shared.meter.outcome(IssuerOutcome::Unmatched);
                tracing::warn!(link, ?key, waiting, "an answer matches nothing that waits");
            }
        }
    }

    fn network_answer(&mut self, verb: Verb, body: &[u8]) -> Result<(), Broken> {
        match verb {
            Verb::SignOn if self.dialect.is_accepted(body) => self.comes_up(),
            Verb::SignOn if self.state() == LinkState::SigningOn => return Err(Broken::Refused),
            Verb::SignOff => return Err(Broken::Closed),
            Verb::SignOn | Verb::Echo => {}
        }
        Ok(())
    }

    fn peer_asks(&mut self, verb: PeerVerb) {
        match verb {
            PeerVerb::Other => {}
            PeerVerb::HandOn => {
                tracing::warn!(
                    link = self.shared.options.name,
                    "a request of the issuer is refused: too many wait"
                );
            }
            PeerVerb::SignOn if self.state() == LinkState::SignedOff => self.comes_up(),
            PeerVerb::SignOn => {}
            PeerVerb::SignOff => {
                set_state(self.shared, LinkState::SignedOff);
                self.shared.meter.down();
                let not_sent = self.shared.table.borrow_mut().take_back();
                tracing::warn!(link = self.shared.options.name, not_sent, "the issuer signs off");
            }
        }
    }

    /// What the passing of time asks for: an answer that did not come, an echo that is due.
    fn tick(&mut self) -> Result<(), Broken> {
        let now = Instant::now();
        if now < self.deadline() {
            return Ok(());
        }
        let missed = self.asked.take();
        match (missed.map(|asked| asked.verb), self.state()) {
            (Some(Verb::SignOff), _) => return Err(Broken::Closed),
            (Some(Verb::SignOn), LinkState::SigningOn) => return Err(Broken::SignOn),
            // Signed off by the issuer: asked again after the next silence.
            (Some(Verb::SignOn), _) => self.heard = now,
            (Some(Verb::Echo), _) => {
                self.misses += 1;
                if self.misses >= self.shared.options.echo_misses {
                    return Err(Broken::Silent);
                }
                self.ask(Verb::Echo);
            }
            (None, LinkState::SignedOff) => self.ask(Verb::SignOn),
            (None, _) => self.ask(Verb::Echo),
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let silence = match self.shared.options.echo_after {
            Duration::ZERO => NEVER,
            after => after,
        };
        self.asked.map_or(self.heard + silence, |asked| asked.until)
    }

    fn ask(&mut self, verb: Verb) {
        let stan = self.network_stan();
        let body = match verb {
            Verb::SignOn => self.dialect.sign_on(stan),
            Verb::SignOff => self.dialect.sign_off(stan),
            Verb::Echo => self.dialect.echo(stan),
        };
        self.frame_network(&body);
        let until = Instant::now() + self.shared.options.connect;
        self.asked = Some(Asked { verb, key: self.dialect.network_key(stan), until });
    }

    /// A trace number of its own, or the last one again when the store is slow with a new block:
    /// the key of an 0810 is no payment's.
    fn network_stan(&mut self) -> u32 {
        let mut table = self.shared.table.borrow_mut();
        let next = self.shared.numbers.borrow_mut().next(|stan| table.is_in_use(stan));
        self.last_network_stan = next.unwrap_or(self.last_network_stan);
        self.last_network_stan
    }

    fn frame_network(&mut self, body: &[u8]) {
        if let Err(error) = self.codec.append(body, &mut self.network) {
            tracing::error!(link = self.shared.options.name, %error, "a network message cannot be framed");
        }
    }

    fn keep_alive(&mut self) {
        if self.kept_alive.is_none_or(|last| last.elapsed() >= KEEP_ALIVE_APART) {
            self.kept_alive = Some(Instant::now());
            self.frame_network(&[]);
        }
    }
}

/// What a session has to write beside the requests in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnDue {
    Network,
    /// Nothing, and the sign-off is on its way.
    SigningOff,
    Nothing,
}

/// Waits for something to write, or for the last step of closing.
fn poll_due(shared: &Shared, cx: &Context<'_>, own: OwnDue) -> Poll<()> {
    let table = shared.table.borrow();
    let closes = shared.state() == LinkState::Closing && table.in_flight() == 0 && own != OwnDue::SigningOff;
    let answers = !shared.answers.borrow().is_empty();
    if own == OwnDue::Network || answers || table.has_queued() || closes {
        return Poll::Ready(());
    }
    *shared.waker.borrow_mut() = Some(cx.waker().clone());
    Poll::Pending
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
