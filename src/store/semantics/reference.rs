//! Reference data and counters.

use super::Clock;
use crate::store::sql::{Arg, Sql};
use crate::store::{
    Issuer, Merchant, NamedKey, Outcome, Reference, Route, StoreError, Terminal, WorkingKeys,
};

/// Applies [`crate::store::Op::Put`].
pub(super) fn put(
    sql: &mut dyn Sql,
    clock: &mut Clock,
    reference: &Reference,
) -> Result<Outcome, StoreError> {
    match reference {
        Reference::Merchant(merchant) => put_merchant(sql, merchant)?,
        Reference::Terminal(terminal) => put_terminal(sql, terminal)?,
        Reference::Route(route) => put_route(sql, route)?,
        Reference::Issuer(issuer) => put_issuer(sql, issuer)?,
        Reference::Key(key) => put_key(sql, key)?,
    };
    revise(sql, clock)?;
    Ok(Outcome::Done)
}

/// Moves the revision, so that daemons reread.
pub(super) fn revise(sql: &mut dyn Sql, clock: &mut Clock) -> Result<(), StoreError> {
    sql.execute("UPDATE clock SET revision = revision + 1 WHERE one = 1", &[])?;
    clock.revision += 1;
    Ok(())
}

fn put_merchant(sql: &mut dyn Sql, merchant: &Merchant) -> Result<u64, StoreError> {
    let upsert = "INSERT INTO merchant (mid, name, city, country, mcc, fee_basis_points, active) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (mid) DO UPDATE SET name = excluded.name, \
                  city = excluded.city, country = excluded.country, mcc = excluded.mcc, \
                  fee_basis_points = excluded.fee_basis_points, active = excluded.active";
    let args = [
        merchant.mid.trimmed().into(),
        (&merchant.name).into(),
        (&merchant.city).into(),
        (&merchant.country).into(),
        (&merchant.mcc).into(),
        (&merchant.fee_basis_points).into(),
        i64::from(merchant.active).into(),
    ];
    sql.execute(upsert, &args)
}

fn put_terminal(sql: &mut dyn Sql, terminal: &Terminal) -> Result<u64, StoreError> {
    let upsert = "INSERT INTO terminal (mid, tid, dialect, currency, tmk, static_generation, static_tpk, \
                  static_tak, static_tdk, active) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                  ON CONFLICT (mid, tid) DO UPDATE SET dialect = excluded.dialect, \
                  currency = excluded.currency, tmk = excluded.tmk, \
                  static_generation = excluded.static_generation, static_tpk = excluded.static_tpk, \
                  static_tak = excluded.static_tak, static_tdk = excluded.static_tdk, active = excluded.active";
    let keys: Option<&WorkingKeys> = terminal.static_keys.as_ref();
    let args = [
        terminal.mid.trimmed().into(),
        terminal.tid.trimmed().into(),
        terminal.dialect.name().into(),
        i64::from(terminal.currency.numeric()).into(),
        terminal.tmk.as_ref().into(),
        keys.map(|k| k.generation).into(),
        keys.map(|k| &k.tpk).into(),
        keys.map(|k| &k.tak).into(),
        keys.and_then(|k| k.tdk.as_ref()).into(),
        i64::from(terminal.active).into(),
    ];
    sql.execute(upsert, &args)
}

fn put_route(sql: &mut dyn Sql, route: &Route) -> Result<u64, StoreError> {
    let upsert = "INSERT INTO route (prefix, pan_min, pan_max, issuer) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT (prefix, pan_min, pan_max) DO UPDATE SET issuer = excluded.issuer";
    let (min, max) = (i64::from(route.pan_min), i64::from(route.pan_max));
    sql.execute(upsert, &[(&route.prefix).into(), min.into(), max.into(), route.issuer.trimmed().into()])
}

fn put_issuer(sql: &mut dyn Sql, issuer: &Issuer) -> Result<u64, StoreError> {
    let issuer = &super::zone::put(sql, issuer)?;
    let upsert = "INSERT INTO issuer (id, acquirer_code, zpk, zak, zmk) VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (id) DO UPDATE SET acquirer_code = excluded.acquirer_code, \
                  zpk = excluded.zpk, zak = excluded.zak, zmk = excluded.zmk";
    let args = [
        issuer.id.trimmed().into(),
        (&issuer.acquirer_code).into(),
        issuer.zpk.as_ref().into(),
        issuer.zak.as_ref().into(),
        issuer.zmk.as_ref().into(),
    ];
    sql.execute(upsert, &args)
}

fn put_key(sql: &mut dyn Sql, key: &NamedKey) -> Result<u64, StoreError> {
    let upsert = "INSERT INTO named_key (name, block, kcv, usage) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT (name) DO UPDATE SET block = excluded.block, kcv = excluded.kcv, \
                  usage = excluded.usage";
    sql.execute(upsert, &[(&key.name).into(), (&key.block).into(), (&key.kcv).into(), (&key.usage).into()])
}

/// The next value of a counter, from 1.
pub(super) fn count_up(sql: &mut dyn Sql, name: &str) -> Result<i64, StoreError> {
    let next = "INSERT INTO counter (name, value) VALUES ($1, 1) \
                ON CONFLICT (name) DO UPDATE SET value = counter.value + 1 RETURNING value";
    let row = sql.first(next, &[name.into()])?;
    row.ok_or_else(|| StoreError::Corrupt("a counter gave nothing".into()))?.int()
}

/// Applies [`crate::store::Op::Reserve`]. The counter holds the last number given.
pub(super) fn reserve(sql: &mut dyn Sql, name: &str, count: u32, max: u32) -> Result<Outcome, StoreError> {
    let new = "INSERT INTO counter (name, value) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING";
    sql.execute(new, &[name.into()])?;
    let held = sql.query_locked("SELECT value FROM counter WHERE name = $1", &[name.into()])?;
    let mut row =
        held.into_iter().next().ok_or_else(|| StoreError::Corrupt("a counter gave nothing".into()))?;
    let last: u32 = row.number()?;
    let wraps = u64::from(last) + u64::from(count) > u64::from(max);
    let first = if wraps { 1 } else { last + 1 };
    let given = i64::from(first) + i64::from(count) - 1;
    sql.execute("UPDATE counter SET value = $1 WHERE name = $2", &[Arg::Int(given), name.into()])?;
    Ok(Outcome::Reserved(first))
}
