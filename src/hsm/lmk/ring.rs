//! The LMKs that a running HSM knows: the current one, under which it wraps, and those before it, under which
//! blocks may still be. Rereads its file, so that a rotation stops nothing.

use super::{Lmk, LmkError, LmkFile, LmkKeys};
use crate::clock::Clock;
use crate::hsm::HsmError;
use crate::hsm::key_block::{FullHeader, Protection, Version};
use crate::hsm::random::Random;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use zeroize::Zeroizing;

/// LMKs before the current one at most, newest first.
const FORMERS: usize = 3;
/// Milliseconds between two readings that unknown blocks cause.
const PAUSE_MS: i64 = 1_000;

struct Known {
    lmk: Lmk,
    protection: Protection,
    /// A sweep has found it gone from the file.
    swept: bool,
}

impl Known {
    fn new(lmk: &Lmk) -> Result<Self, HsmError> {
        Ok(Self { protection: Protection::new(Version::D, lmk.octets())?, lmk: lmk.clone(), swept: false })
    }
}

/// The current one first; never empty.
struct Held {
    current: Known,
    formers: Vec<Known>,
}

/// What a block is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The current LMK.
    Current,
    /// One before it.
    Former,
}

/// When the file was last read because of an unknown block, and what it held.
#[derive(Default)]
struct Asked {
    at_ms: Option<i64>,
    /// SHA-256 of its text.
    text: Option<[u8; 32]>,
}

/// The LMKs in force, with the file they come from.
pub struct LmkRing {
    held: RwLock<Arc<Held>>,
    source: Option<(LmkFile, Clock)>,
    asked: Mutex<Asked>,
}

impl std::fmt::Debug for LmkRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LmkRing({:?}, {} former)", self.held().current.lmk, self.held().formers.len())
    }
}

