//! The few octets that say how content lies on the wire: what the loops of decoder and encoder read.
//!
//! Lengths are in units: digits, characters, or octets of binary content. Knows no field's name or meaning.

use std::borrow::Cow;

use crate::{
    Reason, ValueFault,
    charset::{Class, CodePage, Repertoire},
    encoding::{Align, bcd_fault, nibble_char, nibble_value, pack, read_hex, unpack, write_hex},
    text::{Characters, Text, octets_of},
};

/// What a field holds, in the letters of ISO 8583:1987, clause 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    Xn,
}

impl Content {
    /// Every content by its letters.
    pub(crate) const NAMES: [(&str, Content); 9] = [
        ("n", Content::N),
        ("a", Content::A),
        ("an", Content::An),
        ("ans", Content::Ans),
        ("ns", Content::Ns),
        ("z", Content::Z),
        ("zx", Content::Zx),
        ("b", Content::B),
        ("x+n", Content::Xn),
    ];

    /// The letters of the standard.
    pub fn notation(self) -> &'static str {
        Content::NAMES.iter().find(|(_, content)| *content == self).map_or("", |(name, _)| name)
    }

    #[inline]
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

    /// Whether a fixed field of this content is filled up with blanks on the right when its dialect does not say.
    pub(crate) fn is_blank_filled(self) -> bool {
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

/// How content becomes octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// One character an octet.
    Ascii,
    /// One character an octet, in a code page.
    Ebcdic(CodePage),
    /// Two digits an octet.
    Bcd,
    /// As it is.
    Binary,
    /// Two hexadecimal characters for an octet.
    Hex,
    /// The same, written in lower case.
    HexLower,
    /// The same, in EBCDIC.
    EbcdicHex,
}

impl Data {
    /// Every encoding by the name in a dialect file.
    pub(crate) const NAMES: [(&str, Data); 9] = [
        ("ascii", Data::Ascii),
        ("ebcdic-037", Data::Ebcdic(CodePage::Ebcdic037)),
        ("ebcdic-500", Data::Ebcdic(CodePage::Ebcdic500)),
        ("ebcdic-1047", Data::Ebcdic(CodePage::Ebcdic1047)),
        ("bcd", Data::Bcd),
        ("binary", Data::Binary),
        ("hex", Data::Hex),
        ("hex-lower", Data::HexLower),
        ("ebcdic-hex", Data::EbcdicHex),
    ];

    pub(crate) fn name(self) -> &'static str {
        Data::NAMES.iter().find(|(_, data)| *data == self).map_or("", |(name, _)| name)
    }

    fn is_hex(self) -> bool {
        match self {
            Data::Hex | Data::HexLower | Data::EbcdicHex => true,
            Data::Ascii | Data::Ebcdic(_) | Data::Bcd | Data::Binary => false,
        }
    }

    /// Whether content can be written so.
    pub(crate) fn suits(self, content: Content) -> bool {
        match self {
            Data::Binary | Data::Hex | Data::HexLower | Data::EbcdicHex => content == Content::B,
            Data::Ascii | Data::Ebcdic(_) => content != Content::B,
            Data::Bcd => matches!(content, Content::N | Content::Z | Content::Zx | Content::Xn),
        }
    }
}

/// How a length prefix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrefixEncoding {
    /// One ASCII digit an octet.
    Ascii,
    /// One EBCDIC digit an octet.
    Ebcdic,
    /// One ASCII hexadecimal digit an octet.
    Hex,
    /// Packed digits, right-aligned: `LL` is one octet, `LLL` two.
    Bcd,
    /// A big-endian number: `LL` is one octet, `LLL` two.
    Binary,
}

impl PrefixEncoding {
    /// Every encoding by the name in a dialect file.
    pub(crate) const NAMES: [(&str, PrefixEncoding); 5] = [
        ("ascii", PrefixEncoding::Ascii),
        ("ebcdic", PrefixEncoding::Ebcdic),
        ("hex", PrefixEncoding::Hex),
        ("bcd", PrefixEncoding::Bcd),
        ("binary", PrefixEncoding::Binary),
    ];

