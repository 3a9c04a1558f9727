//! The meaning of a payment, free of any wire, any store and any key.
//!
//! Every other room speaks in these types; this one imports nothing from them.

mod amount;
mod identity;
mod mac;
mod pan;
mod refusal;
mod reply;
mod request;
mod zone;

pub use amount::{Amount, AmountError, Currency};
pub use identity::{
    AuthCode, BatchNo, Day, Fixed, IssuerId, LinkTime, Mid, NodeId, ProcessingCode, ResponseCode, Rrn, Stan,
    TerminalDialect, TextError, Tid, TxnId,
};
pub use mac::MacAlgorithm;
pub use pan::{CardError, Expiry, Pan, SealedPan, Track2};
pub use refusal::Refusal;
pub use reply::{Balance, Decision, ProcessingRequest, Reply, ReplyBody};
pub use request::{
    CardData, KeyForm, Kind, NetworkRequest, NetworkVerb, OriginalKey, PaymentRequest, PinEntry, Request,
    ReversalRequest, SettlementRequest, Side, SideTotals, Totals, UploadEnd, UploadItem, UploadRequest,
};
pub use zone::ZoneUse;
