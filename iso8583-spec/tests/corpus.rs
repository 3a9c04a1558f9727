//! The corpus of the fuzz targets, replayed: what was found once stays found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::{fs, path::Path};

/// Runs a target over every file of its corpus.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has a corpus");
    for file in files {
        // The file is named before its content may make the target panic.
        eprintln!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn frames() {
    replay("frames", targets::frames);
}

#[test]
fn decode() {
    replay("decode", targets::decode);
}

#[test]
fn tlv() {
    replay("tlv", targets::tlv);
}

#[test]
fn spec() {
    replay("spec", targets::spec);
}

#[test]
fn import() {
    replay("import", targets::import);
}

#[test]
fn generated() {
    replay("generated", targets::generated);
}
