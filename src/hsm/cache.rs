//! Opened keys by the text they are wrapped in, so that no command and no payment unwraps its keys again.
//!
//! Bounded: two generations of at most [`GENERATION`] texts. When the young one is full it becomes the old one, and
//! the old one is dropped and so wiped, once nobody works with a key of it; what is used moves back. Knows no keys:
//! whatever is kept wipes itself.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

/// Texts in one generation, of 10,000 terminals with three keys: some 20 MB with the texts.
const GENERATION: usize = 32_768;

/// The cache. Its lock is held for a look-up only, never across a computation.
pub(super) struct Cache<K, V> {
    generations: RwLock<[HashMap<K, V>; 2]>,
    limit: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self::with_limit(GENERATION)
    }

    fn with_limit(limit: usize) -> Self {
        Self { generations: RwLock::new([HashMap::new(), HashMap::new()]), limit }
    }

    /// What is kept under this text.
    pub(super) fn find<Q: Eq + Hash + ?Sized>(&self, text: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        {
            let [young, old] = &*self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = young.get(text) {
                return Some(found.clone());
            }
            old.get(text)?;
        }
        let generations = &mut *self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = generations;
        // Another thread may have moved it meanwhile.
        let Some((text, found)) = old.remove_entry(text) else { return young.get(text).cloned() };
        self.insert(generations, text, found.clone());
        Some(found)
    }

    /// Keeps something under a text.
    pub(super) fn keep(&self, text: K, value: V) {
        self.insert(&mut self.generations.write().unwrap_or_else(PoisonError::into_inner), text, value);
    }

    fn insert(&self, [young, old]: &mut [HashMap<K, V>; 2], text: K, value: V) {
        if young.len() >= self.limit {
            *old = std::mem::take(young);
        }
        young.insert(text, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyBlock;
    use super::*;
    use std::sync::Arc;

    fn block(number: usize) -> KeyBlock {
        KeyBlock::new(format!("block {number}"))
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::with_limit(4);
        let key = Arc::new("opened");
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
