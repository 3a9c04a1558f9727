//! Card verification values.

use super::code::Code;
use super::fields::Fields;
use super::key::Role;
use super::{Answer, Commands, HostHsm};
use crate::hsm::card_verification::{CardDates, cvv, verify_cvv};
use crate::hsm::variant_lmk::KeyType;
use crate::transaction::Pan;

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
    hsm.verified(opened.name, pan.digits().as_bytes(), || {
        verify_cvv(&cvk, &pan, dates, expected.as_bytes())?;
        Ok(Answer::done([]))
    })
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::wrapped;
    use super::super::transcripts::transcript;

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
        // Visa's example; the same card's CVV2 and iCVV.
        let cvk = wrapped(b"C0", b'T', "0123456789ABCDEFFEDCBA9876543210");
        for (service, value) in [("101", "561"), ("000", "636"), ("999", "651")] {
            transcript(&[
                (&format!("CW {cvk} 4123456789012345 ; 8701 {service}"), &format!("CX 00 {value}")),
                (&format!("CY {cvk} {value} 4123456789012345 ; 8701 {service}"), "CZ 00"),
            ]);
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
