//! Between content on the wire and a value that is owned, both ways, as deep as it goes.
//!
//! What is read and would be written otherwise keeps its octets, so that writing it gives what was read.

use crate::{
    Composite, Field, Mti, Value, ValueFault,
    bitmap::BitmapEncoding,
    charset::CodePage,
    encoding::{nibble_char, write_hex},
    field::{Layout, Mapped, Structure, TagEncoding, TagForm, TagOrder},
    structure::{self, ITEM, Key, Piece, REST},
    text::octets_of,
    tlv,
    value::Entry,
};

/// Composites lie inside each other no deeper than this; what lies deeper stays as it is.
pub(crate) const DEPTH: usize = 8;

/// Why a part cannot be written: its path below where the writing began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) path: String,
    pub(crate) fault: ValueFault,
}

impl From<ValueFault> for Refused {
    fn from(fault: ValueFault) -> Refused {
        Refused { path: String::new(), fault }
    }
}

impl Refused {
    fn below(self, name: &str) -> Refused {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        Refused { path, ..self }
    }
}

/// A field's content as a value: parts where the dialect knows them, else text or octets. `None` when the content
/// has a fault.
pub(crate) fn read(field: &Field, mti: Mti, wire: &[u8], units: usize) -> Option<Value> {
    read_to(field, mti, wire, units, DEPTH)
}

fn read_to(field: &Field, mti: Mti, wire: &[u8], units: usize, depth: usize) -> Option<Value> {
    if field.shape.fault(wire, units).is_some() {
        return None;
    }
    if field.is_binary() {
        let octets = field.shape.decoded(wire).unwrap_or_else(|| wire.to_vec());
        let parts = composite(field, mti, &octets, depth);
        return Some(parts.map_or(Value::Bytes(octets), Value::Composite));
    }
    let characters = field.shape.characters(wire, units)?;
    let parts = composite(field, mti, &characters, depth);
    Some(parts.map_or_else(|| Value::Text(characters.into_text().to_string()), Value::Composite))
}

/// The parts of content; `None` when the dialect knows of none, or they do not hold together.
fn composite(field: &Field, mti: Mti, content: &[u8], depth: usize) -> Option<Composite> {
    if depth == 0 {
        return None;
    }
    let mut composite = Composite::default();
    if let Structure::Mapped(mapped) = &field.structure {
        composite.head = kept_bitmap(mapped, content);
    }
    for piece in structure::pieces(field, mti, content)? {
        let piece = piece.ok()?;
        let whole = content.get(piece.whole.clone())?;
        if piece.key == Key::Filler {
            composite.tail = whole.to_vec();
            continue;
        }
        let value = piece_value(field, mti, content, &piece, depth)?;
        let name = piece.key.to_string();
        let mut written = Vec::new();
        let layout = field.layout(mti, content.len());
        let is_last = piece.whole.end == content.len() && layout.is_some();
        let is_short = match (&value, piece.field) {
            (Value::Text(text), Some(part)) => is_last && is_short(part, text),
            (_, _) => false,
        };
        let is_same = is_short
            || write_piece(field, layout, mti, &name, &value, &mut written).is_ok() && written == whole;
        composite.entries.push(Entry { name, value, wire: (!is_same).then(|| whole.to_vec()) });
    }
    Some(composite)
}

/// A piece's value: as its field reads it, or else as it is.
fn piece_value(
    field: &Field,
    mti: Mti,
    content: &[u8],
    piece: &Piece<'_, '_>,
    depth: usize,
) -> Option<Value> {
    let wire = content.get(piece.content.clone())?;
    let is_template = piece.field.is_some_and(|found| structure::is_template(field, found, piece.key));
    if is_template && wire.is_empty() {
        return Some(Value::Composite(Composite::default()));
    }
    if is_template && let Some(nested) = composite(field, mti, wire, depth - 1) {
        return Some(Value::Composite(nested));
    }
    let found = piece.field.and_then(|found| read_to(found, mti, wire, piece.units, depth - 1));
    Some(found.unwrap_or_else(|| match field.is_binary() {
        true => Value::Bytes(wire.to_vec()),
        false => Value::Text(wire.iter().copied().map(char::from).collect()),
    }))
}

/// The bitmap within a field, where it is not written as the encoder would.
fn kept_bitmap(mapped: &Mapped, content: &[u8]) -> Vec<u8> {
    let wire = content.get(..mapped.width()).unwrap_or_default();
    let Some(bits) = structure::read_bits(mapped, wire) else { return Vec::new() };
    let [word, ..] = bits.words();
    let mut written = Vec::new();
    write_bits(mapped, word, &mut written);
    if written == wire { Vec::new() } else { wire.to_vec() }
}

