//! EMV keys: the issuer's master key → the card's master key → the key of one transaction.
//!
//! Pure arithmetic on clear keys of 16 octets. Which derivation a card uses is its cryptogram version's
//! affair: see [`crate::hsm::emv`].

use crate::hsm::HsmError;
use crate::hsm::des::{DesKey, set_odd_parity};
use crate::transaction::Pan;
use openssl::sha::sha1;
use zeroize::Zeroizing;

/// A clear triple DES key of double length. Wiped when dropped.
pub type DoubleKey = Zeroizing<[u8; 16]>;

/// Where the 8 octets come from that turn an issuer's master key into a card's (EMV Book 2, A1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterKeyOption {
    /// The 16 rightmost digits of PAN and PAN sequence number.
    A,
    /// As A for a PAN of up to 16 digits, else a decimalized SHA-1 of PAN and PAN sequence number.
    B,
}

/// The ICC master key of a card: odd parity. `psn` is the PAN sequence number (tag 5F34), 0 where the card
/// has none (EMV Book 2, A1.4.1 and A1.4.2).
///
/// # Errors
/// [`HsmError::Account`] for a sequence number of more than two digits.
pub fn icc_master_key(
    issuer: &[u8; 16],
    option: MasterKeyOption,
    pan: &Pan,
    psn: u8,
) -> Result<DoubleKey, HsmError> {
    if psn > 99 {
        return Err(HsmError::Account);
    }
    let digits = Zeroizing::new(format!("{}{psn:02}", pan.digits()));
    match option {
        MasterKeyOption::B if pan.digits().len() > 16 => {
            icc_master_key_of(issuer, option_b(&packed(digits.as_bytes())))
        }
        MasterKeyOption::A | MasterKeyOption::B => {
            icc_master_key_of(issuer, rightmost(&packed(digits.as_bytes())))
        }
    }
}

/// The ICC master key of the 8 octets Y that the account gave (EMV Book 2, A1.4.1): 16 digits in a request
/// that has them packed, or what [`option_b`] made of more.
///
/// # Errors
/// None that its arguments can cause.
pub fn icc_master_key_of(issuer: &[u8; 16], y: [u8; 8]) -> Result<DoubleKey, HsmError> {
    let issuer = DesKey::new(issuer)?;
    Ok(parity_set(joined(issuer.encrypt(y), issuer.encrypt(y.map(|octet| !octet)))))
}

/// The 8 octets of option B for PAN and sequence number packed two digits an octet, a zero in front of an odd
/// count: the first 16 decimal digits of their SHA-1, then its letters as 0 to 5 (EMV Book 2, A1.4.2).
#[must_use]
pub fn option_b(pan_psn: &[u8]) -> [u8; 8] {
    let hash = sha1(pan_psn);
    let nibbles = || hash.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
    let digits = nibbles().filter(|nibble| *nibble < 10);
    let letters = nibbles().filter(|nibble| *nibble > 9).map(|nibble| nibble - 10);
    let mut digits = digits.chain(letters);
    [(); 8].map(|()| digits.next().unwrap_or_default() << 4 | digits.next().unwrap_or_default())
}

/// The EMV common session key of a diversification value: odd parity. The value is [`of_atc`] or
/// [`of_atc_and_un`] for a cryptogram, the ARQC for a script (EMV Book 2, A1.3.1).
///
/// # Errors
/// None that its arguments can cause.
pub fn common_session_key(master: &[u8; 16], value: [u8; 8]) -> Result<DoubleKey, HsmError> {
    let master = DesKey::new(master)?;
    let [a, b, _, rest @ ..] = value;
    let half = |third: u8| {
        let [d, e, f, g, h] = rest;
        master.encrypt([a, b, third, d, e, f, g, h])
    };
    Ok(parity_set(joined(half(0xF0), half(0x0F))))
}

