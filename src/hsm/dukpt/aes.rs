//! DUKPT with AES (ANSI X9.24-3:2017): one key per transaction, and from it a working key for every use, of
//! any type that is not stronger than the base derivation key (BDK). The host's side; a terminal's is
//! [`super::terminal`].
//!
//! ```text
//! KSN, 96 bits      1 2 3 4 5 6 7 8 | 9 0 1 2 3 4 5 6 | 0 0 0 0 0 0 0 1
//!                   BDK id          | derivation id   | transaction counter
//!
//! derivation data   01 | block | usage | type | bits | initial key id                   for the initial key
//!                   01 | block | usage | type | bits | derivation id | counter          for any other
//! octets             1       1       2      2      2   8                      (6.3.2)
//! ```
//! Pure. Knows no PIN block and no key block.

use crate::hsm::aes::{AesKey, BLOCK, hmac_sha256};
use crate::hsm::cipher::{BlockCipher, cbc_decrypt, cbc_encrypt, cmac};
use crate::hsm::des::{self, DesKey};
use crate::hsm::{HsmError, KeyDefect};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The most octets of a key.
pub const KEY: usize = 32;
/// Bits of the transaction counter (X9.24-3, 6.1).
pub const COUNTER_BITS: u32 = u32::BITS;
/// The most ones that a counter may have: a terminal skips the others (X9.24-3, 6.1).
pub const MOST_ONES: u32 = 16;

/// What a key is for, as derivation data say it (X9.24-3, 6.3.2). "Generate", "encrypt" are what the terminal
/// does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyUsage {
    /// Wraps other keys.
    KeyEncryption,
    /// PIN encryption.
    PinEncryption,
    /// MACs that the terminal makes.
    MacGeneration,
    /// MACs that the terminal checks.
    MacVerification,
    /// MACs both ways.
    MacBoth,
    /// Data that the terminal encrypts.
    DataEncrypt,
    /// Data that the terminal decrypts.
    DataDecrypt,
    /// Data both ways.
    DataBoth,
    /// Keys that others are derived from.
    KeyDerivation,
    /// The initial key.
    InitialKey,
}

impl KeyUsage {
    /// The two octets of the derivation data.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::KeyEncryption => 0x0002,
            Self::PinEncryption => 0x1000,
            Self::MacGeneration => 0x2000,
            Self::MacVerification => 0x2001,
            Self::MacBoth => 0x2002,
            Self::DataEncrypt => 0x3000,
            Self::DataDecrypt => 0x3001,
            Self::DataBoth => 0x3002,
            Self::KeyDerivation => 0x8000,
            Self::InitialKey => 0x8001,
        }
    }
}

/// The algorithm and length of a key (X9.24-3, 6.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// Triple DES with two keys.
    Tdea2,
    /// Triple DES with three keys.
    Tdea3,
    /// AES of 128 bits.
    Aes128,
    /// AES of 192 bits.
    Aes192,
    /// AES of 256 bits.
    Aes256,
    /// HMAC with a key of 128 bits.
    Hmac128,
    /// HMAC with a key of 192 bits.
    Hmac192,
    /// HMAC with a key of 256 bits.
    Hmac256,
}

impl KeyType {
    /// The algorithm's two octets in the derivation data.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Tdea2 => 0,
            Self::Tdea3 => 1,
            Self::Aes128 => 2,
            Self::Aes192 => 3,
            Self::Aes256 => 4,
            Self::Hmac128 | Self::Hmac192 | Self::Hmac256 => 5,
        }
    }

    /// The length in bits: 128, 192 or 256.
    #[must_use]
    pub fn bits(self) -> u16 {
        match self {
            Self::Tdea2 | Self::Aes128 | Self::Hmac128 => 128,
            Self::Tdea3 | Self::Aes192 | Self::Hmac192 => 192,
            Self::Aes256 | Self::Hmac256 => 256,
        }
    }

    /// The length in octets: 16, 24 or 32.
    #[must_use]
    pub fn octets(self) -> usize {
        usize::from(self.bits() / 8)
    }

    /// Bits of security (NIST SP 800-57-1, 5.6.1): triple DES has less than its length.
    fn strength(self) -> u16 {
        match self {
            Self::Tdea2 => 80,
            Self::Tdea3 => 112,
            Self::Aes128 | Self::Aes192 | Self::Aes256 | Self::Hmac128 | Self::Hmac192 | Self::Hmac256 => {
                self.bits()
            }
        }
    }
}

/// A key serial number of 12 octets. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySerialNumber {
    /// The initial key id: BDK id and derivation id.
    id: u64,
    counter: u32,
}

