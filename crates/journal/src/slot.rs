//! One slot of a cursor table: whose it is, and the position that it holds.
//!
//! The position is kept twice, with a selector that says which of the two holds. An update is a handful of stores, and
//! whoever reads the slot meanwhile sees the old position or the new one.

use std::sync::atomic::Ordering;

use crate::fault;
use crate::memory::Word;
use crate::names::{NAMES_BYTES, decode_names};
use crate::types::{Epoch, Offset, Position};

pub(crate) const BYTES: usize = 384;

// Places within a slot.
pub(crate) const AT_USED: usize = 0;
pub(crate) const AT_NAMES: usize = 8;
/// Behind the names: the epoch of the owner's journal in which the slot is being read.
pub(crate) const AT_READ_IN: usize = 248;
pub(crate) const AT_SEEN: usize = 256;
pub(crate) const AT_TRYING: usize = 264;
pub(crate) const AT_SELECTOR: usize = 272;
pub(crate) const AT_COPIES: [usize; 2] = [280, 312];
pub(crate) const AT_NOTES: [usize; 2] = [344, 360];
pub(crate) const AT_NOTE_SELECTOR: usize = 376;
/// Within a copy.
pub(crate) const AT_JOURNAL: usize = 16;

/// What a slot in use has at [`AT_USED`].
pub(crate) const USED: u64 = 0x5553_4544;

/// Of the word at [`AT_TRYING`] this many bits count deliveries, the others say of which offset.
const TRIES_BITS: u32 = 16;
/// Offsets from here on leave the count fewer bits, and the word its highest bit for that to show.
const FAR: u64 = 1 << 47;
const FAR_BIT: u64 = 1 << 63;
const FAR_TRIES_BITS: u32 = 7;

/// Where the check over a position starts: the magic of the table.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"PROCCURS");

/// How often a reader looks at most: the owner may overwrite the copy that is read, once for each of its
/// acknowledgements. Under loom each further look multiplies what there is to try.
pub(crate) const LOOKS: usize = if cfg!(loom) { 2 } else { 16 };

/// What [`AT_TRYING`] holds for a delivery under way, and how-many-th in a row that counts.
#[inline]
pub(crate) fn trying(offset: Offset, tries: u16) -> (u64, u16) {
    if offset.0 < FAR {
        return (offset.0 << TRIES_BITS | u64::from(tries), tries);
    }
    let tries = tries.min((1 << FAR_TRIES_BITS) - 1);
    (FAR_BIT | offset.0 << FAR_TRIES_BITS | u64::from(tries), tries)
}

/// The delivery under way, and the how-many-th in a row it is: 0 if it was taken back. One less in the word is one try less.
#[inline]
pub(crate) const fn tried(word: u64) -> (Offset, u16) {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    if word < FAR_BIT {
        (Offset(word >> TRIES_BITS), word as u16)
    } else {
        (Offset((word & !FAR_BIT) >> FAR_TRIES_BITS), word as u16 & ((1 << FAR_TRIES_BITS) - 1))
    }
}

/// Stores a position.
#[inline]
pub(crate) fn store<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W, position: &Position) {
    let selector = word(AT_SELECTOR).load(Ordering::Relaxed).wrapping_add(1).max(1);
    let copy = AT_COPIES[usize::from(selector & 1 == 1)];
    for (index, value) in image(position, selector).into_iter().enumerate() {
        word(copy + index * 8).store(value, Ordering::Relaxed);
    }
    fault::point("cursor.copied");
    // Pairs with the acquire load in `read_position`: whoever sees the selector sees the copy. Sequentially
    // consistent, so that it is not missed by a sync that clears the dirty flag just now.
    word(AT_SELECTOR).store(selector, Ordering::SeqCst);
    fault::point("cursor.selected");
}

/// The newest intact copy of a position.
pub(crate) fn read_position<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W) -> Option<Position> {
    for _ in 0..LOOKS {
        let selector = word(AT_SELECTOR).load(Ordering::Acquire);
        if selector == 0 {
            return None;
        }
        // After power loss the newest copy may be torn: the one before it then still holds.
        for selector in [selector, selector - 1] {
            let copy = AT_COPIES[usize::from(selector & 1 == 1)];
            let found: [u64; 4] = std::array::from_fn(|index| word(copy + index * 8).load(Ordering::Relaxed));
            let position = position_of([found[0], found[1], found[2]]);
            if image(&position, selector) == found {
                return Some(position);
            }
        }
    }
    None
}

/// Notes who reads the slot: the owner, in this epoch; 0 for nobody. By whoever may give slots away.
pub(crate) fn set_read_in<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W, epoch: Epoch) {
    // Two bytes of the word are the end of the names.
    let names = word(AT_READ_IN).load(Ordering::Relaxed) & 0xffff_ffff;
    word(AT_READ_IN).store(names | u64::from(epoch.0) << 32, Ordering::Release);
}

/// The epoch of the owner in which the slot is being read.
pub(crate) fn read_in<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W) -> Epoch {
    let epoch = word(AT_READ_IN).load(Ordering::Acquire) >> 32;
    Epoch(u32::try_from(epoch).unwrap_or_default())
}

/// The names of a slot, if they make sense.
pub(crate) fn read_names<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W) -> Option<(String, String)> {
    let mut names = [0; NAMES_BYTES.next_multiple_of(8)];
    for (index, chunk) in names.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        chunk.copy_from_slice(&word(AT_NAMES + index * 8).load(Ordering::Relaxed).to_le_bytes());
    }
    decode_names(&names)
}

pub(crate) fn position_of([next, last, journal]: [u64; 3]) -> Position {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    let (epoch, checksum) = (Epoch((last >> 32) as u32), last as u32);
    Position { next: Offset(next), epoch, checksum, journal }
}

/// A position as stored, with a check word over it and its selector.
#[inline]
pub(crate) fn image(position: &Position, selector: u64) -> [u64; 4] {
    let (next, journal) = (position.next.0, position.journal);
    let last = u64::from(position.epoch.0) << 32 | u64::from(position.checksum);
    // Each step is a bijection of the state, so one changed word always shows.
    let check = [next, last, journal, selector]
        .into_iter()
        .fold(MAGIC, |state, word| (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    [next, last, journal, check]
}
