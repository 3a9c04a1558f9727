//! A worker's handle to the store: its slots, its outgoing ops, its mailbox. One thread, no locks.
//!
//! Ops of one runtime turn are handed over together, by a task that runs after those that
//! submitted them, or [`HANDED_AT_ONCE`] at a time within a long turn, so that the writer works while the worker
//! does. Outcomes arrive a commit at a time and wake their futures from local slots.

use super::engine::{Attempt, Committer, EngineOptions, Job, Shared};
use super::{Backend, Committed, Op, Outcome};
use crate::transaction::Day;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, mpsc};

/// So many ops go to the writer without waiting for the end of the turn: a turn over every terminal's frame lasts
/// longer than a commit.
const HANDED_AT_ONCE: usize = 32;

/// Commits whose outcomes a worker may leave unread before the writer waits for it.
const MAILBOX: usize = 1024;

/// The outcomes of one commit for one worker, by slot.
pub(super) type Delivery = Vec<(usize, Committed)>;

/// A handle to the store on one worker thread.
#[derive(Clone)]
pub struct Store(Rc<Local>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("waiting", &self.waiting()).finish()
    }
}

struct Local {
    slots: RefCell<Slots>,
    outgoing: Rc<Outgoing>,
    seen: Cell<(Day, i64)>,
}

/// What was submitted in this turn. The task that hands it over holds it too, so that the last
/// handle's end loses nothing.
#[derive(Default)]
struct Outgoing {
    ops: RefCell<Vec<(usize, Op)>>,
    turn: Notify,
    /// The engine and this worker's number there; `None`: the commits run on this thread.
    writer: Option<(Arc<Shared>, usize)>,
}

impl Drop for Local {
    /// Lets the task see that nobody is left.
    fn drop(&mut self) {
        self.outgoing.turn.notify_one();
    }
}

impl Store {
    /// A handle whose ops go to the engine's writer thread.
    pub(super) fn of_engine(shared: Arc<Shared>) -> Self {
        let (mailbox, mut deliveries) = mpsc::channel::<Delivery>(MAILBOX);
        let worker = shared.enter(mailbox);
        let store = Self::new(Some((shared, worker)));
        let (outgoing, weak) = (Rc::clone(&store.0.outgoing), Rc::downgrade(&store.0));
        tokio::task::spawn_local(async move {
            loop {
                // Both branches may be dropped half-way: a notification and a message stay put.
                tokio::select! {
                    () = outgoing.turn.notified() => {
                        let refused = outgoing.hand_over();
                        let Some(local) = weak.upgrade() else { return };
                        local.refuse(refused.into_iter());
                    }
                    delivery = deliveries.recv() => {
                        let (Some(local), Some(delivery)) = (weak.upgrade(), delivery) else { return };
                        local.complete(delivery);
                    }
                }
            }
        });
        store
    }

    /// The same engine inline: its commits run in a task on this thread, so that a test with a
    /// paused clock sees every step. To be called inside a [`tokio::task::LocalSet`]. Only for
    /// backends that do not block on a runtime of their own.
    #[must_use]
    pub fn inline(backend: Box<dyn Backend>) -> Self {
        Self::inline_with(backend, EngineOptions::default())
    }

    /// As [`Store::inline`], with options.
    #[must_use]
    pub fn inline_with(backend: Box<dyn Backend>, options: EngineOptions) -> Self {
        let mut committer = Committer::new(backend, options);
        let store = Self::new(None);
        let (outgoing, weak) = (Rc::clone(&store.0.outgoing), Rc::downgrade(&store.0));
        tokio::task::spawn_local(async move {
            loop {
                outgoing.turn.notified().await;
                let mut waiting: VecDeque<_> = outgoing.ops.take().into();
                let over = waiting.split_off(options.max_waiting.min(waiting.len()));
                if let Some(local) = weak.upgrade() {
                    local.refuse(over.into_iter().map(|(slot, _)| slot));
                }
                while !waiting.is_empty() {
                    let slice = committer.slice(&mut waiting, |(_, op)| op);
                    let (slots, ops): (Vec<usize>, Vec<Op>) = slice.into_iter().unzip();
                    let outcomes = commit(&mut committer, &ops).await;
                    if let Some(local) = weak.upgrade() {
                        local.complete(slots.into_iter().zip(outcomes).collect());
                    }
                }
                if weak.strong_count() == 0 {
                    return;
                }
            }
        });
        store
    }

