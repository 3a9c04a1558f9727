//! What a store's only writer keeps in memory beside its tables, so that a payment touches no page of its own
//! besides its row.
//!
//! A table of duplicate keys is ordered by terminal, so every payment of another terminal changes another page of
//! it. The keys of recent payments are kept here instead, and written to the table a terminal at a time, many at
//! once. They are never lost: the key of a payment is in its row, and a writer that starts reads the rows after
//! the mark, up to which every key is in the table. The bounds of the open batches are counted here, and written
//! [`STEP`] ahead, as upper bounds may be.
//!
//! Pure: the statements are in `semantics`.

use crate::transaction::{BatchNo, Mid, Side, Stan, Tid, TxnId};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// So many keys are gathered before they are written to the table, terminal by terminal. Few in this room's tests,
/// so that every one of them writes some.
const MERGE_AT: usize = if cfg!(test) { 4 } else { 65_536 };

/// While keys are written, so many for each that is spent.
const MERGE_RATE: usize = 2;

/// How far a bound in the table may be ahead of the count.
pub(super) const STEP: i64 = 32;

/// A payment's key within its terminal.
pub(super) type Trace = (BatchNo, Stan);

/// Keys of one terminal, on their way to the table.
pub(super) type Merged = ((Mid, Tid), Vec<(Trace, TxnId)>);

/// The memory of one writer.
#[derive(Debug)]
pub(super) struct Recent {
    /// Whose turn it is to keep this memory: a later writer's number is higher.
    pub(super) turn: i64,
    /// The keys of transactions up to this one are all in the table.
    mark: TxnId,
    tills: BTreeMap<(Mid, Tid), Till>,
    /// Keys in `tills`.
    held: usize,
    /// Keys spent since the last look for what is due.
    spent: usize,
    /// The terminal whose keys were written last, while keys are written.
    sweep: Option<Option<(Mid, Tid)>>,
    newest: TxnId,
}

/// What is known of one terminal.
#[derive(Debug, Default)]
struct Till {
    open: Option<Open>,
    /// No key of this batch is above this trace number, here or in the table.
    highest: Option<Trace>,
    keys: BTreeMap<Trace, TxnId>,
}

/// The open batch.
#[derive(Debug, Clone, Copy)]
struct Open {
    number: BatchNo,
    debit: Count,
    credit: Count,
}

/// Transactions on one side.
#[derive(Debug, Clone, Copy)]
struct Count {
    /// At most so many.
    used: i64,
    /// What the table says.
    written: i64,
}

/// An open batch as its row says it, before a transaction and after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The open batch.
    pub(super) number: BatchNo,
    /// Debits and credits, the transaction included.
    pub(super) used: (i64, i64),
    /// The same in the table.
    pub(super) written: (i64, i64),
}

impl Recent {
    /// The memory of a writer that starts, with the keys of the transactions after the mark.
    pub(super) fn new(turn: i64, mark: TxnId) -> Self {
        Self { turn, mark, tills: BTreeMap::new(), held: 0, spent: 0, sweep: None, newest: mark }
    }

    /// Whether the key of that transaction must go to the table at once.
    pub(super) fn is_marked(&self, txn: TxnId) -> bool {
        txn <= self.mark
    }

    /// The transaction that spent a key, if it is here.
    pub(super) fn find(&self, terminal: (Mid, Tid), trace: Trace) -> Option<TxnId> {
        self.tills.get(&terminal)?.keys.get(&trace).copied()
    }

    /// Whether the key is above every key of its batch, so that nobody can have spent it.
    pub(super) fn is_above(&self, terminal: (Mid, Tid), trace: Trace) -> bool {
        let highest = self.tills.get(&terminal).and_then(|till| till.highest);
        highest.is_some_and(|(batch, stan)| batch == trace.0 && stan < trace.1)
    }

    /// Whether the highest key of a batch is known.
    pub(super) fn knows(&self, terminal: (Mid, Tid), batch: BatchNo) -> bool {
        self.tills.get(&terminal).and_then(|till| till.highest).is_some_and(|(known, _)| known == batch)
    }

