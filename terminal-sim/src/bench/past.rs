//! A past for a new store: approved sales of other terminals, through the same store, before the clock starts.

use anyhow::{Context, Result, bail};
use std::sync::Arc;
use tollgate::clock::{Clock, TxnIds};
use tollgate::lifecycle::Event;
use tollgate::store::{self, Backend, Finish, NewTransaction, Op, Outcome, StoreOptions};
use tollgate::transaction::{
    Amount, AuthCode, BatchNo, Currency, Day, IssuerId, Kind, LinkTime, Mid, NodeId, ProcessingCode,
    ResponseCode, Rrn, SealedPan, Stan, TerminalDialect, Tid, TxnId,
};

/// Sales of one commit: one of each terminal.
const TERMINALS: u32 = 1000;
/// Sales of a terminal in one batch.
const BATCH: u32 = 900;

/// Stores `count` sales and their approvals, rounded up to whole commits. How many they were.
pub(super) fn store(url: &str, mid: &str, count: u32) -> Result<u32> {
    let clock = Clock::system(0).context("the clock")?;
    let options = StoreOptions { url: url.to_owned(), first_day: Day(clock.today()), ca_file: None };
    let (mut backend, _) = store::open(&options)?;
    let turns = count.div_ceil(TERMINALS);
    let rrns = Op::Reserve { counter: "rrn".to_owned(), count: turns * TERMINALS, max: 99_999_999 };
    let Outcome::Reserved(first_rrn) = store::commit_one(&mut *backend, rrns)?.outcome else {
        bail!("the store reserved no RRNs");
    };
    let past = Past {
        mid: Mid::new(mid)?,
        issuer: IssuerId::new("BANKA")?,
        link_time: LinkTime::new(&clock.utc())?,
        local_time: clock.local(),
        rrn_day: format!("{}{:03}", clock.year() % 10, clock.day_of_year()),
        ids: TxnIds::new(1),
        from_ms: clock.now_ms() - i64::from(turns) - 60_000,
    };
    for turn in 0..turns {
        let ids: Vec<i64> = (0..TERMINALS).map(|_| past.ids.next(past.from_ms + i64::from(turn))).collect();
        let numbered = (0..TERMINALS).zip(&ids);
        let rrn = first_rrn + turn * TERMINALS;
        let sales: Result<Vec<Op>> =
            numbered.map(|(till, id)| past.sale(TxnId(*id), (till, turn), rrn + till)).collect();
        commit(&mut *backend, &sales?)?;
        let approvals: Vec<Op> = ids.iter().map(|id| past.approval(TxnId(*id), turn)).collect();
        commit(&mut *backend, &approvals)?;
    }
    Ok(turns * TERMINALS)
}

fn commit(backend: &mut dyn Backend, ops: &[Op]) -> Result<()> {
    let taken = |outcome: &Outcome| matches!(outcome, Outcome::Stored { .. } | Outcome::Finished { .. });
    if !backend.commit(ops)?.iter().all(|committed| taken(&committed.outcome)) {
        bail!("the store did not take its past");
    }
    Ok(())
}

/// What all its sales have in common.
struct Past {
    mid: Mid,
    issuer: IssuerId,
    link_time: LinkTime,
    local_time: String,
    rrn_day: String,
    ids: TxnIds,
    from_ms: i64,
}

impl Past {
    fn sale(&self, id: TxnId, (till, turn): (u32, u32), rrn: u32) -> Result<Op> {
        let stan = Stan::new(1 + turn % BATCH);
        Ok(Op::Send(Arc::new(NewTransaction {
            id,
            node: NodeId(1),
            dialect: TerminalDialect::UnionPayPos,
            kind: Kind::Sale,
            processing_code: ProcessingCode::from_number(0),
            tid: Tid::from_number(90_000_000 + u64::from(till)),
            mid: self.mid,
            batch: BatchNo::new(1 + turn / BATCH),
            stan: stan.context("a trace number")?,
            amount: Some(Amount::new(1_234, Currency::CNY)?),
            pan: Some(SealedPan {
                cipher: vec![7; 44],
                lookup: u128::from(rrn).to_le_bytes(),
                masked: "622588******5675".to_owned(),
            }),
            expiry: Some("3012".to_owned()),
            card_sequence: None,
            entry_mode: "021".to_owned(),
            condition: "00".to_owned(),
            terminal_time: self.local_time.clone(),
            invoice: None,
            auth_code: None,
            rrn: Rrn::new(&format!("{}{rrn:08}", self.rrn_day))?,
            issuer: self.issuer,
            link_stan: stan,
            link_time: self.link_time,
            key_generation: 1,
            received_ms: self.from_ms + i64::from(turn),
            claim: None,
        })))
    }

    fn approval(&self, id: TxnId, turn: u32) -> Op {
        Op::Finish(Box::new(Finish {
            id,
            event: Event::Approved,
            code: Some(ResponseCode::from_number(0)),
            refusal: None,
            auth_code: Some(AuthCode::from_number(u64::from(turn))),
            issuer_rrn: None,
            approved: None,
            additional_amounts: None,
            icc: None,
            finished_ms: self.from_ms + i64::from(turn) + 5,
        }))
    }
}
