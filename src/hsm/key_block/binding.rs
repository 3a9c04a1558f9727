//! How a key is bound to its header: the constructions that the key blocks of X9.143, ISO 20038 and
//! payShields share.
//!
//! | binding | used by | keys | MAC | IV |
//! |---|---|---|---|---|
//! | variant | A, C; Thales 0 | KBPK ⊕ `45`…, ⊕ `4D`… | CBC-MAC of header and ciphertext, 4 octets | header |
//! | derived, DES | B | CMAC of a counter | CMAC of header and payload, 8 octets | MAC |
//! | derived, AES | D | CMAC of a counter | CMAC of header and payload, 16 octets | MAC |
//! | counter mode | E | CMAC of a counter | CMAC of header and payload, 16 octets | MAC |
//! | header first | Thales 1 | as D | CMAC of header and ciphertext, 8 octets | header |
//!
//! The payload is the key's length in bits (2 octets), the key, and a random pad up to whole blocks; with
//! more pad it hides how long the key is.
//!
//! A block fails in two ways. [`HsmError::KeyBlockForm`]: its characters are no block of this version, which
//! anybody can see, or what is authentic in it is no key. [`HsmError::KeyBlock`]: the MAC does not match.
//! Where the MAC covers the payload in clear it is decrypted first; nothing of it is looked at before the MAC
//! is.

use super::header::{self, FullHeader, Parts};
use crate::hsm::aes::{self, AesKey};
use crate::hsm::cipher::{BlockCipher, Padding, cbc_decrypt, cbc_encrypt, cmac};
use crate::hsm::des::{self, DesKey};
use crate::hsm::mac::algorithm1;
use crate::hsm::{HsmError, KeyDefect};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The two keys that a key block protection key becomes: one encrypts, one authenticates.
struct Pair<K> {
    kbek: K,
    kbak: K,
}

enum Keys {
    Variant(Pair<DesKey>),
    DerivedDes(Pair<DesKey>),
    DerivedAes(Pair<AesKey>),
    Counter(Pair<AesKey>),
    HeaderFirst(Pair<AesKey>),
}

/// A version's letter and the keys of its construction.
pub(super) struct Binding {
    version: u8,
    keys: Keys,
}

impl Binding {
    /// The variant binding of a double or triple DES key.
    pub(super) fn variant(version: u8, kbpk: &[u8]) -> Result<Self, HsmError> {
        check_des_length(kbpk)?;
        let masked = |mask: u8| {
            let octets: Zeroizing<Vec<u8>> = Zeroizing::new(kbpk.iter().map(|octet| octet ^ mask).collect());
            DesKey::new(&octets)
        };
        Ok(Self { version, keys: Keys::Variant(Pair { kbek: masked(0x45)?, kbak: masked(0x4D)? }) })
    }

    /// The derivation binding of a double or triple DES key.
    pub(super) fn derived_des(version: u8, kbpk: &[u8]) -> Result<Self, HsmError> {
        check_des_length(kbpk)?;
        let key = DesKey::new(kbpk)?;
        let derived = |purpose| DesKey::new(&derive::<{ des::BLOCK }>(&key, kbpk.len(), purpose)?);
        let pair = Pair { kbek: derived(Purpose::Cbc)?, kbak: derived(Purpose::Mac)? };
        Ok(Self { version, keys: Keys::DerivedDes(pair) })
    }

    /// The derivation binding of an AES key.
    pub(super) fn derived_aes(version: u8, kbpk: &[u8]) -> Result<Self, HsmError> {
        Ok(Self { version, keys: Keys::DerivedAes(aes_pair(kbpk, Purpose::Cbc)?) })
    }

    /// The derivation binding of an AES key in counter mode.
    pub(super) fn counter(version: u8, kbpk: &[u8]) -> Result<Self, HsmError> {
        Ok(Self { version, keys: Keys::Counter(aes_pair(kbpk, Purpose::Ctr)?) })
    }

