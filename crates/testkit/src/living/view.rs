//! What a listener must take to be said, from what it was told.

use crate::chain::Trouble;

/// In the place of a life: nothing was heard there.
const UNKNOWN: u64 = u64::MAX;

/// The journal as one listener knows it: every word that it heard and was not told to forget.
///
/// A reader is told of each word in turn, or that what it has from some offset on is gone: then it hears what is there
/// instead. So whoever notes both has, in the end, the journal; or the reader has skipped, repeated or kept something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The life of the word at each offset.
    lives: Vec<u64>,
    /// Words that it was told to forget.
    pub forgotten: u64,
    /// Those of them that it heard once more.
    pub again: u64,
    /// What it was told to forget last.
    dropped: Vec<u64>,
    /// It has come back after a power loss of its own: the place that it has kept may be an earlier one, of what is gone
    /// since, so that a gap reaches further than what was heard.
    pub has_come_back: bool,
}

impl View {
    /// A word has come.
    ///
    /// # Errors
    /// It isn't its turn.
    pub fn hear(&mut self, life: u64, n: u64) -> Result<(), Trouble> {
        let next = self.end();
        if n != next {
            let what = if n < next { "twice, or was said anew and no gap says so" } else { "too early" };
            return Err(Trouble(format!("word {n} of life {life} came {what}: {next} was next")));
        }
        let place = self.lives.len();
        self.again += u64::from(self.dropped.get(place).is_some_and(|dropped| *dropped == life));
        self.lives.push(life);
        Ok(())
    }

    /// A gap has come.
    ///
    /// Files that are being removed are missing for a moment, and that is called damage: then the whole journal must
    /// turn out to be another one, for what was missed so is never what the journal holds.
    ///
    /// # Errors
    /// It isn't one of those that there may be here, or says something else than what was heard.
    pub fn miss(&mut self, from: u64, to: u64, reason: &str) -> Result<(), Trouble> {
        let next = self.end();
        if reason == "corrupt" && from == next && to > from {
            self.lives.extend((from..to).map(|_| UNKNOWN));
            return Ok(());
        }
        let reaches = to == next || self.has_come_back && from <= next;
        if reason != "diverged" || !reaches || from >= to {
            return Err(Trouble(format!("a gap from {from} up to {to}, {reason}: {next} was next")));
        }
        let kept = usize::try_from(from).unwrap_or(usize::MAX);
        self.forgotten += next - from;
        self.dropped = self.lives.clone();
        self.lives.truncate(kept);
        Ok(())
    }

    /// The offset behind the last word.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.lives.len() as u64
    }

    /// Whether it is what the journal holds.
    #[must_use]
    pub fn is(&self, lives: &[u64]) -> bool {
        self.lives == lives
    }

    /// Where it begins to be something else than what the journal holds.
    #[must_use]
    pub fn parts_from(&self, lives: &[u64]) -> String {
        let same = self.lives.iter().zip(lives).take_while(|(own, other)| own == other).count();
        let (own, other) = (self.lives.get(same), lives.get(same));
        format!(
            "at {same} it has {own:?}, the journal {other:?} ({} and {} words)",
            self.lives.len(),
            lives.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(words: &[(u64, u64)]) -> View {
        let mut view = View::default();
        words.iter().for_each(|(life, n)| view.hear(*life, *n).expect("it is its turn"));
        view
    }

    #[test]
    fn what_is_told_anew_replaces_what_was_heard() {
        let mut view = view(&[(1, 0), (1, 1), (1, 2)]);
        view.miss(1, 3, "diverged").expect("it has heard these");
        view.hear(2, 1).expect("it is its turn");
        assert!(view.is(&[1, 2]) && !view.is(&[1, 1, 1]));
        assert_eq!((view.forgotten, view.again), (2, 0));
    }

    #[test]
    fn whatever_is_skipped_repeated_or_not_named_is_found() {
        assert!(view(&[(1, 0)]).hear(1, 2).is_err(), "skipped");
        assert!(view(&[(1, 0), (1, 1)]).hear(1, 1).is_err(), "twice");
        assert!(view(&[(1, 0), (1, 1)]).hear(2, 1).is_err(), "said anew, and no gap");
        assert!(view(&[(1, 0), (1, 1)]).miss(1, 5, "diverged").is_err(), "more than it has heard");
        assert!(view(&[(1, 0), (1, 1)]).miss(1, 2, "trimmed").is_err(), "another reason");
        assert!(view(&[(1, 0), (1, 1)]).miss(1, 2, "corrupt").is_err(), "it has heard it");
        let mut damaged = view(&[(1, 0)]);
        damaged.miss(1, 2, "corrupt").expect("it is its turn");
        assert!(!damaged.is(&[1, 1]), "nothing is damaged in the end");
        assert!(!view(&[(1, 0), (1, 1)]).is(&[1, 2]), "kept though it is gone");
        let mut repeated = view(&[(1, 0), (1, 1)]);
        repeated.miss(0, 2, "diverged").expect("it has heard these");
        repeated.hear(1, 0).expect("it is its turn");
        assert_eq!(repeated.again, 1, "more was taken back than was gone");
    }
}
