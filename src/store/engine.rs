//! Group commit: one writer thread takes what is waiting, commits it as one transaction, and
//! sends each worker one message with all its outcomes.
//!
//! Knows neither SQL nor what an op means, but for the keys on which two ops may not share a commit.

use super::handle::{Delivery, Store};
use super::{Backend, Committed, Op, Outcome, StoreError};
use crate::metrics::StoreMeter;
use crate::transaction::{Day, IssuerId, Mid, Tid};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// A moment around a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitPoint {
    /// Nothing of the slice is durable yet.
    Before,
    /// All of it is; nobody was told.
    After,
}

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Ops that may wait for their commit or be in it; one more is answered [`Outcome::Failed`] at once.
    pub max_waiting: usize,
    /// Ops in one commit at most.
    pub max_batch: usize,
    /// How often a slice is tried again after a failure before it is answered [`Outcome::Failed`].
    pub retries: u32,
    /// The pause before the first retry; each next one is twice as long.
    pub backoff: Duration,
    /// Called before and after every commit.
    pub hook: Option<fn(CommitPoint)>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_waiting: 65_536,
            max_batch: 1024,
            retries: 4,
            backoff: Duration::from_millis(20),
            hook: None,
        }
    }
}

/// What the engine has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Commits that succeeded.
    pub commits: u64,
    /// Ops in them.
    pub ops: u64,
}

/// An op of a worker, on its way to the writer.
#[derive(Debug)]
pub(super) struct Job {
    /// Which worker.
    pub(super) worker: usize,
    /// The worker's slot for the outcome.
    pub(super) slot: usize,
    /// The op.
    pub(super) op: Op,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Taken by the writer and not answered yet.
    taken: usize,
    workers: Vec<Sender<Delivery>>,
    stopped: bool,
}

/// What the writer and the workers share.
#[derive(Debug)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    max_waiting: usize,
    commits: AtomicU64,
    ops: AtomicU64,
}

impl Shared {
    /// The lock guards plain data that is whole between any two statements, so a panic elsewhere
    /// leaves nothing to distrust.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands jobs over with one lock and one wake-up; those that found no room stay in `jobs`.
    pub(super) fn hand_over(&self, jobs: &mut Vec<Job>) {
        let mut waiting = self.lock();
        if waiting.stopped {
            return;
        }
        let room = self.max_waiting.saturating_sub(waiting.jobs.len() + waiting.taken).min(jobs.len());
        let idle = waiting.jobs.is_empty();
        waiting.jobs.extend(jobs.drain(..room));
        drop(waiting);
        if idle && room > 0 {
            self.wake.notify_one();
        }
    }

    /// What was done so far.
    pub(super) fn counts(&self) -> EngineCounts {
        EngineCounts { commits: self.commits.load(Ordering::Relaxed), ops: self.ops.load(Ordering::Relaxed) }
    }

    /// Enters a worker; its number goes into its jobs.
    pub(super) fn enter(&self, mailbox: Sender<Delivery>) -> usize {
        let mut waiting = self.lock();
        waiting.workers.push(mailbox);
        waiting.workers.len() - 1
    }
}

