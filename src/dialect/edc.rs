//! Classic EDC (Hypercom/VeriFone style): the transaction is told by MTI and DE 3, whose middle
//! pair is the account type and does not matter here.

use super::reply::{ReplyWriter, Source};
use super::{
    Basics, ClosesWhenBalanced, Counting, Dialect, MacRule, OnDuplicate, Policy, Readers, Reversed,
    UnknownReversal, Unread, Verb, must, part, plain_payment, rrn,
};
use crate::transaction::{
    Amount, AuthCode, BatchNo, KeyForm, Kind, MacAlgorithm, OriginalKey, PaymentRequest, Refusal,
    SettlementRequest, SideTotals, Stan, TerminalDialect, Totals, UploadEnd, UploadItem, UploadRequest,
};
use iso8583_spec::{EncodeError, Encoder, View};

/// Classic EDC.
pub static EDC: Dialect = Dialect {
    id: TerminalDialect::Edc,
    codes: CODES,
    policy: Policy {
        on_duplicate: OnDuplicate::Replay,
        unknown_reversal_accepted: UnknownReversal::Accept,
        counting: Counting::Net,
        mac: MacAlgorithm::X919,
        closes_when_balanced: ClosesWhenBalanced::AtOnce,
    },
    verb,
    selectors: &[('1', &[3]), ('2', &[3]), ('5', &[3]), ('8', &[3])],
    readers: Readers { payment, reversed, settlement, upload, upload_end },
    mac_rule,
    reply,
    unmaced: &[Refusal::BadMac, Refusal::NotSignedOn, Refusal::UnknownTerminal, Refusal::Security],
};

/// DE 39 as EDC terminals know it.
const CODES: &[(Refusal, &str)] = &[
    (Refusal::Format, "30"),
    (Refusal::InvalidTransaction, "12"),
    (Refusal::InvalidAmount, "13"),
    (Refusal::InvalidCard, "14"),
    (Refusal::UnknownMerchant, "03"),
    (Refusal::UnknownTerminal, "89"),
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
    (Refusal::BatchNotFound, "80"),
    (Refusal::OutOfBalance, "95"),
    (Refusal::System, "96"),
    (Refusal::Security, "96"),
];

