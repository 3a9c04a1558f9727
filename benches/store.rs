//! Group commit on SQLite: 1, 32 and 256 payments a commit, stored as sent and then finished.
//!
//! Throughput is payments a second; each is two durable writes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use tollgate::lifecycle::Event;
use tollgate::store::{Backend, Finish, NewTransaction, Op, StoreOptions, open};
use tollgate::transaction::{
    Amount, AuthCode, Currency, Day, IssuerId, Kind, LinkTime, Mid, NodeId, ProcessingCode, ResponseCode,
    Rrn, SealedPan, Stan, TerminalDialect, Tid, TxnId,
};

const NOW_MS: i64 = 1_795_000_000_000;

fn text<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("a constant of this file"))
}

/// The `turn`-th sale of a terminal.
fn sale(id: i64, terminal: u64, turn: u32) -> Op {
    Op::Send(Arc::new(NewTransaction {
        id: TxnId(id),
        node: NodeId(1),
        dialect: TerminalDialect::UnionPayPos,
        kind: Kind::Sale,
        processing_code: text::<ProcessingCode>("000000"),
        tid: Tid::from_number(terminal),
        mid: text::<Mid>("104110070110814"),
        // A batch of its own for every 900 sales, as a terminal settles.
        batch: tollgate::transaction::BatchNo::new(1 + turn / 900),
        stan: Stan::new(1 + turn % 900).unwrap_or_else(|| unreachable!("below a thousand")),
        amount: Amount::new(10_000, Currency::CNY).ok(),
        pan: Some(SealedPan { cipher: vec![7; 40], lookup: [9; 16], masked: "622588******5675".into() }),
        expiry: Some("3012".into()),
        card_sequence: None,
        entry_mode: "021".into(),
        condition: "00".into(),
        terminal_time: "1123101530".into(),
        invoice: None,
        auth_code: None,
        rrn: Rrn::from_number(id.unsigned_abs()),
        issuer: text::<IssuerId>("bank-a"),
        link_stan: Stan::new(turn % 999_999),
        link_time: text::<LinkTime>("1123021530"),
        key_generation: 1,
        received_ms: NOW_MS + id,
        claim: None,
    }))
}

fn approval(id: i64) -> Op {
    Op::Finish(Box::new(Finish {
        id: TxnId(id),
        event: Event::Approved,
        code: Some(text::<ResponseCode>("00")),
        refusal: None,
        auth_code: Some(AuthCode::from_number(id.unsigned_abs())),
        issuer_rrn: None,
        approved: None,
        additional_amounts: None,
        icc: None,
        finished_ms: NOW_MS + id + 20,
    }))
}

fn commit(backend: &mut dyn Backend, ops: &[Op]) {
    let outcomes = backend.commit(ops);
    assert!(outcomes.is_ok_and(|done| done.len() == ops.len()), "a commit failed");
}

fn group_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store/sqlite");
    for payments in [1_u64, 32, 256] {
        let Ok(folder) = tempfile::tempdir() else { unreachable!("a temporary folder") };
        let url = format!("sqlite:{}", folder.path().join("bench.db").display());
        let options = StoreOptions { url, first_day: Day(20_261_123), ca_file: None };
        let Ok((mut backend, _)) = open(&options) else { unreachable!("a new store opens") };
        let (mut id, mut turn) = (0, 0);
        group.throughput(Throughput::Elements(payments));
        group.bench_function(BenchmarkId::new("sent and approved", payments), |bencher| {
            bencher.iter(|| {
                let first = id + 1;
                let sales: Vec<Op> = (0..payments).zip(first..).map(|(t, id)| sale(id, t, turn)).collect();
                let ends: Vec<Op> = (0..payments).zip(first..).map(|(_, id)| approval(id)).collect();
                commit(&mut *backend, &sales);
                commit(&mut *backend, &ends);
                id += payments.cast_signed();
                turn += 1;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
