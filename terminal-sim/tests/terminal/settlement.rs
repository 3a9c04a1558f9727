//! Totals, uploads, the end of a batch.

use super::host::*;
use terminal_sim::terminal::{Agreement, Card, Dialect, Fault, Sum, Terminal, TerminalError, Totals};
use tokio::net::TcpListener;

/// The host's totals in an 0510: domestic result, nothing foreign.
fn result(result: char) -> Act {
    let half = |digit| format!("{:012}{:03}{:012}{:03}{digit}", 0, 0, 0, 0);
    Act::NoCode(vec![(48, format!("{}{}", half(result), half('0')))])
}

#[tokio::test]
async fn a_unionpay_batch_settles_with_and_without_an_upload() {
    // Host's result, wrong totals, messages after the 0500 as (MTI, DE 60.3, first digits of DE 48).
    let upload: &[(&str, &str, &str)] = &[
        ("0320", "201", "08"),
        ("0320", "201", "02"),
        ("0320", "000", ""),
        ("0320", "205", ""),
        ("0320", "202", "0012"),
        ("0820", "002", ""),
    ];
    let balanced: &[(&str, &str, &str)] =
        &[("0320", "203", ""), ("0320", "207", "0001"), ("0820", "002", "")];
    let rows = [
        ('1', None, Agreement::Balanced, balanced),
        ('2', None, Agreement::Different, upload),
        ('3', None, Agreement::Error, upload),
        ('2', Some(1), Agreement::Different, upload),
    ];
    for (digit, off, agreement, messages) in rows {
        let mut script = vec![ok(); 12];
        script.push(result(digit));
        script.extend(vec![ok(); messages.len()]);
        let (mut terminal, host) = bench(Dialect::UnionPay, script).await;
        let sale = terminal.sale(&card(), 1_000).await.unwrap();
        for _ in 0..8 {
            terminal.sale(&card(), 100).await.unwrap();
        }
        terminal.void(&card(), &sale).await.unwrap();
        terminal.refund(&card(), &sale, 50).await.unwrap();
        terminal.sale(&Card::chip(PAN, "3012", &octets("9F3602004295050000008000")), 7).await.unwrap();
        let totals =
            Totals { debit: Sum { count: 10, minor: 1_807 }, credit: Sum { count: 2, minor: 1_050 } };
        assert_eq!(terminal.totals(), totals);
        if let Some(off) = off {
            terminal.inject(Fault::WrongTotals(off));
        }
        let settlement = terminal.settle().await.unwrap();
        assert_eq!((settlement.agreement, settlement.closed, settlement.batch), (agreement, true, 1));
        assert_eq!(settlement.totals, totals);
        assert_eq!((terminal.state().batch, terminal.state().items.len()), (2, 0));
        let seen = host.await.unwrap();
        let debit = 1_807 + off.unwrap_or(0);
        let want = format!("{debit:012}010{:012}0020{}0", 1_050, "0".repeat(30));
        assert_eq!((seen[12].mti.as_str(), seen[12].get(48)), ("0500", want.as_str()));
        assert_eq!(seen[12].des(), [11, 41, 42, 48, 49, 60, 63]);
        let after: Vec<_> =
            seen[13..].iter().map(|s| (s.mti.as_str(), &s.get(60)[8..11], s.get(48))).collect();
        assert_eq!(after.len(), messages.len(), "{after:?}");
        for (came, (mti, network, de48)) in after.iter().zip(messages) {
            assert_eq!((came.0, came.1), (*mti, *network), "{after:?}");
            assert!(came.2.starts_with(de48), "{after:?}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_at_the_next_settlement() {
    let script = vec![
        ok(),
        ok(),
        result('2'),
        ok(),
        Act::HangUp, // the refund's notice
        result('2'),
        ok(), // the notice again
        ok(), // the end
        ok(), // sign-off
    ];
    let (mut terminal, host) = bench(Dialect::UnionPay, script).await;
    let sale = terminal.sale(&card(), 1_000).await.unwrap();
    terminal.refund(&card(), &sale, 50).await.unwrap();
    let broken = terminal.settle().await.unwrap();
    assert_eq!((broken.closed, broken.uploaded, terminal.state().items.len()), (false, 1, 2));
    let whole = terminal.settle().await.unwrap();
    assert_eq!((whole.closed, whole.uploaded), (true, 2));
    let seen = host.await.unwrap();
    let item = format!("0100000001{PAN:0>20}000000001000");
    assert_eq!(seen[3].get(48), item);
    assert_eq!((seen[6].get(3), seen[6].get(11), seen[6].get(2)), ("200000", "000002", PAN));
    assert_eq!(seen[7].get(48), "0002");
}

/// Answers, agreement, messages as (MTI, DE 3), closed.
type EdcRow = (Vec<Act>, Agreement, Vec<(&'static str, &'static str)>, bool);

#[tokio::test]
async fn an_edc_batch_settles_net_and_uploads_on_95() {
    // Answers from the 0500 on, then (MTI, DE 3) of what follows it; whether the batch closed.
    let rows: Vec<EdcRow> = vec![
        (vec![ok()], Agreement::Balanced, vec![], true),
        (
            vec![code("95"), ok(), ok(), ok()],
            Agreement::Different,
            vec![("0320", "000001"), ("0320", "200000"), ("0500", "960000")],
            true,
        ),
        (vec![code("77")], Agreement::Different, vec![], true),
        (vec![code("96")], Agreement::Unanswered, vec![], false),
        (vec![Act::HangUp], Agreement::Unanswered, vec![], false),
    ];
    for (answers, agreement, messages, closed) in rows {
        let script = vec![ok(); 4].into_iter().chain(answers).collect();
        let (mut terminal, host) = bench(Dialect::Edc, script).await;
        let sale = terminal.sale(&card(), 1_000).await.unwrap();
        terminal.sale(&card(), 500).await.unwrap();
        terminal.void(&card(), &sale).await.unwrap();
        terminal.refund_unlinked(&card(), 50).await.unwrap();
        let settlement = terminal.settle().await.unwrap();
        assert_eq!((settlement.agreement, settlement.closed), (agreement, closed));
        assert_eq!(terminal.state().batch, if closed { 2 } else { 1 });
        let seen = host.await.unwrap();
        assert_eq!((seen[4].mti.as_str(), seen[4].get(3), seen[4].get(60)), ("0500", "920000", "000001"));
        assert_eq!(seen[4].get(63), format!("001000000000500001000000000050{}", "0".repeat(60)));
        let after: Vec<_> = seen[5..].iter().map(|s| (s.mti.as_str(), s.get(3))).collect();
        assert_eq!(after, messages);
        if let Some(item) = seen.get(5) {
            assert_eq!(item.get(60), "0200000002101112000095");
            assert_eq!((item.get(2), item.get(39), item.get(62)), (PAN, "00", "000002"));
        }
    }
}

#[tokio::test]
async fn what_a_dialect_lacks_is_said() {
    let (mut terminal, _host) = bench(Dialect::Ascii, vec![]).await;
    let error = terminal.settle().await.unwrap_err();
    assert_eq!(error.to_string(), "iso87-ascii has no settlement");
    assert!(matches!(
        terminal.offline_sale(&card(), 1, "V12345").await,
        Err(TerminalError::NotInDialect(..))
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut fresh = Terminal::connect(profile(Dialect::UnionPay, &listener), None).await.unwrap();
    assert_eq!(fresh.sale(&card(), 1).await.unwrap_err().to_string(), "no working keys: sign on first");
}
