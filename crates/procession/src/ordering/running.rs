//! A running model: what it hears goes into the fold, what follows goes out as one batch with the acknowledgements.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Codec, Cursor, Offset, PAYLOAD_BYTES_MAX, Position, Time};
use serde::Serialize;

use super::fold::{Fate, Fold};
use super::intake::{Selection, Word, read};
use super::isolate::Broken;
use super::model::{Heard, Input, Model};
use super::order::Order;
use super::passed::History;
use super::records::{Final, Late};
use super::reorder::Reorder;
use super::run::{Change, RunOptions, Watch};
use super::snapshot;
use super::sources::{Promise, Sources, replay_name};
use super::speak::{Saying, Unsayable};
use super::time::EventTime;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::event::{Any, Event as _, Message};
use crate::guarded::guarded;
use crate::letters;
use crate::outlet::Batch;
use crate::subscribe::{DeadLetter, Delivery, Missing, Parked, identity};

/// How often to look whether a source that holds time back is dead or idle.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long to wait for room on the disk before trying again.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// What is too large where several records are smaller.
const BATCH: &str = "batch";
const ENTRIES: &str = "number of entries in a batch";
/// What a record takes in a batch beside key and payload, at most: its header, names, and the acknowledgement.
pub(super) const RECORD_BYTES: usize = 1024;

pub(super) struct Running<M: Model> {
    pub(super) core: Arc<Core>,
    pub(super) model: String,
    pub(super) selection: Selection,
    pub(super) options: RunOptions,
    pub(super) watch: Option<Watch<M>>,
    pub(super) fold: Fold<M>,
    pub(super) window: Reorder<Pending<M::Input>>,
    pub(super) sources: Sources,
    pub(super) outbox: Outbox,
    /// Deliveries to be acknowledged with the next batch, and the place of their source.
    pub(super) acking: Vec<(usize, Delivery<Any>)>,
    said_final: Instant,
    looked: Instant,
    held: Held,
    /// Inputs since the last snapshot.
    inputs: u64,
    /// Keeps what was said since the last snapshot.
    own_replay: Option<Cursor>,
    /// What is heard was dealt with before a restart.
    pub(super) replaying: bool,
    /// Journals that were heard and are not there.
    pub(super) absent: BTreeSet<String>,
    /// Dead letters whose events were delivered once more, where they lie in the own journal, and the events' times: they
    /// are needed again until these are final.
    pub(super) retried: BTreeMap<u64, EventTime>,
    /// What a rebuild breaks over.
    pub(super) broken: Broken,
}

/// Who holds back what is final, and since when.
#[derive(Debug)]
struct Held {
    holders: Vec<Arc<str>>,
    since: Instant,
    since_at: EventTime,
    is_said: bool,
}

/// An input in the window.
#[derive(Debug)]
pub(super) struct Pending<I> {
    key: Box<[u8]>,
    offset: u64,
    /// 0 for events.
    revision: u32,
    input: I,
}

/// Where a record was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: usize,
    pub(super) offset: u64,
    pub(super) history: History,
    pub(super) time: Time,
    pub(super) topic: &'a str,
}

