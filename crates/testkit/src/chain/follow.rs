//! A reader of journal files, written from `crates/journal/FORMAT.md` alone.
//!
//! It follows a journal while its owner writes, is killed and takes it over again, and accepts nothing that the
//! description does not allow. It reads files instead of mapping them: a call for a range of a file may see a store
//! and miss an earlier one behind it, so what does not hold is read again before it counts as wrong.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::crc::crc;
use super::decode::{Ack, Event, Raw, ack, checkpoint, declare, half, read_marks, word};

const SEGMENT_HEADER: usize = 128;
/// So often is something that looks wrong looked at again,
const LOOKS_MAX: u32 = 200;
/// after this long.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

pub(crate) type Result<T, E = Trouble> = std::result::Result<T, E>;

/// One batch, whole.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// It opens a segment.
    pub(super) first: bool,
    pub(super) epoch: u32,
    pub(crate) events: Vec<Event>,
    pub(super) acks: Vec<Ack>,
    pub(super) checkpoints: Vec<(String, Vec<u8>)>,
}

/// A journal that is followed from its first record on.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    identity: Option<[u8; 16]>,
    segment: Option<Segment>,
    /// The next offset, and what the last record had.
    next: u64,
    epoch: u32,
    time: u64,
    pub(super) segments: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    base: u64,
    size: usize,
    seed: u32,
    epoch: u32,
    at: usize,
    topics: Vec<String>,
    journals: Vec<String>,
}

/// Where reading a segment ended.
enum End {
    Zero,
    Sealed(u64),
}

impl Follower {
    pub(crate) fn new(instance: &Path) -> Self {
        let folder = instance.join("journal");
        Self { folder, identity: None, segment: None, next: 0, epoch: 0, time: 0, segments: 0 }
    }

    /// The offset behind the last record, and the newest epoch.
    pub(super) fn reached(&self) -> (u64, u32) {
        (self.next, self.epoch)
    }

    /// The place to claim: that of the segment being read, so that its file stays what it is.
    pub(super) fn held(&self) -> (u64, u32, u32, u64) {
        let base = self.segment.as_ref().map_or(0, |segment| segment.base);
        (base, self.epoch, 0, self.identity_low())
    }

    pub(super) fn identity_low(&self) -> u64 {
        self.identity.map_or(0, |identity| word(&identity, 0))
    }

    /// Everything that has come since the last call.
    pub(crate) fn read(&mut self, batches: &mut Vec<Batch>) -> Result<()> {
        let mut looks = 0;
        loop {
            if self.segment.is_none() && !self.enter(self.next)? {
                return Ok(());
            }
            let before = self.next;
            let mut end = self.read_segment(batches)?;
            if let End::Zero = end {
                let marked = read_marks(&self.folder)?.map_or(0, |marks| marks.committed.max(marks.durable));
                if self.next >= marked {
                    return Ok(());
                }
                // The writer may have come by in between.
                end = self.read_segment(batches)?;
            }
            let entered = match end {
                End::Sealed(base) if base == self.next => self.enter(base)?,
                End::Sealed(base) => return self.wrong(&format!("the seal names {base}")),
                // Its writer was killed before it could seal it.
                End::Zero => self.path(self.next).exists() && self.enter(self.next)?,
            };
            looks = if entered || self.next > before { 0 } else { looks + 1 };
            if looks > LOOKS_MAX {
                let marks = read_marks(&self.folder)?;
                return self.wrong(&format!("there is nothing more, but {marks:?}"));
            }
            if looks > 0 {
                thread::sleep(LOOK_PAUSE);
            }
        }
    }

