//! Every figure the daemon gives about itself: one table of names, units and help texts, and one
//! thin function per figure. It knows no other room, and no card, amount or key is a label.

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
};
use ::metrics::{gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// Complete frames received from terminals; label `dialect`.
pub const FRAMES: &str = "tollgate_frames_total";
/// Frames and messages that could not be read; labels `dialect`, `reason`.
pub const FRAMES_REFUSED: &str = "tollgate_frames_refused_total";
/// Open terminal connections; label `dialect`.
pub const CONNECTIONS: &str = "tollgate_connections";
/// Connections closed at once because the limit was reached, or whose handshake failed; labels `dialect`, `reason`.
pub const CONNECTIONS_REFUSED: &str = "tollgate_connections_refused_total";
/// Terminal connections that ended; labels `dialect`, `reason`.
pub const CONNECTIONS_CLOSED: &str = "tollgate_connections_closed_total";
/// Refusals by the switch itself; labels `dialect`, `refusal`.
pub const REFUSALS: &str = "tollgate_refusals_total";
/// Answers to terminals; labels `dialect`, `code` (DE 39).
pub const ANSWERS: &str = "tollgate_answers_total";
/// From the last byte of a request to its answer being queued; label `dialect`.
pub const ANSWER_SECONDS: &str = "tollgate_answer_seconds";
/// What became of requests to issuers; labels `issuer`, `outcome`.
pub const ISSUER_OUTCOMES: &str = "tollgate_issuer_outcomes_total";
/// From handing a request to the link to its answer; label `issuer`.
pub const ISSUER_SECONDS: &str = "tollgate_issuer_seconds";
/// 1 while the link is signed on; label `issuer`.
pub const ISSUER_UP: &str = "tollgate_issuer_up";
/// Requests without an answer yet; label `issuer`.
pub const ISSUER_IN_FLIGHT: &str = "tollgate_issuer_in_flight";
/// Connections to an issuer that were begun; label `issuer`.
pub const ISSUER_CONNECTS: &str = "tollgate_issuer_connects_total";
/// Changes of keys shared with issuers; labels `issuer`, `key`, `result`.
pub const ZONE_KEY_CHANGES: &str = "tollgate_zone_key_changes_total";
/// Store-and-forward entries that wait; label `issuer`.
pub const SAF_DEPTH: &str = "tollgate_saf_depth";
/// Commits of the store.
pub const COMMITS: &str = "tollgate_store_commits_total";
/// Operations per commit.
pub const COMMIT_ROWS: &str = "tollgate_store_commit_rows";
/// Time of one commit, flush included.
pub const COMMIT_SECONDS: &str = "tollgate_store_commit_seconds";
/// Operations that wait for the next commit.
pub const STORE_QUEUE: &str = "tollgate_store_queue";
/// Verbs of the HSM; labels `verb`, `result`.
pub const HSM_VERBS: &str = "tollgate_hsm_verbs_total";
/// Connections to devices that answer.
pub const HSM_CONNECTIONS: &str = "tollgate_hsm_connections";

/// How a figure moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Counter,
    Gauge,
    Histogram,
}

struct Figure {
    name: &'static str,
    shape: Shape,
    unit: Unit,
    help: &'static str,
}

const fn figure(name: &'static str, shape: Shape, unit: Unit, help: &'static str) -> Figure {
    Figure { name, shape, unit, help }
}

