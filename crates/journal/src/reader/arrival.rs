//! A journal that is put back file by file while it is read: what is not there yet is no damage.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::Reader;
use crate::error::{At as _, Result};
use crate::history;
use crate::lock::is_locked;
use crate::marks::Marks;
use crate::types::{Epoch, Position};

/// Files of which none has come or grown for so long do not come any more.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// A journal that was gone over to, or opened as one that was there before, whose files may still be on their way.
#[derive(Debug)]
pub(super) struct Arrival {
    /// A later one has been begun by a writer, which has looked at all files before.
    epoch: Epoch,
    /// What was there at the last look: the name of each file, and its bytes. Also of those that have no name yet that
    /// counts, for whoever copies a large one names it last.
    seen: BTreeMap<OsString, u64>,
    changed: Instant,
}

impl Arrival {
    pub(super) fn new(marks: &Marks) -> Self {
        Self { epoch: marks.epoch, seen: BTreeMap::new(), changed: Instant::now() }
    }
}

impl Reader {
    /// The journal may be one that is being put back just now, and whoever has opened it knows that it was there before: a
    /// file that is missing is damage only once it is known not to be on its way.
    ///
    /// # Errors
    /// [`crate::Error::ForeignVersion`].
    pub fn expect_files(&mut self) -> Result<()> {
        self.arrival = self.marks.load()?.as_ref().map(Arrival::new);
        Ok(())
    }

    /// Whether what is missing may only be on its way: that was to be expected, nobody writes the journal yet, and its files
    /// still change or have until just now.
    #[cold]
    pub(super) fn may_arrive(&mut self, marks: &Marks) -> Result<bool> {
        let Some(arrival) = &mut self.arrival else { return Ok(false) };
        let instance = self.folder.parent().unwrap_or(&self.folder);
        // Who cannot tell whether somebody writes waits: not for ever.
        if marks.epoch == arrival.epoch && !is_locked(instance).unwrap_or(false) {
            let mut seen = BTreeMap::new();
            let listed = match fs::read_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                listed => Some(listed.at("list", &self.folder)?),
            };
            for found in listed.into_iter().flatten() {
                let found = found.at("list", &self.folder)?;
                seen.insert(found.file_name(), found.metadata().map_or(0, |metadata| metadata.len()));
            }
            if seen != arrival.seen {
                (arrival.seen, arrival.changed) = (seen, Instant::now());
            }
            if arrival.changed.elapsed() < QUIET_MAX {
                return Ok(true);
            }
        }
        self.arrival = None;
        Ok(false)
    }

    /// Whether a place cannot be compared with a journal that was gone over to, because files of it have yet to come.
    pub(super) fn lacks_files(&mut self, position: &Position, marks: &Marks) -> Result<bool> {
        if self.arrival.is_none() {
            return Ok(false);
        }
        let there = marks.trimmed..marks.trusted();
        let ends = self.known.places().chain([position.next, marks.trusted()]);
        for end in ends.collect::<Vec<_>>() {
            let is_kept = end > there.start && end <= there.end;
            if is_kept && history::last_before(&self.folder, end)?.is_none() {
                return self.may_arrive(marks);
            }
        }
        Ok(false)
    }
}
