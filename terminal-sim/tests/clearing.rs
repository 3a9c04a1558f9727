//! Outside judges of what settlement writes: cardutil reads the clearing files, beancount the journal.
//! They share no code with the switch. A judge that cannot be installed fails these tests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: the lint's exemption covers test functions only"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use tollgate::ledger::{self, Posting, Presented};
use tollgate::settlement::ipm::{
    self, Blocking, Encoding, FileId, Format, Presentment, TestMark, acquirer_reference, write,
};
use tollgate::transaction::{Amount, AuthCode, Currency, Day, IssuerId, Mid, Pan, Rrn, Side, Tid, TxnId};

const DAY: Day = Day(20_261_123);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Python that holds the judges.
fn python() -> PathBuf {
    let made = Command::new(workspace().join(".ci/python")).output().unwrap();
    assert!(made.status.success(), "no judges: {}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// What the judge says of a clearing file, and whether it takes it.
fn judge(bytes: &[u8], format: Format) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clearing.ipm");
    std::fs::write(&file, bytes).unwrap();
    let judged = Command::new(python())
        .arg(workspace().join("terminal-sim/tests/judges/ipm_judge.py"))
        .arg(&file)
        .args(["--encoding", format.encoding.name(), "--container", format.blocking.name(), "--amounts"])
        .output()
        .unwrap();
    let said = String::from_utf8(judged.stdout).unwrap();
    assert!(!said.is_empty(), "the judge broke: {}", String::from_utf8_lossy(&judged.stderr));
    (judged.status.success(), said)
}

fn formats() -> impl Iterator<Item = Format> {
    let encodings = [Encoding::Cp500, Encoding::Latin1].into_iter();
    encodings.flat_map(|encoding| Blocking::ALL.map(|blocking| Format { encoding, blocking }))
}

fn presentment(number: u64) -> Presentment {
    let refund = number.is_multiple_of(5);
    Presentment {
        pan: Pan::parse(if number.is_multiple_of(2) { "6225880012345675" } else { "4000000000000002" })
            .unwrap(),
        side: if refund { Side::Credit } else { Side::Debit },
        account_types: "0000".into(),
        amount: Amount::new(i64::try_from(number * 37 % 100_000 + 1).unwrap(), Currency::CNY).unwrap(),
        local_time: "261123120000".into(),
        expiry: number.is_multiple_of(3).then(|| "3012".into()),
        entry_mode: ["011", "021", "051", "071"][usize::try_from(number % 4).unwrap()].into(),
        mcc: "5411".into(),
        reference: acquirer_reference(3_056_000, DAY, 100_000_000 + number),
        institution: "3056000".into(),
        rrn: Rrn::from_number(number),
        auth_code: number.is_multiple_of(3).then(|| AuthCode::from_number(number)),
        tid: Tid::new("T0000001").unwrap(),
        mid: Mid::new("M00000000000001").unwrap(),
        name: "TEA HOUSE [1] ^|!".into(),
        city: "SHANGHAI".into(),
        country: "CHN",
        takes_back: number.is_multiple_of(7).then_some(Day(20_261_122)),
    }
}

fn file(presentments: &[Presentment], format: Format) -> ipm::Clearing {
    let id = FileId { day: DAY, processor: 3_056_000, sequence: 1 };
    write(id, TestMark::Test, presentments, format).unwrap()
}

#[test]
fn cardutil_accepts_five_thousand_transactions_in_every_format() {
    let presentments: Vec<Presentment> = (1..=5_000).map(presentment).collect();
    for format in formats() {
        let written = file(&presentments, format);
        let (taken, said) = judge(&written.bytes, format);
        let mut lines = said.lines();
        assert!(taken, "{format:?}: {:?}", lines.next());
        let verdict = format!("OK messages={} sum={}", written.messages, written.sum_minor);
        assert_eq!(lines.next(), Some(verdict.as_str()), "{format:?}");
        let amounts: Vec<i64> = lines.map(|line| line.parse().unwrap()).collect();
        let ours: Vec<i64> = presentments.iter().map(|p| p.amount.minor()).collect();
        assert_eq!(amounts, ours, "{format:?}");
    }
}

/// A file whose VBS stream has exactly so many octets.
fn file_of_stream(size: usize, format: Format) -> Vec<u8> {
    let vbs = Format { blocking: Blocking::Vbs, ..format };
    let slack = 25 - 1 + 13 - 1 + 19 - 12;
    for (count, rich) in (1..10_usize).flat_map(|count| (0..=count).map(move |rich| (count, rich))) {
        let mut items: Vec<Presentment> = (1..=count)
            .map(|number| Presentment {
                pan: Pan::parse("400000000002").unwrap(),
                name: "N".into(),
                city: "C".into(),
                expiry: (number <= rich).then(|| "3012".into()),
                takes_back: (number <= rich).then_some(DAY),
                ..presentment(1)
            })
            .collect();
        let Some(mut missing) = size.checked_sub(file(&items, vbs).bytes.len()) else { continue };
        if missing > slack * count {
            continue;
        }
        for item in &mut items {
            let mut take = |most: usize| {
                let taken = missing.min(most);
                missing -= taken;
                taken
            };
            item.name = "N".repeat(1 + take(24));
            item.city = "C".repeat(1 + take(12));
            item.pan = Pan::parse(&"4".repeat(12 + take(7))).unwrap();
        }
        assert_eq!(file(&items, vbs).bytes.len(), size);
        return file(&items, format).bytes;
    }
    panic!("no file has a stream of {size}");
}

#[test]
fn cardutil_accepts_streams_that_end_at_the_edge_of_a_block() {
    for (size, blocked) in [(1011, 1014), (1012, 1014), (1013, 2028), (2024, 2028)] {
        for format in formats() {
            let bytes = file_of_stream(size, format);
            let length = if format.blocking == Blocking::Blocked { blocked } else { size };
            assert_eq!(bytes.len(), length, "{size} {format:?}");
            let (taken, said) = judge(&bytes, format);
            assert!(taken, "{size} {format:?}: {said}");
            let verified = ipm::verify(&bytes).unwrap();
            assert_eq!((verified.encoding, verified.blocking), (format.encoding, format.blocking));
        }
    }
}

/// The judge is seen to refuse, and so is our own verification.
#[test]
fn cardutil_refuses_what_was_altered() {
    let format = Format { encoding: Encoding::Latin1, blocking: Blocking::Vbs };
    let whole = file(&(1..=9).map(presentment).collect::<Vec<_>>(), format).bytes;
    let find = |needle: &[u8], after: usize| {
        after + whole[after..].windows(needle.len()).position(|window| window == needle).unwrap()
    };
    let amount = find(format!("{:012}", presentment(1).amount.minor()).as_bytes(), 0);
    let trailer = find(b"0301016", 0);
    let rows = [
        ("a digit of DE 4", amount + 11, b'9', "PDS0301"),
        ("the trailer's sum", trailer + 22, b'0', "PDS0301"),
        ("the trailer's count", find(b"0306008", 0) + 14, b'0', "PDS0306"),
        ("a letter in DE 4", amount, b'x', "cardutil"),
        ("the header's function", find(b"697", 0), b'5', "record 1"),
    ];
    assert!(judge(&whole, format).0);
    for (name, place, octet, complaint) in rows {
        let mut altered = whole.clone();
        assert_ne!(altered[place], octet, "{name}");
        altered[place] = octet;
        let (taken, said) = judge(&altered, format);
        assert!(!taken && said.starts_with("FAIL ") && said.contains(complaint), "{name}: {said}");
        assert!(ipm::verify(&altered).is_err(), "{name}");
    }
    for wrong in
        [Format { encoding: Encoding::Cp500, ..format }, Format { blocking: Blocking::Blocked, ..format }]
    {
        assert!(!judge(&whole, wrong).0, "{wrong:?}");
    }
}

fn journal() -> Vec<Posting> {
    let record = |id: i64, side, minor, fee_minor, currency| Presented {
        id: TxnId(id),
        day: DAY,
        issuer: IssuerId::new("bank-1").unwrap(),
        mid: Mid::new("M 1").unwrap(),
        amount: Amount::new(minor, Currency::from_numeric(currency).unwrap()).unwrap(),
        side,
        fee_minor,
    };
    let records = [
        record(1, Side::Debit, 10_000, 150, 156),
        record(2, Side::Credit, 2_000, 0, 156),
        record(3, Side::Debit, 500, 8, 392),
        record(4, Side::Debit, 1_234, 19, 414),
    ];
    let mut journal: Vec<Posting> = records.iter().flat_map(ledger::present).collect();
    journal.extend(ledger::take_back(&journal, TxnId(1), Day(20_261_124)));
    journal
}

fn bean_check(text: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.beancount");
    std::fs::write(&file, text).unwrap();
    let checked = Command::new(python().with_file_name("bean-check")).arg(&file).output().unwrap();
    (checked.status.success(), String::from_utf8_lossy(&checked.stderr).into_owned())
}

#[test]
fn beancount_accepts_the_journal_and_refuses_one_minor_unit_more() {
    let text = ledger::beancount(&journal());
    let (taken, said) = bean_check(&text);
    assert!(taken, "{said}\n{text}");
    let rows = [
        ("a leg", "  100.00 CNY", "  100.01 CNY"),
        ("a leg in yen", "  500 JPY", "  501 JPY"),
        ("a leg with three places", "  1.234 KWD", "  1.235 KWD"),
        ("a balance", " balance Income:Inc-MDR  -0.019 ~ 0 KWD", " balance Income:Inc-MDR  -0.018 ~ 0 KWD"),
    ];
    for (name, from, to) in rows {
        assert!(text.contains(from), "{name}: {text}");
        assert!(!bean_check(&text.replacen(from, to, 1)).0, "{name}");
    }
}
