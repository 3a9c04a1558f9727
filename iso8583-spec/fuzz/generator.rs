//! A random dialect, over everything that `doc/dialects.md` lets be combined, with one message of it.
//!
//! Content that is sensitive is made of sevens, `Q` and `77`, and no other content has any of these.

use std::collections::BTreeMap;

use iso8583_spec::{Framing, Spec};

use super::{
    fields::{Around, Defaults, Generator, Place, list},
    model::{Data, Map, Node, Page},
    source::Source,
};

/// A dialect and a message.
pub(crate) struct Case {
    /// The dialect's file.
    pub(crate) source: String,
    /// The file of the dialect that it extends.
    pub(crate) parent: Option<String>,
    pub(crate) spec: Spec,
    pub(crate) message: Draft,
}

/// A message as it is to be on the wire.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) tpdu: Option<Vec<u8>>,
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) mti: String,
    mti_data: Data,
    map: Map,
    last: u8,
    third_is_field: bool,
    /// The bitmaps in lower case.
    pub(crate) is_lower: bool,
    /// Bitmaps without a field after those that the fields ask for.
    pub(crate) empty: usize,
    pub(crate) fields: BTreeMap<u8, Node>,
}

impl Draft {
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut words = [0_u64; 3];
        for de in self.fields.keys() {
            words[usize::from((de - 1) / 64)] |= 1 << (63 - (de - 1) % 64);
        }
        let asked = words.iter().rposition(|word| *word != 0).unwrap_or(0);
        let count = (asked + self.empty).min(usize::from(self.last / 64) - 1);
        for word in words.iter_mut().take(count) {
            *word |= 1 << 63;
        }
        let word = |index: usize| self.map.written(&words[index].to_be_bytes(), self.is_lower);
        let mti: Vec<u8> = match self.mti_data {
            Data::Bcd => {
                self.mti.as_bytes().chunks(2).map(|pair| (pair[0] & 15) << 4 | (pair[1] & 15)).collect()
            }
            Data::Ebcdic(_) => self.mti.bytes().map(|digit| digit | 0xF0).collect(),
            Data::Ascii | Data::Binary | Data::Hex | Data::HexLower | Data::EbcdicHex => {
                self.mti.clone().into_bytes()
            }
        };
        let front: Vec<u8> = (0..=count.min(1)).flat_map(word).collect();
        let third = if count == 2 { word(2) } else { Vec::new() };
        let run = |fields: std::ops::RangeInclusive<u8>| {
            self.fields.range(fields).flat_map(|(_, node)| node.wire()).collect::<Vec<_>>()
        };
        let head = [self.tpdu.as_deref(), self.header.as_deref()].map(Option::unwrap_or_default).concat();
        let (before, after) = if self.third_is_field { (Vec::new(), third) } else { (third, Vec::new()) };
        [head, mti, front, before, run(2..=64), after, run(65..=192)].concat()
    }
}

/// The dialect and the message that octets choose.
pub(crate) fn case(octets: &[u8]) -> Case {
    let mut source = Source::new(octets);
    let defaults = Defaults::draw(&mut source);
    let mut generator = Generator { source, defaults, around_secret: false };
    let head = Head::draw(&mut generator);
    let mut fields = BTreeMap::new();
    let mut declared = BTreeMap::new();
    for _ in 0..generator.source.below(8) {
        // Where a MAC stands is not as seldom as chance has it.
        let de = match generator.source.one_in(8) {
            true => generator.source.one(&[64, head.last]),
            false => 2 + generator.source.below(usize::from(head.last) - 1) as u8,
        };
        // The field that is the tertiary bitmap.
        if de == 65 && head.last == 192 {
            continue;
        }
        let node = generator.field(&de.to_string(), Place::of(Around::Message), 2);
        let (key, toml) = (de.to_string(), &node.toml);
        declared.insert(de, format!("{key} = {{ name = \"field {key}\", {toml} }}"));
        fields.insert(de, node);
        if generator.source.one_in(4) {
            fields.remove(&de);
        }
    }
    let (source, parent) = files(&mut generator.source, &generator.defaults, &head.toml, &declared);
    let sources = |name: &str| parent.clone().filter(|_| name == "parent");
    let spec = match Spec::parse_with(&source, &sources) {
        Ok(spec) => spec,
        Err(faults) => panic!("{faults:#?}\n{source}\n{}", parent.unwrap_or_default()),
    };
    let message = Draft { fields, ..head.message };
    Case { source, parent, spec, message }
}

