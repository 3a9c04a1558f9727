//! Keys as commands bring them and take them away: under a local master key or a zone's, in every scheme.
//!
//! What may leave is said here. `N` never leaves, `E` leaves in key blocks alone, `S` in a variant scheme too
//! (X9.143, 6.3.5); a change of exportability only narrows. A key under a variant LMK says nothing of itself: all but
//! a ZMK may leave, and a key whose block says `N` does not come to stand under a variant LMK.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::{HostHsm, Permit};
use crate::hsm::aes::AesKey;
use crate::hsm::cipher::cmac;
use crate::hsm::des::{self, DesKey};
use crate::hsm::key_block;
use crate::hsm::key_block::header::{FullHeader, Header, OptionalBlock};
use crate::hsm::key_block::thales::{self, UNDER_ZMK, Version};
use crate::hsm::key_usage::{self, UNRESTRICTED};
use crate::hsm::variant_lmk::{KeyType, Scheme, decrypt_under_zmk, encrypt_under_zmk};
use crate::hsm::{HsmError, KeyDefect};
use zeroize::Zeroizing;

/// How a key is written, by its scheme's letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `Z`, `U`, `T`, `X`, `Y`.
    Variant(Scheme),
    /// `S`.
    Thales,
    /// `R`: TR-31.
    Tr31,
}

/// Which local master key a type code speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// The variant one, and the type there.
    Variant(KeyType),
    /// `FFF`: those for key blocks.
    Blocks,
}

impl Family {
    /// The family of three characters.
    pub(super) fn of(code: &str) -> Result<Self, Code> {
        if code == "FFF" {
            return Ok(Self::Blocks);
        }
        KeyType::parse(code).map(Self::Variant).map_err(|_| Code::KEY_TYPE)
    }

    /// That a key block of this usage may stand as a key of this type.
    pub(super) fn takes(self, usage: [u8; 2]) -> Result<(), Code> {
        match self {
            Self::Variant(kind) if !usages(kind).contains(&&usage) => Err(Code::USAGE),
            Self::Variant(_) | Self::Blocks => Ok(()),
        }
    }
}

/// The usages of key blocks that say what a type says.
fn usages(kind: KeyType) -> &'static [&'static [u8; 2]] {
    match kind {
        KeyType::Zmk => &[b"K0", b"K1", b"52"],
        KeyType::Zpk => &[b"P0", b"72"],
        KeyType::TmkTpkPvk => &[b"K0", b"K1", b"51", b"P0", b"71", b"V0", b"V1", b"V2"],
        KeyType::Cvk => &[b"C0"],
        KeyType::Tak | KeyType::Zak => &[b"M0", b"M1", b"M3", b"M6"],
        KeyType::Bdk1 | KeyType::Bdk2 | KeyType::Bdk3 | KeyType::Bdk4 => &[b"B0"],
        KeyType::InitialKey => &[b"B1"],
        KeyType::MkAc => &[b"E0"],
        KeyType::MkSmi => &[b"E2"],
        KeyType::MkSmc => &[b"E1"],
        KeyType::Zek | KeyType::Dek | KeyType::Tek => &[b"D0"],
        KeyType::PciTpk => &[b"P0", b"71"],
        KeyType::PciTmk | KeyType::PciTkr => &[b"K0", b"K1", b"51"],
    }
}

/// What a command says of a key block that it makes.
pub(super) struct Asked {
    usage: [u8; 2],
    mode: u8,
    version: [u8; 2],
    exportability: u8,
    optional: Vec<OptionalBlock>,
}

impl Asked {
    /// The header of a key of this algorithm, when every field is one that there is.
    pub(super) fn header(self, algorithm: u8) -> Result<FullHeader, Code> {
        let Self { usage, mode, version, exportability, optional } = self;
        if key_usage::modes(usage).is_none() {
            return Err(Code::USAGE);
        }
        if mode != UNRESTRICTED && !key_usage::allows(usage, mode) {
            return Err(Code::MODE_OF_USE);
        }
        if openness(exportability).is_none() {
            return Err(Code::EXPORT);
        }
        let fixed = Header { usage, algorithm, mode, version, exportability };
        whole(fixed)?;
        Ok(FullHeader { fixed, context: *b"00", optional })
    }
}

