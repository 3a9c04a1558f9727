//! Key blocks of ANSI X9.143 (TR-31), version D: a key bound to its header under an AES-256 key. Pure.
//!
//! ```text
//! D 0112 71 T B 00 N 00 00 | 64 or 96 hex characters | 32 hex characters
//! | |    |  | | |  | |  '- reserved                   '- MAC: CMAC under the KBAK of header and payload
//! | |    |  | | |  | '---- optional blocks: none        in clear
//! | |    |  | | |  '- exportability                  '- payload: bit length (2 octets), key, random pad,
//! | |    |  | | '- key version                          AES-CBC under the KBEK with the MAC as IV
//! | |    |  | '- mode of use
//! | |    |  '- algorithm
//! | |    '- usage
//! | '- characters in the block
//! '- version
//! ```
//! What the codes mean to this HSM is [`super::policy`]'s affair.

use super::aes::{AesKey, BLOCK, KEY};
use super::cipher::{cbc_decrypt, cbc_encrypt, cmac};
use super::{HsmError, KeyDefect};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Characters of the header.
const HEADER: usize = 16;
/// Octets of a payload that hides how long a DES key is: the bit length and 24 octets, in whole blocks.
const PAYLOAD: usize = 32;
/// Octets of random pad that [`Protection::wrap`] may take.
pub const PAD: usize = PAYLOAD;

/// The fixed fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Two characters: what the key is for.
    pub usage: [u8; 2],
    /// `D` DES, `T` triple DES, `A` AES …
    pub algorithm: u8,
    /// `B` both directions, `C` MAC both ways, `E`, `D`, `G`, `V`, `N` …
    pub mode: u8,
    /// Two characters: the key's version, `00` for none.
    pub version: [u8; 2],
    /// `E` under a key of the same standard, `N` never, `S` sensitive.
    pub exportability: u8,
}

/// The two keys that a key block protection key becomes: one encrypts, one authenticates.
pub struct Protection {
    kbek: AesKey,
    kbak: AesKey,
}

impl Protection {
    /// Derives both from an AES-256 key (X9.143, 6.3: CMAC in counter mode).
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn new(kbpk: &[u8; KEY]) -> Result<Self, HsmError> {
        let kbpk = AesKey::new(kbpk)?;
        Ok(Self { kbek: derive(&kbpk, 0x0000)?, kbak: derive(&kbpk, 0x0001)? })
    }

    /// Wraps a key of 8 to 30 octets. `pad` must be random: it hides the key's length.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the key is too long, [`HsmError::Failure`].
    pub fn wrap(&self, header: Header, key: &[u8], pad: &[u8; PAD]) -> Result<String, HsmError> {
        let mut payload = Zeroizing::new([0; PAYLOAD]);
        payload.copy_from_slice(pad);
        let bits = u16::try_from(key.len() * 8).map_err(|_| HsmError::Key(KeyDefect::Length))?;
        let (length, rest) = payload.split_at_mut(2);
        length.copy_from_slice(&bits.to_be_bytes());
        rest.get_mut(..key.len()).ok_or(HsmError::Key(KeyDefect::Length))?.copy_from_slice(key);

        let mut block = header.text(HEADER + 2 * PAYLOAD + 2 * BLOCK);
        let mac = self.mac(block.as_bytes(), payload.as_slice());
        let cipher = cbc_encrypt(&self.kbek, mac, payload.as_slice())?;
        block.push_str(&hex::encode_upper(cipher));
        block.push_str(&hex::encode_upper(mac));
        Ok(block)
    }

