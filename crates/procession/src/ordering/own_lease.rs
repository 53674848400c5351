//! What a model needs again of its own journal, and the snapshots that let go of it.
//!
//! After a restart a model reads what it has said since its last snapshot, so a lease of its own keeps that. Where the
//! journal's bytes are limited, this lease would take all the room that there is, and the model would wait for itself: so
//! it writes snapshots as segments begin, and one more if there is no room all the same.
//!
//! Nothing that the lease keeps is dropped, whatever is to happen to others at the limit: without it the next start would
//! be the last. A snapshot that cannot be written is tried again after a pause, and the process says why.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use journal::{Cursor, Marks, Offset, Position, Watch};

use super::model::{Input, Model};
use super::publishing::Committed;
use super::running::Running;
use super::snapshot::{self, KeptLetter};
use super::sources::replay_name;
use crate::core::Core;
use crate::error::Result;
use crate::guarded::guarded;
use crate::letters::{self, Letter};
use crate::waiting::Waiting;

/// The lease may keep one part in so many of the segments that there may be, at least one.
const SHARE: u64 = 4;
/// Segments beside those that the lease keeps: what is being written, and what is made ready.
const AHEAD: u64 = 2;
/// How often a model that hears nothing looks whether others have begun segments in its journal: only where their number
/// is limited, and it costs a load.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a snapshot that could not be written is tried again, at first and at most,
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// but so many times as long as it took.
const PAUSE_SHARE: u32 = 4;

/// Keeps what was said since the last snapshot.
#[derive(Debug)]
pub(super) struct OwnLease {
    cursor: Option<(Cursor, Watch)>,
    /// How many segments the process had begun when the last snapshot was written, in this life.
    begun: Option<u64>,
    /// There was no room, and going back did not help, while it stood here.
    in_vain: Option<Offset>,
    /// So many records were to be said when it last went back. A correction of what was said before is undone by that, so
    /// it gets no nearer to its end.
    tried: Option<usize>,
    looked: Instant,
    /// It keeps a letter from before the last snapshot.
    reaches_back: bool,
    /// The last snapshot could not be written.
    failed: Option<Failed>,
}

/// A snapshot that could not be written.
#[derive(Debug)]
struct Failed {
    /// When to try again, and how long to wait after that.
    next: Instant,
    pause: Duration,
    waiting: Waiting,
}

impl OwnLease {
    pub(super) fn new() -> Self {
        Self {
            cursor: None,
            begun: None,
            in_vain: None,
            tried: None,
            looked: Instant::now(),
            reaches_back: false,
            failed: None,
        }
    }

    /// Holds on to what the last life has left there.
    ///
    /// # Errors
    /// What claiming a cursor fails with.
    pub(super) fn claim(&mut self, core: &Core, model: &str) -> Result<()> {
        if self.cursor.is_none() {
            let cursor = core.cursors.claim(&replay_name(model), core.instance.as_str())?;
            self.cursor = Some((cursor, core.outlet.watch.clone()));
            core.outlet.watch.keep_from(self.at());
        }
        Ok(())
    }

    /// From where on it keeps what was said: all, before there is a snapshot.
    fn at(&self) -> Option<Offset> {
        let (cursor, _) = self.cursor.as_ref()?;
        Some(cursor.position().map_or(Offset::ZERO, |position| position.next))
    }

    /// A letter is needed again, be it older than the snapshot.
    pub(super) fn reach_back(&mut self, letter: Offset) {
        if self.at().is_some_and(|at| at > letter) {
            self.move_to(letter);
            self.reaches_back = true;
        }
    }

    /// When to look whether a snapshot is due, if the journal is limited, or the last could not be written.
    pub(super) fn looks_at(&self, core: &Core) -> Option<Instant> {
        let look = core.hearing.segments_max.map(|_| self.looked + LOOK_EVERY);
        let again = self.failed.as_ref().map(|failed| failed.next);
        [look, again].into_iter().flatten().min()
    }

