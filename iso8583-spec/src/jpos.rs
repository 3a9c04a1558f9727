//! A jPOS GenericPackager file (XML) made into a dialect file (TOML).
//!
//! A packager names a Java class for every field; `CLASSES` says what each class does on the wire. What a dialect
//! cannot say is left out and noted. Knows no message and does not read dialects: it writes words of their schema.

use std::{collections::BTreeMap, fmt};

use roxmltree::{Document, Node, ParsingOptions};

/// Octets of the largest packager that is read; public ones have at most 60 KiB.
const MAX_LEN: usize = 1 << 20;
/// Octets from one `<` to the next: the parser's time grows with the square of a tag's attributes.
const MAX_TAG: usize = 1 << 14;
/// Elements within each other.
const MAX_DEPTH: usize = 16;
/// Units of the longest field of a dialect.
const LONGEST: u32 = 65_535;

/// A dialect file made from a packager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The text of the dialect file.
    pub toml: String,
    /// What it could not say exactly, by line.
    pub notes: Vec<Note>,
}

/// Something a dialect could not say exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Line of the packager, from 1.
    pub line: usize,
    /// The field (`48`) or what lies in it (`48.2`); `None` for the packager itself.
    pub field: Option<String>,
    /// What was done about it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(out, "line {}, field {field}: {}", self.line, self.text),
            None => write!(out, "line {}: {}", self.line, self.text),
        }
    }
}

/// Why a file is no packager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ImportError {
    /// Line of the packager, from 1.
    pub line: usize,
    /// Column of the line, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Makes a dialect file called `name` from a GenericPackager file.
///
/// Root attributes: `maxValidField` changes nothing on the wire, in jPOS too. A field whose class is not known is
/// left out with a note.
///
/// # Errors
/// The file is no XML, too large, too deep, declares entities, has another root than `isopackager`, or a field lacks
/// its id, length or class or has a number that is none.
pub fn import(xml: &str, name: &str) -> Result<Import, ImportError> {
    check_size(xml)?;
    // Entities multiply what they stand for, and no packager needs one.
    if let Some(at) = xml.find("<!ENTITY") {
        return Err(fault(xml, at, "entity declarations are not read"));
    }
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml, options).map_err(|error| not_xml(&error))?;
    let root = document.root_element();
    let is_deep = |node: &Node<'_, '_>| node.is_element() && node.ancestors().nth(MAX_DEPTH + 1).is_some();
    if let Some(deep) = root.descendants().find(is_deep) {
        return Err(fault(xml, deep.range().start, &format!("elements lie more than {MAX_DEPTH} deep")));
    }
    if root.tag_name().name() != "isopackager" {
        let reason = format!("the root is <{}>, not <isopackager>", root.tag_name().name());
        return Err(fault(xml, root.range().start, &reason));
    }
    let ends = xml.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = Reader { xml, ends, notes: Vec::new() };
    let dialect = reader.dialect(root)?;
    reader.notes.sort_by_key(|note| note.line);
    Ok(Import { toml: dialect.write(name), notes: reader.notes })
}

fn check_size(xml: &str) -> Result<(), ImportError> {
    if xml.len() > MAX_LEN {
        return Err(fault(xml, 0, &format!("the file has more than {MAX_LEN} octets")));
    }
    let mut at = 0_usize;
    for piece in xml.split('<') {
        if piece.len() > MAX_TAG && !piece.starts_with("!--") {
            return Err(fault(xml, at.saturating_sub(1), &format!("a tag has more than {MAX_TAG} octets")));
        }
        at += piece.len() + 1;
    }
    Ok(())
}

/// The parser's error without the place, which it says at the end.
fn not_xml(error: &roxmltree::Error) -> ImportError {
    let (at, text) = (error.pos(), error.to_string());
    let reason = text.strip_suffix(&format!(" at {at}")).unwrap_or(&text).to_owned();
    ImportError { line: at.row as usize, column: at.col as usize, reason }
}

fn fault(xml: &str, at: usize, reason: &str) -> ImportError {
    let before = xml.get(..at).unwrap_or_default();
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    ImportError { line: before.matches('\n').count() + 1, column, reason: reason.to_owned() }
}

/// What a class holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digits,
    Text,
    Octets,
    /// Hexadecimal digits, packed; the class counts digits.
    HexDigits,
    /// A sign and digits; the class counts both.
    Amount,
    Bitmap,
    /// Takes no octet.
    Nothing,
    /// A dialect cannot say it.
    Unsaid,
}
use Kind::{Amount, Bitmap, Digits, HexDigits, Nothing, Octets, Text, Unsaid};

/// A length prefix in the words of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    letters: u32,
    encoding: &'static str,
    unit: &'static str,
    is_inclusive: bool,
}

impl Prefix {
    /// Octets on the wire.
    fn width(self) -> u32 {
        if matches!(self.encoding, PACKED | RAW) { self.letters.div_ceil(2) } else { self.letters }
    }

    /// The most units of content in `data` that it can count.
    fn limit(self, data: &str) -> u32 {
        let says = match self.encoding {
            RAW => 256_u32.pow(self.width()) - 1,
            _ => 10_u32.pow(self.letters) - 1,
        };
        let counted = if self.is_inclusive { says - self.width() } else { says };
        match (self.unit, data) {
            ("octets", PACKED) => counted * 2,
            ("nibbles", RAW) => counted / 2,
            _ => counted,
        }
    }
}

/// The tag a class writes beside its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    /// Characters; 0: as many as the field's token.
    digits: u32,
    encoding: &'static str,
    order: &'static str,
}

/// What a class does on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    /// Without its package; `*` stands for the letters `L` to `LLLLLL` of its prefix.
    name: &'static str,
    kind: Kind,
    data: &'static str,
    prefix: Option<Prefix>,
    /// Beside an odd number of packed digits.
    pad: &'static str,
    tag: Option<Tag>,
    /// What a dialect does not say of it.
    remark: &'static str,
}

impl Class {
    /// The class of this name, its prefix of as many letters as there are in the name.
    fn of(name: &str) -> Option<Class> {
        let letters = name.split_once('_').map_or(0, |(_, tail)| tail.matches('L').count());
        let is_this = |class: &&Class| match class.name.split_once('*') {
            None => class.name == name,
            Some((head, tail)) => {
                let middle = name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
                (1..=6).contains(&letters) && middle.is_some_and(|middle| middle == "L".repeat(letters))
            }
        };
        let class = CLASSES.iter().find(is_this)?;
        let letters = u32::try_from(letters).ok()?;
        // What more than two octets of binary prefix are called, nobody has said.
        if letters > 3 && class.prefix.is_some_and(|prefix| prefix.encoding == RAW) {
            return None;
        }
        Some(Class { prefix: class.prefix.map(|prefix| Prefix { letters, ..prefix }), ..*class })
    }

    /// Its prefix counts in these units and not in those of its content.
    const fn counts(self, unit: &'static str) -> Class {
        let prefix = match self.prefix {
            Some(prefix) => Some(Prefix { unit, ..prefix }),
            None => None,
        };
        Class { prefix, ..self }
    }

    const fn tag(self, digits: u32, encoding: &'static str, order: &'static str) -> Class {
        Class { tag: Some(Tag { digits, encoding, order }), ..self }
    }
}

const fn fixed(name: &'static str, kind: Kind, data: &'static str) -> Class {
    Class { name, kind, data, prefix: None, pad: "0", tag: None, remark: "" }
}

const fn var(name: &'static str, kind: Kind, data: &'static str, encoding: &'static str) -> Class {
    let prefix = Prefix { letters: 0, encoding, unit: "content", is_inclusive: false };
    Class { prefix: Some(prefix), ..fixed(name, kind, data) }
}

const fn unsaid(name: &'static str, remark: &'static str) -> Class {
    Class { remark, ..fixed(name, Unsaid, "") }
}

const ASCII: &str = "ascii";
/// The code page of jPOS.
const EBCDIC: &str = "ebcdic-1047";
/// Of a prefix or tag.
const E: &str = "ebcdic";
const PACKED: &str = "bcd";
const RAW: &str = "binary";
const HEX: &str = "hex";
const EBCDIC_HEX: &str = "ebcdic-hex";

const REST: &str = "takes all that is left, which a dialect cannot say";
const FILLED: &str = "fills up behind its count, which a dialect cannot say";
const ENDED: &str = "ends at a mark, which a dialect cannot say";
const OPTIONAL: &str = "is there only when a letter comes next, which a dialect cannot say";
const SIGNED: &str = "has its sign in the last digit, which a dialect cannot say";
const EVEN: &str = "counts the pad of an odd number as a digit, a dialect does not";

