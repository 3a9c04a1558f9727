//! Every dialect × every transaction × what can happen to it: each cell is played by a terminal of its own against
//! one daemon and two issuers, and then held against the issuers' wire, the issuers' books, the switch's books and the
//! terminal's own batch.

#![allow(clippy::unwrap_used, reason = "helpers of tests: the lint's exemption covers test functions only")]

mod books;
mod management;
#[path = "../bad_input/metrics.rs"]
mod metrics;
mod payment;
mod seat;
mod table;
mod tap;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use books::Books;
use metrics::Figures;
use seat::{ANSWER_MS, Ends, Played, Seat, approved};
use table::{Cell, Mark, Marked, ROWS, Scenario, Transaction, cell, printed};
use terminal_sim::stage::{ISSUERS, Stage, StageOptions};
use terminal_sim::terminal::{Agreement, Dialect};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

/// Cells that are played at the same time.
const AT_ONCE: usize = 16;
/// What every account holds, minor units: no cell is short of money.
const BALANCE_MINOR: i64 = 10_000_000_000;

type Name = (Dialect, Transaction, Scenario);

/// Every cell there must be.
fn names() -> Vec<Name> {
    let of = |(dialect, transactions): (Dialect, &'static [Transaction])| {
        transactions.iter().flat_map(move |t| Scenario::ALL.map(|scenario| (dialect, *t, scenario)))
    };
    ROWS.into_iter().flat_map(of).collect()
}

#[test]
fn every_transaction_of_every_dialect_under_everything_that_can_happen() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let marks = LocalSet::new().block_on(&runtime, matrix(folder.path())).unwrap();
    let text = printed(&marks);
    println!("{text}");
    std::fs::write(target().join("matrix.txt"), &text).unwrap();
    let failed = marks.iter().filter(|m| matches!(m.mark, Mark::Failed(_))).count();
    if failed > 0 {
        panic!("{failed} cells fail; the stage is kept in {}\n{text}", folder.keep().display());
    }
    let marked: Vec<Name> = marks.iter().map(|m| (m.dialect, m.transaction, m.scenario)).collect();
    assert_eq!(marked, names(), "a cell is missing");
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

async fn matrix(folder: &Path) -> Result<Vec<Marked>> {
    let names = names();
    let options = StageOptions {
        dir: folder.join("stage"),
        terminals_per_dialect: u32::try_from(names.len())?,
        answer_ms: Some(ANSWER_MS),
        balance_minor: Some(BALANCE_MINOR),
        exe: Some(env!("CARGO_BIN_EXE_terminal-sim").into()),
        ..StageOptions::default()
    };
    let stage = Rc::new(Stage::build(options).await?);
    let played = play_all(&stage, &names).await;
    late_answers_have_come(&stage, &names).await?;
    let books = Books::when_drained(&stage).await?;
    let mut marks = Vec::new();
    for ((dialect, transaction, scenario), played) in names.into_iter().zip(played) {
        let mark = match (cell(dialect, transaction, scenario), played) {
            (Cell::NotApplicable(reason), _) => Mark::NotApplicable(reason),
            (Cell::Test, None) => Mark::Failed("it was not played to its end".to_owned()),
            (Cell::Test, Some(Err(error))) => Mark::Failed(format!("{error:#}")),
            (Cell::Test, Some(Ok(played))) => match audit(&books, played).await {
                Ok(()) => Mark::Ok,
                Err(error) => Mark::Failed(format!("{error:#}")),
            },
        };
        marks.push(Marked { dialect, transaction, scenario, mark });
    }
    Ok(marks)
}

/// Plays the cells that can be, a few at a time; `None` for the others.
async fn play_all(stage: &Rc<Stage>, names: &[Name]) -> Vec<Option<Result<Played>>> {
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut playing = JoinSet::new();
    for (index, name) in names.iter().copied().enumerate() {
        if cell(name.0, name.1, name.2) == Cell::Test {
            let (stage, turns) = (Rc::clone(stage), Rc::clone(&turns));
            playing.spawn_local(async move {
                let turn = turns.acquire().await;
                let played = play(&stage, index, name).await;
                drop(turn);
                (index, played)
            });
        }
    }
    let mut played: Vec<Option<Result<Played>>> = names.iter().map(|_| None).collect();
    while let Some(ended) = playing.join_next().await {
        // A cell that panicked stays unplayed, and so fails.
        if let Ok((index, result)) = ended
            && let Some(place) = played.get_mut(index)
        {
            *place = Some(result);
        }
    }
    played
}

async fn play(stage: &Rc<Stage>, index: usize, name: Name) -> Result<Played> {
    let seat = Seat::take(stage, u32::try_from(index)?, name).await?;
    match name.1 {
        Transaction::SignOn | Transaction::SignOff | Transaction::Echo => {
            management::play_network(seat).await
        }
        Transaction::Settlement => management::play_settlement(seat).await,
        Transaction::BatchUpload => management::play_upload(seat).await,
        Transaction::Reversal => payment::play_reversal(seat).await,
        Transaction::Balance
        | Transaction::Sale
        | Transaction::Void
        | Transaction::Refund
        | Transaction::PreAuth
        | Transaction::PreAuthCancel
        | Transaction::Completion
        | Transaction::CompletionAdvice
        | Transaction::CompletionVoid
        | Transaction::OfflineSale => payment::play(seat).await,
    }
}

