//! The bitmap: which of the fields 1 to 128 a message carries, as 8 or 16 octets or their hexadecimal.

use serde::Deserialize;

/// How a dialect writes the bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BitmapEncoding {
    /// 8 octets each for primary and secondary.
    Binary,
    /// 16 hexadecimal characters each: upper case written, either case read.
    Hex,
}

impl BitmapEncoding {
    /// Octets on the wire of one half (64 fields).
    pub(crate) fn half(self) -> usize {
        match self {
            BitmapEncoding::Binary => 8,
            BitmapEncoding::Hex => 16,
        }
    }

    /// Reads one half; `None` when it is not of its length or not hexadecimal.
    pub(crate) fn read(self, wire: &[u8]) -> Option<u64> {
        match self {
            BitmapEncoding::Binary => Some(u64::from_be_bytes(wire.try_into().ok()?)),
            BitmapEncoding::Hex => {
                let digits = <&[u8; 16]>::try_from(wire).ok()?;
                digits
                    .iter()
                    .try_fold(0, |bits, &digit| Some(bits << 4 | u64::from(char::from(digit).to_digit(16)?)))
            }
        }
    }

    /// Writes one half.
    pub(crate) fn write(self, half: u64, out: &mut Vec<u8>) {
        match self {
            BitmapEncoding::Binary => out.extend_from_slice(&half.to_be_bytes()),
            BitmapEncoding::Hex => out.extend_from_slice(format!("{half:016X}").as_bytes()),
        }
    }
}

/// A set of fields. Field 1 is the highest bit, so that the next field is a count of leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bitmap(u128);

impl Bitmap {
    pub(crate) fn from_primary(half: u64) -> Bitmap {
        Bitmap(u128::from(half) << 64)
    }

    pub(crate) fn with_secondary(self, half: u64) -> Bitmap {
        Bitmap(self.0 | u128::from(half))
    }

    /// The primary and the secondary half.
    #[allow(clippy::cast_possible_truncation, reason = "the halves are what is asked for")]
    pub(crate) fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    fn mask(de: u8) -> u128 {
        match de {
            1..=128 => 1 << (128 - de),
            0 | 129..=255 => 0,
        }
    }

    pub(crate) fn has(self, de: u8) -> bool {
        self.0 & Bitmap::mask(de) != 0
    }

    pub(crate) fn insert(&mut self, de: u8) {
        self.0 |= Bitmap::mask(de);
    }

    pub(crate) fn without(self, other: Bitmap) -> Bitmap {
        Bitmap(self.0 & !other.0)
    }

    pub(crate) fn remove(&mut self, de: u8) {
        self.0 &= !Bitmap::mask(de);
    }

    /// Takes out the lowest field.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a u128 has fewer than 128 leading zeros unless it is 0"
    )]
    pub(crate) fn pop_first(&mut self) -> Option<u8> {
        if self.0 == 0 {
            return None;
        }
        let zeros = self.0.leading_zeros();
        self.0 &= !(1 << (127 - zeros));
        Some(zeros as u8 + 1)
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
    fn halves_on_the_wire() {
        // The golden sale's primary bitmap, in both encodings and either case.
        let fields = [3, 4, 11, 22, 25, 26, 35, 41, 42, 49, 52, 53, 60, 64];
        let rows: [(BitmapEncoding, &[u8]); 3] = [
            (BitmapEncoding::Binary, &[0x30, 0x20, 0x04, 0xC0, 0x20, 0xC0, 0x98, 0x11]),
            (BitmapEncoding::Hex, b"302004C020C09811"),
            (BitmapEncoding::Hex, b"302004c020c09811"),
        ];
        for (encoding, wire) in rows {
            let half = encoding.read(wire).unwrap();
            assert_eq!(Bitmap::from_primary(half).iter().collect::<Vec<_>>(), fields);
            let mut out = Vec::new();
            encoding.write(half, &mut out);
            assert_eq!(out, wire.to_ascii_uppercase());
        }
        assert_eq!(BitmapEncoding::Hex.read(b"302004C020C0981G"), None);
        assert_eq!(BitmapEncoding::Hex.read(b"+02004C020C09811"), None);
    }

    #[test]
    fn first_and_last_field() {
        let mut bits = Bitmap::default();
        for de in [1, 64, 65, 128, 0, 129] {
            bits.insert(de);
        }
        assert_eq!(bits.halves(), (1 << 63 | 1, 1 << 63 | 1));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [1, 64, 65, 128]);
        bits.remove(64);
        assert!(!bits.has(64) && bits.has(65) && !bits.has(0));
    }
}
