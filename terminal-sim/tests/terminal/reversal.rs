//! Answers that are not taken, reversals, advices.

use super::host::*;
use iso8583_spec::Spec;
use terminal_sim::terminal::{
    Card, Dialect, Fault, ReversalForm, Sum, Terminal, TerminalError, TerminalProfile, Totals, Verdict,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[tokio::test]
async fn an_answer_that_is_not_taken_is_reversed_before_the_next_transaction() {
    // Fault, the host's act on the sale, verdict, reason in UnionPay's DE 39.
    let rows: &[(Option<Fault>, Act, Verdict, &str)] = &[
        (None, Act::HangUp, Verdict::NoReply, "98"),
        (Some(Fault::DropReply), ok(), Verdict::NoReply, "98"),
        (None, Act::BadMac, Verdict::WrongMac, "A0"),
        (None, Act::NoMac, Verdict::WrongMac, "A0"),
        (Some(Fault::NotTaken), ok(), Verdict::NotTaken, "06"),
        (None, Act::WrongEcho(0, ""), Verdict::WrongEcho(0), "98"),
        (None, Act::WrongEcho(3, "200000"), Verdict::WrongEcho(3), "98"),
        (None, Act::WrongEcho(4, "000000010001"), Verdict::WrongEcho(4), "98"),
        (None, Act::WrongEcho(11, "000002"), Verdict::WrongEcho(11), "98"),
        (None, Act::WrongEcho(41, "00000102"), Verdict::WrongEcho(41), "98"),
        (None, Act::WrongEcho(42, "898310058120002"), Verdict::WrongEcho(42), "98"),
    ];
    for dialect in Dialect::ALL {
        for (fault, act, verdict, reason) in rows {
            let name = format!("{dialect:?} {fault:?} {act:?}");
            let (mut terminal, host) = bench(dialect, vec![act.clone(), ok(), ok()]).await;
            if let Some(fault) = fault {
                terminal.inject(*fault);
            }
            let lost = terminal.sale(&card(), 10_000).await.unwrap();
            assert_eq!((lost.verdict, lost.approved), (*verdict, false), "{name}");
            assert_eq!(terminal.state().reversal.as_ref().map(|r| r.stan), Some(1), "{name}");
            assert_eq!(terminal.totals(), Totals::default(), "{name}");
            let next = terminal.sale(&card(), 200).await.unwrap();
            assert!(next.approved, "{name}");
            assert_eq!(terminal.state().reversal, None, "{name}");
            let seen = host.await.unwrap();
            check_reversal(dialect, &seen[1], reason, &name);
            assert_eq!((seen[2].mti.as_str(), seen[2].get(11)), ("0200", "000002"), "{name}");
        }
    }
}

fn check_reversal(dialect: Dialect, reversal: &Seen, reason: &str, name: &str) {
    let (mti, des): (&str, &[u8]) = match dialect {
        Dialect::UnionPay => ("0400", &[3, 4, 11, 22, 25, 39, 41, 42, 49, 60, 64]),
        Dialect::Edc => ("0400", &[3, 4, 11, 22, 24, 25, 41, 42, 62, 64]),
        Dialect::Ascii => ("0420", &[3, 4, 7, 11, 12, 13, 22, 25, 41, 42, 49, 90, 128]),
    };
    let present: Vec<u8> = reversal.des().into_iter().filter(|de| *de != 1).collect();
    assert_eq!((reversal.mti.as_str(), present.as_slice()), (mti, des), "{name}");
    assert_eq!((reversal.get(11), reversal.get(4)), ("000001", "000000010000"), "{name}");
    assert_eq!(reversal.mac_fits, Some(true), "{name}");
    match dialect {
        Dialect::UnionPay => assert_eq!(reversal.get(39), reason, "{name}"),
        Dialect::Edc => {}
        Dialect::Ascii => assert!(reversal.get(90).starts_with("02000000011123093015"), "{name}"),
    }
}

#[tokio::test]
async fn a_reversal_ends_with_the_codes_of_its_dialect_and_is_given_up_after_four_sends() {
    let four = || vec![code("96"); 4];
    // Dialect, answers to the reversal, MTIs as sent, given up.
    let rows = [
        (Dialect::UnionPay, vec![code("00")], vec!["0400"], false),
        (Dialect::UnionPay, vec![code("25")], vec!["0400"], false),
        (Dialect::UnionPay, vec![Act::HangUp, code("12")], vec!["0400", "0400"], false),
        (Dialect::UnionPay, four(), vec!["0400"; 4], true),
        (Dialect::Edc, vec![code("25"), code("00")], vec!["0400", "0401"], false),
        (Dialect::Edc, four(), vec!["0400", "0401", "0401", "0401"], true),
        (Dialect::Ascii, vec![Act::HangUp, code("00")], vec!["0420", "0421"], false),
    ];
    for (dialect, answers, mtis, given_up) in rows {
        let name = format!("{dialect:?} {answers:?}");
        let script = std::iter::once(Act::HangUp).chain(answers).collect();
        let (mut terminal, host) = bench(dialect, script).await;
        terminal.sale(&card(), 10_000).await.unwrap();
        let last = terminal.reversal().await.unwrap().unwrap();
        assert_eq!(last.approved, !given_up, "{name}");
        assert_eq!(terminal.state().given_up, if given_up { vec![1] } else { vec![] }, "{name}");
        assert_eq!(terminal.reversal().await.unwrap(), None, "{name}");
        let seen = host.await.unwrap();
        assert_eq!(seen[1..].iter().map(|s| s.mti.as_str()).collect::<Vec<_>>(), mtis, "{name}");
    }
}

#[tokio::test]
async fn an_ascii_terminal_can_word_its_reversal_as_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let profile =
        TerminalProfile { reversal_form: ReversalForm::Request, ..profile(Dialect::Ascii, &listener) };
    let host = Host { dialect: Dialect::Ascii, spec: Spec::builtin("iso87-ascii").unwrap() };
    let host = tokio::spawn(host.serve(listener, vec![Act::HangUp, Act::HangUp, ok()]));
    let mut terminal = Terminal::connect(profile, None).await.unwrap();
    terminal.sale(&card(), 1).await.unwrap();
    terminal.reversal().await.unwrap();
    let seen = host.await.unwrap();
    assert_eq!((seen[1].mti.as_str(), seen[2].mti.as_str()), ("0400", "0401"));
    assert_eq!(seen[1].fields.get(&90), seen[2].fields.get(&90));
}

