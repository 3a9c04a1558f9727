//! The Chinese algorithms: SM4 (GB/T 32907), SM3 (GB/T 32905), SM2 signatures and encryption (GB/T 32918,
//! GM/T 0003).
//!
//! Pure functions on octets; the libraries' types and errors stay in here. Modes and MACs of SM4 are those of
//! every block cipher: see [`super::cipher`] and [`super::mac`].

use super::cipher::BlockCipher;
use super::{HsmError, KeyDefect};
use ::sm2::dsa::signature::{RandomizedSigner, Verifier};
use ::sm2::dsa::{Signature, SigningKey, VerifyingKey};
use ::sm2::elliptic_curve::rand_core::{TryCryptoRng, TryRng};
use ::sm2::pke::{DecryptingKey, EncryptingKey};
use ::sm2::{PublicKey, SecretKey};
use ::sm3::{Digest, Sm3};
use ::sm4::Sm4;
use ::sm4::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of an SM4 block, and of its key.
pub const BLOCK: usize = 16;

/// An SM4 key, its schedule wiped when dropped. Prints nothing of itself.
pub struct Sm4Key(Sm4);

impl Sm4Key {
    /// Takes a clear key of 16 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        Sm4::new_from_slice(clear).map(Self).map_err(|_| HsmError::Key(KeyDefect::Length))
    }

    /// The check value: 16 zero octets encrypted, of which a protocol shows the left ones.
    #[must_use]
    pub fn check_value(&self) -> [u8; BLOCK] {
        self.encrypt([0; BLOCK])
    }
}

impl BlockCipher<BLOCK> for Sm4Key {
    fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        block.into()
    }

    fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        self.0.decrypt_block(&mut block);
        block.into()
    }
}

impl std::fmt::Debug for Sm4Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sm4Key(…)")
    }
}

/// The SM3 hash: 32 octets (GB/T 32905).
#[must_use]
pub fn sm3(data: &[u8]) -> [u8; 32] {
    Sm3::digest(data).into()
}

/// The identity that signers use where none was agreed (GM/T 0009, clause 10).
pub const DEFAULT_ID: &str = "1234567812345678";

/// The order of the curve's group less one, which is no private key (GM/T 0003.5, GM/T 0003.1, 6.1).
const ORDER_LESS_ONE: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x72,
    0x03, 0xDF, 0x6B, 0x21, 0xC6, 0x05, 0x2B, 0x53, 0xBB, 0xF4, 0x09, 0x39, 0xD5, 0x41, 0x22,
];

/// An SM2 private key, wiped when dropped. Prints nothing of itself.
pub struct Sm2PrivateKey(SecretKey);

impl Sm2PrivateKey {
    /// Takes a number of 32 octets from 1 to the group's order less two (GM/T 0003.1, 6.1).
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length or number.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        if clear.len() != ORDER_LESS_ONE.len() {
            return Err(HsmError::Key(KeyDefect::Length));
        }
        let algorithm = HsmError::Key(KeyDefect::Algorithm);
        if clear.ct_eq(&ORDER_LESS_ONE).into() {
            return Err(algorithm);
        }
        SecretKey::from_slice(clear).map(Self).map_err(|_| algorithm)
    }

    /// The public key: `04` ‖ X ‖ Y.
    #[must_use]
    pub fn public_key(&self) -> Sm2PublicKey {
        Sm2PublicKey(self.0.public_key())
    }

    /// Signs a message as `id`: R ‖ S, 64 octets (GM/T 0003.2, 6). `random` enters the one-time number beside
    /// key and message (RFC 6979, 3.6), so that no two messages share one whatever it is.
    ///
    /// # Errors
    /// [`HsmError::Input`] for an identity of more than 8,191 octets.
    pub fn sign(&self, id: &str, message: &[u8], random: &[u8; 32]) -> Result<[u8; 64], HsmError> {
        let key = SigningKey::new(id, &self.0).map_err(|_| IDENTITY)?;
        let signature: Signature = key
            .try_sign_with_rng(&mut Once::new(random), message)
            .map_err(|_| HsmError::Failure("SM2 signature"))?;
        Ok(signature.to_bytes().into())
    }

    /// Decrypts C1 ‖ C3 ‖ C2, C1 as `04` ‖ X ‖ Y (GM/T 0003.4, 7).
    ///
    /// # Errors
    /// [`HsmError::Mismatch`] for anything that was not encrypted to this key.
    pub fn decrypt(&self, cipher: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        // At least one octet of C2 behind the point and the hash.
        if cipher.len() <= POINT + 32 || cipher.first() != Some(&0x04) {
            return Err(HsmError::Mismatch);
        }
        let key = DecryptingKey::new(self.0.clone());
        key.decrypt(cipher).map(Zeroizing::new).map_err(|_| HsmError::Mismatch)
    }
}

