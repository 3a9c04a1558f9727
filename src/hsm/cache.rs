//! Key schedules by key block, so that a payment does not unwrap its keys again.
//!
//! Bounded: two generations of at most [`GENERATION`] keys. When the young one is full it becomes the old
//! one, and the old one is dropped and so wiped; what is used moves back. Holds no key material but in
//! [`Schedule`]s.

use super::aes::AesKey;
use super::des::DesKey;
use super::{HsmError, KeyBlock, KeyDefect, Usage};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Keys in one generation, of 10,000 terminals with three keys: some 20 MB with the texts of their blocks.
const GENERATION: usize = 32_768;

/// An unwrapped key and what it may be used for.
#[derive(Debug)]
pub(super) struct WorkingKey {
    /// What its key block says it is for.
    pub(super) usage: Usage,
    /// Its schedule.
    pub(super) schedule: Schedule,
}

/// A key's schedule.
#[derive(Debug)]
pub(super) enum Schedule {
    /// Of DES or triple DES.
    Des(DesKey),
    /// Of AES.
    Aes(AesKey),
}

impl WorkingKey {
    /// The key, where only DES will do.
    pub(super) fn des(&self) -> Result<&DesKey, HsmError> {
        match &self.schedule {
            Schedule::Des(key) => Ok(key),
            Schedule::Aes(_) => Err(HsmError::Key(KeyDefect::Algorithm)),
        }
    }

    /// Its check value, 6 hexadecimal characters.
    pub(super) fn kcv(&self) -> String {
        match &self.schedule {
            Schedule::Des(key) => key.kcv(),
            Schedule::Aes(key) => key.kcv(),
        }
    }
}

type Generation = HashMap<KeyBlock, Arc<WorkingKey>>;

/// The cache. Its lock is held for a look-up only, never across a computation.
pub(super) struct Cache {
    generations: RwLock<[Generation; 2]>,
    limit: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self::with_limit(GENERATION)
    }

    fn with_limit(limit: usize) -> Self {
        Self { generations: RwLock::default(), limit }
    }

    /// The key of this block, when it is here.
    pub(super) fn find(&self, block: &KeyBlock) -> Option<Arc<WorkingKey>> {
        let found = {
            let [young, old] = &*self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = young.get(block) {
                return Some(Arc::clone(key));
            }
            Arc::clone(old.get(block)?)
        };
        self.keep(block.clone(), Arc::clone(&found));
        Some(found)
    }

    /// Keeps a key under its block's text.
    pub(super) fn keep(&self, block: KeyBlock, key: Arc<WorkingKey>) {
        let [young, old] = &mut *self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if young.len() >= self.limit {
            *old = std::mem::take(young);
        }
        young.insert(block, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: usize) -> KeyBlock {
        KeyBlock::new(format!("block {number}"))
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::with_limit(4);
        let schedule = Schedule::Des(DesKey::new(&[0x13; 8]).unwrap());
        let key = Arc::new(WorkingKey { usage: Usage::Tak, schedule });
        for number in 0..100 {
            cache.keep(block(number), Arc::clone(&key));
            assert!(cache.find(&block(0)).is_some(), "used every time, dropped at {number}");
            let held = cache.generations.read().unwrap().iter().map(HashMap::len).sum::<usize>();
            assert!(held <= 8, "{held} at {number}");
        }
        assert!(cache.find(&block(99)).is_some());
        assert!(cache.find(&block(1)).is_none());
        // What fell out of the cache is held by nobody else.
        assert!(Arc::strong_count(&key) <= 9);
    }
}
