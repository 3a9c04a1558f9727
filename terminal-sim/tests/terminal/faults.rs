//! What a faulty terminal puts on the wire; raw octets; load.

use super::host::*;
use super::words::SIGN_ON;
use iso8583_spec::{Spec, View};
use std::collections::BTreeMap;
use std::time::Duration;
use terminal_sim::load::{Lane, LoadOptions, drive};
use terminal_sim::terminal::{Dialect, Fault, Seal, Terminal, TerminalProfile, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What comes over the wire of one faulty sale until the terminal closes its side.
async fn octets_of(dialect: Dialect, fault: Option<Fault>) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let profile = TerminalProfile { timeout: Duration::from_millis(50), ..profile(dialect, &listener) };
    let host = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut input = Vec::new();
        stream.read_to_end(&mut input).await.unwrap();
        input
    });
    let mut terminal = Terminal::connect(profile, None).await.unwrap();
    if dialect == Dialect::UnionPay {
        terminal.load_keys(&octets(PIK), &octets(MAK), None).unwrap();
    }
    if let Some(fault) = fault {
        terminal.inject(fault);
    }
    let outcome = terminal.sale(&card(), 10_000).await.unwrap();
    assert_eq!(outcome.verdict, Verdict::NoReply);
    host.await.unwrap()
}

#[tokio::test]
async fn faults_do_to_the_frame_what_they_say() {
    for dialect in Dialect::ALL {
        let whole = octets_of(dialect, None).await;
        let spoiled = octets_of(dialect, Some(Fault::BadMac)).await;
        let turned: Vec<_> = whole.iter().zip(&spoiled).filter(|(a, b)| a != b).collect();
        assert_eq!((turned.len(), spoiled.len()), (1, whole.len()), "{dialect:?}");
        if dialect != Dialect::Ascii {
            assert_eq!(turned.iter().map(|(a, b)| (**a ^ **b).count_ones()).sum::<u32>(), 1);
        }
        assert_eq!(octets_of(dialect, Some(Fault::Duplicate)).await, [whole.clone(), whole.clone()].concat());
        assert_eq!(octets_of(dialect, Some(Fault::StopMidFrame)).await, whole[..whole.len() / 2]);
        assert_eq!(octets_of(dialect, Some(Fault::HangUp)).await, whole);
        let short = octets_of(dialect, Some(Fault::Truncated(3))).await;
        let framing = Spec::builtin(dialect.name()).unwrap().framing();
        let frame = framing.decode(&short, 4096).unwrap().unwrap();
        let start = whole.len() - framing.decode(&whole, 4096).unwrap().unwrap().body.len();
        assert_eq!(short[frame.body.clone()], whole[start..whole.len() - 3], "{dialect:?}");
        let unsealed = octets_of(dialect, Some(Fault::NoMac)).await;
        let frame = framing.decode(&unsealed, 4096).unwrap().unwrap();
        let spec = Spec::builtin(dialect.name()).unwrap();
        let view = View::decode(spec, &unsealed[frame.body]).unwrap();
        assert!(view.is_sound() && !view.has(64) && view.has(52), "{dialect:?}");
    }
}

#[tokio::test]
async fn resending_the_last_frame_changes_nothing_at_the_terminal() {
    let (mut terminal, host) = bench(Dialect::UnionPay, vec![ok(), code("94")]).await;
    terminal.sale(&card(), 100).await.unwrap();
    let before = terminal.state().clone();
    let again = terminal.resend_last().await.unwrap();
    assert_eq!((again.code.as_str(), again.stan), ("94", 1));
    assert_eq!(*terminal.state(), before);
    let seen = host.await.unwrap();
    assert_eq!(seen[0].fields, seen[1].fields);
}

#[tokio::test]
async fn raw_octets_get_whatever_the_host_says() {
    let (mut terminal, _host) = bench(Dialect::UnionPay, vec![Act::HangUp, ok()]).await;
    assert_eq!(terminal.send_octets(&octets(SIGN_ON)).await.unwrap(), None);
    let body = terminal.send_octets(&octets(SIGN_ON)).await.unwrap().unwrap();
    let view = View::decode(Spec::builtin("unionpay-pos").unwrap(), &body).unwrap();
    assert_eq!(view.mti().as_str(), "0810");
}

#[tokio::test]
async fn a_load_counts_every_answer() {
    let dialect = Dialect::UnionPay;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut terminal = Terminal::switched_on(profile(dialect, &listener), None).unwrap();
    terminal.load_keys(&octets(PIK), &octets(MAK), None).unwrap();
    let mut lanes = vec![Lane::default(), Lane::default()];
    for lane in &mut lanes {
        for seal in [Seal::Proper, Seal::Proper, Seal::Spoiled] {
            lane.push(dialect, &terminal.prepare_sale(&card(), 100, seal).unwrap()).unwrap();
        }
    }
    assert!(lanes[0].push(dialect, &[0, 1, 2]).is_err());
    // Two connections at once: one host task each, A0 where the MAC does not fit.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let host = Host { dialect, spec: Spec::builtin(dialect.name()).unwrap() };
                while let Some(body) = host.frame(&mut stream).await {
                    let act = if host.read(&body).mac_fits == Some(true) { ok() } else { code("A0") };
                    let mut frame = Vec::new();
                    host.spec.framing().encode(&host.reply(&body, &act).unwrap(), &mut frame).unwrap();
                    stream.write_all(&frame).await.unwrap();
                }
            });
        }
    });
    let options =
        LoadOptions { address, dialect, duration: Duration::from_secs(30), patience: Duration::from_secs(1) };
    let report = tokio::task::LocalSet::new().run_until(drive(lanes, &options)).await.unwrap();
    assert_eq!((report.transactions, report.approved, report.refused), (6, 4, 2));
    assert_eq!((report.strangers, report.unanswered, report.lanes), (0, 0, 2));
    assert_eq!(report.codes, BTreeMap::from([("00".to_owned(), 4), ("A0".to_owned(), 2)]));
    assert!(report.p50_us <= report.p99_us && report.p999_us <= report.max_us.max(1) * 2);
}

#[tokio::test]
async fn a_load_runs_through_a_relay_too() {
    let bound = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (terminals, issuers) = (bound(), bound());
    let (address, issuer) = (terminals.local_addr().unwrap(), issuers.local_addr().unwrap());
    // Both serve until the process ends.
    std::thread::spawn(move || terminal_sim::relay::echo_issuer(issuers));
    std::thread::spawn(move || terminal_sim::relay::run(terminals, issuer));
    let dialect = Dialect::UnionPay;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut terminal = Terminal::switched_on(profile(dialect, &listener), None).unwrap();
    terminal.load_keys(&octets(PIK), &octets(MAK), None).unwrap();
    let mut lanes: Vec<Lane> = (0..8).map(|_| Lane::default()).collect();
    for lane in &mut lanes {
        for _ in 0..25 {
            lane.push(dialect, &terminal.prepare_sale(&card(), 100, Seal::Proper).unwrap()).unwrap();
        }
    }
    let options =
        LoadOptions { address, dialect, duration: Duration::from_secs(30), patience: Duration::from_secs(1) };
    let report = tokio::task::LocalSet::new().run_until(drive(lanes, &options)).await.unwrap();
    assert_eq!((report.transactions, report.strangers, report.unanswered), (200, 0, 0));
    assert_eq!(report.codes, BTreeMap::from([("--".to_owned(), 200)]));
}
