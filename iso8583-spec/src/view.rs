//! A message read in place: one pass over the octets, one table of where the fields lie.
//!
//! Knows nothing of what a field means. Nothing is allocated for a message without faults.

use std::{borrow::Cow, fmt, ops::Deref};

use nom::{IResult, Parser, bytes::complete::take, combinator::map_opt};

use crate::{
    Content, DecodeError, Fault, Mti, Part, Reason, Spec,
    bitmap::Bitmap,
    encoding::{Class, read_hex, unpack},
    field::{Data, Prefix, Shape},
    spec::MtiEncoding,
};

/// Where one field lies: offset of its content in the body, and its units (digits, characters, octets).
#[derive(Clone, Copy, Default)]
struct Slot {
    at: u16,
    units: u16,
}

/// A borrowed message.
///
/// ```text
/// | TPDU 5 | header n | MTI | bitmap, primary | bitmap, secondary | field | field | … |
///                     ^ mac_data begins here
/// ```
#[derive(Clone)]
pub struct View<'a> {
    spec: &'a Spec,
    body: &'a [u8],
    mti: Mti,
    /// Fields whose place is known.
    placed: Bitmap,
    /// Those of them whose content is bad.
    faulty: Bitmap,
    slots: [Slot; 129],
    faults: Vec<Fault>,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<u8> = self.fields().collect();
        write!(f, "View({} {} fields {fields:?} faults {:?})", self.spec.name(), self.mti, self.faults)
    }
}

