//! PINs verified: by a Visa PVV, or by the offset of IBM 3624.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::pin::{EncryptedPin, account, format, is_base_key};
use super::{Answer, Commands, HostHsm};
use crate::hsm::des::{DesKey, KeyLength};
use crate::hsm::dukpt::tdes::{KeySerialNumber, Variant};
use crate::hsm::pin::block::AccountField;
use crate::hsm::pin::verification::{
    DecimalizationTable, Ibm3624, Offset, TableCheck, ValidationData, verify_pvv,
};
use crate::hsm::variant_lmk::KeyType;
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[
    (b"DC", terminal_pvv),
    (b"EC", zone_pvv),
    (b"GQ", transaction_pvv),
    (b"DA", terminal_offset),
    (b"EA", zone_offset),
    (b"GO", transaction_offset),
];

/// PIN verification key for PVVs, always of double length.
const PVV_KEY: Role =
    Role { types: &[KeyType::TmkTpkPvk], usages: &[*b"V2", *b"V0"], modes: b"CV", is_for_pins: true };
/// PIN verification key for IBM 3624. No PIN stands under it, and it may be of single length.
const OFFSET_KEY: Role = Role { usages: &[*b"V1", *b"V0"], is_for_pins: false, ..PVV_KEY };

/// What a PIN verification key does.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Verify,
    Generate,
    /// The one and then the other.
    Change,
}

impl Use {
    /// The modes of use that let it.
    fn modes(self) -> &'static [u8] {
        match self {
            Use::Verify => b"CV",
            Use::Generate => b"CG",
            Use::Change => b"C",
        }
    }
}

/// A PIN verification key, and the name that its failures are counted under.
pub(super) struct Pvk {
    name: u64,
    pub(super) key: Arc<DesKey>,
}

/// How PINs of an account are computed: check length (2), account (12), decimalization table (16), validation
/// data (12).
pub(super) struct Rule {
    /// Digits of the PIN that count; fewest that it has.
    pub(super) check: usize,
    pub(super) account: AccountField,
    table: DecimalizationTable,
    validation: ValidationData,
}

impl Rule {
    /// With this key.
    pub(super) fn with<'a>(&'a self, pvk: &'a DesKey) -> Ibm3624<'a> {
        Ibm3624 { pvk, table: &self.table, validation: &self.validation }
    }
}

/// What is verified by an offset: PIN block (16), format (2), rule, offset (12).
pub(super) struct ByOffset {
    pub(super) pin: EncryptedPin,
    pub(super) rule: Rule,
    offset: Offset,
}

/// What is verified by a PVV.
pub(super) struct ByPvv<'a> {
    pub(super) pin: EncryptedPin,
    /// The account that the PVV is of.
    pub(super) account: AccountField,
    pub(super) index: u8,
    pub(super) pvv: &'a str,
}

/// PIN block (16), format (2), account (12), the account of the PVV behind `;` where it is another, key index
/// (1), PVV (4).
fn by_pvv<'a>(fields: &mut Fields<'a>) -> Result<ByPvv<'a>, Code> {
    let block = fields.hex_array()?;
    let pin = EncryptedPin { block, format: format(fields)?, account: account(fields)? };
    let account = if fields.takes(b';') { account(fields)? } else { pin.account };
    Ok(ByPvv { pin, account, index: index(fields)?, pvv: fields.digits(4)? })
}

/// Which pair of keys a PVV is of: a digit.
pub(super) fn index(fields: &mut Fields<'_>) -> Result<u8, Code> {
    u8::try_from(fields.number(1)?).map_err(|_| Code::INPUT)
}

impl HostHsm {
    /// Opens a PVK for PVVs.
    pub(super) fn pvv_key(&self, key: KeyField<'_>, what_for: Use) -> Result<Pvk, Code> {
        self.verification_key(key, &Role { modes: what_for.modes(), ..PVV_KEY })
    }

    /// Opens a PVK for IBM 3624.
    pub(super) fn offset_key(&self, key: KeyField<'_>, what_for: Use) -> Result<Pvk, Code> {
        self.verification_key(key, &Role { modes: what_for.modes(), ..OFFSET_KEY })
    }

    /// Its parity is told as that of a command's first key; where it is the second, the command says so.
    fn verification_key(&self, key: KeyField<'_>, role: &Role) -> Result<Pvk, Code> {
        let opened = self.lmks.open(key, role)?;
        Ok(Pvk { name: opened.name, key: opened.des()? })
    }

