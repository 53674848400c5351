//! Marks: how far a journal is committed, durable and trimmed, and who writes it.
//!
//! One page, mapped by the writer and read by everybody. Each mark is one aligned word that
//! carries its own check byte, so a reader sees the old mark or the new one, and a flipped bit shows.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::disk::{self, FILE_MODE};
use crate::error::{At, Error, Result};
use crate::map::{ReadMap, WriteMap};
use crate::memory::{Word, Words};
use crate::ofd;
use crate::segment::{FORMAT_VERSION, extend};
use crate::snapshot::Snapshot;
use crate::types::{Epoch, JournalId, Offset};

pub(crate) const BYTES: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"PROCMARK");
/// How often somebody looks at most who does not map the page.
const LOOKS: usize = 4;

// Words of the page. What the writer stores often has a cache line of its own.
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 8;
const AT_ID: [usize; 2] = [16, 24];
const AT_BOOT: [usize; 2] = [32, 40];
const AT_PID: usize = 48;
const AT_EPOCH: usize = 64;
const AT_COMMITTED: usize = 1024;
const AT_DURABLE: usize = 2048;
const AT_TRIMMED: usize = 3072;

/// A number below 2^56 with a check byte in one word.
#[inline]
pub(crate) const fn seal(value: u64) -> u64 {
    value << 8 | check(value)
}

#[inline]
const fn unseal(word: u64) -> Option<u64> {
    let value = word >> 8;
    if check(value) == word & 0xff { Some(value) } else { None }
}

/// The bytes of `value` folded into one: changes with every single bit. Not 0 for 0, so that a zeroed
/// page is no mark.
#[inline]
const fn check(value: u64) -> u64 {
    let folded = value ^ value >> 32;
    let folded = folded ^ folded >> 16;
    (folded ^ folded >> 8) & 0xff ^ 0xa5
}

/// A snapshot of the marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The journal's identity.
    pub journal: JournalId,
    /// The newest epoch.
    pub epoch: Epoch,
    /// Process id of the newest writer, which may be gone.
    pub pid: u32,
    /// End of what readers can see: safe from the death of processes.
    pub committed: Offset,
    /// End of what is safe from power loss.
    pub durable: Offset,
    /// Start of what is kept.
    pub trimmed: Offset,
    /// Whether the machine has been up since the newest epoch began. If not, records past
    /// `durable` may be torn until the owner has recovered them.
    pub same_boot: bool,
}

impl Marks {
    /// The end of what must be there: anything unreadable below it is damage, not a torn tail.
    #[must_use]
    pub fn trusted(&self) -> Offset {
        if self.same_boot { self.committed.max(self.durable) } else { self.durable }
    }
}

/// The writer's side.
#[derive(Debug)]
pub(crate) struct MarksWriter {
    map: WriteMap,
    file: File,
    path: PathBuf,
}

