//! BER-TLV as chip data uses it (EMV 4.3 Book 3, Annex B): tags of one to four octets, definite lengths.
//!
//! Knows no tag's meaning but its constructed bit. Order, repeats and unknown tags are kept.

use nom::{IResult, bytes::complete::take, number::complete::u8 as octet};

use crate::{
    Value,
    encoding::{hex_text, read_hex},
};

/// Why octets are not BER-TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// The data ends inside a tag, a length or a value.
    #[error("TLV at offset {offset}: the data ends inside it")]
    Truncated {
        /// Where the element begins.
        offset: usize,
    },
    /// A tag of more than four octets, or a length of more than two after its first.
    #[error("TLV at offset {offset}: tag or length is longer than chip data uses")]
    Overlong {
        /// Where the element begins.
        offset: usize,
    },
}

/// One element: tag, and value in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag's octets as one number: `0x9F26`.
    pub tag: u32,
    /// The value's octets.
    pub value: &'a [u8],
}

/// Walks the elements of `data`; `00` octets between them are skipped (EMV 4.3 Book 3, Annex B1). After an
/// error it ends.
pub fn elements(data: &[u8]) -> Elements<'_> {
    Elements { data, rest: data }
}

/// The value of the first element with this tag; `None` also when the data breaks before it.
pub fn find(data: &[u8], tag: u32) -> Option<&[u8]> {
    elements(data).map_while(Result::ok).find(|element| element.tag == tag).map(|element| element.value)
}

/// Appends one element, its length in the shortest form.
pub fn push(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    out.extend(tag.to_be_bytes().into_iter().skip_while(|octet| *octet == 0));
    let [.., high, low] = value.len().to_be_bytes();
    match value.len() {
        0..0x80 => out.push(low),
        0x80..0x100 => out.extend([0x81, low]),
        0x100.. => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(value);
}

/// The iterator of [`elements`].
#[derive(Clone)]
pub struct Elements<'a> {
    data: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [0, tail @ ..] = self.rest {
            self.rest = tail;
        }
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.data.len() - self.rest.len();
        match element(self.rest) {
            Ok((rest, found)) => {
                self.rest = rest;
                Some(Ok(found))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(match error {
                    nom::Err::Failure(()) => TlvError::Overlong { offset },
                    nom::Err::Error(()) | nom::Err::Incomplete(_) => TlvError::Truncated { offset },
                }))
            }
        }
    }
}

fn element(data: &[u8]) -> IResult<&[u8], Tlv<'_>, ()> {
    let (rest, tag) = tag(data)?;
    let (rest, length) = length(rest)?;
    let (rest, value) = take(length)(rest)?;
    Ok((rest, Tlv { tag, value }))
}

/// The low five bits of a first octet all set: more octets follow, while their high bit is set.
fn tag(data: &[u8]) -> IResult<&[u8], u32, ()> {
    let (mut rest, first) = octet(data)?;
    let mut tag = u32::from(first);
    let mut more = first & 0x1F == 0x1F;
    while more {
        let (after, next) = octet(rest)?;
        if tag >> 24 != 0 {
            return Err(nom::Err::Failure(()));
        }
        tag = tag << 8 | u32::from(next);
        (rest, more) = (after, next & 0x80 != 0);
    }
    Ok((rest, tag))
}

fn length(data: &[u8]) -> IResult<&[u8], usize, ()> {
    let (rest, first) = octet(data)?;
    match first {
        0..0x80 => Ok((rest, usize::from(first))),
        0x81 | 0x82 => {
            let (rest, octets): (&[u8], &[u8]) = take(usize::from(first & 3))(rest)?;
            Ok((rest, octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))))
        }
        0x80 | 0x83.. => Err(nom::Err::Failure(())),
    }
}

/// Nested no deeper than this; what lies deeper stays octets.
const DEPTH: usize = 4;

/// Octets as a composite of tags, constructed ones opened; `None` when they are not BER-TLV.
pub(crate) fn to_value(data: &[u8]) -> Option<Vec<(String, Value)>> {
    to_depth(data, DEPTH)
}