    /// The last snapshot could not be written.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether it is too early to try that again.
    fn pauses(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| Instant::now() < failed.next)
    }

    /// There is no later for a snapshot.
    fn hurry(&mut self) {
        if let Some(failed) = &mut self.failed {
            failed.next = Instant::now();
        }
    }

    /// Whether the lease keeps as much of a limited journal as it may.
    pub(super) fn is_used_up(&mut self, core: &Core, now: Instant) -> bool {
        let Some(most) = core.hearing.segments_max else { return false };
        self.looked = now;
        let begun = core.outlet.watch.segments_begun();
        self.begun.is_none_or(|before| begun - before >= (most / SHARE).max(1))
    }

    /// Why nothing is to be said before a snapshot is written: one segment more, and a limited journal may drop what the
    /// lease keeps. So it goes for whoever says several segments at once.
    pub(super) fn check(&self, core: &Core, posts: usize) -> Result<()> {
        let (Some(most), Some(before)) = (core.hearing.segments_max, self.begun) else { return Ok(()) };
        // What is said may begin one, and then the next is made ready at once.
        let may_be_begun = most.saturating_sub(AHEAD).max(1);
        if core.outlet.watch.segments_begun() - before < may_be_begun || !self.can_let_go(core, posts) {
            return Ok(());
        }
        let reason = "a model has said as much as may be kept, since its last snapshot".to_owned();
        Err(journal::Error::Full { path: core.folders.instance(&core.instance), reason }.into())
    }

    /// Whether a snapshot could let go of whole segments, and going back for it is of use to whoever says so many records.
    pub(super) fn can_let_go(&self, core: &Core, posts: usize) -> bool {
        if self.tried.is_some_and(|tried| posts >= tried) || self.pauses() {
            return false;
        }
        let at = self.at();
        let holds_some = self.reaches_back || self.begun != Some(core.outlet.watch.segments_begun());
        holds_some && at != self.in_vain && at.is_some_and(|at| at < core.outlet.watch.marks().committed)
    }

    /// What can be done to let go of something is about to be done: once is enough, if it stays where it is.
    pub(super) fn has_tried(&mut self) {
        self.in_vain = self.at();
    }

    /// Everything is said.
    #[inline]
    pub(super) fn succeed(&mut self) {
        self.tried = None;
    }

    fn move_to(&self, own: Offset) {
        if let Some((cursor, watch)) = &self.cursor {
            cursor.store(Position::at(own));
            watch.keep_from(Some(own));
        }
    }

    /// A snapshot is written that needs nothing before `own`; so many segments had begun.
    fn let_go(&mut self, own: Offset, begun: u64) {
        self.move_to(own);
        (self.begun, self.reaches_back, self.failed) = (Some(begun), false, None);
    }

    /// It could not be written, which took so long.
    fn fail(&mut self, took: Duration, say: impl FnOnce(Option<Waiting>) -> Waiting) {
        let [first, most] = PAUSE;
        let (pause, waiting) = match self.failed.take() {
            Some(failed) => (most.min(failed.pause), Some(failed.waiting)),
            None => (first, None),
        };
        let next = Instant::now() + pause.max(PAUSE_SHARE * took);
        self.failed = Some(Failed { next, pause: 2 * pause, waiting: say(waiting) });
        // That going back has not helped says nothing of the next time.
        self.in_vain = None;
    }
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    pub(super) fn snapshot_path(&self) -> PathBuf {
        snapshot::path(&self.core.folders.instance(&self.core.instance), &self.model)
    }

    /// Whether a snapshot is due.
    pub(super) fn wants_snapshot(&mut self, now: Instant) -> bool {
        let is_used_up = self.own.is_used_up(&self.core, now);
        is_used_up || self.inputs >= self.options.snapshot_inputs || self.own.has_failed()
    }

    /// Writes a snapshot, unless it has failed a moment ago; returns whether one was written. To be called when all that
    /// follows from what the fold holds is said, and at no other time.
    pub(super) async fn take_snapshot(&mut self) -> Result<bool> {
        if self.own.pauses() {
            return Ok(false);
        }
        let begun = self.core.outlet.watch.segments_begun();
        let marks = self.core.outlet.watch.marks();
        // After power loss the journal must not end before the snapshot begins.
        if marks.committed > Offset::ZERO {
            self.core.outlet.durable(marks.committed).await?;
        }
        let began = Instant::now();
        match self.write_snapshot(&marks) {
            Ok(first_own) => {
                self.inputs = 0;
                self.sources.release(|journal| !self.absent.contains(journal));
                self.own.let_go(first_own, begun);
                Ok(true)
            }
            Err(reason) => {
                self.note_unwritten(began, &reason);
                Ok(false)
            }
        }
    }

    /// Returns from where on the own journal is needed beside the snapshot.
    fn write_snapshot(&mut self, marks: &Marks) -> std::result::Result<Offset, String> {
        let letters = self.keep_letters().map_err(|error| error.to_string())?;
        let retried: Vec<u64> = self.retried.keys().copied().collect();
        // A letter that cannot be kept here is left where it is, if it is there.
        let is_left = |at: &&u64| !self.letters.contains_key(at) && **at >= marks.trimmed.0;
        let needed = self.retried.keys().find(is_left);
        let first_own = needed.map_or(marks.committed, |first| marks.committed.min(Offset(*first)));
        self.sources.forget_all(self.fold.settled());
        let mut heeded = self.sources.heeded();
        for (journal, before) in self.absent.heeded() {
            // What was heard of it is in no state: it is to be read again when it is back.
            match before {
                Some(before) => heeded.insert(journal.clone(), before.clone()),
                None => heeded.remove(journal),
            };
        }
        let heard = snapshot::Needed { journals: heeded, retried, letters };
        let folder = self.core.folders.instance(&self.core.instance);
        let written = guarded(|| snapshot::write(&folder, &self.model, &self.fold, marks, heard));
        let written = written.unwrap_or_else(|reason| Err(io::Error::other(reason)));
        written.map(|()| first_own).map_err(|error| error.to_string())
    }

    #[cold]
    fn note_unwritten(&mut self, began: Instant, reason: &str) {
        let path = self.snapshot_path();
        if !self.own.has_failed() {
            tracing::warn!(path = %path.display(), reason, "cannot write a snapshot");
        }
        let limit = match self.core.hearing.segments_max {
            Some(_) => ", up to its limit: then nothing more is said",
            None => "",
        };
        let said = format!(
            "model {} cannot write {}: {reason}; its journal keeps all that it has said since the last snapshot{limit}",
            self.model,
            path.display()
        );
        let core = &self.core;
        self.own.fail(began.elapsed(), |waiting| match waiting {
            Some(waiting) => {
                waiting.say(said);
                waiting
            }
            None => core.waits.begin(said),
        });
    }

    /// The letters that are needed again, as a snapshot keeps them: where they lie, they would keep all after them.
    fn keep_letters(&mut self) -> Result<Vec<KeptLetter>> {
        let settled = self.fold.settled();
        self.retried.retain(|_, at| *at >= settled);
        self.letters.retain(|at, _| self.retried.contains_key(at));
        for at in self.retried.keys() {
            if !self.letters.contains_key(at)
                && let Some(letter) = self.find_letter(*at)?
            {
                self.letters.insert(*at, letter);
            }
        }
        Ok(self.letters.values().filter_map(KeptLetter::of).collect())
    }

    /// A letter, from the journal or the snapshot.
    pub(super) fn find_letter(&self, at: u64) -> Result<Option<Letter>> {
        if let Some(letter) = self.letters.get(&at) {
            return Ok(Some(letter.clone()));
        }
        letters::find(&self.core.folders.instance(&self.core.instance), Offset(at))
    }

    /// There is no room for what follows from what was heard, and the model keeps some itself: it goes back to where it
    /// was before, which a snapshot can hold, and hears it once more. Tells what has come of that if it is not to be
    /// published now.
    #[cold]
    pub(super) async fn make_room(&mut self) -> Result<Option<Committed>> {
        let heard = std::mem::take(&mut self.acking);
        self.own.has_tried();
        self.refused = None;
        let (posts, had_failed) = (self.outbox.posts.len(), self.own.has_failed());
        if !self.go_back().await? {
            return Ok(Some(Committed::Stopped));
        }
        if self.take_snapshot().await? {
            // If none could be written the last time, nothing could be said since: that tells nothing of the correction.
            self.own.tried = (!had_failed).then_some(posts);
            tracing::info!(model = self.model, "a snapshot is written, to let go of what the model has said");
        }
        let mut broken = None;
        for (source, delivery) in heard {
            // With a part of a large correction that found room.
            if delivery.acks().is_done(delivery.offset) {
                continue;
            }
            if broken.is_some() {
                self.acking.push((source, delivery));
            } else {
                broken = self.hear(delivery)?.err();
            }
        }
        Ok(broken.map(Committed::Broken))
    }

    pub(super) async fn end(&mut self) -> Result<()> {
        if self.inputs > 0 || self.own.has_failed() {
            self.own.hurry();
            self.take_snapshot().await?;
        }
        Ok(())
    }
}
