//! Reading a journal, from any process, while its writer goes on or is gone.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout;
use crate::marks::{Marks, MarksReader};
use crate::record::{self, Head, Kind};
use crate::segment::{self, HEADER_BYTES};
use crate::types::{Cause, Epoch, Gap, GapReason, Item, JournalId, Offset, Position, Record, Time};
use crate::walk::{Segment, Step, Tables, sealed_at};

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that is kept.
    Beginning,
    /// After the newest record.
    End,
    /// A given offset; a gap is reported if it is no longer kept.
    Offset(Offset),
    /// The first record at or after a time.
    Time(Time),
    /// Where an earlier reader stopped; a gap is reported if history has changed before it.
    Position(Position),
}

/// Which records a reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// All that were said: safe from the death of processes.
    #[default]
    Committed,
    /// Only those that are safe from power loss.
    Durable,
}

/// One reader's way through a journal.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    marks: MarksReader,
    journal: JournalId,
    level: Level,
    segment: Option<Segment>,
    /// Byte position in the segment.
    at: usize,
    tables: Tables,
    next: Offset,
    /// Epoch and checksum of the record before `next`.
    last: (Epoch, u32),
    /// Do not read past this without looking at the marks again.
    limit: Offset,
    /// A position that could not be compared with history yet.
    unchecked: Option<Position>,
    gap: Option<Gap>,
}

/// A record that was found, without borrowing the mapping.
struct Found {
    head: Head,
    key: Option<Range<usize>>,
    payload: Range<usize>,
    checksum: u32,
}

/// How a step went that did not give a record.
enum Turn {
    Again,
    CaughtUp,
    Gap(Gap),
}

impl Reader {
    /// Opens the journal in an instance's folder; `None` if no writer has been there yet.
    ///
    /// # Errors
    /// [`Error::ForeignVersion`], [`Error::Corrupt`], I/O errors.
    pub fn open(instance: &Path, start: Start, level: Level) -> Result<Option<Self>> {
        let Some(marks) = MarksReader::open(&layout::marks_path(instance))? else { return Ok(None) };
        let Some(now) = marks.load()? else { return Ok(None) };
        let mut reader = Self {
            folder: layout::journal_folder(instance),
            marks,
            journal: now.journal,
            level,
            segment: None,
            at: 0,
            tables: Tables::default(),
            next: Offset::ZERO,
            last: (Epoch(0), 0),
            limit: Offset::ZERO,
            unchecked: None,
            gap: None,
        };
        reader.start(start, &now)?;
        Ok(Some(reader))
    }

