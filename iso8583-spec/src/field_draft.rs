//! What a dialect file says of one field, and how that becomes the field. Every fault is noted with its place.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    Content, Field, Sensitivity,
    bitmap::BitmapEncoding,
    charset::Repertoire,
    declare::{PADS, SIDES},
    encoding::Align,
    field::{Layout, Mapped, Member, Structure, TagEncoding, TagForm, TagOrder, Tagged},
    meaning::Meaning,
    reader::{At, Faults, Table},
    rules::Pattern,
    shape::{Data, Fill, Prefix, PrefixEncoding, PrefixUnit, Shape},
};

/// The most units of a field.
const LONGEST: u16 = 65_535;

const LETTERS: [(&str, u8); 6] = [("L", 1), ("LL", 2), ("LLL", 3), ("LLLL", 4), ("LLLLL", 5), ("LLLLLL", 6)];
const ORDERS: [(&str, TagOrder); 2] = [("tlv", TagOrder::Tlv), ("ltv", TagOrder::Ltv)];
const COUNTS: [(&str, bool); 2] = [("value", false), ("tag", true)];
const TAG_ENCODINGS: [(&str, (TagEncoding, bool)); 4] = [
    ("ascii", (TagEncoding::Ascii, false)),
    ("ebcdic", (TagEncoding::Ebcdic, false)),
    ("bcd", (TagEncoding::Octets, true)),
    ("binary", (TagEncoding::Octets, false)),
];

/// How fields are written that do not say.
#[derive(Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) at: Range<usize>,
    pub(crate) numeric: Option<At<Data>>,
    pub(crate) track: Option<At<Data>>,
    pub(crate) text: Option<At<Data>>,
    pub(crate) characters: Option<At<Repertoire>>,
    pub(crate) binary: Option<At<Data>>,
    pub(crate) align_fixed: Option<At<Align>>,
    pub(crate) align_variable: Option<At<Align>>,
    pub(crate) pad: Option<At<u8>>,
    pub(crate) prefix: Option<At<PrefixEncoding>>,
    pub(crate) prefix_unit: Option<At<PrefixUnit>>,
    pub(crate) separator: Option<At<u8>>,
}

/// Defaults that are all there.
pub(crate) struct Settled {
    numeric: Data,
    track: Data,
    text: Data,
    characters: Repertoire,
    binary: Data,
    align_fixed: Align,
    align_variable: Align,
    pad: u8,
    prefix: PrefixEncoding,
    prefix_unit: PrefixUnit,
    separator: u8,
}

impl Defaults {
    /// These where they say something, `base` elsewhere.
    pub(crate) fn over(self, base: Defaults) -> Defaults {
        Defaults {
            at: self.at,
            numeric: self.numeric.or(base.numeric),
            track: self.track.or(base.track),
            text: self.text.or(base.text),
            characters: self.characters.or(base.characters),
            binary: self.binary.or(base.binary),
            align_fixed: self.align_fixed.or(base.align_fixed),
            align_variable: self.align_variable.or(base.align_variable),
            pad: self.pad.or(base.pad),
            prefix: self.prefix.or(base.prefix),
            prefix_unit: self.prefix_unit.or(base.prefix_unit),
            separator: self.separator.or(base.separator),
        }
    }

    /// `None`, with a fault for every key that is missing.
    pub(crate) fn complete(&self, faults: &Faults<'_>) -> Option<Settled> {
        for (key, is_there) in [
            ("numeric", self.numeric.is_some()),
            ("track", self.track.is_some()),
            ("text", self.text.is_some()),
            ("binary", self.binary.is_some()),
            ("align_fixed", self.align_fixed.is_some()),
            ("align_variable", self.align_variable.is_some()),
            ("pad", self.pad.is_some()),
            ("prefix", self.prefix.is_some()),
            ("prefix_unit", self.prefix_unit.is_some()),
            ("separator", self.separator.is_some()),
        ] {
            // What is there and wrong has been noted already.
            if !is_there && faults.is_empty() {
                faults.note(&self.at, "", format!("`defaults` needs `{key}`"));
            }
        }
        let value = |data: &Option<At<Data>>| data.as_ref().map(|data| data.value);
        Some(Settled {
            numeric: value(&self.numeric)?,
            track: value(&self.track)?,
            text: value(&self.text)?,
            characters: self.characters.as_ref().map_or(Repertoire::Ascii, |found| found.value),
            binary: value(&self.binary)?,
            align_fixed: self.align_fixed.as_ref()?.value,
            align_variable: self.align_variable.as_ref()?.value,
            pad: self.pad.as_ref()?.value,
            prefix: self.prefix.as_ref()?.value,
            prefix_unit: self.prefix_unit.as_ref()?.value,
            separator: self.separator.as_ref()?.value,
        })
    }
}

impl Settled {
    fn data(&self, content: Content) -> Data {
        match content {
            Content::N | Content::Xn => self.numeric,
            Content::Z | Content::Zx => self.track,
            Content::A | Content::An | Content::Ans | Content::Ns => self.text,
            Content::B => self.binary,
        }
    }
}

