//! `tollgate key`: keys by name, held as key blocks under the local master key.
//!
//! A component is read from a file, never from the command line or the environment; each custodian
//! brings one, with its own check value.

use super::Tools;
use crate::hsm::aes::AesKey;
use crate::hsm::audit::Operation;
use crate::hsm::host_client::HostClient;
use crate::hsm::{Algorithm, DesKey, HsmError, Key, KeyBlock, KeyKind, Usage};
use crate::server;
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
        /// DES (triple, by its length) or AES; AES for zone master and base derivation keys only.
        #[arg(long, default_value = "des")]
        algorithm: AlgorithmArg,
        /// Its length in octets.
        #[arg(long, default_value_t = 16)]
        length: usize,
    },
    /// Form a key from two or more components (exclusive or), or take one that came as a key block.
    #[command(group = clap::ArgGroup::new("source").required(true).args(["components", "block"]))]
    Import {
        /// Its name.
        #[arg(long)]
        name: String,
        /// What it is for.
        #[arg(long)]
        usage: UsageArg,
        /// A file with one component: hexadecimal digits on the first line, its check value on the second.
        #[arg(long = "component", num_args = 1)]
        components: Vec<PathBuf>,
        /// Of components: DES or AES.
        #[arg(long, default_value = "des", conflicts_with = "block")]
        algorithm: AlgorithmArg,
        /// A file with a key block (TR-31) under a zone master key.
        #[arg(long, requires = "under")]
        block: Option<PathBuf>,
        /// The name of the zone master key.
        #[arg(long, requires = "block")]
        under: Option<String>,
        /// Check value that the whole key must have, six hexadecimal digits.
        #[arg(long)]
        kcv: Option<String>,
    },
    /// Take a key block that the console of the configured device made; the device checks it.
    Add {
        /// Its name.
        #[arg(long)]
        name: String,
        /// What it is for.
        #[arg(long)]
        usage: UsageArg,
        /// The key block, as the console printed it.
        #[arg(long)]
        block: String,
        /// The key's check value, six hexadecimal digits.
        #[arg(long)]
        kcv: String,
    },
    /// Print a key as a key block: under the local master key, or under a zone master key for somebody else.
    Export {
        /// Its name.
        #[arg(long)]
        name: String,
        /// The name of the zone master key: prints TR-31 version B (triple DES) or D (AES), and the check value.
        #[arg(long)]
        under: Option<String>,
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
    /// Zone master key: protects key blocks from and to an issuer.
    Zmk,
    /// Base derivation key of DUKPT terminals.
    Bdk,
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
    pub(super) const fn usage(self) -> (Usage, &'static str) {
        match self {
            Self::Tmk => (Usage::Tmk, "tmk"),
            Self::Zmk => (Usage::Zmk, "zmk"),
            Self::Bdk => (Usage::Bdk, "bdk"),
            Self::Tpk => (Usage::Tpk, "tpk"),
            Self::Tak => (Usage::Tak, "tak"),
            Self::Tdk => (Usage::Tdk, "tdk"),
            Self::Zpk => (Usage::Zpk, "zpk"),
            Self::Zak => (Usage::Zak, "zak"),
        }
    }
}

/// What a key is a key of.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum AlgorithmArg {
    /// DES or triple DES.
    Des,
    /// AES.
    Aes,
}

impl From<AlgorithmArg> for Algorithm {
    fn from(arg: AlgorithmArg) -> Self {
        match arg {
            AlgorithmArg::Des => Self::Des,
            AlgorithmArg::Aes => Self::Aes,
        }
    }
}

