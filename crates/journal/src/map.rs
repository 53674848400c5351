//! Mapped memory: with a few system calls in [`crate::ofd`], [`crate::signal`] and [`crate::bus`] the only `unsafe` of the workspace.
//!
//! Trust boundary: the one writer of a file (kernel lock) never changes bytes below a commit word
//! that it has stored, and nobody truncates a file that is mapped; it uses the file of a dropped segment again only
//! if no reader holds the lock that goes with a mapping ([`crate::walk::Segment`]). Readers are not trusted with
//! anything: their mappings are read-only, and files of theirs are not mapped ([`crate::snapshot`]). So below a commit word that was loaded with acquire
//! ordering the bytes are immutable, and a shared slice of them is sound.
#![expect(unsafe_code, reason = "memory mapping; each block states its invariant")]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapOptions, MmapRaw};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::disk;
use crate::error::{At, Result};
use crate::fault;

const PAGE: usize = 4096;
/// So much is read at once.
const CHUNK: usize = 1 << 20;

/// A file mapped for writing by its only writer.
#[derive(Debug)]
pub(crate) struct WriteMap {
    map: Arc<MmapRaw>,
}

impl WriteMap {
    /// Maps the first `bytes` of `file`, which must be that long and reserved on disk.
    pub(crate) fn new(file: &File, bytes: usize, path: &Path) -> Result<Self> {
        let map = MmapOptions::new().len(bytes).map_raw(file).at("map", path)?;
        Ok(Self { map: Arc::new(map) })
    }

    /// Memory of no file, which nobody reads.
    pub(crate) fn of_no_file() -> std::io::Result<Self> {
        let map = MmapOptions::new().len(PAGE).map_anon()?;
        Ok(Self { map: Arc::new(map.into()) })
    }

    /// Maps `bytes` of `file` from byte `from`, under the same conditions.
    pub(crate) fn chunk(file: &File, from: u64, bytes: usize, path: &Path) -> Result<Self> {
        let map = MmapOptions::new().offset(from).len(bytes).map_raw(file).at("map", path)?;
        Ok(Self { map: Arc::new(map) })
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Copies `bytes` to position `at`.
    ///
    /// # Panics
    /// Outside of the mapping.
    #[inline]
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.map.len() && bytes.len() <= self.map.len() - at, "write outside of the mapping");
        // SAFETY: the range lies inside the mapping (asserted), which is private to this process
        // for writing; `bytes` is ordinary memory and cannot overlap it, because no `&[u8]` into a
        // `WriteMap` outlives the `&mut self` taken here. Readers in other processes look at
        // these bytes only after the commit word that is stored later.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) }
    }

    /// The aligned word at position `at`.
    ///
    /// # Panics
    /// Outside of the mapping, or not aligned to 8 bytes.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        word(self.map.as_ptr(), self.map.len(), at)
    }

    /// Several words in a row, looked up once.
    ///
    /// # Panics
    /// Outside of the mapping, or not aligned to 8 bytes.
    #[inline]
    pub(crate) fn words<const COUNT: usize>(&self, at: usize) -> &[AtomicU64; COUNT] {
        let end = at.checked_add(COUNT * 8);
        assert!(
            at.is_multiple_of(8) && end.is_some_and(|end| end <= self.map.len()),
            "words outside of the mapping"
        );
        // SAFETY: as in `word`; an array of words has their alignment, and all of it is inside the mapping (asserted).
        unsafe { &*self.map.as_ptr().add(at).cast::<[AtomicU64; COUNT]>() }
    }

    /// What another thread needs to fault pages in ahead of the writer.
    pub(crate) fn pages(&self) -> Pages {
        Pages { map: Arc::clone(&self.map) }
    }
}

/// The pages of a [`WriteMap`], without access to their bytes.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    map: Arc<MmapRaw>,
}

impl Pages {
    /// Faults in the pages of a range for writing. Best effort: what is left out faults later.
    pub(crate) fn populate(&self, range: Range<usize>) {
        let start = range.start / PAGE * PAGE;
        let end = range.end.min(self.map.len());
        if start >= end {
            return;
        }
        // SAFETY: the range lies inside the mapping, which `self` keeps. MADV_POPULATE_WRITE changes no
        // byte, so it may run beside the writer. A kernel that does not know the advice refuses it.
        let _ = unsafe {
            madvise(self.map.as_mut_ptr().add(start).cast(), end - start, Advice::LinuxPopulateWrite)
        };
    }
}

