//! Noticing that the journal at the path is not the one that was read: its folder was removed and begun anew, or an
//! older copy of it was put back.
//!
//! A mapping stays what it was when the name of its file is given to another one, so a reader that only looks at its
//! mapping is deaf from then on. And an older copy goes on under the same identity, with other records at offsets that
//! were read already.

use std::collections::VecDeque;
use std::fs;
use std::io;

use super::Reader;
use super::across::Listing;
use super::arrival::Arrival;
use crate::error::{At, Error, Result};
use crate::history;
use crate::marks::{self, Marks, MarksReader, identity_of};
use crate::types::{Epoch, Offset, Position};
use crate::walk::Segment;

/// So many places are remembered.
const KNOWN_MAX: usize = 128;

/// What lies at the path of a journal that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtPath {
    /// The journal that is being read.
    Same,
    /// Another one, or another state of it. The reader has gone over to it, and says first what it means for what was
    /// read.
    Another,
    /// No journal: its files are gone, or a writer is only about to begin it. What was mapped can still be read.
    Nothing,
}

/// The places behind the first and the last record of each epoch that was read, and behind the record where reading began.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<Position>);

impl Known {
    /// Takes note of a place, if it is behind the last one and in another epoch.
    pub(super) fn note(&mut self, position: Position) {
        let is_known = |newest: &Position| newest.epoch == position.epoch || newest.next >= position.next;
        if position.epoch == Epoch(0) || self.0.back().is_some_and(is_known) {
            return;
        }
        self.push(position);
    }

    /// Takes note of a place behind all the others, as far as it is known that its epoch has come.
    pub(super) fn note_end(&mut self, position: Position) {
        if position.epoch == Epoch(0) || self.0.back().is_some_and(|newest| newest.next >= position.next) {
            return;
        }
        if self.0.iter().rev().take_while(|known| known.epoch == position.epoch).count() > 1 {
            self.0.pop_back();
        }
        self.push(position);
    }

    fn push(&mut self, position: Position) {
        if self.0.len() >= KNOWN_MAX {
            self.0.pop_front();
        }
        self.0.push_back(position);
    }

    /// Where each of them lies.
    pub(super) fn places(&self) -> impl Iterator<Item = Offset> {
        self.0.iter().map(|known| known.next)
    }

    fn newest(&self) -> Option<&Position> {
        self.0.back()
    }

    /// Another history goes on at `next`: what lay behind it is gone.
    pub(super) fn go_back(&mut self, next: Offset) {
        self.0.retain(|known| known.next <= next);
    }
}

impl Reader {
    /// Compares what is mapped with what lies at the journal's path, and goes over to that if it is something else: the
    /// next item is a gap then, if anything that was read is gone. Where nothing was read of a journal that is another one
    /// now, the gap is empty.
    ///
    /// For whoever was woken and finds nothing, and for whoever is idle. Costs a system call.
    ///
    /// # Errors
    /// [`crate::Error::ForeignVersion`] for the journal that lies there now; I/O errors.
    pub fn look_at_path(&mut self) -> Result<AtPath> {
        if self.segment.as_ref().is_some_and(Segment::is_cut) {
            // It is mapped again as far as it goes, and the rest is a gap.
            self.limit = Offset::ZERO;
            self.leave();
        }
        let path = self.marks.path();
        match fs::metadata(path) {
            Ok(found)
                if identity_of(&found) == self.marks.identity() && found.len() < marks::BYTES as u64 =>
            {
                let reason = "it was cut while it was in use".to_owned();
                return Err(Error::Corrupt { path: path.to_owned(), offset: self.next, reason });
            }
            Ok(found) if identity_of(&found) == self.marks.identity() => return self.look_back(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AtPath::Nothing),
            Err(error) => return Err(error).at("inspect", path),
        }
        let Some(marks) = MarksReader::open(path)? else { return Ok(AtPath::Nothing) };
        let Some(now) = marks.load()? else { return Ok(AtPath::Nothing) };
        self.marks = marks;
        self.go_over(&now);
        Ok(AtPath::Another)
    }

    /// The same file may have been written over with an older copy.
    fn look_back(&mut self) -> Result<AtPath> {
        let Some(now) = self.marks.load()? else { return Ok(AtPath::Same) };
        let went_back = match self.known.newest() {
            Some(newest) if self.unchecked.is_none() => {
                let is_older = now.epoch < newest.epoch && self.gone_over != Some(now.epoch);
                is_older || now.same_boot && self.is_behind(&now)?
            }
            _ => false,
        };
        if now.journal == self.journal && !went_back {
            return Ok(AtPath::Same);
        }
        self.go_over(&now);
        Ok(AtPath::Another)
    }