#[rustfmt::skip]
const FIGURES: &[Figure] = &[
    figure(FRAMES, Shape::Counter, Unit::Count, "Complete frames received from terminals."),
    figure(FRAMES_REFUSED, Shape::Counter, Unit::Count, "Frames and messages from terminals that could not be read, by reason."),
    figure(CONNECTIONS, Shape::Gauge, Unit::Count, "Open terminal connections."),
    figure(CONNECTIONS_REFUSED, Shape::Counter, Unit::Count, "Connections closed before a first frame, by reason."),
    figure(CONNECTIONS_CLOSED, Shape::Counter, Unit::Count, "Terminal connections that ended, by reason."),
    figure(REFUSALS, Shape::Counter, Unit::Count, "Requests refused by the switch itself, by refusal."),
    figure(ANSWERS, Shape::Counter, Unit::Count, "Answers to terminals, by response code (DE 39)."),
    figure(ANSWER_SECONDS, Shape::Histogram, Unit::Seconds, "Time from a request's last byte to its answer."),
    figure(ISSUER_OUTCOMES, Shape::Counter, Unit::Count, "What became of requests to issuers: reply, timeout, late, malformed, unmatched, link-down, not-sent, lost, shed."),
    figure(ISSUER_SECONDS, Shape::Histogram, Unit::Seconds, "Time from handing a request to an issuer link to its answer."),
    figure(ISSUER_UP, Shape::Gauge, Unit::Count, "1 while the issuer link is signed on, else 0."),
    figure(ISSUER_IN_FLIGHT, Shape::Gauge, Unit::Count, "Requests to the issuer without an answer yet."),
    figure(ISSUER_CONNECTS, Shape::Counter, Unit::Count, "Connections to the issuer that were begun."),
    figure(ZONE_KEY_CHANGES, Shape::Counter, Unit::Count, "Attempts to change a key shared with an issuer: agreed, taken, unanswered, refused (by the issuer), rejected (by us)."),
    figure(SAF_DEPTH, Shape::Gauge, Unit::Count, "Store-and-forward entries that wait for the issuer."),
    figure(COMMITS, Shape::Counter, Unit::Count, "Commits of the store."),
    figure(COMMIT_ROWS, Shape::Histogram, Unit::Count, "Operations per commit of the store."),
    figure(COMMIT_SECONDS, Shape::Histogram, Unit::Seconds, "Time of one commit of the store, flush included."),
    figure(STORE_QUEUE, Shape::Gauge, Unit::Count, "Operations that wait for the store's next commit."),
    figure(HSM_CONNECTIONS, Shape::Gauge, Unit::Count, "Connections to HSMs that answer."),
    figure(HSM_VERBS, Shape::Counter, Unit::Count, "Verbs asked of the HSM, by result."),
];

/// Upper bounds of the time histograms in seconds: 50 µs to 30 s.
const SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 20.0, 30.0,
];
/// Upper bounds of the rows of one commit.
const ROWS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Gives the recorder the unit and help text of every figure.
pub fn describe_all() {
    for Figure { name, shape, unit, help } in FIGURES {
        match shape {
            Shape::Counter => describe_counter!(*name, *unit, *help),
            Shape::Gauge => describe_gauge!(*name, *unit, *help),
            Shape::Histogram => describe_histogram!(*name, *unit, *help),
        }
    }
}

/// Renders what was recorded. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

impl MetricsHandle {
    /// The figures in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms have gathered; due every few seconds, else their memory grows
    /// between two scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Why figures cannot be recorded: a recorder is installed already.
#[derive(Debug, thiserror::Error)]
#[error("metrics recorder: {0}")]
pub struct MetricsError(#[from] BuildError);

/// Installs the recorder of this process, once, and describes every figure.
///
/// # Errors
/// [`MetricsError`] when there is one already.
pub fn install() -> Result<MetricsHandle, MetricsError> {
    let handle = builder()?.install_recorder()?;
    describe_all();
    Ok(MetricsHandle(handle))
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(COMMIT_ROWS.into()), &ROWS)?;
    Ok(builder)
}

/// A message from a terminal could not be read.
pub fn frame_refused(dialect: &'static str, reason: &'static str) {
    counter!(FRAMES_REFUSED, "dialect" => dialect, "reason" => reason).increment(1);
}

/// A connection was closed before its first frame.
pub fn connection_refused(dialect: &'static str, reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "dialect" => dialect, "reason" => reason).increment(1);
}

/// A terminal's connection ended.
pub fn connection_closed(dialect: &'static str, reason: &'static str) {
    counter!(CONNECTIONS_CLOSED, "dialect" => dialect, "reason" => reason).increment(1);
}

/// The switch refused a request.
pub fn refusal(dialect: &'static str, name: &'static str) {
    counter!(REFUSALS, "dialect" => dialect, "refusal" => name).increment(1);
}

/// The figures of a worker's answers, each looked up when it first is needed.
#[derive(Default)]
pub struct AnswerMeter(RefCell<HashMap<Answers, (Counter, Histogram)>>);

/// Dialect and response code.
type Answers = (&'static str, [u8; 2]);

impl std::fmt::Debug for AnswerMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerMeter")
    }
}

