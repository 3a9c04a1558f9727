//! Where one message ends in a stream: the length before it, or the control characters around it.
//!
//! A framing is data: those with a name are constants, and a dialect may declare a table of its own
//! (`doc/dialects.md`, Framing, is the source of every rule here). Knows nothing of what is inside a message.
//! Nothing is allocated from an announced length, and the limit is checked as soon as the length is there.
//!
//! ```text
//! by length   | length 1..8 | filler 00 0..4 | body | trailer 0..4 |
//!              '- if inclusive               '------ counted ------'
//! keep-alive  | length of 0 | filler |
//! stx-etx     | STX 02 | body without 02 and 03 | ETX 03 | LRC |
//!                      '---- exclusive or: LRC ----------'
//! ```

use std::{fmt, ops::Range};

use crate::FrameError;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;

/// How a stream is cut into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing(Layout);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Counted(Counted),
    StxEtx,
}

/// A length and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    form: LengthForm,
    octets: u8,
    inclusive: bool,
    filler: u8,
    trailer: [u8; 4],
    trailer_octets: u8,
}

/// The parts of a framing by length, as a dialect declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingParts<'a> {
    /// How the length is written.
    pub length: LengthForm,
    /// Octets of the length on the wire: 1 to 8, 1 to 4 when binary.
    pub octets: u8,
    /// Whether the length counts its own octets too.
    pub inclusive: bool,
    /// Octets of zero after the length, 0 to 4, never counted.
    pub filler: u8,
    /// What follows every message and is counted, 0 to 4 octets. A keep-alive has none.
    pub trailer: &'a [u8],
}

/// How a length is written, the most significant octet first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthForm {
    /// A binary number.
    Binary,
    /// Packed decimal digits, two an octet.
    Bcd,
    /// ASCII decimal digits.
    Ascii,
    /// ASCII hexadecimal characters; upper case is written, either is read.
    Hex,
}

/// One message in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the body lies. An empty body is a keep-alive (a poll, in `vap`).
    pub body: Range<usize>,
    /// Octets to drop from the front of the buffer once the body is dealt with.
    pub consumed: usize,
}

impl Framing {
    /// `length-2`: two octets, big-endian.
    pub const LENGTH_2: Framing = Framing::of(BINARY_2);
    /// `length-2-inclusive`: the same, the length counts itself (American Express).
    pub const LENGTH_2_INCLUSIVE: Framing = Framing::of(FramingParts { inclusive: true, ..BINARY_2 });
    /// `bcd-2`: two octets of packed digits.
    pub const BCD_2: Framing = Framing::of(FramingParts { length: LengthForm::Bcd, ..BINARY_2 });
    /// `ascii-4`: four ASCII digits.
    pub const ASCII_4: Framing = Framing::of(ASCII_4);
    /// `ascii-4-inclusive`: the same, the length counts itself.
    pub const ASCII_4_INCLUSIVE: Framing = Framing::of(FramingParts { inclusive: true, ..ASCII_4 });
    /// `hex-4`: four hexadecimal characters.
    pub const HEX_4: Framing = Framing::of(FramingParts { length: LengthForm::Hex, ..ASCII_4 });
    /// `length-4`: four octets, big-endian.
    pub const LENGTH_4: Framing = Framing::of(FramingParts { octets: 4, ..BINARY_2 });
    /// `vap`: two octets, then two of zero that are not counted (Visa BASE I). A length of zero is a poll.
    pub const VAP: Framing = Framing::of(FramingParts { filler: 2, ..BINARY_2 });
    /// `base24`: two octets, the message, and ETX, which is counted.
    pub const BASE24: Framing = Framing::of(FramingParts { trailer: &[ETX], ..BINARY_2 });
    /// `stx-etx`: STX, the message, ETX and the exclusive or of all after STX. Nothing is acknowledged: a bare ACK
    /// or NAK is an error of its own, for a peer that sends one waits for ours and would send its frames again.
    pub const STX_ETX: Framing = Framing(Layout::StxEtx);

