//! Draws fields with their content: what is plain first, then what holds parts, each from the inside out.

use std::collections::BTreeMap;

use super::{
    model::{
        Class, Data, Extent, Form, Inside, Map, Node, Number, Page, Prefix, Shape, Style, TagData, Unit,
    },
    source::Source,
};

/// What stands around a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    Message,
    Octets,
    Characters(Class),
}

/// Where a field stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) around: Around,
    /// It is the value of a tag, whose length says its own.
    is_told: bool,
    /// It is given whole: nothing fills up the last part of characters.
    is_whole: bool,
    /// Its dialect says its length.
    is_fixed: bool,
}

impl Place {
    pub(crate) fn of(around: Around) -> Place {
        Place { around, is_told: false, is_whole: false, is_fixed: false }
    }

    fn told(around: Around) -> Place {
        Place { is_told: true, ..Place::of(around) }
    }

    fn whole(self) -> Place {
        Place { is_whole: true, ..self }
    }
}

const DIGITS: &str = "012345689";
const HEX: &str = "012345689ABCDEF";
const TRACK: &str = "012345689D";
const LETTERS: &str = "ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghijklmnoprtuvxyz ";
const ALPHANUMERIC: &str = "012345689ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghijklmnoprtuvxyz ";
const PRINTABLE: &str =
    "012345689ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghijklmnoprtuvxyz -/.,:;=+*#@!?()[]{}|^~_<>%&$'`\\";
/// Those of ISO 8859-1 that no code page shows as what is kept for sensitive content.
const LATIN: &str = "012345689ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghijklmnoprtuvxyz -/.,:;=+*#@!?()[]{}|^~_<>%&$'`\\\
    \u{A0}¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊÌÍÎÐÑÒÓÔÕÖ×ÙÚÛÜÝÞßàáâãäåæçèêëìíîïðñòóôõöøùúûüþÿ";
const SPECIAL: &str = "012345689 -/.,:;=+*#@!?()[]{}|^~_<>%&$'`\\";

/// The public characters of a class, inside those of another.
fn alphabet(class: Class, around: Around) -> &'static str {
    let own = match class {
        Class::N | Class::Xn => DIGITS,
        Class::A => LETTERS,
        Class::An => ALPHANUMERIC,
        Class::Ans => PRINTABLE,
        Class::Latin => LATIN,
        Class::Ns => SPECIAL,
        Class::Z => TRACK,
        Class::Zx => HEX,
        Class::B => "",
    };
    match (around, class) {
        (Around::Characters(Class::N | Class::Ns), Class::Z | Class::Zx) => DIGITS,
        // Whose separator may be no character of the field.
        (Around::Characters(Class::An | Class::Zx), Class::Z) => DIGITS,
        (_, _) => own,
    }
}

/// Whether digits stand among the characters of a class.
fn has_digits(around: Around) -> bool {
    !matches!(around, Around::Characters(Class::A | Class::Xn))
}

pub(crate) fn list(entries: &[String]) -> String {
    format!("[{}]", entries.join(", "))
}

/// How fields are written that do not say.
pub(crate) struct Defaults {
    numeric: Data,
    track: Data,
    text: Data,
    binary: Data,
    is_latin: bool,
    is_right_fixed: bool,
    is_right_variable: bool,
    pad: u8,
    number: Number,
    unit: Unit,
    separator: u8,
}

const CHARACTERS: [Data; 4] =
    [Data::Ascii, Data::Ebcdic(Page::P037), Data::Ebcdic(Page::P500), Data::Ebcdic(Page::P1047)];
const PACKED: [Data; 5] =
    [Data::Bcd, Data::Ascii, Data::Ebcdic(Page::P037), Data::Ebcdic(Page::P500), Data::Ebcdic(Page::P1047)];
const OCTETS: [Data; 4] = [Data::Binary, Data::Hex, Data::HexLower, Data::EbcdicHex];

fn writings(class: Class) -> &'static [Data] {
    match class {
        Class::N | Class::Z | Class::Zx | Class::Xn => &PACKED,
        Class::A | Class::An | Class::Ans | Class::Latin | Class::Ns => &CHARACTERS,
        Class::B => &OCTETS,
    }
}

fn side(is_right: bool) -> &'static str {
    if is_right { "right" } else { "left" }
}