impl AnswerMeter {
    /// A terminal was answered with response code `code` (DE 39) after `took`.
    pub fn answered(&self, dialect: &'static str, code: &str, took: Duration) {
        let key = code.as_bytes().first_chunk::<2>().copied().unwrap_or_default();
        let mut figures = self.0.borrow_mut();
        let (answers, seconds) = figures.entry((dialect, key)).or_insert_with(|| {
            let answers = counter!(ANSWERS, "dialect" => dialect, "code" => code.to_owned());
            (answers, histogram!(ANSWER_SECONDS, "dialect" => dialect))
        });
        answers.increment(1);
        seconds.record(took);
    }
}

/// An attempt to change a key shared with an issuer ended.
pub fn zone_key_change(issuer: &str, key: &'static str, result: &'static str) {
    counter!(ZONE_KEY_CHANGES, "issuer" => issuer.to_owned(), "key" => key, "result" => result).increment(1);
}

/// How many store-and-forward entries wait for an issuer.
pub fn saf_depth(issuer: &str, entries: usize) {
    gauge!(SAF_DEPTH, "issuer" => issuer.to_owned()).set(float(entries));
}

/// A worker had so many connections to devices that answer, and has so many now.
pub fn hsm_connections(before: usize, now: usize) {
    gauge!(HSM_CONNECTIONS).increment(float(now.saturating_sub(before)));
    gauge!(HSM_CONNECTIONS).decrement(float(before.saturating_sub(now)));
}

/// A verb of the HSM ended.
pub fn hsm_verb(verb: &'static str, result: &'static str) {
    counter!(HSM_VERBS, "verb" => verb, "result" => result).increment(1);
}

/// The figures of one dialect's connections, looked up once.
#[derive(Clone)]
pub struct TerminalMeter {
    /// The label.
    pub dialect: &'static str,
    frames: Counter,
    connections: Gauge,
}

impl std::fmt::Debug for TerminalMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TerminalMeter({})", self.dialect)
    }
}

impl TerminalMeter {
    /// The figures of `dialect`.
    #[must_use]
    pub fn new(dialect: &'static str) -> Self {
        let frames = counter!(FRAMES, "dialect" => dialect);
        let connections = gauge!(CONNECTIONS, "dialect" => dialect);
        Self { dialect, frames, connections }
    }

    /// A complete frame came.
    pub fn frame(&self) {
        self.frames.increment(1);
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.connections.increment(1.0);
    }

    /// A connection ended, for `reason`.
    pub fn closed(&self, reason: &'static str) {
        self.connections.decrement(1.0);
        connection_closed(self.dialect, reason);
    }
}

/// What became of a request to an issuer. The first six are counted apart because an operator
/// reads each differently; none of them is a decline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerOutcome {
    /// Answered in time.
    Reply,
    /// Not answered in time.
    Timeout,
    /// An answer to a request that had timed out.
    Late,
    /// An answer that cannot be read, or that contradicts its request.
    Malformed,
    /// An answer to nothing that waits: a duplicate, or not ours.
    Unmatched,
    /// The link was down; nothing was sent.
    LinkDown,
    /// The link broke before a byte was written.
    NotSent,
    /// The link broke after bytes were written: the outcome is unknown.
    Lost,
    /// Too many requests were in flight; nothing was sent.
    Shed,
}

