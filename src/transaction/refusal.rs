//! Why the switch itself says no. Each dialect turns these into its own DE 39, in one table.

/// A refusal by the switch, before or instead of an issuer's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A field is malformed, or a mandatory one is missing.
    Format,
    /// The transaction is unknown, or not possible in this state (void twice, complete twice).
    InvalidTransaction,
    /// The amount is zero.
    InvalidAmount,
    /// The PAN is too short, too long or fails its check digit.
    InvalidCard,
    /// The merchant is unknown or closed.
    UnknownMerchant,
    /// The terminal is unknown or blocked.
    UnknownTerminal,
    /// The terminal does not belong to the merchant.
    NotPaired,
    /// The terminal has no working keys: it must sign on.
    NotSignedOn,
    /// The message authentication code does not match, or is missing.
    BadMac,
    /// The PIN block does not decrypt to a PIN of this card.
    BadPinBlock,
    /// The function is not supported in this dialect.
    NotSupported,
    /// No issuer serves this PAN.
    UnknownIssuer,
    /// The issuer is known and its link is down; nothing was sent.
    IssuerUnavailable,
    /// The issuer did not answer in time; the outcome is unknown and is being reversed.
    IssuerTimeout,
    /// The issuer's answer contradicts the request; the outcome is being reversed.
    IssuerMalformed,
    /// The transaction referred to is not there.
    OriginalNotFound,
    /// The amount does not fit the transaction referred to.
    OriginalAmount,
    /// The card is not the one of the transaction referred to.
    OriginalCard,
    /// The same terminal, batch, trace number and class were used before.
    Duplicate,
    /// The card has expired.
    ExpiredCard,
    /// The merchant or terminal may not do this.
    NotPermitted,
    /// The terminal's open batch holds as many transactions as its totals can count.
    BatchFull,
    /// The batch named is not the terminal's open batch.
    BatchNotFound,
    /// Terminal and host totals differ.
    OutOfBalance,
    /// The store or another part of the switch failed.
    System,
    /// The HSM failed for a reason that is not the terminal's.
    Security,
}

impl Refusal {
    /// Every refusal, for tables that must name them all.
    pub const ALL: [Self; 26] = [
        Self::Format,
        Self::InvalidTransaction,
        Self::InvalidAmount,
        Self::InvalidCard,
        Self::UnknownMerchant,
        Self::UnknownTerminal,
        Self::NotPaired,
        Self::NotSignedOn,
        Self::BadMac,
        Self::BadPinBlock,
        Self::NotSupported,
        Self::UnknownIssuer,
        Self::IssuerUnavailable,
        Self::IssuerTimeout,
        Self::IssuerMalformed,
        Self::OriginalNotFound,
        Self::OriginalAmount,
        Self::OriginalCard,
        Self::Duplicate,
        Self::ExpiredCard,
        Self::NotPermitted,
        Self::BatchFull,
        Self::BatchNotFound,
        Self::OutOfBalance,
        Self::System,
        Self::Security,
    ];

    /// A stable name, for metrics, logs and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::InvalidTransaction => "invalid-transaction",
            Self::InvalidAmount => "invalid-amount",
            Self::InvalidCard => "invalid-card",
            Self::UnknownMerchant => "unknown-merchant",
            Self::UnknownTerminal => "unknown-terminal",
            Self::NotPaired => "not-paired",
            Self::NotSignedOn => "not-signed-on",
            Self::BadMac => "bad-mac",
            Self::BadPinBlock => "bad-pin-block",
            Self::NotSupported => "not-supported",
            Self::UnknownIssuer => "unknown-issuer",
            Self::IssuerUnavailable => "issuer-unavailable",
            Self::IssuerTimeout => "issuer-timeout",
            Self::IssuerMalformed => "issuer-malformed",
            Self::OriginalNotFound => "original-not-found",
            Self::OriginalAmount => "original-amount",
            Self::OriginalCard => "original-card",
            Self::Duplicate => "duplicate",
            Self::ExpiredCard => "expired-card",
            Self::NotPermitted => "not-permitted",
            Self::BatchFull => "batch-full",
            Self::BatchNotFound => "batch-not-found",
            Self::OutOfBalance => "out-of-balance",
            Self::System => "system",
            Self::Security => "security",
        }
    }

    /// The refusal of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<_> = Refusal::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_name(refusal.name()), Some(refusal));
        }
    }
}
