//! Where a fold's keys are.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::hash::Hash;

/// Places by key. It keeps no keys: whoever has the places compares.
///
/// Eight bytes a key, so that the index of many keys stays near the processor.
pub(super) struct Index {
    table: HashTable<Entry>,
    /// Chance: nobody can choose keys that meet on purpose.
    seed: Hash,
}

/// Enough of the hash to grow the table without asking for keys.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    place: u32,
}

impl Index {
    pub(super) fn new() -> Self {
        let chance = RandomState::new();
        let seed = Hash::seeded(chance.hash_one(1), chance.hash_one(2));
        Self { table: HashTable::new(), seed }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The place of a key; `is_there` says whether it is the key of a place.
    #[inline]
    pub(super) fn find(&self, key: &[u8], is_there: impl Fn(usize) -> bool) -> Option<usize> {
        let hash = self.hash(key);
        let found =
            self.table.find(spread(hash), |entry| entry.hash == hash && is_there(entry.place as usize));
        found.map(|entry| entry.place as usize)
    }

    /// The key must not be there.
    pub(super) fn insert(&mut self, key: &[u8], place: usize) {
        let place = u32::try_from(place).expect("keys fit into memory, which has no room for 2^32 of them");
        let hash = self.hash(key);
        self.table.insert_unique(spread(hash), Entry { hash, place }, |entry| spread(entry.hash));
    }

    pub(super) fn remove(&mut self, key: &[u8], place: usize) {
        let hash = self.hash(key);
        if let Ok(entry) = self.table.find_entry(spread(hash), |entry| entry.place as usize == place) {
            entry.remove();
        }
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of it")]
        let hash = self.seed.bytes(key).short() as u32;
        hash
    }
}

/// The table takes its bits from both ends.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_until_they_go() {
        let keys: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
        let mut index = Index::new();
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(index.find(key, |place| keys[place] == *key), None);
            index.insert(key, place);
        }
        for (place, key) in keys.iter().enumerate().step_by(2) {
            index.remove(key, place);
        }
        assert_eq!(index.len(), keys.len() / 2);
        for (place, key) in keys.iter().enumerate() {
            let found = index.find(key, |place| keys[place] == *key);
            assert_eq!(found, (place % 2 == 1).then_some(place));
        }
    }
}
