//! Which records above a cursor are dealt with already: for subscribers that finish out of order.
//!
//! A mapped ring of blocks, each with two bits for 512 offsets: dealing with the record has begun, and it is finished.
//! Setting one is a store or two, which survives SIGKILL as a cursor does. Nothing in it counts after another boot:
//! the kernel may have written a bit back before the records that were said because of it. What must outlast a power
//! loss goes into the journal with those records.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::disk::{self, FILE_MODE};
use crate::error::Result;
use crate::map::WriteMap;
use crate::marks::boot_id;
use crate::segment::extend;
use crate::types::{Epoch, Offset};

const MAGIC: u64 = u64::from_le_bytes(*b"PROCFIN1");

// Words of the header.
const AT_MAGIC: usize = 0;
const AT_BLOCKS: usize = 8;
const AT_BOOT: [usize; 2] = [16, 24];
const AT_JOURNAL: usize = 32;
const AT_STOPPED: usize = 40;
const AT_EPOCH: usize = 48;
const HEADER_BYTES: usize = 64;

/// Words with a bit for each offset of a block.
const WORDS: usize = 8;
/// The block's number plus one, then the bits of what is finished, then of what has begun.
const BLOCK_BYTES: usize = (1 + 2 * WORDS) * 8;
const AT_FINISHED: usize = 8;
const AT_BEGUN: usize = 8 + WORDS * 8;

/// The finished ones among the offsets of a block: the bit of offset `o` is `o % 512`, counted from the lowest of the
/// first word.
pub type Bits = [u64; WORDS];

/// One subscription's place in one journal above its cursor, kept by its only reader.
#[derive(Debug)]
pub struct Finished {
    map: WriteMap,
    blocks: u64,
    /// What processes that died have left begun and not finished, by the number of the block: a stop of this one leaves
    /// it so. Locked when a stop is noted, and when records are other ones than before.
    suspects: Mutex<HashMap<u64, Bits>>,
    /// This process is told to stop: nothing that begins now is to blame for its end.
    stopping: AtomicBool,
}

impl Finished {
    /// Offsets of a block.
    pub const BLOCK_OFFSETS: u64 = WORDS as u64 * 64;

    /// Opens or creates the file at `path`, with room for so many blocks. It begins empty if it is of another boot, of
    /// another journal than the one with this identity (see [`Position::journal`](crate::Position::journal)), or of
    /// another size.
    ///
    /// # Errors
    /// [`Error::Full`](crate::Error::Full) and I/O errors.
    ///
    /// # Panics
    /// If `blocks` is 0.
    pub fn open(path: &Path, journal: u64, blocks: u64) -> Result<Self> {
        assert!(blocks > 0, "a ring of no blocks");
        if let Some(folder) = path.parent() {
            disk::create_folders(folder)?;
        }
        let file = disk::open_own(path, FILE_MODE)?;
        let bytes = HEADER_BYTES + usize::try_from(blocks).unwrap_or(usize::MAX).saturating_mul(BLOCK_BYTES);
        extend(&file, bytes as u64, path)?;
        let map = WriteMap::new(&file, bytes, path)?;
        let finished = Self { map, blocks, suspects: Mutex::default(), stopping: AtomicBool::new(false) };
        if !finished.is_of(journal) {
            finished.begin_anew(journal);
        } else if finished.word(AT_STOPPED).load(Ordering::Acquire) != 0 {
            finished.forgive();
        }
        *finished.suspects() = finished.begun().collect();
        Ok(finished)
    }

