//! What PINs are verified by is made: PVVs and offsets of IBM 3624; and PINs from offsets.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::pin::{EncryptedPin, account, format};
use super::pin_verify::{Use, done_with, index};
use super::{Answer, Commands, HostHsm};
use crate::hsm::HsmError;
use crate::hsm::des::DesKey;
use crate::hsm::pin::block::{AccountField, Pin};
use crate::hsm::pin::verification::{Offset, pvv};

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
pub(super) fn pin_key<'a>(fields: &mut Fields<'a>) -> Result<(KeyField<'a>, Role), Code> {
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
        Ok(Answer::done(pvv(&pvk.key, index, of.0, of.1)?.as_slice()))
    }
}

/// An offset, the check length being one that the PIN has.
pub(super) fn offset_answer(pvk: &DesKey, offset: Result<Offset, HsmError>) -> Result<Answer, Code> {
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
    let clear = pin.open(hsm.lmks.open(key, &role)?.des()?.as_ref())?;
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

/// `BK`: key type (3), TPK or ZPK, PVK, PIN block (16), format (2), check length (2), account (12),
/// decimalization table (16), validation data (12) → offset (12). Lists of excluded PINs are not served.
fn offset_of_block(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let ((key, role), pvk) = (pin_key(fields)?, fields.key()?);
    let (block, format) = (fields.hex_array()?, format(fields)?);
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, &role)?.des()?;
    let pvk = hsm.offset_key(pvk, Use::Generate).map_err(Code::of_destination)?;
    let pin = EncryptedPin { block, format, account: rule.account }.open(&key)?;
    offset_answer(&pvk.key, rule.with(&pvk.key).offset(&pin, rule.check))
}

/// `DE`: PVK, PIN under the LMK, check length (2), account (12), decimalization table (16), validation data
/// (12) → offset (12).
fn offset_of_sealed(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let pvk = fields.key()?;
    let sealed = fields.sealed_pin(42)?;
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    let pvk = hsm.offset_key(pvk, Use::Generate)?;
    let pin = hsm.lmks.pins().open(sealed, rule.account)?;
    offset_answer(&pvk.key, rule.with(&pvk.key).offset(&pin, rule.check))
}

/// `EE`: PVK, offset (12), check length (2), account (12), decimalization table (16), validation data (12) →
/// PIN under the LMK, as long as the offset.
fn pin_of_offset(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let pvk = fields.key()?;
    let offset = Offset::parse(fields.text(12)?)?;
    let rule = hsm.rule(fields)?;
    hsm.lmk(fields.end()?)?;
    if !(4..=offset.length()).contains(&rule.check) {
        return Err(Code::CHECK_LENGTH);
    }
    let pvk = hsm.offset_key(pvk, Use::Generate)?;
    let pin = rule.with(&pvk.key).pin(&offset)?;
    Ok(done_with(&pvk.key, hsm.lmks.pins().seal(&pin, rule.account)?))
}

#[cfg(test)]
mod tests {
    use super::super::pin::side;
    use super::super::transcripts::{ask, codes, permissive, transcript, written};
    use super::*;
    use crate::hsm::judges;
    use crate::hsm::key_block::thales::test_lmk;
    use crate::hsm::pin::block::PinFormat;

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
            ("FW FFF ZPK3 PVKV 766532A20A0A264B 01 600000000000 1 %01", "FX 00 7547"),
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

    /// ZPK1, PVKV and PVKI in clear.
    const CLEAR: [&str; 3] = [
        "98519E45CBB9291F49EFAD4AFEFDDC79",
        "D3FD02258F68EFBAC8BC9B54EF46195D",
        "38E6C12FC4CB168085230D0792315854",
    ];

