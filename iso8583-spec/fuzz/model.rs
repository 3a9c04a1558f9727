//! A field with its content, as a test made it: the value it is written from, the value it is read as, and the octets
//! that `doc/dialects.md` asks for. Made without the crate, to be an answer of its own.

use iso8583_spec::Value;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    N,
    A,
    An,
    Ans,
    /// `ans` with the characters of ISO 8859-1.
    Latin,
    Ns,
    Z,
    Zx,
    Xn,
    B,
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::N => "n",
            Class::A => "a",
            Class::An => "an",
            Class::Ans | Class::Latin => "ans",
            Class::Ns => "ns",
            Class::Z => "z",
            Class::Zx => "zx",
            Class::Xn => "x+n",
            Class::B => "b",
        }
    }
}

/// A code page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    P037,
    P500,
    P1047,
}

/// ISO 8859-1 from `A0` on in code page 037.
const LATIN_037: [u8; 96] = *b"\
    \x41\xaa\x4a\xb1\x9f\xb2\x6a\xb5\xbd\xb4\x9a\x8a\x5f\xca\xaf\xbc\
    \x90\x8f\xea\xfa\xbe\xa0\xb6\xb3\x9d\xda\x9b\x8b\xb7\xb8\xb9\xab\
    \x64\x65\x62\x66\x63\x67\x9e\x68\x74\x71\x72\x73\x78\x75\x76\x77\
    \xac\x69\xed\xee\xeb\xef\xec\xbf\x80\xfd\xfe\xfb\xfc\xad\xae\x59\
    \x44\x45\x42\x46\x43\x47\x9c\x48\x54\x51\x52\x53\x58\x55\x56\x57\
    \x8c\x49\xcd\xce\xcb\xcf\xcc\xe1\x70\xdd\xde\xdb\xdc\x8d\x8e\xdf";

impl Page {
    /// The octet of a character of ISO 8859-1.
    fn octet(self, ascii: u8) -> u8 {
        const SPECIAL: &[(&[u8], u8)] = &[
            (b" ", 0x40),
            (b".<(+", 0x4B),
            (b"&", 0x50),
            (b"$*);", 0x5B),
            (b"-/", 0x60),
            (b",%_>?", 0x6B),
            (b"`:#@'=\"", 0x79),
            (b"~", 0xA1),
            (b"{", 0xC0),
            (b"}", 0xD0),
            (b"\\", 0xE0),
        ];
        let differing = match self {
            Page::P037 => [0x5A, 0x4F, 0xB0, 0xBA, 0xBB],
            Page::P500 => [0x4F, 0xBB, 0x5F, 0x4A, 0x5A],
            Page::P1047 => [0x5A, 0x4F, 0x5F, 0xAD, 0xBD],
        };
        let run = |first: u8, octet: u8| octet + (ascii - first);
        match ascii {
            b'0'..=b'9' => run(b'0', 0xF0),
            b'A'..=b'I' => run(b'A', 0xC1),
            b'J'..=b'R' => run(b'J', 0xD1),
            b'S'..=b'Z' => run(b'S', 0xE2),
            b'a'..=b'i' => run(b'a', 0x81),
            b'j'..=b'r' => run(b'j', 0x91),
            b's'..=b'z' => run(b's', 0xA2),
            0xA0.. => match (self, ascii) {
                (Page::P500, 0xA2) | (Page::P1047, 0xAC) => 0xB0,
                (Page::P500, 0xAC) | (Page::P1047, 0xDD) => 0xBA,
                (Page::P1047, 0xA8) => 0xBB,
                (_, _) => LATIN_037[usize::from(ascii - 0xA0)],
            },
            _ => {
                let own = b"!|^[]".iter().position(|special| *special == ascii);
                let shared = |(run, first): &(&[u8], u8)| {
                    run.iter().zip(*first..).find(|(special, _)| **special == ascii).map(|(_, octet)| octet)
                };
                own.map(|at| differing[at]).or_else(|| SPECIAL.iter().find_map(shared)).expect("printable")
            }
        }
    }
}

/// How content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Ascii,
    Ebcdic(Page),
    Bcd,
    Binary,
    Hex,
    HexLower,
    EbcdicHex,
}

impl Data {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Data::Ascii => "ascii",
            Data::Ebcdic(Page::P037) => "ebcdic-037",
            Data::Ebcdic(Page::P500) => "ebcdic-500",
            Data::Ebcdic(Page::P1047) => "ebcdic-1047",
            Data::Bcd => "bcd",
            Data::Binary => "binary",
            Data::Hex => "hex",
            Data::HexLower => "hex-lower",
            Data::EbcdicHex => "ebcdic-hex",
        }
    }
}

