//! The cells of payments: balance, sale, void, refund, the pre-authorization family, advices, reversal.

use anyhow::{Context as _, Result, ensure};
use iso8583_spec::{Spec, View};
use terminal_sim::issuer::Rule;
use terminal_sim::terminal::{Dialect, Fault, Outcome, Verdict};

use crate::books::Moved;
use crate::seat::{Ends, Expected, Played, Seat, approved, refused, totals_moved, unknown};
use crate::table::Scenario;
use crate::table::Transaction::{
    Balance, BatchUpload, Completion, CompletionAdvice, CompletionVoid, Echo, OfflineSale, PreAuth,
    PreAuthCancel, Refund, Reversal, Sale, Settlement, SignOff, SignOn, Void,
};
use crate::tap::Meddle;

/// Plays a payment's cell up to where the books can be read.
pub(crate) async fn play(mut seat: Seat) -> Result<Played> {
    seat.signed_on().await?;
    let original = prepare(&mut seat).await?;
    let before = seat.terminal.totals();
    let attempted = match (seat.transaction.is_advice(), seat.scenario) {
        (true, _) => advice(&mut seat, original.as_ref()).await?,
        (false, Scenario::Approved | Scenario::Duplicate) => taken(&mut seat, original.as_ref()).await?,
        (false, Scenario::Declined | Scenario::Silent | Scenario::Late) => {
            declined(&mut seat, original.as_ref()).await?
        }
        (false, Scenario::Reversed) => reversed(&mut seat, original.as_ref()).await?,
        (false, Scenario::BadMac) => bad_mac(&mut seat, original.as_ref()).await?,
    };
    let (debit, credit) = if attempted.in_vain { ((0, 0), (0, 0)) } else { counted(&seat) };
    totals_moved(before, seat.terminal.totals(), debit, credit)?;
    let again = original.filter(|_| attempted.in_vain);
    Ok(Played { expected: Expected { again, ..attempted.books }, seat })
}

/// What one attempt must leave.
struct Attempted {
    books: Expected,
    /// Nothing is posted in the end.
    in_vain: bool,
}

/// One attempt at the cell's transaction.
pub(crate) async fn attempt(seat: &mut Seat, original: Option<&Outcome>) -> Result<Outcome> {
    let (card, minor) = (seat.card(), seat.minor);
    let original = original.context("no transaction to refer to");
    let terminal = &mut seat.terminal;
    let outcome = match seat.transaction {
        Balance => terminal.balance(&card).await,
        Sale | Reversal => terminal.sale(&card, minor).await,
        Void => terminal.void(&card, original?).await,
        Refund if seat.dialect == Dialect::Edc => terminal.refund_unlinked(&card, minor).await,
        Refund => terminal.refund(&card, original?, minor).await,
        PreAuth => terminal.pre_auth(&card, minor).await,
        PreAuthCancel => terminal.pre_auth_cancel(&card, original?).await,
        Completion => terminal.completion(&card, original?, minor).await,
        CompletionAdvice => terminal.completion_advice(&card, original?, minor).await,
        CompletionVoid => terminal.completion_void(&card, original?).await,
        OfflineSale => terminal.offline_sale(&card, minor, "VOICE1").await,
        SignOn | SignOff | Echo | Settlement | BatchUpload => anyhow::bail!("not a payment"),
    };
    Ok(outcome?)
}

/// The transaction that the cell's own refers to, approved.
async fn prepare(seat: &mut Seat) -> Result<Option<Outcome>> {
    let (card, minor) = (seat.card(), seat.minor);
    let terminal = &mut seat.terminal;
    let outcome = match seat.transaction {
        Void => terminal.sale(&card, minor).await?,
        Refund if seat.dialect != Dialect::Edc => terminal.sale(&card, minor + 5).await?,
        PreAuthCancel => terminal.pre_auth(&card, minor).await?,
        Completion | CompletionAdvice => terminal.pre_auth(&card, minor + 1).await?,
        CompletionVoid => {
            let hold = terminal.pre_auth(&card, minor + 1).await?;
            approved(&hold)?;
            terminal.completion(&card, &hold, minor).await?
        }
        Refund | Balance | Sale | PreAuth | OfflineSale | Reversal | SignOn | SignOff | Echo | Settlement
        | BatchUpload => return Ok(None),
    };
    approved(&outcome)?;
    Ok(Some(outcome))
}