fn write_bits(mapped: &Mapped, word: u64, out: &mut Vec<u8>) {
    let octets = word.to_be_bytes();
    let octets = octets.get(..usize::from(mapped.bits / 8)).unwrap_or_default();
    match mapped.encoding {
        BitmapEncoding::Binary => out.extend_from_slice(octets),
        BitmapEncoding::Hex => write_hex(octets, nibble_char, out),
        BitmapEncoding::EbcdicHex => {
            write_hex(octets, |nibble| CodePage::Ebcdic037.octet(nibble_char(nibble)), out);
        }
    }
}

/// Appends a field's value, with the field's prefix.
pub(crate) fn write(field: &Field, mti: Mti, value: &Value, out: &mut Vec<u8>) -> Result<(), Refused> {
    match value {
        Value::Text(text) => Ok(field.shape.write_text(text, out)?),
        Value::Bytes(octets) => Ok(field.shape.write_bytes(octets, out)?),
        Value::Composite(composite) => {
            let mut content = Vec::new();
            write_parts(field, mti, composite, &mut content)?;
            match field.is_binary() {
                true => Ok(field.shape.write_bytes(&content, out)?),
                false => Ok(field.shape.write_characters(&content, out)?),
            }
        }
    }
}

/// Appends the parts of a field as content, without the field's prefix and encoding.
fn write_parts(field: &Field, mti: Mti, composite: &Composite, out: &mut Vec<u8>) -> Result<(), Refused> {
    match &field.structure {
        Structure::Plain => Err(ValueFault::Kind.into()),
        Structure::Layouts(layouts) => {
            let mut first = None;
            for layout in layouts.iter().filter(|layout| layout.suits(mti)) {
                let mut content = Vec::new();
                match write_layout(layout, mti, composite, field.is_binary(), &mut content) {
                    Ok(()) if field.layout(mti, content.len()) == Some(layout) => {
                        out.extend(content);
                        return Ok(());
                    }
                    Ok(()) => {}
                    Err(refused) => first = first.or(Some(refused)),
                }
            }
            Err(first.unwrap_or(ValueFault::Misplaced.into()))
        }
        Structure::Tagged(_) => {
            for entry in &composite.entries {
                write_entry(field, mti, entry, out)?;
            }
            out.extend_from_slice(&composite.tail);
            Ok(())
        }
        Structure::Mapped(mapped) => write_mapped(field, mapped, mti, composite, out),
    }
}

