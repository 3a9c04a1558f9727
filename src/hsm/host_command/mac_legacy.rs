//! Message authentication codes of older commands, where the key's length says the algorithm: ANSI X9.9 under a single
//! key, ANSI X9.19 under a double one. In a key block its usage must be that algorithm's.

use super::code::Code;
use super::data::Format;
use super::fields::Fields;
use super::key::{KeyField, Opened, Role};
use super::mac_parts::{Part, Piece};
use super::{Answer, Commands, HostHsm};
use crate::hsm::cipher::Padding;
use crate::hsm::des::KeyLength;
use crate::hsm::mac::{algorithm1, algorithm3, verify_left};
use crate::hsm::variant_lmk::KeyType;

pub(super) const COMMANDS: Commands =
    &[(b"MA", generate), (b"MC", verify), (b"ME", translate), (b"MQ", of_zone_in_parts), (b"MS", in_parts)];

/// Modes of use of keys that make MACs, and of keys that verify them.
const MAKES: &[u8] = b"CG";
const VERIFIES: &[u8] = b"CV";
const TAK: &[KeyType] = &[KeyType::Tak];
const ZAK: &[KeyType] = &[KeyType::Zak];

/// What a key must be; of a key block the usages are those of the algorithm for its length (X9.143, 6.3.1).
fn role(key: KeyField<'_>, types: &'static [KeyType], modes: &'static [u8]) -> Role {
    const X99: &[[u8; 2]] = &[*b"M0", *b"M1"];
    const X919: &[[u8; 2]] = &[*b"M3"];
    let is_single = key.is_block() && key.0.get(8..9) == Some("D");
    Role { types, usages: if is_single { X99 } else { X919 }, modes, is_for_pins: false }
}

/// X9.9 or X9.19 of a part of a message: 8 octets.
fn mab(key: &Opened, of: &Piece<'_>) -> Result<[u8; 8], Code> {
    let key = key.des()?;
    let key = key.as_ref();
    match key.length() {
        KeyLength::Single => of.chained(key, |data| Ok(algorithm1(key, Padding::Method1, data))),
        KeyLength::Double => of.chained(&key.first(), |data| algorithm3(key, Padding::Method1, data)),
        KeyLength::Triple => Err(Code::KEY_LENGTH),
    }
}

/// The left four octets for a message in one part, as it is sent.
fn mac(key: &Opened, data: &[u8]) -> Result<[u8; 4], Code> {
    let [a, b, c, d, ..] = mab(key, &Piece { part: Part::Only, iv: &[0; 8], data })?;
    Ok([a, b, c, d])
}

fn hexadecimal(octets: &[u8]) -> Answer {
    Answer::done(hex::encode_upper(octets))
}

impl<'a> Fields<'a> {
    /// Data without a length: up to the mark of a trailer, or to the end. No LMK is named behind them.
    fn unmeasured(&mut self) -> Result<&'a [u8], Code> {
        let rest = self.clone().octets(self.left())?;
        let end = rest.iter().position(|octet| *octet == 0x19).unwrap_or(rest.len());
        let data = self.octets(end)?;
        self.end()?;
        Ok(data)
    }
}

/// `MA`: TAK, data → MAC (8).
fn generate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let tak = fields.key()?;
    let data = fields.unmeasured()?;
    let tak = hsm.lmks.open(tak, &role(tak, TAK, MAKES))?;
    Ok(hexadecimal(&mac(&tak, data)?))
}

/// `MC`: TAK, MAC (8), data → nothing.
fn verify(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let tak = fields.key()?;
    let expected = fields.hex(4)?;
    let data = fields.unmeasured()?;
    let tak = hsm.lmks.open(tak, &role(tak, TAK, VERIFIES))?;
    verify_left(&mac(&tak, data)?, &expected)?;
    Ok(Answer::done([]))
}

/// `ME`: TAK, another TAK, MAC under the first (8), data → MAC under the other (8), when the first is right.
fn translate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (from, to) = (fields.key()?, fields.key()?);
    let expected = fields.hex(4)?;
    let data = fields.unmeasured()?;
    let from = hsm.lmks.open(from, &role(from, TAK, VERIFIES))?;
    let to = hsm.lmks.open(to, &role(to, TAK, MAKES)).map_err(Code::of_destination)?;
    verify_left(&mac(&from, data)?, &expected)?;
    Ok(hexadecimal(&mac(&to, data)?))
}

