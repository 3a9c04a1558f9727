//! What no file of the switch may hold: card numbers, tracks, PINs, PIN blocks, keys. A clearing file holds card
//! numbers by its nature, the LMK's own file the LMK; the wire record, the books and the seed files are the
//! simulator's, for judges.

use super::day::{DAY, walk};
use iso8583_spec::{Spec, View};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use terminal_sim::stage::{EXPIRY, HOLDERS, keys};
use terminal_sim::terminal::Card;

/// What a secret is: files may be exempt from one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    CardNumber,
    Track,
    Pin,
    PinBlock,
    Key,
    Lmk,
}

/// Octets that must not be found.
#[derive(Debug)]
pub(crate) struct Secret {
    what: What,
    octets: Vec<u8>,
}

/// The card that no issuer knows.
const UNKNOWN: &str = "5555555555554444";

/// As octets, and as hexadecimal digits of either case.
fn in_every_form(what: What, octets: &[u8]) -> Vec<Secret> {
    let forms = [octets.to_vec(), hex::encode_upper(octets).into_bytes(), hex::encode(octets).into_bytes()];
    forms.into_iter().map(|octets| Secret { what, octets }).collect()
}

/// Digits as characters, in EBCDIC, packed from either half of an octet.
fn digits(what: What, text: &str) -> Vec<Secret> {
    let ebcdic: Vec<u8> = text.bytes().map(|digit| 0xF0 | (digit & 0x0F)).collect();
    let whole = |text: &str| hex::decode(&text[..text.len() / 2 * 2]).unwrap();
    let forms = [text.as_bytes().to_vec(), ebcdic, whole(text), whole(&text[1..])];
    // Test cards are mostly zeros: packed without their first digit some are nothing to look for.
    let telling = forms.iter().filter(|octets| octets.iter().filter(|octet| **octet != 0).count() > 1);
    telling.flat_map(|octets| in_every_form(what, octets)).collect()
}

fn card(pan: &str, pin: Option<&str>) -> Vec<Secret> {
    let mut found = digits(What::CardNumber, pan);
    let card = Card::swiped(pan, EXPIRY);
    let behind = card.track2.split('D').nth(1).unwrap();
    found.extend(digits(What::Track, behind));
    let Some(pin) = pin else { return found };
    // ISO 9564-1 format 0: the PIN's half, and combined with the card number's.
    let half = hex::decode(format!("{:02}{pin:F<14}", pin.len())).unwrap();
    let number = hex::decode(format!("0000{}", &pan[pan.len() - 13..pan.len() - 1])).unwrap();
    let block: Vec<u8> = half.iter().zip(number).map(|(a, b)| a ^ b).collect();
    found.extend(in_every_form(What::Pin, &half));
    found.extend(in_every_form(What::Pin, &block));
    found
}

/// PIN blocks and working keys from the record.
fn recorded(dir: &Path) -> Vec<Secret> {
    let record = fs::read_to_string(dir.join("record.jsonl")).unwrap();
    let mut found = Vec::new();
    for line in record.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for name in ["tmk", "tpk", "tak", "tdk", "zpk", "zak", "zmk"] {
            let key = line[name].as_str().map(|key| hex::decode(key).unwrap());
            found.extend(key.iter().flat_map(|key| in_every_form(What::Key, key)));
        }
        let Some(body) = line["hex"].as_str().map(|text| hex::decode(text).unwrap()) else { continue };
        let spec = Spec::builtin(line["dialect"].as_str().unwrap()).unwrap();
        let Ok(view) = View::decode(spec, &body) else { continue };
        let block = view.bytes(52).map(|octets| octets.into_owned());
        found.extend(block.iter().flat_map(|block| in_every_form(What::PinBlock, block)));
    }
    found
}

/// Every secret of a day.
pub(crate) fn of(dir: &Path) -> Vec<Secret> {
    let mut found: Vec<Secret> =
        HOLDERS.iter().flat_map(|holder| card(holder.pan, Some(holder.pin))).collect();
    found.extend(card(UNKNOWN, None));
    found.extend(recorded(dir));
    for key in [keys::TMK, keys::TPK, keys::TAK, keys::ZPK_A, keys::ZPK_B, keys::ZAK_B, keys::ZMK_B] {
        found.extend(in_every_form(What::Key, &hex::decode(key).unwrap()));
    }
    let text = fs::read_to_string(dir.join("lmk")).unwrap();
    let keys = text.lines().find_map(|line| line.strip_prefix("keys = \"")).unwrap().trim_matches('"');
    let lmk = hex::decode(keys).unwrap();
    found.extend(in_every_form(What::Lmk, &lmk));
    found
}

