//! The next segment, made ready ahead of the writer; pages of the current one, faulted in ahead of it.
//!
//! First touch of a page costs a fraction of a microsecond, now and then milliseconds. Here it
//! happens on a thread of its own, which sleeps while the writer does. For a fast writer the file of a segment that
//! is dropped just then becomes the next one, as PostgreSQL does with its write-ahead log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{At, Result};
use crate::map::{Pages, WriteMap};
use crate::retention::{Reused, Trimmer};
use crate::segment;
use crate::shared::lock;

/// Pages are faulted in this far ahead of a writer that has just begun: a process that says little stays small.
const AHEAD_BYTES_MIN: usize = 512 << 10;
/// And this far ahead of a busy one. Each step that it takes doubles the distance.
const AHEAD_BYTES_MAX: usize = 8 << 20;
/// The writer tells where it is each time it has passed this much.
pub(crate) const STEP_BYTES: usize = 256 << 10;

/// A writer that fills a segment, or half of it, in this time is fast.
const FAST_WITHIN: Duration = Duration::from_secs(1);
/// Smaller segments are made in no time. (Tests of faults use small ones, and are to see what fast writers do.)
const FAST_BYTES: usize = if cfg!(feature = "faults") { 1 } else { 4 << 20 };

/// Name of a segment that waits for the writer.
pub(crate) const WAITING: &str = "next.tmp";
/// Name of a segment that the writer has taken and not yet begun.
pub(crate) const TAKEN: &str = "taken.tmp";

/// A reserved, zeroed, mapped file that is not yet a segment.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) file: Arc<File>,
    pub(crate) map: WriteMap,
    /// Its temporary name.
    pub(crate) path: PathBuf,
}

/// Prepares segments for one writer.
#[derive(Debug)]
pub(crate) struct Preparer {
    inner: Arc<Inner>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Inner {
    trimmer: Trimmer,
    segment_bytes: usize,
    /// Held while the next segment is made, so that a writer that needs it waits for just that.
    next: Mutex<Option<Prepared>>,
    work: Mutex<Work>,
    working: Condvar,
}

#[derive(Debug)]
struct Work {
    current: Option<Pages>,
    /// Where the writer is in the current segment.
    position: usize,
    /// How far its pages are faulted in.
    populated: usize,
    /// How far ahead of it they are to be.
    ahead: usize,
    length: usize,
    /// When the writer began with the segment.
    began: Option<Instant>,
    want_next: Option<Pace>,
    /// When to look again what may go.
    trim_at: Instant,
    stop: bool,
}

/// How fast a writer fills its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Slow,
    Fast,
}

impl Work {
    /// How fast the writer got to where it is.
    fn pace(&self) -> Option<Pace> {
        let began = self.began?;
        let fast = self.length >= FAST_BYTES && began.elapsed() < FAST_WITHIN;
        Some(if fast { Pace::Fast } else { Pace::Slow })
    }
}

enum Task {
    Populate(Pages, std::ops::Range<usize>),
    MakeNext(Pace),
    /// Time has passed: segments may have become old, and leases may have run out.
    Trim,
    Stop,
}

impl Preparer {
    pub(crate) fn start(trimmer: Trimmer, segment_bytes: usize) -> Result<Self> {
        let folder = trimmer.shared.folder.clone();
        let work = Work {
            current: None,
            position: 0,
            populated: 0,
            ahead: 0,
            length: 0,
            began: None,
            want_next: None,
            trim_at: Instant::now() + trimmer.period(),
            stop: false,
        };
        let (next, work, working) = (Mutex::default(), Mutex::new(work), Condvar::new());
        let inner = Arc::new(Inner { trimmer, segment_bytes, next, work, working });
        // What a killed writer left takes up room.
        for name in [WAITING, TAKEN] {
            let _ = disk::remove(&inner.path(name));
        }
        let preparing = Arc::clone(&inner);
        let thread = thread::Builder::new()
            .name("journal-prepare".to_owned())
            .stack_size(256 << 10)
            .spawn(move || preparing.run())
            .at("start a thread for", &folder)?;
        Ok(Self { inner, thread: Some(thread) })
    }

    /// The writer goes on in another segment.
    pub(crate) fn begin(&self, map: &WriteMap, position: usize) {
        self.tell(|work| {
            *work = Work {
                current: Some(map.pages()),
                position,
                populated: position,
                ahead: work.ahead.max(AHEAD_BYTES_MIN),
                length: map.len(),
                began: Some(Instant::now()),
                // Whoever filled the last one fast needs the next one soon.
                want_next: work.pace().filter(|pace| *pace == Pace::Fast),
                trim_at: work.trim_at,
                stop: work.stop,
            };
        });
    }

