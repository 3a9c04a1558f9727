//! Block ciphers, and their modes of operation over whole messages. Pure.
//!
//! A key of DES, AES or SM4 is a [`BlockCipher`]; what is built of one (chaining, CMAC, padding) is written once,
//! for blocks of 8 and of 16 octets.

use super::HsmError;
use zeroize::Zeroizing;

/// A key of a cipher on blocks of `N` octets.
pub trait BlockCipher<const N: usize> {
    /// Encrypts one block.
    fn encrypt(&self, block: [u8; N]) -> [u8; N];
    /// Decrypts one block.
    fn decrypt(&self, block: [u8; N]) -> [u8; N];

    /// The last block of a chain that begins with zeros.
    fn chain(&self, blocks: impl Iterator<Item = [u8; N]>) -> [u8; N] {
        blocks.fold([0; N], |chain, block| self.encrypt(xor(chain, block)))
    }
}

const BLOCKS: HsmError = HsmError::Input("data is not whole blocks");

fn whole<const N: usize>(data: &[u8]) -> Result<&[[u8; N]], HsmError> {
    match data.as_chunks::<N>() {
        (blocks, []) => Ok(blocks),
        (_, _) => Err(BLOCKS),
    }
}

/// Encrypts whole blocks, each by itself (NIST SP 800-38A, 6.1).
///
/// # Errors
/// [`HsmError::Input`] unless `data` is whole blocks.
pub fn ecb_encrypt<const N: usize>(key: &impl BlockCipher<N>, data: &[u8]) -> Result<Vec<u8>, HsmError> {
    Ok(whole::<N>(data)?.iter().flat_map(|block| key.encrypt(*block)).collect())
}

/// Decrypts whole blocks, each by itself.
///
/// # Errors
/// As [`ecb_encrypt`].
pub fn ecb_decrypt<const N: usize>(
    key: &impl BlockCipher<N>,
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let blocks = whole::<N>(data)?;
    let mut clear = Zeroizing::new(Vec::with_capacity(data.len()));
    blocks.iter().for_each(|block| clear.extend_from_slice(&key.decrypt(*block)));
    Ok(clear)
}

/// Encrypts whole blocks, each chained to the one before (NIST SP 800-38A, 6.2).
///
/// # Errors
/// As [`ecb_encrypt`].
pub fn cbc_encrypt<const N: usize>(
    key: &impl BlockCipher<N>,
    iv: [u8; N],
    data: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let mut chain = iv;
    let step = |block: &[u8; N]| {
        chain = key.encrypt(xor(chain, *block));
        chain
    };
    Ok(whole::<N>(data)?.iter().flat_map(step).collect())
}

/// Decrypts whole blocks, each chained to the one before.
///
/// # Errors
/// As [`ecb_encrypt`].
pub fn cbc_decrypt<const N: usize>(
    key: &impl BlockCipher<N>,
    iv: [u8; N],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HsmError> {
    let blocks = whole::<N>(data)?;
    let mut clear = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut chain = iv;
    for block in blocks {
        clear.extend_from_slice(&xor(key.decrypt(*block), chain));
        chain = *block;
    }
    Ok(clear)
}

/// CMAC (NIST SP 800-38B): `N` octets, of which a protocol may send the left ones.
#[must_use]
pub fn cmac<const N: usize>(key: &impl BlockCipher<N>, data: &[u8]) -> [u8; N] {
    let once = doubled(key.encrypt([0; N]));
    let (blocks, rest) = data.as_chunks::<N>();
    let (last, before) = match (blocks, rest) {
        ([before @ .., last], []) => (xor(*last, once), before),
        (_, _) => (xor(filled(rest, 0x80), doubled(once)), blocks),
    };
    key.chain(before.iter().copied().chain([last]))
}

/// A block times x in the field of its width (NIST SP 800-38B, 6.1).
fn doubled<const N: usize>(block: [u8; N]) -> [u8; N] {
    let reduction = if N == 16 { 0x87 } else { 0x1B };
    let carry = block.first().is_some_and(|octet| octet & 0x80 != 0);
    let mut doubled = [0; N];
    let mut below = if carry { reduction } else { 0 };
    for (to, from) in doubled.iter_mut().zip(block).rev() {
        *to = from << 1 ^ below;
        below = from >> 7;
    }
    doubled
}

/// How the last block of data is filled up (ISO/IEC 9797-1, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Zeros, none when the blocks are whole; no data at all is a block of zeros.
    Method1,
    /// `80` and zeros, always.
    Method2,
    /// Method 1, and a block with the length in bits in front.
    Method3,
}

