//! One record of a clearing file: a message of the codec's dialect `ipm` or `ipm-ascii`, and what this
//! format asks of it beyond. Knows nothing of files, and nothing of what the fields mean together.
//!
//! ```text
//! MTI 4 · bitmap 16 (bit 1 set: every record has DE 71) · fields 2 … 127 in order
//! DE 48, 62, 123, 124, 125: private data sub-elements { tag 4 · length 3 · value }*, each whole in one field
//! ```

use super::Reason;
use super::charset::Encoding;
use iso8583_spec::{
    self as codec, Composite, DecodeError, EncodeError, Fault, Message, Mti, Part, Value, View,
};
use std::collections::BTreeMap;

/// The fields that hold private data sub-elements, in the order in which they are filled.
const PDS_FIELDS: [u8; 5] = [48, 62, 123, 124, 125];
/// The longest content of such a field.
const PDS_MAX: usize = 999;
/// Tag and length of a sub-element.
const PDS_HEAD: usize = 7;
/// Local date and time of the transaction.
const TIME: u8 = 12;

/// A record. Its `Debug` shows which fields there are; a card number is among their contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    message: Message,
}

impl Record {
    /// A record without fields.
    ///
    /// # Errors
    /// [`Reason::Mti`] when it is not four digits.
    pub(super) fn new(mti: &str) -> Result<Self, Reason> {
        Ok(Self { message: Message::new(Mti::new(mti).ok_or(Reason::Mti)?) })
    }

    /// The message type.
    #[must_use]
    pub fn mti(&self) -> &str {
        self.message.mti.as_str()
    }

    /// A field's content as text, that of its parts joined; none for octets.
    #[must_use]
    pub fn text(&self, de: u8) -> Option<String> {
        self.message.joined(de)
    }

    /// A field's content as a number.
    #[must_use]
    pub fn number(&self, de: u8) -> Option<u64> {
        self.text(de)?.parse().ok()
    }

    /// Sets a field.
    ///
    /// # Errors
    /// [`Reason`] when the field is unknown or the content is not of its form.
    pub(super) fn set(&mut self, de: u8, text: &str) -> Result<(), Reason> {
        let (min, max) = Encoding::default().spec()?.field(de).ok_or(Reason::Field(de))?.lengths();
        // A fixed field that is given short is a mistake here; the codec would fill it up.
        let is_whole = (min..=max).contains(&text.chars().count());
        if !is_whole || (de == TIME && !is_time(text)) {
            return Err(Reason::Content(de));
        }
        self.put(de, text.into())
    }

    /// Sets a field to what its dialect can write.
    fn put(&mut self, de: u8, value: Value) -> Result<(), Reason> {
        let mut alone = Message::new(self.message.mti);
        alone.set(de, value.clone());
        alone.encode(Encoding::default().spec()?).map_err(|error| unwritable(&error))?;
        self.message.set(de, value);
        Ok(())
    }

    /// Sets private data sub-elements, ascending by tag, as many fields as it takes.
    ///
    /// # Errors
    /// [`Reason::PrivateData`] when they do not fit, [`Reason::Content`] when a value is not of its form.
    pub(super) fn set_private(&mut self, elements: &[(u16, String)]) -> Result<(), Reason> {
        let mut sorted: Vec<&(u16, String)> = elements.iter().collect();
        sorted.sort();
        let mut places = PDS_FIELDS.into_iter();
        let mut place = places.next().ok_or(Reason::PrivateData(48))?;
        let (mut content, mut length) = (Composite::new(), 0);
        for (tag, value) in sorted {
            let own = PDS_HEAD + value.chars().count();
            if *tag > 9999 || own > PDS_MAX {
                return Err(Reason::PrivateData(place));
            }
            if length + own > PDS_MAX {
                self.put(place, std::mem::take(&mut content).into())?;
                length = 0;
                place = places.next().ok_or(Reason::PrivateData(place))?;
            }
            content.push(&format!("{tag:04}"), value.as_str());
            length += own;
        }
        self.put(place, content.into())
    }

    /// Private data sub-elements by tag.
    ///
    /// # Errors
    /// [`Reason::PrivateData`] when one of the fields does not hold whole sub-elements.
    pub fn private(&self) -> Result<BTreeMap<u16, String>, Reason> {
        let mut found = BTreeMap::new();
        for de in PDS_FIELDS {
            let wrong = Reason::PrivateData(de);
            let elements = match self.message.get(de) {
                None => continue,
                Some(Value::Composite(elements)) => elements,
                Some(Value::Text(_) | Value::Bytes(_)) => return Err(wrong),
            };
            for (tag, value) in elements.parts() {
                let digits = tag.bytes().all(|octet| octet.is_ascii_digit());
                let tag = tag.parse().ok().filter(|_| digits).ok_or(wrong)?;
                found.insert(tag, value.joined().ok_or(wrong)?);
            }
        }
        Ok(found)
    }

