//! Whether a block may be said without any virtual operation.
//!
//! Nearly every block has one, the producer's reward. A node whose history lags, or is kept by another service, or
//! knows nothing of blocks that can still be replaced, gives none all the same: not knowing looks like nothing. So such
//! an answer is believed only of an irreversible block, only if no other node knows better, and only after a while.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer without virtual operations has been doubted.
pub(crate) struct Doubt {
    patience: Duration,
    /// The block, and since when.
    about: Option<(u32, Instant)>,
    /// Nodes, by index, that have given none of it.
    nodes: BTreeSet<usize>,
    /// The block before was believed to have none: this chain may have none at all, and isn't waited for each time.
    believed: bool,
}

impl Doubt {
    pub(crate) fn new(patience: Duration) -> Self {
        Doubt { patience, about: None, nodes: BTreeSet::new(), believed: false }
    }

    /// A node has given some.
    pub(crate) fn end(&mut self) {
        (self.about, self.believed) = (None, false);
    }

    /// These nodes answer, and give none; true if that is to be believed.
    pub(crate) fn is_over(
        &mut self,
        block: u32,
        nodes: impl IntoIterator<Item = usize>,
        irreversible: bool,
    ) -> bool {
        let since = match self.about {
            Some((about, since)) if about == block => since,
            _ => {
                self.nodes.clear();
                self.about.insert((block, Instant::now())).1
            }
        };
        self.nodes.extend(nodes);
        irreversible && (self.believed || since.elapsed() >= self.patience)
    }

    /// It is believed: how many nodes gave none, and whether the block before was believed, too.
    pub(crate) fn believe(&mut self) -> (u32, bool) {
        self.about = None;
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        (nodes, std::mem::replace(&mut self.believed, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_believed_at_once_nor_of_what_can_be_replaced() {
        let mut doubt = Doubt::new(Duration::from_secs(10));
        assert!(!doubt.is_over(5, [0, 1], true));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!doubt.is_over(5, [0], false));
        assert!(doubt.is_over(5, [0], true));
        assert_eq!(doubt.believe(), (2, false));
        // The next one is, unless it can be replaced; until a node gives some.
        assert!(!doubt.is_over(6, [0], false));
        assert!(doubt.is_over(6, [0], true));
        assert_eq!(doubt.believe(), (1, true));
        doubt.end();
        assert!(!doubt.is_over(7, [0, 1], true));
    }
}
