//! Track data under a terminal's TDK, as UnionPay terminals send DE 35. Pure.
//!
//! ```text
//! packed track   62 25 88 00 12 34 56 75 | D3 01 22 01 00 00 01 23 | 00
//! on the wire    62 25 88 00 12 34 56 75 | AA 5A 78 81 CA F9 ED 9A | 00
//! ```
//! The eight octets that end one octet before the last are encrypted, ECB. An odd count of digits is
//! packed with one fill nibble, which is in the last octet and so never encrypted.

use super::HsmError;
use super::des::{BLOCK, DesKey};
use crate::transaction::Track2;
use std::ops::Range;
use zeroize::Zeroizing;

/// Encrypts a track: digits and `D` in, upper-case hexadecimal digits of the same count out.
///
/// # Errors
/// [`HsmError::Track`] when the track is shorter than 17 digits.
pub fn encrypt(key: &DesKey, track: &Track2) -> Result<String, HsmError> {
    let sent = replace(track.text(), |block| key.encrypt(block))?;
    Ok(sent.as_str().to_owned())
}

/// Decrypts a track as it came: hexadecimal digits, since a ciphertext has them all.
///
/// # Errors
/// [`HsmError::Track`] when it is too short, holds another character, or what comes out is no track 2.
pub fn decrypt(key: &DesKey, sent: &str) -> Result<Track2, HsmError> {
    let clear = replace(sent, |block| key.decrypt(block))?;
    Track2::parse(&clear).map_err(|_| HsmError::Track)
}

fn replace(
    digits: &str,
    cipher: impl FnOnce([u8; BLOCK]) -> [u8; BLOCK],
) -> Result<Zeroizing<String>, HsmError> {
    put(digits, &Zeroizing::new(cipher(*part(digits)?)))
}

/// The eight octets of a track that are, or are to be, encrypted.
pub(super) fn part(digits: &str) -> Result<Zeroizing<[u8; BLOCK]>, HsmError> {
    let part = covered(digits.len()).and_then(|covered| digits.get(covered)).ok_or(HsmError::Track)?;
    let mut block = Zeroizing::new([0; BLOCK]);
    hex::decode_to_slice(part, block.as_mut_slice()).map_err(|_| HsmError::Track)?;
    Ok(block)
}

/// The track with these octets in their place.
pub(super) fn put(digits: &str, block: &[u8; BLOCK]) -> Result<Zeroizing<String>, HsmError> {
    let covered = covered(digits.len()).filter(|covered| digits.get(covered.clone()).is_some());
    let mut text = Zeroizing::new(digits.to_owned());
    text.replace_range(covered.ok_or(HsmError::Track)?, &Zeroizing::new(hex::encode_upper(block)));
    Ok(text)
}

/// Which digits are encrypted.
fn covered(digits: usize) -> Option<Range<usize>> {
    let end = digits.div_ceil(2).checked_sub(1)? * 2;
    Some(end.checked_sub(2 * BLOCK)?..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden TDK.
    fn tdk() -> DesKey {
        DesKey::new(&hex::decode("7C4A1F0D3B5E86A9D0E2F47586B9CDA2").unwrap()).unwrap()
    }

    #[test]
    fn the_golden_track_goes_both_ways() {
        let (clear, sent) = ("6225880012345675D30122010000012300", "6225880012345675AA5A7881CAF9ED9A00");
        assert_eq!(encrypt(&tdk(), &Track2::parse(clear).unwrap()).unwrap(), sent);
        assert_eq!(decrypt(&tdk(), sent).unwrap().text(), clear);
    }

    #[test]
    fn the_covered_digits_end_one_octet_before_the_last() {
        let rows = [
            (16, None),
            (17, Some(0..16)),
            (18, Some(0..16)),
            (19, Some(2..18)),
            (34, Some(16..32)),
            (36, Some(18..34)),
            (37, Some(20..36)),
            (0, None),
        ];
        for (digits, expected) in rows {
            assert_eq!(covered(digits), expected, "{digits}");
        }
    }

    #[test]
    fn what_is_no_track_is_refused() {
        let rows = [
            ("too short", "622588001234567"),
            ("another letter", "6225880012345675AA5A7881CAF9ED9G00"),
            ("not encrypted", "6225880012345675D30122010000012300"),
            ("letters outside", "622588001234567FAA5A7881CAF9ED9A00"),
            ("one bit", "6225880012345675AA5A7881CAF9ED9B00"),
            ("not ASCII", "62258800123456é5AA5A7881CAF9ED9A00"),
            ("empty", ""),
        ];
        for (name, sent) in rows {
            assert_eq!(decrypt(&tdk(), sent).err(), Some(HsmError::Track), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn tracks_come_back(text in "[0-9]{12,19}D30(0[1-9]|1[0-2])[0-9]{0,13}") {
            let track = Track2::parse(&text).unwrap();
            let sent = encrypt(&tdk(), &track).unwrap();
            proptest::prop_assert_eq!(sent.len(), text.len());
            let back = decrypt(&tdk(), &sent).unwrap();
            proptest::prop_assert_eq!(back.text(), &text);
        }
    }
}
