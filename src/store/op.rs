//! What may be asked of the store, and what it answers. One op is one decision of the arbiter.
//!
//! Every op is idempotent: the engine may commit a batch again after a lost connection, so an op
//! that finds its own earlier effect answers as it did the first time.

pub use super::key_slot::{IssuerKey, KeySlot, Rewrapped, SessionKey, TerminalKey};
pub use crate::batch::Line as BatchLine;
use crate::lifecycle::{ClaimKind, Event, State};
use crate::transaction::{
    Amount, AuthCode, BatchNo, Day, IssuerId, Kind, LinkTime, Mid, NodeId, OriginalKey, ProcessingCode,
    Refusal, ResponseCode, Rrn, SealedPan, Side, Stan, TerminalDialect, Tid, Totals, TxnId, UploadItem,
    ZoneUse,
};
use std::sync::Arc;

/// A transaction as it is stored before the issuer sees a byte.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    /// Its identity, given by the node.
    pub id: TxnId,
    /// The node that owns it while it is open.
    pub node: NodeId,
    /// The terminal's dialect.
    pub dialect: TerminalDialect,
    /// What it is.
    pub kind: Kind,
    /// DE 3.
    pub processing_code: ProcessingCode,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// The batch the terminal named; `None` takes the terminal's open batch.
    pub batch: Option<BatchNo>,
    /// DE 11 of the terminal.
    pub stan: Stan,
    /// DE 4; a balance inquiry has none.
    pub amount: Option<Amount>,
    /// The card.
    pub pan: Option<SealedPan>,
    /// DE 14, `YYMM`.
    pub expiry: Option<String>,
    /// DE 23.
    pub card_sequence: Option<String>,
    /// DE 22.
    pub entry_mode: String,
    /// DE 25.
    pub condition: String,
    /// DE 13 and DE 12 of the terminal, or the switch's clock, `MMDDhhmmss`.
    pub terminal_time: String,
    /// EDC invoice.
    pub invoice: Option<String>,
    /// DE 38 that came with an advice or a completion.
    pub auth_code: Option<AuthCode>,
    /// DE 37 given to the terminal; unique in the business day.
    pub rrn: Rrn,
    /// The issuer it goes to.
    pub issuer: IssuerId,
    /// DE 11 on the issuer link; an advice gets one when it is first sent.
    pub link_stan: Option<Stan>,
    /// DE 7 on the issuer link.
    pub link_time: LinkTime,
    /// Which generation of the terminal's working keys matched.
    pub key_generation: i64,
    /// Milliseconds since the epoch.
    pub received_ms: i64,
    /// What it does to an earlier transaction.
    pub claim: Option<Claim>,
}

impl NewTransaction {
    /// On which side of its terminal's totals it is counted. A terminal of plain ISO 8583 sends no
    /// totals, so nothing of its batch is counted or limited.
    #[must_use]
    pub const fn counted_side(&self) -> Side {
        match self.dialect {
            TerminalDialect::Iso87Ascii => Side::None,
            TerminalDialect::UnionPayPos | TerminalDialect::Edc => self.kind.side(),
        }
    }

    /// The fingerprint that tells a repeat from a reused STAN: DE 3, DE 4, the card's keyed hash, DE 22.
    #[must_use]
    pub fn same_request(&self, stored: &Stored) -> bool {
        let card = |pan: &Option<SealedPan>| pan.as_ref().map(|p| p.lookup);
        self.processing_code == stored.processing_code
            && self.amount == stored.requested
            && card(&self.pan) == card(&stored.pan)
            && self.entry_mode == stored.entry_mode
    }
}

/// The original that a new transaction claims, found and claimed in one op.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What it does.
    pub how: ClaimKind,
    /// How the terminal named it.
    pub key: OriginalKey,
    /// A completion may exceed its pre-authorization up to this many percent of it (115).
    pub ceiling_percent: u32,
    /// An advice is never refused for its amount or its original.
    pub lenient: bool,
}

/// What the issuer (or its silence) made of a transaction.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Which transaction.
    pub id: TxnId,
    /// Approved, Declined, TimedOut or NotSent.
    pub event: Event,
    /// DE 39 towards the terminal, as the issuer or the switch said it.
    pub code: Option<ResponseCode>,
    /// The switch's own reason, when it was the switch.
    pub refusal: Option<Refusal>,
    /// DE 38.
    pub auth_code: Option<AuthCode>,
    /// DE 37 of the issuer.
    pub issuer_rrn: Option<Rrn>,
    /// DE 4 of a partial approval.
    pub approved: Option<Amount>,
    /// DE 54 of the issuer.
    pub additional_amounts: Option<String>,
    /// DE 55 of the issuer (91, 71, 72: no sensitive tag).
    pub icc: Option<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub finished_ms: i64,
}

