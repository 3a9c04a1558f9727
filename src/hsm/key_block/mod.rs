//! Key blocks of ANSI X9.143 (TR-31), versions A to D, and E of ISO 20038: a key bound to its header under a
//! key block protection key (KBPK). Pure.
//!
//! ```text
//! D 0112 71 T B 00 N 00 00 | 64 or 96 hex characters | 32 hex characters
//! header                    ciphertext of the payload  MAC
//! ```
//! The header is drawn in [`header`], the payload and the bindings in `binding`. What
//! the codes mean by the standard is said in [`crate::hsm::key_usage`], what they mean to this HSM in
//! [`crate::hsm::policy`].
//!
//! A block fails in two ways. [`HsmError::KeyBlockForm`]: its characters are no block of this version, which
//! shows without a key; or it is authentic, but what it holds is no key. [`HsmError::KeyBlock`]: its MAC does
//! not match, so it is altered or under another KBPK.

mod binding;
pub mod header;
pub mod thales;

use crate::hsm::HsmError;
use crate::hsm::random::Random;
use binding::Binding;
pub use header::{FullHeader, Header, OptionalBlock};
use zeroize::Zeroizing;

/// Octets of random pad that suffice for every key hidden among 30 octets or fewer.
pub const PAD: usize = 32;

/// How a block is protected (X9.143, 6.2, table 1; ISO 20038, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// DES, variants of the KBPK. Deprecated.
    A,
    /// DES, keys derived of the KBPK.
    B,
    /// As A.
    C,
    /// AES, keys derived of the KBPK.
    D,
    /// As D, in counter mode: the block is no longer than the key.
    E,
}

impl Version {
    /// The version that a block says it has.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] when it has none of these.
    pub fn of(block: &str) -> Result<Self, HsmError> {
        let all = [Self::A, Self::B, Self::C, Self::D, Self::E];
        let letter = block.bytes().next();
        all.into_iter().find(|version| Some(version.letter()) == letter).ok_or(HsmError::KeyBlockForm)
    }

    /// The first character of such a block.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::A => b'A',
            Self::B => b'B',
            Self::C => b'C',
            Self::D => b'D',
            Self::E => b'E',
        }
    }
}

/// A key block protection key, for blocks of one version. Prints nothing of itself.
pub struct Protection(Binding);

