//! Writes a message field by field, in ascending order, straight into the octets that will be sent.
//!
//! Knows no meaning of a field. A call that fails leaves the message as it was before it.

use crate::{
    Content, EncodeError, Mti, Part, Reason, Spec,
    bitmap::Bitmap,
    encoding::{Class, pack, write_hex},
    field::{Data, Shape},
    spec::MtiEncoding,
};

/// Whether the MAC has been asked for and given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mac {
    None,
    Open(u8),
    Done,
}

/// A message being written.
pub struct Encoder<'s> {
    spec: &'s Spec,
    mti: Mti,
    out: Vec<u8>,
    bits: Bitmap,
    last: u8,
    has_tpdu: bool,
    has_header: bool,
    mac: Mac,
}

impl<'s> Encoder<'s> {
    /// An empty message of this type.
    pub fn new(spec: &'s Spec, mti: Mti) -> Self {
        let head = spec.tpdu_len() + spec.header_len();
        let mut out = Vec::with_capacity(256);
        out.resize(head, 0);
        match spec.mti_encoding() {
            MtiEncoding::Bcd => out.extend_from_slice(&mti.to_bcd()),
            MtiEncoding::Ascii => out.extend_from_slice(mti.ascii()),
        }
        out.resize(out.len() + spec.bitmap_encoding().half(), 0);
        let (has_tpdu, has_header) = (spec.tpdu_len() == 0, spec.header_len() == 0);
        Encoder { spec, mti, out, bits: Bitmap::default(), last: 1, has_tpdu, has_header, mac: Mac::None }
    }

    /// Sets the TPDU as it goes on the wire: 5 octets, already swapped in an answer.
    ///
    /// # Errors
    /// [`EncodeError::Head`] when the dialect has none or it is not 5 octets long.
    pub fn tpdu(&mut self, tpdu: &[u8]) -> Result<(), EncodeError> {
        let slot = self.out.get_mut(..self.spec.tpdu_len());
        self.has_tpdu = set(slot, tpdu).ok_or(EncodeError::Head { part: Part::Tpdu })?;
        Ok(())
    }

    /// Sets the dialect's own header.
    ///
    /// # Errors
    /// [`EncodeError::Head`] when the dialect has none or the length is not its length.
    pub fn header(&mut self, header: &[u8]) -> Result<(), EncodeError> {
        let start = self.spec.tpdu_len();
        let slot = self.out.get_mut(start..start + self.spec.header_len());
        self.has_header = set(slot, header).ok_or(EncodeError::Head { part: Part::Header })?;
        Ok(())
    }

    /// Writes a field of characters: digits, track data with `D` (or `=`) as separator, or text. A fixed text
    /// field shorter than its width is padded with blanks on the right; fixed digits must be exact.
    ///
    /// # Errors
    /// When the field is undefined, out of order or binary, or the text is not of its length or its class.
    pub fn text(&mut self, de: u8, text: &str) -> Result<(), EncodeError> {
        let shape = self.expect(de)?;
        if shape.is_binary() {
            return Err(EncodeError::Kind { field: de });
        }
        let octets = text.as_bytes();
        let units =
            fitted(&shape, de, octets.len(), shape.prefix.is_none() && shape.content.is_blank_padded())?;
        check_text(&shape, octets).map_err(|(index, reason)| EncodeError::Content {
            field: de,
            index,
            reason,
        })?;
        self.begin(de, &shape, units);
        write_text(&shape, octets, &mut self.out);
        let blanks = units - octets.len();
        self.out.resize(self.out.len() + blanks, b' ');
        Ok(())
    }

    /// Writes a binary field.
    ///
    /// # Errors
    /// When the field is undefined, out of order or not binary, or the octets are not of its length.
    pub fn bytes(&mut self, de: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        let shape = self.expect(de)?;
        if !shape.is_binary() {
            return Err(EncodeError::Kind { field: de });
        }
        let units = fitted(&shape, de, bytes.len(), false)?;
        self.begin(de, &shape, units);
        write_bytes(&shape, bytes, &mut self.out);
        Ok(())
    }