/// That a header is a whole key's.
pub(super) fn whole(header: Header) -> Result<(), Code> {
    if thales::component(header).is_some() { Err(Code::KEY_VERSION) } else { Ok(()) }
}

/// How far a key may go: nowhere, into key blocks, anywhere.
fn openness(exportability: u8) -> Option<u8> {
    match exportability {
        b'N' => Some(0),
        b'E' => Some(1),
        b'S' => Some(2),
        _ => None,
    }
}

/// The exportability that a key has where it goes.
pub(super) fn narrowed(header: &mut FullHeader, to: Option<u8>) -> Result<(), Code> {
    let to = to.unwrap_or(header.fixed.exportability);
    let is_narrower = openness(to).zip(openness(header.fixed.exportability)).is_some_and(|(to, of)| to <= of);
    if !is_narrower {
        return Err(Code::EXPORT);
    }
    header.fixed.exportability = to;
    Ok(())
}

impl Fields<'_> {
    /// A scheme's letter.
    pub(super) fn form(&mut self) -> Result<Form, Code> {
        let [letter] = self.array()?;
        match letter {
            b'S' => Ok(Form::Thales),
            b'R' => Ok(Form::Tr31),
            _ => Scheme::parse(char::from(letter)).map(Form::Variant).map_err(|_| Code::KEY_SCHEME),
        }
    }

    /// A type code of three characters.
    pub(super) fn family(&mut self) -> Result<Family, Code> {
        Family::of(self.text(3)?)
    }

    /// One character behind a mark, when the mark is there.
    pub(super) fn marked(&mut self, mark: u8) -> Result<Option<u8>, Code> {
        if !self.takes(mark) {
            return Ok(None);
        }
        let [found] = self.array()?;
        Ok(Some(found))
    }

    /// Usage, mode of use, version, exportability and optional blocks behind `#`, when it is there.
    pub(super) fn asked(&mut self) -> Result<Option<Asked>, Code> {
        if !self.takes(b'#') {
            return Ok(None);
        }
        let usage = self.array()?;
        self.asked_for(usage).map(Some)
    }

    /// The same behind the usage.
    pub(super) fn asked_for(&mut self, usage: [u8; 2]) -> Result<Asked, Code> {
        let [mode] = self.array()?;
        let version = self.array()?;
        let [exportability] = self.array()?;
        Ok(Asked { usage, mode, version, exportability, optional: self.optional_blocks()? })
    }

    /// Optional blocks: how many (2), and each its identifier (2), length of the whole (2 hexadecimal), data.
    pub(super) fn optional_blocks(&mut self) -> Result<Vec<OptionalBlock>, Code> {
        let count = self.number(2)?;
        let one = |_| {
            let id = self.array()?;
            let length = self.hex_number(2)?.checked_sub(4).ok_or(Code::INPUT)?;
            Ok(OptionalBlock { id, data: self.text(length)?.to_owned() })
        };
        (0..count).map(one).collect()
    }
}

/// A key in clear, and of a key block its header.
pub(super) struct Key {
    /// What it is by the command.
    pub(super) family: Family,
    pub(super) header: Option<FullHeader>,
    pub(super) clear: Zeroizing<Vec<u8>>,
}

impl Key {
    /// `A` AES, `D` single DES, `T` longer.
    pub(super) fn algorithm(&self) -> u8 {
        let by_length = if self.clear.len() == des::BLOCK { b'D' } else { b'T' };
        self.header.as_ref().map_or(by_length, |header| header.fixed.algorithm)
    }

    fn is_des(&self) -> bool {
        matches!(self.algorithm(), b'D' | b'T')
    }

    /// Whether its parity is to be odd: that of a DES key, but for an initial key of DUKPT, all bits of which enter
    /// what is derived from it (X9.24-1, A.2).
    fn has_parity(&self) -> bool {
        let is_initial = self.header.as_ref().is_some_and(|header| header.fixed.usage == *b"B1");
        self.is_des() && !is_initial && self.family != Family::Variant(KeyType::InitialKey)
    }

