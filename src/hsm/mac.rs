//! Message authentication codes over DES: UnionPay "ECB", X9.9 and X9.19.
//!
//! Pure arithmetic on a clear key and octets. What a MAC covers is the dialect's affair.

use super::cipher::{BlockCipher, Padding, blocks, xor};
use super::des::{BLOCK, DesKey, KeyLength};
use super::des_sliced::{Halves, LANES, Schedule, planes};
use super::{HsmError, KeyDefect, MacAlgorithm, MacCheck};
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

/// XOR of the zero-padded blocks, as 16 hexadecimal characters L ‖ R; E(E(L) ⊕ R); the first eight of the
/// result's hexadecimal characters (UnionPay POS terminal specification, "ECB" algorithm).
fn union_pay_ecb(key: &DesKey, data: &[u8]) -> [u8; BLOCK] {
    let folded = blocks(data, Padding::Method1).fold([0; BLOCK], xor);
    let [left, right] = hex_halves(folded);
    hex_halves(key.encrypt(xor(key.encrypt(left), right)))[0]
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
            let (first, second) = key.halves();
            *left = first;
            let is_double = key.length() == KeyLength::Double;
            *right = second.filter(|_| is_double).ok_or(HsmError::Key(KeyDefect::Length))?;
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

/// A block's 16 upper-case hexadecimal characters, in two blocks.
fn hex_halves(block: [u8; BLOCK]) -> [[u8; BLOCK]; 2] {
    let [a, b, c, d, e, f, g, h] = block;
    [[a, b, c, d], [e, f, g, h]].map(|half| {
        let mut text = [0; BLOCK];
        for (pair, octet) in text.as_chunks_mut::<2>().0.iter_mut().zip(half) {
            *pair = [hex_digit(octet >> 4), hex_digit(octet & 0x0F)];
        }
        text
    })
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' - 10 + nibble }
}

#[cfg(test)]
mod tests {
    use super::super::judges;
    use super::*;
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
    fn psec_agrees() {
        let mut chance = judges::Chance::new(9797);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..4000 {
            let padding = [Padding::Method1, Padding::Method2, Padding::Method3][round % 3];
            let length = chance.within(0, 300);
            let (key, data) = (chance.des_key([8, 16][round % 2]), chance.octets(length));
            let schedule = DesKey::new(&key).unwrap();
            let computed = if key.len() == 8 {
                algorithm1(&schedule, padding, &data)
            } else {
                algorithm3(&schedule, padding, &data).unwrap()
            };
            cases.push(vec![(round % 3 + 1).to_string(), hex::encode(&key), hex::encode(&data)]);
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
