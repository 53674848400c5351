//! Acknowledgements beyond the cursor: deliveries of one journal that are dealt with in any order.
//!
//! The cursor stands before the first delivery that is not done (the low mark). What is done above it is known by what
//! is not: the open deliveries are the only ones that are listed. So that a restart repeats none of them, each also
//! leaves a bit behind:
//!
//! - in a mapped file ([`Finished`]), by every acknowledgement: survives SIGKILL, and counts for nothing after another
//!   boot, as the journal itself may have lost what was said before it;
//! - in the process's own journal, by an acknowledgement that goes with an output: a checkpoint with the bits of the
//!   block of 512 offsets it lies in, in one batch with the output and the low mark. Together they are there or not,
//!   also after power loss.
//!
//! A restart takes what either says. The blocks are kept under a ring of names, so that there is a bounded number of
//! them: deliveries run ahead of the low mark by at most that many blocks. A publisher that has lost its newest records
//! with the power says other records at the same offsets, under a later epoch; so a block in the journal tells
//! apart by epoch what was done.

mod block;
mod reach;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use journal::{Bits, Checkpoint, Cursor, Entry, Epoch, Finished, Offset, Position};

use self::block::{Block, get, set};
pub(crate) use self::reach::Reach;
use crate::acks::Refused;
use crate::error::Result;
use crate::files::FINISHED_BLOCKS;
use crate::letters::Settled;
use crate::open::OpenDeliveries;

/// Most blocks that are told apart: a million records.
const BLOCKS_MAX: u64 = 2048;
/// Fewest, however small the segments are.
const BLOCKS_MIN: u64 = 4;
/// Bytes of one block in the journal, about.
const BLOCK_BYTES: u64 = 192;
/// All of them together take at most this part of a segment, as each segment begins with them.
const SHARE: u64 = 64;
/// And those of all journals together this part: the more journals, the less far deliveries of each run ahead.
const SHARE_OF_ALL: u64 = 8;
/// So many checkpoints end in one batch with an output.
const PASSED_MAX: usize = 8;

/// The deliveries of one journal that may be acknowledged in any order.
#[derive(Debug)]
pub(crate) struct Beyond {
    finished: Finished,
    /// What the names of its blocks in the process's journal begin with.
    prefix: String,
    blocks: u64,
    /// The journal's identity, as positions carry it.
    identity: u64,
    reach: Arc<Reach>,
    /// Nothing at or after this offset was delivered by an earlier process.
    known_end: Offset,
    /// Whether a delivery was refused: spares the lock of whoever looks for one.
    some_refused: AtomicBool,
    /// Everything before this offset is done: the cursor, for a glance.
    low: AtomicU64,
    /// Acknowledgements come from any thread.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    open: OpenDeliveries,
    /// How far the journal was read.
    read: Position,
    refused: BTreeMap<u64, Refused>,
    /// Which epoch began where, of what was read at or after the cursor.
    epochs: VecDeque<(u64, Epoch)>,
    /// What an earlier process has left in its journal.
    left: BTreeMap<u64, Block>,
    /// Which checkpoints there are: by the last part of the name, the number of the block.
    kept: BTreeMap<u64, u64>,
    /// None of those blocks ends at or before this offset.
    kept_end: u64,
    /// Whoever waits for the low mark to move.
    waker: Option<Waker>,
    /// What was delivered is of a history that is not the journal's any more, or is delivered again elsewhere.
    is_closed: bool,
}

/// What the names of a subscription's blocks of one journal begin with.
pub(crate) fn prefix(subscription: &str, journal: &str) -> String {
    format!("{}{:016x}/", FINISHED_BLOCKS.prefix, hash(&[subscription, journal]))
}

/// What is to be stored in one batch with an output.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Everything before it is dealt with, once the batch is there. None for dead letters.
    pub(crate) position: Option<Position>,
    /// Names and values of checkpoints.
    pub(crate) blocks: Vec<(String, Vec<u8>)>,
    /// What is said of dead letters.
    pub(crate) settled: Vec<Vec<u8>>,
}

