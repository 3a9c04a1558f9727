//! The wire judge: recomputes every MAC, PIN block, total and balance of the day from its record, and holds the
//! books against that. It is seen to refuse.

use super::day::{DAY, copy, judge, verdict, walk};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

#[test]
fn the_wire_judge_knows_its_vectors_and_finds_its_own_mutations() {
    let output = judge("wire_judge.py").arg("--self-test").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("OK self-test"), "{said}");
}

#[test]
fn the_wire_judge_accepts_the_day() {
    let (taken, said) = verdict(&judge("wire_judge.py").arg(&DAY.dir).output().unwrap());
    assert!(taken, "{said}");
    let count = |what: &str| -> u32 {
        let part = said.trim().trim_start_matches("OK ").split(" · ").find(|part| part.starts_with(what));
        part.and_then(|part| part.rsplit(' ').next()).unwrap().parse().unwrap()
    };
    let least = [
        ("frames", 200),
        ("MACs right", 120),
        ("PIN blocks", 40),
        ("payments", 40),
        ("settlements", 6),
        ("rows", 35),
    ];
    for (what, least) in least {
        assert!(count(what) >= least, "{what}: {said}");
    }
    assert_eq!(count("MACs refused"), 1, "{said}");
}

/// Lines of the record, one JSON object each.
fn record(folder: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let path = folder.join("record.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    change(&mut lines);
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// The first frame of this link and sender whose message type is this.
fn frame<'a>(lines: &'a mut [Value], link: &str, from: &str, mti: &str) -> &'a mut Value {
    let head = |line: &Value| match line["dialect"].as_str().unwrap() {
        "unionpay-pos" => 11,
        "edc" => 5,
        _ => 0,
    };
    let fits = |line: &Value| {
        let Some(octets) = line["hex"].as_str().map(|text| hex::decode(text).unwrap()) else { return false };
        let found = match line["dialect"].as_str() {
            Some("iso87-ascii") => String::from_utf8_lossy(octets.get(..4).unwrap_or_default()).into_owned(),
            _ => hex::encode(octets.get(head(line)..head(line) + 2).unwrap_or_default()),
        };
        line["link"] == link && line["from"] == from && found == mti
    };
    lines.iter_mut().find(|line| fits(line)).unwrap_or_else(|| panic!("no {mti} of {from} on {link}"))
}

/// Turns the lowest bit of an octet, counted from the end.
fn flip(line: &mut Value, from_end: usize) {
    let mut octets = hex::decode(line["hex"].as_str().unwrap()).unwrap();
    let place = octets.len() - from_end;
    octets[place] ^= 1;
    line["hex"] = hex::encode_upper(octets).into();
}

/// Adds one to a number in a book.
fn add(path: &Path, pick: impl FnOnce(&mut Value) -> &mut Value) {
    let mut book: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let number = pick(&mut book);
    *number = (number.as_i64().unwrap() + 1).into();
    fs::write(path, book.to_string()).unwrap();
}

/// Adds one to the amount of the first approved sale in the switch's book.
fn add_to_switch(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sale = lines.iter_mut().find(|row| row["kind"] == "sale" && row["state"] == "approved").unwrap();
    sale["amount_minor"] = (sale["amount_minor"].as_i64().unwrap() + 1).into();
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Raises the last digit of DE 4 (115.00) in a clearing file and of the trailer's sum, so that the file keeps
/// its own rules.
fn forge_clearing(folder: &Path) {
    let path = walk(&folder.join("settlement"))
        .into_iter()
        .find(|p| p.to_string_lossy().contains("ipm-BANKA"))
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for text in ["000000011500", "0301016000000000002580"] {
        let digits: Vec<u8> = text.bytes().map(|digit| 0xF0 | (digit & 0x0F)).collect();
        let place = bytes.windows(digits.len()).position(|window| window == digits).unwrap();
        let last = if text.len() == 12 { place + 11 } else { place + digits.len() };
        assert_eq!(bytes[last], 0xF0);
        bytes[last] = 0xF1;
    }
    fs::write(path, bytes).unwrap();
}

type Alteration = (&'static str, fn(&Path));

#[test]
fn the_wire_judge_refuses_what_was_altered() {
    let rows: [Alteration; 15] = [
        ("a MAC of a UnionPay sale", |f| {
            record(f, |l| flip(frame(l, "terminal:10000001", "terminal", "0200"), 1))
        }),
        ("an octet before the MAC", |f| {
            record(f, |l| flip(frame(l, "terminal:10000001", "terminal", "0200"), 9))
        }),
        ("a MAC of the switch to EDC", |f| {
            record(f, |l| flip(frame(l, "terminal:20000001", "switch", "0210"), 1))
        }),
        ("a MAC of an ASCII answer", |f| {
            record(f, |l| flip(frame(l, "terminal:30000001", "switch", "0210"), 1))
        }),
        ("a MAC on the issuer's link", |f| {
            record(f, |l| flip(frame(l, "issuer:BANKB", "issuer", "0210"), 1))
        }),
        ("DE 128 towards the issuer", |f| record(f, |l| flip(frame(l, "issuer:BANKB", "switch", "0200"), 1))),
        ("a check value at sign-on", |f| {
            record(f, |l| flip(frame(l, "terminal:10000001", "switch", "0810"), 1))
        }),
        ("an answer that is lost", |f| {
            record(f, |l| {
                *frame(l, "issuer:BANKA", "issuer", "0210") = serde_json::json!({"note": "gone", "us": 0})
            });
        }),
        ("an item of a terminal", |f| {
            add(&f.join("books/terminals.json"), |b| &mut b[0]["items"][0]["minor"])
        }),
        ("a terminal's total", |f| {
            add(&f.join("books/terminals.json"), |b| &mut b[3]["totals"]["debit"]["minor"])
        }),
        ("a row of the switch", |f| add_to_switch(&f.join("books/switch.jsonl"))),
        ("an issuer's entry", |f| {
            add(&f.join("books/issuer-BANKA.json"), |b| &mut b["journal"][1]["balance_minor"])
        }),
        ("an issuer's balance", |f| {
            add(&f.join("books/issuer-BANKA.json"), |b| &mut b["accounts"][0]["balance_minor"])
        }),
        ("an issuer's hold", |f| {
            add(&f.join("books/issuer-BANKB.json"), |b| &mut b["accounts"][0]["held_minor"])
        }),
        ("a presentment, and its trailer", forge_clearing),
    ];
    let home = tempfile::tempdir().unwrap();
    let judged: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(number, (name, change))| {
            let folder = home.path().join(number.to_string());
            copy(&DAY.dir, &folder);
            change(&folder);
            let mut judge = judge("wire_judge.py");
            (name, judge.arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        })
        .collect();
    for (name, judge) in judged {
        let (taken, said) = verdict(&judge.wait_with_output().unwrap());
        assert!(!taken, "{name}: {said}");
    }
}
