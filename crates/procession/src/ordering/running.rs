//! A running model: what it hears goes into the fold, what follows goes out as one batch with the acknowledgements.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Offset, Time};

use super::absent::Absent;
use super::fold::{Fate, Fold};
use super::held::Held;
use super::intake::{Selection, Word, read};
use super::isolate::Broken;
use super::model::{Heard, Input, Model};
use super::order::Order;
use super::outbox::Outbox;
use super::own_lease::OwnLease;
use super::passed::History;
use super::records::Late;
use super::reorder::Reorder;
use super::run::{RunOptions, Watch};
use super::sources::{Promise, Sources};
use super::time::EventTime;
use crate::core::Core;
use crate::error::Result;
use crate::event::{Any, Event as _};
use crate::guarded::guarded;
use crate::letters::{self, Letter};
use crate::subscribe::{Breaker, DeadLetter, Delivery, Missing, Parked, identity};

/// How often to look whether a source that holds time back is dead or idle.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    pub(super) said_final: Instant,
    pub(super) looked: Instant,
    pub(super) held: Held,
    /// Inputs since the last snapshot.
    pub(super) inputs: u64,
    /// What was said since the last snapshot.
    pub(super) own: OwnLease,
    /// What is heard was dealt with before a restart.
    pub(super) replaying: bool,
    /// Journals that were heard and are not there.
    pub(super) absent: Absent,
    /// Dead letters whose events were delivered once more, where they lie in the own journal, and the events' times: they
    /// are needed again until these are final.
    pub(super) retried: BTreeMap<u64, EventTime>,
    /// Those of them that a snapshot keeps.
    pub(super) letters: BTreeMap<u64, Letter>,
    /// What a rebuild breaks over.
    pub(super) broken: Broken,
    /// A rebuild has parked something.
    pub(super) parked_again: bool,
    /// Inputs are tried one by one, so that all is told at the end.
    pub(super) isolating: bool,
    /// How many inputs of this batch nobody can make sense of, and why not of the last.
    pub(super) refused: Option<(u32, String)>,
    pub(super) breaker: Breaker,
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
            held: Held::default(),
            inputs: 0,
            own: OwnLease::new(),
            replaying: true,
            absent: Absent::new(now),
            retried: BTreeMap::new(),
            letters: BTreeMap::new(),
            broken: Broken::default(),
            parked_again: false,
            isolating: false,
            refused: None,
            breaker: Breaker::default(),
        }
    }

    /// When there is something to do even if nothing is heard.
    pub(super) fn due(&self) -> Option<Instant> {
        let window = self.window.due();
        let settle =
            (self.next_final() > self.fold.settled()).then(|| self.said_final + self.options.final_every);
        let look = self.is_held().then(|| self.looked + LOOK_EVERY);
        let back = self.absent.due();
        let room = self.own.looks_at(&self.core);
        [window, settle, look, back, room].into_iter().flatten().min()
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
                Err(reason) => {
                    let count = self.refused.take().map_or(0, |(count, _)| count);
                    self.refused = Some((count + 1, reason.clone()));
                    self.refuse(delivery, reason)?;
                }
            }
        }
        Ok(())
    }

    /// The event of a dead letter is needed again until it is final.
    pub(super) fn note_retried(&mut self, letter: Option<u64>, word: &Word<M::Input>) {
        if let (Some(letter), Some(at)) = (letter, word.at()) {
            self.retried.insert(letter, at);
            // What the snapshot has of it is enough: where it lay, it may be gone, or keep all after it.
            if !self.letters.contains_key(&letter) {
                self.own.reach_back(Offset(letter));
            }
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

    pub(super) fn apply(&mut self, order: Order, pending: Pending<M::Input>) {
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
}
