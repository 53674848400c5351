//! Parts of files that are read, not mapped, because they are other users'.
//!
//! Whoever owns a file may cut it, and looking at what was mapped of it then is a signal that kills. Of the writer of a
//! journal its readers assume that it does not ([`crate::map`]); but a publisher looks at the tables and marks of its
//! subscribers, and so does every tool.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::disk;
use crate::memory::Words;

/// The words of a part of a file as they were while it was read: each as it was at some time, not all at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    words: Vec<AtomicU64>,
}

impl Snapshot {
    /// Reads up to `bytes` of a file from byte `from` on: fewer if it ends before.
    ///
    /// What is read by the next call was so later than what is read by this one.
    pub(crate) fn read(file: &File, path: &Path, from: usize, bytes: usize) -> io::Result<Self> {
        let read = disk::read(file, path, from..from + bytes)?;
        // Like an acquire load of each word.
        fence(Ordering::Acquire);
        let words = read.as_chunks().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word)));
        Ok(Self { words: words.collect() })
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len() * 8
    }
}

impl Words for Snapshot {
    type Word = AtomicU64;

    /// # Panics
    /// Outside of what was read.
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[at / 8]
    }
}