    /// Remembers the highest key of a batch in the table.
    pub(super) fn learn(&mut self, terminal: (Mid, Tid), highest: Trace) {
        let till = self.tills.entry(terminal).or_default();
        let last = (highest.0, Stan::new(Stan::MAX).unwrap_or(highest.1));
        let here = till.keys.range(..=last).next_back().map(|(trace, _)| *trace);
        till.highest =
            Some(here.filter(|trace| trace.0 == highest.0).map_or(highest, |here| here.max(highest)));
    }

    /// Spends a key that is free.
    pub(super) fn spend(&mut self, terminal: (Mid, Tid), trace: Trace, txn: TxnId) {
        let till = self.tills.entry(terminal).or_default();
        self.held += usize::from(till.keys.insert(trace, txn).is_none());
        self.spent += 1;
        self.newest = self.newest.max(txn);
        if let Some(highest) = till.highest.as_mut().filter(|highest| highest.0 == trace.0) {
            *highest = (*highest).max(trace);
        }
    }

    /// Counts a transaction into the open batch: its number and the side's bound. `None`: ask the table.
    pub(super) fn enter(
        &mut self,
        terminal: (Mid, Tid),
        named: Option<BatchNo>,
        side: Side,
    ) -> Option<(BatchNo, i64)> {
        let open = self.tills.get_mut(&terminal)?.open.as_mut()?;
        if named.is_some_and(|named| named != open.number) {
            return None;
        }
        let count = match side {
            Side::Debit => &mut open.debit,
            Side::Credit => &mut open.credit,
            Side::None => return Some((open.number, 0)),
        };
        if count.used >= count.written {
            return None;
        }
        count.used += 1;
        Some((open.number, count.used))
    }

    /// Remembers what the table says of the open batch.
    pub(super) fn opened(&mut self, terminal: (Mid, Tid), bounds: Bounds) {
        let (debit, credit) = (bounds.used.0, bounds.used.1);
        self.tills.entry(terminal).or_default().open = Some(Open {
            number: bounds.number,
            debit: Count { used: debit, written: bounds.written.0 },
            credit: Count { used: credit, written: bounds.written.1 },
        });
    }

    /// The terminal's open batch changes.
    pub(super) fn forget_open(&mut self, terminal: (Mid, Tid)) {
        if let Some(till) = self.tills.get_mut(&terminal) {
            till.open = None;
        }
    }

    /// Takes a terminal's keys out, to be written.
    pub(super) fn take(&mut self, terminal: (Mid, Tid)) -> Vec<(Trace, TxnId)> {
        let keys = self.tills.get_mut(&terminal).map(|till| std::mem::take(&mut till.keys));
        let keys: Vec<_> = keys.unwrap_or_default().into_iter().collect();
        self.held -= keys.len();
        keys
    }

    /// Takes out what is to be written now, in the order of the table, whole terminals at a time; and the new
    /// mark when a round over all terminals has ended.
    pub(super) fn due(&mut self) -> (Vec<Merged>, Option<TxnId>) {
        let spent = std::mem::take(&mut self.spent);
        let mut after = match self.sweep {
            Some(after) => after,
            None if self.held < MERGE_AT => return (Vec::new(), None),
            None => None,
        };
        let (mut due, mut room) = (Vec::new(), spent * MERGE_RATE);
        while room > 0 {
            let start = after.map_or(Unbounded, Excluded);
            let Some((terminal, till)) = self.tills.range_mut((start, Unbounded)).next() else {
                self.sweep = None;
                self.mark = self.all_written();
                return (due, Some(self.mark));
            };
            after = Some(*terminal);
            let keys: Vec<_> = std::mem::take(&mut till.keys).into_iter().collect();
            self.held -= keys.len();
            // A terminal without keys costs its step.
            room = room.saturating_sub(keys.len().max(1));
            if !keys.is_empty() {
                due.push((*terminal, keys));
            }
        }
        self.sweep = Some(after);
        (due, None)
    }

