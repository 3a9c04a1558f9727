//! The keys of a command: found by their scheme's letter, opened under the local master key they stand under.

use super::code::Code;
use super::fields::Fields;
use super::pin_under_lmk::PinCipher;
use crate::hsm::des::{self, DesKey};
use crate::hsm::key_block_header::Header;
use crate::hsm::key_usage::UNRESTRICTED;
use crate::hsm::thales_block;
use crate::hsm::variant_lmk::{KeyType, TEST_PAIRS, VariantLmk};
use crate::hsm::{HsmError, KeyDefect};
use zeroize::Zeroizing;

/// A key as it stands in a command: characters, not looked into yet.
#[derive(Clone, Copy)]
pub(crate) struct KeyField<'a>(pub(crate) &'a str);

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
#[derive(Clone, Copy)]
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

/// A key that was opened: what it is, and its clear octets.
pub(crate) struct Opened {
    /// Of a key block: its header.
    pub(crate) header: Option<Header>,
    /// Its octets.
    pub(crate) clear: Zeroizing<Vec<u8>>,
}

impl Opened {
    /// Its schedule as a DES key.
    pub(crate) fn des(&self) -> Result<DesKey, Code> {
        if self.header.is_some_and(|header| header.algorithm == b'A') {
            return Err(Code::KEY_ALGORITHM);
        }
        DesKey::new(&self.clear).map_err(Code::from)
    }
}

/// The local master keys of a device, by the numbers that commands name them by.
pub(crate) struct Lmks {
    /// 00: twenty pairs.
    variant: VariantLmk,
    /// 01: for blocks of version 0.
    triple_des: thales_block::Protection,
    /// 02: for blocks of version 1.
    aes: thales_block::Protection,
    check_value: [u8; 8],
    /// For decimalization tables.
    tables: DesKey,
    /// For PINs.
    pins: PinCipher,
}

/// What every octet of key 01 is changed by to encrypt decimalization tables.
const TABLES: u8 = 0x54;

impl Lmks {
    /// The public test keys: whoever reads the manual knows them.
    pub(crate) fn test() -> Result<Self, HsmError> {
        Ok(Self {
            variant: VariantLmk::new(Zeroizing::new(TEST_PAIRS)),
            triple_des: thales_block::Protection::new(
                thales_block::Version::TripleDes,
                &thales_block::test_lmk::TRIPLE_DES,
            )?,
            aes: thales_block::Protection::new(thales_block::Version::Aes, &thales_block::test_lmk::AES)?,
            check_value: DesKey::new(&thales_block::test_lmk::TRIPLE_DES)?.check_value(),
            tables: DesKey::new(&thales_block::test_lmk::TRIPLE_DES.map(|octet| octet ^ TABLES))?,
            pins: PinCipher::new(&thales_block::test_lmk::AES)?,
        })
    }

    /// What diagnostics show: the check value of key 01, 16 hexadecimal digits. That of a payShield is made in a way of
    /// its own.
    pub(crate) fn check_value(&self) -> String {
        hex::encode_upper(self.check_value)
    }

    /// The one for variant keys.
    pub(crate) fn variant(&self) -> &VariantLmk {
        &self.variant
    }

    /// What decimalization tables are encrypted under: triple DES, each table one block.
    pub(crate) fn tables(&self) -> &DesKey {
        &self.tables
    }

    /// What PINs are encrypted under.
    pub(crate) fn pins(&self) -> &PinCipher {
        &self.pins
    }

    /// The one for key blocks of this version, and its number as a block's header has it.
    pub(crate) fn blocks(&self, version: thales_block::Version) -> (&thales_block::Protection, [u8; 2]) {
        match version {
            thales_block::Version::TripleDes => (&self.triple_des, *b"01"),
            thales_block::Version::Aes => (&self.aes, *b"02"),
        }
    }

    /// Opens a key for a role.
    pub(crate) fn open(&self, key: KeyField<'_>, role: &Role) -> Result<Opened, Code> {
        if !key.0.starts_with('S') {
            return self.open_variant(key, role);
        }
        let (header, clear) = self.open_block(key)?;
        if !role.usages.contains(&header.usage) {
            return Err(Code::USAGE);
        }
        if header.mode != UNRESTRICTED && !role.modes.contains(&header.mode) {
            return Err(Code::MODE_OF_USE);
        }
        if header.algorithm != b'A' {
            check_des(&clear, role.is_for_pins)?;
        }
        Ok(Opened { header: Some(header), clear })
    }

    /// Opens a key block, whatever it is for.
    pub(crate) fn open_block(&self, key: KeyField<'_>) -> Result<(Header, Zeroizing<Vec<u8>>), Code> {
        let (protection, number) = self.blocks(thales_block::Version::of(key.0)?);
        let (header, clear) = protection.unwrap(key.0)?;
        // Who makes blocks without a device may leave the number out.
        if header.context != number && header.context != *b"00" {
            return Err(Code::LMK);
        }
        Ok((header.fixed, clear))
    }

    /// A key of the role's type: the first under which its parity is odd.
    fn open_variant(&self, key: KeyField<'_>, role: &Role) -> Result<Opened, Code> {
        let mut parity = Code::SOURCE_PARITY;
        for kind in role.types {
            let clear = self.variant.decrypt(*kind, key.0)?;
            match check_des(&clear, role.is_for_pins) {
                Ok(()) => return Ok(Opened { header: None, clear }),
                Err(code) => parity = code,
            }
        }
        Err(parity)
    }
}

/// A DES key's parity, and for PINs its strength.
fn check_des(clear: &[u8], is_for_pins: bool) -> Result<(), Code> {
    if is_for_pins && clear.len() < 16 {
        return Err(Code::KEY_LENGTH);
    }
    match des::check_strength(clear) {
        // The public test keys hold weak ones, and so do keys in the field that serve no PIN.
        Err(HsmError::Key(KeyDefect::Weak | KeyDefect::Repeats)) if !is_for_pins => Ok(()),
        found => found.map_err(Code::from),
    }
}
