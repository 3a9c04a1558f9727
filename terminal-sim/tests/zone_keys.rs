//! Keys shared with an issuer are changed by either side while payments flow, refused when they are not sound, and
//! survive a crash in the middle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

use serde_json::Value;
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use terminal_sim::issuer::{IssuerHandle, KeyFault};
use terminal_sim::stage::{EXPIRY, HOLDERS, Stage, StageOptions, own_host};
use terminal_sim::terminal::{Card, Dialect, Terminal};
use tokio::task::{JoinSet, LocalSet};
use tollgate::transaction::ZoneUse;

/// How long anything may take to come to pass.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(dir: &std::path::Path) -> StageOptions {
    StageOptions {
        dir: dir.to_owned(),
        host: Some(own_host()),
        terminals_per_dialect: 3,
        balance_minor: Some(1_000_000_000),
        exe: Some(PathBuf::from(env!("CARGO_BIN_EXE_terminal-sim"))),
        ..StageOptions::default()
    }
}

fn card() -> Card {
    let holder = HOLDERS.iter().find(|h| h.label == "Alice").unwrap();
    Card::swiped(holder.pan, EXPIRY).with_pin(holder.pin)
}

fn play<F: Future<Output = ()>>(story: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, story);
}

/// The second issuer of the stage: with PIN key, MAC key and zone master key.
fn bank(stage: &Stage) -> &IssuerHandle {
    &stage.issuers[1]
}

/// Runs a verb while the issuers, which live on this thread, go on answering.
async fn aside(stage: &Stage, verb: &[&str]) -> String {
    let mut command = stage.verb_command(verb);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// What the switch says of a key: check value, and how far a change is.
async fn shown(stage: &Stage, of: ZoneUse) -> (String, String) {
    let text = aside(stage, &["issuer", "show", "BANKB", "--json"]).await;
    let row: Value = serde_json::from_str(&text).unwrap();
    let text = |name: &str| row[of.name()][name].as_str().unwrap_or_default().to_owned();
    (text("kcv"), text("change"))
}

async fn ask_for_change(stage: &Stage, of: ZoneUse) {
    aside(stage, &["issuer", "change-key", "BANKB", of.name()]).await;
}

/// Waits until both sides have the same key, another than `before`, and no change is under way; its check value.
async fn changed(stage: &Stage, of: ZoneUse, before: &str) -> String {
    let wait = async {
        loop {
            let (ours, change) = shown(stage, of).await;
            let theirs = bank(stage).key_kcv(of).unwrap();
            if ours == theirs && ours != before && change == "none" {
                return ours;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(kcv) => kcv,
        Err(_) => {
            panic!("{of:?} was not changed: {:?}, {:?}", shown(stage, of).await, bank(stage).key_kcv(of))
        }
    }
}

async fn sells(terminal: &mut Terminal, sales: u32) {
    for n in 0..sales {
        assert_eq!(terminal.sale(&card(), 100).await.unwrap().code, "00", "sale {n}");
    }
}

/// Three times each of the keys is changed by the switch, by the issuer, and by the one because the other asked, while
/// terminals pay with a PIN: every payment is approved, so every PIN was read and every MAC was right.
#[test]
fn keys_change_while_payments_flow() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let stage = Rc::new(Stage::build(options(dir.path())).await.unwrap());
        let (stop, stopped) = tokio::sync::watch::channel(());
        let sold = Rc::new(Cell::new(0));
        let mut selling = JoinSet::new();
        for n in 1..=3 {
            let (stage, stopped, sold) = (Rc::clone(&stage), stopped.clone(), Rc::clone(&sold));
            selling.spawn_local(async move {
                let mut terminal = stage.terminal(Dialect::Ascii, n).await.unwrap();
                while !stopped.has_changed().unwrap_or(true) {
                    let outcome = terminal.sale(&card(), 100).await.unwrap();
                    assert_eq!(outcome.code, "00", "a payment is declined for a change of keys");
                    sold.set(sold.get() + 1);
                }
            });
        }
        let mut kcvs: Vec<String> = Vec::new();
        for round in 1..=3 {
            for of in ZoneUse::ALL {
                let mut kcv = shown(&stage, of).await.0;
                for way in ["the switch", "the issuer", "the issuer asks"] {
                    match way {
                        "the switch" => ask_for_change(&stage, of).await,
                        "the issuer" => {
                            let reply = bank(&stage).change_key(of, KeyFault::None).await.unwrap();
                            assert_eq!((reply.code.as_str(), reply.trusted), ("00", true), "{of:?}");
                        }
                        _ => {
                            let reply = bank(&stage).want_key(of).await.unwrap();
                            assert_eq!((reply.code.as_str(), reply.trusted), ("00", true), "{of:?}");
                        }
                    }
                    kcv = changed(&stage, of, &kcv).await;
                    kcvs.push(kcv.clone());
                    let before = sold.get();
                    let wait = async {
                        while sold.get() < before + 6 {
                            let done = selling.try_join_next();
                            assert!(done.is_none(), "round {round}, {way}: {done:?}");
                            tokio::task::yield_now().await;
                        }
                    };
                    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "round {round}, {way}");
                }
            }
        }
        stop.send(()).unwrap();
        while let Some(done) = selling.join_next().await {
            done.unwrap();
        }
        kcvs.sort_unstable();
        kcvs.dedup();
        assert_eq!(kcvs.len(), 18, "each change brought a key of its own");
        assert!(sold.get() >= 18 * 6, "{}", sold.get());
        println!("{} payments over 18 changes", sold.get());
    });
}