impl<'a> View<'a> {
    /// Reads `body`: TPDU and header where the dialect has them, MTI, bitmap and fields, no length prefix.
    ///
    /// A content fault (a letter among packed digits, a length beyond the field's own) is noted and decoding goes
    /// on. A structural fault (a length beyond the end, a field without a definition, trailing octets) is noted
    /// and ends the decoding: the fields before it are there. A secondary bitmap announced in a dialect of 64
    /// fields is noted too, and the fields are read as if it were not announced, so that an answer can be made.
    ///
    /// # Errors
    /// When the head, the MTI or the primary bitmap cannot be read, or the body is longer than 65,535 octets.
    pub fn decode(spec: &'a Spec, body: &'a [u8]) -> Result<View<'a>, DecodeError> {
        if u16::try_from(body.len()).is_err() {
            return Err(DecodeError::TooLong { length: body.len() });
        }
        let (rest, mti, primary) = front(spec, body)?;
        let mut view = View {
            spec,
            body,
            mti,
            placed: Bitmap::default(),
            faulty: Bitmap::default(),
            slots: [Slot::default(); 129],
            faults: Vec::new(),
        };
        let mut bits = Bitmap::from_primary(primary);
        let mut rest = rest;
        if bits.has(1) {
            bits.remove(1);
            match view.secondary(rest) {
                Some((after, half)) => (rest, bits) = (after, bits.with_secondary(half)),
                None if spec.has_secondary() => return Ok(view),
                None => {}
            }
        }
        view.read_fields(bits, rest);
        Ok(view)
    }

    /// The secondary bitmap and what follows it; a fault is noted when it cannot be had.
    fn secondary(&mut self, rest: &'a [u8]) -> Option<(&'a [u8], u64)> {
        let encoding = self.spec.bitmap_encoding();
        let found = match self.spec.has_secondary() {
            true => rest
                .split_at_checked(encoding.half())
                .and_then(|(wire, after)| Some((after, encoding.read(wire)?))),
            false => None,
        };
        if found.is_none() {
            self.note(1, rest, true, Reason::SecondaryBitmap);
        }
        found
    }

    fn read_fields(&mut self, bits: Bitmap, fields: &'a [u8]) {
        let (mut bits, mut rest) = (bits, fields);
        let spec = self.spec;
        while let Some(de) = bits.pop_first() {
            let Some(shape) = spec.shape(de) else { return self.note(de, rest, true, Reason::Undefined) };
            let (content, units) = match shape.prefix {
                None => (rest, usize::from(shape.max)),
                Some(prefix) => match length(shape, prefix, rest) {
                    Ok(found) => found,
                    Err(reason) => return self.note(de, rest, true, reason),
                },
            };
            let Some((wire, after)) = content.split_at_checked(shape.width(units)) else {
                return self.note(de, content, true, Reason::BeyondEnd);
            };
            self.place(de, content, units);
            if let Some((index, reason)) = shape.fault(wire, units) {
                self.faulty.insert(de);
                self.note(de, content.get(index..).unwrap_or_default(), false, reason);
            }
            rest = after;
        }
        if !rest.is_empty() {
            self.note(0, rest, true, Reason::Trailing);
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "offsets and units within a body of at most 65,535 octets"
    )]
    fn place(&mut self, de: u8, content: &[u8], units: usize) {
        let slot = Slot { at: (self.body.len() - content.len()) as u16, units: units as u16 };
        if let Some(place) = self.slots.get_mut(usize::from(de)) {
            *place = slot;
        }
        self.placed.insert(de);
    }

    #[cold]
    fn note(&mut self, field: u8, rest: &[u8], structural: bool, reason: Reason) {
        self.faults.push(Fault { field, offset: self.body.len() - rest.len(), structural, reason });
    }

    /// The dialect it was read in.
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// The 5 octets of the TPDU, in a dialect that has one.
    pub fn tpdu(&self) -> Option<&'a [u8]> {
        self.body.get(..self.spec.tpdu_len()).filter(|tpdu| !tpdu.is_empty())
    }

    /// The dialect's own header, in a dialect that has one.
    pub fn header(&self) -> Option<&'a [u8]> {
        let header = self.body.get(self.spec.tpdu_len()..self.head_len());
        header.filter(|header| !header.is_empty())
    }

    /// The message type.
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Whether the field is there and without fault.
    pub fn has(&self, de: u8) -> bool {
        self.sound().has(de)
    }

    /// The fields that are there and without fault, ascending.
    pub fn fields(&self) -> impl Iterator<Item = u8> + use<> {
        self.sound().iter()
    }

    fn sound(&self) -> Bitmap {
        self.placed.without(self.faulty)
    }

    /// The content as it is on the wire, without length prefix; also of a field with a content fault.
    pub fn raw(&self, de: u8) -> Option<&'a [u8]> {
        if !self.placed.has(de) {
            return None;
        }
        let slot = self.slots.get(usize::from(de))?;
        let at = usize::from(slot.at);
        self.body.get(at..at + self.spec.shape(de)?.width(usize::from(slot.units)))
    }

    /// The content as characters: packed digits without their pad, track data with `D` as separator, padding
    /// blanks kept. `None` for binary fields and fields with a fault.
    pub fn text(&self, de: u8) -> Option<Text<'a>> {
        if !self.has(de) {
            return None;
        }
        let units = usize::from(self.slots.get(usize::from(de))?.units);
        text_of(self.spec.shape(de)?, self.raw(de)?, units)
    }

    /// The content as octets: of binary fields, decoded where the dialect writes hexadecimal; of other fields as
    /// they are on the wire. `None` for fields with a fault.
    pub fn bytes(&self, de: u8) -> Option<Cow<'a, [u8]>> {
        let raw = self.raw(de).filter(|_| self.has(de))?;
        match self.spec.shape(de)?.data {
            Data::Hex => Some(Cow::Owned(read_hex(raw)?)),
            Data::Bcd | Data::Ascii | Data::Binary => Some(Cow::Borrowed(raw)),
        }
    }

    /// What a MAC is computed over: MTI to the last octet before the content of DE 128 or else DE 64.
    pub fn mac_data(&self) -> Option<&'a [u8]> {
        let de = [128, 64].into_iter().find(|de| self.has(*de))?;
        let end = usize::from(self.slots.get(usize::from(de))?.at);
        self.body.get(self.head_len()..end)
    }

    /// Everything found wrong, in the order of the octets.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether nothing was found wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Octets of the bitmap as they are on the wire, primary and secondary.
    pub(crate) fn bitmap(&self) -> &'a [u8] {
        let encoding = self.spec.bitmap_encoding();
        let start = self.head_len() + self.spec.mti_encoding().width();
        let primary = self.body.get(start..start + encoding.half()).unwrap_or_default();
        let extended =
            encoding.read(primary).is_some_and(|half| half >> 63 == 1) && self.spec.has_secondary();
        let halves = if extended { 2 } else { 1 };
        self.body.get(start..start + encoding.half() * halves).unwrap_or(primary)
    }

    /// Units of a field that is there.
    pub(crate) fn units(&self, de: u8) -> Option<usize> {
        self.slots.get(usize::from(de)).filter(|_| self.placed.has(de)).map(|slot| usize::from(slot.units))
    }

    fn head_len(&self) -> usize {
        self.spec.tpdu_len() + self.spec.header_len()
    }
}

type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

