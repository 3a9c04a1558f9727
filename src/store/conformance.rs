//! What both stores must do alike: sequences of ops with the outcomes they must give, as tables.
//!
//! Every sequence runs twice on every store: as written, and with every op committed a second
//! time, as the engine does after a lost connection. The outcomes must be the same.

use super::*;
use crate::lifecycle::{ClaimKind, Event, State};
use crate::transaction::*;
use std::sync::Arc;

/// The business day of a new store in these tests.
pub(super) const FIRST_DAY: Day = Day(20_261_123);

const MID: &str = "104110070110814";
const TID: &str = "00000101";
const T0: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;

/// A line of a sequence.
enum Line {
    /// Commit the op; its outcome in short must be this.
    Do(Op, &'static str),
    /// As `Do`, for an op that does not repeat itself (a counter).
    Once(Op, &'static str),
    /// The transaction must stand so.
    Is(i64, &'static str),
}
use Line::{Do, Is, Once};

fn card(digit: u8) -> SealedPan {
    SealedPan { cipher: vec![digit; 24], lookup: [digit; 16], masked: "622588******5675".into() }
}

fn issuer(name: &str) -> IssuerId {
    IssuerId::new(name).unwrap()
}

/// A sale of terminal [`TID`]: identity, STAN and the end of its RRN are the same number.
fn payment(id: i64, kind: Kind, minor: i64) -> NewTransaction {
    NewTransaction {
        id: TxnId(id),
        node: NodeId(1),
        dialect: TerminalDialect::Edc,
        kind,
        processing_code: ProcessingCode::new("000000").unwrap(),
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: None,
        stan: Stan::new(id as u32).unwrap(),
        amount: (kind != Kind::Balance).then(|| Amount::new(minor, Currency::CNY).unwrap()),
        pan: Some(card(1)),
        expiry: Some("3012".into()),
        card_sequence: None,
        entry_mode: "021".into(),
        condition: "00".into(),
        terminal_time: "1123101530".into(),
        invoice: Some(format!("{id:06}")),
        auth_code: None,
        rrn: Rrn::from_number(id as u64),
        issuer: issuer("bank-a"),
        link_stan: Stan::new(id as u32 + 500),
        link_time: LinkTime::new("1123021530").unwrap(),
        key_generation: 3,
        received_ms: T0 + id,
        claim: None,
    }
}

fn send(new: NewTransaction) -> Op {
    Op::Send(Arc::new(new))
}

fn sale(id: i64, minor: i64) -> Op {
    send(payment(id, Kind::Sale, minor))
}

fn with(op: Op, change: impl FnOnce(&mut NewTransaction)) -> Op {
    let Op::Send(mut new) = op else { panic!("only a Send is changed") };
    change(Arc::make_mut(&mut new));
    Op::Send(new)
}

/// A claimant that names its original by STAN.
fn claimant(id: i64, kind: Kind, original: i64, minor: i64) -> NewTransaction {
    let key = OriginalKey { stan: Stan::new(original as u32), ..OriginalKey::default() };
    let how = ClaimKind::of(kind).unwrap();
    let lenient = kind.is_advice();
    NewTransaction {
        claim: Some(Claim { how, key, ceiling_percent: 115, lenient }),
        ..payment(id, kind, minor)
    }
}

fn claims(id: i64, kind: Kind, original: i64, minor: i64) -> Op {
    send(claimant(id, kind, original, minor))
}

fn named(op: Op, key: OriginalKey) -> Op {
    with(op, |new| new.claim.as_mut().unwrap().key = key)
}

fn outcome(id: i64, event: Event, code: &str) -> Finish {
    Finish {
        id: TxnId(id),
        event,
        code: ResponseCode::new(code).ok(),
        refusal: (event == Event::TimedOut).then_some(Refusal::IssuerTimeout),
        auth_code: (event == Event::Approved).then(|| AuthCode::from_number(id as u64)),
        issuer_rrn: None,
        approved: None,
        additional_amounts: None,
        icc: None,
        finished_ms: T0 + id + 20,
    }
}

fn finish(id: i64, event: Event, code: &str) -> Op {
    Op::Finish(Box::new(outcome(id, event, code)))
}

fn approve(id: i64) -> Op {
    finish(id, Event::Approved, "00")
}

fn decline(id: i64) -> Op {
    finish(id, Event::Declined, "51")
}

fn time_out(id: i64) -> Op {
    finish(id, Event::TimedOut, "68")
}

fn reverse(id: i64, original: i64) -> Op {
    Op::Reverse(Box::new(Reverse {
        id: TxnId(id),
        node: NodeId(1),
        dialect: TerminalDialect::Edc,
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: None,
        stan: Stan::new(original as u32).unwrap(),
        processing_code: ProcessingCode::new("000000").unwrap(),
        reason: ResponseCode::new("98").ok(),
        rrn: Rrn::from_number(id as u64),
        received_ms: T0 + id,
    }))
}

fn reversing(op: Op, change: impl FnOnce(&mut Reverse)) -> Op {
    let Op::Reverse(mut reverse) = op else { panic!("only a Reverse is changed") };
    change(&mut reverse);
    Op::Reverse(reverse)
}

fn lines(batch: Option<u32>) -> Op {
    Op::BatchLines {
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: batch.and_then(BatchNo::new),
    }
}

fn close(batch: Option<u32>, at_ms: i64) -> Op {
    Op::CloseBatch {
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: batch.and_then(BatchNo::new),
        uploaded: Some(1),
        reason: CloseReason::Balanced,
        at_ms,
    }
}

fn sign_on(keys: Option<(i64, &str)>) -> Op {
    let keys = keys.map(|(generation, text)| WorkingKeys {
        generation,
        tpk: format!("{text}-tpk"),
        tak: format!("{text}-tak"),
        tdk: None,
    });
    Op::SignOn { tid: Tid::new(TID).unwrap(), mid: Mid::new(MID).unwrap(), keys, at_ms: T0 + 500 }
}

fn settle(balanced: bool, at_ms: i64) -> Op {
    let side = |count, minor| SideTotals { count, minor };
    Op::Settle(Box::new(Settle {
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: None,
        terminal: Totals { debit: side(1, 1000), credit: side(0, 0) },
        host: Totals { debit: side(1, 1000), credit: side(2, 7) },
        balanced,
        at_ms,
    }))
}

fn due(node: u8, now_ms: i64) -> Op {
    Op::SafDue { issuer: issuer("bank-a"), node: NodeId(node), now_ms, lease_ms: HOUR, limit: 2 }
}

fn delivered(id: i64) -> Op {
    Op::SafDone { id, verdict: SafVerdict::Delivered(ResponseCode::new("00").unwrap()) }
}

fn named_batch(op: Op, batch: u32) -> Op {
    with(op, |new| new.batch = BatchNo::new(batch))
}

/// An outcome in a few words.
fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Stored { batch, original: None } => format!("stored in {}", batch.number()),
        Outcome::Stored { batch, original: Some(o) } => format!("stored in {} for {}", batch.number(), o.id),
        Outcome::Duplicate(of) => format!("duplicate of {} {}", of.id, of.state.name()),
        Outcome::ReversedBefore => "reversed before".into(),
        Outcome::OtherRoute(issuer) => format!("route to {issuer}"),
        Outcome::Refused(refusal) => format!("refused {}", refusal.name()),
        Outcome::Finished { state, reversal_queued } => {
            format!("{}{}", state.name(), if *reversal_queued { ", reversal" } else { "" })
        }
        Outcome::Lost { state } => format!("lost to {}", state.name()),
        Outcome::Reversal(found) => match found {
            ReversalOutcome::Reversed(of) => format!("reversed {}", of.id),
            ReversalOutcome::InFlight(of) => format!("in flight {}", of.id),
            ReversalOutcome::NothingToDo(of) => format!("nothing to do for {}", of.id),
            ReversalOutcome::Unknown => "unknown".into(),
            ReversalOutcome::Busy => "busy".into(),
        },
        Outcome::OpenBatch(batch) => format!("open batch {}", batch.number()),
        Outcome::Lines { batch, lines, settled, uploaded, closed } => {
            brief_lines(*batch, lines)
                + &settled.as_ref().map_or(String::new(), |s| {
                    format!(
                        "; settled {} {}",
                        s.host.credit.count,
                        if s.balanced { "balanced" } else { "different" }
                    )
                })
                + &format!("; uploaded {uploaded}")
                + if *closed { "; closed" } else { "" }
        }
        Outcome::Saf { entries, next_ms } => {
            let each = |e: &SafEntry| {
                let original = e.original.as_ref().map_or(String::new(), |o| format!(" for {}", o.id));
                format!("{}:{:?} {}{original} x{}", e.id, e.what, e.txn.id, e.attempts)
            };
            let all: Vec<_> = entries.iter().map(each).collect();
            let next = next_ms.map_or(String::new(), |ms| format!(" next +{}", ms - T0));
            format!("saf [{}]{next}", all.join(", "))
        }
        Outcome::Reserved(first) => format!("reserved {first}"),
        Outcome::KeyUses(uses) => format!("{uses} uses"),
        Outcome::OtherKeys => "other keys".into(),
        Outcome::ZoneKey(state) => zone_brief(state),
        Outcome::NoIssuer => "no issuer".into(),
        Outcome::Recovered(count) => format!("recovered {count}"),
        Outcome::Rewrapped(count) => format!("rewrapped {count}"),
        Outcome::Done => "done".into(),
        Outcome::Failed => "failed".into(),
    }
}

fn brief_lines(batch: BatchNo, lines: &[BatchLine]) -> String {
    let each = |l: &BatchLine| {
        let of = l.original_kind.map_or(String::new(), |k| format!(" of {}", k.name()));
        format!("{}{of} {} {}={}", l.kind.name(), l.state.name(), l.count, l.minor)
    };
    let all: Vec<_> = lines.iter().map(each).collect();
    format!("batch {}: {}", batch.number(), all.join(", "))
}

/// How a transaction stands, in a few words.
fn standing(stored: &Stored) -> String {
    let mut text = stored.state.name().to_owned();
    if stored.refunded_minor != 0 {
        text += &format!(", refunded {}", stored.refunded_minor);
    }
    if let Some(by) = stored.claimed_by {
        text += &format!(", claimed by {by}");
    }
    text
}

type Sequence = (&'static str, Vec<Line>);

fn sequences() -> Vec<Sequence> {
    [
        payments(),
        reversals(),
        voids(),
        refunds(),
        pre_authorizations(),
        batches(),
        routes_and_keys(),
        zone_keys(),
        saf(),
        rest(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn payments() -> Vec<Sequence> {
    let other_terminal = |op| with(op, |new| new.tid = Tid::new("00000102").unwrap());
    vec![
        (
            "a sale is approved",
            vec![Do(sale(1, 1000), "stored in 1"), Do(approve(1), "approved"), Is(1, "approved")],
        ),
        ("a sale is declined", vec![Do(sale(1, 1000), "stored in 1"), Do(decline(1), "declined")]),
        (
            "a silent issuer",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(time_out(1), "timed-out, reversal"),
                Once(approve(1), "lost to timed-out"),
                Is(1, "timed-out"),
                Do(due(1, T0 + 100), "saf [1:Reversal 1 x0]"),
            ],
        ),
        (
            "what was never sent needs no reversal",
            vec![Do(sale(1, 1000), "stored in 1"), Do(finish(1, Event::NotSent, "91"), "declined")],
        ),
        (
            "a balance inquiry that times out is over",
            vec![
                Do(send(payment(1, Kind::Balance, 0)), "stored in 1"),
                Do(time_out(1), "timed-out"),
                Do(due(1, T0 + 100), "saf []"),
            ],
        ),
        (
            "a key serves once",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(with(sale(2, 1000), |new| new.stan = Stan::new(1).unwrap()), "duplicate of 1 sent"),
                Do(approve(1), "approved"),
                Do(with(sale(3, 900), |new| new.stan = Stan::new(1).unwrap()), "duplicate of 1 approved"),
                Do(other_terminal(with(sale(4, 900), |new| new.stan = Stan::new(1).unwrap())), "stored in 1"),
            ],
        ),
        (
            "two outcomes: the first counts",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Once(time_out(1), "lost to approved"),
                Once(decline(1), "lost to approved"),
                Is(1, "approved"),
            ],
        ),
    ]
}

fn reversals() -> Vec<Sequence> {
    vec![
        (
            "an approved sale is reversed once",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(reverse(2, 1), "reversed 1"),
                Do(reverse(3, 1), "nothing to do for 1"),
                Is(1, "reversed"),
                Is(2, "approved"),
                Do(due(1, T0 + 100), "saf [1:Reversal 1 x0]"),
            ],
        ),
        (
            "a sale is reversed in flight, and approved late",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(reverse(2, 1), "in flight 1"),
                Is(1, "abandoned"),
                Do(approve(1), "reversed, reversal"),
                Is(1, "reversed"),
            ],
        ),
        (
            "a sale is reversed in flight, and declined",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(reverse(2, 1), "in flight 1"),
                Do(decline(1), "declined"),
                Do(due(1, T0 + 100), "saf []"),
            ],
        ),
        (
            "the reversal comes first",
            vec![
                Do(reverse(2, 1), "unknown"),
                Do(sale(1, 1000), "reversed before"),
                Do(sale(3, 1000), "stored in 1"),
            ],
        ),
        (
            "nothing to undo",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(decline(1), "declined"),
                Do(reverse(2, 1), "nothing to do for 1"),
                Do(sale(3, 1000), "stored in 1"),
                Do(time_out(3), "timed-out, reversal"),
                Do(reverse(4, 3), "nothing to do for 3"),
            ],
        ),
        (
            "another processing code is another transaction",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(
                    reversing(reverse(2, 1), |r| r.processing_code = ProcessingCode::new("200000").unwrap()),
                    "unknown",
                ),
                Is(1, "approved"),
            ],
        ),
        (
            "after the batch closed nothing is reversed",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(close(None, T0 + 50), "open batch 2"),
                Do(reversing(reverse(2, 1), |r| r.batch = BatchNo::new(1)), "unknown"),
                Is(1, "approved"),
            ],
        ),
    ]
}

