//! The journals that a model hears: what of each it has heard, and what it would need again after a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Cursor, Offset, Position};

use super::snapshot::Heeded;
use super::time::EventTime;
use super::watermark::{SourceState, Watermark};
use crate::core::Core;
use crate::error::Result;
use crate::names::REPLAY_SUFFIX;

/// Fewer inputs of a source are not looked through.
const HEARD_MIN: usize = 4096;

/// A journal that is heard.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) journal: Arc<str>,
    folder: PathBuf,
    /// Its number in the watermark.
    number: usize,
    /// Inputs that may be needed again, in the order they were heard, with their event times.
    heard: VecDeque<(u64, EventTime)>,
    /// So many are looked through for some that are final.
    heard_max: usize,
    /// Records that were heard and are not acknowledged yet, or not all before them are.
    seen: BTreeSet<u64>,
    /// Everything before it is acknowledged.
    low: u64,
    /// The same, with the record before it.
    at: Position,
    /// What it has promised, with the offset of the record: it counts once everything before that is acknowledged,
    /// for deliveries may come in another order.
    promises: Vec<(u64, Promise)>,
    /// Keeps the publisher from dropping what is needed again.
    replay: Cursor,
    spoke: Instant,
    /// Since when nobody has been seen to hold its lock.
    unlocked: Option<Instant>,
    /// Its lock could not be asked for.
    is_in_doubt: bool,
}

/// What a record says about those that will follow.
#[derive(Debug, Clone, Copy)]
pub(super) enum Promise {
    /// None will be earlier.
    Bound(EventTime),
    /// Nothing earlier will be asserted or retracted.
    Final(EventTime),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    list: Vec<Source>,
    /// By all that was heard: what inputs wait for.
    pub(super) heard: Watermark,
    /// By promises that count: what becomes final.
    pub(super) watermark: Watermark,
}