    /// The binding of an AES key where the header is the initial value.
    pub(super) fn header_first(version: u8, kbpk: &[u8]) -> Result<Self, HsmError> {
        Ok(Self { version, keys: Keys::HeaderFirst(aes_pair(kbpk, Purpose::Cbc)?) })
    }

    /// Octets of which optional blocks, as characters, are a multiple.
    fn block(&self) -> usize {
        match self.keys {
            Keys::Variant(_) | Keys::DerivedDes(_) => des::BLOCK,
            Keys::DerivedAes(_) | Keys::Counter(_) | Keys::HeaderFirst(_) => aes::BLOCK,
        }
    }

    /// Octets of which the payload is a multiple.
    fn payload_block(&self) -> usize {
        if matches!(self.keys, Keys::Counter(_)) { 1 } else { self.block() }
    }

    fn mac_octets(&self) -> usize {
        match self.keys {
            Keys::Variant(_) => 4,
            Keys::DerivedDes(_) | Keys::HeaderFirst(_) => 8,
            Keys::DerivedAes(_) | Keys::Counter(_) => 16,
        }
    }

    /// Octets of pad behind a key of so many octets, hidden among `masked`.
    pub(super) fn pad_octets(&self, key: usize, masked: usize) -> usize {
        let filled = masked.max(key).saturating_add(2);
        filled
            .checked_next_multiple_of(self.payload_block())
            .unwrap_or(filled)
            .saturating_sub(2)
            .saturating_sub(key)
    }

    /// Wraps a key.
    pub(super) fn wrap(
        &self,
        header: &FullHeader,
        key: &[u8],
        masked: usize,
        pad: &[u8],
    ) -> Result<String, HsmError> {
        const LENGTH: HsmError = HsmError::Key(KeyDefect::Length);
        let bits = key.len().checked_mul(8).and_then(|bits| u16::try_from(bits).ok()).ok_or(LENGTH)?;
        if bits == 0 {
            return Err(LENGTH);
        }
        let pad = pad.get(..self.pad_octets(key.len(), masked)).ok_or(HsmError::Input("pad is too short"))?;
        self.wrap_payload(header, &Zeroizing::new([&bits.to_be_bytes(), key, pad].concat()))
    }

    /// Wraps whole blocks of length, key and pad.
    pub(super) fn wrap_payload(&self, header: &FullHeader, payload: &[u8]) -> Result<String, HsmError> {
        let behind = 2 * (payload.len() + self.mac_octets());
        let mut text = header::write(self.version, header, self.block(), behind)?;
        let body = self.seal(text.as_bytes(), payload)?;
        text.push_str(&hex::encode_upper(body));
        Ok(text)
    }

    /// Unwraps a key.
    pub(super) fn unwrap(&self, text: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), HsmError> {
        let (header, payload) = self.payload(text)?;
        let (length, rest) = payload.split_first_chunk::<2>().ok_or(HsmError::KeyBlockForm)?;
        let bits = usize::from(u16::from_be_bytes(*length));
        let sound = bits > 0 && bits.is_multiple_of(8);
        let key = rest.get(..bits / 8).filter(|_| sound).ok_or(HsmError::KeyBlockForm)?;
        Ok((header, Zeroizing::new(key.to_vec())))
    }

    /// The authentic payload of a block: length, key and pad.
    pub(super) fn payload(&self, text: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), HsmError> {
        let Parts { header, head, body } = header::read(self.version, text, self.block())?;
        let octets = body.len().checked_sub(self.mac_octets()).ok_or(HsmError::KeyBlockForm)?;
        let (cipher, mac) = body.split_at_checked(octets).ok_or(HsmError::KeyBlockForm)?;
        if octets == 0 || !octets.is_multiple_of(self.payload_block()) {
            return Err(HsmError::KeyBlockForm);
        }
        Ok((header, self.open(head.as_bytes(), cipher, mac)?))
    }

