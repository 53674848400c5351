//! Cursors: how far each subscription of an instance has acknowledged, per journal.
//!
//! A mapped table with one slot per (subscription, journal). A slot holds two copies of the
//! position and a selector, so an update is a handful of stores, and whoever reads the table (the
//! publisher's retention, the command line) sees the old position or the new one.
//!
//! The kernel may write a position back before the records that were said because of it. So after another boot
//! these two do not count, but the last position that a sync has noted once those records were durable.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk;
use crate::error::{At, Error, Result};
use crate::fault;
use crate::layout;
use crate::map::{ReadMap, WriteMap};
use crate::marks::boot_id;
use crate::memory::Word;
use crate::segment::{FILE_MODE, FORMAT_VERSION, extend};
use crate::shared::Shared;
use crate::types::{Epoch, NAME_BYTES_MAX, Offset, Position};
use crate::writer::Writer;

const MAGIC: u64 = u64::from_le_bytes(*b"PROCCURS");
const HEADER_BYTES: usize = 64;
const SLOT_BYTES: usize = 384;
/// A table grows by this many slots.
const CHUNK_SLOTS: usize = 64;
const CHUNK_BYTES: usize = CHUNK_SLOTS * SLOT_BYTES;
/// More subscriptions than this are a mistake of the caller.
const CHUNKS_MAX: usize = 64;

// Within a slot.
const AT_USED: usize = 0;
const AT_NAMES: usize = 8;
const NAMES_BYTES: usize = 2 * (NAME_BYTES_MAX + 1);
const AT_SEEN: usize = 256;
const AT_TRYING: usize = 264;
const AT_SELECTOR: usize = 272;
const AT_COPIES: [usize; 2] = [280, 312];
/// Within a copy.
const AT_JOURNAL: usize = 16;
const AT_NOTES: [usize; 2] = [344, 360];
const AT_NOTE_SELECTOR: usize = 376;

/// Within the header: the boot in which the table was last opened; 0 in tables that are older than notes.
const AT_BOOT: u64 = 16;

const USED: u64 = 0x5553_4544;

/// Of the word at [`AT_TRYING`] this many bits count deliveries, the others say of which offset.
const TRIES_BITS: u32 = 16;

/// One slot of a table, as anybody may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorInfo {
    /// Name of the subscription.
    pub subscription: String,
    /// Name of the journal it reads.
    pub journal: String,
    /// How far it has acknowledged.
    pub position: Position,
    /// When the subscriber was last alive: nanoseconds since the Unix epoch, by the wall clock.
    pub seen_ns: u64,
    /// The last record whose delivery was counted; not acknowledged yet unless it lies before `position`.
    pub trying: Option<Offset>,
}

/// The table of an instance, held by its only writer.
#[derive(Debug)]
pub struct Cursors {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
    /// Mapped chunks and claims. Locked when a subscription starts or ends, never by an acknowledgement.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    chunks: Vec<Arc<WriteMap>>,
    claimed: HashSet<usize>,
    /// Slots that were given away since a sync last took down positions: it must not note those of their
    /// predecessors.
    renewed: HashSet<usize>,
}

/// Positions of used slots, taken down when a sync begins.
pub(crate) type Taken = Vec<(usize, Position)>;

