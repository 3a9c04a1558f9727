//! One field as either side declares it, and how a value of it is called on either side.
//!
//! | here | pyiso8583 |
//! |---|---|
//! | characters, `ascii` or a code page of EBCDIC | text in `ascii`, `cp037`, `cp500` |
//! | octets, `binary` | `b`, written as hexadecimal |
//! | octets, `hex` and its kin | text of hexadecimal characters |
//! | packed digits, counted in digits | `b`, counted in nibbles, with a pad on one side |
//! | packed digits, counted in octets | `b`, the pad nibble being part of the value |
//! | a packed amount with its sign | `b`, the sign being an octet of the value |

use serde_json::{Value, json};

use crate::{chance::Chance, python};

/// The length prefix of a variable field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// As pyiso8583 calls its encoding.
    pub(crate) encoding: &'static str,
    pub(crate) letters: usize,
}

impl Prefix {
    pub(crate) const ENCODINGS: [&'static str; 5] = ["ascii", "cp037", "cp500", "bcd", "b"];

    /// Octets on the wire.
    pub(crate) fn width(self) -> usize {
        if self.is_text() { self.letters } else { self.letters.div_ceil(2) }
    }

    pub(crate) fn is_text(self) -> bool {
        !matches!(self.encoding, "bcd" | "b")
    }

    /// The most that it can say.
    fn limit(self) -> usize {
        match self.encoding {
            "b" => 256_usize.pow(u32::try_from(self.width()).unwrap()) - 1,
            _ => 10_usize.pow(u32::try_from(self.letters).unwrap()) - 1,
        }
    }

    /// A number as it stands on the wire; `None` when it does not fit.
    pub(crate) fn wire(self, number: usize) -> Option<Vec<u8>> {
        let width = self.width();
        let digits = |width: usize| Some(format!("{number:0width$}")).filter(|text| text.len() == width);
        match self.encoding {
            "b" => {
                let octets = number.to_be_bytes();
                let (zeros, octets) = octets.split_at(octets.len() - width);
                zeros.iter().all(|octet| *octet == 0).then(|| octets.to_vec())
            }
            "bcd" => hex::decode(digits(width * 2)?).ok(),
            "ascii" => Some(digits(width)?.into_bytes()),
            _ => Some(digits(width)?.bytes().map(|digit| digit | 0xF0).collect()),
        }
    }

    /// The number that pyiso8583 finds.
    pub(crate) fn number(self, wire: &[u8]) -> Option<i64> {
        match self.encoding {
            "b" => i64::from_str_radix(&hex::encode(wire), 16).ok(),
            "bcd" => hex::encode(wire).parse().ok(),
            encoding => python::int(encoding, wire),
        }
    }

    /// Whether these octets are how this number is written.
    pub(crate) fn says(self, number: i64, wire: &[u8]) -> bool {
        usize::try_from(number).ok().and_then(|number| self.wire(number)).as_deref() == Some(wire)
    }

    fn name(self) -> &'static str {
        match self.encoding {
            "b" => "binary",
            "bcd" | "ascii" => self.encoding,
            _ => "ebcdic",
        }
    }
}

/// How content lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    Text,
    Octets,
    Hex,
    Packed,
}

/// A field declared twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) content: &'static str,
    pub(crate) encoding: &'static str,
    pub(crate) data_enc: &'static str,
    pub(crate) prefix: Option<Prefix>,
    /// What the prefix counts, as a dialect file says it.
    pub(crate) unit: &'static str,
    /// The same, as pyiso8583 does.
    pub(crate) len_count: &'static str,
    pub(crate) align: &'static str,
    pub(crate) pad: char,
    /// What parts track data written as characters: the dialect's, not the field's.
    pub(crate) separator: char,
    /// In digits, characters, octets of content.
    pub(crate) min: usize,
    pub(crate) max: usize,
}

const CONTENTS: [&str; 8] = ["n", "a", "an", "ans", "ns", "z", "zx", "x+n"];
const PACKED: [&str; 4] = ["n", "z", "zx", "x+n"];
const PRINTABLE: std::ops::RangeInclusive<char> = ' '..='~';

