//! The Hive (and Steem) blockchain as events.
//!
//! The `broadcaster` says every operation of the chain under the name of its type: topic `comment`,
//! `vote`, `transfer`, `custom_json`, … ([`topic_of`]). The payload is the applied operation of the
//! nodes' account-history API, and lossless: `value` is the node's own text, whatever it holds.
//!
//! ```json
//! {"block":20316289,"trx_id":"5f0a…","trx_in_block":2,"op_in_trx":0,"timestamp":"2018-03-02T07:04:36",
//!  "op":{"type":"transfer_operation","value":{"from":"alice","to":"bob","amount":…,"memo":"…"}}}
//! ```
//!
//! - `trx_id` is empty where the node didn't tell it (only some very old nodes don't).
//! - `timestamp` is the block's, in UTC, in the chain's own form without a zone letter.
//! - `virtual_op` is there, and `true`, for virtual operations only (if the broadcaster is set to say them).
//! - The record's key is the acting account ([`Operation::actor`]); none where a type has none or isn't known.
//! - An operation of a type that this module has never heard of arrives all the same, under its own topic; one too large
//!   for a record as type `oversized_operation`, with its own type and its size as the value.
//! - Where no node gives any virtual operation of a block, [`NoVirtualOperations`] says so behind its operations.
//!
//! Reading from Rust: [`Comment`], [`Vote`], [`Transfer`] and [`CustomJson`] are typed views of the same
//! payload; anything else is read as [`AppliedOperation`].
//!
//! When a fork replaces blocks (only where the broadcaster is set to `mode = "head"`), [`Retract`] takes
//! the operations of the replaced blocks back.

mod actor;
mod asset;
mod operation;
mod post;
mod retract;
mod text;
mod transfer;
mod unconfirmed;
mod view;

pub use asset::{Amount, AmountError, Asset};
pub use operation::{Applied, AppliedOperation, Operation, topic_of};
pub use post::NewPost;
pub use retract::{Retract, Retracted};
pub use transfer::LargeTransfer;
pub use unconfirmed::NoVirtualOperations;
pub use view::{
    Comment, CommentOperation, CustomJson, CustomJsonOperation, OperationView, Transfer, TransferOperation,
    Vote, VoteOperation,
};
