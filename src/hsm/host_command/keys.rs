//! Check values, keys of components, keys from one LMK to another.

use super::code::Code;
use super::fields::Fields;
use super::wrapping::{Family, Form, Key, Place, whole};
use super::{Answer, Commands, HostHsm};
use crate::hsm::key_block::header::{FullHeader, Header};
use crate::hsm::key_block::thales;
use crate::hsm::variant_lmk::Scheme;

pub(super) const COMMANDS: Commands =
    &[(b"BU", check_value), (b"KA", legacy_check_value), (b"A4", form), (b"BW", migrate)];

/// The fewest and the most components of a key.
pub(super) const COMPONENTS: std::ops::RangeInclusive<usize> = 2..=9;

/// A type code of two characters, `FF` when three follow elsewhere.
fn short_type<'a>(fields: &mut Fields<'a>) -> Result<&'a str, Code> {
    fields.text(2)
}

/// The family of a type code of two characters, or of three.
fn family(short: &str, long: Option<&str>) -> Result<Family, Code> {
    match (short, long) {
        ("FF", Some(long)) => Family::of(long),
        ("FF", None) => Ok(Family::Blocks),
        (short, None) => Family::of(&format!("0{short}")).map_err(|_| Code::TYPE_CODE),
        (_, Some(_)) => Err(Code::TYPE_CODE),
    }
}

/// That the flag of a key's length is that of the key: `0` single, `1` double, `2` triple, `F` a block that says so.
fn check_length_flag(flag: u8, form: Form) -> Result<(), Code> {
    let expected = match form {
        Form::Variant(Scheme::Z) => b'0',
        Form::Variant(Scheme::U | Scheme::X) => b'1',
        Form::Variant(Scheme::T | Scheme::Y) => b'2',
        Form::Thales | Form::Tr31 => b'F',
    };
    if flag == expected { Ok(()) } else { Err(Code::LENGTH_FLAG) }
}

/// The form of a key that stands in a command, its letter being looked at only.
fn form_of(fields: &Fields<'_>) -> Result<Form, Code> {
    match fields.next() {
        Some(b'0'..=b'9' | b'A'..=b'F') => Ok(Form::Variant(Scheme::Z)),
        _ => fields.clone().form(),
    }
}

/// `BU`: type (2), length flag, key [; type (3)] [; `00`, kind of check value] → check value: 16 digits of kind 0 or
/// none, 6 of kind 1.
fn check_value(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let short = short_type(fields)?;
    let [flag] = fields.array()?;
    check_length_flag(flag, form_of(fields)?)?;
    let key = fields.key()?;
    let long = if short == "FF" && fields.takes(b';') { Some(fields.text(3)?) } else { None };
    let kind = check_value_kind(fields)?;
    hsm.lmk(fields.end()?)?;
    answer_check_value(&hsm.held(family(short, long)?, key)?, kind)
}

/// `KA`: key, type (2) [; `00`, kind of check value] → check value as of `BU`.
fn legacy_check_value(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let key = fields.key()?;
    let short = short_type(fields)?;
    let kind = check_value_kind(fields)?;
    hsm.lmk(fields.end()?)?;
    answer_check_value(&hsm.held(family(short, None)?, key)?, kind)
}

fn check_value_kind(fields: &mut Fields<'_>) -> Result<u8, Code> {
    if !fields.takes(b';') {
        return Ok(b'0');
    }
    fields.digits(2)?;
    let [kind] = fields.array()?;
    if matches!(kind, b'0' | b'1') { Ok(kind) } else { Err(Code::INPUT) }
}

fn answer_check_value(key: &Key, kind: u8) -> Result<Answer, Code> {
    key.odd()?;
    Ok(Answer::done(if kind == b'1' { key.check_value()? } else { key.long_check_value()? }))
}

/// `A4`: how many (1), type (3), scheme, so many components [%nn] [# version (2), optional blocks] → key, check value.
/// Odd parity is forced. Components of key blocks have the versions `c1` to `c9`.
fn form(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let count = fields.number(1)?;
    if !COMPONENTS.contains(&count) {
        return Err(Code::COMPONENTS);
    }
    let family = fields.family()?;
    let form = fields.form()?;
    let components = (0..count).map(|_| fields.key()).collect::<Result<Vec<_>, _>>()?;
    let lmk = fields.lmk()?;
    let (version, optional) =
        if fields.takes(b'#') { (fields.array()?, fields.optional_blocks()?) } else { (*b"00", Vec::new()) };
    let place = Place { family, form, lmk: lmk.or(fields.end()?) };
    let mut parts = Vec::with_capacity(count);
    for (number, component) in (b'1'..).zip(components) {
        let part = hsm.held(family, component)?;
        part.odd()?;
        let header = part.header.map_or(numbered(number), |header| header.fixed);
        parts.push((header, part.clear));
    }
    let (fixed, clear) = thales::form(&parts)?;
    let fixed = Header { version, ..fixed };
    whole(fixed)?;
    let header = (family == Family::Blocks).then_some(FullHeader { optional, ..FullHeader::from(fixed) });
    let key = Key { family, header, clear };
    key.strong()?;
    Ok(Answer::done(hsm.hold(&place, &key)? + &key.check_value()?))
}