/// Every content and encoding here, and what pyiso8583 calls the encoding.
pub(crate) fn forms() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut forms = Vec::new();
    for (ours, theirs) in [("ascii", "ascii"), ("ebcdic-037", "cp037"), ("ebcdic-500", "cp500")] {
        forms.extend(CONTENTS.map(|content| (content, ours, theirs)));
    }
    forms.extend([("b", "hex", "ascii"), ("b", "hex-lower", "ascii")]);
    forms.extend([("b", "ebcdic-hex", "cp037"), ("b", "ebcdic-hex", "cp500"), ("b", "binary", "b")]);
    forms.extend(PACKED.map(|content| (content, "bcd", "b")));
    forms
}

impl Pair {
    /// Fixed text in ASCII: what other pairs differ from.
    pub(crate) const PLAIN: Pair = Pair {
        content: "ans",
        encoding: "ascii",
        data_enc: "ascii",
        prefix: None,
        unit: "content",
        len_count: "bytes",
        align: "left",
        pad: '0',
        separator: '=',
        min: 0,
        max: 6,
    };

    /// Any pair, every encoding of pyiso8583 as likely as the others.
    pub(crate) fn random(separator: char, chance: &mut Chance) -> Pair {
        loop {
            let data_enc = chance.pick(&["ascii", "cp037", "cp500", "b"]);
            let forms: Vec<_> = forms().into_iter().filter(|(_, _, theirs)| *theirs == data_enc).collect();
            let (content, encoding, data_enc) = chance.pick(&forms);
            let prefix = (!chance.once_in(6)).then(|| {
                let encoding = chance.pick(&Prefix::ENCODINGS);
                Prefix { encoding, letters: chance.within(1..=6) }
            });
            let (align, pad) = (chance.pick(&["left", "right"]), chance.pick(&['0', 'F']));
            let len_count = chance.pick(&["bytes", "nibbles"]);
            let pair =
                Pair { content, encoding, data_enc, prefix, len_count, align, pad, separator, ..Pair::PLAIN };
            if let Some(pair) = pair.counted(chance).and_then(|pair| pair.sized(chance)) {
                return pair;
            }
        }
    }

    /// With a unit that says what `len_count` says; `None` when there is none.
    fn counted(self, chance: &mut Chance) -> Option<Pair> {
        let is_fixed = self.prefix.is_none();
        let unit = match (self.writing(), self.len_count) {
            // An amount is fixed, and its sign would count as two.
            (_, _) if self.content == "x+n" && !is_fixed => return None,
            (Writing::Packed, "nibbles") if self.content == "x+n" => return None,
            (Writing::Packed, "nibbles") => chance.pick(&["content", "nibbles"]),
            (Writing::Packed, _) if self.content == "x+n" => "content",
            // Only a pad that is no digit tells where they end.
            (Writing::Packed, _) if is_fixed || self.content == "zx" || self.pad != 'F' => return None,
            (_, "nibbles") => "nibbles",
            (Writing::Text | Writing::Octets, _) => chance.pick(&["content", "octets"]),
            (Writing::Hex | Writing::Packed, _) => "octets",
        };
        Some(Pair { unit, ..self })
    }

    /// With a maximum that the prefix can say.
    fn sized(self, chance: &mut Chance) -> Option<Pair> {
        let least = if self.content == "x+n" { 2 } else { 1 };
        let Some(prefix) = self.prefix else {
            return Some(Pair { max: chance.within(least..=40), ..self });
        };
        let per_unit = self.count(1_000_000);
        let most = (prefix.limit() * 1_000_000 / per_unit).min(65_535);
        let max = if chance.once_in(3) { most } else { chance.within(1..=most.clamp(1, 60)) };
        // An odd maximum counted in octets is one digit more to pyiso8583.
        let is_halved = self.writing() == Writing::Packed && self.len_count == "bytes";
        let max = if is_halved { max / 2 * 2 } else { max };
        let min = if chance.once_in(4) { chance.within(0..=max.min(5)) } else { 0 };
        (max > 0).then_some(Pair { min, max, ..self })
    }

    pub(crate) fn writing(&self) -> Writing {
        match self.encoding {
            "binary" => Writing::Octets,
            "hex" | "hex-lower" | "ebcdic-hex" => Writing::Hex,
            "bcd" => Writing::Packed,
            _ => Writing::Text,
        }
    }

