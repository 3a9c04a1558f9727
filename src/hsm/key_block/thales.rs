//! Key blocks of payShields, scheme `S`: a key bound to its header under a local master key (LMK) or a zone
//! master key (ZMK). Pure.
//!
//! ```text
//! S 0 0072 P0 T B 00 E 00 01 | 48 hex characters | 8 hex characters
//! | |                     |    ciphertext          MAC
//! | |                     '- the LMK's identifier, FF under a ZMK
//! | '- version: 0 triple DES, 1 AES; the length counts from here
//! '- scheme
//! ```
//! The header is drawn in [`super::header`], the payload and the bindings in `binding`: version
//! 0 is the variant binding of TR-31 A, version 1 derives its keys as TR-31 D does and MACs the ciphertext. A
//! key's length is not hidden. Source: blocks made by devices and by a published calculator; the vendor
//! prints no construction.
//!
//! Errors are those of [`crate::hsm::key_block`].

use super::binding::Binding;
use super::header::{FullHeader, Header};
use crate::hsm::des::set_odd_parity;
use crate::hsm::{HsmError, KeyDefect};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// In place of an LMK's identifier: the block is under a ZMK.
pub const UNDER_ZMK: [u8; 2] = *b"FF";

/// The public keys that payShields are tested with. Whoever wraps under them hides nothing.
pub mod test_lmk {
    /// Version 0, check value 8E0EC0; a payShield shows 268604.
    pub const TRIPLE_DES: [u8; 24] = [
        0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xFE,
        0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10,
    ];
    /// Version 1, check value DB3FB6; a payShield shows 9D04A0.
    pub const AES: [u8; 32] = [
        0x9B, 0x71, 0x33, 0x3A, 0x13, 0xF9, 0xFA, 0xE7, 0x2F, 0x9D, 0x0E, 0x2D, 0xAB, 0x4A, 0xD6, 0x78, 0x47,
        0x18, 0x01, 0x2F, 0x92, 0x44, 0x03, 0x3F, 0x3F, 0x26, 0xA2, 0xDE, 0x0C, 0x8A, 0xA1, 0x1A,
    ];
}

/// How a block is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `0`: triple DES.
    TripleDes,
    /// `1`: AES.
    Aes,
}

impl Version {
    /// The version that a block says it has.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] when it is no block of scheme `S`, or of another version.
    pub fn of(block: &str) -> Result<Self, HsmError> {
        match block.as_bytes() {
            [b'S', b'0', ..] => Ok(Self::TripleDes),
            [b'S', b'1', ..] => Ok(Self::Aes),
            _ => Err(HsmError::KeyBlockForm),
        }
    }
}

/// An LMK or a ZMK, for blocks of one version. Prints nothing of itself.
pub struct Protection(Binding);

impl Protection {
    /// Takes an LMK or ZMK: 16 or 24 octets of DES, or 16, 24 or 32 of AES.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(version: Version, key: &[u8]) -> Result<Self, HsmError> {
        Ok(Self(match version {
            Version::TripleDes => Binding::variant(b'0', key)?,
            Version::Aes => Binding::header_first(b'1', key)?,
        }))
    }

    /// Octets of pad that [`Protection::wrap`] takes for a key of so many octets: 6 for a double-length DES
    /// key.
    #[must_use]
    pub fn pad_octets(&self, key: usize) -> usize {
        self.0.pad_octets(key, 0)
    }

    /// Wraps a key, the scheme's letter in front. The header's context is the LMK's identifier, or
    /// [`UNDER_ZMK`]. `pad` must be random and may be longer than is needed.
    ///
    /// # Errors
    /// [`HsmError::Key`] when there is no key or it is too long, [`HsmError::Input`] when the pad is too
    /// short or the header is not acceptable.
    pub fn wrap(&self, header: &FullHeader, key: &[u8], pad: &[u8]) -> Result<String, HsmError> {
        Ok(format!("S{}", self.0.wrap(header, key, 0, pad)?))
    }

    /// Unwraps a key, once nothing of the block is altered. Whether the header's context is this LMK's
    /// identifier is the caller's affair.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] when its characters are no block of this version; [`HsmError::KeyBlock`]
    /// when its MAC does not match.
    pub fn unwrap(&self, block: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), HsmError> {
        self.0.unwrap(block.strip_prefix('S').ok_or(HsmError::KeyBlockForm)?)
    }
}

