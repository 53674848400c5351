//! Watching a process's journal from outside, to hit it while it moves.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

const AT_COMMITTED: u64 = 1024;

/// What was seen last.
#[derive(Debug)]
pub(crate) struct Sight {
    folder: PathBuf,
    marks: Option<File>,
    committed: u64,
    files: BTreeSet<OsString>,
}

impl Sight {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, marks: None, committed: 0, files: BTreeSet::new() }
    }

    /// Looks at all of it.
    pub(super) fn look(&mut self) {
        self.committed = self.committed();
        self.files = self.files();
    }

    /// Whether something was said since the last look.
    pub(super) fn has_moved(&mut self) -> bool {
        self.committed() != self.committed
    }

    /// Whether files have come or gone since the last look.
    pub(super) fn has_other_files(&mut self) -> bool {
        self.files() != self.files
    }

    /// The committed mark, unchecked.
    pub(crate) fn committed(&mut self) -> u64 {
        if self.marks.is_none() {
            self.marks = File::open(self.folder.join("marks")).ok();
        }
        let mut word = [0; 8];
        let read = self.marks.as_ref().and_then(|marks| marks.read_exact_at(&mut word, AT_COMMITTED).ok());
        read.map_or(0, |()| u64::from_le_bytes(word) >> 8)
    }

    fn files(&self) -> BTreeSet<OsString> {
        fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|file| Some(file.ok()?.file_name()))
            .collect()
    }
}
