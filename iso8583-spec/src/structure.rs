//! Walks what lies inside a field, piece by piece and in place: parts by position, elements by tag, fields
//! behind a bitmap. Nothing is allocated.
//!
//! A walk runs over content, not over the wire: over the characters of a field of characters, whatever it packs
//! them into, and over the octets of content `b`.

use std::{fmt, ops::Range, slice};

use crate::{
    Field, Mti, Reason,
    bitmap::{Bitmap, BitmapEncoding},
    charset::CodePage,
    encoding::nibble_value,
    field::{Layout, Mapped, Member, Structure, TagEncoding, TagForm, TagOrder, Tagged},
    tlv,
};

/// The name of what repeats, and of what is left when the parts are used up.
pub(crate) const ITEM: &str = "item";
pub(crate) const REST: &str = "rest";

/// What a piece is called among its neighbours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'s, 'a> {
    /// A part's own name.
    Part(&'s str),
    /// A field behind a bitmap.
    Number(u8),
    /// A tag of octets, named by their hexadecimal.
    Tag(&'a [u8]),
    /// A tag of characters.
    Characters(&'a [u8], TagEncoding),
    /// Octets of zero that chip data may end with.
    Filler,
}

impl fmt::Display for Key<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Part(name) => f.write_str(name),
            Key::Number(number) => write!(f, "{number}"),
            Key::Tag(octets) => octets.iter().try_for_each(|octet| write!(f, "{octet:02X}")),
            Key::Characters(octets, encoding) => octets.iter().try_for_each(|octet| match encoding {
                TagEncoding::Ebcdic => write!(f, "{}", shown(CodePage::Ebcdic037.latin1(*octet))),
                TagEncoding::Ascii | TagEncoding::Octets => write!(f, "{}", shown(*octet)),
            }),
            Key::Filler => Ok(()),
        }
    }
}

/// Octets of the longest name of a tag: eight octets in hexadecimal.
const LONGEST_NAME: usize = 16;

/// A name that is written without a heap.
struct Name {
    octets: [u8; LONGEST_NAME],
    length: usize,
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.octets.get_mut(self.length..self.length + text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

impl Key<'_, '_> {
    /// Calls `read` with the name of a tag; nothing is allocated.
    fn in_words<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        let mut name = Name { octets: [0; LONGEST_NAME], length: 0 };
        let is_whole = fmt::write(&mut name, format_args!("{self}")).is_ok();
        let octets = name.octets.get(..name.length).filter(|_| is_whole).unwrap_or_default();
        read(std::str::from_utf8(octets).unwrap_or_default())
    }
}

/// A character of a tag; what is none shows as `?`.
fn shown(ascii: u8) -> char {
    if (0x20..0x7F).contains(&ascii) { char::from(ascii) } else { '?' }
}

/// One piece of content.
#[derive(Clone)]
pub(crate) struct Piece<'s, 'a> {
    pub(crate) key: Key<'s, 'a>,
    /// What the dialect says of it; nothing of what is left over.
    pub(crate) field: Option<&'s Field>,
    /// With its tag, length and prefix.
    pub(crate) whole: Range<usize>,
    /// Its content alone.
    pub(crate) content: Range<usize>,
    pub(crate) units: usize,
}

/// Where a walk broke off: everything from there on cannot be parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) reason: Reason,
}

/// The walk over the content of a field; after an error it ends.
pub(crate) struct Pieces<'s, 'a> {
    content: &'a [u8],
    at: usize,
    state: State<'s>,
}

