//! Message authentication codes: UnionPay "ECB" over DES and SM4, X9.9, X9.19, HMAC.
//!
//! Pure arithmetic on a clear key and octets. What a MAC covers is the dialect's affair.

use super::cipher::{BlockCipher, Padding, blocks, xor};
use super::des::sliced::{Halves, LANES, Schedule, planes};
use super::des::{BLOCK, DesKey, KeyLength};
use super::sm::Sm4Key;
use super::{HsmError, KeyDefect, MacAlgorithm, MacCheck};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};
use sm3::Sm3;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Computes a MAC over `data`: 8 octets, as the wire has them. For [`MacAlgorithm::UnionPayEcb`] these are
/// 8 upper-case hexadecimal characters, else the binary block, of which a dialect may send the left half.
///
/// # Errors
/// [`HsmError::Key`] when the key's length is not the algorithm's: single for X9.9, double for X9.19.
pub fn mac(algorithm: MacAlgorithm, key: &DesKey, data: &[u8]) -> Result<[u8; BLOCK], HsmError> {
    match (algorithm, key.length()) {
        (MacAlgorithm::UnionPayEcb, _) => Ok(union_pay_ecb(key, data)),
        (MacAlgorithm::X99, KeyLength::Single) => Ok(algorithm1(key, Padding::Method1, data)),
        (MacAlgorithm::X99, KeyLength::Double | KeyLength::Triple) => Err(HsmError::Key(KeyDefect::Length)),
        (MacAlgorithm::X919, KeyLength::Double) => algorithm3(key, Padding::Method1, data),
        (MacAlgorithm::X919, KeyLength::Single | KeyLength::Triple) => Err(HsmError::Key(KeyDefect::Length)),
    }
}

/// Checks a MAC of 8 octets in constant time.
///
/// # Errors
/// [`HsmError::MacMismatch`], also for another length than 8; [`HsmError::Key`] as [`mac`].
pub fn verify(key: &DesKey, check: MacCheck<'_>) -> Result<(), HsmError> {
    let expected = mac(check.algorithm, key, check.data)?;
    let equal = expected.as_slice().ct_eq(check.mac);
    if equal.into() { Ok(()) } else { Err(HsmError::MacMismatch) }
}

/// The first eight of the result's hexadecimal characters.
fn union_pay_ecb(key: &DesKey, data: &[u8]) -> [u8; BLOCK] {
    hex_halves(union_pay(key, data))[0]
}

/// XOR of the zero-padded blocks, as hexadecimal characters L ‖ R of a block each; E(E(L) ⊕ R) (UnionPay POS
/// terminal specification, "ECB" algorithm).
fn union_pay<const N: usize>(key: &impl BlockCipher<N>, data: &[u8]) -> [u8; N] {
    let folded = blocks(data, Padding::Method1).fold([0; N], xor);
    let [left, right] = hex_halves(folded);
    key.encrypt(xor(key.encrypt(left), right))
}

/// What the specification means by the first eight of an SM4 MAC: it can be read both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstEight {
    /// The first 8 octets.
    Octets,
    /// The first 8 upper-case hexadecimal characters, as of the MAC over DES.
    HexCharacters,
}

/// UnionPay's MAC over SM4: as the one over DES, in groups of 16 octets. 8 octets, as the wire has them.
#[must_use]
pub fn union_pay_sm4(key: &Sm4Key, first: FirstEight, data: &[u8]) -> [u8; BLOCK] {
    let block = union_pay(key, data);
    let [[characters, _], _] = hex_halves(block).map(|half| eights(&half));
    match first {
        FirstEight::Octets => eights(&block)[0],
        FirstEight::HexCharacters => characters,
    }
}

fn eights(block: &[u8; 16]) -> [[u8; 8]; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *block;
    [[a, b, c, d, e, f, g, h], rest]
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256: 32 octets.
    Sha256,
    /// SHA-384: 48 octets.
    Sha384,
    /// SHA-512: 64 octets.
    Sha512,
    /// SM3: 32 octets.
    Sm3,
}

