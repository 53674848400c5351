//! Whether a block may be said without any virtual operation.
//!
//! Nearly every block has one, the producer's reward. A node whose history lags, or begins later, or is kept by another
//! service, or knows nothing of blocks that can still be replaced, gives none all the same: not knowing looks like
//! nothing. So a block is believed to have none only if it is irreversible, no node gives any, and one answer of one
//! node proves it, or every node has answered so for a while and none of them is only behind. A node that can't be asked
//! may know some, and is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::history::Look;

/// How long answers without virtual operations have been doubted.
pub(crate) struct Doubt {
    patience: Duration,
    /// The block that is doubted.
    about: Option<u32>,
    /// Since when each node, by index, has given none of it, and when it did so last.
    none: BTreeMap<usize, (Instant, Instant)>,
    /// It has some, though no node has given them.
    withheld: bool,
    /// The block before was believed to have none: this chain may have none at all, and isn't waited for each time.
    believed: bool,
    /// Some block of this chain has some.
    has_any: bool,
    /// Of a chain that has some, a block was believed to have none: such blocks aren't waited for each time either.
    sparse: bool,
}

impl Doubt {
    pub(crate) fn new(patience: Duration) -> Self {
        Doubt {
            patience,
            about: None,
            none: BTreeMap::new(),
            withheld: false,
            believed: false,
            has_any: false,
            sparse: false,
        }
    }

    /// A node has given some, of the block that is next.
    pub(crate) fn end(&mut self) {
        (self.about, self.believed, self.has_any) = (None, false, true);
    }

    /// Whether no node has ever given any, and that was believed of the block before: nothing is to be found out by
    /// looking closer.
    pub(crate) fn is_blank(&self) -> bool {
        self.believed && !self.has_any
    }

    /// How many nodes have given none of the block, and aren't only behind.
    pub(crate) fn nodes(&self) -> usize {
        self.none.len()
    }

    /// No node of `count` gives any of an irreversible block; each that answers shows this around it. True if the block
    /// is to be believed to have none.
    pub(crate) fn is_over(&mut self, block: u32, looks: &[(usize, Look)], count: usize) -> bool {
        self.note(block, looks);
        if self.withheld {
            return false;
        }
        let shows = |is: fn(&Look) -> bool| looks.iter().any(|(_, look)| is(look));
        if shows(|look| matches!(look, Look::Proven)) || self.is_blank() {
            return true;
        }
        if self.none.len() < count || self.has_any && !shows(|look| matches!(look, Look::Passed)) {
            return false;
        }
        let is_long = |(since, last): &(Instant, Instant)| last.duration_since(*since) >= self.patience;
        self.believed || self.sparse || self.none.values().all(is_long)
    }

    fn note(&mut self, block: u32, looks: &[(usize, Look)]) {
        if self.about != Some(block) {
            (self.about, self.withheld) = (Some(block), false);
            self.none.clear();
        }
        let now = Instant::now();
        for (index, look) in looks {
            self.has_any |= !matches!(look, Look::Blank);
            self.withheld |= matches!(look, Look::Withheld);
            if look.is_none() {
                self.none.entry(*index).or_insert((now, now)).1 = now;
            } else {
                self.none.remove(index);
            }
        }
    }

    /// It is believed: how many nodes gave none, and whether that is nothing new for this chain.
    pub(crate) fn believe(&mut self) -> (u32, bool) {
        self.about = None;
        let nodes = u32::try_from(self.none.len()).unwrap_or(u32::MAX);
        let again = self.believed || self.sparse;
        (self.believed, self.sparse) = (true, self.sparse || self.has_any);
        (nodes, again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn nothing_is_believed_at_once_nor_while_a_node_has_not_answered_all_along() {
        let blank = |index| (index, Look::Blank);
        let mut doubt = Doubt::new(PATIENCE);
        assert!(!doubt.is_over(5, &[blank(0), blank(1)], 2));
        tokio::time::advance(PATIENCE).await;
        assert!(!doubt.is_over(5, &[blank(0)], 2), "the other one answered only once");
        assert!(!doubt.is_over(5, &[blank(0), blank(1)], 3));
        assert!(doubt.is_over(5, &[blank(0), blank(1)], 2));
        assert_eq!(doubt.believe(), (2, false));
        // The next one is; until a node gives some.
        assert!(doubt.is_over(6, &[blank(0)], 2));
        assert_eq!(doubt.believe(), (1, true));
        doubt.end();
        assert!(!doubt.is_over(7, &[blank(0), blank(1)], 2));
        tokio::time::advance(100 * PATIENCE).await;
        assert!(!doubt.is_over(7, &[blank(0), blank(1)], 2), "time proves nothing");
        assert!(doubt.is_over(7, &[(0, Look::Passed), blank(1)], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_that_is_behind_is_waited_for_and_a_block_that_has_some_too() {
        let mut doubt = Doubt::new(PATIENCE);
        for _ in 0..3 {
            assert!(!doubt.is_over(5, &[(0, Look::Passed), (1, Look::Behind)], 2));
            tokio::time::advance(PATIENCE).await;
        }
        assert!(!doubt.is_over(5, &[(0, Look::Passed), (1, Look::Passed)], 2), "it was behind until now");
        tokio::time::advance(PATIENCE).await;
        assert!(!doubt.is_over(5, &[(0, Look::Withheld), (1, Look::Passed)], 2));
        tokio::time::advance(PATIENCE).await;
        assert!(!doubt.is_over(5, &[(0, Look::Proven), (1, Look::Passed)], 2), "it has some");
        assert!(doubt.is_over(6, &[(0, Look::Proven), (1, Look::Behind)], 3), "proven");
        assert_eq!(doubt.believe(), (1, false));
        // Such blocks are nothing new, but all nodes must have been asked.
        doubt.end();
        assert!(!doubt.is_over(8, &[(0, Look::Passed)], 2));
        assert!(doubt.is_over(8, &[(0, Look::Passed), (1, Look::Passed)], 2));
        assert_eq!(doubt.believe(), (2, true));
    }
}
