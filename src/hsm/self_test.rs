//! Known answers that every algorithm of the room must give before the HSM serves.
//!
//! Fails closed: one wrong answer, and there is no HSM.

use super::aes;
use super::cipher::cmac;
use super::des::DesKey;
use super::key_block::{Protection, Version};
use super::{HsmError, MacAlgorithm, mac, pin_block, track};
use crate::transaction::{Pan, Track2};

/// The classic double-length test key, KCV 08D7B4.
const K0: [u8; 16] =
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10];
/// Its left half.
const K0_LEFT: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];

/// One algorithm: its name in a failure's text, what it gives, what it must give (hexadecimal).
pub(super) struct KnownAnswer {
    failure: HsmError,
    compute: fn() -> Result<Vec<u8>, HsmError>,
    expected: &'static str,
}

/// Every algorithm with an answer that is published (NBS SP 500-20, ISO 9797-1, X9.24-1, a payShield's key
/// block, RFC 4231, the GCM specification) or, for triple DES, UnionPay ECB and CMAC, OpenSSL's command line's.
pub(super) const KNOWN_ANSWERS: [KnownAnswer; 12] = [
    answer("self-test of DES", || des(&K0_LEFT), "3FA40E8A984D4815"),
    answer("self-test of triple DES", || des(&K0), "D80A0D8B2BAE5E4E"),
    answer(
        "self-test of DES decryption",
        || Ok(DesKey::new(&K0)?.decrypt([0; 8]).to_vec()),
        "C1E6E95D2166B5C4",
    ),
    answer("self-test of X9.9", || authenticate(MacAlgorithm::X99, &K0_LEFT), "70A30640CC76DD8B"),
    answer("self-test of X9.19", || authenticate(MacAlgorithm::X919, &K0), "A1C72E74EA3FA9B6"),
    answer("self-test of UnionPay ECB", || authenticate(MacAlgorithm::UnionPayEcb, &K0), "4635424536444430"),
    answer("self-test of PIN blocks", pin_block_both_ways, "041274EDCBA9876F"),
    answer("self-test of track encryption", track_both_ways, "AA5A7881CAF9ED9A"),
    answer(
        "self-test of CMAC",
        || Ok(cmac(&aes::AesKey::new(&[0x41; 32])?, &[]).to_vec()),
        "A44EA154435B4530FE2D6FDBD811BD8F",
    ),
    answer("self-test of key blocks", unwrap_key_block, "1FA1F7CEC798D91545DA8AE0C7796BD9"),
    answer("self-test of HMAC", hmac, "B0344C61D8DB38535CA8AFCEAF0BF12B881DC200C9833DA726E9376C2E32CFF7"),
    answer(
        "self-test of AES-GCM",
        gcm_both_ways,
        "CEA7403D4D606B6E074EC5D3BAF39D18D0D1C8A799996BF0265B98B5D48AB919",
    ),
];

const fn answer(
    failure: &'static str,
    compute: fn() -> Result<Vec<u8>, HsmError>,
    expected: &'static str,
) -> KnownAnswer {
    KnownAnswer { failure: HsmError::Failure(failure), compute, expected }
}

/// Computes every answer; the first that differs is the error.
pub(super) fn run(answers: &[KnownAnswer]) -> Result<(), HsmError> {
    for answer in answers {
        let found = (answer.compute)().map_err(|_| answer.failure)?;
        if hex::encode_upper(found) != answer.expected {
            return Err(answer.failure);
        }
    }
    Ok(())
}

fn des(key: &[u8]) -> Result<Vec<u8>, HsmError> {
    Ok(DesKey::new(key)?.encrypt(*b"Now is t").to_vec())
}

fn authenticate(algorithm: MacAlgorithm, key: &[u8]) -> Result<Vec<u8>, HsmError> {
    Ok(mac::mac(algorithm, &DesKey::new(key)?, b"Now is the time for all ")?.to_vec())
}

fn pin_block_both_ways() -> Result<Vec<u8>, HsmError> {
    let pan = Pan::parse("4012345678909").map_err(|_| HsmError::PinBlock)?;
    let block = pin_block::encode_iso0(&pin_block::Pin::parse("1234")?, &pan);
    let same = pin_block::decode_iso0(&block, &pan)?.is("1234");
    if same { Ok(block.to_vec()) } else { Err(HsmError::PinBlock) }
}

fn track_both_ways() -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(&[
        0x7C, 0x4A, 0x1F, 0x0D, 0x3B, 0x5E, 0x86, 0xA9, 0xD0, 0xE2, 0xF4, 0x75, 0x86, 0xB9, 0xCD, 0xA2,
    ])?;
    let clear = Track2::parse("6225880012345675D30122010000012300").map_err(|_| HsmError::Track)?;
    let sent = track::encrypt(&key, &clear)?;
    let same = track::decrypt(&key, &sent)? == clear;
    let covered = sent.get(16..32).filter(|_| same).ok_or(HsmError::Track)?;
    hex::decode(covered).map_err(|_| HsmError::Track)
}

fn unwrap_key_block() -> Result<Vec<u8>, HsmError> {
    let block = "D0112B0TN00N000037DB9B046B7B0048785690759580ABC3\
        B9842AB4BB7717B49E92528E575785D8123559376A2553B27BE94F054F4E971C";
    Ok(Protection::new(Version::D, &[0x41; 32])?.unwrap(block)?.1.to_vec())
}

fn hmac() -> Result<Vec<u8>, HsmError> {
    let mut key = [0; 32];
    key.iter_mut().take(20).for_each(|octet| *octet = 0x0B);
    Ok(aes::hmac_sha256(&key, b"Hi There").to_vec())
}

fn gcm_both_ways() -> Result<Vec<u8>, HsmError> {
    let sealed = aes::gcm_seal(&[0; 32], &[0; 12], &[0; 16])?;
    let same = *aes::gcm_open(&[0; 32], &[0; 12], &sealed)? == [0; 16];
    if same { Ok(sealed) } else { Err(HsmError::Sealed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answers_come_out() {
        assert_eq!(run(&KNOWN_ANSWERS), Ok(()));
    }

    #[test]
    fn a_wrong_answer_or_a_failure_names_its_algorithm() {
        for (index, known) in KNOWN_ANSWERS.into_iter().enumerate() {
            let failure = known.failure;
            let wrong = KnownAnswer { expected: "00", ..known };
            assert_eq!(run(&[wrong]), Err(failure), "{index}");
        }
        let broken = answer("broken", || Err(HsmError::PinBlock), "");
        assert_eq!(run(&[broken]), Err(HsmError::Failure("broken")));
    }
}