fn voids() -> Vec<Sequence> {
    let approved_sale = || [Do(sale(1, 1000), "stored in 1"), Do(approve(1), "approved")];
    let after = |more: Vec<Line>| approved_sale().into_iter().chain(more).collect::<Vec<_>>();
    let elsewhere = with(claims(2, Kind::Void, 1, 1000), |new| {
        new.tid = Tid::new("00000102").unwrap();
        let key = OriginalKey { rrn: Some(Rrn::from_number(1)), ..OriginalKey::default() };
        new.claim.as_mut().unwrap().key = key;
    });
    let by_rrn = OriginalKey { rrn: Some(Rrn::from_number(1)), ..OriginalKey::default() };
    let by_invoice = OriginalKey { invoice: Some("000001".into()), ..OriginalKey::default() };
    let contradiction =
        OriginalKey { rrn: Some(Rrn::from_number(9)), stan: Stan::new(1), ..OriginalKey::default() };
    vec![
        (
            "a void claims, settles and cannot be repeated",
            after(vec![
                Do(claims(2, Kind::Void, 1, 1000), "stored in 1 for 1"),
                Is(1, "approved, claimed by 2"),
                Do(claims(3, Kind::Void, 1, 1000), "refused invalid-transaction"),
                Do(approve(2), "approved"),
                Is(1, "voided, claimed by 2"),
                Do(claims(4, Kind::Void, 1, 1000), "refused invalid-transaction"),
                Do(reverse(5, 1), "nothing to do for 1"),
            ]),
        ),
        (
            "a declined void gives the sale back",
            after(vec![
                Do(claims(2, Kind::Void, 1, 1000), "stored in 1 for 1"),
                Do(decline(2), "declined"),
                Is(1, "approved"),
                Do(claims(3, Kind::Void, 1, 1000), "stored in 1 for 1"),
            ]),
        ),
        (
            "a void that times out is reversed, and the sale stands",
            after(vec![
                Do(claims(2, Kind::Void, 1, 1000), "stored in 1 for 1"),
                Do(time_out(2), "timed-out, reversal"),
                Is(1, "approved"),
                Do(due(1, T0 + 100), "saf [1:Reversal 2 for 1 x0]"),
            ]),
        ),
        (
            "a reversed void reinstates the sale",
            after(vec![
                Do(claims(2, Kind::Void, 1, 1000), "stored in 1 for 1"),
                Do(approve(2), "approved"),
                Do(reverse(3, 2), "reversed 2"),
                Is(1, "approved"),
                Do(claims(4, Kind::Void, 1, 1000), "stored in 1 for 1"),
            ]),
        ),
        (
            "a sale whose void is on its way is busy",
            after(vec![
                Do(claims(2, Kind::Void, 1, 1000), "stored in 1 for 1"),
                Do(reverse(3, 1), "busy"),
                Once(decline(2), "declined"),
                Do(reverse(3, 1), "reversed 1"),
            ]),
        ),
        (
            "a void names its sale by RRN or invoice",
            after(vec![
                Do(named(claims(2, Kind::Void, 1, 1000), by_rrn), "stored in 1 for 1"),
                Do(decline(2), "declined"),
                Do(named(claims(3, Kind::Void, 1, 1000), by_invoice), "stored in 1 for 1"),
                Do(decline(3), "declined"),
                Do(named(claims(4, Kind::Void, 1, 1000), contradiction), "refused original-not-found"),
            ]),
        ),
        (
            "what a void must not do",
            after(vec![
                Do(claims(2, Kind::Void, 1, 999), "refused original-amount"),
                Do(claims(3, Kind::Void, 77, 1000), "refused original-not-found"),
                Do(with(claims(4, Kind::Void, 1, 1000), |n| n.pan = Some(card(2))), "refused original-card"),
                Do(with(claims(5, Kind::Void, 1, 1000), |n| n.issuer = issuer("bank-b")), "route to bank-a"),
                Do(elsewhere, "refused original-not-found"),
                Do(claims(6, Kind::CompletionVoid, 1, 1000), "refused original-not-found"),
                Is(1, "approved"),
            ]),
        ),
        (
            "only an approved sale of the open batch is voided",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(claims(2, Kind::Void, 1, 1000), "refused original-not-found"),
                Do(decline(1), "declined"),
                Do(claims(3, Kind::Void, 1, 1000), "refused original-not-found"),
                Do(sale(4, 1000), "stored in 1"),
                Do(approve(4), "approved"),
                Do(close(None, T0 + 50), "open batch 2"),
                Do(
                    named(
                        claims(5, Kind::Void, 4, 1000),
                        OriginalKey { batch: BatchNo::new(1), stan: Stan::new(4), ..OriginalKey::default() },
                    ),
                    "refused original-not-found",
                ),
            ],
        ),
    ]
}

