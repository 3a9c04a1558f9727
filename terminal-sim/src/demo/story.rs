//! The story: every transaction of every dialect, a silent issuer, a late one, a duplicate, a forged
//! MAC, and the end of each terminal's batch.

use super::narrator::Narrator;
use super::{LATE_MINOR, SILENT_MINOR};
use crate::stage::{EXPIRY, HOLDERS, Holder, Stage};
use crate::terminal::{Agreement, Card, Dialect, Fault, Item, KeyForm, Settlement, Terminal, Totals};
use anyhow::{Context, Result};

/// What the terminals remember of the day.
pub(super) struct Day {
    /// Their batches as they stood before settlement, and the totals they settled.
    pub(super) batches: Vec<TerminalBatch>,
}

/// One terminal's batch.
pub(super) struct TerminalBatch {
    pub(super) tid: String,
    pub(super) dialect: Dialect,
    pub(super) items: Vec<Item>,
    pub(super) totals: Totals,
}

fn holder(label: &str) -> Result<&'static Holder> {
    HOLDERS.iter().find(|h| h.label == label).with_context(|| format!("no cardholder {label}"))
}

fn swiped(label: &str) -> Result<Card> {
    let holder = holder(label)?;
    Ok(Card::swiped(holder.pan, EXPIRY).with_pin(holder.pin))
}

fn keyed(label: &str) -> Result<Card> {
    Ok(Card::keyed(holder(label)?.pan, EXPIRY))
}

/// Plays the day up to settlement.
pub(super) async fn play(stage: &mut Stage, n: &mut Narrator) -> Result<Day> {
    for holder in HOLDERS {
        stage.recorder.card(holder.pan, holder.pin, EXPIRY);
    }
    let mut batches = Vec::new();
    batches.push(union_pay_morning(stage, n).await?);
    batches.push(pre_authorizations(stage, n).await?);
    batches.push(union_pay_troubles(stage, n).await?);
    batches.push(edc_counter(stage, n).await?);
    batches.push(edc_out_of_balance(stage, n).await?);
    batches.push(ascii_host(stage, n).await?);
    Ok(Day { batches })
}

/// Settles a terminal, and keeps what its batch was.
async fn settle(terminal: &mut Terminal, n: &mut Narrator, expected: Agreement) -> Result<TerminalBatch> {
    let items = terminal.state().items.clone();
    let done: Settlement = terminal.settle().await?;
    let sum = |t: &Totals| {
        format!(
            "debit {} of {}, credit {} of {}",
            t.debit.count,
            super::narrator::money(t.debit.minor),
            t.credit.count,
            super::narrator::money(t.credit.minor)
        )
    };
    let result = match done.agreement {
        Agreement::Balanced => "balanced".to_owned(),
        Agreement::Different => format!("different, {} items uploaded", done.uploaded),
        Agreement::Error => "host could not say".to_owned(),
        Agreement::Unanswered => "no answer".to_owned(),
    };
    let what = format!(
        "{}  settles batch {:06}: {}: {result}",
        terminal.profile().tid,
        done.batch,
        sum(&done.totals)
    );
    n.fact(&what, done.agreement == expected && done.closed)?;
    Ok(TerminalBatch {
        tid: terminal.profile().tid.clone(),
        dialect: terminal.profile().dialect,
        items,
        totals: done.totals,
    })
}