    /// Whether the journal ends before what was read of it. Not if that is there: a writer that was killed before it could
    /// move its mark past it, or is halted just then, leaves the mark behind.
    fn is_behind(&mut self, now: &Marks) -> Result<bool> {
        let read = self.furthest();
        if now.trusted() >= read.next || self.holding == Some((read, *now)) {
            return Ok(false);
        }
        let holds = read.epoch != Epoch(0) && self.holds(&read)? == Some(true);
        // Looked for once: that reads a segment, and the writer may stay dead for long.
        self.holding = holds.then_some((read, *now));
        Ok(!holds)
    }

    /// The place behind all that was read: who was sent back since has come further than it is.
    fn furthest(&self) -> Position {
        let here = self.position();
        self.known.newest().filter(|newest| newest.next > here.next).copied().unwrap_or(here)
    }

    fn go_over(&mut self, now: &Marks) {
        let (here, read) = (self.next, self.unchecked.unwrap_or_else(|| self.furthest()));
        if here < read.next {
            self.back = Some(self.back.map_or(here, |earlier| earlier.min(here)));
        }
        self.journal = now.journal;
        self.unchecked = Some(read);
        self.gone_over = Some(now.epoch);
        self.arrival = Some(Arrival::new(now));
        self.listing = Listing::default();
        self.limit = Offset::ZERO;
        self.leave();
    }

    /// Takes note of the place behind all that was read, unless nobody but whoever stood there before has seen its epoch.
    pub(super) fn note_end(&mut self) {
        if self.marks.epoch().is_some_and(|newest| self.last.0 <= newest) {
            self.known.note_end(self.position());
        }
    }

    /// Goes back to an earlier offset of what was read, or was to be.
    pub fn go_back(&mut self, offset: Offset) {
        if self.unchecked.is_some() {
            // What is there has yet to be compared with the place that is known.
            self.back = Some(self.back.map_or(offset, |earlier| earlier.min(offset)));
            return;
        }
        self.note_end();
        // A gap that was not taken yet comes when it is its turn.
        let from = self.gap.map_or(offset, |gap| gap.from);
        (self.next, self.last) = (offset.min(from), (Epoch(0), 0));
        self.limit = Offset::ZERO;
        self.leave();
    }

    /// Where reading has to go on because history is another one since; `None` if it is the same, as far as anybody can
    /// tell.
    pub(super) fn part(&self, position: &Position, marks: &Marks) -> Result<Option<Offset>> {
        let is_bare = position.epoch == Epoch(0);
        if !is_bare {
            match self.holds(position)? {
                Some(true) => return Ok(None),
                // What came before is trimmed or damaged: nothing to compare with.
                None if position.next <= marks.trusted() => return Ok(None),
                _ => {}
            }
        }
        let earlier = || self.known.0.iter().filter(|known| known.next < position.next || is_bare);
        // Whoever said the last known record that both histories have has said the same in both, for as long as its epoch goes
        // on in both. Later epochs tell nothing: they may have been used in both.
        let mut gone = (!is_bare).then_some(*position);
        for known in earlier().rev() {
            if self.holds(known)? == Some(true) {
                let end = match gone {
                    Some(gone) if gone.epoch == known.epoch => gone.next,
                    Some(_) => known.next,
                    None => Offset(u64::MAX),
                };
                let resume = self.first_after(known.epoch, marks)?.min(end);
                return Ok((resume < position.next || !is_bare).then_some(resume.min(position.next)));
            }
            gone = Some(*known);
        }
        let Some(first) = earlier().next().or((!is_bare).then_some(position)) else {
            // Nothing was read. But a place that was once the end of this journal lies not behind it, unless the end is
            // an earlier one now.
            let end = marks.trusted();
            return Ok((position.journal != 0 && end < position.next).then_some(end));
        };
        let resume =
            if marks.epoch > first.epoch { self.first_after(first.epoch, marks)? } else { first.next };
        // Else an older copy has used the epochs of what was read once more: no epoch tells the two apart.
        Ok(Some(if resume < first.next { resume } else { Offset::ZERO }))
    }

    /// Whether the record before a place is what it was; `None` if it is not there.
    fn holds(&self, place: &Position) -> Result<Option<bool>> {
        let last = history::last_before(&self.folder, place.next)?;
        Ok(last.map(|last| last == (place.epoch, place.checksum)))
    }

    fn first_after(&self, epoch: Epoch, marks: &Marks) -> Result<Offset> {
        Ok(history::first_after_epoch(&self.folder, epoch)?.unwrap_or(marks.trusted()))
    }
}