    /// The next record or gap; `None` when everything there is has been read.
    ///
    /// # Errors
    /// I/O errors and [`Error::ForeignVersion`]. Damage is reported as a gap.
    #[expect(clippy::should_implement_trait, reason = "it lends: an iterator's items would outlive the next step")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        let found = loop {
            if self.next >= self.limit && !self.raise_limit()? {
                return Ok(self.gap.take().map(Item::Gap));
            }
            if let Some(gap) = self.gap.take() {
                return Ok(Some(Item::Gap(gap)));
            }
            let Some(segment) = &self.segment else {
                match self.enter()? {
                    Turn::Again => continue,
                    Turn::CaughtUp => return Ok(None),
                    Turn::Gap(gap) => return Ok(Some(Item::Gap(gap))),
                }
            };
            let turn = match segment.at(self.at) {
                Step::Record(decoded) if decoded.head.offset == self.next && decoded.head.kind == Kind::Event => {
                    let body = self.at + record::HEADER_BYTES;
                    let key_end = body + decoded.key.map_or(0, <[u8]>::len);
                    let found = Found {
                        head: decoded.head,
                        key: decoded.key.map(|_| body..key_end),
                        payload: key_end..key_end + decoded.payload.len(),
                        checksum: decoded.checksum,
                    };
                    self.at += decoded.stride;
                    self.next = self.next.plus(1);
                    self.last = (found.head.epoch, found.checksum);
                    if self.tables.topics.get(found.head.topic).is_some() {
                        break found;
                    }
                    // Its declaration was damaged: nobody can say what this record is.
                    Turn::Gap(Gap { from: found.head.offset, to: self.next, reason: GapReason::Corrupt })
                }
                Step::Record(decoded) => {
                    let (head, stride) = (decoded.head, decoded.stride);
                    let noted = self.tables.note(&decoded);
                    let sealed = (head.kind == Kind::Sealed).then(|| sealed_at(&decoded));
                    self.pass(&head, stride, noted.is_ok(), sealed)?
                }
                Step::Empty | Step::Bad(_) => self.stuck()?,
            };
            match turn {
                Turn::Again => {}
                Turn::CaughtUp => return Ok(None),
                Turn::Gap(gap) => return Ok(Some(Item::Gap(gap))),
            }
        };
        Ok(Some(Item::Record(self.record(found))))
    }

    /// Where the reader is: what a cursor keeps once everything before has been dealt with.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { next: self.next, epoch: self.last.0, checksum: self.last.1, journal: self.journal.low_half() }
    }

    /// The journal's marks right now.
    ///
    /// # Errors
    /// [`Error::ForeignVersion`]; [`Error::Corrupt`] if they are damaged.
    pub fn marks(&self) -> Result<Marks> {
        self.marks.load()?.ok_or_else(|| Error::Corrupt {
            path: self.folder.join("marks"),
            offset: self.next,
            reason: "the marks are damaged; they are made anew when the owner starts".to_owned(),
        })
    }

    /// The newest epoch: grows when a writer takes the journal over.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.marks.epoch()
    }

    /// Whether a record past `offset` is committed: one load, for readers that spin.
    #[inline]
    #[must_use]
    pub fn has_past(&self, offset: Offset) -> bool {
        self.marks.committed().is_some_and(|committed| committed > offset)
    }

    fn record(&self, found: Found) -> Record<'_> {
        let segment = self.segment.as_ref().expect("the record was found in it");
        let name = |number| self.tables.topics.get(number).map_or("", |name| name);
        let journal = self.tables.journals.get(found.head.cause_journal);
        Record {
            offset: found.head.offset,
            epoch: found.head.epoch,
            time: found.head.time,
            topic: name(found.head.topic),
            key: found.key.map(|range| segment.bytes(range)),
            cause: journal.map(|journal| Cause { journal, offset: found.head.cause_offset }),
            codec: found.head.codec,
            payload: segment.bytes(found.payload),
            checksum: found.checksum,
        }
    }

    /// Goes past a whole record that is not the next event.
    fn pass(
        &mut self,
        head: &Head,
        stride: usize,
        noted: bool,
        sealed: Option<Result<Offset, &'static str>>,
    ) -> Result<Turn> {
        if head.offset > self.next {
            // Whatever lay between is unreadable, for this record is whole.
            let gap = Gap { from: self.next, to: head.offset, reason: GapReason::Corrupt };
            self.next = head.offset;
            return Ok(Turn::Gap(gap));
        }
        if !noted {
            tracing::error!(folder = %self.folder.display(), at = self.at, "a control record makes no sense");
        }
        self.at += stride;
        match sealed {
            Some(Ok(base)) if base >= self.next => {
                self.leave();
                Ok(Turn::Again)
            }
            _ => Ok(Turn::Again),
        }
    }

    /// Leaves the segment: the one that holds `next` is entered next.
    fn leave(&mut self) {
        self.segment = None;
        self.tables = Tables::default();
        self.at = HEADER_BYTES;
    }

    /// Maps the segment that holds `next`; the records before it are passed one by one.
    #[cold]
    fn enter(&mut self) -> Result<Turn> {
        // A segment may be trimmed between listing and opening: look again, a bounded number of times.
        for _ in 0..8 {
            let segments = segment::list(&self.folder)?;
            let Some(first) = segments.first() else { return Ok(Turn::CaughtUp) };
            let Some(index) = segments.iter().rposition(|found| found.base <= self.next) else {
                let gap = Gap { from: self.next, to: first.base, reason: GapReason::Trimmed };
                self.next = first.base;
                return Ok(Turn::Gap(gap));
            };
            match Segment::open(&segments[index].path) {
                Ok(segment) if segment.header.journal == self.journal => {
                    self.leave();
                    self.segment = Some(segment);
                    return Ok(Turn::Again);
                }
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Ok(_) | Err(Error::Corrupt { .. }) => return self.skip_to(segments.get(index + 1).map(|found| found.base)),
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::CaughtUp)
    }

    /// Nothing readable lies at this place: is it the end, or damage?
    #[cold]
    fn stuck(&mut self) -> Result<Turn> {
        let Some(marks) = self.marks.load()? else { return Ok(Turn::CaughtUp) };
        if self.next >= marks.trusted() {
            return Ok(Turn::CaughtUp);
        }
        let Some(segment) = &self.segment else { return Ok(Turn::Again) };
        // The writer may have come by just now: the mark was loaded after the word.
        let base = segment.header.base;
        match segment.at(self.at) {
            Step::Record(_) => return Ok(Turn::Again),
            Step::Empty | Step::Bad(_) => {}
        }
        if let Some((at, _)) = segment.find_record(self.at) {
            self.at = at;
            return Ok(Turn::Again);
        }
        let later = segment::list(&self.folder)?.into_iter().map(|found| found.base).find(|later| *later > base);
        if later.is_some_and(|later| later <= self.next) {
            // The segment was left without a seal, by a writer that was killed just then.
            self.leave();
            return Ok(Turn::Again);
        }
        self.skip_to(later)
    }

    /// Gives up what lies before the next segment, or before the trusted mark if there is none.
    fn skip_to(&mut self, later: Option<Offset>) -> Result<Turn> {
        let trusted = self.marks.load()?.map_or(self.next, |marks| marks.trusted());
        let to = later.unwrap_or(trusted);
        if to <= self.next {
            return Ok(Turn::CaughtUp);
        }
        let gap = Gap { from: self.next, to, reason: GapReason::Corrupt };
        self.next = to;
        if later.is_some() {
            self.leave();
        }
        Ok(Turn::Gap(gap))
    }

    /// Looks at the marks again; `false` if there is nothing more to read yet.
    #[cold]
    fn raise_limit(&mut self) -> Result<bool> {
        let Some(marks) = self.marks.load()? else { return Ok(false) };
        if marks.same_boot
            && let Some(position) = self.unchecked.take()
        {
            self.compare(&position, &marks)?;
        }
        self.limit = match self.level {
            Level::Committed if marks.same_boot => Offset(u64::MAX),
            // Until the owner has recovered its journal, what lies past this may be torn.
            _ => marks.durable,
        };
        Ok(self.next < self.limit)
    }

    fn start(&mut self, start: Start, now: &Marks) -> Result<()> {
        self.next = match start {
            Start::Beginning => segment::list(&self.folder)?.first().map_or(now.trimmed, |first| first.base),
            Start::End => now.trusted(),
            Start::Offset(offset) => offset,
            Start::Time(time) => self.offset_at(time, now)?,
            Start::Position(position) => {
                self.last = (position.epoch, position.checksum);
                self.unchecked = Some(position);
                position.next
            }
        };
        Ok(())
    }

    /// Compares a position with history, and steps back to where they part.
    fn compare(&mut self, position: &Position, marks: &Marks) -> Result<()> {
        let replaced = position.journal != 0 && position.journal != self.journal.low_half();
        let resume = if replaced {
            segment::list(&self.folder)?.first().map_or(marks.trimmed, |first| first.base)
        } else if position.epoch == Epoch(0) || position.next == Offset::ZERO {
            // It was never more than an offset.
            return Ok(());
        } else {
            match self.last_before(position.next)? {
                Some(last) if last == (position.epoch, position.checksum) => return Ok(()),
                // What came before is trimmed or damaged: nothing to compare with.
                None if position.next <= marks.trusted() => return Ok(()),
                _ => self.first_after_epoch(position.epoch)?.unwrap_or(marks.trusted()).min(position.next),
            }
        };
        if resume < position.next || replaced {
            self.gap = Some(Gap { from: resume, to: position.next, reason: GapReason::Diverged });
        }
        (self.next, self.last) = (resume, (Epoch(0), 0));
        self.leave();
        Ok(())
    }

    /// Epoch and checksum of the record before `offset`, if it can be read.
    fn last_before(&self, offset: Offset) -> Result<Option<(Epoch, u32)>> {
        let wanted = Offset(offset.0 - 1);
        let segments = segment::list(&self.folder)?;
        let Some(found) = segments.iter().rev().find(|found| found.base <= wanted) else { return Ok(None) };
        scan(&found.path, |head, checksum| (head.offset == wanted).then_some((head.epoch, checksum)))
    }

    /// The offset of the first record with a newer epoch.
    fn first_after_epoch(&self, epoch: Epoch) -> Result<Option<Offset>> {
        for found in segment::list(&self.folder)? {
            let first = scan(&found.path, |head, _| (head.epoch > epoch).then_some(head.offset))?;
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }

    /// The offset of the first record at or after a time.
    fn offset_at(&self, time: Time, now: &Marks) -> Result<Offset> {
        let segments = segment::list(&self.folder)?;
        let mut begin = 0;
        for (index, found) in segments.iter().enumerate().rev() {
            if scan(&found.path, |head, _| Some(head.time))?.is_some_and(|first| first <= time) {
                begin = index;
                break;
            }
        }
        for found in &segments[begin.min(segments.len())..] {
            if let Some(offset) = scan(&found.path, |head, _| (head.time >= time).then_some(head.offset))? {
                return Ok(offset);
            }
        }
        Ok(now.trusted())
    }
}

/// The first answer that `look` gives for the events of a segment, in order, damage left out.
fn scan<T>(path: &Path, mut look: impl FnMut(&Head, u32) -> Option<T>) -> Result<Option<T>> {
    let segment = match Segment::open(path) {
        Ok(segment) => segment,
        Err(Error::Corrupt { .. }) => return Ok(None),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut at = HEADER_BYTES;
    loop {
        match segment.at(at) {
            Step::Record(decoded) => {
                if decoded.head.kind == Kind::Event
                    && let Some(answer) = look(&decoded.head, decoded.checksum)
                {
                    return Ok(Some(answer));
                }
                at += decoded.stride;
            }
            Step::Empty => return Ok(None),
            Step::Bad(_) => match segment.find_record(at) {
                Some((next, _)) => at = next,
                None => return Ok(None),
            },
        }
    }
}
