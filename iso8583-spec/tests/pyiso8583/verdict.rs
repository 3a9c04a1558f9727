//! Whether the two sides agree on a message, as far as they must.

use iso8583_spec::{DecodeError, Fault, Message, Part, Reason, View};
use serde_json::Value;

use crate::{
    dialect::Dialect,
    difference::Difference,
    pair::{Pair, Writing},
    python,
    sample::Sample,
};

/// A place in a message by the names of pyiso8583: a field, and the octet where it is said to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) field: String,
    /// `None` where pyiso8583 names none.
    pub(crate) at: Option<usize>,
}

impl Place {
    pub(crate) fn new(field: impl ToString, at: usize) -> Place {
        Place { field: field.to_string(), at: Some(at) }
    }

    fn of_field(field: impl ToString) -> Place {
        Place { field: field.to_string(), at: None }
    }

    /// Where pyiso8583 refused; `None` when it did not.
    pub(crate) fn of_answer(answer: &Value) -> Option<Place> {
        let at = answer["at"].as_u64().map(|at| usize::try_from(at).unwrap());
        Some(Place { field: answer["refused"].as_str()?.to_owned(), at })
    }
}

/// What came of a message that both sides read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    BothRead,
    BothRefuse,
    /// They differ, and may.
    Differ(Vec<Difference>),
}

/// Whether both wrote the same octets.
pub(crate) fn written(ours: &[u8], answer: &Value) -> Result<(), String> {
    match answer["octets"].as_str() {
        Some(theirs) if theirs == hex::encode(ours) => Ok(()),
        Some(theirs) => Err(format!("written otherwise:\n  ours   {}\n  theirs {theirs}", hex::encode(ours))),
        None => Err(format!("written here as {}, there {answer}", hex::encode(ours))),
    }
}

/// Whether both read what was written: here to the octet.
pub(crate) fn read(dialect: &Dialect, sample: &Sample, body: &[u8], answer: &Value) -> Result<(), String> {
    let view = View::decode(&dialect.spec, body).map_err(|error| error.to_string())?;
    let ours = Sample::of_view(&view);
    if !view.is_sound() || ours != *sample {
        return Err(format!("read here with {:?} as {ours:?}, was {sample:?}", view.faults()));
    }
    if answer["doc"].is_null() || Sample::of_doc(dialect, &answer["doc"]) != *sample {
        return Err(format!("read there as {answer}, was {sample:?}"));
    }
    let tolerated = kept(dialect, body)?;
    if tolerated.is_empty() { Ok(()) } else { Err(format!("tolerated without need: {tolerated:?}")) }
}

/// The fields that a message keeps as they were written; an error when it is not the same octets again.
fn kept(dialect: &Dialect, body: &[u8]) -> Result<Vec<u8>, String> {
    let message = Message::decode(&dialect.spec, body).map_err(|error| error.to_string())?;
    let again = message.encode(&dialect.spec).map_err(|error| error.to_string())?;
    if again != body {
        return Err(format!("not byte-exact: {} became {}", hex::encode(body), hex::encode(again)));
    }
    Ok(message.tolerated().collect())
}

/// Whether both say the same of any octets: refuse them at the same place, or read the same.
pub(crate) fn judged(dialect: &Dialect, body: &[u8], answer: &Value) -> Result<Outcome, String> {
    let ours = View::decode(&dialect.spec, body);
    let expected = Expected::of(dialect, body, &ours)?;
    let theirs = Place::of_answer(answer);
    let differ = || match expected.differences.is_empty() {
        true => Outcome::BothRefuse,
        false => Outcome::Differ(expected.differences.clone()),
    };
    if let Some(place) = &expected.place {
        return match &theirs {
            Some(theirs) if theirs == place => Ok(differ()),
            theirs => Err(format!("expected a refusal at {place:?}, not {theirs:?} ({answer}), by {ours:?}")),
        };
    }
    if expected.is_open {
        return Ok(differ());
    }
    let Ok(view) = ours else { return Err(format!("nothing expected of {ours:?}")) };
    if theirs.is_some() {
        return Err(format!("refused there alone: {answer}, here {view:?}"));
    }
    same_values(dialect, &view, &answer["doc"])?;
    if view.is_sound() {
        kept(dialect, body)?;
        return Ok(Outcome::BothRead);
    }
    Ok(differ())
}

