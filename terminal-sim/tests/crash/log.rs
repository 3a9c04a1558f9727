//! The terminals' own log: one line for every request as its terminal finally saw it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// How a request ended for its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// Approved, and never reversed by the terminal.
    Approved,
    /// Declined or refused.
    Declined,
    /// The terminal reversed it, and was answered.
    Reversed,
    /// The terminal does not know, and will never ask.
    #[serde(rename = "none")]
    GivenUp,
}

/// A line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) tid: String,
    pub(crate) mid: String,
    pub(crate) batch: u32,
    pub(crate) stan: u32,
    pub(crate) kind: &'static str,
    pub(crate) amount_minor: i64,
    pub(crate) outcome: End,
    pub(crate) rrn: Option<String>,
    pub(crate) auth_code: Option<String>,
    /// DE 39.
    pub(crate) code: String,
}

#[derive(Debug, Default)]
struct Pages {
    lines: Vec<Line>,
    faults: Vec<String>,
    settled: u32,
}

/// What all terminals write to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Pages>>);

/// What a log holds, counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) ends: BTreeMap<End, u32>,
    /// Of what was declined, by DE 39.
    pub(crate) declined: BTreeMap<String, u32>,
    pub(crate) batches_settled: u32,
}

impl Log {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    pub(crate) fn add(&self, line: Line) {
        self.pages().lines.push(line);
    }

    /// Something that a terminal must never see, in words.
    pub(crate) fn fault(&self, text: String) {
        self.pages().faults.push(text);
    }

    pub(crate) fn batch_settled(&self) {
        self.pages().settled += 1;
    }

    /// Lines so far.
    pub(crate) fn finished(&self) -> u64 {
        self.pages().lines.len() as u64
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.pages().faults.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let pages = self.pages();
        let mut counts = Counts { batches_settled: pages.settled, ..Counts::default() };
        for line in &pages.lines {
            *counts.ends.entry(line.outcome).or_default() += 1;
            if line.outcome == End::Declined {
                *counts.declined.entry(line.code.clone()).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
        for line in &self.pages().lines {
            serde_json::to_writer(&mut out, line).unwrap();
            out.write_all(b"\n").unwrap();
        }
        out.flush().unwrap();
    }
}
