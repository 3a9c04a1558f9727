//! The container of a clearing file: length-prefixed records (VBS), in blocks or not. Knows nothing
//! of what a record holds.
//!
//! ```text
//! VBS      { u32 length, big-endian · record }*  00 00 00 00
//! blocked  { 1012 octets of the VBS stream · 40 40 }*     the last block filled with 40
//! ```
//!
//! A stream of exactly k × 1012 octets needs no further block; writers that add one of 40s exist, and
//! it is read as well.

use super::{Reason, Violation};

/// Octets of the stream in a block.
const PAYLOAD: usize = 1012;
/// Octets of a block.
const BLOCK: usize = 1014;
/// What fills blocks, in every encoding.
const PAD: u8 = 0x40;
/// The longest record that readers take.
pub(super) const MAX_RECORD: usize = 6000;

/// How the stream lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocking {
    /// In blocks of 1014 octets.
    #[default]
    Blocked,
    /// As it is.
    Vbs,
}

impl Blocking {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Blocked, Self::Vbs];

    /// Its name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Vbs => "vbs",
        }
    }

    /// The blocking of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }

    /// How a file is blocked: blocked when every 1014th octet pair is `40 40` and nothing is left over.
    #[must_use]
    pub fn detect(file: &[u8]) -> Self {
        let blocked = !file.is_empty()
            && file.len().is_multiple_of(BLOCK)
            && file.chunks(BLOCK).all(|block| block.ends_with(&[PAD, PAD]));
        if blocked { Self::Blocked } else { Self::Vbs }
    }

    /// The offset in the file of an offset in the stream.
    pub(super) const fn file_offset(self, offset: usize) -> usize {
        match self {
            Self::Vbs => offset,
            Self::Blocked => offset / PAYLOAD * BLOCK + offset % PAYLOAD,
        }
    }

    /// The stream of a file.
    pub(super) fn unblock(self, file: &[u8]) -> Vec<u8> {
        match self {
            Self::Vbs => file.to_vec(),
            Self::Blocked => {
                file.chunks(BLOCK).flat_map(|block| block.iter().take(PAYLOAD)).copied().collect()
            }
        }
    }

    /// The file of a stream.
    pub(super) fn block(self, stream: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Vbs => stream,
            Self::Blocked => {
                let mut file = Vec::with_capacity(stream.len() / PAYLOAD * BLOCK + BLOCK);
                for chunk in stream.chunks(PAYLOAD) {
                    file.extend_from_slice(chunk);
                    file.resize(file.len() + BLOCK - chunk.len(), PAD);
                }
                file
            }
        }
    }
}

/// Appends a record to a stream.
///
/// # Errors
/// [`Reason::RecordLength`] when it is empty or longer than readers take.
pub(super) fn push(stream: &mut Vec<u8>, record: &[u8]) -> Result<(), Reason> {
    let length = u32::try_from(record.len()).map_err(|_| Reason::RecordLength)?;
    if record.is_empty() || record.len() > MAX_RECORD {
        return Err(Reason::RecordLength);
    }
    stream.extend_from_slice(&length.to_be_bytes());
    stream.extend_from_slice(record);
    Ok(())
}

/// Appends the end marker.
pub(super) fn end(stream: &mut Vec<u8>) {
    stream.extend_from_slice(&[0; 4]);
}

/// A record in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framed<'a> {
    /// Offset of its first octet, after the length, in the stream.
    pub(super) offset: usize,
    /// Its octets.
    pub(super) record: &'a [u8],
}

