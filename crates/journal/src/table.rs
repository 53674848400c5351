//! The file of a cursor table: its header, and reading it from outside.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::disk;
use crate::error::{At, Error, Result};
use crate::layout;
use crate::marks::boot_id;
use crate::memory::Words;
use crate::notes::read_founded;
use crate::segment::FORMAT_VERSION;
use crate::slot::{
    AT_READ_IN, AT_SEEN, AT_SELECTOR, AT_TRYING, AT_USED, BYTES as SLOT_BYTES, LOOKS, MAGIC, USED, read_in,
    read_names, read_position, tried,
};
use crate::snapshot::Snapshot;
use crate::types::{Epoch, Offset, Position};

pub(crate) const HEADER_BYTES: usize = 64;
/// A table grows by this many slots.
pub(crate) const CHUNK_SLOTS: usize = 64;
pub(crate) const CHUNK_BYTES: usize = CHUNK_SLOTS * SLOT_BYTES;
/// More subscriptions than this are a mistake of the caller.
pub(crate) const CHUNKS_MAX: usize = 64;

/// Of a table that is as large as it may get.
const BYTES_MAX: usize = HEADER_BYTES + CHUNKS_MAX * CHUNK_BYTES;

/// Within the header: the boot in which the table was last opened; 0 in tables that are older than notes.
pub(crate) const AT_BOOT: u64 = 16;
const AT_BOOT_WORDS: [usize; 2] = [16, 24];
/// Within the header: not 0 once the process that holds the table was told to stop.
pub(crate) const AT_STOPPED: u64 = 32;

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
    /// The epoch of the owner's journal in which it is being read; 0 if nobody reads it. Of a living owner that is at a
    /// later epoch nobody does, either.
    pub read_in: Epoch,
    /// The last record whose delivery was counted; not acknowledged yet unless it lies before `position`.
    pub trying: Option<Offset>,
}

/// Reads the table of an instance, whoever holds it. A missing table has no cursors; slots that make no
/// sense are left out.
///
/// # Errors
/// I/O errors, [`Error::ForeignVersion`], [`Error::Corrupt`] for a file that is no table.
pub fn read_cursors(instance: &Path) -> Result<Vec<CursorInfo>> {
    let Some(table) = Table::open(instance)? else { return Ok(Vec::new()) };
    table.slots().filter_map(|slot| slot.map(Slot::info).transpose()).collect()
}

/// The slots of a table that subscriptions have a place in, or had one that cannot be read.
///
/// # Errors
/// Those of [`read_cursors`].
pub(crate) fn read_slots(instance: &Path) -> Result<Vec<Slot>> {
    let Some(table) = Table::open(instance)? else { return Ok(Vec::new()) };
    table.slots().collect()
}

/// A slot that is in use.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Counted from the beginning of the table.
    pub(crate) number: usize,
    /// Subscription and journal; `None` if they make no sense.
    pub(crate) names: Option<(String, String)>,
    /// `None` if it is damaged, or was never noted before the power was lost.
    pub(crate) position: Option<Position>,
    pub(crate) seen_ns: u64,
    pub(crate) read_in: Epoch,
    trying: Option<Offset>,
}

impl Slot {
    fn info(self) -> Option<CursorInfo> {
        let Self { number: _, names, position, seen_ns, read_in, trying } = self;
        let (subscription, journal) = names?;
        Some(CursorInfo { subscription, journal, position: position?, seen_ns, read_in, trying })
    }
}

/// A table, read by anybody.
struct Table {
    file: File,
    path: PathBuf,
    /// All of it, read twice.
    looks: [Snapshot; 2],
    slots: usize,
    same_boot: bool,
}