#[tokio::test]
async fn declines_are_final_and_leave_nothing_behind() {
    for dialect in Dialect::ALL {
        let (mut terminal, host) = bench(dialect, vec![code("51"), ok()]).await;
        let declined = terminal.sale(&card(), 100).await.unwrap();
        assert_eq!((declined.verdict, declined.code.as_str()), (Verdict::Declined, "51"));
        assert_eq!((terminal.state().reversal.as_ref(), terminal.state().items.len()), (None, 0));
        assert!(terminal.sale(&card(), 100).await.unwrap().approved);
        assert_eq!(host.await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_partial_approval_counts_with_its_own_amount() {
    let part = Act::Answer("10", vec![(4, "000000000050".into())]);
    let (mut terminal, _host) = bench(Dialect::UnionPay, vec![part]).await;
    let outcome = terminal.sale(&card(), 100).await.unwrap();
    assert_eq!((outcome.approved, outcome.amount), (true, 50));
    assert_eq!(terminal.totals().debit, Sum { count: 1, minor: 50 });
}

#[tokio::test]
async fn the_reversal_is_on_disk_before_the_request_is_on_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terminal.json");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let profile = TerminalProfile { state: Some(path.clone()), ..profile(Dialect::Edc, &listener) };
    let host = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let first = stream.read_u8().await.unwrap();
        (first, std::fs::read_to_string(path).unwrap(), listener)
    });
    let mut terminal = Terminal::connect(profile.clone(), None).await.unwrap();
    terminal.sale(&card(), 4_321).await.unwrap();
    let (_, state, listener) = host.await.unwrap();
    assert!(state.contains("\"mti\": \"0400\"") && state.contains("000000004321"), "{state}");
    assert!(!state.contains("D3012"), "no track at rest");
    drop(terminal);

    // Power comes back: the reversal is sent first.
    let host = Host { dialect: Dialect::Edc, spec: Spec::builtin("edc").unwrap() };
    let host = tokio::spawn(host.serve(listener, vec![ok(), ok()]));
    let mut terminal = Terminal::connect(profile, None).await.unwrap();
    terminal.sale(&card(), 1).await.unwrap();
    let seen = host.await.unwrap();
    assert_eq!(
        seen.iter().map(|s| (s.mti.as_str(), s.get(11))).collect::<Vec<_>>(),
        [("0400", "000001"), ("0200", "000002")]
    );
}

