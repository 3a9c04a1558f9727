//! The keys of a command: found by their scheme's letter, opened under the local master key they stand under.

use super::code::Code;
use super::fields::Fields;
use super::pin_under_lmk::PinCipher;
use crate::hsm::aes::AesKey;
use crate::hsm::cache::Cache;
use crate::hsm::des::{self, DesKey};
use crate::hsm::dukpt_tdes::BaseDerivationKey;
use crate::hsm::key_block_header::Header;
use crate::hsm::key_usage::UNRESTRICTED;
use crate::hsm::thales_block;
use crate::hsm::variant_lmk::{KeyType, TEST_PAIRS, VariantLmk};
use crate::hsm::{HsmError, KeyDefect};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
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
    fn new(key: &ClearKey, role: &Role) -> Result<Self, Code> {
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

/// Keys of one text, each as it was opened for a role.
type Roles = Arc<[(Role, Arc<Opened>)]>;

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
    /// Keys by their characters in a command. A text that does not open is not kept.
    opened: Cache<Box<str>, Roles>,
    names: RandomState,
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
            opened: Cache::new(),
            names: RandomState::new(),
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

    /// Opens a key for a role, or finds it opened.
    pub(crate) fn open(&self, key: KeyField<'_>, role: &Role) -> Result<Arc<Opened>, Code> {
        let roles = self.opened.find(key.0).unwrap_or_default();
        if let Some((_, opened)) = roles.iter().find(|(opened_for, _)| opened_for == role) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Opened::new(&self.open_clear(key, role)?, role)?);
        let roles = roles.iter().cloned().chain([(*role, Arc::clone(&opened))]).collect();
        self.opened.keep(key.0.into(), roles);
        Ok(opened)
    }

    /// Opens a key for a role in clear, each time anew.
    pub(crate) fn open_clear(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
        if key.0.starts_with('S') { self.open_block_for(key, role) } else { self.open_variant(key, role) }
    }

    /// Opens a key block, when it is of the role.
    fn open_block_for(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
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
        Ok(self.named(Some(header), clear))
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
    fn open_variant(&self, key: KeyField<'_>, role: &Role) -> Result<ClearKey, Code> {
        let mut parity = Code::SOURCE_PARITY;
        for kind in role.types {
            let clear = self.variant.decrypt(*kind, key.0)?;
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
    use super::super::tests::KEYS;
    use super::*;

    fn named(name: &str) -> KeyField<'static> {
        KeyField(KEYS.iter().find(|(key, _)| *key == name).unwrap().1)
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
        let lmks = Lmks::test().unwrap();
        let clear = hex::decode("98519E45CBB9291F49EFAD4AFEFDDC79").unwrap();
        let text = |kind| lmks.variant().encrypt(kind, crate::hsm::variant_lmk::Scheme::U, &clear).unwrap();
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