/// What the issuers hold of the transactions before the cell's own.
fn prepared(seat: &Seat) -> Vec<Moved> {
    let minor = seat.minor;
    match seat.transaction {
        Void => vec![(-minor, 0)],
        Refund if seat.dialect != Dialect::Edc => vec![(-minor - 5, 0)],
        PreAuthCancel => vec![(0, minor)],
        Completion | CompletionAdvice => vec![(0, minor + 1)],
        CompletionVoid => vec![(0, minor + 1), (-minor, -minor - 1)],
        Refund | Balance | Sale | PreAuth | OfflineSale | Reversal | SignOn | SignOff | Echo | Settlement
        | BatchUpload => Vec::new(),
    }
}

/// What the cell's own transaction does to an account.
fn own(seat: &Seat) -> Option<Moved> {
    let minor = seat.minor;
    match seat.transaction {
        Sale | OfflineSale | Reversal => Some((-minor, 0)),
        Void | Refund => Some((minor, 0)),
        PreAuth => Some((0, minor)),
        PreAuthCancel => Some((0, -minor)),
        Completion | CompletionAdvice => Some((-minor, -minor - 1)),
        CompletionVoid => Some((minor, minor + 1)),
        Balance | SignOn | SignOff | Echo | Settlement | BatchUpload => None,
    }
}

/// What it does to the terminal's totals: count and minor units, debit and credit. EDC counts net: a void
/// takes its sale out.
fn counted(seat: &Seat) -> ((i64, i64), (i64, i64)) {
    let one = (1, seat.minor);
    match (seat.transaction, seat.dialect) {
        (Sale | Completion | CompletionAdvice | OfflineSale | Reversal, _) => (one, (0, 0)),
        (Void, Dialect::Edc) => ((-1, -seat.minor), (0, 0)),
        (Void | Refund | CompletionVoid, _) => ((0, 0), one),
        (Balance | PreAuth | PreAuthCancel | SignOn | SignOff | Echo | Settlement | BatchUpload, _) => {
            ((0, 0), (0, 0))
        }
    }
}

/// The kind of the transaction referred to, and what it becomes when it is done so.
fn original_becomes(seat: &Seat) -> Option<(&'static str, &'static str)> {
    match seat.transaction {
        Void => Some(("sale", "voided")),
        Refund if seat.dialect != Dialect::Edc => Some(("sale", "approved")),
        PreAuthCancel => Some(("pre-auth", "cancelled")),
        Completion | CompletionAdvice => Some(("pre-auth", "completed")),
        CompletionVoid => Some(("completion", "voided")),
        Refund | Balance | Sale | PreAuth | OfflineSale | Reversal | SignOn | SignOff | Echo | Settlement
        | BatchUpload => None,
    }
}

/// The transaction stands.
fn posted(seat: &Seat) -> Attempted {
    let mut moved = prepared(seat);
    moved.extend(own(seat));
    let books = Expected {
        moved,
        sent: 1,
        states: vec!["approved"],
        original: original_becomes(seat),
        ..Expected::default()
    };
    Attempted { books, in_vain: false }
}

/// Nothing is left of the transaction, and what it refers to stands.
fn in_vain(seat: &Seat, state: &'static str, reversals: usize) -> Attempted {
    let books = Expected {
        moved: prepared(seat),
        sent: 1,
        reversals,
        states: vec![state],
        original: original_becomes(seat).map(|(kind, _)| (kind, "approved")),
        ..Expected::default()
    };
    Attempted { books, in_vain: true }
}

/// Approved; and the same frame again is refused as a duplicate, or in EDC answered as before, octet for octet.
async fn taken(seat: &mut Seat, original: Option<&Outcome>) -> Result<Attempted> {
    let first = attempt(seat, original).await?;
    approved(&first)?;
    ensure!(first.rrn.is_some(), "an approval without DE 37");
    if seat.transaction == Balance {
        ensure!(first.balance().is_some(), "a balance without DE 54");
    } else {
        ensure!(first.auth_code.is_some() || seat.transaction == Refund, "an approval without DE 38");
    }
    if seat.scenario == Scenario::Duplicate {
        let second = seat.terminal.resend_last().await?;
        if seat.dialect == Dialect::Edc {
            approved(&second)?;
            ensure!(second.reply == first.reply, "the replayed answer is not the first one");
        } else {
            refused(&second, "94")?;
        }
    }
    Ok(posted(seat))
}

