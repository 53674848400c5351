//! Reading a journal, from any process, while its writer goes on or is gone.

mod across;
mod arrival;
mod replaced;

use std::path::{Path, PathBuf};

use crate::bus;
use crate::error::{Error, Result};
use crate::layout;
use crate::marks::{Marks, MarksReader};
use crate::record::{self, Decoded, Kind};
use crate::types::{Cause, Codec, Epoch, Gap, GapReason, Item, JournalId, Offset, Position, Record, Time};
use crate::walk::{Segment, Step, Tables, sealed_at};

use self::across::Listing;
use self::arrival::Arrival;
pub use self::replaced::AtPath;
use self::replaced::Known;

/// No record has it.
const OFFSET_NEVER: Offset = Offset(u64::MAX);

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
    /// Grows with each segment that is entered.
    entered: u64,
    next: Offset,
    /// Epoch and checksum of the record before `next`.
    last: (Epoch, u32),
    /// Do not read past this without looking at the marks again.
    limit: Offset,
    /// Where the next segment begins, if there was one when this one was entered: nothing from there on is in this one.
    until: Offset,
    /// A position that could not be compared with history yet.
    unchecked: Option<Position>,
    /// Where to go back to once it was compared.
    back: Option<Offset>,
    /// What marks said of the epoch when they were gone over to, for as long as they say so: if later epochs were read, and
    /// hold, that was compared already.
    gone_over: Option<Epoch>,
    /// A place beyond the marks that was found to hold while they were these.
    holding: Option<(Position, Marks)>,
    /// The journal may still be on its way to where it was gone over to.
    arrival: Option<Arrival>,
    /// The segments that there were at the last look.
    listing: Listing,
    /// Where the epochs began that were read: what tells where another history parts from this one.
    known: Known,
    /// Whether all that is committed may be read, by the last look at the marks.
    is_live: bool,
    /// The epoch at that look, once all may be read that is committed in it.
    shown: Option<Epoch>,
    gap: Option<Gap>,
}

/// A record that was found, without borrowing the mapping. Whole words only, in which it travels fast.
struct Found {
    offset: Offset,
    time: Time,
    cause_offset: Offset,
    /// Where the record lies, and how many bytes key and payload have.
    at: usize,
    key_bytes: Option<usize>,
    payload_bytes: usize,
    epoch: Epoch,
    checksum: u32,
    topic: u16,
    cause_journal: u16,
    codec: Codec,
}