    pub(crate) fn name(self) -> &'static str {
        PrefixEncoding::NAMES.iter().find(|(_, encoding)| *encoding == self).map_or("", |(name, _)| name)
    }

    /// Octets of a prefix of so many letters.
    pub(crate) fn width(self, letters: u8) -> u8 {
        match self {
            PrefixEncoding::Ascii | PrefixEncoding::Ebcdic | PrefixEncoding::Hex => letters,
            PrefixEncoding::Bcd | PrefixEncoding::Binary => letters.div_ceil(2),
        }
    }

    /// The number in a prefix; `None` when it is none.
    #[inline]
    pub(crate) fn value(self, wire: &[u8]) -> Option<usize> {
        let digit = |octet: u8| Some(octet.wrapping_sub(b'0')).filter(|digit| *digit < 10).map(usize::from);
        match (self, wire) {
            (PrefixEncoding::Ascii, [a, b]) => Some(digit(*a)? * 10 + digit(*b)?),
            (PrefixEncoding::Ascii, [a, b, c]) => Some(digit(*a)? * 100 + digit(*b)? * 10 + digit(*c)?),
            (PrefixEncoding::Ascii, _) => {
                wire.iter().try_fold(0, |sum, octet| Some(sum * 10 + digit(*octet)?))
            }
            (PrefixEncoding::Bcd, _) => wire.iter().try_fold(0, |sum, octet| {
                let (high, low) = (octet >> 4, octet & 15);
                (high < 10 && low < 10).then(|| sum * 100 + usize::from(high * 10 + low))
            }),
            (PrefixEncoding::Binary, _) => {
                Some(wire.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)))
            }
            (PrefixEncoding::Ebcdic, _) => wire.iter().try_fold(0, |sum, octet| {
                (0xF0..=0xF9).contains(octet).then(|| sum * 10 + usize::from(octet & 15))
            }),
            (PrefixEncoding::Hex, _) => {
                wire.iter().try_fold(0, |sum, octet| Some(sum << 4 | usize::from(nibble_value(*octet)?)))
            }
        }
    }

    /// Appends `count` in `width` octets. It fits: whoever calls has seen to it.
    #[inline]
    pub(crate) fn write(self, count: usize, width: usize, out: &mut Vec<u8>) {
        let digit = |place: usize| u8::try_from(count / place % 10).unwrap_or(0);
        match (self, width) {
            (PrefixEncoding::Ascii, 2) => out.extend_from_slice(&[digit(10) | b'0', digit(1) | b'0']),
            (PrefixEncoding::Ascii, 3) => {
                out.extend_from_slice(&[digit(100) | b'0', digit(10) | b'0', digit(1) | b'0']);
            }
            (PrefixEncoding::Bcd, 1) => out.push(digit(10) << 4 | digit(1)),
            (PrefixEncoding::Bcd, 2) => {
                out.extend_from_slice(&[digit(1000) << 4 | digit(100), digit(10) << 4 | digit(1)]);
            }
            (_, _) => self.write_any(count, width, out),
        }
    }

    fn write_any(self, count: usize, width: usize, out: &mut Vec<u8>) {
        let base = match self {
            PrefixEncoding::Ascii | PrefixEncoding::Ebcdic => 10,
            PrefixEncoding::Hex => 16,
            PrefixEncoding::Bcd => 100,
            PrefixEncoding::Binary => 256,
        };
        let start = out.len();
        out.resize(start + width, 0);
        let mut rest = count;
        for slot in out.iter_mut().skip(start).rev() {
            let place = u8::try_from(rest % base).unwrap_or(0);
            *slot = match self {
                PrefixEncoding::Ascii => place | b'0',
                PrefixEncoding::Ebcdic => place | 0xF0,
                PrefixEncoding::Hex => nibble_char(place),
                PrefixEncoding::Bcd => ((place / 10) << 4) | (place % 10),
                PrefixEncoding::Binary => place,
            };
            rest /= base;
        }
    }

    /// The largest number that `letters` can say.
    pub(crate) fn limit(self, letters: u8) -> usize {
        let width = u32::from(self.width(letters));
        match self {
            PrefixEncoding::Ascii | PrefixEncoding::Ebcdic => 10_usize.pow(width) - 1,
            PrefixEncoding::Bcd => 10_usize.pow(u32::from(letters)) - 1,
            PrefixEncoding::Hex => 16_usize.pow(width) - 1,
            PrefixEncoding::Binary => 256_usize.pow(width) - 1,
        }
    }
}