/// MTI without its origin digit, first and last pair of DE 3; `""` stands for any value.
type Row = (&'static str, &'static str, &'static str, Verb);

const TRANSACTIONS: &[Row] = &[
    ("020", "00", "00", Verb::Pay(Kind::Sale)),
    ("020", "02", "00", Verb::Pay(Kind::Void)),
    ("020", "22", "00", Verb::Pay(Kind::Void)),
    ("020", "20", "00", Verb::Pay(Kind::Refund)),
    ("020", "31", "00", Verb::Pay(Kind::Balance)),
    ("010", "31", "00", Verb::Pay(Kind::Balance)),
    ("022", "00", "00", Verb::Pay(Kind::OfflineSale)),
    ("040", "", "", Verb::Reverse),
    ("032", "", "", Verb::Upload),
    ("050", "92", "00", Verb::Settle),
    ("050", "96", "00", Verb::UploadEnd),
    ("080", "92", "00", Verb::SignOn(KeyForm::None)),
    ("080", "99", "00", Verb::Echo),
];

fn verb(view: &View<'_>) -> Option<Verb> {
    let code = view.text(3);
    let code = code.as_deref().unwrap_or_default();
    let mti = view.mti();
    let keys = [
        mti.as_str().get(..3).unwrap_or_default(),
        code.get(..2).unwrap_or_default(),
        code.get(4..6).unwrap_or_default(),
    ];
    let fits = |row: &&Row| {
        [row.0, row.1, row.2].iter().zip(keys).all(|(want, got)| want.is_empty() || *want == got)
    };
    TRANSACTIONS.iter().find(fits).map(|row| row.3)
}

/// MAC on authorization, financial, advice and reversal messages; elsewhere checked when there.
fn mac_rule(view: &View<'_>) -> MacRule {
    match view.mti().class() {
        '1' | '2' | '4' => MacRule::Required,
        _ => MacRule::IfPresent,
    }
}

fn payment(view: &View<'_>, kind: Kind, basics: &Basics) -> Result<PaymentRequest, Unread> {
    must(view, 22)?;
    let payment = plain_payment(view, kind, basics)?;
    if kind == Kind::OfflineSale && payment.auth_code.is_none() {
        return Err(Unread::format(38));
    }
    let original = original(view, kind, payment.auth_code)?;
    Ok(PaymentRequest { original, invoice: view.text(62).map(|t| t.to_string()), ..payment })
}

/// A void names its original by RRN (DE 37) and invoice (DE 62); a refund may.
fn original(view: &View<'_>, kind: Kind, auth_code: Option<AuthCode>) -> Result<Option<OriginalKey>, Unread> {
    let rrn = rrn(view)?;
    match kind {
        Kind::Void => {
            let invoice = view.text(62).map(|t| t.to_string());
            if rrn.is_none() && invoice.is_none() {
                return Err(Unread::format(37));
            }
            Ok(Some(OriginalKey { rrn, invoice, auth_code, ..OriginalKey::default() }))
        }
        Kind::Refund => Ok(rrn.map(|rrn| OriginalKey { rrn: Some(rrn), ..OriginalKey::default() })),
        Kind::Balance
        | Kind::Sale
        | Kind::PreAuth
        | Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionAdvice
        | Kind::CompletionVoid
        | Kind::OfflineSale
        | Kind::Reversal => Ok(None),
    }
}

/// The original's own trace number, in the terminal's open batch.
fn reversed(_: &View<'_>, basics: &Basics) -> Result<Reversed, Unread> {
    Ok((basics.stan, None))
}

/// DE 60 holds the batch number in its first six digits.
fn batch(view: &View<'_>) -> Result<Option<BatchNo>, Unread> {
    let Some(text) = view.text(60) else { return Ok(None) };
    BatchNo::parse(part(&text, 60, 0, 6)?).map(Some).map_err(|_| Unread::format(60))
}

/// DE 63, 90 digits: count 3 and amount 12 of credit-card sales, credit-card refunds, debit-card
/// sales, debit-card refunds, authorised sales, authorised refunds; 30 digits: sales and refunds.
fn totals(view: &View<'_>) -> Result<Totals, Unread> {
    let de63 = must(view, 63)?;
    let pair = |at: usize| -> Result<SideTotals, Unread> {
        Ok(SideTotals {
            count: part(&de63, 63, at, at + 3)?.parse().map_err(|_| Unread::format(63))?,
            minor: part(&de63, 63, at + 3, at + 15)?.parse().map_err(|_| Unread::format(63))?,
        })
    };
    let pairs = if de63.len() >= 90 { 3 } else { 1 };
    let mut totals = Totals::default();
    for i in 0..pairs {
        let (sale, refund) = (pair(i * 30)?, pair(i * 30 + 15)?);
        totals.debit.count += sale.count;
        totals.debit.minor += sale.minor;
        totals.credit.count += refund.count;
        totals.credit.minor += refund.minor;
    }
    Ok(totals)
}

fn settlement(view: &View<'_>, basics: &Basics) -> Result<SettlementRequest, Unread> {
    Ok(SettlementRequest {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: batch(view)?,
        totals: totals(view)?,
        foreign: Totals::default(),
    })
}

/// DE 60 = original MTI 4, original STAN 6, RRN 12.
fn upload(view: &View<'_>, basics: &Basics) -> Result<UploadRequest, Unread> {
    let de60 = must(view, 60)?;
    let stan = Stan::parse(part(&de60, 60, 4, 10)?).map_err(|_| Unread::format(60))?;
    // An amount of zero is an item voided at the terminal.
    let minor = Amount::parse(&must(view, 4)?, basics.currency).map_err(|_| Unread::format(4))?.minor();
    Ok(UploadRequest {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: None,
        items: vec![UploadItem { stan, minor }],
    })
}

fn upload_end(view: &View<'_>, basics: &Basics) -> Result<UploadEnd, Unread> {
    Ok(UploadEnd {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: batch(view)?,
        count: None,
        totals: Some(totals(view)?),
        balanced: None,
    })
}

const REPLY: &[(u8, Source)] = &[
    (3, Source::Echo),
    (4, Source::Amount),
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (24, Source::Echo),
    (37, Source::Rrn),
    (38, Source::AuthCode),
    (39, Source::Code),
    (41, Source::Echo),
    (54, Source::AdditionalAmounts),
    (55, Source::Icc),
    (62, Source::Echo),
];

fn reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    writer.fields(encoder, REPLY)
}