impl Table {
    fn open(instance: &Path) -> Result<Option<Self>> {
        let path = layout::cursors_path(instance);
        let file = match disk::open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("open", &path),
        };
        // How large it is says its owner, who may be anybody.
        let length = usize::try_from(file.metadata().at("inspect", &path)?.len()).unwrap_or(BYTES_MAX);
        let look = || Snapshot::read(&file, &path, 0, length.min(BYTES_MAX)).at("read", &path);
        let looks = [look()?, look()?];
        let bytes = looks.iter().map(Snapshot::len).min().unwrap_or(0);
        if bytes >= HEADER_BYTES {
            let word = |at| looks[1].word(at).load(Ordering::Relaxed);
            check_start([word(0), word(8)], &path)?;
        }
        if bytes < HEADER_BYTES + SLOT_BYTES {
            return Ok(None);
        }
        let boot = AT_BOOT_WORDS.map(|at| u128::from(looks[1].word(at).load(Ordering::Relaxed)));
        let boot = boot[0] | boot[1] << 64;
        let same_boot = boot == 0 || boot == boot_id();
        let slots = (bytes - HEADER_BYTES) / SLOT_BYTES;
        Ok(Some(Self { file, path, looks, slots, same_boot }))
    }

    fn slots(&self) -> impl Iterator<Item = Result<Slot>> {
        (0..self.slots).filter_map(|number| self.slot(number).transpose())
    }

    /// `None` for one that holds nothing.
    fn slot(&self, number: usize) -> Result<Option<Slot>> {
        let start = HEADER_BYTES + number * SLOT_BYTES;
        let [last, now] = &self.looks;
        if let Looked::Still(slot) = self.look(number, (last, start), (now, start)) {
            return Ok(slot);
        }
        // Its owner moves it just now, or gives it away.
        let look = || Snapshot::read(&self.file, &self.path, start, SLOT_BYTES).at("read", &self.path);
        let mut last = look()?;
        for _ in 0..LOOKS {
            let now = look()?;
            if now.len() < SLOT_BYTES || last.len() < SLOT_BYTES {
                return Ok(None);
            }
            if let Looked::Still(slot) = self.look(number, (&last, 0), (&now, 0)) {
                return Ok(slot);
            }
            last = now;
        }
        Ok(self.decode(number, (&last, 0)))
    }

    /// What a slot holds, by one look at it and the next one.
    fn look(&self, number: usize, last: Place<'_>, now: Place<'_>) -> Looked {
        let word = |(words, start): Place<'_>, at| words.word(start + at).load(Ordering::Relaxed);
        // As long as it is the same subscription's, a position that checks is that one's.
        if (0..=AT_READ_IN).step_by(8).any(|at| word(last, at) != word(now, at)) {
            return Looked::InMotion;
        }
        match self.decode(number, last) {
            Some(Slot { position: None, .. }) => Looked::InMotion,
            slot => Looked::Still(slot),
        }
    }

    fn decode(&self, number: usize, (words, start): Place<'_>) -> Option<Slot> {
        let word = |at| words.word(start + at);
        // A subscription that has no place yet has nothing to lose.
        if word(AT_USED).load(Ordering::Acquire) != USED || word(AT_SELECTOR).load(Ordering::Acquire) == 0 {
            return None;
        }
        let (trying, tries) = tried(word(AT_TRYING).load(Ordering::Relaxed));
        Some(Slot {
            number,
            names: read_names(word),
            position: if self.same_boot { read_position(word) } else { read_founded(word) },
            seen_ns: word(AT_SEEN).load(Ordering::Relaxed),
            read_in: read_in(word),
            trying: (tries > 0).then_some(trying),
        })
    }
}

/// What was read of a file, and where in that a slot starts.
type Place<'a> = (&'a Snapshot, usize);

enum Looked {
    Still(Option<Slot>),
    /// It was changed meanwhile, or is damaged.
    InMotion,
}

/// Whether there is a table.
pub(crate) fn check_header(file: &File, length: usize, path: &Path) -> Result<bool> {
    let mut header = [0; 16];
    if length >= HEADER_BYTES {
        file.read_exact_at(&mut header, 0).at("read", path)?;
    }
    let (words, _) = header.as_chunks();
    check_start([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])], path)
}

/// The same by the first two words of the file.
fn check_start(words: [u64; 2], path: &Path) -> Result<bool> {
    if words == [0; 2] {
        return Ok(false);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the word")]
    let (magic, version) = (words[0], words[1] as u32);
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

/// Whether whoever held the table last was told to stop.
pub(crate) fn was_stopped(file: &File, path: &Path) -> Result<bool> {
    let mut stopped = [0; 8];
    match file.read_exact_at(&mut stopped, AT_STOPPED) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error).at("read", path),
        _ => Ok(stopped != [0; 8]),
    }
}

/// The boot in which the table was last opened.
pub(crate) fn boot_of(file: &File, path: &Path) -> Result<u128> {
    let mut boot = [0; 16];
    match file.read_exact_at(&mut boot, AT_BOOT) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error).at("read", path),
        _ => Ok(u128::from_le_bytes(boot)),
    }
}
