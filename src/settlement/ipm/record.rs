//! One record of a clearing file: MTI, a binary bitmap of sixteen octets, fields. Knows nothing of
//! files, and nothing of what the fields mean together.
//!
//! ```text
//! MTI 4 · bitmap 16 (bit 1 set) · fields 2 … 127 in order
//! variable fields: length in 2 or 3 digits of the file's encoding, then the content
//! DE 48, 62, 123, 124, 125: private data sub-elements { tag 4 · length 3 · value }*, each whole in one field
//! ```
//!
//! Times of day and texts are in the file's encoding, DE 55 and the bitmap are octets. The fields are
//! those that the public reader of such files knows; there is no DE 7, 11, 13, 15 or 39 among them.

use super::Reason;
use super::charset::Encoding;
use std::collections::BTreeMap;

/// The fields that hold private data sub-elements, in the order in which they are filled.
const PDS_FIELDS: [u8; 5] = [48, 62, 123, 124, 125];
/// The longest content of such a field.
const PDS_MAX: usize = 999;

/// How long a field is and what may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// So many characters.
    Text(usize),
    /// So many digits.
    Digits(usize),
    /// Two digits of length, at most so many characters.
    Ll(usize),
    /// Three digits of length, at most so many characters.
    Lll(usize),
    /// Three digits of length, then octets.
    Octets,
}

const fn form(de: u8) -> Option<Form> {
    Some(match de {
        2 => Form::Ll(19),
        3 | 73 => Form::Text(6),
        4..=6 | 12 => Form::Digits(12),
        9 | 10 | 71 => Form::Digits(8),
        14 => Form::Text(4),
        22 => Form::Text(12),
        23 | 24 | 40 | 49..=51 => Form::Text(3),
        25 => Form::Text(4),
        26 => Form::Digits(4),
        30 => Form::Text(24),
        31 => Form::Ll(23),
        32 | 33 | 93 | 94 => Form::Ll(11),
        37 => Form::Text(12),
        38 => Form::Text(6),
        41 => Form::Text(8),
        42 => Form::Text(15),
        43 => Form::Ll(99),
        48 | 62 | 123..=125 => Form::Lll(PDS_MAX),
        54 | 72 | 105 | 111 | 127 => Form::Lll(999),
        55 => Form::Octets,
        63 => Form::Lll(16),
        95 => Form::Ll(10),
        100 => Form::Ll(11),
        _ => return None,
    })
}

/// A record: the contents of its fields as ISO 8859-1, DE 55 as octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    mti: String,
    fields: BTreeMap<u8, Vec<u8>>,
}

impl std::fmt::Debug for Record {
    /// Which fields there are; a card number is among their contents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("mti", &self.mti).field("fields", &self.fields.keys()).finish()
    }
}

impl Record {
    /// A record without fields.
    #[must_use]
    pub(super) fn new(mti: &str) -> Self {
        Self { mti: mti.to_owned(), fields: BTreeMap::new() }
    }

    /// The message type.
    #[must_use]
    pub fn mti(&self) -> &str {
        &self.mti
    }

    /// A field's content as text.
    #[must_use]
    pub fn text(&self, de: u8) -> Option<String> {
        let content = self.fields.get(&de)?;
        Some(content.iter().map(|c| char::from(*c)).collect())
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
        let content: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let content = content.ok_or(Reason::Content(de))?;
        check(de, &content)?;
        self.fields.insert(de, content);
        Ok(())
    }

    /// Sets private data sub-elements, ascending by tag, as many fields as it takes.
    ///
    /// # Errors
    /// [`Reason::PrivateData`] when they do not fit.
    pub(super) fn set_private(&mut self, elements: &[(u16, String)]) -> Result<(), Reason> {
        let mut sorted: Vec<&(u16, String)> = elements.iter().collect();
        sorted.sort();
        let mut places = PDS_FIELDS.into_iter();
        let mut place = places.next().ok_or(Reason::PrivateData(48))?;
        let mut content = String::new();
        for (tag, value) in sorted {
            let element = format!("{tag:04}{:03}{value}", value.len());
            if *tag > 9999 || value.len() > PDS_MAX - 7 {
                return Err(Reason::PrivateData(place));
            }
            if content.len() + element.len() > PDS_MAX {
                self.set(place, &content)?;
                content.clear();
                place = places.next().ok_or(Reason::PrivateData(place))?;
            }
            content.push_str(&element);
        }
        self.set(place, &content)
    }

