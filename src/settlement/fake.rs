//! A store and an HSM in memory, for the tests of this room alone.

use crate::hsm::{
    Forward, Hsm, HsmError, IssuedKeys, Key, KeyBlock, MacAlgorithm, MacCheck, MacKey, Open, Opened, Tmk,
    Verb, Zmk, ZoneKey, Zpk,
};
use crate::ledger::Posting;
use crate::lifecycle::State;
use crate::store::{
    Backend, BatchRow, Cleared, Committed, Directory, Filter, Issuer, Merchant, Op, Outcome, Reader, Session,
    SettlementFile, StoreError, Stored,
};
use crate::transaction::{
    Amount, AuthCode, BatchNo, Currency, Day, IssuerId, KeyForm, Kind, LinkTime, Mid, NodeId, Pan,
    ProcessingCode, Refusal, Rrn, SealedPan, Stan, TerminalDialect, Tid, TxnId, ZoneUse,
};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// The day that tests settle.
pub(super) const DAY: Day = Day(20_261_123);
/// A test card.
pub(super) const PAN: &str = "6225880012345675";

/// An approved transaction of [`DAY`].
pub(super) fn txn(id: i64, kind: Kind, minor: i64) -> Stored {
    let amount = Some(Amount::new(minor, Currency::CNY).unwrap());
    let masked = Pan::parse(PAN).unwrap().to_string();
    Stored {
        id: TxnId(id),
        state: State::Approved,
        day: DAY,
        node: NodeId(0),
        dialect: TerminalDialect::UnionPayPos,
        kind,
        processing_code: ProcessingCode::new("000000").unwrap(),
        tid: Tid::new("T0000001").unwrap(),
        mid: Mid::new("M00000000000001").unwrap(),
        batch: BatchNo::FIRST,
        stan: Stan::new(u32::try_from(id).unwrap()).unwrap(),
        requested: amount,
        amount,
        refunded_minor: 0,
        pan: Some(SealedPan { cipher: PAN.bytes().rev().collect(), lookup: [0; 16], masked }),
        expiry: Some("3012".into()),
        card_sequence: None,
        entry_mode: "021".into(),
        condition: "00".into(),
        terminal_time: "1123120000".into(),
        invoice: None,
        rrn: Rrn::from_number(id.unsigned_abs()),
        auth_code: Some(AuthCode::from_number(id.unsigned_abs())),
        code: None,
        refusal: None,
        issuer: IssuerId::new("BANK1").unwrap(),
        link_stan: None,
        link_time: LinkTime::from_number(0),
        issuer_rrn: None,
        additional_amounts: None,
        icc: None,
        original: None,
        claimed_by: None,
        received_ms: 1_795_435_200_000,
        finished_ms: None,
        cleared_day: None,
        taken_back_day: None,
    }
}

/// The merchant and the issuers of [`txn`].
pub(super) fn directory() -> Directory {
    let merchant = Merchant {
        mid: Mid::new("M00000000000001").unwrap(),
        name: "TEA HOUSE".into(),
        city: "SHANGHAI".into(),
        country: "CN".into(),
        mcc: "5411".into(),
        fee_basis_points: "150".into(),
        active: true,
    };
    let issuer = |name: &str, code: &str| Issuer {
        id: IssuerId::new(name).unwrap(),
        acquirer_code: code.into(),
        zpk: None,
        zak: None,
        zmk: None,
    };
    Directory {
        merchants: vec![merchant],
        issuers: vec![issuer("BANK1", "3056000"), issuer("BANK2", "3056001")],
        ..Directory::default()
    }
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) open: i32,
    pub(super) rows: Vec<Stored>,
    pub(super) files: Vec<SettlementFile>,
    pub(super) postings: Vec<Posting>,
    pub(super) directory: Directory,
}

/// A handle; clones share what is stored.
#[derive(Debug, Clone)]
pub(super) struct Fake(pub(super) Arc<Mutex<Memory>>);

impl Fake {
    pub(super) fn new(rows: Vec<Stored>) -> Self {
        let memory = Memory { open: DAY.next().0, rows, directory: directory(), ..Memory::default() };
        Self(Arc::new(Mutex::new(memory)))
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Changes one row.
    pub(super) fn alter(&self, id: i64, change: impl FnOnce(&mut Stored)) {
        self.with(|m| change(m.rows.iter_mut().find(|row| row.id == TxnId(id)).unwrap()));
    }
}

impl Memory {
    fn clear(&mut self, cleared: &Cleared) -> Outcome {
        let fits = |m: &Self, item: &crate::store::ClearedItem| {
            m.rows.iter().any(|row| {
                row.id == item.id
                    && if item.takes_back {
                        row.cleared_day.is_some() && row.taken_back_day.is_none()
                    } else {
                        row.state == State::Approved && row.cleared_day.is_none()
                    }
            })
        };
        if !cleared.items.iter().all(|item| fits(self, item)) {
            return Outcome::Refused(Refusal::InvalidTransaction);
        }
        for item in &cleared.items {
            let row = self.rows.iter_mut().find(|row| row.id == item.id).unwrap();
            let mark = if item.takes_back { &mut row.taken_back_day } else { &mut row.cleared_day };
            *mark = Some(cleared.day);
        }
        self.files.extend(cleared.files.clone());
        self.postings.extend(cleared.postings.clone());
        Outcome::Done
    }
}

impl Backend for Fake {
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
        self.with(|m| {
            let answers = ops.iter().map(|op| {
                let outcome = if let Op::Cleared(cleared) = op {
                    m.clear(cleared)
                } else if let Op::CutOver { from, to, .. } = op {
                    let first = m.open == from.0;
                    m.open = if first { to.0 } else { m.open };
                    if first || m.open == to.0 { Outcome::Done } else { Outcome::Refused(Refusal::System) }
                } else {
                    Outcome::Failed
                };
                Committed { outcome, day: Day(m.open), revision: 0 }
            });
            Ok(answers.collect())
        })
    }
}