impl Found {
    /// A record that lies at position `at`.
    #[inline]
    fn new(decoded: &Decoded<'_>, at: usize) -> Self {
        let Decoded { head, key, payload, checksum, .. } = decoded;
        Self {
            offset: head.offset,
            time: head.time,
            cause_offset: head.cause_offset,
            at,
            key_bytes: key.map(<[u8]>::len),
            payload_bytes: payload.len(),
            epoch: head.epoch,
            checksum: *checksum,
            topic: head.topic,
            cause_journal: head.cause_journal,
            codec: head.codec,
        }
    }
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
        bus::name_file();
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
            entered: 0,
            next: Offset::ZERO,
            last: (Epoch(0), 0),
            limit: Offset::ZERO,
            until: OFFSET_NEVER,
            unchecked: None,
            back: None,
            gone_over: None,
            holding: None,
            arrival: None,
            listing: Listing::default(),
            known: Known::default(),
            is_live: false,
            shown: None,
            gap: None,
        };
        reader.start(start, &now)?;
        Ok(Some(reader))
    }

    /// The next record or gap; `None` when everything there is has been read.
    ///
    /// # Errors
    /// I/O errors and [`Error::ForeignVersion`]. Damage is reported as a gap.
    #[expect(
        clippy::should_implement_trait,
        reason = "it lends: an iterator's items would outlive the next step"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        match self.next_here() {
            Some(found) => Ok(Some(Item::Record(self.record(found)))),
            None => self.next_elsewhere(),
        }
    }

    /// The next record, if it lies right here and nothing is to be said before it: nearly always. Small enough to
    /// become part of the caller, which then takes what it needs from registers.
    #[inline]
    fn next_here(&mut self) -> Option<Found> {
        if self.next >= self.limit || self.gap.is_some() {
            return None;
        }
        let Step::Record(decoded) = self.segment.as_ref()?.at(self.at) else { return None };
        let is_next = decoded.head.offset == self.next && decoded.head.kind == Kind::Event;
        if !is_next || !self.tables.can_name(decoded.head.topic, decoded.head.cause_journal) {
            return None;
        }
        let found = Found::new(&decoded, self.at);
        self.passed(&found, decoded.stride);
        Some(found)
    }

    /// Goes past an event.
    #[inline]
    const fn passed(&mut self, found: &Found, stride: usize) {
        self.at += stride;
        self.next = self.next.plus(1);
        self.last = (found.epoch, found.checksum);
    }

    #[cold]
    #[inline(never)]
    fn next_elsewhere(&mut self) -> Result<Option<Item<'_>>> {
        let found = loop {
            if self.next >= self.until {
                self.leave();
            }
            if self.next >= self.limit && !self.raise_limit()? {
                return Ok(self.take_gap().map(Item::Gap));
            }
            if let Some(gap) = self.take_gap() {
                return Ok(Some(Item::Gap(gap)));
            }
            // The segment may have got its end just now.
            if self.next >= self.until {
                continue;
            }
            if let Some(segment) = &mut self.segment {
                segment.show(self.at)?;
            }
            let Some(segment) = &self.segment else {
                match self.enter()? {
                    Turn::Again => continue,
                    Turn::CaughtUp => return Ok(None),
                    Turn::Gap(gap) => return Ok(Some(Item::Gap(gap))),
                }
            };
            let turn = match segment.at(self.at) {
                Step::Record(decoded)
                    if decoded.head.offset == self.next && decoded.head.kind == Kind::Event =>
                {
                    let found = Found::new(&decoded, self.at);
                    self.passed(&found, decoded.stride);
                    if self.tables.can_name(found.topic, found.cause_journal) {
                        break found;
                    }
                    // A declaration that it needs was damaged.
                    Turn::Gap(Gap { from: found.offset, to: self.next, reason: GapReason::Corrupt })
                }
                Step::Record(decoded) if decoded.head.offset <= self.next => {
                    let stride = decoded.stride;
                    let noted = self.tables.note(&decoded);
                    let sealed = decoded.head.kind == Kind::Sealed && sealed_at(&decoded).is_ok();
                    if decoded.head.kind == Kind::EpochBegun {
                        self.known.note_end(self.position());
                        // The first record of an epoch is looked at once it is read: see there.
                        self.limit = self.limit.min(self.next.plus(1));
                    }
                    self.pass(stride, noted.is_ok(), sealed)?
                }
                // Nothing lies between it and what was read, so no writer has left anything out there.
                Step::Record(_) | Step::Empty | Step::Bad(_) => self.stuck()?,
            };
            match turn {
                Turn::Again => {}
                Turn::CaughtUp => return Ok(None),
                Turn::Gap(gap) => return Ok(Some(Item::Gap(gap))),
            }
        };
        Ok(Some(Item::Record(self.record(found))))
    }

    /// A gap whose turn it is.
    fn take_gap(&mut self) -> Option<Gap> {
        let gap = self.gap.take_if(|gap| gap.from <= self.next)?;
        // It was a limit.
        self.limit = Offset::ZERO;
        Some(gap)
    }

    /// Where the reader is: what a cursor keeps once everything before has been dealt with.
    #[must_use]
    #[inline]
    pub const fn position(&self) -> Position {
        Position {
            next: self.next,
            epoch: self.last.0,
            checksum: self.last.1,
            journal: self.journal.low_half(),
        }
    }

    /// The journal's marks right now.
    ///
    /// # Errors
    /// [`Error::ForeignVersion`]; [`Error::Corrupt`] if they are damaged.
    pub fn marks(&self) -> Result<Marks> {
        self.marks.load()?.ok_or_else(|| Error::Corrupt {
            path: self.folder.join(layout::MARKS.name),
            offset: self.next,
            reason: "the marks are damaged; they are made anew when the owner starts".to_owned(),
        })
    }

    /// The newest epoch: grows when a writer takes the journal over.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.marks.epoch()
    }

    /// Whether [`Self::next`] has more to give: a load or two, for readers that spin.
    ///
    /// By the same mark that it reads up to. A mark that says more than can be read would keep whoever asks from ever
    /// sleeping.
    #[inline]
    #[must_use]
    pub fn has_more(&self) -> bool {
        let end = if self.is_live && self.level == Level::Committed {
            self.marks.committed()
        } else {
            self.readable_end()
        };
        self.gap.is_some() || end.is_some_and(|end| end > self.next)
    }

    /// Whether all that is committed may be read, and not only what is durable: not while the marks are of another boot
    /// and the owner has yet to recover what power loss has torn.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    #[inline]
    fn record(&self, found: Found) -> Record<'_> {
        let segment = self.segment.as_ref().expect("the record was found in it");
        let name = |number| self.tables.topics.get(number).map_or("", |name| name);
        let journal = self.tables.journals.get(found.cause_journal);
        let body = found.at + record::HEADER_BYTES;
        let payload = body + found.key_bytes.unwrap_or_default();
        Record {
            offset: found.offset,
            epoch: found.epoch,
            time: found.time,
            topic: name(found.topic),
            key: found.key_bytes.map(|bytes| segment.bytes(body..body + bytes)),
            cause: journal.map(|journal| Cause { journal, offset: found.cause_offset }),
            codec: found.codec,
            payload: segment.bytes(payload..payload + found.payload_bytes),
            checksum: found.checksum,
            topic_key: self.entered << 16 | u64::from(found.topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::marks::MarksWriter;
    use crate::ofd;
    use crate::options::Options;
    use crate::segment;
    use crate::types::{Codec, Entry};
    use crate::writer::Writer;

    /// A journal of several small segments, whose writer is gone; returns its end.
    fn make(instance: &Path) -> Offset {
        let options = Options { segment_bytes: 8 << 10, ..Options::default() };
        let mut writer = Writer::open(instance, &options).unwrap();
        let entry = Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload: &[7; 500] };
        for _ in 0..50 {
            writer.append(&entry).unwrap();
        }
        writer.next_offset()
    }

    /// Reads to the end: the records' offsets and the gaps must make up everything.
    fn gaps(instance: &Path, end: Offset) -> Vec<Gap> {
        let mut reader =
            Reader::open(instance, Start::Offset(Offset::ZERO), Level::Committed).unwrap().unwrap();
        let (mut at, mut gaps) = (Offset::ZERO, Vec::new());
        while let Some(item) = reader.next().unwrap() {
            match item {
                Item::Record(record) => {
                    assert_eq!(record.offset, at);
                    at = at.plus(1);
                }
                Item::Gap(gap) => {
                    assert_eq!(gap.from, at);
                    at = gap.to;
                    gaps.push(gap);
                }
            }
        }
        assert_eq!(at, end);
        gaps
    }

    #[test]
    fn reading_many_segments_lists_the_folder_once() {
        let home = tempfile::tempdir().unwrap();
        let end = make(home.path());
        assert_eq!(segment::list(&layout::journal_folder(home.path())).unwrap().len(), 4);
        let before = segment::LISTINGS.get();
        assert_eq!(gaps(home.path(), end), []);
        // And once more for the newest, which may have got a successor.
        let listed = segment::LISTINGS.get() - before;
        assert!(listed <= 2, "listed {listed} times");
    }

    #[test]
    fn a_missing_segment_is_a_gap() {
        let home = tempfile::tempdir().unwrap();
        for missing in 0..4 {
            let instance = home.path().join(format!("without-{missing}"));
            let end = make(&instance);
            let segments = segment::list(&layout::journal_folder(&instance)).unwrap();
            assert_eq!(segments.len(), 4);
            fs::remove_file(&segments[missing].path).unwrap();
            let to = segments.get(missing + 1).map_or(end, |next| next.base);
            let reason = if missing == 0 { GapReason::Trimmed } else { GapReason::Corrupt };
            assert_eq!(gaps(&instance, end), [Gap { from: segments[missing].base, to, reason }]);
        }
    }

    #[test]
    fn a_record_that_comes_while_the_reader_looks_is_no_damage_however_far_it_reaches() {
        let home = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(home.path(), &Options::default()).unwrap();
        let say = |writer: &mut Writer, bytes: usize| {
            let payload = vec![7; bytes];
            let entry = Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload: &payload };
            writer.append(&entry).unwrap();
        };
        // Into a segment that is much larger than what is shown of it at a time.
        (0..10).for_each(|_| say(&mut writer, 300_000));
        let mut reader = Reader::open(home.path(), Start::Beginning, Level::Committed).unwrap().unwrap();
        while reader.next().unwrap().is_some() {}
        // Nothing was there when it looked; it has yet to find out whether that is the end.
        say(&mut writer, 3_000_000);
        say(&mut writer, 10);
        assert!(matches!(reader.stuck().unwrap(), Turn::Again));
        for offset in [10, 11] {
            let next = reader.next().unwrap().unwrap();
            assert!(matches!(&next, Item::Record(record) if record.offset == Offset(offset)), "{next:?}");
        }
    }

    #[test]
    fn no_record_is_known_to_lie_before_a_place_behind_a_gap() {
        let home = tempfile::tempdir().unwrap();
        make(home.path());
        let segments = segment::list(&layout::journal_folder(home.path())).unwrap();
        let gone = home.path().join("gone");
        fs::rename(&segments[1].path, &gone).unwrap();
        let mut reader = Reader::open(home.path(), Start::Beginning, Level::Committed).unwrap().unwrap();
        while !matches!(reader.next().unwrap().unwrap(), Item::Gap(_)) {}
        let behind = reader.position();
        assert_eq!((behind.next, behind.epoch), (segments[2].base, Epoch(0)));
        // Whoever comes back there goes on there, also if what was missing is there again.
        fs::rename(&gone, &segments[1].path).unwrap();
        let start = Start::Position(behind);
        let mut again = Reader::open(home.path(), start, Level::Committed).unwrap().unwrap();
        let next = again.next().unwrap().unwrap();
        assert!(matches!(&next, Item::Record(record) if record.offset == segments[2].base), "{next:?}");
    }

    #[test]
    fn a_segment_that_is_being_dropped_is_a_gap_whatever_becomes_of_whoever_drops_it() {
        let home = tempfile::tempdir().unwrap();
        let end = make(home.path());
        let segments = segment::list(&layout::journal_folder(home.path())).unwrap();
        let (trimmer, _) = MarksWriter::open(&layout::marks_path(home.path())).unwrap();
        trimmer.set_trimmed(segments[1].base);
        // Between this and the file's new name lies all the time that a halted process likes.
        let dropped = fs::File::options().read(true).write(true).open(&segments[0].path).unwrap();
        ofd::have_alone(&dropped).unwrap();
        let gap = Gap { from: Offset::ZERO, to: segments[1].base, reason: GapReason::Trimmed };
        assert_eq!(gaps(home.path(), end), [gap]);
    }

    #[test]
    fn a_journal_without_segments_is_a_gap() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("empty");
        let end = make(&instance);
        for found in segment::list(&layout::journal_folder(&instance)).unwrap() {
            fs::remove_file(found.path).unwrap();
        }
        assert_eq!(gaps(&instance, end), [Gap { from: Offset::ZERO, to: end, reason: GapReason::Corrupt }]);
    }

    #[test]
    fn a_segment_without_events_is_replaced_under_a_reader() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("acks");
        let options = Options { segment_bytes: 8 << 10, ..Options::default() };
        let mut writer = Writer::open(&instance, &options).unwrap();
        let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
        assert!(reader.next().unwrap().is_none());
        for next in 0..500 {
            let ack = crate::Ack { subscription: "s", journal: "j", position: Position::at(Offset(next)) };
            writer.commit(&crate::Batch { acks: &[ack], ..Default::default() }).unwrap();
        }
        assert_eq!(segment::list(&layout::journal_folder(&instance)).unwrap().len(), 1);
        writer
            .append(&Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload: b"x" })
            .unwrap();
        assert!(
            matches!(reader.next().unwrap(), Some(Item::Record(record)) if record.offset == Offset::ZERO)
        );
        drop(writer);
        let writer = Writer::open(&instance, &options).unwrap();
        assert_eq!(
            writer.acknowledged().map(|(_, _, position)| position.next).collect::<Vec<_>>(),
            [Offset(499)]
        );
    }
}
