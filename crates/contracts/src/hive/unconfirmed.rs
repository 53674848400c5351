//! What the nodes could not tell of a block.

use procession::Event;
use serde::{Deserialize, Serialize};

/// A block is said without any virtual operation, though nearly every block has one: a node showed that it has none, or
/// each gave none for as long as was reasonable, and its history may begin later or not be kept. Topic
/// `no-virtual-operations`, no key; in one atomic batch with the block's other operations, and after them. Only where the
/// broadcaster is set to say virtual operations.
///
/// ```json
/// {"block":77,"block_id":"0000004d…","timestamp":"2016-03-24T16:08:51","nodes":2}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoVirtualOperations {
    /// The block's number.
    pub block: u32,
    /// The block's id; empty when the node didn't tell it.
    pub block_id: String,
    /// The block's time, UTC, as the chain writes it.
    pub timestamp: String,
    /// How many nodes gave none, apart from those whose history was only behind.
    pub nodes: u32,
}

impl Event for NoVirtualOperations {
    const TOPIC: &'static str = "no-virtual-operations";
}