impl MarksWriter {
    /// Opens or creates the marks of the journal that this process has locked.
    ///
    /// Also returns what an earlier writer left, if it is intact.
    pub(crate) fn open(path: &Path) -> Result<(Self, Option<Marks>)> {
        let file = disk::open_own(path, FILE_MODE)?;
        // A second sign of life, on a file without which there is nothing to go on with.
        ofd::share(&file).at("lock", path)?;
        extend(&file, BYTES as u64, path)?;
        match disk::read_through(&file, path, 0..BYTES) {
            Err(error) if disk::is_refused(&error) => {
                tracing::error!(path = %path.display(), %error, "the disk cannot read the marks: they are made anew");
                file.write_all_at(&[0; BYTES], 0).at("write", path)?;
            }
            read => read.at("read", path)?,
        }
        let map = WriteMap::new(&file, BYTES, path)?;
        let left = read(&map, boot_id(), path)?;
        Ok((Self { map, file, path: path.to_owned() }, left))
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Begins an epoch: all marks at once, durable on return, so that no epoch is ever used twice. If they were not of this
    /// boot, they are none of it before [`Self::show`].
    pub(crate) fn begin(&self, marks: &Marks) -> Result<()> {
        begin(&self.map, marks, boot_id());
        self.sync()
    }

    /// Says that all that is committed may be read: of a journal that is recovered, and whose newest segment has its name.
    /// It need not be durable, for a boot ends before what it was is asked again.
    pub(crate) fn show(&self) {
        show(&self.map, boot_id());
    }

    /// Pairs with the latch and the dirty flag, see [`set_committed`].
    #[inline]
    pub(crate) fn commit(&self, end: Offset) {
        set_committed(&self.map, end);
    }

    pub(crate) fn set_durable(&self, end: Offset) {
        set_durable(&self.map, end);
    }

    pub(crate) fn set_trimmed(&self, start: Offset) {
        set_trimmed(&self.map, start);
    }

    pub(crate) fn committed(&self) -> Offset {
        own_committed(&self.map)
    }

    pub(crate) fn durable(&self) -> Offset {
        Offset(self.map.word(AT_DURABLE).load(Ordering::SeqCst) >> 8)
    }

    pub(crate) fn trimmed(&self) -> Offset {
        Offset(self.map.word(AT_TRIMMED).load(Ordering::Acquire) >> 8)
    }

    pub(crate) fn sync(&self) -> Result<()> {
        disk::sync_file(&self.file, &self.path)
    }
}

/// All marks, for whoever does not trust their writer not to cut them; `None` if no writer has begun an epoch, or they
/// are damaged.
///
/// # Errors
/// I/O errors and [`Error::ForeignVersion`].
pub(crate) fn look(path: &Path) -> Result<Option<Marks>> {
    let file = match disk::open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", path),
    };
    // A word may be torn that is stored while it is read.
    for _ in 0..LOOKS {
        let page = || Snapshot::read(&file, path, 0, BYTES).at("read", path);
        let (before, after) = (page()?, page()?);
        if before.len() < BYTES || after.len() < BYTES {
            return Ok(None);
        }
        let (before, after) = (read(&before, boot_id(), path)?, read(&after, boot_id(), path)?);
        if let (Some(before), Some(after)) = (before, after) {
            // Whoever saw before that the epoch began in this boot has what it began with, and not what an earlier boot
            // has left.
            return Ok(Some(Marks { same_boot: before.same_boot && after.same_boot, ..after }));
        }
    }
    Ok(None)
}

/// The readers' side.
#[derive(Debug)]
pub(crate) struct MarksReader {
    map: ReadMap,
    path: PathBuf,
    /// Which file it is that is mapped, whatever its name leads to by now.
    identity: (u64, u64),
}

/// Which file it is: of which file system, and its number there. No other file gets it while this one is mapped.
pub(crate) fn identity_of(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

impl MarksReader {
    /// Maps the marks; `None` while no writer has begun an epoch.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let file = match disk::open_to_read(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("open", path),
        };
        let found = file.metadata().at("inspect", path)?;
        if found.len() < BYTES as u64 {
            return Ok(None);
        }
        // What the disk refuses to a mapping is a signal that kills.
        disk::read_through(&file, path, 0..BYTES).at("read", path)?;
        let map = ReadMap::new(&file, BYTES, path)?;
        let reader = Self { map, path: path.to_owned(), identity: identity_of(&found) };
        Ok(reader.load()?.map(|_| reader))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// All marks; `None` if they are damaged or were never written.
    pub(crate) fn load(&self) -> Result<Option<Marks>> {
        read(&self.map, boot_id(), &self.path)
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        unseal(self.map.word(AT_EPOCH).load(Ordering::Acquire)).and_then(to_epoch)
    }

    #[inline]
    pub(crate) fn committed(&self) -> Option<Offset> {
        committed(&self.map)
    }
}

fn to_epoch(value: u64) -> Option<Epoch> {
    u32::try_from(value).ok().map(Epoch)
}

