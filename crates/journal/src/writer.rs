//! The one writer of a journal.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::cursors::{check_name, wall_clock_ns};
use crate::declared::Declared;
use crate::error::{At, Error, Result};
use crate::latch::Ticket;
use crate::layout;
use crate::lock::Lock;
use crate::map::WriteMap;
use crate::marks::{Marks, MarksWriter};
use crate::options::{Options, TAIL_BYTES};
use crate::prepare::{Prepared, Preparer, STEP_BYTES};
use crate::record::{self, Head, Kind, Place};
use crate::recovery::{self, Recovered, State, Tail, encode_ack, encode_checkpoint};
use crate::retention::Trimmer;
use crate::segment::{self, HEADER_BYTES, Header};
use crate::shared::{Shared, SyncThread, Unsynced};
use crate::types::{
    Codec, Entry, Epoch, JournalId, KEY_BYTES_MAX, Offset, PAYLOAD_BYTES_MAX, Position, TOPIC_BYTES_MAX, Time,
};

/// Times further ahead of the wall clock than this are not taken over from others.
const AHEAD_MAX: Duration = Duration::from_mins(1);

/// Entries of a batch; a segment has numbers for as many names.
const ENTRIES_MAX: usize = u16::MAX as usize;

/// Records, acknowledgements and checkpoints that become visible together or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batch<'a> {
    /// What is said.
    pub entries: &'a [Entry<'a>],
    /// Which input was dealt with by saying it.
    pub acks: &'a [Ack<'a>],
    /// Application state that goes with it.
    pub checkpoints: &'a [Checkpoint<'a>],
}

/// A subscription's position in a journal, to be stored with what was said because of it.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// Name of the subscription.
    pub subscription: &'a str,
    /// Name of the journal it reads.
    pub journal: &'a str,
    /// Everything before it is dealt with.
    pub position: Position,
}

/// A named value that belongs to the application; the newest of each name is kept for good.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint<'a> {
    /// Its name.
    pub name: &'a str,
    /// Anything.
    pub value: &'a [u8],
}

/// The one writer of an instance's journal; see the crate's documentation.
#[derive(Debug)]
pub struct Writer {
    map: WriteMap,
    place: Place,
    next: Offset,
    epoch: Epoch,
    time: Time,
    declared: Declared,
    /// Tell the preparer when the position has passed this.
    tell_at: usize,
    path: PathBuf,
    journal: JournalId,
    name: String,
    state: State,
    batch_bytes_max: usize,
    shared: Arc<Shared>,
    preparer: Preparer,
    _sync_thread: SyncThread,
}

