//! PINs in clear, where they are permitted: for issuers that print them or take them from a custodian.

use super::code::Code;
use super::fields::Fields;
use super::pin::account;
use super::{Answer, Commands, HostHsm, Permit};
use crate::hsm::pin::block::Pin;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"BA", encrypt), (b"NG", decrypt)];

/// What fills a PIN in clear up to the length that it has under the LMK.
const FILL: char = 'F';

/// `BA`: PIN filled with F to at least one character more than its digits, account (12) → PIN under the LMK.
fn encrypt(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let filled = fields.filled_pin(12)?;
    let account = account(fields)?;
    hsm.lmk(fields.end()?)?;
    hsm.permits(Permit::ClearPins)?;
    let digits = filled.trim_end_matches(FILL);
    if digits.len() == filled.len() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Code::INPUT);
    }
    Ok(Answer::done(hsm.lmks.pins().seal(&Pin::parse(digits)?, account)?))
}

/// `NG`: account (12), PIN under the LMK → PIN filled with F to as many characters, reference number (12): a number
/// that stands for the account and does not show it.
fn decrypt(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let account = account(fields)?;
    let sealed = fields.sealed_pin(0)?;
    hsm.lmk(fields.end()?)?;
    hsm.permits(Permit::ClearPins)?;
    let pins = hsm.lmks.pins();
    let pin = pins.open(sealed, account)?;
    let digits = pin.digits().iter().map(|digit| digit | b'0');
    let mut answer = Zeroizing::new(digits.collect::<Vec<_>>());
    answer.resize(sealed.len(), b'F');
    Ok(Answer::done([answer.as_slice(), pins.reference(account)?.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::super::transcripts::{ask, codes, exchanges, written};
    use super::*;

    #[test]
    fn a_pin_in_clear_comes_back() {
        let rows = [
            ("1234", "850103093936"),
            ("0000", "850103093936"),
            ("300672", "850103093936"),
            ("123456789012", "600000000000"),
        ];
        for (pin, account) in rows {
            let made = ask(&written(&format!("BA {pin}F {account} %01")));
            let sealed = made.strip_prefix("BB00").unwrap();
            assert_eq!(sealed.len(), pin.len() + 1);
            let opened = ask(&written(&format!("NG {account} {sealed} %01")));
            let (found, reference) = opened.strip_prefix("NH00").unwrap().split_at(sealed.len());
            assert_eq!(found, format!("{pin}F"));
            assert!(reference.len() == 12 && reference != account, "{reference}");
            // However much it is filled.
            exchanges(&[(format!("BA {pin}FFF {account}"), &format!("BB 00 {sealed}"))]);
        }
        // The PIN of a device's block; the same account has the same reference number.
        let sealed = ask(&written("JE ZPK1 AD72F973446E84E7 01 850103093936"))[4..].to_owned();
        exchanges(&[("BA 300672F 850103093936".to_owned(), &format!("BB 00 {sealed}"))]);
        let reference = |pin: &str| {
            let sealed = ask(&written(&format!("BA {pin}F 850103093936")))[4..].to_owned();
            ask(&written(&format!("NG 850103093936 {sealed}")))[5 + pin.len()..].to_owned()
        };
        assert_eq!(reference("1234"), reference("98765"));
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        codes(&[
            ("BA 1234 850103093936", "15"),
            ("BA 12F4F 850103093936", "15"),
            ("BA 123AF 850103093936", "15"),
            ("BA 123F 850103093936", "24"),
            ("BA 1234567890123F 850103093936", "24"),
            ("BA 1234F 85010309393A", "15"),
            ("BA 1234F 850103093936 %09", "13"),
            ("NG 850103093936 1234", "14"),
            ("NG 850103093936 12A45", "15"),
            ("NG 85010309393", "15"),
        ]);
        let sealed = ask(&written("BA 1234F 850103093936"))[4..].to_owned();
        codes(&[(&format!("NG 850103093937 {sealed}"), "14")]);
        // Where it is not permitted there is no PIN in clear.
        let hsm = HostHsm::with_test_keys(0).unwrap();
        for command in ["BA1234F850103093936".to_owned(), format!("NG850103093936{sealed}")] {
            assert_eq!(&hsm.answer(command.as_bytes()).unwrap()[2..], b"17");
        }
    }
}
