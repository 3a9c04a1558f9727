//! `tollgate issuer show` and `change-key`: the keys shared with an issuer, and asking for new ones.

use super::{Tools, key};
use crate::clock::Clock;
use crate::store::{self, Issuer, Op, Outcome, ZoneKeyChange, ZoneKeyState, ZoneStep};
use crate::transaction::{IssuerId, ZoneUse};
use anyhow::{Context, bail};
use clap::ValueEnum;
use std::io::Write;

/// A key that is changed in service.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyArg {
    /// Zone PIN key.
    Zpk,
    /// Zone MAC key.
    Zak,
}

impl KeyArg {
    const fn of(self) -> ZoneUse {
        match self {
            Self::Zpk => ZoneUse::Zpk,
            Self::Zak => ZoneUse::Zak,
        }
    }
}

fn find(tools: &mut Tools, id: IssuerId) -> anyhow::Result<(Issuer, Vec<ZoneKeyState>)> {
    let directory = tools.reader.directory()?;
    let issuer = directory.issuers.into_iter().find(|issuer| issuer.id == id);
    let states = directory.zone_keys.into_iter().filter(|state| state.issuer == id).collect();
    Ok((issuer.with_context(|| format!("no issuer {}", id.trimmed()))?, states))
}

/// Runs `tollgate issuer change-key`.
///
/// # Errors
/// An issuer that is not there, or has no zone master key or no such key.
pub(super) fn change(
    tools: &mut Tools,
    id: IssuerId,
    key: KeyArg,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (issuer, _) = find(tools, id)?;
    let of = key.of();
    if issuer.zmk.is_none() {
        bail!("issuer {} has no zmk: no key can be sent", id.trimmed());
    }
    let current = match of {
        ZoneUse::Zpk => &issuer.zpk,
        ZoneUse::Zak => &issuer.zak,
    };
    if current.is_none() {
        bail!("issuer {} has no {} to change", id.trimmed(), of.name());
    }
    let at_ms = Clock::system(0).context("the clock")?.now_ms();
    let op = Op::ZoneKey(Box::new(ZoneKeyChange { issuer: id, of, step: ZoneStep::Ask, at_ms }));
    let Outcome::ZoneKey(_) = store::commit_one(tools.backend.as_mut(), op)?.outcome else {
        bail!("the store did not take it")
    };
    writeln!(out, "{}  {}  a change is asked for", id.trimmed(), of.name())?;
    Ok(())
}

/// Runs `tollgate issuer show`.
///
/// # Errors
/// An issuer that is not there, or a key that is not of this HSM.
pub(super) fn show(tools: &mut Tools, id: IssuerId, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let (issuer, states) = find(tools, id)?;
    let of_use = |of| states.iter().find(|state| state.of == of);
    let former = |of| of_use(of).and_then(|state| state.former.as_ref());
    let blocks = [
        issuer.zmk.as_ref(),
        issuer.zpk.as_ref(),
        former(ZoneUse::Zpk),
        issuer.zak.as_ref(),
        former(ZoneUse::Zak),
    ];
    let [zmk, zpk, former_zpk, zak, former_zak] = key::check_values(tools, blocks)?;
    let mut keys = serde_json::Map::new();
    let mut lines = vec![format!("zmk  {}", zmk.as_deref().unwrap_or("none"))];
    for (of, current, former) in [(ZoneUse::Zpk, zpk, former_zpk), (ZoneUse::Zak, zak, former_zak)] {
        let state = of_use(of);
        let changed = state.and_then(|s| s.changed_ms).map(time);
        let change = standing(state);
        let pending = state.and_then(|s| s.pending.as_ref()).map(|pending| pending.kcv.clone());
        lines.push(format!(
            "{}  {:<6}  changed {}  {change}",
            of.name(),
            current.as_deref().unwrap_or("none"),
            changed.as_deref().unwrap_or("never"),
        ));
        let row = serde_json::json!({"kcv": current, "former": former, "pending": pending, "changed": changed,
            "change": change});
        keys.insert(of.name().to_owned(), row);
    }
    if json {
        keys.insert("id".to_owned(), id.trimmed().into());
        keys.insert("acquirer_code".to_owned(), issuer.acquirer_code.into());
        keys.insert("zmk".to_owned(), zmk.into());
        writeln!(out, "{}", serde_json::Value::Object(keys))?;
    } else {
        writeln!(out, "{}  acquirer code {}", id.trimmed(), issuer.acquirer_code)?;
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(())
}

/// How far a change is.
fn standing(state: Option<&ZoneKeyState>) -> &'static str {
    let Some(state) = state else { return "none" };
    match (&state.pending, state.asked_ms) {
        (Some(pending), _) if pending.sent.is_some() => "sent",
        (Some(_), _) => "received",
        (None, Some(_)) => "asked",
        (None, None) => "none",
    }
}

/// UTC, to the second.
fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| at_ms.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