/// The engine with its writer thread.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the writer thread over a backend.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the thread cannot be started.
    pub fn start(backend: Box<dyn Backend>, options: EngineOptions) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting::default()),
            wake: Condvar::new(),
            max_waiting: options.max_waiting,
            commits: AtomicU64::new(0),
            ops: AtomicU64::new(0),
        });
        let committer = Committer::new(backend, options);
        let writer = Writer { shared: Arc::clone(&shared), committer, meter: StoreMeter::default() };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Unavailable(format!("writer thread: {error}")))?;
        Ok(Self { shared, writer: Some(thread) })
    }

    /// A worker's handle. To be called on the worker's own runtime, inside its
    /// [`tokio::task::LocalSet`], where the handle's mailbox then lives.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::of_engine(Arc::clone(&self.shared))
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> EngineCounts {
        self.shared.counts()
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Commits what waits, answers it, and ends the thread. What is submitted later fails at once.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has answered nobody; there is nothing left to wait for.
            let _ = writer.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

/// The writer thread.
struct Writer {
    shared: Arc<Shared>,
    committer: Committer,
    meter: StoreMeter,
}

impl Writer {
    fn run(mut self) {
        let mut jobs = VecDeque::new();
        let mut mailboxes = Vec::new();
        while self.take(&mut jobs, &mut mailboxes) {
            let slice = self.committer.slice(&mut jobs, |job| &job.op);
            let (addresses, ops): (Vec<_>, Vec<_>) =
                slice.into_iter().map(|job| ((job.worker, job.slot), job.op)).unzip();
            let outcomes = self.commit(&ops);
            self.shared.lock().taken -= ops.len();
            deliver(&mailboxes, addresses, outcomes);
        }
    }

    /// Moves what waits behind `jobs`; sleeps while there is nothing. `false`: stopped, and all done.
    fn take(&self, jobs: &mut VecDeque<Job>, mailboxes: &mut Vec<Sender<Delivery>>) -> bool {
        let mut waiting = self.shared.lock();
        while jobs.is_empty() && waiting.jobs.is_empty() {
            if waiting.stopped {
                return false;
            }
            waiting = self.shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.taken += waiting.jobs.len();
        jobs.append(&mut waiting.jobs);
        self.meter.queue(jobs.len());
        let known = mailboxes.len();
        mailboxes.extend(waiting.workers.iter().skip(known).cloned());
        true
    }

    fn commit(&mut self, ops: &[Op]) -> Vec<Committed> {
        let (mut tried, began) = (0, Instant::now());
        let outcomes = loop {
            match self.committer.attempt(ops, tried) {
                Attempt::Done(outcomes) => break outcomes,
                Attempt::Again(pause) => std::thread::sleep(pause),
            }
            tried += 1;
        };
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.ops.fetch_add(ops.len() as u64, Ordering::Relaxed);
        self.meter.commit(ops.len(), began.elapsed());
        outcomes
    }
}

/// One message per worker. A full mailbox is waited for; a worker that ended no longer listens, which is its own
/// affair.
fn deliver(mailboxes: &[Sender<Delivery>], addresses: Vec<(usize, usize)>, outcomes: Vec<Committed>) {
    let mut letters: Vec<Delivery> = mailboxes.iter().map(|_| Delivery::new()).collect();
    for ((worker, slot), outcome) in addresses.into_iter().zip(outcomes) {
        if let Some(letter) = letters.get_mut(worker) {
            letter.push((slot, outcome));
        }
    }
    for (mailbox, letter) in mailboxes.iter().zip(letters) {
        if !letter.is_empty() {
            let _ = mailbox.blocking_send(letter);
        }
    }
}

/// What came of one try to commit.
pub(super) enum Attempt {
    /// An outcome for every op.
    Done(Vec<Committed>),
    /// Try again after a pause.
    Again(Duration),
}

/// A backend with the rules of slices and retries, the same on a thread and inline.
pub(super) struct Committer {
    backend: Box<dyn Backend>,
    options: EngineOptions,
    keys: HashSet<Key>,
    /// The clock row as last seen, for answers that no commit gave.
    seen: (Day, i64),
}

impl Committer {
    pub(super) fn new(backend: Box<dyn Backend>, options: EngineOptions) -> Self {
        Self { backend, options, keys: HashSet::new(), seen: (Day(0), 0) }
    }

    /// Takes the ops from the front that may share a commit: up to the second op on one key.
    pub(super) fn slice<T>(&mut self, waiting: &mut VecDeque<T>, op: impl Fn(&T) -> &Op) -> Vec<T> {
        self.keys.clear();
        let mut length = 0;
        for item in waiting.iter().take(self.options.max_batch.max(1)) {
            let key = Key::of(op(item));
            if key == Key::Alone {
                // By itself: now if it is first, else in the next slice.
                length = length.max(1);
                break;
            }
            if key != Key::Nothing && !self.keys.insert(key) {
                break;
            }
            length += 1;
        }
        waiting.drain(..length).collect()
    }

    /// Commits a slice, as try number `tried` from 0.
    pub(super) fn attempt(&mut self, ops: &[Op], tried: u32) -> Attempt {
        self.hook(CommitPoint::Before);
        match self.backend.commit(ops) {
            Ok(outcomes) => {
                self.hook(CommitPoint::After);
                Attempt::Done(self.remember(outcomes))
            }
            Err(StoreError::Corrupt(text)) => {
                tracing::error!(error = text, ops = ops.len(), "commit refused by what the store holds");
                Attempt::Done(self.one_by_one(ops))
            }
            Err(error @ StoreError::Unavailable(_)) if tried < self.options.retries => {
                tracing::warn!(%error, tried, ops = ops.len(), "commit failed, trying again");
                Attempt::Again(self.options.backoff.saturating_mul(1 << tried.min(10)))
            }
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::error!(%error, ops = ops.len(), "commit failed");
                Attempt::Done(ops.iter().map(|_| self.failed()).collect())
            }
        }
    }

    /// One bad row must not take its neighbours along.
    fn one_by_one(&mut self, ops: &[Op]) -> Vec<Committed> {
        if ops.len() == 1 {
            return vec![self.failed()];
        }
        let mut outcomes = Vec::with_capacity(ops.len());
        for op in ops {
            let alone = self.backend.commit(std::slice::from_ref(op)).ok().and_then(|mut done| done.pop());
            outcomes.push(alone.unwrap_or_else(|| self.failed()));
        }
        self.remember(outcomes)
    }

    fn remember(&mut self, outcomes: Vec<Committed>) -> Vec<Committed> {
        if let Some(last) = outcomes.last() {
            self.seen = (last.day, last.revision);
        }
        outcomes
    }

    fn failed(&self) -> Committed {
        Committed { outcome: Outcome::Failed, day: self.seen.0, revision: self.seen.1 }
    }

    fn hook(&self, point: CommitPoint) {
        if let Some(hook) = self.options.hook {
            hook(point);
        }
    }
}

/// Commits one op, for verbs of the command line.
///
/// # Errors
/// [`StoreError`]; asking again is safe.
pub fn commit_one(backend: &mut dyn Backend, op: Op) -> Result<Committed, StoreError> {
    let outcome = backend.commit(&[op])?.pop();
    outcome.ok_or_else(|| StoreError::Corrupt("a commit without an outcome".into()))
}

/// What two ops of one slice may not share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Shares with everything.
    Nothing,
    /// Shares with nothing.
    Alone,
    Terminal(Mid, Tid),
    Transaction(i64),
    Issuer(IssuerId),
    Entry(i64),
    Counter(String),
}