impl Defaults {
    pub(crate) fn draw(source: &mut Source<'_>) -> Defaults {
        Defaults {
            numeric: source.one(&PACKED),
            track: source.one(&PACKED),
            text: source.one(&CHARACTERS),
            binary: source.one(&OCTETS),
            is_latin: source.one_in(4),
            is_right_fixed: source.flag(),
            is_right_variable: source.flag(),
            pad: source.one(&[0, 15]),
            number: source.one(&Number::ALL),
            unit: source.one(&[Unit::Content, Unit::Nibbles, Unit::Octets]),
            separator: source.one(b"D="),
        }
    }

    pub(crate) fn toml(&self) -> String {
        let characters = if self.is_latin { "characters = \"latin-1\"\n" } else { "" };
        format!(
            "[defaults]\n{characters}numeric = {:?}\ntrack = {:?}\ntext = {:?}\nbinary = {:?}\nalign_fixed = {:?}\nalign_variable = {:?}\npad = \"{:X}\"\nprefix = {:?}\nprefix_unit = {:?}\nseparator = \"{}\"\n",
            self.numeric.name(),
            self.track.name(),
            self.text.name(),
            self.binary.name(),
            side(self.is_right_fixed),
            side(self.is_right_variable),
            self.pad,
            self.number.name(),
            self.unit.name(),
            char::from(self.separator),
        )
    }

    fn data(&self, class: Class) -> Data {
        match class {
            Class::N | Class::Xn => self.numeric,
            Class::Z | Class::Zx => self.track,
            Class::A | Class::An | Class::Ans | Class::Latin | Class::Ns => self.text,
            Class::B => self.binary,
        }
    }
}

pub(crate) struct Generator<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) defaults: Defaults,
    /// Whether what is drawn lies inside something sensitive.
    pub(crate) around_secret: bool,
}

/// What was drawn of a field that holds others: its inside, what the file says of it, and the least units it needs.
struct Drawn {
    class: Class,
    inside: Inside,
    toml: String,
    least: usize,
}