/// What a component under a variant LMK would say of itself.
pub(super) fn numbered(number: u8) -> Header {
    Header { usage: *b"00", algorithm: b'T', mode: b'N', version: [b'c', number], exportability: b'N' }
}

/// `BW`: type (2), length flag, key [; type (3)] [; reserved, scheme, reserved] [%nn] [! reserved (2)] → key, check
/// value.
///
/// There is one set of LMKs: the old one and the new one are the same. The key may change its scheme, or stand under
/// another LMK for key blocks; it does not change its type, nor go between variant keys and key blocks.
fn migrate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let short = short_type(fields)?;
    let [flag] = fields.array()?;
    let own = form_of(fields)?;
    check_length_flag(flag, own)?;
    let key = fields.key()?;
    let long = if fields.takes(b';') { Some(fields.text(3)?) } else { None };
    let form = if fields.takes(b';') { scheme_among_reserved(fields)? } else { own };
    let lmk = fields.lmk()?;
    if fields.takes(b'!') {
        fields.text(2)?;
    }
    let lmk = lmk.or(fields.end()?);
    let from = family(short, if short == "FF" { long } else { None })?;
    let to = long.map_or(Ok(from), Family::of).map_err(|_| Code::MIGRATED_TYPE)?;
    match (from, to, form) {
        (Family::Variant(old), Family::Variant(new), Form::Variant(_)) if old != new => {
            return Err(Code::MIGRATED_TYPE);
        }
        (Family::Variant(_), Family::Variant(_), Form::Variant(_))
        | (Family::Blocks, Family::Blocks, Form::Thales) => {}
        (_, _, _) => return Err(Code::MIGRATION),
    }
    let key = hsm.held(from, key)?;
    key.odd()?;
    let place = Place { family: to, form, lmk };
    Ok(Answer::done(hsm.hold(&place, &key)? + &key.check_value()?))
}