    /// Writes content as it was on the wire: `units` of it, not looked into.
    pub(crate) fn raw(&mut self, de: u8, units: usize, wire: &[u8]) -> Result<(), EncodeError> {
        let shape = self.expect(de)?;
        self.begin(de, &shape, units);
        self.out.extend_from_slice(wire);
        Ok(())
    }

    /// Announces the MAC in DE 64 or 128, the last field, and gives what it is computed over: MTI to the last
    /// octet before its content. [`Encoder::mac`] must follow.
    ///
    /// # Errors
    /// When the field is undefined, out of order, or not binary and fixed.
    pub fn mac_data(&mut self, de: u8) -> Result<&[u8], EncodeError> {
        let shape = self.expect(de)?;
        if !shape.is_binary() || shape.prefix.is_some() {
            return Err(EncodeError::Kind { field: de });
        }
        self.begin(de, &shape, usize::from(shape.max));
        self.write_bitmap();
        self.mac = Mac::Open(de);
        let head = self.spec.tpdu_len() + self.spec.header_len();
        Ok(self.out.get(head..).unwrap_or_default())
    }

    /// Writes the MAC that [`Encoder::mac_data`] announced.
    ///
    /// # Errors
    /// When none was announced, or the octets are not of its length.
    pub fn mac(&mut self, mac: &[u8]) -> Result<(), EncodeError> {
        let Mac::Open(de) = self.mac else { return Err(EncodeError::Mac { field: 0 }) };
        let shape = *self.spec.shape(de).ok_or(EncodeError::Undefined { field: de })?;
        fitted(&shape, de, mac.len(), false)?;
        write_bytes(&shape, mac, &mut self.out);
        self.mac = Mac::Done;
        Ok(())
    }

    /// The body, without length prefix.
    ///
    /// # Errors
    /// When the TPDU or the header of the dialect was not set, or an announced MAC was not given.
    pub fn finish(mut self) -> Result<Vec<u8>, EncodeError> {
        if !self.has_tpdu {
            return Err(EncodeError::Head { part: Part::Tpdu });
        }
        if !self.has_header {
            return Err(EncodeError::Head { part: Part::Header });
        }
        if let Mac::Open(field) = self.mac {
            return Err(EncodeError::Mac { field });
        }
        self.write_bitmap();
        Ok(self.out)
    }

    /// The body with the bitmap written as `wire`, which must announce the same fields.
    pub(crate) fn finish_with_bitmap(self, wire: &[u8]) -> Result<Vec<u8>, EncodeError> {
        let (start, encoding) = (self.bitmap_start(), self.spec.bitmap_encoding());
        let mut ours = self.bits;
        let halves = if ours.has(1) { 2 } else { 1 };
        ours.remove(1);
        let mut out = self.finish()?;
        let mut chunks = wire.chunks(encoding.half()).map(|half| encoding.read(half));
        let primary = chunks.next().flatten().unwrap_or(0);
        let secondary = chunks.next().flatten().unwrap_or(0);
        let mut theirs = Bitmap::from_primary(primary).with_secondary(secondary);
        theirs.remove(1);
        if ours == theirs {
            out.splice(start..start + encoding.half() * halves, wire.iter().copied());
        }
        Ok(out)
    }

    /// The message type it was begun with.
    pub(crate) fn mti(&self) -> Mti {
        self.mti
    }

    /// Whether the one field written so far has this content on the wire.
    pub(crate) fn ends_with(&self, content: &[u8]) -> bool {
        self.out.ends_with(content)
    }

    /// The shape of a field that may come next.
    fn expect(&self, de: u8) -> Result<Shape, EncodeError> {
        let shape = self.spec.shape(de).ok_or(EncodeError::Undefined { field: de })?;
        match self.mac {
            Mac::None if de > self.last => Ok(*shape),
            Mac::None | Mac::Open(_) | Mac::Done => Err(EncodeError::Order { field: de }),
        }
    }