impl std::fmt::Debug for Sm2PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sm2PrivateKey(…)")
    }
}

/// Octets of a public key: `04` ‖ X ‖ Y.
const POINT: usize = 65;
const IDENTITY: HsmError = HsmError::Input("identity is too long");

/// An SM2 public key: a point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sm2PublicKey(PublicKey);

impl Sm2PublicKey {
    /// Takes `04` ‖ X ‖ Y, 65 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length or form, or a point that is not on the curve.
    pub fn new(point: &[u8]) -> Result<Self, HsmError> {
        if point.len() != POINT {
            return Err(HsmError::Key(KeyDefect::Length));
        }
        PublicKey::from_sec1_bytes(point).map(Self).map_err(|_| HsmError::Key(KeyDefect::Algorithm))
    }

    /// `04` ‖ X ‖ Y, 65 octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        self.0.to_sec1_bytes().into_vec()
    }

    /// Verifies R ‖ S of a message that `id` signed (GM/T 0003.2, 7).
    ///
    /// # Errors
    /// [`HsmError::Mismatch`], also for a signature that is malformed; [`HsmError::Input`] as
    /// [`Sm2PrivateKey::sign`].
    pub fn verify(&self, id: &str, message: &[u8], signature: &[u8]) -> Result<(), HsmError> {
        let key = VerifyingKey::new(id, self.0).map_err(|_| IDENTITY)?;
        let signature = Signature::from_slice(signature).map_err(|_| HsmError::Mismatch)?;
        key.verify(message, &signature).map_err(|_| HsmError::Mismatch)
    }

    /// Encrypts a message: C1 ‖ C3 ‖ C2, C1 as `04` ‖ X ‖ Y (GM/T 0003.4, 6). `random` is the one-time number
    /// itself, never to be used again.
    ///
    /// # Errors
    /// [`HsmError::Input`] for no message, and for a number that is zero, beyond the group's order, or would
    /// leave the message in clear (step A5; one of 256 with a single octet): draw another.
    pub fn encrypt(&self, message: &[u8], random: &[u8; 32]) -> Result<Vec<u8>, HsmError> {
        if message.is_empty() {
            return Err(HsmError::Input("there is nothing to encrypt"));
        }
        let key = EncryptingKey::new(self.0);
        key.encrypt(&mut Once::new(random), message)
            .map_err(|_| HsmError::Input("one-time number cannot be used"))
    }
}

/// A random source that gives its 32 octets once.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Once {
    fn new(random: &[u8; 32]) -> Self {
        Self(Some(Zeroizing::new(*random)))
    }
}

impl TryRng for Once {
    type Error = std::fmt::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Err(std::fmt::Error)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Err(std::fmt::Error)
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Self::Error> {
        let random = self.0.take().filter(|random| random.len() == octets.len()).ok_or(std::fmt::Error)?;
        octets.copy_from_slice(random.as_slice());
        Ok(())
    }
}

impl TryCryptoRng for Once {}

