//! The answer table of one link: what waits to be written, what waits for its answer, and what
//! timed out. Pure: no socket, no clock; the client handle and the connection task share it.

use super::{Key, LinkError};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How many timed-out requests are remembered, so that their answers are known as late.
pub(super) const EXPIRED_MAX: usize = 10_000;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not one byte was handed to the socket.
    Queued,
    /// Bytes may have been written.
    Written,
    /// Answered, or given up.
    Done,
}

/// The place where a request's answer is put.
#[derive(Debug)]
pub(super) struct Slot {
    phase: Cell<Phase>,
    answer: RefCell<Option<Result<Bytes, LinkError>>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Queued),
            answer: RefCell::new(None),
            waker: RefCell::new(None),
        })
    }

    fn settle(&self, answer: Result<Bytes, LinkError>) {
        self.phase.set(Phase::Done);
        *self.answer.borrow_mut() = Some(answer);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        if let Some(answer) = self.answer.borrow_mut().take() {
            return Poll::Ready(answer);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What an answer's key met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A request that waits; it has its answer now.
    Waiting,
    /// A request that timed out: the answer is late.
    Expired,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    queue: VecDeque<(Key, Rc<Slot>, Vec<u8>)>,
    waiting: HashMap<Key, Rc<Slot>>,
    /// How many keys of `waiting` bear this trace number.
    stans: HashMap<u32, u32>,
    expired: Expired,
}

impl Table {
    /// Takes a request in, when its key does not wait already and fewer than `max` wait. A key
    /// that expired may wait again: a repeat (0421) bears the key of its first copy.
    pub(super) fn admit(&mut self, key: Key, body: Vec<u8>, max: usize) -> Result<Rc<Slot>, LinkError> {
        if self.waiting.contains_key(&key) {
            return Err(LinkError::KeyInUse);
        }
        if self.waiting.len() >= max {
            return Err(LinkError::Full);
        }
        self.expired.remove(key);
        *self.stans.entry(key.stan()).or_default() += 1;
        let slot = Slot::new();
        self.waiting.insert(key, Rc::clone(&slot));
        self.queue.push_back((key, Rc::clone(&slot), body));
        Ok(slot)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Hands over the next body to write; from now on its bytes may have been written.
    pub(super) fn next_due(&mut self) -> Option<(Key, Vec<u8>)> {
        let (key, slot, body) = self.queue.pop_front()?;
        slot.phase.set(Phase::Written);
        Some((key, body))
    }

    /// The body just handed over cannot be framed: not a byte of it was written.
    pub(super) fn unframeable(&mut self, key: Key) {
        if let Some(slot) = self.waiting.remove(&key) {
            self.release(key);
            slot.settle(Err(LinkError::NotSent));
        }
    }

    /// Looks up an answer. A late answer is recognised once.
    pub(super) fn answer(&mut self, key: Key, body: &Bytes) -> Found {
        if let Some(slot) = self.waiting.remove(&key) {
            self.unqueue(&slot);
            self.release(key);
            slot.settle(Ok(body.clone()));
            return Found::Waiting;
        }
        if self.expired.remove(key) { Found::Expired } else { Found::Nothing }
    }

    /// The caller waits no longer. Tells how far the request had come: one that was still queued
    /// is taken back, one that was written stays as expired.
    pub(super) fn give_up(&mut self, key: Key, slot: &Rc<Slot>) -> Phase {
        let phase = slot.phase.replace(Phase::Done);
        match phase {
            Phase::Done => {}
            Phase::Queued => {
                self.waiting.remove(&key);
                self.unqueue(slot);
                self.release(key);
            }
            Phase::Written => {
                self.waiting.remove(&key);
                self.release(key);
                self.expired.add(key);
            }
        }
        phase
    }

    /// Nothing more may be sent: what is queued is taken back. Returns how many.
    pub(super) fn take_back(&mut self) -> usize {
        let queued = std::mem::take(&mut self.queue);
        for (key, slot, _) in &queued {
            self.waiting.remove(key);
            self.release(*key);
            slot.settle(Err(LinkError::NotSent));
        }
        queued.len()
    }

    /// The connection broke: what was queued is not sent, what was written is lost. Returns how
    /// many of each.
    pub(super) fn break_off(&mut self) -> (usize, usize) {
        self.queue.clear();
        let (mut not_sent, mut lost) = (0, 0);
        for (key, slot) in std::mem::take(&mut self.waiting) {
            self.release(key);
            if slot.phase.get() == Phase::Written {
                lost += 1;
                self.expired.add(key);
                slot.settle(Err(LinkError::Lost));
            } else {
                not_sent += 1;
                slot.settle(Err(LinkError::NotSent));
            }
        }
        (not_sent, lost)
    }

    /// Whether a trace number must be passed over. An expired one is passed over once and then
    /// forgotten: it may recur, a whole cycle later.
    pub(super) fn is_in_use(&mut self, stan: u32) -> bool {
        let expired = self.expired.forget(stan);
        expired || self.stans.contains_key(&stan)
    }

    fn release(&mut self, key: Key) {
        let left = self.stans.get_mut(&key.stan()).map(|keys| {
            *keys = keys.saturating_sub(1);
            *keys
        });
        if left == Some(0) {
            self.stans.remove(&key.stan());
        }
    }

    fn unqueue(&mut self, slot: &Rc<Slot>) {
        if slot.phase.get() != Phase::Written {
            self.queue.retain(|(_, queued, _)| !Rc::ptr_eq(queued, slot));
        }
    }
}

/// Requests that are waited for no longer and whose answer may still come; the oldest is forgotten
/// first.
#[derive(Debug, Default)]
struct Expired {
    /// By trace number; the number beside a key names its entry in `order`.
    keys: HashMap<u32, Vec<(u64, Key)>>,
    order: VecDeque<(u64, u32)>,
    added: u64,
}

impl Expired {
    fn add(&mut self, key: Key) {
        self.added += 1;
        self.keys.entry(key.stan()).or_default().push((self.added, key));
        self.order.push_back((self.added, key.stan()));
        if self.order.len() > EXPIRED_MAX
            && let Some((entry, stan)) = self.order.pop_front()
        {
            self.retain(stan, |(of, _)| *of != entry);
        }
    }

    fn remove(&mut self, key: Key) -> bool {
        self.retain(key.stan(), |(_, of)| *of != key)
    }

    fn forget(&mut self, stan: u32) -> bool {
        self.keys.remove(&stan).is_some()
    }

    /// Keeps what `keep` says of one trace number; tells whether anything went.
    fn retain(&mut self, stan: u32, keep: impl FnMut(&(u64, Key)) -> bool) -> bool {
        let Some(keys) = self.keys.get_mut(&stan) else { return false };
        let before = keys.len();
        keys.retain(keep);
        let after = keys.len();
        if after == 0 {
            self.keys.remove(&stan);
        }
        after < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stan: u32) -> Key {
        Key::new(stan, &["0210"]).unwrap()
    }

    /// Lets a request time out after it was written.
    fn expire(table: &mut Table, stan: u32) {
        let slot = table.admit(key(stan), Vec::new(), usize::MAX).unwrap();
        table.next_due().unwrap();
        assert_eq!(table.give_up(key(stan), &slot), Phase::Written);
    }

    #[test]
    fn only_so_many_expired_requests_are_remembered() {
        let mut table = Table::default();
        let count = u32::try_from(EXPIRED_MAX).unwrap();
        for stan in 1..=count + 2 {
            expire(&mut table, stan);
        }
        let rows =
            [(1, Found::Nothing), (2, Found::Nothing), (3, Found::Expired), (count + 2, Found::Expired)];
        for (stan, want) in rows {
            assert_eq!(table.answer(key(stan), &Bytes::new()), want, "{stan}");
        }
        // Expiring again and again, or being answered late, leaves nothing behind.
        for _ in 0..3 * EXPIRED_MAX {
            expire(&mut table, 1);
        }
        assert_eq!(table.expired.keys.len(), 1);
        assert!(table.expired.order.len() <= EXPIRED_MAX);
        assert_eq!(table.answer(key(1), &Bytes::new()), Found::Expired);
        assert!(table.expired.keys.is_empty() && table.stans.is_empty());
    }

    #[test]
    fn a_repeat_that_still_waits_for_the_socket_may_be_answered_by_its_first_copy() {
        let mut table = Table::default();
        expire(&mut table, 1);
        let _repeat = table.admit(key(1), Vec::new(), 10).unwrap();
        assert_eq!(table.answer(key(1), &Bytes::new()), Found::Waiting);
        assert!(table.next_due().is_none(), "it need not be sent any more");
        assert_eq!(table.answer(key(1), &Bytes::new()), Found::Nothing);
    }
}
