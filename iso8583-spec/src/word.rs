//! Eight octets looked at together, as a word.
//!
//! A judgement of a word is the highest bit of each of its octets. No addition carries from one octet into the next, or
//! it does so only out of an octet that is bad already.

/// 1 in every octet.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of every octet.
const HIGH: u64 = 0x80 * ONES;
/// The highest bit of every nibble.
const EIGHTS: u64 = 0x88 * ONES;

/// Octets from a lowest to a highest one, or any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    /// The lowest, eight times.
    low: u64,
    /// What takes the highest to `7F`, eight times.
    up: u64,
    /// [`HIGH`], or 0 where every octet is good.
    high: u64,
}

impl Range {
    pub(crate) const ANY: Range = Range { low: 0, up: 0, high: 0 };
    pub(crate) const DIGITS: Range = Range::of(b'0', b'9');
    pub(crate) const PRINTABLE: Range = Range::of(b' ', b'~');

    const fn of(low: u8, high: u8) -> Range {
        Range { low: low as u64 * ONES, up: (0x7F - high) as u64 * ONES, high: HIGH }
    }

    /// Not 0 when an octet of the word is outside.
    #[inline]
    pub(crate) fn bad(self, word: u64) -> u64 {
        (word | word.wrapping_sub(self.low) | word.wrapping_add(self.up)) & self.high
    }
}

/// The octets that are from `low` to `high`, both of ASCII.
#[inline]
fn within(word: u64, low: u8, high: u8) -> u64 {
    let ascii = word & !HIGH;
    let not_below = ascii + u64::from(0x80 - low) * ONES;
    let above = ascii + u64::from(0x7F - high) * ONES;
    not_below & !above & !word & HIGH
}

/// The octets that are from `low` to `high`, lower-case letters both, in either case.
#[inline]
fn within_letters(word: u64, low: u8, high: u8) -> u64 {
    within(word | (0x20 * ONES), low, high)
}

/// Not 0 when an octet of the word is no letter and no blank.
#[inline]
pub(crate) fn bad_alpha(word: u64) -> u64 {
    !(within_letters(word, b'a', b'z') | within(word, b' ', b' ')) & HIGH
}

/// Not 0 when an octet of the word is no letter, no digit and no blank.
#[inline]
pub(crate) fn bad_alnum(word: u64) -> u64 {
    bad_alpha(word) & !within(word, b'0', b'9')
}

/// Not 0 when a nibble of the word is above 9.
#[inline]
pub(crate) fn bad_digits(word: u64) -> u64 {
    word & (word << 1 | word << 2) & EIGHTS
}

/// Whether no octet is bad: `bad` is not 0 for a word that has a bad one. The last octets are loaded together with
/// those before them, which are looked at twice. Good content is the rule: there is no early exit.
#[inline(always)]
pub(crate) fn are_good(content: &[u8], bad: impl Fn(u64) -> u64) -> bool {
    let seen = if let (Some(first), Some(last)) = (content.first_chunk::<8>(), content.last_chunk::<8>()) {
        let ends = bad(u64::from_le_bytes(*first)) | bad(u64::from_le_bytes(*last));
        if content.len() <= 16 { ends } else { ends | inner_words(content, bad) }
    } else if let (Some(first), Some(last)) = (content.first_chunk::<4>(), content.last_chunk::<4>()) {
        bad(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32)
    } else if let (Some(first), Some(last)) = (content.first_chunk::<2>(), content.last_chunk::<2>()) {
        let both = u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << 16;
        bad(both | both << 32)
    } else {
        content.first().map_or(0, |octet| bad(u64::from(*octet) * ONES))
    };
    seen == 0
}

/// What is bad between the first eight octets and the last.
#[inline]
fn inner_words(content: &[u8], bad: impl Fn(u64) -> u64) -> u64 {
    let (words, _) = content.as_chunks::<8>();
    words.iter().skip(1).fold(0, |seen, word| seen | bad(u64::from_le_bytes(*word)))
}

