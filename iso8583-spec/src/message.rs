//! An owned message: for the command line, for tests, and wherever a message is edited.
//!
//! It encodes to the octets it was decoded from: where a field or the bitmap was written in another way than the
//! encoder would (a pad nibble, lower-case hexadecimal), the octets are kept until the field is set anew.

use std::{collections::BTreeMap, fmt};

use crate::{
    DecodeError, EncodeError, Encoder, Field, Mti, Spec, View,
    field::{Layout, PartSpec},
    tlv,
};

/// The content of a field. `Debug` shows its kind and length only; the content may be a PAN.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Digits, track data, characters.
    Text(String),
    /// Octets.
    Bytes(Vec<u8>),
    /// Named parts in wire order; names may repeat (tags, items).
    Composite(Vec<(String, Value)>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "Text({} characters)", text.len()),
            Value::Bytes(octets) => write!(f, "Bytes({})", octets.len()),
            Value::Composite(parts) => {
                f.debug_map().entries(parts.iter().map(|(name, part)| (name, part))).finish()
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(octets: &[u8]) -> Value {
        Value::Bytes(octets.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(octets: Vec<u8>) -> Value {
        Value::Bytes(octets)
    }
}

impl From<Vec<(String, Value)>> for Value {
    fn from(parts: Vec<(String, Value)>) -> Value {
        Value::Composite(parts)
    }
}

/// A field and, where the encoder would write it differently, how it was written.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    value: Value,
    wire: Option<Wire>,
}

#[derive(Clone, PartialEq, Eq)]
struct Wire {
    units: usize,
    octets: Vec<u8>,
}

/// An owned message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The 5 octets of the TPDU, in a dialect that has one.
    pub tpdu: Option<Vec<u8>>,
    /// The dialect's own header, where it has one.
    pub header: Option<Vec<u8>>,
    /// The message type.
    pub mti: Mti,
    fields: BTreeMap<u8, Entry>,
    /// The bitmap's octets, as long as they may differ from what the encoder writes.
    bitmap: Option<Vec<u8>>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<u8> = self.fields.keys().copied().collect();
        write!(f, "Message({} fields {fields:?})", self.mti)
    }
}

impl Message {
    /// A message without fields.
    pub fn new(mti: Mti) -> Message {
        Message { tpdu: None, header: None, mti, fields: BTreeMap::new(), bitmap: None }
    }

    /// Reads a message that must be without fault.
    ///
    /// # Errors
    /// What [`View::decode`] says, or the first fault in the message.
    pub fn decode(spec: &Spec, body: &[u8]) -> Result<Message, DecodeError> {
        let view = View::decode(spec, body)?;
        match view.faults().first() {
            Some(fault) => Err(DecodeError::Unsound(*fault)),
            None => Ok(Message::from_view(&view)),
        }
    }

    /// What can be read of a message, faults or not: the fields without one.
    pub fn from_view(view: &View<'_>) -> Message {
        let entry = |de| Some((de, entry_of(view, de)?));
        Message {
            tpdu: view.tpdu().map(<[u8]>::to_vec),
            header: view.header().map(<[u8]>::to_vec),
            mti: view.mti(),
            fields: view.fields().filter_map(entry).collect(),
            bitmap: Some(view.bitmap().to_vec()),
        }
    }

    /// The body, without length prefix.
    ///
    /// # Errors
    /// When a field is not one of the dialect, or its value does not fit it.
    pub fn encode(&self, spec: &Spec) -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new(spec, self.mti);
        if let Some(tpdu) = &self.tpdu {
            encoder.tpdu(tpdu)?;
        }
        if let Some(header) = &self.header {
            encoder.header(header)?;
        }
        for (de, entry) in &self.fields {
            match &entry.wire {
                Some(wire) => encoder.raw(*de, wire.units, &wire.octets)?,
                None => write_value(&mut encoder, spec, *de, &entry.value)?,
            }
        }
        match &self.bitmap {
            Some(wire) => encoder.finish_with_bitmap(wire),
            None => encoder.finish(),
        }
    }

    /// The content of a field.
    pub fn get(&self, de: u8) -> Option<&Value> {
        self.fields.get(&de).map(|entry| &entry.value)
    }

    /// The content of a field that is text and has no parts; see [`Message::joined`] for one that has.
    pub fn text(&self, de: u8) -> Option<&str> {
        match self.get(de)? {
            Value::Text(text) => Some(text),
            Value::Bytes(_) | Value::Composite(_) => None,
        }
    }

    /// The content of a field that is octets and has no parts.
    pub fn bytes(&self, de: u8) -> Option<&[u8]> {
        match self.get(de)? {
            Value::Bytes(octets) => Some(octets),
            Value::Text(_) | Value::Composite(_) => None,
        }
    }

    /// The text of a field, that of its parts joined.
    pub fn joined(&self, de: u8) -> Option<String> {
        fn join(value: &Value, out: &mut String) -> Option<()> {
            match value {
                Value::Text(text) => out.push_str(text),
                Value::Bytes(_) => return None,
                Value::Composite(parts) => parts.iter().try_for_each(|(_, part)| join(part, out))?,
            }
            Some(())
        }
        let mut out = String::new();
        join(self.get(de)?, &mut out)?;
        Some(out)
    }

    /// The fields, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.fields.iter().map(|(de, entry)| (*de, &entry.value))
    }

    /// Sets a field, in whatever way it was written before.
    pub fn set(&mut self, de: u8, value: impl Into<Value>) {
        self.fields.insert(de, Entry { value: value.into(), wire: None });
    }

    /// Takes a field out.
    pub fn remove(&mut self, de: u8) {
        self.fields.remove(&de);
    }
}