/// What a length prefix counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrefixUnit {
    /// Digits, characters, or octets of content before they are written as hexadecimal.
    Content,
    /// Half octets on the wire, without a pad nibble.
    Nibbles,
    /// Octets on the wire.
    Octets,
}

impl PrefixUnit {
    /// Every unit by the name in a dialect file.
    pub(crate) const NAMES: [(&str, PrefixUnit); 3] =
        [("content", PrefixUnit::Content), ("nibbles", PrefixUnit::Nibbles), ("octets", PrefixUnit::Octets)];
}

/// The length prefix of a variable field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) letters: u8,
    /// Octets on the wire: what the encoding says of the letters.
    pub(crate) width: u8,
    pub(crate) encoding: PrefixEncoding,
    pub(crate) unit: PrefixUnit,
    /// Whether it counts itself, in octets or nibbles.
    pub(crate) is_inclusive: bool,
}

impl Prefix {
    /// What an inclusive prefix adds for itself.
    fn own(self) -> usize {
        match (self.is_inclusive, self.unit) {
            (false, _) => 0,
            (true, PrefixUnit::Nibbles) => usize::from(self.width) * 2,
            (true, PrefixUnit::Octets | PrefixUnit::Content) => usize::from(self.width),
        }
    }
}

/// What fills up a fixed field that is given short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    /// The side the filling stands on.
    pub(crate) side: Align,
    /// An ASCII character.
    pub(crate) with: u8,
}

/// How content lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) content: Content,
    /// Beyond ASCII for content `ans` alone.
    pub(crate) repertoire: Repertoire,
    pub(crate) data: Data,
    pub(crate) align: Align,
    /// The nibble beside an odd number of packed digits.
    pub(crate) pad: u8,
    /// The ASCII character that parts track data written as characters.
    pub(crate) separator: u8,
    pub(crate) fill: Option<Fill>,
    /// `None` for a fixed field.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) min: u16,
    pub(crate) max: u16,
}

/// Content cut from the wire.
#[derive(Clone, Copy)]
pub(crate) struct Cut<'a> {
    /// The content, without prefix.
    pub(crate) wire: &'a [u8],
    pub(crate) units: usize,
    /// What follows.
    pub(crate) after: &'a [u8],
}

impl Shape {
    pub(crate) fn is_binary(&self) -> bool {
        self.content == Content::B
    }

    /// The class of its characters.
    #[inline]
    pub(crate) fn class(&self) -> Class {
        match self.repertoire {
            Repertoire::Ascii => self.content.class(),
            Repertoire::Latin1 => Class::LATIN1,
        }
    }

    /// Octets of the prefix.
    #[inline]
    pub(crate) fn prefix_width(&self) -> usize {
        self.prefix.map_or(0, |prefix| usize::from(prefix.width))
    }

