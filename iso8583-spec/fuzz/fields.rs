//! Draws fields with their content: what is plain first, then what holds parts, each from the inside out.

use super::{
    model::{Class, Data, Extent, Inside, Node, Number, Page, Prefix, Shape, Style, Unit},
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
    pub(crate) is_told: bool,
    /// It is given whole: nothing fills up the last part of characters.
    is_whole: bool,
    /// Its dialect says its length.
    is_fixed: bool,
}

impl Place {
    pub(crate) fn of(around: Around) -> Place {
        Place { around, is_told: false, is_whole: false, is_fixed: false }
    }

    pub(crate) fn told(around: Around) -> Place {
        Place { is_told: true, ..Place::of(around) }
    }

    pub(crate) fn whole(self) -> Place {
        Place { is_whole: true, ..self }
    }
}

pub(crate) const DIGITS: &str = "012345689";
pub(crate) const HEX: &str = "012345689ABCDEF";
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
pub(crate) fn has_digits(around: Around) -> bool {
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

    pub(crate) fn characters(
        &mut self,
        class: Class,
        alphabet: &str,
        units: usize,
        is_secret: bool,
    ) -> String {
        let secret = if alphabet == LETTERS { 'Q' } else { '7' };
        let sign = if class == Class::Xn { ["C", "D"][self.source.below(2)] } else { "" };
        let drawn = (sign.len()..units).map(|_| match is_secret {
            true => secret,
            false => self.character(alphabet),
        });
        let drawn: String = drawn.collect();
        format!("{sign}{drawn}")
    }

    /// A field with nothing inside.
    pub(crate) fn leaf(&mut self, key: &str, place: Place) -> Node {
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

    pub(crate) fn plain(
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
            Class::N | Class::A | Class::An | Class::Ans | Class::Ns | Class::Zx | Class::B => {
                (self.source.flag(), self.character(alphabet(shape.class, place.around)))
            }
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
    pub(crate) fn content(&mut self, class: Class, place: Place) -> String {
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
    pub(crate) fn shape(
        &mut self,
        class: Class,
        units: usize,
        least: usize,
        place: Place,
    ) -> (Shape, String) {
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

    /// What is left over when the parts are used up.
    pub(crate) fn rest(&mut self, class: Class, units: usize) -> Node {
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

    /// Another field of the same shape.
    pub(crate) fn again(&mut self, node: &Node, around: Around) -> Node {
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
