//! What a writer finds when it takes a journal over.
//!
//! Records below the trusted mark must be there: what is unreadable among them is damage, which is kept for
//! inspection and reported to readers as a gap. Above the mark an unreadable record is a torn tail.
//! Write-back is unordered, so it ends the journal even if a whole record lies behind it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::batch::{self, ack_stride, checkpoint_stride};
use crate::error::{At, Error, Result};
use crate::marks::Marks;
use crate::record::{self, Decoded, Kind};
use crate::segment::{self, Found, HEADER_BYTES, SEGMENT_BYTES_MAX};
use crate::types::{Epoch, JournalId, Offset, Position, Time};
use crate::walk::{Segment, Step, Successor, Tables, sealed_at};

/// Acknowledgements and checkpoints, by name: the newest of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) acks: BTreeMap<(String, String), Position>,
    pub(crate) checkpoints: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// A place that says nothing takes an acknowledgement back.
    pub(crate) fn acknowledge(&mut self, subscription: String, journal: String, position: Position) {
        if position == Position::default() {
            self.acks.remove(&(subscription, journal));
        } else {
            self.acks.insert((subscription, journal), position);
        }
    }

    /// Bytes that it takes at the start of a segment, with the record that says an epoch has begun.
    pub(crate) fn bytes(&self) -> usize {
        let acks = self.acks.keys().map(|(subscription, journal)| ack_stride(subscription, journal));
        let checkpoints = self.checkpoints.iter().map(|(name, value)| checkpoint_stride(name, value.len()));
        acks.sum::<usize>() + checkpoints.sum::<usize>() + record::stride(0, 0)
    }

    /// Bytes that it will take once it has taken in a batch.
    pub(crate) fn bytes_after(&self, batch: &batch::Batch<'_>) -> usize {
        let (mut more, mut less) = (0, 0);
        // Of several for one name, the last one stays.
        let acks: HashMap<_, _> =
            batch.acks.iter().map(|ack| ((ack.subscription, ack.journal), ack.position)).collect();
        for ((subscription, journal), position) in acks {
            let bytes = ack_stride(subscription, journal);
            less += if self.acks.contains_key(&(subscription.to_owned(), journal.to_owned())) {
                bytes
            } else {
                0
            };
            more += if position == Position::default() { 0 } else { bytes };
        }
        let values: HashMap<_, _> = batch.checkpoints.iter().map(|point| (point.name, point.value)).collect();
        for (name, value) in values {
            less += self.checkpoints.get(name).map_or(0, |known| checkpoint_stride(name, known.len()));
            more += if value.is_empty() { 0 } else { checkpoint_stride(name, value.len()) };
        }
        self.bytes() + more - less
    }
}

/// Where the writer goes on within an existing segment.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) path: PathBuf,
    pub(crate) at: usize,
    pub(crate) tables: Tables,
}

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) journal: JournalId,
    /// The offset of the next record.
    pub(crate) next: Offset,
    pub(crate) epoch: Epoch,
    pub(crate) time: Time,
    /// `None`: begin a new segment.
    pub(crate) tail: Option<Tail>,
    pub(crate) state: State,
    /// Segments that lie behind a torn place.
    pub(crate) torn: Vec<PathBuf>,
    /// Whether a record was torn at the tail.
    pub(crate) cut: bool,
    /// Offsets that cannot be read although they must be there.
    pub(crate) damaged: Vec<(Offset, Offset)>,
}