/// What is not sound is refused with a code, on either side, and changes nothing.
#[test]
fn what_is_not_sound_is_refused_and_changes_nothing() {
    play(async {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::build(options(dir.path())).await.unwrap();
        let mut terminal = stage.terminal(Dialect::Ascii, 1).await.unwrap();
        for of in ZoneUse::ALL {
            let (kcv, _) = shown(&stage, of).await;
            for fault in [KeyFault::AlteredBlock, KeyFault::WrongUsage, KeyFault::StrangersMac] {
                let reply = bank(&stage).change_key(of, fault).await.unwrap();
                assert_eq!((reply.code.as_str(), reply.kcv), ("63", None), "{of:?} {fault:?}");
                assert_eq!(shown(&stage, of).await, (kcv.clone(), "none".into()), "{of:?} {fault:?}");
                sells(&mut terminal, 2).await;
            }

            // Our key, its check value wrong: given up.
            bank(&stage).set_key_fault(KeyFault::WrongCheckValue);
            ask_for_change(&stage, of).await;
            let wait = async { while shown(&stage, of).await.1 != "none" {} };
            assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{of:?}: not given up");
            assert_eq!(shown(&stage, of).await.0, kcv);
            sells(&mut terminal, 2).await;

            // An acknowledgement under a stranger's MAC is none: the same key is sent again until there is one.
            bank(&stage).set_key_fault(KeyFault::StrangersMac);
            ask_for_change(&stage, of).await;
            let wait = async { while shown(&stage, of).await.1 != "sent" {} };
            assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{of:?}: not sent");
            assert_eq!(shown(&stage, of).await.0, kcv);
            sells(&mut terminal, 2).await;
            bank(&stage).set_key_fault(KeyFault::None);
            changed(&stage, of, &kcv).await;
            sells(&mut terminal, 2).await;
        }
    });
}

/// Killed between the issuer's acknowledgement and its own commit, or between its own acknowledgement and its commit,
/// the switch goes on after a restart, and the change comes to its end.
#[test]
fn a_crash_between_acknowledgement_and_commit_loses_no_key() {
    play(async {
        for of in ZoneUse::ALL {
            for point in
                ["zone-key-pending:1", "zone-key-acknowledged:1", "zone-key-taken:1", "zone-key-answered:1"]
            {
                let dir = tempfile::tempdir().unwrap();
                let mut options = options(dir.path());
                options.crash = Some(point.to_owned());
                let mut stage = Stage::build(options.clone()).await.unwrap();
                let (kcv, _) = shown(&stage, of).await;
                let ours = point.starts_with("zone-key-pending") || point.starts_with("zone-key-ack");
                if ours {
                    ask_for_change(&stage, of).await;
                    assert!(stage.ended(PATIENCE).await, "{of:?} {point}");
                } else {
                    let stage = &mut stage;
                    let bank = stage.issuers.remove(1);
                    let (ended, reply) =
                        tokio::join!(stage.ended(PATIENCE), bank.change_key(of, KeyFault::None));
                    assert!(ended && reply.is_none(), "{of:?} {point}: {reply:?}");
                    stage.issuers.push(bank);
                }
                options.crash = None;
                stage.restart(&options, None).await.unwrap();
                let mut terminal = stage.terminal(Dialect::Ascii, 1).await.unwrap();
                sells(&mut terminal, 3).await;
                if !ours {
                    let reply = bank(&stage).change_key(of, KeyFault::None).await.unwrap();
                    assert_eq!(reply.code, "00", "{of:?} {point}");
                }
                changed(&stage, of, &kcv).await;
                sells(&mut terminal, 3).await;
            }
        }
    });
}
