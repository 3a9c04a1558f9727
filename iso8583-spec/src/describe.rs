//! A message for people's eyes: one line a field, what must not be seen masked.
//!
//! Masking follows the dialect's word on each field; this file knows how much of each kind may be shown.

use crate::{
    Field, Message, Mti, Sensitivity, Spec, Value,
    encoding::hex_text,
    field::{Layout, PartSpec},
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
            (Masking::Masked, Some(field)) => (de, mask_field(field, self.mti, value)),
            (Masking::Masked, None) => (de, mask(Sensitivity::Secret, value)),
        };
        self.fields().map(shown).collect()
    }

    /// One line for the head, one for each field: number, name, content, and what the content means where that is
    /// a matter of the standard.
    pub fn describe(&self, spec: &Spec, masking: Masking) -> String {
        let mut lines = vec![format!("{} {} {}", spec.name(), self.mti, class_name(self.mti))];
        for (name, octets) in [("TPDU", &self.tpdu), ("header", &self.header)] {
            lines.extend(octets.iter().map(|octets| format!("    {name:<38} {}", hex_text(octets))));
        }
        for (de, value) in self.shown(spec, masking) {
            let field = spec.field(de);
            let name = field.map_or("", Field::name);
            let content = self.content_line(field, de, &value);
            lines.push(format!("{de:>3} {name:<38} {content}").trim_end().to_owned());
        }
        lines.join("\n") + "\n"
    }

    fn content_line(&self, field: Option<&Field>, de: u8, shown: &Value) -> String {
        let text = line(shown);
        let meaning = self.text(de).and_then(|clear| meaning(de, clear));
        match meaning {
            Some(meaning) => format!("{text} ({meaning})"),
            None => match (field, self.joined(de)) {
                (Some(field), Some(clear)) => {
                    labelled(field.layout(self.mti, clear.len()), shown).unwrap_or(text)
                }
                (Some(_) | None, _) => text,
            },
        }
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(octets) => hex_text(octets),
        Value::Composite(parts) => {
            let parts: Vec<String> = parts
                .iter()
                .map(|(name, part)| match part {
                    Value::Composite(_) => format!("{name}=[{}]", line(part)),
                    Value::Text(_) | Value::Bytes(_) => format!("{name}={}", line(part)),
                })
                .collect();
            parts.join(" ")
        }
    }
}

/// Parts with the words the dialect has for them.
fn labelled(layout: Option<&Layout>, shown: &Value) -> Option<String> {
    let (layout, Value::Composite(parts)) = (layout?, shown) else { return None };
    let label =
        |name: &str| layout.parts.iter().find(|part| part.name == name).map_or("", |part| &part.label);
    let words = parts.iter().map(|(name, part)| match label(name) {
        "" => format!(
            "{name}={}",
            line(&Value::Composite(vec![(String::new(), part.clone())])).trim_start_matches('=')
        ),
        label => format!("{name}={} ({label})", line(part)),
    });
    Some(words.collect::<Vec<_>>().join(", "))
}

fn mask_field(field: &Field, mti: Mti, value: &Value) -> Value {
    match (field.sensitivity, value) {
        (Sensitivity::Icc, Value::Composite(tags)) => Value::Composite(tags.iter().map(mask_tag).collect()),
        (Sensitivity::None, Value::Composite(parts)) => {
            let length = length(value);
            match field.layout(mti, length) {
                Some(layout) => Value::Composite(mask_parts(layout, parts)),
                None => value.clone(),
            }
        }
        (sensitivity, _) => mask(sensitivity, value),
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(octets) => octets.len(),
        Value::Composite(parts) => parts.iter().map(|(_, part)| length(part)).sum(),
    }
}

fn mask_parts(layout: &Layout, parts: &[(String, Value)]) -> Vec<(String, Value)> {
    let sensitivity = |specs: &[PartSpec], name: &str| {
        specs.iter().find(|spec| spec.name == name).map_or(Sensitivity::None, |spec| spec.sensitivity)
    };
    let part = |specs: &[PartSpec], (name, value): &(String, Value)| {
        (name.clone(), mask(sensitivity(specs, name), value))
    };
    parts
        .iter()
        .map(|pair| match pair {
            (name, Value::Composite(item)) => {
                (name.clone(), Value::Composite(item.iter().map(|pair| part(&layout.items, pair)).collect()))
            }
            (_, Value::Text(_) | Value::Bytes(_)) => part(&layout.parts, pair),
        })
        .collect()
}

