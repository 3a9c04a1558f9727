//! AES keys, and what OpenSSL does with them for the room itself: GCM and HMAC for card numbers at rest.
//!
//! Pure functions on octets; the libraries' types and errors stay in here.

use super::cipher::{BlockCipher, cmac};
use super::{HsmError, KeyDefect};
use ::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use ::aes::{Aes128, Aes192, Aes256};
use openssl::sha::Sha256;
use openssl::symm::{self, Cipher};
use zeroize::Zeroizing;

/// Octets of an AES block.
pub(super) const BLOCK: usize = 16;
/// Octets of an AES-256 key.
pub(super) const KEY: usize = 32;
/// Octets of a GCM nonce (NIST SP 800-38D, 5.2.1.1).
pub(super) const NONCE: usize = 12;
/// Octets of a GCM tag.
pub(super) const TAG: usize = 16;

/// How long an AES key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AesLength {
    /// 16 octets.
    Aes128,
    /// 24 octets.
    Aes192,
    /// 32 octets.
    Aes256,
}

impl AesLength {
    /// The length's octets: 16, 24 or 32.
    #[must_use]
    pub fn octets(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => KEY,
        }
    }

    /// The length of a key of so many octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] unless 16, 24 or 32.
    pub fn of(octets: usize) -> Result<Self, HsmError> {
        let all = [Self::Aes128, Self::Aes192, Self::Aes256];
        all.into_iter().find(|length| length.octets() == octets).ok_or(HsmError::Key(KeyDefect::Length))
    }
}

/// An AES key of 128, 192 or 256 bits, its schedule wiped when dropped. Prints its length only.
pub struct AesKey(Schedule);

enum Schedule {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl AesKey {
    /// Takes a clear key of 16, 24 or 32 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        let length = |_| HsmError::Key(KeyDefect::Length);
        Ok(Self(match clear.len() {
            16 => Schedule::Aes128(Aes128::new_from_slice(clear).map_err(length)?),
            24 => Schedule::Aes192(Aes192::new_from_slice(clear).map_err(length)?),
            _ => Schedule::Aes256(Aes256::new_from_slice(clear).map_err(length)?),
        }))
    }

    /// Octets of the key.
    #[must_use]
    pub fn octets(&self) -> usize {
        match self.0 {
            Schedule::Aes128(_) => 16,
            Schedule::Aes192(_) => 24,
            Schedule::Aes256(_) => KEY,
        }
    }

    /// The KCV as 6 upper-case hexadecimal characters: CMAC of a block of zeros (X9.143, annex A).
    #[must_use]
    pub fn kcv(&self) -> String {
        let [a, b, c, ..] = cmac(self, &[0; BLOCK]);
        hex::encode_upper([a, b, c])
    }
}

impl BlockCipher<BLOCK> for AesKey {
    fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        match &self.0 {
            Schedule::Aes128(key) => key.encrypt_block(&mut block),
            Schedule::Aes192(key) => key.encrypt_block(&mut block),
            Schedule::Aes256(key) => key.encrypt_block(&mut block),
        }
        block.into()
    }

    fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        match &self.0 {
            Schedule::Aes128(key) => key.decrypt_block(&mut block),
            Schedule::Aes192(key) => key.decrypt_block(&mut block),
            Schedule::Aes256(key) => key.decrypt_block(&mut block),
        }
        block.into()
    }
}

impl std::fmt::Debug for AesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AesKey({} octets)", self.octets())
    }
}

/// A key for HMAC with SHA-256 (RFC 2104), as the two hashes that have taken it in: it cannot be read from them, and a
/// message costs two steps of the hash less. On OpenSSL's hash itself: its EVP interface to HMAC takes twenty times as
/// long for so few octets, and every payment computes two.
#[derive(Clone)]
pub(super) struct HmacKey {
    inner: Sha256,
    outer: Sha256,
}

