//! One journal that is read, and the line that is next in it.

use std::path::PathBuf;

use anyhow::Result;
use procession::names::Instance;
use procession::{Gap, Item, Level, Offset, Reader, Start, Time};

use super::latch::{Latch, Woken};
use super::line::Form;
use crate::pattern::Pattern;

/// A journal, and which of its topics are wanted.
pub(super) struct Source {
    pub(super) instance: Instance,
    folder: PathBuf,
    wanted: Vec<Pattern>,
    opened: Option<Opened>,
    latch: Latch,
    /// Where reading stood when the publisher said that it had said more.
    seemed: Option<Offset>,
}

struct Opened {
    reader: Reader,
    /// Nothing from here on is wanted.
    end: Option<Offset>,
    /// The next line, if there is one.
    line: Vec<u8>,
    held: Option<Held>,
    /// The time of the last record, where the next gap belongs.
    time: Time,
}

/// What the held line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Record(Time),
    Gap(Time),
}

impl Held {
    const fn time(self) -> Time {
        match self {
            Self::Record(time) | Self::Gap(time) => time,
        }
    }
}

impl Source {
    pub(super) fn new(instance: Instance, folder: PathBuf, wanted: Vec<Pattern>, latch: Latch) -> Self {
        Self { instance, folder, wanted, opened: None, latch, seemed: None }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// Opens the journal if there is one; returns whether it is open.
    pub(super) fn open(&mut self, start: Start) -> Result<bool> {
        if self.opened.is_none()
            && let Some(reader) = Reader::open(&self.folder, start, Level::Committed)?
        {
            self.opened = Some(Opened { reader, end: None, line: Vec::new(), held: None, time: Time(0) });
        }
        Ok(self.opened.is_some())
    }

    /// Ends the journal where it ends now.
    pub(super) fn end_here(&mut self) -> Result<()> {
        if let Some(opened) = &mut self.opened {
            opened.end = Some(opened.reader.marks()?.trusted());
        }
        Ok(())
    }

    /// Compares the journal that is read with what lies at its path now, and goes over to that.
    pub(super) fn compare(&mut self) -> Result<()> {
        self.seemed = None;
        if let Some(opened) = &mut self.opened {
            opened.reader.look_at_path()?;
        }
        Ok(())
    }

    /// What ends when it is worth looking at the journal again; `None` while that is going on, and until the next
    /// comparison if nothing came of it the last time.
    pub(super) fn wait(&mut self) -> Option<impl Future<Output = Woken> + Send + 'static> {
        let next = self.next()?;
        if self.seemed == Some(next) { None } else { self.latch.wait(next) }
    }

    /// The wait is over.
    pub(super) fn woken(&mut self, woken: Woken) {
        self.seemed = if woken.has_moved() { self.next() } else { None };
        self.latch.woken(woken);
    }

    /// Makes the next line, unless there is one or everything has been read.
    #[inline]
    pub(super) fn fill(&mut self, form: &Form) -> Result<()> {
        if let Some(opened) = &mut self.opened
            && opened.held.is_none()
        {
            opened.held = opened.next(&self.instance, &self.wanted, form)?;
        }
        Ok(())
    }

    /// What the next line says, if there is one.
    #[inline]
    pub(super) fn held(&self) -> Option<Held> {
        self.opened.as_ref()?.held
    }

    /// The place of the next line among those of all journals.
    pub(super) fn place(&self) -> (Option<Time>, &Instance) {
        (self.held().map(Held::time), &self.instance)
    }

    /// Takes the line that [`Self::fill`] made.
    pub(super) fn take(&mut self) -> Option<(&[u8], Held)> {
        let opened = self.opened.as_mut()?;
        let held = opened.held.take()?;
        Some((&opened.line, held))
    }

    /// Where reading goes on.
    pub(super) fn next(&self) -> Option<Offset> {
        self.opened.as_ref().map(|opened| opened.reader.position().next)
    }
}

impl Opened {
    fn next(&mut self, instance: &Instance, wanted: &[Pattern], form: &Form) -> Result<Option<Held>> {
        let end = self.end.unwrap_or(Offset(u64::MAX));
        if self.reader.position().next >= end {
            return Ok(None);
        }
        while let Some(item) = self.reader.next()? {
            match item {
                Item::Record(record) if record.offset >= end => return Ok(None),
                Item::Record(record) => {
                    self.time = record.time;
                    if wanted.iter().any(|pattern| pattern.takes_topic(record.topic)) {
                        self.line.clear();
                        form.record(&mut self.line, instance.as_str(), &record)?;
                        return Ok(Some(Held::Record(record.time)));
                    }
                    if record.offset.plus(1) >= end {
                        return Ok(None);
                    }
                }
                Item::Gap(Gap { from, .. }) if from >= end => return Ok(None),
                Item::Gap(gap) => {
                    self.line.clear();
                    form.gap(&mut self.line, instance.as_str(), &gap)?;
                    return Ok(Some(Held::Gap(self.time)));
                }
            }
        }
        Ok(None)
    }
}
