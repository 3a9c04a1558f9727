//! The content of a field that is owned: text, octets, or named parts in the order of the wire.
//!
//! A part keeps the octets it was read from where the encoder would write others, until it or what lies inside it
//! is set anew.

use std::fmt;

/// The content of a field. `Debug` shows its kind and length only; the content may be a PAN.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Digits, track data, characters.
    Text(String),
    /// Octets.
    Bytes(Vec<u8>),
    /// Named parts.
    Composite(Composite),
}

/// Named parts in the order of the wire; names may repeat (tags, items).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Composite {
    pub(crate) entries: Vec<Entry>,
    /// The bitmap in front of the parts, where it was not written as the encoder would.
    pub(crate) head: Vec<u8>,
    /// Octets of zero after the last element.
    pub(crate) tail: Vec<u8>,
}

/// A value with its name and, where the encoder would write it otherwise, how it was written: tag, length and
/// prefix too.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) wire: Option<Vec<u8>>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "Text({} characters)", text.chars().count()),
            Value::Bytes(octets) => write!(f, "Bytes({})", octets.len()),
            Value::Composite(composite) => composite.fmt(f),
        }
    }
}

impl fmt::Debug for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts()).finish()
    }
}

impl Value {
    /// The characters of a text, or those of all parts joined; `None` when there are octets among them.
    pub fn joined(&self) -> Option<String> {
        fn join(value: &Value, out: &mut String) -> Option<()> {
            match value {
                Value::Text(text) => out.push_str(text),
                Value::Bytes(_) => return None,
                Value::Composite(composite) => composite.parts().try_for_each(|(_, part)| join(part, out))?,
            }
            Some(())
        }
        let mut out = String::new();
        join(self, &mut out)?;
        Some(out)
    }

    /// The value at a path of parts below this one; of parts with the same name the first.
    pub(crate) fn below(&self, path: &str) -> Option<&Value> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        match self {
            Value::Composite(composite) => match rest {
                None => composite.get(name),
                Some(rest) => composite.get(name)?.below(rest),
            },
            Value::Text(_) | Value::Bytes(_) => None,
        }
    }

    /// Sets the value at a path below this one, which must be there but for the last name. How the parts on the way
    /// were written is forgotten.
    pub(crate) fn set_below(&mut self, path: &str, value: Value) -> bool {
        let Value::Composite(composite) = self else { return false };
        match path.split_once('.') {
            None => composite.set(path, value),
            Some((name, rest)) => {
                let Some(entry) = composite.entries.iter_mut().find(|entry| entry.name == name) else {
                    return false;
                };
                entry.wire = None;
                return entry.value.set_below(rest, value);
            }
        }
        true
    }
}

impl Composite {
    /// No parts yet.
    pub fn new() -> Composite {
        Composite::default()
    }

    /// The parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), &entry.value))
    }

    /// The first part of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.parts().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Sets the first part of this name, or adds one after the last part.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => (entry.value, entry.wire) = (value, None),
            None => self.push(name, value),
        }
    }

    /// Adds a part after the last one, whether there is one of its name or not.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.entries.push(Entry { name: name.to_owned(), value: value.into(), wire: None });
    }

    /// Takes out every part of this name.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.name != name);
    }

    /// Whether anything was written in another way than the encoder would.
    pub(crate) fn is_tolerated(&self) -> bool {
        !self.head.is_empty()
            || !self.tail.is_empty()
            || self.entries.iter().any(|entry| entry.wire.is_some() || entry.value.is_tolerated())
    }
}

impl Value {
    pub(crate) fn is_tolerated(&self) -> bool {
        match self {
            Value::Composite(composite) => composite.is_tolerated(),
            Value::Text(_) | Value::Bytes(_) => false,
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

impl From<Composite> for Value {
    fn from(composite: Composite) -> Value {
        Value::Composite(composite)
    }
}

impl From<Vec<(String, Value)>> for Value {
    fn from(parts: Vec<(String, Value)>) -> Value {
        Value::Composite(parts.into_iter().collect())
    }
}

impl FromIterator<(String, Value)> for Composite {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(parts: I) -> Composite {
        let entry = |(name, value)| Entry { name, value, wire: None };
        Composite { entries: parts.into_iter().map(entry).collect(), ..Composite::default() }
    }
}
