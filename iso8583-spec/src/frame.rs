//! Where one message ends in a stream: the length prefix before it.
//!
//! Pure: it reads a buffer and answers with a range. Nothing is allocated from an announced length, and the
//! limit is checked before anything waits for more octets.

use std::ops::Range;

use crate::FrameError;

/// How the length of a message is written before it. The length never counts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `length-2`: two octets, big-endian.
    Length2,
    /// `ascii-4`: four ASCII decimal digits.
    Ascii4,
}

/// One message in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the body lies. An empty body is a keep-alive.
    pub body: Range<usize>,
    /// Octets to drop from the front of the buffer once the body is dealt with.
    pub consumed: usize,
}

impl Framing {
    /// Every framing, in the order of their names in the documentation.
    pub const ALL: &'static [Framing] = &[Framing::Length2, Framing::Ascii4];

    /// By the name that dialects and the command line use.
    pub fn by_name(name: &str) -> Option<Framing> {
        Framing::ALL.iter().copied().find(|framing| framing.name() == name)
    }

    /// The name that dialects and the command line use.
    pub fn name(&self) -> &'static str {
        match self {
            Framing::Length2 => "length-2",
            Framing::Ascii4 => "ascii-4",
        }
    }

    /// The longest body the prefix can announce, in octets.
    fn limit(&self) -> usize {
        match self {
            Framing::Length2 => 0xFFFF,
            Framing::Ascii4 => 9999,
        }
    }

    /// Finds the first frame in `buf`; `None` asks for more octets.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the prefix announces more than `max` octets of body;
    /// [`FrameError::NotDigits`] at the first octet of a decimal prefix that is none.
    pub fn decode(&self, buf: &[u8], max: usize) -> Result<Option<Frame>, FrameError> {
        let prefix = match self {
            Framing::Length2 => {
                buf.first_chunk::<2>().map(|octets| (2, usize::from(u16::from_be_bytes(*octets))))
            }
            Framing::Ascii4 => decimal(buf)?.map(|length| (4, length)),
        };
        let Some((start, length)) = prefix else { return Ok(None) };
        if length > max {
            return Err(FrameError::TooLong { length, max });
        }
        let end = start + length;
        Ok((buf.len() >= end).then_some(Frame { body: start..end, consumed: end }))
    }

    /// Appends the length prefix and `body` to `out`.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the prefix cannot say the body's length; `out` is unchanged then.
    pub fn encode(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let (length, max) = (body.len(), self.limit());
        let too_long = FrameError::TooLong { length, max };
        if length > max {
            return Err(too_long);
        }
        match self {
            Framing::Length2 => {
                out.extend_from_slice(&u16::try_from(length).map_err(|_| too_long)?.to_be_bytes())
            }
            Framing::Ascii4 => out.extend_from_slice(format!("{length:04}").as_bytes()),
        }
        out.extend_from_slice(body);
        Ok(())
    }
}

/// The value of four ASCII digits at the front of `buf`; `None` when fewer than four octets are there yet.
fn decimal(buf: &[u8]) -> Result<Option<usize>, FrameError> {
    let digits = buf.get(..4).unwrap_or(buf);
    if let Some(offset) = digits.iter().position(|octet| !octet.is_ascii_digit()) {
        return Err(FrameError::NotDigits { offset });
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + usize::from(digit & 15));
    Ok((digits.len() == 4).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_framing_split_at_every_byte() {
        for framing in Framing::ALL {
            let bodies: [&[u8]; 4] = [b"first message", b"", b"x", &[0xFF; 300]];
            let mut stream = Vec::new();
            for body in bodies {
                framing.encode(body, &mut stream).unwrap();
            }
            for split in 0..=stream.len() {
                let (mut seen, mut buf) = (Vec::new(), Vec::new());
                for piece in [&stream[..split], &stream[split..]] {
                    buf.extend_from_slice(piece);
                    while let Some(frame) = framing.decode(&buf, 300).unwrap() {
                        seen.push(buf[frame.body].to_vec());
                        buf.drain(..frame.consumed);
                    }
                }
                assert_eq!(seen, bodies, "{} split at {split}", framing.name());
                assert!(buf.is_empty());
            }
        }
    }

    #[test]
    fn bad_prefixes() {
        let too_long = |length, max| Err(FrameError::TooLong { length, max });
        type Row = (Framing, &'static [u8], usize, Result<Option<Frame>, FrameError>);
        let rows: [Row; 9] = [
            (Framing::Length2, &[0xFF, 0xFF], 4096, too_long(65535, 4096)),
            (Framing::Length2, &[0x10, 0x01], 4096, too_long(4097, 4096)),
            (Framing::Length2, &[0x10, 0x00], 4096, Ok(None)),
            (Framing::Length2, &[0x00, 0x00], 4096, Ok(Some(Frame { body: 2..2, consumed: 2 }))),
            (Framing::Ascii4, b"0000", 4096, Ok(Some(Frame { body: 4..4, consumed: 4 }))),
            (Framing::Ascii4, b"9999", 8192, too_long(9999, 8192)),
            (Framing::Ascii4, b"01x", 8192, Err(FrameError::NotDigits { offset: 2 })),
            (Framing::Ascii4, b"+123", 8192, Err(FrameError::NotDigits { offset: 0 })),
            (Framing::Ascii4, b"012", 8192, Ok(None)),
        ];
        for (framing, buf, max, expected) in rows {
            assert_eq!(framing.decode(buf, max), expected, "{} {buf:02X?}", framing.name());
        }
    }

    #[test]
    fn a_body_too_long_for_its_prefix_is_refused() {
        for (framing, limit) in [(Framing::Length2, 65535), (Framing::Ascii4, 9999)] {
            let mut out = vec![1];
            assert!(framing.encode(&vec![0; limit], &mut Vec::new()).is_ok());
            let refused = framing.encode(&vec![0; limit + 1], &mut out);
            assert_eq!(refused, Err(FrameError::TooLong { length: limit + 1, max: limit }));
            assert_eq!(out, [1]);
        }
    }

    #[test]
    fn names_round_trip() {
        for framing in Framing::ALL {
            assert_eq!(Framing::by_name(framing.name()), Some(*framing));
        }
        assert_eq!(Framing::by_name("length-3"), None);
    }
}
