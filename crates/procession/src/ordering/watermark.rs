//! How far event time has come, by what each source has said.

use std::sync::Arc;

use super::time::EventTime;

/// Whether a source holds the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceState {
    /// It may say something at any time.
    #[default]
    Live,
    /// It was silent for so long that the others do not wait for it any more. Speaking makes it live again.
    Idle,
    /// Nobody holds its lock: it cannot say anything. Speaking makes it live again.
    Dead,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    state: SourceState,
    /// It will not say anything earlier.
    bound: EventTime,
    /// If it is a model: it will not take back anything earlier.
    settled: Option<EventTime>,
}

/// The least of the live sources' bounds. It never goes back.
#[derive(Debug)]
pub struct Watermark {
    sources: Vec<Source>,
    mark: EventTime,
}

impl Default for Watermark {
    fn default() -> Self {
        Self::new()
    }
}

impl Watermark {
    /// Without sources, before everything.
    #[must_use]
    pub const fn new() -> Self {
        Self { sources: Vec::new(), mark: EventTime::MIN }
    }

    /// Takes a source in that has said nothing yet; returns its number.
    pub fn add(&mut self, name: &Arc<str>) -> usize {
        if let Some(known) = self.sources.iter().position(|source| source.name == *name) {
            return known;
        }
        let bound = EventTime::MIN;
        let source = Source { name: Arc::clone(name), state: SourceState::Live, bound, settled: None };
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// A source has said something of this event time, or promises that nothing earlier will follow.
    #[inline]
    pub fn hear(&mut self, source: usize, at: EventTime) {
        let source = &mut self.sources[source];
        let held = source.state == SourceState::Live && source.bound <= self.mark;
        source.state = SourceState::Live;
        if source.bound < at {
            source.bound = at;
            if held {
                self.advance();
            }
        }
    }

    /// A source is a model: what it says may be taken back until it says that it is final.
    pub fn is_model(&mut self, source: usize) {
        self.sources[source].settled.get_or_insert(EventTime::MIN);
    }

    /// A model says that nothing earlier will change.
    pub fn settle(&mut self, source: usize, at: EventTime) {
        let settled = &mut self.sources[source].settled;
        *settled = (*settled).max(Some(at));
        self.hear(source, at);
    }

    /// Others know better whether a silent source lives.
    pub fn set(&mut self, source: usize, state: SourceState) {
        self.sources[source].state = state;
        self.advance();
    }

    pub(super) fn advance(&mut self) {
        self.mark = self.mark.max(self.least_bound().unwrap_or(self.mark));
    }

    fn least_bound(&self) -> Option<EventTime> {
        self.live().map(|source| source.bound).min()
    }

    fn live(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.state == SourceState::Live)
    }

