//! From the text of a dialect file to the dialect: what the file says is drafted, laid over the draft of the
//! dialect it extends, and compiled. Every fault of the file is gathered.

use std::{collections::BTreeMap, ops::Range};

use toml::de::DeTable;

use crate::{
    Framing, FramingParts, LengthForm, Spec, SpecError,
    bitmap::{BitmapEncoding, LAST_FIELD, Tertiary},
    encoding::{Align, read_hex},
    field_draft::{Defaults, FieldDraft, Place},
    head::{Header, MtiEncoding},
    reader::{At, Faults, Table},
    rules::{Rule, RuleDraft},
    step::Steps,
};

/// How many dialects may extend each other.
const DEPTH: usize = 8;

/// Keys that a dialect cannot do without.
const NEEDED: [&str; 4] = ["name", "framing", "mti", "bitmap"];

/// Which fill side, alignment and pad nibble there are, by their names in a dialect file.
pub(crate) const SIDES: [(&str, Align); 2] = [("left", Align::Left), ("right", Align::Right)];
pub(crate) const PADS: [(&str, u8); 2] = [("0", 0), ("F", 0xF)];
const SEPARATORS: [(&str, u8); 2] = [("=", b'='), ("D", b'D')];
const TERTIARY: [(&str, Tertiary); 2] =
    [("after-secondary", Tertiary::AfterSecondary), ("field-65", Tertiary::Field65)];
const LENGTH_FORMS: [(&str, LengthForm); 4] = [
    ("binary", LengthForm::Binary),
    ("bcd", LengthForm::Bcd),
    ("ascii", LengthForm::Ascii),
    ("hex", LengthForm::Hex),
];

/// What a file says, or a file and all it extends.
#[derive(Clone, Default)]
struct Draft {
    /// Keys that are there, right or wrong.
    seen: Vec<&'static str>,
    name: Option<At<String>>,
    framing: Option<At<Framing>>,
    tpdu: Option<At<bool>>,
    header: Option<HeaderDraft>,
    mti: Option<At<MtiEncoding>>,
    bitmap: Option<BitmapDraft>,
    defaults: Defaults,
    fields: BTreeMap<u8, FieldDraft>,
    rules: Vec<RuleDraft>,
}

#[derive(Clone)]
struct BitmapDraft {
    encoding: BitmapEncoding,
    last: u8,
    tertiary: Tertiary,
}

#[derive(Clone)]
struct HeaderDraft {
    field: FieldDraft,
    min: u8,
    max: u8,
}

/// Compiles a dialect file.
pub(crate) fn compile(
    source: &str,
    sources: &dyn Fn(&str) -> Option<String>,
) -> Result<Spec, Vec<SpecError>> {
    let faults = Faults::new(source);
    let draft = read(source, sources, &faults, 0);
    let spec = draft.compile(&faults);
    match spec.filter(|_| faults.is_empty()) {
        Some(spec) => Ok(spec),
        None => Err(faults.into_errors()),
    }
}

/// The draft of a file laid over the drafts of those it extends.
fn read(source: &str, sources: &dyn Fn(&str) -> Option<String>, faults: &Faults<'_>, depth: usize) -> Draft {
    let (root, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        faults.note(&faults.place(error.span().unwrap_or_default()), "", error.message());
    }
    let table = Table::new(faults, root.get_ref(), 0..0, String::new());
    let base = match table.text("extends") {
        None => Draft::default(),
        Some(At { value, at }) => parent(&value, &at, sources, faults, depth),
    };
    Draft::read(&table, base)
}

fn parent(
    name: &str,
    at: &Range<usize>,
    sources: &dyn Fn(&str) -> Option<String>,
    faults: &Faults<'_>,
    depth: usize,
) -> Draft {
    let source = sources(name).or_else(|| Spec::builtin_source(name).map(str::to_owned));
    match source {
        None => faults.note(at, "", format!("there is no dialect {name:?} to extend")),
        Some(_) if depth == DEPTH => faults.note(at, "", "too many dialects extend each other"),
        Some(source) => return faults.inherit(name, at, || read(&source, sources, faults, depth + 1)),
    }
    Draft::default()
}

