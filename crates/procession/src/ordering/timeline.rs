//! One key: its inputs in order, what came of each, and the model's state.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hash::Hash;
use super::key::Key;
use super::ledger::{Line, Lines, Press};
use super::model::Model;
use super::order::Order;
use super::recall::Recall;
use super::slots::{SlotNumber, Slots};
use super::time::EventTime;
use crate::guarded::guarded;

/// What all keys of a fold work with.
pub(super) struct Shared<M: Model> {
    /// A copy of a key's state is kept every so many inputs.
    pub(super) snapshot_every: u64,
    pub(super) slots: Slots<M::Input, M::Output>,
    pub(super) press: Press<M::Output>,
    pub(super) recall: Recall,
}

/// The record that made a correction necessary.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) journal: Arc<str>,
    pub(super) offset: u64,
}

/// The inputs of one key that are not final, and the model's state after them.
///
/// `snapshots` are states before the slot of that number; numbers count all slots that ever were, so that they stay
/// true when final slots go. As long as there are slots, there is one before the first of them.
///
/// Of many keys each is far from the processor when its turn comes: what an input in order needs comes first, on the
/// same cache lines, and what tells of other memory is kept here, too.
#[repr(C, align(64))]
pub(super) struct Timeline<M: Model> {
    pub(super) key: Key,
    /// In their order.
    pub(super) slots: VecDeque<SlotNumber>,
    /// The event time of the last slot.
    last_at: EventTime,
    /// Under which time it is listed among those that have something to settle; [`EventTime::MAX`] is never settled.
    pub(super) oldest: EventTime,
    /// Number of the first slot.
    first: u64,
    /// Number of the slot before which the state is to be kept.
    next_snapshot: u64,
    /// From this place on, the state and the lines are not what the inputs say.
    stale: usize,
    /// From this place on, lines may differ from what was said.
    pub(super) unsaid: usize,
    /// Whether it is on the list of those that have something to say.
    pub(super) listed: bool,
    /// After all slots before `stale`.
    state: M,
    pub(super) hash: Hash,
    snapshots: Vec<(u64, M)>,
    /// What made the state stale.
    pub(super) cause: Option<Box<Cause>>,
}

/// A place that no slot has.
const NOWHERE: usize = usize::MAX;

impl<M: Model> Timeline<M> {
    pub(super) fn new(key: &[u8], hash: Hash, state: M) -> Self {
        Self {
            key: key.into(),
            slots: VecDeque::new(),
            last_at: EventTime::MIN,
            oldest: EventTime::MAX,
            first: 0,
            next_snapshot: 0,
            stale: NOWHERE,
            unsaid: 0,
            listed: false,
            state,
            hash,
            snapshots: Vec::new(),
            cause: None,
        }
    }

    /// The state after all inputs. Only while it is not stale.
    pub(super) fn state(&self) -> &M {
        debug_assert!(self.stale == NOWHERE, "it was folded before");
        &self.state
    }

    /// The state before the first slot: that of all final inputs.
    pub(super) fn base(&self) -> &M {
        self.snapshots.first().map_or(&self.state, |(_, state)| state)
    }

    /// Takes an input in; `false` if it is there already.
    pub(super) fn insert(
        &mut self,
        order: &Order,
        offset: u64,
        input: M::Input,
        shared: &mut Shared<M>,
    ) -> bool {
        let is_last = self.last_at < order.at
            || self.slots.back().is_none_or(|last| shared.slots.compare(*last, order).is_lt());
        if !is_last || self.stale != NOWHERE {
            return self.insert_anywhere(order, offset, input, is_last, shared);
        }
        let place = self.slots.len();
        self.take_snapshot(place, shared.snapshot_every);
        let lines = self.recalled_lines(order, &mut shared.recall);
        let mut slot = shared.slots.prepare(order, offset, lines);
        self.state.apply(order.at, &input, &mut shared.press.out);
        shared.press.print(order.at, &mut slot.lines);
        slot.input = Some(input);
        self.unsaid = self.unsaid.min(place);
        self.last_at = order.at;
        self.slots.push_back(shared.slots.put(slot));
        true
    }