    /// Sets the field's bit, makes room for a secondary bitmap, writes the length prefix.
    fn begin(&mut self, de: u8, shape: &Shape, units: usize) {
        self.last = de;
        self.bits.insert(de);
        if de > 64 && !self.bits.has(1) {
            self.bits.insert(1);
            let half = self.spec.bitmap_encoding().half();
            let at = self.bitmap_start() + half;
            self.out.splice(at..at, std::iter::repeat_n(0, half));
        }
        if let Some(prefix) = shape.prefix {
            prefix.write(shape.count(prefix, units), &mut self.out);
        }
    }

    fn bitmap_start(&self) -> usize {
        self.spec.tpdu_len() + self.spec.header_len() + self.spec.mti_encoding().width()
    }

    fn write_bitmap(&mut self) {
        let encoding = self.spec.bitmap_encoding();
        let (primary, secondary) = self.bits.halves();
        let mut wire = Vec::with_capacity(32);
        encoding.write(primary, &mut wire);
        if self.bits.has(1) {
            encoding.write(secondary, &mut wire);
        }
        let start = self.bitmap_start();
        if let Some(slot) = self.out.get_mut(start..start + wire.len()) {
            slot.copy_from_slice(&wire);
        }
    }
}

/// Copies into a slot of the same, non-zero length.
fn set(slot: Option<&mut [u8]>, octets: &[u8]) -> Option<bool> {
    let slot = slot.filter(|slot| !slot.is_empty() && slot.len() == octets.len())?;
    slot.copy_from_slice(octets);
    Some(true)
}

/// Units that go on the wire for content of `length`.
fn fitted(shape: &Shape, de: u8, length: usize, is_padded: bool) -> Result<usize, EncodeError> {
    let (min, max) = (usize::from(shape.min), usize::from(shape.max));
    if is_padded && length <= max {
        return Ok(max);
    }
    match (min..=max).contains(&length) {
        true => Ok(length),
        false => Err(EncodeError::Length { field: de, length, min, max }),
    }
}

/// The first character outside the field's class.
fn check_text(shape: &Shape, text: &[u8]) -> Result<(), (usize, Reason)> {
    if shape.content != Content::Xn {
        let reason = if shape.content == Content::N { Reason::NotDigit } else { Reason::Character };
        return shape.content.class().fault(text).map_or(Ok(()), |index| Err((index, reason)));
    }
    match text.split_first() {
        Some((b'C' | b'D', digits)) => {
            Class::N.fault(digits).map_or(Ok(()), |index| Err((index + 1, Reason::NotDigit)))
        }
        Some(_) | None => Err((0, Reason::Character)),
    }
}

fn write_text(shape: &Shape, text: &[u8], out: &mut Vec<u8>) {
    match (shape.data, shape.content, text) {
        (Data::Bcd, Content::Xn, [sign, digits @ ..]) => {
            out.push(*sign);
            pack(digits, shape.align, shape.pad, out);
        }
        (Data::Bcd, Content::Z, _) => {
            let digits: Vec<u8> =
                text.iter().map(|&octet| if octet == b'=' { b'D' } else { octet }).collect();
            pack(&digits, shape.align, shape.pad, out);
        }
        (Data::Bcd, _, _) => pack(text, shape.align, shape.pad, out),
        (Data::Ascii | Data::Binary | Data::Hex, Content::Z, _) => {
            out.extend(
                text.iter().map(|&octet| if matches!(octet, b'=' | b'D') { shape.separator } else { octet }),
            );
        }
        (Data::Ascii | Data::Binary | Data::Hex, _, _) => out.extend_from_slice(text),
    }
}

