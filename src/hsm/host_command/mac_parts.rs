//! Messages whose MAC is computed in parts, a command for each: what a part comes to is handed to the next one.

use super::code::Code;
use super::fields::Fields;
use crate::hsm::HsmError;
use crate::hsm::cipher::{BlockCipher, cbc_encrypt};
use zeroize::Zeroizing;

/// Which part of a message a command has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `0`: all of it.
    Only,
    /// `1`: the first.
    First,
    /// `2`: one in the middle.
    Middle,
    /// `3`: the last.
    Last,
}

impl Part {
    /// A part's digit; `otherwise` is the code of what is none.
    pub(super) fn read(fields: &mut Fields<'_>, otherwise: Code) -> Result<Self, Code> {
        match fields.text(1)? {
            "0" => Ok(Self::Only),
            "1" => Ok(Self::First),
            "2" => Ok(Self::Middle),
            "3" => Ok(Self::Last),
            _ => Err(otherwise),
        }
    }

    /// Whether the message ends with it.
    pub(super) fn is_end(self) -> bool {
        match self {
            Self::Only | Self::Last => true,
            Self::First | Self::Middle => false,
        }
    }

    /// What the parts before have come to: so many octets, in a command that others went before; else zeros.
    pub(super) fn initial_value(
        self,
        fields: &mut Fields<'_>,
        octets: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Code> {
        match self {
            Self::Only | Self::First => Ok(Zeroizing::new(vec![0; octets])),
            Self::Middle | Self::Last => fields.hex(octets),
        }
    }
}

/// A part with what the parts before it have come to.
pub(super) struct Piece<'a> {
    pub(super) part: Part,
    /// As many octets as the cipher's block has.
    pub(super) iv: &'a [u8],
    pub(super) data: &'a [u8],
}

impl Piece<'_> {
    /// Chains whole blocks by `key` when parts follow, else ends by `mac`. What parts before the last have come to is
    /// what one block in their place would have: the one that `key` decrypts it to.
    pub(super) fn chained<const N: usize>(
        &self,
        key: &impl BlockCipher<N>,
        mac: impl Fn(&[u8]) -> Result<[u8; N], HsmError>,
    ) -> Result<[u8; N], Code> {
        let iv: [u8; N] = self.iv.try_into().map_err(|_| Code::INPUT)?;
        match self.part {
            Part::Only => Ok(mac(self.data)?),
            Part::Last => Ok(mac(&Zeroizing::new([key.decrypt(iv).as_slice(), self.data].concat()))?),
            Part::First | Part::Middle => {
                cbc_encrypt(key, iv, self.data)?.last_chunk().copied().ok_or(Code::LENGTH)
            }
        }
    }
}
