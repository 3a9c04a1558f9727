//! The LMKs that a running HSM knows: the current one, under which it wraps, and those before it, under which
//! blocks may still be. Rereads its file, so that a rotation stops nothing.

use super::{Lmk, LmkError, LmkFile, LmkKeys};
use crate::clock::Clock;
use crate::hsm::HsmError;
use crate::hsm::aes::KEY;
use crate::hsm::key_block::{FullHeader, Protection, Version};
use crate::hsm::random::Random;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// LMKs before the current one at most, newest first.
const FORMERS: usize = 3;
/// Milliseconds between two readings that unknown blocks cause.
const PAUSE_MS: i64 = 1_000;

/// An LMK as what is derived of it. Its octets are not kept.
struct Known {
    mark: Mark,
    check_value: String,
    protection: Protection,
}

impl Known {
    fn new(lmk: &Lmk) -> Result<Arc<Self>, HsmError> {
        let (mark, check_value) = (Mark::of(lmk), lmk.check_value()?);
        Ok(Arc::new(Self { mark, check_value, protection: Protection::new(Version::D, lmk.octets())? }))
    }
}

/// What an LMK is recognised by.
struct Mark(Zeroizing<[u8; KEY]>);

impl Mark {
    fn of(lmk: &Lmk) -> Self {
        Self(lmk.derive(b"LMK mark"))
    }

    fn is(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

struct FormerLmk {
    known: Arc<Known>,
    /// A sweep has found it gone from the file.
    swept: bool,
}

/// The current one, and those before it, the newest first.
struct Held {
    current: Arc<Known>,
    formers: Vec<FormerLmk>,
}

impl Held {
    fn of(keys: &LmkKeys) -> Result<Self, HsmError> {
        let former = keys.former.iter().map(|former| {
            let known = Known::new(&former.lmk)?;
            Ok(FormerLmk { known, swept: false })
        });
        Ok(Self { current: Known::new(&keys.current)?, formers: former.collect::<Result<_, HsmError>>()? })
    }

    fn known(&self) -> impl Iterator<Item = &Arc<Known>> {
        std::iter::once(&self.current).chain(self.formers.iter().map(|former| &former.known))
    }
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
        let held = self.held();
        write!(f, "LmkRing({}, {} former)", held.current.check_value, held.formers.len())
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
        let held = Arc::new(Held::of(keys)?);
        Ok(Self { held: RwLock::new(held), source: None, asked: Mutex::default() })
    }

    /// The LMKs of a file, which is reread when it may have changed.
    ///
    /// # Errors
    /// [`HsmError::Failure`].
    pub fn of_file(file: LmkFile, keys: &LmkKeys, clock: Clock) -> Result<Self, HsmError> {
        Ok(Self { source: Some((file, clock)), ..Self::of_keys(keys)? })
    }

    /// The check values of the current LMK and of those before it.
    #[must_use]
    pub fn check_values(&self) -> Vec<String> {
        self.held().known().map(|known| known.check_value.clone()).collect()
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
        let (held, file) = (self.held(), Held::of(keys)?);
        let same = held.current.mark.is(&file.current.mark);
        if same && file.formers.iter().all(|former| held.known().any(|k| k.mark.is(&former.known.mark))) {
            return Ok(false);
        }
        let mut formers: Vec<FormerLmk> = Vec::new();
        let in_file = file.formers.iter().map(|former| &former.known);
        for known in in_file.chain(held.known()) {
            let mut other = std::iter::once(&file.current).chain(formers.iter().map(|former| &former.known));
            let is_new = !other.any(|other| other.mark.is(&known.mark));
            if is_new && formers.len() < FORMERS {
                formers.push(FormerLmk { known: Arc::clone(known), swept: false });
            }
        }
        self.set(Held { current: file.current, formers });
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
        let in_file = keys.former.as_ref().map(|former| Mark::of(&former.lmk));
        let mut formers = Vec::new();
        for FormerLmk { known, swept } in &held.formers {
            let there = in_file.as_ref().is_some_and(|mark| mark.is(&known.mark));
            if there || !swept {
                formers.push(FormerLmk { known: Arc::clone(known), swept: !there });
            }
        }
        self.set(Held { current: Arc::clone(&held.current), formers });
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
    fn find<T>(&self, open: impl Fn(&Protection) -> Result<T, HsmError>) -> Result<(Standing, T), HsmError> {
        match open(&self.current.protection) {
            Err(HsmError::KeyBlock) => {}
            found => return Ok((Standing::Current, found?)),
        }
        for former in &self.formers {
            match open(&former.known.protection) {
                Err(HsmError::KeyBlock) => {}
                found => return Ok((Standing::Former, found?)),
            }
        }
        Err(HsmError::KeyBlock)
    }
}