/// Where a field stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the message itself.
    Wire,
    /// In front of the MTI; it has no length of its own to declare.
    Header,
    /// A part within octets.
    Octets,
    /// A part within the characters of a field of this content, already read from their encoding.
    Characters(Content, Repertoire),
}

/// What is said of a field, or of a part of one.
#[derive(Clone, Default)]
pub(crate) struct FieldDraft {
    pub(crate) at: Range<usize>,
    /// Whether a fault of it has been noted already: nothing that may follow from it is told then.
    is_faulty: bool,
    key: Option<At<String>>,
    name: Option<At<String>>,
    content: Option<At<Content>>,
    length: Option<At<u16>>,
    max: Option<At<u16>>,
    min: Option<At<u16>>,
    prefix: Option<At<u8>>,
    prefix_encoding: Option<At<PrefixEncoding>>,
    prefix_unit: Option<At<PrefixUnit>>,
    inclusive: Option<At<bool>>,
    encoding: Option<At<Data>>,
    characters: Option<At<Repertoire>>,
    align: Option<At<Align>>,
    pad: Option<At<u8>>,
    fill: Option<At<Fill>>,
    sensitivity: Option<At<Sensitivity>>,
    meaning: Option<At<Meaning>>,
    values: Option<BTreeMap<String, String>>,
    pattern: Option<At<Pattern>>,
    structure: Option<At<StructureDraft>>,
}

#[derive(Clone)]
enum StructureDraft {
    Layouts(Vec<LayoutDraft>),
    Tagged { form: FormDraft, tags: Vec<(At<String>, FieldDraft)>, other: Option<Box<FieldDraft>> },
    Mapped { encoding: BitmapEncoding, bits: At<u16>, fields: Vec<(At<String>, FieldDraft)> },
}

#[derive(Clone)]
struct LayoutDraft {
    at: Range<usize>,
    mti: Vec<At<String>>,
    min: usize,
    parts: Vec<FieldDraft>,
    items: Vec<FieldDraft>,
}

#[derive(Clone)]
enum FormDraft {
    Ber,
    Pds,
    Dataset,
    Simple {
        tag: At<u16>,
        tag_encoding: Option<At<(TagEncoding, bool)>>,
        length: At<u16>,
        length_encoding: Option<At<PrefixEncoding>>,
        order: TagOrder,
        counts_tag: bool,
    },
}

impl Table<'_, '_> {
    pub(crate) fn data(&self, key: &'static str) -> Option<At<Data>> {
        self.named(key, &Data::NAMES)
    }

    pub(crate) fn repertoire(&self, key: &'static str) -> Option<At<Repertoire>> {
        self.named(key, &Repertoire::NAMES)
    }

    pub(crate) fn prefix_encoding(&self, key: &'static str) -> Option<At<PrefixEncoding>> {
        self.named(key, &PrefixEncoding::NAMES)
    }

    pub(crate) fn prefix_unit(&self, key: &'static str) -> Option<At<PrefixUnit>> {
        self.named(key, &PrefixUnit::NAMES)
    }
}

impl FieldDraft {
    /// What a table says of a field.
    pub(crate) fn read(table: &Table<'_, '_>) -> FieldDraft {
        let before = table.faults.count();
        let mut draft = FieldDraft::read_keys(table);
        draft.name = table.text("name");
        table.finish();
        draft.is_faulty = table.faults.count() > before;
        draft
    }

    /// What a table says of a part: its name is its key, its label what it is.
    fn read_part(table: &Table<'_, '_>) -> FieldDraft {
        let before = table.faults.count();
        let mut draft = FieldDraft::read_keys(table);
        draft.key = table.text("name");
        draft.name = table.text("label");
        if draft.key.as_ref().is_none_or(|key| key.value.is_empty()) {
            table.note(&table.at, "a part has a `name`");
        }
        table.finish();
        draft.is_faulty = table.faults.count() > before;
        draft
    }

    /// What a table that has keys of its own says of what lies inside.
    pub(crate) fn read_inside(table: &Table<'_, '_>, name: &str) -> FieldDraft {
        let own = table.text("name");
        let structure = read_structure(table);
        table.finish();
        let at = table.at.clone();
        let name = own.unwrap_or(At { value: name.to_owned(), at: at.clone() });
        FieldDraft { at, name: Some(name), structure, ..FieldDraft::default() }
    }

    /// Makes it hold so many octets.
    pub(crate) fn hold_octets(&mut self, octets: u16, at: &Range<usize>) {
        self.content = Some(At { value: Content::B, at: at.clone() });
        self.encoding = Some(At { value: Data::Binary, at: at.clone() });
        self.length = Some(At { value: octets, at: at.clone() });
    }