fn refunds() -> Vec<Sequence> {
    let by_rrn = |op| named(op, OriginalKey { rrn: Some(Rrn::from_number(1)), ..OriginalKey::default() });
    let part = |id, minor| {
        let approved = Amount::new(minor, Currency::CNY).ok();
        Op::Finish(Box::new(Finish { approved, ..outcome(id, Event::Approved, "10") }))
    };
    vec![
        (
            "refunds never exceed the sale",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(by_rrn(claims(2, Kind::Refund, 1, 400)), "stored in 1 for 1"),
                Is(1, "approved, refunded 400"),
                Do(by_rrn(claims(3, Kind::Refund, 1, 601)), "refused original-amount"),
                Do(by_rrn(claims(4, Kind::Refund, 1, 600)), "stored in 1 for 1"),
                Do(decline(4), "declined"),
                Is(1, "approved, refunded 400"),
                Do(approve(2), "approved"),
                Is(1, "approved, refunded 400"),
                Do(claims(5, Kind::Void, 1, 1000), "refused invalid-transaction"),
                Do(reverse(6, 1), "nothing to do for 1"),
            ],
        ),
        (
            "a refund of an earlier batch, and of a voided sale",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(close(None, T0 + 50), "open batch 2"),
                Do(by_rrn(claims(2, Kind::Refund, 1, 1000)), "stored in 2 for 1"),
                Do(reverse(3, 2), "in flight 2"),
                Do(approve(2), "reversed, reversal"),
                Is(1, "approved"),
                Do(sale(4, 1000), "stored in 2"),
                Do(approve(4), "approved"),
                Do(claims(5, Kind::Void, 4, 1000), "stored in 2 for 4"),
                Do(approve(5), "approved"),
                Do(claims(6, Kind::Refund, 4, 1000), "refused invalid-transaction"),
            ],
        ),
        (
            "a voided refund, and the void reversed",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(claims(2, Kind::Refund, 1, 300), "stored in 1 for 1"),
                Do(approve(2), "approved"),
                Do(claims(3, Kind::Void, 2, 300), "stored in 1 for 2"),
                Do(approve(3), "approved"),
                Is(1, "approved"),
                Is(2, "voided, claimed by 3"),
                Do(reverse(4, 3), "reversed 3"),
                Is(1, "approved, refunded 300"),
                Is(2, "approved"),
            ],
        ),
        (
            "a refund approved in part counts with its part",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(claims(2, Kind::Refund, 1, 300), "stored in 1 for 1"),
                Do(part(2, 100), "approved"),
                Is(1, "approved, refunded 100"),
            ],
        ),
        (
            "a refund without any key claims nothing",
            vec![Do(send(payment(1, Kind::Refund, 500)), "stored in 1"), Do(approve(1), "approved")],
        ),
    ]
}

fn pre_authorizations() -> Vec<Sequence> {
    let hold = || [Do(send(payment(1, Kind::PreAuth, 1000)), "stored in 1"), Do(approve(1), "approved")];
    let after = |more: Vec<Line>| hold().into_iter().chain(more).collect::<Vec<_>>();
    let by_code = |op, number| {
        named(op, OriginalKey { auth_code: Some(AuthCode::from_number(number)), ..OriginalKey::default() })
    };
    vec![
        (
            "a completion, up to 115 percent",
            after(vec![
                Do(claims(2, Kind::Completion, 1, 1151), "refused original-amount"),
                Do(claims(3, Kind::Completion, 1, 1150), "stored in 1 for 1"),
                Do(approve(3), "approved"),
                Is(1, "completed, claimed by 3"),
                Do(claims(4, Kind::Completion, 1, 1000), "refused invalid-transaction"),
                Do(claims(5, Kind::PreAuthCancel, 1, 1000), "refused invalid-transaction"),
                Do(claims(6, Kind::CompletionVoid, 3, 1150), "stored in 1 for 3"),
                Do(approve(6), "approved"),
                Is(3, "voided, claimed by 6"),
            ]),
        ),
        (
            "a reversed completion gives the hold back",
            after(vec![
                Do(claims(2, Kind::Completion, 1, 1000), "stored in 1 for 1"),
                Do(approve(2), "approved"),
                Do(reverse(3, 2), "reversed 2"),
                Is(1, "approved"),
            ]),
        ),
        (
            "a cancelled hold is gone",
            after(vec![
                Do(claims(2, Kind::PreAuthCancel, 1, 900), "refused original-amount"),
                Do(claims(3, Kind::PreAuthCancel, 1, 1000), "stored in 1 for 1"),
                Do(approve(3), "approved"),
                Is(1, "cancelled, claimed by 3"),
                Do(claims(4, Kind::Completion, 1, 1000), "refused original-not-found"),
                Do(claims(5, Kind::PreAuthCancel, 1, 1000), "refused original-not-found"),
            ]),
        ),
        (
            "a completion finds its hold by authorisation id, days after its batch closed",
            after(vec![
                Do(close(None, T0 + 50), "open batch 2"),
                Do(close(Some(2), T0 + 30 * HOUR), "open batch 3"),
                Do(by_code(claims(2, Kind::Completion, 1, 1000), 7), "refused original-not-found"),
                Do(by_code(claims(3, Kind::Completion, 1, 1000), 1), "stored in 3 for 1"),
            ]),
        ),
        (
            "an advice is approved at once, settles its claim, and waits for its issuer",
            after(vec![
                Do(claims(2, Kind::CompletionAdvice, 1, 1000), "stored in 1 for 1"),
                Is(1, "completed, claimed by 2"),
                Is(2, "approved"),
                Do(due(1, T0 + 100), "saf [1:Advice 2 for 1 x0]"),
                Do(reverse(3, 2), "reversed 2"),
                Is(1, "approved"),
                Do(due(1, T0 + 100), "saf [1:Advice 2 for 1 x0]"),
                Do(delivered(1), "done"),
                Do(due(1, T0 + 100), "saf [2:Reversal 2 for 1 x0]"),
            ]),
        ),
        (
            "an advice is taken whatever its original",
            after(vec![
                Do(claims(2, Kind::CompletionAdvice, 77, 1000), "stored in 1"),
                Do(claims(3, Kind::CompletionAdvice, 1, 9000), "stored in 1"),
                Is(1, "approved"),
                Do(send(payment(4, Kind::OfflineSale, 700)), "stored in 1"),
                Is(4, "approved"),
            ]),
        ),
    ]
}