/// A terminal's reversal.
#[derive(Debug, Clone)]
pub struct Reverse {
    /// Identity of the reversal itself.
    pub id: TxnId,
    /// The node that took it.
    pub node: NodeId,
    /// The terminal's dialect.
    pub dialect: TerminalDialect,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// Batch of the original; the open batch when absent.
    pub batch: Option<BatchNo>,
    /// STAN of the original.
    pub stan: Stan,
    /// DE 3 must equal the original's.
    pub processing_code: ProcessingCode,
    /// DE 39: the terminal's reason.
    pub reason: Option<ResponseCode>,
    /// DE 37 for the answer.
    pub rrn: Rrn,
    /// Milliseconds since the epoch.
    pub received_ms: i64,
}

/// New working keys of a terminal, as key blocks under the LMK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingKeys {
    /// Higher for newer keys of one terminal.
    pub generation: i64,
    /// PIN key.
    pub tpk: String,
    /// MAC key.
    pub tak: String,
    /// Track data key.
    pub tdk: Option<String>,
}

/// An op.
#[derive(Debug, Clone)]
pub enum Op {
    /// Store a transaction as sent (an advice: as approved, with its SAF entry).
    Send(Arc<NewTransaction>),
    /// Store its outcome.
    Finish(Box<Finish>),
    /// Reverse an earlier transaction.
    Reverse(Box<Reverse>),
    /// Give a terminal new working keys; the earlier generation stays valid until
    /// [`Op::KeysProven`].
    SignOn {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The keys; `None` where the dialect sends none.
        keys: Option<WorkingKeys>,
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
    /// The first valid MAC under a generation: the one before it is dropped.
    KeysProven {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The generation that matched.
        generation: i64,
    },
    /// Count messages under a terminal's newest working keys, ahead of their coming.
    ClaimKeyUses {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The generation.
        generation: i64,
        /// How many.
        count: u32,
    },
    /// The lines of a terminal's batch, in the order of commits.
    BatchLines {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The batch; the open one when absent.
        batch: Option<BatchNo>,
    },
    /// Remember what a settlement request claimed and what it was answered.
    Settle(Box<Settle>),
    /// Remember uploaded items; a repeated item is kept once.
    Upload {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The batch; the open one when absent.
        batch: Option<BatchNo>,
        /// The items.
        items: Vec<UploadItem>,
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
    /// Close a batch and open the next. Closing a closed batch changes nothing.
    CloseBatch {
        /// DE 41.
        tid: Tid,
        /// DE 42.
        mid: Mid,
        /// The batch; the open one when absent.
        batch: Option<BatchNo>,
        /// Items the terminal says it uploaded.
        uploaded: Option<u32>,
        /// Why it closes.
        reason: CloseReason,
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
    /// The next store-and-forward entries of an issuer that are due, at most one per card,
    /// leased to this node.
    SafDue {
        /// The issuer.
        issuer: IssuerId,
        /// Who asks.
        node: NodeId,
        /// Milliseconds since the epoch.
        now_ms: i64,
        /// For how long nobody else takes this issuer's queue.
        lease_ms: i64,
        /// How many at most.
        limit: usize,
    },
    /// An entry is about to be sent: the attempt is durable before a byte leaves.
    SafSending {
        /// The entry.
        id: i64,
        /// Its DE 11 on the link, kept for every repeat.
        stan: Stan,
        /// Its DE 37 on the link.
        rrn: Rrn,
        /// Its DE 7 on the link.
        link_time: LinkTime,
    },
    /// What became of an attempt.
    SafDone {
        /// The entry.
        id: i64,
        /// What became of it.
        verdict: SafVerdict,
    },
    /// Reserve a block of numbers: the answer is the first; the next caller starts after the last.
    Reserve {
        /// Which counter: `stan:<link>` or `rrn:<node>` …
        counter: String,
        /// How many.
        count: u32,
        /// Wraps to 1 above this.
        max: u32,
    },
    /// A node starts: its own rows that are sent and without outcome are unknown, and reversed.
    Recover {
        /// The node.
        node: NodeId,
        /// Milliseconds since the epoch.
        now_ms: i64,
    },
    /// Close the business day and open the next.
    CutOver {
        /// The day that must be open, so that a repeated call changes nothing.
        from: Day,
        /// The day that opens.
        to: Day,
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
    /// Reference data: add or replace.
    Put(Box<Reference>),
    /// Replace key blocks by the same keys under another LMK, each where it still stands.
    Rewrap(Vec<Rewrapped>),
    /// A step in the change of a key shared with an issuer; answers with where the key stands then.
    ZoneKey(Box<ZoneKeyChange>),
    /// Mark what a day's settlement cleared, record its files and post its journal, all or nothing.
    Cleared(Box<Cleared>),
    /// Nothing: answers with the day and the revision.
    Ping,
}

/// Why a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Totals agreed.
    Balanced,
    /// The terminal ended its upload.
    Uploaded,
    /// The terminal signed on or off after totals that agreed.
    SignedOff,
}

impl CloseReason {
    /// A stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Uploaded => "uploaded",
            Self::SignedOff => "signed-off",
        }
    }
}

/// A settlement request and its answer.
#[derive(Debug, Clone)]
pub struct Settle {
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// The batch; the open one when absent.
    pub batch: Option<BatchNo>,
    /// What the terminal claimed.
    pub terminal: Totals,
    /// What the host counted.
    pub host: Totals,
    /// Whether they agree.
    pub balanced: bool,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
}

/// What became of a store-and-forward attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafVerdict {
    /// The issuer gave a final answer.
    Delivered(ResponseCode),
    /// Try again then.
    Retry {
        /// Milliseconds since the epoch.
        at_ms: i64,
    },
    /// It cannot be delivered: a person must look.
    Parked(ResponseCode),
}

