//! Keys to and from other zones, under a zone master key (ZMK).

use super::code::Code;
use super::fields::Fields;
use super::wrapping::{Family, Key, Place, Zone, narrowed};
use super::{Answer, Commands, HostHsm};
use crate::hsm::des;
use crate::hsm::key_block::header::FullHeader;

pub(super) const COMMANDS: Commands = &[(b"A6", import), (b"A8", export)];

/// Usages of the standard, and those of a payShield that say which of their keys it is: terminal or zone.
const NARROWER: [([u8; 2], [u8; 2]); 4] =
    [(*b"P0", *b"71"), (*b"P0", *b"72"), (*b"K0", *b"51"), (*b"K0", *b"52")];

/// `A6`: type (3), ZMK, key, scheme [%nn] [& usage (2), optional blocks] [# usage (2), mode, version (2),
/// exportability, optional blocks] → key, check value.
///
/// `&` changes the usage of a key block to a narrower one, `#` is the header of a key that came without. Of even
/// parity: done, with a warning and odd parity.
fn import(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let family = fields.family()?;
    let (zmk, key) = (fields.key()?, fields.key()?);
    let form = fields.form()?;
    let lmk = fields.lmk()?;
    let change = if fields.takes(b'&') { Some((fields.array()?, fields.optional_blocks()?)) } else { None };
    let asked = fields.asked()?;
    let place = Place { family, form, lmk: lmk.or(fields.end()?) };
    let mut key = hsm.receive(&hsm.zone(family, zmk, &Zone::INCOMING)?, family, key)?;
    if let Some((usage, optional)) = change {
        let header = key.header.as_mut().ok_or(Code::INPUT)?;
        if header.fixed.usage != usage && !NARROWER.contains(&(header.fixed.usage, usage)) {
            return Err(Code::USAGE);
        }
        header.fixed.usage = usage;
        header.optional.extend(optional);
    }
    key.header = match (family, key.header.take(), asked) {
        (Family::Blocks, Some(header), None) => Some(header),
        (Family::Blocks, None, Some(asked)) => Some(asked.header(key.algorithm())?),
        (Family::Variant(_), Some(header), None) => {
            stays_without_header(family, &header)?;
            None
        }
        (Family::Variant(_), None, None) => None,
        (_, _, _) => return Err(Code::INPUT),
    };
    let code = forced_odd(&mut key)?;
    let fields = hsm.hold(&place, &key)? + &key.check_value()?;
    Ok(Answer { code, fields: fields.into_bytes() })
}

/// That a key may lose its header: a variant LMK keeps a type only.
fn stays_without_header(family: Family, header: &FullHeader) -> Result<(), Code> {
    family.takes(header.fixed.usage)?;
    if !matches!(header.fixed.algorithm, b'D' | b'T') {
        return Err(Code::KEY_ALGORITHM);
    }
    if matches!(header.fixed.exportability, b'E' | b'S') { Ok(()) } else { Err(Code::EXPORT) }
}

/// Forces odd parity, and says whether that changed the key.
fn forced_odd(key: &mut Key) -> Result<Code, Code> {
    match key.odd() {
        Ok(()) => key.strong().map(|()| Code::DONE),
        Err(Code::SOURCE_PARITY) => {
            des::set_odd_parity(&mut key.clear);
            key.strong().map(|()| Code::MISMATCH)
        }
        Err(other) => Err(other),
    }
}