#[cfg(test)]
mod tests {
    use super::super::cipher::{Padding, cbc_decrypt, cbc_encrypt, cmac, ecb_decrypt, ecb_encrypt};
    use super::super::mac::algorithm1;
    use super::*;
    use ::sm2::elliptic_curve::ops::Reduce;
    use ::sm2::elliptic_curve::point::AffineCoordinates;
    use ::sm2::elliptic_curve::{Group, PrimeField};
    use ::sm2::{FieldBytes, ProjectivePoint, Scalar};
    use openssl::bn::{BigNum, BigNumContext};
    use openssl::ec::{EcGroup, EcKey, EcPoint, PointConversionForm};
    use openssl::ecdsa::EcdsaSig;
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::pkey_ctx::PkeyCtx;
    use openssl::symm::{Cipher, Crypter, Mode};

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";
    /// GM/T 0003.5, annexes A and C: the same key and one-time number.
    const PRIVATE: &str = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8";
    const ONE_TIME: &str = "59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21";
    const SIGNATURE: &str = "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3\
        B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA";

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn hexed(octets: impl AsRef<[u8]>) -> String {
        hex::encode_upper(octets)
    }

    #[test]
    fn sm4_has_the_published_values() {
        let key = Sm4Key::new(&octets::<16>(K0)).unwrap();
        // GB/T 32907, annex A: once, and a million times.
        assert_eq!(hexed(key.encrypt(octets(K0))), "681EDF34D206965E86B3E94F536E4246");
        assert_eq!(key.decrypt(octets("681EDF34D206965E86B3E94F536E4246")), octets(K0));
        let often = (0..1_000_000).fold(octets(K0), |block, _| key.encrypt(block));
        assert_eq!(hexed(often), "595298C7C6FD271F0402F804C33D3F66");
        // CMAC, computed with two implementations.
        let rows = [("", "29E154322E5C7BD8EE6A25BA549B24BC"), (K0, "492950917932F9852DD47D1BA1AEB534")];
        for (data, expected) in rows {
            assert_eq!(hexed(cmac(&key, &hex::decode(data).unwrap())), expected);
        }
        // A published chain with zeros behind the data.
        let chain = Sm4Key::new(&octets::<16>("C5945F5BDF1E2DD83C6BFCA9699975F3")).unwrap();
        let data = b"PCK1209339432640F07BEC962141300010024402220516956";
        assert_eq!(hexed(algorithm1(&chain, Padding::Method1, data)), "55BD7EFE36472A824105C55A5126AE60");
        for length in [0, 8, 15, 17, 24, 32] {
            assert_eq!(Sm4Key::new(&vec![1; length]).err(), Some(HsmError::Key(KeyDefect::Length)));
        }
        assert_eq!(format!("{key:?}"), "Sm4Key(…)");
        assert_eq!(key.check_value(), key.encrypt([0; 16]));
    }

    #[test]
    fn sm3_has_the_published_values() {
        // GB/T 32905, annex A.
        let rows = [
            ("abc".into(), "66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0"),
            ("abcd".repeat(16), "DEBE9FF92275B8A138604889C18E5A4D6FDB70E5387E5765293DCBA39C0C5732"),
        ];
        for (data, expected) in rows {
            assert_eq!(hexed(sm3(data.as_bytes())), expected);
        }
    }

    fn private() -> Sm2PrivateKey {
        Sm2PrivateKey::new(&octets::<32>(PRIVATE)).unwrap()
    }

    /// The hash of identity, curve and public key (GM/T 0003.2, 5.5).
    fn z(id: &str, public: Sm2PublicKey) -> [u8; 32] {
        let curve = "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC\
            28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93\
            32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7\
            BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0";
        let bits = u16::try_from(id.len() * 8).unwrap().to_be_bytes();
        let point = public.to_octets();
        sm3(&[&bits, id.as_bytes(), &hex::decode(curve).unwrap(), &point[1..]].concat())
    }

    fn digest(id: &str, public: Sm2PublicKey, message: &[u8]) -> [u8; 32] {
        sm3(&[z(id, public).as_slice(), message].concat())
    }

