//! Promises of the house that only the whole house can keep, against a real daemon.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use terminal_sim::issuer::{Rule, When};
use terminal_sim::stage::{EXPIRY, HOLDERS, Stage, StageOptions, own_host};
use terminal_sim::terminal::{Card, Dialect, Fault, KeyForm};
use tokio::task::{JoinSet, LocalSet};

/// Terminals of each dialect.
const TERMINALS: u32 = 6;

fn options(dir: &std::path::Path) -> StageOptions {
    StageOptions {
        dir: dir.to_owned(),
        host: Some(own_host()),
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

/// While one issuer answers nothing, payments at the other are approved one after the other, all of them
/// before the first of the silent issuer's has run out of time. Gone, it is refused at once.
#[test]
fn one_issuers_trouble_stays_its_own() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let silent = vec![Rule::silent(When { mti: Some("02".into()), ..When::default() })];
        let mut stage = Stage::build(StageOptions {
            rules: [silent, Vec::new()],
            answer_ms: Some(20_000),
            ..options(dir.path())
        })
        .await
        .unwrap();
        let mut stuck = JoinSet::new();
        for n in 1..=TERMINALS {
            let mut terminal = stage.terminal(Dialect::Edc, n).await.unwrap();
            stuck.spawn_local(async move { terminal.sale(&card("Li Na"), 100).await.unwrap() });
        }
        let mut well = stage.terminal(Dialect::Ascii, 1).await.unwrap();
        for _ in 0..100 {
            let sold = well.sale(&card("Alice"), 100).await.unwrap();
            assert_eq!(sold.code, "00");
        }
        assert!(stuck.try_join_next().is_none(), "the silent issuer's payments wait for their own time");
        assert_eq!(stuck.len(), TERMINALS as usize);

        stage.issuers.remove(0).stop().await;
        let gone = loop {
            // Until the switch has seen the link break, a sale may still be lost with it.
            let mut terminal = stage.terminal(Dialect::Ascii, 2).await.unwrap();
            let sale = tokio::time::timeout(Duration::from_secs(5), async {
                terminal.sale(&card("Li Na"), 100).await.unwrap()
            });
            match sale.await {
                Ok(outcome) if outcome.code == "91" => break outcome,
                Ok(outcome) => assert_eq!(outcome.code, "68", "lost with the link"),
                Err(_) => panic!("an issuer that is gone is not refused"),
            }
        };
        assert!(!gone.approved);
        assert_eq!(well.sale(&card("Alice"), 100).await.unwrap().code, "00");
    });
}

/// Terminals sell while the business day is cut over again and again: none is declined for it, every sale is in
/// exactly one day and in that day's file, and a terminal's days never go back.
#[test]
fn a_cut_over_is_an_event_in_the_order_of_commits() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let stage = Rc::new(Stage::build(options(dir.path())).await.unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(());
        let mut selling = JoinSet::new();
        for n in 1..=TERMINALS {
            let (stage, stopped) = (Rc::clone(&stage), stopped.clone());
            selling.spawn_local(async move {
                let mut terminal = stage.terminal(Dialect::Ascii, n).await.unwrap();
                let mut sold = Vec::new();
                while !stopped.has_changed().unwrap_or(true) {
                    let outcome = terminal.sale(&card("Alice"), 100).await.unwrap();
                    assert_eq!(outcome.code, "00", "no sale is declined for a cut-over");
                    sold.push(outcome.rrn.unwrap());
                }
                sold
            });
        }
        for _ in 0..5 {
            let before = listed_aside(&stage).await;
            while listed_aside(&stage).await < before + 20 {}
            assert!(aside(&stage, &["settle", "cutover"]).await.contains("closed"));
        }
        let before = listed_aside(&stage).await;
        while listed_aside(&stage).await < before + 20 {}
        stop.send(()).unwrap();
        let mut sold = BTreeSet::new();
        while let Some(rrns) = selling.join_next().await {
            sold.extend(rrns.unwrap());
        }
        stage.verb(&["settle", "cutover"]).unwrap();
        judge(&stage, &sold);
    });
}

