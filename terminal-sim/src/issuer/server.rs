//! The issuer's socket: reads frames, has them decided, and writes what is due in one call.
//!
//! A connection is one task; an answer that is due later comes back to it through a bounded channel.

use super::answer::{card_answer, network_answer};
use super::books::{Books, Verdict};
use super::config::{ConfigError, IssuerConfig, Mode, ZoneKeys};
use super::instant::approve;
use super::key_change::{self, KeyFault};
use super::request::Incoming;
use super::rule::{Delivery, Facts, Rule, Rules};
use super::zone::Zone;
use crate::record::{LinkKeys, Recorder, Sender};
use bytes::{Buf, BytesMut};
use iso8583_spec::{Framing, Mti, Spec, View};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tollgate::transaction::ZoneUse;

/// The dialect of an issuer's link.
const DIALECT: &str = "iso87-ascii";
/// The longest body of a frame, in octets.
const MAX_FRAME: usize = 8192;
/// What a connection reads at once.
const READ_BUFFER: usize = 64 * 1024;
/// How long the listener rests when no connection can be taken, as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Answers of one connection that are due and not yet written.
const DUE: usize = 1024;

/// Why an issuer does not start.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// Its settings cannot be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its listener is of no use.
    #[error("listener: {0}")]
    Listener(#[from] io::Error),
    /// The codec lacks its dialect.
    #[error("dialect {DIALECT} is missing")]
    Dialect,
}

/// Starts issuers.
#[derive(Debug)]
pub struct IssuerServer;

impl IssuerServer {
    /// Opens new books and serves on `listener`. Needs a tokio runtime of any flavour.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn start(
        config: IssuerConfig,
        listener: TcpListener,
        recorder: Option<Recorder>,
    ) -> Result<IssuerHandle, IssuerError> {
        let books = Arc::new(Mutex::new(Books::new(&config)));
        Self::resume(config, books, listener, recorder)
    }

    /// Serves on `listener` from the books of an issuer that was stopped.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn resume(
        config: IssuerConfig,
        books: Arc<Mutex<Books>>,
        listener: TcpListener,
        recorder: Option<Recorder>,
    ) -> Result<IssuerHandle, IssuerError> {
        let host = Arc::new(Host::new(&config, Arc::clone(&books), recorder)?);
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(accept(Arc::clone(&host), listener, stopped));
        Ok(IssuerHandle { addr, books, host, stop, task })
    }
}

/// A running issuer. It stops when this is dropped.
pub struct IssuerHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its books. Lock them between awaits only.
    pub books: Arc<Mutex<Books>>,
    host: Arc<Host>,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl IssuerHandle {
    /// Sets a rule before all others.
    pub fn put_rule_first(&self, rule: Rule) {
        lock(&self.host.rules).put_first(rule);
    }

    /// From here on this is wrong with what it says about zone keys that the switch sends.
    pub fn set_key_fault(&self, fault: KeyFault) {
        *lock(&self.host.key_fault) = fault;
    }

    /// Sends the switch a new key and waits for its answer; takes the key in use when it is acknowledged. `None`: no
    /// connection, no zone master key, or no answer within five seconds.
    pub async fn change_key(&self, of: ZoneUse, fault: KeyFault) -> Option<KeyReply> {
        self.host.change_key(of, fault).await
    }

    /// Asks the switch for a new key and waits for its answer; the key comes later.
    pub async fn want_key(&self, of: ZoneUse) -> Option<KeyReply> {
        let stan = self.host.next_stan();
        let name = of.name().to_ascii_uppercase();
        let host = &self.host;
        let body = key_change::message(host.spec, &host.zone, (&stan, "162", &name), KeyFault::None)?;
        host.ask(stan, body).await
    }

    /// The check value of a key in force.
    #[must_use]
    pub fn key_kcv(&self, of: ZoneUse) -> Option<String> {
        self.host.zone.current(of).map(|key| key.kcv())
    }

    /// Closes the listener and every connection, and drops the answers that are not due yet.
    pub async fn stop(self) {
        drop(self.stop);
        // The task ends by itself; that it panicked is no concern of who stops it.
        let _ = self.task.await;
    }
}