impl Writer {
    /// Takes over the journal in the folder `instance`, whose name is the journal's, creating it if need be.
    ///
    /// Recovers what an earlier writer left, begins an epoch, and starts two helper threads.
    ///
    /// # Errors
    /// [`Error::Locked`] while another writer lives; [`Error::Corrupt`] and [`Error::ForeignVersion`] for
    /// files that no writer of this format made (damaged records are no error: they become gaps);
    /// [`Error::Full`]; [`Error::Options`]; I/O errors.
    pub fn open(instance: &Path, options: &Options) -> Result<Self> {
        options.check()?;
        let name = instance.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        check_name("journal name", &name)?;
        let folder = layout::journal_folder(instance);
        fs::create_dir_all(&folder).at("create", &folder)?;
        refuse_network_file_system(&folder)?;
        let lock = Lock::take(&layout::lock_path(instance), options.lock_patience)?;

        let (marks_writer, marks) = MarksWriter::open(&layout::marks_path(instance))?;
        let recovered = recovery::recover(&folder, marks.as_ref())?;
        let Recovered { journal, next, epoch, time, tail, state, torn, cut, damaged } = match recovered {
            Some(recovered) => recovered,
            None => brand_new(&folder)?,
        };
        report(&name, next, &torn, cut, &damaged);
        for path in &torn {
            fs::remove_file(path).at("remove", path)?;
        }
        let epoch = Epoch(epoch.0 + 1);
        let trimmed = segment::list(&folder)?.first().map_or(next, |first| first.base);
        let durable = marks.map_or(trimmed, |marks| marks.durable).min(next);
        let pid = std::process::id();
        marks_writer.begin(&Marks { journal, epoch, pid, committed: next, durable, trimmed, same_boot: true })?;

        let shared = Arc::new(Shared::new(folder, lock, marks_writer, options.sync));
        let trimmer = Trimmer {
            shared: Arc::clone(&shared),
            journal,
            name: name.clone(),
            state: instance.parent().unwrap_or(Path::new(".")).to_owned(),
            retention: options.retention.clone(),
        };
        let segment_bytes = usize::try_from(options.segment_bytes).unwrap_or(usize::MAX);
        let preparer = Preparer::start(trimmer, segment_bytes)?;
        let at = Takeover { shared: &shared, preparer: &preparer, journal, next, epoch };
        let Opened { map, place, declared, path, fresh } = match tail {
            Some(tail) => at.go_on(tail)?,
            None => at.begin()?,
        };
        preparer.begin(&map, place.at);
        let mut writer = Self {
            tell_at: place.at + STEP_BYTES,
            map,
            place,
            next,
            epoch,
            time,
            declared,
            path,
            journal,
            name,
            state,
            batch_bytes_max: options.batch_bytes_max(),
            _sync_thread: SyncThread::start(&shared)?,
            shared,
            preparer,
        };
        writer.begin_epoch(fresh)?;
        Ok(writer)
    }

    /// Appends one record. When it returns, every reader can read it, and it survives the death of any
    /// process. No system call, allocation or lock, but for once in a segment, once in a sync period, once in
    /// a megabyte, and for somebody who sleeps until it comes.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLarge`], [`Error::BadName`], [`Error::Poisoned`]; nothing was
    /// appended then.
    #[inline]
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<Offset> {
        self.commit(&Batch { entries: std::slice::from_ref(entry), ..Batch::default() }).map(|offsets| offsets.start)
    }

    /// Appends a batch, all or nothing, and returns the offsets of its entries.
    ///
    /// # Errors
    /// Those of [`Self::append`].
    #[inline]
    pub fn commit(&mut self, batch: &Batch<'_>) -> Result<Range<Offset>> {
        self.shared.check_poison()?;
        if batch.entries.len() > ENTRIES_MAX {
            return Err(Error::TooLarge { what: "number of entries in a batch", found: batch.entries.len(), limit: ENTRIES_MAX });
        }
        for entry in batch.entries {
            check_entry(entry)?;
        }
        if !(batch.acks.is_empty() && batch.checkpoints.is_empty()) {
            self.check_state(batch)?;
        }
        if !self.fits(self.declared.bytes_of(batch)) || !self.declared.can_name(batch.entries.len()) {
            self.make_room_for(batch)?;
        }
        let start = self.next;
        self.write_batch(batch);
        self.keep_state(batch);
        self.shared.marks.commit(self.next);
        self.shared.committed.moved(self.next);
        self.shared.mark_dirty();
        if self.place.at > self.tell_at {
            self.tell_at = self.place.at + STEP_BYTES;
            self.preparer.passed(self.place.at);
        }
        Ok(start..self.next)
    }

    /// Makes everything appended so far durable; blocks until it is.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a sync fails or has failed.
    pub fn sync(&self) -> Result<Offset> {
        self.shared.sync()
    }

