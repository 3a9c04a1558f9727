//! Classic EDC: the words of each transaction. Pure.

use super::batch::{Item, Kind, Totals, de63};
use super::draft::Draft;
use super::keys::KeyError;
use super::outcome::Outcome;
use super::profile::EdcCurrency;
use super::request::{Ask, Setting, card_fields, entry_mode};

/// MTI and DE 3. A void of a refund is 22x000.
fn words(ask: &Ask<'_>) -> Option<(&'static str, &'static str)> {
    match ask.kind {
        Kind::Sale => Some(("0200", "000000")),
        Kind::Void if ask.original.is_some_and(|original| original.kind == Kind::Refund) => {
            Some(("0200", "220000"))
        }
        Kind::Void => Some(("0200", "020000")),
        Kind::Refund => Some(("0200", "200000")),
        Kind::Balance => Some(("0100", "310000")),
        Kind::OfflineSale => Some(("0220", "000000")),
        Kind::PreAuth
        | Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::CompletionVoid
        | Kind::Reversal
        | Kind::Network
        | Kind::Settlement => None,
    }
}

/// A payment message: 3 4 11 22 24 25, 35 or 2 and 14, 41 42 52 55 62 (and 64). A void carries the
/// original's 12 13 37 38 and 62 instead of card data read anew; an advice 12 13 and 38.
pub(super) fn payment(setting: &Setting<'_>, ask: &Ask<'_>) -> Result<Option<Draft>, KeyError> {
    let Some((mti, processing)) = words(ask) else { return Ok(None) };
    let (keys, card) = (setting.keys()?, ask.presented(setting.profile.dialect));
    let mut draft = base(setting, mti, processing);
    draft.text(22, &entry_mode(&card)).text(25, "00");
    if ask.kind != Kind::Balance {
        draft.text(4, &format!("{:012}", ask.minor)).text(62, &format!("{:06}", setting.invoice));
    }
    match setting.profile.edc_currency {
        EdcCurrency::Sent => draft.text(49, &setting.profile.currency),
        EdcCurrency::Omitted => &mut draft,
    };
    card_fields(&mut draft, keys, &card)?;
    if let Some(block) = keys.pin_block(&card)? {
        draft.bytes(52, &block);
    }
    if ask.kind == Kind::Void
        && let Some(original) = ask.original
    {
        refer(&mut draft, original);
    }
    if ask.kind == Kind::OfflineSale {
        draft.text(12, &setting.now.strftime("%H%M%S").to_string());
        draft.text(13, &setting.now.strftime("%m%d").to_string()).maybe(38, ask.voice);
    }
    Ok(Some(draft))
}

fn refer(draft: &mut Draft, original: &Outcome) {
    draft.text(12, &original.time).text(13, &original.date);
    draft.maybe(37, original.rrn.as_deref()).maybe(38, original.auth_code.as_deref());
    draft.maybe(62, original.invoice.as_deref());
}

fn base(setting: &Setting<'_>, mti: &str, processing: &str) -> Draft {
    let mut draft = setting.draft(mti);
    draft.text(3, processing).text(24, &setting.profile.nii);
    draft
}

/// 0400: same STAN, the whole image without track and PIN block.
pub(super) fn reversal(request: &Draft) -> Draft {
    let mut draft = request.with_mti("0400");
    draft.remove(&[35, 52, 64]);
    draft
}

/// 0800 with DE 3 = 920000 (logon) or 990000 (test).
pub(super) fn network(setting: &Setting<'_>, processing: &str) -> Draft {
    base(setting, "0800", processing)
}

/// 0500 with DE 3 = 920000 (totals) or 960000 (after the upload): 60 batch, 62 invoice, 63 totals.
pub(super) fn settlement(setting: &Setting<'_>, totals: &Totals, processing: &str) -> Draft {
    let mut draft = base(setting, "0500", processing);
    draft.text(60, &format!("{:06}", setting.batch)).text(62, &format!("{:06}", setting.invoice));
    draft.text(63, &de63(totals));
    draft
}

/// Whether another item follows in an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// DE 3 ends in 1.
    More,
    /// The last one.
    Last,
}

/// 0320: one item. DE 3 as in the original, its last digit 1 when more follow; DE 60 = original MTI 4,
/// STAN 6, RRN 12; 37, 38, 39 of the answer; 62 its invoice.
pub(super) fn upload(setting: &Setting<'_>, item: &Item, follows: Follows) -> Draft {
    let mut draft = item.image.with_mti("0320");
    draft.text(11, &format!("{:06}", setting.stan)).text(2, &item.pan);
    draft.remove(&[55, 64]);
    let processing = item.image.get(3).and_then(|code| code.get(..5)).unwrap_or("00000");
    let last = match follows {
        Follows::More => '1',
        Follows::Last => '0',
    };
    draft.text(3, &format!("{processing}{last}")).text(4, &format!("{:012}", item.minor));
    draft.maybe(37, item.rrn.as_deref()).maybe(38, item.auth_code.as_deref());
    draft.text(39, &item.code);
    let rrn = item.rrn.as_deref().unwrap_or_default();
    draft.text(60, &format!("{}{:06}{rrn:0>12}", item.image.mti(), item.stan));
    draft
}
