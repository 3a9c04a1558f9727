//! What one field of one dialect looks like: its content, how long it is, how it is written, who may see it.
//!
//! A field has two faces: [`Shape`], the few octets the decoder's loop reads, and [`Field`], what people see.

use serde::Deserialize;

use crate::{
    Mti, Reason,
    encoding::{Align, Class, bcd_fault, nibble_value},
};

/// What a field holds, in the letters of ISO 8583:1987, clause 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Digits.
    N,
    /// Letters.
    A,
    /// Letters and digits.
    An,
    /// Letters, digits and special characters.
    Ans,
    /// Digits and special characters.
    Ns,
    /// Track data: digits and the separator, which reads as `D`.
    Z,
    /// Track data that may be enciphered: any hexadecimal digit.
    Zx,
    /// Octets.
    B,
    /// `C` or `D` and digits.
    #[serde(rename = "x+n")]
    Xn,
}

impl Content {
    /// The letters of the standard.
    pub fn notation(self) -> &'static str {
        match self {
            Content::N => "n",
            Content::A => "a",
            Content::An => "an",
            Content::Ans => "ans",
            Content::Ns => "ns",
            Content::Z => "z",
            Content::Zx => "zx",
            Content::B => "b",
            Content::Xn => "x+n",
        }
    }

    pub(crate) fn class(self) -> Class {
        match self {
            Content::N => Class::N,
            Content::A => Class::A,
            Content::An => Class::AN,
            Content::Ns => Class::NS,
            Content::Z => Class::Z,
            Content::Zx => Class::HEX,
            Content::Ans | Content::B | Content::Xn => Class::ANS,
        }
    }

    /// Whether a fixed field of this content is filled up with blanks on the right.
    pub(crate) fn is_blank_padded(self) -> bool {
        match self {
            Content::A | Content::An | Content::Ans => true,
            Content::N | Content::Ns | Content::Z | Content::Zx | Content::B | Content::Xn => false,
        }
    }

    fn reason(self) -> Reason {
        match self {
            Content::N | Content::Xn => Reason::NotDigit,
            Content::A | Content::An | Content::Ans | Content::Ns | Content::Z | Content::Zx | Content::B => {
                Reason::Character
            }
        }
    }
}

/// Who may see a field. Everything but [`Sensitivity::None`] is masked unless asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Anybody.
    #[default]
    None,
    /// First six and last four digits (PCI DSS 4.0, requirement 3.4.1).
    Pan,
    /// Nothing of it: track data (PCI DSS 4.0, requirement 3.3.1).
    Track,
    /// Nothing of it: a PIN block.
    Pin,
    /// Nothing of it: keys, card verification values, codes that pay.
    Secret,
    /// Chip data: the tags that hold a PAN, track data, a name or a PIN.
    Icc,
}

/// How content becomes octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Data {
    /// Two digits an octet.
    Bcd,
    /// One character an octet.
    Ascii,
    /// As it is.
    Binary,
    /// Two hexadecimal characters for an octet.
    Hex,
}

/// How a length prefix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrefixEncoding {
    /// Packed digits, right-aligned: `LL` is one octet, `LLL` two.
    Bcd,
    /// One ASCII digit an octet.
    Ascii,
    /// A big-endian number: `LL` is one octet, `LLL` two.
    Binary,
}

/// What a length prefix counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrefixUnit {
    /// Digits, characters, or octets of content before they are written as hexadecimal.
    Content,
    /// Octets on the wire.
    Octets,
}

/// The length prefix of a variable field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) digits: u8,
    pub(crate) encoding: PrefixEncoding,
    pub(crate) unit: PrefixUnit,
}

impl Prefix {
    /// Octets on the wire.
    pub(crate) fn width(self) -> usize {
        match self.encoding {
            PrefixEncoding::Ascii => usize::from(self.digits),
            PrefixEncoding::Bcd | PrefixEncoding::Binary => usize::from(self.digits).div_ceil(2),
        }
    }

    /// The number in the prefix; `None` when it is none.
    pub(crate) fn value(self, wire: &[u8]) -> Option<usize> {
        match self.encoding {
            PrefixEncoding::Binary => {
                Some(wire.iter().fold(0, |value, octet| value << 8 | usize::from(*octet)))
            }
            PrefixEncoding::Bcd => wire.iter().try_fold(0, |value, octet| {
                let (high, low) = (octet >> 4, octet & 15);
                (high < 10 && low < 10).then(|| value * 100 + usize::from(high * 10 + low))
            }),
            PrefixEncoding::Ascii => wire.iter().try_fold(0, |value, octet| {
                octet.is_ascii_digit().then(|| value * 10 + usize::from(octet & 15))
            }),
        }
    }