    /// Offsets that it can tell apart: a record may be told from one so many before it no more.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.blocks * Self::BLOCK_OFFSETS
    }

    /// The record at `offset` is dealt with.
    #[inline]
    pub fn finish(&self, offset: Offset) {
        self.set(offset, AT_FINISHED);
    }

    /// The record at `offset` is being dealt with.
    #[inline]
    pub fn begin(&self, offset: Offset) {
        self.set(offset, AT_BEGUN);
        // Pairs with `note_stop`: it sees the bit, or this sees that it was there.
        if self.stopping.load(Ordering::SeqCst) {
            self.unset_begun(offset);
        }
    }

    #[cold]
    fn unset_begun(&self, offset: Offset) {
        let (word, bit) = bit_of(offset);
        self.word(self.place(offset).1 + AT_BEGUN + word * 8).fetch_and(!bit, Ordering::Release);
    }

    /// Whether the record at `offset` is dealt with.
    #[must_use]
    pub fn is_finished(&self, offset: Offset) -> bool {
        self.get(offset, AT_FINISHED)
    }

    /// Whether dealing with the record at `offset` has begun.
    #[must_use]
    pub fn has_begun(&self, offset: Offset) -> bool {
        self.get(offset, AT_BEGUN)
    }

    /// Says which epoch the record at `offset` is of, the next one that is read. If it is a later one than all before,
    /// whatever is known of this offset and those after it is of records that were lost, and is forgotten: an
    /// earlier process has read them, and others were said in their place.
    pub fn read_on(&self, offset: Offset, epoch: Epoch) {
        let epoch = u64::from(epoch.0);
        let known = self.word(AT_EPOCH).load(Ordering::Acquire);
        if epoch <= known {
            return;
        }
        // A file that is older than this word says nothing of epochs: what it knows is believed once more.
        if known != 0 {
            self.clear_from(offset);
        }
        // Last: who dies before this forgets once more.
        self.word(AT_EPOCH).store(epoch, Ordering::Release);
    }

    /// Notes that the process is told to stop: what it has begun, or begins from here on, is not to blame for its end.
    /// What others have died over stays begun. Survives SIGKILL.
    pub fn note_stop(&self) {
        // Who is killed before the end of this blames nothing, rather than what was only in hand.
        self.word(AT_STOPPED).store(1, Ordering::SeqCst);
        self.stopping.store(true, Ordering::SeqCst);
        let suspects = self.suspects();
        for index in 0..self.blocks {
            let at = self.at(index);
            let number = self.word(at).load(Ordering::SeqCst).checked_sub(1);
            let kept = number.and_then(|number| suspects.get(&number)).copied().unwrap_or_default();
            for (word, kept) in kept.into_iter().enumerate() {
                let begun = self.word(at + AT_BEGUN + word * 8);
                // What is as it is to be is not written to.
                if begun.load(Ordering::SeqCst) & !kept != 0 {
                    begun.fetch_and(kept, Ordering::SeqCst);
                }
            }
        }
        drop(suspects);
        self.word(AT_STOPPED).store(0, Ordering::Release);
    }

    /// What has begun and is not finished, by the number of the block.
    fn begun(&self) -> impl Iterator<Item = (u64, Bits)> {
        (0..self.blocks).filter_map(|index| {
            let at = self.at(index);
            let number = self.word(at).load(Ordering::Acquire).checked_sub(1)?;
            let load = |bits, word| self.word(at + bits + word * 8).load(Ordering::Acquire);
            let begun: Bits = std::array::from_fn(|word| load(AT_BEGUN, word) & !load(AT_FINISHED, word));
            (begun != Bits::default()).then_some((number, begun))
        })
    }

    fn suspects(&self) -> MutexGuard<'_, HashMap<u64, Bits>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody has died over those that are not begun any more.
    fn clear_suspects(&self) {
        let begun: HashMap<u64, Bits> = self.begun().collect();
        self.suspects().retain(|number, suspects| {
            let begun = begun.get(number).copied().unwrap_or_default();
            suspects.iter_mut().zip(begun).for_each(|(suspects, begun)| *suspects &= begun);
            *suspects != Bits::default()
        });
    }

    /// The finished ones of the block that holds `offset`.
    #[must_use]
    pub fn block(&self, offset: Offset) -> Bits {
        let (number, at) = self.place(offset);
        if self.word(at).load(Ordering::Acquire) != number + 1 {
            return [0; WORDS];
        }
        std::array::from_fn(|index| self.word(at + AT_FINISHED + index * 8).load(Ordering::Relaxed))
    }

    /// The offset after the last one of which anything is known; 0 if there is none.
    #[must_use]
    pub fn end(&self) -> Offset {
        let known = (0..self.blocks).filter_map(|index| {
            let at = self.at(index);
            let number = self.word(at).load(Ordering::Acquire).checked_sub(1)?;
            let bit = (0..Self::BLOCK_OFFSETS).rev().find(|bit| {
                let word = usize::try_from(bit / 64).unwrap_or(usize::MAX) * 8;
                let either = self.word(at + AT_FINISHED + word).load(Ordering::Relaxed)
                    | self.word(at + AT_BEGUN + word).load(Ordering::Relaxed);
                either >> (bit % 64) & 1 == 1
            })?;
            Some(number.saturating_mul(Self::BLOCK_OFFSETS).saturating_add(bit + 1))
        });
        Offset(known.max().unwrap_or(0))
    }

    /// Forgets everything.
    fn clear(&self) {
        (0..self.blocks).for_each(|index| self.word(self.at(index)).store(0, Ordering::Release));
    }

    /// Forgets what is known of this offset and of those after it.
    pub fn clear_from(&self, offset: Offset) {
        let (first, bit) = (offset.0 / Self::BLOCK_OFFSETS, offset.0 % Self::BLOCK_OFFSETS);
        for index in 0..self.blocks {
            let at = self.at(index);
            let Some(number) = self.word(at).load(Ordering::Acquire).checked_sub(1) else { continue };
            if number > first {
                self.word(at).store(0, Ordering::Release);
            } else if number == first {
                for (word, begin) in (0..WORDS).zip((0..Self::BLOCK_OFFSETS).step_by(64)) {
                    let below = bit.saturating_sub(begin).min(64);
                    let kept =
                        1_u64.checked_shl(u32::try_from(below).unwrap_or(64)).map_or(u64::MAX, |bit| bit - 1);
                    for bits in [AT_FINISHED, AT_BEGUN] {
                        self.word(at + bits + word * 8).fetch_and(kept, Ordering::Release);
                    }
                }
            }
        }
        self.clear_suspects();
    }

    /// History is another one from this offset on: forgets what is finished there, and all that has begun. Records before
    /// it are of no later epoch than this one.
    pub fn part_at(&self, offset: Offset, epoch: Epoch) {
        self.clear_from(offset);
        self.forgive();
        // Epochs of the history that is gone say nothing of the next records: theirs may be lower, and still tell one
        // from another. After the rest: who dies before this forgets the same once more.
        self.word(AT_EPOCH).fetch_min(epoch.0.into(), Ordering::Release);
    }

    /// Nobody has ended over those that had begun.
    fn forgive(&self) {
        for index in 0..self.blocks {
            for word in 0..WORDS {
                self.word(self.at(index) + AT_BEGUN + word * 8).store(0, Ordering::Relaxed);
            }
        }
        self.word(AT_STOPPED).store(0, Ordering::Release);
        self.clear_suspects();
    }

    #[inline]
    fn set(&self, offset: Offset, bits: usize) {
        let (number, at) = self.place(offset);
        let header = self.word(at);
        if header.load(Ordering::Relaxed) != number + 1 {
            // The block that it takes the place of lies below the cursor: it may be lost at any of these steps.
            header.store(0, Ordering::Release);
            for word in 0..2 * WORDS {
                self.word(at + AT_FINISHED + word * 8).store(0, Ordering::Relaxed);
            }
            header.store(number + 1, Ordering::Release);
        }
        let (word, bit) = bit_of(offset);
        self.word(at + bits + word * 8).fetch_or(bit, Ordering::SeqCst);
    }

    fn get(&self, offset: Offset, bits: usize) -> bool {
        let (number, at) = self.place(offset);
        let (word, bit) = bit_of(offset);
        self.word(at).load(Ordering::Acquire) == number + 1
            && self.word(at + bits + word * 8).load(Ordering::Acquire) & bit != 0
    }

    /// The block of an offset, and where it lies.
    #[inline]
    fn place(&self, offset: Offset) -> (u64, usize) {
        let number = offset.0 / Self::BLOCK_OFFSETS;
        (number, self.at(number % self.blocks))
    }

    #[inline]
    fn at(&self, index: u64) -> usize {
        HEADER_BYTES + usize::try_from(index).unwrap_or(usize::MAX) * BLOCK_BYTES
    }

    fn is_of(&self, journal: u64) -> bool {
        let load = |at| self.word(at).load(Ordering::Acquire);
        let [low, high] = boot_words();
        load(AT_MAGIC) == MAGIC
            && load(AT_BLOCKS) == self.blocks
            && load(AT_JOURNAL) == journal
            && (low, high) != (0, 0)
            && (load(AT_BOOT[0]), load(AT_BOOT[1])) == (low, high)
    }

    fn begin_anew(&self, journal: u64) {
        self.word(AT_MAGIC).store(0, Ordering::Release);
        self.clear();
        self.word(AT_BLOCKS).store(self.blocks, Ordering::Relaxed);
        self.word(AT_STOPPED).store(0, Ordering::Relaxed);
        self.word(AT_EPOCH).store(0, Ordering::Relaxed);
        self.word(AT_JOURNAL).store(journal, Ordering::Relaxed);
        for (at, word) in AT_BOOT.into_iter().zip(boot_words()) {
            self.word(at).store(word, Ordering::Relaxed);
        }
        // Last: a file without it was never begun.
        self.word(AT_MAGIC).store(MAGIC, Ordering::Release);
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        self.map.word(at)
    }
}

