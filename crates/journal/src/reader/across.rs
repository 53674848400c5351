//! From one segment to the next, over what is damaged, and to where reading begins.

use std::path::Path;

use super::replaced::{AtPath, Known};
use super::{Level, OFFSET_NEVER, Reader, Start, Turn};
use crate::error::{Error, Result};
use crate::history;
use crate::marks::Marks;
use crate::segment::{self, HEADER_BYTES};
use crate::types::{Epoch, Gap, GapReason, Offset, Position};
use crate::walk::{Segment, Step, Tables};

/// Where the segments begin, as far as that was listed: the whole folder is not listed again for each of them.
#[derive(Debug, Default)]
pub(super) struct Listing {
    bases: Vec<Offset>,
    /// A later writer may have cut the journal, and gone on elsewhere.
    epoch: Epoch,
    /// Made for the segment that is entered next.
    is_new: bool,
}

impl Listing {
    fn make(folder: &Path, marks: &Marks) -> Result<Self> {
        let bases = segment::list(folder)?.into_iter().map(|found| found.base).collect();
        Ok(Self { bases, epoch: marks.epoch, is_new: true })
    }

    /// The place of the segment that holds `next`.
    fn holder(&self, next: Offset) -> Option<usize> {
        self.bases.partition_point(|base| *base <= next).checked_sub(1)
    }

    fn after(&self, index: usize) -> Option<Offset> {
        self.bases.get(index + 1).copied()
    }

    /// Whether it still says where the segment that begins at `next` lies, and where that ends: the newest may have got a
    /// successor since.
    fn is_good_for(&mut self, next: Offset, marks: &Marks) -> bool {
        let is_new = std::mem::take(&mut self.is_new);
        let holder = self.holder(next).filter(|index| self.bases[*index] == next);
        self.epoch == marks.epoch && holder.is_some_and(|index| is_new || self.after(index).is_some())
    }
}

impl Reader {
    /// Goes past a whole record that is not the next event.
    pub(super) fn pass(&mut self, stride: usize, noted: bool, sealed: bool) -> Result<Turn> {
        if !noted {
            tracing::error!(folder = %self.folder.display(), at = self.at, "a control record makes no sense");
        }
        if sealed {
            return self.go_on();
        }
        self.at += stride;
        Ok(Turn::Again)
    }

    /// What is to be done first if the journal is not at its path any more. Segments are found by name, and the name may be
    /// another journal's by now, or nobody's, of which nobody knows what became of the rest.
    fn turn_elsewhere(&mut self) -> Result<Option<Turn>> {
        Ok(match self.look_at_path()? {
            AtPath::Same => None,
            AtPath::Another => Some(Turn::Again),
            AtPath::Nothing => Some(Turn::CaughtUp),
        })
    }

    /// Goes on behind the end of the segment: it stays on a seal until there is something to go to.
    #[cold]
    fn go_on(&mut self) -> Result<Turn> {
        if let Some(turn) = self.turn_elsewhere()? {
            return Ok(turn);
        }
        // Before the files: what is committed by now must be in one of them.
        let Some(marks) = self.look()? else { return Ok(Turn::CaughtUp) };
        let Some(segment) = &self.segment else { return Ok(Turn::Again) };
        let base = segment.header.base;
        let listing = Listing::make(&self.folder, &marks)?;
        let later = listing.bases.iter().copied().find(|later| *later > base);
        let kept = listing.bases.first().is_some_and(|first| *first <= self.next);
        // The next segment is there; or all up to here is trimmed, which entering tells.
        let there = later.is_some_and(|later| later <= self.next || !kept);
        if there || segment.is_replaced(&segment::path(&self.folder, base)) {
            self.listing = listing;
            self.leave();
            return Ok(Turn::Again);
        }
        self.skip_to(later, &marks)
    }

    /// Leaves the segment: the one that holds `next` is entered next.
    pub(super) fn leave(&mut self) {
        self.segment = None;
        self.entered += 1;
        self.tables = Tables::default();
        self.at = HEADER_BYTES;
        self.until = OFFSET_NEVER;
    }