impl Generator<'_> {
    /// Octets that are public, or not.
    pub(crate) fn octets(&mut self, count: usize, is_secret: bool) -> Vec<u8> {
        // What shows as a run of sevens, threes or fifteens is kept for what must not be shown.
        let public = |octet: u8| match octet {
            0x77 | 0x37 | 0x73 | 0xF7 | 0x7F | 0x51 | 0x15 | 0xD8 | 0x8D => 0x2A,
            _ => octet,
        };
        (0..count).map(|_| if is_secret { 0x77 } else { public(self.source.octet()) }).collect()
    }

    fn character(&mut self, alphabet: &str) -> char {
        match alphabet.is_ascii() {
            true => char::from(self.source.one(alphabet.as_bytes())),
            false => self.source.one(&alphabet.chars().collect::<Vec<char>>()),
        }
    }

    fn characters(&mut self, class: Class, alphabet: &str, units: usize, is_secret: bool) -> String {
        let secret = if alphabet == LETTERS { 'Q' } else { '7' };
        let sign = if class == Class::Xn { ["C", "D"][self.source.below(2)] } else { "" };
        let drawn = (sign.len()..units).map(|_| match is_secret {
            true => secret,
            false => self.character(alphabet),
        });
        let drawn: String = drawn.collect();
        format!("{sign}{drawn}")
    }

    /// A field with whatever lies inside, nested so deep at most.
    pub(crate) fn field(&mut self, key: &str, place: Place, depth: usize) -> Node {
        let is_octets = matches!(place.around, Around::Message | Around::Octets);
        let (outer, kind) = (self.around_secret, if depth == 0 { 0 } else { self.source.below(12) });
        let is_sensitive = !outer && self.source.one_in(8);
        self.around_secret |= is_sensitive;
        let mut node = match kind {
            6 | 7 if has_digits(place.around) => self.composite(key, place, |own| own.parts(place, depth)),
            8 if has_digits(place.around) => self.composite(key, place, |own| own.elements(place, depth)),
            9 if is_octets => self.composite(key, place, |own| own.chip(depth)),
            10 if is_octets => self.composite(key, place, |own| own.mapped(depth)),
            _ => self.leaf(key, place),
        };
        self.around_secret = outer;
        if is_sensitive {
            let kind = self.source.one(&["secret", "pin", "track", "pan"]);
            node.toml += &format!(", sensitivity = {kind:?}");
        }
        node
    }

    /// A field with nothing inside.
    fn leaf(&mut self, key: &str, place: Place) -> Node {
        let class = self.class(place.around);
        let is_secret = self.around_secret;
        let mut units = match self.source.below(8) {
            0..5 => self.source.within(1, 12),
            5 => self.source.below(3),
            6 => self.source.within(1, 40),
            _ => self.source.within(1, 300),
        };
        if is_secret {
            units = units.max(8);
        }
        if class == Class::Xn || place.is_fixed || !has_digits(place.around) && !place.is_told {
            units = units.clamp(2, 20);
        }
        let (shape, toml) = self.shape(class, units, 0, place);
        // Packed digits without a pad nibble of their own are even in number inside a tag, or the most.
        let is_most = matches!(shape.extent, Extent::Told { max, .. } if max == units);
        let is_even = place.is_told && shape.data == Data::Bcd && shape.pad == 0 && !is_most;
        let units = if is_even && class == Class::Xn {
            units | 1
        } else {
            units + usize::from(is_even) * (units % 2)
        };
        let toml = format!("{}{toml}", self.content(class, place));
        self.plain(key, shape, toml, (units, is_secret, place))
    }

    fn plain(
        &mut self,
        key: &str,
        shape: Shape,
        mut toml: String,
        (units, is_secret, place): (usize, bool, Place),
    ) -> Node {
        let alphabet = alphabet(shape.class, place.around);
        let inside = if shape.class == Class::B {
            Inside::Octets(self.octets(units, is_secret))
        } else {
            let read = self.characters(shape.class, alphabet, units, is_secret);
            if is_secret && self.source.flag() {
                toml += &format!(", values = {{ {read:?} = \"TOLD\" }}");
            }
            let given = self.filled(&shape, &read, &mut toml, place);
            let read = given.as_ref().map_or(read, |(_, read)| read.clone());
            Inside::Text { given: given.map_or(read.clone(), |(given, _)| given), read }
        };
        let (key, style) = (key.to_owned(), Style::default());
        Node { key, shape, inside, style, toml, alphabet, is_secret, is_short: false }
    }

    /// Text that is given short, and what it is filled up to.
    fn filled(
        &mut self,
        shape: &Shape,
        read: &str,
        toml: &mut String,
        place: Place,
    ) -> Option<(String, String)> {
        let Extent::Fixed(units) = shape.extent else { return None };
        if self.around_secret || place.is_whole || place.is_told || !self.source.one_in(3) {
            return None;
        }
        let missing = self.source.below(units);
        let is_blank_filled = matches!(shape.class, Class::A | Class::An | Class::Ans | Class::Latin);
        let given: String = read.chars().take(units - missing).collect();
        if is_blank_filled && self.source.flag() {
            return Some((given.clone(), format!("{given:<units$}")));
        }
        let (is_left, with) = match shape.class {
            Class::Xn => (true, '0'),
            Class::Z => (self.source.flag(), '0'),
            // One printable character of ASCII.
            Class::Latin => (self.source.flag(), self.character(PRINTABLE)),
            class => (self.source.flag(), self.character(alphabet(class, place.around))),
        };
        *toml += &format!(
            ", fill = {{ side = {:?}, with = {:?} }}",
            if is_left { "left" } else { "right" },
            with.to_string()
        );
        let filling = with.to_string().repeat(missing);
        if shape.class == Class::Xn {
            let missing = missing.min(units - 2);
            let (sign, digits) = (&read[..1], &read[1 + missing..]);
            return Some((format!("{sign}{digits}"), format!("{sign}{}{digits}", "0".repeat(missing))));
        }
        let read = if is_left { format!("{filling}{given}") } else { format!("{given}{filling}") };
        Some((given, read))
    }

    /// A field whose length its dialect says.
    pub(crate) fn fixed(&mut self, key: &str, place: Place) -> Node {
        self.leaf(key, Place { is_fixed: true, ..place.whole() })
    }

    fn class(&mut self, around: Around) -> Class {
        use Class::{A, An, Ans, B, Latin, N, Ns, Xn, Z, Zx};
        let of: &[Class] = match around {
            Around::Message => &[N, An, Ans, B, Z, A, Ns, Zx, Xn, Latin],
            Around::Octets => &[B, N, An, Ans, B, Z, A, Ns, Zx, Xn, Latin],
            Around::Characters(Latin) => &[Latin, Ans, N, A, An, Ns, Z, Zx, Xn],
            Around::Characters(Ans) => &[Ans, N, A, An, Ns, Z, Zx, Xn],
            Around::Characters(An) => &[An, N, A, Z, Zx, Xn],
            Around::Characters(Ns) => &[Ns, N],
            Around::Characters(Z) => &[Z, N],
            Around::Characters(Zx) => &[Zx, N, Z],
            Around::Characters(A) => &[A],
            Around::Characters(N) => &[N, Z, Zx],
            Around::Characters(Xn | B) => &[N],
        };
        self.source.one(of)
    }

    /// What the file says of the content, where it has to.
    fn content(&mut self, class: Class, place: Place) -> String {
        let default = match place.around {
            Around::Message => None,
            Around::Octets => Some(Class::B),
            Around::Characters(_) if place.is_told => Some(Class::Ans),
            Around::Characters(around) => Some(around),
        };
        // A part of ans has the characters of what is around it.
        let around = match place.around {
            Around::Message | Around::Octets => self.defaults.is_latin,
            Around::Characters(around) => around == Class::Latin,
        };
        let is_ans = matches!(class, Class::Ans | Class::Latin);
        let is_said = default.map(Class::name) != Some(class.name()) || self.source.flag();
        let mut toml = if is_said { format!("content = {:?}, ", class.name()) } else { String::new() };
        if is_ans && (around != (class == Class::Latin) || self.source.one_in(4)) {
            toml +=
                if class == Class::Latin { "characters = \"latin-1\", " } else { "characters = \"ascii\", " };
        }
        toml
    }

    /// How content of so many units is written: the shape, and what the file says of it.
    fn shape(&mut self, class: Class, units: usize, least: usize, place: Place) -> (Shape, String) {
        let is_packing = !matches!(place.around, Around::Characters(_));
        let data = if is_packing { self.source.one(writings(class)) } else { Data::Ascii };
        let is_fixed = !place.is_told
            && (class == Class::Xn || place.is_fixed || !has_digits(place.around) || self.source.flag())
            && units >= least.max(1);
        let own = &self.defaults;
        let default = match (place.around, class) {
            (Around::Octets, Class::B) => Data::Binary,
            (Around::Message | Around::Octets, class) => own.data(class),
            (Around::Characters(_), _) => Data::Ascii,
        };
        let (default_right, default_pad) =
            (if is_fixed || place.is_told { own.is_right_fixed } else { own.is_right_variable }, own.pad);
        // The characters of a field of track data have been read: their separator is D.
        let separator = match place.around {
            Around::Characters(Class::Z) => b'D',
            Around::Characters(_) | Around::Message | Around::Octets => own.separator,
        };
        let is_right = self.source.flag();
        // The last digit of zx may be F itself.
        let pads: &[u8] = if place.is_told && class == Class::Zx { &[0] } else { &[0, 15] };
        let pad = self.source.one(pads);
        let mut toml = String::new();
        if is_packing && (data != default || self.source.one_in(4)) {
            toml += &format!("encoding = {:?}, ", data.name());
        }
        if is_right != default_right || self.source.one_in(4) {
            toml += &format!("align = {:?}, ", side(is_right));
        }
        if pad != default_pad || self.source.one_in(4) {
            toml += &format!("pad = \"{pad:X}\", ");
        }
        let mut shape = Shape { class, data, is_right, pad, separator, extent: Extent::Fixed(units) };
        toml += &match (is_fixed, place.is_told) {
            (true, _) => format!("length = {}", units - usize::from(class == Class::Xn)),
            (false, true) => self.told(&mut shape, units, least),
            (false, false) => self.variable(&mut shape, units, least, place),
        };
        (shape, toml)
    }

    /// Bounds of the value of a tag, where it has any.
    fn told(&mut self, shape: &mut Shape, units: usize, least: usize) -> String {
        // The sign is not counted.
        let sign = usize::from(shape.class == Class::Xn);
        let min = if self.source.flag() { self.source.below(units + 1).max(sign) } else { sign };
        // An odd number of packed digits may be told by being the most.
        let is_odd_most =
            shape.data == Data::Bcd && shape.pad == 0 && (units - sign) % 2 == 1 && units > least;
        let max = match self.source.below(4) {
            0 | 1 => 65_535,
            2 if is_odd_most => units,
            _ => units.max(least) + 1 + self.source.below(9),
        };
        shape.extent = Extent::Told { min, max };
        let mut toml = "name = \"tag\"".to_owned();
        if min > sign {
            toml += &format!(", min = {}", min - sign);
        }
        if max < 65_535 {
            toml += &format!(", max = {}", max - sign);
        }
        toml
    }

    /// A length prefix that can say the units.
    fn variable(&mut self, shape: &mut Shape, units: usize, least: usize, place: Place) -> String {
        let (numbers, default_number, default_unit): (&[Number], _, _) = match place.around {
            Around::Message | Around::Octets => (&Number::ALL, self.defaults.number, self.defaults.unit),
            Around::Characters(Class::Ans | Class::Latin | Class::An) => {
                (&[Number::Ascii, Number::Hex], Number::Ascii, Unit::Content)
            }
            Around::Characters(_) => (&[Number::Ascii], Number::Ascii, Unit::Content),
        };
        let number = self.source.one(numbers);
        let mut unit = self.source.one(&[Unit::Content, Unit::Nibbles, Unit::Octets]);
        let is_odd_told = shape.class != Class::Zx && shape.pad == 15;
        if shape.data == Data::Bcd && unit == Unit::Octets && !is_odd_told {
            unit = Unit::Nibbles;
        }
        let is_inclusive = unit != Unit::Content && self.source.flag();
        let prefix = |letters| Prefix { letters, number, unit, is_inclusive };
        let most = units.max(least).max(1);
        let says =
            |letters: usize, units: usize| shape.count(prefix(letters), units) <= number.limit(letters);
        let enough: Vec<usize> = (1..=6).filter(|letters| says(*letters, most)).collect();
        let letters = self.source.one(&enough);
        let more = match self.source.below(4) {
            0 => 0,
            1 | 2 => self.source.below(40),
            _ => 65_535,
        };
        let (mut max, mut beyond) = (most, (most + more).min(65_535) + 1);
        while beyond - max > 1 {
            let middle = max + (beyond - max) / 2;
            (max, beyond) = if says(letters, middle) { (middle, beyond) } else { (max, middle) };
        }
        let min = if self.source.flag() { self.source.below(units + 1) } else { 0 };
        shape.extent = Extent::Variable { min, max, prefix: prefix(letters) };
        let mut toml = format!("max = {max}, prefix = \"{}\"", "L".repeat(letters));
        if min > 0 {
            toml += &format!(", min = {min}");
        }
        if number != default_number || self.source.one_in(4) {
            toml += &format!(", prefix_encoding = {:?}", number.name());
        }
        if unit != default_unit || self.source.one_in(4) {
            toml += &format!(", prefix_unit = {:?}", unit.name());
        }
        if is_inclusive || self.source.one_in(4) {
            toml += &format!(", inclusive = {is_inclusive}");
        }
        toml
    }

    /// A field that holds others.
    fn composite(&mut self, key: &str, place: Place, draw: impl FnOnce(&mut Self) -> Drawn) -> Node {
        let Drawn { class, inside, toml, least } = draw(self);
        let mut node = Node {
            key: key.to_owned(),
            shape: Shape::bare(class),
            inside,
            style: Style::default(),
            toml,
            alphabet: "",
            is_secret: self.around_secret,
            is_short: false,
        };
        let units = node.content().len();
        let (shape, toml) = self.shape(class, units, least, place);
        // Of packed digits inside a tag the parts are even in number, or a pad nibble tells.
        let digits = units - usize::from(class == Class::Xn);
        if place.is_told && shape.data == Data::Bcd && shape.pad == 0 && digits % 2 == 1 {
            return self.leaf(key, place);
        }
        node.shape = shape;
        node.toml = format!("{}{toml}, {}", self.content(class, place), node.toml);
        node
    }

    /// What characters hold parts, and octets.
    fn holder(&mut self, around: Around) -> Class {
        use Class::{An, Ans, B, Latin, N, Ns, Xn, Z, Zx};
        match around {
            Around::Message | Around::Octets => self.source.one(&[B, Ans, N, B, An, Ns, B, Z, Zx, Xn, Latin]),
            Around::Characters(Latin) => self.source.one(&[Latin, Ans, An, N, Zx]),
            Around::Characters(Ans) => self.source.one(&[Ans, An, N, Zx]),
            Around::Characters(An) => self.source.one(&[An, N, Zx]),
            Around::Characters(class) => class,
        }
    }

    /// Parts by their places, items, and what is left over.
    fn parts(&mut self, place: Place, depth: usize) -> Drawn {
        let class = self.holder(place.around);
        let around = if class == Class::B { Around::Octets } else { Around::Characters(class) };
        if class == Class::Xn {
            return self.amount();
        }
        let ending = self.source.below(7);
        let is_short = ending == 6 && matches!(class, Class::N | Class::An | Class::Ans | Class::Latin);
        let count = if ending == 4 { self.source.below(3) } else { self.source.within(1, 4) };
        let mut parts = Vec::new();
        for index in 0..count {
            let own = Place { is_whole: class != Class::B && index + 1 == count, ..Place::of(around) };
            parts.push(self.field(&format!("p{index}"), own, depth - 1));
        }
        let mut tables: Vec<String> = parts.iter().map(|part| table(&part.key, &part.toml)).collect();
        let mut least: usize = parts.iter().map(|part| part.shape.least()).sum();
        let mut items = Vec::new();
        match ending {
            3 => {
                let absent = self.fixed("absent", Place::of(around));
                tables.push(table("absent", &absent.toml));
                least += absent.shape.least();
            }
            4 => {
                let shapes: Vec<Node> = (0..self.source.within(1, 3))
                    .map(|index| {
                        let own = Place::of(around).whole();
                        self.leaf(&format!("i{index}"), own)
                    })
                    .collect();
                items = shapes.iter().map(|shape| table(&shape.key, &shape.toml)).collect();
                least += shapes.iter().map(|shape| shape.shape.least()).sum::<usize>();
                for _ in 0..self.source.below(3) + usize::from(parts.is_empty()) {
                    let inside =
                        Inside::Parts(shapes.iter().map(|shape| self.again(shape, around)).collect());
                    let shape = Shape::bare(if class == Class::B { Class::B } else { Class::Ans });
                    parts.push(Node { key: "item".to_owned(), shape, inside, ..self.rest(class, 1) });
                }
            }
            5 => {
                let units = self.source.within(8, 20);
                parts.push(self.rest(class, units));
            }
            6 if is_short => {
                let units = self.source.within(1, 9);
                let more = self.source.within(1, 9);
                tables.push(table("short", &format!("length = {}", units + more)));
                least += units + more;
                parts.push(Node { key: "short".to_owned(), is_short: true, ..self.rest(class, units) });
            }
            _ => {}
        }
        let toml = self.layouts(&tables, &items);
        Drawn { class, inside: Inside::Parts(parts), toml, least }
    }

    /// A sign and digits, parted.
    fn amount(&mut self) -> Drawn {
        let digits = self.source.within(8, 16);
        let text = self.characters(Class::Xn, DIGITS, digits + 1, self.around_secret);
        let part = |key: &str, text: &str| Node {
            key: key.to_owned(),
            shape: Shape::bare(Class::Ans),
            inside: Inside::Text { given: text.to_owned(), read: text.to_owned() },
            style: Style::default(),
            toml: String::new(),
            alphabet: if key == "sign" { "CD" } else { DIGITS },
            is_secret: self.around_secret && key != "sign",
            is_short: false,
        };
        let parts = vec![part("sign", &text[..1]), part("amount", &text[1..])];
        let toml = format!(
            "parts = [{{ name = \"sign\", content = \"a\", length = 1 }}, {{ name = \"amount\", content = \"n\", length = {digits} }}]"
        );
        Drawn { class: Class::Xn, inside: Inside::Parts(parts), toml, least: digits + 1 }
    }

    /// What is left over when the parts are used up.
    fn rest(&mut self, class: Class, units: usize) -> Node {
        let (shape, alphabet) = (Shape::bare(class), alphabet(class, Around::Message));
        // A separator of track data would be read as the field reads it, not as a part.
        let alphabet = if class == Class::Z { DIGITS } else { alphabet };
        let is_secret = self.around_secret;
        let inside = if class == Class::B {
            Inside::Octets(self.octets(units, is_secret))
        } else {
            let text = self.characters(class, alphabet, units, is_secret);
            Inside::Text { given: text.clone(), read: text }
        };
        let (key, toml, style) = ("rest".to_owned(), String::new(), Style::default());
        Node { key, shape, inside, style, toml, alphabet, is_secret, is_short: false }
    }

    /// Parts and items as they are, or as the layout that applies among others that do not.
    fn layouts(&mut self, parts: &[String], items: &[String]) -> String {
        let mut own = Vec::new();
        if !parts.is_empty() {
            own.push(format!("parts = {}", list(parts)));
        }
        if !items.is_empty() {
            own.push(format!("items = {}", list(items)));
        }
        let own = own.join(", ");
        let other = r#"{ mti = ["9", "08", "0"], min = 60000, parts = [{ name = "x", length = 1 }] }"#;
        let nines = r#"{ mti = ["9"], items = [{ name = "x", length = 1 }] }"#;
        match self.source.below(4) {
            0 | 1 => own,
            2 => format!("layouts = [{nines}, {other}, {{ mti = [\"0\", \"1\", \"2\"], min = 1, {own} }}]"),
            _ => format!("layouts = [{nines}], {own}"),
        }
    }

    /// Another field of the same shape.
    fn again(&mut self, node: &Node, around: Around) -> Node {
        let (min, max) = match node.shape.extent {
            Extent::Fixed(units) => (units, units),
            Extent::Variable { min, max, .. } => (min, max.min(min + 12)),
            Extent::Told { min, max } => (min, max.min(min + 12)),
        };
        let is_told = matches!(node.shape.extent, Extent::Told { .. });
        let sign = usize::from(node.shape.class == Class::Xn);
        let mut units = self.source.within(min, max.max(min)).max(sign);
        let is_most = matches!(node.shape.extent, Extent::Told { max, .. } if max == units);
        if is_told && node.shape.data == Data::Bcd && node.shape.pad == 0 && units % 2 != sign && !is_most {
            units += 1;
        }
        if node.is_secret {
            return node.clone();
        }
        let inside = match &node.inside {
            Inside::Text { .. } => {
                let text =
                    self.characters(node.shape.class, alphabet(node.shape.class, around), units, false);
                Inside::Text { given: text.clone(), read: text }
            }
            Inside::Octets(_) => Inside::Octets(self.octets(units, false)),
            Inside::Parts(_) | Inside::Tags(..) | Inside::Mapped(..) => return node.clone(),
        };
        Node { inside, ..node.clone() }
    }
}