    fn new(writer: Option<(Arc<Shared>, usize)>) -> Self {
        Self(Rc::new(Local {
            slots: RefCell::default(),
            outgoing: Rc::new(Outgoing { writer, ..Outgoing::default() }),
            seen: Cell::new((Day(0), 0)),
        }))
    }

    /// Submits an op. It is on its way when this returns: dropping the future loses nothing but
    /// the answer.
    pub fn submit(&self, op: Op) -> impl Future<Output = Committed> + use<> {
        let slot = self.0.slots.borrow_mut().take();
        let outgoing = &self.0.outgoing;
        let waiting = outgoing.push(slot, op);
        if waiting == 1 {
            outgoing.turn.notify_one();
        } else if waiting >= HANDED_AT_ONCE {
            self.0.refuse(outgoing.hand_over().into_iter());
        }
        Pending { local: Rc::clone(&self.0), slot: Some(slot) }
    }

    /// Ops without an outcome yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let slots = self.0.slots.borrow();
        slots.all.len() - slots.free.len()
    }

    /// The business day and the revision of the newest commit that this worker has seen.
    #[must_use]
    pub fn seen(&self) -> (Day, i64) {
        self.0.seen.get()
    }
}

async fn commit(committer: &mut Committer, ops: &[Op]) -> Vec<Committed> {
    let mut tried = 0;
    loop {
        match committer.attempt(ops, tried) {
            Attempt::Done(outcomes) => return outcomes,
            Attempt::Again(pause) => tokio::time::sleep(pause).await,
        }
        tried += 1;
    }
}

impl Outgoing {
    /// How many wait, this one included.
    fn push(&self, slot: usize, op: Op) -> usize {
        let mut ops = self.ops.borrow_mut();
        ops.push((slot, op));
        ops.len()
    }

    /// Gives what waits to the writer, if it is on another thread; the slots of those that found no room.
    fn hand_over(&self) -> Vec<usize> {
        let Some((shared, worker)) = &self.writer else { return Vec::new() };
        let job = |(slot, op)| Job { worker: *worker, slot, op };
        let mut jobs: Vec<Job> = self.ops.take().into_iter().map(job).collect();
        shared.hand_over(&mut jobs);
        jobs.into_iter().map(|job| job.slot).collect()
    }
}

impl Local {
    /// No room: answered at once.
    fn refuse(&self, slots: impl Iterator<Item = usize>) {
        let (day, revision) = self.seen.get();
        self.fill(slots.map(|slot| (slot, Committed { outcome: Outcome::Failed, day, revision })));
    }

    fn complete(&self, delivery: Delivery) {
        if let Some((_, last)) = delivery.last() {
            self.seen.set((last.day, last.revision));
        }
        self.fill(delivery.into_iter());
    }

    fn fill(&self, outcomes: impl Iterator<Item = (usize, Committed)>) {
        for (slot, outcome) in outcomes {
            // Woken outside the borrow: a waker may run anything.
            let waker = self.slots.borrow_mut().fill(slot, outcome);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Where outcomes land.
#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<usize>,
}

enum Slot {
    Free,
    Waiting(Option<Waker>),
    /// Nobody waits any more; the slot is free once its outcome came.
    Abandoned,
    Ready(Box<Committed>),
}

impl Slots {
    fn take(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot::Free);
            self.all.len() - 1
        });
        self.set(slot, Slot::Waiting(None));
        slot
    }

    fn set(&mut self, slot: usize, value: Slot) {
        if let Some(place) = self.all.get_mut(slot) {
            *place = value;
        }
    }

    fn release(&mut self, slot: usize) {
        self.set(slot, Slot::Free);
        self.free.push(slot);
    }

    fn fill(&mut self, slot: usize, outcome: Committed) -> Option<Waker> {
        match self.all.get_mut(slot) {
            Some(place @ Slot::Waiting(_)) => {
                match std::mem::replace(place, Slot::Ready(Box::new(outcome))) {
                    Slot::Waiting(waker) => waker,
                    Slot::Free | Slot::Abandoned | Slot::Ready(_) => None,
                }
            }
            Some(Slot::Abandoned) => {
                self.release(slot);
                None
            }
            Some(Slot::Free | Slot::Ready(_)) | None => None,
        }
    }

    fn poll(&mut self, slot: usize, waker: &Waker) -> Poll<Committed> {
        let Some(place) = self.all.get_mut(slot) else { return Poll::Pending };
        if let Slot::Waiting(waiting) = place {
            if !waiting.as_ref().is_some_and(|held| held.will_wake(waker)) {
                *waiting = Some(waker.clone());
            }
            return Poll::Pending;
        }
        match std::mem::replace(place, Slot::Free) {
            Slot::Ready(outcome) => {
                self.free.push(slot);
                Poll::Ready(*outcome)
            }
            Slot::Free | Slot::Waiting(_) | Slot::Abandoned => Poll::Pending,
        }
    }

    fn abandon(&mut self, slot: usize) {
        match self.all.get(slot) {
            Some(Slot::Waiting(_)) => self.set(slot, Slot::Abandoned),
            Some(Slot::Ready(_)) => self.release(slot),
            Some(Slot::Free | Slot::Abandoned) | None => {}
        }
    }
}

