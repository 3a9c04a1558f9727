//! The two ops of every payment, a slice at a time: arrays through `UNNEST`.
//!
//! A statement takes what it can take as it stands; what it leaves (a duplicate, a first
//! transaction of a terminal, a full batch, a lost race) is run one by one by `semantics`.

use super::connection::Statements;
use crate::lifecycle::{Effect, State, apply};
use crate::store::semantics::Clock;
use crate::store::{Committed, Finish, NewTransaction, Op, Outcome, StoreError};
use crate::transaction::{Amount, BatchNo, Refusal, Side, Stan, TxnId};
use std::collections::HashMap;

/// Below this many, one by one costs no more.
const WORTH_IT: usize = 2;

/// The terminal's batch is held and counted, the key spent, the row written; each for those that
/// came through the step before.
const SEND: &str = "WITH input AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], \
     $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], \
     $12::bytea[], $13::bytea[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], \
     $20::text[], $21::text[], $22::text[], $23::text[], $24::bigint[], $25::text[], $26::bigint[], \
     $27::bigint[], $28::bigint[], $29::bigint[]) \
     AS u (id, node, dialect, kind, processing_code, tid, mid, batch, stan, currency, amount, card_cipher, \
     card_lookup, card_masked, expiry, card_sequence, entry_mode, condition, terminal_time, invoice, rrn, \
     auth_code, issuer, link_stan, link_time, received_ms, key_generation, debit, credit)), \
     held AS (UPDATE open_batch o SET debit = o.debit + u.debit, credit = o.credit + u.credit FROM input u \
     WHERE o.mid = u.mid AND o.tid = u.tid AND (u.batch IS NULL OR u.batch = o.number) \
     AND o.debit + u.debit <= 999 AND o.credit + u.credit <= 999 RETURNING u.*, o.number), \
     fresh AS (INSERT INTO txn_key (mid, tid, batch, stan, class, txn) \
     SELECT h.mid, h.tid, h.number, h.stan, 'f', h.id FROM held h ON CONFLICT DO NOTHING RETURNING txn) \
     INSERT INTO txn (id, state, day, node, dialect, kind, processing_code, tid, mid, batch, stan, currency, \
     requested, amount, refunded, card_cipher, card_lookup, card_masked, expiry, card_sequence, entry_mode, \
     condition, terminal_time, invoice, rrn, auth_code, issuer, link_stan, link_time, received_ms, \
     key_generation) \
     SELECT h.id, 'sent', $30::bigint, h.node, h.dialect, h.kind, h.processing_code, h.tid, h.mid, h.number, h.stan, \
     h.currency, h.amount, h.amount, 0, h.card_cipher, h.card_lookup, h.card_masked, h.expiry, \
     h.card_sequence, h.entry_mode, h.condition, h.terminal_time, h.invoice, h.rrn, h.auth_code, h.issuer, \
     h.link_stan, h.link_time, h.received_ms, h.key_generation FROM held h JOIN fresh f ON f.txn = h.id \
     ON CONFLICT (id) DO NOTHING RETURNING id, batch";

const FINISH: &str = "UPDATE txn t SET state = u.state, code = u.code, refusal = u.refusal, \
     auth_code = coalesce(u.auth_code, t.auth_code), issuer_rrn = u.issuer_rrn, \
     amount = coalesce(u.amount, t.amount), additional_amounts = u.additional_amounts, icc = u.icc, \
     finished_ms = u.finished_ms \
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], \
     $8::text[], $9::bytea[], $10::bigint[]) AS u (id, state, code, refusal, auth_code, issuer_rrn, amount, \
     additional_amounts, icc, finished_ms) \
     WHERE t.id = u.id AND t.state = 'sent' AND t.original IS NULL RETURNING t.id";

