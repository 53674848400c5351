//! Taking a journal over: where the writer goes on, and what it must know of the disk.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::declared::Declared;
use crate::disk;
use crate::error::{At, Error, Result};
use crate::fault;
use crate::layout;
use crate::map::WriteMap;
use crate::options::TAIL_BYTES;
use crate::prepare::{Limit, Prepared, Preparer};
use crate::presence::Presence;
use crate::record::Place;
use crate::recovery::{self, Recovered, State, Tail};
use crate::segment::{self, Found, HEADER_BYTES, Header};
use crate::shared::{Shared, Unsynced};
use crate::types::{Epoch, JournalId, Offset, Time};

/// So many segments of the last writer are left to the first sync; the others are synced before anything else.
const INHERITED_MAX: usize = 16;

/// What is needed to go on writing somewhere.
pub(crate) struct Takeover<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) preparer: &'a Preparer,
    pub(crate) journal: JournalId,
    pub(crate) next: Offset,
    pub(crate) epoch: Epoch,
}

/// Where the writer goes on.
pub(crate) struct Opened {
    pub(crate) map: WriteMap,
    pub(crate) place: Place,
    pub(crate) declared: Declared,
}

impl Opened {
    /// Nowhere: whatever is appended, a segment has to be begun before.
    fn nowhere(folder: &Path) -> Result<Self> {
        let map = WriteMap::of_no_file().at("map memory for", folder)?;
        let place = Place { seed: 0, at: map.len() };
        Ok(Self { map, place, declared: Declared::default() })
    }
}

/// A segment's file and names.
pub(crate) struct Named {
    pub(crate) file: Unsynced,
    /// Its name until readers may find it.
    temporary: Option<PathBuf>,
}

impl Named {
    /// Whether it has that name already, as the one has in which the last writer stopped.
    pub(crate) const fn is_named(&self) -> bool {
        self.temporary.is_none()
    }

    /// Gives a new segment the name under which readers find it.
    pub(crate) fn name(&mut self) -> Result<()> {
        let (Some(temporary), path) = (&self.temporary, &self.file.path) else { return Ok(()) };
        if path.exists() {
            // It replaces a segment without events, whose state must be safe in the new one before.
            disk::sync_file(&self.file.file, path)?;
        }
        disk::rename(temporary, path)?;
        self.temporary = None;
        Ok(())
    }
}

impl Takeover<'_> {
    /// A new segment with room for so many bytes of records, which begins at the next offset and is not yet named.
    pub(crate) fn begin(&self, bytes: usize, limit: Limit) -> Result<(Opened, Named)> {
        let Prepared { file, mut map, path: temporary } =
            self.preparer.take(HEADER_BYTES + bytes + TAIL_BYTES, limit)?;
        let header = Header {
            journal: self.journal,
            base: self.next,
            epoch: self.epoch,
            segment_bytes: map.len() as u64,
        };
        map.write(0, &header.encode());
        let file = Unsynced { file, path: segment::path(&self.shared.folder, self.next), new: true };
        let place = Place { seed: header.seed(), at: HEADER_BYTES };
        let opened = Opened { map, place, declared: Declared::default() };
        Ok((opened, Named { file, temporary: Some(temporary) }))
    }

    /// The same for a journal that has segments, none of which can be gone on in. A start must not fail for want of room: it
    /// would fail again and again, and whoever is to make room may be this process. So nothing is dropped for the new
    /// segment, whatever the byte limit; and where the disk has no room for it, the first record begins it.
    pub(crate) fn begin_if_there_is_room(&self, bytes: usize) -> Result<(Opened, Option<Named>)> {
        match self.begin(bytes, Limit::Later) {
            Ok((opened, segment)) => Ok((opened, Some(segment))),
            Err(error @ Error::Full { .. }) if !segment::list(&self.shared.folder)?.is_empty() => {
                tracing::error!(
                    %error,
                    "the newest segment cannot be gone on in, and there is no room for another one: nothing can be appended"
                );
                Ok((Opened::nowhere(&self.shared.folder)?, None))
            }
            Err(error) => Err(error),
        }
    }

    /// The segment in which the last writer stopped.
    pub(crate) fn go_on(&self, tail: Cut) -> Result<(Opened, Named)> {
        let Cut { file, header, tail: Tail { path, at, tables } } = tail;
        let map = WriteMap::new(&file, usize::try_from(header.segment_bytes).unwrap_or(usize::MAX), &path)?;
        let file = Unsynced { file: Arc::new(file), path, new: true };
        let place = Place { seed: header.seed(), at };
        let opened = Opened { map, place, declared: Declared::from_tables(&tables) };
        Ok((opened, Named { file, temporary: None }))
    }
}

