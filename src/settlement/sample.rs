//! Days of trade on the embedded store and the software HSM, for tests: what the rooms make of them
//! together. [`super::fake`] serves where a test has to break something.

use super::{Mode, Report, SettlementError, SettlementOptions, Settler, cut_over, run};
use crate::hsm::{Hsm, Lmk, Open, SoftHsm};
use crate::lifecycle::{ClaimKind, Event};
use crate::store::{
    Backend, Claim, Finish, Issuer, Merchant, NewTransaction, Op, Outcome, Reader, Reference,
    ReversalOutcome, Reverse, Route, StoreOptions, Terminal,
};
use crate::transaction::{
    Amount, AuthCode, Currency, Day, IssuerId, Kind, LinkTime, Mid, NodeId, OriginalKey, Pan, ProcessingCode,
    ResponseCode, Rrn, SealedPan, Stan, TerminalDialect, Tid, TxnId,
};
use std::sync::Arc;

/// The day on which trade begins.
pub(crate) const FIRST: Day = Day(20_261_123);
/// The card of every transaction.
pub(crate) const PAN: &str = "6225880012345675";

/// One terminal at one issuer.
pub(crate) struct Trade {
    _dir: tempfile::TempDir,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) hsm: SoftHsm,
    pub(crate) options: SettlementOptions,
    last: i64,
}

impl Trade {
    /// A new store with a merchant at 1.5 %, its terminal, and an issuer.
    pub(crate) fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("tollgate.db").display());
        let (backend, reader) =
            crate::store::open(&StoreOptions { url, first_day: FIRST, ca_file: None }).unwrap();
        let options =
            SettlementOptions { dir: dir.path().join("settlement"), ..SettlementOptions::default() };
        let hsm = SoftHsm::new(&Lmk::from_bytes([7; 32])).unwrap();
        let mut trade = Self { _dir: dir, backend, reader, hsm, options, last: 0 };
        for reference in references() {
            assert!(matches!(trade.commit(Op::Put(Box::new(reference))), Outcome::Done));
        }
        trade
    }

    fn commit(&mut self, op: Op) -> Outcome {
        self.backend.commit(&[op]).unwrap().remove(0).outcome
    }

    fn sealed(&self) -> SealedPan {
        let pan = Pan::parse(PAN).unwrap();
        let open = Open { keys: &[], mac: None, pan: Some(&pan), track2: None, track_encrypted: false };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.hsm.open(open)).unwrap().sealed.unwrap()
    }

    /// Sends a transaction and has it approved; it claims the one with trace number `original`.
    pub(crate) fn approved(&mut self, kind: Kind, minor: i64, original: Option<i64>) -> i64 {
        let id = self.sent(kind, minor, original);
        self.finish(id, Event::Approved);
        id
    }

    /// Sends a transaction and leaves it without an outcome. Its id is its trace number too.
    pub(crate) fn sent(&mut self, kind: Kind, minor: i64, original: Option<i64>) -> i64 {
        self.last += 1;
        let id = self.last;
        let claim = ClaimKind::of(kind).zip(original).map(|(how, original)| Claim {
            how,
            key: OriginalKey { stan: Some(stan(original)), ..OriginalKey::default() },
            ceiling_percent: 115,
            lenient: false,
        });
        let new = NewTransaction {
            id: TxnId(id),
            node: NodeId(0),
            dialect: TerminalDialect::UnionPayPos,
            kind,
            processing_code: ProcessingCode::new("000000").unwrap(),
            tid: Tid::new("T0000001").unwrap(),
            mid: Mid::new("M00000000000001").unwrap(),
            batch: None,
            stan: stan(id),
            amount: Some(Amount::new(minor, Currency::CNY).unwrap()),
            pan: Some(self.sealed()),
            expiry: Some("3012".into()),
            card_sequence: None,
            entry_mode: "021".into(),
            condition: "00".into(),
            terminal_time: "1123120000".into(),
            invoice: None,
            auth_code: None,
            rrn: Rrn::from_number(id.unsigned_abs()),
            issuer: IssuerId::new("BANK1").unwrap(),
            link_stan: Some(stan(id)),
            link_time: LinkTime::new("1123040000").unwrap(),
            key_generation: 1,
            received_ms: 1_795_435_200_000 + id,
            claim,
        };
        let outcome = self.commit(Op::Send(Arc::new(new)));
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        id
    }

    /// Gives a transaction its outcome.
    pub(crate) fn finish(&mut self, id: i64, event: Event) {
        let finish = Finish {
            id: TxnId(id),
            event,
            code: Some(ResponseCode::new("00").unwrap()),
            refusal: None,
            auth_code: Some(AuthCode::from_number(id.unsigned_abs())),
            issuer_rrn: None,
            approved: None,
            additional_amounts: None,
            icc: None,
            finished_ms: 1_795_435_201_000 + id,
        };
        let outcome = self.commit(Op::Finish(Box::new(finish)));
        assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
    }

    /// Reverses a transaction of the open batch.
    pub(crate) fn reverse(&mut self, id: i64) {
        self.last += 1;
        let reverse = Reverse {
            id: TxnId(self.last),
            node: NodeId(0),
            dialect: TerminalDialect::UnionPayPos,
            tid: Tid::new("T0000001").unwrap(),
            mid: Mid::new("M00000000000001").unwrap(),
            batch: None,
            stan: stan(id),
            processing_code: ProcessingCode::new("000000").unwrap(),
            reason: None,
            rrn: Rrn::from_number(self.last.unsigned_abs()),
            received_ms: 1_795_435_202_000 + self.last,
        };
        let outcome = self.commit(Op::Reverse(Box::new(reverse)));
        let undone =
            matches!(outcome, Outcome::Reversal(ReversalOutcome::Reversed(_) | ReversalOutcome::InFlight(_)));
        assert!(undone, "{outcome:?}");
    }

    /// Closes the day; answers which.
    pub(crate) fn cut_over(&mut self) -> Day {
        cut_over(&mut *self.reader, &mut *self.backend, 1).unwrap().0
    }

    /// Settles a day.
    pub(crate) fn settle(&mut self, day: Day) -> Result<Report, SettlementError> {
        let mut settler = Settler {
            reader: &mut *self.reader,
            backend: &mut *self.backend,
            hsm: &self.hsm,
            options: &self.options,
        };
        run(&mut settler, day, Mode::Settle)
    }
}