/// Appends content of which no octet is bad. What is short is stored as the words that were looked at, and cut to its
/// length: a call to copy a few octets takes longer.
#[inline(always)]
pub(crate) fn append_good(content: &[u8], bad: impl Fn(u64) -> u64, out: &mut Vec<u8>) -> bool {
    let end = out.len() + content.len();
    if content.len() <= 16 {
        if let (Some(first), Some(last)) = (content.first_chunk::<8>(), content.last_chunk::<8>()) {
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            if bad(first) | bad(last) != 0 {
                return false;
            }
            // The last octets but those that are among the first; eight in all are cut off again below.
            #[allow(clippy::cast_possible_truncation, reason = "at most 64")]
            let rest = last.wrapping_shr(128 - 8 * content.len() as u32);
            out.extend_from_slice(&(u128::from(first) | u128::from(rest) << 64).to_le_bytes());
            out.truncate(end);
            return true;
        }
        if let (Some(first), Some(last)) = (content.first_chunk::<4>(), content.last_chunk::<4>()) {
            let (first, last) = (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
            if bad(first | last << 32) != 0 {
                return false;
            }
            out.extend_from_slice(&(first | last << (8 * content.len() - 32)).to_le_bytes());
            out.truncate(end);
            return true;
        }
    }
    let is_good = are_good(content, bad);
    if is_good {
        out.extend_from_slice(content);
    }
    is_good
}

/// The number behind eight hexadecimal digits of either case.
#[inline]
pub(crate) fn hex_value(digits: [u8; 8]) -> Option<u64> {
    let word = u64::from_be_bytes(digits);
    if within(word, b'0', b'9') | within_letters(word, b'a', b'f') != HIGH {
        return None;
    }
    let mut value = (word & (0x0F * ONES)) + 9 * ((word >> 6) & ONES);
    value = (value | value >> 4) & 0x00FF_00FF_00FF_00FF;
    value = (value | value >> 8) & 0x0000_FFFF_0000_FFFF;
    Some((value | value >> 16) & 0xFFFF_FFFF)
}

/// Eight upper-case hexadecimal digits of a number.
#[inline]
pub(crate) fn hex_digits(number: u32) -> [u8; 8] {
    let mut value = u64::from(number);
    value = (value | value << 16) & 0x0000_FFFF_0000_FFFF;
    value = (value | value << 8) & 0x00FF_00FF_00FF_00FF;
    value = (value | value << 4) & (0x0F * ONES);
    let letters = (value + 6 * ONES) >> 4 & ONES;
    (value + 0x30 * ONES + 7 * letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Judge = fn(u64) -> u64;

    #[test]
    fn every_octet_in_every_place_of_every_length() {
        for octet in 0..=u8::MAX {
            // (judgement, good filler, whether the octet is good)
            let rows: [(Judge, u8, bool); 6] = [
                (|word| Range::ANY.bad(word), 0, true),
                (|word| Range::DIGITS.bad(word), b'9', octet.is_ascii_digit()),
                (|word| Range::PRINTABLE.bad(word), b'~', (b' '..=b'~').contains(&octet)),
                (bad_alpha, b'Z', octet.is_ascii_alphabetic() || octet == b' '),
                (bad_alnum, b' ', octet.is_ascii_alphanumeric() || octet == b' '),
                (bad_digits, 0x90, octet >> 4 < 10 && octet & 15 < 10),
            ];
            for (row, (bad, filler, is_good)) in rows.into_iter().enumerate() {
                for length in 1..=25 {
                    for place in 0..length {
                        let mut content = vec![filler; length];
                        content[place] = octet;
                        assert_eq!(
                            are_good(&content, bad),
                            is_good,
                            "{row}: {octet:02X} at {place} of {length}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn hexadecimal_digits_eight_at_a_time() {
        for number in [0, 1, 0x1234_5678, 0x9ABC_DEF0, 0xFFFF_FFFF] {
            let digits = hex_digits(number);
            assert_eq!(digits, format!("{number:08X}").as_bytes());
            assert_eq!(hex_value(digits), Some(u64::from(number)));
            let lower = <[u8; 8]>::try_from(digits.to_ascii_lowercase()).unwrap();
            assert_eq!(hex_value(lower), Some(u64::from(number)));
        }
        for place in 0..8 {
            for octet in 0..=255 {
                let mut digits = *b"01aF9c5B";
                digits[place] = octet;
                assert_eq!(hex_value(digits).is_some(), octet.is_ascii_hexdigit(), "{octet:02X} at {place}");
            }
        }
    }
}