    /// Every framing with a name, in the order of the documentation.
    pub const NAMED: &'static [(&'static str, Framing)] = &[
        ("length-2", Framing::LENGTH_2),
        ("length-2-inclusive", Framing::LENGTH_2_INCLUSIVE),
        ("bcd-2", Framing::BCD_2),
        ("ascii-4", Framing::ASCII_4),
        ("ascii-4-inclusive", Framing::ASCII_4_INCLUSIVE),
        ("hex-4", Framing::HEX_4),
        ("length-4", Framing::LENGTH_4),
        ("vap", Framing::VAP),
        ("base24", Framing::BASE24),
        ("stx-etx", Framing::STX_ETX),
    ];

    /// A framing of one's own.
    ///
    /// # Errors
    /// Which of the parts is out of its bounds, in words.
    pub fn new(parts: FramingParts<'_>) -> Result<Framing, &'static str> {
        let most = if parts.length == LengthForm::Binary { 4 } else { 8 };
        if !(1..=most).contains(&parts.octets) {
            return Err("a length has 1 to 8 octets, a binary one at most 4");
        }
        if parts.filler > 4 || parts.trailer.len() > 4 {
            return Err("a filler and a trailer have at most 4 octets each");
        }
        Ok(Framing::of(parts))
    }

    /// By the name that dialects and the command line use.
    pub fn by_name(name: &str) -> Option<Framing> {
        Framing::NAMED.iter().find(|(named, _)| *named == name).map(|(_, framing)| *framing)
    }

    /// The name that dialects and the command line use; `None` for a framing without one.
    pub fn name(&self) -> Option<&'static str> {
        Framing::NAMED.iter().find(|(_, framing)| framing == self).map(|(name, _)| *name)
    }

    /// Finds the first frame in `buf`; `None` asks for more octets. `max` counts the octets of a body.
    ///
    /// # Errors
    /// The stream is lost after any of them, and none depends on where the stream was split.
    /// - By length: [`FrameError::NotDigits`]; [`FrameError::TooShort`]; [`FrameError::TooLong`] as soon as the
    ///   length is there; [`FrameError::Filler`]; [`FrameError::Trailer`].
    /// - `stx-etx`: [`FrameError::NotStx`], for noise is not skipped; [`FrameError::Acknowledgement`];
    ///   [`FrameError::Control`]; [`FrameError::TooLong`] at `max + 1` octets without ETX; [`FrameError::Lrc`].
    pub fn decode(&self, buf: &[u8], max: usize) -> Result<Option<Frame>, FrameError> {
        match &self.0 {
            Layout::Counted(counted) => counted.decode(buf, max),
            Layout::StxEtx => decode_stx_etx(buf, max),
        }
    }

    /// Appends `body` in its frame to `out`; an empty one is a keep-alive. `out` is unchanged after an error.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the length cannot say it; [`FrameError::Control`] when there is STX or ETX in
    /// the body of an `stx-etx` frame.
    pub fn encode(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        match &self.0 {
            Layout::Counted(counted) => counted.encode(body, out),
            Layout::StxEtx => encode_stx_etx(body, out),
        }
    }

    /// Octets on the wire besides the body, at most.
    fn overhead(&self) -> usize {
        match &self.0 {
            Layout::Counted(counted) => counted.start() + counted.trailer().len(),
            Layout::StxEtx => 3,
        }
    }

    /// Of parts within their bounds.
    const fn of(parts: FramingParts<'_>) -> Framing {
        let FramingParts { length: form, octets, inclusive, filler, trailer } = parts;
        let (trailer, trailer_octets) = match *trailer {
            [] => ([0; 4], 0),
            [a] => ([a, 0, 0, 0], 1),
            [a, b] => ([a, b, 0, 0], 2),
            [a, b, c] => ([a, b, c, 0], 3),
            [a, b, c, d, ..] => ([a, b, c, d], 4),
        };
        Framing(Layout::Counted(Counted { form, octets, inclusive, filler, trailer, trailer_octets }))
    }
}

const BINARY_2: FramingParts<'_> =
    FramingParts { length: LengthForm::Binary, octets: 2, inclusive: false, filler: 0, trailer: &[] };
const ASCII_4: FramingParts<'_> = FramingParts { length: LengthForm::Ascii, octets: 4, ..BINARY_2 };

impl fmt::Display for Framing {
    /// The name, or the parts: `ascii 6 inclusive filler 2 trailer 03`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = match (self.name(), &self.0) {
            (None, Layout::Counted(counted)) => counted,
            (name, _) => return f.write_str(name.unwrap_or_default()),
        };
        write!(f, "{} {}", counted.form.name(), counted.octets)?;
        f.write_str(if counted.inclusive { " inclusive" } else { "" })?;
        if counted.filler > 0 {
            write!(f, " filler {}", counted.filler)?;
        }
        f.write_str(if counted.trailer_octets > 0 { " trailer " } else { "" })?;
        counted.trailer().iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