/// Runs a verb while the terminals go on selling.
async fn aside(stage: &Stage, verb: &[&str]) -> String {
    let mut command = stage.verb_command(verb);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// How many transactions are stored.
async fn listed_aside(stage: &Stage) -> usize {
    let text = aside(stage, &["txn", "list", "--latest", "1000000", "--json"]).await;
    serde_json::from_str::<Vec<Value>>(&text).unwrap().len()
}

fn listed(stage: &Stage) -> Vec<Value> {
    let text = stage.verb(&["txn", "list", "--latest", "1000000", "--json"]).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn judge(stage: &Stage, sold: &BTreeSet<String>) {
    // Newest first: read from the end, in the order of receipt.
    let rows: Vec<Value> = listed(stage).into_iter().rev().collect();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let stored: BTreeSet<String> = rows.iter().map(|row| text(row, "rrn")).collect();
    assert_eq!(stored.len(), rows.len(), "no RRN twice");
    assert_eq!(&stored, sold, "what was sold is what is stored");
    let days: BTreeSet<String> = rows.iter().map(|row| text(row, "day")).collect();
    assert_eq!(days.len(), 6, "each cut-over fell among sales");
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for row in &rows {
        let (tid, day) = (text(row, "tid"), text(row, "day"));
        if let Some(before) = last.insert(tid, day.clone()) {
            assert!(before <= day, "a terminal's business day went back");
        }
    }
    let presented: usize = days.iter().map(|day| in_file(stage, day)).sum();
    assert_eq!(presented, sold.len(), "every sale is in exactly one file");
}

/// Presentments of a day's clearing file.
fn in_file(stage: &Stage, day: &str) -> usize {
    stage.verb(&["settle", "run", "--day", day]).unwrap();
    let name = format!("ipm-BANKB-CNY-{}.ipm", day.replace('-', ""));
    let file = std::fs::read(stage.dir.join("settlement").join(name)).unwrap();
    let verified = tollgate::settlement::ipm::verify(&file).unwrap();
    verified.records.iter().filter(|r| r.mti() == "1240").count()
}

/// Working keys that are spent open no new authorization until the terminal has signed on again; advices and reversals
/// are taken under them all the same, and keys that were given by hand are not counted.
#[test]
fn spent_keys_ask_for_a_sign_on() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let options = StageOptions { working_key_uses: Some(3), ..options(dir.path()) };
        let mut stage = Stage::build(options.clone()).await.unwrap();
        let mut terminal = stage.terminal(Dialect::UnionPay, 1).await.unwrap();
        let holder = card("Li Na");
        let signed_on = terminal.sign_on(KeyForm::DoubleWithTrack).await.unwrap();
        assert_eq!(signed_on.code, "00");
        for round in ["first", "second"] {
            // What is forged under the terminal's name spends nothing.
            terminal.inject(Fault::BadMac);
            assert_eq!(terminal.sale(&holder, 100).await.unwrap().code, "A0", "{round} keys");
            for sale in 1..=3 {
                // The count outlives the daemon, even one that is killed.
                if sale == 2 {
                    stage.restart(&options, None).await.unwrap();
                }
                let sold = terminal.sale(&holder, 100).await.unwrap();
                assert_eq!(sold.code, "00", "{round} keys, sale {sale}");
            }
            let refused = terminal.sale(&holder, 100).await.unwrap();
            assert_eq!((refused.code.as_str(), refused.approved), ("77", false), "{round} keys");
            let advised = terminal.offline_sale(&holder, 100, "123456").await.unwrap();
            assert_eq!(advised.code, "00", "{round} keys");
            let signed_on = terminal.sign_on(KeyForm::DoubleWithTrack).await.unwrap();
            assert_eq!(signed_on.code, "00", "{round} keys");
        }
        let mut by_hand = stage.terminal(Dialect::Edc, 1).await.unwrap();
        for _ in 0..5 {
            assert_eq!(by_hand.sale(&holder, 100).await.unwrap().code, "00");
        }
    });
}
