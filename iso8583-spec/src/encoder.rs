//! Writes a message field by field, in ascending order, straight into the octets that will be sent.
//!
//! Knows no meaning of a field. A call that fails leaves the message as it was before it.

use crate::{
    EncodeError, Mti, Part, Spec, ValueFault,
    bitmap::{Bitmap, Tertiary},
    shape::Shape,
    step::Steps,
};

/// Whether the MAC has been asked for and given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mac {
    None,
    Open(u8),
    Done,
}

/// A message being written.
///
/// # Example
///
/// ```
/// use iso8583_spec::{Encoder, Mti, Spec};
///
/// let spec = Spec::builtin("iso87-ascii").unwrap();
/// let mut encoder = Encoder::new(spec, Mti::NETWORK);
/// encoder.text(11, "000042").unwrap();
/// encoder.text(41, "TERM1").unwrap(); // filled up with blanks
/// assert_eq!(encoder.finish().unwrap(), b"08000020000000800000000042TERM1   ");
/// ```
pub struct Encoder<'s> {
    spec: &'s Spec,
    steps: &'s Steps,
    out: Vec<u8>,
    bits: Bitmap,
    last: u8,
    /// Octets before the MTI.
    head: usize,
    /// Where a tertiary bitmap goes: once there are fields above 64.
    third_at: usize,
    has_tpdu: bool,
    has_header: bool,
    mac: Mac,
}

/// Octets that a new message has room for before it needs more.
const ROOM: usize = 256;

impl<'s> Encoder<'s> {
    /// An empty message of this type.
    pub fn new(spec: &'s Spec, mti: Mti) -> Self {
        Encoder::reuse(spec, mti, Vec::with_capacity(ROOM))
    }

    /// An empty message of this type, written over `out`: nothing is allocated as long as its capacity is enough.
    #[inline]
    pub fn reuse(spec: &'s Spec, mti: Mti, mut out: Vec<u8>) -> Self {
        out.clear();
        let (min, max) = spec.header_lengths();
        let head = spec.tpdu_len() + if min == max { max } else { 0 };
        if head > 0 {
            out.resize(head, 0);
        }
        spec.mti_encoding().write(mti, &mut out);
        spec.bitmap_encoding().reserve(&mut out);
        let has_tpdu = spec.tpdu_len() == 0;
        let has_header = max == 0;
        let (bits, mac) = (Bitmap::default(), Mac::None);
        Encoder {
            spec,
            steps: spec.steps(),
            out,
            bits,
            last: 1,
            head,
            third_at: 0,
            has_tpdu,
            has_header,
            mac,
        }
    }

    /// Sets the TPDU as it goes on the wire: 5 octets, already swapped in an answer.
    ///
    /// # Errors
    /// [`EncodeError::Head`] when the dialect has none or it is not 5 octets long.
    pub fn tpdu(&mut self, tpdu: &[u8]) -> Result<(), EncodeError> {
        let slot = self.out.get_mut(..self.spec.tpdu_len());
        let slot = slot.filter(|slot| !slot.is_empty() && slot.len() == tpdu.len());
        slot.ok_or(EncodeError::Head { part: Part::Tpdu })?.copy_from_slice(tpdu);
        self.has_tpdu = true;
        Ok(())
    }

    /// Sets the dialect's own header.
    ///
    /// # Errors
    /// [`EncodeError::Head`] when the dialect has none or the length is not one of its lengths.
    pub fn header(&mut self, header: &[u8]) -> Result<(), EncodeError> {
        let start = self.spec.tpdu_len();
        let form = self.spec.header().filter(|form| form.length_of(header) == Some(header.len()));
        form.ok_or(EncodeError::Head { part: Part::Header })?;
        self.out.splice(start..self.head, header.iter().copied());
        self.third_at = (self.third_at + start + header.len()).saturating_sub(self.head);
        self.head = start + header.len();
        self.has_header = true;
        Ok(())
    }

    /// Writes a field of characters: digits, track data with `D` (or `=`) as separator, or text. A fixed text
    /// field shorter than its width is filled up as the dialect says (blanks on the right); fixed digits must be
    /// exact unless it says with what to fill them.
    ///
    /// # Errors
    /// When the field is undefined, out of order or binary, or the text is not of its length or its class.
    #[inline]
    pub fn text(&mut self, de: u8, text: &str) -> Result<(), EncodeError> {
        if de > self.last && de <= 64 && self.steps.of(de).write_good(text.as_bytes(), &mut self.out) {
            self.last = de;
            self.bits.insert_low(de);
            return Ok(());
        }
        self.text_closely(de, text)
    }

    /// A field that is above 64, not of a common shape, or not good for it.
    #[inline(never)]
    fn text_closely(&mut self, de: u8, text: &str) -> Result<(), EncodeError> {
        let shape = self.expect(de)?;
        let start = self.out.len();
        shape.write_text(text, &mut self.out).map_err(|fault| refused(de, fault))?;
        self.announce(de, start);
        Ok(())
    }

    /// Writes a binary field.
    ///
    /// # Errors
    /// When the field is undefined, out of order or not binary, or the octets are not of its length.
    #[inline]
    pub fn bytes(&mut self, de: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        if de > self.last && de <= 64 && self.steps.of(de).write_octets(bytes, &mut self.out) {
            self.last = de;
            self.bits.insert_low(de);
            return Ok(());
        }
        self.bytes_closely(de, bytes)
    }

