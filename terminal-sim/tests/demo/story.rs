//! What the demonstration tells, and how it answers for it: JSON, exit codes, altered books.

use super::day::{DAY, Day, missed, net, record_copy};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_step_is_told_as_json_and_goes_as_it_should() {
    assert_eq!(DAY.code, Some(0), "{}{}", DAY.stdout, DAY.stderr);
    let report = DAY.report();
    assert_eq!(report["agreed"], true);
    assert_eq!(report["dir"], json!(DAY.dir));
    assert_eq!(missed(&report), Vec::<&str>::new());
    let steps = report["steps"].as_array().unwrap();
    let columns: BTreeSet<&str> =
        ["chapter", "terminal", "what", "amount_minor", "code", "expected", "rrn", "as_expected"].into();
    for step in steps {
        assert_eq!(step.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), columns);
    }
    let of = |column: &str| -> BTreeSet<&str> { steps.iter().map(|s| s[column].as_str().unwrap()).collect() };
    assert_eq!(of("chapter").len(), 8, "{:?}", of("chapter"));
    let terminals = ["10000001", "10000002", "10000003", "20000001", "20000002", "30000001"];
    assert!(terminals.iter().all(|tid| of("terminal").contains(tid)), "{:?}", of("terminal"));
    // Approved, declined by switch and issuer, silent, lost, duplicate, MAC: each dialect's own words.
    for code in ["00", "12", "15", "51", "55", "64", "68", "94", "98", "A0", "none"] {
        assert!(of("code").contains(code), "{code}");
    }
    let nets: Vec<&Value> =
        ["terminals", "switch", "issuers", "clearing files"].map(|book| net(&report, book)).into();
    assert!(
        nets.iter()
            .all(|net| *net == nets[0] && net["BANKA"].as_i64() > Some(0) && net["BANKB"].as_i64() > Some(0))
    );
}

#[test]
fn the_switch_has_every_kind_of_transaction_in_its_books() {
    let listed = DAY.verb(&["txn", "list", "--latest", "1000", "--json"]);
    let rows: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let have: BTreeSet<(&str, &str)> =
        rows.iter().map(|row| (row["dialect"].as_str().unwrap(), row["kind"].as_str().unwrap())).collect();
    let kinds = [
        (
            "unionpay-pos",
            "balance sale void refund pre-auth pre-auth-cancel completion completion-advice completion-void offline-sale reversal",
        ),
        ("edc", "balance sale void refund offline-sale"),
        ("iso87-ascii", "pre-auth sale refund void reversal"),
    ];
    for (dialect, kinds) in kinds {
        for kind in kinds.split(' ') {
            assert!(have.contains(&(dialect, kind)), "{dialect} {kind}: {have:?}");
        }
    }
    let states: BTreeSet<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    for state in ["approved", "declined", "voided", "reversed", "timed-out", "completed", "cancelled"] {
        assert!(states.contains(state), "{state}: {states:?}");
    }
}

#[test]
fn the_record_holds_both_sides_and_is_copied_whole() {
    let record = fs::read_to_string(DAY.dir.join("record.jsonl")).unwrap();
    assert_eq!(DAY.code, Some(0));
    assert_eq!(fs::read_to_string(record_copy()).unwrap(), record);
    let lines: Vec<Value> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let senders: BTreeSet<&str> = lines.iter().filter_map(|line| line["from"].as_str()).collect();
    assert_eq!(senders, ["issuer", "switch", "terminal"].into());
    let links: BTreeSet<&str> = lines.iter().filter_map(|line| line["link"].as_str()).collect();
    assert!(["issuer:BANKA", "issuer:BANKB", "terminal:10000001"].iter().all(|link| links.contains(link)));
}

/// One amount in a book is altered before the book is added up: the demo ends with 1 and says what differs.
#[test]
fn one_altered_amount_in_any_book_ends_the_demo_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let apart = ["all four come to the same", "every payment stands in all four with the same amount"];
    let rows = [
        ("terminals", "terminals", Some(1), vec!["each terminal's totals are those of its items"]),
        ("switch", "switch", Some(1), vec![]),
        ("issuers", "issuers", Some(-1), vec!["each account has moved by what its issuer's journal says"]),
        // What a file holds that breaks its own rules does not stand.
        ("files", "clearing files", None, vec!["each clearing file adds up to its trailer"]),
    ];
    let started = rows
        .each_ref()
        .map(|(book, ..)| Day::start(&folder.path().join(book), &["--json", "--tamper", book]));
    let sound = DAY.report();
    for ((book, name, moved, mut expected), started) in rows.into_iter().zip(started) {
        let day = started.ended();
        assert_eq!(day.code, Some(1), "{book}: {}{}", day.stdout, day.stderr);
        let report = day.report();
        assert_eq!(report["agreed"], false, "{book}");
        expected.extend(apart);
        assert_eq!(missed(&report), expected, "{book}");
        for other in
            ["terminals", "switch", "issuers", "clearing files"].iter().filter(|other| **other != name)
        {
            assert_eq!(net(&report, other), net(&sound, other), "{book} {other}");
        }
        let minor = |report| {
            net(report, name)["BANKA"].as_i64().unwrap_or(0) + net(report, name)["BANKB"].as_i64().unwrap()
        };
        if let Some(moved) = moved {
            assert_eq!(minor(&report) - minor(&sound), moved, "{book}");
        }
    }
}
