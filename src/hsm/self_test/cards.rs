//! Card values.

use super::super::HsmError;
use super::super::card_verification::{self, CVV2_SERVICE, CardDates};
use super::super::des::DesKey;
use super::{K0, KnownAnswer, answer, fixed, octets, when};
use crate::transaction::Pan;

/// Visa's own example, Mastercard's sample card, the samples of other implementations.
pub(super) const ANSWERS: &[KnownAnswer] = &[
    answer("self-test of CVV", cvv, "353631363336"),
    answer(
        "self-test of CAVV",
        || {
            let key = DesKey::new(&octets("12345678123456781234567812345678")?)?;
            Ok(card_verification::cavv(&key, &pan("123456789012")?, *b"1108", *b"100")?.to_vec())
        },
        "343339",
    ),
    answer(
        "self-test of dCVV",
        || {
            let key = DesKey::new(&octets("9991C31043BFD9858016396CF24F0D6F")?)?;
            let dates = CardDates { expiry: *b"1228", service: *b"000" };
            Ok(card_verification::dcvv(&key, &pan("4012340000000016")?, dates, [0, 1])?.to_vec())
        },
        "333639",
    ),
    answer("self-test of CVC3", cvc3, "3330363837"),
];

fn pan(digits: &str) -> Result<Pan, HsmError> {
    Pan::parse(digits).map_err(|_| HsmError::Account)
}

fn cvv() -> Result<Vec<u8>, HsmError> {
    let (key, pan) = (DesKey::new(&octets(K0)?)?, pan("4123456789012345")?);
    let dates = CardDates { expiry: *b"8701", service: *b"101" };
    let found = card_verification::cvv(&key, &pan, dates)?;
    card_verification::verify_cvv(&key, &pan, dates, &found)?;
    let second = card_verification::cvv(&key, &pan, CardDates { service: CVV2_SERVICE, ..dates })?;
    let refused = card_verification::verify_cvv(&key, &pan, dates, &second).is_err();
    when(refused, [found, second].concat())
}

fn cvc3() -> Result<Vec<u8>, HsmError> {
    let key = DesKey::new(&octets("A3D0BC420A766611F7BC19E7F2E221AF")?)?;
    let iv = card_verification::ivcvc3(&key, &octets("5413123456784800D20061019000990000000F")?)?;
    Ok(card_verification::cvc3(&key, iv, fixed("00000899")?, fixed("005E")?)?.to_vec())
}
