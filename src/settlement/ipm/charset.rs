//! The two character sets of a clearing file. Knows nothing of records.
//!
//! EBCDIC is code page 500. It differs from code page 037 in `! [ ] ^ |` alone, so text without these
//! reads the same under both; [`plain`] keeps them out of what we write.

/// The characters of a clearing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// EBCDIC, code page 500.
    #[default]
    Cp500,
    /// ISO 8859-1, of which ASCII is a part.
    Latin1,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cp500, Self::Latin1];

    /// Its name in configuration, which is Python's name of the codec too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cp500 => "cp500",
            Self::Latin1 => "latin_1",
        }
    }

    /// The encoding of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Appends ISO 8859-1 characters in this encoding.
    pub(super) fn encode(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Latin1 => out.extend_from_slice(text),
            Self::Cp500 => out.extend(text.iter().map(|c| at(&FROM_LATIN1, *c))),
        }
    }

    /// The ISO 8859-1 characters of bytes in this encoding.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Latin1 => bytes.to_vec(),
            Self::Cp500 => bytes.iter().map(|c| at(&TO_LATIN1, *c)).collect(),
        }
    }
}

/// Text that both character sets, and both EBCDIC code pages in use, render alike: printable ASCII
/// without `! [ ] ^ |`, and without `\`, which separates the parts of DE 43. Everything else becomes a
/// blank; at most `max` characters, without blanks around.
#[must_use]
pub fn plain(text: &str, max: usize) -> String {
    let kept = |c: char| matches!(c, ' '..='~') && !matches!(c, '!' | '[' | ']' | '^' | '|' | '\\');
    let plain: String = text.chars().map(|c| if kept(c) { c } else { ' ' }).collect();
    plain.trim().chars().take(max).collect::<String>().trim_end().to_owned()
}

const fn at(table: &[u8; 256], index: u8) -> u8 {
    table[index as usize]
}

const FROM_LATIN1: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[TO_LATIN1[code] as usize] = code as u8;
        code += 1;
    }
    table
};

#[rustfmt::skip]
const TO_LATIN1: [u8; 256] = [
    0x00, 0x01, 0x02, 0x03, 0x9C, 0x09, 0x86, 0x7F, 0x97, 0x8D, 0x8E, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,
    0x10, 0x11, 0x12, 0x13, 0x9D, 0x85, 0x08, 0x87, 0x18, 0x19, 0x92, 0x8F, 0x1C, 0x1D, 0x1E, 0x1F,
    0x80, 0x81, 0x82, 0x83, 0x84, 0x0A, 0x17, 0x1B, 0x88, 0x89, 0x8A, 0x8B, 0x8C, 0x05, 0x06, 0x07,
    0x90, 0x91, 0x16, 0x93, 0x94, 0x95, 0x96, 0x04, 0x98, 0x99, 0x9A, 0x9B, 0x14, 0x15, 0x9E, 0x1A,
    0x20, 0xA0, 0xE2, 0xE4, 0xE0, 0xE1, 0xE3, 0xE5, 0xE7, 0xF1, 0x5B, 0x2E, 0x3C, 0x28, 0x2B, 0x21,
    0x26, 0xE9, 0xEA, 0xEB, 0xE8, 0xED, 0xEE, 0xEF, 0xEC, 0xDF, 0x5D, 0x24, 0x2A, 0x29, 0x3B, 0x5E,
    0x2D, 0x2F, 0xC2, 0xC4, 0xC0, 0xC1, 0xC3, 0xC5, 0xC7, 0xD1, 0xA6, 0x2C, 0x25, 0x5F, 0x3E, 0x3F,
    0xF8, 0xC9, 0xCA, 0xCB, 0xC8, 0xCD, 0xCE, 0xCF, 0xCC, 0x60, 0x3A, 0x23, 0x40, 0x27, 0x3D, 0x22,
    0xD8, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0xAB, 0xBB, 0xF0, 0xFD, 0xFE, 0xB1,
    0xB0, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x70, 0x71, 0x72, 0xAA, 0xBA, 0xE6, 0xB8, 0xC6, 0xA4,
    0xB5, 0x7E, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0xA1, 0xBF, 0xD0, 0xDD, 0xDE, 0xAE,
    0xA2, 0xA3, 0xA5, 0xB7, 0xA9, 0xA7, 0xB6, 0xBC, 0xBD, 0xBE, 0xAC, 0x7C, 0xAF, 0xA8, 0xB4, 0xD7,
    0x7B, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0xAD, 0xF4, 0xF6, 0xF2, 0xF3, 0xF5,
    0x7D, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F, 0x50, 0x51, 0x52, 0xB9, 0xFB, 0xFC, 0xF9, 0xFA, 0xFF,
    0x5C, 0xF7, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0xB2, 0xD4, 0xD6, 0xD2, 0xD3, 0xD5,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0xB3, 0xDB, 0xDC, 0xD9, 0xDA, 0x9F,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        let all: Vec<u8> = (0..=255).collect();
        for encoding in Encoding::ALL {
            let mut bytes = Vec::new();
            encoding.encode(&all, &mut bytes);
            assert_eq!(encoding.decode(&bytes), all, "{encoding:?}");
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
        }
    }

    /// IBM code page 500, as the code page chart has it.
    #[test]
    fn ebcdic_is_code_page_500() {
        let rows =
            [('0', 0xF0), ('9', 0xF9), ('A', 0xC1), ('z', 0xA9), (' ', 0x40), ('\\', 0xE0), ('[', 0x4A)];
        for (character, code) in rows {
            let mut bytes = Vec::new();
            Encoding::Cp500.encode(&[character as u8], &mut bytes);
            assert_eq!(bytes, [code], "{character}");
        }
    }

    #[test]
    fn text_is_made_plain() {
        let rows = [
            ("TEA HOUSE", 25, "TEA HOUSE"),
            ("  A\\B|C!D[E]F^G ", 25, "A B C D E F G"),
            ("茶 TEA", 25, "TEA"),
            ("LONG NAME", 5, "LONG"),
            ("", 5, ""),
        ];
        for (text, max, want) in rows {
            assert_eq!(plain(text, max), want);
        }
    }
}