    #[test]
    fn the_published_signature_verifies() {
        let (id, message, public) = (DEFAULT_ID, b"message digest".as_slice(), private().public_key());
        assert_eq!(
            hexed(public.to_octets()),
            "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020\
             CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
                .replace(' ', "")
        );
        assert_eq!(hexed(z(id, public)), "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3");
        let digest = digest(id, public, message);
        assert_eq!(hexed(digest), "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640");
        // The equations of GM/T 0003.2, 6.1, with the published one-time number.
        let number = |octets: [u8; 32]| Scalar::from_repr(FieldBytes::from(octets)).unwrap();
        let (d, k) = (number(octets(PRIVATE)), number(octets(ONE_TIME)));
        let reduced = |octets: FieldBytes| <Scalar as Reduce<FieldBytes>>::reduce(&octets);
        let r = reduced(digest.into()) + reduced(ProjectivePoint::mul_by_generator(&k).to_affine().x());
        let s = (d + Scalar::ONE).invert().unwrap() * (k - r * d);
        assert_eq!(hexed([r.to_repr(), s.to_repr()].concat()), SIGNATURE);

        let signature = octets::<64>(SIGNATURE);
        assert_eq!(public.verify(id, message, &signature), Ok(()));
        let mismatch = Err(HsmError::Mismatch);
        assert_eq!(public.verify("1234567812345679", message, &signature), mismatch);
        assert_eq!(public.verify(id, b"message digesu", &signature), mismatch);
        for length in [0, 63] {
            assert_eq!(public.verify(id, message, &signature[..length]), mismatch);
        }
        for octet in 0..64 {
            let mut altered = signature;
            altered[octet] ^= 1;
            assert_eq!(public.verify(id, message, &altered), mismatch, "octet {octet}");
        }
        assert_eq!(public.verify(id, message, &[0; 64]), mismatch);
        assert_eq!(public.verify(&"1".repeat(8192), message, &signature), Err(IDENTITY));
    }

    #[test]
    fn signatures_are_of_key_message_and_chance() {
        let key = private();
        let (id, message) = (DEFAULT_ID, b"0200".as_slice());
        let first = key.sign(id, message, &[1; 32]).unwrap();
        assert_eq!(key.public_key().verify(id, message, &first), Ok(()));
        assert_eq!(key.sign(id, message, &[1; 32]).unwrap(), first);
        let others = [
            key.sign(id, message, &[2; 32]).unwrap(),
            key.sign(id, b"0210", &[1; 32]).unwrap(),
            key.sign("another", message, &[1; 32]).unwrap(),
        ];
        assert!(others.iter().all(|other| other[..32] != first[..32]));
        assert_eq!(key.sign(&"1".repeat(8192), message, &[1; 32]), Err(IDENTITY));
    }

    #[test]
    fn the_published_message_is_encrypted() {
        let (key, message) = (private(), b"encryption standard");
        // GM/T 0003.5, annex C: C1, C3, C2.
        let expected = "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73E8\
            58F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0\
            59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766\
            21886CA989CA9C7D58087307CA93092D651EFA";
        let cipher = key.public_key().encrypt(message, &octets(ONE_TIME)).unwrap();
        assert_eq!(hexed(&cipher), expected);
        assert_eq!(*key.decrypt(&cipher).unwrap(), message);
        for octet in 0..cipher.len() {
            let mut altered = cipher.clone();
            altered[octet] ^= 1;
            assert_eq!(key.decrypt(&altered).err(), Some(HsmError::Mismatch), "octet {octet}");
            assert_eq!(key.decrypt(&cipher[..octet]).err(), Some(HsmError::Mismatch), "octet {octet}");
        }
        let public = key.public_key();
        let unusable = HsmError::Input("one-time number cannot be used");
        for random in [[0; 32], [0xFF; 32]] {
            assert_eq!(public.encrypt(message, &random), Err(unusable));
        }
        let nothing = HsmError::Input("there is nothing to encrypt");
        assert_eq!(public.encrypt(&[], &octets(ONE_TIME)), Err(nothing));
    }

