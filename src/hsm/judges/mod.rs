//! Outside judges of the room's algorithms: packages of PyPI, asked about thousands of random cases.
//!
//! A judge is a script that reads a line of words with a tab between them for every case and answers with a line.
//! It shares nothing with this room but that line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The answers of a script of this folder to these cases, in their order.
fn ask(script: &str, cases: &[Vec<String>]) -> Vec<String> {
    let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/python")).output().unwrap();
    assert!(made.status.success(), "no judges: {}", String::from_utf8_lossy(&made.stderr));
    let python = String::from_utf8(made.stdout).unwrap();
    let mut child = Command::new(python.trim())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let answers: Vec<String> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for case in cases {
                // A judge that broke is found by the answers that are missing.
                let _ = writeln!(stdin, "{}", case.join("\t"));
            }
        });
        BufReader::new(stdout).lines().map(|line| line.unwrap()).collect()
    });
    assert!(child.wait().unwrap().success(), "the judge broke after {} answers", answers.len());
    assert_eq!(answers.len(), cases.len(), "an answer to every case");
    answers
}

/// Holds what was computed here against the answers of a script; and sees that the script has an opinion of its own:
/// it does not agree that the first case has the answer of another.
pub(crate) fn agree(script: &str, cases: &[Vec<String>], ours: &[String]) {
    let theirs = ask(script, cases);
    assert_eq!(cases.len(), ours.len());
    for ((case, ours), theirs) in cases.iter().zip(ours).zip(&theirs) {
        assert_eq!(ours, theirs, "{case:?}");
    }
    let other = ours.iter().position(|answer| *answer != ours[0]).expect("answers differ");
    assert_ne!(theirs[0], ours[other]);
}

/// A source of cases: the same ones in every run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number (SplitMix64).
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A number from `least` to `most`.
    pub(crate) fn within(&mut self, least: usize, most: usize) -> usize {
        least + usize::try_from(self.number() % (most - least + 1) as u64).unwrap()
    }

    /// So many octets.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// So many decimal digits.
    pub(crate) fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + (self.number() % 10) as u8)).collect()
    }

    /// A DES key of so many octets that may serve: odd parity, no part weak or there twice.
    pub(crate) fn des_key(&mut self, octets: usize) -> Vec<u8> {
        loop {
            let mut key = self.octets(octets);
            super::des::set_odd_parity(&mut key);
            if super::des::check_strength(&key).is_ok() {
                return key;
            }
        }
    }
}
