//! What the switch answers a terminal, whichever dialect it answers in.

use super::{Amount, AuthCode, BatchNo, Day, Refusal, ResponseCode, Rrn, Totals};

/// Who decided, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Approved; the code is what the issuer (or the switch) called it: 00, 10, 11 …
    Approved(ResponseCode),
    /// The issuer declined with this code.
    Declined(ResponseCode),
    /// The switch refused.
    Refused(Refusal),
}

impl Decision {
    /// Whether money may move (or the advice was taken).
    #[must_use]
    pub const fn is_approved(&self) -> bool {
        matches!(self, Self::Approved(_))
    }
}

/// Whether a batch agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Totals agree.
    Balanced,
    /// Totals differ: upload.
    Different,
    /// The host cannot say now.
    Error,
}

/// An answer. The dialect echoes what it echoes from the request itself.
#[derive(Debug, Clone)]
pub struct Reply {
    /// DE 39, before the dialect's table.
    pub decision: Decision,
    /// DE 13 and DE 12, `MMDDhhmmss` in the switch's local time.
    pub local_time: String,
    /// DE 37.
    pub rrn: Option<Rrn>,
    /// DE 38.
    pub auth_code: Option<AuthCode>,
    /// DE 15: the business day.
    pub day: Option<Day>,
    /// DE 4 when it differs from the request: the part that was approved.
    pub approved_amount: Option<Amount>,
    /// The PAN, where the dialect returns DE 2 and the request carried only a track.
    pub pan: Option<super::Pan>,
    /// DE 54 of the issuer, as it came.
    pub additional_amounts: Option<String>,
    /// DE 55 of the issuer, byte for byte.
    pub icc: Option<Vec<u8>>,
    /// What the terminal is asked to do next, where the dialect's header can say so.
    pub request: ProcessingRequest,
    /// What only some messages carry.
    pub body: ReplyBody,
}

/// What an answer asks of the terminal beside itself (UnionPay message header, eighth digit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProcessingRequest {
    /// Nothing.
    #[default]
    None,
    /// To sign on again.
    SignOn,
}

/// The part of an answer that only some messages have.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// Nothing more.
    Plain,
    /// Answer to a sign-on.
    SignOn {
        /// The terminal's batch from now on.
        batch: BatchNo,
        /// DE 62: new working keys under the TMK, with check values.
        keys: Option<Vec<u8>>,
    },
    /// Answer to totals.
    Totals {
        /// The host's totals.
        host: Totals,
        /// Domestic result.
        result: Balance,
        /// Foreign result (UnionPay).
        foreign: Balance,
    },
}