    /// Octets on the wire of so many units, without prefix.
    pub(crate) fn width(&self, units: usize) -> usize {
        match self.writing() {
            Writing::Text | Writing::Octets => units,
            Writing::Hex => units * 2,
            Writing::Packed if self.content == "x+n" => 1 + (units - 1).div_ceil(2),
            Writing::Packed => units.div_ceil(2),
        }
    }

    /// What pyiso8583 counts for so many units.
    pub(crate) fn count(&self, units: usize) -> usize {
        match (self.len_count, self.writing()) {
            ("nibbles", Writing::Packed) => units,
            ("nibbles", _) => self.width(units) * 2,
            _ => self.width(units),
        }
    }

    /// Whether pyiso8583 puts a pad beside an odd number of nibbles.
    pub(crate) fn is_padded(&self) -> bool {
        self.writing() == Writing::Packed && self.len_count == "nibbles"
    }

    /// The field as a dialect file declares it.
    pub(crate) fn toml(&self, de: u8) -> String {
        let Pair { content, encoding, unit, align, pad, min, max, .. } = self;
        let size = match self.prefix {
            None if *content == "x+n" => format!("length = {}", max - 1),
            None => format!("length = {max}"),
            Some(prefix) => format!(
                "min = {min}, max = {max}, prefix = \"{}\", prefix_encoding = \"{}\", prefix_unit = \"{unit}\"",
                "L".repeat(prefix.letters),
                prefix.name(),
            ),
        };
        format!(
            "{de} = {{ name = \"field\", content = \"{content}\", encoding = \"{encoding}\", {size}, \
             align = \"{align}\", pad = \"{pad}\" }}\n"
        )
    }

    /// The field as pyiso8583 declares it.
    pub(crate) fn json(&self) -> Value {
        let mut spec = json!({
            "data_enc": self.data_enc,
            "len_enc": self.prefix.map_or("ascii", |prefix| prefix.encoding),
            "len_type": self.prefix.map_or(0, Prefix::width),
            "max_len": self.count(self.max),
            "len_count": self.len_count,
            "desc": "field",
        });
        if self.is_padded() {
            let side = if self.align == "left" { "right_pad" } else { "left_pad" };
            spec[side] = self.pad.to_string().into();
        }
        spec
    }

    /// The characters of its content, the first of an amount apart.
    fn alphabet(&self) -> String {
        match self.content {
            "n" | "x+n" => "0123456789".to_owned(),
            "z" => "0123456789D".to_owned(),
            "zx" | "b" => "0123456789ABCDEF".to_owned(),
            "ans" => PRINTABLE.collect(),
            content => PRINTABLE
                .filter(|c| match content {
                    "a" => c.is_ascii_alphabetic() || *c == ' ',
                    "an" => c.is_ascii_alphanumeric() || *c == ' ',
                    _ => !c.is_ascii_alphabetic(),
                })
                .collect(),
        }
    }

    /// Any value of so many units.
    pub(crate) fn value_of(&self, units: usize, chance: &mut Chance) -> String {
        match self.content {
            "x+n" => chance.text(1, "CD") + &chance.text(units - 1, &self.alphabet()),
            "b" => chance.text(units * 2, &self.alphabet()),
            _ => chance.text(units, &self.alphabet()),
        }
    }

    /// Any value; now and then a very long one.
    pub(crate) fn value(&self, chance: &mut Chance) -> String {
        let most = if chance.once_in(60) { 2_000 } else { 40 };
        let units = match self.prefix {
            None => self.max,
            Some(_) if chance.once_in(20) && self.max <= 3_000 => chance.pick(&[self.min, self.max]),
            Some(_) => chance.within(self.min..=self.max.min(most)),
        };
        self.value_of(units, chance)
    }

    /// What pyiso8583 calls a value.
    pub(crate) fn theirs(&self, value: &str) -> String {
        match (self.writing(), self.content) {
            (Writing::Text, "z") => value.replace('D', &self.separator.to_string()),
            (Writing::Text | Writing::Octets, _) => value.to_owned(),
            (Writing::Hex, _) if self.encoding == "hex-lower" => value.to_lowercase(),
            (Writing::Hex, _) => value.to_owned(),
            (Writing::Packed, "x+n") => {
                let (sign, digits) = value.split_at(1);
                hex::encode_upper(sign) + &self.whole(digits)
            }
            (Writing::Packed, _) if self.len_count == "bytes" => self.whole(value),
            (Writing::Packed, _) => value.to_owned(),
        }
    }

