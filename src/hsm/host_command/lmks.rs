//! The local master keys of a device, by the numbers that commands name them by: what keys stand under, in commands and
//! answers.
//!
//! | | public test keys | a file's |
//! |---|---|---|
//! | 00 | twenty pairs of DES keys, for variant keys where they are permitted | AES, for key blocks of version 1 |
//! | 01 | triple DES, for key blocks of version 0 | |
//! | 02 | AES, for key blocks of version 1 | |
//!
//! A file's are derived of its data keys, which outlive its LMK: the key blocks are in the hands of callers, where no
//! rotation would reach them.

use super::code::Code;
use super::key::{ClearKey, KeyField, Opened, Role};
use super::pin_under_lmk::PinCipher;
use crate::hsm::aes::AesKey;
use crate::hsm::cache::Cache;
use crate::hsm::cipher::cmac;
use crate::hsm::des::{self, DesKey};
use crate::hsm::key_block::header::{FullHeader, Header};
use crate::hsm::key_block::thales::{Protection, Version, test_lmk};
use crate::hsm::key_usage::UNRESTRICTED;
use crate::hsm::lmk::DataKey;
use crate::hsm::variant_lmk::{KeyType, Scheme, TEST_PAIRS, VariantLmk};
use crate::hsm::{HsmError, KeyDefect};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Keys of one text, each as it was opened for a role.
type Roles = Arc<[(Role, Arc<Opened>)]>;

/// A key block LMK.
struct BlockLmk {
    number: usize,
    version: Version,
    protection: Protection,
}

impl BlockLmk {
    fn new(number: usize, version: Version, key: &[u8]) -> Result<Self, HsmError> {
        Ok(Self { number, version, protection: Protection::new(version, key)? })
    }

    /// Its number as a block's header has it.
    fn context(&self) -> [u8; 2] {
        let digit = |digit| u8::try_from(digit % 10).map_or(b'0', |digit| digit | b'0');
        [digit(self.number / 10), digit(self.number)]
    }
}

/// The local master keys of a device.
pub(crate) struct Lmks {
    /// For variant keys: number 00.
    variant: Option<VariantLmk>,
    /// For key blocks; the first takes what names no number.
    blocks: Vec<BlockLmk>,
    check_value: String,
    is_public: bool,
    /// For decimalization tables.
    tables: DesKey,
    /// For PINs.
    pins: PinCipher,
    /// Keys by their characters in a command. A text that does not open is not kept.
    opened: Cache<Box<str>, Roles>,
    names: RandomState,
}

/// Characters of a key that is kept when it has been opened: one with more has optional blocks that nobody needs.
const LONGEST_KEPT: usize = 512;

/// What every octet of key 01 is changed by to encrypt decimalization tables.
const TABLES: u8 = 0x54;

impl Lmks {
    /// The public test keys: whoever reads the manual knows them.
    pub(crate) fn test() -> Result<Self, HsmError> {
        let check_value = DesKey::new(&test_lmk::TRIPLE_DES)?.check_value();
        Ok(Self {
            variant: None,
            blocks: vec![
                BlockLmk::new(1, Version::TripleDes, &test_lmk::TRIPLE_DES)?,
                BlockLmk::new(2, Version::Aes, &test_lmk::AES)?,
            ],
            check_value: hex::encode_upper(check_value),
            is_public: true,
            tables: DesKey::new(&test_lmk::TRIPLE_DES.map(|octet| octet ^ TABLES))?,
            pins: PinCipher::new(&test_lmk::AES)?,
            opened: Cache::new(),
            names: RandomState::new(),
        })
    }

    /// The same with the twenty public pairs for variant keys.
    pub(crate) fn with_test_pairs(self) -> Self {
        Self { variant: Some(VariantLmk::new(Zeroizing::new(TEST_PAIRS))), ..self }
    }

    /// What is derived of a file's data keys.
    pub(crate) fn of_file(data: &DataKey) -> Result<Self, HsmError> {
        let blocks = data.for_host_commands(b"key blocks");
        let tables = data.for_host_commands(b"decimalization tables");
        let [a, b, c, d, e, f, g, h, ..] = cmac(&AesKey::new(blocks.as_slice())?, &[0; 16]);
        Ok(Self {
            variant: None,
            blocks: vec![BlockLmk::new(0, Version::Aes, blocks.as_slice())?],
            check_value: hex::encode_upper([a, b, c, d, e, f, g, h]),
            is_public: false,
            tables: DesKey::new(tables.get(..24).unwrap_or_default())?,
            pins: PinCipher::new(&data.for_host_commands(b"PINs"))?,
            opened: Cache::new(),
            names: RandomState::new(),
        })
    }