    /// The record's octets.
    ///
    /// # Errors
    /// [`Reason`] when a field cannot be written in this encoding.
    pub(super) fn encode(&self, encoding: Encoding) -> Result<Vec<u8>, Reason> {
        self.message.encode(encoding.spec()?).map_err(|error| unwritable(&error))
    }

    /// Reads a record's octets.
    ///
    /// # Errors
    /// The offset in the record of the first violation, and what it is.
    pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, (usize, Reason)> {
        let spec = encoding.spec().map_err(|reason| (0, reason))?;
        let view = View::decode(spec, bytes).map_err(|error| unreadable(&error))?;
        if !has_both_bitmaps(bytes) {
            return Err((4, Reason::Bitmap));
        }
        let fault = view.faults().first().map(violation);
        let time = view.text(TIME).filter(|time| !is_time(time)).and_then(|_| view.offset_of(TIME));
        let time = time.map(|offset| (offset, Reason::Content(TIME)));
        if let Some(first) = [fault, time].into_iter().flatten().min_by_key(|(offset, _)| *offset) {
            return Err(first);
        }
        let record = Self { message: Message::from_view(&view) };
        match record.private() {
            Err(reason) => Err((private_fault(&view, reason), reason)),
            Ok(_) => Ok(record),
        }
    }
}

/// Bit 1, as every record has DE 71, and not bit 128, as none has a MAC.
fn has_both_bitmaps(bytes: &[u8]) -> bool {
    match bytes.get(4..20) {
        Some([first, .., last]) => first & 0x80 != 0 && last & 1 == 0,
        Some(_) | None => false,
    }
}

/// `YYMMDDhhmmss` of a day that exists.
fn is_time(text: &str) -> bool {
    jiff::civil::DateTime::strptime("%y%m%d%H%M%S", text).is_ok()
}

/// Where private data that does not hold together breaks off, or else where its field begins.
fn private_fault(view: &View<'_>, reason: Reason) -> usize {
    let Reason::PrivateData(de) = reason else { return 0 };
    let broken = view.inspect().into_iter().find(|fault| fault.field == de && fault.part.is_empty());
    broken.map(|fault| fault.offset).or(view.offset_of(de)).unwrap_or(0)
}

fn unreadable(error: &DecodeError) -> (usize, Reason) {
    match error {
        DecodeError::Truncated { part, offset } | DecodeError::Malformed { part, offset } => match part {
            Part::Bitmap => (*offset, Reason::Bitmap),
            Part::Tpdu | Part::Header | Part::Mti => (*offset, Reason::Mti),
        },
        DecodeError::TooLong { .. } => (0, Reason::RecordLength),
        DecodeError::Unsound(fault) => violation(fault),
    }
}

fn violation(fault: &Fault) -> (usize, Reason) {
    use codec::Reason as Found;
    let reason = match fault.reason {
        Found::Undefined => Reason::Field(fault.field),
        Found::Prefix | Found::BeyondEnd => Reason::Length(fault.field),
        Found::SecondaryBitmap | Found::Bitmap => Reason::Bitmap,
        Found::Trailing => Reason::Trailing,
        Found::NotDigit
        | Found::Character
        | Found::NotHex
        | Found::TooLong
        | Found::TooShort
        | Found::Overlong => Reason::Content(fault.field),
    };
    (fault.offset, reason)
}

