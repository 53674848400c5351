//! Going from record to record through one mapped segment.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{FlockOperation, flock};

use crate::commit::look;
use crate::disk;
use crate::error::{At, Error, Result};
use crate::fault;
use crate::map::ReadMap;
use crate::ofd;
use crate::options::TAIL_BYTES;
use crate::record::{self, ALIGN, Decoded, Head, Kind, Place};
use crate::segment::{Found, HEADER_BYTES, Header};
use crate::types::{Epoch, Offset};

/// Bytes whose checksums are tried at most in the search for the record after a damaged place.
const SEARCH_BYTES_MAX: usize = 1 << 30;

/// So much is shown beyond what is needed.
const AHEAD_BYTES: usize = 1 << 20;

/// A segment mapped for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    map: ReadMap,
    /// Held for its lock, and let go of after the mapping: see [`hold`].
    file: File,
    path: PathBuf,
    pub(crate) header: Header,
    seed: u32,
    /// End of the bytes that may hold records.
    end: usize,
    /// The disk refuses some of them, which are zeros here.
    refused: bool,
    /// Number of the file in its file system.
    inode: u64,
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record whose checksum holds.
    Record(Decoded<'a>),
    /// Nothing was committed here, or the segment's end.
    Empty,
    /// Something that no writer wrote here.
    Bad(&'static str),
}

impl Segment {
    /// Maps a segment and checks its header.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::ForeignVersion`], I/O errors.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = disk::open_to_read(path).at("open", path)?;
        let metadata = file.metadata().at("inspect", path)?;
        hold(&file, path, metadata.ino())?;
        let length = metadata.len();
        if length < HEADER_BYTES as u64 {
            Header::decode(&[], path)?;
        }
        let header = Header::decode(&read_header(&file, path)?, path)?;
        if crate::segment::base_in_name(path).is_some_and(|base| base != header.base) {
            let reason = format!("the header begins at {}, which the file's name does not say", header.base);
            return Err(Error::Corrupt { path: path.to_owned(), offset: header.base, reason });
        }
        let end = usize::try_from(length.min(header.segment_bytes)).unwrap_or(usize::MAX);
        let map = ReadMap::hidden(&file, end, path)?;
        let (seed, inode, path) = (header.seed(), metadata.ino(), path.to_owned());
        Ok(Self { map, file, path, header, seed, end, refused: false, inode })
    }

    /// Opens a segment of which every byte is to be looked at.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub(crate) fn open_whole(path: &Path) -> Result<Self> {
        let mut segment = Self::open(path)?;
        segment.show_all()?;
        Ok(segment)
    }

    /// Makes certain that the record at `at` can be looked at, whole; what was not shown before seems empty.
    ///
    /// # Errors
    /// I/O errors. A block that the disk cannot read is none: it is as if zeros had been written there.
    pub(crate) fn show(&mut self, at: usize) -> Result<()> {
        loop {
            let shown = self.map.shown();
            let length = if at + 8 <= shown { length_at(&self.map, at) } else { 8 };
            let wanted = at.saturating_add(length).min(self.end);
            if wanted <= shown {
                return Ok(());
            }
            self.show_to(wanted + AHEAD_BYTES)?;
        }
    }

    /// Makes certain that everything can be looked at.
    ///
    /// # Errors
    /// Those of [`Self::show`].
    pub(crate) fn show_all(&mut self) -> Result<()> {
        if self.map.shown() < self.end { self.show_to(self.end) } else { Ok(()) }
    }

    #[cold]
    fn show_to(&mut self, end: usize) -> Result<()> {
        self.refused |= self.map.show(&self.file, end, &self.path)?;
        Ok(())
    }

    /// Whether the disk refuses something of what was shown.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused
    }

    #[inline]
    pub(crate) fn at(&self, at: usize) -> Step<'_> {
        look(&self.map, self.map.shown(), Place { seed: self.seed, at })
    }

    /// Of what was shown, the next place after `at`, where record `next` should be, at which a whole record lies, and that record's
    /// offset.
    ///
    /// A record's checksum depends on its place and journal, so no payload can pose as one. One that states an offset
    /// for which there is no room in between is none all the same. The work is bounded, whatever the bytes say: at most
    /// [`SEARCH_BYTES_MAX`] are summed.
    pub(crate) fn find_record(&self, at: usize, next: Offset) -> Option<(usize, Offset)> {
        let (damaged, mut budget) = (at, SEARCH_BYTES_MAX);
        let end = self.map.shown();
        for at in (at + ALIGN..end.saturating_sub(record::HEADER_BYTES)).step_by(ALIGN) {
            let length = length_at(&self.map, at);
            if length < record::HEADER_BYTES || length > end - at {
                continue;
            }
            budget = budget.checked_sub(length)?;
            let Step::Record(decoded) = self.at(at) else { continue };
            let (offset, room) = (decoded.head.offset, (at - damaged) / record::HEADER_BYTES);
            if offset.0.saturating_sub(next.0) <= room as u64 {
                return Some((at, offset));
            }
        }
        None
    }

    /// Bytes of a record that [`Self::at`] has found whole.
    #[inline]
    pub(crate) fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.map.bytes()[range]
    }

    /// Whether the file at `path` is another one: a segment without events is replaced by its successor.
    pub(crate) fn is_replaced(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() != self.inode)
    }

    /// Whether somebody has cut the file, so that what is mapped behind its end gives no bytes any more.
    pub(crate) fn is_cut(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() < self.end as u64)
    }

    /// Whether a writer that goes on at `at` can still seal the segment: one that keeps to the format always can.
    pub(crate) fn has_room_at(&self, at: usize) -> bool {
        usize::try_from(self.header.segment_bytes).is_ok_and(|bytes| at <= bytes - TAIL_BYTES)
    }
}