fn same_values(dialect: &Dialect, view: &View<'_>, doc: &Value) -> Result<(), String> {
    let (ours, mut theirs) = (Sample::of_view(view), Sample::of_doc(dialect, doc));
    let there: Vec<u8> = theirs.fields.keys().copied().collect();
    if there != view.placed().collect::<Vec<_>>() {
        return Err(format!("fields {there:?} there, {view:?} here"));
    }
    for de in there {
        same_class(dialect, view, de, doc[de.to_string()].as_str().unwrap())?;
    }
    theirs.fields.retain(|de, _| view.has(*de));
    if ours == theirs { Ok(()) } else { Err(format!("read here as {ours:?}, there as {theirs:?}")) }
}

/// pyiso8583 has no classes and no minimum: whether ours are kept, and where they are not, is told by its value.
fn same_class(dialect: &Dialect, view: &View<'_>, de: u8, theirs: &str) -> Result<(), String> {
    let pair = &dialect.pairs[&de];
    let content = view.offset_of(de).unwrap() + pair.prefix.map_or(0, |prefix| prefix.width());
    let expected = match pair.wrong_octet(theirs) {
        _ if pair.units(&pair.ours(theirs)) < pair.min => Some(content),
        wrong => wrong.map(|index| content + index),
    };
    let found = view.faults().iter().find(|fault| fault.field == de).map(|fault| fault.offset);
    if found == expected { Ok(()) } else { Err(format!("field {de}: wrong at {expected:?}, not {found:?}")) }
}

/// What pyiso8583 must say of a message by what is found here and by the differences that may be.
#[derive(Debug)]
struct Expected {
    /// The differences that come before that, or show in that.
    differences: Vec<Difference>,
    /// Where it must refuse.
    place: Option<Place>,
    /// Whether nothing can be said: it finds another layout behind a difference.
    is_open: bool,
}

impl Expected {
    fn refusal(mut self, place: Place) -> Expected {
        self.place = Some(place);
        self
    }

    fn open(mut self, difference: Difference) -> Expected {
        self.differences.push(difference);
        self.is_open = true;
        self
    }

    fn of(dialect: &Dialect, body: &[u8], ours: &Result<View<'_>, DecodeError>) -> Result<Expected, String> {
        let none = Expected { differences: Vec::new(), place: None, is_open: false };
        let front = dialect.front;
        let head = body.get(..front.head());
        if head.is_some_and(|head| front.header_enc != "b" && !python::is_text(front.header_enc, head)) {
            let mut expected = none.refusal(Place::new("h", 0));
            expected.differences.push(Difference::HeaderText);
            return Ok(expected);
        }
        match ours {
            Ok(view) => none.of_view(dialect, body, view),
            Err(error) => none.of_front(dialect, body, error),
        }
    }

    fn of_front(self, dialect: &Dialect, body: &[u8], error: &DecodeError) -> Result<Expected, String> {
        let front = dialect.front;
        let wire = |at: usize, width: usize| body.get(at..at + width).unwrap_or_default();
        Ok(match error {
            DecodeError::Truncated { part: Part::Tpdu | Part::Header, .. } => {
                self.refusal(Place::new("h", 0))
            }
            DecodeError::Truncated { part: Part::Mti, offset } => self.refusal(Place::new("t", *offset)),
            DecodeError::Truncated { part: Part::Bitmap, offset } => self.refusal(Place::new("p", *offset)),
            DecodeError::Malformed { part: Part::Mti, offset } => {
                let wire = wire(*offset, front.mti_width());
                if python::are_digits(front.mti, wire, 9) {
                    return Err(format!("{error}, though it is made of digits"));
                }
                let is_text = front.mti == "b" || python::is_text(front.mti, wire);
                if is_text { self.open(Difference::Mti) } else { self.refusal(Place::new("t", *offset)) }
            }
            DecodeError::Malformed { part: Part::Bitmap, offset } => {
                let wire = wire(*offset, front.bitmap_width());
                if python::are_digits(front.bitmap, wire, 15) {
                    return Err(format!("{error}, though it is hexadecimal"));
                }
                match python::is_hex(front.bitmap, wire) {
                    true => self.open(Difference::BlankInBitmap),
                    false => self.refusal(Place::new("p", *offset)),
                }
            }
            DecodeError::Malformed { part: Part::Tpdu | Part::Header, .. }
            | DecodeError::TooLong { .. }
            | DecodeError::Unsound(_) => return Err(format!("nothing is expected of {error}")),
        })
    }

