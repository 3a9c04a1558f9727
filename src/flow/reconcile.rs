//! The end of a terminal's batch: totals, upload, close.

use super::{Arrival, Place, Switch};
use crate::batch::{self, Convention, EdcVoids};
use crate::crash;
use crate::dialect::{ClosesWhenBalanced, Counting};
use crate::hsm::{Key, Tak};
use crate::store::{BatchLine, CloseReason, Op, Outcome, Settle};
use crate::transaction::{
    Balance, BatchNo, Refusal, Reply, ReplyBody, SettlementRequest, Totals, UploadEnd, UploadRequest,
};
use iso8583_spec::View;
use std::rc::Rc;
use std::time::Duration;

/// The lines of a batch, and what was said about it before.
struct Lines {
    batch: BatchNo,
    lines: Vec<BatchLine>,
    settled: Option<Box<Settle>>,
    closed: Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Yes,
    No,
}

/// Answers a settlement request.
pub(super) async fn settlement(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: SettlementRequest,
) {
    let (reply, tak) = match switch.optional_mac(arrival, view, place).await {
        Ok(tak) => (settle(switch, arrival, place, &request).await, tak),
        Err(refusal) => (Err(refusal), None),
    };
    answer(switch, arrival, view, reply, tak.as_ref()).await;
}

async fn answer(
    switch: &Switch,
    arrival: &Arrival,
    view: &View<'_>,
    reply: Result<Reply, Refusal>,
    tak: Option<&Key<Tak>>,
) {
    match reply {
        Ok(reply) => switch.answer(arrival, view, &reply, tak).await,
        Err(refusal) => switch.refuse(arrival, view, refusal, tak).await,
    }
}

async fn settle(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    place: &Place,
    request: &SettlementRequest,
) -> Result<Reply, Refusal> {
    let (tid, mid) = (place.terminal.tid, place.terminal.mid);
    let Some(lines) = settled_lines(switch, place, request.batch).await? else {
        return undecided(switch, arrival, place, request);
    };
    let host = match (&lines.settled, lines.closed) {
        // The same question again gets the same answer.
        (Some(earlier), Closed::Yes) => earlier.host,
        (Some(_), Closed::No) | (None, _) => host_totals(arrival, &lines.lines)?,
    };
    let balanced = host == request.totals && request.foreign == Totals::default();
    let op = Settle {
        tid,
        mid,
        batch: Some(lines.batch),
        terminal: request.totals,
        host,
        balanced,
        at_ms: arrival.received_ms,
    };
    if lines.closed == Closed::No {
        done(&switch.store.submit(Op::Settle(Box::new(op))).await.outcome)?;
        if balanced && arrival.dialect.policy.closes_when_balanced == ClosesWhenBalanced::AtOnce {
            close(switch, place, lines.batch, None, CloseReason::Balanced).await?;
        }
    }
    crash::point("batch-settled");
    totals_reply(switch, arrival, host, balanced)
}

/// A dialect whose answer has room for totals gets them; another is told that they differ.
fn totals_reply(switch: &Switch, arrival: &Arrival, host: Totals, balanced: bool) -> Result<Reply, Refusal> {
    let result = if balanced { Balance::Balanced } else { Balance::Different };
    match arrival.dialect.policy.closes_when_balanced {
        ClosesWhenBalanced::AtOnce if !balanced => Err(Refusal::OutOfBalance),
        ClosesWhenBalanced::AtOnce => Ok(switch.accepted(arrival)),
        ClosesWhenBalanced::AtEndMessage => {
            let body = ReplyBody::Totals { host, result, foreign: Balance::Balanced };
            Ok(Reply { body, ..switch.accepted(arrival) })
        }
    }
}

/// Transactions of the terminal are still on their way: nothing is decided, and it asks again.
fn undecided(
    switch: &Switch,
    arrival: &Arrival,
    place: &Place,
    request: &SettlementRequest,
) -> Result<Reply, Refusal> {
    tracing::info!(terminal = %place.terminal.tid, "totals asked for while transactions are on their way");
    match arrival.dialect.policy.closes_when_balanced {
        ClosesWhenBalanced::AtOnce => Err(Refusal::System),
        ClosesWhenBalanced::AtEndMessage => {
            let body =
                ReplyBody::Totals { host: request.totals, result: Balance::Error, foreign: Balance::Error };
            Ok(Reply { body, ..switch.accepted(arrival) })
        }
    }
}

