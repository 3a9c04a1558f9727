//! A message for people: an annotated dump, every field and part with its place, its octets, its name, its content
//! and what the content means.

use std::fmt::Write;

use crate::{
    Fault, Field, Masking, Mti, Reason, Sensitivity, Value, View, element, emv,
    encoding::{Align, hex_text},
    field::Structure,
    mask,
    shape::Data,
    structure::{self, Key, Piece},
    tlv,
};

/// One line of the dump: a part of the head, a field, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `TPDU`, `header`, `MTI`, `bitmap`, the number of a field, or the path of a part: `60.1`.
    pub path: String,
    /// What it is, in words.
    pub name: String,
    /// Octets from the start of the body.
    pub offset: usize,
    /// The octets on the wire, its length prefix or tag first, in hexadecimal; `**` for an octet that is masked.
    /// Empty where it does not fill whole octets, and where the lines below show them.
    pub raw: String,
    /// The content as it may be shown; empty where the lines below show it.
    pub text: String,
    /// What the content means; empty where nothing is known.
    pub meaning: String,
    /// What is wrong with it.
    pub fault: Option<Reason>,
}

impl Line {
    fn new(path: &str, name: &str, offset: usize) -> Line {
        let (path, name) = (path.to_owned(), name.to_owned());
        Line {
            path,
            name,
            offset,
            raw: String::new(),
            text: String::new(),
            meaning: String::new(),
            fault: None,
        }
    }
}

/// Where the content that is walked over lies in the body.
struct Ground<'g> {
    around: Option<&'g Ground<'g>>,
    start: usize,
    scale: Scale,
}

/// How places in content become places on the wire.
#[derive(Clone, Copy)]
enum Scale {
    /// A unit is an octet.
    Same,
    /// Two digits an octet, after so many nibbles of padding.
    Half(usize),
    /// A sign, then two digits an octet.
    Signed(usize),
    /// Two octets a unit.
    Double,
}

impl Scale {
    fn of(field: &Field, units: usize) -> Scale {
        let skip = |digits: usize| usize::from(field.shape.align == Align::Right && digits % 2 == 1);
        match (field.shape.data, field.shape.content) {
            (Data::Ascii | Data::Ebcdic(_) | Data::Binary, _) => Scale::Same,
            (Data::Bcd, crate::Content::Xn) => Scale::Signed(skip(units.saturating_sub(1))),
            (Data::Bcd, _) => Scale::Half(skip(units)),
            (Data::Hex | Data::HexLower | Data::EbcdicHex, _) => Scale::Double,
        }
    }
}

impl Ground<'_> {
    /// Octets from the start of the body.
    fn offset(&self, place: usize) -> usize {
        let inner = self.start
            + match self.scale {
                Scale::Same => place,
                Scale::Half(skip) => (place + skip) / 2,
                Scale::Signed(_) if place == 0 => 0,
                Scale::Signed(skip) => 1 + (place - 1 + skip) / 2,
                Scale::Double => place * 2,
            };
        self.around.map_or(inner, |around| around.offset(inner))
    }

    /// Whether places in the content are octets of the body.
    fn is_plain(&self) -> bool {
        matches!(self.scale, Scale::Same) && self.around.is_none_or(Ground::is_plain)
    }
}

/// Gathers lines and faults on the way through a message.
struct Walk<'w> {
    view: &'w View<'w>,
    masking: Masking,
    lines: Vec<Line>,
    faults: Vec<Fault>,
    /// How much deeper composites may lie inside each other to be looked into.
    depth: usize,
}