    /// Appends `count`, which fits: the dialect's compiler has seen to it.
    pub(crate) fn write(self, count: usize, out: &mut Vec<u8>) {
        let width = self.width();
        let base = match self.encoding {
            PrefixEncoding::Ascii => 10,
            PrefixEncoding::Bcd => 100,
            PrefixEncoding::Binary => 256,
        };
        let start = out.len();
        out.resize(start + width, 0);
        let mut rest = count;
        for slot in out.iter_mut().skip(start).rev() {
            let place = u8::try_from(rest % base).unwrap_or(0);
            *slot = match self.encoding {
                PrefixEncoding::Ascii => place | b'0',
                PrefixEncoding::Bcd => ((place / 10) << 4) | (place % 10),
                PrefixEncoding::Binary => place,
            };
            rest /= base;
        }
    }

    /// The largest number the prefix can say.
    pub(crate) fn limit(self) -> usize {
        match self.encoding {
            PrefixEncoding::Ascii | PrefixEncoding::Bcd => 10_usize.pow(u32::from(self.digits)) - 1,
            PrefixEncoding::Binary => 256_usize.pow(u32::from(self.digits).div_ceil(2)) - 1,
        }
    }
}

/// A field as the loops of the decoder and the encoder see it. Lengths are in units: digits, characters, or
/// octets of binary content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) content: Content,
    pub(crate) data: Data,
    pub(crate) align: Align,
    /// The nibble beside an odd number of packed digits.
    pub(crate) pad: u8,
    /// The character that parts track data written as characters.
    pub(crate) separator: u8,
    /// `None` for a fixed field.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl Shape {
    pub(crate) fn is_binary(&self) -> bool {
        self.content == Content::B
    }

    /// Octets on the wire of `units` of content, without prefix.
    pub(crate) fn width(&self, units: usize) -> usize {
        match self.data {
            // The sign of an amount keeps an octet of its own before packed digits.
            Data::Bcd if self.content == Content::Xn => 1 + units.saturating_sub(1).div_ceil(2),
            Data::Bcd => units.div_ceil(2),
            Data::Ascii | Data::Binary => units,
            Data::Hex => units * 2,
        }
    }

    /// Units behind the number in a prefix.
    pub(crate) fn units(&self, prefix: Prefix, count: usize) -> usize {
        match (prefix.unit, self.data) {
            (PrefixUnit::Octets, Data::Hex) => count.div_ceil(2),
            (PrefixUnit::Octets, Data::Bcd | Data::Ascii | Data::Binary) | (PrefixUnit::Content, _) => count,
        }
    }

    /// The number a prefix says for `units`.
    pub(crate) fn count(&self, prefix: Prefix, units: usize) -> usize {
        match (prefix.unit, self.data) {
            (PrefixUnit::Octets, Data::Hex) => units * 2,
            (PrefixUnit::Octets, Data::Bcd | Data::Ascii | Data::Binary) | (PrefixUnit::Content, _) => units,
        }
    }

    /// What is wrong with content on the wire, and at which of its octets.
    pub(crate) fn fault(&self, wire: &[u8], units: usize) -> Option<(usize, Reason)> {
        if units > usize::from(self.max) {
            return Some((0, Reason::TooLong));
        }
        if units < usize::from(self.min) {
            return Some((0, Reason::TooShort));
        }
        match (self.content, self.data) {
            (_, Data::Binary) | (Content::Zx, Data::Bcd) => None,
            (_, Data::Hex) => {
                let place = wire.iter().position(|digit| nibble_value(*digit).is_none())?;
                Some((place, Reason::NotHex))
            }
            (Content::Xn, Data::Bcd | Data::Ascii) => self.signed_fault(wire, units),
            (Content::Z, Data::Bcd) => Some((track_fault(wire, units, self.align)?, Reason::Character)),
            (Content::N | Content::A | Content::An | Content::Ans | Content::Ns | Content::B, Data::Bcd) => {
                Some((bcd_fault(wire, units, self.align)?, Reason::NotDigit))
            }
            (content, Data::Ascii) => Some((content.class().fault(wire)?, content.reason())),
        }
    }

    fn signed_fault(&self, wire: &[u8], units: usize) -> Option<(usize, Reason)> {
        let (sign, digits) = wire.split_first()?;
        if !matches!(sign, b'C' | b'D') {
            return Some((0, Reason::Character));
        }
        let place = match self.data {
            Data::Bcd => bcd_fault(digits, units - 1, self.align),
            Data::Ascii | Data::Binary | Data::Hex => Class::N.fault(digits),
        };
        Some((place? + 1, Reason::NotDigit))
    }
}

/// The first octet of packed track data with a nibble that is neither digit nor separator (`D`).
fn track_fault(wire: &[u8], units: usize, align: Align) -> Option<usize> {
    let skip = usize::from(align == Align::Right && units % 2 == 1);
    let nibbles = wire.iter().flat_map(|octet| [octet >> 4, octet & 15]).skip(skip).take(units);
    let bad = |nibble: u8| nibble > 9 && nibble != 0xD;
    nibbles.into_iter().position(bad).map(|index| (index + skip) / 2)
}

