//! The issuer over a socket, in bytes: messages are put together and taken apart here by hand, not by the codec
//! that the issuer uses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy exempts test functions of these, but not what they call"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use terminal_sim::issuer::{
    Account, Books, Delivery, IssuerConfig, IssuerHandle, IssuerServer, Rule, When, ZoneKeys,
};
use terminal_sim::record::Recorder;
use terminal_sim::stage::own_host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::hsm::{DesKey, MacAlgorithm, mac};
use tollgate::transaction::{Currency, Pan};

const PAN: &str = "6225880012345675";
const ZPK: &str = "5B8F4C19A2D36E70C4A7F1E89D0B3652";
const ZAK: &str = "8C4E2A61D3F5B7901B2D3E4F5A6C7889";

type Fields = BTreeMap<u8, String>;

/// Digits of a field's length prefix, or its fixed width in characters.
fn shape(de: u8) -> (usize, usize) {
    match de {
        2 | 32 | 35 => (2, 0),
        54 | 55 => (3, 0),
        3 | 11 | 12 | 38 => (0, 6),
        4 | 37 => (0, 12),
        7 => (0, 10),
        13 | 14 | 18 => (0, 4),
        22 | 49 | 70 => (0, 3),
        25 | 39 => (0, 2),
        41 => (0, 8),
        42 => (0, 15),
        52 | 64 | 128 => (0, 16),
        90 => (0, 42),
        _ => panic!("field {de} is not of this test"),
    }
}

fn write(mti: &str, fields: &Fields) -> String {
    let mut bits = 0u128;
    let mut content = String::new();
    for (de, text) in fields {
        bits |= 1 << (128 - de);
        let (prefix, width) = shape(*de);
        match prefix {
            0 => assert_eq!(text.len(), width, "field {de}"),
            _ => content.push_str(&format!("{:0prefix$}", text.len())),
        }
        content.push_str(text);
    }
    if bits as u64 != 0 {
        bits |= 1 << 127;
        return format!("{mti}{bits:032X}{content}");
    }
    format!("{mti}{:016X}{content}", bits >> 64)
}

fn read(body: &str) -> (String, Fields) {
    let (mti, rest) = body.split_at(4);
    let wide = u8::from_str_radix(&rest[..1], 16).unwrap() >= 8;
    let (bitmap, mut rest) = rest.split_at(if wide { 32 } else { 16 });
    let bits = u128::from_str_radix(bitmap, 16).unwrap() << if wide { 0 } else { 64 };
    let mut fields = Fields::new();
    for de in (2..=128u8).filter(|de| bits & (1 << (128 - de)) != 0) {
        let (prefix, mut width) = shape(de);
        if prefix > 0 {
            let (length, after) = rest.split_at(prefix);
            width = length.parse::<usize>().unwrap() * if de == 55 { 2 } else { 1 };
            rest = after;
        }
        let (text, after) = rest.split_at(width);
        fields.insert(de, text.to_owned());
        rest = after;
    }
    assert_eq!(rest, "");
    (mti.to_owned(), fields)
}

fn fields(list: &[(u8, &str)]) -> Fields {
    list.iter().map(|(de, text)| (*de, (*text).to_owned())).collect()
}

/// A sale of `amount` under `stan`.
fn sale(stan: u32, amount: u64) -> Fields {
    fields(&[
        (2, PAN),
        (3, "000000"),
        (4, &format!("{amount:012}")),
        (7, "1123070500"),
        (11, &format!("{stan:06}")),
        (14, "3012"),
        (22, "021"),
        (25, "00"),
        (32, "48020000"),
        (37, &format!("{stan:012}")),
        (41, "00000101"),
        (42, "898310058120001"),
        (49, "156"),
    ])
}

/// The reversal of that sale, under a STAN of its own.
fn reversal(stan: u32, of: u32, amount: u64) -> Fields {
    let mut fields = sale(stan, amount);
    fields.insert(90, format!("0200{of:06}1123070500{:0>11}{:011}", "48020000", 0));
    fields
}

fn config(rules: Vec<Rule>) -> IssuerConfig {
    let account = Account {
        label: "one".to_owned(),
        pan: Pan::parse(PAN).unwrap(),
        expiry: "3012".to_owned(),
        pin: Some("123456".to_owned()),
        balance_minor: 100_000,
        currency: Currency::CNY,
    };
    IssuerConfig { accounts: vec![account], rules, ..IssuerConfig::new("BANKA") }
}

