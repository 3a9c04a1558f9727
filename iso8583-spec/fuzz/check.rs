//! What holds of any octets in any dialect, good ones or not.

use iso8583_spec::{
    Composite, DecodeError, EncodeError, Encoder, Fault, Masking, Message, Spec, Value, View,
};

/// Reads octets as a message and looks at it from every side.
pub(crate) fn body(spec: &Spec, octets: &[u8]) {
    let view = match View::decode(spec, octets) {
        Ok(view) => view,
        Err(error) => {
            let offset = match error {
                DecodeError::Truncated { offset, .. } | DecodeError::Malformed { offset, .. } => offset,
                DecodeError::TooLong { length } => {
                    assert!(length == octets.len() && length > 65_535);
                    0
                }
                DecodeError::Unsound(_) => unreachable!("a view has its faults in itself"),
            };
            assert!(offset <= octets.len(), "{error}");
            assert!(Message::decode(spec, octets).is_err());
            return;
        }
    };
    let inside = faults(&view);
    // The dumps take longest: one message in four, whichever.
    if octets.iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet)) % 4 == 0 {
        dumps(&view);
    }
    let message = Message::from_view(&view);
    rules_and_masks(spec, &message);
    views_agree(&view, &message, &inside);
    match Message::decode(spec, octets) {
        Ok(sound) => {
            assert!(view.is_sound() && sound == message);
            byte_exact(spec, octets, &sound);
            set_anew(spec, octets, &sound);
            one_part_set_anew(spec, &sound);
            encoded_field_by_field(&view, &sound);
            // Of a part with a fault the message has the octets as they are, not what they say.
            if inside.is_empty() {
                written_the_encoders_way(spec, &sound);
            }
        }
        Err(error) => {
            assert_eq!(error, DecodeError::Unsound(view.faults()[0].clone()));
            // What could be read is a message of its own.
            let rest = message.encode(spec).expect("fields without fault");
            let again = Message::decode(spec, &rest).expect("fields without fault");
            assert!(same_fields(&message, &again), "{view:?}");
        }
    }
}

/// Faults lie inside the octets, in their order, and nothing follows one that lost the layout.
fn faults(view: &View<'_>) -> Vec<Fault> {
    let (found, length) = (view.faults(), view.body().len());
    let is_lost = |fault: &Fault| fault.structural && fault.field != 1;
    assert!(found.iter().rev().skip(1).all(|fault| !is_lost(fault)), "{found:?}");
    let all = view.inspect();
    assert!(found.iter().all(|fault| all.contains(fault)));
    for faults in [found, &all] {
        assert!(faults.iter().all(|fault| fault.offset <= length), "{faults:?}");
        assert!(faults.is_sorted_by_key(|fault| fault.offset), "{faults:?}");
    }
    all
}

/// The dumps are made of the same lines, and masking hides but never adds.
fn dumps(view: &View<'_>) {
    let (masked, clear) = (view.lines(Masking::Masked), view.lines(Masking::Clear));
    assert_eq!(masked.len(), clear.len());
    for (masked, clear) in masked.iter().zip(&clear) {
        assert_eq!((&masked.path, &masked.name, masked.offset), (&clear.path, &clear.name, clear.offset));
        assert!(masked.offset <= view.body().len(), "{}", masked.path);
        assert_eq!(masked.fault, clear.fault);
    }
    let either = [Masking::Masked, Masking::Clear][view.body().len() % 2];
    assert!(view.describe(either).lines().count() > masked.len());
}

/// Judging and masking a message ends, and leaves the rest as it is.
fn rules_and_masks(spec: &Spec, message: &Message) {
    assert!(spec.check(message).is_sorted_by_key(|violation| violation.field));
    assert!(spec.rule_of(message).is_none_or(|name| name.len() < 65_536));
    let clear = message.shown(spec, Masking::Clear);
    assert!(clear.iter().map(|(de, value)| (*de, value)).eq(message.fields()));
    let masked = message.shown(spec, Masking::Masked);
    assert!(masked.iter().map(|(de, _)| *de).eq(message.fields().map(|(de, _)| de)));
}