    /// Unwraps a key and checks that nothing of the block is altered.
    ///
    /// # Errors
    /// [`HsmError::KeyBlock`] for every defect: form, version, optional blocks, MAC, length.
    pub fn unwrap(&self, block: &str) -> Result<(Header, Zeroizing<Vec<u8>>), HsmError> {
        let (head, body) = block.split_at_checked(HEADER).ok_or(HsmError::KeyBlock)?;
        let header = Header::read(head, block.len())?;
        let octets = upper_hex(body)?;
        let (cipher, mac) = octets.split_last_chunk::<BLOCK>().ok_or(HsmError::KeyBlock)?;
        let payload = cbc_decrypt(&self.kbek, *mac, cipher).map_err(|_| HsmError::KeyBlock)?;
        let expected = self.mac(head.as_bytes(), &payload);
        if !bool::from(expected.ct_eq(mac)) {
            return Err(HsmError::KeyBlock);
        }
        let (length, rest) = payload.split_first_chunk::<2>().ok_or(HsmError::KeyBlock)?;
        let bits = usize::from(u16::from_be_bytes(*length));
        let key = rest.get(..bits / 8).filter(|_| bits.is_multiple_of(8)).ok_or(HsmError::KeyBlock)?;
        Ok((header, Zeroizing::new(key.to_vec())))
    }

    fn mac(&self, header: &[u8], payload: &[u8]) -> [u8; BLOCK] {
        let covered = Zeroizing::new([header, payload].concat());
        cmac(&self.kbak, &covered)
    }
}

/// Two CMAC blocks make 256 bits: counter, use, separator, algorithm 4 (AES-256), length in bits.
fn derive(kbpk: &AesKey, purpose: u16) -> Result<AesKey, HsmError> {
    let mut derived = Zeroizing::new([0; KEY]);
    for (counter, half) in (1u8..).zip(derived.as_chunks_mut::<BLOCK>().0) {
        let [high, low] = purpose.to_be_bytes();
        *half = cmac(kbpk, &[counter, high, low, 0, 0, 4, 1, 0]);
    }
    AesKey::new(derived.as_slice())
}

impl Header {
    fn text(self, block_length: usize) -> String {
        let character = char::from;
        format!(
            "D{block_length:04}{}{}{}{}{}{}{}0000",
            character(self.usage[0]),
            character(self.usage[1]),
            character(self.algorithm),
            character(self.mode),
            character(self.version[0]),
            character(self.version[1]),
            character(self.exportability),
        )
    }

    fn read(text: &str, block_length: usize) -> Result<Self, HsmError> {
        let fields: &[u8; HEADER] = text.as_bytes().try_into().map_err(|_| HsmError::KeyBlock)?;
        // The last two characters are reserved: the MAC covers them, nothing reads them.
        let [b'D', l0, l1, l2, l3, u0, u1, algorithm, mode, v0, v1, exportability, b'0', b'0', _, _] =
            *fields
        else {
            return Err(HsmError::KeyBlock);
        };
        if [l0, l1, l2, l3] != *format!("{block_length:04}").as_bytes() {
            return Err(HsmError::KeyBlock);
        }
        Ok(Self { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability })
    }
}

/// Upper case only, so that one key block has one text.
fn upper_hex(text: &str) -> Result<Vec<u8>, HsmError> {
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(HsmError::KeyBlock);
    }
    hex::decode(text).map_err(|_| HsmError::KeyBlock)
}

#[cfg(test)]
mod tests {
    use super::super::cipher::BlockCipher;
    use super::*;

    fn protection(kbpk: &str) -> Protection {
        Protection::new(&hex::decode(kbpk).unwrap().try_into().unwrap()).unwrap()
    }

    fn header(usage: &str, algorithm: char, mode: char, version: &str, exportability: char) -> Header {
        Header {
            usage: usage.as_bytes().try_into().unwrap(),
            algorithm: algorithm as u8,
            mode: mode as u8,
            version: version.as_bytes().try_into().unwrap(),
            exportability: exportability as u8,
        }
    }

