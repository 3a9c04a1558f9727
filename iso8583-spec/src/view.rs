//! A message read in place: one pass over the octets, one table of where the fields begin.
//!
//! Knows nothing of what a field means. Nothing is allocated for a message without faults.

use std::{borrow::Cow, fmt, ops::Range};

use crate::{
    DecodeError, Fault, Field, Mti, Part, Reason, Spec, Text,
    bitmap::{Bitmap, Tertiary},
    element::DEPTH,
    shape::Cut,
    structure::{self, Key, Piece},
    text::Characters,
};

/// One for every field of the primary bitmap, and for the field 0 that there is none of.
const PLACES: usize = 65;

/// A borrowed message.
///
/// ```text
/// | TPDU 5 | header n | MTI | bitmap, primary | bitmap, secondary | field | field | … |
///                     ^ mac_data begins here
/// ```
///
/// It takes some 240 octets on the stack and none on the heap.
#[derive(Clone)]
pub struct View<'a> {
    spec: &'a Spec,
    body: &'a [u8],
    mti: Mti,
    /// Octets before the MTI.
    head: u16,
    /// Where the first field begins.
    fields_at: u16,
    /// Fields whose place is known.
    placed: Bitmap,
    /// Where those of the primary bitmap begin, prefix and all.
    places: [u16; PLACES],
    /// Where a tertiary bitmap in the place of field 65 begins; 0 when there is none.
    third_at: u16,
    /// Where the first field above 64 begins. The others follow it: they are few, and are stepped over again when one
    /// is asked for, rather than that every message makes room for 192 places.
    further_at: u16,
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
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::{Spec, View};
    ///
    /// let spec = Spec::builtin("iso87-ascii").unwrap();
    /// let view = View::decode(spec, b"08002020000000800000000000000042TERM0001").unwrap();
    /// assert!(view.is_sound());
    /// assert_eq!(view.mti().as_str(), "0800");
    /// assert_eq!(view.text(11).unwrap(), "000042");
    /// assert_eq!(view.fields().collect::<Vec<_>>(), [3, 11, 41]);
    /// ```
    #[inline]
    pub fn decode(spec: &'a Spec, body: &'a [u8]) -> Result<View<'a>, DecodeError> {
        if body.len() > usize::from(u16::MAX) {
            return Err(DecodeError::TooLong { length: body.len() });
        }
        let front = Front::read(spec, body)?;
        // Made by the caller's own code, and filled where it lies: it is too large to be moved for nothing.
        let mut decoded = Ok(View {
            spec,
            body,
            mti: front.mti,
            head: front.head,
            fields_at: 0,
            placed: Bitmap::default(),
            places: [0; PLACES],
            third_at: 0,
            further_at: 0,
            faults: Vec::new(),
        });
        if let Ok(view) = &mut decoded {
            view.read_fields(front.primary, front.rest);
        }
        decoded
    }

    #[inline(never)]
    fn read_fields(&mut self, primary: u64, after_primary: &'a [u8]) {
        let (mut words, mut rest) = ([primary, 0, 0], after_primary);
        if primary >> 63 == 1 {
            // Bit 1 of a bitmap announces the next one.
            words[0] &= !TOP;
            if !self.read_further(&mut words, &mut rest) {
                return;
            }
        }
        self.fields_at = self.offset(rest);
        for (index, base) in [(0, 1), (1, 65), (2, 129)] {
            if index == 1 {
                self.further_at = self.offset(rest);
            }
            match self.read_word(index, base, &mut words, rest) {
                Some(after) => rest = after,
                None => return,
            }
        }
        if !rest.is_empty() {
            self.note(0, self.body.len() - rest.len(), true, Reason::Trailing);
        }
    }

    /// The fields of one bitmap, and what follows them; `None` when the layout is lost.
    #[inline]
    fn read_word(
        &mut self,
        index: usize,
        base: u8,
        words: &mut [u64; 3],
        rest: &'a [u8],
    ) -> Option<&'a [u8]> {
        let (steps, body) = (self.spec.steps(), self.body);
        let (mut at, mut bits, mut placed) = (body.len() - rest.len(), words.get(index).copied()?, 0);
        let outcome = loop {
            if bits == 0 {
                break body.get(at..);
            }
            let zeros = bits.leading_zeros();
            bits &= !(TOP >> zeros);
            #[allow(clippy::cast_possible_truncation, reason = "a word has 64 bits")]
            let de = base + zeros as u8;
            let end = match steps.of(de).good_end(body, at) {
                Some(end) => end,
                None => match self.read_field(de, words, at) {
                    Some(end) => end,
                    None => break None,
                },
            };
            if let Some(place) = self.places.get_mut(usize::from(de)) {
                #[allow(clippy::cast_possible_truncation, reason = "a body has at most 65,535 octets")]
                let at = at as u16;
                *place = at;
            }
            placed |= TOP >> zeros;
            at = end;
        };
        // Bit 65 announces no field where it is the tertiary bitmap.
        if index == 1 && self.spec.tertiary().is_some() {
            placed &= !TOP;
        }
        self.placed.set_word(index, placed);
        if index == 1 && self.spec.tertiary().is_some() {
            // A bitmap stands there, and no field.
            self.placed.remove(65);
        }
        outcome
    }

    /// A field at `at` that is not of a common shape, or not without fault: where it ends.
    #[inline(never)]
    fn read_field(&mut self, de: u8, words: &mut [u64; 3], at: usize) -> Option<usize> {
        let rest = self.body.get(at..).unwrap_or_default();
        let Some(shape) = self.spec.shape(de) else { return self.read_tertiary(de, words, rest) };
        let cut = match shape.cut(rest) {
            Ok(cut) => cut,
            Err(reason) => {
                self.note_cut(de, rest, reason);
                return None;
            }
        };
        let end = self.body.len() - cut.after.len();
        if let Some((index, reason)) = shape.fault(cut.wire, cut.units) {
            self.note(de, end - cut.wire.len() + index, false, reason);
        }
        Some(end)
    }

    /// The bitmaps that follow the primary one; `false` when the fields cannot be found without them.
    fn read_further(&mut self, words: &mut [u64; 3], rest: &mut &'a [u8]) -> bool {
        let at = self.body.len() - rest.len();
        if !self.spec.has_secondary() {
            self.note(1, at, true, Reason::SecondaryBitmap);
            return true;
        }
        let Some((after, second)) = self.bitmap_at(rest) else {
            self.note(1, at, true, Reason::SecondaryBitmap);
            return false;
        };
        (*rest, words[1]) = (after, second);
        if second >> 63 == 0 || self.spec.tertiary() != Some(Tertiary::AfterSecondary) {
            return true;
        }
        words[1] &= !TOP;
        let Some((after, third)) = self.bitmap_at(after) else {
            self.note(65, self.body.len() - after.len(), true, Reason::Bitmap);
            return false;
        };
        (*rest, words[2]) = (after, third);
        true
    }

    /// A field without a shape: a tertiary bitmap in its place, or a fault. Where it ends.
    #[cold]
    fn read_tertiary(&mut self, de: u8, words: &mut [u64; 3], rest: &'a [u8]) -> Option<usize> {
        let at = self.body.len() - rest.len();
        if de != 65 || self.spec.tertiary() != Some(Tertiary::Field65) {
            self.note(de, at, true, Reason::Undefined);
            return None;
        }
        let Some((after, third)) = self.bitmap_at(rest) else {
            self.note(de, at, true, Reason::Bitmap);
            return None;
        };
        words[2] = third;
        (self.third_at, self.further_at) = (self.offset(rest), self.offset(after));
        Some(self.body.len() - after.len())
    }

    fn bitmap_at(&self, rest: &'a [u8]) -> Option<(&'a [u8], u64)> {
        let encoding = self.spec.bitmap_encoding();
        let (wire, after) = rest.split_at_checked(encoding.width())?;
        Some((after, encoding.read(wire)?))
    }

    fn offset(&self, rest: &[u8]) -> u16 {
        offset(self.body, rest)
    }

    #[cold]
    fn note(&mut self, field: u8, offset: usize, structural: bool, reason: Reason) {
        self.faults.push(Fault { field, part: String::new(), offset, structural, reason });
    }

    /// A field that cannot be cut off: the fault lies in its prefix, or in content that is not all there.
    #[cold]
    fn note_cut(&mut self, de: u8, rest: &[u8], reason: Reason) {
        let at = self.body.len() - rest.len();
        let prefix = self.spec.shape(de).map_or(0, |shape| shape.prefix_width());
        let is_content = reason == Reason::BeyondEnd && rest.len() >= prefix;
        self.note(de, if is_content { at + prefix } else { at }, true, reason);
    }

    /// The dialect it was read in.
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// The octets it was read from.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The 5 octets of the TPDU, in a dialect that has one.
    pub fn tpdu(&self) -> Option<&'a [u8]> {
        self.body.get(..self.spec.tpdu_len()).filter(|tpdu| !tpdu.is_empty())
    }

    /// The dialect's own header, in a dialect that has one.
    pub fn header(&self) -> Option<&'a [u8]> {
        let header = self.body.get(self.spec.tpdu_len()..usize::from(self.head));
        header.filter(|header| !header.is_empty())
    }

    /// The message type.
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Whether the field is there and without fault.
    pub fn has(&self, de: u8) -> bool {
        self.placed.has(de) && self.faults.iter().all(|fault| fault.field != de)
    }

    /// The fields that are there and without fault, ascending.
    pub fn fields(&self) -> impl Iterator<Item = u8> + use<> {
        let mut sound = self.placed;
        self.faults.iter().for_each(|fault| sound.remove(fault.field));
        sound.iter()
    }

    /// The fields whose place is known, faults or not, ascending.
    pub fn placed(&self) -> impl Iterator<Item = u8> + use<> {
        self.placed.iter()
    }

    fn cut(&self, de: u8) -> Option<Cut<'a>> {
        self.spec.shape(de)?.cut(self.from(de)?).ok()
    }

    /// The octets from the begin of a field to the end of the message.
    fn from(&self, de: u8) -> Option<&'a [u8]> {
        if !self.placed.has(de) {
            return None;
        }
        match self.places.get(usize::from(de)) {
            Some(place) => self.body.get(usize::from(*place)..),
            None => self.further(de),
        }
    }

    #[inline(never)]
    fn further(&self, de: u8) -> Option<&'a [u8]> {
        let mut rest = self.body.get(usize::from(self.further_at)..)?;
        for before in self.placed.iter().filter(|other| (65..de).contains(other)) {
            rest = self.spec.shape(before)?.cut(rest).ok()?.after;
        }
        Some(rest)
    }

    /// The field as it is on the wire, its length prefix too; also a field with a content fault.
    pub fn whole(&self, de: u8) -> Option<&'a [u8]> {
        let (from, cut) = (self.from(de)?, self.cut(de)?);
        from.get(..from.len() - cut.after.len())
    }

    /// Where the field begins, its length prefix too: octets from the start of the body.
    pub fn offset_of(&self, de: u8) -> Option<usize> {
        Some(self.body.len() - self.from(de)?.len())
    }

    /// The content as it is on the wire, without length prefix; also of a field with a content fault.
    pub fn raw(&self, de: u8) -> Option<&'a [u8]> {
        self.cut(de).map(|cut| cut.wire)
    }

    /// The content as characters: packed digits without their pad, text in UTF-8 whatever its code page, track data
    /// with `D` as separator, padding blanks kept. `None` for binary fields and fields with a fault.
    pub fn text(&self, de: u8) -> Option<Text<'a>> {
        if !self.has(de) {
            return None;
        }
        let cut = self.cut(de)?;
        self.spec.shape(de)?.text(cut.wire, cut.units)
    }

    /// The content as octets: of binary fields, decoded where the dialect writes hexadecimal; of other fields as
    /// they are on the wire. `None` for fields with a fault.
    pub fn bytes(&self, de: u8) -> Option<Cow<'a, [u8]>> {
        let raw = self.raw(de).filter(|_| self.has(de))?;
        let decoded = self.spec.shape(de)?.decoded(raw);
        Some(decoded.map_or(Cow::Borrowed(raw), Cow::Owned))
    }

    /// The characters of a part of a field, by its path below the field: `"1"`, `"item.pan"`, `"9F34"`; the first
    /// of that name. Nothing else of the field is read, and nothing is allocated for up to 46 characters of ASCII.
    /// `None` also when what comes before the part cannot be read.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::{Spec, View};
    ///
    /// let spec = Spec::builtin("iso87-ascii").unwrap();
    /// let view = View::decode(spec, b"02002000000000000000201030").unwrap();
    /// assert_eq!(view.part_text(3, "1").unwrap(), "20");
    /// assert_eq!(view.part_text(3, "2").unwrap(), "10");
    /// ```
    pub fn part_text(&self, de: u8, path: &str) -> Option<Text<'a>> {
        let field = self.spec.field(de)?;
        if field.is_binary() {
            let octets = self.bytes(de)?;
            let Found { field, place, units } = find(field, self.mti, &octets, path)?;
            return Some(Text::detached(&field.shape.text(place.within(&octets)?, units)?));
        }
        let cut = self.cut(de).filter(|_| self.has(de))?;
        let characters = field.shape.characters(cut.wire, cut.units)?;
        let Found { field, place, units } = find(field, self.mti, &characters, path)?;
        match (place, &characters) {
            (Place::Within(range), Characters::Ascii(text)) if field.shape.is_plain(&characters) => {
                text.slice(range.start, range.end)
            }
            (place, _) => {
                let wire = place.within(&characters)?;
                Some(Text::detached(&field.shape.text(wire, units)?))
            }
        }
    }

    /// The octets of a part of a binary field, by its path below the field: `"9F26"`, `"72.9F18"`; the first of that
    /// name. Nothing is allocated where the field is octets on the wire.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::{Spec, View};
    ///
    /// let spec = Spec::builtin("iso87-ascii").unwrap();
    /// let view = View::decode(spec, b"020000000000000002000089C01009F360200FA").unwrap();
    /// # assert!(view.is_sound(), "{view:?}");
    /// assert_eq!(view.part_bytes(55, "9F36").unwrap(), [0x00, 0xFA].as_slice());
    /// ```
    pub fn part_bytes(&self, de: u8, path: &str) -> Option<Cow<'a, [u8]>> {
        let field = self.spec.field(de).filter(|field| field.is_binary())?;
        let octets = self.bytes(de)?;
        let Found { field, place, .. } = find(field, self.mti, &octets, path)?;
        if let (Cow::Borrowed(octets), Place::Within(range)) = (&octets, &place) {
            let wire = octets.get(range.clone())?;
            return Some(field.shape.decoded(wire).map_or(Cow::Borrowed(wire), Cow::Owned));
        }
        let wire = place.within(&octets)?;
        Some(Cow::Owned(field.shape.decoded(wire).unwrap_or_else(|| wire.to_vec())))
    }

    /// What a MAC is computed over: MTI to the last octet before the content of the last MAC field (DE 192, 128 or
    /// 64) that is there.
    pub fn mac_data(&self) -> Option<&'a [u8]> {
        let de = [192, 128, 64].into_iter().find(|de| self.has(*de))?;
        let end = self.offset_of(de)? + self.spec.shape(de)?.prefix_width();
        self.body.get(usize::from(self.head)..end)
    }

    /// Everything found wrong, in the order of the octets. What lies inside fields has not been looked into: see
    /// [`View::inspect`].
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether nothing was found wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Octets of the bitmaps as they are on the wire, one after the other.
    pub(crate) fn bitmaps(&self) -> Vec<u8> {
        let start = usize::from(self.head) + self.spec.mti_encoding().width();
        let mut octets = self.body.get(start..usize::from(self.fields_at)).unwrap_or_default().to_vec();
        if self.third_at > 0 {
            let width = self.spec.bitmap_encoding().width();
            octets.extend(self.body.iter().skip(usize::from(self.third_at)).take(width));
        }
        octets
    }

    /// Where the MTI begins, and the first field after the bitmaps.
    pub(crate) fn front(&self) -> (usize, usize) {
        (usize::from(self.head), usize::from(self.fields_at))
    }

    /// The fields that the bitmaps announce, whether they were found or not, ascending.
    pub(crate) fn announced(&self) -> impl Iterator<Item = u8> + use<> {
        let encoding = self.spec.bitmap_encoding();
        let mut words = [0; 3];
        for (slot, word) in words.iter_mut().zip(self.bitmaps().chunks(encoding.width())) {
            *slot = encoding.read(word).unwrap_or(0);
        }
        let mut bits = Bitmap::new(words);
        bits.remove(1);
        if self.spec.tertiary().is_some() {
            bits.remove(65);
        }
        bits.iter()
    }

    /// Units of a field that is there.
    pub(crate) fn units(&self, de: u8) -> Option<usize> {
        self.cut(de).map(|cut| cut.units)
    }
}

