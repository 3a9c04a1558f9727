//! PINs that holders choose: what the new one is verified by, once the old one is.
//!
//! An old PIN that fails is counted with those that are only verified.

use super::code::Code;
use super::fields::Fields;
use super::pin::{EncryptedPin, account, format};
use super::pin_generate::{offset_answer, pin_key};
use super::pin_verify::{ByPvv, Use, index};
use super::{Answer, Commands, HostHsm};
use crate::hsm::pin::verification::pvv;

pub(super) const COMMANDS: Commands = &[(b"CU", pvv_of_new), (b"DU", offset_of_new)];

/// `CU`: key type (3), TPK or ZPK, PVK, PIN block (16), format (2), account (12), key index (1), PVV (4), block of
/// the new PIN (16) → PVV of the new PIN (4). Both blocks are of one key, format and account. Lists of excluded PINs
/// are not served.
fn pvv_of_new(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let ((key, role), pvk) = (pin_key(fields)?, fields.key()?);
    let block = fields.hex_array()?;
    let pin = EncryptedPin { block, format: format(fields)?, account: account(fields)? };
    let old = ByPvv { account: pin.account, pin, index: index(fields)?, pvv: fields.digits(4)? };
    let new = EncryptedPin { block: fields.hex_array()?, ..old.pin };
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, &role)?.des()?;
    let pvk = hsm.pvv_key(pvk, Use::Change).map_err(Code::of_destination)?;
    hsm.check_pvv(&key, &pvk, &old)?;
    Ok(Answer::done(pvv(&pvk.key, old.index, &new.open(&key)?, new.account)?.as_slice()))
}

/// `DU`: key type (3), TPK or ZPK, PVK, PIN block (16), format (2), check length (2), account (12), decimalization
/// table (16), validation data (12), offset (12), block of the new PIN (16) → offset of the new PIN (12). The same
/// holds as of `CU`.
fn offset_of_new(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let ((key, role), pvk) = (pin_key(fields)?, fields.key()?);
    let old = hsm.by_offset(fields)?;
    let new = EncryptedPin { block: fields.hex_array()?, ..old.pin };
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(key, &role)?.des()?;
    let pvk = hsm.offset_key(pvk, Use::Change).map_err(Code::of_destination)?;
    hsm.check_offset(&key, &pvk, &old)?;
    let new = new.open(&key)?;
    offset_answer(&pvk.key, old.rule.with(&pvk.key).offset(&new, old.rule.check))
}

#[cfg(test)]
mod tests {
    use super::super::AttemptLimits;
    use super::super::data::tests::wrapped_for;
    use super::super::transcripts::{codes, exchanges, refused_when_cut, written};
    use super::*;

    /// A rule whose PIN 300672 has the offset 588664, as a device says.
    const RULE: &str = "850103093936 0123456789012345 50103093936N";

    /// PVVs and offsets of a device for the PINs 300672 and 340367; the others, and the blocks of 1234, 9876543210 and
    /// 481592, are psec's.
    #[test]
    fn a_new_pin_is_verified_by_what_comes_out() {
        let cu = "CU FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7548";
        let du = format!("DU FFF ZPK1 PVKI AD72F973446E84E7 01 06 {RULE} 588664FFFFFF");
        exchanges(&[
            (format!("{cu} AD72F973446E84E7 %01"), "CV 00 7548"),
            (format!("{cu} 3FC052F4612DA667"), "CV 00 8101"),
            (format!("{cu} B7CE9F7BA9D0FCEF"), "CV 00 6460"),
            ("EC ZPK1 PVKV B7CE9F7BA9D0FCEF 01 850103093936 1 6460".into(), "ED 00"),
            (
                "CU FFF ZPK1 PVKV FC99D994F1D3D3B8 01 600000000000 1 7547 4134204434835B4B".into(),
                "CV 00 2245",
            ),
            // Under a TPK, the PIN kept.
            (
                "CU FFF TPK PVKV2 E57BC634D4717907 01 600000000000 1 2194 E57BC634D4717907".into(),
                "CV 00 2194",
            ),
            // Published under the variant test LMK.
            (
                "CU 001 U1EF828AA8F6B80EB83E19FBC373F3A85 X367930344805B1FAD6146EF4ED7502B3 91DDDA0A7C12CFAA 01 550000025321 1 4402 262D1CC277EF0BB4".into(),
                "CV 00 9614",
            ),
            (
                "CU 001 U1EF828AA8F6B80EB83E19FBC373F3A85 X367930344805B1FAD6146EF4ED7502B3 91DDDA0A7C12CFAA 01 550000025321 1 4401 262D1CC277EF0BB4".into(),
                "CV 01",
            ),
            (format!("{du} AD72F973446E84E7 %01"), "DV 02 588664FFFFFF"),
            // Of ten digits the last six.
            (format!("{du} B7CE9F7BA9D0FCEF"), "DV 02 467484FFFFFF"),
            (format!("EA ZPK1 PVKI 12 B7CE9F7BA9D0FCEF 01 06 {RULE} 467484FFFFFF"), "EB 02"),
            (
                "DU FFF ZPK1 PVKI FC99D994F1D3D3B8 01 06 600000000000 709F26B22464E96A 0000000000N0 035965FFFFFF 4134204434835B4B".into(),
                "DV 02 176190FFFFFF",
            ),
            (
                format!("DU FFF ZPK1 PVKI AD72F973446E84E7 01 04 {RULE} 588664FFFFFF 3FC052F4612DA667"),
                "DV 02 3014FFFFFFFF",
            ),
        ]);
    }

