//! Store and forward: reversals and advices to one issuer, in the order of each card, until the
//! issuer has answered. One task for each issuer, under a lease row, so that of many nodes one sends.

use super::authorize::{location, original_of};
use super::issuer::{Exchange, Link, link_time};
use super::{Switch, Zone};
use crate::crash;
use crate::dialect::issuer::{self, IssuerAnswer, IssuerMessage, Sending};
use crate::lifecycle::ClaimKind;
use crate::store::{Op, Outcome, SafEntry, SafKind, SafVerdict, Stored};
use crate::transaction::{IssuerId, LinkTime, Pan, ResponseCode, Rrn, Stan};
use iso8583_spec::{Encoder, Mti};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Waits between attempts, seconds; the last one repeats.
const BACKOFF_S: [i64; 8] = [1, 2, 5, 10, 30, 60, 120, 300];
/// After so long an entry is tried no more: a person must look (72 hours).
const EXPIRY_MS: i64 = 72 * 60 * 60 * 1_000;
/// Nobody else takes an issuer's queue for so long after it was asked.
const LEASE_MS: i64 = 60_000;
/// Entries asked for at a time.
const BATCH: usize = 32;
/// The queue is looked at this often when nothing wakes it.
const IDLE: Duration = Duration::from_secs(1);
/// Final answers to an advice or a reversal: done, or there is nothing to do it to.
const FINAL: [&str; 5] = ["00", "21", "25", "12", "94"];
/// Answers that ask to be tried again.
const AGAIN: [&str; 4] = ["91", "96", "90", "68"];

/// Delivers what waits for an issuer, for as long as the node runs.
pub async fn run(switch: Rc<Switch>, issuer: IssuerId) {
    let Some(link) = switch.links.get(&issuer) else { return };
    let mut failures = Failures::default();
    loop {
        let wait = if link.client.is_up() { round(&switch, link, &mut failures).await } else { IDLE };
        if !wait.is_zero() {
            let _ = tokio::time::timeout(wait, link.saf.notified()).await;
        }
    }
}

/// How often each waiting entry has failed since the node started. An attempt that a restart cut short says
/// nothing about the issuer: it counts as an attempt, and not towards the pause after a failure.
#[derive(Debug, Default)]
struct Failures(HashMap<i64, u32>);

impl Failures {
    /// Notes what became of an attempt, and says when the next one is due.
    fn judge(&mut self, id: i64, end: End, now_ms: i64) -> SafVerdict {
        let End::Final(verdict) = end else {
            let failed = self.0.entry(id).or_default();
            let at_ms = now_ms + backoff_ms(*failed);
            *failed = failed.saturating_add(1);
            return SafVerdict::Retry { at_ms };
        };
        self.0.remove(&id);
        verdict
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It will not be repeated.
    Final(SafVerdict),
    /// It failed.
    Failed,
}

impl End {
    /// What has failed and is too old is given up.
    fn at_age(self, age_ms: i64) -> Self {
        match self {
            Self::Failed if age_ms > EXPIRY_MS => {
                Self::Final(SafVerdict::Parked(ResponseCode::from_number(68)))
            }
            Self::Failed | Self::Final(_) => self,
        }
    }
}

/// One look at the queue; how long until the next.
async fn round(switch: &Switch, link: &Link, failures: &mut Failures) -> Duration {
    let now_ms = switch.clock.now_ms();
    let op = Op::SafDue {
        issuer: link.issuer,
        node: switch.options.node,
        now_ms,
        lease_ms: LEASE_MS,
        limit: BATCH,
    };
    let Outcome::Saf { entries, next_ms } = switch.store.submit(op).await.outcome else { return IDLE };
    let Some(zone) = switch.shared.zone(link.issuer) else { return IDLE };
    let busy = !entries.is_empty();
    for entry in entries {
        let (id, received_ms) = (entry.id, entry.txn.received_ms);
        let end = deliver(switch, link, &zone, entry).await.at_age(now_ms - received_ms);
        let verdict = failures.judge(id, end, switch.clock.now_ms());
        tracing::debug!(issuer = %link.issuer, entry = id, verdict = verdict_name(verdict), "store and forward");
        switch.store.submit(Op::SafDone { id, verdict }).await;
        crash::point("saf-done-durable");
    }
    let until_next =
        next_ms.map_or(IDLE, |at| Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0)));
    if busy { Duration::ZERO } else { until_next.min(IDLE) }
}

const fn verdict_name(verdict: SafVerdict) -> &'static str {
    match verdict {
        SafVerdict::Delivered(_) => "saf-delivered",
        SafVerdict::Retry { .. } => "saf-retry",
        SafVerdict::Parked(_) => "saf-parked",
    }
}

/// How an attempt appears on the link.
#[derive(Clone, Copy)]
struct Attempt {
    stan: Stan,
    rrn: Rrn,
    time: LinkTime,
    sending: Sending,
}

/// One attempt: durable first, so that the next one is marked as a repeat whatever happens.
async fn deliver(switch: &Switch, link: &Link, zone: &Zone, entry: SafEntry) -> End {
    let Some(attempt) = attempt(switch, link, &entry).await else { return End::Failed };
    let sending =
        Op::SafSending { id: entry.id, stan: attempt.stan, rrn: attempt.rrn, link_time: attempt.time };
    if matches!(switch.store.submit(sending).await.outcome, Outcome::Failed) {
        return End::Failed;
    }
    crash::point("saf-sending-durable");
    let Some(sealed) = &entry.txn.pan else { return parked() };
    let Ok(pan) = switch.hsm.unseal(sealed).await else {
        tracing::error!(entry = entry.id, "a sealed card number does not open");
        return parked();
    };
    match send(switch, link, zone, &entry, attempt, &pan).await {
        Some(Exchange::Answered(answer)) => end(&answer),
        Some(Exchange::NotSent | Exchange::Unknown(_)) => End::Failed,
        None => parked(),
    }
}