/// The issuer declines; or it posts and does not answer, or too late: then the terminal has its answer in time, and
/// the issuer a reversal.
async fn declined(seat: &mut Seat, original: Option<&Outcome>) -> Result<Attempted> {
    let (rule, code, state): (fn(_) -> Rule, _, _) = if seat.scenario == Scenario::Declined {
        (|when| Rule::code(when, "05"), "05", "declined")
    } else {
        let rule = if seat.scenario == Scenario::Silent { Rule::silent } else { Seat::late };
        (rule, seat.codes().silent, "timed-out")
    };
    seat.rule(rule)?;
    let outcome = attempt(seat, original).await?;
    refused(&outcome, code)?;
    let undone = state == "timed-out" && seat.transaction != Balance;
    Ok(in_vain(seat, state, usize::from(undone)))
}

/// The answer is lost on its way to the terminal, which reverses; the reversal comes twice.
async fn reversed(seat: &mut Seat, original: Option<&Outcome>) -> Result<Attempted> {
    seat.terminal.inject(Fault::DropReply);
    let lost = attempt(seat, original).await?;
    unknown(&lost)?;
    let reversal = seat.terminal.reversal().await?.context("the terminal saved no reversal")?;
    approved(&reversal)?;
    approved(&seat.terminal.resend_last().await?)?;
    Ok(in_vain(seat, "reversed", 1))
}

/// One bit of the MAC is turned, then there is none, then again one bit: refused, and nobody hears of it. The third
/// refusal in a row asks for a new sign-on.
async fn bad_mac(seat: &mut Seat, original: Option<&Outcome>) -> Result<Attempted> {
    let faults = [(Fault::BadMac, 0), (Fault::NoMac, 0), (Fault::BadMac, SIGN_ON_AGAIN)];
    for (fault, processing_request) in faults {
        seat.terminal.inject(fault);
        let outcome = attempt(seat, original).await?;
        refused(&outcome, seat.codes().bad_mac)?;
        bare_refusal(seat, processing_request)?;
    }
    let mut attempted = in_vain(seat, "", 0);
    attempted.books.sent = 0;
    attempted.books.states = Vec::new();
    Ok(attempted)
}

/// The processing request of a UnionPay header that asks for a new sign-on.
const SIGN_ON_AGAIN: u8 = 3;

/// The answer to a bad MAC bears none, and has this processing request in a UnionPay header: the low nibble of
/// its third octet.
fn bare_refusal(seat: &Seat, processing_request: u8) -> Result<()> {
    let (code, body, maced) = seat.last_answer()?;
    ensure!(code == seat.codes().bad_mac && !maced, "the refusal of a MAC bears one");
    if seat.dialect == Dialect::UnionPay {
        let request = body.get(7).map(|octet| octet & 0x0F);
        ensure!(
            request == Some(processing_request),
            "the header asks for {request:?}, not {processing_request}"
        );
    }
    Ok(())
}

/// An advice counts at the terminal at once, and is taken once whatever the issuer or the wire does.
async fn advice(seat: &mut Seat, original: Option<&Outcome>) -> Result<Attempted> {
    let mut repeated = 0;
    match seat.scenario {
        Scenario::Silent => seat.rule(Rule::silent)?,
        Scenario::Late => seat.rule(Seat::late)?,
        Scenario::Duplicate => seat.terminal.inject(Fault::DropReply),
        Scenario::BadMac => seat.terminal.inject(Fault::BadMac),
        Scenario::Approved | Scenario::Declined | Scenario::Reversed => {}
    }
    let outcome = attempt(seat, original).await?;
    match seat.scenario {
        Scenario::Duplicate => {
            unknown(&outcome)?;
            taken_later(seat).await?;
            let third = seat.terminal.resend_last().await?;
            approved(&third)?;
            let answers = seat.tap.answers();
            let same = answers.iter().rev().take(3).all(|answer| Some(answer) == answers.last());
            ensure!(same, "three copies of one advice have different answers");
        }
        Scenario::BadMac => {
            refused(&outcome, seat.codes().bad_mac)?;
            bare_refusal(seat, 0)?;
            taken_later(seat).await?;
        }
        Scenario::Silent | Scenario::Late => {
            approved(&outcome)?;
            repeated = 1;
        }
        Scenario::Approved | Scenario::Declined | Scenario::Reversed => approved(&outcome)?,
    }
    let mut attempted = posted(seat);
    attempted.books.repeated = repeated;
    Ok(attempted)
}