#[tokio::test]
async fn an_advice_counts_at_once_and_is_repeated_until_it_is_taken() {
    for (dialect, repeated) in [(Dialect::UnionPay, "0220"), (Dialect::Edc, "0221")] {
        let script = vec![Act::HangUp, code("94"), ok()];
        let (mut terminal, host) = bench(dialect, script).await;
        let advice = terminal.offline_sale(&card(), 700, "V12345").await.unwrap();
        assert_eq!(advice.verdict, Verdict::NoReply);
        assert_eq!(terminal.totals().debit, Sum { count: 1, minor: 700 });
        assert_eq!(terminal.state().reversal, None, "an advice is never reversed");
        terminal.sale(&card(), 1).await.unwrap();
        assert_eq!(terminal.state().advices.len(), 0);
        let seen = host.await.unwrap();
        let mtis: Vec<_> = seen.iter().map(|s| (s.mti.as_str(), s.get(11))).collect();
        assert_eq!(mtis, [("0220", "000001"), (repeated, "000001"), ("0200", "000002")]);
    }
}

#[tokio::test]
async fn a_chip_leaves_its_number_and_five_tags_in_a_reversal() {
    let icc = octets("9F2608A1A2A3A4A5A6A7A89F360200429505000000800057085588");
    let card = Card::chip(PAN, "3012", &icc);
    let (mut terminal, host) = bench(Dialect::UnionPay, vec![Act::HangUp, ok()]).await;
    terminal.sale(&card, 100).await.unwrap();
    terminal.reversal().await.unwrap();
    let seen = host.await.unwrap();
    assert_eq!(seen[0].des(), [2, 3, 4, 11, 14, 22, 23, 25, 35, 41, 42, 49, 55, 60, 64]);
    assert_eq!((seen[0].get(22), seen[0].get(23)), ("052", "001"));
    assert_eq!(seen[1].des(), [2, 3, 4, 11, 14, 22, 23, 25, 39, 41, 42, 49, 55, 60, 64]);
    assert_eq!((seen[1].get(2), seen[1].get(55)), (PAN, "9F3602004295050000008000"));
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent_and_nothing_is_due() {
    let (mut terminal, host) = bench(Dialect::Edc, vec![ok()]).await;
    terminal.sale(&card(), 100).await.unwrap();
    // The host is gone, and its listener too: the terminal sees the closed connection before it sends. A
    // round trip on another socket lets the runtime look at its sockets.
    host.await.unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    let (accepted, connected) = tokio::join!(elsewhere.accept(), tokio::net::TcpStream::connect(address));
    assert!(accepted.is_ok() && connected.is_ok());
    let error = terminal.sale(&card(), 100).await.unwrap_err();
    assert!(matches!(error, TerminalError::Connect(_)), "{error}");
    assert_eq!((terminal.state().reversal.as_ref(), terminal.state().items.len()), (None, 1));
}

#[tokio::test]
async fn a_twin_is_the_same_terminal_on_a_connection_of_its_own() {
    let (mut terminal, host) = bench(Dialect::UnionPay, vec![ok(), ok()]).await;
    let sale = terminal.sale(&card(), 100).await.unwrap();
    let mut twin = terminal.twin().unwrap();
    // The host serves one connection at a time.
    terminal.disconnect();
    twin.set_next_stan(500);
    assert!(twin.void(&card(), &sale).await.unwrap().approved);
    assert_eq!(terminal.totals().credit, Sum::default());
    let seen = host.await.unwrap();
    assert_eq!((seen[1].get(11), seen[1].get(41), seen[1].mac_fits), ("000500", "00000101", Some(true)));
    assert_eq!(seen[1].get(61), "000001000001");
}
