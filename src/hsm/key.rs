//! Keys as callers hold them: authenticated blocks under the LMK, of a usage that the compiler knows.
//!
//! A [`Key<Tak>`](Key) cannot stand where a [`Key<Tpk>`](Key) is asked for. What is in the block is checked all the same,
//! by the HSM whenever it is used: the type says what the caller takes it for, the block what it is.

use super::Usage;
use std::marker::PhantomData;
use std::sync::Arc;

/// A key as an authenticated block under the LMK. Prints its header only; a clone shares its characters.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyBlock(Arc<str>);

impl std::hash::Hash for KeyBlock {
    /// Its last 16 characters, which authenticate the others.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let text = self.0.as_bytes();
        state.write(text.last_chunk::<16>().map_or(text, |end| end));
    }
}

impl KeyBlock {
    /// Takes a block as it was stored; it is checked when it is used.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The block's characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyBlock({}…)", self.0.get(..16).unwrap_or_default())
    }
}

/// A usage as a type.
pub trait KeyUse {
    /// The usage.
    const USAGE: Usage;
}

/// Names types after usages.
macro_rules! usages {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {}

        impl KeyUse for $name {
            const USAGE: Usage = Usage::$name;
        }
    )*};
}

usages! {
    /// Of a [`Usage::Tmk`].
    Tmk
    /// Of a [`Usage::Zmk`].
    Zmk
    /// Of a [`Usage::Bdk`].
    Bdk
    /// Of a [`Usage::Tpk`].
    Tpk
    /// Of a [`Usage::Tak`].
    Tak
    /// Of a [`Usage::Tdk`].
    Tdk
    /// Of a [`Usage::Zpk`].
    Zpk
    /// Of a [`Usage::Zak`].
    Zak
}

/// A key block that is held to be of one usage. Prints its header only.
pub struct Key<U>(KeyBlock, PhantomData<fn() -> U>);

impl<U> Key<U> {
    /// Takes a block for one of this usage; the HSM refuses another when it is used.
    #[must_use]
    pub const fn of(block: KeyBlock) -> Self {
        Self(block, PhantomData)
    }

    /// Takes a block's characters, as [`Key::of`].
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self::of(KeyBlock::new(text))
    }

    /// The block.
    #[must_use]
    pub const fn block(&self) -> &KeyBlock {
        &self.0
    }

    /// The block's characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl<U> Clone for Key<U> {
    fn clone(&self) -> Self {
        Self::of(self.0.clone())
    }
}

impl<U> std::fmt::Debug for Key<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A key that makes MACs.
#[derive(Debug, Clone, Copy)]
pub enum MacKey<'a> {
    /// A terminal's.
    Terminal(&'a Key<Tak>),
    /// An issuer's.
    Zone(&'a Key<Zak>),
}

impl<'a> MacKey<'a> {
    /// What it may be used for.
    #[must_use]
    pub const fn usage(self) -> Usage {
        match self {
            Self::Terminal(_) => Tak::USAGE,
            Self::Zone(_) => Zak::USAGE,
        }
    }

    /// Its block.
    #[must_use]
    pub const fn block(self) -> &'a KeyBlock {
        match self {
            Self::Terminal(key) => key.block(),
            Self::Zone(key) => key.block(),
        }
    }
}
