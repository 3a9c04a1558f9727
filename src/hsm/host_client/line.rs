//! One connection to an HSM: a task that owns the socket, and the place where commands are handed to it.
//!
//! ```text
//! connect, NC is answered 00 → up: commands out, answers in, matched by header; NC again at an interval
//! any breach                 → down: what waits is lost at once; a pause, then connect again
//! ```
//! A breach is: the stream ends, an answer that nobody waits for, a command that is not answered in time, NC answered
//! other than 00. Whose command is lost hears of it and may go elsewhere.

use super::message::Answer;
use super::{Host, Stream};
use crate::hsm::buffer::take_front;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zeroize::{Zeroize, Zeroizing};

/// Pauses before connecting again, doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The longest message, with its length.
const LONGEST: usize = 2 + u16::MAX as usize;
/// Diagnostics: is the device well, is its LMK loaded.
const HEALTH: [u8; 2] = *b"NC";

/// What a line and those who use it share.
struct Shared {
    is_up: AtomicBool,
    in_flight: AtomicUsize,
}

/// A place among the commands in flight of a line, given back when it is dropped.
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A command on its way.
struct Request {
    command: Arc<Zeroizing<Vec<u8>>>,
    deadline: Instant,
    answer: oneshot::Sender<Zeroizing<Vec<u8>>>,
    /// Held until the answer is there or nobody waits for it.
    place: Place,
}

/// The end of a line that commands are handed to.
pub(super) struct Line {
    /// Which host it leads to.
    pub(super) host: usize,
    most: usize,
    time: Duration,
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
}

/// The connection ended before the answer was there.
pub(super) struct Lost;

impl Line {
    /// Starts the task of a line. `up` counts the lines of a pool that are up.
    pub(super) fn start(number: usize, host: Arc<Host>, up: watch::Sender<usize>) -> Self {
        let shared = Arc::new(Shared { is_up: AtomicBool::new(false), in_flight: AtomicUsize::new(0) });
        let (requests, waiting) = mpsc::unbounded_channel();
        let (most, time) = (host.max_in_flight, host.command);
        tokio::spawn(Task { host, shared: Arc::clone(&shared), up, waiting, was_up: false }.run());
        Self { host: number, most, time, shared, requests }
    }

    /// Whether its device answers.
    pub(super) fn is_up(&self) -> bool {
        self.shared.is_up.load(Ordering::Acquire)
    }

    /// Commands in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Whether as many commands are in flight as may be.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= self.most
    }

    /// A place for one more command; none when there are as many as there may be.
    pub(super) fn reserve(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.shared));
        let before = self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then_some(place)
    }

    /// Sends a command, without its header; the answer without its header.
    pub(super) async fn ask(
        &self,
        command: Arc<Zeroizing<Vec<u8>>>,
        place: Place,
    ) -> Result<Zeroizing<Vec<u8>>, Lost> {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + self.time;
        self.requests.send(Request { command, deadline, answer, place }).map_err(|_| Lost)?;
        answered.await.map_err(|_| Lost)
    }
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Breach {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the stream ends")]
    Ended,
    #[error("a command is not answered in time")]
    Late,
    #[error("an answer comes that nobody waits for")]
    Unknown,
    #[error("diagnostics are answered with code {0}")]
    Unwell(String),
    #[error("nobody needs it any more")]
    Unneeded,
}

/// The task of a line.
struct Task {
    host: Arc<Host>,
    shared: Arc<Shared>,
    up: watch::Sender<usize>,
    waiting: mpsc::UnboundedReceiver<Request>,
    /// Whether the connection before this pause had been well.
    was_up: bool,
}

