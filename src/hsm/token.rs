//! Tokens of a PAN by format-preserving encryption: FF1 of NIST SP 800-38G over the digits in the middle.
//!
//! ```text
//! PAN    B B B B B B  M M M M M M  L L L L      B bank identification number, 6 or 8 digits; L the last four
//! token  B B B B B B  T T T T T T  L L L L      T = FF1 of M, tweak B ‖ L as characters
//! ```
//! Pure; the same key, PAN and form give the same token. A token tells its BIN and last four, as PCI DSS
//! 3.4.1 lets a receipt.

use super::aes::AesKey;
use super::{HsmError, KeyDefect};
use crate::transaction::Pan;
use ::aes::{Aes128, Aes192, Aes256};
use fpe::ff1::{FF1, FlexibleNumeralString};
use zeroize::Zeroizing;

/// An AES key for tokens, its schedule wiped when dropped. Prints its length only.
pub struct TokenKey(Schedule);

enum Schedule {
    Aes128(FF1<Aes128>),
    Aes192(FF1<Aes192>),
    Aes256(FF1<Aes256>),
}

/// How a token is formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// How many digits of the PAN the token begins with.
    pub bin: Bin,
    /// What the check digit says of the token.
    pub luhn: Luhn,
}

/// The length of a bank identification number (ISO/IEC 7812-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bin {
    /// Six digits.
    Six,
    /// Eight digits.
    Eight,
}

/// What the check digit (ISO/IEC 7812-1, annex B), which stays the PAN's own, says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luhn {
    /// Nothing: one token in ten passes.
    Free,
    /// It is right where the PAN's is, wrong where it is wrong: the middle is encrypted until it is.
    Kept,
    /// It is wrong, so that no token is taken for a PAN; only for PANs of which it is right.
    Broken,
}

/// Fewest digits to encrypt: 10^6 values (NIST SP 800-38G, revision 1, 5.1).
const FEWEST: usize = 6;
const LAST: usize = 4;
/// One try in ten ends a walk: this many in vain are a defect, not chance.
const TRIES: usize = 2000;

impl TokenKey {
    /// Takes a clear AES key of 16, 24 or 32 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        let radix = |_| HsmError::Key(KeyDefect::Algorithm);
        // The length is looked at here, since the crate panics at another.
        Ok(Self(match AesKey::new(clear)?.octets() {
            16 => Schedule::Aes128(FF1::new(clear, 10).map_err(radix)?),
            24 => Schedule::Aes192(FF1::new(clear, 10).map_err(radix)?),
            _ => Schedule::Aes256(FF1::new(clear, 10).map_err(radix)?),
        }))
    }

    /// The token of a PAN.
    ///
    /// # Errors
    /// [`HsmError::Account`] when fewer than 6 digits stand between BIN and last four, or when the check
    /// digit is to be broken and is wrong already.
    pub fn token(&self, form: Form, pan: &Pan) -> Result<Pan, HsmError> {
        let parts = Parts::of(pan, form.bin)?;
        let turn = |middle: &Digits| self.encrypt(&parts.tweak, middle);
        match form.luhn {
            Luhn::Free => parts.with(&turn(&parts.middle)?),
            Luhn::Kept => parts.walk(turn),
            Luhn::Broken if pan.luhn_valid() => Parts::of(&parts.walk(turn)?, form.bin)?.moved(1),
            Luhn::Broken => Err(HsmError::Account),
        }
    }

    /// The PAN of a token that this key and form made.
    ///
    /// # Errors
    /// [`HsmError::Account`] when fewer than 6 digits stand between BIN and last four, or when the check
    /// digit is not wrong in the way that breaking it makes it.
    pub fn pan(&self, form: Form, token: &Pan) -> Result<Pan, HsmError> {
        let parts = Parts::of(token, form.bin)?;
        let turn = |middle: &Digits| self.decrypt(&parts.tweak, middle);
        match form.luhn {
            Luhn::Free => parts.with(&turn(&parts.middle)?),
            Luhn::Kept => parts.walk(turn),
            Luhn::Broken => {
                let kept = parts.moved(9)?;
                if !kept.luhn_valid() {
                    return Err(HsmError::Account);
                }
                Parts::of(&kept, form.bin)?.walk(turn)
            }
        }
    }

    /// FF1 of decimal digits (NIST SP 800-38G, 5.1, algorithm 7).
    pub(super) fn encrypt(&self, tweak: &[u8], digits: &Digits) -> Result<Digits, HsmError> {
        let numerals = FlexibleNumeralString::from(digits.to_vec());
        match &self.0 {
            Schedule::Aes128(ff1) => ff1.encrypt(tweak, &numerals),
            Schedule::Aes192(ff1) => ff1.encrypt(tweak, &numerals),
            Schedule::Aes256(ff1) => ff1.encrypt(tweak, &numerals),
        }
        .map(|numerals| Zeroizing::new(numerals.into()))
        .map_err(|_| HsmError::Account)
    }

    /// Its inverse (NIST SP 800-38G, 5.1, algorithm 8).
    pub(super) fn decrypt(&self, tweak: &[u8], digits: &Digits) -> Result<Digits, HsmError> {
        let numerals = FlexibleNumeralString::from(digits.to_vec());
        match &self.0 {
            Schedule::Aes128(ff1) => ff1.decrypt(tweak, &numerals),
            Schedule::Aes192(ff1) => ff1.decrypt(tweak, &numerals),
            Schedule::Aes256(ff1) => ff1.decrypt(tweak, &numerals),
        }
        .map(|numerals| Zeroizing::new(numerals.into()))
        .map_err(|_| HsmError::Account)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let octets = match self.0 {
            Schedule::Aes128(_) => 16,
            Schedule::Aes192(_) => 24,
            Schedule::Aes256(_) => 32,
        };
        write!(f, "TokenKey({octets} octets)")
    }
}