fn unwritable(error: &EncodeError) -> Reason {
    match error {
        EncodeError::Undefined { field } | EncodeError::Order { field } | EncodeError::Mac { field } => {
            Reason::Field(*field)
        }
        EncodeError::Value { field, .. } => Reason::Content(*field),
        EncodeError::Head { .. } => Reason::Mti,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let mut record = Record::new("1240").unwrap();
        let fields = [
            (2, "6225880012345675"),
            (3, "000000"),
            (4, "000000010000"),
            (12, "260228235959"),
            (37, "000000000001"),
            (71, "00000002"),
        ];
        for (de, text) in fields {
            record.set(de, text).unwrap();
        }
        record.set_private(&[(148, "1562".into()), (23, "POI".into())]).unwrap();
        record
    }

    #[test]
    fn a_record_is_laid_out_as_drawn() {
        let bytes = sample().encode(Encoding::Latin1).unwrap();
        let want = [
            b"1240".as_slice(),
            &[0xF0, 0x10, 0, 0, 0x08, 0x01, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            b"166225880012345675",
            b"000000",
            b"000000010000",
            b"260228235959",
            b"000000000001",
            b"0210023003POI01480041562",
            b"00000002",
        ]
        .concat();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&want));
    }

    #[test]
    fn records_read_back_in_both_encodings_and_cut_anywhere_they_do_not() {
        for encoding in Encoding::ALL {
            let bytes = sample().encode(encoding).unwrap();
            let read = Record::decode(&bytes, encoding).unwrap();
            assert_eq!(read.encode(encoding), Ok(bytes.clone()), "{encoding:?}");
            assert_eq!(read.private(), sample().private());
            for de in [2, 3, 4, 12, 37, 71] {
                assert_eq!(read.text(de), sample().text(de), "{encoding:?} DE {de}");
            }
            for length in 0..bytes.len() {
                assert!(
                    Record::decode(bytes.get(..length).unwrap(), encoding).is_err(),
                    "{encoding:?} {length}"
                );
            }
        }
    }

    #[test]
    fn violations_name_field_and_offset() {
        let good = sample().encode(Encoding::Latin1).unwrap();
        type Row = (&'static str, fn(&mut Vec<u8>), usize, Reason);
        let rows: [Row; 12] = [
            ("a letter in the MTI", |b| b[1] = b'x', 0, Reason::Mti),
            ("bit 1 not set", |b| b[4] = 0x70, 4, Reason::Bitmap),
            ("bit 128 set", |b| b[19] |= 1, 4, Reason::Bitmap),
            ("a field without a form", |b| b[4] |= 2, 56, Reason::Field(7)),
            ("a letter in a length", |b| b[20] = b'x', 20, Reason::Length(2)),
            ("a length beyond the end", |b| b[80] = b'9', 83, Reason::Length(48)),
            ("a letter in DE 4", |b| b[50] = b'x', 50, Reason::Content(4)),
            ("a day that does not exist", |b| b[60..62].copy_from_slice(b"30"), 56, Reason::Content(12)),
            ("a letter in a sub-element's length", |b| b[88] = b'x', 83, Reason::PrivateData(48)),
            ("a letter in a sub-element's tag", |b| b[84] = b'x', 80, Reason::PrivateData(48)),
            ("a control character in DE 37", |b| b[70] = 0x85, 70, Reason::Content(37)),
            ("one octet too many", |b| b.push(b' '), 112, Reason::Trailing),
        ];
        for (name, alter, offset, reason) in rows {
            let mut bytes = good.clone();
            alter(&mut bytes);
            assert_eq!(Record::decode(&bytes, Encoding::Latin1), Err((offset, reason)), "{name}");
        }
    }

    #[test]
    fn sub_elements_never_span_two_fields() {
        let elements: Vec<(u16, String)> = (1..=39).map(|tag| (tag, "x".repeat(90))).collect();
        let mut record = Record::new("1240").unwrap();
        record.set_private(&elements).unwrap();
        let bytes = record.encode(Encoding::Latin1).unwrap();
        let view = View::decode(Encoding::Latin1.spec().unwrap(), &bytes).unwrap();
        let lengths: Vec<usize> = PDS_FIELDS.iter().filter_map(|de| view.raw(*de)).map(<[u8]>::len).collect();
        assert_eq!(lengths, [970, 970, 970, 873]);
        assert_eq!(record.private().unwrap().into_iter().collect::<Vec<_>>(), elements);
        let many: Vec<(u16, String)> = (1..=60).map(|tag| (tag, "x".repeat(90))).collect();
        assert_eq!(Record::new("1240").unwrap().set_private(&many), Err(Reason::PrivateData(125)));
    }

    #[test]
    fn contents_that_do_not_fit_are_refused() {
        let rows = [
            (4, "1", Reason::Content(4)),
            (26, "59 1", Reason::Content(26)),
            (11, "000001", Reason::Field(11)),
            (43, "茶", Reason::Content(43)),
            (31, "012345678901234567890123", Reason::Content(31)),
            (12, "000000000000", Reason::Content(12)),
        ];
        for (de, text, reason) in rows {
            assert_eq!(Record::new("1240").unwrap().set(de, text), Err(reason), "DE {de}");
        }
    }
}