/// What the classes of `org.jpos.iso` and `org.jpos.tlv.packager` do (jPOS 3.0).
#[rustfmt::skip]
const CLASSES: &[Class] = &[
    fixed("IFA_NUMERIC", Digits, ASCII),
    fixed("IFB_NUMERIC", Digits, PACKED),
    fixed("IFE_NUMERIC", Digits, EBCDIC),
    Class { pad: "F", ..fixed("IFB_FNUMERIC", Digits, PACKED) },
    fixed("IFA_AMOUNT2003", Digits, ASCII),
    fixed("IFB_AMOUNT2003", Digits, PACKED),
    var("IFA_*NUM", Digits, ASCII, ASCII),
    Class { remark: EVEN, ..var("IFA_*BNUM", Digits, PACKED, ASCII) },
    var("IFB_*NUM", Digits, PACKED, PACKED),
    var("IFB_*HNUM", Digits, PACKED, RAW),
    Class { pad: "F", ..var("IFB_F*NUM", Digits, PACKED, PACKED) },
    var("IFE_*NUM", Digits, EBCDIC, E),
    Class { pad: "F", ..var("IFEB_*NUM", Digits, PACKED, E).counts("octets") },
    unsaid("IFA_FLLNUM", FILLED),
    unsaid("IFE_SIGNED_NUMERIC", SIGNED),

    fixed("IF_CHAR", Text, ASCII),
    fixed("IF_ECHAR", Text, EBCDIC),
    fixed("IFE_CHAR", Text, EBCDIC),
    var("IFA_*CHAR", Text, ASCII, ASCII),
    var("IFB_*CHAR", Text, ASCII, PACKED),
    var("IFB_*HCHAR", Text, ASCII, RAW),
    var("IFB_*HECHAR", Text, EBCDIC, RAW),
    var("IFE_*CHAR", Text, EBCDIC, E),
    var("IFE_*EBINARY", Text, EBCDIC, E),
    var("IFAE_*CHAR", Text, EBCDIC, ASCII),
    var("IFEA_*CHAR", Text, ASCII, E),
    unsaid("IFA_FLLCHAR", FILLED),
    unsaid("IF_TCHAR", ENDED),
    unsaid("IF_FSTCHAR", ENDED),
    unsaid("IF_FCHAR", REST),
    unsaid("IFMC_TCC", OPTIONAL),
    unsaid("IFEMC_TCC", OPTIONAL),

    fixed("IFA_BINARY", Octets, HEX),
    fixed("IFB_BINARY", Octets, RAW),
    fixed("IFE_BINARY", Octets, EBCDIC_HEX),
    fixed("IFB_HEX", HexDigits, RAW),
    var("IFA_*BINARY", Octets, RAW, ASCII),
    var("IFA_*ABINARY", Octets, HEX, ASCII),
    var("IFB_*BINARY", Octets, RAW, PACKED),
    var("IFB_*HBINARY", Octets, RAW, RAW),
    var("IFB_*HEX", Octets, RAW, PACKED).counts("nibbles"),
    var("IFE_*BINARY", Octets, RAW, E),
    unsaid("IFB_LLHFBINARY", FILLED),
    unsaid("IF_FSTBINARY", ENDED),
    unsaid("IF_FBINARY", REST),

    fixed("IFA_AMOUNT", Amount, ASCII),
    fixed("IFB_AMOUNT", Amount, PACKED),
    fixed("IFE_AMOUNT", Amount, EBCDIC),
    fixed("IFA_BITMAP", Bitmap, HEX),
    fixed("IFB_BITMAP", Bitmap, RAW),
    fixed("IFE_BITMAP", Bitmap, EBCDIC_HEX),
    fixed("Base1_BITMAP126", Bitmap, RAW),
    fixed("IF_NOP", Nothing, ""),
    fixed("IF_UNUSED", Nothing, ""),

    // What lies in a field by tag. A length that stands first counts the tag.
    var("IFA_TT*CHAR", Text, ASCII, ASCII).tag(2, ASCII, "tlv"),
    var("IFA_TTT*CHAR", Text, ASCII, ASCII).tag(3, ASCII, "tlv"),
    var("IFA_TT*BINARY", Octets, RAW, ASCII).tag(2, ASCII, "tlv"),
    var("IFTA_*NUM", Digits, ASCII, ASCII).tag(0, ASCII, "tlv"),
    var("IFTA_*CHAR", Text, ASCII, ASCII).tag(0, ASCII, "tlv"),
    var("IFTA_*BINARY", Octets, RAW, ASCII).tag(0, ASCII, "tlv"),
    var("IFTB_*BINARY", Octets, RAW, PACKED).tag(0, ASCII, "tlv"),
    var("IFMC_*CHAR", Text, ASCII, ASCII).tag(2, ASCII, "tlv"),
    var("IFMC_*BINARY", Octets, RAW, ASCII).tag(2, ASCII, "tlv"),
    var("IFIPM_*CHAR", Text, ASCII, ASCII).tag(4, ASCII, "tlv"),
    var("IFEMC_LLCHAR", Text, EBCDIC, E).tag(2, ASCII, "tlv"),
    var("IFEMC_LLLCHAR", Text, EBCDIC, E).tag(4, E, "tlv"),
    var("IFEPE_LLCHAR", Text, EBCDIC, E).tag(2, E, "tlv"),
    var("IFEPE_LLLCHAR", Text, EBCDIC, E).tag(3, E, "tlv"),
    var("IFEPE_LLBINARY", Octets, RAW, E).tag(2, E, "tlv"),
    var("IFEP_LLCHAR", Text, ASCII, ASCII).tag(2, ASCII, "ltv"),
    var("IFEP_LLLCHAR", Text, ASCII, E).tag(2, E, "ltv"),
    var("IFEP_LLLBINARY", Octets, RAW, E).tag(2, E, "ltv"),
    var("IFELPE_LLLCHAR", Text, EBCDIC, E).tag(2, E, "ltv"),
];

/// How a packager within a field cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cutter {
    /// By position from this part, or by a bitmap when one of the parts is one.
    Parts(u32),
    /// By the tags of the classes.
    Tags,
    /// By tags of the packager's own form.
    Mapped,
    /// By tags in a form that has a name, as octets or in hexadecimal characters.
    Named(&'static str, &'static str),
}

const CUTTERS: &[(&str, Cutter)] = &[
    // Part 0 is an MTI to it, unless `firstField` says otherwise.
    ("GenericSubFieldPackager", Cutter::Parts(1)),
    ("GenericPackager", Cutter::Parts(0)),
    ("GenericValidatingPackager", Cutter::Parts(0)),
    ("Base1SubFieldPackager", Cutter::Parts(0)),
    ("CTCSubFieldPackager", Cutter::Parts(0)),
    ("EuroSubFieldPackager", Cutter::Tags),
    ("MasterCardEBCDICSubFieldPackager", Cutter::Tags),
    ("GICCSubFieldPackager", Cutter::Tags),
    ("TaggedSequencePackager", Cutter::Tags),
    ("GenericTaggedFieldsPackager", Cutter::Mapped),
    ("BERTLVBinaryPackager", Cutter::Named("ber", RAW)),
    ("BERTLVAsciiHexPackager", Cutter::Named("ber", HEX)),
    ("BERTLVEbcdicHexPackager", Cutter::Named("ber", EBCDIC_HEX)),
    ("ICCDataPackager", Cutter::Named("ber", RAW)),
    ("DatasetPackager", Cutter::Named("dataset", RAW)),
];

/// Fields that are masked, by number.
const SENSITIVE: &[(u32, &str)] =
    &[(2, "pan"), (34, "pan"), (35, "track"), (36, "track"), (45, "track"), (52, "pin"), (55, "icc")];

/// A field, part or tag in the words of a dialect.
#[derive(Debug, Clone)]
struct Field {
    /// Its number, the name of the part, or the tag.
    key: String,
    name: String,
    shape: Shape,
    sensitivity: &'static str,
    inside: Inside,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    content: &'static str,
    /// The most, or the only number; 0 when a tag does not bound it.
    units: u32,
    data: &'static str,
    prefix: Option<Prefix>,
    /// Where packed digits stand when their number is odd, and what stands beside them.
    odd: Option<(&'static str, &'static str)>,
}

impl Shape {
    /// How it is written, and its prefix.
    fn encodings(&self) -> [&'static str; 2] {
        [self.data, self.prefix.map_or(ASCII, |prefix| prefix.encoding)]
    }

    /// The same octets as content b; nothing when the content is translated or packed.
    fn octets(self) -> Option<Shape> {
        match (self.content, self.data) {
            ("b", _) => Some(self),
            ("x+n", _) => None,
            (_, ASCII) => Some(Shape { content: "b", data: RAW, ..self }),
            _ => None,
        }
    }

