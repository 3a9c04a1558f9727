//! UnionPay POS: the transaction is told by MTI, DE 3, DE 25, DE 60.1 and DE 60.3.

use super::reply::{ReplyWriter, Source};
use super::{
    Basics, ClosesWhenBalanced, Counting, Dialect, MacRule, OnDuplicate, Policy, Readers, Reversed,
    UnknownReversal, Unread, Verb, amount, auth_code, must, part, plain_payment, rrn,
};
use crate::transaction::{
    Balance, BatchNo, Decision, KeyForm, Kind, MacAlgorithm, OriginalKey, PaymentRequest, Refusal, ReplyBody,
    SettlementRequest, SideTotals, Stan, TerminalDialect, Totals, UploadEnd, UploadItem, UploadRequest,
};
use iso8583_spec::{EncodeError, Encoder, View};

/// UnionPay POS.
pub static UNIONPAY_POS: Dialect = Dialect {
    id: TerminalDialect::UnionPayPos,
    codes: CODES,
    policy: Policy {
        on_duplicate: OnDuplicate::Refuse,
        unknown_reversal_accepted: UnknownReversal::Refuse,
        counting: Counting::Gross,
        mac: MacAlgorithm::UnionPayEcb,
        closes_when_balanced: ClosesWhenBalanced::AtEndMessage,
    },
    verb,
    selectors: &[('1', &[3, 25, 60]), ('2', &[3, 25, 60]), ('3', &[60]), ('5', &[60]), ('8', &[60])],
    readers: Readers { payment, reversed, settlement, upload, upload_end },
    mac_rule,
    reply,
    unmaced: &[
        Refusal::BadMac,
        Refusal::BadPinBlock,
        Refusal::UnknownTerminal,
        Refusal::NotSignedOn,
        Refusal::Security,
    ],
};

/// DE 39 as UnionPay terminals know it.
const CODES: &[(Refusal, &str)] = &[
    (Refusal::Format, "30"),
    (Refusal::InvalidTransaction, "12"),
    (Refusal::InvalidAmount, "13"),
    (Refusal::InvalidCard, "14"),
    (Refusal::UnknownMerchant, "03"),
    (Refusal::UnknownTerminal, "97"),
    (Refusal::NotPaired, "03"),
    (Refusal::NotSignedOn, "77"),
    (Refusal::BadMac, "A0"),
    (Refusal::BadPinBlock, "99"),
    (Refusal::NotSupported, "40"),
    (Refusal::UnknownIssuer, "15"),
    (Refusal::IssuerUnavailable, "91"),
    (Refusal::IssuerTimeout, "98"),
    (Refusal::IssuerMalformed, "20"),
    (Refusal::OriginalNotFound, "25"),
    (Refusal::OriginalAmount, "64"),
    (Refusal::OriginalCard, "25"),
    (Refusal::Duplicate, "94"),
    (Refusal::ExpiredCard, "54"),
    (Refusal::NotPermitted, "57"),
    (Refusal::BatchFull, "12"),
    (Refusal::BatchNotFound, "77"),
    (Refusal::OutOfBalance, "95"),
    (Refusal::System, "96"),
    (Refusal::Security, "A7"),
];

/// MTI without its origin digit, DE 3, DE 25, DE 60.1, DE 60.3; `""` stands for any value.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, Verb);

const TRANSACTIONS: &[Row] = &[
    ("080", "", "", "00", "001", Verb::SignOn(KeyForm::Single)),
    ("080", "", "", "00", "003", Verb::SignOn(KeyForm::Double)),
    ("080", "", "", "00", "004", Verb::SignOn(KeyForm::DoubleWithTrack)),
    ("082", "", "", "00", "002", Verb::SignOff),
    ("082", "", "", "00", "301", Verb::Echo),
    ("020", "310000", "00", "01", "", Verb::Pay(Kind::Balance)),
    ("020", "000000", "00", "22", "", Verb::Pay(Kind::Sale)),
    ("020", "200000", "00", "23", "", Verb::Pay(Kind::Void)),
    ("022", "200000", "00", "25", "", Verb::Pay(Kind::Refund)),
    ("010", "030000", "06", "10", "", Verb::Pay(Kind::PreAuth)),
    ("010", "200000", "06", "11", "", Verb::Pay(Kind::PreAuthCancel)),
    ("020", "000000", "06", "20", "", Verb::Pay(Kind::Completion)),
    ("022", "000000", "06", "24", "", Verb::Pay(Kind::CompletionAdvice)),
    ("020", "200000", "06", "21", "", Verb::Pay(Kind::CompletionVoid)),
    ("022", "000000", "00", "30", "", Verb::Pay(Kind::OfflineSale)),
    ("040", "", "", "", "", Verb::Reverse),
    ("050", "", "", "00", "201", Verb::Settle),
    ("032", "", "", "00", "202", Verb::UploadEnd),
    ("032", "", "", "00", "207", Verb::UploadEnd),
    ("032", "", "", "", "", Verb::Upload),
];