    fn of_view(mut self, dialect: &Dialect, body: &[u8], view: &View<'_>) -> Result<Expected, String> {
        let bitmaps = Bitmaps::of(dialect, body);
        if bitmaps.is_unknown_here {
            let is_refused = match dialect.front.last {
                64 => view.faults().first() == Some(&bitmaps.second_is_missing(dialect)),
                _ => !view.is_sound(),
            };
            if !is_refused {
                return Err(format!("a bitmap that the dialect does not have is read: {view:?}"));
            }
            return Ok(self.open(Difference::FurtherBitmap));
        }
        for de in view.placed() {
            let fault = view.faults().iter().find(|fault| fault.field == de);
            let field = Found { pair: &dialect.pairs[&de], view, de };
            if let Some(fault) = fault {
                field.check(fault)?;
            }
            match (fault, field.theirs()) {
                (None, None) => {}
                (Some(fault), None) => self.differences.push(field.difference(fault)?),
                (None, Some((place, Some(difference)))) => {
                    self.differences.push(difference);
                    if view.is_sound() && !kept(dialect, body)?.contains(&de) {
                        return Err(format!("field {de} is read and not listed as tolerated"));
                    }
                    return Ok(self.refusal(place));
                }
                (None, Some((place, None))) => {
                    return Err(format!("read here, though wrong at {place:?}"));
                }
                (Some(_), Some((place, _))) => return Ok(self.refusal(place)),
            }
        }
        let last = view.placed().last();
        let after = last.map_or(bitmaps.end, |de| {
            view.offset_of(de).unwrap_or_default() + view.whole(de).unwrap_or_default().len()
        });
        match view.faults().iter().find(|fault| fault.structural) {
            Some(fault) => self.of_lost(dialect, body, fault, (last, after), &bitmaps),
            None => Ok(self),
        }
    }

    /// A fault that ends the reading: after the last field that was found, and where that ends.
    fn of_lost(
        self,
        dialect: &Dialect,
        body: &[u8],
        fault: &Fault,
        (last, after): (Option<u8>, usize),
        bitmaps: &Bitmaps,
    ) -> Result<Expected, String> {
        let begins = |at: usize| match fault.offset == at {
            true => Ok(at),
            false => Err(format!("{fault:?} is not at {at}")),
        };
        match fault.reason {
            Reason::Trailing => {
                let field = last.map_or(bitmaps.last.to_owned(), |de| de.to_string());
                Ok(self.refusal(Place::new(field, begins(after)?)))
            }
            Reason::Undefined => begins(after).map(|_| self.refusal(Place::of_field(fault.field))),
            Reason::SecondaryBitmap | Reason::Bitmap => {
                let further = if fault.reason == Reason::SecondaryBitmap { 1 } else { 2 };
                let width = dialect.front.bitmap_width();
                let begin = begins(bitmaps.start + further * width)?;
                let wire = body.get(begin..begin + width).unwrap_or_default();
                if wire.len() == width && python::are_digits(dialect.front.bitmap, wire, 15) {
                    return Err(format!("{fault:?}, though it is there"));
                }
                match !wire.is_empty() && python::is_hex(dialect.front.bitmap, wire) {
                    true => Ok(self.open(Difference::BlankInBitmap)),
                    false => Ok(self.refusal(Place::new("1", begin))),
                }
            }
            Reason::Prefix | Reason::BeyondEnd => {
                self.of_cut(&dialect.pairs[&fault.field], fault, after, body)
            }
            Reason::NotDigit
            | Reason::Character
            | Reason::NotHex
            | Reason::TooLong
            | Reason::TooShort
            | Reason::Overlong => Err(format!("{fault:?} is not structural")),
        }
    }

    /// A field that begins at `start` and cannot be cut off.
    fn of_cut(self, pair: &Pair, fault: &Fault, start: usize, body: &[u8]) -> Result<Expected, String> {
        let at_start = Place::new(fault.field, start);
        let wire = pair.prefix.and_then(|prefix| body.get(start..start + prefix.width()));
        let is_content = fault.reason == Reason::BeyondEnd;
        let offset = start + wire.map_or(0, |wire| if is_content { wire.len() } else { 0 });
        if fault.offset != offset {
            return Err(format!("{fault:?} is not at {offset}"));
        }
        let (Some(prefix), Some(wire)) = (pair.prefix, wire) else { return Ok(self.refusal(at_start)) };
        let most = i64::try_from(pair.count(pair.max)).unwrap();
        let number = prefix.number(wire);
        match (fault.reason, number) {
            (_, None) => Ok(self.refusal(at_start)),
            (_, Some(number)) if number > most => Ok(self.refusal(at_start)),
            (Reason::BeyondEnd, _) => Ok(self.refusal(Place::new(fault.field, offset))),
            (_, Some(number)) if !prefix.says(number, wire) => Ok(self.open(Difference::TextOfLength)),
            (_, Some(number)) => match pair.writing() {
                Writing::Hex => Ok(self.open(Difference::HalfOctetOfHex)),
                Writing::Text | Writing::Octets | Writing::Packed => {
                    Err(format!("{fault:?}, though {number} is a length"))
                }
            },
        }
    }
}

