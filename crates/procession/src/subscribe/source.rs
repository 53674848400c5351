//! One journal that a subscription reads.

mod back;
mod found;
mod trouble;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use journal::{AtPath, Cursor, Epoch, Gap, GapReason, Item, Level, Offset, Position, Reader, Start, Time};
use tokio::time::Instant;

pub(crate) use self::back::Fetched;
pub(crate) use self::found::{Attempt, Found};
pub(crate) use self::trouble::is_lack;

use self::back::Awaited;
use self::found::{count, origin_of};
use self::trouble::Trouble;
use super::latch::{Latch, Woken};
use super::pause::Pause;
use super::record::{Held, OwnedRecord};
use crate::acks::{Acks, Origin, Refused};
use crate::beyond::Beyond;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::FINISHED;
use crate::varlink::Endpoint;
use crate::waiting::{Waiting, Waits};

/// Passed-over records are acknowledged at least this often, so that they do not hold back retention.
const PASS_EVERY: u32 = 4096;

/// A journal, its reader, and what of it is acknowledged.
pub(crate) struct Source {
    pub(crate) journal: Arc<str>,
    folder: PathBuf,
    start: Start,
    level: Level,
    cursor: Option<Cursor>,
    open: Option<Opened>,
    waits: Waits,
    latch: Latch,
    /// The journal cannot be read.
    trouble: Option<Trouble>,
    /// A record is to be had again, and cannot be.
    awaited: Option<Awaited>,
    /// Deliveries are to be acknowledged in any order.
    any_order: bool,
    /// Between two looks for a journal that is not there yet, or cannot be read.
    opening: Pause,
    /// Between two looks at a journal that says it has more, and gives nothing.
    fruitless: Pause,
    /// Where reading stood when there seemed to be more.
    seemed: Option<Offset>,
}

struct Opened {
    reader: Reader,
    acks: Arc<Acks>,
    /// The next delivery of several sources, held until it is its turn.
    held: Option<Held>,
    /// What was decided for the last record's topic: most records have the topic of the one before.
    last: Option<Topic>,
    /// One for each topic that was delivered.
    origins: HashMap<Arc<str>, Arc<Origin>>,
    /// The journal of the last cause.
    cause: Arc<str>,
    /// A refused delivery, to be repeated.
    again: Option<Again>,
    /// Deliveries behind a repeated one that are done already.
    done: BTreeSet<Offset>,
    passed: u32,
    /// The journal's identity, as positions carry it.
    identity: u64,
    /// Deliveries may be acknowledged in any order.
    any_order: bool,
    /// The application gets what is delivered at once.
    begins: bool,
    /// Readers that go back for single records, the one that was used last at the end.
    #[expect(clippy::vec_box, reason = "a reader is large, and taken out and put back at each use")]
    back: Vec<Box<Reader>>,
    /// What lies at the journal's path is to be compared with what is read.
    suspect: bool,
    waits: Waits,
    /// The journal's files are gone: the process says so until there are some again.
    gone: Option<Waiting>,
    /// From here on what was done before is nothing to go by.
    parted: Option<Position>,
}

/// The epoch of the record before an offset, if it can be had.
fn epoch_before(folder: &Path, offset: Offset) -> Option<Epoch> {
    let before = Offset(offset.0.checked_sub(1)?);
    let mut reader = Reader::open(folder, Start::Offset(before), Level::Committed).ok()??;
    match reader.next() {
        Ok(Some(Item::Record(record))) if record.offset == before => Some(record.epoch),
        _ => None,
    }
}

/// Whether a topic is wanted, and where its deliveries come from if it is.
struct Topic {
    key: u64,
    origin: Option<Arc<Origin>>,
}

struct Again {
    refused: Refused,
    due: Instant,
}