async fn start(config: IssuerConfig) -> IssuerHandle {
    // At a loopback address that nobody else has: a port that is free again there stays free.
    let listener = TcpListener::bind((own_host(), 0)).await.unwrap();
    IssuerServer::start(config, listener, None).unwrap()
}

fn balance(books: &Arc<Mutex<Books>>) -> i64 {
    books.lock().unwrap_or_else(PoisonError::into_inner).balances()[0].balance_minor
}

struct Switch(TcpStream);

impl Switch {
    async fn connect(issuer: &IssuerHandle) -> Self {
        Self(TcpStream::connect(issuer.addr).await.unwrap())
    }

    async fn send(&mut self, mti: &str, fields: &Fields) {
        let body = write(mti, fields);
        self.0.write_all(format!("{:04}{body}", body.len()).as_bytes()).await.unwrap();
    }

    /// The next frame's body; `None` when the connection has closed.
    async fn frame(&mut self) -> Option<String> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).await.ok()?;
        let length: usize = std::str::from_utf8(&length).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Some(String::from_utf8(body).unwrap())
    }

    async fn answer(&mut self) -> (String, Fields) {
        read(&self.frame().await.expect("an answer"))
    }

    async fn ask(&mut self, mti: &str, fields: &Fields) -> (String, Fields) {
        self.send(mti, fields).await;
        self.answer().await
    }

    /// DE 39 of the answer.
    async fn code(&mut self, mti: &str, fields: &Fields) -> String {
        self.ask(mti, fields).await.1[&39].clone()
    }
}

#[tokio::test]
async fn answers_are_these_bytes() {
    let chip = Rule { icc: Some("8A023030".into()), ..Rule::code(When::amount(700), "00") };
    let issuer = start(config(vec![chip])).await;
    let mut switch = Switch::connect(&issuer).await;
    // Name, request, answer: without their lengths.
    let rows = [
        (
            "sign-on",
            "0800822000000000000004000000000000001123070500000001001",
            "081082200000020000000400000000000000112307050000000100001",
        ),
        (
            "echo",
            "0800822000000000000004000000000000001123070501000002301",
            "081082200000020000000400000000000000112307050100000200301",
        ),
        (
            "sale",
            "02007224048108C08000 166225880012345675000000000000010000 1123070500000003 3012 021 00 0848020000 \
             000000000003 00000101898310058120001156",
            "0210722000010EC08000 166225880012345675000000000000010000 1123070500000003 0848020000 000000000003 10000100 \
             00000101898310058120001156",
        ),
        (
            "sale answered with DE 55",
            "02007224048108C08000 166225880012345675000000000000000700 1123070500000004 3012 021 00 0848020000 \
             000000000004 00000101898310058120001156",
            "0210722000010EC08200 166225880012345675000000000000000700 1123070500000004 0848020000 000000000004 10000200 \
             00000101898310058120001156 0048A023030",
        ),
    ];
    for (name, request, answer) in rows {
        let body = request.replace(' ', "");
        switch.0.write_all(format!("{:04}{body}", body.len()).as_bytes()).await.unwrap();
        assert_eq!(switch.frame().await.unwrap(), answer.replace(' ', ""), "{name}");
    }
    let mut inquiry = sale(9, 0);
    inquiry.remove(&4);
    inquiry.insert(3, "311000".to_owned());
    let (mti, fields) = switch.ask("0100", &inquiry).await;
    assert_eq!((mti.as_str(), fields[&39].as_str()), ("0110", "00"));
    assert_eq!(fields[&54], "1002156C000000089300");
}

#[tokio::test]
async fn what_cannot_be_read_or_known_is_refused() {
    let issuer = start(config(vec![])).await;
    let mut switch = Switch::connect(&issuer).await;
    let mut without_card = sale(1, 100);
    without_card.remove(&2);
    let mut letter = sale(2, 100);
    letter.insert(4, "00000000010A".to_owned());
    let mut odd = sale(3, 100);
    odd.insert(3, "990000".to_owned());
    let rows = [
        ("0200", without_card, "30"),
        ("0200", letter, "30"),
        ("0200", odd, "12"),
        ("0500", sale(4, 1), "12"),
    ];
    for (mti, request, code) in rows {
        let (_, fields) = switch.ask(mti, &request).await;
        assert_eq!(fields[&39], code, "{mti} {request:?}");
        assert_eq!(fields[&11], request[&11]);
    }
    assert_eq!(balance(&issuer.books), 100_000);
}