    /// The octets that this content stands for when it is hexadecimal digits in `data`.
    fn hex_octets(self, data: &'static str) -> Option<Shape> {
        let data = match (self.data, data) {
            (ASCII | RAW, _) => data,
            (EBCDIC, HEX) => EBCDIC_HEX,
            _ => return None,
        };
        let prefix = self.prefix.map(|prefix| Prefix { unit: "octets", ..prefix });
        Some(Shape { content: "b", units: (self.units / 2).max(1), data, prefix, odd: None })
    }

    /// The fewest characters or octets that it takes as a part of `outer`.
    fn least(&self, outer: &Shape) -> u32 {
        let sign = u32::from(self.content == "x+n");
        match (self.prefix, outer.content, self.data) {
            (Some(prefix), _, _) => prefix.width(),
            (None, "b", PACKED) => self.units.div_ceil(2) + sign,
            (None, "b", HEX | EBCDIC_HEX) => self.units * 2,
            (None, _, _) => self.units + sign,
        }
    }
}

#[derive(Debug, Clone)]
enum Inside {
    Whole,
    Parts(Vec<Field>),
    /// In a form that has a name.
    Named(&'static str),
    /// The tags, and what is said of all others.
    Tags(Form, Vec<Field>, Option<Box<Field>>),
    /// Encoding, bits, and fields.
    Bitmap(&'static str, u32, Vec<Field>),
}

/// How tag and length stand before a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    tag: u32,
    tag_encoding: &'static str,
    length: u32,
    length_encoding: &'static str,
    order: &'static str,
    counts: &'static str,
}

/// An `isofield` or `isofieldpackager`, its class looked up.
struct Item<'a> {
    node: Node<'a, 'a>,
    id: u32,
    path: String,
    length: u32,
    class_name: &'a str,
    class: Option<Class>,
}

impl<'a> Item<'a> {
    fn is(&self, kind: Kind) -> bool {
        self.class.is_some_and(|class| class.kind == kind)
    }

    fn says(&self, attribute: &str) -> bool {
        is_true(self.node.attribute(attribute))
    }

    fn token(&self) -> &'a str {
        self.node.attribute("token").unwrap_or_default()
    }

    /// What it is called, in words.
    fn name(&self) -> String {
        let name = self.node.attribute("name").unwrap_or_default().trim();
        if name.is_empty() { format!("field {}", self.path) } else { name.to_owned() }
    }

    /// The form of the tags it is one of.
    fn form(&self) -> Option<Form> {
        let class = self.class?;
        let (Tag { digits, encoding, order }, prefix) = (class.tag?, class.prefix?);
        let tag = if digits == 0 { u32::try_from(self.token().len()).ok()? } else { digits };
        let counts = if order == "ltv" { "tag" } else { "value" };
        let (length, length_encoding) = (prefix.letters, prefix.encoding);
        Some(Form { tag, tag_encoding: encoding, length, length_encoding, order, counts })
    }

    /// The tag that stands for it; `None` stands for all others.
    fn tag(&self, form: Form) -> Option<String> {
        if self.class.and_then(|class| class.tag).is_none_or(|tag| tag.digits > 0) {
            return Some(tag_of_number(self.id, form.tag));
        }
        Some(self.token()).filter(|token| !token.starts_with('#')).map(str::to_owned)
    }
}

/// Decimal digits as long as they do, then those to the base of 36 that are not decimal: after 99 comes 0A (110).
fn tag_of_number(number: u32, digits: u32) -> String {
    let decimals = 10_u32.saturating_pow(digits);
    let (mut rest, base) = if number < decimals { (number, 10) } else { (number - decimals, 36) };
    let mut tag = String::new();
    while rest > 0 || tag.len() < digits as usize {
        tag.extend(char::from_digit(rest % base, base));
        rest /= base;
    }
    tag.to_uppercase().chars().rev().collect()
}

/// `true` as Java reads it.
fn is_true(word: Option<&str>) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case("true"))
}

/// A class without its package.
fn short_name(class: &str) -> &str {
    class.trim().rsplit('.').next().unwrap_or_default()
}

/// The fields of a packager, or what lies inside a field, by number.
type Items<'a> = BTreeMap<u32, Item<'a>>;
type Read<T> = Result<T, ImportError>;

struct Reader<'a> {
    xml: &'a str,
    /// Where lines end.
    ends: Vec<usize>,
    notes: Vec<Note>,
}

impl<'a> Reader<'a> {
    fn note_at(&mut self, node: Node<'_, '_>, field: Option<&str>, text: impl Into<String>) {
        let line = self.ends.partition_point(|end| *end < node.range().start) + 1;
        self.notes.push(Note { line, field: field.map(str::to_owned), text: text.into() });
    }

    fn note(&mut self, item: &Item<'_>, text: impl Into<String>) {
        self.note_at(item.node, Some(&item.path), text);
    }