    /// Maps the segment that holds `next`; the records before it are passed one by one.
    #[cold]
    pub(super) fn enter(&mut self) -> Result<Turn> {
        if let Some(turn) = self.turn_elsewhere()? {
            return Ok(turn);
        }
        // A segment may be trimmed between listing and opening: look again, a bounded number of times.
        for _ in 0..8 {
            let Some(marks) = self.look()? else { return Ok(Turn::CaughtUp) };
            if !self.listing.is_good_for(self.next, &marks) {
                self.listing = Listing::make(&self.folder, &marks)?;
                self.listing.is_new = false;
            }
            let Some(first) = self.listing.bases.first().copied() else { return self.skip_to(None, &marks) };
            let Some(index) = self.listing.holder(self.next) else {
                if first > marks.trimmed && self.may_arrive(&marks)? {
                    return Ok(Turn::CaughtUp);
                }
                return Ok(self.miss(first, GapReason::Trimmed));
            };
            let after = self.listing.after(index);
            match Segment::open(&segment::path(&self.folder, self.listing.bases[index])) {
                Ok(segment) if segment.header.journal == self.journal => {
                    self.leave();
                    self.segment = Some(segment);
                    self.until = after.unwrap_or(OFFSET_NEVER);
                    self.limit = self.limit.min(self.until);
                    return Ok(Turn::Again);
                }
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    self.listing = Listing::default();
                    // The mark moves before the file goes. Nor does its name have to have gone: a writer that drops it has the
                    // lock before that, and may have been killed, or halted, just then.
                    let Some(marks) = self.look()? else { return Ok(Turn::CaughtUp) };
                    if after.is_some_and(|after| after <= marks.trimmed) {
                        return Ok(self.miss(marks.trimmed, GapReason::Trimmed));
                    }
                }
                Ok(_) | Err(Error::Corrupt { .. }) => return self.skip_to(after, &marks),
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::CaughtUp)
    }

    /// Nothing readable lies at this place: is it the end, or damage?
    #[cold]
    pub(super) fn stuck(&mut self) -> Result<Turn> {
        let Some(marks) = self.look()? else { return Ok(Turn::CaughtUp) };
        if self.next >= marks.trusted() {
            return Ok(Turn::CaughtUp);
        }
        if let Some(turn) = self.turn_elsewhere()? {
            return Ok(turn);
        }
        let Some(segment) = &mut self.segment else { return Ok(Turn::Again) };
        // The writer may have come by just now: the mark was loaded after the word. And the record may reach beyond what was
        // shown when there was none.
        segment.show(self.at)?;
        match segment.at(self.at) {
            Step::Record(decoded) if decoded.head.offset <= self.next => return Ok(Turn::Again),
            Step::Record(_) | Step::Empty | Step::Bad(_) => {}
        }
        if self.may_arrive(&marks)? {
            // It is mapped again as far as it has come by then.
            self.leave();
            return Ok(Turn::CaughtUp);
        }
        // What lies behind this place may be what was cut off when another segment was begun in its place.
        let Some(segment) = &mut self.segment else { return Ok(Turn::Again) };
        let listing = Listing::make(&self.folder, &marks)?;
        if let Some(until) = listing.bases.iter().copied().find(|later| *later > segment.header.base) {
            self.until = self.until.min(until);
            if self.next >= until {
                self.listing = listing;
                self.leave();
                return Ok(Turn::Again);
            }
        }
        segment.show_all()?;
        match segment.find_record(self.at, self.next) {
            // A record at or past the mark may be part of a batch that is being written.
            Some((at, offset)) if offset < marks.trusted().min(self.until) => {
                self.at = at;
                Ok(if offset <= self.next { Turn::Again } else { self.miss(offset, GapReason::Corrupt) })
            }
            // Damaged up to its end, or left without a seal by a writer that was killed just then.
            _ => self.go_on(),
        }
    }

    /// Gives up what lies before the next segment, or before the trusted mark if there is none.
    fn skip_to(&mut self, later: Option<Offset>, marks: &Marks) -> Result<Turn> {
        let to = later.unwrap_or(marks.trusted());
        if to <= self.next || self.may_arrive(marks)? {
            return Ok(Turn::CaughtUp);
        }
        let gap = self.miss(to, GapReason::Corrupt);
        if later.is_some() {
            self.leave();
        }
        Ok(gap)
    }

    /// Goes on at `to`. Nobody knows the record before it, and no place there may name another one as that.
    fn miss(&mut self, to: Offset, reason: GapReason) -> Turn {
        self.note_end();
        let gap = Gap { from: self.next, to, reason };
        (self.next, self.last) = (to, (Epoch(0), 0));
        Turn::Gap(gap)
    }