impl Counted {
    fn decode(&self, buf: &[u8], max: usize) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.length(buf)? else { return Ok(None) };
        // At most 16 digits: it overflows a 32-bit `usize` only, and is too long then.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let own = self.own();
        let trailer = if length == own { &[] } else { self.trailer() };
        let least = own + trailer.len();
        let Some(body) = length.checked_sub(least) else {
            return Err(FrameError::TooShort { offset: 0, length, least });
        };
        if body > max {
            return Err(FrameError::TooLong { length: body, max });
        }
        let (octets, start) = (usize::from(self.octets), self.start());
        if self.filler > 0
            && let Some(at) = buf.iter().take(start).skip(octets).position(|octet| *octet != 0)
        {
            return Err(FrameError::Filler { offset: octets + at });
        }
        let end = start.saturating_add(body);
        let consumed = end.saturating_add(trailer.len());
        let Some(found) = buf.get(end..consumed) else { return Ok(None) };
        if let Some(at) = found.iter().zip(trailer).position(|(found, wanted)| found != wanted) {
            return Err(FrameError::Trailer { offset: end + at });
        }
        Ok(Some(Frame { body: start..end, consumed }))
    }

    /// What the length says; `None` when not all of it is there.
    fn length(&self, buf: &[u8]) -> Result<Option<u64>, FrameError> {
        let octets = usize::from(self.octets);
        let mut length = 0;
        for (offset, octet) in buf.iter().take(octets).enumerate() {
            let digit = self.form.digit(*octet).ok_or(FrameError::NotDigits { offset })?;
            length = length * self.form.base() + u64::from(digit);
        }
        Ok((buf.len() >= octets).then_some(length))
    }

    fn encode(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let trailer = if body.is_empty() { &[] } else { self.trailer() };
        let length = body.len().saturating_add(self.own() + trailer.len());
        let too_long = || FrameError::TooLong { length: body.len(), max: self.limit() };
        let prefix = self.prefix(length).ok_or_else(too_long)?;
        let start = self.start();
        out.reserve(start + body.len() + trailer.len());
        out.extend_from_slice(prefix.get(..start).unwrap_or_default());
        out.extend_from_slice(body);
        out.extend_from_slice(trailer);
        Ok(())
    }

    /// The length and the filler, zeros after them; `None` when it cannot be said.
    fn prefix(&self, length: usize) -> Option<[u8; 16]> {
        // Put together in a register: an array of single octets, read again at once, stalls the processor.
        let (mut prefix, mut rest, base) = (0_u128, length as u64, self.form.base());
        for _ in 0..self.octets {
            let [digit, ..] = (rest % base).to_le_bytes();
            prefix = (u128::from(self.form.octet(digit)) << 120) | (prefix >> 8);
            rest /= base;
        }
        (rest == 0).then_some(prefix.to_be_bytes())
    }

    /// The longest body that the length can say, in octets.
    fn limit(&self) -> usize {
        let largest = self.form.base().pow(u32::from(self.octets)) - 1;
        let largest = usize::try_from(largest).unwrap_or(usize::MAX);
        largest - self.own() - self.trailer().len()
    }

    /// Octets of the length that it counts itself.
    fn own(&self) -> usize {
        if self.inclusive { usize::from(self.octets) } else { 0 }
    }

    /// Where the body begins.
    fn start(&self) -> usize {
        usize::from(self.octets) + usize::from(self.filler)
    }

    fn trailer(&self) -> &[u8] {
        self.trailer.get(..usize::from(self.trailer_octets)).unwrap_or_default()
    }
}

impl LengthForm {
    fn name(self) -> &'static str {
        match self {
            LengthForm::Binary => "binary",
            LengthForm::Bcd => "bcd",
            LengthForm::Ascii => "ascii",
            LengthForm::Hex => "hex",
        }
    }

    /// How many numbers an octet can say.
    fn base(self) -> u64 {
        match self {
            LengthForm::Binary => 256,
            LengthForm::Bcd => 100,
            LengthForm::Ascii => 10,
            LengthForm::Hex => 16,
        }
    }

    /// The number that an octet says.
    fn digit(self, octet: u8) -> Option<u8> {
        match self {
            LengthForm::Binary => Some(octet),
            LengthForm::Bcd => {
                let (high, low) = (octet >> 4, octet & 15);
                (high < 10 && low < 10).then_some(high * 10 + low)
            }
            LengthForm::Ascii => octet.is_ascii_digit().then_some(octet & 15),
            LengthForm::Hex => char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
        }
    }

    /// The octet that says a number below the base.
    fn octet(self, digit: u8) -> u8 {
        match self {
            LengthForm::Binary => digit,
            LengthForm::Bcd => ((digit / 10) << 4) | (digit % 10),
            LengthForm::Hex if digit > 9 => b'A' - 10 + digit,
            LengthForm::Ascii | LengthForm::Hex => b'0' + digit,
        }
    }
}

