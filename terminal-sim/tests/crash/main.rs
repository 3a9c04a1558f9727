//! The daemon dies at every point where something becomes durable or leaves, again and again, under load,
//! on one store and one pair of issuers' books that live on; then an auditor that shares no code with the
//! switch holds the terminals' log, the store and the issuers' books against each other.
//!
//! Nothing here sleeps for luck: a death is awaited as the end of the process, the next one is aimed at a
//! count of finished requests or of passages through a point.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

mod audit;
mod chance;
mod field;
mod log;
mod plan;
mod post;

use audit::{Books, Verdict};
use chance::Chance;
use field::{Field, Manners};
use plan::{Plan, plans};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use terminal_sim::issuer::{Delivery, Rule, When};
use terminal_sim::stage::{Stage, StageOptions, own_host};

/// How long an issuer may take, milliseconds.
const ANSWER_MS: u64 = 1_500;
/// How long the daemon may take to come to a point.
const PATIENCE: Duration = Duration::from_secs(30);
/// What every account holds at first, minor units: more than any run takes.
const BALANCE_MINOR: i64 = 1_000_000_000_000;

/// A sale of this amount is posted by its issuer and never answered.
const SILENT_MINOR: i64 = 7_777;
/// A sale of this amount is posted, and answered too late.
const LATE_MINOR: i64 = 8_888;
/// A sale of this amount is declined.
const DECLINED_MINOR: i64 = 5_151;
/// A sale of this amount makes the issuer close its connection instead of answering.
const BROKEN_MINOR: i64 = 6_666;
/// Payments of these amounts are posted at once and answered a moment later: many are in flight at any death.
const PENSIVE_MINOR: RangeInclusive<i64> = 1_000..=1_999;
/// Payments of these amounts are posted and answered a moment later: a reversal may come before.
const TARDY_MINOR: RangeInclusive<i64> = 2_000..=2_499;
/// That moment, milliseconds.
const MOMENT_MS: u64 = 40;

fn options(dir: PathBuf) -> StageOptions {
    let sale = |minor| When::amount(minor).and_mti("02");
    let between = |range: RangeInclusive<i64>| When {
        amount_from_minor: Some(*range.start()),
        amount_to_minor: Some(*range.end()),
        mti: Some("02".to_owned()),
        ..When::default()
    };
    let rules = || {
        vec![
            Rule::silent(sale(SILENT_MINOR)),
            Rule::late(sale(LATE_MINOR), Duration::from_millis(ANSWER_MS + 200)),
            Rule::code(sale(DECLINED_MINOR), "51"),
            Rule { when: sale(BROKEN_MINOR), delivery: Delivery::Close, ..Rule::default() },
            Rule { when: between(PENSIVE_MINOR), late_ms: MOMENT_MS, ..Rule::default() },
            Rule { when: between(TARDY_MINOR), delay_ms: MOMENT_MS, ..Rule::default() },
        ]
    };
    StageOptions {
        dir,
        host: Some(own_host()),
        rules: [rules(), rules()],
        terminals_per_dialect: field::TERMINALS,
        answer_ms: Some(ANSWER_MS),
        balance_minor: Some(BALANCE_MINOR),
        exe: Some(env!("CARGO_BIN_EXE_terminal-sim").into()),
        ..StageOptions::default()
    }
}

/// A stage with terminals at work on it.
struct Run {
    stage: Stage,
    options: StageOptions,
    field: Field,
}

impl Run {
    async fn begin(manners: Manners, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let options = options(dir);
        let stage = Stage::build(options.clone()).await.unwrap();
        let field = Field::open(&stage, manners, Chance::new(seed));
        Self { stage, options, field }
    }

    /// Starts the daemon under a plan. Whether it came up: a point may be passed while it starts.
    async fn restart(&mut self, plan: Option<&str>) -> bool {
        self.field.shut();
        let started = self.stage.restart(&self.options, plan).await;
        match (&started, plan) {
            (Ok(()), _) => self.field.open_doors(),
            (Err(_), Some(_)) => return false,
            (Err(error), None) => panic!("the daemon does not start: {error:#}"),
        }
        true
    }

    /// One death as planned.
    async fn die(&mut self, plan: &Plan) {
        if self.restart(Some(&plan.text())).await && !self.stage.ended(PATIENCE).await {
            panic!("the daemon does not come to {}; {}", plan.text(), self.field.summary());
        }
        self.field.shut();
    }

    /// One death from outside, after so many more requests have ended.
    async fn shoot(&mut self, after: u64) {
        assert!(self.restart(None).await);
        let aim = self.field.finished() + after;
        self.field.wait_for("requests to end", |field| field.finished() >= aim).await;
        self.field.shut();
        self.stage.kill();
    }

    /// Lets the terminals and the queues come to rest, closes the books, and has them audited.
    async fn end(mut self) -> (Verdict, Books) {
        assert!(self.restart(None).await);
        self.field.close().await;
        audit::drained(&self.stage).await;
        self.stage.stop().await.unwrap();
        self.stage.recorder.flush().unwrap();
        let books = Books::export(&self.stage, self.field.log());
        (books.audit(), books)
    }
}

#[tokio::test]
async fn nothing_leaves_before_it_is_durable() {
    let mut chance = Chance::new(0x7011_6A7E);
    let mut run = Run::begin(Manners::LIFE, 1).await;
    let mut deaths: BTreeMap<&str, u32> = BTreeMap::new();
    for plan in plans(&mut chance) {
        run.die(&plan).await;
        *deaths.entry(plan.point).or_default() += 1;
    }
    assert!(plan::POINTS.iter().all(|point| deaths.get(point.name).is_some_and(|n| *n >= 3)), "{deaths:?}");
    let (verdict, books) = run.end().await;
    assert_eq!(verdict.exit, Some(0), "{}\n{}", books.place(), verdict.said);
    books.hold_something();
    books.remove();
}

#[tokio::test]
async fn kill_nine() {
    let mut chance = Chance::new(9);
    let mut run = Run::begin(Manners::LIFE, 2).await;
    for _ in 0..5 {
        run.shoot(chance.within(30..200)).await;
    }
    let (verdict, books) = run.end().await;
    assert_eq!(verdict.exit, Some(0), "{}\n{}", books.place(), verdict.said);
    books.hold_something();
    books.remove();
}

/// Nobody but the switch itself could reverse anything here: no terminal ever comes back. And the auditor must
/// be able to see what these tests are for: without the wait for the record "sent", issuers post sales that the
/// store never heard of, and nobody reverses them.
#[tokio::test]
async fn without_the_wait_for_sent_the_auditor_finds_sales_that_nobody_reverses() {
    let rows = [(None, Some(0), "OK"), (Some("no-sent-wait"), Some(1), "that the switch does not know")];
    for (fault, exit, says) in rows {
        let mut run = Run::begin(Manners::FORGETFUL, 3).await;
        for count in [25, 40, 10, 30] {
            run.die(&Plan { point: "issuer-write-after", count, fault }).await;
            run.die(&Plan { point: "commit-before", count: 2 * count, fault }).await;
        }
        let (verdict, books) = run.end().await;
        assert_eq!(verdict.exit, exit, "{fault:?}: {}\n{}", books.place(), verdict.said);
        assert!(verdict.said.contains(says), "{fault:?}: {}", verdict.said);
        books.remove();
    }
}