    /// What diagnostics show: the check value of the first LMK for key blocks, 16 hexadecimal digits. That of a
    /// payShield is made in a way of its own.
    pub(crate) fn check_value(&self) -> &str {
        &self.check_value
    }

    /// Whether everybody knows them.
    pub(crate) fn are_public(&self) -> bool {
        self.is_public
    }

    /// Whether there is one of this number.
    pub(crate) fn has(&self, number: usize) -> bool {
        (number == 0 && self.variant.is_some()) || self.blocks.iter().any(|lmk| lmk.number == number)
    }

    /// What decimalization tables are encrypted under: triple DES, each table one block.
    pub(crate) fn tables(&self) -> &DesKey {
        &self.tables
    }

    /// What PINs are encrypted under.
    pub(crate) fn pins(&self) -> &PinCipher {
        &self.pins
    }

    fn variant(&self) -> Result<&VariantLmk, Code> {
        self.variant.as_ref().ok_or(Code::LMK_SCHEMES)
    }

    /// A variant key in clear.
    pub(crate) fn open_as(&self, kind: KeyType, text: &str) -> Result<Zeroizing<Vec<u8>>, Code> {
        Ok(self.variant()?.decrypt(kind, text)?)
    }

    /// A variant key under the LMK of this number.
    pub(crate) fn put_as(
        &self,
        number: Option<usize>,
        kind: KeyType,
        scheme: Scheme,
        clear: &[u8],
    ) -> Result<String, Code> {
        match number {
            None | Some(0) => Ok(self.variant()?.encrypt(kind, scheme, clear)?),
            Some(_) => Err(Code::LMK_SCHEMES),
        }
    }