/// Reference data.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// A merchant.
    Merchant(Merchant),
    /// A terminal.
    Terminal(Terminal),
    /// A BIN range.
    Route(Route),
    /// An issuer.
    Issuer(Issuer),
    /// A named key (a key block).
    Key(NamedKey),
}

/// A merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// DE 42.
    pub mid: Mid,
    /// Name, at most 25 characters.
    pub name: String,
    /// City, at most 13 characters.
    pub city: String,
    /// ISO 3166 alpha-2 country.
    pub country: String,
    /// ISO 18245 merchant category code, four digits.
    pub mcc: String,
    /// Merchant discount: 1 basis point = 1/10 000 of the amount; decimal text, `"150"` = 1.50 %.
    pub fee_basis_points: String,
    /// Takes payments.
    pub active: bool,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// DE 41.
    pub tid: Tid,
    /// The merchant it belongs to.
    pub mid: Mid,
    /// What it speaks.
    pub dialect: TerminalDialect,
    /// Its currency, ISO 4217 numeric.
    pub currency: crate::transaction::Currency,
    /// Master key (a key block); static dialects have working keys instead.
    pub tmk: Option<String>,
    /// Static working keys of EDC and ASCII terminals.
    pub static_keys: Option<WorkingKeys>,
    /// Takes payments.
    pub active: bool,
}

/// A range of card numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Leading digits, 1 to 11.
    pub prefix: String,
    /// Shortest PAN.
    pub pan_min: u8,
    /// Longest PAN.
    pub pan_max: u8,
    /// The issuer it goes to.
    pub issuer: IssuerId,
}

/// An issuer and its zone keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in routes.
    pub id: IssuerId,
    /// DE 32 that we send: our institution code with this issuer, n..11.
    pub acquirer_code: String,
    /// PIN key shared with it (a key block).
    pub zpk: Option<String>,
    /// MAC key shared with it (a key block), when its link is MACed.
    pub zak: Option<String>,
    /// Zone master key (a key block), when the two above are changed in service.
    pub zmk: Option<String>,
}

/// A step in the change of a zone key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneKeyChange {
    /// The issuer.
    pub issuer: IssuerId,
    /// Which of its keys.
    pub of: ZoneUse,
    /// The step.
    pub step: ZoneStep,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
}

/// What a step does. One that does not fit where the key stands changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneStep {
    /// A change is wanted.
    Ask,
    /// It is no longer wanted.
    Forget,
    /// This key is pending from here on; the answer has the one that is, which is an earlier one of ours when the
    /// issuer has not said what became of that.
    Offer(PendingKey),
    /// Both sides have the pending key: it is in force. The MAC key before it is kept as the former one.
    Agree {
        /// The pending key's block.
        block: String,
    },
    /// The issuer has refused the pending key.
    Refuse {
        /// The pending key's block.
        block: String,
    },
    /// The first MAC under the key in force was right: the former one is dropped.
    Prove {
        /// The block of the key in force.
        block: String,
    },
}