    /// To be folded later, with all that come after it.
    #[cold]
    fn insert_anywhere(
        &mut self,
        order: &Order,
        offset: u64,
        input: M::Input,
        is_last: bool,
        shared: &mut Shared<M>,
    ) -> bool {
        match self.search(order, &shared.slots) {
            Ok(place) => {
                let slot = &mut shared.slots[self.slots[place]];
                if slot.input.is_some() {
                    return false;
                }
                slot.refill(offset, input);
                self.blame(|| Cause { journal: Arc::clone(&order.journal), offset });
                self.spoil(place);
            }
            Err(place) => {
                if !is_last {
                    self.blame(|| Cause { journal: Arc::clone(&order.journal), offset });
                }
                let lines = self.recalled_lines(order, &mut shared.recall);
                let mut slot = shared.slots.prepare(order, offset, lines);
                slot.input = Some(input);
                self.last_at = self.last_at.max(order.at);
                self.spoil(place);
                self.slots.insert(place, shared.slots.put(slot));
            }
        }
        true
    }

    fn search(&self, order: &Order, slots: &Slots<M::Input, M::Output>) -> Result<usize, usize> {
        self.slots.binary_search_by(|number| slots.compare(*number, order))
    }

    /// Takes an input out again.
    pub(super) fn remove(&mut self, order: &Order, cause: Cause, slots: &mut Slots<M::Input, M::Output>) {
        let Ok(place) = self.search(order, slots) else { return };
        if slots[self.slots[place]].input.take().is_some() {
            self.blame(|| cause);
            self.spoil(place);
        }
    }

    /// The first to blame stays so until it is said.
    fn blame(&mut self, cause: impl FnOnce() -> Cause) {
        self.cause.get_or_insert_with(|| Box::new(cause()));
    }

    /// The slots from `place` on must be folded anew.
    fn spoil(&mut self, place: usize) {
        self.stale = self.stale.min(place);
        self.unsaid = self.unsaid.min(place);
        let number = self.first + place as u64;
        while self.snapshots.len() > 1 && self.snapshots.last().is_some_and(|(at, _)| *at > number) {
            self.snapshots.pop();
        }
    }

    /// Keeps the state before the slot at `place`, if it is time to.
    #[inline]
    fn take_snapshot(&mut self, place: usize, every: u64) {
        let number = self.first + place as u64;
        if number >= self.next_snapshot {
            self.snapshots.push((number, self.state.clone()));
            self.next_snapshot = number.saturating_add(every);
        }
    }

    /// After snapshots went.
    fn plan_snapshot(&mut self, every: u64) {
        self.next_snapshot = self.snapshots.last().map_or(0, |(number, _)| number.saturating_add(every));
    }

    fn recalled_lines(&self, order: &Order, recall: &mut Recall) -> Lines<M::Output> {
        let mut lines = Lines::NONE;
        if recall.is_empty() {
            return lines;
        }
        for (ordinal, recalled) in recall.take(order.derive(self.hash)) {
            while lines.len() < usize::from(ordinal) {
                lines.push(Line::blank());
            }
            lines.push(Line::recalled(recalled));
        }
        lines
    }

