//! What others hold of a cell once everything has been delivered: the issuers' wire, the issuers' journals, the
//! switch's transactions.

use std::collections::BTreeMap;
use std::fs;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use iso8583_spec::{Spec, View};
use serde_json::Value;
use terminal_sim::issuer::Kind;
use terminal_sim::stage::Stage;
use tokio::time::Instant;

/// How long everything may take to reach the issuers.
const DRAIN: Duration = Duration::from_secs(90);

/// A message to an issuer, off the wire.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) tid: String,
    pub(crate) mti: String,
    pub(crate) code: String,
    pub(crate) stan: String,
    pub(crate) rrn: String,
    /// DE 90.
    pub(crate) original: Option<String>,
}

/// Balance and hold of an account moved by so much, minor units.
pub(crate) type Moved = (i64, i64);

/// The books.
#[derive(Debug)]
pub(crate) struct Books {
    sent: Vec<Sent>,
    moved_by_rrn: BTreeMap<String, Moved>,
    transactions: Vec<Value>,
    batches: Vec<Value>,
}

impl Books {
    /// Waits until no store-and-forward entry is left, then reads everything.
    pub(crate) async fn when_drained(stage: &Stage) -> Result<Self> {
        let give_up = Instant::now() + DRAIN;
        while waiting(stage)? > 0 {
            ensure!(Instant::now() < give_up, "store and forward is not empty after {DRAIN:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        stage.recorder.flush()?;
        Ok(Self {
            sent: sent(&fs::read_to_string(stage.dir.join("record.jsonl"))?)?,
            moved_by_rrn: moved_by_rrn(stage),
            transactions: listed(stage, &["txn", "list", "--latest", "1000000", "--json"])?,
            batches: listed(stage, &["batch", "list", "--json"])?,
        })
    }

    /// What a terminal's messages became at the issuers, in order.
    pub(crate) fn sent_for(&self, tid: &str) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.tid == tid).collect()
    }

    /// What is left of each of a terminal's transactions at the issuers, undone ones left out; sorted.
    pub(crate) fn moved_for(&self, tid: &str) -> Vec<Moved> {
        let mut rrns: Vec<&str> = self.sent_for(tid).iter().map(|sent| sent.rrn.as_str()).collect();
        rrns.sort_unstable();
        rrns.dedup();
        let moved = rrns.into_iter().filter_map(|rrn| self.moved_by_rrn.get(rrn).copied());
        let mut moved: Vec<Moved> = moved.filter(|moved| *moved != (0, 0)).collect();
        moved.sort_unstable();
        moved
    }

    /// States of a terminal's transactions of a kind, oldest first.
    pub(crate) fn states(&self, tid: &str, kind: &str) -> Vec<&str> {
        let of = |row: &&Value| row["tid"] == tid && row["kind"] == kind;
        self.transactions.iter().rev().filter(of).filter_map(|row| row["state"].as_str()).collect()
    }

    /// A batch of a terminal: why it closed, and how many items were uploaded.
    pub(crate) fn batch(&self, tid: &str, number: u32) -> Result<(String, u64)> {
        let number = format!("{number:06}");
        let found = self.batches.iter().find(|row| row["tid"] == tid && row["batch"] == number.as_str());
        let row = found.with_context(|| format!("the switch has no batch {number} of {tid}"))?;
        let reason = row["reason"].as_str().unwrap_or("open").to_owned();
        Ok((reason, row["uploaded"].as_u64().context("uploaded")?))
    }
}

fn listed(stage: &Stage, verb: &[&str]) -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&stage.verb(verb)?)?)
}

fn waiting(stage: &Stage) -> Result<i64> {
    let status: Value = serde_json::from_str(stage.verb(&["day", "status", "--json"])?.trim())?;
    let queues = status["saf"].as_array().context("saf of the day's status")?;
    Ok(queues.iter().filter_map(|queue| queue["count"].as_i64()).sum())
}

/// The frames from the switch to its issuers, without network management.
fn sent(record: &str) -> Result<Vec<Sent>> {
    let spec = Spec::builtin("iso87-ascii").context("the codec lacks iso87-ascii")?;
    let mut sent = Vec::new();
    for line in record.lines() {
        let line: Value = serde_json::from_str(line)?;
        let issuer = line["link"].as_str().is_some_and(|link| link.starts_with("issuer:"));
        let (true, Some("switch"), Some(frame)) = (issuer, line["from"].as_str(), line["hex"].as_str())
        else {
            continue;
        };
        let body = hex::decode(frame)?;
        let Ok(view) = View::decode(spec, &body) else { bail!("an issuer got what cannot be read") };
        let text = |de| view.text(de).map(|text| text.trim_end().to_owned());
        if view.mti().class() != '8' {
            sent.push(Sent {
                tid: text(41).unwrap_or_default(),
                mti: view.mti().as_str().to_owned(),
                code: text(3).unwrap_or_default(),
                stan: text(11).unwrap_or_default(),
                rrn: text(37).unwrap_or_default(),
                original: text(90),
            });
        }
    }
    Ok(sent)
}

/// A reversal counts under the RRN of what it undoes.
fn moved_by_rrn(stage: &Stage) -> BTreeMap<String, Moved> {
    let mut moved: BTreeMap<String, Moved> = BTreeMap::new();
    for issuer in &stage.issuers {
        let journal = issuer.books.lock().unwrap_or_else(PoisonError::into_inner).journal();
        for entry in &journal {
            let undone = entry.original.filter(|_| entry.kind == Kind::Reversal);
            let rrn = undone.and_then(|order| journal.get(order)).map_or(&entry.rrn, |of| &of.rrn);
            let of = moved.entry(rrn.clone()).or_default();
            of.0 += entry.balance_minor;
            of.1 += entry.held_minor;
        }
    }
    moved
}