impl IssuerOutcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Reply,
        Self::Timeout,
        Self::Late,
        Self::Malformed,
        Self::Unmatched,
        Self::LinkDown,
        Self::NotSent,
        Self::Lost,
        Self::Shed,
    ];

    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Timeout => "timeout",
            Self::Late => "late",
            Self::Malformed => "malformed",
            Self::Unmatched => "unmatched",
            Self::LinkDown => "link-down",
            Self::NotSent => "not-sent",
            Self::Lost => "lost",
            Self::Shed => "shed",
        }
    }
}

/// A request to an issuer, or an answer of it, came to this.
pub fn issuer_outcome(issuer: &str, outcome: IssuerOutcome) {
    counter!(ISSUER_OUTCOMES, "issuer" => issuer.to_owned(), "outcome" => outcome.name()).increment(1);
}

/// The figures of one issuer link, looked up once.
#[derive(Clone)]
pub struct IssuerMeter {
    outcomes: [Counter; IssuerOutcome::ALL.len()],
    up: Gauge,
    in_flight: Gauge,
    connects: Counter,
    seconds: Histogram,
}

impl std::fmt::Debug for IssuerMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IssuerMeter")
    }
}

impl IssuerMeter {
    /// The figures of the issuer called `issuer`; all outcomes stand at zero from now on.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        let label = || issuer.to_owned();
        let outcomes = IssuerOutcome::ALL
            .map(|outcome| counter!(ISSUER_OUTCOMES, "issuer" => label(), "outcome" => outcome.name()));
        Self {
            outcomes,
            up: gauge!(ISSUER_UP, "issuer" => label()),
            in_flight: gauge!(ISSUER_IN_FLIGHT, "issuer" => label()),
            connects: counter!(ISSUER_CONNECTS, "issuer" => label()),
            seconds: histogram!(ISSUER_SECONDS, "issuer" => label()),
        }
    }

    /// Counts an outcome.
    pub fn outcome(&self, outcome: IssuerOutcome) {
        for (counter, of) in self.outcomes.iter().zip(IssuerOutcome::ALL) {
            if of == outcome {
                counter.increment(1);
            }
        }
    }

    /// An answer came after `took`.
    pub fn answered(&self, took: Duration) {
        self.seconds.record(took);
    }

    /// The link came up.
    pub fn up(&self) {
        self.up.set(1.0);
    }

    /// The link went down.
    pub fn down(&self) {
        self.up.set(0.0);
    }

    /// How many requests wait.
    pub fn in_flight(&self, requests: usize) {
        self.in_flight.set(float(requests));
    }

    /// A connection is begun.
    pub fn connecting(&self) {
        self.connects.increment(1);
    }
}

/// The figures of the store's writer, looked up once.
#[derive(Clone)]
pub struct StoreMeter {
    commits: Counter,
    rows: Histogram,
    seconds: Histogram,
    queue: Gauge,
}

impl std::fmt::Debug for StoreMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreMeter")
    }
}

impl Default for StoreMeter {
    fn default() -> Self {
        Self {
            commits: counter!(COMMITS),
            rows: histogram!(COMMIT_ROWS),
            seconds: histogram!(COMMIT_SECONDS),
            queue: gauge!(STORE_QUEUE),
        }
    }
}

impl StoreMeter {
    /// A commit of `rows` operations took `took`.
    pub fn commit(&self, rows: usize, took: Duration) {
        self.commits.increment(1);
        self.rows.record(float(rows));
        self.seconds.record(took);
    }

    /// How many operations wait for the next commit.
    pub fn queue(&self, operations: usize) {
        self.queue.set(float(operations));
    }
}

