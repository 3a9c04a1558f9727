//! Bad input from terminals, in every dialect: each kind has its answer, or its closed connection, and its counter;
//! no issuer hears of it, and others are left untouched.

#![allow(clippy::unwrap_used, reason = "helpers of tests: the lint's exemption covers test functions only")]

mod message;
mod metrics;
mod rows;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use iso8583_spec::{Spec, View};
use message::Message;
use metrics::Figures;
use rows::{Afterwards, CLOSED, Counter, NOT_HERE, NOTHING, OTHER_MID, OTHER_TID, ROWS, Row, Spoil};
use terminal_sim::stage::{EXPIRY, HOLDERS, Stage, StageOptions, keys, own_host, tid};
use terminal_sim::terminal::{Card, Dialect, KeyForm, Terminal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tollgate::hsm::des::DesKey;

/// A frame may stay incomplete for so long, milliseconds.
const HALF_FRAME_MS: u64 = 300;
/// An answer, or a close, comes within this time or never.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_kind_of_bad_input_has_its_answer_its_counter_and_leaves_others_untouched() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let failures = runtime.block_on(all(folder.path())).unwrap();
    if !failures.is_empty() {
        let kept = folder.keep();
        panic!(
            "{} rows fail; the stage is kept in {}\n{}",
            failures.len(),
            kept.display(),
            failures.join("\n")
        );
    }
}

async fn all(folder: &Path) -> Result<Vec<String>> {
    let options = StageOptions {
        dir: folder.join("stage"),
        host: Some(own_host()),
        terminals_per_dialect: rows::SILENT_TERMINAL,
        half_frame_ms: Some(HALF_FRAME_MS),
        balance_minor: Some(1_000_000_000),
        exe: Some(env!("CARGO_BIN_EXE_terminal-sim").into()),
        ..StageOptions::default()
    };
    let mut stage = Stage::build(options.clone()).await?;
    add_other_merchant(&stage)?;
    // The daemon sees what was imported beside it within a moment; a new one sees it at once.
    stage.restart(&options, None).await?;
    let mut failures = Vec::new();
    for (place, dialect) in Dialect::ALL.into_iter().enumerate() {
        let mut bench = Bench::set_up(&stage, dialect).await?;
        for row in ROWS.iter().filter(|row| row.becomes[place] != NOT_HERE) {
            if let Err(error) = bench.check(row, row.becomes[place]).await {
                failures.push(format!("{}, {}: {error:#}", dialect.name(), row.name));
                bench = Bench::set_up(&stage, dialect).await?;
            }
        }
    }
    stage.stop().await?;
    Ok(failures)
}

fn add_other_merchant(stage: &Stage) -> Result<()> {
    let merchant = format!(
        "[[merchant]]\nmid = {OTHER_MID:?}\nname = \"Hill Tea House\"\ncity = \"Shanghai\"\ncountry = \"CN\"\nmcc = \"5812\"\nfee_basis_points = \"60\"\n"
    );
    let mut terminals = String::new();
    for dialect in Dialect::ALL {
        let series = tid(dialect, 1).chars().next().unwrap_or_default();
        let keys =
            if dialect == Dialect::UnionPay { "tmk = \"tmk\"" } else { "tpk = \"tpk\"\ntak = \"tak\"" };
        terminals += &format!(
            "[[terminal]]\ntid = \"{series}{OTHER_TID}\"\nmid = {OTHER_MID:?}\ndialect = {:?}\ncurrency = \"CNY\"\n{keys}\n\n",
            dialect.name()
        );
    }
    for (verb, text) in [("merchant", merchant), ("terminal", terminals)] {
        let file = stage.dir.join(format!("other-{verb}.toml"));
        std::fs::write(&file, text)?;
        stage.verb(&[verb, "import", &file.display().to_string()])?;
    }
    Ok(())
}

/// A terminal that behaves, on a connection that stays open, and what is needed to speak for one that does not.
struct Bench<'a> {
    stage: &'a Stage,
    dialect: Dialect,
    spec: &'static Spec,
    address: SocketAddr,
    tak: DesKey,
    stan: u32,
    good: Terminal,
}

