//! The LMK is replaced, again and again, under a daemon whose terminals pay all the while.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

mod custody;

use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use terminal_sim::device::StageHsm;
use terminal_sim::stage::{EXPIRY, HOLDERS, Stage, StageOptions};
use terminal_sim::terminal::{Card, Dialect, KeyForm, Terminal};
use tokio::task::{JoinSet, LocalSet};
use tollgate::store::{self, KeySlot, Op, Outcome, Rewrapped, StoreOptions};
use tollgate::transaction::Day;

const TERMINALS: u32 = 2;
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(dir: &Path) -> StageOptions {
    StageOptions {
        hsm: Some(StageHsm::Software),
        dir: dir.to_owned(),
        terminals_per_dialect: TERMINALS,
        balance_minor: Some(1_000_000_000),
        exe: Some(PathBuf::from(env!("CARGO_BIN_EXE_terminal-sim"))),
        ..StageOptions::default()
    }
}

fn card(label: &str) -> Card {
    let holder = HOLDERS.iter().find(|h| h.label == label).unwrap();
    Card::swiped(holder.pan, EXPIRY).with_pin(holder.pin)
}

fn play<F: Future<Output = ()>>(story: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, story);
}

/// Runs a verb while the terminals go on selling: its exit code, and what it said.
async fn aside(stage: &Stage, verb: &[&str]) -> (Option<i32>, String) {
    let mut command = stage.verb_command(verb);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
}

async fn done(stage: &Stage, verb: &[&str]) -> String {
    let (code, said) = aside(stage, verb).await;
    assert_eq!(code, Some(0), "{verb:?}: {said}");
    said
}

async fn status(stage: &Stage) -> Value {
    serde_json::from_str(&done(stage, &["lmk", "status", "--json"]).await).unwrap()
}

/// RRNs of sales, each approved.
#[derive(Default)]
struct Sold {
    rrns: RefCell<Vec<String>>,
    one_more: tokio::sync::Notify,
}

impl Sold {
    fn add(&self, rrn: String) {
        self.rrns.borrow_mut().push(rrn);
        self.one_more.notify_one();
    }

    /// Waits until the terminals have sold so many more.
    async fn more(&self, count: usize) {
        let until = self.rrns.borrow().len() + count;
        while self.rrns.borrow().len() < until {
            tokio::time::timeout(PATIENCE, self.one_more.notified()).await.unwrap();
        }
    }
}

/// Pays until the answer is this, within the patience.
async fn pays_until(approved: bool, terminal: &mut Terminal, card: &Card) {
    let until = async { while terminal.sale(card, 100).await.unwrap().approved != approved {} };
    tokio::time::timeout(PATIENCE, until).await.unwrap();
}

/// A terminal that pays with a PIN until it is told to stop; one of UnionPay signs on again now and then.
async fn sell(
    stage: Rc<Stage>,
    (dialect, n): (Dialect, u32),
    sold: Rc<Sold>,
    stop: tokio::sync::watch::Receiver<()>,
) {
    let mut terminal = stage.terminal(dialect, n).await.unwrap();
    let label = if n % 2 == 0 { "Alice" } else { "Li Na" };
    let mut round = 0_u32;
    while !stop.has_changed().unwrap_or(true) {
        // A batch takes 999.
        if dialect != Dialect::Ascii && round > 0 && round.is_multiple_of(900) {
            terminal.settle().await.unwrap();
        }
        if dialect == Dialect::UnionPay && round.is_multiple_of(20) {
            let outcome = terminal.sign_on(KeyForm::DoubleWithTrack).await.unwrap();
            assert_eq!(outcome.code, "00", "sign-on of {dialect:?} {n}");
        }
        let outcome = terminal.sale(&card(label), 100).await.unwrap();
        assert_eq!(outcome.code, "00", "{dialect:?} {n}, sale {round}");
        sold.add(outcome.rrn.unwrap());
        round += 1;
    }
}