    fn read_keys(table: &Table<'_, '_>) -> FieldDraft {
        FieldDraft {
            at: table.at.clone(),
            is_faulty: false,
            key: None,
            name: None,
            content: table.named("content", &Content::NAMES),
            length: table.number("length"),
            max: table.number("max"),
            min: table.number("min"),
            prefix: table.named("prefix", &LETTERS),
            prefix_encoding: table.prefix_encoding("prefix_encoding"),
            prefix_unit: table.prefix_unit("prefix_unit"),
            inclusive: table.flag("inclusive"),
            encoding: table.data("encoding"),
            characters: table.repertoire("characters"),
            align: table.named("align", &SIDES),
            pad: table.named("pad", &PADS),
            fill: table.table("fill").and_then(|fill| read_fill(&fill)),
            sensitivity: table.named("sensitivity", &Sensitivity::NAMES),
            meaning: table.named("meaning", Meaning::NAMES),
            values: table.table("values").map(|values| {
                values.texts().into_iter().map(|(key, text)| (key.value, text.value)).collect()
            }),
            pattern: read_pattern(table),
            structure: read_structure(table),
        }
    }

    /// This where it says something, `base` elsewhere.
    pub(crate) fn over(self, base: FieldDraft) -> FieldDraft {
        let is_fixed = self.length.is_some();
        let is_variable = self.max.is_some() || self.prefix.is_some() || self.min.is_some();
        FieldDraft {
            at: self.at,
            is_faulty: self.is_faulty || base.is_faulty,
            key: self.key.or(base.key),
            name: self.name.or(base.name),
            content: self.content.or(base.content),
            length: self.length.or(base.length.filter(|_| !is_variable)),
            max: self.max.or(base.max.filter(|_| !is_fixed)),
            min: self.min.or(base.min.filter(|_| !is_fixed)),
            prefix: self.prefix.or(base.prefix.filter(|_| !is_fixed)),
            prefix_encoding: self.prefix_encoding.or(base.prefix_encoding.filter(|_| !is_fixed)),
            prefix_unit: self.prefix_unit.or(base.prefix_unit.filter(|_| !is_fixed)),
            inclusive: self.inclusive.or(base.inclusive.filter(|_| !is_fixed)),
            encoding: self.encoding.or(base.encoding),
            characters: self.characters.or(base.characters),
            align: self.align.or(base.align),
            pad: self.pad.or(base.pad),
            fill: self.fill.or(base.fill),
            sensitivity: self.sensitivity.or(base.sensitivity),
            meaning: self.meaning.or(base.meaning),
            values: self.values.or(base.values),
            pattern: self.pattern.or(base.pattern),
            structure: self.structure.or(base.structure),
        }
    }

    /// The field, or `None` with a fault for all that is wrong with it. `path` names it in the text of a fault.
    pub(crate) fn compile(
        &self,
        defaults: &Settled,
        place: Place,
        path: &str,
        faults: &Faults<'_>,
    ) -> Option<Field> {
        if self.is_faulty {
            return None;
        }
        let note = |at: &Range<usize>, reason: &str| faults.note(at, path, reason);
        let content = match (&self.content, place) {
            (Some(content), _) => content.value,
            (None, Place::Characters(content, _)) => content,
            (None, Place::Octets | Place::Header) => Content::B,
            (None, Place::Wire) => {
                note(&self.at, "needs `content`");
                return None;
            }
        };
        if place == Place::Wire && self.name.is_none() {
            note(&self.at, "needs `name`");
        }
        let shape = self.shape(defaults, place, content, &note)?;
        let structure = match &self.structure {
            None => Structure::Plain,
            Some(draft) => draft.value.compile(&draft.at, &shape, defaults, path, faults)?,
        };
        Some(Field {
            shape,
            name: self.name.as_ref().map_or(String::new(), |name| name.value.clone()),
            sensitivity: self.sensitivity.as_ref().map_or(Sensitivity::None, |found| found.value),
            meaning: self.meaning.as_ref().map(|found| found.value),
            values: self.values.clone().unwrap_or_default(),
            pattern: self.pattern.as_ref().map(|pattern| pattern.value.clone()),
            structure,
        })
    }

    fn shape(
        &self,
        defaults: &Settled,
        place: Place,
        content: Content,
        note: &dyn Fn(&Range<usize>, &str),
    ) -> Option<Shape> {
        let data = self.data(defaults, place, content, note)?;
        let repertoire = self.repertoire(defaults, place, content, note)?;
        let prefix = self.prefix.as_ref().map(|letters| {
            let characters = matches!(place, Place::Characters(..));
            let default = if characters { PrefixEncoding::Ascii } else { defaults.prefix };
            let encoding = self.prefix_encoding.as_ref().map_or(default, |found| found.value);
            let unit = if characters { PrefixUnit::Content } else { defaults.prefix_unit };
            Prefix {
                letters: letters.value,
                width: encoding.width(letters.value),
                encoding,
                unit: self.prefix_unit.as_ref().map_or(unit, |found| found.value),
                is_inclusive: self.inclusive.as_ref().is_some_and(|found| found.value),
            }
        });
        let (min, max) = self.lengths(content, place, note)?;
        let align =
            self.align.as_ref().map_or(
                if prefix.is_none() { defaults.align_fixed } else { defaults.align_variable },
                |found| found.value,
            );
        let blank = Fill { side: Align::Right, with: b' ' };
        let fill = match &self.fill {
            Some(fill) => Some(fill.value),
            None => (self.length.is_some() && content.is_blank_filled()).then_some(blank),
        };
        let pad = self.pad.as_ref().map_or(defaults.pad, |found| found.value);
        // The characters of a field of track data have been read: their separator is D.
        let is_read = matches!(place, Place::Characters(Content::Z, _));
        let separator = if is_read { b'D' } else { defaults.separator };
        let shape = Shape { content, repertoire, data, align, pad, separator, fill, prefix, min, max };
        self.check(&shape, place, note).then_some(shape)
    }