impl<'a> Bench<'a> {
    async fn set_up(stage: &'a Stage, dialect: Dialect) -> Result<Self> {
        let mut good = stage.terminal(dialect, 2).await?;
        good.sign_on(KeyForm::Double).await?;
        let spec = Spec::builtin(dialect.name()).context("dialect")?;
        let address = stage.address(dialect.name())?;
        let tak = match dialect {
            Dialect::UnionPay => signed_on(address, spec).await?,
            Dialect::Edc | Dialect::Ascii => DesKey::new(&hex::decode(keys::TAK)?)?,
        };
        // Trace numbers of an earlier bench are used up.
        let stan = u32::try_from(heard(stage))? * 2 + 1;
        let mut bench = Self { stage, dialect, spec, address, tak, stan, good };
        bench.good.set_next_stan(500_000 + stan);
        bench.good_sale().await?;
        Ok(bench)
    }

    /// A sale by the terminal that behaves, on the connection that it has had from the first.
    async fn good_sale(&mut self) -> Result<()> {
        let card = Card::keyed(HOLDERS[3].pan, EXPIRY);
        let outcome = self.good.sale(&card, 100).await?;
        ensure!(outcome.approved, "a good sale on another connection is answered {:?}", outcome.code);
        Ok(())
    }

    fn sale(&mut self) -> Message {
        self.stan += 1;
        Message::sale(self.dialect, &tid(self.dialect, 1), self.stan)
    }

    async fn figures(&self) -> Result<Figures> {
        Figures::read(self.stage.address("console")?).await
    }

    async fn check(&mut self, row: &Row, becomes: &str) -> Result<()> {
        let before = self.figures().await?;
        let posted = heard(self.stage);
        let mut message = self.sale();
        let octets = match row.spoil {
            Spoil::Fields(spoil) => {
                spoil(&mut message);
                message.frame(&self.tak)
            }
            Spoil::Octets(spoil) => spoil(self.dialect, &message.frame(&self.tak)),
        };
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&octets).await?;
        if row.afterwards == Afterwards::HangsUp {
            stream.shutdown().await?;
        }
        let mut good = 1;
        if becomes == CLOSED {
            let answer = self.answer(&mut stream).await?;
            ensure!(answer.is_none(), "the connection is not closed, but answered");
        } else {
            if becomes != NOTHING {
                self.refused(&mut stream, &message, becomes).await?;
            }
            self.goes_on(&mut stream).await?;
            good += 1;
        }
        drop(stream);
        self.good_sale().await?;
        let issuers_heard = heard(self.stage) - posted;
        ensure!(issuers_heard == good, "the issuers heard of {issuers_heard} messages, not of {good}");
        self.counted(row, becomes, &before).await
    }

    /// The next answer's body; `None` when the connection ends.
    async fn answer(&self, stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
        let mut input = Vec::new();
        let read = async {
            loop {
                if let Some(frame) = self.spec.framing().decode(&input, 8192)? {
                    return Ok(Some(input[frame.body].to_vec()));
                }
                match stream.read_buf(&mut input).await {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    // What the daemon had not read when it closed comes back as a reset.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                    Err(error) => return Err(anyhow::Error::from(error)),
                }
            }
        };
        timeout(PATIENCE, read).await.context("neither an answer nor a close")?
    }

    /// The answer: the request's MTI and ten, its trace number and terminal, DE 39; no MAC after a bad one.
    async fn refused(&self, stream: &mut TcpStream, message: &Message, code: &str) -> Result<()> {
        let body = self.answer(stream).await?.context("closed instead of answered")?;
        let view = View::decode(self.spec, &body)?;
        ensure!(view.is_sound(), "the answer is malformed: {:?}", view.faults());
        let digits: u32 = message.mti.parse()?;
        let mti = format!("{:04}", digits + 10);
        ensure!(view.mti().as_str() == mti, "the answer is {}, not {mti}", view.mti().as_str());
        let seen = view.text(39).map(|code| code.to_string());
        ensure!(seen.as_deref() == Some(code), "DE 39 is {seen:?}, not {code}");
        let stan = view.text(11).map(|stan| stan.to_string());
        ensure!(stan == Some(format!("{:06}", self.stan)), "DE 11 is not echoed");
        let own = message.fields.get(&41).map(|tid| String::from_utf8_lossy(tid).into_owned());
        let tid = view.text(41).map(|tid| tid.to_string());
        ensure!(tid == own, "DE 41 is not echoed");
        let bare = ["A0", "97", "77", "99"].contains(&code) || row_of_bad_mac(code, message);
        ensure!(!bare || view.mac_data().is_none(), "the answer {code} bears a MAC");
        Ok(())
    }

    /// The connection is still in step: a sound sale on it is the next to be answered, and approved.
    async fn goes_on(&mut self, stream: &mut TcpStream) -> Result<()> {
        let sale = self.sale();
        stream.write_all(&sale.frame(&self.tak)).await?;
        let body = self.answer(stream).await?.context("the connection does not go on")?;
        let view = View::decode(self.spec, &body)?;
        let stan = view.text(11).map(|stan| stan.to_string());
        ensure!(stan == Some(format!("{:06}", self.stan)), "the next answer is of another message: {stan:?}");
        let code = view.text(39).map(|code| code.to_string());
        ensure!(code.as_deref() == Some("00"), "a sound sale on the same connection is answered {code:?}");
        Ok(())
    }

    /// The row's figure moved by what it should and its like did not; the connection is no longer counted as open.
    async fn counted(&self, row: &Row, becomes: &str, before: &Figures) -> Result<()> {
        let dialect = ("dialect", self.dialect.name());
        let open = |figures: &Figures| figures.get("tollgate_connections", &[dialect]);
        let give_up = Instant::now() + PATIENCE;
        let mut after = self.figures().await?;
        while open(&after) != open(before) {
            ensure!(Instant::now() < give_up, "{} connections are open, not {}", open(&after), open(before));
            tokio::time::sleep(Duration::from_millis(5)).await;
            after = self.figures().await?;
        }
        let (name, label, times) = match row.counter {
            Counter::Refusal(refusal) => ("tollgate_refusals_total", ("refusal", refusal), 1),
            Counter::Frames(reason, times) => ("tollgate_frames_refused_total", ("reason", reason), times),
        };
        let moved = |name: &str, labels: &[(&str, &str)]| after.get(name, labels) - before.get(name, labels);
        let seen = moved(name, &[dialect, label]);
        ensure!(seen == times, "{name}{label:?} moved by {seen}, not by {times}");
        if ![CLOSED, NOTHING].contains(&becomes) {
            let answered = moved("tollgate_answers_total", &[dialect, ("code", becomes)]);
            ensure!(answered == 1, "answers of code {becomes} moved by {answered}");
        }
        let ended = match (becomes, row.counter) {
            (CLOSED, Counter::Frames(reason @ ("truncated" | "half-frame"), _)) => reason,
            (CLOSED, Counter::Frames("unreadable", _)) => "handler",
            (CLOSED, _) => "unreadable",
            (_, _) => "peer",
        };
        let closed = moved("tollgate_connections_closed_total", &[dialect, ("reason", ended)]);
        ensure!(closed == 1, "connections closed for {ended:?} moved by {closed}");
        Ok(())
    }
}

