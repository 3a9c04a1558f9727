//! Card verification values.

use super::code::Code;
use super::fields::Fields;
use super::key::Role;
use super::{Answer, Commands, HostHsm};
use crate::hsm::card_verification::{CardDates, cvv, verify_cvv};
use crate::hsm::variant_lmk::KeyType;
use crate::transaction::Pan;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"CW", generate), (b"CY", verify)];

/// Card verification key that values are made with.
const CVK: Role = Role { types: &[KeyType::Cvk], usages: &[*b"C0"], modes: b"CG", is_for_pins: false };
/// The one that they are verified with.
const CVK_VERIFY: Role = Role { modes: b"CV", ..CVK };

/// Reads the card: account up to `;`, expiry (4), service code (3).
fn card(fields: &mut Fields<'_>) -> Result<(Pan, CardDates), Code> {
    let pan = Pan::parse(fields.until(b';')?).map_err(|_| Code::ACCOUNT)?;
    Ok((pan, CardDates { expiry: fields.array()?, service: fields.array()? }))
}

/// What a value is computed of, zeros behind it: one card, however the digits are parted into account, expiry and
/// service code.
fn digits(pan: &Pan, dates: CardDates) -> Zeroizing<Vec<u8>> {
    let mut digits = Zeroizing::new([pan.digits().as_bytes(), &dates.expiry, &dates.service].concat());
    digits.resize(32, b'0');
    digits
}

/// `CW`: CVK, account, `;`, expiry (4), service code (3) → CVV (3).
fn generate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let cvk = fields.key()?;
    let (pan, dates) = card(fields)?;
    hsm.lmk(fields.end()?)?;
    let cvk = hsm.lmks.open(cvk, &CVK)?.des()?;
    Ok(Answer::done(cvv(&cvk, &pan, dates)?))
}

/// `CY`: CVK, CVV (3), account, `;`, expiry (4), service code (3) → nothing.
fn verify(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let cvk = fields.key()?;
    let expected = fields.digits(3)?;
    let (pan, dates) = card(fields)?;
    hsm.lmk(fields.end()?)?;
    let opened = hsm.lmks.open(cvk, &CVK_VERIFY)?;
    let cvk = opened.des()?;
    hsm.verified(opened.name, [pan.digits().as_bytes(), &digits(&pan, dates)], || {
        verify_cvv(&cvk, &pan, dates, expected.as_bytes())?;
        Ok(Answer::done([]))
    })
}

#[cfg(test)]
mod tests {
    use super::super::HostHsm;
    use super::super::data::tests::wrapped;
    use super::super::transcripts::{transcript, written};

    #[test]
    fn values_are_those_of_a_device() {
        transcript(&[
            ("CW CVK 502265400089000092 ; 2010 620", "CX 00 181"),
            ("CY CVK 181 502265400089000092 ; 2010 620", "CZ 00"),
            ("CY CVK 181 502265400089000092 ; 2010 620 %01", "CZ 00"),
        ]);
    }

    #[test]
    fn values_are_the_published_ones() {
        let variant = "U9B4934384B19946B040CD702B4D58145";
        transcript(&[(&format!("CW {variant} 4123456789012345 ; 8701 101"), "CX 00 561")]);
        // Visa's example; the same card's CVV2 and iCVV.
        let cvk = wrapped(b"C0", b'T', "0123456789ABCDEFFEDCBA9876543210");
        for (service, value) in [("101", "561"), ("000", "636"), ("999", "651")] {
            transcript(&[
                (&format!("CW {cvk} 4123456789012345 ; 8701 {service}"), &format!("CX 00 {value}")),
                (&format!("CY {cvk} {value} 4123456789012345 ; 8701 {service}"), "CZ 00"),
            ]);
        }
    }

    /// Visa's example, whose value stays the same with its digits parted otherwise.
    #[test]
    fn digits_parted_otherwise_are_the_same_card() {
        let cvk = wrapped(b"C0", b'T', "0123456789ABCDEFFEDCBA9876543210");
        let hsm = HostHsm::with_test_keys(0).unwrap();
        for (card, code) in [
            ("560 4123456789012345;8701101", "01"),
            ("562 41234567890123458;7011010", "01"),
            ("563 412345678901234587;0110100", "01"),
            ("564 4123456789012345870;1101000", "01"),
            ("565 4123456789012345;8701101", "01"),
            ("561 41234567890123458;7011010", "39"),
            ("561 4123456789012345;8701101", "39"),
        ] {
            let answer = hsm.answer(&written(&format!("CY {cvk} {card}"))).unwrap();
            assert_eq!(&answer[2..], code.as_bytes(), "{card}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let single = wrapped(b"C0", b'D', "0123456789ABCDEF");
        let even = wrapped(b"C0", b'T', "0023456789ABCDEFFEDCBA9876543210");
        transcript(&[
            ("CY CVK 182 502265400089000092 ; 2010 620", "CZ 01"),
            ("CY CVK 181 502265400089000092 ; 2011 620", "CZ 01"),
            ("CY CVK 181 502265400089000092 ; 2010 621", "CZ 01"),
            (&format!("CW {even} 502265400089000092 ; 2010 620"), "CX 10"),
            (&format!("CY {even} 181 502265400089000092 ; 2010 620"), "CZ 10"),
            (&format!("CW {single} 502265400089000092 ; 2010 620"), "CX 27"),
            (&format!("CY {single} 181 502265400089000092 ; 2010 620"), "CZ 27"),
            ("CW CVK 502265400089000092 ; 2010 620 %09", "CX 13"),
            ("CW CVK 502265400089000092 2010 620", "CX 15"),
            ("CW CVK 502265400089000092 ; 2010 62", "CX 15"),
            ("CW CVK 502265400089000092 ; 2010 6200", "CX 15"),
            ("CW CVK 502265400089000092 ; 20A0 620", "CX 15"),
            ("CY CVK 18A 502265400089000092 ; 2010 620", "CZ 15"),
            ("CW CVK 50226540008 ; 2010 620", "CX 22"),
            ("CW CVK 50226540008900009A ; 2010 620", "CX 22"),
            ("CW Q", "CX 26"),
            ("CW TAK 502265400089000092 ; 2010 620", "CX A6"),
        ]);
    }
}
