//! `tollgate lmk`: where the local master key comes from, what seals it, and its rotation beside running
//! daemons.
//!
//! Components and passphrases come from files or from a terminal without echo, never from the command line or
//! the environment.

use super::{FAULTS, Place, Tools, clock, run};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::hsm::audit::{Audit, KeyName, Operation};
use crate::hsm::lmk::{self, Cost, SHORTEST_PASSPHRASE, Seal, Told};
use crate::hsm::{Lmk, LmkError, LmkFile, LmkKeys, LmkRing, OpenSslRandom};
use crate::server;
use crate::store::{self, Op, Outcome, Rewrapped};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// Key blocks in one commit.
const BATCH: usize = 64;
/// Readings of the store at most, while others change it.
const PASSES: usize = 16;
/// Milliseconds after which no daemon wraps under the former LMK any more: each looks at the store's revision
/// twice a second, and rereads its LMK file when it has moved.
const GRACE_MS: i64 = 5_000;

/// `tollgate lmk …`
#[derive(Debug, Subcommand)]
pub(super) enum LmkVerb {
    /// What protects the LMK, and check values; never key material
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw a component for one custodian
    Component {
        /// File to write: mode 0600, never overwritten
        #[arg(long)]
        out: PathBuf,
    },
    /// Form the LMK of a new switch from two or more components (exclusive or)
    Form {
        /// A file with one component: 64 hexadecimal digits on line 1, its check value on line 2
        #[arg(long = "component", required = true, num_args = 1)]
        components: Vec<PathBuf>,
        #[command(flatten)]
        under: Under,
    },
    /// Put the LMK under a passphrase or a token's key
    Seal {
        #[command(flatten)]
        under: Under,
    },
    /// Change the passphrase
    Passphrase {
        /// File with the new passphrase, mode 0600; asked for at the terminal when absent
        #[arg(long)]
        new_file: Option<PathBuf>,
    },
    /// Replace the LMK: a new one into the file, then every key block of the store under it. Running daemons go
    /// on; interrupted, it is run again
    Rotate(Rotate),
}

/// What shall protect it.
#[derive(Debug, Args)]
pub(super) struct Under {
    /// Instead of what the settings suggest: the token when one is set, else the passphrase
    #[arg(long)]
    protection: Option<Protection>,
}

/// What protects the keys in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protection {
    /// The file's mode alone: for development
    Plain,
    /// A passphrase
    Passphrase,
    /// A key in a PKCS#11 token; made when it is not there
    Token,
}

/// `tollgate lmk rotate`
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Form the new LMK from components, instead of drawing it
    #[arg(long = "component", num_args = 1, conflicts_with = "finish")]
    components: Vec<PathBuf>,
    /// Only write the new LMK into the file, to copy it to other hosts before any key block is under it
    #[arg(long, conflicts_with = "finish")]
    file_only: bool,
    /// Drop the former LMK, once no key block is under it
    #[arg(long)]
    finish: bool,
}

impl LmkVerb {
    /// Runs `tollgate lmk`.
    pub(super) fn run(&self, place: &Place, out: &mut dyn Write) -> Result<u8> {
        if let Self::Component { out: path } = self {
            writeln!(out, "component  {}", lmk::new_component(path)?)?;
            return Ok(0);
        }
        if let Self::Rotate(args) = self {
            return rotate(&mut place.tools()?, args, out);
        }
        let config = place.load(&Overrides::default())?;
        let file = server::lmk_file(&config.hsm.lmk);
        match self {
            Self::Status { json } => status(&file, *json, out)?,
            Self::Form { components, under } => {
                run::make_folders(&config)?;
                let _lock = file.lock()?;
                let (keys, seal) = recorded(&config, Operation::FormLmk, || {
                    let keys = LmkKeys::new(lmk::form(components)?)?;
                    let seal = seal(&file, &config, under)?;
                    file.create(&keys, &seal)?;
                    Ok((keys, seal))
                })?;
                writeln!(out, "lmk  {}  {}", keys.current.check_value()?, seal.name())?;
            }
            Self::Seal { under } => {
                let _lock = file.lock()?;
                let (keys, seal) = recorded(&config, Operation::SealLmk, || {
                    let keys = file.load()?;
                    let seal = seal(&file, &config, under)?;
                    file.replace(&keys, &seal)?;
                    Ok((keys, seal))
                })?;
                writeln!(out, "lmk  {}  {}", keys.current.check_value()?, seal.name())?;
            }
            Self::Passphrase { new_file } => {
                let _lock = file.lock()?;
                let Seal::Passphrase(_) = file.seal()? else {
                    bail!("the LMK is not sealed by a passphrase: tollgate lmk seal does that");
                };
                let (keys, seal) = recorded(&config, Operation::SealLmk, || {
                    let keys = file.load()?;
                    let new = match new_file {
                        Some(path) => lmk::read_passphrase(path)?,
                        None => ask_twice()?,
                    };
                    let seal = with_passphrase(&file, &new)?;
                    file.replace(&keys, &seal)?;
                    Ok((keys, seal))
                })?;
                writeln!(out, "lmk  {}  {}", keys.current.check_value()?, seal.name())?;
            }
            Self::Component { .. } | Self::Rotate(_) => {}
        }
        Ok(0)
    }
}