fn decode_stx_etx(buf: &[u8], max: usize) -> Result<Option<Frame>, FrameError> {
    let Some((first, rest)) = buf.split_first() else { return Ok(None) };
    match *first {
        STX => {}
        octet @ (ACK | NAK) => return Err(FrameError::Acknowledgement { offset: 0, octet }),
        _ => return Err(FrameError::NotStx { offset: 0 }),
    }
    let window = rest.get(..=max).unwrap_or(rest);
    let Some(body) = control(window) else {
        let length = window.len();
        return if length > max { Err(FrameError::TooLong { length, max }) } else { Ok(None) };
    };
    let (etx, end) = (body + 1, body + 2);
    if buf.get(etx) == Some(&STX) {
        return Err(FrameError::Control { offset: etx });
    }
    let Some(lrc) = buf.get(end) else { return Ok(None) };
    if *lrc != exclusive_or(rest.get(..=body).unwrap_or_default()) {
        return Err(FrameError::Lrc { offset: end });
    }
    Ok(Some(Frame { body: 1..etx, consumed: end + 1 }))
}

fn encode_stx_etx(body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    if let Some(offset) = control(body) {
        return Err(FrameError::Control { offset });
    }
    out.reserve(body.len().saturating_add(3));
    out.push(STX);
    out.extend_from_slice(body);
    out.extend_from_slice(&[ETX, exclusive_or(body) ^ ETX]);
    Ok(())
}

/// Where the first STX or ETX is.
fn control(octets: &[u8]) -> Option<usize> {
    octets.iter().position(|octet| matches!(*octet, STX | ETX))
}

fn exclusive_or(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |sum, octet| sum ^ octet)
}

/// Cuts frames from a stream that comes in pieces of any size.
///
/// Take frames until there is none, then push again: it holds the piece pushed last and, from before, at most one
/// frame.
pub struct Deframer {
    framing: Framing,
    max: usize,
    held: Vec<u8>,
    /// Octets of `held` that are in frames given already.
    given: usize,
    fault: Option<FrameError>,
}

impl Deframer {
    /// Cuts frames of `framing` with bodies of at most `max` octets.
    pub fn new(framing: Framing, max: usize) -> Deframer {
        Deframer { framing, max, held: Vec::new(), given: 0, fault: None }
    }

    /// Adds what came; nothing after an error. When more than a frame waits to be taken, the piece is refused and
    /// the stream lost: [`FrameError::Backlog`] comes after the frames that wait.
    pub fn push(&mut self, piece: &[u8]) {
        let (held, max) = (self.pending(), self.max.saturating_add(self.framing.overhead()));
        if held > max {
            self.fault.get_or_insert(FrameError::Backlog { held, max });
        }
        if self.fault.is_some() {
            return;
        }
        // What is moved came with the last piece, unless frames wait: every octet is moved once.
        self.held.drain(..self.given);
        self.given = 0;
        self.held.extend_from_slice(piece);
    }

    /// Takes the body of the next frame, empty for a keep-alive; `None` asks for more octets.
    ///
    /// # Errors
    /// Those of [`Framing::decode`], with offsets from the start of the frame, and [`FrameError::Backlog`]. The
    /// stream is lost: the same error comes ever after.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let waiting = self.held.get(self.given..).unwrap_or_default();
        match self.framing.decode(waiting, self.max) {
            Ok(Some(Frame { body, consumed })) => {
                let start = self.given;
                self.given += consumed;
                Ok(self.held.get(start + body.start..start + body.end))
            }
            Ok(None) => self.fault.map_or(Ok(None), Err),
            Err(fault) => {
                (self.held, self.given, self.fault) = (Vec::new(), 0, Some(fault));
                Err(fault)
            }
        }
    }

    /// Octets that came and are in no frame given yet; 0 after an unreadable frame.
    pub fn pending(&self) -> usize {
        self.held.len().saturating_sub(self.given)
    }

    /// Whether nothing waits, not even half a frame.
    pub fn is_empty(&self) -> bool {
        self.pending() == 0
    }

    /// The stream has ended, and all frames are taken.
    ///
    /// # Errors
    /// The error that lost the stream before, or [`FrameError::CutShort`] when octets are left over.
    pub fn finish(&self) -> Result<(), FrameError> {
        match (self.fault, self.pending()) {
            (Some(fault), _) => Err(fault),
            (None, 0) => Ok(()),
            (None, octets) => Err(FrameError::CutShort { octets }),
        }
    }
}