/// Runs `tollgate key`.
///
/// # Errors
/// A component that cannot be read, a check value that differs, a key that is not acceptable.
pub(super) fn run(tools: &mut Tools, verb: &KeyVerb, out: &mut dyn Write) -> anyhow::Result<u8> {
    match verb {
        KeyVerb::Generate { name, usage, algorithm, length } => {
            let (usage, word) = usage.usage();
            let kind = KeyKind::of((*algorithm).into(), *length)?;
            let made = match (super::run::devices(&tools.config), kind) {
                (None, kind) => tools.hsm()?.generate(usage, kind)?,
                (Some(_), KeyKind::Des(length)) => {
                    on_devices(tools, async |client| client.generate(usage, length).await)?
                }
                (Some(_), KeyKind::Aes(_)) => bail!("devices are asked for DES keys only"),
            };
            keep(tools, name, word, made, out)?;
        }
        KeyVerb::Import { name, usage, components, algorithm, block, under, kcv } => {
            let (usage, word) = usage.usage();
            if super::run::devices(&tools.config).is_some() {
                bail!(
                    "components and key blocks of others are brought to the device's console, never to this \
                     computer; `tollgate key add` takes the key block that it forms"
                );
            }
            let hsm = tools.hsm()?;
            let came = match (block, under) {
                (Some(file), Some(under)) => {
                    let text = std::fs::read_to_string(file)
                        .with_context(|| format!("cannot read {}", file.display()))?;
                    let zmk = named(tools, under)?;
                    hsm.import_block(usage, &Key::of(zmk), text.trim_ascii())
                        .with_context(|| format!("{} under {under}", file.display()))?
                }
                (_, _) => {
                    let algorithm = (*algorithm).into();
                    let parts = components.iter().map(|file| component(file, algorithm));
                    let parts: anyhow::Result<Vec<_>> = parts.collect();
                    if parts.as_ref().is_err_and(|error| error.is::<OtherCheckValue>()) {
                        hsm.refuse_check_value(Operation::Form, usage, "");
                    }
                    hsm.import_components(usage, algorithm, &parts?)?
                }
            };
            if let Some(want) = kcv.as_ref().filter(|want| !want.eq_ignore_ascii_case(&came.1)) {
                let operation = if block.is_some() { Operation::Import } else { Operation::Form };
                hsm.refuse_check_value(operation, usage, &came.1);
                bail!("the key's check value is {}, not {want}", came.1);
            }
            keep(tools, name, word, came, out)?;
        }
        KeyVerb::Add { name, usage, block, kcv } => {
            let (usage, word) = usage.usage();
            let block = KeyBlock::new(block.as_str());
            let kcv = on_devices(tools, async |client| client.check(usage, &block, kcv).await)?;
            keep(tools, name, word, (block, kcv), out)?;
        }
        KeyVerb::Export { name, under: None } => {
            let block = named(tools, name)?;
            if super::run::devices(&tools.config).is_none() {
                tools.hsm()?.export(&block)?;
            }
            writeln!(out, "{}", block.as_str())?;
        }
        KeyVerb::Export { name, under: Some(under) } => {
            if super::run::devices(&tools.config).is_some() {
                bail!("a device's key is exported on its console");
            }
            let (key, zmk) = (named(tools, name)?, named(tools, under)?);
            let sent = tools
                .hsm()?
                .export_block(&key, &Key::of(zmk))
                .with_context(|| format!("{name} under {under}"))?;
            writeln!(out, "{}  {}", sent.block, sent.kcv)?;
        }
        KeyVerb::List { json } => list(tools, *json, out)?,
    }
    Ok(0)
}

/// Does something on the devices that are configured.
fn on_devices<T>(
    tools: &Tools,
    act: impl AsyncFnOnce(&HostClient) -> Result<T, HsmError>,
) -> anyhow::Result<T> {
    let devices = super::run::devices(&tools.config)
        .context("no device is configured: hsm.backend is not \"host-commands\"")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = server::open_devices(&tools.config.hsm.lmk, &devices).await?;
        Ok(act(&client).await?)
    })
}

/// The check values of key blocks, where there are any, by whoever has their LMK.
pub(super) fn check_values<const N: usize>(
    tools: &Tools,
    blocks: [Option<&String>; N],
) -> anyhow::Result<[Option<String>; N]> {
    let mut found = [const { None }; N];
    let blocks = blocks.map(|block| block.map(|block| KeyBlock::new(block.as_str())));
    if super::run::devices(&tools.config).is_some() {
        return on_devices(tools, async |client| {
            for (block, found) in blocks.iter().zip(&mut found) {
                if let Some(block) = block {
                    *found = Some(client.kcv(block).await?);
                }
            }
            Ok(found)
        });
    }
    let hsm = tools.hsm()?;
    for (block, found) in blocks.iter().zip(&mut found) {
        *found = block.as_ref().map(|block| hsm.kcv(block)).transpose()?;
    }
    Ok(found)
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

/// The block of a key by its name.
fn named(tools: &mut Tools, name: &str) -> anyhow::Result<KeyBlock> {
    let keys = tools.reader.directory()?.keys;
    let key = keys.into_iter().find(|key| key.name == *name).with_context(|| format!("no key {name:?}"))?;
    Ok(KeyBlock::new(key.block))
}

/// A component is not the one that its file says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OtherCheckValue(String);

/// A component and the check value that its custodian wrote under it.
pub(super) fn component(file: &Path, algorithm: Algorithm) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = Zeroizing::new(text);
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let digits = lines.next().with_context(|| format!("{}: empty", file.display()))?;
    let octets =
        hex::decode(digits).map_err(|_| anyhow::anyhow!("{}: line 1 is not hexadecimal", file.display()))?;
    let octets = Zeroizing::new(octets);
    if let Some(want) = lines.next() {
        let kcv = match algorithm {
            Algorithm::Des => DesKey::new(&octets)?.kcv(),
            Algorithm::Aes => AesKey::new(&octets)?.kcv(),
        };
        if !want.eq_ignore_ascii_case(&kcv) {
            let found = format!("{}: the component's check value is {kcv}, not {want}", file.display());
            return Err(OtherCheckValue(found).into());
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