fn host_totals(arrival: &Arrival, lines: &[BatchLine]) -> Result<Totals, Refusal> {
    let convention = match arrival.dialect.policy.counting {
        Counting::Gross => Convention::Gross,
        Counting::Net => Convention::Net(EdcVoids::Net),
    };
    batch::host_totals(lines, convention).map_err(|_| Refusal::System)
}

/// The lines of a batch once none of its transactions is on its way; `None` when one still is
/// after a while.
async fn settled_lines(
    switch: &Switch,
    place: &Place,
    batch: Option<BatchNo>,
) -> Result<Option<Lines>, Refusal> {
    const STEP: Duration = Duration::from_millis(250);
    let give_up = tokio::time::Instant::now() + switch.options.settle_wait;
    loop {
        let (tid, mid) = (place.terminal.tid, place.terminal.mid);
        let outcome = switch.store.submit(Op::BatchLines { tid, mid, batch }).await.outcome;
        let Outcome::Lines { batch, lines, settled, closed, .. } = outcome else {
            return Err(not_done(&outcome));
        };
        let closed = if closed { Closed::Yes } else { Closed::No };
        let found = Lines { batch, lines, settled, closed };
        if !batch::has_open_items(&found.lines) {
            return Ok(Some(found));
        }
        if tokio::time::Instant::now() >= give_up {
            return Ok(None);
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn close(
    switch: &Switch,
    place: &Place,
    batch: BatchNo,
    uploaded: Option<u32>,
    reason: CloseReason,
) -> Result<(), Refusal> {
    let (tid, mid) = (place.terminal.tid, place.terminal.mid);
    let at_ms = switch.clock.now_ms();
    let op = Op::CloseBatch { tid, mid, batch: Some(batch), uploaded, reason, at_ms };
    done(&switch.store.submit(op).await.outcome)
}

fn done(outcome: &Outcome) -> Result<(), Refusal> {
    if matches!(outcome, Outcome::Done | Outcome::OpenBatch(_)) { Ok(()) } else { Err(not_done(outcome)) }
}

fn not_done(outcome: &Outcome) -> Refusal {
    if let Outcome::Refused(refusal) = outcome {
        return *refusal;
    }
    tracing::error!("the store did not take a batch's settlement");
    Refusal::System
}

/// Answers uploaded items.
pub(super) async fn upload(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: UploadRequest,
) {
    let (reply, tak) = match switch.optional_mac(arrival, view, place).await {
        Ok(tak) => (keep(switch, arrival, place, request).await, tak),
        Err(refusal) => (Err(refusal), None),
    };
    answer(switch, arrival, view, reply, tak.as_ref()).await;
}

async fn keep(
    switch: &Switch,
    arrival: &Arrival,
    place: &Place,
    request: UploadRequest,
) -> Result<Reply, Refusal> {
    let (tid, mid) = (place.terminal.tid, place.terminal.mid);
    let op = Op::Upload { tid, mid, batch: request.batch, items: request.items, at_ms: arrival.received_ms };
    done(&switch.store.submit(op).await.outcome)?;
    Ok(switch.accepted(arrival))
}

/// Answers the end of an upload: the batch closes, agreed or not. A terminal that says its totals
/// agreed when it was told that they differ is refused, and the batch stays open.
pub(super) async fn upload_end(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: UploadEnd,
) {
    let (reply, tak) = match switch.optional_mac(arrival, view, place).await {
        Ok(tak) => (end(switch, arrival, place, &request).await, tak),
        Err(refusal) => (Err(refusal), None),
    };
    answer(switch, arrival, view, reply, tak.as_ref()).await;
}

async fn end(
    switch: &Switch,
    arrival: &Arrival,
    place: &Place,
    request: &UploadEnd,
) -> Result<Reply, Refusal> {
    let Some(lines) = settled_lines(switch, place, request.batch).await? else { return Err(Refusal::System) };
    let told_different = lines.settled.as_ref().is_some_and(|s| !s.balanced);
    if request.balanced == Some(true) && told_different && lines.closed == Closed::No {
        return Err(Refusal::OutOfBalance);
    }
    let reason = if told_different { CloseReason::Uploaded } else { CloseReason::Balanced };
    close(switch, place, lines.batch, request.count, reason).await?;
    crash::point("batch-closed");
    Ok(switch.accepted(arrival))
}