impl Cursors {
    /// Opens or creates the table of the instance whose journal `writer` holds, and brings it up to what
    /// the journal says was acknowledged.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ForeignVersion`], [`Error::Corrupt`] for a file that is no table, and I/O errors.
    pub fn open(instance: &Path, writer: &Writer) -> Result<Arc<Self>> {
        let path = layout::cursors_path(instance);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .at("open", &path)?;
        disk::created(&file, &path);
        let length = usize::try_from(file.metadata().at("inspect", &path)?.len()).unwrap_or(usize::MAX);
        let finished = check_header(&file, length, &path)?;
        let boot = boot_of(&file, &path)?;
        let chunks = length.saturating_sub(HEADER_BYTES).div_ceil(CHUNK_BYTES).clamp(1, CHUNKS_MAX);
        let shared = Arc::clone(writer.shared());
        let cursors = Self { file, path, shared, inner: Mutex::default() };
        {
            let mut inner = cursors.lock();
            for _ in 0..chunks {
                cursors.grow(&mut inner)?;
            }
        }
        if !finished {
            cursors.clear();
            // Its name, before anything is believed to be in it.
            disk::sync_folder(instance)?;
        } else if boot != 0 && boot != boot_id() {
            cursors.go_back_to_notes();
        }
        cursors.file.write_all_at(&boot_id().to_le_bytes(), AT_BOOT).at("write", &cursors.path)?;
        // Written last: a table without magic is one that was never finished.
        cursors.file.write_all_at(&MAGIC.to_le_bytes(), 0).at("write", &cursors.path)?;
        cursors.file.write_all_at(&FORMAT_VERSION.to_le_bytes(), 8).at("write", &cursors.path)?;
        let cursors = Arc::new(cursors);
        for (subscription, journal, position) in writer.acknowledged() {
            let cursor = cursors.claim(subscription, journal)?;
            if cursor.position().is_none_or(|old| position.is_later_than(&old)) {
                cursor.store(position);
            }
        }
        writer.shared().sync_with(Arc::downgrade(&cursors));
        Ok(cursors)
    }

    /// The cursor of a subscription on a journal, to be moved by the caller alone.
    ///
    /// # Errors
    /// [`Error::Claimed`] if it is in use, [`Error::BadName`], [`Error::Full`].
    pub fn claim(self: &Arc<Self>, subscription: &str, journal: &str) -> Result<Cursor> {
        check_name("subscription name", subscription)?;
        check_name("journal name", journal)?;
        let names = encode_names(subscription, journal);
        let mut inner = self.lock();
        let slot = match find(&inner.chunks, subscription, journal) {
            Some(slot) => slot,
            None => self.allocate(&mut inner, &names)?,
        };
        if !inner.claimed.insert(slot) {
            return Err(Error::Claimed {
                subscription: subscription.to_owned(),
                journal: journal.to_owned(),
            });
        }
        let (map, start) = (Arc::clone(&inner.chunks[slot / CHUNK_SLOTS]), slot % CHUNK_SLOTS * SLOT_BYTES);
        let cursor = Cursor { table: Arc::clone(self), map, start, slot };
        cursor.touch();
        Ok(cursor)
    }

    /// Forgets a subscription's place in a journal, so that it holds nothing back any more.
    ///
    /// # Errors
    /// [`Error::Claimed`] while it is being read.
    pub fn forget(self: &Arc<Self>, subscription: &str, journal: &str) -> Result<()> {
        let cursor = self.claim(subscription, journal)?;
        cursor.word(AT_USED).store(0, Ordering::SeqCst);
        Ok(())
    }

    /// What is acknowledged by now. Whatever was said because of it was said before.
    pub(crate) fn take_down(&self) -> Taken {
        let mut inner = self.lock();
        inner.renewed.clear();
        let position = |slot| {
            let (map, start) = inner.slot(slot);
            let used = map.word(start + AT_USED).load(Ordering::Relaxed) == USED;
            used.then(|| read_position(|at| map.word(start + at))).flatten()
        };
        (0..inner.chunks.len() * CHUNK_SLOTS).filter_map(|slot| Some((slot, position(slot)?))).collect()
    }

    /// Notes what was taken down, now that all that was said before is durable, and makes it durable.
    pub(crate) fn sync(&self, taken: &Taken) -> Result<()> {
        let inner = self.lock();
        for (slot, position) in taken.iter().filter(|(slot, _)| !inner.renewed.contains(slot)) {
            let (map, start) = inner.slot(*slot);
            let word = |at| map.word(start + at);
            if read_note(word, position.journal).as_ref() != Some(position) {
                note(word, position);
            }
        }
        drop(inner);
        disk::sync_file(&self.file, &self.path)
    }