/// The future of one op.
struct Pending {
    local: Rc<Local>,
    slot: Option<usize>,
}

impl Future for Pending {
    type Output = Committed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Committed> {
        let Some(slot) = self.slot else { return Poll::Pending };
        let polled = self.local.slots.borrow_mut().poll(slot, context.waker());
        if polled.is_ready() {
            self.slot = None;
        }
        polled
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.local.slots.borrow_mut().abandon(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{ops, sqlite_subject};
    use super::super::{CommitPoint, Engine, StoreError};
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::task::LocalSet;

    /// A backend that answers `Done` or fails, as it is told, and keeps a list of its slices.
    #[derive(Clone, Default)]
    struct Scripted {
        /// Commits that fail before one succeeds.
        failures: Arc<AtomicU32>,
        slices: Arc<Mutex<Vec<usize>>>,
    }

    impl Backend for Scripted {
        fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
            let left = self.failures.load(Ordering::Relaxed);
            if left > 0 {
                self.failures.store(left - 1, Ordering::Relaxed);
                return Err(StoreError::Unavailable("told so".into()));
            }
            // An op that the store chokes on.
            if ops.iter().any(|op| matches!(op, Op::Reserve { counter, .. } if counter == "poison")) {
                return Err(StoreError::Corrupt("told so".into()));
            }
            self.slices.lock().unwrap().push(ops.len());
            let done = Committed { outcome: Outcome::Done, day: Day(20_261_123), revision: 7 };
            Ok(vec![done; ops.len()])
        }
    }

    fn reserve(counter: &str) -> Op {
        Op::Reserve { counter: counter.into(), count: 1, max: 9 }
    }

    fn names(outcomes: &[Committed]) -> Vec<&'static str> {
        let name = |c: &Committed| if matches!(c.outcome, Outcome::Failed) { "failed" } else { "done" };
        outcomes.iter().map(name).collect()
    }

    async fn all(store: &Store, ops: impl IntoIterator<Item = Op>) -> Vec<Committed> {
        let pending: Vec<_> = ops.into_iter().map(|op| store.submit(op)).collect();
        let mut outcomes = Vec::new();
        for one in pending {
            outcomes.push(one.await);
        }
        outcomes
    }

