//! The business day: its cut-over, and what its settlement cleared.

use super::Clock;
use crate::store::sql::{Arg, Sql};
use crate::store::{Cleared, Outcome, StoreError};
use crate::transaction::{Day, Refusal};

/// Enters a day into the list of days.
pub(super) fn open_day(sql: &mut dyn Sql, day: Day, at_ms: i64) -> Result<(), StoreError> {
    let open = "INSERT INTO business_day (day, opened_ms) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING";
    sql.execute(open, &[i64::from(day.0).into(), at_ms.into()])?;
    Ok(())
}

/// Applies [`crate::store::Op::CutOver`]: compare and set, so that a repeated call changes nothing.
pub(super) fn cut_over(
    sql: &mut dyn Sql,
    clock: &mut Clock,
    (from, to): (Day, Day),
    at_ms: i64,
) -> Result<Outcome, StoreError> {
    let flip = "UPDATE clock SET day = $1 WHERE one = 1 AND day = $2";
    if sql.execute(flip, &[i64::from(to.0).into(), i64::from(from.0).into()])? == 1 {
        let close = "UPDATE business_day SET closed_ms = $1 WHERE day = $2";
        sql.execute(close, &[at_ms.into(), i64::from(from.0).into()])?;
        open_day(sql, to, at_ms)?;
        clock.day = to;
    }
    Ok(Outcome::Done)
}

/// Applies [`crate::store::Op::Cleared`].
pub(super) fn cleared(sql: &mut dyn Sql, cleared: &Cleared) -> Result<Outcome, StoreError> {
    let day = i64::from(cleared.day.0);
    for file in &cleared.files {
        let known = "SELECT name FROM settlement_file WHERE day = $1 AND name = $2";
        if sql.first(known, &[i64::from(file.day.0).into(), (&file.name).into()])?.is_some() {
            return Ok(Outcome::Done);
        }
    }
    if !mark(sql, cleared, day)? {
        unmark(sql, day)?;
        return Ok(Outcome::Refused(Refusal::InvalidTransaction));
    }
    let files: Vec<Vec<Arg<'_>>> = cleared
        .files
        .iter()
        .map(|file| {
            vec![
                i64::from(file.day.0).into(),
                (&file.name).into(),
                (&file.kind).into(),
                (&file.party).into(),
                (&file.sha256).into(),
                file.records.into(),
                file.sum_minor.into(),
                i64::from(file.currency).into(),
            ]
        })
        .collect();
    let new = "INSERT INTO settlement_file (day, name, kind, party, sha256, records, sum_minor, currency) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sql.execute_many(new, &files)?;
    post(sql, cleared)?;
    Ok(Outcome::Done)
}

/// Marks what the files hold. `false` when a transaction is no longer what was selected: it was
/// reversed, or cleared by another run, since.
fn mark(sql: &mut dyn Sql, cleared: &Cleared, day: i64) -> Result<bool, StoreError> {
    let of = |takes_back: bool| -> Vec<Vec<Arg<'_>>> {
        let items = cleared.items.iter().filter(|item| item.takes_back == takes_back);
        items.map(|item| vec![Arg::Int(day), Arg::Int(item.id.0)]).collect()
    };
    let present = "UPDATE txn SET cleared_day = $1 \
                   WHERE id = $2 AND cleared_day IS NULL AND state = 'approved'";
    sql.execute_many(present, &of(false))?;
    let take_back = "UPDATE txn SET taken_back_day = $1 \
                     WHERE id = $2 AND taken_back_day IS NULL AND state IN ('reversed', 'voided')";
    sql.execute_many(take_back, &of(true))?;
    let mut marked = |of: &str| -> Result<i64, StoreError> {
        sql.first(of, &[day.into()])?.map_or(Ok(0), |mut row| row.int())
    };
    let presented = marked("SELECT count(*) FROM txn WHERE cleared_day = $1")?;
    let taken_back = marked("SELECT count(*) FROM txn WHERE taken_back_day = $1")?;
    let wanted = |takes_back: bool| cleared.items.iter().filter(|i| i.takes_back == takes_back).count();
    Ok(usize::try_from(presented).ok() == Some(wanted(false))
        && usize::try_from(taken_back).ok() == Some(wanted(true)))
}

/// Takes the marks back: no file of the day is recorded, so all of them are this op's.
fn unmark(sql: &mut dyn Sql, day: i64) -> Result<(), StoreError> {
    sql.execute("UPDATE txn SET cleared_day = NULL WHERE cleared_day = $1", &[day.into()])?;
    sql.execute("UPDATE txn SET taken_back_day = NULL WHERE taken_back_day = $1", &[day.into()])?;
    Ok(())
}

fn post(sql: &mut dyn Sql, cleared: &Cleared) -> Result<(), StoreError> {
    let place = "SELECT coalesce(max(place), 0) FROM posting WHERE day = $1";
    let last = sql.first(place, &[i64::from(cleared.day.0).into()])?.map_or(Ok(0), |mut row| row.int())?;
    let rows: Vec<Vec<Arg<'_>>> = cleared
        .postings
        .iter()
        .zip(last + 1..)
        .map(|(posting, place)| {
            vec![
                i64::from(posting.day.0).into(),
                place.into(),
                (&posting.id).into(),
                (&posting.debit).into(),
                (&posting.credit).into(),
                posting.minor.into(),
                i64::from(posting.currency.numeric()).into(),
                (&posting.reference).into(),
            ]
        })
        .collect();
    let new = "INSERT INTO posting (day, place, id, debit, credit, minor, currency, reference) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    sql.execute_many(new, &rows)
}