/// Decimal digits, 0 to 9 each.
pub(super) type Digits = Zeroizing<Vec<u16>>;

/// A PAN or a token, taken apart.
struct Parts<'a> {
    whole: &'a Pan,
    bin: &'a str,
    last: &'a str,
    middle: Digits,
    tweak: Zeroizing<Vec<u8>>,
}

impl<'a> Parts<'a> {
    fn of(whole: &'a Pan, bin: Bin) -> Result<Self, HsmError> {
        let length = match bin {
            Bin::Six => 6,
            Bin::Eight => 8,
        };
        let digits = whole.digits();
        let (bin, rest) = digits.split_at_checked(length).ok_or(HsmError::Account)?;
        let end = rest.len().checked_sub(LAST).filter(|end| *end >= FEWEST).ok_or(HsmError::Account)?;
        let (middle, last) = rest.split_at_checked(end).ok_or(HsmError::Account)?;
        let middle = Zeroizing::new(middle.bytes().map(|digit| u16::from(digit & 0x0F)).collect());
        Ok(Self { whole, bin, last, middle, tweak: Zeroizing::new([bin, last].concat().into_bytes()) })
    }

    /// The same with another middle.
    fn with(&self, middle: &Digits) -> Result<Pan, HsmError> {
        let mut digits = Zeroizing::new(String::with_capacity(19));
        digits.push_str(self.bin);
        let characters = middle.iter().filter_map(|digit| char::from_digit(u32::from(*digit), 10));
        digits.extend(characters);
        digits.push_str(self.last);
        Pan::parse(&digits).map_err(|_| HsmError::Account)
    }

    /// Turns the middle until the check digit says of the whole what it said before. The turns are a
    /// permutation, so a walk comes back to such a middle, and the inverse turns walk back.
    fn walk(&self, turn: impl Fn(&Digits) -> Result<Digits, HsmError>) -> Result<Pan, HsmError> {
        let mut middle = self.middle.clone();
        for _ in 0..TRIES {
            middle = turn(&middle)?;
            let whole = self.with(&middle)?;
            if whole.luhn_valid() == self.whole.luhn_valid() {
                return Ok(whole);
            }
        }
        Err(HsmError::Failure("FF1 walks in a circle"))
    }