    /// That it may come to stand under an LMK: odd parity, not weak, not shorter than it seems.
    pub(super) fn strong(&self) -> Result<(), Code> {
        if self.has_parity() { des::check_strength(&self.clear).map_err(Code::from) } else { Ok(()) }
    }

    /// That its parity is odd: what stands under an LMK already may be weak.
    pub(super) fn odd(&self) -> Result<(), Code> {
        if !self.has_parity() {
            return Ok(());
        }
        match des::check_strength(&self.clear) {
            Err(HsmError::Key(KeyDefect::Weak | KeyDefect::Repeats)) => Ok(()),
            found => found.map_err(Code::from),
        }
    }

    /// Its check value, 16 hexadecimal digits; of AES the left half of a CMAC (X9.143, annex A).
    pub(super) fn long_check_value(&self) -> Result<String, Code> {
        let octets = match self.algorithm() {
            b'D' | b'T' => DesKey::new(&self.clear)?.check_value(),
            b'A' => {
                let [a, b, c, d, e, f, g, h, ..] = cmac(&AesKey::new(&self.clear)?, &[0; 16]);
                [a, b, c, d, e, f, g, h]
            }
            _ => return Err(Code::KEY_ALGORITHM),
        };
        Ok(hex::encode_upper(octets))
    }

    /// The first six digits of it.
    pub(super) fn check_value(&self) -> Result<String, Code> {
        let mut digits = self.long_check_value()?;
        digits.truncate(6);
        Ok(digits)
    }

    /// What of it goes elsewhere in this form.
    pub(super) fn leaving(&self, form: Form) -> Result<(), Code> {
        match (&self.header, form) {
            (None, _) if self.family == Family::Variant(KeyType::Zmk) => Err(Code::FUNCTION),
            (None, _) => Ok(()),
            (Some(header), form) => {
                whole(header.fixed)?;
                match (openness(header.fixed.exportability), form) {
                    (Some(2), _) | (Some(1), Form::Thales | Form::Tr31) => Ok(()),
                    (Some(1), Form::Variant(_)) => Err(Code::FUNCTION),
                    (_, _) => Err(Code::EXPORT),
                }
            }
        }
    }
}

/// Where a command puts a key: under an LMK.
pub(super) struct Place {
    pub(super) family: Family,
    pub(super) form: Form,
    pub(super) lmk: Option<usize>,
}

impl HostHsm {
    /// A key that stands under an LMK, whatever it may serve.
    pub(super) fn held(&self, family: Family, key: KeyField<'_>) -> Result<Key, Code> {
        match family {
            Family::Variant(_) if key.0.starts_with(['S', 'R']) => Err(Code::LMK_SCHEMES),
            Family::Variant(kind) => Ok(Key { family, header: None, clear: self.lmks.open_as(kind, key.0)? }),
            Family::Blocks if !key.0.starts_with('S') => Err(Code::LMK_SCHEMES),
            Family::Blocks => {
                let (header, clear) = self.lmks.open_block(key.0)?;
                Ok(Key { family, header: Some(header), clear })
            }
        }
    }

    /// Puts a key under an LMK.
    pub(super) fn hold(&self, place: &Place, key: &Key) -> Result<String, Code> {
        self.lmk(place.lmk)?;
        match (place.family, place.form) {
            (Family::Variant(kind), Form::Variant(scheme)) => {
                self.lmks.put_as(place.lmk, kind, scheme, &key.clear)
            }
            (Family::Blocks, Form::Thales) => {
                let header = key.header.as_ref().ok_or(Code::INPUT)?;
                self.lmks.put_block(place.lmk, header, &key.clear, &self.draw::<16>()?)
            }
            (Family::Variant(_) | Family::Blocks, _) => Err(Code::KEY_SCHEME),
        }
    }

    /// Opens a key that keys travel under.
    pub(super) fn zone(&self, family: Family, key: KeyField<'_>, role: &Role) -> Result<Zone, Code> {
        if (family == Family::Blocks) != key.0.starts_with('S') {
            return Err(Code::LMK_SCHEMES);
        }
        let opened = self.lmks.open_clear(key, role)?;
        if let Some(header) = opened.header {
            whole(header)?;
        }
        Ok(Zone { is_aes: opened.is_aes(), clear: opened.clear })
    }

