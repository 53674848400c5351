//! How records become visible: all of a batch by one store.

use std::sync::atomic::Ordering;

use crate::memory::{Readable, Word, Words, Writable};
use crate::record::{self, Head, Place};
use crate::walk::Step;

/// The first commit word of a batch, held back until all the others are in place.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    first: Option<(usize, u64)>,
}

impl Commit {
    /// Writes a record that fits, and returns the bytes to the next one.
    #[inline]
    pub(crate) fn write<M: Writable>(
        &mut self,
        memory: &mut M,
        place: Place,
        head: &Head,
        key: Option<&[u8]>,
        payload: &[u8],
    ) -> usize {
        let at = place.at;
        let encoded = record::encode(head, key, payload, place);
        memory.write(at + 8, &encoded.fixed);
        let mut end = at + record::HEADER_BYTES;
        if let Some(key) = key {
            memory.write(end, key);
            end += key.len();
        }
        memory.write(end, payload);
        self.add(memory, at, encoded.word);
        record::stride(key.map_or(0, <[u8]>::len), payload.len())
    }

    #[inline]
    fn add<M: Words>(&mut self, memory: &M, at: usize, word: u64) {
        if self.first.is_none() {
            self.first = Some((at, word));
        } else {
            memory.word(at).store(word, Ordering::Relaxed);
        }
    }

    /// Makes the batch visible. Pairs with the acquire load of the word in [`look`].
    #[inline]
    pub(crate) fn publish<M: Words>(self, memory: &M) {
        if let Some((at, word)) = self.first {
            memory.word(at).store(word, Ordering::Release);
        }
    }
}

/// What lies at a place of a segment whose records end before `end`.
#[inline]
pub(crate) fn look<M: Readable>(memory: &M, end: usize, place: Place) -> Step<'_> {
    if place.at + 8 > end {
        return Step::Empty;
    }
    // Pairs with the writer's store of the word: whoever sees it sees the whole record, and the whole batch that it
    // opens.
    let word = memory.word(place.at).load(Ordering::Acquire);
    if word == 0 {
        return Step::Empty;
    }
    match record::decode(|range| memory.get(range), word, place) {
        Ok(decoded) => Step::Record(decoded),
        Err(reason) => Step::Bad(reason),
    }
}