fn scheme_among_reserved(fields: &mut Fields<'_>) -> Result<Form, Code> {
    fields.text(1)?;
    let form = fields.form()?;
    fields.text(1)?;
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, permissive, transcript, written};
    use super::*;
    use crate::hsm::variant_lmk::KeyType;

    fn hsm() -> HostHsm {
        permissive(0)
    }

    /// A key under a variant pair.
    fn variant(kind: KeyType, scheme: Scheme, clear: &str) -> String {
        hsm().lmks.put_as(None, kind, scheme, &hex::decode(clear).unwrap()).unwrap()
    }

    fn code(command: &str) -> String {
        ask(&written(command))[2..4].to_owned()
    }

    #[test]
    fn check_values_are_those_of_a_device() {
        transcript(&[
            ("BU FF F ZMK1 ; FFF ; 00 1", "BV 00 2356F2"),
            ("BU FF F ZMK2 ; FFF ; 00 1 %01", "BV 00 BB29F2"),
            ("BU FF F TAK", "BV 00 F808C217E8300E6C"),
            // Under the variant test LMK.
            ("BU 01 1 U1EF828AA8F6B80EB83E19FBC373F3A85 ; 00 1", "BV 00 6F1E3F"),
            ("BU FF 1 U9B4934384B19946B040CD702B4D58145 ; 402 ; 00 0", "BV 00 08D7B4FB629D0885"),
            ("BU 00 1 U369835189A058604EB7F84EAE10C7D04 ; 00 1", "BV 00 8CE396"),
            ("KA U8463435FC4B4DAA0C49025272C29B12C 02 ; 00 1", "KB 00 070753"),
            ("KA ZPK1 FF ; 00 1", "KB 00 4FE9FD"),
        ]);
    }

    #[test]
    fn components_form_the_key_that_the_device_formed() {
        let answer = ask(&written("A4 2 FFF S COMP1 COMP2 %01"));
        let (head, rest) = answer.split_at(4);
        let (block, kcv) = rest.split_at(73);
        assert_eq!((head, kcv, &block[..17]), ("A500", "2AE082", "S0007252TB00E0001"));
        let (_, clear) = hsm().lmks.open_block(block).unwrap();
        assert_eq!(hex::encode_upper(&*clear), "DA38FD20EF58401658047AEF106DF42F");
        let versioned = ask(&written("A4 2 FFF S COMP2 COMP1 %01 # 07 00"));
        assert_eq!((&versioned[4..21], &versioned[77..]), ("S0007252TB07E0001", "2AE082"));

        // The same components under a variant pair form the same key.
        let part = |clear| variant(KeyType::Zpk, Scheme::U, clear);
        let (one, two) = (part("AE8F54BA29CD2CC73883D373DFF7A8B5"), part("75B6A89BC7946DD06186A89DCE9B5D9B"));
        let formed = variant(KeyType::Zpk, Scheme::U, "DA38FD20EF58401658047AEF106DF42F");
        assert_eq!(ask(&written(&format!("A4 2 001 U {one} {two}"))), format!("A500{formed}2AE082"));
    }

    #[test]
    fn what_forms_no_key_has_its_code() {
        let part = |clear: &str| variant(KeyType::Zpk, Scheme::U, clear);
        let one = part("AE8F54BA29CD2CC73883D373DFF7A8B5");
        let even = part("AE8F54BA29CD2CC73883D373DFF7A8B4");
        // With `one`: a weak half, equal halves.
        let weak = part("AE8F54BA29CD2CC76186A89DCE9B5D9B");
        let halves = (part("AE8F54BA29CD2CC7AE8F54BA29CD2CC7"), part("75B6A89BC7946DD075B6A89BC7946DD0"));
        let rows = [
            ("A4 1 FFF S COMP1 %01".to_owned(), "03"),
            ("A4 0 FFF S %01".to_owned(), "03"),
            ("A4 2 FFF S COMP1".to_owned(), "15"),
            ("A4 2 FFF S COMP1 %01".to_owned(), "26"),
            ("A4 2 FFF S COMP1 COMP1 %01".to_owned(), "B5"),
            ("A4 2 FFF S COMP1 ZMK1 %01".to_owned(), "B5"),
            ("A4 2 FFF U COMP1 COMP2 %01".to_owned(), "26"),
            ("A4 2 FFF S COMP1 COMP2 %00".to_owned(), "A1"),
            ("A4 2 FFF S COMP1 COMP2 %03".to_owned(), "13"),
            ("A4 2 FFF S COMP1 COMP2 # c3 00".to_owned(), "A9"),
            ("A4 2 XYZ S COMP1 COMP2 %01".to_owned(), "28"),
            (format!("A4 2 001 U {one} COMP2"), "A1"),
            (format!("A4 2 001 U {one} {one}"), "B5"),
            (format!("A4 2 001 U {one} {even}"), "10"),
            (format!("A4 2 001 U {one} {weak}"), "10"),
            (format!("A4 2 001 U {} {}", halves.0, halves.1), "75"),
        ];
        for (command, expected) in rows {
            assert_eq!(code(&command), expected, "{command}");
        }
    }

    #[test]
    fn what_has_no_check_value_has_its_code() {
        let even = "U1EF828AA8F6B80EB83E19FBC373F3A84";
        let rows = [
            (format!("BU 01 1 {even}"), "10"),
            (format!("KA {even} 01"), "10"),
            ("BU ZZ 1 U1EF828AA8F6B80EB83E19FBC373F3A85".to_owned(), "04"),
            ("BU 01 2 U1EF828AA8F6B80EB83E19FBC373F3A85".to_owned(), "05"),
            ("BU FF 1 ZMK1".to_owned(), "05"),
            ("BU FF F ZMK1 ; 001".to_owned(), "A1"),
            ("BU FF F ZMK1 ; FFF ; 00 2".to_owned(), "15"),
            ("BU FF F ZMK1 ; FFF ; 00 1 %07".to_owned(), "13"),
            (
                "BU FF F S00072K0TB00E0001DB045F29C053EEFF7B9425B3A88C7258EB7EA7E40E2C47878647073A"
                    .to_owned(),
                "A4",
            ),
        ];
        for (command, expected) in rows {
            assert_eq!(code(&command), expected, "{command}");
        }
    }

    #[test]
    fn a_key_migrates_to_another_scheme_and_nothing_else() {
        let x = variant(KeyType::Zpk, Scheme::X, "C7152C20BC2C830EA7EC9E8334ABE3FE");
        let u = "U1EF828AA8F6B80EB83E19FBC373F3A85";
        assert_eq!(ask(&written(&format!("BW 01 1 {x} ;001 ;0U0"))), format!("BX00{u}6F1E3F"));
        assert_eq!(ask(&written(&format!("BW 01 1 {u} ;001 ;0X0 !11"))), format!("BX00{x}6F1E3F"));
        let block = ask(&written("BW FF F ZPK1 ;FFF ;0S0 %02"));
        assert_eq!((&block[..21], &block[block.len() - 6..]), ("BX00S10096P0TB00E0002", "4FE9FD"));
        let (_, clear) = hsm().lmks.open_block(&block[4..block.len() - 6]).unwrap();
        assert_eq!(hex::encode_upper(&*clear), "98519E45CBB9291F49EFAD4AFEFDDC79");
        let rows = [
            (format!("BW 01 1 {u} ;402 ;0U0"), "45"),
            (format!("BW 01 1 {u} ;ABC ;0U0"), "45"),
            (format!("BW 01 1 {u} ;FFF ;0S0 %01"), "44"),
            (format!("BW 01 1 {u} ;001 ;0S0"), "44"),
            (format!("BW 01 2 {u} ;001 ;0U0"), "05"),
            (format!("BW QQ 1 {u} ;001 ;0U0"), "04"),
            (format!("BW 02 1 {u} ;002 ;0U0"), "10"),
            (format!("BW 01 1 {u} ;001 ;0T0"), "27"),
            (format!("BW 01 1 {u} ;001 ;0U0 %01"), "A1"),
        ];
        for (command, expected) in rows {
            assert_eq!(code(&command), expected, "{command}");
        }
    }
}