/// The blocks of `data`, padded.
pub fn blocks<const N: usize>(data: &[u8], padding: Padding) -> impl DoubleEndedIterator<Item = [u8; N]> {
    let (whole, rest) = data.as_chunks::<N>();
    let first = (padding == Padding::Method3).then(|| {
        let mut length = [0; N];
        let bits = (data.len() as u64 * 8).to_be_bytes();
        length.iter_mut().rev().zip(bits.iter().rev()).for_each(|(to, from)| *to = *from);
        length
    });
    let last = match padding {
        Padding::Method1 | Padding::Method3 => {
            (!rest.is_empty() || whole.is_empty()).then(|| filled(rest, 0))
        }
        Padding::Method2 => Some(filled(rest, 0x80)),
    };
    first.into_iter().chain(whole.iter().copied()).chain(last)
}

/// Less than a block, the octet behind it, and zeros.
fn filled<const N: usize>(rest: &[u8], behind: u8) -> [u8; N] {
    let mut block = [0; N];
    let octets = rest.iter().copied().chain([behind]);
    block.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
    block
}

/// The exclusive or of two blocks.
#[must_use]
pub fn xor<const N: usize>(left: [u8; N], right: [u8; N]) -> [u8; N] {
    let mut both = left;
    both.iter_mut().zip(right).for_each(|(octet, other)| *octet ^= other);
    both
}

#[cfg(test)]
mod tests {
    use super::super::aes::AesKey;
    use super::super::des::{self, DesKey};
    use super::super::judges;
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn cmacs_are_the_published_ones() {
        // NIST SP 800-38B, appendix D: AES-128, -192, -256, then triple DES with three and two keys (D.4, D.5).
        let text = "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411";
        let aes = [
            ("2B7E151628AED2A6ABF7158809CF4F3C", 0, "BB1D6929E95937287FA37D129B756746"),
            ("2B7E151628AED2A6ABF7158809CF4F3C", 16, "070A16B46B4D4144F79BDD9DD04A287C"),
            ("2B7E151628AED2A6ABF7158809CF4F3C", 40, "DFA66747DE9AE63030CA32611497C827"),
            ("8E73B0F7DA0E6452C810F32B809079E562F8EAD2522C6B7B", 0, "D17DDF46ADAACDE531CAC483DE7A9367"),
            ("8E73B0F7DA0E6452C810F32B809079E562F8EAD2522C6B7B", 40, "8A1DE5BE2EB31AAD089A82E6EE908B0E"),
            (
                "603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4",
                40,
                "AAF3D8F1DE5640C232F5B169B9C911E6",
            ),
        ];
        for (key, length, expected) in aes {
            let key = AesKey::new(&octets(key)).unwrap();
            assert_eq!(hex::encode_upper(cmac(&key, &octets(text)[..length])), expected);
        }
        let des = [
            ("8AA83BF8CBDA10620BC1BF19FBB6CD58BC313D4A371CA8B5", 0, "B7A688E122FFAF95"),
            ("8AA83BF8CBDA10620BC1BF19FBB6CD58BC313D4A371CA8B5", 8, "8E8F293136283797"),
            ("8AA83BF8CBDA10620BC1BF19FBB6CD58BC313D4A371CA8B5", 20, "743DDBE0CE2DC2ED"),
            ("4CF15134A2850DD58A3D10BA80570D38", 0, "BD2EBF9A3BA00361"),
            ("4CF15134A2850DD58A3D10BA80570D38", 20, "62DD1B471902BD4E"),
        ];
        for (key, length, expected) in des {
            let key = DesKey::new(&octets(key)).unwrap();
            assert_eq!(hex::encode_upper(cmac(&key, &octets(text)[..length])), expected);
        }
    }