/// The terminal still has the advice, sends it again, and is rid of it.
async fn taken_later(seat: &mut Seat) -> Result<()> {
    ensure!(seat.terminal.state().advices.len() == 1, "the terminal does not keep its advice");
    seat.terminal.drain().await?;
    let (code, ..) = seat.last_answer()?;
    ensure!(seat.terminal.state().advices.is_empty() && code == "00", "the advice is answered {code}");
    Ok(())
}

/// Plays a cell of the reversal itself.
pub(crate) async fn play_reversal(mut seat: Seat) -> Result<Played> {
    seat.signed_on().await?;
    let before = seat.terminal.totals();
    if seat.scenario == Scenario::Declined {
        let expected = reversal_of_nothing(&mut seat).await?;
        return Ok(Played { seat, expected });
    }
    let unanswered = matches!(seat.scenario, Scenario::Silent | Scenario::Late);
    if unanswered {
        let rule = if seat.scenario == Scenario::Silent { Rule::silent } else { Seat::late };
        seat.rule_for("0420", None, rule)?;
    }
    // Either the answer is lost, or it comes and the chip declines.
    let chip = seat.scenario == Scenario::Approved;
    seat.terminal.inject(if chip { Fault::NotTaken } else { Fault::DropReply });
    let sale = attempt(&mut seat, None).await?;
    ensure!(sale.verdict == if chip { Verdict::NotTaken } else { Verdict::NoReply }, "{:?}", sale.verdict);
    if seat.scenario == Scenario::BadMac {
        seat.terminal.inject(Fault::BadMac);
    }
    let reversal = seat.terminal.reversal().await?.context("the terminal saved no reversal")?;
    let mut expected = Expected {
        sent: 1,
        reversals: 1,
        reversals_repeated: usize::from(unanswered),
        states: vec!["reversed"],
        ..Expected::default()
    };
    if seat.scenario == Scenario::BadMac {
        refused(&reversal, seat.codes().bad_mac)?;
        bare_refusal(&seat, 0)?;
        expected.reversals = 0;
        expected.states = vec!["approved"];
        expected.moved = own(&seat).into_iter().collect();
        expected.ends = Ends::Different;
    } else {
        approved(&reversal)?;
    }
    if seat.scenario == Scenario::Duplicate {
        for _ in 0..2 {
            approved(&seat.terminal.resend_last().await?)?;
        }
    }
    totals_moved(before, seat.terminal.totals(), (0, 0), (0, 0))?;
    Ok(Played { seat, expected })
}

/// The sale is lost on its way to the switch; its reversal finds nothing, and when the sale comes after all, it is
/// refused. No issuer hears of either.
async fn reversal_of_nothing(seat: &mut Seat) -> Result<Expected> {
    seat.tap.meddle(Meddle::LoseRequest("0200"));
    let sale = attempt(seat, None).await?;
    unknown(&sale)?;
    let lost = seat.tap.requests().pop().context("the terminal sent no sale")?;
    let reversal = seat.terminal.reversal().await?.context("the terminal saved no reversal")?;
    let code = if seat.dialect == Dialect::Edc { "00" } else { "25" };
    ensure!(reversal.code == code, "the reversal of nothing is answered {:?}", reversal.code);
    let spec = Spec::builtin(seat.dialect.name()).context("dialect")?;
    let mut frame = Vec::new();
    spec.framing().encode(&lost, &mut frame)?;
    let answer = seat.terminal.send_octets(&frame).await?.context("no answer to the sale that came late")?;
    let view = View::decode(spec, &answer)?;
    let code = view.text(39).map(|code| code.to_string()).unwrap_or_default();
    ensure!(code == "94", "a sale after its reversal is answered {code:?}");
    Ok(Expected::default())
}
