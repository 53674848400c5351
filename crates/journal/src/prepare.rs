//! The next segment, made ready ahead of the writer; pages of the current one, faulted in ahead of it.
//!
//! First touch of a page costs a fraction of a microsecond, now and then milliseconds. Here it
//! happens on a thread of its own, which sleeps while the writer does. For a fast writer the file of a segment that
//! is dropped just then becomes the next one, as PostgreSQL does with its write-ahead log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{At, Result};
use crate::layout::{self, FileKind};
use crate::map::{Pages, WriteMap};
use crate::retention::{Reused, Room, Trimmer};
use crate::segment;
use crate::shared::lock;

/// Pages are faulted in this far ahead of a writer that has just begun: a process that says little stays small.
const AHEAD_BYTES_MIN: usize = 512 << 10;
/// And this far ahead of a busy one. Each step that it takes doubles the distance.
const AHEAD_BYTES_MAX: usize = 8 << 20;
/// The writer tells where it is each time it has passed this much.
const STEP_BYTES: usize = 256 << 10;
/// The successor of a smaller segment is made when it is needed: nobody is told of it before.
const TOLD_BYTES_MIN: usize = 16 << 10;

/// The first segment of a journal, unless its largest ones are smaller: a process that says little takes no more.
const FIRST_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;
/// The next one is so much larger if the last one was filled at once,
const GROWTH_FAST: usize = 8;
/// or within a minute;
const GROWTH: usize = 2;
const SOON: Duration = Duration::from_mins(1);
/// and so much smaller if it took this long.
const SHRINKING: usize = 8;
const LONG: Duration = Duration::from_mins(10);

/// And it has this part of what is kept at least, however slow its writer: whoever goes through the segments has few
/// hundreds to go through.
const KEPT_SHARE: u64 = 64;

/// A writer that fills a segment, or half of it, in this time is fast.
const FAST_WITHIN: Duration = Duration::from_secs(1);
/// Smaller segments are made in no time. (Tests of faults use small ones, and are to see what fast writers do.)
const FAST_BYTES: usize = if cfg!(feature = "faults") { 1 } else { 4 << 20 };

/// So many segments are dropped at most while a writer may wait for the next one, unless they are over the byte limit.
const DROPPED_MAX: usize = 16;
/// Dropping goes on after this time if a writer has come in between.
const GIVE_WAY: Duration = Duration::from_millis(10);

/// The position that a writer which is at `at`, in a segment of `bytes`, tells of when it has passed it. Half of a small
/// segment is told, since the next one is made then; and somewhat more, if it has begun behind that.
pub(crate) const fn tell_after(at: usize, bytes: usize) -> usize {
    if bytes < TOLD_BYTES_MIN {
        return at + STEP_BYTES;
    }
    let (half, part) = (bytes / 2, bytes / 8);
    if at > half {
        at + if part < STEP_BYTES { part } else { STEP_BYTES }
    } else if half < at + STEP_BYTES {
        half
    } else {
        at + STEP_BYTES
    }
}

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
    segment_bytes_max: usize,
    /// Held while the next segment is made, so that a writer that needs it waits for just that.
    next: Mutex<Option<Prepared>>,
    /// The writer waits for that.
    wanted: AtomicBool,
    /// The writer has taken a segment and not yet begun it. That one has no name that counts, so nobody may make another
    /// one meanwhile: it would be one too many. Changed by the writer, while it holds `next` when it becomes true.
    taken: AtomicBool,
    /// It is said once that the next segment cannot be made, until one can.
    failing: AtomicBool,
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

impl Work {
    /// The size of the next segment, by how long the writer has taken for the current one, and how much is `kept`.
    fn next_bytes(&self, most: usize, kept: u64) -> usize {
        let share = usize::try_from(kept / KEPT_SHARE).unwrap_or(most);
        let least = FIRST_BYTES.max(share.next_multiple_of(PAGE_BYTES)).min(most);
        let bytes = match self.began.map(|began| began.elapsed()) {
            None => FIRST_BYTES,
            Some(took) if took < FAST_WITHIN => self.length.saturating_mul(GROWTH_FAST),
            Some(took) if took < SOON => self.length.saturating_mul(GROWTH),
            Some(took) if took < LONG => self.length,
            Some(_) => (self.length / SHRINKING).next_multiple_of(PAGE_BYTES),
        };
        bytes.clamp(least, most)
    }
}