/// The file of the dialect, and of the one that it extends.
fn files(
    source: &mut Source<'_>,
    defaults: &Defaults,
    head: &str,
    fields: &BTreeMap<u8, String>,
) -> (String, Option<String>) {
    let file = |name: &str, more: &str, fields: Vec<String>| {
        format!("name = {name:?}\n{more}\n[fields]\n{}\n", fields.join("\n"))
    };
    let defaults = defaults.toml();
    if !source.one_in(4) {
        return (file("own", &format!("{head}\n{defaults}"), fields.values().cloned().collect()), None);
    }
    let (mut theirs, mut own, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (de, field) in fields {
        match source.below(3) {
            0 => own.push(field.clone()),
            1 => theirs.push(field.clone()),
            // What is said anew is as the child says.
            _ => {
                theirs.push(format!("{de} = {{ name = \"other\", content = \"ans\", max = 9, prefix = \"LLLLL\", meaning = \"currency\", values = {{ a = \"b\" }} }}"));
                own.push(field.clone());
            }
        }
    }
    if !fields.contains_key(&64) {
        theirs.push("64 = { name = \"MAC\", content = \"b\", length = 8 }".to_owned());
        without.push("64".to_owned());
    }
    let parent = file("parent", &format!("{head}\n{defaults}"), theirs);
    let child = file("own", &format!("extends = \"parent\"\nwithout = {}", list(&without)), own);
    (child, Some(parent))
}

/// What stands before the fields, in the file and in the message.
struct Head {
    toml: String,
    last: u8,
    message: Draft,
}

impl Head {
    fn draw(generator: &mut Generator<'_>) -> Head {
        let framing = framing(&mut generator.source);
        let tpdu = generator.source.one_in(4).then(|| generator.octets(5, false));
        let (header_toml, header) = header(generator);
        let source = &mut generator.source;
        let mti_data = source.one(&[Data::Ascii, Data::Bcd, Data::Ebcdic(Page::P037)]);
        let mti_name = if matches!(mti_data, Data::Ebcdic(_)) { "ebcdic" } else { mti_data.name() };
        let map = source.one(&Map::ALL);
        let last: u8 = source.one(&[64, 128, 192]);
        let third_is_field = source.flag();
        let tertiary = match (third_is_field, source.flag()) {
            (true, _) => ", tertiary = \"field-65\"",
            (false, true) => ", tertiary = \"after-secondary\"",
            (false, false) => "",
        };
        let flag = if tpdu.is_some() { "tpdu = true\n" } else { ["", "tpdu = false\n"][source.below(2)] };
        let bitmap = format!("bitmap = {{ encoding = {:?}, fields = {last}{tertiary} }}", map.name());
        let toml = format!("{framing}\n{flag}{header_toml}mti = {mti_name:?}\n{bitmap}");
        let digits = [source.below(3), source.within(1, 8), source.below(10), source.below(10)];
        let mti = digits.map(|digit| digit.to_string()).concat();
        let fields = BTreeMap::new();
        let (is_lower, empty) = (false, 0);
        let message =
            Draft { tpdu, header, mti, mti_data, map, last, third_is_field, is_lower, empty, fields };
        Head { toml, last, message }
    }
}

fn framing(source: &mut Source<'_>) -> String {
    let named = source.below(Framing::NAMED.len() + 4);
    if let Some((name, _)) = Framing::NAMED.get(named) {
        return format!("framing = {name:?}");
    }
    let (form, most) = source.one(&[("ascii", 8), ("bcd", 8), ("binary", 4), ("hex", 8)]);
    let (octets, inclusive) = (source.within(1, most), source.flag());
    let (filler, trailer) = (source.below(5), "0D0A0304".get(..source.below(5) * 2).unwrap_or_default());
    format!(
        "framing = {{ length = {form:?}, octets = {octets}, inclusive = {inclusive}, filler = {filler}, trailer = {trailer:?} }}"
    )
}

/// The header in the file and on the wire, its parts first.
fn header(generator: &mut Generator<'_>) -> (String, Option<Vec<u8>>) {
    match generator.source.below(4) {
        0 | 1 => (String::new(), None),
        2 => {
            let parts: Vec<Node> = (0..generator.source.below(4))
                .map(|index| generator.fixed(&index.to_string(), Place::of(Around::Octets)))
                .collect();
            let tables: Vec<String> =
                parts.iter().map(|part| format!("{{ name = {:?}, {} }}", part.key, part.toml)).collect();
            let mut octets: Vec<u8> = parts.iter().flat_map(Node::wire).collect();
            let more = generator.source.below(4) + usize::from(octets.is_empty());
            octets.extend(generator.octets(more, false));
            let inside =
                if parts.is_empty() { String::new() } else { format!(", parts = {}", list(&tables)) };
            (format!("header = {{ name = \"header\", length = {}{inside} }}\n", octets.len()), Some(octets))
        }
        _ => {
            let (min, length) = (generator.source.within(1, 9), generator.source.below(20));
            let (length, max) = (min + length, min + length + generator.source.below(9));
            let mut octets = generator.octets(length, false);
            octets[0] = length as u8;
            let part = r#", parts = [ { name = "1", length = 1, label = "length" } ]"#;
            let part = if generator.source.flag() { part } else { "" };
            let toml = format!("header = {{ length = \"first octet\", min = {min}, max = {max}{part} }}\n");
            (toml, Some(octets))
        }
    }
}