/// The length that a word at `at` states, of a record or of what is none.
fn length_at(map: &ReadMap, at: usize) -> usize {
    usize::try_from(map.word(at).load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(0)
}

/// By a read: what the disk refuses to a mapping is a signal that kills.
fn read_header(file: &File, path: &Path) -> Result<[u8; HEADER_BYTES]> {
    let mut bytes = [0; HEADER_BYTES];
    match fault::read(path, 0..HEADER_BYTES).and_then(|()| file.read_exact_at(&mut bytes, 0)) {
        Ok(()) => Ok(bytes),
        Err(error) if disk::is_refused(&error) => {
            let offset = crate::segment::base_in_name(path).unwrap_or_default();
            let reason = format!("the disk cannot read its header: {error}");
            Err(Error::Corrupt { path: path.to_owned(), offset, reason })
        }
        Err(error) => Err(error).at("read", path),
    }
}

/// Keeps a segment's file from being used again while it is mapped: its bytes would change under the reader.
///
/// The kernel's lock goes with its holder, however that dies. The writer takes an exclusive one, which needs a descriptor
/// that may write, before it renames a dropped file, so whoever has the shared one, and still finds the file under its name,
/// has it for good.
fn hold(file: &File, path: &Path, inode: u64) -> Result<()> {
    let gone = || std::io::Error::new(std::io::ErrorKind::NotFound, "the segment was dropped just now");
    // For a writer of an earlier version. Others who may read can keep this one away, which therefore means nothing.
    let _ = flock(file, FlockOperation::NonBlockingLockShared);
    // Where there are no such locks, the writer gets none either.
    if ofd::share(file).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
        return Err(gone()).at("open", path);
    }
    let found = std::fs::metadata(path).at("open", path)?;
    if found.ino() == inode { Ok(()) } else { Err(gone()).at("open", path) }
}

/// The segment that follows another one.
///
/// A writer that takes a journal over begins a new segment if the last one is damaged, which is kept as it is: also what power
/// loss has torn, and left behind the place where the journal goes on.
#[derive(Debug)]
pub(crate) struct Successor<'a> {
    found: &'a Found,
    epoch: OnceCell<Option<Epoch>>,
}

impl<'a> Successor<'a> {
    pub(crate) const fn new(found: &'a Found) -> Self {
        Self { found, epoch: OnceCell::new() }
    }

    pub(crate) const fn base(&self) -> Offset {
        self.found.base
    }

    /// Whether something else was said in a later epoch where this event would be.
    pub(crate) fn replaces(&self, event: &Head) -> bool {
        event.offset >= self.found.base && event.kind == Kind::Event && self.is_newer_than(event.epoch)
    }

    fn is_newer_than(&self, epoch: Epoch) -> bool {
        let began = || Segment::open(&self.found.path).ok().map(|segment| segment.header.epoch);
        self.epoch.get_or_init(began).is_some_and(|began| began > epoch)
    }
}

/// The names that numbers in a segment's records stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    list: Vec<Arc<str>>,
}

impl Names {
    #[inline]
    pub(crate) fn get(&self, number: u16) -> Option<&Arc<str>> {
        self.list.get(usize::from(number).checked_sub(1)?)
    }

    pub(crate) fn list(&self) -> &[Arc<str>] {
        &self.list
    }

    fn declare(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let (number, name) = payload.split_first_chunk::<2>().ok_or("name declaration too short")?;
        if usize::from(u16::from_le_bytes(*number)) != self.list.len() + 1 {
            return Err("name declared out of turn");
        }
        self.list.push(std::str::from_utf8(name).map_err(|_| "name is not UTF-8")?.into());
        Ok(())
    }
}

/// What control records have said so far in a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) topics: Names,
    pub(crate) journals: Names,
}

impl Tables {
    /// Takes note of a control record; others are left alone.
    pub(crate) fn note(&mut self, decoded: &Decoded<'_>) -> Result<(), &'static str> {
        match decoded.head.kind {
            Kind::Topic => self.topics.declare(decoded.payload),
            Kind::Journal => self.journals.declare(decoded.payload),
            _ => Ok(()),
        }
    }

    /// Whether the names that an event's numbers stand for were declared. If one was damaged, nobody can say
    /// what the record is.
    #[inline]
    pub(crate) fn can_name(&self, topic: u16, cause_journal: u16) -> bool {
        let caused = cause_journal == 0 || self.journals.get(cause_journal).is_some();
        caused && self.topics.get(topic).is_some()
    }
}

/// The first offset of the next segment, as a seal states it.
pub(crate) fn sealed_at(decoded: &Decoded<'_>) -> Result<Offset, &'static str> {
    let bytes = decoded.payload.try_into().map_err(|_| "seal of a wrong size")?;
    Ok(Offset(u64::from_le_bytes(bytes)))
}
