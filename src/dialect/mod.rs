//! How each dialect says a payment: view → [`Request`], [`Reply`] → bytes, [`Refusal`] → DE 39.
//!
//! A terminal dialect is data: a table of its transactions, a table of its response codes, a
//! table of the fields its replies carry, and a policy. What cannot be a table (DE 48, 60, 61,
//! 62, 63) is a small function in the dialect's own file. No I/O, no keys, no store.

mod edc;
mod iso87;
pub mod issuer;
mod reply;
mod unionpay;
pub mod zone_key;

pub use edc::EDC;
pub use iso87::ISO87_ASCII;
pub use unionpay::UNIONPAY_POS;

use crate::transaction::{
    Amount, AuthCode, BatchNo, CardData, Currency, Decision, Expiry, Kind, MacAlgorithm, Mid, NetworkRequest,
    NetworkVerb, Pan, PaymentRequest, PinEntry, ProcessingCode, Refusal, Reply, Request, ResponseCode,
    ReversalRequest, Rrn, SettlementRequest, Stan, TerminalDialect, Tid, UploadEnd, UploadRequest,
};
use iso8583_spec::{EncodeError, Encoder, Spec, View};
use zeroize::Zeroizing;

/// Why a message is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// What the terminal is told.
    pub refusal: Refusal,
    /// The field at fault, 0 when it is the message as a whole.
    pub field: u8,
}

impl Unread {
    const fn format(field: u8) -> Self {
        Self { refusal: Refusal::Format, field }
    }
}

/// Whether a message carries a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacRule {
    /// Without one it is refused.
    Required,
    /// Checked when it is there.
    IfPresent,
    /// Never.
    None,
}

/// What a finished request is answered when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// Refused as a duplicate, unless the MTI says that it is a repeat.
    Refuse,
    /// Answered as it was the first time.
    Replay,
}

/// How a dialect's terminals count their batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Voids are counted beside what they void.
    Gross,
    /// A voided transaction is not counted, nor is its void.
    Net,
}

/// Points on which dialects differ without differing in form.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// A finished plain request that comes again.
    pub on_duplicate: OnDuplicate,
    /// A reversal whose original is unknown is answered as if it had been undone.
    pub unknown_reversal_accepted: UnknownReversal,
    /// How totals are counted.
    pub counting: Counting,
    /// What closes a batch whose totals agree.
    pub closes_when_balanced: ClosesWhenBalanced,
    /// How messages are authenticated (DE 64, or DE 128 where a message has more than 64 fields).
    pub mac: MacAlgorithm,
}

/// The answer to a reversal of a transaction that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownReversal {
    /// Approved, or the terminal would resend it for ever.
    Accept,
    /// Refused: original not found.
    Refuse,
}

/// What closes a batch whose totals agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosesWhenBalanced {
    /// The answer to the totals.
    AtOnce,
    /// A message that ends the upload, or the next sign-on.
    AtEndMessage,
}

/// Which request a row of a transaction table stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Pay(Kind),
    Reverse,
    SignOn(crate::transaction::KeyForm),
    SignOff,
    Echo,
    Settle,
    Upload,
    UploadEnd,
}

/// A terminal dialect.
pub struct Dialect {
    /// Which.
    pub id: TerminalDialect,
    /// DE 39 of every refusal.
    codes: &'static [(Refusal, &'static str)],
    /// Policy.
    pub policy: Policy,
    verb: fn(&View<'_>) -> Option<Verb>,
    /// Class of the MTI, and the fields that tell its transactions apart: they are mandatory.
    selectors: &'static [(char, &'static [u8])],
    readers: Readers,
    mac_rule: fn(&View<'_>) -> MacRule,
    reply: fn(&reply::ReplyWriter<'_>, &mut Encoder<'_>) -> Result<(), EncodeError>,
    /// Codes that are answered without a MAC.
    unmaced: &'static [Refusal],
}

/// The trace number and the batch of the transaction that a reversal undoes; the open batch when absent.
type Reversed = (Stan, Option<BatchNo>);

