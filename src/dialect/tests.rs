//! Frames to requests and replies to frames, as tables.

use super::*;
use crate::transaction::{Day, KeyForm, ProcessingRequest, ReplyBody};

/// UnionPay POS, published layout with this project's own test terminal, keys and card.
const SIGN_ON: &str = "600003000060310031100008000020000000C0001200000130303030303130313839383331303035383132303030\
                       3100110000000100300003303120";
const SALE: &str = "60000300006031003110000200302004C020C098110000000000000100000000070210001234622588001234567\
                    5AA5A7881CAF9ED9A003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B92610\
                    0000000000000014220000010005004441443644393837";

fn body(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn home() -> (Mid, Currency) {
    (Mid::new("898310058120001").unwrap(), Currency::CNY)
}

fn read(dialect: &Dialect, body: &[u8]) -> Result<Request, Unread> {
    let view = View::decode(dialect.spec().unwrap(), body).unwrap();
    dialect.read(&view, home())
}

#[test]
fn dates_and_times_are_those_that_exist() {
    let dates = [("0101", true), ("1231", true), ("0229", true), ("0230", false), ("0431", false)];
    let more = [("0000", false), ("0100", false), ("1301", false), ("01", false), ("", false)];
    for (text, exists) in dates.into_iter().chain(more) {
        assert_eq!(is_month_and_day(text), exists, "{text}");
    }
    let rows = [("000000", true), ("235959", true), ("240000", false), ("006000", false), ("000060", false)];
    for (text, exists) in rows.into_iter().chain([("0000", false)]) {
        assert_eq!(is_time_of_day(text), exists, "{text}");
    }
}

#[test]
fn every_dialect_answers_every_refusal() {
    for id in TerminalDialect::ALL {
        let dialect = Dialect::of(id);
        for refusal in Refusal::ALL {
            let rows = dialect.codes.iter().filter(|(r, _)| *r == refusal).count();
            assert_eq!(rows, 1, "{} {}", id.name(), refusal.name());
        }
    }
}

#[test]
fn the_golden_sale_is_read() {
    let Ok(Request::Payment(sale)) = read(&UNIONPAY_POS, &body(SALE)) else { panic!("not a payment") };
    assert_eq!((sale.kind, sale.stan.number(), sale.batch), (Kind::Sale, 7, BatchNo::new(1)));
    assert_eq!(sale.amount.map(Amount::minor), Some(10_000));
    assert_eq!((sale.tid.trimmed(), sale.entry_mode.as_str()), ("00000101", "021"));
    let track = sale.card.track2.as_ref().map(|t| t.as_str());
    assert_eq!(track, Some("6225880012345675AA5A7881CAF9ED9A00"));
    assert!(sale.card.track_encrypted && sale.card.pan.is_none());
    let pin = sale.pin.unwrap();
    assert_eq!((hex::encode_upper(pin.block), pin.with_pan), ("605CAB8CE0D1A2B9".to_owned(), true));
    assert_eq!(
        UNIONPAY_POS.mac_rule(&View::decode(UNIONPAY_POS.spec().unwrap(), &body(SALE)).unwrap()),
        MacRule::Required
    );
}

/// What stands in a request after one field of the golden sale was changed.
#[test]
fn a_changed_field_changes_the_request_or_is_named() {
    let told = |request: Result<Request, Unread>| match request {
        Ok(Request::Payment(payment)) => payment.kind.name().to_owned(),
        Ok(other) => format!("{other:?}").chars().take_while(|c| c.is_alphabetic()).collect(),
        Err(unread) => format!("{} {}", unread.refusal.name(), unread.field),
    };
    let message = iso8583_spec::Message::decode(UNIONPAY_POS.spec().unwrap(), &body(SALE)).unwrap();
    type Changes = &'static [(u8, Option<&'static str>)];
    let rows: &[(Changes, &str)] = &[
        (&[], "sale"),
        (&[(4, Some("000000000000"))], "invalid-amount 4"),
        (&[(4, None)], "format 4"),
        (&[(22, None)], "format 22"),
        (&[(52, None)], "format 52"),
        (&[(11, None)], "format 11"),
        (&[(49, Some("123"))], "format 49"),
        (&[(3, Some("310000")), (60, Some("01000001000500"))], "balance"),
        (&[(3, Some("200000")), (60, Some("23000001000500"))], "format 61"),
        (&[(3, Some("200000")), (60, Some("23000001000500")), (61, Some("000001000006"))], "void"),
        (&[(3, Some("990000"))], "not-supported 3"),
        (&[(60, Some("22"))], "format 60"),
    ];
    for (changes, want) in rows {
        let mut changed = message.clone();
        for (de, value) in *changes {
            match value {
                Some(text) => changed.set(*de, *text),
                None => changed.remove(*de),
            }
        }
        let bytes = changed.encode(UNIONPAY_POS.spec().unwrap()).unwrap();
        assert_eq!(told(read(&UNIONPAY_POS, &bytes)), *want, "{changes:?}");
    }
}