impl Task {
    async fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            let breach = match self.refusing(connect(Arc::clone(&self.host))).await {
                Some(Ok(stream)) => {
                    let host = Arc::clone(&self.host);
                    Session::new(&host, stream).run(&mut self).await
                }
                Some(Err(error)) => {
                    self.was_up = false;
                    Breach::Connect(error)
                }
                None => Breach::Unneeded,
            };
            if self.was_up {
                pause = PAUSES.0;
            }
            if matches!(breach, Breach::Unneeded) {
                return;
            }
            tracing::warn!(hsm = self.host.name, %breach, ?pause, "connection to the HSM is down");
            if self.refusing(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Waits for something while commands that come all the same are lost at once. None: nobody can send any more.
    async fn refusing<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                request = self.waiting.recv() => drop(request?),
                done = &mut wait => return Some(done),
            }
        }
    }

    fn goes_down(&mut self) {
        self.was_up = self.shared.is_up.swap(false, Ordering::AcqRel);
        if self.was_up {
            self.up.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    fn comes_up(&self) {
        if !self.shared.is_up.swap(true, Ordering::AcqRel) {
            self.up.send_modify(|count| *count += 1);
            tracing::info!(hsm = self.host.name, "the HSM answers");
        }
    }
}

async fn connect(host: Arc<Host>) -> io::Result<Stream> {
    match timeout(host.connect, host.dial.dial()).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Who waits for an answer.
enum Waiting {
    Caller { answer: oneshot::Sender<Zeroizing<Vec<u8>>>, _place: Place },
    Health,
}

struct Pending {
    letters: [u8; 2],
    deadline: Instant,
    who: Waiting,
}

/// One connection from its first octet to its last.
struct Session<'h> {
    host: &'h Host,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    input: Input,
    output: Zeroizing<Vec<u8>>,
    pending: HashMap<u32, Pending>,
    /// The number of the next command: its header.
    next: u32,
    /// When to ask for diagnostics again; none while the answer is waited for.
    health_at: Option<Instant>,
    /// When to look at the clock: not later than anything is due.
    due: Instant,
}

impl<'h> Session<'h> {
    fn new(host: &'h Host, stream: Stream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        Self {
            host,
            reader,
            writer,
            input: Input::new(),
            output: Zeroizing::default(),
            pending: HashMap::new(),
            next: 0,
            health_at: Some(now),
            due: now,
        }
    }

    async fn run(mut self, task: &mut Task) -> Breach {
        let breach = match self.serve(task).await {
            Ok(never) => match never {},
            Err(breach) => breach,
        };
        // Before those who wait hear of it, so that none of them comes here again.
        task.goes_down();
        breach
    }

    async fn serve(&mut self, task: &mut Task) -> Result<std::convert::Infallible, Breach> {
        let timer = sleep_until(self.due);
        tokio::pin!(timer);
        loop {
            tokio::select! {
                biased;
                read = self.reader.read(self.input.space()) => {
                    self.input.came(read?)?;
                    self.answers(task)?;
                }
                request = task.waiting.recv() => {
                    self.send(request.ok_or(Breach::Unneeded)?);
                    while let Ok(request) = task.waiting.try_recv() {
                        self.send(request);
                    }
                }
                written = self.writer.write(&self.output), if !self.output.is_empty() => {
                    sent(&mut self.output, written?)?;
                }
                () = &mut timer => self.look_at_the_clock()?,
            }
            if timer.deadline() != self.due {
                timer.as_mut().reset(self.due);
            }
        }
    }

    fn look_at_the_clock(&mut self) -> Result<(), Breach> {
        let now = Instant::now();
        if self.pending.values().any(|pending| pending.deadline <= now) {
            return Err(Breach::Late);
        }
        if self.health_at.is_some_and(|at| at <= now) {
            self.health_at = None;
            let pending =
                Pending { letters: HEALTH, deadline: now + self.host.command, who: Waiting::Health };
            self.write(&HEALTH, pending);
        }
        let deadlines = self.pending.values().map(|pending| pending.deadline);
        self.due = deadlines.chain(self.health_at).min().unwrap_or(now + self.host.health);
        Ok(())
    }

    fn send(&mut self, request: Request) {
        let Request { command, deadline, answer, place } = request;
        // Nobody waits for it any more.
        if answer.is_closed() {
            return;
        }
        let Some(letters) = command.first_chunk::<2>().copied() else { return };
        let who = Waiting::Caller { answer, _place: place };
        self.write(&command, Pending { letters, deadline, who });
    }

    /// Puts a command into the buffer, its length and its header in front.
    fn write(&mut self, command: &[u8], pending: Pending) {
        // A number comes round again while its command still waits only if that is nearly as old as it may be.
        while self.pending.contains_key(&self.next) {
            self.next = following(self.next);
        }
        let header = format!("{:0width$X}", self.next, width = self.host.header);
        let Ok(length) = u16::try_from(header.len() + command.len()) else { return };
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(header.as_bytes());
        self.output.extend_from_slice(command);
        self.due = self.due.min(pending.deadline);
        self.pending.insert(self.next, pending);
        self.next = following(self.next);
    }

    /// Hands out the answers that are there.
    fn answers(&mut self, task: &Task) -> Result<(), Breach> {
        while let Some(message) = self.input.next() {
            let (number, answer) = message.split_at_checked(self.host.header).ok_or(Breach::Unknown)?;
            let number = std::str::from_utf8(number).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
            let pending = number.and_then(|number| self.pending.remove(&number)).ok_or(Breach::Unknown)?;
            if !Answer::is_of(pending.letters, answer) {
                return Err(Breach::Unknown);
            }
            match pending.who {
                // Who does not wait any more does not hear of it.
                Waiting::Caller { answer: to, .. } => drop(to.send(Zeroizing::new(answer.to_vec()))),
                Waiting::Health => {
                    let code = answer.get(2..4).unwrap_or_default();
                    if code != b"00" {
                        return Err(Breach::Unwell(code.escape_ascii().to_string()));
                    }
                    let at = Instant::now() + self.host.health;
                    self.health_at = Some(at);
                    self.due = self.due.min(at);
                    task.comes_up();
                }
            }
        }
        Ok(())
    }
}

/// The next number: four hexadecimal digits are the shortest header.
fn following(number: u32) -> u32 {
    (number + 1) & 0xFFFF
}

/// Takes out of the buffer what was written.
fn sent(output: &mut Zeroizing<Vec<u8>>, count: usize) -> Result<(), Breach> {
    if count == 0 {
        return Err(Breach::Ended);
    }
    take_front(output, count);
    Ok(())
}

/// What came and is not handed out yet: room for the longest message, wiped when it is given up.
struct Input {
    octets: Zeroizing<Vec<u8>>,
    /// What is there begins and ends here.
    from: usize,
    to: usize,
}

impl Input {
    fn new() -> Self {
        Self { octets: Zeroizing::new(vec![0; LONGEST]), from: 0, to: 0 }
    }

    /// Room for what comes: never none, since a whole message has been taken out before.
    fn space(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.octets.copy_within(self.from..self.to, 0);
            let left = self.to - self.from;
            if let Some(old) = self.octets.get_mut(left..self.to) {
                old.zeroize();
            }
            (self.from, self.to) = (0, left);
        }
        self.octets.get_mut(self.to..).unwrap_or_default()
    }

    fn came(&mut self, count: usize) -> Result<(), Breach> {
        if count == 0 {
            return Err(Breach::Ended);
        }
        self.to += count;
        Ok(())
    }

    /// The next whole message, without its length.
    fn next(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let there = self.octets.get(self.from..self.to)?;
        let (length, rest) = there.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let message = Zeroizing::new(rest.get(..length)?.to_vec());
        self.from += 2 + length;
        Some(message)
    }
}