fn verb(view: &View<'_>) -> Option<Verb> {
    let de60 = view.text(60);
    let de60 = de60.as_deref().unwrap_or_default();
    let (kind, management) = (de60.get(..2).unwrap_or_default(), de60.get(8..11).unwrap_or_default());
    let (mti, code, condition) = (view.mti(), view.text(3), view.text(25));
    let keys = [
        mti.as_str().get(..3).unwrap_or_default(),
        code.as_deref().unwrap_or_default(),
        condition.as_deref().unwrap_or_default(),
        kind,
        management,
    ];
    let fits = |row: &&Row| {
        [row.0, row.1, row.2, row.3, row.4]
            .iter()
            .zip(keys)
            .all(|(want, got)| want.is_empty() || *want == got)
    };
    TRANSACTIONS.iter().find(fits).map(|row| row.5)
}

/// MAC on authorization, financial, advice and reversal messages. On an upload it is checked
/// when it is there and never asked for; network management and settlement carry none.
fn mac_rule(view: &View<'_>) -> MacRule {
    match view.mti().class() {
        '1' | '2' | '4' => MacRule::Required,
        '3' => MacRule::IfPresent,
        _ => MacRule::None,
    }
}

/// DE 60.2.
fn batch(view: &View<'_>) -> Result<BatchNo, Unread> {
    let de60 = must(view, 60)?;
    BatchNo::parse(part(&de60, 60, 2, 8)?).map_err(|_| Unread::format(60))
}

fn payment(view: &View<'_>, kind: Kind, basics: &Basics) -> Result<PaymentRequest, Unread> {
    // DE 53: PIN format (1 without PAN, 2 with), algorithm, track flag.
    let control = view.text(53);
    let control = control.as_deref().unwrap_or_default();
    let de60 = must(view, 60)?;
    must(view, 22)?;
    must(view, 25)?;
    let mut payment = plain_payment(view, kind, basics)?;
    payment.card.track_encrypted = control.get(2..3) == Some("1");
    if let Some(pin) = &mut payment.pin {
        pin.with_pan = control.get(..1) != Some("1");
    }
    payment.batch = Some(batch(view)?);
    payment.original = original(view, kind)?;
    payment.partial_accepted = de60.get(13..14) == Some("1");
    Ok(payment)
}

/// DE 61: original batch 6, STAN 6, date 4, …; DE 37 beside it. Unused parts are zero.
fn original(view: &View<'_>, kind: Kind) -> Result<Option<OriginalKey>, Unread> {
    if (super::needs_original(kind) || kind == Kind::Refund) && view.text(61).is_none() {
        return Err(Unread::format(61));
    }
    let Some(de61) = view.text(61) else { return Ok(None) };
    let batch = BatchNo::parse(part(&de61, 61, 0, 6)?).map_err(|_| Unread::format(61))?;
    let stan = Stan::parse(part(&de61, 61, 6, 12)?).map_err(|_| Unread::format(61))?;
    Ok(Some(OriginalKey {
        batch: Some(batch).filter(|b| b.number() != 0),
        stan: Some(stan).filter(|s| s.number() != 0),
        rrn: rrn(view)?,
        auth_code: auth_code(view)?,
        mmdd: de61.get(12..16).filter(|d| *d != "0000").map(str::to_owned),
        invoice: None,
    }))
}