/// A file mapped for reading, while its writer may go on.
#[derive(Debug)]
pub(crate) struct ReadMap {
    map: Mmap,
    /// So many bytes may be looked at: never more than are mapped.
    shown: usize,
}

impl ReadMap {
    /// Maps the first `bytes` of `file`, which must be at least that long.
    pub(crate) fn new(file: &File, bytes: usize, path: &Path) -> Result<Self> {
        Ok(Self { shown: bytes, ..Self::hidden(file, bytes, path)? })
    }

    /// The same, of which nothing may be looked at before [`Self::show`].
    pub(crate) fn hidden(file: &File, bytes: usize, path: &Path) -> Result<Self> {
        // SAFETY: see the module's trust boundary; all content is checked before it is believed.
        let map = unsafe { MmapOptions::new().len(bytes).map(file) }.at("map", path)?;
        Ok(Self { map, shown: 0 })
    }

    /// Lets everything before `end` be looked at, once it is certain that the disk gives it: what it refuses to a mapping is
    /// a signal that kills. Blocks that it refuses are zeros from here on; returns whether there are any.
    ///
    /// # Errors
    /// Any other failure to read.
    pub(crate) fn show(&mut self, file: &File, end: usize, path: &Path) -> Result<bool> {
        let end = end.min(self.map.len());
        let mut refused = false;
        for start in (self.shown / PAGE * PAGE..end).step_by(CHUNK) {
            let chunk = start..end.min(start + CHUNK);
            // Also the quickest way to have it mapped. Kernels that do not know the advice, and those that refuse it for want
            // of something, leave it to reading.
            if self.populate(chunk.clone()).is_ok() && fault::read(path, chunk.clone()).is_ok() {
                continue;
            }
            if disk::read_through(file, path, chunk.clone()).is_ok() {
                continue;
            }
            for page in chunk.step_by(PAGE) {
                match disk::read_through(file, path, page..end.min(page + PAGE)) {
                    Ok(()) => {}
                    Err(error) if disk::is_refused(&error) => {
                        tracing::error!(path = %path.display(), at = page, %error, "the disk refuses a block");
                        self.blank(page).at("map", path)?;
                        refused = true;
                    }
                    Err(error) => return Err(error).at("read", path),
                }
            }
        }
        self.shown = self.shown.max(end);
        Ok(refused)
    }

    fn populate(&self, range: Range<usize>) -> rustix::io::Result<()> {
        let start = self.map.as_ptr().wrapping_add(range.start).cast_mut().cast();
        // SAFETY: the range lies inside the mapping, and begins at a page. MADV_POPULATE_READ changes no byte. A kernel that
        // does not know the advice refuses it.
        unsafe { madvise(start, range.len(), Advice::LinuxPopulateRead) }
    }

    /// Puts a page of zeros in the place of one that cannot be read.
    fn blank(&mut self, page: usize) -> rustix::io::Result<()> {
        assert!(
            page >= self.shown / PAGE * PAGE && page < self.map.len(),
            "a page that was shown, or is none"
        );
        let start = self.map.as_ptr().wrapping_add(page).cast_mut().cast();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the page lies inside the mapping, which goes with all of its pages when it is dropped. Nobody has a
        // reference into the page: it was not shown yet, or in part only, and could not be read then either.
        unsafe { mmap_anonymous(start, PAGE, ProtFlags::READ, flags) }.map(drop)
    }

    /// The mapped bytes that were shown. Only those below a commit word that was loaded with acquire ordering may
    /// be looked at.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: no more are shown than are mapped.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.shown) }
    }

    /// How many bytes may be looked at.
    #[inline]
    pub(crate) const fn shown(&self) -> usize {
        self.shown
    }

    /// The aligned word at position `at`.
    ///
    /// # Panics
    /// Outside of what was shown, or not aligned to 8 bytes.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        word(self.map.as_ptr(), self.shown, at)
    }
}

#[inline]
fn word<'a>(start: *const u8, bytes: usize, at: usize) -> &'a AtomicU64 {
    assert!(at.is_multiple_of(8) && at < bytes && bytes - at >= 8, "word outside of the mapping");
    // SAFETY: inside the mapping and aligned (asserted; mappings start at a page). Every access to
    // commit words and marks while others may read them goes through atomics. Read-only mappings are only
    // ever loaded from. The lifetime is tied to the map by both callers' signatures.
    unsafe { &*start.add(at).cast::<AtomicU64>() }
}