/// Reads the journal in `folder` from the newest place that is known to be whole.
///
/// # Errors
/// [`Error::ForeignVersion`]; [`Error::Corrupt`] for segments of two journals, wherever they lie, or that overlap; I/O
/// errors. Damaged records are no error.
pub(crate) fn recover(folder: &Path, marks: Option<&Marks>) -> Result<Option<Recovered>> {
    let segments = segment::list(folder)?;
    let Some(last) = segments.last() else {
        // Everything was trimmed by hand, or the first writer was killed before it had a segment.
        return Ok(marks.map(|marks| {
            let mut recovery = Recovery::new(marks.journal, marks.trusted(), marks.trusted(), true);
            recovery.epoch = marks.epoch;
            recovery.miss(marks, marks.trusted());
            recovery.finish(None)
        }));
    };
    // Without marks the newest segment is the only place where a tail can be torn.
    let trusted = marks.map_or(last.base, Marks::trusted);
    let journal = match marks.map(|marks| marks.journal).or_else(|| identity(&segments)) {
        Some(journal) => journal,
        None => new_identity(folder)?,
    };
    if marks.is_some_and(|marks| marks.trusted() == Offset::ZERO && marks.trimmed == Offset::ZERO)
        && segments[0].base > Offset::ZERO
    {
        // Nothing was ever durable, not even the first segment's name: what follows it has lost its beginning.
        let mut recovery = Recovery::new(journal, Offset::ZERO, trusted, true);
        recovery.epoch = marks.map_or(Epoch(0), |marks| marks.epoch);
        recovery.give_up(&segments)?;
        return Ok(Some(recovery.finish(None)));
    }
    let holds_mark = segments.iter().rposition(|found| found.base <= trusted).unwrap_or(0);
    for start in (0..=holds_mark).rev() {
        let mut recovery = Recovery::new(journal, segments[start].base, trusted, marks.is_some());
        let tail = recovery.run(&segments[start..])?;
        // A segment begins with all of the state; one whose beginning was torn says nothing of it.
        if recovery.began || start == 0 {
            recovery.epoch = recovery.epoch.max(marks.map_or(Epoch(0), |marks| marks.epoch));
            if let Some(marks) = marks {
                recovery.miss(marks, segments[0].base);
            }
            return Ok(Some(recovery.finish(tail)));
        }
    }
    unreachable!("the loop ends at the first segment");
}

fn identity(segments: &[Found]) -> Option<JournalId> {
    segments
        .iter()
        .rev()
        .find_map(|found| Segment::open(&found.path).ok())
        .map(|segment| segment.header.journal)
}

/// An identity for a journal that has none, or of which nobody can read it any more: never that of another one, nor the
/// one that positions take for unknown.
pub(crate) fn new_identity(folder: &Path) -> Result<JournalId> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .at("make an identity for", folder)?;
    // Positions have the low half.
    bytes[0] |= 1;
    Ok(JournalId(u128::from_le_bytes(bytes)))
}

struct Recovery {
    journal: JournalId,
    trusted: Offset,
    /// Without marks nobody knows how far the newest segment was whole.
    has_marks: bool,
    next: Offset,
    epoch: Epoch,
    time: Time,
    state: State,
    /// Some segment's first batch was whole, so the state is complete.
    began: bool,
    torn: Vec<PathBuf>,
    cut: bool,
    damaged: Vec<(Offset, Offset)>,
}

/// How a segment ended.
enum End {
    /// Its seal names the next one.
    Sealed,
    /// Nothing follows at this place.
    Open(Tail),
    /// Damaged, and kept for inspection: never written to again.
    Spoilt,
    /// Torn from its very beginning.
    Torn,
}

impl Recovery {
    fn new(journal: JournalId, next: Offset, trusted: Offset, has_marks: bool) -> Self {
        Self {
            journal,
            trusted,
            has_marks,
            next,
            epoch: Epoch(0),
            time: Time(0),
            state: State::default(),
            began: false,
            torn: Vec::new(),
            cut: false,
            damaged: Vec::new(),
        }
    }

    fn finish(self, tail: Option<Tail>) -> Recovered {
        let Self { journal, next, epoch, time, state, torn, cut, damaged, .. } = self;
        Recovered { journal, next, epoch, time, tail, state, torn, cut, damaged }
    }

    fn run(&mut self, segments: &[Found]) -> Result<Option<Tail>> {
        let mut tail = None;
        for (index, found) in segments.iter().enumerate() {
            if found.base > self.next {
                if found.base > self.trusted {
                    self.give_up(&segments[index..])?;
                    break;
                }
                self.damage(found.base);
            }
            if found.base < self.next && self.is_left_over(found)? {
                self.torn.push(found.path.clone());
                continue;
            }
            if found.base < self.next {
                let reason =
                    format!("it begins at {}, but the segment before it ends at {}", found.base, self.next);
                return Err(Error::Corrupt { path: found.path.clone(), offset: found.base, reason });
            }
            let successor = segments.get(index + 1).map(Successor::new);
            tail = match self.segment(found, successor.as_ref())? {
                End::Open(open) => Some(open),
                End::Sealed | End::Spoilt => None,
                End::Torn => {
                    // Neither it nor anything behind it is part of the journal.
                    self.give_up(&segments[index..])?;
                    break;
                }
            };
        }
        if self.next < self.trusted {
            self.damage(self.trusted);
            tail = None;
        }
        Ok(tail)
    }

