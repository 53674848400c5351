//! A stop is no death: what a process has in hand when it is told to stop is not to blame for its end.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cursor, Cursors};
use crate::error::{At, Result};
use crate::slot::{AT_READ_IN, AT_TRYING, tried};
use crate::table::AT_STOPPED;

/// A bit that nobody else uses of the word at [`AT_READ_IN`]: the last attempt is an earlier process's.
const SPARED: u64 = 1 << 16;

impl Cursors {
    /// Notes that the process is told to stop. What it has in hand when it ends, however it ends, is not to blame: the next
    /// one counts those deliveries as if they had not been. Survives SIGKILL.
    ///
    /// # Errors
    /// I/O errors.
    pub fn note_stop(&self) -> Result<()> {
        self.spare_untried();
        let noted = self.file.write_all_at(&1_u64.to_le_bytes(), AT_STOPPED).at("write", &self.path);
        // A delivery that began meanwhile is this process's. One that begins from here on sees the mark of its slot, which was
        // there before the system call.
        self.spare_untried();
        noted
    }

    /// Takes the last attempt of each subscription back: the process that made it was told to stop. Attempts of earlier
    /// processes, which died, stay.
    pub(super) fn forgive_all(&self) {
        let inner = self.lock();
        for slot in inner.slots() {
            let word = inner.word(slot, AT_TRYING);
            let last = word.load(Ordering::Relaxed);
            if tried(last).1 > 0 && !is_spared(inner.word(slot, AT_READ_IN)) {
                word.store(last - 1, Ordering::Relaxed);
            }
        }
    }

    /// Takes down which attempts there are: those of earlier processes.
    pub(super) fn begin_life(&self) {
        let mut inner = self.lock();
        let mut earlier = HashMap::new();
        for slot in inner.slots() {
            inner.word(slot, AT_READ_IN).fetch_and(!SPARED, Ordering::Relaxed);
            let last = inner.word(slot, AT_TRYING).load(Ordering::Relaxed);
            if tried(last).1 > 0 {
                earlier.insert(slot, last);
            }
        }
        inner.earlier = earlier;
    }

    /// Marks the slots whose last attempt was not made by this process, and no others: its stop takes none of them back.
    fn spare_untried(&self) {
        let inner = self.lock();
        for (slot, last) in &inner.earlier {
            let mark = inner.word(*slot, AT_READ_IN);
            if inner.word(*slot, AT_TRYING).load(Ordering::SeqCst) == *last {
                mark.fetch_or(SPARED, Ordering::SeqCst);
            } else {
                mark.fetch_and(!SPARED, Ordering::SeqCst);
            }
        }
    }
}

impl Cursor {
    /// Whatever the last attempt was when a stop was noted: this process makes one now.
    #[inline]
    pub(super) fn own_attempt(&self) {
        if is_spared(self.word(AT_READ_IN)) {
            self.unmark();
        }
    }

    #[cold]
    fn unmark(&self) {
        self.word(AT_READ_IN).fetch_and(!SPARED, Ordering::Relaxed);
    }
}

#[inline]
fn is_spared(word: &AtomicU64) -> bool {
    word.load(Ordering::Relaxed) & SPARED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Offset, Options, Position, Writer};

    #[test]
    fn a_stop_takes_back_no_attempt_of_an_earlier_process() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("bot");
        let life = |tried: &[u64], stops: bool| {
            let writer = Writer::open(&instance, &Options::default()).unwrap();
            let cursors = Cursors::open(&instance, &writer).unwrap();
            let cursor = cursors.claim("s", "j").unwrap();
            cursor.store(Position::at(Offset(4)));
            let attempts: Vec<u16> = tried.iter().map(|offset| cursor.attempt(Offset(*offset))).collect();
            if stops {
                cursors.note_stop().unwrap();
            }
            attempts
        };
        assert_eq!(life(&[7], false), [1]);
        assert_eq!(life(&[7], false), [2]);
        // Told to stop before it came to it, and again, and once over it.
        assert_eq!(life(&[], true), [0; 0]);
        assert_eq!(life(&[], true), [0; 0]);
        assert_eq!(life(&[7], true), [3]);
        assert_eq!(life(&[7], false), [3]);
        assert_eq!(life(&[7], false), [4]);
    }

    #[test]
    fn a_stop_takes_back_what_is_delivered_while_it_is_under_way() {
        // What an earlier process died over, another record, and both.
        for after in [&[7][..], &[8], &[7, 8]] {
            for notes_again in [false, true] {
                let home = tempfile::tempdir().unwrap();
                let instance = home.path().join("bot");
                let life = |tried: &[u64], stops: bool| {
                    let writer = Writer::open(&instance, &Options::default()).unwrap();
                    let cursors = Cursors::open(&instance, &writer).unwrap();
                    let cursor = cursors.claim("s", "j").unwrap();
                    cursor.store(Position::at(Offset(4)));
                    if stops {
                        cursors.note_stop().unwrap();
                    }
                    let attempts: Vec<u16> =
                        tried.iter().map(|offset| cursor.attempt(Offset(*offset))).collect();
                    if stops && notes_again {
                        cursors.note_stop().unwrap();
                    }
                    attempts
                };
                assert_eq!(life(&[7], false), [1]);
                let first = life(after, true);
                assert_eq!(life(after, true)[after.len() - 1], first[after.len() - 1], "{after:?}");
                let last = *after.last().unwrap();
                assert_eq!(life(&[last], false), first[after.len() - 1..], "{after:?}: a stop was counted");
            }
        }
    }
}