fn boot_words() -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    let words = [boot_id() as u64, (boot_id() >> 64) as u64];
    words
}

/// The word and the bit of an offset in its block.
#[inline]
const fn bit_of(offset: Offset) -> (usize, u64) {
    let bit = offset.0 % Finished::BLOCK_OFFSETS;
    let word = (bit / 64) as usize;
    (word, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_remembered_until_the_journal_is_another() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("finished").join("s@j");
        let finished = Finished::open(&path, 7, 4).unwrap();
        assert_eq!(finished.end(), Offset(0));
        finished.finish(Offset(3));
        finished.begin(Offset(600));
        drop(finished);
        let finished = Finished::open(&path, 7, 4).unwrap();
        assert!(finished.is_finished(Offset(3)) && !finished.is_finished(Offset(600)));
        assert!(finished.has_begun(Offset(600)) && !finished.has_begun(Offset(3)));
        assert_eq!(finished.end(), Offset(601));
        assert_eq!(finished.block(Offset(5))[0], 8);
        drop(finished);
        assert_eq!(Finished::open(&path, 8, 4).unwrap().end(), Offset(0), "another journal");
        Finished::open(&path, 8, 4).unwrap().finish(Offset(1));
        assert_eq!(Finished::open(&path, 8, 5).unwrap().end(), Offset(0), "another size");
    }

    #[test]
    fn what_is_known_of_records_that_were_lost_is_forgotten_when_others_are_read_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s@j");
        let open = || Finished::open(&path, 7, 4).unwrap();
        let finished = open();
        finished.read_on(Offset(500), Epoch(2));
        for offset in [500, 503, 505, 600, 1100] {
            finished.finish(Offset(offset));
        }
        let known = |finished: &Finished| {
            (490..1200).filter(|offset| finished.is_finished(Offset(*offset))).collect::<Vec<_>>()
        };
        finished.read_on(Offset(502), Epoch(2));
        drop(finished);
        assert_eq!(known(&open()), [500, 503, 505, 600, 1100], "the same records");
        open().read_on(Offset(504), Epoch(3));
        assert_eq!(known(&open()), [500, 503], "others from 504 on");
        let finished = open();
        finished.finish(Offset(505));
        finished.read_on(Offset(512), Epoch(4));
        finished.read_on(Offset(500), Epoch(2));
        assert_eq!(known(&finished), [500, 503, 505], "nothing was known from the next block on");
    }

    #[test]
    fn what_another_boot_has_left_does_not_count() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s@j");
        let finished = Finished::open(&path, 7, 4).unwrap();
        finished.finish(Offset(3));
        finished.word(AT_BOOT[0]).fetch_xor(1, Ordering::Relaxed);
        drop(finished);
        assert!(!Finished::open(&path, 7, 4).unwrap().is_finished(Offset(3)));
    }

    #[test]
    fn what_lies_before_the_place_where_histories_part_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        for from in [0, 1, 63, 64, 600, 1024, 1100] {
            let finished = Finished::open(&home.path().join(from.to_string()), 7, 4).unwrap();
            (0..1200).for_each(|offset| finished.finish(Offset(offset)));
            finished.begin(Offset(700));
            finished.part_at(Offset(from), Epoch(0));
            assert!(
                (0..1200).all(|offset| finished.is_finished(Offset(offset)) == (offset < from)),
                "{from}"
            );
            assert!(!finished.has_begun(Offset(700)));
        }
    }

    #[test]
    fn a_stop_forgives_what_is_in_hand_and_not_what_others_have_died_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s@j");
        let open = || Finished::open(&path, 7, 4).unwrap();
        open().begin(Offset(70));
        let finished = open();
        finished.begin(Offset(71));
        finished.begin(Offset(600));
        finished.note_stop();
        finished.begin(Offset(72));
        finished.finish(Offset(73));
        drop(finished);
        let begun = |finished: &Finished| {
            (0..700).filter(|offset| finished.has_begun(Offset(*offset))).collect::<Vec<_>>()
        };
        let finished = open();
        assert_eq!(begun(&finished), [70]);
        assert!(finished.is_finished(Offset(73)));
        finished.begin(Offset(74));
        drop(finished);
        let finished = open();
        assert_eq!(begun(&finished), [70, 74], "the next process stops for nobody");
        // Others are read where the last one was.
        finished.clear_from(Offset(74));
        finished.begin(Offset(74));
        finished.note_stop();
        drop(finished);
        assert_eq!(begun(&open()), [70]);
    }

    #[test]
    fn after_histories_have_parted_a_lower_epoch_tells_records_from_others() {
        let home = tempfile::tempdir().unwrap();
        let finished = Finished::open(&home.path().join("s@j"), 7, 4).unwrap();
        finished.read_on(Offset(0), Epoch(5));
        finished.finish(Offset(3));
        finished.part_at(Offset(4), Epoch(2));
        // What both have is read again, and known.
        finished.read_on(Offset(1), Epoch(2));
        assert!(finished.is_finished(Offset(3)));
        finished.read_on(Offset(4), Epoch(3));
        finished.finish(Offset(7));
        // The publisher has lost its end, and says others.
        finished.read_on(Offset(6), Epoch(4));
        assert!(finished.is_finished(Offset(3)) && !finished.is_finished(Offset(7)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Within its span of the lowest offset that matters it is a set.
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((0..1400_u64, 0..300_u64), 1..60)) {
            let home = tempfile::tempdir().unwrap();
            let finished = Finished::open(&home.path().join("s@j"), 1, 4).unwrap();
            let mut known = BTreeSet::new();
            let mut low = 0;
            for (ahead, forward) in steps {
                // One block less than the span: the lowest offset may lie in the middle of one.
                let offset = low + ahead;
                finished.finish(Offset(offset));
                known.insert(offset);
                low += forward;
                for offset in low..low + 1536 {
                    prop_assert_eq!(finished.is_finished(Offset(offset)), known.contains(&offset), "{}", offset);
                }
            }
        }
    }
}