/// Does something with the LMK and records it with the LMK's check value, or the refusal of what was brought for it.
fn recorded<T>(
    config: &Config,
    operation: Operation,
    act: impl FnOnce() -> Result<(LmkKeys, T)>,
) -> Result<(LmkKeys, T)> {
    let path = &config.hsm.audit_file;
    let audit = Audit::open(path, clock(config)?, config.node.id);
    let audit = audit.with_context(|| path.display().to_string())?;
    match act() {
        Ok(done) => {
            audit.done(operation, &KeyName::text(done.0.current.check_value()?.as_bytes()))?;
            Ok(done)
        }
        Err(error) => {
            if let Some(word) = error.downcast_ref().and_then(LmkError::refusal) {
                audit.refused(operation, &KeyName::default(), word);
            }
            Err(error)
        }
    }
}

/// What shall seal the file, ready to do so.
fn seal(file: &LmkFile, config: &Config, under: &Under) -> Result<Seal> {
    let suggested = if config.hsm.lmk.token.is_some() { Protection::Token } else { Protection::Passphrase };
    match under.protection.unwrap_or(suggested) {
        Protection::Plain => Ok(Seal::Plain),
        Protection::Token => Ok(Seal::Token),
        Protection::Passphrase => {
            let passphrase = match &config.hsm.lmk.passphrase_file {
                Some(path) => lmk::read_passphrase(path)?,
                None => ask_twice()?,
            };
            with_passphrase(file, &passphrase)
        }
    }
}

fn with_passphrase(file: &LmkFile, passphrase: &str) -> Result<Seal> {
    if passphrase.chars().count() < SHORTEST_PASSPHRASE {
        bail!("a passphrase is of at least {SHORTEST_PASSPHRASE} characters");
    }
    Ok(file.take_passphrase(passphrase, Cost::usual()?)?)
}

fn ask_twice() -> Result<Zeroizing<String>> {
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Zeroizing::new);
    let first = ask("new passphrase of the LMK: ")?;
    if *first != *ask("again: ")? {
        bail!("the two differ");
    }
    Ok(first)
}

/// What is known without opening the file, so that it asks for nothing; but for a plain one.
fn status(file: &LmkFile, json: bool, out: &mut dyn Write) -> Result<()> {
    let seal = file.seal()?;
    let Told { current, former } = file.told()?;
    let current = match current {
        Some(told) => told,
        None => file.load()?.current.check_value()?,
    };
    if json {
        let cost = match &seal {
            Seal::Passphrase(cost) => serde_json::json!({
                "memory_kib": cost.memory_kib, "passes": cost.passes, "lanes": cost.lanes
            }),
            Seal::Plain | Seal::Token => serde_json::Value::Null,
        };
        let (former, replaced_ms) = former.unzip();
        let row = serde_json::json!({
            "file": file.path(), "protection": seal.name(), "argon2id": cost, "current": current,
            "former": former, "replaced_ms": replaced_ms
        });
        writeln!(out, "{row}")?;
        return Ok(());
    }
    writeln!(out, "file        {}", file.path().display())?;
    writeln!(out, "protection  {}", seal.name())?;
    writeln!(out, "current     {current}")?;
    if let Some((former, since)) = former {
        let clock = Clock::system(0).context("clock")?;
        writeln!(out, "former      {former}  replaced {}", clock.rfc3339_of(since))?;
    }
    Ok(())
}

