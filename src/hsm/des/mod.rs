//! DES and triple DES on single blocks, and what makes a DES key acceptable.
//!
//! Every DES round of this room goes through [`DesKey`]; the rounds themselves are in `round`. Knows
//! nothing of key blocks, usages or messages.

mod gates;
pub(super) mod round;
pub(super) mod sliced;
mod tables;

use crate::hsm::cipher::{BlockCipher, ecb_decrypt, ecb_encrypt};
use crate::hsm::{HsmError, KeyDefect};
use round::{Halves, Schedule};
use zeroize::Zeroizing;

/// Octets of a DES block.
pub const BLOCK: usize = 8;

/// How long a DES key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyLength {
    /// 8 octets: DES.
    Single,
    /// 16 octets: triple DES with K3 = K1.
    Double,
    /// 24 octets: triple DES.
    Triple,
}

impl KeyLength {
    /// The length's octets: 8, 16 or 24.
    #[must_use]
    pub fn octets(self) -> usize {
        match self {
            Self::Single => 8,
            Self::Double => 16,
            Self::Triple => 24,
        }
    }

    /// The length of a key of so many octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] unless 8, 16 or 24.
    pub fn of(octets: usize) -> Result<Self, HsmError> {
        match octets {
            8 => Ok(Self::Single),
            16 => Ok(Self::Double),
            24 => Ok(Self::Triple),
            _ => Err(HsmError::Key(KeyDefect::Length)),
        }
    }
}

/// The key schedule of a DES key, wiped when dropped. Prints its length only.
pub struct DesKey(Parts);

enum Parts {
    Single(Schedule),
    Double(Schedule, Schedule),
    Triple(Schedule, Schedule, Schedule),
}

impl DesKey {
    /// Takes a clear key of 8, 16 or 24 octets. Parity is not looked at: see [`check_strength`].
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        let length = KeyLength::of(clear.len())?;
        let (parts, _) = clear.as_chunks::<BLOCK>();
        Ok(Self(match (length, parts) {
            (KeyLength::Double, [first, second]) => {
                Parts::Double(Schedule::new(first), Schedule::new(second))
            }
            (KeyLength::Triple, [first, second, third]) => {
                Parts::Triple(Schedule::new(first), Schedule::new(second), Schedule::new(third))
            }
            (KeyLength::Single | KeyLength::Double | KeyLength::Triple, _) => {
                let first = parts.first().ok_or(HsmError::Failure("a key without octets"))?;
                Parts::Single(Schedule::new(first))
            }
        }))
    }

    /// How long the key is.
    #[must_use]
    pub fn length(&self) -> KeyLength {
        match self.0 {
            Parts::Single(_) => KeyLength::Single,
            Parts::Double(..) => KeyLength::Double,
            Parts::Triple(..) => KeyLength::Triple,
        }
    }

    /// Encrypts one block: DES, or EDE with two or three keys (NIST SP 800-67, 3.1).
    #[must_use]
    pub fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        self.forward(Halves::of(block)).block()
    }

    /// Decrypts one block, the inverse of [`DesKey::encrypt`].
    #[must_use]
    pub fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let block = Halves::of(block);
        let clear = match &self.0 {
            Parts::Single(key) => key.decrypt(block),
            Parts::Double(left, right) => left.decrypt(right.encrypt(left.decrypt(block))),
            Parts::Triple(first, second, third) => first.decrypt(second.encrypt(third.decrypt(block))),
        };
        clear.block()
    }

    /// Between the permutations: what one cipher's final one does, the next one's initial one undoes.
    #[inline]
    fn forward(&self, block: Halves) -> Halves {
        match &self.0 {
            Parts::Single(key) => key.encrypt(block),
            Parts::Double(left, right) => left.encrypt(right.decrypt(left.encrypt(block))),
            Parts::Triple(first, second, third) => third.encrypt(second.decrypt(first.encrypt(block))),
        }
    }

    /// The last block of a chain over `blocks`: all but the last under the first 8 octets of the key alone, the last
    /// under all of it (ANSI X9.19). No permutation is undone in between: it moves bits, so that the exclusive or
    /// of two blocks permuted is that of the blocks.
    #[must_use]
    pub(super) fn retail_chain(
        &self,
        mut blocks: impl DoubleEndedIterator<Item = [u8; BLOCK]>,
    ) -> [u8; BLOCK] {
        let (Parts::Single(left) | Parts::Double(left, _) | Parts::Triple(left, _, _)) = &self.0;
        let last = Halves::of(blocks.next_back().unwrap_or_default());
        let chain =
            blocks.fold(Halves::of([0; BLOCK]), |chain, block| left.encrypt(chain.xor(Halves::of(block))));
        self.forward(chain.xor(last)).block()
    }

    /// The key of the first 8 octets alone.
    pub(super) fn first(&self) -> Self {
        let (Parts::Single(first) | Parts::Double(first, _) | Parts::Triple(first, ..)) = &self.0;
        Self(Parts::Single(first.clone()))
    }

    /// Of a key of double length: its two parts, as [`round::first_choice`] has them.
    pub(super) fn double(&self) -> Option<(u64, u64)> {
        match &self.0 {
            Parts::Double(left, right) => Some((left.chosen(), right.chosen())),
            Parts::Single(_) | Parts::Triple(..) => None,
        }
    }

    /// Encrypts whole blocks, each by itself (ECB).
    ///
    /// # Errors
    /// [`HsmError::Input`] unless `data` is a multiple of 8 octets.
    pub fn encrypt_ecb(&self, data: &[u8]) -> Result<Vec<u8>, HsmError> {
        ecb_encrypt(self, data)
    }

    /// Decrypts whole blocks, each by itself (ECB).
    ///
    /// # Errors
    /// [`HsmError::Input`] unless `data` is a multiple of 8 octets.
    pub fn decrypt_ecb(&self, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        ecb_decrypt(self, data)
    }

    /// The check value: 8 zero octets encrypted. Its first 3 octets are the KCV that people compare, its
    /// first 4 are what UnionPay sends.
    #[must_use]
    pub fn check_value(&self) -> [u8; BLOCK] {
        self.encrypt([0; BLOCK])
    }

    /// The KCV as 6 upper-case hexadecimal characters (X9.24-1, 3.9).
    #[must_use]
    pub fn kcv(&self) -> String {
        let [a, b, c, ..] = self.check_value();
        hex::encode_upper([a, b, c])
    }
}

