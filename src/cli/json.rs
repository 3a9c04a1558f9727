//! The JSON of a message: text as text, octets as upper-case hexadecimal, parts as objects in the order of the wire.
//!
//! It lives here and nowhere else. Knows the codec only.

use iso8583_spec::{Composite, Field, Masking, Message, Mti, Spec, Value};
use serde_json::{Map, Value as Json};

/// Why JSON is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// A key is missing or its value has the wrong shape.
    #[error("{key}: {reason}")]
    Shape {
        /// The key.
        key: &'static str,
        /// What was expected.
        reason: &'static str,
    },
    /// A key that a message does not have.
    #[error("{key:?} is not a key of a message")]
    Unknown {
        /// The key.
        key: String,
    },
    /// The message is of another dialect.
    #[error("the message is of dialect {found:?}, not {expected:?}")]
    Dialect {
        /// The dialect named in the JSON.
        found: String,
        /// The dialect asked for.
        expected: String,
    },
    /// A field that is not one of the dialect.
    #[error("field {key:?} is not defined in this dialect")]
    Undefined {
        /// The key.
        key: String,
    },
    /// The value of a field has the wrong shape.
    #[error("field {field}: {reason}")]
    Field {
        /// The data element.
        field: u8,
        /// What was expected.
        reason: &'static str,
    },
}

/// A message as JSON: text as text, octets as upper-case hexadecimal, composites and TLV as objects in wire
/// order, the values of a name that follows itself as an array. Where a name comes again after another, the
/// composite is an array of objects, so that the order is kept.
pub(super) fn to_json(message: &Message, spec: &Spec, masking: Masking) -> Json {
    let mut json = Map::new();
    json.insert("spec".to_owned(), spec.name().into());
    json.insert("mti".to_owned(), message.mti.as_str().into());
    for (key, octets) in [("tpdu", &message.tpdu), ("header", &message.header)] {
        if let Some(octets) = octets {
            json.insert(key.to_owned(), hex::encode_upper(octets).into());
        }
    }
    let fields: Map<String, Json> = message
        .shown(spec, masking)
        .iter()
        .map(|(de, value)| (de.to_string(), value_to_json(value)))
        .collect();
    json.insert("fields".to_owned(), fields.into());
    json.into()
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(octets) => hex::encode_upper(octets).into(),
        Value::Composite(composite) => composite_to_json(composite),
    }
}

fn composite_to_json(composite: &Composite) -> Json {
    let mut objects = vec![Map::new()];
    let mut last = "";
    for (name, part) in composite.parts() {
        let part = value_to_json(part);
        let Some(object) = objects.last_mut() else { continue };
        match object.get_mut(name) {
            None => drop(object.insert(name.to_owned(), part)),
            Some(_) if last != name => objects.push(Map::from_iter([(name.to_owned(), part)])),
            Some(Json::Array(values)) => values.push(part),
            Some(first) => *first = Json::Array(vec![first.take(), part]),
        }
        last = name;
    }
    match objects.pop() {
        Some(only) if objects.is_empty() => only.into(),
        last => objects.into_iter().chain(last).collect::<Vec<_>>().into(),
    }
}

/// A message from the JSON of [`to_json`].
///
/// # Errors
/// When the JSON has not that form, or names a field that the dialect does not define. Lengths and characters are
/// judged when the message is encoded.
pub(super) fn from_json(json: &Json, spec: &Spec) -> Result<Message, JsonError> {
    let shape = |key, reason| JsonError::Shape { key, reason };
    let object = json.as_object().ok_or(shape("message", "is not an object"))?;
    let known = ["spec", "mti", "tpdu", "header", "fields"];
    if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(JsonError::Unknown { key: key.clone() });
    }
    if let Some(found) = object.get("spec") {
        let found = found.as_str().ok_or(shape("spec", "is not a name"))?;
        if found != spec.name() {
            let (found, expected) = (found.to_owned(), spec.name().to_owned());
            return Err(JsonError::Dialect { found, expected });
        }
    }
    let mti = object.get("mti").and_then(Json::as_str).and_then(Mti::new);
    let mut message = Message::new(mti.ok_or(shape("mti", "needs four digits"))?);
    let octets = |key| match object.get(key) {
        None => Ok(None),
        Some(json) => json
            .as_str()
            .and_then(|text| hex::decode(text).ok())
            .map(Some)
            .ok_or(shape(key, "is not hexadecimal")),
    };
    message.tpdu = octets("tpdu")?;
    message.header = octets("header")?;
    let fields = object.get("fields").and_then(Json::as_object);
    for (key, json) in fields.ok_or(shape("fields", "needs an object"))? {
        let undefined = || JsonError::Undefined { key: key.clone() };
        let de = key.parse().ok().filter(|de: &u8| de.to_string() == *key).ok_or_else(undefined)?;
        let field = spec.field(de).ok_or_else(undefined)?;
        message
            .set(de, value_from_json(json, field).map_err(|reason| JsonError::Field { field: de, reason })?);
    }
    Ok(message)
}

fn value_from_json(json: &Json, field: &Field) -> Result<Value, &'static str> {
    match json {
        Json::String(text) if field.is_binary() => {
            let octets = hex::decode(text).map_err(|_| "is masked or not hexadecimal")?;
            Ok(Value::Bytes(octets))
        }
        Json::String(text) => Ok(Value::Text(text.clone())),
        Json::Object(object) => Ok(Value::Composite(parts_from_json([object], field)?)),
        Json::Array(objects) => {
            let objects: Option<Vec<_>> = objects.iter().map(Json::as_object).collect();
            Ok(Value::Composite(parts_from_json(objects.ok_or("needs a list of objects")?, field)?))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Err("needs a string or an object"),
    }
}

fn parts_from_json<'j>(
    objects: impl IntoIterator<Item = &'j Map<String, Json>>,
    field: &Field,
) -> Result<Composite, &'static str> {
    let mut composite = Composite::new();
    for (name, json) in objects.into_iter().flatten() {
        // A list of strings or objects under a name that repeats; parts of a part that repeat are objects in it.
        let values = json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice);
        for json in values {
            composite.push(name, value_from_json(json, field.part(name).unwrap_or(field))?);
        }
    }
    Ok(composite)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_that_is_no_message() {
        let edc = Spec::builtin("edc").unwrap();
        let rows = [
            (json!([]), "message: is not an object"),
            (json!({"fields": {}}), "mti: needs four digits"),
            (json!({"mti": "02", "fields": {}}), "mti: needs four digits"),
            (json!({"mti": "0200"}), "fields: needs an object"),
            (json!({"mti": "0200", "tpdu": "6", "fields": {}}), "tpdu: is not hexadecimal"),
            (json!({"mti": "0200", "felds": {}}), "\"felds\" is not a key of a message"),
            (
                json!({"spec": "ipm", "mti": "0200", "fields": {}}),
                "the message is of dialect \"ipm\", not \"edc\"",
            ),
            (json!({"mti": "0200", "fields": {"01": "x"}}), "field \"01\" is not defined in this dialect"),
            (json!({"mti": "0200", "fields": {"65": "x"}}), "field \"65\" is not defined in this dialect"),
            (json!({"mti": "0200", "fields": {"3": 0}}), "field 3: needs a string or an object"),
            (json!({"mti": "0200", "fields": {"52": "****"}}), "field 52: is masked or not hexadecimal"),
        ];
        for (json, expected) in rows {
            assert_eq!(from_json(&json, edc).unwrap_err().to_string(), expected);
        }
    }
}
