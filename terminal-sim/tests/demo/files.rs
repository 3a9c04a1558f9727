//! What settlement leaves of the demonstration's day, before outside judges: cardutil, a CSV reader, beancount.

use super::day::{DAY, copy, judge, python, verdict, walk};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// As the demo's configuration has it, and the merchant's seed file.
const IPM: [&str; 4] = ["--encoding", "cp500", "--container", "blocked"];
const BASIS_POINTS: &str = "60";

/// Records and sum of every settlement file, by name, as the switch lists them.
fn listed() -> BTreeMap<String, (i64, i64)> {
    let files: Vec<Value> = serde_json::from_slice(&DAY.verb(&["settle", "files", "--json"]).stdout).unwrap();
    let figures = |file: &Value| (file["records"].as_i64().unwrap(), file["sum_minor"].as_i64().unwrap());
    files.iter().map(|file| (file["name"].as_str().unwrap().to_owned(), figures(file))).collect()
}

fn ipm_judge(file: &Path) -> (bool, String) {
    verdict(&judge("ipm_judge.py").arg(file).args(IPM).arg("--amounts").output().unwrap())
}

/// DE 4 in EBCDIC.
fn ebcdic(minor: i64) -> Vec<u8> {
    format!("{minor:012}").bytes().map(|digit| 0xF0 | (digit & 0x0F)).collect()
}

#[test]
fn cardutil_accepts_the_clearing_files_and_refuses_a_flipped_digit() {
    let listed = listed();
    let files: Vec<_> = walk(&DAY.dir.join("settlement"))
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "ipm"))
        .collect();
    assert_eq!(files.len(), 2, "one file for each issuer and currency");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (taken, said) = ipm_judge(&path);
        assert!(taken, "{name}: {said}");
        let (records, sum) = listed[name];
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(format!("OK messages={records} sum={sum}").as_str()), "{name}");
        let amounts: Vec<i64> = lines.map(|line| line.parse().unwrap()).collect();
        assert_eq!(
            i64::try_from(amounts.len()).unwrap(),
            records - 2,
            "{name}: header, presentments, trailer"
        );

        let mut bytes = fs::read(&path).unwrap();
        let first = ebcdic(amounts[0]);
        let place = bytes.windows(12).position(|window| window == first).unwrap();
        bytes[place + 11] ^= 1;
        let folder = tempfile::tempdir().unwrap();
        let altered = folder.path().join(name);
        fs::write(&altered, bytes).unwrap();
        let (taken, said) = ipm_judge(&altered);
        assert!(!taken && said.contains("PDS0301"), "{name}: {said}");
        let verify = |path: &Path| DAY.verb(&["settle", "verify", path.to_str().unwrap()]).status.code();
        assert_eq!((verify(&path), verify(&altered)), (Some(0), Some(3)), "{name}");
    }
}

fn csv_judge(folder: &Path) -> (bool, String) {
    verdict(&judge("csv_judge.py").arg(folder).args(["--basis-points", BASIS_POINTS]).output().unwrap())
}

/// Replaces the first occurrence in the first file whose name starts so.
fn alter(folder: &Path, prefix: &str, from: &str, to: &str) {
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    let path = walk(folder).into_iter().find(|path| named(path)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{prefix}: no {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn every_csv_says_what_its_rows_say() {
    let settled = DAY.dir.join("settlement");
    let (taken, said) = csv_judge(&settled);
    assert!(taken, "{said}");
    assert!(said.starts_with("OK files=4 "), "{said}");
    let rows = [
        ("an amount", "clearing-BANKA", ",11500,156,", ",11501,156,"),
        ("a side", "clearing-BANKB", ",debit,", ",credit,"),
        ("the trailer's count", "clearing-BANKA", "trailer,4,", "trailer,5,"),
        ("a fee", "statement", ",11500,69,11431,", ",11500,68,11432,"),
        ("a total", "statement", "total,refunds,,,,,22000", "total,refunds,,,,,22001"),
        (
            "an account",
            "day",
            "account,Recv.Issuer:BANKA,,,156,,25800,",
            "account,Recv.Issuer:BANKA,,,156,,25801,",
        ),
        ("a file's kind", "day", ",clearing-csv,", ",clearing-CSV,"),
    ];
    for (name, prefix, from, to) in rows {
        let folder = tempfile::tempdir().unwrap();
        copy(&settled, folder.path());
        alter(folder.path(), prefix, from, to);
        let (taken, said) = csv_judge(folder.path());
        assert!(!taken, "{name}: {said}");
    }
}

fn bean_check(journal: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.beancount");
    fs::write(&file, journal).unwrap();
    let checked = Command::new(python().with_file_name("bean-check")).arg(&file).output().unwrap();
    (checked.status.success(), String::from_utf8_lossy(&checked.stderr).into_owned())
}

#[test]
fn beancount_accepts_the_journal_and_refuses_one_altered_amount() {
    let exported = DAY.verb(&["ledger", "export", "--beancount"]);
    assert!(exported.status.success());
    let journal = String::from_utf8(exported.stdout).unwrap();
    let (taken, said) = bean_check(&journal);
    assert!(taken, "{said}\n{journal}");
    assert!(journal.matches("115.00 CNY").count() > 0, "{journal}");
    for (from, to) in
        [(" 115.00 CNY", " 115.01 CNY"), (" -115.00 CNY", " -115.01 CNY"), (" 0.69 CNY", " 0.68 CNY")]
    {
        assert!(journal.contains(from), "no{from}: {journal}");
        assert!(!bean_check(&journal.replacen(from, to, 1)).0, "{from}");
    }
}
