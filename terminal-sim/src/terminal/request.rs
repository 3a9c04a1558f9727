//! What all three dialects share when a terminal words a request: its inputs and its parts.
//!
//! Pure. The dialects themselves are in their own files; none of them touches a socket.

use jiff::civil::DateTime;

use super::batch::{Item, Kind};
use super::draft::Draft;
use super::keys::{KeyError, WorkingKeys};
use super::outcome::Outcome;
use super::profile::{Card, Dialect, Entry, TerminalProfile};
use super::{ascii, edc, unionpay};

/// What the operator asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) kind: Kind,
    pub(super) card: &'a Card,
    /// Minor units; 0 in a balance inquiry.
    pub(super) minor: i64,
    /// The transaction referred to.
    pub(super) original: Option<&'a Outcome>,
    /// Authorisation id got by voice (offline sale).
    pub(super) voice: Option<&'a str>,
}

impl Ask<'_> {
    /// The card as this transaction uses it: no PIN for a refund; number and expiry alone, without PIN,
    /// for an advice and for an EDC void, which are worded when the card may be gone.
    pub(super) fn presented(&self, dialect: Dialect) -> Card {
        let card = self.card.clone();
        if self.kind.is_advice() || (self.kind == Kind::Void && dialect == Dialect::Edc) {
            return Card { entry: Entry::Keyed, ..card.without_pin() };
        }
        if self.kind == Kind::Refund { card.without_pin() } else { card }
    }
}

/// The terminal's side of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) profile: &'a TerminalProfile,
    pub(super) keys: Option<&'a WorkingKeys>,
    pub(super) stan: u32,
    pub(super) batch: u32,
    pub(super) invoice: u32,
    pub(super) now: DateTime,
}

impl<'a> Setting<'a> {
    /// The working keys.
    pub(super) fn keys(&self) -> Result<&'a WorkingKeys, KeyError> {
        self.keys.ok_or(KeyError::Missing)
    }

    /// A message with DE 11, 41 and 42.
    pub(super) fn draft(&self, mti: &str) -> Draft {
        let mut draft = Draft::new(mti);
        draft.text(11, &format!("{:06}", self.stan));
        draft.text(41, &self.profile.tid).text(42, &self.profile.mid);
        draft
    }
}

/// The request in the terminal's dialect, or `None` when the dialect has no such message.
pub(super) fn payment(setting: &Setting<'_>, ask: &Ask<'_>) -> Result<Option<Draft>, KeyError> {
    match setting.profile.dialect {
        Dialect::UnionPay => unionpay::payment(setting, ask),
        Dialect::Edc => edc::payment(setting, ask),
        Dialect::Ascii => ascii::payment(setting, ask),
    }
}

/// The reversal of a request, as it is saved before the request leaves. The reason may change later.
pub(super) fn reversal(profile: &TerminalProfile, request: &Draft) -> Draft {
    match profile.dialect {
        Dialect::UnionPay => unionpay::reversal(request),
        Dialect::Edc => edc::reversal(request),
        Dialect::Ascii => ascii::reversal(profile.reversal_form, request),
    }
}

/// A message's MTI when it is sent again. UnionPay terminals mark no repeats.
pub(super) fn repeated(dialect: Dialect, draft: &Draft) -> Draft {
    match dialect {
        Dialect::UnionPay => draft.clone(),
        Dialect::Edc | Dialect::Ascii => {
            let base = draft.mti().get(..3).unwrap_or_default();
            draft.with_mti(&format!("{base}1"))
        }
    }
}

/// Whether a message carries a MAC: authorizations, financial messages, reversals; UnionPay notices.
pub(super) fn carries_mac(dialect: Dialect, draft: &Draft) -> bool {
    match draft.mti().as_bytes().get(1) {
        Some(b'1' | b'2' | b'4') => true,
        Some(b'3') => {
            let network_code = draft.get(60).and_then(|text| text.get(8..11));
            dialect == Dialect::UnionPay && network_code == Some("000") && !draft.has(48)
        }
        _ => false,
    }
}

/// Card data by entry: DE 35 from the stripe; DE 2 and 14 when keyed; all of them, DE 23 and DE 55
/// from the chip.
pub(super) fn card_fields(draft: &mut Draft, keys: &WorkingKeys, card: &Card) -> Result<(), KeyError> {
    match card.entry {
        Entry::Swiped => {
            draft.text(35, &keys.track2(card)?);
        }
        Entry::Keyed => {
            draft.text(2, &card.pan).text(14, &card.expiry);
        }
        Entry::Chip => {
            draft.text(2, &card.pan).text(14, &card.expiry).text(35, &keys.track2(card)?);
            draft.maybe(23, card.sequence.as_deref());
            if let Some(icc) = &card.icc {
                draft.bytes(55, icc);
            }
        }
    }
    Ok(())
}

/// DE 22: how the card was read, and whether a PIN was typed (1) or not (2).
pub(super) fn entry_mode(card: &Card) -> String {
    format!("{}{}", card.entry.mode(), if card.pin.is_some() { '1' } else { '2' })
}

/// The item that an approved request leaves in the batch.
pub(super) fn item(ask: &Ask<'_>, request: &Draft, outcome: &Outcome) -> Item {
    Item {
        kind: ask.kind,
        stan: outcome.stan,
        minor: outcome.amount,
        pan: ask.card.pan.clone(),
        entry: ask.card.entry,
        rrn: outcome.rrn.clone(),
        auth_code: outcome.auth_code.clone(),
        code: outcome.code.clone(),
        image: request.image(),
        voids: ask.original.filter(|_| ask.kind.is_void()).map(|original| original.stan),
        voided: false,
    }
}
