//! Draws fields that hold elements by their tags.

use std::collections::BTreeMap;

use super::{
    fields::{Around, DIGITS, Generator, HEX, Place},
    inside::Drawn,
    model::{Class, Form, Inside, Node, Number, Shape, TagData},
};

/// Tags of chip data: whether they are sensitive by themselves.
const PRIMITIVE: [(&str, bool); 14] = [
    ("9C", false),
    ("95", false),
    ("9F36", false),
    ("5F2A", false),
    ("9F27", false),
    ("C1", false),
    ("DF8129", false),
    ("9F02", false),
    ("DF818101", false),
    ("5A", true),
    ("57", true),
    ("5F20", true),
    ("99", true),
    ("DF812A", true),
];
const CONSTRUCTED: [&str; 5] = ["70", "E1", "BF0C", "77", "FF8105"];

/// What a file says of tags: those it names, and all others.
struct Tags {
    named: BTreeMap<String, Node>,
    other: Option<Node>,
}

impl Generator<'_> {
    /// BER-TLV.
    pub(crate) fn chip(&mut self, depth: usize) -> Drawn {
        let mut named = BTreeMap::new();
        for _ in 0..self.source.below(4) {
            let (tag, is_secret) = self.source.one(&PRIMITIVE);
            let outer = self.around_secret;
            self.around_secret |= is_secret;
            named.insert(tag.to_owned(), self.field(tag, Place::told(Around::Octets), depth - 1));
            self.around_secret = outer;
        }
        let other = self.source.one_in(4).then(|| self.leaf("value", Place::told(Around::Octets)));
        let tags = Tags { named, other };
        let nodes = self.chip_elements(&tags, depth);
        let toml = format!("tlv = \"ber\"{}", tags.toml());
        Drawn { class: Class::B, inside: Inside::Tags(Form::Ber, nodes), toml, least: 0 }
    }

    fn chip_elements(&mut self, tags: &Tags, depth: usize) -> Vec<Node> {
        let count = self.source.within(1, 5);
        (0..count).map(|_| self.chip_element(tags, depth)).collect()
    }

    fn chip_element(&mut self, tags: &Tags, depth: usize) -> Node {
        if depth > 0 && tags.other.is_none() && self.source.one_in(6) {
            let (tag, nodes) = (self.source.one(&CONSTRUCTED), self.chip_elements(tags, depth - 1));
            let inside = Inside::Tags(Form::Ber, nodes);
            return Node { key: tag.to_owned(), inside, ..self.rest(Class::B, 0) };
        }
        let (tag, is_secret) = self.source.one(&PRIMITIVE);
        if let Some(node) = tags.named.get(tag) {
            return self.again(node, Around::Octets);
        }
        self.value(tags, tag, Around::Octets, is_secret)
    }

    /// The value of a tag that has no name.
    fn value(&mut self, tags: &Tags, tag: &str, around: Around, is_secret: bool) -> Node {
        let (outer, key) = (self.around_secret, tag.to_owned());
        self.around_secret |= is_secret;
        let node = match &tags.other {
            Some(other) => {
                let place = Place::told(around);
                let (shape, units) = (other.shape, other.content().len());
                let alphabet_units = (units, self.around_secret, place);
                let node = if self.around_secret == other.is_secret {
                    self.again(other, around)
                } else {
                    self.plain(tag, shape, String::new(), alphabet_units)
                };
                Node { key, ..node }
            }
            None => {
                let class = match around {
                    Around::Characters(class) => class,
                    Around::Octets | Around::Message => Class::B,
                };
                // Seldom many.
                let more = if self.source.one_in(8) { 280 } else { 8 };
                let units = self.source.within(8, 8 + more);
                let shape = Shape::bare(if class == Class::B { Class::B } else { Class::Ans });
                Node { key, shape, ..self.rest(class, units) }
            }
        };
        self.around_secret = outer;
        node
    }

    /// Elements of tag and length with widths of their own.
    pub(crate) fn elements(&mut self, place: Place, depth: usize) -> Drawn {
        let held = self.holder(place.around);
        let class = if held == Class::Xn { Class::Ans } else { held };
        let around = if class == Class::B { Around::Octets } else { Around::Characters(class) };
        let kind = self.source.below(4);
        if class == Class::B && kind == 1 {
            return self.datasets(depth);
        }
        let is_pds = class != Class::B && kind == 1;
        let (tag, encoding) = match (class, is_pds) {
            (_, true) => (TagData::Ascii, ""),
            (Class::B, _) => self.source.one(&[
                (TagData::Octets, "binary"),
                (TagData::Octets, "bcd"),
                (TagData::Ascii, "ascii"),
                (TagData::Ebcdic, "ebcdic"),
            ]),
            (_, _) => (TagData::Ascii, ""),
        };
        let width = if is_pds { 4 } else { self.source.within(1, 4) };
        let letters = match (class, encoding) {
            (_, "bcd") => DIGITS,
            (_, _) if is_pds => DIGITS,
            (Class::Zx, _) | (_, "binary") => HEX,
            (Class::An | Class::Ans | Class::Latin | Class::B, _) => "012345689ABCDEFGHIJKLMNOP",
            (_, _) => DIGITS,
        };
        let characters = match encoding {
            "bcd" => width.div_ceil(2) * 2,
            "binary" => width * 2,
            _ => width,
        };
        let pool: Vec<String> =
            (0..3).map(|_| self.characters(Class::N, letters, characters, false)).collect();
        let mut named = BTreeMap::new();
        for tag in &pool[..self.source.below(3)] {
            named.insert(tag.clone(), self.field(tag, Place::told(around), depth - 1));
        }
        let other = self.source.one_in(4).then(|| self.leaf("value", Place::told(around)));
        let tags = Tags { named, other };
        let count = self.source.within(1, 4);
        let nodes: Vec<Node> = (0..count)
            .map(|_| {
                let tag = pool[self.source.below(pool.len())].clone();
                match tags.named.get(&tag) {
                    Some(node) => self.again(node, around),
                    None => self.value(&tags, &tag, around, false),
                }
            })
            .collect();
        let longest = nodes.iter().map(|node| node.wire().len()).max().unwrap_or(0) + 8;
        let (form, toml) = self.form(class, (tag, encoding, width), longest, is_pds);
        let toml = format!("{toml}{}", tags.toml());
        Drawn { class, inside: Inside::Tags(form, nodes), toml, least: 0 }
    }

    /// A form whose lengths can say so many octets.
    fn form(
        &mut self,
        class: Class,
        (tag, encoding, width): (TagData, &str, usize),
        longest: usize,
        is_pds: bool,
    ) -> (Form, String) {
        if is_pds && longest <= 999 {
            let (length, length_octets) = (Number::Ascii, 3);
            let form = Form::Simple { tag, length, length_octets, is_ltv: false, counts_tag: false };
            return (form, "tlv = \"pds\"".to_owned());
        }
        let length = if class == Class::B { self.source.one(&Number::ALL) } else { Number::Ascii };
        let limit = |digits: usize| match length {
            Number::Binary => 256_usize.pow(digits as u32) - 1,
            Number::Hex => 16_usize.pow(digits as u32) - 1,
            Number::Ascii | Number::Ebcdic | Number::Bcd => 10_usize.pow(digits as u32) - 1,
        };
        let most = if length == Number::Binary { 3 } else { 6 };
        let enough: Vec<usize> = (1..=most).filter(|digits| limit(*digits) >= longest).collect();
        let digits = self.source.one(&enough);
        let length_octets = if length == Number::Bcd { digits.div_ceil(2) } else { digits };
        let (is_ltv, counts_tag) = (self.source.flag(), self.source.flag());
        let mut keys = format!("tag = {width}, length = {digits}");
        if class == Class::B {
            keys += &format!(", tag_encoding = {encoding:?}, length_encoding = {:?}", length.name());
        }
        if is_ltv || self.source.flag() {
            keys += &format!(", order = {:?}", if is_ltv { "ltv" } else { "tlv" });
        }
        if counts_tag || self.source.flag() {
            keys += &format!(", counts = {:?}", if counts_tag { "tag" } else { "value" });
        }
        let form = Form::Simple { tag, length, length_octets, is_ltv, counts_tag };
        (form, format!("tlv = {{ {keys} }}"))
    }

    /// Data sets: BER-TLV inside those that are not named.
    fn datasets(&mut self, depth: usize) -> Drawn {
        let mut named = BTreeMap::new();
        if self.source.flag() {
            named.insert("61".to_owned(), self.leaf("61", Place::told(Around::Octets)));
        }
        let tags = Tags { named, other: None };
        let plain = Tags { named: BTreeMap::new(), other: None };
        let count = self.source.within(1, 3);
        let nodes = (0..count).map(|_| match self.source.below(3) {
            0 if tags.named.contains_key("61") => self.again(&tags.named["61"], Around::Octets),
            _ => {
                let tag = self.source.one(&["01", "02", "F0"]);
                let inside = Inside::Tags(Form::Ber, self.chip_elements(&plain, depth - 1));
                Node { key: tag.to_owned(), inside, ..self.rest(Class::B, 0) }
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let (tag, length, length_octets) = (TagData::Octets, Number::Binary, 2);
        let form = Form::Simple { tag, length, length_octets, is_ltv: false, counts_tag: false };
        let toml = format!("tlv = \"dataset\"{}", tags.toml());
        Drawn { class: Class::B, inside: Inside::Tags(form, nodes), toml, least: 0 }
    }
}

impl Tags {
    fn toml(&self) -> String {
        let named = self.named.iter().map(|(tag, node)| format!("{tag:?} = {{ {} }}", node.toml));
        let named: Vec<String> = named.collect();
        let tags =
            if named.is_empty() { String::new() } else { format!(", tags = {{ {} }}", named.join(", ")) };
        let value =
            self.other.as_ref().map_or(String::new(), |other| format!(", value = {{ {} }}", other.toml));
        tags + &value
    }
}