async fn union_pay_morning(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("Morning: a UnionPay terminal signs on and sells")?;
    let mut t = stage.terminal(Dialect::UnionPay, 1).await?;
    let li = swiped("Li Na")?;
    let o = t.sign_on(KeyForm::DoubleWithTrack).await?;
    n.step(&t, "sign-on, PIN, MAC and track keys under the TMK", &o, "00")?;
    let o = t.echo().await?;
    n.step(&t, "echo", &o, "00")?;
    let o = t.balance(&li).await?;
    n.step(&t, "Li Na asks for her balance", &o, "00")?;
    n.fact("  she has 5000.00", o.balance() == Some(500_000))?;
    let tea = t.sale(&li, 10_000).await?;
    n.step(&t, "sale, swiped, PIN, track encrypted", &tea, "00")?;
    let o = t.void(&li, &tea).await?;
    n.step(&t, "… she changes her mind: void", &o, "00")?;
    let o = t.void(&li, &tea).await?;
    n.step(&t, "… a second void is refused", &o, "12")?;
    let pot = t.sale(&swiped("Alice")?, 25_000).await?;
    n.step(&t, "sale to Alice, whose bank MACs its link", &pot, "00")?;
    let o = t.refund(&swiped("Alice")?, &pot, 5_000).await?;
    n.step(&t, "… a part refunded", &o, "00")?;
    let o = t.refund(&swiped("Alice")?, &pot, 20_001).await?;
    n.step(&t, "… more than is left is refused", &o, "64")?;
    let o = t.sale(&swiped("Zhang Min")?, 5_001).await?;
    n.step(&t, "Zhang Min has 50.00 and wants 50.01", &o, "51")?;
    let wrong = swiped("Wang Wei")?.with_pin("999999");
    let o = t.sale(&wrong, 1_000).await?;
    n.step(&t, "Wang Wei mistypes his PIN", &o, "55")?;
    let o = t.sale(&Card::swiped("5555555555554444", EXPIRY), 1_000).await?;
    n.step(&t, "a card that no issuer here knows", &o, "15")?;
    let o = t.offline_sale(&keyed("Bob")?, 3_000, "AB1234").await?;
    n.step(&t, "a sale authorized by telephone, sent as an advice", &o, "00")?;
    let batch = settle(&mut t, n, Agreement::Balanced).await?;
    let o = t.sign_off().await?;
    n.step(&t, "sign-off", &o, "00")?;
    Ok(batch)
}

async fn pre_authorizations(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("Noon: pre-authorizations")?;
    let mut t = stage.terminal(Dialect::UnionPay, 2).await?;
    let (wang, alice) = (swiped("Wang Wei")?, swiped("Alice")?);
    let o = t.sign_on(KeyForm::Double).await?;
    n.step(&t, "sign-on, PIN and MAC keys", &o, "00")?;
    let hold = t.pre_auth(&wang, 10_000).await?;
    n.step(&t, "Wang Wei reserves a room: hold", &hold, "00")?;
    let o = t.completion(&wang, &hold, 11_501).await?;
    n.step(&t, "… 115.01 is above 115 %", &o, "64")?;
    let o = t.completion(&wang, &hold, 11_500).await?;
    n.step(&t, "… completed with 115.00", &o, "00")?;
    let o = t.completion(&wang, &hold, 100).await?;
    n.step(&t, "… a second completion is refused", &o, "12")?;
    let hold = t.pre_auth(&alice, 30_000).await?;
    n.step(&t, "Alice reserves: hold", &hold, "00")?;
    let o = t.pre_auth_cancel(&alice, &hold).await?;
    n.step(&t, "… and cancels", &o, "00")?;
    let hold = t.pre_auth(&alice, 20_000).await?;
    n.step(&t, "Alice reserves again", &hold, "00")?;
    let o = t.completion_advice(&alice, &hold, 18_000).await?;
    n.step(&t, "… completion sent as an advice", &o, "00")?;
    let hold = t.pre_auth(&wang, 4_000).await?;
    n.step(&t, "Wang Wei reserves a table", &hold, "00")?;
    let taken = t.completion(&wang, &hold, 4_000).await?;
    n.step(&t, "… completed", &taken, "00")?;
    let o = t.completion_void(&wang, &taken).await?;
    n.step(&t, "… and the completion voided", &o, "00")?;
    settle(&mut t, n, Agreement::Balanced).await
}

async fn union_pay_troubles(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("Afternoon: things go wrong")?;
    let mut t = stage.terminal(Dialect::UnionPay, 3).await?;
    let (li, bob) = (swiped("Li Na")?, swiped("Bob")?);
    let o = t.sign_on(KeyForm::Double).await?;
    n.step(&t, "sign-on", &o, "00")?;
    let o = t.sale(&li, SILENT_MINOR).await?;
    n.step(&t, "the issuer posts the sale and says nothing", &o, "98")?;
    let o = t.sale(&bob, LATE_MINOR).await?;
    n.step(&t, "the issuer approves too late", &o, "98")?;
    t.inject(Fault::DropReply);
    let o = t.sale(&li, 6_600).await?;
    n.step(&t, "the answer is lost on the way", &o, "none")?;
    if let Some(o) = t.reversal().await? {
        n.step(&t, "… so the terminal reverses", &o, "00")?;
    }
    let o = t.sale(&li, 6_600).await?;
    n.step(&t, "… and sells again", &o, "00")?;
    let o = t.resend_last().await?;
    n.step(&t, "the same frame once more", &o, "94")?;
    t.inject(Fault::BadMac);
    let o = t.sale(&li, 1_234).await?;
    n.step(&t, "one bit of the MAC is turned", &o, "A0")?;
    let o = t.sign_on(KeyForm::Double).await?;
    n.step(&t, "… so the terminal signs on again", &o, "00")?;
    let o = t.sale(&bob, 1_234).await?;
    n.step(&t, "… and sells under its new keys", &o, "00")?;
    settle(&mut t, n, Agreement::Balanced).await
}

