//! The lines of an audit file, each bound to the one before it.
//!
//! ```text
//! {"sequence":2,"time":"2026-11-23T19:48:04.123+00:00","node":1,"operation":"generate","usage":"72",
//!  "key":"2AE082","outcome":"done","count":1,"previous":"<64 digits>","hash":"<64 digits>"}
//! ```
//! One record is one line. `hash` is the SHA-256 of the line's characters in front of `,"hash"`, `previous` the hash of
//! the record before, zeros for the first. Who may write the file can write the whole chain anew, and cut its end off
//! unseen: whoever wants to know keeps the last hash elsewhere.

use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read as _};

/// The longest line that is read, in octets with its end; a record is some 350.
pub(super) const LONGEST: usize = 4096;

/// Where a chain stands: its last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) sequence: u64,
    pub(super) hash: String,
}

impl Link {
    /// In front of the first record.
    pub(super) fn start() -> Self {
        Self { sequence: 0, hash: "0".repeat(64) }
    }

    /// The next line, with its end, and where the chain stands behind it. `fields` are the record's own, as JSON
    /// without braces.
    pub(super) fn line(&self, fields: &str) -> (String, Link) {
        let sequence = self.sequence.saturating_add(1);
        let covered = format!("{{\"sequence\":{sequence},{fields},\"previous\":\"{}\"", self.hash);
        let hash = hash_of(&covered);
        (format!("{covered},\"hash\":\"{hash}\"}}\n"), Link { sequence, hash })
    }
}

fn hash_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// A record as it stands in a line.
pub(super) struct Found {
    pub(super) link: Link,
    previous: String,
}

/// Reads a line without its end. None when it is no record, or its hash is not its own.
pub(super) fn read(line: &str) -> Option<Found> {
    let (covered, rest) = line.rsplit_once(",\"hash\":\"")?;
    let hash = rest.strip_suffix("\"}")?;
    let (_, previous) = covered.strip_suffix('"')?.rsplit_once(",\"previous\":\"")?;
    let (sequence, _) = covered.strip_prefix("{\"sequence\":")?.split_once(',')?;
    let canonical = !sequence.starts_with(['0', '+']);
    let sequence = sequence.parse().ok().filter(|_| canonical)?;
    (hash == hash_of(covered))
        .then(|| Found { link: Link { sequence, hash: hash.to_owned() }, previous: previous.to_owned() })
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No record, or not the one that was written.
    #[error("the record is altered")]
    Altered,
    /// Its end is missing: a crash, or somebody's knife.
    #[error("the line is torn")]
    Torn,
    /// Others should stand in front of it.
    #[error("record {found} stands where record {expected} should: records are missing or out of order")]
    Missing {
        /// The number that is due.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// It was there already, or belongs further up.
    #[error("record {found} stands where record {expected} should: it is out of order or there twice")]
    OutOfOrder {
        /// The number that is due.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// The record in front of it is another than the one it was written behind.
    #[error("the record is not bound to the one before it: that one was written anew")]
    Unbound,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Good records, from the first.
    pub records: u64,
    /// The last good record's hash, 64 hexadecimal digits.
    pub last: String,
    /// The first line that is not as it was written, counted from 1, and why.
    pub fault: Option<(u64, Fault)>,
}

/// Checks a whole chain, up to its first fault.
///
/// # Errors
/// The reader's.
pub fn verify(mut reader: impl BufRead) -> io::Result<Verdict> {
    let (mut at, mut number) = (Link::start(), 0_u64);
    let mut line = Vec::new();
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    let fault = loop {
        line.clear();
        if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            break None;
        }
        number = number.saturating_add(1);
        match follow(&at, &line) {
            Ok(link) => at = link,
            Err(fault) => break Some((number, fault)),
        }
    };
    Ok(Verdict { records: at.sequence, last: at.hash, fault })
}

fn follow(at: &Link, line: &[u8]) -> Result<Link, Fault> {
    let whole = line.strip_suffix(b"\n").ok_or(Fault::Torn)?;
    let found = std::str::from_utf8(whole).ok().and_then(read).ok_or(Fault::Altered)?;
    let (expected, sequence) = (at.sequence.saturating_add(1), found.link.sequence);
    match sequence.cmp(&expected) {
        std::cmp::Ordering::Greater => Err(Fault::Missing { expected, found: sequence }),
        std::cmp::Ordering::Less => Err(Fault::OutOfOrder { expected, found: sequence }),
        std::cmp::Ordering::Equal if found.previous == at.hash => Ok(found.link),
        std::cmp::Ordering::Equal => Err(Fault::Unbound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<String> {
        let mut link = Link::start();
        let mut lines = Vec::new();
        for number in 0..count {
            let (line, next) = link.line(&format!("\"operation\":\"{number}\""));
            lines.push(line);
            link = next;
        }
        lines
    }

    fn fault(text: &[u8]) -> Option<(u64, Fault)> {
        verify(text).unwrap().fault
    }

    #[test]
    fn a_chain_is_whole_or_its_first_fault_is_named() {
        let good = chain(5);
        let verdict = verify(good.concat().as_bytes()).unwrap();
        assert_eq!((verdict.records, verdict.fault), (5, None));
        assert!(good[4].contains(&verdict.last));
        assert_eq!(verify(&b""[..]).unwrap().records, 0);
        let of = |order: &[usize]| order.iter().map(|at| good[*at].as_str()).collect::<String>();
        let mut anew = Link::start().line("\"operation\":\"0\"").1.line("\"operation\":\"x\"").0;
        anew = format!("{}{anew}{}", good[0], of(&[2, 3, 4]));
        let rows = [
            ("a line is gone", of(&[0, 1, 3, 4]), 3, Fault::Missing { expected: 3, found: 4 }),
            ("the first is gone", of(&[1, 2]), 1, Fault::Missing { expected: 1, found: 2 }),
            ("two are swapped", of(&[0, 2, 1, 3]), 2, Fault::Missing { expected: 2, found: 3 }),
            ("one is there twice", of(&[0, 1, 1]), 3, Fault::OutOfOrder { expected: 3, found: 2 }),
            ("one is written anew", anew, 3, Fault::Unbound),
            ("the last is torn", of(&[0, 1])[..of(&[0, 1]).len() - 1].to_owned(), 2, Fault::Torn),
            ("an empty line", format!("{}\n{}", good[0], good[1]), 2, Fault::Altered),
            ("no record", format!("{}{{}}\n", good[0]), 2, Fault::Altered),
            ("a line without end", "x".repeat(3 * LONGEST), 1, Fault::Torn),
        ];
        for (name, text, line, expected) in rows {
            assert_eq!(fault(text.as_bytes()), Some((line, expected)), "{name}");
        }
    }

    #[test]
    fn every_altered_octet_is_found_in_its_line() {
        let good = chain(3);
        let (text, first, second) =
            (good.concat().into_bytes(), good[0].len(), good[0].len() + good[1].len());
        for at in first..second {
            for flip in [1, 0x20, 0x80] {
                let mut altered = text.clone();
                altered[at] ^= flip;
                assert_eq!(fault(&altered).map(|(line, _)| line), Some(2), "octet {at}");
            }
        }
    }
}
