//! What the writer shares with its helpers: marks, latches, and the threads that sync and prepare.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::cursors::Cursors;
use crate::disk;
use crate::error::{At, Error, Result};
use crate::fault;
use crate::latch::{Dirty, Latch, Ticket};
use crate::lock::Lock;
use crate::marks::MarksWriter;
use crate::options::SyncPolicy;
use crate::presence::{LOOK_EVERY, Presence};
use crate::types::Offset;

/// With `always`, the marks themselves are written back this often: until then a damaged record
/// would be taken for a torn one, which loses nothing that is whole.
const MARKS_EVERY: Duration = Duration::from_secs(1);

/// How long a sync waits at most for those that the last one has woken,
const GATHER_MAX: Duration = Duration::from_millis(1);
/// and how often it looks whether more of them are there.
const GATHER_STEP: Duration = Duration::from_micros(50);

/// So many segments are open at most because they are not synced yet: a process has some hundred descriptors.
const UNSYNCED_MAX: usize = 64;

/// What waiters for durability are woken with when there will be none.
const POISONED: Offset = Offset(u64::MAX);

/// A segment with records that may not be durable yet.
#[derive(Debug, Clone)]
pub(crate) struct Unsynced {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// Whether its name is not yet durable in its folder.
    pub(crate) new: bool,
}

/// State of the writer that others may look at and wait for.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    /// The same, open.
    names: disk::Folder,
    pub(crate) marks: MarksWriter,
    pub(crate) committed: Latch,
    pub(crate) durable: Latch,
    policy: SyncPolicy,
    /// Something was appended or acknowledged since the last sync began. Pairs with the marks like a latch.
    dirty: Dirty,
    poisoned: OnceLock<(PathBuf, String)>,
    /// Whether `poisoned` is set. Sequentially consistent like a mark, which a plain release store is not.
    is_poisoned: AtomicBool,
    /// Those who wait for that.
    ends: Latch,
    presence: Presence,
    /// Segments to sync, oldest first; the last one is being written. Locked on rolling and syncing.
    unsynced: Mutex<VecDeque<Unsynced>>,
    cursors: OnceLock<Weak<Cursors>>,
    /// What the syncing thread is asked to do; it sleeps on the condition.
    asked: Mutex<Asked>,
    asking: Condvar,
    /// One sync at a time; when the marks were last written back.
    syncing: Mutex<Instant>,
    /// The durable mark as it is on disk.
    settled: AtomicU64,
    /// How many segments were begun since the journal was opened.
    begun: AtomicU64,
    /// From here on the process needs what it has said itself.
    needed: AtomicU64,
    /// Held until the last handle that could still write is gone.
    _lock: Lock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Asked {
    dirty: bool,
    now: bool,
    stop: bool,
}

/// Those that one sync served.
#[derive(Debug, Default)]
struct Group {
    size: usize,
    took: Duration,
}

impl Shared {
    /// `names` is the journal's folder.
    pub(crate) fn new(
        lock: Lock,
        names: disk::Folder,
        marks: MarksWriter,
        presence: Presence,
        policy: SyncPolicy,
    ) -> Self {
        Self {
            folder: names.path().to_owned(),
            names,
            marks,
            committed: Latch::default(),
            durable: Latch::default(),
            policy,
            dirty: Dirty::default(),
            poisoned: OnceLock::new(),
            is_poisoned: AtomicBool::new(false),
            ends: Latch::default(),
            presence,
            unsynced: Mutex::default(),
            cursors: OnceLock::new(),
            asked: Mutex::default(),
            asking: Condvar::new(),
            syncing: Mutex::new(Instant::now()),
            settled: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            needed: AtomicU64::new(u64::MAX),
            _lock: lock,
        }
    }

    /// Notes that there is something to sync. One load when that is known already.
    #[inline]
    pub(crate) fn mark_dirty(&self) {
        if self.dirty.note() {
            self.became_dirty();
        }
    }

    #[cold]
    fn became_dirty(&self) {
        if self.policy != SyncPolicy::Never {
            self.ask(|asked| asked.dirty = true);
        }
    }

