//! What PINs are verified by is made: PVVs and offsets of IBM 3624; and PINs from offsets.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::pin::{EncryptedPin, account, format};
use super::pin_verify::{Use, done_with, index};
use super::{Answer, Commands, HostHsm};
use crate::hsm::HsmError;
use crate::hsm::des::DesKey;
use crate::hsm::pin_block::{AccountField, Pin};
use crate::hsm::pin_verification::{Offset, pvv};

pub(super) const COMMANDS: Commands = &[
    (b"FW", pvv_of_block),
    (b"DG", pvv_of_sealed),
    (b"BK", offset_of_block),
    (b"DE", offset_of_sealed),
    (b"EE", pin_of_offset),
];

/// Terminal or zone PIN key: a key block says itself which.
const PIN_KEY: Role = Role { usages: &[*b"P0", *b"71", *b"72"], ..Role::TPK };

/// Key type (3), key: the key that a PIN block is under.
fn pin_key<'a>(fields: &mut Fields<'a>) -> Result<(KeyField<'a>, Role), Code> {
    let kind = fields.text(3)?;
    let key = fields.key()?;
    match (kind, key.0.starts_with('S')) {
        ("FFF", true) => Ok((key, PIN_KEY)),
        ("001", false) => Ok((key, Role::ZPK_SOURCE)),
        ("002" | "70D", false) => Ok((key, Role::TPK)),
        _ => Err(Code::KEY_TYPE),
    }
}

impl HostHsm {
    fn pvv(&self, pvk: KeyField<'_>, of: (&Pin, AccountField), index: u8) -> Result<Answer, Code> {
        let pvk = self.pvv_key(pvk, Use::Generate)?;
        Ok(Answer::done(pvv(&pvk, index, of.0, of.1)?.as_slice()))
    }
}

/// An offset, the check length being one that the PIN has.
fn offset_answer(pvk: &DesKey, offset: Result<Offset, HsmError>) -> Result<Answer, Code> {
    Ok(done_with(pvk, offset.map_err(length)?.command_characters()))
}

/// The check length does not go with the PIN's.
fn length(error: HsmError) -> Code {
    if error == HsmError::PinLength { Code::CHECK_LENGTH } else { error.into() }
}

/// `FW`: key type (3), TPK or ZPK, PVK, PIN block (16), format (2), account (12), key index (1) → PVV (4).
fn pvv_of_block(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let ((key, role), pvk) = (pin_key(fields)?, fields.key()?);
    let block = fields.hex_array()?;
    let pin = EncryptedPin { block, format: format(fields)?, account: account(fields)? };
    let index = index(fields)?;
    hsm.lmk(fields.end()?)?;
    let clear = pin.open(&hsm.lmks.open(key, &role)?.des()?)?;
    hsm.pvv(pvk, (&clear, pin.account), index)
}

/// `DG`: PVK, PIN under the LMK, account (12), key index (1) → PVV (4).
fn pvv_of_sealed(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let pvk = fields.key()?;
    let sealed = fields.sealed_pin(13)?;
    let (account, index) = (account(fields)?, index(fields)?);
    hsm.lmk(fields.end()?)?;
    let pin = hsm.lmks.pins().open(sealed, account)?;
    hsm.pvv(pvk, (&pin, account), index)
}

/// `BK`: key type (3), TPK or ZPK, PVK, PIN block (16), format (2), check length (2), account (12), decimalization
/// table (16), validation data (12) → offset (12). Lists of excluded PINs are not served.
fn offset_of_block(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let ((key, role), pvk) = (pin_key(fields)?, fields.key()?);
    let (block, format) = (fields.hex_array()?, format(fields)?);
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, &role)?.des()?;
    let pvk = hsm.offset_key(pvk, Use::Generate)?;
    let pin = EncryptedPin { block, format, account: rule.account }.open(&key)?;
    offset_answer(&pvk, rule.with(&pvk).offset(&pin, rule.check))
}

/// `DE`: PVK, PIN under the LMK, check length (2), account (12), decimalization table (16), validation data (12) →
/// offset (12).
fn offset_of_sealed(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let pvk = fields.key()?;
    let sealed = fields.sealed_pin(42)?;
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    let pvk = hsm.offset_key(pvk, Use::Generate)?;
    let pin = hsm.lmks.pins().open(sealed, rule.account)?;
    offset_answer(&pvk, rule.with(&pvk).offset(&pin, rule.check))
}

