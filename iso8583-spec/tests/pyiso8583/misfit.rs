//! Values that do not fit, and whether both sides refuse to write them.

use iso8583_spec::View;
use serde_json::Value;

use crate::{
    chance::Chance,
    dialect::Dialect,
    difference::Difference,
    pair::{Pair, Writing},
    sample::{Refusal, Sample},
    verdict::Place,
};

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    TooLong,
    TooShort,
    BelowMinimum,
    ForeignCharacter,
    OutOfClass,
    UndefinedField,
    BitmapAsField,
    Head,
    MtiLength,
    MtiLetter,
}

pub(crate) const KINDS: [Kind; 10] = [
    Kind::TooLong,
    Kind::TooShort,
    Kind::BelowMinimum,
    Kind::ForeignCharacter,
    Kind::OutOfClass,
    Kind::UndefinedField,
    Kind::BitmapAsField,
    Kind::Head,
    Kind::MtiLength,
    Kind::MtiLetter,
];

/// A message that one side at least must refuse to write.
#[derive(Debug, Clone)]
pub(crate) struct Misfit {
    pub(crate) sample: Sample,
    /// Where, by the name of pyiso8583.
    pub(crate) field: String,
    /// Why one side alone refuses it.
    pub(crate) difference: Option<Difference>,
}

impl Kind {
    /// A message with this in it; `None` when there is no place for it.
    pub(crate) fn made(self, dialect: &Dialect, sample: &Sample, chance: &mut Chance) -> Option<Misfit> {
        let mut sample = sample.clone();
        let (field, difference) = match self {
            Kind::Head if sample.head.is_empty() => return None,
            Kind::Head => {
                match chance.within(0..=2) {
                    0 => sample.head.clear(),
                    1 => sample.head.truncate(sample.head.len() - 1),
                    _ => sample.head.push(b'0'),
                }
                ("h".to_owned(), None)
            }
            Kind::MtiLength => {
                sample.mti = chance.pick(&["", "020", "02000"]).to_owned();
                ("t".to_owned(), None)
            }
            Kind::MtiLetter => {
                sample.mti.replace_range(2..3, chance.pick(&["A", "f"]));
                ("t".to_owned(), Some(Difference::Mti))
            }
            Kind::BitmapAsField => {
                let de = chance.pick(&[1, 65]);
                sample.fields.insert(de, "0000000000000000".to_owned());
                (de.to_string(), Some(Difference::BitmapAsField))
            }
            Kind::UndefinedField => {
                let de = u8::try_from(chance.within(2..=192)).unwrap();
                if de == 65 || dialect.pairs.contains_key(&de) {
                    return None;
                }
                sample.fields.insert(de, "0".to_owned());
                (de.to_string(), None)
            }
            Kind::TooLong
            | Kind::TooShort
            | Kind::BelowMinimum
            | Kind::ForeignCharacter
            | Kind::OutOfClass => {
                let fields: Vec<u8> = sample.fields.keys().copied().collect();
                if fields.is_empty() {
                    return None;
                }
                let de = chance.pick(&fields);
                let value = sample.fields.get_mut(&de)?;
                let difference = self.spoil(&dialect.pairs[&de], value, chance)?;
                (de.to_string(), difference)
            }
        };
        Some(Misfit { sample, field, difference })
    }

    /// Puts another value in place of this.
    fn spoil(self, pair: &Pair, value: &mut String, chance: &mut Chance) -> Option<Option<Difference>> {
        let is_packed = pair.writing() == Writing::Packed;
        // An octet is begun by every other digit of a packed amount.
        let step = if is_packed && pair.content == "x+n" { 2 } else { 1 };
        match self {
            Kind::TooLong if pair.max > 3_000 => return None,
            Kind::TooLong => *value = pair.value_of(pair.max + step, chance),
            Kind::TooShort if pair.prefix.is_some() || pair.max <= step => return None,
            Kind::TooShort => {
                *value = pair.value_of(pair.max - step, chance);
                let is_filled = matches!(pair.content, "a" | "an" | "ans");
                return Some(is_filled.then_some(Difference::Filled));
            }
            Kind::BelowMinimum if pair.min == 0 => return None,
            Kind::BelowMinimum => {
                *value = pair.value_of(pair.min - 1, chance);
                return Some(Some(Difference::Minimum));
            }
            Kind::ForeignCharacter | Kind::OutOfClass if pair.content == "b" || value.len() < 2 => {
                return None;
            }
            Kind::ForeignCharacter => {
                let foreign = if is_packed { chance.pick(&["g", "Z", " "]) } else { "я" };
                put(value, foreign, chance);
            }
            Kind::OutOfClass => {
                let foreign = match (pair.content, is_packed) {
                    ("n" | "x+n" | "z", true) => "E",
                    (_, true) => "e",
                    ("a", _) => "5",
                    ("an", _) => "-",
                    ("ans", _) if pair.data_enc == "ascii" => return None,
                    ("ans", _) => "é",
                    (_, _) => "x",
                };
                put(value, foreign, chance);
                return Some(Some(Difference::Class));
            }
            Kind::UndefinedField | Kind::BitmapAsField | Kind::Head | Kind::MtiLength | Kind::MtiLetter => {
                return None;
            }
        }
        Some(None)
    }
}

/// Puts a character in place of any but the first.
fn put(value: &mut String, character: &str, chance: &mut Chance) {
    let at = chance.within(1..=value.len() - 1);
    value.replace_range(at..=at, character);
}

/// Whether both refuse a misfit at its place, or only the one that must.
pub(crate) fn refused(dialect: &Dialect, misfit: &Misfit, answer: &Value) -> Result<(), String> {
    let ours = misfit.sample.encode(dialect);
    let whole = misfit.sample.encode_whole(dialect);
    if ours != whole {
        return Err(format!("field by field {ours:?}, all at once {whole:?}"));
    }
    let place = Refusal { field: misfit.field.clone() };
    let theirs = Place::of_answer(answer).map(|place| Refusal { field: place.field });
    let is_ours = ours.as_ref().err() == Some(&place);
    let is_theirs = theirs.as_ref() == Some(&place);
    let is_right = match (misfit.difference, &ours, &theirs) {
        (None, _, _) => is_ours && is_theirs,
        (Some(Difference::Filled), Ok(body), _) => is_theirs && is_filled(dialect, misfit, body),
        (Some(Difference::Filled), _, _) => false,
        (Some(_), _, theirs) => is_ours && theirs.is_none(),
    };
    if is_right { Ok(()) } else { Err(format!("{misfit:?}: here {ours:?}, there {answer}")) }
}

/// Whether the value is read with blanks after it.
fn is_filled(dialect: &Dialect, misfit: &Misfit, body: &[u8]) -> bool {
    let de: u8 = misfit.field.parse().unwrap();
    let read = View::decode(&dialect.spec, body).ok().and_then(|view| Some(view.text(de)?.to_string()));
    let value = &misfit.sample.fields[&de];
    read.is_some_and(|read| {
        read.trim_end_matches(' ') == value.trim_end_matches(' ') && read.len() > value.len()
    })
}
