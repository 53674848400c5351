//! A model over all of its keys: takes inputs in any order, and says what follows from them in the order of event
//! time; what it said before and does not follow any more, it takes back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::agenda::Agenda;
use super::conclusions::Conclusions;
use super::hash::Hash;
use super::index::Index;
use super::key::Key;
use super::ledger::Press;
use super::model::Model;
use super::order::{Derivation, Order};
use super::recall::{Recall, Recalled};
use super::records::Retract;
use super::slots::{SlotNumber, Slots};
use super::speak::{Saying, Speaker, Unsayable, to_ordinal};
use super::time::EventTime;
use super::timeline::{Cause, Shared, Timeline};

/// How a fold works.
#[derive(Debug, Clone)]
pub struct FoldOptions {
    /// A copy of a key's state is kept every so many inputs: a late one costs at most so many more than those after it.
    pub snapshot_every: u64,
    /// After so many revisions a conclusion is not asserted any more, which ends a quarrel between models that correct
    /// each other without end.
    pub revisions_max: u32,
}

impl Default for FoldOptions {
    fn default() -> Self {
        Self { snapshot_every: 64, revisions_max: 1000 }
    }
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It counts.
    Taken,
    /// It was there already, or a newer revision of it was.
    Known,
    /// It is older than what is final, and was not taken into account.
    Late,
}

/// An input that the model breaks over.
pub(super) struct Blamed {
    pub(super) journal: Arc<str>,
    pub(super) offset: u64,
    /// Why.
    pub(super) reason: String,
}

/// A model over all of its keys. See the module's documentation.
pub struct Fold<M: Model> {
    revisions_max: u32,
    name: Hash,
    index: Index,
    keys: Vec<Option<Timeline<M>>>,
    free: Vec<usize>,
    /// Keys with inputs that are not final, by the first of these.
    agenda: Agenda,
    /// Room for those of them whose time has come.
    due: Vec<(EventTime, usize)>,
    /// Keys with something to say.
    touched: Vec<usize>,
    /// Keys that were touched before the last flush.
    changed: Vec<usize>,
    forgotten: Vec<Key>,
    conclusions: Conclusions,
    settled: EventTime,
    shared: Shared<M>,
    payload: Vec<u8>,
}

impl<M: Model> fmt::Debug for Fold<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Fold");
        text.field("keys", &self.keys_count())
            .field("inputs", &self.inputs_count())
            .field("settled", &self.settled);
        text.finish_non_exhaustive()
    }
}

impl<M: Model> Fold<M> {
    /// An empty one. The name goes into the ids of all that it says.
    #[must_use]
    pub fn new(name: &str, options: FoldOptions) -> Self {
        let FoldOptions { snapshot_every, revisions_max } = options;
        let (slots, press, recall) = (Slots::new(), Press::new(), Recall::default());
        Self {
            revisions_max,
            name: Hash::new().bytes(name.as_bytes()),
            index: Index::new(),
            keys: Vec::new(),
            free: Vec::new(),
            agenda: Agenda::new(),
            due: Vec::new(),
            touched: Vec::new(),
            changed: Vec::new(),
            forgotten: Vec::new(),
            conclusions: Conclusions::default(),
            settled: EventTime::MIN,
            shared: Shared { snapshot_every, slots, press, recall },
            payload: Vec::new(),
        }
    }

    /// Refuses outputs that wait to be final and have more bytes: they could not be said then.
    pub(super) fn let_wait(&mut self, bytes: usize) {
        self.shared.press.waiting_bytes_max = Some(bytes);
    }

