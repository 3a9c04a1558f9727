//! The variant local master key of payShields: twenty pairs of DES keys, each key under the pair and the
//! variant of its type. And keys under a ZMK without a key block. Pure.
//!
//! ```text
//! type 402                                  scheme U
//! | '- 02: pair 14-15                       16 octets in 32 hexadecimal characters behind the letter
//! '- 4: first octet of the left half ⊕ DE   first octet of the right half ⊕ A6 for the first 8, ⊕ 5A for the others
//! ```
//! | scheme | key | how |
//! |---|---|---|
//! | none, `Z` | single | ECB |
//! | `U`, `T` | double, triple | each 8 octets under their own variant of the pair |
//! | `X`, `Y` | double, triple | ECB (ANSI X9.17) |
//!
//! Nothing of this is authenticated: whatever is altered decrypts to another key, and a key may be passed off
//! as one of another type. It is for the import and export of what older systems hold. Parity is not looked
//! at: see [`super::des::check_strength`]. Source: payShield host command manuals for types and schemes; the
//! variants' values are public knowledge.

use super::des::{BLOCK, DesKey, KeyLength};
use super::{HsmError, KeyDefect};
use zeroize::Zeroizing;

/// Octets of a pair.
const PAIR: usize = 2 * BLOCK;
/// How many pairs there are.
const PAIRS: usize = 20;
/// What the first digit of a type does to the left half of its pair.
const TYPE_VARIANTS: [u8; 10] = [0x00, 0xA6, 0x5A, 0x6A, 0xDE, 0x2B, 0x50, 0x74, 0x9C, 0xFA];
/// What scheme U does to the right half for each part of a key.
const DOUBLE_VARIANTS: [u8; 2] = [0xA6, 0x5A];
/// What scheme T does.
const TRIPLE_VARIANTS: [u8; 3] = [0x6A, 0xDE, 0x2B];

/// The public pairs that payShields are tested with, 00-01 to 38-39. Whoever encrypts under them hides
/// nothing. A payShield shows the check value 165126.
pub const TEST_PAIRS: [[u8; PAIR]; PAIRS] = [
    pair(0x0101_0101_0101_0101_7902_CD1F_D36E_F8BA),
    pair(0x2020_2020_2020_2020_3131_3131_3131_3131),
    pair(0x4040_4040_4040_4040_5151_5151_5151_5151),
    pair(0x6161_6161_6161_6161_7070_7070_7070_7070),
    pair(0x8080_8080_8080_8080_9191_9191_9191_9191),
    pair(0xA1A1_A1A1_A1A1_A1A1_B0B0_B0B0_B0B0_B0B0),
    pair(0xC1C1_0101_0101_0101_D0D0_0101_0101_0101),
    pair(0xE0E0_0101_0101_0101_F1F1_0101_0101_0101),
    pair(0x1C58_7F1C_1392_4FEF_0101_0101_0101_0101),
    pair(0x0101_0101_0101_0101_0101_0101_0101_0101),
    pair(0x0202_0202_0202_0202_0404_0404_0404_0404),
    pair(0x0707_0707_0707_0707_1010_1010_1010_1010),
    pair(0x1313_1313_1313_1313_1515_1515_1515_1515),
    pair(0x1616_1616_1616_1616_1919_1919_1919_1919),
    pair(0x1A1A_1A1A_1A1A_1A1A_1C1C_1C1C_1C1C_1C1C),
    pair(0x2323_2323_2323_2323_2525_2525_2525_2525),
    pair(0x2626_2626_2626_2626_2929_2929_2929_2929),
    pair(0x2A2A_2A2A_2A2A_2A2A_2C2C_2C2C_2C2C_2C2C),
    pair(0x2F2F_2F2F_2F2F_2F2F_3131_3131_3131_3131),
    pair(0x0101_0101_0101_0101_0101_0101_0101_0101),
];

const fn pair(value: u128) -> [u8; PAIR] {
    value.to_be_bytes()
}

