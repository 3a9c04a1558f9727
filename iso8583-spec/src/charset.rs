//! Characters: the classes that ISO 8583 names by letters, and the code pages they are written in.
//!
//! Text is the 95 printable characters of ASCII whatever the code page, or where a dialect asks for it the 191 of
//! ISO 8859-1, an octet each. Knows no field.

use crate::word::{Range, are_good, bad_alnum, bad_alpha};

/// Which characters content `ans` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repertoire {
    /// The printable ones of ASCII.
    Ascii,
    /// The printable ones of ISO 8859-1.
    Latin1,
}

impl Repertoire {
    /// Both by the name in a dialect file.
    pub(crate) const NAMES: [(&str, Repertoire); 2] =
        [("ascii", Repertoire::Ascii), ("latin-1", Repertoire::Latin1)];
}

/// A code page of EBCDIC, all of them of ISO 8859-1's characters. They differ in `! [ ] ^ |` and in a few beyond
/// ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodePage {
    /// 037, United States.
    Ebcdic037,
    /// 500, international.
    Ebcdic500,
    /// 1047, open systems.
    Ebcdic1047,
}

impl CodePage {
    fn tables(self) -> &'static Tables {
        match self {
            CodePage::Ebcdic037 => &EBCDIC_037,
            CodePage::Ebcdic500 => &EBCDIC_500,
            CodePage::Ebcdic1047 => &EBCDIC_1047,
        }
    }

    /// The character of ISO 8859-1 behind an octet; 0 when it is none of the printable ones.
    pub(crate) fn latin1(self, octet: u8) -> u8 {
        self.tables().to_latin1.get(usize::from(octet)).copied().unwrap_or(0)
    }

    /// The octet of a character of ISO 8859-1; a blank for what is not printable.
    pub(crate) fn octet(self, latin1: u8) -> u8 {
        self.tables().from_latin1.get(usize::from(latin1)).copied().unwrap_or(EBCDIC_BLANK)
    }
}

const EBCDIC_BLANK: u8 = 0x40;

struct Tables {
    to_latin1: [u8; 256],
    from_latin1: [u8; 256],
}

/// Code page 037 from `0x20` to `0x7E` of ASCII (IBM Character Data Representation Architecture, CCSID 37).
const PRINTABLE_037: [u8; 95] = [
    0x40, 0x5A, 0x7F, 0x7B, 0x5B, 0x6C, 0x50, 0x7D, 0x4D, 0x5D, 0x5C, 0x4E, 0x6B, 0x60, 0x4B, 0x61, 0xF0,
    0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0x7A, 0x5E, 0x4C, 0x7E, 0x6E, 0x6F, 0x7C, 0xC1,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xBA, 0xE0, 0xBB, 0xB0, 0x6D, 0x79, 0x81, 0x82, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xC0, 0x4F, 0xD0, 0xA1,
];

/// Code page 037 from `0xA0` to `0xFF` of ISO 8859-1.
const LATIN_037: [u8; 96] = [
    0x41, 0xAA, 0x4A, 0xB1, 0x9F, 0xB2, 0x6A, 0xB5, 0xBD, 0xB4, 0x9A, 0x8A, 0x5F, 0xCA, 0xAF, 0xBC, 0x90,
    0x8F, 0xEA, 0xFA, 0xBE, 0xA0, 0xB6, 0xB3, 0x9D, 0xDA, 0x9B, 0x8B, 0xB7, 0xB8, 0xB9, 0xAB, 0x64, 0x65,
    0x62, 0x66, 0x63, 0x67, 0x9E, 0x68, 0x74, 0x71, 0x72, 0x73, 0x78, 0x75, 0x76, 0x77, 0xAC, 0x69, 0xED,
    0xEE, 0xEB, 0xEF, 0xEC, 0xBF, 0x80, 0xFD, 0xFE, 0xFB, 0xFC, 0xAD, 0xAE, 0x59, 0x44, 0x45, 0x42, 0x46,
    0x43, 0x47, 0x9C, 0x48, 0x54, 0x51, 0x52, 0x53, 0x58, 0x55, 0x56, 0x57, 0x8C, 0x49, 0xCD, 0xCE, 0xCB,
    0xCF, 0xCC, 0xE1, 0x70, 0xDD, 0xDE, 0xDB, 0xDC, 0x8D, 0x8E, 0xDF,
];