/// Which component of a key a block holds: `1` of version `c1` (X9.143, 6.3.4). None for a whole key.
#[must_use]
pub fn component(header: Header) -> Option<u8> {
    match header.version {
        [b'c', number] => Some(number),
        [_, _] => None,
    }
}

/// Forms a key of its components: their XOR, for DES with odd parity forced. Its header is theirs, without
/// the component's number.
///
/// # Errors
/// [`HsmError::Key`] with [`KeyDefect::Components`] for fewer than two, for what is no component or one whose
/// header or length differs from the others', for one of zeros or one there twice, by number or by value (PCI
/// PIN 6-1).
pub fn form(components: &[(Header, Zeroizing<Vec<u8>>)]) -> Result<(Header, Zeroizing<Vec<u8>>), HsmError> {
    const DEFECT: HsmError = HsmError::Key(KeyDefect::Components);
    let [(header, first), others @ ..] = components else { return Err(DEFECT) };
    let whole = |header: &Header| Header { version: *b"00", ..*header };
    let alike = others.iter().all(|(other, key)| whole(other) == whole(header) && key.len() == first.len());
    let numbered = components.iter().all(|(header, _)| component(*header).is_some());
    if others.is_empty() || !alike || !numbered || components.iter().any(|(_, key)| is_zero(key).into()) {
        return Err(DEFECT);
    }
    for (at, (header, key)) in components.iter().enumerate() {
        let same = |(other, value): &(Header, Zeroizing<Vec<u8>>)| {
            other.version == header.version || bool::from(value.as_slice().ct_eq(key))
        };
        if components.iter().skip(at + 1).any(same) {
            return Err(DEFECT);
        }
    }
    let mut key = first.clone();
    for (_, other) in others {
        key.iter_mut().zip(other.iter()).for_each(|(octet, part)| *octet ^= part);
    }
    if matches!(header.algorithm, b'D' | b'T') {
        set_odd_parity(&mut key);
    }
    Ok((whole(header), key))
}

