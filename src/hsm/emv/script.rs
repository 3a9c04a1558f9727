//! EMV issuer scripts: the MAC of a command, its enciphered data, and the PIN block of a PIN change.
//!
//! Pure arithmetic on clear keys of 16 octets. Which of these a card uses is its cryptogram version's affair:
//! see [`crate::hsm::emv`].

use crate::hsm::HsmError;
use crate::hsm::cipher::{Padding, blocks, cbc_encrypt, ecb_encrypt};
use crate::hsm::des::DesKey;
use crate::hsm::mac::{algorithm3, left};
use crate::hsm::pin::block::{ClearBlock, Pin, encode_without_pan};
use zeroize::Zeroizing;

/// The MAC of a script command: the left 4 to 8 `octets` of ISO/IEC 9797-1 algorithm 3 with padding method 2
/// (EMV Book 2, 9.2.3). `data` is the command's header, what the card's scheme puts behind it (ATC, ARQC),
/// and the command's data.
///
/// # Errors
/// [`HsmError::Input`] for another length.
pub fn script_mac(key: &[u8; 16], data: &[u8], octets: usize) -> Result<Vec<u8>, HsmError> {
    let mac = algorithm3(&DesKey::new(key)?, Padding::Method2, data)?;
    left(&mac, octets).map(<[u8]>::to_vec)
}

/// How a script command's data are enciphered (EMV Book 2, 9.3 and A1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encipherment {
    /// A length octet in front, padding method 2, ECB: up to 255 octets.
    Visa,
    /// Padding method 2 unless the blocks are whole, CBC from zeros.
    Mastercard,
    /// Padding method 2, CBC from zeros.
    Emv,
}

/// Enciphers the data of a script command under the session key for confidentiality.
///
/// # Errors
/// [`HsmError::Input`] for more than 255 octets in Visa's form.
pub fn encipher(key: &[u8; 16], how: Encipherment, data: &[u8]) -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(key)?;
    match how {
        Encipherment::Visa => {
            let length = u8::try_from(data.len()).map_err(|_| HsmError::Input("data is too long"))?;
            let data = Zeroizing::new([&[length], data].concat());
            ecb_encrypt(&key, &padded(Padding::Method2, &data))
        }
        Encipherment::Mastercard if data.len().is_multiple_of(8) => cbc_encrypt(&key, [0; 8], data),
        Encipherment::Mastercard | Encipherment::Emv => {
            cbc_encrypt(&key, [0; 8], &padded(Padding::Method2, data))
        }
    }
}

fn padded(padding: Padding, data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(Vec::with_capacity(data.len() + 8));
    blocks::<8>(data, padding).for_each(|block| padded.extend_from_slice(&block));
    padded
}

/// The PIN block of a Visa PIN change: the new PIN in format 0 without a PAN, exclusive or the right half of
/// the left half of the card's key for cryptograms, and where the card has a PIN, exclusive or its digits in
/// front of zeros (Visa Integrated Circuit Card Specification).
#[must_use]
pub fn vis_pin_block(cryptogram_key: &[u8; 16], pin: &Pin, current: Option<&Pin>) -> ClearBlock {
    let [_, _, _, _, a, b, c, d, ..] = *cryptogram_key;
    let account = u64::from(u32::from_be_bytes([a, b, c, d]));
    let new = u64::from_be_bytes(*encode_without_pan(pin));
    Zeroizing::new((new ^ account ^ current.map_or(0, digits_in_front)).to_be_bytes())
}

/// A PIN's digits, a nibble each, and zeros behind them.
fn digits_in_front(pin: &Pin) -> u64 {
    let block = u64::from_be_bytes(*encode_without_pan(pin));
    // The PIN type holds 4 to 12 digits, so the second nibble moves by 16 to 48 bits.
    let digits = u32::try_from(block >> 56).unwrap_or_default();
    block << 8 & !(u64::MAX >> (4 * digits))
}