impl<M: Model> Running<M>
where
    M::Input: Input,
{
    pub(super) fn new(
        core: Arc<Core>,
        model: &str,
        selection: Selection,
        options: RunOptions,
        watch: Option<Watch<M>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            fold: Fold::new(model, options.fold.clone()),
            core,
            model: model.to_owned(),
            selection,
            window: Reorder::new(options.wait),
            options,
            watch,
            sources: Sources::default(),
            outbox: Outbox::default(),
            acking: Vec::new(),
            said_final: now,
            looked: now,
            held: Held { since: now, since_at: EventTime::now(), is_said: false, holders: Vec::new() },
            inputs: 0,
            own_replay: None,
            replaying: true,
            absent: BTreeSet::new(),
            retried: BTreeMap::new(),
            broken: Broken::default(),
        }
    }

    /// When there is something to do even if nothing is heard.
    pub(super) fn due(&self) -> Option<Instant> {
        let window = self.window.due();
        let settle =
            (self.next_final() > self.fold.settled()).then(|| self.said_final + self.options.final_every);
        let look = self.is_held().then(|| self.looked + LOOK_EVERY);
        [window, settle, look].into_iter().flatten().min()
    }

    /// Whether somebody holds back time, or what is final.
    fn is_held(&self) -> bool {
        let watermark = &self.sources.watermark;
        watermark.is_held() || watermark.settled() < self.horizon()
    }

    /// Up to where what has come is complete, and as late as it may be.
    fn horizon(&self) -> EventTime {
        self.sources.watermark.mark().minus(self.options.lateness)
    }

    /// Looks at those who hold back time, or what is final; says who has done so for long.
    fn look(&mut self, now: Instant) -> Result<()> {
        self.looked = now;
        self.sources.look(self.options.idle_after, self.options.dead_after)?;
        let models = self.sources.look_at_models(self.horizon(), self.options.gone_after)?;
        let held = self.sources.watermark.is_held();
        let others = self.sources.watermark.holders().filter(|_| held).map(|(_, name)| Arc::clone(name));
        let mut holders: Vec<Arc<str>> = models.into_iter().chain(others).collect();
        holders.sort();
        holders.dedup();
        if holders != self.held.holders {
            if self.held.is_said {
                tracing::info!(model = self.model, before = ?self.held.holders, now = ?holders, "final is held back by others now, or by nobody");
            }
            self.held = Held { since: now, since_at: EventTime::now(), is_said: false, holders };
        } else if !holders.is_empty()
            && !self.held.is_said
            && now >= self.held.since + self.options.dead_after
        {
            self.held.is_said = true;
            tracing::warn!(
                model = self.model,
                holders = ?self.held.holders,
                since = %self.held.since_at,
                settled = %self.fold.settled(),
                "final is held back: these sources have not said how far they are"
            );
        }
        Ok(())
    }

    /// Takes a delivery in, to be acknowledged with what follows from it. Says why if the model breaks over it: it must
    /// be isolated then.
    pub(super) fn hear(&mut self, delivery: Delivery<Any>) -> Result<Result<(), String>> {
        let place = self.sources.place(&self.core, &self.model, delivery.journal(), delivery.offset.0);
        let source = place?;
        let done = guarded(|| self.hear_at(source, &delivery));
        self.acking.push((source, delivery));
        match done {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(error)) => Err(error),
            Err(reason) => Ok(Err(reason)),
        }
    }

    fn hear_at(&mut self, source: usize, delivery: &Delivery<Any>) -> Result<()> {
        let offset = delivery.offset.0;
        let letter = delivery.acks().settling().and_then(|settling| settling.letter(delivery.offset));
        if letter.is_some() || self.sources.is_new(source, offset) {
            let heard = Heard {
                journal: delivery.journal(),
                topic: delivery.topic(),
                key: delivery.key.as_deref(),
                time: delivery.time,
                codec: delivery.event.codec,
                payload: &delivery.event.bytes,
            };
            let history = (delivery.acks().identity(), delivery.epoch);
            let place = Place { source, offset, history, time: delivery.time, topic: delivery.topic() };
            match read(&self.selection, &heard) {
                Ok(word) => {
                    self.note_retried(letter.map(|letter| letter.0), &word);
                    self.take(place, word)?;
                }
                Err(reason) => self.refuse(delivery, reason)?,
            }
        }
        Ok(())
    }

    /// The event of a dead letter is needed again until it is final.
    pub(super) fn note_retried(&mut self, letter: Option<u64>, word: &Word<M::Input>) {
        if let (Some(letter), Some(at)) = (letter, word.at()) {
            self.retried.insert(letter, at);
        }
    }

    /// Takes a record in.
    pub(super) fn take(&mut self, place: Place<'_>, word: Word<M::Input>) -> Result<()> {
        let Place { source, offset, time, .. } = place;
        let journal = Arc::clone(&self.sources.get(source).journal);
        let (key, revision, order, input) = match word {
            Word::Event { key, at, input } => (key, 0, Order::of_event(at, journal, offset), input),
            Word::Assert { key, said, input } => {
                self.sources.is_model(source);
                (key, said.revision, Order { at: said.at, journal, turn: said.turn, id: said.id }, input)
            }
            Word::Retract(retract) => {
                self.sources.is_model(source);
                if self.fold.retract(&journal, &retract, offset) == Fate::Late {
                    return self.note_late(place, &journal, retract.at);
                }
                self.sources.keep(source, offset, retract.at);
                return Ok(());
            }
            Word::Final(at) => {
                self.sources.is_model(source);
                self.sources.hear(source, offset, Promise::Final(at));
                return Ok(());
            }
            Word::Heartbeat(at) => {
                self.sources.hear(source, offset, Promise::Bound(at));
                return Ok(());
            }
            Word::Compensation => {
                self.sources.is_model(source);
                return Ok(());
            }
            Word::Nothing => return Ok(()),
        };
        // Nothing happens after it was recorded: a clock that is ahead does not take everybody with it.
        self.sources.hear(source, offset, Promise::Bound(order.at.min(time.into())));
        if order.at < self.fold.settled() {
            return self.note_late(place, &order.journal, order.at);
        }
        self.inputs += 1;
        self.sources.keep(source, offset, order.at);
        let pending = Pending { key, offset, revision, input };
        let mark = if self.replaying { EventTime::MAX } else { self.sources.heard.mark() };
        if let Some((order, pending)) = self.window.push(order, pending, mark, Instant::now) {
            self.apply(order, pending);
        }
        Ok(())
    }

    fn apply(&mut self, order: Order, pending: Pending<M::Input>) {
        let Pending { key, offset, revision, input } = pending;
        let fate = match revision {
            0 => self.fold.event(&key, order, input),
            revision => self.fold.assert(&key, order, revision, offset, input),
        };
        debug_assert_ne!(fate, Fate::Late, "final does not pass what is in the window");
    }

    fn note_late(&mut self, place: Place<'_>, journal: &Arc<str>, at: EventTime) -> Result<()> {
        if self.replaying {
            // The snapshot has it.
            return Ok(());
        }
        let (settled, topic) = (self.fold.settled(), place.topic.to_owned());
        tracing::warn!(model = self.model, journal = &**journal, offset = place.offset, %topic, %at, %settled, "an input is too late to be taken into account");
        let (history, epoch) = place.history;
        let (identity, epoch) = (Some(identity(history)), Some(epoch.0));
        let late =
            Late { journal: journal.to_string(), offset: place.offset, topic, at, settled, identity, epoch };
        self.outbox.add_json(Late::TOPIC, &late, Some((journal, place.offset)))
    }

    /// Nobody can make sense of it: it goes to the dead letters.
    pub(super) fn refuse(&mut self, delivery: &Delivery<Any>, reason: String) -> Result<()> {
        let (journal, topic, offset) = (delivery.journal(), delivery.topic(), delivery.offset.0);
        tracing::error!(
            model = self.model,
            journal,
            offset,
            topic,
            reason,
            "an input is parked in the dead-letter topic"
        );
        let parked = Parked {
            subscription: &self.model,
            journal,
            identity: delivery.acks().identity(),
            epoch: delivery.epoch,
            offset: delivery.offset,
            topic,
            key: delivery.key.as_deref(),
            codec: delivery.event.codec,
            payload: &delivery.event.bytes,
        };
        let letter = DeadLetter::new(&parked, delivery.attempt, &reason, self.letter_bytes_max());
        self.outbox.add_json(DeadLetter::TOPIC, &letter, Some((&journal.into(), offset)))
    }

    pub(super) fn letter_bytes_max(&self) -> usize {
        letters::bytes_max(self.core.hearing.segment_bytes)
    }

    pub(super) fn miss(&self, missing: &Missing) {
        let Missing { journal, gap } = missing;
        let (model, reason) = (&*self.model, gap.reason);
        tracing::error!(model, journal = &**journal, from = gap.from.0, to = gap.to.0, %reason, "inputs are missing");
    }

    /// Publishes what follows from everything that was heard, with the acknowledgements. Nothing becomes final if some
    /// of it is gone. Says why if the model breaks over what was heard: the culprit is to be found then.
    pub(super) async fn commit(&mut self, drained: bool, gone: bool) -> Result<Result<(), String>> {
        match guarded(|| self.follow()) {
            Ok(Ok(())) => {}
            Ok(Err(unsayable)) => return Ok(Err(unsayable.to_string())),
            Err(reason) => return Ok(Err(reason)),
        }
        let now = Instant::now();
        self.note_who_spoke(now);
        if drained && self.is_held() && now >= self.looked + LOOK_EVERY {
            self.look(now)?;
        }
        let settled = if gone { None } else { self.settle(now)? };
        match self.publish().await {
            Ok(()) => {}
            Err(error @ Error::Journal(journal::Error::TooLarge { .. })) if !self.acking.is_empty() => {
                return Ok(Err(format!("what follows from it cannot be said: {error}")));
            }
            // It was told to stop while it waited: what it has heard is not acknowledged, and comes again.
            Err(Error::Journal(journal::Error::Full { .. })) if self.core.is_stopping() => {
                self.outbox.clear();
                self.acking.clear();
                self.inputs = 0;
                return Ok(Ok(()));
            }
            Err(error) => return Err(error),
        }
        self.tell(settled);
        if self.inputs >= self.options.snapshot_inputs {
            self.take_snapshot().await?;
        }
        Ok(Ok(()))
    }

    /// Makes of what was heard what is to be said.
    fn follow(&mut self) -> Result<(), Unsayable> {
        while let Some((order, pending)) = self.window.pop(self.sources.heard.mark(), Instant::now) {
            self.apply(order, pending);
        }
        self.fold.flush(|saying| self.outbox.add(&saying))
    }

    fn note_who_spoke(&mut self, now: Instant) {
        let mut last = None;
        for (source, _) in &self.acking {
            if last.replace(*source) != Some(*source) {
                self.sources.touch(*source, now);
            }
        }
    }

    /// Up to where nothing will change any more.
    fn next_final(&self) -> EventTime {
        let horizon = self.horizon().min(self.sources.watermark.settled());
        self.window.first_at().map_or(horizon, |first| horizon.min(first))
    }

    /// Says `_final`, if it is time to; returns what is final then.
    fn settle(&mut self, now: Instant) -> Result<Option<EventTime>> {
        if now < self.said_final + self.options.final_every || self.next_final() <= self.fold.settled() {
            return Ok(None);
        }
        // A source that has not spoken yet holds it back.
        self.add_silent_sources()?;
        let at = self.next_final();
        if at <= self.fold.settled() {
            return Ok(None);
        }
        self.said_final = now;
        // Corrections are said before, so that what is behind them was released.
        self.outbox.released = Some(self.outbox.posts.len());
        self.fold.settle(at, |saying| self.outbox.add(&saying)).map_err(encode_error)?;
        self.outbox.add_json(Final::TOPIC, &Final { at }, None)?;
        if let Some(last) = self.outbox.posts.last_mut() {
            last.at = EventTime::MAX;
        }
        self.sources.forget(at);
        Ok(Some(at))
    }

    /// Sources whose journals are read, and who have said nothing that concerns us yet.
    pub(super) fn add_silent_sources(&mut self) -> Result<()> {
        for acks in self.core.acks().iter().filter(|acks| *acks.subscription == *self.model) {
            if self.selection.names(&acks.journal) {
                let first = acks.position().map_or(0, |position| position.next.0);
                self.sources.place(&self.core, &self.model, &acks.journal, first)?;
            }
        }
        Ok(())
    }

    /// Processes that are named and have never run are waited for like those that are dead.
    pub(super) fn add_missing_sources(&mut self) -> Result<()> {
        for process in self.selection.processes() {
            if !self.sources.iter().any(|source| self.selection.means(&process, &source.journal)) {
                self.sources.place(&self.core, &self.model, &process, 0)?;
            }
        }
        Ok(())
    }

    /// All or nothing, unless it is too large for one batch; waits for room if there is none.
    pub(super) async fn publish(&mut self) -> Result<()> {
        let count = self.outbox.posts.len();
        if count == 0 {
            self.acking.iter().for_each(|(_, delivery)| delivery.ack());
        } else if let Err(error) = self.put(0..count, &self.acking, None).await {
            // Not if it would fail over one of them in the end: then none of it is to be said.
            if count == 1 || !self.outbox.can_be_parted(&error) {
                return Err(error);
            }
            tracing::warn!(model = self.model, posts = count, "a correction is too large for one batch");
            self.publish_parts().await?;
        }
        for (source, delivery) in self.acking.drain(..) {
            if let Some(position) = delivery.acks().position() {
                self.sources.acknowledged(source, position);
            }
        }
        self.outbox.clear();
        Ok(())
    }

    /// First what has changed, and with the last of it the acknowledgements: should the process die before, it hears the
    /// inputs again, and says the rest. Then what has waited for final, each part with the `_final` that releases it:
    /// without that it might be taken back.
    async fn publish_parts(&mut self) -> Result<()> {
        let count = self.outbox.posts.len();
        let released = self.outbox.released.unwrap_or(count);
        let (mut from, mut most) = (0, released);
        if released == 0 {
            self.acking.iter().for_each(|(_, delivery)| delivery.ack());
        }
        while from < released {
            let to = released.min(from + most);
            let acking = if to == released { &self.acking[..] } else { &[] };
            match self.put(from..to, acking, None).await {
                Ok(()) => from = to,
                Err(error) if to - from > 1 && self.outbox.can_be_parted(&error) => {
                    most = (to - from).div_ceil(2);
                }
                Err(error) => return Err(error),
            }
        }
        self.outbox.posts[released..].sort_by_key(|post| post.at);
        most = count - released;
        while from < count {
            let (to, settled) = self.outbox.releases(from, most);
            match self.put(from..to, &[], settled).await {
                Ok(()) => from = to,
                Err(error) if most > 1 && self.outbox.can_be_parted(&error) => most = most.div_ceil(2),
                // What waited for one instant is too much for a batch, so it cannot be said with its final.
                Err(error) if to - from > 1 && self.outbox.can_be_parted(&error) => {
                    from = self.put_some(from..to).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says as many of the posts as find room in a batch, but not all; returns where the others begin.
    async fn put_some(&self, posts: Range<usize>) -> Result<usize> {
        let (from, mut most) = (posts.start, posts.len());
        loop {
            most = most.div_ceil(2);
            match self.put(from..from + most, &[], None).await {
                Ok(()) => return Ok(from + most),
                Err(error) if most > 1 && self.outbox.can_be_parted(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for room if there is none.
    async fn put(
        &self,
        posts: Range<usize>,
        acking: &[(usize, Delivery<Any>)],
        settled: Option<EventTime>,
    ) -> Result<()> {
        loop {
            match self.outbox.publish(posts.clone(), &self.core, acking, settled) {
                Err(error @ Error::Journal(journal::Error::Full { .. })) if !self.core.is_stopping() => {
                    tracing::error!(%error, "a model waits for room to say what it has to say");
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Tells the application what is new.
    fn tell(&mut self, settled: Option<EventTime>) {
        let Some(watch) = &mut self.watch else { return };
        self.fold.changed().for_each(|(key, state)| watch(Change::State { key, state }));
        if let Some(at) = settled {
            self.fold.forgotten().for_each(|key| watch(Change::Over { key }));
            watch(Change::Final(at));
        }
    }

    /// Tells the application everything.
    pub(super) fn tell_all(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        self.fold.states().for_each(|(key, state)| watch(Change::State { key, state }));
        if self.fold.settled() > EventTime::MIN {
            watch(Change::Final(self.fold.settled()));
        }
    }

    /// Says what a rebuilt fold has to say.
    pub(super) async fn resume(&mut self, settled: EventTime) -> Result<()> {
        let Self { fold, outbox, model, .. } = self;
        guarded(|| fold.resume(settled, |saying| outbox.add(&saying)))
            .map_err(|reason| Error::Subscription { name: model.clone(), reason })?
            .map_err(encode_error)?;
        self.sources.forget(settled);
        self.replaying = false;
        // What waits for final must find room in a batch then, whatever else a segment begins with: half of it at most.
        let room = usize::try_from(self.core.hearing.segment_bytes / 2).unwrap_or(usize::MAX);
        self.fold.let_wait(room.min(PAYLOAD_BYTES_MAX).saturating_sub(2 * RECORD_BYTES));
        self.publish().await
    }

    pub(super) fn snapshot_path(&self) -> PathBuf {
        snapshot::path(&self.core.folders.instance(&self.core.instance), &self.model)
    }

    pub(super) async fn take_snapshot(&mut self) -> Result<()> {
        self.inputs = 0;
        let marks = self.core.outlet.watch.marks();
        let own = marks.committed;
        // After power loss the journal must not end before the snapshot begins.
        if own > Offset::ZERO {
            self.core.outlet.durable(own).await?;
        }
        let path = self.snapshot_path();
        let settled = self.fold.settled();
        self.retried.retain(|_, at| *at >= settled);
        let retried: Vec<u64> = self.retried.keys().copied().collect();
        let first_own = retried.first().map_or(own, |first| own.min(Offset(*first)));
        let heard = (self.sources.heeded(), retried);
        let written = snapshot::write(&path, &self.model, &self.fold, &marks, heard);
        if let Err(error) = written {
            // It is a cache: what it would have spared is done again.
            tracing::warn!(path = %path.display(), %error, "cannot write a snapshot: a restart will take longer");
            return Ok(());
        }
        self.sources.release();
        let replay = match self.own_replay.take() {
            Some(replay) => replay,
            None => self.core.cursors.claim(&replay_name(&self.model), self.core.instance.as_str())?,
        };
        replay.store(Position::at(first_own));
        self.own_replay = Some(replay);
        Ok(())
    }

    pub(super) async fn end(&mut self) -> Result<()> {
        if self.inputs > 0 { self.take_snapshot().await } else { Ok(()) }
    }
}

fn encode_error(error: Unsayable) -> Error {
    let Unsayable { topic, reason } = error;
    Error::Encode { topic, reason }
}

/// Records that are to be published together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    posts: Vec<Post>,
    bytes: Vec<u8>,
    /// The posts from this one on have waited for final; the last of them is `_final`.
    released: Option<usize>,
}

#[derive(Debug)]
struct Post {
    topic: &'static str,
    cause: Option<(Arc<str>, u64)>,
    key: Option<Range<usize>>,
    payload: Range<usize>,
    /// When the input happened that it follows from.
    at: EventTime,
}

impl Outbox {
    /// Bytes of the largest record, about.
    fn largest(&self) -> usize {
        let bytes = |post: &Post| {
            post.key.as_ref().map_or(0, ExactSizeIterator::len) + post.payload.len() + RECORD_BYTES
        };
        self.posts.iter().map(bytes).max().unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.posts.clear();
        self.bytes.clear();
        self.released = None;
    }

    /// Whether what failed so finds room in several batches.
    fn can_be_parted(&self, error: &Error) -> bool {
        match error {
            Error::Journal(journal::Error::TooLarge { what, limit, .. }) => {
                *what == ENTRIES || *what == BATCH && self.largest() <= *limit
            }
            _ => false,
        }
    }

    /// Where a part of what was released ends that begins at `from` and has `most` posts, about; and what is final with
    /// it, if it is not the last. All that has waited for one instant goes together.
    fn releases(&self, from: usize, most: usize) -> (usize, Option<EventTime>) {
        let (posts, last) = (&self.posts, self.posts.len() - 1);
        let to = last.min(from + most.max(1));
        let at = posts[to].at;
        let begin = posts[..to].partition_point(|post| post.at < at).max(from);
        let end = to + posts[to..].partition_point(|post| post.at <= at);
        match if begin > from { begin } else { end } {
            to if to < last => (to, Some(posts[to].at)),
            _ => (posts.len(), None),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn add(&mut self, saying: &Saying<'_>) {
        let Saying { topic, key, cause: (journal, offset), payload, said, .. } = *saying;
        let (key, payload) = (Some(self.put(key)), self.put(payload));
        let at = said.since.unwrap_or(said.at);
        self.posts.push(Post { topic, cause: Some((Arc::clone(journal), offset)), key, payload, at });
    }

    /// Without a cause.
    pub(super) fn add_bytes(&mut self, topic: &'static str, key: Option<&[u8]>, payload: &[u8]) {
        let (key, payload) = (key.map(|key| self.put(key)), self.put(payload));
        self.posts.push(Post { topic, cause: None, key, payload, at: EventTime::MIN });
    }

    pub(super) fn add_json<T: Serialize>(
        &mut self,
        topic: &'static str,
        value: &T,
        cause: Option<(&Arc<str>, u64)>,
    ) -> Result<()> {
        let start = self.bytes.len();
        serde_json::to_writer(&mut self.bytes, value)
            .map_err(|error| Error::Encode { topic: topic.to_owned(), reason: error.to_string() })?;
        let cause = cause.map(|(journal, offset)| (Arc::clone(journal), offset));
        let payload = start..self.bytes.len();
        self.posts.push(Post { topic, cause, key: None, payload, at: EventTime::MIN });
        Ok(())
    }

    fn publish(
        &self,
        posts: Range<usize>,
        core: &Core,
        acking: &[(usize, Delivery<Any>)],
        settled: Option<EventTime>,
    ) -> Result<()> {
        let mut batch = Batch::new(&core.outlet);
        for Post { topic, cause, key, payload, .. } in &self.posts[posts] {
            batch.add_message(Message {
                topic: Cow::Borrowed(topic),
                key: key.clone().map(|key| Cow::Borrowed(&self.bytes[key])),
                cause: cause.as_ref().map(|(journal, offset)| (Cow::Borrowed(&**journal), Offset(*offset))),
                codec: Codec::Json,
                payload: Cow::Borrowed(&self.bytes[payload.clone()]),
            })?;
        }
        if let Some(at) = settled {
            batch.add(&Final { at })?;
        }
        for (_, delivery) in acking {
            batch.ack(delivery);
        }
        batch.commit().map(drop)
    }
}