/// The original's own trace number, in the batch of DE 60.2.
fn reversed(view: &View<'_>, basics: &Basics) -> Result<Reversed, Unread> {
    Ok((basics.stan, Some(batch(view)?)))
}

/// DE 48: domestic debit amount 12, count 3, credit amount 12, count 3, result 1; the same for
/// foreign cards (31 digits), which some terminals leave out.
fn settlement(view: &View<'_>, basics: &Basics) -> Result<SettlementRequest, Unread> {
    let de48 = must(view, 48)?;
    Ok(SettlementRequest {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: Some(batch(view)?),
        totals: totals(&de48, 0)?,
        foreign: if de48.len() >= 62 { totals(&de48, 31)? } else { Totals::default() },
    })
}

fn totals(de48: &str, at: usize) -> Result<Totals, Unread> {
    let number = |from: usize, width: usize| -> Result<i64, Unread> {
        part(de48, 48, at + from, at + from + width)?.parse().map_err(|_| Unread::format(48))
    };
    let side = |from: usize| -> Result<SideTotals, Unread> {
        let count = u32::try_from(number(from + 12, 3)?).map_err(|_| Unread::format(48))?;
        Ok(SideTotals { minor: number(from, 12)?, count })
    };
    Ok(Totals { debit: side(0)?, credit: side(15)? })
}

/// 60.3 = 201: DE 48 is a count and up to eight items of type 2, STAN 6, PAN 20, amount 12.
/// Any other upload is one transaction a message, named by its own STAN: DE 61 of a refund's notice
/// names the sale.
fn upload(view: &View<'_>, basics: &Basics) -> Result<UploadRequest, Unread> {
    let magnetic = must(view, 60)?.get(8..11) == Some("201");
    let items = match view.text(48) {
        Some(de48) if magnetic => upload_items(&de48)?,
        Some(_) | None => vec![UploadItem {
            stan: basics.stan,
            minor: view
                .text(4)
                .map(|_| amount(view, basics))
                .transpose()?
                .map_or(0, crate::transaction::Amount::minor),
        }],
    };
    Ok(UploadRequest {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: Some(batch(view)?),
        items,
    })
}

fn upload_items(de48: &str) -> Result<Vec<UploadItem>, Unread> {
    const WIDTH: usize = 40;
    let count: usize = part(de48, 48, 0, 2)?.parse().map_err(|_| Unread::format(48))?;
    if count > 8 || de48.len() < 2 + count * WIDTH {
        return Err(Unread::format(48));
    }
    (0..count)
        .map(|i| {
            let at = 2 + i * WIDTH;
            Ok(UploadItem {
                stan: Stan::parse(part(de48, 48, at + 2, at + 8)?).map_err(|_| Unread::format(48))?,
                minor: part(de48, 48, at + 28, at + 40)?.parse().map_err(|_| Unread::format(48))?,
            })
        })
        .collect()
}

/// DE 48 = n4 count of all items; 60.3 = 207 when the totals agreed, 202 when not.
fn upload_end(view: &View<'_>, basics: &Basics) -> Result<UploadEnd, Unread> {
    let count = must(view, 48)?.parse().map_err(|_| Unread::format(48))?;
    let balanced = must(view, 60)?.get(8..11) == Some("207");
    Ok(UploadEnd {
        tid: basics.tid,
        mid: basics.mid,
        stan: basics.stan,
        batch: Some(batch(view)?),
        count: Some(count),
        totals: None,
        balanced: Some(balanced),
    })
}

const PAYMENT_REPLY: &[(u8, Source)] = &[
    (2, Source::Card),
    (3, Source::Echo),
    (4, Source::Amount),
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (14, Source::Echo),
    (15, Source::Day),
    (23, Source::Echo),
    (25, Source::Echo),
    (32, Source::Acquirer),
    (37, Source::Rrn),
    (38, Source::AuthCode),
    (39, Source::Code),
    (41, Source::Echo),
    (42, Source::Echo),
    (49, Source::Echo),
];

const PAYMENT_REPLY_TAIL: &[(u8, Source)] =
    &[(54, Source::AdditionalAmounts), (55, Source::Icc), (60, Source::Echo), (63, Source::Echo)];