/// What a key under a variant LMK is for: a type code of three characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `000` zone master key.
    Zmk,
    /// `001` zone PIN key.
    Zpk,
    /// `002` terminal master key, terminal PIN key or PIN verification key.
    TmkTpkPvk,
    /// `402` card verification key.
    Cvk,
    /// `003` terminal authentication key.
    Tak,
    /// `008` zone authentication key.
    Zak,
    /// `009` base derivation key, type 1.
    Bdk1,
    /// `609` base derivation key, type 2.
    Bdk2,
    /// `809` base derivation key, type 3.
    Bdk3,
    /// `909` base derivation key, type 4.
    Bdk4,
    /// `302` initial key of DUKPT (IKEY, IPEK).
    InitialKey,
    /// `109` EMV issuer master key for application cryptograms.
    MkAc,
    /// `209` EMV issuer master key for secure messaging, integrity.
    MkSmi,
    /// `309` EMV issuer master key for secure messaging, confidentiality.
    MkSmc,
    /// `00A` zone encryption key.
    Zek,
    /// `00B` data encryption key.
    Dek,
    /// `30B` terminal encryption key.
    Tek,
    /// `70D` terminal PIN key, in PCI HSM mode.
    PciTpk,
    /// `80D` terminal master key, in PCI HSM mode.
    PciTmk,
    /// `90D` terminal key register, in PCI HSM mode.
    PciTkr,
}

impl KeyType {
    /// Every type.
    pub const ALL: [Self; 20] = [
        Self::Zmk,
        Self::Zpk,
        Self::TmkTpkPvk,
        Self::Cvk,
        Self::Tak,
        Self::Zak,
        Self::Bdk1,
        Self::Bdk2,
        Self::Bdk3,
        Self::Bdk4,
        Self::InitialKey,
        Self::MkAc,
        Self::MkSmi,
        Self::MkSmc,
        Self::Zek,
        Self::Dek,
        Self::Tek,
        Self::PciTpk,
        Self::PciTmk,
        Self::PciTkr,
    ];

    /// The type of a code. `FFF`, a key block, is none.
    ///
    /// # Errors
    /// [`HsmError::KeyUsage`] for an unknown code.
    pub fn parse(code: &str) -> Result<Self, HsmError> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or(HsmError::KeyUsage)
    }

    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Zmk => "000",
            Self::Zpk => "001",
            Self::TmkTpkPvk => "002",
            Self::Cvk => "402",
            Self::Tak => "003",
            Self::Zak => "008",
            Self::Bdk1 => "009",
            Self::Bdk2 => "609",
            Self::Bdk3 => "809",
            Self::Bdk4 => "909",
            Self::InitialKey => "302",
            Self::MkAc => "109",
            Self::MkSmi => "209",
            Self::MkSmc => "309",
            Self::Zek => "00A",
            Self::Dek => "00B",
            Self::Tek => "30B",
            Self::PciTpk => "70D",
            Self::PciTmk => "80D",
            Self::PciTkr => "90D",
        }
    }

    /// Which pair and which variant of it: the last two characters, `00` being pair 04-05, but `02` and what
    /// follows beginning at 14-15; and the first.
    fn place(self) -> Option<(usize, usize)> {
        let [variant, b'0', pair] = *self.code().as_bytes() else { return None };
        let variant = char::from(variant).to_digit(10)?;
        let pair = match char::from(pair).to_digit(16)? {
            pair @ 0..=1 => pair + 2,
            pair => pair + 5,
        };
        Some((usize::try_from(pair).ok()?, usize::try_from(variant).ok()?))
    }
}

/// How a key is encrypted and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without a letter, or `Z`: single length.
    Z,
    /// Double length, by variants.
    U,
    /// Triple length, by variants.
    T,
    /// Double length, X9.17.
    X,
    /// Triple length, X9.17.
    Y,
}

impl Scheme {
    /// Octets of the key.
    #[must_use]
    pub fn length(self) -> KeyLength {
        match self {
            Self::Z => KeyLength::Single,
            Self::U | Self::X => KeyLength::Double,
            Self::T | Self::Y => KeyLength::Triple,
        }
    }

    /// The scheme of a letter.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] for another letter than `Z`, `U`, `T`, `X` and `Y`.
    pub fn parse(letter: char) -> Result<Self, HsmError> {
        match letter {
            'Z' => Ok(Self::Z),
            'U' => Ok(Self::U),
            'T' => Ok(Self::T),
            'X' => Ok(Self::X),
            'Y' => Ok(Self::Y),
            _ => Err(HsmError::KeyBlockForm),
        }
    }

