//! Frames of a stream, as tokio-util's codec traits want them. The framing itself is
//! `iso8583-spec`'s; nothing here knows what is inside a frame.

use bytes::{Buf, Bytes, BytesMut};
use iso8583_spec::{FrameError, Framing};
use tokio_util::codec::{Decoder, Encoder};
use zeroize::Zeroizing;

/// Why a stream gives no further frame.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The length prefix is unreadable or above the limit; the stream cannot be resynchronised.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A framing with the longest body it accepts.
#[derive(Debug, Clone, Copy)]
pub struct FrameCodec {
    framing: Framing,
    max: usize,
}

impl FrameCodec {
    /// Frames of `framing` with bodies of at most `max` octets.
    #[must_use]
    pub const fn new(framing: Framing, max: usize) -> Self {
        Self { framing, max }
    }

    /// Takes the next body off `buffer`; empty for a keep-alive, `None` when more octets are
    /// needed. The body is copied out, so that the buffer is used again and again; what was taken is wiped in it.
    ///
    /// # Errors
    /// [`FrameError`], before anything is allocated for the announced length.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(frame) = self.framing.decode(buffer, self.max)? else {
            make_room(buffer);
            return Ok(None);
        };
        let body = buffer.get(frame.body).map(Bytes::copy_from_slice).unwrap_or_default();
        buffer.iter_mut().take(frame.consumed).for_each(|octet| *octet = 0);
        buffer.advance(frame.consumed);
        Ok(Some(body))
    }

    /// Appends a frame to what is due on a connection.
    ///
    /// # Errors
    /// [`FrameError`] when the length prefix cannot express the body's length; `out` is unchanged.
    pub fn append(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        self.framing.encode(body, out)
    }
}

/// Moves what is left to the front of a full buffer. The buffer would do so itself, and leave a copy behind.
fn make_room(buffer: &mut BytesMut) {
    if buffer.len() == buffer.capacity() {
        let rest = Zeroizing::new(buffer.to_vec());
        buffer.fill(0);
        buffer.clear();
        buffer.extend_from_slice(&rest);
    }
}

/// Empties a buffer that is used again, and wipes it.
pub(super) fn wipe(buffer: &mut Vec<u8>) {
    buffer.fill(0);
    buffer.clear();
}

/// What went wrong, as a label of a metric.
pub(super) const fn reason(error: &FrameError) -> &'static str {
    match error {
        FrameError::TooLong { .. } | FrameError::Backlog { .. } => "oversize",
        FrameError::NotDigits { .. } | FrameError::TooShort { .. } => "length",
        FrameError::Filler { .. } => "filler",
        FrameError::Trailer { .. } => "trailer",
        FrameError::NotStx { .. } | FrameError::Control { .. } => "control",
        FrameError::Acknowledgement { .. } => "acknowledgement",
        FrameError::Lrc { .. } => "lrc",
        FrameError::CutShort { .. } => "half-frame",
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, CodecError> {
        Ok(self.next(buffer)?)
    }
}

impl<Body: AsRef<[u8]>> Encoder<Body> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, body: Body, buffer: &mut BytesMut) -> Result<(), CodecError> {
        let body = body.as_ref();
        let mut frame = Vec::with_capacity(body.len() + 4);
        self.append(body, &mut frame)?;
        buffer.extend_from_slice(&frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_split_anywhere_gives_its_frames() {
        let rows: [(Framing, &[u8]); 2] = [
            (Framing::LENGTH_2, b"\x00\x05hello\x00\x00\x00\x02ab\x00\x09ha"),
            (Framing::ASCII_4, b"0005hello00000002ab0009ha"),
        ];
        for (framing, stream) in rows {
            for split in 0..=stream.len() {
                let mut codec = FrameCodec::new(framing, 16);
                let (mut buffer, mut bodies) = (BytesMut::new(), Vec::new());
                for part in [&stream[..split], &stream[split..]] {
                    buffer.extend_from_slice(part);
                    while let Some(body) = codec.decode(&mut buffer).unwrap() {
                        bodies.push(body);
                    }
                }
                assert_eq!(bodies, [&b"hello"[..], b"", b"ab"], "{framing} at {split}");
                assert!(!buffer.is_empty(), "the half frame is kept");
            }
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_limits_hold() {
        for (_, framing) in Framing::NAMED {
            let mut codec = FrameCodec::new(*framing, 16);
            let mut buffer = BytesMut::new();
            codec.encode(&b"0123456789abcdef"[..], &mut buffer).unwrap();
            codec.encode(&b"0123456789abcdefg"[..], &mut buffer).unwrap();
            assert_eq!(codec.decode(&mut buffer).unwrap().unwrap(), &b"0123456789abcdef"[..]);
            assert!(matches!(codec.decode(&mut buffer), Err(CodecError::Frame(FrameError::TooLong { .. }))));
        }
        for framing in [Framing::LENGTH_2, Framing::ASCII_4] {
            assert!(matches!(
                FrameCodec::new(framing, 16).encode(vec![0; 70_000], &mut BytesMut::new()),
                Err(CodecError::Frame(FrameError::TooLong { .. }))
            ));
        }
    }
}