    /// The same with the last digit of the middle moved up, 9 to 0. It is the fifth from the right, which the
    /// check digit's rule does not double: moved by 1, a right check digit is wrong.
    fn moved(&self, by: u16) -> Result<Pan, HsmError> {
        let mut middle = self.middle.clone();
        if let Some(digit) = middle.last_mut() {
            *digit = (*digit + by) % 10;
        }
        self.with(&middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94";

    fn key(octets: usize) -> TokenKey {
        TokenKey::new(&hex::decode(KEY).unwrap()[..octets]).unwrap()
    }

    fn pan(digits: &str) -> Pan {
        Pan::parse(digits).unwrap()
    }

    const FREE: Form = Form { bin: Bin::Six, luhn: Luhn::Free };

    #[test]
    fn ff1_is_the_published_one() {
        // NIST, FF1 samples 1, 2, 4, 5, 7 and 8: the radix of 10.
        let rows = [
            (16, "", "2433477484"),
            (16, "39383736353433323130", "6124200773"),
            (24, "", "2830668132"),
            (24, "39383736353433323130", "2496655549"),
            (32, "", "6657667009"),
            (32, "39383736353433323130", "1001623463"),
        ];
        let digits = |text: &str| Zeroizing::new(text.bytes().map(|digit| u16::from(digit - b'0')).collect());
        for (octets, tweak, expected) in rows {
            let (key, tweak) = (key(octets), hex::decode(tweak).unwrap());
            let found = key.encrypt(&tweak, &digits("0123456789")).unwrap();
            assert_eq!(found, digits(expected), "{octets} {tweak:?}");
            assert_eq!(key.decrypt(&tweak, &found).unwrap(), digits("0123456789"));
        }
        assert_eq!(key(16).encrypt(&[], &digits("01234")), Err(HsmError::Account));
    }

    #[test]
    fn other_radices_of_the_samples_are_the_crate_s() {
        // NIST, FF1 samples 3, 6 and 9: the radix of 36, which no PAN has.
        let rows: [(usize, [u16; 19]); 3] = [
            (16, [10, 9, 29, 31, 4, 0, 22, 21, 21, 9, 20, 13, 30, 5, 0, 9, 14, 30, 22]),
            (24, [33, 11, 19, 3, 20, 31, 3, 5, 19, 27, 10, 32, 33, 31, 3, 2, 34, 28, 27]),
            (32, [33, 28, 8, 10, 0, 10, 35, 17, 2, 10, 31, 34, 10, 21, 34, 35, 30, 32, 13]),
        ];
        let clear = FlexibleNumeralString::from((0..19).collect::<Vec<u16>>());
        let tweak = hex::decode("3737373770717273373737").unwrap();
        for (octets, expected) in rows {
            let key = &hex::decode(KEY).unwrap()[..octets];
            let found = match octets {
                16 => FF1::<Aes128>::new(key, 36).unwrap().encrypt(&tweak, &clear),
                24 => FF1::<Aes192>::new(key, 36).unwrap().encrypt(&tweak, &clear),
                _ => FF1::<Aes256>::new(key, 36).unwrap().encrypt(&tweak, &clear),
            };
            assert_eq!(Vec::from(found.unwrap()), expected);
        }
    }

    #[test]
    fn tokens_keep_the_ends_and_come_back() {
        let rows = [
            (Bin::Six, "4111111111111111"),
            (Bin::Six, "6225880012345675"),
            (Bin::Six, "6225880000000000017"),
            (Bin::Eight, "622588000000000017"),
            (Bin::Eight, "6225880000000000017"),
        ];
        for (bin, digits) in rows {
            for octets in [16, 24, 32] {
                let form = Form { bin, luhn: Luhn::Free };
                let token = key(octets).token(form, &pan(digits)).unwrap();
                let ends = if bin == Bin::Six { 6 } else { 8 };
                assert_eq!(token.digits()[..ends], digits[..ends]);
                assert_eq!(token.digits()[digits.len() - 4..], digits[digits.len() - 4..]);
                assert_eq!(token.digits().len(), digits.len());
                assert_ne!(token.digits(), digits);
                assert_eq!(key(octets).pan(form, &token).unwrap().digits(), digits);
                assert_ne!(
                    key(48 - octets + usize::from(octets == 24) * 8).pan(form, &token),
                    Ok(pan(digits))
                );
            }
        }
        assert_eq!(format!("{:?}", key(24)), "TokenKey(24 octets)");
    }

    #[test]
    fn accounts_with_too_few_digits_are_refused() {
        let rows = [
            (Bin::Six, "411111111111111", Some(HsmError::Account)),
            (Bin::Six, "411111111111", Some(HsmError::Account)),
            (Bin::Six, "4111111111111111", None),
            (Bin::Eight, "4111111111111111", Some(HsmError::Account)),
            (Bin::Eight, "41111111111111111", Some(HsmError::Account)),
            (Bin::Eight, "411111111111111111", None),
        ];
        for (bin, digits, expected) in rows {
            for luhn in [Luhn::Free, Luhn::Kept] {
                let form = Form { bin, luhn };
                assert_eq!(key(16).token(form, &pan(digits)).err(), expected, "{digits}");
                assert_eq!(key(16).pan(form, &pan(digits)).err(), expected, "{digits}");
            }
        }
        for length in [0, 8, 15, 31, 33] {
            let found = TokenKey::new(&vec![1; length]);
            assert_eq!(found.err(), Some(HsmError::Key(KeyDefect::Length)), "{length}");
        }
    }

    #[test]
    fn the_check_digit_is_the_caller_s_choice() {
        let (key, right, wrong) = (key(32), pan("6225880012345675"), pan("6225880012345676"));
        assert!(right.luhn_valid() && !wrong.luhn_valid());
        let form = |luhn| Form { bin: Bin::Six, luhn };
        for pan in [&right, &wrong] {
            let token = key.token(form(Luhn::Kept), pan).unwrap();
            assert_eq!(token.luhn_valid(), pan.luhn_valid());
            assert_eq!(&key.pan(form(Luhn::Kept), &token).unwrap(), pan);
        }
        let token = key.token(form(Luhn::Broken), &right).unwrap();
        assert!(!token.luhn_valid());
        assert_eq!(key.pan(form(Luhn::Broken), &token).unwrap(), right);
        assert_eq!(key.token(form(Luhn::Broken), &wrong), Err(HsmError::Account));
        assert_eq!(key.pan(form(Luhn::Broken), &right), Err(HsmError::Account));
    }

    /// The token's middle for every middle of one BIN and last four would take a million steps: a part of
    /// them.
    #[test]
    fn no_two_accounts_share_a_token() {
        let key = key(16);
        for luhn in [Luhn::Free, Luhn::Kept] {
            let form = Form { luhn, ..FREE };
            let mut tokens: Vec<_> = (0..3000)
                .map(|middle| {
                    key.token(form, &pan(&format!("411111{middle:06}1111"))).unwrap().digits().to_owned()
                })
                .collect();
            tokens.sort_unstable();
            assert!(tokens.windows(2).all(|pair| pair[0] != pair[1]), "{luhn:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_account_comes_back(digits in "[0-9]{16,19}", clear in proptest::array::uniform32(0u8..)) {
            let key = TokenKey::new(&clear).unwrap();
            for luhn in [Luhn::Free, Luhn::Kept, Luhn::Broken] {
                let form = Form { luhn, ..FREE };
                match key.token(form, &pan(&digits)) {
                    Ok(token) => {
                        proptest::prop_assert_eq!(key.pan(form, &token).unwrap(), pan(&digits));
                        proptest::prop_assert!(luhn != Luhn::Broken || !token.luhn_valid());
                    }
                    Err(error) => {
                        proptest::prop_assert!(luhn == Luhn::Broken && !pan(&digits).luhn_valid());
                        proptest::prop_assert_eq!(error, HsmError::Account);
                    }
                }
            }
        }
    }
}
