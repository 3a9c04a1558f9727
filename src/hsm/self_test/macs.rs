//! MACs and hashes with a key.

use super::super::aes::{self, AesKey};
use super::super::cipher::{Padding, cmac};
use super::super::des::DesKey;
use super::super::mac::{self, FirstEight, Hash};
use super::super::sm::Sm4Key;
use super::super::{HsmError, MacAlgorithm, MacCheck};
use super::{K0, KnownAnswer, answer, fixed, octets, when};

/// ISO/IEC 9797-1, NIST SP 800-38B and RFC 4231. UnionPay's by OpenSSL's command line; HMAC with SM3 OpenSSL's; the
/// MAC of SM4 in UnionPay's shape our reading of it, for which nothing is published.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of X9.9", || both_ways(MacAlgorithm::X99, "0123456789ABCDEF"), "70A30640CC76DD8B"),
    answer("self-test of X9.19", || both_ways(MacAlgorithm::X919, K0), "A1C72E74EA3FA9B6"),
    answer("self-test of UnionPay ECB", || both_ways(MacAlgorithm::UnionPayEcb, K0), "4635424536444430"),
    answer("self-test of X9.19 with method 2", || retail(Padding::Method2, K0, TEXT), "E9086230CA3BE796"),
    answer(
        "self-test of X9.19 with method 3",
        || retail(Padding::Method3, "41414141414141414242424242424242", b"hello world"),
        "BA90F750EF43F668",
    ),
    answer("self-test of many MACs at once", many, "A1C72E74EA3FA9B6"),
    answer(
        "self-test of MAC algorithm 1 with method 2",
        || {
            let key = DesKey::new(&octets("0123456789ABCDEF")?)?;
            Ok(mac::algorithm1(&key, Padding::Method2, TEXT).to_vec())
        },
        "10E1F0F108341B6D",
    ),
    answer(
        "self-test of CMAC",
        || {
            let key = octets("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4")?;
            Ok(cmac(&AesKey::new(&key)?, &octets(CMAC_TEXT)?).to_vec())
        },
        "AAF3D8F1DE5640C232F5B169B9C911E6",
    ),
    answer(
        "self-test of CMAC with triple DES",
        || {
            let key = octets("8AA83BF8CBDA10620BC1BF19FBB6CD58BC313D4A371CA8B5")?;
            Ok(cmac(&DesKey::new(&key)?, octets(CMAC_TEXT)?.get(..20).unwrap_or_default()).to_vec())
        },
        "743DDBE0CE2DC2ED",
    ),
    answer(
        "self-test of HMAC",
        || {
            let mut key = [0; 32];
            key.iter_mut().take(20).for_each(|octet| *octet = 0x0B);
            Ok(aes::hmac_sha256(&key, b"Hi There").to_vec())
        },
        "B0344C61D8DB38535CA8AFCEAF0BF12B881DC200C9833DA726E9376C2E32CFF7",
    ),
    answer(
        "self-test of HMAC with SHA-256",
        || mac::hmac(Hash::Sha256, &[0x0B; 20], b"Hi There"),
        "B0344C61D8DB38535CA8AFCEAF0BF12B881DC200C9833DA726E9376C2E32CFF7",
    ),
    answer(
        "self-test of HMAC with SHA-384",
        || mac::hmac(Hash::Sha384, &[0x0B; 20], b"Hi There"),
        "AFD03944D84895626B0825F4AB46907F15F9DADBE4101EC682AA034C7CEBC59CFAEA9EA9076EDE7F4AF152E8B2FA9CB6",
    ),
    answer(
        "self-test of HMAC with SHA-512",
        || mac::hmac(Hash::Sha512, &[0x0B; 20], b"Hi There"),
        "87AA7CDEA5EF619D4FF0B4241A1D6CB02379F4E2CE4EC2787AD0B30545E17CDEDAA833B7D6B8A702038B274EAEA3F4E4BE9D914EEB61F1702E\
         696C203A126854",
    ),
    answer(
        "self-test of HMAC with SM3",
        || mac::hmac(Hash::Sm3, &[0x0B; 20], b"Hi There"),
        "51B00D1FB49832BFB01C3CE27848E59F871D9BA938DC563B338CA964755CCE70",
    ),
    answer(
        "self-test of CMAC with SM4",
        || Ok(cmac(&Sm4Key::new(&octets(K0)?)?, &octets(K0)?).to_vec()),
        "492950917932F9852DD47D1BA1AEB534",
    ),
    answer(
        "self-test of CBC-MAC with SM4",
        || {
            let key = Sm4Key::new(&octets("C5945F5BDF1E2DD83C6BFCA9699975F3")?)?;
            let data = b"PCK1209339432640F07BEC962141300010024402220516956";
            Ok(mac::algorithm1(&key, Padding::Method1, data).to_vec())
        },
        "55BD7EFE36472A824105C55A5126AE60",
    ),
    answer(
        "self-test of UnionPay ECB with SM4",
        || {
            let key = Sm4Key::new(&octets(K0)?)?;
            let data = octets(UNION_PAY_SALE)?;
            let octets = mac::union_pay_sm4(&key, FirstEight::Octets, &data);
            let characters = mac::union_pay_sm4(&key, FirstEight::HexCharacters, &data);
            Ok([octets, characters].concat())
        },
        "D0656CDC7A9D00224430363536434443",
    ),
];

const TEXT: &[u8] = b"Now is the time for all ";
const CMAC_TEXT: &str = "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411";
const UNION_PAY_SALE: &str = "0200302004C020C0981100000000000000005100183402100006324392260009942820D1312101120084\
    393136363838303134303030303030303030303030303031313536ACF46E73838A82F92600000000000000000822000001";

fn both_ways(algorithm: MacAlgorithm, key: &str) -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(&octets(key)?)?;
    let found = mac::mac(algorithm, &key, TEXT)?;
    mac::verify(&key, MacCheck { algorithm, data: TEXT, mac: &found })?;
    let other = [found.map(|octet| octet ^ 1)];
    let refused = other.iter().all(|mac| mac::verify(&key, MacCheck { algorithm, data: TEXT, mac }).is_err());
    when(refused, found)
}

fn retail(padding: Padding, key: &str, data: &[u8]) -> Result<Vec<u8>, HsmError> {
    Ok(mac::algorithm3(&DesKey::new(&octets(key)?)?, padding, data)?.to_vec())
}

/// The published one in every lane.
fn many() -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(&fixed::<16>(K0)?)?;
    let macs = mac::algorithm3_of_many(&[(&key, TEXT); 65], Padding::Method1)?;
    let first = macs.first().copied().unwrap_or_default();
    when(macs.len() == 65 && macs.iter().all(|mac| *mac == first), first)
}
