//! Notes of positions: what a cursor falls back to after power loss.
//!
//! The kernel may write a position back before the records that were said because of it. So each sync notes the position
//! that a slot had when it began, once those records are durable. After another boot nothing else counts.

use std::sync::atomic::Ordering;

use crate::memory::Word;
use crate::slot::{AT_COPIES, AT_JOURNAL, AT_NOTE_SELECTOR, AT_NOTES, LOOKS, image, position_of};
use crate::types::Position;

/// Notes a position that is founded on durable records.
pub(crate) fn note<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W, position: &Position) {
    let selector = word(AT_NOTE_SELECTOR).load(Ordering::Relaxed).wrapping_add(1).max(1);
    let at = AT_NOTES[usize::from(selector & 1 == 1)];
    for (index, value) in short_image(position, selector).into_iter().enumerate() {
        word(at + index * 8).store(value, Ordering::Release);
    }
    // Pairs with the acquire load in `read_note`: whoever sees the selector sees the note.
    word(AT_NOTE_SELECTOR).store(selector, Ordering::Release);
}

/// The newest intact note of a position in the journal of that identity.
pub(crate) fn read_note<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W, journal: u64) -> Option<Position> {
    let note_of = |selector: u64| {
        let at = AT_NOTES[usize::from(selector & 1 == 1)];
        let found: [u64; 2] = std::array::from_fn(|index| word(at + index * 8).load(Ordering::Acquire));
        let position = position_of([found[0] >> 8, found[1], journal]);
        (selector > 0 && short_image(&position, selector) == found).then_some(position)
    };
    let mut selector = word(AT_NOTE_SELECTOR).load(Ordering::Acquire);
    for _ in 0..LOOKS {
        // The newest may be torn.
        let found = note_of(selector).or_else(|| note_of(selector.wrapping_sub(1)));
        let now = word(AT_NOTE_SELECTOR).load(Ordering::Acquire);
        if found.is_some() || now == selector {
            return found;
        }
        selector = now;
    }
    None
}

/// The position of a slot after another boot.
///
/// Either copy may be torn, but says in a word of its own which journal it is. The word of the second one, which is
/// stored first, lies in the same sector as the notes.
pub(crate) fn read_founded<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W) -> Option<Position> {
    let [first, second] = AT_COPIES;
    [second, first].into_iter().find_map(|copy| {
        let journal = word(copy + AT_JOURNAL).load(Ordering::Acquire);
        read_note(&word, journal)
    })
}

/// A position in two words: the journal's identity goes into the check alone.
fn short_image(position: &Position, selector: u64) -> [u64; 2] {
    let [next, last, _, check] = image(position, selector);
    [next << 8 | check & 0xff, last]
}