impl fmt::Debug for Deframer {
    /// Without content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deframer { framing, max, fault, .. } = self;
        write!(f, "Deframer({framing}, max {max}, {} pending, {fault:?})", self.pending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Bytes = &'static [u8];

    const LENGTH: &str = "a length has 1 to 8 octets, a binary one at most 4";
    const ENDS: &str = "a filler and a trailer have at most 4 octets each";
    const ASCII_6: FramingParts<'_> = FramingParts { octets: 6, trailer: &[ETX], ..ASCII_4 };
    const BCD_8: FramingParts<'_> = FramingParts { length: LengthForm::Bcd, octets: 8, ..ASCII_6 };
    const HEX_8: FramingParts<'_> = FramingParts { length: LengthForm::Hex, trailer: b"\r\n\0\xFF", ..BCD_8 };
    const FILLED: FramingParts<'_> = FramingParts { inclusive: true, filler: 4, ..ASCII_6 };

    fn own(parts: FramingParts<'_>) -> Framing {
        Framing::new(parts).unwrap()
    }

    fn every() -> impl Iterator<Item = Framing> {
        let named = Framing::NAMED.iter().map(|(_, framing)| *framing);
        named.chain([BCD_8, HEX_8, FILLED].map(own))
    }

    fn framed(framing: Framing, bodies: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for body in bodies {
            framing.encode(body, &mut out).unwrap();
        }
        out
    }

    /// The bodies that come out of the pieces, and how the stream ends.
    fn cut<'a>(
        (framing, max): (Framing, usize),
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
        let (mut deframer, mut bodies) = (Deframer::new(framing, max), Vec::new());
        for piece in pieces {
            deframer.push(piece);
            while let Ok(Some(body)) = deframer.next_frame() {
                bodies.push(body.to_vec());
            }
            assert_eq!(deframer.next_frame().err(), deframer.fault, "an error stays");
            assert!(deframer.fault.is_none() || deframer.held.capacity() == 0, "and nothing is held");
        }
        (bodies, deframer.finish())
    }

    /// pythales dies of a frame in two pieces; jPOS does not see a stream that ends before ETX.
    #[test]
    fn every_framing_split_at_every_octet_and_glued() {
        let bodies: [&[u8]; 5] = [b"first message", b"", b"x", &[0xFF; 300], b""];
        let all = bodies.map(<[u8]>::to_vec).to_vec();
        for framing in every() {
            let (stream, max) = (framed(framing, &bodies), 300);
            for at in 0..=stream.len() {
                let (before, after) = stream.split_at(at);
                let seen = cut((framing, max), [before, after]);
                assert_eq!(seen, (all.clone(), Ok(())), "{framing} split at {at}");
                let (whole, end) = cut((framing, max), before.chunks(1));
                let octets = at - framed(framing, &bodies[..whole.len()]).len();
                let expected = if octets == 0 { Ok(()) } else { Err(FrameError::CutShort { octets }) };
                assert_eq!((end, &all[..whole.len()]), (expected, &whole[..]), "{framing} ends after {at}");
            }
        }
    }