    /// A field that is above 64, not a fixed one of octets as they are, or not good for it.
    #[inline(never)]
    fn bytes_closely(&mut self, de: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        let shape = self.expect(de)?;
        let start = self.out.len();
        shape.write_bytes(bytes, &mut self.out).map_err(|fault| refused(de, fault))?;
        self.announce(de, start);
        Ok(())
    }

    /// Announces the MAC in the last field (DE 64, 128 or 192), and gives what it is computed over: MTI to the last
    /// octet before its content. [`Encoder::mac`] must follow.
    ///
    /// # Errors
    /// When the field is undefined, out of order, or not binary and fixed.
    pub fn mac_data(&mut self, de: u8) -> Result<&[u8], EncodeError> {
        let shape = self.expect(de)?;
        if !shape.is_binary() || shape.prefix.is_some() {
            return Err(refused(de, ValueFault::Kind));
        }
        self.announce(de, self.out.len());
        self.write_bitmap();
        // Nothing follows the MAC: no field is above this one.
        self.last = u8::MAX;
        self.mac = Mac::Open(de);
        Ok(self.out.get(self.head..).unwrap_or_default())
    }

    /// Writes the MAC that [`Encoder::mac_data`] announced.
    ///
    /// # Errors
    /// When none was announced, or the octets are not of its length.
    pub fn mac(&mut self, mac: &[u8]) -> Result<(), EncodeError> {
        let Mac::Open(de) = self.mac else { return Err(EncodeError::Mac { field: 0 }) };
        let shape = self.spec.shape(de).ok_or(EncodeError::Undefined { field: de })?;
        shape.write_bytes(mac, &mut self.out).map_err(|fault| refused(de, fault))?;
        self.mac = Mac::Done;
        Ok(())
    }

    /// The body, without length prefix.
    ///
    /// # Errors
    /// When the TPDU or the header of the dialect was not set, or an announced MAC was not given.
    #[inline]
    pub fn finish(mut self) -> Result<Vec<u8>, EncodeError> {
        self.check_head()?;
        if let Mac::Open(field) = self.mac {
            return Err(EncodeError::Mac { field });
        }
        self.write_bitmap();
        Ok(self.out)
    }

    fn check_head(&self) -> Result<(), EncodeError> {
        if !self.has_tpdu {
            return Err(EncodeError::Head { part: Part::Tpdu });
        }
        if !self.has_header {
            return Err(EncodeError::Head { part: Part::Header });
        }
        Ok(())
    }

    /// The shape of a field that may come next.
    #[inline]
    fn expect(&self, de: u8) -> Result<&'s Shape, EncodeError> {
        let shape = self.spec.shape(de).ok_or(EncodeError::Undefined { field: de })?;
        if de > self.last { Ok(shape) } else { Err(EncodeError::Order { field: de }) }
    }

    /// Notes a field whose content begins at `start`, and makes room for the bitmap that announces it.
    #[inline]
    fn announce(&mut self, de: u8, start: usize) {
        self.last = de;
        self.bits.insert(de);
        if de > 64 {
            self.announce_further(de, start);
        }
    }

    #[cold]
    fn announce_further(&mut self, de: u8, start: usize) {
        let width = self.spec.bitmap_encoding().width();
        let room = |at: usize, out: &mut Vec<u8>| drop(out.splice(at..at, std::iter::repeat_n(0, width)));
        if !self.bits.has(1) {
            self.bits.insert(1);
            room(self.bitmap_start() + width, &mut self.out);
            self.third_at = start + width;
        }
        if de > 128 && !self.bits.has(65) {
            self.bits.insert(65);
            if self.spec.tertiary() == Some(Tertiary::AfterSecondary) {
                self.third_at = self.bitmap_start() + 2 * width;
            }
            room(self.third_at, &mut self.out);
        }
    }

    fn bitmap_start(&self) -> usize {
        self.head + self.spec.mti_encoding().width()
    }

    #[inline]
    fn write_bitmap(&mut self) {
        let encoding = self.spec.bitmap_encoding();
        let ([first, second, third], start) = (self.bits.words(), self.bitmap_start());
        encoding.write(first, self.out.get_mut(start..).unwrap_or_default());
        if self.bits.has(1) {
            encoding.write(second, self.out.get_mut(start + encoding.width()..).unwrap_or_default());
        }
        if self.bits.has(65) && self.spec.tertiary().is_some() {
            encoding.write(third, self.out.get_mut(self.third_at..).unwrap_or_default());
        }
    }
}

#[cold]
fn refused(field: u8, fault: ValueFault) -> EncodeError {
    EncodeError::Value { field, part: String::new(), fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn encoder(name: &str) -> Encoder<'static> {
        Encoder::new(Spec::builtin(name).unwrap(), Mti::new("0200").unwrap())
    }

    fn length(field: u8, length: usize, min: usize, max: usize) -> Result<(), EncodeError> {
        Err(refused(field, ValueFault::Length { length, min, max }))
    }

    fn content(field: u8, index: usize, reason: Reason) -> Result<(), EncodeError> {
        Err(refused(field, ValueFault::Content { index, reason }))
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
            ("edc", 52, "12345678", Err(refused(52, ValueFault::Kind))),
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
        assert_eq!(encoder.mac_data(62).map(<[u8]>::len), Err(refused(62, ValueFault::Kind)));
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
