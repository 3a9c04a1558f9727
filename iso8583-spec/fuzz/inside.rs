//! Draws fields that hold others: parts by their places, what repeats, fields behind a bitmap.

use std::collections::BTreeMap;

use super::{
    fields::{Around, DIGITS, Generator, Place, has_digits, list},
    model::{Class, Data, Inside, Map, Node, Shape, Style},
};

/// What was drawn of a field that holds others: its inside, what the file says of it, and the least units it needs.
pub(crate) struct Drawn {
    pub(crate) class: Class,
    pub(crate) inside: Inside,
    pub(crate) toml: String,
    pub(crate) least: usize,
}

impl Generator<'_> {
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
    pub(crate) fn holder(&mut self, around: Around) -> Class {
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
            let own = Place::of(around);
            let own = if class != Class::B && index + 1 == count { own.whole() } else { own };
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

/// A part in the file.
fn table(key: &str, toml: &str) -> String {
    format!("{{ name = {key:?}, {toml} }}")
}