fn is_zero(key: &[u8]) -> Choice {
    key.iter().fold(0, |all, octet| all | octet).ct_eq(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::aes::AesKey;
    use crate::hsm::des::DesKey;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn header(text: &str) -> Header {
        let [u0, u1, algorithm, mode, v0, v1, exportability] = *text.as_bytes() else { panic!("{text}") };
        Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability }
    }

    /// Made by a payShield under the public triple DES LMK: name, block, key, KCV.
    #[rustfmt::skip]
    const UNDER_LMK: [(&str, &str, &str, &str); 22] = [
        ("ZPK1", "S00072P0TB00E0001EA421618B34F5FA1A77F7CF6480111B97CF0FAE7BD77D589EC921EF9", "98519E45CBB9291F49EFAD4AFEFDDC79", "4FE9FD"),
        ("TPK", "S0007271TN00E00019BAD23B0CEF79E33328CA0568A0E186FC17E8DE738AAF9FB67C6E1FF", "EA671925BFD6B6F1A28051857C2CC1D9", "74B445"),
        ("TPK2", "S00072P0TB00E0001286A5156C05A48688C0820BE76872301EBC40F6F0452B2611331D8F7", "5BE64AE3869D7080A48C52E9B61525AB", "93DAB7"),
        ("PVKV", "S00072V2TN00E0001E80A2926443C3AF11BF0317C669FA0EA0E100ABDF92BF7A3AF232D4C", "D3FD02258F68EFBAC8BC9B54EF46195D", "AAB664"),
        ("PVKV2", "S00072V2TN00E00014C0328F82856C4E6D7CCF7A9A1597CB0662C35A18CC72EB9CF97917C", "0B169746643829CD0489A8AB8A268016", "8ED1AC"),
        ("PVKI", "S00072V1TN00E00010AE0AD2B1990AB407FAD15059E287760A05DF4DA2391EAB138877E22", "38E6C12FC4CB168085230D0792315854", "31540C"),
        ("PVKI2", "S00072V1TN00E00019412BA0AB9D9377261D2CDDB1C4A063ABF35B4CB9E98F7948A501DA2", "54A1521FDA7083E9C83E9EC4263786EC", "063DED"),
        ("PVK0", "S00072V0TN00E000123721C789734ADC94BBA5A97A7926D5BAFA19AFC35D1D3126BD38F85", "2CF1CE9D52E53B1CC2D9F8F4E5B6B398", "210B96"),
        ("CVK", "S00072C0TN00E0001A417975993E2331918759DD1656AC94306BE01C19FDE29E83A93AB42", "5179BFD6894C8937EFA1AD3BB9F2A17F", "EC7A50"),
        ("TAK", "S00072M1TN00E0001FFE01E95CF21BDD0D74B6BEB70E3D90842C137DCA39C1B162C6238D5", "762673ECB637ABD9A140625D94E515FE", "F808C2"),
        ("BDK1", "S00072B0TN00E0001566678078B5337915F4860C92F3FF2D6A6B11E8786F22DC8032EB758", "C8A16DABB957C1761652C1A49E836294", "97795F"),
        ("DEK", "S00072D0TN00E0001BD79343066F46B9C1279E2DE4382E56E6DD5BDCE0F850C7E444799D9", "3DC72532F7940879E30B94FDC2E34062", "9E33BC"),
        ("MKAC2", "S00072E0TN00E00017772090F5BDE6568F9B0EFDADD1D160CDB1655DE1984F00973EC3596", "4F2A25C49119019194F2D0AE43F4D579", "5E7AF8"),
        ("TMK", "S00072K0TB00E00019A75CB10B9C1359CFA732D39217C3667207E279FC9E845F64FEEE9F0", "0D32F132F8FD987051C4B52329914045", "116D94"),
        ("ZMK1", ZMK1, "642C7904A4D5C238CD6E7A9D76D36449", "2356F2"),
        ("ZMK2", ZMK2, "76E65BCDD3D923C15D9E239113E91F3B", "BB29F2"),
        ("new TMK", "S00072K0TB00E0001FB8A4952BFE42179AB8D79A81943DF1FAD67CF015117EE8528E79900", "CD67793E6B5268B645ECA80D92D34AFB", "D4A3E8"),
        ("new key", "S00072K0TB00E000151FC4D1A61D584BA2A13E58F415D31C16CFC1300D6272109A952F28D", "91E34F68E5B958026BBC73AE3D7FF1B3", "E9AB16"),
        ("ZPK1 imported again", "S00072P0TB00N0001EA421618B34F5FA1A77F7CF6480111B921F02973DFC5A06F345B34FB", "98519E45CBB9291F49EFAD4AFEFDDC79", "4FE9FD"),
        ("first component", COMPONENTS[0], "AE8F54BA29CD2CC73883D373DFF7A8B5", ""),
        ("second component", COMPONENTS[1], "75B6A89BC7946DD06186A89DCE9B5D9B", ""),
        ("of the two components", FORMED, "DA38FD20EF58401658047AEF106DF42F", "2AE082"),
    ];
    const ZMK1: &str = "S00072K0TB00E0001DB045F29C053EEFF7B9425B3A88C7258EB7EA7E40E2C47878647072A";
    const ZMK2: &str = "S00072K0TB00E00017CECF0FB9210B3CC93B9FFB304963C39CFFF94B837D318E1A6F1F058";
    const COMPONENTS: [&str; 2] = [
        "S0007252TBc1E0001C9ED3207A1A79BCA1CAB8C05FEC9429E2232067D1F9E908F15E9DCA7",
        "S0007252TBc2E000125276E9C8BC0FA0F70109274FAB9647EF89A189C019465182A345009",
    ];
    const FORMED: &str = "S0007252TB00E0001D4B4A265C5273F353729F153FC1C2ADA23DF2D94C76A5EF30466CBAB";

    /// Made by the same payShield under a ZMK.
    #[rustfmt::skip]
    const UNDER_ZMKS: [(&str, &str, &str, &str, &str); 3] = [
        ("new key", ZMK2, "S00072K0TB00E00FF52146D7D7E12DFEFE57B7CBDC78F9BCD4489E8103A52567605294374", "91E34F68E5B958026BBC73AE3D7FF1B3", "E9AB16"),
        ("ZPK1", ZMK1, "S00072P0TB00N00FFE1D89671C973C7F0DAF91CB2EBF37949D811004295CF66B6AF9CF6A8", "98519E45CBB9291F49EFAD4AFEFDDC79", "4FE9FD"),
        ("ZPK1, with another pad", ZMK1, "S00072P0TB00N00FFE1D89671C973C7F0DAF91CB2EBF379493C08975679001172C89A0AF8", "98519E45CBB9291F49EFAD4AFEFDDC79", "4FE9FD"),
    ];

    /// Made by a published calculator under the public AES LMK.
    #[rustfmt::skip]
    const UNDER_AES_LMK: [(&str, &str); 2] = [
        ("S10096B0TN00E0002F21247ABCAF1AAB60415020B95858FA2D3D35DCE0B9CA675739A1C6EC367061107D66472D5097626", "000102030405060708090A0B0C0D0E0F"),
        ("S10096P0TE00E0000CF29A901B5B5DA7028693D4BE058A7B366D3CD2F5862D94E97BCD6D9F28B414A377052CE7A04D821", "F039121BEC83D26B169BDCD5B22AAF8F"),
    ];

    fn triple_des() -> Protection {
        Protection::new(Version::TripleDes, &test_lmk::TRIPLE_DES).unwrap()
    }

    /// A block unwraps to this key and, with the pad it has, wraps to itself; its characters 15 and 16 are
    /// `context`.
    fn check(protection: &Protection, name: &str, block: &str, key: &str) {
        let (found, clear) = protection.unwrap(block).expect(name);
        assert_eq!(hex::encode_upper(&*clear), key, "{name}");
        assert_eq!(found.fixed, header(&block[6..13]), "{name}");
        assert_eq!((&found.context[..], found.optional.len()), (&block.as_bytes()[15..17], 0), "{name}");
        let (_, payload) = protection.0.payload(&block[1..]).unwrap();
        let pad = &payload[2 + clear.len()..];
        assert_eq!(pad.len(), protection.pad_octets(clear.len()), "{name}");
        assert_eq!(protection.wrap(&found, &clear, pad).as_deref(), Ok(block), "{name}");
    }

    #[test]
    fn blocks_of_devices_unwrap_and_wrap_again() {
        for (name, block, key, kcv) in UNDER_LMK {
            check(&triple_des(), name, block, key);
            if !kcv.is_empty() {
                assert_eq!(DesKey::new(&octets(key)).unwrap().kcv(), kcv, "{name}");
            }
        }
        for (name, zmk, block, key, kcv) in UNDER_ZMKS {
            let (_, zmk) = triple_des().unwrap(zmk).unwrap();
            let protection = Protection::new(Version::of(block).unwrap(), &zmk).unwrap();
            check(&protection, name, block, key);
            assert_eq!(DesKey::new(&octets(key)).unwrap().kcv(), kcv, "{name}");
            assert_eq!(protection.unwrap(block).unwrap().0.context, UNDER_ZMK);
            assert_eq!(triple_des().unwrap(block).err(), Some(HsmError::KeyBlock), "{name}");
            // A double-length ZMK is one of triple length with K3 = K1.
            let wide = [&zmk[..], &zmk[..8]].concat();
            check(&Protection::new(Version::TripleDes, &wide).unwrap(), name, block, key);
        }
        for (block, key) in UNDER_AES_LMK {
            let protection = Protection::new(Version::of(block).unwrap(), &test_lmk::AES).unwrap();
            check(&protection, block, block, key);
        }
    }

    #[test]
    fn the_test_keys_have_the_known_check_values() {
        assert_eq!(DesKey::new(&test_lmk::TRIPLE_DES).unwrap().kcv(), "8E0EC0");
        assert_eq!(AesKey::new(&test_lmk::AES).unwrap().kcv(), "DB3FB6");
    }

    #[test]
    fn every_altered_character_is_refused() {
        let aes = Protection::new(Version::Aes, &test_lmk::AES).unwrap();
        let header = FullHeader::from(header("72AB00N"));
        let long = aes.wrap(&header, &[0x5E; 32], &[0xA5; 16]).unwrap();
        let triple = triple_des().wrap(&header, &[0x5E; 24], &[0xA5; 16]).unwrap();
        assert_eq!((long.len(), triple.len()), (1 + 16 + 96 + 16, 1 + 16 + 64 + 8));
        let rows = [(triple_des(), UNDER_LMK[0].1), (triple_des(), &triple), (aes, &long)];
        for (protection, block) in rows {
            assert!(protection.unwrap(block).is_ok());
            for place in 0..block.len() {
                for other in ["0", "1", "7", "A", "F", "Z", "b", " ", "é"] {
                    if &block[place..=place] == other {
                        continue;
                    }
                    let mut altered = block.to_owned();
                    altered.replace_range(place..=place, other);
                    let refused = protection.unwrap(&altered).err().unwrap();
                    assert!(
                        matches!(refused, HsmError::KeyBlock | HsmError::KeyBlockForm),
                        "{place} {other}"
                    );
                    if place >= 17 && matches!(other, "0" | "1" | "7" | "A" | "F") {
                        assert_eq!(refused, HsmError::KeyBlock, "{place} {other}");
                    }
                }
                assert_eq!(protection.unwrap(&block[..place]).err(), Some(HsmError::KeyBlockForm));
            }
            assert_eq!(protection.unwrap(&block[1..]).err(), Some(HsmError::KeyBlockForm), "no scheme");
            assert_eq!(protection.unwrap(&block.to_lowercase()).err(), Some(HsmError::KeyBlockForm));
        }
        assert_eq!(triple_des().unwrap(&long).err(), Some(HsmError::KeyBlockForm), "another version");
    }

    #[test]
    fn keys_and_blocks_that_cannot_be_are_refused() {
        for (version, octets) in [
            (Version::TripleDes, 8),
            (Version::TripleDes, 32),
            (Version::Aes, 0),
            (Version::Aes, 8),
            (Version::Aes, 33),
        ] {
            let refused = Protection::new(version, &vec![0x13; octets]).err();
            assert_eq!(refused, Some(HsmError::Key(KeyDefect::Length)), "{version:?} {octets}");
        }
        for bad in ["", "S", "S2", "00072P0", "D0112", "U0", "s0"] {
            assert_eq!(Version::of(bad), Err(HsmError::KeyBlockForm), "{bad}");
        }
        let header = FullHeader::from(header("72TB00N"));
        assert_eq!(triple_des().wrap(&header, &[], &[0; 8]).err(), Some(HsmError::Key(KeyDefect::Length)));
        let short = triple_des().wrap(&header, &[1; 16], &[0; 5]);
        assert_eq!(short.err(), Some(HsmError::Input("pad is too short")));
    }

    #[test]
    fn components_form_the_key_that_the_device_formed() {
        let read = |block: &str| {
            let (header, key) = triple_des().unwrap(block).unwrap();
            (header.fixed, key)
        };
        let components = COMPONENTS.map(read);
        assert_eq!([1, 2].map(|at| component(components[at - 1].0)), [Some(b'1'), Some(b'2')]);
        let (header, key) = form(&components).unwrap();
        assert_eq!((header, &key), (read(FORMED).0, &read(FORMED).1));
        assert_eq!(component(header), None);

        // AES keys have no parity.
        let aes = |number: u8, octet: u8| {
            let header = Header { algorithm: b'A', version: [b'c', number], ..header };
            (header, Zeroizing::new(vec![octet; 32]))
        };
        let (_, key) = form(&[aes(b'1', 0x03), aes(b'2', 0x05), aes(b'3', 0x0C)]).unwrap();
        assert_eq!(*key, [0x0A; 32]);

        let [first, second] = components;
        let with = |header: Header| vec![first.clone(), (header, second.1.clone())];
        let value = |key: Vec<u8>| vec![first.clone(), (second.0, Zeroizing::new(key))];
        let rows = [
            ("none", vec![]),
            ("one", vec![first.clone()]),
            ("one of them is whole", with(Header { version: *b"00", ..second.0 })),
            ("another usage", with(Header { usage: *b"72", ..second.0 })),
            ("another algorithm", with(Header { algorithm: b'A', ..second.0 })),
            ("another mode", with(Header { mode: b'N', ..second.0 })),
            ("another exportability", with(Header { exportability: b'N', ..second.0 })),
            ("the same number", with(first.0)),
            ("the same value", value(first.1.to_vec())),
            ("zeros", value(vec![0; 16])),
            ("another length", value(vec![0x5E; 24])),
        ];
        for (name, components) in rows {
            assert_eq!(form(&components).err(), Some(HsmError::Key(KeyDefect::Components)), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_wrapped_unwraps(
            key in proptest::collection::vec(0u8.., 1..80), pad in proptest::array::uniform16(0u8..),
            id in "[0-9A-F]{2}", label in "[ -~]{0,30}",
        ) {
            let mut header = FullHeader::from(header("72TB00N"));
            header.context = id.as_bytes().try_into().unwrap();
            header.optional.push(crate::hsm::key_block::OptionalBlock { id: *b"LB", data: label });
            for protection in [triple_des(), Protection::new(Version::Aes, &test_lmk::AES).unwrap()] {
                let block = protection.wrap(&header, &key, &pad).unwrap();
                let (found, clear) = protection.unwrap(&block).unwrap();
                proptest::prop_assert_eq!((&found, &*clear), (&header, &key));
            }
        }
    }
}
