//! Inputs that were heard and not taken into account.

use std::collections::{BTreeMap, HashMap};

use journal::Epoch;

/// Which journal of a name, by half of its identity, and which epoch of it: with the offset, which record.
pub(super) type History = (u64, Epoch);

/// As records carry it; unknown in those of older programs.
pub(super) fn history_of(identity: Option<String>, epoch: Option<u32>) -> Option<History> {
    Some((u64::from_str_radix(&identity?, 16).ok()?, Epoch(epoch?)))
}

/// Late inputs and dead letters, and which of these came to be taken into account after all.
#[derive(Debug, Default)]
pub(super) struct Passed {
    inputs: HashMap<(Box<str>, u64), Why>,
    letters: HashMap<u64, (Box<str>, u64)>,
    retried: BTreeMap<u64, Retried>,
    /// Letters that were retried and are older than what was noted.
    unknown: Vec<u64>,
}

#[derive(Debug)]
struct Why {
    /// Another record may have its offset by now.
    history: Option<History>,
    /// Where its dead letter lies in the own journal, if it is one.
    letter: Option<u64>,
}

/// An input that was a dead letter, and was delivered once more.
#[derive(Debug)]
pub(super) struct Retried {
    pub(super) journal: Box<str>,
    pub(super) offset: u64,
    pub(super) history: Option<History>,
}

impl Passed {
    pub(super) fn add_late(&mut self, journal: &str, offset: u64, history: Option<History>) {
        self.inputs.insert((journal.into(), offset), Why { history, letter: None });
    }

    pub(super) fn add_letter(&mut self, journal: &str, offset: u64, history: Option<History>, letter: u64) {
        let input: (Box<str>, u64) = (journal.into(), offset);
        // It was delivered once more before, and that came to nothing.
        self.retried.retain(|_, of| (&of.journal, of.offset) != (&input.0, offset));
        self.letters.insert(letter, input.clone());
        self.inputs.insert(input, Why { history, letter: Some(letter) });
    }

    /// A letter was delivered once more: its input counts, unless it turned out late, or is a dead letter again.
    pub(super) fn retry(&mut self, letter: u64) {
        let Some(input) = self.letters.remove(&letter) else {
            self.unknown.push(letter);
            return;
        };
        if self.inputs.get(&input).is_some_and(|why| why.letter == Some(letter))
            && let Some(Why { history, .. }) = self.inputs.remove(&input)
        {
            let (journal, offset) = input;
            self.retried.insert(letter, Retried { journal, offset, history });
        }
    }

    pub(super) fn contains(&self, journal: &str, offset: u64, history: History) -> bool {
        if self.inputs.is_empty() {
            return false;
        }
        let why = self.inputs.get(&(journal.into(), offset));
        why.is_some_and(|why| why.history.is_none_or(|of| of == history))
    }

    /// Letters that were retried, of which nothing else is known.
    pub(super) fn take_unknown(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unknown)
    }

    /// Whether an input with this offset was not taken into account.
    pub(super) fn knows(&self, journal: &str, offset: u64) -> bool {
        self.inputs.contains_key(&(journal.into(), offset))
    }

    /// Those that were delivered once more, by where their letters lie in the own journal.
    pub(super) fn take_retried(&mut self) -> BTreeMap<u64, Retried> {
        std::mem::take(&mut self.retried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_record_of_the_same_offset_has_not_passed() {
        let mut passed = Passed::default();
        let history = (5, Epoch(1));
        passed.add_late("scale", 7, Some(history));
        assert!(passed.contains("scale", 7, history) && !passed.contains("scale", 8, history));
        assert!(!passed.contains("scale", 7, (5, Epoch(2))) && !passed.contains("scale", 7, (6, Epoch(1))));
        passed.add_late("scale", 8, None);
        assert!(passed.contains("scale", 8, history), "nobody knows which it was");
    }

    #[test]
    fn a_letter_that_was_retried_counts_unless_it_failed_again() {
        let mut passed = Passed::default();
        let history = (5, Epoch(1));
        for (offset, letter) in [(1, 10), (2, 11), (3, 12)] {
            passed.add_letter("scale", offset, Some(history), letter);
        }
        passed.add_letter("scale", 2, Some(history), 13);
        passed.add_late("scale", 3, Some(history));
        passed.add_letter("scale", 4, Some(history), 14);
        [10, 11, 12, 14].into_iter().for_each(|letter| passed.retry(letter));
        // In a later life.
        passed.add_letter("scale", 4, Some(history), 15);
        let counts = |offset| !passed.contains("scale", offset, history);
        assert_eq!([1, 2, 3, 4].map(counts), [true, false, false, false]);
        assert_eq!(passed.take_retried().into_keys().collect::<Vec<_>>(), [10]);
    }
}
