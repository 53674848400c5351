//! One journal that is read, and the line that is next in it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use procession::names::Instance;
use procession::{Gap, Item, Level, Offset, Reader, Start, Time};

use super::latch::Latch;
use super::line::Form;
use crate::pattern::Pattern;

/// A journal, and which of its topics are wanted.
pub(super) struct Source {
    pub(super) instance: Instance,
    folder: PathBuf,
    wanted: Vec<Pattern>,
    opened: Option<Opened>,
    pub(super) latch: Latch,
}

struct Opened {
    reader: Reader,
    /// Nothing from here on is wanted.
    end: Option<Offset>,
    /// The file of the marks: another one means that the journal was replaced.
    marks: Option<(u64, u64)>,
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
        Self { instance, folder, wanted, opened: None, latch }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// Opens the journal if there is one; returns whether it is open.
    pub(super) fn open(&mut self, start: Start) -> Result<bool> {
        if self.opened.is_none()
            && let Some(reader) = Reader::open(&self.folder, start, Level::Committed)?
        {
            let marks = identity(&self.folder);
            self.opened =
                Some(Opened { reader, end: None, marks, line: Vec::new(), held: None, time: Time(0) });
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

    /// Forgets a journal whose files were replaced, so that the new one is opened.
    pub(super) fn close_if_replaced(&mut self) {
        let now = identity(&self.folder);
        let replaced = |opened: &Opened| opened.held.is_none() && now.is_some() && opened.marks != now;
        if self.opened.as_ref().is_some_and(replaced) {
            self.opened = None;
        }
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

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let marks = std::fs::metadata(journal::marks_path(folder)).ok()?;
    Some((marks.dev(), marks.ino()))
}