    #[test]
    fn a_variant_key_is_named_by_its_type_and_a_single_pvk_is_no_reason_for_a_warning() {
        use crate::hsm::variant_lmk::{KeyType, Scheme, TEST_PAIRS, VariantLmk};
        let lmk = VariantLmk::new(zeroize::Zeroizing::new(TEST_PAIRS));
        let put = |kind, scheme, clear| lmk.encrypt(kind, scheme, &hex::decode(clear).unwrap()).unwrap();
        let key = "98519E45CBB9291F49EFAD4AFEFDDC79";
        let (zpk, tpk) = (put(KeyType::Zpk, Scheme::U, key), put(KeyType::TmkTpkPvk, Scheme::U, key));
        let pvk = put(KeyType::TmkTpkPvk, Scheme::U, "D3FD02258F68EFBAC8BC9B54EF46195D");
        let single = put(KeyType::TmkTpkPvk, Scheme::Z, "0123456789ABCDEF");
        let pins = "AD72F973446E84E7 01 850103093936 1 7548 3FC052F4612DA667";
        exchanges(&[
            (format!("CU 001 {zpk} {pvk} {pins}"), "CV 00 8101"),
            (format!("CU 002 {tpk} {pvk} {pins}"), "CV 00 8101"),
            (format!("CU 002 {zpk} {pvk} {pins}"), "CV 10"),
            (format!("CU 001 {zpk} {single} {pins}"), "CV 27"),
        ]);
        // psec's offsets under the single PVK.
        exchanges(&[(
            format!("DU 001 {zpk} {single} AD72F973446E84E7 01 06 {RULE} 517020FFFFFF B7CE9F7BA9D0FCEF"),
            "DV 00 028273FFFFFF",
        )]);
    }