    /// What others in this process may ask while the writer is busy.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(&self.shared), journal: self.journal, epoch: self.epoch }
    }

    /// The journal's name: that of the instance's folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The journal's identity.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// This writer's epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset that the next record will have.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next
    }

    /// The newest value of a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, name: &str) -> Option<&[u8]> {
        self.state.checkpoints.get(name).map(Vec::as_slice)
    }

    /// The newest acknowledgements that were stored with records: subscription, journal, position.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&str, &str, Position)> {
        self.state.acks.iter().map(|((subscription, journal), position)| (subscription.as_str(), journal.as_str(), *position))
    }

    /// Takes note of a time that was received, so that what is said from now on is later.
    ///
    /// Returns `false`, and leaves the clock alone, if it is more than a minute ahead of the wall clock.
    pub fn observe(&mut self, time: Time) -> bool {
        let sane = time.0 <= wall_clock_ns().saturating_add(u64::try_from(AHEAD_MAX.as_nanos()).unwrap_or(u64::MAX));
        if sane {
            self.time = self.time.max(time);
        }
        sane
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    fn fits(&self, bytes: usize) -> bool {
        bytes <= (self.map.len() - TAIL_BYTES).saturating_sub(self.place.at)
    }

    /// Says that an epoch begins, together with the state if the segment is new.
    fn begin_epoch(&mut self, fresh: bool) -> Result<()> {
        if fresh {
            self.write_state();
        } else if self.fits(record::stride(0, 0)) {
            let mut commit = Commit::default();
            self.write_control(&mut commit, Kind::EpochBegun, &[], false);
            commit.publish(&self.map);
        } else {
            self.roll()?;
        }
        self.shared.mark_dirty();
        Ok(())
    }

    #[cold]
    fn make_room_for(&mut self, batch: &Batch<'_>) -> Result<()> {
        let most = Declared::default().bytes_of(batch);
        let limit = self.batch_bytes_max - self.state_bytes();
        if most > limit {
            return Err(Error::TooLarge { what: "batch", found: most, limit });
        }
        self.roll()
    }

    /// Goes on in the next segment: it gets its header and the state, then its name; only then is
    /// the current one sealed, so a reader that meets the seal finds the next segment.
    #[cold]
    fn roll(&mut self) -> Result<()> {
        let at = Takeover {
            shared: &self.shared,
            preparer: &self.preparer,
            journal: self.journal,
            next: self.next,
            epoch: self.epoch,
        };
        let Opened { map, place, declared, path, .. } = at.begin()?;
        self.seal();
        self.preparer.begin(&map, place.at);
        (self.map, self.place, self.declared, self.path) = (map, place, declared, path);
        self.tell_at = self.place.at + STEP_BYTES;
        self.write_state();
        Ok(())
    }

    fn seal(&mut self) {
        let next = self.next.0.to_le_bytes();
        let mut commit = Commit::default();
        self.write_control(&mut commit, Kind::Sealed, &next, false);
        commit.publish(&self.map);
    }

    /// Opens a segment: the epoch, and the newest acknowledgements and checkpoints.
    fn write_state(&mut self) {
        let state = std::mem::take(&mut self.state);
        let mut commit = Commit::default();
        for ((subscription, journal), position) in &state.acks {
            self.write_control(&mut commit, Kind::Ack, &encode_ack(subscription, journal, position), true);
        }
        for (name, value) in &state.checkpoints {
            self.write_control(&mut commit, Kind::Checkpoint, &encode_checkpoint(name, value), true);
        }
        self.write_control(&mut commit, Kind::EpochBegun, &[], false);
        commit.publish(&self.map);
        self.state = state;
    }

    fn state_bytes(&self) -> usize {
        let acks = self.state.acks.keys().map(|(subscription, journal)| ack_stride(subscription, journal));
        let checkpoints = self.state.checkpoints.iter().map(|(name, value)| checkpoint_stride(name, value.len()));
        acks.sum::<usize>() + checkpoints.sum::<usize>() + record::stride(0, 0)
    }

    /// Refuses state that would not leave room for records in a segment.
    fn check_state(&self, batch: &Batch<'_>) -> Result<()> {
        for ack in batch.acks {
            check_name("subscription name", ack.subscription)?;
            check_name("journal name", ack.journal)?;
        }
        let mut bytes = self.state_bytes();
        for checkpoint in batch.checkpoints {
            check_name("checkpoint name", checkpoint.name)?;
            bytes += checkpoint_stride(checkpoint.name, checkpoint.value.len());
        }
        bytes += batch.acks.iter().map(|ack| ack_stride(ack.subscription, ack.journal)).sum::<usize>();
        let limit = self.batch_bytes_max / 2;
        if bytes > limit {
            return Err(Error::TooLarge { what: "all checkpoints together", found: bytes, limit });
        }
        Ok(())
    }

    #[inline]
    fn keep_state(&mut self, batch: &Batch<'_>) {
        for ack in batch.acks {
            let names = (ack.subscription.to_owned(), ack.journal.to_owned());
            self.state.acks.insert(names, ack.position);
        }
        for checkpoint in batch.checkpoints {
            self.state.checkpoints.insert(checkpoint.name.to_owned(), checkpoint.value.to_vec());
        }
    }

    /// Writes a batch that fits, and makes it visible.
    #[inline]
    fn write_batch(&mut self, batch: &Batch<'_>) {
        let mut commit = Commit::default();
        let controls = batch.acks.len() + batch.checkpoints.len();
        for (index, entry) in batch.entries.iter().enumerate() {
            let topic = self.topic(&mut commit, entry.topic);
            let (cause_journal, cause_offset) = match entry.cause {
                None => (0, Offset::ZERO),
                Some(cause) => (self.cause_journal(&mut commit, cause.journal), cause.offset),
            };
            let head = Head {
                offset: self.next,
                time: self.tick(),
                epoch: self.epoch,
                kind: Kind::Event,
                topic,
                cause_journal,
                cause_offset,
                codec: entry.codec,
                more: controls > 0 || index + 1 < batch.entries.len(),
            };
            self.write(&mut commit, &head, entry.key, entry.payload);
            self.next = self.next.plus(1);
        }
        let mut left = controls;
        for ack in batch.acks {
            left -= 1;
            let payload = encode_ack(ack.subscription, ack.journal, &ack.position);
            self.write_control(&mut commit, Kind::Ack, &payload, left > 0);
        }
        for checkpoint in batch.checkpoints {
            left -= 1;
            let payload = encode_checkpoint(checkpoint.name, checkpoint.value);
            self.write_control(&mut commit, Kind::Checkpoint, &payload, left > 0);
        }
        commit.publish(&self.map);
    }

    #[inline]
    fn topic(&mut self, commit: &mut Commit, name: &str) -> u16 {
        match self.declared.topics.number(name) {
            Some(number) => number,
            None => {
                let (number, payload) = self.declared.topics.declare(name);
                self.write_control(commit, Kind::Topic, &payload, true);
                number
            }
        }
    }

    #[inline]
    fn cause_journal(&mut self, commit: &mut Commit, name: &str) -> u16 {
        match self.declared.journals.number(name) {
            Some(number) => number,
            None => {
                let (number, payload) = self.declared.journals.declare(name);
                self.write_control(commit, Kind::Journal, &payload, true);
                number
            }
        }
    }

    fn write_control(&mut self, commit: &mut Commit, kind: Kind, payload: &[u8], more: bool) {
        let head = Head {
            offset: self.next,
            time: self.time,
            epoch: self.epoch,
            kind,
            topic: 0,
            cause_journal: 0,
            cause_offset: Offset::ZERO,
            codec: Codec::Raw,
            more,
        };
        self.write(commit, &head, None, payload);
    }

    #[inline]
    fn write(&mut self, commit: &mut Commit, head: &Head, key: Option<&[u8]>, payload: &[u8]) {
        let at = self.place.at;
        let encoded = record::encode(head, key, payload, self.place);
        self.map.write(at + 8, &encoded.fixed);
        let mut end = at + record::HEADER_BYTES;
        if let Some(key) = key {
            self.map.write(end, key);
            end += key.len();
        }
        self.map.write(end, payload);
        commit.add(&self.map, at, encoded.word);
        self.place.at = at + record::stride(key.map_or(0, <[u8]>::len), payload.len());
    }

    /// The time of the next record: later than every one before it.
    #[inline]
    fn tick(&mut self) -> Time {
        self.time = Time(wall_clock_ns().max(self.time.0 + 1));
        self.time
    }
}