    fn required(&self, node: Node<'a, 'a>, attribute: &str) -> Read<&'a str> {
        let reason = || format!("<{}> has no `{attribute}`", node.tag_name().name());
        node.attribute(attribute).ok_or_else(|| fault(self.xml, node.range().start, &reason()))
    }

    fn number(&self, node: Node<'a, 'a>, attribute: &str) -> Read<Option<u32>> {
        let Some(found) = node.attribute_node(attribute) else { return Ok(None) };
        let reason = || format!("`{attribute}` is no number from 0 on: {:?}", found.value());
        match found.value().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(fault(self.xml, found.range_value().start, &reason())),
        }
    }

    fn needed_number(&self, node: Node<'a, 'a>, attribute: &str) -> Read<u32> {
        self.required(node, attribute)?;
        Ok(self.number(node, attribute)?.unwrap_or_default())
    }

    fn items(&mut self, parent: Node<'a, 'a>, path: Option<&str>) -> Read<Items<'a>> {
        let mut items = BTreeMap::new();
        for node in parent.children().filter(Node::is_element) {
            if !matches!(node.tag_name().name(), "isofield" | "isofieldpackager") {
                self.note_at(node, path, format!("<{}> is not read", node.tag_name().name()));
                continue;
            }
            let id = self.needed_number(node, "id")?;
            let length = self.needed_number(node, "length")?;
            let class_name = self.required(node, "class")?;
            let path = path.map_or(id.to_string(), |path| format!("{path}.{id}"));
            let item = Item { node, id, path, length, class_name, class: Class::of(short_name(class_name)) };
            if items.contains_key(&id) {
                self.note(&item, "is there twice; the last one counts");
            }
            items.insert(id, item);
        }
        Ok(items)
    }

    fn dialect(&mut self, root: Node<'a, 'a>) -> Read<Dialect> {
        self.number(root, "maxValidField")?;
        if self.number(root, "firstField")?.is_some_and(|first| first != 2) {
            self.note_at(root, None, "the fields of a dialect begin with 2, whatever `firstField` says");
        }
        if self.number(root, "thirdBitmapField")?.is_some_and(|third| third != 65) {
            self.note_at(root, None, "a dialect has its third bitmap in field 65 or nowhere");
        }
        let mut header = self.number(root, "headerLength")?.filter(|length| *length > 0);
        if header.take_if(|length| *length > 255).is_some() {
            self.note_at(
                root,
                None,
                "a header has at most 255 octets, whatever `headerLength` says: left out",
            );
        }
        let mut items = self.items(root, None)?;
        let mti = self.mti(root, items.remove(&0));
        let map = items.remove(&self.number(root, "bitmapField")?.unwrap_or(1));
        let (bitmap, mut last) = self.bitmap(root, map, mti);
        let third = items.get(&65).is_some_and(|item| last >= 128 && item.is(Bitmap));
        let is_third_in_65 = third && last == 128;
        if third {
            items.remove(&65);
            last = 192;
        }
        let fields = self.fields(&items, last)?;
        Ok(Dialect { header, mti, bitmap, last, is_third_in_65, fields })
    }

    fn mti(&mut self, root: Node<'a, 'a>, item: Option<Item<'a>>) -> &'static str {
        let Some(item) = item else {
            self.note_at(root, None, "there is no field 0: the MTI was taken for ascii");
            return ASCII;
        };
        if item.length != 4 {
            self.note(&item, format!("an MTI has 4 digits, not {}", item.length));
        }
        match item.class {
            Some(Class { kind: Digits | Text, data: ASCII, prefix: None, .. }) => ASCII,
            Some(Class { kind: Digits | Text, data: EBCDIC, prefix: None, .. }) => E,
            Some(Class { kind: Digits, data: PACKED, prefix: None, .. }) => PACKED,
            Some(_) | None => {
                self.note(&item, format!("class {} is no MTI: it was taken for ascii", item.class_name));
                ASCII
            }
        }
    }

    /// The encoding of the bitmap, and the last field it can announce.
    fn bitmap(&mut self, root: Node<'a, 'a>, item: Option<Item<'a>>, mti: &str) -> (&'static str, u32) {
        if root.attribute("emitBitmap").is_some_and(|word| !is_true(Some(word))) {
            self.note_at(root, None, "it writes no bitmap, but a dialect does");
        }
        if let Some(item) = &item
            && let Some(Class { kind: Bitmap | Octets, data, prefix: None, .. }) = item.class
        {
            if !matches!(item.length, 8 | 16 | 24) {
                self.note(item, format!("a bitmap has 8, 16 or 24 octets, not {}", item.length));
            }
            return (data, item.length.div_ceil(8).clamp(1, 3) * 64);
        }
        let usual = [(PACKED, RAW), (E, EBCDIC_HEX)].iter().find(|(known, _)| *known == mti);
        let encoding = usual.map_or(HEX, |(_, encoding)| encoding);
        self.note_at(root, None, format!("no field is a bitmap: it was taken for {encoding} of 16 octets"));
        (encoding, 128)
    }

    fn fields(&mut self, items: &Items<'a>, last: u32) -> Read<Vec<Field>> {
        let mut fields = Vec::new();
        for item in items.values().filter(|item| !item.is(Nothing)) {
            if !(2..=last).contains(&item.id) || (item.id == 65 && last == 192) {
                self.note(item, format!("is not a field from 2 to {last}; it was left out"));
                continue;
            }
            let Some(mut field) = self.field(item)? else { continue };
            if matches!(item.id, 35 | 36) && matches!(field.shape.content, "n" | "ans") {
                field.shape.content = "z";
            }
            let found = SENSITIVE.iter().find(|(number, _)| *number == item.id);
            field.sensitivity = found.map_or("", |(_, sensitivity)| sensitivity);
            fields.push(field);
        }
        Ok(fields)
    }

    /// A field or part; nothing, with a note, when a dialect cannot say it.
    fn field(&mut self, item: &Item<'a>) -> Read<Option<Field>> {
        if item.form().is_some() {
            let text =
                format!("class {} is one of tags, which are not here; it was left out", item.class_name);
            self.note(item, text);
            return Ok(None);
        }
        self.tagged_field(item, item.id.to_string())
    }

    fn tagged_field(&mut self, item: &Item<'a>, key: String) -> Read<Option<Field>> {
        let Some(class) = self.class(item) else { return Ok(None) };
        let Some(mut shape) = self.shape(item, &class) else { return Ok(None) };
        let inside = self.inside(item, &mut shape)?;
        Ok(Some(Field { key, name: item.name(), shape, sensitivity: "", inside }))
    }

    fn class(&mut self, item: &Item<'_>) -> Option<Class> {
        let name = item.class_name;
        let Some(class) = item.class else {
            self.note(item, format!("class {name} is not known; the field was left out"));
            return None;
        };
        if class.kind == Unsaid {
            self.note(item, format!("class {name} {}; the field was left out", class.remark));
            return None;
        }
        if !class.remark.is_empty() {
            self.note(item, format!("class {name} {}", class.remark));
        }
        if name.contains('.') && !name.trim().starts_with("org.jpos.") {
            self.note(item, format!("class {name} was taken for the one of jPOS"));
        }
        Some(class)
    }

    fn shape(&mut self, item: &Item<'_>, class: &Class) -> Option<Shape> {
        let (content, units) = match class.kind {
            Digits => ("n", item.length),
            Text => ("ans", item.length),
            Octets | Bitmap => ("b", item.length),
            HexDigits => ("b", item.length.div_ceil(2)),
            Amount => ("x+n", item.length.saturating_sub(1)),
            Nothing | Unsaid => return None,
        };
        if class.kind == HexDigits && item.length % 2 == 1 {
            self.note(item, "an odd number of hexadecimal digits was taken for whole octets");
        }
        if item.says("trim") && class.prefix.is_none() {
            self.note(item, "may end early in jPOS (`trim`), but not in a dialect");
        }
        let prefix = self.prefix(item, class);
        let shape = Shape { content, units, data: class.data, prefix, odd: None };
        let units = self.units(item, class, &shape)?;
        let is_odd = class.data == PACKED && (prefix.is_some() || units % 2 == 1);
        // A class that counts octets of packed digits heeds no `pad`.
        let is_right = item.says("pad") && prefix.is_none_or(|prefix| prefix.unit == "content");
        let odd = if is_right { ("right", "0") } else { ("left", class.pad) };
        Some(Shape { units, odd: is_odd.then_some(odd), ..shape })
    }

    fn prefix(&mut self, item: &Item<'_>, class: &Class) -> Option<Prefix> {
        let prefix = class.prefix?;
        if !item.says("inclusive") {
            return Some(prefix);
        }
        if prefix.encoding != RAW || class.kind != Octets {
            self.note(item, "`inclusive` is for octets with a binary prefix; it was left out");
            return Some(prefix);
        }
        Some(Prefix { unit: "octets", is_inclusive: true, ..prefix })
    }

    /// The most units of a field. One of length 0 with a prefix is as long as its prefix says.
    fn units(&mut self, item: &Item<'_>, class: &Class, shape: &Shape) -> Option<u32> {
        let limit = shape.prefix.map_or(LONGEST, |prefix| prefix.limit(shape.data).min(LONGEST));
        match (shape.units, shape.prefix) {
            (0, None) => {
                self.note(item, "has no length; the field was left out");
                None
            }
            (0, Some(_)) => Some(if class.tag.is_some() { 0 } else { limit }),
            (units, _) if units > limit => {
                self.note(item, format!("has at most {limit} units, not {units}"));
                Some(limit)
            }
            (units, _) => Some(units),
        }
    }

    fn inside(&mut self, item: &Item<'a>, shape: &mut Shape) -> Read<Inside> {
        if item.node.tag_name().name() != "isofieldpackager" {
            return Ok(Inside::Whole);
        }
        let packager = self.required(item.node, "packager")?;
        let items = self.items(item.node, Some(&item.path))?;
        match CUTTERS.iter().find(|(name, _)| *name == short_name(packager)).map(|(_, cutter)| *cutter) {
            Some(Cutter::Parts(first)) => self.parts(item, &items, first, shape),
            Some(Cutter::Tags) => self.tags(item, &items, None, shape),
            Some(Cutter::Mapped) => {
                let form = self.mapped_form(item)?;
                self.tags(item, &items, Some(form), shape)
            }
            Some(Cutter::Named(form, data)) => {
                if !items.is_empty() {
                    self.note(item, format!("what it declares inside is not read: it was taken for {form}"));
                }
                let octets = if data == RAW { shape.octets() } else { shape.hex_octets(data) };
                Ok(if self.hold(item, shape, octets) { Inside::Named(form) } else { Inside::Whole })
            }
            None => {
                self.note(item, format!("packager {packager} is not known; nothing is said of its inside"));
                Ok(Inside::Whole)
            }
        }
    }

    /// Makes a field one of these octets, if its characters stand for any.
    fn hold(&mut self, item: &Item<'_>, shape: &mut Shape, octets: Option<Shape>) -> bool {
        match octets {
            Some(octets) => *shape = octets,
            None => {
                self.note(item, "octets inside such characters cannot be said; nothing is said of its inside")
            }
        }
        octets.is_some()
    }

    /// Makes a field one of octets if not all that lies inside are characters.
    fn hold_all(
        &mut self,
        item: &Item<'_>,
        shape: &mut Shape,
        mut encodings: impl Iterator<Item = &'static str>,
    ) -> bool {
        let is_text = !matches!(shape.content, "b" | "x+n") && encodings.all(|encoding| encoding == ASCII);
        is_text || self.hold(item, shape, shape.octets())
    }

    fn parts(&mut self, item: &Item<'a>, items: &Items<'a>, first: u32, shape: &mut Shape) -> Read<Inside> {
        if first == 0 && self.number(item.node, "headerLength")?.is_some_and(|length| length > 0) {
            self.note(item, "a header inside a field cannot be said, nor what follows it");
            return Ok(Inside::Whole);
        }
        let is_mapped = item.node.attribute("emitBitmap").is_none_or(|word| is_true(Some(word)));
        if let Some(map) = items.values().find(|part| is_mapped && part.is(Bitmap)) {
            return self.mapped(item, items, map, shape);
        }
        // Without a word on the bitmap that is not there, jPOS reads nothing; all parts are meant.
        let first = if is_mapped || items.len() == 1 { 0 } else { first };
        let first = self.number(item.node, "firstField")?.unwrap_or(first);
        let mut fields = self.positioned(items, first)?;
        let encodings = fields.iter().flat_map(|part| part.shape.encodings());
        if fields.is_empty() || !self.hold_all(item, shape, encodings) {
            return Ok(Inside::Whole);
        }
        self.fit(item, shape, &mut fields);
        Ok(if fields.is_empty() { Inside::Whole } else { Inside::Parts(fields) })
    }

    /// The parts up to the first that a dialect cannot say: where the next begins is not known.
    fn positioned(&mut self, items: &Items<'a>, first: u32) -> Read<Vec<Field>> {
        let mut fields = Vec::new();
        let mut rest = items.values().filter(|part| !part.is(Nothing));
        for part in rest.by_ref() {
            if part.id < first {
                self.note(part, format!("stands before the first field ({first}); it was left out"));
                continue;
            }
            match self.field(part)? {
                Some(field) => fields.push(field),
                None => break,
            }
        }
        if let Some(next) = rest.next() {
            self.note(next, "was left out with all after it: where it begins is not known");
        }
        Ok(fields)
    }

    /// Cuts off the parts that lie beyond the length of their field.
    fn fit(&mut self, item: &Item<'_>, shape: &Shape, fields: &mut Vec<Field>) {
        let mut taken = 0_u32;
        let fits = |field: &&Field| {
            taken = taken.saturating_add(field.shape.least(shape));
            taken <= shape.units
        };
        let count = fields.iter().take_while(fits).count();
        if let Some(field) = fields.get(count) {
            let (key, units) = (&field.key, shape.units);
            let text =
                format!("part {key} and all after it lie beyond its {units} units; they were left out");
            self.note(item, text);
        }
        fields.truncate(count);
    }

    fn mapped(
        &mut self,
        item: &Item<'a>,
        items: &Items<'a>,
        map: &Item<'a>,
        shape: &mut Shape,
    ) -> Read<Inside> {
        let bits = map.length.clamp(1, 8) * 8;
        if !self.hold(item, shape, shape.octets()) {
            return Ok(Inside::Whole);
        }
        let mut fields = Vec::new();
        for part in items.values().filter(|part| part.id != map.id && !part.is(Nothing)) {
            if (1..=bits).contains(&part.id) {
                fields.extend(self.field(part)?);
            } else {
                self.note(part, format!("is not a bit from 1 to {bits}; it was left out"));
            }
        }
        Ok(Inside::Bitmap(map.class.map_or(RAW, |class| class.data), bits, fields))
    }

    /// The form of tags that the packager itself declares.
    fn mapped_form(&mut self, item: &Item<'a>) -> Read<Form> {
        let mapper = item.node.attribute("tagMapper").unwrap_or_default();
        if !matches!(short_name(mapper), "TTDecimalTagMapper" | "TTTDecimalTagMapper") {
            self.note(item, format!("tagMapper {mapper} is not known: a tag was taken for its number"));
        }
        let (tag, length) =
            (self.needed_number(item.node, "tagSize")?, self.needed_number(item.node, "lenSize")?);
        let order = if item.says("swapTagAndLen") { "ltv" } else { "tlv" };
        Ok(Form { tag, tag_encoding: ASCII, length, length_encoding: ASCII, order, counts: "value" })
    }

    fn tags(
        &mut self,
        item: &Item<'a>,
        items: &Items<'a>,
        form: Option<Form>,
        shape: &mut Shape,
    ) -> Read<Inside> {
        let untagged = |part: &&Item<'_>| part.class.is_some() && part.form().is_none() && !part.is(Nothing);
        if let Some(part) = items.values().find(untagged) {
            self.note(part, "has no tag among parts that have; nothing is said of the field's inside");
            return Ok(Inside::Whole);
        }
        let form = form.or_else(|| items.values().find_map(Item::form));
        let Some(form) = form.filter(|form| (1..=8).contains(&form.tag) && (1..=6).contains(&form.length))
        else {
            self.note(item, "no tag of 1 to 8 characters is declared; nothing is said of its inside");
            return Ok(Inside::Whole);
        };
        let (tags, other) = self.tagged(items, form)?;
        let values = tags.iter().chain(other.as_deref()).map(|tag| tag.shape.data);
        let is_held = self.hold_all(item, shape, values.chain([form.tag_encoding, form.length_encoding]));
        Ok(if is_held { Inside::Tags(form, tags, other) } else { Inside::Whole })
    }

    /// The tags of this form, and what is said of all others.
    fn tagged(&mut self, items: &Items<'a>, form: Form) -> Read<(Vec<Field>, Option<Box<Field>>)> {
        let (mut tags, mut other) = (BTreeMap::new(), None);
        for part in items.values().filter(|part| !part.is(Nothing)) {
            let tag = part.tag(form);
            let is_long = tag.as_ref().is_some_and(|tag| tag.len() != form.tag as usize);
            if is_long || part.form().is_some_and(|own| own != form) {
                self.note(part, "has another form of tag than its neighbours; it was left out");
                continue;
            }
            if tag.as_ref().is_some_and(|tag| tag.bytes().any(|octet| !(b' '..=b'~').contains(&octet))) {
                self.note(part, "has a tag that is not of printable ASCII; it was left out");
                continue;
            }
            let Some(field) = self.tagged_field(part, tag.clone().unwrap_or_default())? else { continue };
            match tag {
                None => other = Some(Box::new(field)),
                Some(tag) => _ = tags.insert(tag, field),
            }
        }
        Ok((tags.into_values().collect(), other))
    }
}