/// The diversification value ATC ‖ six zeros (EMV Book 2, A1.3.1).
#[must_use]
pub fn of_atc(atc: [u8; 2]) -> [u8; 8] {
    let [a, b] = atc;
    [a, b, 0, 0, 0, 0, 0, 0]
}

/// The diversification value ATC ‖ two zeros ‖ unpredictable number (Mastercard's own session key
/// derivation).
#[must_use]
pub fn of_atc_and_un(atc: [u8; 2], un: [u8; 4]) -> [u8; 8] {
    let ([a, b], [c, d, e, f]) = (atc, un);
    [a, b, 0, 0, c, d, e, f]
}

/// Visa's session key for scripts: the ATC on the right of the key's left half, its complement on the right
/// of the right half; odd parity (Visa Integrated Circuit Card Specification, B.4).
#[must_use]
pub fn visa_script_key(master: &[u8; 16], atc: [u8; 2]) -> DoubleKey {
    let [high, low] = atc;
    let mut key = Zeroizing::new(*master);
    let [.., a, b, _, _, _, _, _, _, c, d] = &mut *key;
    *a ^= high;
    *b ^= low;
    *c ^= !high;
    *d ^= !low;
    parity_set(key)
}

/// The shape of the tree of session keys (EMV 2000 Book 2, A1.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Eight levels of four branches each.
    Height8Branch4,
    /// Sixteen levels of two branches each.
    Height16Branch2,
}

impl Tree {
    /// The branch taken on every level down to the ATC's leaf, the root's first.
    fn branches(self, atc: u16) -> impl Iterator<Item = u8> {
        let (height, bits) = match self {
            Self::Height8Branch4 => (8, 2),
            Self::Height16Branch2 => (16, 1),
        };
        (0..height).rev().map(move |level| (atc >> (level * bits)).to_le_bytes()[0] & ((1 << bits) - 1))
    }
}

/// The session key of an ATC in the tree of EMV 2000: odd parity. Each key is made of its parent and
/// grandparent; the root's grandparent is `iv`, and the leaf is the exclusive or with its own (EMV 2000 Book
/// 2, A1.3.1; withdrawn by EMV specification update bulletin 46, still on cards).
///
/// # Errors
/// None that its arguments can cause.
pub fn tree_session_key(
    master: &[u8; 16],
    atc: [u8; 2],
    tree: Tree,
    iv: &[u8; 16],
) -> Result<DoubleKey, HsmError> {
    let (mut grandparent, mut parent) = (Zeroizing::new(*iv), Zeroizing::new(*master));
    let mut above = Zeroizing::new([0; 16]);
    for branch in tree.branches(u16::from_be_bytes(atc)) {
        let child = branch_key(&parent, &grandparent, branch)?;
        (above, grandparent, parent) = (grandparent, parent, child);
    }
    parent.iter_mut().zip(above.iter()).for_each(|(octet, other)| *octet ^= other);
    Ok(parity_set(parent))
}

/// The function that maps parent, grandparent and branch to a child (EMV 2000 Book 2, A1.3.1).
fn branch_key(parent: &[u8; 16], grandparent: &[u8; 16], branch: u8) -> Result<DoubleKey, HsmError> {
    let key = DesKey::new(parent)?;
    let mut data = Zeroizing::new(*grandparent);
    let [_, _, _, _, _, _, _, left, .., right] = &mut *data;
    *left ^= branch;
    *right ^= branch ^ 0xF0;
    let (halves, _) = data.as_chunks_mut::<8>();
    halves.iter_mut().for_each(|half| *half = key.encrypt(*half));
    Ok(data)
}

fn joined(left: [u8; 8], right: [u8; 8]) -> DoubleKey {
    let mut key = Zeroizing::new([0; 16]);
    key.iter_mut().zip(left.into_iter().chain(right)).for_each(|(to, from)| *to = from);
    key
}