    fn allocate(&self, inner: &mut Inner, names: &[u8; NAMES_BYTES]) -> Result<usize> {
        let slot = match find_free(inner) {
            Some(slot) => slot,
            None if inner.chunks.len() < CHUNKS_MAX => {
                self.grow(inner)?;
                (inner.chunks.len() - 1) * CHUNK_SLOTS
            }
            None => {
                let reason = format!("more than {} subscriptions", CHUNKS_MAX * CHUNK_SLOTS);
                return Err(Error::Full { path: self.path.clone(), reason });
            }
        };
        inner.renewed.insert(slot);
        let (map, start) = inner.slot(slot);
        for at in (AT_SEEN..SLOT_BYTES).step_by(8) {
            map.word(start + at).store(0, Ordering::Relaxed);
        }
        for (index, word) in words(names).enumerate() {
            map.word(start + AT_NAMES + index * 8).store(word, Ordering::Relaxed);
        }
        map.word(start + AT_USED).store(USED, Ordering::Release);
        fault::point("cursor.allocated");
        Ok(slot)
    }

    /// A table that was never finished holds nothing, whatever power loss has left in it.
    fn clear(&self) {
        let inner = self.lock();
        for slot in 0..inner.chunks.len() * CHUNK_SLOTS {
            let (map, start) = inner.slot(slot);
            map.word(start + AT_USED).store(0, Ordering::Relaxed);
        }
    }

    /// Another boot: nothing but what was noted is founded on records that are durable.
    fn go_back_to_notes(&self) {
        let inner = self.lock();
        for slot in 0..inner.chunks.len() * CHUNK_SLOTS {
            let (map, start) = inner.slot(slot);
            let word = |at| map.word(start + at);
            let noted = read_founded(word);
            word(AT_SELECTOR).store(0, Ordering::Relaxed);
            if let Some(position) = noted {
                store(word, &position);
            }
        }
    }

