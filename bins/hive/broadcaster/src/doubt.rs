//! Whether a block may be said without any virtual operation.
//!
//! Nearly every block has one, the producer's reward. A node whose history lags, or is kept by another service, or
//! knows nothing of blocks that can still be replaced, gives none all the same: not knowing looks like nothing. So such
//! an answer is believed only of an irreversible block, and only if no node gives any of it. Where the chain is known to
//! have virtual operations, a node must show as well that its history reaches further: time alone proves nothing. Where
//! none has ever given any, all nodes must have answered, for a while.

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
    /// Some block of this chain has some.
    has_any: bool,
}

impl Doubt {
    pub(crate) fn new(patience: Duration) -> Self {
        Doubt { patience, about: None, nodes: BTreeSet::new(), believed: false, has_any: false }
    }

    /// A node has given some, of whatever block.
    pub(crate) fn end(&mut self) {
        (self.about, self.believed, self.has_any) = (None, false, true);
    }

    /// Whether the chain is known to have virtual operations.
    pub(crate) fn has_any(&self) -> bool {
        self.has_any
    }

    /// Whether the block before was believed to have none.
    pub(crate) fn has_believed(&self) -> bool {
        self.believed
    }

    /// These nodes of so many answer, and give none; true if that is to be believed of a chain that may have none at all.
    pub(crate) fn is_over(
        &mut self,
        block: u32,
        nodes: impl IntoIterator<Item = usize>,
        count: usize,
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
        // A node that could not be asked may know some.
        let is_long = since.elapsed() >= self.patience && self.nodes.len() >= count;
        irreversible && !self.has_any && (self.believed || is_long)
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
    async fn nothing_is_believed_at_once_nor_of_what_can_be_replaced_nor_while_a_node_has_not_answered() {
        let mut doubt = Doubt::new(Duration::from_secs(10));
        assert!(!doubt.is_over(5, [0, 1], 2, true));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!doubt.is_over(5, [0], 2, false));
        assert!(!doubt.is_over(5, [0], 3, true));
        assert!(doubt.is_over(5, [0], 2, true));
        assert_eq!(doubt.believe(), (2, false));
        // The next one is, unless it can be replaced; until a node gives some.
        assert!(!doubt.is_over(6, [0], 2, false));
        assert!(doubt.is_over(6, [0], 2, true));
        assert_eq!(doubt.believe(), (1, true));
        doubt.end();
        assert!(!doubt.is_over(7, [0, 1], 2, true));
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert!(!doubt.is_over(7, [0, 1], 2, true), "time proves nothing");
    }
}
