//! AES, CMAC and HMAC, all from OpenSSL: the room's one file that speaks to it, apart from randomness.
//!
//! Pure functions on octets; OpenSSL's types and errors stay in here.

use super::HsmError;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::sha::Sha256;
use openssl::sign::Signer;
use openssl::symm::{self, Cipher, Crypter, Mode};
use zeroize::Zeroizing;

/// Octets of an AES block.
pub(super) const BLOCK: usize = 16;
/// Octets of an AES-256 key.
pub(super) const KEY: usize = 32;
/// Octets of a GCM nonce (NIST SP 800-38D, 5.2.1.1).
pub(super) const NONCE: usize = 12;
/// Octets of a GCM tag.
pub(super) const TAG: usize = 16;

/// CMAC with AES-256 (NIST SP 800-38B).
pub(super) fn cmac(key: &[u8; KEY], data: &[u8]) -> Result<[u8; BLOCK], HsmError> {
    let compute = || -> Result<[u8; BLOCK], ErrorStack> {
        let key = PKey::cmac(&Cipher::aes_256_cbc(), key)?;
        let mut out = [0; BLOCK];
        Signer::new_without_digest(&key)?.sign_oneshot(&mut out, data)?;
        Ok(out)
    };
    compute().map_err(|_| HsmError::Failure("CMAC"))
}

/// HMAC with SHA-256 (RFC 2104). On OpenSSL's hash itself: its EVP interface to HMAC takes twenty times as
/// long for so few octets, and every payment computes two.
pub(super) fn hmac_sha256(key: &[u8; KEY], data: &[u8]) -> Zeroizing<[u8; KEY]> {
    let inner = keyed_hash(key, 0x36, data);
    keyed_hash(key, 0x5C, inner.as_slice())
}

fn keyed_hash(key: &[u8; KEY], mask: u8, data: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut block = Zeroizing::new([mask; 64]);
    block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
    let mut hash = Sha256::new();
    hash.update(block.as_slice());
    hash.update(data);
    Zeroizing::new(hash.finish())
}

/// AES-256-CBC over whole blocks, without padding.
pub(super) fn cbc(
    mode: Mode,
    key: &[u8; KEY],
    iv: &[u8; BLOCK],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let compute = || -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
        let mut engine = Crypter::new(Cipher::aes_256_cbc(), mode, key, Some(iv))?;
        engine.pad(false);
        // OpenSSL's wrapper wants room for one block more than it writes.
        let mut out = Zeroizing::new(vec![0; data.len() + BLOCK]);
        let written = engine.update(data, &mut out)?;
        let rest = engine.finalize(out.get_mut(written..).unwrap_or_default())?;
        out.truncate(written + rest);
        Ok(out)
    };
    compute().map_err(|_| HsmError::Failure("AES-CBC"))
}

/// AES-256-GCM: the ciphertext and behind it the tag.
pub(super) fn gcm_seal(key: &[u8; KEY], nonce: &[u8; NONCE], data: &[u8]) -> Result<Vec<u8>, HsmError> {
    let mut tag = [0; TAG];
    let mut sealed = symm::encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), &[], data, &mut tag)
        .map_err(|_| HsmError::Failure("AES-GCM"))?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what [`gcm_seal`] made; [`HsmError::Sealed`] when it is altered or under another key.
pub(super) fn gcm_open(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let (data, tag) = sealed.split_last_chunk::<TAG>().ok_or(HsmError::Sealed)?;
    symm::decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), &[], data, tag)
        .map(Zeroizing::new)
        .map_err(|_| HsmError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn known_answers() {
        // NIST SP 800-38B, D.3: CMAC-AES256, no data and one block; SP 800-38A, F.2.5: CBC-AES256.
        let key = octets("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4");
        let clear: [u8; 16] = octets("6BC1BEE22E409F96E93D7E117393172A");
        assert_eq!(hex::encode_upper(cmac(&key, &[]).unwrap()), "028962F61B7BF89EFC6B551F4667D983");
        assert_eq!(hex::encode_upper(cmac(&key, &clear).unwrap()), "28A7023F452E8F82BD4BF28D8C37C35C");
        let iv = octets("000102030405060708090A0B0C0D0E0F");
        let cipher = cbc(Mode::Encrypt, &key, &iv, &clear).unwrap();
        assert_eq!(hex::encode_upper(&*cipher), "F58C4C04D6E5F1BA779EABFB5F7BFBD6");
        assert_eq!(*cbc(Mode::Decrypt, &key, &iv, &cipher).unwrap(), clear);
        assert_eq!(cbc(Mode::Encrypt, &key, &iv, &[0; 15]).err(), Some(HsmError::Failure("AES-CBC")));

        // The GCM specification's test cases 13 and 14.
        let rows = [
            ("", "530F8AFBC74536B9A963B4F1C4CB738B"),
            (
                "00000000000000000000000000000000",
                "CEA7403D4D606B6E074EC5D3BAF39D18D0D1C8A799996BF0265B98B5D48AB919",
            ),
        ];
        for (clear, sealed) in rows {
            let (clear, expected) = (hex::decode(clear).unwrap(), hex::decode(sealed).unwrap());
            assert_eq!(gcm_seal(&[0; 32], &[0; 12], &clear).unwrap(), expected);
            assert_eq!(*gcm_open(&[0; 32], &[0; 12], &expected).unwrap(), clear);
            assert_eq!(gcm_open(&[0; 32], &[1; 12], &expected).err(), Some(HsmError::Sealed));
            assert_eq!(gcm_open(&[0; 32], &[0; 12], &expected[1..]).err(), Some(HsmError::Sealed));
        }

        // RFC 4231, test case 1: its key of 20 octets, with the zeros that HMAC itself would add.
        let mut key = [0; 32];
        key[..20].fill(0x0B);
        assert_eq!(
            hex::encode(*hmac_sha256(&key, b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    proptest::proptest! {
        #[test]
        fn openssl_agrees_on_hmac(
            key in proptest::array::uniform32(0u8..),
            data in proptest::collection::vec(0u8.., 0..300),
        ) {
            let judge = PKey::hmac(&key).unwrap();
            let mut judge = Signer::new(openssl::hash::MessageDigest::sha256(), &judge).unwrap();
            let expected = judge.sign_oneshot_to_vec(&data).unwrap();
            proptest::prop_assert_eq!(hmac_sha256(&key, &data).to_vec(), expected);
        }
    }
}