/// What the switch answered about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReply {
    /// DE 39.
    pub code: String,
    /// DE 48: the check value of a key that it took.
    pub kcv: Option<String>,
    /// Its MAC is right, or none is needed.
    pub trusted: bool,
}

impl std::fmt::Debug for IssuerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IssuerHandle({}, {})", self.host.link, self.addr)
    }
}

async fn accept(host: Arc<Host>, listener: TcpListener, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                if stream.set_nodelay(true).is_ok() {
                    connections.spawn(Connection::new(Arc::clone(&host), stopped.clone()).serve(stream));
                }
            }
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
        }
    }
    // One may be stuck in a write to a peer that does not read.
    connections.shutdown().await;
}

/// What is to be done about a message.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing more.
    Silence,
    /// Write this body in so many frames.
    Write(Vec<u8>, usize),
    /// Write it after a while.
    Later(Duration, Vec<u8>, usize),
    /// Decide under this rule, after a while.
    Decide(Duration, Arc<Rule>),
    /// Close the connection.
    Close,
}

struct Connection {
    host: Arc<Host>,
    stopped: watch::Receiver<()>,
    due: mpsc::Sender<Step>,
    incoming: mpsc::Receiver<Step>,
}

impl Connection {
    fn new(host: Arc<Host>, stopped: watch::Receiver<()>) -> Self {
        let (due, incoming) = mpsc::channel(DUE);
        lock(&host.connections).push(due.clone());
        Self { host, stopped, due, incoming }
    }

    /// Serves until the other side closes, a rule or a broken frame closes, or the issuer stops.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut stream: S) {
        let mut buffer = BytesMut::with_capacity(READ_BUFFER);
        let mut out = Vec::new();
        loop {
            let open = tokio::select! {
                read = stream.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => self.take(&mut buffer, &mut out),
                },
                Some(step) = self.incoming.recv() => self.follow(step, &[], &mut out),
                _ = self.stopped.changed() => return,
            };
            if !out.is_empty() && stream.write_all(&out).await.is_err() {
                return;
            }
            out.clear();
            if !open {
                return;
            }
            buffer.reserve(READ_BUFFER / 4);
        }
    }

    /// Handles the whole frames in the buffer; whether the connection stays open.
    fn take(&mut self, buffer: &mut BytesMut, out: &mut Vec<u8>) -> bool {
        let mut start = 0;
        let mut open = true;
        while open {
            let rest = buffer.get(start..).unwrap_or_default();
            let frame = match self.host.framing.decode(rest, MAX_FRAME) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return false,
            };
            start += frame.consumed;
            let body = rest.get(frame.body).unwrap_or_default();
            let step = match self.host.mode {
                Mode::Books => self.host.receive(body),
                Mode::Instant => self.host.approve(body, out),
            };
            open = self.follow(step, body, out);
        }
        buffer.advance(start);
        open
    }

    /// Does what a step says; whether the connection stays open.
    fn follow(&self, step: Step, body: &[u8], out: &mut Vec<u8>) -> bool {
        match step {
            Step::Silence => true,
            Step::Write(answer, copies) => self.host.send(&answer, copies, out),
            Step::Later(..) => {
                self.spawn(Duration::ZERO, move || step);
                true
            }
            Step::Decide(wait, rule) => {
                let (host, body) = (Arc::clone(&self.host), body.to_vec());
                self.spawn(wait, move || host.decide(&body, &rule));
                true
            }
            Step::Close => false,
        }
    }

    /// Takes a step after a while. The connection may be gone by then; the message was received all the same.
    fn spawn(&self, wait: Duration, step: impl FnOnce() -> Step + Send + 'static) {
        let (due, mut stopped) = (self.due.clone(), self.stopped.clone());
        let later = async move {
            tokio::time::sleep(wait).await;
            let mut step = step();
            if let Step::Later(more, answer, copies) = step {
                tokio::time::sleep(more).await;
                step = Step::Write(answer, copies);
            }
            // Nobody is there to read the answer: so be it.
            let _ = due.send(step).await;
        };
        tokio::spawn(async move {
            tokio::select! {
                () = later => {}
                _ = stopped.changed() => {}
            }
        });
    }
}

