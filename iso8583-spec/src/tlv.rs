//! BER-TLV as chip data uses it (EMV 4.3 Book 3, Annex B): tags of one to four octets, definite lengths.
//!
//! Knows no tag's meaning but its constructed bit. Order, repeats and unknown tags are kept.

use nom::{IResult, bytes::complete::take, number::complete::u8 as octet};

use crate::encoding::read_hex;

/// Octets of the longest tag.
const MAX_TAG: usize = 4;

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
    push_length(value.len(), out);
    out.extend_from_slice(value);
}

/// Appends a length in the shortest form.
pub(crate) fn push_length(length: usize, out: &mut Vec<u8>) {
    let octets = length.to_be_bytes();
    match (length, octets) {
        (0..0x80, [.., low]) => out.push(low),
        (0x80..0x100, [.., low]) => out.extend([0x81, low]),
        (0x100..0x1_0000, [.., high, low]) => out.extend([0x82, high, low]),
        // Longer than chip data uses, and than what reads it takes; but no other length.
        (_, _) => {
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            let [.., count] = (octets.len() - zeros).to_be_bytes();
            out.push(0x80 | count);
            out.extend(octets.into_iter().skip(zeros));
        }
    }
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
            Ok((rest, (tag, value))) => {
                self.rest = rest;
                Some(Ok(Tlv { tag: number(tag), value }))
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

/// The octets of a tag and of its value, and what follows. A failure is a tag or length longer than chip data uses.
#[allow(clippy::type_complexity, reason = "two slices, in nom's own form")]
pub(crate) fn element(data: &[u8]) -> IResult<&[u8], (&[u8], &[u8]), ()> {
    let (rest, tag) = tag(data)?;
    let (rest, length) = length(rest)?;
    let (rest, value) = take(length)(rest)?;
    Ok((rest, (tag, value)))
}

/// The low five bits of a first octet all set: more octets follow, while their high bit is set.
fn tag(data: &[u8]) -> IResult<&[u8], &[u8], ()> {
    let (rest, first) = octet(data)?;
    let mut width = 1;
    let mut more = first & 0x1F == 0x1F;
    for next in rest {
        if !more {
            break;
        }
        if width == MAX_TAG {
            return Err(nom::Err::Failure(()));
        }
        width += 1;
        more = next & 0x80 != 0;
    }
    if more {
        return Err(nom::Err::Error(()));
    }
    take(width)(data)
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

/// A tag's octets as one number.
pub(crate) fn number(tag: &[u8]) -> u32 {
    tag.iter().fold(0, |number, octet| number << 8 | u32::from(*octet))
}

/// The octets of a tag behind its hexadecimal; `None` when it is no tag. Octets of zero fill up between elements.
pub(crate) fn tag_of(name: &str) -> Option<Vec<u8>> {
    let octets =
        read_hex(name.as_bytes()).filter(|octets| octets.first().is_some_and(|first| *first != 0))?;
    let (rest, _) = tag(&octets).ok()?;
    rest.is_empty().then_some(octets)
}

/// The same of a tag that is named by its hexadecimal.
pub(crate) fn is_constructed_name(name: &str) -> bool {
    tag_of(name).is_some_and(|tag| is_constructed(&tag))
}

/// Whether a tag holds elements and not a value of its own.
pub(crate) fn is_constructed(tag: &[u8]) -> bool {
    tag.first().is_some_and(|first| first & 0x20 != 0)
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
        let mut out = Vec::new();
        push(0x9C, &vec![7; 0x1_0002], &mut out);
        assert_eq!(hex::encode_upper(&out[..6]), "9C8301000207", "no other length");
        assert_eq!(walk(&out), Err(TlvError::Overlong { offset: 0 }));
    }
}