/// MTI and primary bitmap, and the octets after them.
fn front<'a>(spec: &Spec, body: &'a [u8]) -> Result<(&'a [u8], Mti, u64), DecodeError> {
    let step = |rest: &'a [u8], part, width| {
        let short = DecodeError::Truncated { part, offset: body.len() - rest.len() };
        take_octets(width, rest).map_err(|_| short)
    };
    let (rest, _) = step(body, Part::Tpdu, spec.tpdu_len())?;
    let (at_mti, _) = step(rest, Part::Header, spec.header_len())?;
    let (at_bitmap, wire) = step(at_mti, Part::Mti, spec.mti_encoding().width())?;
    let malformed = |part, rest: &[u8]| DecodeError::Malformed { part, offset: body.len() - rest.len() };
    let mti = match spec.mti_encoding() {
        MtiEncoding::Ascii => Mti::from_ascii(wire),
        MtiEncoding::Bcd => <[u8; 2]>::try_from(wire).ok().and_then(Mti::from_bcd),
    };
    let mti = mti.ok_or_else(|| malformed(Part::Mti, at_mti))?;
    let encoding = spec.bitmap_encoding();
    let (rest, wire) = step(at_bitmap, Part::Bitmap, encoding.half())?;
    let primary = encoding.read(wire).ok_or_else(|| malformed(Part::Bitmap, at_bitmap))?;
    Ok((rest, mti, primary))
}

fn take_octets(width: usize, rest: &[u8]) -> Parsed<'_, &[u8]> {
    take(width)(rest)
}

/// Reads a length prefix: the octets after it and the units it announces.
fn length<'a>(shape: &Shape, prefix: Prefix, rest: &'a [u8]) -> Result<(&'a [u8], usize), Reason> {
    let number: Parsed<'a, usize> = map_opt(take(prefix.width()), |wire| prefix.value(wire)).parse(rest);
    match number {
        Ok((after, count)) => Ok((after, shape.units(prefix, count))),
        Err(_) if rest.len() < prefix.width() => Err(Reason::BeyondEnd),
        Err(_) => Err(Reason::Prefix),
    }
}

/// Characters of a field that has been checked.
fn text_of<'a>(shape: &Shape, raw: &'a [u8], units: usize) -> Option<Text<'a>> {
    match (shape.data, shape.content) {
        (Data::Binary | Data::Hex, _) => None,
        (Data::Ascii, Content::Z) if raw.contains(&b'=') => {
            let mut text = Text::blank(units);
            for (slot, octet) in text.as_mut().iter_mut().zip(raw) {
                *slot = if *octet == b'=' { b'D' } else { *octet };
            }
            Some(text)
        }
        (Data::Ascii, _) => Some(Text(Held::Borrowed(std::str::from_utf8(raw).ok()?))),
        (Data::Bcd, Content::Xn) => {
            let (sign, digits) = raw.split_first()?;
            let mut text = Text::blank(units);
            let (first, rest) = text.as_mut().split_first_mut()?;
            *first = *sign;
            unpack(digits, shape.align, rest);
            Some(text)
        }
        (Data::Bcd, _) => {
            let mut text = Text::blank(units);
            unpack(raw, shape.align, text.as_mut());
            Some(text)
        }
    }
}

/// Characters held without a heap: longer than any PAN, track 2 or amount.
const INLINE: usize = 46;

/// The characters of a field: borrowed from the message, or unpacked from its digits.
///
/// `Debug` shows the length only; the content may be a PAN.
#[derive(Clone)]
pub struct Text<'a>(Held<'a>);

#[derive(Clone)]
enum Held<'a> {
    Borrowed(&'a str),
    Inline([u8; INLINE], u8),
    Owned(Vec<u8>),
}

impl Text<'_> {
    fn blank(length: usize) -> Self {
        match u8::try_from(length) {
            Ok(short) if length <= INLINE => Text(Held::Inline([b'0'; INLINE], short)),
            Ok(_) | Err(_) => Text(Held::Owned(vec![b'0'; length])),
        }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Held::Borrowed(_) => &mut [],
            Held::Inline(octets, length) => octets.get_mut(..usize::from(*length)).unwrap_or_default(),
            Held::Owned(octets) => octets,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        let octets = match &self.0 {
            Held::Borrowed(text) => return text,
            Held::Inline(octets, length) => octets.get(..usize::from(*length)).unwrap_or_default(),
            Held::Owned(octets) => octets,
        };
        debug_assert_eq!(Class::ANS.fault(octets), None);
        std::str::from_utf8(octets).unwrap_or_default()
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.len())
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}
