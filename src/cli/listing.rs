//! `batch` and `txn`: what is stored, for people and scripts, and how any verb prints. Card numbers are
//! masked. Decides nothing.

use crate::store::{BatchRow, Filter, Reader, Stored};
use crate::transaction::{BatchNo, Mid, SideTotals, Tid, TxnId};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists batches.
pub(super) fn batch_list(reader: &mut dyn Reader, form: Form, out: &mut dyn Write) -> Result<()> {
    let batches = reader.batches()?;
    let all = batches.iter().map(batch_json).collect();
    form.print(out, &Value::Array(all), || batches_table(&batches))
}

/// Lists transactions.
pub(super) fn txn_list(
    reader: &mut dyn Reader,
    filter: &Filter,
    form: Form,
    out: &mut dyn Write,
) -> Result<()> {
    let rows = reader.transactions(filter)?;
    let all = rows.iter().map(txn_json).collect();
    form.print(out, &Value::Array(all), || txns_table(&rows))
}

fn batch_json(row: &BatchRow) -> Value {
    let side = |side: SideTotals| json!({ "count": side.count, "minor": side.minor });
    let settled = row.settled.as_ref().map(|s| {
        json!({
            "balanced": s.balanced, "at_ms": s.at_ms,
            "terminal": { "debit": side(s.terminal.debit), "credit": side(s.terminal.credit) },
            "host": { "debit": side(s.host.debit), "credit": side(s.host.credit) },
        })
    });
    json!({
        "tid": row.tid.trimmed(), "mid": row.mid.trimmed(), "batch": row.batch.to_string(),
        "state": row.state, "reason": row.reason, "settled": settled, "uploaded": row.uploaded,
        "count_differs": row.count_differs, "closed_ms": row.closed_ms,
    })
}

fn batches_table(rows: &[BatchRow]) -> String {
    let pair = |side: SideTotals| format!("{}/{}", side.count, side.minor);
    let cells = |row: &BatchRow| {
        let (host, balanced) = row.settled.as_ref().map_or(("-".to_owned(), "-"), |s| {
            let host = format!("{} {}", pair(s.host.debit), pair(s.host.credit));
            (host, if s.balanced { "yes" } else { "no" })
        });
        let reason = row.reason.clone().unwrap_or_else(|| "-".into());
        let (tid, mid) = (row.tid.to_string(), row.mid.to_string());
        vec![tid, mid, row.batch.to_string(), row.state.clone(), reason, host, balanced.into()]
    };
    let header = ["terminal", "merchant", "batch", "state", "reason", "host debit, credit", "balanced"];
    table(&header, rows.iter().map(cells).collect())
}

/// Shows one batch of a terminal.
pub(super) fn batch_show(
    reader: &mut dyn Reader,
    (tid, mid, number): (Tid, Option<Mid>, Option<BatchNo>),
    form: Form,
    out: &mut dyn Write,
) -> Result<()> {
    let wanted = |row: &BatchRow| {
        row.tid == tid && mid.is_none_or(|mid| row.mid == mid) && number.is_none_or(|n| row.batch == n)
    };
    let Some(batch) = reader.batches()?.into_iter().find(wanted) else {
        bail!("terminal {tid} has no such batch");
    };
    let filter = Filter { tid: Some(tid), mid: Some(batch.mid), ..Filter::default() };
    let mut rows = reader.transactions(&filter)?;
    rows.retain(|row| row.batch == batch.batch);
    let mut value = batch_json(&batch);
    if let Some(object) = value.as_object_mut() {
        object.insert("transactions".into(), rows.iter().map(txn_json).collect());
    }
    form.print(out, &value, || batches_table(std::slice::from_ref(&batch)) + &txns_table(&rows))?;
    Ok(())
}

/// Shows one transaction.
pub(super) fn txn_show(reader: &mut dyn Reader, id: TxnId, form: Form, out: &mut dyn Write) -> Result<()> {
    let filter = Filter { id: Some(id), ..Filter::default() };
    let Some(row) = reader.transactions(&filter)?.into_iter().next() else {
        bail!("there is no transaction {id}");
    };
    let value = txn_json(&row);
    form.print(out, &value, || {
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let pairs = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        pairs.map(|(name, value)| format!("{name:18} {}\n", shown(value))).collect()
    })?;
    Ok(())
}

fn txn_json(row: &Stored) -> Value {
    json!({
        "id": row.id.0,
        "day": row.day.to_string(),
        "kind": row.kind.name(),
        "state": row.state.name(),
        "dialect": row.dialect.name(),
        "node": row.node.0,
        "tid": row.tid.trimmed(),
        "mid": row.mid.trimmed(),
        "batch": row.batch.to_string(),
        "stan": row.stan.to_string(),
        "processing_code": row.processing_code.trimmed(),
        "requested_minor": row.requested.map(|amount| amount.minor()),
        "amount_minor": row.amount.map(|amount| amount.minor()),
        "currency": row.amount.or(row.requested).map(|amount| amount.currency().code()),
        "refunded_minor": row.refunded_minor,
        "card": row.pan.as_ref().map(|pan| pan.masked.as_str()),
        "entry_mode": row.entry_mode,
        "condition": row.condition,
        "terminal_time": row.terminal_time,
        "invoice": row.invoice,
        "rrn": row.rrn.trimmed(),
        "auth_code": row.auth_code.as_ref().map(|code| code.trimmed()),
        "code": row.code.as_ref().map(|code| code.trimmed()),
        "refusal": row.refusal.map(crate::transaction::Refusal::name),
        "issuer": row.issuer.trimmed(),
        "link_stan": row.link_stan.map(|stan| stan.to_string()),
        "issuer_rrn": row.issuer_rrn.as_ref().map(|rrn| rrn.trimmed()),
        "original": row.original.map(|id| id.0),
        "claimed_by": row.claimed_by.map(|id| id.0),
        "received_ms": row.received_ms,
        "finished_ms": row.finished_ms,
        "cleared_day": row.cleared_day.map(|day| day.to_string()),
        "taken_back_day": row.taken_back_day.map(|day| day.to_string()),
    })
}

fn txns_table(rows: &[Stored]) -> String {
    let cells = |row: &Stored| {
        let amount = row.amount.or(row.requested).map_or_else(|| "-".into(), |amount| amount.to_string());
        let card = row.pan.as_ref().map_or_else(|| "-".into(), |pan| pan.masked.clone());
        let code = row.code.map_or_else(|| "-".into(), |code| code.to_string());
        vec![
            row.id.to_string(),
            row.day.to_string(),
            row.tid.to_string(),
            row.stan.to_string(),
            row.kind.name().into(),
            row.state.name().into(),
            amount,
            card,
            row.issuer.to_string(),
            code,
        ]
    };
    let header = ["id", "day", "terminal", "stan", "kind", "state", "amount", "card", "issuer", "code"];
    table(&header, rows.iter().map(cells).collect())
}

/// A moment, for people.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

impl Form {
    /// Prints a result in this form.
    pub(super) fn print(
        self,
        out: &mut dyn Write,
        value: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            writeln!(out, "{value}")?
        } else {
            out.write_all(text().as_bytes())?
        }
        Ok(())
    }
}

/// Columns as wide as their widest cell, two blanks between.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    all.iter().map(line).collect()
}