impl Draft {
    /// What a file says, over what it extends.
    fn read(table: &Table<'_, '_>, base: Draft) -> Draft {
        let mut draft = base;
        let extends = table.has("extends");
        draft.seen.retain(|key| *key != "name");
        draft.seen.extend(NEEDED.into_iter().filter(|key| table.has(key)));
        draft.name = table.text("name").or(draft.name.filter(|_| !extends));
        draft.framing = read_framing(table).or(draft.framing);
        draft.tpdu = table.flag("tpdu").or(draft.tpdu);
        draft.mti = table.named("mti", &MtiEncoding::NAMES).or(draft.mti);
        if let Some(header) = table.table("header") {
            draft.header = read_header(&header);
        }
        if let Some(bitmap) = table.table("bitmap") {
            draft.bitmap = read_bitmap(&bitmap);
        }
        if let Some(defaults) = table.table("defaults") {
            draft.defaults = read_defaults(&defaults).over(draft.defaults);
        }
        for At { value, at } in table.list("without") {
            match value.parse().ok().and_then(|de: u8| draft.fields.remove(&de)) {
                Some(_) => {}
                None => table.note(&at, format!("{value:?} is not a field of the dialect it extends")),
            }
        }
        if let Some(fields) = table.table("fields") {
            read_fields(&fields, &mut draft.fields);
        }
        let own = table.tables("messages").map_or(Vec::new(), |rules| rules.value);
        let own: Vec<RuleDraft> = own.iter().map(RuleDraft::read).collect();
        draft.rules.iter_mut().for_each(|rule| rule.is_inherited = true);
        draft.rules.splice(0..0, own);
        table.finish();
        draft
    }

    fn compile(self, faults: &Faults<'_>) -> Option<Spec> {
        for key in NEEDED.iter().filter(|key| !self.seen.contains(*key)) {
            faults.note(&(0..0), "", format!("`{key}` is missing"));
        }
        let defaults = self.defaults.complete(faults)?;
        let bitmap = self.bitmap?;
        let mut fields = BTreeMap::new();
        for (de, draft) in &self.fields {
            let reserved = *de == 65 && bitmap.last == LAST_FIELD;
            if !(2..=bitmap.last).contains(de) || reserved {
                let why = if reserved { " but the tertiary bitmap" } else { "" };
                let reason = format!("{de} is not a field from 2 to {}{why}", bitmap.last);
                faults.note(&draft.at, "", reason);
            }
            if let Some(field) = draft.compile(&defaults, Place::Wire, &de.to_string(), faults) {
                fields.insert(*de, field);
            }
        }
        let header = self.header.and_then(|header| {
            let field = header.field.compile(&defaults, Place::Header, "header", faults)?;
            Some(Header { field, min: header.min, max: header.max })
        });
        let rules: Vec<Rule> = {
            let is_declared = |de: u8| self.fields.contains_key(&de);
            self.rules.iter().filter_map(|rule| rule.compile(&fields, &is_declared, faults)).collect()
        };
        let mut shapes = vec![None; usize::from(LAST_FIELD) + 1];
        for (de, field) in &fields {
            if let Some(slot) = shapes.get_mut(usize::from(*de)) {
                *slot = Some(field.shape);
            }
        }
        Some(Spec {
            name: self.name?.value,
            framing: self.framing?.value,
            tpdu: if self.tpdu.is_some_and(|tpdu| tpdu.value) { 5 } else { 0 },
            header,
            mti: self.mti?.value,
            bitmap: bitmap.encoding,
            last: bitmap.last,
            tertiary: bitmap.tertiary,
            shapes,
            steps: Steps::of_shapes(fields.iter().map(|(de, field)| (*de, &field.shape))),
            fields,
            rules,
        })
    }
}

fn read_framing(table: &Table<'_, '_>) -> Option<At<Framing>> {
    if table.is_table("framing") {
        return read_own_framing(&table.table("framing")?);
    }
    table.named("framing", Framing::NAMED)
}