impl View<'_> {
    /// Everything found wrong, also inside fields: parts whose content is bad, elements that do not hold together.
    pub fn inspect(&self) -> Vec<Fault> {
        let mut walk = Walk::new(self, Masking::Masked);
        walk.message();
        let mut faults = self.faults().to_vec();
        faults.extend(walk.faults);
        faults.sort_by_key(|fault| fault.offset);
        faults
    }

    /// The dump line by line.
    pub fn lines(&self, masking: Masking) -> Vec<Line> {
        let mut walk = Walk::new(self, masking);
        walk.message();
        walk.lines
    }

    /// What is wrong, with what was expected and what was found; sensitive content is not told.
    pub fn explain(&self, fault: &Fault) -> String {
        let field = self.spec().field(fault.field);
        let expected = field.map_or(String::new(), |field| format!(", expected {}", field.notation()));
        let is_open = field.is_some_and(mask::is_open);
        let found = match self.body().get(fault.offset) {
            Some(octet) if is_open || fault.field == 0 => format!(", found {octet:02X}"),
            Some(octet) => format!(", found {}", kind_of(*octet)),
            None => format!(", found the end of {} octets", self.body().len()),
        };
        if fault.reason == Reason::Undefined {
            fault.to_string()
        } else {
            format!("{fault}{expected}{found}")
        }
    }

    /// The dump as text, a line a field or part, and what is wrong at the end.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::{Masking, Spec, View};
    ///
    /// let spec = Spec::builtin("iso87-ascii").unwrap();
    /// let body = b"02006020000000000000165555555555554444200000000042";
    /// let text = View::decode(spec, body).unwrap().describe(Masking::Masked);
    /// assert!(text.contains("555555******4444"));
    /// assert!(!text.contains("5555555555554444"));
    /// ```
    pub fn describe(&self, masking: Masking) -> String {
        let (spec, mti) = (self.spec(), self.mti());
        let mut text = format!("{} {mti} {}, {} octets\n", spec.name(), mti_meaning(mti), self.body().len());
        for line in self.lines(masking) {
            write_line(&line, &mut text);
        }
        for fault in self.inspect() {
            let _ = writeln!(text, "fault: {}", self.explain(&fault));
        }
        text
    }
}

/// Characters of raw octets on a line.
const RAW: usize = 32;

fn write_line(line: &Line, text: &mut String) {
    let mut raw = line.raw.as_bytes().chunks(RAW).map(|chunk| String::from_utf8_lossy(chunk));
    let first = raw.next().unwrap_or_default();
    let content = match (line.text.as_str(), line.meaning.as_str()) {
        (content, "") => content.to_owned(),
        ("", meaning) => format!("({meaning})"),
        (content, meaning) => format!("{content} ({meaning})"),
    };
    let fault = line.fault.map_or(String::new(), |reason| format!("  <- {reason}"));
    let name = &line.name;
    let whole = format!("{:>5} {first:<RAW$} {:<9} {name:<34} {content}{fault}", line.offset, line.path);
    let _ = writeln!(text, "{}", whole.trim_end());
    for (index, more) in raw.enumerate() {
        let _ = writeln!(text, "{:>5} {more}", line.offset + (index + 1) * RAW / 2);
    }
}

/// A sort of character, for content that must not be told.
fn kind_of(octet: u8) -> &'static str {
    match octet {
        b'0'..=b'9' => "a digit",
        b'a'..=b'z' | b'A'..=b'Z' => "a letter",
        0x20..0x7F => "a special character",
        _ => "an octet that is no character",
    }
}

