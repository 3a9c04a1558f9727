//! Processes of their own beside the switch: the relay, its echoing issuer, and the switch's instant issuers.
//!
//! Each is this executable again under a hidden word. It prints where it listens, in one line, and ends when
//! its standard input does: with whoever started it, however that ends.

use crate::relay;
use crate::stage::{self, own_command};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};

/// Forwards frames to the issuer whose address follows.
pub(super) const RELAY: &str = "__relay";
/// Answers a relay.
pub(super) const ECHO: &str = "__echo-issuer";
/// Approves whatever a switch asks.
pub(super) const INSTANT: &str = "__instant-issuers";

/// Is what the hidden word says, until the process ends; `None` when it is no hidden word of this file.
///
/// # Errors
/// What keeps it from serving.
pub fn hidden(word: &str, arguments: &[OsString]) -> Option<Result<()>> {
    match word {
        RELAY => Some(serve_relay(arguments)),
        ECHO => Some(serve_echo()),
        INSTANT => Some(serve_issuers()),
        _ => None,
    }
}

fn serve_relay(arguments: &[OsString]) -> Result<()> {
    let issuer = arguments.first().and_then(|a| a.to_str()).context("the issuer's address")?.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&[listener.local_addr()?])?;
    Ok(relay::run(listener, issuer)?)
}

fn serve_echo() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&[listener.local_addr()?])?;
    Ok(relay::echo_issuer(listener)?)
}

fn serve_issuers() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(256).build()?;
    runtime.block_on(async {
        let issuers = stage::instant_issuers().await?;
        let at: Vec<SocketAddr> = issuers.iter().map(|issuer| issuer.addr).collect();
        announce(&at)?;
        std::future::pending().await
    })
}

fn announce(at: &[SocketAddr]) -> Result<()> {
    let words: Vec<String> = at.iter().map(ToString::to_string).collect();
    let mut out = std::io::stdout();
    writeln!(out, "{}", words.join(" "))?;
    out.flush()?;
    std::thread::spawn(|| {
        // Nothing is ever written there; what is read is the end.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    Ok(())
}

/// A running process of that kind; it is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    /// Where it listens.
    pub(super) at: Vec<SocketAddr>,
}

impl Process {
    /// Starts it and waits until it says where it listens.
    pub(super) fn start(word: &str, arguments: &[String]) -> Result<Self> {
        let mut child =
            own_command(word)?.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut started = Self { child, at: Vec::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            bail!("{word} ended before it listened");
        }
        started.at = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        Ok(started)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The time that each thread of a process has spent on a processor, nanoseconds, by the thread's name; nothing
/// where the system does not tell.
pub(super) fn processor_ns(pid: u32) -> BTreeMap<String, u64> {
    let mut spent = BTreeMap::new();
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return spent };
    for thread in threads.filter_map(Result::ok) {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let ns = read("schedstat").split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
        *spent.entry(read("comm").trim().to_owned()).or_default() += ns.unwrap_or(0);
    }
    spent
}