impl KeySerialNumber {
    /// Takes 12 octets. The counter is looked at when a key is derived.
    #[must_use]
    pub fn new(octets: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, counter @ ..] = octets;
        Self { id: u64::from_be_bytes([a, b, c, d, e, f, g, h]), counter: u32::from_be_bytes(counter) }
    }

    /// Reads 24 hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] for another length or other characters.
    pub fn parse(text: &str) -> Result<Self, HsmError> {
        let mut octets = [0; 12];
        hex::decode_to_slice(text, &mut octets).map_err(|_| HsmError::KeySerialNumber)?;
        Ok(Self::new(octets))
    }

    /// The 12 octets.
    #[must_use]
    pub fn octets(self) -> [u8; 12] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (self.id.to_be_bytes(), self.counter.to_be_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// The initial key id: 8 octets, the name to keep an initial key under.
    #[must_use]
    pub fn initial_key_id(self) -> [u8; 8] {
        self.id.to_be_bytes()
    }

    /// The BDK id: the left 4 octets.
    #[must_use]
    pub fn bdk_id(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.id.to_be_bytes();
        [a, b, c, d]
    }

    /// The derivation id, of one device: the 4 octets behind the BDK id.
    #[must_use]
    pub fn derivation_id(self) -> [u8; 4] {
        let [.., a, b, c, d] = self.id.to_be_bytes();
        [a, b, c, d]
    }

    /// The transaction counter: 32 bits.
    #[must_use]
    pub fn counter(self) -> u32 {
        self.counter
    }

    /// The same with another counter.
    #[must_use]
    pub fn with_counter(self, counter: u32) -> Self {
        Self { counter, ..self }
    }
}

impl std::fmt::Display for KeySerialNumber {
    /// 24 upper-case hexadecimal characters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}{:08X}", self.id, self.counter)
    }
}

impl std::fmt::Debug for KeySerialNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySerialNumber({self})")
    }
}

/// An AES key that others are derived from: its octets, its type and its schedule, made once.
struct DerivationKey {
    octets: Octets,
    key_type: KeyType,
    cipher: AesKey,
}

/// A key's octets, zeros behind a short one.
type Octets = Zeroizing<[u8; KEY]>;

impl DerivationKey {
    fn new(clear: &[u8]) -> Result<Self, HsmError> {
        let key_type = match clear.len() {
            16 => KeyType::Aes128,
            24 => KeyType::Aes192,
            32 => KeyType::Aes256,
            _ => return Err(HsmError::Key(KeyDefect::Length)),
        };
        let mut octets = Octets::default();
        octets.iter_mut().zip(clear).for_each(|(to, from)| *to = *from);
        Ok(Self { octets, key_type, cipher: AesKey::new(clear)? })
    }

    fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.key_type.octets()).unwrap_or_default()
    }

    /// A key of any type: blocks of derivation data encrypted, the last one cut (X9.24-3, 6.3.1). The last 8
    /// octets of the data are the initial key id, or derivation id and counter.
    fn derive(&self, usage: KeyUsage, key_type: KeyType, identity: u64) -> Octets {
        let [u, v] = usage.code().to_be_bytes();
        let [t, y] = key_type.code().to_be_bytes();
        let [l, n] = key_type.bits().to_be_bytes();
        let [a, b, c, d, e, f, g, h] = identity.to_be_bytes();
        let block = |number| [1, number, u, v, t, y, l, n, a, b, c, d, e, f, g, h];
        let mut octets = Octets::default();
        let places = octets.get_mut(..key_type.octets()).unwrap_or_default();
        for (place, number) in places.chunks_mut(BLOCK).zip(1..) {
            let made = Zeroizing::new(self.cipher.encrypt(block(number)));
            place.iter_mut().zip(*made).for_each(|(to, from)| *to = from);
        }
        octets
    }

    /// A key of the same type that others are derived from.
    fn next(&self, usage: KeyUsage, identity: u64) -> Result<Self, HsmError> {
        let octets = self.derive(usage, self.key_type, identity);
        let cipher = AesKey::new(octets.get(..self.key_type.octets()).unwrap_or_default())?;
        Ok(Self { octets, key_type: self.key_type, cipher })
    }

    /// The key of a counter, from that of the counter with one less one.
    fn next_at(&self, ksn: KeySerialNumber) -> Result<Self, HsmError> {
        self.next(KeyUsage::KeyDerivation, tail(ksn))
    }
}

/// Derivation id and counter.
fn tail(ksn: KeySerialNumber) -> u64 {
    ksn.id << 32 | u64::from(ksn.counter)
}

/// A base derivation key of 128, 192 or 256 bits.
pub struct BaseDerivationKey(DerivationKey);