/// `EE`: PVK, offset (12), check length (2), account (12), decimalization table (16), validation data (12) → PIN under
/// the LMK, as long as the offset.
fn pin_of_offset(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let pvk = fields.key()?;
    let offset = Offset::parse(fields.text(12)?)?;
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    if !(4..=offset.length()).contains(&rule.check) {
        return Err(Code::CHECK_LENGTH);
    }
    let pvk = hsm.offset_key(pvk, Use::Generate)?;
    let pin = rule.with(&pvk).pin(&offset)?;
    Ok(done_with(&pvk, hsm.lmks.pins().seal(&pin, rule.account)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ask, codes, transcript, written};

    /// The PIN 300672 under the LMK, which is a value of ours.
    fn sealed() -> String {
        ask(&written("JE ZPK1 AD72F973446E84E7 01 850103093936"))[4..].to_owned()
    }

    #[test]
    fn what_is_made_is_that_of_a_device() {
        transcript(&[
            ("FW FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 %01", "FX 00 7548"),
            (
                "BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96A 0000000000N0 %01",
                "BL 02 035965FFFFFF",
            ),
            // The same PINs under other keys.
            ("FW FFF TPK PVKV2 E57BC634D4717907 01 600000000000 1", "FX 00 2194"),
            (
                "BK FFF TPK PVKI E57BC634D4717907 01 06 600000000000 0123456789012345 0000000000N0",
                "BL 02 035965FFFFFF",
            ),
        ]);
    }

    /// Answers of a device to its own value of the PIN under the LMK, 0258743, for ours.
    #[test]
    fn a_pin_under_the_lmk_makes_what_it_makes_on_a_device() {
        let sealed = sealed();
        let rule = "06 850103093936 709F26B22464E96A 50103093936N %01";
        transcript(&[
            (&format!("DG PVKV {sealed} 850103093936 1 %01"), "DH 00 7548"),
            (&format!("DE PVKI {sealed} {rule}"), "DF 02 588664FFFFFF"),
            // The last four digits of the offset.
            (
                &format!("DE PVKI {sealed} 04 850103093936 709F26B22464E96A 50103093936N"),
                "DF 02 8664FFFFFFFF",
            ),
            (&format!("EE PVKI 588664FFFFFF {rule}"), &format!("EF 02 {sealed}")),
            (&format!("JG ZPK1 01 850103093936 {sealed} %01"), "JH 00 AD72F973446E84E7"),
        ]);
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let sealed = sealed();
        let rule = "850103093936 709F26B22464E96A 50103093936N";
        codes(&[
            ("FW FFF CVK PVKV AD72F973446E84E7 01 850103093936 1", "A6"),
            ("FW FFF ZPK1 PVKI AD72F973446E84E7 01 850103093936 1", "A6"),
            ("FW 001 ZPK1 PVKV AD72F973446E84E7 01 850103093936 1", "28"),
            ("FW 003 ZPK1 PVKV AD72F973446E84E7 01 850103093936 1", "28"),
            ("FW FFF U1EF828AA8F6B80EB83E19FBC373F3A85 PVKV AD72F973446E84E7 01 850103093936 1", "28"),
            ("FW 001 U1EF828AA8F6B80EB83E19FBC373F3A84 PVKV AD72F973446E84E7 01 850103093936 1", "10"),
            ("FW FFF ZPK1 8463435FC4B4DAA0 AD72F973446E84E7 01 850103093936 1", "27"),
            ("FW FFF ZPK1 PVKV AD72F973446E84E7 01 850103093937 1", "20"),
            ("FW FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936", "15"),
            ("BK FFF ZPK1 PVKV FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96A 0000000000N0", "A6"),
            ("BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 07 600000000000 709F26B22464E96A 0000000000N0", "81"),
            ("BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 03 600000000000 709F26B22464E96A 0000000000N0", "81"),
            ("BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96B 0000000000N0", "25"),
            ("BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96A 0000000000N", "15"),
            (&format!("DG PVKV {sealed} 850103093937 1"), "14"),
            (&format!("DG PVKI {sealed} 850103093936 1"), "A6"),
            ("DG PVKV 850103093936 1", "15"),
            (&format!("DE PVKI {sealed} 07 {rule}"), "81"),
            (&format!("DE PVKV {sealed} 06 {rule}"), "A6"),
            // The PIN is as long as the others leave it: one character more moves them all.
            (&format!("DE PVKI {sealed} 06 {rule}0"), "25"),
            (&format!("DE PVKI {sealed} 06 {rule} %1"), "15"),
            (&format!("EE PVKI 5886FFFFFFFF 06 {rule}"), "81"),
            (&format!("EE PVKI 588664FFFFFF 03 {rule}"), "81"),
            (&format!("EE PVKI 588664FFFFF 06 {rule}"), "15"),
            (&format!("EE CVK 588664FFFFFF 06 {rule}"), "A6"),
        ]);
    }
}