/// The recorder takes floats; counts this side of four thousand million pass unchanged.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What `record` records on this thread, rendered.
#[cfg(test)]
#[allow(clippy::expect_used, reason = "for tests")]
pub(crate) fn recorded(record: impl FnOnce()) -> String {
    let recorder = builder().expect("buckets").build_recorder();
    let handle = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        describe_all();
        record();
    });
    handle.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<_> = FIGURES.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), FIGURES.len());
        for figure in FIGURES {
            let Figure { name, shape, unit, help } = figure;
            assert!(name.starts_with("tollgate_"), "{name}");
            assert_eq!(*shape == Shape::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(*unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn every_figure_is_rendered_with_help_and_labels() {
        let text = recorded(|| {
            frame_refused("edc", "oversize");
            connection_refused("edc", "limit");
            refusal("edc", "bad-mac");
            AnswerMeter::default().answered("edc", "00", Duration::from_micros(700));
            issuer_outcome("BANK", IssuerOutcome::Late);
            zone_key_change("BANK", "zak", "agreed");
            saf_depth("BANK", 3);
            hsm_connections(0, 3);
            hsm_connections(3, 2);
            hsm_verb("open", "ok");
            let terminal = TerminalMeter::new("edc");
            terminal.opened();
            terminal.opened();
            terminal.frame();
            terminal.closed("idle");
            let issuer = IssuerMeter::new("BANK");
            issuer.outcome(IssuerOutcome::Late);
            issuer.up();
            issuer.in_flight(7);
            issuer.connecting();
            issuer.answered(Duration::from_millis(3));
            let store = StoreMeter::default();
            store.commit(32, Duration::from_micros(120));
            store.queue(5);
        });
        let rows = [
            r#"tollgate_frames_refused_total{dialect="edc",reason="oversize"} 1"#,
            r#"tollgate_connections_refused_total{dialect="edc",reason="limit"} 1"#,
            r#"tollgate_refusals_total{dialect="edc",refusal="bad-mac"} 1"#,
            r#"tollgate_answers_total{dialect="edc",code="00"} 1"#,
            r#"tollgate_answer_seconds_bucket{dialect="edc",le="0.0005"} 0"#,
            r#"tollgate_answer_seconds_bucket{dialect="edc",le="0.001"} 1"#,
            r#"tollgate_issuer_outcomes_total{issuer="BANK",outcome="late"} 2"#,
            r#"tollgate_issuer_outcomes_total{issuer="BANK",outcome="shed"} 0"#,
            r#"tollgate_zone_key_changes_total{issuer="BANK",key="zak",result="agreed"} 1"#,
            r#"tollgate_saf_depth{issuer="BANK"} 3"#,
            "tollgate_hsm_connections 2",
            r#"tollgate_hsm_verbs_total{verb="open",result="ok"} 1"#,
            r#"tollgate_connections{dialect="edc"} 1"#,
            r#"tollgate_frames_total{dialect="edc"} 1"#,
            r#"tollgate_connections_closed_total{dialect="edc",reason="idle"} 1"#,
            r#"tollgate_issuer_up{issuer="BANK"} 1"#,
            r#"tollgate_issuer_in_flight{issuer="BANK"} 7"#,
            r#"tollgate_issuer_connects_total{issuer="BANK"} 1"#,
            r#"tollgate_issuer_seconds_count{issuer="BANK"} 1"#,
            "tollgate_store_commits_total 1",
            r#"tollgate_store_commit_rows_bucket{le="16"} 0"#,
            r#"tollgate_store_commit_rows_bucket{le="32"} 1"#,
            "tollgate_store_commit_seconds_count 1",
            "tollgate_store_queue 5",
        ];
        for want in rows {
            assert!(text.lines().any(|line| line == want), "{want}\n{text}");
        }
        for figure in FIGURES {
            assert!(text.contains(&format!("# HELP {} ", figure.name)), "{}", figure.name);
        }
    }
}