impl BaseDerivationKey {
    /// Takes a clear key of 16, 24 or 32 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        DerivationKey::new(clear).map(Self)
    }

    /// The initial key of the device that this KSN names (X9.24-3, 6.4). The counter does not matter.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn initial_key(&self, ksn: KeySerialNumber) -> Result<InitialKey, HsmError> {
        let key = self.0.next(KeyUsage::InitialKey, ksn.id)?;
        Ok(InitialKey { key, ksn: ksn.with_counter(0) })
    }
}

/// The initial key of a device. Prints its serial number only.
pub struct InitialKey {
    key: DerivationKey,
    ksn: KeySerialNumber,
}

impl InitialKey {
    /// Takes a clear initial key of 16, 24 or 32 octets and its device's KSN; the counter does not matter.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8], ksn: KeySerialNumber) -> Result<Self, HsmError> {
        Ok(Self { key: DerivationKey::new(clear)?, ksn: ksn.with_counter(0) })
    }

    /// The device's KSN with a counter of zero.
    #[must_use]
    pub fn ksn(&self) -> KeySerialNumber {
        self.ksn
    }

    /// The 16, 24 or 32 octets, to be wrapped under another key.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// The transaction key of this KSN: one derivation for every one in its counter, from the left
    /// (X9.24-3, 6.1 and 6.4).
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] when it is another device's, or its counter is zero or has more than
    /// sixteen ones.
    pub fn transaction_key(&self, ksn: KeySerialNumber) -> Result<TransactionKey, HsmError> {
        let counts = (1..=MOST_ONES).contains(&ksn.counter.count_ones());
        if counts && ksn.id == self.ksn.id { self.walk(ksn) } else { Err(HsmError::KeySerialNumber) }
    }

    /// The key that wraps the device's next initial key: of the counter with 32 ones, which no transaction
    /// has (X9.24-3, "DUKPT update key").
    ///
    /// # Errors
    /// As [`TransactionKey::working_key`].
    pub fn update_key(&self, key_type: KeyType) -> Result<WorkingKey, HsmError> {
        self.walk(self.ksn.with_counter(u32::MAX))?.working_key(KeyUsage::KeyEncryption, key_type)
    }

    fn walk(&self, ksn: KeySerialNumber) -> Result<TransactionKey, HsmError> {
        let mut rest = ksn.counter;
        let mut key: Option<DerivationKey> = None;
        while rest != 0 {
            rest ^= 1 << rest.ilog2();
            let from = key.as_ref().unwrap_or(&self.key);
            key = Some(from.next_at(ksn.with_counter(ksn.counter ^ rest))?);
        }
        Ok(TransactionKey { key: key.ok_or(HsmError::KeySerialNumber)?, ksn })
    }

    /// The key that a terminal keeps for a counter with a single one.
    pub(super) fn first_key(&self, counter: u32) -> Result<TransactionKey, HsmError> {
        self.walk(self.ksn.with_counter(counter))
    }
}

impl std::fmt::Debug for InitialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InitialKey({})", self.ksn)
    }
}

/// The key of one transaction, of the BDK's type. Works through its working keys only; prints its serial
/// number.
pub struct TransactionKey {
    key: DerivationKey,
    ksn: KeySerialNumber,
}

impl TransactionKey {
    /// The 16, 24 or 32 octets. No message is worked on with them: see [`TransactionKey::working_key`].
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// Whose it is.
    #[must_use]
    pub fn ksn(&self) -> KeySerialNumber {
        self.ksn
    }

    /// A working key (X9.24-3, 6.4).
    ///
    /// # Errors
    /// [`HsmError::Key`] for a type that is stronger than the BDK (X9.24-3, 6.2.2): triple DES never is.
    pub fn working_key(&self, usage: KeyUsage, key_type: KeyType) -> Result<WorkingKey, HsmError> {
        if key_type.strength() > self.key.key_type.strength() {
            return Err(HsmError::Key(KeyDefect::Length));
        }
        let octets = self.key.derive(usage, key_type, tail(self.ksn));
        Ok(WorkingKey { octets, usage, key_type })
    }

    /// The key that follows from this one, at a counter with one more one.
    pub(super) fn future_key(&self, ksn: KeySerialNumber) -> Result<Self, HsmError> {
        Ok(Self { key: self.key.next_at(ksn)?, ksn })
    }
}

impl std::fmt::Debug for TransactionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TransactionKey({})", self.ksn)
    }
}

/// A working key of one transaction, wiped when dropped. Prints its usage and its type.
pub struct WorkingKey {
    octets: Octets,
    usage: KeyUsage,
    key_type: KeyType,
}

/// What a working key works with.
enum Engine {
    Aes(AesKey),
    Tdea(DesKey),
    Hmac,
}