    /// Fails once a sync has failed.
    #[inline]
    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poisoned.get() {
            None => Ok(()),
            Some((path, reason)) => Err(Error::Poisoned { path: path.clone(), reason: reason.clone() }),
        }
    }

    /// Takes in a segment that is to be synced. What is open for that is bounded, also if nobody asks for a sync, or the
    /// disk does not keep up.
    pub(crate) fn begin_segment(&self, segment: Unsynced) {
        // A count, which orders nothing.
        self.begun.fetch_add(1, Ordering::Relaxed);
        let mut unsynced = lock(&self.unsynced);
        unsynced.push_back(segment);
        let open = unsynced.len();
        drop(unsynced);
        if open > UNSYNCED_MAX {
            // It fails for good or not at all, and says so when the next record is appended.
            let _ = self.sync();
        } else if open > UNSYNCED_MAX / 2 {
            self.sync_soon();
        }
    }

    pub(crate) fn segments_begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn keep_from(&self, needed: Option<Offset>) {
        // Nothing else is told by it: whoever raises it needs what is before no more, whatever that was.
        self.needed.store(needed.map_or(u64::MAX, |needed| needed.0), Ordering::Relaxed);
    }

    /// From where on nothing may go, whatever the limit.
    pub(crate) fn needed(&self) -> Offset {
        Offset(self.needed.load(Ordering::Relaxed))
    }

    /// Makes the names in the journal's folder durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub(crate) fn sync_names(&self) -> Result<()> {
        self.names.sync().or_else(|error| {
            self.poison(&error);
            self.check_poison()
        })
    }

    /// Calls `wake` once a sync has failed.
    pub(crate) fn when_poisoned(&self, wake: Box<dyn FnOnce(Offset) + Send>) {
        let mark = || Offset(u64::from(self.is_poisoned.load(Ordering::SeqCst)));
        self.ends.when_past(Offset::ZERO, mark, wake);
    }

    /// Whether the next sync takes in the segment at `path`: from when its writer has begun it.
    pub(crate) fn will_sync(&self, path: &Path) -> bool {
        lock(&self.unsynced).iter().any(|unsynced| unsynced.path == path)
    }

    /// How far the durable mark is on disk, as long as this writer has been there to put it there.
    pub(crate) fn settled(&self) -> Offset {
        Offset(self.settled.load(Ordering::Acquire))
    }

    /// Asks for a sync, without waiting for it.
    pub(crate) fn sync_soon(&self) {
        self.ask(|asked| asked.now = true);
    }

    pub(crate) fn sync_with(&self, cursors: Weak<Cursors>) {
        let _ = self.cursors.set(cursors);
    }

    /// Makes everything that is committed by now durable.
    ///
    /// Order: records, then the names of their files, then cursors, then the mark. So whatever the
    /// mark on disk says is on disk, and the cursors on disk know every acknowledgement below it.
    pub(crate) fn sync(&self) -> Result<Offset> {
        let cursors = self.cursors.get().and_then(Weak::upgrade);
        self.sync_and(false, cursors.as_deref())
    }

    /// The same, and writes the marks back whatever the policy is.
    pub(crate) fn sync_with_marks(&self) -> Result<Offset> {
        let cursors = self.cursors.get().and_then(Weak::upgrade);
        self.sync_and(true, cursors.as_deref())
    }

    /// The same for cursors that are about to go, so that nobody else can find them any more.
    pub(crate) fn sync_last(&self, cursors: &Cursors) -> Result<Offset> {
        self.sync_and(false, Some(cursors))
    }

    /// Must not let go of the cursors, whose end is another sync, while it is the one that syncs.
    fn sync_and(&self, marks_too: bool, cursors: Option<&Cursors>) -> Result<Offset> {
        let mut marks_synced = lock(&self.syncing);
        self.check_poison()?;
        self.dirty.clear();
        let end = self.marks.committed();
        fault::point("sync.started");
        let due = marks_too || self.policy != SyncPolicy::Always || marks_synced.elapsed() >= MARKS_EVERY;
        let synced = self.sync_files(cursors).and_then(|()| {
            self.marks.set_durable(end);
            fault::point("sync.marked");
            if due {
                *marks_synced = Instant::now();
                self.marks.sync()?;
                self.settled.store(end.0, Ordering::Release);
            }
            fault::point("sync.finished");
            Ok(())
        });
        drop(marks_synced);
        if let Err(error) = synced {
            self.poison(&error);
            self.check_poison()?;
        }
        self.durable.moved(end);
        Ok(end)
    }

    /// Fails once the journal's files are not where they were, for good.
    pub(crate) fn check_presence(&self) -> Result<()> {
        if let Err(error) = self.presence.check() {
            self.poison(&error);
        }
        // What is acknowledged into a table that has lost its name is acknowledged to nobody.
        let cursors = self.cursors.get().and_then(Weak::upgrade);
        if let Some(Err(error)) = cursors.map(|cursors| cursors.check_presence()) {
            self.poison(&error);
        }
        self.check_poison()
    }

    /// A sync has failed, or the journal's files are gone. Sticky: the kernel may have marked the pages clean, so another
    /// sync would lie.
    pub(crate) fn poison(&self, error: &Error) {
        if self.poisoned.set((self.folder.clone(), error.to_string())).is_err() {
            return;
        }
        // The mark that pairs with the latches: a waiter either sees it or is woken.
        self.is_poisoned.store(true, Ordering::SeqCst);
        self.durable.moved(POISONED);
        self.ends.moved(Offset(1));
        tracing::error!(%error, "appending stops until the process is restarted");
    }

    fn sync_files(&self, cursors: Option<&Cursors>) -> Result<()> {
        // Before the list of files: what was said because of an acknowledgement was said before it.
        let taken = cursors.map(Cursors::take_down);
        let files: Vec<Unsynced> = lock(&self.unsynced).iter().cloned().collect();
        for unsynced in &files {
            disk::sync_file(&unsynced.file, &unsynced.path)?;
        }
        fault::point("sync.records");
        if files.iter().any(|unsynced| unsynced.new) {
            self.names.sync()?;
            fault::point("sync.folder");
        }
        if let (Some(cursors), Some(taken)) = (cursors, taken) {
            cursors.sync(&taken)?;
            fault::point("sync.cursors");
        }
        let mut unsynced = lock(&self.unsynced);
        // Rolled segments are complete and synced; the last of those seen may still grow.
        unsynced.drain(..files.len().saturating_sub(1));
        if let Some(current) = unsynced.front_mut() {
            current.new = false;
        }
        Ok(())
    }

    /// Calls `wake` when everything before `end` is durable or never will be, which
    /// [`Self::check_poison`] tells, and asks for a sync.
    pub(crate) fn when_durable(&self, end: Offset, wake: Box<dyn FnOnce(Offset) + Send>) -> Ticket {
        let after = Offset(end.0.saturating_sub(1));
        let mark = || if self.is_poisoned.load(Ordering::SeqCst) { POISONED } else { self.marks.durable() };
        let ticket = self.durable.when_past(after, mark, wake);
        if self.marks.durable() < end {
            self.ask(|asked| asked.now = true);
        }
        ticket
    }

    fn ask(&self, ask: impl FnOnce(&mut Asked)) {
        let mut asked = lock(&self.asked);
        let before = *asked;
        ask(&mut asked);
        // Who asks for what is asked for already need not wake anybody: that is a system call.
        if *asked != before {
            drop(asked);
            self.asking.notify_one();
        }
    }

    /// Waits for those whom the last sync has woken: they are about to say more, and one sync serves them all. Without
    /// that, the first of them would have a sync of its own, and the others would wait for two. The
    /// delay before a commit of other databases, but measured instead of set.
    fn gather(&self, last: &Group) {
        let until = Instant::now() + last.took.min(GATHER_MAX);
        let mut there = self.durable.waiting();
        while there < last.size && Instant::now() < until {
            thread::sleep(GATHER_STEP);
            let now = self.durable.waiting();
            if now == there {
                return;
            }
            there = now;
        }
    }

    /// The syncing thread: sleeps while nothing is to be done.
    fn keep_synced(&self) {
        let mut last = Group::default();
        let mut looked = Instant::now();
        loop {
            let mut asked = lock(&self.asked);
            while !(asked.dirty || asked.now || asked.stop) {
                let (again, waited) =
                    self.asking.wait_timeout(asked, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner);
                asked = again;
                if waited.timed_out() {
                    break;
                }
            }
            if let SyncPolicy::Every(period) = self.policy
                && asked.dirty
            {
                let due = Instant::now() + period;
                while let Some(left) = due.checked_duration_since(Instant::now())
                    && !(asked.now || asked.stop || left.is_zero())
                {
                    // However long the period is: meanwhile somebody may take the files away.
                    let left = left.min(LOOK_EVERY.saturating_sub(looked.elapsed()));
                    asked = self.asking.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
                    if !asked.stop && looked.elapsed() >= LOOK_EVERY {
                        drop(asked);
                        looked = Instant::now();
                        if self.check_presence().is_err() {
                            return;
                        }
                        asked = lock(&self.asked);
                    }
                }
            }
            if asked.stop {
                return;
            }
            let nothing = *asked == Asked::default();
            drop(asked);
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                if self.check_presence().is_err() {
                    return;
                }
            }
            if nothing {
                continue;
            }
            self.gather(&last);
            let mut asked = lock(&self.asked);
            *asked = Asked { stop: asked.stop, ..Asked::default() };
            drop(asked);
            let (size, began) = (self.durable.waiting(), Instant::now());
            if self.sync().is_err() {
                return;
            }
            last = Group { size, took: began.elapsed() };
        }
    }
}

/// The thread that syncs; stops and joins when dropped.
#[derive(Debug)]
pub(crate) struct SyncThread {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SyncThread {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self> {
        let keeper = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("journal-sync".to_owned())
            .stack_size(256 << 10)
            .spawn(move || keeper.keep_synced())
            .at("start a thread for", &shared.folder)?;
        Ok(Self { shared: Arc::clone(shared), thread: Some(thread) })
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.shared.ask(|asked| asked.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Every lock in this module guards data that is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