struct Host {
    link: String,
    spec: &'static Spec,
    framing: Framing,
    mode: Mode,
    zone: Zone,
    books: Arc<Mutex<Books>>,
    rules: Mutex<Rules>,
    by_the_books: Arc<Rule>,
    recorder: Option<Recorder>,
    key_fault: Mutex<KeyFault>,
    /// Where the connections that stand take what is to be written.
    connections: Mutex<Vec<mpsc::Sender<Step>>>,
    /// What the switch was asked, by trace number.
    asked: Mutex<HashMap<String, oneshot::Sender<KeyReply>>>,
    stans: AtomicU32,
}

/// How long an answer of the switch is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Host {
    fn next_stan(&self) -> String {
        format!("{:06}", self.stans.fetch_add(1, Ordering::Relaxed) % 999_999 + 1)
    }

    /// Writes an 0800 to the switch and waits for its 0810.
    async fn ask(&self, stan: String, body: Vec<u8>) -> Option<KeyReply> {
        let (reply, replied) = oneshot::channel();
        lock(&self.asked).insert(stan, reply);
        let connection = {
            let mut connections = lock(&self.connections);
            connections.retain(|due| !due.is_closed());
            connections.last().cloned()
        };
        connection?.send(Step::Write(body, 1)).await.ok()?;
        tokio::time::timeout(PATIENCE, replied).await.ok()?.ok()
    }

    async fn change_key(&self, of: ZoneUse, fault: KeyFault) -> Option<KeyReply> {
        let stan = self.next_stan();
        let (body, key) = key_change::offer(self.spec, &self.zone, of, &stan, fault)?;
        // Before the switch can use it.
        self.record_keys(of, &key.clear);
        let reply = self.ask(stan, body).await?;
        if reply.code == "00" && reply.trusted && reply.kcv.as_ref() == Some(&key.kcv()) {
            self.zone.put(of, key);
        } else {
            self.zone.withdraw(of);
        }
        Some(reply)
    }

    /// An answer of the switch.
    fn answered(&self, view: &View<'_>) {
        let text = |de| view.text(de).map(|text| text.trim_end().to_owned());
        let trusted = !self.zone.has_macs() || self.zone.mac_key(view).is_some();
        let reply = KeyReply { code: text(39).unwrap_or_default(), kcv: text(48), trusted };
        if let Some(waiting) = text(11).and_then(|stan| lock(&self.asked).remove(&stan)) {
            // Who asked may have gone.
            let _ = waiting.send(reply);
        }
    }

    /// Answers what the switch says about a key; a key that it wants is sent soon after.
    fn key_message(self: &Arc<Self>, view: &View<'_>) -> Step {
        let fault = *lock(&self.key_fault);
        let Ok(said) = key_change::answer(view, &self.zone, fault) else { return Step::Close };
        if let Some(of) = said.taken
            && let Some(key) = self.zone.current(of)
        {
            self.record_keys(of, &key.clear);
        }
        if let Some(of) = said.wanted {
            let host = Arc::clone(self);
            tokio::spawn(async move { host.change_key(of, KeyFault::None).await });
        }
        Step::Write(said.answer, 1)
    }

    fn record_keys(&self, of: ZoneUse, clear: &[u8]) {
        let Some(recorder) = &self.recorder else { return };
        let key = Some(hex::encode_upper(clear));
        let keys = match of {
            ZoneUse::Zpk => LinkKeys { zpk: key, ..LinkKeys::default() },
            ZoneUse::Zak => LinkKeys { zak: key, ..LinkKeys::default() },
        };
        recorder.keys(&self.link, &keys);
    }
}

impl Host {
    fn new(
        config: &IssuerConfig,
        books: Arc<Mutex<Books>>,
        recorder: Option<Recorder>,
    ) -> Result<Self, IssuerError> {
        config.check()?;
        let spec = Spec::builtin(DIALECT).ok_or(IssuerError::Dialect)?;
        let link = format!("issuer:{}", config.name);
        if let Some(recorder) = &recorder {
            let ZoneKeys { zpk, zak, zmk } = config.keys.clone();
            recorder.keys(&link, &LinkKeys { zpk, zak, zmk, ..LinkKeys::default() });
        }
        Ok(Self {
            link,
            spec,
            framing: spec.framing(),
            mode: config.mode,
            zone: Zone::new(&config.keys)?,
            books,
            rules: Mutex::new(Rules::new(&config.rules)),
            by_the_books: Arc::new(Rule::default()),
            recorder,
            key_fault: Mutex::default(),
            connections: Mutex::default(),
            asked: Mutex::default(),
            stans: AtomicU32::new(0),
        })
    }

