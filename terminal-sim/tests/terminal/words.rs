//! What a terminal says: golden frames, and the field set of every transaction.

use super::host::*;
use std::collections::BTreeMap;
use terminal_sim::terminal::{Dialect, KeyForm, Kind, Outcome, Terminal, TerminalError, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Frames of the protocol's golden vectors, length prefix included.
pub(crate) const SIGN_ON: &str = "003C600003000060310031100008000020000000C0001200000130303030303130\
                       3138393833313030353831323030303100110000000100300003303120";
const SIGN_ON_REPLY: &str = "007960000000036031003110000810003800010AC0001400000109301511210800\
                             0123453039333031353030303039353030303030303031303138393833313030\
                             353831323030303100110000000100300040\
                             521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
const SALE: &str = "007260000300006031003110000200302004C020C0981100000000000001000000\
                    000702100012346225880012345675AA5A7881CAF9ED9A00303030303031303138\
                    3938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000\
                    0014220000010005004441443644393837";

#[tokio::test]
async fn golden_frames_leave_the_terminal_byte_for_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let profile = profile(Dialect::UnionPay, &listener);
    // The host: compares octets, answers the sign-on with the golden reply, the sale with silence.
    let host = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sign_on = vec![0; SIGN_ON.len() / 2];
        stream.read_exact(&mut sign_on).await.unwrap();
        stream.write_all(&octets(SIGN_ON_REPLY)).await.unwrap();
        let mut sale = vec![0; SALE.len() / 2];
        stream.read_exact(&mut sale).await.unwrap();
        [sign_on, sale].map(hex::encode_upper)
    });
    let mut terminal = Terminal::connect(profile, None).await.unwrap();
    let outcome = terminal.sign_on(KeyForm::Double).await.unwrap();
    assert_eq!((outcome.verdict, outcome.code.as_str()), (Verdict::Approved, "00"));
    assert_eq!((terminal.state().batch, outcome.stan), (1, 1));
    // The golden sale has an encrypted track: its TDK comes in form 004 only, so it is given here.
    terminal.load_keys(&octets(PIK), &octets(MAK), Some(&octets(TDK))).unwrap();
    terminal.set_next_stan(7);
    let outcome = terminal.sale(&card(), 10_000).await.unwrap();
    assert_eq!(outcome.verdict, Verdict::NoReply);
    assert_eq!(host.await.unwrap(), [SIGN_ON, SALE].map(str::to_owned));
}

#[tokio::test]
async fn keys_of_every_form_are_taken_and_a_spoiled_one_is_not() {
    let de62 = "521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
    let with_track = format!("{de62}7646340617CE6363F940A00AEF3A405163435184");
    let spoiled = de62.replace("228977DA", "228977DB");
    let keys = |de62: &str| Act::Answer("00", vec![(60, "00000042003".into()), (62, de62.into())]);
    let script = vec![keys(&with_track), ok(), keys(&spoiled)];
    let (mut terminal, host) = bench(Dialect::UnionPay, script).await;
    terminal.sign_on(KeyForm::DoubleWithTrack).await.unwrap();
    assert_eq!(terminal.state().batch, 42, "the host's batch is adopted");
    assert!(terminal.sale(&card(), 1).await.unwrap().approved);
    assert!(matches!(terminal.sign_on(KeyForm::Double).await, Err(TerminalError::Key(_))));
    let seen = host.await.unwrap();
    assert_eq!(seen[0].get(60), "00000001004");
    assert_eq!(seen[1].get(53), "2610000000000000");
    assert_eq!(seen[1].get(35), "6225880012345675AA5A7881CAF9ED9A00");
    assert_eq!(seen[1].get(60), "22000042000500");
}

