//! The `terminal-sim` binary.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use terminal_sim::bench::{self, BenchArgs};
use terminal_sim::counter::{self, TerminalArgs};
use terminal_sim::demo::{self, DemoArgs};
use terminal_sim::issuer::{IssuerConfig, IssuerServer};
use terminal_sim::stage::DAEMON_WORD;

/// The switch's own, since this executable is the switch too.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> =
    zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

/// POS terminals and card issuers for Tollgate: demo, simulators, load.
#[derive(Debug, Parser)]
#[command(name = "terminal-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a shop's day through a real daemon, settle it, and hold four books against each other
    Demo(DemoArgs),
    /// Measure the switch against a relay that does nothing: payments a second, latencies, rows per commit
    Bench(BenchArgs),
    /// Be one terminal, and do what the steps say
    Terminal(TerminalArgs),
    /// Be one card issuer until Ctrl-C; then its books are printed as JSON
    Issuer(IssuerArgs),
}

#[derive(Debug, Args)]
struct IssuerArgs {
    /// Accounts, keys and rules: a TOML file
    #[arg(long)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|word| word == DAEMON_WORD) {
        args.remove(1);
        return ExitCode::from(tollgate::cli::main(args));
    }
    let hidden = args.get(1).and_then(|word| word.to_str());
    let hidden = hidden.and_then(|word| bench::hidden(word, args.get(2..).unwrap_or_default()));
    match hidden.map_or_else(|| run(Cli::parse().command), |served| served.map(|()| 0)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "terminal-sim: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<u8> {
    match command {
        Command::Demo(args) => runtime()?.block_on(demo::run(&args)),
        Command::Terminal(args) => runtime()?.block_on(counter::run(&args, &mut std::io::stdout())),
        Command::Issuer(args) => runtime()?.block_on(issuer(&args)),
        Command::Bench(args) => bench::run(&args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn issuer(args: &IssuerArgs) -> Result<u8> {
    let text = std::fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let config = IssuerConfig::parse(&text).with_context(|| args.config.display().to_string())?;
    let address = config.listen.clone().context("the file names no address to listen on")?;
    let listener = tokio::net::TcpListener::bind(&address).await.with_context(|| address.clone())?;
    let handle = IssuerServer::start(config, listener, None)?;
    writeln!(std::io::stderr(), "listening on {}", handle.addr)?;
    tokio::signal::ctrl_c().await?;
    let export = handle.books.lock().map_err(|_| anyhow::anyhow!("the books are in disorder"))?.export();
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&export)?)?;
    Ok(0)
}