    #[test]
    fn an_old_pin_that_keeps_failing_is_counted_with_those_that_are_verified() {
        let limits = AttemptLimits { in_a_row: 3, ..AttemptLimits::default() };
        let rows = [
            [
                "CU FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7549 3FC052F4612DA667".to_owned(),
                "EC ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7548".to_owned(),
                "CU FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7548 3FC052F4612DA667".to_owned(),
            ],
            [
                format!("DU FFF ZPK1 PVKI AD72F973446E84E7 01 06 {RULE} 588665FFFFFF B7CE9F7BA9D0FCEF"),
                format!("EA ZPK1 PVKI 12 AD72F973446E84E7 01 06 {RULE} 588664FFFFFF"),
                format!("DU FFF ZPK1 PVKI AD72F973446E84E7 01 06 {RULE} 588664FFFFFF B7CE9F7BA9D0FCEF"),
            ],
        ];
        for [bad, verified, good] in rows {
            let hsm = HostHsm::with_test_keys(0).unwrap().with_attempt_limits(limits);
            let code = |command: &str| hsm.answer(&written(command)).unwrap()[2..4].to_owned();
            for _ in 0..3 {
                assert_eq!(code(&bad), b"01", "{bad}");
            }
            for command in [&bad, &verified, &good] {
                assert_eq!(code(command), b"39", "{command}");
            }
        }
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let even = "U8463435FC4B4DAA0C49025272C29B12D";
        let pvk = |mode| wrapped_for(b"V2", b'T', mode, "D3FD02258F68EFBAC8BC9B54EF46195D");
        let new = "3FC052F4612DA667";
        let cu = |front: &str, rest: &str| format!("CU {front} AD72F973446E84E7 {rest}");
        let account = "01 850103093936 1";
        for (command, code) in [
            (cu("FFF ZPK1 PVKV", &format!("{account} 7549 {new}")), "01"),
            (cu("FFF ZPK1 PVKV", &format!("01 850103093936 2 7548 {new}")), "01"),
            (cu(&format!("002 {even} PVKV"), &format!("{account} 7548 {new}")), "10"),
            (cu(&format!("FFF ZPK1 {even}"), &format!("{account} 7548 {new}")), "11"),
            (cu("FFF ZPK1 8463435FC4B4DAA0", &format!("{account} 7548 {new}")), "27"),
            (cu("FFF ZPK1 PVKI", &format!("{account} 7548 {new}")), "A6"),
            (cu("FFF CVK PVKV", &format!("{account} 7548 {new}")), "A6"),
            (cu(&format!("FFF ZPK1 {}", pvk(b'C')), &format!("{account} 7548 {new}")), "00"),
            (cu(&format!("FFF ZPK1 {}", pvk(b'V')), &format!("{account} 7548 {new}")), "A8"),
            (cu(&format!("FFF ZPK1 {}", pvk(b'G')), &format!("{account} 7548 {new}")), "A8"),
            (cu("001 ZPK1 PVKV", &format!("{account} 7548 {new}")), "28"),
            (cu("003 ZPK1 PVKV", &format!("{account} 7548 {new}")), "28"),
            // The old block, and the new one: of another account.
            (cu("FFF ZPK1 PVKV", &format!("01 850103093937 1 7548 {new}")), "20"),
            (cu("FFF ZPK1 PVKV", &format!("{account} 7548 FC99D994F1D3D3B8")), "20"),
            (cu("FFF ZPK1 PVKV", &format!("03 850103093936 1 7548 {new}")), "69"),
            (cu("FFF ZPK1 PVKV", &format!("99 850103093936 1 7548 {new}")), "23"),
            (cu("FFF ZPK1 PVKV", &format!("{account} 7548 {new} %09")), "13"),
            (cu("FFF ZPK1 PVKV", &format!("{account} 7548 3FC052F4612DA66")), "15"),
            (cu("FFF ZPK1 PVKV", &format!("{account} 7548 {new}0")), "15"),
            (cu("FFF ZPK1 PVKV", &format!("01 850103093936 A 7548 {new}")), "15"),
        ] {
            codes(&[(&command, code)]);
        }
        let du = |front: &str, rest: &str| format!("DU {front} AD72F973446E84E7 01 {rest}");
        let (rule, long) = (format!("06 {RULE}"), "B7CE9F7BA9D0FCEF");
        for (command, code) in [
            (du("FFF ZPK1 PVKI", &format!("{rule} 588665FFFFFF {long}")), "01"),
            (du(&format!("002 {even} PVKI"), &format!("{rule} 588664FFFFFF {long}")), "10"),
            (du(&format!("FFF ZPK1 {even}"), &format!("{rule} 588664FFFFFF {long}")), "11"),
            (du("FFF ZPK1 PVKV", &format!("{rule} 588664FFFFFF {long}")), "A6"),
            (du("001 ZPK1 PVKI", &format!("{rule} 588664FFFFFF {long}")), "28"),
            // A new PIN of four digits where six count.
            (du("FFF ZPK1 PVKI", &format!("{rule} 588664FFFFFF {new}")), "81"),
            (du("FFF ZPK1 PVKI", &format!("07 {RULE} 588664FFFFFF {long}")), "15"),
            (du("FFF ZPK1 PVKI", &format!("{rule} 588664FFFFFF FC99D994F1D3D3B8")), "20"),
            (
                du(
                    "FFF ZPK1 PVKI",
                    &format!("06 850103093936 0000000000000000 50103093936N 588664FFFFFF {long}"),
                ),
                "25",
            ),
            (du("FFF ZPK1 PVKI", &format!("{rule} 588664FFFFFF {long} %09")), "13"),
            (du("FFF ZPK1 PVKI", &format!("{rule} 588664FFFFFF")), "15"),
        ] {
            codes(&[(&command, code)]);
        }
    }

    #[test]
    fn a_command_that_is_cut_off_is_refused() {
        refused_when_cut(&[
            "CU FFF ZPK1 PVKV AD72F973446E84E7 01 850103093936 1 7548 3FC052F4612DA667".to_owned(),
            format!("DU FFF ZPK1 PVKI AD72F973446E84E7 01 06 {RULE} 588664FFFFFF B7CE9F7BA9D0FCEF"),
        ]);
    }
}