impl<'w> Walk<'w> {
    fn new(view: &'w View<'w>, masking: Masking) -> Walk<'w> {
        Walk { view, masking, lines: Vec::new(), faults: Vec::new(), depth: element::DEPTH }
    }

    fn message(&mut self) {
        let view = self.view;
        self.head();
        let bits: Vec<String> = view.announced().map(|de| de.to_string()).collect();
        let (mti_at, fields_at) = view.front();
        let bitmap_at = mti_at + view.spec().mti_encoding().width();
        let raw = view.body().get(mti_at..bitmap_at).map(hex_text).unwrap_or_default();
        let (text, meaning) = (view.mti().to_string(), mti_meaning(view.mti()));
        self.lines.push(Line { raw, text, meaning, ..Line::new("MTI", "message type", mti_at) });
        let raw = view.body().get(bitmap_at..fields_at).map(hex_text).unwrap_or_default();
        self.lines.push(Line { raw, text: bits.join(" "), ..Line::new("bitmap", "fields", bitmap_at) });
        for de in view.placed() {
            self.field(de);
        }
    }

    fn head(&mut self) {
        let view = self.view;
        if let Some(tpdu) = view.tpdu() {
            let mut line = Line { raw: hex_text(tpdu), ..Line::new("TPDU", "transport header", 0) };
            if let [id, d0, d1, s0, s1] = *tpdu {
                line.meaning = format!("id {id:02X}, to {d0:02X}{d1:02X}, from {s0:02X}{s1:02X}");
            }
            self.lines.push(line);
        }
        let (Some(header), Some(form)) = (view.header(), view.spec().header()) else { return };
        let start = view.spec().tpdu_len();
        self.lines.push(Line { raw: hex_text(header), ..Line::new("header", form.field.name(), start) });
        let ground = Ground { around: None, start, scale: Scale::Same };
        self.parts(&form.field, 0, "header", Sensitivity::None, header, &ground);
    }

    fn field(&mut self, de: u8) {
        let view = self.view;
        let (Some(field), Some(whole), Some(wire)) = (view.spec().field(de), view.whole(de), view.raw(de))
        else {
            return;
        };
        let (offset, units) = (view.offset_of(de).unwrap_or(0), view.units(de).unwrap_or(0));
        let ground = Ground { around: None, start: 0, scale: Scale::Same };
        let at = At { path: &de.to_string(), de, offset, skip: whole.len() - wire.len(), around: &ground };
        self.content(field, field.sensitivity, &at, whole, units);
    }

    /// A field or part: its own line, then those of its parts.
    fn content(&mut self, field: &Field, sensitivity: Sensitivity, at: &At<'_>, whole: &[u8], units: usize) {
        let (head, wire) = whole.split_at_checked(at.skip).unwrap_or((&[], whole));
        let (masking, mti) = (self.masking, self.view.mti());
        let fault = field.shape.fault(wire, units);
        let value = element::read(field, mti, wire, units);
        let is_plain = at.around.is_plain();
        let mut line = Line::new(at.path, &field.name, at.around.offset(at.offset));
        line.fault = fault.map(|(_, reason)| reason);
        let Some(value) = value else {
            let is_shown =
                masking == Masking::Clear || mask::is_open(field) && sensitivity == Sensitivity::None;
            line.raw = raw(head, wire, is_shown, is_plain);
            self.lines.push(line);
            return;
        };
        let shown = match masking {
            Masking::Clear => value.clone(),
            Masking::Masked => mask::masked(field, sensitivity, &value),
        };
        // What a value means tells the value.
        if let Some(joined) = value.joined().filter(|_| shown == value) {
            line.meaning = field.meaning(&joined).unwrap_or_default();
        }
        if let Value::Composite(_) = &value {
            // Octets are shown with the parts below; characters here, as parts of them may not fill octets.
            let is_shown = !field.is_binary() && sensitivity == Sensitivity::None && shown == value;
            let wire = if is_shown { wire } else { &[] };
            line.raw = raw(head, wire, true, is_plain);
            line.text = value.joined().filter(|_| is_shown).unwrap_or_default();
        } else {
            line.raw = raw(head, wire, shown == value, is_plain);
            line.text = plain_text(&shown);
        }
        self.lines.push(line);
        let inner =
            Ground { around: Some(at.around), start: at.offset + at.skip, scale: Scale::of(field, units) };
        if field.is_binary() {
            let decoded = field.shape.decoded(wire);
            self.parts(field, at.de, at.path, sensitivity, decoded.as_deref().unwrap_or(wire), &inner);
        } else if let Some(characters) = field.shape.characters(wire, units) {
            self.parts(field, at.de, at.path, sensitivity, &characters, &inner);
        }
    }

    fn parts(
        &mut self,
        field: &Field,
        de: u8,
        path: &str,
        sensitivity: Sensitivity,
        content: &[u8],
        ground: &Ground<'_>,
    ) {
        let Some(pieces) = structure::pieces(field, self.view.mti(), content) else { return };
        let Some(deeper) = self.depth.checked_sub(1) else { return };
        let (before, outer) = (self.lines.len(), self.depth);
        self.depth = deeper;
        for piece in pieces {
            match piece {
                Ok(piece) if piece.key == Key::Filler => {}
                Ok(piece) => self.piece(field, de, path, sensitivity, content, ground, &piece),
                Err(broken) => {
                    let part = path.split_once('.').map_or("", |(_, part)| part).to_owned();
                    let (offset, reason) = (ground.offset(broken.at), broken.reason);
                    self.faults.push(Fault { field: de, part, offset, structural: false, reason });
                    // Its content is on its own line, whole.
                    self.lines.truncate(before);
                }
            }
        }
        self.depth = outer;
    }

    #[allow(clippy::too_many_arguments, reason = "where it stands and what it is, once")]
    fn piece(
        &mut self,
        field: &Field,
        de: u8,
        path: &str,
        around: Sensitivity,
        content: &[u8],
        ground: &Ground<'_>,
        piece: &Piece<'_, '_>,
    ) {
        let name = piece.key.to_string();
        let path = format!("{path}.{name}");
        let sensitivity = mask::part_sensitivity(field, around, &name);
        let (Some(whole), Some(wire)) =
            (content.get(piece.whole.clone()), content.get(piece.content.clone()))
        else {
            return;
        };
        let at = At {
            path: &path,
            de,
            offset: piece.whole.start,
            skip: piece.content.start - piece.whole.start,
            around: ground,
        };
        let Some(found) = piece.field else {
            let is_shown = self.masking == Masking::Clear || sensitivity == Sensitivity::None;
            let raw = raw(&[], wire, is_shown, ground.is_plain());
            self.lines.push(Line { raw, ..Line::new(&path, "", ground.offset(at.offset)) });
            return;
        };
        if let (Key::Tag(tag), true) = (piece.key, field.is_tlv()) {
            return self.chip(field, found, sensitivity, &at, whole, piece, tag);
        }
        if found.shape.fault(wire, piece.units).is_some() {
            self.note_part(found, &at, wire, piece.units);
        }
        self.content(found, sensitivity, &at, whole, piece.units);
    }

    fn note_part(&mut self, field: &Field, at: &At<'_>, wire: &[u8], units: usize) {
        if let Some((index, reason)) = field.shape.fault(wire, units) {
            let part = at.path.split_once('.').map_or("", |(_, part)| part).to_owned();
            let offset = at.around.offset(at.offset + at.skip + index);
            self.faults.push(Fault { field: at.de, part, offset, structural: false, reason });
        }
    }

    /// An element of chip data: named and explained by what EMV says of its tag, its template looked into.
    #[allow(clippy::too_many_arguments, reason = "where it stands and what it is, once")]
    fn chip(
        &mut self,
        field: &Field,
        found: &Field,
        sensitivity: Sensitivity,
        at: &At<'_>,
        whole: &[u8],
        piece: &Piece<'_, '_>,
        tag: &[u8],
    ) {
        let known = emv::tag(tlv::number(tag));
        let is_template = tlv::is_constructed(tag) && found.structure == Structure::Plain;
        let index = self.lines.len();
        let wire = whole.get(at.skip..).unwrap_or_default();
        if is_template {
            let nested = self.depth > 0
                && structure::pieces(field, self.view.mti(), wire).into_iter().flatten().all(|p| p.is_ok());
            let is_shown = self.masking == Masking::Clear;
            let head = whole.get(..at.skip).unwrap_or_default();
            let raw = raw(head, if nested { &[] } else { wire }, is_shown, at.around.is_plain());
            self.lines.push(Line { raw, ..Line::new(at.path, "", at.around.offset(at.offset)) });
            let inner = Ground { around: Some(at.around), start: at.offset + at.skip, scale: Scale::Same };
            self.parts(field, at.de, at.path, sensitivity, wire, &inner);
        } else {
            if found.shape.fault(wire, piece.units).is_some() {
                self.note_part(found, at, wire, piece.units);
            }
            self.content(found, sensitivity, at, whole, piece.units);
        }
        if let (Some(line), Some(known)) = (self.lines.get_mut(index), known) {
            if line.name.is_empty() {
                line.name = known.name.to_owned();
            }
            if line.meaning.is_empty() && sensitivity == Sensitivity::None {
                line.meaning = emv::meaning(known.tag, wire).unwrap_or_default();
            }
        }
    }
}