impl Drop for Writer {
    /// A clean end leaves everything durable. A journal that was not closed is recovered just as well.
    fn drop(&mut self) {
        if let Err(error) = self.shared.sync() {
            tracing::error!(%error, journal = self.name, "could not sync the journal at its end");
        }
    }
}

/// The first commit word of a batch, held back until all the others are in place.
#[derive(Debug, Default)]
struct Commit {
    first: Option<(usize, u64)>,
}

impl Commit {
    #[inline]
    fn add(&mut self, map: &WriteMap, at: usize, word: u64) {
        if self.first.is_none() {
            self.first = Some((at, word));
        } else {
            map.word(at).store(word, Ordering::Relaxed);
        }
    }

    /// Makes the batch visible. Pairs with the acquire load of the word in [`crate::walk::Segment::at`].
    #[inline]
    fn publish(self, map: &WriteMap) {
        if let Some((at, word)) = self.first {
            map.word(at).store(word, Ordering::Release);
        }
    }
}

/// Marks and waiting, for other threads of the writer's process.
#[derive(Debug, Clone)]
pub struct Watch {
    shared: Arc<Shared>,
    journal: JournalId,
    epoch: Epoch,
}

impl Watch {
    /// The marks right now.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let marks = &self.shared.marks;
        Marks {
            journal: self.journal,
            epoch: self.epoch,
            pid: std::process::id(),
            committed: marks.committed(),
            durable: marks.durable(),
            trimmed: marks.trimmed(),
            same_boot: true,
        }
    }

    /// The latch: calls `wake` with the committed mark once it is past `after`, from the thread that appends, or at
    /// once. It must not block.
    pub fn when_committed(&self, after: Offset, wake: impl FnOnce(Offset) + Send + 'static) -> Ticket {
        self.shared.committed.when_past(after, || self.shared.marks.committed(), Box::new(wake))
    }

    /// Like [`Self::when_committed`] for the durable mark, without asking for a sync: for readers that take only
    /// what is durable.
    pub fn when_synced(&self, after: Offset, wake: impl FnOnce(Offset) + Send + 'static) -> Ticket {
        self.shared.durable.when_past(after, || self.shared.marks.durable(), Box::new(wake))
    }

    /// Takes a waiter of [`Self::when_synced`] back.
    pub fn cancel_synced(&self, ticket: Ticket) {
        self.shared.durable.cancel(ticket);
    }

    /// Takes a waiter of [`Self::when_committed`] back.
    pub fn cancel(&self, ticket: Ticket) {
        self.shared.committed.cancel(ticket);
    }

    /// Calls `wake` once every record before `end` is durable, or never will be because a sync failed
    /// ([`Self::check`] tells), and asks for a sync. One sync serves everybody who waits.
    pub fn when_durable(&self, end: Offset, wake: impl FnOnce() + Send + 'static) {
        self.shared.when_durable(end, Box::new(|_| wake()));
    }

    /// Fails if a sync has failed.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn check(&self) -> Result<()> {
        self.shared.check_poison()
    }

    /// Makes everything committed by now durable; blocks.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn sync(&self) -> Result<Offset> {
        self.shared.sync()
    }
}