    /// A message that has just come in.
    fn receive(self: &Arc<Self>, body: &[u8]) -> Step {
        if body.is_empty() {
            return Step::Write(Vec::new(), 1);
        }
        self.record(Sender::Switch, body);
        let Ok(view) = View::decode(self.spec, body) else { return Step::Close };
        if view.mti() == Mti::NETWORK.response() {
            self.answered(&view);
            return Step::Silence;
        }
        let rule = lock(&self.rules).first(&Incoming::new(&view));
        let rule = rule.unwrap_or_else(|| Arc::clone(&self.by_the_books));
        if rule.delay_ms > 0 {
            return Step::Decide(Duration::from_millis(rule.delay_ms), rule);
        }
        if key_change::is_key_message(&view) && rule.code.is_none() && rule.delivery == Delivery::Once {
            return self.key_message(&view);
        }
        self.decide(body, &rule)
    }

    /// Posts what is to be posted, and says what is to be sent.
    fn decide(&self, body: &[u8], rule: &Rule) -> Step {
        let Ok(view) = View::decode(self.spec, body) else { return Step::Close };
        let incoming = Incoming::new(&view);
        let encoded = if view.mti().class() == '8' {
            network_answer(&view, rule.code.as_deref().unwrap_or("00"), &self.zone)
        } else {
            card_answer(&view, &self.judge(&incoming, rule), rule, &self.zone)
        };
        let Ok(mut answer) = encoded else { return Step::Close };
        let copies = match rule.delivery {
            Delivery::Silent => return Step::Silence,
            Delivery::Close => return Step::Close,
            Delivery::Once => 1,
            Delivery::Twice => 2,
            Delivery::Malformed => {
                answer.truncate(answer.len().saturating_sub(2));
                1
            }
        };
        match rule.late_ms {
            0 => Step::Write(answer, copies),
            late_ms => Step::Later(Duration::from_millis(late_ms), answer, copies),
        }
    }

    fn judge(&self, incoming: &Incoming<'_>, rule: &Rule) -> Verdict {
        if !self.zone.trusts(incoming.view) {
            return Verdict::of("63");
        }
        match incoming.request() {
            Ok(mut request) => {
                request.pin = self.zone.open_pin(incoming.view.bytes(52).as_deref(), incoming.pan());
                lock(&self.books).receive(&request, rule)
            }
            Err(code) => Verdict::of(code),
        }
    }

    /// Says yes to anything, from the message alone.
    fn approve(&self, body: &[u8], out: &mut Vec<u8>) -> Step {
        if body.is_empty() {
            return Step::Write(Vec::new(), 1);
        }
        let Ok(view) = View::decode(self.spec, body) else { return Step::Close };
        if view.mti().class() != '8' && !self.zone.macs_answer(&view) && self.recorder.is_none() {
            approve(&view, out);
            return Step::Silence;
        }
        self.record(Sender::Switch, body);
        let answer = if view.mti().class() == '8' {
            network_answer(&view, "00", &self.zone)
        } else {
            let auth_code = view.text(11).map(|stan| stan.to_string());
            card_answer(&view, &Verdict { auth_code, ..Verdict::of("00") }, &self.by_the_books, &self.zone)
        };
        answer.map_or(Step::Close, |answer| Step::Write(answer, 1))
    }

    /// Frames an answer; whether that was possible.
    fn send(&self, answer: &[u8], copies: usize, out: &mut Vec<u8>) -> bool {
        (0..copies).all(|_| {
            self.record(Sender::Issuer, answer);
            self.framing.encode(answer, out).is_ok()
        })
    }

    fn record(&self, from: Sender, body: &[u8]) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !body.is_empty()) {
            recorder.frame(&self.link, from, DIALECT, body);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