impl Reader for Fake {
    fn day(&mut self) -> Result<(Day, i64), StoreError> {
        Ok((Day(self.with(|m| m.open)), 0))
    }
    fn directory(&mut self) -> Result<Directory, StoreError> {
        Ok(self.with(|m| m.directory.clone()))
    }
    fn session(&mut self, _mid: Mid, _tid: Tid) -> Result<Session, StoreError> {
        Ok(Session::default())
    }
    fn transactions(&mut self, filter: &Filter) -> Result<Vec<Stored>, StoreError> {
        let wanted = |row: &&Stored| {
            filter.day.is_none_or(|day| row.day == day)
                && filter.id.is_none_or(|id| row.id == id)
                && filter
                    .in_file_of
                    .is_none_or(|day| row.cleared_day == Some(day) || row.taken_back_day == Some(day))
        };
        Ok(self.with(|m| m.rows.iter().filter(wanted).cloned().collect()))
    }
    fn batches(&mut self) -> Result<Vec<BatchRow>, StoreError> {
        Ok(Vec::new())
    }
    fn files(&mut self, day: Option<Day>) -> Result<Vec<SettlementFile>, StoreError> {
        let wanted = |file: &&SettlementFile| day.is_none_or(|day| file.day == day);
        Ok(self.with(|m| m.files.iter().filter(wanted).cloned().collect()))
    }
    fn postings(&mut self, day: Option<Day>) -> Result<Vec<Posting>, StoreError> {
        let wanted = |posting: &&Posting| day.is_none_or(|day| posting.day == day);
        Ok(self.with(|m| m.postings.iter().filter(wanted).cloned().collect()))
    }
    fn saf_depth(&mut self) -> Result<Vec<(IssuerId, u64, i64)>, StoreError> {
        Ok(Vec::new())
    }
}

/// An HSM that can unseal [`PAN`] and nothing else.
#[derive(Debug)]
pub(super) struct FakeHsm;

fn refuse<'a, T>() -> Verb<'a, T> {
    Box::pin(async { Err(HsmError::Failure("not in this test")) })
}

impl Hsm for FakeHsm {
    fn open<'a>(&'a self, _open: Open<'a>) -> Verb<'a, Opened> {
        refuse()
    }
    fn forward<'a>(&'a self, _forward: Forward<'a>) -> Verb<'a, [u8; 8]> {
        refuse()
    }
    fn mac<'a>(&'a self, _key: MacKey<'a>, _: MacAlgorithm, _data: &'a [u8]) -> Verb<'a, [u8; 8]> {
        refuse()
    }
    fn verify_mac<'a>(&'a self, _key: MacKey<'a>, _check: MacCheck<'a>) -> Verb<'a, ()> {
        refuse()
    }
    fn unseal<'a>(&'a self, pan: &'a SealedPan) -> Verb<'a, Pan> {
        Box::pin(async {
            tokio::task::yield_now().await;
            let digits: String = pan.cipher.iter().rev().map(|b| char::from(*b)).collect();
            Pan::parse(&digits).map_err(|_| HsmError::Sealed)
        })
    }
    fn issue_keys<'a>(&'a self, _tmk: &'a Key<Tmk>, _form: KeyForm) -> Verb<'a, IssuedKeys> {
        refuse()
    }
    fn make_zone_key<'a>(&'a self, _zmk: &'a Key<Zmk>, _of: ZoneUse) -> Verb<'a, ZoneKey> {
        refuse()
    }
    fn take_zone_key<'a>(
        &'a self,
        _zmk: &'a Key<Zmk>,
        _of: ZoneUse,
        _sent: &'a str,
    ) -> Verb<'a, (KeyBlock, String)> {
        refuse()
    }
    fn verify_pin<'a>(
        &'a self,
        _zpk: &'a Key<Zpk>,
        _block: [u8; 8],
        _pan: &'a Pan,
        _reference: &'a Zeroizing<String>,
    ) -> Verb<'a, bool> {
        refuse()
    }
}