fn batches() -> Vec<Sequence> {
    let item = |stan, minor| UploadItem { stan: Stan::new(stan).unwrap(), minor };
    let upload = Op::Upload {
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        batch: None,
        items: vec![item(1, 1000), item(1, 1000), item(2, 5)],
        at_ms: T0,
    };
    vec![
        (
            "lines group by kind, state and what was voided",
            vec![
                Do(lines(None), "batch 1: ; uploaded 0"),
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(sale(2, 500), "stored in 1"),
                Do(approve(2), "approved"),
                Do(claims(3, Kind::Void, 2, 500), "stored in 1 for 2"),
                Do(approve(3), "approved"),
                Do(sale(4, 70), "stored in 1"),
                Do(reverse(5, 4), "in flight 4"),
                Do(decline(4), "declined"),
                Do(upload, "done"),
                Do(settle(false, T0 + 40), "done"),
                Do(
                    lines(None),
                    "batch 1: sale approved 1=1000, sale declined 1=70, sale voided 1=500, \
                     void of sale approved 1=500; settled 2 different; uploaded 2",
                ),
                Do(close(None, T0 + 50), "open batch 2"),
                Do(close(Some(1), T0 + 60), "open batch 2"),
                Do(lines(None), "batch 2: ; uploaded 0"),
            ],
        ),
        (
            "a batch with something on its way stays open",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(close(None, T0 + 50), "refused system"),
                Do(decline(1), "declined"),
                Do(close(None, T0 + 50), "open batch 2"),
                Do(sale(2, 1000), "stored in 2"),
            ],
        ),
        (
            "the terminal names its batch",
            vec![
                Do(named_batch(sale(1, 1000), 7), "stored in 7"),
                Do(approve(1), "approved"),
                Do(sign_on(None), "open batch 7"),
                Do(close(Some(7), T0 + 50), "open batch 8"),
                Do(named_batch(sale(2, 1000), 7), "refused batch-not-found"),
                Do(named_batch(sale(3, 1000), 12), "stored in 12"),
                Do(sign_on(None), "open batch 12"),
                Do(named_batch(sale(4, 1000), 12), "stored in 12"),
                Do(close(Some(99), T0 + 60), "open batch 12"),
            ],
        ),
        (
            "a batch that agreed closes at the next sign-on",
            vec![
                Do(sale(1, 1000), "stored in 1"),
                Do(approve(1), "approved"),
                Do(settle(false, T0 + 40), "done"),
                Do(sign_on(None), "open batch 1"),
                Do(settle(true, T0 + 41), "done"),
                Do(sign_on(None), "open batch 2"),
                Do(sign_on(None), "open batch 2"),
            ],
        ),
        (
            "a sale after totals that agreed keeps the batch open",
            vec![
                Do(settle(true, T0 + 1), "done"),
                Do(sale(2, 1000), "stored in 1"),
                Do(approve(2), "approved"),
                Do(sign_on(None), "open batch 1"),
            ],
        ),
        (
            "used keys are forgotten a day after their batch closed",
            vec![
                Do(named_batch(sale(1, 1000), 5), "stored in 5"),
                Do(approve(1), "approved"),
                Do(close(Some(5), T0 + 50), "open batch 6"),
                Do(
                    named_batch(with(sale(2, 1000), |n| n.stan = Stan::new(1).unwrap()), 5),
                    "duplicate of 1 approved",
                ),
                Do(close(Some(6), T0 + 60 + 24 * HOUR), "open batch 7"),
                Do(
                    named_batch(with(sale(3, 1000), |n| n.stan = Stan::new(1).unwrap()), 5),
                    "refused batch-not-found",
                ),
            ],
        ),
    ]
}

fn routes_and_keys() -> Vec<Sequence> {
    let reserve = |count, max| Op::Reserve { counter: "stan:bank-a/1".into(), count, max };
    vec![(
        "blocks of numbers follow one another and wrap",
        vec![
            Once(reserve(10, 25), "reserved 1"),
            Once(reserve(10, 25), "reserved 11"),
            Once(reserve(10, 25), "reserved 1"),
            Once(reserve(15, 25), "reserved 11"),
            Once(reserve(1, 25), "reserved 1"),
        ],
    )]
}

/// In short: the key in force, the former one, the pending one, whether a change is asked for, when it changed.
fn zone_brief(state: &ZoneKeyState) -> String {
    let text = |key: &Option<String>| key.clone().unwrap_or_else(|| "-".into());
    let pending = state
        .pending
        .as_ref()
        .map_or_else(|| "-".into(), |p| format!("{}({})", p.block, p.sent.as_deref().unwrap_or("theirs")));
    let asked = if state.asked_ms.is_some() { " asked" } else { "" };
    let changed = state.changed_ms.map_or_else(String::new, |at| format!(" at {}", at - T0));
    format!("{} {} {pending}{asked}{changed}", text(&state.current), text(&state.former))
}

fn zone_keys() -> Vec<Sequence> {
    let step = |of, at, step| {
        Op::ZoneKey(Box::new(ZoneKeyChange { issuer: issuer("bank-a"), of, step, at_ms: T0 + at }))
    };
    let put = |zpk: &str, zak: &str| {
        Op::Put(Box::new(Reference::Issuer(Issuer {
            id: issuer("bank-a"),
            acquirer_code: "48021234".into(),
            zpk: Some(zpk.into()),
            zak: Some(zak.into()),
            zmk: Some("W".into()),
        })))
    };
    let ours = |block: &str, sent: &str| {
        let (block, kcv) = (block.to_owned(), "4FE9FD".to_owned());
        ZoneStep::Offer(PendingKey { block, sent: Some(sent.to_owned()), kcv })
    };
    let theirs =
        |block: &str| ZoneStep::Offer(PendingKey { block: block.into(), sent: None, kcv: "4FE9FD".into() });
    let agree = |block: &str| ZoneStep::Agree { block: block.into() };
    let refuse = |block: &str| ZoneStep::Refuse { block: block.into() };
    let prove = |block: &str| ZoneStep::Prove { block: block.into() };
    let (zpk, zak) = (ZoneUse::Zpk, ZoneUse::Zak);
    vec![
        (
            "a MAC key is changed by us",
            vec![
                Do(step(zak, 1, ZoneStep::Ask), "no issuer"),
                Do(put("P", "A"), "done"),
                Do(step(zak, 2, ZoneStep::Ask), "A - - asked"),
                Do(step(zak, 3, ours("B", "b")), "A - B(b) asked"),
                Do(step(zak, 4, ours("C", "c")), "A - B(b) asked"),
                Do(step(zak, 4, theirs("C")), "A - B(b) asked"),
                Do(step(zak, 5, agree("C")), "A - B(b) asked"),
                Do(step(zak, 5, refuse("C")), "A - B(b) asked"),
                Do(step(zak, 6, agree("B")), "B A - at 6"),
                Do(step(zak, 7, prove("A")), "B A - at 6"),
                Do(step(zak, 8, prove("B")), "B - - at 6"),
                Do(step(zpk, 9, ZoneStep::Ask), "P - - asked"),
                Do(step(zpk, 9, ZoneStep::Forget), "P - -"),
            ],
        ),
        (
            "a key that was never proven is not kept, the one that was is",
            vec![
                Do(put("P", "A"), "done"),
                Once(step(zak, 1, theirs("B")), "A - B(theirs)"),
                Once(step(zak, 2, theirs("C")), "A - C(theirs)"),
                Once(step(zak, 3, agree("C")), "C A - at 3"),
                Once(step(zak, 4, theirs("D")), "C A D(theirs) at 3"),
                Once(step(zak, 5, agree("D")), "D A - at 5"),
                Once(step(zak, 6, prove("D")), "D - - at 5"),
            ],
        ),
        (
            "a PIN key has no former one, and a refused one leaves nothing",
            vec![
                Do(put("P", "A"), "done"),
                Do(step(zpk, 1, ours("Q", "q")), "P - Q(q)"),
                Do(step(zpk, 2, refuse("Q")), "P - -"),
                Do(step(zpk, 3, ours("R", "r")), "P - R(r)"),
                Do(step(zpk, 4, agree("R")), "R - - at 4"),
            ],
        ),
        (
            "an issuer that is put as it was keeps its changed keys, another key takes their place",
            vec![
                Do(put("P", "A"), "done"),
                Do(step(zpk, 1, ours("Q", "q")), "P - Q(q)"),
                Do(step(zpk, 2, agree("Q")), "Q - - at 2"),
                Do(put("P", "A"), "done"),
                Do(step(zpk, 3, ZoneStep::Forget), "Q - - at 2"),
                Do(put("X", "A"), "done"),
                Do(step(zpk, 4, ZoneStep::Forget), "X - -"),
            ],
        ),
    ]
}