    /// jPOS frames 65,535 octets as none and takes lengths modulo 10,000; others write them unchecked.
    #[test]
    fn lengths_on_the_wire() {
        const LENGTHS: [usize; 7] = [0, 1, 9_999, 10_000, 65_534, 65_535, 65_536];
        let bcd_3 =
            FramingParts { length: LengthForm::Bcd, octets: 3, inclusive: true, filler: 1, trailer: b"" };
        // What stands before bodies of those lengths as far as it can be said, what after them, and the longest.
        #[rustfmt::skip]
        let rows: [(Framing, &[Bytes], Bytes, usize); 12] = [
            (Framing::LENGTH_2, &[b"\0\0", b"\0\x01", b"\x27\x0F", b"\x27\x10", b"\xFF\xFE",
                b"\xFF\xFF"], b"", 65_535),
            (Framing::LENGTH_2_INCLUSIVE, &[b"\0\x02", b"\0\x03", b"\x27\x11", b"\x27\x12"], b"", 65_533),
            (Framing::BCD_2, &[b"\0\0", b"\0\x01", b"\x99\x99"], b"", 9_999),
            (Framing::ASCII_4, &[b"0000", b"0001", b"9999"], b"", 9_999),
            (Framing::ASCII_4_INCLUSIVE, &[b"0004", b"0005"], b"", 9_995),
            (Framing::HEX_4, &[b"0000", b"0001", b"270F", b"2710", b"FFFE", b"FFFF"], b"", 65_535),
            (Framing::LENGTH_4, &[b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\x27\x0F", b"\0\0\x27\x10",
                b"\0\0\xFF\xFE", b"\0\0\xFF\xFF", b"\0\x01\0\0"], b"", 0xFFFF_FFFF),
            (Framing::VAP, &[b"\0\0\0\0", b"\0\x01\0\0", b"\x27\x0F\0\0", b"\x27\x10\0\0",
                b"\xFF\xFE\0\0", b"\xFF\xFF\0\0"], b"", 65_535),
            (Framing::BASE24, &[b"\0\0", b"\0\x02", b"\x27\x10", b"\x27\x11", b"\xFF\xFF"], b"\x03", 65_534),
            (Framing::STX_ETX, &[b"\x02" as Bytes; 7], b"", usize::MAX),
            (own(ASCII_6), &[b"000000", b"000002", b"010000", b"010001", b"065535", b"065536", b"065537"],
                b"\x03", 999_998),
            (own(bcd_3), &[b"\0\0\x03\0", b"\0\0\x04\0", b"\x01\0\x02\0", b"\x01\0\x03\0", b"\x06\x55\x37\0",
                b"\x06\x55\x38\0", b"\x06\x55\x39\0"], b"", 999_996),
        ];
        for (framing, prefixes, trailer, longest) in rows {
            for (length, prefix) in LENGTHS.into_iter().zip(prefixes.iter().copied()) {
                let body = vec![b'1'; length];
                let mut wire = [prefix, &body, if length > 0 { trailer } else { b"" }].concat();
                if framing == Framing::STX_ETX {
                    // `1` an odd number of times, or an even one, and ETX.
                    wire.extend([ETX, if length % 2 == 1 { b'1' ^ ETX } else { ETX }]);
                }
                assert!(framed(framing, &[&body]) == wire, "{framing} {length}");
                let body = prefix.len()..prefix.len() + length;
                assert_eq!(framing.decode(&wire, length), Ok(Some(Frame { body, consumed: wire.len() })));
                assert_eq!(framing.decode(&wire[..wire.len() - 1], length), Ok(None), "{framing} {length}");
            }
            let unsaid = LENGTHS.into_iter().skip(prefixes.len()).chain(longest.checked_add(1));
            for length in unsaid.filter(|length| *length < 1_000_000) {
                let (mut out, too_long) = (vec![1], FrameError::TooLong { length, max: longest });
                assert_eq!(framing.encode(&vec![b'1'; length], &mut out), Err(too_long), "{framing}");
                assert_eq!((out.len(), framing.encode(&vec![b'1'; longest], &mut out)), (1, Ok(())));
            }
        }
    }