fn read_own_framing(table: &Table<'_, '_>) -> Option<At<Framing>> {
    let length = table.named("length", &LENGTH_FORMS);
    let octets = table.number("octets");
    let filler = table.number("filler").map_or(0, |filler| filler.value);
    let trailer = table.text("trailer");
    let inclusive = table.flag("inclusive").is_some_and(|flag| flag.value);
    table.finish();
    let trailer = match trailer {
        None => Vec::new(),
        Some(At { value, at }) => match read_hex(value.as_bytes()) {
            Some(octets) => octets,
            None => {
                table.note(&at, "`trailer` needs hexadecimal digits");
                return None;
            }
        },
    };
    let (Some(length), Some(octets)) = (length, octets) else {
        table.note(&table.at, "a framing needs `length` and `octets`");
        return None;
    };
    let octets = u8::try_from(octets.value).unwrap_or(u8::MAX);
    let filler = u8::try_from(filler).unwrap_or(u8::MAX);
    let parts = FramingParts { length: length.value, octets, inclusive, filler, trailer: &trailer };
    match Framing::new(parts) {
        Ok(framing) => Some(At { value: framing, at: table.at.clone() }),
        Err(reason) => {
            table.note(&table.at, reason);
            None
        }
    }
}

fn read_bitmap(table: &Table<'_, '_>) -> Option<BitmapDraft> {
    let encoding = table.named("encoding", &BitmapEncoding::NAMES);
    let fields = table.number("fields");
    let tertiary = table.named("tertiary", &TERTIARY).map_or(Tertiary::AfterSecondary, |found| found.value);
    table.finish();
    let Some(fields) = fields else {
        table.note(&table.at, "a bitmap needs `fields`");
        return None;
    };
    if encoding.is_none() && !table.has("encoding") {
        table.note(&table.at, "a bitmap needs `encoding`");
    }
    match u8::try_from(fields.value) {
        Ok(last @ (64 | 128 | LAST_FIELD)) => Some(BitmapDraft { encoding: encoding?.value, last, tertiary }),
        Ok(_) | Err(_) => {
            table.note(&fields.at, "a bitmap has 64, 128 or 192 fields");
            None
        }
    }
}

/// The most octets of a header.
const HEADER: u16 = 255;

fn read_header(table: &Table<'_, '_>) -> Option<HeaderDraft> {
    let (min, max) = if table.is_text("length") {
        let At { value, at } = table.text("length")?;
        if value != "first octet" {
            table.note(&at, "`length` needs a number or \"first octet\"");
        }
        (table.number("min"), table.number("max"))
    } else {
        let length = table.number("length");
        (length.clone(), length)
    };
    let mut field = FieldDraft::read_inside(table, "header");
    let (Some(min), Some(max)) = (min, max) else {
        table.note(&table.at, "a header needs `length`, or `length = \"first octet\"` with `min` and `max`");
        return None;
    };
    if min.value == 0 || min.value > max.value || max.value > HEADER {
        table.note(&max.at, format!("a header has 1 to {HEADER} octets"));
        return None;
    }
    field.hold_octets(max.value, &max.at);
    Some(HeaderDraft { field, min: u8::try_from(min.value).ok()?, max: u8::try_from(max.value).ok()? })
}

fn read_defaults(table: &Table<'_, '_>) -> Defaults {
    let defaults = Defaults {
        at: table.at.clone(),
        numeric: table.data("numeric"),
        track: table.data("track"),
        text: table.data("text"),
        characters: table.repertoire("characters"),
        binary: table.data("binary"),
        align_fixed: table.named("align_fixed", &SIDES),
        align_variable: table.named("align_variable", &SIDES),
        pad: table.named("pad", &PADS),
        prefix: table.prefix_encoding("prefix"),
        prefix_unit: table.prefix_unit("prefix_unit"),
        separator: table.named("separator", &SEPARATORS),
    };
    table.finish();
    defaults
}

fn read_fields(table: &Table<'_, '_>, fields: &mut BTreeMap<u8, FieldDraft>) {
    for (key, mut entry) in table.entries() {
        let Some(de) = key.value.parse().ok().filter(|de: &u8| de.to_string() == key.value) else {
            table.note(&key.at, format!("{:?} is not the number of a field", key.value));
            continue;
        };
        entry.field = key.value;
        let draft = FieldDraft::read(&entry);
        let whole = match fields.remove(&de) {
            Some(inherited) => draft.over(inherited),
            None => draft,
        };
        fields.insert(de, whole);
    }
}
