//! Zone master keys of components, under the variant LMK: the older commands beside `A4`.

use super::code::Code;
use super::fields::Fields;
use super::key::KeyField;
use super::keys::{COMPONENTS, numbered};
use super::wrapping::{Family, Form, Key, Place};
use super::{Answer, Commands, HostHsm};
use crate::hsm::key_block::thales;
use crate::hsm::variant_lmk::{KeyType, Scheme};

pub(super) const COMMANDS: Commands = &[(b"GG", of_three), (b"GY", of_many)];

const ZMK: Family = Family::Variant(KeyType::Zmk);

/// `GG`: three components, then as `GY`.
fn of_three(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    form(hsm, fields, 3)
}

/// `GY`: how many (1), so many components [; reserved `0`, scheme or `0`, kind of check value] → ZMK, check value: 6
/// digits of kind 1, else 16. Odd parity is forced.
///
/// A component of double length may stand without its letter, 32 digits of scheme X: a single one may not. So does the
/// ZMK when no scheme is named.
fn of_many(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let count = fields.number(1)?;
    if !COMPONENTS.contains(&count) {
        return Err(Code::COMPONENTS);
    }
    form(hsm, fields, count)
}

fn form(hsm: &HostHsm, fields: &mut Fields<'_>, count: usize) -> Result<Answer, Code> {
    let components = (0..count).map(|_| component(fields)).collect::<Result<Vec<_>, _>>()?;
    let (scheme, kind) = if fields.takes(b';') { options(fields)? } else { (None, b'0') };
    let place = Place { family: ZMK, form: Form::Variant(scheme.unwrap_or(Scheme::X)), lmk: fields.end()? };
    let mut parts = Vec::with_capacity(count);
    for (number, text) in (b'1'..).zip(&components) {
        let part = hsm.held(ZMK, KeyField(text))?;
        part.odd().map_err(|code| if number == b'1' { code } else { code.of_destination() })?;
        parts.push((numbered(number), part.clear));
    }
    let (_, clear) = thales::form(&parts)?;
    let key = Key { family: ZMK, header: None, clear };
    key.strong()?;
    let held = hsm.hold(&place, &key)?;
    let shown = if scheme.is_some() { held.as_str() } else { held.trim_start_matches('X') };
    let check = if kind == b'1' { key.check_value()? } else { key.long_check_value()? };
    Ok(Answer::done([shown, &check].concat()))
}

/// A component as a key is written, with its letter.
fn component(fields: &mut Fields<'_>) -> Result<String, Code> {
    match fields.next() {
        Some(b'0'..=b'9' | b'A'..=b'F') => Ok(format!("X{}", fields.hex_digits(32)?)),
        _ => fields.key().map(|key| key.0.to_owned()),
    }
}