impl WorkingKey {
    /// The 16, 24 or 32 octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.key_type.octets()).unwrap_or_default()
    }

    /// What it is for.
    #[must_use]
    pub fn usage(&self) -> KeyUsage {
        self.usage
    }

    /// Its algorithm and length.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Its schedule as an AES key: for PIN blocks of format 4 and for key blocks.
    ///
    /// # Errors
    /// [`HsmError::Key`] when it is of another algorithm.
    pub fn aes_key(&self) -> Result<AesKey, HsmError> {
        match self.engine()? {
            Engine::Aes(key) => Ok(key),
            Engine::Tdea(_) | Engine::Hmac => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    /// Its schedule as a triple DES key: for PIN blocks of 8 octets.
    ///
    /// # Errors
    /// As [`WorkingKey::aes_key`].
    pub fn des_key(&self) -> Result<DesKey, HsmError> {
        match self.engine()? {
            Engine::Tdea(key) => Ok(key),
            Engine::Aes(_) | Engine::Hmac => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    /// The MAC over a message, all of it: CMAC of 16 octets with AES or of 8 with triple DES (NIST SP
    /// 800-38B), or HMAC with SHA-256 of 32 octets (RFC 2104). A protocol may send the left ones.
    ///
    /// # Errors
    /// [`HsmError::KeyUsage`] when the key is no MAC key.
    pub fn mac(&self, data: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.expect(&[KeyUsage::MacGeneration, KeyUsage::MacVerification, KeyUsage::MacBoth])?;
        Ok(match self.engine()? {
            Engine::Aes(key) => cmac(&key, data).to_vec(),
            Engine::Tdea(key) => cmac(&key, data).to_vec(),
            // HMAC fills a short key up with zeros itself.
            Engine::Hmac => hmac_sha256(&self.octets, data).to_vec(),
        })
    }

    /// Checks a MAC in constant time: the whole of it, or its left octets, 4 at least.
    ///
    /// # Errors
    /// [`HsmError::MacMismatch`], also for another length; [`HsmError::KeyUsage`] as [`WorkingKey::mac`].
    pub fn verify_mac(&self, data: &[u8], mac: &[u8]) -> Result<(), HsmError> {
        let expected = self.mac(data)?;
        let expected = expected.get(..mac.len()).filter(|left| left.len() >= 4);
        let equal = expected.is_some_and(|expected| expected.ct_eq(mac).into());
        if equal { Ok(()) } else { Err(HsmError::MacMismatch) }
    }

    /// Encrypts whole blocks in CBC mode; the IV is of one block.
    ///
    /// # Errors
    /// [`HsmError::Input`] unless `data` is whole blocks (16 octets with AES, 8 with triple DES) and `iv`
    /// one; [`HsmError::KeyUsage`] when the key is no data key, [`HsmError::Key`] when it is of HMAC.
    pub fn encrypt(&self, iv: &[u8], data: &[u8]) -> Result<Vec<u8>, HsmError> {
        match self.data_engine()? {
            Engine::Aes(key) => cbc_encrypt::<BLOCK>(&key, block(iv)?, data),
            Engine::Tdea(key) => cbc_encrypt::<{ des::BLOCK }>(&key, block(iv)?, data),
            Engine::Hmac => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    /// Decrypts whole blocks in CBC mode.
    ///
    /// # Errors
    /// As [`WorkingKey::encrypt`].
    pub fn decrypt(&self, iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        match self.data_engine()? {
            Engine::Aes(key) => cbc_decrypt::<BLOCK>(&key, block(iv)?, data),
            Engine::Tdea(key) => cbc_decrypt::<{ des::BLOCK }>(&key, block(iv)?, data),
            Engine::Hmac => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    fn engine(&self) -> Result<Engine, HsmError> {
        match self.key_type {
            KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => {
                AesKey::new(self.octets()).map(Engine::Aes)
            }
            KeyType::Tdea2 | KeyType::Tdea3 => DesKey::new(self.octets()).map(Engine::Tdea),
            KeyType::Hmac128 | KeyType::Hmac192 | KeyType::Hmac256 => Ok(Engine::Hmac),
        }
    }

    fn data_engine(&self) -> Result<Engine, HsmError> {
        self.expect(&[KeyUsage::DataEncrypt, KeyUsage::DataDecrypt, KeyUsage::DataBoth])?;
        self.engine()
    }

    fn expect(&self, usages: &[KeyUsage]) -> Result<(), HsmError> {
        if usages.contains(&self.usage) { Ok(()) } else { Err(HsmError::KeyUsage) }
    }
}

impl std::fmt::Debug for WorkingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkingKey({:?}, {:?})", self.usage, self.key_type)
    }
}

fn block<const N: usize>(iv: &[u8]) -> Result<[u8; N], HsmError> {
    iv.try_into().map_err(|_| HsmError::Input("IV is not one block"))
}

#[cfg(test)]
mod tests;
