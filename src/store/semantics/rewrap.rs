//! Key blocks under another LMK.

use super::Clock;
use super::reference::revise;
use crate::store::sql::{Arg, Sql};
use crate::store::{KeySlot, Outcome, Rewrapped, StoreError};

/// Applies [`crate::store::Op::Rewrap`]: each block where what it was made from still stands.
pub(super) fn rewrap(
    sql: &mut dyn Sql,
    clock: &mut Clock,
    blocks: &[Rewrapped],
) -> Result<Outcome, StoreError> {
    let (mut done, mut changed) = (0, 0);
    for block in blocks {
        let replaced = replace(sql, block)?;
        changed += replaced;
        if replaced > 0 {
            // What an issuer's key was imported as is compared with what is imported next.
            let text = "UPDATE zone_key SET imported = $1 WHERE imported = $2";
            sql.execute(text, &[Arg::Text(&block.to), Arg::Text(&block.from)])?;
        }
        // Asked again, it finds its own effect.
        done += u32::from(replaced > 0 || stands(sql, block)?);
    }
    if changed > 0 {
        revise(sql, clock)?;
    }
    Ok(Outcome::Rewrapped(done))
}

/// Table, column and key columns of a slot, and the values of these.
fn place(slot: &KeySlot) -> (&'static str, &'static str, Vec<(&'static str, &str)>) {
    match slot {
        KeySlot::Named(name) => ("named_key", "block", vec![("name", name)]),
        KeySlot::Terminal(mid, tid, key) => {
            ("terminal", key.column(), vec![("mid", mid.trimmed()), ("tid", tid.trimmed())])
        }
        KeySlot::Session(mid, tid, key) => {
            ("session", key.column(), vec![("mid", mid.trimmed()), ("tid", tid.trimmed())])
        }
        KeySlot::Issuer(id, key) => ("issuer", key.column(), vec![("id", id.trimmed())]),
        KeySlot::Change(id, of, key) => {
            ("zone_key", key.column(), vec![("issuer", id.trimmed()), ("usage", of.name())])
        }
    }
}

/// `WHERE` the row is the slot's and the column holds a text; parameters count from `first`.
fn condition(first: usize, slot: &KeySlot) -> String {
    let (_, column, keys) = place(slot);
    let names = keys.iter().map(|(name, _)| *name).chain([column]);
    let terms: Vec<String> =
        names.enumerate().map(|(place, name)| format!("{name} = ${}", first + place)).collect();
    terms.join(" AND ")
}

fn replace(sql: &mut dyn Sql, block: &Rewrapped) -> Result<u64, StoreError> {
    let (table, column, keys) = place(&block.slot);
    let text = format!("UPDATE {table} SET {column} = $1 WHERE {}", condition(2, &block.slot));
    let keys = keys.iter().map(|(_, value)| Arg::Text(value));
    let args: Vec<Arg<'_>> =
        [Arg::Text(&block.to)].into_iter().chain(keys).chain([Arg::Text(&block.from)]).collect();
    sql.execute(&text, &args)
}

fn stands(sql: &mut dyn Sql, block: &Rewrapped) -> Result<bool, StoreError> {
    let (table, column, keys) = place(&block.slot);
    let text = format!("SELECT {column} FROM {table} WHERE {}", condition(1, &block.slot));
    let keys = keys.iter().map(|(_, value)| Arg::Text(value));
    let args: Vec<Arg<'_>> = keys.chain([Arg::Text(&block.to)]).collect();
    Ok(sql.first(&text, &args)?.is_some())
}