/// A part that was looked for.
struct Found<'s> {
    field: &'s Field,
    place: Place,
    units: usize,
}

/// Where the content of a part lies.
enum Place {
    /// Within that of the field.
    Within(Range<usize>),
    /// On its own, read from a part that is written otherwise than its parts are.
    Apart(Vec<u8>),
}

impl Place {
    fn within<'c>(&'c self, content: &'c [u8]) -> Option<&'c [u8]> {
        match self {
            Place::Within(range) => content.get(range.clone()),
            Place::Apart(octets) => Some(octets),
        }
    }
}

/// The part at a path below a field, in the field's content; nothing that lies deeper than a message looks.
fn find<'s>(field: &'s Field, mti: Mti, content: &[u8], path: &str) -> Option<Found<'s>> {
    if path.matches('.').count() >= DEPTH {
        return None;
    }
    let (name, below) = path.split_once('.').map_or((path, None), |(name, below)| (name, Some(below)));
    let piece = structure::pieces(field, mti, content)?
        .map_while(Result::ok)
        .find(|piece: &Piece<'_, '_>| is_named(piece.key, name))?;
    let (part, units) = (piece.field?, piece.units);
    let wire = content.get(piece.content.clone())?;
    // What a template holds are elements, whatever the values of the field's elements are.
    let is_template = below.is_some() && structure::is_template(field, part, piece.key);
    if !is_template && part.shape.fault(wire, units).is_some() {
        return None;
    }
    let Some(below) = below else {
        return Some(Found { field: part, place: Place::Within(piece.content), units });
    };
    let around = if is_template { field } else { part };
    if is_template || part.shape.is_plain(wire) {
        let found = find(around, mti, wire, below)?;
        let start = piece.content.start;
        let place = match found.place {
            Place::Within(inner) => Place::Within(start + inner.start..start + inner.end),
            Place::Apart(octets) => Place::Apart(octets),
        };
        return Some(Found { place, ..found });
    }
    let inside = match part.shape.decoded(wire) {
        Some(octets) => octets,
        None => part.shape.characters(wire, units)?.to_vec(),
    };
    let found = find(around, mti, &inside, below)?;
    let place = Place::Apart(found.place.within(&inside)?.to_vec());
    Some(Found { place, ..found })
}