/// Where a field or part stands.
struct At<'p> {
    path: &'p str,
    de: u8,
    /// Where it begins, in the content around it.
    offset: usize,
    /// Its prefix or tag and length.
    skip: usize,
    around: &'p Ground<'p>,
}

/// Octets in hexadecimal: those of a head, then those of content, or stars for them.
fn raw(head: &[u8], content: &[u8], is_shown: bool, is_plain: bool) -> String {
    match (is_plain, is_shown) {
        (false, _) => String::new(),
        (true, true) => hex_text(head) + &hex_text(content),
        (true, false) => hex_text(head) + &"**".repeat(content.len()),
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(octets) => hex_text(octets),
        Value::Composite(_) => String::new(),
    }
}

/// Class and function in words (ISO 8583:1987, clause 4.1).
fn mti_meaning(mti: Mti) -> String {
    let class = match mti.class() {
        '1' => "authorization",
        '2' => "financial",
        '3' => "file action",
        '4' => "reversal",
        '5' => "reconciliation",
        '6' => "administrative",
        '7' => "fee collection",
        '8' => "network management",
        _ => "message",
    };
    let function = match mti.function() {
        '0' => "request",
        '1' => "response",
        '2' => "advice",
        '3' => "advice response",
        '4' => "notification",
        '5' => "notification acknowledgement",
        '6' => "instruction",
        '7' => "instruction acknowledgement",
        _ => "",
    };
    let repeat = if mti.is_repeat() { ", repeated" } else { "" };
    format!("{class} {function}{repeat}").trim_end().to_owned()
}