    /// The writer has come to `position`.
    pub(crate) fn passed(&self, position: usize) {
        self.tell(|work| {
            work.position = position;
            work.ahead = (work.ahead * 2).min(AHEAD_BYTES_MAX);
            if position > work.length / 2 {
                work.want_next = work.pace();
            }
        });
    }

    /// The next segment, made now if it is not ready.
    ///
    /// # Errors
    /// [`crate::Error::Full`] by disk or retention.
    pub(crate) fn take(&self) -> Result<Prepared> {
        // From here on names are given.
        self.inner.trimmer.shared.check_presence()?;
        let mut next = lock(&self.inner.next);
        let mut prepared = match next.take() {
            Some(prepared) => prepared,
            None => self.inner.make(Pace::Slow)?,
        };
        // Out of the way of the preparing thread, which may be about to make the one after it under the same
        // name; the lock is held until it is.
        let path = self.inner.path(TAKEN);
        disk::rename(&prepared.path, &path)?;
        prepared.path = path;
        Ok(prepared)
    }

    fn tell(&self, change: impl FnOnce(&mut Work)) {
        change(&mut lock(&self.inner.work));
        self.inner.working.notify_one();
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.tell(|work| work.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // The name may be that of another writer's by now.
        let unused = lock(&self.inner.next).take();
        if let Some(unused) = unused.filter(|_| self.inner.trimmer.shared.check_presence().is_ok()) {
            let _ = disk::remove(&unused.path);
        }
    }
}

impl Inner {
    fn run(&self) {
        loop {
            match self.next_task() {
                Task::Populate(pages, range) => pages.populate(range),
                Task::MakeNext(pace) => self.make_ahead(pace),
                Task::Trim => self.trim(),
                Task::Stop => return,
            }
        }
    }

    fn next_task(&self) -> Task {
        let mut work = lock(&self.work);
        loop {
            if work.stop {
                return Task::Stop;
            }
            let from = work.populated.max(work.position);
            let wanted = (work.position + work.ahead).min(work.length);
            if let Some(pages) = work.current.clone()
                && from < wanted
            {
                let to = wanted.min(from + STEP_BYTES);
                work.populated = to;
                return Task::Populate(pages, from..to);
            }
            if let Some(pace) = work.want_next.take() {
                return Task::MakeNext(pace);
            }
            let left = work.trim_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                work.trim_at = Instant::now() + self.trimmer.period();
                return Task::Trim;
            }
            work = self.working.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn make_ahead(&self, pace: Pace) {
        let mut next = lock(&self.next);
        if next.is_none() {
            // If it can't be made now the writer tries again when it needs it, and reports why not.
            *next = self
                .make(pace)
                .inspect_err(|error| tracing::warn!(%error, "cannot prepare the next segment"))
                .ok();
        }
    }

    fn trim(&self) {
        // While the next segment is made, so is room for it.
        let _next = lock(&self.next);
        if let Err(error) = self.trimmer.trim() {
            tracing::warn!(%error, "cannot drop old segments");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.trimmer.shared.folder.join(name)
    }

    fn make(&self, pace: Pace) -> Result<Prepared> {
        let bytes = self.segment_bytes as u64;
        let path = self.path(WAITING);
        let reused = self.trimmer.make_room(bytes, (pace == Pace::Fast).then_some(&path))?;
        let file = match reused.map(Reused::zeroed) {
            // Its pages and blocks are there already: making new ones costs several times as much.
            Some(Ok(file)) => file,
            Some(Err(_)) | None => self.reserve(&path, pace)?,
        };
        let map = WriteMap::new(&file, self.segment_bytes, &path)?;
        map.pages().populate(0..STEP_BYTES.min(self.segment_bytes));
        Ok(Prepared { file: Arc::new(file), map, path })
    }

    fn reserve(&self, path: &Path, pace: Pace) -> Result<File> {
        let bytes = self.segment_bytes as u64;
        let file = segment::reserve(path, bytes)?;
        if pace == Pace::Fast && !is_in_memory(&file) {
            // Written in large pieces, the page cache gets large folios: an eighth of the page faults, and half of the
            // kernel's work for each page. If it fails, the reserved file will do.
            let _ = segment::write_zeros(&file, 0, bytes);
        }
        Ok(file)
    }
}

/// Whether the file lies on tmpfs, which has small pages only: zeros written to it are zeros written twice.
fn is_in_memory(file: &File) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == TMPFS_MAGIC)
}