fn reply(decision: Decision) -> Reply {
    Reply {
        decision,
        local_time: "1121093015".to_owned(),
        rrn: Rrn::new("093015000095").ok(),
        auth_code: None,
        day: Some(Day(20_261_121)),
        approved_amount: None,
        pan: None,
        additional_amounts: None,
        icc: None,
        request: ProcessingRequest::None,
        body: ReplyBody::Plain,
    }
}

fn fields(dialect: &Dialect, request: &[u8], reply: &Reply) -> (String, Vec<u8>) {
    let spec = dialect.spec().unwrap();
    let view = View::decode(spec, request).unwrap();
    let bytes = dialect.reply(&view, reply, "00012345").unwrap().finish().unwrap();
    let answer = View::decode(spec, &bytes).unwrap();
    assert!(answer.is_sound());
    let list: Vec<String> = answer.fields().map(|de| de.to_string()).collect();
    (format!("{} {}", answer.mti().as_str(), list.join(" ")), bytes)
}

/// The reply to the golden sign-on, up to its keys, is the golden reply byte for byte.
#[test]
fn the_golden_sign_on_is_answered() {
    let approved = Decision::Approved(ResponseCode::new("00").unwrap());
    let keys =
        hex::decode("521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA")
            .unwrap();
    let Ok(Request::Network(network)) = read(&UNIONPAY_POS, &body(SIGN_ON)) else { panic!("not a sign-on") };
    assert_eq!(network.verb, NetworkVerb::SignOn(KeyForm::Double));
    let batch = BatchNo::FIRST;
    let signed_on = Reply { body: ReplyBody::SignOn { batch, keys: Some(keys) }, ..reply(approved) };
    let (_, bytes) = fields(&UNIONPAY_POS, &body(SIGN_ON), &signed_on);
    let golden = "60000000036031003110000810003800010AC000140000010930151121080001234530393330313530303030393530\
                  303030303030313031383938333130303538313230303031001100000001003000405210\
                  50D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
    assert_eq!(hex::encode_upper(bytes), golden.replace(' ', ""));
}

/// DE 22, 26, 35, 36 and 52 are never returned, DE 53 with its track flag as 0.
#[test]
fn the_golden_sale_is_answered_with_the_fields_of_its_class() {
    let approved = Decision::Approved(ResponseCode::new("00").unwrap());
    let sold = Reply { auth_code: AuthCode::new("A1B2C3").ok(), ..reply(approved) };
    let (list, bytes) = fields(&UNIONPAY_POS, &body(SALE), &sold);
    assert_eq!(list, "0210 3 4 11 12 13 15 25 32 37 38 39 41 42 49 53 60");
    let answer = View::decode(UNIONPAY_POS.spec().unwrap(), &bytes).unwrap();
    assert_eq!(answer.text(53).as_deref(), Some("2600000000000000"));
    assert_eq!(hex::encode(answer.tpdu().unwrap()), "6000000003");
}

#[test]
fn a_refused_terminal_may_be_asked_to_sign_on_in_the_header() {
    for (request, digit) in [(ProcessingRequest::None, "0"), (ProcessingRequest::SignOn, "3")] {
        let refused = Reply { request, ..reply(Decision::Refused(Refusal::BadMac)) };
        let (_, bytes) = fields(&UNIONPAY_POS, &body(SALE), &refused);
        let answer = View::decode(UNIONPAY_POS.spec().unwrap(), &bytes).unwrap();
        assert_eq!(answer.text(39).as_deref(), Some("A0"));
        assert_eq!(hex::encode(answer.header().unwrap()).get(5..6), Some(digit));
        let view_bytes = body(SALE);
        let view = View::decode(UNIONPAY_POS.spec().unwrap(), &view_bytes).unwrap();
        assert!(!UNIONPAY_POS.reply_is_maced(&view, &refused));
    }
}
