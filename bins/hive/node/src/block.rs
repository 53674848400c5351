//! A block as the node keeps it: read from a recording or made by the generator, not yet in the form
//! of any API.

use crate::json::{Fields, Raw};

/// One block. What the chain rewrites is apart, everything else is as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) number: u32,
    /// 40 hex digits, the first eight of which are the number.
    pub(crate) id: String,
    /// The id of the block before.
    pub(crate) previous: String,
    /// Timestamp, witness, merkle root, extensions, signatures: all but links and transactions.
    pub(crate) header: Fields,
    pub(crate) transactions: Vec<Transaction>,
    /// Operations that the chain itself made; in no block, only in answers to get_ops_in_block.
    pub(crate) virtuals: Vec<Virtual>,
}

/// One transaction: its id, and its fields as they were recorded.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) id: String,
    pub(crate) fields: Fields,
}

/// A virtual operation and the transaction that caused it, if one did.
#[derive(Debug, Clone)]
pub(crate) struct Virtual {
    pub(crate) transaction: Option<usize>,
    pub(crate) operation: Raw,
}

/// The merkle root of no transactions, the block before the first, and no transaction at all.
pub(crate) const ZERO_ID: &str = "0000000000000000000000000000000000000000";

impl Block {
    /// Chain time: `YYYY-MM-DDThh:mm:ss`, UTC.
    pub(crate) fn timestamp(&self) -> String {
        self.header.text("timestamp").unwrap_or_else(|| "1970-01-01T00:00:00".to_owned())
    }

    pub(crate) fn witness(&self) -> String {
        self.header.text("witness").unwrap_or_default()
    }
}

/// A block id: the number, and 32 hex digits of whatever tells this block from others.
pub(crate) fn block_id(number: u32, tail: u128) -> String {
    format!("{number:08x}{tail:032x}")
}

/// The last 32 hex digits of an id, as a number.
pub(crate) fn id_tail(id: &str) -> Option<u128> {
    if id.len() != 40 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&id[8..], 16).ok()
}
