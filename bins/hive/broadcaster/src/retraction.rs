//! Finds out what was said of blocks that a fork has replaced, so that it can be taken back.
//!
//! The journal itself is asked: it is the only place that knows, after any crash, what was said at which
//! offset. Forks are rare and near the journal's end, so nothing needs to be kept for them.

use std::collections::BTreeMap;

use contracts::hive::{Retract, Retracted};
use procession::Event as _;
use serde::Deserialize;

use crate::position::Told;

/// What was said of some replaced blocks and hasn't been taken back before.
pub(crate) struct Retraction {
    /// By block number: the block's id, and its operations in order.
    blocks: BTreeMap<u32, (String, Vec<Retracted>)>,
}

impl Retraction {
    pub(crate) fn of(replaced: &[Told]) -> Self {
        let blocks =
            replaced.iter().map(|told| (told.block, (told.id.clone().unwrap_or_default(), Vec::new())));
        Retraction { blocks: blocks.collect() }
    }

    /// Takes one record of the journal into account, in order.
    pub(crate) fn hear(&mut self, offset: u64, topic: &str, payload: &[u8]) {
        #[derive(Deserialize)]
        struct Place {
            block: u32,
            trx_id: String,
            trx_in_block: u32,
            op_in_trx: u32,
        }
        if topic == Retract::TOPIC {
            // The same number was replaced before: that is settled.
            if let Ok(retract) = serde_json::from_slice::<Retract>(payload)
                && let Some((_, operations)) = self.blocks.get_mut(&retract.block)
            {
                operations.retain(|said| retract.operations.iter().all(|gone| gone.offset != said.offset));
            }
            return;
        }
        // Anything else that this process says (dead letters, say) has no such place.
        let Ok(place) = serde_json::from_slice::<Place>(payload) else { return };
        if let Some((_, operations)) = self.blocks.get_mut(&place.block) {
            let Place { trx_id, trx_in_block, op_in_trx, .. } = place;
            operations.push(Retracted { offset, topic: topic.to_owned(), trx_id, trx_in_block, op_in_trx });
        }
    }

    /// The events that take it back: the newest block first.
    pub(crate) fn events(self) -> Vec<Retract> {
        let event = |(block, (block_id, operations))| Retract {
            reason: "fork".to_owned(),
            block,
            block_id,
            operations,
        };
        self.blocks.into_iter().rev().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(block: u32) -> Told {
        Told { block, id: Some(format!("id{block}")), from: 0 }
    }

    fn operation(block: u32) -> Vec<u8> {
        let text = format!(
            r#"{{"block":{block},"trx_id":"t","trx_in_block":1,"op_in_trx":2,"timestamp":"","op":{{"type":"vote_operation","value":{{}}}}}}"#
        );
        text.into_bytes()
    }

    fn offsets(retract: &Retract) -> Vec<u64> {
        retract.operations.iter().map(|gone| gone.offset).collect()
    }

    #[test]
    fn takes_back_what_was_said_of_the_replaced_blocks_newest_first() {
        let mut retraction = Retraction::of(&[told(7), told(8)]);
        for (offset, block) in [(10, 6), (11, 7), (12, 7), (14, 8)] {
            retraction.hear(offset, "vote", &operation(block));
        }
        retraction.hear(13, "_dead-letter", b"\xff\x00");
        let events = retraction.events();
        assert_eq!(events.iter().map(|retract| retract.block).collect::<Vec<_>>(), [8, 7]);
        assert_eq!((offsets(&events[0]), offsets(&events[1])), (vec![14], vec![11, 12]));
        assert_eq!(events[0].block_id, "id8");
        let gone = &events[0].operations[0];
        assert_eq!((gone.topic.as_str(), gone.trx_in_block, gone.op_in_trx), ("vote", 1, 2));
    }

    #[test]
    fn what_was_taken_back_before_is_left_out() {
        let mut first = Retraction::of(&[told(7)]);
        first.hear(11, "vote", &operation(7));
        let retract = first.events().remove(0);

        let mut second = Retraction::of(&[told(7), told(8)]);
        second.hear(11, "vote", &operation(7));
        second.hear(12, Retract::TOPIC, &serde_json::to_vec(&retract).unwrap());
        second.hear(13, "vote", &operation(7));
        let events = second.events();
        assert_eq!((offsets(&events[0]), offsets(&events[1])), (vec![], vec![13]));
    }
}
