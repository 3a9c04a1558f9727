//! The cells of what no issuer sees: network management, settlement, batch upload.

use anyhow::{Context as _, Result, ensure};
use iso8583_spec::{Spec, View};
use terminal_sim::terminal::{Agreement, Dialect, Fault, Outcome, Settlement as Settled};

use crate::books::Moved;
use crate::seat::{Expected, Played, Seat, approved, unknown};
use crate::table::{Scenario, Transaction};
use crate::tap::Meddle;

/// Plays a cell of network management. The same message again is answered again; of two sign-ons whose second
/// answer is lost the first one's keys still serve.
pub(crate) async fn play_network(mut seat: Seat) -> Result<Played> {
    let mut expected = Expected::default();
    let first = if seat.transaction == Transaction::SignOff {
        seat.signed_on().await?;
        seat.terminal.sign_off().await?
    } else if seat.transaction == Transaction::Echo {
        seat.terminal.echo().await?
    } else {
        seat.sign_on().await?
    };
    approved(&first)?;
    if seat.scenario == Scenario::Duplicate {
        let second = seat.terminal.resend_last().await?;
        approved(&second)?;
        let fresh = first.reply.get(62) != second.reply.get(62);
        let keys = seat.transaction == Transaction::SignOn && seat.dialect == Dialect::UnionPay;
        ensure!(fresh == keys, "a second sign-on must bring other keys, and nothing else may change");
    }
    if seat.transaction == Transaction::SignOn {
        let (card, minor) = (seat.card_for_form(), seat.minor);
        approved(&seat.terminal.sale(&card, minor).await?)?;
        expected.moved = vec![(-minor, 0)];
    }
    Ok(Played { seat, expected })
}

/// Sales, and one of everything else that counts: what the issuers hold of it.
async fn fill(seat: &mut Seat, sales: usize) -> Result<Vec<Moved>> {
    let (card, minor) = (seat.card(), seat.minor);
    let mut moved = Vec::new();
    let mut first: Option<Outcome> = None;
    for _ in 0..sales {
        let sale = seat.terminal.sale(&card, minor).await?;
        approved(&sale)?;
        moved.push((-minor, 0));
        first.get_or_insert(sale);
    }
    let sale = seat.terminal.sale(&card, minor + 1).await?;
    approved(&sale)?;
    approved(&seat.terminal.void(&card, &sale).await?)?;
    moved.extend([(-minor - 1, 0), (minor + 1, 0)]);
    let refund = match seat.dialect {
        Dialect::Edc => seat.terminal.refund_unlinked(&card, 100).await?,
        Dialect::UnionPay | Dialect::Ascii => {
            let sale = first.as_ref().context("nothing to refund")?;
            seat.terminal.refund(&card, sale, 100).await?
        }
    };
    approved(&refund)?;
    approved(&seat.terminal.offline_sale(&card, minor + 2, "VOICE2").await?)?;
    moved.extend([(100, 0), (-minor - 2, 0)]);
    Ok(moved)
}

/// Plays a cell of settlement.
pub(crate) async fn play_settlement(mut seat: Seat) -> Result<Played> {
    seat.signed_on().await?;
    let mut moved = fill(&mut seat, 1).await?;
    let before = (seat.terminal.state().batch, seat.terminal.totals());
    let done = if seat.scenario == Scenario::Duplicate {
        settled_twice(&mut seat).await?
    } else {
        let differs = seat.scenario == Scenario::Declined;
        if differs {
            seat.terminal.inject(Fault::WrongTotals(1));
        }
        let done = seat.terminal.settle().await?;
        agreed(&done, if differs { Agreement::Different } else { Agreement::Balanced })?;
        done
    };
    ensure!((done.batch, done.totals) == before, "another batch was settled than the open one");
    if let Some(host) = done.host {
        ensure!(host == done.totals, "the switch counts {host:?}, the terminal {:?}", done.totals);
    }
    // A trace number of the old batch is fresh in the new one.
    seat.terminal.set_next_stan(done.outcome.stan - 1);
    let (card, minor) = (seat.card(), seat.minor);
    approved(&seat.terminal.sale(&card, minor + 3).await?)?;
    moved.push((-minor - 3, 0));
    Ok(Played { seat, expected: Expected { moved, ..Expected::default() } })
}

fn agreed(done: &Settled, agreement: Agreement) -> Result<()> {
    ensure!(done.agreement == agreement, "the totals are {:?}, not {agreement:?}", done.agreement);
    ensure!(done.closed, "the batch did not close");
    Ok(())
}

/// The answer to the totals is lost; the same frame, and then the same question anew, get the same answer.
async fn settled_twice(seat: &mut Seat) -> Result<Settled> {
    seat.terminal.inject(Fault::DropReply);
    let lost = seat.terminal.settle().await?;
    unknown(&lost.outcome)?;
    let second = seat.terminal.resend_last().await?;
    let balanced = match seat.dialect {
        Dialect::UnionPay => second.reply.get(48).and_then(|text| text.get(30..31)) == Some("1"),
        Dialect::Edc | Dialect::Ascii => second.code == "00",
    };
    ensure!(balanced, "the totals sent again are not balanced: {:?}", second.code);
    let done = seat.terminal.settle().await?;
    agreed(&done, Agreement::Balanced)?;
    Ok(done)
}

/// Plays a cell of the upload: nine sales go up in packets of eight and one (UnionPay) or one by one.
pub(crate) async fn play_upload(mut seat: Seat) -> Result<Played> {
    seat.signed_on().await?;
    let moved = fill(&mut seat, 8).await?;
    seat.terminal.inject(Fault::WrongTotals(1));
    if seat.scenario == Scenario::Duplicate {
        seat.tap.meddle(Meddle::LoseAnswer("0330"));
        let broken_off = seat.terminal.settle().await?;
        ensure!(!broken_off.closed, "the batch closed without its upload");
        seat.terminal.inject(Fault::WrongTotals(1));
    } else if seat.scenario == Scenario::BadMac {
        seat.tap.meddle(Meddle::SpoilMac("0320"));
    }
    let batch = seat.terminal.state().batch;
    let done = seat.terminal.settle().await?;
    agreed(&done, Agreement::Different)?;
    let end = done.end.context("the upload has no end")?;
    approved(&end)?;
    let mut items = u64::from(done.uploaded);
    ensure!(items > 8, "only {items} items went up");
    if seat.scenario == Scenario::BadMac {
        ensure!(refused_uploads(&seat)? == 1, "the spoilt notice is not refused");
        items -= 1;
    }
    let uploaded = Some((batch, items));
    Ok(Played { seat, expected: Expected { moved, uploaded, ..Expected::default() } })
}

/// How many uploads were answered with a refusal of their MAC.
fn refused_uploads(seat: &Seat) -> Result<usize> {
    let spec = Spec::builtin(seat.dialect.name()).context("dialect")?;
    let mut refused = 0;
    for body in seat.tap.answers() {
        let view = View::decode(spec, &body)?;
        let code = view.text(39).map(|code| code.to_string());
        refused +=
            usize::from(view.mti().as_str() == "0330" && code.as_deref() == Some(seat.codes().bad_mac));
    }
    Ok(refused)
}