    /// Ciphertext and MAC of a payload.
    fn seal(&self, head: &[u8], payload: &[u8]) -> Result<Vec<u8>, HsmError> {
        match &self.keys {
            Keys::Variant(pair) => {
                let cipher = cbc_encrypt(&pair.kbek, beginning(head)?, payload)?;
                let mac = variant_mac(pair, head, &cipher);
                Ok([cipher, mac.to_vec()].concat())
            }
            Keys::DerivedDes(pair) => {
                let mac = clear_mac(pair, head, payload);
                Ok([cbc_encrypt(&pair.kbek, mac, payload)?, mac.to_vec()].concat())
            }
            Keys::DerivedAes(pair) => {
                let mac = clear_mac(pair, head, payload);
                Ok([cbc_encrypt(&pair.kbek, mac, payload)?, mac.to_vec()].concat())
            }
            Keys::Counter(pair) => {
                let mac = clear_mac(pair, head, payload);
                Ok([counted(&pair.kbek, mac, payload).as_slice(), &mac].concat())
            }
            Keys::HeaderFirst(pair) => {
                let cipher = cbc_encrypt(&pair.kbek, beginning(head)?, payload)?;
                let mac = header_first_mac(pair, head, &cipher);
                Ok([cipher, mac.to_vec()].concat())
            }
        }
    }

    /// The payload that a ciphertext and a MAC hold.
    fn open(&self, head: &[u8], cipher: &[u8], mac: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        match &self.keys {
            Keys::Variant(pair) => {
                check(&variant_mac(pair, head, cipher), mac)?;
                cbc_decrypt(&pair.kbek, beginning(head)?, cipher)
            }
            Keys::DerivedDes(pair) => {
                let payload = cbc_decrypt(&pair.kbek, beginning(mac)?, cipher)?;
                check(&clear_mac(pair, head, &payload), mac)?;
                Ok(payload)
            }
            Keys::DerivedAes(pair) => {
                let payload = cbc_decrypt(&pair.kbek, beginning(mac)?, cipher)?;
                check(&clear_mac(pair, head, &payload), mac)?;
                Ok(payload)
            }
            Keys::Counter(pair) => {
                let payload = counted(&pair.kbek, beginning(mac)?, cipher);
                check(&clear_mac(pair, head, &payload), mac)?;
                Ok(payload)
            }
            Keys::HeaderFirst(pair) => {
                check(&header_first_mac(pair, head, cipher), mac)?;
                cbc_decrypt(&pair.kbek, beginning(head)?, cipher)
            }
        }
    }
}

fn check(expected: &[u8], mac: &[u8]) -> Result<(), HsmError> {
    if expected.ct_eq(mac).into() { Ok(()) } else { Err(HsmError::KeyBlock) }
}

/// An initial value.
fn beginning<const N: usize>(text: &[u8]) -> Result<[u8; N], HsmError> {
    text.first_chunk().copied().ok_or(HsmError::KeyBlockForm)
}

/// ISO/IEC 9797-1 algorithm 1 with triple DES in every round, the left half of it.
fn variant_mac(pair: &Pair<DesKey>, head: &[u8], cipher: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = algorithm1(&pair.kbak, Padding::Method1, &[head, cipher].concat());
    [a, b, c, d]
}

fn header_first_mac(pair: &Pair<AesKey>, head: &[u8], cipher: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = cmac(&pair.kbak, &[head, cipher].concat());
    [a, b, c, d, e, f, g, h]
}

/// The MAC over header and clear payload.
fn clear_mac<const N: usize>(pair: &Pair<impl BlockCipher<N>>, head: &[u8], payload: &[u8]) -> [u8; N] {
    let covered = Zeroizing::new([head, payload].concat());
    cmac(&pair.kbak, &covered)
}

/// Counter mode, both ways (NIST SP 800-38A, 6.5): the last block need not be whole.
fn counted(key: &AesKey, first: [u8; aes::BLOCK], data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut counter = u128::from_be_bytes(first);
    let mut out = Zeroizing::new(data.to_vec());
    for part in out.chunks_mut(aes::BLOCK) {
        let stream = BlockCipher::encrypt(key, counter.to_be_bytes());
        part.iter_mut().zip(stream).for_each(|(octet, mask)| *octet ^= mask);
        counter = counter.wrapping_add(1);
    }
    out
}

