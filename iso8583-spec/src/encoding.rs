//! The octets behind a field's content: packed decimal, hexadecimal, and the classes of characters.
//!
//! Knows no field and no dialect.

use serde::Deserialize;

/// On which side packed digits stand when their number is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Align {
    /// The pad nibble comes last.
    Left,
    /// The pad nibble comes first.
    Right,
}

/// Where the first offending octet is in packed digits, from the start of `wire`. The pad nibble of an odd
/// count is not looked at.
pub(crate) fn bcd_fault(wire: &[u8], digits: usize, align: Align) -> Option<usize> {
    let (mut first, mut last) = (0xFF, 0xFF);
    if digits % 2 == 1 {
        match align {
            Align::Left => last = 0xF0,
            Align::Right => first = 0x0F,
        }
    }
    let bad = |octet: u8| octet & (octet << 1 | octet << 2) & 0x88 != 0;
    let (head, middle) = wire.split_first()?;
    let Some((tail, middle)) = middle.split_last() else { return bad(head & first & last).then_some(0) };
    // No early exit in the middle: good digits are the rule, and this is done many octets at a time.
    let seen = middle.iter().fold(0, |seen, octet| seen | octet & (octet << 1 | octet << 2));
    if seen & 0x88 == 0 && !bad(head & first) && !bad(tail & last) {
        return None;
    }
    if bad(head & first) {
        return Some(0);
    }
    middle.iter().position(|octet| bad(*octet)).map(|index| index + 1).or(Some(wire.len() - 1))
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The character of a nibble: `0` to `9`, `A` to `F`.
pub(crate) fn nibble_char(nibble: u8) -> u8 {
    UPPER.get(usize::from(nibble & 15)).copied().unwrap_or(b'0')
}

/// The value of a hexadecimal digit of either case.
pub(crate) fn nibble_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Writes the characters of `out.len()` packed nibbles into `out`.
pub(crate) fn unpack(wire: &[u8], align: Align, out: &mut [u8]) {
    let skip = usize::from(align == Align::Right && out.len() % 2 == 1);
    let nibbles = wire.iter().flat_map(|octet| [octet >> 4, octet & 15]).skip(skip);
    for (slot, nibble) in out.iter_mut().zip(nibbles) {
        *slot = nibble_char(nibble);
    }
}

/// Appends hexadecimal digits as packed nibbles; an odd count is padded with `pad`. The digits have been checked:
/// what is none counts as 0.
pub(crate) fn pack(digits: &[u8], align: Align, pad: u8, out: &mut Vec<u8>) {
    let value = |digit: u8| nibble_value(digit).unwrap_or(0);
    let mut rest = digits;
    if digits.len() % 2 == 1
        && align == Align::Right
        && let Some((first, tail)) = digits.split_first()
    {
        out.push(pad << 4 | value(*first));
        rest = tail;
    }
    let (pairs, single) = rest.as_chunks::<2>();
    out.extend(pairs.iter().map(|[high, low]| value(*high) << 4 | value(*low)));
    out.extend(single.iter().map(|digit| value(*digit) << 4 | pad));
}

/// Appends octets as upper-case hexadecimal.
pub(crate) fn write_hex(octets: &[u8], out: &mut Vec<u8>) {
    out.extend(octets.iter().flat_map(|octet| [nibble_char(octet >> 4), nibble_char(*octet)]));
}

/// The octets behind hexadecimal digits; `None` when a digit is none or their number is odd.
pub(crate) fn read_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, single) = digits.as_chunks::<2>();
    if !single.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble_value(*high)? << 4 | nibble_value(*low)?)).collect()
}

/// Upper-case hexadecimal of octets, as text.
pub(crate) fn hex_text(octets: &[u8]) -> String {
    octets.iter().flat_map(|octet| [nibble_char(octet >> 4), nibble_char(*octet)]).map(char::from).collect()
}

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const BLANK: u8 = 4;
const SPECIAL: u8 = 8;
const HEX: u8 = 16;
const SEPARATOR: u8 = 32;

const CLASSES: [u8; 256] = classes();

#[allow(clippy::indexing_slicing, reason = "a constant: an index out of bounds would not compile")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0x20;
    while code < 0x7F {
        table[code] = class_of(code as u8);
        code += 1;
    }
    table
}

const fn class_of(code: u8) -> u8 {
    match code {
        b' ' => BLANK,
        b'0'..=b'9' => DIGIT | HEX,
        b'D' => LETTER | HEX | SEPARATOR,
        b'A'..=b'F' => LETTER | HEX,
        b'a'..=b'z' | b'A'..=b'Z' => LETTER,
        b'=' => SPECIAL | SEPARATOR,
        _ => SPECIAL,
    }
}