/// A part in the file.
fn table(key: &str, toml: &str) -> String {
    format!("{{ name = {key:?}, {toml} }}")
}

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
    fn chip(&mut self, depth: usize) -> Drawn {
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
    fn elements(&mut self, place: Place, depth: usize) -> Drawn {
        let class = match self.holder(place.around) {
            Class::Xn => Class::Ans,
            class => class,
        };
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

    /// Fields behind a bitmap.
    fn mapped(&mut self, depth: usize) -> Drawn {
        let (map, octets) = (self.source.one(&Map::ALL), self.source.within(1, 8));
        let (mut tables, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..self.source.below(5) {
            let bit = self.source.within(1, octets * 8);
            let node = self.field(&bit.to_string(), Place::of(Around::Octets), depth - 1);
            tables.insert(bit, format!("{bit} = {{ {} }}", node.toml));
            nodes.insert(bit, node);
            if self.source.one_in(4) {
                nodes.remove(&bit);
            }
        }
        let mut nodes: Vec<Node> = nodes.into_values().collect();
        if self.source.one_in(6) {
            nodes.push(self.rest(Class::B, 8));
        }
        let tables: Vec<String> = tables.into_values().collect();
        let (bits, fields) = (octets * 8, tables.join(", "));
        let toml =
            format!("bitmap = {{ encoding = {:?}, bits = {bits}, fields = {{ {fields} }} }}", map.name());
        Drawn { class: Class::B, inside: Inside::Mapped(map, octets, nodes), toml, least: 0 }
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
