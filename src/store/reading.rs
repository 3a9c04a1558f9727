//! What people, files and start-up read, written once over [`Sql`]. Changes nothing.

use super::rows::{self, txn_columns};
use super::semantics::{self, Terminal as TerminalKey, read_settle, settle_columns};
use super::sql::{Arg, Row, Sql};
use super::{
    BatchRow, Directory, Filter, Issuer, Merchant, NamedKey, Reader, Route, Session, SettlementFile,
    StoreError, Stored, Terminal, WorkingKeys,
};
use crate::ledger::Posting;
use crate::transaction::{Day, IssuerId, Mid, TerminalDialect, Tid};

/// A reader over a read-only connection.
pub(super) struct SqlReader<S>(pub(super) S);

impl<S: Sql + Send> Reader for SqlReader<S> {
    fn day(&mut self) -> Result<(Day, i64), StoreError> {
        let clock = semantics::clock(&mut self.0)?;
        Ok((clock.day, clock.revision))
    }

    fn directory(&mut self) -> Result<Directory, StoreError> {
        // The revision first: what changes while the tables are read raises it again.
        let revision = self.day()?.1;
        let sql = &mut self.0;
        Ok(Directory {
            revision,
            merchants: all(sql, MERCHANTS, merchant)?,
            terminals: all(sql, TERMINALS, terminal)?,
            routes: all(sql, "SELECT prefix, pan_min, pan_max, issuer FROM route ORDER BY prefix", route)?,
            issuers: all(sql, "SELECT id, acquirer_code, zpk, zak, zmk FROM issuer ORDER BY id", issuer)?,
            zone_keys: all(sql, semantics::ZONE_KEYS, semantics::read_zone_key)?,
            keys: all(sql, "SELECT name, block, kcv, usage FROM named_key ORDER BY name", named_key)?,
        })
    }

    fn session(&mut self, mid: Mid, tid: Tid) -> Result<Session, StoreError> {
        let find = "SELECT generation, tpk, tak, tdk, previous_generation, previous_tpk, previous_tak, \
                    previous_tdk, uses FROM session WHERE mid = $1 AND tid = $2";
        let row = self.0.first(find, &[mid.trimmed().into(), tid.trimmed().into()])?;
        row.map_or(Ok(Session::default()), |mut row| session(&mut row))
    }

    fn transactions(&mut self, filter: &Filter) -> Result<Vec<Stored>, StoreError> {
        let (text, args) = select(filter);
        self.0.query(&text, &args)?.into_iter().map(rows::read).collect()
    }

    fn batches(&mut self) -> Result<Vec<BatchRow>, StoreError> {
        let text = concat!(
            "SELECT b.mid, b.tid, b.number, b.state, b.reason, b.count_differs, b.closed_ms, \
             (SELECT count(*) FROM upload u WHERE u.mid = b.mid AND u.tid = b.tid AND u.batch = b.number), ",
            settle_columns!(),
            " FROM batch b ORDER BY coalesce(b.closed_ms, 9223372036854775807) DESC, b.mid, b.tid, b.number DESC"
        );
        all(&mut self.0, text, batch)
    }

    fn files(&mut self, day: Option<Day>) -> Result<Vec<SettlementFile>, StoreError> {
        let text = "SELECT day, name, kind, party, sha256, records, sum_minor, currency FROM settlement_file";
        of_day(&mut self.0, text, day, " ORDER BY day, name", file)
    }

    fn postings(&mut self, day: Option<Day>) -> Result<Vec<Posting>, StoreError> {
        let text = "SELECT id, day, debit, credit, minor, currency, reference FROM posting";
        of_day(&mut self.0, text, day, " ORDER BY day, place", posting)
    }

    fn saf_depth(&mut self) -> Result<Vec<(IssuerId, u64, i64)>, StoreError> {
        let text = "SELECT issuer, count(*), min(queued_ms) FROM saf WHERE state IN ('waiting', 'parked') \
                    AND state = 'waiting' GROUP BY issuer ORDER BY issuer";
        all(&mut self.0, text, |row| Ok((row.parse()?, row.number()?, row.int()?)))
    }
}