    /// Puts a key under a zone's: a block's TR-31 version is `B` under DES and `D` under AES unless another is named.
    pub(super) fn send(
        &self,
        zone: &Zone,
        form: Form,
        version: Option<u8>,
        key: &Key,
    ) -> Result<String, Code> {
        let header = || key.header.clone().ok_or(Code::INPUT);
        if !key.is_des() && !zone.is_aes {
            return Err(Code::KEY_ALGORITHM);
        }
        match form {
            Form::Variant(_) if zone.is_aes => Err(Code::KEY_ALGORITHM),
            Form::Variant(scheme) => {
                self.permits(Permit::X917Export)?;
                Ok(encrypt_under_zmk(&zone.clear, scheme, &key.clear)?)
            }
            Form::Thales => {
                let header = FullHeader { context: UNDER_ZMK, ..header()? };
                Ok(zone.blocks()?.wrap(&header, &key.clear, &self.draw::<16>()?)?)
            }
            Form::Tr31 => {
                let letter = version.unwrap_or(if zone.is_aes { b'D' } else { b'B' });
                let protection = zone.tr31(std::str::from_utf8(&[letter]).map_err(|_| Code::INPUT)?)?;
                let header = FullHeader { context: *b"00", ..header()? };
                Ok(format!("R{}", protection.wrap(&header, &key.clear, 0, &self.draw::<16>()?)?))
            }
        }
    }

    /// A key that came under a zone's.
    pub(super) fn receive(&self, zone: &Zone, family: Family, key: KeyField<'_>) -> Result<Key, Code> {
        let (header, clear) = if key.0.starts_with('S') {
            let (header, clear) = zone.blocks()?.unwrap(key.0)?;
            (Some(header), clear)
        } else if let Some(block) = key.0.strip_prefix('R') {
            let (header, clear) = zone.tr31(block)?.unwrap(block)?;
            (Some(header), clear)
        } else if zone.is_aes {
            return Err(Code::KEY_ALGORITHM);
        } else {
            self.permits(Permit::X917Import)?;
            (None, decrypt_under_zmk(&zone.clear, key.0)?)
        };
        if let Some(header) = &header {
            whole(header.fixed)?;
        }
        Ok(Key { family, header, clear })
    }
}

/// A zone master key or terminal master key: other keys travel under it.
pub(super) struct Zone {
    clear: Zeroizing<Vec<u8>>,
    is_aes: bool,
}

impl Zone {
    const ZMK: Role =
        Role { types: &[KeyType::Zmk], usages: &[*b"K0", *b"K1", *b"52"], modes: b"BE", is_for_pins: true };
    const TMK: Role = Role {
        types: &[KeyType::TmkTpkPvk, KeyType::PciTmk],
        usages: &[*b"K0", *b"K1", *b"51"],
        ..Self::ZMK
    };
    /// What a ZMK must be to take a key from it.
    pub(super) const INCOMING: Role = Role { modes: b"BD", ..Self::ZMK };

    /// What a key must be to send another under it: by its flag, `0` a ZMK and `1` a TMK.
    pub(super) fn outgoing(flag: u8) -> Result<&'static Role, Code> {
        match flag {
            b'0' => Ok(&Self::ZMK),
            b'1' => Ok(&Self::TMK),
            _ => Err(Code::INPUT),
        }
    }

    fn blocks(&self) -> Result<thales::Protection, Code> {
        let version = if self.is_aes { Version::Aes } else { Version::TripleDes };
        Ok(thales::Protection::new(version, &self.clear)?)
    }

    fn tr31(&self, block: &str) -> Result<key_block::Protection, Code> {
        let version = key_block::Version::of(block)?;
        let is_aes = matches!(version, key_block::Version::D | key_block::Version::E);
        if is_aes != self.is_aes {
            return Err(Code::KEY_ALGORITHM);
        }
        Ok(key_block::Protection::new(version, &self.clear)?)
    }
}
