//! `tollgate merchant | terminal | issuer`: reference data, loaded from TOML files.
//!
//! A verb is a short commit through the store; a running daemon reloads when it sees the revision
//! move.

use super::{Tools, listing};
use crate::clock::TxnIds;
use crate::store::{self, Issuer, Merchant, Op, Outcome, Reference, Route, Terminal, WorkingKeys};
use crate::transaction::{Currency, IssuerId, Mid, TerminalDialect, Tid};
use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// `tollgate merchant …`
#[derive(Debug, Subcommand)]
pub(super) enum MerchantVerb {
    /// Add or replace what a TOML file lists
    Import {
        /// The file
        file: PathBuf,
    },
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its id
        id: Mid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse payments from it
    Block {
        /// Merchant id
        id: Mid,
    },
    /// Take payments from it again
    Unblock {
        /// Merchant id
        id: Mid,
    },
}

/// `tollgate terminal …`
#[derive(Debug, Subcommand)]
pub(super) enum TerminalVerb {
    /// Add or replace what a TOML file lists
    Import {
        /// The file
        file: PathBuf,
    },
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its id
        id: Tid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse payments from it
    Block {
        /// Terminal id
        id: Tid,
    },
    /// Take payments from it again
    Unblock {
        /// Terminal id
        id: Tid,
    },
}