fn all<S: Sql, T>(
    sql: &mut S,
    text: &str,
    read: impl Fn(&mut Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    sql.query(text, &[])?.into_iter().map(|mut row| read(&mut row)).collect()
}

fn of_day<S: Sql, T>(
    sql: &mut S,
    text: &str,
    day: Option<Day>,
    order: &str,
    read: impl Fn(&mut Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let Some(day) = day else { return all(sql, &format!("{text}{order}"), read) };
    let rows = sql.query(&format!("{text} WHERE day = $1{order}"), &[i64::from(day.0).into()])?;
    rows.into_iter().map(|mut row| read(&mut row)).collect()
}

/// The statement of a filter, with its parameters.
fn select(filter: &Filter) -> (String, Vec<Arg<'_>>) {
    let day = |day: Option<Day>| day.map(|d| Arg::Int(i64::from(d.0)));
    let conditions: [(&str, Option<Arg<'_>>); 6] = [
        ("t.day = ", day(filter.day)),
        ("t.tid = ", filter.tid.as_ref().map(|t| t.trimmed().into())),
        ("t.mid = ", filter.mid.as_ref().map(|m| m.trimmed().into())),
        ("t.issuer = ", filter.issuer.as_ref().map(|i| i.trimmed().into())),
        ("t.id = ", filter.id.map(|id| Arg::Int(id.0))),
        ("", day(filter.in_file_of)),
    ];
    let mut text = String::from(concat!("SELECT ", txn_columns!(), " FROM txn t"));
    let mut args = Vec::new();
    for (column, arg) in conditions {
        let Some(arg) = arg else { continue };
        text.push_str(if args.is_empty() { " WHERE " } else { " AND " });
        args.push(arg);
        let n = args.len();
        if column.is_empty() {
            text.push_str(&format!("(t.cleared_day = ${n} OR t.taken_back_day = ${n})"));
        } else {
            text.push_str(&format!("{column}${n}"));
        }
    }
    match filter.latest {
        None => text.push_str(" ORDER BY t.id"),
        Some(limit) => {
            args.push(Arg::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
            text.push_str(&format!(" ORDER BY t.id DESC LIMIT ${}", args.len()));
        }
    }
    (text, args)
}

const MERCHANTS: &str =
    "SELECT mid, name, city, country, mcc, fee_basis_points, active FROM merchant ORDER BY mid";

fn merchant(row: &mut Row) -> Result<Merchant, StoreError> {
    Ok(Merchant {
        mid: row.parse()?,
        name: row.text()?,
        city: row.text()?,
        country: row.text()?,
        mcc: row.text()?,
        fee_basis_points: row.text()?,
        active: row.int()? != 0,
    })
}

const TERMINALS: &str = "SELECT t.mid, t.tid, t.dialect, t.currency, t.tmk, t.active, t.static_generation, \
     t.static_tpk, t.static_tak, t.static_tdk, s.generation, s.tpk, s.tak, s.tdk, s.previous_generation, \
     s.previous_tpk, s.previous_tak, s.previous_tdk, s.uses FROM terminal t LEFT JOIN session s \
     ON s.mid = t.mid AND s.tid = t.tid ORDER BY t.mid, t.tid";

fn terminal(row: &mut Row) -> Result<(Terminal, Session), StoreError> {
    let terminal = Terminal {
        mid: row.parse()?,
        tid: row.parse()?,
        dialect: row.name(TerminalDialect::from_name)?,
        currency: rows::currency(row.int()?)?,
        tmk: row.opt_text()?,
        active: row.int()? != 0,
        static_keys: keys(row)?,
    };
    Ok((terminal, session(row)?))
}

fn session(row: &mut Row) -> Result<Session, StoreError> {
    let (current, previous, uses) = (keys(row)?, keys(row)?, row.opt_int()?.unwrap_or(0));
    Ok(Session { current, previous, uses: u64::try_from(uses).unwrap_or(0) })
}

fn keys(row: &mut Row) -> Result<Option<WorkingKeys>, StoreError> {
    let (generation, tpk, tak, tdk) = (row.opt_int()?, row.opt_text()?, row.opt_text()?, row.opt_text()?);
    let (Some(generation), Some(tpk), Some(tak)) = (generation, tpk, tak) else { return Ok(None) };
    Ok(Some(WorkingKeys { generation, tpk, tak, tdk }))
}

fn route(row: &mut Row) -> Result<Route, StoreError> {
    Ok(Route { prefix: row.text()?, pan_min: row.number()?, pan_max: row.number()?, issuer: row.parse()? })
}

fn issuer(row: &mut Row) -> Result<Issuer, StoreError> {
    Ok(Issuer {
        id: row.parse()?,
        acquirer_code: row.text()?,
        zpk: row.opt_text()?,
        zak: row.opt_text()?,
        zmk: row.opt_text()?,
    })
}

fn named_key(row: &mut Row) -> Result<NamedKey, StoreError> {
    Ok(NamedKey { name: row.text()?, block: row.text()?, kcv: row.text()?, usage: row.text()? })
}

fn batch(row: &mut Row) -> Result<BatchRow, StoreError> {
    let (mid, tid, number) = (row.parse()?, row.parse()?, rows::batch_no(row.number()?)?);
    Ok(BatchRow {
        tid,
        mid,
        batch: number,
        state: row.text()?,
        reason: row.opt_text()?,
        count_differs: row.int()? != 0,
        closed_ms: row.opt_int()?,
        uploaded: row.number()?,
        settled: read_settle(row, TerminalKey { mid, tid }, number)?,
    })
}

fn file(row: &mut Row) -> Result<SettlementFile, StoreError> {
    Ok(SettlementFile {
        day: Day(row.number()?),
        name: row.text()?,
        kind: row.text()?,
        party: row.text()?,
        sha256: row.text()?,
        records: row.int()?,
        sum_minor: row.int()?,
        currency: row.number()?,
    })
}

fn posting(row: &mut Row) -> Result<Posting, StoreError> {
    Ok(Posting {
        id: row.text()?,
        day: Day(row.number()?),
        debit: row.text()?,
        credit: row.text()?,
        minor: row.int()?,
        currency: rows::currency(row.int()?)?,
        reference: row.text()?,
    })
}