    /// Octets on the wire of `units` of content, without prefix.
    #[inline]
    pub(crate) fn width(&self, units: usize) -> usize {
        match self.data {
            Data::Ascii | Data::Binary | Data::Ebcdic(_) => units,
            // The sign of an amount keeps an octet of its own before packed digits.
            Data::Bcd if self.content == Content::Xn => 1 + units.saturating_sub(1).div_ceil(2),
            Data::Bcd => units.div_ceil(2),
            Data::Hex | Data::HexLower | Data::EbcdicHex => units * 2,
        }
    }

    /// Whether content reads as it stands on the wire.
    pub(crate) fn is_plain(&self, wire: &[u8]) -> bool {
        match self.data {
            Data::Binary => true,
            Data::Ascii => self.content != Content::Z || !wire.contains(&b'='),
            Data::Ebcdic(_) | Data::Bcd | Data::Hex | Data::HexLower | Data::EbcdicHex => false,
        }
    }

    /// The number a prefix says for `units`.
    pub(crate) fn count(&self, prefix: Prefix, units: usize) -> usize {
        let counted = match prefix.unit {
            PrefixUnit::Content => units,
            PrefixUnit::Octets => self.width(units),
            PrefixUnit::Nibbles if self.data == Data::Bcd => units,
            PrefixUnit::Nibbles => self.width(units) * 2,
        };
        counted + prefix.own()
    }

