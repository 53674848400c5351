//! One key: its inputs in order, what came of each, and the model's state.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hash::Hash;
use super::ledger::{Line, Press};
use super::model::{Model, Output};
use super::order::{Derivation, Order};
use super::recall::Recall;
use super::time::EventTime;

/// An input, and what came of it.
pub(super) struct Slot<I, O> {
    pub(super) order: Order,
    /// Its record.
    pub(super) offset: u64,
    /// None once it was retracted: the place and its lines stay, for their revisions must not be used again.
    input: Option<I>,
    pub(super) lines: Vec<Line<O>>,
    /// Nothing was said since it came.
    pub(super) fresh: bool,
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
pub(super) struct Timeline<M: Model> {
    pub(super) key: Box<[u8]>,
    pub(super) hash: Hash,
    pub(super) slots: VecDeque<Slot<M::Input, M::Output>>,
    /// After all slots before `stale`.
    state: M,
    snapshots: VecDeque<(u64, M)>,
    /// Number of the last of them, and the event time of the last slot: here, because what is elsewhere is far from
    /// the processor when a key's turn comes.
    last_snapshot: Option<u64>,
    last_at: EventTime,
    /// Number of the first slot.
    first: u64,
    /// From here on, the state and the lines are not what the inputs say.
    stale: Option<usize>,
    /// From here on, lines may differ from what was said.
    pub(super) unsaid: usize,
    /// What made the state stale.
    pub(super) cause: Option<Cause>,
    /// Whether it is on the list of those that have something to say.
    pub(super) listed: bool,
    /// Under which time it is listed among those that have something to settle.
    pub(super) oldest: Option<EventTime>,
}

impl<M: Model> Timeline<M> {
    pub(super) fn new(key: &[u8], hash: Hash, state: M) -> Self {
        Self {
            key: key.into(),
            hash,
            slots: VecDeque::new(),
            state,
            snapshots: VecDeque::new(),
            last_snapshot: None,
            last_at: EventTime::MIN,
            first: 0,
            stale: None,
            unsaid: 0,
            cause: None,
            listed: false,
            oldest: None,
        }
    }

    /// The id of the first output of an input.
    pub(super) fn derive(&self, order: &Order) -> Derivation {
        order.derive(self.hash)
    }

    /// The state after all inputs. Only while it is not stale.
    pub(super) fn state(&self) -> &M {
        debug_assert!(self.stale.is_none(), "it was folded before");
        &self.state
    }

    /// The state before the first slot: that of all final inputs.
    pub(super) fn base(&self) -> &M {
        self.snapshots.front().map_or(&self.state, |(_, state)| state)
    }

    /// Takes an input in; `false` if it is there already.
    pub(super) fn insert(
        &mut self,
        order: Order,
        offset: u64,
        input: M::Input,
        every: u64,
        press: &mut Press<M::Output>,
        recall: &mut Recall,
    ) -> bool {
        let is_last = self.last_at < order.at || self.slots.back().is_none_or(|last| last.order < order);
        if is_last && self.stale.is_none() {
            let place = self.slots.len();
            self.take_snapshot(place, every);
            let mut lines = self.recalled_lines(&order, recall);
            self.state.apply(order.at, &input, &mut press.out);
            press.print(order.at, &mut lines);
            self.unsaid = self.unsaid.min(place);
            self.last_at = order.at;
            self.slots.push_back(Slot { order, offset, input: Some(input), lines, fresh: true });
            return true;
        }
        match self.slots.binary_search_by(|slot| slot.order.cmp(&order)) {
            Ok(place) if self.slots[place].input.is_some() => return false,
            Ok(place) => {
                self.blame(Cause { journal: Arc::clone(&order.journal), offset });
                let slot = &mut self.slots[place];
                (slot.offset, slot.input) = (offset, Some(input));
                self.spoil(place);
            }
            Err(place) => {
                if !is_last {
                    self.blame(Cause { journal: Arc::clone(&order.journal), offset });
                }
                let lines = self.recalled_lines(&order, recall);
                self.last_at = self.last_at.max(order.at);
                self.spoil(place);
                self.slots.insert(place, Slot { order, offset, input: Some(input), lines, fresh: true });
            }
        }
        true
    }

