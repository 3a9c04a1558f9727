//! A message that owns its content: for the command line, for tests, and wherever a message is edited.
//!
//! It encodes to the octets it was decoded from: where a field, a part or the bitmap was written in another way than
//! the encoder would (a pad nibble, lower-case hexadecimal, a long form of a length), the octets are kept until the
//! field is set anew.

use std::{collections::BTreeMap, fmt};

use crate::{
    DecodeError, EncodeError, Mti, Part, Spec, Value, View,
    bitmap::{Bitmap, Tertiary},
    element,
    value::Entry,
};

/// An owned message.
///
/// # Example
///
/// ```
/// use iso8583_spec::{Message, Spec};
///
/// let spec = Spec::builtin("iso87-ascii").unwrap();
/// let body = b"020000000000000002000089A032611239C0100".as_slice();
/// let mut message = Message::decode(spec, body).unwrap();
/// assert_eq!(message.encode(spec).unwrap(), body);
/// message.set_part("55.9C", vec![0x20]);
/// assert!(message.encode(spec).unwrap().ends_with(b"0089A032611239C0120"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The 5 octets of the TPDU, in a dialect that has one.
    pub tpdu: Option<Vec<u8>>,
    /// The dialect's own header, where it has one.
    pub header: Option<Vec<u8>>,
    /// The message type.
    pub mti: Mti,
    fields: BTreeMap<u8, Entry>,
    /// The bitmaps' octets, as long as they may differ from what the encoder writes.
    bitmaps: Option<Vec<u8>>,
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
        Message { tpdu: None, header: None, mti, fields: BTreeMap::new(), bitmaps: None }
    }

    /// Reads a message that must be without fault. Of a field whose parts do not hold together (chip data that is no
    /// TLV) the text or the octets are kept: [`View::inspect`] says what is wrong with them.
    ///
    /// # Errors
    /// What [`View::decode`] says, or the first fault in the message.
    pub fn decode(spec: &Spec, body: &[u8]) -> Result<Message, DecodeError> {
        let view = View::decode(spec, body)?;
        match view.faults().first() {
            Some(fault) => Err(DecodeError::Unsound(fault.clone())),
            None => Ok(Message::from_view(&view)),
        }
    }

    /// What can be read of a message, faults or not: the fields without one. It encodes to a message without fault.
    pub fn from_view(view: &View<'_>) -> Message {
        let entry = |de| Some((de, entry_of(view, de)?));
        Message {
            tpdu: view.tpdu().map(<[u8]>::to_vec),
            header: view.header().map(<[u8]>::to_vec),
            mti: view.mti(),
            fields: view.fields().filter_map(entry).collect(),
            // One with a fault may announce a bitmap that is not there.
            bitmaps: view.is_sound().then(|| view.bitmaps()),
        }
    }

    /// The body, without length prefix.
    ///
    /// # Errors
    /// When a field is not one of the dialect, or its value does not fit it.
    pub fn encode(&self, spec: &Spec) -> Result<Vec<u8>, EncodeError> {
        let mut out = self.head(spec)?;
        spec.mti_encoding().write(self.mti, &mut out);
        let (words, after_64) = self.bitmap_octets(spec);
        out.extend(words);
        let mut third = Some(after_64);
        for (de, entry) in &self.fields {
            if *de > 64 {
                out.extend(third.take().unwrap_or_default());
            }
            let field = spec.field(*de).ok_or(EncodeError::Undefined { field: *de })?;
            match &entry.wire {
                Some(wire) => out.extend_from_slice(wire),
                None => element::write(field, self.mti, &entry.value, &mut out).map_err(|refused| {
                    EncodeError::Value { field: *de, part: refused.path, fault: refused.fault }
                })?,
            }
        }
        out.extend(third.take().unwrap_or_default());
        Ok(out)
    }

    fn head(&self, spec: &Spec) -> Result<Vec<u8>, EncodeError> {
        let tpdu = self.tpdu.as_deref().unwrap_or_default();
        if tpdu.len() != spec.tpdu_len() {
            return Err(EncodeError::Head { part: Part::Tpdu });
        }
        let header = self.header.as_deref().unwrap_or_default();
        let is_fitting = match spec.header() {
            Some(form) => form.length_of(header) == Some(header.len()),
            None => header.is_empty(),
        };
        if !is_fitting {
            return Err(EncodeError::Head { part: Part::Header });
        }
        Ok([tpdu, header].concat())
    }

    /// The bitmaps after the MTI, and the one that stands after the last field up to 64.
    fn bitmap_octets(&self, spec: &Spec) -> (Vec<u8>, Vec<u8>) {
        let (encoding, has_third) = (spec.bitmap_encoding(), spec.tertiary().is_some());
        let width = encoding.width();
        let in_front = if spec.tertiary() == Some(Tertiary::Field65) { 2 * width } else { usize::MAX };
        let mut bits = Bitmap::default();
        self.fields.keys().for_each(|de| bits.insert(*de));
        if let Some(wire) = &self.bitmaps {
            let mut words = [0; 3];
            for (slot, word) in words.iter_mut().zip(wire.chunks(width)) {
                *slot = encoding.read(word).unwrap_or(0);
            }
            let mut theirs = Bitmap::new(words);
            theirs.remove(1);
            theirs.remove(if has_third { 65 } else { 0 });
            if theirs == bits {
                let (front, after_64) = wire.split_at(wire.len().min(in_front));
                return (front.to_vec(), after_64.to_vec());
            }
        }
        let [_, second, third] = bits.words();
        if third != 0 {
            bits.insert(65);
        }
        if second != 0 || third != 0 {
            bits.insert(1);
        }
        let count = if third != 0 {
            3
        } else if second != 0 {
            2
        } else {
            1
        };
        let mut octets = vec![0; width * count];
        for (word, place) in bits.words().into_iter().zip(octets.chunks_mut(width)) {
            encoding.write(word, place);
        }
        let after_64 = octets.split_off(octets.len().min(in_front));
        (octets, after_64)
    }

    /// The content of a field.
    pub fn get(&self, de: u8) -> Option<&Value> {
        self.fields.get(&de).map(|entry| &entry.value)
    }

    /// The content of a field or of a part of one: `"60"`, `"60.1"`, `"55.72.9F18"`; of parts with the same name the
    /// first.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let (de, rest) = path.split_once('.').map_or((path, None), |(de, rest)| (de, Some(rest)));
        let value = self.get(de.parse().ok()?)?;
        rest.map_or(Some(value), |rest| value.below(rest))
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
        self.get(de)?.joined()
    }

    /// The fields, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.fields.iter().map(|(de, entry)| (*de, &entry.value))
    }

    /// Sets a field, in whatever way it was written before.
    pub fn set(&mut self, de: u8, value: impl Into<Value>) {
        let entry = Entry { name: String::new(), value: value.into(), wire: None };
        self.fields.insert(de, entry);
    }

    /// Sets a part of a field that is there: `"60.1"`, `"55.9F1C"`. The other parts stay as they were written. `false`
    /// when the way to it does not exist.
    pub fn set_part(&mut self, path: &str, value: impl Into<Value>) -> bool {
        let Some((de, rest)) = path.split_once('.') else { return false };
        let entry = de.parse().ok().and_then(|de: u8| self.fields.get_mut(&de));
        entry.is_some_and(|entry| {
            entry.wire = None;
            entry.value.set_below(rest, value.into())
        })
    }

    /// Takes a field out.
    pub fn remove(&mut self, de: u8) {
        self.fields.remove(&de);
    }

    /// The fields that were written otherwise than the encoder writes them, in themselves or in a part: a wrong pad
    /// nibble, hexadecimal in the other case, a long form of a length. A strict reader refuses what is here.
    pub fn tolerated(&self) -> impl Iterator<Item = u8> {
        let is_other = |entry: &Entry| entry.wire.is_some() || entry.value.is_tolerated();
        self.fields.iter().filter(move |(_, entry)| is_other(entry)).map(|(de, _)| *de)
    }
}

/// The value of a field, and its octets where the encoder would write others.
fn entry_of(view: &View<'_>, de: u8) -> Option<Entry> {
    let field = view.spec().field(de)?;
    let whole = view.whole(de)?;
    let value = element::read(field, view.mti(), view.raw(de)?, view.units(de)?)?;
    let mut written = Vec::with_capacity(whole.len());
    let is_same = element::write(field, view.mti(), &value, &mut written).is_ok() && written == whole;
    Some(Entry { name: String::new(), value, wire: (!is_same).then(|| whole.to_vec()) })
}