/// HMAC (RFC 2104, FIPS 198-1; with SM3 GM/T 0042): as many octets as the hash has, of which a protocol may
/// send the [`left`] ones.
///
/// # Errors
/// None that its arguments can cause: a key may be of any length.
pub fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Result<Vec<u8>, HsmError> {
    match hash {
        Hash::Sha256 => keyed::<Hmac<Sha256>>(key, data),
        Hash::Sha384 => keyed::<Hmac<Sha384>>(key, data),
        Hash::Sha512 => keyed::<Hmac<Sha512>>(key, data),
        Hash::Sm3 => keyed::<Hmac<Sm3>>(key, data),
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Result<Vec<u8>, HsmError> {
    let mac = <M as KeyInit>::new_from_slice(key).map_err(|_| HsmError::Failure("HMAC"))?;
    Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
}

/// ISO/IEC 9797-1 algorithm 1: the last block of a chain. With single DES and padding method 1 it is ANSI X9.9
/// and FIPS 113; with triple DES every block is encrypted three times.
#[must_use]
pub fn algorithm1<const N: usize>(key: &impl BlockCipher<N>, padding: Padding, data: &[u8]) -> [u8; N] {
    key.chain(blocks(data, padding))
}

/// ISO/IEC 9797-1 algorithm 3, with padding method 1 ANSI X9.19 ("retail MAC"): single DES under the left half up
/// to the last block, triple DES under the whole key for the last.
///
/// # Errors
/// [`HsmError::Key`] unless the key is of double length.
pub fn algorithm3(key: &DesKey, padding: Padding, data: &[u8]) -> Result<[u8; BLOCK], HsmError> {
    if key.length() != KeyLength::Double {
        return Err(HsmError::Key(KeyDefect::Length));
    }
    Ok(key.retail_chain(blocks(data, padding)))
}

/// [`algorithm3`] of many messages, each under its own key, sixty-four at a time: in a fifth of the time, and in one
/// that depends on nothing but how long the messages are.
///
/// # Errors
/// [`HsmError::Key`] unless all keys are of double length.
pub fn algorithm3_of_many(
    messages: &[(&DesKey, &[u8])],
    padding: Padding,
) -> Result<Vec<[u8; BLOCK]>, HsmError> {
    let mut macs = Vec::with_capacity(messages.len());
    for some in messages.chunks(LANES) {
        let mut halves = Zeroizing::new([[0; LANES]; 2]);
        let [lefts, rights] = &mut *halves;
        for (((key, _), left), right) in some.iter().zip(lefts).zip(rights) {
            (*left, *right) = key.double().ok_or(HsmError::Key(KeyDefect::Length))?;
        }
        let [lefts, rights] = halves.map(Schedule::new);
        let mut messages: Vec<_> = some.iter().map(|(_, data)| blocks::<BLOCK>(data, padding)).collect();
        let mut chain = Halves::zeros();
        loop {
            let (mut next, mut lanes) = ([0; LANES], 0);
            for (lane, (message, number)) in messages.iter_mut().zip(&mut next).enumerate() {
                if let Some(block) = message.next() {
                    *number = u64::from_be_bytes(block);
                    lanes |= 1 << lane;
                }
            }
            if lanes == 0 {
                break;
            }
            chain.add(&planes(next), lanes);
            chain.encrypt(&lefts, lanes);
        }
        chain.decrypt(&rights, u64::MAX);
        chain.encrypt(&lefts, u64::MAX);
        macs.extend(chain.blocks().into_iter().take(some.len()));
    }
    Ok(macs)
}

/// The left octets of a MAC, as many as a protocol sends: no fewer than 4 (as EMV Book 2, 9.2.3).
///
/// # Errors
/// [`HsmError::Input`] for fewer than 4 or more than the MAC has.
pub fn left(mac: &[u8], octets: usize) -> Result<&[u8], HsmError> {
    let length = HsmError::Input("a MAC has no such length");
    if octets < 4 { Err(length) } else { mac.get(..octets).ok_or(length) }
}

/// Checks a MAC that was cut to its left octets, in constant time: no fewer than 4.
///
/// # Errors
/// [`HsmError::MacMismatch`], also for a length that no MAC has.
pub fn verify_left(computed: &[u8], found: &[u8]) -> Result<(), HsmError> {
    let computed = left(computed, found.len()).map_err(|_| HsmError::MacMismatch)?;
    if computed.ct_eq(found).into() { Ok(()) } else { Err(HsmError::MacMismatch) }
}

/// A block's upper-case hexadecimal characters, in two blocks.
fn hex_halves<const N: usize>(block: [u8; N]) -> [[u8; N]; 2] {
    let characters = block.iter().flat_map(|octet| [hex_digit(octet >> 4), hex_digit(octet & 0x0F)]);
    let mut halves = [[0; N]; 2];
    halves.as_flattened_mut().iter_mut().zip(characters).for_each(|(to, from)| *to = from);
    halves
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' - 10 + nibble }
}

#[cfg(test)]
mod tests {
    use super::super::judges;
    use super::*;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;
    use openssl::symm::{Cipher, Crypter, Mode};

    /// MTI to DE 63 of a swiped UnionPay sale, published with its MAC's intermediate values.
    const PUBLISHED_MAB: &str = "0200302004C020C09811000000000000000051001834021000063243922600099428\
        20D1312101120084393136363838303134303030303030303030303030303031313536ACF46E73838A82F926000000\
        00000000000822000001";
    /// The golden sale from MTI to DE 63.
    const GOLDEN_MAB: &str = "0200302004C020C0981100000000000001000000000702100012346225880012345675AA5A7881CA\
        F9ED9A003030303030313031383938333130303538313230303031313536605CAB8CE0D1A2B92610\
        000000000000001422000001000500";
    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn key(text: &str) -> DesKey {
        DesKey::new(&octets(text)).unwrap()
    }

    #[test]
    fn macs_are_the_published_ones() {
        use MacAlgorithm::{UnionPayEcb, X99, X919};
        let text = |text: &str| text.as_bytes().to_vec();
        let characters = |text: &str| hex::encode(text);
        let rows = [
            // FIPS 113, appendix A.
            (
                "FIPS 113",
                X99,
                "0123456789ABCDEF",
                text("7654321 Now is the time for "),
                "F1D30F6849312CA4".into(),
            ),
            // ISO/IEC 9797-1, annex A: the same key and text under algorithms 1 and 3.
            (
                "alg 1 pad 1",
                X99,
                "0123456789ABCDEF",
                text("Now is the time for all "),
                "70A30640CC76DD8B".into(),
            ),
            ("alg 3 pad 1", X919, K0, text("Now is the time for all "), "A1C72E74EA3FA9B6".into()),
            // A published sample, recomputed independently.
            (
                "hello world",
                X919,
                "41414141414141414242424242424242",
                text("hello world"),
                "3DDE5C5511661CBF".into(),
            ),
            // Published sample of chained retail MACs, recomputed independently.
            (
                "one block",
                X919,
                "838652DF68A246046DAB6104583B201A",
                text("00000000"),
                "3F431586CA33D99C".into(),
            ),
            // The XOR, 4D08F434464FE7BF, is published; the last step computed with OpenSSL.
            (
                "UnionPay, single",
                UnionPayEcb,
                "C24A8FB57AA20123",
                octets(PUBLISHED_MAB),
                characters("8A9E91B8"),
            ),
            ("UnionPay, double", UnionPayEcb, K0, octets(PUBLISHED_MAB), characters("84C8B241")),
            // The golden sale's DE 64, computed with OpenSSL.
            ("golden sale", UnionPayEcb, "13579BDF02468ACE", octets(GOLDEN_MAB), characters("DAD6D987")),
            ("golden sale", X99, "13579BDF02468ACE", octets(GOLDEN_MAB), "DF0B661F36D9C34A".into()),
            // No data is one block of zeros, so the MAC is the key's check value.
            ("no data", X919, K0, vec![], "08D7B4FB629D0885".into()),
        ];
        for (name, algorithm, clear, data, expected) in rows {
            let key = key(clear);
            let computed = mac(algorithm, &key, &data).unwrap();
            assert_eq!(hex::encode_upper(computed), expected.to_uppercase(), "{name}");
            let check = |mac| verify(&key, MacCheck { algorithm, data: &data, mac });
            assert_eq!(check(&computed), Ok(()), "{name}");
            assert_eq!(check(&computed[..7]), Err(HsmError::MacMismatch), "{name}");
            assert_eq!(check(&[]), Err(HsmError::MacMismatch), "{name}");
            for bit in 0..64 {
                let mut altered = computed;
                altered[bit / 8] ^= 1 << (bit % 8);
                let check = MacCheck { algorithm, data: &data, mac: &altered };
                assert_eq!(verify(&key, check), Err(HsmError::MacMismatch), "{name}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_chain_of_five_blocks_has_the_published_intermediate_macs() {
        // Published sample of a MAC in first, middle and last steps of sixteen octets.
        let key = key("838652DF68A246046DAB6104583B201A");
        let five = "0000000011111111".repeat(5);
        let left = DesKey::new(&octets("838652DF68A24604")).unwrap();
        let chains = ["A9D4D96683B51333", "DA46CEC9E61AF065", "56A27E35442BD07D", "B12874BED7137303"];
        for (step, chain) in chains.iter().enumerate() {
            let (blocks, _) = five.as_bytes()[..16 * (step + 1)].as_chunks::<8>();
            let computed = blocks.iter().fold([0; 8], |chain, block| left.encrypt(xor(chain, *block)));
            assert_eq!(hex::encode_upper(computed), *chain);
        }
        assert_eq!(
            hex::encode_upper(mac(MacAlgorithm::X919, &key, five.as_bytes()).unwrap()),
            "0D99127F7734AA58"
        );
    }

    #[test]
    fn every_padding_has_the_published_mac() {
        use Padding::{Method1, Method2, Method3};
        // ISO/IEC 9797-1, annex A, both algorithms; then a published sample with all three paddings.
        let text = b"Now is the time for all ";
        let single = key("0123456789ABCDEF");
        for (padding, one, three) in [
            (Method1, "70A30640CC76DD8B", "A1C72E74EA3FA9B6"),
            (Method2, "10E1F0F108341B6D", "E9086230CA3BE796"),
        ] {
            assert_eq!(hex::encode_upper(algorithm1(&single, padding, text)), one);
            assert_eq!(hex::encode_upper(algorithm3(&key(K0), padding, text).unwrap()), three);
        }
        let hello = key("41414141414141414242424242424242");
        for (padding, expected) in
            [(Method1, "3DDE5C5511661CBF"), (Method2, "E16941032C3BC7D4"), (Method3, "BA90F750EF43F668")]
        {
            let computed = algorithm3(&hello, padding, b"hello world").unwrap();
            assert_eq!(hex::encode_upper(computed), expected, "{padding:?}");
        }
    }

    #[test]
    fn many_macs_at_once_are_the_same() {
        let mut chance = judges::Chance::new(64);
        for count in [0, 1, 2, 63, 64, 65, 200] {
            let messages: Vec<(DesKey, Vec<u8>)> = (0..count)
                .map(|_| {
                    let length = chance.within(0, 300);
                    (DesKey::new(&chance.octets(16)).unwrap(), chance.octets(length))
                })
                .collect();
            let borrowed: Vec<_> = messages.iter().map(|(key, data)| (key, data.as_slice())).collect();
            for padding in [Padding::Method1, Padding::Method2, Padding::Method3] {
                let expected: Vec<_> =
                    messages.iter().map(|(key, data)| algorithm3(key, padding, data).unwrap()).collect();
                assert_eq!(algorithm3_of_many(&borrowed, padding).unwrap(), expected, "{count} {padding:?}");
            }
        }
        let (single, triple) = (DesKey::new(&[7; 8]).unwrap(), DesKey::new(&[7; 24]).unwrap());
        for key in [&single, &triple] {
            let found = algorithm3_of_many(&[(key, &[])], Padding::Method1);
            assert_eq!(found, Err(HsmError::Key(KeyDefect::Length)));
        }
    }

    #[test]
    fn sm4_macs_have_the_shape_of_des_ones() {
        // Our reading of the specification: no known answer is public.
        let key = Sm4Key::new(&octets(K0)).unwrap();
        let data = octets(PUBLISHED_MAB);
        assert_eq!(hex::encode_upper(union_pay(&key, &data)), "D0656CDC7A9D002263671B6D8DF5DACA");
        let rows =
            [(FirstEight::Octets, "D0656CDC7A9D0022"), (FirstEight::HexCharacters, "4430363536434443")];
        for (first, expected) in rows {
            assert_eq!(hex::encode_upper(union_pay_sm4(&key, first, &data)), expected, "{first:?}");
        }
        // The same in steps: groups of 16 octets, zeros behind the last, two halves of hexadecimal
        // characters.
        let mut groups = data.clone();
        groups.resize(96, 0);
        let folded = groups.as_chunks::<16>().0.iter().fold([0; 16], |folded, group| xor(folded, *group));
        let characters = hex::encode_upper(folded).into_bytes();
        let (left, right) = (characters[..16].try_into().unwrap(), characters[16..].try_into().unwrap());
        assert_eq!(union_pay(&key, &data), key.encrypt(xor(key.encrypt(left), right)));
        // DES has the published steps of its own: those of the double-length key, and the XOR.
        let des = DesKey::new(&octets(K0)).unwrap();
        assert_eq!(hex::encode_upper(union_pay(&des, &data)), "84C8B24124A71EAF");
        let single = DesKey::new(&octets("C24A8FB57AA20123")).unwrap();
        assert_eq!(hex::encode_upper(union_pay(&single, &data)), "8A9E91B88D839AC5");
        let folded = blocks(&data, Padding::Method1).fold([0; BLOCK], xor);
        assert_eq!(hex::encode_upper(folded), "4D08F434464FE7BF");
        let steps = [(&single, "6A4DF084B6D23759"), (&des, "9F0F41887D544B86")];
        for (key, expected) in steps {
            assert_eq!(hex::encode_upper(key.encrypt(hex_halves(folded)[0])), expected);
        }
    }

    #[test]
    fn downloaded_working_keys_have_the_published_check_values() {
        // Published sign-on: each key under the TMK by ECB, then the left 4 octets of its check value.
        let tmk = key("CA5D92598DCA48CE8A4C76361A9269E9");
        let rows = [
            ("6701EAD6A9AD51E51AA406E2C27FCFA9", 16, "807A23AD32B36D457AE91FDF927570EA", "8D0A74B8"),
            ("B651F9E9BACE9AE1", 8, "5BB5C72CD00B7338", "AB7153CA"),
        ];
        for (wrapped, length, clear, check) in rows {
            let found = tmk.decrypt_ecb(&octets(wrapped)).unwrap();
            assert_eq!(hex::encode_upper(&*found), clear);
            let value = DesKey::new(&found[..length]).unwrap().check_value();
            assert_eq!(hex::encode_upper(left(&value, 4).unwrap()), check);
        }
        let tak = key("70F2A84CCBC2AE8625CBB0F2C22AB923").decrypt_ecb(&octets("96D605EA176B7E9E")).unwrap();
        assert_eq!(hex::encode_upper(&*tak), "C24A8FB57AA20123");
    }

    #[test]
    fn hmacs_are_the_published_ones() {
        // RFC 4231, test cases 1 to 7 (5 is cut to 16 octets): key, data, SHA-256, SHA-384, SHA-512.
        let long = hex::encode("Test Using Larger Than Block-Size Key - Hash Key First");
        let longer = hex::encode(
            "This is a test using a larger than block-size key and a larger than block-size data. \
             The key needs to be hashed before being used by the HMAC algorithm.",
        );
        let rows = [
            (
                "0b".repeat(20),
                hex::encode("Hi There"),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f\
                 4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702\
                 038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
            (
                hex::encode("Jefe"),
                hex::encode("what do ya want for nothing?"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c7\
                 8b3239ecfab21649",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a\
                 6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            (
                "aa".repeat(20),
                "dd".repeat(50),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b9\
                 4e3ab6e101a34f27",
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c8\
                 06b485a47e67c807b946a337bee8942674278859e13292fb",
            ),
            (
                "0102030405060708090a0b0c0d0e0f10111213141516171819".into(),
                "cd".repeat(50),
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
                "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679\
                 ccf8a386c674cffb",
                "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4\
                 d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
            ),
            (
                "0c".repeat(20),
                hex::encode("Test With Truncation"),
                "a3b6167473100ee06e0c796c2955552b",
                "3abf34c3503b2a23a46efc619baef897",
                "415fad6271580a531d4179bc891d87a6",
            ),
            (
                "aa".repeat(131),
                long,
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe82\
                 96248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598\
                 bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
            (
                "aa".repeat(131),
                longer,
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
                "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d\
                 3860e6110c46523e",
                "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b1\
                 0d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
            ),
        ];
        for (key, data, sha256, sha384, sha512) in rows {
            for (hash, expected) in [(Hash::Sha256, sha256), (Hash::Sha384, sha384), (Hash::Sha512, sha512)] {
                let computed = hmac(hash, &octets(&key), &octets(&data)).unwrap();
                assert_eq!(hex::encode(left(&computed, expected.len() / 2).unwrap()), expected, "{hash:?}");
            }
        }
    }

    #[test]
    fn macs_are_cut_on_the_right() {
        let length = HsmError::Input("a MAC has no such length");
        let whole = hmac(Hash::Sha256, b"key", b"0200").unwrap();
        for octets in 0..=40 {
            let expected = if (4..=32).contains(&octets) { Ok(&whole[..octets]) } else { Err(length) };
            assert_eq!(left(&whole, octets), expected);
            let mut sent = [whole.as_slice(), &[0; 8]].concat();
            sent.truncate(octets);
            let expected = if expected.is_ok() { Ok(()) } else { Err(HsmError::MacMismatch) };
            assert_eq!(verify_left(&whole, &sent), expected, "{octets}");
            if let Some(last) = sent.last_mut() {
                *last ^= 0x80;
            }
            assert_eq!(verify_left(&whole, &sent), Err(HsmError::MacMismatch), "{octets}");
        }
    }

    #[test]
    fn psec_agrees() {
        let mut chance = judges::Chance::new(9797);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        // Algorithm 1 with keys of every length, algorithm 3, each with every padding.
        for round in 0..2000 * 12 {
            let (number, padding) = (round / 3 % 4, round % 3);
            let method = [Padding::Method1, Padding::Method2, Padding::Method3][padding];
            let length = chance.within(0, 300);
            let (key, data) = (chance.des_key([8, 16, 24, 16][number]), chance.octets(length));
            let schedule = DesKey::new(&key).unwrap();
            let (algorithm, computed) = if number < 3 {
                ("1", algorithm1(&schedule, method, &data))
            } else {
                ("3", algorithm3(&schedule, method, &data).unwrap())
            };
            let octets = [&key, &data].map(hex::encode);
            cases.push([algorithm.into(), (padding + 1).to_string()].into_iter().chain(octets).collect());
            ours.push(hex::encode_upper(computed));
        }
        judges::agree(include_str!("judges/mac.py"), &cases, &ours);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        use MacAlgorithm::{X99, X919};
        for (algorithm, octets) in [(X99, 16), (X99, 24), (X919, 8), (X919, 24)] {
            let key = DesKey::new(&vec![0x13; octets]).unwrap();
            assert!(matches!(mac(algorithm, &key, b"0200"), Err(HsmError::Key(_))), "{algorithm:?} {octets}");
        }
    }

    /// The last block of OpenSSL's own CBC: algorithm 1 with triple DES, or with K1 = K2 = K3 single DES.
    fn openssl_cbc_mac(key: [u8; 8], data: &[u8]) -> Vec<u8> {
        let wide = [key, key, key].concat();
        let mut engine = Crypter::new(Cipher::des_ede3_cbc(), Mode::Encrypt, &wide, Some(&[0; 8])).unwrap();
        engine.pad(false);
        let mut padded = data.to_vec();
        padded.resize(data.len().next_multiple_of(8).max(8), 0);
        let mut out = vec![0; padded.len() + 8];
        let written = engine.update(&padded, &mut out).unwrap();
        out[written - 8..written].to_vec()
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

        #[test]
        fn openssl_agrees_on_hmac(
            key in proptest::collection::vec(0u8.., 1..200), data in proptest::collection::vec(0u8.., 0..300),
        ) {
            let judge = PKey::hmac(&key).unwrap();
            for (hash, digest) in [
                (Hash::Sha256, MessageDigest::sha256()),
                (Hash::Sha384, MessageDigest::sha384()),
                (Hash::Sha512, MessageDigest::sha512()),
                (Hash::Sm3, MessageDigest::sm3()),
            ] {
                let expected = Signer::new(digest, &judge).unwrap().sign_oneshot_to_vec(&data).unwrap();
                proptest::prop_assert_eq!(hmac(hash, &key, &data).unwrap(), expected, "{:?}", hash);
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

        #[test]
        fn openssl_agrees_on_x9_9(key in proptest::array::uniform8(0u8..), data in proptest::collection::vec(0u8.., 0..200)) {
            let ours = mac(MacAlgorithm::X99, &DesKey::new(&key).unwrap(), &data).unwrap();
            proptest::prop_assert_eq!(ours.to_vec(), openssl_cbc_mac(key, &data));
        }

        #[test]
        fn x9_19_is_x9_9_with_the_last_block_turned_back_and_forth(
            key in proptest::array::uniform16(0u8..), data in proptest::collection::vec(0u8.., 0..200),
        ) {
            let left: [u8; 8] = key[..8].try_into().unwrap();
            let inner: [u8; 8] = openssl_cbc_mac(left, &data).try_into().unwrap();
            let (left, right) = (DesKey::new(&left).unwrap(), DesKey::new(&key[8..]).unwrap());
            let expected = left.encrypt(right.decrypt(inner));
            proptest::prop_assert_eq!(mac(MacAlgorithm::X919, &DesKey::new(&key).unwrap(), &data).unwrap(), expected);
        }
    }
}