/// What cannot be a table: how a dialect says each class of request.
struct Readers {
    payment: fn(&View<'_>, Kind, &Basics) -> Result<PaymentRequest, Unread>,
    reversed: fn(&View<'_>, &Basics) -> Result<Reversed, Unread>,
    settlement: fn(&View<'_>, &Basics) -> Result<SettlementRequest, Unread>,
    upload: fn(&View<'_>, &Basics) -> Result<UploadRequest, Unread>,
    upload_end: fn(&View<'_>, &Basics) -> Result<UploadEnd, Unread>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialect({})", self.id.name())
    }
}

/// What every request of every dialect has.
#[derive(Debug, Clone)]
pub(crate) struct Basics {
    pub(crate) tid: Tid,
    pub(crate) mid: Mid,
    pub(crate) stan: Stan,
    pub(crate) currency: Currency,
    pub(crate) repeat: bool,
}

/// Who sent a message, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// DE 41.
    pub tid: Option<Tid>,
    /// DE 42.
    pub mid: Option<Mid>,
    /// DE 11.
    pub stan: Option<Stan>,
}

impl Dialect {
    /// The dialect of that name.
    #[must_use]
    pub fn of(id: TerminalDialect) -> &'static Self {
        match id {
            TerminalDialect::UnionPayPos => &UNIONPAY_POS,
            TerminalDialect::Edc => &EDC,
            TerminalDialect::Iso87Ascii => &ISO87_ASCII,
        }
    }

    /// Its message specification.
    ///
    /// # Errors
    /// A text naming the dialect when the codec does not ship it.
    pub fn spec(&self) -> Result<&'static Spec, String> {
        Spec::builtin(self.id.name()).ok_or_else(|| format!("no message specification {}", self.id.name()))
    }

    /// DE 39 of a refusal.
    #[must_use]
    pub fn code(&self, refusal: Refusal) -> ResponseCode {
        let text = self.codes.iter().find(|(r, _)| *r == refusal).map_or("96", |(_, code)| *code);
        ResponseCode::new(text).unwrap_or_else(|_| ResponseCode::from_number(96))
    }

    /// DE 39 of an answer.
    #[must_use]
    pub fn code_of(&self, decision: &Decision) -> ResponseCode {
        match decision {
            Decision::Approved(code) | Decision::Declined(code) => *code,
            Decision::Refused(refusal) => self.code(*refusal),
        }
    }

    /// Terminal, merchant and trace number, whatever else is wrong with the message.
    #[must_use]
    pub fn sender(&self, view: &View<'_>) -> Sender {
        Sender {
            tid: view.text(41).and_then(|t| Tid::new(&t).ok()),
            mid: view.text(42).and_then(|t| Mid::new(&t).ok()),
            stan: view.text(11).and_then(|t| Stan::parse(&t).ok()),
        }
    }

    /// Whether the message must carry a MAC.
    #[must_use]
    pub fn mac_rule(&self, view: &View<'_>) -> MacRule {
        (self.mac_rule)(view)
    }

    /// Reads a request of a terminal: of this merchant, and in this currency for messages
    /// without DE 49.
    ///
    /// # Errors
    /// [`Unread`], with what to answer.
    pub fn read(&self, view: &View<'_>, (mid, currency): (Mid, Currency)) -> Result<Request, Unread> {
        if let Some(fault) = view.faults().first() {
            return Err(Unread::format(fault.field));
        }
        let verb = (self.verb)(view).ok_or_else(|| self.unknown_transaction(view))?;
        let sender = self.sender(view);
        let echo = matches!(verb, Verb::Echo | Verb::SignOff | Verb::SignOn(_));
        let stan = match sender.stan {
            Some(stan) => stan,
            None if echo => Stan::new(0).ok_or(Unread::format(11))?,
            None => return Err(Unread::format(11)),
        };
        let basics = Basics {
            tid: sender.tid.ok_or(Unread::format(41))?,
            mid,
            stan,
            currency,
            repeat: view.mti().is_repeat(),
        };
        self.request(view, verb, &basics)
    }

    fn request(&self, view: &View<'_>, verb: Verb, basics: &Basics) -> Result<Request, Unread> {
        let network = |verb| {
            let (tid, mid, stan) = (Some(basics.tid), Some(basics.mid), Some(basics.stan));
            Ok(Request::Network(NetworkRequest { verb, tid, mid, stan }))
        };
        check_transmission(view)?;
        match verb {
            Verb::Pay(kind) => (self.readers.payment)(view, kind, basics).map(Box::new).map(Request::Payment),
            Verb::Reverse => self.reversal(view, basics).map(Box::new).map(Request::Reversal),
            Verb::SignOn(form) => network(NetworkVerb::SignOn(form)),
            Verb::SignOff => network(NetworkVerb::SignOff),
            Verb::Echo => network(NetworkVerb::Echo),
            Verb::Settle => (self.readers.settlement)(view, basics).map(Request::Settlement),
            Verb::Upload => (self.readers.upload)(view, basics).map(Request::Upload),
            Verb::UploadEnd => (self.readers.upload_end)(view, basics).map(Request::UploadEnd),
        }
    }

    fn reversal(&self, view: &View<'_>, basics: &Basics) -> Result<ReversalRequest, Unread> {
        let (stan, batch) = (self.readers.reversed)(view, basics)?;
        let reason = |t: &str| ResponseCode::new(t).map_err(|_| Unread::format(39));
        Ok(ReversalRequest {
            repeat: basics.repeat,
            processing_code: processing_code(view)?,
            tid: basics.tid,
            mid: basics.mid,
            stan,
            batch,
            amount: view.text(4).map(|_| amount(view, basics)).transpose()?,
            reason: view.text(39).map(|t| reason(&t)).transpose()?,
        })
    }

    /// A field is missing that tells which transaction is meant: malformed. A class that the dialect
    /// knows, with a transaction that it does not: not supported. Any other message type: an invalid
    /// transaction.
    fn unknown_transaction(&self, view: &View<'_>) -> Unread {
        let class = view.mti().class();
        let selectors = self.selectors.iter().filter(|(of, _)| *of == class).flat_map(|(_, fields)| *fields);
        if let Some(missing) = selectors.copied().find(|de| !view.has(*de)) {
            return Unread::format(missing);
        }
        let known = matches!(class, '1' | '2');
        Unread { refusal: if known { Refusal::NotSupported } else { Refusal::InvalidTransaction }, field: 3 }
    }

    /// Writes an answer up to its MAC.
    ///
    /// # Errors
    /// [`EncodeError`] when a value does not fit its field.
    pub fn reply<'s>(
        &self,
        request: &View<'s>,
        reply: &Reply,
        acquirer: &str,
    ) -> Result<Encoder<'s>, EncodeError> {
        let writer = reply::ReplyWriter { dialect: self, request, reply, acquirer };
        let mut encoder = Encoder::new(request.spec(), request.mti().response());
        writer.head(&mut encoder)?;
        (self.reply)(&writer, &mut encoder)?;
        Ok(encoder)
    }

    /// Whether the answer carries a MAC: its request had to or did, and the answer is not one that
    /// the terminal takes without.
    #[must_use]
    pub fn reply_is_maced(&self, request: &View<'_>, reply: &Reply) -> bool {
        let refused_bare = match reply.decision {
            Decision::Refused(refusal) => self.unmaced.contains(&refusal),
            Decision::Approved(_) | Decision::Declined(_) => false,
        };
        let request_maced = match self.mac_rule(request) {
            MacRule::Required => true,
            MacRule::IfPresent => request.mac_data().is_some(),
            MacRule::None => false,
        };
        request_maced && !refused_bare
    }
}

