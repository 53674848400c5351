//! Which event is whose turn: a lane for each key that has something to do.
//!
//! A lane holds a bounded number of events. As the memory for all of them fills up, each may hold less (half of what is
//! free), so that a hot key never takes it all, and a key that has nothing waiting always finds room. What does not fit
//! is noted by its place in the journal alone, and read again when it is its turn. Lanes take turns, an event each.

use std::collections::{HashMap, VecDeque};

/// A key; all events without one share a lane.
pub(super) type Key = Option<Box<[u8]>>;

/// How much is held in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Events of all lanes together.
    pub(super) held: usize,
    /// Events of one lane.
    pub(super) lane: usize,
}

/// The lanes: `T` are events, `D` are places of events in a journal.
#[derive(Debug)]
pub(super) struct Lanes<T, D> {
    index: HashMap<Box<[u8]>, usize>,
    /// The lane of events without a key.
    keyless: Option<usize>,
    lanes: Vec<Option<Lane<T, D>>>,
    free: Vec<usize>,
    /// Lanes that wait for their turn, in its order.
    ready: VecDeque<usize>,
    /// Events in all lanes.
    held: usize,
    bounds: Bounds,
}

#[derive(Debug)]
struct Lane<T, D> {
    key: Key,
    /// What was put back, to come before all others.
    first: Option<Work<T, D>>,
    held: VecDeque<T>,
    /// Events behind those that are held.
    deferred: VecDeque<D>,
}

/// An event whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work<T, D> {
    /// It is here.
    Held(T),
    /// It is to be read again.
    Deferred(D),
}

/// A lane that is at work, or waits for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(usize);