impl Protection {
    /// Takes a KBPK: 16 or 24 octets of DES for versions A, B and C; 16, 24 or 32 of AES for D and E.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(version: Version, kbpk: &[u8]) -> Result<Self, HsmError> {
        let letter = version.letter();
        Ok(Self(match version {
            Version::A | Version::C => Binding::variant(letter, kbpk)?,
            Version::B => Binding::derived_des(letter, kbpk)?,
            Version::D => Binding::derived_aes(letter, kbpk)?,
            Version::E => Binding::counter(letter, kbpk)?,
        }))
    }

    /// Octets of pad that [`Protection::wrap`] takes for a key of so many octets, hidden among `masked`.
    #[must_use]
    pub fn pad_octets(&self, key: usize, masked: usize) -> usize {
        self.0.pad_octets(key, masked)
    }

    /// Wraps a key of 1 to some 4900 octets. The block is as long as for a key of `masked` octets, so that a
    /// shorter key's length does not show; 0 hides nothing. `pad` must be random and may be longer than is
    /// needed.
    ///
    /// # Errors
    /// [`HsmError::Key`] when there is no key or it is too long, [`HsmError::Input`] when the pad is too
    /// short or the header is not acceptable.
    pub fn wrap(
        &self,
        header: &FullHeader,
        key: &[u8],
        masked: usize,
        pad: &[u8],
    ) -> Result<String, HsmError> {
        self.0.wrap(header, key, masked, pad)
    }

    /// Unwraps a key, once nothing of the block is altered.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] and [`HsmError::KeyBlock`], as said above.
    pub fn unwrap(&self, block: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), HsmError> {
        self.0.unwrap(block)
    }

    /// The key of a block in a block under another KBPK, with the same header and length.
    ///
    /// # Errors
    /// As [`Protection::unwrap`] and [`Protection::wrap`], and of the random source.
    pub(in crate::hsm) fn rewrap(
        &self,
        block: &str,
        to: &Self,
        random: &dyn Random,
    ) -> Result<String, HsmError> {
        let (header, key) = self.unwrap(block)?;
        let (_, payload) = self.0.payload(block)?;
        // Two octets of the payload say the key's length.
        let masked = payload.len().saturating_sub(2);
        let mut pad = Zeroizing::new(vec![0; to.pad_octets(key.len(), masked)]);
        random.fill(&mut pad)?;
        to.wrap(&header, &key, masked, &pad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::cipher::BlockCipher;
    use crate::hsm::des::DesKey;
    use crate::hsm::{KeyDefect, aes::AesKey, judges};

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn protection(block: &str, kbpk: &str) -> Protection {
        Protection::new(Version::of(block).unwrap(), &octets(kbpk)).unwrap()
    }

    fn header(text: &str) -> Header {
        let [u0, u1, algorithm, mode, v0, v1, exportability] = *text.as_bytes() else { panic!("{text}") };
        Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability }
    }

    const PAYSHIELD: &str = "EFE0853B256B583D868F251CE99EA1D9";
    const X9_143_C: &str = "B8ED59E0A279A295E9F5ED7944FD06B9";
    const X9_143_B: &str = "1D22BF32387C600AD97F9B97A51311AC";
    const X9_143_D: &str = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6";
    const FORTY_ONE: &str = "4141414141414141414141414141414141414141414141414141414141414141";
    /// "256-bit AES wrapping (ISO 20038)".
    const ISO_20038: &str = "3235362D62697420414553207772617070696E67202849534F20323030333829";
    const KSN: &str = "KS 00604B120F9292800000";

    /// Name, KBPK, block, optional blocks, key, its KCV when that is published too.
    #[rustfmt::skip]
    const PUBLISHED: [(&str, &str, &str, &str, &str, &str); 19] = [
        ("TR-31, version A", "89E88CF7931444F334BD7547FC3F380C",
         "A0072P0TE00E0000F5161ED902807AF26F1D62263644BD24192FDB3193C730301CEE8701",
         "", "F039121BEC83D26B169BDCD5B22AAF8F", "CB9DEA"),
        ("TR-31, version B", "DD7515F2BFC17F85CE48F3CA25CB21F6",
         "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E",
         "", "3F419E1CB7079442AA37474C2EFBF8B8", "57C409"),
        ("version C, wrapped by one implementation and unwrapped by another; length hidden among 24 octets",
         "DD7515F2BFC17F85CE48F3CA25CB21F6",
         "C0088P0TE00E0000ED5377B40EBB8293723ACAA4E0CAE696285519C6626A960A6AB86D3A1F645C877E10BF14",
         "", "3F419E1CB7079442AA37474C2EFBF8B8", "57C409"),
        ("TR-31:2018, A.7.3.1: version C with KS", X9_143_C,
         "C0096B0TX12S0100KS1800604B120F9292800000BFB9B689CB567E66FC3FEE5AD5F52161FC6545B9D60989015D02155C",
         KSN, "EDB380DD340BC2620247D445F5B8D678", "F4B08D"),
        ("X9.143, 8.4.1: the same, length hidden", X9_143_C,
         "C0112B0TX12S0100KS1800604B120F929280000042B758A2400AB598AE37782823DAF0BA4BDB0DAFF34915345CA169AE1F976A429EB139E5",
         KSN, "EDB380DD340BC2620247D445F5B8D678", "F4B08D"),
        ("TR-31:2018, A.7.3.2: version B with KS", X9_143_B,
         "B0104B0TX12S0100KS1800604B120F9292800000BB68BE8680A400D9191AD4ECE45B6E6C0D21C4738A52190E248719E24B433627",
         KSN, "E8BC63E5479455E26577F715D587FE68", "9A4212"),
        ("X9.143, 8.4.2: the same, length hidden", X9_143_B,
         "B0120B0TX12S0100KS1800604B120F929280000015CEB14B76D551F21EC43A75390FA118A98C6CB049E3B9E864A5F4A8B9A5108A6DB5635C95B042D7",
         KSN, "E8BC63E5479455E26577F715D587FE68", "9A4212"),
        ("X9.143, 8.2: version D with KS, TS and PB",
         "E38331FBACE33F0B8694ABA5DC611CA20831949FEB8988102147291578F704E1",
         "D0192C0AVA1N0300KS08VM9ATS1A2018-06-18T20:42:39.22PB0E00000000005FDAFA00A1E84F599C2EB51A1F7A767D5E42314F0E84A3FC1A7B84C1DE81114659E6306AD544208F68F15602BD3E12DA0C7F9FC551F1C8E6385FAFC1F7B499F5",
         "KS VM9A,TS 2018-06-18T20:42:39.22",
         "8C326037F8910BBFDBC267E5101DFBF9480433028D5E67B34673440F8ACEC972", ""),
        ("X9.143, version D", X9_143_D,
         "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34",
         "", "3F419E1CB7079442AA37474C2EFBF8B8", "08793E"),
        ("X9.143, version D, length hidden", X9_143_D,
         "D0144P0AE00E00002C77FA3F4A553BED6E88AE5C172A4166E3D4ACA8E2AC71C158A476FAC12C13C3829DE55D3AB54C48F4C4FEF7AC75E90FC47F1B77E7B19A73ED46E64410082557",
         "", "3F419E1CB7079442AA37474C2EFBF8B8", "08793E"),
        ("payShield 10K, version A", PAYSHIELD,
         "A0072K0TN00N0000F40D5672C6D0EC86F860BA88D44D00F0CA9A8CE8CD2F640287A9A9EB",
         "", "5DB50B454F8389ADCE573BE50861F2BF", ""),
        ("payShield 10K, version B", PAYSHIELD,
         "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
         "", "5DB50B454F8389ADCE573BE50861F2BF", ""),
        ("payShield 10K, version C", PAYSHIELD,
         "C0072K0TN00N0000C9B875FF7A5316BF221C09ED52080DE0B45632A4EA9CE87699CB565E",
         "", "5DB50B454F8389ADCE573BE50861F2BF", ""),
        ("payShield 10K, double-length triple DES", FORTY_ONE,
         "D0112B0TN00N000037DB9B046B7B0048785690759580ABC3B9842AB4BB7717B49E92528E575785D8123559376A2553B27BE94F054F4E971C",
         "", "1FA1F7CEC798D91545DA8AE0C7796BD9", "FF5087"),
        ("payShield 10K, AES-256", FORTY_ONE,
         "D0144D0AN00N0000127862F945C2DED04530FAF7CDBC8B0BA10C7AA79BD5E0C2C5D6AC173BF588E4B19ACF1357178D50EA0AB193228E13958304FC6149632DFDCADF3A5B3D57E814",
         "", "BE19E6A07A760F10EF8E83A226B63AAD141F463FDDD4F47DB244B4023EC3CACC", "0A00E3"),
        ("ISO 20038, B.3, with the key that the block holds", ISO_20038,
         "D0112M3TV16N000018462FA5903B8D2B82FEE26B29713C0BE7ED81601087F12252093D06FC0A012C1CF769AD0E3E9E4877166AB013FC22B4",
         "", "767361707064642032454552206B6479", "B29D42"),
        ("ISO 20038, B.2: version E", ISO_20038,
         "E0084B0TV16N0000B2AE5E26BBA7F246E84D5EA24167E208A6B66EF2E27E55A52DB52F0AEACB94C57547",
         "", "777261707065642033444553206B6579", "B29D42"),
        ("psec, version B, KBPK FF…", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
         "B0096P0TE00N0000342811F905093F2B797EB9248C1121C011C2AE41BEC63E33C9C2FDB320540D82327221AE9C5C34FB",
         "", "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE", ""),
        ("psec, version B, KBPK AB…", "ABABABABABABABABABABABABABABABAB",
         "B0096P0TE00N0000471D4FBE35E5865BDE20DBF4C15503161F55D681170BF8DD14D01B6822EF8550CB67C569DE8AC048",
         "", "CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD", ""),
    ];

    #[test]
    fn published_blocks_unwrap_and_wrap_again() {
        for (name, kbpk, block, optional, key, kcv) in PUBLISHED {
            let protection = protection(block, kbpk);
            let (found, clear) = protection.unwrap(block).expect(name);
            assert_eq!(hex::encode_upper(&*clear), key, "{name}");
            assert_eq!(found.fixed, header(&block[5..12]), "{name}");
            let text = |one: &OptionalBlock| format!("{} {}", String::from_utf8_lossy(&one.id), one.data);
            assert_eq!(found.optional.iter().map(text).collect::<Vec<_>>().join(","), optional, "{name}");
            let own = if found.fixed.algorithm == b'A' {
                AesKey::new(&clear).unwrap().kcv()
            } else {
                DesKey::new(&clear).unwrap().kcv()
            };
            assert_eq!(own, if kcv.is_empty() { &own } else { kcv }, "{name}");

            let (_, payload) = protection.0.payload(block).unwrap();
            let again = protection.wrap(&found, &clear, payload.len() - 2, &payload[2 + clear.len()..]);
            assert_eq!(again.as_deref(), Ok(block), "{name}");
            let other = self::protection(block, &"42".repeat(kbpk.len() / 2));
            assert_eq!(other.unwrap(block).err(), Some(HsmError::KeyBlock), "{name}");
        }
    }

    #[test]
    fn check_values_are_the_published_ones() {
        let des = DesKey::new(&octets("0123456789ABCDEFFEDCBA9876543210")).unwrap();
        let aes = AesKey::new(&octets("00112233445566778899AABBCCDDEEFF")).unwrap();
        // An AES key's older check value is zeros encrypted, as that of a DES key.
        let older = hex::encode_upper(&BlockCipher::encrypt(&aes, [0; 16])[..3]);
        assert_eq!((des.kcv(), aes.kcv(), older), ("08D7B4".into(), "53E107".into(), "FDE4FB".into()));
    }

    #[test]
    fn samples_that_the_standard_misprints_are_refused() {
        let rows = [
            // X9.143:2021, 8.3.2.1 and 8.3.2.2: longer than they say.
            (
                "89E88CF7931444F334BD7547FC3F380C",
                "A0072P0TE00E0000A8974C06DBFD58D197101A28DEC1A6C7C23F00A3B18EC6D538DE4A5B5F49A542D61A8A8B",
            ),
            (
                "DD7515F2BFC17F85CE48F3CA25CB21F6",
                "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A38C6B0A146BF1B0BE0D3277F17A3AD5146EED7B727B8A248E",
            ),
        ];
        for (kbpk, block) in rows {
            let refused = protection(block, kbpk).unwrap(block).err();
            assert_eq!(refused, Some(HsmError::KeyBlockForm), "{block}");
        }
    }

    /// A block of every version, with an optional block where `optional`.
    fn of_every_version(optional: bool) -> Vec<(Protection, FullHeader, String)> {
        let kbpk = octets(X9_143_D);
        let rows = [(Version::A, 16), (Version::B, 24), (Version::C, 24), (Version::D, 24), (Version::E, 32)];
        let mut header = FullHeader::from(header("71TB00N"));
        if optional {
            header.optional.push(OptionalBlock { id: *b"TS", data: "2018-06-18T20:42:39.22".into() });
        }
        rows.map(|(version, octets)| {
            let protection = Protection::new(version, &kbpk[..octets]).unwrap();
            let block = protection.wrap(&header, &[0x5E; 16], 24, &[0xA5; PAD]).unwrap();
            (protection, header.clone(), block)
        })
        .into()
    }

    #[test]
    fn every_altered_character_is_refused() {
        for (protection, header, block) in of_every_version(true) {
            assert_eq!(protection.unwrap(&block).unwrap(), (header, Zeroizing::new(vec![0x5E; 16])));
            for place in 0..block.len() {
                for other in ["0", "1", "7", "A", "F", "Z", "b", " ", "é", "\0"] {
                    if &block[place..=place] == other {
                        continue;
                    }
                    let mut altered = block.clone();
                    altered.replace_range(place..=place, other);
                    let refused = protection.unwrap(&altered).err().unwrap();
                    assert!(
                        matches!(refused, HsmError::KeyBlock | HsmError::KeyBlockForm),
                        "{place} {other}"
                    );
                    // A digit for a digit behind the header leaves a block that reads well.
                    if place >= 64 && matches!(other, "0" | "1" | "7" | "A" | "F") {
                        assert_eq!(refused, HsmError::KeyBlock, "{block} {place} {other}");
                    }
                }
                assert_eq!(protection.unwrap(&block[..place]).err(), Some(HsmError::KeyBlockForm));
            }
            assert_eq!(protection.unwrap(&block.to_lowercase()).err(), Some(HsmError::KeyBlockForm));
            assert_eq!(protection.unwrap(&format!("{block}00")).err(), Some(HsmError::KeyBlockForm));
        }
    }

    #[test]
    fn a_block_of_another_version_is_refused() {
        let blocks = of_every_version(false);
        for (at, (protection, _, _)) in blocks.iter().enumerate() {
            for (other, (_, _, block)) in blocks.iter().enumerate() {
                let refused = protection.unwrap(block).err();
                assert_eq!(refused, (at != other).then_some(HsmError::KeyBlockForm));
                // Relabelled, a block of C is one of A, and else nothing: the letter is under the MAC.
                let relabelled = block.replacen(&block[..1], &blocks[at].2[..1], 1);
                assert_eq!(protection.unwrap(&relabelled).is_ok(), at == other, "{at} {other}");
            }
        }
        for bad in ["", "F0016", "00072", "S00072P0", "a0072"] {
            assert_eq!(Version::of(bad), Err(HsmError::KeyBlockForm), "{bad}");
        }
    }

    #[test]
    fn keys_of_the_wrong_length_are_refused() {
        let length = Some(HsmError::Key(KeyDefect::Length));
        for octets in [0, 8, 15, 16, 17, 24, 32, 33, 48] {
            let kbpk = vec![0x13; octets];
            for (version, lengths) in [
                (Version::A, &[16, 24][..]),
                (Version::B, &[16, 24]),
                (Version::C, &[16, 24]),
                (Version::D, &[16, 24, 32]),
                (Version::E, &[16, 24, 32]),
            ] {
                let refused = Protection::new(version, &kbpk).err();
                assert_eq!(refused, if lengths.contains(&octets) { None } else { length }, "{version:?}");
            }
        }
        let long = "key block is too long";
        for (protection, header, _) in of_every_version(false) {
            assert_eq!(protection.wrap(&header, &[], 24, &[0; PAD]).err(), length);
            assert_eq!(protection.wrap(&header, &[0; 8192], 0, &[0; PAD]).err(), length);
            let refused = protection.wrap(&header, &[0; 5000], 0, &[0; PAD]);
            assert_eq!(refused.err(), Some(HsmError::Input(long)));
            let refused = protection.wrap(&header, &[0; 16], usize::MAX, &[0; PAD]);
            assert!(refused.is_err());
            let octets = protection.pad_octets(16, 24);
            let refused = protection.wrap(&header, &[0; 16], 24, &vec![0; octets - 1]);
            assert_eq!(refused.err(), Some(HsmError::Input("pad is too short")));
            assert!(protection.wrap(&header, &[0; 16], 24, &vec![0; octets]).is_ok());
            // An RSA key, as long as keys get.
            let large = protection.wrap(&header, &[0x30; 4900], 0, &[0; PAD]).unwrap();
            assert_eq!(protection.unwrap(&large).unwrap().1.len(), 4900);
        }
    }

    #[test]
    fn a_hidden_length_does_not_show() {
        for (protection, header, block) in of_every_version(false) {
            for octets in [8, 16, 24] {
                let key: Vec<u8> = (1..=octets).collect();
                let other = protection.wrap(&header, &key, 24, &[0xA5; PAD]).unwrap();
                assert_eq!(other.len(), block.len());
                assert_eq!(*protection.unwrap(&other).unwrap().1, key);
            }
        }
    }

    #[test]
    fn an_authentic_block_that_holds_no_key_is_malformed() {
        for (protection, header, _) in of_every_version(false) {
            // Lengths in bits of none, of part of an octet, of more than there is.
            for bits in [0u16, 1, 127, 129, 31 * 8, 0xFFFF] {
                let mut payload = vec![0x5E; 32];
                payload[..2].copy_from_slice(&bits.to_be_bytes());
                let block = protection.0.wrap_payload(&header, &payload).unwrap();
                assert_eq!(protection.unwrap(&block).err(), Some(HsmError::KeyBlockForm), "{bits}");
            }
            let whole = [&[0, 240][..], &[0x5E; 30]].concat();
            let block = protection.0.wrap_payload(&header, &whole).unwrap();
            assert_eq!(protection.unwrap(&block).unwrap().1.len(), 30);
        }
    }

    /// A case for the judge: version, KBPK, fields, key, masked length, pad; then id and data of each
    /// optional block.
    struct Case {
        protection: Protection,
        header: FullHeader,
        key: Vec<u8>,
        masked: usize,
        pad: Vec<u8>,
        words: Vec<String>,
    }

    fn case(chance: &mut judges::Chance) -> Case {
        let (letter, version, lengths) = [
            ("A", Version::A, &[16, 24][..]),
            ("B", Version::B, &[16, 24]),
            ("C", Version::C, &[16, 24]),
            ("D", Version::D, &[16, 24, 32]),
        ][chance.within(0, 3)];
        let length = lengths[chance.within(0, lengths.len() - 1)];
        let kbpk = chance.octets(length);
        let fields: String = (0..7).map(|_| alphanumeric(chance)).collect();
        let mut header = FullHeader::from(header(&fields));
        for _ in 0..chance.within(0, 3) {
            let id = [alphanumeric(chance) as u8, alphanumeric(chance) as u8];
            if id.eq_ignore_ascii_case(b"PB") || header.optional.iter().any(|one| one.id == id) {
                continue;
            }
            let length = if chance.within(0, 9) == 0 { 600 } else { 40 };
            let data = (0..chance.within(0, length)).map(|_| printable(chance)).collect();
            header.optional.push(OptionalBlock { id, data });
        }
        let key_octets =
            if chance.within(0, 9) == 0 { chance.within(1, 300) } else { 8 * chance.within(1, 4) };
        let (key, masked, pad) = (chance.octets(key_octets), chance.within(0, 48), chance.octets(64));
        let mut words = vec![letter.to_owned(), hex::encode(&kbpk), fields, hex::encode(&key)];
        words.extend([masked.to_string(), hex::encode(&pad)]);
        for one in &header.optional {
            words.extend([String::from_utf8(one.id.to_vec()).unwrap(), one.data.clone()]);
        }
        let protection = Protection::new(version, &kbpk).unwrap();
        Case { protection, header, key, masked, pad, words }
    }

    fn alphanumeric(chance: &mut judges::Chance) -> char {
        char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[chance.within(0, 61)])
    }

    fn printable(chance: &mut judges::Chance) -> char {
        char::from(u8::try_from(chance.within(0x20, 0x7E)).unwrap())
    }

    #[test]
    fn psec_wraps_what_we_unwrap() {
        let mut chance = judges::Chance::new(31);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..2500 {
            let Case { protection, header, key, masked, pad, words } = case(&mut chance);
            // Where length, key and mask already are whole blocks the judge adds one.
            let block = if words[0] == "D" { 16 } else { 8 };
            let hidden = masked.max(key.len());
            let hidden = if (2 + hidden).is_multiple_of(block) { hidden + 1 } else { hidden };
            let wrapped = protection.wrap(&header, &key, hidden, &pad).unwrap();
            // Where a padding block of no data would do it writes a longer one.
            if wrapped.contains("PB04") {
                continue;
            }
            assert_eq!(protection.unwrap(&wrapped).unwrap(), (header, Zeroizing::new(key)));
            cases.push([vec!["wrap".to_owned()], words].concat());
            ours.push(wrapped);
        }
        assert!(cases.len() > 2000);
        judges::agree(include_str!("../judges/tr31.py"), &cases, &ours);
    }

    #[test]
    fn psec_unwraps_what_we_wrap() {
        let mut chance = judges::Chance::new(143);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..2500 {
            let Case { protection, header, key, masked, pad, words } = case(&mut chance);
            let mut block = protection.wrap(&header, &key, masked, &pad).unwrap();
            if round % 5 == 4 {
                let place = chance.within(0, block.len() - 1);
                let digit = b"0123456789ABCDEF"[chance.within(0, 15)];
                block.replace_range(place..=place, std::str::from_utf8(&[digit]).unwrap());
            }
            ours.push(match protection.unwrap(&block) {
                Ok((found, clear)) => {
                    assert_eq!((&found, &*clear), (&header, &key));
                    [vec![words[2].clone(), hex::encode(&*clear)], words[6..].to_vec()].concat().join("\t")
                }
                Err(_) => "refused".to_owned(),
            });
            cases.push(vec!["unwrap".to_owned(), words[1].clone(), block]);
        }
        assert!(ours.iter().filter(|answer| *answer == "refused").count() > 400);
        judges::agree(include_str!("../judges/tr31.py"), &cases, &ours);
    }
}