    #[tokio::test(start_paused = true)]
    async fn ops_of_one_turn_share_a_commit_up_to_a_second_op_on_a_key() {
        let rows: [(&[&str], &[usize]); 5] = [
            (&["a", "b", "c"], &[3]),
            (&["a", "b", "a", "c"], &[2, 2]),
            (&["a", "a", "a"], &[1, 1, 1]),
            (&["a", "alone", "b", "c"], &[1, 1, 2]),
            (&["alone", "alone"], &[1, 1]),
        ];
        LocalSet::new()
            .run_until(async {
                for (counters, want) in rows {
                    let backend = Scripted::default();
                    let store = Store::inline(Box::new(backend.clone()));
                    let op = |c: &&str| match *c {
                        "alone" => Op::Recover { node: crate::transaction::NodeId(1), now_ms: 0 },
                        counter => reserve(counter),
                    };
                    all(&store, counters.iter().map(op)).await;
                    assert_eq!(*backend.slices.lock().unwrap(), want, "{counters:?}");
                    assert_eq!(store.seen(), (Day(20_261_123), 7));
                    assert_eq!(store.waiting(), 0);
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_store_is_tried_again_and_may_come_back() {
        let options =
            EngineOptions { retries: 2, backoff: Duration::from_secs(1), ..EngineOptions::default() };
        // Failures in a row, what the two ops are answered, how long it took.
        let rows = [(0, "done", 0), (1, "done", 1), (2, "done", 3), (3, "failed", 3), (4, "failed", 3)];
        LocalSet::new()
            .run_until(async {
                for (failures, want, seconds) in rows {
                    let backend = Scripted::default();
                    backend.failures.store(failures, Ordering::Relaxed);
                    let store = Store::inline_with(Box::new(backend.clone()), options);
                    let since = tokio::time::Instant::now();
                    let outcomes = all(&store, [reserve("a"), reserve("b")]).await;
                    assert_eq!(names(&outcomes), [want, want], "{failures} failures");
                    assert_eq!(since.elapsed(), Duration::from_secs(seconds), "{failures} failures");
                    backend.failures.store(0, Ordering::Relaxed);
                    assert_eq!(names(&all(&store, [reserve("c")]).await), ["done"], "it came back");
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_bad_row_does_not_take_its_neighbours_along() {
        LocalSet::new()
            .run_until(async {
                let store = Store::inline(Box::new(Scripted::default()));
                let outcomes = all(&store, ["a", "poison", "b"].map(reserve)).await;
                assert_eq!(names(&outcomes), ["done", "failed", "done"]);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_wait_fails_at_once() {
        let options = EngineOptions { max_waiting: 2, ..EngineOptions::default() };
        LocalSet::new()
            .run_until(async {
                let store = Store::inline_with(Box::new(Scripted::default()), options);
                let outcomes = all(&store, ["a", "b", "c"].map(reserve)).await;
                assert_eq!(names(&outcomes), ["done", "done", "failed"]);
                let engine = Engine::start(Box::new(Scripted::default()), options).unwrap();
                let outcomes = all(&engine.store(), ["a", "b", "c"].map(reserve)).await;
                assert_eq!(names(&outcomes), ["done", "done", "failed"]);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_future_loses_neither_op_nor_slot() {
        LocalSet::new()
            .run_until(async {
                let backend = Scripted::default();
                let store = Store::inline(Box::new(backend.clone()));
                drop(store.submit(reserve("a")));
                assert_eq!(store.waiting(), 1, "until its outcome came");
                store.submit(reserve("b")).await;
                assert_eq!(*backend.slices.lock().unwrap(), [2]);
                assert_eq!(store.waiting(), 0);
                drop(store.submit(reserve("c")));
                drop(store);
                tokio::task::yield_now().await;
                assert_eq!(*backend.slices.lock().unwrap(), [2, 1], "the last handle's ops go too");
            })
            .await;
    }

    static POINTS: AtomicU32 = AtomicU32::new(0);

    #[tokio::test]
    async fn the_engine_commits_what_waits_together_and_drains_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut subject = sqlite_subject(&folder.path().join("engine.db"));
        let hook = |point| {
            let weight = if point == CommitPoint::Before { 1 } else { 1000 };
            POINTS.fetch_add(weight, Ordering::Relaxed);
        };
        let options = EngineOptions { hook: Some(hook), ..EngineOptions::default() };
        let engine = Engine::start(subject.backend, options).unwrap();
        let pending = LocalSet::new()
            .run_until(async {
                let store = engine.store();
                let sends = (1..=100).map(|id| ops::sale_of(id, &format!("{id}")));
                for committed in all(&store, sends).await {
                    assert!(matches!(committed.outcome, Outcome::Stored { .. }), "{committed:?}");
                }
                let finishes: Vec<_> = (1..=100).map(|id| store.submit(ops::approve(id))).collect();
                tokio::task::yield_now().await;
                finishes.len()
            })
            .await;
        let counts = Arc::clone(engine.shared());
        engine.stop();
        assert_eq!(counts.counts().ops, 100 + pending as u64);
        assert!(counts.counts().commits <= 10, "{:?}", counts.counts());
        let commits = u32::try_from(counts.counts().commits).unwrap();
        assert_eq!(POINTS.load(Ordering::Relaxed), commits * 1001);
        let rows = subject.reader.transactions(&super::super::Filter::default()).unwrap();
        assert_eq!(rows.iter().filter(|t| t.state == crate::lifecycle::State::Approved).count(), 100);
    }
}