    /// Opens a key block, whatever it is for.
    pub(crate) fn open_block(&self, text: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), Code> {
        let version = Version::of(text)?;
        let mut refused = Code::LMK;
        for lmk in self.blocks.iter().filter(|lmk| lmk.version == version) {
            match lmk.protection.unwrap(text) {
                // Who makes blocks without a device may leave the number out.
                Ok((header, _)) if header.context != lmk.context() && header.context != *b"00" => {
                    return Err(Code::LMK);
                }
                Ok(opened) => return Ok(opened),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    /// A key block under the LMK of this number.
    pub(crate) fn put_block(
        &self,
        number: Option<usize>,
        header: &FullHeader,
        clear: &[u8],
        pad: &[u8],
    ) -> Result<String, Code> {
        let named = |lmk: &&BlockLmk| number.is_none_or(|number| number == lmk.number);
        let lmk = self.blocks.iter().find(named).ok_or(Code::LMK_SCHEMES)?;
        // Nothing stronger stands under something weaker (PCI PIN, annex C).
        if lmk.version == Version::TripleDes && header.fixed.algorithm == b'A' {
            return Err(Code::KEY_ALGORITHM);
        }
        let header = FullHeader { context: lmk.context(), ..header.clone() };
        Ok(lmk.protection.wrap(&header, clear, pad)?)
    }

    /// Opens a key for a role, or finds it opened.
    pub(crate) fn open(&self, key: KeyField<'_>, role: &Role) -> Result<Arc<Opened>, Code> {
        let roles = self.opened.find(key.0).unwrap_or_default();
        if let Some((_, opened)) = roles.iter().find(|(opened_for, _)| opened_for == role) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Opened::new(&self.open_clear(key, role)?, role)?);
        let roles = roles.iter().cloned().chain([(*role, Arc::clone(&opened))]).collect();
        if key.0.len() <= LONGEST_KEPT {
            self.opened.keep(key.0.into(), roles);
        }
        Ok(opened)
    }

    /// Opens a key for a role in clear, each time anew.
    pub(crate) fn open_clear(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
        if key.0.starts_with('S') { self.open_block_for(key, role) } else { self.open_variant(key, role) }
    }

    /// Opens a key block, when it is of the role.
    fn open_block_for(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
        let (FullHeader { fixed: header, .. }, clear) = self.open_block(key.0)?;
        if !role.usages.contains(&header.usage) {
            return Err(Code::USAGE);
        }
        if header.mode != UNRESTRICTED && !role.modes.contains(&header.mode) {
            return Err(Code::MODE_OF_USE);
        }
        if header.algorithm != b'A' {
            check_des(&clear, role.is_for_pins)?;
        }
        Ok(self.named(Some(header), clear))
    }

    /// A key of the role's type: the first under which its parity is odd.
    fn open_variant(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
        let mut parity = Code::SOURCE_PARITY;
        for kind in role.types {
            let clear = self.open_as(*kind, key.0)?;
            match check_des(&clear, role.is_for_pins) {
                Ok(()) => return Ok(self.named(None, clear)),
                Err(code) => parity = code,
            }
        }
        Err(parity)
    }

    fn named(&self, header: Option<Header>, clear: Zeroizing<Vec<u8>>) -> ClearKey {
        let name = self.names.hash_one(clear.as_slice());
        ClearKey { header, clear, name }
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

#[cfg(test)]
mod tests {
    use super::super::transcripts::KEYS;
    use super::*;

    fn named(name: &str) -> KeyField<'static> {
        KeyField(KEYS.iter().find(|(key, _)| *key == name).unwrap().1)
    }

    /// A table in clear and as a device shows it. Parity bits do not count: 55 is the same.
    #[test]
    fn decimalization_tables_are_encrypted_as_by_a_device() {
        let clear = 0x0123_4567_8901_2345_u64.to_be_bytes();
        let encrypted = 0x709F_26B2_2464_E96A_u64.to_be_bytes();
        let by_parity = DesKey::new(&test_lmk::TRIPLE_DES.map(|octet| octet ^ 0x55)).unwrap();
        let lmks = Lmks::test().unwrap();
        for tables in [lmks.tables(), &by_parity] {
            assert_eq!((tables.encrypt(clear), tables.decrypt(encrypted)), (encrypted, clear));
        }
    }

    #[test]
    fn an_opened_key_is_found_again_and_only_for_the_role_it_was_opened_for() {
        let lmks = Lmks::test().unwrap();
        let opened = lmks.open(named("ZPK1"), &Role::ZPK_SOURCE).unwrap();
        for (name, role, expected) in [
            ("ZPK1", Role::ZPK_SOURCE, Ok(true)),
            // The same text for another role is opened anew, and for one that it does not have refused every time.
            ("ZPK1", Role::ZPK_DESTINATION, Ok(false)),
            ("ZPK1", Role::BDK, Err(Code::USAGE)),
            ("ZPK1", Role::BDK, Err(Code::USAGE)),
            ("ZPK1", Role { modes: b"X", ..Role::ZPK_SOURCE }, Err(Code::MODE_OF_USE)),
            ("TPK2", Role::ZPK_SOURCE, Ok(false)),
            ("ZPK1", Role::ZPK_SOURCE, Ok(true)),
        ] {
            let found = lmks.open(named(name), &role).map(|found| Arc::ptr_eq(&found, &opened));
            assert_eq!(found, expected, "{name}");
        }
        // What is altered is not found in place of what it was.
        let altered = named("ZPK1").0.replace("EC921EF9", "EC921EF8");
        for _ in 0..2 {
            assert_eq!(lmks.open(KeyField(&altered), &Role::ZPK_SOURCE).err(), Some(Code::KEY_BLOCK));
        }
        // One schedule for all who ask, and a name that tells keys apart and not what they are wrapped in.
        assert!(Arc::ptr_eq(&opened.des().unwrap(), &opened.des().unwrap()));
        let again = lmks.open(named("ZPK1"), &Role::ZPK_DESTINATION).unwrap();
        assert_eq!(opened.name, again.name);
        assert_ne!(opened.name, lmks.open(named("TPK2"), &Role::ZPK_SOURCE).unwrap().name);
    }

    #[test]
    fn a_variant_key_is_opened_as_each_of_its_types() {
        let lmks = Lmks::test().unwrap().with_test_pairs();
        let clear = hex::decode("98519E45CBB9291F49EFAD4AFEFDDC79").unwrap();
        let text = |kind| lmks.put_as(None, kind, Scheme::U, &clear).unwrap();
        let (tpk, zpk) = (text(KeyType::TmkTpkPvk), text(KeyType::Zpk));
        for _ in 0..2 {
            for (text, role, is_it) in [
                (&tpk, Role::TPK, true),
                (&zpk, Role::ZPK_SOURCE, true),
                (&tpk, Role::ZPK_SOURCE, false),
                (&zpk, Role::TPK, false),
            ] {
                let found = lmks.open_clear(KeyField(text), &role);
                assert_eq!(found.is_ok_and(|found| *found.clear == clear), is_it, "{text}");
            }
        }
    }
}