/// A field as text, or the refusal that it is missing.
pub(crate) fn must<'a>(view: &View<'a>, de: u8) -> Result<iso8583_spec::Text<'a>, Unread> {
    view.text(de).ok_or(Unread::format(de))
}

/// DE 4 with DE 49, or the terminal's currency.
pub(crate) fn amount(view: &View<'_>, basics: &Basics) -> Result<Amount, Unread> {
    let currency = match view.text(49) {
        Some(code) => Currency::parse(&code).ok_or(Unread::format(49))?,
        None => basics.currency,
    };
    let amount = Amount::parse(&must(view, 4)?, currency).map_err(|_| Unread::format(4))?;
    if amount.minor() == 0 {
        return Err(Unread { refusal: Refusal::InvalidAmount, field: 4 });
    }
    Ok(amount)
}

/// DE 2, 14, 23, 35, 36.
fn card(view: &View<'_>) -> Result<CardData, Unread> {
    let pan = match view.text(2) {
        None => None,
        Some(digits) => {
            Some(Pan::parse(&digits).map_err(|_| Unread { refusal: Refusal::InvalidCard, field: 2 })?)
        }
    };
    let expiry = match view.text(14) {
        None => None,
        Some(text) => Some(Expiry::parse(&text).map_err(|_| Unread::format(14))?),
    };
    let track = |de| view.text(de).map(|t| Zeroizing::new(t.to_string()));
    Ok(CardData {
        pan,
        expiry,
        track2: track(35),
        track3: track(36),
        track_encrypted: false,
        sequence: view.text(23).map(|t| t.to_string()),
    })
}