impl Source {
    pub(crate) fn new(
        journal: &str,
        folder: PathBuf,
        publisher: Endpoint,
        cursor: Cursor,
        start: Start,
        level: Level,
        waits: &Waits,
    ) -> Self {
        let start = cursor.position().map_or(start, Start::Position);
        Self {
            journal: journal.into(),
            folder,
            start,
            level,
            cursor: Some(cursor),
            open: None,
            waits: waits.clone(),
            latch: Latch::new(publisher),
            trouble: None,
            awaited: None,
            any_order: false,
            opening: Pause::default(),
            fruitless: Pause::default(),
            seemed: None,
        }
    }

    pub(crate) fn acks(&self) -> Option<&Arc<Acks>> {
        self.open.as_ref().map(|open| &open.acks)
    }

    /// Opens the journal if it is there, can be read, and is not open yet; returns what is acknowledged of it then.
    #[inline]
    pub(crate) fn open(&mut self, subscription: &Arc<str>) -> Result<Option<&Arc<Acks>>> {
        if self.open.is_some() { Ok(None) } else { self.try_open(subscription) }
    }

    fn try_open(&mut self, subscription: &Arc<str>) -> Result<Option<&Arc<Acks>>> {
        if self.is_in_trouble() && self.is_in_vain() {
            return Ok(None);
        }
        let reader = match self.reader() {
            Ok(reader) => reader,
            Err(error) => return self.suffer(error.into()).map(|()| None),
        };
        self.trouble = None;
        let Some(reader) = reader else { return Ok(None) };
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        if cursor.position().is_none() {
            // From here on the subscription exists, and holds back what it has not read.
            cursor.store(reader.position());
        }
        let identity = reader.position().journal;
        let acks = Acks::new(Arc::clone(subscription), Arc::clone(&self.journal), cursor, reader.position());
        self.open = Some(Opened {
            reader,
            acks: Arc::new(acks),
            held: None,
            last: None,
            origins: HashMap::new(),
            cause: "".into(),
            again: None,
            done: BTreeSet::new(),
            passed: 0,
            identity,
            any_order: false,
            begins: false,
            back: Vec::new(),
            suspect: false,
            waits: self.waits.clone(),
            gone: None,
            parted: None,
        });
        Ok(self.acks())
    }

    fn reader(&mut self) -> journal::Result<Option<Reader>> {
        if self.start == Start::End && journal::segment_bases(&self.folder)?.is_empty() {
            self.begin_before();
        }
        Reader::open(&self.folder, self.start, self.level)
    }

    /// Nothing was said before the subscription began, so all that is said is for it: also if its process is not there when
    /// the publisher runs for the first time.
    #[cold]
    fn begin_before(&mut self) {
        self.start = Start::Beginning;
        if let Some(cursor) = &self.cursor {
            cursor.store(Position::default());
        }
    }

    /// From here on its deliveries may be acknowledged in any order. `begins`: the application gets them at once;
    /// otherwise whoever hands them on says [`Beyond::begin`]. While what is done of it cannot be kept, nothing of it is
    /// read, and the process says so.
    ///
    /// # Errors
    /// [`Error::Subscription`] while one is open, and what [`Beyond::open`] fails with and cannot be mended.
    pub(crate) fn allow_any_order(&mut self, core: &Core, begins: bool) -> Result<()> {
        self.any_order = true;
        let Some(open) = &mut self.open else { return Ok(()) };
        open.begins = begins;
        if open.any_order || self.is_in_trouble() && self.is_in_vain() {
            return Ok(());
        }
        match self.open_beyond(core) {
            Ok(()) => {
                self.trouble = None;
                Ok(())
            }
            Err(error) => {
                self.suffer_as(format!("what is done of journal {} cannot be kept", self.journal), error)
            }
        }
    }

