//! Every place in the store that holds a key block, so that a change of the LMK misses none.

use super::{Directory, Session, WorkingKeys};
use crate::transaction::{IssuerId, Mid, Tid, ZoneUse};
use std::fmt;

/// A place that holds a key block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySlot {
    /// A key by name.
    Named(String),
    /// A terminal's.
    Terminal(Mid, Tid, TerminalKey),
    /// A signed-on terminal's.
    Session(Mid, Tid, SessionKey),
    /// An issuer's.
    Issuer(IssuerId, IssuerKey),
    /// An issuer's, while it is being changed.
    Change(IssuerId, ZoneUse, ChangeKey),
}

/// A zone key beside the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKey {
    /// The one before it.
    Former,
    /// The one that is to come.
    Pending,
}

/// Keys that a terminal was given by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalKey {
    /// Master key.
    Tmk,
    /// PIN key.
    StaticTpk,
    /// MAC key.
    StaticTak,
    /// Track-data key.
    StaticTdk,
}

/// Keys of a sign-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKey {
    /// PIN key.
    Tpk,
    /// MAC key.
    Tak,
    /// Track-data key.
    Tdk,
    /// PIN key of the generation before.
    PreviousTpk,
    /// MAC key of the generation before.
    PreviousTak,
    /// Track-data key of the generation before.
    PreviousTdk,
}

/// Keys shared with an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerKey {
    /// PIN key.
    Zpk,
    /// MAC key.
    Zak,
    /// Master key.
    Zmk,
}

impl TerminalKey {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Tmk => "tmk",
            Self::StaticTpk => "static_tpk",
            Self::StaticTak => "static_tak",
            Self::StaticTdk => "static_tdk",
        }
    }
}

impl SessionKey {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Tpk => "tpk",
            Self::Tak => "tak",
            Self::Tdk => "tdk",
            Self::PreviousTpk => "previous_tpk",
            Self::PreviousTak => "previous_tak",
            Self::PreviousTdk => "previous_tdk",
        }
    }
}

impl IssuerKey {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Zpk => "zpk",
            Self::Zak => "zak",
            Self::Zmk => "zmk",
        }
    }
}

impl ChangeKey {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Former => "former",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "key {name:?}"),
            Self::Terminal(mid, tid, key) => {
                write!(f, "{} of terminal {} at {}", key.column(), tid.trimmed(), mid.trimmed())
            }
            Self::Session(mid, tid, key) => {
                write!(f, "session {} of terminal {} at {}", key.column(), tid.trimmed(), mid.trimmed())
            }
            Self::Issuer(id, key) => write!(f, "{} of issuer {}", key.column(), id.trimmed()),
            Self::Change(id, of, key) => {
                write!(f, "{} {} of issuer {}", key.column(), of.name(), id.trimmed())
            }
        }
    }
}

/// A key block, and the same key under another LMK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// Where it stands.
    pub slot: KeySlot,
    /// What must stand there.
    pub from: String,
    /// What shall.
    pub to: String,
}

impl Directory {
    /// Every key block, and where it stands.
    #[must_use]
    pub fn key_blocks(&self) -> Vec<(KeySlot, &str)> {
        let mut found: Vec<_> =
            self.keys.iter().map(|key| (KeySlot::Named(key.name.clone()), key.block.as_str())).collect();
        for (terminal, session) in &self.terminals {
            let (mid, tid) = (terminal.mid, terminal.tid);
            let own = terminal.tmk.iter().map(|tmk| (TerminalKey::Tmk, tmk.as_str()));
            let names = [TerminalKey::StaticTpk, TerminalKey::StaticTak, TerminalKey::StaticTdk];
            let given = of_generation(terminal.static_keys.as_ref(), names);
            found.extend(own.chain(given).map(|(key, block)| (KeySlot::Terminal(mid, tid, key), block)));
            let Session { current, previous, uses: _ } = session;
            let names = [SessionKey::Tpk, SessionKey::Tak, SessionKey::Tdk];
            let before = [SessionKey::PreviousTpk, SessionKey::PreviousTak, SessionKey::PreviousTdk];
            let drawn =
                of_generation(current.as_ref(), names).chain(of_generation(previous.as_ref(), before));
            found.extend(drawn.map(|(key, block)| (KeySlot::Session(mid, tid, key), block)));
        }
        for issuer in &self.issuers {
            let keys =
                [(IssuerKey::Zpk, &issuer.zpk), (IssuerKey::Zak, &issuer.zak), (IssuerKey::Zmk, &issuer.zmk)];
            let keys = keys.into_iter().filter_map(|(key, block)| Some((key, block.as_deref()?)));
            found.extend(keys.map(|(key, block)| (KeySlot::Issuer(issuer.id, key), block)));
        }
        for state in &self.zone_keys {
            let former = state.former.as_deref().map(|block| (ChangeKey::Former, block));
            let pending = state.pending.as_ref().map(|pending| (ChangeKey::Pending, pending.block.as_str()));
            let keys = former.into_iter().chain(pending);
            found.extend(keys.map(|(key, block)| (KeySlot::Change(state.issuer, state.of, key), block)));
        }
        // Where a dialect has no PIN key the column is empty.
        found.retain(|(_, block)| !block.is_empty());
        found
    }
}

fn of_generation<K>(keys: Option<&WorkingKeys>, names: [K; 3]) -> impl Iterator<Item = (K, &str)> {
    let blocks = keys.map(|keys| [Some(keys.tpk.as_str()), Some(keys.tak.as_str()), keys.tdk.as_deref()]);
    let pairs = names.into_iter().zip(blocks.into_iter().flatten());
    pairs.filter_map(|(name, block)| Some((name, block?)))
}
