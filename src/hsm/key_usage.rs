//! What the fields of a key block's header may say by the standard (X9.143, 6.3.1 to 6.3.5): usages and
//! the modes of use that go with each. What they mean to this HSM is [`super::policy`]'s affair.
//!
//! Numeric values are left to each implementation, in every field: they go with everything.

use super::key_block::header::Header;
use super::{HsmError, KeyDefect};

/// Mode of use "no special restrictions but those of the usage". The table has it for an initial value only;
/// payShields write it for every usage.
pub const UNRESTRICTED: u8 = b'N';

/// Encrypt or wrap, decrypt or unwrap, both.
const CIPHER: &[u8] = b"BDE";
/// Generate, verify, both.
const MAC: &[u8] = b"CGV";
/// Derive other keys.
const DERIVE: &[u8] = b"X";
/// Sign, verify a signature.
const SIGN: &[u8] = b"SV";

/// The modes of use that a usage allows; none when the standard has no such usage.
///
/// A numeric usage allows every mode.
#[must_use]
pub fn modes(usage: [u8; 2]) -> Option<&'static [u8]> {
    match &usage {
        // Base derivation key; initial DUKPT key; base key variant; key derivation key outside X9.24.
        b"B0" | b"B1" | b"B2" | b"B3" => Some(DERIVE),
        // Card verification.
        b"C0" => Some(MAC),
        // Data: symmetric, asymmetric, decimalization tables, sensitive data.
        b"D0" | b"D1" | b"D2" | b"D3" => Some(CIPHER),
        // EMV issuer master keys: cryptograms, confidentiality, integrity, DAC, dynamic numbers,
        // personalization, other.
        b"E0" | b"E1" | b"E2" | b"E3" | b"E4" | b"E5" | b"E6" => Some(DERIVE),
        // EMV key pair for PINs.
        b"E7" => Some(CIPHER),
        // Initial value.
        b"I0" => Some(b"N"),
        // Wrapping: any key, key blocks, TR-34, ISO 20038.
        b"K0" | b"K1" | b"K2" | b"K4" => Some(CIPHER),
        // Asymmetric wrapping or key agreement.
        b"K3" => Some(b"BDEX"),
        // MAC: ISO 16609; ISO 9797-1 algorithms 1 to 5, CMAC, HMAC, ISO 9797-1 algorithm 6.
        b"M0" | b"M1" | b"M2" | b"M3" | b"M4" | b"M5" | b"M6" | b"M7" | b"M8" => Some(MAC),
        // PIN encryption.
        b"P0" => Some(CIPHER),
        // PIN generation; PIN verification: other, IBM 3624, Visa PVV, X9.132 algorithms 1 to 3.
        b"P1" | b"V0" | b"V1" | b"V2" | b"V3" | b"V4" | b"V5" => Some(MAC),
        // Signatures, certificates.
        b"S0" | b"S1" => Some(SIGN),
        // Key pair for use outside X9.24.
        b"S2" => Some(b"SVTBDE"),
        [tens, units] if tens.is_ascii_digit() && units.is_ascii_digit() => Some(b"BCDEGNSTVXY"),
        _ => None,
    }
}

/// Whether the standard lets a key of this usage have this mode of use.
#[must_use]
pub fn allows(usage: [u8; 2], mode: u8) -> bool {
    modes(usage).is_some_and(|modes| mode.is_ascii_digit() || modes.contains(&mode))
}

/// Whether every field of a header is one that the standard has, and the mode of use goes with the usage.
///
/// # Errors
/// [`HsmError::KeyUsage`] for an unknown usage, [`HsmError::Key`] for an unknown algorithm,
/// [`HsmError::KeyMode`] for a mode of use that is unknown or does not go with the usage,
/// [`HsmError::KeyBlockForm`] for an unknown exportability.
pub fn check(header: Header) -> Result<(), HsmError> {
    if modes(header.usage).is_none() {
        return Err(HsmError::KeyUsage);
    }
    // AES, DES, elliptic curve, HMAC, RSA, DSA, triple DES.
    if !b"ADEHRST".contains(&header.algorithm) && !header.algorithm.is_ascii_digit() {
        return Err(HsmError::Key(KeyDefect::Algorithm));
    }
    if !allows(header.usage, header.mode) {
        return Err(HsmError::KeyMode);
    }
    // Under a trusted key, never, also under an untrusted one.
    if !b"ENS".contains(&header.exportability) && !header.exportability.is_ascii_digit() {
        return Err(HsmError::KeyBlockForm);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_has_its_modes() {
        let rows = [
            ("B0 B1 B2 B3", "X"),
            ("C0", "CGV"),
            ("D0 D1 D2 D3", "BDE"),
            ("E0 E1 E2 E3 E4 E5 E6", "X"),
            ("E7", "BDE"),
            ("I0", "N"),
            ("K0 K1 K2 K4", "BDE"),
            ("K3", "BDEX"),
            ("M0 M1 M2 M3 M4 M5 M6 M7 M8", "CGV"),
            ("P0", "BDE"),
            ("P1", "CGV"),
            ("S0 S1", "SV"),
            ("S2", "BDESTV"),
            ("V0 V1 V2 V3 V4 V5", "CGV"),
            ("00 10 71 72 99", "BCDEGNSTVXY"),
            ("A0 B4 C1 D4 E8 I1 K5 M9 P2 S3 V6 Z0 p0 b0 7A A7", ""),
        ];
        for (usages, modes) in rows {
            for usage in usages.split(' ') {
                let code = usage.as_bytes().try_into().unwrap();
                for mode in 0..=u8::MAX {
                    let expected = modes.as_bytes().contains(&mode) || mode.is_ascii_digit();
                    let expected = expected && !modes.is_empty();
                    assert_eq!(allows(code, mode), expected, "{usage} {}", mode.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn every_field_is_checked() {
        let rows = [
            ("P0TE00E", Ok(())),
            ("B0AX00N", Ok(())),
            ("72TB00S", Ok(())),
            ("0000001", Ok(())),
            ("P0T100N", Ok(())),
            ("A9TE00E", Err(HsmError::KeyUsage)),
            ("P0XE00E", Err(HsmError::Key(KeyDefect::Algorithm))),
            ("P0tE00E", Err(HsmError::Key(KeyDefect::Algorithm))),
            ("P0TX00E", Err(HsmError::KeyMode)),
            ("B0TB00E", Err(HsmError::KeyMode)),
            ("M1TN00E", Err(HsmError::KeyMode)),
            ("72TZ00E", Err(HsmError::KeyMode)),
            ("P0TE00X", Err(HsmError::KeyBlockForm)),
            ("P0TE00e", Err(HsmError::KeyBlockForm)),
        ];
        for (text, expected) in rows {
            let [u0, u1, algorithm, mode, v0, v1, exportability] = *text.as_bytes() else { panic!("{text}") };
            let header = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
            assert_eq!(check(header), expected, "{text}");
        }
    }
}