fn write_bytes(shape: &Shape, bytes: &[u8], out: &mut Vec<u8>) {
    match shape.data {
        Data::Hex => write_hex(bytes, out),
        Data::Bcd | Data::Ascii | Data::Binary => out.extend_from_slice(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(name: &str) -> Encoder<'static> {
        Encoder::new(Spec::builtin(name).unwrap(), Mti::new("0200").unwrap())
    }

    fn length(field: u8, length: usize, min: usize, max: usize) -> Result<(), EncodeError> {
        Err(EncodeError::Length { field, length, min, max })
    }

    fn content(field: u8, index: usize, reason: Reason) -> Result<(), EncodeError> {
        Err(EncodeError::Content { field, index, reason })
    }

    #[test]
    fn content_that_does_not_fit_is_refused_and_leaves_nothing() {
        let rows: [(&str, u8, &str, Result<(), EncodeError>); 13] = [
            ("edc", 3, "00000", length(3, 5, 6, 6)),
            ("edc", 3, "0000000", length(3, 7, 6, 6)),
            ("edc", 3, "00000A", content(3, 5, Reason::NotDigit)),
            ("edc", 2, "12345678901234567890", length(2, 20, 0, 19)),
            ("edc", 41, "123456789", length(41, 9, 8, 8)),
            ("edc", 41, "1234\n678", content(41, 4, Reason::Character)),
            ("edc", 35, "1234E5", content(35, 4, Reason::Character)),
            ("unionpay-pos", 35, "1234e5", content(35, 4, Reason::Character)),
            ("edc", 52, "12345678", Err(EncodeError::Kind { field: 52 })),
            ("edc", 51, "156", Err(EncodeError::Undefined { field: 51 })),
            ("edc", 65, "1", Err(EncodeError::Undefined { field: 65 })),
            ("iso87-ascii", 28, "X00000100", content(28, 0, Reason::Character)),
            ("iso87-ascii", 28, "D000001x0", content(28, 7, Reason::NotDigit)),
        ];
        for (name, de, text, expected) in rows {
            let mut encoder = encoder(name);
            let before = encoder.out.clone();
            assert_eq!(encoder.text(de, text), expected, "{name} {de}");
            assert_eq!((encoder.out, encoder.bits), (before, Bitmap::default()), "{name} {de}");
        }
    }

    #[test]
    fn fields_ascend_and_nothing_follows_the_mac() {
        let mut encoder = encoder("edc");
        encoder.text(11, "000001").unwrap();
        for de in [3, 11] {
            assert_eq!(encoder.text(de, "000001"), Err(EncodeError::Order { field: de }));
        }
        assert_eq!(encoder.mac(&[0; 8]), Err(EncodeError::Mac { field: 0 }));
        assert_eq!(encoder.mac_data(62).map(<[u8]>::len), Err(EncodeError::Kind { field: 62 }));
        encoder.mac_data(64).unwrap();
        assert_eq!(encoder.mac(&[0; 7]), length(64, 7, 8, 8));
        encoder.mac(&[0; 8]).unwrap();
        assert_eq!(encoder.bytes(64, &[0; 8]), Err(EncodeError::Order { field: 64 }));
    }

    #[test]
    fn a_message_needs_its_head_and_its_mac() {
        let mut unionpay = encoder("unionpay-pos");
        assert_eq!(unionpay.tpdu(&[0; 4]), Err(EncodeError::Head { part: Part::Tpdu }));
        assert_eq!(encoder("edc").header(&[]), Err(EncodeError::Head { part: Part::Header }));
        assert_eq!(encoder("unionpay-pos").finish(), Err(EncodeError::Head { part: Part::Tpdu }));
        unionpay.tpdu(&[0; 5]).unwrap();
        assert_eq!(unionpay.finish(), Err(EncodeError::Head { part: Part::Header }));
        let mut ascii = encoder("iso87-ascii");
        ascii.mac_data(128).unwrap();
        assert_eq!(ascii.finish(), Err(EncodeError::Mac { field: 128 }));
    }

    #[test]
    fn padding_and_the_secondary_bitmap() {
        let mut ascii = encoder("iso87-ascii");
        ascii.text(35, "1234=5").unwrap();
        ascii.text(41, "AB").unwrap();
        ascii.text(70, "301").unwrap();
        let body = String::from_utf8(ascii.finish().unwrap()).unwrap();
        assert_eq!(body, "020080000000208000000400000000000000061234=5AB      301");
    }
}