    /// Leaves segments out of the journal, which are removed then: that they are this journal's is known before.
    fn give_up(&mut self, segments: &[Found]) -> Result<()> {
        for found in segments {
            match Segment::open(&found.path) {
                Ok(segment) => self.check_journal(&segment, found)?,
                // Power was lost before its header was on disk.
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
            self.torn.push(found.path.clone());
        }
        Ok(())
    }

    fn check_journal(&self, segment: &Segment, found: &Found) -> Result<()> {
        let (its, this) = (segment.header.journal, self.journal);
        if its == this {
            return Ok(());
        }
        let reason = format!(
            "it belongs to journal {its}, not to {this}: put it back together with the marks of its journal, or move it away"
        );
        Err(Error::Corrupt { path: found.path.clone(), offset: found.base, reason })
    }

    /// Whether a segment lay behind a place where an earlier recovery cut the journal: power was lost before its
    /// removal was durable, but what was said in its place is here.
    fn is_left_over(&self, found: &Found) -> Result<bool> {
        match Segment::open(&found.path) {
            Ok(segment) => {
                self.check_journal(&segment, found)?;
                Ok(segment.header.epoch < self.epoch)
            }
            Err(Error::Corrupt { .. }) => Ok(self.has_marks && self.next >= self.trusted),
            Err(error) => Err(error),
        }
    }

    fn damage(&mut self, to: Offset) {
        self.damaged.push((self.next, to));
        self.next = to;
    }

    /// What is kept begins at `first`: that nothing before it was trimmed is only certain in the boot in which the mark was
    /// stored.
    fn miss(&mut self, marks: &Marks, first: Offset) {
        if marks.same_boot && marks.trimmed < first {
            self.damaged.insert(0, (marks.trimmed, first));
        }
    }

    fn segment(&mut self, found: &Found, successor: Option<&Successor<'_>>) -> Result<End> {
        let segment = match Segment::open_whole(&found.path) {
            Ok(segment) => segment,
            Err(Error::Corrupt { .. }) if self.next >= self.trusted => return self.unreadable(found),
            Err(Error::Corrupt { .. }) => return Ok(End::Spoilt),
            Err(error) => return Err(error),
        };
        self.check_journal(&segment, found)?;
        if !self.has_marks && self.next >= self.trusted && segment.is_refused() {
            self.trust(found, segment.header.segment_bytes);
        }
        Ok(self.records(&segment, &found.path, successor))
    }

    /// A segment above the mark whose header does not hold is torn. Without marks that may as well be damage, or a disk that
    /// refuses to read it for now: then it is kept, and nothing else gets the offsets that its records may have.
    fn unreadable(&mut self, found: &Found) -> Result<End> {
        if self.has_marks {
            return Ok(End::Torn);
        }
        let bytes = fs::metadata(&found.path).at("inspect", &found.path)?.len();
        self.trust(found, bytes);
        Ok(if self.next < self.trusted { End::Spoilt } else { End::Torn })
    }

    /// Takes it that a segment of so many bytes was full of records, so that none of them is lost for want of knowing.
    fn trust(&mut self, found: &Found, bytes: u64) {
        let records = bytes.min(SEGMENT_BYTES_MAX).saturating_sub(HEADER_BYTES as u64);
        self.trusted = found.base.plus(records / record::HEADER_BYTES as u64);
    }

    fn records(&mut self, segment: &Segment, path: &Path, successor: Option<&Successor<'_>>) -> End {
        let mut batch = Batch::at(HEADER_BYTES, self.next, self.epoch, Tables::default());
        // The end of the last whole batch: a torn one is cut off from its beginning.
        let mut whole = (batch.at, batch.tables.clone());
        let mut spoilt = false;
        loop {
            let reason = match segment.at(batch.at) {
                Step::Record(decoded) if successor.is_some_and(|next| next.replaces(&decoded.head)) => {
                    return End::Spoilt;
                }
                Step::Record(decoded) => match batch.take(&decoded) {
                    Ok(()) => {
                        if !decoded.head.more {
                            if whole.0 == HEADER_BYTES && !spoilt {
                                // A segment's first batch is all of the state: what ended in a damaged place stays ended.
                                self.state = State::default();
                                self.began = true;
                            }
                            self.apply(&mut batch);
                            whole = (batch.at, batch.tables.clone());
                        }
                        if batch.sealed {
                            return End::Sealed;
                        }
                        continue;
                    }
                    Err(reason) => reason,
                },
                Step::Empty if self.next >= self.trusted => break,
                Step::Empty => "no record where there must be one",
                Step::Bad(reason) => reason,
            };
            if self.next >= self.trusted {
                self.cut = true;
                break;
            }
            tracing::error!(path = %path.display(), offset = self.next.0, reason, "damaged record");
            spoilt = true;
            match segment.find_record(batch.at, batch.next) {
                // What a torn place had behind it is not the journal's, where another segment goes on in its place.
                Some((at, offset))
                    if offset >= self.next && successor.is_none_or(|next| offset < next.base()) =>
                {
                    if offset > self.next {
                        self.damage(offset);
                    }
                    batch = Batch::at(at, self.next, self.epoch, batch.tables);
                }
                _ => return End::Spoilt,
            }
        }
        self.cut |= batch.at != whole.0;
        // A block that could not be read cannot be written in part either.
        if spoilt || segment.is_refused() {
            return End::Spoilt;
        }
        let (at, tables) = whole;
        if !segment.has_room_at(at) {
            return End::Sealed;
        }
        End::Open(Tail { path: path.to_owned(), at, tables })
    }

    fn apply(&mut self, batch: &mut Batch) {
        self.next = batch.next;
        self.epoch = self.epoch.max(batch.epoch);
        self.time = self.time.max(batch.time);
        for ((subscription, journal), position) in std::mem::take(&mut batch.state.acks) {
            self.state.acknowledge(subscription, journal, position);
        }
        self.state.checkpoints.append(&mut batch.state.checkpoints);
        if std::mem::take(&mut batch.ends_checkpoints) {
            self.state.checkpoints.retain(|_, value| !value.is_empty());
        }
    }
}

/// The records since the last whole batch.
struct Batch {
    at: usize,
    next: Offset,
    epoch: Epoch,
    time: Time,
    tables: Tables,
    state: State,
    /// More records of the same batch follow.
    begun: bool,
    sealed: bool,
    /// A checkpoint is empty: it is no more.
    ends_checkpoints: bool,
}

impl Batch {
    fn at(at: usize, next: Offset, epoch: Epoch, tables: Tables) -> Self {
        Self {
            at,
            next,
            epoch,
            time: Time(0),
            tables,
            state: State::default(),
            begun: false,
            sealed: false,
            ends_checkpoints: false,
        }
    }