/// What a derived key is for, as the derivation writes it.
#[derive(Clone, Copy)]
enum Purpose {
    Cbc = 0,
    Mac = 1,
    Ctr = 2,
}

fn check_des_length(kbpk: &[u8]) -> Result<(), HsmError> {
    if matches!(kbpk.len(), 16 | 24) { Ok(()) } else { Err(HsmError::Key(KeyDefect::Length)) }
}

fn aes_pair(kbpk: &[u8], encryption: Purpose) -> Result<Pair<AesKey>, HsmError> {
    let key = AesKey::new(kbpk)?;
    let derived = |purpose| AesKey::new(&derive::<{ aes::BLOCK }>(&key, kbpk.len(), purpose)?);
    Ok(Pair { kbek: derived(encryption)?, kbak: derived(Purpose::Mac)? })
}

/// A key as long as the one it is derived of, of CMACs of: counter, purpose, separator, algorithm, length in
/// bits (X9.143, 7.2.1.1 and 7.2.2.1, tables 24 and 25; ISO 20038, 6.3).
fn derive<const N: usize>(
    kbpk: &impl BlockCipher<N>,
    octets: usize,
    purpose: Purpose,
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    // Double and triple DES, then AES-128, -192 and -256.
    let (algorithm, bits) = match (N, octets) {
        (des::BLOCK, 16) => (0, 128u16),
        (des::BLOCK, 24) => (1, 192),
        (aes::BLOCK, 16) => (2, 128),
        (aes::BLOCK, 24) => (3, 192),
        (aes::BLOCK, 32) => (4, 256),
        _ => return Err(HsmError::Key(KeyDefect::Length)),
    };
    let [high, low] = bits.to_be_bytes();
    let mut derived = Zeroizing::new(Vec::with_capacity(octets + N));
    for counter in (1..=4).take(octets.div_ceil(N)) {
        let part = Zeroizing::new(cmac(kbpk, &[counter, 0, purpose as u8, 0, 0, algorithm, high, low]));
        derived.extend_from_slice(part.as_slice());
    }
    derived.truncate(octets);
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_keys_are_the_published_ones() {
        // The public AES test LMK of payShields.
        let kbpk = hex::decode("9B71333A13F9FAE72F9D0E2DAB4AD6784718012F9244033F3F26A2DE0C8AA11A").unwrap();
        let key = AesKey::new(&kbpk).unwrap();
        let rows = [
            (Purpose::Cbc, "1B39BAA881FCEDC1CD5138CC5A31F2E82E1BB7EA3B29CF875F6AAB21268F0D17"),
            (Purpose::Mac, "B9C8CD6543528A1C6859765503FBB3A87C533BC73933513AF534A90F525308F2"),
        ];
        for (purpose, published) in rows {
            let derived = derive::<{ aes::BLOCK }>(&key, 32, purpose).unwrap();
            assert_eq!(hex::encode_upper(&*derived), published);
        }
    }

    #[test]
    fn the_pad_fills_up_whole_blocks() {
        let des = Binding::variant(b'A', &[0x13; 16]).unwrap();
        let aes = Binding::derived_aes(b'D', &[0x13; 16]).unwrap();
        let counter = Binding::counter(b'E', &[0x13; 16]).unwrap();
        let rows = [
            (&des, 16, 0, 6),
            (&des, 16, 24, 14),
            (&des, 16, 22, 6),
            (&des, 14, 0, 0),
            (&des, 30, 8, 0),
            (&aes, 16, 0, 14),
            (&aes, 16, 24, 14),
            (&aes, 16, 32, 30),
            (&aes, 14, 14, 0),
            (&counter, 16, 0, 0),
            (&counter, 16, 24, 8),
            (&counter, usize::MAX, 0, 0),
        ];
        for (binding, key, masked, expected) in rows {
            assert_eq!(binding.pad_octets(key, masked), expected, "{key} {masked}");
        }
    }
}