async fn attempt(switch: &Switch, link: &Link, entry: &SafEntry) -> Option<Attempt> {
    if let (Some(stan), Some(rrn), Some(time)) = (entry.stan, entry.rrn, entry.link_time) {
        return Some(Attempt { stan, rrn, time, sending: Sending::Again });
    }
    Some(Attempt {
        stan: switch.link_stan(link).await?,
        rrn: entry.txn.rrn,
        time: link_time(&switch.clock),
        sending: Sending::First,
    })
}

async fn send(
    switch: &Switch,
    link: &Link,
    zone: &Zone,
    entry: &SafEntry,
    attempt: Attempt,
    pan: &Pan,
) -> Option<Exchange> {
    let directory = switch.shared.directory();
    let merchant = directory.merchant(entry.txn.mid)?;
    let place = location(&merchant);
    let message = message(&entry.txn, entry.original.as_deref(), zone, attempt, pan, (&merchant.mcc, &place));
    let encoded = encode(&message, entry, zone, attempt)?;
    Some(switch.exchange(link, zone, &message, encoded).await)
}

fn message<'a>(
    txn: &'a Stored,
    original: Option<&'a Stored>,
    zone: &'a Zone,
    attempt: Attempt,
    pan: &'a Pan,
    (mcc, location): (&'a str, &'a str),
) -> IssuerMessage<'a> {
    IssuerMessage {
        kind: txn.kind,
        pan,
        expiry: txn.expiry.as_deref(),
        track2: None,
        card_sequence: txn.card_sequence.as_deref(),
        amount: txn.amount.or(txn.requested),
        time: attempt.time,
        stan: attempt.stan,
        rrn: attempt.rrn,
        terminal_time: &txn.terminal_time,
        mcc,
        entry_mode: &txn.entry_mode,
        acquirer: &zone.acquirer_code,
        auth_code: txn.auth_code,
        tid: txn.tid,
        mid: txn.mid,
        location,
        pin_block: None,
        icc: None,
        original: original
            .filter(|_| ClaimKind::of(txn.kind).is_some())
            .and_then(|o| original_of(o, &zone.acquirer_code)),
    }
}

fn encode(
    message: &IssuerMessage<'_>,
    entry: &SafEntry,
    zone: &Zone,
    attempt: Attempt,
) -> Option<(Encoder<'static>, Mti)> {
    let spec = issuer::spec().ok()?;
    match entry.what {
        SafKind::Advice => Some((message.encode(spec, attempt.sending).ok()?, issuer::form(message.kind).0)),
        SafKind::Reversal => {
            let reversed = entry.reversed(&zone.acquirer_code)?;
            Some((message.encode_reversal(spec, &reversed, attempt.sending).ok()?, Mti::REVERSAL_ADVICE))
        }
    }
}

impl SafEntry {
    /// DE 90 of the transaction that a reversal undoes: as it was sent on the link.
    fn reversed<'a>(&self, acquirer: &'a str) -> Option<issuer::Original<'a>> {
        original_of(&self.txn, acquirer)
    }
}

fn end(answer: &IssuerAnswer) -> End {
    let code = answer.code.as_str();
    if FINAL.contains(&code) || answer.approves() {
        End::Final(SafVerdict::Delivered(answer.code))
    } else if AGAIN.contains(&code) {
        End::Failed
    } else {
        End::Final(SafVerdict::Parked(answer.code))
    }
}

/// What we ourselves cannot send waits for a person, and holds up nobody else's card.
fn parked() -> End {
    End::Final(SafVerdict::Parked(ResponseCode::from_number(96)))
}

fn backoff_ms(failures: u32) -> i64 {
    let step = usize::try_from(failures).unwrap_or(usize::MAX).min(BACKOFF_S.len() - 1);
    BACKOFF_S.get(step).copied().unwrap_or(300) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_given_up_in_the_end() {
        let delivered = End::Final(SafVerdict::Delivered(ResponseCode::from_number(0)));
        let rows = [
            (End::Failed, 0, false),
            (End::Failed, EXPIRY_MS, false),
            (End::Failed, EXPIRY_MS + 1, true),
            (delivered, EXPIRY_MS + 1, false),
        ];
        for (end, age_ms, given_up) in rows {
            let parked = matches!(end.at_age(age_ms), End::Final(SafVerdict::Parked(_)));
            assert_eq!(parked, given_up, "{end:?} {age_ms}");
        }
    }

    #[test]
    fn attempts_are_spaced_and_capped() {
        let rows = [(0, 1_000), (1, 2_000), (4, 30_000), (7, 300_000), (8, 300_000), (u32::MAX, 300_000)];
        for (attempts, want) in rows {
            assert_eq!(backoff_ms(attempts), want, "{attempts}");
        }
    }

    #[test]
    fn the_pause_grows_with_failures_and_ends_with_them() {
        let delivered = SafVerdict::Delivered(ResponseCode::from_number(0));
        let failed = |at_ms| SafVerdict::Retry { at_ms };
        let rows = [
            (7, End::Failed, failed(1_000)),
            (7, End::Failed, failed(2_000)),
            (8, End::Failed, failed(1_000)),
            (7, End::Failed, failed(5_000)),
            (7, End::Final(delivered), delivered),
            (7, End::Failed, failed(1_000)),
        ];
        let mut failures = Failures::default();
        for (place, (id, end, verdict)) in rows.into_iter().enumerate() {
            assert_eq!(failures.judge(id, end, 0), verdict, "{place}");
        }
    }
}