#[tokio::test]
async fn pins_are_read_under_the_zpk() {
    let keys = ZoneKeys { zpk: Some(ZPK.to_owned()), ..ZoneKeys::default() };
    let issuer = start(IssuerConfig { keys, ..config(vec![]) }).await;
    let mut switch = Switch::connect(&issuer).await;
    let zpk = DesKey::new(&hex::decode(ZPK).unwrap()).unwrap();
    // Clear ISO 9564-1 format 0 blocks for PINs 123456 (the golden vector), 123457 and one of another card.
    let rows = [("06126CD6FEDCBA98", "00"), ("06126CD7FEDCBA98", "55"), ("0612BCD6FEDCBA98", "63")];
    for (stan, (clear, code)) in (1..).zip(rows) {
        let block: [u8; 8] = hex::decode(clear).unwrap().try_into().unwrap();
        let mut request = sale(stan, 100);
        request.insert(52, hex::encode_upper(zpk.encrypt(block)));
        assert_eq!(switch.code("0200", &request).await, code, "{clear}");
    }
}

#[tokio::test]
async fn macs_are_asked_for_and_given_under_the_zak() {
    let keys = ZoneKeys { zak: Some(ZAK.to_owned()), ..ZoneKeys::default() };
    let issuer = start(IssuerConfig { keys, ..config(vec![]) }).await;
    let mut switch = Switch::connect(&issuer).await;
    let zak = DesKey::new(&hex::decode(ZAK).unwrap()).unwrap();
    let maced = |mti: &str, mut fields: Fields, de: u8| {
        fields.insert(de, "0".repeat(16));
        let body = write(mti, &fields);
        let mac = mac::mac(MacAlgorithm::X919, &zak, &body.as_bytes()[..body.len() - 16]).unwrap();
        fields.insert(de, hex::encode_upper(mac));
        fields
    };
    let check = |body: &str| {
        let (data, sent) = body.split_at(body.len() - 16);
        let mac = mac::mac(MacAlgorithm::X919, &zak, data.as_bytes()).unwrap();
        assert_eq!(sent, hex::encode_upper(mac));
    };
    let mut altered = maced("0200", sale(2, 100), 64);
    altered.insert(4, "000000000101".to_owned());
    let network = fields(&[(7, "1123070500"), (11, "000009"), (70, "301")]);
    let rows = [
        ("0200", maced("0200", sale(1, 100), 64), "00"),
        ("0200", altered, "63"),
        ("0200", sale(3, 100), "63"),
        ("0420", maced("0420", reversal(4, 1, 100), 128), "00"),
        ("0800", maced("0800", network.clone(), 128), "00"),
    ];
    for (mti, request, code) in rows {
        switch.send(mti, &request).await;
        let body = switch.frame().await.unwrap();
        check(&body);
        assert_eq!(read(&body).1[&39], code, "{request:?}");
    }
    let (_, answer) = switch.ask("0800", &network).await;
    assert_eq!((answer[&39].as_str(), answer.get(&128)), ("00", None));
    assert_eq!(balance(&issuer.books), 100_000);
}

#[tokio::test]
async fn a_rule_holds_as_often_as_it_says() {
    let rules = vec![
        Rule::silent(When::amount(100).and_mti("0200")).times(1),
        Rule { posts: false, ..Rule::silent(When::default().and_mti("042")) }.times(1),
        Rule::code(When::amount(505), "05"),
    ];
    let issuer = start(config(rules)).await;
    let mut switch = Switch::connect(&issuer).await;
    let echo = fields(&[(7, "1123070500"), (11, "000099"), (70, "301")]);

    switch.send("0200", &sale(1, 100)).await;
    assert_eq!(switch.ask("0800", &echo).await.0, "0810", "nothing came before the echo's answer");
    assert_eq!(balance(&issuer.books), 99_900, "silent, yet posted");
    switch.send("0420", &reversal(2, 1, 100)).await;
    assert_eq!(switch.ask("0800", &echo).await.0, "0810");
    assert_eq!(balance(&issuer.books), 99_900, "the reversal was lost");
    assert_eq!(switch.code("0421", &reversal(2, 1, 100)).await, "00");
    assert_eq!(switch.code("0421", &reversal(2, 1, 100)).await, "00");
    assert_eq!(balance(&issuer.books), 100_000, "undone once");
    assert_eq!(switch.code("0200", &sale(3, 100)).await, "00", "no longer silent");
    assert_eq!(switch.code("0200", &sale(4, 505)).await, "05");

    issuer.put_rule_first(Rule::code(When::amount(505), "61").times(1));
    assert_eq!(switch.code("0200", &sale(5, 505)).await, "61");
    assert_eq!(switch.code("0200", &sale(6, 505)).await, "05");
}

