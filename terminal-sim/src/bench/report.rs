//! What a bench measured, for people and as JSON.

use super::till::{APPROVED, BAD_MAC, BAD_PIN};
use crate::load::LoadReport;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// One round of one of the two: what the terminals saw, and what it cost the process in the middle.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    #[serde(flatten)]
    pub(super) load: LoadReport,
    /// Time on a processor for each transaction, nanoseconds, by thread.
    pub(super) processor_ns_per_tx: BTreeMap<String, u64>,
}

/// The medians of all rounds of one of the two.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    tx_per_second: u64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    /// Time on a processor for each transaction, of the relay or the switch alone.
    processor_ns_per_tx: u64,
    rounds: Vec<Round>,
}

impl Figures {
    pub(super) fn of(rounds: Vec<Round>) -> Self {
        let median = |figure: &dyn Fn(&Round) -> u64| {
            let mut figures: Vec<u64> = rounds.iter().map(figure).collect();
            figures.sort_unstable();
            figures.get(figures.len() / 2).copied().unwrap_or(0)
        };
        Self {
            tx_per_second: median(&|r| r.load.tx_per_second),
            p50_us: median(&|r| r.load.p50_us),
            p90_us: median(&|r| r.load.p90_us),
            p99_us: median(&|r| r.load.p99_us),
            p999_us: median(&|r| r.load.p999_us),
            processor_ns_per_tx: median(&|r| r.processor_ns_per_tx.values().sum()),
            rounds,
        }
    }

    fn sum(&self, figure: impl Fn(&LoadReport) -> u64) -> u64 {
        self.rounds.iter().map(|round| figure(&round.load)).sum()
    }

    fn answers(&self, code: &str) -> u64 {
        self.sum(|load| load.codes.get(code).copied().unwrap_or(0))
    }
}

/// Commits of the store and operations in them, as the daemon's metrics tell them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Commits {
    pub(super) commits: u64,
    pub(super) rows: u64,
}

impl Commits {
    /// Reads the text format of Prometheus.
    pub(super) fn of(metrics: &str) -> Self {
        let figure = |name: &str| {
            let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
            let value = lines.find(|(found, _)| *found == name).map_or("0", |(_, value)| value);
            // A sum of whole numbers is written without a fraction.
            value.parse().unwrap_or(0)
        };
        let rows = figure("tollgate_store_commit_rows_sum");
        Self { commits: figure("tollgate_store_commits_total"), rows }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            commits: self.commits.saturating_sub(before.commits),
            rows: self.rows.saturating_sub(before.rows),
        }
    }
}

/// What was checked of the switch's answers.
#[derive(Debug, Serialize)]
struct Checked {
    /// Requests whose MAC was verified.
    macs: u64,
    /// Those whose MAC held: their PIN block was opened and translated.
    pins: u64,
    /// Sales approved: all but those made to be refused.
    approved: u64,
    bad_macs_refused: u64,
    bad_pins_refused: u64,
    /// Answers with another code than the request was made for.
    unexpected: u64,
    strangers: u64,
    unanswered: u64,
}

/// A bench's result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) terminals: u32,
    pub(super) seconds: u64,
    pub(super) workers: u32,
    pub(super) store: &'static str,
    /// Transactions that were in the store before.
    pub(super) preloaded: u32,
    pub(super) ceiling: Figures,
    pub(super) switch: Figures,
    /// The switch's rate in thousandths of the ceiling's.
    ratio_per_mille: u64,
    pub(super) store_commits: Commits,
    checked: Checked,
    /// Every answer was the one that its request was made for, and no terminal ran out of requests.
    sound: bool,
}

/// What a report is made of.
pub(super) struct Measured {
    pub(super) terminals: u32,
    pub(super) seconds: u64,
    pub(super) workers: u32,
    pub(super) store: &'static str,
    pub(super) preloaded: u32,
    pub(super) ceiling: Vec<Round>,
    pub(super) switch: Vec<Round>,
    pub(super) commits: Commits,
}

impl Report {
    pub(super) fn new(measured: Measured) -> Self {
        let (ceiling, switch) = (Figures::of(measured.ceiling), Figures::of(measured.switch));
        let answered = switch.sum(|load| load.transactions);
        let bad_macs_refused = switch.answers(BAD_MAC);
        let checked = Checked {
            macs: answered,
            pins: answered - bad_macs_refused,
            approved: switch.answers(APPROVED),
            bad_macs_refused,
            bad_pins_refused: switch.answers(BAD_PIN),
            unexpected: switch.sum(|load| load.unexpected),
            strangers: switch.sum(|load| load.strangers),
            unanswered: switch.sum(|load| load.unanswered),
        };
        let expected = checked.approved + checked.bad_macs_refused + checked.bad_pins_refused == answered;
        let faults = checked.unexpected + checked.strangers + checked.unanswered;
        let ran_out = switch.sum(|load| load.ran_out);
        Self {
            terminals: measured.terminals,
            seconds: measured.seconds,
            workers: measured.workers,
            store: measured.store,
            preloaded: measured.preloaded,
            ratio_per_mille: switch.tx_per_second * 1000 / ceiling.tx_per_second.max(1),
            sound: expected && answered > 0 && faults + ran_out == 0,
            ceiling,
            switch,
            store_commits: measured.commits,
            checked,
        }
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.sound
    }