/// Stores the marks that an epoch begins with; those of this boot, if they say so.
pub(crate) fn begin<M: Words>(memory: &M, marks: &Marks, boot: u128) {
    let store = |at, value| memory.word(at).store(value, Ordering::Release);
    if !marks.same_boot {
        show(memory, 0);
    }
    // Before the magic: who dies in between leaves no marks, and not such of a version that nobody reads.
    store(AT_VERSION, u64::from(FORMAT_VERSION));
    store(AT_MAGIC, MAGIC);
    for (at, half) in AT_ID.into_iter().zip(halves(marks.journal.0)) {
        store(at, half);
    }
    store(AT_PID, u64::from(marks.pid));
    set_committed(memory, marks.committed);
    set_durable(memory, marks.durable);
    set_trimmed(memory, marks.trimmed);
    if marks.same_boot {
        show(memory, boot);
    }
    store(AT_EPOCH, seal(u64::from(marks.epoch.0)));
}

/// After the marks: this makes `committed` trusted, and what an earlier boot left there must not be.
pub(crate) fn show<M: Words>(memory: &M, boot: u128) {
    for (at, half) in AT_BOOT.into_iter().zip(halves(boot)) {
        memory.word(at).store(half, Ordering::Release);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
const fn halves(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// Sequentially consistent: pairs with the latch and the dirty flag, which a waiter sets before it
/// looks at this mark (Dekker's pattern), so neither side can miss the other.
#[inline]
pub(crate) fn set_committed<M: Words>(memory: &M, end: Offset) {
    memory.word(AT_COMMITTED).store(seal(end.0), Ordering::SeqCst);
}

pub(crate) fn set_durable<M: Words>(memory: &M, end: Offset) {
    memory.word(AT_DURABLE).store(seal(end.0), Ordering::SeqCst);
}

fn set_trimmed<M: Words>(memory: &M, start: Offset) {
    memory.word(AT_TRIMMED).store(seal(start.0), Ordering::Release);
}

/// The committed mark, for readers.
#[inline]
pub(crate) fn committed<M: Words>(memory: &M) -> Option<Offset> {
    unseal(memory.word(AT_COMMITTED).load(Ordering::Acquire)).map(Offset)
}

/// The committed mark, for the process that has stored it.
pub(crate) fn own_committed<M: Words>(memory: &M) -> Offset {
    Offset(memory.word(AT_COMMITTED).load(Ordering::SeqCst) >> 8)
}

/// All marks; `None` if they are damaged or were never written.
pub(crate) fn read<M: Words>(memory: &M, boot: u128, path: &Path) -> Result<Option<Marks>> {
    let word = |at| memory.word(at).load(Ordering::Acquire);
    if word(AT_MAGIC) != MAGIC {
        return Ok(None);
    }
    let version = word(AT_VERSION);
    if version != u64::from(FORMAT_VERSION) {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(Error::ForeignVersion { path: path.to_owned(), found, supported: FORMAT_VERSION });
    }
    let double = |at: [usize; 2]| u128::from(word(at[0])) | u128::from(word(at[1])) << 64;
    // Before the marks, which a new epoch stores before it: whoever sees that it began in this boot sees its marks,
    // and not what an earlier boot has left.
    let is_this_boot = || boot != 0 && double(AT_BOOT) == boot;
    let same_boot = is_this_boot();
    let marks = || {
        Some(Marks {
            journal: JournalId(double(AT_ID)),
            epoch: unseal(word(AT_EPOCH)).and_then(to_epoch)?,
            pid: u32::try_from(word(AT_PID)).ok()?,
            committed: Offset(unseal(word(AT_COMMITTED))?),
            durable: Offset(unseal(word(AT_DURABLE))?),
            trimmed: Offset(unseal(word(AT_TRIMMED))?),
            same_boot,
        })
    };
    let marks = marks();
    if !same_boot && is_this_boot() {
        // Meanwhile all was shown, and more may have been said: what is durable of that may not count for an earlier boot.
        return read(memory, boot, path);
    }
    Ok(marks)
}

/// The kernel's identity of this boot; 0 where there is none, which equals no boot.
pub(crate) fn boot_id() -> u128 {
    static BOOT: std::sync::OnceLock<u128> = std::sync::OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_in_a_mark_shows() {
        for value in [0, 1, 77, 1 << 40, (1 << 56) - 1] {
            assert_eq!(unseal(seal(value)), Some(value));
            for bit in 0..64 {
                assert_eq!(unseal(seal(value) ^ 1 << bit), None);
            }
        }
        assert_eq!(unseal(0), None);
    }
}