/// The segment in which the last writer stopped, with everything behind its last record zeroed.
pub(crate) struct Cut {
    file: File,
    header: Header,
    pub(crate) tail: Tail,
}

impl Cut {
    /// Zeroes what is torn: before the marks of this boot are there, for they say that all that is committed may be read,
    /// and a batch may be torn whose first record is whole.
    ///
    /// `None` if the file is no more reserved, as one that was copied may be, and there is no room for that. Then it ends
    /// here, as that of a writer does that was killed before it sealed it.
    pub(crate) fn new(tail: Tail, presence: &Presence) -> Result<Option<Self>> {
        let path = &tail.path;
        let file = disk::reopen_own(path)?;
        // Once it is open: it may be that of a copy that was put back just now, in which other records lie there.
        presence.check()?;
        let mut start = [0; HEADER_BYTES];
        (&file).read_exact(&mut start).at("read", path)?;
        let header = Header::decode(&start, path)?;
        let cleared = clear(&file, tail.at as u64, header.segment_bytes, path);
        fault::point("takeover.cleared");
        match cleared {
            Ok(()) => Ok(Some(Self { file, header, tail })),
            Err(Error::Full { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Zeroes a file from `from` to `end` and reserves all of it.
fn clear(file: &File, from: u64, end: u64, path: &Path) -> Result<()> {
    if end > from {
        // Neither by punching a hole, whose room others may take, nor by cutting the file: a reader that looks at the place
        // of the next record would be killed.
        for data in written(file, from, end) {
            segment::write_zeros(file, data.start, data.end).at("clear", path)?;
        }
    }
    segment::extend(file, end, path)
}

/// The parts of a file in which something may lie, from `from` to `end`: most of what is reserved was never written.
fn written(file: &File, from: u64, end: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut at = from;
    while at < end {
        let (start, stop) = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => (start.min(end), seek(file, SeekFrom::Hole(start)).unwrap_or(end).min(end)),
            // Nothing lies behind this place.
            Err(Errno::NXIO) => break,
            // The file system does not say.
            Err(_) => (at, end),
        };
        parts.push(start..stop);
        at = stop.max(at + 1);
    }
    parts
}

/// A journal that nobody has written to.
pub(crate) fn brand_new(folder: &Path) -> Result<Recovered> {
    Ok(Recovered {
        journal: recovery::new_identity(folder)?,
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

/// Makes the name of a new journal's marks durable, and those of its folders, which a process that was killed may
/// have left: no segment may outlive them.
pub(crate) fn sync_folders(instance: &Path, folder: &Path) -> Result<()> {
    disk::sync_folder(folder)?;
    disk::sync_folder(instance)?;
    disk::sync_folder(layout::state_folder(instance))
}

/// Removes the segments behind a torn place: for good, before anything is written that could be taken for what
/// came before them.
pub(crate) fn remove(torn: &[PathBuf], names: &disk::Folder, presence: &Presence) -> Result<()> {
    for path in torn {
        presence.check()?;
        disk::remove(path)?;
    }
    if torn.is_empty() { Ok(()) } else { names.sync() }
}

/// What the last writer left unsynced is this one's to sync, also the segment that it goes on in: before any of its threads
/// may move the durable mark.
pub(crate) fn inherit_unsynced(shared: &Shared, durable: Offset) -> Result<()> {
    let segments = segment::list(&shared.folder)?;
    let is_durable = |index: usize| segments.get(index + 1).is_some_and(|next| next.base <= durable);
    let left = segments.iter().enumerate().filter(|(index, _)| !is_durable(*index));
    let left: Vec<&Found> = left.map(|(_, found)| found).collect();
    let later = left.len().saturating_sub(INHERITED_MAX);
    for (index, found) in left.into_iter().enumerate() {
        let path = found.path.clone();
        let file = Arc::new(disk::open_to_read(&path).at("open", &path)?);
        if index < later {
            // There may be more of them than a process may have open. Their names are synced with the others'.
            disk::sync_file(&file, &path)?;
        } else {
            shared.begin_segment(Unsynced { file, path, new: true });
        }
    }
    Ok(())
}

/// Tells the operator what recovery found.
pub(crate) fn report(name: &str, next: Offset, torn: &[PathBuf], cut: bool, damaged: &[(Offset, Offset)]) {
    if cut || !torn.is_empty() {
        tracing::warn!(journal = name, next = next.0, segments = torn.len(), "cut off a torn tail");
    }
    for (from, to) in damaged {
        tracing::error!(
            journal = name,
            from = from.0,
            to = to.0,
            "records are damaged or gone: readers get a gap"
        );
    }
}

/// Locks and mappings of network file systems do not keep what the journal promises.
pub(crate) fn refuse_network_file_system(folder: &Path) -> Result<()> {
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
