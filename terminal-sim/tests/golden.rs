//! The golden frames through a real daemon: their octets go in as they stand, and what comes back is held
//! against them. Working keys are drawn anew at each sign-on, so what depends on them is made here from the
//! golden clear values.
//!
//! With the keys given, the same vectors hold byte for byte in `tollgate::hsm::soft` (DE 62 of the sign-on
//! answer, the sale as the switch opens it) and in `tests/terminal/words.rs` (both frames as the terminal half
//! sends them).

#![allow(clippy::unwrap_used, reason = "helpers of tests: the lint's exemption covers test functions only")]

use iso8583_spec::{Spec, View};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use terminal_sim::stage::{MID, Stage, StageOptions, keys};
use terminal_sim::terminal::Dialect;
use tollgate::hsm::des::DesKey;
use tollgate::hsm::mac::mac;
use tollgate::hsm::{MacAlgorithm, WorkingKeys, read_working_keys};
use tollgate::transaction::KeyForm;

const TID: &str = "00000101";
const SIGN_ON: &str = "003C600003000060310031100008000020000000C0001200000130303030303130\
                       3138393833313030353831323030303100110000000100300003303120";
const SIGN_ON_REPLY: &str = "007960000000036031003110000810003800010AC0001400000109301511210800\
                             0123453039333031353030303039353030303030303031303138393833313030\
                             353831323030303100110000000100300040\
                             521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
const SALE: &str = "007260000300006031003110000200302004C020C0981100000000000001000000\
                    000702100012346225880012345675AA5A7881CAF9ED9A00303030303031303138\
                    3938333130303538313230303031313536605CAB8CE0D1A2B92610000000000000\
                    0014220000010005004441443644393837";
/// What the golden sale hides: the track's block behind the card number's digits, and the PIN block.
const TDK: &str = "7C4A1F0D3B5E86A9D0E2F47586B9CDA2";
const TRACK_HIDDEN: &str = "AA5A7881CAF9ED9A";
const PIN_HIDDEN: &str = "605CAB8CE0D1A2B9";
const PIN_CLEAR: &str = "06126CD6FEDCBA98";
const TRACK_CLEAR: &str = "6225880012345675D30122010000012300";

/// Octets in front of the message type: length 2, TPDU 5, header 6.
const HEAD: usize = 13;

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn block(text: &str) -> [u8; 8] {
    octets(text).try_into().unwrap()
}

fn key(text: &str) -> DesKey {
    DesKey::new(&octets(text)).unwrap()
}

/// A stage whose switch knows the golden terminal: its merchant is the stage's, its TMK too.
async fn stage(folder: &Path) -> Stage {
    let exe = Some(PathBuf::from(env!("CARGO_BIN_EXE_terminal-sim")));
    let stage = Stage::build(StageOptions { dir: folder.join("stage"), exe, ..StageOptions::default() });
    let mut stage = stage.await.unwrap();
    let seed = folder.join("golden.toml");
    let terminal = format!(
        "tid = {TID:?}\nmid = {MID:?}\ndialect = \"unionpay-pos\"\ncurrency = \"CNY\"\ntmk = \"tmk\""
    );
    fs::write(&seed, format!("[[terminal]]\n{terminal}\n")).unwrap();
    // A daemon that runs sees it at its next look at the store; one that starts, at once.
    stage.stop().await.unwrap();
    stage.verb(&["terminal", "import", seed.to_str().unwrap()]).unwrap();
    stage.start(None).await.unwrap();
    stage
}

/// Sends a frame and reads one: both with their length prefix. The issuers live on this test's runtime, so
/// the exchange must not block it.
async fn exchange(address: SocketAddr, frame: Vec<u8>) -> Vec<u8> {
    let exchanged = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&frame).unwrap();
        let mut prefix = [0; 2];
        stream.read_exact(&mut prefix).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(prefix))];
        stream.read_exact(&mut reply).unwrap();
        [prefix.as_slice(), &reply].concat()
    });
    exchanged.await.unwrap()
}

fn view(frame: &[u8]) -> View<'_> {
    View::decode(Spec::builtin("unionpay-pos").unwrap(), &frame[2..]).unwrap()
}

/// Replaces octets by their hexadecimal digits, which must occur once.
fn replace(frame: &str, from: &str, to: &[u8]) -> String {
    assert_eq!(frame.matches(from).count(), 1, "{from}");
    frame.replace(from, &hex::encode_upper(to))
}

