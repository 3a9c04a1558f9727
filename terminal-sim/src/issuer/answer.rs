//! A verdict as an answer on the wire: the request's fields echoed, DE 38, 39, 54 and 55, a MAC.

use super::books::Verdict;
use super::rule::Rule;
use super::zone::Zone;
use iso8583_spec::{EncodeError, Encoder, View};

/// What an answer repeats of its request before DE 38, and after DE 39.
const ECHOED_FIRST: [u8; 7] = [2, 3, 4, 7, 11, 32, 37];
const ECHOED_LAST: [u8; 3] = [41, 42, 49];

/// The body of the answer to an authorization, a financial message, an advice or a reversal.
pub(super) fn card_answer(
    view: &View<'_>,
    verdict: &Verdict,
    rule: &Rule,
    zone: &Zone,
) -> Result<Vec<u8>, EncodeError> {
    let mut answer = Encoder::new(view.spec(), view.mti().response());
    let amount = rule.answered_minor.or(verdict.approved_minor).map(|minor| format!("{minor:012}"));
    for de in ECHOED_FIRST {
        match (&amount, view.text(de)) {
            (Some(amount), _) if de == 4 => answer.text(4, amount)?,
            (_, Some(text)) => answer.text(de, &text)?,
            (_, None) => {}
        }
    }
    if let Some(code) = &verdict.auth_code {
        answer.text(38, code)?;
    }
    answer.text(39, &verdict.code)?;
    for de in ECHOED_LAST {
        if let Some(text) = view.text(de) {
            answer.text(de, &text)?;
        }
    }
    if let Some((minor, currency)) = verdict.available {
        answer.text(54, &additional_amount(view, minor, &currency.to_string()))?;
    }
    if let Some(icc) = rule.icc.as_ref().and_then(|digits| hex::decode(digits).ok()) {
        answer.bytes(55, &icc)?;
    }
    finish(answer, view, zone, 64)
}

/// The body of the answer to a network management message.
pub(super) fn network_answer(view: &View<'_>, code: &str, zone: &Zone) -> Result<Vec<u8>, EncodeError> {
    let mut answer = Encoder::new(view.spec(), view.mti().response());
    for de in [7, 11] {
        if let Some(text) = view.text(de) {
            answer.text(de, &text)?;
        }
    }
    answer.text(39, code)?;
    let Some(text) = view.text(70) else { return finish(answer, view, zone, 64) };
    answer.text(70, &text)?;
    finish(answer, view, zone, 128)
}

fn finish(
    mut answer: Encoder<'_>,
    view: &View<'_>,
    zone: &Zone,
    mac_field: u8,
) -> Result<Vec<u8>, EncodeError> {
    if zone.macs_answer(view) {
        let mac = zone.mac(answer.mac_data(mac_field)?);
        answer.mac(&mac.unwrap_or_default())?;
    }
    answer.finish()
}

/// DE 54: account type (DE 3, digits 3 and 4), `02` for what is available, currency, C or D, twelve digits.
fn additional_amount(view: &View<'_>, minor: i64, currency: &str) -> String {
    let processing = view.text(3);
    let account = processing.as_deref().and_then(|code| code.get(2..4)).unwrap_or("00");
    let sign = if minor < 0 { 'D' } else { 'C' };
    format!("{account}02{currency}{sign}{:012}", minor.unsigned_abs().min(999_999_999_999))
}