const MANAGEMENT_REPLY: &[(u8, Source)] = &[
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (32, Source::Acquirer),
    (37, Source::Rrn),
    (39, Source::Code),
    (41, Source::Echo),
    (42, Source::Echo),
];

const BATCH_REPLY: &[(u8, Source)] = &[
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (15, Source::Day),
    (32, Source::Acquirer),
    (37, Source::Rrn),
];

/// A notice goes up as the 0220 that it was, and its terminal holds the answer's DE 3, 4 and 49 against it.
const UPLOAD_REPLY: &[(u8, Source)] = &[
    (3, Source::Echo),
    (4, Source::Echo),
    (11, Source::Echo),
    (12, Source::Time),
    (13, Source::Date),
    (15, Source::Day),
    (25, Source::Echo),
    (32, Source::Acquirer),
    (37, Source::Rrn),
    (39, Source::Code),
    (41, Source::Echo),
    (42, Source::Echo),
    (48, Source::Echo),
    (49, Source::Echo),
    (60, Source::Echo),
];

fn reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    match writer.request.mti().class() {
        '8' => management_reply(writer, encoder),
        '5' => totals_reply(writer, encoder),
        '3' => writer.fields(encoder, UPLOAD_REPLY),
        class => {
            writer.fields(encoder, PAYMENT_REPLY)?;
            if class != '4' {
                control_reply(writer, encoder)?;
            }
            writer.fields(encoder, PAYMENT_REPLY_TAIL)
        }
    }
}

/// DE 53 comes back with its track flag, the third digit, as 0.
fn control_reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    let Some(control) = writer.request.text(53) else { return Ok(()) };
    let cleared: String = control.char_indices().map(|(i, c)| if i == 2 { '0' } else { c }).collect();
    encoder.text(53, &cleared)
}

/// A sign-on gets its batch number in DE 60.2 and its keys in DE 62.
fn management_reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    writer.fields(encoder, MANAGEMENT_REPLY)?;
    match &writer.reply.body {
        ReplyBody::SignOn { batch, keys } => {
            let asked = writer.request.text(60);
            let asked = asked.as_deref().unwrap_or_default();
            let (head, tail) = (asked.get(..2).unwrap_or("00"), asked.get(8..).unwrap_or("000"));
            encoder.text(60, &format!("{head}{batch}{tail}"))?;
            match keys {
                Some(keys) => encoder.bytes(62, keys),
                None => Ok(()),
            }
        }
        ReplyBody::Plain | ReplyBody::Totals { .. } => writer.echo(encoder, 60),
    }
}

/// The 0510 carries the host's totals and the results in DE 48 and no DE 39 when it has them.
fn totals_reply(writer: &ReplyWriter<'_>, encoder: &mut Encoder<'_>) -> Result<(), EncodeError> {
    writer.fields(encoder, BATCH_REPLY)?;
    let ReplyBody::Totals { host, result, foreign } = &writer.reply.body else {
        return writer.fields(
            encoder,
            &[
                (39, Source::Code),
                (41, Source::Echo),
                (42, Source::Echo),
                (48, Source::Echo),
                (49, Source::Echo),
                (60, Source::Echo),
            ],
        );
    };
    if !matches!(writer.reply.decision, Decision::Approved(_)) {
        writer.fields(encoder, &[(39, Source::Code)])?;
    }
    writer.fields(encoder, &[(41, Source::Echo), (42, Source::Echo)])?;
    let side = |t: &Totals| {
        format!("{:012}{:03}{:012}{:03}", t.debit.minor, t.debit.count, t.credit.minor, t.credit.count)
    };
    let digit = |b: &Balance| match b {
        Balance::Balanced => '1',
        Balance::Different => '2',
        Balance::Error => '3',
    };
    let mut text = format!("{}{}", side(host), digit(result));
    let asked = writer.request.text(48).map_or(0, |t| t.len());
    if asked >= 62 {
        text.push_str(&side(&Totals::default()));
        text.push(digit(foreign));
    }
    encoder.text(48, &text)?;
    writer.fields(encoder, &[(49, Source::Echo), (60, Source::Echo)])
}