/// A class of characters, named by ISO 8583's own letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class(u8);

impl Class {
    /// `n`: digits.
    pub(crate) const N: Class = Class(DIGIT);
    /// `a`: letters and the blanks that pad them.
    pub(crate) const A: Class = Class(LETTER | BLANK);
    /// `an`: letters, digits and the blanks that pad them.
    pub(crate) const AN: Class = Class(LETTER | DIGIT | BLANK);
    /// `ans`: every printable ASCII character.
    pub(crate) const ANS: Class = Class(LETTER | DIGIT | BLANK | SPECIAL);
    /// `ns`: digits and special characters.
    pub(crate) const NS: Class = Class(DIGIT | BLANK | SPECIAL);
    /// `z`: digits and the separator of track data, `=` or `D`.
    pub(crate) const Z: Class = Class(DIGIT | SEPARATOR);
    /// Hexadecimal digits, upper case.
    pub(crate) const HEX: Class = Class(HEX);

    fn holds(self, octet: u8) -> bool {
        CLASSES.get(usize::from(octet)).is_some_and(|classes| classes & self.0 != 0)
    }

    /// Index of the first octet outside the class.
    pub(crate) fn fault(self, text: &[u8]) -> Option<usize> {
        text.iter().position(|octet| !self.holds(*octet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_digits() {
        // (digits, align, pad, wire)
        let rows: [(&str, Align, u8, &[u8]); 7] = [
            ("000100", Align::Right, 0, &[0x00, 0x01, 0x00]),
            ("021", Align::Left, 0, &[0x02, 0x10]),
            ("012", Align::Right, 0, &[0x00, 0x12]),
            ("123", Align::Right, 15, &[0xF1, 0x23]),
            ("123", Align::Left, 15, &[0x12, 0x3F]),
            ("7", Align::Left, 0, &[0x70]),
            ("", Align::Left, 0, &[]),
        ];
        for (digits, align, pad, wire) in rows {
            let mut out = Vec::new();
            pack(digits.as_bytes(), align, pad, &mut out);
            assert_eq!(out, wire, "{digits}");
            let mut back = vec![0; digits.len()];
            unpack(wire, align, &mut back);
            assert_eq!(back, digits.as_bytes());
            assert_eq!(bcd_fault(wire, digits.len(), align), None, "{digits}");
        }
    }

    #[test]
    fn letters_in_packed_digits_are_found_where_they_are() {
        for length in 1..=20_usize {
            for place in 0..length * 2 {
                for letter in 0xA..=0xF {
                    let mut wire = vec![0x99; length];
                    wire[place / 2] = if place % 2 == 0 { letter << 4 } else { letter };
                    assert_eq!(bcd_fault(&wire, length * 2, Align::Left), Some(place / 2));
                    let last = place == length * 2 - 1;
                    let expected = (!last).then_some(place / 2);
                    assert_eq!(bcd_fault(&wire, length * 2 - 1, Align::Left), expected);
                    let expected = (place != 0).then_some(place / 2);
                    assert_eq!(bcd_fault(&wire, length * 2 - 1, Align::Right), expected);
                }
            }
        }
    }

    #[test]
    fn every_octet_of_every_class() {
        let rows: [(Class, &str, &str); 7] = [
            (Class::N, "0123456789", "A a/:=D \u{7f}"),
            (Class::A, "AZaz ", "0-@[`{"),
            (Class::AN, "AZaz09 ", "-@[`{=\n"),
            (Class::ANS, "AZaz09 ~!=", "\n\u{7f}\0"),
            (Class::NS, "09-/= ", "Aa\n"),
            (Class::Z, "09=D", "Aa EFC"),
            (Class::HEX, "0123456789ABCDEF", "aGg =\n"),
        ];
        for (class, good, bad) in rows {
            assert_eq!(class.fault(good.as_bytes()), None, "{class:?}");
            for octet in bad.bytes() {
                assert_eq!(class.fault(&[octet]), Some(0), "{class:?} {octet:02X}");
            }
            assert_eq!(class.fault(&[0x80]), Some(0));
        }
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(read_hex(b"00fFA9"), Some(vec![0x00, 0xFF, 0xA9]));
        assert_eq!(read_hex(b"00f"), None);
        assert_eq!(read_hex(b"0g"), None);
        assert_eq!(hex_text(&[0x0A, 0xF0]), "0AF0");
    }
}