    /// Reads a [`Rule`].
    pub(super) fn rule(&self, fields: &mut Fields<'_>) -> Result<Rule, Code> {
        let (check, account) = (fields.number(2)?, account(fields)?);
        let table = self.table(fields)?;
        let validation = ValidationData::of_command(fields.text(12)?, account)?;
        Ok(Rule { check, account, table, validation })
    }

    /// A decimalization table in clear, or encrypted: whatever is no acceptable table in clear. That a
    /// ciphertext is one by chance happens less than once in two thousand tables.
    fn table(&self, fields: &mut Fields<'_>) -> Result<DecimalizationTable, Code> {
        let mut encrypted = fields.clone();
        let clear = DecimalizationTable::parse(fields.hex_digits(16)?, TableCheck::Strict);
        let table = clear.or_else(|_| {
            let table = Zeroizing::new(self.lmks.tables().decrypt(encrypted.hex_array()?));
            let table = Zeroizing::new(hex::encode(table.as_slice()));
            DecimalizationTable::parse(&table, TableCheck::Strict).map_err(Code::from)
        })?;
        Ok(table)
    }

    /// Reads a [`ByOffset`].
    pub(super) fn by_offset(&self, fields: &mut Fields<'_>) -> Result<ByOffset, Code> {
        let (block, format) = (fields.hex_array()?, format(fields)?);
        let rule = self.rule(fields)?;
        let offset = Offset::parse(fields.text(12)?)?;
        Ok(ByOffset { pin: EncryptedPin { block, format, account: rule.account }, rule, offset })
    }

    fn verify_pvv(&self, key: &DesKey, pvk: KeyField<'_>, what: &ByPvv<'_>) -> Result<Answer, Code> {
        self.check_pvv(key, &self.pvv_key(pvk, Use::Verify).map_err(Code::of_destination)?, what)?;
        Ok(Answer::done(""))
    }

    /// That a PIN has its PVV, unless too many had not.
    pub(super) fn check_pvv(&self, key: &DesKey, pvk: &Pvk, what: &ByPvv<'_>) -> Result<(), Code> {
        // The first of the twelve digits plays no part in a PVV: with another one the card is no other.
        let [_, card @ ..] = what.account.digits();
        self.verified(pvk.name, [card], || {
            let pin = what.pin.open(key)?;
            Ok(verify_pvv(&pvk.key, what.index, &pin, what.account, what.pvv.as_bytes())?)
        })
    }

    fn verify_offset(&self, key: &DesKey, pvk: KeyField<'_>, what: &ByOffset) -> Result<Answer, Code> {
        let pvk = self.offset_key(pvk, Use::Verify).map_err(Code::of_destination)?;
        self.check_offset(key, &pvk, what)?;
        Ok(done_with(&pvk.key, ""))
    }

    /// That a PIN has its offset, unless too many had not.
    pub(super) fn check_offset(&self, key: &DesKey, pvk: &Pvk, what: &ByOffset) -> Result<(), Code> {
        // What the PIN is computed of, not the account beside it, which no PIN block of format 1 is bound to.
        self.verified(pvk.name, [what.rule.validation.octets()], || {
            let pin = what.pin.open(key)?;
            if !(4..=what.offset.length()).contains(&what.rule.check) {
                return Err(Code::INPUT);
            }
            Ok(what.rule.with(&pvk.key).verify(&pin, &what.offset)?)
        })
    }
}

/// Done, with the warning when the PVK is longer than single.
pub(super) fn done_with(pvk: &DesKey, fields: impl Into<Vec<u8>>) -> Answer {
    let code = match pvk.length() {
        KeyLength::Single => Code::DONE,
        KeyLength::Double | KeyLength::Triple => Code::LONG_PVK,
    };
    Answer { code, fields: fields.into() }
}

/// `DC`: TPK, PVK, PIN block (16), format (2), account (12), key index (1), PVV (4) → nothing.
fn terminal_pvv(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    static_pvv(hsm, fields, &Role::TPK)
}

/// `EC`: the same under a ZPK, and behind the account `;` and that of the PVV (12) where it is another.
fn zone_pvv(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    static_pvv(hsm, fields, &Role::ZPK_SOURCE)
}

fn static_pvv(hsm: &HostHsm, fields: &mut Fields<'_>, role: &Role) -> Result<Answer, Code> {
    let (key, pvk) = (fields.key()?, fields.key()?);
    let what = by_pvv(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, role)?.des()?;
    hsm.verify_pvv(&key, pvk, &what)
}