    /// Nothing below changes any more.
    #[must_use]
    pub fn settled(&self) -> EventTime {
        self.settled
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys_count(&self) -> usize {
        self.index.len()
    }

    /// How many inputs are kept, because they are not final.
    #[must_use]
    pub fn inputs_count(&self) -> usize {
        self.shared.slots.count()
    }

    /// The state of a key, as it is after the last [`Self::flush`].
    #[must_use]
    pub fn state(&self, key: &[u8]) -> Option<&M> {
        let timeline = self.keys[self.find(key)?].as_ref()?;
        Some(timeline.state())
    }

    /// The keys that had something new before the last [`Self::flush`].
    pub fn changed(&self) -> impl Iterator<Item = (&[u8], &M)> {
        self.changed.iter().filter_map(|key| {
            let timeline = self.keys[*key].as_ref()?;
            Some((&*timeline.key, timeline.state()))
        })
    }

    /// All keys with their states, as they are after the last [`Self::flush`].
    pub fn states(&self) -> impl Iterator<Item = (&[u8], &M)> {
        self.keys.iter().flatten().map(|timeline| (&*timeline.key, timeline.state()))
    }

    /// The keys that the last [`Self::settle`] has forgotten because their models are over.
    pub fn forgotten(&self) -> impl Iterator<Item = &[u8]> {
        self.forgotten.iter().map(|key| &**key)
    }

    /// Takes in an event that a source said at this offset.
    pub fn event(&mut self, key: &[u8], order: Order, input: M::Input) -> Fate {
        let offset = order.turn;
        self.take(key, &order, offset, input).0
    }

    /// Takes in what a model asserts, in the record at `offset`.
    pub fn assert(&mut self, key: &[u8], order: Order, revision: u32, offset: u64, input: M::Input) -> Fate {
        if order.at < self.settled {
            return Fate::Late;
        }
        let name = (Arc::clone(&order.journal), order.id);
        let cause = Cause { journal: Arc::clone(&order.journal), offset };
        let known = self.conclusions.hear(name.clone(), order.at);
        if revision <= known.asserted {
            return Fate::Known;
        }
        known.asserted = revision;
        let (before, holds) = (known.live.take(), revision > known.retracted);
        if let Some((key, order)) = before {
            self.remove(key, &order, cause);
        }
        if !holds {
            return Fate::Taken;
        }
        let (fate, place) = self.take(key, &order, offset, input);
        let known = self.conclusions.get_mut(&name).expect("it was entered just now");
        known.live = Some((place, order));
        fate
    }

    /// Takes in what a model retracts, in the record at `offset`; it may come before what it retracts.
    pub fn retract(&mut self, journal: &Arc<str>, retract: &Retract, offset: u64) -> Fate {
        if retract.at < self.settled {
            return Fate::Late;
        }
        let known = self.conclusions.hear((Arc::clone(journal), retract.id), retract.at);
        if retract.revision <= known.retracted {
            return Fate::Known;
        }
        known.retracted = retract.revision;
        if known.asserted <= known.retracted
            && let Some((key, order)) = known.live.take()
        {
            self.remove(key, &order, Cause { journal: Arc::clone(journal), offset });
        }
        Fate::Taken
    }

    fn take(&mut self, key: &[u8], order: &Order, offset: u64, input: M::Input) -> (Fate, usize) {
        if order.at < self.settled {
            return (Fate::Late, 0);
        }
        let place = self.place(key, M::default);
        let timeline = self.keys[place].as_mut().expect("the index names keys that are there");
        if !timeline.insert(order, offset, input, &mut self.shared) {
            return (Fate::Known, place);
        }
        if order.at < timeline.oldest {
            // What it was listed under before finds it changed.
            timeline.oldest = order.at;
            self.agenda.list(order.at, place);
        }
        touch(timeline, &mut self.touched, place);
        (Fate::Taken, place)
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        self.index.find(key, |place| self.keys[place].as_ref().is_some_and(|timeline| *timeline.key == *key))
    }

    fn place(&mut self, key: &[u8], state: impl FnOnce() -> M) -> usize {
        if let Some(place) = self.find(key) {
            return place;
        }
        let timeline = Some(Timeline::new(key, self.name.bytes(key), state()));
        let place = match self.free.pop() {
            Some(place) => {
                self.keys[place] = timeline;
                place
            }
            None => {
                self.keys.push(timeline);
                self.keys.len() - 1
            }
        };
        self.index.insert(key, place);
        place
    }

    fn remove(&mut self, place: usize, order: &Order, cause: Cause) {
        let Some(timeline) = self.keys[place].as_mut() else { return };
        timeline.remove(order, cause, &mut self.shared.slots);
        touch(timeline, &mut self.touched, place);
    }

    /// Says what follows from the inputs that came, and takes back what does not follow any more: for each key first
    /// the retracts, the newest conclusion first, then the asserts, the oldest first.
    ///
    /// # Errors
    /// An output cannot be encoded.
    pub fn flush(&mut self, mut say: impl FnMut(Saying<'_>)) -> Result<(), Unsayable> {
        for place in &self.touched {
            let Some(timeline) = self.keys[*place].as_mut() else { continue };
            timeline.listed = false;
            timeline.fold(&mut self.shared);
            speaker(self.revisions_max, &mut self.shared, &mut self.payload).speak(timeline, &mut say)?;
        }
        std::mem::swap(&mut self.touched, &mut self.changed);
        self.touched.clear();
        self.shared.press.clear();
        match self.shared.press.take_error() {
            None => Ok(()),
            Some((topic, reason)) => Err(Unsayable { topic: topic.to_owned(), reason }),
        }
    }

    /// Nothing before `settled` will be taken in any more: says what has waited for that, and forgets the inputs.
    /// Everything that follows from them is said first.
    ///
    /// # Errors
    /// An output cannot be encoded.
    pub fn settle(&mut self, settled: EventTime, mut say: impl FnMut(Saying<'_>)) -> Result<(), Unsayable> {
        // A flush of nothing would make `changed` forget the one before.
        if !self.touched.is_empty() {
            self.flush(&mut say)?;
        }
        self.forgotten.clear();
        if settled <= self.settled {
            return Ok(());
        }
        self.settled = settled;
        let mut due = std::mem::take(&mut self.due);
        self.agenda.advance(settled, &mut due);
        for (at, place) in due.drain(..) {
            let Some(timeline) = self.keys[place].as_mut().filter(|timeline| timeline.oldest == at) else {
                continue;
            };
            let count = timeline.count_final(settled, &self.shared.slots);
            speaker(self.revisions_max, &mut self.shared, &mut self.payload)
                .release(timeline, count, &mut say)?;
            timeline.forget(count, &mut self.shared);
            list(timeline, place, &self.shared, &mut self.agenda);
            self.forget_if_over(place);
        }
        self.due = due;
        if !self.forgotten.is_empty() {
            self.changed.retain(|place| self.keys[*place].is_some());
        }
        self.conclusions.settle(self.settled);
        self.shared.recall.settle(settled);
        self.shared.press.clear();
        Ok(())
    }

    fn forget_if_over(&mut self, place: usize) {
        if let Some(timeline) = self.keys[place].take_if(|timeline| timeline.is_over()) {
            self.index.remove(&timeline.key, place);
            self.forgotten.push(timeline.key);
            self.free.push(place);
        }
    }
}

/// Rebuilding after a restart, and what is kept for it.
impl<M: Model> Fold<M> {
    /// Begins again where a model was: `settled` and the states of keys as [`Self::bases`] gave them, and what its
    /// journal tells. Then come the inputs, in any order, and at last [`Self::resume`].
    pub fn restore(
        &mut self,
        settled: EventTime,
        bases: impl IntoIterator<Item = (Vec<u8>, M)>,
        recall: Recall,
    ) {
        self.settled = settled;
        for (key, base) in bases {
            self.place(&key, || base);
        }
        self.shared.recall = recall;
    }

    /// All inputs are there that had been dealt with before the restart: what was said because of them is not said
    /// again. Says what should have been said, which is something only if the model's code has changed.
    ///
    /// # Errors
    /// An output cannot be encoded.
    pub fn resume(&mut self, settled: EventTime, say: impl FnMut(Saying<'_>)) -> Result<(), Unsayable> {
        for place in &self.touched {
            let timeline = self.keys[*place].as_mut().expect("a key with inputs is there");
            timeline.fold(&mut self.shared);
            let count = timeline.count_final(settled, &self.shared.slots);
            timeline.unsaid = timeline.unsaid.max(count);
            timeline.forget(count, &mut self.shared);
            list(timeline, *place, &self.shared, &mut self.agenda);
        }
        self.settled = self.settled.max(settled);
        self.conclusions.settle(self.settled);
        self.shared.recall.settle(self.settled);
        self.flush(say)
    }

    /// Of each key the first input that the model breaks over, and why; see [`Timeline::find_broken`].
    #[cold]
    pub(super) fn find_broken(&mut self) -> Vec<Blamed> {
        let Self { keys, shared, .. } = self;
        let timelines = keys.iter().flatten();
        let broken: Vec<_> = timelines.filter_map(|timeline| timeline.find_broken(shared)).collect();
        self.blame(broken)
    }

    /// The inputs because of which something waits to be final that could not be said then, for it has more than so many
    /// bytes, or cannot be encoded; and why.
    #[cold]
    pub(super) fn find_unsayable(&mut self, bytes_max: usize) -> Vec<Blamed> {
        let Self { keys, shared, .. } = self;
        let timelines = keys.iter().flatten();
        let found: Vec<_> =
            timelines.flat_map(|timeline| timeline.find_unsayable(shared, bytes_max)).collect();
        self.blame(found)
    }

    /// The inputs that these conclusions follow from, which are known by the first of each input.
    #[cold]
    pub(super) fn find_inputs(&self, conclusions: &HashMap<Derivation, String>) -> Vec<Blamed> {
        let found = self.keys.iter().flatten().flat_map(|timeline| {
            timeline.slots.iter().filter_map(|number| {
                let reason = conclusions.get(&self.shared.slots.derive(*number, timeline.hash))?;
                Some((*number, reason.clone()))
            })
        });
        self.blame(found.collect())
    }

    fn blame(&self, inputs: Vec<(SlotNumber, String)>) -> Vec<Blamed> {
        let slots = &self.shared.slots;
        let blamed = inputs.into_iter().map(|(number, reason)| {
            let slot = &slots[number];
            Blamed { journal: Arc::clone(slots.journal(slot)), offset: slot.offset(), reason }
        });
        blamed.collect()
    }

    /// The states of all keys after their final inputs. To be asked for after a flush.
    pub fn bases(&self) -> impl Iterator<Item = (&[u8], &M)> {
        self.keys.iter().flatten().map(|timeline| (&*timeline.key, timeline.base()))
    }

    /// Inputs because of which something is asserted that is not final, and that have not come by now, before
    /// [`Self::resume`].
    pub(super) fn unasked(&self, settled: EventTime) -> HashSet<Derivation> {
        self.shared.recall.unasked(settled)
    }

    /// What is asserted because of `inputs`, which are gone: it is to be taken back.
    pub(super) fn take_unfounded(
        &mut self,
        inputs: &HashSet<Derivation>,
        settled: EventTime,
    ) -> Vec<(Derivation, Recalled)> {
        self.shared.recall.take_unfounded(inputs, settled)
    }

    /// What the first output of an input is called.
    pub(super) fn derive(&self, key: &[u8], order: &Order) -> Derivation {
        order.derive(self.name.bytes(key))
    }

    /// What was said because of inputs that are not final; also of those that are gone, for a revision must not be used
    /// again.
    pub(super) fn ledger(&self) -> impl Iterator<Item = (Derivation, Recalled)> {
        let rest = self.shared.recall.rest().map(|(id, recalled)| (id, recalled.clone()));
        let slots = &self.shared.slots;
        let said = self.keys.iter().flatten().flat_map(move |timeline| {
            timeline.slots.iter().flat_map(move |number| {
                let slot = &slots[*number];
                let id = slots.derive(*number, timeline.hash);
                let said = slot.lines.iter().enumerate().filter(|(_, line)| line.revision > 0);
                said.map(move |(ordinal, line)| {
                    (id.nth(to_ordinal(ordinal)), line.to_recalled(&timeline.key, slot.at, slot.turn))
                })
            })
        });
        said.chain(rest)
    }
}

/// Enters a key under the time of its first slot.
fn list<M: Model>(timeline: &mut Timeline<M>, place: usize, shared: &Shared<M>, agenda: &mut Agenda) {
    let oldest = timeline.first_at(&shared.slots);
    if std::mem::replace(&mut timeline.oldest, oldest) != oldest && oldest != EventTime::MAX {
        agenda.list(oldest, place);
    }
}

fn speaker<'a, M: Model>(
    revisions_max: u32,
    shared: &'a mut Shared<M>,
    payload: &'a mut Vec<u8>,
) -> Speaker<'a, M::Input, M::Output> {
    Speaker { revisions_max, slots: &mut shared.slots, press: &mut shared.press, payload }
}

fn touch<M: Model>(timeline: &mut Timeline<M>, touched: &mut Vec<usize>, place: usize) {
    if !timeline.listed {
        timeline.listed = true;
        touched.push(place);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::event::Event;
    use crate::ordering::{Compensate, Heard, Input, Outputs};

    struct Tick;

    impl Input for Tick {
        fn take(_: &Heard<'_>) -> Result<Self, String> {
            Ok(Tick)
        }

        fn key(&self) -> Cow<'_, [u8]> {
            b"key".into()
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Never {}

    impl Event for Never {
        const TOPIC: &'static str = "never";
    }

    impl Compensate for Never {}

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Count(u32);

    impl Model for Count {
        type Input = Tick;
        type Output = Never;

        fn apply(&mut self, _: EventTime, _: &Tick, _: &mut Outputs<Never>) {
            self.0 += 1;
        }
    }

    #[test]
    fn what_has_changed_is_not_forgotten_when_something_becomes_final_in_the_same_turn() {
        let mut fold = Fold::<Count>::new("count", FoldOptions::default());
        fold.event(b"key", Order::of_event(EventTime(5), "journal".into(), 0), Tick);
        fold.flush(|_| {}).unwrap();
        fold.settle(EventTime(3), |_| {}).unwrap();
        let changed: Vec<_> = fold.changed().map(|(key, state)| (key.to_vec(), state.0)).collect();
        assert_eq!(changed, [(b"key".to_vec(), 1)]);
    }
}
