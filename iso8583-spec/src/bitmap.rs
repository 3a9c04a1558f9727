//! The bitmap: which fields a message carries, 64 to a part, as octets or their hexadecimal.

use crate::{
    charset::CodePage,
    word::{hex_digits, hex_value},
};

/// The highest field of all: three bitmaps of 64.
pub(crate) const LAST_FIELD: u8 = 192;

/// How a bitmap is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitmapEncoding {
    /// An octet for 8 fields.
    Binary,
    /// Two hexadecimal characters for 8 fields: upper case written, either case read.
    Hex,
    /// The same in EBCDIC, whose code pages agree on these characters.
    EbcdicHex,
}

impl BitmapEncoding {
    /// By the name in a dialect file.
    pub(crate) const NAMES: [(&str, BitmapEncoding); 3] = [
        ("binary", BitmapEncoding::Binary),
        ("hex", BitmapEncoding::Hex),
        ("ebcdic-hex", BitmapEncoding::EbcdicHex),
    ];

    /// Octets on the wire of one bitmap of 64 fields.
    pub(crate) fn width(self) -> usize {
        match self {
            BitmapEncoding::Binary => 8,
            BitmapEncoding::Hex | BitmapEncoding::EbcdicHex => 16,
        }
    }

    /// Appends the place of one bitmap.
    #[inline]
    pub(crate) fn reserve(self, out: &mut Vec<u8>) {
        match self {
            BitmapEncoding::Binary => out.extend_from_slice(&[0; 8]),
            BitmapEncoding::Hex | BitmapEncoding::EbcdicHex => out.extend_from_slice(&[0; 16]),
        }
    }

    /// Reads one bitmap; `None` when it is not of its length or not hexadecimal.
    #[inline]
    pub(crate) fn read(self, wire: &[u8]) -> Option<u64> {
        match self {
            BitmapEncoding::Binary => Some(u64::from_be_bytes(wire.try_into().ok()?)),
            BitmapEncoding::Hex => hex_word(wire.try_into().ok()?),
            BitmapEncoding::EbcdicHex => {
                let ebcdic = <[u8; 16]>::try_from(wire).ok()?;
                hex_word(&ebcdic.map(|octet| CodePage::Ebcdic037.latin1(octet)))
            }
        }
    }

    /// Writes one bitmap over the octets of its place.
    #[inline]
    pub(crate) fn write(self, bits: u64, place: &mut [u8]) {
        match self {
            BitmapEncoding::Binary => put(bits.to_be_bytes(), place),
            BitmapEncoding::Hex => put(hex_of(bits), place),
            BitmapEncoding::EbcdicHex => {
                put(hex_of(bits).map(|digit| CodePage::Ebcdic037.octet(digit)), place)
            }
        }
    }
}

#[inline]
fn put<const N: usize>(octets: [u8; N], place: &mut [u8]) {
    if let Some(slot) = place.first_chunk_mut() {
        *slot = octets;
    }
}

#[inline]
fn hex_of(bits: u64) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
    let halves = [hex_digits(u32::from_be_bytes([a, b, c, d])), hex_digits(u32::from_be_bytes([e, f, g, h]))];
    let mut digits = [0; 16];
    digits.copy_from_slice(halves.as_flattened());
    digits
}

fn hex_word(digits: &[u8; 16]) -> Option<u64> {
    let (halves, _) = digits.as_chunks::<8>();
    halves.iter().try_fold(0, |bits, half| Some(bits << 32 | hex_value(*half)?))
}

/// Where a tertiary bitmap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tertiary {
    /// Right after the secondary one.
    AfterSecondary,
    /// As the content of field 65, after the last of the fields before it (ISO 8583:2003).
    Field65,
}

/// The bit of the first field of a word.
const TOP: u64 = 1 << 63;

/// A set of fields. Field 1 is the highest bit of the first word, so that the next field is a count of leading
/// zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bitmap([u64; 3]);