    fn data(
        &self,
        defaults: &Settled,
        place: Place,
        content: Content,
        note: &dyn Fn(&Range<usize>, &str),
    ) -> Option<Data> {
        let data = match (&self.encoding, place) {
            (None, Place::Characters(..)) => Data::Ascii,
            (Some(encoding), Place::Characters(..)) => {
                note(&encoding.at, "a part of characters has no encoding of its own");
                return None;
            }
            (Some(encoding), _) => encoding.value,
            // What the field around it writes as hexadecimal has been read from it.
            (None, Place::Octets) if content == Content::B => Data::Binary,
            (None, _) => defaults.data(content),
        };
        if data.suits(content) {
            return Some(data);
        }
        let at = self.encoding.as_ref().map(|encoding| &encoding.at);
        let at = at.or(self.content.as_ref().map(|content| &content.at)).unwrap_or(&self.at);
        let reason = match place {
            Place::Characters(..) => "octets do not lie inside characters".to_owned(),
            Place::Wire | Place::Header | Place::Octets => {
                format!("content {} cannot be written as {}", content.notation(), data.name())
            }
        };
        note(at, &reason);
        None
    }

    /// Which characters it holds.
    fn repertoire(
        &self,
        defaults: &Settled,
        place: Place,
        content: Content,
        note: &dyn Fn(&Range<usize>, &str),
    ) -> Option<Repertoire> {
        let around = match place {
            Place::Characters(_, around) => around,
            Place::Wire | Place::Header | Place::Octets => defaults.characters,
        };
        let is_part = matches!(place, Place::Characters(..));
        let reason = match &self.characters {
            None if content == Content::Ans => return Some(around),
            None => return Some(Repertoire::Ascii),
            Some(own) if own.value == Repertoire::Ascii => return Some(Repertoire::Ascii),
            Some(_) if content != Content::Ans => "content ans alone has characters beyond ASCII",
            Some(own) if is_part && around != own.value => {
                "the field around it has characters of ASCII alone"
            }
            Some(own) => return Some(own.value),
        };
        note(self.characters.as_ref().map_or(&self.at, |own| &own.at), reason);
        None
    }

    /// Least and most units.
    fn lengths(
        &self,
        content: Content,
        place: Place,
        note: &dyn Fn(&Range<usize>, &str),
    ) -> Option<(u16, u16)> {
        // The standard counts the digits of x+n; the sign comes on top.
        let sign = u16::from(content == Content::Xn);
        let (min, max, at) = match (&self.length, &self.max, &self.prefix) {
            (Some(length), None, None) if self.min.is_none() => {
                let units = length.value.saturating_add(sign);
                (units, units, &length.at)
            }
            (None, Some(max), Some(_)) => (self.min.as_ref().map_or(0, |min| min.value), max.value, &max.at),
            // The value of a tag is as long as the tag says.
            (None, max, None) if place == Place::Octets || matches!(place, Place::Characters(..)) => {
                if self.key.is_some() {
                    note(&self.at, "a part has a `length`, or `max` and `prefix`");
                    return None;
                }
                let most = max.as_ref().map_or(LONGEST, |max| max.value.saturating_add(sign));
                (self.min.as_ref().map_or(0, |min| min.value).saturating_add(sign), most, &self.at)
            }
            (Some(_) | None, _, _) => {
                note(&self.at, "needs `length`, or `max` and `prefix` (and may have `min`)");
                return None;
            }
        };
        if max == 0 {
            note(at, "cannot be empty");
            return None;
        }
        if min > max {
            note(at, "`min` is more than `max`");
            return None;
        }
        Some((min, max))
    }