impl HmacKey {
    /// Takes a clear key.
    pub(super) fn new(key: &[u8; KEY]) -> Self {
        Self { inner: keyed_hash(key, 0x36), outer: keyed_hash(key, 0x5C) }
    }

    /// The HMAC of a message.
    pub(super) fn of(&self, data: &[u8]) -> Zeroizing<[u8; KEY]> {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(data);
        outer.update(Zeroizing::new(inner.finish()).as_slice());
        Zeroizing::new(outer.finish())
    }
}

/// The HMAC of one message under a key.
pub(super) fn hmac_sha256(key: &[u8; KEY], data: &[u8]) -> Zeroizing<[u8; KEY]> {
    HmacKey::new(key).of(data)
}

/// A hash that has taken in one block: a masked key.
fn keyed_hash(key: &[u8; KEY], mask: u8) -> Sha256 {
    let mut block = Zeroizing::new([mask; 64]);
    block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
    let mut hash = Sha256::new();
    hash.update(block.as_slice());
    hash
}

/// AES-256-GCM: the ciphertext and behind it the tag.
pub(super) fn gcm_seal(key: &[u8; KEY], nonce: &[u8; NONCE], data: &[u8]) -> Result<Vec<u8>, HsmError> {
    gcm_seal_bound(key, nonce, &[], data)
}

/// Opens what [`gcm_seal`] made; [`HsmError::Sealed`] when it is altered or under another key.
pub(super) fn gcm_open(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    gcm_open_bound(key, nonce, &[], sealed)
}

/// As [`gcm_seal`], with associated data.
pub(super) fn gcm_seal_bound(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    associated: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let mut tag = [0; TAG];
    let mut sealed = symm::encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), associated, data, &mut tag)
        .map_err(|_| HsmError::Failure("AES-GCM"))?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// As [`gcm_open`], with associated data.
pub(super) fn gcm_open_bound(
    key: &[u8; KEY],
    nonce: &[u8; NONCE],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let (data, tag) = sealed.split_last_chunk::<TAG>().ok_or(HsmError::Sealed)?;
    symm::decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), associated, data, tag)
        .map(Zeroizing::new)
        .map_err(|_| HsmError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::super::cipher::{cbc_decrypt, cbc_encrypt};
    use super::*;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn known_answers() {
        // FIPS 197, appendix C; SP 800-38A, F.2.5: CBC-AES256; the classic AES-128 key's check value.
        let keys = octets::<32>("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
        let clear: [u8; 16] = octets("00112233445566778899AABBCCDDEEFF");
        let rows = [
            (16, "69C4E0D86A7B0430D8CDB78070B4C55A"),
            (24, "DDA97CA4864CDFE06EAF70A0EC0D7191"),
            (32, "8EA2B7CA516745BFEAFC49904B496089"),
        ];
        for (length, expected) in rows {
            let key = AesKey::new(&keys[..length]).unwrap();
            assert_eq!(hex::encode_upper(key.encrypt(clear)), expected);
            assert_eq!(key.decrypt(octets(expected)), clear);
            assert_eq!(format!("{key:?}"), format!("AesKey({length} octets)"));
        }
        assert_eq!(AesKey::new(&clear).unwrap().kcv(), "53E107");
        for length in [0, 8, 15, 31] {
            assert_eq!(AesKey::new(&keys[..length]).err(), Some(HsmError::Key(KeyDefect::Length)));
        }
        let key: [u8; 32] = octets("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4");
        let key = AesKey::new(&key).unwrap();
        let clear: [u8; 16] = octets("6BC1BEE22E409F96E93D7E117393172A");
        let iv = octets("000102030405060708090A0B0C0D0E0F");
        let cipher = cbc_encrypt(&key, iv, &clear).unwrap();
        assert_eq!(hex::encode_upper(&*cipher), "F58C4C04D6E5F1BA779EABFB5F7BFBD6");
        assert_eq!(*cbc_decrypt(&key, iv, &cipher).unwrap(), clear);

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
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

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