/// `tollgate issuer …`
#[derive(Debug, Subcommand)]
pub(super) enum IssuerVerb {
    /// Add or replace the issuers and routes that a TOML file lists
    Import {
        /// The file
        file: PathBuf,
    },
    /// List issuers and routes
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the keys shared with one: check values, when they changed, whether a change is under way
    Show {
        /// Its name
        id: IssuerId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a running daemon send it a new key
    ChangeKey {
        /// Its name
        id: IssuerId,
        /// Which key
        key: super::zone::KeyArg,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantFile {
    merchant: Vec<MerchantRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantRow {
    mid: String,
    name: String,
    city: String,
    country: String,
    mcc: String,
    fee_basis_points: String,
    #[serde(default = "yes")]
    active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminalFile {
    terminal: Vec<TerminalRow>,
}

/// Keys are named as `tollgate key` named them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TerminalRow {
    tid: String,
    mid: String,
    dialect: String,
    currency: String,
    tmk: Option<String>,
    tpk: Option<String>,
    tak: Option<String>,
    #[serde(default = "yes")]
    active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerFile {
    #[serde(default)]
    issuer: Vec<IssuerRow>,
    #[serde(default)]
    route: Vec<RouteRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerRow {
    id: String,
    acquirer_code: String,
    zpk: Option<String>,
    zak: Option<String>,
    zmk: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteRow {
    prefix: String,
    #[serde(default = "shortest")]
    pan_min: u8,
    #[serde(default = "longest")]
    pan_max: u8,
    issuer: String,
}

const fn yes() -> bool {
    true
}
const fn shortest() -> u8 {
    12
}
const fn longest() -> u8 {
    19
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| file.display().to_string())
}

fn put(tools: &mut Tools, reference: Reference) -> anyhow::Result<()> {
    let committed = store::commit_one(tools.backend.as_mut(), Op::Put(Box::new(reference)))?;
    let Outcome::Done = committed.outcome else { bail!("the store did not take it") };
    Ok(())
}

/// Runs `tollgate merchant`.
///
/// # Errors
/// A file that cannot be read or a value that does not fit, naming it.
pub(super) fn merchant(tools: &mut Tools, verb: &MerchantVerb, out: &mut dyn Write) -> anyhow::Result<u8> {
    match verb {
        MerchantVerb::Import { file } => {
            let rows: MerchantFile = read(file)?;
            let parsed: Vec<_> = rows.merchant.into_iter().map(merchant_of).collect::<anyhow::Result<_>>()?;
            let count = parsed.len();
            parsed.into_iter().try_for_each(|m| put(tools, Reference::Merchant(m)))?;
            writeln!(out, "{count} merchants")?;
        }
        MerchantVerb::List { json } => list_merchants(tools, None, *json, out)?,
        MerchantVerb::Show { id, json } => list_merchants(tools, Some(*id), *json, out)?,
        MerchantVerb::Block { id } => set_merchant(tools, *id, Active::No)?,
        MerchantVerb::Unblock { id } => set_merchant(tools, *id, Active::Yes)?,
    }
    Ok(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Active {
    Yes,
    No,
}

fn set_merchant(tools: &mut Tools, mid: Mid, active: Active) -> anyhow::Result<()> {
    let merchants = tools.reader.directory()?.merchants;
    let found = merchants.into_iter().find(|m| m.mid == mid).with_context(|| format!("no merchant {mid}"))?;
    put(tools, Reference::Merchant(Merchant { active: active == Active::Yes, ..found }))
}

fn set_terminal(tools: &mut Tools, tid: Tid, active: Active) -> anyhow::Result<()> {
    let terminals = tools.reader.directory()?.terminals;
    let found: Vec<_> = terminals.into_iter().filter(|(t, _)| t.tid == tid).collect();
    if found.is_empty() {
        bail!("no terminal {tid}");
    }
    found.into_iter().try_for_each(|(terminal, _)| {
        put(tools, Reference::Terminal(Terminal { active: active == Active::Yes, ..terminal }))
    })
}

fn merchant_of(row: MerchantRow) -> anyhow::Result<Merchant> {
    let mid = Mid::new(&row.mid).with_context(|| format!("merchant id {:?}", row.mid))?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if row.mcc.len() != 4 || !digits(&row.mcc) {
        bail!("merchant {mid}: category code {:?} is not four digits", row.mcc);
    }
    if row.country.len() != 2 || !row.country.bytes().all(|b| b.is_ascii_uppercase()) {
        bail!("merchant {mid}: country {:?} is not two capital letters", row.country);
    }
    let fee: rust_decimal::Decimal = row
        .fee_basis_points
        .parse()
        .with_context(|| format!("merchant {mid}: fee {:?}", row.fee_basis_points))?;
    if fee.is_sign_negative() || fee > rust_decimal::Decimal::from(10_000) {
        bail!("merchant {mid}: fee {fee} is not between 0 and 10000 basis points");
    }
    Ok(Merchant {
        mid,
        name: row.name,
        city: row.city,
        country: row.country,
        mcc: row.mcc,
        fee_basis_points: row.fee_basis_points,
        active: row.active,
    })
}

fn list_merchants(
    tools: &mut Tools,
    only: Option<Mid>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let merchants = tools.reader.directory()?.merchants;
    let wanted: Vec<_> = merchants.into_iter().filter(|m| only.is_none_or(|id| id == m.mid)).collect();
    if let (Some(id), true) = (only, wanted.is_empty()) {
        bail!("no merchant {id}");
    }
    for m in wanted {
        if json {
            let row = serde_json::json!({"mid": m.mid.trimmed(), "name": m.name, "city": m.city, "country": m.country,
                "mcc": m.mcc, "fee_basis_points": m.fee_basis_points, "active": m.active});
            writeln!(out, "{row}")?;
        } else {
            let state = if m.active { "active" } else { "blocked" };
            writeln!(
                out,
                "{:<15}  {:<25}  {:<13}  {}  {}  {:>6} bp  {state}",
                m.mid.trimmed(),
                m.name,
                m.city,
                m.country,
                m.mcc,
                m.fee_basis_points
            )?;
        }
    }
    Ok(())
}

/// Runs `tollgate terminal`.
///
/// # Errors
/// A file that cannot be read, a value that does not fit or a key that is not there, naming it.
pub(super) fn terminal(tools: &mut Tools, verb: &TerminalVerb, out: &mut dyn Write) -> anyhow::Result<u8> {
    match verb {
        TerminalVerb::Import { file } => {
            let rows: TerminalFile = read(file)?;
            let keys = tools.reader.directory()?.keys;
            let parsed: Vec<_> = rows
                .terminal
                .into_iter()
                .map(|row| terminal_of(row, &keys))
                .collect::<anyhow::Result<_>>()?;
            let count = parsed.len();
            parsed.into_iter().try_for_each(|t| put(tools, Reference::Terminal(t)))?;
            writeln!(out, "{count} terminals")?;
        }
        TerminalVerb::List { json } => list_terminals(tools, None, *json, out)?,
        TerminalVerb::Show { id, json } => list_terminals(tools, Some(*id), *json, out)?,
        TerminalVerb::Block { id } => set_terminal(tools, *id, Active::No)?,
        TerminalVerb::Unblock { id } => set_terminal(tools, *id, Active::Yes)?,
    }
    Ok(0)
}

fn key_block(keys: &[store::NamedKey], name: Option<&str>, usage: &str) -> anyhow::Result<Option<String>> {
    let Some(name) = name else { return Ok(None) };
    let key = keys.iter().find(|k| k.name == name).with_context(|| format!("no key {name:?}"))?;
    if key.usage != usage {
        bail!("key {name:?} is a {}, not a {usage}", key.usage);
    }
    Ok(Some(key.block.clone()))
}

fn terminal_of(row: TerminalRow, keys: &[store::NamedKey]) -> anyhow::Result<Terminal> {
    let tid = Tid::new(&row.tid).with_context(|| format!("terminal id {:?}", row.tid))?;
    let dialect = TerminalDialect::from_name(&row.dialect)
        .with_context(|| format!("terminal {tid}: no dialect {:?}", row.dialect))?;
    let tak = key_block(keys, row.tak.as_deref(), "tak")?;
    let tpk = key_block(keys, row.tpk.as_deref(), "tpk")?;
    let static_keys =
        tak.map(|tak| WorkingKeys { generation: 0, tpk: tpk.unwrap_or_default(), tak, tdk: None });
    let tmk = key_block(keys, row.tmk.as_deref(), "tmk")?;
    if static_keys.is_none() && tmk.is_none() {
        bail!("terminal {tid}: neither a tmk nor a tak");
    }
    Ok(Terminal {
        tid,
        mid: Mid::new(&row.mid).with_context(|| format!("terminal {tid}: merchant id {:?}", row.mid))?,
        dialect,
        currency: Currency::parse(&row.currency)
            .with_context(|| format!("terminal {tid}: no currency {:?}", row.currency))?,
        tmk,
        static_keys,
        active: row.active,
    })
}

fn list_terminals(
    tools: &mut Tools,
    only: Option<Tid>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let terminals = tools.reader.directory()?.terminals;
    let wanted: Vec<_> = terminals.into_iter().filter(|(t, _)| only.is_none_or(|id| id == t.tid)).collect();
    if let (Some(id), true) = (only, wanted.is_empty()) {
        bail!("no terminal {id}");
    }
    for (t, session) in wanted {
        let issued_ms = session.current.as_ref().map(|keys| TxnIds::made_at_ms(keys.generation));
        let keys = match (&session.current, &t.static_keys) {
            (Some(_), _) => "signed on",
            (None, Some(_)) => "static keys",
            (None, None) => "not signed on",
        };
        if json {
            let row = serde_json::json!({"tid": t.tid.trimmed(), "mid": t.mid.trimmed(), "dialect": t.dialect.name(),
                "currency": t.currency.code(), "keys": keys, "keys_issued_ms": issued_ms,
                "key_uses": issued_ms.map(|_| session.uses), "active": t.active});
            writeln!(out, "{row}")?;
        } else {
            let state = if t.active { "active" } else { "blocked" };
            let life = issued_ms.map_or_else(String::new, |ms| {
                let uses = if session.uses > 0 { format!(", {} uses", session.uses) } else { String::new() };
                format!("  keys of {}{uses}", listing::time(ms))
            });
            writeln!(
                out,
                "{:<8}  {:<15}  {:<12}  {}  {keys:<13}  {state}{life}",
                t.tid.trimmed(),
                t.mid.trimmed(),
                t.dialect.name(),
                t.currency.code()
            )?;
        }
    }
    Ok(())
}

/// Runs `tollgate issuer`.
///
/// # Errors
/// A file that cannot be read, a value that does not fit or a key that is not there, naming it.
pub(super) fn issuer(tools: &mut Tools, verb: &IssuerVerb, out: &mut dyn Write) -> anyhow::Result<u8> {
    match verb {
        IssuerVerb::Import { file } => {
            let rows: IssuerFile = read(file)?;
            let keys = tools.reader.directory()?.keys;
            let issuers: Vec<_> =
                rows.issuer.into_iter().map(|row| issuer_of(row, &keys)).collect::<anyhow::Result<_>>()?;
            let routes: Vec<_> = rows.route.into_iter().map(route_of).collect::<anyhow::Result<_>>()?;
            let counts = (issuers.len(), routes.len());
            issuers.into_iter().try_for_each(|i| put(tools, Reference::Issuer(i)))?;
            routes.into_iter().try_for_each(|r| put(tools, Reference::Route(r)))?;
            writeln!(out, "{} issuers, {} routes", counts.0, counts.1)?;
        }
        IssuerVerb::List { json } => list_issuers(tools, *json, out)?,
        IssuerVerb::Show { id, json } => super::zone::show(tools, *id, *json, out)?,
        IssuerVerb::ChangeKey { id, key } => super::zone::change(tools, *id, *key, out)?,
    }
    Ok(0)
}

fn issuer_of(row: IssuerRow, keys: &[store::NamedKey]) -> anyhow::Result<Issuer> {
    let id = IssuerId::new(&row.id).with_context(|| format!("issuer {:?}", row.id))?;
    let code = &row.acquirer_code;
    if code.is_empty() || code.len() > 11 || !code.bytes().all(|b| b.is_ascii_digit()) {
        bail!("issuer {id}: acquirer code {code:?} is not 1 to 11 digits");
    }
    Ok(Issuer {
        id,
        acquirer_code: row.acquirer_code,
        zpk: key_block(keys, row.zpk.as_deref(), "zpk")?,
        zak: key_block(keys, row.zak.as_deref(), "zak")?,
        zmk: key_block(keys, row.zmk.as_deref(), "zmk")?,
    })
}

fn route_of(row: RouteRow) -> anyhow::Result<Route> {
    let digits = row.prefix.bytes().all(|b| b.is_ascii_digit());
    if !digits || !(1..=11).contains(&row.prefix.len()) {
        bail!("route {:?} is not 1 to 11 digits", row.prefix);
    }
    if row.pan_min > row.pan_max || !(12..=19).contains(&row.pan_min) || row.pan_max > 19 {
        bail!("route {}: lengths {} to {} are not within 12 to 19", row.prefix, row.pan_min, row.pan_max);
    }
    let issuer = IssuerId::new(&row.issuer).with_context(|| format!("issuer {:?}", row.issuer))?;
    Ok(Route { prefix: row.prefix, pan_min: row.pan_min, pan_max: row.pan_max, issuer })
}

fn list_issuers(tools: &mut Tools, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let directory = tools.reader.directory()?;
    for i in directory.issuers {
        let routes: Vec<_> =
            directory.routes.iter().filter(|r| r.issuer == i.id).map(|r| r.prefix.clone()).collect();
        if json {
            let row = serde_json::json!({"id": i.id.trimmed(), "acquirer_code": i.acquirer_code,
                "zpk": i.zpk.is_some(), "zak": i.zak.is_some(), "routes": routes});
            writeln!(out, "{row}")?;
        } else {
            writeln!(out, "{:<11}  {:<11}  {}", i.id.trimmed(), i.acquirer_code, routes.join(" "))?;
        }
    }
    Ok(())
}