impl Stored {
    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = Checkpoint<'_>> {
        self.blocks.iter().map(|(name, value)| Checkpoint { name, value })
    }

    /// Records that go with the output.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.settled.iter().map(|payload| Settled::entry(payload))
    }
}

impl Beyond {
    /// Opens what is known beyond the cursor. `path` is that of the mapped file, `earlier` gives the newest value of a
    /// checkpoint, and `segment_bytes` is the size of the own journal's segments.
    ///
    /// # Errors
    /// [`journal::Error::Full`] and I/O errors.
    pub(crate) fn open(
        (subscription, journal): (&str, &str),
        path: &Path,
        at: Position,
        segment_bytes: u64,
        earlier: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Self> {
        let blocks = (segment_bytes / SHARE / BLOCK_BYTES).clamp(BLOCKS_MIN, BLOCKS_MAX);
        let finished = Finished::open(path, at.journal, blocks)?;
        let prefix = prefix(subscription, journal);
        let (mut left, mut kept) = (BTreeMap::<u64, Block>::new(), BTreeMap::new());
        // Of any number of blocks: the segments may have had another size.
        for index in 0..BLOCKS_MAX {
            let Some(value) = earlier(&format!("{prefix}{index}")) else { continue };
            // One of another journal is as good as passed.
            let (number, block) = Block::decode(&value, at.journal).unwrap_or_default();
            left.entry(number).or_default().add(&block);
            kept.insert(index, number);
        }
        let last = left.keys().next_back().map_or(0, |number| (number + 1) * Finished::BLOCK_OFFSETS);
        let inner = Inner {
            open: OpenDeliveries::default(),
            read: at,
            refused: BTreeMap::new(),
            epochs: VecDeque::new(),
            left,
            kept,
            kept_end: 0,
            waker: None,
            is_closed: false,
        };
        let reach = Reach::new(segment_bytes);
        reach.join();
        Ok(Self {
            reach,
            known_end: finished.end().max(Offset(last)),
            finished,
            prefix,
            blocks,
            identity: at.journal,
            some_refused: AtomicBool::new(false),
            low: AtomicU64::new(at.next.0),
            inner: Mutex::new(inner),
        })
    }

    /// Shares room with others.
    pub(crate) fn sharing(mut self, reach: &Arc<Reach>) -> Self {
        reach.join();
        std::mem::replace(&mut self.reach, Arc::clone(reach)).leave();
        self
    }

    /// The names of all checkpoints that are of no use any more.
    pub(crate) fn take_passed(&self) -> Vec<String> {
        let mut inner = self.lock();
        let low = inner.low(self.identity).next;
        inner
            .take_passed(low, usize::MAX)
            .into_iter()
            .map(|index| format!("{}{index}", self.prefix))
            .collect()
    }

    /// How far deliveries may run ahead of the low mark.
    pub(crate) fn span(&self) -> u64 {
        // The low mark may lie in the middle of a block.
        self.finished.span() - Finished::BLOCK_OFFSETS
    }

    /// Whether the record at `offset` lies near enough to the low mark for its acknowledgement to be remembered. Where
    /// nothing is open, the mark moves there with it.
    #[inline]
    pub(crate) fn reaches(&self, offset: Offset) -> bool {
        self.is_near(offset) || self.has_none_open()
    }

    #[cold]
    fn has_none_open(&self) -> bool {
        self.lock().open.is_empty()
    }

    #[inline]
    fn is_near(&self, offset: Offset) -> bool {
        let span = self.span().min(self.reach.span.load(Ordering::Relaxed));
        offset.0 < self.low.load(Ordering::Relaxed).saturating_add(span)
    }

    /// Whether it reaches the record at `offset` by now; otherwise the task is woken when it may.
    pub(crate) fn poll_reach(&self, offset: Offset, context: &Context<'_>) -> bool {
        // Before the look: one journal less may mean more room right after it.
        self.reach.attend(context.waker());
        let mut inner = self.lock();
        let reaches = self.is_near(offset) || inner.open.is_empty();
        inner.waker = if reaches { None } else { Some(context.waker().clone()) };
        reaches
    }

    /// Whether the record at `offset` is halfway there.
    pub(crate) fn is_far_ahead(&self, offset: Offset) -> bool {
        offset.0 >= self.low.load(Ordering::Relaxed) + self.span() / 2
    }

    /// Whether a process has ended over the record at `offset`, or beside it.
    #[inline]
    pub(crate) fn is_suspect(&self, offset: Offset) -> bool {
        offset < self.known_end && self.finished.has_begun(offset)
    }

    /// Notes a delivery, behind the record that `before` stands after.
    pub(crate) fn deliver(&self, before: Position, offset: Offset, epoch: Epoch, checksum: u32) {
        let mut inner = self.lock();
        if inner.open.is_empty() {
            // What lies between was passed over, and is far behind perhaps.
            self.low.store(offset.0, Ordering::Relaxed);
        }
        inner.open.add(offset, (before.epoch, before.checksum));
        inner.read = Position { next: offset.plus(1), epoch, checksum, journal: self.identity };
        inner.note_epoch(&self.finished, offset, epoch);
    }

    /// The application gets a delivery. Returns the how-many-th time that is: more than 1 if a process has ended over
    /// it.
    pub(crate) fn begin(&self, offset: Offset, cursor: &Cursor) -> u32 {
        if self.is_suspect(offset) {
            return 1 + u32::from(cursor.attempt(offset));
        }
        self.finished.begin(offset);
        1
    }

    /// Whether an earlier process has dealt with the record at `offset`, which is of this epoch.
    #[inline]
    pub(crate) fn was_finished(&self, offset: Offset, epoch: Epoch) -> bool {
        offset < self.known_end && self.find_finished(offset, epoch)
    }

    /// Whether the record at `offset`, which is of this epoch, was dealt with, or passed over, in this process or before.
    pub(crate) fn is_finished(&self, offset: Offset, epoch: Epoch) -> bool {
        let inner = self.lock();
        if offset < inner.read.next {
            return !inner.open.contains(offset);
        }
        drop(inner);
        self.was_finished(offset, epoch)
    }

    #[cold]
    fn find_finished(&self, offset: Offset, epoch: Epoch) -> bool {
        let mut inner = self.lock();
        // Before it is asked: the record that was finished here may be another one.
        self.finished.read_on(offset, epoch);
        let found = inner
            .left
            .get_mut(&(offset.0 / Finished::BLOCK_OFFSETS))
            .is_some_and(|block| block.keep_only(offset, epoch));
        if found {
            self.finished.finish(offset);
        }
        let done = found || self.finished.is_finished(offset);
        if done {
            inner.note_epoch(&self.finished, offset, epoch);
        }
        done
    }

    /// The delivery is done.
    pub(crate) fn acknowledge(&self, offset: Offset, cursor: &Cursor) {
        let mut inner = self.lock();
        if !inner.open.finish(offset) {
            return;
        }
        if !inner.refused.is_empty() {
            inner.refused.remove(&offset.0);
        }
        let low = inner.low(self.identity);
        if low.next > offset {
            inner.forget_epochs(low.next);
            self.move_to(low, cursor);
            if let Some(waker) = inner.waker.take() {
                drop(inner);
                waker.wake();
            }
        } else if offset.0 - low.next.0 < self.span() {
            self.finished.finish(offset);
        }
    }

    /// What an output that finishes the deliveries at `offsets` must be stored with. Nothing may be stored for others
    /// between this and their acknowledgement.
    ///
    /// `None` if they run further ahead of the low mark than can be told, or are of a history that is not the journal's
    /// any more.
    pub(crate) fn store(&self, offsets: &[Offset]) -> Option<Stored> {
        let mut inner = self.lock();
        if inner.is_closed {
            return None;
        }
        let position = inner.open.first_but(offsets, self.identity).unwrap_or(inner.read);
        let mut blocks: Vec<u64> = offsets
            .iter()
            .filter(|offset| **offset >= position.next)
            .map(|offset| offset.0 / Finished::BLOCK_OFFSETS)
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        if offsets.iter().any(|offset| offset.0 >= position.next.0 + self.span()) {
            return None;
        }
        let value = |number: &u64| {
            let name = format!("{}{}", self.prefix, number % self.blocks);
            (name, self.block(&inner, *number, offsets).encode(*number, self.identity))
        };
        let mut stored: Vec<_> = blocks.iter().map(value).collect();
        for number in blocks {
            inner.keep(number % self.blocks, number);
        }
        if inner.kept_end <= position.next.0 {
            let passed = inner.take_passed(position.next, PASSED_MAX);
            stored.extend(passed.into_iter().map(|index| (format!("{}{index}", self.prefix), Vec::new())));
        }
        let blocks = stored;
        Some(Stored { position: Some(position), blocks, ..Stored::default() })
    }

    /// What is finished of a block, with `offsets`.
    fn block(&self, inner: &Inner, number: u64, offsets: &[Offset]) -> Block {
        let begin = number * Finished::BLOCK_OFFSETS;
        let mut bits = self.finished.block(Offset(begin));
        for offset in offsets.iter().filter(|offset| offset.0 / Finished::BLOCK_OFFSETS == number) {
            set(&mut bits, *offset);
        }
        let mut block = inner.left.get(&number).cloned().unwrap_or_default();
        if let Some(only) = inner.only_epoch(begin) {
            block.add(&Block(vec![(only, bits)]));
        } else {
            for offset in
                (begin..begin + Finished::BLOCK_OFFSETS).map(Offset).filter(|offset| get(&bits, *offset))
            {
                if let Some(epoch) = inner.epoch_of(offset) {
                    let mut one = Bits::default();
                    set(&mut one, offset);
                    block.add(&Block(vec![(epoch, one)]));
                }
            }
        }
        block
    }

    /// Records up to `position` were read; those since the last delivery are of no interest.
    pub(crate) fn pass(&self, position: Position, cursor: &Cursor) {
        let mut inner = self.lock();
        inner.read = position;
        if inner.open.is_empty() {
            inner.forget_epochs(position.next);
            self.move_to(position, cursor);
        }
    }

    /// The publisher has lost what was read from this place on, and says something else now: nothing is known of that.
    /// Returns the names of checkpoints that tell of what is lost.
    pub(crate) fn forget_from(&self, place: Position) -> Vec<String> {
        self.finished.part_at(place.next, place.epoch);
        self.lock()
            .forget_from(place.next)
            .into_iter()
            .map(|index| format!("{}{index}", self.prefix))
            .collect()
    }

    /// Nothing that was delivered is acknowledged here any more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.open.truncate(Offset::ZERO);
        inner.refused.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// With the lock held.
    fn move_to(&self, low: Position, cursor: &Cursor) {
        cursor.store(low);
        self.low.store(low.next.0, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, refused: Refused) {
        let mut inner = self.lock();
        if inner.open.contains(refused.offset) {
            inner.refused.insert(refused.offset.0, refused);
            self.some_refused.store(true, Ordering::Release);
        }
    }

    /// Takes the refusal of a delivery.
    pub(crate) fn take_refusal(&self, offset: Offset) -> Option<Refused> {
        if !self.some_refused.load(Ordering::Acquire) {
            return None;
        }
        self.lock().refused.remove(&offset.0)
    }

    /// Takes any refusal.
    pub(crate) fn take_refused(&self) -> Option<Refused> {
        if !self.some_refused.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.lock();
        let first = inner.refused.pop_first().map(|(_, refused)| refused);
        self.some_refused.store(!inner.refused.is_empty(), Ordering::Release);
        first
    }

    /// The process is told to stop: nothing that is begun is to blame.
    pub(crate) fn note_stop(&self) {
        self.finished.note_stop();
    }

    /// Whether the delivery at `offset` is not done.
    pub(crate) fn is_open(&self, offset: Offset) -> bool {
        self.lock().open.contains(offset)
    }

    /// The first deliveries that are not done, at most so many.
    pub(crate) fn first_open(&self, most: usize) -> Vec<Offset> {
        self.lock().open.iter().take(most).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two states.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Beyond {
    fn drop(&mut self) {
        self.reach.leave();
    }
}

impl Inner {
    /// A block is about to be stored under a name.
    fn keep(&mut self, index: u64, number: u64) {
        self.kept.insert(index, number);
        self.kept_end = self.kept_end.min((number + 1) * Finished::BLOCK_OFFSETS);
    }

    /// Blocks that are wholly below the low mark, at most so many: their checkpoints are of no use.
    fn take_passed(&mut self, low: Offset, most: usize) -> Vec<u64> {
        let end = |number: &u64| (number + 1) * Finished::BLOCK_OFFSETS;
        let passed = self.kept.iter().filter(|(_, number)| end(number) <= low.0).take(most);
        let passed: Vec<u64> = passed.map(|(index, _)| *index).collect();
        for index in &passed {
            self.kept.remove(index);
        }
        self.kept_end = self.kept.values().map(end).min().unwrap_or(u64::MAX);
        passed
    }

    /// Forgets what is finished from `offset` on. Returns the last parts of the names of blocks that told of it.
    fn forget_from(&mut self, offset: Offset) -> Vec<u64> {
        let end = |number: &u64| (number + 1) * Finished::BLOCK_OFFSETS;
        self.left.retain(|number, _| number * Finished::BLOCK_OFFSETS < offset.0);
        if let Some(block) = self.left.get_mut(&(offset.0 / Finished::BLOCK_OFFSETS)) {
            block.forget_from(offset);
        }
        let lost =
            self.kept.extract_if(.., |_, number| end(number) > offset.0).map(|(index, _)| index).collect();
        self.kept_end = self.kept.values().map(end).min().unwrap_or(u64::MAX);
        lost
    }

    /// Everything before it is done.
    fn low(&self, identity: u64) -> Position {
        self.open.first(identity).unwrap_or(self.read)
    }

    fn note_epoch(&mut self, finished: &Finished, offset: Offset, epoch: Epoch) {
        if self.epochs.back().is_none_or(|(_, last)| *last != epoch) {
            finished.read_on(offset, epoch);
            self.epochs.push_back((offset.0, epoch));
        }
    }

    fn forget_epochs(&mut self, low: Offset) {
        while self.epochs.get(1).is_some_and(|(first, _)| *first <= low.0) {
            self.epochs.pop_front();
        }
    }

    /// The only epoch of all that was read from `begin` on, if there is but one.
    fn only_epoch(&self, begin: u64) -> Option<Epoch> {
        let mut after = self.epochs.iter().skip_while(|(first, _)| *first <= begin).peekable();
        if after.peek().is_none() { self.epochs.back().map(|(_, epoch)| *epoch) } else { None }
    }

    fn epoch_of(&self, offset: Offset) -> Option<Epoch> {
        let after = self.epochs.partition_point(|(first, _)| *first <= offset.0);
        self.epochs.get(after.checked_sub(1)?).map(|(_, epoch)| *epoch)
    }
}

/// FNV-1a over words and their ends: names of any length become names of one length, the same in every version.
pub(crate) fn hash(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