    /// Combinations that cannot be written or read back.
    fn check(&self, shape: &Shape, place: Place, note: &dyn Fn(&Range<usize>, &str)) -> bool {
        let fill_at = self.fill.as_ref().map(|fill| &fill.at);
        if let (Some(at), Some(fill)) = (fill_at, shape.fill) {
            let reason = match (&self.length, shape.content) {
                (None, _) => Some("only a fixed field is filled up"),
                (Some(_), Content::B) => Some("octets are not filled up"),
                (Some(_), Content::Xn) if fill.side == Align::Right || fill.with != b'0' => {
                    Some("an amount is filled up with zeros on the left")
                }
                (Some(_), content) if content != Content::Xn && !content.class().holds_all(&[fill.with]) => {
                    Some("is filled up with what its content does not allow")
                }
                (Some(_), _) => None,
            };
            if let Some(reason) = reason {
                note(at, reason);
                return false;
            }
        }
        let Some(prefix) = shape.prefix else {
            if self.length.is_none()
                && shape.data == Data::Bcd
                && shape.content == Content::Zx
                && shape.pad == 0xF
            {
                let at = self.pad.as_ref().map_or(&self.at, |pad| &pad.at);
                note(at, "content zx of a tag needs pad 0: its last nibble may be any");
                return false;
            }
            let needless = [
                ("prefix_encoding", self.prefix_encoding.as_ref().map(|found| &found.at)),
                ("prefix_unit", self.prefix_unit.as_ref().map(|found| &found.at)),
                ("inclusive", self.inclusive.as_ref().map(|found| &found.at)),
            ];
            for (key, at) in needless {
                if let Some(at) = at {
                    note(at, &format!("`{key}` is of a field with a prefix"));
                    return false;
                }
            }
            return true;
        };
        self.check_prefix(shape, prefix, place, note)
    }

    fn check_prefix(
        &self,
        shape: &Shape,
        prefix: Prefix,
        place: Place,
        note: &dyn Fn(&Range<usize>, &str),
    ) -> bool {
        let at = |found: Option<&Range<usize>>| found.unwrap_or(&self.at).clone();
        let unit_at = at(self.prefix_unit.as_ref().map(|found| &found.at));
        if shape.content == Content::Xn {
            note(&at(self.prefix.as_ref().map(|found| &found.at)), "content x+n is of fixed length");
            return false;
        }
        if shape.data == Data::Bcd && prefix.unit == PrefixUnit::Octets {
            let reason = match (shape.content, shape.pad) {
                (Content::Zx, _) => "content zx is counted in digits: its last nibble may be any",
                (_, 0xF) => "",
                (_, _) => "packed digits counted in octets need pad F: nothing else tells an odd number",
            };
            if !reason.is_empty() {
                note(&unit_at, reason);
                return false;
            }
        }
        if prefix.is_inclusive && prefix.unit == PrefixUnit::Content {
            let at = at(self.inclusive.as_ref().map(|found| &found.at));
            note(&at, "a prefix that counts itself counts in octets or nibbles");
            return false;
        }
        if matches!(place, Place::Characters(..))
            && !matches!(prefix.encoding, PrefixEncoding::Ascii | PrefixEncoding::Hex)
        {
            let at = at(self.prefix_encoding.as_ref().map(|found| &found.at));
            note(&at, "a prefix among characters is one of characters: ascii or hex");
            return false;
        }
        let (most, limit) =
            (shape.count(prefix, usize::from(shape.max)), prefix.encoding.limit(prefix.letters));
        if most > limit {
            let at = at(self.max.as_ref().map(|found| &found.at));
            note(&at, &format!("a prefix that ends at {limit} cannot say {most}"));
            return false;
        }
        true
    }
}

fn read_fill(table: &Table<'_, '_>) -> Option<At<Fill>> {
    let side = table.named("side", &SIDES);
    let with = table.text("with");
    table.finish();
    let (Some(side), Some(with)) = (side, with) else {
        table.note(&table.at, "`fill` needs `side` and `with`");
        return None;
    };
    match with.value.as_bytes() {
        [with @ 0x20..=0x7E] => {
            Some(At { value: Fill { side: side.value, with: *with }, at: table.at.clone() })
        }
        [..] => {
            table.note(&with.at, "`with` is one printable character");
            None
        }
    }
}

fn read_pattern(table: &Table<'_, '_>) -> Option<At<Pattern>> {
    let At { value, at } = table.text("pattern")?;
    match Pattern::parse(&value) {
        Ok(pattern) => Some(At { value: pattern, at }),
        Err(reason) => {
            table.note(&at, reason);
            None
        }
    }
}

fn read_structure(table: &Table<'_, '_>) -> Option<At<StructureDraft>> {
    let at = table.at.clone();
    let parted = ["parts", "items", "layouts"].into_iter().any(|key| table.has(key));
    let kinds = [parted, table.has("tlv"), table.has("bitmap")];
    let tagged = read_tagged(table);
    let mapped = table.table("bitmap").and_then(|bitmap| read_mapped(&bitmap));
    let layouts = read_layouts(table);
    if kinds.iter().filter(|kind| **kind).count() > 1 {
        table.note(&at, "has one structure: parts, items and layouts, or tlv, or bitmap");
        return None;
    }
    Some(At { value: tagged.or(mapped).or(layouts)?, at })
}

fn read_layouts(table: &Table<'_, '_>) -> Option<StructureDraft> {
    let one = LayoutDraft::read_parts(table);
    let mut layouts: Vec<LayoutDraft> = table
        .tables("layouts")
        .map_or(Vec::new(), |layouts| layouts.value)
        .iter()
        .map(LayoutDraft::read)
        .collect();
    if !one.parts.is_empty() || !one.items.is_empty() {
        layouts.push(one);
    }
    (!layouts.is_empty()).then_some(StructureDraft::Layouts(layouts))
}