    /// Looks at the marks again; `false` if there is nothing more to read yet.
    #[cold]
    pub(super) fn raise_limit(&mut self) -> Result<bool> {
        let Some(marks) = self.look()? else { return Ok(false) };
        if let Some(position) = self.unchecked
            && (marks.same_boot || position.next <= marks.durable)
        {
            if self.lacks_files(&position, &marks)? {
                return Ok(false);
            }
            self.compare(&position, &marks)?;
            self.unchecked = None;
            // If it is another history, what both have comes again before the gap.
            if let Some(back) = self.back.take().filter(|back| *back < self.next) {
                self.go_back(back);
            }
        }
        if self.unchecked.is_none() && self.last.0 <= marks.epoch {
            self.known.note(self.position());
        }
        let limit = if self.level == Level::Committed && marks.same_boot {
            OFFSET_NEVER
        } else {
            // Until the owner has recovered its journal, what lies past this may be torn.
            marks.durable
        };
        if self.unchecked.is_some_and(|furthest| furthest.next > self.next) {
            // Sent back, and not compared yet: what lies before that may be another journal's.
            self.limit = Offset::ZERO;
            return Ok(false);
        }
        let limit = self.gap.map_or(limit, |gap| limit.min(gap.from));
        self.limit = limit.min(self.until);
        Ok(self.next < limit)
    }

    /// Looks at the marks; `None` if they are damaged.
    fn look(&mut self) -> Result<Option<Marks>> {
        let marks = self.marks.load()?;
        let shown = marks.filter(|marks| marks.same_boot).map(|marks| marks.epoch);
        if shown.is_some() && shown != self.shown {
            self.find_end()?;
        }
        (self.is_live, self.shown) = (shown.is_some(), shown);
        self.gone_over = self.gone_over.filter(|epoch| marks.is_none_or(|marks| marks.epoch == *epoch));
        Ok(marks)
    }

    /// A writer has recovered the journal since the segment was entered: if it goes on in another one, what lies behind that
    /// one's beginning is what recovery has left out.
    #[cold]
    fn find_end(&mut self) -> Result<()> {
        self.listing = Listing::default();
        let Some(segment) = &self.segment else { return Ok(()) };
        let base = segment.header.base;
        let later =
            segment::list(&self.folder)?.into_iter().map(|found| found.base).find(|later| *later > base);
        self.until = later.unwrap_or(OFFSET_NEVER);
        self.limit = self.limit.min(self.until);
        Ok(())
    }

    /// The end of what may be read.
    pub(super) fn readable_end(&self) -> Option<Offset> {
        let marks = self.marks.load().ok().flatten()?;
        Some(if self.level == Level::Committed { marks.trusted() } else { marks.durable })
    }

    pub(super) fn start(&mut self, start: Start, now: &Marks) -> Result<()> {
        self.next = match start {
            Start::Beginning => segment::list(&self.folder)?.first().map_or(now.trimmed, |first| first.base),
            Start::End => now.trusted(),
            Start::Offset(offset) => offset,
            Start::Time(time) => {
                history::first_at(&self.folder, time)?.unwrap_or(now.trusted()).min(now.trusted())
            }
            Start::Position(position) => {
                // Before the first record there is nothing to compare.
                if position.next > Offset::ZERO {
                    self.last = (position.epoch, position.checksum);
                    self.unchecked = Some(position);
                }
                position.next
            }
        };
        Ok(())
    }

    /// Compares a position with history, and steps back to where they part.
    fn compare(&mut self, position: &Position, marks: &Marks) -> Result<()> {
        let replaced = position.journal != 0 && position.journal != self.journal.low_half();
        let resume = if replaced {
            // All that was read is of another history. What is trimmed of this one is a gap of its own.
            Offset::ZERO
        } else if position.next == Offset::ZERO {
            return Ok(());
        } else {
            match self.part(position, marks)? {
                None => return Ok(()),
                Some(resume) => resume,
            }
        };
        // What lies before is of both histories.
        self.known.go_back(resume);
        if replaced {
            self.known = Known::default();
        } else if resume > Offset::ZERO
            && let Some((epoch, checksum)) = history::last_before(&self.folder, resume)?
        {
            self.known.note_end(Position { next: resume, epoch, checksum, ..*position });
        }
        // Another journal is told of also where nothing was read yet: what follows is that one's.
        if resume < position.next || replaced {
            self.gap = Some(Gap { from: resume, to: position.next, reason: GapReason::Diverged });
        }
        (self.next, self.last) = (resume, (Epoch(0), 0));
        self.leave();
        Ok(())
    }
}
