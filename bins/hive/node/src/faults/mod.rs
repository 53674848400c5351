//! Faults on purpose: what public nodes do wrong, by flag and at run time.
//!
//! | fault | what a client sees |
//! | --- | --- |
//! | `down` | connection refused; the open ones are reset |
//! | `drop` | the connection closes without an answer |
//! | `hang` | no answer |
//! | `slow:TIME` | a late answer |
//! | `http-STATUS` | HTTP 400 to 599 with an HTML body, such as `http-429`, `http-502`, `http-503` |
//! | `text` | HTTP 200 and plain text |
//! | `truncated` | HTTP 200 and half of the JSON |
//! | `cut` | the connection breaks in the middle of the body |
//! | `rpc-lock`, `rpc-CODE` | a JSON-RPC error: `rpc-lock` is `Unable to acquire database lock`, `rpc-1000` a proxy's time-out, `rpc-32603` code -32603; with `status=500` as HTTP 500 |
//! | `stall[:BLOCK]` | the head stands still, here or at a block |
//! | `behind:N` | a head that trails the chain's by N blocks |
//! | `lag:N` | get_block doesn't have the last N blocks below its own head yet |
//! | `fork:N` | the last N reversible blocks are replaced |
//! | `wrong-chain` | the blocks of another chain |
//! | `truncated-block` | blocks without their transactions, but with the merkle root of them |
//! | `no-range` | the node lacks get_block_range |
//!
//! Each can be narrowed, in any order, by `:p=0.2` (probability; where the kind takes no argument of
//! its own, `http-502:0.2` is short for it), `:times=3` (that many requests, then it's over),
//! `:method=get_block` (or `block_api.get_block`), `:after=10s` (begins later) and `:for=5s` (lasts that
//! long). A fork without `for` is for good, and is kept across a restart; with `for`, the chain there
//! was wins in the end, and until then nothing of the fork becomes irreversible. `down`, `stall` and
//! `fork` are states of the node, so they take only `after` and `for`.

mod set;
mod spec;

#[cfg(test)]
pub(crate) use set::Stall;
pub(crate) use set::{Effects, FaultSet, Listed, Transport};
pub(crate) use spec::{Fault, RpcCode};

#[cfg(test)]
mod tests;