    /// Private data sub-elements by tag.
    ///
    /// # Errors
    /// [`Reason::PrivateData`] when one of the fields does not hold whole sub-elements.
    pub fn private(&self) -> Result<BTreeMap<u16, String>, Reason> {
        let mut found = BTreeMap::new();
        for de in PDS_FIELDS {
            let text = self.text(de).unwrap_or_default();
            let content: Vec<char> = text.chars().collect();
            let mut rest = content.as_slice();
            while !rest.is_empty() {
                let (tag, value, after) = element(rest).ok_or(Reason::PrivateData(de))?;
                found.insert(tag, value);
                rest = after;
            }
        }
        Ok(found)
    }

    /// The record's octets.
    #[must_use]
    pub(super) fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        encoding.encode(self.mti.as_bytes(), &mut out);
        let mut bitmap = 1_u128 << 127;
        for de in self.fields.keys() {
            bitmap |= 1 << (128 - u32::from(*de));
        }
        out.extend_from_slice(&bitmap.to_be_bytes());
        for (de, content) in &self.fields {
            let length = match form(*de) {
                Some(Form::Ll(_)) => format!("{:02}", content.len()),
                Some(Form::Lll(_) | Form::Octets) => format!("{:03}", content.len()),
                Some(Form::Text(_) | Form::Digits(_)) | None => String::new(),
            };
            encoding.encode(length.as_bytes(), &mut out);
            if form(*de) == Some(Form::Octets) {
                out.extend_from_slice(content);
            } else {
                encoding.encode(content, &mut out);
            }
        }
        out
    }

    /// Reads a record's octets.
    ///
    /// # Errors
    /// The offset in the record of the first violation, and what it is.
    pub(super) fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self, (usize, Reason)> {
        let mut cursor = Cursor { bytes, at: 0, encoding };
        let mti = cursor.take(4).ok_or((0, Reason::Mti))?;
        if !mti.iter().all(u8::is_ascii_digit) {
            return Err((0, Reason::Mti));
        }
        let mti = mti.into_iter().map(char::from).collect();
        let bitmap: [u8; 16] =
            cursor.octets(16).and_then(|b| b.try_into().ok()).ok_or((4, Reason::Bitmap))?;
        let bitmap = u128::from_be_bytes(bitmap);
        if bitmap >> 127 != 1 || bitmap & 1 != 0 {
            return Err((4, Reason::Bitmap));
        }
        let mut fields = BTreeMap::new();
        for de in (2..=127_u8).filter(|de| bitmap >> (128 - u32::from(*de)) & 1 == 1) {
            let start = cursor.at;
            let content = cursor.field(de).map_err(|reason| (start, reason))?;
            fields.insert(de, content);
        }
        if cursor.at != bytes.len() {
            return Err((cursor.at, Reason::Trailing));
        }
        let record = Self { mti, fields };
        record.private().map_err(|reason| (0, reason))?;
        Ok(record)
    }
}

/// Whether content is of its field's form.
fn check(de: u8, content: &[u8]) -> Result<(), Reason> {
    let sound = match form(de).ok_or(Reason::Field(de))? {
        Form::Text(length) => content.len() == length,
        Form::Digits(length) => content.len() == length && content.iter().all(u8::is_ascii_digit),
        Form::Ll(max) | Form::Lll(max) => !content.is_empty() && content.len() <= max,
        Form::Octets => content.len() <= 999,
    };
    if sound && (de != 12 || is_time(content)) { Ok(()) } else { Err(Reason::Content(de)) }
}

/// `YYMMDDhhmmss` of a day that exists.
fn is_time(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    jiff::civil::DateTime::strptime("%y%m%d%H%M%S", text.as_ref()).is_ok()
}

/// One sub-element and what follows it.
fn element(rest: &[char]) -> Option<(u16, String, &[char])> {
    let digits = |part: &[char]| {
        let text: String = part.iter().collect();
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    let (head, rest) = rest.split_at_checked(7)?;
    let (tag, length) = head.split_at_checked(4)?;
    let (value, rest) = rest.split_at_checked(usize::from(digits(length)?))?;
    Some((digits(tag)?, value.iter().collect(), rest))
}

/// Reads a record from front to back.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    encoding: Encoding,
}