    /// Digits with the pad that makes their number even.
    fn whole(&self, digits: &str) -> String {
        match (digits.len() % 2, self.align) {
            (0, _) => digits.to_owned(),
            (_, "left") => format!("{digits}{}", self.pad),
            (_, _) => format!("{}{digits}", self.pad),
        }
    }

    /// What this crate calls a value of pyiso8583.
    pub(crate) fn ours(&self, value: &str) -> String {
        match (self.writing(), self.content) {
            (Writing::Text, "z") => value.replace('=', "D"),
            (Writing::Hex, _) => value.to_uppercase(),
            (Writing::Packed, "x+n") if value.len() > 2 => {
                let (sign, digits) = value.split_at(2);
                let is_odd = (self.max - 1) % 2 == 1;
                let digits = if is_odd { self.without_pad(digits) } else { digits };
                String::from_utf8_lossy(&hex::decode(sign).unwrap()).into_owned() + digits
            }
            (Writing::Packed, _) if self.len_count == "bytes" => {
                let pad = if self.align == "left" { value.chars().last() } else { value.chars().next() };
                if pad == Some('F') { self.without_pad(value) } else { value }.to_owned()
            }
            (Writing::Text | Writing::Octets | Writing::Packed, _) => value.to_owned(),
        }
    }

    /// The first octet of content that is outside of its class, by a value of pyiso8583.
    pub(crate) fn wrong_octet(&self, value: &str) -> Option<usize> {
        let class = match (self.writing(), self.content) {
            (Writing::Octets, _) => return None,
            (Writing::Text, "z") => "0123456789D=".to_owned(),
            (Writing::Hex, _) => "0123456789ABCDEFabcdef".to_owned(),
            (Writing::Text | Writing::Packed, _) => self.alphabet(),
        };
        let wrong = |text: &str| text.chars().position(|c| !class.contains(c));
        match (self.writing(), self.content) {
            (Writing::Packed, "x+n") if !matches!(value.get(..2), Some("43" | "44")) => Some(0),
            (Writing::Text, "x+n") if !value.starts_with(['C', 'D']) => Some(0),
            (Writing::Text, "x+n") => wrong(&value[1..]).map(|index| index + 1),
            (Writing::Packed, _) => {
                let (sign, digits) = value.split_at(if self.content == "x+n" { 2 } else { 0 });
                let known = self.ours(value);
                let skipped = usize::from(self.align == "right" && (known.len() - sign.len() / 2) % 2 == 1);
                let digits = if self.len_count == "bytes" { &known[sign.len() / 2..] } else { digits };
                wrong(digits).map(|index| (index + skipped) / 2 + sign.len() / 2)
            }
            (Writing::Text | Writing::Hex | Writing::Octets, _) => wrong(value),
        }
    }

    /// Digits, characters or octets of a value of this crate.
    pub(crate) fn units(&self, value: &str) -> usize {
        if self.content == "b" { value.len() / 2 } else { value.chars().count() }
    }

    fn without_pad<'v>(&self, digits: &'v str) -> &'v str {
        if self.align == "left" { &digits[..digits.len() - 1] } else { &digits[1..] }
    }

    /// What is counted when the run is summed up: encoding, prefix and unit of pyiso8583.
    pub(crate) fn cell(&self) -> String {
        cell(self.data_enc, self.prefix, self.len_count)
    }
}

fn cell(data_enc: &str, prefix: Option<Prefix>, len_count: &str) -> String {
    match prefix {
        None => format!("{data_enc}, fixed, {len_count}"),
        Some(prefix) => format!("{data_enc}, {} {}, {len_count}", prefix.encoding, prefix.width()),
    }
}

/// Every cell there is.
pub(crate) fn cells() -> Vec<String> {
    let mut prefixes = vec![None];
    for encoding in Prefix::ENCODINGS {
        prefixes.extend((1..=6).map(|letters| Some(Prefix { encoding, letters })));
    }
    let mut cells = Vec::new();
    for data_enc in ["ascii", "cp037", "cp500", "b"] {
        for prefix in &prefixes {
            cells.extend(["bytes", "nibbles"].map(|len_count| cell(data_enc, *prefix, len_count)));
        }
    }
    cells.sort();
    cells.dedup();
    cells
}
