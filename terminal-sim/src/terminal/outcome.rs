//! What a transaction came to, as the terminal saw it.

use std::collections::BTreeMap;

use super::batch::{Kind, Totals};

/// How a request ended at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Approved.
    Approved,
    /// Declined or refused: a final answer.
    Declined,
    /// No answer came, or the connection went.
    NoReply,
    /// An answer came whose echo is not of this request: this field differs (0: the MTI).
    WrongEcho(u8),
    /// An approval came whose MAC is wrong or missing.
    WrongMac,
    /// An approval came and the terminal did not take it (its chip declined).
    NotTaken,
}

/// The fields of an answer: text as text, octets as upper-case hex. Prints their numbers only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReplyFields(pub BTreeMap<u8, String>);

impl ReplyFields {
    /// A field.
    #[must_use]
    pub fn get(&self, de: u8) -> Option<&str> {
        self.0.get(&de).map(String::as_str)
    }
}

impl std::fmt::Debug for ReplyFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.keys().collect::<Vec<_>>())
    }
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was asked.
    pub kind: Kind,
    /// How it ended.
    pub verdict: Verdict,
    /// The terminal counts it as approved.
    pub approved: bool,
    /// DE 39 of the answer; empty when none was accepted or it had none (UnionPay 0510).
    pub code: String,
    /// DE 37 of the answer.
    pub rrn: Option<String>,
    /// DE 38 of the answer.
    pub auth_code: Option<String>,
    /// Minor units: approved when the answer says so, else as asked.
    pub amount: i64,
    /// DE 11 of the request.
    pub stan: u32,
    /// Batch in which it was sent.
    pub batch: u32,
    /// MTI of the request.
    pub mti: String,
    /// DE 3 of the request.
    pub processing_code: String,
    /// DE 13 of the answer, else the terminal's own date: `MMDD`.
    pub date: String,
    /// DE 12 of the answer, else the terminal's own time: `hhmmss`.
    pub time: String,
    /// DE 7 of the request (ASCII), for DE 90 of what refers to it.
    pub transmitted: Option<String>,
    /// Invoice number (EDC DE 62).
    pub invoice: Option<String>,
    /// Every field of the answer.
    pub reply: ReplyFields,
}

impl Outcome {
    /// DE 54 of a balance answer: the first balance in minor units, negative when it is a debit.
    /// Layout: account type 2, amount type 2, currency 3, sign C or D, amount 12.
    #[must_use]
    pub fn balance(&self) -> Option<i64> {
        let text = self.reply.get(54)?;
        let minor: i64 = text.get(8..20)?.parse().ok()?;
        Some(if text.get(7..8)? == "D" { -minor } else { minor })
    }

    /// Whether no final answer was taken: a reversal is due if the kind has one.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        !matches!(self.verdict, Verdict::Approved | Verdict::Declined)
    }
}

/// What the host said of the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Totals agree.
    Balanced,
    /// Totals differ: the batch was uploaded.
    Different,
    /// The host could not say (UnionPay result 3): uploaded as well.
    Error,
    /// The host gave no usable answer; the batch stays open.
    Unanswered,
}

/// The end of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The answer to the totals (0510).
    pub outcome: Outcome,
    /// What it said.
    pub agreement: Agreement,
    /// The terminal's own totals, right even when a fault sent others.
    pub totals: Totals,
    /// The host's totals, where the dialect returns them.
    pub host: Option<Totals>,
    /// The batch that was settled.
    pub batch: u32,
    /// Items sent up.
    pub uploaded: u32,
    /// Whether the batch closed at the terminal.
    pub closed: bool,
    /// The answer to the end of the upload, when one was sent.
    pub end: Option<Outcome>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_are_read_with_their_sign() {
        let rows = [
            ("1002156C000000123456", Some(123_456)),
            ("1002156D000000000001", Some(-1)),
            ("1002156C00000012345", None),
            ("", None),
        ];
        for (text, want) in rows {
            let outcome = Outcome {
                kind: Kind::Balance,
                verdict: Verdict::Approved,
                approved: true,
                code: "00".into(),
                rrn: None,
                auth_code: None,
                amount: 0,
                stan: 1,
                batch: 1,
                mti: "0200".into(),
                processing_code: "310000".into(),
                date: String::new(),
                time: String::new(),
                transmitted: None,
                invoice: None,
                reply: ReplyFields(BTreeMap::from([(54, text.to_owned())])),
            };
            assert_eq!(outcome.balance(), want, "{text}");
        }
    }
}