/// The view and the message have the same fields with the same content, and so have all parts of them.
fn views_agree(view: &View<'_>, message: &Message, faults: &[Fault]) {
    let fields: Vec<u8> = message.fields().map(|(de, _)| de).collect();
    assert_eq!(view.fields().collect::<Vec<_>>(), fields);
    for de in view.placed() {
        let (whole, raw) = (view.whole(de).expect("placed"), view.raw(de).expect("placed"));
        let start = view.offset_of(de).expect("placed");
        assert_eq!(view.body().get(start..start + whole.len()), Some(whole));
        assert!(whole.ends_with(raw));
        assert_eq!(view.has(de), message.get(de).is_some());
        assert!(view.has(de) || view.text(de).is_none() && view.bytes(de).is_none());
    }
    for (de, value) in message.fields() {
        match value {
            Value::Text(text) => assert_eq!(view.text(de).as_deref(), Some(text.as_str())),
            Value::Bytes(octets) => assert_eq!(view.bytes(de).as_deref(), Some(octets.as_slice())),
            Value::Composite(composite) => parts_agree(view, (de, ""), composite, faults),
        }
    }
}

fn parts_agree(view: &View<'_>, (de, above): (u8, &str), composite: &Composite, faults: &[Fault]) {
    let mut seen = Vec::new();
    for (name, value) in composite.parts() {
        // Of parts with the same name a path leads to the first; one with a dot in it leads nowhere.
        if name.contains('.') || seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let path = format!("{above}{name}");
        // What is left over has no field to be read by, and what has a fault cannot be read by its own.
        let is_read = name != "rest" && !faults.iter().any(|fault| fault.field == de && fault.part == path);
        match value {
            Value::Text(text) => {
                let found = view.part_text(de, &path);
                assert!(found.map_or(!is_read, |found| found == text.as_str()), "{de}.{path}");
            }
            Value::Bytes(octets) => {
                let found = view.part_bytes(de, &path);
                assert!(found.map_or(!is_read, |found| *found == **octets), "{de}.{path}");
            }
            Value::Composite(inner) => parts_agree(view, (de, &format!("{path}.")), inner, faults),
        }
    }
}

fn byte_exact(spec: &Spec, octets: &[u8], message: &Message) {
    assert!(message.encode(spec).expect("as it was read") == octets, "written otherwise than read");
}

/// A field set to what it holds is what it was, but for octets of its own that the encoder writes otherwise: those
/// of its parts are kept.
fn set_anew(spec: &Spec, octets: &[u8], message: &Message) {
    let mut anew = message.clone();
    for (de, value) in message.fields() {
        anew.set(de, value.clone());
    }
    let Ok(written) = anew.encode(spec) else {
        // Parts that the dialect would not write itself, such as characters beyond a fixed layout.
        assert!(message.tolerated().next().is_some());
        return;
    };
    if message.tolerated().next().is_none() {
        assert!(written == octets, "set anew and written otherwise");
    }
    let again = Message::decode(spec, &written).expect("as the encoder writes it");
    assert!(same_fields(message, &again), "set anew and read otherwise");
    let tolerated: Vec<u8> = message.tolerated().collect();
    assert!(again.tolerated().all(|de| tolerated.contains(&de)));
}

/// A part set to what it holds leaves every value as it is.
fn one_part_set_anew(spec: &Spec, message: &Message) {
    for (de, value) in message.fields() {
        let mut path = de.to_string();
        let Some(part) = last_part(value, &mut path) else { continue };
        let mut anew = message.clone();
        assert!(anew.set_part(&path, part.clone()), "{path}");
        match anew.encode(spec) {
            Ok(written) => {
                let again = Message::decode(spec, &written).expect("as the encoder writes it");
                let is_tolerated = message.tolerated().any(|tolerated| tolerated == de);
                assert!(is_tolerated || same_fields(message, &again), "{path} set anew and read otherwise");
            }
            // What the dialect cannot read it does not write either.
            Err(_) => assert!(message.tolerated().any(|tolerated| tolerated == de), "{path}"),
        }
    }
}