impl Bitmap {
    pub(crate) fn new(words: [u64; 3]) -> Bitmap {
        Bitmap(words)
    }

    /// The primary, secondary and tertiary bitmap.
    pub(crate) fn words(self) -> [u64; 3] {
        self.0
    }

    #[inline]
    pub(crate) fn set_word(&mut self, index: usize, bits: u64) {
        if let Some(word) = self.0.get_mut(index) {
            *word = bits;
        }
    }

    fn mask(de: u8) -> u64 {
        TOP.wrapping_shr(u32::from(de.wrapping_sub(1)))
    }

    #[inline]
    pub(crate) fn has(self, de: u8) -> bool {
        let word = self.0.get(usize::from(de.wrapping_sub(1) / 64));
        word.is_some_and(|word| word & Bitmap::mask(de) != 0)
    }

    #[inline]
    pub(crate) fn insert(&mut self, de: u8) {
        if let Some(word) = self.0.get_mut(usize::from(de.wrapping_sub(1) / 64)) {
            *word |= Bitmap::mask(de);
        }
    }

    /// Adds a field that is known to be one of the first 64.
    #[inline]
    pub(crate) fn insert_low(&mut self, de: u8) {
        let [first, ..] = &mut self.0;
        *first |= Bitmap::mask(de);
    }

    pub(crate) fn remove(&mut self, de: u8) {
        if let Some(word) = self.0.get_mut(usize::from(de.wrapping_sub(1) / 64)) {
            *word &= !Bitmap::mask(de);
        }
    }

    /// Takes out the lowest field.
    #[inline]
    pub(crate) fn pop_first(&mut self) -> Option<u8> {
        let (word, below) = self.0.iter_mut().zip([1, 65, 129]).find(|(word, _)| **word != 0)?;
        let zeros = word.leading_zeros();
        *word &= !(1 << (63 - zeros));
        u8::try_from(below + zeros).ok()
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self;
        std::iter::from_fn(move || rest.pop_first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_on_the_wire() {
        // The golden sale's primary bitmap, in every encoding and either case.
        let fields = [3, 4, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60, 64];
        let ebcdic =
            [0xF3, 0xF0, 0xF2, 0xF0, 0xF0, 0xF4, 0xC3, 0xF0, 0xF2, 0xF0, 0xC3, 0xF0, 0xF9, 0xF8, 0xF1, 0xF1];
        let rows: [(BitmapEncoding, &[u8]); 4] = [
            (BitmapEncoding::Binary, &[0x30, 0x20, 0x04, 0xC0, 0x20, 0xC0, 0x98, 0x11]),
            (BitmapEncoding::Hex, b"302004C020C09811"),
            (BitmapEncoding::EbcdicHex, &ebcdic),
            (BitmapEncoding::Hex, b"302004c020c09811"),
        ];
        for (encoding, wire) in rows {
            let bits = encoding.read(wire).unwrap();
            assert_eq!(Bitmap::new([bits, 0, 0]).iter().collect::<Vec<_>>(), fields);
            let mut place = vec![0; encoding.width()];
            encoding.write(bits, &mut place);
            assert_eq!(encoding.read(&place), Some(bits));
            assert_eq!(place.to_ascii_lowercase(), wire.to_ascii_lowercase());
        }
        assert_eq!(BitmapEncoding::Hex.read(b"302004C020C0981G"), None);
        assert_eq!(BitmapEncoding::Hex.read(b"+02004C020C09811"), None);
        assert_eq!(BitmapEncoding::EbcdicHex.read(b"302004C020C09811"), None);
    }

    #[test]
    fn first_and_last_field() {
        let mut bits = Bitmap::default();
        for de in [1, 64, 65, 128, 129, 192, 0, 193, 255] {
            bits.insert(de);
        }
        assert_eq!(bits.words(), [1 << 63 | 1; 3]);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [1, 64, 65, 128, 129, 192]);
        bits.remove(64);
        assert!(!bits.has(64) && bits.has(65) && !bits.has(0) && !bits.has(193));
    }
}
