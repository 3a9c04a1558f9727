//! `tollgate key`: keys by name, held as key blocks under the local master key.
//!
//! A component is read from a file, never from the command line or the environment; each custodian
//! brings one, with its own check value.

use super::Tools;
use crate::hsm::{DesKey, KeyBlock, KeyLength, Usage};
use crate::store::{self, NamedKey, Op, Outcome, Reference};
use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `tollgate key …`
#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// Make a key.
    Generate {
        /// Its name.
        #[arg(long)]
        name: String,
        /// What it is for.
        #[arg(long)]
        usage: UsageArg,
        /// Its length in octets.
        #[arg(long, default_value_t = 16)]
        length: usize,
    },
    /// Form a key from two or more components (exclusive or).
    Import {
        /// Its name.
        #[arg(long)]
        name: String,
        /// What it is for.
        #[arg(long)]
        usage: UsageArg,
        /// A file with one component: hexadecimal digits on the first line, its check value on the second.
        #[arg(long = "component", required = true, num_args = 1)]
        components: Vec<PathBuf>,
        /// Check value that the whole key must have, six hexadecimal digits.
        #[arg(long)]
        kcv: Option<String>,
    },
    /// Print a key as a key block under the local master key.
    Export {
        /// Its name.
        #[arg(long)]
        name: String,
    },
    /// List keys with their check values.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a key is for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum UsageArg {
    /// Terminal master key.
    Tmk,
    /// Terminal PIN key.
    Tpk,
    /// Terminal MAC key.
    Tak,
    /// Terminal track-data key.
    Tdk,
    /// Zone PIN key, shared with an issuer.
    Zpk,
    /// Zone MAC key, shared with an issuer.
    Zak,
}

impl UsageArg {
    const fn usage(self) -> (Usage, &'static str) {
        match self {
            Self::Tmk => (Usage::Tmk, "tmk"),
            Self::Tpk => (Usage::Tpk, "tpk"),
            Self::Tak => (Usage::Tak, "tak"),
            Self::Tdk => (Usage::Tdk, "tdk"),
            Self::Zpk => (Usage::Zpk, "zpk"),
            Self::Zak => (Usage::Zak, "zak"),
        }
    }
}

/// Runs `tollgate key`.
///
/// # Errors
/// A component that cannot be read, a check value that differs, a key that is not acceptable.
pub(super) fn run(tools: &mut Tools, verb: &KeyVerb, out: &mut dyn Write) -> anyhow::Result<u8> {
    match verb {
        KeyVerb::Generate { name, usage, length } => {
            let (usage, word) = usage.usage();
            let length = KeyLength::of(*length)?;
            let made = tools.hsm()?.generate(usage, length)?;
            keep(tools, name, word, made, out)?;
        }
        KeyVerb::Import { name, usage, components, kcv } => {
            let (usage, word) = usage.usage();
            let hsm = tools.hsm()?;
            let parts: Vec<_> =
                components.iter().map(|file| component(file)).collect::<anyhow::Result<_>>()?;
            let formed = hsm.import_components(usage, &parts)?;
            if let Some(want) = kcv.as_ref().filter(|want| !want.eq_ignore_ascii_case(&formed.1)) {
                bail!("the key's check value is {}, not {want}", formed.1);
            }
            keep(tools, name, word, formed, out)?;
        }
        KeyVerb::Export { name } => {
            let keys = tools.reader.directory()?.keys;
            let key = keys.iter().find(|k| k.name == *name).with_context(|| format!("no key {name:?}"))?;
            writeln!(out, "{}", key.block)?;
        }
        KeyVerb::List { json } => list(tools, *json, out)?,
    }
    Ok(0)
}

fn keep(
    tools: &mut Tools,
    name: &str,
    usage: &str,
    (block, kcv): (KeyBlock, String),
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{name}  {usage}  {kcv}")?;
    let key =
        NamedKey { name: name.to_owned(), block: block.as_str().to_owned(), kcv, usage: usage.to_owned() };
    let op = Op::Put(Box::new(Reference::Key(key)));
    let Outcome::Done = store::commit_one(tools.backend.as_mut(), op)?.outcome else {
        bail!("the store did not take it")
    };
    Ok(())
}

/// A component and the check value that its custodian wrote under it.
fn component(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = Zeroizing::new(text);
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let digits = lines.next().with_context(|| format!("{}: empty", file.display()))?;
    let octets =
        hex::decode(digits).map_err(|_| anyhow::anyhow!("{}: line 1 is not hexadecimal", file.display()))?;
    let octets = Zeroizing::new(octets);
    if let Some(want) = lines.next() {
        let kcv = DesKey::new(&octets)?.kcv();
        if !want.eq_ignore_ascii_case(&kcv) {
            bail!("{}: the component's check value is {kcv}, not {want}", file.display());
        }
    }
    Ok(octets)
}

fn list(tools: &mut Tools, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    for key in tools.reader.directory()?.keys {
        if json {
            writeln!(out, "{}", serde_json::json!({"name": key.name, "usage": key.usage, "kcv": key.kcv}))?;
        } else {
            writeln!(out, "{:<24}  {:<4}  {}", key.name, key.usage, key.kcv)?;
        }
    }
    Ok(())
}
