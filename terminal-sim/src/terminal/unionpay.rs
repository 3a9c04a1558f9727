//! UnionPay POS: the words of each transaction. Pure.
//!
//! The four of MTI, DE 3, DE 25 and DE 60.1 select a transaction; they are a table here.

use super::batch::{Item, Kind, Totals, de48_half};
use super::draft::Draft;
use super::keys::{KeyError, WorkingKeys};
use super::outcome::Outcome;
use super::profile::{KeyForm, PartialApproval, TerminalProfile};
use super::request::{Ask, Setting, card_fields, entry_mode};

/// MTI, DE 3, DE 25, DE 60.1.
struct Words {
    mti: &'static str,
    processing: &'static str,
    condition: &'static str,
    class: &'static str,
}

const fn words(kind: Kind) -> Option<Words> {
    let (mti, processing, condition, class) = match kind {
        Kind::Balance => ("0200", "310000", "00", "01"),
        Kind::Sale => ("0200", "000000", "00", "22"),
        Kind::Void => ("0200", "200000", "00", "23"),
        Kind::Refund => ("0220", "200000", "00", "25"),
        Kind::PreAuth => ("0100", "030000", "06", "10"),
        Kind::PreAuthCancel => ("0100", "200000", "06", "11"),
        Kind::Completion => ("0200", "000000", "06", "20"),
        Kind::CompletionAdvice => ("0220", "000000", "06", "24"),
        Kind::CompletionVoid => ("0200", "200000", "06", "21"),
        Kind::OfflineSale => ("0220", "000000", "00", "30"),
        Kind::Reversal | Kind::Network | Kind::Settlement => return None,
    };
    Some(Words { mti, processing, condition, class })
}

/// A payment message. Base: 3 11 22 25 41 42 49 60 (and 64), card data; 26, 52, 53 with a PIN.
pub(super) fn payment(setting: &Setting<'_>, ask: &Ask<'_>) -> Result<Option<Draft>, KeyError> {
    let Some(words) = words(ask.kind) else { return Ok(None) };
    let (keys, card) = (setting.keys()?, ask.presented(setting.profile.dialect));
    let mut draft = setting.draft(words.mti);
    draft.text(3, words.processing).text(22, &entry_mode(&card)).text(25, words.condition);
    draft.text(49, &setting.profile.currency);
    draft.text(60, &de60(setting.profile, setting.batch, words.class));
    if ask.kind != Kind::Balance {
        draft.text(4, &format!("{:012}", ask.minor));
    }
    card_fields(&mut draft, keys, &card)?;
    if let Some(block) = keys.pin_block(&card)? {
        draft.text(26, "12").bytes(52, &block);
    }
    let security = de53(&draft, keys);
    draft.maybe(53, security.as_deref());
    refer(&mut draft, ask);
    Ok(Some(draft))
}

/// DE 60: type 2, batch 6, network code 3, reader capability 5 (magnetic and contact), IC condition
/// 0, partial approval.
fn de60(profile: &TerminalProfile, batch: u32, class: &str) -> String {
    let partial = match profile.partial {
        PartialApproval::Refused => '0',
        PartialApproval::Accepted => '1',
    };
    format!("{class}{batch:06}00050{partial}")
}

/// DE 53: PIN format (2: with PAN), algorithm (6: triple DES), track flag, zeros. Only with a PIN
/// or an encrypted track.
fn de53(draft: &Draft, keys: &WorkingKeys) -> Option<String> {
    let format = if draft.has(52) { '2' } else { '0' };
    let algorithm = if keys.is_single() { '0' } else { '6' };
    let track = if draft.has(35) && keys.encrypts_tracks() { '1' } else { '0' };
    (draft.has(52) || track == '1').then(|| format!("{format}{algorithm}{track}{}", "0".repeat(13)))
}

/// DE 37, 38, 61 and 63: which earlier transaction is meant.
fn refer(draft: &mut Draft, ask: &Ask<'_>) {
    draft.maybe(38, ask.voice);
    let Some(original) = ask.original else { return };
    let de61 = format!("{:06}{:06}", original.batch, original.stan);
    let dated = format!("{de61}{}", original.date);
    match ask.kind {
        Kind::Void => {
            draft.maybe(37, original.rrn.as_deref()).maybe(38, original.auth_code.as_deref());
            draft.text(61, &de61);
        }
        Kind::Refund => {
            draft.maybe(37, original.rrn.as_deref()).text(61, &dated).text(63, "000");
        }
        Kind::PreAuthCancel | Kind::Completion | Kind::CompletionAdvice => {
            draft.maybe(38, original.auth_code.as_deref()).text(61, &dated);
        }
        Kind::CompletionVoid => {
            draft.maybe(37, original.rrn.as_deref()).maybe(38, original.auth_code.as_deref());
            draft.text(61, &dated);
        }
        Kind::Balance
        | Kind::Sale
        | Kind::PreAuth
        | Kind::OfflineSale
        | Kind::Reversal
        | Kind::Network
        | Kind::Settlement => {}
    }
}

/// 0400: the original without DE 35, 36, 52, 26, 53, 37 and 62, with the reason in DE 39. A
/// swiped card leaves neither PAN nor track in it. DE 55 shrinks to 95, 9F1E, 9F10, 9F36, DF31.
pub(super) fn reversal(request: &Draft) -> Draft {
    let mut draft = request.with_mti("0400");
    draft.remove(&[35, 36, 52, 26, 53, 37, 62, 64]).text(39, "98");
    let icc = request.get(55).and_then(|text| hex::decode(text).ok()).map(|icc| reversal_icc(&icc));
    match icc {
        Some(icc) if !icc.is_empty() => draft.bytes(55, &icc),
        Some(_) | None => draft.remove(&[55]),
    };
    draft
}

