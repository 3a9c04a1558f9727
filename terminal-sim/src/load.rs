//! A closed-loop load generator: many connections on one thread, each with one request in flight.
//!
//! The requests are made beforehand, MACs and PIN blocks included; while the clock runs a lane only writes a
//! frame, waits for the answer, and looks at two of its fields. It needs to know nothing of the other end: a
//! switch, or a relay that only forwards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use iso8583_spec::{Frame, Framing, Spec, View};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use crate::terminal::Dialect;

/// Largest answer that is taken, octets of body.
const MAX_BODY: usize = 4096;
/// Octets of a lane's read buffer.
const BUFFER: usize = 8192;
/// Latencies above this are counted as this, microseconds.
const SLOWEST_US: u64 = 60_000_000;

/// Why a load cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The dialect's specification is missing.
    #[error("no specification for {0}")]
    Spec(&'static str),
    /// The other end cannot be reached, or the runtime does not start.
    #[error("load: {0}")]
    Io(#[from] io::Error),
    /// A prepared frame is none.
    #[error("prepared frame is not a message of the dialect")]
    Frame,
    /// The histogram's bounds.
    #[error("latency histogram")]
    Histogram,
}

/// The requests of one connection, in the order in which they are sent. Octets lie in one piece.
#[derive(Debug, Default)]
pub struct Lane {
    octets: Vec<u8>,
    requests: Vec<Prepared>,
    endless: bool,
}

/// Where a frame ends, its DE 11 as the wire has it, and the DE 39 that its answer must have.
#[derive(Debug, Clone, Copy)]
struct Prepared {
    end: usize,
    stan: [u8; 6],
    stan_octets: usize,
    expected: Option<[u8; 2]>,
}

impl Lane {
    /// Adds a frame, length prefix included, as [`crate::terminal::Terminal::prepare_sale`] makes it.
    ///
    /// # Errors
    /// [`LoadError::Frame`] when it is not one message of the dialect with a DE 11.
    pub fn push(&mut self, dialect: Dialect, frame: &[u8]) -> Result<(), LoadError> {
        let spec = specification(dialect)?;
        let found = spec.framing().decode(frame, MAX_BODY).ok().flatten().ok_or(LoadError::Frame)?;
        let body = frame.get(found.body).ok_or(LoadError::Frame)?;
        let view = View::decode(spec, body).map_err(|_| LoadError::Frame)?;
        let raw = view.raw(11).filter(|raw| raw.len() <= 6).ok_or(LoadError::Frame)?;
        let mut stan = [0; 6];
        stan.iter_mut().zip(raw).for_each(|(to, from)| *to = *from);
        self.octets.extend_from_slice(frame);
        let end = self.octets.len();
        self.requests.push(Prepared { end, stan, stan_octets: raw.len(), expected: None });
        Ok(())
    }

    /// As [`Lane::push`], and says which DE 39 the answer must have.
    ///
    /// # Errors
    /// As [`Lane::push`].
    pub fn push_expecting(&mut self, dialect: Dialect, frame: &[u8], code: [u8; 2]) -> Result<(), LoadError> {
        self.push(dialect, frame)?;
        if let Some(request) = self.requests.last_mut() {
            request.expected = Some(code);
        }
        Ok(())
    }

    /// Begins anew at its end, for another end that does not mind the same frames again.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { endless: true, ..self }
    }

    /// How many requests it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// Where the load goes and when it ends.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// The switch or the relay.
    pub address: SocketAddr,
    /// The frames' dialect.
    pub dialect: Dialect,
    /// No new request after this time; lanes that run out of requests end before.
    pub duration: Duration,
    /// How long after that an answer may still come.
    pub patience: Duration,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Connections.
    pub lanes: usize,
    /// Answered requests.
    pub transactions: u64,
    /// From the first request to the last answer, microseconds.
    pub elapsed_us: u64,
    /// Answered requests per second.
    pub tx_per_second: u64,
    /// Half of the answers came within this, microseconds.
    pub p50_us: u64,
    /// 90 % did.
    pub p90_us: u64,
    /// 99 % did.
    pub p99_us: u64,
    /// 99.9 % did.
    pub p999_us: u64,
    /// The slowest answer, microseconds.
    pub max_us: u64,
    /// Answers with a code that the dialect calls approved.
    pub approved: u64,
    /// Other answers.
    pub refused: u64,
    /// Answers by DE 39; `--` for those without (a relay that echoes).
    pub codes: BTreeMap<String, u64>,
    /// Answers whose DE 39 is not the one that was expected of them.
    pub unexpected: u64,
    /// Answers whose DE 11 is not the request's.
    pub strangers: u64,
    /// Requests that got no answer: the connection broke, the answer was unreadable or too late.
    pub unanswered: u64,
    /// Lanes that had no request left before the time was over: the rate is too low then.
    pub ran_out: u64,
}

/// What the lanes count together; one thread, so no lock.
struct Tally {
    latencies: Histogram<u64>,
    codes: BTreeMap<[u8; 2], u64>,
    unexpected: u64,
    ran_out: u64,
    strangers: u64,
    started: u64,
    answered: u64,
}

/// Connects every lane, starts the clock, and drives them to their end. Blocks its thread.
///
/// # Errors
/// A lane cannot connect.
pub fn run(lanes: Vec<Lane>, options: &LoadOptions) -> Result<LoadReport, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(256).build()?;
    LocalSet::new().block_on(&runtime, drive(lanes, options))
}