impl LayoutDraft {
    fn read(table: &Table<'_, '_>) -> LayoutDraft {
        let mut layout = LayoutDraft::read_parts(table);
        layout.mti = table.list("mti");
        layout.min = table.number("min").map_or(0, |min| usize::from(min.value));
        table.finish();
        if layout.parts.is_empty() && layout.items.is_empty() {
            table.note(&table.at, "a layout has parts or items");
        }
        layout
    }

    fn read_parts(table: &Table<'_, '_>) -> LayoutDraft {
        let parts = |key| {
            let tables = table.tables(key).map_or(Vec::new(), |tables| tables.value);
            tables.iter().map(FieldDraft::read_part).collect()
        };
        LayoutDraft {
            at: table.at.clone(),
            mti: Vec::new(),
            min: 0,
            parts: parts("parts"),
            items: parts("items"),
        }
    }

    fn compile(&self, shape: &Shape, defaults: &Settled, path: &str, faults: &Faults<'_>) -> Option<Layout> {
        for beginning in &self.mti {
            if beginning.value.len() > 4 || !beginning.value.bytes().all(|octet| octet.is_ascii_digit()) {
                faults.note(&beginning.at, path, "an MTI begins with up to four digits");
            }
        }
        let member = |prefix: &str, draft: &FieldDraft| {
            let key = draft.key.as_ref()?.value.clone();
            let path = format!("{prefix}.{key}");
            Some(Member { field: draft.compile(defaults, inside(shape), &path, faults)?, key })
        };
        let parts: Vec<Member> = self.parts.iter().filter_map(|part| member(path, part)).collect();
        let item_path = format!("{path}.{}", crate::structure::ITEM);
        let items: Vec<Member> = self.items.iter().filter_map(|part| member(&item_path, part)).collect();
        if parts.len() < self.parts.len() || items.len() < self.items.len() {
            return None;
        }
        let least =
            |members: &[Member]| -> usize { members.iter().map(|member| taken(&member.field.shape)).sum() };
        let total = least(&parts) + least(&items);
        if total > usize::from(shape.max) {
            let kind = if shape.is_binary() { "octets" } else { "characters" };
            let reason = format!("its parts take {total} of at most {} {kind}", shape.max);
            faults.note(&self.at, path, reason);
            return None;
        }
        let item = (!items.is_empty()).then(|| Box::new(item_field(shape, items)));
        let mti = self.mti.iter().map(|beginning| beginning.value.clone()).collect();
        Some(Layout { mti, min: self.min, parts, item })
    }
}

/// Octets or characters that a part takes at least.
fn taken(shape: &Shape) -> usize {
    shape.prefix_width() + shape.width(usize::from(shape.min))
}

/// The field that stands for an item of those that repeat.
fn item_field(shape: &Shape, items: Vec<Member>) -> Field {
    let (content, data) =
        if shape.is_binary() { (Content::B, Data::Binary) } else { (Content::Ans, Data::Ascii) };
    let layout = Layout { mti: Vec::new(), min: 0, parts: items, item: None };
    Field {
        shape: Shape { content, data, fill: None, prefix: None, min: 0, max: LONGEST, ..*shape },
        name: String::new(),
        sensitivity: Sensitivity::None,
        meaning: None,
        values: BTreeMap::new(),
        pattern: None,
        structure: Structure::Layouts(vec![layout]),
    }
}

/// Where the parts of a field of this shape stand.
fn inside(shape: &Shape) -> Place {
    if shape.is_binary() { Place::Octets } else { Place::Characters(shape.content, shape.repertoire) }
}

fn read_tagged(table: &Table<'_, '_>) -> Option<StructureDraft> {
    let form = if table.is_table("tlv") {
        let own = table.table("tlv")?;
        let form = read_form(&own);
        own.finish();
        form
    } else {
        let names = [("ber", FormDraft::Ber), ("pds", FormDraft::Pds), ("dataset", FormDraft::Dataset)];
        match table.text("tlv") {
            None => None,
            Some(At { value, at }) => {
                let found = names.into_iter().find(|(name, _)| *name == value).map(|(_, form)| form);
                if found.is_none() {
                    table.note(&at, format!("`tlv`: {value:?} is none of ber, pds, dataset"));
                }
                found
            }
        }
    };
    let tags = table.table("tags").map_or(Vec::new(), |tags| entries(&tags, &table.field));
    let other = table.table("value").map(|value| {
        let draft = FieldDraft::read(&value);
        Box::new(draft)
    });
    if form.is_none() && (table.has("tags") || table.has("value")) && !table.has("tlv") {
        table.note(&table.at, "`tags` and `value` need `tlv`");
    }
    Some(StructureDraft::Tagged { form: form?, tags, other })
}