    /// What is written in front of the digits.
    fn prefix(self) -> &'static str {
        match self {
            Self::Z => "",
            Self::U => "U",
            Self::T => "T",
            Self::X => "X",
            Self::Y => "Y",
        }
    }

    /// What happens to the right half of the encrypting key for each part; nothing in X9.17.
    fn variants(self) -> &'static [u8] {
        match self {
            Self::U => &DOUBLE_VARIANTS,
            Self::T => &TRIPLE_VARIANTS,
            Self::Z | Self::X | Self::Y => &[0, 0, 0],
        }
    }
}

/// A variant LMK. Wiped when dropped, prints nothing of itself.
pub struct VariantLmk(Zeroizing<[[u8; PAIR]; PAIRS]>);

impl VariantLmk {
    /// Takes the pairs, 00-01 first.
    #[must_use]
    pub fn new(pairs: Zeroizing<[[u8; PAIR]; PAIRS]>) -> Self {
        Self(pairs)
    }

    /// Encrypts a key: the scheme's letter and 16, 32 or 48 upper-case hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the key is not of the scheme's length.
    pub fn encrypt(&self, kind: KeyType, scheme: Scheme, key: &[u8]) -> Result<String, HsmError> {
        let pair = self.pair(kind)?;
        encrypt(&pair, scheme, key)
    }

    /// Decrypts a key. With no letter in front it is of single length.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] when it is not a letter of a scheme and as many hexadecimal digits as that
    /// has.
    pub fn decrypt(&self, kind: KeyType, text: &str) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let pair = self.pair(kind)?;
        decrypt(&pair, text)
    }

    /// The pair of a type, with the type's variant.
    fn pair(&self, kind: KeyType) -> Result<Zeroizing<[u8; PAIR]>, HsmError> {
        const TABLE: HsmError = HsmError::Failure("table of key types");
        let (pair, variant) = kind.place().ok_or(TABLE)?;
        let mut pair = Zeroizing::new(*self.0.get(pair).ok_or(TABLE)?);
        let [first, ..] = &mut *pair;
        *first ^= TYPE_VARIANTS.get(variant).ok_or(TABLE)?;
        Ok(pair)
    }
}

/// Encrypts a key under a ZMK of double length, as [`VariantLmk::encrypt`] writes it.
///
/// # Errors
/// [`HsmError::Key`] when the ZMK is not of double length, or the key not of the scheme's.
pub fn encrypt_under_zmk(zmk: &[u8], scheme: Scheme, key: &[u8]) -> Result<String, HsmError> {
    encrypt(zone(zmk)?, scheme, key)
}

/// Decrypts a key under a ZMK of double length.
///
/// # Errors
/// [`HsmError::Key`] when the ZMK is not of double length; as [`VariantLmk::decrypt`].
pub fn decrypt_under_zmk(zmk: &[u8], text: &str) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    decrypt(zone(zmk)?, text)
}

fn zone(zmk: &[u8]) -> Result<&[u8; PAIR], HsmError> {
    zmk.try_into().map_err(|_| HsmError::Key(KeyDefect::Length))
}

fn encrypt(pair: &[u8; PAIR], scheme: Scheme, key: &[u8]) -> Result<String, HsmError> {
    if key.len() != scheme.length().octets() {
        return Err(HsmError::Key(KeyDefect::Length));
    }
    let mut text = scheme.prefix().to_owned();
    for (part, variant) in key.as_chunks::<BLOCK>().0.iter().zip(scheme.variants()) {
        text.push_str(&hex::encode_upper(varied(pair, *variant)?.encrypt(*part)));
    }
    Ok(text)
}

fn decrypt(pair: &[u8; PAIR], text: &str) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    const FORM: HsmError = HsmError::KeyBlockForm;
    let (scheme, digits) = match text.chars().next() {
        Some(letter) if !letter.is_ascii_hexdigit() => (Scheme::parse(letter)?, text.get(1..).ok_or(FORM)?),
        Some(_) | None => (Scheme::Z, text),
    };
    let cipher = hex::decode(digits).map_err(|_| FORM)?;
    if cipher.len() != scheme.length().octets() {
        return Err(FORM);
    }
    let mut key = Zeroizing::new(Vec::with_capacity(cipher.len()));
    for (part, variant) in cipher.as_chunks::<BLOCK>().0.iter().zip(scheme.variants()) {
        let clear = Zeroizing::new(varied(pair, *variant)?.decrypt(*part));
        key.extend_from_slice(clear.as_slice());
    }
    Ok(key)
}