/// A part of a message: some octets, and whole blocks where others follow.
fn check_length(part: Part, data: &[u8]) -> Result<(), Code> {
    let is_whole = part.is_end() || data.len().is_multiple_of(8);
    if data.is_empty() || !is_whole { Err(Code::DATA_LENGTH) } else { Ok(()) }
}

/// `MQ`: part (1), ZAK, initial value (16) in parts 2 and 3, length in 3 hexadecimal digits, octets → MAC (16), which
/// is the next initial value in parts 1 and 2.
fn of_zone_in_parts(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let part = Part::read(fields, Code::PART)?;
    let zak = fields.key()?;
    let iv = part.initial_value(fields, 8)?;
    let count = fields.hex_number(3)?;
    let data = fields.octets(count)?;
    hsm.lmk(fields.end()?)?;
    check_length(part, data)?;
    let zak = hsm.lmks.open(zak, &role(zak, ZAK, MAKES))?;
    Ok(hexadecimal(&mab(&zak, &Piece { part, iv: &iv, data })?))
}

/// `MS`: part (1), type (`0` TAK, `1` ZAK), length of the key (`0` single, `1` double), format of data (`0` octets, `1`
/// hexadecimal digits), key, initial value (16) in parts 2 and 3, number of octets (4), data → MAC as of `MQ`.
fn in_parts(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let part = Part::read(fields, Code::PART)?;
    let types = match fields.text(1)? {
        "0" => TAK,
        "1" => ZAK,
        _ => return Err(Code::TYPE_CODE),
    };
    let length = match fields.text(1)? {
        "0" => KeyLength::Single,
        "1" => KeyLength::Double,
        _ => return Err(Code::LENGTH),
    };
    let is_binary = match fields.text(1)? {
        "0" => true,
        "1" => false,
        _ => return Err(Code::INPUT_FORMAT),
    };
    let key = fields.key()?;
    let iv = part.initial_value(fields, 8)?;
    let count = fields.hex_number(4)?;
    let data = if is_binary { Format::Binary.take(fields, count)? } else { fields.hex(count)? };
    hsm.lmk(fields.end()?)?;
    check_length(part, &data)?;
    let key = hsm.lmks.open(key, &role(key, types, MAKES))?;
    if key.des()?.length() != length {
        return Err(Code::LENGTH);
    }
    Ok(hexadecimal(&mab(&key, &Piece { part, iv: &iv, data: &data })?))
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::{wrapped, wrapped_for};
    use super::super::transcripts::{
        ask, codes, exchanges, permissive, refused_when_cut, transcript, written,
    };
    use super::*;
    use crate::hsm::variant_lmk::{Scheme, TEST_PAIRS, VariantLmk};

    const SINGLE: &str = "0123456789ABCDEF";
    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";
    /// Published with what each of its parts comes to.
    const CHAIN: &str = "838652DF68A246046DAB6104583B201A";

    /// A key under the variant LMK.
    fn variant(kind: KeyType, clear: &str) -> String {
        let lmk = VariantLmk::new(zeroize::Zeroizing::new(TEST_PAIRS));
        let scheme = match clear.len() {
            16 => Scheme::Z,
            32 => Scheme::U,
            _ => Scheme::T,
        };
        lmk.encrypt(kind, scheme, &hex::decode(clear).unwrap()).unwrap()
    }

    /// FIPS 113, and ISO/IEC 9797-1, annex A: the key under either LMK, the message, its MAC.
    fn published(kind: KeyType) -> [(String, String, &'static str); 4] {
        let fips = hex::encode("7654321 Now is the time for ");
        let iso = hex::encode("Now is the time for all ");
        [
            (wrapped(b"M1", b'D', SINGLE), fips.clone(), "F1D30F6849312CA4"),
            (variant(kind, SINGLE), fips, "F1D30F6849312CA4"),
            (wrapped(b"M3", b'T', K0), iso.clone(), "A1C72E74EA3FA9B6"),
            (variant(kind, K0), iso, "A1C72E74EA3FA9B6"),
        ]
    }

    #[test]
    fn macs_without_a_length_are_the_published_ones() {
        for (tak, data, whole) in published(KeyType::Tak) {
            let mac = &whole[..8];
            exchanges(&[
                (format!("MA {tak} ={data}"), &format!("MB 00 {mac}")),
                (format!("MC {tak} {mac} ={data}"), "MD 00"),
                (format!("MC {tak} {} ={data}", &whole[8..]), "MD 01"),
                (format!("MC {tak} {mac} ={data}01"), "MD 01"),
            ]);
            // A trailer is no part of the data; a number of an LMK would be.
            exchanges(&[
                (format!("MA {tak} ={data}19 tail"), &format!("MB 00 {mac} \x19tail")),
                (format!("MC {tak} {mac} ={data}19"), "MD 00 \x19"),
                (format!("MC {tak} {mac} ={data} %01"), "MD 01"),
            ]);
        }
        // No data are a block of zeros: the key's check value.
        exchanges(&[(format!("MA {}", variant(KeyType::Tak, K0)), "MB 00 08D7B4FB")]);
    }

    /// Published under the variant test LMK: two TAKs of single length.
    #[test]
    fn macs_are_those_of_another_implementation() {
        let (one, other) = ("C6F34693FB39CB6E", "E96E2363E063746F");
        transcript(&[
            (&format!("MA {one} givemeSOMEMACing"), "MB 00 170C2BDB"),
            (&format!("MC {one} 170C2BDB givemeSOMEMACing"), "MD 00"),
            (&format!("MC {one} 170C2BDB givemeSOMEMACinh"), "MD 01"),
            (&format!("ME {one} {other} 170C2BDB givemeSOMEMACing"), "MF 00 D7DA46FC"),
            (&format!("ME {one} {other} 170C2BDB givemeSOMEMACinh"), "MF 01"),
        ]);
    }

    #[test]
    fn a_mac_is_translated_when_it_is_right() {
        let iso = hex::encode("Now is the time for all ");
        let (from, to) = (variant(KeyType::Tak, K0), wrapped_for(b"M1", b'D', b'G', SINGLE));
        exchanges(&[
            (format!("ME {from} {to} A1C72E74 ={iso}"), "MF 00 70A30640"),
            (format!("ME {from} {from} A1C72E74 ={iso}19 x"), "MF 00 A1C72E74 \x19x"),
            (format!("ME {from} {to} A1C72E75 ={iso}"), "MF 01"),
        ]);
    }

    #[test]
    fn large_messages_have_the_published_macs() {
        for (zak, data, mac) in published(KeyType::Zak) {
            let (count, double) = (data.len() / 2, usize::from(mac.starts_with('A')));
            exchanges(&[
                (format!("MQ 0 {zak} {count:03X} ={data} %01"), &format!("MR 00 {mac}")),
                (format!("MS 0 1 {double} 0 {zak} {count:04X} ={data}"), &format!("MT 00 {mac}")),
                (format!("MS 0 1 {double} 1 {zak} {count:04X} {data} %01"), &format!("MT 00 {mac}")),
            ]);
        }
        let (zak, tak) = (variant(KeyType::Zak, CHAIN), wrapped(b"M3", b'T', CHAIN));
        for (part, iv, next) in [
            ("1", "", "A9D4D96683B51333"),
            ("2", "A9D4D96683B51333", "DA46CEC9E61AF065"),
            ("2", "DA46CEC9E61AF065", "56A27E35442BD07D"),
            ("2", "56A27E35442BD07D", "B12874BED7137303"),
            ("3", "B12874BED7137303", "0D99127F7734AA58"),
        ] {
            let digits = "30".repeat(8) + &"31".repeat(8);
            exchanges(&[
                (format!("MQ {part} {zak} {iv} 010 0000000011111111"), &format!("MR 00 {next}")),
                (format!("MS {part} 0 1 0 {tak} {iv} 0010 0000000011111111"), &format!("MT 00 {next}")),
                (format!("MS {part} 0 1 1 {tak} {iv} 0010 {digits}"), &format!("MT 00 {next}")),
            ]);
        }
    }

    #[test]
    fn a_command_that_is_cut_off_is_refused() {
        let (tak, zak) = (variant(KeyType::Tak, K0), wrapped(b"M3", b'T', K0));
        refused_when_cut(&[
            format!("MQ 0 {zak} 004 ABCD %01"),
            format!("MQ 3 {zak} 0000000000000000 004 ABCD"),
            format!("MS 0 0 1 0 {tak} 0004 ABCD"),
            format!("MS 2 0 1 1 {tak} 0000000000000000 0008 0011223344556677"),
        ]);
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let (tak, zak) = (variant(KeyType::Tak, K0), variant(KeyType::Zak, K0));
        let even = "U8463435FC4B4DAA0C49025272C29B12D";
        let triple = variant(KeyType::Tak, "0123456789ABCDEFFEDCBA987654321089ABCDEF01234567");
        let makes = wrapped_for(b"M3", b'T', b'G', K0);
        let verifies = wrapped_for(b"M3", b'T', b'V', K0);
        let aes = wrapped(b"M3", b'A', "2B7E151628AED2A6ABF7158809CF4F3C");
        let rows = [
            (format!("MA {zak} ABCD"), "10"),
            (format!("MA {even} ABCD"), "10"),
            (format!("MA {triple} ABCD"), "27"),
            // Of a double-length block the usage is that of X9.19.
            ("MA TAK ABCD".into(), "A6"),
            ("MA CVK ABCD".into(), "A6"),
            (format!("MA {verifies} ABCD"), "A8"),
            (format!("MC {makes} 00000000 ABCD"), "A8"),
            (format!("MA {aes} ABCD"), "A7"),
            ("MA Q".into(), "26"),
            ("MA U8463435FC4B4DAA0".into(), "15"),
            (format!("MC {tak} 0000000"), "15"),
            (format!("MC {tak} 0000000G ABCD"), "15"),
            (format!("MC {tak} 00000000 ABCD"), "01"),
            (format!("MA {tak} ABCD =19{}", hex::encode("x".repeat(33))), "15"),
            (format!("ME {zak} {tak} 00000000 ABCD"), "10"),
            (format!("ME {tak} {zak} 00000000 ABCD"), "11"),
            (format!("ME {tak} {triple} 00000000 ABCD"), "01"),
            (format!("ME {makes} {verifies} 00000000 ABCD"), "A8"),
            (format!("MQ 4 {zak} 004 ABCD"), "05"),
            (format!("MQ 0 {tak} 004 ABCD"), "10"),
            (format!("MQ 0 {zak} 000"), "80"),
            (format!("MQ 1 {zak} 004 ABCD"), "80"),
            (format!("MQ 2 {zak} 0000000000000000 004 ABCD"), "80"),
            (format!("MQ 2 {zak} 000000000000000G 008 ABCDABCD"), "15"),
            (format!("MQ 0 {zak} 005 ABCD"), "15"),
            (format!("MQ 0 {zak} 003 ABCD"), "15"),
            (format!("MQ 0 {zak} 004 ABCD %09"), "13"),
            (format!("MQ 0 {verifies} 004 ABCD"), "A8"),
            (format!("MS 4 0 1 0 {tak} 0004 ABCD"), "05"),
            (format!("MS 0 2 1 0 {tak} 0004 ABCD"), "04"),
            (format!("MS 0 0 2 0 {tak} 0004 ABCD"), "06"),
            (format!("MS 0 0 0 0 {tak} 0004 ABCD"), "06"),
            (format!("MS 0 0 1 2 {tak} 0004 ABCD"), "03"),
            (format!("MS 0 1 1 0 {tak} 0004 ABCD"), "10"),
            (format!("MS 0 0 1 0 {zak} 0004 ABCD"), "10"),
            (format!("MS 0 0 1 0 {tak} 0000"), "80"),
            (format!("MS 1 0 1 0 {tak} 0004 ABCD"), "80"),
            (format!("MS 0 0 1 1 {tak} 0004 ABCDEFGH"), "15"),
            (format!("MS 0 0 1 1 {tak} 0004 ABCDEF"), "15"),
            (format!("MS 0 0 1 0 {tak} 0004 ABCD %09"), "13"),
        ];
        for (command, code) in rows {
            codes(&[(&command, code)]);
        }
    }

    /// What the device of the transcripts says of its own TAK, in a block for algorithm 1.
    #[test]
    fn a_mac_of_one_block_is_that_of_the_longer_commands() {
        let (_, clear) = permissive(0).lmks.open_block(written_key("TAK")).unwrap();
        let tak = wrapped(b"M3", b'T', &hex::encode_upper(clear.as_slice()));
        transcript(&[(&format!("MA {tak} =ABCDEF12"), "MB 00 F9369211")]);
        assert_eq!(ask(&written(&format!("MC {tak} F9369211 =ABCDEF12"))), "MD00");
    }

    fn written_key(name: &str) -> &'static str {
        super::super::transcripts::KEYS.iter().find(|(key, _)| *key == name).unwrap().1
    }
}