/// A zone key that one side has sent and that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingKey {
    /// Key block under the LMK.
    pub block: String,
    /// Key block under the ZMK, when we sent it; absent when the issuer did.
    pub sent: Option<String>,
    /// Check value, 6 hexadecimal digits.
    pub kcv: String,
}

/// Where a zone key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneKeyState {
    /// The issuer.
    pub issuer: IssuerId,
    /// Which of its keys.
    pub of: ZoneUse,
    /// The key in force (a key block).
    pub current: Option<String>,
    /// The MAC key before it (a key block), until the first MAC under the one in force was right.
    pub former: Option<String>,
    /// The one that is to come.
    pub pending: Option<PendingKey>,
    /// When it was last changed in service, milliseconds since the epoch.
    pub changed_ms: Option<i64>,
    /// Since when a change is wanted, milliseconds since the epoch.
    pub asked_ms: Option<i64>,
}

/// A key by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Name.
    pub name: String,
    /// Key block under the LMK.
    pub block: String,
    /// Check value, hexadecimal.
    pub kcv: String,
    /// Usage, as the HSM names it.
    pub usage: String,
}

/// A day's settlement, decided by `settlement` and stored in one commit.
#[derive(Debug, Clone)]
pub struct Cleared {
    /// The business day.
    pub day: Day,
    /// The transactions in it, with the file each went into.
    pub items: Vec<ClearedItem>,
    /// The files.
    pub files: Vec<SettlementFile>,
    /// The journal.
    pub postings: Vec<crate::ledger::Posting>,
}

/// A transaction that a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedItem {
    /// Which transaction.
    pub id: TxnId,
    /// `true`: the record takes back what an earlier day's file presented.
    pub takes_back: bool,
}

/// A file that settlement wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementFile {
    /// The business day.
    pub day: Day,
    /// Its name in the settlement folder.
    pub name: String,
    /// What it is: `ipm`, `clearing-csv`, `statement`.
    pub kind: String,
    /// The issuer or merchant it is for.
    pub party: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Records in it.
    pub records: i64,
    /// Sum of amounts, minor units.
    pub sum_minor: i64,
    /// Currency, ISO 4217 numeric.
    pub currency: u16,
}

/// A stored transaction.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Identity.
    pub id: TxnId,
    /// Where it stands.
    pub state: State,
    /// Business day.
    pub day: Day,
    /// The node that took it.
    pub node: NodeId,
    /// The terminal's dialect.
    pub dialect: TerminalDialect,
    /// What it is.
    pub kind: Kind,
    /// DE 3.
    pub processing_code: ProcessingCode,
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// Batch.
    pub batch: BatchNo,
    /// DE 11.
    pub stan: Stan,
    /// DE 4 as requested.
    pub requested: Option<Amount>,
    /// DE 4 as approved: less than requested in a partial approval.
    pub amount: Option<Amount>,
    /// How much of it was refunded, minor units.
    pub refunded_minor: i64,
    /// The card.
    pub pan: Option<SealedPan>,
    /// DE 14.
    pub expiry: Option<String>,
    /// DE 23.
    pub card_sequence: Option<String>,
    /// DE 22.
    pub entry_mode: String,
    /// DE 25.
    pub condition: String,
    /// `MMDDhhmmss`.
    pub terminal_time: String,
    /// EDC invoice.
    pub invoice: Option<String>,
    /// DE 37 given to the terminal.
    pub rrn: Rrn,
    /// DE 38.
    pub auth_code: Option<AuthCode>,
    /// DE 39 given to the terminal.
    pub code: Option<ResponseCode>,
    /// The switch's own reason.
    pub refusal: Option<Refusal>,
    /// The issuer.
    pub issuer: IssuerId,
    /// DE 11 on the link.
    pub link_stan: Option<Stan>,
    /// DE 7 on the link.
    pub link_time: LinkTime,
    /// DE 37 of the issuer.
    pub issuer_rrn: Option<Rrn>,
    /// DE 54 of the issuer.
    pub additional_amounts: Option<String>,
    /// DE 55 of the issuer.
    pub icc: Option<Vec<u8>>,
    /// The transaction it refers to.
    pub original: Option<TxnId>,
    /// The transaction that holds a claim on it.
    pub claimed_by: Option<TxnId>,
    /// Milliseconds since the epoch.
    pub received_ms: i64,
    /// Milliseconds since the epoch.
    pub finished_ms: Option<i64>,
    /// The business day whose file presented it.
    pub cleared_day: Option<Day>,
    /// The business day whose file took it back.
    pub taken_back_day: Option<Day>,
}