    fn operated<const N: usize>(
        key: &impl BlockCipher<N>,
        operation: &str,
        iv: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let iv = || iv.try_into().unwrap();
        match operation.split_once(' ').unwrap().1 {
            "ecb encrypt" => ecb_encrypt(key, data).unwrap(),
            "ecb decrypt" => ecb_decrypt(key, data).unwrap().to_vec(),
            "cbc encrypt" => cbc_encrypt(key, iv(), data).unwrap(),
            _ => cbc_decrypt(key, iv(), data).unwrap().to_vec(),
        }
    }

    /// Two thousand cases of each operation, with keys of every length.
    #[test]
    fn psec_agrees() {
        let operations = [
            "aes ecb encrypt",
            "aes ecb decrypt",
            "aes cbc encrypt",
            "aes cbc decrypt",
            "des ecb encrypt",
            "des ecb decrypt",
            "des cbc encrypt",
            "des cbc decrypt",
            "des check value",
            "des parity",
        ];
        let mut chance = judges::Chance::new(10116);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..2000 * operations.len() {
            let (operation, parts) = (operations[round % operations.len()], chance.within(1, 3));
            let is_aes = operation.starts_with("aes");
            let (octets, block) = if is_aes { (8 + 8 * parts, 16) } else { (8 * parts, 8) };
            let (key, iv, blocks) = (chance.octets(octets), chance.octets(block), chance.within(1, 12));
            let data = chance.octets(block * blocks);
            let computed = match operation {
                "des check value" => DesKey::new(&key).unwrap().check_value().to_vec(),
                "des parity" => {
                    let mut odd = key.clone();
                    des::set_odd_parity(&mut odd);
                    odd
                }
                _ if is_aes => operated(&AesKey::new(&key).unwrap(), operation, &iv, &data),
                _ => operated(&DesKey::new(&key).unwrap(), operation, &iv, &data),
            };
            let octets = [&key, &iv, &data].map(hex::encode);
            cases.push([operation.into()].into_iter().chain(octets).collect());
            ours.push(hex::encode(computed));
        }
        judges::agree(include_str!("judges/cipher.py"), &cases, &ours);
    }

    #[test]
    fn padding_is_that_of_the_standard() {
        use Padding::{Method1, Method2, Method3};
        let rows: [(Padding, usize, &str); 9] = [
            (Method1, 0, "0000000000000000"),
            (Method1, 3, "5E5E5E0000000000"),
            (Method1, 8, "5E5E5E5E5E5E5E5E"),
            (Method2, 0, "8000000000000000"),
            (Method2, 3, "5E5E5E8000000000"),
            (Method2, 8, "5E5E5E5E5E5E5E5E8000000000000000"),
            (Method3, 0, "00000000000000000000000000000000"),
            (Method3, 3, "00000000000000185E5E5E0000000000"),
            (Method3, 8, "00000000000000405E5E5E5E5E5E5E5E"),
        ];
        for (padding, length, expected) in rows {
            let padded: Vec<u8> = blocks::<8>(&[0x5E; 8][..length], padding).flatten().collect();
            assert_eq!(hex::encode_upper(padded), expected, "{padding:?} {length}");
        }
    }

    #[test]
    fn modes_take_whole_blocks_and_turn_back() {
        let key = DesKey::new(&[0x13; 16]).unwrap();
        let data = [7; 24];
        assert_eq!(*ecb_decrypt(&key, &ecb_encrypt(&key, &data).unwrap()).unwrap(), data);
        assert_eq!(*cbc_decrypt(&key, [1; 8], &cbc_encrypt(&key, [1; 8], &data).unwrap()).unwrap(), data);
        for length in [1, 7, 9, 23] {
            let data = &data[..length];
            assert_eq!(ecb_encrypt(&key, data), Err(BLOCKS));
            assert_eq!(ecb_decrypt(&key, data), Err(BLOCKS));
            assert_eq!(cbc_encrypt(&key, [0; 8], data), Err(BLOCKS));
            assert_eq!(cbc_decrypt(&key, [0; 8], data), Err(BLOCKS));
        }
    }
}
