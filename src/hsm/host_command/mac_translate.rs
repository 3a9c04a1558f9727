//! Message authentication codes from one key and algorithm to another.

use super::code::Code;
use super::data::Format;
use super::fields::Fields;
use super::mac::Method;
use super::mac_parts::Part;
use super::{Answer, Commands, HostHsm};
use crate::hsm::mac::verify_left;

pub(super) const COMMANDS: Commands = &[(b"MY", translate)];

/// Octets of a MAC, for which the method's first digit is `0`.
const SIZE: usize = 4;

/// `MY`: part (1), format of data (1), of the source and then of the destination algorithm (2), padding (1), key type
/// (3) and key, initial values of both in part 3, length (4), data, MAC (8) → MAC (8), when the first is right.
///
/// Algorithms are `01`, `03` and `06`, their digits, paddings and types those of `M6`. Parts 0 and 3 are served; what the
/// parts before come to, `M6` says under each key.
fn translate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let part = Part::read(fields, Code::MODE)?;
    if !part.is_end() {
        return Err(Code::MODE);
    }
    let format = Format::read(fields, Code::INPUT_FORMAT)?;
    let from = method(fields, b"CV")?;
    let to = method(fields, b"CG")?;
    let from_iv = from.initial_value(part, fields)?;
    let to_iv = to.initial_value(part, fields)?;
    let count = fields.hex_number(4)?;
    let data = format.take(fields, count)?;
    let expected = fields.hex(SIZE)?;
    hsm.lmk(fields.end()?)?;
    let from_key = hsm.lmks.open(from.key, &from.role)?;
    let to_key = hsm.lmks.open(to.key, &to.role).map_err(Code::of_destination)?;
    verify_left(&from.compute(&from_key, part, &from_iv, &data)?, &expected)?;
    Ok(Answer::done(hex::encode_upper(to.compute(&to_key, part, &to_iv, &data)?)))
}

/// A method whose MAC is of eight digits.
fn method<'a>(fields: &mut Fields<'a>, modes: &'static [u8]) -> Result<Method<'a>, Code> {
    let method = Method::read(fields, modes)?;
    if method.size == SIZE { Ok(method) } else { Err(Code::ALGORITHM) }
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::{wrapped, wrapped_for};
    use super::super::transcripts::{codes, exchanges, refused_when_cut};

    const SINGLE: &str = "0123456789ABCDEF";
    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    #[test]
    fn a_published_mac_becomes_another() {
        // ISO/IEC 9797-1, annex A: one message under both algorithms, with paddings 1 and 2.
        let one = wrapped(b"M1", b'D', SINGLE);
        let three = wrapped(b"M3", b'T', K0);
        let data = hex::encode("Now is the time for all ");
        let macs = [
            (format!("01 1 FFF {one}"), "70A30640"),
            (format!("01 2 FFF {one}"), "10E1F0F1"),
            (format!("03 1 FFF {three}"), "A1C72E74"),
            (format!("03 2 FFF {three}"), "E9086230"),
            (format!("03 0 FFF {three}"), "A1C72E74"),
        ];
        for (from, mac) in &macs {
            for (to, other) in &macs {
                exchanges(&[(
                    format!("MY 0 1 {from} {to} 0030 {data} {mac} %01"),
                    &format!("MZ 00 {other}"),
                )]);
            }
            let (to, _) = &macs[0];
            exchanges(&[(format!("MY 0 0 {from} {to} 0018 ={data} {mac}"), "MZ 00 70A30640")]);
            exchanges(&[(format!("MY 0 1 {from} {to} 0030 {data} 00000000"), "MZ 01")]);
        }
    }

    /// The last part of a published chain, under two keys whose MACs before it `M6` says.
    #[test]
    fn a_last_part_is_of_what_the_parts_before_came_to() {
        let key = wrapped(b"M3", b'T', "838652DF68A246046DAB6104583B201A");
        let method = format!("03 1 FFF {key}");
        exchanges(&[(
            format!(
                "MY 3 2 {method} {method} B12874BED7137303 B12874BED7137303 0010 0000000011111111 0D99127F"
            ),
            "MZ 00 0D99127F",
        )]);
    }

    #[test]
    fn a_command_that_is_cut_off_is_refused() {
        let method = format!("03 1 FFF {}", wrapped(b"M3", b'T', K0));
        let data = hex::encode("Now is the time for all ");
        refused_when_cut(&[format!("MY 0 1 {method} {method} 0030 {data} A1C72E74")]);
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let one = format!("01 1 FFF {}", wrapped(b"M1", b'D', SINGLE));
        let three = format!("03 1 FFF {}", wrapped(b"M3", b'T', K0));
        let makes = format!("03 1 FFF {}", wrapped_for(b"M3", b'T', b'G', K0));
        let even = "01 1 003 U8463435FC4B4DAA0C49025272C29B12D";
        let data = "0008 ABCDEF12";
        for (command, code) in [
            (format!("MY 0 1 {one} {three} {data} 00000000"), "01"),
            (format!("MY 1 1 {one} {three} {data} 00000000"), "02"),
            (format!("MY 2 1 {one} {three} {data} 00000000"), "02"),
            (format!("MY 4 1 {one} {three} {data} 00000000"), "02"),
            (format!("MY 0 3 {one} {three} {data} 00000000"), "03"),
            (format!("MY 0 1 02 1 FFF TAK {three} {data} 00000000"), "04"),
            (format!("MY 0 1 {one} 11 1 FFF TAK {data} 00000000"), "04"),
            (format!("MY 0 1 {one} 01 1 001 TAK {data} 00000000"), "05"),
            (format!("MY 0 1 {one} {three} 0007 ABCDEF1 00000000"), "06"),
            (format!("MY 0 1 {one} {three} 0000 00000000"), "06"),
            (format!("MY 0 1 {one} 01 3 FFF TAK {data} 00000000"), "09"),
            (format!("MY 0 1 {even} {one} {data} 00000000"), "10"),
            (format!("MY 0 1 {one} {even} {data} 00000000"), "11"),
            (format!("MY 0 1 {one} {three} {data} 00000000 %09"), "13"),
            (format!("MY 0 1 {one} {three} {data} 0000000"), "15"),
            (format!("MY 0 1 {one} 03 1 FFF TAK {data} 00000000"), "A6"),
            (format!("MY 0 1 {makes} {one} {data} 00000000"), "A8"),
        ] {
            codes(&[(&command, code)]);
        }
    }
}