fn to_depth(data: &[u8], depth: usize) -> Option<Vec<(String, Value)>> {
    let mut parts = Vec::new();
    for element in elements(data) {
        let Tlv { tag, value } = element.ok()?;
        let octets: Vec<u8> = tag.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
        let is_constructed = octets.first().is_some_and(|first| first & 0x20 != 0);
        let nested =
            if is_constructed && depth > 1 && !value.is_empty() { to_depth(value, depth - 1) } else { None };
        let value = nested.map_or_else(|| Value::Bytes(value.to_vec()), Value::Composite);
        parts.push((hex_text(&octets), value));
    }
    (!parts.is_empty()).then_some(parts)
}

/// A composite of tags as octets; the name of the part that is none otherwise.
pub(crate) fn from_value(parts: &[(String, Value)]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (name, value) in parts {
        let tag = tag_of(name).ok_or_else(|| name.clone())?;
        match value {
            Value::Bytes(octets) => push(tag, octets, &mut out),
            Value::Composite(nested) => push(tag, &from_value(nested)?, &mut out),
            Value::Text(_) => return Err(name.clone()),
        }
    }
    Ok(out)
}

fn tag_of(name: &str) -> Option<u32> {
    let octets = read_hex(name.as_bytes()).filter(|octets| (1..=4).contains(&octets.len()))?;
    let (rest, tag) = tag(&octets).ok()?;
    rest.is_empty().then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(data: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, TlvError> {
        elements(data).map(|element| element.map(|found| (found.tag, found.value.to_vec()))).collect()
    }

    #[test]
    fn elements_and_their_faults() {
        let truncated = |offset| Err(TlvError::Truncated { offset });
        let overlong = |offset| Err(TlvError::Overlong { offset });
        type Row = (&'static str, Result<Vec<(u32, Vec<u8>)>, TlvError>);
        let rows: [Row; 12] = [
            ("", Ok(vec![])),
            ("9F2608A1A2A3A4A5A6A7A8", Ok(vec![(0x9F26, hex::decode("A1A2A3A4A5A6A7A8").unwrap())])),
            ("9500 00 9C0101", Ok(vec![(0x95, vec![]), (0x9C, vec![1])])),
            ("DF810105 0102030405", Ok(vec![(0xDF8101, vec![1, 2, 3, 4, 5])])),
            ("8A81023030", Ok(vec![(0x8A, vec![0x30, 0x30])])),
            ("8A82000130", Ok(vec![(0x8A, vec![0x30])])),
            ("9C01019F", truncated(3)),
            ("9C0101 9F26", truncated(3)),
            ("9C0201", truncated(0)),
            ("9C81", truncated(0)),
            ("9C8000", overlong(0)),
            ("9F8181818101 00", overlong(0)),
        ];
        for (data, expected) in rows {
            let octets = hex::decode(data.replace(' ', "")).unwrap();
            assert_eq!(walk(&octets), expected, "{data}");
        }
    }

    #[test]
    fn finds_the_first() {
        let data = hex::decode("9C01019F36020001 9C0102".replace(' ', "")).unwrap();
        assert_eq!(find(&data, 0x9C), Some(&[1][..]));
        assert_eq!(find(&data, 0x9F36), Some(&[0, 1][..]));
        assert_eq!(find(&data, 0x9F26), None);
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, head) in
            [(0, "9C00"), (127, "9C7F"), (128, "9C8180"), (255, "9C81FF"), (256, "9C820100")]
        {
            let mut out = Vec::new();
            push(0x9C, &vec![7; length], &mut out);
            assert_eq!(hex::encode_upper(&out[..head.len() / 2]), head);
            assert_eq!(walk(&out), Ok(vec![(0x9C, vec![7; length])]));
        }
    }

    #[test]
    fn deep_nesting_ends() {
        let mut data = vec![0x9C, 1, 1];
        for _ in 0..50 {
            let mut outer = Vec::new();
            push(0x70, &data, &mut outer);
            data = outer;
        }
        let parts = to_value(&data).unwrap();
        assert_eq!(from_value(&parts), Ok(data));
    }
}
