//! Card numbers at rest: AES-256-GCM under the data keys that stand beside the LMK, and a keyed hash.
//!
//! ```text
//! cipher   nonce (12) | ciphertext (as many octets as digits) | tag (16)
//! lookup   the first 16 octets of HMAC-SHA256(look-up key, digits)    (PCI DSS 4.0, 3.5.1.1)
//! key      HMAC-SHA256(sealing key, lookup): each card has its own
//! ```
//! A key per card keeps random nonces far from the 2^32 that one GCM key allows (NIST SP 800-38D, 8.3), and
//! binds the ciphertext to its look-up value.

use super::aes::{self, HmacKey, KEY, NONCE};
use super::lmk::DataKey;
use super::random::Random;
use super::{HsmError, Opened};
use crate::transaction::{Pan, SealedPan, Track2};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// The HSM's data keys.
pub(super) struct DataKeys {
    sealing: HmacKey,
    lookup: HmacKey,
    nonces: Mutex<Drawn>,
}

/// Nonces drawn at a time: to ask the source for one costs as much as to ask it for all of them.
const DRAWN: usize = 64;

/// Nonces that were drawn and are not used yet. They are no secret: each stands before its ciphertext.
struct Drawn {
    octets: [u8; DRAWN * NONCE],
    left: usize,
}

impl Drawn {
    fn next(&mut self, random: &dyn Random) -> Result<[u8; NONCE], HsmError> {
        if self.left == 0 {
            random.fill(&mut self.octets)?;
            self.left = DRAWN;
        }
        self.left -= 1;
        let (nonces, _) = self.octets.as_chunks::<NONCE>();
        nonces.get(self.left).copied().ok_or(HsmError::Failure("nonces"))
    }
}

impl DataKeys {
    /// Takes both.
    pub(super) fn new(data: &DataKey) -> Self {
        let nonces = Mutex::new(Drawn { octets: [0; DRAWN * NONCE], left: 0 });
        let (sealing, lookup) = data.parts();
        Self { sealing: HmacKey::new(&sealing), lookup: HmacKey::new(&lookup), nonces }
    }

    /// Seals a PAN.
    pub(super) fn seal(&self, pan: &Pan, random: &dyn Random) -> Result<SealedPan, HsmError> {
        let lookup = self.lookup(pan);
        let nonce = self.nonces.lock().unwrap_or_else(PoisonError::into_inner).next(random)?;
        let sealed = aes::gcm_seal(&self.card_key(&lookup), &nonce, pan.digits().as_bytes())?;
        Ok(SealedPan { cipher: [&nonce, sealed.as_slice()].concat(), lookup, masked: pan.to_string() })
    }

    /// What a message holds once its MAC is checked and its track is clear: the card, sealed.
    pub(super) fn opened(
        &self,
        pan: Option<&Pan>,
        matched: usize,
        track2: Option<Track2>,
        random: &dyn Random,
    ) -> Result<Opened, HsmError> {
        let pan = card_number(pan, track2.as_ref())?;
        let sealed = pan.as_ref().map(|pan| self.seal(pan, random)).transpose()?;
        Ok(Opened { matched, pan, track2, sealed })
    }

    /// Opens a sealed PAN; [`HsmError::Sealed`] for every defect.
    pub(super) fn unseal(&self, pan: &SealedPan) -> Result<Pan, HsmError> {
        let (nonce, sealed) = pan.cipher.split_first_chunk::<NONCE>().ok_or(HsmError::Sealed)?;
        let digits = aes::gcm_open(&self.card_key(&pan.lookup), nonce, sealed)?;
        let digits = std::str::from_utf8(&digits).map_err(|_| HsmError::Sealed)?;
        Pan::parse(digits).map_err(|_| HsmError::Sealed)
    }

    fn lookup(&self, pan: &Pan) -> [u8; 16] {
        let hash = self.lookup.of(pan.digits().as_bytes());
        let mut lookup = [0; 16];
        lookup.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
        lookup
    }

    fn card_key(&self, lookup: &[u8; 16]) -> Zeroizing<[u8; KEY]> {
        self.sealing.of(lookup)
    }
}

/// DE 2, or the track's card number; when both came they are the same card.
fn card_number(pan: Option<&Pan>, track2: Option<&Track2>) -> Result<Option<Pan>, HsmError> {
    let of_track = track2.map(Track2::pan).transpose().map_err(|_| HsmError::Track)?;
    match (pan, of_track) {
        (Some(pan), Some(of_track)) if *pan != of_track => Err(HsmError::Track),
        (Some(pan), _) => Ok(Some(pan.clone())),
        (None, of_track) => Ok(of_track),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lmk::Lmk;
    use super::super::random::OpenSslRandom;
    use super::*;

    fn keys(octet: u8) -> DataKeys {
        DataKeys::new(&DataKey::derived(&Lmk::from_bytes([octet; 32])))
    }

    #[test]
    fn sealed_pans_open_and_equal_pans_are_found() {
        let keys = keys(0x41);
        for digits in ["6225880012345675", "401234567890", "6225881234567890123"] {
            let pan = Pan::parse(digits).unwrap();
            let (one, two) =
                (keys.seal(&pan, &OpenSslRandom).unwrap(), keys.seal(&pan, &OpenSslRandom).unwrap());
            assert_eq!(keys.unseal(&one).unwrap(), pan);
            assert_eq!(keys.unseal(&two).unwrap(), pan);
            assert_eq!(one.lookup, two.lookup);
            assert_ne!(one.cipher, two.cipher, "a nonce came twice");
            assert_eq!(one.cipher.len(), 12 + digits.len() + 16);
            assert_eq!(one.masked, pan.to_string());
            assert!(!one.cipher.windows(4).any(|part| digits.as_bytes().windows(4).any(|d| d == part)));
        }
        let (one, two) = ("6225880012345675", "6225880012345683");
        let lookup = |digits| keys.lookup(&Pan::parse(digits).unwrap());
        assert_ne!(lookup(one), lookup(two));
    }

    #[test]
    fn no_nonce_comes_twice() {
        let (keys, pan) = (keys(0x41), Pan::parse("6225880012345675").unwrap());
        let count = 3 * DRAWN + 1;
        let nonce = |_| keys.seal(&pan, &OpenSslRandom).unwrap().cipher[..NONCE].to_vec();
        let nonces: std::collections::HashSet<Vec<u8>> = (0..count).map(nonce).collect();
        assert_eq!(nonces.len(), count);
    }

    #[test]
    fn what_is_altered_or_of_another_lmk_stays_shut() {
        let pan = Pan::parse("6225880012345675").unwrap();
        let sealed = keys(0x41).seal(&pan, &OpenSslRandom).unwrap();
        let refused = |sealed: &SealedPan| keys(0x41).unseal(sealed).err() == Some(HsmError::Sealed);
        for place in 0..sealed.cipher.len() {
            let mut altered = sealed.clone();
            altered.cipher[place] ^= 1;
            assert!(refused(&altered), "octet {place}");
            altered.cipher.truncate(place);
            assert!(refused(&altered), "cut at {place}");
        }
        let mut moved = sealed.clone();
        moved.lookup[15] ^= 0x80;
        assert!(refused(&moved), "another card's look-up value");
        assert_eq!(keys(0x42).unseal(&sealed).err(), Some(HsmError::Sealed));
    }
}