/// The encrypting key for one part.
fn varied(pair: &[u8; PAIR], variant: u8) -> Result<DesKey, HsmError> {
    let mut pair = Zeroizing::new(*pair);
    if let Some(octet) = pair.get_mut(BLOCK) {
        *octet ^= variant;
    }
    DesKey::new(pair.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn lmk() -> VariantLmk {
        VariantLmk::new(Zeroizing::new(TEST_PAIRS))
    }

    #[test]
    fn keys_under_the_test_pairs_are_the_published_ones() {
        // From the tests of a simulator, not from a device.
        let rows = [
            ("001", "U1EF828AA8F6B80EB83E19FBC373F3A85", "C7152C20BC2C830EA7EC9E8334ABE3FE", "6F1E3F"),
            ("002", "U8463435FC4B4DAA0C49025272C29B12C", "D3DCC7EA9BCB755D254620B376B3D007", "070753"),
            ("000", "U1457FF6ADF6250C66C368416B4C9D383", "851A0D9D0B2A1602622AD0B0E9E6B070", "E14F4E"),
            ("000", "U369835189A058604EB7F84EAE10C7D04", "4358A82A0DCD23A86EC8FBD09D437592", "8CE396"),
            ("402", "U9B4934384B19946B040CD702B4D58145", K0, "08D7B4"),
            ("002", "X367930344805B1FAD6146EF4ED7502B3", "C8199237EA5857BC40EF9DA2B5E96BBF", ""),
            ("209", "U5178C9D3D1052B15BF6AEC458B4A4564", "F1F1F1F1F1F1F1F1C1C1C1C1C1C1C1C1", ""),
        ];
        for (code, text, key, kcv) in rows {
            let kind = KeyType::parse(code).unwrap();
            let clear = lmk().decrypt(kind, text).unwrap();
            assert_eq!(hex::encode_upper(&*clear), key, "{text}");
            let scheme = Scheme::parse(text.chars().next().unwrap()).unwrap();
            assert_eq!(lmk().encrypt(kind, scheme, &octets(key)).as_deref(), Ok(text));
            if !kcv.is_empty() {
                assert_eq!(DesKey::new(&octets(key)).unwrap().kcv(), kcv, "{text}");
            }
        }
    }

    /// The pairs as the manuals print them.
    #[test]
    fn the_test_pairs_are_the_public_ones() {
        let printed = [
            "01010101010101017902CD1FD36EF8BA",
            "20202020202020203131313131313131",
            "40404040404040405151515151515151",
            "61616161616161617070707070707070",
            "80808080808080809191919191919191",
            "A1A1A1A1A1A1A1A1B0B0B0B0B0B0B0B0",
            "C1C1010101010101D0D0010101010101",
            "E0E0010101010101F1F1010101010101",
            "1C587F1C13924FEF0101010101010101",
            "01010101010101010101010101010101",
            "02020202020202020404040404040404",
            "07070707070707071010101010101010",
            "13131313131313131515151515151515",
            "16161616161616161919191919191919",
            "1A1A1A1A1A1A1A1A1C1C1C1C1C1C1C1C",
            "23232323232323232525252525252525",
            "26262626262626262929292929292929",
            "2A2A2A2A2A2A2A2A2C2C2C2C2C2C2C2C",
            "2F2F2F2F2F2F2F2F3131313131313131",
            "01010101010101010101010101010101",
        ];
        for (number, (pair, printed)) in TEST_PAIRS.iter().zip(printed).enumerate() {
            assert_eq!(hex::encode_upper(pair), printed, "{:02}-{:02}", 2 * number, 2 * number + 1);
        }
    }

    /// Computed apart, with triple DES of PyPI psec 1.3.
    #[test]
    fn a_key_under_every_type_is_what_another_makes_of_it() {
        let rows = [
            ("000", "U42BBE7D9A0A55D0EBDE055DE2791ACCD"),
            ("001", "U063A0E7C0F2124E56192A4510F395ED7"),
            ("002", "U1750CDFB0757D3B3994430636DBB281B"),
            ("402", "U9B4934384B19946B040CD702B4D58145"),
            ("003", "U7AD0BB2A32ADE115807C3572FC302BA5"),
            ("008", "U7B7B1BE6AFBA184A32F08E7514BAC82E"),
            ("009", "U8E3D3E2FD5919657F05A1AA90D32A014"),
            ("609", "UFE4161E9CF7373ADA1552DECF70AF76E"),
            ("809", "U7441E80A19CFC4F17E9BB89A1FD44238"),
            ("909", "U0128D871D75B741A1EDFA4EEFC0C046B"),
            ("302", "UA59F67A1551767B8A288ADE7866E8CC7"),
            ("109", "U7475636CC30B93B493CF5EA53799EBCC"),
            ("209", "U352796B7EF432BE016CA35D48F4A0483"),
            ("309", "U8430868258D18395C1AD55F2F9F1A090"),
            ("00A", "U71CE6CBA2A7DC746208CDCE553747808"),
            ("00B", "UA5F7447E8D9068513B94C51EF06E64EF"),
            ("30B", "U3023CC7DDCC9BDB215DD41A6D8DC459C"),
            ("70D", "U8699395CD2688A2C9009FCA6FB1EB852"),
            ("80D", "UDBFF5F2FD82B586787BB8A7232EF0562"),
            ("90D", "UF7359F6688AEAC24444194C61C30FFD8"),
        ];
        for ((code, expected), kind) in rows.into_iter().zip(KeyType::ALL) {
            assert_eq!(kind.code(), code);
            assert_eq!(lmk().encrypt(kind, Scheme::U, &octets(K0)).as_deref(), Ok(expected), "{code}");
        }
        let triple = octets(&format!("{K0}89ABCDEF01234567"));
        let expected = "T753E6E0A9D280E7F5EE5CD1418329A8CECD09A56D9DACBA1";
        assert_eq!(lmk().encrypt(KeyType::Dek, Scheme::T, &triple).as_deref(), Ok(expected));
    }

    #[test]
    fn a_pin_goes_from_the_terminal_to_the_zone_as_published() {
        // From the tests of the same simulator: PIN 1234 of the account 550000025321.
        let key = |kind, text| DesKey::new(&lmk().decrypt(kind, text).unwrap()).unwrap();
        let tpk = key(KeyType::TmkTpkPvk, "U8463435FC4B4DAA0C49025272C29B12C");
        let zpk = key(KeyType::Zpk, "U1EF828AA8F6B80EB83E19FBC373F3A85");
        let clear = tpk.decrypt_ecb(&octets("6428EB94035AF53B")).unwrap();
        assert_eq!(hex::encode_upper(&*clear), "041261FFFFFDACDE");
        assert_eq!(hex::encode_upper(zpk.encrypt_ecb(&clear).unwrap()), "91DDDA0A7C12CFAA");
    }

    #[test]
    fn every_type_has_its_pair_and_variant() {
        // The code, the pair's first number, the first octet of its left half under the test pairs.
        let rows = [
            ("000", 4, 0x40),
            ("001", 6, 0x61),
            ("002", 14, 0xE0),
            ("402", 14, 0xE0 ^ 0xDE),
            ("003", 16, 0x1C),
            ("008", 26, 0x16),
            ("009", 28, 0x1A),
            ("609", 28, 0x1A ^ 0x50),
            ("809", 28, 0x1A ^ 0x9C),
            ("909", 28, 0x1A ^ 0xFA),
            ("302", 14, 0xE0 ^ 0x6A),
            ("109", 28, 0x1A ^ 0xA6),
            ("209", 28, 0x1A ^ 0x5A),
            ("309", 28, 0x1A ^ 0x6A),
            ("00A", 30, 0x23),
            ("00B", 32, 0x26),
            ("30B", 32, 0x26 ^ 0x6A),
            ("70D", 36, 0x2F ^ 0x74),
            ("80D", 36, 0x2F ^ 0x9C),
            ("90D", 36, 0x2F ^ 0xFA),
        ];
        for ((code, number, first), kind) in rows.into_iter().zip(KeyType::ALL) {
            assert_eq!((kind.code(), KeyType::parse(code)), (code, Ok(kind)));
            let pair = lmk().pair(kind).unwrap();
            assert_eq!(pair[1..], TEST_PAIRS[number / 2][1..], "{code}");
            assert_eq!(pair[0], first, "{code}");
        }
        for bad in ["FFF", "00C", "00a", "0A0", "02", "0002", "", "A02", "０02"] {
            assert_eq!(KeyType::parse(bad), Err(HsmError::KeyUsage), "{bad}");
        }
    }

    #[test]
    fn schemes_are_those_of_x9_17_and_of_the_variants() {
        let zmk = octets(K0);
        let key = octets("C7152C20BC2C830EA7EC9E8334ABE3FEC8199237EA5857BC");
        let plain = |length: usize| {
            let cipher = DesKey::new(&zmk).unwrap().encrypt_ecb(&key[..length]).unwrap();
            hex::encode_upper(cipher)
        };
        let varied = |variants: &[u8]| -> String {
            let part = |(at, variant): (usize, &u8)| {
                let mut zmk = zmk.clone();
                zmk[8] ^= variant;
                let cipher = DesKey::new(&zmk).unwrap().encrypt_ecb(&key[8 * at..8 * at + 8]).unwrap();
                hex::encode_upper(cipher)
            };
            variants.iter().enumerate().map(part).collect()
        };
        let rows = [
            (Scheme::Z, 8, plain(8)),
            (Scheme::X, 16, format!("X{}", plain(16))),
            (Scheme::Y, 24, format!("Y{}", plain(24))),
            (Scheme::U, 16, format!("U{}", varied(&[0xA6, 0x5A]))),
            (Scheme::T, 24, format!("T{}", varied(&[0x6A, 0xDE, 0x2B]))),
        ];
        for (scheme, length, expected) in rows {
            let clear = &key[..length];
            assert_eq!(encrypt_under_zmk(&zmk, scheme, clear).as_deref(), Ok(&*expected), "{scheme:?}");
            assert_eq!(decrypt_under_zmk(&zmk, &expected).unwrap().as_slice(), clear, "{scheme:?}");
            assert_eq!(
                decrypt_under_zmk(&zmk, &expected.to_lowercase().to_uppercase()).unwrap().len(),
                length
            );
            for kind in KeyType::ALL {
                let text = lmk().encrypt(kind, scheme, clear).unwrap();
                assert_eq!(lmk().decrypt(kind, &text).unwrap().as_slice(), clear, "{kind:?} {scheme:?}");
                // Another type decrypts to another key: there is nothing that could refuse it.
                let other = if kind == KeyType::Zmk { KeyType::Zpk } else { KeyType::Zmk };
                assert_ne!(lmk().decrypt(other, &text).unwrap().as_slice(), clear);
            }
            for wrong in [0, 7, 8, 16, 24, 32] {
                let refused = encrypt_under_zmk(&zmk, scheme, &vec![0x13; wrong]).err();
                let expected = if wrong == length { None } else { Some(HsmError::Key(KeyDefect::Length)) };
                assert_eq!(refused, expected, "{scheme:?} {wrong}");
            }
        }
        let with_letter = format!("Z{}", plain(8));
        assert_eq!(decrypt_under_zmk(&zmk, &with_letter).unwrap().as_slice(), &key[..8]);
    }

    #[test]
    fn what_is_no_key_of_a_scheme_is_refused() {
        let digits = "1EF828AA8F6B80EB83E19FBC373F3A85";
        let rows = [
            String::new(),
            "U".into(),
            digits.into(),
            digits[..15].into(),
            format!("u{digits}"),
            format!("S{digits}"),
            format!("R{digits}"),
            format!("T{digits}"),
            format!("Y{digits}"),
            format!("Z{digits}"),
            format!("U{digits}00"),
            format!("U{}", &digits[..31]),
            format!("X{}", &digits[..16]),
            format!("U{}G", &digits[..31]),
            format!("é{digits}"),
            format!(" {}", &digits[..16]),
        ];
        for text in rows {
            let refused = lmk().decrypt(KeyType::Zpk, &text).err();
            assert_eq!(refused, Some(HsmError::KeyBlockForm), "{text:?}");
        }
        for zmk in [0, 8, 15, 24] {
            let zmk = vec![0x13; zmk];
            let refused = Some(HsmError::Key(KeyDefect::Length));
            assert_eq!(decrypt_under_zmk(&zmk, &format!("U{digits}")).err(), refused);
            assert_eq!(encrypt_under_zmk(&zmk, Scheme::U, &[0x13; 16]).err(), refused);
        }
    }
}
