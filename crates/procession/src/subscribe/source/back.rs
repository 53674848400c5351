//! Going back for single records that were delivered and are not done.
//!
//! That nothing can be had of a journal now says nothing about its records: its files may be away for a moment, or come
//! back one by one. A record is lost if the journal says so: it has trimmed it, or is damaged there, or is another one.

use std::path::Path;

use journal::{AtPath, GapReason, Item, Level, Offset, Reader, Start};
use tokio::time::Instant;

use super::found::origin_of;
use super::trouble::{RETRY_EVERY, is_lack};
use super::{Opened, Source};
use crate::error::Result;
use crate::subscribe::record::OwnedRecord;
use crate::waiting::Waiting;

/// So many readers go back for single records of one journal.
const READERS_MAX: usize = 16;
/// Rather than pass so many records, another reader goes there.
const STEPS_MAX: u64 = 4096;

/// What came of going back for a record.
pub(crate) enum Fetched {
    Record(OwnedRecord),
    /// The journal does not have it any more, for this reason.
    Lost(String),
    /// Nobody can tell before this time, when it is to be tried again.
    Unknown(Instant),
}

/// A record that cannot be had now. The process says so for as long as this is there.
pub(super) struct Awaited {
    offset: Offset,
    waiting: Waiting,
    due: Instant,
    /// Nothing of the journal can be had.
    of_all: bool,
}

enum Looked {
    Record(OwnedRecord),
    Lost(String),
    Unknown { why: String, of_all: bool },
}

impl Source {
    /// Reads a record again that was delivered and is not done.
    pub(crate) fn fetch(&mut self, offset: Offset) -> Result<Fetched> {
        let now = Instant::now();
        // Of many that wait for one journal, one at a time asks for it.
        if let Some(awaited) = &self.awaited
            && awaited.due > now
            && (awaited.of_all || awaited.offset == offset)
        {
            return Ok(Fetched::Unknown(awaited.due));
        }
        let Some(open) = &mut self.open else { return Ok(Fetched::Unknown(now + RETRY_EVERY)) };
        match open.go_back_for(offset, &self.folder, self.level) {
            Ok(Looked::Record(record)) => {
                self.await_no_more(offset);
                Ok(Fetched::Record(record))
            }
            Ok(Looked::Lost(why)) => {
                self.await_no_more(offset);
                Ok(Fetched::Lost(why))
            }
            Ok(Looked::Unknown { why, of_all }) => Ok(self.wait_to_fetch(offset, &why, of_all)),
            Err(error) if is_lack(&error) => Ok(self.wait_to_fetch(offset, &error.to_string(), false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Nobody is to have the record any more, or somebody has it.
    pub(crate) fn await_no_more(&mut self, offset: Offset) {
        self.awaited.take_if(|awaited| awaited.offset == offset);
    }

    #[cold]
    fn wait_to_fetch(&mut self, offset: Offset, why: &str, of_all: bool) -> Fetched {
        let due = Instant::now() + RETRY_EVERY;
        // What is read otherwise may be another journal, too.
        self.suspect();
        if let Some(awaited) = self.awaited.as_mut().filter(|awaited| awaited.offset != offset) {
            // Which of several is named makes no difference; the one that is named says when it is over.
            if of_all {
                (awaited.due, awaited.of_all) = (due, true);
            }
            return Fetched::Unknown(due);
        }
        let subscription = self.acks().map_or_else(Default::default, |acks| acks.subscription.clone());
        let (journal, offset_is) = (&self.journal, offset.0);
        let reason = format!(
            "subscription {subscription} waits to read offset {offset_is} of {journal} again, which is not done: {why}"
        );
        let waiting = match self.awaited.take() {
            Some(Awaited { waiting, .. }) => {
                waiting.say(reason);
                waiting
            }
            None => self.waits.begin(reason),
        };
        self.awaited = Some(Awaited { offset, waiting, due, of_all });
        Fetched::Unknown(due)
    }
}

impl Opened {
    fn go_back_for(&mut self, offset: Offset, folder: &Path, level: Level) -> journal::Result<Looked> {
        if let Some(reader) = self.take_near(offset)
            && let Some(looked) = self.look_with(reader, offset, folder)?
        {
            return Ok(looked);
        }
        let unknown = |why: &str| Looked::Unknown { why: why.to_owned(), of_all: true };
        let mut reader = match Reader::open(folder, Start::Offset(offset), level) {
            Ok(Some(reader)) => Box::new(reader),
            Ok(None) => return Ok(unknown("its files are gone")),
            Err(error) if is_lack(&error) => return Ok(unknown(&error.to_string())),
            Err(error) => return Err(error),
        };
        reader.expect_files()?;
        if reader.position().journal != self.identity {
            return Ok(Looked::Lost("another journal lies where its own was".to_owned()));
        }
        let looked = self.look_with(reader, offset, folder)?;
        Ok(looked.unwrap_or_else(|| unknown("its journal is being replaced")))
    }

    /// A reader that is not far before an offset, if there is one.
    fn take_near(&mut self, offset: Offset) -> Option<Box<Reader>> {
        let behind = |reader: &Reader| offset.0.checked_sub(reader.position().next.0);
        let near = self.back.iter().enumerate().filter_map(|(index, reader)| Some((behind(reader)?, index)));
        let (steps, index) = near.min()?;
        (steps <= STEPS_MAX || self.back.len() >= READERS_MAX).then(|| self.back.remove(index))
    }

    /// Goes on to the record with a reader, which is kept for others. `None` if it reads another history by now.
    fn look_with(
        &mut self,
        mut reader: Box<Reader>,
        offset: Offset,
        folder: &Path,
    ) -> journal::Result<Option<Looked>> {
        let looked = loop {
            match reader.next()? {
                Some(Item::Record(record)) if record.offset < offset => {}
                Some(Item::Record(record)) if record.offset == offset => {
                    let origin = origin_of(&mut self.origins, &self.acks, record.topic);
                    break Looked::Record(OwnedRecord::copy(&record, origin));
                }
                Some(Item::Gap(gap)) if gap.reason == GapReason::Diverged => return Ok(None),
                Some(Item::Gap(gap)) if gap.to <= offset => {}
                Some(Item::Gap(gap)) => break Looked::Lost(gap.reason.to_string()),
                // It lies behind without having been passed.
                Some(Item::Record(_)) => return Ok(None),
                None => match reader.look_at_path()? {
                    AtPath::Another => return Ok(None),
                    AtPath::Nothing => {
                        break Looked::Unknown { why: "its files are gone".to_owned(), of_all: true };
                    }
                    AtPath::Same if has_ended_before(&reader, offset, folder)? => {
                        break Looked::Lost("its journal is an older one by now".to_owned());
                    }
                    AtPath::Same => {
                        break Looked::Unknown { why: "it is not there now".to_owned(), of_all: false };
                    }
                },
            }
        };
        if self.back.len() >= READERS_MAX {
            self.back.remove(0);
        }
        self.back.push(reader);
        Ok(Some(looked))
    }
}

/// Whether somebody writes the journal who has never written that far, so that its history is another one.
#[cold]
fn has_ended_before(reader: &Reader, offset: Offset, folder: &Path) -> journal::Result<bool> {
    let marks = reader.marks()?;
    Ok(marks.same_boot && marks.trusted() <= offset && journal::is_locked(folder)?)
}