/// Whether a key is written so, without writing it.
fn is_named(key: Key<'_, '_>, name: &str) -> bool {
    struct Rest<'n>(&'n str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(name);
    fmt::write(&mut rest, format_args!("{key}")).is_ok() && rest.0.is_empty()
}

/// The highest bit of a word.
const TOP: u64 = 1 << 63;

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "an offset within a body of at most 65,535 octets")]
fn offset(body: &[u8], rest: &[u8]) -> u16 {
    (body.len() - rest.len()) as u16
}

/// What stands before the fields.
struct Front<'a> {
    mti: Mti,
    head: u16,
    primary: u64,
    /// What follows the primary bitmap.
    rest: &'a [u8],
}

impl<'a> Front<'a> {
    #[inline(never)]
    fn read(spec: &Spec, body: &'a [u8]) -> Result<Front<'a>, DecodeError> {
        let truncated = |part, rest: &[u8]| DecodeError::Truncated { part, offset: body.len() - rest.len() };
        let malformed = |part, rest: &[u8]| DecodeError::Malformed { part, offset: body.len() - rest.len() };
        let after_tpdu = body.get(spec.tpdu_len()..).ok_or(truncated(Part::Tpdu, body))?;
        let at_mti = match spec.header() {
            None => after_tpdu,
            Some(header) => {
                let Some(length) = header.length_of(after_tpdu) else {
                    return Err(match after_tpdu {
                        [] => truncated(Part::Header, after_tpdu),
                        [..] => malformed(Part::Header, after_tpdu),
                    });
                };
                after_tpdu.get(length..).ok_or(truncated(Part::Header, after_tpdu))?
            }
        };
        let encoding = spec.mti_encoding();
        let (wire, at_bitmap) =
            at_mti.split_at_checked(encoding.width()).ok_or(truncated(Part::Mti, at_mti))?;
        let mti = encoding.read(wire).ok_or(malformed(Part::Mti, at_mti))?;
        let encoding = spec.bitmap_encoding();
        let (wire, rest) =
            at_bitmap.split_at_checked(encoding.width()).ok_or(truncated(Part::Bitmap, at_bitmap))?;
        let primary = encoding.read(wire).ok_or(malformed(Part::Bitmap, at_bitmap))?;
        Ok(Front { mti, head: offset(body, at_mti), primary, rest })
    }
}