/// Tags that hold a PAN, track data, a name, a PIN or discretionary data of the track (EMV 4.3 Book 3, Annex A;
/// 9F6B and 56 of the contactless magnetic-stripe modes).
fn mask_tag((tag, value): &(String, Value)) -> (String, Value) {
    let sensitivity = match tag.as_str() {
        "5A" => Sensitivity::Pan,
        "56" | "57" | "9F1F" | "9F20" | "9F6B" => Sensitivity::Track,
        "99" => Sensitivity::Pin,
        "5F20" | "9F0B" => Sensitivity::Secret,
        _ => Sensitivity::None,
    };
    match (sensitivity, value) {
        (Sensitivity::None, Value::Composite(nested)) => {
            (tag.clone(), Value::Composite(nested.iter().map(mask_tag).collect()))
        }
        (Sensitivity::Pan, Value::Bytes(octets)) => {
            (tag.clone(), Value::Text(mask_pan(hex_text(octets).trim_end_matches('F'))))
        }
        _ => (tag.clone(), mask(sensitivity, value)),
    }
}

fn mask(sensitivity: Sensitivity, value: &Value) -> Value {
    match (sensitivity, value) {
        (Sensitivity::None, _) => value.clone(),
        (_, Value::Composite(parts)) => Value::Composite(
            parts.iter().map(|(name, part)| (name.clone(), mask(Sensitivity::Secret, part))).collect(),
        ),
        (_, Value::Bytes(octets)) => Value::Text("*".repeat(octets.len() * 2)),
        (Sensitivity::Pan, Value::Text(text)) => Value::Text(mask_pan(text)),
        (
            Sensitivity::Track | Sensitivity::Pin | Sensitivity::Secret | Sensitivity::Icc,
            Value::Text(text),
        ) => Value::Text("*".repeat(text.len())),
    }
}

/// First six and last four; zeros that fill a PAN up on the left are no part of it. What is too short to be a
/// PAN is masked whole.
fn mask_pan(text: &str) -> String {
    let pan = text.trim_start_matches('0').trim_end();
    let (filler, tail) =
        (text.len() - text.trim_start_matches('0').len(), text.len() - text.trim_end().len());
    let keep = |index: usize| pan.len() >= 13 && (index < 6 || index + 4 >= pan.len());
    let masked: String =
        pan.chars().enumerate().map(|(index, digit)| if keep(index) { digit } else { '*' }).collect();
    format!("{}{masked}{}", "0".repeat(filler), " ".repeat(tail))
}

fn class_name(mti: Mti) -> &'static str {
    match mti.class() {
        '1' => "authorization",
        '2' => "financial",
        '3' => "file action",
        '4' => "reversal",
        '5' => "reconciliation",
        '6' => "administrative",
        '7' => "fee collection",
        '8' => "network management",
        _ => "",
    }
}

/// What a value means, where ISO 8583:1987 and common use agree. `None` where dialects differ.
fn meaning(de: u8, text: &str) -> Option<&'static str> {
    let find = |table: &[(&str, &'static str)], key: &str| {
        table.iter().find(|(code, _)| *code == key).map(|(_, meaning)| *meaning)
    };
    match de {
        3 => find(&PROCESSING, text.get(..2)?),
        22 => find(&ENTRY, text.get(..2)?),
        25 => find(&CONDITION, text),
        39 => find(&RESPONSE, text),
        _ => None,
    }
}

const PROCESSING: [(&str, &str); 7] = [
    ("00", "goods and services"),
    ("01", "cash"),
    ("02", "void"),
    ("09", "goods with cash back"),
    ("20", "return"),
    ("30", "balance or pre-authorization"),
    ("31", "balance"),
];

const ENTRY: [(&str, &str); 8] = [
    ("01", "manual"),
    ("02", "magnetic stripe"),
    ("03", "code"),
    ("05", "chip"),
    ("07", "contactless chip"),
    ("80", "fallback to magnetic stripe"),
    ("90", "magnetic stripe, unaltered"),
    ("91", "contactless magnetic stripe"),
];

const CONDITION: [(&str, &str); 5] = [
    ("00", "normal"),
    ("01", "customer not present"),
    ("06", "pre-authorization"),
    ("08", "mail or telephone order"),
    ("59", "electronic commerce"),
];

const RESPONSE: [(&str, &str); 22] = [
    ("00", "approved"),
    ("03", "invalid merchant"),
    ("05", "do not honor"),
    ("10", "approved in part"),
    ("12", "invalid transaction"),
    ("13", "invalid amount"),
    ("14", "invalid card"),
    ("15", "no such issuer"),
    ("25", "original not found"),
    ("30", "format error"),
    ("40", "function not supported"),
    ("51", "insufficient funds"),
    ("54", "expired card"),
    ("55", "wrong PIN"),
    ("57", "not permitted to card"),
    ("58", "not permitted to terminal"),
    ("61", "over amount limit"),
    ("68", "response too late"),
    ("91", "issuer not available"),
    ("94", "duplicate"),
    ("96", "system malfunction"),
    ("A0", "MAC failed"),
];

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
            ("", ""),
        ];
        for (pan, masked) in rows {
            assert_eq!(mask_pan(pan), masked);
        }
    }
}