/// How a number is written: a length prefix, or the length of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Ascii,
    Ebcdic,
    Hex,
    Bcd,
    Binary,
}

impl Number {
    pub(crate) const ALL: [Number; 5] =
        [Number::Ascii, Number::Ebcdic, Number::Hex, Number::Bcd, Number::Binary];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Number::Ascii => "ascii",
            Number::Ebcdic => "ebcdic",
            Number::Hex => "hex",
            Number::Bcd => "bcd",
            Number::Binary => "binary",
        }
    }

    /// Octets that a prefix of so many letters takes.
    pub(crate) fn octets(self, letters: usize) -> usize {
        match self {
            Number::Ascii | Number::Ebcdic | Number::Hex => letters,
            Number::Bcd | Number::Binary => letters.div_ceil(2),
        }
    }

    /// The largest number that a prefix of so many letters can say.
    pub(crate) fn limit(self, letters: usize) -> usize {
        let power = |base: usize, places: usize| base.pow(places as u32) - 1;
        match self {
            Number::Ascii | Number::Ebcdic | Number::Bcd => power(10, letters),
            Number::Hex => power(16, letters),
            Number::Binary => power(256, letters.div_ceil(2)),
        }
    }

    /// So many octets of it.
    pub(crate) fn written(self, number: usize, octets: usize) -> Vec<u8> {
        match self {
            Number::Ascii => format!("{number:0octets$}").into_bytes(),
            Number::Ebcdic => {
                format!("{number:0octets$}").bytes().map(|digit| Page::P037.octet(digit)).collect()
            }
            Number::Hex => format!("{number:0octets$X}").into_bytes(),
            Number::Bcd => packed(&format!("{number:0width$}", width = octets * 2), true, 0),
            Number::Binary => number.to_be_bytes()[8 - octets..].to_vec(),
        }
    }
}

/// What a prefix counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Content,
    Nibbles,
    Octets,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Content => "content",
            Unit::Nibbles => "nibbles",
            Unit::Octets => "octets",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    pub(crate) letters: usize,
    pub(crate) number: Number,
    pub(crate) unit: Unit,
    pub(crate) is_inclusive: bool,
}

/// How long content is, and what says so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// The dialect.
    Fixed(usize),
    /// A prefix.
    Variable { min: usize, max: usize, prefix: Prefix },
    /// A tag's length, or the end of what is around it.
    Told { min: usize, max: usize },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) class: Class,
    pub(crate) data: Data,
    /// The pad nibble comes first.
    pub(crate) is_right: bool,
    /// The pad nibble.
    pub(crate) pad: u8,
    /// What parts track data written as characters.
    pub(crate) separator: u8,
    pub(crate) extent: Extent,
}

impl Shape {
    /// Content as it stands, as long as it happens to be.
    pub(crate) fn bare(class: Class) -> Shape {
        let data = if class == Class::B { Data::Binary } else { Data::Ascii };
        let extent = Extent::Told { min: 0, max: 65_535 };
        Shape { class, data, is_right: false, pad: 0, separator: b'D', extent }
    }

    /// Octets of so many units.
    pub(crate) fn octets(&self, units: usize) -> usize {
        match self.data {
            Data::Ascii | Data::Ebcdic(_) | Data::Binary => units,
            Data::Bcd if self.class == Class::Xn => 1 + (units - 1).div_ceil(2),
            Data::Bcd => units.div_ceil(2),
            Data::Hex | Data::HexLower | Data::EbcdicHex => units * 2,
        }
    }

    /// What a prefix says for so many units.
    pub(crate) fn count(&self, prefix: Prefix, units: usize) -> usize {
        let own = if prefix.is_inclusive { prefix.number.octets(prefix.letters) } else { 0 };
        match prefix.unit {
            Unit::Content => units,
            Unit::Octets => self.octets(units) + own,
            Unit::Nibbles if self.data == Data::Bcd => units + own * 2,
            Unit::Nibbles => (self.octets(units) + own) * 2,
        }
    }

    /// The least octets that a field of this shape takes.
    pub(crate) fn least(&self) -> usize {
        match self.extent {
            Extent::Fixed(units) => self.octets(units),
            Extent::Variable { min, prefix, .. } => prefix.number.octets(prefix.letters) + self.octets(min),
            Extent::Told { .. } => 0,
        }
    }

