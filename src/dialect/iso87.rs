//! Plain ISO 8583:1987 in ASCII, as a terminal or a merchant's host speaks it.

use super::reply::{ReplyWriter, Source};
use super::{
    Basics, ClosesWhenBalanced, Counting, Dialect, MacRule, OnDuplicate, Policy, Readers, Reversed,
    UnknownReversal, Unread, Verb, part, plain_payment, rrn,
};
use crate::transaction::{
    AuthCode, KeyForm, Kind, MacAlgorithm, OriginalKey, PaymentRequest, Refusal, Stan, TerminalDialect,
};
use iso8583_spec::{EncodeError, Encoder, View};

/// ISO 8583:1987 in ASCII.
pub static ISO87_ASCII: Dialect = Dialect {
    id: TerminalDialect::Iso87Ascii,
    codes: CODES,
    policy: Policy {
        on_duplicate: OnDuplicate::Refuse,
        unknown_reversal_accepted: UnknownReversal::Refuse,
        counting: Counting::Net,
        mac: MacAlgorithm::X919,
        closes_when_balanced: ClosesWhenBalanced::AtOnce,
    },
    verb,
    selectors: &[('1', &[3]), ('2', &[3]), ('8', &[70])],
    readers: Readers {
        payment,
        reversed,
        settlement: |_, _| Err(NO_BATCH),
        upload: |_, _| Err(NO_BATCH),
        upload_end: |_, _| Err(NO_BATCH),
    },
    mac_rule,
    reply,
    unmaced: &[Refusal::BadMac, Refusal::NotSignedOn, Refusal::UnknownTerminal, Refusal::Security],
};

/// DE 39 of ISO 8583:1987.
const CODES: &[(Refusal, &str)] = &[
    (Refusal::Format, "30"),
    (Refusal::InvalidTransaction, "12"),
    (Refusal::InvalidAmount, "13"),
    (Refusal::InvalidCard, "14"),
    (Refusal::UnknownMerchant, "03"),
    (Refusal::UnknownTerminal, "58"),
    (Refusal::NotPaired, "03"),
    (Refusal::NotSignedOn, "63"),
    (Refusal::BadMac, "63"),
    (Refusal::BadPinBlock, "63"),
    (Refusal::NotSupported, "40"),
    (Refusal::UnknownIssuer, "15"),
    (Refusal::IssuerUnavailable, "91"),
    (Refusal::IssuerTimeout, "68"),
    (Refusal::IssuerMalformed, "20"),
    (Refusal::OriginalNotFound, "25"),
    (Refusal::OriginalAmount, "64"),
    (Refusal::OriginalCard, "25"),
    (Refusal::Duplicate, "94"),
    (Refusal::ExpiredCard, "54"),
    (Refusal::NotPermitted, "57"),
    (Refusal::BatchFull, "12"),
    (Refusal::BatchNotFound, "25"),
    (Refusal::OutOfBalance, "95"),
    (Refusal::System, "96"),
    (Refusal::Security, "96"),
];

/// MTI without its origin digit, DE 3 without its account types (or DE 70); `""`: any value.
type Row = (&'static str, &'static str, Verb);

const TRANSACTIONS: &[Row] = &[
    ("020", "00", Verb::Pay(Kind::Sale)),
    ("020", "02", Verb::Pay(Kind::Void)),
    ("020", "20", Verb::Pay(Kind::Refund)),
    ("020", "31", Verb::Pay(Kind::Balance)),
    ("010", "31", Verb::Pay(Kind::Balance)),
    ("010", "00", Verb::Pay(Kind::PreAuth)),
    ("040", "", Verb::Reverse),
    ("042", "", Verb::Reverse),
    ("080", "001", Verb::SignOn(KeyForm::None)),
    ("080", "002", Verb::SignOff),
    ("080", "301", Verb::Echo),
];

fn verb(view: &View<'_>) -> Option<Verb> {
    let mti = view.mti();
    let class = mti.as_str().get(..3).unwrap_or_default();
    let (code, management) = (view.text(3), view.text(70));
    let told = match mti.class() {
        '8' => management.as_deref().unwrap_or_default(),
        _ => code.as_deref().and_then(|c| c.get(..2)).unwrap_or_default(),
    };
    TRANSACTIONS.iter().find(|row| row.0 == class && (row.1.is_empty() || row.1 == told)).map(|row| row.2)
}

/// MAC on authorization, financial and reversal messages, none on network management.
fn mac_rule(view: &View<'_>) -> MacRule {
    match view.mti().class() {
        '1' | '2' | '4' => MacRule::Required,
        _ => MacRule::None,
    }
}

/// No row of the table leads there: this dialect settles nothing.
const NO_BATCH: Unread = Unread { refusal: Refusal::NotSupported, field: 0 };

fn payment(view: &View<'_>, kind: Kind, basics: &Basics) -> Result<PaymentRequest, Unread> {
    let payment = plain_payment(view, kind, basics)?;
    let original = original(view, kind, payment.auth_code)?;
    Ok(PaymentRequest { original, ..payment })
}

/// DE 90: MTI 4, STAN 6, DE 7 10, acquirer 11, forwarder 11 of the original.
fn original_stan(view: &View<'_>) -> Result<Option<Stan>, Unread> {
    let Some(de90) = view.text(90) else { return Ok(None) };
    Stan::parse(part(&de90, 90, 4, 10)?).map(Some).map_err(|_| Unread::format(90))
}

/// A void names its original by DE 90 or DE 37; a refund may.
fn original(view: &View<'_>, kind: Kind, auth_code: Option<AuthCode>) -> Result<Option<OriginalKey>, Unread> {
    let stan = original_stan(view)?;
    let rrn = rrn(view)?;
    let named = stan.is_some() || rrn.is_some();
    if super::needs_original(kind) && !named {
        return Err(Unread::format(90));
    }
    let may = super::needs_original(kind) || kind == Kind::Refund;
    Ok((may && named).then_some(OriginalKey { stan, rrn, auth_code, ..OriginalKey::default() }))
}

/// The original is the one of DE 90, else the one with the reversal's own STAN.
fn reversed(view: &View<'_>, basics: &Basics) -> Result<Reversed, Unread> {
    Ok((original_stan(view)?.unwrap_or(basics.stan), None))
}

const REPLY: &[(u8, Source)] = &[
    (2, Source::Echo),
    (3, Source::Echo),
    (4, Source::Amount),
    (7, Source::Echo),
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (15, Source::Day),
    (24, Source::Echo),
    (25, Source::Echo),
    (32, Source::Acquirer),
    (37, Source::Rrn),
    (38, Source::AuthCode),
    (39, Source::Code),
    (41, Source::Echo),
    (42, Source::Echo),
    (49, Source::Echo),
    (54, Source::AdditionalAmounts),
    (55, Source::Icc),
];

const NETWORK_REPLY: &[(u8, Source)] = &[
    (7, Source::Echo),
    (11, Source::Echo),
    (39, Source::Code),
    (41, Source::Echo),
    (42, Source::Echo),
    (70, Source::Echo),
];

fn reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    let table = if writer.request.mti().class() == '8' { NETWORK_REPLY } else { REPLY };
    writer.fields(encoder, table)
}