    /// Takes an input out again.
    pub(super) fn remove(&mut self, order: &Order, cause: Cause) {
        let Ok(place) = self.slots.binary_search_by(|slot| slot.order.cmp(order)) else { return };
        if self.slots[place].input.take().is_some() {
            self.blame(cause);
            self.spoil(place);
        }
    }

    /// The first to blame stays so until it is said.
    fn blame(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
    }

    /// The slots from `place` on must be folded anew.
    fn spoil(&mut self, place: usize) {
        self.stale = Some(self.stale.map_or(place, |stale| stale.min(place)));
        self.unsaid = self.unsaid.min(place);
        let number = self.first + place as u64;
        while self.snapshots.len() > 1 && self.snapshots.back().is_some_and(|(at, _)| *at > number) {
            self.snapshots.pop_back();
        }
        self.last_snapshot = self.snapshots.back().map(|(at, _)| *at);
    }

    /// Keeps the state before the slot at `place`, if it is time to.
    #[inline]
    fn take_snapshot(&mut self, place: usize, every: u64) {
        let number = self.first + place as u64;
        if self.last_snapshot.is_none_or(|last| number - last >= every) {
            self.snapshots.push_back((number, self.state.clone()));
            self.last_snapshot = Some(number);
        }
    }

    fn recalled_lines(&self, order: &Order, recall: &mut Recall) -> Vec<Line<M::Output>> {
        let mut lines = Vec::new();
        if recall.is_empty() {
            return lines;
        }
        for (ordinal, recalled) in recall.take(self.derive(order)) {
            while lines.len() < usize::from(ordinal) {
                lines.push(Line::blank());
            }
            lines.push(Line::recalled(recalled));
        }
        lines
    }

    /// Brings state and lines up to what the inputs say.
    pub(super) fn fold(&mut self, every: u64, press: &mut Press<M::Output>) {
        let Some(stale) = self.stale.take() else { return };
        let (number, state) = self.snapshots.back().expect("there is a state before the first slot");
        self.state = state.clone();
        let from = usize::try_from(number - self.first).expect("it is one of the slots");
        debug_assert!(from <= stale, "snapshots after a change were dropped");
        for place in from..self.slots.len() {
            if place > from {
                self.take_snapshot(place, every);
            }
            let slot = &mut self.slots[place];
            press.out.said.clear();
            if let Some(input) = &slot.input {
                self.state.apply(slot.order.at, input, &mut press.out);
            }
            if place >= stale {
                press.print(slot.order.at, &mut slot.lines);
            }
        }
        press.out.said.clear();
    }

    /// How many slots lie before `settled`.
    pub(super) fn count_final(&self, settled: EventTime) -> usize {
        self.slots.partition_point(|slot| slot.order.at < settled)
    }

    /// Forgets the first `count` slots: the state before the next one is kept instead.
    pub(super) fn forget(&mut self, count: usize, press: &mut Press<M::Output>) {
        debug_assert!(self.stale.is_none() && self.unsaid >= count, "all was said before it is forgotten");
        if count == 0 {
            return;
        }
        let number = self.first + count as u64;
        if count == self.slots.len() {
            self.slots.clear();
            self.snapshots.clear();
        } else {
            let mut base = None;
            while self.snapshots.front().is_some_and(|(at, _)| *at <= number) {
                base = self.snapshots.pop_front();
            }
            let (at, mut state) = base.expect("there is a state before the first slot");
            let from = usize::try_from(at - self.first).expect("it is one of the slots");
            for slot in self.slots.range(from..count) {
                if let Some(input) = &slot.input {
                    state.apply(slot.order.at, input, &mut press.out);
                }
            }
            press.out.said.clear();
            self.snapshots.push_front((number, state));
            self.slots.drain(..count);
        }
        self.last_snapshot = self.snapshots.back().map(|(at, _)| *at);
        self.first = number;
        self.unsaid -= count;
    }

    /// The time of the first slot.
    pub(super) fn first_at(&self) -> Option<EventTime> {
        self.slots.front().map(|slot| slot.order.at)
    }

    /// Whether nothing needs to be known of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.slots.is_empty() && self.state.is_over()
    }
}

impl<I, O: Output> Slot<I, O> {
    /// Whether an output of it waits to be final.
    pub(super) fn is_waiting(&self) -> bool {
        self.lines.iter().any(|line| line.said == 0 && line.now != 0)
    }
}