    fn prefix(&self, units: usize, style: &Style) -> Vec<u8> {
        let Extent::Variable { prefix, .. } = self.extent else { return Vec::new() };
        let written = prefix.number.written(self.count(prefix, units), prefix.number.octets(prefix.letters));
        if style.prefix_case && prefix.number == Number::Hex { written.to_ascii_lowercase() } else { written }
    }

    /// Content as octets on the wire.
    fn encoded(&self, content: &[u8], style: &Style) -> Vec<u8> {
        let separator = if style.separator { b'=' + b'D' - self.separator } else { self.separator };
        let parted = |octet: u8| match (self.class, octet) {
            (Class::Z, b'=' | b'D') => separator,
            (_, octet) => octet,
        };
        let pad = style.pad.unwrap_or(self.pad);
        let is_lower = style.case != (self.data == Data::HexLower);
        let digits = || {
            let digits = hex(content);
            if is_lower { digits.to_lowercase() } else { digits }
        };
        match self.data {
            Data::Ascii => content.iter().map(|octet| parted(*octet)).collect(),
            Data::Ebcdic(page) => content.iter().map(|octet| page.octet(parted(*octet))).collect(),
            Data::Bcd => {
                let text: String =
                    content.iter().map(|octet| char::from(*octet).to_ascii_uppercase()).collect();
                let text = text.replace('=', "D");
                match (self.class, text.split_at_checked(1)) {
                    (Class::Xn, Some((sign, digits))) => {
                        [sign.as_bytes(), &packed(digits, self.is_right, pad)].concat()
                    }
                    (_, _) => packed(&text, self.is_right, pad),
                }
            }
            Data::Binary => content.to_vec(),
            Data::Hex | Data::HexLower => digits().into_bytes(),
            Data::EbcdicHex => digits().bytes().map(|digit| Page::P037.octet(digit)).collect(),
        }
    }
}

/// Hexadecimal digits two an octet.
fn packed(digits: &str, is_right: bool, pad: u8) -> Vec<u8> {
    let nibble = |digit: char| digit.to_digit(16).expect("a hexadecimal digit") as u8;
    let mut nibbles: Vec<u8> = digits.chars().map(nibble).collect();
    if nibbles.len() % 2 == 1 {
        nibbles.insert(if is_right { 0 } else { nibbles.len() }, pad);
    }
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// How a bitmap is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    Binary,
    Hex,
    EbcdicHex,
}

impl Map {
    pub(crate) const ALL: [Map; 3] = [Map::Binary, Map::Hex, Map::EbcdicHex];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Map::Binary => "binary",
            Map::Hex => "hex",
            Map::EbcdicHex => "ebcdic-hex",
        }
    }

    pub(crate) fn written(self, octets: &[u8], is_lower: bool) -> Vec<u8> {
        let digits = if is_lower { hex(octets).to_lowercase() } else { hex(octets) };
        match self {
            Map::Binary => octets.to_vec(),
            Map::Hex => digits.into_bytes(),
            Map::EbcdicHex => digits.bytes().map(|digit| Page::P037.octet(digit)).collect(),
        }
    }
}

/// How tags and lengths are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Ber,
    Simple { tag: TagData, length: Number, length_octets: usize, is_ltv: bool, counts_tag: bool },
}

/// How a tag is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagData {
    Ascii,
    Ebcdic,
    /// Octets or packed digits: named by their hexadecimal.
    Octets,
}

impl TagData {
    fn written(self, name: &str) -> Vec<u8> {
        match self {
            TagData::Ascii => name.as_bytes().to_vec(),
            TagData::Ebcdic => name.bytes().map(|octet| Page::P037.octet(octet)).collect(),
            TagData::Octets => packed(name, false, 0),
        }
    }
}

impl Form {
    fn element(self, name: &str, content: &[u8], style: &Style) -> Vec<u8> {
        let Form::Simple { tag, length, length_octets, is_ltv, counts_tag } = self else {
            let filler = vec![0; style.filler];
            let octets = content.len().to_be_bytes();
            let short = match content.len() {
                0..0x80 => 0,
                0x80..0x100 => 1,
                _ => 2,
            };
            let length = match short.max(style.long) {
                0 => vec![octets[7]],
                1 => vec![0x81, octets[7]],
                _ => vec![0x82, octets[6], octets[7]],
            };
            return [&filler, &packed(name, false, 0), &length, content].concat();
        };
        let tag = tag.written(name);
        let count = content.len() + if counts_tag { tag.len() } else { 0 };
        let length = length.written(count, length_octets);
        let (first, second) = if is_ltv { (length, tag) } else { (tag, length) };
        [&first, &second, content].concat()
    }
}

