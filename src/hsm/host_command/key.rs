//! The keys of a command: found by their scheme's letter, and what is made of them once they are opened.

use super::code::Code;
use super::fields::Fields;
use crate::hsm::aes::AesKey;
use crate::hsm::des::DesKey;
use crate::hsm::dukpt::tdes::BaseDerivationKey;
use crate::hsm::key_block::header::Header;
use crate::hsm::variant_lmk::KeyType;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key as it stands in a command: characters, not looked into yet.
#[derive(Clone, Copy)]
pub(crate) struct KeyField<'a>(pub(crate) &'a str);

impl KeyField<'_> {
    /// Whether it is a key block under a local master key.
    pub(super) fn is_block(self) -> bool {
        self.0.starts_with('S')
    }

    /// The usage that its key block says.
    pub(super) fn block_usage(&self) -> Option<&str> {
        self.is_block().then(|| self.0.get(6..8)).flatten()
    }

    /// The octets of its cipher's block, as its key block says the cipher.
    pub(super) fn block_octets(self) -> usize {
        if self.is_block() && self.0.get(8..9) == Some("A") { 16 } else { 8 }
    }
}

impl<'a> Fields<'a> {
    /// A key, whose first character says how long it is: `U` and `X` 32 hexadecimal digits, `T` and `Y` 48, `S` and
    /// `R` a key block that says its length itself, a digit 16 digits.
    pub(crate) fn key(&mut self) -> Result<KeyField<'a>, Code> {
        let letter = self.next().ok_or(Code::INPUT)?;
        let length = match letter {
            b'U' | b'X' => 33,
            b'T' | b'Y' => 49,
            b'S' | b'R' => 1 + self.clone().block_length()?,
            b'0'..=b'9' | b'A'..=b'F' => 16,
            _ => return Err(Code::KEY_SCHEME),
        };
        self.text(length).map(KeyField)
    }

    /// The length that a key block behind its scheme's letter says: characters 2 to 5.
    fn block_length(mut self) -> Result<usize, Code> {
        self.octets(2)?;
        self.number(4)
    }
}

/// What a key must be to serve a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// The types it may have under a variant LMK.
    pub(crate) types: &'static [KeyType],
    /// The usages that its key block may have.
    pub(crate) usages: &'static [[u8; 2]],
    /// The modes of use, beside that of no restriction.
    pub(crate) modes: &'static [u8],
    /// Whether PINs stand under it: no single-length key, none dressed as longer (PCI PIN 2-3).
    pub(crate) is_for_pins: bool,
}

impl Role {
    /// Terminal PIN key, for blocks that come in.
    pub(crate) const TPK: Role = Role {
        types: &[KeyType::TmkTpkPvk, KeyType::PciTpk],
        usages: &[*b"P0", *b"71"],
        modes: b"BD",
        is_for_pins: true,
    };
    /// Zone PIN key that PIN blocks are taken from.
    pub(crate) const ZPK_SOURCE: Role =
        Role { types: &[KeyType::Zpk], usages: &[*b"P0", *b"72"], modes: b"BD", is_for_pins: true };
    /// Zone PIN key that PIN blocks are put under.
    pub(crate) const ZPK_DESTINATION: Role = Role { modes: b"BE", ..Role::ZPK_SOURCE };
    /// Base derivation key of DUKPT.
    pub(crate) const BDK: Role = Role {
        types: &[KeyType::Bdk1, KeyType::Bdk2, KeyType::Bdk3, KeyType::Bdk4],
        usages: &[*b"B0"],
        modes: b"X",
        is_for_pins: true,
    };
}

/// A key that was opened: what it is, and what has been made of it. Its octets are not kept. All of it is wiped when
/// dropped.
pub(crate) struct Opened {
    /// Stands for the key where it is not needed itself: a hash with a key of this run.
    pub(super) name: u64,
    schedule: Schedule,
    /// Of a base derivation key.
    base: Option<BaseDerivationKey>,
}

enum Schedule {
    Des(Arc<DesKey>),
    Aes(Arc<AesKey>),
}

impl Opened {
    pub(super) fn new(key: &ClearKey, role: &Role) -> Result<Self, Code> {
        let schedule = if key.is_aes() {
            Schedule::Aes(Arc::new(AesKey::new(&key.clear)?))
        } else {
            Schedule::Des(Arc::new(DesKey::new(&key.clear)?))
        };
        let base = (*role == Role::BDK && !key.is_aes()).then(|| BaseDerivationKey::new(&key.clear));
        Ok(Self { name: key.name, schedule, base: base.transpose()? })
    }

    /// Its schedule as a DES key.
    pub(crate) fn des(&self) -> Result<Arc<DesKey>, Code> {
        match &self.schedule {
            Schedule::Des(key) => Ok(Arc::clone(key)),
            Schedule::Aes(_) => Err(Code::KEY_ALGORITHM),
        }
    }

    /// Its schedule as an AES key.
    pub(super) fn aes(&self) -> Result<Arc<AesKey>, Code> {
        match &self.schedule {
            Schedule::Aes(key) => Ok(Arc::clone(key)),
            Schedule::Des(_) => Err(Code::KEY_ALGORITHM),
        }
    }

    /// Its schedules as the base derivation key of DUKPT with triple DES, when it was opened for that.
    pub(super) fn base(&self) -> Result<&BaseDerivationKey, Code> {
        self.base.as_ref().ok_or(Code::KEY_ALGORITHM)
    }
}

/// A key in clear, for what a schedule does not do: keys that keys travel under or are derived from. Lives as long as
/// its command.
pub(crate) struct ClearKey {
    /// Of a key block: its header.
    pub(crate) header: Option<Header>,
    /// Its octets.
    pub(crate) clear: Zeroizing<Vec<u8>>,
    /// As [`Opened::name`].
    pub(super) name: u64,
}

impl ClearKey {
    /// Whether it is an AES key; else it is one of DES.
    pub(super) fn is_aes(&self) -> bool {
        self.header.is_some_and(|header| header.algorithm == b'A')
    }
}