/// What a payment of every dialect has. The PIN is bound to the PAN, the batch is the open one, and
/// nothing is referred to, unless the dialect says otherwise.
pub(crate) fn plain_payment(view: &View<'_>, kind: Kind, basics: &Basics) -> Result<PaymentRequest, Unread> {
    let text = |de: u8, absent: &str| view.text(de).map_or_else(|| absent.to_owned(), |t| t.to_string());
    let entry_mode = text(22, "000");
    let pin = pin_block(view)?.map(|block| PinEntry { block, with_pan: true });
    // DE 22, third digit: a PIN was entered, so it must be there.
    if entry_mode.get(2..3) == Some("1") && pin.is_none() {
        return Err(Unread::format(52));
    }
    Ok(PaymentRequest {
        kind,
        repeat: basics.repeat,
        processing_code: processing_code(view)?,
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: None,
        amount: if kind == Kind::Balance { None } else { Some(amount(view, basics)?) },
        card: card(view)?,
        entry_mode,
        condition: text(25, "00"),
        pin,
        icc: view.bytes(55).map(|b| b.to_vec()),
        terminal_time: terminal_time(view)?,
        original: None,
        auth_code: auth_code(view)?,
        partial_accepted: false,
        invoice: None,
    })
}

/// DE 38.
pub(crate) fn auth_code(view: &View<'_>) -> Result<Option<AuthCode>, Unread> {
    view.text(38).map(|t| AuthCode::new(&t).map_err(|_| Unread::format(38))).transpose()
}

/// DE 37.
pub(crate) fn rrn(view: &View<'_>) -> Result<Option<Rrn>, Unread> {
    view.text(37).map(|t| Rrn::new(&t).map_err(|_| Unread::format(37))).transpose()
}

/// DE 3 as six digits.
fn processing_code(view: &View<'_>) -> Result<ProcessingCode, Unread> {
    ProcessingCode::new(&must(view, 3)?).map_err(|_| Unread::format(3))
}

/// DE 13 and DE 12 as one, when both are there; neither may be a date or a time that does not exist.
fn terminal_time(view: &View<'_>) -> Result<Option<String>, Unread> {
    let (date, time) = (view.text(13), view.text(12));
    if date.as_deref().is_some_and(|text| !is_month_and_day(text)) {
        return Err(Unread::format(13));
    }
    if time.as_deref().is_some_and(|text| !is_time_of_day(text)) {
        return Err(Unread::format(12));
    }
    Ok(date.zip(time).map(|(date, time)| format!("{date}{time}")))
}

/// DE 7, `MMDDhhmmss`, where a terminal sends it.
fn check_transmission(view: &View<'_>) -> Result<(), Unread> {
    let Some(text) = view.text(7) else { return Ok(()) };
    let exists = is_month_and_day(part(&text, 7, 0, 4)?) && is_time_of_day(part(&text, 7, 4, 10)?);
    if exists { Ok(()) } else { Err(Unread::format(7)) }
}

/// `MMDD` in a year that is not told, and so may be a leap year.
fn is_month_and_day(text: &str) -> bool {
    const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (month, day) = (pair(text, 0), pair(text, 2));
    let days = month.and_then(|month| DAYS.get(usize::from(month).checked_sub(1)?));
    days.zip(day).is_some_and(|(days, day)| (1..=*days).contains(&day))
}

/// `hhmmss`.
fn is_time_of_day(text: &str) -> bool {
    let below = |at, limit: u8| pair(text, at).is_some_and(|number| number < limit);
    below(0, 24) && below(2, 60) && below(4, 60)
}

fn pair(text: &str, at: usize) -> Option<u8> {
    text.get(at..at + 2)?.parse().ok()
}

/// DE 52.
fn pin_block(view: &View<'_>) -> Result<Option<[u8; 8]>, Unread> {
    match view.bytes(52) {
        None => Ok(None),
        Some(bytes) => <[u8; 8]>::try_from(bytes.as_ref()).map(Some).map_err(|_| Unread::format(52)),
    }
}

/// Kinds that name an earlier transaction, and are nothing without it.
pub(crate) const fn needs_original(kind: Kind) -> bool {
    match kind {
        Kind::Void
        | Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::CompletionVoid => true,
        Kind::Balance | Kind::Sale | Kind::Refund | Kind::PreAuth | Kind::OfflineSale | Kind::Reversal => {
            false
        }
    }
}

/// Characters `from..to` of a text, or the refusal that its field is malformed.
pub(crate) fn part(text: &str, de: u8, from: usize, to: usize) -> Result<&str, Unread> {
    text.get(from..to).ok_or(Unread::format(de))
}

#[cfg(test)]
mod tests;