/// What is needed to go on writing somewhere.
struct Takeover<'a> {
    shared: &'a Shared,
    preparer: &'a Preparer,
    journal: JournalId,
    next: Offset,
    epoch: Epoch,
}

struct Opened {
    map: WriteMap,
    place: Place,
    declared: Declared,
    path: PathBuf,
    fresh: bool,
}

impl Takeover<'_> {
    /// A new segment that begins at the next offset.
    fn begin(&self) -> Result<Opened> {
        let Prepared { file, mut map, path: temporary } = self.preparer.take()?;
        let header = Header { journal: self.journal, base: self.next, epoch: self.epoch, segment_bytes: map.len() as u64 };
        map.write(0, &header.encode());
        let path = segment::path(&self.shared.folder, self.next);
        fs::rename(&temporary, &path).at("name", &path)?;
        self.shared.begin_segment(Unsynced { file, path: path.clone(), new: true });
        let place = Place { seed: header.seed(), at: HEADER_BYTES };
        Ok(Opened { map, place, declared: Declared::default(), path, fresh: true })
    }

    /// The segment in which the last writer stopped, with everything behind its last record zeroed.
    fn go_on(&self, tail: Tail) -> Result<Opened> {
        let Tail { path, at, tables } = tail;
        let file = OpenOptions::new().read(true).write(true).open(&path).at("open", &path)?;
        let mut start = [0; HEADER_BYTES];
        (&file).read_exact(&mut start).at("read", &path)?;
        let header = Header::decode(&start, &path)?;
        clear(&file, at as u64, header.segment_bytes, &path)?;
        let map = WriteMap::new(&file, usize::try_from(header.segment_bytes).unwrap_or(usize::MAX), &path)?;
        self.shared.begin_segment(Unsynced { file: Arc::new(file), path: path.clone(), new: true });
        let place = Place { seed: header.seed(), at };
        Ok(Opened { map, place, declared: Declared::from_tables(&tables), path, fresh: at == HEADER_BYTES })
    }
}