#[tokio::test]
async fn answers_go_astray_as_told() {
    let rule =
        |amount, delivery, posts| Rule { delivery, posts, when: When::amount(amount), ..Rule::default() };
    let issuer = start(config(vec![
        rule(1, Delivery::Twice, true),
        rule(2, Delivery::Malformed, true),
        rule(3, Delivery::Close, true),
        rule(4, Delivery::Close, false),
        Rule { answered_minor: Some(77), when: When::amount(5), ..Rule::default() },
        Rule { partial_minor: Some(2), when: When::amount(6), ..Rule::default() },
    ]))
    .await;
    let mut switch = Switch::connect(&issuer).await;

    switch.send("0200", &sale(1, 1)).await;
    let (first, second) = (switch.frame().await.unwrap(), switch.frame().await.unwrap());
    assert_eq!(first, second);
    assert_eq!(balance(&issuer.books), 99_999, "answered twice, posted once");

    switch.send("0200", &sale(2, 2)).await;
    let cut = switch.frame().await.unwrap();
    assert!(cut.ends_with("8983100581200011"), "DE 49 lacks its last two digits");
    assert_eq!(cut.len() + 2, first.len());
    assert_eq!(balance(&issuer.books), 99_997);

    switch.send("0200", &sale(3, 3)).await;
    assert_eq!(switch.frame().await, None);
    assert_eq!(balance(&issuer.books), 99_994, "closed after posting");

    let mut switch = Switch::connect(&issuer).await;
    switch.send("0200", &sale(4, 4)).await;
    assert_eq!(switch.frame().await, None);
    assert_eq!(balance(&issuer.books), 99_994, "closed before posting");

    let mut switch = Switch::connect(&issuer).await;
    let (_, fields) = switch.ask("0200", &sale(5, 5)).await;
    assert_eq!((fields[&39].as_str(), fields[&4].as_str()), ("00", "000000000077"));
    assert_eq!(balance(&issuer.books), 99_989);
    let (_, fields) = switch.ask("0200", &sale(6, 6)).await;
    assert_eq!((fields[&39].as_str(), fields[&4].as_str()), ("10", "000000000002"));
    assert_eq!(balance(&issuer.books), 99_987);
}

#[tokio::test]
async fn a_late_answer_and_a_late_posting_meet_their_reversal() {
    let when = |amount| When::amount(amount).and_mti("0200");
    let issuer = start(config(vec![
        Rule { late_ms: 200, when: when(1_000), ..Rule::default() },
        Rule { delay_ms: 200, when: when(2_000), ..Rule::default() },
        Rule { delay_ms: 100, late_ms: 100, when: when(3_000), ..Rule::default() },
    ]))
    .await;
    // Amount, answer to the reversal that overtakes, answer to the sale.
    for (stan, amount, reversed, late) in
        [(1, 1_000, "00", "00"), (2, 2_000, "25", "94"), (3, 3_000, "25", "94")]
    {
        let mut switch = Switch::connect(&issuer).await;
        switch.send("0200", &sale(stan, amount)).await;
        switch.send("0420", &reversal(stan + 10, stan, amount)).await;
        let answers = [switch.answer().await, switch.answer().await];
        let told = answers.each_ref().map(|(mti, fields)| (mti.as_str(), fields[&39].as_str()));
        assert_eq!(told, [("0430", reversed), ("0210", late)], "{amount}");
        assert_eq!(balance(&issuer.books), 100_000, "{amount}");
    }
}

#[tokio::test]
async fn broken_frames_close_their_own_connection_only() {
    let issuer = start(config(vec![])).await;
    let mut other = Switch::connect(&issuer).await;
    assert_eq!(other.code("0200", &sale(1, 100)).await, "00");
    let whole = write("0200", &sale(2, 100));
    let rows = [
        ("length of letters", "02X0".to_owned() + &whole),
        ("length beyond the limit", "9999".to_owned()),
        ("no message", "0012Hello issuer".to_owned()),
        ("MTI cut off", "000202".to_owned()),
    ];
    for (name, bytes) in rows {
        let mut broken = Switch::connect(&issuer).await;
        broken.0.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(broken.frame().await, None, "{name}");
        assert_eq!(other.code("0200", &sale(1, 100)).await, "00", "{name}");
    }
    // Cut at every octet, then closed: no answer, nothing posted.
    let framed = format!("{:04}{whole}", whole.len());
    for cut in 0..framed.len() {
        let mut broken = Switch::connect(&issuer).await;
        broken.0.write_all(&framed.as_bytes()[..cut]).await.unwrap();
        broken.0.shutdown().await.unwrap();
        assert_eq!(broken.frame().await, None, "cut at {cut}");
    }
    assert_eq!(balance(&issuer.books), 99_900);
    assert_eq!(other.code("0200", &sale(2, 100)).await, "00");
}