/// The tags that a reversal's DE 55 keeps, in the order they came.
fn reversal_icc(icc: &[u8]) -> Vec<u8> {
    const KEPT: [&[u8]; 5] = [&[0x95], &[0x9F, 0x1E], &[0x9F, 0x10], &[0x9F, 0x36], &[0xDF, 0x31]];
    let mut kept = Vec::new();
    let mut rest = icc;
    while let Some((tag, whole, behind)) = next_tag(rest) {
        if KEPT.contains(&tag) {
            kept.extend_from_slice(whole);
        }
        rest = behind;
    }
    kept
}

/// One BER-TLV element: its tag, all of it, what follows. Tags of one or two octets, lengths up to
/// 127: all that DE 55 of a request holds.
fn next_tag(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let tag_octets = if data.first()? & 0x1F == 0x1F { 2 } else { 1 };
    let (tag, _) = data.split_at_checked(tag_octets)?;
    let length = usize::from(*data.get(tag_octets)?);
    let (whole, behind) = data.split_at_checked(tag_octets + 1 + length)?;
    Some((tag, whole, behind))
}

/// 0800 with 60.3 = 001, 003 or 004: sign-on. 11 41 42 60 63.
pub(super) fn sign_on(setting: &Setting<'_>, form: KeyForm) -> Draft {
    let mut draft = setting.draft("0800");
    draft.text(60, &network(setting.batch, form.code())).text(63, &setting.profile.operator);
    draft
}

/// 0820 with 60.3 = 002: sign-off. 11 41 42 60.
pub(super) fn sign_off(setting: &Setting<'_>) -> Draft {
    let mut draft = setting.draft("0820");
    draft.text(60, &network(setting.batch, "002"));
    draft
}

/// 0820 with 60.3 = 301: echo. 41 42 60.
pub(super) fn echo(setting: &Setting<'_>) -> Draft {
    let mut draft = setting.draft("0820");
    draft.remove(&[11]).text(60, &network(setting.batch, "301"));
    draft
}

/// DE 60 of a message without a card: type 00, batch, network code.
fn network(batch: u32, code: &str) -> String {
    format!("00{batch:06}{code}")
}

/// 0500: 11 41 42 48 49 60 63. DE 48: domestic totals, then foreign ones (none here).
pub(super) fn settlement(setting: &Setting<'_>, totals: &Totals) -> Draft {
    let mut draft = setting.draft("0500");
    let foreign = de48_half(&Totals::default(), '0');
    draft.text(48, &format!("{}{foreign}", de48_half(totals, '0')));
    draft.text(49, &setting.profile.currency).text(60, &network(setting.batch, "201"));
    draft.text(63, &setting.profile.operator);
    draft
}

/// 0320 with 60.3 = 201: up to eight magnetic items. Each: type 00, STAN 6, PAN 20, amount 12.
pub(super) fn upload(setting: &Setting<'_>, items: &[&Item]) -> Draft {
    let mut de48 = format!("{:02}", items.len());
    for item in items {
        de48 += &format!("00{:06}{:0>20}{:012}", item.stan, item.pan, item.minor);
    }
    let mut draft = setting.draft("0320");
    draft.text(48, &de48).text(60, &network(setting.batch, "201"));
    draft
}

/// 0320 of a refund or an advice: the original's image under the other MTI, PAN in place of the track.
pub(super) fn upload_notice(item: &Item) -> Draft {
    let mut draft = item.image.with_mti("0320");
    draft.text(2, &item.pan);
    draft
}

/// 0320 of a sale by chip: 2 4 11 22 23 41 42 55 60 62, 60.3 = 203 when totals agreed, else 205. No
/// public source tells what DE 62 holds here; the RRN stands in it.
pub(super) fn upload_chip(setting: &Setting<'_>, item: &Item, code: &str) -> Draft {
    let mut draft = item.image.with_mti("0320");
    draft.remove(&[3, 14, 25, 37, 38, 39, 49, 61, 63]).text(2, &item.pan);
    draft.text(60, &network(setting.batch, code));
    draft.bytes(62, item.rrn.as_deref().unwrap_or_default().as_bytes());
    draft
}

/// 0320 with 60.3 = 207 when totals agreed, else 202: the end of the upload, with the count of all
/// that went up.
pub(super) fn upload_end(setting: &Setting<'_>, count: u32, code: &str) -> Draft {
    let mut draft = setting.draft("0320");
    draft.text(48, &format!("{count:04}")).text(60, &network(setting.batch, code));
    draft
}

/// The batch that a sign-on answer assigns: DE 60.2.
pub(super) fn assigned_batch(outcome: &Outcome) -> Option<u32> {
    outcome.reply.get(60)?.get(2..8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reversal_keeps_five_tags_of_the_chip() {
        let rows = [
            ("", ""),
            ("9F2608A1A2A3A4A5A6A7A8950500000080009F360200429A03261123", "950500000080009F36020042"),
            ("9F1E0431323334DF310101", "9F1E0431323334DF310101"),
            // A length beyond the end ends the list.
            ("9505000000800095FF00", "95050000008000"),
            ("9F", ""),
        ];
        for (icc, want) in rows {
            let kept = reversal_icc(&hex::decode(icc).unwrap());
            assert_eq!(hex::encode_upper(kept), want, "{icc}");
        }
    }
}