    /// The last transaction before the oldest whose key is still here.
    fn all_written(&self) -> TxnId {
        let oldest = self.tills.values().flat_map(|till| till.keys.values()).min();
        oldest.map_or(self.newest, |oldest| TxnId(oldest.0 - 1)).max(self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(tid: usize) -> (Mid, Tid) {
        (Mid::new("M").unwrap(), Tid::new(&format!("{tid:08}")).unwrap())
    }

    fn trace(batch: u32, stan: u32) -> Trace {
        (BatchNo::new(batch).unwrap(), Stan::new(stan).unwrap())
    }

    #[test]
    fn a_key_above_all_of_its_batch_is_free_without_a_look() {
        // What the table holds at most, what was spent since, and whether a key is known to be free.
        type Row = (Trace, &'static [(u32, u32)], Trace, bool);
        let rows: [Row; 6] = [
            (trace(1, 5), &[], trace(1, 6), true),
            (trace(1, 5), &[], trace(1, 5), false),
            (trace(1, 5), &[(1, 9)], trace(1, 9), false),
            (trace(1, 5), &[(1, 9)], trace(1, 10), true),
            (trace(1, 5), &[(2, 9)], trace(1, 6), true),
            (trace(1, 5), &[], trace(2, 6), false),
        ];
        for (highest, spent, asked, free) in rows {
            let mut recent = Recent::new(1, TxnId(0));
            assert!(!recent.is_above(terminal(1), asked), "nothing is known");
            recent.learn(terminal(1), highest);
            for (id, (batch, stan)) in (1..).zip(spent) {
                recent.spend(terminal(1), trace(*batch, *stan), TxnId(id));
            }
            assert_eq!(recent.is_above(terminal(1), asked), free, "{highest:?} {spent:?} {asked:?}");
        }
    }

    #[test]
    fn what_is_learnt_of_the_table_does_not_hide_what_is_here() {
        let mut recent = Recent::new(1, TxnId(0));
        recent.spend(terminal(1), trace(1, 9), TxnId(1));
        recent.spend(terminal(1), trace(2, 3), TxnId(2));
        recent.learn(terminal(1), trace(1, 5));
        assert!(!recent.is_above(terminal(1), trace(1, 9)) && recent.is_above(terminal(1), trace(1, 10)));
    }

    #[test]
    fn counts_run_up_to_what_the_table_allows() {
        let mut recent = Recent::new(1, TxnId(0));
        let number = BatchNo::new(7).unwrap();
        assert_eq!(recent.enter(terminal(1), None, Side::Debit), None);
        recent.opened(terminal(1), Bounds { number, used: (1, 0), written: (3, 0) });
        let rows = [
            (None, Side::Debit, Some(2)),
            (Some(number), Side::Debit, Some(3)),
            (None, Side::Debit, None),
            (None, Side::Credit, None),
            (None, Side::None, Some(0)),
            (Some(number.next()), Side::None, None),
        ];
        for (named, side, bound) in rows {
            let want = bound.map(|bound| (number, bound));
            assert_eq!(recent.enter(terminal(1), named, side), want, "{named:?} {side:?}");
        }
        recent.forget_open(terminal(1));
        assert_eq!(recent.enter(terminal(1), None, Side::None), None);
    }

    #[test]
    fn keys_are_written_terminal_by_terminal_and_the_mark_follows() {
        let mut recent = Recent::new(1, TxnId(0));
        let (mut id, mut written, mut marks) = (0, std::collections::BTreeSet::new(), Vec::new());
        for round in 1..=100 {
            for place in 0..5 {
                id += 1;
                recent.spend(terminal(place), trace(1, round), TxnId(id));
            }
            let (due, mark) = recent.due();
            for (_, keys) in due {
                written.extend(keys.into_iter().map(|(_, txn)| txn.0));
            }
            if let Some(mark) = mark {
                assert!((1..=mark.0).all(|id| written.contains(&id)), "up to {mark:?} all are written");
                assert!(recent.is_marked(mark) && !recent.is_marked(TxnId(mark.0 + 1)));
                marks.push(mark.0);
            }
            assert!(recent.held <= MERGE_AT + 20, "{} at {round}", recent.held);
            assert_eq!(recent.held + written.len(), id as usize, "none is lost or written twice");
        }
        assert!(marks.len() >= 10 && marks.is_sorted(), "{marks:?}");
        let held = recent.held;
        assert_eq!(recent.take(terminal(0)).len() + recent.held, held);
    }
}
