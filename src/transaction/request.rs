//! What a terminal asks, whichever dialect it asked in.

use super::{Amount, AuthCode, BatchNo, Expiry, Mid, Pan, ProcessingCode, ResponseCode, Rrn, Stan, Tid};
use zeroize::Zeroizing;

/// A financial transaction, or one that prepares or undoes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Balance inquiry.
    Balance,
    /// Purchase.
    Sale,
    /// Void of a sale of the open batch, in full.
    Void,
    /// Refund, online, with or without its original.
    Refund,
    /// Pre-authorization: a hold.
    PreAuth,
    /// Cancels a pre-authorization.
    PreAuthCancel,
    /// Completes a pre-authorization, online.
    Completion,
    /// Completes a pre-authorization, already done: an advice.
    CompletionAdvice,
    /// Voids an online completion of the open batch, in full.
    CompletionVoid,
    /// A sale approved without the issuer: an advice.
    OfflineSale,
    /// Undoes a request whose answer the terminal never used.
    Reversal,
}

/// On which side of a terminal's totals a kind of transaction counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The cardholder pays.
    Debit,
    /// The cardholder is paid back.
    Credit,
    /// No money moves.
    None,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Balance,
        Self::Sale,
        Self::Void,
        Self::Refund,
        Self::PreAuth,
        Self::PreAuthCancel,
        Self::Completion,
        Self::CompletionAdvice,
        Self::CompletionVoid,
        Self::OfflineSale,
        Self::Reversal,
    ];

    /// A stable name, in the store and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Sale => "sale",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::PreAuth => "pre-auth",
            Self::PreAuthCancel => "pre-auth-cancel",
            Self::Completion => "completion",
            Self::CompletionAdvice => "completion-advice",
            Self::CompletionVoid => "completion-void",
            Self::OfflineSale => "offline-sale",
            Self::Reversal => "reversal",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// An advice reports what has happened: it may not be declined.
    #[must_use]
    pub const fn is_advice(self) -> bool {
        matches!(self, Self::CompletionAdvice | Self::OfflineSale)
    }

    /// The side of the totals.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Sale | Self::Completion | Self::CompletionAdvice | Self::OfflineSale => Side::Debit,
            Self::Void | Self::Refund | Self::CompletionVoid => Side::Credit,
            Self::Balance | Self::PreAuth | Self::PreAuthCancel | Self::Reversal => Side::None,
        }
    }
}

/// A message from a terminal, understood.
#[derive(Debug, Clone)]
pub enum Request {
    /// Asks for money to move, or for a balance.
    Payment(Box<PaymentRequest>),
    /// Undoes an earlier request.
    Reversal(Box<ReversalRequest>),
    /// Sign-on, sign-off, echo.
    Network(NetworkRequest),
    /// The terminal's totals of its batch.
    Settlement(SettlementRequest),
    /// Items of a batch that did not balance.
    Upload(UploadRequest),
    /// The end of an upload: the batch closes.
    UploadEnd(UploadEnd),
}

/// Card data as it was read or keyed.
#[derive(Clone, Default)]
pub struct CardData {
    /// DE 2.
    pub pan: Option<Pan>,
    /// DE 14.
    pub expiry: Option<Expiry>,
    /// DE 35 as digits and `D`; under the TDK when [`CardData::track_encrypted`].
    pub track2: Option<Zeroizing<String>>,
    /// DE 36, likewise. Carried to the HSM only.
    pub track3: Option<Zeroizing<String>>,
    /// Whether the tracks are under the terminal's TDK (UnionPay DE 53, third digit).
    pub track_encrypted: bool,
    /// DE 23, n3.
    pub sequence: Option<String>,
}

impl std::fmt::Debug for CardData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardData").field("pan", &self.pan).finish_non_exhaustive()
    }
}

/// A PIN block under the terminal's TPK. Prints nothing of itself.
#[derive(Clone)]
pub struct PinEntry {
    /// DE 52.
    pub block: [u8; 8],
    /// Whether the block is bound to the PAN (ISO 9564 format 0) or not (format 1).
    pub with_pan: bool,
}

impl std::fmt::Debug for PinEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PinEntry(…)")
    }
}

/// How a terminal names an earlier transaction of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalKey {
    /// Batch of the original; the open batch when absent.
    pub batch: Option<BatchNo>,
    /// STAN of the original.
    pub stan: Option<Stan>,
    /// RRN that the switch gave the original.
    pub rrn: Option<Rrn>,
    /// Authorisation id of the original.
    pub auth_code: Option<AuthCode>,
    /// Local date of the original, `MMDD`.
    pub mmdd: Option<String>,
    /// Invoice number of the original (EDC DE 62).
    pub invoice: Option<String>,
}