fn read_form(table: &Table<'_, '_>) -> Option<FormDraft> {
    let (tag, length) = (table.number("tag"), table.number("length"));
    let tag_encoding = table.named("tag_encoding", &TAG_ENCODINGS);
    let length_encoding = table.prefix_encoding("length_encoding");
    let order = table.named("order", &ORDERS).map_or(TagOrder::Tlv, |found| found.value);
    let counts_tag = table.named("counts", &COUNTS).is_some_and(|found| found.value);
    let (Some(tag), Some(length)) = (tag, length) else {
        table.note(&table.at, "`tlv` needs `tag` and `length`");
        return None;
    };
    Some(FormDraft::Simple { tag, tag_encoding, length, length_encoding, order, counts_tag })
}

/// Tables under keys of the writer's choice, each a field.
fn entries(table: &Table<'_, '_>, path: &str) -> Vec<(At<String>, FieldDraft)> {
    let read = |(key, mut entry): (At<String>, Table<'_, '_>)| {
        entry.field = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
        let draft = FieldDraft::read(&entry);
        (key, draft)
    };
    table.entries().into_iter().map(read).collect()
}

fn read_mapped(table: &Table<'_, '_>) -> Option<StructureDraft> {
    let encoding = table.named("encoding", &BitmapEncoding::NAMES);
    let bits = table.number("bits");
    let fields = table.table("fields").map_or(Vec::new(), |fields| entries(&fields, &table.field));
    table.finish();
    let (Some(encoding), Some(bits)) = (encoding, bits) else {
        table.note(&table.at, "a bitmap needs `encoding`, `bits` and `fields`");
        return None;
    };
    Some(StructureDraft::Mapped { encoding: encoding.value, bits, fields })
}

impl StructureDraft {
    fn compile(
        &self,
        at: &Range<usize>,
        shape: &Shape,
        defaults: &Settled,
        path: &str,
        faults: &Faults<'_>,
    ) -> Option<Structure> {
        match self {
            StructureDraft::Layouts(drafts) => {
                let compiled = drafts.iter().map(|draft| draft.compile(shape, defaults, path, faults));
                let layouts: Vec<Option<Layout>> = compiled.collect();
                Some(Structure::Layouts(layouts.into_iter().collect::<Option<_>>()?))
            }
            StructureDraft::Tagged { form, tags, other } => {
                let form_found = form.compile(at, shape, path, faults);
                let place = inside(shape);
                let field = |key: &str, draft: &FieldDraft| {
                    let path = format!("{path}.{key}");
                    let mut draft = draft.clone();
                    if draft.content.is_none() && !shape.is_binary() {
                        draft.content = Some(At { value: Content::Ans, at: draft.at.clone() });
                    }
                    draft.compile(defaults, place, &path, faults)
                };
                let known = tags.iter().map(|(key, draft)| {
                    if !form.names(&key.value, shape) {
                        faults.note(&key.at, path, format!("{:?} is no tag of this form", key.value));
                    }
                    Some((key.value.clone(), field(&key.value, draft)?))
                });
                let known: Vec<Option<(String, Field)>> = known.collect();
                let other = match (other, form) {
                    (Some(draft), _) => field("value", draft),
                    (None, FormDraft::Dataset) => Some(dataset_value(shape)),
                    (None, _) => Some(plain_value(shape)),
                };
                let tags = known.into_iter().collect::<Option<BTreeMap<_, _>>>()?;
                Some(Structure::Tagged(Tagged { form: form_found?, tags, other: Box::new(other?) }))
            }
            StructureDraft::Mapped { encoding, bits, fields } => {
                if !shape.is_binary() {
                    faults.note(at, path, "a bitmap lies inside content b");
                    return None;
                }
                let last =
                    u8::try_from(bits.value).ok().filter(|bits| bits % 8 == 0 && (8..=64).contains(bits));
                let Some(last) = last else {
                    faults.note(&bits.at, path, "a bitmap within a field has 8, 16 … 64 bits");
                    return None;
                };
                let compiled = fields.iter().map(|(key, draft)| {
                    let number = key.value.parse().ok().filter(|number: &u8| (1..=last).contains(number));
                    if number.is_none() {
                        faults.note(&key.at, path, format!("{:?} is not a bit from 1 to {last}", key.value));
                    }
                    let path = format!("{path}.{}", key.value);
                    let mut part = draft.clone();
                    part.key = Some(key.clone());
                    let field = part.compile(defaults, Place::Octets, &path, faults);
                    Some((number?, field?))
                });
                let compiled: Vec<Option<(u8, Field)>> = compiled.collect();
                let fields = compiled.into_iter().collect::<Option<BTreeMap<_, _>>>()?;
                Some(Structure::Mapped(Mapped { encoding: *encoding, bits: last, fields }))
            }
        }
    }
}

/// The value of a tag that nothing is said of.
fn plain_value(shape: &Shape) -> Field {
    let (content, data) =
        if shape.is_binary() { (Content::B, Data::Binary) } else { (Content::Ans, Data::Ascii) };
    Field {
        shape: Shape { content, data, fill: None, prefix: None, min: 0, max: LONGEST, ..*shape },
        name: String::new(),
        sensitivity: Sensitivity::None,
        meaning: None,
        values: BTreeMap::new(),
        pattern: None,
        structure: Structure::Plain,
    }
}

