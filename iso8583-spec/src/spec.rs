//! A dialect as data: the TOML file that declares it, and the tables it compiles to.
//!
//! Every choice is its own key (content, length, data encoding, prefix encoding, prefix unit, padding), so that
//! any two can be combined. Knows no message.

use std::{collections::BTreeMap, ops::Range, sync::LazyLock};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    Content, Field, Framing, Sensitivity, SpecError,
    bitmap::BitmapEncoding,
    encoding::Align,
    field::{Data, Layout, Prefix, PrefixEncoding, PrefixUnit, Shape},
};

/// How a dialect writes the MTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MtiEncoding {
    /// Two octets of packed digits.
    Bcd,
    /// Four ASCII digits.
    Ascii,
}

impl MtiEncoding {
    /// Octets on the wire.
    pub(crate) fn width(self) -> usize {
        match self {
            MtiEncoding::Bcd => 2,
            MtiEncoding::Ascii => 4,
        }
    }
}

/// A compiled dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    name: String,
    framing: Framing,
    tpdu: usize,
    header: usize,
    mti: MtiEncoding,
    bitmap: BitmapEncoding,
    last: u8,
    shapes: Vec<Option<Shape>>,
    fields: BTreeMap<u8, Field>,
}

/// The dialects that come with the crate: name and file.
const BUILTIN: [(&str, &str); 3] = [
    ("unionpay-pos", include_str!("../specs/unionpay-pos.toml")),
    ("edc", include_str!("../specs/edc.toml")),
    ("iso87-ascii", include_str!("../specs/iso87-ascii.toml")),
];

const BUILTIN_NAMES: [&str; 3] = ["unionpay-pos", "edc", "iso87-ascii"];

static COMPILED: LazyLock<Vec<Spec>> =
    LazyLock::new(|| BUILTIN.iter().filter_map(|(_, source)| Spec::parse(source).ok()).collect());

impl Spec {
    /// A dialect that comes with the crate.
    pub fn builtin(name: &str) -> Option<&'static Spec> {
        COMPILED.iter().find(|spec| spec.name == name)
    }

    /// The names [`Spec::builtin`] knows.
    pub fn builtin_names() -> &'static [&'static str] {
        &BUILTIN_NAMES
    }

    /// The file behind a dialect that comes with the crate: the model for a new one.
    pub fn builtin_source(name: &str) -> Option<&'static str> {
        BUILTIN.iter().find(|(builtin, _)| *builtin == name).map(|(_, source)| *source)
    }

    /// Compiles a dialect file.
    ///
    /// # Errors
    /// The first thing wrong with it, with line, column and field.
    pub fn parse(toml: &str) -> Result<Spec, SpecError> {
        let document: Document = toml::from_str(toml).map_err(|error| SpecError {
            reason: error.message().to_owned(),
            ..located(toml, error.span().unwrap_or_default(), None, "")
        })?;
        document.compile(toml)
    }

    /// The dialect's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the dialect's messages are told apart in a stream.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Octets of the TPDU: 5 or 0.
    pub fn tpdu_len(&self) -> usize {
        self.tpdu
    }

    /// Octets of the dialect's own header, 0 when it has none.
    pub fn header_len(&self) -> usize {
        self.header
    }

    /// What the dialect says about a field.
    pub fn field(&self, de: u8) -> Option<&Field> {
        self.fields.get(&de)
    }

    /// Every field of the dialect, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Field)> {
        self.fields.iter().map(|(de, field)| (*de, field))
    }

    pub(crate) fn mti_encoding(&self) -> MtiEncoding {
        self.mti
    }

    pub(crate) fn bitmap_encoding(&self) -> BitmapEncoding {
        self.bitmap
    }

    /// Whether messages may carry a secondary bitmap.
    pub(crate) fn has_secondary(&self) -> bool {
        self.last > 64
    }

    pub(crate) fn shape(&self, de: u8) -> Option<&Shape> {
        self.shapes.get(usize::from(de))?.as_ref()
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    framing: Spanned<String>,
    head: Option<HeadDef>,
    mti: MtiEncoding,
    bitmap: BitmapDef,
    defaults: Defaults,
    fields: BTreeMap<Spanned<String>, Spanned<FieldDef>>,
}

