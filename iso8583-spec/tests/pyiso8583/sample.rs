//! A message as values, written and read by either side.

use std::collections::BTreeMap;

use iso8583_spec::{EncodeError, Encoder, Message, Mti, View};
use serde_json::{Map, Value};

use crate::{chance::Chance, dialect::Dialect};

/// Characters of a message's fields, at most: with all that goes around them it stays below 65,535 octets.
const ROOM: usize = 14_000;

/// Values by the names of this crate: text, or octets as upper-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) mti: String,
    /// TPDU and header.
    pub(crate) head: Vec<u8>,
    pub(crate) fields: BTreeMap<u8, String>,
}

impl Sample {
    /// Any message of a dialect.
    pub(crate) fn random(dialect: &Dialect, chance: &mut Chance) -> Sample {
        let front = dialect.front;
        let head = match front.header_enc {
            "b" => (0..front.head()).map(|_| octet(chance)).collect(),
            _ => chance.text(front.head(), "0123456789 ISO~").into_bytes(),
        };
        let sparse = chance.within(1..=6);
        let (from, to) = chance.pick(&[(0, 255), (0, 255), (0, 64), (65, 255), (129, 255)]);
        let mut fields = BTreeMap::new();
        let mut room = ROOM;
        for (de, pair) in dialect.pairs.range(from..=to) {
            if chance.once_in(sparse) {
                let value = pair.value(chance);
                room = room.saturating_sub(value.len());
                if room > 0 {
                    fields.insert(*de, value);
                }
            }
        }
        Sample { mti: chance.text(4, "0123456789"), head, fields }
    }

    /// The octets, field by field.
    pub(crate) fn encode(&self, dialect: &Dialect) -> Result<Vec<u8>, Refusal> {
        let refused = |error| Refusal::of(&error);
        let mti = Mti::new(&self.mti).ok_or(Refusal { field: "t".to_owned() })?;
        let mut encoder = Encoder::new(&dialect.spec, mti);
        let (tpdu, header) = self.head.split_at(dialect.front.tpdu.min(self.head.len()));
        if !tpdu.is_empty() {
            encoder.tpdu(tpdu).map_err(refused)?;
        }
        if !header.is_empty() {
            encoder.header(header).map_err(refused)?;
        }
        for (de, value) in &self.fields {
            match octets_of(dialect, *de, value) {
                Some(octets) => encoder.bytes(*de, &octets).map_err(refused)?,
                None => encoder.text(*de, value).map_err(refused)?,
            }
        }
        encoder.finish().map_err(refused)
    }

    /// The octets, all at once.
    pub(crate) fn encode_whole(&self, dialect: &Dialect) -> Result<Vec<u8>, Refusal> {
        let mti = Mti::new(&self.mti).ok_or(Refusal { field: "t".to_owned() })?;
        let mut message = Message::new(mti);
        let (tpdu, header) = self.head.split_at(dialect.front.tpdu.min(self.head.len()));
        message.tpdu = (!tpdu.is_empty()).then(|| tpdu.to_vec());
        message.header = (!header.is_empty()).then(|| header.to_vec());
        for (de, value) in &self.fields {
            match octets_of(dialect, *de, value) {
                Some(octets) => message.set(*de, octets),
                None => message.set(*de, value.as_str()),
            }
        }
        message.encode(&dialect.spec).map_err(|error| Refusal::of(&error))
    }

    /// The same by the names of pyiso8583.
    pub(crate) fn doc(&self, dialect: &Dialect) -> Value {
        let mut doc = Map::new();
        doc.insert("t".to_owned(), self.mti.as_str().into());
        if !self.head.is_empty() {
            let head = match dialect.front.header_enc {
                "b" => hex::encode_upper(&self.head),
                _ => self.head.iter().copied().map(char::from).collect(),
            };
            doc.insert("h".to_owned(), head.into());
        }
        for (de, value) in &self.fields {
            let value = dialect.pairs.get(de).map_or_else(|| value.clone(), |pair| pair.theirs(value));
            doc.insert(de.to_string(), value.into());
        }
        Value::Object(doc)
    }

    /// What this crate reads, without the fields that have a fault.
    pub(crate) fn of_view(view: &View<'_>) -> Sample {
        let field = |de| {
            let text = view.text(de).map(|text| text.to_string());
            (de, text.or_else(|| view.bytes(de).map(hex::encode_upper)).unwrap())
        };
        let head = [view.tpdu().unwrap_or_default(), view.header().unwrap_or_default()].concat();
        let fields = view.fields().map(field).collect();
        Sample { mti: view.mti().to_string(), head, fields }
    }

    /// What pyiso8583 reads; bitmaps left out.
    pub(crate) fn of_doc(dialect: &Dialect, doc: &Value) -> Sample {
        let mut sample = Sample { mti: String::new(), head: Vec::new(), fields: BTreeMap::new() };
        for (key, value) in doc.as_object().unwrap() {
            let value = value.as_str().unwrap();
            match (key.as_str(), dialect.front.header_enc) {
                ("t", _) => sample.mti = value.to_owned(),
                ("h", "b") => sample.head = hex::decode(value).unwrap(),
                ("h", _) => sample.head = value.as_bytes().to_vec(),
                ("p" | "1", _) => {}
                (de, _) => {
                    let de = de.parse().unwrap();
                    sample.fields.insert(de, dialect.pairs[&de].ours(value));
                }
            }
        }
        sample
    }
}

/// Any octet.
pub(crate) fn octet(chance: &mut Chance) -> u8 {
    u8::try_from(chance.within(0..=255)).unwrap()
}

/// The octets of binary content; `None` for text.
fn octets_of(dialect: &Dialect, de: u8, value: &str) -> Option<Vec<u8>> {
    let is_binary = dialect.pairs.get(&de).is_some_and(|pair| pair.content == "b");
    is_binary.then(|| hex::decode(value).unwrap())
}

/// This crate's refusal to write a message, by the name that pyiso8583 gives the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) field: String,
}

impl Refusal {
    fn of(error: &EncodeError) -> Refusal {
        let field = match error {
            EncodeError::Undefined { field }
            | EncodeError::Order { field }
            | EncodeError::Value { field, .. }
            | EncodeError::Mac { field } => field.to_string(),
            EncodeError::Head { .. } => "h".to_owned(),
        };
        Refusal { field }
    }
}
