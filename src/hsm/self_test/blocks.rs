//! Keys under keys: TR-31 in all its versions, Thales key blocks, variants of the LMK.

use super::super::HsmError;
use super::super::key_block::thales;
use super::super::key_block::{PAD, Protection, Version};
use super::super::variant_lmk::{KeyType, Scheme, TEST_PAIRS, VariantLmk};
use super::{KnownAnswer, answer, octets, when};
use thales::test_lmk;
use zeroize::Zeroizing;

/// Blocks of a payShield 10K, of ISO 20038, B.2, and of a calculator; a variant key of a simulator's tests. Each is
/// unwrapped; its key, wrapped again, is unwrapped again and in an altered block refused.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer(
        "self-test of key blocks of version A",
        || tr31(PAYSHIELD, "A0072K0TN00N0000F40D5672C6D0EC86F860BA88D44D00F0CA9A8CE8CD2F640287A9A9EB"),
        "5DB50B454F8389ADCE573BE50861F2BF",
    ),
    answer(
        "self-test of key blocks of version B",
        || {
            tr31(
                PAYSHIELD,
                "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
            )
        },
        "5DB50B454F8389ADCE573BE50861F2BF",
    ),
    answer(
        "self-test of key blocks of version C",
        || tr31(PAYSHIELD, "C0072K0TN00N0000C9B875FF7A5316BF221C09ED52080DE0B45632A4EA9CE87699CB565E"),
        "5DB50B454F8389ADCE573BE50861F2BF",
    ),
    answer(
        "self-test of key blocks of version D",
        || {
            let block = "D0112B0TN00N000037DB9B046B7B0048785690759580ABC3\
                B9842AB4BB7717B49E92528E575785D8123559376A2553B27BE94F054F4E971C";
            tr31(FORTY_ONE, block)
        },
        "1FA1F7CEC798D91545DA8AE0C7796BD9",
    ),
    answer(
        "self-test of key blocks of version E",
        || {
            let block =
                "E0084B0TV16N0000B2AE5E26BBA7F246E84D5EA24167E208A6B66EF2E27E55A52DB52F0AEACB94C57547";
            tr31(ISO_20038, block)
        },
        "777261707065642033444553206B6579",
    ),
    answer(
        "self-test of Thales key blocks under triple DES",
        || {
            let block = "S00072P0TB00E0001EA421618B34F5FA1A77F7CF6480111B97CF0FAE7BD77D589EC921EF9";
            thales(thales::Version::TripleDes, &test_lmk::TRIPLE_DES, block)
        },
        "98519E45CBB9291F49EFAD4AFEFDDC79",
    ),
    answer(
        "self-test of Thales key blocks under AES",
        || {
            let block = "S10096P0TE00E0000CF29A901B5B5DA7028693D4BE058A7B366D3CD2F5862D94E97BCD6D9F28B414A377052CE7A04\
                D821";
            thales(thales::Version::Aes, &test_lmk::AES, block)
        },
        "F039121BEC83D26B169BDCD5B22AAF8F",
    ),
    answer("self-test of variants of the LMK", variant, "C7152C20BC2C830EA7EC9E8334ABE3FE"),
];

const PAYSHIELD: &str = "EFE0853B256B583D868F251CE99EA1D9";
const FORTY_ONE: &str = "4141414141414141414141414141414141414141414141414141414141414141";
/// "256-bit AES wrapping (ISO 20038)".
const ISO_20038: &str = "3235362D62697420414553207772617070696E67202849534F20323030333829";

fn tr31(kbpk: &str, block: &str) -> Result<Vec<u8>, HsmError> {
    let protection = Protection::new(Version::of(block)?, &octets(kbpk)?)?;
    let (header, key) = protection.unwrap(block)?;
    let again = protection.wrap(&header, &key, 24, &[0xA5; PAD])?;
    let back = protection.unwrap(&again)?.1 == key && protection.unwrap(&altered(&again)).is_err();
    when(back, key.to_vec())
}

fn thales(version: thales::Version, lmk: &[u8], block: &str) -> Result<Vec<u8>, HsmError> {
    let protection = thales::Protection::new(version, lmk)?;
    let (header, key) = protection.unwrap(block)?;
    let again = protection.wrap(&header, &key, &[0xA5; PAD])?;
    let back = protection.unwrap(&again)?.1 == key && protection.unwrap(&altered(&again)).is_err();
    when(back, key.to_vec())
}

/// The block with another character at its end.
fn altered(block: &str) -> String {
    let mut altered = block.to_owned();
    let last = if altered.pop() == Some('0') { '1' } else { '0' };
    altered.push(last);
    altered
}

fn variant() -> Result<Vec<u8>, HsmError> {
    let lmk = VariantLmk::new(Zeroizing::new(TEST_PAIRS));
    let text = "U1EF828AA8F6B80EB83E19FBC373F3A85";
    let key = lmk.decrypt(KeyType::Zpk, text)?;
    let back = lmk.encrypt(KeyType::Zpk, Scheme::U, &key)? == text;
    when(back, key.to_vec())
}
