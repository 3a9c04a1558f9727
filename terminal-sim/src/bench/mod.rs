//! `terminal-sim bench`: how many payments a second the switch makes durable, and what a relay that does
//! nothing makes of the same terminals on the same machine in the same minute.
//!
//! ```text
//! ceiling   terminals (this process) ⇄ relay  ⇄ echoing issuer
//! switch    terminals (this process) ⇄ daemon ⇄ instant issuers
//! ```
//! Rounds of the two take turns, so that a noisy neighbour meets both, and medians are told. The requests are
//! ready before the clock starts, with PIN blocks, encrypted tracks and MACs; a few are bad and must be refused.

mod past;
mod process;
mod report;
mod till;

use crate::load::{self, Lane, LoadOptions};
use crate::stage::{Instant, MID, Stage, StageOptions};
use crate::terminal::Dialect;
use anyhow::{Context, Result, bail};
use clap::Args;
use process::{ECHO, INSTANT, Process, RELAY, processor_ns};
use report::{Commits, Measured, Report, Round};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use till::{DIALECT, Till};
use tokio::runtime::Runtime;

pub use process::hidden;

/// `terminal-sim bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Terminals, each a connection with one request in flight.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=9_999_999))]
    terminals: u32,
    /// Seconds of a round; there are three of the relay and three of the switch.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Store, instead of a new SQLite file: `sqlite:PATH` or `postgres://…`.
    #[arg(long)]
    store: Option<String>,
    /// Worker threads of the daemon.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Transactions that are in the store before the first round.
    #[arg(long, default_value_t = 0)]
    preload: u32,
    /// The folder of the daemon, which then stays; a new one among the temporary files when absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

const ROUNDS: usize = 3;
/// Requests of each terminal in the round that warms the switch up and tells about how many it will need.
const WARM_UP: u32 = 150;
/// How much more requests than expected are prepared, in percent.
const RESERVE_PERCENT: u64 = 300;
/// How long an answer may be late at the end of a round.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for the relay, which has nothing that could be late.
const RELAY_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a bench. The exit code: 0 when every answer was the one its request was made for.
///
/// # Errors
/// What kept it from measuring.
pub fn run(args: &BenchArgs) -> Result<u8> {
    let kept = args.dir.is_some();
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id())),
    };
    if dir.exists() && fs::read_dir(&dir)?.next().is_some() {
        bail!("{} is not empty", dir.display());
    }
    let report = measure(args, dir.clone());
    if !kept {
        let _ = fs::remove_dir_all(&dir);
    }
    let report = report?;
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(if report.is_sound() { 0 } else { 1 })
}

fn measure(args: &BenchArgs, dir: PathBuf) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut bench, preloaded) = Bench::set_up(args, dir, runtime)?;
    let seconds = Duration::from_secs(args.seconds);
    let rate = bench.warm_up()?;
    let each = u64::from(args.terminals) * 100;
    let needed = u32::try_from(rate * args.seconds * RESERVE_PERCENT / each + 20)?;
    let before = bench.commits()?;
    let (mut ceiling, mut switch) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ceiling.push(bench.relay_round(seconds)?);
        switch.push(bench.switch_round(needed, seconds)?);
    }
    let commits = bench.commits()?.since(before);
    bench.stop()?;
    let postgres = args.store.as_ref().is_some_and(|url| url.starts_with("postgres"));
    Ok(Report::new(Measured {
        terminals: args.terminals,
        seconds: args.seconds,
        workers: args.workers,
        store: if postgres { "postgres" } else { "sqlite" },
        preloaded,
        ceiling,
        switch,
        commits,
    }))
}

/// Everything that a round needs, standing.
struct Bench {
    runtime: Runtime,
    relay: Process,
    stage: Stage,
    tills: Vec<Till>,
    /// Held while they serve.
    _issuers: [Process; 2],
}

impl Bench {
    fn set_up(args: &BenchArgs, dir: PathBuf, runtime: Runtime) -> Result<(Self, u32)> {
        let echo = Process::start(ECHO, &[])?;
        let relay = Process::start(RELAY, &[echo.at.first().context("its address")?.to_string()])?;
        let instant = Process::start(INSTANT, &[])?;
        let [first, second] = instant.at.as_slice() else { bail!("two issuers were expected") };
        let options = StageOptions {
            dir: dir.clone(),
            terminals_per_dialect: args.terminals,
            store: args.store.clone(),
            instant_issuers: Instant::Yes,
            issuers_at: Some([*first, *second]),
            workers: Some(usize::try_from(args.workers)?),
            ..StageOptions::default()
        };
        let mut stage = runtime.block_on(Stage::build(options))?;
        let mut preloaded = 0;
        if args.preload > 0 {
            runtime.block_on(stage.stop())?;
            let here = || format!("sqlite:{}", dir.join("tollgate.db").display());
            preloaded = past::store(&args.store.clone().unwrap_or_else(here), MID, args.preload)?;
            runtime.block_on(stage.start(None))?;
        }
        let mut tills = Vec::new();
        for n in 1..=args.terminals {
            tills.push(runtime.block_on(Till::open(&stage, n))?);
        }
        Ok((Self { runtime, relay, stage, tills, _issuers: [echo, instant] }, preloaded))
    }

    /// A short round of each; the rate of the switch.
    fn warm_up(&mut self) -> Result<u64> {
        self.relay_round(Duration::from_millis(500))?;
        let round = self.switch_round(WARM_UP, Duration::from_secs(60))?;
        Ok(round.load.tx_per_second)
    }

    fn relay_round(&mut self, duration: Duration) -> Result<Round> {
        let lanes: Result<Vec<Lane>> =
            self.tills.iter_mut().map(|till| Ok(till.prepare(20)?.endless())).collect();
        let address = *self.relay.at.first().context("the relay's address")?;
        let options = LoadOptions { address, dialect: DIALECT, duration, patience: RELAY_PATIENCE };
        measured(lanes?, &options, self.relay.pid())
    }

    fn switch_round(&mut self, requests: u32, duration: Duration) -> Result<Round> {
        let lanes: Result<Vec<Lane>> = self.tills.iter_mut().map(|till| till.prepare(requests)).collect();
        let address = self.stage.address(Dialect::UnionPay.name())?;
        let options = LoadOptions { address, dialect: DIALECT, duration, patience: PATIENCE };
        measured(lanes?, &options, self.stage.pid().context("the daemon is gone")?)
    }

    fn commits(&self) -> Result<Commits> {
        Ok(Commits::of(&scrape(self.stage.address("console")?)?))
    }

    fn stop(mut self) -> Result<()> {
        self.runtime.block_on(self.stage.stop())
    }
}

fn measured(lanes: Vec<Lane>, options: &LoadOptions, pid: u32) -> Result<Round> {
    let before = processor_ns(pid);
    let load = load::run(lanes, options)?;
    let mut threads = processor_ns(pid);
    for (name, ns) in &mut threads {
        *ns = ns.saturating_sub(before.get(name).copied().unwrap_or(0)) / load.transactions.max(1);
    }
    Ok(Round { load, processor_ns_per_tx: threads })
}

/// The daemon's metrics.
fn scrape(console: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(console)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
