//! What a model needs again of its own journal, and the snapshots that let go of it.
//!
//! After a restart a model reads what it has said since its last snapshot, so a lease of its own keeps that. Where the
//! journal's bytes are limited, this lease would take all the room that there is, and the model would wait for itself: so
//! it writes snapshots as segments begin, and one more if there is no room all the same.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use journal::{Cursor, Offset, Position};

use super::model::{Input, Model};
use super::publishing::Committed;
use super::running::Running;
use super::snapshot::{self, KeptLetter};
use super::sources::replay_name;
use crate::core::Core;
use crate::error::Result;
use crate::guarded::guarded;
use crate::letters::{self, Letter};

/// The lease may keep one part in so many of the segments that there may be, at least one.
const SHARE: u64 = 4;
/// Segments beside those that the lease keeps: what is being written, and what is made ready.
const AHEAD: u64 = 2;
/// How often a model that hears nothing looks whether others have begun segments in its journal: only where their number
/// is limited, and it costs a load.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps what was said since the last snapshot.
#[derive(Debug)]
pub(super) struct OwnLease {
    cursor: Option<Cursor>,
    /// How many segments the process had begun when the last snapshot was written, in this life.
    begun: Option<u64>,
    /// There was no room, and going back did not help, while it stood here.
    in_vain: Option<Offset>,
    /// So many records were to be said when it last went back. A correction of what was said before is undone by that, so
    /// it gets no nearer to its end.
    tried: Option<usize>,
    looked: Instant,
}

impl OwnLease {
    pub(super) fn new() -> Self {
        Self { cursor: None, begun: None, in_vain: None, tried: None, looked: Instant::now() }
    }

    /// Holds on to what the last life has left there.
    ///
    /// # Errors
    /// What claiming a cursor fails with.
    pub(super) fn claim(&mut self, core: &Core, model: &str) -> Result<()> {
        if self.cursor.is_none() {
            self.cursor = Some(core.cursors.claim(&replay_name(model), core.instance.as_str())?);
        }
        Ok(())
    }

    fn at(&self) -> Option<Offset> {
        Some(self.cursor.as_ref()?.position()?.next)
    }

    /// A letter is needed again, be it older than the snapshot.
    pub(super) fn reach_back(&self, letter: Offset) {
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.at().is_some_and(|at| at > letter)) {
            cursor.store(Position::at(letter));
        }
    }

    /// When to look whether a snapshot is due, if the journal is limited.
    pub(super) fn looks_at(&self, core: &Core) -> Option<Instant> {
        core.hearing.segments_max.map(|_| self.looked + LOOK_EVERY)
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
        if self.tried.is_some_and(|tried| posts >= tried) {
            return false;
        }
        let at = self.at();
        let is_worth_it = self.begun != Some(core.outlet.watch.segments_begun()) && at != self.in_vain;
        is_worth_it && at.is_some_and(|at| at < core.outlet.watch.marks().committed)
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

    fn move_to(&mut self, own: Offset) {
        if let Some(cursor) = &self.cursor {
            cursor.store(Position::at(own));
        }
    }
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    pub(super) fn snapshot_path(&self) -> PathBuf {
        snapshot::path(&self.core.folders.instance(&self.core.instance), &self.model)
    }

    /// To be called when all that follows from what the fold holds is said, and at no other time.
    pub(super) async fn take_snapshot(&mut self) -> Result<()> {
        self.inputs = 0;
        self.own.begun = Some(self.core.outlet.watch.segments_begun());
        let marks = self.core.outlet.watch.marks();
        let own = marks.committed;
        // After power loss the journal must not end before the snapshot begins.
        if own > Offset::ZERO {
            self.core.outlet.durable(own).await?;
        }
        let path = self.snapshot_path();
        let letters = self.keep_letters()?;
        let retried: Vec<u64> = self.retried.keys().copied().collect();
        // A letter that cannot be kept here is left where it is.
        let needed = self.retried.keys().find(|at| !self.letters.contains_key(at));
        let first_own = needed.map_or(own, |first| own.min(Offset(*first)));
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
        let written = guarded(|| snapshot::write(&path, &self.model, &self.fold, &marks, heard));
        if let Err(reason) = written.unwrap_or_else(|reason| Err(io::Error::other(reason))) {
            // It is a cache: what it would have spared is done again.
            tracing::warn!(path = %path.display(), %reason, "cannot write a snapshot: a restart will take longer");
            return Ok(());
        }
        self.sources.release(|journal| !self.absent.contains(journal));
        self.own.move_to(first_own);
        Ok(())
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
        let posts = self.outbox.posts.len();
        if !self.go_back().await? {
            return Ok(Some(Committed::Stopped));
        }
        self.take_snapshot().await?;
        self.own.tried = Some(posts);
        tracing::info!(model = self.model, "a snapshot is written, to let go of what the model has said");
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
        if self.inputs > 0 { self.take_snapshot().await } else { Ok(()) }
    }
}