/// When the byte limit is kept to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Before the segment is made: what is in its way goes, or the writer waits.
    Now,
    /// Once the next one is made.
    Later,
}

enum Task {
    Populate(Pages, std::ops::Range<usize>),
    MakeNext(Pace),
    /// Time has passed: segments may have become old, and leases may have run out.
    Trim,
    Stop,
}

impl Preparer {
    pub(crate) fn start(trimmer: Trimmer, segment_bytes_max: usize) -> Result<Self> {
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
        let [wanted, taken, failing] = [(); 3].map(|()| AtomicBool::new(false));
        let inner =
            Arc::new(Inner { trimmer, segment_bytes_max, next, wanted, taken, failing, work, working });
        // What a killed writer left takes up room.
        for kind in [layout::NEXT, layout::TAKEN] {
            let _ = disk::remove(&inner.path(&kind));
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
        self.inner.taken.store(false, Ordering::Release);
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

    /// The next segment, of `bytes` at least, made now if it is not ready.
    ///
    /// # Errors
    /// [`crate::Error::Full`] by disk or retention.
    pub(crate) fn take(&self, bytes: usize, limit: Limit) -> Result<Prepared> {
        // From here on names are given.
        self.inner.trimmer.shared.check_presence()?;
        self.inner.wanted.store(true, Ordering::Relaxed);
        let mut next = lock(&self.inner.next);
        self.inner.wanted.store(false, Ordering::Relaxed);
        if let Some(small) = next.take_if(|prepared| prepared.map.len() < bytes) {
            disk::remove(&small.path)?;
        }
        let mut prepared = match next.take() {
            Some(prepared) => prepared,
            None => self.inner.make(Pace::Slow, bytes, limit)?,
        };
        // Out of the way of the preparing thread, which may be about to make the one after it under the same
        // name; the lock is held until it is.
        let path = self.inner.path(&layout::TAKEN);
        disk::rename(&prepared.path, &path)?;
        prepared.path = path;
        self.inner.taken.store(true, Ordering::Relaxed);
        Ok(prepared)
    }

    /// What was taken is not begun: it could not get its name. It is no use to anybody, on a disk that may be full.
    pub(crate) fn give_back(&self) {
        // The name may be that of another writer's by now.
        if self.inner.trimmer.shared.check_presence().is_ok() {
            let _ = disk::remove(&self.inner.path(&layout::TAKEN));
        }
        self.inner.taken.store(false, Ordering::Release);
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
        // A wish of the segment before comes too late then: the writer has its next one.
        if next.is_none() && !self.taken.load(Ordering::Acquire) {
            // If it can't be made now the writer tries again when it needs it, and reports why not.
            let made = self.make(pace, 0, Limit::Now);
            let failed_before = self.failing.swap(made.is_err(), Ordering::Relaxed);
            if let (Err(error), false) = (&made, failed_before) {
                tracing::warn!(%error, "cannot prepare the next segment");
            }
            *next = made.ok();
        }
    }

    fn trim(&self) {
        // While the next segment is made, so is room for it.
        let next = lock(&self.next);
        let trimmed = self.trimmer.trim(&self.wanted);
        drop(next);
        match trimmed {
            Ok(true) => {}
            // A writer comes first, and takes the lock meanwhile.
            Ok(false) => self.trim_in(GIVE_WAY),
            Err(error) => tracing::warn!(%error, "cannot drop old segments"),
        }
    }

    fn trim_in(&self, time: Duration) {
        let mut work = lock(&self.work);
        work.trim_at = work.trim_at.min(Instant::now() + time);
        self.working.notify_one();
    }

    fn path(&self, kind: &FileKind) -> PathBuf {
        self.trimmer.shared.folder.join(kind.name)
    }

    /// Makes a segment of `least` bytes, or more if the pace asks for it.
    fn make(&self, pace: Pace, least: usize, limit: Limit) -> Result<Prepared> {
        let most = self.segment_bytes_max;
        let present = self.trimmer.present()?;
        let (wanted, length) = {
            let work = lock(&self.work);
            (work.next_bytes(most, present.bytes()), work.length)
        };
        let bytes = wanted.max(least.next_multiple_of(PAGE_BYTES)).min(most);
        let path = self.path(&layout::NEXT);
        let reuse = (pace == Pace::Fast).then_some(&*path);
        let room = match limit {
            Limit::Now => {
                self.trimmer.make_room(present, bytes as u64, reuse, &|dropped| dropped >= DROPPED_MAX)?
            }
            Limit::Later => Room::default(),
        };
        if room.is_partial {
            self.trim_in(Duration::ZERO);
        }
        let file = match room.reused.map(Reused::zeroed) {
            // Its pages and blocks are there already: making new ones costs several times as much.
            Some(Ok(file)) => file,
            // Whoever fills a much smaller segment is at its end long before zeros of this one are written.
            Some(Err(_)) | None => {
                reserve(&path, bytes as u64, pace == Pace::Fast && bytes <= length * GROWTH)?
            }
        };
        let map = WriteMap::new(&file, bytes, &path)?;
        map.pages().populate(0..STEP_BYTES.min(bytes));
        Ok(Prepared { file: Arc::new(file), map, path })
    }
}

fn reserve(path: &Path, bytes: u64, with_zeros: bool) -> Result<File> {
    let file = segment::reserve(path, bytes)?;
    if with_zeros && !is_in_memory(&file) {
        // Written in large pieces, the page cache gets large folios: an eighth of the page faults, and half of the
        // kernel's work for each page. If it fails, the reserved file will do.
        let _ = segment::write_zeros(&file, 0, bytes);
    }
    Ok(file)
}

/// Whether the file lies on tmpfs, which has small pages only: zeros written to it are zeros written twice.
fn is_in_memory(file: &File) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(length: usize, took: Duration) -> Work {
        Work {
            current: None,
            position: 0,
            populated: 0,
            ahead: 0,
            length,
            began: Instant::now().checked_sub(took),
            want_next: None,
            trim_at: Instant::now(),
            stop: false,
        }
    }

    #[test]
    fn segments_grow_and_shrink_with_the_pace() {
        const MIB: usize = 1 << 20;
        let most = 64 * MIB;
        let next = |length, took| after(length, took).next_bytes(most, 0);
        assert_eq!(next(FIRST_BYTES, Duration::ZERO), 2 * MIB);
        assert_eq!(next(2 * MIB, Duration::ZERO), 16 * MIB);
        assert_eq!(next(16 * MIB, Duration::ZERO), most);
        assert_eq!(next(most, Duration::ZERO), most);
        assert_eq!(next(MIB, Duration::from_secs(30)), 2 * MIB);
        assert_eq!(next(MIB, Duration::from_secs(300)), MIB);
        assert_eq!(next(most, Duration::from_hours(1)), 8 * MIB);
        assert_eq!(next(MIB, Duration::from_hours(1)), FIRST_BYTES);
        assert_eq!(
            after(8192, Duration::ZERO).next_bytes(8192, 1 << 30),
            8192,
            "a small journal stays as it is"
        );
        assert_eq!(Work { began: None, ..after(0, Duration::ZERO) }.next_bytes(most, 0), FIRST_BYTES);
    }

    #[test]
    fn a_slow_writer_that_keeps_much_has_few_segments() {
        let most = 64 << 20;
        let (mut sizes, mut kept, mut length) = (std::collections::VecDeque::new(), 0, 0);
        for _ in 0..20_000 {
            length = after(length, LONG).next_bytes(most, kept);
            sizes.push_back(length as u64);
            kept += length as u64;
            while kept > 1 << 30 {
                kept -= sizes.pop_front().unwrap();
            }
            assert!(sizes.len() < 400, "{} segments hold {kept} bytes", sizes.len());
        }
    }

    #[test]
    fn half_of_a_segment_is_told() {
        for bytes in [64 << 10, 256 << 10, 384 << 10, 1 << 20, 64 << 20] {
            for first in [128, 5000] {
                let (mut at, mut told) = (first, Vec::new());
                let mut tell_at = tell_after(at, bytes);
                while at < bytes {
                    at += 1000;
                    if at > tell_at {
                        told.push(at);
                        tell_at = tell_after(at, bytes);
                    }
                }
                let half = told.iter().find(|at| **at > bytes / 2).unwrap();
                assert!(*half <= bytes.min(bytes / 2 + STEP_BYTES), "{half} of {bytes}");
            }
        }
    }
}