/// The PIN block of other schemes' PIN changes: format 2 of ISO 9564-1.
#[must_use]
pub fn format_2_pin_block(pin: &Pin) -> ClearBlock {
    let mut block = encode_without_pan(pin);
    let [control, ..] = &mut *block;
    *control |= 0x20;
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::judges;

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn pin(digits: &str) -> Pin {
        Pin::parse(digits).unwrap()
    }

    #[test]
    fn macs_are_the_published_ones() {
        // Examples of pyemv: a header alone, a header with ATC and ARQC.
        let rows =
            [("8424000008", "0BFFF5DF3FAA24E1"), ("8424000008FFFF1234567890123456", "E07B8DF1B4184282")];
        for (data, expected) in rows {
            for length in 4..=8 {
                let found = script_mac(&octets(K0), &hex::decode(data).unwrap(), length).unwrap();
                assert_eq!(hex::encode_upper(found), expected[..2 * length]);
            }
        }
        for length in [0, 3, 9] {
            assert!(matches!(script_mac(&octets(K0), &[0], length), Err(HsmError::Input(_))), "{length}");
        }
    }

    #[test]
    fn enciphered_data_are_the_published_ones() {
        use Encipherment::{Emv, Mastercard, Visa};
        // Examples of pyemv.
        let rows = [
            (Emv, "249999FFFFFFFFFF", "5A862D1381CCB94822CFDD706A376178"),
            (Mastercard, "241234FFFFFFFFFF", "9859240AE52820C3"),
        ];
        for (how, data, expected) in rows {
            let found = encipher(&octets(K0), how, &hex::decode(data).unwrap()).unwrap();
            assert_eq!(hex::encode_upper(found), expected, "{how:?}");
        }
        assert_eq!(encipher(&octets(K0), Visa, &[0; 255]).unwrap().len(), 264);
        assert_eq!(encipher(&octets(K0), Visa, &[0; 256]), Err(HsmError::Input("data is too long")));
    }

    #[test]
    fn pin_blocks_are_the_published_ones() {
        // The first an example of pyemv, those with a current PIN computed by hand.
        let rows = [
            ("1234", None, "041234FF76543210"),
            ("1234", Some("8888"), "8C9A34FF76543210"),
            ("1234", Some("123456789012"), "16266287E6463210"),
        ];
        for (new, current, expected) in rows {
            let current = current.map(pin);
            let found = vis_pin_block(&octets(K0), &pin(new), current.as_ref());
            assert_eq!(*found, octets(expected), "{new}");
        }
        for (digits, expected) in
            [("123456789012", "2C123456789012FF"), ("1234", "241234FFFFFFFFFF"), ("9999", "249999FFFFFFFFFF")]
        {
            assert_eq!(*format_2_pin_block(&pin(digits)), octets(expected));
        }
    }

    #[test]
    fn pyemv_agrees() {
        let mut chance = judges::Chance::new(93);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..8000 {
            let key: [u8; 16] = chance.des_key(16).try_into().unwrap();
            let (length, octets) = (chance.within(0, 60), chance.within(4, 8));
            let data = chance.octets(length);
            let (new, old) = (chance.within(4, 12), chance.within(4, 12));
            let (new, old) = (chance.digits(new), chance.digits(old));
            let (operation, rest, found) = match round % 4 {
                0 => {
                    let found = script_mac(&key, &data, octets).unwrap();
                    ("script_mac", vec![octets.to_string(), hex::encode(data)], found)
                }
                1 => {
                    let (how, name) = [
                        (Encipherment::Visa, "visa"),
                        (Encipherment::Mastercard, "mastercard"),
                        (Encipherment::Emv, "emv"),
                    ][round / 4 % 3];
                    let found = encipher(&key, how, &data).unwrap();
                    ("encipher", vec![name.into(), hex::encode(data)], found)
                }
                2 => {
                    let current = (round / 4 % 2 == 0).then(|| pin(&old));
                    let found = vis_pin_block(&key, &pin(&new), current.as_ref());
                    let old = if current.is_some() { old } else { String::new() };
                    ("vis_pin", vec![new, old], found.to_vec())
                }
                _ => {
                    let found = format_2_pin_block(&pin(&new));
                    ("iso2_pin", vec![new], found.to_vec())
                }
            };
            cases.push([vec![operation.into(), hex::encode(key)], rest].concat());
            ours.push(hex::encode_upper(found));
        }
        judges::agree(include_str!("../judges/emv.py"), &cases, &ours);
    }
}