fn saf() -> Vec<Sequence> {
    let of_card = |id, digit| with(sale(id, 100), |new| new.pan = Some(card(digit)));
    let retry = |id, at_ms| Op::SafDone { id, verdict: SafVerdict::Retry { at_ms } };
    let parked = |id| Op::SafDone { id, verdict: SafVerdict::Parked(ResponseCode::new("30").unwrap()) };
    let sending = Op::SafSending {
        id: 1,
        stan: Stan::new(77).unwrap(),
        rrn: Rrn::from_number(8),
        link_time: LinkTime::new("1123021600").unwrap(),
    };
    let unknown =
        |id, digit| [Do(of_card(id, digit), "stored in 1"), Do(time_out(id), "timed-out, reversal")];
    let queue = || [unknown(1, 1), unknown(2, 1), unknown(3, 2), unknown(4, 3)].into_iter().flatten();
    vec![
        (
            "each card in its order, as many as asked for",
            queue()
                .chain([
                    Do(due(1, T0 + 1000), "saf [1:Reversal 1 x0, 3:Reversal 3 x0] next +24"),
                    Once(sending, "done"),
                    Do(delivered(3), "done"),
                    Do(retry(1, T0 + 5000), "done"),
                    Do(due(1, T0 + 1000), "saf [4:Reversal 4 x0] next +5000"),
                    Do(due(1, T0 + 5000), "saf [1:Reversal 1 x1, 4:Reversal 4 x0]"),
                    Do(delivered(1), "done"),
                    Do(delivered(4), "done"),
                    Do(due(1, T0 + 5000), "saf [2:Reversal 2 x0]"),
                ])
                .collect(),
        ),
        (
            "a parked entry holds its card and nobody else",
            queue()
                .chain([
                    Do(parked(1), "done"),
                    Do(due(1, T0 + 1000), "saf [3:Reversal 3 x0, 4:Reversal 4 x0]"),
                ])
                .collect(),
        ),
        (
            "one node at a time",
            queue()
                .chain([
                    Do(due(1, T0 + 1000), "saf [1:Reversal 1 x0, 3:Reversal 3 x0] next +24"),
                    Do(due(2, T0 + 2000), "saf [] next +3601000"),
                    Do(due(2, T0 + 1000 + HOUR), "saf [1:Reversal 1 x0, 3:Reversal 3 x0] next +24"),
                ])
                .collect(),
        ),
    ]
}

fn rest() -> Vec<Sequence> {
    let recover = |node| Op::Recover { node: NodeId(node), now_ms: T0 + 900 };
    vec![(
        "a node that starts reverses its own",
        vec![
            Do(sale(1, 1000), "stored in 1"),
            Do(sale(2, 1000), "stored in 1"),
            Do(reverse(3, 2), "in flight 2"),
            Do(sale(4, 1000), "stored in 1"),
            Do(approve(4), "approved"),
            Do(claims(5, Kind::Void, 4, 1000), "stored in 1 for 4"),
            Do(with(sale(6, 1000), |new| new.node = NodeId(2)), "stored in 1"),
            Once(recover(1), "recovered 3"),
            Do(recover(1), "recovered 0"),
            Is(1, "timed-out"),
            Is(2, "reversed"),
            Is(4, "approved"),
            Is(5, "timed-out"),
            Is(6, "sent"),
        ],
    )]
}

/// One store under test.
pub(super) struct Subject {
    /// Writes.
    pub(super) backend: Box<dyn Backend>,
    /// Reads.
    pub(super) reader: Box<dyn Reader>,
}

impl Subject {
    fn commit(&mut self, op: &Op) -> Outcome {
        self.backend.commit(std::slice::from_ref(op)).unwrap().pop().unwrap().outcome
    }

    fn find(&mut self, id: i64) -> Stored {
        let filter = Filter { id: Some(TxnId(id)), ..Filter::default() };
        self.reader.transactions(&filter).unwrap().pop().unwrap_or_else(|| panic!("no transaction {id}"))
    }

    fn run(&mut self, name: &str, lines: &[Line], repeat: bool) {
        for (number, line) in lines.iter().enumerate() {
            let place = format!("{name}, line {}{}", number + 1, if repeat { ", repeated" } else { "" });
            match line {
                Do(op, want) => {
                    assert_eq!(brief(&self.commit(op)), *want, "{place}");
                    if repeat {
                        assert_eq!(brief(&self.commit(op)), *want, "{place}, second time");
                    }
                }
                Once(op, want) => assert_eq!(brief(&self.commit(op)), *want, "{place}"),
                Is(id, want) => assert_eq!(standing(&self.find(*id)), *want, "{place}"),
            }
        }
    }
}

/// Everything, on new stores of one kind.
pub(super) fn check(new: &mut dyn FnMut() -> Subject) {
    for (name, lines) in sequences() {
        for repeat in [false, true] {
            new().run(name, &lines, repeat);
        }
    }
    for case in CASES {
        case(&mut new());
    }
}

/// What does not fit a line.
const CASES: &[fn(&mut Subject)] = &[
    every_column_reads_back,
    a_slice_answers_in_order,
    a_full_side_refuses,
    working_keys_have_two_generations,
    uses_of_working_keys_are_claimed,
    reference_data_reads_back,
    key_blocks_move_where_they_still_stand,
    the_day_flips_once,
    a_day_clears_once,
    filters_select,
    batches_read_back,
];

fn every_column_reads_back(store: &mut Subject) {
    let new = NewTransaction {
        card_sequence: Some("001".into()),
        auth_code: AuthCode::new("A1B2C3").ok(),
        ..payment(1, Kind::Sale, 1000)
    };
    store.commit(&send(new.clone()));
    let done = Finish {
        auth_code: AuthCode::new("Z9").ok(),
        issuer_rrn: Rrn::new("ISSUER000001").ok(),
        approved: Amount::new(600, Currency::CNY).ok(),
        additional_amounts: Some("1001156C000000012345".into()),
        icc: Some(vec![0x91, 0x02, 0, 0xFF]),
        ..outcome(1, Event::Approved, "10")
    };
    store.commit(&Op::Finish(Box::new(done)));
    let read = store.find(1);
    assert!(new.same_request(&read));
    let want = Stored {
        id: TxnId(1),
        state: State::Approved,
        day: FIRST_DAY,
        node: new.node,
        dialect: new.dialect,
        kind: new.kind,
        processing_code: new.processing_code,
        tid: new.tid,
        mid: new.mid,
        batch: BatchNo::FIRST,
        stan: new.stan,
        requested: new.amount,
        amount: Amount::new(600, Currency::CNY).ok(),
        refunded_minor: 0,
        pan: new.pan,
        expiry: new.expiry,
        card_sequence: new.card_sequence,
        entry_mode: new.entry_mode,
        condition: new.condition,
        terminal_time: new.terminal_time,
        invoice: new.invoice,
        rrn: new.rrn,
        auth_code: AuthCode::new("Z9").ok(),
        code: ResponseCode::new("10").ok(),
        refusal: None,
        issuer: new.issuer,
        link_stan: new.link_stan,
        link_time: new.link_time,
        issuer_rrn: Rrn::new("ISSUER000001").ok(),
        additional_amounts: Some("1001156C000000012345".into()),
        icc: Some(vec![0x91, 0x02, 0, 0xFF]),
        original: None,
        claimed_by: None,
        received_ms: new.received_ms,
        finished_ms: Some(T0 + 21),
        cleared_day: None,
        taken_back_day: None,
    };
    assert_eq!(format!("{read:?}"), format!("{want:?}"));
    assert_eq!(read.pan, want.pan);
}

/// Terminals side by side, as the engine brings them: new, repeated, referring and finished ops mixed.
fn a_slice_answers_in_order(store: &mut Subject) {
    let at =
        |id: i64, terminal: u32| with(sale(id, 100), |new| new.tid = Tid::from_number(u64::from(terminal)));
    let run = |store: &mut Subject, ops: &[Op]| -> Vec<String> {
        store.backend.commit(ops).unwrap().iter().map(|c| brief(&c.outcome)).collect()
    };
    let first: Vec<Op> = (1..=50).map(|n| at(n, n as u32)).collect();
    assert_eq!(run(store, &first), vec!["stored in 1"; 50]);
    let mut second: Vec<Op> = (1..=25).map(approve).collect();
    second.extend((26..=40).map(decline));
    second.extend((41..=50).map(time_out));
    let mut want = vec!["approved"; 25];
    want.extend(["declined"; 15]);
    want.extend(["timed-out, reversal"; 10]);
    assert_eq!(run(store, &second), want);
    assert_eq!(run(store, &second), want, "asked again");
    let third = [
        at(101, 1),
        with(claims(102, Kind::Void, 2, 100), |n| n.tid = Tid::from_number(2)),
        with(at(103, 3), |n| n.stan = Stan::new(3).unwrap()),
        Op::Ping,
        at(4, 4),
        time_out(5),
        with(at(106, 6), |n| n.batch = BatchNo::new(9)),
        at(107, 1077),
    ];
    let want = [
        "stored in 1",
        "stored in 1 for 2",
        "duplicate of 3 approved",
        "done",
        "stored in 1",
        "lost to approved",
        "stored in 9",
        "stored in 1",
    ];
    assert_eq!(run(store, &third), want);
    assert_eq!(run(store, &third), want, "asked again");
}