impl LmkRing {
    /// One LMK that never changes: for tests.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn fixed(lmk: &Lmk) -> Result<Self, HsmError> {
        let held = Held { current: Known::new(lmk)?, formers: Vec::new() };
        Ok(Self { held: RwLock::new(Arc::new(held)), source: None, asked: Mutex::default() })
    }

    /// The LMKs that a file holds now.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn of_keys(keys: &LmkKeys) -> Result<Self, HsmError> {
        let formers = keys.former.iter().map(|former| Known::new(&former.lmk)).collect::<Result<_, _>>()?;
        let held = Held { current: Known::new(&keys.current)?, formers };
        Ok(Self { held: RwLock::new(Arc::new(held)), source: None, asked: Mutex::default() })
    }

    /// The LMKs of a file, which is reread when it may have changed.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn of_file(file: LmkFile, keys: &LmkKeys, clock: Clock) -> Result<Self, HsmError> {
        Ok(Self { source: Some((file, clock)), ..Self::of_keys(keys)? })
    }

    /// The check values of the current LMK and of those before it.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn check_values(&self) -> Result<Vec<String>, HsmError> {
        let held = self.held();
        std::iter::once(&held.current).chain(&held.formers).map(|known| known.lmk.check_value()).collect()
    }

    /// Opens a block, under the current LMK or one before it. When it is under none, the file is reread, at
    /// most once a second.
    ///
    /// # Errors
    /// As [`Protection::unwrap`].
    pub(in crate::hsm) fn unwrap(&self, block: &str) -> Result<(FullHeader, Zeroizing<Vec<u8>>), HsmError> {
        self.find(block, |known| known.unwrap(block)).map(|(_, found)| found)
    }

    /// Wraps a key under the current LMK.
    pub(in crate::hsm) fn wrap(
        &self,
        header: &FullHeader,
        key: &[u8],
        masked: usize,
        pad: &[u8],
    ) -> Result<String, HsmError> {
        self.held().current.protection.wrap(header, key, masked, pad)
    }

    /// What a block is under.
    ///
    /// # Errors
    /// [`HsmError::KeyBlock`] when it is under none, [`HsmError::KeyBlockForm`].
    pub fn standing(&self, block: &str) -> Result<Standing, HsmError> {
        self.find(block, |known| known.unwrap(block)).map(|(standing, _)| standing)
    }

    /// A block's key under the current LMK, its header and its length as they were; `None` when it is there
    /// already.
    ///
    /// # Errors
    /// As [`LmkRing::standing`].
    pub fn rewrap(&self, block: &str, random: &dyn Random) -> Result<Option<String>, HsmError> {
        let held = self.held();
        let (standing, again) =
            self.find(block, |known| known.rewrap(block, &held.current.protection, random))?;
        Ok((standing == Standing::Former).then_some(again))
    }

    fn find<T>(
        &self,
        block: &str,
        open: impl Fn(&Protection) -> Result<T, HsmError>,
    ) -> Result<(Standing, T), HsmError> {
        let held = self.held();
        let found = held.find(&open);
        if !matches!(found, Err(HsmError::KeyBlock)) || block.is_empty() {
            return found;
        }
        // Another thread may have learnt of a new LMK meanwhile.
        if self.ask_file() || !Arc::ptr_eq(&held, &self.held()) {
            return self.held().find(&open);
        }
        found
    }

    /// Rereads the file because of a block under none of the LMKs known; whether there may be another now.
    fn ask_file(&self) -> bool {
        let Some((_, clock)) = &self.source else { return false };
        let now = clock.now_ms();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back does not keep the file from being read.
        if asked.at_ms.is_some_and(|at| (at..at.saturating_add(PAUSE_MS)).contains(&now)) {
            return false;
        }
        asked.at_ms = Some(now);
        match self.reread(&mut asked) {
            Ok(learnt) => learnt,
            Err(error) => {
                tracing::error!(%error, "the LMK file could not be reread");
                false
            }
        }
    }

    /// Rereads the file: a new LMK in it is in force from now on. Whether there was one. LMKs that are not in
    /// the file any more stay known until [`LmkRing::sweep`].
    ///
    /// # Errors
    /// [`LmkError`]: then what was known stays in force.
    pub fn learn(&self) -> Result<bool, LmkError> {
        self.reread(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reread(&self, asked: &mut Asked) -> Result<bool, LmkError> {
        let Some((file, _)) = &self.source else { return Ok(false) };
        let text = file.text()?;
        let hash = openssl::sha::sha256(text.as_bytes());
        if asked.text == Some(hash) {
            return Ok(false);
        }
        // A plain file may be overwritten by its successor while it is read: the name then leads to that.
        let keys = file.open(&text).or_else(|_| file.load())?;
        let learnt = self.take(&keys)?;
        asked.text = Some(hash);
        Ok(learnt)
    }

    fn take(&self, keys: &LmkKeys) -> Result<bool, HsmError> {
        let held = self.held();
        let same = held.current.lmk.is(&keys.current);
        let former_known = keys.former.iter().all(|former| held.knows(&former.lmk));
        if same && former_known {
            return Ok(false);
        }
        let in_file = keys.former.iter().map(|former| &former.lmk);
        let before = std::iter::once(&held.current).chain(&held.formers).map(|known| &known.lmk);
        let mut formers: Vec<Known> = Vec::new();
        for lmk in in_file.chain(before) {
            let is_new = !keys.current.is(lmk) && !formers.iter().any(|known| known.lmk.is(lmk));
            if is_new && formers.len() < FORMERS {
                formers.push(Known::new(lmk)?);
            }
        }
        self.set(Held { current: Known::new(&keys.current)?, formers });
        Ok(true)
    }

    /// Forgets the former LMKs that were not in the file at the last sweep and are not now: to be called at
    /// intervals longer than a payment, which may hold a block under one.
    ///
    /// # Errors
    /// [`LmkError`] of the file; then nothing is forgotten.
    pub fn sweep(&self) -> Result<(), LmkError> {
        let Some((file, _)) = &self.source else { return Ok(()) };
        let held = self.held();
        if held.formers.is_empty() {
            return Ok(());
        }
        let keys = file.load()?;
        let in_file = |lmk: &Lmk| keys.former.as_ref().is_some_and(|former| former.lmk.is(lmk));
        let mut formers = Vec::new();
        for known in &held.formers {
            let there = in_file(&known.lmk);
            if there || !known.swept {
                formers.push(Known { swept: !there, ..Known::new(&known.lmk)? });
            }
        }
        self.set(Held { current: Known::new(&held.current.lmk)?, formers });
        Ok(())
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, held: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
    }
}

impl Held {
    fn knows(&self, lmk: &Lmk) -> bool {
        std::iter::once(&self.current).chain(&self.formers).any(|known| known.lmk.is(lmk))
    }

    fn find<T>(&self, open: impl Fn(&Protection) -> Result<T, HsmError>) -> Result<(Standing, T), HsmError> {
        match open(&self.current.protection) {
            Err(HsmError::KeyBlock) => {}
            found => return Ok((Standing::Current, found?)),
        }
        for former in &self.formers {
            match open(&former.protection) {
                Err(HsmError::KeyBlock) => {}
                found => return Ok((Standing::Former, found?)),
            }
        }
        Err(HsmError::KeyBlock)
    }
}
