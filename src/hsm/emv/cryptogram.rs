//! EMV cryptograms: what card and issuer prove to each other (ARQC, TC, AAC; ARPC; CVC3).
//!
//! Pure arithmetic on a clear key of 16 octets. Which key and which data a card uses is its cryptogram
//! version's affair: see [`crate::hsm::emv`].

use crate::hsm::HsmError;
use crate::hsm::cipher::Padding;
use crate::hsm::des::DesKey;
use crate::hsm::mac::algorithm3;
use subtle::ConstantTimeEq;

/// An application cryptogram (ARQC, TC or AAC): ISO/IEC 9797-1 algorithm 3 over the transaction's data, 8
/// octets. Padding method 2 is EMV's (EMV Book 2, 8.1 and A1.2.1), method 1 that of Visa's first versions.
///
/// # Errors
/// None that its arguments can cause.
pub fn application_cryptogram(key: &[u8; 16], padding: Padding, data: &[u8]) -> Result<[u8; 8], HsmError> {
    algorithm3(&DesKey::new(key)?, padding, data)
}

/// Whether a cryptogram is the one computed, in constant time.
///
/// # Errors
/// [`HsmError::Mismatch`], also for another length.
pub fn verify(computed: &[u8], found: &[u8]) -> Result<(), HsmError> {
    if computed.ct_eq(found).into() { Ok(()) } else { Err(HsmError::Mismatch) }
}

/// The issuer's answer by method 1: the ARQC with the authorization response code in its first two octets,
/// encrypted; 8 octets (EMV Book 2, 8.2.1).
///
/// # Errors
/// None that its arguments can cause.
pub fn arpc_method_1(key: &[u8; 16], arqc: [u8; 8], arc: [u8; 2]) -> Result<[u8; 8], HsmError> {
    let ([a, b, rest @ ..], [c, d]) = (arqc, arc);
    let [e, f, g, h, i, j] = rest;
    Ok(DesKey::new(key)?.encrypt([a ^ c, b ^ d, e, f, g, h, i, j]))
}

/// The issuer's answer by method 2: the left 4 octets of a MAC over ARQC, card status update and up to 8
/// octets of proprietary authentication data (EMV Book 2, 8.2.2).
///
/// # Errors
/// [`HsmError::Input`] for more proprietary data.
pub fn arpc_method_2(
    key: &[u8; 16],
    arqc: [u8; 8],
    csu: [u8; 4],
    proprietary: &[u8],
) -> Result<[u8; 4], HsmError> {
    if proprietary.len() > 8 {
        return Err(HsmError::Input("proprietary authentication data is longer than 8 octets"));
    }
    let data = [arqc.as_slice(), &csu, proprietary].concat();
    let [a, b, c, d, ..] = application_cryptogram(key, Padding::Method2, &data)?;
    Ok([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::judges;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn cryptograms_are_the_published_ones() {
        // Checked on an HSM by their publisher; the third is an example of pyemv.
        let session = "3E736BF8D37664348A04E3ABE00DEFC1";
        let data = "0123456789ABCDEF0123456789ABCDEF";
        let rows = [
            (session, Padding::Method2, data, "4B46013359B7A58B"),
            (session, Padding::Method1, data, "922F3E83125EB46B"),
            (
                "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB",
                Padding::Method2,
                "0000000020000000000000000124000000800001241103090038 04823E58000001",
                "3B76CF10FECD8789",
            ),
        ];
        for (key, padding, data, expected) in rows {
            let data = hex::decode(data.replace(' ', "")).unwrap();
            let found = application_cryptogram(&octets(key), padding, &data).unwrap();
            assert_eq!(hex::encode_upper(found), expected);
            assert_eq!(verify(&found, &octets::<8>(expected)), Ok(()));
            assert_eq!(verify(&found, &found[..7]), Err(HsmError::Mismatch));
            assert_eq!(verify(&found, &[]), Err(HsmError::Mismatch));
            for bit in 0..64 {
                let mut altered = found;
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(verify(&found, &altered), Err(HsmError::Mismatch), "bit {bit}");
            }
        }
    }

    #[test]
    fn answers_are_the_published_ones() {
        let master = octets("F84315C7B95BD3B0C74694922C3808B0");
        let session = octets("3E736BF8D37664348A04E3ABE00DEFC1");
        let arqc = octets("4B46013359B7A58B");
        // Checked on an HSM by their publisher.
        assert_eq!(arpc_method_1(&master, arqc, [0, 0]).unwrap(), octets("F8C9CECAABD55AD1"));
        let rows = [("", "7DFB1188"), ("1234567890ABCDEF", "4962B76C")];
        for (proprietary, expected) in rows {
            let found = arpc_method_2(&session, arqc, [0; 4], &hex::decode(proprietary).unwrap()).unwrap();
            assert_eq!(hex::encode_upper(found), expected);
        }
        // Examples of pyemv.
        let key = octets("AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB");
        let arqc = octets("1234567890ABCDEF");
        assert_eq!(arpc_method_1(&key, arqc, [0, 0]).unwrap(), octets("F5E6F44147E2F1B0"));
        assert_eq!(arpc_method_2(&key, arqc, [0; 4], &[]).unwrap(), octets("9308BEBC"));
        assert_ne!(arpc_method_1(&key, arqc, *b"00").unwrap(), octets("F5E6F44147E2F1B0"));
        assert_ne!(arpc_method_2(&key, arqc, [0, 0, 0, 1], &[]).unwrap(), octets("9308BEBC"));
        let long = arpc_method_2(&key, arqc, [0; 4], &[0; 9]);
        assert_eq!(
            long.err(),
            Some(HsmError::Input("proprietary authentication data is longer than 8 octets"))
        );
    }

    #[test]
    fn pyemv_agrees() {
        let mut chance = judges::Chance::new(431);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..6000 {
            let key: [u8; 16] = chance.des_key(16).try_into().unwrap();
            let (length, few) = (chance.within(0, 80), chance.within(0, 8));
            let (data, proprietary) = (chance.octets(length), chance.octets(few));
            let arqc: [u8; 8] = chance.octets(8).try_into().unwrap();
            let csu: [u8; 4] = chance.octets(4).try_into().unwrap();
            let arc: [u8; 2] = chance.octets(2).try_into().unwrap();
            let (operation, rest, found) = match round % 3 {
                0 => {
                    let (padding, name) =
                        [(Padding::Method1, "zeros"), (Padding::Method2, "80")][round / 3 % 2];
                    let found = application_cryptogram(&key, padding, &data).unwrap();
                    ("ac", vec![name.into(), hex::encode(data)], found.to_vec())
                }
                1 => {
                    let found = arpc_method_1(&key, arqc, arc).unwrap();
                    ("arpc_1", vec![hex::encode(arqc), hex::encode(arc)], found.to_vec())
                }
                _ => {
                    let found = arpc_method_2(&key, arqc, csu, &proprietary).unwrap();
                    let rest = vec![hex::encode(arqc), hex::encode(csu), hex::encode(proprietary)];
                    ("arpc_2", rest, found.to_vec())
                }
            };
            cases.push([vec![operation.into(), hex::encode(key)], rest].concat());
            ours.push(hex::encode_upper(found));
        }
        judges::agree(include_str!("../judges/emv.py"), &cases, &ours);
    }
}