    /// Cuts the content off the front of `rest`: its prefix is read, its octets are there.
    ///
    /// # Errors
    /// The reason, and whether it lies in the content and not in its prefix.
    #[inline]
    pub(crate) fn cut<'a>(&self, rest: &'a [u8]) -> Result<Cut<'a>, Reason> {
        let (content, units) = match self.prefix {
            None => (rest, usize::from(self.max)),
            Some(prefix) => {
                let (head, content) =
                    rest.split_at_checked(usize::from(prefix.width)).ok_or(Reason::BeyondEnd)?;
                let count = prefix.encoding.value(head).ok_or(Reason::Prefix)?;
                match prefix.unit {
                    PrefixUnit::Content => (content, count),
                    PrefixUnit::Nibbles | PrefixUnit::Octets => {
                        (content, self.counted(prefix, count, content)?)
                    }
                }
            }
        };
        let (wire, after) = content.split_at_checked(self.width(units)).ok_or(Reason::BeyondEnd)?;
        Ok(Cut { wire, units, after })
    }

    /// Units behind the number in a prefix that does not count them.
    fn counted(&self, prefix: Prefix, count: usize, content: &[u8]) -> Result<usize, Reason> {
        let count = count.checked_sub(prefix.own()).ok_or(Reason::Prefix)?;
        match (prefix.unit, self.data) {
            (PrefixUnit::Content, _) => Ok(count),
            (PrefixUnit::Nibbles, Data::Bcd) => Ok(count),
            (PrefixUnit::Octets, Data::Bcd) => {
                Ok(self.units_in(content.get(..count).ok_or(Reason::BeyondEnd)?))
            }
            (PrefixUnit::Nibbles, data) => {
                let octets = count.div_ceil(2);
                if data.is_hex() { halved(octets) } else { Ok(octets) }
            }
            (PrefixUnit::Octets, data) => {
                if data.is_hex() {
                    halved(count)
                } else {
                    Ok(count)
                }
            }
        }
    }

    /// Units of content that fills `wire`, as a tag's length counts it. An odd number of packed digits is told by a
    /// pad nibble F, or by being the most that there may be.
    pub(crate) fn units_in(&self, wire: &[u8]) -> usize {
        match self.data {
            Data::Bcd => {
                let (sign, digits) = wire.split_at(usize::from(self.content == Content::Xn).min(wire.len()));
                let pad = match self.align {
                    Align::Left => digits.last().map(|octet| octet & 15),
                    Align::Right => digits.first().map(|octet| octet >> 4),
                };
                let units = sign.len() + digits.len() * 2;
                let is_odd =
                    if self.pad == 0xF { pad == Some(0xF) } else { units == usize::from(self.max) + 1 };
                units - usize::from(is_odd)
            }
            Data::Hex | Data::HexLower | Data::EbcdicHex => wire.len().div_ceil(2),
            Data::Ascii | Data::Ebcdic(_) | Data::Binary => wire.len(),
        }
    }

    /// Whether the length of a tag tells so many units.
    fn is_told(&self, units: usize) -> bool {
        let sign = usize::from(self.content == Content::Xn);
        self.data != Data::Bcd
            || self.prefix.is_some()
            || self.pad == 0xF
            || units == usize::from(self.max)
            || units % 2 == sign
    }

    /// What is wrong with content on the wire, and at which of its octets.
    #[inline]
    pub(crate) fn fault(&self, wire: &[u8], units: usize) -> Option<(usize, Reason)> {
        if units > usize::from(self.max) {
            return Some((0, Reason::TooLong));
        }
        if units < usize::from(self.min) {
            return Some((0, Reason::TooShort));
        }
        match (self.content, self.data) {
            (Content::Xn, Data::Bcd | Data::Ascii | Data::Ebcdic(_)) => self.signed_fault(wire, units),
            (content, Data::Ascii) => Some((self.class().fault(wire)?, content.reason())),
            (_, Data::Binary) | (Content::Zx, Data::Bcd) => None,
            (Content::Z, Data::Bcd) => Some((track_fault(wire, units, self.align)?, Reason::Character)),
            (_, Data::Bcd) => Some((bcd_fault(wire, units, self.align)?, Reason::NotDigit)),
            (content, Data::Ebcdic(page)) => Some((self.class().ebcdic_fault(page, wire)?, content.reason())),
            (_, Data::Hex | Data::HexLower) => {
                let bad = wire.iter().position(|digit| nibble_value(*digit).is_none());
                Some((bad.or(half_octet(wire))?, Reason::NotHex))
            }
            (_, Data::EbcdicHex) => {
                let ascii = |octet: &u8| CodePage::Ebcdic037.latin1(*octet);
                let bad = wire.iter().position(|octet| nibble_value(ascii(octet)).is_none());
                Some((bad.or(half_octet(wire))?, Reason::NotHex))
            }
        }
    }

    fn signed_fault(&self, wire: &[u8], units: usize) -> Option<(usize, Reason)> {
        let (sign, digits) = wire.split_first()?;
        let sign = match self.data {
            Data::Ebcdic(page) => page.latin1(*sign),
            Data::Ascii | Data::Bcd | Data::Binary | Data::Hex | Data::HexLower | Data::EbcdicHex => *sign,
        };
        if !matches!(sign, b'C' | b'D') {
            return Some((0, Reason::Character));
        }
        let place = match self.data {
            Data::Bcd => bcd_fault(digits, units.saturating_sub(1), self.align),
            Data::Ebcdic(page) => Class::N.ebcdic_fault(page, digits),
            Data::Ascii | Data::Binary | Data::Hex | Data::HexLower | Data::EbcdicHex => {
                Class::N.fault(digits)
            }
        };
        Some((place? + 1, Reason::NotDigit))
    }

    /// Content that has been checked, as characters one an octet, for a walk over its parts; `None` for octets.
    pub(crate) fn characters<'a>(&self, wire: &'a [u8], units: usize) -> Option<Characters<'a>> {
        let octets = match (self.repertoire, self.data) {
            (Repertoire::Ascii, _) => return self.text(wire, units).map(Characters::Ascii),
            (Repertoire::Latin1, Data::Ebcdic(page)) => {
                if wire.iter().all(|octet| page.latin1(*octet).is_ascii()) {
                    return Some(Characters::Ascii(Text::mapped(wire, |octet| page.latin1(octet))));
                }
                Cow::Owned(wire.iter().map(|octet| page.latin1(*octet)).collect())
            }
            (Repertoire::Latin1, _) => match std::str::from_utf8(wire) {
                Ok(text) if text.is_ascii() => return Some(Characters::Ascii(Text::borrowed(text))),
                Ok(_) | Err(_) => Cow::Borrowed(wire),
            },
        };
        Some(Characters::Latin1(octets))
    }

    /// Content that has been checked, as characters; `None` for octets.
    pub(crate) fn text<'a>(&self, wire: &'a [u8], units: usize) -> Option<Text<'a>> {
        if self.repertoire == Repertoire::Latin1 {
            return self.characters(wire, units).map(Characters::into_text);
        }
        match (self.data, self.content) {
            (Data::Binary | Data::Hex | Data::HexLower | Data::EbcdicHex, _) => None,
            (Data::Ascii, Content::Z) if wire.contains(&b'=') => {
                Some(Text::mapped(wire, |octet| match octet {
                    b'=' => b'D',
                    _ => octet,
                }))
            }
            (Data::Ascii, _) => Some(Text::borrowed(std::str::from_utf8(wire).ok()?)),
            (Data::Ebcdic(page), Content::Z) => Some(Text::mapped(wire, |octet| match page.latin1(octet) {
                b'=' => b'D',
                ascii => ascii,
            })),
            (Data::Ebcdic(page), _) => Some(Text::mapped(wire, |octet| page.latin1(octet))),
            (Data::Bcd, Content::Xn) => {
                let (sign, digits) = wire.split_first()?;
                Text::filled(units, |place| {
                    let (first, rest) = place.split_first_mut()?;
                    *first = *sign;
                    unpack(digits, self.align, rest);
                    Some(())
                })
            }
            (Data::Bcd, _) => Text::filled(units, |place| {
                unpack(wire, self.align, place);
                Some(())
            }),
        }
    }

    /// Binary content that has been checked, when it is not on the wire as it is.
    pub(crate) fn decoded(&self, wire: &[u8]) -> Option<Vec<u8>> {
        match self.data {
            Data::Hex | Data::HexLower => read_hex(wire),
            Data::EbcdicHex => {
                let ascii: Vec<u8> = wire.iter().map(|octet| CodePage::Ebcdic037.latin1(*octet)).collect();
                read_hex(&ascii)
            }
            Data::Ascii | Data::Ebcdic(_) | Data::Bcd | Data::Binary => None,
        }
    }

    /// Appends characters with their prefix: digits, track data with `D` (or `=`) as separator, or text. A fixed
    /// field given short is filled up where its dialect says with what.
    ///
    /// # Errors
    /// What is wrong with the text, in characters; nothing is appended then.
    #[inline]
    pub(crate) fn write_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), ValueFault> {
        if self.repertoire == Repertoire::Ascii {
            let written = self.write_characters(text.as_bytes(), out);
            if written.is_ok() {
                return written;
            }
        }
        // Octets of UTF-8 are not counted, nor taken for characters of ISO 8859-1.
        self.write_characters(&octets_of(text), out)
    }

    /// The same for characters one an octet.
    ///
    /// # Errors
    /// What is wrong with them; nothing is appended then.
    #[inline]
    pub(crate) fn write_characters(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueFault> {
        if self.is_binary() {
            return Err(ValueFault::Kind);
        }
        let missing = self.missing(text.len())?;
        self.check_text(text)?;
        self.write_prefix(text.len(), out);
        match self.fill {
            Some(fill) if missing > 0 => self.write_filled(text, fill, missing, out),
            Some(_) | None => self.write_data(text, out),
        }
        Ok(())
    }

    /// Appends binary content with its prefix.
    ///
    /// # Errors
    /// What is wrong with the octets; nothing is appended then.
    #[inline]
    pub(crate) fn write_bytes(&self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), ValueFault> {
        if !self.is_binary() {
            return Err(ValueFault::Kind);
        }
        self.within(octets.len())?;
        self.write_prefix(octets.len(), out);
        self.write_octets(octets, out);
        Ok(())
    }

    /// Appends the prefix of `units`, where there is one.
    #[inline]
    pub(crate) fn write_prefix(&self, units: usize, out: &mut Vec<u8>) {
        if let Some(prefix) = self.prefix {
            prefix.encoding.write(self.count(prefix, units), usize::from(prefix.width), out);
        }
    }

    /// Appends octets in their encoding.
    pub(crate) fn write_octets(&self, octets: &[u8], out: &mut Vec<u8>) {
        match self.data {
            Data::Hex => write_hex(octets, nibble_char, out),
            Data::HexLower => write_hex(octets, |nibble| nibble_char(nibble).to_ascii_lowercase(), out),
            Data::EbcdicHex => {
                write_hex(octets, |nibble| CodePage::Ebcdic037.octet(nibble_char(nibble)), out)
            }
            Data::Ascii | Data::Ebcdic(_) | Data::Bcd | Data::Binary => out.extend_from_slice(octets),
        }
    }

    /// Units that are to be filled up for content of `length`.
    #[inline]
    fn missing(&self, length: usize) -> Result<usize, ValueFault> {
        let max = usize::from(self.max);
        if self.prefix.is_none() && self.fill.is_some() && length < max {
            return Ok(max - length);
        }
        self.within(length)?;
        // A digit would be read beside them.
        if !self.is_told(length) {
            return Err(ValueFault::Length { length, min: length + 1, max });
        }
        Ok(0)
    }

    #[inline]
    fn within(&self, length: usize) -> Result<(), ValueFault> {
        let (min, max) = (usize::from(self.min), usize::from(self.max));
        if length < min || length > max {
            return Err(ValueFault::Length { length, min, max });
        }
        Ok(())
    }

    #[inline]
    fn check_text(&self, text: &[u8]) -> Result<(), ValueFault> {
        let fault = |index, reason| Err(ValueFault::Content { index, reason });
        if self.content != Content::Xn {
            return match self.class().fault(text) {
                Some(index) => fault(index, self.content.reason()),
                None => Ok(()),
            };
        }
        match text.split_first() {
            Some((b'C' | b'D', digits)) => match Class::N.fault(digits) {
                Some(index) => fault(index + 1, Reason::NotDigit),
                None => Ok(()),
            },
            Some(_) | None => fault(0, Reason::Character),
        }
    }

    #[cold]
    fn write_filled(&self, text: &[u8], fill: Fill, missing: usize, out: &mut Vec<u8>) {
        let filling = vec![fill.with; missing];
        match (fill.side, self.data) {
            // The sign stays in front of the zeros that fill up its digits.
            (Align::Left, _) if self.content == Content::Xn => {
                let (sign, digits) = text.split_at_checked(1).unwrap_or((text, &[]));
                self.write_data(&[sign, filling.as_slice(), digits].concat(), out);
            }
            (Align::Left, _) => self.write_data(&[filling.as_slice(), text].concat(), out),
            (Align::Right, _) => self.write_data(&[text, filling.as_slice()].concat(), out),
        }
    }

    /// Appends characters in their encoding.
    #[inline]
    fn write_data(&self, text: &[u8], out: &mut Vec<u8>) {
        let parted = |octet: &u8| match octet {
            b'=' | b'D' => self.separator,
            _ => *octet,
        };
        match (self.data, self.content, text) {
            (Data::Bcd, Content::Xn, [sign, digits @ ..]) => {
                out.push(*sign);
                pack(digits, self.align, self.pad, out);
            }
            (Data::Bcd, _, _) => pack(text, self.align, self.pad, out),
            (Data::Ebcdic(page), Content::Z, _) => {
                out.extend(text.iter().map(|octet| page.octet(parted(octet))));
            }
            (Data::Ebcdic(page), _, _) => out.extend(text.iter().map(|octet| page.octet(*octet))),
            (_, Content::Z, _) => out.extend(text.iter().map(parted)),
            (_, _, _) => out.extend_from_slice(text),
        }
    }
}

