//! What was heard of the conclusions of other models.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::order::{Derivation, Order};
use super::time::EventTime;

/// A conclusion's journal, and its id there.
pub(super) type Name = (Arc<str>, Derivation);

/// What is known of one: asserts and retracts may come in any order, and more than once.
#[derive(Debug, Default)]
pub(super) struct Conclusion {
    /// The newest revision that was asserted,
    pub(super) asserted: u32,
    /// and the newest that was retracted.
    pub(super) retracted: u32,
    /// Where it counts: the place of its key, and its input.
    pub(super) live: Option<(usize, Order)>,
    /// The latest of its event times.
    at: EventTime,
}

/// All that are not final.
#[derive(Debug, Default)]
pub(super) struct Conclusions {
    known: HashMap<Name, Conclusion>,
    /// When what is known of them can be forgotten.
    until: BTreeMap<EventTime, Vec<Name>>,
}

impl Conclusions {
    /// What is known of one that is heard of with this event time.
    pub(super) fn hear(&mut self, name: Name, at: EventTime) -> &mut Conclusion {
        let known = match self.known.entry(name) {
            Entry::Occupied(known) => {
                if known.get().at >= at {
                    return known.into_mut();
                }
                self.until.entry(at).or_default().push(known.key().clone());
                known.into_mut()
            }
            Entry::Vacant(place) => {
                self.until.entry(at).or_default().push(place.key().clone());
                place.insert(Conclusion::default())
            }
        };
        known.at = at;
        known
    }

    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Conclusion> {
        self.known.get_mut(name)
    }

    /// Forgets those that are final.
    pub(super) fn settle(&mut self, settled: EventTime) {
        while let Some(entry) = self.until.first_entry().filter(|entry| *entry.key() < settled) {
            for name in entry.remove() {
                // It may have a later event time by now.
                if self.known.get(&name).is_some_and(|known| known.at < settled) {
                    self.known.remove(&name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_forgotten_by_the_latest_of_its_times() {
        let name: Name = ("model".into(), Derivation(1 << 16));
        let mut conclusions = Conclusions::default();
        conclusions.hear(name.clone(), EventTime(5)).asserted = 1;
        conclusions.hear(name.clone(), EventTime(9)).asserted = 2;
        conclusions.hear(name.clone(), EventTime(7)).retracted = 1;
        conclusions.settle(EventTime(9));
        assert_eq!(conclusions.get_mut(&name).map(|known| (known.asserted, known.retracted)), Some((2, 1)));
        conclusions.settle(EventTime(10));
        assert!(conclusions.get_mut(&name).is_none() && conclusions.until.is_empty());
    }
}
