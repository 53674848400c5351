//! Cursors: how far each subscription of an instance has acknowledged, per journal.
//!
//! A mapped table with one slot per (subscription, journal). A slot holds two copies of the
//! position and a selector, so an update is a handful of stores, and whoever reads the table (the
//! publisher's retention, the command line) sees the old position or the new one.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{At, Error, Result};
use crate::layout;
use crate::map::{ReadMap, WriteMap};
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
}

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
        let length = usize::try_from(file.metadata().at("inspect", &path)?.len()).unwrap_or(usize::MAX);
        check_header(&file, length, &path)?;
        let chunks = length.saturating_sub(HEADER_BYTES).div_ceil(CHUNK_BYTES).clamp(1, CHUNKS_MAX);
        let shared = Arc::clone(writer.shared());
        let cursors = Self { file, path, shared, inner: Mutex::default() };
        {
            let mut inner = cursors.lock();
            for _ in 0..chunks {
                cursors.grow(&mut inner)?;
            }
        }
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
        let slot = match find(&inner.chunks, &names) {
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

    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fdatasync(&self.file).at("sync", &self.path)
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
        let map = &inner.chunks[slot / CHUNK_SLOTS];
        let start = slot % CHUNK_SLOTS * SLOT_BYTES;
        for at in (AT_SEEN..SLOT_BYTES).step_by(8) {
            map.word(start + at).store(0, Ordering::Relaxed);
        }
        for (index, word) in words(names).enumerate() {
            map.word(start + AT_NAMES + index * 8).store(word, Ordering::Relaxed);
        }
        map.word(start + AT_USED).store(USED, Ordering::Release);
        Ok(slot)
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
    /// after the next sync.
    ///
    /// By one thread at a time: of two positions that are stored at once neither may last.
    #[inline]
    pub fn store(&self, position: Position) {
        let selector = self.word(AT_SELECTOR).load(Ordering::Relaxed).wrapping_add(1).max(1);
        let copy = AT_COPIES[usize::from(selector & 1 == 1)];
        let image = image(&position, selector);
        for (index, word) in image.into_iter().enumerate() {
            self.word(copy + index * 8).store(word, Ordering::Relaxed);
        }
        // Pairs with the acquire load in `read_position`: whoever sees the selector sees the copy. Sequentially
        // consistent, so that it is not missed by a sync that clears the dirty flag just now.
        self.word(AT_SELECTOR).store(selector, Ordering::SeqCst);
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
    if length < HEADER_BYTES + SLOT_BYTES {
        return Ok(Vec::new());
    }
    let map = ReadMap::new(&file, length, &path)?;
    let slots = ((length - HEADER_BYTES) / SLOT_BYTES).min(CHUNKS_MAX * CHUNK_SLOTS);
    Ok((0..slots).filter_map(|slot| read_slot(&map, HEADER_BYTES + slot * SLOT_BYTES)).collect())
}

fn read_slot(map: &ReadMap, start: usize) -> Option<CursorInfo> {
    if map.word(start + AT_USED).load(Ordering::Acquire) != USED {
        return None;
    }
    let mut names = [0; NAMES_BYTES.next_multiple_of(8)];
    for (index, chunk) in names.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        chunk.copy_from_slice(&map.word(start + AT_NAMES + index * 8).load(Ordering::Relaxed).to_le_bytes());
    }
    let (subscription, journal) = decode_names(&names)?;
    let position = read_position(|at| map.word(start + at))?;
    Some(CursorInfo {
        subscription,
        journal,
        position,
        seen_ns: map.word(start + AT_SEEN).load(Ordering::Relaxed),
    })
}

/// The newest intact copy of a position.
fn read_position<'a>(word: impl Fn(usize) -> &'a AtomicU64) -> Option<Position> {
    // The owner may overwrite the copy we read, at most once for each of its acknowledgements.
    for _ in 0..16 {
        let selector = word(AT_SELECTOR).load(Ordering::Acquire);
        if selector == 0 {
            return None;
        }
        // After power loss the newest copy may be torn: the one before it then still holds.
        for selector in [selector, selector - 1] {
            let copy = AT_COPIES[usize::from(selector & 1 == 1)];
            let found: [u64; 4] = std::array::from_fn(|index| word(copy + index * 8).load(Ordering::Relaxed));
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
            let position = Position {
                next: Offset(found[0]),
                epoch: Epoch((found[1] >> 32) as u32),
                checksum: found[1] as u32,
                journal: found[2],
            };
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

fn find(chunks: &[Arc<WriteMap>], names: &[u8; NAMES_BYTES]) -> Option<usize> {
    (0..chunks.len() * CHUNK_SLOTS).find(|slot| {
        let (map, start) = (&chunks[slot / CHUNK_SLOTS], slot % CHUNK_SLOTS * SLOT_BYTES);
        map.word(start + AT_USED).load(Ordering::Relaxed) == USED
            && words(names)
                .enumerate()
                .all(|(index, word)| map.word(start + AT_NAMES + index * 8).load(Ordering::Relaxed) == word)
    })
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

fn check_header(file: &File, length: usize, path: &Path) -> Result<()> {
    let mut header = [0; 16];
    if length >= HEADER_BYTES {
        file.read_exact_at(&mut header, 0).at("read", path)?;
    }
    if header == [0; 16] {
        return Ok(());
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
    Ok(())
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
    seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default()
}
