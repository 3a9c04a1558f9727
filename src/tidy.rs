//! The plan of the house, enforced: which room may import which, and where a socket, a clock or a
//! source of randomness may be touched. A test reads the source and holds it against these tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may import. `iso8583_spec` stands for the codec crate.
const ROOMS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("crash", &[]),
    ("metrics", &[]),
    ("tls", &[]),
    ("transaction", &[]),
    ("dialect", &["iso8583_spec", "transaction"]),
    ("hsm", &["transaction", "clock", "tls"]),
    ("route", &["transaction"]),
    ("lifecycle", &["transaction"]),
    ("batch", &["transaction", "lifecycle"]),
    ("ledger", &["transaction"]),
    ("link", &["iso8583_spec", "metrics", "clock", "crash", "tls"]),
    ("store", &["transaction", "lifecycle", "batch", "ledger", "metrics", "crash"]),
    (
        "flow",
        &[
            "iso8583_spec",
            "transaction",
            "dialect",
            "hsm",
            "route",
            "lifecycle",
            "batch",
            "link",
            "store",
            "metrics",
            "clock",
            "crash",
        ],
    ),
    (
        "settlement",
        &["iso8583_spec", "transaction", "lifecycle", "batch", "ledger", "hsm", "store", "clock", "crash"],
    ),
    ("console", &["metrics", "store", "settlement"]),
    (
        "config",
        &[
            "console",
            "flow",
            "hsm",
            "link",
            "settlement",
            "store",
            "transaction",
            "iso8583_spec",
            "clock",
            "tls",
        ],
    ),
];

/// Rooms that see everything.
const ABOVE: &[&str] = &["server", "cli", "main", "lib", "tidy"];

/// Words that may stand in these rooms only.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["clock"]),
    ("Timestamp::now", &["clock"]),
    ("TcpListener::bind", &["link", "console", "server", "hsm"]),
    ("TcpStream::connect", &["link"]),
    ("rand_bytes", &["hsm"]),
    ("std::env::var", &["cli"]),
];

/// The promises of the house, and the tests that bear their names: file and function.
const PROMISES: &[(&str, &str, &str)] = &[
    (
        "nothing leaves before it is durable",
        "terminal-sim/tests/crash/main.rs",
        "nothing_leaves_before_it_is_durable",
    ),
    ("the store is the arbiter", "src/store/conformance.rs", "the_store_is_the_arbiter_on_sqlite"),
    ("the store is the arbiter", "src/store/conformance.rs", "the_store_is_the_arbiter_on_postgres"),
    (
        "a cut-over is an event in the order of commits",
        "terminal-sim/tests/promises/main.rs",
        "a_cut_over_is_an_event_in_the_order_of_commits",
    ),
    ("files are reproducible", "src/settlement/eod.rs", "files_are_reproducible"),
    ("byte-exact", "iso8583-spec/tests/wire.rs", "messages_are_byte_exact"),
    ("secrets stay inside", "terminal-sim/tests/demo/secrets.rs", "secrets_stay_inside"),
    ("a limit on everything", "src/link/listener/tests.rs", "there_is_a_limit_on_connections"),
    ("a limit on everything", "src/link/listener/tests.rs", "there_is_a_limit_on_payments_under_way"),
    ("a limit on everything", "src/link/listener/tests.rs", "there_is_a_limit_on_answers_not_taken"),
    (
        "one issuer's trouble stays its own",
        "terminal-sim/tests/promises/main.rs",
        "one_issuers_trouble_stays_its_own",
    ),
    ("failures explain themselves", "src/config/mod.rs", "failures_explain_themselves"),
    (
        "money is integer minor units with a currency",
        "src/transaction/amount.rs",
        "money_is_integer_minor_units_with_a_currency",
    ),
];

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Source without comments and without the tests at its bottom.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    body.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn room_of(root: &Path, path: &Path) -> String {
    let first = path.strip_prefix(root).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Files that only tests compile.
fn is_test_support(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.contains("conformance") || n.contains("test"))
}

/// Rooms named after `crate::`, a list in braces included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => {
                rooms.extend(list.split('}').next().unwrap().split(',').map(|item| word(item.trim())))
            }
            None => _ = rooms.insert(word(after)),
        }
    }
    if code.contains("iso8583_spec::") {
        rooms.insert("iso8583_spec".to_owned());
    }
    rooms.remove("");
    rooms
}

#[test]
fn rooms_import_only_what_the_plan_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for path in source_files(&root).iter().filter(|p| !is_test_support(p)) {
        let room = room_of(&root, path);
        seen.insert(room.clone());
        if ABOVE.contains(&room.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: room {room} is not in the plan", path.display()));
            continue;
        };
        for import in imports(&code(path)) {
            if import != room && !allowed.contains(&import.as_str()) {
                faults.push(format!("{}: {room} may not import {import}", path.display()));
            }
        }
    }
    for (room, _) in ROOMS {
        assert!(seen.contains(*room), "room {room} of the plan is not there");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn clocks_sockets_and_randomness_stay_in_their_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for path in source_files(&root).iter().filter(|p| !is_test_support(p)) {
        let (room, code) = (room_of(&root, path), code(path));
        for (words, rooms) in ONLY_IN {
            if room != "tidy" && code.contains(words) && !rooms.contains(&room.as_str()) {
                faults.push(format!("{}: {words} belongs to {rooms:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let rows: &[(&str, &[&str])] = &[
        ("use crate::store::Op;", &["store"]),
        ("use crate::{hsm, link::Key};", &["hsm", "link"]),
        ("let x = crate::crash::point(\"a\");", &["crash"]),
        ("use iso8583_spec::View;", &["iso8583_spec"]),
        ("pub(crate) fn f() {}", &[]),
    ];
    for (code, want) in rows {
        assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), *want, "{code}");
    }
}

#[test]
fn every_promise_has_a_test_that_bears_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (promise, file, name) in PROMISES {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{promise}: no test {name} in {file}");
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap().to_lowercase();
    let told = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for (promise, ..) in PROMISES {
        assert!(told.contains(promise), "the README does not make the promise: {promise}");
    }
}
