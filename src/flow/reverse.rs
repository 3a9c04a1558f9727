//! A terminal's reversal: the original is undone, whatever state it is in, and the issuer is told
//! from the store-and-forward queue.

use super::{Arrival, Place, Switch};
use crate::crash;
use crate::dialect::UnknownReversal;
use crate::store::{Op, Outcome, ReversalOutcome, Reverse, Stored};
use crate::transaction::{Refusal, Reply, ReversalRequest};
use iso8583_spec::View;
use std::rc::Rc;

/// Answers a reversal.
pub(super) async fn reversal(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: ReversalRequest,
) {
    let unlocked = match switch.open(arrival, view, place, None).await {
        Ok(unlocked) => unlocked,
        Err(refusal) => return switch.refuse(arrival, view, refusal, None).await,
    };
    let tak = Some(&unlocked.keys.tak);
    match undo(switch, arrival, place, &request).await {
        Ok(reply) => switch.answer(arrival, view, &reply, tak).await,
        Err(refusal) => switch.refuse(arrival, view, refusal, tak).await,
    }
}

async fn undo(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    place: &Place,
    request: &ReversalRequest,
) -> Result<Reply, Refusal> {
    let rrn = switch.numbers.rrn(&switch.store, &switch.clock).await.ok_or(Refusal::System)?;
    let op = Op::Reverse(Box::new(Reverse {
        id: switch.numbers.txn_id(arrival.received_ms),
        node: switch.options.node,
        dialect: arrival.dialect.id,
        tid: request.tid,
        mid: place.terminal.mid,
        batch: request.batch,
        stan: request.stan,
        processing_code: request.processing_code,
        reason: request.reason,
        rrn,
        received_ms: arrival.received_ms,
    }));
    let committed = switch.store.submit(op).await;
    crash::point("reversal-durable");
    let found = |original: &Stored| Reply {
        rrn: Some(original.rrn),
        day: Some(committed.day),
        ..switch.accepted(arrival)
    };
    let Outcome::Reversal(outcome) = &committed.outcome else {
        tracing::error!("the store did not take a reversal");
        return Err(Refusal::System);
    };
    match outcome {
        ReversalOutcome::Reversed(original) => {
            if let Some(link) = switch.links.get(&original.issuer) {
                link.saf.notify_one();
            }
            Ok(found(original))
        }
        ReversalOutcome::InFlight(original) | ReversalOutcome::NothingToDo(original) => Ok(found(original)),
        ReversalOutcome::Unknown => match arrival.dialect.policy.unknown_reversal_accepted {
            UnknownReversal::Accept => Ok(Reply { rrn: Some(rrn), ..switch.accepted(arrival) }),
            UnknownReversal::Refuse => Err(Refusal::OriginalNotFound),
        },
        ReversalOutcome::Busy => Err(Refusal::System),
    }
}