/// A part with nothing inside, and its path: the last whose name no other has.
fn last_part<'v>(value: &'v Value, path: &mut String) -> Option<&'v Value> {
    let Value::Composite(composite) = value else { return path.contains('.').then_some(value) };
    let names: Vec<&str> = composite.parts().map(|(name, _)| name).collect();
    let is_path =
        |name: &str| !name.contains('.') && names.iter().filter(|other| **other == name).count() == 1;
    let (name, part) = composite.parts().filter(|(name, _)| is_path(name)).last()?;
    *path += &format!(".{name}");
    last_part(part, path)
}

/// The encoder takes every field as the view gives it, and what it writes has the same content.
fn encoded_field_by_field(view: &View<'_>, message: &Message) {
    let written = encoded(view).expect("fields without fault");
    let again = View::decode(view.spec(), &written).expect("as the encoder writes it");
    assert_eq!(again.faults(), []);
    assert_eq!(again.fields().collect::<Vec<_>>(), view.fields().collect::<Vec<_>>());
    for de in view.fields() {
        assert_eq!(again.text(de).as_deref(), view.text(de).as_deref(), "field {de}");
        if view.text(de).is_none() {
            assert_eq!(again.bytes(de), view.bytes(de), "field {de}");
        }
    }
    assert_eq!((again.tpdu(), again.header(), again.mti()), (view.tpdu(), view.header(), view.mti()));
    let again = Message::from_view(&again);
    assert!(same_fields(message, &again));
}

fn encoded(view: &View<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::new(view.spec(), view.mti());
    if let Some(tpdu) = view.tpdu() {
        encoder.tpdu(tpdu)?;
    }
    for de in view.fields() {
        match view.text(de) {
            Some(text) => encoder.text(de, &text)?,
            None => encoder.bytes(de, &view.bytes(de).expect("octets or characters"))?,
        }
    }
    // After the fields, so that they move.
    if let Some(header) = view.header() {
        encoder.header(header)?;
    }
    encoder.finish()
}

/// Made anew of names and values alone, a message is refused or reads as it did.
fn written_the_encoders_way(spec: &Spec, message: &Message) {
    let mut anew = Message::new(message.mti);
    (anew.tpdu, anew.header) = (message.tpdu.clone(), message.header.clone());
    for (de, value) in message.fields() {
        anew.set(de, bare(value));
    }
    match anew.encode(spec) {
        Ok(written) => {
            let again = Message::decode(spec, &written).expect("as the encoder writes it");
            assert!(same_fields(message, &again), "written and read otherwise");
            assert_eq!(again.tolerated().collect::<Vec<_>>(), [] as [u8; 0], "the encoder's own way");
        }
        // What the dialect cannot read it does not write either.
        Err(_) => assert!(message.tolerated().next().is_some()),
    }
}

/// The same names and values, without the octets they were read from.
fn bare(value: &Value) -> Value {
    match value {
        Value::Text(_) | Value::Bytes(_) => value.clone(),
        Value::Composite(composite) => {
            let part = |(name, part): (&str, &Value)| (name.to_owned(), bare(part));
            Value::Composite(composite.parts().map(part).collect())
        }
    }
}

/// Whether the fields hold the same, however it was written.
fn same_fields(one: &Message, other: &Message) -> bool {
    one.mti == other.mti
        && one.fields().count() == other.fields().count()
        && one.fields().zip(other.fields()).all(|((a, one), (b, other))| a == b && same(one, other))
}

/// Whether values hold the same. Content without a part is empty.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Composite(one), Value::Composite(other)) => {
            one.parts().count() == other.parts().count()
                && one.parts().zip(other.parts()).all(|((a, one), (b, other))| a == b && same(one, other))
        }
        (Value::Composite(parts), other) | (other, Value::Composite(parts)) => {
            let is_empty = *other == Value::Text(String::new()) || *other == Value::Bytes(Vec::new());
            is_empty && parts.parts().next().is_none()
        }
        (one, other) => one == other,
    }
}