fn parity_set(mut key: DoubleKey) -> DoubleKey {
    set_odd_parity(key.as_mut_slice());
    key
}

/// Digits two an octet, a zero in front of an odd count.
fn packed(digits: &[u8]) -> Zeroizing<Vec<u8>> {
    let pairs = digits.rchunks(2).rev();
    Zeroizing::new(pairs.map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit & 0x0F)).collect())
}

/// The 8 rightmost octets, zeros in front of fewer.
fn rightmost(packed: &[u8]) -> [u8; 8] {
    let mut octets = [0; 8];
    octets.iter_mut().rev().zip(packed.iter().rev()).for_each(|(to, from)| *to = *from);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::judges;

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn shown(key: &DoubleKey) -> String {
        hex::encode_upper(key.as_slice())
    }

    #[test]
    fn card_keys_are_the_published_ones() {
        use MasterKeyOption::{A, B};
        let smi = "FEDCBA98765432100123456789ABCDEF";
        let smc = "89ABCDEF0123456776543210FEDCBA98";
        // The first three checked on an HSM by their publisher; then a suite of which the check digits are
        // known.
        let rows = [
            (K0, A, "9901234567890123", 45, "F84315C7B95BD3B0C74694922C3808B0"),
            (K0, A, "12345678901234567", 45, "946DC1A8C78A624519BC4645CB073737"),
            (K0, B, "12345678901234567", 45, "F767ECC2263B2C543775CB62AB6B57D6"),
            // Option B is option A for a PAN of sixteen digits.
            (K0, B, "9901234567890123", 45, "F84315C7B95BD3B0C74694922C3808B0"),
            // Published examples of pyemv.
            (K0, A, "99012345678901234", 45, "67F8292358083E5EA7AB7FDA58D53B6B"),
            (K0, A, "12345678901234567", 1, "73AD54688CEF2934B0979857E3C719F1"),
            (K0, B, "12345678901234567", 1, "AD406D7F6D7570916D75E5DCAB8CF737"),
        ];
        for (issuer, option, pan, psn, expected) in rows {
            let found = icc_master_key(&octets(issuer), option, &Pan::parse(pan).unwrap(), psn).unwrap();
            assert_eq!(shown(&found), expected, "{option:?} {pan} {psn}");
        }
        let pan = Pan::parse("1234567890123456").unwrap();
        for (issuer, digits) in [(K0, "BAB0"), (smi, "F010"), (smc, "B154")] {
            let found = icc_master_key(&octets(issuer), A, &pan, 0).unwrap();
            assert_eq!(&DesKey::new(found.as_slice()).unwrap().kcv()[..4], digits);
        }
        assert_eq!(icc_master_key(&octets(K0), A, &pan, 100).err(), Some(HsmError::Account));
        assert_eq!(icc_master_key(&octets(K0), B, &pan, 255).err(), Some(HsmError::Account));
    }

    #[test]
    fn packed_accounts_give_the_same_keys() {
        // Sixteen digits of PAN and sequence number, then nineteen with a zero in front, as a request has
        // them.
        let found = icc_master_key_of(&octets(K0), octets("0123456789012345")).unwrap();
        let pan = Pan::parse("9901234567890123").unwrap();
        assert_eq!(found, icc_master_key(&octets(K0), MasterKeyOption::A, &pan, 45).unwrap());
        let y = option_b(&octets::<10>("01234567890123456745"));
        assert_eq!(shown(&icc_master_key_of(&octets(K0), y).unwrap()), "F767ECC2263B2C543775CB62AB6B57D6");
    }

    #[test]
    fn session_keys_are_the_published_ones() {
        let card = octets("F84315C7B95BD3B0C74694922C3808B0");
        // Checked on an HSM by their publisher; the last ones of K0 are pyemv's examples.
        let rows = [
            (card, "1234567890123456", "3E736BF8D37664348A04E3ABE00DEFC1"),
            (card, "001C000000000000", "A8671AF8581315C17032D99876B68592"),
            (octets(K0), "001C000000000000", "E9FB384AF807B940FEDCEA613461B0C4"),
        ];
        for (master, value, expected) in rows {
            assert_eq!(shown(&common_session_key(&master, octets(value)).unwrap()), expected);
        }
        assert_eq!(of_atc(octets("001C")), octets("001C000000000000"));
        assert_eq!(of_atc_and_un(octets("001C"), octets("52BF4585")), octets("001C000052BF4585"));
        // The card's key: computed with two implementations. K0: an example of pyemv.
        let rows =
            [(card, "F84315C7B95BD3ADC74694922C38F752"), (octets(K0), "0123456789ABCDF2FEDCBA987654CDF2")];
        for (master, expected) in rows {
            assert_eq!(shown(&visa_script_key(&master, octets("001C"))), expected);
        }
    }

    #[test]
    fn keys_of_the_tree_are_the_published_ones() {
        use Tree::{Height8Branch4, Height16Branch2};
        let repeated = "0123456789ABCDEF0123456789ABCDEF";
        // Checked on an HSM by their publisher; the third computed with two implementations, the last of
        // pyemv.
        let rows = [
            (repeated, "00FF", Height8Branch4, "981F9D208AE6132CBC8A7C97F42A5445"),
            (repeated, "00FF", Height16Branch2, "1F54F492EF104580B0F4B0F8910D0438"),
            ("F84315C7B95BD3B0C74694922C3808B0", "001C", Height8Branch4, "707C6723A807BA9BEFA2F4F483733123"),
            (K0, "001C", Height8Branch4, "E5BF6D1067F194B0A89B7F5D83BC64A2"),
        ];
        for (master, atc, tree, expected) in rows {
            let found = tree_session_key(&octets(master), octets(atc), tree, &[0; 16]).unwrap();
            assert_eq!(shown(&found), expected, "{tree:?} {atc}");
        }
        let with = |iv| tree_session_key(&octets(K0), [0, 1], Height8Branch4, &iv).unwrap();
        assert_ne!(with([0; 16]), with([1; 16]));
    }

    #[test]
    fn pyemv_agrees() {
        let mut chance = judges::Chance::new(2000);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..10_000 {
            let key: [u8; 16] = chance.des_key(16).try_into().unwrap();
            let length = chance.within(12, 19);
            let (pan, psn) = (chance.digits(length), chance.within(0, 99));
            let atc: [u8; 2] = chance.octets(2).try_into().unwrap();
            let value: [u8; 8] = chance.octets(8).try_into().unwrap();
            let iv: [u8; 16] = chance.octets(16).try_into().unwrap();
            let card = Pan::parse(&pan).unwrap();
            let account = vec![pan, format!("{psn:02}")];
            let psn = u8::try_from(psn).unwrap();
            let (operation, rest, found) = match round % 5 {
                0 => ("mk_a", account, icc_master_key(&key, MasterKeyOption::A, &card, psn).unwrap()),
                1 => ("mk_b", account, icc_master_key(&key, MasterKeyOption::B, &card, psn).unwrap()),
                2 => ("common", vec![hex::encode(value)], common_session_key(&key, value).unwrap()),
                3 => ("visa", vec![hex::encode(atc)], visa_script_key(&key, atc)),
                _ => {
                    let (tree, height, branch) =
                        [(Tree::Height8Branch4, "8", "4"), (Tree::Height16Branch2, "16", "2")][round / 5 % 2];
                    let found = tree_session_key(&key, atc, tree, &iv).unwrap();
                    ("tree", vec![hex::encode(atc), height.into(), branch.into(), hex::encode(iv)], found)
                }
            };
            cases.push([vec![operation.into(), hex::encode(key)], rest].concat());
            ours.push(shown(&found));
        }
        judges::agree(include_str!("../judges/emv.py"), &cases, &ours);
    }
}