    #[test]
    fn streams_that_are_no_frames() {
        const MAX: usize = 4096;
        let not_digits = |offset| FrameError::NotDigits { offset };
        let too_long = |length| FrameError::TooLong { length, max: MAX };
        let too_short = |length, least| FrameError::TooShort { offset: 0, length, least };
        let filler = |offset| FrameError::Filler { offset };
        let trailer = |offset| FrameError::Trailer { offset };
        let ascii_8 = own(FramingParts { octets: 8, ..ASCII_6 });
        let long = own(FramingParts { trailer: b"\r\n", filler: 1, ..ASCII_6 });
        let rows: [(Framing, Bytes, FrameError); 36] = [
            (Framing::LENGTH_2, b"\xFF\xFF", too_long(65_535)),
            // iso8583net goes on in the middle of an oversize frame: what follows must stay unread.
            (Framing::LENGTH_2, b"\x10\x01\0\x01x\0\x01x", too_long(4097)),
            (Framing::LENGTH_2_INCLUSIVE, b"\0\0", too_short(0, 2)),
            (Framing::LENGTH_2_INCLUSIVE, b"\0\x01", too_short(1, 2)),
            (Framing::LENGTH_2_INCLUSIVE, b"\x10\x03", too_long(4097)),
            (Framing::BCD_2, b"\x1A\x00", not_digits(0)),
            (Framing::BCD_2, b"\x00\xA1", not_digits(1)),
            (Framing::BCD_2, b"\x40\x97", too_long(4097)),
            (Framing::ASCII_4, b"9999", too_long(9999)),
            (Framing::ASCII_4, b"01x", not_digits(2)),
            (Framing::ASCII_4, b"+123", not_digits(0)),
            (Framing::ASCII_4_INCLUSIVE, b"0000", too_short(0, 4)),
            (Framing::ASCII_4_INCLUSIVE, b"0003", too_short(3, 4)),
            (Framing::HEX_4, b"00g0", not_digits(2)),
            (Framing::HEX_4, b"1001", too_long(4097)),
            (Framing::LENGTH_4, b"\xFF\xFF\xFF\xFF", too_long(0xFFFF_FFFF)),
            (Framing::VAP, b"\0\x01\0\x01x", filler(3)),
            (Framing::VAP, b"\0\0\x01", filler(2)),
            (Framing::BASE24, b"\0\x02x\x04", trailer(3)),
            (Framing::BASE24, b"\0\x01x", trailer(2)),
            (Framing::BASE24, b"\x10\x02", too_long(4097)),
            (ascii_8, b"99999999", too_long(99_999_998)),
            (own(BCD_8), &[0x99; 8], too_long(9_999_999_999_999_998)),
            (own(HEX_8), b"FFFFffff", too_long(0xFFFF_FFFB)),
            (own(HEX_8), b"00000003", too_short(3, 4)),
            (own(FILLED), b"000005", too_short(5, 7)),
            (long, b"000003\x01", filler(6)),
            (long, b"000003\0x\rx", trailer(9)),
            (Framing::STX_ETX, b"\x001\x02", FrameError::NotStx { offset: 0 }),
            (Framing::STX_ETX, b"\x03", FrameError::NotStx { offset: 0 }),
            (Framing::STX_ETX, b"\x06\x02", FrameError::Acknowledgement { offset: 0, octet: ACK }),
            (Framing::STX_ETX, b"\x15\x02", FrameError::Acknowledgement { offset: 0, octet: NAK }),
            (Framing::STX_ETX, b"\x021\x022\x03", FrameError::Control { offset: 2 }),
            (Framing::STX_ETX, b"\x021234\x03\x06", FrameError::Lrc { offset: 6 }),
            // Without ETX, and with STX too.
            (Framing::STX_ETX, b"\x021234\x03\x04", FrameError::Lrc { offset: 6 }),
            (Framing::STX_ETX, b"\x021234\x03\x05", FrameError::Lrc { offset: 6 }),
        ];
        for (framing, wire, fault) in rows {
            let good = framed(framing, &[b"good"]);
            let whole = [&good, wire].concat();
            let lost = (vec![b"good".to_vec()], Err(fault));
            assert_eq!(cut((framing, MAX), whole.chunks(1)), lost, "{framing} {wire:02X?}");
            let more = [&whole[..], &good, &good];
            assert_eq!(cut((framing, MAX), more), lost, "{framing} {wire:02X?}");
        }
    }

    #[test]
    fn the_limit_counts_octets_of_body() {
        for framing in every() {
            let (fits, over) = (framed(framing, &[&[b'x'; 64]]), framed(framing, &[&[b'x'; 65]]));
            assert_eq!(cut((framing, 64), [&fits[..]]), (vec![vec![b'x'; 64]], Ok(())), "{framing}");
            // As soon as the length is there, and without ETX at one octet too many.
            let enough = match framing.0 {
                Layout::Counted(counted) => usize::from(counted.octets),
                Layout::StxEtx => 66,
            };
            let refused = Err(FrameError::TooLong { length: 65, max: 64 });
            assert_eq!(framing.decode(&over[..enough - 1], 64), Ok(None), "{framing}");
            assert_eq!(framing.decode(&over[..enough], 64), refused, "{framing}");
            assert_eq!(framing.decode(&over, 64), refused, "{framing}");
        }
    }