/// A payment message.
#[derive(Debug, Clone)]
pub struct PaymentRequest {
    /// What is asked.
    pub kind: Kind,
    /// The MTI's origin digit says that this is a repeat.
    pub repeat: bool,
    /// DE 3.
    pub processing_code: ProcessingCode,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 11.
    pub stan: Stan,
    /// The batch the terminal names; its open batch when absent.
    pub batch: Option<BatchNo>,
    /// DE 4 with DE 49; absent in a balance inquiry.
    pub amount: Option<Amount>,
    /// The card.
    pub card: CardData,
    /// DE 22, n3.
    pub entry_mode: String,
    /// DE 25, n2.
    pub condition: String,
    /// DE 52 with DE 53.
    pub pin: Option<PinEntry>,
    /// DE 55, byte for byte.
    pub icc: Option<Vec<u8>>,
    /// DE 13 and DE 12 as `MMDDhhmmss`, when the terminal sends its clock.
    pub terminal_time: Option<String>,
    /// The transaction it refers to.
    pub original: Option<OriginalKey>,
    /// DE 38 of a transaction approved before.
    pub auth_code: Option<AuthCode>,
    /// The terminal accepts an approval of a part of the amount.
    pub partial_accepted: bool,
    /// EDC invoice number, DE 62.
    pub invoice: Option<String>,
}

/// A reversal message.
#[derive(Debug, Clone)]
pub struct ReversalRequest {
    /// The MTI's origin digit says that this is a repeat.
    pub repeat: bool,
    /// DE 3, as in the original.
    pub processing_code: ProcessingCode,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 11: the original's (or DE 90's, where a dialect has it).
    pub stan: Stan,
    /// The batch of the original.
    pub batch: Option<BatchNo>,
    /// DE 4 with DE 49.
    pub amount: Option<Amount>,
    /// DE 39: why the terminal reverses.
    pub reason: Option<ResponseCode>,
}

/// Sign-on and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkVerb {
    /// The terminal signs on; new working keys in this form where the dialect sends keys.
    SignOn(KeyForm),
    /// The terminal signs off.
    SignOff,
    /// Are you there?
    Echo,
}

/// What a UnionPay sign-on asks for (DE 60.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// 001: single-length PIK and MAK, 24 octets.
    Single,
    /// 003: double-length PIK, MAK padded with zeros, 40 octets.
    Double,
    /// 004: as 003 and a TDK, 60 octets.
    DoubleWithTrack,
    /// The dialect sends no keys at sign-on.
    None,
}

/// A network management message.
#[derive(Debug, Clone)]
pub struct NetworkRequest {
    /// What is asked.
    pub verb: NetworkVerb,
    /// DE 41; a link-level echo may lack it.
    pub tid: Option<Tid>,
    /// DE 42.
    pub mid: Option<Mid>,
    /// DE 11.
    pub stan: Option<Stan>,
}

/// Count and sum of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideTotals {
    /// Number of transactions.
    pub count: u32,
    /// Minor units.
    pub minor: i64,
}

/// A batch's totals, as the dialect counts them (gross in UnionPay, net in EDC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Sales and what counts as sales.
    pub debit: SideTotals,
    /// Refunds and what counts as refunds.
    pub credit: SideTotals,
}

/// The terminal's totals.
#[derive(Debug, Clone)]
pub struct SettlementRequest {
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 11.
    pub stan: Stan,
    /// The batch to settle.
    pub batch: Option<BatchNo>,
    /// What the terminal counted; domestic cards where a dialect tells them apart.
    pub totals: Totals,
    /// Foreign cards (UnionPay).
    pub foreign: Totals,
}

/// One uploaded transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadItem {
    /// STAN of the transaction.
    pub stan: Stan,
    /// Its amount in minor units; 0 for an item voided at the terminal (EDC).
    pub minor: i64,
}

/// Uploaded items of one message.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 11.
    pub stan: Stan,
    /// The batch that the items belong to.
    pub batch: Option<BatchNo>,
    /// The items.
    pub items: Vec<UploadItem>,
}

/// The end of an upload.
#[derive(Debug, Clone)]
pub struct UploadEnd {
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// DE 11.
    pub stan: Stan,
    /// The batch that closes.
    pub batch: Option<BatchNo>,
    /// How many items the terminal says it sent.
    pub count: Option<u32>,
    /// The terminal's totals, where the dialect repeats them.
    pub totals: Option<Totals>,
    /// The terminal was told that its totals agree.
    pub balanced: Option<bool>,
}