    /// Enters the segment that begins at `base`; false if that is the one being read.
    fn enter(&mut self, base: u64) -> Result<bool> {
        let path = self.path(base);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(_) if base == 0 && self.identity.is_none() => return Ok(false),
            Err(error) => return self.wrong(&format!("{}: {error}", path.display())),
        };
        if let Some(old) = &self.segment
            && old.file.metadata()?.ino() == file.metadata()?.ino()
        {
            return Ok(false);
        }
        let mut header = [0; SEGMENT_HEADER];
        file.read_exact_at(&mut header, 0)?;
        let size = usize::try_from(word(&header, 40)).unwrap_or(usize::MAX);
        let identity: [u8; 16] = std::array::from_fn(|index| header[16 + index]);
        let checks = [
            ("magic", header[..8] == *b"PROCSEG\0"),
            ("version", half(&header, 8) == 1),
            ("identity", self.identity.is_none_or(|known| known == identity)),
            ("base", word(&header, 32) == base),
            ("size", file.metadata()?.len() == size as u64 && size.is_multiple_of(4096)),
            ("epoch", half(&header, 12) >= self.epoch),
            ("zeros", header[48..124].iter().all(|byte| *byte == 0)),
            ("checksum", half(&header, 124) == crc(0, &header[..124])),
        ];
        if let Some((what, _)) = checks.iter().find(|(_, holds)| !holds) {
            return self.wrong(&format!("the header of {} has a wrong {what}", path.display()));
        }
        let seed = crc(crc(0, &identity), &base.to_le_bytes());
        self.identity = Some(identity);
        self.segments += 1;
        let (topics, journals) = (Vec::new(), Vec::new());
        let epoch = half(&header, 12);
        self.segment = Some(Segment { file, base, size, seed, epoch, at: SEGMENT_HEADER, topics, journals });
        Ok(true)
    }

    fn read_segment(&mut self, batches: &mut Vec<Batch>) -> Result<End> {
        let mut looks = 0;
        loop {
            let segment = self.segment.as_mut().expect("it was entered");
            let mut bytes = vec![0; segment.size - segment.at];
            segment.file.read_exact_at(&mut bytes, segment.at as u64)?;
            let (tables, from) = ((segment.topics.len(), segment.journals.len()), segment.at);
            match self.read_batch(&bytes) {
                Ok((_, Some(seal))) => return Ok(End::Sealed(seal)),
                Ok((None, None)) => return Ok(End::Zero),
                Ok((Some(batch), None)) => {
                    batches.push(batch);
                    looks = 0;
                    // What was read with it comes at once.
                    let mut used = self.segment.as_ref().map_or(0, |segment| segment.at) - from;
                    while let Ok((Some(batch), None)) = self.read_next(&bytes[used..]) {
                        batches.push(batch);
                        used = self.segment.as_ref().map_or(0, |segment| segment.at) - from;
                    }
                }
                Err(reason) => {
                    looks += 1;
                    if looks > LOOKS_MAX {
                        return self.wrong(&reason);
                    }
                    if let Some(segment) = &mut self.segment {
                        segment.topics.truncate(tables.0);
                        segment.journals.truncate(tables.1);
                    }
                    thread::sleep(LOOK_PAUSE);
                }
            }
        }
    }

    /// As [`Self::read_batch`], leaving everything as it was if there is no whole batch.
    fn read_next(&mut self, bytes: &[u8]) -> Result<(Option<Batch>, Option<u64>), String> {
        let tables = self.segment.as_ref().map(|segment| (segment.topics.len(), segment.journals.len()));
        let read = self.read_batch(bytes);
        if let (Err(_), Some(segment), Some(tables)) = (&read, &mut self.segment, tables) {
            segment.topics.truncate(tables.0);
            segment.journals.truncate(tables.1);
        }
        read
    }

    /// The batch that `bytes` begin with, which lie at the place that was reached; or the base that a seal names.
    fn read_batch(&mut self, bytes: &[u8]) -> Result<(Option<Batch>, Option<u64>), String> {
        let segment = self.segment.as_mut().expect("it was entered");
        let first = segment.at == SEGMENT_HEADER;
        let mut batch = Batch { first, ..Batch::default() };
        let (mut used, mut next, mut time) = (0, self.next, self.time);
        loop {
            let at = segment.at + used;
            let Some(raw) = Raw::at(&bytes[used..], at, segment.seed)? else {
                return if used == 0 { Ok((None, None)) } else { Err(format!("a batch ends at place {at}")) };
            };
            let wrong = |what: &str| Err(format!("record at place {at}: wrong {what}: {raw:?}"));
            if raw.offset != next {
                return wrong("offset");
            }
            let epochs = if used == 0 { raw.epoch >= self.epoch } else { raw.epoch == batch.epoch };
            if !epochs || raw.epoch < segment.epoch || first && raw.epoch != segment.epoch {
                return wrong("epoch");
            }
            batch.epoch = raw.epoch;
            if raw.kind != 0
                && (raw.topic != 0 || raw.cause_journal != 0 || raw.codec != 0 || raw.flags & 1 == 1)
            {
                return wrong("field for a control record");
            }
            match raw.kind {
                0 => {
                    if raw.time <= time {
                        return wrong("time");
                    }
                    batch.events.push(raw.event(&segment.topics, &segment.journals)?);
                    (next, time) = (next + 1, raw.time);
                }
                1 => declare(&mut segment.topics, raw.payload)?,
                2 => declare(&mut segment.journals, raw.payload)?,
                3 => batch.acks.push(ack(raw.payload)?),
                // What the toolkit notes for itself has an underscore in front.
                4 => batch
                    .checkpoints
                    .extend(Some(checkpoint(raw.payload)?).filter(|(name, _)| !name.starts_with('_'))),
                5 if raw.payload.is_empty() => {}
                6 if used == 0 && raw.payload.len() == 8 => return Ok((None, Some(word(raw.payload, 0)))),
                _ => return wrong("kind"),
            }
            used += raw.length.next_multiple_of(8);
            if raw.flags & 2 == 0 {
                break;
            }
        }
        segment.at += used;
        (self.next, self.time, self.epoch) = (next, time, batch.epoch);
        Ok((Some(batch), None))
    }

    fn path(&self, base: u64) -> PathBuf {
        self.folder.join(format!("{base:020}.seg"))
    }

    fn wrong<T>(&self, what: &str) -> Result<T> {
        let at = self.segment.as_ref().map(|segment| (segment.base, segment.at));
        let files: Vec<_> = fs::read_dir(&self.folder)?
            .filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        let folder = self.folder.display();
        Err(Trouble(format!(
            "{folder}: offset {}, (segment, place) {at:?}: {what}; files {files:?}",
            self.next
        )))
    }
}
