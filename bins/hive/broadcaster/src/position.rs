//! How far the chain has been said, and what may still be taken back.

use serde::{Deserialize, Serialize};

use crate::block::Block;

/// The name under which the position is kept in the journal.
pub(crate) const CHECKPOINT: &str = "chain";

/// How many reversible blocks are remembered, and so how deep a fork can be followed. A round of the
/// chain has 21 blocks; old chains had up to 25 reversible ones.
pub(crate) const REVERSIBLE_MAX: usize = 64;

/// A block whose operations have been said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) block: u32,
    /// None where the node didn't tell it.
    pub(crate) id: Option<String>,
    /// Its operations lie at this offset of the journal or after it.
    pub(crate) from: u64,
}

/// The place in the chain up to which everything has been said. Kept in the journal, in the same batch as
/// the operations of its last block, so that the two can't disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last block's time, UTC.
    pub(crate) timestamp: String,
    /// Ascending, at least one: an irreversible block, then those after it that a fork could replace.
    recent: Vec<Told>,
}

impl Position {
    /// The position after `block`, when everything up to `irreversible` is there for good and the journal
    /// ended at offset `from` before the block's operations.
    pub(crate) fn after(before: Option<&Position>, block: &Block, irreversible: u32, from: u64) -> Self {
        let mut recent = before.map(|position| position.recent.clone()).unwrap_or_default();
        if let (true, Some(parent)) =
            (recent.is_empty() && block.number > irreversible, block.number.checked_sub(1))
        {
            // A fork may replace the very first block that we say. What lies before it is none of our business.
            recent.push(Told { block: parent, id: None, from });
        }
        recent.retain(|told| told.block < block.number);
        recent.push(Told { block: block.number, id: block.id.clone(), from });
        let anchor = recent.iter().rposition(|told| told.block <= irreversible).unwrap_or(0);
        let anchor = anchor.max(recent.len().saturating_sub(REVERSIBLE_MAX + 1));
        recent.drain(..anchor);
        Position { timestamp: block.timestamp.clone(), recent }
    }

    pub(crate) fn last(&self) -> &Told {
        self.recent.last().expect("a position has at least the block that it was made after")
    }

    /// The block of that number, if it is still remembered.
    pub(crate) fn told(&self, block: u32) -> Option<&Told> {
        self.recent.iter().find(|told| told.block == block)
    }

    /// Those that a fork could still replace, ascending.
    pub(crate) fn reversible(&self) -> &[Told] {
        &self.recent[1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32) -> Block {
        Block {
            number,
            id: Some(format!("{number:08x}")),
            previous: None,
            timestamp: format!("t{number}"),
            transactions: Vec::new(),
        }
    }

    fn advance(position: &mut Option<Position>, number: u32, irreversible: u32) -> Vec<u32> {
        let next = Position::after(position.as_ref(), &block(number), irreversible, u64::from(number) * 10);
        let numbers = next.recent.iter().map(|told| told.block).collect();
        *position = Some(next);
        numbers
    }

    #[test]
    fn only_reversible_blocks_and_the_one_before_them_are_remembered() {
        let mut position = None;
        assert_eq!(advance(&mut position, 5, 9), [5]);
        assert_eq!(advance(&mut position, 6, 9), [6]);
        assert_eq!(advance(&mut position, 9, 9), [9]);
        assert_eq!(advance(&mut position, 10, 9), [9, 10]);
        assert_eq!(advance(&mut position, 11, 9), [9, 10, 11]);
        assert_eq!(advance(&mut position, 12, 10), [10, 11, 12]);
        assert_eq!(position.as_ref().unwrap().reversible().len(), 2);
        // A replacing block forgets what it replaces.
        assert_eq!(advance(&mut position, 11, 10), [10, 11]);
        assert_eq!(position.as_ref().unwrap().last().from, 110);
    }

    #[test]
    fn a_reversible_first_block_can_be_replaced_too() {
        let mut position = None;
        assert_eq!(advance(&mut position, 5, 3), [4, 5]);
        assert_eq!(position.as_ref().unwrap().reversible()[0].block, 5);
        assert_eq!(advance(&mut position, 5, 3), [4, 5]);
        assert_eq!(advance(&mut position, 6, 5), [5, 6]);
    }

    #[test]
    fn memory_is_bounded_when_nothing_becomes_irreversible() {
        let mut position = None;
        for number in 1..=500 {
            assert!(advance(&mut position, number, 0).len() <= REVERSIBLE_MAX + 1);
        }
        assert_eq!(position.unwrap().told(500 - 64).unwrap().block, 436);
    }
}
