//! Transaction ids, RRNs and link STANs. RRNs and STANs come out of blocks that are reserved on
//! disk before they are used, so that none recurs after a crash; gaps are allowed.
//!
//! The next block is reserved while numbers of the last are left, so that a payment waits for one only when
//! payments outrun the store.

use crate::clock::{Clock, TxnIds};
use crate::store::{Op, Outcome, Store};
use crate::transaction::{IssuerId, Rrn, TxnId};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// RRNs reserved at a time.
const RRN_BLOCK: u32 = 10_000;
/// An RRN's counter wraps above this: eight digits, after year and day of the year.
const RRN_MAX: u32 = 99_999_999;
/// What stands before the counter in an RRN counts in these.
const RRN_RANGE: u64 = 100_000_000;
/// STANs reserved at a time for a link.
pub const STAN_BLOCK: u32 = 10_000;
/// DE 11 is six digits.
const STAN_MAX: u32 = 999_999;

/// Whether so few of a block are left that the next one is to be reserved.
pub(crate) const fn is_low(left: u32, block: u32) -> bool {
    left < block / 4
}

/// One worker's source of numbers.
#[derive(Debug)]
pub struct Numbers {
    ids: Arc<TxnIds>,
    rrns: Rc<RefCell<Rrns>>,
    refill: Rc<Refill>,
}

/// RRN counters reserved and not yet used.
#[derive(Debug, Default)]
struct Rrns {
    current: Range<u32>,
    next: Range<u32>,
}

impl Rrns {
    fn take(&mut self) -> Option<u32> {
        if self.current.is_empty() {
            self.current = std::mem::take(&mut self.next);
        }
        self.current.next()
    }

    fn is_low(&self) -> bool {
        self.next.is_empty() && is_low(self.current.len().try_into().unwrap_or(u32::MAX), RRN_BLOCK)
    }
}

impl Numbers {
    /// Takes ids from the node's one sequence.
    #[must_use]
    pub fn new(ids: Arc<TxnIds>) -> Self {
        Self { ids, rrns: Rc::default(), refill: Rc::default() }
    }

    /// The identity of a transaction received now.
    #[must_use]
    pub fn txn_id(&self, now_ms: i64) -> TxnId {
        TxnId(self.ids.next(now_ms))
    }

    /// An RRN: last digit of the year, day of the year, and eight digits that no other
    /// transaction of this store has had for a hundred million transactions.
    /// `None`: the store cannot reserve more.
    pub async fn rrn(&self, store: &Store, clock: &Clock) -> Option<Rrn> {
        loop {
            let number = self.rrns.borrow_mut().take();
            if self.rrns.borrow().is_low() {
                let (store, rrns) = (store.clone(), Rc::clone(&self.rrns));
                self.refill.begin(async move {
                    let Some(first) = reserve(&store, "rrn".to_owned(), RRN_BLOCK, RRN_MAX).await else {
                        return false;
                    };
                    rrns.borrow_mut().next = first..first + RRN_BLOCK;
                    true
                });
            }
            match number {
                Some(number) => return Some(Rrn::from_number(yddd(clock) * RRN_RANGE + u64::from(number))),
                None if self.refill.ended().await => {}
                None => return None,
            }
        }
    }
}

/// One reservation at a time, in a task of its own: whoever asked for it may go away.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    runs: Cell<bool>,
    succeeded: Cell<bool>,
    end: Notify,
}

impl Refill {
    /// Starts `reserve`, which tells whether it succeeded, unless one runs.
    pub(crate) fn begin(self: &Rc<Self>, reserve: impl Future<Output = bool> + 'static) {
        if self.runs.replace(true) {
            return;
        }
        let refill = Rc::clone(self);
        tokio::task::spawn_local(async move {
            refill.succeeded.set(reserve.await);
            refill.runs.set(false);
            refill.end.notify_waiters();
        });
    }

    /// Waits for the reservation that runs; whether it succeeded.
    pub(crate) async fn ended(&self) -> bool {
        if self.runs.get() {
            self.end.notified().await;
        }
        self.succeeded.get()
    }
}

/// Last digit of the year and day of the year, as the number `yddd`.
fn yddd(clock: &Clock) -> u64 {
    u64::from(clock.year().unsigned_abs() % 10) * 1000 + u64::from(clock.day_of_year().unsigned_abs())
}

/// Reserves a block of [`STAN_BLOCK`] STANs for a link to an issuer: its first number. `None`: the store did not.
pub async fn stan_block(store: &Store, issuer: IssuerId) -> Option<u32> {
    reserve(store, format!("stan:{issuer}"), STAN_BLOCK, STAN_MAX).await
}

async fn reserve(store: &Store, counter: String, count: u32, max: u32) -> Option<u32> {
    let Outcome::Reserved(first) = store.submit(Op::Reserve { counter, count, max }).await.outcome else {
        tracing::error!("the store did not reserve numbers");
        return None;
    };
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Backend, Committed, StoreError};
    use crate::transaction::Day;
    use tokio::task::LocalSet;

    /// Reserves blocks one behind the other, and fails after so many.
    struct Blocks(u32, u32);

    impl Backend for Blocks {
        fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
            let one = |_: &Op| {
                self.0 += 1;
                let outcome = if self.0 > self.1 {
                    Outcome::Failed
                } else {
                    Outcome::Reserved((self.0 - 1) * RRN_BLOCK + 1)
                };
                Committed { outcome, day: Day(20_261_123), revision: 1 }
            };
            Ok(ops.iter().map(one).collect())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rrns_follow_each_other_and_end_only_with_the_store() {
        // Blocks that the store gives, and RRNs asked for at a time.
        for (blocks, at_once) in [(0, 1), (1, 1), (3, 1), (3, 300), (3, 25_000)] {
            LocalSet::new()
                .run_until(async {
                    let store = Store::inline(Box::new(Blocks(0, blocks)));
                    let clock = Clock::manual(1_795_399_200_000);
                    let numbers = Rc::new(Numbers::new(Arc::new(TxnIds::new(1))));
                    let (mut given, mut refused) = (Vec::new(), 0);
                    while refused == 0 {
                        let asked: Vec<_> = (0..at_once)
                            .map(|_| {
                                let (numbers, store, clock) =
                                    (Rc::clone(&numbers), store.clone(), clock.clone());
                                tokio::task::spawn_local(async move { numbers.rrn(&store, &clock).await })
                            })
                            .collect();
                        for one in asked {
                            match one.await.unwrap() {
                                Some(rrn) => given.push(rrn.as_str()[4..].parse::<u32>().unwrap()),
                                None => refused += 1,
                            }
                        }
                    }
                    given.sort_unstable();
                    assert!(
                        given.iter().copied().eq(1..=blocks * RRN_BLOCK),
                        "{blocks} {at_once}: {}",
                        given.len()
                    );
                })
                .await;
        }
    }
}
