//! Taking back what a fork has undone.

use procession::Event;
use serde::{Deserialize, Serialize};

/// The operations of a replaced block are taken back: as if they had never been said. Topic `retract`, no key.
///
/// Said by a broadcaster in `mode = "head"` only, one event per replaced block, the newest block first, in
/// one atomic batch with the operations of the first replacing block, and before them. A transaction that
/// comes again in a replacing block is said again, as a new record: what was retracted stays retracted.
///
/// ```json
/// {"reason":"fork","block":77,"block_id":"0000004d…","operations":[
///   {"offset":1234,"topic":"vote","trx_id":"5f0a…","trx_in_block":0,"op_in_trx":0}, …]}
/// ```
///
/// A retraction names its targets by their offsets in the journal that it is itself in; a subscriber that
/// keeps (journal, offset) of its inputs needs nothing else. The other fields are for those who keep the
/// chain's own names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retract {
    /// Why: `fork`.
    pub reason: String,
    /// The number of the replaced block, which the replacing one shares.
    pub block: u32,
    /// The id of the replaced block; empty when the node never told it.
    pub block_id: String,
    /// What is taken back, in the order in which it was said; empty for an empty block.
    pub operations: Vec<Retracted>,
}

/// One operation that is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retracted {
    /// Its offset in this same journal.
    pub offset: u64,
    /// The topic that it was said under.
    pub topic: String,
    /// Its transaction, as it was said.
    pub trx_id: String,
    /// Its transaction's index in the replaced block.
    pub trx_in_block: u32,
    /// Its index in its transaction.
    pub op_in_trx: u32,
}

impl Event for Retract {
    const TOPIC: &'static str = "retract";
}
