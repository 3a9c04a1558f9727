//! ISO 8583:1987 in ASCII: the words of each transaction. Pure.

use super::batch::Kind;
use super::draft::Draft;
use super::keys::KeyError;
use super::outcome::Outcome;
use super::profile::ReversalForm;
use super::request::{Ask, Setting, card_fields, entry_mode};

/// MTI and DE 3.
const fn words(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::PreAuth => Some(("0100", "000000")),
        Kind::Balance => Some(("0100", "310000")),
        Kind::Sale => Some(("0200", "000000")),
        Kind::Void => Some(("0200", "020000")),
        Kind::Refund => Some(("0200", "200000")),
        Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::CompletionVoid
        | Kind::OfflineSale
        | Kind::Reversal
        | Kind::Network
        | Kind::Settlement => None,
    }
}

/// A payment message: 3 4 7 11 12 13 22 25 41 42 49, card data, 52 (and 64 or 128). A void names its
/// original in 37, 38 and 90, a linked refund in 37.
pub(super) fn payment(setting: &Setting<'_>, ask: &Ask<'_>) -> Result<Option<Draft>, KeyError> {
    let Some((mti, processing)) = words(ask.kind) else { return Ok(None) };
    let (keys, card) = (setting.keys()?, ask.presented(setting.profile.dialect));
    let mut draft = stamped(setting, mti);
    draft.text(3, processing).text(22, &entry_mode(&card)).text(25, "00");
    draft.text(12, &setting.now.strftime("%H%M%S").to_string());
    draft.text(13, &setting.now.strftime("%m%d").to_string());
    draft.text(49, &setting.profile.currency);
    if ask.kind != Kind::Balance {
        draft.text(4, &format!("{:012}", ask.minor));
    }
    card_fields(&mut draft, keys, &card)?;
    if let Some(block) = keys.pin_block(&card)? {
        draft.bytes(52, &block);
    }
    if let Some(original) = ask.original {
        draft.maybe(37, original.rrn.as_deref());
        if ask.kind == Kind::Void {
            draft.maybe(38, original.auth_code.as_deref()).text(90, &original_data(original));
        }
    }
    Ok(Some(draft))
}

/// A message with DE 7, 11, 41 and 42.
fn stamped(setting: &Setting<'_>, mti: &str) -> Draft {
    let mut draft = setting.draft(mti);
    draft.text(7, &setting.now.strftime("%m%d%H%M%S").to_string());
    draft
}

/// DE 90: MTI 4, STAN 6, DE 7 10, acquirer 11, forwarder 11.
fn original_data(original: &Outcome) -> String {
    let transmitted = original.transmitted.as_deref().unwrap_or_default();
    format!("{}{:06}{transmitted:0>10}{:022}", original.mti, original.stan, 0)
}

/// 0420 or 0400: the original without tracks, PIN block and chip data, named in DE 90.
pub(super) fn reversal(form: ReversalForm, request: &Draft) -> Draft {
    let mut draft = request.with_mti(match form {
        ReversalForm::Advice => "0420",
        ReversalForm::Request => "0400",
    });
    let stan = request.get(11).unwrap_or_default();
    let transmitted = request.get(7).unwrap_or_default();
    draft.remove(&[35, 36, 45, 52, 55, 64, 128]);
    draft.text(90, &format!("{}{stan:0>6}{transmitted:0>10}{:022}", request.mti(), 0));
    draft
}

/// 0800 with DE 70: 001 sign-on, 002 sign-off, 301 echo.
pub(super) fn network(setting: &Setting<'_>, code: &str) -> Draft {
    let mut draft = stamped(setting, "0800");
    draft.text(70, code);
    draft
}