struct Dialect {
    /// Octets.
    header: Option<u32>,
    mti: &'static str,
    bitmap: &'static str,
    /// 64, 128 or 192.
    last: u32,
    is_third_in_65: bool,
    fields: Vec<Field>,
}

impl Dialect {
    fn write(&self, name: &str) -> String {
        let defaults = Defaults::of(self);
        let framing = if self.bitmap == HEX { "ascii-4" } else { "length-2" };
        let header = self.header.map_or(String::new(), |octets| {
            format!("header = {{ name = \"message header\", length = {octets} }}\n")
        });
        let third = if self.is_third_in_65 { ", tertiary = \"field-65\"" } else { "" };
        let fields =
            self.fields.iter().map(|field| (field.key.clone(), field.write(Place::Message, &defaults)));
        let mut out = format!(
            "# Made from a jPOS packager. jPOS fills short digits with zeros on the left; where they are not given\n\
             # whole, a field needs `fill` for that.\n\n\
             name = {}\nframing = \"{framing}\" # a packager does not say it\n{header}mti = \"{}\"\n\
             bitmap = {{ encoding = \"{}\", fields = {}{third} }}\n",
            quote(name),
            self.mti,
            self.bitmap,
            self.last,
        );
        section(&mut out, "defaults", &defaults.0.map(|(key, text)| (key.to_owned(), word(text))));
        section(&mut out, "fields", &fields.collect::<Vec<_>>());
        out
    }
}

/// What fields need not say: keys and words.
struct Defaults([(&'static str, &'static str); 10]);

/// The key of the default encoding of a content.
fn data_key(content: &str) -> &'static str {
    match content {
        "n" | "x+n" => "numeric",
        "z" => "track",
        "b" => "binary",
        _ => "text",
    }
}

/// The word that most say, of equals the first; `otherwise` when none says any.
fn majority(words: impl Iterator<Item = &'static str>, otherwise: &'static str) -> &'static str {
    let words: Vec<&str> = words.collect();
    let count = |word: &&&'static str| words.iter().filter(|other| other == word).count();
    words.iter().rev().max_by_key(count).copied().unwrap_or(otherwise)
}

impl Defaults {
    /// What most fields say; what none says is as in the MTI and the bitmap.
    fn of(dialect: &Dialect) -> Defaults {
        let shapes = || dialect.fields.iter().map(|field| field.shape);
        let data = |key, otherwise| {
            let of_key = shapes().filter(|shape| data_key(shape.content) == key).map(|shape| shape.data);
            (key, majority(of_key, otherwise))
        };
        let odd = |is_fixed| {
            shapes().filter(move |shape| shape.prefix.is_none() == is_fixed).filter_map(|shape| shape.odd)
        };
        let prefixes = shapes().filter_map(|shape| shape.prefix).map(|prefix| prefix.encoding);
        let text = if dialect.mti == E { EBCDIC } else { ASCII };
        let numeric = data("numeric", if dialect.mti == PACKED { PACKED } else { text });
        Defaults([
            numeric,
            data("track", numeric.1),
            data("text", text),
            data("binary", dialect.bitmap),
            ("align_fixed", majority(odd(true).map(|(align, _)| align), "right")),
            ("align_variable", majority(odd(false).map(|(align, _)| align), "left")),
            ("pad", majority(odd(true).chain(odd(false)).map(|(_, pad)| pad), "0")),
            ("prefix", majority(prefixes, dialect.mti)),
            ("prefix_unit", "content"),
            ("separator", "="),
        ])
    }