/// `A8`: type (3) [; `0` ZMK or `1` TMK], ZMK or TMK, key, scheme [%nn] [& exportability] [! TR-31 version] [# usage
/// (2), mode, version (2), exportability, optional blocks] → key, check value.
///
/// `#` is the header that a variant key goes with in a key block.
fn export(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let family = fields.family()?;
    let role = Zone::outgoing(fields.marked(b';')?.unwrap_or(b'0'))?;
    let (zmk, key) = (fields.key()?, fields.key()?);
    let form = fields.form()?;
    let lmk = fields.lmk()?;
    let exportability = fields.marked(b'&')?;
    let version = fields.marked(b'!')?;
    let asked = fields.asked()?;
    hsm.lmk(lmk.or(fields.end()?))?;
    let zone = hsm.zone(family, zmk, role)?;
    let mut key = hsm.held(family, key).map_err(Code::of_destination)?;
    key.odd().map_err(Code::of_destination)?;
    key.leaving(form)?;
    if let Some(asked) = asked {
        if key.header.is_some() {
            return Err(Code::INPUT);
        }
        let header = asked.header(key.algorithm())?;
        family.takes(header.fixed.usage)?;
        key.header = Some(header);
    }
    if let Some(header) = &mut key.header {
        narrowed(header, exportability)?;
    }
    Ok(Answer::done(hsm.send(&zone, form, version, &key)? + &key.check_value()?))
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyField;
    use super::super::transcripts::{KEYS, ask, permissive, written};
    use super::super::wrapping::Form;
    use super::*;
    use crate::hsm::key_block::header::Header;
    use crate::hsm::variant_lmk::{KeyType, Scheme};
    use zeroize::Zeroizing;

    const ZPK1: &str = "98519E45CBB9291F49EFAD4AFEFDDC79";
    /// A ZPK and a ZMK under the variant test LMK.
    const ZPK: &str = "U1EF828AA8F6B80EB83E19FBC373F3A85";
    const ZMK: &str = "U1457FF6ADF6250C66C368416B4C9D383";

    fn hsm() -> HostHsm {
        permissive(0)
    }

    fn named(name: &str) -> &'static str {
        KEYS.iter().find(|(key, _)| *key == name).unwrap().1
    }

    /// What an answer that is done holds between its code and the check value, and that value.
    fn done(command: &str) -> (String, String) {
        let answer = ask(&written(command));
        assert_eq!(&answer[2..4], "00", "{command}");
        let (key, kcv) = answer[4..].split_at(answer.len() - 10);
        (key.to_owned(), kcv.to_owned())
    }

    /// The key of a block under an LMK.
    fn clear(block: &str) -> String {
        hex::encode_upper(&*hsm().lmks.open_block(block).unwrap().1)
    }

    /// The key that travels under a ZMK.
    fn received(family: Family, zmk: &str, key: &str) -> String {
        let hsm = hsm();
        let zone = hsm.zone(family, KeyField(zmk), &Zone::INCOMING).ok().unwrap();
        hex::encode_upper(&*hsm.receive(&zone, family, KeyField(key)).ok().unwrap().clear)
    }

    /// A key as a block under the LMK, its header in the seven characters of usage to exportability.
    fn block(header: &str, clear: &str) -> String {
        let [u0, u1, algorithm, mode, v0, v1, exportability] = *header.as_bytes() else { panic!("{header}") };
        let fixed = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
        let family = Family::Blocks;
        let clear = Zeroizing::new(hex::decode(clear).unwrap());
        let key = Key { family, header: Some(FullHeader::from(fixed)), clear };
        hsm().hold(&Place { family, form: Form::Thales, lmk: None }, &key).unwrap()
    }

    fn variant(kind: KeyType, scheme: Scheme, clear: &str) -> String {
        hsm().lmks.put_as(None, kind, scheme, &hex::decode(clear).unwrap()).unwrap()
    }

    #[test]
    fn a_key_goes_out_and_comes_in_as_on_a_device() {
        let (out, kcv) = done("A8 FFF ZMK1 ZPK1 S %01 & N");
        assert_eq!((&out[..17], out.len(), &*kcv), ("S00072P0TB00N00FF", 73, "4FE9FD"));
        assert_eq!(received(Family::Blocks, named("ZMK1"), &out), ZPK1);
        // What the device sent twice, and took in.
        let rows = [
            out.as_str(),
            "S00072P0TB00N00FFE1D89671C973C7F0DAF91CB2EBF37949D811004295CF66B6AF9CF6A8",
            "S00072P0TB00N00FFE1D89671C973C7F0DAF91CB2EBF379493C08975679001172C89A0AF8",
        ];
        for sent in rows {
            let (held, kcv) = done(&format!("A6 FFF ZMK1 {sent} S %01"));
            assert_eq!((&held[..17], &*kcv), ("S00072P0TB00N0001", "4FE9FD"), "{sent}");
            assert_eq!(clear(&held), ZPK1, "{sent}");
        }
    }

    #[test]
    fn blocks_of_another_vendor_come_in() {
        // A payShield 10K's sample blocks of versions A, B and C, its ZMK under our LMK.
        let zmk = block("K0TB00E", "EFE0853B256B583D868F251CE99EA1D9");
        let rows = [
            "A0072K0TN00N0000F40D5672C6D0EC86F860BA88D44D00F0CA9A8CE8CD2F640287A9A9EB",
            "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F445EA2680F6751088F9F1C228",
            "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
            "C0072K0TN00N0000C9B875FF7A5316BF221C09ED52080DE0B45632A4EA9CE87699CB565E",
        ];
        for (at, sent) in rows.into_iter().enumerate() {
            let command = format!("A6 FFF {zmk} R{sent} S %01 & 52 00");
            // The second is altered.
            if at == 1 {
                assert_eq!(ask(&written(&command)), "A7A4");
                continue;
            }
            let (held, _) = done(&command);
            assert_eq!(&held[..17], "S0007252TN00N0001", "{sent}");
            assert_eq!(clear(&held), "5DB50B454F8389ADCE573BE50861F2BF", "{sent}");
        }
    }

    #[test]
    fn every_scheme_goes_out_and_comes_back() {
        let sensitive = block("P0TB00S", ZPK1);
        let rows = [
            ("S %01 & E", "S00072P0TB00E00FF", ""),
            ("R %01", "RB0080P0TB00S0000", ""),
            ("R ! A", "RA0072P0TB00S0000", ""),
            ("R & N ! C", "RC0072P0TB00N0000", ""),
            ("U", "U", "# P0 B 00 E 00"),
            ("X %01", "X", "# P0 B 00 E 00"),
        ];
        for (scheme, head, header) in rows {
            let (out, kcv) = done(&format!("A8 FFF ZMK1 {sensitive} {scheme}"));
            assert!(out.starts_with(head) && kcv == "4FE9FD", "{scheme} {out}");
            let (back, kcv) = done(&format!("A6 FFF ZMK1 {out} S %01 {header}"));
            assert_eq!((clear(&back).as_str(), &*kcv), (ZPK1, "4FE9FD"), "{scheme}");
            assert_eq!(&back[6..10], "P0TB", "{scheme}");
        }
        // Variant keys: their clear value is published.
        for (scheme, header) in [("U", ""), ("X", ""), ("S", "# 72 B 00 E 00"), ("R", "# P0 B 00 E 00")] {
            let (out, kcv) = done(&format!("A8 001 {ZMK} {ZPK} {scheme} {header}"));
            let found = received(Family::Variant(KeyType::Zpk), ZMK, &out);
            assert_eq!((&*found, &*kcv), ("C7152C20BC2C830EA7EC9E8334ABE3FE", "6F1E3F"), "{scheme}");
            assert_eq!(done(&format!("A6 001 {ZMK} {out} U")).0, ZPK, "{scheme}");
        }
        // A terminal master key carries too.
        let (out, _) = done("A8 FFF ;1 TMK ZPK1 S");
        assert_eq!(received(Family::Blocks, named("TMK"), &out), ZPK1);
    }

    #[test]
    fn even_parity_is_a_warning_and_set_right() {
        let sent = |clear: &str| {
            let zone =
                hsm().zone(Family::Variant(KeyType::Zpk), KeyField(ZMK), &Zone::INCOMING).ok().unwrap();
            let clear = Zeroizing::new(hex::decode(clear).unwrap());
            let key = Key { family: Family::Variant(KeyType::Zpk), header: None, clear };
            hsm().send(&zone, Form::Variant(Scheme::X), None, &key).unwrap()
        };
        let even = sent("C7152C20BC2C830EA7EC9E8334ABE3FF");
        assert_eq!(ask(&written(&format!("A6 001 {ZMK} {even} U"))), format!("A701{ZPK}6F1E3F"));
        // Twice the same half; a weak half.
        let rows = [
            ("C7152C20BC2C830EC7152C20BC2C830E", "75"),
            ("C7152C20BC2C830EC7152C20BC2C830F", "75"),
            ("C7152C20BC2C830E0101010101010101", "10"),
            ("C7152C20BC2C830E0000000000000000", "10"),
        ];
        for (clear, code) in rows {
            let command = format!("A6 001 {ZMK} {} U", sent(clear));
            assert_eq!(ask(&written(&command)), format!("A7{code}"), "{clear}");
        }
    }

    #[test]
    fn what_may_not_go_or_come_has_its_code() {
        let never = block("P0TB00N", ZPK1);
        let single_as_double = block("K0TB00E", "98519E45CBB9291F98519E45CBB9291F");
        let outgoing_only = block("K0TE00E", "642C7904A4D5C238CD6E7A9D76D36449");
        let sent = "S00072P0TB00N00FFE1D89671C973C7F0DAF91CB2EBF37949D811004295CF66B6AF9CF6A8";
        let altered = sent.replace("E1D8", "E1D9");
        let even_zmk = variant(KeyType::Zmk, Scheme::U, "851A0D9D0B2A1602622AD0B0E9E6B071");
        let even_zpk = variant(KeyType::Zpk, Scheme::U, "C7152C20BC2C830EA7EC9E8334ABE3FF");
        let rows = [
            (format!("A8 FFF ZMK1 {never} S %01"), "AA"),
            (format!("A8 FFF ZMK1 {never} S %01 & E"), "AA"),
            (format!("A8 FFF ZMK1 {never} R"), "AA"),
            (format!("A8 FFF ZMK1 {never} X"), "AA"),
            ("A8 FFF ZMK1 ZPK1 X".to_owned(), "29"),
            ("A8 FFF ZMK1 ZPK1 S & S".to_owned(), "AA"),
            ("A8 FFF ZMK1 ZPK1 S & Q".to_owned(), "AA"),
            ("A8 FFF ZMK1 ZPK1 S # P0 B 00 E 00".to_owned(), "15"),
            ("A8 FFF ZMK1 ZPK1 R ! D".to_owned(), "A7"),
            ("A8 FFF ZMK1 COMP1 S".to_owned(), "A9"),
            ("A8 FFF COMP1 ZPK1 S".to_owned(), "A9"),
            ("A8 FFF CVK ZPK1 S".to_owned(), "A6"),
            ("A8 FFF ;2 ZMK1 ZPK1 S".to_owned(), "15"),
            (format!("A8 FFF {single_as_double} ZPK1 S"), "75"),
            (format!("A8 FFF {ZMK} ZPK1 S"), "A1"),
            (format!("A8 FFF ZMK1 {ZPK} S"), "A1"),
            (format!("A8 001 {even_zmk} {ZPK} X"), "10"),
            (format!("A8 001 {ZMK} {even_zpk} X"), "11"),
            (format!("A8 001 {ZMK} {ZPK} S"), "15"),
            (format!("A8 001 {ZMK} {ZPK} S # C0 N 00 E 00"), "A6"),
            (format!("A8 000 {ZMK} {ZMK} X"), "29"),
            (format!("A8 001 {ZMK} {ZPK} T"), "27"),
            (format!("A8 ABC {ZMK} {ZPK} X"), "28"),
            (format!("A6 FFF ZMK1 {altered} S %01"), "A4"),
            (format!("A6 FFF ZMK2 {sent} S %01"), "A4"),
            (format!("A6 FFF {outgoing_only} {sent} S %01"), "A8"),
            (format!("A6 FFF TAK {sent} S %01"), "A6"),
            (format!("A6 FFF ZMK1 {sent} S %01 & C0 00"), "A6"),
            (format!("A6 FFF ZMK1 {sent} S %01 # P0 B 00 E 00"), "15"),
            (format!("A6 FFF ZMK1 {sent} U %01"), "26"),
            (format!("A6 FFF ZMK1 {sent} S %00"), "A1"),
            (format!("A6 FFF ZMK1 {ZPK} S %01"), "15"),
            (format!("A6 FFF ZMK1 {ZPK} S # Q9 B 00 E 00"), "A6"),
            (format!("A6 FFF ZMK1 {ZPK} S # P0 X 00 E 00"), "A8"),
            (format!("A6 FFF ZMK1 {ZPK} S # P0 B 00 Z 00"), "AA"),
            (format!("A6 FFF ZMK1 {ZPK} S # P0 B c1 E 00"), "A9"),
            (format!("A6 001 {even_zmk} {ZPK} U"), "10"),
        ];
        for (command, code) in rows {
            assert_eq!(&ask(&written(&command))[2..], code, "{command}");
        }
        // A block that says `N` or another usage does not come under a variant LMK.
        let zmk = "642C7904A4D5C238CD6E7A9D76D36449";
        let zmk = variant(KeyType::Zmk, Scheme::U, zmk);
        assert_eq!(ask(&written(&format!("A6 001 {zmk} {sent} U"))), "A7AA");
        assert_eq!(ask(&written(&format!("A6 402 {zmk} {sent} U"))), "A7A6");
    }
}