/// The value of a data set: BER-TLV (ISO 8583:2003, clause 4.4).
fn dataset_value(shape: &Shape) -> Field {
    let other = Box::new(plain_value(shape));
    let structure = Structure::Tagged(Tagged { form: TagForm::Ber, tags: BTreeMap::new(), other });
    Field { structure, ..plain_value(shape) }
}

impl FormDraft {
    fn compile(&self, at: &Range<usize>, shape: &Shape, path: &str, faults: &Faults<'_>) -> Option<TagForm> {
        let simple = |tag, tag_width, length, length_width| TagForm::Simple {
            tag,
            tag_width,
            length,
            length_width,
            order: TagOrder::Tlv,
            counts_tag: false,
        };
        let needs = |wanted: bool, what: &str| {
            if shape.is_binary() != wanted {
                faults.note(at, path, what.to_owned());
            }
            shape.is_binary() == wanted
        };
        match self {
            FormDraft::Ber => needs(true, "BER-TLV lies inside content b").then_some(TagForm::Ber),
            FormDraft::Dataset => needs(true, "data sets lie inside content b")
                .then(|| simple(TagEncoding::Octets, 1, PrefixEncoding::Binary, 2)),
            FormDraft::Pds => needs(false, "a PDS lies inside characters, not inside content b")
                .then(|| simple(TagEncoding::Ascii, 4, PrefixEncoding::Ascii, 3)),
            FormDraft::Simple { tag, tag_encoding, length, length_encoding, order, counts_tag } => {
                let (tag, tag_width) = tag_form(tag, tag_encoding.as_ref(), shape, path, faults)?;
                let (length, length_width) =
                    length_form(length, length_encoding.as_ref(), shape, path, faults)?;
                let (order, counts_tag) = (*order, *counts_tag);
                Some(TagForm::Simple { tag, tag_width, length, length_width, order, counts_tag })
            }
        }
    }

    /// Whether a tag can be called so.
    fn names(&self, name: &str, shape: &Shape) -> bool {
        let hexadecimal = |octets: usize| {
            name.len() == octets * 2 && name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))
        };
        match self {
            FormDraft::Ber => name == name.to_uppercase() && crate::tlv::tag_of(name).is_some(),
            FormDraft::Dataset => hexadecimal(1),
            FormDraft::Pds => name.len() == 4 && name.bytes().all(|digit| digit.is_ascii_digit()),
            FormDraft::Simple { tag, tag_encoding, .. } => {
                let encoding = tag_encoding.as_ref().map(|encoding| encoding.value);
                match encoding.filter(|_| shape.is_binary()) {
                    Some((TagEncoding::Octets, true)) => hexadecimal(usize::from(tag.value).div_ceil(2)),
                    Some((TagEncoding::Octets, false)) => hexadecimal(usize::from(tag.value)),
                    Some((TagEncoding::Ascii | TagEncoding::Ebcdic, _)) | None => {
                        name.len() == usize::from(tag.value)
                            && name.bytes().all(|c| (0x20..0x7F).contains(&c))
                    }
                }
            }
        }
    }
}

fn tag_form(
    digits: &At<u16>,
    encoding: Option<&At<(TagEncoding, bool)>>,
    shape: &Shape,
    path: &str,
    faults: &Faults<'_>,
) -> Option<(TagEncoding, usize)> {
    let (encoding, is_packed) = match (encoding, shape.is_binary()) {
        (None, true) => {
            faults.note(&digits.at, path, "inside content b a tag needs `tag_encoding`");
            return None;
        }
        (Some(encoding), false) => {
            faults.note(&encoding.at, path, "inside characters a tag has no encoding of its own");
            return None;
        }
        (None, false) => (TagEncoding::Ascii, false),
        (Some(encoding), true) => encoding.value,
    };
    if !(1..=8).contains(&digits.value) {
        faults.note(&digits.at, path, "a tag has 1 to 8 characters, digits or octets");
        return None;
    }
    let width = usize::from(digits.value);
    Some((encoding, if is_packed { width.div_ceil(2) } else { width }))
}

fn length_form(
    digits: &At<u16>,
    encoding: Option<&At<PrefixEncoding>>,
    shape: &Shape,
    path: &str,
    faults: &Faults<'_>,
) -> Option<(PrefixEncoding, usize)> {
    let encoding = match (encoding, shape.is_binary()) {
        (None, true) => {
            faults.note(&digits.at, path, "inside content b a length needs `length_encoding`");
            return None;
        }
        (Some(encoding), false) => {
            faults.note(&encoding.at, path, "inside characters a length has no encoding of its own");
            return None;
        }
        (None, false) => PrefixEncoding::Ascii,
        (Some(encoding), true) => encoding.value,
    };
    let most = if encoding == PrefixEncoding::Binary { 3 } else { 6 };
    if !(1..=most).contains(&digits.value) {
        faults.note(&digits.at, path, format!("a length has 1 to {most} characters, digits or octets"));
        return None;
    }
    let width = usize::from(digits.value);
    Some((encoding, if encoding == PrefixEncoding::Bcd { width.div_ceil(2) } else { width }))
}