/// Every secret of a day a line, its name and its octets, for the judge of memory.
pub(crate) fn in_memory(dir: &Path) -> String {
    let secrets = of(dir);
    // Eight octets of which all but two are zero are a number, too.
    let telling = |secret: &&Secret| secret.octets.iter().filter(|octet| **octet != 0).count() > 2;
    let lines: std::collections::BTreeSet<String> = secrets
        .iter()
        .filter(telling)
        .map(|secret| format!("{:?} {}\n", secret.what, hex::encode(&secret.octets)))
        .collect();
    lines.into_iter().collect()
}

fn holds(octets: &[u8], secret: &Secret) -> bool {
    octets.windows(secret.octets.len()).any(|window| window == secret.octets)
}

/// Fails when one of the secrets is among the octets.
pub(crate) fn found_in(place: &str, octets: &[u8], secrets: &[Secret]) {
    let found: Vec<What> = secrets.iter().filter(|s| holds(octets, s)).map(|s| s.what).collect();
    assert!(found.is_empty(), "{place} holds {found:?}");
}

fn is_simulators(path: &Path) -> bool {
    let inside = path.strip_prefix(&DAY.dir).unwrap();
    inside == Path::new("record.jsonl") || inside.starts_with("seeds") || inside.starts_with("books")
}

/// Whether a file is where such a secret belongs.
fn is_home(path: &Path, what: What) -> bool {
    match what {
        What::CardNumber => path.extension().is_some_and(|extension| extension == "ipm"),
        What::Lmk => path.file_name().is_some_and(|name| name == "lmk"),
        What::Track | What::Pin | What::PinBlock | What::Key => false,
    }
}

#[test]
fn secrets_stay_inside() {
    assert_eq!(DAY.code, Some(0));
    let secrets = of(&DAY.dir);
    let mut looked_at = Vec::new();
    for path in walk(&DAY.dir).into_iter().filter(|path| !is_simulators(path)) {
        let octets = fs::read(&path).unwrap();
        let forbidden = secrets.iter().filter(|secret| !is_home(&path, secret.what));
        let found: Vec<What> = forbidden.filter(|secret| holds(&octets, secret)).map(|s| s.what).collect();
        assert!(found.is_empty(), "{} holds {found:?}", path.display());
        looked_at.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["tollgate.db", "tollgate.log", "tollgate.toml", "lmk"] {
        assert!(looked_at.iter().any(|looked| looked == name), "{name}: {looked_at:?}");
    }
    for suffix in [".csv", ".ipm"] {
        assert!(looked_at.iter().any(|looked| looked.ends_with(suffix)), "{suffix}: {looked_at:?}");
    }
    found_in("standard output", DAY.stdout.as_bytes(), &secrets);
    found_in("standard error", DAY.stderr.as_bytes(), &secrets);
}

/// A PIN is too short to be looked for among octets; as a number of its own it must not stand in a text.
#[test]
fn no_text_of_the_switch_holds_a_pin() {
    let texts = walk(&DAY.dir).into_iter().filter(|path| !is_simulators(path));
    let texts = texts.filter(|path| path.extension().is_some_and(|e| e == "log" || e == "toml"));
    let mut looked_at = 0;
    for path in texts {
        let text = fs::read_to_string(&path).unwrap();
        let numbers: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
        for holder in HOLDERS {
            assert!(!numbers.contains(&holder.pin), "{} holds a PIN", path.display());
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, 2);
}

/// The search is seen to find what is there.
#[test]
fn secrets_are_found_where_they_belong() {
    let secrets = of(&DAY.dir);
    let all: Vec<u8> = walk(&DAY.dir).iter().flat_map(|path| fs::read(path).unwrap()).collect();
    for what in [What::CardNumber, What::Track, What::PinBlock, What::Key, What::Lmk] {
        assert!(secrets.iter().any(|secret| secret.what == what && holds(&all, secret)), "{what:?}");
    }
    let block = hex::decode("06126CD6FEDCBA98").unwrap();
    assert!(
        secrets.iter().any(|secret| secret.what == What::Pin && secret.octets == block),
        "the golden PIN block"
    );
}

#[test]
fn only_the_owner_reads_the_lmk_and_the_store() {
    for name in ["lmk", "tollgate.db"] {
        let mode = fs::metadata(DAY.dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}
