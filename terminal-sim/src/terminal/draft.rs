//! A message on its way out: MTI and fields, before the codec and the MAC.
//!
//! Knows no dialect and no key. Prints the numbers of its fields, never their content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A field's value: characters, or octets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Value {
    /// Digits, track or characters.
    Text(String),
    /// Octets, as hex in a state file.
    Hex(String),
}

/// MTI and fields.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    mti: String,
    fields: BTreeMap<u8, Value>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({} {:?})", self.mti, self.fields.keys().collect::<Vec<_>>())
    }
}

impl Draft {
    /// A message without fields.
    #[must_use]
    pub fn new(mti: &str) -> Self {
        Self { mti: mti.to_owned(), fields: BTreeMap::new() }
    }

    /// The MTI, four digits.
    #[must_use]
    pub fn mti(&self) -> &str {
        &self.mti
    }

    /// The same fields under another MTI.
    #[must_use]
    pub fn with_mti(&self, mti: &str) -> Self {
        Self { mti: mti.to_owned(), fields: self.fields.clone() }
    }

    /// Sets a field of characters.
    pub fn text(&mut self, de: u8, text: &str) -> &mut Self {
        self.fields.insert(de, Value::Text(text.to_owned()));
        self
    }

    /// Sets a field of characters when there is one.
    pub fn maybe(&mut self, de: u8, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(de, text);
        }
        self
    }

    /// Sets a field of octets.
    pub fn bytes(&mut self, de: u8, bytes: &[u8]) -> &mut Self {
        self.fields.insert(de, Value::Hex(hex::encode_upper(bytes)));
        self
    }

    /// Takes fields out.
    pub fn remove(&mut self, des: &[u8]) -> &mut Self {
        for de in des {
            self.fields.remove(de);
        }
        self
    }

    /// A field of characters.
    #[must_use]
    pub fn get(&self, de: u8) -> Option<&str> {
        match self.fields.get(&de)? {
            Value::Text(text) | Value::Hex(text) => Some(text),
        }
    }

    /// Whether the field is there.
    #[must_use]
    pub fn has(&self, de: u8) -> bool {
        self.fields.contains_key(&de)
    }

    /// Fields in ascending order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.fields.iter().map(|(de, value)| (*de, value))
    }

    /// The message without what may not be kept: tracks, PIN block and what describes them.
    #[must_use]
    pub fn image(&self) -> Self {
        let mut image = self.clone();
        image.remove(&[26, 35, 36, 45, 52, 53]);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_no_track_and_no_pin_block_and_prints_no_content() {
        let mut draft = Draft::new("0200");
        draft.text(3, "000000").text(35, "6225880012345675D3012").bytes(52, &[1; 8]).text(26, "12");
        draft.text(53, "2600000000000000").maybe(2, None).maybe(11, Some("000001"));
        assert_eq!(format!("{draft:?}"), "Draft(0200 [3, 11, 26, 35, 52, 53])");
        assert_eq!(format!("{:?}", draft.image()), "Draft(0200 [3, 11])");
        assert_eq!(draft.with_mti("0400").mti(), "0400");
    }
}