/// A store-and-forward entry that is due.
#[derive(Debug, Clone)]
pub struct SafEntry {
    /// Its identity; entries of one card are delivered in this order.
    pub id: i64,
    /// What is sent: a reversal of the transaction, or the advice that it is.
    pub what: SafKind,
    /// The transaction.
    pub txn: Stored,
    /// For a claimant (void, completion …): the transaction it refers to.
    pub original: Option<Box<Stored>>,
    /// Attempts made so far.
    pub attempts: u32,
    /// DE 11 on the link, once it was sent.
    pub stan: Option<Stan>,
    /// DE 37 on the link, once it was sent.
    pub rrn: Option<Rrn>,
    /// DE 7 on the link, once it was sent.
    pub link_time: Option<LinkTime>,
}

/// What a store-and-forward entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafKind {
    /// A reversal of a request whose outcome is unknown or was undone.
    Reversal,
    /// An advice.
    Advice,
}

/// What the store decided. `day` and `revision` come with every answer ([`Committed`]).
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Stored ([`Op::Send`]), with the original that it claimed.
    Stored {
        /// The batch it is in.
        batch: BatchNo,
        /// The original.
        original: Option<Box<Stored>>,
    },
    /// The key was used before, by this transaction.
    Duplicate(Box<Stored>),
    /// A reversal came first: the key is spent.
    ReversedBefore,
    /// The original belongs to another issuer than the request was routed to: route there.
    OtherRoute(IssuerId),
    /// Not stored, for this reason.
    Refused(Refusal),
    /// Stored ([`Op::Finish`]): this is where it stands now. The answer goes to the terminal only
    /// when the transaction is not [`State::Abandoned`], [`State::Reversed`].
    Finished {
        /// The state now.
        state: State,
        /// A reversal to the issuer was queued.
        reversal_queued: bool,
    },
    /// The transaction had an outcome already; nothing changed.
    Lost {
        /// The state it is in.
        state: State,
    },
    /// Answer to [`Op::Reverse`].
    Reversal(ReversalOutcome),
    /// Answer to [`Op::SignOn`] and [`Op::CloseBatch`]: the terminal's open batch.
    OpenBatch(BatchNo),
    /// Answer to [`Op::BatchLines`].
    Lines {
        /// The batch they are of.
        batch: BatchNo,
        /// The lines.
        lines: Vec<BatchLine>,
        /// What an earlier settlement request was answered, when there was one.
        settled: Option<Box<Settle>>,
        /// Uploaded items so far.
        uploaded: u32,
        /// The batch is closed.
        closed: bool,
    },
    /// Answer to [`Op::SafDue`].
    Saf {
        /// What is due.
        entries: Vec<SafEntry>,
        /// When the next one is due, if anything waits, milliseconds since the epoch.
        next_ms: Option<i64>,
    },
    /// Answer to [`Op::Reserve`]: the first number of the block.
    Reserved(u32),
    /// Answer to [`Op::ClaimKeyUses`]: how many messages of all nodes are counted now.
    KeyUses(u64),
    /// Answer to [`Op::ClaimKeyUses`]: the terminal's newest keys are others.
    OtherKeys,
    /// Answer to [`Op::ZoneKey`].
    ZoneKey(Box<ZoneKeyState>),
    /// Answer to [`Op::ZoneKey`]: no such issuer.
    NoIssuer,
    /// Answer to [`Op::Recover`]: how many were unknown.
    Recovered(u32),
    /// Answer to [`Op::Rewrap`]: how many blocks are replaced; the others had changed.
    Rewrapped(u32),
    /// Done, with nothing to tell.
    Done,
    /// The store failed; whether the op took place is unknown until it is asked again.
    Failed,
}

/// What a reversal found.
#[derive(Debug, Clone)]
pub enum ReversalOutcome {
    /// The original is undone, and the issuer will be told.
    Reversed(Box<Stored>),
    /// The original is on its way; its answer will not be delivered.
    InFlight(Box<Stored>),
    /// It was undone before, or there was nothing to undo.
    NothingToDo(Box<Stored>),
    /// No such transaction; if it comes late it will be refused.
    Unknown,
    /// A void, refund or completion of the original is on its way: ask again.
    Busy,
}

/// An outcome with what every commit reads.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The op's outcome.
    pub outcome: Outcome,
    /// The business day of the commit.
    pub day: Day,
    /// Moves when reference data changes.
    pub revision: i64,
}