/// Waits until the switch has absorbed an answer after its time for every late cell.
async fn late_answers_have_come(stage: &Stage, names: &[Name]) -> Result<()> {
    let late = |name: &&Name| name.2 == Scenario::Late && cell(name.0, name.1, name.2) == Cell::Test;
    let expected = i64::try_from(names.iter().filter(late).count())?;
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let figures = Figures::read(stage.address("console")?).await?;
        let of = |issuer| [("issuer", issuer), ("outcome", "late")];
        let absorbed: i64 =
            ISSUERS.iter().map(|(name, ..)| figures.get("tollgate_issuer_outcomes_total", &of(name))).sum();
        if absorbed >= expected {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "{absorbed} late answers of {expected} have come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Holds a cell against every book.
async fn audit(books: &Books, played: Played) -> Result<()> {
    let Played { mut seat, mut expected } = played;
    on_the_wire(books, &seat, &expected)?;
    expected.moved.sort_unstable();
    let moved = books.moved_for(&seat.tid);
    ensure!(moved == expected.moved, "the issuer's books hold {moved:?}, not {:?}", expected.moved);
    at_the_switch(books, &seat, &expected)?;
    if let Some(original) = &expected.again {
        approved(&payment::attempt(&mut seat, Some(original)).await?)?;
    }
    settled(&mut seat, expected.ends).await?;
    // No more was written to the terminal than it asked for: nothing came late.
    let (asked, answered) = (seat.tap.requests().len(), seat.tap.answers().len());
    let lost = usize::from(seat.transaction == Transaction::Reversal && seat.scenario == Scenario::Declined);
    ensure!(answered + lost == asked, "{asked} requests have {answered} answers");
    Ok(())
}

/// What the transaction became on its issuer's wire.
fn on_the_wire(books: &Books, seat: &Seat, expected: &seat::Expected) -> Result<()> {
    let Some((_, mti, code)) = seat.transaction.at_issuer() else { return Ok(()) };
    let sent = books.sent_for(&seat.tid);
    let of = |mti: &str| -> Vec<_> {
        sent.iter().filter(|s| s.mti == mti && (s.code == code || mti.starts_with("04"))).collect()
    };
    let repeat = format!("{}1", mti.get(..3).unwrap_or_default());
    let (first, again) = (of(mti), of(&repeat));
    let (reversals, reversals_again) = (of("0420"), of("0421"));
    ensure!(first.len() == expected.sent, "the issuer had {mti} {} times", first.len());
    ensure!(reversals.len() == expected.reversals, "the issuer had {} reversals", reversals.len());
    ensure!(again.len() >= expected.repeated, "the issuer had {repeat} {} times", again.len());
    ensure!(reversals_again.len() >= expected.reversals_repeated, "the issuer had no 0421");
    for repeats in [(&first, &again), (&reversals, &reversals_again)] {
        let stan = repeats.0.first().map(|sent| &sent.stan);
        ensure!(repeats.1.iter().all(|sent| Some(&sent.stan) == stan), "a repeat has a STAN of its own");
    }
    for reversal in reversals {
        let named = reversal.original.as_deref().and_then(|de90| de90.get(..10));
        let whole = first.first().map(|sent| format!("{}{}", sent.mti, sent.stan));
        ensure!(named == whole.as_deref(), "DE 90 names {named:?}, not {whole:?}");
    }
    Ok(())
}

/// What the switch's own books say.
fn at_the_switch(books: &Books, seat: &Seat, expected: &seat::Expected) -> Result<()> {
    if let Some((kind, ..)) = seat.transaction.at_issuer() {
        let states = books.states(&seat.tid, kind);
        ensure!(
            states == expected.states,
            "at the switch the {kind} is {states:?}, not {:?}",
            expected.states
        );
    }
    if let Some((kind, state)) = expected.original {
        let states = books.states(&seat.tid, kind);
        ensure!(states == [state], "at the switch the {kind} referred to is {states:?}, not {state:?}");
    }
    if let Some((batch, items)) = expected.uploaded {
        let found = books.batch(&seat.tid, batch)?;
        ensure!(
            found == ("uploaded".to_owned(), items),
            "batch {batch} is {found:?}, not uploaded with {items}"
        );
    }
    Ok(())
}

/// The terminal's batch and the switch's come to the same, where the dialect can say so.
async fn settled(seat: &mut Seat, ends: Ends) -> Result<()> {
    if seat.dialect == Dialect::Ascii {
        return Ok(());
    }
    let want = match ends {
        Ends::Balanced => Agreement::Balanced,
        Ends::Different => Agreement::Different,
    };
    let done = seat.terminal.settle().await?;
    ensure!(
        done.agreement == want && done.closed,
        "the batch ends {:?}, closed {}",
        done.agreement,
        done.closed
    );
    Ok(())
}
