//! How much of a value may be seen: the sensitivity of a field, carried down into its parts and tags.

use crate::{
    Composite, Field, Message, Sensitivity, Spec, Value, emv,
    encoding::hex_text,
    field::{Structure, TagForm},
    structure::REST,
    tlv,
};

/// Whether sensitive content is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// PAN as first six and last four; track data, PIN blocks and secrets not at all.
    Masked,
    /// Everything as it is. For test systems, on explicit demand.
    Clear,
}

impl Message {
    /// The fields as they may be shown, ascending. A masked field of octets becomes text.
    pub fn shown(&self, spec: &Spec, masking: Masking) -> Vec<(u8, Value)> {
        let shown = |(de, value): (u8, &Value)| match (masking, spec.field(de)) {
            (Masking::Clear, _) => (de, value.clone()),
            (Masking::Masked, Some(field)) => (de, masked(field, field.sensitivity, value)),
            (Masking::Masked, None) => (de, hidden(value)),
        };
        self.fields().map(shown).collect()
    }
}

/// A value of a field of this sensitivity as it may be shown.
pub(crate) fn masked(field: &Field, sensitivity: Sensitivity, value: &Value) -> Value {
    match (sensitivity, value) {
        (Sensitivity::Icc | Sensitivity::None, Value::Composite(composite)) => {
            Value::Composite(masked_parts(field, sensitivity, composite))
        }
        (Sensitivity::None, Value::Text(_) | Value::Bytes(_)) if may_hide(field, value) => hidden(value),
        (Sensitivity::None, _) => value.clone(),
        (Sensitivity::Pan, Value::Text(text)) => Value::Text(mask_pan(text)),
        (Sensitivity::Pan, Value::Bytes(octets)) => {
            Value::Text(mask_pan(hex_text(octets).trim_end_matches('F')))
        }
        (_, _) => hidden(value),
    }
}

fn masked_parts(field: &Field, sensitivity: Sensitivity, composite: &Composite) -> Composite {
    let part = |(name, value): (&str, &Value)| {
        let own = part_sensitivity(field, sensitivity, name);
        let found = field.part(name);
        (name.to_owned(), found.map_or_else(|| masked_alone(own, value), |found| masked(found, own, value)))
    };
    composite.parts().map(part).collect()
}

fn masked_alone(sensitivity: Sensitivity, value: &Value) -> Value {
    if sensitivity == Sensitivity::None { value.clone() } else { hidden(value) }
}

/// The sensitivity of a part: its own, that of its tag, or that of the field around it.
pub(crate) fn part_sensitivity(field: &Field, around: Sensitivity, name: &str) -> Sensitivity {
    match around {
        Sensitivity::None | Sensitivity::Icc => {}
        Sensitivity::Pan | Sensitivity::Track | Sensitivity::Pin | Sensitivity::Secret => {
            return Sensitivity::Secret;
        }
    }
    if name == REST && holds_secrets(field) {
        return Sensitivity::Secret;
    }
    let own = field.member(name).map_or(Sensitivity::None, |found| found.sensitivity);
    if own != Sensitivity::None || !field.is_tlv() {
        return own;
    }
    match tlv::tag_of(name).and_then(|tag| emv::tag(tlv::number(&tag))) {
        Some(known) if known.sensitivity != Sensitivity::None => known.sensitivity,
        // What cannot be looked into may hold anything that chip data holds.
        Some(_) | None if tlv::is_constructed_name(name) => Sensitivity::Icc,
        Some(_) | None => Sensitivity::None,
    }
}

/// Whether a part somewhere inside is sensitive.
fn holds_secrets(field: &Field) -> bool {
    shortest_secret(field).is_some()
}

/// Digits of the shortest content that may hold a sensitive part: a PAN is never short, a PIN is. `None` when no part
/// is sensitive.
fn shortest_secret(field: &Field) -> Option<usize> {
    let of = |field: &Field| match field.sensitivity {
        Sensitivity::None => shortest_secret(field),
        Sensitivity::Pan => Some(LEAST_PAN),
        Sensitivity::Track | Sensitivity::Pin | Sensitivity::Secret | Sensitivity::Icc => Some(1),
    };
    match &field.structure {
        Structure::Plain => None,
        Structure::Layouts(layouts) => {
            let parts = layouts.iter().flat_map(|layout| {
                layout.parts.iter().map(|member| &member.field).chain(layout.item.as_deref())
            });
            parts.filter_map(of).min()
        }
        Structure::Tagged(tagged) if tagged.form == TagForm::Ber => Some(1),
        Structure::Tagged(tagged) => tagged.tags.values().chain([&*tagged.other]).filter_map(of).min(),
        Structure::Mapped(mapped) => mapped.fields.values().filter_map(of).min(),
    }
}

/// Digits of the shortest PAN that is masked in part.
const SHORTEST_PAN: usize = 13;

/// Digits of the shortest PAN there can be: six of the issuer, one of the account, one to check (ISO/IEC 7812-1).
const LEAST_PAN: usize = 8;

/// Whether what could not be parted may hide a sensitive part.
fn may_hide(field: &Field, value: &Value) -> bool {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(octets) => octets.len() * 2,
        Value::Composite(_) => 0,
    };
    shortest_secret(field).is_some_and(|shortest| length >= shortest)
}

/// A star for every character, and for every hexadecimal digit of octets.
pub(crate) fn hidden(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text("*".repeat(text.chars().count())),
        Value::Bytes(octets) => Value::Text("*".repeat(octets.len() * 2)),
        Value::Composite(composite) => {
            Value::Composite(composite.parts().map(|(name, part)| (name.to_owned(), hidden(part))).collect())
        }
    }
}

/// First six and last four; zeros that fill a PAN up on the left are no part of it. What is too short to be a
/// PAN is masked whole.
fn mask_pan(text: &str) -> String {
    let pan = text.trim_start_matches('0').trim_end_matches(' ');
    let (filler, tail) =
        (text.len() - text.trim_start_matches('0').len(), text.len() - text.trim_end_matches(' ').len());
    let length = pan.chars().count();
    let keep = |index: usize| length >= SHORTEST_PAN && (index < 6 || index + 4 >= length);
    let masked: String =
        pan.chars().enumerate().map(|(index, digit)| if keep(index) { digit } else { '*' }).collect();
    format!("{}{masked}{}", "0".repeat(filler), " ".repeat(tail))
}

/// Whether nothing of a field is ever hidden.
pub(crate) fn is_open(field: &Field) -> bool {
    field.sensitivity == Sensitivity::None && !holds_secrets(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pan_masks() {
        let rows = [
            ("6225880012345675", "622588******5675"),
            ("00006225880012345675", "0000622588******5675"),
            ("4000000000000002", "400000******0002"),
            ("123456789012", "************"),
            ("1234567890123", "123456***0123"),
            ("6225880012é45675\u{A0}", "622588*******675\u{A0}"),
            ("123456789é12", "************"),
            ("", ""),
        ];
        for (pan, masked) in rows {
            assert_eq!(mask_pan(pan), masked);
        }
    }
}