/// A MAC that did not fit is answered without one, also where its code has other meanings.
fn row_of_bad_mac(code: &str, message: &Message) -> bool {
    code == "63" && message.seal != message::Seal::Proper
}

/// How many messages the issuers have remembered.
fn heard(stage: &Stage) -> usize {
    let journal = |issuer: &terminal_sim::issuer::IssuerHandle| {
        issuer.books.lock().unwrap_or_else(PoisonError::into_inner).journal().len()
    };
    stage.issuers.iter().map(journal).sum()
}

/// Signs the first UnionPay terminal on, and takes its MAC key out of DE 62: PIK 16, check 4, MAK 8, …
async fn signed_on(address: SocketAddr, spec: &Spec) -> Result<DesKey> {
    let tmk = DesKey::new(&hex::decode(keys::TMK)?)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&Message::sign_on(&tid(Dialect::UnionPay, 1)).frame(&tmk)).await?;
    let mut input = Vec::new();
    let body = loop {
        if let Some(frame) = spec.framing().decode(&input, 8192)? {
            break input[frame.body].to_vec();
        }
        ensure!(stream.read_buf(&mut input).await? > 0, "the sign-on is not answered");
    };
    let view = View::decode(spec, &body)?;
    let de62 = view.bytes(62).context("the sign-on brings no keys")?;
    let sealed = de62.get(20..28).context("DE 62 is too short")?;
    Ok(DesKey::new(&tmk.decrypt_ecb(sealed)?)?)
}