fn a_full_side_refuses(store: &mut Subject) {
    for id in 1..=1000 {
        assert_eq!(brief(&store.commit(&sale(id, 1))), "stored in 1");
        let done = if id == 500 { decline(id) } else { approve(id) };
        store.commit(&done);
    }
    // 999 are approved, one was declined.
    assert_eq!(brief(&store.commit(&sale(1001, 1))), "refused batch-full");
    assert_eq!(brief(&store.commit(&sale(1001, 1))), "refused batch-full");
    assert_eq!(brief(&store.commit(&claims(1002, Kind::Refund, 7, 1))), "stored in 1 for 7");
    store.commit(&reverse(1003, 8));
    assert_eq!(brief(&store.commit(&sale(1004, 1))), "stored in 1");
    assert_eq!(brief(&store.commit(&sale(1005, 1))), "refused batch-full");
}

fn working_keys_have_two_generations(store: &mut Subject) {
    let (mid, tid) = (Mid::new(MID).unwrap(), Tid::new(TID).unwrap());
    let generations = |store: &mut Subject| {
        let session = store.reader.session(mid, tid).unwrap();
        (session.current.map(|k| (k.generation, k.tpk)), session.previous.map(|k| k.generation))
    };
    assert_eq!(generations(store), (None, None));
    store.commit(&sign_on(Some((1, "a"))));
    assert_eq!(generations(store), (Some((1, "a-tpk".into())), None));
    for _ in 0..2 {
        store.commit(&sign_on(Some((2, "b"))));
        assert_eq!(generations(store), (Some((2, "b-tpk".into())), Some(1)));
    }
    store.commit(&sign_on(Some((2, "c"))));
    assert_eq!(generations(store), (Some((3, "c-tpk".into())), Some(2)), "a generation only grows");
    store.commit(&Op::KeysProven { tid, mid, generation: 2 });
    assert_eq!(generations(store).1, Some(2), "the one before proves nothing");
    store.commit(&Op::KeysProven { tid, mid, generation: 3 });
    assert_eq!(generations(store), (Some((3, "c-tpk".into())), None));
}

fn uses_of_working_keys_are_claimed(store: &mut Subject) {
    let (mid, tid) = (Mid::new(MID).unwrap(), Tid::new(TID).unwrap());
    let claim = |generation, count| Op::ClaimKeyUses { tid, mid, generation, count };
    assert_eq!(brief(&store.commit(&claim(1, 5))), "other keys", "before the first sign-on");
    let rows = [
        (Some((1, "a")), claim(1, 5), "5 uses", 5),
        (None, claim(1, 1000), "1005 uses", 1005),
        (None, claim(2, 1), "other keys", 1005),
        // Repeated: the keys are the same, and so is their count.
        (Some((1, "a")), claim(1, 0), "1005 uses", 1005),
        (Some((2, "b")), claim(1, 7), "other keys", 0),
        (None, claim(2, 7), "7 uses", 7),
    ];
    for (at, (keys, claim, expected, uses)) in rows.into_iter().enumerate() {
        if keys.is_some() {
            store.commit(&sign_on(keys));
        }
        assert_eq!(brief(&store.commit(&claim)), expected, "row {at}");
        assert_eq!(store.reader.session(mid, tid).unwrap().uses, uses, "row {at}");
    }
}

fn reference_data_reads_back(store: &mut Subject) {
    let merchant = Merchant {
        mid: Mid::new(MID).unwrap(),
        name: "Teahouse".into(),
        city: "Hangzhou".into(),
        country: "CN".into(),
        mcc: "5812".into(),
        fee_basis_points: "62.5".into(),
        active: true,
    };
    let keys = WorkingKeys { generation: 1, tpk: "P".into(), tak: "M".into(), tdk: Some("D".into()) };
    let terminal = Terminal {
        tid: Tid::new(TID).unwrap(),
        mid: Mid::new(MID).unwrap(),
        dialect: TerminalDialect::Edc,
        currency: Currency::CNY,
        tmk: Some("K".into()),
        static_keys: Some(keys),
        active: false,
    };
    let route = Route { prefix: "622588".into(), pan_min: 16, pan_max: 19, issuer: issuer("bank-a") };
    let bank = Issuer {
        id: issuer("bank-a"),
        acquirer_code: "48021234".into(),
        zpk: Some("Z".into()),
        zak: None,
        zmk: Some("W".into()),
    };
    let key = NamedKey { name: "zpk-a".into(), block: "B".into(), kcv: "08D7B4".into(), usage: "zpk".into() };
    let before = store.reader.day().unwrap().1;
    for reference in [
        Reference::Merchant(Merchant { active: false, ..merchant.clone() }),
        Reference::Merchant(merchant.clone()),
        Reference::Terminal(terminal.clone()),
        Reference::Route(route.clone()),
        Reference::Issuer(bank.clone()),
        Reference::Key(key.clone()),
    ] {
        store.commit(&Op::Put(Box::new(reference)));
    }
    store.commit(&sign_on(Some((4, "a"))));
    let pending = PendingKey { block: "Y".into(), sent: Some("y".into()), kcv: "08D7B4".into() };
    let change = ZoneKeyChange {
        issuer: issuer("bank-a"),
        of: ZoneUse::Zpk,
        step: ZoneStep::Offer(pending),
        at_ms: T0,
    };
    store.commit(&Op::ZoneKey(Box::new(change)));
    let read = store.reader.directory().unwrap();
    assert_eq!(read.revision, before + 7);
    assert_eq!(read.zone_keys.iter().map(zone_brief).collect::<Vec<_>>(), ["Z - Y(y)"]);
    assert_eq!(read.merchants, [merchant]);
    assert_eq!(read.terminals.len(), 1);
    assert_eq!(read.terminals[0].0, terminal);
    assert_eq!(read.terminals[0].1.current.as_ref().map(|k| k.generation), Some(4));
    assert_eq!((read.routes, read.issuers, read.keys), (vec![route], vec![bank], vec![key]));
}

/// Every column that holds a key block is found, moved once, and only from what stood there.
fn key_blocks_move_where_they_still_stand(store: &mut Subject) {
    let keys = |n: i64, name: &str| WorkingKeys {
        generation: n,
        tpk: format!("{name}-tpk"),
        tak: format!("{name}-tak"),
        tdk: Some(format!("{name}-tdk")),
    };
    let (tid, mid) = (Tid::new(TID).unwrap(), Mid::new(MID).unwrap());
    let terminal = Terminal {
        tid,
        mid,
        dialect: TerminalDialect::Edc,
        currency: Currency::CNY,
        tmk: Some("tmk".into()),
        static_keys: Some(keys(1, "static")),
        active: true,
    };
    let (zpk, zak) = (Some("zpk".into()), Some("zak".into()));
    let zmk = Some("zmk".into());
    let bank = Issuer { id: issuer("bank-a"), acquirer_code: "48021234".into(), zpk, zak, zmk };
    let key = NamedKey { name: "n".into(), block: "named".into(), kcv: "08D7B4".into(), usage: "zpk".into() };
    for reference in [Reference::Terminal(terminal), Reference::Issuer(bank), Reference::Key(key)] {
        store.commit(&Op::Put(Box::new(reference)));
    }
    let at_ms = T0;
    store.commit(&Op::SignOn { tid, mid, keys: Some(keys(1, "first")), at_ms });
    store.commit(&Op::SignOn { tid, mid, keys: Some(keys(2, "second")), at_ms });
    store.commit(&Op::ClaimKeyUses { tid, mid, generation: 2, count: 40 });
    let sessions = store.reader.directory().unwrap().terminals;
    assert_eq!(sessions.iter().map(|(_, session)| session.uses).collect::<Vec<_>>(), [40]);
    let offer =
        |block: &str| ZoneStep::Offer(PendingKey { block: block.into(), sent: None, kcv: "08D7B4".into() });
    for step in [offer("zak-2"), ZoneStep::Agree { block: "zak-2".into() }, offer("zak-3")] {
        let change = ZoneKeyChange { issuer: issuer("bank-a"), of: ZoneUse::Zak, step, at_ms };
        store.commit(&Op::ZoneKey(Box::new(change)));
    }
    let blocks = |store: &mut Subject| -> Vec<(KeySlot, String)> {
        let read = store.reader.directory().unwrap();
        read.key_blocks().into_iter().map(|(slot, block)| (slot, block.to_owned())).collect()
    };
    let before = blocks(store);
    let mut texts: Vec<&str> = before.iter().map(|(_, block)| block.as_str()).collect();
    texts.sort_unstable();
    let want = [
        "first-tak",
        "first-tdk",
        "first-tpk",
        "named",
        "second-tak",
        "second-tdk",
        "second-tpk",
        "static-tak",
        "static-tdk",
        "static-tpk",
        "tmk",
        "zak",
        "zak-2",
        "zak-3",
        "zmk",
        "zpk",
    ];
    assert_eq!(texts, want);
    let moves: Vec<Rewrapped> = before
        .iter()
        .map(|(slot, from)| Rewrapped { slot: slot.clone(), from: from.clone(), to: format!("{from}'") })
        .collect();
    let revision = |store: &mut Subject| store.reader.day().unwrap().1;
    let start = revision(store);
    for round in 0..2 {
        let outcome = store.commit(&Op::Rewrap(moves.clone()));
        assert!(matches!(outcome, Outcome::Rewrapped(16)), "asked again it answers the same: {outcome:?}");
        assert_eq!(revision(store), start + 1, "round {round}");
    }
    let after: Vec<(KeySlot, String)> = moves.iter().map(|m| (m.slot.clone(), m.to.clone())).collect();
    assert_eq!(blocks(store), after);
    // An import that says what stood there before the change in service does not take it back.
    let (zpk, zak, zmk) = (Some("zpk'".into()), Some("zak'".into()), Some("zmk'".into()));
    let again = Issuer { id: issuer("bank-a"), acquirer_code: "48021234".into(), zpk, zak, zmk };
    store.commit(&Op::Put(Box::new(Reference::Issuer(again))));
    assert_eq!(blocks(store), after);
    // What a sign-on replaced meanwhile is left alone, and so is what is not there.
    store.commit(&Op::SignOn { tid, mid, keys: Some(keys(3, "third")), at_ms });
    let late = |slot: KeySlot, from: &str| Rewrapped { slot, from: from.into(), to: "late".into() };
    let late = vec![
        late(KeySlot::Session(mid, tid, SessionKey::Tpk), "second-tpk'"),
        late(KeySlot::Named("absent".into()), "named'"),
        late(KeySlot::Issuer(issuer("bank-b"), IssuerKey::Zpk), "zpk'"),
        late(KeySlot::Terminal(mid, Tid::new("99999999").unwrap(), TerminalKey::Tmk), "tmk'"),
    ];
    let (held, start) = (blocks(store), revision(store));
    assert!(matches!(store.commit(&Op::Rewrap(late)), Outcome::Rewrapped(0)));
    assert_eq!((blocks(store), revision(store)), (held, start));
}