impl std::fmt::Debug for DesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DesKey({:?})", self.length())
    }
}

impl BlockCipher<BLOCK> for DesKey {
    fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        self.encrypt(block)
    }

    fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        self.decrypt(block)
    }

    fn chain(&self, blocks: impl Iterator<Item = [u8; BLOCK]>) -> [u8; BLOCK] {
        let chain = |chain: Halves, block| self.forward(chain.xor(Halves::of(block)));
        blocks.fold(Halves::of([0; BLOCK]), chain).block()
    }
}

/// Sets the lowest bit of every octet so that its count of ones is odd (FIPS 46-3).
pub fn set_odd_parity(key: &mut [u8]) {
    for octet in key {
        let ones = (*octet & 0xFE).count_ones();
        *octet = (*octet & 0xFE) | u8::from(ones.is_multiple_of(2));
    }
}

/// Whether a key may serve: 8, 16 or 24 octets of odd parity, none of its parts zero, weak, semi-weak or
/// possibly weak, no two parts equal (PCI PIN 2-3: no single DES dressed as triple).
///
/// # Errors
/// [`HsmError::Key`] says which of them.
pub fn check_strength(key: &[u8]) -> Result<(), HsmError> {
    KeyLength::of(key.len())?;
    if key.iter().any(|octet| octet.count_ones().is_multiple_of(2)) {
        return Err(HsmError::Key(KeyDefect::Parity));
    }
    let (parts, _) = key.as_chunks::<BLOCK>();
    if parts.iter().enumerate().any(|(at, part)| parts.iter().skip(at + 1).any(|other| other == part)) {
        return Err(HsmError::Key(KeyDefect::Repeats));
    }
    ::des::weak_key_test(key).map_err(|_| HsmError::Key(KeyDefect::Weak))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::judges;
    use openssl::symm::{Cipher, Crypter, Mode};

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn block(text: &str) -> [u8; 8] {
        octets(text).try_into().unwrap()
    }

    #[test]
    fn blocks_encrypt_and_decrypt_to_published_values() {
        let rows = [
            // NBS SP 500-20: the classic DES example; the plaintext is "Now is t".
            ("single", "0123456789ABCDEF", "4E6F772069732074", "3FA40E8A984D4815"),
            // NBS SP 500-20, table 1: initial permutation and E.
            ("single, unit vector", "0101010101010101", "95F8A5E5DD31D900", "8000000000000000"),
            // The KCV of the classic double-length test key.
            ("double, KCV", K0, "0000000000000000", "08D7B4FB629D0885"),
            // NIST SP 800-67 appendix B.1: "The qufck brown fox jump", first block.
            (
                "triple",
                "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123",
                "5468652071756663",
                "A826FD8CE53B855F",
            ),
            (
                "triple",
                "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123",
                "6B2062726F776E20",
                "CCE21C8112256FE6",
            ),
        ];
        for (name, key, clear, cipher) in rows {
            let key = DesKey::new(&octets(key)).unwrap();
            assert_eq!(key.encrypt(block(clear)), block(cipher), "{name}");
            assert_eq!(key.decrypt(block(cipher)), block(clear), "{name}");
            assert_eq!(*key.decrypt_ecb(&octets(cipher)).unwrap(), octets(clear), "{name}");
            assert_eq!(key.encrypt_ecb(&octets(clear)).unwrap(), octets(cipher), "{name}");
            assert!(key.encrypt_ecb(&[0; 9]).is_err() && key.decrypt_ecb(&[0; 7]).is_err());
        }
    }

    #[test]
    fn check_values_are_those_that_other_devices_show() {
        // The classic test key; two ZPKs under the public test LMKs; the sample of TR-31 version A.
        let rows = [
            (K0, "08D7B4"),
            ("C7152C20BC2C830EA7EC9E8334ABE3FE", "6F1E3F"),
            ("98519E45CBB9291F49EFAD4AFEFDDC79", "4FE9FD"),
            ("F039121BEC83D26B169BDCD5B22AAF8F", "CB9DEA"),
        ];
        for (key, kcv) in rows {
            assert_eq!(DesKey::new(&octets(key)).unwrap().kcv(), kcv);
        }
    }

    /// OpenSSL's default provider has triple DES only; K1 = K2 = K3 makes single DES of it.
    fn openssl_encrypt(key: &[u8], data: &[u8]) -> Vec<u8> {
        let wide: Vec<u8> = match key.len() {
            8 => [key, key, key].concat(),
            16 => [key, &key[..8]].concat(),
            _ => key.to_vec(),
        };
        let mut engine = Crypter::new(Cipher::des_ede3_ecb(), Mode::Encrypt, &wide, None).unwrap();
        engine.pad(false);
        let mut out = vec![0; data.len() + 8];
        let written = engine.update(data, &mut out).unwrap();
        out.truncate(written);
        out
    }

    /// A million blocks: single, double and triple keys, each for a thousand blocks.
    #[test]
    fn crate_des_and_openssl_agree_on_a_million_blocks() {
        use ::des::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
        let mut chance = judges::Chance::new(46);
        for round in 0..1000 {
            let key = chance.octets([8, 16, 24][round % 3]);
            let data = chance.octets(8000);
            let ours = DesKey::new(&key).unwrap();
            let cipher = ours.encrypt_ecb(&data).unwrap();
            assert!(cipher == openssl_encrypt(&key, &data), "{key:02X?}");
            assert!(*ours.decrypt_ecb(&cipher).unwrap() == data, "{key:02X?}");
            let single = ::des::Des::new_from_slice(&key[..8]).unwrap();
            let ours = DesKey::new(&key[..8]).unwrap();
            for block in data.as_chunks::<8>().0 {
                let mut theirs = (*block).into();
                single.encrypt_block(&mut theirs);
                assert_eq!(ours.encrypt(*block), <[u8; 8]>::from(theirs));
                let mut theirs = (*block).into();
                single.decrypt_block(&mut theirs);
                assert_eq!(ours.decrypt(*block), <[u8; 8]>::from(theirs));
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

        #[test]
        fn openssl_agrees(key in proptest::array::uniform24(0u8..), data in proptest::array::uniform16(0u8..)) {
            for length in [8, 16, 24] {
                let ours = DesKey::new(&key[..length]).unwrap();
                let theirs = openssl_encrypt(&key[..length], &data);
                proptest::prop_assert_eq!(&ours.encrypt_ecb(&data).unwrap(), &theirs);
                proptest::prop_assert_eq!(&*ours.decrypt_ecb(&theirs).unwrap(), &data.to_vec());
            }
        }

        #[test]
        fn parity_is_odd_once_set_and_changes_nothing_else(mut key in proptest::array::uniform16(0u8..)) {
            let before = key;
            set_odd_parity(&mut key);
            proptest::prop_assert!(key.iter().all(|octet| octet.count_ones() % 2 == 1));
            proptest::prop_assert!(key.iter().zip(before).all(|(after, before)| after & 0xFE == before & 0xFE));
        }
    }

    #[test]
    fn keys_that_may_not_serve_are_refused() {
        let parity = HsmError::Key(KeyDefect::Parity);
        let weak = HsmError::Key(KeyDefect::Weak);
        let repeats = HsmError::Key(KeyDefect::Repeats);
        let length = HsmError::Key(KeyDefect::Length);
        let rows = [
            ("good double", K0, Ok(())),
            ("good single", "13579BDF02468ACE", Ok(())),
            ("one even octet", "0123456789ABCDEFFEDCBA9876543211", Err(parity)),
            ("all zero", "00000000000000000000000000000000", Err(parity)),
            ("all zero, parity set", "0101010101010101FEDCBA9876543210", Err(weak)),
            ("weak", "FEFEFEFEFEFEFEFE", Err(weak)),
            ("semi-weak, right half", "0123456789ABCDEF01FE01FE01FE01FE", Err(weak)),
            ("K1 = K2", "0123456789ABCDEF0123456789ABCDEF", Err(repeats)),
            ("triple K2 = K3", "0123456789ABCDEFFEDCBA9876543210FEDCBA9876543210", Err(repeats)),
            ("seven octets", "0123456789ABCD", Err(length)),
            ("nothing", "", Err(length)),
        ];
        for (name, key, expected) in rows {
            assert_eq!(check_strength(&octets(key)), expected, "{name}");
        }
        assert_eq!(DesKey::new(&[0; 17]).err(), Some(length));
        assert_eq!(format!("{:?}", DesKey::new(&[1; 16]).unwrap()), "DesKey(Double)");
    }
}
