//! Faults that tests ask for: compiled in with the feature `faults`, otherwise empty functions.
//!
//! | in the environment | what happens |
//! | --- | --- |
//! | `JOURNAL_FAULT=append.written:7` | the process kills itself with SIGKILL when it comes by that point for the seventh time |
//! | `JOURNAL_FAULT_SYNC=3` | the third fsync or fdatasync of the process fails with EIO |
//! | `JOURNAL_FAULT_SYNC_MS=200` | each of them takes this much longer |
//! | `JOURNAL_FAULT_CLOCK=-7200` | the process's wall clock is wrong by so many seconds |
//!
//! A test may also let the disk refuse to read parts of a file, and look on as files are created, synced, renamed and removed, which is what a power loss is about.

use std::fs::File;
use std::path::Path;

#[cfg(not(feature = "faults"))]
pub(crate) use disabled::{after, before, clock_error_ns, point, read, sync_may_fail};
#[cfg(feature = "faults")]
pub use enabled::{Event, Observation, Refusal, observe, refuse_reads, set_clock_error_ns};
#[cfg(feature = "faults")]
pub(crate) use enabled::{after, before, clock_error_ns, point, read, sync_may_fail};

/// Every point: the step of the journal that has just been taken.
#[cfg(feature = "faults")]
pub const POINTS: &[&str] = &[
    // A record lies in its segment, without the commit word that makes it visible.
    "append.written",
    "append.committed",
    "append.marked",
    // The same for a batch.
    "batch.middle",
    "batch.written",
    "batch.committed",
    "roll.prepared",
    "roll.state-written",
    "roll.named",
    "roll.sealed",
    "roll.begun",
    "sync.started",
    "sync.records",
    "sync.folder",
    "sync.cursors",
    "sync.marked",
    "sync.finished",
    "takeover.locked",
    "takeover.recovered",
    "takeover.torn-removed",
    "takeover.marks",
    "takeover.cleared",
    "takeover.opened",
    "takeover.epoch-written",
    "takeover.begun",
    "retention.synced",
    "retention.marked",
    "retention.removed",
    "cursor.allocated",
    "cursor.copied",
    "cursor.selected",
];

/// What the journal does to its files.
#[derive(Debug)]
#[cfg_attr(not(feature = "faults"), expect(dead_code, unreachable_pub, reason = "looked at by tests only"))]
pub enum Operation<'a> {
    /// A file has come to be.
    Create {
        /// Its name.
        path: &'a Path,
        /// The file.
        file: &'a File,
    },
    /// A file's bytes are made durable.
    Sync {
        /// Its name, or the one that it is about to get.
        path: &'a Path,
        /// The file.
        file: &'a File,
    },
    /// The names in a folder are made durable.
    SyncFolder {
        /// The folder.
        path: &'a Path,
    },
    /// A file gets another name.
    Rename {
        /// Its old name.
        path: &'a Path,
        /// Its new name.
        to: &'a Path,
    },
    /// A file goes.
    Remove {
        /// Its name.
        path: &'a Path,
    },
}

#[cfg(not(feature = "faults"))]
mod disabled {
    use super::Operation;

    /// The process comes by a point.
    #[inline]
    pub(crate) const fn point(_name: &'static str) {}

    #[inline]
    pub(crate) const fn before(_operation: &Operation<'_>) {}

    #[inline]
    pub(crate) const fn after(_operation: &Operation<'_>) {}

    /// A part of a file is about to be read.
    #[inline]
    pub(crate) const fn read(_path: &std::path::Path, _range: std::ops::Range<usize>) -> std::io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(crate) const fn sync_may_fail() -> std::io::Result<()> {
        Ok(())
    }

    /// Nanoseconds by which the wall clock is wrong.
    #[inline]
    pub(crate) const fn clock_error_ns() -> i64 {
        0
    }
}

#[cfg(feature = "faults")]
mod enabled {
    use std::io;
    use std::ops::Range;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Operation, POINTS};

    /// What an observer is told.
    #[derive(Debug)]
    pub enum Event<'a> {
        /// The observer's own thread comes by a point.
        Point(&'static str),
        /// Something is about to be done to a file in the observed folder.
        Before(&'a Operation<'a>),
        /// It was done.
        After(&'a Operation<'a>),
    }

    type Tell = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

    struct Observer {
        number: u64,
        folder: PathBuf,
        thread: ThreadId,
        tell: Tell,
    }

    static OBSERVERS: Mutex<Vec<Observer>> = Mutex::new(Vec::new());

    /// Ends when dropped.
    #[derive(Debug)]
    pub struct Observation(u64);

    /// Calls `tell` with what is done to files in `folder`, on the thread that does it, and with the points that the
    /// calling thread comes by. It must not use a journal.
    pub fn observe(folder: &Path, tell: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Observation {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (folder, thread) = (folder.to_owned(), thread::current().id());
        observers().push(Observer { number, folder, thread, tell: Arc::new(tell) });
        Observation(number)
    }

    impl Drop for Observation {
        fn drop(&mut self) {
            observers().retain(|observer| observer.number != self.0);
        }
    }

    fn observers() -> std::sync::MutexGuard<'static, Vec<Observer>> {
        OBSERVERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(event: &Event<'_>, whom: impl Fn(&Observer) -> bool) {
        let chosen = |observer: &&Observer| whom(observer);
        let tells: Vec<Tell> =
            observers().iter().filter(chosen).map(|observer| Arc::clone(&observer.tell)).collect();
        for tell in tells {
            tell(event);
        }
    }

    impl Operation<'_> {
        fn path(&self) -> &Path {
            match self {
                Operation::Create { path, .. }
                | Operation::Sync { path, .. }
                | Operation::SyncFolder { path }
                | Operation::Rename { path, .. }
                | Operation::Remove { path } => path,
            }
        }
    }

    pub(crate) fn before(operation: &Operation<'_>) {
        tell(&Event::Before(operation), |observer| operation.path().starts_with(&observer.folder));
    }

    pub(crate) fn after(operation: &Operation<'_>) {
        tell(&Event::After(operation), |observer| operation.path().starts_with(&observer.folder));
    }

    /// Where this process is to die.
    struct Aim {
        point: String,
        /// How often it may still come by.
        left: AtomicU64,
    }

    fn aim() -> Option<&'static Aim> {
        static AIM: OnceLock<Option<Aim>> = OnceLock::new();
        AIM.get_or_init(|| {
            let text = std::env::var("JOURNAL_FAULT").ok()?;
            let (point, count) = text.split_once(':').expect("JOURNAL_FAULT is POINT:COUNT");
            assert!(POINTS.contains(&point), "JOURNAL_FAULT: there is no point {point:?}");
            let count: u64 = count.parse().expect("JOURNAL_FAULT is POINT:COUNT, with a number");
            assert!(count > 0, "JOURNAL_FAULT counts from 1");
            Some(Aim { point: point.to_owned(), left: AtomicU64::new(count) })
        })
        .as_ref()
    }

    /// The process comes by a point.
    pub(crate) fn point(name: &'static str) {
        let here = thread::current().id();
        tell(&Event::Point(name), |observer| observer.thread == here);
        let Some(aim) = aim() else { return };
        if aim.point == name && aim.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            unreachable!("killed");
        }
    }