static EBCDIC_037: Tables = tables(&[]);
static EBCDIC_500: Tables = tables(&[
    (b'!', 0x4F),
    (b'[', 0x4A),
    (b']', 0x5A),
    (b'^', 0x5F),
    (b'|', 0xBB),
    (0xA2, 0xB0),
    (0xAC, 0xBA),
]);
static EBCDIC_1047: Tables =
    tables(&[(b'[', 0xAD), (b']', 0xBD), (b'^', 0x5F), (0xA8, 0xBB), (0xAC, 0xB0), (0xDD, 0xBA)]);

#[allow(clippy::indexing_slicing, reason = "a constant: an index out of bounds would not compile")]
const fn tables(differences: &[(u8, u8)]) -> Tables {
    let mut from_latin1 = [EBCDIC_BLANK; 256];
    let mut index = 0;
    while index < 96 {
        if index < 95 {
            from_latin1[index + 0x20] = PRINTABLE_037[index];
        }
        from_latin1[index + 0xA0] = LATIN_037[index];
        index += 1;
    }
    index = 0;
    while index < differences.len() {
        from_latin1[differences[index].0 as usize] = differences[index].1;
        index += 1;
    }
    let mut to_latin1 = [0; 256];
    index = 0x20;
    while index < 256 {
        if class_of(index as u8) != 0 {
            to_latin1[from_latin1[index] as usize] = index as u8;
        }
        index += 1;
    }
    Tables { to_latin1, from_latin1 }
}

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const BLANK: u8 = 4;
const SPECIAL: u8 = 8;
const HEX: u8 = 16;
const SEPARATOR: u8 = 32;
const BEYOND_ASCII: u8 = 64;

static CLASSES: [u8; 256] = classes();

#[allow(clippy::indexing_slicing, reason = "a constant: an index out of bounds would not compile")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
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
        0x21..=0x7E => SPECIAL,
        0xA0..=0xFF => BEYOND_ASCII,
        _ => 0,
    }
}