    #[test]
    fn a_number_that_leaves_the_message_in_clear_is_refused() {
        let (public, clear) = (private().public_key(), [0x5A]);
        let mut refused = 0;
        for number in 1..=1_000_u16 {
            let mut random = [0; 32];
            random[30..].copy_from_slice(&number.to_be_bytes());
            match public.encrypt(&clear, &random) {
                Ok(cipher) => assert_ne!(cipher[97..], clear, "{number}"),
                Err(error) => {
                    assert_eq!(error, HsmError::Input("one-time number cannot be used"), "{number}");
                    refused += 1;
                }
            }
        }
        assert!((1..=20).contains(&refused), "{refused} of 1,000");
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let (length, algorithm) = (HsmError::Key(KeyDefect::Length), HsmError::Key(KeyDefect::Algorithm));
        let mut order = ORDER_LESS_ONE;
        order[31] = 0x23;
        let mut less = ORDER_LESS_ONE;
        less[31] = 0x21;
        let rows = [
            (vec![0; 32], Some(algorithm)),
            (ORDER_LESS_ONE.to_vec(), Some(algorithm)),
            (order.to_vec(), Some(algorithm)),
            (vec![0xFF; 32], Some(algorithm)),
            (vec![1; 31], Some(length)),
            (vec![1; 33], Some(length)),
            (less.to_vec(), None),
            (octets::<32>(PRIVATE).to_vec(), None),
        ];
        for (clear, expected) in rows {
            assert_eq!(Sm2PrivateKey::new(&clear).err(), expected, "{clear:?}");
        }
        assert_eq!(format!("{:?}", private()), "Sm2PrivateKey(…)");
        let point = private().public_key().to_octets();
        assert_eq!(Sm2PublicKey::new(&point), Ok(private().public_key()));
        let mut off = point.clone();
        off[64] ^= 1;
        let mut hybrid = point.clone();
        hybrid[0] = 0x07;
        for bad in [off, hybrid, vec![0; 65]] {
            assert_eq!(Sm2PublicKey::new(&bad), Err(algorithm));
        }
        for bad in [&[], &point[..64], &point[..33], &[0]] {
            assert_eq!(Sm2PublicKey::new(bad), Err(length));
        }
    }

    fn openssl_sm4(cipher: Cipher, key: &[u8], iv: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
        let mut engine = Crypter::new(cipher, Mode::Encrypt, key, iv).unwrap();
        engine.pad(false);
        let mut out = vec![0; data.len() + 16];
        let written = engine.update(data, &mut out).unwrap();
        out.truncate(written);
        out
    }