/// What stands before the MTI.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HeadDef {
    /// Octets of TPDU: 0 or 5.
    tpdu: Option<Spanned<usize>>,
    /// Octets of the dialect's header.
    header: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BitmapDef {
    encoding: BitmapEncoding,
    /// 64 or 128.
    fields: Spanned<u8>,
}

/// How a field is written when it does not say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    /// `n` and `x+n`.
    numeric: Data,
    /// `z` and `zx`.
    track: Data,
    /// `a`, `an`, `ans`, `ns`.
    text: Data,
    /// `b`.
    binary: Data,
    /// Packed digits of fixed fields.
    align_fixed: Align,
    /// Packed digits of variable fields.
    align_variable: Align,
    /// The nibble beside an odd number of packed digits.
    pad: Pad,
    prefix: PrefixEncoding,
    prefix_unit: PrefixUnit,
    /// What parts track data written as characters.
    separator: Separator,
}

#[derive(Deserialize, Clone, Copy)]
enum Pad {
    #[serde(rename = "0")]
    Zero,
    F,
}

#[derive(Deserialize, Clone, Copy)]
enum Separator {
    #[serde(rename = "=")]
    Equals,
    D,
}

#[derive(Deserialize, Clone, Copy)]
enum Letters {
    #[serde(rename = "L")]
    One,
    #[serde(rename = "LL")]
    Two,
    #[serde(rename = "LLL")]
    Three,
    #[serde(rename = "LLLL")]
    Four,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum TlvDef {
    Ber,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldDef {
    name: String,
    content: Content,
    /// Units of a fixed field.
    length: Option<u16>,
    /// Most units of a variable field.
    max: Option<u16>,
    /// Least units of a variable field.
    min: Option<u16>,
    prefix: Option<Letters>,
    prefix_encoding: Option<PrefixEncoding>,
    prefix_unit: Option<PrefixUnit>,
    encoding: Option<Data>,
    align: Option<Align>,
    pad: Option<Pad>,
    #[serde(default)]
    sensitivity: Sensitivity,
    tlv: Option<TlvDef>,
    #[serde(default)]
    layouts: Vec<Layout>,
}

impl Document {
    fn compile(self, source: &str) -> Result<Spec, SpecError> {
        let at = |span: Range<usize>, reason: &str| located(source, span, None, reason);
        let framing = Framing::by_name(self.framing.get_ref())
            .ok_or_else(|| at(self.framing.span(), "no framing of this name"))?;
        let last = match *self.bitmap.fields.get_ref() {
            last @ (64 | 128) => last,
            _ => return Err(at(self.bitmap.fields.span(), "a bitmap has 64 or 128 fields")),
        };
        let head = self.head.unwrap_or_default();
        let tpdu = bounded(head.tpdu, |length| matches!(length, 0 | 5))
            .map_err(|span| at(span, "a TPDU has 5 octets, or there is none"))?;
        let header = bounded(head.header, |length| length <= 64)
            .map_err(|span| at(span, "a header has at most 64 octets"))?;

        let mut fields = BTreeMap::new();
        for (key, def) in self.fields {
            let de = number(key.get_ref(), last).ok_or_else(|| {
                at(key.span(), &format!("{:?} is not a field from 2 to {last}", key.get_ref()))
            })?;
            let span = key.span();
            let field = def
                .into_inner()
                .compile(&self.defaults)
                .map_err(|reason| located(source, span, Some(de), &reason))?;
            fields.insert(de, field);
        }
        let mut shapes = vec![None; 129];
        for (de, field) in &fields {
            if let Some(slot) = shapes.get_mut(usize::from(*de)) {
                *slot = Some(field.shape);
            }
        }
        let (mti, bitmap) = (self.mti, self.bitmap.encoding);
        Ok(Spec { name: self.name, framing, tpdu, header, mti, bitmap, last, shapes, fields })
    }
}

/// A length from the file, or the span of one that is not good.
fn bounded(value: Option<Spanned<usize>>, is_good: impl Fn(usize) -> bool) -> Result<usize, Range<usize>> {
    match value {
        None => Ok(0),
        Some(value) if is_good(*value.get_ref()) => Ok(value.into_inner()),
        Some(value) => Err(value.span()),
    }
}

/// The field a key of the table means. Field 1 is the secondary bitmap itself.
fn number(key: &str, last: u8) -> Option<u8> {
    let de = key.parse().ok()?;
    ((2..=last).contains(&de) && key == de.to_string()).then_some(de)
}

impl FieldDef {
    fn compile(self, defaults: &Defaults) -> Result<Field, String> {
        let data = self.encoding.unwrap_or(match self.content {
            Content::N | Content::Xn => defaults.numeric,
            Content::Z | Content::Zx => defaults.track,
            Content::A | Content::An | Content::Ans | Content::Ns => defaults.text,
            Content::B => defaults.binary,
        });
        let prefix = self.prefix.map(|letters| Prefix {
            digits: letters as u8 + 1,
            encoding: self.prefix_encoding.unwrap_or(defaults.prefix),
            unit: self.prefix_unit.unwrap_or(defaults.prefix_unit),
        });
        let (min, max) = self.lengths(prefix)?;
        let align = self.align.unwrap_or(match prefix {
            None => defaults.align_fixed,
            Some(_) => defaults.align_variable,
        });
        let pad = match self.pad.unwrap_or(defaults.pad) {
            Pad::Zero => 0,
            Pad::F => 0xF,
        };
        let separator = match defaults.separator {
            Separator::Equals => b'=',
            Separator::D => b'D',
        };
        let shape = Shape { content: self.content, data, align, pad, separator, prefix, min, max };
        check_shape(&shape)?;
        check_layouts(&self, &shape)?;
        Ok(Field {
            shape,
            name: self.name,
            sensitivity: self.sensitivity,
            is_tlv: self.tlv.is_some(),
            layouts: self.layouts,
        })
    }

    /// Least and most units.
    fn lengths(&self, prefix: Option<Prefix>) -> Result<(u16, u16), String> {
        let (min, max) = match (self.length, self.max, prefix) {
            (Some(length), None, None) if self.min.is_none() => {
                // The standard counts the digits of x+n; the sign comes on top.
                let units = length.saturating_add(u16::from(self.content == Content::Xn));
                (units, units)
            }
            (None, Some(max), Some(_)) => (self.min.unwrap_or(0), max),
            (Some(_) | None, _, _) => {
                return Err("needs `length`, or `max` and `prefix` (and may have `min`)".to_owned());
            }
        };
        match max {
            0 => Err("cannot be empty".to_owned()),
            1..=9999 if min <= max => Ok((min, max)),
            1..=9999 => Err("`min` is more than `max`".to_owned()),
            10000.. => Err("is longer than 9999".to_owned()),
        }
    }
}

/// Combinations that cannot be written or read back.
fn check_shape(shape: &Shape) -> Result<(), String> {
    let (content, data) = (shape.content, shape.data);
    let fits = match data {
        Data::Binary | Data::Hex => content == Content::B,
        Data::Ascii => content != Content::B,
        Data::Bcd => matches!(content, Content::N | Content::Z | Content::Zx | Content::Xn),
    };
    if !fits {
        return Err(format!("content {} cannot be written as {data:?}", content.notation()).to_lowercase());
    }
    let Some(prefix) = shape.prefix else { return Ok(()) };
    if content == Content::Xn {
        return Err("content x+n is of fixed length".to_owned());
    }
    if data == Data::Bcd && prefix.unit == PrefixUnit::Octets {
        return Err("the prefix of packed digits counts digits: octets do not tell an odd number".to_owned());
    }
    let most = shape.count(prefix, usize::from(shape.max));
    if most > prefix.limit() {
        return Err(format!("a prefix that ends at {} cannot say {most}", prefix.limit()));
    }
    Ok(())
}

fn check_layouts(def: &FieldDef, shape: &Shape) -> Result<(), String> {
    if def.tlv.is_some() && (!shape.is_binary() || !def.layouts.is_empty()) {
        return Err("`tlv` needs content b and no layouts".to_owned());
    }
    if shape.is_binary() && !def.layouts.is_empty() {
        return Err("layouts part characters, not content b".to_owned());
    }
    for layout in &def.layouts {
        if layout.parts.is_empty() && layout.items.is_empty() {
            return Err("a layout has parts or items".to_owned());
        }
        let every = || layout.parts.iter().chain(&layout.items);
        if every().any(|part| part.length == 0 || part.name.is_empty()) {
            return Err("a part has a name and a length".to_owned());
        }
        let parts: usize = every().map(|part| part.length).sum();
        if parts > usize::from(shape.max) {
            return Err(format!("its parts take {parts} of at most {} characters", shape.max));
        }
    }
    Ok(())
}

fn located(source: &str, span: Range<usize>, field: Option<u8>, reason: &str) -> SpecError {
    let before = source.get(..span.start).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    SpecError { line, column, field, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_compiles_under_its_name() {
        for (name, source) in BUILTIN {
            let spec = Spec::parse(source).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(spec.name(), name);
            assert_eq!(Spec::builtin(name), Some(&spec));
            assert!(Spec::builtin_names().contains(&name));
        }
        assert_eq!(Spec::builtin("unknown"), None);
    }

    const HEAD: &str = r#"name = "t"
framing = "length-2"
mti = "bcd"
bitmap = { encoding = "binary", fields = 64 }
[defaults]
numeric = "bcd"
track = "bcd"
text = "ascii"
binary = "binary"
align_fixed = "right"
align_variable = "left"
pad = "0"
prefix = "bcd"
prefix_unit = "content"
separator = "D"
[fields]
"#;

    #[test]
    fn a_faulty_file_names_line_column_and_field() {
        // (line 17 of the file, column, field, part of the reason)
        let rows: [(&str, usize, Option<u8>, &str); 14] = [
            (
                r#"3 = { name = "x", content = "n", length = 6, lenght = 6 }"#,
                46,
                None,
                "unknown field `lenght`",
            ),
            (r#"3 = { name = "x", content = "q", length = 6 }"#, 29, None, "unknown variant `q`"),
            (r#"3 = { name = "x", content = "n" }"#, 1, Some(3), "needs `length`"),
            (r#"3 = { name = "x", content = "n", length = 6, max = 7 }"#, 1, Some(3), "needs `length`"),
            (r#"3 = { name = "x", content = "n", max = 7 }"#, 1, Some(3), "needs `length`"),
            (r#"3 = { name = "x", content = "n", max = 100, prefix = "LL" }"#, 1, Some(3), "cannot say 100"),
            (
                r#"3 = { name = "x", content = "n", min = 9, max = 8, prefix = "LL" }"#,
                1,
                Some(3),
                "more than",
            ),
            (r#"3 = { name = "x", content = "n", length = 0 }"#, 1, Some(3), "cannot be empty"),
            (
                r#"3 = { name = "x", content = "ans", length = 6, encoding = "bcd" }"#,
                1,
                Some(3),
                "written as bcd",
            ),
            (r#"3 = { name = "x", content = "n", length = 6, tlv = "ber" }"#, 1, Some(3), "needs content b"),
            (
                r#"3 = { name = "x", content = "n", length = 6, layouts = [{ parts = [{ name = "1", length = 7 }] }] }"#,
                1,
                Some(3),
                "its parts take 7",
            ),
            (r#"1 = { name = "x", content = "n", length = 6 }"#, 1, None, "not a field from 2 to 64"),
            (r#"65 = { name = "x", content = "n", length = 6 }"#, 1, None, "not a field from 2 to 64"),
            (r#"03 = { name = "x", content = "n", length = 6 }"#, 1, None, "not a field from 2 to 64"),
        ];
        for (row, column, field, reason) in rows {
            let error = Spec::parse(&format!("{HEAD}{row}\n")).unwrap_err();
            assert_eq!((error.line, error.column, error.field), (17, column, field), "{row}: {error}");
            assert!(error.reason.contains(reason), "{row}: {error}");
        }
    }

    #[test]
    fn a_faulty_head_names_line_and_column() {
        // (what to change, into what, line, part of the reason)
        let rows = [
            ("length-2", "length-3", 2, "no framing"),
            ("fields = 64", "fields = 65", 4, "64 or 128"),
            ("[defaults]", "head = { tpdu = 4 }\n[defaults]", 5, "5 octets"),
            ("[defaults]", "head = { header = 65 }\n[defaults]", 5, "64 octets"),
            ("name = \"t\"\n", "", 1, "missing field `name`"),
        ];
        for (from, to, line, reason) in rows {
            let error = Spec::parse(&HEAD.replace(from, to)).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.reason.contains(reason), "{error}");
        }
        assert!(Spec::parse(HEAD).is_ok());
    }

    #[test]
    fn notation_of_the_standard() {
        let spec = Spec::builtin("unionpay-pos").unwrap();
        let rows = [(2, "n..19"), (3, "n6"), (48, "n...322"), (35, "zx..37"), (64, "b8")];
        for (de, notation) in rows {
            assert_eq!(spec.field(de).unwrap().notation(), notation);
        }
    }
}