    /// Everything before it has come, as far as the sources' promises go.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> EventTime {
        self.mark
    }

    /// The least final of all sources that are models, dead and idle ones too: what they have said may still be
    /// taken back. [`EventTime::MAX`] if none is a model.
    #[must_use]
    pub fn settled(&self) -> EventTime {
        self.sources.iter().filter_map(|source| source.settled).min().unwrap_or(EventTime::MAX)
    }

    /// The models whose final is the least, if that is earlier than `at`: they hold final back, whether they live or not.
    pub(super) fn final_holders(&self, at: EventTime) -> impl Iterator<Item = (usize, &Arc<str>)> {
        let least = self.settled();
        let holds = move |source: &Source| source.settled == Some(least) && least < at;
        let sources = self.sources.iter().enumerate().filter(move |(_, source)| holds(source));
        sources.map(|(number, source)| (number, &source.name))
    }

    /// A model is gone for good: nothing that it has said will be taken back. Speaking makes it a model again.
    pub(super) fn leave(&mut self, source: usize) {
        self.sources[source].settled = None;
    }

    /// Whether a source is further than the watermark: others hold it back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.sources.iter().any(|source| source.bound > self.mark)
    }

    /// The live sources that hold the watermark back: those with the least bound.
    pub fn holders(&self) -> impl Iterator<Item = (usize, &Arc<str>)> {
        let least = self.least_bound();
        self.sources.iter().enumerate().filter_map(move |(number, source)| {
            let holds = source.state == SourceState::Live && Some(source.bound) == least;
            holds.then_some((number, &source.name))
        })
    }

    /// What a source has promised: its bound, and its final if it is a model.
    pub(super) fn promises(&self, source: usize) -> (EventTime, Option<EventTime>) {
        let Source { bound, settled, .. } = self.sources[source];
        (bound, settled)
    }

    /// What a source had promised before a restart. The mark follows once all are there.
    pub(super) fn restore(&mut self, source: usize, bound: EventTime, settled: Option<EventTime>) {
        let source = &mut self.sources[source];
        (source.bound, source.settled) = (source.bound.max(bound), source.settled.max(settled));
    }

    /// How a source is taken.
    #[must_use]
    pub fn state(&self, source: usize) -> SourceState {
        self.sources[source].state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Watermark {
        let mut mark = Watermark::new();
        assert_eq!((mark.add(&"a".into()), mark.add(&"b".into()), mark.add(&"a".into())), (0, 1, 0));
        mark
    }

    #[test]
    fn it_is_the_least_of_the_live_bounds_and_never_goes_back() {
        let mut mark = two();
        mark.hear(0, EventTime(10));
        assert_eq!(mark.mark(), EventTime::MIN);
        mark.hear(1, EventTime(7));
        assert_eq!(mark.mark(), EventTime(7));
        mark.hear(1, EventTime(3));
        assert_eq!(mark.mark(), EventTime(7));
        mark.hear(1, EventTime(20));
        assert_eq!(mark.mark(), EventTime(10));
        assert_eq!(mark.holders().map(|(number, _)| number).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn idle_and_dead_sources_hold_nothing_back_until_they_speak() {
        for state in [SourceState::Idle, SourceState::Dead] {
            let mut mark = two();
            mark.hear(0, EventTime(10));
            mark.set(1, state);
            assert_eq!(mark.mark(), EventTime(10));
            mark.hear(1, EventTime(4));
            assert_eq!((mark.mark(), mark.state(1)), (EventTime(10), SourceState::Live));
            mark.hear(0, EventTime(20));
            assert_eq!(mark.mark(), EventTime(10));
            mark.hear(1, EventTime(15));
            assert_eq!(mark.mark(), EventTime(15));
        }
    }

    #[test]
    fn without_any_live_source_it_stays() {
        let mut mark = two();
        mark.hear(0, EventTime(10));
        mark.set(0, SourceState::Dead);
        mark.set(1, SourceState::Dead);
        assert_eq!(mark.mark(), EventTime::MIN);
    }

    #[test]
    fn a_model_holds_final_back_until_it_leaves() {
        let mut mark = two();
        for source in [0, 1] {
            mark.is_model(source);
        }
        mark.settle(0, EventTime(5));
        mark.settle(1, EventTime(9));
        let holders =
            |mark: &Watermark, at| mark.final_holders(EventTime(at)).map(|(number, _)| number).collect();
        assert_eq!([holders(&mark, 20), holders(&mark, 5)] as [Vec<usize>; 2], [vec![0], vec![]]);
        mark.leave(0);
        assert_eq!((mark.settled(), holders(&mark, 20) as Vec<usize>), (EventTime(9), vec![1]));
        mark.is_model(0);
        assert_eq!(mark.settled(), EventTime::MIN);
    }

    #[test]
    fn models_hold_final_back_whether_they_live_or_not() {
        let mut mark = two();
        assert_eq!(mark.settled(), EventTime::MAX);
        mark.is_model(1);
        mark.set(1, SourceState::Dead);
        assert_eq!(mark.settled(), EventTime::MIN);
        mark.settle(1, EventTime(5));
        mark.settle(1, EventTime(4));
        assert_eq!((mark.settled(), mark.state(1)), (EventTime(5), SourceState::Live));
    }
}