/// As [`run`], inside a [`LocalSet`].
///
/// # Errors
/// As [`run`].
pub async fn drive(lanes: Vec<Lane>, options: &LoadOptions) -> Result<LoadReport, LoadError> {
    let spec = specification(options.dialect)?;
    let count = lanes.len();
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(options.address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let start = Instant::now();
    let stop = start + options.duration;
    let mut running = JoinSet::new();
    for (lane, stream) in lanes.into_iter().zip(streams) {
        running.spawn_local(follow(lane, stream, spec, stop, Rc::clone(&tally)));
    }
    let all = async { while running.join_next().await.is_some() {} };
    // A lane that is still waiting after this is dropped with the set; its request counts as unanswered.
    let _ = tokio::time::timeout(options.duration + options.patience, all).await;
    let elapsed = start.elapsed();
    drop(running);
    let report = tally.borrow().report(options.dialect, count, elapsed);
    Ok(report)
}

fn specification(dialect: Dialect) -> Result<&'static Spec, LoadError> {
    Spec::builtin(dialect.name()).ok_or(LoadError::Spec(dialect.name()))
}

/// One connection: a request, its answer, the next one. Ends on any trouble; its open request then counts
/// as unanswered.
async fn follow(lane: Lane, mut stream: TcpStream, spec: &Spec, stop: Instant, tally: Rc<RefCell<Tally>>) {
    let framing = spec.framing();
    let mut input = Vec::with_capacity(BUFFER);
    let (mut begin, mut left) = (0, lane.requests.iter());
    loop {
        let sent = Instant::now();
        if sent >= stop {
            return;
        }
        let Some(request) = left.next() else {
            if lane.endless && !lane.is_empty() {
                (begin, left) = (0, lane.requests.iter());
                continue;
            }
            tally.borrow_mut().ran_out += 1;
            return;
        };
        tally.borrow_mut().started += 1;
        let frame = lane.octets.get(begin..request.end).unwrap_or_default();
        begin = request.end;
        if stream.write_all(frame).await.is_err() {
            return;
        }
        let Ok(found) = answer(&mut stream, framing, &mut input).await else { return };
        let elapsed = sent.elapsed();
        let read = tally.borrow_mut().answered(spec, request, input.get(found.body), elapsed);
        if read.is_none() {
            return;
        }
        input.drain(..found.consumed.min(input.len()));
    }
}

/// Reads until a whole frame with a body stands at the front of the input.
async fn answer(stream: &mut TcpStream, framing: Framing, input: &mut Vec<u8>) -> io::Result<Frame> {
    loop {
        match framing.decode(input, MAX_BODY).map_err(io::Error::other)? {
            Some(frame) if frame.body.is_empty() => {
                input.drain(..frame.consumed.min(input.len()));
            }
            Some(frame) => return Ok(frame),
            None => {
                if stream.read_buf(input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

impl Tally {
    fn new() -> Result<Self, LoadError> {
        let latencies = Histogram::new_with_bounds(1, SLOWEST_US, 3).map_err(|_| LoadError::Histogram)?;
        let codes = BTreeMap::new();
        Ok(Self { latencies, codes, unexpected: 0, ran_out: 0, strangers: 0, started: 0, answered: 0 })
    }

    /// Counts an answer; `None` when it cannot be read.
    fn answered(
        &mut self,
        spec: &Spec,
        request: &Prepared,
        body: Option<&[u8]>,
        elapsed: Duration,
    ) -> Option<()> {
        let view = View::decode(spec, body?).ok()?;
        let code = view.raw(39).and_then(|raw| <[u8; 2]>::try_from(raw).ok()).unwrap_or(*b"--");
        *self.codes.entry(code).or_default() += 1;
        if request.expected.is_some_and(|expected| expected != code) {
            self.unexpected += 1;
        }
        if view.raw(11) != request.stan.get(..request.stan_octets) {
            self.strangers += 1;
        }
        self.latencies.saturating_record(micros(elapsed).max(1));
        self.answered += 1;
        Some(())
    }

    fn report(&self, dialect: Dialect, lanes: usize, elapsed: Duration) -> LoadReport {
        let elapsed_us = micros(elapsed).max(1);
        let codes: BTreeMap<String, u64> = self
            .codes
            .iter()
            .map(|(code, count)| (String::from_utf8_lossy(code).into_owned(), *count))
            .collect();
        let approved = codes.iter().filter(|(code, _)| dialect.approves(code)).map(|(_, count)| count).sum();
        LoadReport {
            lanes,
            transactions: self.answered,
            elapsed_us,
            tx_per_second: self.answered.saturating_mul(1_000_000) / elapsed_us,
            p50_us: self.latencies.value_at_quantile(0.5),
            p90_us: self.latencies.value_at_quantile(0.9),
            p99_us: self.latencies.value_at_quantile(0.99),
            p999_us: self.latencies.value_at_quantile(0.999),
            max_us: self.latencies.max(),
            approved,
            refused: self.answered - approved,
            codes,
            unexpected: self.unexpected,
            strangers: self.strangers,
            unanswered: self.started - self.answered,
            ran_out: self.ran_out,
        }
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