    #[test]
    fn psec_agrees_on_what_is_made_of_blocks_and_of_pins_under_the_lmk() {
        let hsm = permissive(0);
        let answer = |command: &str| {
            let answer = String::from_utf8(hsm.answer(&written(command)).unwrap()).unwrap();
            assert!(matches!(&answer[2..4], "00" | "02"), "{command}: {answer}");
            answer[4..].to_owned()
        };
        let [zpk, pvkv, pvki] = CLEAR.map(|key| hex::decode(key).unwrap());
        let zpk = DesKey::new(&zpk).unwrap();
        let tables = test_lmk::TRIPLE_DES.map(|octet| octet ^ 0x54);
        let tables = DesKey::new(&tables).unwrap();
        let mut chance = judges::Chance::new(3);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..2000 {
            let length = chance.within(4, 12);
            let (pin, account, index) = (chance.digits(length), chance.digits(12), chance.within(0, 9));
            let field = AccountField::parse(&account).unwrap();
            let block = side(&zpk, PinFormat::Iso0, field).seal(&Pin::parse(&pin).unwrap(), [0; 8]).unwrap();
            let block = hex::encode_upper(block.as_slice());
            let sealed = answer(&format!("JE ZPK1 {block} 01 {account}"));

            let pvv = answer(&format!("FW FFF ZPK1 PVKV {block} 01 {account} {index}"));
            assert_eq!(answer(&format!("DG PVKV {sealed} {account} {index}")), pvv);
            answer(&format!("EC ZPK1 PVKV {block} 01 {account} {index} {pvv}"));
            // A check digit behind the account, which nobody looks at.
            let row =
                ["pvv".into(), hex::encode(&pvkv), index.to_string(), pin.clone(), format!("{account}0")];
            cases.push(row.to_vec());
            ours.push(pvv);

            let first = chance.within(0, 9);
            let table = (first..first + 16).map(|digit| (digit % 10).to_string()).collect::<String>();
            let encrypted = tables.encrypt(hex::decode(&table).unwrap().try_into().unwrap());
            let shown = if first < 5 { table.clone() } else { hex::encode_upper(encrypted) };
            let (around, place) = (chance.digits(11), chance.within(0, 11));
            let (front, back) = around.split_at(place);
            let data = format!("{front}{}{back}", &account[7..]);
            let rule = format!("{length:02} {account} {shown} {front}N{back}");
            let padded = answer(&format!("BK FFF ZPK1 PVKI {block} 01 {rule}"));
            assert_eq!(answer(&format!("DE PVKI {sealed} {rule}")), padded);
            assert_eq!(answer(&format!("EE PVKI {padded} {rule}")), sealed);
            answer(&format!("EA ZPK1 PVKI 12 {block} 01 {rule} {padded}"));
            let offset = padded.trim_end_matches('F');
            let digits = |sum: fn(u8, u8) -> u8, left: &str, right: &str| {
                let pairs = left.bytes().zip(right.bytes());
                pairs
                    .map(|(left, right)| char::from(b'0' + sum(left & 15, right & 15) % 10))
                    .collect::<String>()
            };
            let natural = digits(|pin, offset| 10 + pin - offset, &pin, offset);
            let derived = digits(|natural, pin| natural + pin, &natural, &pin);
            let row = ["3624", &hex::encode(&pvki), &table, &data, "0", "16", "F", &pin, &length.to_string()];
            cases.push(row.map(str::to_owned).to_vec());
            ours.push(format!("{natural} {derived} {offset}"));
        }
        judges::agree(include_str!("../judges/pin_verification.py"), &cases, &ours);
    }

    #[test]
    fn a_command_that_is_cut_off_is_refused() {
        let hsm = permissive(0);
        for command in [
            "CA TPK * BDK1 A05 FFFF000001315240003A 12 E57BC634D4717907 01 01 600000000000",
            "G0 BDK1 ZPK1 A05 FFFF000001315240003A 741311DA9D5D6C32 01 01 600000000000",
            "DC TPK PVKV2 E57BC634D4717907 01 600000000000 1 2194",
            "GQ 0 BDK1 PVKV A05 FFFF000001315240003A 741311DA9D5D6C32 01 600000000000 1 7547",
            "DA TPK PVKI2 12 E5B0C1445E4C57AF 01 06 600000000000 709F26B22464E96A 1234560000N0 093636FFFFFF",
            "GO 0 BDK1 PVKI A05 FFFF000001315240003A 741311DA9D5D6C32 01 06 600000000000 709F26B22464E96A 0000000000N0 035965FFFFFF",
            "FW FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1",
            "BK FFF ZPK1 PVKI FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96A 0000000000N0",
            "DE PVKI 0258743 06 850103093936 709F26B22464E96A 50103093936N",
            "EE PVKI 588664FFFFFF 06 850103093936 709F26B22464E96A 50103093936N",
            "JC TPK E57BC634D4717907 01 600000000000",
            "JA 850103093936 06",
        ] {
            let command = written(command);
            for end in 2..command.len() {
                let answer = hsm.answer(&command[..end]).unwrap();
                assert!(!matches!(&answer[2..4], b"00" | b"02"), "{}", command[..end].escape_ascii());
            }
        }
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