/// The value of a field, and its octets where the encoder would write others.
fn entry_of(view: &View<'_>, de: u8) -> Option<Entry> {
    let spec = view.spec();
    let value = value_of(view, de, spec.field(de)?)?;
    let (units, octets) = (view.units(de)?, view.raw(de)?);
    let mut canonical = Encoder::new(spec, view.mti());
    let is_same = write_value(&mut canonical, spec, de, &value).is_ok() && canonical.ends_with(octets);
    let wire = (!is_same).then(|| Wire { units, octets: octets.to_vec() });
    Some(Entry { value, wire })
}

fn value_of(view: &View<'_>, de: u8, field: &Field) -> Option<Value> {
    if field.is_binary() {
        let octets = view.bytes(de)?;
        let parts = if field.is_tlv { tlv::to_value(&octets) } else { None };
        return Some(parts.map_or_else(|| Value::Bytes(octets.into_owned()), Value::Composite));
    }
    let text = view.text(de)?;
    match field.layout(view.mti(), text.len()) {
        Some(layout) if !text.is_empty() => Some(Value::Composite(split(layout, &text))),
        Some(_) | None => Some(Value::Text(text.to_string())),
    }
}

/// Name of what repeats, and of what is left when the parts are used up.
const ITEM: &str = "item";
const REST: &str = "rest";

/// Cuts text at the places of a layout. The last part may be short; what is left over is `rest`.
fn split(layout: &Layout, text: &str) -> Vec<(String, Value)> {
    let (mut parts, mut rest) = cut(&layout.parts, text);
    while !rest.is_empty() && !layout.items.is_empty() {
        let (item, after) = cut(&layout.items, rest);
        parts.push((ITEM.to_owned(), Value::Composite(item)));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push((REST.to_owned(), rest.into()));
    }
    parts
}

fn cut<'t>(specs: &[PartSpec], text: &'t str) -> (Vec<(String, Value)>, &'t str) {
    let (mut parts, mut rest) = (Vec::new(), text);
    for spec in specs.iter() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at_checked(spec.length).unwrap_or((rest, ""));
        parts.push((spec.name.clone(), part.into()));
        rest = after;
    }
    (parts, rest)
}

fn write_value(encoder: &mut Encoder<'_>, spec: &Spec, de: u8, value: &Value) -> Result<(), EncodeError> {
    let field = spec.field(de).ok_or(EncodeError::Undefined { field: de })?;
    match value {
        Value::Text(text) => encoder.text(de, text),
        Value::Bytes(octets) => encoder.bytes(de, octets),
        Value::Composite(parts) if field.is_tlv => {
            let octets = tlv::from_value(parts).map_err(|part| EncodeError::Part { field: de, part })?;
            encoder.bytes(de, &octets)
        }
        Value::Composite(parts) => {
            let text = join(parts).map_err(|part| EncodeError::Part { field: de, part })?;
            let layout = field.layout(encoder.mti(), text.len()).ok_or(EncodeError::Kind { field: de })?;
            check_parts(&split(layout, &text), parts)
                .map_err(|part| EncodeError::Part { field: de, part })?;
            encoder.text(de, &text)
        }
    }
}

/// The characters of all parts; the name of a part that has none otherwise.
fn join(parts: &[(String, Value)]) -> Result<String, String> {
    parts.iter().try_fold(String::new(), |text, (name, part)| match part {
        Value::Text(part) => Ok(text + part),
        Value::Composite(item) => Ok(text + &join(item)?),
        Value::Bytes(_) => Err(name.clone()),
    })
}

/// Whether the parts given are those that their joined text splits into; the first that is not otherwise.
fn check_parts(expected: &[(String, Value)], given: &[(String, Value)]) -> Result<(), String> {
    let differs = expected.iter().zip(given).find(|(expected, given)| expected != given);
    match differs.map(|(_, given)| given).or_else(|| given.get(expected.len())) {
        Some((name, _)) => Err(name.clone()),
        None => Ok(()),
    }
}
