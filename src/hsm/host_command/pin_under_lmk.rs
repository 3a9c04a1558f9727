//! PINs under the local master key: digits only, one more than the PIN has.
//!
//! ```text
//! PIN            P P P P P P        4 to 12 digits
//! under the LMK  C C C C C C k      C = FF1 of P, tweak account ‖ length; k checks account ‖ C
//! ```
//! How a payShield encrypts them is not public: these have its layout and not its values, and go back to this
//! HSM only. FF1 (NIST SP 800-38G, revision 1) takes at least six digits. A shorter PIN gets zeros in front
//! and is encrypted until they are there again: a walk on the cycle of a permutation, whose inverse walks
//! back. The check digit is that of ISO/IEC 7064, MOD 11,10: any one altered digit is found, of PIN or
//! account, and nine in ten of all else.

use super::code::Code;
use super::fields::Fields;
use super::key::Role;
use super::pin::{EncryptedPin, account, format, side};
use super::{Answer, Commands, HostHsm};
use crate::hsm::HsmError;
use crate::hsm::aes::hmac_sha256;
use crate::hsm::pin::block::{AccountField, Pin, PinFormat};
use crate::hsm::pin::policy::{self, AccountChange, Recipient};
use ::aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands =
    &[(b"JA", random_pin), (b"JC", from_terminal), (b"JE", from_zone), (b"JG", to_zone)];

/// Fewest digits that FF1 takes.
const FEWEST: usize = 6;
/// One try in a hundred ends the walk of a PIN of four digits: this many in vain are a defect, not chance.
const TRIES: usize = 20_000;
/// What tells this key from the others that are derived from the LMK.
const LABEL: &[u8] = b"PIN under the LMK";

/// What tells an account's reference number from a PIN, whose tweak is digits.
const REFERENCE: &[u8] = b"reference number";

/// The PIN block format that a PIN under the LMK is like, bound to an account as it is: or two commands would
/// make the translation that one is refused (PCI PIN 3-3). By an offset (`BK`, then `EE`) an issuer still gives one
/// account's PIN to another with the same last five digits; who does not issue switches these commands off.
const LIKE: PinFormat = PinFormat::Iso0;

/// Encrypts PINs. Prints nothing of itself.
pub(crate) struct PinCipher(FF1<Aes256>);

/// Decimal digits, 0 to 9 each.
type Digits = Zeroizing<Vec<u16>>;

impl PinCipher {
    /// Derives the key.
    pub(crate) fn new(lmk: &[u8; 32]) -> Result<Self, HsmError> {
        let key = hmac_sha256(lmk, LABEL);
        FF1::new(key.as_slice(), 10).map(Self).map_err(|_| HsmError::Failure("FF1"))
    }

    /// Encrypts a PIN: its characters, one more than its digits.
    pub(crate) fn seal(&self, pin: &Pin, account: AccountField) -> Result<String, Code> {
        let zeros = FEWEST.saturating_sub(pin.length());
        let digits = std::iter::repeat_n(0, zeros).chain(pin.digits().iter().copied().map(u16::from));
        let tweak = tweak(account, pin.length());
        let sealed = walk(Zeroizing::new(digits.collect()), zeros, |digits| {
            self.0.encrypt(&tweak, &FlexibleNumeralString::from(digits.to_vec())).map(Vec::from)
        })?;
        let sealed = sealed.iter().skip(zeros).filter_map(|digit| u8::try_from(*digit).ok());
        let sealed = sealed.collect::<Vec<_>>();
        let check = check_digit(account.digits().iter().chain(&sealed));
        Ok(sealed.into_iter().chain([check]).map(|digit| char::from(digit | b'0')).collect())
    }

    /// A number of as many digits that stands for an account.
    pub(crate) fn reference(&self, account: AccountField) -> Result<String, Code> {
        let digits = account.digits().iter().copied().map(u16::from).collect::<Vec<_>>();
        let number = self.0.encrypt(REFERENCE, &FlexibleNumeralString::from(digits));
        let number = number.map_err(|_| Code::FAILURE)?;
        let digits = Vec::from(number).into_iter().filter_map(|digit| u8::try_from(digit).ok());
        Ok(digits.map(|digit| char::from(digit | b'0')).collect())
    }

    /// Decrypts a PIN: [`Code::LMK_PIN`] when it is altered or another account's.
    pub(crate) fn open(&self, text: &str, account: AccountField) -> Result<Pin, Code> {
        let digits = text.bytes().map(|digit| digit & 0x0F).collect::<Vec<_>>();
        let (check, sealed) = digits.split_last().ok_or(Code::INPUT)?;
        if !(4..=12).contains(&sealed.len()) || check_digit(account.digits().iter().chain(sealed)) != *check {
            return Err(Code::LMK_PIN);
        }
        let zeros = FEWEST.saturating_sub(sealed.len());
        let tweak = tweak(account, sealed.len());
        let digits = std::iter::repeat_n(0, zeros).chain(sealed.iter().copied().map(u16::from));
        let pin = walk(Zeroizing::new(digits.collect()), zeros, |digits| {
            self.0.decrypt(&tweak, &FlexibleNumeralString::from(digits.to_vec())).map(Vec::from)
        })?;
        let pin = pin.iter().skip(zeros).map(|digit| u8::try_from(*digit).unwrap_or_default());
        Pin::of_digits(pin).map_err(Code::from)
    }
}