/// A class of characters, named by ISO 8583's own letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// `ans` where the dialect asks for it: every printable character of ISO 8859-1.
    pub(crate) const LATIN1: Class = Class(Class::ANS.0 | BEYOND_ASCII);
    /// `ns`: digits and special characters.
    pub(crate) const NS: Class = Class(DIGIT | BLANK | SPECIAL);
    /// `z`: digits and the separator of track data, `=` or `D`.
    pub(crate) const Z: Class = Class(DIGIT | SEPARATOR);
    /// Hexadecimal digits, upper case.
    pub(crate) const HEX: Class = Class(HEX);

    #[inline]
    fn holds(self, latin1: u8) -> bool {
        CLASSES.get(usize::from(latin1)).is_some_and(|classes| classes & self.0 != 0)
    }

    /// Whether every octet is a character of the class. Good content is the rule: there is no early exit,
    /// so that eight octets are judged at a time.
    #[inline]
    pub(crate) fn holds_all(self, text: &[u8]) -> bool {
        match self {
            Class::N => are_good(text, |word| Range::DIGITS.bad(word)),
            Class::ANS => are_good(text, |word| Range::PRINTABLE.bad(word)),
            Class::A => are_good(text, bad_alpha),
            Class::AN => are_good(text, bad_alnum),
            Class(wanted) => text.iter().fold(true, |good, octet| {
                good & CLASSES.get(usize::from(*octet)).is_some_and(|classes| classes & wanted != 0)
            }),
        }
    }

    /// Index of the first octet that is no character of the class.
    #[inline]
    pub(crate) fn fault(self, text: &[u8]) -> Option<usize> {
        if self.holds_all(text) { None } else { self.search(text) }
    }

    #[cold]
    fn search(self, text: &[u8]) -> Option<usize> {
        text.iter().position(|octet| !self.holds(*octet))
    }

    /// Index of the first octet that is no character of the class in a code page of EBCDIC.
    pub(crate) fn ebcdic_fault(self, page: CodePage, text: &[u8]) -> Option<usize> {
        text.iter().position(|octet| !self.holds(page.latin1(*octet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            for octet in 0x80..=0xFF {
                assert_eq!(class.fault(&[octet]), Some(0));
            }
        }
        for octet in 0..=255 {
            let expected = matches!(octet, 0x20..=0x7E | 0xA0..=0xFF);
            assert_eq!(Class::LATIN1.holds_all(&[octet]), expected, "{octet:02X}");
        }
    }

    #[test]
    fn a_bad_octet_is_found_at_every_place_of_every_length() {
        for class in [Class::N, Class::ANS, Class::AN, Class::LATIN1] {
            for length in 1..=20 {
                for place in 0..length {
                    for octet in 0..=255 {
                        let mut text = vec![b'5'; length];
                        text[place] = octet;
                        let expected = (!class.holds(octet)).then_some(place);
                        assert_eq!(
                            class.fault(&text),
                            expected,
                            "{class:?} {octet:02X} at {place} of {length}"
                        );
                    }
                }
            }
        }
        // Two bad octets side by side: a borrow must not hide one.
        for first in 0..=255 {
            for second in [0, 0x2F, 0x3A, 0x7F, 0x80, 0xFF] {
                let text = [b'1', first, second, b'4', b'5', b'6', b'7', b'8'];
                assert_eq!(Class::N.holds_all(&text), text.iter().all(u8::is_ascii_digit));
            }
        }
    }

    #[test]
    fn code_pages_there_and_back() {
        // (page, octets, characters in ISO 8859-1): where the pages differ, and one row of each of their blocks.
        let rows: [(CodePage, &[u8], &str); 6] = [
            (CodePage::Ebcdic037, &[0x5A, 0xBA, 0xBB, 0xB0, 0x4F, 0xC1, 0x89, 0xF0, 0x40], "![]^|Ai0 "),
            (CodePage::Ebcdic500, &[0x4F, 0x4A, 0x5A, 0x5F, 0xBB, 0xD1, 0x99, 0xF9, 0x4B], "![]^|Jr9."),
            (CodePage::Ebcdic1047, &[0x5A, 0xAD, 0xBD, 0x5F, 0x4F, 0xE9, 0xA2, 0xF5, 0x61], "![]^|Zs5/"),
            (CodePage::Ebcdic037, &[0x4A, 0x5F, 0xBD, 0xAD, 0x41, 0x51, 0xFC, 0x59, 0xDF], "¢¬¨Ý\u{A0}éÜßÿ"),
            (CodePage::Ebcdic500, &[0xB0, 0xBA, 0xBD, 0xAD, 0x41, 0x51, 0xFC, 0x59, 0xDF], "¢¬¨Ý\u{A0}éÜßÿ"),
            (CodePage::Ebcdic1047, &[0x4A, 0xB0, 0xBB, 0xBA, 0x41, 0x51, 0xFC, 0x59, 0xDF], "¢¬¨Ý\u{A0}éÜßÿ"),
        ];
        for (page, octets, text) in rows {
            let read: String = octets.iter().map(|octet| char::from(page.latin1(*octet))).collect();
            assert_eq!(read, text, "{page:?}");
            let written: Vec<u8> = text.chars().map(|c| page.octet(u8::try_from(c).unwrap())).collect();
            assert_eq!(written, octets, "{page:?}");
            for latin1 in (0x20..=0x7E).chain(0xA0..=0xFF) {
                assert_eq!(page.latin1(page.octet(latin1)), latin1);
            }
            assert_eq!((0..=255).filter(|octet| page.latin1(*octet) != 0).count(), 191);
            assert_eq!(Class::LATIN1.ebcdic_fault(page, &[0x51, 0x15]), Some(1), "a new line is no text");
            assert_eq!(
                Class::ANS.ebcdic_fault(page, &[0x40, 0x51]),
                Some(1),
                "an accent only when asked for"
            );
        }
    }
}