impl Sources {
    /// The place of a journal in the list; `first` is the offset that it is heard from if it is new.
    ///
    /// # Errors
    /// What claiming a cursor fails with.
    pub(super) fn place(&mut self, core: &Core, model: &str, journal: &str, first: u64) -> Result<usize> {
        if let Some(place) = self.list.iter().position(|source| &*source.journal == journal) {
            return Ok(place);
        }
        let replay = core.cursors.claim(&replay_name(model), journal)?;
        if replay.position().is_none() {
            replay.store(Position::at(Offset(first)));
        }
        let journal: Arc<str> = journal.into();
        self.heard.add(&journal);
        self.list.push(Source {
            folder: core.folders.state.join(&*journal),
            number: self.watermark.add(&journal),
            promises: Vec::new(),
            journal,
            heard: VecDeque::new(),
            heard_max: HEARD_MIN,
            seen: BTreeSet::new(),
            low: first,
            at: Position::at(Offset(first)),
            replay,
            spoke: Instant::now(),
            unlocked: None,
            is_in_doubt: false,
        });
        Ok(self.list.len() - 1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    pub(super) fn get(&self, place: usize) -> &Source {
        &self.list[place]
    }

    /// Whether a record is heard for the first time.
    pub(super) fn is_new(&mut self, place: usize, offset: u64) -> bool {
        let source = &mut self.list[place];
        offset >= source.low && source.seen.insert(offset)
    }

    /// Reading begins anew at `first`, be it before where it was: everything from there on is needed.
    pub(super) fn read_from(&mut self, place: usize, first: u64) {
        let source = &mut self.list[place];
        source.low = source.low.min(first);
        if source.replay.position().is_some_and(|replay| replay.next.0 > first) {
            source.replay.store(Position::at(Offset(first)));
        }
    }

    /// Everything before `at` is acknowledged.
    pub(super) fn acknowledged(&mut self, place: usize, at: Position) {
        let (source, low) = (&mut self.list[place], at.next.0);
        if low >= source.low {
            source.at = at;
        }
        if low > source.low {
            source.low = low;
            if source.seen.last().is_some_and(|last| *last < low) {
                source.seen.clear();
            } else {
                source.seen = source.seen.split_off(&low);
            }
        }
        let Source { number, promises, low, .. } = source;
        for (_, promise) in promises.extract_if(.., |(offset, _)| *offset < *low) {
            match promise {
                Promise::Bound(at) => self.watermark.hear(*number, at),
                Promise::Final(at) => self.watermark.settle(*number, at),
            }
        }
    }

    /// A record may be needed again until its event time is final. Not here if it was acknowledged long ago: it comes
    /// from a dead letter then, which is needed in its place, and its journal may have dropped it.
    pub(super) fn keep(&mut self, place: usize, offset: u64, at: EventTime) {
        let source = &mut self.list[place];
        if offset >= source.low {
            source.heard.push_back((offset, at));
        }
    }

    /// A source has said something, and so it is alive.
    #[inline]
    pub(super) fn hear(&mut self, place: usize, offset: u64, promise: Promise) {
        let source = &mut self.list[place];
        if self.watermark.state(source.number) != SourceState::Live {
            tracing::info!(source = &*source.journal, "the source speaks again: it is waited for");
            self.watermark.set(source.number, SourceState::Live);
        }
        source.promises.push((offset, promise));
        let (Promise::Bound(at) | Promise::Final(at)) = promise;
        self.heard.hear(source.number, at);
    }

    pub(super) fn touch(&mut self, place: usize, now: Instant) {
        self.list[place].spoke = now;
    }

    pub(super) fn is_model(&mut self, place: usize) {
        self.watermark.is_model(self.list[place].number);
    }

    /// Looks whether those that hold the watermark are dead, or silent for so long that they count as idle.
    pub(super) fn look(&mut self, idle_after: Option<Duration>, dead_after: Duration) {
        let holders: Vec<usize> = self.watermark.holders().map(|(number, _)| number).collect();
        for source in self.list.iter_mut().filter(|source| holders.contains(&source.number)) {
            let Some(state) = source.look(idle_after, dead_after) else { continue };
            tracing::warn!(
                source = &*source.journal,
                ?state,
                "the source is silent: it is not waited for any longer"
            );
            self.watermark.set(source.number, state);
            self.heard.set(source.number, state);
        }
    }

    /// Looks at the models that hold final back behind `horizon`. One leaves when its state folder was removed, or when
    /// nobody has held its lock for as long as a lease; never because it is silent. Returns the names of the others.
    pub(super) fn look_at_models(&mut self, horizon: EventTime, lease: Duration) -> Vec<Arc<str>> {
        let holders: Vec<usize> = self.watermark.final_holders(horizon).map(|(number, _)| number).collect();
        let mut names = Vec::new();
        for source in self.list.iter_mut().filter(|source| holders.contains(&source.number)) {
            let is_removed = matches!(source.folder.try_exists(), Ok(false));
            let unlocked = source.look_at_lock();
            if unlocked.is_some_and(|since| is_removed || since.elapsed() >= lease) {
                tracing::warn!(
                    source = &*source.journal,
                    is_removed,
                    "the model is gone: nothing of it will change, and final does not wait for it"
                );
                self.watermark.leave(source.number);
                continue;
            }
            names.push(Arc::clone(&source.journal));
        }
        names
    }

    /// What is final is not needed again.
    pub(super) fn forget(&mut self, settled: EventTime) {
        for source in &mut self.list {
            while source.heard.front().is_some_and(|(_, at)| *at < settled) {
                source.heard.pop_front();
            }
            // What stands behind one that is not final for long. Each pass is paid for by what has come since the last.
            if source.heard.len() > source.heard_max {
                source.forget_all(settled);
            }
        }
    }

    /// The same, of those too that stand behind one that is not final yet.
    pub(super) fn forget_all(&mut self, settled: EventTime) {
        self.list.iter_mut().for_each(|source| source.forget_all(settled));
    }

    /// What a snapshot says of the journals.
    pub(super) fn heeded(&self) -> BTreeMap<String, Heeded> {
        let heeded = |source: &Source| {
            let (bound, settled) = self.watermark.promises(source.number);
            let inputs = source.heard.iter().map(|(offset, _)| *offset).collect();
            let last = (source.at.epoch.0, source.at.checksum, source.at.journal);
            Heeded { from: source.first_needed(), low: source.low, last, inputs, bound, settled }
        };
        self.list.iter().map(|source| (source.journal.to_string(), heeded(source))).collect()
    }

    /// What a source had promised when a snapshot was written.
    pub(super) fn restore(&mut self, place: usize, heeded: &Heeded) {
        let number = self.list[place].number;
        for watermark in [&mut self.watermark, &mut self.heard] {
            watermark.restore(number, heeded.bound, heeded.settled);
        }
    }

    /// All sources are there, with what they had promised.
    pub(super) fn advance(&mut self) {
        self.watermark.advance();
        self.heard.advance();
    }

    /// A snapshot was written that needs nothing before these positions of the journals that are in it.
    pub(super) fn release(&self, is_in_it: impl Fn(&str) -> bool) {
        for source in self.list.iter().filter(|source| is_in_it(&source.journal)) {
            source.replay.store(Position::at(Offset(source.first_needed())));
        }
    }
}

impl Source {
    fn forget_all(&mut self, settled: EventTime) {
        self.heard.retain(|(_, at)| *at >= settled);
        self.heard_max = (2 * self.heard.len()).max(HEARD_MIN);
    }

    fn look(&mut self, idle_after: Option<Duration>, dead_after: Duration) -> Option<SourceState> {
        if self.look_at_lock().is_some_and(|since| since.elapsed() >= dead_after) {
            return Some(SourceState::Dead);
        }
        let idle = idle_after.is_some_and(|after| self.spoke.elapsed() >= after);
        idle.then_some(SourceState::Idle)
    }

    /// Since when nobody holds the lock, as far as anybody knows: where it cannot be asked for, somebody may.
    fn look_at_lock(&mut self) -> Option<Instant> {
        let is_locked = match journal::is_locked(&self.folder) {
            Ok(is_locked) => {
                self.is_in_doubt = false;
                is_locked
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_in_doubt, true) {
                    let source = &*self.journal;
                    tracing::warn!(source, %error, "nobody knows whether the source lives: it is waited for");
                }
                true
            }
        };
        if is_locked {
            self.unlocked = None;
        } else {
            self.unlocked.get_or_insert_with(Instant::now);
        }
        self.unlocked
    }

    /// Everything before it is acknowledged.
    pub(super) const fn low(&self) -> u64 {
        self.low
    }

    fn first_needed(&self) -> u64 {
        // They may have come in any order.
        self.heard.iter().map(|(offset, _)| *offset).min().map_or(self.low, |first| first.min(self.low))
    }
}

/// The cursors that keep what a model needs after a restart go by this name.
pub(super) fn replay_name(model: &str) -> String {
    format!("{model}{REPLAY_SUFFIX}")
}