/// Runs what can be run together; `None` where an op is left for one by one.
pub(super) fn run(
    sql: &mut Statements<'_>,
    clock: &Clock,
    ops: &[Op],
) -> Result<Vec<Option<Committed>>, StoreError> {
    let stored = send(sql, clock, ops.iter().filter_map(sent).collect())?;
    let finished = finish(sql, ops.iter().filter_map(finished).collect())?;
    let committed = |outcome| Committed { outcome, day: clock.day, revision: clock.revision };
    Ok(ops
        .iter()
        .map(|op| {
            let sent = sent(op).and_then(|new| stored.get(&new.id));
            let done = finished_as(op, &finished);
            sent.map(|batch| Outcome::Stored { batch: *batch, original: None }).or(done).map(committed)
        })
        .collect())
}

fn sent(op: &Op) -> Option<&NewTransaction> {
    if let Op::Send(new) = op { Some(new).filter(|n| n.claim.is_none() && !n.kind.is_advice()) } else { None }
        .map(|new| &**new)
}

/// An outcome that queues nothing, with the state it leads to.
fn finished(op: &Op) -> Option<(&Finish, State)> {
    let Op::Finish(finish) = op else { return None };
    let transition = apply(State::Sent, finish.event)?;
    let plain = !transition.effects.contains(&Effect::QueueReversal);
    plain.then_some((&**finish, transition.next))
}

fn finished_as(op: &Op, done: &HashMap<TxnId, State>) -> Option<Outcome> {
    let (finish, _) = finished(op)?;
    let state = *done.get(&finish.id)?;
    Some(Outcome::Finished { state, reversal_queued: false })
}

fn send(
    sql: &mut Statements<'_>,
    clock: &Clock,
    mut new: Vec<&NewTransaction>,
) -> Result<HashMap<TxnId, BatchNo>, StoreError> {
    if new.len() < WORTH_IT {
        return Ok(HashMap::new());
    }
    // Every node takes the terminals' rows in one order, so that none waits for another in a ring.
    new.sort_unstable_by_key(|n| (n.mid, n.tid));
    fn ints<'n, T: From<i64>>(new: &[&'n NewTransaction], of: impl Fn(&'n NewTransaction) -> T) -> Vec<T> {
        new.iter().map(|n| of(n)).collect()
    }
    fn texts<'n>(new: &[&'n NewTransaction], of: impl Fn(&'n NewTransaction) -> &'n str) -> Vec<&'n str> {
        new.iter().map(|n| of(n)).collect()
    }
    fn maybe<'n, T>(
        new: &[&'n NewTransaction],
        of: impl Fn(&'n NewTransaction) -> Option<T>,
    ) -> Vec<Option<T>> {
        new.iter().map(|n| of(n)).collect()
    }
    let side = |want: Side| move |n: &NewTransaction| i64::from(n.counted_side() == want);
    let rows = sql.arrays(
        SEND,
        &[
            &ints(&new, |n| n.id.0),
            &ints(&new, |n| i64::from(n.node.0)),
            &texts(&new, |n| n.dialect.name()),
            &texts(&new, |n| n.kind.name()),
            &texts(&new, |n| n.processing_code.trimmed()),
            &texts(&new, |n| n.tid.trimmed()),
            &texts(&new, |n| n.mid.trimmed()),
            &maybe(&new, |n| n.batch.map(|b| i64::from(b.number()))),
            &ints(&new, |n| i64::from(n.stan.number())),
            &maybe(&new, |n| n.amount.map(|a| i64::from(a.currency().numeric()))),
            &maybe(&new, |n| n.amount.map(Amount::minor)),
            &maybe(&new, |n| n.pan.as_ref().map(|p| p.cipher.as_slice())),
            &maybe(&new, |n| n.pan.as_ref().map(|p| p.lookup.as_slice())),
            &maybe(&new, |n| n.pan.as_ref().map(|p| p.masked.as_str())),
            &maybe(&new, |n| n.expiry.as_deref()),
            &maybe(&new, |n| n.card_sequence.as_deref()),
            &texts(&new, |n| &n.entry_mode),
            &texts(&new, |n| &n.condition),
            &texts(&new, |n| &n.terminal_time),
            &maybe(&new, |n| n.invoice.as_deref()),
            &texts(&new, |n| n.rrn.trimmed()),
            &maybe(&new, |n| n.auth_code.as_ref().map(|a| a.trimmed())),
            &texts(&new, |n| n.issuer.trimmed()),
            &maybe(&new, |n| n.link_stan.map(|s: Stan| i64::from(s.number()))),
            &texts(&new, |n| n.link_time.trimmed()),
            &ints(&new, |n| n.received_ms),
            &ints(&new, |n| n.key_generation),
            &ints(&new, side(Side::Debit)),
            &ints(&new, side(Side::Credit)),
            &i64::from(clock.day.0),
        ],
    )?;
    let mut stored = HashMap::with_capacity(rows.len());
    for mut row in rows {
        stored.insert(TxnId(row.int()?), crate::store::rows::batch_no(row.number()?)?);
    }
    Ok(stored)
}