/// `GQ`: mode (1) [MAC mode (1), method (1)], BDK, PVK, KSN descriptor (3), KSN, then as `EC` [MAC, length (4), data] →
/// [the MAC's code].
fn transaction_pvv(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let transaction = Transaction::read(fields)?;
    let what = by_pvv(fields)?;
    transaction.verified(hsm, fields, |key, pvk| hsm.verify_pvv(key, pvk, &what))
}

/// `DA`: TPK, PVK, most digits (2), PIN block (16), format (2), check length (2), account (12),
/// decimalization table (16), validation data (12), offset (12) → nothing.
fn terminal_offset(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    static_offset(hsm, fields, &Role::TPK)
}

/// `EA`: the same under a ZPK.
fn zone_offset(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    static_offset(hsm, fields, &Role::ZPK_SOURCE)
}

fn static_offset(hsm: &HostHsm, fields: &mut Fields<'_>, role: &Role) -> Result<Answer, Code> {
    let (key, pvk) = (fields.key()?, fields.key()?);
    fields.number(2)?;
    let what = hsm.by_offset(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, role)?.des()?;
    hsm.verify_offset(&key, pvk, &what)
}

/// `GO`: as `GQ`, with what `DA` has without the most digits.
fn transaction_offset(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let transaction = Transaction::read(fields)?;
    let what = hsm.by_offset(fields)?;
    transaction.verified(hsm, fields, |key, pvk| hsm.verify_offset(key, pvk, &what))
}

/// A DUKPT transaction with a PIN, and perhaps a MAC.
struct Transaction<'a> {
    /// In mode `1`: the octets of its MAC that the command has.
    mac: Option<Range<usize>>,
    bdk: KeyField<'a>,
    pvk: KeyField<'a>,
    ksn: KeySerialNumber,
}

impl<'a> Transaction<'a> {
    /// Mode `0`, or `1` with MAC mode and method; BDK with or without a flag, PVK, KSN.
    fn read(fields: &mut Fields<'a>) -> Result<Self, Code> {
        let mac = match fields.text(1)? {
            "0" => None,
            "1" => Some(fields.terminal_mac_part()?),
            _ => return Err(Code::INPUT),
        };
        is_base_key(fields);
        Ok(Self { mac, bdk: fields.key()?, pvk: fields.key()?, ksn: fields.key_serial_number()? })
    }