/// One part of a composite field, found by its position.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartSpec {
    /// The key in JSON and in composites.
    pub(crate) name: String,
    /// Characters.
    pub(crate) length: usize,
    /// What it is, for people.
    #[serde(default)]
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) sensitivity: Sensitivity,
}

/// The parts of a composite field in some messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Beginnings of the MTIs it applies to; every MTI when there are none.
    #[serde(default)]
    pub(crate) mti: Vec<String>,
    /// It applies to content of at least this many characters.
    #[serde(default)]
    pub(crate) min: usize,
    /// Parts at the front, once.
    #[serde(default)]
    pub(crate) parts: Vec<PartSpec>,
    /// Parts of an item that repeats to the end.
    #[serde(default)]
    pub(crate) items: Vec<PartSpec>,
}

/// One field of a dialect, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub(crate) shape: Shape,
    pub(crate) name: String,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) is_tlv: bool,
    pub(crate) layouts: Vec<Layout>,
}

impl Field {
    /// What the field is, in words.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn content(&self) -> Content {
        self.shape.content
    }

    /// Who may see it.
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// Whether it holds octets and not characters.
    pub fn is_binary(&self) -> bool {
        self.shape.is_binary()
    }

    /// Whether its octets are BER-TLV.
    pub fn is_tlv(&self) -> bool {
        self.is_tlv
    }

    /// The least and the most units: digits, characters, or octets of binary content.
    pub fn lengths(&self) -> (usize, usize) {
        (usize::from(self.shape.min), usize::from(self.shape.max))
    }

    /// Content and length as the standard writes them: `n6`, `n..19`, `ans...999`.
    pub fn notation(&self) -> String {
        let dots = self.shape.prefix.map_or(0, |prefix| usize::from(prefix.digits));
        // The standard counts the digits of x+n, not the sign.
        let max = self.shape.max - u16::from(self.shape.content == Content::Xn);
        format!("{}{:.<dots$}{max}", self.shape.content.notation(), "")
    }

    /// How it is written, in the words of a dialect file: `bcd right pad 0`, `ascii, prefix LL bcd`.
    pub fn writing(&self) -> String {
        let shape = &self.shape;
        let mut text = format!("{:?}", shape.data).to_lowercase();
        if shape.data == Data::Bcd {
            text += &format!(" {} pad {:X}", format!("{:?}", shape.align).to_lowercase(), shape.pad);
        }
        if let Some(prefix) = shape.prefix {
            let letters = "L".repeat(usize::from(prefix.digits));
            text += &format!(", prefix {letters} {}", format!("{:?}", prefix.encoding).to_lowercase());
        }
        text
    }

    /// The layout of its parts in a message of this type and of this many characters, if it has one.
    pub(crate) fn layout(&self, mti: Mti, length: usize) -> Option<&Layout> {
        let applies = |prefixes: &[String]| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| mti.as_str().starts_with(prefix.as_str()))
        };
        self.layouts.iter().find(|layout| length >= layout.min && applies(&layout.mti))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_what_they_write() {
        // (digits, encoding, count, wire)
        let rows: [(u8, PrefixEncoding, usize, &[u8]); 8] = [
            (2, PrefixEncoding::Bcd, 34, &[0x34]),
            (3, PrefixEncoding::Bcd, 13, &[0x00, 0x13]),
            (3, PrefixEncoding::Bcd, 322, &[0x03, 0x22]),
            (2, PrefixEncoding::Ascii, 7, b"07"),
            (3, PrefixEncoding::Ascii, 255, b"255"),
            (4, PrefixEncoding::Ascii, 1000, b"1000"),
            (2, PrefixEncoding::Binary, 200, &[200]),
            (3, PrefixEncoding::Binary, 999, &[0x03, 0xE7]),
        ];
        for (digits, encoding, count, wire) in rows {
            let prefix = Prefix { digits, encoding, unit: PrefixUnit::Content };
            let mut out = Vec::new();
            prefix.write(count, &mut out);
            assert_eq!(out, wire);
            assert_eq!(prefix.value(wire), Some(count));
        }
    }

    #[test]
    fn a_prefix_that_is_no_number() {
        let rows: [(PrefixEncoding, &[u8]); 4] = [
            (PrefixEncoding::Bcd, &[0x1A]),
            (PrefixEncoding::Bcd, &[0xA1]),
            (PrefixEncoding::Ascii, b"1x"),
            (PrefixEncoding::Ascii, b" 1"),
        ];
        for (encoding, wire) in rows {
            let prefix = Prefix { digits: 2, encoding, unit: PrefixUnit::Content };
            assert_eq!(prefix.value(wire), None, "{wire:02X?}");
        }
    }
}