    fn get(&self, key: &str) -> &'static str {
        self.0.iter().find(|(known, _)| *known == key).map_or("", |(_, word)| word)
    }
}

/// Where a field stands; a part or tag lies in content of these letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Bit,
    Part(&'static str),
    Tag(&'static str),
}

/// A value of the file. A word is written already.
enum Toml {
    Word(String),
    Table(Vec<(String, Toml)>),
    List(Vec<Toml>),
}

fn word(text: &str) -> Toml {
    Toml::Word(format!("\"{text}\""))
}

fn table(keys: Vec<(&str, Toml)>) -> Toml {
    Toml::Table(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Field {
    fn write(&self, place: Place, defaults: &Defaults) -> Toml {
        let Shape { content, data, .. } = self.shape;
        let mut keys: Vec<(&str, Toml)> = Vec::new();
        let (own, label) = (Toml::Word(quote(&self.key)), Toml::Word(quote(&self.name)));
        let (says_content, says_data) = match place {
            Place::Message => (true, data != defaults.get(data_key(content))),
            Place::Bit => (true, true),
            Place::Part(outer) => (outer == "b" || outer != content, outer == "b"),
            Place::Tag(outer) => (true, outer == "b"),
        };
        match place {
            Place::Part(_) => keys.extend([("name", own), ("label", label)]),
            Place::Message | Place::Bit | Place::Tag(_) => keys.push(("name", label)),
        }
        keys.extend(says_content.then(|| ("content", word(content))));
        keys.extend(self.lengths(place, defaults));
        keys.extend(says_data.then(|| ("encoding", word(data))));
        keys.extend(self.odd(defaults).into_iter().map(|(key, value)| (key, word(value))));
        keys.extend((!self.sensitivity.is_empty()).then(|| ("sensitivity", word(self.sensitivity))));
        keys.extend(self.inside.write(content, defaults));
        table(keys)
    }

    fn lengths(&self, place: Place, defaults: &Defaults) -> Vec<(&'static str, Toml)> {
        let units = Toml::Word(self.shape.units.to_string());
        let prefix = match (self.shape.prefix, place) {
            (_, Place::Tag(_)) if self.shape.units == 0 => return Vec::new(),
            (_, Place::Tag(_)) => return vec![("max", units)],
            (None, _) => return vec![("length", units)],
            (Some(prefix), _) => prefix,
        };
        let mut keys = vec![("max", units), ("prefix", word(&"L".repeat(prefix.letters as usize)))];
        // A prefix among characters is made of them when nothing is said.
        if matches!(place, Place::Message | Place::Bit | Place::Part("b")) {
            let (encoding, unit) = (prefix.encoding, prefix.unit);
            keys.extend((encoding != defaults.get("prefix")).then(|| ("prefix_encoding", word(encoding))));
            keys.extend((unit != defaults.get("prefix_unit")).then(|| ("prefix_unit", word(unit))));
            keys.extend(prefix.is_inclusive.then(|| ("inclusive", Toml::Word("true".to_owned()))));
        }
        keys
    }

    fn odd(&self, defaults: &Defaults) -> Vec<(&'static str, &'static str)> {
        let Some((align, pad)) = self.shape.odd else { return Vec::new() };
        let usual = defaults.get(if self.shape.prefix.is_none() { "align_fixed" } else { "align_variable" });
        let keys = [("align", align, usual), ("pad", pad, defaults.get("pad"))];
        keys.iter().filter(|(_, own, usual)| own != usual).map(|(key, own, _)| (*key, *own)).collect()
    }
}

impl Inside {
    /// Keys of a field of this content.
    fn write(&self, content: &'static str, defaults: &Defaults) -> Vec<(&'static str, Toml)> {
        let rows = |fields: &[Field], place| {
            let key = |field: &Field| if place == Place::Bit { field.key.clone() } else { quote(&field.key) };
            Toml::Table(fields.iter().map(|field| (key(field), field.write(place, defaults))).collect())
        };
        match self {
            Inside::Whole => Vec::new(),
            Inside::Named(form) => vec![("tlv", word(form))],
            Inside::Parts(parts) => {
                let parts = parts.iter().map(|part| part.write(Place::Part(content), defaults));
                vec![("parts", Toml::List(parts.collect()))]
            }
            Inside::Tags(form, tags, other) => {
                let mut keys = vec![("tlv", form.write(content))];
                keys.extend(other.iter().map(|other| ("value", other.write(Place::Tag(content), defaults))));
                keys.extend((!tags.is_empty()).then(|| ("tags", rows(tags, Place::Tag(content)))));
                keys
            }
            Inside::Bitmap(encoding, bits, fields) => {
                let bits = Toml::Word(bits.to_string());
                let fields = rows(fields, Place::Bit);
                vec![(
                    "bitmap",
                    table(vec![("encoding", word(encoding)), ("bits", bits), ("fields", fields)]),
                )]
            }
        }
    }
}

impl Form {
    /// As content of these letters holds it.
    fn write(self, content: &str) -> Toml {
        let Form { tag, tag_encoding, length, length_encoding, order, counts } = self;
        let number = |number: u32| Toml::Word(number.to_string());
        let mut keys = vec![("tag", number(tag))];
        keys.extend((content == "b").then(|| ("tag_encoding", word(tag_encoding))));
        keys.push(("length", number(length)));
        keys.extend((content == "b").then(|| ("length_encoding", word(length_encoding))));
        keys.extend([("order", word(order)), ("counts", word(counts))]);
        table(keys)
    }
}

impl Toml {
    /// Whether it is too much for a line.
    fn is_deep(&self) -> bool {
        match self {
            Toml::Word(_) | Toml::List(_) => false,
            Toml::Table(keys) => keys.iter().any(|(_, value)| !matches!(value, Toml::Word(_))),
        }
    }

    fn inline(&self) -> String {
        let join = |values: Vec<String>| values.join(", ");
        match self {
            Toml::Word(word) => word.clone(),
            Toml::List(values) => format!("[{}]", join(values.iter().map(Toml::inline).collect())),
            Toml::Table(keys) => {
                let key = |(key, value): &(String, Toml)| format!("{key} = {}", value.inline());
                format!("{{ {} }}", join(keys.iter().map(key).collect()))
            }
        }
    }
}

/// Writes a table under its own head: what fits a line first, tables below it last.
fn section(out: &mut String, path: &str, keys: &[(String, Toml)]) {
    *out += &format!("\n[{path}]\n");
    for (key, value) in keys {
        match value {
            Toml::List(values) => {
                let values: String = values.iter().map(|value| format!("  {},\n", value.inline())).collect();
                *out += &format!("{key} = [\n{values}]\n");
            }
            value if !value.is_deep() => *out += &format!("{key} = {}\n", value.inline()),
            Toml::Word(_) | Toml::Table(_) => {}
        }
    }
    for (key, value) in keys {
        if let Toml::Table(inner) = value
            && value.is_deep()
        {
            section(out, &format!("{path}.{key}"), inner);
        }
    }
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out += &format!("\\u{:04X}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(id: u32, length: u32, class: &str, more: &str) -> String {
        format!("<isofield id='{id}' length='{length}' name='n{id}' class='org.jpos.iso.{class}' {more}/>\n")
    }

    /// A field with something inside; `packager` ends with a quote and may go on with attributes.
    fn around(id: u32, length: u32, class: &str, packager: &str, inside: &[String]) -> String {
        let head = format!(
            "<isofieldpackager id='{id}' length='{length}' name='n{id}' class='org.jpos.iso.{class}'"
        );
        format!(
            "{head} packager='org.jpos.iso.packager.{packager}>\n{}</isofieldpackager>\n",
            inside.concat()
        )
    }

    fn packager(root: &str, fields: &[String]) -> String {
        format!("<isopackager{root}>\n{}</isopackager>", fields.concat())
    }

    /// A packager of ASCII with a bitmap of octets.
    fn ascii(fields: &str) -> String {
        packager("", &[f(0, 4, "IFA_NUMERIC", ""), f(1, 16, "IFB_BITMAP", ""), fields.to_owned()])
    }

    #[test]
    fn a_whole_packager_becomes_a_whole_dialect() {
        let rows = [
            ("", ascii_fields(), ASCII_TOML),
            ("", bcd_fields(), BCD_TOML),
            (" headerLength='9'", ebcdic_fields(), EBCDIC_TOML),
        ];
        for (root, fields, expected) in rows {
            let import = import(&packager(root, &fields), "my \"host\"").unwrap();
            assert_eq!(import.notes, []);
            assert_eq!(import.toml.split_once("for that.\n\n").unwrap().1, expected);
            toml::from_str::<toml::Table>(&import.toml).unwrap();
        }
    }

    fn ascii_fields() -> Vec<String> {
        #[rustfmt::skip]
        let rows = [
            (0, 4, "IFA_NUMERIC"), (1, 16, "IFA_BITMAP"), (2, 19, "IFA_LLNUM"), (3, 6, "IFA_NUMERIC"),
            (28, 9, "IFA_AMOUNT"), (35, 37, "IFA_LLCHAR"), (41, 8, "IF_CHAR"), (52, 8, "IFA_BINARY"),
            (55, 255, "IFA_LLLBINARY"), (63, 50, "IFE_LLCHAR"), (64, 8, "IFA_BINARY"), (100, 11, "IF_UNUSED"),
            (128, 8, "IFA_BINARY"),
        ];
        rows.map(|(id, length, class)| f(id, length, class, "")).into()
    }

    fn bcd_fields() -> Vec<String> {
        #[rustfmt::skip]
        let rows = [
            (0, 4, "IFB_NUMERIC", ""), (1, 8, "IFB_BITMAP", ""), (2, 19, "IFB_LLNUM", "pad='true'"),
            (3, 6, "IFB_NUMERIC", "pad='true'"), (22, 3, "IFB_NUMERIC", "pad='true'"), (23, 3, "IFB_NUMERIC", ""),
            (32, 11, "IFB_FLLNUM", ""), (33, 11, "IFEB_LLNUM", "pad='true'"), (36, 104, "IFB_LLLNUM", "pad='true'"),
            (45, 76, "IFB_LLHCHAR", ""), (55, 255, "IFB_LLLHBINARY", "inclusive='true'"), (62, 400, "IFB_LLLHEX", ""),
        ];
        rows.map(|(id, length, class, more)| f(id, length, class, more)).into()
    }

    fn ebcdic_fields() -> Vec<String> {
        #[rustfmt::skip]
        let rows = [
            (0, 4, "IFE_NUMERIC"), (1, 16, "IFE_BITMAP"), (2, 19, "IFE_LLNUM"), (41, 8, "IFE_CHAR"),
            (65, 8, "IFE_BITMAP"), (130, 8, "IFE_BINARY"),
        ];
        rows.map(|(id, length, class)| f(id, length, class, "")).into()
    }

    const ASCII_TOML: &str = r#"name = "my \"host\""
framing = "ascii-4" # a packager does not say it
mti = "ascii"
bitmap = { encoding = "hex", fields = 128 }

[defaults]
numeric = "ascii"
track = "ascii"
text = "ascii"
binary = "hex"
align_fixed = "right"
align_variable = "left"
pad = "0"
prefix = "ascii"
prefix_unit = "content"
separator = "="

[fields]
2 = { name = "n2", content = "n", max = 19, prefix = "LL", sensitivity = "pan" }
3 = { name = "n3", content = "n", length = 6 }
28 = { name = "n28", content = "x+n", length = 8 }
35 = { name = "n35", content = "z", max = 37, prefix = "LL", sensitivity = "track" }
41 = { name = "n41", content = "ans", length = 8 }
52 = { name = "n52", content = "b", length = 8, sensitivity = "pin" }
55 = { name = "n55", content = "b", max = 255, prefix = "LLL", encoding = "binary", sensitivity = "icc" }
63 = { name = "n63", content = "ans", max = 50, prefix = "LL", prefix_encoding = "ebcdic", encoding = "ebcdic-1047" }
64 = { name = "n64", content = "b", length = 8 }
128 = { name = "n128", content = "b", length = 8 }
"#;

    const BCD_TOML: &str = r#"name = "my \"host\""
framing = "length-2" # a packager does not say it
mti = "bcd"
bitmap = { encoding = "binary", fields = 64 }

[defaults]
numeric = "bcd"
track = "bcd"
text = "ascii"
binary = "binary"
align_fixed = "right"
align_variable = "right"
pad = "0"
prefix = "bcd"
prefix_unit = "content"
separator = "="

[fields]
2 = { name = "n2", content = "n", max = 19, prefix = "LL", sensitivity = "pan" }
3 = { name = "n3", content = "n", length = 6 }
22 = { name = "n22", content = "n", length = 3 }
23 = { name = "n23", content = "n", length = 3, align = "left" }
32 = { name = "n32", content = "n", max = 11, prefix = "LL", align = "left", pad = "F" }
33 = { name = "n33", content = "n", max = 11, prefix = "LL", prefix_encoding = "ebcdic", prefix_unit = "octets", align = "left", pad = "F" }
36 = { name = "n36", content = "z", max = 104, prefix = "LLL", sensitivity = "track" }
45 = { name = "n45", content = "ans", max = 76, prefix = "LL", prefix_encoding = "binary", sensitivity = "track" }
55 = { name = "n55", content = "b", max = 255, prefix = "LLL", prefix_encoding = "binary", prefix_unit = "octets", inclusive = true, sensitivity = "icc" }
62 = { name = "n62", content = "b", max = 400, prefix = "LLL", prefix_unit = "nibbles" }
"#;

    const EBCDIC_TOML: &str = r#"name = "my \"host\""
framing = "length-2" # a packager does not say it
header = { name = "message header", length = 9 }
mti = "ebcdic"
bitmap = { encoding = "ebcdic-hex", fields = 192, tertiary = "field-65" }

[defaults]
numeric = "ebcdic-1047"
track = "ebcdic-1047"
text = "ebcdic-1047"
binary = "ebcdic-hex"
align_fixed = "right"
align_variable = "left"
pad = "0"
prefix = "ebcdic"
prefix_unit = "content"
separator = "="

[fields]
2 = { name = "n2", content = "n", max = 19, prefix = "LL", sensitivity = "pan" }
41 = { name = "n41", content = "ans", length = 8 }
130 = { name = "n130", content = "b", length = 8 }
"#;

    #[test]
    fn what_lies_inside_a_field() {
        let sub = "GenericSubFieldPackager' firstField='0' emitBitmap='false'";
        let mapped = "GenericSubFieldPackager' bitmapField='0'";
        let tagged = "GenericTaggedFieldsPackager' tagMapper='x.TTDecimalTagMapper' tagSize='2' lenSize='3'";
        let texts = [f(0, 4, "IFA_NUMERIC", ""), f(1, 0, "IF_NOP", ""), f(2, 6, "IFA_LLCHAR", "")];
        let inner = around(16, 9, "IFA_LCHAR", sub, &[f(1, 4, "IF_CHAR", "")]);
        let chip = around(2, 8, "IFB_LLHBINARY", "ICCDataPackager'", &[]);
        #[rustfmt::skip]
        let rows: [(String, &str); 8] = [
            (
                around(90, 42, "IFA_LLLCHAR", sub, &texts),
                r#"
[fields.90]
name = "n90"
content = "ans"
max = 42
prefix = "LLL"
parts = [
  { name = "0", label = "n0", content = "n", length = 4 },
  { name = "2", label = "n2", max = 6, prefix = "LL" },
]
"#,
            ),
            (
                around(90, 42, "IFA_LLLCHAR", sub, &[f(1, 3, "IFB_NUMERIC", ""), chip]),
                r#"
content = "b"
max = 42
prefix = "LLL"
parts = [
  { name = "1", label = "n1", content = "n", length = 3, encoding = "bcd", align = "left" },
  { name = "2", label = "n2", content = "b", max = 8, prefix = "LL", prefix_encoding = "binary", encoding = "binary", tlv = "ber" },
]
"#,
            ),
            (
                around(90, 99, "IFA_LLBINARY", mapped, &[f(0, 2, "IFA_BITMAP", ""), f(1, 3, "IFE_CHAR", ""), inner]),
                r#"
[fields.90.bitmap]
encoding = "hex"
bits = 16

[fields.90.bitmap.fields]
1 = { name = "n1", content = "ans", length = 3, encoding = "ebcdic-1047" }

[fields.90.bitmap.fields.16]
name = "n16"
content = "ans"
max = 9
prefix = "L"
encoding = "ascii"
parts = [
  { name = "1", label = "n1", length = 4 },
]
"#,
            ),
            (
                around(90, 999, "IFE_LLLCHAR", tagged, &[f(1, 12, "IFA_TTLLLCHAR", ""), f(110, 0, "IFA_TTLLLCHAR", "")]),
                r#"
tlv = { tag = 2, length = 3, order = "tlv", counts = "value" }

[fields.90.tags]
"01" = { name = "n1", content = "ans", max = 12 }
"0A" = { name = "n110", content = "ans" }
"#,
            ),
            (
                around(90, 999, "IFB_LLLBINARY", "GICCSubFieldPackager'", &[f(7, 12, "IFEP_LLLBINARY", "")]),
                r#"
tlv = { tag = 2, tag_encoding = "ebcdic", length = 3, length_encoding = "ebcdic", order = "ltv", counts = "tag" }

[fields.90.tags]
"07" = { name = "n7", content = "b", max = 12, encoding = "binary" }
"#,
            ),
            (
                around(90, 999, "IFA_LLLCHAR", "TaggedSequencePackager' token='0000'", &[
                    f(1, 99, "IFTA_LLLCHAR", "token='####'"),
                    f(2, 99, "IFTA_LLLNUM", "token='0012'"),
                ]),
                r#"
tlv = { tag = 4, length = 3, order = "tlv", counts = "value" }
value = { name = "n1", content = "ans", max = 99 }

[fields.90.tags]
"0012" = { name = "n2", content = "n", max = 99 }
"#,
            ),
            (
                around(90, 510, "IFA_LLLCHAR", "BERTLVAsciiHexPackager'", &[]),
                "\n90 = { name = \"n90\", content = \"b\", max = 255, prefix = \"LLL\", prefix_unit = \"octets\", encoding = \"hex\", tlv = \"ber\" }\n",
            ),
            (
                around(90, 999, "IFA_LLLBINARY", "DatasetPackager'", &[]),
                "\n90 = { name = \"n90\", content = \"b\", max = 999, prefix = \"LLL\", tlv = \"dataset\" }\n",
            ),
        ];
        for (xml, expected) in rows {
            // The others settle the defaults.
            let others = [91, 92].map(|id| f(id, 9, "IFA_LLLBINARY", "")).concat();
            let import = import(&ascii(&(xml + &others)), "t").unwrap();
            assert_eq!(import.notes, []);
            assert!(import.toml.contains(expected), "{}", import.toml);
            toml::from_str::<toml::Table>(&import.toml).unwrap();
        }
    }

    #[test]
    fn what_a_dialect_cannot_say_is_noted() {
        let sub = "GenericSubFieldPackager' emitBitmap='false'";
        let digit = || f(1, 1, "IFA_NUMERIC", "");
        let gap = [f(0, 1, "IF_CHAR", ""), f(1, 9, "IF_TCHAR", ""), f(2, 1, "IF_CHAR", "")];
        #[rustfmt::skip]
        let rows: [(String, &[&str]); 17] = [
            (f(47, 9, "IFX", ""), &["line 4, field 47: class org.jpos.iso.IFX is not known; the field was left out"]),
            (f(47, 9, "IFA_LLLLLLLCHAR", ""), &["IFA_LLLLLLLCHAR is not known"]),
            (f(47, 9, "IFB_LLLLHCHAR", ""), &["IFB_LLLLHCHAR is not known"]),
            (f(47, 9, "IF_TCHAR", "token='x'"), &["field 47: class org.jpos.iso.IF_TCHAR ends at a mark"]),
            (f(47, 9, "IFMC_LLCHAR", ""), &["IFMC_LLCHAR is one of tags"]),
            (f(47, 100, "IFA_LLNUM", ""), &["has at most 99 units, not 100"]),
            (f(47, 0, "IF_CHAR", ""), &["has no length"]),
            (f(47, 9, "IF_CHAR", "trim='true'"), &["may end early"]),
            (f(47, 9, "IFA_LLBINARY", "inclusive='true'"), &["`inclusive` is for octets"]),
            (f(129, 9, "IF_CHAR", "").repeat(2), &["line 5, field 129: is there", "not a field from 2"]),
            ("<isovalidator/>".to_owned(), &["line 4: <isovalidator> is not read"]),
            (around(47, 9, "IFA_LLCHAR", "X'", &[digit()]), &["packager org.jpos.iso.packager.X is not"]),
            (around(47, 9, "IFA_LLCHAR", sub, &gap), &["47.0: stands before", "47.1: class", "47.2: was left out"]),
            (around(47, 9, "IFA_LLCHAR", sub, &[digit(), f(2, 9, "IF_CHAR", "")]), &["part 2 and all after it lie beyond"]),
            (around(47, 9, "IFE_LLCHAR", sub, &[f(1, 4, "IFB_BINARY", "")]), &["octets inside such characters"]),
            (around(90, 999, "IFA_LLLCHAR", "TaggedSequencePackager'", &[f(1, 9, "IFTA_LLLCHAR", "token='\u{e9}'")]), &["printable ASCII"]),
            (around(47, 9, "IFA_LLCHAR", "EuroSubFieldPackager'", &[digit(), f(2, 9, "IFMC_LLCHAR", "")]), &["47.1: has no tag"]),
        ];
        for (xml, expected) in rows {
            let notes = import(&ascii(&xml), "t").unwrap().notes;
            let are_met = notes.iter().zip(expected).all(|(note, part)| note.to_string().contains(part));
            assert!(are_met && notes.len() == expected.len(), "{notes:#?}");
        }
        let bare =
            packager(" emitBitmap='false' firstField='0' thirdBitmapField='4' headerLength='256'", &[]);
        assert_eq!(import(&bare, "t").unwrap().notes.len(), 6);
    }

    #[test]
    fn what_is_no_packager_is_refused_with_line_and_column() {
        let bomb =
            "<!DOCTYPE a [\n<!ENTITY a 'aaaa'>\n<!ENTITY b '&a;&a;'>]>\n<isopackager>&b;</isopackager>";
        let wide =
            format!("<isopackager{}/>", (0..9999).map(|number| format!(" a{number}=''")).collect::<String>());
        let deep = format!("{}{}", "<a>".repeat(99_999), "</a>".repeat(99_999));
        #[rustfmt::skip]
        let rows: [(&str, &str); 14] = [
            ("", "line 1, column 1: the document does not have a root node"),
            ("name = 'x'", "line 1, column 1: unknown token"),
            ("<isopackager>", "line 1, column 1: the root node was opened but never closed"),
            ("<?xml version='1.0'?>\n <isomsg/>", "line 2, column 2: the root is <isomsg>, not <isopackager>"),
            (&ascii("<isofield id='2' length='4'/>"), "line 4, column 1: <isofield> has no `class`"),
            (&ascii("<isofield class='x' length='4'/>"), "line 4, column 1: <isofield> has no `id`"),
            (&ascii("é<isofield id='2' length='é' class='x'/>"), "line 4, column 27: `length` is no number from 0 on: \"é\""),
            (&ascii("<isofield id='-1' length='4' class='x'/>"), "line 4, column 15: `id` is no number from 0 on: \"-1\""),
            (&packager(" headerLength='x'", &[]), "line 1, column 28: `headerLength` is no number from 0 on: \"x\""),
            (&ascii("<isofieldpackager id='2' length='4' class='IF_CHAR'/>"), "line 4, column 1: <isofieldpackager> has no `packager`"),
            (&" ".repeat(2 << 20), "line 1, column 1: the file has more than 1048576 octets"),
            (bomb, "line 2, column 1: entity declarations are not read"),
            (&deep, "line 1, column 49: elements lie more than 16 deep"),
            (&wide, "line 1, column 1: a tag has more than 16384 octets"),
        ];
        for (xml, expected) in rows {
            assert_eq!(import(xml, "t").unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn every_class_is_imported_or_noted() {
        for (class, letters) in
            CLASSES.iter().flat_map(|class| ["L", "LL", "LLL"].map(|letters| (class, letters)))
        {
            let name = class.name.replace('*', letters);
            let one = f(7, 4, &name, "token='01'");
            let xml = match class.tag {
                None => one,
                Some(_) => around(60, 999, "IFB_LLLBINARY", "EuroSubFieldPackager'", &[one]),
            };
            let import = import(&ascii(&xml), "t").unwrap();
            assert_eq!(import.notes.is_empty(), class.remark.is_empty(), "{name}: {:?}", import.notes);
            let toml: toml::Table = toml::from_str(&import.toml).unwrap();
            let fields = toml["fields"].as_table().unwrap();
            assert_eq!(fields.is_empty(), matches!(class.kind, Nothing | Unsaid), "{name}");
            assert_eq!(fields.contains_key("60"), class.tag.is_some(), "{name}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let rows = [("a \"b\" \\", r#""a \"b\" \\""#), ("a\n\u{7f}é", r#""a\u000A\u007Fé""#)];
        for (text, expected) in rows {
            assert_eq!(quote(text), expected);
            assert_eq!(
                toml::from_str::<toml::Table>(&format!("a = {expected}")).unwrap()["a"].as_str(),
                Some(text)
            );
        }
    }
}