#[tokio::test]
async fn frames_come_in_any_pieces() {
    let issuer = start(config(vec![])).await;
    let mut switch = Switch::connect(&issuer).await;
    switch.0.set_nodelay(true).unwrap();
    let mut burst = String::from("0000");
    for stan in 1..=50 {
        let body = write("0200", &sale(stan, 10));
        burst.push_str(&format!("{:04}{body}", body.len()));
    }
    let (start, rest) = burst.as_bytes().split_at(200);
    for byte in start {
        switch.0.write_all(&[*byte]).await.unwrap();
    }
    switch.0.write_all(rest).await.unwrap();
    assert_eq!(switch.frame().await.as_deref(), Some(""), "a keep-alive comes back");
    for stan in 1..=50 {
        assert_eq!(switch.answer().await.1[&11], format!("{stan:06}"));
    }
    assert_eq!(balance(&issuer.books), 99_500);
}

#[tokio::test]
async fn an_issuer_stops_and_resumes_from_its_books() {
    let issuer = start(config(vec![])).await;
    let mut switch = Switch::connect(&issuer).await;
    let (_, first) = switch.ask("0200", &sale(1, 100)).await;
    let (addr, books) = (issuer.addr, Arc::clone(&issuer.books));
    issuer.stop().await;
    assert_eq!(switch.frame().await, None);
    assert!(TcpStream::connect(addr).await.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = IssuerServer::resume(config(vec![]), Arc::clone(&books), listener, None).unwrap();
    let mut switch = Switch::connect(&issuer).await;
    assert_eq!(switch.ask("0201", &sale(1, 100)).await.1, first);
    assert_eq!(balance(&books), 99_900);
}

#[tokio::test]
async fn a_peer_that_does_not_read_does_not_keep_it_from_stopping() {
    let issuer = start(config(vec![])).await;
    let mut deaf = Switch::connect(&issuer).await;
    let keep_alives = "0000".repeat(100_000);
    // The issuer is stuck in a write once it has taken nothing for a while.
    let patience = std::time::Duration::from_secs(1);
    while tokio::time::timeout(patience, deaf.0.write_all(keep_alives.as_bytes())).await.is_ok() {}
    tokio::time::timeout(std::time::Duration::from_secs(10), issuer.stop()).await.unwrap();
}

#[tokio::test]
async fn the_instant_issuer_approves_everything_alike() {
    let issuer = start(IssuerConfig::instant()).await;
    let mut switch = Switch::connect(&issuer).await;
    for _ in 0..2 {
        let (mti, fields) = switch.ask("0200", &sale(7, 999_999_999_999)).await;
        assert_eq!((mti.as_str(), fields[&39].as_str(), fields[&38].as_str()), ("0210", "00", "000007"));
        assert_eq!(fields[&37], "000000000007");
    }
    let sign_on = fields(&[(7, "1123070500"), (11, "000001"), (70, "001")]);
    assert_eq!(switch.code("0800", &sign_on).await, "00");
}

#[tokio::test]
async fn the_record_holds_what_went_over_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = ZoneKeys { zpk: Some(ZPK.to_owned()), ..ZoneKeys::default() };
    let twice = Rule { delivery: Delivery::Twice, ..Rule::default() };
    let config = IssuerConfig { keys, ..config(vec![twice]) };
    let issuer = IssuerServer::start(config, listener, Some(recorder)).unwrap();
    let mut switch = Switch::connect(&issuer).await;
    switch.send("0200", &sale(1, 100)).await;
    let answer = switch.frame().await.unwrap();
    issuer.stop().await;
    drop(switch);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["link"].as_str(), line["from"].as_str())).collect();
    let link = Some("issuer:BANKA");
    assert_eq!(told, [(link, None), (link, Some("switch")), (link, Some("issuer")), (link, Some("issuer"))]);
    assert_eq!(lines[0]["zpk"], ZPK);
    assert_eq!(lines[1]["hex"], hex::encode_upper(write("0200", &sale(1, 100))));
    assert_eq!(lines[3]["hex"], hex::encode_upper(answer));
    assert_eq!(lines[1]["dialect"], "iso87-ascii");
}
