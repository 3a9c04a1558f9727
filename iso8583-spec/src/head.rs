//! What stands before the fields: the dialect's own header, and how the MTI is written.

use crate::{Field, Mti, charset::CodePage};

/// How a dialect writes the MTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MtiEncoding {
    /// Two octets of packed digits.
    Bcd,
    /// Four ASCII digits.
    Ascii,
    /// Four EBCDIC digits.
    Ebcdic,
}

impl MtiEncoding {
    /// Every encoding by the name in a dialect file.
    pub(crate) const NAMES: [(&str, MtiEncoding); 3] =
        [("bcd", MtiEncoding::Bcd), ("ascii", MtiEncoding::Ascii), ("ebcdic", MtiEncoding::Ebcdic)];

    /// Octets on the wire.
    #[inline]
    pub(crate) fn width(self) -> usize {
        match self {
            MtiEncoding::Bcd => 2,
            MtiEncoding::Ascii | MtiEncoding::Ebcdic => 4,
        }
    }

    /// Reads it; `None` when it is not made of digits.
    #[inline]
    pub(crate) fn read(self, wire: &[u8]) -> Option<Mti> {
        match self {
            MtiEncoding::Bcd => Mti::from_bcd(wire.try_into().ok()?),
            MtiEncoding::Ascii => Mti::from_ascii(wire),
            MtiEncoding::Ebcdic => {
                let ebcdic = <[u8; 4]>::try_from(wire).ok()?;
                Mti::from_ascii(&ebcdic.map(|octet| CodePage::Ebcdic037.latin1(octet)))
            }
        }
    }

    /// Appends it.
    #[inline]
    pub(crate) fn write(self, mti: Mti, out: &mut Vec<u8>) {
        match self {
            MtiEncoding::Bcd => out.extend_from_slice(&mti.to_bcd()),
            MtiEncoding::Ascii => out.extend_from_slice(mti.ascii()),
            MtiEncoding::Ebcdic => out.extend(mti.ascii().map(|digit| CodePage::Ebcdic037.octet(digit))),
        }
    }
}

/// The header of a dialect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    /// Its name and parts.
    pub(crate) field: Field,
    pub(crate) min: u8,
    pub(crate) max: u8,
}

impl Header {
    /// Octets of the header at the front of `rest`. One of several lengths says its own in its first octet; `None`
    /// when that is not one of them, or not there.
    #[inline]
    pub(crate) fn length_of(&self, rest: &[u8]) -> Option<usize> {
        if self.min == self.max {
            return Some(usize::from(self.max));
        }
        let first = rest.first().filter(|length| (self.min..=self.max).contains(*length))?;
        Some(usize::from(*first))
    }
}