    fn grow(&self, inner: &mut Inner) -> Result<()> {
        let end = HEADER_BYTES + (inner.chunks.len() + 1) * CHUNK_BYTES;
        extend(&self.file, end as u64, &self.path)?;
        let map = WriteMap::chunk(&self.file, (end - CHUNK_BYTES) as u64, CHUNK_BYTES, &self.path)?;
        inner.chunks.push(Arc::new(map));
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cursors {
    /// A clean end leaves everything noted, also if the writer goes on.
    fn drop(&mut self) {
        match self.shared.sync_last(self) {
            // Said when it happened.
            Ok(_) | Err(Error::Poisoned { .. }) => {}
            Err(error) => tracing::error!(%error, "could not sync the cursors at their end"),
        }
    }
}

impl Inner {
    /// Where a slot lies.
    fn slot(&self, slot: usize) -> (&WriteMap, usize) {
        (&self.chunks[slot / CHUNK_SLOTS], slot % CHUNK_SLOTS * SLOT_BYTES)
    }
}

/// One subscription's place in one journal, moved by its only reader.
#[derive(Debug)]
pub struct Cursor {
    table: Arc<Cursors>,
    map: Arc<WriteMap>,
    start: usize,
    slot: usize,
}

impl Cursor {
    /// The acknowledged position; `None` for a subscription that has not acknowledged yet.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        read_position(|at| self.word(at))
    }

    /// Acknowledges everything before `position.next`. Survives SIGKILL from here on; power loss
    /// after the next sync. After power loss it is never ahead of what was said before it was stored.
    ///
    /// By one thread at a time: of two positions that are stored at once neither may last.
    #[inline]
    pub fn store(&self, position: Position) {
        store(|at| self.word(at), &position);
        self.table.shared.mark_dirty();
    }

    /// Notes that the record at `offset` is being delivered, and returns the how-many-th time in a row
    /// that is: 1 unless a process died or was stopped over it.
    #[inline]
    pub fn attempt(&self, offset: Offset) -> u16 {
        let word = self.word(AT_TRYING);
        let last = word.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
        let attempt = if last >> TRIES_BITS == offset.0 { (last as u16).saturating_add(1) } else { 1 };
        word.store(offset.0 << TRIES_BITS | u64::from(attempt), Ordering::Relaxed);
        attempt
    }

    /// Takes [`Self::attempt`] back: that the record could not be dealt with was not its fault.
    pub fn forgive(&self, offset: Offset) {
        let word = self.word(AT_TRYING);
        let last = word.load(Ordering::Relaxed);
        if last >> TRIES_BITS == offset.0 && last & ((1 << TRIES_BITS) - 1) > 0 {
            // If it fails, another record is being tried by now: nothing to take back.
            let _ = word.compare_exchange(last, last - 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Renews the lease: this subscription still holds back what it has not acknowledged.
    pub fn touch(&self) {
        self.word(AT_SEEN).store(wall_clock_ns(), Ordering::Relaxed);
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        self.map.word(self.start + at)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.touch();
        self.table.lock().claimed.remove(&self.slot);
    }
}

/// Reads the table of an instance, whoever holds it. A missing table has no cursors; slots that make no
/// sense are left out.
///
/// # Errors
/// I/O errors, [`Error::ForeignVersion`], [`Error::Corrupt`] for a file that is no table.
pub fn read_cursors(instance: &Path) -> Result<Vec<CursorInfo>> {
    let path = layout::cursors_path(instance);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("open", &path),
    };
    let length = usize::try_from(file.metadata().at("inspect", &path)?.len()).unwrap_or(0);
    check_header(&file, length, &path)?;
    let boot = boot_of(&file, &path)?;
    let same_boot = boot == 0 || boot == boot_id();
    if length < HEADER_BYTES + SLOT_BYTES {
        return Ok(Vec::new());
    }
    let map = ReadMap::new(&file, length, &path)?;
    let slots = ((length - HEADER_BYTES) / SLOT_BYTES).min(CHUNKS_MAX * CHUNK_SLOTS);
    Ok((0..slots).filter_map(|slot| read_slot(&map, HEADER_BYTES + slot * SLOT_BYTES, same_boot)).collect())
}

fn read_slot(map: &ReadMap, start: usize, same_boot: bool) -> Option<CursorInfo> {
    if map.word(start + AT_USED).load(Ordering::Acquire) != USED {
        return None;
    }
    let word = |at| map.word(start + at);
    let (subscription, journal) = read_names(word)?;
    let position = if same_boot { read_position(word)? } else { read_founded(word)? };
    let trying = map.word(start + AT_TRYING).load(Ordering::Relaxed);
    Some(CursorInfo {
        subscription,
        journal,
        position,
        seen_ns: map.word(start + AT_SEEN).load(Ordering::Relaxed),
        // The low bits count: 0 for a delivery that was taken back, or for none.
        trying: (trying & ((1 << TRIES_BITS) - 1) > 0).then_some(Offset(trying >> TRIES_BITS)),
    })
}

/// Stores a position.
#[inline]
pub(crate) fn store<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W, position: &Position) {
    let selector = word(AT_SELECTOR).load(Ordering::Relaxed).wrapping_add(1).max(1);
    let copy = AT_COPIES[usize::from(selector & 1 == 1)];
    for (index, value) in image(position, selector).into_iter().enumerate() {
        word(copy + index * 8).store(value, Ordering::Relaxed);
    }
    fault::point("cursor.copied");
    // Pairs with the acquire load in `read_position`: whoever sees the selector sees the copy. Sequentially
    // consistent, so that it is not missed by a sync that clears the dirty flag just now.
    word(AT_SELECTOR).store(selector, Ordering::SeqCst);
    fault::point("cursor.selected");
}

/// Notes a position that is founded on durable records.
fn note<'a>(word: impl Fn(usize) -> &'a AtomicU64, position: &Position) {
    let selector = word(AT_NOTE_SELECTOR).load(Ordering::Relaxed).wrapping_add(1).max(1);
    let at = AT_NOTES[usize::from(selector & 1 == 1)];
    for (index, value) in short_image(position, selector).into_iter().enumerate() {
        word(at + index * 8).store(value, Ordering::Release);
    }
    word(AT_NOTE_SELECTOR).store(selector, Ordering::Release);
}

/// The newest intact note of a position in the journal of that identity.
fn read_note<'a>(word: impl Fn(usize) -> &'a AtomicU64, journal: u64) -> Option<Position> {
    let selector = word(AT_NOTE_SELECTOR).load(Ordering::Acquire);
    // The newest may be torn.
    [selector, selector.wrapping_sub(1)].into_iter().filter(|selector| *selector > 0).find_map(|selector| {
        let at = AT_NOTES[usize::from(selector & 1 == 1)];
        let found: [u64; 2] = std::array::from_fn(|index| word(at + index * 8).load(Ordering::Acquire));
        let position = position_of([found[0] >> 8, found[1], journal]);
        (short_image(&position, selector) == found).then_some(position)
    })
}