/// Turns digits until as many zeros stand in front as did.
fn walk<E>(
    mut digits: Digits,
    zeros: usize,
    turn: impl Fn(&Digits) -> Result<Vec<u16>, E>,
) -> Result<Digits, Code> {
    for _ in 0..TRIES {
        digits = turn(&digits).map(Zeroizing::new).map_err(|_| Code::FAILURE)?;
        if digits.iter().take(zeros).all(|digit| *digit == 0) {
            return Ok(digits);
        }
    }
    Err(Code::FAILURE)
}

/// The account's digits and the PIN's length.
fn tweak(account: AccountField, length: usize) -> Vec<u8> {
    account.digits().iter().copied().chain(u8::try_from(length)).collect()
}

/// The check digit behind others (ISO/IEC 7064, MOD 11,10).
fn check_digit<'a>(digits: impl Iterator<Item = &'a u8>) -> u8 {
    let product = digits.fold(10, |product, digit| match (product + digit) % 10 {
        0 => 20 % 11,
        sum => 2 * sum % 11,
    });
    (11 - product) % 10
}

impl<'a> Fields<'a> {
    /// A PIN under the LMK, which is what so many other characters leave of a command.
    pub(super) fn sealed_pin(&mut self, behind: usize) -> Result<&'a str, Code> {
        self.digits(self.leaves(behind)?)
    }

    /// A PIN in clear and what fills it, as long as so many other characters leave of a command.
    pub(super) fn filled_pin(&mut self, behind: usize) -> Result<&'a str, Code> {
        self.hex_digits(self.leaves(behind)?)
    }

    /// How many characters so many others at the end leave.
    fn leaves(&self, behind: usize) -> Result<usize, Code> {
        let rest = self.clone().octets(self.left())?;
        let end = rest.iter().position(|octet| matches!(octet, b'%' | 0x19)).unwrap_or(rest.len());
        end.checked_sub(behind).ok_or(Code::INPUT)
    }
}

/// `JA`: account (12), length (2) → PIN under the LMK.
fn random_pin(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let (account, length) = (account(fields)?, fields.number(2)?);
    hsm.lmk(fields.end()?)?;
    if !(4..=12).contains(&length) {
        return Err(Code::CHECK_LENGTH);
    }
    // Octets below 250 only, so that no digit is likelier than another; 64 hold 12 of them.
    let drawn = Zeroizing::new(hsm.draw::<64>()?);
    let digits = drawn.iter().filter(|octet| **octet < 250).map(|octet| octet % 10).take(length);
    let pin = Pin::of_digits(digits).ok().filter(|pin| pin.length() == length).ok_or(Code::FAILURE)?;
    Ok(Answer::done(hsm.lmks.pins().seal(&pin, account)?))
}

/// `JC`: TPK, PIN block (16), format (2), account (12) → PIN under the LMK.
fn from_terminal(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    to_lmk(hsm, fields, &Role::TPK)
}

/// `JE`: the same under a ZPK.
fn from_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    to_lmk(hsm, fields, &Role::ZPK_SOURCE)
}

fn to_lmk(hsm: &HostHsm, fields: &mut Fields<'_>, role: &Role) -> Result<Answer, Code> {
    let key = fields.key()?;
    let block = fields.hex_array()?;
    let encrypted = EncryptedPin { block, format: format(fields)?, account: account(fields)? };
    hsm.lmk(fields.end()?)?;
    policy::permits(encrypted.format, LIKE, AccountChange::Same, Recipient::Host)?;
    let pin = encrypted.open(hsm.lmks.open(key, role)?.des()?.as_ref())?;
    Ok(Answer::done(hsm.lmks.pins().seal(&pin, encrypted.account)?))
}