/// The last of an odd number of hexadecimal digits, which is no octet: a tag's length may say so many.
fn half_octet(wire: &[u8]) -> Option<usize> {
    wire.len().checked_sub(1).filter(|last| last.is_multiple_of(2))
}

/// Octets written as two hexadecimal characters each.
fn halved(characters: usize) -> Result<usize, Reason> {
    if characters.is_multiple_of(2) { Ok(characters / 2) } else { Err(Reason::Prefix) }
}

/// The first octet of packed track data with a nibble that is neither digit nor separator (`D`).
fn track_fault(wire: &[u8], units: usize, align: Align) -> Option<usize> {
    let skip = usize::from(align == Align::Right && units % 2 == 1);
    let nibbles = wire.iter().flat_map(|octet| [octet >> 4, octet & 15]).skip(skip).take(units);
    let bad = |nibble: u8| nibble > 9 && nibble != 0xD;
    nibbles.into_iter().position(bad).map(|index| (index + skip) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_what_they_write() {
        // (letters, encoding, count, wire)
        let rows: [(u8, PrefixEncoding, usize, &[u8]); 17] = [
            (1, PrefixEncoding::Bcd, 9, &[0x09]),
            (2, PrefixEncoding::Bcd, 34, &[0x34]),
            (3, PrefixEncoding::Bcd, 13, &[0x00, 0x13]),
            (4, PrefixEncoding::Bcd, 9322, &[0x93, 0x22]),
            (5, PrefixEncoding::Bcd, 12345, &[0x01, 0x23, 0x45]),
            (1, PrefixEncoding::Ascii, 7, b"7"),
            (2, PrefixEncoding::Ascii, 7, b"07"),
            (3, PrefixEncoding::Ascii, 255, b"255"),
            (4, PrefixEncoding::Ascii, 1000, b"1000"),
            (6, PrefixEncoding::Ascii, 65535, b"065535"),
            (2, PrefixEncoding::Ebcdic, 19, &[0xF1, 0xF9]),
            (3, PrefixEncoding::Ebcdic, 7, &[0xF0, 0xF0, 0xF7]),
            (2, PrefixEncoding::Hex, 255, b"FF"),
            (3, PrefixEncoding::Hex, 999, b"3E7"),
            (2, PrefixEncoding::Binary, 200, &[200]),
            (3, PrefixEncoding::Binary, 999, &[0x03, 0xE7]),
            (5, PrefixEncoding::Binary, 65535, &[0x00, 0xFF, 0xFF]),
        ];
        for (letters, encoding, count, wire) in rows {
            let mut out = Vec::new();
            encoding.write(count, usize::from(encoding.width(letters)), &mut out);
            assert_eq!(out, wire, "{encoding:?} {letters}");
            assert_eq!(encoding.value(wire), Some(count));
            assert!(count <= encoding.limit(letters));
        }
        assert_eq!(PrefixEncoding::Hex.value(b"ff"), Some(255), "either case is read");
    }

    #[test]
    fn a_prefix_that_is_no_number() {
        let rows: [(PrefixEncoding, &[u8]); 10] = [
            (PrefixEncoding::Bcd, &[0x1A]),
            (PrefixEncoding::Bcd, &[0xA1]),
            (PrefixEncoding::Ascii, b"1x"),
            (PrefixEncoding::Ascii, b" 1"),
            (PrefixEncoding::Ascii, b"+01"),
            (PrefixEncoding::Ascii, b"1_00"),
            (PrefixEncoding::Ebcdic, &[0xF1, 0xFA]),
            (PrefixEncoding::Ebcdic, b"01"),
            (PrefixEncoding::Hex, b"0x"),
            (PrefixEncoding::Hex, b" F"),
        ];
        for (encoding, wire) in rows {
            assert_eq!(encoding.value(wire), None, "{encoding:?} {wire:02X?}");
        }
    }
}