/// The position of a slot after another boot.
///
/// Either copy may be torn, but says in a word of its own which journal it is. The word of the second one, which is
/// stored first, lies in the same sector as the notes.
fn read_founded<'a>(word: impl Fn(usize) -> &'a AtomicU64) -> Option<Position> {
    let [first, second] = AT_COPIES;
    [second, first].into_iter().find_map(|copy| {
        let journal = word(copy + AT_JOURNAL).load(Ordering::Acquire);
        read_note(&word, journal)
    })
}

fn position_of([next, last, journal]: [u64; 3]) -> Position {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    let (epoch, checksum) = (Epoch((last >> 32) as u32), last as u32);
    Position { next: Offset(next), epoch, checksum, journal }
}

/// The newest intact copy of a position.
pub(crate) fn read_position<'a, W: Word + 'a>(word: impl Fn(usize) -> &'a W) -> Option<Position> {
    // The owner may overwrite the copy we read, at most once for each of its acknowledgements. Under loom each
    // further look multiplies what there is to try.
    const LOOKS: usize = if cfg!(loom) { 2 } else { 16 };
    for _ in 0..LOOKS {
        let selector = word(AT_SELECTOR).load(Ordering::Acquire);
        if selector == 0 {
            return None;
        }
        // After power loss the newest copy may be torn: the one before it then still holds.
        for selector in [selector, selector - 1] {
            let copy = AT_COPIES[usize::from(selector & 1 == 1)];
            let found: [u64; 4] = std::array::from_fn(|index| word(copy + index * 8).load(Ordering::Relaxed));
            let position = position_of([found[0], found[1], found[2]]);
            if image(&position, selector) == found {
                return Some(position);
            }
        }
    }
    None
}

/// A position as stored, with a check word over it and its selector.
#[inline]
fn image(position: &Position, selector: u64) -> [u64; 4] {
    let (next, journal) = (position.next.0, position.journal);
    let last = u64::from(position.epoch.0) << 32 | u64::from(position.checksum);
    // Each step is a bijection of the state, so one changed word always shows.
    let check = [next, last, journal, selector]
        .into_iter()
        .fold(MAGIC, |state, word| (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    [next, last, journal, check]
}

/// The same in two words: the journal's identity goes into the check alone.
fn short_image(position: &Position, selector: u64) -> [u64; 2] {
    let [next, last, _, check] = image(position, selector);
    [next << 8 | check & 0xff, last]
}

/// By what a reader takes for its names: bytes behind them do not count, or a damaged one would make the owner
/// forget what readers still see.
fn find(chunks: &[Arc<WriteMap>], subscription: &str, journal: &str) -> Option<usize> {
    (0..chunks.len() * CHUNK_SLOTS).find(|slot| {
        let (map, start) = (&chunks[slot / CHUNK_SLOTS], slot % CHUNK_SLOTS * SLOT_BYTES);
        map.word(start + AT_USED).load(Ordering::Relaxed) == USED
            && read_names(|at| map.word(start + at))
                .is_some_and(|names| (names.0.as_str(), names.1.as_str()) == (subscription, journal))
    })
}

/// The names of a slot, if they make sense.
fn read_names<'a>(word: impl Fn(usize) -> &'a AtomicU64) -> Option<(String, String)> {
    let mut names = [0; NAMES_BYTES.next_multiple_of(8)];
    for (index, chunk) in names.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        chunk.copy_from_slice(&word(AT_NAMES + index * 8).load(Ordering::Relaxed).to_le_bytes());
    }
    decode_names(&names)
}