#[tokio::test]
async fn the_golden_sign_on_is_answered_with_keys_in_the_golden_layout() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path()).await;
    let address = stage.address(Dialect::UnionPay.name()).unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(exchange(address, octets(SIGN_ON)).await);
    }
    for answer in &answers {
        // Local time and date, acquirer, RRN and the keys are the switch's own; every other octet is golden.
        let mut expected = octets(SIGN_ON_REPLY);
        assert_eq!(answer.len(), expected.len());
        for own in [26..31, 32..36, 36..48, 83..123] {
            expected[own.clone()].copy_from_slice(&answer[own]);
        }
        assert_eq!(hex::encode_upper(answer), hex::encode_upper(expected));
        let de62 = view(answer).bytes(62).unwrap().into_owned();
        assert_eq!(de62.len(), 40);
        assert_eq!(de62[28..36], [0; 8], "a MAK's slot is filled with zeros in clear");
        // The reader of keys compares check values; here they are computed from what decrypts.
        let tmk = key(keys::TMK);
        for (cipher, kcv) in [(&de62[..16], &de62[16..20]), (&de62[20..28], &de62[36..40])] {
            let clear = tmk.decrypt_ecb(cipher).unwrap();
            assert!(clear.iter().all(|octet| octet.count_ones() % 2 == 1), "odd parity");
            assert_eq!(DesKey::new(&clear).unwrap().encrypt([0; 8])[..4], *kcv);
        }
    }
    assert_ne!(answers[0][83..], answers[1][83..], "each sign-on draws new keys");
    stage.stop().await.unwrap();
}

/// The golden sale under the keys of this sign-on: three places differ, and nothing else.
fn sale_under(keys: &WorkingKeys) -> Vec<u8> {
    let track = key(TDK).decrypt(block(TRACK_HIDDEN));
    let hidden = keys.tdk.as_ref().unwrap().encrypt(track);
    let sale = replace(SALE, TRACK_HIDDEN, &hidden);
    let mut sale = octets(&replace(&sale, PIN_HIDDEN, &keys.tpk.encrypt(block(PIN_CLEAR))));
    let end = sale.len() - 8;
    let made = mac(MacAlgorithm::UnionPayEcb, &keys.tak, &sale[HEAD..end]).unwrap();
    sale[end..].copy_from_slice(&made);
    sale
}

/// The first message of this kind that the switch sent an issuer: its fields as text.
fn asked(stage: &Stage, mti: &str) -> impl Fn(u8) -> String + use<> {
    stage.recorder.flush().unwrap();
    let record = fs::read_to_string(stage.dir.join("record.jsonl")).unwrap();
    let lines = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bodies = lines.filter(|line| line["link"] == "issuer:BANKA" && line["from"] == "switch");
    let mut bodies = bodies.map(|line| octets(line["hex"].as_str().unwrap()));
    let body = bodies.find(|body| body.starts_with(mti.as_bytes())).unwrap();
    move |de| {
        let view = View::decode(Spec::builtin("iso87-ascii").unwrap(), &body).unwrap();
        match de {
            52 => hex::encode_upper(view.bytes(52).unwrap()),
            de => view.text(de).unwrap().to_string(),
        }
    }
}

#[tokio::test]
async fn the_golden_sale_is_approved_and_its_card_data_reach_the_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path()).await;
    let address = stage.address(Dialect::UnionPay.name()).unwrap();
    // Form 004 brings the track key: DE 60.3 of the sign-on.
    let sign_on = replace(SIGN_ON, "00000001003000", &octets("00000001004000"));
    let answer = exchange(address, octets(&sign_on)).await;
    let de62 = view(&answer).bytes(62).unwrap().into_owned();
    assert_eq!(de62.len(), 60);
    let working = read_working_keys(&key(keys::TMK), KeyForm::DoubleWithTrack, &de62).unwrap();

    let sale = sale_under(&working);
    assert_eq!(sale.len(), SALE.len() / 2);
    let answer = exchange(address, sale).await;
    let told = view(&answer);
    let text = |de| told.text(de).unwrap().to_string();
    assert_eq!((told.mti().to_string(), text(39)), ("0210".to_owned(), "00".to_owned()));
    let echoed = [4, 11, 41, 42, 49].map(text);
    assert_eq!(echoed, ["000000010000", "000007", TID, MID, "156"].map(str::to_owned));
    let end = answer.len() - 8;
    assert_eq!(answer[end..], mac(MacAlgorithm::UnionPayEcb, &working.tak, &answer[HEAD..end]).unwrap());

    let asked = asked(&stage, "0200");
    assert_eq!(asked(35).replace('=', "D"), TRACK_CLEAR);
    assert_eq!(key(keys::ZPK_A).decrypt(block(&asked(52))), block(PIN_CLEAR));
    assert_eq!((asked(4), asked(37)), ("000000010000".to_owned(), text(37)));
    let moved = stage.issuers[0].books.lock().unwrap_or_else(PoisonError::into_inner).export().net_by_rrn;
    assert_eq!(moved.into_iter().collect::<Vec<_>>(), [(text(37), 10_000)]);

    // The golden octets as they stand are under other keys: refused, and nothing moves.
    let refused = exchange(address, octets(SALE)).await;
    assert_eq!(view(&refused).text(39).unwrap().to_string(), "A0");
    stage.stop().await.unwrap();
}