enum State<'s> {
    Parts { parts: slice::Iter<'s, Member>, item: Option<&'s Field>, is_text: bool },
    Ber(&'s Tagged),
    Simple(&'s Tagged),
    Bitmap(&'s Mapped),
    Mapped(&'s Mapped, Bitmap),
    Done,
}

/// The pieces of content; none for a field that has no structure or no layout for it.
pub(crate) fn pieces<'s, 'a>(field: &'s Field, mti: Mti, content: &'a [u8]) -> Option<Pieces<'s, 'a>> {
    let state = match &field.structure {
        Structure::Plain => return None,
        _ if content.is_empty() => return None,
        Structure::Layouts(_) => parts_of(field.layout(mti, content.len())?, !field.is_binary()),
        Structure::Tagged(tagged) if tagged.form == TagForm::Ber => State::Ber(tagged),
        Structure::Tagged(tagged) => State::Simple(tagged),
        Structure::Mapped(mapped) => State::Bitmap(mapped),
    };
    Some(Pieces { content, at: 0, state })
}

fn parts_of(layout: &Layout, is_text: bool) -> State<'_> {
    State::Parts { parts: layout.parts.iter(), item: layout.item.as_deref(), is_text }
}

impl<'s, 'a> Iterator for Pieces<'s, 'a> {
    type Item = Result<Piece<'s, 'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step();
        if let Some(Err(_)) = &found {
            self.state = State::Done;
        }
        found
    }
}

impl<'s, 'a> Pieces<'s, 'a> {
    fn step(&mut self) -> Option<Result<Piece<'s, 'a>, Broken>> {
        if let State::Bitmap(mapped) = self.state
            && let Err(broken) = self.read_bitmap(mapped)
        {
            return Some(Err(broken));
        }
        match &mut self.state {
            State::Done | State::Bitmap(_) => None,
            State::Parts { parts, item, is_text } => {
                let (next, item, is_text) = (parts.as_slice().first(), *item, *is_text);
                parts.next();
                self.part(next, item, is_text)
            }
            State::Ber(tagged) => {
                let tagged = *tagged;
                self.ber(tagged)
            }
            State::Simple(tagged) => {
                let tagged = *tagged;
                self.simple(tagged)
            }
            State::Mapped(mapped, bits) => {
                let (mapped, number) = (*mapped, bits.pop_first());
                self.mapped(mapped, number)
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.content.get(self.at..).unwrap_or_default()
    }

    fn broken<T>(&self, reason: Reason) -> Option<Result<T, Broken>> {
        Some(Err(Broken { at: self.at, reason }))
    }

    /// A piece that reaches to `after`, its content `skip` after its begin.
    fn piece(
        &mut self,
        key: Key<'s, 'a>,
        field: Option<&'s Field>,
        skip: usize,
        units: usize,
        after: &[u8],
    ) -> Piece<'s, 'a> {
        let (start, end) = (self.at, self.content.len() - after.len());
        self.at = end;
        Piece { key, field, whole: start..end, content: start + skip..end, units }
    }

    fn part(
        &mut self,
        next: Option<&'s Member>,
        item: Option<&'s Field>,
        is_text: bool,
    ) -> Option<Result<Piece<'s, 'a>, Broken>> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let Some(Member { key, field }) = next else { return self.item_or_rest(item) };
        match field.shape.cut(rest) {
            Ok(cut) => {
                let skip = rest.len() - cut.wire.len() - cut.after.len();
                Some(Ok(self.piece(Key::Part(key), Some(field), skip, cut.units, cut.after)))
            }
            // The last characters of a field may be fewer than its last part asks for.
            Err(Reason::BeyondEnd) if is_text && field.shape.prefix.is_none() => {
                Some(Ok(self.piece(Key::Part(key), Some(field), 0, rest.len(), &[])))
            }
            Err(reason) => self.broken(reason),
        }
    }

    fn item_or_rest(&mut self, item: Option<&'s Field>) -> Option<Result<Piece<'s, 'a>, Broken>> {
        let rest = self.rest();
        let length = item.map_or(0, |item| item_length(item, rest));
        if length == 0 {
            self.state = State::Done;
            return Some(Ok(self.piece(Key::Part(REST), None, 0, rest.len(), &[])));
        }
        let after = rest.get(length..).unwrap_or_default();
        Some(Ok(self.piece(Key::Part(ITEM), item, 0, length, after)))
    }

    fn ber(&mut self, tagged: &'s Tagged) -> Option<Result<Piece<'s, 'a>, Broken>> {
        let rest = self.rest();
        let filler = rest.iter().take_while(|octet| **octet == 0).count();
        let data = rest.get(filler..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        if data.is_empty() {
            return Some(Ok(self.piece(Key::Filler, None, 0, filler, &[])));
        }
        match tlv::element(data) {
            Ok((after, (tag, value))) => {
                let field = Key::Tag(tag).in_words(|name| tagged.field(name));
                let skip = filler + data.len() - value.len() - after.len();
                let units = field.shape.units_in(value);
                Some(Ok(self.piece(Key::Tag(tag), Some(field), skip, units, after)))
            }
            Err(nom::Err::Failure(())) => self.broken(Reason::Overlong),
            Err(nom::Err::Error(()) | nom::Err::Incomplete(_)) => self.broken(Reason::BeyondEnd),
        }
    }

    fn simple(&mut self, tagged: &'s Tagged) -> Option<Result<Piece<'s, 'a>, Broken>> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let Some(found) = simple_element(tagged.form, rest) else { return self.broken(Reason::BeyondEnd) };
        let (key, value, after) = match found {
            Ok(found) => found,
            Err(reason) => return self.broken(reason),
        };
        let field = key.in_words(|name| tagged.field(name));
        let skip = rest.len() - value.len() - after.len();
        let units = field.shape.units_in(value);
        Some(Ok(self.piece(key, Some(field), skip, units, after)))
    }

    fn read_bitmap(&mut self, mapped: &'s Mapped) -> Result<(), Broken> {
        let broken = |reason| Broken { at: 0, reason };
        let wire = self.content.get(..mapped.width()).ok_or(broken(Reason::BeyondEnd))?;
        let bits = read_bits(mapped, wire).ok_or(broken(Reason::Bitmap))?;
        self.at = mapped.width();
        self.state = State::Mapped(mapped, bits);
        Ok(())
    }

    fn mapped(&mut self, mapped: &'s Mapped, number: Option<u8>) -> Option<Result<Piece<'s, 'a>, Broken>> {
        let rest = self.rest();
        let Some(number) = number else {
            self.state = State::Done;
            if rest.is_empty() {
                return None;
            }
            return Some(Ok(self.piece(Key::Part(REST), None, 0, rest.len(), &[])));
        };
        let Some(field) = mapped.fields.get(&number) else { return self.broken(Reason::Undefined) };
        match field.shape.cut(rest) {
            Ok(cut) => {
                let skip = rest.len() - cut.wire.len() - cut.after.len();
                Some(Ok(self.piece(Key::Number(number), Some(field), skip, cut.units, cut.after)))
            }
            Err(reason) => self.broken(reason),
        }
    }
}

/// Whether a part is a constructed tag of chip data that nothing is said of: it holds chip data, as the field does.
pub(crate) fn is_template(field: &Field, part: &Field, key: Key<'_, '_>) -> bool {
    match (&field.structure, key) {
        (Structure::Tagged(tagged), Key::Tag(tag)) => {
            tagged.form == TagForm::Ber && tlv::is_constructed(tag) && part.structure == Structure::Plain
        }
        (_, _) => false,
    }
}

/// The bits of a bitmap within a field, the first of them as field 1.
pub(crate) fn read_bits(mapped: &Mapped, wire: &[u8]) -> Option<Bitmap> {
    let nibble = |octet: u8| match mapped.encoding {
        BitmapEncoding::EbcdicHex => nibble_value(CodePage::Ebcdic037.latin1(octet)),
        BitmapEncoding::Binary | BitmapEncoding::Hex => nibble_value(octet),
    };
    let bits = match mapped.encoding {
        BitmapEncoding::Binary => wire.iter().fold(0, |bits, octet| bits << 8 | u64::from(*octet)),
        BitmapEncoding::Hex | BitmapEncoding::EbcdicHex => {
            wire.iter().try_fold(0, |bits, octet| Some(bits << 4 | u64::from(nibble(*octet)?)))?
        }
    };
    Some(Bitmap::new([bits << (64 - u32::from(mapped.bits)), 0, 0]))
}

/// Octets or characters that one item takes; 0 when it does not hold together.
fn item_length(item: &Field, rest: &[u8]) -> usize {
    let Structure::Layouts(layouts) = &item.structure else { return 0 };
    let Some(layout) = layouts.first() else { return 0 };
    let state = parts_of(layout, !item.is_binary());
    let walk = Pieces { content: rest, at: 0, state };
    let ends = walk.take(layout.parts.len()).map(|piece| piece.map_or(0, |piece| piece.whole.end));
    ends.last().unwrap_or(0)
}

type Element<'s, 'a> = (Key<'s, 'a>, &'a [u8], &'a [u8]);

/// Key, value and what follows; `None` when the data ends inside it.
fn simple_element<'s, 'a>(form: TagForm, data: &'a [u8]) -> Option<Result<Element<'s, 'a>, Reason>> {
    let TagForm::Simple { tag, tag_width, length, length_width, order, counts_tag } = form else {
        return None;
    };
    let (tag_octets, length_octets, data) = match order {
        TagOrder::Tlv => {
            let (tag, data) = data.split_at_checked(tag_width)?;
            let (length, data) = data.split_at_checked(length_width)?;
            (tag, length, data)
        }
        TagOrder::Ltv => {
            let (length, data) = data.split_at_checked(length_width)?;
            let (tag, data) = data.split_at_checked(tag_width)?;
            (tag, length, data)
        }
    };
    let Some(count) = length.value(length_octets) else { return Some(Err(Reason::Prefix)) };
    let own = if counts_tag { tag_width } else { 0 };
    let Some(count) = count.checked_sub(own) else { return Some(Err(Reason::Prefix)) };
    let (value, after) = data.split_at_checked(count)?;
    let key = match tag {
        TagEncoding::Octets => Key::Tag(tag_octets),
        TagEncoding::Ascii | TagEncoding::Ebcdic => Key::Characters(tag_octets, tag),
    };
    Some(Ok((key, value, after)))
}