    fn take(&mut self, decoded: &Decoded<'_>) -> Result<(), &'static str> {
        if decoded.head.offset != self.next {
            return Err("offset out of turn");
        }
        // What an earlier writer left behind a torn place shows through if the zeroing of it was lost.
        if decoded.head.epoch < self.epoch || self.begun && decoded.head.epoch != self.epoch {
            return Err("epoch out of turn");
        }
        match decoded.head.kind {
            Kind::Event if !self.tables.can_name(decoded.head.topic, decoded.head.cause_journal) => {
                return Err("topic or cause never declared");
            }
            Kind::Event => self.next = self.next.plus(1),
            Kind::Ack => {
                let (names, position) =
                    decode_ack(decoded.payload).ok_or("acknowledgement that makes no sense")?;
                self.state.acks.insert(names, position);
            }
            Kind::Checkpoint => {
                let (name, value) =
                    decode_checkpoint(decoded.payload).ok_or("checkpoint that makes no sense")?;
                self.ends_checkpoints |= value.is_empty();
                self.state.checkpoints.insert(name.to_owned(), value.to_vec());
            }
            Kind::Sealed => {
                sealed_at(decoded)?;
                self.sealed = true;
            }
            Kind::Topic | Kind::Journal | Kind::EpochBegun => self.tables.note(decoded)?,
        }
        self.epoch = decoded.head.epoch;
        self.begun = decoded.head.more;
        self.time = self.time.max(decoded.head.time);
        self.at += decoded.stride;
        Ok(())
    }
}

/// An acknowledgement: next offset, epoch, checksum, journal identity, then the two names.
pub(crate) fn encode_ack(subscription: &str, journal: &str, position: &Position) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(25 + subscription.len() + journal.len());
    bytes.extend(position.next.0.to_le_bytes());
    bytes.extend(position.epoch.0.to_le_bytes());
    bytes.extend(position.checksum.to_le_bytes());
    bytes.extend(position.journal.to_le_bytes());
    bytes.push(u8::try_from(subscription.len()).expect("names were checked"));
    bytes.extend(subscription.as_bytes());
    bytes.extend(journal.as_bytes());
    bytes
}

fn decode_ack(bytes: &[u8]) -> Option<((String, String), Position)> {
    let (next, rest) = bytes.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (journal, rest) = rest.split_first_chunk::<8>()?;
    let position = Position {
        next: Offset(u64::from_le_bytes(*next)),
        epoch: Epoch(u32::from_le_bytes(*epoch)),
        checksum: u32::from_le_bytes(*checksum),
        journal: u64::from_le_bytes(*journal),
    };
    let (subscription, journal) = split_name(rest)?;
    Some(((subscription.to_owned(), std::str::from_utf8(journal).ok()?.to_owned()), position))
}

/// A checkpoint: its name, then its value.
pub(crate) fn encode_checkpoint(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + name.len() + value.len());
    bytes.push(u8::try_from(name.len()).expect("names were checked"));
    bytes.extend(name.as_bytes());
    bytes.extend(value);
    bytes
}