/// These transactions in a row, each approved; what the host saw of each.
async fn approved(dialect: Dialect, kinds: Vec<Kind>) -> Vec<(Kind, Seen)> {
    let (mut terminal, host) = bench(dialect, vec![ok(); kinds.len()]).await;
    let card = card();
    let mut last: BTreeMap<Kind, Outcome> = BTreeMap::new();
    for kind in &kinds {
        let from = |kind| Outcome { auth_code: Some("A00095".into()), ..last[&kind].clone() };
        let outcome = match kind {
            Kind::Balance => terminal.balance(&card).await,
            Kind::Sale => terminal.sale(&card, 10_000).await,
            Kind::Void => terminal.void(&card, &from(Kind::Sale)).await,
            Kind::Refund => terminal.refund(&card, &from(Kind::Sale), 500).await,
            Kind::PreAuth => terminal.pre_auth(&card, 800).await,
            Kind::PreAuthCancel => terminal.pre_auth_cancel(&card, &from(Kind::PreAuth)).await,
            Kind::Completion => terminal.completion(&card, &from(Kind::PreAuth), 800).await,
            Kind::CompletionAdvice => terminal.completion_advice(&card, &from(Kind::PreAuth), 800).await,
            Kind::CompletionVoid => terminal.completion_void(&card, &from(Kind::Completion)).await,
            Kind::OfflineSale => terminal.offline_sale(&card, 700, "V12345").await,
            Kind::Reversal | Kind::Network | Kind::Settlement => unreachable!("no payment"),
        };
        last.insert(*kind, outcome.unwrap());
    }
    kinds.into_iter().zip(host.await.unwrap()).collect()
}