    #[test]
    fn frames_as_others_write_them() {
        let rows: [(Framing, Bytes, Bytes, usize); 5] = [
            (Framing::HEX_4, b"000aabcdefghij", b"abcdefghij", 14),
            (Framing::BASE24, b"\0\x01\x03", b"", 3),
            (Framing::VAP, b"\0\0\0\0\0\x01", b"", 4),
            (Framing::STX_ETX, b"\x021234\x03\x07\x06", b"1234", 7),
            (Framing::STX_ETX, b"\x02\x03\x03", b"", 3),
        ];
        for (framing, wire, body, consumed) in rows {
            let frame = framing.decode(wire, usize::MAX).unwrap().unwrap();
            assert_eq!((&wire[frame.body], frame.consumed), (body, consumed), "{framing}");
        }
        for (offset, body) in [(1, b"1\x02"), (0, b"\x031")] {
            let (mut out, control) = (vec![1], FrameError::Control { offset });
            assert_eq!((Framing::STX_ETX.encode(body, &mut out), out.len()), (Err(control), 1));
        }
    }

    #[test]
    fn nothing_is_held_beyond_a_frame_and_a_piece() {
        let mut deframer = Deframer::new(Framing::LENGTH_4, 1 << 30);
        deframer.push(b"\x40\0\0\0");
        assert_eq!(deframer.next_frame(), Ok(None));
        assert!(deframer.held.capacity() < 64, "nothing is allocated from an announced length");

        for framing in every() {
            let frame = framed(framing, &[b"0123456789"]);
            let backlog = FrameError::Backlog { held: 3 * frame.len(), max: frame.len() };
            let mut deframer = Deframer::new(framing, 10);
            deframer.push(&frame);
            deframer.push(&frame.repeat(2));
            for _ in 0..3 {
                deframer.push(&frame);
                assert_eq!(deframer.finish(), Err(backlog), "{framing}");
                assert_eq!(
                    deframer.next_frame(),
                    Ok(Some(&b"0123456789"[..])),
                    "{framing}: what waits is given"
                );
            }
            assert_eq!((deframer.is_empty(), deframer.next_frame()), (true, Err(backlog)), "{framing}");
        }

        let mut deframer = Deframer::new(Framing::ASCII_4, 10);
        deframer.push(b"0002ab0002ab00");
        while deframer.next_frame().unwrap().is_some() {}
        deframer.push(b"02a");
        assert_eq!((deframer.held.as_slice(), deframer.is_empty()), (&b"0002a"[..], false));
        assert_eq!(format!("{deframer:?}"), "Deframer(ascii-4, max 10, 5 pending, None)", "no content");
    }

    #[test]
    fn own_tables() {
        let binary = FramingParts { length: LengthForm::Binary, trailer: b"", ..ASCII_6 };
        let rows: [(FramingParts<'_>, Result<&str, &str>); 12] = [
            (ASCII_6, Ok("ascii 6 trailer 03")),
            (FramingParts { inclusive: true, ..ASCII_6 }, Ok("ascii 6 inclusive trailer 03")),
            (FILLED, Ok("ascii 6 inclusive filler 4 trailer 03")),
            (BCD_8, Ok("bcd 8 trailer 03")),
            (HEX_8, Ok("hex 8 trailer 0D0A00FF")),
            (FramingParts { octets: 3, ..binary }, Ok("binary 3")),
            (FramingParts { octets: 4, ..binary }, Ok("length-4")),
            (FramingParts { octets: 5, ..binary }, Err(LENGTH)),
            (FramingParts { octets: 0, ..ASCII_6 }, Err(LENGTH)),
            (FramingParts { octets: 9, ..ASCII_6 }, Err(LENGTH)),
            (FramingParts { filler: 5, ..ASCII_6 }, Err(ENDS)),
            (FramingParts { trailer: &[3; 5], ..ASCII_6 }, Err(ENDS)),
        ];
        for (parts, expected) in rows {
            let shown = Framing::new(parts).map(|framing| framing.to_string());
            assert_eq!(shown, expected.map(str::to_owned), "{parts:?}");
        }
    }

    #[test]
    fn names_round_trip() {
        for (name, framing) in Framing::NAMED {
            assert_eq!(Framing::by_name(name), Some(*framing));
            assert_eq!((framing.name(), framing.to_string()), (Some(*name), (*name).to_owned()));
        }
        assert_eq!((Framing::by_name("length-3"), own(ASCII_6).name()), (None, None));
    }
}