    fn open_beyond(&mut self, core: &Core) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Acks { subscription, journal, .. } = &*open.acks;
        let folder = core.folders.instance(&core.instance);
        let path = FINISHED.path(&folder, &[&**subscription, &**journal]);
        let names = (&**subscription, &**journal);
        let earlier = |name: &str| core.outlet.checkpoint(name);
        let beyond = Beyond::open(names, &path, open.reader.position(), core.hearing.segment_bytes, earlier)?;
        let beyond = beyond.sharing(&core.hearing.reach);
        let mut unused = beyond.take_passed();
        if let Some(parted) = open.parted {
            unused.extend(beyond.forget_from(parted));
        }
        core.outlet.remove_checkpoints(&unused)?;
        if !open.acks.allow_any_order(beyond) {
            let reason = "acknowledge what was delivered before its deliveries are taken by key".to_owned();
            return Err(Error::Subscription { name: subscription.to_string(), reason });
        }
        // Not before all that tells of what was done in the other history is gone.
        (open.parted, open.any_order) = (None, true);
        Ok(())
    }

    /// Whether it is not known what is done of it, where deliveries are to be acknowledged in any order.
    #[cold]
    fn lacks_order(&self) -> bool {
        self.any_order && self.open.as_ref().is_some_and(|open| !open.any_order)
    }

    /// Whether reading is halfway to where acknowledgements can be remembered no more.
    pub(crate) fn is_far_ahead(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.acks.beyond().is_some_and(|beyond| beyond.is_far_ahead(open.reader.position().next))
        })
    }

    /// The time of the next record, without taking it; gaps come first of all.
    pub(crate) fn peek(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Option<Time>> {
        if !self.is_holding() {
            let held = self.find(wanted, |found| match found {
                Ok(found) => Held::Record(Box::new(found.to_owned_record())),
                Err(gap) => Held::Gap(gap),
            })?;
            if let Some(open) = &mut self.open {
                open.held = held;
            }
        }
        let Some(open) = &self.open else { return Ok(None) };
        Ok(open.held.as_ref().map(|held| match held {
            Held::Record(record) => record.time,
            Held::Gap(_) => Time(0),
        }))
    }

    /// Whether a record is held until it is its turn.
    pub(crate) fn is_holding(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.held.is_some())
    }

    /// Holds a record that was read, and not delivered.
    pub(crate) fn hold(&mut self, record: OwnedRecord) {
        if let Some(open) = &mut self.open {
            open.held = Some(Held::Record(Box::new(record)));
        }
    }

    /// The record that is held, if its acknowledgement could not be remembered yet.
    pub(crate) fn too_far(&self) -> Option<(&Arc<Acks>, Offset)> {
        let open = self.open.as_ref()?;
        let Some(Held::Record(record)) = &open.held else { return None };
        let offset = record.offset;
        open.acks.beyond().filter(|beyond| !beyond.reaches(offset)).map(|_| (&open.acks, offset))
    }

    /// Takes what [`Self::peek`] has seen, and counts its delivery.
    pub(crate) fn take_held(&mut self) -> Option<(Held, Attempt)> {
        let open = self.open.as_mut()?;
        let held = open.held.take()?;
        let attempt = match &held {
            Held::Record(record) => {
                let (at, last) = (record.offset, (record.epoch, record.checksum));
                let counted = count(&open.acks, record.before, open.begins, at, last);
                Attempt::new(counted, &mut open.again, record.offset)
            }
            Held::Gap(_) => Attempt { number: 1, refusal: None },
        };
        Some((held, attempt))
    }

    /// Lends the next wanted record or gap to `with`. A journal that cannot be read has none.
    #[inline]
    pub(crate) fn find<T>(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        with: impl FnOnce(Result<Found<'_>, Gap>) -> T,
    ) -> Result<Option<T>> {
        if self.is_in_trouble() && (self.is_in_vain() || self.lacks_order()) {
            return Ok(None);
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        match open.find(wanted, with) {
            Ok(found) => {
                if self.is_in_trouble() {
                    self.trouble = None;
                }
                Ok(found)
            }
            Err(error) => self.suffer(error).map(|()| None),
        }
    }

    /// Begins to repeat a refused delivery, if there is one, after the pause for its attempt.
    pub(crate) fn repeat(&mut self, pause: impl Fn(u32) -> Duration) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(refused) = open.acks.take_refused() else { return Ok(()) };
        if matches!(&open.held, Some(Held::Gap(gap)) if gap.reason == GapReason::Diverged) {
            // It was of the history before. If the journal still has it, it comes again by itself once the gap is taken.
            return Ok(());
        }
        open.reader.go_back(refused.offset);
        open.last = None;
        open.held = None;
        open.done.extend(open.acks.rewind(refused.offset));
        let due = Instant::now() + pause(refused.attempt);
        open.again = Some(Again { refused, due });
        Ok(())
    }

    /// When a refused delivery is to be repeated.
    pub(crate) fn repeat_due(&self) -> Option<Instant> {
        Some(self.open.as_ref()?.again.as_ref()?.due)
    }

    /// Acknowledges a gap.
    pub(crate) fn pass_gap(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.acks.pass(open.reader.position());
    }

    /// What was delivered is not the journal's any more, and what is there now has yet to be: acknowledgements of the one
    /// must not count for the other, so the deliveries that follow have acknowledgements of their own.
    pub(crate) fn diverge(&mut self) -> Option<&Arc<Acks>> {
        let open = self.open.as_mut()?;
        let position = open.reader.position();
        let parted = position.next;
        let (acks, done) = open.acks.succeed(position);
        // What is not done of the history that is still there comes again.
        if let Some(from) = acks.position().map(|from| from.next).filter(|from| *from < parted) {
            open.reader.go_back(from);
        }
        open.acks = Arc::new(acks);
        open.identity = position.journal;
        let epoch = epoch_before(&self.folder, parted).unwrap_or(Epoch(0));
        open.parted =
            open.parted.filter(|earlier| earlier.next < parted).or(Some(Position { epoch, ..position }));
        (open.held, open.last, open.again, open.any_order, open.passed) = (None, None, None, false, 0);
        open.origins.clear();
        open.done.retain(|done| *done < parted);
        open.done.extend(done);
        open.back.clear();
        self.awaited = None;
        self.acks()
    }

    /// Whether it is worth looking again; otherwise the task is woken when it is.
    ///
    /// The marks are asked before the socket: whoever was woken by a publisher's reply delivers first, and reads the
    /// reply when it goes back to sleep.
    pub(crate) fn is_woken(&mut self, context: &mut Context<'_>) -> bool {
        let next = self.open.as_ref().map(|open| open.reader.position().next);
        let Some(next) = next.filter(|_| !self.is_in_trouble()) else {
            return self.opening.poll(context).is_ready();
        };
        if self.seems_to_have_more() {
            return true;
        }
        if self.seemed == Some(next) {
            // Whatever said that there is more, nothing came of it.
            return self.is_fruitless(context);
        }
        self.poll_more(context).is_ready()
    }

    /// Whether the journal has more, by a load or two, unless nothing came of it when it last seemed so.
    #[inline]
    pub(crate) fn seems_to_have_more(&mut self) -> bool {
        let Some(open) = &self.open else { return false };
        let next = open.reader.position().next;
        let seems = self.seemed != Some(next) && open.again.is_none() && open.reader.has_more();
        if seems {
            self.seemed = Some(next);
        }
        seems
    }

    /// Looks again after a pause: nobody who says that there is more, and has nothing, may keep this process busy.
    #[cold]
    fn is_fruitless(&mut self, context: &mut Context<'_>) -> bool {
        let due = self.fruitless.poll(context).is_ready();
        if due {
            self.suspect();
        }
        due
    }

    /// A publisher may be back that could not be asked, or its journal be another one.
    pub(crate) fn retry(&mut self) {
        self.suspect();
        self.hurry();
        self.latch.retry();
    }

    /// What lies at the journal's path is to be compared with what is read, once that has come to its end.
    pub(crate) fn suspect(&mut self) {
        self.seemed = None;
        if let Some(open) = &mut self.open {
            open.suspect = true;
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(open) = &mut self.open else { return self.opening.poll(context) };
        if open.again.as_ref().is_some_and(|again| again.due > Instant::now()) {
            // The subscription itself sleeps until then.
            return Poll::Pending;
        }
        open.settle();
        let next = open.reader.position().next;
        let durable = self.level == Level::Durable || !open.reader.is_live();
        loop {
            match ready!(self.latch.poll_past(next, durable, context)) {
                // It was asked before what is read by now: it has yet to be asked for more than that.
                Woken::Moved(after) if after != next => continue,
                Woken::Moved(_) => self.seemed = Some(next),
                Woken::Connected | Woken::Alone => self.suspect(),
            }
            return Poll::Ready(());
        }
    }
}

impl Opened {
    #[inline]
    fn find<T>(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        with: impl FnOnce(Result<Found<'_>, Gap>) -> T,
    ) -> Result<Option<T>> {
        if self.again.as_ref().is_some_and(|again| again.due > Instant::now()) {
            return Ok(None);
        }
        loop {
            let before = if self.any_order { Some(self.reader.position()) } else { None };
            let record = match self.reader.next()? {
                None => {
                    if self.suspect && self.is_replaced()? {
                        continue;
                    }
                    self.settle();
                    return Ok(None);
                }
                Some(Item::Gap(gap)) => return Ok(Some(with(Err(gap)))),
                Some(Item::Record(record)) => record,
            };
            let topic = match &mut self.last {
                Some(topic) if topic.key == record.topic_key => topic,
                last => {
                    let origin =
                        wanted(record.topic).then(|| origin_of(&mut self.origins, &self.acks, record.topic));
                    last.insert(Topic { key: record.topic_key, origin })
                }
            };
            let is_done = match before {
                None => !self.done.is_empty() && self.done.remove(&record.offset),
                Some(_) => {
                    self.acks.beyond().is_some_and(|beyond| beyond.was_finished(record.offset, record.epoch))
                }
            };
            let origin = match &topic.origin {
                Some(origin) if !is_done => origin,
                _ => {
                    self.passed += 1;
                    if self.passed >= PASS_EVERY {
                        self.passed = 0;
                        self.acks.pass(Position {
                            next: record.offset.plus(1),
                            epoch: record.epoch,
                            checksum: record.checksum,
                            journal: self.identity,
                        });
                    }
                    continue;
                }
            };
            if let Some(cause) = record.cause
                && *self.cause != *cause.journal
            {
                self.cause = cause.journal.into();
            }
            let (again, cause, begins) = (&mut self.again, &self.cause, self.begins);
            return Ok(Some(with(Ok(Found { record, origin, before, begins, cause, again }))));
        }
    }

    /// Compares the journal that is read with what lies at its path, and goes over to that.
    #[cold]
    fn is_replaced(&mut self) -> Result<bool> {
        let found = self.reader.look_at_path()?;
        self.suspect = false;
        let Acks { subscription, journal, .. } = &*self.acks;
        if found != AtPath::Nothing {
            self.gone = None;
        } else if self.gone.is_none() {
            let reason =
                format!("subscription {subscription} hears nothing of {journal}: its files are gone");
            self.gone = Some(self.waits.begin(reason));
        }
        if found == AtPath::Another {
            tracing::warn!(
                journal = &**journal,
                "another journal lies where this one was: reading goes on there"
            );
        }
        Ok(found == AtPath::Another)
    }

    /// Acknowledges records that were passed over.
    fn settle(&mut self) {
        if self.passed > 0 && self.held.is_none() {
            self.passed = 0;
            self.acks.pass(self.reader.position());
        }
    }
}