/// In which ways content is written otherwise than the encoder does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Hexadecimal in the other case.
    pub(crate) case: bool,
    /// This nibble beside an odd number of digits.
    pub(crate) pad: Option<u8>,
    /// The other separator.
    pub(crate) separator: bool,
    /// A prefix of hexadecimal in lower case.
    pub(crate) prefix_case: bool,
    /// Octets of a BER length after its first, at least.
    pub(crate) long: usize,
    /// Octets of zero before an element.
    pub(crate) filler: usize,
    /// Octets of zero after the last element.
    pub(crate) tail: usize,
    /// The bitmap in lower case.
    pub(crate) map_case: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Inside {
    /// Characters as they are given to be written, and as they are read: a fixed field is filled up.
    Text {
        given: String,
        read: String,
    },
    Octets(Vec<u8>),
    /// One after the other.
    Parts(Vec<Node>),
    Tags(Form, Vec<Node>),
    /// Behind a bitmap of so many octets; what is left over comes last, under no number.
    Mapped(Map, usize, Vec<Node>),
}

/// A field or part with its content.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name among its neighbours.
    pub(crate) key: String,
    pub(crate) shape: Shape,
    pub(crate) inside: Inside,
    pub(crate) style: Style,
    /// What the dialect says of it: the keys of its table.
    pub(crate) toml: String,
    /// Characters that its content is made of.
    pub(crate) alphabet: &'static str,
    /// Whether it must not be shown.
    pub(crate) is_secret: bool,
    /// Whether its own field has something against it: the last part of a field, given short.
    pub(crate) is_short: bool,
}

impl Node {
    /// Characters, or octets, before they are written in the field's encoding.
    pub(crate) fn content(&self) -> Vec<u8> {
        match &self.inside {
            Inside::Text { read, .. } => read.chars().map(|character| character as u8).collect(),
            Inside::Octets(octets) => octets.clone(),
            Inside::Parts(parts) => parts.iter().flat_map(Node::wire).collect(),
            Inside::Tags(form, nodes) => {
                let element = |node: &Node| form.element(&node.key, &node.wire(), &node.style);
                nodes.iter().flat_map(element).chain(vec![0; self.style.tail]).collect()
            }
            Inside::Mapped(map, octets, nodes) => {
                let mut bits = vec![0; *octets];
                for bit in nodes.iter().filter_map(|node| node.key.parse::<usize>().ok()) {
                    bits[(bit - 1) / 8] |= 0x80 >> ((bit - 1) % 8);
                }
                let map = map.written(&bits, self.style.map_case);
                map.into_iter().chain(nodes.iter().flat_map(Node::wire)).collect()
            }
        }
    }

    /// Prefix and content as they stand in what is around; of an element, its value.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let content = self.content();
        let mut wire = self.shape.prefix(content.len(), &self.style);
        wire.extend(self.shape.encoded(&content, &self.style));
        wire
    }

    /// What it is written from.
    pub(crate) fn given(&self) -> Value {
        self.value(&|given, _| given.to_owned())
    }

    /// What it is read as.
    pub(crate) fn read(&self) -> Value {
        self.value(&|_, read| read.to_owned())
    }

    fn value(&self, text: &dyn Fn(&str, &str) -> String) -> Value {
        match &self.inside {
            Inside::Text { given, read } => Value::Text(text(given, read)),
            Inside::Octets(octets) => Value::Bytes(octets.clone()),
            Inside::Parts(nodes) | Inside::Tags(_, nodes) | Inside::Mapped(_, _, nodes) => {
                Value::Composite(nodes.iter().map(|node| (node.key.clone(), node.value(text))).collect())
            }
        }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        match &self.inside {
            Inside::Text { .. } | Inside::Octets(_) => &[],
            Inside::Parts(nodes) | Inside::Tags(_, nodes) | Inside::Mapped(_, _, nodes) => nodes,
        }
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        match &mut self.inside {
            Inside::Text { .. } | Inside::Octets(_) => &mut [],
            Inside::Parts(nodes) | Inside::Tags(_, nodes) | Inside::Mapped(_, _, nodes) => nodes,
        }
    }
}