#[test]
fn the_lmk_is_replaced_while_payments_go_on() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::build(options(dir.path())).await.unwrap();
        let sold = Rc::new(Sold::default());
        {
            let (shared, (stop, stopped)) = (Rc::new(stage), tokio::sync::watch::channel(()));
            let mut selling = JoinSet::new();
            for dialect in Dialect::ALL {
                for n in 1..=TERMINALS {
                    let seat = (dialect, n);
                    selling.spawn_local(sell(Rc::clone(&shared), seat, Rc::clone(&sold), stopped.clone()));
                }
            }
            sold.more(30).await;
            let mut seen = BTreeSet::from([status(&shared).await["current"].to_string()]);
            for _ in 0..2 {
                let said = done(&shared, &["lmk", "rotate"]).await;
                assert!(said.contains("key blocks moved"), "{said}");
                sold.more(30).await;
                let during = status(&shared).await;
                assert!(seen.contains(&during["former"].to_string()), "{during}");
                assert!(seen.insert(during["current"].to_string()), "a new LMK: {during}");
                // Run again, it goes on with the same rotation.
                done(&shared, &["lmk", "rotate"]).await;
                assert_eq!(status(&shared).await["current"], during["current"]);
                let said = done(&shared, &["lmk", "rotate", "--finish"]).await;
                assert!(said.contains("dropped"), "{said}");
                assert_eq!(status(&shared).await["former"], Value::Null);
                sold.more(30).await;
            }
            // The switch has recorded each as it learnt it: nothing else here loads one.
            let record = std::fs::read_to_string(shared.dir.join("audit.jsonl")).unwrap();
            for check_value in &seen {
                let loaded = format!("\"operation\":\"load-lmk\",\"usage\":\"\",\"key\":{check_value},");
                assert!(record.contains(&loaded), "{check_value}");
            }
            stop.send(()).unwrap();
            while let Some(ended) = selling.join_next().await {
                ended.unwrap();
            }
            stage = Rc::into_inner(shared).unwrap();
        }
        // Started anew it knows only the last LMK. Everybody still pays, and card numbers of before open.
        stage.stop().await.unwrap();
        stage.start(None).await.unwrap();
        for dialect in [Dialect::Edc, Dialect::Ascii] {
            let mut terminal = stage.terminal(dialect, 1).await.unwrap();
            // Its numbers go on: the same ones again would be duplicates.
            terminal.set_next_stan(900_000);
            let outcome = terminal.sale(&card("Alice"), 100).await.unwrap();
            assert_eq!(outcome.code, "00", "{dialect:?}");
            sold.add(outcome.rrn.unwrap());
        }
        done(&stage, &["settle", "cutover"]).await;
        done(&stage, &["settle", "run"]).await;
        let rows: Vec<Value> =
            serde_json::from_str(&done(&stage, &["txn", "list", "--latest", "1000000", "--json"]).await)
                .unwrap();
        let stored: BTreeSet<&str> = rows.iter().map(|row| row["rrn"].as_str().unwrap()).collect();
        let sold = sold.rrns.take();
        assert!(sold.iter().all(|rrn| stored.contains(rrn.as_str())), "every sale is stored");
        assert!(rows.iter().all(|row| row["state"] != "sent"), "every outcome is known");
        println!("{} sales approved over two rotations", sold.len());
        foreign_blocks_are_refused(&stage).await;
    });
}

/// A block that is altered opens under no LMK: nobody pays with it, a rotation names it and does not finish.
async fn foreign_blocks_are_refused(stage: &Stage) {
    let url = format!("sqlite:{}", stage.dir.join("tollgate.db").display());
    let options = StoreOptions { url, first_day: Day(20_261_123), ca_file: None };
    let (mut backend, mut reader) = store::open(&options).unwrap();
    let read = reader.directory().unwrap();
    let blocks = read.key_blocks();
    let (slot, good) = blocks
        .iter()
        .find(|(slot, _)| matches!(slot, KeySlot::Issuer(..)) && slot.to_string() == "zpk of issuer BANKA")
        .unwrap();
    let last = if good.ends_with('0') { "1" } else { "0" };
    let bad = format!("{}{last}", &good[..good.len() - 1]);
    let mut put = |from: &str, to: &str| {
        let op = Op::Rewrap(vec![Rewrapped { slot: slot.clone(), from: from.into(), to: to.into() }]);
        let outcome = store::commit_one(backend.as_mut(), op).unwrap().outcome;
        assert!(matches!(outcome, Outcome::Rewrapped(1)), "{outcome:?}");
    };
    let mut terminal = stage.terminal(Dialect::Ascii, 1).await.unwrap();
    terminal.set_next_stan(950_000);
    put(good, &bad);
    // Until the daemon has reread, it holds the good one.
    pays_until(false, &mut terminal, &card("Li Na")).await;
    let (code, said) = aside(stage, &["lmk", "rotate"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("not under this LMK: zpk of issuer BANKA"), "{said}");
    let (code, said) = aside(stage, &["lmk", "rotate", "--finish"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("not under this LMK: zpk of issuer BANKA") && !said.contains("dropped"), "{said}");
    assert!(!terminal.sale(&card("Li Na"), 100).await.unwrap().approved);
    assert!(terminal.sale(&card("Alice"), 100).await.unwrap().approved, "the other issuer's key is good");

    put(&bad, good);
    let said = done(stage, &["lmk", "rotate", "--finish"]).await;
    assert!(said.contains("1 key blocks moved") && said.contains("dropped"), "{said}");
    pays_until(true, &mut terminal, &card("Li Na")).await;
}