    /// Brings state and lines up to what the inputs say.
    pub(super) fn fold(&mut self, shared: &mut Shared<M>) {
        let stale = std::mem::replace(&mut self.stale, NOWHERE);
        if stale == NOWHERE {
            return;
        }
        let Shared { snapshot_every: every, slots, press, .. } = shared;
        self.plan_snapshot(*every);
        let (number, state) = self.snapshots.last().expect("there is a state before the first slot");
        self.state = state.clone();
        let from = usize::try_from(number - self.first).expect("it is one of the slots");
        debug_assert!(from <= stale, "snapshots after a change were dropped");
        slots.fetch(self.slots.range(from..));
        for place in from..self.slots.len() {
            if place > from {
                self.take_snapshot(place, *every);
            }
            let slot = &mut slots[self.slots[place]];
            press.out.said.clear();
            if let Some(input) = &slot.input {
                self.state.apply(slot.at, input, &mut press.out);
            }
            if place >= stale {
                press.print(slot.at, &mut slot.lines);
            }
        }
        press.out.said.clear();
    }

    /// The first input that the model breaks over, and why: it panics, or says what cannot be encoded. Only for a fold that
    /// is thrown away, for it takes as long as all of them.
    #[cold]
    pub(super) fn find_broken(&self, shared: &mut Shared<M>) -> Option<(SlotNumber, String)> {
        let Shared { slots, press, .. } = shared;
        let mut state = self.base().clone();
        self.slots.iter().find_map(|number| {
            let slot = &slots[*number];
            let input = slot.input.as_ref()?;
            press.clear();
            press.out.said.clear();
            let tried = guarded(|| {
                state.apply(slot.at, input, &mut press.out);
                press.try_out()
            });
            let reason = tried.unwrap_or_else(Err).err()?;
            Some((*number, reason))
        })
    }

    /// The inputs because of which something waits to be final that could not be said then, and why.
    #[cold]
    pub(super) fn find_unsayable(
        &self,
        shared: &mut Shared<M>,
        bytes_max: usize,
    ) -> Vec<(SlotNumber, String)> {
        let Shared { slots, press, .. } = shared;
        let bytes_max = bytes_max.saturating_sub(self.key.len());
        let waiting = self.slots.iter().filter(|number| slots[**number].lines.are_waiting());
        let found = waiting.filter_map(|number| {
            let mut values = slots[*number].lines.iter().filter(|line| line.said == 0);
            let fault = values.find_map(|line| press.find_fault(line.value.as_ref()?, bytes_max))?;
            Some((*number, fault))
        });
        found.collect()
    }

    /// How many slots lie before `settled`. All of these are about to be forgotten, so there is no shorter way.
    pub(super) fn count_final(&self, settled: EventTime, slots: &Slots<M::Input, M::Output>) -> usize {
        self.slots.iter().take_while(|number| slots[**number].at < settled).count()
    }

    /// Forgets the first `count` slots: the state before the next one is kept instead.
    pub(super) fn forget(&mut self, count: usize, shared: &mut Shared<M>) {
        debug_assert!(self.stale == NOWHERE && self.unsaid >= count, "all was said before it is forgotten");
        if count == 0 {
            return;
        }
        let Shared { snapshot_every: every, slots, press, .. } = shared;
        let number = self.first + count as u64;
        if count == self.slots.len() {
            self.snapshots.clear();
        } else {
            let base = self.snapshots.partition_point(|(at, _)| *at <= number) - 1;
            self.snapshots.drain(..base);
            let (at, state) = &mut self.snapshots[0];
            let from = usize::try_from(*at - self.first).expect("it is one of the slots");
            for place in from..count {
                let slot = &slots[self.slots[place]];
                if let Some(input) = &slot.input {
                    state.apply(slot.at, input, &mut press.out);
                }
            }
            press.out.said.clear();
            *at = number;
        }
        for number in self.slots.drain(..count) {
            slots.clear(number);
        }
        self.plan_snapshot(*every);
        self.first = number;
        self.unsaid -= count;
    }

    /// The time of the first slot; without one, [`EventTime::MAX`].
    pub(super) fn first_at(&self, slots: &Slots<M::Input, M::Output>) -> EventTime {
        self.slots.front().map_or(EventTime::MAX, |first| slots[*first].at)
    }

    /// Whether nothing needs to be known of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.slots.is_empty() && self.state.is_over()
    }
}