/// What stands behind `;`: reserved, scheme, kind of check value.
fn options(fields: &mut Fields<'_>) -> Result<(Option<Scheme>, u8), Code> {
    if !fields.takes(b'0') {
        return Err(Code::INPUT);
    }
    let scheme = if fields.takes(b'0') {
        None
    } else {
        match fields.form()? {
            Form::Variant(scheme) => Some(scheme),
            Form::Thales | Form::Tr31 => return Err(Code::KEY_SCHEME),
        }
    };
    let [kind] = fields.array()?;
    if matches!(kind, b'0' | b'1') { Ok((scheme, kind)) } else { Err(Code::INPUT) }
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{codes, exchanges, permissive, refused_when_cut, written};
    use super::*;
    use crate::hsm::audit::Audit;
    use crate::hsm::variant_lmk::{TEST_PAIRS, VariantLmk};
    use std::sync::Arc;

    /// Published with the ZMK that they form, under the public test LMK.
    const THREE: [&str; 3] = [
        "2EC8A0412B5D0E86E3C1E5ABFA19B3F5",
        "FF43378ED5D85B1BC465BF000335FBF1",
        "A235EDF4C58A2CB0C84641D07319CF21",
    ];

    fn variant(scheme: Scheme, clear: &str) -> String {
        let lmk = VariantLmk::new(zeroize::Zeroizing::new(TEST_PAIRS));
        lmk.encrypt(KeyType::Zmk, scheme, &hex::decode(clear).unwrap()).unwrap()
    }

    #[test]
    fn a_zmk_is_the_published_one() {
        let [one, two, three] = THREE;
        let zmk = "C0BC1DFFC449A402DAB71250CA5869CC";
        let all = format!("{one} {two} {three}");
        exchanges(&[
            (format!("GY 3 {all}"), &format!("GZ 00 {zmk} 8CE39643DA9A9B99")),
            (format!("GY 3 {all} ;0U1"), "GZ 00 U369835189A058604EB7F84EAE10C7D04 8CE396"),
            (format!("GY 3 {all} ;0X0 %00"), &format!("GZ 00 X{zmk} 8CE39643DA9A9B99")),
            (format!("GY 3 {all} ;001"), &format!("GZ 00 {zmk} 8CE396")),
            // In any order, with letters, by the command for three.
            (format!("GG {three} {two} {one}"), &format!("GH 00 {zmk} 8CE39643DA9A9B99")),
            (format!("GG X{two} {three} X{one} ;0U1 %00"), "GH 00 U369835189A058604EB7F84EAE10C7D04 8CE396"),
        ]);
    }

    /// By what `A4` forms of the same components.
    #[test]
    fn components_are_two_to_nine_of_any_length() {
        let mut chance = crate::hsm::judges::Chance::new(7);
        let hsm = permissive(0);
        let answer = |command: String| String::from_utf8(hsm.answer(command.as_bytes()).unwrap()).unwrap();
        for count in 2..=9 {
            for (letter, scheme) in [("U", Scheme::U), ("X", Scheme::X), ("T", Scheme::T)] {
                let component = |_| variant(scheme, &hex::encode(chance.des_key(scheme.length().octets())));
                let all = (0..count).map(component).collect::<String>();
                let formed = answer(format!("A4{count}000{letter}{all}"));
                assert_eq!(&formed[..4], "A500");
                assert_eq!(answer(format!("GY{count}{all};0{letter}1"))[4..], formed[4..]);
            }
        }
    }

    #[test]
    fn what_forms_no_zmk_has_its_code() {
        let [one, two, three] = THREE;
        let even = variant(Scheme::U, "0023456789ABCDEFFEDCBA9876543210");
        let zero = variant(Scheme::X, &"0".repeat(32));
        let triple = variant(Scheme::T, "0123456789ABCDEFFEDCBA987654321089ABCDEF01234567");
        let single = variant(Scheme::Z, "0123456789ABCDEF");
        let (left, right) = ("0123456789ABCDEF".repeat(2), "FEDCBA9876543210".repeat(2));
        let alike = [left, right].map(|clear| variant(Scheme::U, &clear));
        for (command, code) in [
            (format!("GY 1 {one}"), "03"),
            (format!("GY 0 {one}"), "03"),
            (format!("GY A {one}"), "15"),
            (format!("GY 2 {even} {two}"), "10"),
            (format!("GY 2 {one} {even}"), "11"),
            (format!("GG {one} {two} {even}"), "11"),
            (format!("GG {even} {one} {two}"), "10"),
            (format!("GY 2 {one} {one}"), "B5"),
            (format!("GG {one} {two} {one}"), "B5"),
            (format!("GY 2 {one} {triple}"), "B5"),
            // Its octets have no odd parity either.
            (format!("GY 2 {zero} {two}"), "10"),
            (format!("GY 2 {} {}", alike[0], alike[1]), "75"),
            // Two of single length are read as one.
            (format!("GY 2 {single} {single}"), "15"),
            (format!("GY 2 {one} {two} {three}"), "15"),
            (format!("GG {one} {two}"), "15"),
            (format!("GG {one} {two} {three} ;1U1"), "15"),
            (format!("GG {one} {two} {three} ;0U2"), "15"),
            (format!("GG {one} {two} {three} ;0U"), "15"),
            (format!("GG {one} {two} {three} ;0S1"), "26"),
            (format!("GG {one} {two} {three} ;0Q1"), "26"),
            (format!("GG {one} {two} {three} ;0T1"), "27"),
            (format!("GG {one} {two} {three} ;0Z1"), "27"),
            (format!("GG {one} {two} {three} %01"), "A1"),
            (format!("GG {one} {two} {three} %09"), "13"),
            ("GY 2 COMP1 COMP2".into(), "A1"),
            ("GY 2 Q".into(), "26"),
        ] {
            codes(&[(&command, code)]);
        }
    }

    #[test]
    fn a_command_that_is_cut_off_is_refused() {
        let [one, two, three] = THREE;
        refused_when_cut(&[format!("GG {one} {two} {three}"), format!("GY 3 X{one} {two} {three}")]);
    }

    #[test]
    fn a_zmk_that_is_formed_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path, crate::clock::Clock::manual(0), 1).unwrap();
        let hsm = permissive(0).with_audit(Arc::new(audit));
        let [one, two, three] = THREE;
        let mut check_values = Vec::new();
        for command in
            [format!("GG {one} {two} {three}"), format!("GY 2 {one} {two}"), format!("GY 2 {one} {one};001")]
        {
            let answer = String::from_utf8(hsm.answer(&written(&command)).unwrap()).unwrap();
            check_values.push(answer.get(36..42).unwrap_or_default().to_owned());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let rows = [("GG", "done", &*check_values[0]), ("GY", "done", &*check_values[1]), ("GY", "B5", "")];
        for (line, (command, outcome, key)) in lines.iter().zip(rows) {
            assert!(line.contains(&format!("\"key\":\"{key}\"")), "{line}");
            assert!(line.contains(&format!("\"operation\":\"host-{command}\"")), "{line}");
            assert!(line.contains(&format!("\"outcome\":\"{outcome}\"")), "{line}");
        }
    }
}