fn the_day_flips_once(store: &mut Subject) {
    let next = Day(20_261_124);
    let flip = Op::CutOver { from: FIRST_DAY, to: next, at_ms: T0 };
    store.commit(&sale(1, 100));
    for _ in 0..2 {
        let answer = store.backend.commit(std::slice::from_ref(&flip)).unwrap().pop().unwrap();
        assert_eq!(answer.day, next);
    }
    store.commit(&Op::CutOver { from: FIRST_DAY, to: Day(20_261_130), at_ms: T0 });
    store.commit(&sale(2, 100));
    store.commit(&approve(1));
    assert_eq!((store.find(1).day, store.find(2).day), (FIRST_DAY, next));
    assert_eq!(store.reader.day().unwrap().0, next);
    let by_rrn = OriginalKey { rrn: Some(Rrn::from_number(1)), ..OriginalKey::default() };
    let refund = named(claims(3, Kind::Refund, 1, 100), by_rrn);
    assert_eq!(brief(&store.commit(&refund)), "stored in 1 for 1", "an RRN is found across days");
}

fn a_day_clears_once(store: &mut Subject) {
    for id in 1..=2 {
        store.commit(&sale(id, 100));
        store.commit(&approve(id));
    }
    store.commit(&reverse(9, 2));
    let file = |name: &str| SettlementFile {
        day: FIRST_DAY,
        name: name.into(),
        kind: "ipm".into(),
        party: "bank-a".into(),
        sha256: "00".into(),
        records: 2,
        sum_minor: 200,
        currency: 156,
    };
    let posting = |id: &str, minor| crate::ledger::Posting {
        id: id.into(),
        day: FIRST_DAY,
        debit: "receivable".into(),
        credit: "payable".into(),
        minor,
        currency: Currency::CNY,
        reference: "1".into(),
    };
    let item = |id, takes_back| ClearedItem { id: TxnId(id), takes_back };
    // What was reversed since it was selected is not presented, and nothing else of the run either.
    let stale = Op::Cleared(Box::new(Cleared {
        day: FIRST_DAY,
        items: vec![item(1, false), item(2, false)],
        files: vec![file("stale")],
        postings: vec![posting("c", 100)],
    }));
    assert_eq!(brief(&store.commit(&stale)), "refused invalid-transaction");
    assert_eq!(store.find(1).cleared_day, None);
    assert_eq!(store.reader.files(None).unwrap(), []);
    assert_eq!(store.reader.postings(None).unwrap(), []);
    let cleared = |name: &str| {
        Op::Cleared(Box::new(Cleared {
            day: FIRST_DAY,
            items: vec![item(1, false), item(2, true)],
            files: vec![file(name)],
            postings: vec![posting("b", 100), posting("a", 200)],
        }))
    };
    store.commit(&cleared("one"));
    store.commit(&cleared("one"));
    assert_eq!((store.find(1).cleared_day, store.find(1).taken_back_day), (Some(FIRST_DAY), None));
    assert_eq!((store.find(2).cleared_day, store.find(2).taken_back_day), (None, Some(FIRST_DAY)));
    assert_eq!(store.reader.files(Some(FIRST_DAY)).unwrap(), [file("one")]);
    assert_eq!(store.reader.files(Some(Day(20_200_101))).unwrap(), []);
    let journal = [posting("b", 100), posting("a", 200)];
    assert_eq!(store.reader.postings(Some(FIRST_DAY)).unwrap(), journal, "in the order of posting");
    store.commit(&cleared("two"));
    assert_eq!(store.reader.postings(None).unwrap(), journal, "the same event is posted once");
    assert_eq!(store.reader.files(None).unwrap().len(), 2);
    let filter = Filter { in_file_of: Some(FIRST_DAY), ..Filter::default() };
    assert_eq!(store.reader.transactions(&filter).unwrap().len(), 2);
}

fn filters_select(store: &mut Subject) {
    store.commit(&sale(1, 100));
    store.commit(&with(sale(2, 100), |n| n.tid = Tid::new("00000102").unwrap()));
    store.commit(&with(sale(3, 100), |n| n.issuer = issuer("bank-b")));
    store.commit(&with(sale(4, 100), |n| n.mid = Mid::new("M2").unwrap()));
    store.commit(&time_out(3));
    let rows: [(Filter, &[i64]); 7] = [
        (Filter::default(), &[1, 2, 3, 4]),
        (Filter { tid: Tid::new("00000102").ok(), ..Filter::default() }, &[2]),
        (Filter { issuer: Some(issuer("bank-b")), ..Filter::default() }, &[3]),
        (Filter { mid: Mid::new("M2").ok(), ..Filter::default() }, &[4]),
        (Filter { latest: Some(2), ..Filter::default() }, &[4, 3]),
        (
            Filter { day: Some(FIRST_DAY), tid: Tid::new(TID).ok(), latest: Some(9), ..Filter::default() },
            &[4, 3, 1],
        ),
        (Filter { day: Some(Day(20_200_101)), ..Filter::default() }, &[]),
    ];
    for (filter, want) in rows {
        let found: Vec<i64> = store.reader.transactions(&filter).unwrap().iter().map(|t| t.id.0).collect();
        assert_eq!(found, want, "{filter:?}");
    }
    assert_eq!(store.reader.saf_depth().unwrap(), [(issuer("bank-b"), 1, T0 + 23)]);
}

fn batches_read_back(store: &mut Subject) {
    store.commit(&sale(1, 100));
    store.commit(&approve(1));
    store.commit(&settle(true, T0 + 40));
    store.commit(&close(None, T0 + 50));
    let rows = store.reader.batches().unwrap();
    let brief: Vec<_> = rows.iter().map(|b| (b.batch.number(), b.state.as_str(), b.count_differs)).collect();
    assert_eq!(brief, [(2, "open", false), (1, "closed", true)], "the terminal says one item, we have none");
    assert_eq!(rows[1].reason.as_deref(), Some("balanced"));
    assert_eq!(rows[1].closed_ms, Some(T0 + 50));
    assert_eq!(rows[1].settled.as_ref().map(|s| s.host.debit.minor), Some(1000));
}

#[test]
fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    check(&mut || {
        count += 1;
        sqlite_subject(&folder.path().join(format!("{count}.db")))
    });
}