impl Key {
    fn of(op: &Op) -> Self {
        match op {
            Op::Send(new) => Self::Terminal(new.mid, new.tid),
            Op::Reverse(reverse) => Self::Terminal(reverse.mid, reverse.tid),
            Op::Settle(settle) => Self::Terminal(settle.mid, settle.tid),
            Op::SignOn { mid, tid, .. }
            | Op::KeysProven { mid, tid, .. }
            | Op::ClaimKeyUses { mid, tid, .. }
            | Op::BatchLines { mid, tid, .. }
            | Op::Upload { mid, tid, .. }
            | Op::CloseBatch { mid, tid, .. } => Self::Terminal(*mid, *tid),
            Op::Finish(finish) => Self::Transaction(finish.id.0),
            Op::SafDue { issuer, .. } => Self::Issuer(*issuer),
            Op::ZoneKey(_) => Self::Alone,
            Op::SafSending { id, .. } | Op::SafDone { id, .. } => Self::Entry(*id),
            Op::Reserve { counter, .. } => Self::Counter(counter.clone()),
            Op::Recover { .. } | Op::CutOver { .. } | Op::Put(_) | Op::Rewrap(_) | Op::Cleared(_) => {
                Self::Alone
            }
            Op::Ping => Self::Nothing,
        }
    }
}