/// Kind, MTI, DE 3, DE 25, DE 60 (UnionPay), all fields.
type Row = (Kind, &'static str, &'static str, &'static str, &'static str, &'static [u8]);

#[tokio::test]
async fn every_transaction_has_the_words_of_its_dialect() {
    let unionpay: &[Row] = &[
        (Kind::Sale, "0200", "000000", "00", "22", &[3, 4, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60, 64]),
        (Kind::Balance, "0200", "310000", "00", "01", &[3, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60, 64]),
        (Kind::Refund, "0220", "200000", "00", "25", &[3, 4, 11, 22, 25, 35, 37, 41, 42, 49, 60, 61, 63, 64]),
        (
            Kind::Void,
            "0200",
            "200000",
            "00",
            "23",
            &[3, 4, 11, 22, 25, 26, 35, 37, 38, 41, 42, 49, 52, 53, 60, 61, 64],
        ),
        (Kind::OfflineSale, "0220", "000000", "00", "30", &[2, 3, 4, 11, 14, 22, 25, 38, 41, 42, 49, 60, 64]),
        (
            Kind::PreAuth,
            "0100",
            "030000",
            "06",
            "10",
            &[3, 4, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60, 64],
        ),
        (
            Kind::PreAuthCancel,
            "0100",
            "200000",
            "06",
            "11",
            &[3, 4, 11, 22, 25, 26, 35, 38, 41, 42, 49, 52, 53, 60, 61, 64],
        ),
        (
            Kind::Completion,
            "0200",
            "000000",
            "06",
            "20",
            &[3, 4, 11, 22, 25, 26, 35, 38, 41, 42, 49, 52, 53, 60, 61, 64],
        ),
        (
            Kind::CompletionVoid,
            "0200",
            "200000",
            "06",
            "21",
            &[3, 4, 11, 22, 25, 26, 35, 37, 38, 41, 42, 49, 52, 53, 60, 61, 64],
        ),
        (
            Kind::CompletionAdvice,
            "0220",
            "000000",
            "06",
            "24",
            &[2, 3, 4, 11, 14, 22, 25, 38, 41, 42, 49, 60, 61, 64],
        ),
    ];
    let edc: &[Row] = &[
        (Kind::Sale, "0200", "000000", "00", "", &[3, 4, 11, 22, 24, 25, 35, 41, 42, 52, 62, 64]),
        (Kind::Balance, "0100", "310000", "00", "", &[3, 11, 22, 24, 25, 35, 41, 42, 52, 64]),
        (Kind::Refund, "0200", "200000", "00", "", &[3, 4, 11, 22, 24, 25, 35, 41, 42, 62, 64]),
        (
            Kind::Void,
            "0200",
            "020000",
            "00",
            "",
            &[2, 3, 4, 11, 12, 13, 14, 22, 24, 25, 37, 38, 41, 42, 62, 64],
        ),
        (
            Kind::OfflineSale,
            "0220",
            "000000",
            "00",
            "",
            &[2, 3, 4, 11, 12, 13, 14, 22, 24, 25, 38, 41, 42, 62, 64],
        ),
    ];
    let ascii: &[Row] = &[
        (Kind::Sale, "0200", "000000", "00", "", &[3, 4, 7, 11, 12, 13, 22, 25, 35, 41, 42, 49, 52, 64]),
        (Kind::Balance, "0100", "310000", "00", "", &[3, 7, 11, 12, 13, 22, 25, 35, 41, 42, 49, 52, 64]),
        (Kind::Refund, "0200", "200000", "00", "", &[3, 4, 7, 11, 12, 13, 22, 25, 35, 37, 41, 42, 49, 64]),
        (
            Kind::Void,
            "0200",
            "020000",
            "00",
            "",
            &[3, 4, 7, 11, 12, 13, 22, 25, 35, 37, 38, 41, 42, 49, 52, 90, 128],
        ),
        (Kind::PreAuth, "0100", "000000", "00", "", &[3, 4, 7, 11, 12, 13, 22, 25, 35, 41, 42, 49, 52, 64]),
    ];
    for (dialect, table) in [(Dialect::UnionPay, unionpay), (Dialect::Edc, edc), (Dialect::Ascii, ascii)] {
        let seen = approved(dialect, table.iter().map(|row| row.0).collect()).await;
        for ((kind, seen), (_, mti, processing, condition, class, des)) in seen.iter().zip(table) {
            let name = format!("{dialect:?} {kind:?}");
            assert_eq!(seen.mti, *mti, "{name}");
            assert_eq!((seen.get(3), seen.get(25)), (*processing, *condition), "{name}");
            assert!(seen.get(60).starts_with(class), "{name}");
            // A bitmap indicator is no field of its own here.
            let present: Vec<u8> = seen.des().into_iter().filter(|de| *de != 1).collect();
            assert_eq!(present, *des, "{name}");
            assert_eq!(seen.mac_fits, Some(true), "{name}");
        }
    }
}

#[tokio::test]
async fn references_to_an_original_are_filled_in() {
    let kinds = vec![Kind::Sale, Kind::Void, Kind::Refund, Kind::PreAuth, Kind::Completion];
    let seen = approved(Dialect::UnionPay, kinds).await;
    let find = |kind: Kind| seen.iter().find(|(k, _)| *k == kind).map(|(_, seen)| seen.clone()).unwrap();
    assert_eq!(find(Kind::Void).get(61), "000001000001");
    assert_eq!(find(Kind::Refund).get(61), "0000010000011123");
    assert_eq!(find(Kind::Refund).get(63), "000");
    assert_eq!(find(Kind::Completion).get(61), "0000010000041123");
    assert_eq!(find(Kind::Void).get(37), "101112000095");
    assert_eq!(find(Kind::Sale).get(22), "021");
    assert_eq!(find(Kind::Refund).get(22), "022");
    let seen = approved(Dialect::Ascii, vec![Kind::Sale, Kind::Void]).await;
    let void = &seen[1].1;
    assert_eq!(void.get(90), format!("0200000001{}{}", "1123093015", "0".repeat(22)));
    let seen = approved(Dialect::Edc, vec![Kind::Sale, Kind::Void]).await;
    let void = &seen[1].1;
    assert_eq!((void.get(12), void.get(13), void.get(62)), ("101112", "1123", "000001"));
}