impl<'a> Cursor<'a> {
    fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let found = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(found)
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        self.octets(length).map(|bytes| self.encoding.decode(bytes))
    }

    fn field(&mut self, de: u8) -> Result<Vec<u8>, Reason> {
        let form = form(de).ok_or(Reason::Field(de))?;
        let length = match form {
            Form::Text(length) | Form::Digits(length) => length,
            Form::Ll(_) => self.length(2).ok_or(Reason::Length(de))?,
            Form::Lll(_) | Form::Octets => self.length(3).ok_or(Reason::Length(de))?,
        };
        let content = match form {
            Form::Octets => self.octets(length).map(<[u8]>::to_vec),
            Form::Text(_) | Form::Digits(_) | Form::Ll(_) | Form::Lll(_) => self.take(length),
        };
        let content = content.ok_or(Reason::Length(de))?;
        check(de, &content)?;
        Ok(content)
    }

    fn length(&mut self, digits: usize) -> Option<usize> {
        let text = self.take(digits)?;
        let sound = text.iter().all(u8::is_ascii_digit);
        sound.then(|| text.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let mut record = Record::new("1240");
        let fields = [
            (2, "6225880012345675"),
            (3, "000000"),
            (4, "000000010000"),
            (12, "260228235959"),
            (37, "000000000001"),
        ];
        for (de, text) in fields {
            record.set(de, text).unwrap();
        }
        record.set_private(&[(148, "1562".into()), (23, "POI".into())]).unwrap();
        record
    }

    #[test]
    fn a_record_is_laid_out_as_drawn() {
        let bytes = sample().encode(Encoding::Latin1);
        let want = [
            b"1240".as_slice(),
            &[0xF0, 0x10, 0, 0, 0x08, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            b"166225880012345675",
            b"000000",
            b"000000010000",
            b"260228235959",
            b"000000000001",
            b"0210023003POI01480041562",
        ]
        .concat();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&want));
    }

    #[test]
    fn records_read_back_in_both_encodings_and_cut_anywhere_they_do_not() {
        for encoding in Encoding::ALL {
            let bytes = sample().encode(encoding);
            assert_eq!(Record::decode(&bytes, encoding), Ok(sample()), "{encoding:?}");
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
        let good = sample().encode(Encoding::Latin1);
        type Row = (&'static str, fn(&mut Vec<u8>), usize, Reason);
        let rows: [Row; 10] = [
            ("a letter in the MTI", |b| b[1] = b'x', 0, Reason::Mti),
            ("bit 1 not set", |b| b[4] = 0x70, 4, Reason::Bitmap),
            ("bit 128 set", |b| b[19] |= 1, 4, Reason::Bitmap),
            ("a field without a form", |b| b[4] |= 2, 56, Reason::Field(7)),
            ("a letter in a length", |b| b[20] = b'x', 20, Reason::Length(2)),
            ("a length beyond the end", |b| b[80] = b'9', 80, Reason::Length(48)),
            ("a letter in DE 4", |b| b[50] = b'x', 44, Reason::Content(4)),
            ("a day that does not exist", |b| b[60..62].copy_from_slice(b"30"), 56, Reason::Content(12)),
            ("a letter in a sub-element's length", |b| b[88] = b'x', 0, Reason::PrivateData(48)),
            ("one octet too many", |b| b.push(b' '), 104, Reason::Trailing),
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
        let mut record = Record::new("1240");
        record.set_private(&elements).unwrap();
        let lengths: Vec<usize> =
            PDS_FIELDS.iter().filter_map(|de| record.text(*de)).map(|text| text.len()).collect();
        assert_eq!(lengths, [970, 970, 970, 873]);
        assert_eq!(record.private().unwrap().into_iter().collect::<Vec<_>>(), elements);
        let many: Vec<(u16, String)> = (1..=60).map(|tag| (tag, "x".repeat(90))).collect();
        assert_eq!(Record::new("1240").set_private(&many), Err(Reason::PrivateData(125)));
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
            assert_eq!(Record::new("1240").set(de, text), Err(reason), "DE {de}");
        }
    }
}
