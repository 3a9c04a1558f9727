//! The same day on PostgreSQL: a server of the test's own.

use super::day::{DAY, Day, judge, missed, net, verdict, walk};
use super::secrets;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tollgate::store::test_cluster::Cluster;

/// Kind, party, currency → records, sum or debit, credit: what two runs of one story have in common.
fn figures(settlement: &Path) -> BTreeMap<String, String> {
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("day-");
    let path = walk(settlement).into_iter().find(|path| named(path)).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let name = if cells[0] == "file" { "" } else { cells[1] };
        ([cells[0], name, cells[2], cells[3], cells[4]].join(","), cells[5..8].join(","))
    };
    text.lines().filter(|line| line.starts_with("file,") || line.starts_with("account,")).map(row).collect()
}

#[test]
fn the_day_on_postgresql_is_the_day_on_sqlite() {
    let cluster = Cluster::start().unwrap();
    let url = cluster.database("demo").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let day = Day::start(&folder.path().join("day"), &["--json", "--store", &url]).ended();
    assert_eq!(day.code, Some(0), "{}{}", day.stdout, day.stderr);
    let (report, on_sqlite) = (day.report(), DAY.report());
    assert_eq!(missed(&report), Vec::<&str>::new());
    let steps = |report: &serde_json::Value| -> Vec<(String, String)> {
        let steps = report["steps"].as_array().unwrap().iter();
        steps.map(|step| (step["terminal"].to_string(), step["code"].to_string())).collect()
    };
    assert_eq!(steps(&report), steps(&on_sqlite));
    for book in ["terminals", "switch", "issuers", "clearing files"] {
        assert_eq!(net(&report, book), net(&on_sqlite, book), "{book}");
    }
    let figures_here = figures(&day.dir.join("settlement"));
    assert_eq!(figures_here, figures(&DAY.dir.join("settlement")));
    assert!(figures_here.len() >= 8, "{figures_here:?}");

    assert!(!day.dir.join("tollgate.db").exists(), "the switch has another store than it was given");
    let (taken, said) = verdict(&judge("wire_judge.py").arg(&day.dir).output().unwrap());
    assert!(taken, "{said}");
    // The whole database as text, binary columns as hexadecimal digits.
    let dump =
        cluster.run("demo", "SET xmlbinary TO hex; SELECT schema_to_xml('public', true, false, '')").unwrap();
    assert!(dump.contains("898310058120001"), "the dump is empty");
    let secrets = secrets::of(&day.dir);
    secrets::found_in("the PostgreSQL database", dump.as_bytes(), &secrets);
    secrets::found_in("the log", &fs::read(day.dir.join("tollgate.log")).unwrap(), &secrets);
}
