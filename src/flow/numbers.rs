//! Transaction ids, RRNs and link STANs. RRNs and STANs come out of blocks that are reserved on
//! disk before they are used, so that none recurs after a crash; gaps are allowed.

use crate::clock::{Clock, TxnIds};
use crate::store::{Op, Outcome, Store};
use crate::transaction::{IssuerId, Rrn, TxnId};
use std::sync::Arc;

/// RRNs reserved at a time.
const RRN_BLOCK: u32 = 10_000;
/// An RRN's counter wraps above this: eight digits, after year and day of the year.
const RRN_MAX: u32 = 99_999_999;
/// What stands before the counter in an RRN counts in these.
const RRN_RANGE: u64 = 100_000_000;
/// STANs reserved at a time for a link.
pub(crate) const STAN_BLOCK: u32 = 10_000;
/// DE 11 is six digits.
pub(crate) const STAN_MAX: u32 = 999_999;

/// Numbers reserved and not yet used.
#[derive(Debug, Default)]
struct Block {
    next: u32,
    left: u32,
}

/// One worker's source of numbers.
#[derive(Debug)]
pub struct Numbers {
    ids: Arc<TxnIds>,
    /// Held across the reservation, so that payments that find it empty reserve one block, not one each.
    rrns: tokio::sync::Mutex<Block>,
}

impl Numbers {
    /// Takes ids from the node's one sequence.
    #[must_use]
    pub fn new(ids: Arc<TxnIds>) -> Self {
        Self { ids, rrns: tokio::sync::Mutex::default() }
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
        let mut block = self.rrns.lock().await;
        if block.left == 0 {
            let next = reserve(store, "rrn".to_owned(), RRN_BLOCK, RRN_MAX).await?;
            *block = Block { next, left: RRN_BLOCK };
        }
        let number = block.next;
        *block = Block { next: number + 1, left: block.left - 1 };
        Some(Rrn::from_number(yddd(clock) * RRN_RANGE + u64::from(number)))
    }
}

/// Last digit of the year and day of the year, as the number `yddd`.
fn yddd(clock: &Clock) -> u64 {
    u64::from(clock.year().unsigned_abs() % 10) * 1000 + u64::from(clock.day_of_year().unsigned_abs())
}

/// Reserves a block of STANs for the links to one issuer.
pub(crate) async fn stan_block(store: &Store, issuer: IssuerId) -> Option<u32> {
    reserve(store, format!("stan:{issuer}"), STAN_BLOCK, STAN_MAX).await
}

async fn reserve(store: &Store, counter: String, count: u32, max: u32) -> Option<u32> {
    let Outcome::Reserved(first) = store.submit(Op::Reserve { counter, count, max }).await.outcome else {
        tracing::error!("the store did not reserve numbers");
        return None;
    };
    Some(first)
}