/// Zeroes a file from `from` to `end` and reserves all of it.
fn clear(file: &File, from: u64, end: u64, path: &Path) -> Result<()> {
    if end > from {
        match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, end - from) {
            Ok(()) => {}
            // Cutting the file and reserving it again has the same effect; nobody can have it mapped
            // behind the last record and look there.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(from).at("cut", path)?,
            Err(error) => return Err(error).at("clear", path),
        }
    }
    segment::extend(file, end, path)
}

fn check_entry(entry: &Entry<'_>) -> Result<()> {
    let topic = entry.topic;
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(Error::BadName { what: "topic", name: topic.to_owned(), limit: TOPIC_BYTES_MAX });
    }
    let key = entry.key.map_or(0, <[u8]>::len);
    if key > KEY_BYTES_MAX {
        return Err(Error::TooLarge { what: "key", found: key, limit: KEY_BYTES_MAX });
    }
    if entry.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge { what: "payload", found: entry.payload.len(), limit: PAYLOAD_BYTES_MAX });
    }
    Ok(())
}

pub(crate) fn ack_stride(subscription: &str, journal: &str) -> usize {
    record::stride(0, 25 + subscription.len() + journal.len())
}

pub(crate) fn checkpoint_stride(name: &str, value_bytes: usize) -> usize {
    record::stride(0, 1 + name.len() + value_bytes)
}

fn brand_new(folder: &Path) -> Result<Recovered> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).at("make an identity for", folder)?;
    Ok(Recovered {
        journal: JournalId(u128::from_le_bytes(bytes)),
        next: Offset::ZERO,
        epoch: Epoch(0),
        time: Time(0),
        tail: None,
        state: State::default(),
        torn: Vec::new(),
        cut: false,
        damaged: Vec::new(),
    })
}

fn report(name: &str, next: Offset, torn: &[PathBuf], cut: bool, damaged: &[(Offset, Offset)]) {
    if cut || !torn.is_empty() {
        tracing::warn!(journal = name, next = next.0, segments = torn.len(), "cut off a torn tail");
    }
    for (from, to) in damaged {
        tracing::error!(journal = name, from = from.0, to = to.0, "records are damaged: readers get a gap");
    }
}

/// Locks and mappings of network file systems do not keep what the journal promises.
fn refuse_network_file_system(folder: &Path) -> Result<()> {
    const REFUSED: [(u64, &str); 6] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x6573_5546, "FUSE"),
    ];
    let kind = rustix::fs::statfs(folder).at("inspect", folder)?.f_type;
    #[expect(clippy::cast_sign_loss, reason = "a magic number, compared bit for bit")]
    let kind = kind as u64 & 0xffff_ffff;
    match REFUSED.into_iter().find(|(magic, _)| *magic == kind) {
        None => Ok(()),
        Some((_, name)) => Err(Error::Options(format!(
            "{} is on {name}, where neither locks nor shared mappings can be trusted: put the state folder on a local disk",
            folder.display()
        ))),
    }
}