/// Appends an entry: the octets it was read from, or else its value.
fn write_entry(field: &Field, mti: Mti, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Refused> {
    match &entry.wire {
        Some(wire) => {
            out.extend_from_slice(wire);
            Ok(())
        }
        None => write_piece(field, None, mti, &entry.name, &entry.value, out)
            .map_err(|refused| refused.below(&entry.name)),
    }
}

/// Appends one piece of a field, with its tag, length and prefix; a part is looked for in its layout.
fn write_piece(
    field: &Field,
    layout: Option<&Layout>,
    mti: Mti,
    name: &str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    match &field.structure {
        Structure::Plain => Err(ValueFault::Kind.into()),
        Structure::Tagged(tagged) => {
            let found = tagged.field(name);
            let mut content = Vec::new();
            match value {
                Value::Composite(nested)
                    if found.structure == Structure::Plain && tagged.form == TagForm::Ber =>
                {
                    write_parts(field, mti, nested, &mut content)?;
                }
                Value::Composite(_) | Value::Text(_) | Value::Bytes(_) => {
                    write(found, mti, value, &mut content)?
                }
            }
            Ok(write_element(tagged.form, name, &content, out)?)
        }
        Structure::Layouts(_) | Structure::Mapped(_) => {
            match layout.map_or_else(|| field.member(name), |layout| layout.member(name)) {
                Some(part) => write(part, mti, value, out),
                None if name == REST => Ok(write_rest(field, value, out)?),
                None => Err(ValueFault::Misplaced.into()),
            }
        }
    }
}

/// Appends what is left over when the parts are used up.
fn write_rest(field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), ValueFault> {
    match value {
        Value::Text(text) if !field.is_binary() => out.extend_from_slice(&octets_of(text)),
        Value::Bytes(octets) if field.is_binary() => out.extend_from_slice(octets),
        Value::Text(_) | Value::Bytes(_) | Value::Composite(_) => return Err(ValueFault::Kind),
    }
    Ok(())
}

/// Appends tag, length and value.
fn write_element(form: TagForm, name: &str, content: &[u8], out: &mut Vec<u8>) -> Result<(), ValueFault> {
    let TagForm::Simple { tag, tag_width, length, length_width, order, counts_tag } = form else {
        // Read, it has one name: in upper case.
        let is_name = !name.bytes().any(|digit| digit.is_ascii_lowercase());
        let tag = tlv::tag_of(name).filter(|_| is_name).ok_or(ValueFault::Misplaced)?;
        if content.len() > usize::from(u16::MAX) {
            return Err(ValueFault::Length { length: content.len(), min: 0, max: usize::from(u16::MAX) });
        }
        out.extend_from_slice(&tag);
        tlv::push_length(content.len(), out);
        out.extend_from_slice(content);
        return Ok(());
    };
    let tag = tag_octets(tag, name).filter(|tag| tag.len() == tag_width).ok_or(ValueFault::Misplaced)?;
    let counted = content.len() + if counts_tag { tag_width } else { 0 };
    let letters = u8::try_from(length_width * 2).unwrap_or(u8::MAX);
    let max = length.limit(if length.width(letters) == letters { letters / 2 } else { letters });
    if counted > max {
        return Err(ValueFault::Length { length: content.len(), min: 0, max });
    }
    match order {
        TagOrder::Tlv => {
            out.extend_from_slice(&tag);
            length.write(counted, length_width, out);
        }
        TagOrder::Ltv => {
            length.write(counted, length_width, out);
            out.extend_from_slice(&tag);
        }
    }
    out.extend_from_slice(content);
    Ok(())
}

/// The octets of a tag behind its name.
fn tag_octets(encoding: TagEncoding, name: &str) -> Option<Vec<u8>> {
    let is_text = || name.bytes().all(|octet| (0x20..0x7F).contains(&octet));
    match encoding {
        TagEncoding::Octets => crate::encoding::read_hex(name.as_bytes()),
        TagEncoding::Ascii => is_text().then(|| name.as_bytes().to_vec()),
        TagEncoding::Ebcdic => {
            is_text().then(|| name.bytes().map(|ascii| CodePage::Ebcdic037.octet(ascii)).collect())
        }
    }
}

/// Appends the parts in the order of the layout; the last of them may be short.
fn write_layout(
    layout: &Layout,
    mti: Mti,
    composite: &Composite,
    is_binary: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut entries = composite.entries.iter().peekable();
    let misplaced = |name: &str| Refused::from(ValueFault::Misplaced).below(name);
    for member in &layout.parts {
        let Some(entry) = entries.next() else { return Ok(()) };
        if entry.name != member.key {
            return Err(misplaced(&entry.name));
        }
        write_member(&member.field, mti, entry, entries.peek().is_none() && !is_binary, out)?;
    }
    for entry in entries {
        match (entry.name.as_str(), layout.item.as_deref()) {
            (ITEM, Some(item)) => write_member(item, mti, entry, false, out)?,
            (REST, _) => match (&entry.value, is_binary) {
                (Value::Text(text), false) => out.extend_from_slice(&octets_of(text)),
                (Value::Bytes(octets), true) => out.extend_from_slice(octets),
                (_, _) => return Err(Refused::from(ValueFault::Kind).below(REST)),
            },
            (name, _) => return Err(misplaced(name)),
        }
    }
    Ok(())
}

fn write_member(
    part: &Field,
    mti: Mti,
    entry: &Entry,
    may_be_short: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if let Some(wire) = &entry.wire {
        out.extend_from_slice(wire);
        return Ok(());
    }
    match &entry.value {
        Value::Text(text) if may_be_short && is_short(part, text) => {
            out.extend_from_slice(&octets_of(text));
            Ok(())
        }
        value @ (Value::Text(_) | Value::Bytes(_) | Value::Composite(_)) => {
            write(part, mti, value, out).map_err(|refused| refused.below(&entry.name))
        }
    }
}

/// Whether the last part of characters is fewer of them than it asks for.
fn is_short(part: &Field, text: &str) -> bool {
    let characters = octets_of(text);
    part.shape.prefix.is_none()
        && !characters.is_empty()
        && characters.len() < usize::from(part.shape.min)
        && part.shape.class().holds_all(&characters)
}

fn write_mapped(
    field: &Field,
    mapped: &Mapped,
    mti: Mti,
    composite: &Composite,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let (mut word, mut last) = (0_u64, 0);
    let mut content = Vec::new();
    for entry in &composite.entries {
        let misplaced = || Refused::from(ValueFault::Misplaced).below(&entry.name);
        if entry.name == REST {
            write_entry(field, mti, entry, &mut content)?;
            last = u8::MAX;
            continue;
        }
        let number = entry.name.parse().ok().filter(|number: &u8| *number > last && *number <= mapped.bits);
        last = number.ok_or_else(misplaced)?;
        word |= 1 << (64 - u32::from(last));
        write_entry(field, mti, entry, &mut content)?;
    }
    let is_kept = structure::read_bits(mapped, &composite.head)
        .is_some_and(|bits| !composite.head.is_empty() && bits.words() == [word, 0, 0]);
    match is_kept {
        true => out.extend_from_slice(&composite.head),
        false => write_bits(mapped, word, out),
    }
    out.extend(content);
    Ok(())
}