fn find_free(inner: &Inner) -> Option<usize> {
    (0..inner.chunks.len() * CHUNK_SLOTS).find(|slot| {
        let (map, start) = (&inner.chunks[slot / CHUNK_SLOTS], slot % CHUNK_SLOTS * SLOT_BYTES);
        map.word(start + AT_USED).load(Ordering::Relaxed) != USED && !inner.claimed.contains(slot)
    })
}

fn encode_names(subscription: &str, journal: &str) -> [u8; NAMES_BYTES] {
    let mut names = [0; NAMES_BYTES];
    let (fields, _) = names.as_chunks_mut::<{ NAME_BYTES_MAX + 1 }>();
    for (name, field) in [subscription, journal].into_iter().zip(fields) {
        field[0] = u8::try_from(name.len()).expect("names were checked");
        field[1..=name.len()].copy_from_slice(name.as_bytes());
    }
    names
}

fn decode_names(names: &[u8]) -> Option<(String, String)> {
    let name = |field: &[u8]| {
        let bytes = field.get(1..=usize::from(field[0]))?;
        String::from_utf8(bytes.to_vec()).ok().filter(|name| !name.is_empty())
    };
    Some((name(&names[..NAME_BYTES_MAX + 1])?, name(&names[NAME_BYTES_MAX + 1..NAMES_BYTES])?))
}

fn words(names: &[u8; NAMES_BYTES]) -> impl Iterator<Item = u64> {
    names.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

/// Whether there is a table.
fn check_header(file: &File, length: usize, path: &Path) -> Result<bool> {
    let mut header = [0; 16];
    if length >= HEADER_BYTES {
        file.read_exact_at(&mut header, 0).at("read", path)?;
    }
    if header == [0; 16] {
        return Ok(false);
    }
    let magic = u64::from_le_bytes(std::array::from_fn(|i| header[i]));
    let version = u32::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
    if magic != MAGIC {
        let reason = "not a cursor table: restore it, or move it away to read every source anew".to_owned();
        return Err(Error::Corrupt { path: path.to_owned(), offset: Offset::ZERO, reason });
    }
    if version != FORMAT_VERSION {
        return Err(Error::ForeignVersion {
            path: path.to_owned(),
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    Ok(true)
}

fn boot_of(file: &File, path: &Path) -> Result<u128> {
    let mut boot = [0; 16];
    match file.read_exact_at(&mut boot, AT_BOOT) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error).at("read", path),
        _ => Ok(u128::from_le_bytes(boot)),
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Error::BadName { what, name: name.to_owned(), limit: NAME_BYTES_MAX });
    }
    Ok(())
}

/// Nanoseconds since the Unix epoch; 0 for a clock that is set before it.
#[inline]
pub(crate) fn wall_clock_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let now = seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default();
    now.saturating_add_signed(fault::clock_error_ns())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn damage_behind_a_name_does_not_make_the_owner_forget() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("listener");
        let writer = Writer::open(&instance, &Options::default()).unwrap();
        let cursors = Cursors::open(&instance, &writer).unwrap();
        cursors.claim("s", "j").unwrap().store(Position::at(Offset(5)));
        cursors.file.write_all_at(&[1], (HEADER_BYTES + AT_NAMES + 50) as u64).unwrap();
        assert_eq!(cursors.claim("s", "j").unwrap().position(), Some(Position::at(Offset(5))));
        assert_eq!(read_cursors(&instance).unwrap().len(), 1);
    }
}