    /// Prints it for people.
    pub(super) fn print(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(
            out,
            "{} terminals, one request in flight each; {} rounds of {} s in turn; {} worker(s); {} with {} \
             transactions in it\n",
            self.terminals,
            self.switch.rounds.len(),
            self.seconds,
            self.workers,
            self.store,
            thousands(self.preloaded.into())
        )?;
        writeln!(
            out,
            "                 transactions/s    p50 µs    p90 µs    p99 µs  p99.9 µs   processor µs each"
        )?;
        for (name, figures) in [("relay, no work", &self.ceiling), ("switch", &self.switch)] {
            writeln!(
                out,
                "{name:<16} {:>14} {:>9} {:>9} {:>9} {:>9} {:>19}",
                thousands(figures.tx_per_second),
                thousands(figures.p50_us),
                thousands(figures.p90_us),
                thousands(figures.p99_us),
                thousands(figures.p999_us),
                tenths(figures.processor_ns_per_tx / 100)
            )?;
        }
        writeln!(out, "\nthe switch reaches {} % of the relay's rate", tenths(self.ratio_per_mille))?;
        self.print_checks(out)
    }

    fn print_checks(&self, out: &mut dyn Write) -> Result<()> {
        let Commits { commits, rows } = self.store_commits;
        let checked = &self.checked;
        writeln!(
            out,
            "rows per commit    {} ({} in {} commits)",
            tenths(rows * 10 / commits.max(1)),
            thousands(rows),
            thousands(commits)
        )?;
        writeln!(out, "MACs checked       {}", thousands(checked.macs))?;
        writeln!(out, "PINs translated    {}", thousands(checked.pins))?;
        writeln!(out, "approved           {}", thousands(checked.approved))?;
        writeln!(out, "bad MACs refused   {} ({BAD_MAC})", thousands(checked.bad_macs_refused))?;
        writeln!(out, "bad PINs refused   {} ({BAD_PIN})", thousands(checked.bad_pins_refused))?;
        let faults = [
            ("answered otherwise than the request was made for", checked.unexpected),
            ("answers to another request", checked.strangers),
            ("without an answer", checked.unanswered),
            ("terminals that ran out of requests", self.switch.sum(|load| load.ran_out)),
        ];
        for (what, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(out, "FAULT              {} {what}", thousands(count))?;
        }
        Ok(())
    }
}

/// With a comma between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Tenths as a decimal.
fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(tx_per_second: u64, codes: &[(&str, u64)]) -> Round {
        let codes: BTreeMap<String, u64> = codes.iter().map(|(c, n)| ((*c).to_owned(), *n)).collect();
        let load = LoadReport {
            lanes: 1,
            transactions: codes.values().sum(),
            elapsed_us: 1,
            tx_per_second,
            p50_us: tx_per_second * 2,
            p90_us: 0,
            p99_us: 0,
            p999_us: 0,
            max_us: 0,
            approved: 0,
            refused: 0,
            codes,
            unexpected: 0,
            strangers: 0,
            unanswered: 0,
            ran_out: 0,
        };
        Round { load, processor_ns_per_tx: BTreeMap::from([("worker-0".to_owned(), 1)]) }
    }

    fn report(switch: Vec<Round>) -> Report {
        let ceiling = vec![round(150_000, &[("--", 9)]), round(160_000, &[]), round(155_000, &[])];
        let commits = Commits { commits: 2, rows: 63 };
        let (terminals, seconds, workers, store, preloaded) = (256, 5, 1, "sqlite", 1_000_000);
        Report::new(Measured { terminals, seconds, workers, store, preloaded, ceiling, switch, commits })
    }

    #[test]
    fn figures_are_medians_and_every_answer_counts() {
        let good = [("00", 998), ("A0", 1), ("99", 1)];
        let three = || vec![round(30_000, &good), round(31_000, &good), round(20_000, &good)];
        let sound = report(three());
        assert!(sound.is_sound());
        assert_eq!((sound.switch.tx_per_second, sound.switch.p50_us), (30_000, 60_000));
        assert_eq!(sound.ratio_per_mille, 193);
        assert_eq!((sound.checked.macs, sound.checked.pins, sound.checked.approved), (3000, 2997, 2994));
        let mut text = Vec::new();
        sound.print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for part in ["19.3 %", "31.5 (63 in 2 commits)", "155,000", "1,000,000 transactions", "2,994"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("FAULT"));

        type Spoil = fn(&mut LoadReport);
        let faults: [Spoil; 5] = [
            |load| load.unexpected = 1,
            |load| load.strangers = 1,
            |load| load.unanswered = 1,
            |load| load.ran_out = 1,
            |load| load.transactions += 1,
        ];
        for spoil in faults {
            let mut rounds = three();
            spoil(&mut rounds[1].load);
            assert!(!report(rounds).is_sound());
        }
        assert!(!report(Vec::new()).is_sound());
    }

    #[test]
    fn commits_are_read_from_metrics() {
        let text = "# TYPE x counter\ntollgate_store_commits_total 12\n\
                    tollgate_store_commit_rows_bucket{le=\"1\"} 3\ntollgate_store_commit_rows_sum 340\n";
        let commits = Commits::of(text);
        assert_eq!(commits, Commits { commits: 12, rows: 340 });
        assert_eq!(commits.since(Commits { commits: 2, rows: 40 }), Commits { commits: 10, rows: 300 });
    }

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(tenths(193), "19.3");
    }
}