    /// Reads what is left, and verifies the PIN and the MAC: each has its code, whatever becomes of the other.
    fn verified(
        self,
        hsm: &HostHsm,
        fields: &mut Fields<'_>,
        verify: impl FnOnce(&DesKey, KeyField<'a>) -> Result<Answer, Code>,
    ) -> Result<Answer, Code> {
        let mac = self.mac.map(|part| fields.terminal_mac(part)).transpose()?;
        hsm.lmk(fields.end()?)?;
        let key = hsm.transaction_key(self.bdk, self.ksn)?;
        let mac = mac.map(|mac| mac.verdict(&key)).transpose()?;
        let pin = verify(&key.des_key(Variant::Pin)?, self.pvk);
        match (pin, mac) {
            (pin, None) => pin,
            (Ok(pin), Some(mac)) => Ok(Answer { code: pin.code, fields: mac.text().into() }),
            (Err(Code::MISMATCH), Some(mac)) => {
                Ok(Answer { code: Code::MISMATCH, fields: mac.text().into() })
            }
            (Err(other), Some(_)) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, codes, exchanges, transcript, written};
    use super::*;
    use crate::hsm::variant_lmk::{Scheme, TEST_PAIRS, VariantLmk};

    #[test]
    fn pvvs_verify_as_on_a_device() {
        transcript(&[
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 2194", "DD 00"),
            ("EC ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7548 %01", "ED 00"),
            // Under the variant test LMK, of a simulator.
            (
                "DC U8463435FC4B4DAA0C49025272C29B12C X367930344805B1FAD6146EF4ED7502B3 6428EB94035AF53B 01 550000025321 1 4402",
                "DD 00",
            ),
            ("GQ 0 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547 %01", "GR 00"),
            // The account of the PVV said again.
            ("EC ZPK1 PVKV AD72F973446E84E7 01 850103093936;850103093936 1 7548", "ED 00"),
        ]);
    }

    #[test]
    fn offsets_verify_as_on_a_device() {
        transcript(&[
            (
                "DA TPK PVKI2 12 E5B0C1445E4C57AF 01 06 600000000000 709F26B22464E96A 1234560000N0 093636FFFFFF %01",
                "DB 02",
            ),
            (
                "EA ZPK1 PVKI 12 AD72F973446E84E7 01 06 850103093936 709F26B22464E96A 50103093936N 588664FFFFFF %01",
                "EB 02",
            ),
            (
                "GO 0 BDK1 PVKI A05 FFFF000001315240003A 741311DA9D5D6C32 01 06 600000000000 709F26B22464E96A 0000000000N0 035965FFFFFF %01",
                "GP 02",
            ),
            // The table in clear.
            (
                "EA ZPK1 PVKI 12 AD72F973446E84E7 01 06 850103093936 0123456789012345 50103093936N 588664FFFFFF",
                "EB 02",
            ),
        ]);
    }

    /// The MAC is X9.19 under the transaction's key for requests, as `GW` makes it.
    #[test]
    fn a_mac_beside_the_pin_has_a_code_of_its_own() {
        let terminal = "BDK1 A05 FFFF000001315240003A";
        let mac = ask(&written(&format!("GW 4 1 {terminal} 0016 =424C41424C414D455353414745000000")))[4..]
            .to_owned();
        let (left, right) = mac.split_at(8);
        let pvv = |part: &str, pvv: &str, mac: &str| {
            format!(
                "GQ 1 {part} 1 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 {pvv} {mac} \
                 0016 =424C41424C414D455353414745000000 %01"
            )
        };
        let offset = |offset: &str, mac: &str| {
            format!(
                "GO 1 1 1 BDK1 PVKI A05 FFFF000001315240003A 741311DA9D5D6C32 01 06 600000000000 709F26B22464E96A \
                 0000000000N0 {offset} {mac} 0016 =424C41424C414D455353414745000000"
            )
        };
        let wrong = "0000000000000000";
        exchanges(&[
            (pvv("1", "7547", &mac), "GR 00 00"),
            (pvv("1", "7547", wrong), "GR 00 01"),
            (pvv("1", "7548", &mac), "GR 01 00"),
            (pvv("1", "7548", wrong), "GR 01 01"),
            (pvv("2", "7547", left), "GR 00 00"),
            (pvv("3", "7547", right), "GR 00 00"),
            (pvv("2", "7547", right), "GR 00 01"),
            (offset("035965FFFFFF", &mac), "GP 02 00"),
            (offset("035965FFFFFF", wrong), "GP 02 01"),
            (offset("035966FFFFFF", &mac), "GP 01 00"),
            // A PIN that is none is no verdict on anything.
            (pvv("1", "7547", &mac).replace("741311DA9D5D6C32", "741311DA9D5D6C33"), "GR 20"),
        ]);
    }

    #[test]
    fn a_single_pvk_is_no_reason_for_a_warning() {
        // 0123456789ABCDEF as a PVK of the variant LMK, without a letter.
        let lmk = VariantLmk::new(Zeroizing::new(TEST_PAIRS));
        let clear = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];
        let pvk = lmk.encrypt(KeyType::TmkTpkPvk, Scheme::Z, &clear).unwrap();
        let rule = "06 850103093936 0123456789012345 50103093936N";
        let made = ask(&written(&format!("BK FFF ZPK1 {pvk} AD72F973446E84E7 01 {rule}")));
        assert_eq!(&made[..4], "BL00");
        let offset = &made[4..];
        transcript(&[(&format!("EA ZPK1 {pvk} 12 AD72F973446E84E7 01 {rule} {offset}"), "EB 00")]);
    }

    #[test]
    fn what_is_wrong_with_a_pvv_has_its_own_code() {
        codes(&[
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 2195", "01"),
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 2 2194", "01"),
            ("DC TPK PVKV E57BC634D4717907 01 600000000000 1 2194", "01"),
            ("EC ZPK1 PVKV AD72F973446E84E7 01 850103093936;850103093937 1 7548", "01"),
            ("EC ZPK1 PVKV AD72F973446E84E7 01 850103093936;85010309393 1 7548", "15"),
            ("EC ZPK1 PVKV AD72F973446E84E7 01 850103093937 1 7548", "20"),
            ("DC TPK PVKI2 E57BC634D4717907 01 600000000000 1 2194", "A6"),
            ("DC CVK PVKV2 E57BC634D4717907 01 600000000000 1 2194", "A6"),
            ("EC TPK PVKV AD72F973446E84E7 01 850103093936 1 7548", "A6"),
            ("DC TPK PVKV2 E57BC634D4717908 01 600000000000 1 2194", "20"),
            ("DC TPK PVKV2 E57BC634D4717907 03 600000000000 1 2194", "69"),
            ("DC TPK PVKV2 E57BC634D4717907 49 600000000000 1 2194", "23"),
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 219", "15"),
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 A 2194", "15"),
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 21944", "15"),
            ("DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 2194 %07", "13"),
            // Parity of the first key, and of the PVK; a PVK of single length, and one dressed as double.
            ("DC U8463435FC4B4DAA0C49025272C29B12D PVKV2 6428EB94035AF53B 01 550000025321 1 2194", "10"),
            ("DC TPK U8463435FC4B4DAA0C49025272C29B12D E57BC634D4717907 01 600000000000 1 2194", "11"),
            ("DC TPK 8463435FC4B4DAA0 E57BC634D4717907 01 600000000000 1 2194", "27"),
            ("GQ 2 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547", "15"),
            ("GQ 1 4 1 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547", "15"),
            ("GQ 1 1 2 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547", "15"),
            ("GQ 1 1 1 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547", "15"),
            ("GQ 0 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7548", "01"),
            ("GQ 0 BDK1 PVKV A05 FFFF000001315240003B 741311DA9D5D6C32 01 600000000000 1 7547", "20"),
            ("GQ 0 TPK PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547", "A6"),
        ]);
    }

    #[test]
    fn what_is_wrong_with_an_offset_has_its_own_code() {
        let ea = |rest: &str| format!("EA ZPK1 PVKI 12 AD72F973446E84E7 01 {rest}");
        for (rest, code) in [
            ("06 850103093936 709F26B22464E96A 50103093936N 588664FFFFFF", "02"),
            ("06 850103093936 709F26B22464E96A 50103093936N 588665FFFFFF", "01"),
            ("06 850103093936 709F26B22464E96A 50103093937N 588664FFFFFF", "01"),
            // An offset of six digits for a check of four; not the other way round.
            ("04 850103093936 709F26B22464E96A 50103093936N 588664FFFFFF", "02"),
            ("06 850103093936 709F26B22464E96A 50103093936N 5886FFFFFFFF", "15"),
            ("03 850103093936 709F26B22464E96A 50103093936N 588664FFFFFF", "15"),
            ("06 850103093936 709F26B22464E96B 50103093936N 588664FFFFFF", "25"),
            ("06 850103093936 0000000000000000 50103093936N 588664FFFFFF", "25"),
            ("06 850103093936 709F26B22464E96G 50103093936N 588664FFFFFF", "15"),
            ("06 850103093936 709F26B22464E96A NN1030939361 588664FFFFFF", "15"),
            ("06 850103093936 709F26B22464E96A 50103093936N 58866FFFFFF", "15"),
            ("06 850103093936 709F26B22464E96A 50103093936N FFFFFFFFFFFF", "15"),
            ("06 850103093937 709F26B22464E96A 50103093936N 588664FFFFFF", "20"),
        ] {
            codes(&[(&ea(rest), code)]);
        }
        let rest = "06 600000000000 709F26B22464E96A 0000000000N0 035965FFFFFF";
        for (front, code) in [
            ("GO 0 BDK1 PVKI A05 FFFF000001315240003A 741311DA9D5D6C32 01", "02"),
            ("GO 0 BDK1 PVKI2 A05 FFFF000001315240003A 741311DA9D5D6C32 01", "01"),
            ("GO 0 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01", "A6"),
            ("GO 2 BDK1 PVKI A05 FFFF000001315240003A 741311DA9D5D6C32 01", "15"),
            ("EA ZPK1 PVKI 12 FC99D994F1D3D3B8 01", "02"),
            ("DA TPK PVKI 12 E57BC634D4717907 01", "02"),
            ("DA ZPK1 PVKI 12 FC99D994F1D3D3B8 01", "02"),
            ("EA TPK PVKI 12 E57BC634D4717907 01", "A6"),
            ("EA ZPK1 U8463435FC4B4DAA0C49025272C29B12D 12 FC99D994F1D3D3B8 01", "11"),
        ] {
            codes(&[(&format!("{front} {rest}"), code)]);
        }
    }
}
