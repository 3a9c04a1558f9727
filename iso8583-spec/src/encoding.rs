//! The octets behind a field's content: packed decimal and hexadecimal.
//!
//! Knows no field and no dialect.

/// On which side packed digits stand when their number is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[inline]
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

/// The nibble of a character of packed content: a hexadecimal digit, or the separator of track data, `=` for `D`.
/// What is neither counts as 0.
static NIBBLES: [u8; 256] = nibbles();

#[allow(clippy::indexing_slicing, reason = "a constant: an index out of bounds would not compile")]
const fn nibbles() -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match code as u8 {
            digit @ b'0'..=b'9' => digit - b'0',
            letter @ b'A'..=b'F' => letter - b'A' + 10,
            letter @ b'a'..=b'f' => letter - b'a' + 10,
            b'=' => 0xD,
            _ => 0,
        };
        code += 1;
    }
    table
}

/// Appends hexadecimal digits as packed nibbles; an odd count is padded with `pad`. The digits have been checked.
pub(crate) fn pack(digits: &[u8], align: Align, pad: u8, out: &mut Vec<u8>) {
    let value = |digit: u8| NIBBLES.get(usize::from(digit)).copied().unwrap_or(0);
    let mut rest = digits;
    if digits.len() % 2 == 1
        && align == Align::Right
        && let Some((first, tail)) = digits.split_first()
    {
        out.push(pad << 4 | value(*first));
        rest = tail;
    }
    let (pairs, single) = rest.as_chunks::<2>();
    let start = out.len();
    out.resize(start + pairs.len(), 0);
    for (slot, [high, low]) in out.iter_mut().skip(start).zip(pairs) {
        *slot = value(*high) << 4 | value(*low);
    }
    out.extend(single.iter().map(|digit| value(*digit) << 4 | pad));
}

/// Appends octets as hexadecimal, each digit as `digit` gives it.
pub(crate) fn write_hex(octets: &[u8], digit: impl Fn(u8) -> u8, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + octets.len() * 2, 0);
    let (pairs, _) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<2>();
    for (pair, octet) in pairs.iter_mut().zip(octets) {
        *pair = [digit(octet >> 4), digit(octet & 15)];
    }
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
    fn hexadecimal() {
        assert_eq!(read_hex(b"00fFA9"), Some(vec![0x00, 0xFF, 0xA9]));
        assert_eq!(read_hex(b"00f"), None);
        assert_eq!(read_hex(b"0g"), None);
        assert_eq!(hex_text(&[0x0A, 0xF0]), "0AF0");
    }
}