fn finish(
    sql: &mut Statements<'_>,
    mut done: Vec<(&Finish, State)>,
) -> Result<HashMap<TxnId, State>, StoreError> {
    if done.len() < WORTH_IT {
        return Ok(HashMap::new());
    }
    done.sort_unstable_by_key(|(finish, _)| finish.id);
    let texts = |of: fn(&Finish) -> Option<&str>| -> Vec<Option<&str>> {
        done.iter().map(|(finish, _)| of(finish)).collect()
    };
    let ids: Vec<i64> = done.iter().map(|(finish, _)| finish.id.0).collect();
    let states: Vec<&str> = done.iter().map(|(_, state)| state.name()).collect();
    let amounts: Vec<Option<i64>> =
        done.iter().map(|(finish, _)| finish.approved.map(Amount::minor)).collect();
    let icc: Vec<Option<&[u8]>> = done.iter().map(|(finish, _)| finish.icc.as_deref()).collect();
    let times: Vec<i64> = done.iter().map(|(finish, _)| finish.finished_ms).collect();
    let rows = sql.arrays(
        FINISH,
        &[
            &ids,
            &states,
            &texts(|f| f.code.as_ref().map(|c| c.trimmed())),
            &texts(|f| f.refusal.map(Refusal::name)),
            &texts(|f| f.auth_code.as_ref().map(|c| c.trimmed())),
            &texts(|f| f.issuer_rrn.as_ref().map(|r| r.trimmed())),
            &amounts,
            &texts(|f| f.additional_amounts.as_deref()),
            &icc,
            &times,
        ],
    )?;
    let mut left: HashMap<TxnId, State> = done.iter().map(|(finish, state)| (finish.id, *state)).collect();
    let mut finished = HashMap::with_capacity(rows.len());
    for mut row in rows {
        let id = TxnId(row.int()?);
        if let Some(state) = left.remove(&id) {
            finished.insert(id, state);
        }
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Link, WRITER};
    use super::*;
    use crate::store::StoreOptions;
    use crate::store::conformance::{FIRST_DAY, Servers, ops};
    use crate::store::semantics;

    /// What is left for one by one is right but slow, so nothing else would notice.
    #[test]
    fn payments_are_taken_together() {
        let mut servers = Servers::start();
        let options = StoreOptions { url: servers.url(), first_day: FIRST_DAY, ca_file: None };
        let mut link = Link::new(&options, WRITER).unwrap();
        let mut sql = link.statements().unwrap();
        let mut clock = semantics::clock(&mut sql).unwrap();
        for tid in ["1", "2", "3"] {
            let first = ops::sale_of(tid.parse().unwrap(), tid);
            semantics::apply(&mut sql, &mut clock, &first).unwrap();
        }
        let mut taken = |ops: &[Op]| -> Vec<bool> {
            run(&mut sql, &clock, ops).unwrap().iter().map(Option::is_some).collect()
        };
        let sales = [ops::sale_of(11, "1"), ops::sale_of(12, "2"), ops::sale_of(13, "3"), Op::Ping];
        assert_eq!(taken(&sales), [true, true, true, false]);
        assert_eq!(taken(&sales), [false; 4], "a second time they are there");
        let ends = [ops::approve(11), ops::approve(12), ops::time_out(13)];
        assert_eq!(taken(&ends), [true, true, false], "a reversal is queued one by one");
    }
}
