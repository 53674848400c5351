//! Memory that one writer shares with readers: a mapped file, or a model of one in the tests under loom.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::map::{ReadMap, WriteMap};

/// An aligned word that is loaded while others may store it.
pub(crate) trait Word {
    fn load(&self, ordering: Ordering) -> u64;
    fn store(&self, value: u64, ordering: Ordering);
}

/// Memory with words, found by byte position.
pub(crate) trait Words {
    type Word: Word;
    fn word(&self, at: usize) -> &Self::Word;
}

/// Memory whose bytes may be looked at below a commit word.
pub(crate) trait Readable: Words {
    fn get(&self, range: Range<usize>) -> Option<&[u8]>;
}

/// Memory whose bytes the one writer sets before it stores their commit word.
pub(crate) trait Writable: Words {
    fn write(&mut self, at: usize, bytes: &[u8]);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    #[inline]
    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }
}

impl Words for ReadMap {
    type Word = AtomicU64;

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        self.word(at)
    }
}

impl Readable for ReadMap {
    #[inline]
    fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes().get(range)
    }
}

impl Words for WriteMap {
    type Word = AtomicU64;

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        self.word(at)
    }
}

impl Writable for WriteMap {
    #[inline]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.write(at, bytes);
    }
}

/// Not over a mapping, so that Miri can run them.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::commit::{Commit, look};
    use crate::record::{Head, Kind, Place};
    use crate::slot;
    use crate::types::{Codec, Epoch, Offset, Position, Time};
    use crate::walk::Step;

    /// Words and bytes side by side: a record's word is not among its bytes here.
    struct Plain {
        words: Vec<AtomicU64>,
        bytes: Vec<u8>,
    }

    impl Plain {
        fn new(bytes: usize) -> Self {
            Self { words: (0..bytes / 8).map(|_| AtomicU64::new(0)).collect(), bytes: vec![0; bytes] }
        }
    }

    impl Words for Plain {
        type Word = AtomicU64;

        fn word(&self, at: usize) -> &AtomicU64 {
            &self.words[at / 8]
        }
    }

    impl Readable for Plain {
        fn get(&self, range: Range<usize>) -> Option<&[u8]> {
            self.bytes.get(range)
        }
    }

    impl Writable for Plain {
        fn write(&mut self, at: usize, bytes: &[u8]) {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    #[test]
    fn a_batch_is_visible_once_it_is_published() {
        let mut memory = Plain::new(256);
        let mut commit = Commit::default();
        let mut place = Place { seed: 1, at: 0 };
        for offset in 0..2 {
            let head = Head {
                offset: Offset(offset),
                time: Time(1),
                epoch: Epoch(1),
                kind: Kind::Event,
                topic: 1,
                cause_journal: 0,
                cause_offset: Offset::ZERO,
                codec: Codec::Raw,
                more: offset == 0,
            };
            place.at += commit.write(&mut memory, place, &head, Some(b"key"), b"payload");
            assert!(matches!(look(&memory, 256, Place { seed: 1, at: 0 }), Step::Empty));
        }
        commit.publish(&memory);
        let mut place = Place { seed: 1, at: 0 };
        for offset in 0..2 {
            let Step::Record(decoded) = look(&memory, 256, place) else { panic!("it was published") };
            assert_eq!((decoded.head.offset, decoded.payload), (Offset(offset), &b"payload"[..]));
            place.at += decoded.stride;
        }
        assert!(matches!(look(&memory, 256, place), Step::Empty));
        assert!(matches!(look(&memory, 256, Place { seed: 1, at: 256 }), Step::Empty));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_stored() {
        let memory = Plain::new(384);
        assert_eq!(slot::read_position(|at| memory.word(at)), None);
        for next in 1..4 {
            let position = Position { next: Offset(next), epoch: Epoch(2), checksum: 3, journal: 4 };
            slot::store(|at| memory.word(at), &position);
            assert_eq!(slot::read_position(|at| memory.word(at)), Some(position));
        }
    }
}