/// The bitmaps as pyiso8583 takes them.
struct Bitmaps {
    start: usize,
    /// A bitmap is announced that the dialect does not have.
    is_unknown_here: bool,
    /// Where they end.
    end: usize,
    /// What pyiso8583 calls the last of them.
    last: &'static str,
}

impl Bitmaps {
    fn of(dialect: &Dialect, body: &[u8]) -> Bitmaps {
        let front = dialect.front;
        let start = front.head() + front.mti_width();
        let bitmap = |number: usize| {
            let at = start + number * front.bitmap_width();
            body.get(at..).unwrap_or_default()
        };
        let has_second = python::is_first_bit_set(front.bitmap, bitmap(0));
        let has_third = has_second && python::is_first_bit_set(front.bitmap, bitmap(1));
        Bitmaps {
            start,
            is_unknown_here: has_second && front.last == 64 || has_third && front.last == 128,
            end: start + front.bitmap_width() * (1 + usize::from(has_second) + usize::from(has_third)),
            last: if has_second { "1" } else { "p" },
        }
    }

    /// What is said of the second bitmap in a dialect that has none.
    fn second_is_missing(&self, dialect: &Dialect) -> Fault {
        let offset = self.start + dialect.front.bitmap_width();
        let reason = Reason::SecondaryBitmap;
        Fault { field: 1, part: String::new(), offset, structural: true, reason }
    }
}

/// A field whose place is known.
struct Found<'v> {
    pair: &'v Pair,
    view: &'v View<'v>,
    de: u8,
}

impl Found<'_> {
    /// Where pyiso8583 refuses it, if it does, and by which difference it alone does.
    fn theirs(&self) -> Option<(Place, Option<Difference>)> {
        let Found { pair, view, de } = self;
        let (whole, start) = (view.whole(*de)?, view.offset_of(*de)?);
        let (prefix, content) = whole.split_at(pair.prefix.map_or(0, |prefix| prefix.width()));
        let most = i64::try_from(pair.count(pair.max)).unwrap();
        let count = pair.prefix.map_or(Some(most), |form| form.number(prefix))?;
        if count > most {
            return Some((Place::new(de, start), None));
        }
        let at_content = Place::new(de, start + prefix.len());
        let is_odd = count % 2 == 1 && pair.len_count == "nibbles";
        match pair.writing() {
            Writing::Packed if is_odd => {
                let digits = hex::encode_upper(content);
                let pad = if pair.align == "left" { digits.chars().last() } else { digits.chars().next() };
                (pad != Some(pair.pad)).then_some((at_content, Some(Difference::Pad)))
            }
            Writing::Octets if is_odd => Some((at_content, Some(Difference::HalfOctet))),
            Writing::Text | Writing::Hex if !python::is_text(pair.data_enc, content) => {
                Some((at_content, None))
            }
            Writing::Text | Writing::Hex | Writing::Packed | Writing::Octets => None,
        }
    }

    /// Whether a fault stands where it must: at the begin of the content, or at the octet that is wrong.
    fn check(&self, fault: &Fault) -> Result<(), String> {
        let whole = self.view.whole(self.de).unwrap_or_default();
        let start = self.view.offset_of(self.de).unwrap_or_default();
        let content = start + self.pair.prefix.map_or(0, |prefix| prefix.width());
        let is_length = matches!(fault.reason, Reason::TooLong | Reason::TooShort);
        let is_there = match is_length {
            true => fault.offset == content,
            false => (content..start + whole.len()).contains(&fault.offset),
        };
        if is_there { Ok(()) } else { Err(format!("{fault:?} is outside of its content at {content}")) }
    }

    /// The difference behind a fault that pyiso8583 does not see.
    fn difference(&self, fault: &Fault) -> Result<Difference, String> {
        match fault.reason {
            Reason::NotDigit | Reason::Character | Reason::NotHex => Ok(Difference::Class),
            Reason::TooShort => Ok(Difference::Minimum),
            Reason::TooLong
            | Reason::Prefix
            | Reason::BeyondEnd
            | Reason::Undefined
            | Reason::Trailing
            | Reason::SecondaryBitmap
            | Reason::Bitmap
            | Reason::Overlong => Err(format!("{fault:?} is not seen there")),
        }
    }
}