    #[test]
    fn published_blocks_unwrap() {
        let x9_143 = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6";
        let forty_one = &"41".repeat(32);
        let iso_20038 = &hex::encode("256-bit AES wrapping (ISO 20038)");
        let rows = [
            (
                "X9.143, version D",
                x9_143,
                "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34",
                header("P0", 'A', 'E', "00", 'E'),
                "3F419E1CB7079442AA37474C2EFBF8B8",
            ),
            (
                "X9.143, version D, length hidden",
                x9_143,
                "D0144P0AE00E00002C77FA3F4A553BED6E88AE5C172A4166E3D4ACA8E2AC71C158A476FAC12C13C3829DE55D3AB54C48F4C4FEF7AC75E90FC47F1B77E7B19A73ED46E64410082557",
                header("P0", 'A', 'E', "00", 'E'),
                "3F419E1CB7079442AA37474C2EFBF8B8",
            ),
            (
                "payShield 10K, double-length triple DES",
                forty_one,
                "D0112B0TN00N000037DB9B046B7B0048785690759580ABC3B9842AB4BB7717B49E92528E575785D8123559376A2553B27BE94F054F4E971C",
                header("B0", 'T', 'N', "00", 'N'),
                "1FA1F7CEC798D91545DA8AE0C7796BD9",
            ),
            (
                "payShield 10K, AES-256",
                forty_one,
                "D0144D0AN00N0000127862F945C2DED04530FAF7CDBC8B0BA10C7AA79BD5E0C2C5D6AC173BF588E4B19ACF1357178D50EA0AB193228E13958304FC6149632DFDCADF3A5B3D57E814",
                header("D0", 'A', 'N', "00", 'N'),
                "BE19E6A07A760F10EF8E83A226B63AAD141F463FDDD4F47DB244B4023EC3CACC",
            ),
            (
                "ISO 20038, B.3",
                iso_20038,
                "D0112M3TV16N000018462FA5903B8D2B82FEE26B29713C0BE7ED81601087F12252093D06FC0A012C1CF769AD0E3E9E4877166AB013FC22B4",
                header("M3", 'T', 'V', "16", 'N'),
                "767361707064642032454552206B6479",
            ),
        ];
        for (name, kbpk, block, header, key) in rows {
            let (found, clear) = protection(kbpk).unwrap(block).expect(name);
            assert_eq!((found, hex::encode_upper(&*clear)), (header, key.to_uppercase()), "{name}");
            assert_eq!(protection(&"42".repeat(32)).unwrap(block).err(), Some(HsmError::KeyBlock), "{name}");
        }
    }

    #[test]
    fn the_derived_keys_are_the_published_ones() {
        // The public AES test LMK of Thales key blocks, whose derivation is that of version D.
        let derived = protection("9B71333A13F9FAE72F9D0E2DAB4AD6784718012F9244033F3F26A2DE0C8AA11A");
        let rows = [
            (derived.kbek, "1B39BAA881FCEDC1CD5138CC5A31F2E82E1BB7EA3B29CF875F6AAB21268F0D17"),
            (derived.kbak, "B9C8CD6543528A1C6859765503FBB3A87C533BC73933513AF534A90F525308F2"),
        ];
        for (derived, published) in rows {
            let published = AesKey::new(&hex::decode(published).unwrap()).unwrap();
            assert_eq!(derived.encrypt([0; BLOCK]), published.encrypt([0; BLOCK]));
        }
    }

    #[test]
    fn what_is_wrapped_unwraps_and_every_altered_character_is_refused() {
        let protection = protection(&"41".repeat(32));
        let header = header("71", 'T', 'B', "00", 'N');
        for octets in [8, 16, 24] {
            let key: Vec<u8> = (1..=octets).collect();
            let block = protection.wrap(header, &key, &[0xA5; PAD]).unwrap();
            assert_eq!(block.len(), 112, "the length does not show");
            assert!(block.starts_with("D011271TB00N0000"), "{block}");
            assert_eq!(protection.unwrap(&block).unwrap(), (header, Zeroizing::new(key)));
            for place in 0..block.len() {
                for other in ["0", "1", "7", "A", "F", "Z", "b", " ", "é"] {
                    if &block[place..=place] == other {
                        continue;
                    }
                    let mut altered = block.clone();
                    altered.replace_range(place..=place, other);
                    let refused = protection.unwrap(&altered).err();
                    assert_eq!(refused, Some(HsmError::KeyBlock), "{place} {other}");
                }
                assert_eq!(protection.unwrap(&block[..place]).err(), Some(HsmError::KeyBlock));
            }
            assert_eq!(protection.unwrap(&block.to_lowercase()).err(), Some(HsmError::KeyBlock));
            assert_eq!(protection.unwrap(&format!("{block}00")).err(), Some(HsmError::KeyBlock));
        }
        let long = protection.wrap(header, &[1; 31], &[0; PAD]);
        assert_eq!(long.err(), Some(HsmError::Key(KeyDefect::Length)));
    }
}