    fn openssl_key(clear: &[u8; 32], public: Sm2PublicKey) -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::SM2).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let point = EcPoint::from_bytes(&group, &public.to_octets(), &mut context).unwrap();
        let number = BigNum::from_slice(clear).unwrap();
        PKey::from_ec_key(EcKey::from_private_components(&group, &number, &point).unwrap()).unwrap()
    }

    /// OpenSSL writes a sequence of two numbers and two strings: x, y, C3, C2.
    fn from_der(der: &[u8]) -> Vec<u8> {
        let mut rest = match der {
            [0x30, length, rest @ ..] if *length < 0x80 => rest,
            [0x30, 0x81, _, rest @ ..] => rest,
            _ => panic!("{der:?}"),
        };
        let mut found = vec![0x04];
        for (place, tag) in [0x02, 0x02, 0x04, 0x04].into_iter().enumerate() {
            assert_eq!(rest[0], tag);
            assert!(rest[1] < 0x80);
            let (value, behind) = rest[2..].split_at(usize::from(rest[1]));
            rest = behind;
            if place < 2 {
                let value = if value.len() > 32 { &value[1..] } else { value };
                found.extend(vec![0; 32 - value.len()]);
                found.extend(value);
            } else {
                found.extend(value);
            }
        }
        found
    }

    fn to_der(cipher: &[u8]) -> Vec<u8> {
        let element = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
        let number = |value: &[u8]| {
            let value: Vec<u8> = value.iter().copied().skip_while(|octet| *octet == 0).collect();
            if value[0] < 0x80 { element(2, &value) } else { element(2, &[&[0], value.as_slice()].concat()) }
        };
        let (x, y) = (number(&cipher[1..33]), number(&cipher[33..65]));
        let body = [x, y, element(4, &cipher[65..97]), element(4, &cipher[97..])].concat();
        let length = u8::try_from(body.len()).unwrap();
        if length < 0x80 { element(0x30, &body) } else { [&[0x30, 0x81, length], body.as_slice()].concat() }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

        #[test]
        fn openssl_agrees_on_sm4(
            key in proptest::array::uniform16(0u8..),
            iv in proptest::array::uniform16(0u8..),
            data in proptest::collection::vec(proptest::array::uniform16(0u8..), 0..8),
        ) {
            let (ours, data) = (Sm4Key::new(&key).unwrap(), data.concat());
            let (ecb, cbc) = (ecb_encrypt(&ours, &data).unwrap(), cbc_encrypt(&ours, iv, &data).unwrap());
            proptest::prop_assert_eq!(&ecb, &openssl_sm4(Cipher::sm4_ecb(), &key, None, &data));
            proptest::prop_assert_eq!(&cbc, &openssl_sm4(Cipher::sm4_cbc(), &key, Some(&iv), &data));
            proptest::prop_assert_eq!(&*ecb_decrypt(&ours, &ecb).unwrap(), &data);
            proptest::prop_assert_eq!(&*cbc_decrypt(&ours, iv, &cbc).unwrap(), &data);
        }

        #[test]
        fn openssl_agrees_on_sm3(data in proptest::collection::vec(0u8.., 0..300)) {
            let judge = openssl::hash::hash(MessageDigest::sm3(), &data).unwrap();
            proptest::prop_assert_eq!(sm3(&data).to_vec(), judge.to_vec());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

        #[test]
        fn openssl_agrees_on_sm2(
            clear in proptest::array::uniform32(1u8..),
            random in proptest::array::uniform32(1u8..0xFF),
            others in proptest::collection::vec(proptest::array::uniform32(1u8..0xFF), 8),
            message in proptest::collection::vec(0u8.., 1..60),
            id in "[ -~]{0,20}",
        ) {
            proptest::prop_assume!(clear < ORDER_LESS_ONE);
            let key = Sm2PrivateKey::new(&clear).unwrap();
            let public = key.public_key();
            let judge = openssl_key(&clear, public);
            let judged_public = judge.ec_key().unwrap();
            let form = PointConversionForm::UNCOMPRESSED;
            let mut context = BigNumContext::new().unwrap();
            let (group, point) = (judged_public.group(), judged_public.public_key());
            let point = point.to_bytes(group, form, &mut context).unwrap();
            proptest::prop_assert_eq!(&point, &public.to_octets());

            // OpenSSL signs and verifies the hash, with the identity in it already.
            let digest = digest(&id, public, &message);
            let ours = key.sign(&id, &message, &random).unwrap();
            let number = |octets: &[u8]| BigNum::from_slice(octets).unwrap();
            let der = EcdsaSig::from_private_components(number(&ours[..32]), number(&ours[32..])).unwrap();
            let mut judging = PkeyCtx::new(&judge).unwrap();
            judging.verify_init().unwrap();
            proptest::prop_assert!(judging.verify(&digest, &der.to_der().unwrap()).unwrap());
            judging.sign_init().unwrap();
            let mut theirs = Vec::new();
            judging.sign_to_vec(&digest, &mut theirs).unwrap();
            let theirs = EcdsaSig::from_der(&theirs).unwrap();
            let padded = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).unwrap();
            let theirs = [padded(theirs.r()), padded(theirs.s())].concat();
            proptest::prop_assert_eq!(public.verify(&id, &message, &theirs), Ok(()));

            // One number of 256 leaves a message of one octet in clear and is refused.
            let mut numbers = std::iter::once(&random).chain(&others);
            let cipher = numbers.find_map(|number| public.encrypt(&message, number).ok()).unwrap();
            let mut clear = Vec::new();
            judging.decrypt_init().unwrap();
            judging.decrypt_to_vec(&to_der(&cipher), &mut clear).unwrap();
            proptest::prop_assert_eq!(&clear, &message);
            let mut theirs = Vec::new();
            judging.encrypt_init().unwrap();
            judging.encrypt_to_vec(&message, &mut theirs).unwrap();
            proptest::prop_assert_eq!(&*key.decrypt(&from_der(&theirs)).unwrap(), &message);
        }
    }
}