async fn edc_counter(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("The EDC counter")?;
    let mut t = stage.terminal(Dialect::Edc, 1).await?;
    let (alice, wang) = (swiped("Alice")?, swiped("Wang Wei")?);
    let o = t.logon().await?;
    n.step(&t, "logon", &o, "00")?;
    let o = t.echo().await?;
    n.step(&t, "test", &o, "00")?;
    let o = t.balance(&alice).await?;
    n.step(&t, "balance", &o, "00")?;
    let sold = t.sale(&alice, 12_000).await?;
    n.step(&t, "sale", &sold, "00")?;
    let o = t.resend_last().await?;
    n.step(&t, "the same frame once more: the answer is replayed", &o, "00")?;
    n.fact("  with the same RRN and authorisation", o.rrn == sold.rrn && o.auth_code == sold.auth_code)?;
    let other = t.sale(&wang, 8_000).await?;
    n.step(&t, "sale", &other, "00")?;
    let o = t.void(&keyed("Wang Wei")?, &other).await?;
    n.step(&t, "… voided", &o, "00")?;
    let o = t.refund_unlinked(&alice, 2_000).await?;
    n.step(&t, "refund", &o, "00")?;
    let o = t.offline_sale(&keyed("Bob")?, 1_500, "CD5678").await?;
    n.step(&t, "offline sale, sent as an advice", &o, "00")?;
    let o = t.sale(&wang, SILENT_MINOR).await?;
    n.step(&t, "a silent issuer", &o, "68")?;
    settle(&mut t, n, Agreement::Balanced).await
}

async fn edc_out_of_balance(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("An EDC terminal whose totals are one fen off")?;
    let mut t = stage.terminal(Dialect::Edc, 2).await?;
    let o = t.sale(&swiped("Bob")?, 9_900).await?;
    n.step(&t, "sale", &o, "00")?;
    let o = t.sale(&swiped("Li Na")?, 4_400).await?;
    n.step(&t, "sale", &o, "00")?;
    t.inject(Fault::WrongTotals(1));
    settle(&mut t, n, Agreement::Different).await
}

async fn ascii_host(stage: &Stage, n: &mut Narrator) -> Result<TerminalBatch> {
    n.chapter("A web shop's host, in plain ASCII")?;
    let mut t = stage.terminal(Dialect::Ascii, 1).await?;
    let (alice, wang) = (keyed("Alice")?, keyed("Wang Wei")?);
    let o = t.sign_on(KeyForm::Double).await?;
    n.step(&t, "sign-on", &o, "00")?;
    let o = t.authorize(&alice, 7_000).await?;
    n.step(&t, "authorization", &o, "00")?;
    let sold = t.sale(&alice, 15_000).await?;
    n.step(&t, "sale", &sold, "00")?;
    let o = t.refund(&alice, &sold, 15_000).await?;
    n.step(&t, "… refunded in full", &o, "00")?;
    let sold = t.sale(&wang, 2_500).await?;
    n.step(&t, "sale", &sold, "00")?;
    let o = t.void(&wang, &sold).await?;
    n.step(&t, "… voided", &o, "00")?;
    t.inject(Fault::DropReply);
    let o = t.sale(&wang, 3_300).await?;
    n.step(&t, "the answer is lost on the way", &o, "none")?;
    if let Some(o) = t.reversal().await? {
        n.step(&t, "… so the host sends a reversal advice", &o, "00")?;
    }
    let o = t.sale(&wang, 3_300).await?;
    n.step(&t, "… and sells again", &o, "00")?;
    let o = t.sale(&alice, SILENT_MINOR).await?;
    n.step(&t, "a silent issuer", &o, "68")?;
    t.drain().await?;
    Ok(TerminalBatch {
        tid: t.profile().tid.clone(),
        dialect: Dialect::Ascii,
        items: t.state().items.clone(),
        totals: t.totals(),
    })
}