    fn number(variable: &str) -> Option<u64> {
        let text = std::env::var(variable).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
    }

    /// Fails the sync that `JOURNAL_FAULT_SYNC` counts out, and makes each take `JOURNAL_FAULT_SYNC_MS` longer.
    pub(crate) fn sync_may_fail() -> io::Result<()> {
        static SLOWER: OnceLock<Option<u64>> = OnceLock::new();
        static LEFT: OnceLock<Option<AtomicU64>> = OnceLock::new();
        if let Some(slower) = SLOWER.get_or_init(|| number("JOURNAL_FAULT_SYNC_MS")) {
            thread::sleep(Duration::from_millis(*slower));
        }
        let left = LEFT.get_or_init(|| number("JOURNAL_FAULT_SYNC").map(AtomicU64::new));
        if left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    }

    static REFUSALS: Mutex<Vec<(u64, PathBuf, Range<usize>)>> = Mutex::new(Vec::new());

    /// Part of a file that the disk cannot read, until this is dropped.
    #[derive(Debug)]
    pub struct Refusal(u64);

    /// From here on the disk cannot read these bytes of a file.
    #[must_use]
    pub fn refuse_reads(path: &Path, range: Range<usize>) -> Refusal {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        REFUSALS.lock().unwrap_or_else(PoisonError::into_inner).push((number, path.to_owned(), range));
        Refusal(number)
    }

    impl Drop for Refusal {
        fn drop(&mut self) {
            REFUSALS.lock().unwrap_or_else(PoisonError::into_inner).retain(|(number, ..)| *number != self.0);
        }
    }

    /// A part of a file is about to be read.
    pub(crate) fn read(path: &Path, range: Range<usize>) -> io::Result<()> {
        let meets = |refused: &Range<usize>| refused.start < range.end && range.start < refused.end;
        let refusals = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.iter().any(|(_, refused, bytes)| refused == path && meets(bytes)) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(())
    }

    fn clock() -> &'static AtomicI64 {
        static CLOCK: OnceLock<AtomicI64> = OnceLock::new();
        CLOCK.get_or_init(|| {
            let seconds = std::env::var("JOURNAL_FAULT_CLOCK").map_or(0, |text| {
                text.parse().unwrap_or_else(|_| panic!("JOURNAL_FAULT_CLOCK={text} is no number"))
            });
            AtomicI64::new(seconds * 1_000_000_000)
        })
    }

    /// Sets the wall clock of this process wrong by so many nanoseconds; at its start `JOURNAL_FAULT_CLOCK` does, in
    /// seconds.
    pub fn set_clock_error_ns(by: i64) {
        clock().store(by, Ordering::Relaxed);
    }

    /// Nanoseconds by which the wall clock is wrong.
    pub(crate) fn clock_error_ns() -> i64 {
        clock().load(Ordering::Relaxed)
    }
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_list_of_points_is_that_of_the_source() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeSet::new();
        let files = |folder: std::path::PathBuf| {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.partition::<Vec<_>, _>(|path| path.is_dir())
        };
        let (folders, mut all) = files(folder);
        all.extend(folders.into_iter().flat_map(|folder| files(folder).1));
        for path in all {
            let text = std::fs::read_to_string(path).unwrap();
            for call in text.split("fault::point(\"").skip(1) {
                found.insert(call.split_once('"').unwrap().0.to_owned());
            }
        }
        // This line's own call.
        found.retain(|name| !name.contains(").skip"));
        assert_eq!(found, super::POINTS.iter().map(|name| (*name).to_owned()).collect());
    }
}