/// Walks the lengths of a stream to its end marker; nothing but padding may follow.
///
/// # Errors
/// [`Violation`] with offsets in the file.
pub(super) fn records(stream: &[u8], blocking: Blocking) -> Result<Vec<Framed<'_>>, Violation> {
    let mut found: Vec<Framed<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let wrong =
            |reason| Violation { record: Some(found.len() + 1), offset: blocking.file_offset(at), reason };
        let head = stream.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let length = u32::from_be_bytes(*head.ok_or_else(|| wrong(Reason::NoEndMarker))?) as usize;
        if length == 0 {
            break;
        }
        if length > MAX_RECORD {
            return Err(wrong(Reason::RecordLength));
        }
        let offset = at + 4;
        let record = stream.get(offset..offset + length).ok_or_else(|| wrong(Reason::RecordCut))?;
        found.push(Framed { offset, record });
        at = offset + length;
    }
    let rest = stream.get(at + 4..).unwrap_or_default();
    let padding = blocking == Blocking::Blocked;
    match rest.iter().position(|octet| !(padding && *octet == PAD)) {
        None => Ok(found),
        Some(place) => Err(Violation {
            record: None,
            offset: blocking.file_offset(at + 4 + place),
            reason: Reason::AfterEnd,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(sizes: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        for size in sizes {
            push(&mut stream, &vec![0xF1; *size]).unwrap();
        }
        end(&mut stream);
        stream
    }

    #[test]
    fn streams_are_blocked_and_unblocked() {
        // One record of n octets makes a stream of n + 8.
        let rows = [
            (1011 - 8, 1014),
            (1012 - 8, 1014),
            (1013 - 8, 2028),
            (2024 - 8, 2028),
            (2025 - 8, 3042),
            (1, 1014),
        ];
        for (size, file_length) in rows {
            let stream = stream_of(&[size]);
            let file = Blocking::Blocked.block(stream.clone());
            assert_eq!(file.len(), file_length, "{size}");
            assert_eq!(Blocking::detect(&file), Blocking::Blocked, "{size}");
            let back = Blocking::Blocked.unblock(&file);
            assert_eq!(back.get(..stream.len()), Some(stream.as_slice()), "{size}");
            assert_eq!(records(&back, Blocking::Blocked).unwrap().len(), 1, "{size}");
            assert_eq!(Blocking::detect(&stream), Blocking::Vbs, "{size}");
            assert_eq!(records(&stream, Blocking::Vbs).unwrap().len(), 1, "{size}");
        }
    }

    #[test]
    fn a_needless_block_of_padding_is_read() {
        let mut file = Blocking::Blocked.block(stream_of(&[1012 - 8]));
        file.extend_from_slice(&[PAD; BLOCK]);
        let stream = Blocking::Blocked.unblock(&file);
        assert_eq!(records(&stream, Blocking::Blocked).unwrap().len(), 1);
    }

    #[test]
    fn broken_streams_name_the_place() {
        let whole = stream_of(&[10, 20]);
        let cut = |length: usize| whole.get(..length).unwrap().to_vec();
        let mut long = whole.clone();
        long[14] = 1;
        let mut tail = whole.clone();
        tail.push(PAD);
        let rows = [
            ("no end marker", cut(38), Some(3), 38, Reason::NoEndMarker),
            ("half an end marker", cut(40), Some(3), 38, Reason::NoEndMarker),
            ("a record cut short", cut(30), Some(2), 14, Reason::RecordCut),
            ("a record too long", long, Some(2), 14, Reason::RecordLength),
            ("padding where there are no blocks", tail, None, 42, Reason::AfterEnd),
            ("nothing", vec![], Some(1), 0, Reason::NoEndMarker),
        ];
        for (name, stream, record, offset, reason) in rows {
            assert_eq!(records(&stream, Blocking::Vbs), Err(Violation { record, offset, reason }), "{name}");
        }
        let mut stream = Vec::new();
        assert_eq!(push(&mut stream, &[]), Err(Reason::RecordLength));
        assert_eq!(push(&mut stream, &[0; MAX_RECORD + 1]), Err(Reason::RecordLength));
    }

    #[test]
    fn offsets_are_of_the_file() {
        for (stream, file) in [(0, 0), (1011, 1011), (1012, 1014), (2024, 2028), (2030, 2034)] {
            assert_eq!(Blocking::Blocked.file_offset(stream), file);
            assert_eq!(Blocking::Vbs.file_offset(stream), stream);
        }
    }
}