impl<T, D> Lanes<T, D> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            index: HashMap::new(),
            keyless: None,
            lanes: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            held: 0,
            bounds,
        }
    }

    /// Whether nothing of this key waits or is at work.
    #[inline]
    pub(super) fn is_idle(&self, key: &Key) -> bool {
        self.find(key.as_deref()).is_none()
    }

    #[inline]
    fn find(&self, key: Option<&[u8]>) -> Option<usize> {
        match key {
            None => self.keyless,
            Some(_) if self.index.is_empty() => None,
            Some(key) => self.index.get(key).copied(),
        }
    }

    /// The lane of this key if it holds as much as it may: the key's next event can but be noted by its place.
    #[inline]
    pub(super) fn filled(&self, key: Option<&[u8]>) -> Option<LaneId> {
        let index = self.find(key)?;
        self.lanes[index].as_ref().is_some_and(|lane| self.is_filled(lane)).then_some(LaneId(index))
    }

    fn is_filled(&self, lane: &Lane<T, D>) -> bool {
        let share = (self.bounds.held.saturating_sub(self.held) / 2).clamp(1, self.bounds.lane);
        !lane.deferred.is_empty() || lane.held.len() >= share
    }

    /// Whether a lane waits for its turn.
    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether no more events may come.
    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.held >= self.bounds.held
    }

    /// The key of a lane.
    pub(super) fn key(&self, id: LaneId) -> &Key {
        &self.lane(id).key
    }

    /// Adds an event to its key's lane, as itself or as its place.
    pub(super) fn add(&mut self, key: &Key, event: T, place: impl FnOnce(&T) -> D) {
        let index = self.queue_up(key);
        let lane = self.lanes[index].as_ref().expect("it is there now");
        if self.is_filled(lane) {
            let place = place(&event);
            self.lane_mut(index).deferred.push_back(place);
        } else {
            self.lane_mut(index).held.push_back(event);
            self.held += 1;
        }
    }

    /// Adds the place of an event to its key's lane.
    pub(super) fn defer(&mut self, key: &Key, place: D) {
        let index = self.queue_up(key);
        self.lane_mut(index).deferred.push_back(place);
    }

    /// Adds the place of an event to a lane that is filled.
    pub(super) fn defer_in(&mut self, id: LaneId, place: D) {
        self.lane_mut(id.0).deferred.push_back(place);
    }

    /// An event of this key is to come before all others of it. `Err` if one is at work, or waits to be tried again.
    pub(super) fn put_first(&mut self, key: &Key, work: Work<T, D>) -> Result<(), Work<T, D>> {
        let index = self.queue_up(key);
        if !self.ready.contains(&index) || self.lane(LaneId(index)).first.is_some() {
            return Err(work);
        }
        self.lane_mut(index).first = Some(work);
        Ok(())
    }

    /// The lane of a key, which waits for its turn if it was idle.
    fn queue_up(&mut self, key: &Key) -> usize {
        self.find(key.as_deref()).unwrap_or_else(|| {
            let index = self.insert(key.clone());
            self.ready.push_back(index);
            index
        })
    }

    fn lane_mut(&mut self, index: usize) -> &mut Lane<T, D> {
        self.lanes[index].as_mut().expect("the index has no lanes that are gone")
    }

    /// A lane for a key that is idle, and at work from now on.
    pub(super) fn occupy(&mut self, key: Key) -> LaneId {
        LaneId(self.insert(key))
    }

    /// The lane whose turn it is, which is at work from now on, and its event.
    pub(super) fn next(&mut self) -> Option<(LaneId, Work<T, D>)> {
        let index = self.ready.pop_front()?;
        let lane = self.lanes[index].as_mut().expect("lanes that are gone have no turn");
        let work = match (lane.first.take(), lane.held.pop_front()) {
            (Some(first), held) => {
                if let Some(held) = held {
                    lane.held.push_front(held);
                }
                first
            }
            (None, Some(held)) => {
                self.held -= 1;
                Work::Held(held)
            }
            (None, None) => Work::Deferred(lane.deferred.pop_front().expect("a ready lane has an event")),
        };
        Some((LaneId(index), work))
    }

    /// The lane has done its event: it queues up for its next, or is idle.
    pub(super) fn finish(&mut self, id: LaneId) {
        let lane = self.lane(id);
        if lane.first.is_none() && lane.held.is_empty() && lane.deferred.is_empty() {
            let lane = self.lanes[id.0].take().expect("only a lane at work finishes");
            match &lane.key {
                Some(key) => drop(self.index.remove(key)),
                None => self.keyless = None,
            }
            self.free.push(id.0);
        } else {
            self.ready.push_back(id.0);
        }
    }

    /// The lane is to do this event before all others when it is its turn again.
    pub(super) fn put_back(&mut self, id: LaneId, work: Work<T, D>) {
        let lane = self.lanes[id.0].as_mut().expect("only a lane at work has something to put back");
        debug_assert!(lane.first.is_none(), "a lane does one event at a time");
        lane.first = Some(work);
        self.ready.push_back(id.0);
    }

    fn insert(&mut self, key: Key) -> usize {
        let lane = Lane { key: key.clone(), first: None, held: VecDeque::new(), deferred: VecDeque::new() };
        let index = match self.free.pop() {
            Some(index) => {
                self.lanes[index] = Some(lane);
                index
            }
            None => {
                self.lanes.push(Some(lane));
                self.lanes.len() - 1
            }
        };
        let before = match key {
            Some(key) => self.index.insert(key, index),
            None => self.keyless.replace(index),
        };
        debug_assert!(before.is_none(), "one activation per key");
        index
    }

    fn lane(&self, id: LaneId) -> &Lane<T, D> {
        self.lanes[id.0].as_ref().expect("only a lane at work is asked about")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { held: 8, lane: 3 };

    fn key(number: u8) -> Key {
        Some(Box::new([number]))
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// An event of this key comes, if there is room.
        Come(u8),
        /// The next lane begins.
        Begin,
        /// One of those at work ends; true: it is to be done again.
        End(u8, bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            // One hot key.
            3 => (0..12_u8).prop_map(|number| Step::Come(number.saturating_sub(6))),
            2 => Just(Step::Begin),
            2 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Step::End(which, again)),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// Every event is a number; those of a key grow.
    struct Model {
        lanes: Lanes<u32, u32>,
        waiting: BTreeMap<u8, VecDeque<u32>>,
        at_work: Vec<(LaneId, u8, u32)>,
        said: u32,
    }

    impl Model {
        fn come(&mut self, number: u8) {
            if self.lanes.is_full() {
                return;
            }
            let idle = self.lanes.is_idle(&key(number));
            let busy = self.at_work.iter().any(|(_, at_work, _)| *at_work == number)
                || self.waiting.get(&number).is_some_and(|waiting| !waiting.is_empty());
            assert_eq!(idle, !busy);
            let held = self.lanes.held;
            self.lanes.add(&key(number), self.said, |event| *event);
            if idle {
                assert_eq!(self.lanes.held, held + 1, "a key with nothing waiting finds room");
            }
            self.waiting.entry(number).or_default().push_back(self.said);
            self.said += 1;
        }

        fn begin(&mut self) -> bool {
            let Some((id, work)) = self.lanes.next() else { return false };
            let (Work::Held(event) | Work::Deferred(event)) = work;
            let number = self.lanes.key(id).as_deref().unwrap()[0];
            assert!(!self.at_work.iter().any(|(_, other, _)| *other == number), "one at a time");
            assert_eq!(self.waiting.get_mut(&number).unwrap().pop_front(), Some(event), "in order");
            self.at_work.push((id, number, event));
            true
        }

        fn end(&mut self, which: u8, again: bool) {
            if self.at_work.is_empty() {
                return;
            }
            let (id, number, event) = self.at_work.swap_remove(usize::from(which) % self.at_work.len());
            if again {
                self.waiting.get_mut(&number).unwrap().push_front(event);
                self.lanes.put_back(id, Work::Deferred(event));
            } else {
                self.lanes.finish(id);
            }
        }
    }

    proptest! {
        #[test]
        fn each_key_is_in_order_and_none_is_left_out(steps in steps()) {
            let mut model = Model {
                lanes: Lanes::new(BOUNDS), waiting: BTreeMap::new(), at_work: Vec::new(), said: 0,
            };
            for step in steps {
                match step {
                    Step::Come(number) => model.come(number),
                    Step::Begin => drop(model.begin()),
                    Step::End(which, again) => model.end(which, again),
                }
                prop_assert!(model.lanes.held <= BOUNDS.held);
                for lane in model.lanes.lanes.iter().flatten() {
                    prop_assert!(lane.held.len() <= BOUNDS.lane);
                }
            }
            while model.begin() || !model.at_work.is_empty() {
                model.end(0, false);
            }
            prop_assert!(model.waiting.values().all(VecDeque::is_empty));
            prop_assert!(model.lanes.index.is_empty() && model.lanes.held == 0);
        }
    }

    #[test]
    fn a_hot_key_takes_neither_the_memory_nor_the_turns() {
        let mut lanes: Lanes<u32, u32> = Lanes::new(BOUNDS);
        (0..1000).for_each(|event| lanes.add(&key(0), event, |event| *event));
        assert_eq!(lanes.held, BOUNDS.lane);
        (1..5).for_each(|number| lanes.add(&key(number), 0, |event| *event));
        let turns: Vec<u8> = (0..6)
            .filter_map(|_| {
                let (id, _) = lanes.next()?;
                let number = lanes.key(id).as_deref().map(|key| key[0]);
                lanes.finish(id);
                number
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 3, 4, 0]);
    }
}