fn stan(number: i64) -> Stan {
    Stan::new(u32::try_from(number).unwrap()).unwrap()
}

fn references() -> [Reference; 4] {
    let issuer = IssuerId::new("BANK1").unwrap();
    let mid = Mid::new("M00000000000001").unwrap();
    [
        Reference::Merchant(Merchant {
            mid,
            name: "TEA HOUSE".into(),
            city: "SHANGHAI".into(),
            country: "CN".into(),
            mcc: "5411".into(),
            fee_basis_points: "150".into(),
            active: true,
        }),
        Reference::Terminal(Terminal {
            tid: Tid::new("T0000001").unwrap(),
            mid,
            dialect: TerminalDialect::UnionPayPos,
            currency: Currency::CNY,
            tmk: None,
            static_keys: None,
            active: true,
        }),
        Reference::Issuer(Issuer {
            id: issuer,
            acquirer_code: "3056000".into(),
            zpk: None,
            zak: None,
            zmk: None,
        }),
        Reference::Route(Route { prefix: "622588".into(), pan_min: 16, pan_max: 16, issuer }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger;
    use crate::lifecycle::State;
    use crate::settlement::{Verdict, ipm};
    use crate::store::Filter;

    fn net(trade: &mut Trade) -> i128 {
        let journal = trade.reader.postings(None).unwrap();
        ledger::check(&journal).unwrap();
        let bank = (Currency::CNY, ledger::receivable(IssuerId::new("BANK1").unwrap()));
        ledger::trial_balance(&journal).get(&bank).map_or(0, |net| net.balance())
    }

    fn counts(trade: &mut Trade, day: Day) -> (usize, usize) {
        let report = trade.settle(day).unwrap();
        assert!(report.exceptions.is_empty());
        (report.presented, report.taken_back)
    }

    #[test]
    fn a_day_of_trade_is_settled_once() {
        let mut trade = Trade::begin();
        let sale = trade.approved(Kind::Sale, 10_000, None);
        let voided = trade.approved(Kind::Sale, 500, None);
        trade.approved(Kind::Void, 500, Some(voided));
        trade.approved(Kind::Refund, 2_000, Some(sale));
        let hold = trade.approved(Kind::PreAuth, 800, None);
        trade.approved(Kind::Completion, 700, Some(hold));
        let lost = trade.sent(Kind::Sale, 1, None);
        trade.finish(lost, Event::TimedOut);
        let undone = trade.approved(Kind::Sale, 3, None);
        trade.reverse(undone);
        assert!(trade.settle(FIRST).is_err(), "the day is open");
        assert_eq!(trade.cut_over(), FIRST);
        let report = trade.settle(FIRST).unwrap();
        assert_eq!((report.presented, report.taken_back, report.verdict), (3, 0, Verdict::Settled));
        assert_eq!(net(&mut trade), 10_000 - 2_000 + 700);
        let postings = trade.reader.postings(None).unwrap();
        let again = trade.settle(FIRST).unwrap();
        assert_eq!((again.verdict, again.presented), (Verdict::SettledBefore, 3));
        assert_eq!(again.files, report.files);
        assert_eq!(trade.reader.postings(None).unwrap(), postings);
        std::fs::remove_dir_all(&trade.options.dir).unwrap();
        assert_eq!(trade.settle(FIRST).unwrap().restored.len(), report.files.len());
        let file = std::fs::read(trade.options.dir.join("ipm-BANK1-CNY-20261123.ipm")).unwrap();
        assert_eq!(ipm::verify(&file).unwrap().records[1].text(2).as_deref(), Some(PAN));
    }

    #[test]
    fn an_open_transaction_of_the_day_holds_its_settlement() {
        let mut trade = Trade::begin();
        let open = trade.sent(Kind::Sale, 10_000, None);
        trade.cut_over();
        let error = trade.settle(FIRST).unwrap_err();
        assert!(matches!(error, SettlementError::Unfinished { count: 1, .. }), "{error}");
        trade.finish(open, Event::Approved);
        assert_eq!(counts(&mut trade, FIRST), (1, 0), "it keeps its day");
    }

    /// A sale undone on its day, after its day, or after its file: the money is the same.
    #[test]
    fn undone_early_or_late_the_money_is_the_same() {
        for how in [Kind::Reversal, Kind::Void] {
            for late in 0..3 {
                let mut trade = Trade::begin();
                let kept = trade.approved(Kind::Sale, 7, None);
                let sale = trade.approved(Kind::Sale, 10_000, None);
                if late > 0 {
                    trade.cut_over();
                }
                if late > 1 {
                    assert_eq!(counts(&mut trade, FIRST), (2, 0));
                }
                if how == Kind::Void {
                    trade.approved(Kind::Void, 10_000, Some(sale));
                } else {
                    trade.reverse(sale);
                }
                for _ in late.min(1)..2 {
                    trade.cut_over();
                }
                let first = counts(&mut trade, FIRST);
                let second = counts(&mut trade, FIRST.next());
                let want = if late > 1 { ((2, 0), (0, 1)) } else { ((1, 0), (0, 0)) };
                assert_eq!((first, second), want, "{how:?} {late}");
                assert_eq!(net(&mut trade), 7, "{how:?} {late}");
                let filter = Filter { id: Some(TxnId(kept)), ..Filter::default() };
                let row = trade.reader.transactions(&filter).unwrap().remove(0);
                assert_eq!((row.state, row.cleared_day), (State::Approved, Some(FIRST)));
            }
        }
    }

    #[test]
    fn a_void_reversed_after_its_day_lets_the_sale_clear_late() {
        let mut trade = Trade::begin();
        let sale = trade.approved(Kind::Sale, 10_000, None);
        let void = trade.approved(Kind::Void, 10_000, Some(sale));
        trade.cut_over();
        assert_eq!(counts(&mut trade, FIRST), (0, 0));
        trade.reverse(void);
        trade.cut_over();
        assert_eq!(counts(&mut trade, FIRST), (0, 0));
        assert_eq!(counts(&mut trade, FIRST.next()), (1, 0));
        assert_eq!(net(&mut trade), 10_000);
    }

    /// Days settled out of order: what a later day presented, its own day does not present again.
    #[test]
    fn a_sale_that_a_later_day_presented_is_not_presented_by_its_own() {
        let mut trade = Trade::begin();
        let sale = trade.approved(Kind::Sale, 10_000, None);
        let void = trade.approved(Kind::Void, 10_000, Some(sale));
        trade.cut_over();
        trade.reverse(void);
        trade.cut_over();
        assert_eq!(counts(&mut trade, FIRST.next()), (1, 0));
        assert_eq!(counts(&mut trade, FIRST), (0, 0));
        assert_eq!(net(&mut trade), 10_000);
    }
}
