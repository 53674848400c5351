//! A stop is no death: what a process has in hand when it is told to stop is not to blame for its end.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering;

use super::Cursors;
use crate::error::{At, Result};
use crate::slot::{AT_TRYING, tried};
use crate::table::AT_STOPPED;

impl Cursors {
    /// Notes that the process is told to stop. What it has in hand when it ends, however it ends, is not to blame: the next
    /// one counts those deliveries as if they had not been. Survives SIGKILL.
    ///
    /// # Errors
    /// I/O errors.
    pub fn note_stop(&self) -> Result<()> {
        self.file.write_all_at(&1_u64.to_le_bytes(), AT_STOPPED).at("write", &self.path)
    }

    /// Takes the last attempt of each subscription back: the process that made it was told to stop.
    pub(super) fn forgive_all(&self) {
        let inner = self.lock();
        for slot in inner.slots() {
            let (map, start) = inner.slot(slot);
            let word = map.word(start + AT_TRYING);
            let last = word.load(Ordering::Relaxed);
            if tried(last).1 > 0 {
                word.store(last - 1, Ordering::Relaxed);
            }
        }
    }
}