/// Writers that take turns, so that each finds what the one before wrote and may not trust its memory.
struct Turns(std::collections::VecDeque<Box<dyn Backend>>);

impl Backend for Turns {
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
        self.0.rotate_left(1);
        self.0[0].commit(ops)
    }
}

#[test]
fn sqlite_conforms_with_two_writers() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    check(&mut || {
        count += 1;
        let path = folder.path().join(format!("{count}.db"));
        let (first, second) = (sqlite_subject(&path), sqlite_subject(&path));
        Subject { backend: Box::new(Turns([first.backend, second.backend].into())), reader: first.reader }
    });
}

/// A writer that opens the file anew for every commit, as after a crash.
struct Anew(std::path::PathBuf);

impl Backend for Anew {
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
        sqlite_subject(&self.0).backend.commit(ops)
    }
}

/// Keys are used again, by a writer that keeps them in memory, one that takes over and one that starts anew, in
/// batches that stay open, close and are pruned: whatever is in memory or in the table, a key serves once.
#[test]
fn a_key_serves_once_whoever_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let mut store = sqlite_subject(&path);
    let other = sqlite_subject(&path);
    store.backend = Box::new(Turns([store.backend, Box::new(Anew(path.clone())), other.backend].into()));
    for id in 1..=300_i64 {
        // Seven terminals; trace numbers rise, but for every fifth, which goes back.
        let (tid, round) = (id % 7, id / 7);
        let stan = if round % 5 == 4 { 1000 - round } else { round + 1 };
        let key = |id: i64| {
            with(sale(id, 100), |new| {
                new.tid = Tid::new(&format!("{tid:08}")).unwrap();
                new.stan = Stan::new(stan as u32).unwrap();
            })
        };
        // A writer may be handed an id that is older than what was written meanwhile.
        let own = if id % 11 == 0 { id } else { id * 1000 };
        assert_eq!(brief(&store.commit(&key(own))), "stored in 1", "{id}");
        assert_eq!(brief(&store.commit(&key(own))), "stored in 1", "{id}, repeated");
        let again = format!("duplicate of {own} sent");
        assert_eq!(brief(&store.commit(&key(id * 1000 + 1))), again, "{id}");
        store.commit(&Op::Finish(Box::new(outcome(own, Event::Approved, "00"))));
    }
    let tid = Tid::new("00000003").unwrap();
    let lines = Op::BatchLines { tid, mid: Mid::new(MID).unwrap(), batch: None };
    let want = "batch 1: sale approved 43=4300; uploaded 0";
    assert_eq!(brief(&store.commit(&lines)), want);
    assert_eq!(brief(&store.commit(&lines)), want);
}

/// A new SQLite store.
pub(super) fn sqlite_subject(path: &std::path::Path) -> Subject {
    let url = format!("sqlite:{}", path.display());
    let (backend, reader) = open(&StoreOptions { url, first_day: FIRST_DAY, ca_file: None }).unwrap();
    Subject { backend, reader }
}

/// A PostgreSQL server with stores of its own.
pub(super) struct Servers {
    cluster: test_cluster::Cluster,
    count: u32,
}

impl Servers {
    pub(super) fn start() -> Self {
        let cluster = test_cluster::Cluster::start().unwrap();
        let url = cluster.database("template").unwrap();
        drop(open(&StoreOptions { url, first_day: FIRST_DAY, ca_file: None }).unwrap());
        Self { cluster, count: 0 }
    }

    /// The URL of a new, migrated store.
    pub(super) fn url(&mut self) -> String {
        self.count += 1;
        self.cluster.copy(&format!("store{}", self.count), "template").unwrap()
    }

    /// Ends every connection to the stores, as a failing server does.
    pub(super) fn cut_connections(&self) {
        let cut =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tollgate'";
        self.cluster.run("postgres", cut).unwrap();
    }

    /// One store, emptied before each use: sooner done than a copy.
    fn emptied(&self) -> Subject {
        let empty = "DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(tablename, ', ') FROM pg_tables \
                     WHERE schemaname = 'public' AND tablename <> 'refinery_schema_history'); END $$";
        self.cluster.run("template", empty).unwrap();
        let url = self.cluster.url("template");
        let (backend, reader) = open(&StoreOptions { url, first_day: FIRST_DAY, ca_file: None }).unwrap();
        Subject { backend, reader }
    }
}

#[test]
fn postgres_conforms() {
    let servers = Servers::start();
    check(&mut || servers.emptied());
}

/// Ops for the tests of other files.
pub(super) mod ops {
    use super::*;

    /// A sale of its own terminal.
    pub(in crate::store) fn sale_of(id: i64, tid: &str) -> Op {
        with(sale(id, 100), |new| new.tid = Tid::new(tid).unwrap())
    }

    pub(in crate::store) fn approve(id: i64) -> Op {
        super::approve(id)
    }

    /// A payment that queues a reversal.
    pub(in crate::store) fn time_out(id: i64) -> Op {
        super::time_out(id)
    }
}

/// Many writers, each with a connection of its own, as daemons on one store.
fn race(connect: &(dyn Fn() -> Subject + Sync)) {
    let mut store = connect();
    for id in [1, 2] {
        store.commit(&sale(id, 1000));
        store.commit(&approve(id));
    }
    let tallied = |want: &str, ops: Vec<Op>| -> usize {
        let start = std::sync::Barrier::new(ops.len());
        let outcomes: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = ops
                .iter()
                .map(|op| {
                    let start = &start;
                    scope.spawn(move || {
                        let mut subject = connect();
                        start.wait();
                        brief(&subject.commit(op))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        outcomes.iter().filter(|outcome| *outcome == want).count()
    };
    let voids = (100..110).map(|id| claims(id, Kind::Void, 1, 1000)).collect();
    assert_eq!(tallied("stored in 1 for 1", voids), 1, "one void of ten");
    let by_rrn = OriginalKey { rrn: Some(Rrn::from_number(2)), ..OriginalKey::default() };
    let refund = |id: i64| {
        let elsewhere = with(claims(id, Kind::Refund, 2, 300), |n| n.tid = Tid::from_number(id as u64));
        named(elsewhere, by_rrn.clone())
    };
    assert_eq!(
        tallied("stored in 1 for 2", (200..210).map(refund).collect()),
        3,
        "three refunds of 300 in 1000"
    );
    assert_eq!(standing(&store.find(2)), "approved, refunded 900");
    let twice = (300..310).map(|id| with(sale(id, 5), |n| n.stan = Stan::new(300).unwrap())).collect();
    assert_eq!(tallied("stored in 1", twice), 1, "one sale of ten with one key");
    store.commit(&sale(400, 5));
    let outcomes = (0..10).map(|n| if n % 2 == 0 { approve(400) } else { decline(400) }).collect();
    let first = tallied("approved", outcomes);
    let lost = if store.find(400).state == State::Approved { "approved" } else { "declined" };
    // The same outcome told again is the same outcome; the other one is lost.
    assert_eq!(first, if lost == "approved" { 5 } else { 0 });
    cut_over_race(connect);
}

/// Every transaction is in the day that its answer named, whatever flips meanwhile.
fn cut_over_race(connect: &(dyn Fn() -> Subject + Sync)) {
    let days = [FIRST_DAY, Day(20_261_124), Day(20_261_125), Day(20_261_126)];
    let told: Vec<(i64, Day)> = std::thread::scope(|scope| {
        let flips = scope.spawn(move || {
            let mut subject = connect();
            for pair in days.windows(2) {
                subject.commit(&Op::CutOver { from: pair[0], to: pair[1], at_ms: T0 });
            }
        });
        let senders: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let mut subject = connect();
                    let mut answers = Vec::new();
                    for n in 0..25 {
                        let id = 1000 + thread * 100 + n;
                        let op = with(sale(id, 5), |new| new.tid = Tid::from_number(thread as u64));
                        let committed = subject.backend.commit(&[op]).unwrap().pop().unwrap();
                        answers.push((id, committed.day));
                    }
                    answers
                })
            })
            .collect();
        flips.join().unwrap();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let mut store = connect();
    assert_eq!(store.reader.day().unwrap().0, days[3]);
    for (id, day) in told {
        assert_eq!(store.find(id).day, day, "transaction {id}");
    }
}

#[test]
fn the_store_is_the_arbiter_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    race(&|| sqlite_subject(&folder.path().join("race.db")));
}

#[test]
fn the_store_is_the_arbiter_on_postgres() {
    let mut servers = Servers::start();
    let url = servers.url();
    race(&|| {
        let options = StoreOptions { url: url.clone(), first_day: FIRST_DAY, ca_file: None };
        let (backend, reader) = open(&options).unwrap();
        Subject { backend, reader }
    });
}