fn decode_checkpoint(bytes: &[u8]) -> Option<(&str, &[u8])> {
    split_name(bytes)
}

fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layout;
    use crate::options::Options;
    use crate::types::{Codec, Entry};
    use crate::writer::Writer;

    #[test]
    fn state_outlives_damage_to_the_beginning_of_the_newest_segment() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("state");
        let options = Options { segment_bytes: 8 << 10, ..Options::default() };
        let mut writer = Writer::open(&instance, &options).unwrap();
        let checkpoint = crate::Checkpoint { name: "c", value: b"kept" };
        writer.commit(&crate::Batch { checkpoints: &[checkpoint], ..Default::default() }).unwrap();
        let entry = Entry { topic: "t", key: None, cause: None, codec: Codec::Raw, payload: &[7; 500] };
        for _ in 0..18 {
            writer.append(&entry).unwrap();
        }
        drop(writer);
        let newest = segment::list(&layout::journal_folder(&instance)).unwrap().pop().unwrap();
        assert!(newest.base > Offset::ZERO);
        let mut bytes = fs::read(&newest.path).unwrap();
        bytes[HEADER_BYTES + 50] ^= 1;
        fs::write(&newest.path, bytes).unwrap();
        let writer = Writer::open(&instance, &options).unwrap();
        assert_eq!(writer.checkpoint("c"), Some(&b"kept"[..]));
        assert_eq!(writer.next_offset(), Offset(18));
    }

    #[test]
    fn a_checkpoint_without_a_value_is_no_more() {
        let home = tempfile::tempdir().unwrap();
        let instance = home.path().join("state");
        let mut writer = Writer::open(&instance, &Options::default()).unwrap();
        for (name, value) in [("a", &b"kept"[..]), ("b", b"gone"), ("b", b"")] {
            let checkpoint = crate::Checkpoint { name, value };
            writer.commit(&crate::Batch { checkpoints: &[checkpoint], ..Default::default() }).unwrap();
        }
        assert_eq!(writer.checkpoint_names().collect::<Vec<_>>(), ["a"]);
        drop(writer);
        let writer = Writer::open(&instance, &Options::default()).unwrap();
        assert_eq!(writer.checkpoint_names().collect::<Vec<_>>(), ["a"]);
        assert_eq!(writer.checkpoint("b"), None);
    }
}