/// `JG`: ZPK, format (2), account (12), PIN under the LMK → PIN block.
fn to_zone(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let key = fields.key()?;
    let (format, account) = (format(fields)?, account(fields)?);
    let sealed = fields.sealed_pin(0)?;
    hsm.lmk(fields.end()?)?;
    let zpk = hsm.lmks.open(key, &Role::ZPK_DESTINATION).and_then(|key| key.des());
    let zpk = zpk.map_err(Code::of_destination)?;
    policy::permits(LIKE, format, AccountChange::Same, Recipient::Host)?;
    let pin = hsm.lmks.pins().open(sealed, account)?;
    let block = side(&zpk, format, account).seal(&pin, hsm.fill(format)?)?;
    Ok(Answer::done(hex::encode_upper(block.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, codes, transcript, written};
    use super::*;
    use crate::hsm::judges;
    use crate::hsm::key_block::thales::test_lmk;

    fn field(digits: &str) -> AccountField {
        AccountField::parse(digits).unwrap()
    }

    /// Devices have 0258743 for this PIN and account.
    #[test]
    fn a_pin_goes_under_the_lmk_and_back_as_it_was() {
        for (command, key, block, account) in [
            ("JE", "ZPK1", "AD72F973446E84E7", "850103093936"),
            ("JE", "ZPK1", "FC99D994F1D3D3B8", "600000000000"),
            ("JC", "TPK", "E57BC634D4717907", "600000000000"),
        ] {
            let answer = ask(&written(&format!("{command} {key} {block} 01 {account} %01")));
            let sealed = answer.get(4..).unwrap();
            assert_eq!((&answer[2..4], sealed.len()), ("00", 7), "{answer}");
            let zone = if command == "JC" { "FC99D994F1D3D3B8" } else { block };
            transcript(&[(&format!("JG ZPK1 01 {account} {sealed} %01"), &format!("JH 00 {zone}"))]);
        }
    }

    #[test]
    fn every_pin_comes_back_and_no_altered_digit_passes() {
        let cipher = PinCipher::new(&test_lmk::AES).unwrap();
        let mut chance = judges::Chance::new(1410);
        for round in 0..300 {
            let digits = chance.digits(4 + round % 9);
            let account = chance.digits(12);
            let sealed = cipher.seal(&Pin::parse(&digits).unwrap(), field(&account)).unwrap();
            assert_eq!(sealed.len(), digits.len() + 1);
            assert!(cipher.open(&sealed, field(&account)).unwrap().is(&digits), "{digits} {account}");
            let altered = |text: &str, at: usize| {
                let mut octets = text.as_bytes().to_vec();
                octets[at] = b'0' + (octets[at] - b'0' + 1 + round as u8 % 9) % 10;
                String::from_utf8(octets).unwrap()
            };
            for at in 0..sealed.len() {
                let other = cipher.open(&altered(&sealed, at), field(&account));
                assert_eq!(other.err(), Some(Code::LMK_PIN), "{sealed} {at}");
            }
            for at in 0..12 {
                let other = cipher.open(&sealed, field(&altered(&account, at)));
                assert_eq!(other.err(), Some(Code::LMK_PIN), "{account} {at}");
            }
        }
    }

    #[test]
    fn every_pin_of_four_digits_has_its_own_value() {
        let cipher = PinCipher::new(&test_lmk::AES).unwrap();
        let seal = |pin: u32, account| {
            cipher.seal(&Pin::parse(&format!("{pin:04}")).unwrap(), field(account)).unwrap()
        };
        let found = (0..200).map(|pin| seal(pin, "850103093936")).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(found.len(), 200);
        let others = (0..200).filter(|pin| !found.contains(&seal(*pin, "600000000000"))).count();
        assert!(others > 180, "{others}");
    }

    #[test]
    fn check_digits_are_those_of_the_standard() {
        // Of ISO/IEC 7064 itself: 0794 with 5.
        for (digits, check) in [("0794", 5), ("", 1)] {
            let digits = digits.bytes().map(|digit| digit & 0x0F).collect::<Vec<_>>();
            assert_eq!(check_digit(digits.iter()), check);
        }
    }

    #[test]
    fn a_pin_is_drawn_of_the_length_that_is_asked_for() {
        let mut found = std::collections::BTreeSet::new();
        for length in (4..=12).chain([12; 20]) {
            let answer = ask(&written(&format!("JA 850103093936 {length:02}")));
            assert_eq!((&answer[..4], answer.len()), ("JB00", 5 + length), "{answer}");
            let sealed = &answer[4..];
            assert_eq!(&ask(&written(&format!("JG ZPK1 47 850103093936 {sealed}")))[..4], "JH00");
            found.insert(answer);
        }
        assert!(found.len() > 25);
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        codes(&[
            ("JA 850103093936 03", "81"),
            ("JA 850103093936 13", "81"),
            ("JA 85010309393 04", "15"),
            ("JA 850103093936 04 %03", "13"),
            ("JC TPK2 E57BC634D4717907 01 600000000000", "20"),
            ("JC CVK FC99D994F1D3D3B8 01 600000000000", "A6"),
            ("JC TPK E57BC634D4717907 02 600000000000", "69"),
            ("JC TPK E57BC634D4717907 00 600000000000", "23"),
            ("JC TPK E57BC634D4717907 01 60000000000", "15"),
            ("JC U8463435FC4B4DAA0C49025272C29B12D 6428EB94035AF53B 01 550000025321", "10"),
            ("JE TPK E57BC634D4717907 01 600000000000", "A6"),
            ("JG TPK 01 850103093936 0258743", "A6"),
            ("JG U1EF828AA8F6B80EB83E19FBC373F3A84 01 850103093936 0258743", "11"),
            // As between PIN blocks.
            ("JE ZPK1 AD72F973446E84E7 34 850103093936", "69"),
            ("JG ZPK1 05 850103093936 0258743", "69"),
            ("JG ZPK1 34 850103093936 0258743", "69"),
            // Of the wrong length for a PIN.
            ("JG ZPK1 01 850103093936 0258", "14"),
            ("JG ZPK1 01 850103093936 02587430258743", "14"),
            ("JG ZPK1 01 850103093936", "15"),
            ("JG ZPK1 01 850103093936 025874A", "15"),
        ]);
    }
}