fn rotate(tools: &mut Tools, args: &Rotate, out: &mut dyn Write) -> Result<u8> {
    let file = server::lmk_file(&tools.config.hsm.lmk);
    let _lock = file.lock()?;
    let mut keys = file.load()?;
    if args.finish {
        return finish(tools, &file, &keys, out);
    }
    if keys.former.is_none() || !args.components.is_empty() {
        (keys, ()) = recorded(&tools.config, Operation::RotateLmk, || {
            let next = if args.components.is_empty() { Lmk::random()? } else { lmk::form(&args.components)? };
            let keys = keys.rotated(next, clock(&tools.config)?.now_ms())?;
            file.replace(&keys, &file.seal()?)?;
            Ok((keys, ()))
        })?;
    }
    let former = keys.former.as_ref().map(|former| former.lmk.check_value()).transpose()?;
    writeln!(out, "lmk  {}  former {}", keys.current.check_value()?, former.unwrap_or_default())?;
    if args.file_only {
        return Ok(0);
    }
    let done = rewrap(tools, &keys)?;
    done.say(out)
}

/// What became of the store's key blocks.
#[derive(Debug, Default)]
struct Done {
    moved: usize,
    /// Those that are under no LMK of the file.
    foreign: Vec<String>,
    /// Others went on changing them.
    unsettled: bool,
}

impl Done {
    fn say(&self, out: &mut dyn Write) -> Result<u8> {
        writeln!(out, "{} key blocks moved", self.moved)?;
        for block in &self.foreign {
            writeln!(out, "not under this LMK: {block}")?;
        }
        if self.unsettled {
            bail!("key blocks kept changing: run it again");
        }
        Ok(if self.foreign.is_empty() { 0 } else { FAULTS })
    }
}

/// Moves every key block under the current LMK, and looks again until none is left. Equal blocks stay equal: an import
/// of reference data tells by that whether a key is another one. On devices key blocks are under the devices' own LMK.
fn rewrap(tools: &mut Tools, keys: &LmkKeys) -> Result<Done> {
    let mut done = Done::default();
    if run::devices(&tools.config).is_some() {
        return Ok(done);
    }
    let ring = LmkRing::of_keys(keys)?;
    let mut known: HashMap<String, String> = HashMap::new();
    for _ in 0..PASSES {
        let directory = tools.reader.directory()?;
        done.foreign.clear();
        let mut moves = Vec::new();
        for (slot, block) in directory.key_blocks() {
            let moved = match known.get(block) {
                Some(to) => Ok(Some(to.clone())),
                None => ring.rewrap(block, &OpenSslRandom),
            };
            match moved {
                Ok(None) => {}
                Ok(Some(to)) => {
                    known.insert(block.to_owned(), to.clone());
                    moves.push(Rewrapped { slot, from: block.to_owned(), to });
                }
                Err(error) => done.foreign.push(format!("{slot}: {error}")),
            }
        }
        if moves.is_empty() {
            return Ok(done);
        }
        for batch in moves.chunks(BATCH) {
            let op = Op::Rewrap(batch.to_vec());
            let Outcome::Rewrapped(count) = store::commit_one(tools.backend.as_mut(), op)?.outcome else {
                bail!("the store did not take it");
            };
            done.moved += usize::try_from(count)?;
        }
    }
    done.unsettled = true;
    Ok(done)
}

/// Drops the former LMK, after every daemon has had the time to learn the new one, and every block that one
/// still wrote under the former has been moved.
fn finish(tools: &mut Tools, file: &LmkFile, keys: &LmkKeys, out: &mut dyn Write) -> Result<u8> {
    let Some(former) = &keys.former else {
        writeln!(out, "lmk  {}  no rotation is under way", keys.current.check_value()?)?;
        return Ok(0);
    };
    let mut done = rewrap(tools, keys)?;
    let since = clock(&tools.config)?.now_ms().saturating_sub(former.replaced_ms);
    let mut wait = if done.moved > 0 { GRACE_MS } else { GRACE_MS.saturating_sub(since).min(GRACE_MS) };
    // Until nothing was left to move, and what was moved had the time to become known.
    let mut is_over = false;
    for _ in 0..PASSES {
        std::thread::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or_default()));
        let again = rewrap(tools, keys)?;
        is_over = again.moved == 0;
        done = Done { moved: done.moved + again.moved, ..again };
        if is_over {
            break;
        }
        wait = GRACE_MS;
    }
    done.unsettled |= !is_over;
    let code = done.say(out)?;
    if code != 0 {
        return Ok(code);
    }
    let (kept, ()) = recorded(&tools.config, Operation::DropLmk, || {
        let kept = LmkKeys { former: None, ..keys.clone() };
        file.replace(&kept, &file.seal()?)?;
        Ok((kept, ()))
    })?;
    writeln!(out, "lmk  {}  former {} dropped", kept.current.check_value()?, former.lmk.check_value()?)?;
    Ok(0)
}
